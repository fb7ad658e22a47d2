//! The trigger engine: which rule answers a text. Pure functions of the rules and the text.
//!
//! Rules are asked by ascending priority, then id; the first that matches wins. The place in that order is a rule's
//! rank. All keywords and prefixes of an agent are looked for at once, in one pass over the text, however many rules
//! they belong to; exact texts are looked up; regular expressions are tried only while they could still win.

mod automaton;
mod explain;
mod gate;
mod normalise;
mod pattern;
mod rule_error;
mod words;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde::Serialize;

use crate::domain::rule::{
    KEYWORD_BYTES_PER_AGENT_MAX, KEYWORDS_PER_AGENT_MAX, PATTERNS_PER_AGENT_MAX, RULES_PER_AGENT_MAX, Rule, RuleAction,
    RuleKind,
};
use automaton::{Automaton, NO_PATTERN, PatternIndex};
pub use explain::{AllMatches, EXPLAINED_MATCHES_MAX};
pub use gate::{Gate, GateOutcome};
pub use normalise::{CHARACTERS_PER_CHARACTER_MAX, normalise};
pub use pattern::PATTERN_COMPILED_BYTES_MAX;
use pattern::compile_pattern;
pub use rule_error::{AgentLimit, RULE_ERRORS_MAX, RuleError, validate};
use words::WordBoundaries;

/// The most characters of the matched text that a [`MatchedOn`] repeats.
pub const MATCHED_TEXT_CHARACTERS_MAX: usize = 200;

/// A rule's place in the order of asking; lower wins.
type Rank = u32;
const NO_RANK: Rank = Rank::MAX;

/// The enabled rules of one agent, compiled. Build it once for each version of the agent and share it.
#[derive(Debug)]
pub struct TriggerSet {
    /// By rank.
    rules: Vec<Arc<Rule>>,
    automaton: Automaton,
    /// By pattern: which rules it speaks for.
    ranks: Vec<PatternRanks>,
    /// The patterns of each rule, by rank then pattern: what [`TriggerSet::all_matches`] reads.
    rule_patterns: Vec<(Rank, PatternIndex)>,
    exact: HashMap<Box<str>, Rank>,
    /// By rank.
    expressions: Vec<Expression>,
    /// Whether one of the rules calls the reminder tools: what they need is read before the rules are asked.
    calls_reminders: bool,
}

/// The best rank that a pattern has in each role. `…_or_shorter` counts in every shorter pattern that ends this one,
/// so that one look tells whether anything that ends at a place could win.
#[derive(Debug, Clone)]
struct PatternRanks {
    keyword: Rank,
    keyword_or_shorter: Rank,
    whole_word: Rank,
    whole_word_or_shorter: Rank,
    prefix: Rank,
}

#[derive(Debug)]
struct Expression {
    rank: Rank,
    /// Which of the rule's keywords it is.
    keyword: usize,
    regex: Regex,
}

/// A rule that matches a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What in the text made it match.
    pub on: MatchedOn,
}

/// What made a rule match; texts are normalised and cut at [`MATCHED_TEXT_CHARACTERS_MAX`]. Of several keywords of one
/// rule it is the one that ends first in the text, and of those that end there the longest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MatchedOn {
    /// This keyword stands in the text.
    Keyword {
        /// The keyword.
        text: String,
    },
    /// This keyword stands in the text between two word boundaries.
    WholeWord {
        /// The keyword.
        text: String,
    },
    /// The text begins with this.
    Prefix {
        /// The prefix.
        text: String,
    },
    /// The text is this.
    Exact {
        /// The text.
        text: String,
    },
    /// A regular expression matches.
    Regex {
        /// The expression as written.
        pattern: String,
        /// The part of the text that it matched.
        text: String,
    },
}

impl MatchedOn {
    /// The part of the text that matched, normalised.
    pub fn text(&self) -> &str {
        match self {
            Self::Keyword { text }
            | Self::WholeWord { text }
            | Self::Prefix { text }
            | Self::Exact { text }
            | Self::Regex { text, .. } => text,
        }
    }
}

