//! What delivered messages cost: added up as statuses settle it, and told by day, agent, category or country.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Store;
use super::db::{Ts, read, row};
use super::error::StoreError;
use super::script::{Batch, Cell, Kind, Rows, Script, Written};
use super::statuses::Move;
use crate::domain::budget::{BudgetPeriod, span};

/// Rows that a key of the spend table is spread over.
pub(super) const SPEND_SHARDS: u128 = 8;
/// Groups that one answer holds.
pub const SPEND_GROUPS_MAX: usize = 1_000;

/// What spend can be told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpendGroup {
    /// Each day (UTC).
    Day,
    /// Each month (UTC).
    Month,
    /// Each agent.
    Agent,
    /// Each category.
    Category,
    /// Each country.
    Country,
}

/// What a group of delivered messages cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SpendView {
    /// The day (`2026-11-24`), month (`2026-11`), agent, category or country; empty in a sum over all, and for what no
    /// agent said.
    pub group: String,
    /// Three letters.
    pub currency: String,
    /// Messages that were delivered and priced.
    pub messages: i64,
    /// Of those, the ones that are billed.
    pub billed: i64,
    /// Of those, the ones that are free.
    pub free: i64,
    /// What they were expected to cost before they were sent, in millionths of the currency.
    pub estimated_micros: i64,
    /// What they cost, by the type that WhatsApp gave and our price table, in millionths of the currency.
    pub settled_micros: i64,
}

/// How many of its free service messages a number has used this month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AllowanceView {
    /// The number.
    pub phone_number_id: String,
    /// Used this month (UTC), as far as statuses tell.
    pub used: i64,
}

/// Adds what statuses settle to the spend table: those of `moves` that were the first to name a price for a delivery, which
/// the step `moved` knows. It travels with that step.
///
/// A step may not depend on another one's writing. Here Postgres reads what `moved` returns, since a join of two batches
/// would be a walk through one for each row of the other; and SQLite, which runs one step after the other, finds it in the
/// table.
pub(super) fn settle<'a>(
    script: &mut Script<'a>,
    moves: &[Move<'a>],
    (batch, moved): (Batch, Written),
    is_postgres: bool,
) {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("charged_by", Kind::Id),
        ("day", Kind::Instant),
        ("phone_number_id", Kind::Text),
        ("category", Kind::Text),
        ("country", Kind::Text),
        ("currency", Kind::Text),
        ("shard", Kind::Whole),
        ("free_messages", Kind::Whole),
        ("micros", Kind::Whole),
    ];
    let charged = || moves.iter().filter(|one| one.charge().is_some());
    if charged().next().is_none() {
        return;
    }
    let (batch, first_told) = match is_postgres {
        true => (batch, format!("SELECT * FROM {} WHERE is_first", moved.name())),
        false => {
            let mut rows = Rows::new("charges", COLUMNS);
            for one in charged() {
                let row = [one.row.0.0.into(), one.row.1.0.into(), one.event_id.into()];
                rows.push_parts(row, charge_cells(one));
            }
            let found = "SELECT c.*, o.agent_id, o.estimate_micros FROM charges c CROSS JOIN outbound_messages o
             WHERE o.conversation_id = c.conversation_id AND o.id = c.id AND o.charged_by = c.charged_by";
            (script.batch(rows), found.to_owned())
        }
    };
    script.step(
        &[batch],
        format!(
            "INSERT INTO spend (day, phone_number_id, agent_id, category, country, currency, shard, messages,
                 free_messages, estimated_micros, settled_micros)
             SELECT t.day, t.phone_number_id, coalesce(t.agent_id, ''), t.category, t.country, t.currency, t.shard,
                 count(*), sum(t.free_messages), sum(coalesce(t.estimate_micros, t.micros)), sum(t.micros)
             FROM ({first_told}) t
             GROUP BY 1, 2, 3, 4, 5, 6, 7
             -- Sorted, so that two transactions lock the rows in the same order.
             ORDER BY 1, 2, 3, 4, 5, 6, 7
             ON CONFLICT (day, phone_number_id, agent_id, category, country, currency, shard) DO UPDATE SET
                 messages = spend.messages + excluded.messages,
                 free_messages = spend.free_messages + excluded.free_messages,
                 estimated_micros = spend.estimated_micros + excluded.estimated_micros,
                 settled_micros = spend.settled_micros + excluded.settled_micros"
        ),
    );
}

/// What a move charges, in the order of the columns from `day` on; nulls where it charges nothing.
pub(super) fn charge_cells<'a>(one: &Move<'a>) -> [Cell<'a>; 8] {
    let charge = one.charge();
    let day = charge.map(|_| span(BudgetPeriod::Day, &TimeZone::UTC, one.occurred_at).starts_at);
    [
        day.into(),
        one.phone_number_id.into(),
        charge.map(|charge| charge.category.as_str()).into(),
        charge.map(|charge| charge.country.as_str()).into(),
        charge.map(|charge| charge.currency.as_str()).into(),
        one.shard.into(),
        charge.map(|charge| i64::from(charge.is_free)).into(),
        charge.map(|charge| charge.micros).into(),
    ]
}

