//! Schedules whose time has come: claimed in batches by any number of processes, and written with all that follows from them in
//! one commit.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, Tx, on, read, row};
use super::due_batch::Batch;
use super::error::StoreError;
use super::schedules::{self, ScheduleColumns};
use super::script::{Kind, Rows};
use crate::domain::contact::{Address, AddressKind, PORTFOLIO_ID};
use crate::domain::schedule::{Firing, Schedule};
use crate::ids::ConversationId;

/// Schedules of one batch.
const BATCH_ROWS_MAX: i64 = 1_000;
/// Schedules that are looked at to choose a batch from: above what one person may have, so that nobody fills it alone.
const WINDOW_ROWS_MAX: i64 = 4_000;
/// Schedules that are cleared away in one commit.
const CLEARED_ROWS_MAX: i64 = 1_000;

/// What a batch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fired {
    /// How many schedules were due.
    pub schedules: usize,
    /// Conversations with something new in their outbox.
    pub sends: Vec<ConversationId>,
    /// Conversations in which the agent is asked.
    pub turns: Vec<ConversationId>,
}

impl Store {
    /// Claims a batch of schedules that are due, lets `decide` say what happens with each (given when it was due, and now), and
    /// writes it in the same commit: one message for each schedule and instant, whatever dies when. Nobody's many schedules keep
    /// others waiting: each person's first comes before anybody's second.
    pub async fn fire_due(
        &self,
        decide: impl Fn(&Schedule, Timestamp, Timestamp) -> Firing,
    ) -> Result<Fired, StoreError> {
        let now = self.clock.now();
        if self.next_schedule_at().await?.is_none_or(|at| at > now) {
            return Ok(Fired::default());
        }
        let mut tx = self.db.begin_narrow().await?;
        let due = claim(&mut tx, now).await?;
        let addresses = addresses(&mut tx, &due).await?;
        let mut batch = Batch::new();
        for row in due {
            // At the bound the rest is left as it is, for the next batch.
            if !batch.is_full() {
                batch.add(&self.ids, row, &addresses, &decide, now)?;
            }
        }
        if batch.is_empty() {
            tx.roll_back().await;
            return Ok(Fired::default());
        }
        let fired = batch.write(&mut tx).await?;
        crate::crash::point("firing");
        tx.commit().await?;
        Ok(fired)
    }

    /// When the next schedule is due to be looked at.
    pub async fn next_schedule_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let row: NextRow = read!(&self.db, |pool, D| {
            sqlx::query_as("SELECT min(next_run_at) AS at FROM schedules WHERE next_run_at IS NOT NULL")
                .fetch_one(pool)
                .await?
        });
        Ok(row.at.map(|at| at.0))
    }

    /// Clears away schedules that have been over since before then.
    pub async fn clear_schedules(&self, over_since: Timestamp) -> Result<(), StoreError> {
        loop {
            let mut tx = self.db.begin().await?;
            let cleared = on!(&mut tx, |connection, D| {
                sqlx::query(
                    "DELETE FROM schedules WHERE id IN
                         (SELECT id FROM schedules WHERE state IN ('finished', 'cancelled') AND updated_at < $1
                          ORDER BY updated_at LIMIT $2)
                       AND state IN ('finished', 'cancelled')",
                )
                .bind(Ts(over_since))
                .bind(CLEARED_ROWS_MAX)
                .execute(connection)
                .await?
                .rows_affected()
            });
            tx.commit().await?;
            if i64::try_from(cleared).unwrap_or(i64::MAX) < CLEARED_ROWS_MAX {
                return Ok(());
            }
        }
    }
}

row! { struct NextRow { at: Option<Ts> } }
row! { struct AddressRow { contact_id: Uuid, kind: String, value: String } }
row! {
    pub(super) struct PlaceRow {
        id: Uuid,
        conversation_id: Option<Uuid>,
        last_kind: Option<String>,
        last_value: Option<String>,
        opted_out_at: Option<Ts>,
        blocked_at: Option<Ts>,
    }
}

/// A schedule that is due (or what about it this program cannot read), and what is known of its person.
pub(super) struct DueRow {
    pub id: Uuid,
    pub schedule: Result<Schedule, String>,
    pub place: Option<PlaceRow>,
}

pub(super) type Addresses = HashMap<Uuid, Vec<Address>>;

