//! Sends whose fate is not known: what speaks for and against, what will happen by itself, and what a person may decide.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::agent::UnknownPolicy;
use crate::ids::{ConversationId, OutboundId};

/// The most that the silence after an attempt, or of its line, adds to the time that a status has. WhatsApp's pauses between tries
/// are not published beyond that they grow; an answer that comes hours late helps nobody either.
const SILENCE_SECONDS_MAX: i64 = 1_800;

/// When a call began of which nothing is known, and since when that was clear: a process that died, or a database that was
/// away, is noticed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostCall {
    /// When the attempt began.
    pub attempted_at: Timestamp,
    /// When its fate was written down as unknown.
    pub unknown_since: Timestamp,
}

impl LostCall {
    /// Until when a status may settle it, if it has `seconds`. They count from when its fate became unknown, and as much again as
    /// that took: what kept us from hearing the answer may have kept us from hearing the status as well, and WhatsApp, whose
    /// pauses between tries grow, may need as long again to tell it.
    pub fn settles_by(self, seconds: i64) -> Timestamp {
        self.unknown_since
            + bounded(self.unknown_since.duration_since(self.attempted_at))
            + SignedDuration::from_secs(seconds)
    }

    /// From when on silence is evidence on a line whose first status of a later send came at `open_since`: until then nothing may
    /// have come through, so what was to come meanwhile has as long again.
    pub fn heard_by(self, open_since: Timestamp) -> Timestamp {
        open_since + bounded(open_since.duration_since(self.attempted_at))
    }
}

fn bounded(silence: SignedDuration) -> SignedDuration {
    silence.clamp(SignedDuration::ZERO, SignedDuration::from_secs(SILENCE_SECONDS_MAX))
}

/// A send whose fate is not known.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownSend {
    /// The row's conversation.
    pub conversation_id: ConversationId,
    /// The row.
    pub id: OutboundId,
    /// The number it went out from.
    pub phone_number_id: String,
    /// Its call.
    pub call: LostCall,
    /// Attempts made so far.
    pub attempts: i32,
    /// How often it was sent again because its fate was unknown.
    pub resends: i32,
    /// Whether its agent leaves such sends to a person.
    pub is_parked: bool,
}

impl UnknownSend {
    /// Whether it is sent once more when silence has become evidence.
    pub fn may_go_again(&self) -> bool {
        self.resends == 0 && !self.is_parked
    }
}

/// What time does with an unknown send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownRules {
    /// How long a status has to settle it.
    pub deadline_seconds: i64,
    /// Whether it is sent once more when silence has become evidence; else it is left to a person.
    pub resends: bool,
    /// How long those behind it in the conversation wait at most: the same for all agents, since it is asked for each message.
    pub others_wait_seconds: i64,
}

impl UnknownRules {
    /// These rules with what an agent decides otherwise.
    #[must_use]
    pub fn of_agent(self, deadline_seconds: Option<i64>, policy: Option<UnknownPolicy>) -> Self {
        Self {
            deadline_seconds: deadline_seconds.unwrap_or(self.deadline_seconds),
            resends: policy.map_or(self.resends, |policy| policy == UnknownPolicy::ResendOnce),
            ..self
        }
    }
}

/// What is known about a number's statuses since an unknown send was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineFacts {
    /// The first status of a send that was attempted later: proof that statuses come through.
    pub open_since: Option<Timestamp>,
    /// The last status of any send of this number, at any time.
    pub last_status_at: Option<Timestamp>,
}

/// Whether statuses of a number come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineState {
    /// Statuses of later sends have arrived: a message that went out would have had one.
    Open,
    /// Nothing has come for any later send: silence says nothing.
    Silent,
}

/// What speaks for and against an unknown send, and what will happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UnknownEvidence {
    /// When the attempt began whose answer never came.
    pub attempted_at: Timestamp,
    /// Until then a status may settle it.
    pub deadline_at: Timestamp,
    /// Those behind it in the conversation go on then, at the latest.
    pub others_wait_until: Timestamp,
    /// Whether that time is over.
    pub deadline_passed: bool,
    /// Whether statuses of later sends from the same number have arrived.
    pub line: LineState,
    /// Open: since the first status of a later send. Silent: since the last status of any send, if there ever was one.
    pub line_since: Option<Timestamp>,
    /// What will happen by itself, and what a person can do.
    pub next: String,
}

/// Weighs what is known about a send whose call was lost and that was sent again `resends` times.
pub fn weigh(call: LostCall, resends: i32, line: LineFacts, rules: UnknownRules, now: Timestamp) -> UnknownEvidence {
    let own_deadline_at = call.settles_by(rules.deadline_seconds);
    let deadline_at = line.open_since.map_or(own_deadline_at, |open| own_deadline_at.max(call.heard_by(open)));
    let deadline_passed = now >= deadline_at;
    let state = if line.open_since.is_some() { LineState::Open } else { LineState::Silent };
    UnknownEvidence {
        attempted_at: call.attempted_at,
        deadline_at,
        deadline_passed,
        others_wait_until: call.settles_by(rules.others_wait_seconds),
        line: state,
        line_since: line.open_since.or(line.last_status_at),
        next: next(deadline_at, deadline_passed, resends, state, rules),
    }
}

