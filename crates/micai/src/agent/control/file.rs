//! Reads a file of control words, and says everything that is wrong with it.

use std::collections::HashMap;

use serde::Deserialize;

use super::super::triggers::normalise;
use super::super::words_file::{self, ANSWER_CHARACTERS_MAX, LANGUAGES_MAX, WORDS_MAX};
use super::{AGENT_PLACE, Answers, ControlLanguage, ControlWords, SwitchPhrase};
use crate::agent::consent;
use crate::domain::control::ControlWish;

/// The most bytes of a file of control words.
pub const CONTROL_WORDS_FILE_BYTES_MAX: usize = words_file::FILE_BYTES_MAX;
/// The most characters of a button's title: WhatsApp's limit.
const BUTTON_TITLE_CHARACTERS_MAX: usize = 20;
/// Stands for the agent's name while a phrase is normalised; nobody's keyboard has it.
const PLACE: char = '\u{e000}';

/// Everything that is wrong with a file of control words, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the control words must be mended first:\n  - {}", .0.join("\n  - "))]
pub struct ControlWordsError(pub Vec<String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    languages: Vec<LanguageTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LanguageTable {
    code: String,
    name: String,
    help: Vec<String>,
    #[serde(default)]
    agents: Vec<String>,
    #[serde(default)]
    switch: Vec<String>,
    #[serde(default)]
    reminders: Vec<String>,
    #[serde(default)]
    pause: Vec<String>,
    #[serde(default)]
    resume: Vec<String>,
    #[serde(default)]
    forget: Vec<String>,
    human: Vec<String>,
    back: Vec<String>,
    answers: AnswerTable,
    #[serde(default)]
    tools: HashMap<String, String>,
}

/// Answers as a file may leave them out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerTable {
    help: String,
    help_agents: Option<String>,
    help_reminders: Option<String>,
    help_pause: Option<String>,
    help_forget: Option<String>,
    help_human: String,
    help_stop: String,
    agents: Option<String>,
    agents_button: Option<String>,
    agents_none: Option<String>,
    switched: Option<String>,
    paused: Option<String>,
    resumed: Option<String>,
    forget: Option<String>,
    forget_yes: Option<String>,
    forget_no: Option<String>,
    kept: Option<String>,
    forgotten: Option<String>,
    handed_over: String,
    handover_noted: String,
    back: String,
}

impl ControlWords {
    /// The words of a file.
    ///
    /// # Errors
    /// [`ControlWordsError`] with a sentence for each fault.
    pub fn parse(text: &str) -> Result<Self, ControlWordsError> {
        let file: File = words_file::read(text).map_err(|fault| ControlWordsError(vec![fault]))?;
        let mut reading = Reading::default();
        reading.faults.extend(words_file::fault_of_count(file.languages.len()));
        for (place, table) in file.languages.iter().enumerate().take(LANGUAGES_MAX) {
            reading.language(place, table);
        }
        reading.switches.sort_by_key(|phrase| std::cmp::Reverse(phrase.before.len() + phrase.after.len()));
        match reading.faults.is_empty() {
            true => Ok(Self { words: reading.words, switches: reading.switches, languages: reading.languages }),
            false => Err(ControlWordsError(reading.faults)),
        }
    }
}