/// Takes a batch: each person's first before anybody's second. What another process has in hand is left out.
async fn claim(tx: &mut Tx, now: Timestamp) -> Result<Vec<DueRow>, StoreError> {
    let columns = schedules::COLUMNS.split(',').map(|column| format!("s.{}", column.trim())).collect::<Vec<_>>();
    let found = match tx {
        // Row after row in turn, so that those in other hands are passed over and the last ones are not even looked at. Said so that
        // only the primary key fits: all that is due is no way to a row.
        Tx::Pg(..) => format!(
            "(SELECT id FROM ranked ORDER BY place, next_run_at, id) r CROSS JOIN LATERAL
                 (SELECT * FROM schedules l WHERE l.id = r.id AND coalesce(l.next_run_at, 'infinity') <= $1
                  FOR UPDATE SKIP LOCKED) s LIMIT {BATCH_ROWS_MAX}"
        ),
        Tx::Lite(_) => format!(
            "(SELECT id FROM ranked ORDER BY place, next_run_at, id LIMIT {BATCH_ROWS_MAX}) r CROSS JOIN schedules s
             WHERE s.id = r.id"
        ),
    };
    let sql = format!(
        "WITH due AS (SELECT id, contact_id, next_run_at FROM schedules
                      WHERE next_run_at IS NOT NULL AND next_run_at <= $1 ORDER BY next_run_at, id LIMIT {WINDOW_ROWS_MAX}),
              ranked AS (SELECT id, next_run_at,
                             row_number() OVER (PARTITION BY contact_id ORDER BY next_run_at, id) AS place FROM due)
         SELECT {} FROM {found}",
        columns.join(", ")
    );
    let rows: Vec<ScheduleColumns> = on!(&mut *tx, |connection, D| {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(Ts(now)).fetch_all(connection).await?
    });
    places(tx, rows.into_iter().map(|row| (row.id, row.read_leniently())).collect()).await
}

/// What is known of the people of these schedules.
pub(super) async fn places(
    tx: &mut Tx,
    schedules: Vec<(Uuid, Result<Schedule, String>)>,
) -> Result<Vec<DueRow>, StoreError> {
    let mut wanted =
        Rows::new("wanted", &[("id", Kind::Id), ("contact_id", Kind::Id), ("phone_number_id", Kind::Text)]);
    for schedule in schedules.iter().filter_map(|(_, schedule)| schedule.as_ref().ok()) {
        wanted.push([schedule.id.0.into(), schedule.contact_id.0.into(), (&schedule.phone_number_id).into()]);
    }
    let last = |column: &str| {
        format!("(SELECT m.{column} FROM inbound_messages m WHERE m.conversation_id = c.id ORDER BY m.id DESC LIMIT 1)")
    };
    let sql = format!(
        "SELECT w.id, c.id AS conversation_id, {} AS last_kind, {} AS last_value, p.opted_out_at, p.blocked_at
         FROM wanted w
         LEFT JOIN conversations c ON c.contact_id = w.contact_id AND c.phone_number_id = w.phone_number_id
         LEFT JOIN contacts p ON p.id = w.contact_id",
        last("reply_to_kind"),
        last("reply_to"),
    );
    let found: Vec<PlaceRow> = wanted.fetch(tx, &sql).await?;
    let mut found: HashMap<Uuid, PlaceRow> = found.into_iter().map(|place| (place.id, place)).collect();
    let due = |(id, schedule)| DueRow { id, schedule, place: found.remove(&id) };
    Ok(schedules.into_iter().map(due).collect())
}

/// The identifiers by which the people of a batch can be reached.
pub(super) async fn addresses(tx: &mut Tx, due: &[DueRow]) -> Result<Addresses, StoreError> {
    let mut wanted = Rows::new("wanted", &[("contact_id", Kind::Id), ("portfolio_id", Kind::Text)]);
    let contacts: BTreeSet<Uuid> =
        due.iter().filter_map(|row| Some(row.schedule.as_ref().ok()?.contact_id.0)).collect();
    contacts.into_iter().for_each(|contact| wanted.push([contact.into(), PORTFOLIO_ID.into()]));
    // On Postgres by nothing but the person (`OFFSET 0` keeps the planner from looking further): a portfolio and what is live are
    // indexes of everybody's, and to go through those for each person took minutes among a million.
    let identities = match tx {
        Tx::Pg(..) => "LATERAL (SELECT * FROM contact_identities t WHERE t.contact_id = w.contact_id OFFSET 0)",
        Tx::Lite(_) => "contact_identities",
    };
    let sql = format!(
        "SELECT i.contact_id, i.kind, i.value FROM wanted w CROSS JOIN {identities} i
         WHERE i.contact_id = w.contact_id AND i.portfolio_id = w.portfolio_id AND i.superseded_at IS NULL"
    );
    let rows: Vec<AddressRow> = wanted.fetch(tx, &sql).await?;
    let mut addresses = Addresses::new();
    for row in rows {
        if let Some(kind) = AddressKind::parse(&row.kind) {
            addresses.entry(row.contact_id).or_default().push(Address { kind, value: row.value });
        }
    }
    Ok(addresses)
}

/// Where they last wrote from while that is theirs, else their number or user id.
pub(super) fn reachable_at(place: &PlaceRow, live: &[Address]) -> Option<Address> {
    let last = place.last_kind.as_deref().and_then(AddressKind::parse).zip(place.last_value.clone());
    let last = last.map(|(kind, value)| Address { kind, value }).filter(|last| live.contains(last));
    last.or_else(|| {
        let kinds = [AddressKind::Phone, AddressKind::Bsuid, AddressKind::ParentBsuid];
        kinds.into_iter().find_map(|kind| live.iter().find(|address| address.kind == kind).cloned())
    })
}
