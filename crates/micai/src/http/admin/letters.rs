//! `/admin/letters`: dead letters in groups, with what killed them and what would help; replayed or put away by people.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::bounds::Faults;
use super::page::{Page, PageRows, text_cursor, uuid_cursor};
use super::template_use::{check_template_use, fitting_message};
use crate::domain::letter::{Chosen, GroupName, LETTER_IDS_MAX, RepairReport, ReplayTerms};
use crate::domain::template::TemplateUse;
use crate::letters::{ExplainedGroup, ExplainedLetter, explain_group, explain_letter};
use crate::queue::Topic;
use crate::store::{Repaired, Story};

/// Which page of the groups.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GroupsQuery {
    /// Groups of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which letters, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ItemsQuery {
    /// The letters of this group.
    #[param(example = "outbound:131026")]
    group: String,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A letter with its whole story.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterDetail {
    #[serde(flatten)]
    letter: ExplainedLetter,
    #[serde(flatten)]
    story: Story,
}

/// Which letters are replayed, and how: `ids` or `group`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayLetters {
    /// These letters.
    #[serde(default)]
    #[schema(max_items = 1000)]
    ids: Vec<Uuid>,
    /// All letters of this group, the oldest first, at most 10,000 at a time.
    #[schema(example = "outbound:131047")]
    group: Option<String>,
    /// Only say what would happen. Give `false` to do it.
    #[serde(default = "yes")]
    #[schema(default = true)]
    dry_run: bool,
    /// Letters older than 24 hours go, too.
    #[serde(default)]
    older_than_ok: bool,
    /// Goes out in place of plain words that the 24-hour window no longer lets through.
    template: Option<TemplateUse>,
    /// The template takes the place of all letters, also of those that could go as they are.
    #[serde(default)]
    template_for_all: bool,
}

/// Which letters are put away, and why: `ids` or `group`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscardLetters {
    /// These letters.
    #[serde(default)]
    #[schema(max_items = 1000)]
    ids: Vec<Uuid>,
    /// All letters of this group, the oldest first, at most 10,000 at a time.
    #[schema(example = "outbound:131026")]
    group: Option<String>,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// Only say what would happen. Give `false` to do it.
    #[serde(default = "yes")]
    #[schema(default = true)]
    dry_run: bool,
}

fn yes() -> bool {
    true
}

/// Lists the groups of dead letters: how many, since when, why, and what would help.
#[utoipa::path(
    get,
    path = "/letters",
    operation_id = "list_letter_groups",
    tag = "letters",
    params(GroupsQuery),
    responses((status = 200, body = Page<ExplainedGroup>, description = "A page of groups.")),
)]
pub async fn groups(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<GroupsQuery>,
) -> Result<Json<Page<ExplainedGroup>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let after = GroupName::parse(&text_cursor(query.cursor.as_deref())?);
    let limit = usize::try_from(rows.to_fetch()).unwrap_or(usize::MAX);
    let groups = state.store.letter_groups(after.as_ref(), limit).await?;
    let groups = groups.into_iter().map(explain_group).collect();
    Ok(Json(rows.page(groups, |group: &ExplainedGroup| group.group.as_bytes())))
}

/// Lists the letters of a group, the youngest first.
#[utoipa::path(
    get,
    path = "/letters/items",
    operation_id = "list_letters",
    tag = "letters",
    params(ItemsQuery),
    responses((status = 200, body = Page<ExplainedLetter>, description = "A page of letters.")),
)]
pub async fn items(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ItemsQuery>,
) -> Result<Json<Page<ExplainedLetter>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    let Some(group) = GroupName::parse(&query.group) else {
        let message = NO_GROUP_NAME;
        return Err(Problem::bad_request("group_invalid", format!("`group` {message}.")).with_field("group", message));
    };
    let letters = state.store.letters(&group, before, rows.to_fetch()).await?;
    let letters = letters.into_iter().map(explain_letter).collect();
    Ok(Json(rows.page(letters, |letter: &ExplainedLetter| letter.letter.id.as_bytes())))
}

