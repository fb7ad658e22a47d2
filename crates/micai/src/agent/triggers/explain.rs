//! Every rule that matches a text, not just the winner: for a person who asks why.

use std::collections::HashMap;

use super::automaton::PatternIndex;
use super::words::WordBoundaries;
use super::{Match, MatchedOn, Rank, TriggerSet, shown};
use crate::domain::rule::{Rule, RuleKind};

/// The most matches that are listed.
pub const EXPLAINED_MATCHES_MAX: usize = 100;

/// The rules that match a text, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllMatches {
    /// The first is the winner. At most [`EXPLAINED_MATCHES_MAX`].
    pub matches: Vec<Match>,
    /// Whether more rules match than are listed.
    pub cut: bool,
}

/// Where each pattern that is in the text first ends, in each role.
#[derive(Default)]
struct FirstEnds {
    keywords: HashMap<PatternIndex, usize>,
    whole_words: HashMap<PatternIndex, usize>,
}

impl TriggerSet {
    /// Every rule that matches, in order; the first is [`TriggerSet::winner`]. Expects normalised text. Slower than
    /// asking for the winner: it looks at every rule.
    pub fn all_matches(&self, normalised: &str) -> AllMatches {
        let found = self.first_ends(normalised);
        let mut matches = Vec::new();
        for (rank, rule) in (0..).zip(&self.rules) {
            let Some(on) = self.matched_on(normalised, &found, rank, rule) else {
                continue;
            };
            if matches.len() == EXPLAINED_MATCHES_MAX {
                return AllMatches { matches, cut: true };
            }
            matches.push(Match { rule: rule.clone(), on });
        }
        AllMatches { matches, cut: false }
    }

    fn first_ends(&self, normalised: &str) -> FirstEnds {
        let words = WordBoundaries::of(normalised);
        let mut found = FirstEnds::default();
        for (end, longest) in self.automaton.ends(normalised) {
            for pattern in self.automaton.chain(longest) {
                found.keywords.entry(pattern).or_insert(end);
                if words.at(end) && words.at(end - self.automaton.bytes(pattern)) {
                    found.whole_words.entry(pattern).or_insert(end);
                }
            }
        }
        found
    }

    fn matched_on(&self, normalised: &str, found: &FirstEnds, rank: Rank, rule: &Rule) -> Option<MatchedOn> {
        let text = |(end, bytes): (usize, usize)| shown(&normalised[end - bytes..end]);
        match rule.kind {
            RuleKind::Keyword if rule.whole_word => {
                Some(MatchedOn::WholeWord { text: text(self.first_of_rule(rank, &found.whole_words)?) })
            }
            RuleKind::Keyword => Some(MatchedOn::Keyword { text: text(self.first_of_rule(rank, &found.keywords)?) }),
            RuleKind::Prefix => {
                let (end, bytes) = self.first_of_rule(rank, &found.keywords)?;
                (end == bytes).then(|| MatchedOn::Prefix { text: text((end, bytes)) })
            }
            RuleKind::Exact => {
                self.exact.get(normalised)?;
                let is_this = |keyword: &String| super::normalise(keyword) == normalised;
                rule.keywords.iter().any(is_this).then(|| MatchedOn::Exact { text: shown(normalised) })
            }
            RuleKind::Regex => {
                let start = self.expressions.partition_point(|expression| expression.rank < rank);
                let of_rule = self.expressions[start..].iter().take_while(|expression| expression.rank == rank);
                let mut tried = of_rule.filter_map(|it| it.regex.find(normalised).map(|text| (it, text)));
                tried.next().map(|(expression, text)| self.expression_match(expression, text.as_str()).on)
            }
            RuleKind::Scheduled => None,
        }
    }

    /// Of the rule's patterns that were found, the one that ends first, and of those the longest: its end and length.
    fn first_of_rule(&self, rank: Rank, ends: &HashMap<PatternIndex, usize>) -> Option<(usize, usize)> {
        let start = self.rule_patterns.partition_point(|(of, _)| *of < rank);
        let of_rule = self.rule_patterns[start..].iter().take_while(|(of, _)| *of == rank);
        of_rule
            .filter_map(|(_, pattern)| ends.get(pattern).map(|&end| (end, self.automaton.bytes(*pattern))))
            .min_by_key(|&(end, bytes)| (end, std::cmp::Reverse(bytes)))
    }
}
