//! `/admin/conversations`: who wrote what, and what became of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::error::{Problem, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::agents::words_schema;
use super::page::{Page, PageRows, uuid_cursor};
use crate::domain::conversation::ConversationMode;
use crate::ids::{ContactId, ConversationId, InboundId};
use crate::store::{ConversationView, Timeline, TranscriptEntry};

/// A conversation with the ways in which its person can be reached.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationDetail {
    #[serde(flatten)]
    conversation: ConversationView,
    /// The person's live identifiers by kind: `phone`, `bsuid`, `parent_bsuid`.
    #[schema(example = json!({"phone": "15551234567"}))]
    addresses: BTreeMap<&'static str, String>,
}

/// Which conversations, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConversationsQuery {
    /// Only those in which somebody else than the agent speaks now: `human` or `paused`.
    #[param(schema_with = mode_filter_schema)]
    mode: Option<ConversationMode>,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which page of the transcript.
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

/// Lists conversations, the youngest first.
#[utoipa::path(
    get,
    path = "/conversations",
    operation_id = "list_conversations",
    tag = "conversations",
    params(ConversationsQuery),
    responses((status = 200, body = Page<ConversationView>, description = "A page of conversations.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ConversationsQuery>,
) -> Result<Json<Page<ConversationView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    let conversations = match query.mode {
        None => state.store.conversations(before, rows.to_fetch()).await?,
        Some(ConversationMode::Bot) => return Err(not_a_filter()),
        Some(mode) => state.store.conversations_in_mode(mode, before, rows.to_fetch()).await?,
    };
    Ok(Json(rows.page(conversations, |conversation: &ConversationView| conversation.id.as_bytes())))
}

/// Reads a conversation.
#[utoipa::path(
    get,
    path = "/conversations/{id}",
    operation_id = "read_conversation",
    tag = "conversations",
    params(("id" = Uuid, Path, description = "The conversation.")),
    responses((status = 200, body = ConversationDetail, description = "The conversation.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<Uuid>,
) -> Result<Json<ConversationDetail>, Problem> {
    let conversation = conversation(&state, id).await?;
    let addresses = state.store.addresses(ContactId(conversation.contact_id)).await?;
    let addresses = addresses.into_iter().map(|(kind, value)| (kind.as_str(), value)).collect();
    Ok(Json(ConversationDetail { conversation, addresses }))
}

/// Lists a conversation's messages in both directions, the youngest first.
#[utoipa::path(
    get,
    path = "/conversations/{id}/messages",
    operation_id = "read_transcript",
    tag = "conversations",
    params(("id" = Uuid, Path, description = "The conversation."), ListQuery),
    responses((status = 200, body = Page<TranscriptEntry>, description = "A page of the transcript.")),
)]
pub async fn transcript(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<Uuid>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<TranscriptEntry>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    conversation(&state, id).await?;
    let entries = state.store.transcript(ConversationId(id), before, rows.to_fetch()).await?;
    Ok(Json(rows.page(entries, entry_id)))
}

/// The way of one message that came in: received, claimed, decided, and the way of each answer to the phone.
#[utoipa::path(
    get,
    path = "/conversations/{id}/messages/{message_id}",
    operation_id = "read_timeline",
    tag = "conversations",
    params(
        ("id" = Uuid, Path, description = "The conversation."),
        ("message_id" = Uuid, Path, description = "A message that came in."),
    ),
    responses((status = 200, body = Timeline, description = "The message and what happened to it, in order.")),
)]
pub async fn timeline(
    State(state): State<SharedState>,
    StrictPath((id, message_id)): StrictPath<(Uuid, Uuid)>,
) -> Result<Json<Timeline>, Problem> {
    match state.store.timeline(ConversationId(id), InboundId(message_id)).await? {
        Some(timeline) => Ok(Json(timeline)),
        None => {
            conversation(&state, id).await?;
            Err(Problem::not_found(
                "message_not_found",
                "No message of this id came in here: the transcript lists those that did; a message of ours is at \
                 /admin/outbound/{id}.",
            ))
        }
    }
}

async fn conversation(state: &HttpState, id: Uuid) -> Result<ConversationView, Problem> {
    state.store.conversation(ConversationId(id)).await?.ok_or_else(no_such_conversation)
}

fn not_a_filter() -> Problem {
    let message = "is `bot`, as most are: leave it out to list all, or ask for `human` or `paused`";
    Problem::unprocessable("mode_invalid", format!("`mode` {message}.")).with_field("mode", message)
}

fn mode_filter_schema() -> Object {
    words_schema(&["human", "paused"])
}

pub(super) fn no_such_conversation() -> Problem {
    Problem::not_found(
        "conversation_not_found",
        "There is no conversation of this id: GET /admin/conversations lists those there are.",
    )
}

fn entry_id(entry: &TranscriptEntry) -> &[u8] {
    match entry {
        TranscriptEntry::In(message) => message.id.as_bytes(),
        TranscriptEntry::Out(message) => message.id.as_bytes(),
    }
}
