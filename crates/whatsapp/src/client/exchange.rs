//! One request and its answer: bounded, and sorted by what it proves.

use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::Value;
use thiserror::Error;
use url::Url;

use super::Client;
use crate::error::{ApiError, Verdict, describe, verdict};
use crate::json;

/// Largest answer that is read, in bytes: 4 MiB. A page of a hundred templates is far below.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most characters of an answer that are quoted in an error.
const EXCERPT_CHARACTERS_MAX: usize = 300;
/// Longest wait that is taken over from an answer, in seconds: a week.
const RETRY_AFTER_SECONDS_MAX: u64 = 7 * 24 * 3600;

/// A call that did not end well, sorted by what is known about it.
#[derive(Debug, Clone, Error)]
pub enum SendError {
    /// The request could not be made up: a configuration or an argument is wrong. Nothing was sent.
    #[error("the request was not sent: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// No connection came about, so nothing was sent.
    #[error("no connection to WhatsApp: {reason}")]
    NotSent {
        /// Why.
        reason: String,
    },
    /// The request went out, or may have, and no whole answer came back. It may have been carried out.
    #[error("no answer from WhatsApp, the request may have been carried out: {reason}")]
    Unanswered {
        /// Time-out, lost connection.
        reason: String,
    },
    /// WhatsApp refused with one of its codes.
    #[error("WhatsApp refused (HTTP {status}): {error}")]
    Refused {
        /// HTTP status. Advisory: the code decides.
        status: u16,
        /// The error.
        error: Box<ApiError>,
        /// Seconds to wait, if the answer said so.
        retry_after_seconds: Option<u64>,
    },
    /// An HTTP error without one of WhatsApp's codes: something on the way, or a server in trouble.
    #[error("HTTP {status} without a code of WhatsApp: {excerpt}")]
    Uncoded {
        /// HTTP status.
        status: u16,
        /// Beginning of the answer.
        excerpt: String,
        /// Seconds to wait, if the answer said so.
        retry_after_seconds: Option<u64>,
    },
    /// HTTP says success, but the body is not what was expected. The request was probably carried out.
    #[error("HTTP {status}, but the answer cannot be understood: {excerpt}")]
    Unreadable {
        /// HTTP status.
        status: u16,
        /// Beginning of the answer.
        excerpt: String,
    },
}

impl SendError {
    /// What the error means for the message.
    ///
    /// A refused connection proves that nothing went out ([`Verdict::Retry`]); a time-out, a lost answer, a 5xx without
    /// a code and a success that cannot be understood prove nothing ([`Verdict::Unknown`]); a code of WhatsApp is
    /// looked up. A refusal without a code (4xx, redirect) comes from something on the way and says nothing about the
    /// message: [`Verdict::Retry`], except 401 and 403 ([`Verdict::Auth`]) and 408 ([`Verdict::Unknown`]).
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Invalid { .. } => Verdict::Never,
            Self::NotSent { .. } => Verdict::Retry,
            Self::Unanswered { .. } | Self::Unreadable { .. } => Verdict::Unknown,
            Self::Refused { status, error, .. } => self.patient(refusal_verdict(*status, error)),
            Self::Uncoded { status, .. } => match status {
                401 | 403 => Verdict::Auth,
                408 | 500.. => Verdict::Unknown,
                429 => self.patient(Verdict::Later { after_seconds: None }),
                _ => self.patient(Verdict::Retry),
            },
        }
    }

    /// HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Uncoded { status, .. } | Self::Unreadable { status, .. } => {
                Some(*status)
            }
            _ => None,
        }
    }

    /// WhatsApp's error, if it gave one.
    pub fn api_error(&self) -> Option<&ApiError> {
        match self {
            Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Seconds to wait, if the answer said so (`Retry-After`, or the usage header of the account).
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Refused { retry_after_seconds, .. } | Self::Uncoded { retry_after_seconds, .. } => {
                *retry_after_seconds
            }
            _ => None,
        }
    }

    /// Waits as long as the answer asks for, where waiting is the verdict anyway.
    fn patient(&self, verdict: Verdict) -> Verdict {
        match (verdict, self.retry_after_seconds()) {
            (Verdict::Retry | Verdict::Later { .. }, Some(seconds)) => Verdict::Later { after_seconds: Some(seconds) },
            _ => verdict,
        }
    }
}

