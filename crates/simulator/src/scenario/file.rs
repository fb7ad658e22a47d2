//! What a scenario consists of, and errors that name the file, the step and the key.

use std::time::Duration;

use serde::Deserialize;

use crate::view::{BubbleStatus, FaultSpec, InboundSpec, PhoneKind};

/// In `send`: stands for the newest message of the business, or of the person, where an id is wanted.
pub(super) const LAST_OF_BUSINESS: &str = "last";
pub(super) const LAST_OF_PERSON: &str = "mine";

/// One scripted conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What the report calls it.
    pub name: String,
    /// The people in it, in the order of the file.
    pub phones: Vec<ScenarioPhone>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// A person of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioPhone {
    /// The name that the steps use, also the profile's name.
    pub name: String,
    /// Which identifiers the business is shown; default a phone number.
    #[serde(default = "phone_number")]
    pub kind: PhoneKind,
}

fn phone_number() -> PhoneKind {
    PhoneKind::Phone
}

/// One step: who does it, and what.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Index into [`Scenario::phones`]; `None` only for steps that need nobody.
    pub phone: Option<usize>,
    /// What is done or expected.
    pub action: Action,
}

/// Everything that a step can do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The person writes this text.
    Say(String),
    /// The person taps the newest button or list row with this title or id.
    Tap(String),
    /// The person sends any message of the control API; `last` and `mine` may stand for a message id.
    Send(Box<InboundSpec>),
    /// The person opens the chat: everything in it is read.
    Read,
    /// A message of the business reaches the phone and fits. Messages that do not fit are passed over.
    ExpectReply(ExpectReply),
    /// The business writes nothing for this long.
    ExpectNoReply(Duration),
    /// The newest message gets this far.
    ExpectStatus(ExpectStatus),
    /// The simulator's clock moves forward.
    AdvanceClock(Duration),
    /// A fault is armed; with a phone it strikes only there.
    Fault(FaultSpec),
}

/// What a reply must be like; everything that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectReply {
    /// The text contains this (case counts).
    pub contains: Option<String>,
    /// The text is exactly this.
    pub equals: Option<String>,
    /// The type of the message, such as `text` or `interactive`.
    pub kind: Option<String>,
    /// How long to wait.
    pub within: Duration,
}

/// How far a message must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectStatus {
    /// Reached or passed; `failed` only as itself.
    pub status: BubbleStatus,
    /// Whose newest message.
    pub of: Sender,
    /// The error code of a failed message.
    pub code: Option<u32>,
    /// How long to wait.
    pub within: Duration,
}

/// Who sent the message whose status is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// The platform under test.
    #[default]
    Business,
    /// The person with the phone.
    Person,
}

/// A file that is not a scenario, in one sentence that says where.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Unreadable {
        /// The path as it was given.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML; the message holds line and column.
    #[error("{file}: not valid TOML: {message}")]
    Syntax {
        /// The path as it was given.
        file: String,
        /// What the parser said.
        message: String,
    },
    /// Something outside the steps is wrong.
    #[error("{file}: key `{key}`: {reason}")]
    Head {
        /// The path as it was given.
        file: String,
        /// The key to look at.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A step is wrong.
    #[error("{file}: step {step}: key `{key}`: {reason}")]
    Step {
        /// The path as it was given.
        file: String,
        /// Counted from 1.
        step: usize,
        /// The key to look at.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
}
