//! ReminderWords by plain language: what a person means by "remind me on Friday at 9 to call", without any model. What is not
//! understood is asked back, never guessed.

mod ask;
mod calendar;
mod language;
mod meaning;
mod pattern;
mod pieces;
mod reader;
mod rhythm;
mod say;
mod sentence;
#[cfg(test)]
mod tests;
mod tokens;
mod zones;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub use ask::AskReason;
pub use calendar::{AHEAD_DAYS_MAX, Happening};
use language::Language;
pub use language::ReminderWordsError;
use pieces::When;
pub use rhythm::{Again, REPEAT_MINUTES_MIN, Rhythm, RhythmDays};
pub use say::{Listed, OutsideWindow, Speaker};
pub use sentence::REMINDER_CHARACTERS_MAX;
use sentence::Wish;
use zones::{Place, SEVERAL, Zones};

/// The languages that are compiled in, the one that answers where none is known first.
const LANGUAGES: [&str; 2] =
    [include_str!("../../../data/reminders/en.toml"), include_str!("../../../data/reminders/es.toml")];

/// Reads what people say about reminders.
pub struct ReminderWords {
    languages: Vec<Language>,
    zones: Zones,
}

/// What is known when a message is read.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The present.
    pub now: Timestamp,
    /// Where the person lives, as an IANA name, if that is known.
    pub zone: Option<&'a str>,
    /// The message was written to the agent: a time and a text alone ask for a reminder.
    pub is_addressed: bool,
}

/// What a message asks for, and the language that it does so in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    /// The language, as a place in the list of them.
    pub language: usize,
    /// What it asks for.
    pub request: Request,
}

/// What a message about reminders asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A reminder.
    Set {
        /// What it says.
        text: String,
        /// When it comes.
        happening: Happening,
        /// The zone is a guess: the time does not depend on it.
        zone_is_unknown: bool,
    },
    /// A reminder, once it is known where the person is.
    NeedsZone,
    /// Something that is not clear.
    AskBack {
        /// Why.
        why: AskReason,
        /// What it would have said.
        text: Option<String>,
    },
    /// The list of them.
    List,
    /// Those of these numbers are given up.
    Cancel(Vec<i64>),
    /// All are given up.
    CancelAll,
    /// The last one is given up, if it is clear which.
    CancelLast,
    /// The one that says this is given up: folded words.
    CancelText(String),
    /// The last one that came is put off.
    Snooze(Happening),
    /// The person lives in this zone.
    Zone(String),
    /// Which zone is theirs?
    ZoneAsked,
}

/// What an answer to "where are you?" names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// This zone.
    Zone(String),
    /// Several places of that name.
    Unclear,
    /// No place that is known.
    Unknown,
}

/// The instant of a time on the wall: one that does not exist moves forward to the first that does, one that comes twice is the
/// first of both. Nothing for what no calendar holds.
pub fn instant(wall: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    calendar::instant(wall, zone).ok()
}

impl ReminderWords {
    /// The languages and places that are compiled in.
    ///
    /// # Errors
    /// [`ReminderWordsError`] when a file in the source is wrong.
    pub fn built_in() -> Result<Self, ReminderWordsError> {
        let languages: Result<Vec<Language>, _> = LANGUAGES.into_iter().map(Language::parse).collect();
        Ok(Self { languages: languages?, zones: Zones::compiled_in()? })
    }

    /// What a message asks for; nothing where it does not speak of reminders.
    pub fn understand(&self, text: &str, about: Circumstances<'_>) -> Option<Understood> {
        self.languages.iter().enumerate().find_map(|(place, language)| {
            let wish = sentence::read(language, &self.zones, text, about.is_addressed)?;
            Some(Understood { language: place, request: self.request(wish, about) })
        })
    }

