//! Turns that failed: counted on each message, until one is put aside as a dead letter so that it does not stand in the way.

use sqlx::types::Json;

use super::Store;
use super::db::on;
use super::error::StoreError;
use crate::domain::turn::{Claim, TurnError};
use crate::ids::InboundId;

/// Turns over the same message that may fail before it is put aside as dead.
const TURN_FAILURES_MAX: i32 = 5;

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
}
