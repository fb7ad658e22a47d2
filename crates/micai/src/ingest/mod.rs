//! Ingest: a signed webhook becomes rows before it is answered 200.
//!
//! Body bounded, signature checked over the raw bytes, every entry, change, message and status converted, all of it
//! committed in one shared transaction; then, best effort, the conversations are announced to the queue.

mod account;
mod convert;
mod statuses;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;
use whatsapp::signature::{self, SignatureError};
use whatsapp::webhook;

use crate::clock::SharedClock;
use crate::cost::PriceTable;
use crate::domain::inbound::{AfterFailure, RawEvent, WebhookFacts};
use crate::domain::news::OurNumber;
use crate::domain::outbound::DeliveryStatus;
use crate::domain::pause::PauseScope;
use crate::queue::{Topic, WakeQueue};
use crate::shared::{Changes, Pace, Shared, Subject, number_key};
use crate::store::{IngestReceipt, Store, StoreError};
pub use convert::person_named;
pub use whatsapp::signature::SIGNATURE_HEADER;

/// Takes webhooks in. Clones share everything.
#[derive(Clone)]
pub struct Ingest {
    store: Store,
    queue: Arc<dyn WakeQueue>,
    clock: SharedClock,
    rules: Arc<IngestRules>,
    /// Numbers of ours that the database knows.
    known_numbers: Arc<Mutex<HashSet<OurNumber>>>,
}

/// What decides about webhooks.
pub struct IngestRules {
    /// All app secrets that may have signed; none means that nothing is taken in.
    pub secrets: Vec<SecretString>,
    /// How many items of one webhook share a transaction.
    pub items_max: usize,
    /// Attempts of one message, the first included.
    pub attempts_max: i32,
    /// The account that is ours; none: whatever webhooks are about.
    pub business_account_id: Option<String>,
    /// What statuses mean in money.
    pub prices: Arc<PriceTable>,
    /// The throughput of a number, if that is limited: what comes in uses it up, too.
    pub throughput: Option<(Arc<dyn Shared>, Pace)>,
    /// Told what has been committed.
    pub changes: Changes,
}

/// Numbers of ours that are held in memory. An installation has a handful; at the bound it begins anew.
const KNOWN_NUMBERS_MAX: usize = 1_024;

