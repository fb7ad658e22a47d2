//! The description of this interface, made from the code: the frame, what all operations share, and its two pages.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder};
use utoipa::{OpenApi as _, PartialSchema, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::auth::ADMIN_KEY_HEADER;
use super::error::Problem;
use super::state::SharedState;

const DOCUMENT_PATH: &str = "/openapi.json";
const PAGE_PATH: &str = "/docs";
const ADMIN_KEY_SCHEME: &str = "admin_key";
/// The reference page loads its own files only, and sets styles from its script.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
);

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "mic.ai",
        description = "Agents that live on a WhatsApp Business number. Every refusal is a problem (RFC 9457) with a \
                       stable `code`, a sentence that says what to do, and a request id, which also stands in the \
                       header `x-request-id` of every answer. Unknown fields and parameters are refused by name."
    ),
    tags(
        (name = "health", description = "Probes."),
        (name = "webhook", description = "What WhatsApp calls."),
        (name = "agents", description = "Who answers."),
        (name = "tools", description = "What agents can do beside talking, and which of them may."),
        (name = "rules", description = "What a message must say for an agent to give a certain answer."),
        (name = "schedules", description = "What is said to people at a time, once or again and again."),
        (name = "conversations", description = "Who wrote what, and what became of it."),
        (name = "contacts", description = "Who they are, and what they want to hear from us."),
        (name = "outbound", description = "The send ledger."),
        (name = "cost", description = "What messages cost, and how much may be spent."),
        (name = "letters", description = "Messages that will not move by themselves any more, and what to do about them."),
        (name = "templates", description = "Message templates: what WhatsApp knows of them, new ones, previews."),
        (name = "pauses", description = "What is not sent for the time being."),
        (name = "alerts", description = "What somebody must look at."),
        (name = "audit", description = "Who changed what."),
        (name = "events", description = "What changes, while it does."),
    )
)]
struct Frame;

/// The document without its operations.
pub(super) fn frame() -> OpenApi {
    Frame::openapi()
}

/// Adds what follows from the shape of an operation: the admin key, and the problems that it may answer with. So no
/// operation can forget them.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.security_schemes.insert(
        ADMIN_KEY_SCHEME.to_owned(),
        RefOr::T(SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            ADMIN_KEY_HEADER.as_str(),
            "The value of MICAI_ADMIN_API_KEY.",
        )))),
    );
    for (path, item) in &mut document.paths.paths {
        let is_admin = path.starts_with("/admin/");
        for operation in operations(item) {
            if is_admin {
                operation.security = Some(vec![SecurityRequirement::new(ADMIN_KEY_SCHEME, Vec::<String>::new())]);
            }
            for (status, description) in problems(operation, is_admin) {
                add_problem(operation, status, description);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

fn problems(operation: &Operation, is_admin: bool) -> Vec<(&'static str, &'static str)> {
    let has_parameter = |place: ParameterIn| {
        let is_there = |one: &RefOr<Parameter>| matches!(one, RefOr::T(parameter) if parameter.parameter_in == place);
        operation.parameters.iter().flatten().any(is_there)
    };
    let mut problems = vec![
        ("500", "A fault of ours; the request id leads to it in the log."),
        ("503", "The database cannot answer now, or the request took too long; `Retry-After` says when to come back."),
    ];
    if operation.request_body.is_some() {
        problems.push(("400", "The body is not JSON."));
        problems.push(("413", "The body is too large; the answer says which bound."));
    }
    if is_admin {
        problems.push(("401", "The admin key is missing or wrong, or none is configured."));
        if operation.request_body.is_some() {
            problems.push(("422", "The content does not fit; `errors` lists the fields."));
        }
        if has_parameter(ParameterIn::Query) {
            problems.push(("400", "A parameter does not fit; `errors` lists the parameters."));
        }
        if has_parameter(ParameterIn::Header) {
            problems.push(("400", "A header does not fit."));
        }
        if has_parameter(ParameterIn::Path) {
            problems.push(("404", "There is nothing under this id."));
        }
    }
    problems
}

/// An answer that the operation describes itself stays as it is.
fn add_problem(operation: &mut Operation, status: &str, description: &str) {
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
        let response = ResponseBuilder::new().description(description).content("application/problem+json", content);
        RefOr::T(response.build())
    });
}

/// `/openapi.json` and the reference page at `/docs`, both open: they hold nothing that is not in the source.
pub(super) fn pages(document: &OpenApi) -> Router<SharedState> {
    let json: axum::body::Bytes = serde_json::to_vec(document).unwrap_or_default().into();
    let serve_document = move || {
        let json = json.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], json) }
    };
    let config = Config::from(DOCUMENT_PATH).validator_url("none");
    let page: Router<SharedState> = SwaggerUi::new(PAGE_PATH).config(config).into();
    let policy = axum::middleware::map_response(async |response: axum::response::Response| {
        let headers: [(HeaderName, HeaderValue); 1] = [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)];
        (headers, response).into_response()
    });
    page.layer(policy).route(DOCUMENT_PATH, get(serve_document))
}