impl fmt::Display for MatchedOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyword { text } => write!(f, "the text contains `{text}`"),
            Self::WholeWord { text } => write!(f, "the text contains the word `{text}`"),
            Self::Prefix { text } => write!(f, "the text begins with `{text}`"),
            Self::Exact { text } => write!(f, "the text is `{text}`"),
            Self::Regex { pattern, text } => write!(f, "`{pattern}` matches `{text}`"),
        }
    }
}

/// The best match so far, in the terms of the compiled set.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    rank: Rank,
    by: By,
}

#[derive(Debug, Clone, Copy)]
enum By {
    Nothing,
    Exact,
    Keyword { pattern: PatternIndex, end: usize },
    WholeWord { pattern: PatternIndex, end: usize },
    Prefix { end: usize },
}

/// What the keywords, exact texts and prefix of a rule weigh normalised, in bytes: what
/// [`KEYWORD_BYTES_PER_AGENT_MAX`] bounds for all rules of an agent together.
pub fn keyword_bytes(rule: &Rule) -> usize {
    let keywords = if rule.kind == RuleKind::Regex { &[][..] } else { &rule.keywords[..] };
    keywords.iter().chain(&rule.prefix).map(|keyword| normalise(keyword).len()).sum()
}

impl TriggerSet {
    /// Compiles the rules of one agent. Disabled and scheduled rules are left out but count towards the bounds, so
    /// that enabling one cannot fail.
    ///
    /// # Errors
    /// [`RuleError::AgentTooMany`] where the rules together exceed a bound; [`RuleError::InRule`] where an enabled rule
    /// has a keyword or prefix that is empty once normalised, or a bad regular expression: [`validate`] refuses these
    /// before they are saved.
    pub fn compile(rules: &[Rule]) -> Result<Self, RuleError> {
        check_counts(rules)?;
        let mut enabled: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
        enabled.retain(|rule| rule.kind != RuleKind::Scheduled);
        enabled.sort_by(|left, right| left.priority.cmp(&right.priority).then_with(|| left.id.cmp(&right.id)));

        let mut parts = Parts::default();
        for (rank, rule) in (0..).zip(&enabled) {
            parts.add(rank, rule).map_err(|error| error.in_rule(rule))?;
        }
        let limit = KEYWORD_BYTES_PER_AGENT_MAX;
        if parts.bytes > limit {
            return Err(RuleError::AgentTooMany { what: AgentLimit::KeywordBytes, count: parts.bytes, limit });
        }
        Ok(parts.assemble(enabled.into_iter().cloned().map(Arc::new).collect()))
    }

    /// The rule that answers this text, if any. Expects the text as [`normalise`] left it.
    ///
    /// Takes time in proportion to the text, not to the rules; regular expressions, tried one by one, are the exception.
    pub fn winner(&self, normalised: &str) -> Option<Match> {
        let mut best = Candidate { rank: NO_RANK, by: By::Nothing };
        if let Some(&rank) = self.exact.get(normalised) {
            best = Candidate { rank, by: By::Exact };
        }
        let best = self.best_pattern(normalised, best);
        let could_win = self.expressions.iter().take_while(|expression| expression.rank < best.rank);
        for expression in could_win {
            if let Some(found) = expression.regex.find(normalised) {
                return Some(self.expression_match(expression, found.as_str()));
            }
        }
        self.pattern_match(normalised, best)
    }

    /// Whether the rule that answers this text calls the reminder tools.
    pub fn calls_reminders(&self, normalised: &str) -> bool {
        self.calls_reminders
            && self.winner(normalised).is_some_and(|found| found.rule.action == RuleAction::CallReminder)
    }

