//! The table of tools: what each is for, which arguments it takes, what it may reach. A tool without a row here does not exist.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Call, ToolError, ToolOutput, reminders, weather};
use crate::domain::tool::ToolName;

/// What a tool may reach beside the turn that calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The weather service that the settings name, through the one client for outbound calls.
    WeatherService,
}

/// A tool, for models and for people.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: ToolName,
    /// What it is for, in words that a model goes by.
    pub description: &'static str,
    /// The JSON Schema of its arguments, of the kind that `schema::check` knows.
    pub arguments: Value,
    /// What it may reach.
    pub reach: &'static [Reach],
}

/// The row of a tool.
pub fn definition(tool: ToolName) -> &'static Definition {
    static GET_WEATHER: LazyLock<Definition> = LazyLock::new(|| Definition {
        name: ToolName::GetWeather,
        description: "The weather of a place: now with today's highest and lowest temperature and chance of rain, or \
                      tomorrow's. Give a place by name, or a point by latitude and longitude. Without either, the person is \
                      asked where.",
        arguments: json!({
            "type": "object",
            "properties": {
                "place": {
                    "type": "string", "minLength": 1, "maxLength": 100,
                    "description": "A town or region, also with its country: \"Lisbon\", \"Paris, Texas\"."
                },
                "latitude": { "type": "number", "minimum": -90, "maximum": 90 },
                "longitude": { "type": "number", "minimum": -180, "maximum": 180 },
                "label": { "type": "string", "maxLength": 100, "description": "What to call the point." },
                "country": {
                    "type": "string", "minLength": 2, "maxLength": 2,
                    "description": "The point's country, as ISO 3166-1 alpha-2: decides the units."
                },
                "day": { "type": "string", "enum": ["today", "tomorrow"] }
            },
            "required": [],
            "additionalProperties": false
        }),
        reach: &[Reach::WeatherService],
    });
    match tool {
        ToolName::GetWeather => &GET_WEATHER,
        ToolName::SetReminder
        | ToolName::ListReminders
        | ToolName::CancelReminder
        | ToolName::SnoozeReminder
        | ToolName::SetTimeZone => reminders::definition(tool),
    }
}

/// Runs a tool that was admitted: the arguments fit its schema.
pub(super) async fn run(tool: ToolName, call: &Call<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    match tool {
        ToolName::GetWeather => weather::run(call, arguments).await,
        ToolName::SetReminder => reminders::set(call, arguments),
        ToolName::ListReminders => reminders::list(call, arguments),
        ToolName::CancelReminder => reminders::cancel(call, arguments),
        ToolName::SnoozeReminder => reminders::snooze(call, arguments),
        ToolName::SetTimeZone => reminders::set_time_zone(call, arguments),
    }
}
