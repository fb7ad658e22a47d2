//! `/admin/agents`: who answers.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type};
use utoipa::{IntoParams, ToSchema};

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::bounds::{Faults, agent_id, no_such_agent};
use super::page::{Page, PageRows, text_cursor};
use super::template_use::check_fallback;
use crate::domain::agent::{
    AgentId, AgentSettings, StalePolicy, UNKNOWN_DEADLINE_SECONDS_MAX, UNKNOWN_DEADLINE_SECONDS_MIN, UnknownPolicy,
};
use crate::domain::rule::REPLY_CHARACTERS_MAX;
use crate::domain::template::TemplateUse;
use crate::domain::tool::ToolName;
use crate::store::{AgentRow, DeleteAgent};

/// The most characters of an agent's name.
const NAME_CHARACTERS_MAX: usize = 200;
/// The most characters of an agent's purpose.
const PURPOSE_CHARACTERS_MAX: usize = 2_000;
/// The most characters of an agent's persona.
const PERSONA_CHARACTERS_MAX: usize = 8_000;
/// The most characters of an agent's own words for help and for handing over; how to reach a person has to fit below.
const CONTROL_REPLY_CHARACTERS_MAX: usize = 3_000;
/// The shortest and longest time, in seconds, after which a message may count as stale: a minute and thirty days.
const STALE_AFTER_SECONDS_MIN: i64 = 60;
const STALE_AFTER_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentView {
    /// The operator's name for it.
    #[schema(example = "default-agent")]
    id: String,
    /// For people.
    name: String,
    /// What it is for.
    purpose: String,
    /// How it speaks.
    persona: String,
    /// What it says when no rule matches; `{text}` stands for what was written. Null for the platform's own words.
    fallback_reply: Option<String>,
    /// Messages older than this are stale.
    stale_after_seconds: i64,
    /// What becomes of stale messages.
    #[schema(schema_with = stale_policy_schema)]
    stale_policy: StalePolicy,
    /// What goes out in place of plain words outside the window; `{text}` in a value of its body stands for what the message
    /// says. Null: as the installation does.
    fallback_template: Option<TemplateUse>,
    /// How long a status has to settle a send of unknown fate, in seconds. Null: as the installation does.
    unknown_deadline_seconds: Option<i64>,
    /// What becomes of such a send after that. Null: as the installation does.
    #[schema(schema_with = unknown_policy_schema)]
    unknown_policy: Option<UnknownPolicy>,
    /// The tools that it may use. Nothing else runs, whoever asks for it.
    #[schema(schema_with = tools_schema)]
    tools: Vec<ToolName>,
    /// Whether people can choose it: in the list of agents, and by its name.
    listed: bool,
    /// What it answers to a call for help, in place of what the platform knows. How to reach a person stands below it. Null for the
    /// platform's own words.
    help_reply: Option<String>,
    /// What it says when a person is asked for. Null for the platform's own words.
    handover_reply: Option<String>,
    /// Grows with every change of the agent or its rules.
    version: i64,
    /// When it was made.
    created_at: Timestamp,
    /// When it or one of its rules last changed.
    updated_at: Timestamp,
}

