//! `/admin/templates`: message templates as WhatsApp knows them, new ones, and what a send would look like.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{FieldProblem, Problem, StrictJson, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::agents::words_schema;
use super::bounds::Faults;
use super::page::{Page, PageRows, text_cursor};
use crate::domain::template::news::NewTemplate;
use crate::domain::template::{
    ButtonValue, HeaderValue, ParameterFormat, TEMPLATE_NAME_CHARACTERS_MAX, TemplateCategory, TemplateParts,
    TemplateQuality, TemplateStatus, TemplateUse, TextValue,
};
use crate::store::{TemplateFilter, TemplateRow};
use crate::templates::{CreateError, SyncError, TemplateFault, contract, creation, render};

/// The most languages of a template that are shown. WhatsApp knows about seventy.
pub(super) const LANGUAGES_MAX: i64 = 200;
/// When a caller may come back after WhatsApp could not answer.
const WHATSAPP_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A template in one language.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateView {
    /// Its name.
    #[schema(example = "order_ready")]
    name: String,
    /// Its language.
    #[schema(example = "pt_BR")]
    language: String,
    /// WhatsApp's id of it.
    provider_template_id: Option<String>,
    /// Where it stands in WhatsApp's review.
    status: TemplateStatus,
    /// Whether WhatsApp takes messages with it: only with the status `approved`.
    may_be_sent: bool,
    /// Why it has that status, in WhatsApp's words.
    status_reason: Option<String>,
    /// What it counts as: the price follows from it.
    category: TemplateCategory,
    /// What WhatsApp says that it will count as soon.
    announced_category: Option<TemplateCategory>,
    /// What the people who got it think of it.
    quality: TemplateQuality,
    /// Whether its variables have names or numbers.
    parameter_format: ParameterFormat,
    /// What it consists of.
    parts: TemplateParts,
    /// Since when WhatsApp no longer lists it.
    gone_at: Option<Timestamp>,
    /// When we first heard of it.
    created_at: Timestamp,
    /// When it last changed.
    updated_at: Timestamp,
    /// Names the row in a cursor.
    #[serde(skip)]
    key: String,
}

impl From<TemplateRow> for TemplateView {
    fn from(row: TemplateRow) -> Self {
        let template = row.record.template;
        Self {
            key: format!("{}/{}", template.name, template.language),
            name: template.name,
            language: template.language,
            provider_template_id: template.provider_template_id,
            status: template.status,
            may_be_sent: template.status.may_be_sent(),
            status_reason: template.status_reason,
            category: template.category,
            announced_category: row.announced_category,
            quality: template.quality,
            parameter_format: template.parameter_format,
            parts: template.parts,
            gone_at: row.gone_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Which templates, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only those that stand here.
    #[param(schema_with = status_schema)]
    status: Option<TemplateStatus>,
    /// Only those whose name holds this.
    #[param(max_length = 512)]
    name: Option<String>,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists templates by name and language, as WhatsApp last described them.
#[utoipa::path(
    get,
    path = "/templates",
    operation_id = "list_templates",
    tag = "templates",
    params(ListQuery),
    responses((status = 200, body = Page<TemplateView>, description = "A page of templates.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<TemplateView>>, Problem> {
    let waba_id = account(&state)?;
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let after = text_cursor(query.cursor.as_deref())?;
    let mut faults = Faults::default();
    faults.check_text("name", query.name.as_deref().unwrap_or_default(), TEMPLATE_NAME_CHARACTERS_MAX);
    faults.into_result("template_filter_invalid")?;
    let filter = TemplateFilter { status: query.status, name_part: query.name };
    let after = after.rsplit_once('/').unwrap_or((&after, ""));
    let templates = state.store.templates(waba_id, &filter, after, rows.to_fetch()).await?;
    let templates = templates.into_iter().map(TemplateView::from).collect();
    Ok(Json(rows.page(templates, |template: &TemplateView| template.key.as_bytes())))
}

/// A template in all of its languages.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateLanguages {
    /// Its name.
    name: String,
    /// Each language, in the order of their codes.
    languages: Vec<TemplateView>,
}

/// Reads a template in all of its languages.
#[utoipa::path(
    get,
    path = "/templates/{name}",
    operation_id = "read_template",
    tag = "templates",
    params(("name" = String, Path, description = "The template's name.")),
    responses((status = 200, body = TemplateLanguages, description = "The template.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(name): StrictPath<String>,
) -> Result<Json<TemplateLanguages>, Problem> {
    let languages: Vec<TemplateView> = named(&state, &name).await?.into_iter().map(TemplateView::from).collect();
    Ok(Json(TemplateLanguages { name, languages }))
}

/// A template to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTemplate {
    /// a-z, 0-9 and underscores.
    #[schema(min_length = 1, max_length = 512, example = "order_ready")]
    name: String,
    /// WhatsApp's code of the language.
    #[schema(example = "pt_BR")]
    language: String,
    /// What it is to count as. WhatsApp may decide otherwise, now or later.
    category: TemplateCategory,
    /// Whether its variables have names or numbers; numbers unless told otherwise.
    #[serde(default = "positional")]
    parameter_format: ParameterFormat,
    /// Its parts with their examples, in the shape of WhatsApp's API.
    #[schema(value_type = Vec<Object>, example = json!([{
        "type": "BODY", "text": "Your order {{1}} is ready.", "example": { "body_text": [["1001"]] }
    }]))]
    components: Value,
}

