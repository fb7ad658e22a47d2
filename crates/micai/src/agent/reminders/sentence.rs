//! What a message asks for: the words around a time, the time, and the text.

use super::ask::AskReason;
use super::language::{CommandMeaning, Language, Opener};
use super::pattern::Phrases;
use super::pieces::{Clock, Reading, Span, Unit, When};
use super::reader::{Bound, Reader};
use super::tokens::{Token, TokenKind, tokens};
use super::zones::{Place, Zones, named};

/// Characters of what a reminder says.
pub const REMINDER_CHARACTERS_MAX: usize = 500;
/// Tokens before the end of a message in which a time may begin.
const END_TOKENS_MAX: usize = 28;
/// How long "snooze" puts off, where nothing else is said.
const SNOOZE_MINUTES: i64 = 10;
/// Numbers that one message may cancel.
const CANCELLED_MAX: usize = 20;

/// What a message asks for, its time not yet brought to a calendar.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wish {
    /// A reminder.
    Set { text: String, when: When },
    /// A reminder that cannot be made as it was said.
    Unclear { why: AskReason, text: Option<String>, when: When },
    /// The list of them.
    List,
    /// Those of these numbers are given up.
    Cancel(Vec<i64>),
    /// All are given up.
    CancelAll,
    /// The last one is given up, if it is clear which.
    CancelLast,
    /// The one that says this is given up.
    CancelText(String),
    /// The last one that came is put off.
    Snooze(When),
    /// The person lives in this zone.
    Zone(String),
    /// The person says that they are in a place of several, or of no, known zones.
    ZoneUnclear(AskReason),
    /// Which zone is theirs?
    ZoneAsked,
}

/// What a message asks for; nothing if it does not speak of reminders. `is_addressed`: it was written to the agent, so that a time
/// and a text alone ask for a reminder.
pub(super) fn read(language: &Language, zones: &Zones, text: &str, is_addressed: bool) -> Option<Wish> {
    let all = tokens(text);
    if all.is_empty() || all.len() > super::tokens::TOKENS_MAX {
        return None;
    }
    let tokens = trimmed(language, &all)?;
    let reader = Reader::new(language, zones, tokens);
    if let Some(wish) = command(&reader) {
        return Some(wish);
    }
    let end = tokens.last().map_or(0, |token| token.end);
    let decorations = all.iter().skip_while(|token| token.start < end).take_while(|token| is_decoration(token)).count();
    let start = trimmed_start(&all, tokens);
    let sentence = Sentence { text, reader: &reader, all: all.get(..start + tokens.len() + decorations)?, start };
    if let Some((end, opener)) = language.open.longest(tokens, 0) {
        return sentence.opened(opener, end, None);
    }
    // "At 9 remind me to call", and what has a time only.
    let times = reader.whens(0);
    for (end, when) in &times {
        let place = reader.after_all(&language.leading, *end, 3);
        if let Some((after, opener)) = language.open.longest(tokens, place) {
            return sentence.opened(opener, after, Some(when.clone()));
        }
    }
    let (end, when) = times.into_iter().next()?;
    sentence.unopened(end, when, is_addressed)
}

/// What an answer to "when?" says.
pub(super) fn read_when(language: &Language, zones: &Zones, text: &str) -> Option<When> {
    let all = tokens(text);
    let tokens = trimmed(language, &all)?;
    let reader = Reader::new(language, zones, tokens);
    let start = reader.after_all(&language.before_time, 0, 1);
    if let Some(when) = reader.when_to_end(start).or_else(|| reader.when_to_end(0)) {
        return Some(when);
    }
    // A part of the day, or an hour, alone.
    match tokens {
        [one] if one.kind == TokenKind::Number => {
            let hour = one.number_of_digits(1, 2)?;
            Some(When { clock: Some(super::calendar::clock_alone(hour)), ..When::default() })
        }
        _ => {
            let (end, part) = language.parts.longest(tokens, 0)?;
            (end == tokens.len()).then(|| When { part: Some(part), ..When::default() })
        }
    }
}

