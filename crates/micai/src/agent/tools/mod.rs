//! Tools: the one place where they are called. Whoever asks (a rule, words, a tap, a model), [`Desk::call`] checks the agent's
//! list, the arguments and the bounds. What a tool gives back is data: nothing in it is taken for an instruction.

pub mod reminders;
mod schema;
mod table;
#[cfg(test)]
mod tests;
pub mod weather;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::CompiledAgent;
use crate::domain::inbound::PendingMessage;
use crate::domain::outbound::MessageBody;
use crate::domain::person::PersonFacts;
use crate::domain::question::{OpenQuestion, Question};
use crate::domain::tool::{
    EffectKey, TOOL_ARGUMENT_BYTES_MAX, TOOL_CALLS_PER_TURN_MAX, TOOL_RESULT_BYTES_MAX, TOOL_SECONDS_MAX,
    TURN_SECONDS_MAX, ToolDenial, ToolFate, ToolName, ToolTrace, called,
};
use crate::domain::turn::Effect;
use crate::weather::Weather;
pub use reminders::ReminderTools;
pub use table::{Definition, Reach, definition};

/// What tools reach beside the turn: the edges of the network, and the words that they understand. Shared by all turns.
pub struct Tools {
    weather: Weather,
    pub(in crate::agent) reminders: ReminderTools,
    /// How long a turn may take with all of its calls.
    turn_time: Duration,
}

impl Tools {
    /// With these edges and words, for turns that end while their lease of so many seconds holds: one that outlives it counts for
    /// nothing, and is taken again.
    pub fn new(weather: Weather, reminders: ReminderTools, lease_seconds: u64) -> Self {
        // A third is left for what comes before and behind the calls.
        let turn_time = Duration::from_secs(TURN_SECONDS_MAX).min(Duration::from_secs(lease_seconds) * 2 / 3);
        Self { weather, reminders, turn_time }
    }

    /// Tools that reach nothing, in turns whose time is up.
    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "only in tests")]
    pub fn too_late() -> Self {
        use crate::weather::WeatherConfig;
        let url: url::Url = "https://weather.invalid".parse().unwrap();
        let config = WeatherConfig { forecast_url: url.clone(), geocoding_url: url, private_hosts: Vec::new() };
        let clock = std::sync::Arc::new(crate::clock::SystemClock);
        let words = super::reminders::ReminderWords::built_in().unwrap();
        let prefix = String::new();
        let reminders = ReminderTools { words, window_seconds: 24 * 3_600, has_fallback_template: false, prefix };
        Self::new(Weather::new(config, clock).unwrap(), reminders, 0)
    }

    /// Tools that reach nothing.
    #[cfg(test)]
    pub fn nowhere() -> std::sync::Arc<Self> {
        use std::sync::{Arc, LazyLock};
        static NOWHERE: LazyLock<Arc<Tools>> =
            LazyLock::new(|| Arc::new(Tools { turn_time: Duration::from_secs(TURN_SECONDS_MAX), ..Tools::too_late() }));
        NOWHERE.clone()
    }
}

/// What a call gives back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolOutput {
    /// What it found or did, for a model.
    pub data: Value,
    /// The same in words, for a person whom no model answers.
    pub reply: Option<MessageBody>,
    /// What the person is asked by the reply: the next message may be the answer.
    pub question: Option<Question>,
    /// What else is to change; committed with the turn, or not at all.
    pub effects: Vec<Effect>,
}

/// Why a call gives nothing back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// There is no such tool.
    #[error("there is no tool of that name")]
    Unknown,
    /// The agent does not list it.
    #[error("the agent does not list this tool: an operator can add it to the agent's `tools`")]
    NotAllowed,
    /// The arguments do not fit the schema.
    #[error("the arguments do not fit: {0}")]
    BadArguments(String),
    /// Too many calls in one turn.
    #[error("a turn makes at most {TOOL_CALLS_PER_TURN_MAX} calls")]
    TooManyCalls,
    /// It took too long.
    #[error("it took longer than {TOOL_SECONDS_MAX} s, or the turn longer than {TURN_SECONDS_MAX} s")]
    TimedOut,
    /// What it needs cannot be reached, or gave something of no use.
    #[error("{0}")]
    Failed(String),
}

impl ToolError {
    fn fate(&self) -> ToolFate {
        match self {
            Self::Unknown => ToolFate::Unknown,
            Self::NotAllowed => ToolFate::NotAllowed,
            Self::BadArguments(_) => ToolFate::BadArguments,
            Self::TooManyCalls => ToolFate::TooManyCalls,
            Self::TimedOut => ToolFate::TimedOut,
            Self::Failed(_) => ToolFate::Failed,
        }
    }
}