fn next(deadline_at: Timestamp, deadline_passed: bool, resends: i32, line: LineState, rules: UnknownRules) -> String {
    if !rules.resends || resends > 0 {
        let why = if resends > 0 { "It was sent again once already" } else { "It is not to be sent again by itself" };
        return format!(
            "{why}: it stays as it is until a status comes. Look at the phone or ask the person, then settle it."
        );
    }
    match (deadline_passed, line) {
        (false, _) => format!(
            "A status has until {deadline_at} to settle it. After that it is sent once more as soon as statuses of later \
             sends show that the line is open."
        ),
        (true, LineState::Open) => {
            "No status came for it although statuses of later sends did: it is sent once more within seconds.".to_owned()
        }
        (true, LineState::Silent) => {
            "No status has come for any later send of this number, so silence proves nothing. It is sent once more when one \
             does; until then it stays as it is. Look at the phone or ask the person, then settle it."
                .to_owned()
        }
    }
}

/// What a person says about an unknown send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It went out.
    Sent,
    /// It did not: once more.
    NotSentSendAgain,
    /// It did not, and it is not to.
    NotSentDiscard,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Sent, Self::NotSentSendAgain, Self::NotSentDiscard];

    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::NotSentSendAgain => "not_sent_send_again",
            Self::NotSentDiscard => "not_sent_discard",
        }
    }
}

/// A person's decision about an unknown send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What they say.
    pub verdict: Verdict,
    /// WhatsApp's id, where they know it; only with [`Verdict::Sent`].
    pub provider_message_id: Option<String>,
    /// How many calls they knew of: refused if there was another since. Not compared when absent.
    pub attempts: Option<i32>,
    /// Why.
    pub reason: String,
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It counts.
    Done,
    /// There is no send of that id.
    NoSuchSend,
    /// A status, the deadline or somebody else was quicker, or it never was unknown.
    NotUnknown,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_happens_next_is_said() {
        let attempted_at = Timestamp::from_second(1_790_000_000).unwrap();
        let at = |seconds| attempted_at + SignedDuration::from_secs(seconds);
        for (now, resends, open_since, may_resend, expected) in [
            (at(0), 0, None, true, "A status has until"),
            (at(119), 0, Some(at(5)), true, "A status has until"),
            (at(120), 0, Some(at(5)), true, "it is sent once more within seconds"),
            (at(120), 0, None, true, "silence proves nothing"),
            (at(120), 1, Some(at(5)), true, "It was sent again once already"),
            (at(0), 0, Some(at(5)), false, "not to be sent again by itself"),
        ] {
            let line = LineFacts { open_since, last_status_at: Some(at(-60)) };
            let rules = UnknownRules { deadline_seconds: 120, resends: may_resend, others_wait_seconds: 120 };
            let call = LostCall { attempted_at, unknown_since: attempted_at };
            let evidence = weigh(call, resends, line, rules, now);
            assert!(evidence.next.contains(expected), "{}", evidence.next);
            assert_eq!(evidence.deadline_passed, now >= at(120));
            assert_eq!(evidence.line_since, open_since.or(Some(at(-60))));
        }
    }

    #[test]
    fn a_status_has_as_long_again_as_nobody_could_hear_it() {
        let attempted_at = Timestamp::from_second(1_790_000_000).unwrap();
        let at = |seconds| attempted_at + SignedDuration::from_secs(seconds);
        for (unknown_since, expected) in [(0, 120), (10, 140), (130, 380), (7_200, 7_200 + 1_800 + 120), (-5, 115)] {
            let call = LostCall { attempted_at, unknown_since: at(unknown_since) };
            assert_eq!(call.settles_by(120), at(expected), "unknown after {unknown_since} s");
        }
        let call = LostCall { attempted_at, unknown_since: at(10) };
        for (open_since, expected) in [(3, 6), (600, 1_200), (7_200, 9_000)] {
            assert_eq!(call.heard_by(at(open_since)), at(expected), "open after {open_since} s");
        }
        let rules = UnknownRules { deadline_seconds: 120, resends: true, others_wait_seconds: 135 };
        let line = LineFacts { open_since: Some(at(600)), last_status_at: Some(at(600)) };
        let evidence = weigh(call, 0, line, rules, at(601));
        assert_eq!((evidence.deadline_at, evidence.deadline_passed), (at(1_200), false));
        assert_eq!(evidence.others_wait_until, at(155));
    }

    #[test]
    fn an_agent_decides_otherwise_or_leaves_it_to_the_installation() {
        let rules = UnknownRules { deadline_seconds: 120, resends: true, others_wait_seconds: 130 };
        for (deadline, policy, expected) in [
            (None, None, (120, true)),
            (Some(30), None, (30, true)),
            (None, Some(UnknownPolicy::Park), (120, false)),
            (Some(900), Some(UnknownPolicy::ResendOnce), (900, true)),
        ] {
            let own = rules.of_agent(deadline, policy);
            assert_eq!((own.deadline_seconds, own.resends, own.others_wait_seconds), (expected.0, expected.1, 130));
        }
    }
}
