//! Sends whose fate is not known. Silence is evidence only while the line is demonstrably open: when the deadline has
//! passed and statuses of later sends have arrived meanwhile, the message did not go out and is sent once more.

use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use crate::domain::outbound::{SendError, UnknownSend};
use crate::ids::{ConversationId, OutboundId};

/// Unknown sends that one look considers.
const LOOK_ROWS_MAX: i64 = 200;

impl Store {
    /// Declares every call unknown that has been under way for longer than `call_seconds_max`: its process died
    /// between intent and answer. Returns how many.
    pub async fn expire_calls(&self, call_seconds_max: i64) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let expired = expire(&mut tx, now - SignedDuration::from_secs(call_seconds_max), now).await?;
        tx.commit().await?;
        Ok(expired)
    }

    /// Whether any call has been under way for longer than that. Reads only, so that an idle sweep writes nothing.
    pub async fn has_expired_calls(&self, call_seconds_max: i64) -> Result<bool, StoreError> {
        let before = self.clock.now() - SignedDuration::from_secs(call_seconds_max);
        let first: Option<Uuid> = read!(&self.db, |pool, D| {
            sqlx::query_scalar(
                "SELECT id FROM outbound_messages
                 WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state = 'sending' AND sending_at <= $1
                 LIMIT 1",
            )
            .bind(Ts(before))
            .fetch_optional(pool)
            .await?
        });
        Ok(first.is_some())
    }

    /// Unknown sends whose attempt began at least `deadline_seconds` ago and that were not sent again yet.
    pub async fn overdue_unknowns(&self, deadline_seconds: i64) -> Result<Vec<UnknownSend>, StoreError> {
        let before = self.clock.now() - SignedDuration::from_secs(deadline_seconds);
        let rows: Vec<UnknownRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT conversation_id, id, phone_number_id, sending_at, attempts FROM outbound_messages
                 WHERE state IN ('held', 'suppressed', 'unknown', 'failed', 'cancelled') AND state = 'unknown'
                   AND resends = 0 AND sending_at <= $1
                 ORDER BY id LIMIT $2",
            )
            .bind(Ts(before))
            .bind(LOOK_ROWS_MAX)
            .fetch_all(pool)
            .await?
        });
        Ok(rows
            .into_iter()
            .map(|row| UnknownSend {
                conversation_id: ConversationId(row.conversation_id),
                id: OutboundId(row.id),
                phone_number_id: row.phone_number_id,
                sending_at: row.sending_at.0,
                attempts: row.attempts,
            })
            .collect())
    }

    /// Whether a status has arrived, since `unknown` was attempted, for a send from the same number that was attempted
    /// later: proof that statuses come through.
    pub async fn line_is_open_since(&self, unknown: &UnknownSend) -> Result<bool, StoreError> {
        let first: Option<Uuid> = read!(&self.db, |pool, D| {
            sqlx::query_scalar(
                "SELECT e.id FROM delivery_events e
                 JOIN outbound_messages o ON o.conversation_id = e.conversation_id AND o.id = e.outbound_id
                 WHERE e.phone_number_id = $1 AND e.received_at > $2 AND o.sending_at > $2
                 LIMIT 1",
            )
            .bind(&unknown.phone_number_id)
            .bind(Ts(unknown.sending_at))
            .fetch_optional(pool)
            .await?
        });
        Ok(first.is_some())
    }

    /// Gives up sends that have been held since before `held_seconds_max` ago: dead letters with their reason. At most some
    /// hundred at a time, the oldest first. Returns how many.
    pub async fn expire_holds(&self, held_seconds_max: i64) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let before = now - SignedDuration::from_secs(held_seconds_max);
        let rows: Vec<HeldRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT conversation_id, id, error FROM outbound_messages
                 WHERE state IN ('held', 'suppressed', 'unknown', 'failed', 'cancelled') AND state = 'held'
                   AND created_at <= $1 AND updated_at <= $1
                 ORDER BY id LIMIT $2",
            )
            .bind(Ts(before))
            .bind(LOOK_ROWS_MAX)
            .fetch_all(pool)
            .await?
        });
        let mut tx = self.db.begin().await?;
        let mut expired = 0;
        for row in rows {
            let error = expired_hold(row.error.map(|error| error.0));
            expired += on!(&mut tx, |connection, D| {
                sqlx::query(
                    "UPDATE outbound_messages SET state = 'failed', error = $1, updated_at = $2
                     WHERE conversation_id = $3 AND id = $4 AND state = 'held'",
                )
                .bind(Json(&error))
                .bind(Ts(now))
                .bind(row.conversation_id)
                .bind(row.id)
                .execute(connection)
                .await?
                .rows_affected()
            });
        }
        tx.commit().await?;
        Ok(usize::try_from(expired).unwrap_or(usize::MAX))
    }

    /// Queues an unknown send for its one repetition. `false` when a status or a person settled it meanwhile.
    pub async fn resend_unknown(&self, unknown: &UnknownSend) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let changed = on!(&mut tx, |connection, D| {
            sqlx::query(
                "UPDATE outbound_messages SET state = 'queued', resends = resends + 1, not_before = NULL,
                     updated_at = $1
                 WHERE conversation_id = $2 AND id = $3 AND state = 'unknown' AND resends = 0 AND attempts = $4",
            )
            .bind(Ts(now))
            .bind(unknown.conversation_id.0)
            .bind(unknown.id.0)
            .bind(unknown.attempts)
            .execute(connection)
            .await?
            .rows_affected()
        });
        tx.commit().await?;
        Ok(changed > 0)
    }
}

