//! Words in many scripts, what is no wish although it looks like one, and files that are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Read once: the properties ask hundreds of times.
static WORDS: LazyLock<ConsentWords> =
    LazyLock::new(|| ConsentWords::built_in().unwrap_or_else(|error| panic!("{error}")));
static LISTED: LazyLock<Vec<String>> = LazyLock::new(listed);

fn heard(words: &ConsentWords, text: &str) -> Option<(ConsentWish, String)> {
    words.of_message(&normalise(text)).map(|heard| (heard.wish, heard.language.code.clone()))
}

#[test]
fn a_wish_is_heard_in_every_script_and_answered_in_its_language() {
    use ConsentWish::{Start, Stop, StopMarketing};
    let words = &*WORDS;
    for (text, wish, language) in [
        ("STOP", Stop, "en"),
        ("  Stop!! 🛑", Stop, "en"),
        ("*stop*", Stop, "en"),
        ("ＳＴＯＰ。", Stop, "en"),
        ("Don’t message me", Stop, "en"),
        ("opt‑out", Stop, "en"),
        ("st\u{200d}op\u{200f}", Stop, "en"),
        ("Unsubscribe.", Stop, "en"),
        ("Stop promotions", StopMarketing, "en"),
        ("START", Start, "en"),
        ("SAIR", Stop, "pt"),
        ("Não quero mais mensagens.", Stop, "pt"),
        ("PARAR PROMOÇÕES", StopMarketing, "pt"),
        ("Darme de baja", Stop, "es"),
        ("Se désabonner", Stop, "fr"),
        ("Keine Werbung mehr!", StopMarketing, "de"),
        ("STOPP", Stop, "de"),
        ("ABONELİKTEN ÇIK", Stop, "tr"),
        ("dừng", Stop, "vi"),
        ("СТОП!", Stop, "ru"),
        ("Відписатися", Stop, "uk"),
        ("إيقاف", Stop, "ar"),
        ("ايقاف", Stop, "ar"),
        ("لغو اشتراک", Stop, "fa"),
        ("پیغامات بند کریں", Stop, "ur"),
        ("स्टॉप", Stop, "hi"),
        ("संदेश बंद करा", Stop, "mr"),
        ("থামুন।", Stop, "bn"),
        ("退订", Stop, "zh"),
        ("“退訂”", Stop, "zh"),
        ("配信停止", Stop, "ja"),
        ("ｽﾄｯﾌﾟ", Stop, "ja"),
        ("수신거부", Stop, "ko"),
        ("หยุด", Stop, "th"),
        ("நிறுத்து", Stop, "ta"),
        ("ఆపండి", Stop, "te"),
        ("ΣΤΟΠ", Stop, "el"),
        ("הסר", Stop, "he"),
        ("Мне не надо рекламы", StopMarketing, "-"),
        ("старт", Start, "ru"),
        ("再開", Start, "ja"),
    ] {
        let expected = (language != "-").then(|| (wish, language.to_owned()));
        assert_eq!(heard(words, text), expected, "{text}");
    }
}

#[test]
fn ordinary_answers_and_sentences_are_no_wish() {
    let words = &*WORDS;
    for text in [
        "no",
        "No.",
        "nein",
        "non",
        "não",
        "нет",
        "ні",
        "لا",
        "نہیں",
        "नहीं",
        "না",
        "不",
        "不要",
        "いいえ",
        "아니요",
        "ไม่",
        "வேண்டாம்",
        "వద్దు",
        "không",
        "όχι",
        "לא",
        "yok",
        "fin",
        "para",
        "pare",
        "baja",
        "alta",
        "dur",
        "basta",
        "cancel",
        "end",
        "quit",
        "iptal",
        "ret",
        "batal",
        "arrêt",
        "abmelden",
        "отмена",
        "хватит",
        "إلغاء",
        "لغو",
        "बंद",
        "বন্ধ",
        "取消",
        "解除",
        "취소",
        "거부",
        "ยกเลิก",
        "từ chối",
        "hủy",
        "διαγραφή",
        "ביטול",
        "stop?",
        "¿stop?",
        "Στοπ;",
        "أوقف؟",
        "stop the music",
        "when does the bus stop",
        "stop it at nine please",
        "don't stop",
        "non-stop",
        "1",
        "!!!",
        "👍",
        "",
    ] {
        let stops = heard(words, text).filter(|(wish, _)| *wish != ConsentWish::Start);
        assert_eq!(stops, None, "{text:?}");
    }
    assert_eq!(words.of_message(&format!("stop{}", " ".repeat(2_000))), None, "bounded");
}

#[test]
fn a_tap_means_what_its_title_or_what_it_carries_means() {
    use ConsentWish::{Start, Stop, StopMarketing};
    let words = &*WORDS;
    for (title, payload, expected) in [
        ("Stop promotions", Some("btn-2"), Some((StopMarketing, "en"))),
        ("Parar promoções", None, Some((StopMarketing, "pt"))),
        ("Not for me", Some("STOP_PROMOTIONS"), Some((StopMarketing, "en"))),
        ("Nicht mehr", Some("unsubscribe"), Some((Stop, "en"))),
        ("Adeus", Some("sair"), Some((Stop, "pt"))),
        ("Weiter", Some("opt-in"), Some((Start, "en"))),
        ("Yes", Some("confirm-42"), None),
        ("Yes", Some("don't stop the order"), None),
        ("Yes", None, None),
    ] {
        let heard = words.of_tap(&normalise(title), payload);
        let heard = heard.map(|heard| (heard.wish, heard.language.code.clone()));
        assert_eq!(heard, expected.map(|(wish, code)| (wish, code.to_owned())), "{title} {payload:?}");
    }
}

