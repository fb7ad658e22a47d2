//! A message as words, numbers and marks, each with its place in what was written.

use icu_normalizer::DecomposingNormalizer;

use crate::agent::triggers::normalise;

/// Tokens of a message that are looked at; more is no reminder but a letter.
pub(super) const TOKENS_MAX: usize = 400;

/// What a token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Letters.
    Word,
    /// Digits.
    Number,
    /// One character that is neither.
    Mark,
}

/// A word, a number or a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// As it is compared: folded, without accents.
    pub text: String,
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What it is made of.
    pub kind: TokenKind,
    /// Nothing stands between it and the one before.
    pub is_glued: bool,
}

impl Token {
    /// The number that it is, of at most nine digits.
    pub fn number(&self) -> Option<i64> {
        (self.kind == TokenKind::Number && self.text.len() <= 9).then(|| self.text.parse().ok()).flatten()
    }

    /// The number, if it is written in so many digits.
    pub fn number_of_digits(&self, digits_min: usize, digits_max: usize) -> Option<i64> {
        (digits_min..=digits_max).contains(&self.text.len()).then(|| self.number()).flatten()
    }
}

/// The tokens of a text, at most [`TOKENS_MAX`] and one more.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    let mut at = 0;
    while let Some(&(start, first)) = characters.get(at) {
        let is_glued = at > 0 && found.last().is_some_and(|before| before.end == start);
        if first.is_whitespace() || is_invisible(first) {
            at += 1;
            continue;
        }
        let kind = kind_of(first);
        let mut until = at + 1;
        while let Some(&(_, next)) = characters.get(until) {
            let follows = characters.get(until + 1).map(|(_, character)| *character);
            let goes_on = match kind {
                TokenKind::Mark => false,
                TokenKind::Number => kind_of(next) == TokenKind::Number,
                TokenKind::Word => {
                    kind_of(next) == TokenKind::Word
                        || is_mark_on_letter(next)
                        || (is_apostrophe(next) && follows.is_some_and(|letter| kind_of(letter) == TokenKind::Word))
                }
            };
            if !goes_on {
                break;
            }
            until += 1;
        }
        let end = characters.get(until).map_or(text.len(), |(place, _)| *place);
        found.push(Token { text: fold(text.get(start..end).unwrap_or_default()), start, end, kind, is_glued });
        if found.len() > TOKENS_MAX {
            break;
        }
        at = until;
    }
    found
}

fn kind_of(character: char) -> TokenKind {
    if character.is_numeric() && decimal(character).is_some() {
        TokenKind::Number
    } else if character.is_alphabetic() {
        TokenKind::Word
    } else {
        TokenKind::Mark
    }
}

/// The digits that people type, in the scripts of the languages that are planned.
fn decimal(character: char) -> Option<char> {
    let zero = match character {
        '0'..='9' => return Some(character),
        '\u{ff10}'..='\u{ff19}' => 0xff10,
        '\u{966}'..='\u{96f}' => 0x966,
        '\u{660}'..='\u{669}' => 0x660,
        _ => return None,
    };
    char::from_digit(u32::from(character) - zero, 10)
}

/// Signs that belong to the letter before, such as vowels and the virama of Indian scripts.
fn is_mark_on_letter(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}' | '\u{962}'..='\u{963}')
}

fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '\u{2018}' | '\u{2019}' | '\u{2bc}' | '`' | '´')
}

/// Joiners, marks of direction and variation selectors: nobody sees them.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}')
}

/// One spelling: as triggers compare, without accents on Latin letters, with one kind of apostrophe and hyphen.
fn fold(written: &str) -> String {
    let plain: String = written
        .chars()
        .map(|character| match character {
            _ if is_apostrophe(character) => '\'',
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            _ => decimal(character).unwrap_or(character),
        })
        .collect();
    if plain.is_ascii() {
        return plain.to_ascii_lowercase();
    }
    let decomposed = normalise(&plain);
    DecomposingNormalizer::new_nfd()
        .normalize(&decomposed)
        .chars()
        .filter(|character| !matches!(character, '\u{300}'..='\u{36f}'))
        .collect()
}
