//! Changes of templates, accounts, numbers and of users' marketing preferences.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::inbound::{Sender, Surroundings, read_identities};
use crate::json;

/// A template changed.
#[derive(Debug, Clone)]
pub struct TemplateUpdate {
    /// Id of the WhatsApp Business account; empty if absent.
    pub waba_id: String,
    /// When (`entry[].time`), Unix seconds.
    pub timestamp_seconds: Option<i64>,
    /// Id of the template; an integer on the wire, text here as in the management API.
    pub template_id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its language, such as `pt_BR`.
    pub language: Option<String>,
    /// What changed.
    pub change: TemplateChange,
    /// The value of the change as it came.
    pub raw: Box<RawValue>,
}

/// What changed about a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TemplateChange {
    /// `message_template_status_update`. Only `APPROVED` may be sent.
    Status {
        /// The new status: `APPROVED`, `REJECTED`, `PAUSED`, `DISABLED`, …; empty if absent.
        status: String,
        /// `reason`, such as `INVALID_FORMAT`; `NONE` counts as absent.
        reason: Option<String>,
        /// What Meta recommends after a rejection.
        recommendation: Option<String>,
        /// The category, where given.
        category: Option<String>,
    },
    /// `message_template_quality_update`.
    Quality {
        /// Score until now: `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
        previous: Option<String>,
        /// Score from now on.
        new: Option<String>,
    },
    /// `message_template_components_update`: the words were changed; ask for the template again.
    Components,
    /// `template_category_update`: the price changes with it.
    Category {
        /// Category until now.
        previous: Option<String>,
        /// Category from now on (or soon: announcements have the same form).
        new: Option<String>,
        /// `correct_category`: the category Meta announces.
        announced: Option<String>,
    },
}

/// Something about the account, its limits or its numbers.
#[derive(Debug, Clone)]
pub struct AccountUpdate {
    /// Id of the WhatsApp Business account: `value.waba_info.waba_id` where given, else the id of the entry.
    pub waba_id: String,
    /// Id of the entry; for some partner events that of the business portfolio.
    pub entry_id: String,
    /// The field, such as `account_update`.
    pub field: String,
    /// When (`entry[].time`), Unix seconds.
    pub timestamp_seconds: Option<i64>,
    /// The number it is about, where given.
    pub display_phone_number: Option<String>,
    /// What changed.
    pub change: AccountChange,
    /// The value of the change as it came.
    pub raw: Box<RawValue>,
}

/// What changed about an account or a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AccountChange {
    /// `account_update`.
    Account {
        /// `ACCOUNT_VIOLATION`, `ACCOUNT_RESTRICTION`, `DISABLED_UPDATE`, `ACCOUNT_DELETED`, …; empty if absent.
        event: String,
        /// `violation_info.violation_type`.
        violation: Option<String>,
        /// `ban_info.waba_ban_state`.
        ban_state: Option<String>,
        /// `ban_info.waba_ban_date`.
        ban_date: Option<String>,
        /// `restriction_info`.
        restrictions: Vec<Restriction>,
    },
    /// `account_alerts`.
    Alert {
        /// `alert_type`.
        alert: Option<String>,
        /// `alert_severity`.
        severity: Option<String>,
        /// `alert_status`.
        status: Option<String>,
        /// `alert_description`.
        description: Option<String>,
    },
    /// `account_review_update`.
    Review {
        /// `APPROVED`, `REJECTED`, …
        decision: Option<String>,
    },
    /// `business_capability_update`: the messaging limits.
    BusinessCapability {
        /// Users that may be written to outside of windows in 24 hours: a number, or a word such as `TIER_UNLIMITED`.
        daily_conversations_max: Option<String>,
        /// Phone numbers the business may have.
        phone_numbers_max: Option<i64>,
    },
    /// `phone_number_quality_update`: quality and throughput of a number.
    PhoneQuality {
        /// `FLAGGED`, `UPGRADE`, `DOWNGRADE`, `THROUGHPUT_UPGRADE`, …
        event: Option<String>,
        /// The limit from now on.
        current_limit: Option<String>,
        /// The limit until now.
        old_limit: Option<String>,
    },
    /// `phone_number_name_update`: the display name was reviewed.
    PhoneName {
        /// `APPROVED`, `REJECTED`, …
        decision: Option<String>,
        /// The name asked for.
        requested_name: Option<String>,
        /// Why it was refused; `NONE` counts as absent.
        rejection_reason: Option<String>,
    },
    /// `security`: the two-step PIN was changed.
    Security {
        /// `PIN_CHANGED`, `PIN_RESET_REQUEST`, …
        event: Option<String>,
        /// Who asked for it.
        requester: Option<String>,
    },
}

