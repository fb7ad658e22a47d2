//! The price table: what each market charges for each category, read from a rate card.

use std::collections::{BTreeMap, BTreeSet};

use super::countries::Countries;
use super::csv::{self, Row};
use super::{Category, FREE_SERVICE_MESSAGES_PER_MONTH};

const PRICES: &str = include_str!("../../data/prices.csv");
/// The most bytes of a rate card; Meta's have about four thousand.
pub const PRICES_FILE_BYTES_MAX: u64 = 262_144;
/// Rows of a rate card.
const MARKETS_MAX: usize = 300;
/// Faults that are told at once.
const FAULTS_MAX: usize = 20;
/// A rate above this, in millionths, is a slip: none is as much as 10,000 of any currency.
const RATE_MICROS_MAX: i64 = 10_000_000_000;
/// Digits behind the point.
const DECIMALS_MAX: usize = 6;
/// Characters of a comment that are kept to be shown.
const REMARK_CHARACTERS_MAX: usize = 500;
/// The most free messages that a table may give.
const FREE_SERVICE_MESSAGES_MAX: i64 = 1_000_000;
/// The market of every country that is in no other one.
const OTHER: &str = "Other";
/// The names that each column may have, in letters and digits alone; the first two must be there.
const COLUMNS: [&str; 7] =
    ["market", "currency", "marketing", "utility", "authentication", "authenticationinternational", "service"];

/// What is wrong with a rate card, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the prices cannot be used:\n  - {}", .0.join("\n  - "))]
pub struct PricesError(Vec<String>);

impl PricesError {
    pub(super) fn one(sentence: String) -> Self {
        Self(vec![sentence])
    }

    /// The sentences.
    pub fn sentences(&self) -> &[String] {
        &self.0
    }
}

/// What messages cost, in one currency.
#[derive(Debug, Clone)]
pub struct PriceTable {
    pub(super) countries: Countries,
    /// By the market's name.
    pub(super) markets: BTreeMap<String, Rates>,
    /// Each category where it costs most: for recipients whose country is not known.
    pub(super) dearest: Rates,
    currency: String,
    effective_from: Option<String>,
    source: Option<String>,
    unconfirmed: BTreeSet<String>,
    free_service_messages: i64,
}

/// The rates of a market, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rates {
    marketing: i64,
    utility: i64,
    authentication: i64,
    authentication_international: Option<i64>,
    service: Option<i64>,
}

impl Rates {
    pub fn of(&self, category: Category) -> i64 {
        match category {
            Category::Marketing => self.marketing,
            Category::Utility => self.utility,
            Category::Authentication => self.authentication,
            Category::AuthenticationInternational => self.authentication_international.unwrap_or(self.authentication),
            // Where a card does not name it: billed as utility.
            Category::Service => self.service.unwrap_or(self.utility),
        }
    }

    /// What costs most here: for categories that WhatsApp bills and this program does not know.
    pub fn dearest(&self) -> i64 {
        Category::ALL.into_iter().map(|category| self.of(category)).max().unwrap_or_default()
    }

    fn or_dearer(self, other: Self) -> Self {
        let dearer = |category| self.of(category).max(other.of(category));
        Self {
            marketing: dearer(Category::Marketing),
            utility: dearer(Category::Utility),
            authentication: dearer(Category::Authentication),
            authentication_international: Some(dearer(Category::AuthenticationInternational)),
            service: Some(dearer(Category::Service)),
        }
    }
}

impl PriceTable {
    /// The table that is compiled in.
    ///
    /// # Errors
    /// Never, as the tests of this module see to.
    pub fn compiled_in() -> Result<Self, PricesError> {
        Self::parse(PRICES, "the compiled-in table")
    }

