//! The engine by example: what matches, what wins, what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod reference;

use super::*;
use crate::domain::agent::AgentId;
use crate::domain::rule::{KEYWORD_CHARACTERS_MAX, KEYWORDS_PER_RULE_MAX, PRIORITY_MAX, RuleAction};

fn rule(id: &str, kind: RuleKind, patterns: &[&str]) -> Rule {
    let written = || patterns.iter().map(|&pattern| pattern.to_owned());
    let is_prefix = kind == RuleKind::Prefix;
    Rule {
        id: id.to_owned(),
        agent_id: AgentId::default_agent(),
        kind,
        enabled: true,
        priority: 100,
        keywords: if is_prefix { Vec::new() } else { written().collect() },
        whole_word: false,
        prefix: written().next().filter(|_| is_prefix),
        action: RuleAction::ReplyText,
        reply_text: String::new(),
    }
}

fn keyword(id: &str, keywords: &[&str]) -> Rule {
    rule(id, RuleKind::Keyword, keywords)
}

fn whole_word(id: &str, keywords: &[&str]) -> Rule {
    Rule { whole_word: true, ..keyword(id, keywords) }
}

/// The winner's id and why it won.
fn answer(rules: &[Rule], text: &str) -> Option<(String, String)> {
    let winner = TriggerSet::compile(rules).unwrap().winner(&normalise(text))?;
    Some((winner.rule.id.clone(), winner.on.to_string()))
}

fn winner_id(rules: &[Rule], text: &str) -> Option<String> {
    answer(rules, text).map(|(id, _)| id)
}

#[test]
fn the_named_spellings_match_each_other_as_keyword_prefix_exact_and_whole_word() {
    let families: [&[&str]; 3] = [
        &["Ｗｅａｔｈｅｒ", "WEATHER", "weather"],
        &["STRASSE", "straße", "Straẞe"],
        &["İstanbul", "ISTANBUL", "ıstanbul", "istanbul"],
    ];
    for family in families {
        for written in family {
            for said in family {
                let kinds = [RuleKind::Keyword, RuleKind::Prefix, RuleKind::Exact];
                for rule in
                    kinds.map(|kind| rule("r", kind, &[written])).into_iter().chain([whole_word("r", &[written])])
                {
                    assert!(winner_id(&[rule], &format!(" {said}\n")).is_some(), "{written} on {said}");
                }
            }
        }
    }
    let pattern = rule("r", RuleKind::Regex, &["^İSTANB[ıU]L$"]);
    assert!(winner_id(&[pattern], "ıstanbul").is_some());
}

#[test]
fn each_kind_says_why_it_matched() {
    let table = [
        (keyword("r", &["rain", "Weather"]), "bad WEATHER, rain", "the text contains `weather`"),
        (whole_word("r", &["weather"]), "weathered? weather!", "the text contains the word `weather`"),
        (rule("r", RuleKind::Prefix, &["Hello  there"]), "hello\tthere you", "the text begins with `hello there`"),
        (rule("r", RuleKind::Exact, &["yes", "Yes please"]), "YES PLEASE ", "the text is `yes please`"),
        (rule("r", RuleKind::Regex, &["^no", r"\d+ EUR"]), "pay 12 eur", r"`\d+ EUR` matches `12 eur`"),
    ];
    for (rule, text, why) in table {
        assert_eq!(answer(&[rule], text), Some(("r".to_owned(), why.to_owned())));
    }
}

#[test]
fn each_kind_passes_over_what_it_does_not_ask_for() {
    let table = [
        (keyword("r", &["weather"]), "wea ther"),
        (whole_word("r", &["weather"]), "weathered heather weather_now"),
        (whole_word("r", &["art"]), "part, arts, art's"),
        (rule("r", RuleKind::Prefix, &["hello"]), "say hello"),
        (rule("r", RuleKind::Exact, &["yes"]), "yes please"),
        (rule("r", RuleKind::Regex, &["^a+$"]), "baa"),
        (rule("r", RuleKind::Scheduled, &["weather"]), "weather"),
        (Rule { enabled: false, ..keyword("r", &["weather"]) }, "weather"),
    ];
    for (rule, text) in table {
        assert_eq!(answer(std::slice::from_ref(&rule), text), None, "{rule:?}");
    }
}

