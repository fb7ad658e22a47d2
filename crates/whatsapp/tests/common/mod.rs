//! The fixtures, what each of them brings, and how to load one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::path::{Path, PathBuf};
use whatsapp::webhook;
use whatsapp::{Content, Event, InboundMessage, Webhook};

/// The folder of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A fixture, parsed.
pub fn load(name: &str) -> Webhook {
    let path = fixtures().join(format!("{name}.json"));
    let body = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    webhook::parse(&body).unwrap()
}

/// An event in one word, the kind of its content included.
pub fn label(event: &Event) -> String {
    match event {
        Event::Message(message) => format!("message {}", message.content.kind()),
        Event::Status(status) => format!("status {}", status.status.as_str()),
        Event::Echo(echo) => format!("echo {}", echo.content.kind()),
        Event::Other(change) => format!("other {}", change.field),
        event => event.kind().to_owned(),
    }
}

/// The first event of a fixture, which has to be a message.
pub fn message(name: &str) -> InboundMessage {
    match load(name).events.into_iter().next() {
        Some(Event::Message(message)) => *message,
        other => panic!("{name}: {other:?}"),
    }
}

/// The content of a text message.
pub fn text(body: &str) -> Content {
    Content::Text { body: body.to_owned() }
}

/// File -> its events in order.
#[rustfmt::skip]
pub const EXPECTED: &[(&str, &[&str])] = &[
    ("account_alert", &["account"]),
    ("account_disabled", &["account"]),
    ("account_partner_added", &["account"]),
    ("account_restriction", &["account"]),
    ("account_review", &["account"]),
    ("account_violation", &["account"]),
    ("app_state_sync", &["other smb_app_state_sync"]),
    ("audio_file", &["message audio"]),
    ("batch_bad_neighbours", &["unreadable", "unreadable", "unreadable", "message text", "unreadable", "unreadable",
        "unreadable", "unreadable", "message text", "unreadable", "unreadable", "unreadable", "status sent", "unreadable",
        "other messages"]),
    ("batch_contacts_swapped", &["message text", "message text", "status read", "message text"]),
    ("batch_deep_nesting", &["message text", "unreadable", "message text"]),
    ("batch_invalid_utf8", &["message text", "message text", "message text"]),
    ("batch_lone_surrogate", &["message text", "unreadable", "message text"]),
    ("batch_number_out_of_range", &["message text", "unreadable", "message text"]),
    ("business_capability", &["account"]),
    ("button", &["message button"]),
    ("button_without_context", &["message button"]),
    ("calls", &["message call", "other calls", "other calls", "unreadable"]),
    ("contacts", &["message contacts"]),
    ("document", &["message document"]),
    ("duplicate_keys", &["message text"]),
    ("echo", &["echo text", "echo revoke"]),
    ("edit", &["message edit"]),
    ("edit_image", &["message edit"]),
    ("empty_entry", &[]),
    ("handover", &["other messaging_handovers"]),
    ("history", &["history"]),
    ("image", &["message image"]),
    ("image_with_url", &["message image"]),
    ("image_without_object", &["message image"]),
    ("interactive_button", &["message interactive"]),
    ("interactive_call_permission", &["message interactive"]),
    ("interactive_flow", &["message interactive"]),
    ("interactive_list", &["message interactive"]),
    ("interactive_missing", &["message interactive", "value_error"]),
    ("interactive_unknown", &["message interactive"]),
    ("location", &["message location"]),
    ("messages_without_items", &["other messages"]),
    ("null_entry", &[]),
    ("order", &["message order"]),
    ("phone_name", &["account"]),
    ("phone_quality", &["account"]),
    ("reaction", &["message reaction"]),
    ("reaction_removed_empty", &["message reaction"]),
    ("reaction_removed_missing", &["message reaction"]),
    ("request_welcome", &["message request_welcome"]),
    ("revoke", &["message revoke"]),
    ("security", &["account"]),
    ("standby", &["standby"]),
    ("status_delivered", &["status delivered"]),
    ("status_delivered_bsuid_only", &["status delivered"]),
    ("status_failed", &["status failed"]),
    ("status_failed_bsuid", &["status failed"]),
    ("status_group", &["status delivered", "status delivered", "status read"]),
    ("status_played", &["status played"]),
    ("status_read", &["status read"]),
    ("status_sent", &["status sent"]),
    ("status_unknown", &["status teleported"]),
    ("sticker", &["message sticker"]),
    ("system_identity_changed", &["message system"]),
    ("system_number_changed", &["message system"]),
    ("system_number_changed_2025", &["message system"]),
    ("system_other", &["message system"]),
    ("system_user_id_changed", &["message system"]),
    ("template_approved", &["template"]),
    ("template_category", &["template"]),
    ("template_components", &["template"]),
    ("template_quality", &["template"]),
    ("template_status", &["template"]),
    ("text", &["message text"]),
    ("text_absurd_timestamp", &["message text"]),
    ("text_bsuid_only", &["message text"]),
    ("text_forwarded", &["message text"]),
    ("text_group", &["message text"]),
    ("text_integer_timestamp", &["message text"]),
    ("text_nul_character", &["message text"]),
    ("text_odd_user_id", &["message text"]),
    ("text_parent_bsuid", &["message text"]),
    ("text_phone_only", &["message text"]),
    ("text_product_inquiry", &["message text"]),
    ("text_referral", &["message text"]),
    ("text_reply", &["message text"]),
    ("unknown_deprecated", &["message unsupported"]),
    ("unknown_field", &["other moon_phase"]),
    ("unknown_type", &["message hologram"]),
    ("unsupported", &["message unsupported"]),
    ("user_preferences", &["user_preference", "user_preference", "user_preference"]),
    ("value_error", &["value_error"]),
    ("video", &["message video"]),
    ("voice", &["message audio"]),
];
