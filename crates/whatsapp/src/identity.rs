//! Who a message is from or for: phone numbers, business-scoped user ids and groups, as types that cannot be mixed up.
//!
//! WhatsApp names a user in three ways since 2026. The phone number may be missing when the user has a username; the
//! business-scoped user id (BSUID) belongs to a pair of user and business portfolio and changes when the user changes
//! the phone number; the parent BSUID is shared by the portfolios of a managed business. None of them is a lasting key.
//!
//! **Strict and lenient.** `parse` is strict: it accepts the documented shape only and is meant for what people type
//! and for choosing how to address a message. What Meta itself sends is not ours to refuse: the identifiers are
//! documented as opaque, so `from_webhook` (and `Deserialize`, which must be able to read back whatever was stored)
//! accepts any string of 1 to [`OPAQUE_CHARACTERS_MAX`] characters without white space or control characters. An empty
//! string means absent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Fewest digits of a phone number, country code included.
pub const PHONE_DIGITS_MIN: usize = 5;
/// Most digits of a phone number. E.164 allows 15; WhatsApp's own test and business numbers stay below 20.
pub const PHONE_DIGITS_MAX: usize = 20;
/// Most alphanumerics after the prefix of a BSUID or a parent BSUID.
pub const USER_ID_CHARACTERS_MAX: usize = 128;
/// Most characters of an identifier of unknown shape that arrives in a webhook.
pub const OPAQUE_CHARACTERS_MAX: usize = 256;

/// A string that is not the identifier it was taken for. The string itself is not repeated: it is personal data.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a {what}: expected {expected}")]
pub struct IdentityError {
    /// The identifier that was asked for, such as "phone number".
    pub what: &'static str,
    /// The accepted shape in words.
    pub expected: &'static str,
}

/// A phone number: 5 to 20 digits with country code, without `+`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phone(Box<str>);

/// A business-scoped user id: two capitals (the country), a dot, up to 128 alphanumerics. Kept verbatim, case included.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bsuid(Box<str>);

/// A parent BSUID: like [`Bsuid`] with `ENT.` after the country.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParentBsuid(Box<str>);

/// The id of a WhatsApp group: opaque, printable, without white space.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(Box<str>);

impl Phone {
    /// Reads a phone number; one leading `+` is dropped. Anything but ASCII digits is refused, spaces included.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let length_fits = (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits.len());
        if length_fits && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(digits.into()));
        }
        Err(IdentityError { what: "phone number", expected: "5 to 20 digits with country code, `+` allowed in front" })
    }

    /// The same as [`Phone::parse`], for the fields of a webhook; `None` for what is no phone number, `""` included.
    pub fn from_webhook(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl Bsuid {
    /// Reads a BSUID of the documented shape, `^[A-Z]{2}\.[A-Za-z0-9]{1,128}$`.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        match after_country(text).filter(|rest| is_user_id_tail(rest)) {
            Some(_) => Ok(Self(text.into())),
            None => Err(IdentityError { what: "BSUID", expected: "`CC.` and 1 to 128 letters or digits" }),
        }
    }

    /// Takes what Meta sent in a `*_user_id` field: any opaque string (see the module), except one that is clearly a
    /// parent BSUID.
    pub fn from_webhook(text: &str) -> Option<Self> {
        (is_opaque(text) && ParentBsuid::parse(text).is_err()).then(|| Self(text.into()))
    }

    /// The two-letter country of the user (ISO 3166), readable even when the phone number is hidden.
    pub fn country(&self) -> Option<&str> {
        after_country(&self.0).and(self.0.get(..2))
    }
}

impl ParentBsuid {
    /// Reads a parent BSUID of the documented shape, `^[A-Z]{2}\.ENT\.[A-Za-z0-9]{1,128}$`.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let tail = after_country(text).and_then(|rest| rest.strip_prefix("ENT."));
        match tail.filter(|rest| is_user_id_tail(rest)) {
            Some(_) => Ok(Self(text.into())),
            None => Err(IdentityError { what: "parent BSUID", expected: "`CC.ENT.` and 1 to 128 letters or digits" }),
        }
    }

    /// Takes what Meta sent in a `*_parent_user_id` field: any opaque string (see the module).
    pub fn from_webhook(text: &str) -> Option<Self> {
        is_opaque(text).then(|| Self(text.into()))
    }
}

