//! Money is put aside before a send goes out: under the locks of the budgets that it counts against, so that any number of
//! processes cannot overspend together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::Store;
use super::alerts;
use super::budgets::alert_subject;
use super::db::{Ts, Tx, row};
use super::error::StoreError;
use super::lane::Verb;
use super::script::{Kind, Rows, Script};
use crate::domain::alert::{AlertKind, NewAlert, Severity};
use crate::domain::budget::{
    BUDGET_WARNING_PERCENT, BudgetClaim, ExceededBudget, Reservation, Span, SpendRequest, money,
};
use crate::ids::{Ids, OutboundId};

/// Stands in place of a budget's id for the free messages of a number; no budget can be named so.
pub(super) const ALLOWANCE: &str = "";

/// A send that asks for its money.
pub(super) struct Reserve {
    request: SpendRequest,
    now: Timestamp,
}

pub(super) struct ReserveVerb {
    pub ids: Arc<Ids>,
}

impl Verb<Reserve, Reservation> for ReserveVerb {
    fn run<'a>(&'a self, tx: &'a mut Tx, items: &'a [Reserve]) -> BoxFuture<'a, Result<Vec<Reservation>, StoreError>> {
        Box::pin(reserve(tx, &self.ids, items))
    }
}

impl Store {
    /// Puts aside what a send may cost, in every budget that it counts against, or in none. A repeated attempt finds what
    /// the first one put aside; where that no longer suffices, since it is to go out as something dearer, in another period or
    /// against another budget, it is given back and decided anew. What does not fit is written down as waiting for its budget:
    /// the caller holds it.
    pub async fn reserve_spend(&self, request: SpendRequest) -> Result<Reservation, StoreError> {
        self.lanes.reserve.submit(Reserve { request, now: self.clock.now() }).await
    }
}

/// A budget, subject and period: what is counted by itself. Sorted, so that two transactions lock in the same order.
type Key = (String, String, Timestamp);

/// What is counted, while a batch is decided.
pub(super) struct Counter {
    /// None: there is no such budget any more. The free messages of a number have none.
    pub limit: Option<(i64, String)>,
    pub ends_at: Timestamp,
    pub reserved: i64,
    pub spent: i64,
    warned: bool,
    exceeded: bool,
    changed: bool,
}

row! {
    struct CounterRow {
        budget_id: String,
        subject: String,
        starts_at: Ts,
        ends_at: Ts,
        reserved: i64,
        spent: i64,
        warned_at: Option<Ts>,
        exceeded_at: Option<Ts>,
        limit_micros: Option<i64>,
        currency: Option<String>,
    }
}

/// What is put aside already.
struct PutAside {
    key: Key,
    amount: i64,
}

row! {
    struct PutAsideRow { outbound_id: Uuid, budget_id: String, subject: String, starts_at: Ts, amount: i64 }
}

