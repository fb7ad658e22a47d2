//! Whether a new template is well-formed, before WhatsApp is asked. Pure. WhatsApp's review knows more rules; those that a
//! program can check are checked here, so that a slip costs no round trip and no day of waiting.

use std::collections::BTreeSet;

use serde_json::Value;

use super::contract::{BODY_CHARACTERS_MAX, HEADER_CHARACTERS_MAX, URL_CHARACTERS_MAX, units};
use super::fault::TemplateFault;
use crate::domain::template::news::NewTemplate;
use crate::domain::template::{
    ParameterFormat, TEMPLATE_LANGUAGE_CHARACTERS_MAX, TEMPLATE_NAME_CHARACTERS_MAX, TemplateCategory, variables,
};

/// The most bytes of a template's components.
pub const COMPONENTS_BYTES_MAX: usize = 65_536;
/// The most characters of a footer.
const FOOTER_CHARACTERS_MAX: usize = 60;
/// The most buttons.
const BUTTONS_MAX: usize = 10;
/// The most characters of a button's label.
const LABEL_CHARACTERS_MAX: usize = 25;
/// The most characters of a phone number.
const PHONE_NUMBER_CHARACTERS_MAX: usize = 20;

/// What is wrong with a new template; nothing when WhatsApp can be asked.
pub fn faults(new: &NewTemplate) -> Vec<TemplateFault> {
    let mut faults = Vec::new();
    let mut add = |field: &str, sentence: String| faults.push(TemplateFault::new(field, sentence));
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if new.name.is_empty() || new.name.len() > TEMPLATE_NAME_CHARACTERS_MAX || !new.name.bytes().all(is_name) {
        add(
            "name",
            format!("The name must have 1 to {TEMPLATE_NAME_CHARACTERS_MAX} of the characters a-z, 0-9 and _."),
        );
    }
    if !is_language(&new.language) {
        add("language", "The language must be a code of WhatsApp's, such as en_US, pt_BR or de.".to_owned());
    }
    if new.category == TemplateCategory::Unknown {
        add("category", "The category must be utility, marketing or authentication.".to_owned());
    }
    let Some(components) = new.components.as_array() else {
        add("components", "The components must be a list, as in WhatsApp's API.".to_owned());
        return faults;
    };
    if new.components.to_string().len() > COMPONENTS_BYTES_MAX {
        add("components", format!("The components have more than {COMPONENTS_BYTES_MAX} bytes."));
        return faults;
    }
    check_components(new, components, &mut faults);
    faults
}

fn is_language(language: &str) -> bool {
    let is_part = |part: &str| (2..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut parts = language.split('_');
    let is_base = |base: &str| (2..=3).contains(&base.len()) && base.bytes().all(|byte| byte.is_ascii_lowercase());
    language.len() <= TEMPLATE_LANGUAGE_CHARACTERS_MAX && parts.next().is_some_and(is_base) && parts.all(is_part)
}

fn check_components(new: &NewTemplate, components: &[Value], faults: &mut Vec<TemplateFault>) {
    let mut seen = BTreeSet::new();
    for (place, component) in components.iter().enumerate() {
        let part = Part { field: format!("components[{place}]"), value: component, named: is_named(new) };
        let kind = part.word("type");
        if !seen.insert(kind.clone()) {
            part.add(faults, "type", format!("There are two components of the type {kind}: one is allowed."));
        }
        match kind.as_str() {
            "HEADER" => check_header(&part, faults),
            // WhatsApp writes the words of authentication templates itself.
            "BODY" if new.category == TemplateCategory::Authentication && part.text("text").is_empty() => {}
            "BODY" => check_body(&part, faults),
            "FOOTER" if part.value.get("code_expiration_minutes").is_some() => {}
            "FOOTER" => check_footer(&part, faults),
            "BUTTONS" => check_buttons(&part, faults),
            "CAROUSEL" | "LIMITED_TIME_OFFER" => {
                part.add(faults, "type", format!("micai cannot fill in {kind}: leave it out."));
            }
            _ => part.add(faults, "type", "The type must be HEADER, BODY, FOOTER or BUTTONS.".to_owned()),
        }
    }
    if !seen.contains("BODY") {
        faults.push(TemplateFault::new("components", "A template needs a component of the type BODY."));
    }
}

fn is_named(new: &NewTemplate) -> bool {
    new.parameter_format == ParameterFormat::Named
}

/// A component, or a button of one.
struct Part<'a> {
    field: String,
    value: &'a Value,
    named: bool,
}

