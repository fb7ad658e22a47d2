//! Words by which a person steers the conversation itself: help, another agent, silence, a person, being forgotten. They are
//! data: `data/control_words.toml`. Consent words come first.

mod file;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::consent::{self, ConsentWords};
use crate::domain::control::ControlWish;
pub use file::{CONTROL_WORDS_FILE_BYTES_MAX, ControlWordsError};
pub(super) use judge::{Scene, Verdict, change_of_mode, judge};

/// What stands for an agent's name in a phrase or an answer.
const AGENT_PLACE: &str = "{agent}";
/// Where an answer says what a message to the agent begins with.
const PREFIX_PLACE: &str = "{prefix}";
/// What buttons and rows of ours carry begins with this.
const TAP_PREFIX: &str = "micai/";

/// All words of a file, ready to be asked.
#[derive(Debug)]
pub struct ControlWords {
    /// Words and phrases, with the language that lists them.
    words: HashMap<String, (usize, ControlWish)>,
    /// The longest first, so that the outcome names the most that was matched.
    switches: Vec<SwitchPhrase>,
    languages: Vec<ControlLanguage>,
}

/// A phrase around the name of an agent, normalised.
#[derive(Debug, PartialEq, Eq)]
struct SwitchPhrase {
    language: usize,
    before: String,
    after: String,
}

/// A language, with what we answer in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlLanguage {
    /// Its code, such as `pt`.
    pub code: String,
    /// The answers; those that the file leaves out are the first language's.
    pub answers: Answers,
}

/// What we answer in a language.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the comments of data/control_words.toml say what each is for")]
pub struct Answers {
    pub help: String,
    pub help_agents: String,
    pub help_reminders: String,
    pub help_pause: String,
    pub help_forget: String,
    pub help_human: String,
    pub help_stop: String,
    pub agents: String,
    pub agents_button: String,
    pub agents_none: String,
    pub switched: String,
    pub paused: String,
    pub resumed: String,
    pub forget: String,
    pub forget_yes: String,
    pub forget_no: String,
    pub kept: String,
    pub forgotten: String,
    pub handed_over: String,
    pub handover_noted: String,
    pub back: String,
    /// What an agent can do with a tool, by the tool's name.
    pub tools: HashMap<String, String>,
}

/// A wish that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard<'a> {
    /// What the person wants.
    pub wish: ControlWish,
    /// The agent that they name, as it is compared, or the id that a row of ours carries.
    pub agent: Option<Named>,
    /// In which language we answer.
    pub language: &'a ControlLanguage,
    /// Whether it was said with a button or a row that we made for it.
    pub is_tap_of_ours: bool,
}

/// How an agent is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// In words: a name, normalised.
    InWords(String),
    /// By its id, in a row of ours.
    ById(String),
}

impl ControlWords {
    /// The words that are compiled in.
    ///
    /// # Errors
    /// [`ControlWordsError`] when the file in the source is wrong.
    pub fn built_in() -> Result<Self, ControlWordsError> {
        Self::parse(include_str!("../../data/control_words.toml"))
    }

    /// The wish of a whole normalised message. A sentence that merely holds one of the words is none.
    pub fn of_message(&self, normalised: &str) -> Option<Heard<'_>> {
        let whole = consent::whole(normalised)?;
        let asked = whole.trim_matches(|character| consent::is_question_mark(character) || character == ' ');
        let found = self.words.get(&whole).or_else(|| {
            let found = self.words.get(asked)?;
            // "Pause?" asks for no silence.
            accepts_question(found.1).then_some(found)
        });
        match found {
            Some((language, wish)) => {
                let language = self.languages.get(*language)?;
                Some(Heard { wish: *wish, agent: None, language, is_tap_of_ours: false })
            }
            None => self.switches.iter().find_map(|phrase| self.switch(phrase, &whole)),
        }
    }

    /// The wish of a tap on a button or a row of a list: what it carries, else its title.
    pub fn of_tap(&self, normalised_title: &str, payload: Option<&str>) -> Option<Heard<'_>> {
        let Some(carried) = payload.and_then(|payload| payload.strip_prefix(TAP_PREFIX)) else {
            return self.of_message(normalised_title);
        };
        let (what, rest) = carried.split_once('/')?;
        let (code, id) = rest.split_once('/').unwrap_or((rest, ""));
        let (wish, agent) = match what {
            "erase" => (ControlWish::Erase, None),
            "keep" => (ControlWish::Keep, None),
            "agent" => (ControlWish::Switch, Some(Named::ById(id.to_owned()))),
            _ => return None,
        };
        // A file may have lost the language since.
        let language = self.languages.iter().find(|language| language.code == code).or(self.languages.first())?;
        Some(Heard { wish, agent, language, is_tap_of_ours: true })
    }

    /// Phrases that both files list, a sentence each: nobody could say which is meant.
    pub fn clashes_with(&self, consent: &ConsentWords) -> Vec<String> {
        let mut clashes: Vec<String> = self
            .words
            .iter()
            .filter(|(word, _)| consent.of_message(word).is_some())
            .map(|(word, (language, wish))| {
                let code = self.languages.get(*language).map_or("", |language| language.code.as_str());
                let list = wish.as_str();
                format!("`{list}` of {code} lists {word:?}, which is a consent word: it would never be heard.")
            })
            .collect();
        clashes.sort();
        clashes
    }

    fn switch(&self, phrase: &SwitchPhrase, whole: &str) -> Option<Heard<'_>> {
        let name = whole.strip_prefix(phrase.before.as_str())?.strip_suffix(phrase.after.as_str())?.trim();
        let agent = consent::whole(name).map(Named::InWords)?;
        let language = self.languages.get(phrase.language)?;
        Some(Heard { wish: ControlWish::Switch, agent: Some(agent), language, is_tap_of_ours: false })
    }
}

impl ControlLanguage {
    fn erase_payload(&self) -> String {
        format!("{TAP_PREFIX}erase/{}", self.code)
    }

    fn keep_payload(&self) -> String {
        format!("{TAP_PREFIX}keep/{}", self.code)
    }

    fn agent_payload(&self, id: &str) -> String {
        format!("{TAP_PREFIX}agent/{}/{id}", self.code)
    }
}

/// Whether the word counts with a question mark, too.
fn accepts_question(wish: ControlWish) -> bool {
    matches!(wish, ControlWish::Help | ControlWish::Agents | ControlWish::Reminders | ControlWish::Human)
}
