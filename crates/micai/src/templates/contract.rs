//! Whether what a message fills in fits its template. Pure, and asked when a message is written and again when it is sent:
//! the template may have changed in between. Every fault is named, not only the first.

use std::collections::BTreeSet;

use super::fault::TemplateFault;
use super::render::{body_text, header_text};
use crate::domain::template::{
    ButtonValue, HeaderValue, MediaReference, ParameterFormat, Place, Template, TemplateButton, TemplateCategory,
    TemplateHeader, TemplateUse, TextValue, variables,
};

/// The most characters of a body with its values. WhatsApp counts UTF-16 units.
pub const BODY_CHARACTERS_MAX: usize = 1_024;
/// The most characters of a header with its value.
pub const HEADER_CHARACTERS_MAX: usize = 60;
/// The most characters of what a quick reply brings back.
pub const PAYLOAD_CHARACTERS_MAX: usize = 256;
/// The most characters of an address with its end.
pub const URL_CHARACTERS_MAX: usize = 2_000;
/// The most characters of a coupon code or a one-time code.
pub const CODE_CHARACTERS_MAX: usize = 15;
/// The most characters of the id of an upload.
const MEDIA_ID_CHARACTERS_MAX: usize = 512;
/// The most characters of a file's name.
const FILENAME_CHARACTERS_MAX: usize = 240;
/// Spaces in a row that WhatsApp still takes.
const SPACES_IN_A_ROW_MAX: usize = 4;
/// The most characters of a value that a sentence repeats.
const SHOWN_CHARACTERS_MAX: usize = 40;

/// What is wrong with `filled` as a use of `template`; nothing when it fits. Whether the template may be sent at all is
/// another question: see [`crate::domain::template::TemplateStatus::may_be_sent`].
pub fn faults(template: &Template, filled: &TemplateUse) -> Vec<TemplateFault> {
    let mut faults = Vec::new();
    for kind in &template.parts.unsupported {
        let sentence = format!("The template has a part of the kind {kind}, which micai cannot fill in.");
        faults.push(TemplateFault::new("name", sentence));
    }
    check_header(template, filled.header.as_ref(), &mut faults);
    check_body(template, &filled.body, &mut faults);
    check_buttons(template, &filled.buttons, &mut faults);
    if faults.is_empty() {
        check_lengths(template, filled, &mut faults);
    }
    faults
}

fn check_header(template: &Template, value: Option<&HeaderValue>, faults: &mut Vec<TemplateFault>) {
    let mut add = |sentence: String| faults.push(TemplateFault::new("header", sentence));
    let Some(header) = &template.parts.header else {
        if value.is_some() {
            add("The template has no header: leave `header` out.".to_owned());
        }
        return;
    };
    match (header, value) {
        (TemplateHeader::Text { text }, value) => check_header_text(template, text, value, &mut add),
        (_, None) => add(format!("The header needs {}: give it as `header`.", an(header.kind()))),
        (_, Some(value)) if value.kind() != header.kind() => {
            add(format!("The header takes {}, not {}.", an(header.kind()), an(value.kind())));
        }
        (_, Some(value)) => check_header_value(value, &mut add),
    }
}

fn check_header_text(template: &Template, text: &str, value: Option<&HeaderValue>, add: &mut impl FnMut(String)) {
    let wanted = variables(text);
    match (wanted.first(), value) {
        (None, None) => {}
        (None, Some(_)) => add("The header has no variable: leave `header` out.".to_owned()),
        (Some(variable), None) => add(format!("The header's variable {{{{{variable}}}}} has no value: give `header`.")),
        (Some(variable), Some(HeaderValue::Text { name, text })) => {
            let called = format!("The header's parameter {{{{{variable}}}}}");
            match (template.parameter_format, name.as_deref()) {
                (ParameterFormat::Named, None) => {
                    add(format!("{called} has no `name`: this template names its variables."));
                }
                (ParameterFormat::Named, Some(name)) if name != *variable => {
                    add(format!("The header has no variable {}: its name is {variable}.", shown(name)));
                }
                (ParameterFormat::Positional, Some(_)) => {
                    add(format!("{called} has a `name`: this template numbers its variables; leave it out."));
                }
                _ => {}
            }
            if let Some(what) = text_fault(text) {
                add(format!("{called} {what}."));
            }
        }
        (Some(_), Some(other)) => add(format!("The header takes a text, not {}.", an(other.kind()))),
    }
}

