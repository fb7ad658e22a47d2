//! Words by which a person says whether we may write to them. WhatsApp's own stop button concerns marketing only; that
//! somebody writes STOP, in whatever language, is for us to notice. The words are data: `data/consent_words.toml`.

mod file;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use icu_normalizer::properties::CanonicalCombiningClassMap;

use super::triggers::normalise;
pub use file::{CONSENT_WORDS_FILE_BYTES_MAX, ConsentWordsError};
pub(super) use judge::{Standing, judge};

/// Messages longer than this are no single word or phrase. Bytes, normalised; the longest phrase of a file is shorter.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// What a message says about consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentWish {
    /// Send nothing any more.
    Stop,
    /// Send no marketing any more.
    StopMarketing,
    /// You may write again.
    Start,
}

/// All words of a file, ready to be asked.
#[derive(Debug)]
pub struct ConsentWords {
    /// Words and phrases, with the language that lists them.
    words: HashMap<String, (usize, ConsentWish)>,
    /// What buttons carry.
    payloads: HashMap<String, ConsentWish>,
    languages: Vec<Language>,
}

/// A language, with what we answer in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    /// Its code, such as `pt`.
    pub code: String,
    /// What confirms `Stop`.
    pub stopped: String,
    /// What confirms `StopMarketing`; none where the language has no words for it.
    pub marketing_stopped: Option<String>,
    /// What confirms `Start`.
    pub started: String,
}

/// A wish that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard<'a> {
    /// What the person wants.
    pub wish: ConsentWish,
    /// The word of ours that it was, normalised.
    pub word: String,
    /// In which language we answer.
    pub language: &'a Language,
}

impl ConsentWords {
    /// The words that are compiled in.
    ///
    /// # Errors
    /// [`ConsentWordsError`] when the file in the source is wrong.
    pub fn built_in() -> Result<Self, ConsentWordsError> {
        Self::parse(include_str!("../../data/consent_words.toml"))
    }

    /// The wish of a whole normalised message. A sentence that merely holds one of the words is none.
    pub fn of_message(&self, normalised: &str) -> Option<Heard<'_>> {
        let word = whole(normalised)?;
        let (language, wish) = *self.words.get(&word)?;
        Some(Heard { wish, word, language: self.languages.get(language)? })
    }

    /// The wish of a tap on a button or a row of a list: its title, or what it carries.
    pub fn of_tap(&self, normalised_title: &str, payload: Option<&str>) -> Option<Heard<'_>> {
        self.of_message(normalised_title).or_else(|| {
            let spelled = spelled_payload(payload?);
            match self.payloads.get(&spelled) {
                // The file's first language: a payload is in none.
                Some(wish) => Some(Heard { wish: *wish, word: spelled, language: self.languages.first()? }),
                None => self.of_message(&spelled),
            }
        })
    }
}

/// A payload as it is compared: `STOP_PROMOTIONS` is `stop promotions`.
fn spelled_payload(payload: &str) -> String {
    if payload.len() > MESSAGE_BYTES_MAX {
        return String::new();
    }
    whole(&normalise(&payload.replace(['_', '-'], " "))).unwrap_or_default()
}

/// A normalised text as words are compared: without what is invisible, with one kind of apostrophe and hyphen, and without
/// what stands around it, such as `!`, `*` or an emoji. A question mark stays: whoever asks does not wish yet.
pub(super) fn whole(normalised: &str) -> Option<String> {
    if normalised.len() > MESSAGE_BYTES_MAX {
        return None;
    }
    let visible: String = normalised.chars().filter(|character| !is_invisible(*character)).map(plain).collect();
    let is_around = |character: char| {
        let is_mark = CanonicalCombiningClassMap::new().get_u8(character) != 0;
        !character.is_alphanumeric() && !is_mark && !is_question_mark(character)
    };
    let whole = visible.trim_matches(is_around).split_whitespace().collect::<Vec<_>>().join(" ");
    (!whole.is_empty()).then_some(whole)
}

/// Joiners, marks of direction and variation selectors: keyboards put them in, nobody sees them.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{640}')
}

fn plain(character: char) -> char {
    match character {
        '\u{2018}' | '\u{2019}' | '\u{2bc}' | '`' | '´' => '\'',
        '\u{2010}'..='\u{2015}' => '-',
        other => other,
    }
}

/// Also the Greek one, which is a semicolon.
pub(super) fn is_question_mark(character: char) -> bool {
    matches!(character, '?' | '¿' | '؟' | ';')
}