/// A template that was handed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedTemplate {
    /// Its name.
    name: String,
    /// Its language.
    language: String,
    /// WhatsApp's id of it.
    provider_template_id: Option<String>,
    /// Where it stands: `pending` as a rule.
    status: TemplateStatus,
    /// What WhatsApp takes it for; it need not be what was asked for.
    category: TemplateCategory,
    /// What happens now.
    #[schema(example = "PENDING: WhatsApp reviews it, which takes minutes to a day; a webhook tells the outcome.")]
    note: String,
}

/// Hands a new template in for WhatsApp's review. What a program can check is checked before.
#[utoipa::path(
    post,
    path = "/templates",
    operation_id = "create_template",
    tag = "templates",
    params(ActorHeader),
    request_body = CreateTemplate,
    responses(
        (status = 201, body = CreatedTemplate, description = "Handed in."),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "It exists already, or no account is set."),
    ),
)]
pub async fn create(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictJson(body): StrictJson<CreateTemplate>,
) -> Result<impl IntoResponse, Problem> {
    let waba_id = account(&state)?;
    let new = NewTemplate {
        name: body.name,
        language: body.language,
        category: body.category,
        parameter_format: body.parameter_format,
        components: body.components,
    };
    refuse("template_invalid", creation::faults(&new))?;
    let known = state.store.templates_named(waba_id, &new.name, LANGUAGES_MAX).await?;
    if known.iter().any(|row| row.gone_at.is_none() && row.record.template.language == new.language) {
        let (name, language) = (&new.name, &new.language);
        return Err(Problem::conflict(
            "template_exists",
            format!("The template {name} exists in {language}: choose another name, or change it in WhatsApp Manager."),
        ));
    }
    let asked = new.category;
    let made = state.templates.create(new, actor).await.map_err(not_made)?;
    let review = match made.status {
        TemplateStatus::Pending => {
            "PENDING: WhatsApp reviews it, which takes minutes to a day; a webhook tells the outcome.".to_owned()
        }
        status => format!("{}: WhatsApp has decided at once.", status.as_str().to_ascii_uppercase()),
    };
    let moved = if made.category == asked {
        String::new()
    } else {
        format!(" WhatsApp takes it for {}, not {}.", made.category.as_str(), asked.as_str())
    };
    let created = CreatedTemplate {
        name: made.name,
        language: made.language,
        provider_template_id: made.provider_template_id,
        status: made.status,
        category: made.category,
        note: format!("{review}{moved}"),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// What to fill in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewTemplate {
    /// The language.
    #[schema(example = "pt_BR")]
    language: String,
    /// What stands in the header, where it has something to fill in.
    #[serde(default)]
    header: Option<HeaderValue>,
    /// The values of the body's variables: in their order, or each with its name.
    #[serde(default)]
    body: Vec<TextValue>,
    /// What the buttons need.
    #[serde(default)]
    buttons: Vec<ButtonValue>,
}

/// A template with its values.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplatePreview {
    /// Where the template stands.
    status: TemplateStatus,
    /// Whether WhatsApp takes messages with it at all.
    may_be_sent: bool,
    /// What a message with it counts as.
    category: TemplateCategory,
    /// Whether the values fit: `faults` is empty.
    fits: bool,
    /// Everything that does not fit.
    faults: Vec<FieldProblem>,
    /// What the person would read: header, body, footer. Variables without a value stand as they are.
    text: String,
    /// Its parts.
    rendered: RenderedView,
    /// The exact request, without the recipient and the token; or why there can be none.
    request: Value,
}

