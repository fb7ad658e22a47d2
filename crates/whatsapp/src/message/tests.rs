//! Wire bodies of every kind, and every limit from both sides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::identity::{Bsuid, GroupId, ParentBsuid, Phone};
use proptest::prelude::*;

fn to_phone(content: OutboundContent) -> Value {
    OutboundMessage::new(Identity::Phone(Phone::parse("5511999990000").unwrap()), content).to_json()
}

fn id(text: &str) -> MediaSource {
    MediaSource::id(text).unwrap()
}

fn row(id: &str) -> ListRow {
    ListRow::new(id, format!("Row {id}"), None).unwrap()
}

fn template() -> Template {
    let components = vec![
        TemplateComponent::Header {
            parameters: vec![TemplateParameter::Image { media: id("1") }],
        },
        TemplateComponent::Body {
            parameters: vec![TemplateParameter::text("Ana"), TemplateParameter::text("42")],
        },
        TemplateComponent::Button {
            index: 0,
            button: TemplateButton::QuickReply { payload: "p".into() },
        },
        TemplateComponent::Button {
            index: 1,
            button: TemplateButton::Url { suffix: "42".into() },
        },
        TemplateComponent::Button {
            index: 2,
            button: TemplateButton::CopyCode { code: "CUP10".into() },
        },
        TemplateComponent::Button {
            index: 3,
            button: TemplateButton::Flow {
                flow_token: Some("t".into()),
            },
        },
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
        TemplateParameter::DateTime {
            name: Some("day".into()),
            fallback: "Friday".into(),
        },
    ];
    Template::new("order_ready", "pt_BR", vec![TemplateComponent::Body { parameters }]).unwrap()
}

