//! Conversations for people to look at: the list, the transcript, the way of one message, and which agent is bound.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, read, row};
use super::error::StoreError;
use super::reports::{OutboundColumns, OutboundView};
use crate::domain::contact::{AddressKind, PORTFOLIO_ID};
use crate::domain::conversation::{ConversationMode, ModeSetter};
use crate::domain::outbound::SendState;
use crate::ids::{ContactId, ConversationId, InboundId};

/// A conversation in the list.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ConversationView {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub contact_id: Uuid,
    /// The person's profile name.
    pub name: Option<String>,
    /// Their username, where they have one.
    pub username: Option<String>,
    /// Our number, as WhatsApp names it.
    pub phone_number_id: String,
    /// The agent bound to it; none means the default agent.
    pub agent_id: Option<String>,
    /// Who speaks now: `bot`, `human` or `paused`.
    pub mode: String,
    /// From then on the agent answers again.
    pub mode_until: Option<Timestamp>,
    /// Since when it is so.
    pub mode_since: Option<Timestamp>,
    /// Whose word it was: `person`, `operator` or `time`.
    pub mode_set_by: Option<String>,
    /// Why, where somebody said so.
    pub mode_reason: Option<String>,
    /// When the person last wrote; an earlier message of theirs, by an hour at most, while the latest waits for its turn.
    pub last_inbound_at: Option<Timestamp>,
    /// Since when the person wants nothing from us.
    pub opted_out_at: Option<Timestamp>,
    /// When it began.
    pub created_at: Timestamp,
}

/// A message that came in.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct MessageView {
    /// Its id.
    pub id: Uuid,
    /// WhatsApp's id.
    pub provider_message_id: String,
    /// WhatsApp's word for its type.
    pub kind: String,
    /// Its words, where it has any.
    pub text: Option<String>,
    /// The identifier it came from.
    pub from: String,
    /// `pending`, `done`, `stale`, `noted` or `dead`.
    pub state: String,
    /// When the person sent it.
    pub sent_at: Timestamp,
    /// When it reached us.
    pub received_at: Timestamp,
    /// The turn that dealt with it.
    pub turn_id: Option<Uuid>,
    /// Why turns over it failed.
    pub error: Option<serde_json::Value>,
}

/// A line of a transcript.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(tag = "direction", rename_all = "snake_case")]
pub enum TranscriptEntry {
    /// From the person.
    In(MessageView),
    /// From us.
    Out(OutboundView),
}

impl TranscriptEntry {
    fn id(&self) -> Uuid {
        match self {
            Self::In(message) => message.id,
            Self::Out(message) => message.id,
        }
    }
}