#[derive(Default)]
struct Reading {
    words: HashMap<String, (usize, ControlWish)>,
    switches: Vec<SwitchPhrase>,
    languages: Vec<ControlLanguage>,
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
        for (wish, words) in lists(table) {
            let is_needed = matches!(wish, ControlWish::Help | ControlWish::Human | ControlWish::Back);
            if words.is_empty() && is_needed {
                let list = wish.as_str();
                self.fault(format!("`{list}` of {code} is empty: nobody could say it in that language; list a word."));
            }
            self.list(place, code, wish, words);
        }
        self.switch_phrases(place, code, &table.switch);
        if table.pause.is_empty() != table.resume.is_empty() {
            self.fault(format!("{code} lists only one of `pause` and `resume`: each needs the other."));
        }
        let answers = self.answers(table);
        self.languages.push(ControlLanguage { code: code.clone(), answers });
    }

    fn list(&mut self, place: usize, code: &str, wish: ControlWish, words: &[String]) {
        let list = wish.as_str();
        if words.len() > WORDS_MAX {
            self.fault(format!("`{list}` of {code} has {} words; at most {WORDS_MAX} are read.", words.len()));
        }
        for word in words.iter().take(WORDS_MAX) {
            let spelled = consent::whole(&normalise(word)).unwrap_or_default();
            if let Some(fault) = fault_of(word, &spelled) {
                self.fault(format!("`{list}` of {code} lists {word:?}, which {fault}."));
                continue;
            }
            match self.words.get(&spelled) {
                Some((_, held)) if *held != wish => self.fault(format!(
                    "`{list}` of {code} lists {word:?}, which `{}` lists, too: a message cannot say both.",
                    held.as_str()
                )),
                // The first language that lists it answers.
                Some(_) => {}
                None => {
                    self.words.insert(spelled, (place, wish));
                }
            }
        }
    }

    fn switch_phrases(&mut self, place: usize, code: &str, phrases: &[String]) {
        if phrases.len() > WORDS_MAX {
            self.fault(format!("`switch` of {code} has {} phrases; at most {WORDS_MAX} are read.", phrases.len()));
        }
        for phrase in phrases.iter().take(WORDS_MAX) {
            let normalised = normalise(&phrase.replace(AGENT_PLACE, &PLACE.to_string()));
            let parts: Vec<&str> = normalised.split(PLACE).collect();
            let [before, after] = parts.as_slice() else {
                self.fault(format!(
                    "`switch` of {code} lists {phrase:?}: write {AGENT_PLACE} once, for the agent's name."
                ));
                continue;
            };
            if let Some(fault) = fault_of(phrase, &format!("{before}{after}")) {
                self.fault(format!("`switch` of {code} lists {phrase:?}, which {fault}."));
                continue;
            }
            let (before, after) = ((*before).to_owned(), (*after).to_owned());
            self.switches.push(SwitchPhrase { language: place, before, after });
        }
    }

    fn answers(&mut self, table: &LanguageTable) -> Answers {
        let (code, given) = (&table.code, &table.answers);
        for (key, answer, ways) in [
            ("help_human", &given.help_human, &table.human),
            ("handed_over", &given.handed_over, &table.back),
            ("handover_noted", &given.handover_noted, &table.back),
        ] {
            self.names_a_way(code, key, answer, ways);
        }
        if let Some(paused) = given.paused.as_ref().filter(|_| !table.pause.is_empty()) {
            self.names_a_way(code, "paused", paused, &table.resume);
        }
        let first = self.languages.first().map(|language| language.answers.clone());
        let own =
            [!table.agents.is_empty(), !table.switch.is_empty(), !table.pause.is_empty(), !table.forget.is_empty()];
        let [agents, switch, pause, forget] = own;
        let mut take =
            |key: &str, answer: &Option<String>, is_own: bool, other: fn(&Answers) -> &String| match (answer, &first) {
                (Some(answer), _) => answer.clone(),
                (None, Some(first)) if !is_own => other(first).clone(),
                (None, _) => {
                    self.faults.push(format!("`{key}` of {code} is missing: its words would have no answer."));
                    String::new()
                }
            };
        let answers = Answers {
            help: given.help.clone(),
            help_agents: take("help_agents", &given.help_agents, agents, |first| &first.help_agents),
            help_reminders: take("help_reminders", &given.help_reminders, !table.reminders.is_empty(), |first| {
                &first.help_reminders
            }),
            help_pause: take("help_pause", &given.help_pause, pause, |first| &first.help_pause),
            help_forget: take("help_forget", &given.help_forget, forget, |first| &first.help_forget),
            help_human: given.help_human.clone(),
            help_stop: given.help_stop.clone(),
            agents: take("agents", &given.agents, agents, |first| &first.agents),
            agents_button: take("agents_button", &given.agents_button, agents, |first| &first.agents_button),
            agents_none: take("agents_none", &given.agents_none, agents, |first| &first.agents_none),
            switched: take("switched", &given.switched, switch || agents, |first| &first.switched),
            paused: take("paused", &given.paused, pause, |first| &first.paused),
            resumed: take("resumed", &given.resumed, pause, |first| &first.resumed),
            forget: take("forget", &given.forget, forget, |first| &first.forget),
            forget_yes: take("forget_yes", &given.forget_yes, forget, |first| &first.forget_yes),
            forget_no: take("forget_no", &given.forget_no, forget, |first| &first.forget_no),
            kept: take("kept", &given.kept, forget, |first| &first.kept),
            forgotten: take("forgotten", &given.forgotten, forget, |first| &first.forgotten),
            handed_over: given.handed_over.clone(),
            handover_noted: given.handover_noted.clone(),
            back: given.back.clone(),
            tools: match &first {
                Some(first) if table.tools.is_empty() => first.tools.clone(),
                _ => table.tools.clone(),
            },
        };
        self.check_bounds(code, &answers);
        answers
    }

    fn check_bounds(&mut self, code: &str, answers: &Answers) {
        for (key, answer) in answers.by_key() {
            let count = answer.chars().count();
            let is_title = matches!(key, "agents_button" | "forget_yes" | "forget_no");
            let characters_max = if is_title { BUTTON_TITLE_CHARACTERS_MAX } else { ANSWER_CHARACTERS_MAX };
            if answer.trim().is_empty() || count > characters_max {
                self.fault(format!("`{key}` of {code} needs 1 to {characters_max} characters, and has {count}."));
            }
        }
        if answers.forget_yes == answers.forget_no {
            self.fault(format!("`forget_yes` and `forget_no` of {code} are the same: nobody could choose."));
        }
        if !answers.forgotten.contains("{receipt}") {
            self.fault(format!("`forgotten` of {code} does not name {{receipt}}: it is the person's proof."));
        }
        for (tool, line) in &answers.tools {
            if line.trim().is_empty() || line.chars().count() > ANSWER_CHARACTERS_MAX {
                self.fault(format!("The line of tool {tool} of {code} needs 1 to {ANSWER_CHARACTERS_MAX} characters."));
            }
        }
    }

    /// An answer that says what to write has to name a word that is heard.
    fn names_a_way(&mut self, code: &str, key: &str, answer: &str, ways: &[String]) {
        let said = consent::whole(&normalise(answer)).unwrap_or_default();
        let is_named = |way: &String| consent::whole(&normalise(way)).is_some_and(|way| said.contains(&way));
        if !ways.iter().any(is_named) {
            self.fault(format!("`{key}` of {code} names no word that is heard for it: name one."));
        }
    }
}