/// What a tool may look at: no more than this of the turn reaches it.
pub struct Call<'a> {
    /// The edges of the network.
    pub tools: &'a Tools,
    /// Who answers.
    pub agent: &'a CompiledAgent,
    /// The message that asked.
    pub message: &'a PendingMessage,
    /// What is known about the person, where it was read.
    pub facts: Option<&'a PersonFacts>,
    /// What an effect of this call is kept under.
    pub key: EffectKey,
    /// The present.
    pub now: Timestamp,
}

/// Where the tools of one turn are called.
pub struct Desk<'a> {
    tools: &'a Tools,
    agent: &'a CompiledAgent,
    /// What is known about the person, with what the calls of this turn have changed.
    facts: Option<PersonFacts>,
    now: Timestamp,
    /// When the turn's time is up. Measured by the machine's own clock: a turn that is stuck is stuck in real time.
    ends_at: Instant,
    calls: usize,
    /// Calls of the present message.
    step: u32,
    trace: Vec<ToolTrace>,
    denials: Vec<Effect>,
    /// What was asked last and waits for its answer.
    pub question: Option<OpenQuestion>,
}

impl<'a> Desk<'a> {
    /// The desk of a turn that begins now.
    pub fn new(
        tools: &'a Tools,
        agent: &'a CompiledAgent,
        facts: Option<&'a PersonFacts>,
        question: Option<OpenQuestion>,
        now: Timestamp,
    ) -> Self {
        let ends_at = Instant::now() + tools.turn_time;
        let (trace, denials, facts) = (Vec::new(), Vec::new(), facts.cloned());
        Self { tools, agent, facts, now, ends_at, calls: 0, step: 0, trace, denials, question }
    }

    /// Calls a tool for a message.
    ///
    /// # Errors
    /// Why it did not run, or came to nothing.
    pub async fn call(
        &mut self,
        message: &PendingMessage,
        name: &str,
        arguments: &Value,
    ) -> Result<ToolOutput, ToolError> {
        self.step += 1;
        self.calls += 1;
        let key = EffectKey { inbound_id: message.id, step: self.step };
        let outcome = match self.admit(name, arguments) {
            Ok(_) if Instant::now() >= self.ends_at => Err(ToolError::TimedOut),
            Ok(tool) => {
                let (tools, agent, facts) = (self.tools, self.agent, self.facts.as_ref());
                let call = Call { tools, agent, message, facts, key, now: self.now };
                let time = Duration::from_secs(TOOL_SECONDS_MAX).min(self.ends_at.duration_since(Instant::now()));
                let run = tokio::time::timeout(time, table::run(tool, &call, arguments)).await;
                run.unwrap_or(Err(ToolError::TimedOut)).and_then(bounded)
            }
            Err(refused) => Err(refused),
        };
        if outcome == Err(ToolError::NotAllowed) {
            self.denials.push(Effect::ToolDenied(ToolDenial { tool: called(name), key }));
        }
        if let (Some(facts), Ok(output)) = (&mut self.facts, &outcome) {
            reminders::foresee(facts, &output.effects, self.now);
        }
        self.trace.push(ToolTrace {
            tool: called(name),
            step: self.step,
            fate: outcome.as_ref().err().map_or(ToolFate::Done, ToolError::fate),
            detail: outcome.as_ref().err().map(ToString::to_string),
        });
        outcome
    }

    /// What tools reach.
    pub fn tools(&self) -> &'a Tools {
        self.tools
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The calls that were made since the last time this was asked, and what is to be written down about them: what one
    /// message led to.
    pub fn take(&mut self) -> (Vec<ToolTrace>, Vec<Effect>) {
        self.step = 0;
        (std::mem::take(&mut self.trace), std::mem::take(&mut self.denials))
    }

    /// Whether a call may run: the only place that decides it.
    fn admit(&self, name: &str, arguments: &Value) -> Result<ToolName, ToolError> {
        if self.calls > TOOL_CALLS_PER_TURN_MAX {
            return Err(ToolError::TooManyCalls);
        }
        let tool = ToolName::parse(name).ok_or(ToolError::Unknown)?;
        if !self.agent.settings.may_use(tool) {
            return Err(ToolError::NotAllowed);
        }
        if arguments.to_string().len() > TOOL_ARGUMENT_BYTES_MAX {
            return Err(ToolError::BadArguments(format!("they have more than {TOOL_ARGUMENT_BYTES_MAX} bytes")));
        }
        schema::check(&definition(tool).arguments, arguments).map_err(ToolError::BadArguments)?;
        Ok(tool)
    }
}

fn bounded(output: ToolOutput) -> Result<ToolOutput, ToolError> {
    match output.data.to_string().len() {
        0..=TOOL_RESULT_BYTES_MAX => Ok(output),
        bytes => Err(ToolError::Failed(format!("it gave {bytes} bytes; at most {TOOL_RESULT_BYTES_MAX} are taken"))),
    }
}
