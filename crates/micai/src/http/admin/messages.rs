//! `/admin/conversations/{id}/messages` and `…/plan`: a message of a person's, and how one would go.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::bounds::{Faults, instant};
use super::conversations::no_such_conversation;
use super::template_use::{check_template_use, fitting_message};
use crate::domain::outbound::{MessageBody, SendCandidate, TEXT_CHARACTERS_MAX};
use crate::domain::template::TemplateUse;
use crate::ids::ConversationId;
use crate::queue::Topic;
use crate::sender::planner::{Plan, Question, plan as foresee};
use crate::store::{OperatorSend, OutboundView, PauseSnapshot, Prospect};

/// How far ahead may be planned: prices and templates of years to come are not known.
const AHEAD_DAYS_MAX: i64 = 366;
/// How far the caller's clock may be behind ours before an instant counts as over.
const CLOCKS_APART_SECONDS: i64 = 60;
/// What a message says that nobody has written yet.
const SAMPLE_WORDS: &str = "Hello.";

/// A message of a person's: `text`, `template`, or `text` with the `template` that says the same outside the window.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// Made by the caller, once for each message: the same key again sends nothing and answers the same.
    idempotency_key: Uuid,
    /// Plain words.
    #[schema(min_length = 1, max_length = 4096)]
    text: Option<String>,
    /// Without `text` the message itself. With it, what goes out in its place while the window is closed.
    template: Option<TemplateUse>,
}

/// A message that somebody thinks of: as for a send. Without `text` and `template` some plain words.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanMessage {
    /// When it is to go; now unless told otherwise, at most 366 days ahead.
    #[serde(default, deserialize_with = "instant")]
    at: Option<Timestamp>,
    /// Plain words.
    #[schema(min_length = 1, max_length = 4096)]
    text: Option<String>,
    /// Without `text` the message itself. With it, what goes out in its place while the window is closed.
    template: Option<TemplateUse>,
}

/// Sends a message to the person of a conversation. It is queued and goes its way like every other: the answer does not wait.
#[utoipa::path(
    post,
    path = "/conversations/{id}/messages",
    operation_id = "send_message",
    tag = "conversations",
    params(("id" = Uuid, Path, description = "The conversation."), ActorHeader),
    request_body = SendMessage,
    responses(
        (
            status = 202,
            body = OutboundView,
            description = "Queued.",
            headers(("location" = String, description = "Where its way can be followed.")),
        ),
        (status = 200, body = OutboundView, description = "It was queued before, by the same key: as it is now."),
        (
            status = 409,
            body = Problem,
            content_type = "application/problem+json",
            description = "The key belongs to another message, or there is no way to this person.",
        ),
    ),
)]
pub async fn send(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<Uuid>,
    StrictJson(new): StrictJson<SendMessage>,
) -> Result<impl IntoResponse, Problem> {
    let mut faults = Faults::default();
    check(&mut faults, new.text.as_deref(), new.template.as_ref());
    if new.text.is_none() && new.template.is_none() {
        faults.add("text", "is missing, and so is `template`: say what to send");
    }
    // What does not keep its bounds is not looked up.
    std::mem::take(&mut faults).into_result("message_invalid")?;
    let fitting = match new.template {
        Some(template) => fitting_message(&state, &mut faults, template).await?,
        None => None,
    };
    faults.into_result("message_invalid")?;
    let candidate = match (new.text, fitting) {
        (Some(text), own) => prospect(&state, id, MessageBody::Text { text }, own.and_then(filled)).await?,
        (None, Some(body)) => prospect(&state, id, body, None).await?,
        (None, None) => return Err(Problem::internal("a message without words passed the check")),
    };
    let (status, sent) = match state
        .store
        .send_by_operator(&candidate, new.idempotency_key, state.handover.seconds, &actor)
        .await?
    {
        OperatorSend::Queued(sent) => (StatusCode::ACCEPTED, sent),
        OperatorSend::Known(sent) => (StatusCode::OK, sent),
        OperatorSend::KeyUsed => {
            return Err(Problem::conflict(
                "idempotency_key_used",
                "This idempotency key belongs to another message, so nothing was sent: make a new key for each message.",
            ));
        }
    };
    // Also if it was there before: the wake of the first request may have been lost.
    state.queue.announce(Topic::Send, &[candidate.conversation_id]);
    let Some(row) = state.store.outbound(sent).await? else {
        return Err(Problem::internal("a message that was queued is not there"));
    };
    Ok((status, [(header::LOCATION, format!("/admin/outbound/{}", sent.0))], Json(row)))
}

