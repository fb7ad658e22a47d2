//! How long a 200-character message takes to be normalised and matched, by number, shape and spread of the keywords.
//! Before the timings it prints what compiling the largest sets takes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aho_corasick::nfa::contiguous;
use aho_corasick::{Input, MatchKind, automaton::Automaton as _, automaton::OverlappingState};
use criterion::{Criterion, criterion_group, criterion_main};
use micai::agent::triggers::{TriggerSet, normalise};
use micai::domain::agent::AgentId;
use micai::domain::rule::{Rule, RuleAction, RuleKind};

const TEXT_CHARACTERS: usize = 200;
const ASCII: &[&str] = &["ta", "ke", "mi", "ro", "wea", "ther", "st", "in", "or", "la", "ne", "shi", "po", "ck", "e"];
const MIXED: &[&str] =
    &["по", "го", "да", "天", "気", "ｗｅ", "ß", "İ", "é", "ta", "ke", "ni", "طق", "س", "날", "씨", "ση"];

/// A small generator with a fixed seed, so that every run measures the same sets.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    fn word(&mut self, syllables: &[&str], count: usize) -> String {
        (0..count).map(|_| syllables[self.below(syllables.len())]).collect()
    }

    fn text(&mut self, syllables: &[&str]) -> String {
        let mut text = String::new();
        while text.chars().count() < TEXT_CHARACTERS {
            let count = 1 + self.below(3);
            text += &self.word(syllables, count);
            text.push(' ');
        }
        text.chars().take(TEXT_CHARACTERS).collect()
    }
}

fn keywords(syllables: &[&str], count: usize) -> Vec<String> {
    let mut chance = Chance(7);
    (0..count).map(|_| chance.word(syllables, 5)).collect()
}

/// Spreads keywords over rules; the first rules have the worst priority, so that an early match never ends the search.
fn rules(keywords: &[String], count: usize, kind: RuleKind, whole_word: bool) -> Vec<Rule> {
    let per_rule = keywords.len().div_ceil(count);
    let rule = |(place, keywords): (usize, &[String])| Rule {
        id: format!("rule-{place:06}"),
        agent_id: AgentId::default_agent(),
        kind,
        enabled: true,
        priority: -(place as i32),
        keywords: keywords.to_vec(),
        whole_word,
        prefix: keywords.first().cloned(),
        action: RuleAction::ReplyText,
        reply_text: "ok".to_owned(),
    };
    keywords.chunks(per_rule).enumerate().map(rule).collect()
}

fn measure(criterion: &mut Criterion, name: &str, rules: &[Rule], text: &str) {
    let set = TriggerSet::compile(rules).expect("sound rules");
    let all = set.all_matches(&normalise(text));
    eprintln!(
        "{name}: {} bytes of text, {}{} rules match",
        text.len(),
        all.matches.len(),
        if all.cut { "+" } else { "" }
    );
    criterion.bench_function(name, |bencher| bencher.iter(|| set.winner(&normalise(black_box(text)))));
}

fn by_count_and_script(criterion: &mut Criterion) {
    for (script, syllables) in [("ascii", ASCII), ("mixed", MIXED)] {
        let text = Chance(11).text(syllables);
        criterion
            .bench_function(&format!("normalise/{script}"), |bencher| bencher.iter(|| normalise(black_box(&text))));
        for count in [100, 10_000, 100_000] {
            let rules = rules(&keywords(syllables, count), (count / 100).max(10), RuleKind::Keyword, false);
            measure(criterion, &format!("keyword/{script}/{count}"), &rules, &text);
        }
    }
}

fn by_shape(criterion: &mut Criterion) {
    let words = keywords(ASCII, 100_000);
    let text = Chance(11).text(ASCII);
    let dense: String = words[40_000..].join(" ").chars().take(TEXT_CHARACTERS).collect();
    let short: Vec<String> = (0..100_000).map(base_26).collect();

    measure(criterion, "keyword/many_matches", &rules(&words, 10, RuleKind::Keyword, false), &dense);
    measure(criterion, "keyword/10k_rules", &rules(&words, 10_000, RuleKind::Keyword, false), &dense);
    measure(criterion, "keyword/short", &rules(&short, 10_000, RuleKind::Keyword, false), &text);
    measure(criterion, "whole_word/10k_rules", &rules(&words, 10_000, RuleKind::Keyword, true), &dense);
    measure(criterion, "whole_word/short", &rules(&short, 10_000, RuleKind::Keyword, true), &text);
    let mixed_words = keywords(MIXED, 100_000);
    let mixed_dense: String = mixed_words[40_000..].join(" ").chars().take(TEXT_CHARACTERS).collect();
    measure(criterion, "whole_word/mixed", &rules(&mixed_words, 10_000, RuleKind::Keyword, true), &mixed_dense);
    let begins: String = words[12_345..].concat().chars().take(TEXT_CHARACTERS).collect();
    measure(criterion, "prefix/20k", &rules(&words[..20_000], 20_000, RuleKind::Prefix, false), &begins);
}

