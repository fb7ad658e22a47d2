//! Checks of what operators write, collected so that one answer names every fault.

use super::super::error::Problem;
use crate::domain::agent::{AGENT_ID_CHARACTERS_MAX, AgentId};

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
        let problem = Problem::unprocessable(code, format!("`{field}` {message}.{more}"));
        Err(self.0.into_iter().fold(problem, |problem, (field, message)| problem.with_field(field, message)))
    }
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