/// The lists of words, without the phrases of `switch`.
fn lists(table: &LanguageTable) -> [(ControlWish, &[String]); 8] {
    [
        (ControlWish::Help, &table.help),
        (ControlWish::Agents, &table.agents),
        (ControlWish::Reminders, &table.reminders),
        (ControlWish::Pause, &table.pause),
        (ControlWish::Resume, &table.resume),
        (ControlWish::Forget, &table.forget),
        (ControlWish::Human, &table.human),
        (ControlWish::Back, &table.back),
    ]
}

/// What keeps a word from being taken.
fn fault_of(word: &str, spelled: &str) -> Option<String> {
    let question = || {
        let has_mark = word.contains(consent::is_question_mark);
        has_mark.then(|| "has a question mark, which is left out where words are compared".to_owned())
    };
    words_file::fault_of_word(word, spelled).or_else(question)
}

impl Answers {
    /// Every answer with its key.
    fn by_key(&self) -> [(&'static str, &str); 21] {
        [
            ("help", &self.help),
            ("help_agents", &self.help_agents),
            ("help_reminders", &self.help_reminders),
            ("help_pause", &self.help_pause),
            ("help_forget", &self.help_forget),
            ("help_human", &self.help_human),
            ("help_stop", &self.help_stop),
            ("agents", &self.agents),
            ("agents_button", &self.agents_button),
            ("agents_none", &self.agents_none),
            ("switched", &self.switched),
            ("paused", &self.paused),
            ("resumed", &self.resumed),
            ("forget", &self.forget),
            ("forget_yes", &self.forget_yes),
            ("forget_no", &self.forget_no),
            ("kept", &self.kept),
            ("forgotten", &self.forgotten),
            ("handed_over", &self.handed_over),
            ("handover_noted", &self.handover_noted),
            ("back", &self.back),
        ]
    }
}
