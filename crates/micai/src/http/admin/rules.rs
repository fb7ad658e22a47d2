//! `/admin/rules`: what a message must say for an agent to give a certain answer.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::agents::words_schema;
use super::bounds::{Faults, agent_id};
use super::page::{Page, PageRows, text_cursor};
use super::schedule_body::{Checked, RuleSchedule};
use crate::agent::triggers::{RuleError, keyword_bytes, validate};
use crate::domain::agent::AgentId;
use crate::domain::rule::{RULE_ID_CHARACTERS_MAX, Rule, RuleAction, RuleKind};
use crate::domain::schedule::{Schedule, ScheduleAction};
use crate::store::{DueNext, RuleChange};

/// Where a rule stands in the order of asking unless it says otherwise.
const PRIORITY_DEFAULT: i32 = 100;

/// A rule. Rules of an agent are asked by ascending priority, then id; the first that matches wins.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveRule {
    /// The operator's name for it, unique over all agents. An existing rule of this id is replaced.
    #[schema(min_length = 1, max_length = 128, example = "weather-keyword")]
    id: String,
    /// Whose rule it is; the agent is made if it is not there.
    #[schema(min_length = 1, max_length = 128, example = "default-agent")]
    agent_id: String,
    /// How it looks at the text.
    #[schema(schema_with = rule_type_schema)]
    rule_type: RuleKind,
    /// A disabled rule never matches.
    #[serde(default = "default_enabled")]
    #[schema(default = true)]
    enabled: bool,
    /// Lower is asked first.
    #[serde(default = "default_priority")]
    #[schema(default = 100, minimum = -1_000_000, maximum = 1_000_000)]
    priority: i32,
    /// `keyword`: any of these stands in the text. `exact`: the text is one of these. `regex`: any of these
    /// expressions matches (at most 20).
    #[serde(default)]
    #[schema(max_items = 10_000, example = json!(["weather"]))]
    keywords: Vec<String>,
    /// `regex` only: one expression, in place of `keywords`.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pattern: Option<String>,
    /// `keyword` only: a keyword counts only where it begins and ends at a word boundary.
    #[serde(default)]
    #[schema(default = false)]
    whole_word: bool,
    /// `prefix` only: what the text begins with.
    #[serde(default)]
    #[schema(max_length = 200)]
    prefix: Option<String>,
    /// What happens on a match.
    #[schema(schema_with = action_schema)]
    action: RuleAction,
    /// The answer of `reply_text`. Of `call_weather` and `call_reminder`: what is said where the message names no place or says no
    /// more than the rule matched, and where the agent may not use the tool.
    #[serde(default)]
    #[schema(max_length = 4096, example = "It will be sunny.")]
    reply_text: String,
    /// `scheduled` only: when it speaks, and to whom. It makes a schedule that belongs to the rule: `GET
    /// /admin/schedules?rule_id=…` shows it. With `reply_text` the words are sent; any other action asks the agent them.
    #[serde(default)]
    schedule: Option<RuleSchedule>,
}

/// A rule as it is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleView {
    /// The operator's name for it.
    id: String,
    /// Whose rule it is.
    agent_id: String,
    /// How it looks at the text.
    #[schema(schema_with = rule_type_schema)]
    rule_type: RuleKind,
    /// A disabled rule never matches.
    enabled: bool,
    /// Lower is asked first.
    priority: i32,
    /// Keywords, exact texts or expressions, as they were written.
    keywords: Vec<String>,
    /// A keyword counts only where it begins and ends at a word boundary.
    whole_word: bool,
    /// What the text begins with.
    prefix: Option<String>,
    /// What happens on a match.
    #[schema(schema_with = action_schema)]
    action: RuleAction,
    /// The answer of `reply_text`.
    reply_text: String,
}

/// The rule is saved.
#[derive(Debug, Serialize, ToSchema)]
pub struct Saved {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Its id.
    rule_id: String,
}

/// Which rules, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only rules of this agent.
    agent_id: Option<String>,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists rules by id.
