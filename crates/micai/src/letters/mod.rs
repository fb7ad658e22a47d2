//! Dead letters in plain words: what killed a message, what would help, and which ways there are to go on. Pure functions over
//! WhatsApp's error table and a table of our own reasons; a row that died long ago is explained with what is known today.

mod reasons;

use serde::Serialize;
use utoipa::ToSchema;
use whatsapp::Verdict;
use whatsapp::error::{ErrorFact, describe};

use crate::domain::letter::{Direction, Letter, LetterGroup, counted};

/// A way to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// Replay it as it is.
    Replay,
    /// Replay it as an approved template.
    ReplayAsTemplate,
    /// Something outside the message has to be put right before a replay can work.
    FixFirst,
    /// Put it away, with a reason.
    Discard,
}

/// Why a message died, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    /// What happened, in plain words.
    pub cause: String,
    /// What to do, in plain words.
    pub repair: String,
    /// The ways to go on, the best first.
    pub repairs: Vec<Repair>,
}

/// A letter with its explanation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedLetter {
    /// The letter.
    #[serde(flatten)]
    pub letter: Letter,
    /// Why, and what would help.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// A group of letters with its explanation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedGroup {
    /// Its name, to list, replay or discard it by.
    #[schema(example = "outbound:131026")]
    pub group: String,
    /// Which way its letters were going.
    pub direction: Direction,
    /// WhatsApp's code, where there is one.
    pub code: Option<i64>,
    /// How many; `10000+` where there are more.
    #[schema(example = "12")]
    pub count: String,
    /// When the oldest was written.
    pub oldest_at: Option<jiff::Timestamp>,
    /// When the youngest was written.
    pub youngest_at: jiff::Timestamp,
    /// Why, and what would help.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The youngest, as an example.
    pub sample: Letter,
}

/// Explains a letter.
pub fn explain_letter(letter: Letter) -> ExplainedLetter {
    let explanation = explain(letter.direction, letter.code, &letter.reason);
    ExplainedLetter { letter, explanation }
}

/// Explains a group.
pub fn explain_group(group: LetterGroup) -> ExplainedGroup {
    let sample = group.sample;
    ExplainedGroup {
        group: group.name.to_string(),
        direction: group.name.direction,
        code: sample.code,
        count: counted(group.count),
        oldest_at: group.oldest_at,
        youngest_at: sample.created_at,
        explanation: explain(group.name.direction, sample.code, &sample.reason),
        sample,
    }
}

/// Why a message died of `code`, or for `reason` where WhatsApp gave no code.
pub fn explain(direction: Direction, code: Option<i64>, reason: &str) -> Explanation {
    let own = |reason: &str| reasons::describe(direction, reason);
    match (code, code.and_then(describe)) {
        (Some(code), Some(fact)) => explain_code(code, fact),
        (Some(code), None) => Explanation {
            cause: format!("WhatsApp's error {code}, which this version does not know."),
            repair: "Read what WhatsApp wrote with it (`detail`); if it was a passing fault, replay it.".to_owned(),
            repairs: vec![Repair::Replay, Repair::ReplayAsTemplate, Repair::Discard],
        },
        (None, _) => own(reason).unwrap_or_else(|| Explanation {
            cause: format!("It was given up on: {reason}."),
            repair: "Read what was written down with it (`detail`), then replay or discard it.".to_owned(),
            repairs: vec![Repair::Replay, Repair::Discard],
        }),
    }
}

fn explain_code(code: i64, fact: &ErrorFact) -> Explanation {
    let repairs = repairs(code, fact.verdict);
    let last = match repairs.first() {
        Some(Repair::Replay) => " Then replay it.",
        Some(Repair::FixFirst) => " When that is done, replay it.",
        Some(Repair::ReplayAsTemplate) => " Replay it with `template`.",
        Some(Repair::Discard) | None => " A replay would fail again: discard it.",
    };
    let name = fact.name;
    let cause = format!("WhatsApp's error {code}: {name}.");
    Explanation { cause, repair: format!("{}{last}", fact.advice), repairs }
}

/// What can be done about a code. A refusal that stays is final for this message to this person; one that concerns settings,
/// the account or the token goes away with its cause.
fn repairs(code: i64, verdict: Verdict) -> Vec<Repair> {
    use Repair::{Discard, FixFirst, Replay, ReplayAsTemplate};
    /// What is wrong with the message or the person, and stays so.
    const FINAL: [i64; 9] = [130_472, 131_021, 131_026, 131_041, 131_050, 131_051, 131_052, 131_053, 137_000];
    /// What is wrong with the template or its parameters.
    const TEMPLATES: std::ops::RangeInclusive<i64> = 132_000..=132_018;
    match verdict {
        Verdict::NeedsTemplate => vec![ReplayAsTemplate, Replay, Discard],
        _ if TEMPLATES.contains(&code) => vec![ReplayAsTemplate, FixFirst, Discard],
        _ if FINAL.contains(&code) => vec![Discard, Replay],
        Verdict::Retry | Verdict::Later { .. } | Verdict::Unknown => vec![Replay, Discard],
        Verdict::Never | Verdict::Pause(_) | Verdict::Auth => vec![FixFirst, Replay, Discard],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_with_a_way_to_go_on() {
        for fact in whatsapp::error::ERROR_FACTS {
            let explained = explain(Direction::Outbound, Some(fact.code), "refused_by_whatsapp");
            assert!(explained.cause.contains(fact.name) && explained.cause.contains(&fact.code.to_string()));
            assert!(explained.repair.starts_with(fact.advice), "{}", explained.repair);
            assert!(explained.repairs.len() >= 2 && explained.repairs.contains(&Repair::Discard), "{explained:?}");
        }
    }

    #[test]
    fn the_first_repair_is_the_one_that_helps() {
        use Repair::{Discard, FixFirst, Replay, ReplayAsTemplate};
        let outbound = Direction::Outbound;
        for (direction, code, reason, first) in [
            (outbound, Some(131_047), "failed_after_acceptance", ReplayAsTemplate),
            (outbound, Some(132_000), "refused_by_whatsapp", ReplayAsTemplate),
            (outbound, Some(132_015), "refused_by_whatsapp", ReplayAsTemplate),
            (outbound, Some(131_026), "failed_after_acceptance", Discard),
            (outbound, Some(130_429), "refused_by_whatsapp", Replay),
            (outbound, Some(131_000), "failed_after_acceptance", Replay),
            (outbound, Some(190), "refused_by_whatsapp", FixFirst),
            (outbound, Some(131_042), "refused_by_whatsapp", FixFirst),
            (outbound, Some(999_999), "refused_by_whatsapp", Replay),
            (outbound, None, "no_access_token", FixFirst),
            (outbound, None, "invalid_message", ReplayAsTemplate),
            (outbound, None, "something_new", Replay),
            (Direction::Inbound, None, "unreadable", FixFirst),
            (Direction::Inbound, None, "turn_failed", Replay),
        ] {
            let explained = explain(direction, code, reason);
            assert_eq!(explained.repairs.first(), Some(&first), "{code:?} {reason}: {explained:?}");
        }
    }
}
