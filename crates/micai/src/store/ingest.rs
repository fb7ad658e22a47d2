//! Ingest: what webhooks say becomes rows, in one transaction for all webhooks that wait.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use super::identity::{ContactNames, IdentityBook, IdentityWrites, KnownIdentity};
use super::lane::Verb;
use super::statuses;
use crate::domain::contact::{Address, AddressKind, PORTFOLIO_ID, Person};
use crate::domain::conversation::ConversationMode;
use crate::domain::inbound::{InboundState, NewInbound, WebhookFacts};
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
    pub ids: Arc<Ids>,
}

impl Verb<Webhook, IngestReceipt> for Ingest {
    fn run<'a>(
        &'a self,
        tx: &'a mut Tx,
        webhooks: &'a [Webhook],
    ) -> BoxFuture<'a, Result<Vec<IngestReceipt>, StoreError>> {
        Box::pin(self.ingest(tx, webhooks))
    }

    fn weight(&self, webhook: &Webhook) -> usize {
        webhook.facts.item_count().max(1)
    }
}

impl Ingest {
    async fn ingest(&self, tx: &mut Tx, webhooks: &[Webhook]) -> Result<Vec<IngestReceipt>, StoreError> {
        let Some(now) = webhooks.iter().map(|webhook| webhook.received_at).max() else { return Ok(Vec::new()) };
        let mut receipts = vec![IngestReceipt::default(); webhooks.len()];
        let placed = self.place_messages(tx, webhooks, now).await?;
        let new = insert_messages(tx, &placed).await?;
        credit(&mut receipts, &placed, &new);
        let opened = opened_windows(&placed, &new);
        let mut wake_sends = release_held(tx, &opened, now).await?;
        let statuses: Vec<_> = webhooks
            .iter()
            .flat_map(|webhook| webhook.facts.statuses.iter().map(|status| (status, webhook.received_at)))
            .collect();
        wake_sends.extend(statuses::apply(tx, &self.ids, &statuses).await?);
        self.insert_raw_events(tx, webhooks).await?;
        if let Some(first) = receipts.first_mut() {
            // Wakes are hints for anybody: one receipt of the batch carries them all.
            first.wake_sends = wake_sends;
        }
        Ok(receipts)
    }

