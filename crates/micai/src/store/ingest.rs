//! Ingest: what webhooks say becomes rows, in one transaction for all webhooks that wait.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

use super::consent;
use super::db::Tx;
use super::error::StoreError;
use super::familiar::{self, AsOf, FamiliarPeople, Place};
use super::holds::release_held;
use super::identity::{IdentityBook, IdentityWrites};
use super::lane::Verb;
use super::people::{Opening, People, load_conversations, load_people, write_people};
use super::script::{Cell, Kind, Question, Rows, Script};
use super::stops::Stops;
use super::{account_news, handover, statuses, template_writes};
use crate::domain::contact::{Address, Person};
use crate::domain::inbound::{InboundState, NewInbound, NewPreference, WebhookFacts};
use crate::ids::{ContactId, ConversationId, Ids};

/// A webhook that waits for its commit.
pub(super) struct Webhook {
    pub facts: Arc<WebhookFacts>,
    pub received_at: Timestamp,
}

/// What a webhook brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestReceipt {
    /// Messages that were new to us.
    pub new_messages: usize,
    /// Conversations in which a message now waits for a turn.
    pub wake_turns: Vec<ConversationId>,
    /// Conversations whose outbox may go on: the window opened, or a status settled what stood in the way.
    pub wake_sends: Vec<ConversationId>,
}

pub(super) struct Ingest {
    ids: Arc<Ids>,
    linked: LinkedPairs,
    familiar: FamiliarPeople,
}

/// Phone numbers and user ids that this process has seen stand for the same person. Each status names both; without this
/// memory each would be a look-up that teaches nothing. It forgets by itself, which costs a look-up and no more.
#[derive(Default)]
struct LinkedPairs {
    hasher: std::hash::RandomState,
    /// Two generations: when the young one is full it takes the place of the old one.
    generations: Mutex<[HashSet<u64>; 2]>,
}

/// Pairs of one generation, a few megabytes in all.
const LINKED_PAIRS_MAX: usize = 100_000;

impl LinkedPairs {
    fn hash(&self, person: &Person) -> u64 {
        self.hasher.hash_one((&person.phone, &person.bsuid))
    }

    fn knows(&self, person: &Person) -> bool {
        let hash = self.hash(person);
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.iter().any(|generation| generation.contains(&hash))
    }

    fn remember(&self, person: &Person) {
        let hash = self.hash(person);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations[0].len() >= LINKED_PAIRS_MAX {
            generations.swap(0, 1);
            generations[0].clear();
        }
        generations[0].insert(hash);
    }
}

impl Verb<Webhook, IngestReceipt> for Ingest {
    fn run<'a>(
        &'a self,
        tx: &'a mut Tx,
        webhooks: &'a [Webhook],
    ) -> BoxFuture<'a, Result<Vec<IngestReceipt>, StoreError>> {
        self.familiar.begin();
        Box::pin(self.ingest(tx, webhooks))
    }

    fn committed(&self) {
        self.familiar.remember();
    }

    fn weight(&self, webhook: &Webhook) -> usize {
        webhook.facts.item_count().max(1)
    }
}

impl Ingest {
    pub fn new(ids: Arc<Ids>) -> Self {
        Self { ids, linked: LinkedPairs::default(), familiar: FamiliarPeople::default() }
    }

