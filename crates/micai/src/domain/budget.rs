//! Budgets: how much may be spent by whom in which time. Pure: whom a budget covers, and when its period begins and ends.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::agent::AgentId;
use super::outbound::SendError;
use crate::ids::{ContactId, ConversationId, OutboundId};

/// Budgets of an installation; each send is compared with all of them.
pub const BUDGETS_MAX: i64 = 500;
/// The most characters of a budget's id.
pub const BUDGET_ID_CHARACTERS_MAX: usize = 128;
/// The most that a budget may allow, in millionths: a billion of its currency, which no sum can overflow.
pub const BUDGET_LIMIT_MICROS_MAX: i64 = 1_000_000_000_000_000;
/// Part of a budget, in percent, at which the operator is warned.
pub const BUDGET_WARNING_PERCENT: i64 = 80;

/// What a budget is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// Everything that is sent.
    Installation,
    /// What an agent says.
    Agent,
    /// What is said to a contact.
    Contact,
    /// What goes out from one of our numbers.
    Number,
    /// What goes to a country.
    Country,
}

impl BudgetScope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Installation, Self::Agent, Self::Contact, Self::Number, Self::Country];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installation => "installation",
            Self::Agent => "agent",
            Self::Contact => "contact",
            Self::Number => "number",
            Self::Country => "country",
        }
    }

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// How long a budget lasts before it begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// A calendar day.
    Day,
    /// A calendar month.
    Month,
}

impl BudgetPeriod {
    /// Every period.
    pub const ALL: [Self; 2] = [Self::Day, Self::Month];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The period of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == name)
    }
}

/// A budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The operator's name for it.
    pub id: String,
    /// What it is counted by.
    pub scope: BudgetScope,
    /// The agent, contact, number or country; none: each of them has this much for itself.
    pub subject: Option<String>,
    /// How long it lasts.
    pub period: BudgetPeriod,
    /// Whose midnight it begins at: an IANA name; none: UTC.
    pub zone: Option<String>,
    /// Three letters, those of the price table.
    pub currency: String,
    /// How much, in millionths.
    pub limit_micros: i64,
}

/// A calendar day or month as instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub starts_at: Timestamp,
    /// The first instant of the next one.
    pub ends_at: Timestamp,
}

/// Who spends, and on whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spender<'a> {
    /// The agent whose words they are; none for what no agent said.
    pub agent_id: Option<&'a AgentId>,
    /// Whom they are for.
    pub contact_id: ContactId,
    /// The number they go out from.
    pub phone_number_id: &'a str,
    /// Where they go.
    pub country: &'a str,
}

impl Budget {
    /// Under which subject a send counts; nothing when the budget does not concern it.
    pub fn subject_of(&self, spender: &Spender<'_>) -> Option<String> {
        let subject = match self.scope {
            BudgetScope::Installation => String::new(),
            BudgetScope::Agent => spender.agent_id?.0.clone(),
            BudgetScope::Contact => spender.contact_id.to_string(),
            BudgetScope::Number => spender.phone_number_id.to_owned(),
            BudgetScope::Country => spender.country.to_owned(),
        };
        (self.scope == BudgetScope::Installation || self.subject.as_ref().is_none_or(|own| *own == subject))
            .then_some(subject)
    }

    /// The period that `now` lies in.
    pub fn span(&self, now: Timestamp) -> Span {
        let zone = self.zone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        span(self.period, &zone, now)
    }
}

/// The calendar day or month of `zone` that `now` lies in. A day that a change of the clocks makes longer or shorter is one
/// day all the same.
pub fn span(period: BudgetPeriod, zone: &TimeZone, now: Timestamp) -> Span {
    let today = now.to_zoned(zone.clone()).date();
    let (first, step) = match period {
        BudgetPeriod::Day => (today, 1.day()),
        BudgetPeriod::Month => (today.first_of_month(), 1.month()),
    };
    let instant = |date: jiff::civil::Date| date.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
    // Neither fails but at the ends of time; then a day must do.
    let starts_at = instant(first).unwrap_or(now);
    let next = first.checked_add(step).and_then(instant);
    Span { starts_at, ends_at: next.unwrap_or(now + SignedDuration::from_hours(24)) }
}

