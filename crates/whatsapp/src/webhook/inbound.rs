//! Inbound messages and echoes: who, when, in reply to what. The content is read in `read_content`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::content::Content;
use super::read_content::read_content;
use crate::error::ApiError;
use crate::identity::{Bsuid, GroupId, Identity, IdentitySet, ParentBsuid, Phone};
use crate::json;

/// A message from a user.
#[derive(Debug, Clone)]
pub struct InboundMessage {
    /// Id of the WhatsApp Business account (`entry[].id`); empty if absent.
    pub waba_id: String,
    /// Id of the business phone number that received it; empty if absent.
    pub phone_number_id: String,
    /// The number as people see it.
    pub display_phone_number: Option<String>,
    /// The message id (`wamid.…`), unique together with the phone number id.
    pub id: String,
    /// When it was sent, Unix seconds. `None` if missing or absurd: before 2001-09-09 or from 2100 on, which covers
    /// zero, negative numbers and milliseconds.
    pub timestamp_seconds: Option<i64>,
    /// Who sent it.
    pub sender: Sender,
    /// The group it was sent in.
    pub group_id: Option<GroupId>,
    /// What it refers to.
    pub context: Option<Context>,
    /// The advertisement it came from.
    pub referral: Option<Referral>,
    /// Errors of this message.
    pub errors: Vec<ApiError>,
    /// What it says.
    pub content: Content,
    /// The message as it came (contacts and metadata stand outside of it).
    pub raw: Box<RawValue>,
}

/// Who sent a message: the ids of the message, completed from the contact with the same id. Each may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// Phone number; may be missing for users with a username.
    pub phone: Option<Phone>,
    /// Business-scoped user id.
    pub bsuid: Option<Bsuid>,
    /// Parent business-scoped user id.
    pub parent_bsuid: Option<ParentBsuid>,
    /// Profile name. Chosen by the user: not to be trusted.
    pub name: Option<String>,
    /// Username: a handle that changes, neither an address nor a key.
    pub username: Option<String>,
}

impl Sender {
    /// The name to file the sender under: the BSUID (it is there whether or not the phone number is shown), else the
    /// phone number, else the parent BSUID (which is shared by several portfolios).
    pub fn preferred(&self) -> Option<Identity> {
        self.identities().identities().into_iter().next()
    }

    /// The name to answer to, the one Meta's `from` would show: the phone number, else the BSUID, else the parent
    /// BSUID. Answering to the phone number keeps it visible in later webhooks.
    pub fn reply_identity(&self) -> Option<Identity> {
        self.phone.clone().map(Identity::Phone).or_else(|| self.preferred())
    }

    /// All names.
    pub fn identities(&self) -> IdentitySet {
        IdentitySet { phone: self.phone.clone(), bsuid: self.bsuid.clone(), parent_bsuid: self.parent_bsuid.clone() }
    }

    pub(crate) fn new(ids: IdentitySet, contact: Option<&Contact>) -> Self {
        let mut ids = ids;
        if let Some(contact) = contact {
            ids.fill_from(contact.ids.clone());
        }
        Self {
            phone: ids.phone,
            bsuid: ids.bsuid,
            parent_bsuid: ids.parent_bsuid,
            name: contact.and_then(|contact| contact.name.clone()),
            username: contact.and_then(|contact| contact.username.clone()),
        }
    }
}

/// What a message refers to. A forwarded message has no id here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Who sent the message referred to; seen as display number and as phone number id. Not an identity to rely on.
    pub from: Option<String>,
    /// The message referred to.
    pub id: Option<String>,
    /// It was forwarded.
    pub forwarded: bool,
    /// It was forwarded many times.
    pub frequently_forwarded: bool,
    /// The product asked about.
    pub referred_product: Option<ReferredProduct>,
}

/// The product an inquiry is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferredProduct {
    /// The catalogue.
    pub catalog_id: Option<String>,
    /// The product.
    pub product_retailer_id: Option<String>,
}

