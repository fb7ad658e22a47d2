//! Content to the JSON of `POST /{phone_number_id}/messages`.

use serde_json::{Value, json};

use super::OutboundContent;
use super::interactive::{Header, ListRow, ListSection, ReplyButton};
use super::media::MediaSource;
use super::template::{Template, TemplateButton, TemplateComponent, TemplateParameter};

/// `{"type":…, "<type>":{…}}`
pub(crate) fn content_json(content: &OutboundContent) -> Value {
    use OutboundContent as C;
    match content {
        C::Text { body, preview_url } => {
            json!({ "type": "text", "text": { "body": body, "preview_url": preview_url } })
        }
        C::Template { template } => json!({ "type": "template", "template": template_json(template) }),
        C::Buttons { header, body, footer, buttons } => {
            let buttons: Vec<Value> = buttons.iter().map(button_json).collect();
            interactive("button", header.as_ref(), body, footer.as_deref(), json!({ "buttons": buttons }))
        }
        C::List { header, body, footer, button, sections } => {
            let sections: Vec<Value> = sections.iter().map(section_json).collect();
            let action = json!({ "button": button, "sections": sections });
            interactive("list", header.as_ref(), body, footer.as_deref(), action)
        }
        C::CtaUrl { header, body, footer, label, url } => {
            let action = json!({ "name": "cta_url", "parameters": { "display_text": label, "url": url } });
            interactive("cta_url", header.as_ref(), body, footer.as_deref(), action)
        }
        C::LocationRequest { body } => {
            interactive("location_request_message", None, body, None, json!({ "name": "send_location" }))
        }
        C::ContactInfoRequest { body } => {
            interactive("request_contact_info", None, body, None, json!({ "name": "request_contact_info" }))
        }
        C::Image { media, caption } => file_message("image", media, caption.as_deref(), None),
        C::Video { media, caption } => file_message("video", media, caption.as_deref(), None),
        C::Audio { media } => file_message("audio", media, None, None),
        C::Voice { media } => {
            let mut message = file_message("audio", media, None, None);
            message["audio"]["voice"] = json!(true);
            message
        }
        C::Document { media, caption, filename } => {
            file_message("document", media, caption.as_deref(), filename.as_deref())
        }
        C::Sticker { media } => file_message("sticker", media, None, None),
        C::Reaction { message_id, emoji } => {
            let emoji = emoji.as_deref().unwrap_or_default();
            json!({ "type": "reaction", "reaction": { "message_id": message_id, "emoji": emoji } })
        }
    }
}

fn interactive(kind: &str, header: Option<&Header>, body: &str, footer: Option<&str>, action: Value) -> Value {
    let mut interactive = json!({ "type": kind, "body": { "text": body }, "action": action });
    if let Some(header) = header {
        interactive["header"] = match header {
            Header::Text(text) => json!({ "type": "text", "text": text }),
            Header::Image(media) => file_message("image", media, None, None),
            Header::Video(media) => file_message("video", media, None, None),
            Header::Document { media, filename } => file_message("document", media, None, filename.as_deref()),
        };
    }
    if let Some(footer) = footer {
        interactive["footer"] = json!({ "text": footer });
    }
    json!({ "type": "interactive", "interactive": interactive })
}

fn button_json(button: &ReplyButton) -> Value {
    json!({ "type": "reply", "reply": { "id": button.id(), "title": button.title() } })
}

fn section_json(section: &ListSection) -> Value {
    let rows: Vec<Value> = section.rows().iter().map(row_json).collect();
    let mut json = json!({ "rows": rows });
    if let Some(title) = section.title() {
        json["title"] = json!(title);
    }
    json
}

fn row_json(row: &ListRow) -> Value {
    let mut json = json!({ "id": row.id(), "title": row.title() });
    if let Some(description) = row.description() {
        json["description"] = json!(description);
    }
    json
}

/// `{"type":"image","image":{…}}`: the form of messages, headers and template parameters alike.
fn file_message(kind: &str, media: &MediaSource, caption: Option<&str>, filename: Option<&str>) -> Value {
    let mut file = match media {
        MediaSource::Id(id) => json!({ "id": id }),
        MediaSource::Link(link) => json!({ "link": link }),
    };
    if let Some(caption) = caption {
        file["caption"] = json!(caption);
    }
    if let Some(filename) = filename {
        file["filename"] = json!(filename);
    }
    let mut message = json!({ "type": kind });
    message[kind] = file;
    message
}

fn template_json(template: &Template) -> Value {
    let mut json = json!({ "name": template.name(), "language": { "code": template.language() } });
    let components: Vec<Value> = template.components().iter().map(component_json).collect();
    if !components.is_empty() {
        json["components"] = Value::Array(components);
    }
    json
}

fn component_json(component: &TemplateComponent) -> Value {
    let all = |parameters: &[TemplateParameter]| -> Vec<Value> { parameters.iter().map(parameter_json).collect() };
    match component {
        TemplateComponent::Header { parameters } => json!({ "type": "header", "parameters": all(parameters) }),
        TemplateComponent::Body { parameters } => json!({ "type": "body", "parameters": all(parameters) }),
        TemplateComponent::Button { index, button } => {
            let (sub_type, parameter) = match button {
                TemplateButton::QuickReply { payload } => {
                    ("quick_reply", json!({ "type": "payload", "payload": payload }))
                }
                TemplateButton::Url { suffix } => ("url", json!({ "type": "text", "text": suffix })),
                TemplateButton::CopyCode { code } => {
                    ("copy_code", json!({ "type": "coupon_code", "coupon_code": code }))
                }
                TemplateButton::Flow { flow_token } => {
                    let action = flow_token.as_ref().map_or(json!({}), |token| json!({ "flow_token": token }));
                    ("flow", json!({ "type": "action", "action": action }))
                }
            };
            // The index is a string on the wire.
            json!({ "type": "button", "sub_type": sub_type, "index": index.to_string(), "parameters": [parameter] })
        }
    }
}

fn parameter_json(parameter: &TemplateParameter) -> Value {
    use TemplateParameter as P;
    let mut json = match parameter {
        P::Text { text, .. } => json!({ "type": "text", "text": text }),
        P::Currency { fallback, code, amount_1000, .. } => json!({
            "type": "currency",
            "currency": { "fallback_value": fallback, "code": code, "amount_1000": amount_1000 },
        }),
        P::DateTime { fallback, .. } => json!({ "type": "date_time", "date_time": { "fallback_value": fallback } }),
        P::Image { media } => file_message("image", media, None, None),
        P::Video { media } => file_message("video", media, None, None),
        P::Document { media, filename } => file_message("document", media, None, filename.as_deref()),
        P::Location { latitude, longitude, name, address } => {
            let mut location = json!({ "latitude": latitude, "longitude": longitude });
            for (key, value) in [("name", name), ("address", address)] {
                if let Some(value) = value {
                    location[key] = json!(value);
                }
            }
            json!({ "type": "location", "location": location })
        }
    };
    if let Some(name) = parameter.name() {
        json["parameter_name"] = json!(name);
    }
    json
}
