//! A turn: from the messages that waited to replies and effects. The one parent function of everything an agent does.

mod steering;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::CompiledAgent;
use super::answer::{Answer, Spoken, answer};
use super::consent::{self, ConsentWords, Standing};
use super::control::ControlWords;
use super::tools::{Desk, Tools, reminders};
use super::triggers::{Gate, GateOutcome, normalise};
use crate::domain::agent::StalePolicy;
use crate::domain::consent::ConsentSource;
use crate::domain::contact::Address;
use crate::domain::control::ControlWish;
use crate::domain::conversation::{ConversationMode, HandoverRules, ModeState};
use crate::domain::inbound::{InboundState, MessageNature, PendingMessage};
use crate::domain::outbound::{MessageBody, cut};
use crate::domain::person::PersonFacts;
use crate::domain::question::OpenQuestion;
use crate::domain::rule::REPLY_CHARACTERS_MAX;
use crate::domain::tool::ToolName;
use crate::domain::turn::{Claim, Decision, Effect, MessageTrace, TurnTrace};
use crate::ids::InboundId;
use steering::Steered;

pub use super::answer::FALLBACK_REPLY;

/// Characters of a message that rules look at; WhatsApp's limit of a text body.
pub const MATCHED_CHARACTERS_MAX: usize = 4_096;
/// What stands before an answer to a message that waited too long.
pub const APOLOGY_PREFIX: &str = "Sorry for the late answer. ";

/// What a turn is made from.
pub struct TurnInput<'a> {
    /// Who answers.
    pub agent: &'a CompiledAgent,
    /// Whether messages must begin with an invoke prefix.
    pub gate: &'a Gate,
    /// The words by which people stop us.
    pub consent: &'a ConsentWords,
    /// The words by which people steer the conversation itself.
    pub control: &'a ControlWords,
    /// How conversations are handed to people.
    pub handover: HandoverRules,
    /// Who speaks for the business in this conversation, as it was last set.
    pub mode: ModeState,
    /// Since when the person wants nothing from us.
    pub opted_out_at: Option<Timestamp>,
    /// How the person said that they want no marketing from us, if they did.
    pub marketing_stopped_by: Option<ConsentSource>,
    /// Whether the person is blocked: nothing of theirs is looked at.
    pub is_blocked: bool,
    /// What waits, oldest first.
    pub pending: &'a [PendingMessage],
    /// What was asked last in this conversation, if an answer may still come.
    pub question: Option<&'a OpenQuestion>,
    /// What is known about the person, where [`needs_facts`] asked for it.
    pub facts: Option<&'a PersonFacts>,
    /// What tools reach.
    pub tools: &'a Tools,
    /// WhatsApp's window: an answer to a message older than this could not be sent as plain words anyway.
    pub window_seconds: i64,
    /// The present.
    pub now: Timestamp,
}

/// What to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// To whom.
    pub to: Address,
    /// What.
    pub body: MessageBody,
    /// The message that it answers, by WhatsApp's id.
    pub answers: String,
    /// Confirms an opt-out.
    pub ignores_opt_out: bool,
}

/// What a turn comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TurnOutcome {
    /// What to say, in order.
    pub replies: Vec<Reply>,
    /// What else to change.
    pub effects: Vec<Effect>,
    /// Where each message stands now.
    pub states: Vec<(InboundId, InboundState)>,
    /// Why.
    pub trace: TurnTrace,
}

/// Whether a turn over what was claimed needs [`PersonFacts`]. Most do not, and nothing is read for them.
pub fn needs_facts(claim: &Claim, gate: &Gate, control: &ControlWords) -> bool {
    // Where somebody is who shares their location as an answer: their phone tells which units they are used to.
    let shares_location = || claim.question.is_some() && claim.pending.iter().any(|message| message.location.is_some());
    let asks_for_agents = |message: &PendingMessage| {
        let normalised =
            normalise(&first_characters(message.text.as_deref().unwrap_or_default(), MATCHED_CHARACTERS_MAX));
        let wishes = [ControlWish::Help, ControlWish::Agents, ControlWish::Switch];
        steering::heard(control, gate, message, &normalised).is_some_and(|heard| wishes.contains(&heard.wish))
    };
    shares_location() || claim.pending.iter().any(asks_for_agents)
}

