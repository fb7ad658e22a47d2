//! What became of a message we sent.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::inbound::{Sender, Surroundings, read_identities};
use crate::error::ApiError;
use crate::identity::{Bsuid, GroupId, Identity, ParentBsuid, Phone};
use crate::json;

/// One status of one message (in a group: for one participant).
#[derive(Debug, Clone)]
pub struct StatusUpdate {
    /// Id of the WhatsApp Business account; empty if absent.
    pub waba_id: String,
    /// Id of the business phone number; empty if absent.
    pub phone_number_id: String,
    /// The message, by the id the send was answered with.
    pub message_id: String,
    /// What became of it.
    pub status: DeliveryStatus,
    /// When, Unix seconds; see [`super::InboundMessage::timestamp_seconds`].
    pub timestamp_seconds: Option<i64>,
    /// The recipient's phone number; in a group that of the participant.
    pub recipient_phone: Option<Phone>,
    /// The recipient's BSUID. The `sent` status of a message to a phone number is where it is learnt.
    pub recipient_bsuid: Option<Bsuid>,
    /// The recipient's parent BSUID.
    pub recipient_parent_bsuid: Option<ParentBsuid>,
    /// The recipient's username; in `delivered` and `read` only.
    pub recipient_username: Option<String>,
    /// The group, for a message to a group.
    pub recipient_group: Option<GroupId>,
    /// What the message was sent with, echoed.
    pub biz_opaque_callback_data: Option<String>,
    /// What it costs.
    pub pricing: Option<Pricing>,
    /// Legacy; `None` in most bodies of 2026.
    pub conversation: Option<Conversation>,
    /// Why it failed.
    pub errors: Vec<ApiError>,
    /// The status as it came.
    pub raw: Box<RawValue>,
}

impl StatusUpdate {
    /// The recipient by the name that serves best as a key: BSUID, else phone number, else parent BSUID.
    pub fn recipient(&self) -> Option<Identity> {
        let bsuid = self.recipient_bsuid.clone().map(Identity::Bsuid);
        let phone = || self.recipient_phone.clone().map(Identity::Phone);
        bsuid.or_else(phone).or_else(|| self.recipient_parent_bsuid.clone().map(Identity::ParentBsuid))
    }
}

/// How far a message came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// WhatsApp has it.
    Sent,
    /// The user's device has it.
    Delivered,
    /// The user has read it. May never come, and may be the only sign of a delivery.
    Read,
    /// The user has played a voice note of ours.
    Played,
    /// It died; see the errors.
    Failed,
    /// A status this crate does not know; empty if absent.
    Other(String),
}

impl DeliveryStatus {
    /// Reads WhatsApp's spelling.
    pub fn parse(text: &str) -> Self {
        match text {
            "sent" => Self::Sent,
            "delivered" => Self::Delivered,
            "read" => Self::Read,
            "played" => Self::Played,
            "failed" => Self::Failed,
            other => Self::Other(other.to_owned()),
        }
    }

    /// WhatsApp's spelling.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
            Self::Other(other) => other,
        }
    }
}

/// Meta's price tag of a message. Meter from these, never from sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pricing {
    /// Whether it is billed; said to be on its way out, rely on `kind`.
    pub billable: Option<bool>,
    /// `PMP` (per message); `CBP` before July 2025.
    pub pricing_model: Option<String>,
    /// `type`: `regular`, `free_customer_service` or `free_entry_point`.
    pub kind: Option<String>,
    /// `marketing`, `utility`, `authentication`, `service`, `general_purpose_ai` and others.
    pub category: Option<String>,
}

/// The legacy conversation a message was billed under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: Option<String>,
    /// Its end, Unix seconds.
    pub expiration_timestamp_seconds: Option<i64>,
    /// `origin.type`.
    pub origin: Option<String>,
}

/// Reads one element of `statuses[]`; the error says what it lacks.
pub(crate) fn read_status(status: &Value, raw: &RawValue, around: &Surroundings) -> Result<StatusUpdate, &'static str> {
    let message_id = json::text(status, "id").ok_or("it has no id")?;
    let to_group = json::str(status, "recipient_type") == Some("group");
    let ids = if to_group {
        let (user, parent) = ("recipient_participant_user_id", "recipient_participant_parent_user_id");
        read_identities(status, "recipient_participant_id", user, parent)
    } else {
        read_identities(status, "recipient_id", "recipient_user_id", "recipient_parent_user_id")
    };
    let recipient = Sender::new(ids.clone(), around.contacts.find(&ids));
    Ok(StatusUpdate {
        waba_id: around.waba_id.clone(),
        phone_number_id: around.phone_number_id.clone(),
        message_id,
        status: DeliveryStatus::parse(json::str(status, "status").unwrap_or_default()),
        timestamp_seconds: json::timestamp_seconds(status, "timestamp"),
        recipient_phone: recipient.phone,
        recipient_bsuid: recipient.bsuid,
        recipient_parent_bsuid: recipient.parent_bsuid,
        recipient_username: recipient.username,
        recipient_group: json::str(status, "recipient_id").filter(|_| to_group).and_then(GroupId::from_webhook),
        biz_opaque_callback_data: json::text(status, "biz_opaque_callback_data"),
        pricing: json::object(status, "pricing").map(read_pricing),
        conversation: json::object(status, "conversation").map(read_conversation),
        errors: ApiError::list(status, "errors"),
        raw: raw.to_owned(),
    })
}

fn read_pricing(pricing: &Value) -> Pricing {
    Pricing {
        billable: json::flag(pricing, "billable"),
        pricing_model: json::text(pricing, "pricing_model"),
        kind: json::text(pricing, "type"),
        category: json::text(pricing, "category"),
    }
}

fn read_conversation(conversation: &Value) -> Conversation {
    Conversation {
        id: json::text(conversation, "id"),
        expiration_timestamp_seconds: json::timestamp_seconds(conversation, "expiration_timestamp"),
        origin: json::object(conversation, "origin").and_then(|origin| json::text(origin, "type")),
    }
}
