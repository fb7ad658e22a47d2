//! `/admin/tools`: what agents can do beside talking, and what each of them may.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::error::Problem;
use super::super::path::StrictPath;
use super::super::state::SharedState;
use super::bounds::{agent_id, no_such_agent};
use crate::agent::tools::{Reach, definition};
use crate::domain::tool::ToolName;

/// Every tool.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToolList {
    /// By name.
    items: Vec<ToolView>,
}

/// A tool.
#[derive(Debug, Serialize, ToSchema)]
pub struct ToolView {
    /// Its name, as agents list it.
    #[schema(example = "get_weather")]
    name: &'static str,
    /// What it is for.
    description: &'static str,
    /// The JSON Schema of its arguments.
    #[schema(value_type = Object)]
    arguments: &'static Value,
    /// What it may reach beside the conversation.
    reach: Vec<Reach>,
}

/// An agent's tools.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentToolList {
    /// Every tool, by name.
    items: Vec<AgentToolView>,
}

/// A tool, and how it stands with an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentToolView {
    /// Its name.
    #[schema(example = "get_weather")]
    name: &'static str,
    /// Whether the agent lists it.
    is_allowed: bool,
    /// How often it was called although the agent did not list it, and did not run.
    denied: i64,
    /// When that was last.
    last_denied_at: Option<Timestamp>,
}

/// Lists the tools that there are.
#[utoipa::path(
    get,
    path = "/tools",
    operation_id = "list_tools",
    tag = "tools",
    responses((status = 200, body = ToolList, description = "Every tool.")),
)]
pub async fn list() -> Json<ToolList> {
    let view = |tool: &ToolName| {
        let row = definition(*tool);
        ToolView {
            name: row.name.as_str(),
            description: row.description,
            arguments: &row.arguments,
            reach: row.reach.to_vec(),
        }
    };
    Json(ToolList { items: ToolName::ALL.iter().map(view).collect() })
}

/// Lists which tools an agent may use, and how often others were asked of it. Change the list with PUT /admin/agents/{id}.
#[utoipa::path(
    get,
    path = "/agents/{id}/tools",
    operation_id = "list_agent_tools",
    tag = "tools",
    params(("id" = String, Path, description = "The agent.")),
    responses((status = 200, body = AgentToolList, description = "Every tool, and how it stands with the agent.")),
)]
pub async fn of_agent(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<String>,
) -> Result<Json<AgentToolList>, Problem> {
    let id = agent_id("id", id)?;
    let agent = state.store.agent(&id).await?.ok_or_else(no_such_agent)?;
    let denials = state.store.tool_denials(&id).await?;
    let view = |tool: &ToolName| {
        let denied = denials.iter().find(|denial| denial.tool == tool.as_str());
        AgentToolView {
            name: tool.as_str(),
            is_allowed: agent.settings.may_use(*tool),
            denied: denied.map_or(0, |denial| denial.times),
            last_denied_at: denied.map(|denial| denial.last_at),
        }
    };
    Ok(Json(AgentToolList { items: ToolName::ALL.iter().map(view).collect() }))
}