/// Without what stands around it and means nothing.
fn trimmed<'a>(language: &Language, all: &'a [Token]) -> Option<&'a [Token]> {
    let mut tokens = all;
    while let Some((end, ())) = language.leading.longest(tokens, 0).filter(|(end, ())| *end < tokens.len()) {
        tokens = tokens.get(end..)?;
    }
    'outer: loop {
        for phrase in &language.trailing {
            let Some(start) = tokens.len().checked_sub(phrase.len()).filter(|start| *start > 0) else { continue };
            if tokens.get(start..)?.iter().map(|token| &token.text).eq(phrase.iter()) && !ends_dotted(tokens) {
                tokens = tokens.get(..start)?;
                continue 'outer;
            }
        }
        // Emoji and the like.
        match tokens.split_last() {
            Some((last, rest)) if is_decoration(last) && !rest.is_empty() => tokens = rest,
            _ => break,
        }
    }
    Some(tokens)
}

/// The full stop of "8 p.m." stays.
fn ends_dotted(tokens: &[Token]) -> bool {
    let [.., first, dot, second, last] = tokens else { return false };
    last.text == "."
        && dot.text == "."
        && [first, second].iter().all(|token| token.text.chars().count() == 1)
        && second.kind == TokenKind::Word
}

fn trimmed_start(all: &[Token], tokens: &[Token]) -> usize {
    let start = tokens.first().map_or(0, |token| token.start);
    all.iter().take_while(|token| token.start < start).count()
}

fn is_decoration(token: &Token) -> bool {
    token.kind == TokenKind::Mark && !token.text.is_ascii()
}

fn command(reader: &Reader<'_>) -> Option<Wish> {
    let length = reader.tokens.len();
    let whole = |meaning: CommandMeaning, bound: Bound| -> Option<Wish> {
        let rest = bound.rest.and_then(|start| reader.tokens.get(start..));
        match meaning {
            CommandMeaning::List => Some(Wish::List),
            CommandMeaning::Cancel => Some(Wish::Cancel(bound.list.into_iter().take(CANCELLED_MAX).collect())),
            CommandMeaning::CancelAll => Some(Wish::CancelAll),
            CommandMeaning::CancelLast => Some(Wish::CancelLast),
            CommandMeaning::CancelText => {
                let words: Vec<&str> = rest?.iter().map(|token| token.text.as_str()).collect();
                Some(Wish::CancelText(words.join(" ")))
            }
            CommandMeaning::Snooze => Some(Wish::Snooze(minutes(SNOOZE_MINUTES))),
            CommandMeaning::SnoozeWhen => {
                if let Some(when) = bound.when {
                    return Some(Wish::Snooze(when));
                }
                if let Some(span) = bound.span {
                    return Some(Wish::Snooze(When { span: Some(span), ..When::default() }));
                }
                let number = *bound.numbers.first()?;
                let clock = Some(super::calendar::clock_alone(number));
                Some(Wish::Snooze(match bound.day {
                    Some(day) => When { day: Some(day), clock, ..When::default() },
                    None if is_until(reader) => When { clock, ..When::default() },
                    None => minutes(number),
                }))
            }
            CommandMeaning::Where => match reader.zones.place(rest?) {
                Place::One(zone) => Some(Wish::Zone(zone)),
                Place::Several => Some(Wish::ZoneUnclear(AskReason::ZoneUnclear)),
                // "I am in trouble" says nothing about time.
                Place::Unknown => None,
            },
            CommandMeaning::Zone => match reader.zones.place(rest?) {
                Place::One(zone) => Some(Wish::Zone(zone)),
                Place::Several => Some(Wish::ZoneUnclear(AskReason::ZoneUnclear)),
                Place::Unknown => Some(Wish::ZoneUnclear(AskReason::ZoneUnknown)),
            },
            CommandMeaning::ZoneAsked => Some(Wish::ZoneAsked),
        }
    };
    for (meaning, pattern) in &reader.language.command {
        for (end, bound) in reader.matches(pattern, 0) {
            if end == length
                && let Some(wish) = whole(*meaning, bound)
            {
                return Some(wish);
            }
        }
    }
    None
}

