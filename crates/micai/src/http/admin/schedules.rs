//! `/admin/schedules`: what is said to people at a time, once or again and again.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::bounds::{Faults, agent_id};
use super::messages::{Forecast, prospect};
use super::page::{Page, PageRows, uuid_cursor};
use super::schedule_body::SaveScheduleBody;
use crate::domain::outbound::{MessageBody, SendCandidate};
use crate::domain::schedule::{
    MissedPolicy, Recurrence, SCHEDULE_NAME_CHARACTERS_MAX, SCHEDULES_PER_CONTACT_MAX, Schedule, ScheduleAction,
    ScheduleMaker, ScheduleOutcome, ScheduleState,
};
use crate::domain::template::TemplateUse;
use crate::ids::{ContactId, ConversationId, ScheduleId};
use crate::queue::Topic;
use crate::scheduler::recurrence::Calendar;
use crate::sender::planner::Plan;
use crate::store::{ListedSchedule, RunSchedule, SavedSchedule, ScheduleFilter, ScheduleKey};

/// Occurrences of a preview unless told otherwise.
const PREVIEW_DEFAULT: u32 = 5;
/// The most occurrences of a preview.
const PREVIEW_MAX: u32 = 20;

/// A schedule as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleView {
    /// The operator's own id for it, else `schedule_id`. Either stands in paths.
    id: String,
    /// The platform's id for it.
    schedule_id: Uuid,
    /// Whom it is for: their number, else their user id.
    wa_id: Option<String>,
    /// Whom it is for.
    contact_id: Uuid,
    /// Where it speaks.
    conversation_id: Option<Uuid>,
    /// In whose name it speaks.
    agent_id: String,
    /// Who made it.
    maker: ScheduleMaker,
    /// The rule that it belongs to.
    rule_id: Option<String>,
    /// Its words, or what the agent is asked.
    message_text: Option<String>,
    /// The name of its template.
    template_name: Option<String>,
    /// Its template, with what is filled in.
    template: Option<TemplateUse>,
    /// Whether the agent is asked.
    ask_agent: bool,
    /// How it recurs.
    recurrence: Recurrence,
    /// The same where it recurs at intervals.
    interval_minutes: Option<i64>,
    /// Whose clock on the wall.
    zone: String,
    /// When it begins.
    starts_at: Timestamp,
    /// When it ends.
    ends_at: Option<Timestamp>,
    /// How often it happens at most.
    count: Option<i64>,
    /// By how many seconds it may be late, by chance.
    jitter_seconds: i64,
    /// What becomes of what was missed.
    missed: MissedPolicy,
    /// Whether it waits for its time.
    enabled: bool,
    /// Where it stands.
    state: ScheduleState,
    /// When it is due next.
    next_run_at: Option<Timestamp>,
    /// When it was last due.
    last_due_at: Option<Timestamp>,
    /// What came of that. What became of a message after that: `GET /admin/outbound/{id}`.
    last_outcome: Option<ScheduleOutcome>,
    /// How often it has happened.
    fired: i64,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

/// Which schedules, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only those of this contact.
    contact_id: Option<Uuid>,
    /// Only those of this agent.
    agent_id: Option<String>,
    /// Only those of this rule.
    rule_id: Option<String>,
    /// Only those in this state: `active`, `paused`, `finished` or `cancelled`.
    state: Option<ScheduleState>,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// How many occurrences.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PreviewQuery {
    /// Occurrences; 5 unless told otherwise.
    #[param(minimum = 1, maximum = 20)]
    count: Option<u32>,
}

/// What a schedule will do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    /// Its next occurrences, by what is known now.
    items: Vec<Occurrence>,
}

/// One occurrence to come.
#[derive(Debug, Serialize, ToSchema)]
pub struct Occurrence {
    /// When.
    at: Timestamp,
    /// The same on the wall, with offset and zone.
    #[schema(example = "2026-03-29T09:00:00+02:00[Europe/Berlin]")]
    local: String,
    /// How the message would go then. Where the agent is asked: how plain words would go.
    plan: Plan,
}

/// A wish to run a schedule at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Made by the caller, once for each run: the same key again runs nothing and answers the same.
    idempotency_key: Uuid,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunAnswer {
    /// A message in the outbox, a question to the agent, or why neither.
    outcome: ScheduleOutcome,
}

