//! Sends whose fate is not known. Silence is evidence only while the line is demonstrably open: when the deadline has
//! passed and statuses of later sends have arrived meanwhile, the message did not go out and is sent once more.

use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::agents::read_word;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::handover;
use crate::domain::agent::UNKNOWN_DEADLINE_SECONDS_MIN;
use crate::domain::fate::{LostCall, UnknownRules, UnknownSend};
use crate::domain::outbound::SendError;
use crate::ids::{ConversationId, OutboundId};

/// Held sends that one look gives up.
const LOOK_ROWS_MAX: i64 = 200;
/// Unknown sends that are read at a time.
const UNKNOWN_ROWS_MAX: i64 = 1_000;
/// Unknown sends that one look considers, the oldest first: those behind them wait until people have settled some.
pub const OVERDUE_SENDS_MAX: usize = 10_000;

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

    /// Unknown sends that no status has settled in time, the oldest first, at most [`OVERDUE_SENDS_MAX`]: those that may be sent
    /// once more and those that may not. `deadline_seconds` counts where an agent has no time of its own.
    pub async fn overdue_unknowns(&self, deadline_seconds: i64) -> Result<Vec<UnknownSend>, StoreError> {
        let now = self.clock.now();
        let before = now - SignedDuration::from_secs(deadline_seconds.min(UNKNOWN_DEADLINE_SECONDS_MIN));
        let installation = UnknownRules { deadline_seconds, resends: true, others_wait_seconds: deadline_seconds };
        let (mut overdue, mut after, mut read) = (Vec::new(), Uuid::nil(), 0);
        loop {
            let rows = self.unknown_rows(before, after).await?;
            read += rows.len();
            let is_last = rows.len() < usize::try_from(UNKNOWN_ROWS_MAX).unwrap_or(usize::MAX);
            after = rows.last().map_or(after, |row| row.id);
            for row in rows {
                let policy = row.unknown_policy.as_deref().map(|word| read_word("unknown policy", word)).transpose()?;
                let rules = installation.of_agent(row.unknown_deadline_seconds, policy);
                let send = row.send(rules);
                if send.call.settles_by(rules.deadline_seconds) <= now {
                    overdue.push(send);
                }
            }
            if is_last || read >= OVERDUE_SENDS_MAX {
                return Ok(overdue);
            }
        }
    }

    async fn unknown_rows(&self, before: Timestamp, after: Uuid) -> Result<Vec<UnknownRow>, StoreError> {
        Ok(read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT o.conversation_id, o.id, o.phone_number_id, o.sending_at, o.updated_at, o.attempts, o.resends,
                        a.unknown_deadline_seconds, a.unknown_policy
                 FROM outbound_messages o LEFT JOIN agents a ON a.id = o.agent_id
                 WHERE o.state IN ('held', 'suppressed', 'unknown', 'failed', 'cancelled') AND o.state = 'unknown'
                   AND o.updated_at <= $1 AND o.id > $2
                 ORDER BY o.id LIMIT $3",
            )
            .bind(Ts(before))
            .bind(after)
            .bind(UNKNOWN_ROWS_MAX)
            .fetch_all(pool)
            .await?
        }))
    }

    /// When the first status arrived, since `unknown` was attempted, for a send from the same number that was attempted later:
    /// proof that statuses come through. `None` while none has.
    pub async fn line_open_since(&self, unknown: &UnknownSend) -> Result<Option<Timestamp>, StoreError> {
        let first: Option<Ts> = read!(&self.db, |pool, D| {
            sqlx::query_scalar(
                "SELECT e.received_at FROM delivery_events e
                 JOIN outbound_messages o ON o.conversation_id = e.conversation_id AND o.id = e.outbound_id
                 WHERE e.phone_number_id = $1 AND e.received_at > $2 AND o.sending_at > $2
                 ORDER BY e.received_at LIMIT 1",
            )
            .bind(&unknown.phone_number_id)
            .bind(Ts(unknown.call.attempted_at))
            .fetch_optional(pool)
            .await?
        });
        Ok(first.map(|at| at.0))
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

    /// Queues an unknown send for its one repetition. `false` when a status or a person settled it meanwhile, and when it did not go
    /// out and is cancelled, because an operator has taken the conversation over since.
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
        let silenced = match changed {
            0 => false,
            _ => !handover::silence_returned(&mut tx, &[(unknown.conversation_id, unknown.id)], now).await?.is_empty(),
        };
        tx.commit().await?;
        Ok(changed > 0 && !silenced)
    }
}

row! { struct HeldRow { conversation_id: Uuid, id: Uuid, error: Option<Json<SendError>> } }

/// What a send died of that was held for too long: what it was held for.
fn expired_hold(held_for: Option<SendError>) -> SendError {
    let (code, reason, detail) =
        held_for.map_or_else(|| (None, String::new(), String::new()), |error| (error.code, error.reason, error.detail));
    let reason = match reason.as_str() {
        // The second two are of those that were called before it was known.
        "paused" | "refused_by_whatsapp" | "failed_after_acceptance" => "pause_expired",
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
        updated_at: Ts,
        attempts: i32,
        resends: i32,
        unknown_deadline_seconds: Option<i64>,
        unknown_policy: Option<String>,
    }
}

impl UnknownRow {
    fn send(self, rules: UnknownRules) -> UnknownSend {
        UnknownSend {
            conversation_id: ConversationId(self.conversation_id),
            id: OutboundId(self.id),
            phone_number_id: self.phone_number_id,
            call: LostCall { attempted_at: self.sending_at.0, unknown_since: self.updated_at.0 },
            attempts: self.attempts,
            resends: self.resends,
            is_parked: !rules.resends,
        }
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