#[test]
fn the_compiled_in_file_speaks_the_languages_that_most_people_write() {
    let words = &*WORDS;
    let codes: HashSet<&str> = words.languages.iter().map(|language| language.code.as_str()).collect();
    for code in [
        "en", "zh", "hi", "es", "ar", "fr", "bn", "pt", "ru", "ur", "id", "de", "ja", "mr", "te", "tr", "ta", "vi",
        "ko", "it",
    ] {
        assert!(codes.contains(code), "{code}");
    }
    for language in &words.languages {
        for answer in [Some(&language.stopped), language.marketing_stopped.as_ref(), Some(&language.started)] {
            let answer = answer.unwrap_or_else(|| panic!("{} answers everything", language.code));
            assert_eq!(heard(words, answer), None, "an answer of ours is no wish of theirs: {answer}");
        }
    }
}

#[test]
fn a_file_that_is_wrong_says_where_and_what() {
    let language = |more: &str| {
        format!(
            "[[languages]]\ncode = \"en\"\nname = \"English\"\nstop = [\"stop\"]\nstart = [\"start\"]\n\
             stopped = \"Write START.\"\nstarted = \"Write STOP.\"\n{more}"
        )
    };
    assert!(ConsentWords::parse(&language("")).is_ok());
    for (text, expected) in [
        ("languages = [".to_owned(), "Line 1"),
        ("languages = []".to_owned(), "0 languages"),
        (language("surprise = 1"), "surprise"),
        (language("stop_marketing = [\"no ads\"]"), "`marketing_stopped` of en"),
        (language("stop_marketing = [\"STOP!\"]\nmarketing_stopped = \"START\""), "means something else"),
        (language("").replace("[\"start\"]", "[\"Stop\"]"), "means something else"),
        (language("").replace("[\"stop\"]", "[]"), "`stop` of en is empty"),
        (language("").replace("[\"stop\"]", "[\"stop\", \"1\"]"), "has no letter"),
        (language("").replace("[\"stop\"]", "[\"stop\", \"stop?\"]"), "is a question"),
        (language("").replace("[\"stop\"]", &format!("[\"stop\", \"{}\"]", "x".repeat(81))), "81 characters"),
        (language("").replace("Write STOP.", ""), "`started` of en needs"),
        (language("").replace("Write START.", "Bye."), "names no word"),
        (language("").replace("code = \"en\"", "code = \"\""), "give a code"),
        (language(&language("")), "stands twice"),
        (format!("[payloads]\nstop_marketing = [\"no_ads\"]\n{}", language("")), "The first language"),
        (format!("[payloads]\nstart = [\"stop\"]\n{}", language("")), "elsewhere in the file"),
        ("#".repeat(CONSENT_WORDS_FILE_BYTES_MAX + 1), "at most"),
    ] {
        let error = ConsentWords::parse(&text).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// Every word and phrase of the compiled-in file, as it stands there.
fn listed() -> Vec<String> {
    let table: toml::Table = include_str!("../../../data/consent_words.toml").parse().unwrap();
    let lists = |language: &toml::Value| {
        ["stop", "stop_marketing", "start"].map(|list| language[list].as_array().unwrap().clone()).concat()
    };
    let languages = table["languages"].as_array().unwrap();
    languages.iter().flat_map(lists).map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_listed_word_is_heard() {
    let words = &*WORDS;
    for word in &*LISTED {
        assert!(heard(words, word).is_some(), "{word}");
        assert!(heard(words, &format!("{} !", word.to_uppercase())).is_some(), "{word} in capitals");
    }
}

proptest! {
    #[test]
    fn no_sentence_of_three_or_more_words_is_a_wish_unless_it_is_listed(
        picks in proptest::collection::vec((0..usize::MAX, any::<bool>()), 3..9),
        noise in proptest::collection::vec("[a-zа-яα-ωぁ-ん]{1,8}", 9),
    ) {
        let words = &*WORDS;
        let listed = &*LISTED;
        let parts: Vec<&str> = listed.iter().flat_map(|phrase| phrase.split(' ')).collect();
        // Words of the lists themselves, in any order, and words of no list.
        let sentence = picks.iter().zip(&noise).map(|((pick, is_listed), noise)| match is_listed {
            true => parts[pick % parts.len()],
            false => noise.as_str(),
        });
        let sentence = sentence.collect::<Vec<_>>().join(" ");
        let known: HashSet<String> = listed.iter().map(|phrase| normalise(&phrase.replace('\u{200c}', ""))).collect();
        if let Some(heard) = words.of_message(&normalise(&sentence)) {
            prop_assert!(known.contains(&heard.word), "{sentence}");
            prop_assert_eq!(&heard.word, &normalise(&sentence.replace('\u{200c}', "")));
        }
    }

    #[test]
    fn whatever_is_written_is_judged_without_harm(text in "\\PC{0,200}", payload in any::<String>()) {
        let words = &*WORDS;
        words.of_message(&normalise(&text));
        words.of_tap(&normalise(&text), Some(&payload));
    }
}
