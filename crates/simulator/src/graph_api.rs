//! The Graph API as far as messaging goes: messages, media, templates, the phone number node.

pub(crate) mod fields;
pub(crate) mod files;
pub(crate) mod interactive;
pub(crate) mod message;
pub(crate) mod nodes;
pub(crate) mod template_create;
pub(crate) mod template_use;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::errors::GraphError;
use crate::graph_api::message::{Asked, asked};
use crate::server::DropConnection;
use crate::shared::Shared;
use crate::view::{FaultKind, FaultOn, GraphRequestView, SimEvent};
use crate::world::World;
use crate::world::log::LOGGED_BODY_BYTES_MAX;
use crate::world::media::MEDIA_FILE_BYTES_MAX;
use crate::world::outbound::{Address, Outgoing};

/// Bytes of a JSON body.
pub const GRAPH_BODY_BYTES_MAX: usize = 1_024 * 1_024;
/// Room for the other parts of an upload, in bytes.
const MULTIPART_OVERHEAD_BYTES: usize = 64 * 1_024;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let uploads = post(files::upload).layer(DefaultBodyLimit::max(MEDIA_FILE_BYTES_MAX + MULTIPART_OVERHEAD_BYTES));
    let templates = get(nodes::list_templates).post(nodes::create_template).delete(nodes::delete_templates);
    Router::new()
        .route("/{version}/{id}/messages", post(send))
        .route("/{version}/{id}/media", uploads)
        .route("/{version}/{id}/message_templates", templates)
        .route("/{version}/{id}", get(nodes::node).delete(nodes::delete_node))
        .route("/attachments/{token}", get(files::download))
        .layer(DefaultBodyLimit::max(GRAPH_BODY_BYTES_MAX))
        .with_state(shared)
}

/// A call to the Graph API: what its log entry and its refusals need.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    pub(crate) phone_id: Option<String>,
    pub(crate) wamid: Option<String>,
}

impl Call {
    pub(crate) fn new(method: Method, uri: &Uri) -> Self {
        Self { method, path: uri.to_string(), body: None, phone_id: None, wamid: None }
    }
}

/// What a call comes to: the JSON of a 200, or a refusal.
pub(crate) type Outcome = Result<Value, GraphError>;