row! { struct HeldRow { conversation_id: Uuid, id: Uuid, error: Option<Json<SendError>> } }

/// What a send died of that was held for too long: what it was held for.
fn expired_hold(held_for: Option<SendError>) -> SendError {
    let (code, reason, detail) =
        held_for.map_or_else(|| (None, String::new(), String::new()), |error| (error.code, error.reason, error.detail));
    let reason = match reason.as_str() {
        "paused" => "pause_expired",
        "budget_exceeded" => "budget_expired",
        _ => "window_expired",
    };
    SendError { code, reason: reason.to_owned(), detail: format!("It was held for too long. {detail}") }
}

row! {
    struct UnknownRow {
        conversation_id: Uuid,
        id: Uuid,
        phone_number_id: String,
        sending_at: Ts,
        attempts: i32,
    }
}

/// Declares calls unknown that began before `began_before`.
pub(super) async fn expire(tx: &mut Tx, began_before: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
    let error = SendError {
        code: None,
        reason: "interrupted".to_owned(),
        detail: "The process stopped between the intent to send and WhatsApp's answer, so the message may or may not \
                 have gone out. A delivery status will tell; without one it is sent once more when the deadline has \
                 passed and statuses of later messages have arrived."
            .to_owned(),
    };
    on!(&mut *tx, |connection, D| {
        sqlx::query(
            "INSERT INTO delivery_attempts
                 (conversation_id, outbound_id, attempt, started_at, finished_at, outcome, error)
             SELECT conversation_id, id, attempts, sending_at, $2, 'unknown', $1 FROM outbound_messages
             WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state = 'sending' AND sending_at <= $3
             ON CONFLICT (conversation_id, outbound_id, attempt) DO NOTHING",
        )
        .bind(Json(&error))
        .bind(Ts(now))
        .bind(Ts(began_before))
        .execute(connection)
        .await?;
    });
    Ok(on!(tx, |connection, D| {
        sqlx::query(
            "UPDATE outbound_messages SET state = 'unknown', error = $1, updated_at = $2
             WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state = 'sending' AND sending_at <= $3",
        )
        .bind(Json(&error))
        .bind(Ts(now))
        .bind(Ts(began_before))
        .execute(connection)
        .await?
        .rows_affected()
    }))
}
