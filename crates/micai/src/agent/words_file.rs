//! What files of words have in common, whatever the words are for: their bounds, how they are read, and what may be wrong with
//! a language or a word.

use serde::de::DeserializeOwned;

/// The most bytes of a file.
pub(super) const FILE_BYTES_MAX: usize = 262_144;
/// The most languages of a file.
pub(super) const LANGUAGES_MAX: usize = 100;
/// The most words of one list.
pub(super) const WORDS_MAX: usize = 200;
/// The most characters of a word or phrase.
pub(super) const WORD_CHARACTERS_MAX: usize = 80;
/// The most characters of an answer: WhatsApp takes 1,024 beside buttons.
pub(super) const ANSWER_CHARACTERS_MAX: usize = 1_000;
/// The most characters of a language's code.
const CODE_CHARACTERS_MAX: usize = 16;

/// Reads a file's tables.
///
/// # Errors
/// A sentence that says what is wrong, and in which line.
pub(super) fn read<File: DeserializeOwned>(text: &str) -> Result<File, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("The file has {} bytes; at most {FILE_BYTES_MAX} are read.", text.len()));
    }
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("Line {line}: {}.", error.message())
    })
}

/// What is wrong with the number of languages.
pub(super) fn fault_of_count(languages: usize) -> Option<String> {
    let fits = (1..=LANGUAGES_MAX).contains(&languages);
    (!fits).then(|| format!("The file has {languages} languages; it needs 1 to {LANGUAGES_MAX}."))
}

/// What is wrong with the head of the language at a place; `is_known` when its code stood before.
pub(super) fn faults_of_head(place: usize, code: &str, name: &str, is_known: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let is_code = (1..=CODE_CHARACTERS_MAX).contains(&code.len())
        && code.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    if !is_code {
        faults.push(format!("Language {} has the code {code:?}: give a code such as `pt` or `zh-TW`.", place + 1));
    }
    if name.is_empty() || name.chars().count() > WORD_CHARACTERS_MAX {
        faults.push(format!("Language {code} needs a name of 1 to {WORD_CHARACTERS_MAX} characters."));
    }
    if is_known {
        faults.push(format!("Language {code} stands twice: put its words into one table."));
    }
    faults
}

/// What keeps a word, which is compared as `spelled`, from being taken.
pub(super) fn fault_of_word(word: &str, spelled: &str) -> Option<String> {
    match word.chars().count() {
        count if count > WORD_CHARACTERS_MAX => {
            Some(format!("has {count} characters; at most {WORD_CHARACTERS_MAX} are compared"))
        }
        // A digit alone is an answer to a numbered question.
        _ if !spelled.chars().any(char::is_alphabetic) => {
            Some("has no letter: it would match what is no word".to_owned())
        }
        _ => None,
    }
}
