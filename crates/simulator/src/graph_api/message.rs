//! From a send's body to a checked message: the limits of reference §3 with the errors of §5.

use serde_json::{Map, Value, json};

use crate::errors::GraphError;
use crate::graph_api::fields::{Fields, is_web_address};
use crate::graph_api::interactive::interactive;
use crate::graph_api::template_use::template;
use crate::view::MediaView;
use crate::world::World;
use crate::world::bubble::Face;
use crate::world::outbound::{Address, Outgoing};
use crate::world::people::{digits, is_user_id};
use crate::world::replies::EMOJI_CHARACTERS_MAX;

type Checked<T> = Result<T, GraphError>;

/// Characters of a text message.
pub const TEXT_CHARACTERS_MAX: usize = 4_096;
/// Characters below a picture, film or document.
pub const CAPTION_CHARACTERS_MAX: usize = 1_024;
/// Characters of the data that statuses echo.
pub const CALLBACK_DATA_CHARACTERS_MAX: usize = 512;
/// Contact cards in a message: the lower of the two figures that Meta's pages give.
pub const CONTACTS_MAX: usize = 5;

const TYPES: &[&str] = &[
    "audio",
    "contacts",
    "document",
    "image",
    "interactive",
    "location",
    "reaction",
    "sticker",
    "template",
    "text",
    "video",
];
const COMMON_KEYS: &[&str] = &[
    "messaging_product",
    "recipient_type",
    "to",
    "recipient",
    "type",
    "context",
    "biz_opaque_callback_data",
    "recipient_identity_key_hash",
    "message_activity_sharing",
];

/// What a body asks for.
pub(crate) enum Asked {
    /// A message to send.
    Send(Box<Outgoing>),
    /// `status: read`, maybe with a typing indicator.
    Read { message_id: String, typing: bool },
}

/// Reads and checks a body of `POST /{phone_number_id}/messages`.
pub(crate) fn asked(world: &World, body: &Value) -> Checked<Asked> {
    let Value::Object(object) = body else {
        return Err(GraphError::parameter("Invalid parameter"));
    };
    let fields = Fields::new(object, "message");
    if fields.text("messaging_product")? != Some("whatsapp") {
        return Err(GraphError::parameter("The parameter messaging_product is required."));
    }
    if fields.has("status") {
        read_mark(&fields)
    } else {
        message(world, object, &fields).map(|m| Asked::Send(Box::new(m)))
    }
}

fn read_mark(fields: &Fields<'_>) -> Checked<Asked> {
    fields.only(&["messaging_product", "status", "message_id", "typing_indicator"])?;
    if fields.text("status")? != Some("read") {
        return Err(GraphError::parameter("Param status must be one of {READ} - got something else."));
    }
    let message_id = fields.need_text("message_id", 1_000)?.to_owned();
    let typing = fields.object("typing_indicator")?;
    if let Some(indicator) = &typing
        && indicator.text("type")? != Some("text")
    {
        return Err(GraphError::parameter("Param typing_indicator['type'] must be one of {TEXT}."));
    }
    Ok(Asked::Read { message_id, typing: typing.is_some() })
}

fn message(world: &World, object: &Map<String, Value>, fields: &Fields<'_>) -> Checked<Outgoing> {
    let kind = fields.text("type")?.unwrap_or("text");
    if !TYPES.contains(&kind) {
        let names = TYPES.join(", ").to_uppercase();
        return Err(GraphError::parameter(format!("Param type must be one of {{{names}}} - got \"{kind}\".")));
    }
    let mut known = COMMON_KEYS.to_vec();
    known.push(kind);
    fields.only(&known)?;
    match fields.text("recipient_type")? {
        None | Some("individual") => {}
        Some("group") => return Err(GraphError::new(131_041, "This number is in no groups.")),
        Some(_) => {
            return Err(GraphError::parameter("Param recipient_type must be one of {INDIVIDUAL, GROUP}."));
        }
    }
    let (address, input) = address(fields)?;
    let callback_data = fields.short_text("biz_opaque_callback_data", CALLBACK_DATA_CHARACTERS_MAX)?.map(str::to_owned);
    let reply_to = match fields.object("context")? {
        Some(context) => Some(context.need_text("message_id", 1_000)?.to_owned()),
        None => None,
    };
    if kind == "reaction" && reply_to.is_some() {
        return Err(GraphError::parameter("A reaction message cannot carry context."));
    }
    let content = json!({ "type": kind, kind: object.get(kind) });
    let outgoing = Outgoing {
        address,
        input,
        kind: kind.to_owned(),
        content,
        face: Face::default(),
        reply_to,
        callback_data,
        template_category: None,
        reaction: None,
        media_trouble: None,
    };
    payload(world, kind, fields, outgoing)
}

/// `to` wins over `recipient` where both are given.
fn address(fields: &Fields<'_>) -> Checked<(Address, String)> {
    if let Some(to) = fields.text("to")? {
        let number = digits(to).ok_or_else(|| GraphError::new(131_009, format!("Invalid phone number: {to}")))?;
        return Ok((Address::Number(number), to.to_owned()));
    }
    let Some(recipient) = fields.text("recipient")? else {
        return Err(GraphError::parameter("The parameter to is required."));
    };
    if !is_user_id(recipient) {
        return Err(GraphError::new(131_009, format!("Invalid business-scoped user ID: {recipient}")));
    }
    Ok((Address::UserId(recipient.to_owned()), recipient.to_owned()))
}

