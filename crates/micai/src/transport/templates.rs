//! Templates on the wire.

use whatsapp::message::{
    LimitError, MediaSource, Template as WireTemplate, TemplateButton as WireButton, TemplateComponent,
    TemplateParameter,
};

use crate::domain::template::{ButtonValue, HeaderValue, MediaReference, TemplateUse, TextValue};

/// The template as WhatsApp wants it: parts with nothing to fill in are left out.
pub(super) fn wire(template: &TemplateUse) -> Result<WireTemplate, LimitError> {
    let mut components = Vec::new();
    if let Some(header) = &template.header {
        components.push(TemplateComponent::Header { parameters: vec![header_parameter(header)] });
    }
    if !template.body.is_empty() {
        components.push(TemplateComponent::Body { parameters: template.body.iter().map(text_parameter).collect() });
    }
    components.extend(template.buttons.iter().map(button_component));
    WireTemplate::new(&template.name, &template.language, components)
}

fn text_parameter(value: &TextValue) -> TemplateParameter {
    TemplateParameter::Text { name: value.name.clone(), text: value.text.clone() }
}

fn header_parameter(header: &HeaderValue) -> TemplateParameter {
    match header {
        HeaderValue::Text { name, text } => TemplateParameter::Text { name: name.clone(), text: text.clone() },
        HeaderValue::Image { media } => TemplateParameter::Image { media: source(media) },
        HeaderValue::Video { media } => TemplateParameter::Video { media: source(media) },
        HeaderValue::Document { media, filename } => {
            TemplateParameter::Document { media: source(media), filename: filename.clone() }
        }
        HeaderValue::Location { place } => TemplateParameter::Location {
            latitude: place.latitude,
            longitude: place.longitude,
            name: place.name.clone(),
            address: place.address.clone(),
        },
    }
}

fn source(media: &MediaReference) -> MediaSource {
    match media {
        MediaReference::Id(id) => MediaSource::Id(id.clone()),
        MediaReference::Link(link) => MediaSource::Link(link.clone()),
    }
}

fn button_component(value: &ButtonValue) -> TemplateComponent {
    let button = match value {
        ButtonValue::QuickReply { payload, .. } => WireButton::QuickReply { payload: payload.clone() },
        ButtonValue::Url { suffix, .. } => WireButton::Url { suffix: suffix.clone() },
        ButtonValue::CopyCode { code, .. } => WireButton::CopyCode { code: code.clone() },
        ButtonValue::Flow { flow_token, .. } => WireButton::Flow { flow_token: flow_token.clone() },
    };
    TemplateComponent::Button { index: value.index(), button }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;
    use whatsapp::identity::{Phone, Recipient};
    use whatsapp::message::{OutboundContent, OutboundMessage};

    use super::*;

    fn body(template: &TemplateUse) -> serde_json::Value {
        let content = OutboundContent::template(wire(template).unwrap()).unwrap();
        let phone = Recipient::User(whatsapp::identity::Identity::Phone(Phone::parse("15551234567").unwrap()));
        OutboundMessage::new(phone, content).to_json()["template"].clone()
    }

    #[test]
    fn numbered_and_named_values_headers_and_buttons_stand_where_whatsapp_wants_them() {
        let media = MediaReference::Link("https://example.com/a.pdf".to_owned());
        let full = TemplateUse {
            header: Some(HeaderValue::Document { media, filename: Some("a.pdf".to_owned()) }),
            body: vec![TextValue::numbered("Ana"), TextValue::numbered("9 o'clock")],
            buttons: vec![
                ButtonValue::QuickReply { index: 0, payload: "yes".to_owned() },
                ButtonValue::Url { index: 1, suffix: "42".to_owned() },
                ButtonValue::CopyCode { index: 2, code: "SPRING".to_owned() },
            ],
            ..TemplateUse::plain("reminder", "en_US")
        };
        let expected = json!({
            "name": "reminder", "language": { "code": "en_US" },
            "components": [
                { "type": "header", "parameters": [
                    { "type": "document", "document": { "link": "https://example.com/a.pdf", "filename": "a.pdf" } }] },
                { "type": "body", "parameters": [
                    { "type": "text", "text": "Ana" }, { "type": "text", "text": "9 o'clock" }] },
                { "type": "button", "sub_type": "quick_reply", "index": "0",
                  "parameters": [{ "type": "payload", "payload": "yes" }] },
                { "type": "button", "sub_type": "url", "index": "1",
                  "parameters": [{ "type": "text", "text": "42" }] },
                { "type": "button", "sub_type": "copy_code", "index": "2",
                  "parameters": [{ "type": "coupon_code", "coupon_code": "SPRING" }] },
            ],
        });
        assert_eq!(body(&full), expected);
        let named = TemplateUse {
            header: Some(HeaderValue::Text { name: Some("who".to_owned()), text: "Ana".to_owned() }),
            body: vec![TextValue::named("order", "77")],
            ..TemplateUse::plain("order_ready", "pt_BR")
        };
        assert_eq!(
            body(&named)["components"],
            json!([
                { "type": "header", "parameters": [{ "type": "text", "parameter_name": "who", "text": "Ana" }] },
                { "type": "body", "parameters": [{ "type": "text", "parameter_name": "order", "text": "77" }] },
            ])
        );
        assert_eq!(
            body(&TemplateUse::plain("hello_world", "en_US")).get("components").cloned().unwrap_or(json!([])),
            json!([])
        );
    }
}
