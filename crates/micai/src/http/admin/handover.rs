//! `/admin/conversations/{id}/mode`: a person takes a conversation over, or gives it back.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson};
use super::super::path::StrictPath;
use super::super::state::SharedState;
use super::agents::words_schema;
use super::bounds::Faults;
use super::conversations::no_such_conversation;
use crate::domain::conversation::ConversationMode;
use crate::ids::ConversationId;
use crate::queue::Topic;
use crate::store::{ConversationView, SetMode};

/// The most characters of a reason.
const REASON_CHARACTERS_MAX: usize = 500;
/// The longest time that a mode can be set for: thirty days.
const HOURS_MAX: i64 = 720;

/// Who speaks from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeBody {
    /// `human`: a person answers, the agent is silent. `paused`: nobody answers. `bot`: the agent answers.
    #[schema(schema_with = mode_schema)]
    mode: ConversationMode,
    /// For how many hours; then the agent answers again. Left out: for `human` as the installation does, and each message that a
    /// person sends from here counts anew; for `paused` without an end.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 720)]
    hours: Option<i64>,
    /// For whoever asks later.
    #[serde(default)]
    #[schema(max_length = 500, example = "I know the case")]
    reason: Option<String>,
}

/// Says who speaks in a conversation. What comes in meanwhile is kept and stays to be read. A turn that is under way is dropped,
/// and with `human` and `paused` what the agent had said and was not being sent yet is cancelled (`handed_over`): the agent says
/// nothing more once this has answered.
#[utoipa::path(
    post,
    path = "/conversations/{id}/mode",
    operation_id = "set_mode",
    tag = "conversations",
    params(("id" = Uuid, Path, description = "The conversation."), ActorHeader),
    request_body = ModeBody,
    responses((status = 200, body = ConversationView, description = "The conversation as it is now.")),
)]
pub async fn set_mode(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<Uuid>,
    StrictJson(body): StrictJson<ModeBody>,
) -> Result<Json<ConversationView>, Problem> {
    let mut faults = Faults::default();
    faults.check_text("reason", body.reason.as_deref().unwrap_or_default(), REASON_CHARACTERS_MAX);
    if let Some(hours) = body.hours {
        faults.check_range("hours", hours, 1..=HOURS_MAX);
        if body.mode == ConversationMode::Bot {
            faults.add("hours", "goes with `human` and `paused` only: the agent answers until somebody says otherwise");
        }
    }
    faults.into_result("mode_invalid")?;
    let seconds = match (body.hours, body.mode) {
        (Some(hours), _) => Some(hours * 3_600),
        (None, ConversationMode::Human) => Some(state.handover.seconds),
        (None, ConversationMode::Bot | ConversationMode::Paused) => None,
    };
    let set = SetMode { mode: body.mode, seconds, reason: body.reason.as_deref() };
    let conversation = ConversationId(id);
    if !state.store.set_mode(conversation, set, &actor).await? {
        return Err(no_such_conversation());
    }
    tracing::info!(conversation_id = %id, mode = body.mode.as_str(), "conversation mode set");
    // What a dropped turn was about has its turn again.
    state.queue.announce(Topic::Turn, &[conversation]);
    // What waited behind a reply that is cancelled.
    state.queue.announce(Topic::Send, &[conversation]);
    state.store.conversation(conversation).await?.map(Json).ok_or_else(no_such_conversation)
}

fn mode_schema() -> Object {
    words_schema(&["bot", "human", "paused"])
}