/// "Snooze until 9": the number is an hour. "Snooze 10": it is minutes.
fn is_until(reader: &Reader<'_>) -> bool {
    (0..reader.tokens.len()).any(|place| reader.language.goes_on.longest(reader.tokens, place).is_some())
}

fn minutes(minutes: i64) -> When {
    When { span: Span::of(minutes.saturating_mul(100), Unit::Minute), ..When::default() }
}

/// The place that an answer to "where are you?" names.
pub(super) fn read_place(language: &Language, zones: &Zones, text: &str) -> Place {
    let all = tokens(text);
    let Some(tokens) = trimmed(language, &all) else { return Place::Unknown };
    if let Some(Wish::Zone(zone)) = command(&Reader::new(language, zones, tokens)) {
        return Place::One(zone);
    }
    let whole = zones.place(tokens);
    if whole != Place::Unknown {
        return whole;
    }
    // "Lisbon, Portugal" and "Lisbon time": the first word of it that is a place, if what follows does not speak against it.
    let found = zones
        .longest(tokens, 0, false)
        .filter(|(end, _)| tokens.get(*end).is_some_and(|token| token.text == ",") || tokens.len() == end + 1);
    match found {
        Some((_, zone)) if zone.is_empty() => Place::Several,
        Some((_, zone)) => Place::One(zone),
        None => zones.place(&named(text)),
    }
}

struct Sentence<'a> {
    text: &'a str,
    reader: &'a Reader<'a>,
    /// The tokens with what stood before them, and the emoji behind.
    all: &'a [Token],
    /// Where the reader's tokens begin among all.
    start: usize,
}

