//! An estimate before sending, and the charge that follows from a status.

use jiff::Timestamp;

use super::table::{PriceTable, Rates};
use super::{Category, SERVICE_PRICED_SINCE_SECONDS, countries};
use crate::domain::contact::{Address, Person};
use crate::domain::outbound::Price;
use crate::domain::spend::{Charge, UNKNOWN_COUNTRY};

/// WhatsApp's word for what is sent inside a free entry point.
const FREE_ENTRY_CATEGORY: &str = "referral_conversion";

/// What an estimate depends on beside country and category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// When it is sent: the rules changed on 2026-10-01.
    pub at: Timestamp,
    /// The person came through an advertisement and was answered in time: everything is free for some days. Not known for
    /// certain before the status says so.
    pub inside_free_entry_point: bool,
    /// How many free service messages the number has left this month.
    pub free_allowance_left: i64,
}

/// What a message will probably cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// Two letters; [`UNKNOWN_COUNTRY`] where the recipient's identifier does not tell.
    pub country: String,
    /// The row of the price table; none where the country is not known.
    pub market: Option<String>,
    /// What it is billed as.
    pub category: Category,
    /// Three letters.
    pub currency: String,
    /// The probable amount, in millionths.
    pub micros: i64,
    /// The amount if it is billed after all.
    pub billed_micros: i64,
    /// Why it is that much.
    pub basis: Basis,
    /// How sure the rate is.
    pub certainty: Certainty,
}

/// Why an estimate is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The rate of its category.
    Billed,
    /// Free: the person came through an advertisement.
    FreeEntryPoint,
    /// Free: one of the month's free service messages.
    FreeAllowance,
    /// Free: service messages were not billed at that time.
    FreeService,
}

/// How sure a rate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// The price table has it.
    Listed,
    /// The price table has it and says that it could not be confirmed.
    Unconfirmed,
    /// The recipient's country is not known: the dearest rate of all.
    UnknownCountry,
}

impl Certainty {
    /// What a person should know about the estimate; nothing where the rate is sure.
    pub fn remark(self) -> Option<&'static str> {
        match self {
            Self::Listed => None,
            Self::Unconfirmed => {
                Some("The price table says that the rates of this market are not confirmed: see docs/cost.md.")
            }
            Self::UnknownCountry => {
                Some("The recipient's identifier does not tell a country: this is the dearest rate of the price table.")
            }
        }
    }
}

impl PriceTable {
    /// The country that an address belongs to, or [`UNKNOWN_COUNTRY`].
    pub fn country_of(&self, address: &Address) -> String {
        self.countries.of(address).map_or_else(
            || UNKNOWN_COUNTRY.to_owned(),
            // Two ASCII letters.
            |letters| letters.iter().map(|letter| char::from(*letter)).collect(),
        )
    }

    /// The country that a person belongs to, or [`UNKNOWN_COUNTRY`]. The number tells more than a user id: +1 and +7 are several
    /// countries.
    pub fn country_of_person(&self, person: &Person) -> String {
        let mut addresses = person.addresses();
        addresses.sort_by_key(|address| address.kind);
        let known = addresses.iter().map(|address| self.country_of(address)).find(|country| country != UNKNOWN_COUNTRY);
        known.unwrap_or_else(|| UNKNOWN_COUNTRY.to_owned())
    }

    /// Whether these are two letters of a country.
    pub fn knows_country(&self, country: &str) -> bool {
        countries::letters(country).is_some_and(|letters| self.countries.get(letters).is_some())
    }

    /// What a message to `country` will probably cost.
    pub fn estimate(&self, country: &str, category: Category, circumstances: Circumstances) -> Estimate {
        let (market, rates, certainty) = self.rates(country);
        let billed_micros = rates.of(category);
        let is_service_free = circumstances.at.as_second() < SERVICE_PRICED_SINCE_SECONDS;
        let basis = match category {
            _ if circumstances.inside_free_entry_point => Basis::FreeEntryPoint,
            Category::Service if is_service_free => Basis::FreeService,
            Category::Service if circumstances.free_allowance_left > 0 => Basis::FreeAllowance,
            _ => Basis::Billed,
        };
        Estimate {
            country: if market.is_some() { country.to_owned() } else { UNKNOWN_COUNTRY.to_owned() },
            market: market.map(str::to_owned),
            category,
            currency: self.currency().to_owned(),
            micros: if basis == Basis::Billed { billed_micros } else { 0 },
            billed_micros,
            basis,
            certainty,
        }
    }

    /// What a status says in money. Its `type` decides whether the message is billed; `billable` counts only where there is
    /// none, since it is being retired.
    pub fn charge(&self, person: &Person, price: &Price) -> Charge {
        let country = self.country_of_person(person);
        let (_, rates, _) = self.rates(&country);
        let is_free = match price.kind.as_deref() {
            Some(kind) => kind.starts_with("free"),
            None => price.billable == Some(false),
        };
        let word = match price.kind.as_deref() {
            // Under a word of its own, whatever the message is: the month's free service messages are counted by theirs.
            Some("free_entry_point") => FREE_ENTRY_CATEGORY,
            _ => price.category.as_deref().unwrap_or("unknown"),
        };
        let rate = Category::parse(word).map_or_else(|| rates.dearest(), |category| rates.of(category));
        Charge {
            country,
            category: word.to_ascii_lowercase(),
            currency: self.currency().to_owned(),
            micros: if is_free { 0 } else { rate },
            is_free,
        }
    }

    /// The market of a country, with its rates; no market for a country that is not known.
    fn rates(&self, country: &str) -> (Option<&str>, Rates, Certainty) {
        let known = countries::letters(country).and_then(|letters| self.countries.get(letters));
        let Some(known) = known else { return (None, self.dearest, Certainty::UnknownCountry) };
        let (market, rates) = self.market([&known.name, &known.region]);
        let certainty = if self.is_unconfirmed(market) { Certainty::Unconfirmed } else { Certainty::Listed };
        (Some(market), rates, certainty)
    }
}
