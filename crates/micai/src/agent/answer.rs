//! What an agent answers to a message that is for it: a tap on something of ours, the winning rule, plain words that a tool
//! understands, the answer to a question of ours, else the fallback.

use serde_json::Value;

use super::CompiledAgent;
use super::tools::{Desk, ToolError, reminders, weather};
use super::triggers::{Gate, Match, MatchedOn, normalise};
use crate::domain::agent::AgentSettings;
use crate::domain::inbound::{MessageNature, PendingMessage};
use crate::domain::outbound::{MessageBody, cut, length};
use crate::domain::question::{OpenQuestion, Question};
use crate::domain::rule::{REPLY_CHARACTERS_MAX, RuleAction};
use crate::domain::tool::ToolName;
use crate::domain::turn::{Decision, Effect};

/// The platform's words when no rule matches, for an agent that does both; `{text}` stands for what was written.
pub const FALLBACK_REPLY: &str = "I heard: {text}. I can help with weather or reminders.";

/// A message as an agent hears it.
pub(super) struct Spoken<'a> {
    pub message: &'a PendingMessage,
    /// Its words as written.
    pub text: &'a str,
    /// The same in the one spelling that rules look at.
    pub normalised: &'a str,
    pub gate: &'a Gate,
    /// It is the control word for the person's reminders, in the language of that code, and the agent may list them.
    pub wants_reminders: Option<&'a str>,
    /// It addresses the agent, or nobody has to.
    pub is_invoked: bool,
    /// It came while a question waited for its answer.
    pub is_awaited: bool,
}

impl<'a> Spoken<'a> {
    /// Its words as written, without the prefix by which it addresses the agent.
    pub fn said(&self) -> &'a str {
        self.gate.said(self.text)
    }

    /// It begins with a prefix, whether one is asked for or not.
    fn is_addressed(&self) -> bool {
        self.said().len() < self.text.trim().len()
    }
}

/// What an agent answers.
pub(super) struct Answer {
    pub decision: Decision,
    pub reply: Option<MessageBody>,
    pub effects: Vec<Effect>,
}

impl Answer {
    fn saying(decision: Decision, text: String) -> Self {
        Self { decision, reply: Some(MessageBody::Text { text }), effects: Vec::new() }
    }
}

/// A call that words, a tap or a rule ask for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    pub tool: ToolName,
    pub arguments: Value,
}

/// What an agent answers.
pub(super) async fn answer(agent: &CompiledAgent, spoken: &Spoken<'_>, desk: &mut Desk<'_>) -> Answer {
    let tapped = spoken.message.tapped.as_deref().filter(|_| spoken.message.nature == MessageNature::Tap);
    if let Some(wish) = tapped.and_then(weather::of_row) {
        return by_tool(spoken, wish, desk).await;
    }
    if let Some(language) = spoken.wants_reminders {
        return by_tool(spoken, reminders::of_control(language), desk).await;
    }
    if spoken.is_invoked {
        if let Some(found) = agent.triggers.winner(spoken.normalised) {
            return by_rule(spoken, &found, desk).await;
        }
        if let Some(wish) = plain_wish(agent, spoken, desk) {
            return by_tool(spoken, wish, desk).await;
        }
    }
    if spoken.is_awaited
        && let Some(asked) = desk.question.take()
    {
        if let Some(wish) = answered(&asked.question, spoken, desk) {
            let answer = by_tool(spoken, wish, desk).await;
            desk.question = desk.question.take().and_then(|next| next.after(&asked));
            return answer;
        }
        if !spoken.is_invoked {
            // No answer, and not for us either: the question stays open.
            desk.question = Some(asked);
            return Answer { decision: Decision::NotInvoked, reply: None, effects: Vec::new() };
        }
    }
    Answer::saying(Decision::Fallback, fallback_reply(agent, spoken.text))
}

/// What plain words ask of a tool that the agent lists. Words for other tools are ordinary words.
fn plain_wish(agent: &CompiledAgent, spoken: &Spoken<'_>, desk: &Desk<'_>) -> Option<Wish> {
    let said = spoken.said();
    let of_reminders = || reminders::of_words(desk.tools(), said, spoken.is_addressed(), desk.now());
    let wish = weather::of_words(&normalise(said)).or_else(of_reminders)?;
    agent.settings.may_use(wish.tool).then_some(wish)
}

/// The call that the answer to a question leads to; nothing where it is no answer.
fn answered(question: &Question, spoken: &Spoken<'_>, desk: &Desk<'_>) -> Option<Wish> {
    match question {
        Question::WeatherPlace { day } => {
            Some(weather::of_answer(*day, &normalise(spoken.said()), spoken.message.location.as_ref()))
        }
        Question::ReminderTime { .. } | Question::ReminderZone { .. } => {
            reminders::of_answer(desk.tools(), question, spoken.said(), desk.now())
        }
    }
}