impl Part<'_> {
    fn text(&self, key: &str) -> &str {
        self.value.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn word(&self, key: &str) -> String {
        self.text(key).to_ascii_uppercase()
    }

    fn add(&self, faults: &mut Vec<TemplateFault>, key: &str, sentence: String) {
        faults.push(TemplateFault::new(format!("{}.{key}", self.field), sentence));
    }

    /// There, and not too long.
    fn check_length(&self, faults: &mut Vec<TemplateFault>, key: &str, most: usize) {
        let length = units(self.text(key));
        if self.text(key).trim().is_empty() {
            self.add(faults, key, format!("The member {key} is missing or empty."));
        } else if length > most {
            self.add(faults, key, format!("The member {key} has {length} characters: at most {most} are taken."));
        }
    }

    /// Variables are well named and an example shows each component that has some.
    fn check_variables(&self, faults: &mut Vec<TemplateFault>) {
        let names = variables(self.text("text"));
        let is_word = |name: &str| {
            name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let fits = match self.named {
            true => names.iter().all(|name| is_word(name)),
            false => (1..=names.len()).all(|number| names.contains(&number.to_string().as_str())),
        };
        if !fits && self.named {
            self.add(faults, "text", "Variables must have names such as {{first_name}}: a-z, 0-9 and _.".to_owned());
        } else if !fits {
            self.add(faults, "text", "Variables must be {{1}}, {{2}} and so on, without gaps.".to_owned());
        }
        if !names.is_empty() && self.value.get("example").is_none_or(Value::is_null) {
            self.add(faults, "example", "A text with variables needs an example, which the review reads.".to_owned());
        }
    }
}

fn check_header(part: &Part<'_>, faults: &mut Vec<TemplateFault>) {
    match part.word("format").as_str() {
        "TEXT" => {
            part.check_length(faults, "text", HEADER_CHARACTERS_MAX);
            if variables(part.text("text")).len() > 1 {
                part.add(faults, "text", "A header has at most one variable.".to_owned());
            }
            part.check_variables(faults);
        }
        "IMAGE" | "VIDEO" | "DOCUMENT" | "LOCATION" => {}
        _ => part.add(faults, "format", "The format must be TEXT, IMAGE, VIDEO, DOCUMENT or LOCATION.".to_owned()),
    }
}

fn check_body(part: &Part<'_>, faults: &mut Vec<TemplateFault>) {
    part.check_length(faults, "text", BODY_CHARACTERS_MAX);
    part.check_variables(faults);
    let text = part.text("text").trim();
    let has_variables = !variables(text).is_empty();
    if has_variables && (text.starts_with("{{") || text.ends_with("}}")) {
        part.add(faults, "text", "A body must not begin or end with a variable: put words around it.".to_owned());
    }
}

fn check_footer(part: &Part<'_>, faults: &mut Vec<TemplateFault>) {
    part.check_length(faults, "text", FOOTER_CHARACTERS_MAX);
    if !variables(part.text("text")).is_empty() {
        part.add(faults, "text", "A footer has no variables.".to_owned());
    }
}

fn check_buttons(part: &Part<'_>, faults: &mut Vec<TemplateFault>) {
    let buttons = part.value.get("buttons").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !(1..=BUTTONS_MAX).contains(&buttons.len()) {
        part.add(faults, "buttons", format!("There are {} buttons: 1 to {BUTTONS_MAX} are taken.", buttons.len()));
    }
    for (place, button) in buttons.iter().enumerate().take(BUTTONS_MAX) {
        let button = Part { field: format!("{}.buttons[{place}]", part.field), value: button, named: false };
        check_button(&button, faults);
    }
}

fn check_button(button: &Part<'_>, faults: &mut Vec<TemplateFault>) {
    match button.word("type").as_str() {
        "QUICK_REPLY" | "FLOW" => button.check_length(faults, "text", LABEL_CHARACTERS_MAX),
        "PHONE_NUMBER" => {
            button.check_length(faults, "text", LABEL_CHARACTERS_MAX);
            button.check_length(faults, "phone_number", PHONE_NUMBER_CHARACTERS_MAX);
        }
        "URL" => {
            button.check_length(faults, "text", LABEL_CHARACTERS_MAX);
            button.check_length(faults, "url", URL_CHARACTERS_MAX);
            let url = button.text("url");
            if !variables(url).is_empty() && (variables(url) != ["1"] || !url.trim_end().ends_with("}}")) {
                let sentence = "An address may have one variable, {{1}}, at its end.".to_owned();
                button.add(faults, "url", sentence);
            }
            if !variables(url).is_empty() && button.value.get("example").is_none_or(Value::is_null) {
                button.add(faults, "example", "An address with a variable needs an example.".to_owned());
            }
        }
        "COPY_CODE" | "OTP" | "REQUEST_CONTACT_INFO" | "VOICE_CALL" => {}
        _ => {
            let sentence = "The type must be QUICK_REPLY, URL, PHONE_NUMBER, COPY_CODE, OTP, FLOW, VOICE_CALL or \
                            REQUEST_CONTACT_INFO."
                .to_owned();
            button.add(faults, "type", sentence);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new(components: Value) -> NewTemplate {
        NewTemplate {
            name: "order_ready".to_owned(),
            language: "pt_BR".to_owned(),
            category: TemplateCategory::Utility,
            parameter_format: ParameterFormat::Named,
            components,
        }
    }

    fn fields(new: &NewTemplate) -> Vec<String> {
        faults(new).into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn a_template_as_whatsapp_documents_it_passes() {
        let components = json!([
            { "type": "HEADER", "format": "IMAGE", "example": { "header_handle": ["4::aW"] } },
            { "type": "BODY", "text": "Olá {{first}}, pedido pronto hoje.",
              "example": { "body_text_named_params": [{ "param_name": "first", "example": "Ana" }] } },
            { "type": "FOOTER", "text": "Reply STOP to end these messages" },
            { "type": "BUTTONS", "buttons": [
                { "type": "QUICK_REPLY", "text": "Yes" },
                { "type": "URL", "text": "Open", "url": "https://example.com/{{1}}", "example": ["x"] },
            ] },
        ]);
        assert_eq!(faults(&new(components)), []);
        let code = NewTemplate {
            category: TemplateCategory::Authentication,
            ..new(json!([{ "type": "BODY", "add_security_recommendation": true },
                { "type": "FOOTER", "code_expiration_minutes": 5 },
                { "type": "BUTTONS", "buttons": [{ "type": "OTP", "otp_type": "COPY_CODE" }] }]))
        };
        assert_eq!(faults(&code), []);
    }

    #[test]
    fn each_slip_is_named_with_its_field() {
        let body = |text: &str| json!([{ "type": "BODY", "text": text, "example": {} }]);
        let with = |other: Value| json!([{ "type": "BODY", "text": "hello" }, other]);
        for (components, expected) in [
            (json!({}), vec!["components"]),
            (json!([]), vec!["components"]),
            (body(""), vec!["components[0].text"]),
            (body(&"x".repeat(1_025)), vec!["components[0].text"]),
            (body("Hello {{First}}, you."), vec!["components[0].text"]),
            (body("{{first}} is here."), vec!["components[0].text"]),
            (json!([{ "type": "BODY", "text": "Hi {{first}}, you." }]), vec!["components[0].example"]),
            (json!([{ "type": "BODY", "text": "a" }, { "type": "body", "text": "b" }]), vec!["components[1].type"]),
            (with(json!({ "type": "FOOTER", "text": "by {{a}}" })), vec!["components[1].text"]),
            (with(json!({ "type": "HEADER", "format": "GIF" })), vec!["components[1].format"]),
            (with(json!({ "type": "CAROUSEL" })), vec!["components[1].type"]),
            (with(json!({ "type": "SURPRISE" })), vec!["components[1].type"]),
            (with(json!({ "type": "BUTTONS", "buttons": [] })), vec!["components[1].buttons"]),
            (
                with(json!({ "type": "BUTTONS", "buttons": [
                    { "type": "URL", "text": "a", "url": "https://{{1}}.example.com", "example": ["a"] },
                    { "type": "QUICK_REPLY", "text": "a label that is far too long" }, { "type": "X" }] })),
                vec!["components[1].buttons[0].url", "components[1].buttons[1].text", "components[1].buttons[2].type"],
            ),
        ] {
            assert_eq!(fields(&new(components.clone())), expected, "{components}");
        }
        let positional = NewTemplate { parameter_format: ParameterFormat::Positional, ..new(body("a {{2}} b")) };
        assert_eq!(fields(&positional), ["components[0].text"]);
        let odd = NewTemplate {
            name: "Bad Name".to_owned(),
            language: "portuguese".to_owned(),
            category: TemplateCategory::Unknown,
            ..new(body("a"))
        };
        assert_eq!(fields(&odd), ["name", "language", "category"]);
        for (language, fits) in
            [("en", true), ("fil", true), ("zh_HK", true), ("EN", false), ("", false), ("en_", false)]
        {
            assert_eq!(is_language(language), fits, "{language}");
        }
    }
}