/// A new agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// The operator's name for it.
    #[schema(min_length = 1, max_length = 128, example = "support")]
    id: String,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 200)]
    name: String,
    /// What it is for: WhatsApp wants a declared purpose.
    #[serde(default)]
    #[schema(max_length = 2000)]
    purpose: String,
    /// How it speaks.
    #[serde(default)]
    #[schema(max_length = 8000)]
    persona: String,
    /// What it says when no rule matches; `{text}` stands for what was written. Null for the platform's own words.
    #[serde(default)]
    #[schema(max_length = 4096)]
    fallback_reply: Option<String>,
    /// Messages older than this are stale.
    #[serde(default = "default_stale_after_seconds")]
    #[schema(minimum = 60, maximum = 2_592_000)]
    stale_after_seconds: i64,
    /// What becomes of stale messages.
    #[serde(default = "default_stale_policy")]
    #[schema(schema_with = stale_policy_schema)]
    stale_policy: StalePolicy,
    /// What goes out in place of plain words outside the window; `{text}` in a value of its body stands for what the message
    /// says. Null: as the installation does.
    #[serde(default)]
    fallback_template: Option<TemplateUse>,
    /// How long a status has to settle a send of unknown fate, in seconds. Null: as the installation does.
    #[serde(default)]
    #[schema(minimum = 10, maximum = 86_400)]
    unknown_deadline_seconds: Option<i64>,
    /// What becomes of such a send after that. Null: as the installation does.
    #[serde(default)]
    #[schema(schema_with = unknown_policy_schema)]
    unknown_policy: Option<UnknownPolicy>,
    /// The tools that it may use; none unless they are named here.
    #[serde(default)]
    #[schema(schema_with = tools_schema)]
    tools: Vec<ToolName>,
    /// Whether people can choose it: in the list of agents, and by its name.
    #[serde(default)]
    listed: bool,
    /// What it answers to a call for help, in place of what the platform knows. How to reach a person stands below it. Null for the
    /// platform's own words.
    #[serde(default)]
    #[schema(max_length = 3000)]
    help_reply: Option<String>,
    /// What it says when a person is asked for. Null for the platform's own words.
    #[serde(default)]
    #[schema(max_length = 3000)]
    handover_reply: Option<String>,
}

/// All settings of an agent: what is left out goes back to its default, but for the tools, which stay as they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentChange {
    /// For people.
    #[serde(default)]
    #[schema(max_length = 200)]
    name: String,
    /// What it is for: WhatsApp wants a declared purpose.
    #[serde(default)]
    #[schema(max_length = 2000)]
    purpose: String,
    /// How it speaks.
    #[serde(default)]
    #[schema(max_length = 8000)]
    persona: String,
    /// What it says when no rule matches; `{text}` stands for what was written. Null for the platform's own words.
    #[serde(default)]
    #[schema(max_length = 4096)]
    fallback_reply: Option<String>,
    /// Messages older than this are stale.
    #[serde(default = "default_stale_after_seconds")]
    #[schema(minimum = 60, maximum = 2_592_000)]
    stale_after_seconds: i64,
    /// What becomes of stale messages.
    #[serde(default = "default_stale_policy")]
    #[schema(schema_with = stale_policy_schema)]
    stale_policy: StalePolicy,
    /// What goes out in place of plain words outside the window; `{text}` in a value of its body stands for what the message
    /// says. Null: as the installation does.
    #[serde(default)]
    fallback_template: Option<TemplateUse>,
    /// How long a status has to settle a send of unknown fate, in seconds. Null: as the installation does.
    #[serde(default)]
    #[schema(minimum = 10, maximum = 86_400)]
    unknown_deadline_seconds: Option<i64>,
    /// What becomes of such a send after that. Null: as the installation does.
    #[serde(default)]
    #[schema(schema_with = unknown_policy_schema)]
    unknown_policy: Option<UnknownPolicy>,
    /// The tools that it may use. Left out: as before, since a client that does not know of tools should neither give nor take
    /// them.
    #[serde(default)]
    #[schema(schema_with = optional_tools_schema)]
    tools: Option<Vec<ToolName>>,
    /// Whether people can choose it: in the list of agents, and by its name.
    #[serde(default)]
    listed: bool,
    /// What it answers to a call for help, in place of what the platform knows. How to reach a person stands below it. Null for the
    /// platform's own words.
    #[serde(default)]
    #[schema(max_length = 3000)]
    help_reply: Option<String>,
    /// What it says when a person is asked for. Null for the platform's own words.
    #[serde(default)]
    #[schema(max_length = 3000)]
    handover_reply: Option<String>,
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