    /// Finds or makes the contact and the conversation of each message.
    async fn place_messages<'a>(
        &self,
        tx: &mut Tx,
        webhooks: &'a [Webhook],
        now: Timestamp,
    ) -> Result<Vec<Placed<'a>>, StoreError> {
        let addresses = addresses_of(webhooks);
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let (known, names) = load_identities(tx, &addresses).await?;
        let mut book = IdentityBook::new(&self.ids, now, known, names);
        let mut contacts = Vec::new();
        let mut stopped = Vec::new();
        for (position, webhook) in webhooks.iter().enumerate() {
            for message in &webhook.facts.messages {
                let changed = message.identity_change.as_ref().and_then(|change| book.change(change));
                let contact_id = changed.unwrap_or_else(|| book.resolve(&message.person));
                let id = self.ids.uuid(webhook.received_at);
                contacts.push((position, webhook.received_at, message, contact_id, id));
            }
            webhook.facts.statuses.iter().for_each(|status| book.learn(&status.person));
            for preference in &webhook.facts.preferences {
                stopped.push((book.resolve(&preference.person), preference.marketing_stopped));
            }
        }
        let writes = book.into_writes();
        write_identities(tx, &writes, now).await?;
        write_preferences(tx, &stopped, now).await?;
        let conversations = self.upsert_conversations(tx, &contacts, now).await?;
        contacts
            .into_iter()
            .map(|(webhook, received_at, message, contact_id, id)| {
                let key = (contact_id, message.phone_number_id.clone());
                let conversation_id = *conversations
                    .get(&key)
                    .ok_or_else(|| StoreError::Unreadable("a conversation that was just written".to_owned()))?;
                Ok(Placed { webhook, received_at, message, conversation_id, id })
            })
            .collect()
    }

    async fn upsert_conversations(
        &self,
        tx: &mut Tx,
        contacts: &[(usize, Timestamp, &NewInbound, ContactId, Uuid)],
        now: Timestamp,
    ) -> Result<HashMap<(ContactId, String), ConversationId>, StoreError> {
        // Sorted, so that two transactions lock the rows in the same order.
        let mut wanted: BTreeMap<(ContactId, &str), Option<Timestamp>> = BTreeMap::new();
        for (_, received_at, message, contact_id, _) in contacts {
            let opened = message.opens_window.then(|| message.sent_at.unwrap_or(*received_at));
            let latest = wanted.entry((*contact_id, &message.phone_number_id)).or_default();
            *latest = (*latest).max(opened);
        }
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<ConversationRow> = on!(tx, |connection, D| {
            let mut sql = QueryBuilder::<D>::new(
                "INSERT INTO conversations
                     (id, contact_id, phone_number_id, mode, last_inbound_at, lease_token, created_at) ",
            );
            sql.push_values(&wanted, |mut row, ((contact_id, phone_number_id), opened)| {
                row.push_bind(self.ids.uuid(now))
                    .push_bind(contact_id.0)
                    .push_bind(*phone_number_id)
                    .push_bind(ConversationMode::Bot.as_str())
                    .push_bind(opened.map(Ts))
                    .push_bind(0_i64)
                    .push_bind(Ts(now));
            });
            sql.push(
                " ON CONFLICT (contact_id, phone_number_id) DO UPDATE SET last_inbound_at =
                      CASE WHEN conversations.last_inbound_at IS NULL
                                OR excluded.last_inbound_at > conversations.last_inbound_at
                           THEN excluded.last_inbound_at ELSE conversations.last_inbound_at END
                  RETURNING id, contact_id, phone_number_id",
            );
            sql.build_query_as().persistent(false).fetch_all(connection).await?
        });
        Ok(rows
            .into_iter()
            .map(|row| ((ContactId(row.contact_id), row.phone_number_id), ConversationId(row.id)))
            .collect())
    }

    async fn insert_raw_events(&self, tx: &mut Tx, webhooks: &[Webhook]) -> Result<(), StoreError> {
        let events: Vec<_> = webhooks
            .iter()
            .flat_map(|webhook| webhook.facts.raw_events.iter().map(|event| (event, webhook.received_at)))
            .collect();
        if events.is_empty() {
            return Ok(());
        }
        on!(tx, |connection, D| {
            let mut sql =
                QueryBuilder::<D>::new("INSERT INTO webhook_events (id, kind, waba_id, reason, raw, received_at) ");
            sql.push_values(&events, |mut row, (event, received_at)| {
                row.push_bind(self.ids.uuid(*received_at))
                    .push_bind(&event.kind)
                    .push_bind(&event.waba_id)
                    .push_bind(&event.reason)
                    .push_bind(&event.raw)
                    .push_bind(Ts(*received_at));
            });
            sql.build().persistent(false).execute(connection).await?;
        });
        Ok(())
    }
}

/// A message with the conversation it belongs to.
struct Placed<'a> {
    webhook: usize,
    received_at: Timestamp,
    message: &'a NewInbound,
    conversation_id: ConversationId,
    id: Uuid,
}

row! { struct ConversationRow { id: Uuid, contact_id: Uuid, phone_number_id: String } }
row! { struct NewRow { id: Uuid } }
row! { struct HeldRow { conversation_id: Uuid } }
row! {
    struct IdentityRow {
        id: Uuid,
        kind: String,
        value: String,
        contact_id: Uuid,
        superseded_at: Option<Ts>,
        name: Option<String>,
        username: Option<String>,
    }
}

