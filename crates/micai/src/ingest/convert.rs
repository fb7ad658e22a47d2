//! What WhatsApp sent, as facts of ours. Pure. Nothing here fails: what does not fit is kept raw with the reason.

use jiff::Timestamp;
use serde_json::Value;
use whatsapp::identity::{Identity, IdentityKind, IdentitySet};
use whatsapp::webhook::{
    Content, Event, InboundMessage, InteractiveReply, PreferenceChange, Sender, SystemEvent,
    TemplateChange as WireChange, TemplateUpdate, UserPreferenceUpdate, Webhook,
};

use super::{account, statuses};
use crate::domain::contact::{Address, AddressKind, IdentityChange, Person};
use crate::domain::inbound::{
    InboundState, MessageNature, NewInbound, NewPreference, NewStatus, RawEvent, WebhookFacts,
};
use crate::domain::news::{AccountNews, OurNumber};
use crate::domain::template::news::{TemplateChange, TemplateNews};
use crate::domain::template::{TEMPLATE_NAME_CHARACTERS_MAX, TemplateCategory, TemplateQuality, TemplateStatus};

/// Characters of a message id; WhatsApp's have around 60.
pub(super) const MESSAGE_ID_CHARACTERS_MAX: usize = 512;
/// Characters of any other word that becomes a column.
pub(super) const WORD_CHARACTERS_MAX: usize = 256;
/// Characters of a message's words that are broken out for triggers and transcripts; the payload keeps all.
const TEXT_CHARACTERS_MAX: usize = 16_384;
/// How far a webhook's clock may run ahead of ours before its times are not believed.
const CLOCK_SKEW_SECONDS_MAX: i64 = 60;

/// Digits of a number; the longest has 15.
const NUMBER_DIGITS_MAX: usize = 32;

/// What decides about a webhook beside itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    /// The present.
    pub now: Timestamp,
    /// Attempts of one message.
    pub attempts_max: i32,
    /// The account that news must be about; none: any.
    pub account: Option<&'a str>,
}

/// The facts of a webhook.
pub(super) fn facts(webhook: Webhook, terms: &Terms<'_>) -> WebhookFacts {
    let mut facts = WebhookFacts::default();
    for event in webhook.events {
        note_number(&event, &mut facts.numbers);
        match convert(&event, terms) {
            Fact::Message(message) => facts.messages.push(*message),
            Fact::Status(status) => facts.statuses.push(*status),
            Fact::Preference(preference) => facts.preferences.push(preference),
            Fact::Template(news) => {
                facts.templates.push(*news);
                facts.raw_events.push(raw_event(&event, None));
            }
            Fact::Account(news) => {
                facts.account.push(*news);
                facts.raw_events.push(raw_event(&event, None));
            }
            Fact::Raw(reason) => facts.raw_events.push(raw_event(&event, reason)),
        }
    }
    facts
}

/// Splits what one transaction should not hold. Order is kept.
pub(super) fn split(facts: WebhookFacts, items_max: usize) -> Vec<WebhookFacts> {
    if facts.item_count() <= items_max {
        return vec![facts];
    }
    let size = items_max.max(1);
    let mut parts = Vec::new();
    let mut push = |part: WebhookFacts| parts.push(part);
    facts.messages.chunks(size).for_each(|messages| {
        push(WebhookFacts { messages: messages.to_vec(), ..WebhookFacts::default() });
    });
    facts.statuses.chunks(size).for_each(|statuses| {
        push(WebhookFacts { statuses: statuses.to_vec(), ..WebhookFacts::default() });
    });
    facts.preferences.chunks(size).for_each(|preferences| {
        push(WebhookFacts { preferences: preferences.to_vec(), ..WebhookFacts::default() });
    });
    facts.templates.chunks(size).for_each(|templates| {
        push(WebhookFacts { templates: templates.to_vec(), ..WebhookFacts::default() });
    });
    facts.account.chunks(size).for_each(|account| {
        push(WebhookFacts { account: account.to_vec(), ..WebhookFacts::default() });
    });
    facts.numbers.chunks(size).for_each(|numbers| {
        push(WebhookFacts { numbers: numbers.to_vec(), ..WebhookFacts::default() });
    });
    facts.raw_events.chunks(size).for_each(|raw_events| {
        push(WebhookFacts { raw_events: raw_events.to_vec(), ..WebhookFacts::default() });
    });
    parts
}

