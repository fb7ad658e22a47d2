//! Budgets: kept, shown, and held in memory by whoever sends, so that an installation without budgets asks nobody.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::Mutex;

use super::Store;
use super::agents::state;
use super::alerts;
use super::audit;
use super::db::{Db, Ts, Tx, on, read, row};
use super::error::StoreError;
use crate::domain::alert::AlertKind;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::budget::{BUDGETS_MAX, Budget, BudgetPeriod, BudgetScope};

/// How old the budgets in memory may be: for so long another process's change may go unnoticed.
const SNAPSHOT_SECONDS_MAX: i64 = 3;
/// How old the count of used free messages may be. It tells what a message will probably cost; whether a budget has room
/// rests on counters of its own.
const FREE_MESSAGES_SECONDS_MAX: i64 = 60;

/// The budgets as a sender needs them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetSnapshot {
    /// All of them.
    pub budgets: Vec<Budget>,
    /// Free service messages used this month, by number.
    pub free_messages_used: Arc<HashMap<String, i64>>,
}

/// A budget as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BudgetView {
    /// The operator's name for it.
    pub id: String,
    /// `installation`, `agent`, `contact`, `number` or `country`.
    pub scope: String,
    /// The agent, contact, number or country; null: each of them has this much for itself.
    pub subject: Option<String>,
    /// `day` or `month`.
    pub period: String,
    /// Whose midnight it begins at; null: UTC.
    pub zone: Option<String>,
    /// Three letters.
    pub currency: String,
    /// How much, in millionths.
    pub limit_micros: i64,
    /// When the present period began.
    pub period_starts_at: Timestamp,
    /// When the next one begins.
    pub period_ends_at: Timestamp,
    /// Spent in this period, in millionths; over all subjects, where each has its own.
    pub spent_micros: i64,
    /// Put aside for messages on their way, in millionths.
    pub reserved_micros: i64,
    /// Sends that wait for it.
    pub held: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last saved.
    pub updated_at: Timestamp,
}

/// What came of saving a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveBudget {
    /// It is new.
    Created,
    /// It was there before.
    Replaced,
    /// There are [`BUDGETS_MAX`] already.
    NoRoom,
}

/// The budgets in memory.
#[derive(Debug, Default)]
pub(super) struct BudgetCache {
    held: RwLock<Held>,
    /// One of those who find them too old loads them, the others wait.
    loading: Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    snapshot: Option<(Timestamp, Arc<BudgetSnapshot>)>,
    free_messages_used: Option<(Timestamp, Arc<HashMap<String, i64>>)>,
    /// Counts the changes by this process: what was loaded before one is not kept after it.
    changes: u64,
}

impl BudgetCache {
    fn fresh(&self, now: Timestamp) -> (Option<Arc<BudgetSnapshot>>, u64) {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let snapshot = held.snapshot.as_ref().filter(|(at, _)| is_younger(*at, now, SNAPSHOT_SECONDS_MAX));
        (snapshot.map(|(_, snapshot)| snapshot.clone()), held.changes)
    }

    fn free_messages_used(&self, now: Timestamp) -> Option<Arc<HashMap<String, i64>>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let used = held.free_messages_used.as_ref();
        used.filter(|(at, _)| is_younger(*at, now, FREE_MESSAGES_SECONDS_MAX)).map(|(_, used)| used.clone())
    }

    fn keep_free_messages_used(&self, used: Arc<HashMap<String, i64>>, now: Timestamp) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.free_messages_used = Some((now, used));
    }

    fn keep(&self, snapshot: Arc<BudgetSnapshot>, now: Timestamp, changes: u64) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.changes == changes {
            held.snapshot = Some((now, snapshot));
        }
    }

    fn forget(&self) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.snapshot = None;
        held.changes += 1;
    }
}

fn is_younger(loaded_at: Timestamp, now: Timestamp, seconds: i64) -> bool {
    now < loaded_at + SignedDuration::from_secs(seconds)
}

