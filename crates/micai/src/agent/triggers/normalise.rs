//! One spelling for texts and patterns, so that what people read as the same word compares as the same bytes.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::properties::CanonicalCombiningClassMap;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};

/// How many characters one character of the input may become: U+FDFA, an Arabic phrase, becomes 18. A text that the
/// caller cut at 4,096 characters therefore has at most 73,728 characters once normalised.
pub const CHARACTERS_PER_CHARACTER_MAX: usize = 18;

const COMBINING_DOT_ABOVE: char = '\u{307}';

/// Brings a text, or a pattern, into the one spelling that triggers compare.
///
/// - NFKC: full-width, ligature and other compatibility forms become the plain letters, accents are composed.
/// - Full case folding: `WEATHER` is `weather`, `STRASSE` and `straße` are `strasse`.
/// - Turkish: `I`, `ı`, `İ` and `i` are all `i`, whatever language the sender writes in.
/// - Every run of Unicode white space is one space; none at either end.
///
/// Normalising twice changes nothing. The work and the result are linear in the text; the caller bounds the text, and
/// the result is at most [`CHARACTERS_PER_CHARACTER_MAX`] times as long.
pub fn normalise(text: &str) -> String {
    let mut spelling = Spelling { written: String::with_capacity(text.len()), space_due: false, marks_of_i: false };
    if text.is_ascii() {
        text.chars().for_each(|character| spelling.push(character.to_ascii_lowercase()));
        return spelling.written;
    }
    let case = CaseMapper::new();
    for character in DecomposingNormalizer::new_nfkd().normalize(text).chars() {
        match character {
            // The only decomposed characters whose case folding takes more than one character.
            'ß' | 'ẞ' => "ss".chars().for_each(|character| spelling.push(character)),
            _ if character.is_ascii() => spelling.push(character.to_ascii_lowercase()),
            _ => spelling.push(case.simple_fold(character)),
        }
    }
    match ComposingNormalizer::new_nfc().normalize(&spelling.written) {
        Cow::Borrowed(_) => spelling.written,
        Cow::Owned(composed) => composed,
    }
}

/// A pattern's literal characters as a normalised text has them, one for one, so that positions in it stay true.
///
/// ASCII stays: it may be syntax, and the expression ignores case. A character whose spelling takes several
/// characters (`ß`) stays too and will not match: such patterns are written with the normalised spelling (`ss`).
pub(super) fn normalise_literals(pattern: &str) -> String {
    let literal = |character: char| {
        let normalised = normalise(character.encode_utf8(&mut [0; 4]));
        let mut spelling = normalised.chars();
        match (spelling.next(), spelling.next()) {
            (Some(one), None) if one.is_alphanumeric() => one,
            _ => character,
        }
    };
    pattern.chars().map(|character| if character.is_ascii() { character } else { literal(character) }).collect()
}

/// Takes folded characters in canonical order and writes them with every dotted or dotless i as `i` and every run of
/// white space between two others as one space.
struct Spelling {
    written: String,
    space_due: bool,
    /// Whether what comes next may be a mark on an `i`: the dot of `İ` is one once decomposed.
    marks_of_i: bool,
}

