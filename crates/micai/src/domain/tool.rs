//! Tools: what an agent can do beside talking, which of them an agent may use, and what a turn writes down about their use.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::InboundId;

/// Calls that one turn may make; more are refused.
pub const TOOL_CALLS_PER_TURN_MAX: usize = 16;
/// How long one call may take.
pub const TOOL_SECONDS_MAX: u64 = 20;
/// How long a turn may take with all of its calls. Below the shortest sensible lease: a turn that outlives it counts for nothing.
pub const TURN_SECONDS_MAX: u64 = 60;
/// Bytes of a call's arguments, as JSON.
pub const TOOL_ARGUMENT_BYTES_MAX: usize = 8_192;
/// Bytes of what a call gives back, as JSON. A tool that gives more has failed.
pub const TOOL_RESULT_BYTES_MAX: usize = 16_384;
/// Characters of a name that somebody calls a tool by, in traces and in the audit log.
const CALLED_CHARACTERS_MAX: usize = 64;

/// Every tool there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolName {
    /// The weather of a place, now and today or tomorrow.
    GetWeather,
    /// Sets a reminder for the person.
    SetReminder,
    /// The person's reminders that are still to come.
    ListReminders,
    /// Gives reminders up.
    CancelReminder,
    /// Puts off the reminder that came last.
    SnoozeReminder,
    /// Notes in which time zone the person lives.
    SetTimeZone,
}

impl ToolName {
    /// Every tool.
    pub const ALL: &[Self] = &[
        Self::GetWeather,
        Self::SetReminder,
        Self::ListReminders,
        Self::CancelReminder,
        Self::SnoozeReminder,
        Self::SetTimeZone,
    ];
    /// What agents may use that were made before there were lists, that come with the installation, or that are made by naming
    /// them, as in a rule. It does not grow with the tools: whoever did not choose a new one does not get it.
    pub const UNLISTED: &[Self] = &[
        Self::GetWeather,
        Self::SetReminder,
        Self::ListReminders,
        Self::CancelReminder,
        Self::SnoozeReminder,
        Self::SetTimeZone,
    ];

    /// The name in settings, in calls and in traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GetWeather => "get_weather",
            Self::SetReminder => "set_reminder",
            Self::ListReminders => "list_reminders",
            Self::CancelReminder => "cancel_reminder",
            Self::SnoozeReminder => "snooze_reminder",
            Self::SetTimeZone => "set_time_zone",
        }
    }

    /// Whether it is about a person's reminders.
    pub fn is_about_reminders(self) -> bool {
        match self {
            Self::GetWeather => false,
            Self::SetReminder
            | Self::ListReminders
            | Self::CancelReminder
            | Self::SnoozeReminder
            | Self::SetTimeZone => true,
        }
    }

    /// The tool of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tool| tool.as_str() == name)
    }
}

/// What a tool's effect is kept under, so that a turn that is taken again does not repeat it: the message that asked for it, and
/// the number of the call among those that the message led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EffectKey {
    /// The message.
    pub inbound_id: InboundId,
    /// Which call, counted from 1.
    pub step: u32,
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tool:{}:{}", self.inbound_id, self.step)
    }
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolFate {
    /// It ran.
    Done,
    /// The agent does not list it: it did not run.
    NotAllowed,
    /// There is no tool of that name.
    Unknown,
    /// The arguments do not fit its schema: it did not run.
    BadArguments,
    /// The turn had made all the calls that it may: it did not run.
    TooManyCalls,
    /// It took too long, or the turn did.
    TimedOut,
    /// What it needs cannot be reached, or gave something of no use.
    Failed,
}

/// A call, for people to read. Its arguments are left out: they hold what the person said, and may take back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolTrace {
    /// What was called.
    pub tool: String,
    /// Which call of the message, counted from 1.
    pub step: u32,
    /// What came of it.
    pub fate: ToolFate,
    /// What went wrong, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A call of a tool that the agent does not list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDenial {
    /// What was called; cut where somebody made up a long name.
    pub tool: String,
    /// The message and the number of the call.
    pub key: EffectKey,
}

/// A name that somebody calls a tool by, cut to its bound.
pub fn called(name: &str) -> String {
    name.chars().filter(|letter| *letter != '\0').take(CALLED_CHARACTERS_MAX).collect()
}