/// Each item on its own, with the text to keep if even that is refused.
pub(super) fn singles(facts: &WebhookFacts) -> Vec<(WebhookFacts, String)> {
    let none = WebhookFacts::default;
    let messages = facts
        .messages
        .iter()
        .map(|message| (WebhookFacts { messages: vec![message.clone()], ..none() }, message.payload.to_string()));
    let statuses = facts
        .statuses
        .iter()
        .map(|status| (WebhookFacts { statuses: vec![status.clone()], ..none() }, format!("{status:?}")));
    let preferences = facts.preferences.iter().map(|preference| {
        (WebhookFacts { preferences: vec![preference.clone()], ..none() }, format!("{preference:?}"))
    });
    let templates = facts
        .templates
        .iter()
        .map(|news| (WebhookFacts { templates: vec![news.clone()], ..none() }, format!("{news:?}")));
    let account =
        facts.account.iter().map(|news| (WebhookFacts { account: vec![news.clone()], ..none() }, format!("{news:?}")));
    let numbers = facts
        .numbers
        .iter()
        .map(|number| (WebhookFacts { numbers: vec![number.clone()], ..none() }, format!("{number:?}")));
    let raw_events = facts
        .raw_events
        .iter()
        .map(|event| (WebhookFacts { raw_events: vec![event.clone()], ..none() }, event.raw.clone()));
    messages
        .chain(statuses)
        .chain(preferences)
        .chain(templates)
        .chain(account)
        .chain(numbers)
        .chain(raw_events)
        .collect()
}

enum Fact {
    Message(Box<NewInbound>),
    Status(Box<NewStatus>),
    Preference(NewPreference),
    /// Kept as it came, too.
    Template(Box<TemplateNews>),
    /// Kept as it came, too.
    Account(Box<AccountNews>),
    /// Kept as it came, for this reason.
    Raw(Option<String>),
}

fn convert(event: &Event, terms: &Terms<'_>) -> Fact {
    let now = terms.now;
    match event {
        Event::Message(message) => match read_message(message, now) {
            Ok(message) => Fact::Message(Box::new(message)),
            Err(reason) => Fact::Raw(Some(reason)),
        },
        Event::Status(status) => match statuses::read(status, terms) {
            Ok(status) => Fact::Status(Box::new(status)),
            Err(reason) => Fact::Raw(Some(reason)),
        },
        Event::Template(update) => Fact::Template(Box::new(read_template(update, now))),
        Event::UserPreference(update) => read_preference(update, now).map_or(Fact::Raw(None), Fact::Preference),
        Event::Unreadable(unreadable) => Fact::Raw(Some(unreadable.reason.clone())),
        Event::Account(update) => {
            account::read(update, terms).map_or(Fact::Raw(None), |news| Fact::Account(Box::new(news)))
        }
        // Recognised, never answered: what other apps or people said on the number.
        Event::ValueError(_) | Event::Echo(_) | Event::Standby(_) | Event::History(_) | Event::Other(_) => {
            Fact::Raw(None)
        }
    }
}

/// By which of its names people dial a number of ours, and by which WhatsApp calls it.
fn note_number(event: &Event, numbers: &mut Vec<OurNumber>) {
    let Event::Message(message) = event else { return };
    let Some(dialled) = message.display_phone_number.as_deref().map(digits).filter(|digits| !digits.is_empty()) else {
        return;
    };
    let number = OurNumber {
        display_phone_number: dialled,
        phone_number_id: clean(&message.phone_number_id, WORD_CHARACTERS_MAX),
    };
    if numbers.last() != Some(&number) {
        numbers.push(number);
    }
}

