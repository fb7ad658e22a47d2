//! Every fault of a use, one by one, and what holds for all uses that pass.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::render::render;
use super::*;
use crate::domain::template::{TemplateParts, TemplateQuality, TemplateStatus};

/// An approved template with numbered variables and this body.
pub(in super::super) fn template(body: &str) -> Template {
    Template {
        name: "reminder".to_owned(),
        language: "en_US".to_owned(),
        provider_template_id: None,
        status: TemplateStatus::Approved,
        status_reason: None,
        category: TemplateCategory::Utility,
        quality: TemplateQuality::Unknown,
        parameter_format: ParameterFormat::Positional,
        parts: TemplateParts { body: body.to_owned(), ..TemplateParts::default() },
    }
}

fn named(body: &str) -> Template {
    Template { parameter_format: ParameterFormat::Named, ..template(body) }
}

fn with_header(header: TemplateHeader) -> Template {
    let mut template = template("hello");
    template.parts.header = Some(header);
    template
}

fn with_buttons(buttons: Vec<TemplateButton>) -> Template {
    let mut template = template("hello");
    template.parts.buttons = buttons;
    template
}

fn body(values: &[TextValue]) -> TemplateUse {
    TemplateUse { body: values.to_vec(), ..TemplateUse::plain("reminder", "en_US") }
}

fn header(value: HeaderValue) -> TemplateUse {
    TemplateUse { header: Some(value), ..TemplateUse::plain("reminder", "en_US") }
}

fn buttons(values: &[ButtonValue]) -> TemplateUse {
    TemplateUse { buttons: values.to_vec(), ..TemplateUse::plain("reminder", "en_US") }
}

fn numbered(texts: &[&str]) -> Vec<TextValue> {
    texts.iter().map(|text| TextValue::numbered(*text)).collect()
}

/// Asserts that these faults are found, each by a part of its sentence, and no others.
#[track_caller]
fn finds(template: &Template, filled: &TemplateUse, expected: &[(&str, &str)]) {
    let found = faults(template, filled);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (fault, (field, words)) in found.iter().zip(expected) {
        assert!(fault.field == *field && fault.sentence.contains(words), "expected {field}: {words}, found {fault:?}");
        assert!(fault.sentence.ends_with(['.', '?']), "a whole sentence: {}", fault.sentence);
    }
}

#[test]
fn values_by_number() {
    let two = template("Hi {{1}}, this is {{2}}. Bye {{1}}.");
    finds(&two, &body(&numbered(&["Ana", "lunch"])), &[]);
    finds(&two, &body(&numbered(&["Ana"])), &[("body[1]", "Parameter 2 of the body is missing: it has 2 variables")]);
    finds(&two, &body(&[]), &[("body[0]", "Parameter 1"), ("body[1]", "Parameter 2")]);
    finds(&two, &body(&numbered(&["a", "b", "c"])), &[("body[2]", "has 2 variables, and 3 are given")]);
    finds(&template("hello"), &body(&numbered(&["a"])), &[("body[0]", "has no variables, and 1 are given")]);
    let one_named = [TextValue::named("who", "Ana"), TextValue::numbered("lunch")];
    finds(&two, &body(&one_named), &[("body[0].name", "Parameter 1 of the body has the name `who`")]);
    for (text, words) in [
        ("", "is empty"),
        ("  ", "is empty"),
        ("two\nlines", "line break"),
        ("a\tb", "line break or a tab"),
        ("a     b", "more than 4 spaces"),
        ("a\u{7}b", "control character"),
        ("{{first_name}}", "never filled in"),
    ] {
        finds(&two, &body(&numbered(&["Ana", text])), &[("body[1].text", words)]);
    }
    finds(&two, &body(&numbered(&["Ana", "a    b"])), &[]);
    let long = "x".repeat(1_025);
    finds(&two, &body(&numbered(&["Ana", &long])), &[("body[1].text", "1025 characters: at most 1024")]);
    finds(&two, &body(&numbered(&["Ana", &long[..1_010]])), &[("body", "1036 characters with its values")]);
}

