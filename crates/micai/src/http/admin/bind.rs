//! `/admin/bind`: which agent answers a person.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::Problem;
use super::super::path::StrictPath;
use super::super::state::SharedState;
use super::bounds::agent_id;
use crate::ingest::person_named;

/// The person is bound.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bound {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// The person as they were named in the request.
    #[schema(example = "15551234567")]
    wa_id: String,
    /// Who answers them from now on.
    #[schema(example = "default-agent")]
    agent_id: String,
}

/// Binds a person to an agent, in all their conversations. Person and agent are made if they are not there.
#[utoipa::path(
    post,
    path = "/bind/{wa_id}/{agent_id}",
    tag = "agents",
    params(
        (
            "wa_id" = String,
            Path,
            description = "A phone number (5 to 20 digits, `+` allowed in front) or a user id (BSUID: `CC.…`, or parent BSUID: `CC.ENT.…`).",
        ),
        ("agent_id" = String, Path, description = "The agent, at most 128 characters."),
        ActorHeader,
    ),
    responses(
        (status = 200, body = Bound, description = "Bound."),
        (
            status = 422,
            body = Problem,
            content_type = "application/problem+json",
            description = "One of the two is no such id.",
        ),
    ),
)]
pub async fn bind(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath((wa_id, agent)): StrictPath<(String, String)>,
) -> Result<Json<Bound>, Problem> {
    let person = person_named(&wa_id).ok_or_else(not_a_person)?;
    let agent = agent_id("agent_id", agent)?;
    let outcome = state.store.bind(&person, &agent, &state.default_phone_number_id, &actor).await?;
    tracing::info!(agent_id = %agent, conversations = outcome.conversations, "contact bound");
    Ok(Json(Bound { status: "ok", wa_id, agent_id: agent.0 }))
}

fn not_a_person() -> Problem {
    let message =
        "is neither a phone number (5 to 20 digits, `+` allowed in front) nor a user id (`CC.…` or `CC.ENT.…`)";
    Problem::unprocessable("wa_id_invalid", format!("`wa_id` {message}.")).with_field("wa_id", message)
}
