//! Dead letters: messages that will not move by themselves any more. What they are, in which groups they stand, and which of
//! them may be sent again.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::outbound::MessageBody;

/// Letters that one request may name.
pub const LETTER_IDS_MAX: usize = 1_000;
/// Letters of a group that one request goes through; it says when there are more.
pub const GROUP_LETTERS_MAX: usize = 10_000;
/// A group, or all letters together, is counted no further: a mark says that there are more.
pub const COUNTED_MAX: i64 = 10_000;
/// A letter of this age is replayed only when that is said: what was right to say yesterday may be wrong today.
pub const OLD_AFTER_HOURS: i64 = 24;
/// Characters of the reason that a person gives.
pub const ACTION_REASON_CHARACTERS_MAX: usize = 500;
/// Ids that a report names for each reason; the rest is in the count.
const NAMED_IDS_MAX: usize = 20;

/// Which way a letter was going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From us to a person: WhatsApp did not take it, or could not deliver it.
    Outbound,
    /// From a person to us: no turn over it came to an end.
    Inbound,
}

impl Direction {
    /// The name in the database and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

/// Letters that died of the same thing: WhatsApp's code where there is one, else our own word for the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName {
    /// Which way they were going.
    pub direction: Direction,
    /// Code or reason.
    pub cause: String,
}

impl GroupName {
    /// Reads `outbound:131026`; `None` for what is no such name.
    pub fn parse(name: &str) -> Option<Self> {
        let (direction, cause) = name.split_once(':')?;
        let direction =
            [Direction::Outbound, Direction::Inbound].into_iter().find(|known| known.as_str() == direction)?;
        let fits = !cause.is_empty() && cause.len() <= 200 && !cause.chars().any(char::is_control);
        fits.then(|| Self { direction, cause: cause.to_owned() })
    }

    /// WhatsApp's code, where the group is named by one.
    pub fn code(&self) -> Option<i64> {
        self.cause.parse().ok()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.direction.as_str(), self.cause)
    }
}

/// A dead letter.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Letter {
    /// Its id.
    pub id: Uuid,
    /// Which way it was going.
    pub direction: Direction,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// Whom it was for, or from: a phone number or a user id.
    pub person: String,
    /// The person's profile name.
    pub name: Option<String>,
    /// `text`, …
    pub kind: String,
    /// What it says: the body of a send, the words of a message that came in.
    pub body: serde_json::Value,
    /// WhatsApp's code, where it gave one.
    pub code: Option<i64>,
    /// Our word for what happened.
    pub reason: String,
    /// What happened, as it was written down then.
    pub detail: String,
    /// Calls made, or turns that failed.
    pub attempts: i32,
    /// How often it was replayed.
    pub replays: i32,
    /// When it was written, or reached us.
    pub created_at: Timestamp,
    /// When the person last wrote: the 24-hour window counts from there.
    pub last_inbound_at: Option<Timestamp>,
}

impl Letter {
    /// The group it stands in.
    pub fn group(&self) -> GroupName {
        let cause = self.code.map_or_else(|| self.reason.clone(), |code| code.to_string());
        GroupName { direction: self.direction, cause }
    }
}

/// A group of letters, counted.
#[derive(Debug, Clone)]
pub struct LetterGroup {
    /// Its name.
    pub name: GroupName,
    /// How many, up to [`COUNTED_MAX`] and one more.
    pub count: i64,
    /// When the oldest was written.
    pub oldest_at: Option<Timestamp>,
    /// The youngest one, as an example.
    pub sample: Letter,
}

/// A count that goes no further than [`COUNTED_MAX`]: `10000+` says that there are more.
pub fn counted(count: i64) -> String {
    if count > COUNTED_MAX { format!("{COUNTED_MAX}+") } else { count.to_string() }
}

/// Which letters somebody means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// These, at most [`LETTER_IDS_MAX`].
    Ids(Vec<Uuid>),
    /// All of a group, the oldest first, at most [`GROUP_LETTERS_MAX`] at a time.
    Group(GroupName),
}

/// A letter with what decides whether it may go again.
#[derive(Debug, Clone)]
pub struct Replayable {
    /// The letter.
    pub letter: Letter,
    /// A status said that the person has it, whatever was said before.
    pub was_delivered: bool,
    /// The person wants nothing from us, and this letter does not confirm that.
    pub is_opted_out: bool,
}

/// What somebody says about a replay.
#[derive(Debug, Clone)]
pub struct ReplayTerms {
    /// Only say what would happen.
    pub dry_run: bool,
    /// Letters older than [`OLD_AFTER_HOURS`] go, too.
    pub older_than_ok: bool,
    /// What goes out in place of plain words that the window no longer lets through.
    pub template: Option<MessageBody>,
    /// The template takes the place of all, also of those that could go as they are.
    pub template_for_all: bool,
    /// How long after a person's last message plain words may be sent, the sender's margin taken off.
    pub window_seconds: i64,
    /// The present.
    pub now: Timestamp,
}