/// The parts of a template with its values.
#[derive(Debug, Serialize, ToSchema)]
pub struct RenderedView {
    /// Its header: words, or which kind of file or place stands there.
    header: Option<String>,
    /// Its words.
    body: String,
    /// What stands below.
    footer: Option<String>,
    /// Its buttons.
    buttons: Vec<RenderedButtonView>,
}

/// A button with its value.
#[derive(Debug, Serialize, ToSchema)]
pub struct RenderedButtonView {
    /// Its label.
    text: String,
    /// What it does: the address that it opens, the code that it copies, the payload that it brings back.
    target: Option<String>,
}

/// Shows what a template would say, what does not fit, and the exact request. Sends nothing.
#[utoipa::path(
    post,
    path = "/templates/{name}/preview",
    operation_id = "preview_template",
    tag = "templates",
    params(("name" = String, Path, description = "The template's name.")),
    request_body = PreviewTemplate,
    responses((status = 200, body = TemplatePreview, description = "The preview.")),
)]
pub async fn preview(
    State(state): State<SharedState>,
    StrictPath(name): StrictPath<String>,
    StrictJson(values): StrictJson<PreviewTemplate>,
) -> Result<Json<TemplatePreview>, Problem> {
    let rows = named(&state, &name).await?;
    let languages: Vec<&str> = rows.iter().map(|row| row.record.template.language.as_str()).collect();
    let missing = format!("The template has no such language: it has {}.", languages.join(", "));
    let Some(row) = rows.iter().find(|row| row.record.template.language == values.language) else {
        return Err(Problem::not_found("template_language_not_found", missing));
    };
    let template = &row.record.template;
    let filled = TemplateUse {
        name,
        language: values.language,
        header: values.header,
        body: values.body,
        buttons: values.buttons,
    };
    let faults = contract::faults(template, &filled);
    let rendered = render::render(template, &filled);
    Ok(Json(TemplatePreview {
        status: template.status,
        may_be_sent: template.status.may_be_sent(),
        category: template.category,
        fits: faults.is_empty(),
        faults: faults.into_iter().map(field_problem).collect(),
        text: rendered.text(),
        rendered: RenderedView {
            header: rendered.header,
            body: rendered.body,
            footer: rendered.footer,
            buttons: rendered
                .buttons
                .into_iter()
                .map(|button| RenderedButtonView { text: button.text, target: button.target })
                .collect(),
        },
        request: state.templates.request(&state.default_phone_number_id, &filled),
    }))
}

/// What a sync changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct SyncView {
    /// Templates that we had not heard of.
    new: usize,
    /// Templates that differ from what we knew.
    changed: usize,
    /// Templates that WhatsApp no longer lists.
    gone: usize,
}