/// Something that an account or a number may not do for the time being.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    /// `restriction_type`, such as `RESTRICTED_BIZ_INITIATED_MESSAGING`.
    pub kind: String,
    /// `expiration`: until when, Unix seconds.
    pub until_seconds: Option<i64>,
}

/// A user stopped, resumed or signed up for marketing messages.
#[derive(Debug, Clone)]
pub struct UserPreferenceUpdate {
    /// Id of the WhatsApp Business account; empty if absent.
    pub waba_id: String,
    /// Id of the business phone number; empty if absent.
    pub phone_number_id: String,
    /// Who.
    pub user: Sender,
    /// What was chosen.
    pub preference: UserPreference,
    /// When, Unix seconds.
    pub timestamp_seconds: Option<i64>,
    /// The item as it came.
    pub raw: Box<RawValue>,
}

/// What a user chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPreference {
    /// `marketing_messages` so far.
    pub category: Option<String>,
    /// The choice.
    pub change: PreferenceChange,
    /// A sentence about it.
    pub detail: Option<String>,
    /// The sign-up it belongs to.
    pub signup_id: Option<String>,
}

/// The choice of a user about marketing messages. It says nothing about other messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceChange {
    /// No more marketing.
    Stop,
    /// Marketing again.
    Resume,
    /// Signed up.
    Signup,
    /// Something else; empty if absent.
    Other(String),
}

/// The fields that [`read_template`] reads.
pub(crate) const TEMPLATE_FIELDS: [&str; 4] = [
    "message_template_status_update",
    "message_template_quality_update",
    "message_template_components_update",
    "template_category_update",
];

/// The fields that [`read_account`] reads.
pub(crate) const ACCOUNT_FIELDS: [&str; 7] = [
    "account_update",
    "account_alerts",
    "account_review_update",
    "business_capability_update",
    "phone_number_quality_update",
    "phone_number_name_update",
    "security",
];

/// Reads a template change. `None` if the field is not one of the four.
pub(crate) fn read_template(
    field: &str,
    value: &Value,
    raw: &RawValue,
    around: &Surroundings,
    timestamp_seconds: Option<i64>,
) -> Option<TemplateUpdate> {
    let change = match field {
        "message_template_status_update" => TemplateChange::Status {
            status: json::text(value, "event").unwrap_or_default(),
            reason: word(value, "reason").or_else(|| inner(value, "rejection_info", "reason")),
            recommendation: inner(value, "rejection_info", "recommendation"),
            category: json::text(value, "message_template_category"),
        },
        "message_template_quality_update" => TemplateChange::Quality {
            previous: json::text(value, "previous_quality_score"),
            new: json::text(value, "new_quality_score"),
        },
        "message_template_components_update" => TemplateChange::Components,
        "template_category_update" => TemplateChange::Category {
            previous: json::text(value, "previous_category"),
            new: json::text(value, "new_category"),
            announced: json::text(value, "correct_category"),
        },
        _ => return None,
    };
    Some(TemplateUpdate {
        waba_id: around.waba_id.clone(),
        timestamp_seconds,
        template_id: json::text(value, "message_template_id"),
        name: json::text(value, "message_template_name"),
        language: json::text(value, "message_template_language"),
        change,
        raw: raw.to_owned(),
    })
}

