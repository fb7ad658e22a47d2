//! What webhooks show of the four kinds of phones (reference §2.3, §2.4).

use serde_json::{Value, json};
use simulator::{InboundKind, PhoneKind, PhoneSpec};

use crate::bench::{bench, text};

fn is_user_id(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() > 5 && text.as_bytes()[2] == b'.' && !text.contains(".ENT."))
}

#[tokio::test]
async fn a_phone_without_a_user_id_shows_its_number_only() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Phone);
    let id = bench.simulator.say(&phone.id, "hi").unwrap();
    bench.idle().await;
    let value = bench.value_of(&id);
    assert_eq!(value["messaging_product"], "whatsapp");
    assert_eq!(value["metadata"]["phone_number_id"], "106540352242922");
    let (contact, message) = (&value["contacts"][0], &value["messages"][0]);
    assert_eq!(contact["wa_id"], phone.phone);
    assert_eq!(message["from"], phone.phone);
    assert_eq!(message["text"]["body"], "hi");
    assert!(message["timestamp"].is_string());
    assert!(contact.get("user_id").is_none() && message.get("from_user_id").is_none());
    assert!(contact["profile"].get("username").is_none());
}

#[tokio::test]
async fn a_phone_with_a_user_id_shows_both() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::PhoneAndBsuid);
    let id = bench.simulator.say(&phone.id, "hi").unwrap();
    bench.idle().await;
    let value = bench.value_of(&id);
    assert_eq!(value["contacts"][0]["wa_id"], phone.phone);
    assert_eq!(value["messages"][0]["from"], phone.phone);
    assert!(is_user_id(&value["messages"][0]["from_user_id"]));
    assert_eq!(value["contacts"][0]["user_id"], value["messages"][0]["from_user_id"]);
    assert!(value["messages"][0].get("from_parent_user_id").is_none());
}

#[tokio::test]
async fn a_username_hides_the_number_and_is_the_default() {
    let bench = bench().await;
    let phone = bench.simulator.add_phone(PhoneSpec::default()).unwrap();
    assert_eq!(phone.kind, PhoneKind::Username);
    let id = bench.simulator.say(&phone.id, "hi").unwrap();
    bench.idle().await;
    let value = bench.value_of(&id);
    let (contact, message) = (&value["contacts"][0], &value["messages"][0]);
    assert!(contact.get("wa_id").is_none() && message.get("from").is_none(), "{value}");
    assert!(is_user_id(&contact["user_id"]));
    assert_eq!(contact["profile"]["username"], json!(phone.username));
    assert!(!bench.received()[0].raw.windows(phone.phone.len()).any(|part| part == phone.phone.as_bytes()));
}

#[tokio::test]
async fn a_parent_user_id_comes_with_the_user_id() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::ParentBsuid);
    let id = bench.simulator.say(&phone.id, "hi").unwrap();
    bench.idle().await;
    let value = bench.value_of(&id);
    let (contact, message) = (&value["contacts"][0], &value["messages"][0]);
    assert!(contact["parent_user_id"].as_str().unwrap().contains(".ENT."));
    assert_eq!(contact["parent_user_id"], message["from_parent_user_id"]);
    assert!(is_user_id(&message["from_user_id"]) && message.get("from").is_none());
    let mut body = bench.to(&phone, "text", text("by parent id"));
    body["recipient"] = contact["parent_user_id"].clone();
    let wamid = bench.accepted(&body).await;
    bench.idle().await;
    assert_eq!(bench.statuses_of(&wamid)[0]["recipient_parent_user_id"], contact["parent_user_id"]);
}

