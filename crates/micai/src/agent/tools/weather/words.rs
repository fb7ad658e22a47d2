//! Words that ask for the weather: whether they do, where, and for which day. English; the words are lists.

use crate::agent::triggers::normalise;
use crate::domain::weather::WeatherDay;

/// Words that mean the weather.
const WEATHER: &[&str] = &["weather", "forecast", "temperature", "temperatures"];
/// What may stand before them in a question about the weather, and says nothing about where.
const BEGINNINGS: &[&str] = &[
    "a",
    "about",
    "be",
    "can",
    "check",
    "could",
    "current",
    "currently",
    "do",
    "for",
    "get",
    "give",
    "going",
    "hello",
    "hey",
    "hi",
    "how",
    "how's",
    "hows",
    "i",
    "is",
    "know",
    "like",
    "look",
    "me",
    "my",
    "need",
    "of",
    "ok",
    "please",
    "pls",
    "say",
    "show",
    "tell",
    "the",
    "there",
    "to",
    "up",
    "want",
    "what",
    "what's",
    "whats",
    "will",
    "you",
];
/// Words that name the day.
const TOMORROW: &[&str] = &["tomorrow", "tomorrow's", "tomorrows", "tmrw"];
/// Words that are no part of a place wherever they stand.
const ASIDE: &[&str] = &[
    "right",
    "today",
    "today's",
    "todays",
    "now",
    "tonight",
    "currently",
    "please",
    "pls",
    "plz",
    "thanks",
    "thank",
    "you",
    "again",
];
/// Words that are no place when nothing else is left.
const NO_PLACE: &[&str] = &[
    "the",
    "this",
    "that",
    "my",
    "me",
    "here",
    "there",
    "it",
    "is",
    "be",
    "going",
    "to",
    "like",
    "look",
    "looking",
    "outside",
    "a",
    "an",
    "and",
    "for",
    "in",
    "at",
    "near",
    "around",
    "right",
    "week",
    "weekend",
    "day",
    "days",
    "hour",
    "hours",
    "morning",
    "afternoon",
    "evening",
    "night",
    "area",
    "place",
    "city",
    "town",
    "report",
    "update",
    "info",
    "information",
    "conditions",
    "doing",
    "any",
    "some",
];
/// What stands before a place.
const BEFORE_PLACE: &[&str] = &["in", "at", "for", "near", "around"];
/// What may begin or link the name of a place.
const ARTICLES: &[&str] = &["a", "the", "of"];
/// Characters of a place; the tool takes no more.
const PLACE_CHARACTERS_MAX: usize = 100;

/// What is asked about the weather.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub place: Option<String>,
    pub day: WeatherDay,
}

/// The request in normalised words, if that is what they are: they begin with the weather, or with a question about it.
pub(super) fn asked(said: &str) -> Option<Request> {
    let words: Vec<&str> = words(said).collect();
    let at = words.iter().position(|word| is_in(WEATHER, word))?;
    let is_question = words[..at].iter().all(|word| is_in(BEGINNINGS, word) || is_aside(word));
    is_question.then(|| request(&words, at))
}

/// The request in normalised words that a rule takes for one, whatever they are. Where they do not mention the weather, what the
/// rule matched stands for it: "sky lisbon".
pub(super) fn meant(said: &str, matched: &str) -> Request {
    let words: Vec<&str> = words(said).collect();
    let Some(at) = words.iter().position(|word| is_in(WEATHER, word)) else {
        let plain = request(&words, words.len());
        let in_other_words = || meant(&told_as_weather(said, matched)?, "").place;
        return Request { place: plain.place.or_else(in_other_words), ..plain };
    };
    request(&words, at)
}

/// The same with the word for the weather in place of what a rule matched; nothing where that is no whole word.
fn told_as_weather(said: &str, matched: &str) -> Option<String> {
    let (before, behind) = said.split_once(matched).filter(|_| !matched.is_empty())?;
    let is_whole = !before.ends_with(char::is_alphanumeric) && !behind.starts_with(char::is_alphanumeric);
    is_whole.then(|| format!("{before} {} {behind}", WEATHER[0]))
}