/// Every kind with the part of its wire body that is its own.
fn every_kind() -> Vec<(OutboundContent, Value)> {
    let yes = || ReplyButton::new("y", "Yes").unwrap();
    let list = ListSection::new(
        Some("A".into()),
        vec![ListRow::new("1", "One", Some("first".into())).unwrap()],
    )
    .unwrap();
    vec![
        (
            OutboundContent::text("Hi").unwrap(),
            json!({"type":"text","text":{"body":"Hi","preview_url":false}}),
        ),
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
                    content.with_header(Header::Document {
                        media: id("7"),
                        filename: Some("a.pdf".into()),
                    })
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
        (
            OutboundContent::audio(id("1")).unwrap(),
            json!({"type":"audio","audio":{"id":"1"}}),
        ),
        (
            OutboundContent::voice(id("1")).unwrap(),
            json!({"type":"audio","audio":{"id":"1","voice":true}}),
        ),
        (
            OutboundContent::document(id("1"), Some("c".into()), Some("f.pdf".into())).unwrap(),
            json!({"type":"document","document":{"id":"1","caption":"c","filename":"f.pdf"}}),
        ),
        (
            OutboundContent::sticker(id("1")).unwrap(),
            json!({"type":"sticker","sticker":{"id":"1"}}),
        ),
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
        assert_eq!(
            serde_json::from_str::<OutboundContent>(&stored).unwrap(),
            content,
            "{stored}"
        );
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
    let message = message
        .with_reply_to("wamid.A1")
        .unwrap()
        .with_callback_data("turn:1")
        .unwrap();
    let body = serde_json::to_value(&message).unwrap();
    assert_eq!(
        (&body["context"]["message_id"], &body["biz_opaque_callback_data"]),
        (&json!("wamid.A1"), &json!("turn:1"))
    );
    let reaction = OutboundContent::reaction("wamid.A1", Some("👍".into())).unwrap();
    let body = OutboundMessage::new(recipient(), reaction)
        .with_reply_to("wamid.A1")
        .unwrap()
        .to_json();
    assert_eq!(body.get("context"), None);
    let long =
        OutboundMessage::new(recipient(), OutboundContent::text("x").unwrap()).with_callback_data("x".repeat(513));
    assert_eq!(
        long.unwrap_err().to_string(),
        "callback data has 513 characters, the limit is 512"
    );
}

#[test]
fn a_read_receipt_may_show_typing() {
    let receipt = |typing| {
        ReadReceipt {
            message_id: "wamid.A1".into(),
            typing,
        }
        .to_json()
    };
    let plain = json!({"messaging_product":"whatsapp","status":"read","message_id":"wamid.A1"});
    assert_eq!(receipt(false), plain);
    assert_eq!(receipt(true)["typing_indicator"], json!({"type":"text"}));
}

/// Something that is built from a text of a given length.
type Build = fn(String) -> Result<(), LimitError>;

#[test]
fn every_length_is_allowed_up_to_its_limit_and_refused_above() {
    fn buttons() -> Vec<ReplyButton> {
        vec![ReplyButton::new("y", "Yes").unwrap()]
    }
    let table: [(&str, usize, Build); 20] = [
        ("text body", 4096, |text| OutboundContent::text(text).map(drop)),
        ("interactive body", 1024, |text| {
            OutboundContent::buttons(text, buttons()).map(drop)
        }),
        ("interactive body", 1024, |text| {
            OutboundContent::list(text, "Open", vec![ListSection::new(None, vec![row("1")])?]).map(drop)
        }),
        ("interactive body", 1024, |text| {
            OutboundContent::cta_url(text, "Go", "https://example.com").map(drop)
        }),
        ("interactive body", 1024, |text| {
            OutboundContent::location_request(text).map(drop)
        }),
        ("interactive body", 1024, |text| {
            OutboundContent::contact_info_request(text).map(drop)
        }),
        ("header text", 60, |text| {
            OutboundContent::buttons("x", buttons())?
                .with_header(Header::Text(text))
                .map(drop)
        }),
        ("footer", 60, |text| {
            OutboundContent::buttons("x", buttons())?.with_footer(text).map(drop)
        }),
        ("button title", 20, |text| ReplyButton::new("y", text).map(drop)),
        ("button id", 256, |text| ReplyButton::new(text, "Yes").map(drop)),
        ("list button", 20, |text| {
            OutboundContent::list("x", text, vec![ListSection::new(None, vec![row("1")])?]).map(drop)
        }),
        ("section title", 24, |text| {
            ListSection::new(Some(text), vec![row("1")]).map(drop)
        }),
        ("row title", 24, |text| ListRow::new("1", text, None).map(drop)),
        ("row id", 200, |text| ListRow::new(text, "x", None).map(drop)),
        ("row description", 72, |text| {
            ListRow::new("1", "x", Some(text)).map(drop)
        }),
        ("link button label", 20, |text| {
            OutboundContent::cta_url("x", text, "https://example.com").map(drop)
        }),
        ("caption", 1024, |text| {
            OutboundContent::image(id("1"), Some(text)).map(drop)
        }),
        ("caption", 1024, |text| {
            OutboundContent::document(id("1"), Some(text), None).map(drop)
        }),
        ("template name", 512, |text| Template::new(text, "en", vec![]).map(drop)),
        ("coupon code", 15, |code| {
            Template::new(
                "t",
                "en",
                vec![TemplateComponent::Button {
                    index: 0,
                    button: TemplateButton::CopyCode { code },
                }],
            )
            .map(drop)
        }),
    ];
    for (field, limit, build) in table {
        assert_eq!(build("x".repeat(limit)), Ok(()), "{field}");
        let refused = build("x".repeat(limit + 1)).unwrap_err();
        assert_eq!(
            refused,
            LimitError::TooLong {
                field,
                limit,
                actual: limit + 1
            },
            "{field}"
        );
        assert_eq!((refused.field(), refused.limit()), (field, Some(limit)));
        assert_eq!(build(String::new()), Err(LimitError::Empty { field }), "{field}");
        assert_eq!(build("  ".into()).unwrap_err().field(), field);
    }
}

#[test]
fn characters_are_counted_as_utf16_units() {
    assert_eq!(
        (
            text_length("abc"),
            text_length("é"),
            text_length("👍"),
            text_length("👍🏽")
        ),
        (3, 1, 2, 4)
    );
    assert!(ReplyButton::new("y", "👍".repeat(10)).is_ok());
    let refused = ReplyButton::new("y", "👍".repeat(11)).unwrap_err();
    assert_eq!(refused.to_string(), "button title has 22 characters, the limit is 20");
}

#[test]
fn counts_are_bounded_and_ids_unique() {
    let button = |n: usize| ReplyButton::new(format!("b{n}"), format!("B {n}")).unwrap();
    assert_eq!(
        OutboundContent::buttons("x", vec![]).unwrap_err(),
        LimitError::Empty { field: "reply buttons" }
    );
    assert!(OutboundContent::buttons("x", (0..3).map(button).collect()).is_ok());
    let refused = OutboundContent::buttons("x", (0..4).map(button).collect()).unwrap_err();
    assert_eq!(refused.to_string(), "there are 4 reply buttons, the limit is 3");
    let twice = vec![
        ReplyButton::new("a", "Same").unwrap(),
        ReplyButton::new("b", "Same").unwrap(),
    ];
    assert_eq!(
        OutboundContent::buttons("x", twice).unwrap_err().to_string(),
        "button title \"Same\" is used twice"
    );
    let twice = vec![
        ReplyButton::new("a", "One").unwrap(),
        ReplyButton::new("a", "Two").unwrap(),
    ];
    assert_eq!(OutboundContent::buttons("x", twice).unwrap_err().field(), "button id");

    let section = |title: Option<&str>, from: usize, to: usize| {
        ListSection::new(
            title.map(str::to_owned),
            (from..to).map(|n| row(&n.to_string())).collect(),
        )
    };
    let list = |sections| OutboundContent::list("x", "Open", sections);
    assert!(
        list(vec![
            section(Some("A"), 0, 5).unwrap(),
            section(Some("B"), 5, 10).unwrap()
        ])
        .is_ok()
    );
    let refused = list(vec![
        section(Some("A"), 0, 5).unwrap(),
        section(Some("B"), 5, 11).unwrap(),
    ])
    .unwrap_err();
    assert_eq!(
        refused,
        LimitError::TooMany {
            field: "list rows",
            limit: 10,
            actual: 11
        }
    );
    let refused = list(vec![
        section(Some("A"), 0, 5).unwrap(),
        section(Some("B"), 4, 6).unwrap(),
    ])
    .unwrap_err();
    assert_eq!(
        refused,
        LimitError::Duplicate {
            field: "row id",
            value: "4".into()
        }
    );
    let refused = list(vec![section(Some("A"), 0, 1).unwrap(), section(None, 1, 2).unwrap()]).unwrap_err();
    assert_eq!(refused, LimitError::Empty { field: "section title" });
    let sections = (0..11).map(|n| section(Some("A"), n, n + 1).unwrap()).collect();
    assert_eq!(list(sections).unwrap_err().field(), "list sections");
    assert_eq!(list(vec![]).unwrap_err(), LimitError::Empty { field: "list sections" });
}

#[test]
fn forms_are_checked_too() {
    let link = |url: &str| MediaSource::link(url).map_err(|error| error.field());
    assert!(link("https://example.com/a.png").is_ok());
    for url in [
        "",
        "example.com",
        "ftp://example.com/a",
        "javascript:alert(1)",
        "https://",
        "file:///etc/passwd",
    ] {
        assert_eq!(link(url), Err("media link"), "{url}");
    }
    assert!(MediaSource::id("a b").is_err() && MediaSource::id("").is_err());
    assert_eq!(ReplyButton::new(" y", "Yes").unwrap_err().field(), "button id");
    let text_header =
        OutboundContent::list("x", "Open", vec![ListSection::new(None, vec![row("1")]).unwrap()]).unwrap();
    assert_eq!(
        text_header
            .clone()
            .with_header(Header::Image(id("1")))
            .unwrap_err()
            .field(),
        "header"
    );
    assert!(text_header.with_header(Header::Text("x".into())).is_ok());
    assert_eq!(
        OutboundContent::text("x")
            .unwrap()
            .with_footer("y")
            .unwrap_err()
            .field(),
        "footer"
    );
    assert_eq!(
        OutboundContent::reaction("a b", None).unwrap_err().field(),
        "id of the message reacted to"
    );
}

#[test]
fn templates_are_checked() {
    let body = |parameters| vec![TemplateComponent::Body { parameters }];
    let field = |name: &str, language: &str, components| {
        Template::new(name, language, components)
            .map(drop)
            .map_err(|error| error.field())
    };
    let button = |index| TemplateComponent::Button {
        index,
        button: TemplateButton::QuickReply { payload: "p".into() },
    };
    assert_eq!(field("Order", "en", vec![]), Err("template name"));
    assert_eq!(field("order", "", vec![]), Err("template language"));
    let mixed = vec![TemplateParameter::text("a"), TemplateParameter::named("n", "b")];
    assert_eq!(field("order", "en", body(mixed)), Err("template parameters"));
    let twice = vec![TemplateParameter::named("n", "a"), TemplateParameter::named("n", "b")];
    assert_eq!(field("order", "en", body(twice)), Err("parameter name"));
    assert_eq!(
        field("order", "en", body(vec![TemplateParameter::text("")])),
        Err("template parameter")
    );
    assert_eq!(
        field("order", "en", body(vec![TemplateParameter::Image { media: id("1") }])),
        Err("template body")
    );
    assert_eq!(
        field("order", "en", vec![TemplateComponent::Header { parameters: vec![] }]),
        Err("template header")
    );
    assert_eq!(
        field("order", "en", vec![button(0), button(0)]),
        Err("template component")
    );
    assert_eq!(field("order", "en", vec![button(10)]), Err("template button index"));
    assert_eq!(field("order", "en", (0..10).map(button).collect()), Ok(()));
}

#[test]
fn what_was_stored_is_read_back_whatever_the_limits_are_but_can_be_checked() {
    let stored = json!({"kind": "text", "body": "x".repeat(5000)});
    let content: OutboundContent = serde_json::from_value(stored).unwrap();
    assert_eq!(content.check().unwrap_err().field(), "text body");
}

proptest! {
    #[test]
    fn a_text_is_accepted_exactly_up_to_its_limit(text in "\\PC{0,30}") {
        let fits = (1..=20).contains(&text_length(&text)) && !text.trim().is_empty();
        prop_assert_eq!(ReplyButton::new("y", text.clone()).is_ok(), fits);
        prop_assert!(text_length(&text) >= text.chars().count());
    }

    #[test]
    fn any_text_survives_storing_and_the_wire(text in "\\PC{1,200}") {
        prop_assume!(!text.trim().is_empty());
        let content = OutboundContent::text(text.clone()).unwrap();
        let stored = serde_json::to_string(&content).unwrap();
        prop_assert_eq!(&serde_json::from_str::<OutboundContent>(&stored).unwrap(), &content);
        prop_assert_eq!(&to_phone(content)["text"]["body"], &json!(text));
    }
}