/// Whether a turn over what was claimed needs the person's reminders, which are read together with [`PersonFacts`]. Where the
/// agent lists no tool for them, nobody's words are looked at.
pub fn needs_reminders(
    claim: &Claim,
    agent: &CompiledAgent,
    gate: &Gate,
    control: &ControlWords,
    tools: &Tools,
) -> bool {
    if !ToolName::ALL.iter().any(|tool| tool.is_about_reminders() && agent.settings.may_use(*tool)) {
        return false;
    }
    let is_open = |open: &&OpenQuestion| claim.pending.iter().any(|message| open.is_open(message.sent_at));
    let is_asked = claim.question.as_ref().filter(is_open).is_some_and(|open| reminders::is_about(&open.question));
    let speaks = |message: &PendingMessage| {
        let Some(text) = message.text.as_deref().map(|text| first_characters(text, MATCHED_CHARACTERS_MAX)) else {
            return false;
        };
        let normalised = normalise(&text);
        reminders::of_words(tools, gate.said(&text), true, message.sent_at).is_some()
            || agent.triggers.calls_reminders(&normalised)
            || steering::heard(control, gate, message, &normalised)
                .is_some_and(|heard| heard.wish == ControlWish::Reminders)
    };
    is_asked || claim.pending.iter().any(speaks)
}

/// Takes a turn over everything that waits. Each message is judged on its own, in order; a wish to stop holds from the
/// next message on, and so does a question.
pub async fn run_turn(input: &TurnInput<'_>) -> TurnOutcome {
    let replaced = replaced_in_batch(input.pending);
    let mut outcome = TurnOutcome::default();
    let standing =
        Standing { opted_out: input.opted_out_at.is_some(), marketing_stopped_by: input.marketing_stopped_by };
    let mut course = Course { standing, mode: input.mode, is_over: false };
    outcome.effects = steering::time_is_over(input, &mut course);
    let mut desk = Desk::new(input.tools, input.agent, input.facts, input.question.cloned(), input.now);
    for message in input.pending {
        let replaced = replaced.contains(message.provider_message_id.as_str());
        desk.question.take_if(|open| takes_back(message, open));
        let judged = judge(input, message, &mut course, replaced, &mut desk).await;
        let state = if judged.decision == Decision::Stale { InboundState::Stale } else { InboundState::Done };
        outcome.states.push((message.id, state));
        outcome.effects.extend(judged.effects);
        if let Some(body) = judged.reply.filter(|body| body.text().is_some_and(|text| !text.is_empty())) {
            outcome.replies.push(Reply {
                to: message.reply_to.clone(),
                body: fitted(body),
                answers: message.provider_message_id.clone(),
                ignores_opt_out: judged.ignores_opt_out,
            });
        }
        let (tools, denials) = desk.take();
        outcome.effects.extend(denials);
        outcome.trace.messages.push(MessageTrace { inbound_id: message.id, decision: judged.decision, tools });
        if course.is_over {
            break;
        }
    }
    // What nobody answered in time is not kept: it may hold what the person said.
    desk.question.take_if(|open| !open.is_open(input.now));
    if desk.question.as_ref() != input.question {
        outcome.effects.push(Effect::Ask(desk.question));
    }
    outcome
}

/// Messages that a later one in the same turn revokes or edits.
fn replaced_in_batch(pending: &[PendingMessage]) -> HashSet<&str> {
    pending
        .iter()
        .filter(|message| matches!(message.nature, MessageNature::Edit | MessageNature::Revoke))
        .filter_map(|message| message.target_provider_message_id.as_deref())
        .collect()
}

/// How it stands at this point of a turn.
pub(super) struct Course {
    standing: Standing,
    mode: ModeState,
    /// What still waits has a turn of its own.
    is_over: bool,
}

/// What becomes of one message.
pub(super) struct Judged {
    pub decision: Decision,
    pub reply: Option<MessageBody>,
    pub effects: Vec<Effect>,
    /// The reply goes out although the person wants nothing from us.
    pub ignores_opt_out: bool,
}

impl Judged {
    fn silent(decision: Decision) -> Self {
        Self { decision, reply: None, effects: Vec::new(), ignores_opt_out: false }
    }
}

/// How long a message has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lateness {
    InTime,
    /// It is answered with an apology.
    Late,
    /// It is not answered.
    TooLate,
}

impl Lateness {
    fn apologise(self, reply: Option<MessageBody>) -> Option<MessageBody> {
        match self {
            Self::Late => reply.map(|body| body.prefixed(APOLOGY_PREFIX)),
            Self::InTime | Self::TooLate => reply,
        }
    }
}