/// Lists schedules, the youngest first.
#[utoipa::path(
    get,
    path = "/schedules",
    operation_id = "list_schedules",
    tag = "schedules",
    params(ListQuery),
    responses((status = 200, body = Page<ScheduleView>, description = "A page of schedules.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<ScheduleView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    let filter = ScheduleFilter {
        contact_id: query.contact_id.map(ContactId),
        agent_id: query.agent_id.map(|id| agent_id("agent_id", id)).transpose()?,
        rule_id: query.rule_id,
        state: query.state,
    };
    let schedules = state.store.schedules(&filter, before, rows.to_fetch()).await?;
    let schedules = schedules.into_iter().map(ScheduleView::from).collect();
    Ok(Json(rows.page(schedules, |schedule: &ScheduleView| schedule.schedule_id.as_bytes())))
}

/// Makes a schedule. One whose own `id` is there already is replaced: what has happened stays, and unless its timing changes so does
/// when it is due next.
#[utoipa::path(
    post,
    path = "/schedules",
    operation_id = "create_schedule",
    tag = "schedules",
    params(ActorHeader),
    request_body = SaveScheduleBody,
    responses(
        (status = 201, body = ScheduleView, description = "Made.", headers(("location" = String, description = "Where it is."))),
        (status = 200, body = ScheduleView, description = "Replaced."),
    ),
)]
pub async fn create(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictJson(body): StrictJson<SaveScheduleBody>,
) -> Result<impl IntoResponse, Problem> {
    let checked = body.checked(&state).await?;
    let due = |before: Option<&Schedule>, now| checked.due(before, now);
    let (status, id) = saved(state.store.save_schedule(&checked.new, None, &due, &actor).await?)?;
    let view = read_view(&state, ScheduleKey::Id(id)).await?;
    Ok((status, [(header::LOCATION, format!("/admin/schedules/{id}"))], Json(view)))
}

/// Reads a schedule.
#[utoipa::path(
    get,
    path = "/schedules/{id}",
    operation_id = "read_schedule",
    tag = "schedules",
    params(("id" = String, Path, description = "The schedule: either of its ids.")),
    responses((status = 200, body = ScheduleView, description = "The schedule.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<String>,
) -> Result<Json<ScheduleView>, Problem> {
    Ok(Json(find(&state, id).await?.into()))
}

/// Replaces a schedule.
#[utoipa::path(
    put,
    path = "/schedules/{id}",
    operation_id = "update_schedule",
    tag = "schedules",
    params(("id" = String, Path, description = "The schedule: either of its ids."), ActorHeader),
    request_body = SaveScheduleBody,
    responses((status = 200, body = ScheduleView, description = "Replaced.")),
)]
pub async fn update(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
    StrictJson(body): StrictJson<SaveScheduleBody>,
) -> Result<Json<ScheduleView>, Problem> {
    let found = find(&state, id).await?;
    let key = ScheduleKey::Id(found.schedule.id);
    let mut checked = body.checked(&state).await?;
    if checked.new.name.is_some() && checked.new.name != found.schedule.name {
        let message = "is another one than that of the schedule; leave it out, or make a new schedule";
        return Err(Problem::unprocessable("schedule_id_differs", format!("`id` {message}.")).with_field("id", message));
    }
    checked.new.rule_id = found.schedule.rule_id;
    let due = |before: Option<&Schedule>, now| checked.due(before, now);
    saved(state.store.save_schedule(&checked.new, Some(key), &due, &actor).await?)?;
    Ok(Json(read_view(&state, key).await?))
}

/// Deletes a schedule. What it has put into the outbox goes its way.
#[utoipa::path(
    delete,
    path = "/schedules/{id}",
    operation_id = "delete_schedule",
    tag = "schedules",
    params(("id" = String, Path, description = "The schedule: either of its ids."), ActorHeader),
    responses((status = 204, description = "Gone.")),
)]
pub async fn delete(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
) -> Result<StatusCode, Problem> {
    let found = find(&state, id).await?;
    match state.store.delete_schedule(ScheduleKey::Id(found.schedule.id), &actor).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_such_schedule()),
    }
}

/// Pauses a schedule: what comes due until it is resumed is left out.
#[utoipa::path(
    post,
    path = "/schedules/{id}/pause",
    operation_id = "pause_schedule",
    tag = "schedules",
    params(("id" = String, Path, description = "The schedule: either of its ids."), ActorHeader),
    responses((status = 200, body = ScheduleView, description = "It is paused, or has come to its end.")),
)]
pub async fn pause(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
) -> Result<Json<ScheduleView>, Problem> {
    let key = ScheduleKey::Id(find(&state, id).await?.schedule.id);
    let next = |schedule: &Schedule, _| schedule.next_due_at;
    state.store.set_schedule_enabled(key, false, next, &actor).await?.ok_or_else(no_such_schedule)?;
    Ok(Json(read_view(&state, key).await?))
}