/// The advertisement or post that opened the chat. Answering within 24 hours opens the free entry point.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// Where it stands.
    pub source_url: Option<String>,
    /// Its id.
    pub source_id: Option<String>,
    /// `ad` or `post`.
    pub source_type: Option<String>,
    /// Its heading.
    pub headline: Option<String>,
    /// Its text.
    pub body: Option<String>,
    /// `image` or `video`.
    pub media_type: Option<String>,
    /// Its picture.
    pub image_url: Option<String>,
    /// Its video.
    pub video_url: Option<String>,
    /// The still picture of its video.
    pub thumbnail_url: Option<String>,
    /// The click id.
    pub ctwa_clid: Option<String>,
    /// `welcome_message.text`.
    pub welcome_message: Option<String>,
}

/// A message that a person wrote in the Business app on the same number.
#[derive(Debug, Clone)]
pub struct Echo {
    /// Id of the WhatsApp Business account; empty if absent.
    pub waba_id: String,
    /// Id of the business phone number; empty if absent.
    pub phone_number_id: String,
    /// The message id.
    pub id: String,
    /// The business number it was sent from.
    pub from: Option<String>,
    /// Who it was sent to.
    pub to: IdentitySet,
    /// The group it was sent to.
    pub group_id: Option<GroupId>,
    /// When it was sent, Unix seconds; see [`InboundMessage::timestamp_seconds`].
    pub timestamp_seconds: Option<i64>,
    /// What it refers to.
    pub context: Option<Context>,
    /// What it says.
    pub content: Content,
    /// The message as it came.
    pub raw: Box<RawValue>,
}

/// What all items of one `value` share.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) waba_id: String,
    pub(crate) phone_number_id: String,
    pub(crate) display_phone_number: Option<String>,
    pub(crate) contacts: Contacts,
}

/// The contacts of a value, found by id and never by position.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    list: Vec<Contact>,
    by_id: HashMap<Identity, usize>,
}

#[derive(Debug)]
pub(crate) struct Contact {
    pub(crate) ids: IdentitySet,
    pub(crate) name: Option<String>,
    pub(crate) username: Option<String>,
}

impl Contacts {
    pub(crate) fn add(&mut self, value: &Value) {
        let profile = value.get("profile").unwrap_or(&Value::Null);
        let contact = Contact {
            ids: read_identities(value, "wa_id", "user_id", "parent_user_id"),
            name: json::text(profile, "name"),
            username: json::text(profile, "username").or_else(|| json::text(value, "username")),
        };
        for identity in contact.ids.identities() {
            self.by_id.entry(identity).or_insert(self.list.len());
        }
        self.list.push(contact);
    }

    /// The contact with the same BSUID, else the same phone number, else the same parent BSUID.
    pub(crate) fn find(&self, ids: &IdentitySet) -> Option<&Contact> {
        if self.list.is_empty() {
            return None;
        }
        let index = ids.identities().iter().find_map(|identity| self.by_id.get(identity))?;
        self.list.get(*index)
    }
}

/// Reads one element of `messages[]`; the error says what it lacks.
pub(crate) fn read_message(
    message: &Value,
    raw: &RawValue,
    around: &Surroundings,
) -> Result<InboundMessage, &'static str> {
    read_inbound(message, read_content(message), raw, around)
}

/// Reads one element of `calls[]` that tells of a call by the user; nothing for other news of calls, such as their end, and
/// for our own calls.
pub(crate) fn read_call(
    call: &Value,
    raw: &RawValue,
    around: &Surroundings,
) -> Result<Option<InboundMessage>, &'static str> {
    let begins = json::text(call, "event").is_some_and(|event| event.eq_ignore_ascii_case("connect"));
    let is_theirs = json::text(call, "direction").is_none_or(|by| by.eq_ignore_ascii_case("USER_INITIATED"));
    (begins && is_theirs).then(|| read_inbound(call, Content::Call, raw, around)).transpose()
}

