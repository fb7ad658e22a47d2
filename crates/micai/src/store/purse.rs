//! What time does to money that was put aside: it becomes spend when a status has settled the send, it is given back when the
//! send is over without one, and what waited for a budget goes out when there is room again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::alerts;
use super::budgets::alert_subject;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::reserve::{self, ALLOWANCE};
use super::script::{Kind, Rows, Script};
use crate::domain::alert::AlertKind;
use crate::domain::budget::Budget;
use crate::domain::outbound::{Price, SendState};
use crate::ids::ConversationId;

/// Reservations of one transaction.
const SETTLE_ROWS_MAX: usize = 500;
/// Budgets and subjects that one look releases sends for; the rest follows in the next.
const WAITING_BUDGETS_MAX: i64 = 200;
/// Sends of a budget and subject that one look releases.
const RELEASE_ROWS_MAX: i64 = 200;
/// Ended periods that one look clears away.
const ENDED_ROWS_MAX: i64 = 500;
/// How long a period is kept after its end, for sends that are settled late.
const ENDED_KEPT_SECONDS: i64 = 2 * 24 * 3_600;

/// Where a walk through reservations stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationCursor {
    conversation_id: Uuid,
    outbound_id: Uuid,
    budget_id: String,
}

impl ReservationCursor {
    /// Before all of them.
    pub fn first() -> Self {
        Self { conversation_id: Uuid::nil(), outbound_id: Uuid::nil(), budget_id: String::new() }
    }
}

row! {
    struct ReservationRow {
        conversation_id: Uuid,
        outbound_id: Uuid,
        budget_id: String,
        subject: String,
        starts_at: Ts,
        amount: i64,
        charged_by: Option<Uuid>,
        price: Option<Json<Price>>,
    }
}
row! {
    struct HoldRow {
        budget_id: String,
        subject: String,
        outbound_id: Uuid,
        conversation_id: Uuid,
        micros: i64,
        state: String,
    }
}
row! { struct WaitingRow { budget_id: String, subject: String } }
row! { struct EndedRow { budget_id: String, subject: String } }

impl Store {
    /// Settles what is put aside for sends whose fate is known, a page behind `after`. Gives where the next page begins,
    /// if there may be one.
    pub async fn settle_reservations(
        &self,
        after: &ReservationCursor,
    ) -> Result<Option<ReservationCursor>, StoreError> {
        let mut tx = self.db.begin().await?;
        let rows = finished(&mut tx, after).await?;
        let Some(last) = rows.last() else {
            tx.roll_back().await;
            return Ok(None);
        };
        let next = ReservationCursor {
            conversation_id: last.conversation_id,
            outbound_id: last.outbound_id,
            budget_id: last.budget_id.clone(),
        };
        let is_full = rows.len() >= SETTLE_ROWS_MAX;
        let keys: Vec<_> =
            rows.iter().map(|row| (row.budget_id.clone(), row.subject.clone(), row.starts_at.0)).collect();
        let mut counters = reserve::lock(&mut tx, keys.iter()).await?;
        let mut settled = Rows::new(
            "settled",
            &[("conversation_id", Kind::Id), ("outbound_id", Kind::Id), ("budget_id", Kind::Text)],
        );
        for (row, key) in rows.iter().zip(&keys) {
            if let Some(counter) = counters.get_mut(key) {
                counter.settle(row.amount, row.spent());
            }
            settled.push([row.conversation_id.into(), row.outbound_id.into(), (&row.budget_id).into()]);
        }
        reserve::write_settled(&mut tx, &counters, settled, self.clock.now()).await?;
        tx.commit().await?;
        Ok(is_full.then_some(next))
    }