    /// What the answer to a question about a reminder comes to, together with the message that led to it. Nothing where it is no
    /// answer.
    pub fn complete(&self, question: &str, answer: &str, about: Circumstances<'_>) -> Option<Understood> {
        self.languages.iter().enumerate().find_map(|(place, language)| {
            let asked = sentence::read(language, &self.zones, question, about.is_addressed)?;
            let Wish::Unclear { text, when, why } = (match asked {
                Wish::Set { text, when } => Wish::Unclear { why: AskReason::WhenMissing, text: Some(text), when },
                other => other,
            }) else {
                return None;
            };
            let wish = match (text, sentence::read_when(language, &self.zones, answer)) {
                (Some(text), Some(said)) => Wish::Set { text, when: when.answered_by(&said) },
                // Nothing was said yet but that it is to be a reminder: the answer says all of it, or a part.
                (None, _) if why == AskReason::TextMissing && !when.is_time() => {
                    let whole = format!("{} {answer}", language.opener);
                    let wish = sentence::read(language, &self.zones, &whole, true)?;
                    matches!(wish, Wish::Set { .. } | Wish::Unclear { .. }).then_some(wish)?
                }
                (None, None) if why == AskReason::TextMissing => {
                    let text = sentence::text_of(answer, &tokens::tokens(answer))?;
                    match text.chars().count() {
                        count if count > REMINDER_CHARACTERS_MAX => {
                            Wish::Unclear { why: AskReason::TextTooLong, text: None, when }
                        }
                        _ if when.is_time() => Wish::Set { text, when },
                        _ => Wish::Unclear { why: AskReason::WhenMissing, text: Some(text), when },
                    }
                }
                _ => return None,
            };
            Some(Understood { language: place, request: self.request(wish, about) })
        })
    }

    /// A sentence that asks to be reminded of this, in the language in which it says when; else in the first one.
    pub fn asking_for(&self, said: &str, about: Circumstances<'_>) -> String {
        let sentence = |language: &Language| format!("{} {said}", language.opener).trim_end().to_owned();
        let mut sentences = self.languages.iter().map(sentence);
        let first = sentences.next().unwrap_or_default();
        let says_when = |sentence: &String| {
            let request = self.understand(sentence, about).map(|understood| understood.request);
            !matches!(request, Some(Request::AskBack { why: AskReason::WhenMissing | AskReason::TextMissing, .. }))
        };
        if says_when(&first) { first } else { sentences.find(says_when).unwrap_or(first) }
    }

    /// Where words stand in a text, in bytes, as words are compared here.
    pub fn find(text: &str, words: &str) -> Option<(usize, usize)> {
        let (all, wanted) = (tokens::tokens(text), tokens::tokens(words));
        let is_there = |at: usize| {
            let found = all.get(at..at + wanted.len())?;
            found.iter().map(|token| &token.text).eq(wanted.iter().map(|token| &token.text)).then_some(())?;
            Some((found.first()?.start, found.last()?.end))
        };
        (0..all.len()).find_map(is_there)
    }

    /// The place that an answer names.
    pub fn whereabouts(&self, answer: &str) -> Whereabouts {
        let mut found = Whereabouts::Unknown;
        for language in &self.languages {
            match sentence::read_place(language, &self.zones, answer) {
                Place::One(zone) => return Whereabouts::Zone(zone),
                Place::Several => found = Whereabouts::Unclear,
                Place::Unknown => {}
            }
        }
        found
    }

    /// The zone of a phone's country, if all of it keeps the same time.
    pub fn zone_of(&self, address: &crate::domain::contact::Address) -> Option<&str> {
        self.zones.of_address(address)
    }

    /// When words such as "tomorrow at 9" mean, said alone.
    ///
    /// # Errors
    /// [`AskReason`] for what is not understood.
    pub fn when(&self, words: &str, about: Circumstances<'_>) -> Result<Happening, AskReason> {
        let found = self.languages.iter().find_map(|language| sentence::read_when(language, &self.zones, words));
        let (happening, zone_is_unknown) = self.resolve(&found.ok_or(AskReason::WhenMissing)?, about)?;
        match zone_is_unknown && !matches!(happening.again, Again::Minutes(_)) {
            true if happening.zone.is_empty() => Err(AskReason::ZoneUnknown),
            _ => Ok(happening),
        }
    }

    /// Words as they are compared: folded, without what stands around them.
    pub fn folded(text: &str) -> String {
        tokens::tokens(text).into_iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
    }