/// The addresses whose rows decide who is who in a batch.
fn addresses_of(webhooks: &[Webhook]) -> Vec<Address> {
    let mut seen = HashSet::new();
    for webhook in webhooks {
        for message in &webhook.facts.messages {
            seen.extend(message.person.addresses());
            if let Some(change) = &message.identity_change {
                seen.extend(change.previous.iter().chain(&change.current).cloned());
            }
        }
        // A status teaches something only where it names a person twice.
        for status in webhook.facts.statuses.iter().filter(|status| names_twice(&status.person)) {
            seen.extend(status.person.addresses());
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

/// Loads the given addresses and every other identifier of the contacts behind them.
pub(super) async fn load_identities(
    tx: &mut Tx,
    addresses: &[Address],
) -> Result<(Vec<KnownIdentity>, HashMap<ContactId, ContactNames>), StoreError> {
    let rows: Vec<IdentityRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new("WITH wanted (kind, value) AS (");
        sql.push_values(addresses, |mut row, address| {
            row.push_bind(address.kind.as_str()).push_bind(&address.value);
        });
        sql.push(
            ") SELECT DISTINCT i.id, i.kind, i.value, i.contact_id, i.superseded_at, c.name, c.username
               -- CROSS JOIN keeps SQLite from walking through all identities in search of the few that are wanted.
               FROM wanted w
               CROSS JOIN contact_identities k
               CROSS JOIN contact_identities i
               CROSS JOIN contacts c
               WHERE k.kind = w.kind AND k.value = w.value AND i.contact_id = k.contact_id AND c.id = k.contact_id
                 AND k.portfolio_id = ",
        );
        sql.push_bind(PORTFOLIO_ID);
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    let mut known = Vec::with_capacity(rows.len());
    let mut names = HashMap::new();
    for row in rows {
        let kind = AddressKind::parse(&row.kind).ok_or_else(|| StoreError::unreadable("identity kind", &row.kind))?;
        let contact_id = ContactId(row.contact_id);
        names.insert(contact_id, ContactNames { name: row.name, username: row.username });
        let address = Address { kind, value: row.value };
        known.push(KnownIdentity { id: row.id, address, contact_id, is_live: row.superseded_at.is_none() });
    }
    Ok((known, names))
}

/// Writes what the book decided. The unique index on live identities makes a second process that met the same person
/// at the same moment fail here; its batch is committed again on its own and then finds the contact.
pub(super) async fn write_identities(tx: &mut Tx, writes: &IdentityWrites, now: Timestamp) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        if !writes.new_contacts.is_empty() {
            let mut sql = QueryBuilder::<D>::new("INSERT INTO contacts (id, name, username, created_at) ");
            sql.push_values(&writes.new_contacts, |mut row, (id, names)| {
                row.push_bind(id.0).push_bind(&names.name).push_bind(&names.username).push_bind(Ts(now));
            });
            sql.build().persistent(false).execute(&mut *connection).await?;
        }
        for id in &writes.superseded {
            sqlx::query("UPDATE contact_identities SET superseded_at = $1 WHERE id = $2")
                .bind(Ts(now))
                .bind(id)
                .execute(&mut *connection)
                .await?;
        }
        for (id, names) in &writes.renamed {
            sqlx::query("UPDATE contacts SET name = $1, username = $2 WHERE id = $3")
                .bind(&names.name)
                .bind(&names.username)
                .bind(id.0)
                .execute(&mut *connection)
                .await?;
        }
        if !writes.new_identities.is_empty() {
            let mut sql = QueryBuilder::<D>::new(
                "INSERT INTO contact_identities
                     (id, portfolio_id, kind, value, contact_id, created_at, superseded_at) ",
            );
            sql.push_values(&writes.new_identities, |mut row, new| {
                row.push_bind(new.id)
                    .push_bind(PORTFOLIO_ID)
                    .push_bind(new.address.kind.as_str())
                    .push_bind(&new.address.value)
                    .push_bind(new.contact_id.0)
                    .push_bind(Ts(now))
                    .push_bind((!new.is_live).then_some(Ts(now)));
            });
            sql.build().persistent(false).execute(&mut *connection).await?;
        }
    });
    for (from, into) in &writes.merges {
        merge_contacts(tx, *from, *into).await?;
    }
    Ok(())
}

/// Everything known of `from` belongs to `into`. A conversation that both have on the same number stays as it was, for
/// its history; new messages go to that of `into`, which inherits the window.
async fn merge_contacts(tx: &mut Tx, from: ContactId, into: ContactId) -> Result<(), StoreError> {
    const STEPS: [&str; 5] = [
        "UPDATE contact_identities SET contact_id = $2 WHERE contact_id = $1",
        "UPDATE contacts SET merged_into = $2 WHERE id = $1",
        "UPDATE contacts SET opted_out_at = (SELECT f.opted_out_at FROM contacts f WHERE f.id = $1)
         WHERE id = $2 AND opted_out_at IS NULL",
        "UPDATE conversations SET last_inbound_at =
             (SELECT max(b.last_inbound_at) FROM conversations b
              WHERE b.contact_id IN ($1, $2) AND b.phone_number_id = conversations.phone_number_id)
         WHERE contact_id = $2",
        "UPDATE conversations SET contact_id = $2 WHERE contact_id = $1 AND NOT EXISTS
             (SELECT 1 FROM conversations b
              WHERE b.contact_id = $2 AND b.phone_number_id = conversations.phone_number_id)",
    ];
    for step in STEPS {
        on!(tx, |connection, D| {
            sqlx::query(step).bind(from.0).bind(into.0).execute(connection).await?;
        });
    }
    Ok(())
}