/// Refuses calls without the right token (190) and paths that are no version of the Graph API.
pub(crate) fn admit(world: &World, version: &str, headers: &HeaderMap) -> Result<(), GraphError> {
    let numbers = version.strip_prefix('v').and_then(|rest| rest.split_once('.'));
    let is_version = numbers.is_some_and(|(major, minor)| {
        [major, minor].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if !is_version {
        return Err(GraphError {
            status: 404,
            ..GraphError::new(2_500, format!("Unknown path components: /{version}"))
        });
    }
    check_token(world, headers)
}

pub(crate) fn check_token(world: &World, headers: &HeaderMap) -> Result<(), GraphError> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.map(|value| value.strip_prefix("Bearer ").unwrap_or(value)) {
        Some(token) if token == world.config.access_token => Ok(()),
        Some(_) => Err(GraphError {
            message: "Invalid OAuth access token - Cannot parse access token".to_owned(),
            details: None,
            ..GraphError::new(190, "")
        }),
        None => Err(GraphError {
            message: "An access token is required to request this resource.".to_owned(),
            details: None,
            ..GraphError::new(200, "")
        }),
    }
}

async fn send(
    State(shared): State<Arc<Shared>>,
    Path((version, id)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut call = Call::new(method, &uri);
    let parsed = serde_json::from_slice::<Value>(&body);
    let (outcome, fault) = shared.act(|world| {
        if let Err(refusal) = admit(world, &version, &headers) {
            return (Err(refusal), None);
        }
        if id != world.config.phone_number_id {
            return (Err(GraphError::no_such_object(&id, "post")), None);
        }
        let Ok(body) = &parsed else {
            return (Err(GraphError::parameter("The request body is not JSON.")), None);
        };
        perform(world, &mut call, body)
    });
    call.body = parsed.ok().filter(|_| body.len() <= LOGGED_BODY_BYTES_MAX);
    answer(&shared, call, outcome, fault).await
}

/// Does what the body asks for, unless a fault forbids it.
fn perform(world: &mut World, call: &mut Call, body: &Value) -> (Outcome, Option<FaultKind>) {
    let asked = match asked(world, body) {
        Ok(asked) => asked,
        Err(refusal) => return (Err(refusal), None),
    };
    match asked {
        Asked::Read { message_id, typing } => {
            call.phone_id = world.chat_of(&message_id).map(str::to_owned);
            let unknown = || GraphError::parameter("Invalid parameter: message_id is not a message of a user.");
            let outcome = world.mark_read(&message_id, typing).map(|_| json!({ "success": true })).ok_or_else(unknown);
            (outcome, None)
        }
        Asked::Send(outgoing) => {
            call.phone_id = world.phone_id_of(&outgoing.address);
            let fault = world.faults.take(FaultOn::Send, call.phone_id.as_deref(), |_| true);
            if let Some(refusal) = refusal_of(&fault) {
                return (Err(refusal), fault);
            }
            let hold = fault == Some(FaultKind::Hold);
            (world.check_policy(&outgoing).map(|()| accept(world, call, *outgoing, hold)), fault)
        }
    }
}

/// The refusal that a fault asks for before anything is done.
pub(crate) fn refusal_of(fault: &Option<FaultKind>) -> Option<GraphError> {
    match fault {
        Some(FaultKind::Error { code }) => Some(GraphError::new(*code, "Asked for by a fault.")),
        Some(FaultKind::Status { code, after_accepting: false }) => Some(unwell(*code)),
        _ => None,
    }
}

/// A server that is not well, or a proxy in front of it.
fn unwell(status: u16) -> GraphError {
    GraphError { status, ..GraphError::new(if status >= 500 { 2 } else { 1 }, "Asked for by a fault.") }
}

fn accept(world: &mut World, call: &mut Call, outgoing: Outgoing, hold: bool) -> Value {
    let contact = match &outgoing.address {
        Address::Number(number) => json!({ "input": outgoing.input, "wa_id": number }),
        Address::UserId(user_id) => json!({ "input": outgoing.input, "user_id": user_id }),
    };
    let is_template = outgoing.template_category.is_some();
    let wamid = world.accept(outgoing);
    call.wamid = Some(wamid.clone());
    let mut message = json!({ "id": wamid });
    if is_template || hold {
        message["message_status"] = json!(if hold { "held_for_quality_assessment" } else { "accepted" });
    }
    json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [message] })
}

/// Writes the call down and answers as the outcome and the fault say.
pub(crate) async fn answer(shared: &Shared, call: Call, outcome: Outcome, fault: Option<FaultKind>) -> Response {
    let accepted = outcome.is_ok();
    let told = match (&fault, outcome) {
        (Some(FaultKind::Status { code, after_accepting: true }), Ok(_)) => Err(unwell(*code)),
        (_, outcome) => outcome,
    };
    let dropped = fault == Some(FaultKind::DropAnswer) && accepted;
    let (status, body) = shared.act(|world| {
        let (status, body) = match told {
            Ok(body) => (200, body),
            Err(refusal) => {
                let body = refusal.body(&world.ids.token()[..23]);
                let (phone_id, code, message) = (call.phone_id.clone(), refusal.code, refusal.message);
                world.event(|| SimEvent::Failure { phone_id, source: "send".to_owned(), code: Some(code), message });
                (refusal.status, body)
            }
        };
        let bytes = body.to_string();
        world.requests.add(GraphRequestView {
            number: 0,
            at_milliseconds: world.now_milliseconds,
            method: call.method.to_string(),
            path: call.path,
            body: call.body,
            accepted,
            status: (!dropped).then_some(status),
            answer: (!dropped).then_some(body),
            phone_id: call.phone_id,
            wamid: call.wamid,
            fault: fault.clone(),
        });
        (status, bytes)
    });
    if let Some(FaultKind::Delay { ms }) = fault {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    if dropped {
        return DropConnection::response();
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
