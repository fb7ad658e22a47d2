//! Patterns of a language's file: rows of words and slots, compiled.

use std::collections::HashMap;

use super::tokens::{Token, tokens};

/// The most elements of a pattern.
const ELEMENTS_MAX: usize = 24;

/// What a slot takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Number,
    Decimal,
    Numbers,
    Hour,
    Minute,
    MinuteWord,
    FourDigits,
    Ordinal,
    Ordinals,
    Nth,
    Year,
    Unit,
    Weekday,
    Weekdays,
    PluralWeekdays,
    Month,
    Part,
    Half,
    NumericDate,
    Zone,
    ZoneCode,
    Span,
    Clock,
    Date,
    Repeat,
    When,
    Rest,
}

impl Slot {
    const NAMES: [(&'static str, Self); 27] = [
        ("number", Self::Number),
        ("decimal", Self::Decimal),
        ("numbers", Self::Numbers),
        ("hour", Self::Hour),
        ("minute", Self::Minute),
        ("minute_word", Self::MinuteWord),
        ("four_digits", Self::FourDigits),
        ("ordinal", Self::Ordinal),
        ("ordinals", Self::Ordinals),
        ("nth", Self::Nth),
        ("year", Self::Year),
        ("unit", Self::Unit),
        ("weekday", Self::Weekday),
        ("weekdays", Self::Weekdays),
        ("plural_weekdays", Self::PluralWeekdays),
        ("month", Self::Month),
        ("part", Self::Part),
        ("half", Self::Half),
        ("numeric_date", Self::NumericDate),
        ("zone", Self::Zone),
        ("zone_code", Self::ZoneCode),
        ("span", Self::Span),
        ("clock", Self::Clock),
        ("date", Self::Date),
        ("repeat", Self::Repeat),
        ("when", Self::When),
        ("rest", Self::Rest),
    ];

    /// Which tables it may stand in: a table takes slots of lower rank only, so that no pattern leads back to itself.
    fn rank(self) -> Rank {
        match self {
            Self::Span | Self::Clock | Self::Date => Rank::Time,
            Self::Repeat => Rank::Repeat,
            Self::When | Self::Rest => Rank::Message,
            _ => Rank::Word,
        }
    }
}

/// The order in which tables build on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Word,
    /// `span`, `clock`, `date`.
    Time,
    /// `repeat`.
    Repeat,
    /// `piece`, `vague`.
    Piece,
    /// Slots of `command` only.
    Message,
    /// `command`.
    Command,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// One of these words.
    Words(Vec<String>),
    /// What a slot takes.
    Slot(Slot),
    /// May be missing.
    Optional(Vec<Element>),
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(pub Vec<Element>);

impl Pattern {
    /// Compiles a pattern for a table of that rank; a sentence says what is wrong with it.
    pub fn compile(written: &str, rank: Rank) -> Result<Self, String> {
        let elements = elements(written, rank, false).map_err(|fault| format!("the pattern {written:?} {fault}"))?;
        match elements.len() {
            0 => Err(format!("the pattern {written:?} is empty")),
            count if count > ELEMENTS_MAX => Err(format!("the pattern {written:?} has more than {ELEMENTS_MAX} parts")),
            _ => Ok(Self(elements)),
        }
    }
}

fn elements(written: &str, rank: Rank, is_inside: bool) -> Result<Vec<Element>, String> {
    let mut found = Vec::new();
    let mut rest = written.trim_start();
    while let Some(first) = rest.chars().next() {
        let (element, after) = match first {
            // A bracket with a space or a slot in it is a choice; one that stands for itself is written `\(`.
            '(' if is_inside => return Err("has a bracket in a bracket".to_owned()),
            '(' => {
                let (inner, after) = rest[1..].split_once(')').ok_or("has an open bracket")?;
                (vec![Element::Optional(elements(inner, rank, true)?)], after)
            }
            '{' => {
                let (name, after) = rest[1..].split_once('}').ok_or("has an open brace")?;
                let slot = Slot::NAMES.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot);
                let slot = slot.ok_or_else(|| format!("has a slot {{{name}}} that there is not"))?;
                if slot.rank() >= rank {
                    return Err(format!("has the slot {{{name}}}, which builds on its own table"));
                }
                (vec![Element::Slot(slot)], after)
            }
            _ => {
                let end = rest.find([' ', '{', '(']).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                (words(word)?, after)
            }
        };
        found.extend(element);
        rest = after.trim_start();
    }
    Ok(found)
}

/// The elements of what stands between two spaces: `a|b` is a choice of words, `mon-fri` a row of tokens.
fn words(written: &str) -> Result<Vec<Element>, String> {
    let escaped = written.strip_prefix('\\').unwrap_or(written);
    if escaped.contains('|') {
        let choices: Vec<Vec<Token>> = escaped.split('|').map(tokens).collect();
        return match choices.iter().all(|choice| choice.len() == 1) {
            true => Ok(vec![Element::Words(choices.into_iter().flatten().map(|token| token.text).collect())]),
            false => Err("has a choice of more than single words".to_owned()),
        };
    }
    Ok(tokens(escaped).into_iter().map(|token| Element::Words(vec![token.text])).collect())
}

/// Words and rows of words, with what they mean.
#[derive(Debug, Clone)]
pub(super) struct Phrases<T> {
    by_first: HashMap<String, Vec<(Vec<String>, T)>>,
}

impl<T> Default for Phrases<T> {
    fn default() -> Self {
        Self { by_first: HashMap::new() }
    }
}

impl<T: Clone> Phrases<T> {
    /// Adds a phrase; `false` if it has no words.
    pub fn add(&mut self, written: &str, meaning: T) -> bool {
        let mut words: Vec<String> = tokens(written).into_iter().map(|token| token.text).collect();
        if words.is_empty() {
            return false;
        }
        let rest = words.split_off(1);
        self.by_first.entry(words.swap_remove(0)).or_default().push((rest, meaning));
        true
    }

    /// The longest phrase that begins at a place: where it ends and what it means.
    pub fn longest(&self, tokens: &[Token], at: usize) -> Option<(usize, T)> {
        self.all(tokens, at).max_by_key(|(end, _)| *end)
    }

    /// Every phrase that begins at a place.
    pub fn all<'a>(&'a self, tokens: &'a [Token], at: usize) -> impl Iterator<Item = (usize, T)> + 'a {
        let known = tokens.get(at).and_then(|token| self.by_first.get(&token.text));
        known.into_iter().flatten().filter_map(move |(rest, meaning)| {
            let end = at + 1 + rest.len();
            let follows = tokens.get(at + 1..end)?;
            follows.iter().map(|token| &token.text).eq(rest.iter()).then(|| (end, meaning.clone()))
        })
    }
}