fn read_inbound(
    message: &Value,
    content: Content,
    raw: &RawValue,
    around: &Surroundings,
) -> Result<InboundMessage, &'static str> {
    let id = json::text(message, "id").ok_or("it has no id")?;
    let ids = read_identities(message, "from", "from_user_id", "from_parent_user_id");
    let contact = around.contacts.find(&ids);
    Ok(InboundMessage {
        waba_id: around.waba_id.clone(),
        phone_number_id: around.phone_number_id.clone(),
        display_phone_number: around.display_phone_number.clone(),
        id,
        timestamp_seconds: json::timestamp_seconds(message, "timestamp"),
        sender: Sender::new(ids, contact),
        group_id: json::str(message, "group_id").and_then(GroupId::from_webhook),
        context: read_context(message),
        referral: json::object(message, "referral").map(read_referral),
        errors: ApiError::list(message, "errors"),
        content,
        raw: raw.to_owned(),
    })
}

/// Reads one element of `message_echoes[]`.
pub(crate) fn read_echo(message: &Value, raw: &RawValue, around: &Surroundings) -> Result<Echo, &'static str> {
    Ok(Echo {
        waba_id: around.waba_id.clone(),
        phone_number_id: around.phone_number_id.clone(),
        id: json::text(message, "id").ok_or("it has no id")?,
        from: json::text(message, "from"),
        to: read_identities(message, "to", "to_user_id", "to_parent_user_id"),
        group_id: json::str(message, "group_id").and_then(GroupId::from_webhook),
        timestamp_seconds: json::timestamp_seconds(message, "timestamp"),
        context: read_context(message),
        content: read_content(message),
        raw: raw.to_owned(),
    })
}

/// Reads the three names of a user from three keys. An id is filed by its own shape where that is unmistakable: a BSUID
/// in a phone field (or a parent BSUID in the field of a BSUID) is not thrown away.
pub(crate) fn read_identities(object: &Value, phone_key: &str, user_key: &str, parent_key: &str) -> IdentitySet {
    let mut ids = IdentitySet {
        phone: None,
        bsuid: json::str(object, user_key).and_then(Bsuid::from_webhook),
        parent_bsuid: json::str(object, parent_key).and_then(ParentBsuid::from_webhook),
    };
    if ids.bsuid.is_none() && ids.parent_bsuid.is_none() {
        ids.parent_bsuid = json::str(object, user_key).and_then(|text| ParentBsuid::parse(text).ok());
    }
    match json::text(object, phone_key).and_then(|text| Identity::parse(&text).ok()) {
        Some(Identity::Phone(phone)) => ids.phone = Some(phone),
        Some(Identity::Bsuid(bsuid)) => ids.bsuid = ids.bsuid.or(Some(bsuid)),
        Some(Identity::ParentBsuid(parent)) => ids.parent_bsuid = ids.parent_bsuid.or(Some(parent)),
        None => {}
    }
    ids
}

/// The context of a message; that of an edit may stand in the edited message.
fn read_context(message: &Value) -> Option<Context> {
    let inner = || message.get("edit").and_then(|edit| edit.get("message"));
    let context = json::object(message, "context").or_else(|| json::object(inner()?, "context"))?;
    Some(Context {
        from: json::text(context, "from"),
        id: json::text(context, "id"),
        forwarded: json::flag(context, "forwarded").unwrap_or(false),
        frequently_forwarded: json::flag(context, "frequently_forwarded").unwrap_or(false),
        referred_product: json::object(context, "referred_product").map(|product| ReferredProduct {
            catalog_id: json::text(product, "catalog_id"),
            product_retailer_id: json::text(product, "product_retailer_id"),
        }),
    })
}

fn read_referral(referral: &Value) -> Referral {
    Referral {
        source_url: json::text(referral, "source_url"),
        source_id: json::text(referral, "source_id"),
        source_type: json::text(referral, "source_type"),
        headline: json::text(referral, "headline"),
        body: json::text(referral, "body"),
        media_type: json::text(referral, "media_type"),
        image_url: json::text(referral, "image_url"),
        video_url: json::text(referral, "video_url"),
        thumbnail_url: json::text(referral, "thumbnail_url"),
        ctwa_clid: json::text(referral, "ctwa_clid"),
        welcome_message: json::object(referral, "welcome_message").and_then(|welcome| json::text(welcome, "text")),
    }
}