/// Keywords within keywords, the longest with the best priority, in a text that holds all of them everywhere.
fn nested(criterion: &mut Criterion) {
    let mut words: Vec<String> = (1..=TEXT_CHARACTERS).map(|length| "a".repeat(length)).collect();
    measure(criterion, "nested/run", &rules(&words, 200, RuleKind::Keyword, false), &"a".repeat(TEXT_CHARACTERS));
    words.extend((1..=100).map(|length| vec!["a"; length].join(" ")));
    let text = "a ".repeat(TEXT_CHARACTERS / 2);
    words.extend(keywords(ASCII, 100_000 - words.len()));
    words.rotate_left(300);
    measure(criterion, "nested/words_100k", &rules(&words, 20_000, RuleKind::Keyword, true), &text);
    let threes = "aaa ".repeat(TEXT_CHARACTERS / 4);
    let inside: Vec<String> = (1..TEXT_CHARACTERS - 4).map(|start| threes[start..].trim().to_owned()).collect();
    let inside: Vec<String> = inside.into_iter().filter(|word| word.split(' ').next() != Some("aaa")).collect();
    measure(criterion, "nested/word_suffixes", &rules(&inside, inside.len(), RuleKind::Keyword, true), &threes);
}

/// The two ways not taken: asking rule by rule, and the `aho-corasick` crate reporting every overlapping match.
fn references(criterion: &mut Criterion) {
    let words = keywords(ASCII, 100_000);
    let dense: String = words[40_000..].join(" ").chars().take(TEXT_CHARACTERS).collect();
    let text = Chance(11).text(ASCII); // None of the words is in it: asking rule by rule asks them all.
    criterion.bench_function("reference/rule_by_rule/100000", |bencher| {
        bencher.iter(|| {
            let text = normalise(black_box(&text));
            words.iter().position(|word| text.contains(word.as_str()))
        });
    });
    let tagged = (0..500).map(|tag| format!("{} {}", base_26(tag), "a".repeat(195)));
    let tagged: Vec<String> = tagged.chain((1..=TEXT_CHARACTERS).map(|length| "a".repeat(length))).collect();
    let automaton = contiguous::Builder::new().build(&tagged).expect("within bounds");
    eprintln!("aho-corasick contiguous, 700 nested keywords: {} KiB", automaton.memory_usage() / 1024);
    let runs: Vec<String> = (1..=TEXT_CHARACTERS).map(|length| "a".repeat(length)).collect();
    for (name, words, text) in [("100000", &words, dense), ("nested_run", &runs, "a".repeat(TEXT_CHARACTERS))] {
        let automaton = contiguous::Builder::new().match_kind(MatchKind::Standard).build(words).expect("within bounds");
        eprintln!("aho-corasick contiguous, {name}: {} MiB", automaton.memory_usage() / (1024 * 1024));
        criterion.bench_function(&format!("reference/aho_corasick_contiguous/{name}"), |bencher| {
            bencher.iter(|| {
                let text = normalise(black_box(&text));
                let (input, mut state, mut best) = (Input::new(&text), OverlappingState::start(), None);
                loop {
                    automaton.try_find_overlapping(&input, &mut state).expect("supported");
                    let Some(found) = state.get_match() else { break best };
                    best = best.max(Some(found.pattern()));
                }
            });
        });
    }
}

/// Compile time and resident memory of the largest sets.
fn compiling(_: &mut Criterion) {
    for (script, syllables) in [("ascii", ASCII), ("mixed", MIXED)] {
        let rules = rules(&keywords(syllables, 100_000), 10_000, RuleKind::Keyword, false);
        let before = resident_kib();
        let start = Instant::now();
        let set = TriggerSet::compile(&rules).expect("sound rules");
        let (took, grown) = (start.elapsed(), resident_kib().saturating_sub(before));
        eprintln!(
            "compiling 100,000 {script} keywords in 10,000 rules: {took:.0?}, {} MiB more resident",
            grown / 1024
        );
        drop(black_box(set));
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn base_26(mut number: usize) -> String {
    let mut word = String::new();
    loop {
        word.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
        if number == 0 {
            return word;
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = compiling, by_count_and_script, by_shape, nested, references
}
criterion_main!(benches);