/// A station on the way of a message.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Timeline {
    /// The message itself.
    pub message: MessageView,
    /// What happened to it and to its answers, in order.
    pub stations: Vec<Station>,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Station {
    /// When.
    pub at: Timestamp,
    /// `received`, `claimed`, `decided`, `outbox`, `attempt`, `answer`, or a delivery status.
    pub what: String,
    /// The answer it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_id: Option<Uuid>,
    /// More about it.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

impl Store {
    /// At most `limit` conversations that began before `before`, the youngest first.
    pub async fn conversations(&self, before: Option<Uuid>, limit: i64) -> Result<Vec<ConversationView>, StoreError> {
        let sql = format!("{CONVERSATIONS} WHERE c.id < $1 ORDER BY c.id DESC LIMIT $2");
        let rows: Vec<ConversationColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(before.unwrap_or(Uuid::max()))
                .bind(limit)
                .fetch_all(pool)
                .await?
        });
        Ok(self.views(rows))
    }

    /// The same, of those in which somebody else than the agent speaks now.
    pub async fn conversations_in_mode(
        &self,
        mode: ConversationMode,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<ConversationView>, StoreError> {
        let sql = format!(
            "{CONVERSATIONS} WHERE c.mode <> 'bot' AND c.mode = $3 AND (c.mode_until IS NULL OR c.mode_until > $4)
               AND c.id < $1 ORDER BY c.id DESC LIMIT $2"
        );
        let now = self.clock.now();
        let rows: Vec<ConversationColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(before.unwrap_or(Uuid::max()))
                .bind(limit)
                .bind(mode.as_str())
                .bind(Ts(now))
                .fetch_all(pool)
                .await?
        });
        Ok(self.views(rows))
    }

    /// The conversation of that id.
    pub async fn conversation(&self, id: ConversationId) -> Result<Option<ConversationView>, StoreError> {
        let sql = format!("{CONVERSATIONS} WHERE c.id = $1");
        let row: Option<ConversationColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id.0).fetch_optional(pool).await?
        });
        Ok(self.views(row.into_iter().collect()).pop())
    }

    fn views(&self, rows: Vec<ConversationColumns>) -> Vec<ConversationView> {
        let now = self.clock.now();
        rows.into_iter().map(|row| row.view(now)).collect()
    }

    /// The identifiers by which a contact can be reached, by kind.
    pub async fn addresses(&self, contact_id: ContactId) -> Result<HashMap<AddressKind, String>, StoreError> {
        let rows: Vec<AddressColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT kind, value FROM contact_identities
                 WHERE contact_id = $1 AND portfolio_id = $2 AND superseded_at IS NULL",
            )
            .bind(contact_id.0)
            .bind(PORTFOLIO_ID)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().filter_map(|row| Some((AddressKind::parse(&row.kind)?, row.value))).collect())
    }

    /// At most `limit` messages of a conversation in both directions, from before `before`, the youngest first.
    pub async fn transcript(
        &self,
        id: ConversationId,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<TranscriptEntry>, StoreError> {
        let before = before.unwrap_or(Uuid::max());
        let inbound: Vec<MessageColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, provider_message_id, kind, text, reply_to, state, sent_at, received_at, turn_id, error
                 FROM inbound_messages WHERE conversation_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            )
            .bind(id.0)
            .bind(before)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        let outbound: Vec<OutboundColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, conversation_id, idempotency_key, turn_id, to_kind, to_value, kind, body, state, attempts,
                        resends, replays, not_before, provider_message_id, error, request, price, created_at, updated_at
                 FROM outbound_messages WHERE conversation_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            )
            .bind(id.0)
            .bind(before)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        let mut entries: Vec<TranscriptEntry> = inbound
            .into_iter()
            .map(|row| TranscriptEntry::In(row.view()))
            .chain(outbound.into_iter().map(|row| TranscriptEntry::Out(row.view())))
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.id()));
        entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(entries)
    }

    /// The way of one message: received, claimed, decided, and each answer's way to the phone.
    pub async fn timeline(
        &self,
        conversation_id: ConversationId,
        id: InboundId,
    ) -> Result<Option<Timeline>, StoreError> {
        let message: Option<MessageColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, provider_message_id, kind, text, reply_to, state, sent_at, received_at, turn_id, error
                 FROM inbound_messages WHERE conversation_id = $1 AND id = $2",
            )
            .bind(conversation_id.0)
            .bind(id.0)
            .fetch_optional(pool)
            .await?
        });
        let Some(message) = message.map(MessageColumns::view) else { return Ok(None) };
        let mut stations = vec![station(message.received_at, "received", None, serde_json::Value::Null)];
        if let Some(turn_id) = message.turn_id {
            self.turn_stations(conversation_id, turn_id, id, &mut stations).await?;
            self.answer_stations(conversation_id, &message.provider_message_id, &mut stations).await?;
        }
        stations.sort_by_key(|station| station.at);
        Ok(Some(Timeline { message, stations }))
    }

    async fn turn_stations(
        &self,
        conversation_id: ConversationId,
        turn_id: Uuid,
        message: InboundId,
        stations: &mut Vec<Station>,
    ) -> Result<(), StoreError> {
        let turn: Option<TurnColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT agent_id, agent_version, started_at, finished_at, trace FROM turns
                 WHERE conversation_id = $1 AND id = $2",
            )
            .bind(conversation_id.0)
            .bind(turn_id)
            .fetch_optional(pool)
            .await?
        });
        let Some(turn) = turn else { return Ok(()) };
        let agent = serde_json::json!({ "agent_id": turn.agent_id, "agent_version": turn.agent_version });
        stations.push(station(turn.started_at.0, "claimed", None, agent));
        let decision = turn.trace.0["messages"]
            .as_array()
            .and_then(|messages| {
                messages.iter().find(|one| one["inbound_id"].as_str() == Some(message.to_string().as_str()))
            })
            .cloned();
        stations.push(station(turn.finished_at.0, "decided", None, decision.unwrap_or_default()));
        Ok(())
    }

    async fn answer_stations(
        &self,
        conversation_id: ConversationId,
        provider_message_id: &str,
        stations: &mut Vec<Station>,
    ) -> Result<(), StoreError> {
        let (attempts, events, answers): (Vec<AttemptColumns>, Vec<EventColumns>, Vec<AnswerColumns>) =
            read!(&self.db, |pool, D| {
                let answers = sqlx::query_as(
                    "SELECT id, created_at, state, attempts, sending_at FROM outbound_messages
                     WHERE conversation_id = $1 AND answers_provider_message_id = $2 ORDER BY id",
                )
                .bind(conversation_id.0)
                .bind(provider_message_id)
                .fetch_all(pool)
                .await?;
                let attempts = sqlx::query_as(
                    "SELECT a.outbound_id, a.attempt, a.started_at, a.finished_at, a.outcome, a.http_status, a.error
                     FROM delivery_attempts a
                     JOIN outbound_messages o ON o.conversation_id = a.conversation_id AND o.id = a.outbound_id
                     WHERE o.conversation_id = $1 AND o.answers_provider_message_id = $2
                     ORDER BY a.outbound_id, a.attempt",
                )
                .bind(conversation_id.0)
                .bind(provider_message_id)
                .fetch_all(pool)
                .await?;
                let events = sqlx::query_as(
                    "SELECT o.id AS outbound_id, e.status, e.received_at, e.error, e.price
                     FROM outbound_messages o
                     JOIN delivery_events e ON e.provider_message_id = o.provider_message_id
                     WHERE o.conversation_id = $1 AND o.answers_provider_message_id = $2 ORDER BY e.id",
                )
                .bind(conversation_id.0)
                .bind(provider_message_id)
                .fetch_all(pool)
                .await?;
                (attempts, events, answers)
            });
        for answer in answers {
            stations.push(station(answer.created_at.0, "outbox", Some(answer.id), serde_json::Value::Null));
            // An attempt under way has no row of its own before it is over.
            if let (Some(SendState::Sending), Some(begun_at)) = (SendState::parse(&answer.state), answer.sending_at) {
                let number = serde_json::json!({ "attempt": answer.attempts });
                stations.push(station(begun_at.0, "attempt", Some(answer.id), number));
            }
        }
        for attempt in attempts {
            let number = serde_json::json!({ "attempt": attempt.attempt });
            stations.push(station(attempt.started_at.0, "attempt", Some(attempt.outbound_id), number));
            if let Some(finished_at) = attempt.finished_at {
                let detail = serde_json::json!({
                    "attempt": attempt.attempt,
                    "outcome": attempt.outcome,
                    "http_status": attempt.http_status,
                    "error": attempt.error.map(|error| error.0),
                });
                stations.push(station(finished_at.0, "answer", Some(attempt.outbound_id), detail));
            }
        }
        for event in events {
            let detail = serde_json::json!({
                "error": event.error.map(|error| error.0),
                "price": event.price.map(|price| price.0),
            });
            stations.push(station(event.received_at.0, &event.status, Some(event.outbound_id), detail));
        }
        Ok(())
    }
}