/// Reads a change of the account or a number. `None` if the field is not one of them.
pub(crate) fn read_account(
    field: &str,
    value: &Value,
    raw: &RawValue,
    around: &Surroundings,
    timestamp_seconds: Option<i64>,
) -> Option<AccountUpdate> {
    let change = read_account_change(field, value)?;
    let own_waba_id = json::object(value, "waba_info").and_then(|info| json::text(info, "waba_id"));
    let number = json::text(value, "display_phone_number").or_else(|| json::text(value, "phone_number"));
    Some(AccountUpdate {
        waba_id: own_waba_id.unwrap_or_else(|| around.waba_id.clone()),
        entry_id: around.waba_id.clone(),
        field: field.to_owned(),
        timestamp_seconds,
        display_phone_number: number,
        change,
        raw: raw.to_owned(),
    })
}

fn read_account_change(field: &str, value: &Value) -> Option<AccountChange> {
    Some(match field {
        "account_update" => AccountChange::Account {
            event: json::text(value, "event").unwrap_or_default(),
            violation: inner(value, "violation_info", "violation_type"),
            ban_state: inner(value, "ban_info", "waba_ban_state"),
            ban_date: inner(value, "ban_info", "waba_ban_date"),
            restrictions: json::list(value, "restriction_info").iter().filter_map(read_restriction).collect(),
        },
        "account_alerts" => {
            let info = json::object(value, "alert_info").unwrap_or(value);
            AccountChange::Alert {
                alert: json::text(info, "alert_type"),
                severity: json::text(info, "alert_severity"),
                status: json::text(info, "alert_status"),
                description: json::text(info, "alert_description"),
            }
        }
        "account_review_update" => AccountChange::Review { decision: json::text(value, "decision") },
        "business_capability_update" => AccountChange::BusinessCapability {
            daily_conversations_max: json::text(value, "max_daily_conversations_per_business")
                .or_else(|| json::text(value, "max_daily_conversation_per_phone")),
            phone_numbers_max: json::integer(value, "max_phone_numbers_per_business")
                .or_else(|| json::integer(value, "max_phone_numbers_per_waba")),
        },
        "phone_number_quality_update" => AccountChange::PhoneQuality {
            event: json::text(value, "event"),
            current_limit: json::text(value, "current_limit")
                .or_else(|| json::text(value, "max_daily_conversations_per_business")),
            old_limit: json::text(value, "old_limit"),
        },
        "phone_number_name_update" => AccountChange::PhoneName {
            decision: json::text(value, "decision"),
            requested_name: json::text(value, "requested_verified_name"),
            rejection_reason: word(value, "rejection_reason"),
        },
        "security" => {
            AccountChange::Security { event: json::text(value, "event"), requester: json::text(value, "requester") }
        }
        _ => return None,
    })
}

fn read_restriction(restriction: &Value) -> Option<Restriction> {
    let kind = json::text(restriction, "restriction_type")?;
    Some(Restriction { kind, until_seconds: json::timestamp_seconds(restriction, "expiration") })
}

/// Reads one element of `user_preferences[]`.
pub(crate) fn read_preference(item: &Value, raw: &RawValue, around: &Surroundings) -> UserPreferenceUpdate {
    let ids = read_identities(item, "wa_id", "user_id", "parent_user_id");
    let contact = around.contacts.find(&ids);
    let change = match json::str(item, "value") {
        Some("stop") => PreferenceChange::Stop,
        Some("resume") => PreferenceChange::Resume,
        Some("signup") => PreferenceChange::Signup,
        other => PreferenceChange::Other(other.unwrap_or_default().to_owned()),
    };
    UserPreferenceUpdate {
        waba_id: around.waba_id.clone(),
        phone_number_id: around.phone_number_id.clone(),
        user: Sender::new(ids, contact),
        preference: UserPreference {
            category: json::text(item, "category"),
            change,
            detail: json::text(item, "detail"),
            signup_id: json::text(item, "signup_id"),
        },
        timestamp_seconds: json::timestamp_seconds(item, "timestamp"),
        raw: raw.to_owned(),
    }
}

/// A word that is not the word for nothing.
fn word(value: &Value, key: &str) -> Option<String> {
    json::text(value, key).filter(|word| word != "NONE")
}

fn inner(value: &Value, outer_key: &str, key: &str) -> Option<String> {
    json::object(value, outer_key).and_then(|object| json::text(object, key))
}