/// What a replay does with a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayFate {
    /// It goes as it is.
    AsIs,
    /// It goes as the template.
    AsTemplate,
    /// It goes, and waits at the door until the person writes again.
    Held,
    /// It stays where it is.
    Refused(Obstacle),
}

/// Why a letter is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// It has been replayed, discarded or settled meanwhile, or never was one.
    NotALetter,
    /// The person has it.
    WasDelivered,
    /// The person said STOP.
    OptedOut,
    /// Nobody said that old ones may go.
    TooOld,
}

impl Obstacle {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotALetter => "not_a_letter",
            Self::WasDelivered => "was_delivered",
            Self::OptedOut => "opted_out",
            Self::TooOld => "too_old",
        }
    }

    fn why(self) -> String {
        match self {
            Self::NotALetter => {
                "No dead letter of this id is there, or somebody else is moving it at this moment: look at \
                 GET /admin/outbound/{id}."
                    .to_owned()
            }
            Self::WasDelivered => "A status says that the person has it: discard it.".to_owned(),
            Self::OptedOut => {
                "The person has said STOP and hears nothing from us until they say START: discard it.".to_owned()
            }
            Self::TooOld => format!(
                "Older than {OLD_AFTER_HOURS} hours: read whether it is still right to say, then give `older_than_ok`."
            ),
        }
    }
}

/// What becomes of one letter in a replay.
pub fn replay_fate(candidate: &Replayable, terms: &ReplayTerms) -> ReplayFate {
    let letter = &candidate.letter;
    if candidate.was_delivered {
        return ReplayFate::Refused(Obstacle::WasDelivered);
    }
    if candidate.is_opted_out && letter.direction == Direction::Outbound {
        return ReplayFate::Refused(Obstacle::OptedOut);
    }
    let age = terms.now.duration_since(letter.created_at);
    if age > SignedDuration::from_hours(OLD_AFTER_HOURS) && !terms.older_than_ok {
        return ReplayFate::Refused(Obstacle::TooOld);
    }
    if letter.direction == Direction::Inbound {
        return ReplayFate::AsIs;
    }
    if terms.template.is_some() && terms.template_for_all {
        return ReplayFate::AsTemplate;
    }
    let window = SignedDuration::from_secs(terms.window_seconds);
    let is_open = letter.last_inbound_at.is_some_and(|last| terms.now < last + window);
    // A template needs no window.
    if is_open || letter.kind == "template" {
        return ReplayFate::AsIs;
    }
    if terms.template.is_some() { ReplayFate::AsTemplate } else { ReplayFate::Held }
}

/// What a replay or a discard did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RepairReport {
    /// Nothing was changed: this is what would happen.
    pub dry_run: bool,
    /// Letters looked at.
    pub looked_at: usize,
    /// Of these, how many moved: queued again, or put away.
    pub moved: usize,
    /// Of those that moved, how many as the template.
    pub as_template: usize,
    /// Of those that moved, how many wait until the person writes again.
    pub held: usize,
    /// Letters that were left alone, by reason.
    pub refused: Vec<RefusedLetters>,
    /// What to know and what to do.
    pub notes: Vec<String>,
    /// The group holds more letters than one request goes through: ask again for the rest.
    pub more: bool,
}

/// Letters that were left alone for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RefusedLetters {
    /// `not_a_letter`, `was_delivered`, `opted_out` or `too_old`.
    pub reason: String,
    /// How many.
    pub count: usize,
    /// Why, and what to do.
    pub why: String,
    /// Some of them.
    pub ids: Vec<Uuid>,
}

impl RepairReport {
    /// A letter was left alone.
    pub fn refuse(&mut self, obstacle: Obstacle, id: Uuid) {
        let place = match self.refused.iter().position(|refused| refused.reason == obstacle.as_str()) {
            Some(place) => place,
            None => {
                let reason = obstacle.as_str().to_owned();
                self.refused.push(RefusedLetters { reason, count: 0, why: obstacle.why(), ids: Vec::new() });
                self.refused.len() - 1
            }
        };
        if let Some(refused) = self.refused.get_mut(place) {
            refused.count += 1;
            if refused.ids.len() < NAMED_IDS_MAX {
                refused.ids.push(id);
            }
        }
    }

    /// A letter moved, or would move.
    pub fn count_moved(&mut self, fate: ReplayFate) {
        self.moved += 1;
        match fate {
            ReplayFate::AsTemplate => self.as_template += 1,
            ReplayFate::Held => self.held += 1,
            ReplayFate::AsIs | ReplayFate::Refused(_) => {}
        }
    }

