//! What a person does on the phone, and the webhook that tells of it (reference §1.6, §2.3, §2.4).

use serde_json::{Map, Value, json};

use crate::view::{Author, BubbleStatus, ControlError, InboundKind, InboundSpec, MediaView};
use crate::world::World;
use crate::world::bubble::{Bubble, Face};
use crate::world::webhooks::About;

/// Characters of a text that a person can type.
pub const USER_TEXT_CHARACTERS_MAX: usize = 65_536;

/// A message as it goes into `messages[]`, with the person's card where the kind has one.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) wamid: String,
    pub(crate) message: Value,
    pub(super) contact: Option<Value>,
    pub(super) errors: Option<Value>,
}

/// A message being made: its type, payload, face, and what it does besides.
pub(super) struct Draft {
    kind: &'static str,
    payload: Value,
    face: Option<Face>,
    reply_to: Option<String>,
    opens_window: bool,
}

impl Draft {
    pub(super) fn new(kind: &'static str, payload: Value, face: Face) -> Self {
        Self { kind, payload, face: Some(face), reply_to: None, opens_window: true }
    }

    /// Something that shows no bubble of its own and does not open the window.
    pub(super) fn quiet(kind: &'static str, payload: Value) -> Self {
        Self { kind, payload, face: None, reply_to: None, opens_window: false }
    }

    pub(super) fn answering(self, message_id: Option<&str>) -> Self {
        Self { reply_to: message_id.map(str::to_owned), ..self }
    }
}

impl World {
    /// The person sends a message: bubble, window, webhook. Gives the message's id.
    pub(crate) fn post(&mut self, phone_id: &str, spec: &InboundSpec) -> Result<String, ControlError> {
        let item = self.compose(phone_id, spec)?;
        let about = about(phone_id, &item);
        let wamid = item.wamid.clone();
        let value = self.items_value(vec![item]);
        self.send_change(about, "messages", value);
        Ok(wamid)
    }

    /// The `messages` value that carries these items; each person's card once.
    pub(crate) fn items_value(&self, items: Vec<Item>) -> Value {
        let mut value = self.messages_value();
        let mut contacts: Vec<Value> = Vec::new();
        let mut messages = Vec::with_capacity(items.len());
        let mut errors = Vec::new();
        for item in items {
            if let Some(contact) = item.contact.filter(|contact| !contacts.contains(contact)) {
                contacts.push(contact);
            }
            messages.push(item.message);
            errors.extend(item.errors);
        }
        if !contacts.is_empty() {
            value.insert("contacts".to_owned(), Value::Array(contacts));
        }
        value.insert("messages".to_owned(), Value::Array(messages));
        if !errors.is_empty() {
            value.insert("errors".to_owned(), Value::Array(errors));
        }
        Value::Object(value)
    }

    /// Makes the message and its effects on the chat, without sending the webhook.
    pub(crate) fn compose(&mut self, phone_id: &str, spec: &InboundSpec) -> Result<Item, ControlError> {
        self.phone(phone_id)?;
        match &spec.kind {
            InboundKind::NumberChange { phone } => return self.change_number(phone_id, phone.as_deref()),
            InboundKind::UserIdChange => return self.change_user_id(phone_id),
            InboundKind::Raw { message } => return self.compose_raw(phone_id, message),
            _ => {}
        }
        let draft = self.draft(phone_id, &spec.kind)?;
        let reply_to = draft.reply_to.clone().or_else(|| spec.reply_to.clone());
        let wamid = self.ids.wamid();
        let now = self.now();
        let phone = self.phone(phone_id)?;
        let mut message = Map::new();
        message.insert("id".to_owned(), json!(wamid));
        phone.put_sender(&mut message, now);
        message.insert("timestamp".to_owned(), json!(now.to_string()));
        message.insert("type".to_owned(), json!(draft.kind));
        match draft.kind {
            // Here the payload is a whole part of the message, not an object under the type's name.
            "unsupported" => merge(&mut message, draft.payload),
            "request_welcome" => {}
            kind => _ = message.insert(kind.to_owned(), draft.payload),
        }
        self.put_context(&mut message, spec, &draft.face, reply_to.as_deref());
        if let Some(referral) = &spec.referral {
            message.insert("referral".to_owned(), referral.clone());
        }
        let contact = self.phone(phone_id)?.contact(now, true);
        if draft.opens_window {
            self.open_window(phone_id, spec.referral.is_some());
        }
        let message = Value::Object(message);
        if let Some(face) = draft.face {
            self.add_user_bubble(phone_id, &wamid, draft.kind, face, reply_to, &message);
        }
        Ok(Item { wamid, message, contact: Some(contact), errors: None })
    }