#[test]
fn the_lower_priority_number_wins_then_the_lower_id_whatever_the_kind_or_order() {
    let at = |priority, rule| Rule { priority, ..rule };
    let mut rules = vec![
        at(3, keyword("a", &["w"])),
        at(2, rule("d", RuleKind::Exact, &["weather"])),
        at(2, rule("c", RuleKind::Regex, &["w.*r"])),
        at(2, whole_word("b", &["weather"])),
        at(-1, Rule { enabled: false, ..keyword("z", &["weather"]) }),
    ];
    assert_eq!(winner_id(&rules, "weather").as_deref(), Some("b"));
    rules.push(at(1, rule("e", RuleKind::Prefix, &["we"])));
    assert_eq!(winner_id(&rules, "weather").as_deref(), Some("e"));
    rules.push(at(0, rule("y", RuleKind::Regex, &["ather"])));
    assert_eq!(winner_id(&rules, "weather").as_deref(), Some("y"));
    rules.push(at(-PRIORITY_MAX, rule("x", RuleKind::Exact, &["WEATHER"])));
    assert_eq!(winner_id(&rules, "weather").as_deref(), Some("x"));
    assert_eq!(winner_id(&rules, "the weather").as_deref(), Some("y"));
    rules.reverse();
    assert_eq!(winner_id(&rules, "weather").as_deref(), Some("x"));
}

#[test]
fn explaining_lists_every_match_in_order_and_marks_where_it_stops() {
    let rules: Vec<Rule> = (0..EXPLAINED_MATCHES_MAX + 1).map(|id| keyword(&format!("{id:03}"), &["a"])).collect();
    let all = TriggerSet::compile(&rules).unwrap().all_matches("a");
    assert_eq!((all.matches.len(), all.cut), (EXPLAINED_MATCHES_MAX, true));
    assert!(all.matches.iter().map(|it| &it.rule.id).is_sorted());
    let all = TriggerSet::compile(&rules[1..]).unwrap().all_matches("a");
    assert_eq!((all.matches.len(), all.cut), (EXPLAINED_MATCHES_MAX, false));
}

#[test]
fn a_long_match_is_shown_cut() {
    let set = TriggerSet::compile(&[rule("r", RuleKind::Regex, &[".*"])]).unwrap();
    let MatchedOn::Regex { text, .. } = set.winner(&"é".repeat(4_096)).unwrap().on else { panic!("no regex") };
    assert_eq!(text, format!("{}…", "é".repeat(MATCHED_TEXT_CHARACTERS_MAX)));
}

#[test]
fn a_sound_rule_of_each_kind_is_taken() {
    let kinds = [RuleKind::Keyword, RuleKind::Prefix, RuleKind::Exact, RuleKind::Regex];
    for rule in kinds.map(|kind| rule("r", kind, &["weather"])).into_iter().chain([rule("r", RuleKind::Scheduled, &[])])
    {
        assert_eq!(validate(&rule), Ok(()));
    }
    for pattern in
        [r"\w{1,10}", r"\b(weather|forecast)\b.*\d", r"^\p{Cyrillic}+[^\s]*$", r"(?P<city>\pL+)\s+(tomorrow)?"]
    {
        assert_eq!(validate(&rule("r", RuleKind::Regex, &[pattern])), Ok(()), "{pattern}");
    }
}

