//! What can be wrong with a rule, said so that whoever wrote it can mend it.

use thiserror::Error;

use super::normalise::normalise;
use super::pattern::validate_pattern;
use crate::domain::agent::AGENT_ID_CHARACTERS_MAX;
use crate::domain::rule::{
    KEYWORD_CHARACTERS_MAX, KEYWORDS_PER_RULE_MAX, PATTERN_CHARACTERS_MAX, PATTERNS_PER_RULE_MAX, PRIORITY_MAX,
    REPLY_CHARACTERS_MAX, RULE_ID_CHARACTERS_MAX, Rule, RuleKind,
};

/// The most faults of one rule that are listed at once.
pub const RULE_ERRORS_MAX: usize = 20;

/// A rule, or an agent's rules together, that cannot be taken. The sentence names the field and what to do;
/// [`RuleError::code`] stays the same when the sentence is reworded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleError {
    /// A text field is longer than its bound.
    #[error("`{field}` has {characters} characters; at most {limit} are allowed, so shorten it")]
    TooLong {
        /// The field, with the place in its list where it is one.
        field: String,
        /// How long it is.
        characters: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A field that must say something says nothing once white space is taken away.
    #[error("`{field}` is empty once white space is trimmed; write something into it")]
    Empty {
        /// The field, with the place in its list where it is one.
        field: String,
    },
    /// The kind of the rule needs this field.
    #[error("a rule of this kind needs `{field}`, and there is none")]
    Missing {
        /// The field that the kind needs.
        field: &'static str,
    },
    /// A list has too many entries.
    #[error("`{field}` has {count} entries; at most {limit} are allowed, so spread them over several rules")]
    TooMany {
        /// The list.
        field: &'static str,
        /// How many entries it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The priority lies outside its range.
    #[error("`priority` is {priority}; it must lie between -{PRIORITY_MAX} and {PRIORITY_MAX}")]
    PriorityOutOfRange {
        /// The priority as given.
        priority: i32,
    },
    /// A control character stands where it cannot be kept or cannot match.
    #[error("`{field}` holds the control character U+{code_point:04X} at character {column}; remove it")]
    ControlCharacter {
        /// The field, with the place in its list where it is one.
        field: String,
        /// Which character.
        code_point: u32,
        /// Where, counted in characters from 1.
        column: usize,
    },
    /// A regular expression that cannot be understood.
    #[error("`{field}` is not a regular expression: {reason} at character {column}")]
    BadPattern {
        /// The field with the place in its list.
        field: String,
        /// What is wrong.
        reason: String,
        /// Where, counted in characters from 1.
        column: usize,
    },
    /// A regular expression that is understood but too costly.
    #[error("`{field}` compiles to more than {limit_bytes} bytes; use fewer or smaller repetitions")]
    PatternTooBig {
        /// The field with the place in its list.
        field: String,
        /// How many bytes it may compile to.
        limit_bytes: usize,
    },
    /// All rules of the agent together are too many of something.
    #[error("the agent's rules have {count} {what} together; at most {limit} are allowed, so remove some")]
    AgentTooMany {
        /// What there is too much of.
        what: AgentLimit,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// One of several rules is at fault.
    #[error("rule `{rule_id}`: {error}")]
    InRule {
        /// Which rule.
        rule_id: String,
        /// What is wrong with it.
        error: Box<RuleError>,
    },
}

/// What an agent may have only so much of, over all its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentLimit {
    /// The rules themselves.
    Rules,
    /// Keywords, exact texts and prefixes.
    Keywords,
    /// The bytes of those, normalised.
    KeywordBytes,
    /// Regular expressions.
    Patterns,
}

impl std::fmt::Display for AgentLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rules => "rules",
            Self::Keywords => "keywords and prefixes",
            Self::KeywordBytes => "bytes of keywords and prefixes",
            Self::Patterns => "regular expressions",
        })
    }
}

impl RuleError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "rule_field_too_long",
            Self::Empty { .. } => "rule_field_empty",
            Self::Missing { .. } => "rule_field_missing",
            Self::TooMany { .. } => "rule_list_too_long",
            Self::PriorityOutOfRange { .. } => "rule_priority_out_of_range",
            Self::ControlCharacter { .. } => "rule_control_character",
            Self::BadPattern { .. } => "rule_pattern_invalid",
            Self::PatternTooBig { .. } => "rule_pattern_too_big",
            Self::AgentTooMany { .. } => "agent_rules_limit",
            Self::InRule { error, .. } => error.code(),
        }
    }

    /// The field at fault, with its place where it is a list (`keywords[2]`); none where the rules together are.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::TooLong { field, .. }
            | Self::Empty { field }
            | Self::ControlCharacter { field, .. }
            | Self::BadPattern { field, .. }
            | Self::PatternTooBig { field, .. } => Some(field),
            Self::Missing { field } | Self::TooMany { field, .. } => Some(field),
            Self::PriorityOutOfRange { .. } => Some("priority"),
            Self::AgentTooMany { .. } => None,
            Self::InRule { error, .. } => error.field(),
        }
    }

    /// The same about the field in which the operator wrote what is kept as the first of `keywords`.
    #[must_use]
    pub fn written_as(mut self, name: &str) -> Self {
        match &mut self {
            Self::TooLong { field, .. }
            | Self::Empty { field }
            | Self::ControlCharacter { field, .. }
            | Self::BadPattern { field, .. }
            | Self::PatternTooBig { field, .. }
                if field == "keywords[0]" =>
            {
                name.clone_into(field);
            }
            _ => {}
        }
        self
    }

    pub(super) fn in_rule(self, rule: &Rule) -> Self {
        Self::InRule { rule_id: rule.id.clone(), error: Box::new(self) }
    }
}