    /// Reads a rate card: a CSV text with the columns of Meta's own (`Market,Currency,Marketing,…`). What stands before
    /// that row is kept as a remark; `# key: value` lines there may give `effective_from`, `source`, `unconfirmed` (markets
    /// with commas between) and `free_service_messages` (of a number in a month). `named` is how sentences name the text.
    ///
    /// # Errors
    /// A sentence for each fault, with its line.
    pub fn parse(text: &str, named: &str) -> Result<Self, PricesError> {
        let rows = csv::rows(text);
        let Some(head) = rows.iter().position(|row| squeezed(&row.fields[0]) == COLUMNS[0]) else {
            return Err(PricesError::one(format!(
                "{named} has no row that begins with Market: it must have the columns of Meta's rate cards, \
                 Market,Currency,Marketing,Utility,Authentication,Authentication-International,Service."
            )));
        };
        let mut reader = Reader { named, countries: Countries::compiled_in()?, faults: Vec::new() };
        let (preamble, rows) = rows.split_at(head);
        let columns = reader.columns(&rows[0]);
        let (mut markets, mut currency) = (BTreeMap::new(), None);
        for row in &rows[1..] {
            if reader.faults.len() < FAULTS_MAX {
                reader.market(row, &columns, &mut currency, &mut markets);
            }
        }
        if reader.faults.is_empty() && !markets.contains_key(OTHER) {
            reader
                .faults
                .push(format!("{named} has no row for the market {OTHER}, which all remaining countries need."));
        }
        let remarks = Remarks::read(preamble);
        for name in remarks.unconfirmed.iter().filter(|name| !markets.contains_key(*name)) {
            reader.faults.push(format!("{named} calls the market \"{name}\" unconfirmed and has no row for it."));
        }
        let free_service_messages = remarks.free_service_messages();
        if free_service_messages.is_none() {
            reader.faults.push(format!(
                "{named} gives free_service_messages that are no whole number from 0 to {FREE_SERVICE_MESSAGES_MAX}."
            ));
        }
        match (reader.faults.is_empty(), currency) {
            (true, Some(currency)) => Ok(Self {
                dearest: markets.values().copied().fold(Rates::default(), Rates::or_dearer),
                countries: reader.countries,
                markets,
                currency,
                effective_from: remarks.effective_from,
                source: remarks.source,
                unconfirmed: remarks.unconfirmed,
                free_service_messages: free_service_messages.unwrap_or(FREE_SERVICE_MESSAGES_PER_MONTH),
            }),
            _ => Err(PricesError(reader.faults)),
        }
    }

    /// Three letters.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Since when these are the rates, where the card says so.
    pub fn effective_from(&self) -> Option<&str> {
        self.effective_from.as_deref()
    }

    /// Where they are from, where the card says so.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// How many service messages of a number are free in a calendar month.
    pub fn free_service_messages(&self) -> i64 {
        self.free_service_messages
    }

    /// Whether the card itself calls the rates of a market unconfirmed.
    pub(super) fn is_unconfirmed(&self, market: &str) -> bool {
        self.unconfirmed.contains(market)
    }

    /// The market of that name with its rates, or the one of all remaining countries.
    pub(super) fn market<'a>(&'a self, names: [&'a str; 2]) -> (&'a str, Rates) {
        let found = names.into_iter().find_map(|name| self.markets.get(name).map(|rates| (name, *rates)));
        // A table without it is not made.
        found.unwrap_or((OTHER, self.markets.get(OTHER).copied().unwrap_or(self.dearest)))
    }
}

struct Reader<'a> {
    named: &'a str,
    countries: Countries,
    faults: Vec<String>,
}

/// Where each of [`COLUMNS`] stands.
type Columns = [Option<usize>; COLUMNS.len()];