#[test]
fn values_by_name() {
    let order = named("Olá {{first}}, seu pedido {{order}} chegou.");
    let ana = TextValue::named("first", "Ana");
    finds(&order, &body(&[TextValue::named("order", "77"), ana.clone()]), &[]);
    finds(&order, &body(std::slice::from_ref(&ana)), &[("body", "parameter `order` is missing")]);
    finds(
        &order,
        &body(&[ana.clone(), TextValue::named("ordr", "77")]),
        &[("body[1].name", "no variable `ordr`: it has first, order"), ("body", "`order` is missing")],
    );
    finds(
        &order,
        &body(&[ana.clone(), TextValue::named("order", "77"), ana.clone()]),
        &[("body[2].name", "`first` is given twice")],
    );
    finds(
        &order,
        &body(&[TextValue::numbered("Ana"), TextValue::named("order", "")]),
        &[
            ("body[0].name", "Parameter 1 of the body has no `name`"),
            ("body", "`first` is missing"),
            ("body[1].text", "The body's parameter `order` is empty"),
        ],
    );
}

#[test]
fn headers() {
    let text = |text: &str| header(HeaderValue::Text { name: None, text: text.to_owned() });
    let image = |media| header(HeaderValue::Image { media });
    let link = |link: &str| MediaReference::Link(link.to_owned());
    let plain = TemplateUse::plain("reminder", "en_US");
    finds(&template("hello"), &text("a"), &[("header", "has no header")]);
    let fixed = with_header(TemplateHeader::Text { text: "News".to_owned() });
    finds(&fixed, &plain, &[]);
    finds(&fixed, &text("a"), &[("header", "has no variable")]);
    let variable = with_header(TemplateHeader::Text { text: "News for {{1}}".to_owned() });
    finds(&variable, &plain, &[("header", "variable {{1}} has no value")]);
    finds(&variable, &text("Ana"), &[]);
    finds(&variable, &text(""), &[("header", "parameter {{1}} is empty")]);
    finds(&variable, &text(&"x".repeat(60)), &[("header", "69 characters")]);
    finds(&variable, &image(link("https://example.com/a.png")), &[("header", "takes a text, not an image")]);
    let who = HeaderValue::Text { name: Some("who".to_owned()), text: "Ana".to_owned() };
    finds(&variable, &header(who.clone()), &[("header", "has a `name`")]);
    let mut by_name = with_header(TemplateHeader::Text { text: "News for {{name}}".to_owned() });
    by_name.parameter_format = ParameterFormat::Named;
    finds(&by_name, &header(who), &[("header", "no variable `who`: its name is name")]);
    finds(&by_name, &text("Ana"), &[("header", "has no `name`")]);
    let picture = with_header(TemplateHeader::Image);
    finds(&picture, &plain, &[("header", "needs an image")]);
    finds(&picture, &text("a"), &[("header", "takes an image, not a text")]);
    finds(&picture, &image(link("https://example.com/a.png")), &[]);
    finds(&picture, &image(MediaReference::Id("123".to_owned())), &[]);
    finds(&picture, &image(MediaReference::Id(String::new())), &[("header", "id of an upload")]);
    for bad in ["", "ftp://example.com/a.png", "/a.png", "https://exa mple.com/a"] {
        finds(&picture, &image(link(bad)), &[("header", "http or https address")]);
    }
    let file = HeaderValue::Document { media: link("https://example.com/a.pdf"), filename: Some(" ".to_owned()) };
    finds(&with_header(TemplateHeader::Document), &header(file), &[("header", "file name")]);
    let place =
        |latitude| HeaderValue::Location { place: Place { latitude, longitude: 181.0, name: None, address: None } };
    let location = with_header(TemplateHeader::Location);
    finds(&location, &header(place(0.0)), &[("header", "longitude is 181")]);
    finds(&location, &header(place(-91.0)), &[("header", "latitude is -91"), ("header", "longitude")]);
}

