//! Alerts: raised inside the transaction that found the cause, cleared when it has ended, acknowledged by a person.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::audit;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::script::{Cell, Kind, Rows, Script};
use crate::domain::alert::{AlertKind, NewAlert};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::ids::Ids;

/// An alert as people see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AlertView {
    /// Its id.
    pub id: Uuid,
    /// What it is about: `account_paused`, `budget_warning`, …
    pub kind: String,
    /// The number, template, agent … that it concerns; empty for the whole installation.
    pub subject: String,
    /// `notice`, `warning` or `critical`.
    pub severity: String,
    /// What happened and what to do.
    pub sentence: String,
    /// What the sentence rests on.
    pub evidence: serde_json::Value,
    /// How often it was raised since it is open.
    pub times: i64,
    /// When it was first raised.
    pub raised_at: Timestamp,
    /// When it was last raised.
    pub last_raised_at: Timestamp,
    /// When somebody said that they have seen it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who that was: the name that was given, else the kind of actor.
    pub acknowledged_by: Option<String>,
    /// When it was over.
    pub cleared_at: Option<Timestamp>,
}

impl Store {
    /// Raises an alert, or counts it once more where one of its kind and subject is open. `true` when it is new.
    pub async fn raise_alert(&self, alert: &NewAlert) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let new = raise(&mut tx, &self.ids, std::slice::from_ref(alert), self.clock.now()).await?;
        tx.commit().await?;
        Ok(new > 0)
    }

    /// The open alert of that kind and subject.
    pub async fn open_alert(&self, kind: AlertKind, subject: &str) -> Result<Option<AlertView>, StoreError> {
        let row: Option<AlertColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, kind, subject, severity, sentence, evidence, times, raised_at, last_raised_at,
                        acknowledged_at, acknowledged_by, cleared_at
                 FROM alerts WHERE kind = $1 AND subject = $2 AND cleared_at IS NULL",
            )
            .bind(kind.as_str())
            .bind(subject)
            .fetch_optional(pool)
            .await?
        });
        Ok(row.map(AlertColumns::view))
    }

    /// Clears an alert: what it reported has ended. `false` when none of that kind and subject is open.
    pub async fn clear_alert(&self, kind: AlertKind, subject: &str) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let cleared = clear(&mut tx, kind, subject, self.clock.now()).await?;
        tx.commit().await?;
        Ok(cleared)
    }

    /// Notes that somebody has seen an alert. An event is over with that; a condition stays open until it ends. The first
    /// acknowledgement stays. `None` when there is no alert of that id.
    pub async fn acknowledge_alert(&self, id: Uuid, actor: &Actor) -> Result<Option<AlertView>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = alert(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok(None);
        };
        let is_event = AlertKind::parse(&before.kind).is_some_and(AlertKind::is_event);
        on!(&mut tx, |connection, D| {
            sqlx::query(
                "UPDATE alerts SET acknowledged_at = coalesce(acknowledged_at, $1),
                     acknowledged_by = coalesce(acknowledged_by, $2), cleared_at = coalesce(cleared_at, $3)
                 WHERE id = $4",
            )
            .bind(Ts(now))
            .bind(actor.name().unwrap_or(actor.kind()))
            .bind(is_event.then_some(Ts(now)))
            .bind(id)
            .execute(connection)
            .await?;
        });
        let after = alert(&mut tx, id).await?;
        let what = serde_json::json!({ "kind": before.kind, "subject": before.subject });
        let entry = AuditEntry::new(AuditAction::AlertAcknowledged, id, None, Some(what));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// At most `limit` alerts (all of them, or only open ones) from before `before`, the youngest first.
    pub async fn alerts(
        &self,
        open_only: bool,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<AlertView>, StoreError> {
        let before = before.unwrap_or(Uuid::max());
        let sql = match open_only {
            true => {
                "SELECT id, kind, subject, severity, sentence, evidence, times, raised_at, last_raised_at,
                        acknowledged_at, acknowledged_by, cleared_at
                 FROM alerts WHERE cleared_at IS NULL AND id < $1 ORDER BY id DESC LIMIT $2"
            }
            false => {
                "SELECT id, kind, subject, severity, sentence, evidence, times, raised_at, last_raised_at,
                        acknowledged_at, acknowledged_by, cleared_at
                 FROM alerts WHERE id < $1 ORDER BY id DESC LIMIT $2"
            }
        };
        let rows: Vec<AlertColumns> =
            read!(&self.db, |pool, D| sqlx::query_as(sql).bind(before).bind(limit).fetch_all(pool).await?);
        Ok(rows.into_iter().map(AlertColumns::view).collect())
    }
}

