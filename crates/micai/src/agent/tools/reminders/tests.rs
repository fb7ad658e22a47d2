//! The tools about reminders: what a model may give, and what becomes of it.

use serde_json::{Value, json};

use super::super::tests::{agent, message, now};
use super::super::{Desk, Tools};
use super::*;
use crate::ids::Ids;

/// `now` is Monday 21 September 2026, 15:13 in Lisbon.
fn facts(zone: Option<&str>) -> PersonFacts {
    PersonFacts {
        contact_id: Ids::seeded(1).contact(now()),
        phone: None,
        zone: zone.map(str::to_owned),
        last_inbound_at: Some(now()),
        reminders: Some(Reminders::default()),
        agents: Vec::new(),
    }
}

async fn call(desk: &mut Desk<'_>, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
    desk.call(&message(), tool, &arguments).await
}

fn reply(output: &ToolOutput) -> &str {
    output.reply.as_ref().and_then(MessageBody::text).unwrap()
}

async fn outcome(arguments: &Value) -> String {
    let (tools, agent, facts) = (Tools::nowhere(), agent(ToolName::ALL), facts(Some("Europe/Lisbon")));
    let mut desk = Desk::new(&tools, &agent, Some(&facts), None, now());
    match call(&mut desk, "set_reminder", arguments.clone()).await {
        Ok(output) => output.data["first_at"].as_str().map_or_else(|| output.data.to_string(), str::to_owned),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_model_gives_text_and_time_in_several_ways() {
    for (arguments, expected) in [
        (json!({"text": "call", "when": "2026-11-25T09:00"}), "2026-11-25T09:00:00Z"),
        (json!({"text": "call", "when": "2026-11-25T09:00:00+02:00"}), "2026-11-25T07:00:00Z"),
        (json!({"text": "call", "when": "tomorrow at 9"}), "2026-09-22T08:00:00Z"),
        (json!({"text": "call", "when": "2026-11-25T09:00", "zone": "Tokyo"}), "2026-11-25T00:00:00Z"),
        (json!({"sentence": "remind me tomorrow at 9 to call"}), "2026-09-22T08:00:00Z"),
        (json!({"text": "call", "recurrence": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=7;BYMINUTE=15"}), "2026-09-28T06:15:00Z"),
        (json!({"text": "call", "when": "every day at 8"}), "2026-09-22T07:00:00Z"),
        (json!({"text": "call", "when": "2020-11-25T09:00"}), r#"{"unclear":"past"}"#),
        (json!({"text": "call", "when": "2040-11-25T09:00"}), r#"{"unclear":"too_far"}"#),
        (json!({"text": "call", "when": "3/4"}), r#"{"unclear":"which_order"}"#),
        (json!({"text": "call", "when": "soon"}), r#"{"unclear":"soon"}"#),
        (json!({"text": "call", "when": "tomorrow at 9", "zone": "Atlantis"}), r#"{"unclear":"zone_unknown"}"#),
    ] {
        assert_eq!(outcome(&arguments).await, expected, "{arguments}");
    }
    for arguments in [
        json!({}),
        json!({"text": "call"}),
        json!({"when": "tomorrow"}),
        json!({"text": "call", "recurrence": "FREQ=SOMETIMES"}),
        json!({"sentence": "hello"}),
    ] {
        let refused = outcome(&arguments).await;
        assert!(refused.starts_with("the arguments do not fit"), "{arguments}: {refused}");
    }
}

#[tokio::test]
async fn numbers_belong_to_reminders_while_they_live() {
    let (tools, agent, facts) = (Tools::nowhere(), agent(ToolName::ALL), facts(Some("Europe/Lisbon")));
    let mut desk = Desk::new(&tools, &agent, Some(&facts), None, now());
    for text in ["one", "two", "three"] {
        let sentence = format!("remind me tomorrow at 9 to {text}");
        call(&mut desk, "set_reminder", json!({ "sentence": sentence })).await.unwrap();
    }
    let cancelled = call(&mut desk, "cancel_reminder", json!({"numbers": [1]})).await.unwrap();
    assert_eq!(reply(&cancelled), "Cancelled: one");
    let list = call(&mut desk, "list_reminders", json!({})).await.unwrap();
    let numbers: Vec<_> = list.data["reminders"].as_array().unwrap().iter().map(|one| one["number"].clone()).collect();
    assert_eq!(numbers, [2, 3], "what is left keeps its number");
    let unknown = call(&mut desk, "cancel_reminder", json!({"numbers": [2, 9]})).await.unwrap();
    assert!(unknown.effects.is_empty() && reply(&unknown).contains("no reminder 9"), "all or none");
    let unclear = call(&mut desk, "cancel_reminder", json!({})).await.unwrap();
    assert!(unclear.effects.is_empty() && reply(&unclear).starts_with("Which one?"));
    let by_text = call(&mut desk, "cancel_reminder", json!({"text": "TWO"})).await.unwrap();
    assert_eq!(by_text.data["cancelled"], json!([2]));
    let last = call(&mut desk, "cancel_reminder", json!({"all": true})).await.unwrap();
    assert_eq!(last.data["cancelled"], json!([3]));
    let none = call(&mut desk, "list_reminders", json!({})).await.unwrap();
    assert!(reply(&none).starts_with("You have no reminders."));
}

#[tokio::test]
async fn a_person_has_so_many_reminders() {
    use crate::domain::schedule::REMINDERS_PER_CONTACT_MAX;

    let (tools, agent, mut facts) = (Tools::nowhere(), agent(ToolName::ALL), facts(Some("Europe/Lisbon")));
    let mut desk = Desk::new(&tools, &agent, Some(&facts), None, now());
    let sentence = json!({ "sentence": "remind me tomorrow at 9 to call" });
    let made = call(&mut desk, "set_reminder", sentence.clone()).await.unwrap();
    for _ in 0..REMINDERS_PER_CONTACT_MAX {
        foresee(&mut facts, &made.effects, now());
    }
    let mut desk = Desk::new(&tools, &agent, Some(&facts), None, now());
    let refused = call(&mut desk, "set_reminder", sentence).await.unwrap();
    assert!(refused.effects.is_empty());
    assert!(reply(&refused).contains(&format!("{REMINDERS_PER_CONTACT_MAX} reminders")), "{}", reply(&refused));
    let list = call(&mut desk, "list_reminders", json!({})).await.unwrap();
    assert!(reply(&list).chars().count() < 4_096 && reply(&list).contains("… and 30 more."), "{}", reply(&list));
}

#[tokio::test]
async fn where_nobody_knows_the_zone_it_is_asked_once() {
    let (tools, agent, facts) = (Tools::nowhere(), agent(ToolName::ALL), facts(None));
    let mut desk = Desk::new(&tools, &agent, Some(&facts), None, now());
    let sentence = "remind me tomorrow at 9 to call";
    let asked = call(&mut desk, "set_reminder", json!({ "sentence": sentence })).await.unwrap();
    assert!(asked.effects.is_empty() && reply(&asked).starts_with("In which city are you?"));
    let question = asked.question.unwrap();
    let wish = of_answer(&tools, &question, "Lisbon", now()).unwrap();
    let set = call(&mut desk, wish.tool.as_str(), wish.arguments).await.unwrap();
    assert_eq!(set.effects.first(), Some(&Effect::SetZone { zone: "Europe/Lisbon".to_owned() }));
    assert!(reply(&set).contains("Tuesday 22 September 2026 at 09:00 (Europe/Lisbon)"), "{}", reply(&set));
    assert_eq!(of_answer(&tools, &question, "what do you mean by that, my friend?", now()), None);
    let again = call(&mut desk, "set_reminder", json!({ "sentence": sentence })).await.unwrap();
    assert_eq!(again.question, None, "the same turn knows it already");
    let relative = PersonFacts { zone: None, ..facts.clone() };
    let mut desk = Desk::new(&tools, &agent, Some(&relative), None, now());
    let set = call(&mut desk, "set_reminder", json!({"sentence": "remind me in 20 minutes to stretch"})).await.unwrap();
    assert!(set.question.is_none() && reply(&set).contains("(UTC)"), "an interval needs no zone: {}", reply(&set));
}

#[test]
fn what_a_rule_takes_for_a_reminder_is_read_without_the_words_that_matched() {
    let tools = Tools::nowhere();
    let keyword = |text: &str| MatchedOn::Keyword { text: text.to_owned() };
    let exact = MatchedOn::Exact { text: "todo".to_owned() };
    let regex = |text: &str| MatchedOn::Regex { pattern: "x".to_owned(), text: text.to_owned() };
    for (text, said, matched, expected) in [
        ("todo Call Mom at 9", "todo Call Mom at 9", keyword("todo"), "remind me Call Mom at 9"),
        ("M: TODO: pay", "TODO: pay", keyword("todo"), "remind me : pay"),
        ("pay the rent todo", "pay the rent todo", keyword("todo"), "remind me pay the rent"),
        ("m: pay the rent todo!", "pay the rent todo!", keyword("todo"), "remind me pay the rent"),
        ("m: todo pay", "todo pay", keyword("m: todo"), "remind me pay"),
        ("M: pay", "pay", keyword("m:"), "remind me pay"),
        ("stodo pay", "stodo pay", keyword("todo"), "remind me stodo pay"),
        ("todo", "todo", exact, "remind me"),
        ("buy milk", "buy milk", regex("buy milk"), "remind me buy milk"),
        ("note: milk", "note: milk", regex("note"), "remind me : milk"),
        // What makes sense as it stands is left alone.
        ("remind me at 9 to pay", "remind me at 9 to pay", keyword("remind"), "remind me at 9 to pay"),
        ("todo tomorrow at 9 pay", "todo tomorrow at 9 pay", keyword("todo"), "tomorrow at 9 pay"),
    ] {
        let (wish, is_bare) = of_rule(&tools, text, said, &matched, now());
        assert_eq!(wish.arguments["sentence"], expected, "{text}");
        assert_eq!(is_bare, expected == "remind me", "{text}");
    }
    let (wish, is_bare) = of_rule(&tools, "todo cancel 2", "todo cancel 2", &keyword("todo"), now());
    assert_eq!((wish.tool, &wish.arguments["numbers"], is_bare), (ToolName::CancelReminder, &json!([2]), false));
    let long = format!("todo {}", "word ".repeat(600));
    let (wish, _) = of_rule(&tools, &long, &long, &keyword("todo"), now());
    assert!(wish.arguments["sentence"].as_str().unwrap().chars().count() <= SENTENCE_CHARACTERS_MAX);
}
