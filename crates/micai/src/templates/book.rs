//! The templates in memory, for those who ask at the moment of sending. Other processes change them, so each one looks at
//! the account's version every few seconds.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::domain::template::Template;
use crate::store::{Store, StoreError, TemplateFilter};

/// Seconds after which a change that another process made is known here.
pub const LOOK_SECONDS: i64 = 2;
/// The most templates that are held. WhatsApp allows 250 to most accounts, and some thousands to the largest.
pub const TEMPLATES_MAX: usize = 10_000;
/// Rows that are read at a time.
const PAGE_ROWS: i64 = 1_000;

/// The templates of the account at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    version: i64,
    by_name: HashMap<String, Vec<Arc<Template>>>,
}

impl Snapshot {
    pub(super) fn new(version: i64, templates: Vec<Template>) -> Self {
        let mut by_name: HashMap<String, Vec<Arc<Template>>> = HashMap::new();
        for template in templates {
            by_name.entry(template.name.clone()).or_default().push(Arc::new(template));
        }
        Self { version, by_name }
    }

    /// The template of that name in exactly that language. Allocates nothing.
    pub fn find(&self, name: &str, language: &str) -> Option<&Arc<Template>> {
        self.by_name.get(name)?.iter().find(|template| template.language == language)
    }

    /// The template of that name in each of its languages.
    pub fn named(&self, name: &str) -> &[Arc<Template>] {
        self.by_name.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many there are, each language counted.
    pub fn len(&self) -> usize {
        self.by_name.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// The templates that this process knows. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct TemplateBook {
    current: Arc<RwLock<Arc<Snapshot>>>,
}

impl TemplateBook {
    /// What is known now; stays as it is while it is held.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The template of that name in exactly that language.
    pub fn find(&self, name: &str, language: &str) -> Option<Arc<Template>> {
        self.snapshot().find(name, language).cloned()
    }

    /// Reads the templates again if they have changed. `true` when they had.
    ///
    /// # Errors
    /// As [`Store::templates`]; what was known stays.
    pub async fn refresh(&self, store: &Store, waba_id: &str) -> Result<bool, StoreError> {
        // Read first: rows that are younger than this version are read once more the next time.
        let version = store.template_sync_state(waba_id).await?.version;
        if version == self.snapshot().version {
            return Ok(false);
        }
        let templates = read_all(store, waba_id).await?;
        let snapshot = Arc::new(Snapshot::new(version, templates));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(true)
    }

    /// Follows the account until `stop` is cancelled.
    pub async fn follow(self, store: Store, waba_id: String, clock: SharedClock, stop: CancellationToken) {
        loop {
            if let Err(error) = self.refresh(&store, &waba_id).await {
                tracing::warn!(%error, "the templates could not be read; what is known stays");
            }
            let next = clock.now() + SignedDuration::from_secs(LOOK_SECONDS);
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock.sleep_until(next) => {}
            }
        }
    }
}

async fn read_all(store: &Store, waba_id: &str) -> Result<Vec<Template>, StoreError> {
    let mut templates: Vec<Template> = Vec::new();
    let mut after = (String::new(), String::new());
    loop {
        let rows = store.templates(waba_id, &TemplateFilter::default(), (&after.0, &after.1), PAGE_ROWS).await?;
        let is_last = rows.len() < usize::try_from(PAGE_ROWS).unwrap_or(usize::MAX);
        if let Some(last) = rows.last() {
            after = (last.record.template.name.clone(), last.record.template.language.clone());
        }
        templates.extend(rows.into_iter().map(|row| row.record.template));
        if templates.len() > TEMPLATES_MAX {
            templates.truncate(TEMPLATES_MAX);
            tracing::error!("there are more than {TEMPLATES_MAX} templates: those behind are not sent");
            return Ok(templates);
        }
        if is_last {
            return Ok(templates);
        }
    }
}