fn check_header_value(value: &HeaderValue, add: &mut impl FnMut(String)) {
    match value {
        HeaderValue::Image { media } | HeaderValue::Video { media } => check_media(media, value.kind(), add),
        HeaderValue::Document { media, filename } => {
            check_media(media, value.kind(), add);
            if filename.as_deref().is_some_and(|name| name.trim().is_empty() || units(name) > FILENAME_CHARACTERS_MAX) {
                add(format!("The header's file name must have 1 to {FILENAME_CHARACTERS_MAX} characters."));
            }
        }
        HeaderValue::Location { place } => check_place(place, add),
        HeaderValue::Text { .. } => {}
    }
}

fn check_media(media: &MediaReference, kind: &str, add: &mut impl FnMut(String)) {
    let has_gap = |text: &str| text.chars().any(|c| c.is_whitespace() || c.is_control());
    match media {
        MediaReference::Id(id) if id.is_empty() || units(id) > MEDIA_ID_CHARACTERS_MAX || has_gap(id) => {
            add(format!(
                "The header's {kind} needs the id of an upload: at most {MEDIA_ID_CHARACTERS_MAX} characters without spaces."
            ));
        }
        MediaReference::Link(link) if units(link) > URL_CHARACTERS_MAX || !is_web_address(link) || has_gap(link) => {
            add(format!(
                "The header's {kind} needs an http or https address of at most {URL_CHARACTERS_MAX} characters that \
                 WhatsApp can fetch."
            ));
        }
        _ => {}
    }
}

fn check_place(place: &Place, add: &mut impl FnMut(String)) {
    if !(-90.0..=90.0).contains(&place.latitude) {
        add(format!("The header's latitude is {}: it must lie between -90 and 90.", place.latitude));
    }
    if !(-180.0..=180.0).contains(&place.longitude) {
        add(format!("The header's longitude is {}: it must lie between -180 and 180.", place.longitude));
    }
}

fn check_body(template: &Template, values: &[TextValue], faults: &mut Vec<TemplateFault>) {
    let wanted = variables(&template.parts.body);
    match template.parameter_format {
        ParameterFormat::Positional => check_numbered(&wanted, values, faults),
        ParameterFormat::Named => check_named(&wanted, values, faults),
    }
    for (place, value) in values.iter().enumerate() {
        if let Some(what) = text_fault(&value.text) {
            let called = called(place, value);
            faults.push(TemplateFault::new(format!("body[{place}].text"), format!("{called} {what}.")));
        }
    }
    if template.category == TemplateCategory::Authentication
        && let Some(code) = values.first()
        && units(&code.text) > CODE_CHARACTERS_MAX
    {
        let sentence =
            format!("The code has {} characters: at most {CODE_CHARACTERS_MAX} are taken.", units(&code.text));
        faults.push(TemplateFault::new("body[0].text", sentence));
    }
}

fn check_numbered(wanted: &[&str], values: &[TextValue], faults: &mut Vec<TemplateFault>) {
    for (place, value) in values.iter().enumerate() {
        if let Some(name) = &value.name {
            let sentence = format!(
                "Parameter {} of the body has the name {}: this template numbers its variables; leave the name out.",
                place + 1,
                shown(name)
            );
            faults.push(TemplateFault::new(format!("body[{place}].name"), sentence));
        }
    }
    if values.len() > wanted.len() {
        let sentence = format!("The body has {}, and {} are given.", count(wanted.len()), values.len());
        faults.push(TemplateFault::new(format!("body[{}]", wanted.len()), sentence));
    }
    for place in values.len()..wanted.len() {
        let sentence = format!("Parameter {} of the body is missing: it has {}.", place + 1, count(wanted.len()));
        faults.push(TemplateFault::new(format!("body[{place}]"), sentence));
    }
}

