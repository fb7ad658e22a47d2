//! People and what webhooks show of them (reference §2.2, §2.3).

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value, json};

use crate::load_people;
use crate::view::{Author, BubbleStatus, ControlError, PhoneKind, PhoneSpec, PhoneView, SimEvent};
use crate::world::bubble::Bubble;
use crate::world::pace::PairPace;
use crate::world::{Job, TYPING_SECONDS, WINDOW_SECONDS, World};

/// People at a time; one takes about 1 KiB before anything is said.
pub const PHONES_MAX: usize = 200_000;
/// Characters of a profile's name.
pub const NAME_CHARACTERS_MAX: usize = 100;
/// How long a hidden number stays shown after the business wrote to it, in seconds.
pub const PHONE_SHOWN_SECONDS: i64 = 30 * 24 * 3_600;

/// One simulated person.
#[derive(Debug)]
pub(crate) struct Phone {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: PhoneKind,
    pub(crate) number: String,
    pub(crate) username: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) parent_user_id: Option<String>,
    pub(crate) chat: VecDeque<Bubble>,
    /// When the person last opened the window, in seconds.
    pub(crate) last_inbound_at: Option<i64>,
    /// When the business last wrote to the number itself, in seconds.
    pub(crate) number_used_at: Option<i64>,
    pub(crate) referral_at: Option<i64>,
    pub(crate) free_entry_until: Option<i64>,
    pub(crate) typing_until: Option<i64>,
    pub(crate) pace: PairPace,
}

impl Phone {
    /// Whether webhooks show the number: without a username always, else for 30 days after the business used it.
    pub(crate) fn number_shown(&self, now: i64) -> bool {
        let in_contact_book = matches!(self.kind, PhoneKind::Phone | PhoneKind::PhoneAndBsuid);
        let used = self.number_used_at.is_some_and(|at| now < at + PHONE_SHOWN_SECONDS);
        in_contact_book || self.username.is_none() || used
    }

    pub(crate) fn shown_number(&self, now: i64) -> Option<&str> {
        self.number_shown(now).then_some(self.number.as_str())
    }

    pub(crate) fn window_until(&self) -> Option<i64> {
        self.last_inbound_at.map(|at| at + WINDOW_SECONDS)
    }

    /// `from`, `from_user_id`, `from_parent_user_id`, each only where shown.
    pub(crate) fn put_sender(&self, message: &mut Map<String, Value>, now: i64) {
        put(message, "from", self.shown_number(now));
        put(message, "from_user_id", self.user_id.as_deref());
        put(message, "from_parent_user_id", self.parent_user_id.as_deref());
    }

    /// An item of `contacts[]`. Statuses before delivery leave the username out.
    pub(crate) fn contact(&self, now: i64, with_username: bool) -> Value {
        let mut profile = json!({ "name": self.name });
        if let (Some(username), true) = (&self.username, with_username) {
            profile["username"] = json!(username);
        }
        let mut contact = Map::new();
        contact.insert("profile".to_owned(), profile);
        put(&mut contact, "wa_id", self.shown_number(now));
        put(&mut contact, "user_id", self.user_id.as_deref());
        put(&mut contact, "parent_user_id", self.parent_user_id.as_deref());
        Value::Object(contact)
    }

    pub(crate) fn view(&self, now: i64) -> PhoneView {
        let last = self.chat.back();
        PhoneView {
            id: self.id.clone(),
            name: self.name.clone(),
            kind: self.kind,
            phone: self.number.clone(),
            phone_shown: self.number_shown(now),
            username: self.username.clone(),
            user_id: self.user_id.clone(),
            parent_user_id: self.parent_user_id.clone(),
            window_until: self.window_until(),
            typing: self.typing_until.is_some_and(|until| now < until),
            unread: self.chat.iter().filter(|bubble| is_unread(bubble)).count(),
            last_line: last.map(Bubble::line),
            last_at: last.map(|bubble| bubble.at),
        }
    }
}

fn is_unread(bubble: &Bubble) -> bool {
    bubble.author == Author::Business && bubble.status == BubbleStatus::Delivered
}

fn put(object: &mut Map<String, Value>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), json!(value));
    }
}

/// All people, findable by every identifier.
#[derive(Debug, Default)]
pub(crate) struct People {
    phones: HashMap<String, Phone>,
    order: Vec<String>,
    /// Number, BSUID or parent BSUID to phone id; the three shapes cannot collide.
    by_identifier: HashMap<String, String>,
    added: u64,
}

