//! What our own endpoints answer when they refuse: problem+json (RFC 9457) with a stable code and a request id.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use uuid::Uuid;

/// The largest JSON body that [`StrictJson`] reads, in bytes.
pub const JSON_BODY_BYTES_MAX: usize = 1_048_576;
/// The header that carries the request id in every answer.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

tokio::task_local! {
    /// Set by [`with_request_id`] around everything that makes an answer.
    static REQUEST_ID: RequestId;
}

/// Names one request in answers and log lines. Made here, never taken from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

/// A refusal, as the client gets it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` says what happened.
    #[serde(rename = "type")]
    kind: ProblemType,
    /// The name of the status.
    #[schema(example = "Not Found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What happened and what to do, for people.
    detail: String,
    /// What happened, for programs. Never changes its meaning.
    #[schema(example = "agent_not_found")]
    code: &'static str,
    /// Give this to the operator; it stands in the log, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
    /// The fields that were wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
}

/// RFC 9457 names a problem by an address; ours are named by their `code`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
enum ProblemType {
    #[serde(rename = "about:blank")]
    Blank,
}

/// One field that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field, such as `keywords[2]`.
    pub field: String,
    /// What is wrong with it and what to do.
    pub message: String,
}

/// A JSON object of type `T`, at most [`JSON_BODY_BYTES_MAX`] bytes. `T` denies unknown fields; a refusal names the field.
#[derive(Debug, Clone, Copy)]
pub struct StrictJson<T>(pub T);

/// A query string of type `T`. `T` denies unknown fields; a refusal says which parameter.
#[derive(Debug, Clone, Copy)]
pub struct StrictQuery<T>(pub T);

/// Gives every request an id: in the answer's `x-request-id`, in problems, as an extension [`RequestId`]. The outermost
/// middleware, so that the answers of the others have it, too.
pub async fn with_request_id(mut request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::now_v7());
    request.headers_mut().remove(&REQUEST_ID_HEADER);
    request.extensions_mut().insert(id);
    let mut response = REQUEST_ID.scope(id, next.run(request)).await;
    if let Ok(value) = HeaderValue::from_str(&id.0.to_string()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    response
}

/// The answer for a path that does not exist; for `Router::fallback`.
pub async fn no_such_path() -> Problem {
    Problem::not_found("no_such_path", "There is nothing at this path: /openapi.json lists what there is.")
}

/// The answer for a method that a path does not take; for `Router::method_not_allowed_fallback`.
pub async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path does not take this method: the header `allow` lists those it takes.",
    )
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: ProblemType::Blank,
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            request_id: None,
            errors: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// 400: the request cannot be read.
    #[must_use]
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401: who asks is not known.
    #[must_use]
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// 403: what is asked for is not for who asks.
    #[must_use]
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: what is asked for does not exist.
    #[must_use]
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 409: what is asked for does not go with what there is.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 422: the request can be read and its content does not fit.
    #[must_use]
    pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 413: more than `bytes_max`.
    #[must_use]
    pub fn too_large(bytes_max: usize) -> Self {
        let detail = format!("The body is larger than {bytes_max} bytes: send less at once.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// 503 with `Retry-After`: it would work a little later. Less than a second is told as one.
    #[must_use]
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self {
            retry_after_seconds: Some(u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        }
    }

    /// 500: our own fault. `error` goes to the log, under the request id, and not to the client.
    #[must_use]
    pub fn internal(error: impl Display) -> Self {
        let request_id = current_request_id().map(|id| id.to_string()).unwrap_or_default();
        tracing::error!(%error, request_id, "a request failed");
        let detail = "Something failed on our side: try again, and give the request id to the operator if it stays.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Adds one field that was wrong.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(FieldProblem { field: field.into(), message: message.into() });
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What happened, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }
}

fn current_request_id() -> Option<Uuid> {
    REQUEST_ID.try_with(|id| id.0).ok()
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.request_id = self.request_id.or_else(current_request_id);
        let mut response = (self.status(), Json(&self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl<S, T> FromRequest<S> for StrictJson<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    /// The content type is not asked for: an admin key stands in a header that no foreign page can set.
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = whole_body(request.into_body()).await?;
        // serde would take a list for a struct, field after field.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::unprocessable("body_invalid", "The body is a list: send one JSON object."));
        }
        match Json::<T>::from_bytes(&bytes) {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::JsonDataError(error)) => Err(data_problem(&innermost(&error))),
            Err(error) => Err(syntax_problem(&innermost(&error), bytes.is_empty())),
        }
    }
}