    /// Lets sends go that waited for a budget, as many as there is room for now; `currency` is that of the price table.
    /// Gives their conversations.
    pub async fn release_budget_holds(&self, currency: &str) -> Result<Vec<ConversationId>, StoreError> {
        let waiting: Vec<WaitingRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT budget_id, subject FROM budget_holds GROUP BY budget_id, subject ORDER BY budget_id, subject
                 LIMIT $1",
            )
            .bind(WAITING_BUDGETS_MAX)
            .fetch_all(pool)
            .await?
        });
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let budgets: BTreeMap<String, Budget> =
            self.budget_snapshot().await?.budgets.iter().map(|budget| (budget.id.clone(), budget.clone())).collect();
        let mut released = BTreeSet::new();
        for WaitingRow { budget_id, subject } in waiting {
            let mut tx = self.db.begin().await?;
            let room = match budgets.get(&budget_id) {
                Some(budget) => room(&mut tx, budget, &subject, currency, now).await?,
                None => i64::MAX,
            };
            let holds = first_holds(&mut tx, &budget_id, &subject, room).await?;
            if holds.is_empty() {
                tx.roll_back().await;
                continue;
            }
            released.extend(release(&mut tx, &holds, now).await?);
            tx.commit().await?;
        }
        Ok(released.into_iter().map(ConversationId).collect())
    }

    /// Clears the alerts of budgets whose period is over, and takes away periods that ended long ago.
    pub async fn end_budget_periods(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let ended: Vec<EndedRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT budget_id, subject FROM budget_periods
                 WHERE ends_at <= $1 AND (warned_at IS NOT NULL OR ends_at <= $2) LIMIT $3",
            )
            .bind(Ts(now))
            .bind(Ts(now - SignedDuration::from_secs(ENDED_KEPT_SECONDS)))
            .bind(ENDED_ROWS_MAX)
            .fetch_all(pool)
            .await?
        });
        if ended.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        for EndedRow { budget_id, subject } in ended {
            end_periods(&mut tx, &budget_id, &subject, now).await?;
        }
        tx.commit().await
    }
}

impl ReservationRow {
    /// What is spent of what was put aside; free messages are counted, not paid.
    fn spent(&self) -> i64 {
        let charge = self.charged_by.and(self.price.as_ref()).and_then(|price| price.0.charge.as_ref());
        match charge {
            // What was free for another reason has not used up any of them.
            Some(charge) if self.budget_id == ALLOWANCE => i64::from(charge.is_free && charge.category == "service"),
            Some(charge) => charge.micros,
            None => 0,
        }
    }
}

/// Reservations whose sends were settled by a status, or are over without one. The rows of the sends are locked, so that none
/// of them is queued again meanwhile; those that somebody else has locked are left for the next look.
async fn finished(tx: &mut Tx, after: &ReservationCursor) -> Result<Vec<ReservationRow>, StoreError> {
    let mut rows =
        Rows::new("cursors", &[("conversation_id", Kind::Id), ("outbound_id", Kind::Id), ("budget_id", Kind::Text)]);
    rows.push([after.conversation_id.into(), after.outbound_id.into(), (&after.budget_id).into()]);
    let locked = match tx {
        Tx::Pg(..) => " FOR UPDATE OF o SKIP LOCKED",
        Tx::Lite(_) => "",
    };
    let sql = format!(
        "SELECT r.conversation_id, r.outbound_id, r.budget_id, r.subject, r.starts_at, r.amount, o.charged_by, o.price
         FROM spend_reservations r
         JOIN outbound_messages o ON o.conversation_id = r.conversation_id AND o.id = r.outbound_id
         WHERE (r.conversation_id, r.outbound_id, r.budget_id) >
                   (SELECT conversation_id, outbound_id, budget_id FROM cursors)
           AND (o.charged_by IS NOT NULL OR o.state IN ('failed', 'cancelled', 'suppressed', 'held'))
         ORDER BY r.conversation_id, r.outbound_id, r.budget_id LIMIT {SETTLE_ROWS_MAX}{locked}"
    );
    rows.fetch(tx, &sql).await
}

/// What is left of a budget in the present period.
async fn room(tx: &mut Tx, budget: &Budget, subject: &str, currency: &str, now: Timestamp) -> Result<i64, StoreError> {
    if budget.currency != currency {
        return Ok(-1);
    }
    let key = (budget.id.clone(), subject.to_owned(), budget.span(now).starts_at);
    let counters = reserve::lock(tx, std::iter::once(&key)).await?;
    // Without a counter, nothing is spent in this period yet.
    Ok(counters.get(&key).map_or(budget.limit_micros, |counter| counter.left(currency).unwrap_or(-1)))
}