#[test]
fn a_faulty_rule_is_refused_by_field_with_what_to_do() {
    let base = || keyword("r", &["weather"]);
    let long = "x".repeat(KEYWORD_CHARACTERS_MAX + 1);
    let many = vec!["x".to_owned(); KEYWORDS_PER_RULE_MAX + 1];
    let table = [
        (Rule { id: " ".into(), ..base() }, "rule_field_empty", "id"),
        (Rule { id: "é".repeat(129), ..base() }, "rule_field_too_long", "id"),
        (Rule { id: "a\nb".into(), ..base() }, "rule_control_character", "id"),
        (Rule { agent_id: AgentId(String::new()), ..base() }, "rule_field_empty", "agent_id"),
        (Rule { priority: PRIORITY_MAX + 1, ..base() }, "rule_priority_out_of_range", "priority"),
        (Rule { priority: i32::MIN, ..base() }, "rule_priority_out_of_range", "priority"),
        (Rule { reply_text: "x".repeat(4_097), ..base() }, "rule_field_too_long", "reply_text"),
        (Rule { reply_text: "x\0".into(), ..base() }, "rule_control_character", "reply_text"),
        (Rule { keywords: Vec::new(), ..base() }, "rule_field_missing", "keywords"),
        (Rule { keywords: many, ..base() }, "rule_list_too_long", "keywords"),
        (keyword("r", &["a", &long]), "rule_field_too_long", "keywords[1]"),
        (keyword("r", &["a", "\u{3000}"]), "rule_field_empty", "keywords[1]"),
        (keyword("r", &["a\0"]), "rule_control_character", "keywords[0]"),
        (rule("r", RuleKind::Exact, &[""]), "rule_field_empty", "keywords[0]"),
        (rule("r", RuleKind::Prefix, &[]), "rule_field_missing", "prefix"),
        (rule("r", RuleKind::Prefix, &["\t"]), "rule_field_empty", "prefix"),
        (rule("r", RuleKind::Prefix, &[&long]), "rule_field_too_long", "prefix"),
        (rule("r", RuleKind::Regex, &[]), "rule_field_missing", "keywords"),
        (rule("r", RuleKind::Regex, &["x"; 21]), "rule_list_too_long", "keywords"),
        (rule("r", RuleKind::Regex, &["a", "a\nb"]), "rule_control_character", "keywords[1]"),
        (rule("r", RuleKind::Regex, &[r"\w{1000}"]), "rule_pattern_too_big", "keywords[0]"),
    ];
    for (rule, code, field) in table {
        let errors = validate(&rule).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| (error.code(), error.field())).collect();
        assert_eq!(found, [(code, Some(field))], "{errors:?}");
        assert!(errors[0].to_string().contains(&format!("`{field}`")), "{}", errors[0]);
    }
}

#[test]
fn a_bad_expression_is_refused_with_the_column_of_its_fault() {
    let table = [
        ("(", 1, "unclosed group"),
        ("a(b", 2, "unclosed group"),
        ("жжß[z", 4, "unclosed character class"),
        ("天*)", 3, "unopened group"),
        (r"ab\p{Klingon}", 3, "Unicode property not found"),
        ("(?P<n>a)(?P<n>b)", 13, "duplicate capture group name"),
        ("a{2,1}", 2, "invalid repetition count range, the start must be <= the end"),
        ("(?=a)", 1, "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", 4, "backreferences are not supported"),
        ("a^^^[", 5, "unclosed character class"),
    ];
    for (pattern, column, reason) in table {
        let expected = RuleError::BadPattern { field: "keywords[0]".into(), reason: reason.into(), column };
        assert_eq!(validate(&rule("r", RuleKind::Regex, &[pattern])), Err(vec![expected]), "{pattern}");
    }
}

#[test]
fn many_faults_are_listed_up_to_a_bound() {
    let errors = validate(&keyword("r", &[""; 1_000])).unwrap_err();
    assert_eq!(errors.len(), RULE_ERRORS_MAX);
}

#[test]
fn compiling_names_the_rule_or_the_bound_at_fault() {
    let error = TriggerSet::compile(&[keyword("ok", &["a"]), rule("bad", RuleKind::Regex, &["("])]).unwrap_err();
    assert_eq!((error.code(), error.field()), ("rule_pattern_invalid", Some("keywords[0]")));
    assert!(error.to_string().starts_with("rule `bad`: `keywords[0]` is not a regular expression"), "{error}");
    let error = TriggerSet::compile(&[keyword("r", &[" "])]).unwrap_err();
    assert_eq!(error.code(), "rule_field_empty");

    let many = |count: usize, rule: &Rule| vec![rule.clone(); count];
    let wide = Rule { keywords: vec!["x".to_owned(); KEYWORDS_PER_RULE_MAX], ..keyword("r", &[]) };
    let heavy = Rule { keywords: vec!["天".repeat(200); KEYWORDS_PER_RULE_MAX], ..keyword("r", &[]) };
    let table = [
        (many(RULES_PER_AGENT_MAX + 1, &keyword("r", &["a"])), AgentLimit::Rules),
        (many(21, &wide), AgentLimit::Keywords),
        (many(2, &heavy), AgentLimit::KeywordBytes),
        (many(PATTERNS_PER_AGENT_MAX + 1, &rule("r", RuleKind::Regex, &["a"])), AgentLimit::Patterns),
    ];
    for (rules, expected) in table {
        match TriggerSet::compile(&rules).unwrap_err() {
            RuleError::AgentTooMany { what, count, limit } => assert!(what == expected && count > limit),
            other => panic!("{other}"),
        }
    }
    assert!(TriggerSet::compile(&many(20, &wide)).is_ok());
}