#[test]
fn buttons_and_what_they_need() {
    let yes = || TemplateButton::QuickReply { text: "Yes".to_owned() };
    let open = |url: &str| TemplateButton::Url { text: "Open".to_owned(), url: url.to_owned() };
    let copy = || TemplateButton::CopyCode { text: "Copy".to_owned() };
    let end = |suffix: &str| ButtonValue::Url { index: 0, suffix: suffix.to_owned() };
    let payload = |index, payload: &str| ButtonValue::QuickReply { index, payload: payload.to_owned() };
    let code = |code: &str| ButtonValue::CopyCode { index: 0, code: code.to_owned() };
    let quick = with_buttons(vec![yes()]);
    finds(&quick, &buttons(&[]), &[]);
    finds(&quick, &buttons(&[payload(0, "yes:77")]), &[]);
    finds(&quick, &buttons(&[payload(0, "")]), &[("buttons[0]", "parameter of button 0 is empty")]);
    finds(&quick, &buttons(&[payload(0, &"x".repeat(257))]), &[("buttons[0]", "257 characters: at most 256")]);
    finds(&quick, &buttons(&[payload(1, "a")]), &[("buttons[0]", "There is no button 1: the template has 1")]);
    finds(&quick, &buttons(&[payload(0, "a"), payload(0, "b")]), &[("buttons[1]", "button 0 is given twice")]);
    finds(&quick, &buttons(&[end("a")]), &[("buttons[0]", "(`Yes`) takes a parameter of the type `quick_reply`")]);
    let address = with_buttons(vec![open("https://example.com/{{1}}")]);
    finds(&address, &buttons(&[end("77")]), &[]);
    finds(&address, &buttons(&[]), &[("buttons", "Button 0 (`Open`) needs the end of its address")]);
    finds(&address, &buttons(&[end("7 7")]), &[("buttons[0]", "white space")]);
    finds(&address, &buttons(&[end("{{id}}")]), &[("buttons[0]", "never filled in")]);
    finds(&address, &buttons(&[end(&"x".repeat(1_990))]), &[("buttons[0]", "address of button 0 is too long")]);
    finds(
        &with_buttons(vec![open("https://example.com")]),
        &buttons(&[end("a")]),
        &[("buttons[0]", "no variable in its address")],
    );
    finds(&with_buttons(vec![copy()]), &buttons(&[]), &[("buttons", "needs its coupon code")]);
    finds(
        &with_buttons(vec![copy()]),
        &buttons(&[code("SPRING-SALE-2026")]),
        &[("buttons[0]", "16 characters: at most 15")],
    );
    finds(&with_buttons(vec![copy()]), &buttons(&[code("SPRING")]), &[]);
    let call = TemplateButton::PhoneNumber { text: "Call".to_owned() };
    finds(&with_buttons(vec![call]), &buttons(&[payload(0, "a")]), &[("buttons[0]", "takes no parameter")]);
    let flow = with_buttons(vec![TemplateButton::Flow { text: "Book".to_owned() }]);
    finds(&flow, &buttons(&[ButtonValue::Flow { index: 0, flow_token: None }]), &[]);
    let once = with_buttons(vec![TemplateButton::OneTimeCode { text: "Copy".to_owned() }]);
    finds(&once, &buttons(&[end("123456")]), &[]);
    finds(&once, &buttons(&[]), &[("buttons", "needs the code")]);
}

#[test]
fn codes_and_parts_that_cannot_be_filled_in() {
    let sign_in = Template { category: TemplateCategory::Authentication, ..template("*{{1}}* is your code.") };
    finds(&sign_in, &body(&numbered(&["123456"])), &[]);
    finds(&sign_in, &body(&numbered(&["1234567890123456"])), &[("body[0].text", "16 characters: at most 15")]);
    let mut carousel = template("hello");
    carousel.parts.unsupported.push("CAROUSEL".to_owned());
    finds(&carousel, &body(&[]), &[("name", "CAROUSEL, which micai cannot fill in")]);
}