/// A budget that a send counts against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetClaim {
    /// Which budget.
    pub budget_id: String,
    /// Under which subject.
    pub subject: String,
    /// In which period.
    pub span: Span,
}

/// What a send may cost at most, to be put aside before it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendRequest {
    /// The row's conversation.
    pub conversation_id: ConversationId,
    /// The row: what is put aside is put aside once for each.
    pub outbound_id: OutboundId,
    /// The number it goes out from.
    pub phone_number_id: String,
    /// What it costs if it is billed.
    pub micros: i64,
    /// The currency of the amount.
    pub currency: String,
    /// The free messages that it may be one of.
    pub allowance: Option<Allowance>,
    /// The budgets that it counts against.
    pub claims: Vec<BudgetClaim>,
}

/// The free messages of a number in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The month.
    pub span: Span,
    /// How many there are.
    pub messages_max: i64,
    /// How many are known to be used.
    pub used: i64,
}

/// Whether a send fits into its budgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// The money is put aside, now or by an earlier attempt.
    Reserved,
    /// A budget has not that much left.
    Exceeded(Box<ExceededBudget>),
}

/// Why a send does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceededBudget {
    /// Which budget.
    pub budget_id: String,
    /// The agent, contact, number or country; empty for the whole installation.
    pub subject: String,
    /// Its limit.
    pub limit_micros: i64,
    /// Spent and put aside.
    pub used_micros: i64,
    /// What the send would cost.
    pub micros: i64,
    /// The budget's currency.
    pub currency: String,
    /// The currency of the price table, where that is another one.
    pub priced_in: Option<String>,
    /// When it begins anew.
    pub ends_at: Timestamp,
}

impl ExceededBudget {
    /// Why the send is held, in words for the operator.
    pub fn error(&self) -> SendError {
        let Self { budget_id, ends_at, currency, .. } = self;
        let about = if self.subject.is_empty() { String::new() } else { format!(" (for {})", self.subject) };
        let detail = match &self.priced_in {
            Some(priced_in) => format!(
                "The budget \"{budget_id}\" is in {currency} and the price table in {priced_in}, so nobody can say what is \
                 left of it. Save the budget in {priced_in}, or set MICAI_PRICES_FILE to a table in {currency}; the message \
                 then goes out by itself, as long as its window is open."
            ),
            None => format!(
                "The budget \"{budget_id}\"{about} has {} of {} {currency} left until {ends_at}, and this message may cost \
                 {}. It goes out by itself when the budget is raised or begins anew, as long as its window is open.",
                money(self.limit_micros.saturating_sub(self.used_micros).max(0)),
                money(self.limit_micros),
                money(self.micros),
            ),
        };
        SendError { code: None, reason: "budget_exceeded".to_owned(), detail }
    }

    /// That messages are held, in words for the operator: what happens by itself, and what lets them go now. `name` is the budget's,
    /// with whom it is counted for.
    pub fn notice(&self, name: &str) -> String {
        let Self { budget_id, ends_at, currency, .. } = self;
        match &self.priced_in {
            Some(_) => format!("Messages are held. {}", self.error().detail),
            None => format!(
                "The budget \"{name}\" is spent: {} of {} {currency} is left until {ends_at}, and the next message may cost \
                 {}. What it concerns is held, and goes out by itself when the budget begins anew or money comes back, as \
                 long as the 24-hour window is open. To let it go now, raise the budget: PUT /admin/budgets/{budget_id}.",
                money(self.limit_micros.saturating_sub(self.used_micros).max(0)),
                money(self.limit_micros),
                money(self.micros),
            ),
        }
    }
}