    fn put_context(
        &self,
        message: &mut Map<String, Value>,
        spec: &InboundSpec,
        face: &Option<Face>,
        reply_to: Option<&str>,
    ) {
        let hidden = matches!(spec.kind, InboundKind::TemplateButton { without_context: true, .. });
        let context = if spec.frequently_forwarded {
            json!({ "frequently_forwarded": true })
        } else if spec.forwarded {
            json!({ "forwarded": true })
        } else if let Some(id) = reply_to.filter(|_| !hidden && face.is_some()) {
            json!({ "from": self.config.display_phone_number, "id": id })
        } else {
            return;
        };
        message.insert("context".to_owned(), context);
    }

    fn open_window(&mut self, phone_id: &str, with_referral: bool) {
        let (now, now_milliseconds) = (self.now(), self.now_milliseconds);
        self.number_pace.take(now_milliseconds, self.config.throughput_messages_per_second, true);
        if let Some(phone) = self.people.get_mut(phone_id) {
            phone.last_inbound_at = Some(now);
            if with_referral {
                phone.referral_at = Some(now);
            }
        }
    }

    pub(super) fn add_user_bubble(
        &mut self,
        phone_id: &str,
        wamid: &str,
        kind: &str,
        face: Face,
        reply_to: Option<String>,
        content: &Value,
    ) {
        let bubble = Bubble {
            id: wamid.to_owned(),
            author: Author::User,
            kind: kind.to_owned(),
            at: self.now(),
            face,
            reply_to,
            status: BubbleStatus::Accepted,
            error: None,
            reactions: Vec::new(),
            edited: false,
            revoked: false,
            content: content.clone(),
            sent: None,
        };
        self.add_bubble(phone_id, bubble);
    }

    fn draft(&mut self, phone_id: &str, kind: &InboundKind) -> Result<Draft, ControlError> {
        match kind {
            InboundKind::Text { text } => {
                check_text(text)?;
                Ok(Draft::new("text", json!({ "body": text }), Face::text(text)))
            }
            InboundKind::Image { media_id, caption } => {
                self.media_draft("image", media_id, caption.as_deref(), json!({}))
            }
            InboundKind::Video { media_id, caption } => {
                self.media_draft("video", media_id, caption.as_deref(), json!({}))
            }
            InboundKind::Audio { media_id } => self.media_draft("audio", media_id, None, json!({ "voice": false })),
            InboundKind::Voice { media_id } => self.media_draft("audio", media_id, None, json!({ "voice": true })),
            InboundKind::Document { media_id, caption, filename } => {
                let extra = filename.as_ref().map_or(json!({}), |name| json!({ "filename": name }));
                self.media_draft("document", media_id, caption.as_deref(), extra)
            }
            InboundKind::Sticker { media_id, animated } => {
                self.media_draft("sticker", media_id, None, json!({ "animated": animated }))
            }
            InboundKind::Location { latitude, longitude, name, address } => {
                location_draft(*latitude, *longitude, name.as_deref(), address.as_deref())
            }
            InboundKind::Contacts { contacts } => {
                Ok(Draft::new("contacts", json!(contacts), Face::text(card_names(contacts))))
            }
            InboundKind::Order { catalog_id, text, product_items } => {
                let payload = json!({ "catalog_id": catalog_id, "text": text, "product_items": product_items });
                Ok(Draft::new("order", payload, Face::text(format!("{} items {text}", product_items.len()))))
            }
            InboundKind::Unsupported { unsupported_type } => Ok(unsupported_draft(unsupported_type.as_deref())),
            InboundKind::RequestWelcome => Ok(Draft::quiet("request_welcome", Value::Null)),
            _ => self.reference_draft(phone_id, kind),
        }
    }