fn station(at: Timestamp, what: &str, outbound_id: Option<Uuid>, detail: serde_json::Value) -> Station {
    Station { at, what: what.to_owned(), outbound_id, detail }
}

const CONVERSATIONS: &str =
    "SELECT c.id, c.contact_id, p.name, p.username, c.phone_number_id, c.agent_id, c.mode, c.mode_until,
        c.mode_since, c.mode_set_by, c.mode_reason, c.last_inbound_at, p.opted_out_at, c.created_at
    FROM conversations c JOIN contacts p ON p.id = c.contact_id";

row! {
    struct ConversationColumns {
        id: Uuid,
        contact_id: Uuid,
        name: Option<String>,
        username: Option<String>,
        phone_number_id: String,
        agent_id: Option<String>,
        mode: String,
        mode_until: Option<Ts>,
        mode_since: Option<Ts>,
        mode_set_by: Option<String>,
        mode_reason: Option<String>,
        last_inbound_at: Option<Ts>,
        opted_out_at: Option<Ts>,
        created_at: Ts,
    }
}
row! { struct AddressColumns { kind: String, value: String } }
row! {
    struct MessageColumns {
        id: Uuid,
        provider_message_id: String,
        kind: String,
        text: Option<String>,
        reply_to: String,
        state: String,
        sent_at: Ts,
        received_at: Ts,
        turn_id: Option<Uuid>,
        error: Option<Json<serde_json::Value>>,
    }
}
row! {
    struct TurnColumns {
        agent_id: String,
        agent_version: i64,
        started_at: Ts,
        finished_at: Ts,
        trace: Json<serde_json::Value>,
    }
}
row! { struct AnswerColumns { id: Uuid, created_at: Ts, state: String, attempts: i32, sending_at: Option<Ts> } }
row! {
    struct AttemptColumns {
        outbound_id: Uuid,
        attempt: i32,
        started_at: Ts,
        finished_at: Option<Ts>,
        outcome: Option<String>,
        http_status: Option<i32>,
        error: Option<Json<serde_json::Value>>,
    }
}
row! {
    struct EventColumns {
        outbound_id: Uuid,
        status: String,
        received_at: Ts,
        error: Option<Json<serde_json::Value>>,
        price: Option<Json<serde_json::Value>>,
    }
}