/// Raises alerts as part of a transaction (on Postgres: one that was begun, see [`Tx::together`]). Gives how many are new;
/// those are logged.
pub(super) async fn raise(tx: &mut Tx, ids: &Ids, alerts: &[NewAlert], now: Timestamp) -> Result<usize, StoreError> {
    // One row a key, with how often it was raised: a statement may not write a row twice. Sorted, so that two
    // transactions lock the rows in the same order.
    let mut by_key: BTreeMap<(AlertKind, &str), (Uuid, &NewAlert, i64)> = BTreeMap::new();
    for alert in alerts {
        let times = by_key.get(&(alert.kind(), alert.subject())).map_or(0, |held| held.2);
        by_key.insert((alert.kind(), alert.subject()), (ids.uuid(now), alert, times + 1));
    }
    const COLUMNS: &[(&str, Kind)] = &[
        ("id", Kind::Id),
        ("kind", Kind::Text),
        ("subject", Kind::Text),
        ("severity", Kind::Text),
        ("sentence", Kind::Text),
        ("evidence", Kind::Json),
        ("times", Kind::Whole),
        ("raised_at", Kind::Instant),
    ];
    let mut rows = Rows::new("raised", COLUMNS);
    for (id, alert, times) in by_key.values() {
        rows.push([
            (*id).into(),
            alert.kind().as_str().into(),
            alert.subject().into(),
            alert.severity().as_str().into(),
            alert.sentence().into(),
            Cell::json(alert.evidence())?,
            (*times).into(),
            now.into(),
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let written = script.ask(
        &[rows],
        "INSERT INTO alerts (id, kind, subject, severity, sentence, evidence, times, raised_at, last_raised_at)
         SELECT id, kind, subject, severity, sentence, evidence, times, raised_at, raised_at FROM raised WHERE true
         ON CONFLICT (kind, subject) WHERE cleared_at IS NULL DO UPDATE SET severity = excluded.severity,
             sentence = excluded.sentence, evidence = excluded.evidence, times = alerts.times + excluded.times,
             last_raised_at = excluded.last_raised_at
         RETURNING id",
    );
    let written = script.run(tx).await?.of(written);
    // An id that we gave came back: there was no open one.
    let new = by_key.values().filter(|(id, _, _)| written.contains(id));
    let log = |(_, alert, _): &(Uuid, &NewAlert, i64)| {
        let (kind, subject) = (alert.kind().as_str(), alert.subject());
        tracing::warn!(kind, subject, severity = alert.severity().as_str(), "alert: {}", alert.sentence());
    };
    Ok(new.inspect(|one| log(one)).count())
}

/// Clears an alert as part of a transaction. `false` when none of that kind and subject is open.
pub(super) async fn clear(tx: &mut Tx, kind: AlertKind, subject: &str, now: Timestamp) -> Result<bool, StoreError> {
    let cleared = on!(tx, |connection, D| {
        sqlx::query("UPDATE alerts SET cleared_at = $1 WHERE kind = $2 AND subject = $3 AND cleared_at IS NULL")
            .bind(Ts(now))
            .bind(kind.as_str())
            .bind(subject)
            .execute(connection)
            .await?
            .rows_affected()
    });
    if cleared > 0 {
        tracing::info!(kind = kind.as_str(), subject, "alert cleared");
    }
    Ok(cleared > 0)
}

async fn alert(tx: &mut Tx, id: Uuid) -> Result<Option<AlertView>, StoreError> {
    let row: Option<AlertColumns> = on!(tx, |connection, D| {
        sqlx::query_as(
            "SELECT id, kind, subject, severity, sentence, evidence, times, raised_at, last_raised_at,
                    acknowledged_at, acknowledged_by, cleared_at
             FROM alerts WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(connection)
        .await?
    });
    Ok(row.map(AlertColumns::view))
}

row! {
    struct AlertColumns {
        id: Uuid,
        kind: String,
        subject: String,
        severity: String,
        sentence: String,
        evidence: Json<serde_json::Value>,
        times: i64,
        raised_at: Ts,
        last_raised_at: Ts,
        acknowledged_at: Option<Ts>,
        acknowledged_by: Option<String>,
        cleared_at: Option<Ts>,
    }
}

impl AlertColumns {
    fn view(self) -> AlertView {
        AlertView {
            id: self.id,
            kind: self.kind,
            subject: self.subject,
            severity: self.severity,
            sentence: self.sentence,
            evidence: self.evidence.0,
            times: self.times,
            raised_at: self.raised_at.0,
            last_raised_at: self.last_raised_at.0,
            acknowledged_at: self.acknowledged_at.map(|at| at.0),
            acknowledged_by: self.acknowledged_by,
            cleared_at: self.cleared_at.map(|at| at.0),
        }
    }
}