/// Fetches the list of templates from WhatsApp now. It happens by itself, too: at the start, every
/// `MICAI_TEMPLATE_SYNC_INTERVAL_SECONDS`, and after a webhook about a template.
#[utoipa::path(
    post,
    path = "/templates/sync",
    operation_id = "sync_templates",
    tag = "templates",
    params(ActorHeader),
    responses(
        (status = 200, body = SyncView, description = "Fetched."),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "No account is set, another sync is under way, or WhatsApp refuses."),
    ),
)]
pub async fn sync(State(state): State<SharedState>, AdminActor(actor): AdminActor) -> Result<Json<SyncView>, Problem> {
    let Some(outcome) = state.templates.sync(actor).await else {
        return Err(no_account());
    };
    let changes = outcome.map_err(not_synced)?;
    Ok(Json(SyncView { new: changes.new, changed: changes.changed, gone: changes.gone }))
}

fn account(state: &HttpState) -> Result<&str, Problem> {
    state.templates.waba_id().ok_or_else(no_account)
}

pub(super) fn no_account() -> Problem {
    Problem::conflict(
        "business_account_unset",
        "No WhatsApp business account is set, so there are no templates: set MICAI_WHATSAPP_BUSINESS_ACCOUNT_ID.",
    )
}

/// The template in all of its languages; at least one.
async fn named(state: &HttpState, name: &str) -> Result<Vec<TemplateRow>, Problem> {
    let waba_id = account(state)?;
    let mut faults = Faults::default();
    faults.check_id("name", name, TEMPLATE_NAME_CHARACTERS_MAX);
    faults.into_result("template_name_invalid")?;
    let rows = state.store.templates_named(waba_id, name, LANGUAGES_MAX).await?;
    if rows.is_empty() {
        return Err(Problem::not_found(
            "template_not_found",
            "No template of this name is known: GET /admin/templates lists those there are, POST /admin/templates/sync \
             fetches them anew.",
        ));
    }
    Ok(rows)
}

fn refuse(code: &'static str, faults: Vec<TemplateFault>) -> Result<(), Problem> {
    let Some(first) = faults.first() else { return Ok(()) };
    let more = if faults.len() > 1 { " `errors` lists all." } else { "" };
    let problem = Problem::unprocessable(code, format!("{}{more}", first.sentence));
    Err(faults.into_iter().fold(problem, |problem, fault| problem.with_field(fault.field, fault.sentence)))
}

fn field_problem(fault: TemplateFault) -> FieldProblem {
    FieldProblem { field: fault.field, message: fault.sentence }
}

fn not_made(error: CreateError) -> Problem {
    match error {
        CreateError::NoAccount => no_account(),
        CreateError::Refused(reason) => Problem::unprocessable("template_refused", reason),
        CreateError::Unavailable(reason) => {
            let detail = format!("{reason} Nothing was made.");
            Problem::unavailable("whatsapp_unavailable", detail, WHATSAPP_RETRY_AFTER)
        }
        CreateError::Unknown(reason) => {
            let detail = format!(
                "{reason} It may have been made all the same: look with POST /admin/templates/sync before you try again."
            );
            Problem::unavailable("whatsapp_answer_lost", detail, WHATSAPP_RETRY_AFTER)
        }
        CreateError::Store(error) => {
            tracing::warn!(%error, "a template was made and could not be noted; the next sync does it");
            error.into()
        }
    }
}

fn not_synced(error: SyncError) -> Problem {
    if let SyncError::Store(error) = error {
        return error.into();
    }
    let detail = error.to_string();
    match error {
        SyncError::UnderWay => {
            Problem::conflict("sync_under_way", "Another sync is under way: look at the list in a moment.")
        }
        error if error.lasts() => Problem::conflict("whatsapp_refused", format!("{detail} The old list stays.")),
        _ => {
            let detail = format!("{detail} The old list stays.");
            Problem::unavailable("whatsapp_unavailable", detail, WHATSAPP_RETRY_AFTER)
        }
    }
}

fn positional() -> ParameterFormat {
    ParameterFormat::Positional
}

fn status_schema() -> Object {
    words_schema(&TemplateStatus::ALL.map(TemplateStatus::as_str))
}