/// Reads a letter with its whole story: each call, each status, and what people did about it.
#[utoipa::path(
    get,
    path = "/letters/items/{id}",
    operation_id = "read_letter",
    tag = "letters",
    params(("id" = Uuid, Path, description = "The message.")),
    responses((status = 200, body = LetterDetail, description = "The letter.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<Uuid>,
) -> Result<Json<LetterDetail>, Problem> {
    let Some(letter) = state.store.letter(id).await? else {
        return Err(Problem::not_found(
            "letter_not_found",
            "There is no dead letter of this id, or it is none any more: GET /admin/letters lists the groups of those there \
             are, GET /admin/outbound/{id} shows any send.",
        ));
    };
    let story = state.store.story(letter.conversation_id, letter.id).await?;
    Ok(Json(LetterDetail { letter: explain_letter(letter), story }))
}

/// Queues letters again. A letter keeps its idempotency key, so the same request twice, or two at once, send it once. What was
/// delivered after all, and what goes to somebody who said STOP, is left alone.
#[utoipa::path(
    post,
    path = "/letters/replay",
    operation_id = "replay_letters",
    tag = "letters",
    params(ActorHeader),
    request_body = ReplayLetters,
    responses(
        (status = 200, body = RepairReport, description = "What happened to them, or would happen."),
        (
            status = 409,
            body = Problem,
            content_type = "application/problem+json",
            description = "Outbound is switched off: they would leave the letters and go nowhere.",
        ),
    ),
)]
pub async fn replay(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictJson(body): StrictJson<ReplayLetters>,
) -> Result<Json<RepairReport>, Problem> {
    let mut faults = Faults::default();
    let chosen = check_chosen(&mut faults, body.ids, body.group.as_deref());
    check_template(&mut faults, body.template.as_ref(), body.template_for_all);
    let template = match body.template {
        Some(template) => fitting_message(&state, &mut faults, template).await?,
        None => None,
    };
    faults.into_result("replay_invalid")?;
    let sending = &state.sending;
    if !body.dry_run && !sending.outbound_enabled {
        return Err(Problem::conflict(
            "outbound_off",
            "Outbound is switched off, so these letters would go nowhere: set MICAI_OUTBOUND_REPLY_ENABLED=true and start \
             again. A dry run works meanwhile.",
        ));
    }
    let terms = ReplayTerms {
        dry_run: body.dry_run,
        older_than_ok: body.older_than_ok,
        template,
        template_for_all: body.template_for_all,
        window_seconds: sending.window_seconds,
        now: state.clock.now(),
    };
    Ok(Json(conclude(&state, state.store.replay_letters(&chosen, &terms, &actor).await?)))
}

/// Puts letters away, with a reason. Sends are cancelled, messages that came in are kept for the record; nothing is deleted.
#[utoipa::path(
    post,
    path = "/letters/discard",
    operation_id = "discard_letters",
    tag = "letters",
    params(ActorHeader),
    request_body = DiscardLetters,
    responses((status = 200, body = RepairReport, description = "What happened to them, or would happen.")),
)]
pub async fn discard(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictJson(body): StrictJson<DiscardLetters>,
) -> Result<Json<RepairReport>, Problem> {
    let mut faults = Faults::default();
    let chosen = check_chosen(&mut faults, body.ids, body.group.as_deref());
    faults.check_reason(&body.reason);
    faults.into_result("discard_invalid")?;
    let repaired = state.store.discard_letters(&chosen, body.reason.trim(), &actor, body.dry_run).await?;
    Ok(Json(conclude(&state, repaired)))
}

const NO_GROUP_NAME: &str = "is no group of letters; take it from GET /admin/letters, such as `outbound:131026`";

fn conclude(state: &HttpState, repaired: Repaired) -> RepairReport {
    state.queue.announce(Topic::Send, &repaired.wake_sends);
    state.queue.announce(Topic::Turn, &repaired.wake_turns);
    repaired.report.conclude("Give `dry_run: false` to do it.")
}

fn check_chosen(faults: &mut Faults, ids: Vec<Uuid>, group: Option<&str>) -> Chosen {
    if ids.len() > LETTER_IDS_MAX {
        faults.add("ids", format!("names {} letters; at most {LETTER_IDS_MAX} are allowed at once", ids.len()));
    }
    match (ids.is_empty(), group) {
        (true, None) => faults.add("ids", "is missing, and so is `group`: say which letters"),
        (false, Some(_)) => faults.add("group", "stands beside `ids`; give one of the two"),
        (false, None) => {}
        (true, Some(name)) => match GroupName::parse(name) {
            Some(group) => return Chosen::Group(group),
            None => faults.add("group", NO_GROUP_NAME),
        },
    }
    Chosen::Ids(ids)
}

fn check_template(faults: &mut Faults, template: Option<&TemplateUse>, for_all: bool) {
    match template {
        None if for_all => faults.add("template_for_all", "needs `template`"),
        None => {}
        Some(template) => check_template_use(faults, "template", template),
    }
}