fn check_named(wanted: &[&str], values: &[TextValue], faults: &mut Vec<TemplateFault>) {
    let mut given = BTreeSet::new();
    for (place, value) in values.iter().enumerate() {
        let Some(name) = value.name.as_deref() else {
            let sentence =
                format!("Parameter {} of the body has no `name`: this template names its variables.", place + 1);
            faults.push(TemplateFault::new(format!("body[{place}].name"), sentence));
            continue;
        };
        let field = format!("body[{place}].name");
        if !wanted.contains(&name) {
            let sentence = format!("The body has no variable {}: it has {}.", shown(name), list(wanted));
            faults.push(TemplateFault::new(field, sentence));
        } else if !given.insert(name) {
            let sentence = format!("The body's parameter {} is given twice.", shown(name));
            faults.push(TemplateFault::new(field, sentence));
        }
    }
    for name in wanted.iter().filter(|name| !given.contains(*name)) {
        let sentence = format!("The body's parameter {} is missing.", shown(name));
        faults.push(TemplateFault::new("body", sentence));
    }
}

fn check_buttons(template: &Template, values: &[ButtonValue], faults: &mut Vec<TemplateFault>) {
    let mut filled = BTreeSet::new();
    for (place, value) in values.iter().enumerate() {
        let mut add = |sentence| faults.push(TemplateFault::new(format!("buttons[{place}]"), sentence));
        let index = value.index();
        let Some(button) = template.parts.buttons.get(usize::from(index)) else {
            add(format!(
                "There is no button {index}: the template has {} buttons, counted from 0.",
                template.parts.buttons.len()
            ));
            continue;
        };
        if !filled.insert(index) {
            add(format!("The parameter of button {index} is given twice."));
        }
        check_button(index, button, value, &mut add);
    }
    for (index, button) in template.parts.buttons.iter().enumerate() {
        let is_filled = u8::try_from(index).is_ok_and(|index| filled.contains(&index));
        if !is_filled && let Some(what) = needed(button) {
            let sentence = format!("Button {index} ({}) needs {what}: give it in `buttons`.", shown(button.text()));
            faults.push(TemplateFault::new("buttons", sentence));
        }
    }
}

/// What a button cannot go without.
fn needed(button: &TemplateButton) -> Option<&'static str> {
    match button {
        TemplateButton::Url { url, .. } if !variables(url).is_empty() => Some("the end of its address"),
        TemplateButton::CopyCode { .. } => Some("its coupon code"),
        TemplateButton::OneTimeCode { .. } => Some("the code, as a parameter of the type `url`"),
        _ => None,
    }
}

fn check_button(index: u8, button: &TemplateButton, value: &ButtonValue, add: &mut impl FnMut(String)) {
    let called = format!("The parameter of button {index}");
    let mut bounded = |text: &str, most: usize| match units(text) {
        _ if text.trim().is_empty() => add(format!("{called} is empty.")),
        length if length > most => add(format!("{called} has {length} characters: at most {most} are taken.")),
        _ if text.contains("{{") => add(format!("{called} holds `{{{{`: a variable that was never filled in?")),
        _ => {}
    };
    match (button, value) {
        (TemplateButton::QuickReply { .. }, ButtonValue::QuickReply { payload, .. }) => {
            bounded(payload, PAYLOAD_CHARACTERS_MAX);
        }
        (TemplateButton::Url { url, .. }, ButtonValue::Url { suffix, .. }) => {
            if variables(url).is_empty() {
                return add(format!("Button {index} has no variable in its address: leave its parameter out."));
            }
            bounded(suffix, URL_CHARACTERS_MAX);
            if suffix.chars().any(|c| c.is_whitespace() || c.is_control()) {
                add(format!("{called} has white space in it, which no address may have: write it as %20."));
            }
        }
        (TemplateButton::OneTimeCode { .. }, ButtonValue::Url { suffix, .. }) => bounded(suffix, CODE_CHARACTERS_MAX),
        (TemplateButton::CopyCode { .. }, ButtonValue::CopyCode { code, .. }) => bounded(code, CODE_CHARACTERS_MAX),
        (TemplateButton::Flow { .. }, ButtonValue::Flow { flow_token, .. }) => {
            if let Some(token) = flow_token {
                bounded(token, PAYLOAD_CHARACTERS_MAX);
            }
        }
        _ => add(format!(
            "Button {index} ({}) takes {}, not a parameter of the type `{}`.",
            shown(button.text()),
            taken(button),
            value.kind()
        )),
    }
}