impl GroupId {
    /// Reads a group id: 1 to 256 characters without white space or control characters.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        if is_opaque(text) {
            return Ok(Self(text.into()));
        }
        Err(IdentityError { what: "group id", expected: "1 to 256 printable characters without spaces" })
    }

    /// The same as [`GroupId::parse`], for the fields of a webhook.
    pub fn from_webhook(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

/// What the four newtypes share; the shapes above are what sets them apart.
macro_rules! identifier {
    ($name:ident, $what:literal) => {
        impl $name {
            /// The identifier as it is sent over the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdentityError;
            fn from_str(text: &str) -> Result<Self, IdentityError> {
                Self::parse(text)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::from_webhook(&text).ok_or_else(|| serde::de::Error::custom(concat!("not a ", $what)))
            }
        }
    };
}

identifier!(Phone, "phone number");
identifier!(Bsuid, "BSUID");
identifier!(ParentBsuid, "parent BSUID");
identifier!(GroupId, "group id");

/// Which of the three ways of naming a user an [`Identity`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// A phone number.
    Phone,
    /// A business-scoped user id.
    Bsuid,
    /// A parent business-scoped user id.
    ParentBsuid,
}

impl IdentityKind {
    /// `phone`, `bsuid` or `parent_bsuid`: the spelling for a database column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Bsuid => "bsuid",
            Self::ParentBsuid => "parent_bsuid",
        }
    }

    /// The inverse of [`IdentityKind::as_str`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        match text {
            "phone" => Ok(Self::Phone),
            "bsuid" => Ok(Self::Bsuid),
            "parent_bsuid" => Ok(Self::ParentBsuid),
            _ => Err(IdentityError { what: "kind of identity", expected: "`phone`, `bsuid` or `parent_bsuid`" }),
        }
    }
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One name of a user. Serialized as `{"kind":"bsuid","value":"BR.1"}`, because the shape alone need not tell the kind
/// of an identifier that came from a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Identity {
    /// A phone number; sent in `to`.
    Phone(Phone),
    /// A business-scoped user id; sent in `recipient`.
    Bsuid(Bsuid),
    /// A parent business-scoped user id; sent in `recipient`.
    ParentBsuid(ParentBsuid),
}

impl Identity {
    /// Recognises which of the three a string is, by the strict shapes.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        if let Ok(phone) = Phone::parse(text) {
            return Ok(Self::Phone(phone));
        }
        if let Ok(bsuid) = Bsuid::parse(text) {
            return Ok(Self::Bsuid(bsuid));
        }
        ParentBsuid::parse(text).map(Self::ParentBsuid).map_err(|_| IdentityError {
            what: "WhatsApp user",
            expected: "a phone number (5 to 20 digits), a BSUID (`CC.…`) or a parent BSUID (`CC.ENT.…`)",
        })
    }

    /// Puts an identity together again from its stored kind and value, by the lenient rules of the module.
    pub fn from_parts(kind: IdentityKind, value: &str) -> Result<Self, IdentityError> {
        let identity = match kind {
            IdentityKind::Phone => Phone::from_webhook(value).map(Self::Phone),
            IdentityKind::Bsuid => Bsuid::from_webhook(value).map(Self::Bsuid),
            IdentityKind::ParentBsuid => ParentBsuid::from_webhook(value).map(Self::ParentBsuid),
        };
        identity.ok_or(IdentityError { what: kind.as_str(), expected: "1 to 256 printable characters of that kind" })
    }

    /// Which of the three this is.
    pub fn kind(&self) -> IdentityKind {
        match self {
            Self::Phone(_) => IdentityKind::Phone,
            Self::Bsuid(_) => IdentityKind::Bsuid,
            Self::ParentBsuid(_) => IdentityKind::ParentBsuid,
        }
    }

    /// The identifier as it is sent over the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Phone(phone) => phone.as_str(),
            Self::Bsuid(bsuid) => bsuid.as_str(),
            Self::ParentBsuid(parent) => parent.as_str(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Phone> for Identity {
    fn from(phone: Phone) -> Self {
        Self::Phone(phone)
    }
}

impl From<Bsuid> for Identity {
    fn from(bsuid: Bsuid) -> Self {
        Self::Bsuid(bsuid)
    }
}

impl From<ParentBsuid> for Identity {
    fn from(parent: ParentBsuid) -> Self {
        Self::ParentBsuid(parent)
    }
}

/// All names of one user that came together in one place; each may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentitySet {
    /// The phone number.
    pub phone: Option<Phone>,
    /// The business-scoped user id.
    pub bsuid: Option<Bsuid>,
    /// The parent business-scoped user id.
    pub parent_bsuid: Option<ParentBsuid>,
}

impl IdentitySet {
    /// Every name that is present: BSUID, phone number, parent BSUID.
    pub fn identities(&self) -> Vec<Identity> {
        let bsuid = self.bsuid.clone().map(Identity::Bsuid);
        let phone = self.phone.clone().map(Identity::Phone);
        let parent = self.parent_bsuid.clone().map(Identity::ParentBsuid);
        [bsuid, phone, parent].into_iter().flatten().collect()
    }

    /// True if no name is present.
    pub fn is_empty(&self) -> bool {
        self.phone.is_none() && self.bsuid.is_none() && self.parent_bsuid.is_none()
    }

    /// Takes over from `other` what is missing here.
    pub(crate) fn fill_from(&mut self, other: Self) {
        self.phone = self.phone.take().or(other.phone);
        self.bsuid = self.bsuid.take().or(other.bsuid);
        self.parent_bsuid = self.parent_bsuid.take().or(other.parent_bsuid);
    }
}