/// Lets a schedule go on with its next time.
#[utoipa::path(
    post,
    path = "/schedules/{id}/resume",
    operation_id = "resume_schedule",
    tag = "schedules",
    params(("id" = String, Path, description = "The schedule: either of its ids."), ActorHeader),
    responses((status = 200, body = ScheduleView, description = "It waits for its time, or has come to its end.")),
)]
pub async fn resume(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
) -> Result<Json<ScheduleView>, Problem> {
    let key = ScheduleKey::Id(find(&state, id).await?.schedule.id);
    let next = |schedule: &Schedule, now| Calendar::new(&schedule.timing).ok().and_then(|one| one.next_after(now));
    state.store.set_schedule_enabled(key, true, next, &actor).await?.ok_or_else(no_such_schedule)?;
    Ok(Json(read_view(&state, key).await?))
}

/// Says now what a schedule says when it is due. Its calendar and its count stay as they are.
#[utoipa::path(
    post,
    path = "/schedules/{id}/run",
    operation_id = "run_schedule",
    tag = "schedules",
    params(("id" = String, Path, description = "The schedule: either of its ids."), ActorHeader),
    request_body = Run,
    responses((status = 200, body = RunAnswer, description = "What came of it.")),
)]
pub async fn run(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<String>,
    StrictJson(body): StrictJson<Run>,
) -> Result<Json<RunAnswer>, Problem> {
    let key = ScheduleKey::Id(find(&state, id).await?.schedule.id);
    let outcome = match state.store.run_schedule(key, body.idempotency_key, &actor).await? {
        RunSchedule::Ran(outcome) => *outcome,
        RunSchedule::NotFound => return Err(no_such_schedule()),
    };
    match &outcome {
        ScheduleOutcome::Queued { conversation_id, .. } => state.queue.announce(Topic::Send, &[*conversation_id]),
        ScheduleOutcome::Asked { conversation_id, .. } => state.queue.announce(Topic::Turn, &[*conversation_id]),
        ScheduleOutcome::Skipped { .. } => {}
    }
    Ok(Json(RunAnswer { outcome }))
}

/// Says when a schedule is due next, and how its message would go then. Sends nothing.
#[utoipa::path(
    get,
    path = "/schedules/{id}/preview",
    operation_id = "preview_schedule",
    tag = "schedules",
    params(("id" = String, Path, description = "The schedule: either of its ids."), PreviewQuery),
    responses((status = 200, body = Preview, description = "What comes.")),
)]
pub async fn preview(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<String>,
    StrictQuery(query): StrictQuery<PreviewQuery>,
) -> Result<Json<Preview>, Problem> {
    let count = query.count.unwrap_or(PREVIEW_DEFAULT);
    let mut faults = Faults::default();
    faults.check_range("count", i64::from(count), 1..=i64::from(PREVIEW_MAX));
    faults.into_result("preview_invalid")?;
    let found = find(&state, id).await?;
    let now = state.clock.now();
    let times = coming(&found.schedule, now, count)?;
    let (Some((calendar, times)), Some(conversation)) = (times, found.conversation_id) else {
        return Ok(Json(Preview { items: Vec::new() }));
    };
    let candidate = candidate(&state, &found.schedule, conversation).await?;
    let forecast = Forecast::new(&state, candidate).await?;
    let occurrence =
        |at: Timestamp| Occurrence { at, local: calendar.local(at), plan: forecast.at(&state, now, at.max(now)) };
    Ok(Json(Preview { items: times.into_iter().map(occurrence).collect() }))
}

/// The next occurrences: first the one that is noted, which may have been put off, then by the calendar.
fn coming(schedule: &Schedule, now: Timestamp, count: u32) -> Result<Option<(Calendar, Vec<Timestamp>)>, Problem> {
    let Some(next) = schedule.next_due_at else { return Ok(None) };
    let calendar = Calendar::new(&schedule.timing)
        .map_err(|faults| Problem::internal(format!("a stored schedule has no calendar: {faults:?}")))?;
    let left = schedule.timing.count.map_or(i64::MAX, |count| (count - schedule.fired).max(0));
    let count = usize::try_from(left.min(i64::from(count))).unwrap_or(0);
    let mut times = vec![next];
    times.extend(calendar.preview(next.max(now), count.saturating_sub(1)));
    times.truncate(count);
    Ok(Some((calendar, times)))
}