/// What a batch has decided.
#[derive(Default)]
struct Decided<'a> {
    given_back: Vec<(&'a SpendRequest, PutAside)>,
    reservations: Vec<(&'a SpendRequest, Key, i64)>,
    holds: Vec<(&'a SpendRequest, &'a BudgetClaim)>,
    alerts: Vec<NewAlert>,
}

async fn reserve(tx: &mut Tx, ids: &Ids, items: &[Reserve]) -> Result<Vec<Reservation>, StoreError> {
    tx.together().await?;
    let keys: BTreeMap<Key, Timestamp> = items.iter().flat_map(|item| keys_of(&item.request)).collect();
    let mut put_aside = open(tx, items, &keys).await?;
    let old_keys = put_aside.values().flatten().map(|one| &one.key);
    let mut counters = lock(tx, keys.keys().chain(old_keys)).await?;
    let mut decided = Decided::default();
    let (mut seen, mut outcomes) = (HashSet::new(), Vec::new());
    for item in items {
        let before = put_aside.remove(&item.request.outbound_id).unwrap_or_default();
        // The same item may stand in the batch twice.
        if !seen.insert(item.request.outbound_id) || suffices(&before, &item.request) {
            outcomes.push(Reservation::Reserved);
            continue;
        }
        for one in before {
            if let Some(counter) = counters.get_mut(&one.key) {
                counter.settle(one.amount, 0);
            }
            decided.given_back.push((&item.request, one));
        }
        outcomes.push(decide(&item.request, &mut counters, &mut decided));
    }
    let now = items.iter().map(|item| item.now).max().unwrap_or_default();
    write(tx, &counters, &decided, now).await?;
    if !decided.alerts.is_empty() {
        alerts::raise(tx, ids, &decided.alerts, now).await?;
    }
    Ok(outcomes)
}

/// Whether what is put aside covers what a send may cost now. A free message of the month is paid for by its place in that count.
fn suffices(before: &[PutAside], request: &SpendRequest) -> bool {
    let is_free = request.allowance.is_some() && before.iter().any(|one| one.key.0 == ALLOWANCE);
    let micros = if is_free { 0 } else { request.micros };
    let covers = |claim: &BudgetClaim| before.iter().any(|one| one.key == key_of(claim) && one.amount >= micros);
    request.claims.iter().all(covers)
}

/// All that a send is counted by, with the end of its period.
fn keys_of(request: &SpendRequest) -> impl Iterator<Item = (Key, Timestamp)> + '_ {
    let key = |budget_id: &str, subject: &str, span: Span| {
        ((budget_id.to_owned(), subject.to_owned(), span.starts_at), span.ends_at)
    };
    let claims = request.claims.iter().map(move |claim| key(&claim.budget_id, &claim.subject, claim.span));
    let free = request.allowance.iter().map(move |free| key(ALLOWANCE, &request.phone_number_id, free.span));
    claims.chain(free)
}

/// Makes the counters that are not there yet. Gives what is put aside for these sends already.
async fn open(
    tx: &mut Tx,
    items: &[Reserve],
    keys: &BTreeMap<Key, Timestamp>,
) -> Result<HashMap<OutboundId, Vec<PutAside>>, StoreError> {
    let mut wanted = Rows::new("wanted", &[("conversation_id", Kind::Id), ("outbound_id", Kind::Id)]);
    for item in items {
        wanted.push([item.request.conversation_id.0.into(), item.request.outbound_id.0.into()]);
    }
    let mut rows = Rows::new("counters", COUNTER_COLUMNS);
    for ((budget_id, subject, starts_at), ends_at) in keys {
        rows.push([budget_id.into(), subject.into(), (*starts_at).into(), (*ends_at).into()]);
    }
    let mut script = Script::default();
    let counters = script.batch(rows);
    script.step(
        &[counters],
        "INSERT INTO budget_periods (budget_id, subject, starts_at, ends_at, reserved, spent)
         SELECT budget_id, subject, starts_at, ends_at, 0, 0 FROM counters WHERE true
         ORDER BY budget_id, subject, starts_at
         ON CONFLICT (budget_id, subject, starts_at) DO NOTHING",
    );
    script.run(tx).await?;
    let rows: Vec<PutAsideRow> = wanted
        .fetch(
            tx,
            "SELECT r.outbound_id, r.budget_id, r.subject, r.starts_at, r.amount
             FROM wanted w CROSS JOIN spend_reservations r
             WHERE r.conversation_id = w.conversation_id AND r.outbound_id = w.outbound_id",
        )
        .await?;
    let mut put_aside: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        let one = PutAside { key: (row.budget_id, row.subject, row.starts_at.0), amount: row.amount };
        put_aside.entry(OutboundId(row.outbound_id)).or_default().push(one);
    }
    Ok(put_aside)
}

const COUNTER_COLUMNS: &[(&str, Kind)] =
    &[("budget_id", Kind::Text), ("subject", Kind::Text), ("starts_at", Kind::Instant), ("ends_at", Kind::Instant)];