impl Sentence<'_> {
    fn language(&self) -> &Language {
        self.reader.language
    }

    fn tokens(&self) -> &[Token] {
        self.reader.tokens
    }

    /// A message that begins with "remind me", or with a time and then that.
    fn opened(&self, opener: Opener, at: usize, said_before: Option<When>) -> Option<Wish> {
        let unclear = |why| Some(Wish::Unclear { why, text: None, when: When::default() });
        match opener {
            Opener::Never => return unclear(AskReason::Never),
            Opener::OtherPerson => return unclear(AskReason::OtherPerson),
            Opener::Remind | Opener::Wake | Opener::Alarm => {}
        }
        let say = &self.language().say;
        let usual_text = match opener {
            Opener::Wake => Some(say.wake.clone()),
            Opener::Alarm => Some(say.alarm.clone()),
            _ => None,
        };
        let place = self.reader.after_all(&self.language().before_time, at, 2);
        let time = self.reader.longest_when(place).or_else(|| self.reader.longest_when(at));
        if let Some(before) = said_before {
            // "Tomorrow remind me at 9": both are the time, if they go together.
            let both = time.filter(|_| !before.is_complete()).and_then(|(end, when)| Some((end, before.with(&when)?)));
            let (end, when) = both.unwrap_or((at, before));
            return Some(self.after_time(end, when, usual_text));
        }
        if let Some((end, when)) = time {
            // Who wants to be woken at 7 does not mean the coming evening, nor perhaps the morning.
            let is_unclear = usual_text.is_some() && when.day.is_none() && when.repeat.is_none();
            if let Some(Reading::Either(early, late)) = when.clock.filter(|_| is_unclear).map(Clock::reading) {
                return Some(Wish::Unclear { why: AskReason::WhichHalf(early, late), text: usual_text, when });
            }
            return Some(self.after_time(end, when, usual_text));
        }
        // "A reminder for 15 minutes": after "for" a length of time is one from now.
        if let Some((end, span)) =
            self.reader.spans(place).into_iter().filter(|_| place > at).max_by_key(|(end, _)| *end)
        {
            return Some(self.after_time(end, When { span: Some(span), ..When::default() }, usual_text));
        }
        if self.language().conditions.longest(self.tokens(), at).is_some() {
            return unclear(AskReason::WhichTime);
        }
        let start = self.text_start(at);
        Some(self.with_end(start, self.tokens().len(), &When::default(), usual_text))
    }

    /// A time and a text, without a word about reminding.
    fn unopened(&self, end: usize, when: When, is_addressed: bool) -> Option<Wish> {
        let next = self.tokens().get(end)?;
        let is_title = matches!(next.text.as_str(), ":" | "-");
        let is_rhythm = when.repeat.is_some() && when.is_complete();
        let is_asked = is_addressed && (when.is_complete() || when.repeat.is_some() || when.day.is_some());
        let start = self.text_start(end);
        let tells = self.language().tells.longest(self.tokens(), end).is_some();
        let goes_on = self.language().goes_on.longest(self.tokens(), end).is_some();
        let is_wish = (is_title && when.is_complete()) || ((is_asked || is_rhythm) && !tells && !goes_on);
        if !is_wish || when.vague.is_some() || start >= self.tokens().len() || self.ends_in_a_question() {
            return None;
        }
        Some(self.after_time(end, when, None))
    }

    fn ends_in_a_question(&self) -> bool {
        self.text.trim_end().ends_with(['?', '？', '؟'])
    }

    /// What stands behind the time: the text, and perhaps the rest of the time.
    fn after_time(&self, end: usize, when: When, usual_text: Option<String>) -> Wish {
        let tokens = self.tokens();
        let start = self.text_start(end);
        let has_marker = start > end;
        if !has_marker && end < tokens.len() {
            let goes_on = self.language().goes_on.longest(tokens, end).is_some();
            let is_double = self.reader.longest_when(end).is_some();
            if let Some(whole) = self.bare_hour(end, &when) {
                return self.set(self.text_start(end + 1), tokens.len(), whole, usual_text);
            }
            if goes_on || is_double || self.reader.is_number(end) {
                let text = self.slice(start, tokens.len());
                return Wish::Unclear { why: AskReason::Mixed, text, when };
            }
        }
        if when.is_complete() {
            return self.set(start, tokens.len(), when, usual_text);
        }
        self.with_end(start, tokens.len(), &when, usual_text)
    }

    /// "Tomorrow 9 to call": an hour without a word before it, if the text follows at once.
    fn bare_hour(&self, at: usize, when: &When) -> Option<When> {
        let hour = self.tokens().get(at)?.number_of_digits(1, 2)?;
        let is_followed = self.text_start(at + 1) > at + 1;
        let said = When { clock: Some(super::calendar::clock_alone(hour)), ..When::default() };
        (is_followed && !when.is_complete()).then(|| when.with(&said)).flatten()
    }

    /// The text from a place on, with what its end says about the time.
    fn with_end(&self, start: usize, end: usize, when: &When, usual_text: Option<String>) -> Wish {
        let earliest = start.max(end.saturating_sub(END_TOKENS_MAX));
        let mut found: Option<(usize, When)> = None;
        for place in earliest..end {
            if let Some(at_end) = self.reader.when_to_end(place) {
                found = Some((place, at_end));
                break;
            }
        }
        let Some((place, at_end)) = found else {
            return match when.is_time() {
                true => self.set(start, end, when.clone(), usual_text),
                false => self.without_time(start, end, usual_text),
            };
        };
        // "Remind me at 9 to call mom on Friday": on Friday at 9, or at 9 to call her on Friday?
        if when.is_hour_only() && at_end.day.is_some() {
            return Wish::Unclear { why: AskReason::Inside, text: self.slice(start, end), when: when.clone() };
        }
        let Some(together) = when.with(&at_end) else {
            return match when.is_time() {
                // The beginning said it all; the end belongs to the text.
                true => self.set(start, end, when.clone(), usual_text),
                false => Wish::Unclear { why: AskReason::Mixed, text: self.slice(start, end), when: at_end },
            };
        };
        // "Meet Ana at 5 at 4": two times in a row, and only one of them is the reminder's.
        if self.ends_in_a_time(start, place) {
            return Wish::Unclear { why: AskReason::Mixed, text: self.slice(start, place), when: When::default() };
        }
        self.set(start, place, together, usual_text)
    }

    fn ends_in_a_time(&self, start: usize, end: usize) -> bool {
        let earliest = start.max(end.saturating_sub(6));
        (earliest..end)
            .any(|place| self.reader.whens(place).iter().any(|(until, when)| *until == end && when.is_time()))
    }

    fn without_time(&self, start: usize, end: usize, usual_text: Option<String>) -> Wish {
        let text = self.slice(start, end).or(usual_text);
        // A time in the middle may be meant, or belong to what is to be done.
        let inside = (start..end).find_map(|place| {
            Some((
                place,
                self.reader.longest_when(place).filter(|(_, when)| when.clock.is_some() || when.span.is_some())?,
            ))
        });
        match (text, inside) {
            (None, _) => Wish::Unclear { why: AskReason::TextMissing, text: None, when: When::default() },
            (text, Some(_)) => Wish::Unclear { why: AskReason::Inside, text, when: When::default() },
            (text, None) => Wish::Unclear { why: AskReason::WhenMissing, text, when: When::default() },
        }
    }

    fn set(&self, start: usize, end: usize, when: When, usual_text: Option<String>) -> Wish {
        let Some(text) = self.slice(start, end).or(usual_text) else {
            return Wish::Unclear { why: AskReason::TextMissing, text: None, when };
        };
        if text.chars().count() > REMINDER_CHARACTERS_MAX {
            return Wish::Unclear { why: AskReason::TextTooLong, text: None, when };
        }
        Wish::Set { text, when }
    }

    /// Behind the words that only lead to the text.
    fn text_start(&self, at: usize) -> usize {
        behind(&self.language().before_text, self.tokens(), at)
    }

    /// What was written between two tokens, without marks around it.
    fn slice(&self, start: usize, end: usize) -> Option<String> {
        let end = if end == self.tokens().len() { self.all.len() } else { self.start + end };
        text_of(self.text, self.all.get(self.start + start..end)?)
    }
}