    async fn ingest(&self, tx: &mut Tx, webhooks: &[Webhook]) -> Result<Vec<IngestReceipt>, StoreError> {
        let Some(now) = webhooks.iter().map(|webhook| webhook.received_at).max() else { return Ok(Vec::new()) };
        let mut receipts = vec![IngestReceipt::default(); webhooks.len()];
        let template_news: Vec<_> = webhooks.iter().flat_map(|webhook| &webhook.facts.templates).collect();
        let account_news: Vec<_> = webhooks.iter().flat_map(|webhook| &webhook.facts.account).collect();
        if !template_news.is_empty() || !account_news.is_empty() {
            tx.together().await?;
        }
        let placed = self.place_messages(tx, webhooks, now).await?;
        let statuses: Vec<_> = webhooks
            .iter()
            .flat_map(|webhook| webhook.facts.statuses.iter().map(|status| (status, webhook.received_at)))
            .collect();
        let located = statuses::locate(tx, &self.ids, &statuses).await?;
        let refusals = statuses::marketing_refusals(&located);
        if !refusals.is_empty() {
            tx.together().await?;
        }
        let stops = Stops::find(tx, &located, now).await?;
        let mut script = Script::default();
        if let Some(as_of) = placed.from_memory {
            script.only_while(as_of.guard());
        }
        placed.people.write(&mut script, now);
        let messages = insert_messages(&mut script, &placed.messages)?;
        let released = release_held(tx, &mut script, placed.people.released(), now, "");
        let applied = statuses::apply(&mut script, &located, &stops, matches!(tx, Tx::Pg(..)))?;
        self.insert_raw_events(&mut script, webhooks);
        account_news::insert_numbers(&mut script, webhooks.iter().flat_map(|webhook| &webhook.facts.numbers));
        let returned = applied.returned();
        if !returned.is_empty() {
            tx.together().await?;
        }
        let mut answers = script.run(tx).await.inspect_err(|_| self.familiar.forget())?;
        stops.write(tx, &self.ids, &applied.held, now).await?;
        if !returned.is_empty() {
            handover::silence_returned(tx, &returned, now).await?;
        }
        template_writes::apply_news(tx, &self.ids, &template_news, now).await?;
        account_news::apply(tx, &self.ids, &account_news, now).await?;
        consent::note_refusals(tx, &self.ids, &refusals, now).await?;
        credit(&mut receipts, &placed.messages, &answers.of(messages));
        let wake_sends = answers.of(released).into_iter().chain(answers.of(applied.waiting)).map(ConversationId);
        if let Some(first) = receipts.first_mut() {
            // Wakes are hints for anybody: one receipt of the batch carries them all.
            first.wake_sends =
                wake_sends.chain(applied.again.into_iter().map(|(conversation, _)| conversation)).collect();
        }
        Ok(receipts)
    }

