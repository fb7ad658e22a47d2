//! `/admin/budgets`: how much may be spent by whom in which time.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::SharedState;
use super::agents::words_schema;
use super::bounds::Faults;
use super::page::{Page, PageRows, text_cursor};
use crate::cost::PriceTable;
use crate::domain::agent::{AGENT_ID_CHARACTERS_MAX, AgentId};
use crate::domain::budget::{
    BUDGET_ID_CHARACTERS_MAX, BUDGET_LIMIT_MICROS_MAX, BUDGETS_MAX, Budget, BudgetPeriod, BudgetScope,
};
use crate::store::{BudgetView, SaveBudget};

/// Digits of the longest id of a number.
const NUMBER_ID_CHARACTERS_MAX: usize = 32;

/// A budget. What would exceed it is held, and goes out when the budget is raised or begins anew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveBudgetBody {
    /// What it is counted by.
    #[schema(schema_with = scope_schema)]
    scope: BudgetScope,
    /// The agent's id, the contact's, the id of our number, or the country's two letters. Left out: each agent, contact,
    /// number or country has this much for itself. Not for `installation`.
    #[serde(default)]
    #[schema(max_length = 128, example = "default-agent")]
    subject: Option<String>,
    /// How long it lasts before it begins anew.
    #[schema(schema_with = period_schema)]
    period: BudgetPeriod,
    /// Whose midnight it begins at: an IANA name. Left out: UTC.
    #[serde(default)]
    #[schema(max_length = 64, example = "Europe/Berlin")]
    zone: Option<String>,
    /// Three letters; they must be those of the price table. Left out: those.
    #[serde(default)]
    #[schema(min_length = 3, max_length = 3, example = "USD")]
    currency: Option<String>,
    /// How much, in millionths of the currency: 12500000 is 12.50.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64, example = 12_500_000)]
    limit_micros: i64,
}

/// The budget is saved.
#[derive(Debug, Serialize, ToSchema)]
pub struct Saved {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Its id.
    budget_id: String,
}

/// Which page of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists budgets by id, with what is spent of each in its present period.
#[utoipa::path(
    get,
    path = "/budgets",
    operation_id = "list_budgets",
    tag = "cost",
    params(ListQuery),
    responses((status = 200, body = Page<BudgetView>, description = "A page of budgets.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<BudgetView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let after = text_cursor(query.cursor.as_deref())?;
    let budgets = state.store.budgets(&after, rows.to_fetch()).await?;
    Ok(Json(rows.page(budgets, |budget: &BudgetView| budget.id.as_bytes())))
}

/// Reads a budget.
#[utoipa::path(
    get,
    path = "/budgets/{id}",
    operation_id = "read_budget",
    tag = "cost",
    params(("id" = String, Path, description = "The budget.")),
    responses((status = 200, body = BudgetView, description = "The budget.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<String>,
) -> Result<Json<BudgetView>, Problem> {
    let budget = state.store.budget(&budget_id(id)?).await?;
    budget.map(Json).ok_or_else(no_such_budget)
}

/// Saves a budget under its id; an existing one is replaced. It counts at once in this process, and within seconds in
/// others. A new one begins with nothing spent.
#[utoipa::path(
    put,
    path = "/budgets/{id}",
    operation_id = "save_budget",
    tag = "cost",
    params(("id" = String, Path, description = "The operator's name for it."), ActorHeader),
    request_body = SaveBudgetBody,
    responses((status = 200, body = Saved, description = "Saved.")),
)]
pub async fn save(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
    StrictJson(body): StrictJson<SaveBudgetBody>,
) -> Result<Json<Saved>, Problem> {
    let budget = body.checked(budget_id(id)?, &state.prices)?;
    if let (BudgetScope::Agent, Some(agent)) = (budget.scope, &budget.subject)
        && state.store.agent(&AgentId(agent.clone())).await?.is_none()
    {
        // It would count nothing, and nobody would notice.
        let message = "is no agent: GET /admin/agents lists those there are";
        let problem = Problem::unprocessable("budget_invalid", format!("`subject` {message}."));
        return Err(problem.with_field("subject", message));
    }
    match state.store.save_budget(&budget, &actor).await? {
        SaveBudget::Created | SaveBudget::Replaced => {
            tracing::info!(budget_id = budget.id, limit_micros = budget.limit_micros, "budget saved");
            Ok(Json(Saved { status: "ok", budget_id: budget.id }))
        }
        SaveBudget::NoRoom => Err(Problem::unprocessable(
            "budgets_limit",
            format!("There are {BUDGETS_MAX} budgets already, which is the bound: delete one you no longer need."),
        )),
    }
}