/// The oldest sends that wait for a budget, as many as fit into `room`, and those that wait no longer. The rows of the sends
/// are locked: one that is about to be held must not lose its place in the list.
async fn first_holds(tx: &mut Tx, budget_id: &str, subject: &str, room: i64) -> Result<Vec<HoldRow>, StoreError> {
    let mut rows = Rows::new("wanted", &[("budget_id", Kind::Text), ("subject", Kind::Text)]);
    rows.push([budget_id.into(), subject.into()]);
    let locked = match tx {
        Tx::Pg(..) => " FOR UPDATE OF o SKIP LOCKED",
        Tx::Lite(_) => "",
    };
    let sql = format!(
        "SELECT h.budget_id, h.subject, h.outbound_id, h.conversation_id, h.micros, o.state
         FROM wanted w
         CROSS JOIN budget_holds h
         CROSS JOIN outbound_messages o
         WHERE h.budget_id = w.budget_id AND h.subject = w.subject
           AND o.conversation_id = h.conversation_id AND o.id = h.outbound_id
           AND o.state NOT IN ('queued', 'sending', 'unknown')
         ORDER BY h.outbound_id LIMIT {RELEASE_ROWS_MAX}{locked}"
    );
    let rows: Vec<HoldRow> = rows.fetch(tx, &sql).await?;
    let mut left = room;
    let fits = |hold: &HoldRow| {
        if hold.is_held() {
            left = left.saturating_sub(hold.micros);
        }
        left >= 0 || !hold.is_held()
    };
    Ok(rows.into_iter().filter(fits).collect())
}

impl HoldRow {
    fn is_held(&self) -> bool {
        self.state == SendState::Held.as_str()
    }
}

/// Queues what is held, and strikes all of `holds` off the list. Gives the conversations.
async fn release(tx: &mut Tx, holds: &[HoldRow], now: Timestamp) -> Result<Vec<Uuid>, StoreError> {
    let mut rows = Rows::new(
        "holds",
        &[
            ("budget_id", Kind::Text),
            ("subject", Kind::Text),
            ("outbound_id", Kind::Id),
            ("conversation_id", Kind::Id),
            ("now", Kind::Instant),
        ],
    );
    for hold in holds {
        rows.push([
            (&hold.budget_id).into(),
            (&hold.subject).into(),
            hold.outbound_id.into(),
            hold.conversation_id.into(),
            now.into(),
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let queued = script.ask(
        &[rows],
        "UPDATE outbound_messages SET state = 'queued', not_before = NULL, error = NULL, updated_at = holds.now
         FROM holds
         WHERE outbound_messages.conversation_id = holds.conversation_id AND outbound_messages.id = holds.outbound_id
           AND outbound_messages.state = 'held'
         RETURNING outbound_messages.conversation_id AS id",
    );
    script.step(
        &[rows],
        "DELETE FROM budget_holds WHERE (budget_id, subject, outbound_id) IN
             (SELECT budget_id, subject, outbound_id FROM holds)",
    );
    Ok(script.run(tx).await?.of(queued).into_iter().collect())
}

/// Ends what was said about past periods, unless the present one has been said to be nearly spent, too.
async fn end_periods(tx: &mut Tx, budget_id: &str, subject: &str, now: Timestamp) -> Result<(), StoreError> {
    let warned_again: Option<EndedRow> = on!(&mut *tx, |connection, D| {
        sqlx::query_as(
            "SELECT budget_id, subject FROM budget_periods
             WHERE budget_id = $1 AND subject = $2 AND ends_at > $3 AND warned_at IS NOT NULL LIMIT 1",
        )
        .bind(budget_id)
        .bind(subject)
        .bind(Ts(now))
        .fetch_optional(connection)
        .await?
    });
    if warned_again.is_none() {
        for kind in [AlertKind::BudgetWarning, AlertKind::BudgetExceeded] {
            alerts::clear(tx, kind, &alert_subject(budget_id, subject), now).await?;
        }
    }
    on!(&mut *tx, |connection, D| {
        sqlx::query(
            "UPDATE budget_periods SET warned_at = NULL, exceeded_at = NULL
             WHERE budget_id = $1 AND subject = $2 AND ends_at <= $3 AND warned_at IS NOT NULL",
        )
        .bind(budget_id)
        .bind(subject)
        .bind(Ts(now))
        .execute(connection)
        .await?;
    });
    on!(&mut *tx, |connection, D| {
        sqlx::query("DELETE FROM budget_periods WHERE budget_id = $1 AND subject = $2 AND ends_at <= $3")
            .bind(budget_id)
            .bind(subject)
            .bind(Ts(now - SignedDuration::from_secs(ENDED_KEPT_SECONDS)))
            .execute(connection)
            .await?;
    });
    Ok(())
}