async fn judge(
    input: &TurnInput<'_>,
    message: &PendingMessage,
    course: &mut Course,
    replaced: bool,
    desk: &mut Desk<'_>,
) -> Judged {
    if let Some(gone) = taken_back(message, replaced) {
        return gone;
    }
    if input.is_blocked {
        return Judged::silent(Decision::Blocked);
    }
    // What a schedule asks answers no question of ours.
    let is_awaited = message.nature != MessageNature::Schedule
        && desk.question.as_ref().is_some_and(|question| question.is_open(message.sent_at));
    let text = message.text.as_deref().unwrap_or_default();
    if text.trim().is_empty() && !(is_awaited && message.location.is_some()) {
        return Judged::silent(Decision::NoWords);
    }
    let normalised = normalise(&first_characters(text, MATCHED_CHARACTERS_MAX));
    let heard = match message.nature {
        // Nobody said it.
        MessageNature::Schedule => None,
        MessageNature::Tap => input.consent.of_tap(&normalised, message.tapped.as_deref()),
        _ => input.consent.of_message(&normalised),
    };
    if let Some(verdict) = heard.and_then(|heard| consent::judge(&heard, message, &mut course.standing)) {
        let reply = verdict.reply.map(|text| MessageBody::Text { text });
        let ignores_opt_out = verdict.decision == Decision::OptOut;
        return Judged { decision: verdict.decision, reply, effects: verdict.effects, ignores_opt_out };
    }
    let steered = steering::steered(input, message, &normalised, course);
    if let Steered::Judged(judged) = steered {
        return judged;
    }
    if course.standing.opted_out {
        return Judged::silent(Decision::OptedOut);
    }
    if course.mode.at(input.now) != ConversationMode::Bot {
        return Judged::silent(Decision::NotBot);
    }
    // A tap on a button of ours, the answer to a question of ours and a control word are for us, and a schedule speaks to the
    // agent: they need no invocation.
    let wants_reminders = match &steered {
        Steered::WantsReminders { language } => Some(language.as_str()),
        _ => None,
    };
    let is_invoked = wants_reminders.is_some()
        || matches!(message.nature, MessageNature::Tap | MessageNature::Schedule)
        || input.gate.check(&normalised) != GateOutcome::Blocked;
    if !is_invoked && !is_awaited {
        return Judged::silent(Decision::NotInvoked);
    }
    let late = lateness(input, message);
    if late == Lateness::TooLate {
        return Judged::silent(Decision::Stale);
    }
    let spoken =
        Spoken { message, text, normalised: &normalised, gate: input.gate, wants_reminders, is_invoked, is_awaited };
    let Answer { decision, reply, effects } = answer(input.agent, &spoken, desk).await;
    Judged { decision, reply: late.apologise(reply), effects, ignores_opt_out: false }
}

fn lateness(input: &TurnInput<'_>, message: &PendingMessage) -> Lateness {
    let settings = &input.agent.settings;
    let age = input.now.duration_since(message.sent_at);
    let is_stale = age > SignedDuration::from_secs(settings.stale_after_seconds);
    let too_late =
        settings.stale_policy == StalePolicy::Ignore || age > SignedDuration::from_secs(input.window_seconds);
    match (is_stale, too_late) {
        (false, _) => Lateness::InTime,
        (true, false) => Lateness::Late,
        (true, true) => Lateness::TooLate,
    }
}

/// A reply in its bounds.
fn fitted(body: MessageBody) -> MessageBody {
    match body {
        MessageBody::Text { text } => MessageBody::Text { text: cut(&text, REPLY_CHARACTERS_MAX) },
        other => other,
    }
}

fn taken_back(message: &PendingMessage, replaced: bool) -> Option<Judged> {
    if message.nature == MessageNature::Revoke {
        let erase = |target: &String| Effect::EraseWords { provider_message_id: target.clone() };
        let effects = message.target_provider_message_id.iter().map(erase).collect();
        return Some(Judged { effects, ..Judged::silent(Decision::Revoked) });
    }
    if message.revoked {
        // The revocation came first: the words of the latecomer go as well.
        let effects = vec![Effect::EraseWords { provider_message_id: message.provider_message_id.clone() }];
        return Some(Judged { effects, ..Judged::silent(Decision::Revoked) });
    }
    (message.edited || replaced).then(|| Judged::silent(Decision::ReplacedByEdit))
}

/// Whether somebody takes back, or says anew, what a question was asked about.
fn takes_back(message: &PendingMessage, open: &OpenQuestion) -> bool {
    matches!(message.nature, MessageNature::Edit | MessageNature::Revoke)
        && message.target_provider_message_id.as_ref().is_some_and(|target| open.asked_by.contains(target))
}

fn first_characters(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).collect()
}