/// Deletes a budget; what waited for it goes out.
#[utoipa::path(
    delete,
    path = "/budgets/{id}",
    operation_id = "delete_budget",
    tag = "cost",
    params(("id" = String, Path, description = "The budget."), ActorHeader),
    responses((status = 204, description = "Gone.")),
)]
pub async fn delete(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
) -> Result<StatusCode, Problem> {
    let id = budget_id(id)?;
    match state.store.delete_budget(&id, &actor).await? {
        true => {
            tracing::info!(budget_id = id, "budget deleted");
            Ok(StatusCode::NO_CONTENT)
        }
        false => Err(no_such_budget()),
    }
}

impl SaveBudgetBody {
    fn checked(self, id: String, prices: &PriceTable) -> Result<Budget, Problem> {
        let mut faults = Faults::default();
        faults.check_range("limit_micros", self.limit_micros, 0..=BUDGET_LIMIT_MICROS_MAX);
        if let Some(subject) = &self.subject {
            check_subject(self.scope, subject, prices, &mut faults);
        }
        if let Some(zone) = &self.zone
            && (zone.len() > 64 || TimeZone::get(zone).is_err())
        {
            faults.add("zone", "is not known; give an IANA name such as Europe/Berlin, or leave it out for UTC");
        }
        let currency = self.currency.unwrap_or_else(|| prices.currency().to_owned());
        if currency != prices.currency() {
            let own = prices.currency();
            faults.add("currency", format!("is another one than that of the price table; it must be {own}"));
        }
        faults.into_result("budget_invalid")?;
        Ok(Budget {
            id,
            scope: self.scope,
            subject: self.subject,
            period: self.period,
            zone: self.zone,
            currency,
            limit_micros: self.limit_micros,
        })
    }
}

fn check_subject(scope: BudgetScope, subject: &str, prices: &PriceTable, faults: &mut Faults) {
    match scope {
        BudgetScope::Installation => faults.add("subject", "does not go with `scope` installation; leave it out"),
        BudgetScope::Agent => faults.check_id("subject", subject, AGENT_ID_CHARACTERS_MAX),
        BudgetScope::Contact => {
            // Written as the platform writes it, or it would never be found.
            if Uuid::parse_str(subject).map(|id| id.to_string()).as_deref() != Ok(subject) {
                faults.add("subject", "is no contact's id: GET /admin/conversations names them as `contact_id`");
            }
        }
        BudgetScope::Number => {
            let is_id = !subject.is_empty() && subject.bytes().all(|byte| byte.is_ascii_digit());
            if !is_id || subject.len() > NUMBER_ID_CHARACTERS_MAX {
                faults.add("subject", "is no id of a number of ours; it has digits only, and is not the number itself");
            }
        }
        BudgetScope::Country => {
            if !prices.knows_country(subject) {
                faults.add("subject", "is no country; give two capital letters such as BR");
            }
        }
    }
}

fn budget_id(id: String) -> Result<String, Problem> {
    let mut faults = Faults::default();
    faults.check_id("id", &id, BUDGET_ID_CHARACTERS_MAX);
    faults.into_result("budget_id_invalid")?;
    Ok(id)
}

fn no_such_budget() -> Problem {
    Problem::not_found("budget_not_found", "There is no budget of this id: GET /admin/budgets lists those there are.")
}

fn scope_schema() -> Object {
    words_schema(&BudgetScope::ALL.map(BudgetScope::as_str))
}

fn period_schema() -> Object {
    words_schema(&BudgetPeriod::ALL.map(BudgetPeriod::as_str))
}
