//! Nodes and edges besides messages: the phone number, media by id, templates.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::errors::GraphError;
use crate::graph_api::template_create::new_template;
use crate::graph_api::{Call, Outcome, admit, answer, refusal_of};
use crate::shared::Shared;
use crate::view::{FaultKind, FaultOn};
use crate::world::World;
use crate::world::templates::Template;

/// Templates in a page where the caller does not say.
const PAGE_DEFAULT: usize = 25;
/// Templates in a page at most.
const PAGE_MAX: usize = 100;

type QueryMap = Query<HashMap<String, String>>;

/// `GET /{id}`: the phone number, a file, or a template.
pub(crate) async fn node(
    State(shared): State<Arc<Shared>>,
    Path((version, id)): Path<(String, String)>,
    Query(query): QueryMap,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (outcome, fault) = shared.act(|world| match admit(world, &version, &headers) {
        Err(refusal) => (Err(refusal), None),
        Ok(()) if id == world.config.phone_number_id => (Ok(selected(phone_number(world), &query)), None),
        Ok(()) => match world.templates.by_id(&id) {
            Some(template) => (Ok(selected(template.node(), &query)), None),
            None => media_node(world, &id, &query),
        },
    });
    answer(&shared, Call::new(method, &uri), outcome, fault).await
}

