//! What follows from a control word: an answer, a change of who speaks, another agent, the end of what is known.

use jiff::{SignedDuration, Timestamp};

use super::{AGENT_PLACE, ControlLanguage, Heard, Named, PREFIX_PLACE};
use crate::agent::consent;
use crate::agent::triggers::normalise;
use crate::domain::agent::{AgentId, AgentSettings};
use crate::domain::choice::Choice;
use crate::domain::control::ControlWish;
use crate::domain::conversation::{ConversationMode, HandoverRules, ModeChange, ModeSetter, ModeState};
use crate::domain::erasure::ErasureWish;
use crate::domain::inbound::PendingMessage;
use crate::domain::notice::NoticeKind;
use crate::domain::outbound::MessageBody;
use crate::domain::person::AgentChoice;
use crate::domain::tool::ToolName;
use crate::domain::turn::Effect;

/// Where a word is said.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) struct Scene<'a> {
    /// Who answers.
    pub agent_id: &'a AgentId,
    /// What the operator decided about them.
    pub settings: &'a AgentSettings,
    /// The agents that people can choose.
    pub listed: &'a [AgentChoice],
    /// Who speaks, as it was last set.
    pub mode: ModeState,
    /// Whether the person wants nothing from us.
    pub opted_out: bool,
    /// How conversations are handed over.
    pub handover: HandoverRules,
    /// What messages to the agent begin with, where they have to: "michael: ".
    pub prefix: &'a str,
    /// The present.
    pub now: Timestamp,
}

/// What a turn makes of a wish.
#[derive(Debug, Default, PartialEq)]
pub(in crate::agent) struct Verdict {
    pub reply: Option<MessageBody>,
    /// The answer goes out although the person wants nothing from us: it is what they have just asked for.
    pub ignores_opt_out: bool,
    pub effects: Vec<Effect>,
    /// What waits behind this message has a turn of its own: another agent's, or that of somebody who is new.
    pub ends_turn: bool,
}

/// Judges a wish. `None` where it is an ordinary word: RESUME where nothing is paused, the name of an agent that is not listed.
pub(in crate::agent) fn judge(heard: &Heard<'_>, message: &PendingMessage, scene: &Scene<'_>) -> Option<Verdict> {
    if !is_heard(heard.wish, scene) {
        return None;
    }
    let answers = &heard.language.answers;
    let words = |text: &str| Some(MessageBody::Text { text: named(text, scene) });
    let change = |to, until, text: &str| {
        let change = ModeChange { to, until, by: ModeSetter::Person };
        Verdict { reply: words(text), effects: change_of_mode(scene, change), ..Verdict::default() }
    };
    let verdict = match heard.wish {
        ControlWish::Help => Verdict { reply: Some(help(heard.language, scene)), ..Verdict::default() },
        ControlWish::Agents => Verdict { reply: Some(agents(heard.language, scene)), ..Verdict::default() },
        ControlWish::Switch => return switch(heard, scene),
        // The tool that knows them is asked: see `turn`.
        ControlWish::Reminders => return None,
        ControlWish::Pause => change(ConversationMode::Paused, None, &answers.paused),
        ControlWish::Resume => change(ConversationMode::Bot, None, &answers.resumed),
        ControlWish::Back => change(ConversationMode::Bot, None, &answers.back),
        // Asked once: nobody is told twice, and the agent is silent.
        ControlWish::Human if scene.mode.at(scene.now) == ConversationMode::Human => Verdict::default(),
        ControlWish::Human => {
            let own = scene.settings.handover_reply.as_deref();
            let told = if scene.handover.is_told { &answers.handed_over } else { &answers.handover_noted };
            let until = scene.now + SignedDuration::from_secs(scene.handover.seconds);
            change(ConversationMode::Human, Some(until), own.unwrap_or(told))
        }
        ControlWish::Forget => Verdict {
            reply: Some(MessageBody::buttons(
                &answers.forget,
                [
                    Choice::new(heard.language.erase_payload(), answers.forget_yes.as_str()),
                    Choice::new(heard.language.keep_payload(), answers.forget_no.as_str()),
                ],
            )),
            ignores_opt_out: scene.opted_out,
            ..Verdict::default()
        },
        ControlWish::Keep => {
            Verdict { reply: words(&answers.kept), ignores_opt_out: scene.opted_out, ..Verdict::default() }
        }
        // The receipt comes when it is done.
        ControlWish::Erase => Verdict {
            effects: vec![Effect::Forget(Box::new(ErasureWish {
                through: message.id,
                to: message.reply_to.clone(),
                receipt: answers.forgotten.clone(),
            }))],
            ends_turn: true,
            ..Verdict::default()
        },
    };
    Some(verdict)
}

