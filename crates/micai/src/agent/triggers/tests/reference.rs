//! The engine against the plainest one that could be written: every rule in order, every pattern by itself.

use proptest::collection::vec;
use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

fn naive_matches(rules: &[Rule], text: &str) -> Vec<(String, String)> {
    let mut ordered: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
    ordered.sort_by_key(|rule| (rule.priority, rule.id.clone()));
    ordered.iter().filter_map(|rule| Some((rule.id.clone(), naive_match(rule, text)?))).collect()
}

fn naive_match(rule: &Rule, text: &str) -> Option<String> {
    let keywords: Vec<String> = rule.keywords.iter().map(|keyword| normalise(keyword)).collect();
    let first = |starts: &dyn Fn(&str) -> Option<usize>| {
        let found = keywords.iter().filter_map(|it| Some((starts(it)? + it.len(), it.as_str())));
        found.min_by_key(|(end, it)| (*end, usize::MAX - it.len())).map(|(_, it)| it.to_owned())
    };
    match rule.kind {
        RuleKind::Keyword if rule.whole_word => {
            first(&|it| naive_word_start(text, it)).map(|it| format!("the text contains the word `{it}`"))
        }
        RuleKind::Keyword => first(&|it| text.find(it)).map(|it| format!("the text contains `{it}`")),
        RuleKind::Prefix => {
            let prefix = normalise(rule.prefix.as_deref()?);
            text.starts_with(&prefix).then(|| format!("the text begins with `{prefix}`"))
        }
        RuleKind::Exact => keywords.iter().any(|it| it == text).then(|| format!("the text is `{text}`")),
        RuleKind::Regex => rule.keywords.iter().find_map(|pattern| {
            let found = Regex::new(&format!("(?i){pattern}")).unwrap().find(text)?;
            Some(format!("`{pattern}` matches `{}`", found.as_str()))
        }),
        RuleKind::Scheduled => None,
    }
}

/// Where the word stands as a run of whole segments.
fn naive_word_start(text: &str, word: &str) -> Option<usize> {
    let segments: Vec<(usize, &str)> = text.split_word_bound_indices().collect();
    (0..segments.len()).find_map(|first| {
        let start = segments[first].0;
        let mut ends = segments[first..].iter().map(|(offset, segment)| offset + segment.len());
        ends.any(|end| &text[start..end] == word).then_some(start)
    })
}

/// Characters that spell the same word in several ways, or lie at the edge of what a word is.
const SPELLINGS: &str = "[aAbIıİiﬁsSßẞéΣσς天ｗW1'_.: \u{301}\u{307}\u{323}\u{345}👩🏽‍💻\u{3000}]";
/// So few that patterns overlap, nest and end each other all the time.
const OVERLAPS: &str = "[ab ]";

fn any_text(characters: &str, lengths: &str) -> BoxedStrategy<String> {
    prop::string::string_regex(&format!("{characters}{lengths}")).unwrap().boxed()
}

fn any_rule(characters: &'static str) -> impl Strategy<Value = Rule> {
    let says_something = |text: &String| !normalise(text).is_empty();
    let text = any_text(characters, "{1,5}").prop_filter("empty once normalised", says_something);
    let pattern = prop::sample::select(vec!["a+b?", "^i", "s$", r"\bss\b", "[^a]i", "天|é", r"\d", "A B"]);
    let flags = (any::<bool>(), prop::bool::weighted(0.9));
    (0..40_u8, -2..3_i32, 0..8_u8, flags, vec(text, 1..4), pattern).prop_map(
        |(id, priority, kind, (whole_word, enabled), texts, pattern)| {
            let kind = match kind {
                0..3 => RuleKind::Keyword,
                3..5 => RuleKind::Prefix,
                5 => RuleKind::Exact,
                6 => RuleKind::Regex,
                _ => RuleKind::Scheduled,
            };
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let patterns = if kind == RuleKind::Regex { vec![pattern] } else { texts };
            Rule { priority, enabled, whole_word, ..rule(&format!("{id:02}"), kind, &patterns) }
        },
    )
}

fn agrees(rules: &[Rule], text: &str) -> Result<(), TestCaseError> {
    let text = normalise(text);
    let set = TriggerSet::compile(rules).unwrap();
    let all = set.all_matches(&text);
    let found: Vec<_> = all.matches.iter().map(|it| (it.rule.id.clone(), it.on.to_string())).collect();
    prop_assert_eq!(&found, &naive_matches(rules, &text));
    prop_assert_eq!(set.winner(&text), all.matches.into_iter().next());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_matcher_agrees_with_asking_rule_by_rule_whatever_the_spelling(
        rules in vec(any_rule(SPELLINGS), 0..14),
        text in any_text(SPELLINGS, "{0,14}"),
    ) {
        agrees(&rules, &text)?;
    }

    #[test]
    fn the_matcher_agrees_with_asking_rule_by_rule_however_patterns_overlap(
        rules in vec(any_rule(OVERLAPS), 0..14),
        text in any_text(OVERLAPS, "{0,14}"),
    ) {
        agrees(&rules, &text)?;
    }
}