/// The digits of a number, however it is written.
pub(super) fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).take(NUMBER_DIGITS_MAX).collect()
}

fn raw_event(event: &Event, reason: Option<String>) -> RawEvent {
    let field = match event {
        Event::Other(change) if !change.field.is_empty() => change.field.as_str(),
        other => other.kind(),
    };
    RawEvent {
        kind: clean(field, WORD_CHARACTERS_MAX),
        waba_id: event.waba_id().map(|id| clean(id, WORD_CHARACTERS_MAX)),
        reason: reason.map(|reason| clean(&reason, WORD_CHARACTERS_MAX)),
        raw: event.raw().get().replace('\0', "\u{fffd}"),
    }
}

fn read_message(message: &InboundMessage, now: Timestamp) -> Result<NewInbound, String> {
    if message.id.is_empty() || message.id.chars().count() > MESSAGE_ID_CHARACTERS_MAX {
        return Err(format!("a message id must have 1 to {MESSAGE_ID_CHARACTERS_MAX} characters"));
    }
    if message.phone_number_id.is_empty() {
        return Err("the message does not say which of our numbers it came to".to_owned());
    }
    let mut person = person(&message.sender);
    let identity_change = match &message.content {
        Content::System(event) => identity_change(event, &mut person),
        _ => None,
    };
    let reply_to = message
        .sender
        .reply_identity()
        .map(|identity| address(&identity))
        .or_else(|| person.addresses().into_iter().next())
        .ok_or("the message does not say who sent it")?;
    let manner = manner(message);
    let payload: Value = serde_json::from_str(message.raw.get()).map_err(|error| error.to_string())?;
    Ok(NewInbound {
        phone_number_id: clean(&message.phone_number_id, WORD_CHARACTERS_MAX),
        provider_message_id: clean(&message.id, MESSAGE_ID_CHARACTERS_MAX),
        person,
        reply_to,
        kind: clean(message.content.kind(), WORD_CHARACTERS_MAX),
        nature: manner.nature,
        text: message.content.text().map(|text| clean(text, TEXT_CHARACTERS_MAX)),
        target_provider_message_id: target(&message.content).map(|id| clean(id, MESSAGE_ID_CHARACTERS_MAX)),
        payload: without_nul(payload),
        sent_at: believable(message.timestamp_seconds, now),
        state: manner.state,
        opens_window: manner.opens_window,
        is_referred: message.referral.is_some(),
        identity_change,
    })
}

/// What a message asks of us.
struct Manner {
    nature: MessageNature,
    state: InboundState,
    opens_window: bool,
}

fn manner(message: &InboundMessage) -> Manner {
    use InboundState::{Noted, Pending};
    let manner = |nature, state, opens_window| Manner { nature, state, opens_window };
    if message.group_id.is_some() {
        // Private answers to what was said in a group would be wrong, and answers into groups are not offered.
        return manner(MessageNature::Words, Noted, false);
    }
    match &message.content {
        Content::Text { .. }
        | Content::Image(_)
        | Content::Video(_)
        | Content::Audio { .. }
        | Content::Document { .. }
        | Content::Sticker { .. }
        | Content::Location(_)
        | Content::Contacts(_)
        | Content::Order(_) => manner(MessageNature::Words, Pending, true),
        Content::Interactive(InteractiveReply::Missing | InteractiveReply::Unknown { .. }) => {
            manner(MessageNature::Words, Noted, true)
        }
        Content::Interactive(_) | Content::Button { .. } => manner(MessageNature::Tap, Pending, true),
        // Whether these open the window is not documented: they are not counted on.
        Content::Edit { .. } => manner(MessageNature::Edit, Pending, false),
        Content::Revoke { .. } => manner(MessageNature::Revoke, Pending, false),
        Content::Reaction { .. } | Content::System(_) | Content::RequestWelcome | Content::Unknown { .. } => {
            manner(MessageNature::Words, Noted, false)
        }
        // Nobody is answered who calls: we take no calls. The window opens all the same.
        Content::Call | Content::Unsupported { .. } => manner(MessageNature::Words, Noted, true),
    }
}

