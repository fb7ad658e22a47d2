//! What is wrong with a template or with one use of it.

/// One fault, for people: which part, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    /// The field of the request, such as `body[1]`.
    pub field: String,
    /// A sentence that names the parameter.
    pub sentence: String,
}

impl TemplateFault {
    pub(super) fn new(field: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { field: field.into(), sentence: sentence.into() }
    }
}
