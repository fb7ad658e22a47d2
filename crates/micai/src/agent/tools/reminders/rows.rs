//! The rows of the table of tools that are about reminders.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::super::table::Definition;
use super::{PLACE_CHARACTERS_MAX, SENTENCE_CHARACTERS_MAX};
use crate::agent::reminders::REMINDER_CHARACTERS_MAX;
use crate::domain::schedule::RRULE_CHARACTERS_MAX;
use crate::domain::tool::ToolName;

/// The language of an answer to a call that holds no words of the person's own.
fn language() -> Value {
    json!({
        "type": "string", "minLength": 2, "maxLength": 8,
        "description": "Code of the language that the person is answered in, such as es: English where it is missing or not known."
    })
}

static SET: LazyLock<Definition> = LazyLock::new(|| Definition {
    name: ToolName::SetReminder,
    description: "Sets a reminder for the person. Give what they wrote as `sentence` if it says both when and of what; else \
                  `text` with `when`, `recurrence` or both. Times are the person's local ones. What is not clear, such as 3/4 \
                  or 5 o'clock tomorrow, is not guessed: the result says what to ask.",
    arguments: json!({
        "type": "object",
        "properties": {
            "sentence": {
                "type": "string", "minLength": 1, "maxLength": SENTENCE_CHARACTERS_MAX,
                "description": "The person's own words: \"remind me every weekday at 9 to call mom\"."
            },
            "answer": {
                "type": "string", "minLength": 1, "maxLength": SENTENCE_CHARACTERS_MAX,
                "description": "What they answered when asked back about the sentence: \"tomorrow at 9\"."
            },
            "place": {
                "type": "string", "minLength": 1, "maxLength": PLACE_CHARACTERS_MAX,
                "description": "The city they named when asked back about the sentence: kept as where they live."
            },
            "text": {
                "type": "string", "minLength": 1, "maxLength": REMINDER_CHARACTERS_MAX,
                "description": "What to remind them of: \"call mom\"."
            },
            "when": {
                "type": "string", "minLength": 1, "maxLength": 100,
                "description": "Local time as 2026-11-25T09:00, an instant with its offset, or words such as \"tomorrow at 9\"."
            },
            "recurrence": {
                "type": "string", "minLength": 1, "maxLength": RRULE_CHARACTERS_MAX,
                "description": "An RFC 5545 rule, such as FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=7;BYMINUTE=15. `when` is its start."
            },
            "zone": {
                "type": "string", "minLength": 1, "maxLength": PLACE_CHARACTERS_MAX,
                "description": "An IANA zone or a city, if the time is not meant where the person lives."
            }
        },
        "required": [],
        "additionalProperties": false
    }),
    reach: &[],
});

static LIST: LazyLock<Definition> = LazyLock::new(|| Definition {
    name: ToolName::ListReminders,
    description: "The person's reminders that are still to come, with the numbers by which they are cancelled.",
    arguments: json!({
        "type": "object", "properties": { "language": language() }, "required": [], "additionalProperties": false
    }),
    reach: &[],
});

static CANCEL: LazyLock<Definition> = LazyLock::new(|| Definition {
    name: ToolName::CancelReminder,
    description: "Gives reminders up: by number, by words of their text if one fits, or all. Without arguments the only one there \
                  is.",
    arguments: json!({
        "type": "object",
        "properties": {
            "numbers": {
                "type": "array", "minItems": 1, "maxItems": 20,
                "items": { "type": "integer", "minimum": 0, "maximum": 999_999_999 }
            },
            "text": { "type": "string", "minLength": 1, "maxLength": PLACE_CHARACTERS_MAX },
            "all": { "type": "boolean" },
            "language": language()
        },
        "required": [],
        "additionalProperties": false
    }),
    reach: &[],
});

static SNOOZE: LazyLock<Definition> = LazyLock::new(|| Definition {
    name: ToolName::SnoozeReminder,
    description: "Puts off the reminder that came last, if that was within a day: it comes once more.",
    arguments: json!({
        "type": "object",
        "properties": {
            "when": {
                "type": "string", "minLength": 1, "maxLength": 100,
                "description": "Until when, in words: \"in 10 minutes\", \"tomorrow at 9\"."
            },
            "sentence": {
                "type": "string", "minLength": 1, "maxLength": SENTENCE_CHARACTERS_MAX,
                "description": "The person's own words: \"snooze 10 min\"."
            }
        },
        "required": [],
        "additionalProperties": false
    }),
    reach: &[],
});

static SET_TIME_ZONE: LazyLock<Definition> = LazyLock::new(|| Definition {
    name: ToolName::SetTimeZone,
    description: "Notes where the person lives, so that their local time is known. Without a place: says which zone is used.",
    arguments: json!({
        "type": "object",
        "properties": {
            "place": {
                "type": "string", "minLength": 1, "maxLength": PLACE_CHARACTERS_MAX,
                "description": "A big city or an IANA zone: \"Lisbon\", \"America/Sao_Paulo\"."
            },
            "language": language()
        },
        "required": [],
        "additionalProperties": false
    }),
    reach: &[],
});

/// The row of a tool that is about reminders.
pub(in crate::agent::tools) fn definition(tool: ToolName) -> &'static Definition {
    match tool {
        ToolName::ListReminders => &LIST,
        ToolName::CancelReminder => &CANCEL,
        ToolName::SnoozeReminder => &SNOOZE,
        ToolName::SetTimeZone => &SET_TIME_ZONE,
        _ => &SET,
    }
}