    /// Finds or makes the contact and the conversation of each message.
    async fn place_messages<'a>(
        &self,
        tx: &mut Tx,
        webhooks: &'a [Webhook],
        now: Timestamp,
    ) -> Result<Placement<'a>, StoreError> {
        let mut arrivals = arrivals(webhooks);
        let as_of = if arrivals.is_empty() { None } else { Some(self.familiar.as_of(tx).await?) };
        for arrival in &mut arrivals {
            arrival.familiar = as_of.and_then(|as_of| self.familiar.find(as_of, arrival.message));
        }
        let addresses = addresses_of(webhooks, &arrivals, &self.linked);
        let known = load_people(tx, &addresses).await?;
        let mut book = IdentityBook::new(&self.ids, now, known.identities, known.names);
        let Met { contacts, preferences } = self.meet(&mut book, webhooks, &arrivals);
        let known_as: Vec<bool> =
            arrivals.iter().zip(&contacts).map(|(one, contact)| one.is_known_as(&book, *contact)).collect();
        let mut writes = book.into_writes();
        // A later webhook of the batch may have told that two of them are one.
        let contacts: Vec<_> =
            contacts.into_iter().map(|contact| contact.map(|contact| writes.present(contact))).collect();
        let mut conversations = known.conversations;
        if writes.touch_known() || !preferences.is_empty() {
            tx.together().await?;
            write_people(tx, &self.ids, &writes, now).await?;
            if writes.change_who_is_who() {
                familiar::note_change(tx, self.ids.uuid(now)).await?;
            }
            consent::note_preferences(tx, &self.ids, &preferences, now).await?;
            if !writes.merges.is_empty() {
                conversations = load_conversations(tx, contacts.iter().copied().flatten()).await?;
            }
            writes = IdentityWrites::default();
        }
        let mut people = People::new(writes, conversations);
        let mut messages = Vec::with_capacity(arrivals.len());
        for ((arrival, contact), is_known) in arrivals.iter().zip(contacts).zip(known_as) {
            // A blocked contact's messages are recorded and get no turn. Memory knows no blocked ones.
            let is_blocked = contact.is_some_and(|contact| known.blocked.contains(&contact));
            let gets_turn = arrival.message.state == InboundState::Pending && !is_blocked;
            let (place, news) = match (arrival.familiar, contact) {
                (Some(place), _) => (place, people.familiar(place, arrival.opening(), gets_turn)),
                (None, Some(contact)) => {
                    let place =
                        people.conversation(&self.ids, now, contact, arrival.message, arrival.opening(), gets_turn);
                    (place, (is_known && !is_blocked).then_some(place))
                }
                (None, None) => continue,
            };
            let Arrival { webhook, received_at, message, .. } = *arrival;
            if let (Some(as_of), Some(news)) = (as_of, news) {
                self.familiar.meet(as_of, message, news);
            }
            let state = match message.state {
                InboundState::Pending if is_blocked => InboundState::Noted,
                state => state,
            };
            messages.push(Placed {
                webhook,
                received_at,
                message,
                conversation_id: place.conversation_id,
                id: self.ids.uuid(received_at),
                state,
            });
        }
        let from_memory = as_of.filter(|_| arrivals.iter().any(|arrival| arrival.familiar.is_some()));
        Ok(Placement { messages, people, from_memory })
    }

    /// Goes through the webhooks in their order: whom each message is from, and what statuses and preferences teach.
    fn meet<'a>(&self, book: &mut IdentityBook<'_>, webhooks: &'a [Webhook], arrivals: &[Arrival<'_>]) -> Met<'a> {
        let mut met = Met::default();
        let mut arrivals = arrivals.iter().peekable();
        for (position, webhook) in webhooks.iter().enumerate() {
            while let Some(arrival) = arrivals.next_if(|arrival| arrival.webhook == position) {
                met.contacts.push(arrival.familiar.is_none().then(|| {
                    let change = arrival.message.identity_change.as_ref();
                    let changed = change.and_then(|change| book.change(change));
                    changed.unwrap_or_else(|| book.resolve(&arrival.message.person))
                }));
            }
            for status in webhook.facts.statuses.iter().filter(|status| names_twice(&status.person)) {
                match book.are_one(&status.person) {
                    true => self.linked.remember(&status.person),
                    false => book.learn(&status.person),
                }
            }
            for preference in &webhook.facts.preferences {
                met.preferences.push((book.resolve(&preference.person), preference));
            }
        }
        met
    }

    fn insert_raw_events<'a>(&self, script: &mut Script<'a>, webhooks: &'a [Webhook]) {
        const COLUMNS: &[(&str, Kind)] = &[
            ("id", Kind::Id),
            ("kind", Kind::Text),
            ("waba_id", Kind::Text),
            ("reason", Kind::Text),
            ("raw", Kind::Text),
            ("received_at", Kind::Instant),
        ];
        let mut rows = Rows::new("raw_events", COLUMNS);
        for webhook in webhooks {
            for event in &webhook.facts.raw_events {
                rows.push([
                    self.ids.uuid(webhook.received_at).into(),
                    (&event.kind).into(),
                    (&event.waba_id).into(),
                    (&event.reason).into(),
                    (&event.raw).into(),
                    webhook.received_at.into(),
                ]);
            }
        }
        let rows = script.batch(rows);
        script.step(
            &[rows],
            "INSERT INTO webhook_events (id, kind, waba_id, reason, raw, received_at)
             SELECT id, kind, waba_id, reason, raw, received_at FROM raw_events",
        );
    }
}

/// The messages of a batch, and what must be written about the people behind them.
#[derive(Default)]
struct Placement<'a> {
    messages: Vec<Placed<'a>>,
    people: People,
    /// What memory stood for, where something was placed by it.
    from_memory: Option<AsOf>,
}

/// A message with the conversation it belongs to.
struct Placed<'a> {
    webhook: usize,
    received_at: Timestamp,
    message: &'a NewInbound,
    conversation_id: ConversationId,
    id: Uuid,
    state: InboundState,
}

/// A message that is to be placed.
struct Arrival<'a> {
    webhook: usize,
    received_at: Timestamp,
    message: &'a NewInbound,
    /// Where it belongs, if it is from somebody familiar.
    familiar: Option<Place>,
}

impl Arrival<'_> {
    /// How it opens the window, if it does.
    fn opening(&self) -> Option<Opening> {
        let at = self.message.sent_at.unwrap_or(self.received_at);
        self.message.opens_window.then_some(Opening { at, is_referred: self.message.is_referred })
    }

    fn is_known_as(&self, book: &IdentityBook<'_>, contact: Option<ContactId>) -> bool {
        let is_plain = self.familiar.is_none() && self.message.identity_change.is_none();
        is_plain && contact.is_some_and(|contact| book.knows(contact, &self.message.person))
    }
}