/// Words without braces, as templates have between their variables.
fn words() -> impl Strategy<Value = String> {
    "[a-z ,.]{0,12}"
}

/// A template with some variables, by number or by name, in body, header and an address.
fn any_template() -> impl Strategy<Value = Template> {
    (vec(words(), 1..6), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(pieces, is_named, header, button)| {
        let variable =
            |place: usize| if is_named { format!("{{{{name_{place}}}}}") } else { format!("{{{{{place}}}}}") };
        let text: String =
            pieces.iter().enumerate().map(|(at, piece)| format!("{piece}{}", variable(at + 1))).collect();
        let mut template = if is_named { named(&text) } else { template(&text) };
        template.parts.header = header.then(|| TemplateHeader::Text { text: format!("Hi {}", variable(1)) });
        if button {
            let url = "https://example.com/{{1}}".to_owned();
            template.parts.buttons.push(TemplateButton::Url { text: "Open".to_owned(), url });
        }
        template
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-zA-Z0-9 äß😀{}]{1,20}", 1 => any::<String>()]
}

fn any_suffix() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[a-z0-9/%]{1,12}", 1 => any_text()]
}

/// A use that mostly fits: sometimes a value too few, a wrong name, an odd text.
fn any_use(template: Template) -> impl Strategy<Value = (Template, TemplateUse)> {
    let wanted = variables(&template.parts.body).len();
    let slip = prop_oneof![9 => Just(false), 1 => Just(true)];
    (vec(any_text(), wanted), any_text(), any_suffix(), slip).prop_map(move |(texts, head, end, slip)| {
        let is_named = template.parameter_format == ParameterFormat::Named;
        let name = |place: usize| is_named.then(|| format!("name_{}", place + 1));
        let mut filled = TemplateUse::plain("reminder", "en_US");
        filled.body = texts.into_iter().enumerate().map(|(at, text)| TextValue { name: name(at), text }).collect();
        if slip {
            filled.body.pop();
        }
        filled.header = template.parts.header.as_ref().map(|_| HeaderValue::Text { name: name(0), text: head });
        if !template.parts.buttons.is_empty() {
            filled.buttons.push(ButtonValue::Url { index: 0, suffix: end });
        }
        (template.clone(), filled)
    })
}

proptest! {
    #[test]
    fn what_passes_renders_without_a_variable_left_and_within_the_bounds(
        (template, filled) in any_template().prop_flat_map(any_use)
    ) {
        let rendered = render(&template, &filled);
        if faults(&template, &filled).is_empty() {
            let all = format!("{rendered:?}");
            for variable in variables(&template.parts.body) {
                prop_assert!(!all.contains(&format!("{{{{{variable}}}}}")), "{all}");
            }
            prop_assert!(units(&rendered.body) <= BODY_CHARACTERS_MAX);
            prop_assert!(filled.body.iter().all(|value| rendered.body.contains(&value.text)));
        }
    }

    #[test]
    fn one_value_too_few_or_too_many_never_passes(
        (template, filled) in any_template().prop_flat_map(any_use), extra in any_text()
    ) {
        let mut fewer = filled.clone();
        fewer.body.pop();
        prop_assert!(!faults(&template, &fewer).is_empty());
        let mut more = filled;
        more.body.push(TextValue { name: Some("name_99".to_owned()).filter(|_| template.parameter_format == ParameterFormat::Named), text: extra.clone() });
        more.body.push(TextValue { name: Some("name_98".to_owned()).filter(|_| template.parameter_format == ParameterFormat::Named), text: extra });
        prop_assert!(!faults(&template, &more).is_empty());
    }
}
