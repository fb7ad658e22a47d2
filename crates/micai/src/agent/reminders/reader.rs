//! Reads times in a row of tokens with the patterns of a language.

use std::cell::OnceCell;

use super::language::{Language, Table};
use super::meaning;
use super::pattern::{Element, Pattern, Phrases, Slot};
use super::pieces::{Clock, Day, DayPart, Repeat, Span, Unit, When};
use super::tokens::{Token, TokenKind};
use super::zones::Zones;

/// Ways to read the same place that are looked at.
const READINGS_MAX: usize = 48;
/// Pieces of one time.
const PIECES_MAX: usize = 8;
/// Members of a list, such as the days of a week.
const LIST_MAX: usize = 12;

/// What the slots of a pattern took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bound {
    /// Numbers, hours, minutes and ordinals, in the order of the pattern.
    pub numbers: Vec<i64>,
    /// The hour was written with a zero in front.
    pub has_zero_hour: bool,
    pub hundredths: Option<i64>,
    pub list: Vec<i64>,
    pub unit: Option<Unit>,
    pub weekdays: Vec<i8>,
    pub month: Option<i8>,
    pub year: Option<i64>,
    pub part: Option<DayPart>,
    pub zone: Option<String>,
    pub span: Option<Span>,
    pub clock: Option<Clock>,
    pub day: Option<Day>,
    pub repeat: Option<Repeat>,
    pub repeat_part: Option<DayPart>,
    pub when: Option<When>,
    /// Where the rest begins, as a place among the tokens.
    pub rest: Option<usize>,
}

/// The tokens of a message, and what was read in them.
pub(super) struct Reader<'a> {
    pub language: &'a Language,
    pub zones: &'a Zones,
    pub tokens: &'a [Token],
    pieces: Vec<OnceCell<Vec<(usize, When)>>>,
}

impl<'a> Reader<'a> {
    pub fn new(language: &'a Language, zones: &'a Zones, tokens: &'a [Token]) -> Self {
        Self { language, zones, tokens, pieces: (0..=tokens.len()).map(|_| OnceCell::new()).collect() }
    }

    /// Every time that begins at a place, with where it ends, the longest first.
    pub fn whens(&self, at: usize) -> Vec<(usize, When)> {
        let mut found: Vec<(usize, When)> = Vec::new();
        let mut open = vec![(at, When::default(), 0)];
        while let Some((place, so_far, count)) = open.pop() {
            for (end, piece) in self.pieces(place) {
                let Some(when) = so_far.with(piece) else { continue };
                // "Nice time" is a zone only behind a time of the day.
                if piece.zone.is_some() && so_far.clock.is_none() {
                    continue;
                }
                if found.len() >= READINGS_MAX || found.contains(&(*end, when.clone())) {
                    continue;
                }
                if count + 1 < PIECES_MAX {
                    open.push((self.after_filler(*end), when.clone(), count + 1));
                }
                found.push((*end, when));
            }
        }
        found.retain(|(_, when)| when.is_time() && is_sound(when));
        // Among equals what is understood goes before what is vague.
        found.sort_by_key(|(end, when)| (std::cmp::Reverse(*end), when.vague.is_some()));
        found
    }

    /// The longest time that begins at a place.
    pub fn longest_when(&self, at: usize) -> Option<(usize, When)> {
        self.whens(at).into_iter().next()
    }

    /// The time that takes all of the tokens from a place to the end.
    pub fn when_to_end(&self, at: usize) -> Option<When> {
        let length = self.tokens.len();
        self.whens(at).into_iter().find(|(end, _)| *end == length).map(|(_, when)| when)
    }

    fn after_filler(&self, at: usize) -> usize {
        let is_filler = |token: &&Token| matches!(token.text.as_str(), "," | "(" | ")");
        at + self.tokens.get(at..).unwrap_or_default().iter().take_while(is_filler).take(2).count()
    }

    fn pieces(&self, at: usize) -> &[(usize, When)] {
        let Some(cell) = self.pieces.get(at) else { return &[] };
        cell.get_or_init(|| {
            let mut found = self.table(&self.language.piece, at, meaning::piece);
            for (vague, pattern) in &self.language.vague {
                for (end, _) in self.matches(pattern, at) {
                    found.push((end, When { vague: Some(*vague), ..When::default() }));
                }
            }
            // What is vague hides what is shorter: "at 9 and 17" is not "at 9".
            let vague_end = found.iter().filter(|(_, when)| when.vague.is_some()).map(|(end, _)| *end).max();
            if let Some(vague_end) = vague_end {
                let is_longer = found.iter().any(|(end, when)| when.vague.is_none() && *end >= vague_end);
                found.retain(|(end, when)| if is_longer { when.vague.is_none() } else { *end >= vague_end });
            }
            found
        })
    }

