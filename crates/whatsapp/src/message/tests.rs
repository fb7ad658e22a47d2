//! Wire bodies of every kind, and what is stored of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod limits;

use super::*;
use crate::identity::{Bsuid, GroupId, ParentBsuid, Phone};
use proptest::prelude::*;

fn to_phone(content: OutboundContent) -> Value {
    OutboundMessage::new(Identity::Phone(Phone::parse("5511999990000").unwrap()), content).to_json()
}

fn id(text: &str) -> MediaSource {
    MediaSource::id(text).unwrap()
}

fn template() -> Template {
    let components = vec![
        TemplateComponent::Header { parameters: vec![TemplateParameter::Image { media: id("1") }] },
        TemplateComponent::Body { parameters: vec![TemplateParameter::text("Ana"), TemplateParameter::text("42")] },
        TemplateComponent::Button { index: 0, button: TemplateButton::QuickReply { payload: "p".into() } },
        TemplateComponent::Button { index: 1, button: TemplateButton::Url { suffix: "42".into() } },
        TemplateComponent::Button { index: 2, button: TemplateButton::CopyCode { code: "CUP10".into() } },
        TemplateComponent::Button { index: 3, button: TemplateButton::Flow { flow_token: Some("t".into()) } },
    ];
    Template::new("order_ready", "pt_BR", components).unwrap()
}

fn named_template() -> Template {
    let parameters = vec![
        TemplateParameter::named("first", "Ana"),
        TemplateParameter::Currency {
            name: Some("price".into()),
            fallback: "R$ 10".into(),
            code: "BRL".into(),
            amount_1000: 10_000,
        },
        TemplateParameter::DateTime { name: Some("day".into()), fallback: "Friday".into() },
    ];
    Template::new("order_ready", "pt_BR", vec![TemplateComponent::Body { parameters }]).unwrap()
}