/// Reads counters and keeps them from changing until the end of the transaction. Those that are not there are left out.
pub(super) async fn lock(tx: &mut Tx, keys: impl Iterator<Item = &Key>) -> Result<BTreeMap<Key, Counter>, StoreError> {
    let mut rows = Rows::new("wanted", &COUNTER_COLUMNS[..3]);
    let sorted: std::collections::BTreeSet<&Key> = keys.collect();
    for (budget_id, subject, starts_at) in sorted {
        rows.push([budget_id.into(), subject.into(), (*starts_at).into()]);
    }
    let locked = match tx {
        Tx::Pg(..) => " FOR UPDATE OF p",
        Tx::Lite(_) => "",
    };
    let sql = format!(
        "SELECT p.budget_id, p.subject, p.starts_at, p.ends_at, p.reserved, p.spent, p.warned_at, p.exceeded_at,
                b.limit_micros, b.currency
         FROM wanted w
         JOIN budget_periods p ON p.budget_id = w.budget_id AND p.subject = w.subject AND p.starts_at = w.starts_at
         LEFT JOIN budgets b ON b.id = p.budget_id
         ORDER BY p.budget_id, p.subject, p.starts_at{locked}"
    );
    let rows: Vec<CounterRow> = rows.fetch(tx, &sql).await?;
    let counter = |row: CounterRow| {
        let counter = Counter {
            limit: row.limit_micros.zip(row.currency),
            ends_at: row.ends_at.0,
            reserved: row.reserved,
            spent: row.spent,
            warned: row.warned_at.is_some(),
            exceeded: row.exceeded_at.is_some(),
            changed: false,
        };
        ((row.budget_id, row.subject, row.starts_at.0), counter)
    };
    Ok(rows.into_iter().map(counter).collect())
}

/// Decides about one send: all of its budgets have room, or none of them is touched.
fn decide<'a>(
    request: &'a SpendRequest,
    counters: &mut BTreeMap<Key, Counter>,
    decided: &mut Decided<'a>,
) -> Reservation {
    let free = request.allowance.filter(|free| {
        let key = (ALLOWANCE.to_owned(), request.phone_number_id.clone(), free.span.starts_at);
        let counted = counters.get(&key).map_or(0, |counter| counter.reserved + counter.spent);
        // Statuses know of all sends that were settled, the counter of those on their way that asked for their money.
        counted.max(free.used) < free.messages_max
    });
    let micros = if free.is_some() { 0 } else { request.micros };
    for claim in &request.claims {
        let Some(counter) = counters.get_mut(&key_of(claim)) else { continue };
        if let Some(exceeded) = exceeded(request, claim, counter, micros) {
            let is_first = !std::mem::replace(&mut counter.exceeded, true);
            if is_first {
                counter.warned = true;
                counter.changed = true;
                decided.alerts.push(exceeded_alert(&exceeded));
            }
            decided.holds.push((request, claim));
            return Reservation::Exceeded(Box::new(exceeded));
        }
    }
    for claim in &request.claims {
        let key = key_of(claim);
        // Without a limit there is no such budget any more: the caller's list is some seconds old.
        let Some(counter) = counters.get_mut(&key).filter(|counter| counter.limit.is_some()) else { continue };
        counter.reserved += micros;
        counter.changed = true;
        decided.alerts.extend(warning(claim, counter));
        decided.reservations.push((request, key, micros));
    }
    if let Some(free) = free {
        let key = (ALLOWANCE.to_owned(), request.phone_number_id.clone(), free.span.starts_at);
        if let Some(counter) = counters.get_mut(&key) {
            counter.reserved += 1;
            counter.changed = true;
            decided.reservations.push((request, key, 1));
        }
    }
    Reservation::Reserved
}

fn key_of(claim: &BudgetClaim) -> Key {
    (claim.budget_id.clone(), claim.subject.clone(), claim.span.starts_at)
}

fn exceeded(request: &SpendRequest, claim: &BudgetClaim, counter: &Counter, micros: i64) -> Option<ExceededBudget> {
    let (limit_micros, currency) = counter.limit.clone()?;
    let used_micros = counter.reserved.saturating_add(counter.spent);
    let priced_in = (currency != request.currency).then(|| request.currency.clone());
    // What is free goes out, also where a bill has been higher than it was expected.
    let fits = micros == 0 || used_micros.saturating_add(micros) <= limit_micros;
    (!fits || priced_in.is_some()).then(|| ExceededBudget {
        budget_id: claim.budget_id.clone(),
        subject: claim.subject.clone(),
        limit_micros,
        used_micros,
        micros,
        currency,
        priced_in,
        ends_at: counter.ends_at,
    })
}

