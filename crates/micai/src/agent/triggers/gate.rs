//! The invoke gate: an agent in a busy chat only answers who addresses it.

use super::normalise::normalise;
use super::words::word_is_over;

/// Characters that a prefix may be longer as it was written than it is normalised, with what stands behind it.
const ROOM_CHARACTERS: usize = 16;

/// Whether a message must begin with an invoke prefix, and with which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    required: bool,
    /// Normalised, longest first, so that the outcome names the most that was matched.
    prefixes: Vec<String>,
}

/// What the gate says to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateOutcome<'a> {
    /// No prefix is asked for.
    NotRequired,
    /// The text begins with this prefix (normalised).
    Passed {
        /// The longest prefix that the text begins with.
        prefix: &'a str,
    },
    /// A prefix is asked for and the text begins with none: say nothing.
    Blocked,
}

impl Gate {
    /// Prefixes as an operator wrote them; those that are empty once normalised are left out. If a prefix is required
    /// and none remains, every message is blocked.
    pub fn new(required: bool, prefixes: &[String]) -> Self {
        let mut prefixes: Vec<String> = prefixes.iter().map(|prefix| normalise(prefix)).collect();
        prefixes.retain(|prefix| !prefix.is_empty());
        prefixes.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        prefixes.dedup();
        Self { required, prefixes }
    }

    /// Checks a normalised text. A prefix that ends in a letter or digit must not run on into a longer word: `/ask`
    /// does not let `/asking` pass, nor `@michael` let `@michaela`. Matching afterwards sees the whole text.
    pub fn check(&self, normalised: &str) -> GateOutcome<'_> {
        if !self.required {
            return GateOutcome::NotRequired;
        }
        self.addressed_by(normalised).map_or(GateOutcome::Blocked, |prefix| GateOutcome::Passed { prefix })
    }

    /// A text as it was written, without the prefix by which it addresses the agent and what stands between the two. A
    /// prefix is one even where none is asked for.
    pub fn said<'a>(&self, text: &'a str) -> &'a str {
        let text = text.trim();
        let characters_max = self.prefixes.first().map_or(0, |prefix| prefix.chars().count()) + ROOM_CHARACTERS;
        let beginning: String = text.chars().take(characters_max).collect();
        let Some(prefix) = self.addressed_by(&normalise(&beginning)) else { return text };
        let ends = text.char_indices().skip(1).map(|(at, _)| at).chain([text.len()]).take(characters_max);
        let reads_so = |end: &usize| text.get(..*end).is_some_and(|beginning| normalise(beginning) == prefix);
        let rest = ends.filter(reads_so).last().and_then(|end| text.get(end..)).unwrap_or(text);
        rest.trim_start_matches(|letter: char| letter.is_whitespace() || [',', ':', '-', '–', '—'].contains(&letter))
    }

    /// The longest prefix that a normalised text begins with.
    fn addressed_by(&self, normalised: &str) -> Option<&str> {
        let passes = |prefix: &&String| {
            normalised.starts_with(prefix.as_str())
                && (!prefix.ends_with(char::is_alphanumeric) || word_is_over(normalised, prefix.len()))
        };
        self.prefixes.iter().find(passes).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn gate(prefixes: &[&str]) -> Gate {
        Gate::new(true, &prefixes.iter().map(|&prefix| prefix.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn lets_pass_who_addresses_the_agent() {
        let gate = gate(&["michael:", "@michael", "/ask"]);
        let table = [
            ("michael: weather please", Some("michael:")),
            ("  MICHAEL:weather", Some("michael:")),
            ("Ｍｉｃｈａｅｌ： weather", Some("michael:")),
            ("MİCHAEL: hava", Some("michael:")),
            ("@michael", Some("@michael")),
            ("@Michael, weather", Some("@michael")),
            ("@michael's forecast", Some("@michael")),
            ("@michael:weather", Some("@michael")),
            ("@michael👋", Some("@michael")),
            ("@michaela weather", None),
            ("@michael2", None),
            ("@michael_b", None),
            ("@michael\u{336}", None),
            ("/ask weather", Some("/ask")),
            ("/ask天气", Some("/ask")),
            ("/asking weather", None),
            ("weather michael:", None),
            ("michael weather", None),
            ("", None),
        ];
        for (text, expected) in table {
            let outcome = gate.check(&normalise(text)).prefix_for_test();
            assert_eq!(outcome.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn takes_the_prefix_off_as_it_was_written() {
        for gate in
            [gate(&["michael:", "@michael", "/ask"]), Gate::new(false, &["michael:".to_owned(), "@michael".to_owned()])]
        {
            for (text, expected) in [
                ("michael: Weather in LISBON", "Weather in LISBON"),
                ("  MICHAEL:weather", "weather"),
                ("Ｍｉｃｈａｅｌ： weather", "weather"),
                ("MİCHAEL: hava", "hava"),
                ("@Michael, call Mom", "call Mom"),
                ("@michaela call", "@michaela call"),
                ("Weather", "Weather"),
                ("michael:", ""),
                ("", ""),
            ] {
                assert_eq!(gate.said(text), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn names_the_longest_prefix_and_falls_back_to_a_shorter_one() {
        let gate = gate(&["/a", "/ask!", "/ask", " ", "/ASK"]);
        assert_eq!(gate.check("/ask! x"), GateOutcome::Passed { prefix: "/ask!" });
        assert_eq!(gate.check("/ask x"), GateOutcome::Passed { prefix: "/ask" });
        assert_eq!(gate.check("/a x"), GateOutcome::Passed { prefix: "/a" });
        assert_eq!(gate.check("/as x"), GateOutcome::Blocked);
    }

    #[test]
    fn an_open_gate_asks_nothing_and_a_gate_without_prefixes_lets_nobody_pass() {
        assert_eq!(Gate::new(false, &["/ask".to_owned()]).check("weather"), GateOutcome::NotRequired);
        assert_eq!(gate(&["", " \u{3000}"]).check("weather"), GateOutcome::Blocked);
        assert_eq!(gate(&[]).check(""), GateOutcome::Blocked);
    }

    impl GateOutcome<'_> {
        fn prefix_for_test(&self) -> Option<String> {
            match self {
                Self::Passed { prefix } => Some((*prefix).to_owned()),
                Self::NotRequired | Self::Blocked => None,
            }
        }
    }
}