impl Reader<'_> {
    fn fault(&mut self, row: &Row, sentence: &str) {
        self.faults.push(format!("{}, line {}: {sentence}.", self.named, row.line));
    }

    fn columns(&mut self, head: &Row) -> Columns {
        let mut columns = Columns::default();
        for (place, field) in head.fields.iter().enumerate() {
            match COLUMNS.iter().position(|name| *name == squeezed(field)) {
                Some(column) => columns[column] = Some(place),
                None if field.is_empty() => {}
                None => self.fault(head, &format!("the column \"{field}\" is not known; remove it")),
            }
        }
        for name in COLUMNS.iter().zip(columns).take(5).filter(|(_, place)| place.is_none()).map(|(name, _)| name) {
            self.fault(head, &format!("the column {name} is missing"));
        }
        columns
    }

    fn market(
        &mut self,
        row: &Row,
        columns: &Columns,
        currency: &mut Option<String>,
        markets: &mut BTreeMap<String, Rates>,
    ) {
        let field = |column: usize| columns[column].and_then(|place| row.fields.get(place)).map_or("", String::as_str);
        let name = field(0);
        if name.starts_with('#') {
            return;
        }
        if !self.countries.knows_market(name) {
            return self.fault(row, &format!("the market \"{name}\" is not known; take a name of Meta's list"));
        }
        if markets.len() >= MARKETS_MAX {
            return self.fault(row, &format!("it is one market too many; at most {MARKETS_MAX} are read"));
        }
        let own = field(1).strip_prefix('$').map_or_else(|| field(1).to_owned(), |rest| format!("{rest}D"));
        if own.len() != 3 || !own.bytes().all(|letter| letter.is_ascii_uppercase()) {
            return self
                .fault(row, &format!("the currency \"{}\" of {name} must be three letters, such as USD", field(1)));
        }
        let first = currency.get_or_insert_with(|| own.clone());
        if *first != own {
            let sentence = format!("{name} is in {own} and the rows before it in {first}; a table has one currency");
            return self.fault(row, &sentence);
        }
        let mut rates = [None; 5];
        for (place, rate) in rates.iter_mut().enumerate() {
            let text = field(place + 2);
            *rate = match micros(text) {
                Ok(rate) => rate,
                Err(why) => {
                    return self
                        .fault(row, &format!("{} of {name} is \"{text}\"; it must be {why}", COLUMNS[place + 2]));
                }
            };
        }
        let [Some(marketing), Some(utility), Some(authentication), authentication_international, service] = rates
        else {
            return self.fault(row, &format!("{name} lacks marketing, utility or authentication"));
        };
        let rates = Rates { marketing, utility, authentication, authentication_international, service };
        if markets.insert(name.to_owned(), rates).is_some() {
            self.fault(row, &format!("{name} stands in it twice"));
        }
    }
}

/// An amount with at most six digits behind the point, in millionths; nothing for `n/a` and an empty field.
fn micros(text: &str) -> Result<Option<i64>, String> {
    if text.is_empty() || text.eq_ignore_ascii_case("n/a") {
        return Ok(None);
    }
    let wrong = || format!("an amount such as 0.0034, or n/a, with at most {DECIMALS_MAX} digits behind the point");
    let (whole, parts) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || parts.len() > DECIMALS_MAX || !are_digits(whole) || !are_digits(parts) {
        return Err(wrong());
    }
    let micros: i64 = format!("{whole}{parts:0<DECIMALS_MAX$}").parse().map_err(|_| wrong())?;
    match micros <= RATE_MICROS_MAX {
        true => Ok(Some(micros)),
        false => Err(format!("at most {}", RATE_MICROS_MAX / 1_000_000)),
    }
}

/// What stands before the rows.
#[derive(Default)]
struct Remarks {
    effective_from: Option<String>,
    source: Option<String>,
    unconfirmed: BTreeSet<String>,
    free_service_messages: Option<String>,
}

impl Remarks {
    /// Nothing where the remark is no number that makes sense.
    fn free_service_messages(&self) -> Option<i64> {
        let Some(text) = &self.free_service_messages else { return Some(FREE_SERVICE_MESSAGES_PER_MONTH) };
        text.parse().ok().filter(|number| (0..=FREE_SERVICE_MESSAGES_MAX).contains(number))
    }

    fn read(preamble: &[Row]) -> Self {
        let mut remarks = Self::default();
        for row in preamble {
            let line = row.fields.join(", ");
            let line: String = line.trim_end_matches([',', ' ']).chars().take(REMARK_CHARACTERS_MAX).collect();
            let remark = line.strip_prefix('#').and_then(|line| line.split_once(':'));
            match remark.map(|(key, value)| (key.trim(), value.trim())) {
                Some(("effective_from", value)) => remarks.effective_from = Some(value.to_owned()),
                Some(("source", value)) => remarks.source = Some(value.to_owned()),
                Some(("free_service_messages", value)) => remarks.free_service_messages = Some(value.to_owned()),
                Some(("unconfirmed", value)) => {
                    remarks.unconfirmed = value.split(',').map(|name| name.trim().to_owned()).collect();
                }
                // Meta's own first line says what it is and since when.
                None if !line.starts_with('#') => {
                    remarks.source.get_or_insert(line);
                }
                _ => {}
            }
        }
        remarks
    }
}

/// A column's name in letters and digits alone.
fn squeezed(field: &str) -> String {
    field.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}
