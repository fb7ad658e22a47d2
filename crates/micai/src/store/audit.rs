//! The audit log: written inside the transaction that makes the change, and never changed after that. The database itself
//! refuses to (triggers of migration 0003).

use jiff::Timestamp;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, Tx, read, row};
use super::error::StoreError;
use super::script::{Cell, Kind, Rows, Script};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::ids::Ids;

/// An entry of the audit log, as people see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AuditView {
    /// Its id.
    pub id: Uuid,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it: `admin` (over HTTP, with the admin key), `command_line` or `platform`.
    pub actor: String,
    /// The person: as the header `x-admin-actor` claimed, or the system's name for who was at the command line.
    pub actor_name: Option<String>,
    /// The request that did it; the same stands in the log.
    pub request_id: Option<Uuid>,
    /// What was done: `agent_created`, `contact_blocked`, …
    pub action: String,
    /// To what: an id.
    pub subject: String,
    /// How it stood before; null where it was not there.
    pub before: Option<serde_json::Value>,
    /// How it stood after; null where it is gone.
    pub after: Option<serde_json::Value>,
}

impl Store {
    /// At most `limit` entries from before `before`, the youngest first: of one subject, of one action, or of both.
    pub async fn audit_log(
        &self,
        subject: Option<&str>,
        action: Option<AuditAction>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<AuditView>, StoreError> {
        // Each filter in words of its own, so that each finds its index.
        let filter = match (subject, action) {
            (None, None) => "$3 IS NULL AND $4 IS NULL",
            (Some(_), None) => "subject = $3 AND $4 IS NULL",
            (None, Some(_)) => "$3 IS NULL AND action = $4",
            (Some(_), Some(_)) => "subject = $3 AND action = $4",
        };
        let sql = format!(
            "SELECT id, at, actor, actor_name, request_id, action, subject, state_before, state_after
             FROM audit_log WHERE id < $1 AND {filter} ORDER BY id DESC LIMIT $2"
        );
        let rows: Vec<AuditColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(before.unwrap_or(Uuid::max()))
                .bind(limit)
                .bind(subject)
                .bind(action.map(AuditAction::as_str))
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(AuditColumns::view).collect())
    }
}

/// Writes one entry as part of the transaction that makes the change.
pub(super) async fn record(
    tx: &mut Tx,
    ids: &Ids,
    actor: &Actor,
    entry: AuditEntry,
    now: Timestamp,
) -> Result<(), StoreError> {
    record_all(tx, ids, actor, &[entry], now).await
}

/// Writes entries as part of the transaction that makes the changes.
pub(super) async fn record_all(
    tx: &mut Tx,
    ids: &Ids,
    actor: &Actor,
    entries: &[AuditEntry],
    now: Timestamp,
) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("id", Kind::Id),
        ("at", Kind::Instant),
        ("actor", Kind::Text),
        ("actor_name", Kind::Text),
        ("request_id", Kind::Id),
        ("action", Kind::Text),
        ("subject", Kind::Text),
        ("state_before", Kind::Json),
        ("state_after", Kind::Json),
    ];
    let mut rows = Rows::new("entries", COLUMNS);
    for entry in entries {
        rows.push([
            ids.uuid(now).into(),
            now.into(),
            actor.kind().into(),
            actor.name().into(),
            actor.request_id().into(),
            entry.action().as_str().into(),
            entry.subject().into(),
            Cell::json_or_null(entry.before())?,
            Cell::json_or_null(entry.after())?,
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "INSERT INTO audit_log (id, at, actor, actor_name, request_id, action, subject, state_before, state_after)
         SELECT id, at, actor, actor_name, request_id, action, subject, state_before, state_after FROM entries",
    );
    script.run(tx).await.map(drop)
}

row! {
    struct AuditColumns {
        id: Uuid,
        at: Ts,
        actor: String,
        actor_name: Option<String>,
        request_id: Option<Uuid>,
        action: String,
        subject: String,
        state_before: Option<Json<serde_json::Value>>,
        state_after: Option<Json<serde_json::Value>>,
    }
}

impl AuditColumns {
    fn view(self) -> AuditView {
        AuditView {
            id: self.id,
            at: self.at.0,
            actor: self.actor,
            actor_name: self.actor_name,
            request_id: self.request_id,
            action: self.action,
            subject: self.subject,
            before: self.state_before.map(|state| state.0),
            after: self.state_after.map(|state| state.0),
        }
    }
}