async fn write_preferences(tx: &mut Tx, stopped: &[(ContactId, bool)], now: Timestamp) -> Result<(), StoreError> {
    for (contact_id, marketing_stopped) in stopped {
        on!(tx, |connection, D| {
            sqlx::query("UPDATE contacts SET marketing_stopped_at = $1 WHERE id = $2")
                .bind(marketing_stopped.then_some(Ts(now)))
                .bind(contact_id.0)
                .execute(connection)
                .await?;
        });
    }
    Ok(())
}

/// Inserts the messages that are new to us and returns their row ids.
async fn insert_messages(tx: &mut Tx, placed: &[Placed<'_>]) -> Result<HashSet<Uuid>, StoreError> {
    if placed.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<NewRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "INSERT INTO inbound_messages
                 (conversation_id, id, phone_number_id, provider_message_id, target_provider_message_id, kind, nature,
                  text, payload, reply_to_kind, reply_to, sent_at, received_at, state, failures) ",
        );
        sql.push_values(placed, |mut row, one| {
            let message = one.message;
            row.push_bind(one.conversation_id.0)
                .push_bind(one.id)
                .push_bind(&message.phone_number_id)
                .push_bind(&message.provider_message_id)
                .push_bind(&message.target_provider_message_id)
                .push_bind(&message.kind)
                .push_bind(message.nature.as_str())
                .push_bind(&message.text)
                .push_bind(Json(&message.payload))
                .push_bind(message.reply_to.kind.as_str())
                .push_bind(&message.reply_to.value)
                .push_bind(Ts(message.sent_at.unwrap_or(one.received_at)))
                .push_bind(Ts(one.received_at))
                .push_bind(message.state.as_str())
                .push_bind(0_i32);
        });
        sql.push(" ON CONFLICT (phone_number_id, provider_message_id) DO NOTHING RETURNING id");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    Ok(rows.into_iter().map(|row| row.id).collect())
}

fn credit(receipts: &mut [IngestReceipt], placed: &[Placed<'_>], new: &HashSet<Uuid>) {
    for one in placed.iter().filter(|one| new.contains(&one.id)) {
        let Some(receipt) = receipts.get_mut(one.webhook) else { continue };
        receipt.new_messages += 1;
        if one.message.state == InboundState::Pending && !receipt.wake_turns.contains(&one.conversation_id) {
            receipt.wake_turns.push(one.conversation_id);
        }
    }
}

fn opened_windows(placed: &[Placed<'_>], new: &HashSet<Uuid>) -> Vec<ConversationId> {
    let opened: HashSet<_> = placed
        .iter()
        .filter(|one| one.message.opens_window && new.contains(&one.id))
        .map(|one| one.conversation_id)
        .collect();
    opened.into_iter().collect()
}

/// What was held until the window opens may go now.
async fn release_held(
    tx: &mut Tx,
    conversations: &[ConversationId],
    now: Timestamp,
) -> Result<Vec<ConversationId>, StoreError> {
    if conversations.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<HeldRow> = on!(tx, |connection, D| {
        let mut sql =
            QueryBuilder::<D>::new("UPDATE outbound_messages SET state = 'queued', not_before = NULL, updated_at = ");
        sql.push_bind(Ts(now));
        // The list of states is the partial index's own condition, word for word: SQLite uses the index only then.
        sql.push(
            " WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state = 'held' AND conversation_id IN (",
        );
        let mut list = sql.separated(", ");
        for conversation in conversations {
            list.push_bind(conversation.0);
        }
        sql.push(") RETURNING conversation_id");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    let woken: HashSet<_> = rows.into_iter().map(|row| ConversationId(row.conversation_id)).collect();
    Ok(woken.into_iter().collect())
}