    /// The first of `best` and all keywords and prefixes in the text. One pass; what lies behind a place is looked at
    /// only if it promises a better rank, so nested keywords cost no more than others.
    fn best_pattern(&self, normalised: &str, mut best: Candidate) -> Candidate {
        let words = WordBoundaries::of(normalised);
        for (end, pattern) in self.automaton.ends(normalised) {
            let ranks = &self.ranks[pattern as usize];
            if ranks.keyword_or_shorter < best.rank {
                best = Candidate { rank: ranks.keyword_or_shorter, by: By::Keyword { pattern, end } };
            }
            if ranks.prefix < best.rank && self.automaton.bytes(pattern) == end {
                best = Candidate { rank: ranks.prefix, by: By::Prefix { end } };
            }
            if ranks.whole_word_or_shorter < best.rank && words.at(end) {
                best = self.best_whole_word(&words, pattern, end, best);
            }
        }
        best
    }

    fn best_whole_word(
        &self,
        words: &WordBoundaries<'_>,
        from: PatternIndex,
        end: usize,
        best: Candidate,
    ) -> Candidate {
        let mut best = best;
        for pattern in self.automaton.chain(from) {
            let ranks = &self.ranks[pattern as usize];
            if ranks.whole_word_or_shorter >= best.rank {
                break;
            }
            if ranks.whole_word < best.rank && words.at(end - self.automaton.bytes(pattern)) {
                best = Candidate { rank: ranks.whole_word, by: By::WholeWord { pattern, end } };
            }
        }
        best
    }

    fn pattern_match(&self, normalised: &str, best: Candidate) -> Option<Match> {
        let text = |pattern, end: usize| shown(&normalised[end - self.automaton.bytes(pattern)..end]);
        let on = match best.by {
            By::Nothing => return None,
            By::Exact => MatchedOn::Exact { text: shown(normalised) },
            By::Prefix { end } => MatchedOn::Prefix { text: shown(&normalised[..end]) },
            By::WholeWord { pattern, end } => MatchedOn::WholeWord { text: text(pattern, end) },
            By::Keyword { pattern: longest, end } => {
                let of_rule = |pattern: &PatternIndex| self.ranks[*pattern as usize].keyword == best.rank;
                let pattern = self.automaton.chain(longest).find(of_rule)?;
                MatchedOn::Keyword { text: text(pattern, end) }
            }
        };
        Some(Match { rule: self.rules[best.rank as usize].clone(), on })
    }

    fn expression_match(&self, expression: &Expression, found: &str) -> Match {
        let rule = self.rules[expression.rank as usize].clone();
        let on = MatchedOn::Regex { pattern: rule.keywords[expression.keyword].clone(), text: shown(found) };
        Match { rule, on }
    }
}

/// The enabled rules taken apart, before they are put together again by role.
#[derive(Default)]
struct Parts {
    patterns: Vec<Part>,
    exact: HashMap<Box<str>, Rank>,
    expressions: Vec<Expression>,
    bytes: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    text: String,
    role: Role,
    rank: Rank,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Keyword,
    WholeWord,
    Prefix,
}

impl Parts {
    fn add(&mut self, rank: Rank, rule: &Rule) -> Result<(), RuleError> {
        match rule.kind {
            RuleKind::Keyword => {
                let role = if rule.whole_word { Role::WholeWord } else { Role::Keyword };
                for (place, keyword) in rule.keywords.iter().enumerate() {
                    let text = self.take_text(keyword, || format!("keywords[{place}]"))?;
                    self.patterns.push(Part { text, role, rank });
                }
            }
            RuleKind::Prefix => {
                let prefix = rule.prefix.as_deref().ok_or(RuleError::Missing { field: "prefix" })?;
                let text = self.take_text(prefix, || "prefix".to_owned())?;
                self.patterns.push(Part { text, role: Role::Prefix, rank });
            }
            RuleKind::Exact => {
                for (place, keyword) in rule.keywords.iter().enumerate() {
                    let text = self.take_text(keyword, || format!("keywords[{place}]"))?;
                    self.exact.entry(text.into()).or_insert(rank);
                }
            }
            RuleKind::Regex => {
                for (keyword, pattern) in rule.keywords.iter().enumerate() {
                    let regex = compile_pattern(&format!("keywords[{keyword}]"), pattern)?;
                    self.expressions.push(Expression { rank, keyword, regex });
                }
            }
            RuleKind::Scheduled => {}
        }
        Ok(())
    }