/// Where a message goes. A phone number or a group is sent in `to`, a BSUID or a parent BSUID in `recipient`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// One person.
    User(Identity),
    /// A group.
    Group(GroupId),
}

impl Recipient {
    /// The identifier as it is sent over the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::User(identity) => identity.as_str(),
            Self::Group(group) => group.as_str(),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Identity> for Recipient {
    fn from(identity: Identity) -> Self {
        Self::User(identity)
    }
}

/// What follows `CC.`, if the text starts with two capitals and a dot.
fn after_country(text: &str) -> Option<&str> {
    let (country, rest) = text.split_once('.')?;
    (country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(rest)
}

fn is_user_id_tail(text: &str) -> bool {
    (1..=USER_ID_CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_opaque(text: &str) -> bool {
    // Bytes first: a megabyte of text is refused without being walked through.
    !text.is_empty()
        && text.len() <= OPAQUE_CHARACTERS_MAX * 4
        && text.chars().count() <= OPAQUE_CHARACTERS_MAX
        && !text.chars().any(|character| character.is_control() || character.is_whitespace())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_string_is_recognised_as_what_it_is() {
        let longest = format!("US.{}", "9".repeat(128));
        let table: [(&str, Option<IdentityKind>); 16] = [
            ("5511999990000", Some(IdentityKind::Phone)),
            ("+5511999990000", Some(IdentityKind::Phone)),
            ("12345", Some(IdentityKind::Phone)),
            ("1234", None),
            ("123456789012345678901", None),
            ("55 11 99999", None),
            ("++5511999990000", None),
            ("٠١٢٣٤٥", None),
            ("BR.88123", Some(IdentityKind::Bsuid)),
            ("US.aB9", Some(IdentityKind::Bsuid)),
            (&longest, Some(IdentityKind::Bsuid)),
            ("br.88123", None),
            ("BR.", None),
            ("BR.8-8", None),
            ("BR.ENT.88123", Some(IdentityKind::ParentBsuid)),
            ("BR.ENT.", None),
        ];
        for (text, kind) in table {
            assert_eq!(Identity::parse(text).ok().map(|identity| identity.kind()), kind, "{text}");
        }
        assert!(Bsuid::parse(&format!("{longest}9")).is_err());
        assert!(Identity::parse("").is_err());
    }

    #[test]
    fn a_plus_is_dropped_and_nothing_else_is_changed() {
        assert_eq!(Phone::parse("+5511999990000").unwrap().as_str(), "5511999990000");
        assert_eq!(Bsuid::parse("BR.aBc").unwrap().to_string(), "BR.aBc");
        assert_eq!(Bsuid::parse("BR.aBc").unwrap().country(), Some("BR"));
        assert_eq!(Bsuid::from_webhook("weird").unwrap().country(), None);
    }

    #[test]
    fn a_parent_is_never_taken_for_a_bsuid() {
        assert!(Bsuid::parse("BR.ENT.1").is_err());
        assert!(Bsuid::from_webhook("BR.ENT.1").is_none());
        assert!(ParentBsuid::parse("BR.1").is_err());
    }

    #[test]
    fn what_meta_sends_is_carried_even_if_oddly_shaped() {
        assert!(Bsuid::from_webhook("b2b:0f-77_x").is_some());
        assert!(Bsuid::from_webhook("").is_none());
        assert!(Bsuid::from_webhook("a b").is_none());
        assert!(Bsuid::from_webhook("a\u{0}b").is_none());
        assert!(Bsuid::from_webhook(&"é".repeat(256)).is_some());
        assert!(Bsuid::from_webhook(&"é".repeat(257)).is_none());
        assert!(GroupId::parse(&"x".repeat(5000)).is_err());
    }

    #[test]
    fn a_stored_identity_keeps_its_kind() {
        let odd = Identity::Bsuid(Bsuid::from_webhook("1234567").unwrap());
        let json = serde_json::to_string(&odd).unwrap();
        assert_eq!(json, r#"{"kind":"bsuid","value":"1234567"}"#);
        assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), odd);
        assert_eq!(Identity::from_parts(odd.kind(), odd.as_str()).unwrap(), odd);
        assert!(serde_json::from_str::<Identity>(r#"{"kind":"phone","value":"x"}"#).is_err());
        assert!(IdentityKind::parse("wa_id").is_err());
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_round_trips(text in "\\PC{0,40}|[A-Z]{2}\\.(ENT\\.)?[A-Za-z0-9]{0,130}|\\+?[0-9]{0,22}") {
            if let Ok(identity) = Identity::parse(&text) {
                prop_assert_eq!(Identity::parse(identity.as_str()).unwrap(), identity.clone());
                let json = serde_json::to_string(&identity).unwrap();
                prop_assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
            }
        }
    }
}
