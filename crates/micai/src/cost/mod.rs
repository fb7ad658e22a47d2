//! What a message costs: the price table, the country of a recipient, an estimate before sending and the charge that follows
//! from a status. Pure: the table is read by whoever starts the process.

mod countries;
mod csv;
mod estimate;
mod table;
#[cfg(test)]
mod tests;

pub use estimate::{Basis, Certainty, Circumstances, Estimate};
pub use table::{PRICES_FILE_BYTES_MAX, PriceTable, PricesError};

/// Free service messages of a number in a calendar month, since 2026-10-01, unless the price table says otherwise. What is left
/// over does not carry on.
pub const FREE_SERVICE_MESSAGES_PER_MONTH: i64 = 1_000;

/// Since when service messages cost and utility templates cost inside the window, too: 2026-10-01, Unix seconds. WhatsApp
/// counts by the account's own time zone, which may differ from this by some hours.
pub const SERVICE_PRICED_SINCE_SECONDS: i64 = 1_790_812_800;

/// What a message is billed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// A template that advertises.
    Marketing,
    /// A template about something that the person has asked for.
    Utility,
    /// A template with a one-time code.
    Authentication,
    /// The same from a large business abroad; only WhatsApp knows when this applies.
    AuthenticationInternational,
    /// Whatever is no template.
    Service,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 5] =
        [Self::Marketing, Self::Utility, Self::Authentication, Self::AuthenticationInternational, Self::Service];

    /// WhatsApp's word in statuses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::Utility => "utility",
            Self::Authentication => "authentication",
            Self::AuthenticationInternational => "authentication_international",
            Self::Service => "service",
        }
    }

    /// The category that WhatsApp's word stands for, in any letter case, in templates and in statuses. Messages to groups and
    /// marketing through its own API are billed as their kind.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let word = word.strip_prefix("group_").unwrap_or(&word);
        let word = if word == "marketing_lite" { "marketing" } else { word };
        Self::ALL.into_iter().find(|category| category.as_str() == word)
    }
}