/// The warning that most of a budget is used: once for each period.
fn warning(claim: &BudgetClaim, counter: &mut Counter) -> Option<NewAlert> {
    let (limit, currency) = counter.limit.clone()?;
    let used = counter.reserved.saturating_add(counter.spent);
    // Divided, not multiplied: no limit is too large for it.
    let is_most = used > 0 && used >= limit - limit / 100 * (100 - BUDGET_WARNING_PERCENT);
    if !is_most || std::mem::replace(&mut counter.warned, true) {
        return None;
    }
    let sentence = format!(
        "{} of {} {currency} of the budget \"{}\" are spent or put aside, and it lasts until {}. When nothing is left, \
         messages are held until then. If they should go out, raise it: PUT /admin/budgets/{}.",
        money(used),
        money(limit),
        alert_subject(&claim.budget_id, &claim.subject),
        counter.ends_at,
        claim.budget_id,
    );
    let evidence =
        json!({ "used_micros": used, "limit_micros": limit, "currency": currency, "ends_at": counter.ends_at });
    let subject = alert_subject(&claim.budget_id, &claim.subject);
    Some(NewAlert::new(AlertKind::BudgetWarning, Severity::Warning, &subject, &sentence, evidence))
}

fn exceeded_alert(exceeded: &ExceededBudget) -> NewAlert {
    let evidence = json!({
        "used_micros": exceeded.used_micros,
        "limit_micros": exceeded.limit_micros,
        "micros": exceeded.micros,
        "currency": exceeded.currency,
        "ends_at": exceeded.ends_at,
    });
    let subject = alert_subject(&exceeded.budget_id, &exceeded.subject);
    let sentence = exceeded.notice(&subject);
    NewAlert::new(AlertKind::BudgetExceeded, Severity::Critical, &subject, &sentence, evidence)
}

async fn write(
    tx: &mut Tx,
    counters: &BTreeMap<Key, Counter>,
    decided: &Decided<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    if !decided.given_back.is_empty() {
        // By itself: within one statement the new rows would meet the old ones.
        give_back(tx, &decided.given_back).await?;
    }
    let mut script = Script::default();
    write_counters(&mut script, counters, now);
    let mut rows = Rows::new("reservations", RESERVATION_COLUMNS);
    for (request, (budget_id, subject, starts_at), amount) in &decided.reservations {
        rows.push([
            request.conversation_id.0.into(),
            request.outbound_id.0.into(),
            budget_id.into(),
            subject.into(),
            (*starts_at).into(),
            (*amount).into(),
        ]);
    }
    let reservations = script.batch(rows);
    script.step(
        &[reservations],
        "INSERT INTO spend_reservations (conversation_id, outbound_id, budget_id, subject, starts_at, amount)
         SELECT conversation_id, outbound_id, budget_id, subject, starts_at, amount FROM reservations",
    );
    let mut rows = Rows::new("holds", HOLD_COLUMNS);
    for (request, claim) in &decided.holds {
        rows.push([
            (&claim.budget_id).into(),
            (&claim.subject).into(),
            request.outbound_id.0.into(),
            request.conversation_id.0.into(),
            request.micros.into(),
            (&request.currency).into(),
        ]);
    }
    let holds = script.batch(rows);
    script.step(
        &[holds],
        "INSERT INTO budget_holds (budget_id, subject, outbound_id, conversation_id, micros, currency)
         SELECT budget_id, subject, outbound_id, conversation_id, micros, currency FROM holds WHERE true
         ON CONFLICT (budget_id, subject, outbound_id) DO NOTHING",
    );
    script.run(tx).await.map(drop)
}

