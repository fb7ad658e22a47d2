//! `/admin/spend`: what delivered messages cost.

use axum::Json;
use axum::extract::State;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};

use super::super::error::{Problem, StrictQuery};
use super::super::state::SharedState;
use super::agents::words_schema;
use crate::store::{AllowanceView, SPEND_GROUPS_MAX, SpendGroup, SpendView};

/// Days that one answer spans.
const DAYS_MAX: i32 = 400;

/// What spend is told by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Each day (UTC).
    #[default]
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

/// Which days, told by what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SpendQuery {
    /// The first day (UTC), such as 2026-11-01; the first of this month unless told otherwise.
    from: Option<String>,
    /// The last day (UTC), which counts; today unless told otherwise.
    to: Option<String>,
    /// What it is told by.
    #[serde(default)]
    #[param(schema_with = group_schema)]
    group_by: GroupBy,
}

/// What delivered messages cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct Spend {
    /// The first day.
    #[schema(example = "2026-11-01")]
    from: String,
    /// The last day.
    #[schema(example = "2026-11-24")]
    to: String,
    /// What it is told by.
    #[schema(schema_with = group_schema)]
    group_by: GroupBy,
    /// The groups by name; one for each currency where there are several.
    groups: Vec<SpendView>,
    /// All of it, one for each currency.
    totals: Vec<SpendView>,
    /// Free service messages of each number in the present month (UTC).
    free_allowance: Vec<FreeAllowance>,
    /// The price table that messages are settled with now.
    prices: Prices,
}

/// The free service messages of a number.
#[derive(Debug, Serialize, ToSchema)]
pub struct FreeAllowance {
    /// The number.
    phone_number_id: String,
    /// Used this month, as far as statuses tell.
    used: i64,
    /// What is left of them.
    left: i64,
}

/// A price table.
#[derive(Debug, Serialize, ToSchema)]
pub struct Prices {
    /// Three letters.
    currency: String,
    /// Since when these are the rates, where the table says so.
    effective_from: Option<String>,
    /// Where they are from, where the table says so.
    source: Option<String>,
}

/// Tells what messages cost that were delivered on these days: how many, how many of them free, what was expected before they
/// were sent, and what it came to.
#[utoipa::path(
    get,
    path = "/spend",
    operation_id = "read_spend",
    tag = "cost",
    params(SpendQuery),
    responses((status = 200, body = Spend, description = "What was spent.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<SpendQuery>,
) -> Result<Json<Spend>, Problem> {
    let now = state.clock.now();
    let today = now.to_zoned(TimeZone::UTC).date();
    let from = query.from.as_deref().map_or(Ok(today.first_of_month()), |text| day("from", text))?;
    let to = query.to.as_deref().map_or(Ok(today), |text| day("to", text))?;
    if to < from || (to - from).get_days() >= DAYS_MAX {
        let message = format!("must not be before `from`, nor {DAYS_MAX} days or more after it");
        return Err(Problem::bad_request("days_invalid", format!("`to` {message}.")).with_field("to", message));
    }
    let groups = state.store.spend(query.group_by.group(), midnight(from)?, midnight(following(to)?)?).await?;
    if groups.len() > SPEND_GROUPS_MAX {
        let detail = format!("There are more than {SPEND_GROUPS_MAX} groups: ask for fewer days.");
        return Err(Problem::bad_request("too_many_groups", detail));
    }
    let prices = &state.prices;
    let used = state.store.free_messages_used(now).await?;
    let allowance = |number: AllowanceView| FreeAllowance {
        left: (prices.free_service_messages() - number.used).max(0),
        phone_number_id: number.phone_number_id,
        used: number.used,
    };
    Ok(Json(Spend {
        from: from.to_string(),
        to: to.to_string(),
        group_by: query.group_by,
        totals: totals(&groups),
        groups,
        free_allowance: used.into_iter().map(allowance).collect(),
        prices: Prices {
            currency: prices.currency().to_owned(),
            effective_from: prices.effective_from().map(str::to_owned),
            source: prices.source().map(str::to_owned),
        },
    }))
}

impl GroupBy {
    fn group(self) -> SpendGroup {
        match self {
            Self::Day => SpendGroup::Day,
            Self::Month => SpendGroup::Month,
            Self::Agent => SpendGroup::Agent,
            Self::Category => SpendGroup::Category,
            Self::Country => SpendGroup::Country,
        }
    }
}

/// One sum for each currency.
fn totals(groups: &[SpendView]) -> Vec<SpendView> {
    let mut totals: Vec<SpendView> = Vec::new();
    for group in groups {
        match totals.iter_mut().find(|total| total.currency == group.currency) {
            Some(total) => total.add(group),
            None => totals.push(SpendView { group: String::new(), ..group.clone() }),
        }
    }
    totals
}

fn day(field: &str, text: &str) -> Result<Date, Problem> {
    text.parse().map_err(|_| {
        let message = "is no day; write it as 2026-11-24";
        Problem::bad_request("days_invalid", format!("`{field}` {message}.")).with_field(field, message)
    })
}

fn following(day: Date) -> Result<Date, Problem> {
    day.checked_add(1.day()).map_err(|_| out_of_time())
}

fn midnight(day: Date) -> Result<Timestamp, Problem> {
    day.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| out_of_time())
}

fn out_of_time() -> Problem {
    Problem::bad_request("days_invalid", "These days are beyond what can be counted: ask for days of this century.")
}

fn group_schema() -> Object {
    words_schema(&["day", "month", "agent", "category", "country"])
}