fn behind(phrases: &Phrases<()>, tokens: &[Token], at: usize) -> usize {
    let mut place = at;
    for _ in 0..3 {
        match phrases.longest(tokens, place) {
            Some((end, ())) => place = end,
            None => break,
        }
    }
    place
}

/// The text that tokens were read from, without marks around it; nothing if no letter, digit or emoji is left.
pub(super) fn text_of(text: &str, tokens: &[Token]) -> Option<String> {
    let is_edge = |token: &Token| matches!(token.text.as_str(), "," | "." | ";" | ":" | "-" | "!");
    let end = tokens.iter().rposition(|token| !is_edge(token))? + 1;
    let start = tokens.iter().position(|token| !is_edge(token))?;
    let mut tokens = tokens.get(start..end)?;
    if let [first, inner @ .., last] = tokens
        && matches!((first.text.as_str(), last.text.as_str()), ("\"", "\"") | ("“", "”") | ("«", "»") | ("'", "'"))
        && !inner.is_empty()
    {
        tokens = inner;
    }
    if tokens.iter().all(|token| token.kind == TokenKind::Mark && token.text.is_ascii()) {
        return None;
    }
    let written = text.get(tokens.first()?.start..tokens.last()?.end)?;
    let tidy: String = written.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    Some(tidy.split_whitespace().collect::<Vec<_>>().join(" "))
}
