//! Bodies that are damaged, hostile or huge: neighbours survive, nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{EXPECTED, fixtures, label, load, message, text};
use proptest::prelude::*;
use serde_json::{Value, json};
use whatsapp::Event;
use whatsapp::webhook::{self, ParseError};

#[test]
fn bad_items_leave_their_neighbours_and_say_what_they_are() {
    let webhook = load("batch_bad_neighbours");
    let reasons: Vec<&str> = webhook
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Unreadable(unreadable) => Some(unreadable.reason.as_str()),
            _ => None,
        })
        .collect();
    assert!(reasons[0].starts_with("entry: "), "{}", reasons[0]);
    assert_eq!(reasons[1], "changes: expected an array, found an object");
    assert_eq!(reasons[2], "entry: it has no changes");
    assert_eq!(reasons[3], "messages: expected an object, found a string");
    assert_eq!(reasons[4], "messages: it has no id");
    assert_eq!(reasons[5], "messages: expected an object, found null");
    for name in ["batch_number_out_of_range", "batch_lone_surrogate", "batch_deep_nesting"] {
        let webhook = load(name);
        let Event::Unreadable(unreadable) = &webhook.events[1] else { panic!("{name}") };
        assert_eq!((unreadable.waba_id.as_deref(), unreadable.field.as_deref()), (Some("700001"), Some("messages")));
        assert!(unreadable.raw.get().contains("wamid."), "{name}: the raw message is kept");
        let Event::Message(after) = &webhook.events[2] else { panic!("{name}") };
        assert_eq!(after.content, text("after"), "{name}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let webhook = load("batch_invalid_utf8");
    assert!(webhook.utf8_repaired && !load("text").utf8_repaired);
    let Event::Message(message) = &webhook.events[1] else { panic!() };
    assert_eq!(message.content, text("caf\u{fffd}\u{fffd}"));
}

#[test]
fn of_a_repeated_key_the_last_one_counts() {
    let message = message("duplicate_keys");
    assert_eq!(
        (message.id.as_str(), message.waba_id.as_str(), message.content.text()),
        ("wamid.B", "700001", Some("last"))
    );
    assert_eq!(message.timestamp_seconds, Some(1_790_000_100));
}

#[test]
fn a_nul_character_gets_through() {
    assert_eq!(message("text_nul_character").content, text("a\0b"));
}

#[test]
fn a_lone_surrogate_in_a_key_harms_nobody() {
    let body = br#"{"\ud800":1,"entry":[{"id":"1","\udfff":2,"changes":[{"field":"messages","value":{
        "\ud800":3,"messages":[{"id":"wamid.K","type":"text","text":{"body":"x"}}]}}]}]}"#;
    let webhook = webhook::parse(body).unwrap();
    assert_eq!(webhook.events.iter().map(label).collect::<Vec<_>>(), ["message text"]);
}

#[test]
fn an_unreadable_contact_does_not_take_its_message_along() {
    let body = br#"{"entry":[{"id":"1","changes":[{"field":"messages","value":{
        "contacts":[{"wa_id":"5511999990000","profile":{"name":"\ud800"}},7],
        "messages":[{"id":"wamid.K","from":"5511999990000","type":"text","text":{"body":"x"}}]}}]}]}"#;
    let webhook = webhook::parse(body).unwrap();
    assert_eq!(webhook.events.iter().map(label).collect::<Vec<_>>(), ["unreadable", "message text"]);
}

#[test]
fn only_a_body_that_is_no_object_is_an_error() {
    for body in [&b"[]"[..], b"null", b"1", b"\"x\"", b" [1] "] {
        assert!(matches!(webhook::parse(body), Err(ParseError::NotAnObject)), "{body:?}");
    }
    for body in [&b""[..], b"{", b"{]", b"hello", b"{\"entry\":[{]}", b"{} {}", b"{\"a\":\"\x01\"}", b"[1", b"\xff\xfe"]
    {
        let error = webhook::parse(body).unwrap_err();
        assert!(matches!(error, ParseError::NotJson { .. }), "{body:?} {error}");
    }
    let error = webhook::parse(b"{\"entry\":\n [1,]}").unwrap_err();
    assert_eq!(error.to_string(), "the body is not JSON: expected value (line 2, column 5)");
    for body in [&b"{}"[..], b"{\"entry\":[]}", b"{\"entry\":null}", b"{\"object\":7}"] {
        assert!(webhook::parse(body).unwrap().events.is_empty(), "{body:?}");
    }
    let webhook = webhook::parse(b"{\"entry\":\"x\"}").unwrap();
    assert_eq!(webhook.events.iter().map(label).collect::<Vec<_>>(), ["unreadable"]);
}

