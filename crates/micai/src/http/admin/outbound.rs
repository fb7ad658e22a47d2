//! `/admin/outbound`: the send ledger, what speaks for and against sends of unknown fate, and a person's word about them.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::agents::words_schema;
use super::bounds::Faults;
use super::page::{Page, PageRows, uuid_cursor};
use crate::domain::fate::{Decision, Settled, UnknownEvidence, Verdict, weigh};
use crate::domain::outbound::SendState;
use crate::ids::OutboundId;
use crate::queue::Topic;
use crate::store::{OutboundView, Story};

/// The most characters of WhatsApp's id of a message.
const PROVIDER_MESSAGE_ID_CHARACTERS_MAX: usize = 256;

/// Which sends, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only sends in this state.
    #[param(schema_with = state_schema)]
    state: Option<SendState>,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A send in the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct SendItem {
    #[serde(flatten)]
    send: OutboundView,
    /// Only of a send of unknown fate, in the list of those: what speaks for and against it, and what will happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<UnknownEvidence>,
}

/// A send with all that happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct SendDetail {
    #[serde(flatten)]
    send: OutboundView,
    #[serde(flatten)]
    story: Story,
    /// Only of a send of unknown fate: what speaks for and against it, and what will happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<UnknownEvidence>,
}

/// What a person says about a send of unknown fate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleSend {
    /// Whether it went out, and if not, whether it is to.
    #[schema(schema_with = fate_schema)]
    fate: Verdict,
    /// How they know.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// WhatsApp's id of the message, where it is known; only with `sent`.
    #[schema(max_length = 256)]
    provider_message_id: Option<String>,
    /// The number of calls (`attempts`) that they saw: it is refused if there was another one since.
    attempts: Option<i32>,
}

/// Lists sends, the youngest first.
#[utoipa::path(
    get,
    path = "/outbound",
    operation_id = "list_sends",
    tag = "outbound",
    params(ListQuery),
    responses((status = 200, body = Page<SendItem>, description = "A page of sends.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<SendItem>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    let sends = state.store.outbound_list(query.state, before, rows.to_fetch()).await?;
    let mut items = Vec::with_capacity(sends.len());
    for send in sends {
        let unknown = match query.state {
            Some(SendState::Unknown) => evidence(&state, &send).await?,
            _ => None,
        };
        items.push(SendItem { send, unknown });
    }
    Ok(Json(rows.page(items, |item: &SendItem| item.send.id.as_bytes())))
}

/// Reads a send: each call and its outcome, each status, what people did about it, and, while its fate is unknown, what speaks
/// for and against it.
#[utoipa::path(
    get,
    path = "/outbound/{id}",
    operation_id = "read_send",
    tag = "outbound",
    params(("id" = Uuid, Path, description = "The send.")),
    responses((status = 200, body = SendDetail, description = "The send.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<Uuid>,
) -> Result<Json<SendDetail>, Problem> {
    detail(&state, id).await.map(Json)
}

/// Settles a send of unknown fate by a person's word. A status, the deadline or somebody else may have been quicker: then
/// nothing happens, and the answer says so.
#[utoipa::path(
    post,
    path = "/outbound/{id}/settle",
    operation_id = "settle_send",
    tag = "outbound",
    params(("id" = Uuid, Path, description = "The send."), ActorHeader),
    request_body = SettleSend,
    responses(
        (status = 200, body = SendDetail, description = "The send as it is now."),
        (
            status = 409,
            body = Problem,
            content_type = "application/problem+json",
            description = "Its fate is not unknown, or not any more.",
        ),
    ),
)]
pub async fn settle(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<Uuid>,
    StrictJson(body): StrictJson<SettleSend>,
) -> Result<Json<SendDetail>, Problem> {
    let mut faults = Faults::default();
    faults.check_reason(&body.reason);
    if let Some(provider_message_id) = &body.provider_message_id {
        faults.check_id("provider_message_id", provider_message_id, PROVIDER_MESSAGE_ID_CHARACTERS_MAX);
        if body.fate != Verdict::Sent {
            faults.add("provider_message_id", "goes only with the fate `sent`; leave it out");
        }
    }
    faults.into_result("settle_invalid")?;
    let decision = Decision {
        verdict: body.fate,
        provider_message_id: body.provider_message_id,
        attempts: body.attempts,
        reason: body.reason.trim().to_owned(),
    };
    let (settled, conversation) = state.store.settle_unknown(OutboundId(id), &decision, &actor).await?;
    match settled {
        Settled::NoSuchSend => Err(no_such_send()),
        Settled::NotUnknown => Err(not_unknown(&detail(&state, id).await?)),
        Settled::Done => {
            tracing::info!(outbound_id = %id, fate = body.fate.as_str(), "an unknown send was settled by a person");
            state.queue.announce(Topic::Send, conversation.as_slice());
            detail(&state, id).await.map(Json)
        }
    }
}

async fn detail(state: &HttpState, id: Uuid) -> Result<SendDetail, Problem> {
    let send = state.store.outbound(OutboundId(id)).await?.ok_or_else(no_such_send)?;
    let story = state.store.story(send.conversation_id, id).await?;
    let unknown = evidence(state, &send).await?;
    Ok(SendDetail { send, story, unknown })
}

async fn evidence(state: &HttpState, send: &OutboundView) -> Result<Option<UnknownEvidence>, Problem> {
    if send.state != SendState::Unknown.as_str() {
        return Ok(None);
    }
    let facts = state.store.line_facts(OutboundId(send.id), state.sending.unknown).await?;
    let now = state.clock.now();
    Ok(facts.map(|(call, line, rules)| weigh(call, send.resends, line, rules, now)))
}

fn no_such_send() -> Problem {
    Problem::not_found("outbound_not_found", "There is no send of this id: GET /admin/outbound lists those there are.")
}

fn not_unknown(now: &SendDetail) -> Problem {
    let (state, attempts) = (&now.send.state, now.send.attempts);
    let calls = if attempts == 1 { "1 call".to_owned() } else { format!("{attempts} calls") };
    let why = match now.send.state == SendState::Unknown.as_str() {
        true => format!("`attempts` does not fit: there was another call since, and by now there are {calls}"),
        false => format!("The fate of this send is not unknown, or not any more: it is `{state}` after {calls}"),
    };
    Problem::conflict("send_not_unknown", format!("{why}. Nothing was changed; read it again."))
}

fn state_schema() -> Object {
    words_schema(&SendState::ALL.map(SendState::as_str))
}

fn fate_schema() -> Object {
    words_schema(&Verdict::ALL.map(Verdict::as_str))
}
