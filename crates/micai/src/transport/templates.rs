//! Templates on the wire: listed, made, and filled in.

use serde_json::{Value, json};
use whatsapp::client::{NewTemplate as WireNewTemplate, SendError as CallError, TemplateInfo};
use whatsapp::identity::{Identity, Phone, Recipient};
use whatsapp::message::{
    LimitError, MediaSource, OutboundContent, OutboundMessage, Template as WireTemplate, TemplateButton as WireButton,
    TemplateComponent, TemplateParameter,
};

use super::{CloudApi, NO_ACCESS_TOKEN, Verdict, request, told};
use crate::domain::evidence::{bounded, bounded_text};
use crate::domain::outbound::SendError;
use crate::domain::template::news::{NewTemplate, TemplateRecord};
use crate::domain::template::{
    ButtonValue, HeaderValue, MediaReference, ParameterFormat, TEMPLATE_LANGUAGE_CHARACTERS_MAX,
    TEMPLATE_NAME_CHARACTERS_MAX, Template, TemplateCategory, TemplateParts, TemplateQuality, TemplateStatus,
    TemplateUse, TextValue,
};

/// The most bytes of a template's components; real ones have a few thousand.
const COMPONENTS_BYTES_MAX: usize = 65_536;
/// The most characters of WhatsApp's id of a template.
const ID_CHARACTERS_MAX: usize = 128;

/// Stands for the person in a request that is only shown; it is taken out again.
const NOBODY: &str = "10000000000";

/// A page of the account's templates.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplatePage {
    /// The templates.
    pub templates: Vec<TemplateRecord>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// WhatsApp's answer to a new template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTemplate {
    /// Its id there.
    pub provider_template_id: String,
    /// Where it stands; mostly `Pending`.
    pub status: TemplateStatus,
    /// What WhatsApp takes it for, where the answer says so.
    pub category: Option<TemplateCategory>,
}

/// A call about templates that did not end well.
#[derive(Debug, Clone, PartialEq)]
pub struct CallFailure {
    /// What it means for another try.
    pub verdict: Verdict,
    /// How long WhatsApp asks to wait.
    pub retry_after_seconds: Option<u64>,
    /// What happened and what to do.
    pub error: SendError,
}

impl CloudApi {
    /// Lists the account's templates, a page at a time; `after` is where the page begins.
    ///
    /// # Errors
    /// [`CallFailure`], also without an access token.
    pub async fn template_page(&self, after: Option<&str>) -> Result<TemplatePage, CallFailure> {
        let client = self.client.as_ref().ok_or_else(no_access_token)?;
        let page = client.templates(after).await.map_err(|error| failure(&error))?;
        Ok(TemplatePage { templates: page.templates.into_iter().filter_map(read_template).collect(), next: page.next })
    }

    /// Hands a new template in for review.
    ///
    /// # Errors
    /// [`CallFailure`]; with [`Verdict::Unknown`] it may have been made all the same.
    pub async fn create_template(&self, new: &NewTemplate) -> Result<CreatedTemplate, CallFailure> {
        let client = self.client.as_ref().ok_or_else(no_access_token)?;
        let wire = WireNewTemplate {
            name: new.name.clone(),
            language: new.language.clone(),
            category: new.category.as_str().to_ascii_uppercase(),
            parameter_format: Some(new.parameter_format.as_str().to_ascii_uppercase()),
            components: new.components.clone(),
        };
        let created = client.create_template(&wire).await.map_err(|error| failure(&error))?;
        Ok(CreatedTemplate {
            provider_template_id: bounded_text(&created.id, ID_CHARACTERS_MAX),
            status: created.status.as_deref().map_or(TemplateStatus::Pending, TemplateStatus::read),
            category: created.category.as_deref().map(TemplateCategory::read),
        })
    }

    /// The request that a send of this template from that number would make, without recipient and token; or why there can
    /// be none.
    pub fn template_request(&self, phone_number_id: &str, template: &TemplateUse) -> Value {
        let content = wire(template).and_then(OutboundContent::template).map_err(|error| error.to_string());
        let nobody = Phone::parse(NOBODY).map(Identity::Phone).map_err(|error| error.to_string());
        let mut body = match content.and_then(|content| Ok(OutboundMessage::new(Recipient::User(nobody?), content))) {
            Ok(message) => message.to_json(),
            Err(reason) => return json!({ "error": reason }),
        };
        if let Some(members) = body.as_object_mut() {
            members.remove("to");
        }
        request(&self.api_version, phone_number_id, body)
    }
}

fn no_access_token() -> CallFailure {
    let error = SendError { code: None, reason: NO_ACCESS_TOKEN.0.to_owned(), detail: NO_ACCESS_TOKEN.1.to_owned() };
    CallFailure { verdict: Verdict::Auth, retry_after_seconds: None, error }
}

fn failure(error: &CallError) -> CallFailure {
    let retry_after_seconds = error.retry_after_seconds();
    let (verdict, error) = told(error);
    CallFailure { verdict, retry_after_seconds, error }
}

/// A template as listed; `None`, with a line in the log, for one whose name or language cannot be a key.
fn read_template(info: TemplateInfo) -> Option<TemplateRecord> {
    let fits = |text: &str, most: usize| !text.is_empty() && text.chars().count() <= most && !text.contains('\0');
    if !fits(&info.name, TEMPLATE_NAME_CHARACTERS_MAX) || !fits(&info.language, TEMPLATE_LANGUAGE_CHARACTERS_MAX) {
        let (name, language) = (bounded_text(&info.name, 64), bounded_text(&info.language, 64));
        tracing::warn!(name, language, "a template is passed over: its name or language is empty or too long");
        return None;
    }
    let components = bounded(without_samples(info.components), COMPONENTS_BYTES_MAX);
    let template = Template {
        name: info.name,
        language: info.language,
        provider_template_id: Some(bounded_text(&info.id, ID_CHARACTERS_MAX)).filter(|id| !id.is_empty()),
        status: TemplateStatus::read(&info.status),
        status_reason: None,
        category: TemplateCategory::read(&info.category),
        quality: TemplateQuality::read(info.quality.as_deref().unwrap_or_default()),
        parameter_format: ParameterFormat::read(info.parameter_format.as_deref().unwrap_or_default()),
        parts: TemplateParts::read(&components),
    };
    Some(TemplateRecord { template, components })
}

/// Addresses of sample files are signed anew in each list: with them, everything would seem to change all the time.
fn without_samples(mut components: Value) -> Value {
    for component in components.as_array_mut().into_iter().flatten() {
        if let Some(example) = component.get_mut("example").and_then(Value::as_object_mut) {
            example.remove("header_handle");
        }
    }
    components
}

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