/// Lists agents by id.
#[utoipa::path(
    get,
    path = "/agents",
    operation_id = "list_agents",
    tag = "agents",
    params(ListQuery),
    responses((status = 200, body = Page<AgentView>, description = "A page of agents.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<AgentView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let after = text_cursor(query.cursor.as_deref())?;
    let agents = state.store.agents(&after, rows.to_fetch()).await?;
    let agents = agents.into_iter().map(AgentView::from).collect();
    Ok(Json(rows.page(agents, |agent: &AgentView| agent.id.as_bytes())))
}

/// Makes an agent.
#[utoipa::path(
    post,
    path = "/agents",
    operation_id = "create_agent",
    tag = "agents",
    params(ActorHeader),
    request_body = NewAgent,
    responses(
        (
            status = 201,
            body = AgentView,
            description = "Made.",
            headers(("location" = String, description = "Where it is.")),
        ),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The id is taken."),
    ),
)]
pub async fn create(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictJson(new): StrictJson<NewAgent>,
) -> Result<impl IntoResponse, Problem> {
    let id = agent_id("id", new.id)?;
    let change = AgentChange {
        name: new.name,
        purpose: new.purpose,
        persona: new.persona,
        fallback_reply: new.fallback_reply,
        stale_after_seconds: new.stale_after_seconds,
        stale_policy: new.stale_policy,
        fallback_template: new.fallback_template,
        unknown_deadline_seconds: new.unknown_deadline_seconds,
        unknown_policy: new.unknown_policy,
        tools: Some(new.tools),
        listed: new.listed,
        help_reply: new.help_reply,
        handover_reply: new.handover_reply,
    };
    let settings = change.checked(&state, Vec::new()).await?;
    let Some(agent) = state.store.create_agent(&id, &settings, &actor).await? else {
        return Err(Problem::conflict(
            "agent_exists",
            "There is an agent of this id already: change it with PUT /admin/agents/{id}, or choose another id.",
        ));
    };
    tracing::info!(agent_id = %id, "agent made");
    let segment: String = url::form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
    let location = [(header::LOCATION, format!("/admin/agents/{}", segment.replace('+', "%20")))];
    Ok((StatusCode::CREATED, location, Json(AgentView::from(agent))))
}

/// Reads an agent.
#[utoipa::path(
    get,
    path = "/agents/{id}",
    operation_id = "read_agent",
    tag = "agents",
    params(("id" = String, Path, description = "The agent.")),
    responses((status = 200, body = AgentView, description = "The agent.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<String>,
) -> Result<Json<AgentView>, Problem> {
    let agent = state.store.agent(&agent_id("id", id)?).await?.ok_or_else(no_such_agent)?;
    Ok(Json(agent.into()))
}

/// Changes an agent. What is left out goes back to its default.
#[utoipa::path(
    put,
    path = "/agents/{id}",
    operation_id = "update_agent",
    tag = "agents",
    params(("id" = String, Path, description = "The agent."), ActorHeader),
    request_body = AgentChange,
    responses((status = 200, body = AgentView, description = "The agent as it is now.")),
)]
pub async fn update(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
    StrictJson(change): StrictJson<AgentChange>,
) -> Result<Json<AgentView>, Problem> {
    let id = agent_id("id", id)?;
    let present = state.store.agent(&id).await?.ok_or_else(no_such_agent)?;
    let settings = change.checked(&state, present.settings.tools).await?;
    let agent = state.store.update_agent(&id, &settings, &actor).await?.ok_or_else(no_such_agent)?;
    tracing::info!(agent_id = %id, "agent changed");
    Ok(Json(agent.into()))
}

/// Deletes an agent with its rules. Its conversations go back to the default agent, which itself cannot be deleted.
#[utoipa::path(
    delete,
    path = "/agents/{id}",
    operation_id = "delete_agent",
    tag = "agents",
    params(("id" = String, Path, description = "The agent."), ActorHeader),
    responses(
        (status = 204, description = "Gone."),
        (
            status = 409,
            body = Problem,
            content_type = "application/problem+json",
            description = "It is the default agent.",
        ),
    ),
)]
pub async fn delete(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
) -> Result<StatusCode, Problem> {
    let id: AgentId = agent_id("id", id)?;
    match state.store.delete_agent(&id, &actor).await? {
        DeleteAgent::Deleted => {
            tracing::info!(agent_id = %id, "agent deleted");
            Ok(StatusCode::NO_CONTENT)
        }
        DeleteAgent::NotFound => Err(no_such_agent()),
        DeleteAgent::IsDefault => Err(Problem::conflict(
            "default_agent_stays",
            "The default agent answers wherever no other is bound, so it stays: change it, or delete its rules.",
        )),
    }
}