fn arrivals(webhooks: &[Webhook]) -> Vec<Arrival<'_>> {
    let numbered = webhooks.iter().enumerate();
    let arrivals = numbered.flat_map(|(position, webhook)| {
        let arrival =
            move |message| Arrival { webhook: position, received_at: webhook.received_at, message, familiar: None };
        webhook.facts.messages.iter().map(arrival)
    });
    arrivals.collect()
}

/// Whom a batch is about.
#[derive(Default)]
struct Met<'a> {
    /// Of each message; none for somebody familiar.
    contacts: Vec<Option<ContactId>>,
    /// What somebody wants to hear.
    preferences: Vec<(ContactId, &'a NewPreference)>,
}

/// The addresses whose rows decide who is who in a batch.
fn addresses_of(webhooks: &[Webhook], arrivals: &[Arrival<'_>], linked: &LinkedPairs) -> Vec<Address> {
    let mut seen = HashSet::new();
    for arrival in arrivals.iter().filter(|arrival| arrival.familiar.is_none()) {
        seen.extend(arrival.message.person.addresses());
        if let Some(change) = &arrival.message.identity_change {
            seen.extend(change.previous.iter().chain(&change.current).cloned());
        }
    }
    for webhook in webhooks {
        // A status teaches something only where it names a person twice.
        for status in webhook.facts.statuses.iter().filter(|status| names_twice(&status.person)) {
            if !linked.knows(&status.person) {
                seen.extend(status.person.addresses());
            }
        }
        for preference in &webhook.facts.preferences {
            seen.extend(preference.person.addresses());
        }
    }
    seen.into_iter().collect()
}

fn names_twice(person: &Person) -> bool {
    person.phone.is_some() && person.bsuid.is_some()
}

/// Inserts the messages that are new to us; answers with their row ids.
fn insert_messages<'a>(script: &mut Script<'a>, placed: &[Placed<'a>]) -> Result<Question, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("phone_number_id", Kind::Text),
        ("provider_message_id", Kind::Text),
        ("target_provider_message_id", Kind::Text),
        ("kind", Kind::Text),
        ("nature", Kind::Text),
        ("text", Kind::Text),
        ("payload", Kind::Json),
        ("reply_to_kind", Kind::Text),
        ("reply_to", Kind::Text),
        ("sent_at", Kind::Instant),
        ("received_at", Kind::Instant),
        ("state", Kind::Text),
    ];
    let mut rows = Rows::new("messages", COLUMNS);
    for one in placed {
        let message = one.message;
        rows.push([
            one.conversation_id.0.into(),
            one.id.into(),
            (&message.phone_number_id).into(),
            (&message.provider_message_id).into(),
            (&message.target_provider_message_id).into(),
            (&message.kind).into(),
            message.nature.as_str().into(),
            (&message.text).into(),
            Cell::json(&message.payload)?,
            message.reply_to.kind.as_str().into(),
            (&message.reply_to.value).into(),
            message.sent_at.unwrap_or(one.received_at).into(),
            one.received_at.into(),
            one.state.as_str().into(),
        ]);
    }
    let rows = script.batch(rows);
    Ok(script.ask(
        &[rows],
        "INSERT INTO inbound_messages
             (conversation_id, id, phone_number_id, provider_message_id, target_provider_message_id, kind, nature,
              text, payload, reply_to_kind, reply_to, sent_at, received_at, state, failures)
         SELECT conversation_id, id, phone_number_id, provider_message_id, target_provider_message_id, kind, nature,
              text, payload, reply_to_kind, reply_to, sent_at, received_at, state, 0
         FROM messages WHERE true
         ON CONFLICT (phone_number_id, provider_message_id) DO NOTHING RETURNING id",
    ))
}

fn credit(receipts: &mut [IngestReceipt], placed: &[Placed<'_>], new: &HashSet<Uuid>) {
    for one in placed.iter().filter(|one| new.contains(&one.id)) {
        let Some(receipt) = receipts.get_mut(one.webhook) else { continue };
        receipt.new_messages += 1;
        if one.state == InboundState::Pending && !receipt.wake_turns.contains(&one.conversation_id) {
            receipt.wake_turns.push(one.conversation_id);
        }
    }
}
