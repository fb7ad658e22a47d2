//! Reads the content of a message from its JSON. Never fails: what does not fit is [`Content::Unknown`].

use serde_json::Value;

use super::content::{
    ContactCard, ContactPhone, Content, InteractiveReply, Location, Media, Order, OrderItem, SystemEvent, SystemKind,
};
use super::inbound::read_identities;
use crate::error::ApiError;
use crate::identity::{Bsuid, IdentitySet, ParentBsuid, Phone};
use crate::json;

/// Edits inside edits that are followed. WhatsApp sends one level; the rest would be noise.
const EDIT_LEVELS_MAX: usize = 2;

/// Reads the content of a message object (`{"type":…, "<type>":{…}}`).
pub(crate) fn read_content(message: &Value) -> Content {
    read_level(message, EDIT_LEVELS_MAX)
}

fn read_level(message: &Value, levels: usize) -> Content {
    let kind = json::text(message, "type").unwrap_or_default();
    let content = match kind.as_str() {
        "text" => json::object(message, "text")
            .and_then(|text| json::any_text(text, "body"))
            .map(|body| Content::Text { body }),
        "image" => read_media(message, "image").map(Content::Image),
        "video" => read_media(message, "video").map(Content::Video),
        "audio" | "voice" => read_audio(message, &kind),
        "document" => read_media(message, "document").map(|media| {
            let filename = message.get("document").and_then(|document| json::text(document, "filename"));
            Content::Document { media, filename }
        }),
        "sticker" => read_media(message, "sticker").map(|media| {
            let animated = message.get("sticker").and_then(|sticker| json::flag(sticker, "animated"));
            Content::Sticker { media, animated: animated.unwrap_or(false) }
        }),
        "location" => read_location(message).map(Content::Location),
        "contacts" => message.get("contacts").filter(|cards| cards.is_array()).map(|_| {
            Content::Contacts(
                json::list(message, "contacts").iter().filter(|card| card.is_object()).map(read_card).collect(),
            )
        }),
        "interactive" => Some(Content::Interactive(read_interactive(message))),
        "button" => json::object(message, "button")
            .map(|button| Content::Button { payload: json::text(button, "payload"), text: json::text(button, "text") }),
        "reaction" => read_reaction(message),
        "order" => json::object(message, "order").map(|order| Content::Order(read_order(order))),
        "system" => Some(Content::System(read_system(message))),
        "edit" => read_edit(message, levels),
        "revoke" => json::object(message, "revoke")
            .and_then(|revoke| json::text(revoke, "original_message_id"))
            .map(|original_message_id| Content::Revoke { original_message_id }),
        "request_welcome" => Some(Content::RequestWelcome),
        "unsupported" | "unknown" => Some(read_unsupported(message, &kind)),
        _ => None,
    };
    content.unwrap_or(Content::Unknown { kind })
}

fn read_media(message: &Value, key: &str) -> Option<Media> {
    let media = json::object(message, key)?;
    Some(Media {
        id: json::text(media, "id")?,
        mime_type: json::text(media, "mime_type"),
        sha256: json::text(media, "sha256"),
        caption: json::text(media, "caption"),
        url: json::text(media, "url"),
    })
}

fn read_audio(message: &Value, kind: &str) -> Option<Content> {
    let media = read_media(message, kind)?;
    let voice = message.get(kind).and_then(|audio| json::flag(audio, "voice"));
    Some(Content::Audio { media, voice: voice.unwrap_or(kind == "voice") })
}

fn read_location(message: &Value) -> Option<Location> {
    let location = json::object(message, "location")?;
    Some(Location {
        latitude: json::number(location, "latitude")?,
        longitude: json::number(location, "longitude")?,
        name: json::text(location, "name"),
        address: json::text(location, "address"),
        url: json::text(location, "url"),
    })
}

fn read_card(card: &Value) -> ContactCard {
    let phones = json::list(card, "phones").iter().filter(|phone| phone.is_object());
    let emails = json::list(card, "emails").iter();
    ContactCard {
        name: json::object(card, "name").and_then(read_card_name),
        phones: phones
            .map(|phone| ContactPhone {
                phone: json::text(phone, "phone"),
                kind: json::text(phone, "type"),
                user: read_identities(phone, "wa_id", "user_id", "parent_user_id"),
            })
            .collect(),
        emails: emails.filter_map(|email| json::text(email, "email")).collect(),
        company: json::object(card, "org").and_then(|org| json::text(org, "company")),
        origin: json::text(card, "origin"),
        vcard: json::text(card, "vcard"),
    }
}

