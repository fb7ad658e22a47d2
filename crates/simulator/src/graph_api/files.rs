//! Media over HTTP: upload, and download by a short-lived address.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::json;

use crate::errors::GraphError;
use crate::graph_api::{Call, Outcome, admit, answer, check_token, refusal_of};
use crate::server::DropConnection;
use crate::shared::Shared;
use crate::view::{Author, FaultKind, FaultOn};
use crate::world::media::{MediaFile, is_sendable_type};

/// The parts of an uploaded form.
#[derive(Default)]
pub(crate) struct Form {
    pub(crate) bytes: Option<Bytes>,
    pub(crate) filename: Option<String>,
    /// Content type of the file's part.
    pub(crate) content_type: Option<String>,
    /// The field `type`.
    kind: Option<String>,
    messaging_product: Option<String>,
}

impl Form {
    /// Reads a multipart body. The error is a sentence.
    pub(crate) async fn read(multipart: Result<Multipart, MultipartRejection>) -> Result<Self, String> {
        let mut multipart = multipart.map_err(|rejection| rejection.body_text())?;
        let mut form = Self::default();
        while let Some(field) = multipart.next_field().await.map_err(|error| error.body_text())? {
            let name = field.name().unwrap_or_default().to_owned();
            if name == "file" {
                form.filename = field.file_name().map(str::to_owned);
                form.content_type = field.content_type().map(str::to_owned);
                form.bytes = Some(field.bytes().await.map_err(|error| error.body_text())?);
                continue;
            }
            let text = field.text().await.map_err(|error| error.body_text())?;
            match name.as_str() {
                "type" => form.kind = Some(text),
                "messaging_product" => form.messaging_product = Some(text),
                _ => {}
            }
        }
        Ok(form)
    }

    fn mime_type(&self) -> Option<&str> {
        self.kind.as_deref().or(self.content_type.as_deref())
    }
}

/// `POST /{phone_number_id}/media`.
pub(crate) async fn upload(
    State(shared): State<Arc<Shared>>,
    Path((version, id)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    multipart: Result<Multipart, MultipartRejection>,
) -> Response {
    let form = Form::read(multipart).await;
    let (outcome, fault) = shared.act(|world| {
        let admitted = admit(world, &version, &headers);
        let owned = id == world.config.phone_number_id;
        if let Err(refusal) = admitted.and_then(|()| owned.then_some(()).ok_or(GraphError::no_such_object(&id, "post")))
        {
            return (Err(refusal), None);
        }
        let fault = world.faults.take(FaultOn::Media, None, |_| true);
        let outcome = match refusal_of(&fault) {
            Some(refusal) => Err(refusal),
            None => store(world, form),
        };
        (outcome, fault)
    });
    answer(&shared, Call::new(method, &uri), outcome, fault).await
}

fn store(world: &mut crate::world::World, form: Result<Form, String>) -> Outcome {
    let form = form.map_err(GraphError::parameter)?;
    if form.messaging_product.as_deref() != Some("whatsapp") {
        return Err(GraphError::parameter("The parameter messaging_product is required."));
    }
    let mime_type = form.mime_type().unwrap_or_default().to_owned();
    if !is_sendable_type(&mime_type) {
        let sentence = format!("Param file must be a file with a supported type. Received file of type '{mime_type}'.");
        return Err(GraphError::parameter(sentence));
    }
    let bytes = form.bytes.ok_or_else(|| GraphError::parameter("The parameter file is required."))?;
    let stored = world.store_media(Author::Business, &mime_type, form.filename, bytes);
    stored.map(|id| json!({ "id": id })).map_err(|error| GraphError::new(131_053, error.to_string()))
}

/// `GET` of an address that a look-up gave: with the token, within five minutes.
pub(crate) async fn download(
    State(shared): State<Arc<Shared>>,
    Path(token): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let call = Call::new(method, &uri);
    let (found, fault) = shared.act(|world| {
        if let Err(refusal) = check_token(world, &headers) {
            return (Err(refusal), None);
        }
        let fault = world.faults.take(FaultOn::Media, None, |_| true);
        if let Some(refusal) = refusal_of(&fault) {
            return (Err(refusal), fault);
        }
        let gone =
            || GraphError { status: 404, ..GraphError::parameter("The media address has expired or never was.") };
        (world.media.by_address(&token, world.now()).cloned().ok_or_else(gone), fault)
    });
    match (found, &fault) {
        (Ok(file), None | Some(FaultKind::Delay { .. } | FaultKind::DropAnswer)) => {
            if let Some(FaultKind::Delay { ms }) = fault {
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
            if fault == Some(FaultKind::DropAnswer) { DropConnection::response() } else { file_response(file) }
        }
        (found, _) => answer(&shared, call, found.map(|_| json!({})), fault).await,
    }
}

/// The bytes with their type; never to be run as a page of this server.
pub(crate) fn file_response(file: MediaFile) -> Response {
    let mut response = (StatusCode::OK, file.bytes).into_response();
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_str(&file.mime_type);
    headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    response
}
