//! The two calls of WhatsApp: the check of the address, and the webhooks themselves.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::is_secret;
use super::error::Problem;
use super::state::{RETRY_AFTER, SharedState};
use crate::ingest::{IngestError, SIGNATURE_HEADER};

/// The most characters of a challenge; Meta's have about ten.
pub(super) const CHALLENGE_CHARACTERS_MAX: usize = 512;

/// The check of the address. Parameters that Meta may add are passed over.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Verification {
    /// Always `subscribe`.
    #[serde(rename = "hub.mode")]
    mode: String,
    /// The word from the settings of the app.
    #[serde(rename = "hub.verify_token")]
    verify_token: String,
    /// What to answer.
    #[serde(rename = "hub.challenge")]
    #[param(max_length = 512)]
    challenge: String,
}

/// A webhook is taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Always `accepted`.
    #[schema(example = "accepted")]
    status: &'static str,
    /// How many of its messages were new to us.
    processed: usize,
}

/// Meta checks the address: answers the bare challenge to whoever knows the verify token.
#[utoipa::path(
    get,
    path = "/webhook",
    tag = "webhook",
    params(Verification),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "The challenge."),
        (
            status = 403,
            body = Problem,
            content_type = "application/problem+json",
            description = "The token or the mode is wrong, no token is configured, or the challenge is not one.",
        ),
    ),
)]
pub(super) async fn verify(
    State(state): State<SharedState>,
    query: Result<Query<Verification>, QueryRejection>,
) -> Result<String, Problem> {
    let refused = |detail: &str| Err(Problem::forbidden("webhook_check_refused", detail));
    let Some(token) = &state.verify_token else {
        return refused("No verify token is configured: set MICAI_WHATSAPP_VERIFY_TOKEN and start again.");
    };
    let Ok(Query(check)) = query else {
        return refused("hub.mode, hub.verify_token and hub.challenge are needed, once each.");
    };
    let fits = is_secret(token, check.verify_token.as_bytes());
    if !fits || check.mode != "subscribe" {
        return refused("hub.mode must be `subscribe` and hub.verify_token the configured verify token.");
    }
    if check.challenge.is_empty() || check.challenge.chars().count() > CHALLENGE_CHARACTERS_MAX {
        return refused(&format!("hub.challenge must have 1 to {CHALLENGE_CHARACTERS_MAX} characters."));
    }
    Ok(check.challenge)
}

/// Takes a webhook in. It is answered once everything in it is committed; what comes twice is counted once.
#[utoipa::path(
    post,
    path = "/webhook",
    tag = "webhook",
    params(
        (
            "x-hub-signature-256" = String,
            Header,
            description = "`sha256=` and the HMAC-SHA256 of the raw body, keyed by the app secret.",
        ),
    ),
    request_body(content = serde_json::Value, description = "A webhook of the WhatsApp Business Platform."),
    responses(
        (status = 200, body = Accepted, description = "Committed."),
        (
            status = 401,
            body = Problem,
            content_type = "application/problem+json",
            description = "The signature is missing or does not fit.",
        ),
    ),
)]
pub(super) async fn receive(State(state): State<SharedState>, request: Request) -> Result<Json<Accepted>, Problem> {
    let header = request.headers().get(SIGNATURE_HEADER).cloned();
    // Whoever does not even claim to be WhatsApp does not get us to read megabytes.
    let Some(signature) = header.as_ref().and_then(|value| value.to_str().ok()) else {
        return Err(unsigned("the header x-hub-signature-256 is missing or not readable"));
    };
    let body = read_body(request.into_body(), state.webhook_body_bytes_max).await?;
    let processed = state.ingest.take(Some(signature), &body).await.map_err(refusal)?;
    Ok(Json(Accepted { status: "accepted", processed }))
}

fn unsigned(reason: impl std::fmt::Display) -> Problem {
    Problem::unauthorized(format!(
        "The webhook is not signed with our app secret: {reason}. Compare MICAI_WHATSAPP_APP_SECRET with the settings \
         of the app."
    ))
}

/// Reads a body of at most `bytes_max`. Of a longer one as much again is read and thrown away: a client that is still
/// writing would not see the answer otherwise.
async fn read_body(body: Body, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut pieces = body.into_data_stream();
    let mut kept = Vec::new();
    let mut length = 0_usize;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Problem::bad_request("body_unreadable", "The body broke off: send it again."))?;
        length = length.saturating_add(piece.len());
        if length <= bytes_max {
            kept.extend_from_slice(&piece);
        } else if length > bytes_max.saturating_mul(2) {
            break;
        }
    }
    if length > bytes_max { Err(Problem::too_large(bytes_max)) } else { Ok(kept) }
}

fn refusal(error: IngestError) -> Problem {
    match error {
        IngestError::Signature(reason) => unsigned(reason),
        IngestError::NotJson(error) => Problem::bad_request(
            "body_not_json",
            format!("The body is not a webhook: {error}. Send the JSON as WhatsApp does."),
        ),
        IngestError::Unavailable(error) => {
            tracing::warn!(%error, "a webhook could not be committed; WhatsApp will send it again");
            Problem::unavailable(
                "database_unavailable",
                "The database cannot take the webhook now, and nothing of it counts as taken in: send it again.",
                RETRY_AFTER,
            )
        }
    }
}
