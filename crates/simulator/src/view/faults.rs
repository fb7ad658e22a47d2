//! Faults by request.

use serde::{Deserialize, Serialize};

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultOn {
    /// A message sent through `/{phone_number_id}/messages`; read marks are left alone.
    Send,
    /// A webhook on its way out.
    Webhook,
    /// A call to upload, look up or download media.
    Media,
    /// A call to list or make templates.
    Templates,
}

/// What goes wrong. Not every fault makes sense everywhere; [`FaultSpec`] says which does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Webhook: delivered twice.
    Duplicate,
    /// Webhook: held back until the next one has gone out (at most [`crate::deliver::REORDER_WAIT_MAX`]).
    Reorder,
    /// Webhook: leaves later. Elsewhere: answered later.
    Delay {
        /// Real time, in milliseconds.
        ms: u64,
    },
    /// Not webhook: the work is done, then the connection is closed without an answer. Webhook: the answer is
    /// ignored, so that the webhook comes again.
    DropAnswer,
    /// Not webhook: answered with this HTTP status and a Graph error body. Webhook: the answer counts as this one.
    Status {
        /// The HTTP status.
        code: u16,
        /// Send: accept the message first, so that the error is a lie.
        #[serde(default)]
        after_accepting: bool,
    },
    /// Not webhook: refused with this code. Webhook: the next accepted message ends in a `failed` status with it.
    Error {
        /// Meta's code.
        code: u32,
    },
    /// Send: accepted as `held_for_quality_assessment`, then sent on as usual.
    Hold,
}

/// A fault to come. Applied in the order of adding, each `times` times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSpec {
    /// Where it strikes.
    pub on: FaultOn,
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How often; default once.
    #[serde(default = "once")]
    pub times: u32,
    /// Only for this phone id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

fn once() -> u32 {
    1
}