#[tokio::test]
async fn writing_to_a_hidden_number_shows_it_for_thirty_days() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let mut body = bench.to(&phone, "text", text("hello"));
    body["to"] = json!(format!("+{}", phone.phone));
    let wamid = bench.accepted(&body).await;
    bench.idle().await;
    assert_eq!(bench.statuses_of(&wamid)[0]["recipient_id"], phone.phone);
    let shown = bench.simulator.say(&phone.id, "now you see me").unwrap();
    bench.idle().await;
    assert_eq!(bench.message_of(&shown)["from"], phone.phone);
    bench.simulator.advance_clock(30 * 86_400 + 1);
    let hidden = bench.simulator.say(&phone.id, "now you do not").unwrap();
    bench.idle().await;
    assert!(bench.message_of(&hidden).get("from").is_none());
}

#[tokio::test]
async fn the_answer_to_a_send_depends_on_how_it_was_addressed() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::PhoneAndBsuid).await;
    let mut body = json!({ "messaging_product": "whatsapp", "text": { "body": "hi" } });
    body["recipient"] = json!(phone.user_id);
    let (_, answer) = bench.send(&body).await;
    assert_eq!(answer["contacts"], json!([{ "input": phone.user_id, "user_id": phone.user_id }]));
    body["to"] = json!(format!("+{}", phone.phone));
    let (_, answer) = bench.send(&body).await;
    assert_eq!(answer["contacts"], json!([{ "input": format!("+{}", phone.phone), "wa_id": phone.phone }]), "to wins");
}

#[tokio::test]
async fn a_change_of_number_tells_old_and_new_ids_without_contacts() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::PhoneAndBsuid).await;
    let change = InboundKind::NumberChange { phone: Some("5511900001111".to_owned()) };
    let id = bench.simulator.post(&phone.id, change.into()).unwrap();
    bench.idle().await;
    let value = bench.value_of(&id);
    assert!(value.get("contacts").is_none());
    let message = &value["messages"][0];
    assert_eq!((&message["type"], &message["from"]), (&json!("system"), &json!(phone.phone)));
    assert_eq!(message["system"]["type"], "user_changed_number");
    assert_eq!(message["system"]["wa_id"], "5511900001111");
    assert_eq!(message["system"]["previous_user_id"], json!(phone.user_id));
    let now = bench.simulator.phone(&phone.id).unwrap();
    assert_eq!(message["system"]["user_id"], json!(now.user_id));
    assert_ne!(now.user_id, phone.user_id);
    bench.fails_later(&bench.to(&phone, "text", text("to the old number")), 131_026).await;
}

#[tokio::test]
async fn a_change_of_user_id_shows_no_number() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let id = bench.simulator.post(&phone.id, InboundKind::UserIdChange.into()).unwrap();
    bench.idle().await;
    let message = bench.message_of(&id);
    assert!(message.get("from").is_none() && message["system"].get("wa_id").is_none());
    assert_eq!(message["system"]["type"], "user_changed_user_id");
    assert_eq!(message["system"]["previous_user_id"], json!(phone.user_id));
    let plain = bench.phone(PhoneKind::Phone);
    assert!(bench.simulator.post(&plain.id, InboundKind::UserIdChange.into()).is_err());
}

#[tokio::test]
async fn the_people_of_ingest_load_take_replies_without_having_written_here() {
    let bench = bench().await;
    bench.simulator.add_load_people(3).unwrap();
    let people = bench.simulator.phones();
    assert_eq!(people[2].phone, "19990000000002");
    assert_eq!(people[2].user_id.as_deref(), Some("US.LOAD00000000000002"));
    for address in [json!({ "to": "19990000000002" }), json!({ "recipient": "US.LOAD00000000000001" })] {
        let mut body = json!({ "messaging_product": "whatsapp", "type": "text", "text": text("hello") });
        body.as_object_mut().unwrap().extend(address.as_object().unwrap().clone());
        let wamid = bench.accepted(&body).await;
        bench.idle().await;
        assert_eq!(bench.ladder(&wamid), ["sent", "delivered"], "the window is open: {body}");
    }
    assert!(bench.simulator.add_load_people(1).is_err(), "this person is here already");
}
