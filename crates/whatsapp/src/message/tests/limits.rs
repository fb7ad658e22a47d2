//! Every limit from both sides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::super::*;
use proptest::prelude::*;

fn id(text: &str) -> MediaSource {
    MediaSource::id(text).unwrap()
}

fn row(id: &str) -> ListRow {
    ListRow::new(id, format!("Row {id}"), None).unwrap()
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
        ("interactive body", 1024, |text| OutboundContent::buttons(text, buttons()).map(drop)),
        ("interactive body", 1024, |text| {
            OutboundContent::list(text, "Open", vec![ListSection::new(None, vec![row("1")])?]).map(drop)
        }),
        ("interactive body", 1024, |text| OutboundContent::cta_url(text, "Go", "https://example.com").map(drop)),
        ("interactive body", 1024, |text| OutboundContent::location_request(text).map(drop)),
        ("interactive body", 1024, |text| OutboundContent::contact_info_request(text).map(drop)),
        ("header text", 60, |text| OutboundContent::buttons("x", buttons())?.with_header(Header::Text(text)).map(drop)),
        ("footer", 60, |text| OutboundContent::buttons("x", buttons())?.with_footer(text).map(drop)),
        ("button title", 20, |text| ReplyButton::new("y", text).map(drop)),
        ("button id", 256, |text| ReplyButton::new(text, "Yes").map(drop)),
        ("list button", 20, |text| {
            OutboundContent::list("x", text, vec![ListSection::new(None, vec![row("1")])?]).map(drop)
        }),
        ("section title", 24, |text| ListSection::new(Some(text), vec![row("1")]).map(drop)),
        ("row title", 24, |text| ListRow::new("1", text, None).map(drop)),
        ("row id", 200, |text| ListRow::new(text, "x", None).map(drop)),
        ("row description", 72, |text| ListRow::new("1", "x", Some(text)).map(drop)),
        ("link button label", 20, |text| OutboundContent::cta_url("x", text, "https://example.com").map(drop)),
        ("caption", 1024, |text| OutboundContent::image(id("1"), Some(text)).map(drop)),
        ("caption", 1024, |text| OutboundContent::document(id("1"), Some(text), None).map(drop)),
        ("template name", 512, |text| Template::new(text, "en", vec![]).map(drop)),
        ("coupon code", 15, |code| {
            Template::new(
                "t",
                "en",
                vec![TemplateComponent::Button { index: 0, button: TemplateButton::CopyCode { code } }],
            )
            .map(drop)
        }),
    ];
    for (field, limit, build) in table {
        assert_eq!(build("x".repeat(limit)), Ok(()), "{field}");
        let refused = build("x".repeat(limit + 1)).unwrap_err();
        assert_eq!(refused, LimitError::TooLong { field, limit, actual: limit + 1 }, "{field}");
        assert_eq!((refused.field(), refused.limit()), (field, Some(limit)));
        assert_eq!(build(String::new()), Err(LimitError::Empty { field }), "{field}");
        assert_eq!(build("  ".into()).unwrap_err().field(), field);
    }
}

#[test]
fn characters_are_counted_as_utf16_units() {
    assert_eq!((text_length("abc"), text_length("é"), text_length("👍"), text_length("👍🏽")), (3, 1, 2, 4));
    assert!(ReplyButton::new("y", "👍".repeat(10)).is_ok());
    let refused = ReplyButton::new("y", "👍".repeat(11)).unwrap_err();
    assert_eq!(refused.to_string(), "button title has 22 characters, the limit is 20");
}

