//! The country of a recipient: from the calling code of a phone number, or the letters that a user id begins with.

use std::collections::{BTreeMap, HashMap};

use super::csv;
use super::table::PricesError;
use crate::domain::contact::{Address, AddressKind};

const COUNTRIES: &str = include_str!("../../data/countries.csv");
/// Digits of the longest calling code in the table: +1 with an area code.
const CALLING_CODE_DIGITS_MAX: usize = 4;

/// Who is billed where.
#[derive(Debug, Clone)]
pub(super) struct Countries {
    by_code: HashMap<String, Letters>,
    by_letters: BTreeMap<Letters, Country>,
}

/// Two letters, as ISO 3166 has them.
pub(super) type Letters = [u8; 2];

/// A country as rate cards name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Country {
    /// Its name: a row of its own in a rate card has this one.
    pub name: String,
    /// The market of which it is a part where it has no such row.
    pub region: String,
}

impl Countries {
    /// The table that is compiled in.
    pub fn compiled_in() -> Result<Self, PricesError> {
        let mut countries = Self { by_code: HashMap::new(), by_letters: BTreeMap::new() };
        let rows = csv::rows(COUNTRIES);
        for row in rows.iter().filter(|row| !row.fields[0].starts_with('#')).skip(1) {
            let [code, country, name, region] = row.fields.as_slice() else {
                return Err(PricesError::one(format!(
                    "the table of countries, line {}: it has not four fields",
                    row.line
                )));
            };
            let Some(letters) = letters(country) else {
                return Err(PricesError::one(format!("the table of countries, line {}: no two letters", row.line)));
            };
            countries.by_code.insert(code.clone(), letters);
            let country = Country { name: name.clone(), region: region.clone() };
            countries.by_letters.insert(letters, country);
        }
        Ok(countries)
    }

    /// The letters of the country that an address belongs to.
    pub fn of(&self, address: &Address) -> Option<Letters> {
        match address.kind {
            AddressKind::Phone => self.of_number(&address.value),
            AddressKind::Bsuid | AddressKind::ParentBsuid => {
                let letters = letters(address.value.split('.').next()?)?;
                self.by_letters.contains_key(&letters).then_some(letters)
            }
        }
    }

    /// The longest calling code that a number begins with decides.
    fn of_number(&self, number: &str) -> Option<Letters> {
        let digits = number.strip_prefix('+').unwrap_or(number);
        (1..=CALLING_CODE_DIGITS_MAX).rev().find_map(|length| self.by_code.get(digits.get(..length)?).copied())
    }

    pub fn get(&self, letters: Letters) -> Option<&Country> {
        self.by_letters.get(&letters)
    }

    /// Whether a rate card may have a row of this name.
    pub fn knows_market(&self, name: &str) -> bool {
        self.by_letters.values().any(|country| country.name == name || country.region == name)
    }
}

/// Two capital letters, or nothing.
pub(super) fn letters(text: &str) -> Option<Letters> {
    let letters: Letters = text.as_bytes().try_into().ok()?;
    letters.iter().all(u8::is_ascii_uppercase).then_some(letters)
}