fn taken(button: &TemplateButton) -> &'static str {
    match button {
        TemplateButton::QuickReply { .. } => "a parameter of the type `quick_reply`",
        TemplateButton::Url { .. } | TemplateButton::OneTimeCode { .. } => "a parameter of the type `url`",
        TemplateButton::CopyCode { .. } => "a parameter of the type `copy_code`",
        TemplateButton::Flow { .. } => "a parameter of the type `flow`",
        TemplateButton::PhoneNumber { .. } | TemplateButton::Other { .. } => "no parameter",
    }
}

/// With everything else in order: whether what comes out is too long.
fn check_lengths(template: &Template, filled: &TemplateUse, faults: &mut Vec<TemplateFault>) {
    let body = units(&body_text(template, filled));
    if body > BODY_CHARACTERS_MAX {
        let sentence = format!(
            "The body has {body} characters with its values filled in: at most {BODY_CHARACTERS_MAX} are taken."
        );
        faults.push(TemplateFault::new("body", sentence));
    }
    let header = header_text(template, filled).map_or(0, |text| units(&text));
    if header > HEADER_CHARACTERS_MAX {
        let sentence = format!(
            "The header has {header} characters with its value filled in: at most {HEADER_CHARACTERS_MAX} are taken."
        );
        faults.push(TemplateFault::new("header", sentence));
    }
    for (place, value) in filled.buttons.iter().enumerate() {
        if let (ButtonValue::Url { suffix, index }, Some(TemplateButton::Url { url, .. })) =
            (value, template.parts.buttons.get(usize::from(value.index())))
            && units(url) + units(suffix) > URL_CHARACTERS_MAX
        {
            let sentence = format!(
                "The address of button {index} is too long: at most {URL_CHARACTERS_MAX} characters are taken."
            );
            faults.push(TemplateFault::new(format!("buttons[{place}]"), sentence));
        }
    }
}

/// What WhatsApp refuses in a value, as the end of a sentence.
fn text_fault(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some(
            "is empty, which WhatsApp refuses: give a value, or choose a template without this variable".to_owned(),
        );
    }
    if units(text) > BODY_CHARACTERS_MAX {
        return Some(format!("has {} characters: at most {BODY_CHARACTERS_MAX} are taken", units(text)));
    }
    if text.contains(['\n', '\r', '\t']) {
        return Some("has a line break or a tab, which WhatsApp refuses".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Some("has a control character: remove it".to_owned());
    }
    if text.contains(&" ".repeat(SPACES_IN_A_ROW_MAX + 1)) {
        return Some(format!("has more than {SPACES_IN_A_ROW_MAX} spaces in a row, which WhatsApp refuses"));
    }
    if text.contains("{{") {
        return Some("holds `{{`: a variable that was never filled in?".to_owned());
    }
    None
}

fn called(place: usize, value: &TextValue) -> String {
    match &value.name {
        Some(name) => format!("The body's parameter {}", shown(name)),
        None => format!("Parameter {} of the body", place + 1),
    }
}

fn count(variables: usize) -> String {
    match variables {
        0 => "no variables".to_owned(),
        1 => "1 variable".to_owned(),
        more => format!("{more} variables"),
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    format!("`{short}`")
}

fn an(kind: &str) -> String {
    match kind {
        "image" => "an image".to_owned(),
        kind => format!("a {kind}"),
    }
}

fn is_web_address(link: &str) -> bool {
    url::Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// As WhatsApp counts: an emoji is two.
pub(super) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
pub(super) mod tests;
