//! What came in through the Graph API and what went out as webhooks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FaultKind;

/// A call that the Graph API received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphRequestView {
    /// Counts up from 1.
    pub number: u64,
    /// When, Unix milliseconds of the simulator's clock.
    pub at_milliseconds: i64,
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The JSON body; absent for multipart and empty bodies, and past [`crate::LOGGED_BODY_BYTES_MAX`].
    pub body: Option<Value>,
    /// Whether the work was done, whatever the caller was told.
    pub accepted: bool,
    /// The HTTP status of the answer; absent where the answer was dropped.
    pub status: Option<u16>,
    /// The JSON of the answer.
    pub answer: Option<Value>,
    /// The phone that the message is for.
    pub phone_id: Option<String>,
    /// The id given to the message.
    pub wamid: Option<String>,
    /// The fault that struck.
    pub fault: Option<FaultKind>,
}

/// The messages of the business that were accepted, whatever the caller was told: how many, and how quickly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedView {
    /// How many since the start or the last reset.
    pub count: u64,
    /// When the first one was, Unix milliseconds of the simulator's clock.
    pub first_at_milliseconds: Option<i64>,
    /// When the last one was.
    pub last_at_milliseconds: Option<i64>,
}

/// Where a webhook stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waiting, in flight, or to be tried again.
    Pending,
    /// Answered 200.
    Acknowledged,
    /// Tried as often as allowed, or pushed out by newer ones.
    GivenUp,
    /// There was no webhook address.
    NoTarget,
}

/// A webhook and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryView {
    /// Counts up from 1.
    pub number: u64,
    /// When it was made, Unix milliseconds of the simulator's clock.
    pub at_milliseconds: i64,
    /// The phone that it is about.
    pub phone_id: Option<String>,
    /// The message that it is about.
    pub wamid: Option<String>,
    /// `message`, `sent`, `delivered`, `read`, `played`, `failed`, `template` or `raw`.
    pub kind: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The last HTTP status.
    pub status: Option<u16>,
    /// The last failure in words.
    pub error: Option<String>,
    /// Real time of the last answer, in milliseconds.
    pub answered_in_milliseconds: Option<u64>,
    /// Where it stands.
    pub state: DeliveryState,
    /// The body; absent past [`crate::LOGGED_BODY_BYTES_MAX`] or if it is not JSON.
    pub body: Option<Value>,
}
