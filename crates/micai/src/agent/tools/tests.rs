//! The table of tools, and the gate before it.

use serde_json::{Value, json};

use super::schema::{KNOWN_WORDS, check};
use super::*;
use crate::domain::agent::{AgentId, AgentSettings};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::inbound::MessageNature;
use crate::ids::Ids;

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

pub(super) fn message() -> PendingMessage {
    PendingMessage {
        id: Ids::seeded(5).inbound(now()),
        provider_message_id: "wamid.1".to_owned(),
        kind: "text".to_owned(),
        nature: MessageNature::Words,
        text: Some("weather".to_owned()),
        tapped: None,
        location: None,
        target_provider_message_id: None,
        reply_to: Address { kind: AddressKind::Phone, value: "551".to_owned() },
        sent_at: now(),
        received_at: now(),
        revoked: false,
        edited: false,
        failures: 0,
    }
}

pub(super) fn agent(tools: &[ToolName]) -> CompiledAgent {
    let settings = AgentSettings { tools: tools.to_vec(), ..AgentSettings::default() };
    CompiledAgent::new(AgentId::default_agent(), 1, settings, &[]).unwrap()
}

#[test]
fn every_tool_has_a_row_whose_schema_is_checked_in_full() {
    fn read(schema: &Value) {
        for (word, value) in schema.as_object().expect("a schema is an object") {
            assert!(KNOWN_WORDS.contains(&word.as_str()), "{word} is not checked: {schema}");
            match word.as_str() {
                "properties" => value.as_object().unwrap().values().for_each(read),
                "items" => read(value),
                "additionalProperties" => assert_eq!(value, false),
                _ => {}
            }
        }
        if schema["type"] == "string" {
            assert!(schema["maxLength"].is_u64() || schema["enum"].is_array(), "a text needs a bound: {schema}");
        }
    }
    for tool in ToolName::ALL {
        let row = definition(*tool);
        assert_eq!(row.name, *tool);
        assert_eq!(ToolName::parse(tool.as_str()), Some(*tool));
        assert_eq!((&row.arguments["type"], &row.arguments["additionalProperties"]), (&json!("object"), &json!(false)));
        assert!(row.description.len() > 20);
        read(&row.arguments);
    }
}

#[test]
fn arguments_are_held_to_their_schema() {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 3 },
            "count": { "type": "integer", "minimum": 1, "maximum": 5 },
            "day": { "type": "string", "enum": ["today", "tomorrow"] },
            "list": { "type": "array", "maxItems": 2, "items": { "type": "number" } },
            "sure": { "type": "boolean" },
        },
        "required": ["name"],
        "additionalProperties": false,
    });
    for (value, fault) in [
        (json!({"name": "abc", "count": 5, "day": "today", "list": [1, 2.5], "sure": true}), ""),
        (json!({"name": "ééé"}), ""),
        (json!([]), "the arguments must be of type object"),
        (json!("name"), "the arguments must be of type object"),
        (json!({}), "the arguments must have name"),
        (json!({"name": ""}), "name must have 1 to 3 characters"),
        (json!({"name": "abcd"}), "name must have 1 to 3 characters"),
        (json!({"name": null}), "name must be of type string"),
        (json!({"name": "a", "count": 6}), "count must have 1 to 5 as its value"),
        (json!({"name": "a", "count": 1.5}), "count must be of type integer"),
        (json!({"name": "a", "count": "1"}), "count must be of type integer"),
        (json!({"name": "a", "day": "someday"}), "day must be one of \"today\", \"tomorrow\""),
        (json!({"name": "a", "list": [1, 2, 3]}), "list must have any to 2 items"),
        (json!({"name": "a", "list": [1, "2"]}), "list.1 must be of type number"),
        (json!({"name": "a", "sure": 1}), "sure must be of type boolean"),
        (json!({"name": "a", "more": 1}), "the arguments must not have more"),
    ] {
        assert_eq!(check(&schema, &value).err().unwrap_or_default(), fault, "{value}");
    }
}

#[tokio::test]
async fn what_an_agent_does_not_list_does_not_run_and_is_written_down() {
    let (tools, message) = (Tools::nowhere(), message());
    let nothing = agent(&[]);
    let mut desk = Desk::new(&tools, &nothing, None, None, now());
    for (place, tool) in ToolName::ALL.iter().enumerate() {
        // The list is asked before the arguments.
        for arguments in [json!({}), json!("nonsense")] {
            assert_eq!(desk.call(&message, tool.as_str(), &arguments).await, Err(ToolError::NotAllowed));
        }
        let (trace, denials) = desk.take();
        assert!(trace.iter().all(|call| call.fate == ToolFate::NotAllowed), "{trace:?}");
        assert_eq!(denials.len(), 2, "{place}");
    }
    assert_eq!(desk.call(&message, "open_door", &json!({})).await, Err(ToolError::Unknown));
    assert!(desk.take().1.is_empty(), "what does not exist cannot be asked for");
}

#[tokio::test]
async fn a_turn_makes_so_many_calls_and_their_arguments_have_bounds() {
    let (tools, message) = (Tools::nowhere(), message());
    let everything = agent(ToolName::ALL);
    let mut desk = Desk::new(&tools, &everything, None, None, now());
    let refused = desk.call(&message, "get_weather", &json!({"place": "x".repeat(9_000)})).await;
    assert!(matches!(refused, Err(ToolError::BadArguments(why)) if why.contains("8192 bytes")));
    let refused = desk.call(&message, "get_weather", &json!({"place": 7})).await;
    assert_eq!(refused, Err(ToolError::BadArguments("place must be of type string".to_owned())));
    for _ in 2..TOOL_CALLS_PER_TURN_MAX {
        desk.call(&message, "get_weather", &json!({})).await.unwrap();
    }
    assert_eq!(desk.call(&message, "get_weather", &json!({})).await, Err(ToolError::TooManyCalls));
    let (trace, _) = desk.take();
    let keys: Vec<String> =
        trace.iter().map(|call| EffectKey { inbound_id: message.id, step: call.step }.to_string()).collect();
    assert_eq!(keys.len(), TOOL_CALLS_PER_TURN_MAX + 1);
    assert_eq!(keys[1], format!("tool:{}:2", message.id), "the same turn again has the same keys");
}

#[tokio::test]
async fn a_turn_whose_time_is_up_calls_nothing_more() {
    let (tools, message) = (Tools::too_late(), message());
    let everything = agent(ToolName::ALL);
    let mut desk = Desk::new(&tools, &everything, None, None, now());
    assert_eq!(desk.call(&message, "get_weather", &json!({})).await, Err(ToolError::TimedOut));
    assert_eq!(desk.take().0[0].fate, ToolFate::TimedOut);
}