/// Only what was seen: if another process decided the same send meanwhile, the new rows meet its own, and this one asks again.
async fn give_back(tx: &mut Tx, given_back: &[(&SpendRequest, PutAside)]) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] =
        &[("conversation_id", Kind::Id), ("outbound_id", Kind::Id), ("budget_id", Kind::Text), ("amount", Kind::Whole)];
    let mut rows = Rows::new("given_back", COLUMNS);
    for (request, one) in given_back {
        let (conversation_id, outbound_id) = (request.conversation_id.0, request.outbound_id.0);
        rows.push([conversation_id.into(), outbound_id.into(), (&one.key.0).into(), one.amount.into()]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "DELETE FROM spend_reservations WHERE (conversation_id, outbound_id, budget_id, amount) IN
             (SELECT conversation_id, outbound_id, budget_id, amount FROM given_back)",
    );
    script.run(tx).await.map(drop)
}

const RESERVATION_COLUMNS: &[(&str, Kind)] = &[
    ("conversation_id", Kind::Id),
    ("outbound_id", Kind::Id),
    ("budget_id", Kind::Text),
    ("subject", Kind::Text),
    ("starts_at", Kind::Instant),
    ("amount", Kind::Whole),
];

const HOLD_COLUMNS: &[(&str, Kind)] = &[
    ("budget_id", Kind::Text),
    ("subject", Kind::Text),
    ("outbound_id", Kind::Id),
    ("conversation_id", Kind::Id),
    ("micros", Kind::Whole),
    ("currency", Kind::Text),
];

/// Writes the counters that have changed; they are locked.
fn write_counters<'a>(script: &mut Script<'a>, counters: &'a BTreeMap<Key, Counter>, now: Timestamp) {
    const COLUMNS: &[(&str, Kind)] = &[
        ("budget_id", Kind::Text),
        ("subject", Kind::Text),
        ("starts_at", Kind::Instant),
        ("reserved", Kind::Whole),
        ("spent", Kind::Whole),
        ("warned_at", Kind::Instant),
        ("exceeded_at", Kind::Instant),
    ];
    let mut rows = Rows::new("changed", COLUMNS);
    for ((budget_id, subject, starts_at), counter) in counters.iter().filter(|(_, counter)| counter.changed) {
        rows.push([
            budget_id.into(),
            subject.into(),
            (*starts_at).into(),
            counter.reserved.into(),
            counter.spent.into(),
            counter.warned.then_some(now).into(),
            counter.exceeded.then_some(now).into(),
        ]);
    }
    let changed = script.batch(rows);
    script.step(
        &[changed],
        "UPDATE budget_periods SET reserved = changed.reserved, spent = changed.spent,
             warned_at = coalesce(budget_periods.warned_at, changed.warned_at),
             exceeded_at = coalesce(budget_periods.exceeded_at, changed.exceeded_at)
         FROM changed
         WHERE budget_periods.budget_id = changed.budget_id AND budget_periods.subject = changed.subject
           AND budget_periods.starts_at = changed.starts_at",
    );
}

impl Counter {
    /// A reservation is over: `amount` is no longer put aside, `spent` is spent.
    pub fn settle(&mut self, amount: i64, spent: i64) {
        self.reserved = self.reserved.saturating_sub(amount).max(0);
        self.spent = self.spent.saturating_add(spent);
        self.changed = true;
    }

    /// What is left of a budget in `currency`; nothing where it is gone, or is kept in another currency.
    pub fn left(&self, currency: &str) -> Option<i64> {
        let (limit, own) = self.limit.as_ref()?;
        (own == currency).then(|| limit.saturating_sub(self.reserved).saturating_sub(self.spent))
    }
}

/// Writes counters that [`Counter::settle`] has changed, and takes the reservations away that were settled.
pub(super) async fn write_settled(
    tx: &mut Tx,
    counters: &BTreeMap<Key, Counter>,
    settled: Rows<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut script = Script::default();
    write_counters(&mut script, counters, now);
    let settled = script.batch(settled);
    script.step(
        &[settled],
        "DELETE FROM spend_reservations WHERE (conversation_id, outbound_id, budget_id) IN
             (SELECT conversation_id, outbound_id, budget_id FROM settled)",
    );
    script.run(tx).await.map(drop)
}