async fn candidate(
    state: &HttpState,
    schedule: &Schedule,
    conversation: ConversationId,
) -> Result<SendCandidate, Problem> {
    let (body, own) = match &schedule.action {
        ScheduleAction::Text { text, template } => {
            (MessageBody::Text { text: text.clone() }, template.as_deref().cloned())
        }
        ScheduleAction::Template { template, text } => {
            (MessageBody::Template { template: template.clone(), text: text.clone() }, None)
        }
        ScheduleAction::AskAgent { text } => (MessageBody::Text { text: text.clone() }, None),
    };
    let mut candidate = prospect(state, conversation.0, body, own).await?;
    candidate.agent_id = Some(schedule.agent_id.clone());
    Ok(candidate)
}

fn saved(outcome: SavedSchedule) -> Result<(StatusCode, ScheduleId), Problem> {
    match outcome {
        SavedSchedule::Created(schedule) => Ok((StatusCode::CREATED, schedule.id)),
        SavedSchedule::Replaced(schedule) => Ok((StatusCode::OK, schedule.id)),
        SavedSchedule::NotFound => Err(no_such_schedule()),
        SavedSchedule::NoRoom => Err(Problem::unprocessable(
            "schedules_limit",
            format!(
                "This person has {SCHEDULES_PER_CONTACT_MAX} schedules with a time to come, which is the most: delete one \
                 first."
            ),
        )),
    }
}

/// By the operator's own id, else by the platform's.
async fn find(state: &HttpState, id: String) -> Result<ListedSchedule, Problem> {
    let mut faults = Faults::default();
    faults.check_id("id", &id, SCHEDULE_NAME_CHARACTERS_MAX);
    faults.into_result("schedule_id_invalid")?;
    if let Some(found) = state.store.schedule(ScheduleKey::Name(&id)).await? {
        return Ok(found);
    }
    let Ok(id) = Uuid::parse_str(&id) else { return Err(no_such_schedule()) };
    state.store.schedule(ScheduleKey::Id(ScheduleId(id))).await?.ok_or_else(no_such_schedule)
}

async fn read_view(state: &HttpState, key: ScheduleKey<'_>) -> Result<ScheduleView, Problem> {
    Ok(state.store.schedule(key).await?.ok_or_else(no_such_schedule)?.into())
}

fn no_such_schedule() -> Problem {
    Problem::not_found(
        "schedule_not_found",
        "There is no schedule of this id: GET /admin/schedules lists those there are.",
    )
}

impl From<ListedSchedule> for ScheduleView {
    fn from(listed: ListedSchedule) -> Self {
        let schedule = listed.schedule;
        let template = match &schedule.action {
            ScheduleAction::Text { template, .. } => template.as_deref().cloned(),
            ScheduleAction::Template { template, .. } => Some(template.as_ref().clone()),
            ScheduleAction::AskAgent { .. } => None,
        };
        Self {
            id: schedule.name.clone().unwrap_or_else(|| schedule.id.to_string()),
            schedule_id: schedule.id.0,
            wa_id: listed.wa_id,
            contact_id: schedule.contact_id.0,
            conversation_id: listed.conversation_id.map(|id| id.0),
            agent_id: schedule.agent_id.0,
            maker: schedule.maker,
            rule_id: schedule.rule_id,
            message_text: schedule.action.text().map(str::to_owned),
            template_name: template.as_ref().map(|template| template.name.clone()),
            template,
            ask_agent: matches!(schedule.action, ScheduleAction::AskAgent { .. }),
            interval_minutes: match schedule.timing.recurrence {
                Recurrence::Every { minutes } => Some(minutes),
                _ => None,
            },
            recurrence: schedule.timing.recurrence,
            zone: schedule.timing.zone,
            starts_at: schedule.timing.starts_at,
            ends_at: schedule.timing.ends_at,
            count: schedule.timing.count,
            jitter_seconds: schedule.timing.jitter_seconds,
            missed: schedule.timing.missed,
            enabled: schedule.state == ScheduleState::Active,
            state: schedule.state,
            next_run_at: schedule.next_due_at,
            last_due_at: schedule.last_due_at,
            last_outcome: schedule.last_outcome,
            fired: schedule.fired,
            created_at: schedule.created_at,
            updated_at: schedule.updated_at,
        }
    }
}