impl ConversationColumns {
    fn view(self, now: Timestamp) -> ConversationView {
        // Nobody has to have written down that its time is over.
        let over = self.mode_until.map(|at| at.0).filter(|until| self.mode != "bot" && *until <= now);
        ConversationView {
            id: self.id,
            contact_id: self.contact_id,
            name: self.name,
            username: self.username,
            phone_number_id: self.phone_number_id,
            agent_id: self.agent_id,
            mode: if over.is_some() { ConversationMode::Bot.as_str().to_owned() } else { self.mode },
            mode_until: self.mode_until.map(|at| at.0).filter(|_| over.is_none()),
            mode_since: over.or(self.mode_since.map(|at| at.0)),
            mode_reason: self.mode_reason.filter(|_| over.is_none()),
            mode_set_by: match over {
                Some(_) => Some(ModeSetter::Time.as_str().to_owned()),
                None => self.mode_set_by,
            },
            last_inbound_at: self.last_inbound_at.map(|at| at.0),
            opted_out_at: self.opted_out_at.map(|at| at.0),
            created_at: self.created_at.0,
        }
    }
}

impl MessageColumns {
    fn view(self) -> MessageView {
        MessageView {
            id: self.id,
            provider_message_id: self.provider_message_id,
            kind: self.kind,
            text: self.text,
            from: self.reply_to,
            state: self.state,
            sent_at: self.sent_at.0,
            received_at: self.received_at.0,
            turn_id: self.turn_id,
            error: self.error.map(|error| error.0),
        }
    }
}