    fn media_draft(
        &mut self,
        kind: &'static str,
        media_id: &str,
        caption: Option<&str>,
        extra: Value,
    ) -> Result<Draft, ControlError> {
        let now = self.now();
        let Some(file) = self.media.get(media_id, now).cloned() else {
            return Err(ControlError::NotFound(format!("there is no file {media_id}: upload it first")));
        };
        let voice = extra["voice"] == json!(true);
        let mut payload = Map::new();
        payload.insert("id".to_owned(), json!(media_id));
        payload.insert("mime_type".to_owned(), json!(file.mime_type));
        payload.insert("sha256".to_owned(), json!(file.sha256_base64()));
        payload.insert("url".to_owned(), json!(self.media_address(media_id)));
        let mut filename = None;
        if kind == "document" {
            filename = extra["filename"].as_str().map(str::to_owned).or_else(|| file.filename.clone());
            if let Some(name) = &filename {
                payload.insert("filename".to_owned(), json!(name));
            }
        }
        merge(&mut payload, extra);
        if let Some(caption) = caption {
            check_text(caption)?;
            payload.insert("caption".to_owned(), json!(caption));
        }
        let media = MediaView {
            id: Some(media_id.to_owned()),
            url: format!("/sim/media/{media_id}"),
            mime_type: Some(file.mime_type),
            filename,
            voice,
        };
        let face = Face { text: caption.unwrap_or_default().to_owned(), media: Some(media), ..Face::default() };
        Ok(Draft::new(kind, Value::Object(payload), face))
    }

    fn compose_raw(&mut self, phone_id: &str, given: &Value) -> Result<Item, ControlError> {
        let Value::Object(given) = given else {
            return Err(ControlError::Invalid("message must be a JSON object".to_owned()));
        };
        let now = self.now();
        let new_wamid = self.ids.wamid();
        let phone = self.phone(phone_id)?;
        let contact = phone.contact(now, true);
        let mut message = Map::new();
        message.insert("id".to_owned(), json!(new_wamid));
        phone.put_sender(&mut message, now);
        message.insert("timestamp".to_owned(), json!(now.to_string()));
        merge(&mut message, Value::Object(given.clone()));
        let wamid = message.get("id").and_then(Value::as_str).unwrap_or(&new_wamid).to_owned();
        let kind = message.get("type").and_then(Value::as_str).unwrap_or("raw").to_owned();
        let errors = message.remove("value_errors");
        let quiet = matches!(kind.as_str(), "reaction" | "system" | "edit" | "revoke" | "request_welcome" | "raw");
        if !quiet {
            self.open_window(phone_id, message.contains_key("referral"));
        }
        let message = Value::Object(message);
        let text = message["text"]["body"].as_str().unwrap_or_default().to_owned();
        if self.chat_of(&wamid).is_none() {
            self.add_user_bubble(phone_id, &wamid, &kind, Face::text(text), None, &message);
        }
        let contact = (kind != "system").then_some(contact);
        Ok(Item { wamid, message, contact, errors })
    }
}

pub(crate) fn about(phone_id: &str, item: &Item) -> About {
    About { phone_id: Some(phone_id.to_owned()), wamids: vec![item.wamid.clone()], kind: "message".to_owned() }
}

fn location_draft(
    latitude: f64,
    longitude: f64,
    name: Option<&str>,
    address: Option<&str>,
) -> Result<Draft, ControlError> {
    if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
        return Err(ControlError::Invalid("latitude is -90 to 90, longitude -180 to 180".to_owned()));
    }
    let mut payload = json!({ "latitude": latitude, "longitude": longitude });
    for (key, value) in [("name", name), ("address", address)] {
        if let Some(value) = value {
            payload[key] = json!(value);
        }
    }
    let text = name.or(address).map_or_else(|| format!("{latitude}, {longitude}"), str::to_owned);
    Ok(Draft::new("location", payload, Face::text(text)))
}

fn unsupported_draft(unsupported_type: Option<&str>) -> Draft {
    let mut payload = json!({
        "errors": [{
            "code": 131051,
            "title": "Message type unknown",
            "message": "Message type unknown",
            "error_data": { "details": "Message type is currently not supported." },
        }],
    });
    if let Some(kind) = unsupported_type {
        payload["unsupported"] = json!({ "type": kind });
    }
    Draft::new("unsupported", payload, Face::text(unsupported_type.unwrap_or("unsupported")))
}

fn card_names(contacts: &[Value]) -> String {
    let names = contacts.iter().map(|card| card["name"]["formatted_name"].as_str().unwrap_or("contact"));
    names.collect::<Vec<_>>().join(", ")
}

pub(super) fn check_text(text: &str) -> Result<(), ControlError> {
    if (1..=USER_TEXT_CHARACTERS_MAX).contains(&text.chars().count()) {
        return Ok(());
    }
    Err(ControlError::Invalid(format!("a text has 1 to {USER_TEXT_CHARACTERS_MAX} characters")))
}

fn merge(into: &mut Map<String, Value>, from: Value) {
    if let Value::Object(from) = from {
        into.extend(from);
    }
}
