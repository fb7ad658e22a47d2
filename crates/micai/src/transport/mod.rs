//! The road to WhatsApp: a row of the ledger becomes a Graph call, and the answer becomes one of three facts: accepted,
//! refused, or nobody knows.

mod choices;
mod templates;

use std::time::Duration;

use secrecy::SecretString;
use url::Url;
use whatsapp::client::{Client, ClientConfig, ClientError, SendError as CallError};
use whatsapp::identity::{Bsuid, Identity, ParentBsuid, Phone, Recipient};
use whatsapp::message::{OutboundContent, OutboundMessage};

pub use whatsapp::Verdict;

use crate::domain::contact::{Address, AddressKind};
use crate::domain::outbound::{MessageBody, SendCandidate, SendError, callback_data};
use crate::domain::pause::PauseScope;

pub use templates::{CallFailure, CreatedTemplate, TemplatePage};

/// What is said where a call would need a token and there is none.
const NO_ACCESS_TOKEN: (&str, &str) = ("no_access_token", "No access token is set: set MICAI_WHATSAPP_ACCESS_TOKEN.");

/// What became of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// WhatsApp has it.
    Accepted {
        /// Its id there.
        provider_message_id: String,
    },
    /// WhatsApp does not have it.
    Refused(Box<RefusedCall>),
    /// It may or may not have it.
    Unknown {
        /// What happened.
        error: SendError,
    },
}

/// A call that WhatsApp refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedCall {
    /// What that means for another attempt.
    pub verdict: Verdict,
    /// How long WhatsApp asks to wait.
    pub retry_after_seconds: Option<u64>,
    /// What else is not sent until somebody or something lifts the block.
    pub pauses: Option<PauseScope>,
    /// Why.
    pub error: SendError,
}

/// A call that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// HTTP status of the answer, where there was one.
    pub http_status: Option<i32>,
    /// Whether the API was there: it took the message, or refused it with a reason of its own.
    pub api_answered: bool,
    /// What became of the message.
    pub delivery: Delivery,
}

/// The Cloud API of one account.
#[derive(Debug)]
pub struct CloudApi {
    /// Absent without an access token: then there is only the preview.
    client: Option<Client>,
    api_version: String,
}

/// How to reach the Cloud API.
#[derive(Debug, Clone)]
pub struct CloudApiConfig {
    /// Scheme and host.
    pub base_url: Url,
    /// Such as `v25.0`.
    pub api_version: String,
    /// The account's token; none while outbound is off.
    pub access_token: Option<SecretString>,
    /// The number to send from where a conversation does not say.
    pub phone_number_id: String,
    /// The WhatsApp business account, whose templates are listed and made.
    pub business_account_id: Option<String>,
    /// The longest a call may take.
    pub call_timeout: Duration,
}

impl CloudApi {
    /// The road described by `config`. Connects to nothing yet.
    ///
    /// # Errors
    /// [`ClientError`] for an address, version or number that cannot work.
    pub fn new(config: CloudApiConfig) -> Result<Self, ClientError> {
        let client = config.access_token.map(|access_token| {
            Client::new(ClientConfig {
                api_version: config.api_version.clone(),
                request_timeout: config.call_timeout,
                waba_id: config.business_account_id.clone(),
                ..ClientConfig::new(config.base_url, access_token, config.phone_number_id)
            })
        });
        Ok(Self { client: client.transpose()?, api_version: config.api_version })
    }

    /// Sends one message.
    pub async fn deliver(&self, candidate: &SendCandidate) -> Call {
        // What is our own fault says nothing about the API.
        let not_called = |delivery| Call { http_status: None, api_answered: true, delivery };
        let Some(client) = &self.client else {
            return not_called(refusal(Verdict::Auth, NO_ACCESS_TOKEN.0, NO_ACCESS_TOKEN.1));
        };
        let prepared = client.for_phone_number(&candidate.phone_number_id).map_err(|error| error.to_string());
        let (client, message) = match prepared.and_then(|client| Ok((client, build(candidate)?))) {
            Ok(prepared) => prepared,
            Err(reason) => return not_called(refusal(Verdict::Never, "invalid_message", &reason)),
        };
        match client.send(&message).await {
            Ok(accepted) => {
                let delivery = Delivery::Accepted { provider_message_id: accepted.message_id };
                Call { http_status: Some(200), api_answered: true, delivery }
            }
            Err(error) => Call {
                http_status: error.status().map(i32::from),
                api_answered: api_answered(&error),
                delivery: read_failure(&error),
            },
        }
    }