fn payload(world: &World, kind: &str, fields: &Fields<'_>, mut outgoing: Outgoing) -> Checked<Outgoing> {
    let part = match kind {
        "contacts" => None,
        _ => Some(fields.need_object(kind)?),
    };
    match (kind, part) {
        ("text", Some(text)) => {
            text.only(&["body", "preview_url"])?;
            text.flag("preview_url")?;
            outgoing.face = Face::text(text.need_text("body", TEXT_CHARACTERS_MAX)?);
        }
        ("reaction", Some(reaction)) => {
            reaction.only(&["message_id", "emoji"])?;
            let message_id = reaction.need_text("message_id", 1_000)?.to_owned();
            let Some(emoji) = reaction.text("emoji")? else {
                return Err(GraphError::new(131_008, "Parameter reaction['emoji'] is required."));
            };
            if emoji.chars().count() > EMOJI_CHARACTERS_MAX {
                return Err(GraphError::new(131_009, "reaction['emoji'] must be one emoji."));
            }
            outgoing.reaction = Some((message_id, emoji.to_owned()));
        }
        ("location", Some(location)) => outgoing.face = self::location(&location)?,
        ("interactive", Some(part)) => outgoing.face = interactive(world, &part)?,
        ("template", Some(part)) => {
            let used = template(world, &part)?;
            if used.category == "authentication" && matches!(outgoing.address, Address::UserId(_)) {
                let sentence = "Authentication templates cannot be sent to a business-scoped user ID.";
                return Err(GraphError::new(131_062, sentence));
            }
            outgoing.face = used.face;
            outgoing.template_category = Some(used.category);
        }
        ("contacts", _) => outgoing.face = contacts(fields)?,
        (_, Some(media)) => {
            let (face, trouble) = self::media(world, kind, &media)?;
            outgoing.face = face;
            outgoing.media_trouble = trouble;
        }
        (_, None) => {}
    }
    Ok(outgoing)
}

fn location(location: &Fields<'_>) -> Checked<Face> {
    location.only(&["latitude", "longitude", "name", "address"])?;
    let (latitude, longitude) = (location.degrees("latitude", 90.0)?, location.degrees("longitude", 180.0)?);
    let name = location.short_text("name", 1_000)?;
    let address = location.short_text("address", 1_000)?;
    let place = format!("{latitude}, {longitude}");
    let lines: Vec<&str> = [name, address, Some(place.as_str())].into_iter().flatten().collect();
    Ok(Face::text(lines.join("\n")))
}

fn contacts(fields: &Fields<'_>) -> Checked<Face> {
    let cards = fields.list("contacts", CONTACTS_MAX)?;
    let mut names = Vec::new();
    for card in cards {
        let name = Fields::of(card, "contacts")?.need_object("name")?;
        names.push(name.need_text("formatted_name", 1_000)?);
        let parts = ["first_name", "last_name", "middle_name", "suffix", "prefix"];
        if !parts.iter().any(|part| name.has(part)) {
            let sentence = "contacts['name'] needs formatted_name and at least one other part of the name.";
            return Err(GraphError::new(131_009, sentence));
        }
    }
    Ok(Face::text(names.join(", ")))
}

/// A picture, sound, film, document or sticker, and what will make it fail later.
pub(crate) fn media(world: &World, kind: &str, media: &Fields<'_>) -> Checked<(Face, Option<String>)> {
    let with_caption = matches!(kind, "image" | "video" | "document");
    match kind {
        "document" => media.only(&["id", "link", "caption", "filename"])?,
        "audio" => media.only(&["id", "link", "voice"])?,
        _ if with_caption => media.only(&["id", "link", "caption"])?,
        _ => media.only(&["id", "link"])?,
    }
    let caption = media.short_text("caption", CAPTION_CHARACTERS_MAX)?;
    let filename = media.short_text("filename", 240)?.map(str::to_owned);
    let voice = media.flag("voice")?;
    let (id, link) = (media.text("id")?, media.text("link")?);
    let (view, trouble) = match (id, link) {
        (Some(_), Some(_)) => {
            return Err(GraphError::new(131_009, format!("{kind} takes either id or link, not both.")));
        }
        (None, None) => {
            return Err(GraphError::new(131_008, format!("Parameter {kind}['id'] or ['link'] is required.")));
        }
        (None, Some(link)) if is_web_address(link) => {
            (MediaView { id: None, url: link.to_owned(), mime_type: None, filename, voice }, None)
        }
        (None, Some(_)) => {
            return Err(GraphError::parameter(format!("Param {kind}['link'] is not a valid URL.")));
        }
        (Some(id), None) => stored_media(world, kind, id, filename, voice)?,
    };
    Ok((Face { text: caption.unwrap_or_default().to_owned(), media: Some(view), ..Face::default() }, trouble))
}

fn stored_media(
    world: &World,
    kind: &str,
    id: &str,
    filename: Option<String>,
    voice: bool,
) -> Checked<(MediaView, Option<String>)> {
    let Some(file) = world.media.get(id, world.now()) else {
        let sentence = format!("Param {kind}['id'] is not a valid whatsapp business account media attachment ID");
        return Err(GraphError::parameter(sentence));
    };
    let not_opus = voice && !file.is_ogg_opus();
    let trouble =
        not_opus.then(|| "A voice message must be Ogg with Opus.".to_owned()).or_else(|| file.unfit_for(kind));
    let view = MediaView {
        id: Some(id.to_owned()),
        url: format!("/sim/media/{id}"),
        mime_type: Some(file.mime_type.clone()),
        filename: filename.or_else(|| file.filename.clone().filter(|_| kind == "document")),
        voice,
    };
    Ok((view, trouble))
}
