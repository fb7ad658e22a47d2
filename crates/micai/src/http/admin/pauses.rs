//! `/admin/pauses`: what is not sent for the time being.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::bounds::{Faults, instant};
use crate::domain::pause::{
    PAUSE_SENTENCE_CHARACTERS_MAX, PAUSE_SUBJECT_CHARACTERS_MAX, PAUSES_MAX, Pause, PauseCause, PauseKey, PauseScope,
};
use crate::queue::Topic;
use crate::store::PauseView;

/// All pauses.
#[derive(Debug, Serialize, ToSchema)]
pub struct PauseList {
    /// By scope and subject.
    items: Vec<PauseView>,
}

/// What is not to be sent, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPause {
    /// How far it reaches.
    scope: PauseScope,
    /// The number, the template (`order_ready` in all languages, `order_ready/pt_BR` in one) or the country (two letters); left out for `account` and `account_templates`.
    #[serde(default)]
    #[schema(max_length = 512)]
    subject: String,
    /// Why, for whoever reads it.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// Until when; null: until somebody resumes.
    #[serde(default, deserialize_with = "instant")]
    until: Option<Timestamp>,
}

/// What resuming did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Resumed {
    /// Conversations whose held sends go out now. If there are many, the others follow within seconds.
    conversations: usize,
}

/// Lists what is paused, with why and how much waits for it.
#[utoipa::path(
    get,
    path = "/pauses",
    operation_id = "list_pauses",
    tag = "pauses",
    responses((status = 200, body = PauseList, description = "Every pause.")),
)]
pub async fn list(State(state): State<SharedState>) -> Result<Json<PauseList>, Problem> {
    Ok(Json(PauseList { items: state.store.pauses().await? }))
}

/// Pauses sending. What it concerns is held until the pause is over; everything else goes on.
#[utoipa::path(
    post,
    path = "/pauses",
    operation_id = "set_pause",
    tag = "pauses",
    params(ActorHeader),
    request_body = NewPause,
    responses((status = 200, body = PauseList, description = "Every pause, this one among them.")),
)]
pub async fn set(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictJson(new): StrictJson<NewPause>,
) -> Result<Json<PauseList>, Problem> {
    let now = state.clock.now();
    let mut faults = Faults::default();
    let subject_length = new.subject.chars().count();
    if new.scope.is_whole() && subject_length > 0 {
        faults.add("subject", format!("is given, but a pause of scope {} has none: leave it out", new.scope.as_str()));
    }
    if !new.scope.is_whole() && !(1..=PAUSE_SUBJECT_CHARACTERS_MAX).contains(&subject_length) {
        faults.add("subject", format!("must name one, in 1 to {PAUSE_SUBJECT_CHARACTERS_MAX} characters"));
    }
    check_subject(&state, new.scope, &new.subject, &mut faults);
    if !(1..=PAUSE_SENTENCE_CHARACTERS_MAX).contains(&new.reason.chars().count()) {
        faults.add("reason", format!("must have 1 to {PAUSE_SENTENCE_CHARACTERS_MAX} characters"));
    }
    if new.until.is_some_and(|until| until <= now) {
        faults.add("until", "must be in the future");
    }
    faults.into_result("pause_invalid")?;
    let key = PauseKey::new(new.scope, &new.subject);
    let pause =
        Pause { key, cause: PauseCause::Person, code: None, sentence: new.reason, since: now, until: new.until };
    if !state.store.set_pause(&pause, &actor).await? {
        return Err(Problem::conflict(
            "too_many_pauses",
            format!("There are {PAUSES_MAX} pauses already: end some with DELETE /admin/pauses/{{scope}}/{{subject}}."),
        ));
    }
    Ok(Json(PauseList { items: state.store.pauses().await? }))
}

