//! Contacts and the identifiers under which WhatsApp shows them.

use serde::{Deserialize, Serialize};

/// The portfolio of an installation. WhatsApp scopes user ids by business portfolio; an installation serves one.
pub const PORTFOLIO_ID: &str = "default";

/// Which of WhatsApp's identifiers a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind {
    /// Digits of a phone number, no plus sign.
    Phone,
    /// A business-scoped user id.
    Bsuid,
    /// A user id shared by the portfolios of a managed business.
    ParentBsuid,
}

impl AddressKind {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Bsuid => "bsuid",
            Self::ParentBsuid => "parent_bsuid",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Phone, Self::Bsuid, Self::ParentBsuid].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An identifier that a message came from or goes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// What the value is.
    pub kind: AddressKind,
    /// The identifier, verbatim.
    pub value: String,
}

/// Everything that an event says about who it is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Phone number, digits only; absent for people who hide it behind a username.
    pub phone: Option<String>,
    /// Business-scoped user id.
    pub bsuid: Option<String>,
    /// Parent business-scoped user id.
    pub parent_bsuid: Option<String>,
    /// Profile name.
    pub name: Option<String>,
    /// Username: a display handle, neither an address nor a key.
    pub username: Option<String>,
}

impl Person {
    /// The known identifiers in the order in which a contact is looked up: the BSUID outlives the phone number's
    /// owner, the parent id is the weakest hint.
    pub fn addresses(&self) -> Vec<Address> {
        let known = [
            (AddressKind::Bsuid, &self.bsuid),
            (AddressKind::Phone, &self.phone),
            (AddressKind::ParentBsuid, &self.parent_bsuid),
        ];
        known.into_iter().filter_map(|(kind, value)| Some(Address { kind, value: value.clone()? })).collect()
    }
}

/// An identity change that WhatsApp reported: the old identifiers give way to the new ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityChange {
    /// What the person was known by.
    pub previous: Vec<Address>,
    /// What they are known by from now on.
    pub current: Vec<Address>,
}
