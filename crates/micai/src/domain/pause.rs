//! Pauses: what is not sent for the time being, because WhatsApp said so or a person did.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::alert::AlertKind;
use super::outbound::SendError;

/// The most characters of what a person says about a pause.
pub const PAUSE_SENTENCE_CHARACTERS_MAX: usize = 500;
/// The most characters of a number, template or country.
pub const PAUSE_SUBJECT_CHARACTERS_MAX: usize = 512;
/// Pauses at the same time. More are refused to people, and WhatsApp's own refusals still answer.
pub const PAUSES_MAX: usize = 10_000;
/// A pause that ends within this time is waited for in line; for a longer one, or one without an end, sends are held.
const WAIT_SECONDS_MAX: i64 = 900;

/// How far a pause reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseScope {
    /// Everything.
    Account,
    /// Everything from one of our numbers.
    Number,
    /// All templates; plain words go on.
    AccountTemplates,
    /// One template, in one language or in all.
    Template,
    /// People of a country.
    Country,
}

impl PauseScope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Account, Self::Number, Self::AccountTemplates, Self::Template, Self::Country];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Number => "number",
            Self::AccountTemplates => "account_templates",
            Self::Template => "template",
            Self::Country => "country",
        }
    }

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// Whether there is only one of it, so that a pause names no subject.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Account | Self::AccountTemplates)
    }

    /// The alert that goes with a pause of this scope that WhatsApp caused.
    pub fn alert(self, code: Option<i64>) -> AlertKind {
        match (self, code) {
            (Self::Account, Some(0 | 3 | 10 | 190 | 200..=299 | 131_005)) => AlertKind::TokenRejected,
            (Self::Account | Self::AccountTemplates, _) => AlertKind::AccountPaused,
            (Self::Number, _) => AlertKind::NumberPaused,
            (Self::Template, _) => AlertKind::TemplatePaused,
            (Self::Country, _) => AlertKind::CountryPaused,
        }
    }
}

/// What is paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PauseKey {
    /// How far it reaches.
    pub scope: PauseScope,
    /// The number, template or country; empty where there is only one.
    pub subject: String,
}

impl PauseKey {
    /// The key of a subject; of a scope without subjects the same for all.
    pub fn new(scope: PauseScope, subject: &str) -> Self {
        let subject = if scope.is_whole() { "" } else { subject };
        Self { scope, subject: subject.to_owned() }
    }

    /// The key of one template in one language.
    pub fn template(name: &str, language: &str) -> Self {
        Self::new(PauseScope::Template, &format!("{name}/{language}"))
    }
}

impl std::fmt::Display for PauseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.scope.is_whole() {
            true => f.write_str(self.scope.as_str()),
            false => write!(f, "{}:{}", self.scope.as_str(), self.subject),
        }
    }
}

/// What set a pause, which decides what lifts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// A person. Only people lift it, or its end.
    Person,
    /// WhatsApp refused a message. A person lifts it; one of a template also news of that template.
    Refusal,
    /// News of the account or a number. A person lifts it, or better news.
    News,
}

impl PauseCause {
    const ALL: [Self; 3] = [Self::Person, Self::Refusal, Self::News];

    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Refusal => "refusal",
            Self::News => "news",
        }
    }

    /// The cause of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == name)
    }
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What is paused.
    pub key: PauseKey,
    /// What set it.
    pub cause: PauseCause,
    /// WhatsApp's code that caused it, where there is one.
    pub code: Option<i64>,
    /// What happened and what to do, in plain words.
    pub sentence: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; without an end until somebody resumes.
    pub until: Option<Timestamp>,
}

/// What a pause means for a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It ends soon: the send keeps its place.
    Until(Timestamp),
    /// The send is put aside until the pause is over.
    Held(PauseKey, SendError),
}

impl Pause {
    /// Whether it is in force.
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// What it means for a send that it concerns.
    pub fn stops(&self, now: Timestamp) -> Stopped {
        match self.until {
            Some(until) if until <= now + SignedDuration::from_secs(WAIT_SECONDS_MAX) => Stopped::Until(until),
            _ => Stopped::Held(self.key.clone(), self.error()),
        }
    }

    /// Why a send that it concerns is held.
    pub fn error(&self) -> SendError {
        SendError { code: self.code, reason: "paused".to_owned(), detail: self.words() }
    }

    /// What is paused, why, and how it goes on.
    pub fn words(&self) -> String {
        let ends = self.until.map(|until| format!(" It ends by itself at {until}.")).unwrap_or_default();
        format!(
            "Sending is paused ({}). {}{ends} Resume with DELETE /admin/pauses/{}; what is held goes out then.",
            self.key,
            self.sentence,
            self.key.to_string().replace(':', "/"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_pause_is_waited_for_and_a_long_one_puts_aside() {
        let now = Timestamp::UNIX_EPOCH;
        let until = |seconds| Some(now + SignedDuration::from_secs(seconds));
        for (until, waits, is_on) in [
            (until(60), true, true),
            (until(WAIT_SECONDS_MAX), true, true),
            (until(WAIT_SECONDS_MAX + 1), false, true),
            (None, false, true),
            (until(0), true, false),
        ] {
            let key = PauseKey::new(PauseScope::Number, "1");
            let cause = PauseCause::Refusal;
            let pause = Pause { key, cause, code: Some(131_048), sentence: "Wait.".to_owned(), since: now, until };
            assert_eq!(matches!(pause.stops(now), Stopped::Until(_)), waits, "{until:?}");
            assert_eq!(pause.is_on(now), is_on, "{until:?}");
        }
    }

    #[test]
    fn the_words_say_how_to_go_on() {
        let pause = |scope, subject| Pause {
            key: PauseKey::new(scope, subject),
            cause: PauseCause::Person,
            code: None,
            sentence: "It is late.".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            until: None,
        };
        let detail = |scope, subject| pause(scope, subject).error().detail;
        assert!(detail(PauseScope::Template, "order").contains("DELETE /admin/pauses/template/order;"));
        assert!(detail(PauseScope::Template, "order/pt_BR").contains("DELETE /admin/pauses/template/order/pt_BR;"));
        assert!(detail(PauseScope::Account, "x").contains("DELETE /admin/pauses/account;"));
        let ends = Pause { until: Some(Timestamp::UNIX_EPOCH), ..pause(PauseScope::Country, "BR") };
        assert_eq!(
            ends.words(),
            "Sending is paused (country:BR). It is late. It ends by itself at 1970-01-01T00:00:00Z. Resume with DELETE \
             /admin/pauses/country/BR; what is held goes out then."
        );
    }
}
