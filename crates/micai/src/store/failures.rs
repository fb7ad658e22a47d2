//! What fails again and again: turns over a message, and rows of the outbox that cannot be read. Counted on each, until it is put
//! aside as a dead letter so that it does not stand in the way.

use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;

use super::Store;
use super::db::{Ts, on};
use super::error::StoreError;
use crate::domain::outbound::{SendError, UnreadableSend};
use crate::domain::turn::{Claim, TurnError};
use crate::ids::InboundId;

/// Turns over the same message that may fail before it is put aside as dead.
const TURN_FAILURES_MAX: i32 = 5;
/// Times that a row of the outbox may be found unreadable before it is put aside: a process of a newer version may be at work,
/// too, and read it.
const UNREADABLE_TRIES_MAX: i32 = 5;
/// The pause between two of them.
const UNREADABLE_PAUSE_SECONDS: i64 = 30;

impl Store {
    /// Notes failures of claimed messages, while the lease is still ours, and gives it back if `is_over`. A message whose turns
    /// have failed five times is put aside as dead. Gives how many are dead now.
    pub async fn fail_turn(
        &self,
        claim: &Claim,
        failures: &[(InboundId, TurnError)],
        is_over: bool,
    ) -> Result<u64, StoreError> {
        let mut tx = self.db.begin().await?;
        let lease = match is_over {
            true => "UPDATE conversations SET lease_until = NULL WHERE id = $1 AND lease_token = $2",
            false => "UPDATE conversations SET lease_token = lease_token WHERE id = $1 AND lease_token = $2",
        };
        let held = on!(&mut tx, |connection, D| {
            sqlx::query(lease)
                .bind(claim.conversation_id.0)
                .bind(claim.lease_token)
                .execute(connection)
                .await?
                .rows_affected()
        });
        let mut dead = 0;
        for (message, error) in failures.iter().filter(|_| held > 0) {
            dead += on!(&mut tx, |connection, D| {
                sqlx::query_scalar::<_, String>(
                    "UPDATE inbound_messages SET failures = failures + 1, error = $1,
                         state = CASE WHEN failures + 1 >= $2 THEN 'dead' ELSE state END
                     WHERE conversation_id = $3 AND id = $4 AND state = 'pending'
                     RETURNING state",
                )
                .bind(Json(error))
                .bind(TURN_FAILURES_MAX)
                .bind(claim.conversation_id.0)
                .bind(message.0)
                .fetch_optional(connection)
                .await?
                .map_or(0, |state| u64::from(state == "dead"))
            });
        }
        tx.commit().await?;
        Ok(dead)
    }

    /// Notes that a queued send cannot be read. Gives when it is looked at again; none when it is a dead letter now, or somebody
    /// else has moved it.
    pub async fn count_unreadable(&self, send: &UnreadableSend) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let tries = send.tries + 1;
        let again_at =
            (tries < UNREADABLE_TRIES_MAX).then(|| now + SignedDuration::from_secs(UNREADABLE_PAUSE_SECONDS));
        let detail = format!(
            "This version cannot read the row: {}. Run the newest version that wrote to this database, or mend the row.",
            send.detail
        );
        let error = SendError { code: None, reason: "unreadable".to_owned(), detail };
        let mut tx = self.db.begin().await?;
        let moved = on!(&mut tx, |connection, D| {
            sqlx::query(
                "UPDATE outbound_messages SET unreadable = $1, error = $2, not_before = $3, updated_at = $4,
                     state = CASE WHEN $3 IS NULL THEN 'failed' ELSE state END
                 WHERE conversation_id = $5 AND id = $6 AND state = 'queued' AND unreadable = $7",
            )
            .bind(tries)
            .bind(Json(&error))
            .bind(again_at.map(Ts))
            .bind(Ts(now))
            .bind(send.conversation_id.0)
            .bind(send.id.0)
            .bind(send.tries)
            .execute(connection)
            .await?
            .rows_affected()
        });
        tx.commit().await?;
        Ok(again_at.filter(|_| moved > 0))
    }
}
