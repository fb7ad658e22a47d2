//! Notices to the operator's own system: written with what they tell of, claimed when they are due, kept until they have arrived.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::{Store, alerts};
use crate::domain::alert::{AlertKind, NewAlert, Severity};
use crate::domain::notice::{
    DueNotice, NOTICE_ATTEMPTS_MAX, NoticeAlert, NoticeConversation, NoticeKind, NoticeSubject,
};
use crate::domain::outbound::SendError;
use crate::domain::turn::FinishedTurn;
use crate::ids::Ids;

/// Open alerts that nobody was told of: not those that a notice of their own tells of, nor those that tell of notices.
const UNTOLD_ALERTS: &str = "FROM alerts a
             WHERE a.cleared_at IS NULL AND a.kind NOT IN ('handover_requested', 'operator_webhook_failed')
               AND (SELECT 1 FROM notices n WHERE n.id = a.id) IS NULL";
/// Alerts that one round writes notices about.
const ALERTS_PER_ROUND: i64 = 100;

impl Store {
    /// Writes a notice about each open alert that has none: a notice about an alert has its id, and is about no conversation. What
    /// was over before somebody looked is not told any more.
    pub async fn note_alerts(&self) -> Result<(), StoreError> {
        let untold: Vec<IdRow> = read!(&self.db, |pool, D| {
            let sql = format!("SELECT a.id {UNTOLD_ALERTS} LIMIT 1");
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await?
        });
        if untold.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        on!(&mut tx, |connection, D| {
            let sql = format!(
                "INSERT INTO notices (id, kind, conversation_id, agent_id, raised_at, attempts, not_before)
                 SELECT a.id, 'alert_raised', $1, '', a.raised_at, 0, $2 {UNTOLD_ALERTS}
                 ORDER BY a.id LIMIT $3 ON CONFLICT (id) DO NOTHING"
            );
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(Uuid::nil())
                .bind(Ts(now))
                .bind(ALERTS_PER_ROUND)
                .execute(connection)
                .await?;
        });
        tx.commit().await
    }

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
                          ORDER BY m.id DESC LIMIT 1) AS address,
                         a.kind AS alert_kind, a.subject, a.severity, a.sentence
                     FROM notices n LEFT JOIN conversations c ON c.id = n.conversation_id
                     LEFT JOIN contacts p ON p.id = c.contact_id LEFT JOIN alerts a ON a.id = n.id WHERE n.id = $1",
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
                let look_at = match &notice.about {
                    NoticeSubject::Conversation(_) => {
                        "Somebody may be waiting for a person: look at GET /admin/conversations?mode=human,"
                    }
                    NoticeSubject::Alert { .. } => "It told of an alert: look at GET /admin/alerts,",
                };
                let sentence = format!(
                    "Your system did not take a notice after {NOTICE_ATTEMPTS_MAX} attempts: {} {look_at} and at \
                     MICAI_OPERATOR_WEBHOOK_URL.",
                    error.detail
                );
                let evidence = json!({
                    "notice_id": notice.id,
                    "kind": notice.kind,
                    "conversation_id": notice.conversation_id(),
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
        contact_id: Option<Uuid>,
        phone_number_id: Option<String>,
        mode_until: Option<Ts>,
        name: Option<String>,
        address: Option<String>,
        alert_kind: Option<String>,
        subject: Option<String>,
        severity: Option<String>,
        sentence: Option<String>,
    }
}

impl NoticeColumns {
    fn notice(self) -> Result<DueNotice, StoreError> {
        let kind = NoticeKind::parse(&self.kind).ok_or_else(|| StoreError::unreadable("notice kind", &self.kind))?;
        let about = match (self.contact_id, self.alert_kind) {
            (Some(contact_id), _) => NoticeSubject::Conversation(NoticeConversation {
                conversation_id: self.conversation_id,
                contact_id,
                phone_number_id: self.phone_number_id.unwrap_or_default(),
                agent_id: self.agent_id,
                name: self.name,
                address: self.address,
                mode_until: self.mode_until.map(|at| at.0),
            }),
            (None, Some(kind)) => NoticeSubject::Alert {
                alert: NoticeAlert {
                    kind,
                    subject: self.subject.unwrap_or_default(),
                    severity: self.severity.unwrap_or_default(),
                    sentence: self.sentence.unwrap_or_default(),
                },
            },
            (None, None) => return Err(StoreError::unreadable("subject of a notice", &self.id.to_string())),
        };
        Ok(DueNotice { id: self.id, kind, raised_at: self.raised_at.0, attempts: self.attempts, about })
    }
}
