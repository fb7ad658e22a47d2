//! Time zones: from what people call the place where they are, and from their phone's country where that has one time.

use std::collections::HashMap;

use jiff::tz::{self, TimeZone};

use super::language::ReminderWordsError;
use super::pattern::Phrases;
use super::tokens::{Token, tokens};
use crate::domain::contact::{Address, AddressKind};

const CALLING_ZONES: &str = include_str!("../../../data/reminders/calling_zones.csv");
const PLACES: &str = include_str!("../../../data/reminders/places.csv");
/// Digits of the longest calling code in the table: +1 with an area code.
const CALLING_CODE_DIGITS_MAX: usize = 4;
/// What stands for a name that means several zones.
pub(super) const SEVERAL: &str = "";
/// Parts of the IANA database that name no places.
const NO_PLACES: [&str; 5] = ["Etc/", "SystemV/", "US/", "posix/", "right/"];

#[derive(Debug, Clone)]
struct Named {
    zone: String,
    is_code: bool,
}

/// What is known about zones.
pub(super) struct Zones {
    names: Phrases<Named>,
    by_calling_code: HashMap<String, String>,
    by_country: HashMap<String, String>,
}

/// What a name of a place comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// This zone.
    One(String),
    /// Several places are called so.
    Several,
    /// No place that is known.
    Unknown,
}

impl Zones {
    /// The tables that are compiled in, and the names of the IANA database.
    pub fn compiled_in() -> Result<Self, ReminderWordsError> {
        let mut zones = Self { names: Phrases::default(), by_calling_code: HashMap::new(), by_country: HashMap::new() };
        // Names of our own first: of two of one length the first counts.
        for (line, fields) in rows(PLACES, 3)? {
            let [name, zone, kind] = fields.as_slice() else { continue };
            known(line, zone)?;
            zones.names.add(name, Named { zone: (*zone).to_owned(), is_code: *kind == "code" });
        }
        for name in tz::db().available() {
            let name = name.as_str();
            if !name.contains('/') || NO_PLACES.iter().any(|part| name.starts_with(part)) {
                continue;
            }
            let named = |is_code| Named { zone: name.to_owned(), is_code };
            zones.names.add(name, named(true));
            if let Some(place) = name.rsplit('/').next() {
                zones.names.add(&place.replace('_', " "), named(false));
            }
        }
        for (line, fields) in rows(CALLING_ZONES, 3)? {
            let [code, country, zone] = fields.as_slice() else { continue };
            known(line, zone)?;
            zones.by_calling_code.insert((*code).to_owned(), (*zone).to_owned());
            zones.by_country.insert((*country).to_owned(), (*zone).to_owned());
        }
        Ok(zones)
    }

    /// The longest name that begins at a place; for a code only such as go with a time of the day.
    pub fn longest(&self, tokens: &[Token], at: usize, is_code: bool) -> Option<(usize, String)> {
        let mut best: Option<(usize, String)> = None;
        for (end, named) in self.names.all(tokens, at).filter(|(_, named)| !is_code || named.is_code) {
            if best.as_ref().is_none_or(|(known, _)| end > *known) {
                best = Some((end, named.zone));
            }
        }
        best
    }

    /// The zone of a place, by what all of the words call it.
    pub fn place(&self, words: &[Token]) -> Place {
        match self.longest(words, 0, false).filter(|(end, _)| *end == words.len()) {
            Some((_, zone)) if zone == SEVERAL => Place::Several,
            Some((_, zone)) => Place::One(zone),
            None => Place::Unknown,
        }
    }

    /// The zone of a phone's country, if all of it keeps the same time.
    pub fn of_address(&self, address: &Address) -> Option<&str> {
        let zone = match address.kind {
            AddressKind::Phone => {
                let digits = address.value.strip_prefix('+').unwrap_or(&address.value);
                (1..=CALLING_CODE_DIGITS_MAX).rev().find_map(|length| self.by_calling_code.get(digits.get(..length)?))
            }
            AddressKind::Bsuid | AddressKind::ParentBsuid => self.by_country.get(address.value.split('.').next()?),
        };
        zone.map(String::as_str)
    }
}

fn known(line: usize, zone: &str) -> Result<(), ReminderWordsError> {
    match zone == SEVERAL || TimeZone::get(zone).is_ok() {
        true => Ok(()),
        false => Err(ReminderWordsError(vec![format!(
            "Line {line} of a table of zones names {zone:?}, which there is not."
        )])),
    }
}

/// The rows of a table below its heading.
fn rows(table: &str, fields: usize) -> Result<Vec<(usize, Vec<&str>)>, ReminderWordsError> {
    let mut rows = Vec::new();
    let lines = table.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    for (number, line) in lines.skip(1) {
        let row: Vec<&str> = line.split(',').collect();
        if row.len() != fields {
            let fault = format!("Line {} of a table of zones has not {fields} fields.", number + 1);
            return Err(ReminderWordsError(vec![fault]));
        }
        rows.push((number + 1, row));
    }
    Ok(rows)
}

/// The tokens of a name.
pub(super) fn named(place: &str) -> Vec<Token> {
    tokens(place)
}
