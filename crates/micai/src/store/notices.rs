//! Notices to the operator's own system: written with what they tell of, claimed when they are due, kept until they have arrived.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use super::{Store, alerts};
use crate::domain::alert::{AlertKind, NewAlert, Severity};
use crate::domain::notice::{DueNotice, NOTICE_ATTEMPTS_MAX, NoticeKind};
use crate::domain::outbound::SendError;
use crate::domain::turn::FinishedTurn;
use crate::ids::Ids;

impl Store {
    /// Takes at most `limit` notices that are due, each for `claim_seconds`: nobody else sends them meanwhile, and who dies with
    /// one leaves it to the others after that.
    pub async fn claim_notices(&self, limit: i64, claim_seconds: i64) -> Result<Vec<DueNotice>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        // Postgres: what another process is claiming is left out rather than waited for.
        let lock = match tx {
            Tx::Pg(..) => " FOR UPDATE SKIP LOCKED",
            Tx::Lite(_) => "",
        };
        let sql = format!(
            "UPDATE notices SET attempts = attempts + 1, not_before = $1
             WHERE id IN (SELECT n.id FROM notices n WHERE n.settled_at IS NULL AND n.not_before <= $2
                          ORDER BY n.not_before, n.id LIMIT $3{lock})
             RETURNING id"
        );
        let claimed: Vec<IdRow> = on!(&mut tx, |connection, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(Ts(now + SignedDuration::from_secs(claim_seconds)))
                .bind(Ts(now))
                .bind(limit)
                .fetch_all(connection)
                .await?
        });
        let mut due = Vec::with_capacity(claimed.len());
        for IdRow { id } in claimed {
            let row: Option<NoticeColumns> = on!(&mut tx, |connection, D| {
                sqlx::query_as(
                    "SELECT n.id, n.kind, n.raised_at, n.attempts, n.conversation_id, n.agent_id, c.contact_id,
                         c.phone_number_id, c.mode_until, p.name,
                         (SELECT m.reply_to FROM inbound_messages m WHERE m.conversation_id = n.conversation_id
                          ORDER BY m.id DESC LIMIT 1) AS address
                     FROM notices n JOIN conversations c ON c.id = n.conversation_id
                     JOIN contacts p ON p.id = c.contact_id WHERE n.id = $1",
                )
                .bind(id)
                .fetch_optional(connection)
                .await?
            });
            due.extend(row.map(NoticeColumns::notice).transpose()?);
        }
        tx.commit().await?;
        due.sort_by_key(|notice| notice.id);
        Ok(due)
    }

    /// The operator's system has it.
    pub async fn notice_delivered(&self, id: Uuid) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        settle(&mut tx, id, None, now).await?;
        alerts::clear(&mut tx, AlertKind::OperatorWebhookFailed, "", now).await?;
        tx.commit().await
    }

    /// The operator's system did not take it: again at `not_before`, or given up where there is none, which raises an alert.
    pub async fn notice_failed(
        &self,
        notice: &DueNotice,
        not_before: Option<Timestamp>,
        error: &SendError,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        match not_before {
            Some(not_before) => {
                on!(&mut tx, |connection, D| {
                    sqlx::query("UPDATE notices SET not_before = $1, error = $2 WHERE id = $3 AND settled_at IS NULL")
                        .bind(Ts(not_before))
                        .bind(Json(error))
                        .bind(notice.id)
                        .execute(connection)
                        .await?;
                });
            }
            None => {
                settle(&mut tx, notice.id, Some(error), now).await?;
                let sentence = format!(
                    "Your system did not take a notice after {NOTICE_ATTEMPTS_MAX} attempts: {} Somebody may be waiting for \
                     a person: look at GET /admin/conversations?mode=human, and at MICAI_OPERATOR_WEBHOOK_URL.",
                    error.detail
                );
                let evidence = json!({
                    "notice_id": notice.id,
                    "kind": notice.kind,
                    "conversation_id": notice.conversation_id,
                    "reason": error.reason,
                });
                let alert =
                    NewAlert::new(AlertKind::OperatorWebhookFailed, Severity::Critical, "", &sentence, evidence);
                alerts::raise(&mut tx, &self.ids, &[alert], now).await?;
            }
        }
        tx.commit().await
    }
}

/// Writes a notice about a turn's conversation as part of the transaction that ends the turn.
pub(super) async fn write(tx: &mut Tx, ids: &Ids, turn: &FinishedTurn, kind: NoticeKind) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO notices (id, kind, conversation_id, agent_id, raised_at, attempts, not_before)
             VALUES ($1, $2, $3, $4, $5, 0, $5)",
        )
        .bind(ids.uuid(turn.finished_at))
        .bind(kind.as_str())
        .bind(turn.conversation_id.0)
        .bind(turn.agent_id.as_str())
        .bind(Ts(turn.finished_at))
        .execute(connection)
        .await?;
    });
    Ok(())
}

async fn settle(tx: &mut Tx, id: Uuid, error: Option<&SendError>, now: Timestamp) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query("UPDATE notices SET settled_at = $1, error = $2 WHERE id = $3 AND settled_at IS NULL")
            .bind(Ts(now))
            .bind(error.map(Json))
            .bind(id)
            .execute(connection)
            .await?;
    });
    Ok(())
}

row! { struct IdRow { id: Uuid } }
row! {
    struct NoticeColumns {
        id: Uuid,
        kind: String,
        raised_at: Ts,
        attempts: i32,
        conversation_id: Uuid,
        agent_id: String,
        contact_id: Uuid,
        phone_number_id: String,
        mode_until: Option<Ts>,
        name: Option<String>,
        address: Option<String>,
    }
}

impl NoticeColumns {
    fn notice(self) -> Result<DueNotice, StoreError> {
        Ok(DueNotice {
            id: self.id,
            kind: NoticeKind::parse(&self.kind).ok_or_else(|| StoreError::unreadable("notice kind", &self.kind))?,
            raised_at: self.raised_at.0,
            attempts: self.attempts,
            conversation_id: self.conversation_id,
            contact_id: self.contact_id,
            phone_number_id: self.phone_number_id,
            agent_id: self.agent_id,
            name: self.name,
            address: self.address,
            mode_until: self.mode_until.map(|at| at.0),
        })
    }
}
