//! What a template consists of, read from WhatsApp's components.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The parts of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TemplateParts {
    /// What stands above the body.
    pub header: Option<TemplateHeader>,
    /// The words, with their variables.
    pub body: String,
    /// What stands below the body.
    pub footer: Option<String>,
    /// The buttons, in their order.
    pub buttons: Vec<TemplateButton>,
    /// Kinds of parts that micai cannot fill in, such as `CAROUSEL`.
    pub unsupported: Vec<String>,
}

/// What stands above the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum TemplateHeader {
    /// Words, with at most one variable.
    Text {
        /// The words.
        text: String,
    },
    /// A picture.
    Image,
    /// A video.
    Video,
    /// A file.
    Document,
    /// A place.
    Location,
}

impl TemplateHeader {
    /// The name of its format.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::Document => "document",
            Self::Location => "location",
        }
    }
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TemplateButton {
    /// Answers with a payload.
    QuickReply {
        /// Its label.
        text: String,
    },
    /// Opens an address, which may have a variable at its end.
    Url {
        /// Its label.
        text: String,
        /// The address.
        url: String,
    },
    /// Calls a number.
    PhoneNumber {
        /// Its label.
        text: String,
    },
    /// Copies a coupon code.
    CopyCode {
        /// Its label.
        text: String,
    },
    /// Copies or fills in a one-time code.
    OneTimeCode {
        /// Its label.
        text: String,
    },
    /// Opens a flow.
    Flow {
        /// Its label.
        text: String,
    },
    /// Another one, which takes no parameter: asks for the phone number, starts a call, …
    Other {
        /// WhatsApp's word for it.
        kind: String,
        /// Its label.
        text: String,
    },
}

impl TemplateButton {
    /// Its label.
    pub fn text(&self) -> &str {
        match self {
            Self::QuickReply { text }
            | Self::Url { text, .. }
            | Self::PhoneNumber { text }
            | Self::CopyCode { text }
            | Self::OneTimeCode { text }
            | Self::Flow { text }
            | Self::Other { text, .. } => text,
        }
    }
}

impl TemplateParts {
    /// The parts that WhatsApp's `components` describe. What is not understood is named in `unsupported`: a template is
    /// never sent half filled in.
    pub fn read(components: &Value) -> Self {
        let mut parts = Self::default();
        let Some(components) = components.as_array() else {
            parts.unsupported.push("UNREADABLE".to_owned());
            return parts;
        };
        for component in components {
            let kind = word(component, "type");
            match kind.as_str() {
                "HEADER" => match read_header(component) {
                    Ok(header) => parts.header = Some(header),
                    Err(format) => parts.unsupported.push(format!("HEADER {format}")),
                },
                "BODY" => parts.body = text(component, "text"),
                "FOOTER" => parts.footer = Some(text(component, "text")).filter(|footer| !footer.is_empty()),
                "BUTTONS" => {
                    let buttons = component.get("buttons").and_then(Value::as_array);
                    parts.buttons = buttons.into_iter().flatten().map(read_button).collect();
                }
                _ => parts.unsupported.push(kind),
            }
        }
        parts
    }
}

fn read_header(component: &Value) -> Result<TemplateHeader, String> {
    let format = word(component, "format");
    Ok(match format.as_str() {
        "TEXT" => TemplateHeader::Text { text: text(component, "text") },
        "IMAGE" => TemplateHeader::Image,
        "VIDEO" => TemplateHeader::Video,
        "DOCUMENT" => TemplateHeader::Document,
        "LOCATION" => TemplateHeader::Location,
        _ => return Err(format),
    })
}

fn read_button(button: &Value) -> TemplateButton {
    let (kind, label) = (word(button, "type"), text(button, "text"));
    match kind.as_str() {
        "QUICK_REPLY" => TemplateButton::QuickReply { text: label },
        "URL" => TemplateButton::Url { text: label, url: text(button, "url") },
        "PHONE_NUMBER" => TemplateButton::PhoneNumber { text: label },
        "COPY_CODE" => TemplateButton::CopyCode { text: label },
        "OTP" => TemplateButton::OneTimeCode { text: label },
        "FLOW" => TemplateButton::Flow { text: label },
        _ => TemplateButton::Other { kind, text: label },
    }
}

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn word(object: &Value, key: &str) -> String {
    text(object, key).to_ascii_uppercase()
}

/// The names inside `{{…}}`, in the order in which they appear, each once.
pub fn variables(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("{{") {
        let Some((name, behind)) = behind.split_once("}}") else { break };
        let name = name.trim();
        if !names.contains(&name) {
            names.push(name);
        }
        rest = behind;
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn components_are_read_and_what_is_not_understood_is_named() {
        let parts = TemplateParts::read(&json!([
            { "type": "header", "format": "IMAGE", "example": { "header_handle": ["https://example.com"] } },
            { "type": "BODY", "text": "Hello {{1}}, {{2}} and {{1}}" },
            { "type": "FOOTER", "text": "bye" },
            { "type": "BUTTONS", "buttons": [
                { "type": "QUICK_REPLY", "text": "Yes" },
                { "type": "URL", "text": "Open", "url": "https://example.com/{{1}}" },
                { "type": "OTP", "text": "Copy" },
                { "type": "VOICE_CALL", "text": "Call" },
            ] },
            { "type": "CAROUSEL", "cards": [] },
        ]));
        assert_eq!(parts.header, Some(TemplateHeader::Image));
        assert_eq!(variables(&parts.body), ["1", "2"]);
        assert_eq!(parts.footer.as_deref(), Some("bye"));
        let labels: Vec<_> = parts.buttons.iter().map(TemplateButton::text).collect();
        assert_eq!(labels, ["Yes", "Open", "Copy", "Call"]);
        assert_eq!(parts.unsupported, ["CAROUSEL"]);
        let odd = TemplateParts::read(&json!([{ "type": "HEADER", "format": "GIF" }, 7, { "type": "BODY" }]));
        assert_eq!(odd.unsupported, ["HEADER GIF", ""]);
        assert_eq!(TemplateParts::read(&json!({ "left_out_bytes": 70_000 })).unsupported, ["UNREADABLE"]);
    }

    #[test]
    fn variables_end_where_their_braces_do() {
        assert_eq!(variables("a {{ first }} b {{x"), ["first"]);
        assert!(variables("no } variable { here").is_empty());
    }
}
