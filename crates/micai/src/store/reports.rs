//! What people and probes ask of the ledger: lists by state, one send, and how far behind the work is.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, read, row};
use super::error::StoreError;
use crate::domain::outbound::{SendError, SendState};
use crate::ids::OutboundId;

/// A send as people see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct OutboundView {
    /// Its id.
    pub id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// What makes it unique: a repetition of its cause cannot send it twice.
    pub idempotency_key: String,
    /// The turn it comes from.
    pub turn_id: Option<Uuid>,
    /// Where it goes: a phone number or a user id.
    pub to: String,
    /// Which of these: `phone`, `bsuid` or `parent_bsuid`.
    pub to_kind: String,
    /// `text`, …
    pub kind: String,
    /// What it says.
    pub body: serde_json::Value,
    /// Where it stands.
    pub state: String,
    /// Calls made.
    pub attempts: i32,
    /// How often it was sent again because its fate was unknown, since the last replay.
    pub resends: i32,
    /// How often a person has replayed it after it had failed.
    pub replays: i32,
    /// Not before then.
    pub not_before: Option<Timestamp>,
    /// WhatsApp's id.
    pub provider_message_id: Option<String>,
    /// Why it is where it is: `code`, `reason`, `detail`.
    pub error: Option<serde_json::Value>,
    /// The exact request that would have gone out, where outbound is off.
    pub request: Option<serde_json::Value>,
    /// What WhatsApp says it costs.
    pub price: Option<serde_json::Value>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// How far behind the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// When the oldest message arrived that still waits for a turn.
    pub oldest_pending_at: Option<Timestamp>,
    /// Since when the oldest due send waits.
    pub oldest_queued_at: Option<Timestamp>,
}

impl Store {
    /// Whether the database answers, and how far behind the work is.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        let row: BacklogColumns = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT (SELECT min(received_at) FROM inbound_messages WHERE state = 'pending') AS pending,
                        (SELECT min(created_at) FROM outbound_messages
                         WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state = 'queued') AS queued",
            )
            .fetch_one(pool)
            .await?
        });
        Ok(Backlog { oldest_pending_at: row.pending.map(|at| at.0), oldest_queued_at: row.queued.map(|at| at.0) })
    }

    /// Messages and sends that are not at rest: waiting for a turn, queued or under way.
    pub async fn unfinished(&self) -> Result<i64, StoreError> {
        let row: CountColumns = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT (SELECT count(*) FROM inbound_messages WHERE state = 'pending')
                      + (SELECT count(*) FROM outbound_messages
                         WHERE state IN ('queued', 'sending', 'unknown', 'held')
                           AND state IN ('queued', 'sending')) AS count",
            )
            .fetch_one(pool)
            .await?
        });
        Ok(row.count)
    }

    /// At most `limit` sends (in one state, or in any) from before `before`, the youngest first.
    pub async fn outbound_list(
        &self,
        state: Option<SendState>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<OutboundView>, StoreError> {
        use SendState::{Delivered, Played, Queued, Read, Sending, Sent};
        let before = before.unwrap_or(Uuid::max());
        let rows: Vec<OutboundColumns> = match state {
            // What went well is most of the table: walking it by id finds a page soon.
            None | Some(Sent | Delivered | Read | Played) => read!(&self.db, |pool, D| {
                sqlx::query_as(
                    "SELECT id, conversation_id, idempotency_key, turn_id, to_kind, to_value, kind, body, state,
                            attempts, resends, replays, not_before, provider_message_id, error, request, price, created_at,
                            updated_at
                     FROM outbound_messages WHERE id < $1 AND ($2 IS NULL OR state = $2) ORDER BY id DESC LIMIT $3",
                )
                .bind(before)
                .bind(state.map(SendState::as_str))
                .bind(limit)
                .fetch_all(pool)
                .await?
            }),
            // What is on its way is never much: all of it is sorted.
            Some(open @ (Queued | Sending)) => read!(&self.db, |pool, D| {
                sqlx::query_as(
                    "SELECT id, conversation_id, idempotency_key, turn_id, to_kind, to_value, kind, body, state,
                            attempts, resends, replays, not_before, provider_message_id, error, request, price, created_at,
                            updated_at
                     FROM outbound_messages
                     WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state = $1 AND id < $2
                     ORDER BY id DESC LIMIT $3",
                )
                .bind(open.as_str())
                .bind(before)
                .bind(limit)
                .fetch_all(pool)
                .await?
            }),
            Some(aside) => read!(&self.db, |pool, D| {
                sqlx::query_as(
                    "SELECT id, conversation_id, idempotency_key, turn_id, to_kind, to_value, kind, body, state,
                            attempts, resends, replays, not_before, provider_message_id, error, request, price, created_at,
                            updated_at
                     FROM outbound_messages
                     WHERE state IN ('held', 'suppressed', 'unknown', 'failed', 'cancelled') AND state = $1 AND id < $2
                     ORDER BY id DESC LIMIT $3",
                )
                .bind(aside.as_str())
                .bind(before)
                .bind(limit)
                .fetch_all(pool)
                .await?
            }),
        };
        Ok(rows.into_iter().map(OutboundColumns::view).collect())
    }

    /// The send of that id.
    pub async fn outbound(&self, id: OutboundId) -> Result<Option<OutboundView>, StoreError> {
        let row: Option<OutboundColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, conversation_id, idempotency_key, turn_id, to_kind, to_value, kind, body, state, attempts,
                        resends, replays, not_before, provider_message_id, error, request, price, created_at, updated_at
                 FROM outbound_messages WHERE id = $1",
            )
            .bind(id.0)
            .fetch_optional(pool)
            .await?
        });
        Ok(row.map(OutboundColumns::view))
    }
}

row! { struct BacklogColumns { pending: Option<Ts>, queued: Option<Ts> } }
row! { struct CountColumns { count: i64 } }
row! {
    pub(super) struct OutboundColumns {
        id: Uuid,
        conversation_id: Uuid,
        idempotency_key: String,
        turn_id: Option<Uuid>,
        to_kind: String,
        to_value: String,
        kind: String,
        body: Json<serde_json::Value>,
        state: String,
        attempts: i32,
        resends: i32,
        replays: i32,
        not_before: Option<Ts>,
        provider_message_id: Option<String>,
        error: Option<Json<SendError>>,
        request: Option<Json<serde_json::Value>>,
        price: Option<Json<serde_json::Value>>,
        created_at: Ts,
        updated_at: Ts,
    }
}

impl OutboundColumns {
    pub(super) fn view(self) -> OutboundView {
        OutboundView {
            id: self.id,
            conversation_id: self.conversation_id,
            idempotency_key: self.idempotency_key,
            turn_id: self.turn_id,
            to: self.to_value,
            to_kind: self.to_kind,
            kind: self.kind,
            body: self.body.0,
            state: self.state,
            attempts: self.attempts,
            resends: self.resends,
            replays: self.replays,
            not_before: self.not_before.map(|at| at.0),
            provider_message_id: self.provider_message_id,
            error: self.error.and_then(|error| serde_json::to_value(error.0).ok()),
            request: self.request.map(|request| request.0),
            price: self.price.map(|price| price.0),
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
        }
    }
}