/// Every kind with the part of its wire body that is its own.
fn every_kind() -> Vec<(OutboundContent, Value)> {
    let yes = || ReplyButton::new("y", "Yes").unwrap();
    let list =
        ListSection::new(Some("A".into()), vec![ListRow::new("1", "One", Some("first".into())).unwrap()]).unwrap();
    vec![
        (OutboundContent::text("Hi").unwrap(), json!({"type":"text","text":{"body":"Hi","preview_url":false}})),
        (
            OutboundContent::text_with_preview("https://example.com").unwrap(),
            json!({"type":"text","text":{"body":"https://example.com","preview_url":true}}),
        ),
        (
            OutboundContent::template(template()).unwrap(),
            json!({"type":"template","template":{"name":"order_ready","language":{"code":"pt_BR"},"components":[
                {"type":"header","parameters":[{"type":"image","image":{"id":"1"}}]},
                {"type":"body","parameters":[{"type":"text","text":"Ana"},{"type":"text","text":"42"}]},
                {"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"p"}]},
                {"type":"button","sub_type":"url","index":"1","parameters":[{"type":"text","text":"42"}]},
                {"type":"button","sub_type":"copy_code","index":"2",
                 "parameters":[{"type":"coupon_code","coupon_code":"CUP10"}]},
                {"type":"button","sub_type":"flow","index":"3",
                 "parameters":[{"type":"action","action":{"flow_token":"t"}}]}]}}),
        ),
        (
            OutboundContent::template(named_template()).unwrap(),
            json!({"type":"template","template":{"name":"order_ready","language":{"code":"pt_BR"},"components":[
                {"type":"body","parameters":[
                    {"type":"text","parameter_name":"first","text":"Ana"},
                    {"type":"currency","parameter_name":"price",
                     "currency":{"fallback_value":"R$ 10","code":"BRL","amount_1000":10000}},
                    {"type":"date_time","parameter_name":"day","date_time":{"fallback_value":"Friday"}}]}]}}),
        ),
        (
            OutboundContent::template(Template::new("plain", "en", vec![]).unwrap()).unwrap(),
            json!({"type":"template","template":{"name":"plain","language":{"code":"en"}}}),
        ),
        (
            OutboundContent::buttons("Ok?", vec![yes()])
                .and_then(|content| content.with_header(Header::Text("Top".into())))
                .and_then(|content| content.with_footer("small"))
                .unwrap(),
            json!({"type":"interactive","interactive":{"type":"button","header":{"type":"text","text":"Top"},
                "body":{"text":"Ok?"},"footer":{"text":"small"},
                "action":{"buttons":[{"type":"reply","reply":{"id":"y","title":"Yes"}}]}}}),
        ),
        (
            OutboundContent::buttons("Ok?", vec![yes()])
                .and_then(|content| {
                    content.with_header(Header::Document { media: id("7"), filename: Some("a.pdf".into()) })
                })
                .unwrap(),
            json!({"type":"interactive","interactive":{"type":"button",
                "header":{"type":"document","document":{"id":"7","filename":"a.pdf"}},"body":{"text":"Ok?"},
                "action":{"buttons":[{"type":"reply","reply":{"id":"y","title":"Yes"}}]}}}),
        ),
        (
            OutboundContent::list("Pick", "Open", vec![list]).unwrap(),
            json!({"type":"interactive","interactive":{"type":"list","body":{"text":"Pick"},"action":{"button":"Open",
                "sections":[{"title":"A","rows":[{"id":"1","title":"One","description":"first"}]}]}}}),
        ),
        (
            OutboundContent::cta_url("See", "Go", "https://example.com/x").unwrap(),
            json!({"type":"interactive","interactive":{"type":"cta_url","body":{"text":"See"},"action":{
                "name":"cta_url","parameters":{"display_text":"Go","url":"https://example.com/x"}}}}),
        ),
        (
            OutboundContent::location_request("Where?").unwrap(),
            json!({"type":"interactive","interactive":{"type":"location_request_message","body":{"text":"Where?"},
                "action":{"name":"send_location"}}}),
        ),
        (
            OutboundContent::contact_info_request("Your number?").unwrap(),
            json!({"type":"interactive","interactive":{"type":"request_contact_info","body":{"text":"Your number?"},
                "action":{"name":"request_contact_info"}}}),
        ),
        (
            OutboundContent::image(id("123"), Some("x".into())).unwrap(),
            json!({"type":"image","image":{"id":"123","caption":"x"}}),
        ),
        (
            OutboundContent::video(MediaSource::link("https://example.com/v.mp4").unwrap(), None).unwrap(),
            json!({"type":"video","video":{"link":"https://example.com/v.mp4"}}),
        ),
        (OutboundContent::audio(id("1")).unwrap(), json!({"type":"audio","audio":{"id":"1"}})),
        (OutboundContent::voice(id("1")).unwrap(), json!({"type":"audio","audio":{"id":"1","voice":true}})),
        (
            OutboundContent::document(id("1"), Some("c".into()), Some("f.pdf".into())).unwrap(),
            json!({"type":"document","document":{"id":"1","caption":"c","filename":"f.pdf"}}),
        ),
        (OutboundContent::sticker(id("1")).unwrap(), json!({"type":"sticker","sticker":{"id":"1"}})),
        (
            OutboundContent::reaction("wamid.A1", Some("👍".into())).unwrap(),
            json!({"type":"reaction","reaction":{"message_id":"wamid.A1","emoji":"👍"}}),
        ),
        (
            OutboundContent::reaction("wamid.A1", None).unwrap(),
            json!({"type":"reaction","reaction":{"message_id":"wamid.A1","emoji":""}}),
        ),
    ]
}

#[test]
fn every_kind_has_its_wire_body() {
    for (content, own) in every_kind() {
        let mut expected = own;
        expected["messaging_product"] = json!("whatsapp");
        expected["recipient_type"] = json!("individual");
        expected["to"] = json!("5511999990000");
        assert_eq!(to_phone(content.clone()), expected, "{}", content.kind());
    }
}

#[test]
fn every_kind_survives_storing() {
    for (content, _) in every_kind() {
        let stored = serde_json::to_string(&content).unwrap();
        assert_eq!(serde_json::from_str::<OutboundContent>(&stored).unwrap(), content, "{stored}");
        assert_eq!(serde_json::from_str::<Value>(&stored).unwrap()["kind"], content.kind());
        assert_eq!(content.check(), Ok(()));
        assert_eq!(content.is_template(), content.kind() == "template");
    }
}

#[test]
fn the_recipient_goes_where_meta_wants_it() {
    let text = || OutboundContent::text("x").unwrap();
    let bsuid = Recipient::User(Bsuid::parse("BR.1").unwrap().into());
    let parent = Recipient::User(ParentBsuid::parse("BR.ENT.1").unwrap().into());
    let group = Recipient::Group(GroupId::parse("120363").unwrap());
    for (recipient, key, value, kind) in [
        (bsuid, "recipient", "BR.1", "individual"),
        (parent, "recipient", "BR.ENT.1", "individual"),
        (group, "to", "120363", "group"),
    ] {
        let body = OutboundMessage::new(recipient, text()).to_json();
        assert_eq!((&body[key], &body["recipient_type"]), (&json!(value), &json!(kind)));
        let other = if key == "to" { "recipient" } else { "to" };
        assert_eq!(body.get(other), None);
    }
}

#[test]
fn replies_and_callback_data_are_added_and_a_reaction_quotes_nothing() {
    let recipient = || Identity::Phone(Phone::parse("5511999990000").unwrap());
    let message = OutboundMessage::new(recipient(), OutboundContent::text("x").unwrap());
    let message = message.with_reply_to("wamid.A1").unwrap().with_callback_data("turn:1").unwrap();
    let body = serde_json::to_value(&message).unwrap();
    assert_eq!(
        (&body["context"]["message_id"], &body["biz_opaque_callback_data"]),
        (&json!("wamid.A1"), &json!("turn:1"))
    );
    let reaction = OutboundContent::reaction("wamid.A1", Some("👍".into())).unwrap();
    let body = OutboundMessage::new(recipient(), reaction).with_reply_to("wamid.A1").unwrap().to_json();
    assert_eq!(body.get("context"), None);
    let long =
        OutboundMessage::new(recipient(), OutboundContent::text("x").unwrap()).with_callback_data("x".repeat(513));
    assert_eq!(long.unwrap_err().to_string(), "callback data has 513 characters, the limit is 512");
}

#[test]
fn a_read_receipt_may_show_typing() {
    let receipt = |typing| ReadReceipt { message_id: "wamid.A1".into(), typing }.to_json();
    let plain = json!({"messaging_product":"whatsapp","status":"read","message_id":"wamid.A1"});
    assert_eq!(receipt(false), plain);
    assert_eq!(receipt(true)["typing_indicator"], json!({"type":"text"}));
}

#[test]
fn what_was_stored_is_read_back_whatever_the_limits_are_but_can_be_checked() {
    let stored = json!({"kind": "text", "body": "x".repeat(5000)});
    let content: OutboundContent = serde_json::from_value(stored).unwrap();
    assert_eq!(content.check().unwrap_err().field(), "text body");
}

proptest! {
    #[test]
    fn any_text_survives_storing_and_the_wire(text in "\\PC{1,200}") {
        prop_assume!(!text.trim().is_empty());
        let content = OutboundContent::text(text.clone()).unwrap();
        let stored = serde_json::to_string(&content).unwrap();
        prop_assert_eq!(&serde_json::from_str::<OutboundContent>(&stored).unwrap(), &content);
        prop_assert_eq!(&to_phone(content)["text"]["body"], &json!(text));
    }
}