/// An amount of millionths for people, such as 12.5 or 0.0034.
pub fn money(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (whole, parts) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let parts = format!("{parts:06}");
    match parts.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        parts => format!("{sign}{whole}.{parts}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::ids::Ids;

    fn budget(scope: BudgetScope, subject: Option<&str>) -> Budget {
        Budget {
            id: "b".to_owned(),
            scope,
            subject: subject.map(str::to_owned),
            period: BudgetPeriod::Day,
            zone: None,
            currency: "USD".to_owned(),
            limit_micros: 1,
        }
    }

    #[test]
    fn a_budget_covers_its_subject_or_each_one() {
        let agent = AgentId("shop".to_owned());
        let contact = Ids::seeded(1).contact(Timestamp::UNIX_EPOCH);
        let spender = Spender { agent_id: Some(&agent), contact_id: contact, phone_number_id: "900001", country: "BR" };
        let person = contact.to_string();
        for (scope, subject, expected) in [
            (BudgetScope::Installation, None, Some("")),
            (BudgetScope::Agent, None, Some("shop")),
            (BudgetScope::Agent, Some("shop"), Some("shop")),
            (BudgetScope::Agent, Some("other"), None),
            (BudgetScope::Contact, None, Some(person.as_str())),
            (BudgetScope::Contact, Some("somebody"), None),
            (BudgetScope::Number, Some("900001"), Some("900001")),
            (BudgetScope::Number, Some("900002"), None),
            (BudgetScope::Country, Some("BR"), Some("BR")),
            (BudgetScope::Country, Some("DE"), None),
        ] {
            assert_eq!(budget(scope, subject).subject_of(&spender).as_deref(), expected, "{scope:?} {subject:?}");
        }
        let nobody = Spender { agent_id: None, ..spender };
        assert_eq!(budget(BudgetScope::Agent, None).subject_of(&nobody), None, "no agent said it");
    }

    #[test]
    fn periods_begin_at_the_zones_midnight() {
        for (period, zone, now, starts_at, ends_at) in [
            (BudgetPeriod::Day, None, "2026-11-24T13:00:00Z", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"),
            (BudgetPeriod::Month, None, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (
                BudgetPeriod::Day,
                Some("America/Sao_Paulo"),
                "2026-11-24T01:00:00Z",
                "2026-11-23T03:00:00Z",
                "2026-11-24T03:00:00Z",
            ),
            // The clocks go back: a day of 25 hours.
            (
                BudgetPeriod::Day,
                Some("Europe/Berlin"),
                "2026-10-25T12:00:00Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            (
                BudgetPeriod::Month,
                Some("Asia/Kolkata"),
                "2026-11-30T19:00:00Z",
                "2026-11-30T18:30:00Z",
                "2026-12-31T18:30:00Z",
            ),
        ] {
            let budget = Budget { period, zone: zone.map(str::to_owned), ..budget(BudgetScope::Installation, None) };
            let span = budget.span(now.parse().unwrap());
            let expected = Span { starts_at: starts_at.parse().unwrap(), ends_at: ends_at.parse().unwrap() };
            assert_eq!(span, expected, "{period:?} {zone:?} {now}");
        }
    }

    #[test]
    fn money_is_written_without_needless_digits() {
        for (micros, expected) in [
            (0, "0"),
            (1, "0.000001"),
            (3_400, "0.0034"),
            (12_500_000, "12.5"),
            (-1_000_000, "-1"),
            (100_000_000, "100"),
        ] {
            assert_eq!(money(micros), expected);
        }
    }

    proptest! {
        #[test]
        fn an_instant_lies_in_its_period_and_the_next_begins_at_its_end(
            seconds in 1_700_000_000..2_000_000_000_i64,
            month in any::<bool>(),
            zone in prop::sample::select(vec!["UTC", "America/St_Johns", "Pacific/Apia", "Europe/Lisbon", "Asia/Kathmandu"]),
        ) {
            let period = if month { BudgetPeriod::Month } else { BudgetPeriod::Day };
            let zone = TimeZone::get(zone).unwrap();
            let now = Timestamp::from_second(seconds).unwrap();
            let this = span(period, &zone, now);
            prop_assert!(this.starts_at <= now && now < this.ends_at);
            prop_assert_eq!(span(period, &zone, this.starts_at), this);
            prop_assert_eq!(span(period, &zone, this.ends_at).starts_at, this.ends_at);
        }
    }
}