fn target(content: &Content) -> Option<&str> {
    match content {
        Content::Edit { original_message_id, .. } | Content::Revoke { original_message_id } => {
            Some(original_message_id)
        }
        Content::Reaction { message_id, .. } => Some(message_id),
        _ => None,
    }
}

/// Who an identifier names, by the documented shapes: a phone number with or without `+` in front, a BSUID, or a parent
/// BSUID. `None` for anything else.
pub fn person_named(identifier: &str) -> Option<Person> {
    let identity = Identity::parse(identifier).ok()?;
    let value = Some(identity.as_str().to_owned());
    Some(match identity.kind() {
        IdentityKind::Phone => Person { phone: value, ..Person::default() },
        IdentityKind::Bsuid => Person { bsuid: value, ..Person::default() },
        IdentityKind::ParentBsuid => Person { parent_bsuid: value, ..Person::default() },
    })
}

fn person(sender: &Sender) -> Person {
    Person {
        phone: sender.phone.as_ref().map(|phone| phone.as_str().to_owned()),
        bsuid: sender.bsuid.as_ref().map(|bsuid| clean(bsuid.as_str(), WORD_CHARACTERS_MAX)),
        parent_bsuid: sender.parent_bsuid.as_ref().map(|parent| clean(parent.as_str(), WORD_CHARACTERS_MAX)),
        name: sender.name.as_deref().map(|name| clean(name, WORD_CHARACTERS_MAX)),
        username: sender.username.as_deref().map(|name| clean(name, WORD_CHARACTERS_MAX)),
    }
}

/// The change that a system message reports. Its own sender may be known by nothing else than what changes.
fn identity_change(event: &SystemEvent, person: &mut Person) -> Option<IdentityChange> {
    let previous = addresses(&event.previous);
    let current = addresses(&event.current);
    if person.addresses().is_empty() {
        let known = if current.is_empty() { &event.previous } else { &event.current };
        person.phone = known.phone.as_ref().map(|phone| phone.as_str().to_owned());
        person.bsuid = known.bsuid.as_ref().map(|bsuid| clean(bsuid.as_str(), WORD_CHARACTERS_MAX));
    }
    let says_both = !previous.is_empty() && !current.is_empty();
    says_both.then_some(IdentityChange { previous, current })
}

fn addresses(set: &IdentitySet) -> Vec<Address> {
    set.identities().iter().map(address).collect()
}

fn address(identity: &Identity) -> Address {
    let kind = match identity.kind() {
        IdentityKind::Phone => AddressKind::Phone,
        IdentityKind::Bsuid => AddressKind::Bsuid,
        IdentityKind::ParentBsuid => AddressKind::ParentBsuid,
    };
    Address { kind, value: clean(identity.as_str(), WORD_CHARACTERS_MAX) }
}

fn read_preference(update: &UserPreferenceUpdate, now: Timestamp) -> Option<NewPreference> {
    let (marketing_stopped, value) = match update.preference.change {
        PreferenceChange::Stop => (true, "stop"),
        PreferenceChange::Resume => (false, "resume"),
        PreferenceChange::Signup => (false, "signup"),
        PreferenceChange::Other(_) => return None,
    };
    let person = person(&update.user);
    let words = |text: &Option<String>| text.as_deref().map(|text| clean(text, WORD_CHARACTERS_MAX));
    let evidence = serde_json::json!({
        "value": value,
        "category": words(&update.preference.category),
        "detail": words(&update.preference.detail),
        "signup_id": words(&update.preference.signup_id),
    });
    let occurred_at = believable(update.timestamp_seconds, now);
    (!person.addresses().is_empty()).then_some(NewPreference { person, marketing_stopped, evidence, occurred_at })
}

