//! Control words in a turn: heard before any rule, except for a rule that the operator wrote for these very words.

use super::super::control::{self, Heard, Scene, Verdict};
use super::super::triggers::{MatchedOn, normalise};
use super::super::{CompiledAgent, consent};
use super::{Course, Judged, Lateness, TurnInput};
use crate::domain::control::ControlWish;
use crate::domain::conversation::{ConversationMode, ModeChange, ModeSetter, ModeState};
use crate::domain::inbound::{MessageNature, PendingMessage};
use crate::domain::tool::ToolName;
use crate::domain::turn::{Decision, Effect};

/// Characters of a message that can be a control word: the longest phrase with an agent's name and an invoke prefix.
const CONTROL_CHARACTERS_MAX: usize = 400;

/// The control word that a message is: alone, or behind an invoke prefix.
pub(super) fn heard<'a>(
    words: &'a control::ControlWords,
    gate: &super::Gate,
    message: &PendingMessage,
    normalised: &str,
) -> Option<Heard<'a>> {
    // What a schedule asks the agent is no word of the person's.
    if message.nature == MessageNature::Schedule {
        return None;
    }
    if message.nature == MessageNature::Tap {
        return words.of_tap(normalised, message.tapped.as_deref());
    }
    let text = message.text.as_deref()?;
    if text.chars().nth(CONTROL_CHARACTERS_MAX).is_some() {
        return None;
    }
    words.of_message(normalised).or_else(|| {
        let said = gate.said(text);
        if said.len() == text.trim().len() { None } else { words.of_message(&normalise(said)) }
    })
}

/// What a control word comes to.
pub(super) enum Steered {
    /// The message is dealt with.
    Judged(Judged),
    /// The person asks for the reminders that the agent may list: its tool answers.
    WantsReminders {
        /// The code of the language of the word.
        language: String,
    },
    /// It is no control word, or not here.
    No,
}

/// What becomes of a message that may be a control word.
pub(super) fn steered(
    input: &TurnInput<'_>,
    message: &PendingMessage,
    normalised: &str,
    course: &mut Course,
) -> Steered {
    let Some(heard) = heard(input.control, input.gate, message, normalised) else { return Steered::No };
    let is_the_agents = course.mode.at(input.now) == ConversationMode::Bot && !course.standing.opted_out;
    if is_the_agents && !heard.is_tap_of_ours && has_own_rule(input.agent, input.gate, message, normalised) {
        return Steered::No;
    }
    if heard.wish == ControlWish::Reminders {
        let may_list = input.agent.settings.may_use(ToolName::ListReminders);
        let language = heard.language.code.clone();
        return if may_list { Steered::WantsReminders { language } } else { Steered::No };
    }
    let Some(verdict) = control::judge(&heard, message, &scene(input, course)) else { return Steered::No };
    let late = super::lateness(input, message);
    if late == Lateness::TooLate && heard.wish != ControlWish::Human {
        return Steered::Judged(Judged::silent(Decision::Stale));
    }
    let Verdict { reply, ignores_opt_out, effects, ends_turn } = verdict;
    for effect in &effects {
        if let Effect::Mode(change) = effect {
            course.mode = change.state();
        }
    }
    course.is_over |= ends_turn;
    let decision = Decision::Control { wish: heard.wish };
    let reply = reply.filter(|_| late != Lateness::TooLate);
    Steered::Judged(Judged { decision, reply: late.apologise(reply), effects, ignores_opt_out })
}

/// The agent answers again where the time of somebody else is over: what writes that down.
pub(super) fn time_is_over(input: &TurnInput<'_>, course: &mut Course) -> Vec<Effect> {
    if !input.mode.is_over(input.now) {
        return Vec::new();
    }
    let change = ModeChange { to: ConversationMode::Bot, until: None, by: ModeSetter::Time };
    let effects = control::change_of_mode(&scene(input, course), change);
    course.mode = ModeState::BOT;
    effects
}

fn scene<'a>(input: &TurnInput<'a>, course: &Course) -> Scene<'a> {
    Scene {
        agent_id: &input.agent.id,
        settings: &input.agent.settings,
        listed: input.facts.map(|facts| facts.agents.as_slice()).unwrap_or_default(),
        mode: course.mode,
        opted_out: course.standing.opted_out,
        handover: input.handover,
        prefix: &input.tools.reminders.prefix,
        now: input.now,
    }
}

/// Whether the rule that answers was written for these very words: its keyword, exact text or prefix is the whole message.
fn has_own_rule(agent: &CompiledAgent, gate: &super::Gate, message: &PendingMessage, normalised: &str) -> bool {
    let Some(found) = agent.triggers.winner(normalised) else { return false };
    let (MatchedOn::Keyword { text }
    | MatchedOn::WholeWord { text }
    | MatchedOn::Prefix { text }
    | MatchedOn::Exact { text }) = &found.on
    else {
        return false;
    };
    let written = consent::whole(text);
    let said = normalise(gate.said(message.text.as_deref().unwrap_or_default()));
    written.is_some() && (written == consent::whole(normalised) || written == consent::whole(&said))
}