impl Store {
    /// The budgets, at most some seconds old; at once those that this process has saved.
    pub async fn budget_snapshot(&self) -> Result<Arc<BudgetSnapshot>, StoreError> {
        if let (Some(snapshot), _) = self.budgets.fresh(self.clock.now()) {
            return Ok(snapshot);
        }
        let _loading = self.budgets.loading.lock().await;
        let now = self.clock.now();
        let changes = match self.budgets.fresh(now) {
            (Some(snapshot), _) => return Ok(snapshot),
            (None, changes) => changes,
        };
        let budgets = load(&self.db, "", BUDGETS_MAX).await?;
        let budgets = budgets.into_iter().map(BudgetRow::budget).collect::<Result<Vec<_>, _>>()?;
        let free_messages_used = match self.budgets.free_messages_used(now) {
            Some(used) => used,
            None => {
                let used = self.free_messages_used(now).await?;
                let used = Arc::new(used.into_iter().map(|number| (number.phone_number_id, number.used)).collect());
                self.budgets.keep_free_messages_used(Arc::clone(&used), now);
                used
            }
        };
        let snapshot = Arc::new(BudgetSnapshot { budgets, free_messages_used });
        self.budgets.keep(snapshot.clone(), now, changes);
        Ok(snapshot)
    }

    /// Saves a budget under its id. What is spent of it counts on, unless it is counted by something else or in other
    /// periods now: then it begins with nothing spent. Its warnings are given anew.
    pub async fn save_budget(&self, budget: &Budget, actor: &Actor) -> Result<SaveBudget, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let before = one(&mut tx, &budget.id).await?;
        if before.is_none() && count(&mut tx).await? >= BUDGETS_MAX {
            tx.roll_back().await;
            return Ok(SaveBudget::NoRoom);
        }
        on!(&mut tx, |connection, D| {
            sqlx::query(
                "INSERT INTO budgets (id, scope, subject, period, zone, currency, limit_micros, created_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
                 ON CONFLICT (id) DO UPDATE SET scope = excluded.scope, subject = excluded.subject,
                     period = excluded.period, zone = excluded.zone, currency = excluded.currency,
                     limit_micros = excluded.limit_micros, updated_at = excluded.updated_at",
            )
            .bind(&budget.id)
            .bind(budget.scope.as_str())
            .bind(&budget.subject)
            .bind(budget.period.as_str())
            .bind(&budget.zone)
            .bind(&budget.currency)
            .bind(budget.limit_micros)
            .bind(Ts(now))
            .execute(connection)
            .await?;
        });
        let before = before.map(BudgetRow::budget).transpose()?;
        if let Some(before) = &before {
            clear_alerts(&mut tx, &budget.id, now).await?;
            if !counts_alike(before, budget) {
                forget_periods(&mut tx, &budget.id).await?;
            }
        }
        let was = before.as_ref().map(state).transpose()?;
        let entry = AuditEntry::new(AuditAction::BudgetSaved, &budget.id, was, Some(state(budget)?));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        self.budgets.forget();
        Ok(if before.is_some() { SaveBudget::Replaced } else { SaveBudget::Created })
    }

    /// Deletes a budget; what waited for it goes out. `false` when there is none of that id.
    pub async fn delete_budget(&self, id: &str, actor: &Actor) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = one(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok(false);
        };
        on!(&mut tx, |connection, D| {
            sqlx::query("DELETE FROM budgets WHERE id = $1").bind(id).execute(connection).await?;
        });
        clear_alerts(&mut tx, id, now).await?;
        forget_periods(&mut tx, id).await?;
        let entry = AuditEntry::new(AuditAction::BudgetDeleted, id, Some(state(&before.budget()?)?), None);
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        self.budgets.forget();
        Ok(true)
    }

    /// At most `limit` budgets behind `after`, by id, with what is left of them.
    pub async fn budgets(&self, after: &str, limit: i64) -> Result<Vec<BudgetView>, StoreError> {
        let mut views = Vec::new();
        for row in load(&self.db, after, limit).await? {
            views.push(self.budget_view(row).await?);
        }
        Ok(views)
    }

    /// The budget of that id.
    pub async fn budget(&self, id: &str) -> Result<Option<BudgetView>, StoreError> {
        let row: Option<BudgetRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, scope, subject, period, zone, currency, limit_micros, created_at, updated_at
                 FROM budgets WHERE id = $1",
            )
            .bind(id)
            .fetch_optional(pool)
            .await?
        });
        match row {
            Some(row) => Ok(Some(self.budget_view(row).await?)),
            None => Ok(None),
        }
    }

    async fn budget_view(&self, row: BudgetRow) -> Result<BudgetView, StoreError> {
        let (created_at, updated_at) = (row.created_at.0, row.updated_at.0);
        let budget = row.budget()?;
        let span = budget.span(self.clock.now());
        let used: UsedRow = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT CAST(coalesce(sum(reserved), 0) AS BIGINT) AS reserved,
                        CAST(coalesce(sum(spent), 0) AS BIGINT) AS spent,
                        (SELECT count(*) FROM budget_holds WHERE budget_id = $1) AS held
                 FROM budget_periods WHERE budget_id = $1 AND starts_at = $2",
            )
            .bind(&budget.id)
            .bind(Ts(span.starts_at))
            .fetch_one(pool)
            .await?
        });
        Ok(BudgetView {
            id: budget.id,
            scope: budget.scope.as_str().to_owned(),
            subject: budget.subject,
            period: budget.period.as_str().to_owned(),
            zone: budget.zone,
            currency: budget.currency,
            limit_micros: budget.limit_micros,
            period_starts_at: span.starts_at,
            period_ends_at: span.ends_at,
            spent_micros: used.spent,
            reserved_micros: used.reserved,
            held: used.held,
            created_at,
            updated_at,
        })
    }
}