async fn by_tool(spoken: &Spoken<'_>, wish: Wish, desk: &mut Desk<'_>) -> Answer {
    let tool = wish.tool;
    let decision = Decision::Tool { tool: tool.as_str().to_owned() };
    match called(spoken, wish, desk).await {
        Ok((reply, effects)) => Answer { decision, reply, effects },
        Err(error) => Answer::saying(decision, excuse(tool, &error).to_owned()),
    }
}

async fn by_rule(spoken: &Spoken<'_>, found: &Match, desk: &mut Desk<'_>) -> Answer {
    let decision = Decision::Rule { rule_id: found.rule.id.clone(), matched: operators_words(&found.on) };
    let own_words = found.rule.reply_text.as_str();
    let Some((wish, is_bare)) = rules_wish(spoken, found, desk) else {
        return Answer::saying(decision, own_words.to_owned());
    };
    let tool = wish.tool;
    match called(spoken, wish, desk).await {
        // The rule's own words ask for what is missing.
        Ok((_, effects)) if is_bare && !own_words.is_empty() => {
            Answer { effects, ..Answer::saying(decision, own_words.to_owned()) }
        }
        Ok((reply, effects)) => Answer { decision, reply, effects },
        Err(ToolError::NotAllowed) if !own_words.is_empty() => Answer::saying(decision, own_words.to_owned()),
        Err(error) => Answer::saying(decision, excuse(tool, &error).to_owned()),
    }
}

/// The call that a rule asks for, if it asks for one, and whether the message says no more than what the rule matched.
fn rules_wish(spoken: &Spoken<'_>, found: &Match, desk: &Desk<'_>) -> Option<(Wish, bool)> {
    match found.rule.action {
        RuleAction::ReplyText => None,
        RuleAction::CallWeather => {
            let wish = weather::of_rule(&normalise(spoken.said()), found.on.text());
            let names_place = wish.arguments["place"].is_string();
            Some((wish, !names_place))
        }
        RuleAction::CallReminder => {
            Some(reminders::of_rule(desk.tools(), spoken.text, spoken.said(), &found.on, desk.now()))
        }
    }
}

/// Calls a tool and keeps the question that it asks.
async fn called(
    spoken: &Spoken<'_>,
    wish: Wish,
    desk: &mut Desk<'_>,
) -> Result<(Option<MessageBody>, Vec<Effect>), ToolError> {
    let output = desk.call(spoken.message, wish.tool.as_str(), &wish.arguments).await?;
    if let Some(question) = output.question {
        desk.question = Some(OpenQuestion::asked(question, desk.now(), &spoken.message.provider_message_id));
    }
    Ok((output.reply, output.effects))
}

/// What is said where a tool gave nothing.
fn excuse(tool: ToolName, error: &ToolError) -> &'static str {
    match error {
        ToolError::Failed(_) | ToolError::TimedOut if tool == ToolName::GetWeather => {
            "I cannot reach the weather service at the moment. Please try again in a few minutes."
        }
        ToolError::NotAllowed | ToolError::Unknown => "I am not set up to do that.",
        ToolError::BadArguments(_) => "I did not understand that. Could you say it in other words?",
        ToolError::TooManyCalls => "That was a lot at once. Please ask me the rest again.",
        ToolError::TimedOut => "That took too long. Please try again in a few minutes.",
        ToolError::Failed(_) => "That does not work at the moment. Please try again in a few minutes.",
    }
}

/// What of a match is the operator's own: a trace outlives words that the person takes back.
fn operators_words(on: &MatchedOn) -> String {
    match on {
        MatchedOn::Keyword { text }
        | MatchedOn::WholeWord { text }
        | MatchedOn::Prefix { text }
        | MatchedOn::Exact { text } => text.clone(),
        MatchedOn::Regex { pattern, .. } => pattern.clone(),
    }
}

/// The words for what no rule matches, with the text as it was written. A long text is cut, not the sentence around it.
fn fallback_reply(agent: &CompiledAgent, text: &str) -> String {
    let template = agent.settings.fallback_reply.as_deref().unwrap_or_else(|| platforms_words(&agent.settings));
    template.replace("{text}", &cut(text, REPLY_CHARACTERS_MAX.saturating_sub(length(template))))
}

/// The platform's words for what no rule matches. They offer only what the agent may do: it would refuse the rest.
fn platforms_words(settings: &AgentSettings) -> &'static str {
    match (settings.may_use(ToolName::GetWeather), settings.may_use(ToolName::SetReminder)) {
        (true, true) => FALLBACK_REPLY,
        (true, false) => "I heard: {text}. I can help with the weather.",
        (false, true) => "I heard: {text}. I can help with reminders.",
        (false, false) => "I heard: {text}. I have no answer to that.",
    }
}
