//! Reads a file of consent words, and says everything that is wrong with it.

use std::collections::HashMap;

use serde::Deserialize;

use super::super::triggers::normalise;
use super::super::words_file::{self, ANSWER_CHARACTERS_MAX, LANGUAGES_MAX, WORDS_MAX};
use super::{ConsentWish, ConsentWords, Language, spelled_payload, whole};

/// The most bytes of a file of consent words.
pub const CONSENT_WORDS_FILE_BYTES_MAX: usize = words_file::FILE_BYTES_MAX;

/// Everything that is wrong with a file of consent words, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the consent words must be mended first:\n  - {}", .0.join("\n  - "))]
pub struct ConsentWordsError(pub Vec<String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    payloads: Payloads,
    languages: Vec<LanguageTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Payloads {
    stop: Vec<String>,
    stop_marketing: Vec<String>,
    start: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LanguageTable {
    code: String,
    name: String,
    stop: Vec<String>,
    #[serde(default)]
    stop_marketing: Vec<String>,
    start: Vec<String>,
    stopped: String,
    marketing_stopped: Option<String>,
    started: String,
}

impl ConsentWords {
    /// The words of a file.
    ///
    /// # Errors
    /// [`ConsentWordsError`] with a sentence for each fault.
    pub fn parse(text: &str) -> Result<Self, ConsentWordsError> {
        let file: File = words_file::read(text).map_err(|fault| ConsentWordsError(vec![fault]))?;
        let mut reading = Reading::default();
        reading.faults.extend(words_file::fault_of_count(file.languages.len()));
        for (place, table) in file.languages.iter().enumerate().take(LANGUAGES_MAX) {
            reading.language(place, table);
        }
        let payloads = &file.payloads;
        for (wish, list) in [
            (ConsentWish::Stop, &payloads.stop),
            (ConsentWish::StopMarketing, &payloads.stop_marketing),
            (ConsentWish::Start, &payloads.start),
        ] {
            reading.payloads(wish, list);
        }
        if !payloads.stop_marketing.is_empty()
            && reading.languages.first().is_some_and(|one| one.marketing_stopped.is_none())
        {
            let needs =
                "needs `marketing_stopped`: it answers the payloads of `stop_marketing`, which are in no language.";
            reading.fault(format!("The first language {needs}"));
        }
        match reading.faults.is_empty() {
            true => Ok(Self { words: reading.words, payloads: reading.payloads, languages: reading.languages }),
            false => Err(ConsentWordsError(reading.faults)),
        }
    }
}

#[derive(Default)]
struct Reading {
    words: HashMap<String, (usize, ConsentWish)>,
    payloads: HashMap<String, ConsentWish>,
    languages: Vec<Language>,
    faults: Vec<String>,
}

impl Reading {
    fn fault(&mut self, sentence: String) {
        self.faults.push(sentence);
    }

    fn language(&mut self, place: usize, table: &LanguageTable) {
        let code = &table.code;
        let is_known = self.languages.iter().any(|known| known.code == *code);
        self.faults.extend(words_file::faults_of_head(place, code, &table.name, is_known));
        for (list, words) in [("stop", &table.stop), ("start", &table.start)] {
            if words.is_empty() {
                self.fault(format!("`{list}` of {code} is empty: nobody could say it in that language; list a word."));
            }
        }
        self.list(place, code, "stop", ConsentWish::Stop, &table.stop);
        self.list(place, code, "stop_marketing", ConsentWish::StopMarketing, &table.stop_marketing);
        self.list(place, code, "start", ConsentWish::Start, &table.start);
        self.answer(code, "stopped", Some(&table.stopped), &table.start);
        self.answer(code, "started", Some(&table.started), &table.stop);
        if !table.stop_marketing.is_empty() || table.marketing_stopped.is_some() {
            self.answer(code, "marketing_stopped", table.marketing_stopped.as_ref(), &table.start);
        }
        self.languages.push(Language {
            code: code.clone(),
            stopped: table.stopped.clone(),
            marketing_stopped: table.marketing_stopped.clone(),
            started: table.started.clone(),
        });
    }

    fn list(&mut self, place: usize, code: &str, list: &str, wish: ConsentWish, words: &[String]) {
        if words.len() > WORDS_MAX {
            self.fault(format!("`{list}` of {code} has {} words; at most {WORDS_MAX} are read.", words.len()));
        }
        for word in words.iter().take(WORDS_MAX) {
            let Some(spelled) = self.spelled(&format!("`{list}` of {code}"), word, whole(&normalise(word))) else {
                continue;
            };
            match self.words.get(&spelled) {
                Some((_, held)) if *held != wish => self.fault(format!(
                    "`{list}` of {code} lists {word:?}, which means something else in another list: a message cannot say \
                     both."
                )),
                // The first language that lists it answers.
                Some(_) => {}
                None => {
                    self.words.insert(spelled, (place, wish));
                }
            }
        }
    }

    fn payloads(&mut self, wish: ConsentWish, payloads: &[String]) {
        if payloads.len() > WORDS_MAX {
            self.fault(format!("A list of payloads has {} entries; at most {WORDS_MAX} are read.", payloads.len()));
        }
        for payload in payloads.iter().take(WORDS_MAX) {
            let Some(spelled) = self.spelled("`payloads`", payload, Some(spelled_payload(payload))) else { continue };
            let in_words = self.words.get(&spelled).map(|(_, wish)| *wish);
            match self.payloads.get(&spelled).copied().or(in_words) {
                Some(held) if held != wish => {
                    self.fault(format!(
                        "`payloads` lists {payload:?}, which means something else elsewhere in the file."
                    ));
                }
                _ => {
                    self.payloads.insert(spelled, wish);
                }
            }
        }
    }

    /// The word as it is compared, if it can be taken.
    fn spelled(&mut self, place: &str, word: &str, spelled: Option<String>) -> Option<String> {
        let spelled = spelled.unwrap_or_default();
        let question = || word.contains(['?', '¿', '؟']).then(|| "is a question, which is no wish".to_owned());
        let Some(fault) = words_file::fault_of_word(word, &spelled).or_else(question) else { return Some(spelled) };
        self.fault(format!("{place} lists {word:?}, which {fault}."));
        None
    }

    /// An answer has to say how to change one's mind.
    fn answer(&mut self, code: &str, key: &str, answer: Option<&String>, ways_back: &[String]) {
        let answer = answer.map(String::as_str).unwrap_or_default();
        let count = answer.chars().count();
        let normalised = normalise(answer);
        if answer.trim().is_empty() || count > ANSWER_CHARACTERS_MAX {
            self.fault(format!("`{key}` of {code} needs 1 to {ANSWER_CHARACTERS_MAX} characters, and has {count}."));
        } else if !ways_back.iter().any(|word| normalised.contains(&normalise(word))) {
            self.fault(format!("`{key}` of {code} names no word by which the person can change their mind: name one."));
        }
    }
}