fn read_card_name(name: &Value) -> Option<String> {
    if let Some(formatted) = json::text(name, "formatted_name") {
        return Some(formatted);
    }
    let parts: Vec<String> =
        ["first_name", "middle_name", "last_name"].iter().filter_map(|key| json::text(name, key)).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn read_interactive(message: &Value) -> InteractiveReply {
    let Some(interactive) = json::object(message, "interactive") else {
        return InteractiveReply::Missing;
    };
    let kind = json::text(interactive, "type").unwrap_or_default();
    let reply = match kind.as_str() {
        "button_reply" => json::object(interactive, "button_reply").map(|button| InteractiveReply::Button {
            id: json::any_text(button, "id").unwrap_or_default(),
            title: json::any_text(button, "title").unwrap_or_default(),
        }),
        "list_reply" => json::object(interactive, "list_reply").map(|row| InteractiveReply::List {
            id: json::any_text(row, "id").unwrap_or_default(),
            title: json::any_text(row, "title").unwrap_or_default(),
            description: json::text(row, "description"),
        }),
        "nfm_reply" => json::object(interactive, "nfm_reply").map(|flow| InteractiveReply::Flow {
            name: json::text(flow, "name"),
            body: json::text(flow, "body"),
            response_json: read_response_json(flow),
        }),
        "call_permission_reply" => {
            json::object(interactive, "call_permission_reply").map(|permission| InteractiveReply::CallPermission {
                response: json::text(permission, "response"),
                expiration_timestamp_seconds: json::timestamp_seconds(permission, "expiration_timestamp"),
                response_source: json::text(permission, "response_source"),
            })
        }
        _ => None,
    };
    reply.unwrap_or(InteractiveReply::Unknown { kind })
}

/// JSON in a string by the documentation; an object is taken as well.
fn read_response_json(flow: &Value) -> String {
    match flow.get("response_json") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

fn read_reaction(message: &Value) -> Option<Content> {
    let reaction = json::object(message, "reaction")?;
    Some(Content::Reaction { message_id: json::text(reaction, "message_id")?, emoji: json::text(reaction, "emoji") })
}

fn read_order(order: &Value) -> Order {
    let items = json::list(order, "product_items").iter().filter(|item| item.is_object());
    Order {
        catalog_id: json::text(order, "catalog_id"),
        text: json::text(order, "text"),
        items: items
            .map(|item| OrderItem {
                product_retailer_id: json::text(item, "product_retailer_id"),
                quantity: json::integer(item, "quantity"),
                item_price: json::number(item, "item_price"),
                currency: json::text(item, "currency"),
            })
            .collect(),
    }
}

fn read_edit(message: &Value, levels: usize) -> Option<Content> {
    let edit = json::object(message, "edit")?;
    let content = match json::object(edit, "message") {
        Some(inner) if levels > 0 => read_level(inner, levels - 1),
        _ => Content::Unknown { kind: String::new() },
    };
    Some(Content::Edit { original_message_id: json::text(edit, "original_message_id")?, content: Box::new(content) })
}

fn read_unsupported(message: &Value, kind: &str) -> Content {
    let inner = json::object(message, "unsupported").and_then(|unsupported| json::text(unsupported, "type"));
    Content::Unsupported { kind: inner.unwrap_or_else(|| kind.to_owned()), errors: ApiError::list(message, "errors") }
}

/// Reads a system message: `from` holds the old phone number, `system` the new names and since August 2026 the old
/// BSUID. Bodies of before version 12 spell the new number `new_wa_id` and the old one `customer`.
fn read_system(message: &Value) -> SystemEvent {
    let system = message.get("system").unwrap_or(&Value::Null);
    let identity = message.get("identity").or_else(|| system.get("identity"));
    let identity = identity.filter(|value| value.is_object());
    let kind = match json::str(system, "type") {
        Some("user_changed_number" | "customer_changed_number") => SystemKind::NumberChanged,
        Some("user_changed_user_id") => SystemKind::UserIdChanged,
        Some("customer_identity_changed" | "user_identity_changed") => SystemKind::IdentityChanged,
        other if identity.is_some() && other.is_none() => SystemKind::IdentityChanged,
        other => SystemKind::Other(other.unwrap_or_default().to_owned()),
    };
    let body = json::text(system, "body");

    let mut current = read_identities(system, "wa_id", "user_id", "parent_user_id");
    current.phone = current.phone.or_else(|| json::str(system, "new_wa_id").and_then(Phone::from_webhook));
    let mut previous = IdentitySet {
        phone: None,
        bsuid: json::str(system, "previous_user_id").and_then(Bsuid::from_webhook),
        parent_bsuid: json::str(system, "previous_parent_user_id").and_then(ParentBsuid::from_webhook),
    };
    if matches!(kind, SystemKind::NumberChanged | SystemKind::UserIdChanged) {
        let old_phone =
            ["from", "customer"].iter().find_map(|key| json::str(message, key).and_then(Phone::from_webhook));
        let old_phone = old_phone.or_else(|| json::str(system, "customer").and_then(Phone::from_webhook));
        previous.phone = old_phone.filter(|phone| current.phone.as_ref() != Some(phone));
        if previous.bsuid.is_none() {
            previous.bsuid = body.as_deref().and_then(|body| bsuid_in_words(body, current.bsuid.as_ref()));
        }
    } else {
        current.fill_from(read_identities(message, "from", "from_user_id", "from_parent_user_id"));
    }
    SystemEvent { kind, previous, current, body, identity_hash: identity.and_then(|value| json::text(value, "hash")) }
}

/// The first BSUID in a sentence that is not the new one: where the old one stood before it had a field of its own.
fn bsuid_in_words(body: &str, new: Option<&Bsuid>) -> Option<Bsuid> {
    body.split(|character: char| !character.is_ascii_alphanumeric() && character != '.')
        .filter_map(|word| Bsuid::parse(word.trim_matches('.')).ok())
        .find(|bsuid| new != Some(bsuid))
}