    /// Everything that the patterns of a table read at a place.
    pub fn table<M: Copy, T: PartialEq>(
        &self,
        table: &Table<M>,
        at: usize,
        mean: impl Fn(M, &Bound) -> Option<T>,
    ) -> Vec<(usize, T)> {
        let mut found = Vec::new();
        for (meaning, pattern) in table {
            for (end, bound) in self.matches(pattern, at) {
                let Some(value) = mean(*meaning, &bound) else { continue };
                let entry = (end, value);
                if !found.contains(&entry) {
                    found.push(entry);
                }
            }
        }
        found
    }

    /// Where a pattern that begins at a place may end, with what its slots took.
    pub fn matches(&self, pattern: &Pattern, at: usize) -> Vec<(usize, Bound)> {
        let mut found = Vec::new();
        self.walk(&pattern.0, at, Bound::default(), &mut found);
        found
    }

    fn walk(&self, elements: &[Element], at: usize, bound: Bound, found: &mut Vec<(usize, Bound)>) {
        if found.len() >= READINGS_MAX {
            return;
        }
        let Some((first, rest)) = elements.split_first() else {
            found.push((at, bound));
            return;
        };
        match first {
            Element::Words(words) => {
                if self.tokens.get(at).is_some_and(|token| words.contains(&token.text)) {
                    self.walk(rest, at + 1, bound, found);
                }
            }
            Element::Optional(inner) => {
                let mut with = Vec::new();
                self.walk(inner, at, bound.clone(), &mut with);
                for (end, bound) in with {
                    self.walk(rest, end, bound, found);
                }
                self.walk(rest, at, bound, found);
            }
            Element::Slot(slot) => {
                for (end, bound) in self.slot(*slot, at, &bound) {
                    self.walk(rest, end, bound, found);
                }
            }
        }
    }

    fn slot(&self, slot: Slot, at: usize, bound: &Bound) -> Vec<(usize, Bound)> {
        let (language, tokens) = (self.language, self.tokens);
        let number = |found: Option<(usize, i64)>| self.each(found, bound, |bound, number| bound.numbers.push(number));
        match slot {
            Slot::Number => number(self.number(at)),
            Slot::MinuteWord => number(self.number_word(at).filter(|(_, number)| (10..60).contains(number))),
            Slot::Minute => number(self.digits(at, 2, 2)),
            Slot::FourDigits => number(self.digits(at, 4, 4)),
            Slot::Ordinal | Slot::Nth => number(self.ordinal(at)),
            Slot::Hour => {
                let hour = self.digits(at, 1, 2).or_else(|| self.number_word(at).filter(|(_, hour)| *hour <= 24));
                let has_zero = tokens.get(at).is_some_and(|token| token.text.len() == 2 && token.text.starts_with('0'));
                self.each(hour, bound, |bound, hour| {
                    bound.numbers.push(hour);
                    bound.has_zero_hour = has_zero;
                })
            }
            Slot::Decimal => {
                self.each(self.decimal(at), bound, |bound, hundredths| bound.hundredths = Some(hundredths))
            }
            Slot::Year => self.each(self.digits(at, 4, 4), bound, |bound, year| bound.year = Some(year)),
            Slot::Numbers => {
                self.list(at, bound, |at| self.number_after_sign(at), |bound, number| bound.list.push(number))
            }
            Slot::Ordinals => self.list(at, bound, |at| self.ordinal(at), |bound, number| bound.list.push(number)),
            Slot::Weekdays => {
                let day = |at| language.weekdays.longest(tokens, at);
                self.list(at, bound, day, |bound, day| bound.weekdays.push(day))
            }
            Slot::PluralWeekdays => {
                let day = |at| language.plural_weekdays.longest(tokens, at);
                self.list(at, bound, day, |bound, day| bound.weekdays.push(day))
            }
            Slot::Weekday => {
                self.each(language.weekdays.longest(tokens, at), bound, |bound, day| bound.weekdays.push(day))
            }
            Slot::Month => {
                self.each(language.months.longest(tokens, at), bound, |bound, month| bound.month = Some(month))
            }
            Slot::Unit => self.each(language.units.longest(tokens, at), bound, |bound, unit| bound.unit = Some(unit)),
            Slot::Part => self.each(language.parts.longest(tokens, at), bound, |bound, part| bound.part = Some(part)),
            Slot::Half => {
                let half = language.parts.longest(tokens, at).filter(|(_, part)| part.usual_time().is_none());
                self.each(half, bound, |bound, part| bound.part = Some(part))
            }
            Slot::Zone | Slot::ZoneCode => {
                let zone = self.zones.longest(tokens, at, slot == Slot::ZoneCode);
                self.each(zone, bound, |bound, zone| bound.zone = Some(zone))
            }
            Slot::NumericDate => self.each(self.numeric_date(at), bound, |bound, day| bound.day = Some(day)),
            _ => self.whole(slot, at, bound),
        }
    }