row! {
    struct SpendRow {
        name: String,
        currency: String,
        messages: i64,
        free_messages: i64,
        estimated_micros: i64,
        settled_micros: i64,
    }
}
row! {
    struct SpendDayRow {
        day: Ts,
        currency: String,
        messages: i64,
        free_messages: i64,
        estimated_micros: i64,
        settled_micros: i64,
    }
}
row! { struct FreeRow { phone_number_id: String, used: i64 } }

impl Store {
    /// What was delivered from `from` (its day, UTC) to before `to`, in groups by name; at most [`SPEND_GROUPS_MAX`] + 1
    /// of them.
    pub async fn spend(&self, group: SpendGroup, from: Timestamp, to: Timestamp) -> Result<Vec<SpendView>, StoreError> {
        let column = match group {
            SpendGroup::Day | SpendGroup::Month => return self.spend_by_time(group, from, to).await,
            SpendGroup::Agent => "agent_id",
            SpendGroup::Category => "category",
            SpendGroup::Country => "country",
        };
        let sql = format!(
            "SELECT {column} AS name, currency, {SUMS} FROM spend WHERE day >= $1 AND day < $2
             GROUP BY {column}, currency ORDER BY {column}, currency LIMIT $3"
        );
        let rows: Vec<SpendRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql.clone()))
                .bind(Ts(from))
                .bind(Ts(to))
                .bind(groups_to_fetch())
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(SpendRow::view).collect())
    }

    async fn spend_by_time(
        &self,
        group: SpendGroup,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SpendView>, StoreError> {
        let sql = format!(
            "SELECT day, currency, {SUMS} FROM spend WHERE day >= $1 AND day < $2
             GROUP BY day, currency ORDER BY day, currency LIMIT $3"
        );
        let rows: Vec<SpendDayRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql.clone()))
                .bind(Ts(from))
                .bind(Ts(to))
                .bind(groups_to_fetch())
                .fetch_all(pool)
                .await?
        });
        let format = if group == SpendGroup::Month { "%Y-%m" } else { "%Y-%m-%d" };
        let mut views: Vec<SpendView> = Vec::new();
        for row in rows {
            let name = row.day.0.strftime(format).to_string();
            let view = SpendRow {
                name,
                currency: row.currency,
                messages: row.messages,
                free_messages: row.free_messages,
                estimated_micros: row.estimated_micros,
                settled_micros: row.settled_micros,
            }
            .view();
            match views.iter_mut().find(|held| (&held.group, &held.currency) == (&view.group, &view.currency)) {
                Some(held) => held.add(&view),
                None => views.push(view),
            }
        }
        Ok(views)
    }

    /// How many free service messages each number has used in the calendar month (UTC) of `now`, by number.
    pub async fn free_messages_used(&self, now: Timestamp) -> Result<Vec<AllowanceView>, StoreError> {
        let month = span(BudgetPeriod::Month, &TimeZone::UTC, now);
        let rows: Vec<FreeRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT phone_number_id, CAST(sum(free_messages) AS BIGINT) AS used FROM spend
                 WHERE day >= $1 AND day < $2 AND category = 'service' GROUP BY phone_number_id
                 ORDER BY phone_number_id",
            )
            .bind(Ts(month.starts_at))
            .bind(Ts(month.ends_at))
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(|row| AllowanceView { phone_number_id: row.phone_number_id, used: row.used }).collect())
    }
}

const SUMS: &str = "CAST(sum(messages) AS BIGINT) AS messages, CAST(sum(free_messages) AS BIGINT) AS free_messages,
             CAST(sum(estimated_micros) AS BIGINT) AS estimated_micros,
             CAST(sum(settled_micros) AS BIGINT) AS settled_micros";

/// One more than are shown, which tells that there are too many.
fn groups_to_fetch() -> i64 {
    i64::try_from(SPEND_GROUPS_MAX).unwrap_or(i64::MAX).saturating_add(1)
}

impl SpendRow {
    fn view(self) -> SpendView {
        SpendView {
            group: self.name,
            currency: self.currency,
            messages: self.messages,
            billed: self.messages - self.free_messages,
            free: self.free_messages,
            estimated_micros: self.estimated_micros,
            settled_micros: self.settled_micros,
        }
    }
}

impl SpendView {
    /// Takes another group's messages in.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.billed += other.billed;
        self.free += other.free;
        self.estimated_micros += other.estimated_micros;
        self.settled_micros += other.settled_micros;
    }
}