/// A change of who speaks, and what the operator's system is told of it.
pub(in crate::agent) fn change_of_mode(scene: &Scene<'_>, change: ModeChange) -> Vec<Effect> {
    let notice = match (scene.mode.mode, change.to) {
        (_, ConversationMode::Human) => Some(NoticeKind::HandoverRequested),
        (ConversationMode::Human, _) => Some(NoticeKind::HandoverEnded),
        _ => None,
    };
    let notice = notice.filter(|_| scene.handover.is_told).map(Effect::Tell);
    std::iter::once(Effect::Mode(change)).chain(notice).collect()
}

/// Whether a wish is heard where the conversation stands. A person in charge is not interrupted, and who wants nothing from us
/// can still be forgotten.
fn is_heard(wish: ControlWish, scene: &Scene<'_>) -> bool {
    let is_about_data = matches!(wish, ControlWish::Forget | ControlWish::Erase | ControlWish::Keep);
    if is_about_data || scene.opted_out {
        return is_about_data;
    }
    match scene.mode.at(scene.now) {
        ConversationMode::Bot => !matches!(wish, ControlWish::Resume | ControlWish::Back),
        ConversationMode::Human => matches!(wish, ControlWish::Back | ControlWish::Human),
        // What an operator has paused is not for the person to resume.
        ConversationMode::Paused if scene.mode.set_by == Some(ModeSetter::Operator) => wish == ControlWish::Human,
        ConversationMode::Paused => {
            matches!(wish, ControlWish::Resume | ControlWish::Back | ControlWish::Help | ControlWish::Human)
        }
    }
}

/// What the agent is and can do. The way to a person is always named: WhatsApp wants that.
fn help(language: &ControlLanguage, scene: &Scene<'_>) -> MessageBody {
    let (answers, settings) = (&language.answers, scene.settings);
    let mut lines = Vec::new();
    match settings.help_reply.as_deref() {
        Some(own) => lines.push(own.to_owned()),
        None => {
            lines.push(named(&answers.help, scene));
            lines.extend(Some(settings.purpose.trim().to_owned()).filter(|purpose| !purpose.is_empty()));
            lines.push(String::new());
            let told = settings.tools.iter().filter_map(|tool| answers.tools.get(tool.as_str()));
            lines.extend(told.map(|line| line.replace(PREFIX_PLACE, scene.prefix)));
            if others(scene).next().is_some() {
                lines.push(answers.help_agents.clone());
            }
            if settings.may_use(ToolName::ListReminders) {
                lines.push(answers.help_reminders.clone());
            }
            lines.push(answers.help_pause.clone());
            lines.push(answers.help_forget.clone());
            lines.push(answers.help_stop.clone());
        }
    }
    lines.push(answers.help_human.clone());
    MessageBody::Text { text: lines.join("\n") }
}

/// A list to tap, or that there is nobody else.
fn agents(language: &ControlLanguage, scene: &Scene<'_>) -> MessageBody {
    let answers = &language.answers;
    if others(scene).next().is_none() {
        return MessageBody::Text { text: named(&answers.agents_none, scene) };
    }
    let row = |agent: &AgentChoice| {
        Choice::new(language.agent_payload(agent.id.as_str()), agent.name.as_str()).described(&agent.purpose)
    };
    MessageBody::list(&answers.agents, &answers.agents_button, scene.listed.iter().map(row))
}

fn switch(heard: &Heard<'_>, scene: &Scene<'_>) -> Option<Verdict> {
    let chosen = scene.listed.iter().find(|agent| match heard.agent.as_ref() {
        Some(Named::ById(id)) => agent.id.as_str() == id,
        Some(Named::InWords(words)) => [agent.name.as_str(), agent.id.as_str()]
            .iter()
            .any(|name| consent::whole(&normalise(name)).as_ref() == Some(words)),
        None => false,
    });
    let Some(chosen) = chosen else {
        // A row of an old list: what there is to choose now. A name in a sentence is no wish.
        let is_row = matches!(heard.agent, Some(Named::ById(_)));
        return is_row.then(|| Verdict { reply: Some(agents(heard.language, scene)), ..Verdict::default() });
    };
    let text = heard.language.answers.switched.replace(AGENT_PLACE, &chosen.name);
    let text = match chosen.purpose.trim() {
        "" => text,
        purpose => format!("{text}\n{purpose}"),
    };
    let is_new = chosen.id != *scene.agent_id;
    Some(Verdict {
        reply: Some(MessageBody::Text { text }),
        effects: is_new.then(|| Effect::BindAgent { agent_id: chosen.id.clone() }).into_iter().collect(),
        ends_turn: is_new,
        ..Verdict::default()
    })
}

/// The agents to choose from beside the one that answers.
fn others<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = &'a AgentChoice> {
    scene.listed.iter().filter(|agent| agent.id != *scene.agent_id)
}

fn named(text: &str, scene: &Scene<'_>) -> String {
    let name = match scene.settings.name.trim() {
        "" => scene.agent_id.as_str(),
        name => name,
    };
    text.replace(AGENT_PLACE, name)
}