    /// What a slot for more than a word takes.
    fn whole(&self, slot: Slot, at: usize, bound: &Bound) -> Vec<(usize, Bound)> {
        let language = self.language;
        match slot {
            Slot::Rest => match at < self.tokens.len() {
                true => vec![(self.tokens.len(), Bound { rest: Some(at), ..bound.clone() })],
                false => Vec::new(),
            },
            Slot::Span => self.each(self.spans(at), bound, |bound, span| bound.span = Some(span)),
            Slot::Clock => self
                .each(self.table(&language.clock, at, meaning::clock), bound, |bound, clock| bound.clock = Some(clock)),
            Slot::Date => {
                self.each(self.table(&language.date, at, meaning::day), bound, |bound, day| bound.day = Some(day))
            }
            Slot::Repeat => {
                let found = self.table(&language.repeat, at, meaning::repeat);
                self.each(found, bound, |bound, (repeat, part)| {
                    bound.repeat = Some(repeat);
                    bound.repeat_part = part;
                })
            }
            Slot::When => self.each(self.whens(at), bound, |bound, when| bound.when = Some(when)),
            _ => Vec::new(),
        }
    }

    fn each<T>(
        &self,
        found: impl IntoIterator<Item = (usize, T)>,
        bound: &Bound,
        change: impl Fn(&mut Bound, T),
    ) -> Vec<(usize, Bound)> {
        let with = |(end, value)| {
            let mut bound = bound.clone();
            change(&mut bound, value);
            (end, bound)
        };
        found.into_iter().map(with).collect()
    }

    /// A list, at every length that it may have.
    fn list<T>(
        &self,
        at: usize,
        bound: &Bound,
        member: impl Fn(usize) -> Option<(usize, T)>,
        push: impl Fn(&mut Bound, T),
    ) -> Vec<(usize, Bound)> {
        let mut found: Vec<(usize, Bound)> = Vec::new();
        let (mut place, mut bound) = (at, bound.clone());
        while let Some((end, value)) = member(place).filter(|_| found.len() < LIST_MAX) {
            push(&mut bound, value);
            found.push((end, bound.clone()));
            place = self.after_all(&self.language.list_joiners, end, 2);
        }
        found
    }

    /// Behind up to so many phrases of a list.
    pub fn after_all(&self, phrases: &Phrases<()>, at: usize, phrases_max: usize) -> usize {
        let mut at = at;
        for _ in 0..phrases_max {
            match phrases.longest(self.tokens, at) {
                Some((end, ())) => at = end,
                None => break,
            }
        }
        at
    }

    fn digits(&self, at: usize, digits_min: usize, digits_max: usize) -> Option<(usize, i64)> {
        Some((at + 1, self.tokens.get(at)?.number_of_digits(digits_min, digits_max)?))
    }

    fn number(&self, at: usize) -> Option<(usize, i64)> {
        self.digits(at, 1, 9).or_else(|| self.number_word(at))
    }

    /// A number in words: "twenty" and "twenty-five".
    fn number_word(&self, at: usize) -> Option<(usize, i64)> {
        let numbers = &self.language.numbers;
        let (end, tens) = numbers.longest(self.tokens, at)?;
        if tens < 20 || tens % 10 != 0 {
            return Some((end, tens));
        }
        let ones = numbers.longest(self.tokens, self.after_all(&self.language.number_joiners, end, 1));
        match ones.filter(|(_, ones)| (1..10).contains(ones)) {
            Some((end, ones)) => Some((end, tens + ones)),
            None => Some((end, tens)),
        }
    }