impl Spelling {
    #[inline]
    fn push(&mut self, character: char) {
        if character.is_whitespace() {
            self.space_due = !self.written.is_empty();
            self.marks_of_i = false;
            return;
        }
        if self.space_due {
            self.written.push(' ');
            self.space_due = false;
        }
        if character.is_ascii() || character == 'ı' {
            self.marks_of_i = matches!(character, 'i' | 'ı');
            self.written.push(if self.marks_of_i { 'i' } else { character });
        } else if !(self.marks_of_i && character == COMBINING_DOT_ABOVE) {
            self.marks_of_i = self.marks_of_i && CanonicalCombiningClassMap::new().get_u8(character) != 0;
            self.written.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_that_people_read_as_one_word_become_one() {
        let table: [(&[&str], &str); 12] = [
            (&["Ｗｅａｔｈｅｒ", "WEATHER", "weather", " \tWeather\n", "ｗｅａｔｈｅｒ"], "weather"),
            (&["STRASSE", "straße", "Straẞe", "ＳＴＲＡẞＥ", "ſtraſſe"], "strasse"),
            (
                &["İstanbul", "ISTANBUL", "ıstanbul", "istanbul", "I\u{307}stanbul", "i\u{307}\u{307}stanbul"],
                "istanbul",
            ),
            (&["Ị\u{307}", "i\u{323}", "\u{1ECB}\u{307}", "ı\u{323}", "I\u{307}\u{323}"], "\u{1ECB}"),
            (&["CAFE\u{301}", "café", "Café", "ＣＡＦÉ"], "café"),
            (&["ΣΊΣΥΦΟΣ", "σίσυφος", "Σίσυφοσ"], "σίσυφοσ"),
            (&["ᾼ", "ᾳ", "α\u{345}", "αι", "ΑΙ"], "αι"),
            (&["ﬁsh", "FISH", "ﬁＳh"], "fish"),
            (&["a\u{a0}\u{3000}b", "A b", "a \r\n\u{2028}\u{b}\u{c} B"], "a b"),
            (&["한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"], "한국"),
            (&["👩🏽‍💻 ①", "👩🏽‍💻 1"], "👩🏽‍💻 1"),
            (&["", " ", "\u{3000}\n\u{a0}"], ""),
        ];
        for (spellings, expected) in table {
            for spelling in spellings {
                assert_eq!(normalise(spelling), expected, "{spelling:?}");
            }
        }
    }

    #[test]
    fn accents_other_than_the_dot_still_tell_words_apart() {
        for (left, right) in [("í", "i"), ("é", "e"), ("ñ", "n"), ("ż", "z"), ("ė", "e"), ("ş", "s")] {
            assert_ne!(normalise(left), normalise(right));
        }
    }

    #[test]
    fn every_assigned_character_is_stable_and_within_the_stated_growth() {
        let mut longest = 0;
        for character in ('\0'..='\u{1FFFF}').chain('\u{2F800}'..='\u{2FA1F}').chain('\u{E0000}'..='\u{E01FF}') {
            if matches!(character, '\u{3402}'..='\u{9FF0}' | '\u{AC20}'..='\u{D780}' | '\u{E000}'..='\u{F8FF}') {
                continue; // Alike: ideographs, Hangul syllables, private use.
            }
            let text = format!("a{character} i{character}\u{307}\u{345}{character}b");
            let once = normalise(&text);
            assert_eq!(normalise(&once), once, "{text:?}");
            longest = longest.max(normalise(character.encode_utf8(&mut [0; 4])).chars().count());
        }
        assert_eq!(longest, CHARACTERS_PER_CHARACTER_MAX);
    }

    #[test]
    fn folding_by_character_is_full_case_folding_of_decomposed_text() {
        let decomposer = DecomposingNormalizer::new_nfkd();
        let without_i = |text: &str| text.replace('ı', "i").replace("i\u{307}", "i");
        for character in ('\u{80}'..='\u{1FFFF}').filter(|character| !character.is_whitespace()) {
            let text = format!("x{character}");
            let folded = CaseMapper::new().fold_string(&decomposer.normalize(&text)).into_owned();
            let collapsed = folded.split_whitespace().collect::<Vec<_>>().join(" ");
            let expected = ComposingNormalizer::new_nfc().normalize(&without_i(&collapsed)).into_owned();
            assert_eq!(normalise(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn pattern_literals_keep_their_places() {
        assert_eq!(normalise_literals(r"[ı-ž]+Ｗ（İ\S"), r"[i-ž]+w（i\S");
        assert_eq!(normalise_literals("straße"), "straße");
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,40}", other in any::<String>()) {
            for text in [text, other] {
                let once = normalise(&text);
                prop_assert_eq!(&normalise(&once), &once);
                prop_assert_eq!(once.trim(), &once);
            }
        }

        #[test]
        fn ascii_takes_the_short_way_to_the_same_result(text in "[ -~\\t\\r\\n\\x00-\\x1f]{0,40}") {
            let long_way = normalise(&format!("{text} é"));
            let short_way = format!("{} é", normalise(&text));
            prop_assert_eq!(long_way, short_way.trim_start());
        }

        #[test]
        fn canonically_equal_texts_become_one(text in "[iIıİaeΑαs\u{300}-\u{345}\u{323} ß]{0,12}") {
            let decomposed = DecomposingNormalizer::new_nfd().normalize(&text).into_owned();
            let composed = ComposingNormalizer::new_nfc().normalize(&text).into_owned();
            prop_assert_eq!(normalise(&decomposed), normalise(&text));
            prop_assert_eq!(normalise(&composed), normalise(&text));
        }
    }
}
