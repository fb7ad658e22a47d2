//! News of the account and of its numbers: what WhatsApp stops, lets go again, or warns of.

use jiff::Timestamp;

/// A webhook about the account or one of its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountNews {
    /// The account.
    pub waba_id: String,
    /// The number as people dial it, in digits, where the news is about one.
    pub display_phone_number: Option<String>,
    /// WhatsApp's word for what happened.
    pub event: String,
    /// When it happened, if the webhook says so credibly.
    pub occurred_at: Option<Timestamp>,
    /// What follows.
    pub effect: AccountEffect,
}

/// What news of the account or a number means for sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEffect {
    /// Nothing is sent.
    Stop {
        /// Only templates are stopped; answers within the window go on.
        only_templates: bool,
        /// Until when, where WhatsApp says.
        until: Option<Timestamp>,
        /// What happened and what to do.
        sentence: String,
    },
    /// What such news stopped goes on, and what it warned of is over.
    Lift,
    /// Something will be stopped unless somebody acts.
    Warn {
        /// What happened and what to do.
        sentence: String,
    },
}

/// One of our numbers, by both of its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OurNumber {
    /// As people dial it, in digits.
    pub display_phone_number: String,
    /// WhatsApp's id of it.
    pub phone_number_id: String,
}
