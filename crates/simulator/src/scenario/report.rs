//! How a scenario went, in words for people.

use std::fmt;
use std::time::Duration;

use super::file::{Action, ScenarioPhone, Sender, Step};
use super::play::arrived;
use crate::view::BubbleView;

/// Longest excerpt of a message in the report, in characters.
const EXCERPT_CHARACTERS_MAX: usize = 120;

/// How one scenario went.
#[derive(Debug, Clone)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// All its steps, in order.
    pub steps: Vec<StepReport>,
}

/// How one step went.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// The step in words.
    pub step: String,
    /// How it went.
    pub outcome: StepOutcome,
    /// How long it took.
    pub took: Duration,
}

/// The three ways a step can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// As it should.
    Passed,
    /// Not as it should, for this reason.
    Failed(String),
    /// An earlier step failed.
    NotRun,
}

impl Report {
    /// Whether every step passed.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.outcome == StepOutcome::Passed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} {}", if self.passed() { "passed" } else { "FAILED" }, self.scenario)?;
        for (index, StepReport { step, outcome, took }) in self.steps.iter().enumerate() {
            let number = index + 1;
            match outcome {
                StepOutcome::Passed => writeln!(formatter, "  ok   {number:>3}  {step}  ({} ms)", took.as_millis())?,
                StepOutcome::NotRun => writeln!(formatter, "  -    {number:>3}  {step}")?,
                StepOutcome::Failed(reason) => {
                    writeln!(formatter, "  FAIL {number:>3}  {step}  ({} ms)", took.as_millis())?;
                    writeln!(formatter, "            {reason}")?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn describe(step: &Step, phones: &[ScenarioPhone]) -> String {
    let who = step.phone.map_or("", |index| phones[index].name.as_str());
    match &step.action {
        Action::Say(text) => format!("{who} says {}", quoted(text)),
        Action::Tap(label) => format!("{who} taps {}", quoted(label)),
        Action::Send(message) => {
            let json = serde_json::to_value(message).unwrap_or_default();
            format!("{who} sends {}", json["type"].as_str().unwrap_or("a message"))
        }
        Action::Read => format!("{who} reads the chat"),
        Action::ExpectReply(wanted) => {
            let parts = [
                wanted.kind.as_ref().map(|kind| format!("of kind {kind}")),
                wanted.contains.as_ref().map(|part| format!("containing {}", quoted(part))),
                wanted.equals.as_ref().map(|text| format!("that is {}", quoted(text))),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            format!("{who} gets a reply {}", parts.join(" and ")).trim_end().to_owned()
        }
        Action::ExpectNoReply(silence) => format!("{who} gets no reply for {}", seconds(*silence)),
        Action::ExpectStatus(wanted) => {
            let whose = if wanted.of == Sender::Business { "the message to" } else { "the message of" };
            let code = wanted.code.map_or_else(String::new, |code| format!(" with code {code}"));
            format!("{whose} {who} is {}{code}", format!("{:?}", wanted.status).to_lowercase())
        }
        Action::AdvanceClock(by) => format!("the clock moves on by {}", seconds(*by)),
        Action::Fault(fault) => {
            let json = serde_json::to_value(fault).unwrap_or_default();
            let part = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
            let only = if who.is_empty() { String::new() } else { format!(" for {who}") };
            format!("a fault is armed{only}: {} on {}, {} times", part("kind"), part("on"), fault.times)
        }
    }
}

pub(super) fn status_words(bubble: &BubbleView) -> String {
    let status = format!("{:?}", bubble.status).to_lowercase();
    match &bubble.error {
        Some(error) => format!("{status} ({} {})", error.code, error.title),
        None => status,
    }
}

pub(super) fn excerpt(bubble: &BubbleView) -> String {
    let text = if bubble.text.is_empty() { String::new() } else { format!(" {}", quoted(&bubble.text)) };
    let status = if arrived(bubble) { String::new() } else { format!(" ({})", status_words(bubble)) };
    format!("{}{text}{status}", bubble.kind)
}

/// The text between quotes, cut and escaped so that a hostile message cannot draw on the terminal.
fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(EXCERPT_CHARACTERS_MAX).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{:?}{more}", cut)
}

pub(super) fn seconds(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (hours, 0) if hours >= 3_600 && hours % 3_600 == 0 => format!("{} h", hours / 3_600),
        (seconds, 0) => format!("{seconds} s"),
        _ => format!("{} ms", duration.as_millis()),
    }
}