    fn take_text(&mut self, written: &str, field: impl Fn() -> String) -> Result<String, RuleError> {
        let text = normalise(written);
        if text.is_empty() {
            return Err(RuleError::Empty { field: field() });
        }
        self.bytes += text.len();
        Ok(text)
    }

    fn assemble(mut self, rules: Vec<Arc<Rule>>) -> TriggerSet {
        self.patterns.sort_unstable();
        let mut texts: Vec<&str> = Vec::new();
        let mut ranks: Vec<PatternRanks> = Vec::new();
        let mut rule_patterns = Vec::with_capacity(self.patterns.len());
        for part in &self.patterns {
            if texts.last() != Some(&part.text.as_str()) {
                texts.push(&part.text);
                ranks.push(PatternRanks::none());
            }
            rule_patterns.push((part.rank, (texts.len() - 1) as PatternIndex));
            if let Some(of_text) = ranks.last_mut() {
                of_text.add(part.role, part.rank);
            }
        }
        rule_patterns.sort_unstable();
        rule_patterns.dedup();
        let automaton = Automaton::build(&texts);
        count_in_shorter(&mut ranks, &automaton);
        let (exact, expressions) = (self.exact, self.expressions);
        let calls_reminders = rules.iter().any(|rule| rule.action == RuleAction::CallReminder);
        TriggerSet { rules, automaton, ranks, rule_patterns, exact, expressions, calls_reminders }
    }
}

impl PatternRanks {
    fn none() -> Self {
        Self {
            keyword: NO_RANK,
            keyword_or_shorter: NO_RANK,
            whole_word: NO_RANK,
            whole_word_or_shorter: NO_RANK,
            prefix: NO_RANK,
        }
    }

    fn add(&mut self, role: Role, rank: Rank) {
        let best = match role {
            Role::Keyword => &mut self.keyword,
            Role::WholeWord => &mut self.whole_word,
            Role::Prefix => &mut self.prefix,
        };
        *best = (*best).min(rank);
    }
}

/// Fills the `…_or_shorter` ranks, shorter patterns first.
fn count_in_shorter(ranks: &mut [PatternRanks], automaton: &Automaton) {
    let mut by_length: Vec<PatternIndex> = (0..ranks.len() as PatternIndex).collect();
    by_length.sort_unstable_by_key(|&pattern| automaton.bytes(pattern));
    for pattern in by_length {
        let shorter = automaton.shorter(pattern);
        let behind = match shorter {
            NO_PATTERN => PatternRanks::none(),
            _ => ranks[shorter as usize].clone(),
        };
        let here = &mut ranks[pattern as usize];
        here.keyword_or_shorter = here.keyword.min(behind.keyword_or_shorter);
        here.whole_word_or_shorter = here.whole_word.min(behind.whole_word_or_shorter);
    }
}

fn check_counts(rules: &[Rule]) -> Result<(), RuleError> {
    let of_kind = |kinds: &[RuleKind]| -> usize {
        rules.iter().filter(|rule| kinds.contains(&rule.kind)).map(|rule| rule.keywords.len()).sum()
    };
    let prefixes = rules.iter().filter(|rule| rule.kind == RuleKind::Prefix).count();
    let keywords = of_kind(&[RuleKind::Keyword, RuleKind::Exact]) + prefixes;
    let counts = [
        (AgentLimit::Rules, rules.len(), RULES_PER_AGENT_MAX),
        (AgentLimit::Keywords, keywords, KEYWORDS_PER_AGENT_MAX),
        (AgentLimit::Patterns, of_kind(&[RuleKind::Regex]), PATTERNS_PER_AGENT_MAX),
    ];
    match counts.into_iter().find(|(_, count, limit)| count > limit) {
        Some((what, count, limit)) => Err(RuleError::AgentTooMany { what, count, limit }),
        None => Ok(()),
    }
}

/// A part of the text as it is shown, with a mark where it was cut.
fn shown(text: &str) -> String {
    match text.char_indices().nth(MATCHED_TEXT_CHARACTERS_MAX) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
