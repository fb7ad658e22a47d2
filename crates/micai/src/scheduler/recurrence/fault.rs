//! What is wrong with a timing, in words for whoever wrote it.

/// Something about a timing that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {sentence}")]
pub struct TimingFault {
    /// Which field: `zone`, `cron`, `rrule`, `interval_minutes`, …
    pub field: &'static str,
    /// What is wrong and what to do, to be read behind the field's name.
    pub sentence: String,
}

impl TimingFault {
    pub(super) fn new(field: &'static str, sentence: String) -> Self {
        Self { field, sentence }
    }
}