    /// The exact request that `deliver` would make, without the token.
    pub fn preview(&self, candidate: &SendCandidate) -> serde_json::Value {
        match build(candidate) {
            Ok(message) => request(&self.api_version, &candidate.phone_number_id, message.to_json()),
            Err(reason) => serde_json::json!({ "error": reason }),
        }
    }
}

fn request(api_version: &str, phone_number_id: &str, body: serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "method": "POST",
        "path": format!("/{api_version}/{phone_number_id}/messages"),
        "body": body,
    })
}

fn build(candidate: &SendCandidate) -> Result<OutboundMessage, String> {
    let content = match &candidate.body {
        MessageBody::Text { text } => OutboundContent::text(text.as_str()),
        MessageBody::Template { template, .. } => templates::wire(template).and_then(OutboundContent::template),
        MessageBody::List { text, button, rows } => choices::list(text, button, rows),
        MessageBody::Buttons { text, buttons } => choices::buttons(text, buttons),
        MessageBody::LocationRequest { text } => OutboundContent::location_request(text.as_str()),
        MessageBody::Erased => return Err("the person was forgotten, and the words are gone".to_owned()),
    };
    let content = content.map_err(|error| error.to_string())?;
    let callback = callback_data(candidate.conversation_id, candidate.id);
    let message = OutboundMessage::new(recipient(&candidate.to)?, content);
    message.with_callback_data(callback).map_err(|error| error.to_string())
}

fn recipient(address: &Address) -> Result<Recipient, String> {
    let value = address.value.as_str();
    let identity = match address.kind {
        AddressKind::Phone => Phone::parse(value).map(Identity::Phone),
        AddressKind::Bsuid => Ok(Identity::Bsuid(Bsuid::from_webhook(value).ok_or("the user id is empty")?)),
        AddressKind::ParentBsuid => {
            Ok(Identity::ParentBsuid(ParentBsuid::from_webhook(value).ok_or("the user id is empty")?))
        }
    };
    identity.map(Recipient::User).map_err(|error| error.to_string())
}

fn read_failure(failure: &CallError) -> Delivery {
    let (verdict, error) = told(failure);
    let pauses = pause_of(verdict, error.code);
    match verdict {
        Verdict::Unknown => Delivery::Unknown { error },
        verdict => {
            let retry_after_seconds = failure.retry_after_seconds();
            Delivery::Refused(Box::new(RefusedCall { verdict, retry_after_seconds, pauses, error }))
        }
    }
}

/// What a refusal pauses beside the message itself. The throughput of a number and the pace to a person are not paused: the
/// message waits for its next attempt.
fn pause_of(verdict: Verdict, code: Option<i64>) -> Option<PauseScope> {
    let stopped = whatsapp::error::stops(code.unwrap_or(whatsapp::ApiError::NO_CODE), verdict);
    stopped.and_then(|stopped| PauseScope::parse(stopped.as_str()))
}

/// WhatsApp's code for "down or overloaded": an answer of the front, not of the API.
const PLATFORM_DOWN_CODE: i64 = 2;

/// Whether the API was there at all.
fn api_answered(failure: &CallError) -> bool {
    match failure {
        CallError::Invalid { .. } => true,
        CallError::NotSent { .. } | CallError::Unanswered { .. } | CallError::Unreadable { .. } => false,
        CallError::Refused { error, .. } => error.code != PLATFORM_DOWN_CODE,
        CallError::Uncoded { status, .. } => *status < 500,
    }
}

/// What a failed call means, and how it is told.
fn told(failure: &CallError) -> (Verdict, SendError) {
    let code = failure.api_error().map(|error| error.code).filter(|code| *code != whatsapp::ApiError::NO_CODE);
    let advice = code.and_then(whatsapp::error::describe).map(|fact| fact.advice);
    let verdict = failure.verdict();
    let reason = if verdict == Verdict::Unknown { "no_clear_answer" } else { "refused_by_whatsapp" };
    (verdict, SendError { code, reason: reason.to_owned(), detail: SendError::told(failure, advice) })
}

fn refusal(verdict: Verdict, reason: &str, detail: &str) -> Delivery {
    let error = SendError { code: None, reason: reason.to_owned(), detail: detail.to_owned() };
    let pauses = pause_of(verdict, None);
    Delivery::Refused(Box::new(RefusedCall { verdict, retry_after_seconds: None, pauses, error }))
}