/// The place in an answer to "where?".
pub(super) fn place(said: &str) -> Option<String> {
    let words: Vec<&str> = words(said).collect();
    place_of(&words)
}

/// Whether the words name tomorrow.
pub(super) fn day(said: &str) -> Option<WeatherDay> {
    words(said).any(|word| is_in(TOMORROW, word)).then_some(WeatherDay::Tomorrow)
}

/// Reads the words around the one that means the weather, which stands at `at`.
fn request(words: &[&str], at: usize) -> Request {
    let day = if words.iter().any(|word| is_in(TOMORROW, word)) { WeatherDay::Tomorrow } else { WeatherDay::Today };
    let behind = place_of(words.get(at + 1..).unwrap_or_default());
    let before = || {
        let before = words.get(..at).unwrap_or_default();
        // "in Lisbon, what is the weather", "Lisbon weather".
        let names_place = before.iter().any(|word| is_in(BEFORE_PLACE, word));
        let is_bare = !before.iter().any(|word| is_in(BEGINNINGS, word)) && at < words.len();
        (names_place || is_bare).then(|| place_of(before)).flatten()
    };
    Request { place: behind.or_else(before), day }
}

/// The place in words: what stands behind the last `in`, `at`, `for`, `near` or `around`, else all of it.
fn place_of(words: &[&str]) -> Option<String> {
    let words: Vec<&str> = words.iter().copied().filter(|word| !is_aside(word)).collect();
    let begins = words.iter().rposition(|word| is_in(BEFORE_PLACE, word)).map_or(0, |at| at + 1);
    let mut words = words.get(begins..).filter(|rest| !rest.is_empty()).unwrap_or(&words);
    // "in Lisbon, what is it like": a question that follows is no part of the place.
    let goes_on = |word: &&str| is_in(BEGINNINGS, word) && !is_in(ARTICLES, word);
    if let Some(end) = words.iter().position(goes_on).filter(|end| *end > 0) {
        words = &words[..end];
    }
    let says_nothing = |word: &&str| is_in(NO_PLACE, word) || is_in(WEATHER, word) || is_in(BEGINNINGS, word);
    let is_place = !words.iter().all(says_nothing);
    // A span of time: "in 3 days".
    let is_span = words.first().is_some_and(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))
        && words.get(1).is_some_and(|word| is_in(NO_PLACE, word));
    if !is_place || is_span {
        return None;
    }
    let place = words.join(" ");
    let place: String = place.trim_matches([',', ' ']).chars().take(PLACE_CHARACTERS_MAX).collect();
    Some(place).filter(|place| !place.is_empty())
}

/// A place that was read from normalised words, as it stands in the text that they come from. Nothing where it does not stand
/// there in one piece: words between that are no part of it were left out.
pub(super) fn as_written(text: &str, place: &str) -> Option<String> {
    let words: Vec<&str> = words(text).collect();
    let count = place.split(' ').count();
    let reads_so = |written: &String| normalise(written) == place;
    let written = |run: &[&str]| run.join(" ").trim_matches([',', ' ']).to_owned();
    words.windows(count).map(written).find(reads_so)
}

/// Words without what stands around them; a comma stays, since it parts a place from where it lies.
fn words(said: &str) -> impl Iterator<Item = &str> {
    let edge = |letter: char| !letter.is_alphanumeric() && letter != ',' && letter != '\'' && letter != '.';
    said.split_whitespace()
        .map(move |word| word.trim_matches(edge).trim_end_matches(['.', '\'']))
        .filter(|word| word.chars().any(char::is_alphanumeric))
}

fn is_aside(word: &str) -> bool {
    is_in(TOMORROW, word) || is_in(ASIDE, word)
}

