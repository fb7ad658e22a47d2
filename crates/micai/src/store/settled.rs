//! Unknown sends in the hands of a person: what is known about the line, how many there are, and the decision.

use jiff::Timestamp;
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::agents::read_word;
use super::audit;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::fate::{Decision, LineFacts, LostCall, Settled, UnknownRules, Verdict};
use crate::domain::letter::COUNTED_MAX;
use crate::ids::{ConversationId, OutboundId};

impl Store {
    /// How many sends are of unknown fate, counted up to [`COUNTED_MAX`] and one more.
    pub async fn unknown_count(&self) -> Result<i64, StoreError> {
        Ok(read!(&self.db, |pool, D| {
            sqlx::query_scalar(
                "SELECT count(*) FROM (SELECT 1 FROM outbound_messages
                 WHERE state IN ('held', 'suppressed', 'unknown', 'failed', 'cancelled') AND state = 'unknown'
                 LIMIT $1) unknown",
            )
            .bind(COUNTED_MAX + 1)
            .fetch_one(pool)
            .await?
        }))
    }

    /// The call of an unknown send, what is known about statuses of its number since, and `installation`'s rules as
    /// its agent has them. `None` when the send is not unknown.
    pub async fn line_facts(
        &self,
        id: OutboundId,
        installation: UnknownRules,
    ) -> Result<Option<(LostCall, LineFacts, UnknownRules)>, StoreError> {
        let row: Option<LineColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT u.sending_at, u.updated_at, a.unknown_deadline_seconds, a.unknown_policy,
                        (SELECT e.received_at FROM delivery_events e
                         JOIN outbound_messages o ON o.conversation_id = e.conversation_id AND o.id = e.outbound_id
                         WHERE e.phone_number_id = u.phone_number_id AND e.received_at > u.sending_at
                           AND o.sending_at > u.sending_at
                         ORDER BY e.received_at LIMIT 1) AS open_since,
                        (SELECT e.received_at FROM delivery_events e WHERE e.phone_number_id = u.phone_number_id
                         ORDER BY e.received_at DESC LIMIT 1) AS last_status_at
                 FROM outbound_messages u LEFT JOIN agents a ON a.id = u.agent_id
                 WHERE u.id = $1 AND u.state = 'unknown'",
            )
            .bind(id.0)
            .fetch_optional(pool)
            .await?
        });
        let Some(row) = row else { return Ok(None) };
        let Some(Ts(attempted_at)) = row.sending_at else { return Ok(None) };
        let call = LostCall { attempted_at, unknown_since: row.updated_at.0 };
        let facts =
            LineFacts { open_since: row.open_since.map(|at| at.0), last_status_at: row.last_status_at.map(|at| at.0) };
        let policy = row.unknown_policy.as_deref().map(|word| read_word("unknown policy", word)).transpose()?;
        Ok(Some((call, facts, installation.of_agent(row.unknown_deadline_seconds, policy))))
    }

    /// Settles an unknown send as a person says, by `actor`. Only from `unknown`: a status, the deadline or another person may
    /// have been quicker. With what it does, gives its conversation if that is to be announced.
    pub async fn settle_unknown(
        &self,
        id: OutboundId,
        decision: &Decision,
        actor: &Actor,
    ) -> Result<(Settled, Option<ConversationId>), StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = lock(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok((Settled::NoSuchSend, None));
        };
        let seen = decision.attempts.is_none_or(|attempts| attempts == before.attempts);
        if before.state != "unknown" || !seen {
            tx.roll_back().await;
            return Ok((Settled::NotUnknown, None));
        }
        let moved = settle(&mut tx, id, &before, decision, now).await?;
        if moved == 0 {
            tx.roll_back().await;
            return Ok((Settled::NotUnknown, None));
        }
        let stood = json!({
            "state": before.state,
            "attempts": before.attempts,
            "provider_message_id": before.provider_message_id,
            "error": before.error,
        });
        let fate = json!({
            "fate": decision.verdict,
            "provider_message_id": decision.provider_message_id,
            "reason": decision.reason,
        });
        let entry = AuditEntry::new(AuditAction::SendSettled, id, Some(stood), Some(fate));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        // Whatever was decided, those behind it need not wait any more.
        Ok((Settled::Done, Some(ConversationId(before.conversation_id))))
    }
}

row! {
    struct LineColumns {
        sending_at: Option<Ts>,
        updated_at: Ts,
        unknown_deadline_seconds: Option<i64>,
        unknown_policy: Option<String>,
        open_since: Option<Ts>,
        last_status_at: Option<Ts>,
    }
}
row! {
    struct BeforeColumns {
        conversation_id: Uuid,
        state: String,
        attempts: i32,
        provider_message_id: Option<String>,
        error: Option<Json<serde_json::Value>>,
    }
}

async fn lock(tx: &mut Tx, id: OutboundId) -> Result<Option<BeforeColumns>, StoreError> {
    // On SQLite the whole transaction is a lock.
    let sql = match tx {
        Tx::Pg(..) => {
            "SELECT conversation_id, state, attempts, provider_message_id, error FROM outbound_messages
             WHERE id = $1 FOR UPDATE"
        }
        Tx::Lite(_) => {
            "SELECT conversation_id, state, attempts, provider_message_id, error FROM outbound_messages WHERE id = $1"
        }
    };
    Ok(on!(tx, |connection, D| sqlx::query_as(sql).bind(id.0).fetch_optional(connection).await?))
}

async fn settle(
    tx: &mut Tx,
    id: OutboundId,
    before: &BeforeColumns,
    decision: &Decision,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = match decision.verdict {
        Verdict::Sent => {
            "UPDATE outbound_messages SET state = 'sent', provider_message_id = coalesce($5, provider_message_id),
                 error = NULL, updated_at = $1
             WHERE conversation_id = $2 AND id = $3 AND state = 'unknown' AND attempts = $4"
        }
        Verdict::NotSentSendAgain => {
            "UPDATE outbound_messages SET state = 'queued', resends = resends + 1, not_before = NULL, updated_at = $1
             WHERE conversation_id = $2 AND id = $3 AND state = 'unknown' AND attempts = $4 AND $5 IS NULL"
        }
        Verdict::NotSentDiscard => {
            "UPDATE outbound_messages SET state = 'cancelled', updated_at = $1
             WHERE conversation_id = $2 AND id = $3 AND state = 'unknown' AND attempts = $4 AND $5 IS NULL"
        }
    };
    Ok(on!(tx, |connection, D| {
        sqlx::query(sql)
            .bind(Ts(now))
            .bind(before.conversation_id)
            .bind(id.0)
            .bind(before.attempts)
            .bind(decision.provider_message_id.as_deref())
            .execute(connection)
            .await?
            .rows_affected()
    }))
}
