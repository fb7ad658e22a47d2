//! What operators do with templates: fetch them, hand one in, see what a send would look like. The way from the admin API to
//! WhatsApp.

use std::sync::Arc;

use serde_json::Value;

use super::book::{Snapshot, TemplateBook};
use super::creation::COMPONENTS_BYTES_MAX;
use super::sync::{SyncError, TemplateSync};
use crate::domain::audit::Actor;
use crate::domain::evidence::bounded;
use crate::domain::template::news::{NewTemplate, TemplateRecord};
use crate::domain::template::{Template, TemplateParts, TemplateQuality, TemplateUse};
use crate::store::{Store, StoreError, SyncChanges};
use crate::transport::{CallFailure, CloudApi, Verdict};

/// Templates, as operators use them. Clones share everything.
#[derive(Clone)]
pub struct TemplateDesk {
    store: Store,
    api: Arc<CloudApi>,
    book: TemplateBook,
    /// Absent without an account: then there are no templates.
    sync: Option<TemplateSync>,
}

/// Why a template was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// No account is set.
    #[error("no WhatsApp business account is set")]
    NoAccount,
    /// WhatsApp refused it; a sentence says why.
    #[error("{0}")]
    Refused(String),
    /// Nothing reached WhatsApp, or it cannot take it now; nothing was made.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been made: the answer was lost.
    #[error("{0}")]
    Unknown(String),
    /// It was made, and the database could not note it; the next sync does.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TemplateDesk {
    /// A desk; `sync` knows the account.
    pub fn new(store: Store, api: Arc<CloudApi>, book: TemplateBook, sync: Option<TemplateSync>) -> Self {
        Self { store, api, book, sync }
    }

    /// The account whose templates these are.
    pub fn waba_id(&self) -> Option<&str> {
        self.sync.as_ref().map(TemplateSync::waba_id)
    }

    /// The templates as they are known here now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.book.snapshot()
    }

    /// Fetches the list now; `None` without an account. It goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// See [`SyncError`].
    pub async fn sync(&self, actor: Actor) -> Option<Result<SyncChanges, SyncError>> {
        let sync = self.sync.clone()?;
        let running = tokio::spawn(async move { sync.once(Some(&actor)).await });
        // A sync that panicked frees its claim by itself after a while.
        Some(running.await.unwrap_or(Err(SyncError::UnderWay)))
    }

    /// Hands a new template in for review and notes it. Check it first: see [`super::creation::faults`].
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(&self, new: NewTemplate, actor: Actor) -> Result<Template, CreateError> {
        let waba_id = self.waba_id().ok_or(CreateError::NoAccount)?.to_owned();
        let (desk, made) = (self.clone(), Self::make(self.api.clone(), new));
        // Not cut off with the request: what WhatsApp has made must be noted.
        let running = tokio::spawn(async move {
            let record = made.await?;
            desk.store.save_template(&waba_id, record.clone(), &actor).await?;
            desk.book.refresh(&desk.store, &waba_id).await?;
            Ok(record.template)
        });
        running.await.unwrap_or_else(|error| Err(CreateError::Unknown(error.to_string())))
    }

    async fn make(api: Arc<CloudApi>, new: NewTemplate) -> Result<TemplateRecord, CreateError> {
        let created = api.create_template(&new).await.map_err(|failure| refused(&failure))?;
        let template = Template {
            parts: TemplateParts::read(&new.components),
            name: new.name,
            language: new.language,
            provider_template_id: Some(created.provider_template_id),
            status: created.status,
            status_reason: None,
            category: created.category.unwrap_or(new.category),
            quality: TemplateQuality::Unknown,
            parameter_format: new.parameter_format,
        };
        let components = bounded(new.components, COMPONENTS_BYTES_MAX);
        Ok(TemplateRecord { template, components })
    }

    /// The request that a send of this template from that number would make, to somebody who is left out. Sends nothing.
    pub fn request(&self, phone_number_id: &str, filled: &TemplateUse) -> Value {
        self.api.template_request(phone_number_id, filled)
    }
}

fn refused(failure: &CallFailure) -> CreateError {
    let detail = failure.error.detail.clone();
    match failure.verdict {
        Verdict::Unknown => CreateError::Unknown(detail),
        Verdict::Never | Verdict::NeedsTemplate => CreateError::Refused(detail),
        _ => CreateError::Unavailable(detail),
    }
}