row! { struct UsedRow { reserved: i64, spent: i64, held: i64 } }
row! { struct SubjectRow { subject: String } }
row! { struct CountRow { count: i64 } }
row! {
    struct BudgetRow {
        id: String,
        scope: String,
        subject: Option<String>,
        period: String,
        zone: Option<String>,
        currency: String,
        limit_micros: i64,
        created_at: Ts,
        updated_at: Ts,
    }
}

impl BudgetRow {
    fn budget(self) -> Result<Budget, StoreError> {
        let scope =
            BudgetScope::parse(&self.scope).ok_or_else(|| StoreError::unreadable("budget scope", &self.scope))?;
        let period =
            BudgetPeriod::parse(&self.period).ok_or_else(|| StoreError::unreadable("budget period", &self.period))?;
        Ok(Budget {
            id: self.id,
            scope,
            subject: self.subject,
            period,
            zone: self.zone,
            currency: self.currency,
            limit_micros: self.limit_micros,
        })
    }
}

/// Whether what was counted for one counts for the other, too.
fn counts_alike(one: &Budget, other: &Budget) -> bool {
    let counted = |budget: &Budget| {
        (budget.scope, budget.subject.clone(), budget.period, budget.zone.clone(), budget.currency.clone())
    };
    counted(one) == counted(other)
}

async fn load(db: &Db, after: &str, limit: i64) -> Result<Vec<BudgetRow>, StoreError> {
    Ok(read!(db, |pool, D| {
        sqlx::query_as(
            "SELECT id, scope, subject, period, zone, currency, limit_micros, created_at, updated_at
             FROM budgets WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(pool)
        .await?
    }))
}

async fn one(tx: &mut Tx, id: &str) -> Result<Option<BudgetRow>, StoreError> {
    Ok(on!(tx, |connection, D| {
        sqlx::query_as(
            "SELECT id, scope, subject, period, zone, currency, limit_micros, created_at, updated_at
             FROM budgets WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(connection)
        .await?
    }))
}

async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    let row: CountRow = on!(tx, |connection, D| {
        sqlx::query_as("SELECT count(*) AS count FROM budgets").fetch_one(connection).await?
    });
    Ok(row.count)
}

/// The budget is another one now: whoever was warned of it is warned anew, when it comes to that.
async fn clear_alerts(tx: &mut Tx, id: &str, now: Timestamp) -> Result<(), StoreError> {
    let warned: Vec<SubjectRow> = on!(&mut *tx, |connection, D| {
        sqlx::query_as(
            "UPDATE budget_periods SET warned_at = NULL, exceeded_at = NULL
             WHERE budget_id = $1 AND (warned_at IS NOT NULL OR exceeded_at IS NOT NULL) RETURNING subject",
        )
        .bind(id)
        .fetch_all(connection)
        .await?
    });
    for SubjectRow { subject } in warned {
        let subject = alert_subject(id, &subject);
        for kind in [AlertKind::BudgetWarning, AlertKind::BudgetExceeded] {
            alerts::clear(tx, kind, &subject, now).await?;
        }
    }
    Ok(())
}

/// Forgets what was counted. What is put aside for sends on their way is no longer of interest to anybody.
async fn forget_periods(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    for sql in
        ["DELETE FROM budget_periods WHERE budget_id = $1", "DELETE FROM spend_reservations WHERE budget_id = $1"]
    {
        on!(&mut *tx, |connection, D| {
            sqlx::query(sql).bind(id).execute(connection).await?;
        });
    }
    Ok(())
}

/// How alerts name a budget.
pub(super) fn alert_subject(budget_id: &str, subject: &str) -> String {
    if subject.is_empty() { budget_id.to_owned() } else { format!("{budget_id} ({subject})") }
}
