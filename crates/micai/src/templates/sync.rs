//! The account's templates, fetched from WhatsApp: at the start, every hour, after a webhook about one, on request.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::book::{LOOK_SECONDS, TEMPLATES_MAX, TemplateBook};
use crate::clock::SharedClock;
use crate::domain::audit::Actor;
use crate::domain::outbound::SendError;
use crate::domain::template::news::TemplateRecord;
use crate::store::{Store, StoreError, SyncChanges, TemplateSyncState};
use crate::transport::{CallFailure, CloudApi, Verdict};

/// The most pages of a hundred templates.
const PAGES_MAX: usize = TEMPLATES_MAX / 100;
/// How long a process has for a sync before another one may begin.
const CLAIM_SECONDS: i64 = 300;
/// The pause before webhooks bring about the next sync: WhatsApp counts such calls by the hour, and a webhook's own news
/// are known at once anyway.
const PAUSE_SECONDS: i64 = 60;
/// The pause after a sync that failed.
const FAILURE_PAUSE_SECONDS: i64 = 300;
/// The longest pause that WhatsApp's answer may ask for: a day.
const RETRY_AFTER_SECONDS_MAX: u64 = 86_400;
/// The most characters of an error that are kept.
const ERROR_CHARACTERS_MAX: usize = 500;

/// Fetches the templates of one account. Clones share everything.
#[derive(Clone)]
pub struct TemplateSync {
    store: Store,
    api: Arc<CloudApi>,
    book: TemplateBook,
    clock: SharedClock,
    waba_id: Arc<str>,
}

/// Why there was no sync.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Another one is under way.
    #[error("another sync is under way")]
    UnderWay,
    /// WhatsApp did not give the list.
    #[error("{}", .0.error.detail)]
    Call(Box<CallFailure>),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SyncError {
    /// Whether the same call would be refused again until somebody changes something.
    pub fn lasts(&self) -> bool {
        matches!(self, Self::Call(failure) if matches!(failure.verdict, Verdict::Auth | Verdict::Never))
    }
}

impl TemplateSync {
    /// A sync of the account `waba_id`; `book` is brought up to date after each.
    pub fn new(store: Store, api: Arc<CloudApi>, book: TemplateBook, clock: SharedClock, waba_id: &str) -> Self {
        Self { store, api, book, clock, waba_id: waba_id.into() }
    }

    /// Whose templates they are.
    pub fn waba_id(&self) -> &str {
        &self.waba_id
    }

    /// Syncs when it is time, until `stop` is cancelled.
    pub async fn run(self, interval_seconds: i64, stop: CancellationToken) {
        let mut is_first = true;
        loop {
            match self.look(interval_seconds, is_first).await {
                Ok(synced) => is_first &= !synced,
                Err(SyncError::UnderWay) => {}
                Err(error @ SyncError::Call(_)) => {
                    is_first = false;
                    tracing::warn!(%error, "the templates could not be fetched; the old list stays");
                }
                Err(SyncError::Store(error)) => tracing::warn!(%error, "no sync of templates; next time"),
            }
            let next = self.clock.now() + SignedDuration::from_secs(LOOK_SECONDS);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clock.sleep_until(next) => {}
            }
        }
    }

    /// Syncs if it is time. `true` when it did.
    async fn look(&self, interval_seconds: i64, is_first: bool) -> Result<bool, SyncError> {
        let state = self.store.template_sync_state(&self.waba_id).await?;
        if !is_due(&state, interval_seconds, is_first, self.clock.now()) {
            return Ok(false);
        }
        let changes = self.once(None).await?;
        tracing::info!(new = changes.new, changed = changes.changed, gone = changes.gone, "templates fetched");
        Ok(true)
    }

    /// Fetches the whole list and writes it in one transaction. On an error nothing is written but that it failed. A sync
    /// that a person asks for stands in the audit log.
    ///
    /// # Errors
    /// See [`SyncError`].
    pub async fn once(&self, asked_by: Option<&Actor>) -> Result<SyncChanges, SyncError> {
        let ticket = self.store.claim_template_sync(&self.waba_id, CLAIM_SECONDS).await?.ok_or(SyncError::UnderWay)?;
        let listed = match self.fetch().await {
            Ok(listed) => listed,
            Err(failure) => {
                let detail: String = failure.error.detail.chars().take(ERROR_CHARACTERS_MAX).collect();
                let asked = failure.retry_after_seconds.unwrap_or_default().min(RETRY_AFTER_SECONDS_MAX);
                let pause = FAILURE_PAUSE_SECONDS.max(i64::try_from(asked).unwrap_or(FAILURE_PAUSE_SECONDS));
                self.store.fail_template_sync(&self.waba_id, &detail, pause).await?;
                return Err(SyncError::Call(Box::new(failure)));
            }
        };
        let changes = self.store.finish_template_sync(&self.waba_id, ticket, listed, PAUSE_SECONDS, asked_by).await?;
        self.book.refresh(&self.store, &self.waba_id).await?;
        Ok(changes)
    }

    async fn fetch(&self) -> Result<Vec<TemplateRecord>, CallFailure> {
        let mut listed = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.api.template_page(after.as_deref()).await?;
            listed.extend(page.templates);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(listed),
            }
        }
        // Half a list would make the other half seem gone.
        let detail = format!("The account has more than {TEMPLATES_MAX} templates: delete some in WhatsApp Manager.");
        let error = SendError { code: None, reason: "too_many_templates".to_owned(), detail };
        Err(CallFailure { verdict: Verdict::Never, retry_after_seconds: None, error })
    }
}

fn is_due(state: &TemplateSyncState, interval_seconds: i64, is_first: bool, now: Timestamp) -> bool {
    if state.not_before.is_some_and(|not_before| now < not_before) {
        return false;
    }
    let is_old = state.synced_at.is_none_or(|at| at + SignedDuration::from_secs(interval_seconds) <= now);
    is_first || is_old || state.is_wanted || state.failed_at.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sync_is_due_when_asked_for_when_old_or_when_the_last_one_failed_but_never_within_a_pause() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let ago = |seconds: i64| Some(now - SignedDuration::from_secs(seconds));
        let fresh = TemplateSyncState { synced_at: ago(10), ..TemplateSyncState::default() };
        for (state, is_first, due) in [
            (TemplateSyncState::default(), false, true),
            (fresh.clone(), false, false),
            (fresh.clone(), true, true),
            (TemplateSyncState { synced_at: ago(3_600), ..fresh.clone() }, false, true),
            (TemplateSyncState { is_wanted: true, ..fresh.clone() }, false, true),
            (TemplateSyncState { failed_at: ago(1), ..fresh.clone() }, false, true),
            (TemplateSyncState { is_wanted: true, not_before: ago(-1), ..fresh.clone() }, false, false),
            (TemplateSyncState { not_before: ago(-1), ..fresh.clone() }, true, false),
            (TemplateSyncState { is_wanted: true, not_before: ago(0), ..fresh }, false, true),
        ] {
            assert_eq!(is_due(&state, 3_600, is_first, now), due, "{state:?} {is_first}");
        }
    }
}