    /// A number as reminders have them: "2", "#2".
    fn number_after_sign(&self, at: usize) -> Option<(usize, i64)> {
        let is_sign = self.tokens.get(at).is_some_and(|token| token.text == "#");
        self.number(if is_sign { at + 1 } else { at })
    }

    fn ordinal(&self, at: usize) -> Option<(usize, i64)> {
        let ordinals = &self.language.ordinals;
        if let Some((end, number)) = self.digits(at, 1, 2) {
            let suffix = self.tokens.get(end).filter(|token| token.is_glued)?;
            return ordinals
                .suffixes
                .longest(self.tokens, end)
                .filter(|_| suffix.is_glued)
                .map(|(end, ())| (end, number));
        }
        if let Some(found) = ordinals.words.longest(self.tokens, at) {
            return Some(found);
        }
        // "twenty-first"
        let (end, tens) =
            self.language.numbers.longest(self.tokens, at).filter(|(_, tens)| *tens >= 20 && tens % 10 == 0)?;
        let (end, ones) = ordinals.words.longest(self.tokens, self.after_all(&self.language.number_joiners, end, 1))?;
        (1..10).contains(&ones).then_some((end, tens + ones))
    }

    /// "1.5" or "1,5": hundredths.
    fn decimal(&self, at: usize) -> Option<(usize, i64)> {
        let (_, whole) = self.digits(at, 1, 4)?;
        let point =
            self.tokens.get(at + 1).filter(|token| token.is_glued && matches!(token.text.as_str(), "." | ","))?;
        let part = self.tokens.get(at + 2).filter(|token| token.is_glued && point.is_glued)?;
        let hundredths = match part.text.len() {
            1 => part.number()? * 10,
            2 => part.number()?,
            _ => return None,
        };
        Some((at + 3, whole * 100 + hundredths))
    }

    /// `2027-03-04`, `3/4`, `3.4.2027`, `13-4-27`.
    fn numeric_date(&self, at: usize) -> Option<(usize, Day)> {
        let glued = |place: usize| self.tokens.get(place).filter(|token| token.is_glued);
        let mark = glued(at + 1).filter(|token| matches!(token.text.as_str(), "/" | "." | "-"))?;
        let second = glued(at + 2)?.number_of_digits(1, 2)?;
        let third = glued(at + 3).filter(|again| again.text == mark.text).and_then(|_| glued(at + 4));
        if let Some(year) = self.tokens.get(at)?.number_of_digits(4, 4) {
            let day = third?.number_of_digits(1, 2)?;
            let month = i8::try_from(second).ok()?;
            return Some((at + 5, Day::Date { day, month, year: Some(year) }));
        }
        let first = self.tokens.get(at)?.number_of_digits(1, 2)?;
        if let Some(year) =
            third.and_then(|year| year.number_of_digits(4, 4).or_else(|| Some(2_000 + year.number_of_digits(2, 2)?)))
        {
            return Some((at + 5, Day::Numbers { first, second, year: Some(year) }));
        }
        // "9-10" and "9.30" are more often something else than a date.
        let is_date = mark.text == "/" && third.is_none();
        is_date.then_some((at + 3, Day::Numbers { first, second, year: None }))
    }

    /// Lengths of time: "1 hour and 20 minutes" is one.
    pub fn spans(&self, at: usize) -> Vec<(usize, Span)> {
        let mut found = Vec::new();
        let mut open: Vec<(usize, Option<(Span, Unit)>)> = vec![(at, None)];
        while let Some((place, so_far)) = open.pop() {
            for (end, (span, unit)) in self.table(&self.language.span, place, meaning::span) {
                let sum = match so_far {
                    Some((_, before)) if before <= unit => continue,
                    Some((before, _)) => before.plus(span),
                    None => span,
                };
                if found.len() >= READINGS_MAX || found.contains(&(end, sum)) {
                    continue;
                }
                found.push((end, sum));
                open.push((self.after_all(&self.language.span_joiners, end, 2), Some((sum, unit))));
            }
        }
        found
    }

    /// Whether a token is a number.
    pub fn is_number(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Number)
    }
}

/// An end or a beginning belongs to something that happens again and again.
fn is_sound(when: &When) -> bool {
    let is_bounded = when.until.is_some() || when.from.is_some() || when.times.is_some() || when.lasting.is_some();
    !is_bounded || when.repeat.is_some() || when.vague.is_some()
}
