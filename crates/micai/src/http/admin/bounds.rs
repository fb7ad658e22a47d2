//! Checks of what operators write, collected so that one answer names every fault.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

use super::super::error::Problem;
use crate::domain::agent::{AGENT_ID_CHARACTERS_MAX, AgentId};
use crate::domain::letter::ACTION_REASON_CHARACTERS_MAX;

/// The faults of one body or path.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(String, String)>);

impl Faults {
    pub(super) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push((field.into(), message.into()));
    }

    /// Free text: bounded, line breaks allowed; U+0000 is the one character that a database refuses.
    pub(super) fn check_text(&mut self, field: &str, text: &str, characters_max: usize) {
        let characters = text.chars().count();
        if characters > characters_max {
            self.add(field, format!("has {characters} characters; at most {characters_max} are allowed"));
        }
        if text.contains('\0') {
            self.add(field, "holds the character U+0000, which cannot be stored; remove it");
        }
    }

    /// What a person says why they did something.
    pub(super) fn check_reason(&mut self, reason: &str) {
        if reason.trim().is_empty() {
            self.add("reason", "is blank; say why, for whoever reads this later");
        }
        self.check_text("reason", reason, ACTION_REASON_CHARACTERS_MAX);
    }

    /// An id: bounded, not blank, no control characters.
    pub(super) fn check_id(&mut self, field: &str, id: &str, characters_max: usize) {
        let characters = id.chars().count();
        if id.trim().is_empty() {
            self.add(field, "is empty; choose a name");
        }
        if characters > characters_max {
            self.add(field, format!("has {characters} characters; at most {characters_max} are allowed"));
        }
        if id.chars().any(char::is_control) {
            self.add(field, "holds a control character; remove it");
        }
    }

    /// A number between two bounds, both allowed.
    pub(super) fn check_range(&mut self, field: &str, number: i64, range: std::ops::RangeInclusive<i64>) {
        if !range.contains(&number) {
            let (least, most) = (range.start(), range.end());
            self.add(field, format!("is {number}; it must lie between {least} and {most}"));
        }
    }

    /// Nothing, or one 422 with all faults.
    pub(super) fn into_result(self, code: &'static str) -> Result<(), Problem> {
        let Some((field, message)) = self.0.first() else {
            return Ok(());
        };
        let more = match self.0.len() {
            1 => String::new(),
            count => format!(" `errors` lists all {count} faults."),
        };
        let problem = Problem::unprocessable(code, format!("{}{more}", sentence(field, message)));
        Err(self.0.into_iter().fold(problem, |problem, (field, message)| problem.with_field(field, message)))
    }
}

/// Reads an instant that may be left out, and says how one is written where it is none.
pub(super) fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let told = || D::Error::custom("it is no instant; write it as 2026-11-24T13:00:00Z");
    text.parse().map(Some).map_err(|_| told())
}

/// What is wrong with a field: either the rest of a sentence that begins with its name, or a sentence of its own.
fn sentence(field: &str, message: &str) -> String {
    let colon = if message.starts_with(char::is_uppercase) { ":" } else { "" };
    format!("`{field}`{colon} {}.", message.trim_end_matches('.'))
}

/// An agent's id as it was written in a body or path.
pub(super) fn agent_id(field: &str, id: String) -> Result<AgentId, Problem> {
    let mut faults = Faults::default();
    faults.check_id(field, &id, AGENT_ID_CHARACTERS_MAX);
    faults.into_result("agent_id_invalid")?;
    Ok(AgentId(id))
}

pub(super) fn no_such_agent() -> Problem {
    Problem::not_found("agent_not_found", "There is no agent of this id: GET /admin/agents lists those there are.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_sentence_whoever_found_it() {
        for (message, expected) in [
            ("is empty; choose a name", "`name` is empty; choose a name."),
            ("The name is too long.", "`name`: The name is too long."),
            ("does not fit. Parameter 2 is missing.", "`name` does not fit. Parameter 2 is missing."),
        ] {
            assert_eq!(sentence("name", message), expected);
        }
    }
}