    /// What a reminder is about, from what it says when it comes, in whichever language.
    pub fn text_of<'t>(&self, delivered: &'t str) -> &'t str {
        let strip = |language: &Language| Speaker { say: &language.say, prefix: "" }.text_of(delivered);
        self.languages.iter().filter_map(strip).next().unwrap_or(delivered)
    }

    /// Speaks a language; where there is none of that place, the first.
    pub fn speaker<'a>(&'a self, language: usize, prefix: &'a str) -> Option<Speaker<'a>> {
        let language = self.languages.get(language).or_else(|| self.languages.first())?;
        Some(Speaker { say: &language.say, prefix })
    }

    /// The code of the language of that place.
    pub fn code(&self, language: usize) -> Option<&str> {
        self.languages.get(language).map(|language| language.code.as_str())
    }

    /// The place of the language of that code; of the first where there is none.
    pub fn language(&self, code: &str) -> usize {
        self.languages.iter().position(|language| language.code == code).unwrap_or_default()
    }

    fn request(&self, wish: Wish, about: Circumstances<'_>) -> Request {
        match wish {
            Wish::Set { text, when } => match self.resolve(&when, about) {
                Ok((happening, _)) if happening.zone.is_empty() => Request::NeedsZone,
                Ok((happening, zone_is_unknown)) => Request::Set { text, happening, zone_is_unknown },
                Err(why) => Request::AskBack { why, text: Some(text) },
            },
            // What cannot be is said before what is missing.
            Wish::Unclear { why, text, when } => {
                let worse = when.vague.and_then(|_| self.resolve(&when, about).err());
                Request::AskBack { why: worse.unwrap_or(why), text }
            }
            Wish::Snooze(when) => match self.resolve(&when, about) {
                Ok((happening, _)) if happening.zone.is_empty() => Request::NeedsZone,
                Ok((happening, _)) if happening.again == Again::Never => Request::Snooze(happening),
                Ok(_) => Request::AskBack { why: AskReason::Mixed, text: None },
                Err(why) => Request::AskBack { why, text: None },
            },
            Wish::List => Request::List,
            Wish::Cancel(numbers) => Request::Cancel(numbers),
            Wish::CancelAll => Request::CancelAll,
            Wish::CancelLast => Request::CancelLast,
            Wish::CancelText(text) => Request::CancelText(text),
            Wish::Zone(zone) => Request::Zone(zone),
            Wish::ZoneUnclear(why) => Request::AskBack { why, text: None },
            Wish::ZoneAsked => Request::ZoneAsked,
        }
    }

    /// Brings what was said to the calendar, and says whether the zone is unknown. Where the time depends on it, the happening has no
    /// zone.
    fn resolve(&self, when: &When, about: Circumstances<'_>) -> Result<(Happening, bool), AskReason> {
        let said = when.zone.as_deref();
        if said == Some(SEVERAL) {
            return Err(AskReason::ZoneUnclear);
        }
        let known = said.or(about.zone).and_then(|name| Some((name, TimeZone::get(name).ok()?)));
        let Some((name, zone)) = known else {
            let happening = match calendar::resolve(when, about.now, &TimeZone::UTC, "UTC") {
                Ok(happening) => happening,
                // Over in UTC, but perhaps not where the person is.
                Err(AskReason::Past) => return self.without_zone(when, about),
                Err(why) => return Err(why),
            };
            let needs_none = when.needs_no_zone();
            let zone = if needs_none { "UTC".to_owned() } else { String::new() };
            return Ok((Happening { zone, ..happening }, true));
        };
        Ok((calendar::resolve(when, about.now, &zone, name)?, false))
    }

    fn without_zone(&self, when: &When, about: Circumstances<'_>) -> Result<(Happening, bool), AskReason> {
        let is_past_everywhere = ["Pacific/Kiritimati", "Pacific/Pago_Pago"].into_iter().all(|name| {
            TimeZone::get(name)
                .is_ok_and(|zone| calendar::resolve(when, about.now, &zone, name) == Err(AskReason::Past))
        });
        if is_past_everywhere {
            return Err(AskReason::Past);
        }
        let unknown =
            Happening { again: Again::Never, first: about.now, ends_at: None, count: None, zone: String::new() };
        Ok((unknown, true))
    }
}