/// Why a webhook was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Not signed with a secret of ours: 401.
    #[error("the signature does not fit: {0}")]
    Signature(#[from] SignatureError),
    /// No JSON object: 400.
    #[error(transparent)]
    NotJson(#[from] webhook::ParseError),
    /// The database cannot take it now: 503, and WhatsApp comes back for up to seven days.
    #[error(transparent)]
    Unavailable(StoreError),
}

impl Ingest {
    /// Takes in by these rules.
    pub fn new(store: Store, queue: Arc<dyn WakeQueue>, clock: SharedClock, rules: IngestRules) -> Self {
        Self { store, queue, clock, rules: Arc::new(rules), known_numbers: Arc::default() }
    }

    /// Takes one webhook in and returns how many of its messages were new to us.
    ///
    /// # Errors
    /// See [`IngestError`]. On an error nothing counts as taken in, and the sender must come back.
    pub async fn take(&self, signature: Option<&str>, body: &[u8]) -> Result<usize, IngestError> {
        signature::verify(&self.rules.secrets, signature, body)?;
        let terms = convert::Terms {
            now: self.clock.now(),
            attempts_max: self.rules.attempts_max,
            account: self.rules.business_account_id.as_deref(),
        };
        let mut facts = convert::facts(webhook::parse(body)?, &terms);
        self.leave_out_known_numbers(&mut facts);
        self.place(&mut facts);
        self.price(&mut facts);
        self.charge(&facts);
        let numbers = facts.numbers.clone();
        let mut new_messages = 0;
        for part in convert::split(facts, self.rules.items_max) {
            new_messages += self.commit(part).await?;
        }
        self.remember_numbers(numbers);
        crate::crash::point("ingest");
        Ok(new_messages)
    }

    /// What comes in counts against the number's throughput.
    fn charge(&self, facts: &WebhookFacts) {
        let Some((shared, pace)) = &self.rules.throughput else { return };
        let mut steps: BTreeMap<&str, u32> = BTreeMap::new();
        for message in &facts.messages {
            *steps.entry(&message.phone_number_id).or_default() += 1;
        }
        for (number, steps) in steps {
            shared.charge(&number_key(number), *pace, steps, self.clock.now());
        }
    }

    fn leave_out_known_numbers(&self, facts: &mut WebhookFacts) {
        let known = self.known_numbers.lock().unwrap_or_else(PoisonError::into_inner);
        facts.numbers.retain(|number| !known.contains(number));
    }

    fn remember_numbers(&self, numbers: Vec<OurNumber>) {
        if numbers.is_empty() {
            return;
        }
        let mut known = self.known_numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + numbers.len() > KNOWN_NUMBERS_MAX {
            known.clear();
        }
        known.extend(numbers.into_iter().take(KNOWN_NUMBERS_MAX));
    }

    /// A status does not say in which country it stops sends.
    fn place(&self, facts: &mut WebhookFacts) {
        for status in &mut facts.statuses {
            if let AfterFailure::Stop { scope: PauseScope::Country, subject, .. } = &mut status.after {
                *subject = self.rules.prices.country_of_person(&status.person);
            }
        }
    }

    /// WhatsApp names the bracket of a price and not the amount.
    fn price(&self, facts: &mut WebhookFacts) {
        for status in &mut facts.statuses {
            if let Some(price) = &mut status.price {
                price.charge = Some(self.rules.prices.charge(&status.person, price));
            }
        }
    }

    /// Commits facts. Facts that the database refuses are committed one by one, and what is refused even alone is kept
    /// raw: one bad item costs nobody else anything, and WhatsApp need not repeat it for a week.
    async fn commit(&self, facts: WebhookFacts) -> Result<usize, IngestError> {
        let facts = Arc::new(facts);
        match self.store.ingest(facts.clone()).await {
            Ok(receipt) => {
                self.tell_statuses(&facts);
                Ok(self.announce(receipt))
            }
            Err(StoreError::Refused(reason)) => {
                tracing::warn!(%reason, items = facts.item_count(), "the database refuses a webhook; taking its items one by one");
                let mut new_messages = 0;
                for (single, raw) in convert::singles(&facts) {
                    new_messages += self.commit_single(single, raw).await?;
                }
                Ok(new_messages)
            }
            Err(error) => Err(IngestError::Unavailable(error)),
        }
    }

    async fn commit_single(&self, facts: WebhookFacts, raw: String) -> Result<usize, IngestError> {
        match self.store.ingest(Arc::new(facts)).await {
            Ok(receipt) => Ok(self.announce(receipt)),
            Err(StoreError::Refused(reason)) => {
                let event = RawEvent { kind: "refused".to_owned(), waba_id: None, reason: Some(reason), raw };
                let facts = WebhookFacts { raw_events: vec![event], ..WebhookFacts::default() };
                let receipt = self.store.ingest(Arc::new(facts)).await.map_err(IngestError::Unavailable)?;
                Ok(self.announce(receipt))
            }
            Err(error) => Err(IngestError::Unavailable(error)),
        }
    }

    /// A status names its conversation by what we gave along with the message, and wakes nobody in most cases.
    fn tell_statuses(&self, facts: &WebhookFacts) {
        let changes = &self.rules.changes;
        changes.conversations(facts.statuses.iter().filter_map(|status| Some(status.callback?.0)));
        if facts.statuses.iter().any(|status| status.status == DeliveryStatus::Failed) {
            changes.subject(Subject::Letters);
        }
    }

    fn announce(&self, receipt: IngestReceipt) -> usize {
        let changed = receipt.wake_turns.iter().chain(&receipt.wake_sends).copied();
        self.rules.changes.conversations(changed);
        self.queue.announce(Topic::Turn, &receipt.wake_turns);
        self.queue.announce(Topic::Send, &receipt.wake_sends);
        receipt.new_messages
    }
}