impl AgentChange {
    /// The settings, with the tools that hold where the change names none.
    async fn checked(self, state: &HttpState, tools: Vec<ToolName>) -> Result<AgentSettings, Problem> {
        let mut faults = Faults::default();
        faults.check_text("name", &self.name, NAME_CHARACTERS_MAX);
        faults.check_text("purpose", &self.purpose, PURPOSE_CHARACTERS_MAX);
        faults.check_text("persona", &self.persona, PERSONA_CHARACTERS_MAX);
        faults.check_text("fallback_reply", self.fallback_reply.as_deref().unwrap_or_default(), REPLY_CHARACTERS_MAX);
        for (field, text) in [("help_reply", &self.help_reply), ("handover_reply", &self.handover_reply)] {
            faults.check_text(field, text.as_deref().unwrap_or_default(), CONTROL_REPLY_CHARACTERS_MAX);
        }
        let range = STALE_AFTER_SECONDS_MIN..=STALE_AFTER_SECONDS_MAX;
        faults.check_range("stale_after_seconds", self.stale_after_seconds, range);
        if let Some(seconds) = self.unknown_deadline_seconds {
            let range = UNKNOWN_DEADLINE_SECONDS_MIN..=UNKNOWN_DEADLINE_SECONDS_MAX;
            faults.check_range("unknown_deadline_seconds", seconds, range);
        }
        if let Some(template) = &self.fallback_template {
            check_fallback(state, &mut faults, template).await?;
        }
        faults.into_result("agent_invalid")?;
        let mut tools = self.tools.unwrap_or(tools);
        tools.sort_unstable();
        tools.dedup();
        Ok(AgentSettings {
            name: self.name,
            purpose: self.purpose,
            persona: self.persona,
            fallback_reply: self.fallback_reply,
            stale_after_seconds: self.stale_after_seconds,
            stale_policy: self.stale_policy,
            fallback_template: self.fallback_template,
            unknown_deadline_seconds: self.unknown_deadline_seconds,
            unknown_policy: self.unknown_policy,
            tools,
            listed: self.listed,
            help_reply: self.help_reply,
            handover_reply: self.handover_reply,
        })
    }
}

impl From<AgentRow> for AgentView {
    fn from(row: AgentRow) -> Self {
        let settings = row.settings;
        Self {
            id: row.id.0,
            name: settings.name,
            purpose: settings.purpose,
            persona: settings.persona,
            fallback_reply: settings.fallback_reply,
            stale_after_seconds: settings.stale_after_seconds,
            stale_policy: settings.stale_policy,
            fallback_template: settings.fallback_template,
            unknown_deadline_seconds: settings.unknown_deadline_seconds,
            unknown_policy: settings.unknown_policy,
            tools: settings.tools,
            listed: settings.listed,
            help_reply: settings.help_reply,
            handover_reply: settings.handover_reply,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

fn default_stale_after_seconds() -> i64 {
    AgentSettings::default().stale_after_seconds
}

fn default_stale_policy() -> StalePolicy {
    AgentSettings::default().stale_policy
}

fn stale_policy_schema() -> Object {
    words_schema(&["ignore", "apologise"])
}

fn unknown_policy_schema() -> Object {
    let words = ["resend_once", "park"];
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(types).enum_values(Some(words)).build()
}

fn tools_schema() -> Array {
    let names: Vec<&str> = ToolName::ALL.iter().map(|tool| tool.as_str()).collect();
    ArrayBuilder::new().items(words_schema(&names)).unique_items(true).build()
}

fn optional_tools_schema() -> Array {
    let mut schema = tools_schema();
    schema.schema_type = SchemaType::from_iter([Type::Array, Type::Null]);
    schema
}

/// A string that is one of `words`.
pub(super) fn words_schema(words: &[&str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied())).build()
}