    /// Adds what the counts mean.
    pub fn conclude(mut self, repeat_with: &str) -> Self {
        if self.held > 0 {
            self.notes.push(format!(
                "{} of them are outside the 24-hour window: give `template` to send them as that template, or they will \
                 be held until the person writes.",
                self.held
            ));
        }
        if self.more {
            self.notes.push(format!(
                "The group holds more than {GROUP_LETTERS_MAX} letters: the same request again takes the rest."
            ));
        }
        if self.dry_run && self.moved > 0 {
            self.notes.push(format!("Nothing was changed. {repeat_with}"));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;

    fn terms() -> ReplayTerms {
        ReplayTerms {
            dry_run: true,
            older_than_ok: false,
            template: None,
            template_for_all: false,
            window_seconds: DAY,
            now: Timestamp::from_second(1_790_000_000).unwrap(),
        }
    }

    fn letter(written_seconds_ago: i64, last_inbound_seconds_ago: Option<i64>) -> Replayable {
        let now = terms().now;
        let ago = |seconds| now - SignedDuration::from_secs(seconds);
        let letter = Letter {
            id: Uuid::nil(),
            direction: Direction::Outbound,
            conversation_id: Uuid::nil(),
            person: "551".to_owned(),
            name: None,
            kind: "text".to_owned(),
            body: serde_json::Value::Null,
            code: Some(131_026),
            reason: "refused_by_whatsapp".to_owned(),
            detail: String::new(),
            attempts: 1,
            replays: 0,
            created_at: ago(written_seconds_ago),
            last_inbound_at: last_inbound_seconds_ago.map(ago),
        };
        Replayable { letter, was_delivered: false, is_opted_out: false }
    }

    #[test]
    fn age_window_and_template_decide_together() {
        use Obstacle::TooOld;
        use ReplayFate::{AsIs, AsTemplate, Held, Refused};
        let template = MessageBody::Text { text: "in place of the letter".to_owned() };
        for (written_ago, last_ago, older_than_ok, with_template, for_all, expected) in [
            (HOUR, Some(HOUR), false, false, false, AsIs),
            (HOUR, Some(HOUR), false, true, false, AsIs),
            (HOUR, Some(HOUR), false, true, true, AsTemplate),
            (HOUR, Some(DAY), false, false, false, Held),
            (HOUR, None, false, false, false, Held),
            (HOUR, Some(DAY), false, true, false, AsTemplate),
            (DAY, Some(DAY - 1), false, false, false, AsIs),
            (DAY + 1, Some(0), false, false, false, Refused(TooOld)),
            (DAY + 1, Some(0), true, false, false, AsIs),
            (9 * DAY, Some(9 * DAY), true, true, false, AsTemplate),
        ] {
            let terms = ReplayTerms {
                older_than_ok,
                template: with_template.then(|| template.clone()),
                template_for_all: for_all,
                ..terms()
            };
            let fate = replay_fate(&letter(written_ago, last_ago), &terms);
            assert_eq!(fate, expected, "{written_ago} {last_ago:?} {older_than_ok} {with_template} {for_all}");
        }
    }

    #[test]
    fn what_arrived_and_who_said_stop_come_before_everything_else() {
        let terms = ReplayTerms { older_than_ok: true, ..terms() };
        let open = letter(0, Some(0));
        let delivered = Replayable { was_delivered: true, is_opted_out: true, ..open.clone() };
        assert_eq!(replay_fate(&delivered, &terms), ReplayFate::Refused(Obstacle::WasDelivered));
        let opted_out = Replayable { is_opted_out: true, ..open.clone() };
        assert_eq!(replay_fate(&opted_out, &terms), ReplayFate::Refused(Obstacle::OptedOut));
        // What a person wrote to us is read, whatever they want to hear.
        let mut inbound = opted_out;
        inbound.letter.direction = Direction::Inbound;
        inbound.letter.last_inbound_at = None;
        assert_eq!(replay_fate(&inbound, &terms), ReplayFate::AsIs);
        let mut template = letter(0, None);
        template.letter.kind = "template".to_owned();
        assert_eq!(replay_fate(&template, &terms), ReplayFate::AsIs, "a template needs no window");
    }

    #[test]
    fn group_names_are_read_as_they_are_written() {
        for name in ["outbound:131026", "inbound:turn_failed", "outbound:a:b"] {
            assert_eq!(GroupName::parse(name).unwrap().to_string(), name);
        }
        assert_eq!(GroupName::parse("outbound:131026").unwrap().code(), Some(131_026));
        for name in ["", "outbound", "outbound:", "sideways:1", "inbound:a\nb", &format!("inbound:{}", "x".repeat(201))]
        {
            assert_eq!(GroupName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_report_counts_everything_and_names_some() {
        let mut report = RepairReport { dry_run: true, ..RepairReport::default() };
        for number in 0..30 {
            report.refuse(Obstacle::TooOld, Uuid::from_u128(number));
        }
        report.refuse(Obstacle::OptedOut, Uuid::nil());
        report.count_moved(ReplayFate::Held);
        let report = report.conclude("Give `dry_run: false`.");
        assert_eq!((report.refused[0].count, report.refused[0].ids.len()), (30, NAMED_IDS_MAX));
        assert_eq!(report.refused.len(), 2);
        assert!(report.notes[0].starts_with("1 of them are outside the 24-hour window"), "{:?}", report.notes);
        assert!(report.notes[1].contains("dry_run: false"), "{:?}", report.notes);
        assert_eq!((counted(COUNTED_MAX), counted(COUNTED_MAX + 1)), ("10000".into(), "10000+".into()));
    }
}
