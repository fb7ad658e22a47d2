//! The control API under `/sim`: the README describes every call.

mod events;

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::graph_api::files::{Form, file_response};
use crate::simulator::{BATCH_MESSAGES_MAX, RAW_WEBHOOK_BYTES_MAX, Simulator, Split};
use crate::view::{ControlError, FaultSpec, InboundSpec, PhoneSpec};
use crate::world::log::Signing;
use crate::world::media::MEDIA_FILE_BYTES_MAX;

/// Bytes of a JSON body.
pub const CONTROL_BODY_BYTES_MAX: usize = 5 * 1_024 * 1_024;
/// Log entries in an answer where the caller does not say.
const LOG_ENTRIES_DEFAULT: usize = 100;
/// Log entries in an answer at most.
const LOG_ENTRIES_MAX: usize = 1_000;

pub(crate) fn router(simulator: Simulator) -> Router {
    let upload = post(upload).layer(DefaultBodyLimit::max(MEDIA_FILE_BYTES_MAX + 64 * 1_024));
    Router::new()
        .route("/sim/state", get(state))
        .route("/sim/webhook", post(set_webhook))
        .route("/sim/webhook/verify", post(verify_webhook))
        .route("/sim/webhooks", get(webhooks))
        .route("/sim/webhooks/raw", post(raw_webhook))
        .route("/sim/requests", get(requests))
        .route("/sim/accepted", get(accepted))
        .route("/sim/phones", get(phones).post(add_phone))
        .route("/sim/phones/{id}", delete(remove_phone))
        .route("/sim/phones/{id}/chat", get(chat))
        .route("/sim/phones/{id}/messages", post(post_message))
        .route("/sim/phones/{id}/media", upload)
        .route("/sim/phones/{id}/read", post(read))
        .route("/sim/batch", post(batch))
        .route("/sim/media/{id}", get(media))
        .route("/sim/clock", get(clock).post(move_clock))
        .route("/sim/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/sim/templates/{id}/status", post(template_status))
        .route("/sim/templates/{id}/quality", post(template_quality))
        .route("/sim/templates/{id}/category", post(template_category))
        .route("/sim/templates/{id}/body", post(template_body))
        .route("/sim/events", get(events::stream))
        .route("/sim/reset", post(reset))
        .layer(middleware::from_fn(same_site))
        .layer(DefaultBodyLimit::max(CONTROL_BODY_BYTES_MAX))
        .with_state(simulator)
}