impl<S, T> FromRequestParts<S> for StrictQuery<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(query_problem(&innermost(&error))),
        }
    }
}

async fn whole_body(body: Body) -> Result<bytes::Bytes, Problem> {
    axum::body::to_bytes(body, JSON_BODY_BYTES_MAX).await.map_err(|error| {
        let error = innermost(&error);
        match error.contains("length limit") {
            true => Problem::too_large(JSON_BODY_BYTES_MAX),
            false => Problem::bad_request("body_unreadable", format!("The body broke off: {error}. Send it again.")),
        }
    })
}

/// The text of the deepest cause, without the frameworks' words around it.
fn innermost(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn syntax_problem(error: &str, empty: bool) -> Problem {
    let detail = match empty {
        true => "The body is empty: send a JSON object.".to_owned(),
        false => format!("The body is not JSON: {error}. Mend it there and send it again."),
    };
    Problem::bad_request("body_not_json", detail)
}

fn data_problem(error: &str) -> Problem {
    let (field, message) = field_and_message(error);
    Problem::unprocessable("body_invalid", format!("{}. Mend it and send the body again.", sentence(&field, &message)))
        .with_field(field, message)
}

fn query_problem(error: &str) -> Problem {
    let (field, message) = field_and_message(error);
    Problem::bad_request("query_invalid", format!("{}. Mend the query of the address.", sentence(&field, &message)))
        .with_field(field, message)
}

fn sentence(field: &str, message: &str) -> String {
    match field {
        "" => format!("The whole {message}"),
        _ => format!("`{field}` {message}"),
    }
}

/// From serde's words, `path: what` or only `what`, to the field and what is wrong with it.
fn field_and_message(error: &str) -> (String, String) {
    let (path, what) = match error.split_once(": ") {
        Some((path, what)) if !path.contains(' ') => (path, what),
        _ => ("", error),
    };
    let what = what.rsplit_once(" at line ").map_or(what, |(what, _)| what);
    for (start, meaning) in [("missing field ", "is missing"), ("duplicate field ", "stands twice")] {
        if let Some(name) = what.strip_prefix(start) {
            return (below(path, name.trim_matches('`')), meaning.to_owned());
        }
    }
    if let Some(rest) = what.strip_prefix("unknown field `")
        && let Some((name, expected)) = rest.split_once('`')
    {
        let expected = expected.trim_start_matches(", ").replace("expected one of ", "").replace("expected ", "");
        let known = if expected.starts_with('`') { format!("; known are {expected}") } else { String::new() };
        return (below(path, name), format!("is not known here{known}"));
    }
    (path.to_owned(), format!("does not fit: {}", plain(what)))
}

/// The same without the words of the language that this is written in.
fn plain(what: &str) -> String {
    for (start, meaning) in [
        ("UUID parsing failed", "it is no UUID"),
        ("invalid digit found in string", "it is no whole number"),
        ("number too ", "it is no whole number within its bounds"),
    ] {
        if what.starts_with(start) {
            return meaning.to_owned();
        }
    }
    if let Some((word, expected)) =
        what.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected "))
    {
        return format!("{word} is no word for it, expected {expected}");
    }
    let Some((found, expected)) = what.split_once(", expected ") else { return what.to_owned() };
    let found = found.replace("invalid type: map", "invalid type: object").replace("type: sequence", "type: list");
    let found = found.replace("floating point", "number");
    let expected = match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" if found.starts_with("invalid value") => {
            "a whole number within its bounds"
        }
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum ") => "an object",
        other => other,
    };
    format!("{found}, expected {expected}")
}

/// `name` inside `path`. Some errors already carry the name at the end of their path.
fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        _ => format!("{path}.{name}"),
    }
}