/// `DELETE /{media_id}`.
pub(crate) async fn delete_node(
    State(shared): State<Arc<Shared>>,
    Path((version, id)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let outcome = shared.act(|world| {
        admit(world, &version, &headers)?;
        let removed = world.media.remove(&id);
        removed.then(|| json!({ "success": true })).ok_or_else(|| GraphError::no_such_object(&id, "delete"))
    });
    answer(&shared, Call::new(method, &uri), outcome, None).await
}

fn phone_number(world: &World) -> Value {
    let config = &world.config;
    let level = if config.throughput_messages_per_second > 80 { "HIGH" } else { "STANDARD" };
    json!({
        "id": config.phone_number_id,
        "display_phone_number": format!("+{}", config.display_phone_number),
        "verified_name": config.verified_name,
        "quality_rating": "GREEN",
        "code_verification_status": "VERIFIED",
        "platform_type": "CLOUD_API",
        "status": "CONNECTED",
        "name_status": "APPROVED",
        "throughput": { "level": level },
        "whatsapp_business_manager_messaging_limit": "TIER_UNLIMITED",
        "health_status": { "can_send_message": "AVAILABLE" },
    })
}

/// Only the members that `fields` names, and the id; all where it is absent.
fn selected(node: Value, query: &HashMap<String, String>) -> Value {
    let (Some(fields), Value::Object(node)) = (query.get("fields"), &node) else {
        return node;
    };
    let names: Vec<&str> = fields.split(',').map(|name| name.split(['{', '.']).next().unwrap_or(name).trim()).collect();
    let kept: Map<String, Value> = node
        .iter()
        .filter(|(key, _)| *key == "id" || names.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Value::Object(kept)
}

fn media_node(world: &mut World, id: &str, query: &HashMap<String, String>) -> (Outcome, Option<FaultKind>) {
    let fault = world.faults.take(FaultOn::Media, None, |_| true);
    if let Some(refusal) = refusal_of(&fault) {
        return (Err(refusal), fault);
    }
    let other_number = query.get("phone_number_id").is_some_and(|number| *number != world.config.phone_number_id);
    let Some(file) = world.media.get(id, world.now()).filter(|_| !other_number).cloned() else {
        return (Err(GraphError::no_such_object(id, "get")), fault);
    };
    let url = world.media_address(id);
    let node = json!({
        "messaging_product": "whatsapp",
        "url": url,
        "mime_type": file.mime_type,
        "sha256": file.sha256_hex(),
        "file_size": file.bytes.len(),
        "id": id,
    });
    (Ok(node), fault)
}

/// `GET /{waba_id}/message_templates` with `fields`, `limit`, `after`, `name`, `language`, `status`, `category`.
pub(crate) async fn list_templates(
    State(shared): State<Arc<Shared>>,
    Path((version, id)): Path<(String, String)>,
    Query(query): QueryMap,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (outcome, fault) = shared.act(|world| {
        faulted(world, |world| {
            admit(world, &version, &headers)?;
            check_account(world, &id, "get")?;
            page(world, &version, &query)
        })
    });
    answer(&shared, Call::new(method, &uri), outcome, fault).await
}

/// A call about templates, unless a fault strikes first.
fn faulted(world: &mut World, call: impl FnOnce(&mut World) -> Outcome) -> (Outcome, Option<FaultKind>) {
    let fault = world.faults.take(FaultOn::Templates, None, |_| true);
    match refusal_of(&fault) {
        Some(refusal) => (Err(refusal), fault),
        None => (call(world), fault),
    }
}

fn check_account(world: &World, id: &str, method: &str) -> Result<(), GraphError> {
    if id == world.config.waba_id { Ok(()) } else { Err(GraphError::no_such_object(id, method)) }
}

fn page(world: &World, version: &str, query: &HashMap<String, String>) -> Outcome {
    let limit = match query.get("limit") {
        None => PAGE_DEFAULT,
        Some(text) => match text.parse::<usize>() {
            Ok(limit) if limit > 0 => limit.min(PAGE_MAX),
            _ => return Err(GraphError::parameter("Param limit must be a positive integer.")),
        },
    };
    let wanted: Vec<&Template> = world.templates.all().iter().filter(|template| matches(template, query)).collect();
    let start = match query.get("after") {
        None => 0,
        Some(cursor) => {
            1 + wanted
                .iter()
                .position(|template| cursor_of(template) == *cursor)
                .ok_or_else(|| GraphError::parameter("Invalid cursor"))?
        }
    };
    let shown: Vec<&&Template> = wanted.iter().skip(start).take(limit).collect();
    let mut answer =
        json!({ "data": shown.iter().map(|template| selected(template.node(), query)).collect::<Vec<_>>() });
    if let (Some(first), Some(last)) = (shown.first(), shown.last()) {
        answer["paging"] = json!({ "cursors": { "before": cursor_of(first), "after": cursor_of(last) } });
        if start + shown.len() < wanted.len() {
            let account = &world.config.waba_id;
            let base = format!("{}/{version}/{account}/message_templates", world.public_url);
            answer["paging"]["next"] = json!(format!("{base}?limit={limit}&after={}", cursor_of(last)));
        }
    }
    Ok(answer)
}

fn matches(template: &Template, query: &HashMap<String, String>) -> bool {
    let same = |key: &str, own: &str| query.get(key).is_none_or(|wanted| wanted.eq_ignore_ascii_case(own));
    let named = query.get("name").is_none_or(|wanted| template.name.contains(wanted.as_str()));
    named
        && same("language", &template.language)
        && same("status", &template.status)
        && same("category", &template.category)
}

fn cursor_of(template: &Template) -> String {
    URL_SAFE_NO_PAD.encode(&template.id)
}

/// `POST /{waba_id}/message_templates`.
pub(crate) async fn create_template(
    State(shared): State<Arc<Shared>>,
    Path((version, id)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut call = Call::new(method, &uri);
    call.body = serde_json::from_slice(&body).ok();
    let (outcome, fault) = shared.act(|world| {
        faulted(world, |world| {
            admit(world, &version, &headers)?;
            check_account(world, &id, "post")?;
            let body = call.body.as_ref().ok_or_else(|| GraphError::parameter("The request body is not JSON."))?;
            let template = new_template(world, body)?;
            let added = world.add_template(template);
            Ok(json!({ "id": added.id, "status": added.status, "category": added.category }))
        })
    });
    answer(&shared, call, outcome, fault).await
}

/// `DELETE /{waba_id}/message_templates?name=…[&hsm_id=…]`.
pub(crate) async fn delete_templates(
    State(shared): State<Arc<Shared>>,
    Path((version, id)): Path<(String, String)>,
    Query(query): QueryMap,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let outcome = shared.act(|world| {
        admit(world, &version, &headers)?;
        check_account(world, &id, "delete")?;
        let name = query.get("name").ok_or_else(|| GraphError::parameter("The parameter name is required."))?;
        let removed = world.templates.remove(name, query.get("hsm_id").map(String::as_str));
        let missing = || GraphError::parameter(format!("Message template \"{name}\" could not be found."));
        if removed > 0 { Ok(json!({ "success": true })) } else { Err(missing()) }
    });
    answer(&shared, Call::new(method, &uri), outcome, None).await
}