/// A page of another site must not press our buttons.
async fn same_site(request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if matches!(site, Some("cross-site" | "same-site")) {
        let body = Json(json!({ "error": "requests of other sites are refused" }));
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    next.run(request).await
}

type Answer = Result<Json<Value>, ControlError>;

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Full(_) => StatusCode::CONFLICT,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// A JSON body; nothing at all stands for `{}`.
fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, ControlError> {
    let body = if body.is_empty() { b"{}" } else { &body[..] };
    serde_json::from_slice(body).map_err(|error| ControlError::Invalid(format!("the body does not fit: {error}")))
}

fn shown(value: impl serde::Serialize) -> Answer {
    let value = serde_json::to_value(value);
    value.map(Json).map_err(|error| ControlError::Invalid(format!("the answer cannot be written: {error}")))
}

async fn state(State(simulator): State<Simulator>) -> Answer {
    shown(simulator.state())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookBody {
    url: Option<String>,
}

async fn set_webhook(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let WebhookBody { url } = parsed(&body)?;
    simulator.set_webhook(url.as_deref())?;
    Ok(Json(json!({ "webhook_url": url })))
}

async fn verify_webhook(State(simulator): State<Simulator>) -> Answer {
    shown(simulator.verify_webhook().await)
}

type QueryMap = Query<HashMap<String, String>>;

fn limit(query: &HashMap<String, String>) -> usize {
    let asked = query.get("limit").and_then(|text| text.parse().ok());
    asked.unwrap_or(LOG_ENTRIES_DEFAULT).min(LOG_ENTRIES_MAX)
}

async fn webhooks(State(simulator): State<Simulator>, Query(query): QueryMap) -> Answer {
    Ok(Json(json!({ "webhooks": simulator.deliveries(limit(&query)) })))
}

async fn requests(State(simulator): State<Simulator>, Query(query): QueryMap) -> Answer {
    Ok(Json(json!({ "requests": simulator.newest_requests(limit(&query)) })))
}

async fn accepted(State(simulator): State<Simulator>) -> Answer {
    shown(simulator.accepted())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhookBody {
    /// A string goes out as it is, anything else as JSON.
    body: Value,
    #[serde(default)]
    signature: Signing,
}

async fn raw_webhook(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let RawWebhookBody { body, signature } = parsed(&body)?;
    let number = match body {
        Value::String(text) if text.len() <= RAW_WEBHOOK_BYTES_MAX => {
            simulator.send_raw(Bytes::from(text), signature)?
        }
        body => simulator.send_raw_json(&body, signature)?,
    };
    Ok(Json(json!({ "number": number })))
}

async fn phones(State(simulator): State<Simulator>) -> Answer {
    Ok(Json(json!({ "phones": simulator.phones() })))
}

async fn add_phone(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    shown(simulator.add_phone(parsed::<PhoneSpec>(&body)?)?)
}

async fn remove_phone(State(simulator): State<Simulator>, Path(id): Path<String>) -> Answer {
    simulator.remove_phone(&id)?;
    Ok(Json(json!({ "removed": true })))
}

async fn chat(State(simulator): State<Simulator>, Path(id): Path<String>) -> Answer {
    Ok(Json(json!({ "phone": simulator.phone(&id)?, "bubbles": simulator.chat(&id)? })))
}

async fn post_message(State(simulator): State<Simulator>, Path(id): Path<String>, body: Bytes) -> Answer {
    let wamid = simulator.post(&id, parsed::<InboundSpec>(&body)?)?;
    Ok(Json(json!({ "wamid": wamid })))
}

async fn upload(
    State(simulator): State<Simulator>,
    Path(id): Path<String>,
    multipart: Result<Multipart, MultipartRejection>,
) -> Answer {
    simulator.phone(&id)?;
    let form = Form::read(multipart).await.map_err(ControlError::Invalid)?;
    let bytes = form.bytes.ok_or_else(|| ControlError::Invalid("the form has no part named file".to_owned()))?;
    let mime_type = form.content_type.unwrap_or_default();
    let length = bytes.len();
    let media_id = simulator.upload(&mime_type, form.filename.as_deref(), bytes)?;
    Ok(Json(json!({ "media_id": media_id, "mime_type": mime_type, "bytes": length })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBody {
    #[serde(default)]
    played: Vec<String>,
}

async fn read(State(simulator): State<Simulator>, Path(id): Path<String>, body: Bytes) -> Answer {
    let ReadBody { played } = parsed(&body)?;
    let (read, played) = simulator.read(&id, &played)?;
    Ok(Json(json!({ "read": read, "played": played })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    messages: Vec<BatchMessage>,
    #[serde(default)]
    split: Split,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchMessage {
    phone: String,
    message: InboundSpec,
}

async fn batch(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let BatchBody { messages, split } = parsed(&body)?;
    let taken = messages.into_iter().take(BATCH_MESSAGES_MAX + 1);
    let messages: Vec<(String, InboundSpec)> = taken.map(|one| (one.phone, one.message)).collect();
    Ok(Json(json!({ "wamids": simulator.post_batch(&messages, split)? })))
}

async fn media(State(simulator): State<Simulator>, Path(id): Path<String>) -> Result<Response, ControlError> {
    simulator.file(&id).map(file_response)
}

async fn clock(State(simulator): State<Simulator>) -> Answer {
    shown(simulator.clock())
}

async fn move_clock(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    shown(simulator.move_clock(parsed(&body)?)?)
}

async fn faults(State(simulator): State<Simulator>) -> Answer {
    Ok(Json(json!({ "faults": simulator.faults() })))
}

async fn add_fault(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    simulator.add_fault(parsed::<FaultSpec>(&body)?)?;
    faults(State(simulator)).await
}

async fn clear_faults(State(simulator): State<Simulator>) -> Answer {
    simulator.clear_faults();
    faults(State(simulator)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateStatusBody {
    status: String,
    reason: Option<String>,
}

async fn template_status(State(simulator): State<Simulator>, Path(id): Path<String>, body: Bytes) -> Answer {
    let TemplateStatusBody { status, reason } = parsed(&body)?;
    shown(simulator.set_template_status(&id, &status, reason.as_deref())?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateQualityBody {
    quality: String,
}

async fn template_quality(State(simulator): State<Simulator>, Path(id): Path<String>, body: Bytes) -> Answer {
    let TemplateQualityBody { quality } = parsed(&body)?;
    shown(simulator.set_template_quality(&id, &quality)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateCategoryBody {
    category: String,
    #[serde(default)]
    only_announced: bool,
}

async fn template_category(State(simulator): State<Simulator>, Path(id): Path<String>, body: Bytes) -> Answer {
    let TemplateCategoryBody { category, only_announced } = parsed(&body)?;
    shown(simulator.set_template_category(&id, &category, only_announced)?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateBodyBody {
    text: String,
}

async fn template_body(State(simulator): State<Simulator>, Path(id): Path<String>, body: Bytes) -> Answer {
    let TemplateBodyBody { text } = parsed(&body)?;
    shown(simulator.set_template_body(&id, &text)?)
}

async fn reset(State(simulator): State<Simulator>) -> Answer {
    simulator.reset();
    Ok(Json(json!({ "reset": true })))
}
