//! Money: what a delivered message costs. Amounts are whole millionths of the currency, never fractions.

use serde::{Deserialize, Serialize};

/// Stands for the country of a recipient whose identifier does not tell it.
pub const UNKNOWN_COUNTRY: &str = "ZZ";

/// What one delivered message costs, by our price table: WhatsApp names the bracket and not the amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Two letters; [`UNKNOWN_COUNTRY`] where the recipient's identifier does not tell.
    pub country: String,
    /// WhatsApp's word: `service`, `utility`, `marketing`, …
    pub category: String,
    /// Three letters.
    pub currency: String,
    /// The amount in millionths; 0 for what is free.
    pub micros: i64,
    /// WhatsApp does not bill it.
    pub is_free: bool,
}