/// A pause of what there is not would stop nothing, and nobody would notice.
fn check_subject(state: &HttpState, scope: PauseScope, subject: &str, faults: &mut Faults) {
    match scope {
        _ if subject.is_empty() => {}
        PauseScope::Account | PauseScope::AccountTemplates => {}
        PauseScope::Country => {
            if !state.prices.knows_country(subject) {
                faults.add("subject", "is no country; give two capital letters such as BR");
            }
        }
        PauseScope::Number => {
            if !subject.bytes().all(|byte| byte.is_ascii_digit()) {
                faults.add("subject", "is no id of a number of ours; it has digits only, and is not the number itself");
            }
        }
        PauseScope::Template => {
            let templates = state.templates.snapshot();
            let (name, language) = subject.split_once('/').unwrap_or((subject, ""));
            let known = templates.named(name);
            // Without any, the list has not been fetched, or there is no account to fetch it from.
            if templates.is_empty() {
            } else if known.is_empty() {
                faults.add("subject", "names no template that is known: GET /admin/templates lists those there are");
            } else if !language.is_empty() && known.iter().all(|template| template.language != language) {
                let languages: Vec<&str> = known.iter().map(|template| template.language.as_str()).collect();
                faults.add(
                    "subject",
                    format!("names a language that the template does not have: it has {}", languages.join(", ")),
                );
            }
        }
    }
}

/// Ends a pause of the whole account or of all its templates. What was held goes out.
#[utoipa::path(
    delete,
    path = "/pauses/{scope}",
    operation_id = "resume_all",
    tag = "pauses",
    params(("scope" = String, Path, description = "`account` or `account_templates`."), ActorHeader),
    responses((status = 200, body = Resumed, description = "Sending goes on.")),
)]
pub async fn resume_all(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(scope): StrictPath<String>,
) -> Result<Json<Resumed>, Problem> {
    let scope = PauseScope::parse(&scope).filter(|scope| scope.is_whole()).ok_or_else(no_such_pause)?;
    end(&state, &PauseKey::new(scope, ""), &actor).await
}

/// Ends a pause of a number, template or country. What was held goes out.
#[utoipa::path(
    delete,
    path = "/pauses/{scope}/{subject}",
    operation_id = "resume",
    tag = "pauses",
    params(
        ("scope" = String, Path, description = "`number`, `template` or `country`."),
        ("subject" = String, Path, description = "Which one."),
        ActorHeader,
    ),
    responses((status = 200, body = Resumed, description = "Sending goes on.")),
)]
pub async fn resume(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath((scope, subject)): StrictPath<(String, String)>,
) -> Result<Json<Resumed>, Problem> {
    let scope = PauseScope::parse(&scope).filter(|scope| !scope.is_whole()).ok_or_else(no_such_pause)?;
    end(&state, &PauseKey::new(scope, &subject), &actor).await
}

/// Ends a pause of a template in one language. What was held goes out.
#[utoipa::path(
    delete,
    path = "/pauses/template/{name}/{language}",
    operation_id = "resume_template",
    tag = "pauses",
    params(
        ("name" = String, Path, description = "The template."),
        ("language" = String, Path, description = "Its language."),
        ActorHeader,
    ),
    responses((status = 200, body = Resumed, description = "Sending goes on.")),
)]
pub async fn resume_template(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath((name, language)): StrictPath<(String, String)>,
) -> Result<Json<Resumed>, Problem> {
    end(&state, &PauseKey::template(&name, &language), &actor).await
}

async fn end(state: &HttpState, key: &PauseKey, actor: &crate::domain::audit::Actor) -> Result<Json<Resumed>, Problem> {
    if !state.store.resume(key, actor).await? {
        return Err(no_such_pause());
    }
    tracing::warn!(pause = %key, "sending goes on");
    let (released, _) = state.store.release_pause_holds().await?;
    state.queue.announce(Topic::Send, &released);
    Ok(Json(Resumed { conversations: released.len() }))
}

fn no_such_pause() -> Problem {
    Problem::not_found("pause_not_found", "There is no such pause: GET /admin/pauses lists those there are.")
}