#[test]
fn counts_are_bounded_and_ids_unique() {
    let button = |n: usize| ReplyButton::new(format!("b{n}"), format!("B {n}")).unwrap();
    assert_eq!(OutboundContent::buttons("x", vec![]).unwrap_err(), LimitError::Empty { field: "reply buttons" });
    assert!(OutboundContent::buttons("x", (0..3).map(button).collect()).is_ok());
    let refused = OutboundContent::buttons("x", (0..4).map(button).collect()).unwrap_err();
    assert_eq!(refused.to_string(), "there are 4 reply buttons, the limit is 3");
    let twice = vec![ReplyButton::new("a", "Same").unwrap(), ReplyButton::new("b", "Same").unwrap()];
    assert_eq!(OutboundContent::buttons("x", twice).unwrap_err().to_string(), "button title \"Same\" is used twice");
    let twice = vec![ReplyButton::new("a", "One").unwrap(), ReplyButton::new("a", "Two").unwrap()];
    assert_eq!(OutboundContent::buttons("x", twice).unwrap_err().field(), "button id");

    let section = |title: Option<&str>, from: usize, to: usize| {
        ListSection::new(title.map(str::to_owned), (from..to).map(|n| row(&n.to_string())).collect())
    };
    let list = |sections| OutboundContent::list("x", "Open", sections);
    assert!(list(vec![section(Some("A"), 0, 5).unwrap(), section(Some("B"), 5, 10).unwrap()]).is_ok());
    let refused = list(vec![section(Some("A"), 0, 5).unwrap(), section(Some("B"), 5, 11).unwrap()]).unwrap_err();
    assert_eq!(refused, LimitError::TooMany { field: "list rows", limit: 10, actual: 11 });
    let refused = list(vec![section(Some("A"), 0, 5).unwrap(), section(Some("B"), 4, 6).unwrap()]).unwrap_err();
    assert_eq!(refused, LimitError::Duplicate { field: "row id", value: "4".into() });
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
    for url in ["", "example.com", "ftp://example.com/a", "javascript:alert(1)", "https://", "file:///etc/passwd"] {
        assert_eq!(link(url), Err("media link"), "{url}");
    }
    assert!(MediaSource::id("a b").is_err() && MediaSource::id("").is_err());
    assert_eq!(ReplyButton::new(" y", "Yes").unwrap_err().field(), "button id");
    let text_header =
        OutboundContent::list("x", "Open", vec![ListSection::new(None, vec![row("1")]).unwrap()]).unwrap();
    assert_eq!(text_header.clone().with_header(Header::Image(id("1"))).unwrap_err().field(), "header");
    assert!(text_header.with_header(Header::Text("x".into())).is_ok());
    assert_eq!(OutboundContent::text("x").unwrap().with_footer("y").unwrap_err().field(), "footer");
    assert_eq!(OutboundContent::reaction("a b", None).unwrap_err().field(), "id of the message reacted to");
}

#[test]
fn templates_are_checked() {
    let body = |parameters| vec![TemplateComponent::Body { parameters }];
    let field = |name: &str, language: &str, components| {
        Template::new(name, language, components).map(drop).map_err(|error| error.field())
    };
    let button =
        |index| TemplateComponent::Button { index, button: TemplateButton::QuickReply { payload: "p".into() } };
    assert_eq!(field("Order", "en", vec![]), Err("template name"));
    assert_eq!(field("order", "", vec![]), Err("template language"));
    let mixed = vec![TemplateParameter::text("a"), TemplateParameter::named("n", "b")];
    assert_eq!(field("order", "en", body(mixed)), Err("template parameters"));
    let twice = vec![TemplateParameter::named("n", "a"), TemplateParameter::named("n", "b")];
    assert_eq!(field("order", "en", body(twice)), Err("parameter name"));
    assert_eq!(field("order", "en", body(vec![TemplateParameter::text("")])), Err("template parameter"));
    assert_eq!(field("order", "en", body(vec![TemplateParameter::Image { media: id("1") }])), Err("template body"));
    assert_eq!(field("order", "en", vec![TemplateComponent::Header { parameters: vec![] }]), Err("template header"));
    assert_eq!(field("order", "en", vec![button(0), button(0)]), Err("template component"));
    assert_eq!(field("order", "en", vec![button(10)]), Err("template button index"));
    assert_eq!(field("order", "en", (0..10).map(button).collect()), Ok(()));
}

proptest! {
    #[test]
    fn a_text_is_accepted_exactly_up_to_its_limit(text in "\\PC{0,30}") {
        let fits = (1..=20).contains(&text_length(&text)) && !text.trim().is_empty();
        prop_assert_eq!(ReplyButton::new("y", text.clone()).is_ok(), fits);
        prop_assert!(text_length(&text) >= text.chars().count());
    }
}