fn is_in(list: &[&str], word: &str) -> bool {
    let word = word.trim_matches(',').replace('’', "'");
    list.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_understood_and_other_words_left_alone() {
        use WeatherDay::{Today, Tomorrow};
        for (said, expected) in [
            ("weather", Some((None, Today))),
            ("weather please", Some((None, Today))),
            ("weather?", Some((None, Today))),
            ("forecast for tomorrow", Some((None, Tomorrow))),
            ("weather in lisbon", Some((Some("lisbon"), Today))),
            ("weather lisbon please", Some((Some("lisbon"), Today))),
            ("weather, lisbon", Some((Some("lisbon"), Today))),
            ("weather lisbon tomorrow", Some((Some("lisbon"), Tomorrow))),
            ("weather tomorrow in são paulo?", Some((Some("são paulo"), Tomorrow))),
            ("weather for tomorrow in lisbon", Some((Some("lisbon"), Tomorrow))),
            ("tomorrow's weather in new york city", Some((Some("new york city"), Tomorrow))),
            ("what's the weather like in paris, texas", Some((Some("paris, texas"), Today))),
            ("what’s the weather like in the hague right now?", Some((Some("the hague"), Today))),
            ("how is the weather today", Some((None, Today))),
            ("hi, can you tell me the forecast for st. john's please", Some((Some("st john's"), Today))),
            ("temperature in oslo", Some((Some("oslo"), Today))),
            ("weather in 3 days", Some((None, Today))),
            ("weather here", Some((None, Today))),
            ("what is the weather going to be like tomorrow", Some((None, Tomorrow))),
            ("天气", None),
            ("i love the weather", None),
            ("we talked about the weather in lisbon", None),
            ("lisbon", None),
            ("", None),
        ] {
            let request = asked(said);
            let request = request.as_ref().map(|request| (request.place.as_deref(), request.day));
            assert_eq!(request, expected, "{said}");
        }
    }

    #[test]
    fn a_rule_may_be_about_any_words() {
        for (said, expected) in [
            ("lunch in this weather?", None),
            ("lisbon weather", Some("lisbon")),
            ("sky over berlin in germany", Some("germany")),
            ("sky", None),
            ("sky please", None),
            ("sky lisbon", Some("lisbon")),
            ("new york sky tomorrow", Some("new york")),
            ("how is the sky", None),
            ("risky business", None),
            ("in lisbon, what is the weather like", Some("lisbon")),
            ("weather please", None),
        ] {
            assert_eq!(meant(said, "sky").place.as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn an_answer_is_a_place() {
        for (said, expected) in [
            ("lisbon", Some("lisbon")),
            ("in lisbon please", Some("lisbon")),
            ("tomorrow in lisbon", Some("lisbon")),
            ("can tho", Some("can tho")),
            ("the isle of man", Some("the isle of man")),
            ("what is it like", None),
            ("here", None),
            ("🤷", None),
        ] {
            assert_eq!(place(said).as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn a_place_is_repeated_as_it_was_written() {
        for (text, name, expected) in [
            ("michael: Weather in XYZZY?", "xyzzy", Some("XYZZY")),
            (
                "Weather in  Ort an der\nMüllerSTRASSE, please",
                "ort an der müllerstrasse",
                Some("Ort an der MüllerSTRASSE"),
            ),
            ("weather in Weißnicht", "weissnicht", Some("Weißnicht")),
            ("Springfield, Nowhere", "springfield, nowhere", Some("Springfield, Nowhere")),
            // Something between its words was left out.
            ("weather in New tomorrow Xyzzy", "new xyzzy", None),
            ("weather", "xyzzy", None),
            ("", "xyzzy", None),
        ] {
            assert_eq!(as_written(text, name).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_words_are_too_much(said in "\\PC{0,300}", weather in "(weather|forecast)?") {
            let said = format!("{weather} {said}");
            for place in [asked(&said).and_then(|request| request.place), meant(&said, "sky").place, place(&said)].into_iter().flatten() {
                prop_assert!((1..=PLACE_CHARACTERS_MAX).contains(&place.chars().count()), "{place:?}");
            }
        }
    }
}