/// A listed code is believed. Of a 5xx with an unlisted code, or with the catch-all code 1, nobody promises that the
/// message was not taken; a 4xx was not.
fn refusal_verdict(status: u16, error: &ApiError) -> Verdict {
    let vague = error.code == 1 || describe(error.code).is_none();
    if status >= 500 && vague {
        return Verdict::Unknown;
    }
    verdict(error.code, error.is_transient.unwrap_or(false))
}

/// A successful answer, parsed.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) value: Value,
}

impl Answer {
    /// The error for an answer that lacks what was asked for.
    pub(super) fn unreadable(&self) -> SendError {
        SendError::Unreadable { status: self.status, excerpt: excerpt(self.value.to_string().as_bytes()) }
    }
}

impl Client {
    pub(super) async fn get_json(&self, url: Url) -> Result<Answer, SendError> {
        self.exchange(self.http.get(url)).await
    }

    pub(super) async fn post_json(&self, url: Url, body: &Value) -> Result<Answer, SendError> {
        self.exchange(self.http.post(url).header(CONTENT_TYPE, "application/json").body(body.to_string())).await
    }

    /// Sends a request with our token and sorts the answer. The URL has to be one of [`Client::url`].
    pub(super) async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Answer, SendError> {
        let response = request.header(AUTHORIZATION, self.bearer.clone()).send().await.map_err(transport_error)?;
        let status = response.status().as_u16();
        let retry_after_seconds = read_retry_after_seconds(response.headers());
        let body = match read_bounded(response).await {
            Ok(body) => body,
            // A status that says "no" is an answer even if its body is lost.
            Err(_) if (300..500).contains(&status) => Vec::new(),
            Err(reason) => return Err(SendError::Unanswered { reason }),
        };
        if let Some(error) = ApiError::from_response(&body) {
            return Err(SendError::Refused { status, error: Box::new(error), retry_after_seconds });
        }
        if !(200..300).contains(&status) {
            return Err(SendError::Uncoded { status, excerpt: excerpt(&body), retry_after_seconds });
        }
        match serde_json::from_slice(&body) {
            Ok(value) => Ok(Answer { status, value }),
            Err(_) => Err(SendError::Unreadable { status, excerpt: excerpt(&body) }),
        }
    }
}

/// Sorts a failure of the transport: only a connection that never came about proves that nothing was sent.
pub(super) fn transport_error(error: reqwest::Error) -> SendError {
    let reason = chain(&error);
    if error.is_builder() {
        return SendError::Invalid { reason };
    }
    if error.is_connect() { SendError::NotSent { reason } } else { SendError::Unanswered { reason } }
}

/// An error with its causes. The address is left out: it may be a signed one.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut words = match error {
        _ if error.is_connect() => "could not connect".to_owned(),
        _ if error.is_timeout() => "timed out".to_owned(),
        _ => "the exchange broke off".to_owned(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words.push_str(": ");
        words.push_str(&inner.to_string());
        cause = inner.source();
    }
    words
}

async fn read_bounded(response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| chain(&error))?;
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `Retry-After` in seconds (a date is not understood), else the longest `estimated_time_to_regain_access` (minutes) of
/// the usage header, which is JSON by business id: `{"123":[{"estimated_time_to_regain_access":5,…}]}`.
fn read_retry_after_seconds(headers: &HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let seconds = text(RETRY_AFTER.as_str()).and_then(|value| value.trim().parse::<u64>().ok()).or_else(|| {
        let usage: Value = serde_json::from_str(text("x-business-use-case-usage")?).ok()?;
        let minutes = usage.as_object()?.values().filter_map(Value::as_array).flatten();
        let minutes = minutes.filter_map(|item| json::integer(item, "estimated_time_to_regain_access")).max()?;
        u64::try_from(minutes).ok()?.checked_mul(60)
    });
    seconds.filter(|seconds| *seconds > 0).map(|seconds| seconds.min(RETRY_AFTER_SECONDS_MAX))
}

fn excerpt(body: &[u8]) -> String {
    let start = body.get(..EXCERPT_CHARACTERS_MAX * 4).unwrap_or(body);
    String::from_utf8_lossy(start).chars().take(EXCERPT_CHARACTERS_MAX).collect()
}