/// What a webhook says about a template. One that does not say which has no name here, and only wakes the sync.
fn read_template(update: &TemplateUpdate, now: Timestamp) -> TemplateNews {
    let word = |text: &Option<String>| text.as_deref().map(|text| clean(text, WORD_CHARACTERS_MAX));
    let category = |text: &Option<String>| text.as_deref().map_or(TemplateCategory::Unknown, TemplateCategory::read);
    let change = match &update.change {
        WireChange::Status { status, reason, recommendation, category } => TemplateChange::Status {
            status: TemplateStatus::read(status),
            reason: reason.as_deref().map(|reason| {
                let advice = recommendation.as_deref().map(|advice| format!(": {advice}")).unwrap_or_default();
                clean(&format!("{reason}{advice}"), WORD_CHARACTERS_MAX)
            }),
            category: category.as_deref().map(TemplateCategory::read),
        },
        WireChange::Quality { new, .. } => {
            TemplateChange::Quality { quality: TemplateQuality::read(new.as_deref().unwrap_or_default()) }
        }
        WireChange::Components => TemplateChange::Components,
        // With an announcement, the new category is the one that still holds.
        WireChange::Category { announced: announced @ Some(_), .. } => {
            TemplateChange::CategoryAnnounced { category: category(announced) }
        }
        WireChange::Category { new, .. } => TemplateChange::Category { category: category(new) },
    };
    TemplateNews {
        waba_id: clean(&update.waba_id, WORD_CHARACTERS_MAX),
        provider_template_id: word(&update.template_id),
        name: clean(update.name.as_deref().unwrap_or_default(), TEMPLATE_NAME_CHARACTERS_MAX),
        language: word(&update.language).unwrap_or_default(),
        occurred_at: believable(update.timestamp_seconds, now),
        change,
    }
}

/// A time that may be counted with: not in the future (which would hold the window open), not before the platform.
pub(super) fn believable(seconds: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    let at = Timestamp::from_second(seconds?).ok()?;
    if at > now + jiff::SignedDuration::from_secs(CLOCK_SKEW_SECONDS_MAX) {
        return None;
    }
    Some(at.min(now))
}

/// The text, cut to `characters_max`, with U+0000 replaced: Postgres cannot hold it.
pub(super) fn clean(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).map(|character| if character == '\0' { '\u{fffd}' } else { character }).collect()
}

fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(key, value)| (key.replace('\0', "\u{fffd}"), without_nul(value))).collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_named_by_a_phone_number_or_a_user_id() {
        let long = "a".repeat(128);
        let (fits, too_long) = (format!("BR.{long}"), format!("BR.{long}a"));
        let (parent, parent_too_long) = (format!("BR.ENT.{long}"), format!("BR.ENT.{long}a"));
        let (phone, bsuid, parent_bsuid) = (AddressKind::Phone, AddressKind::Bsuid, AddressKind::ParentBsuid);
        for (identifier, expected) in [
            ("15551234567", Some((phone, "15551234567"))),
            ("+15551234567", Some((phone, "15551234567"))),
            ("12345", Some((phone, "12345"))),
            ("1234", None),
            ("12345678901234567890", Some((phone, "12345678901234567890"))),
            ("123456789012345678901", None),
            ("++15551", None),
            ("1555-1234", None),
            ("１２３４５", None),
            ("", None),
            ("+", None),
            ("BR.1", Some((bsuid, "BR.1"))),
            ("BR.aZ9", Some((bsuid, "BR.aZ9"))),
            ("br.1", None),
            ("BRA.1", None),
            ("BR.", None),
            ("BR.a b", None),
            ("BR.é", None),
            ("BR.ENT.1", Some((parent_bsuid, "BR.ENT.1"))),
            ("BR.ENT.", None),
            ("BR.ENT", Some((bsuid, "BR.ENT"))),
            ("BR.1.2", None),
            (".1", None),
            (&fits, Some((bsuid, fits.as_str()))),
            (&too_long, None),
            (&parent, Some((parent_bsuid, parent.as_str()))),
            (&parent_too_long, None),
        ] {
            let named = person_named(identifier).map(|person| person.addresses());
            let expected = expected.map(|(kind, value)| vec![Address { kind, value: value.to_owned() }]);
            assert_eq!(named, expected, "{identifier:?}");
        }
    }
}