#[test]
fn nesting_of_any_depth_is_survived() {
    let deep = |open: &str, close: &str| [open.repeat(100_000), close.repeat(100_000)].concat();
    let arrays = deep("[", "]");
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for nest in [arrays.as_str(), objects.as_str()] {
        for body in [
            format!("{{\"entry\":{nest}}}"),
            format!("{{\"entry\":[{{\"id\":{nest},\"changes\":[]}}]}}"),
            format!("{{\"entry\":[{{\"changes\":[{{\"field\":{nest},\"value\":{nest}}}]}}]}}"),
            format!(
                "{{\"entry\":[{{\"changes\":[{{\"field\":\"messages\",\"value\":{{\"metadata\":{nest},\"messages\":[{nest}]}}}}]}}]}}"
            ),
            format!("{{\"x\":{nest}}}"),
        ] {
            assert!(webhook::parse(body.as_bytes()).is_ok());
        }
        assert!(
            webhook::parse(nest.as_bytes()).is_ok_and(|webhook| webhook.events.is_empty()) || nest.starts_with('[')
        );
    }
}

#[test]
fn three_megabytes_and_thousands_of_items_are_walked_through() {
    let items: Vec<Value> = (0..10_000)
        .map(|n| {
            json!({"id": format!("wamid.{n}"), "from_user_id": format!("BR.{n}"), "timestamp": "1790000000",
                        "type": "text", "text": {"body": "x".repeat(150)}})
        })
        .collect();
    let contacts: Vec<Value> =
        (0..10_000).rev().map(|n| json!({"user_id": format!("BR.{n}"), "profile": {"name": n.to_string()}})).collect();
    let body = json!({"entry": [{"id": "1", "changes": [{"field": "messages", "value": {"contacts": contacts, "messages": items}}]}]});
    let webhook = webhook::parse(body.to_string().as_bytes()).unwrap();
    assert_eq!(webhook.events.len(), 10_000);
    for (n, event) in webhook.events.iter().enumerate() {
        let Event::Message(message) = event else { panic!() };
        assert_eq!(message.sender.name, Some(n.to_string()));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9 .+]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let key = prop_oneof![
            Just("id"),
            Just("type"),
            Just("text"),
            Just("body"),
            Just("from"),
            Just("messages"),
            Just("code"),
            Just("profile"),
            Just("system"),
            Just("edit"),
            Just("message"),
            Just("phones"),
            Just("statuses"),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..5)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// Puts `new` in place of the `at`-th node of a value, counted in walking order.
fn replace_node(value: &mut Value, at: &mut usize, new: &Value) {
    if *at == 0 {
        *value = new.clone();
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace_node(item, at, new)),
        Value::Object(map) => map.values_mut().for_each(|item| replace_node(item, at, new)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = webhook::parse(&body);
    }

    #[test]
    fn fixtures_with_changed_bytes_never_panic(
        index in 0..EXPECTED.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = std::fs::read(fixtures().join(format!("{}.json", EXPECTED[index].0))).unwrap();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let _ = webhook::parse(&body);
        let length = cut.index(body.len());
        let _ = webhook::parse(&body[..length]);
    }

    #[test]
    fn a_fixture_with_any_node_replaced_still_parses(index in 0..EXPECTED.len(), at in 1_usize..60, new in any_json()) {
        let body = std::fs::read(fixtures().join(format!("{}.json", EXPECTED[index].0))).unwrap();
        if let Ok(mut value) = serde_json::from_slice::<Value>(&body) {
            replace_node(&mut value, &mut at.clone(), &new);
            prop_assert!(webhook::parse(value.to_string().as_bytes()).is_ok());
        }
    }

    #[test]
    fn a_broken_message_never_harms_the_ones_around_it(new in any_json()) {
        let good = |id: &str| json!({"id": id, "from": "5511999990000", "type": "text", "text": {"body": id}});
        let body = json!({"entry": [{"id": "1", "changes": [{"field": "messages", "value": {
            "messages": [good("before"), new, good("after")]}}]}]});
        let webhook = webhook::parse(body.to_string().as_bytes()).unwrap();
        prop_assert_eq!(webhook.events.len(), 3);
        for (at, id) in [(0, "before"), (2, "after")] {
            match &webhook.events[at] {
                Event::Message(message) => prop_assert_eq!(message.content.text(), Some(id)),
                other => panic!("{other:?}"),
            }
        }
    }
}