#[utoipa::path(
    get,
    path = "/rules",
    operation_id = "list_rules",
    tag = "rules",
    params(ListQuery),
    responses((status = 200, body = Page<RuleView>, description = "A page of rules.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<RuleView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let after = text_cursor(query.cursor.as_deref())?;
    let agent = query.agent_id.map(|id| agent_id("agent_id", id)).transpose()?;
    let rules = state.store.rules(agent.as_ref(), &after, rows.to_fetch()).await?;
    let rules = rules.into_iter().map(RuleView::from).collect();
    Ok(Json(rows.page(rules, |rule: &RuleView| rule.id.as_bytes())))
}

/// Saves a rule under its id; an existing one is replaced.
#[utoipa::path(
    post,
    path = "/rules",
    operation_id = "save_rule",
    tag = "rules",
    params(ActorHeader),
    request_body = SaveRule,
    responses((status = 200, body = Saved, description = "Saved.")),
)]
pub async fn save(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictJson(body): StrictJson<SaveRule>,
) -> Result<Json<Saved>, Problem> {
    let schedule = body.schedule.clone();
    let rule = body.checked()?;
    let schedule = schedule.map(|schedule| scheduled(&state, &rule, schedule)).transpose()?;
    let due = |before: Option<&Schedule>, now| schedule.as_ref().and_then(|one| one.due(before, now));
    let new = schedule.as_ref().map(|one| (&one.new, &due as DueNext<'_>));
    match state.store.save_rule_with(&rule, keyword_bytes(&rule), new, &actor).await? {
        RuleChange::Saved => {
            tracing::info!(rule_id = rule.id, agent_id = %rule.agent_id, "rule saved");
            Ok(Json(Saved { status: "ok", rule_id: rule.id }))
        }
        RuleChange::ScheduleLeftOut => {
            let message =
                "is missing, and the rule has one: write it again (`GET /admin/schedules?rule_id=…` shows it)";
            Err(Problem::unprocessable("rule_schedule_missing", format!("`schedule` {message}."))
                .with_field("schedule", message))
        }
        RuleChange::NoRoom(reason) => {
            Err(Problem::unprocessable("agent_rules_limit", format!("There is no room: {reason}.")))
        }
    }
}

/// Reads a rule.
#[utoipa::path(
    get,
    path = "/rules/{id}",
    operation_id = "read_rule",
    tag = "rules",
    params(("id" = String, Path, description = "The rule.")),
    responses((status = 200, body = RuleView, description = "The rule.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<String>,
) -> Result<Json<RuleView>, Problem> {
    let rule = state.store.rule(&rule_id(id)?).await?.ok_or_else(no_such_rule)?;
    Ok(Json(rule.into()))
}

/// Deletes a rule.
#[utoipa::path(
    delete,
    path = "/rules/{id}",
    operation_id = "delete_rule",
    tag = "rules",
    params(("id" = String, Path, description = "The rule."), ActorHeader),
    responses((status = 204, description = "Gone.")),
)]
pub async fn delete(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
) -> Result<StatusCode, Problem> {
    let id = rule_id(id)?;
    match state.store.delete_rule(&id, &actor).await? {
        true => {
            tracing::info!(rule_id = id, "rule deleted");
            Ok(StatusCode::NO_CONTENT)
        }
        false => Err(no_such_rule()),
    }
}

impl SaveRule {
    fn checked(self) -> Result<Rule, Problem> {
        let by_pattern = self.pattern.is_some();
        let keywords = match (self.pattern, self.rule_type) {
            (None, _) => self.keywords,
            (Some(pattern), RuleKind::Regex) if self.keywords.is_empty() => vec![pattern],
            (Some(_), RuleKind::Regex) => {
                return Err(misplaced_pattern("stands beside `keywords`; give one of the two"));
            }
            (Some(_), _) => return Err(misplaced_pattern("goes with `rule_type` regex only; leave it out")),
        };
        let rule = Rule {
            id: self.id,
            agent_id: AgentId(self.agent_id),
            kind: self.rule_type,
            enabled: self.enabled,
            priority: self.priority,
            keywords,
            whole_word: self.whole_word,
            prefix: self.prefix,
            action: self.action,
            reply_text: self.reply_text,
        };
        match validate(&rule) {
            Ok(()) => Ok(rule),
            Err(errors) if by_pattern => {
                let errors: Vec<RuleError> = errors.into_iter().map(|error| error.written_as("pattern")).collect();
                Err(rule_problem(&errors))
            }
            Err(errors) => Err(rule_problem(&errors)),
        }
    }
}

/// The schedule of a rule that time fires.
fn scheduled(state: &HttpState, rule: &Rule, schedule: RuleSchedule) -> Result<Checked, Problem> {
    if rule.kind != RuleKind::Scheduled {
        let message = "goes with `rule_type` scheduled only; leave it out";
        return Err(Problem::unprocessable("rule_schedule_misplaced", format!("`schedule` {message}."))
            .with_field("schedule", message));
    }
    let text = rule.reply_text.clone();
    let action = match rule.action {
        RuleAction::ReplyText => ScheduleAction::Text { text, template: None },
        _ => ScheduleAction::AskAgent { text },
    };
    schedule.checked(state, &rule.id, &rule.agent_id, action, rule.enabled)
}

fn misplaced_pattern(message: &str) -> Problem {
    Problem::unprocessable("rule_pattern_misplaced", format!("`pattern` {message}.")).with_field("pattern", message)
}

/// What is wrong with a rule, or with an agent's rules together.
pub(super) fn rule_problem(errors: &[RuleError]) -> Problem {
    let code = errors.first().map_or("rule_invalid", RuleError::code);
    let first = errors.first().map(ToString::to_string).unwrap_or_default();
    let more = match errors.len() {
        0 | 1 => String::new(),
        count => format!(" `errors` lists all {count} faults."),
    };
    let problem = Problem::unprocessable(code, format!("The rule cannot be taken: {first}.{more}"));
    errors
        .iter()
        .fold(problem, |problem, error| problem.with_field(error.field().unwrap_or_default(), error.to_string()))
}

fn rule_id(id: String) -> Result<String, Problem> {
    let mut faults = Faults::default();
    faults.check_id("id", &id, RULE_ID_CHARACTERS_MAX);
    faults.into_result("rule_id_invalid")?;
    Ok(id)
}

fn no_such_rule() -> Problem {
    Problem::not_found("rule_not_found", "There is no rule of this id: GET /admin/rules lists those there are.")
}

impl From<Rule> for RuleView {
    fn from(rule: Rule) -> Self {
        Self {
            id: rule.id,
            agent_id: rule.agent_id.0,
            rule_type: rule.kind,
            enabled: rule.enabled,
            priority: rule.priority,
            keywords: rule.keywords,
            whole_word: rule.whole_word,
            prefix: rule.prefix,
            action: rule.action,
            reply_text: rule.reply_text,
        }
    }
}

fn default_enabled() -> bool {
    true
}

fn default_priority() -> i32 {
    PRIORITY_DEFAULT
}

pub(super) fn rule_type_schema() -> Object {
    words_schema(&["keyword", "prefix", "exact", "regex", "scheduled"])
}

pub(super) fn action_schema() -> Object {
    words_schema(&["reply_text", "call_weather", "call_reminder"])
}