impl People {
    pub(crate) fn get(&self, id: &str) -> Option<&Phone> {
        self.phones.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Phone> {
        self.phones.get_mut(id)
    }

    pub(crate) fn find(&self, identifier: &str) -> Option<&Phone> {
        self.get(self.by_identifier.get(identifier)?)
    }

    pub(crate) fn known(&self, identifier: &str) -> bool {
        self.by_identifier.contains_key(identifier)
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Phone> {
        self.order.iter().filter_map(|id| self.phones.get(id))
    }

    fn insert(&mut self, phone: Phone) {
        self.index(&phone.id.clone(), &phone.number);
        for identifier in [&phone.user_id, &phone.parent_user_id].into_iter().flatten() {
            self.index(&phone.id.clone(), identifier);
        }
        self.order.push(phone.id.clone());
        self.phones.insert(phone.id.clone(), phone);
    }

    pub(crate) fn index(&mut self, id: &str, identifier: &str) {
        self.by_identifier.insert(identifier.to_owned(), id.to_owned());
    }

    pub(crate) fn forget_identifier(&mut self, identifier: &str) {
        self.by_identifier.remove(identifier);
    }

    fn remove(&mut self, id: &str) -> Option<Phone> {
        self.order.retain(|other| other != id);
        self.by_identifier.retain(|_, other| other != id);
        self.phones.remove(id)
    }
}

/// Who somebody is, before a phone is made of it.
struct Identity {
    name: String,
    kind: PhoneKind,
    number: String,
    username: Option<String>,
    user_id: Option<String>,
    parent_user_id: Option<String>,
}

impl World {
    pub(crate) fn phone(&self, id: &str) -> Result<&Phone, ControlError> {
        self.people.get(id).ok_or_else(|| ControlError::NotFound(format!("there is no phone {id}")))
    }

    pub(crate) fn add_phone(&mut self, spec: &PhoneSpec) -> Result<PhoneView, ControlError> {
        self.room_for_one()?;
        let kind = spec.kind.unwrap_or(PhoneKind::Username);
        let name = self.checked_name(spec)?;
        let number = self.checked_number(spec)?;
        let username = self.checked_username(spec, kind, &name)?;
        let user_id = (kind != PhoneKind::Phone).then(|| self.ids.user_id(&number));
        let parent_user_id = (kind == PhoneKind::ParentBsuid).then(|| self.ids.parent_user_id(&number));
        Ok(self.move_in(Identity { name, kind, number, username, user_id, parent_user_id }, None))
    }

    /// Adds one of the people whom `ingest-load` writes as, who has just written.
    pub(crate) fn add_load_person(&mut self, person: u64) -> Result<(), ControlError> {
        let spec = PhoneSpec {
            name: Some(load_people::name(person).to_string()),
            phone: Some(load_people::number(person).to_string()),
            ..PhoneSpec::default()
        };
        self.room_for_one()?;
        let identity = Identity {
            name: self.checked_name(&spec)?,
            kind: PhoneKind::PhoneAndBsuid,
            number: self.checked_number(&spec)?,
            username: None,
            user_id: Some(load_people::user_id(person).to_string()),
            parent_user_id: None,
        };
        self.move_in(identity, Some(self.now()));
        Ok(())
    }

    fn room_for_one(&self) -> Result<(), ControlError> {
        if self.people.order.len() < PHONES_MAX {
            return Ok(());
        }
        Err(ControlError::Full(format!("there are {PHONES_MAX} phones already: remove some or reset")))
    }

    fn move_in(&mut self, identity: Identity, last_inbound_at: Option<i64>) -> PhoneView {
        self.people.added += 1;
        let phone = Phone {
            id: format!("phone-{}", self.people.added),
            name: identity.name,
            kind: identity.kind,
            number: identity.number,
            username: identity.username,
            user_id: identity.user_id,
            parent_user_id: identity.parent_user_id,
            chat: VecDeque::new(),
            last_inbound_at,
            number_used_at: None,
            referral_at: None,
            free_entry_until: None,
            typing_until: None,
            pace: PairPace::default(),
        };
        let view = phone.view(self.now());
        self.people.insert(phone);
        self.event(|| SimEvent::Phone { phone: view.clone() });
        view
    }

    fn checked_name(&mut self, spec: &PhoneSpec) -> Result<String, ControlError> {
        match &spec.name {
            None => Ok(self.ids.name()),
            Some(name) if (1..=NAME_CHARACTERS_MAX).contains(&name.trim().chars().count()) => {
                Ok(name.trim().to_owned())
            }
            Some(_) => Err(ControlError::Invalid(format!("a name has 1 to {NAME_CHARACTERS_MAX} characters"))),
        }
    }

    fn checked_number(&mut self, spec: &PhoneSpec) -> Result<String, ControlError> {
        let Some(given) = &spec.phone else {
            let mut number = self.ids.phone();
            while self.people.known(&number) {
                number = self.ids.phone();
            }
            return Ok(number);
        };
        let number = digits(given)
            .ok_or_else(|| ControlError::Invalid(format!("{given} is no phone number: 6 to 15 digits")))?;
        if self.people.known(&number) || number == self.config.display_phone_number {
            return Err(ControlError::Invalid(format!("the number {number} is taken")));
        }
        Ok(number)
    }

    fn checked_username(
        &mut self,
        spec: &PhoneSpec,
        kind: PhoneKind,
        name: &str,
    ) -> Result<Option<String>, ControlError> {
        match (&spec.username, kind) {
            (Some(_), PhoneKind::Phone) => {
                Err(ControlError::Invalid("a phone without a BSUID has no username: choose another kind".to_owned()))
            }
            (Some(username), _) if is_username(username) => Ok(Some(username.clone())),
            (Some(username), _) => Err(ControlError::Invalid(format!(
                "{username} is no username: 3 to 35 of a-z, 0-9, full stop and underscore"
            ))),
            (None, PhoneKind::Username) => Ok(Some(self.ids.username(name))),
            (None, PhoneKind::ParentBsuid) if spec.phone.is_none() => Ok(Some(self.ids.username(name))),
            (None, _) => Ok(None),
        }
    }

    pub(crate) fn remove_phone(&mut self, id: &str) -> Result<(), ControlError> {
        self.people.remove(id).ok_or_else(|| ControlError::NotFound(format!("there is no phone {id}")))?;
        self.forget_chat(id);
        self.event(|| SimEvent::PhoneRemoved { phone_id: id.to_owned() });
        Ok(())
    }

    pub(crate) fn phone_event(&mut self, id: &str) {
        if self.watched
            && let Some(view) = self.people.get(id).map(|phone| phone.view(self.now()))
        {
            self.effects.events.push(SimEvent::Phone { phone: view });
        }
    }

    /// Shows the business as typing for [`TYPING_SECONDS`].
    pub(crate) fn start_typing(&mut self, id: &str) {
        let until = self.now() + TYPING_SECONDS;
        let Some(phone) = self.people.get_mut(id) else { return };
        phone.typing_until = Some(until);
        self.later(TYPING_SECONDS.unsigned_abs() * 1_000 + 50, Job::TypingEnd(id.to_owned()));
        self.event(|| SimEvent::Typing { phone_id: id.to_owned(), on: true });
    }

    pub(crate) fn stop_typing(&mut self, id: &str) {
        let was_typing = self.people.get_mut(id).and_then(|phone| phone.typing_until.take()).is_some();
        if was_typing {
            self.event(|| SimEvent::Typing { phone_id: id.to_owned(), on: false });
        }
    }

    /// Ends typing where its time is over, after the clock has gone on or was moved.
    pub(crate) fn expire_typing(&mut self, only: Option<&str>) {
        let now = self.now();
        let over: Vec<String> = match only {
            Some(id) => self
                .people
                .get(id)
                .into_iter()
                .filter(|phone| typing_over(phone, now))
                .map(|phone| phone.id.clone())
                .collect(),
            None => self.people.all().filter(|phone| typing_over(phone, now)).map(|phone| phone.id.clone()).collect(),
        };
        for id in over {
            self.stop_typing(&id);
        }
    }
}

fn typing_over(phone: &Phone, now: i64) -> bool {
    phone.typing_until.is_some_and(|until| until <= now)
}

/// The digits of a phone number written in any usual way; `None` if it is none.
pub(crate) fn digits(written: &str) -> Option<String> {
    let plain: String = written.chars().filter(|c| !matches!(c, '+' | ' ' | '-' | '(' | ')' | '.')).collect();
    let valid = (6..=15).contains(&plain.len()) && plain.bytes().all(|byte| byte.is_ascii_digit());
    valid.then_some(plain)
}

/// Whether this has the form of a BSUID or parent BSUID.
pub(crate) fn is_user_id(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else {
        return false;
    };
    let tail = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&tail.len())
        && tail.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_username(text: &str) -> bool {
    (3..=35).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_'))
}