/// Checks everything about one rule that can be known without the agent's other rules, enabled or not.
///
/// Fields that the kind does not use (a `prefix` on a keyword rule) are bounded and otherwise left alone, and an empty
/// `reply_text` is fine: such a rule matches and says nothing.
///
/// # Errors
/// Every fault found, at most [`RULE_ERRORS_MAX`].
pub fn validate(rule: &Rule) -> Result<(), Vec<RuleError>> {
    let mut errors = Vec::new();
    check_id(&mut errors, "id", &rule.id, RULE_ID_CHARACTERS_MAX);
    check_id(&mut errors, "agent_id", rule.agent_id.as_str(), AGENT_ID_CHARACTERS_MAX);
    if !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&rule.priority) {
        errors.push(RuleError::PriorityOutOfRange { priority: rule.priority });
    }
    check_text(&mut errors, "reply_text", &rule.reply_text, REPLY_CHARACTERS_MAX);
    check_prefix(&mut errors, rule);
    check_keywords(&mut errors, rule);
    errors.truncate(RULE_ERRORS_MAX);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn check_id(errors: &mut Vec<RuleError>, field: &str, id: &str, limit: usize) {
    if id.trim().is_empty() {
        errors.push(RuleError::Empty { field: field.to_owned() });
    }
    check_length(errors, field, id, limit);
    check_characters(errors, field, id, char::is_control);
}

fn check_prefix(errors: &mut Vec<RuleError>, rule: &Rule) {
    let is_used = rule.kind == RuleKind::Prefix;
    match &rule.prefix {
        None if is_used => errors.push(RuleError::Missing { field: "prefix" }),
        None => {}
        Some(prefix) => {
            check_text(errors, "prefix", prefix, KEYWORD_CHARACTERS_MAX);
            if is_used && normalise(prefix).is_empty() {
                errors.push(RuleError::Empty { field: "prefix".to_owned() });
            }
        }
    }
}

fn check_keywords(errors: &mut Vec<RuleError>, rule: &Rule) {
    let is_used = matches!(rule.kind, RuleKind::Keyword | RuleKind::Exact | RuleKind::Regex);
    let is_regex = rule.kind == RuleKind::Regex;
    let (count_max, characters_max) = match is_regex {
        true => (PATTERNS_PER_RULE_MAX, PATTERN_CHARACTERS_MAX),
        false => (KEYWORDS_PER_RULE_MAX, KEYWORD_CHARACTERS_MAX),
    };
    if is_used && rule.keywords.is_empty() {
        errors.push(RuleError::Missing { field: "keywords" });
    }
    if rule.keywords.len() > count_max {
        errors.push(RuleError::TooMany { field: "keywords", count: rule.keywords.len(), limit: count_max });
    }
    for (place, keyword) in rule.keywords.iter().take(count_max).enumerate() {
        if errors.len() >= RULE_ERRORS_MAX {
            return;
        }
        let found_before = errors.len();
        let field = format!("keywords[{place}]");
        check_text(errors, &field, keyword, characters_max);
        if is_used && normalise(keyword).is_empty() {
            errors.push(RuleError::Empty { field: field.clone() });
        }
        if is_regex && errors.len() == found_before {
            errors.extend(validate_pattern(&field, keyword).err());
        }
    }
}

/// Free text may hold line breaks; U+0000 is the one character that a database refuses.
fn check_text(errors: &mut Vec<RuleError>, field: &str, text: &str, limit: usize) {
    check_length(errors, field, text, limit);
    check_characters(errors, field, text, |character| character == '\0');
}

fn check_length(errors: &mut Vec<RuleError>, field: &str, text: &str, limit: usize) {
    let characters = text.chars().count();
    if characters > limit {
        errors.push(RuleError::TooLong { field: field.to_owned(), characters, limit });
    }
}

fn check_characters(errors: &mut Vec<RuleError>, field: &str, text: &str, is_refused: impl Fn(char) -> bool) {
    if let Some((place, character)) = text.chars().enumerate().find(|(_, character)| is_refused(*character)) {
        let (field, code_point) = (field.to_owned(), u32::from(character));
        errors.push(RuleError::ControlCharacter { field, code_point, column: place + 1 });
    }
}