/// Says how a message would go: now or at an instant to come, by what is known now. Sends nothing.
#[utoipa::path(
    post,
    path = "/conversations/{id}/plan",
    operation_id = "plan_message",
    tag = "conversations",
    params(("id" = Uuid, Path, description = "The conversation.")),
    request_body = PlanMessage,
    responses((status = 200, body = Plan, description = "How it would go.")),
)]
pub async fn plan(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<Uuid>,
    StrictJson(thought): StrictJson<PlanMessage>,
) -> Result<Json<Plan>, Problem> {
    let now = state.clock.now();
    let asked = thought.at.unwrap_or(now);
    let at = asked.max(now);
    let mut faults = Faults::default();
    check(&mut faults, thought.text.as_deref(), thought.template.as_ref());
    if asked + SignedDuration::from_secs(CLOCKS_APART_SECONDS) < now {
        faults.add("at", "is over; leave it out to plan for now");
    }
    if at > now + SignedDuration::from_hours(24 * AHEAD_DAYS_MAX) {
        faults.add("at", format!("is more than {AHEAD_DAYS_MAX} days ahead; nobody knows what will be then"));
    }
    faults.into_result("plan_invalid")?;
    let template_body = |template| MessageBody::Template { template: Box::new(template), text: None };
    let (body, own) = match (thought.text, thought.template) {
        (Some(text), own) => (MessageBody::Text { text }, own),
        (None, Some(template)) => (template_body(template), None),
        (None, None) => (MessageBody::Text { text: SAMPLE_WORDS.to_owned() }, None),
    };
    let candidate = prospect(&state, id, body, own).await?;
    Ok(Json(Forecast::new(&state, candidate).await?.at(&state, now, at)))
}

/// A message, and all that is known now about how it would go.
pub(super) struct Forecast {
    candidate: SendCandidate,
    agent_fallback: Option<TemplateUse>,
    free_messages_used: i64,
    pauses: Arc<PauseSnapshot>,
}

impl Forecast {
    pub(super) async fn new(state: &HttpState, candidate: SendCandidate) -> Result<Self, Problem> {
        let agent_fallback = match &candidate.agent_id {
            Some(agent) => state.store.fallback_template(agent).await?,
            None => None,
        };
        let budgets = state.store.budget_snapshot().await?;
        let free_messages_used =
            budgets.free_messages_used.get(&candidate.phone_number_id).copied().unwrap_or_default();
        let pauses = state.store.pause_snapshot().await?;
        Ok(Self { candidate, agent_fallback, free_messages_used, pauses })
    }

    /// How it would go at an instant that is not before `now`.
    pub(super) fn at(&self, state: &HttpState, now: Timestamp, at: Timestamp) -> Plan {
        foresee(&Question {
            now,
            at,
            candidate: &self.candidate,
            agent_fallback: self.agent_fallback.as_ref(),
            templates: &state.templates.snapshot(),
            pauses: &self.pauses,
            prices: &state.prices,
            free_messages_used: self.free_messages_used,
            rules: &state.plan_rules,
        })
    }
}

fn check(faults: &mut Faults, text: Option<&str>, template: Option<&TemplateUse>) {
    if let Some(text) = text {
        if text.trim().is_empty() {
            faults.add("text", "is empty; WhatsApp takes no message without words");
        }
        faults.check_text("text", text, TEXT_CHARACTERS_MAX);
    }
    if let Some(template) = template {
        check_template_use(faults, "template", template);
    }
}

pub(super) async fn prospect(
    state: &HttpState,
    id: Uuid,
    body: MessageBody,
    own: Option<TemplateUse>,
) -> Result<SendCandidate, Problem> {
    match state.store.prospect(ConversationId(id), body, own).await? {
        Prospect::Ready(candidate) => Ok(*candidate),
        Prospect::NoConversation => Err(no_such_conversation()),
        Prospect::NoAddress => Err(Problem::conflict(
            "contact_unreachable",
            "No number and no user id of this person is known any more: they have to write first.",
        )),
    }
}

fn filled(body: MessageBody) -> Option<TemplateUse> {
    match body {
        MessageBody::Template { template, .. } => Some(*template),
        MessageBody::Text { .. }
        | MessageBody::List { .. }
        | MessageBody::Buttons { .. }
        | MessageBody::LocationRequest { .. }
        | MessageBody::Erased => None,
    }
}
