//! A turn: from the messages that waited to replies and effects. The one parent function of everything an agent does.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::CompiledAgent;
use super::consent::{self, ConsentWords, Standing};
use super::triggers::{Gate, GateOutcome, Match, MatchedOn, normalise};
use crate::domain::agent::StalePolicy;
use crate::domain::consent::ConsentSource;
use crate::domain::contact::Address;
use crate::domain::conversation::ConversationMode;
use crate::domain::inbound::{InboundState, MessageNature, PendingMessage};
use crate::domain::outbound::MessageBody;
use crate::domain::rule::{REPLY_CHARACTERS_MAX, RuleAction};
use crate::domain::turn::{Decision, Effect, MessageTrace, TurnTrace};
use crate::ids::InboundId;

/// Characters of a message that rules look at; WhatsApp's limit of a text body.
pub const MATCHED_CHARACTERS_MAX: usize = 4_096;
/// The platform's words when no rule matches; `{text}` stands for what was written.
pub const FALLBACK_REPLY: &str = "I heard: {text}. I can help with weather or reminders.";
/// The answer of a `call_weather` rule without words of its own: this version has no weather service.
pub const WEATHER_UNAVAILABLE_REPLY: &str = "I cannot look up the weather yet.";
/// What stands before an answer to a message that waited too long.
pub const APOLOGY_PREFIX: &str = "Sorry for the late answer. ";
/// The mark of words that were cut to fit.
const CUT_MARK: char = '…';

/// What a turn is made from.
pub struct TurnInput<'a> {
    /// Who answers.
    pub agent: &'a CompiledAgent,
    /// Whether messages must begin with an invoke prefix.
    pub gate: &'a Gate,
    /// The words by which people stop us.
    pub consent: &'a ConsentWords,
    /// Who speaks for the business in this conversation.
    pub mode: ConversationMode,
    /// Since when the person wants nothing from us.
    pub opted_out_at: Option<Timestamp>,
    /// How the person said that they want no marketing from us, if they did.
    pub marketing_stopped_by: Option<ConsentSource>,
    /// Whether the person is blocked: nothing of theirs is looked at.
    pub is_blocked: bool,
    /// What waits, oldest first.
    pub pending: &'a [PendingMessage],
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

/// Takes a turn over everything that waits. Each message is judged on its own, in order; a wish to stop holds from the
/// next message on.
pub fn run_turn(input: &TurnInput<'_>) -> TurnOutcome {
    let replaced = replaced_in_batch(input.pending);
    let mut outcome = TurnOutcome::default();
    let mut standing =
        Standing { opted_out: input.opted_out_at.is_some(), marketing_stopped_by: input.marketing_stopped_by };
    for message in input.pending {
        let judged = judge(input, message, &mut standing, replaced.contains(message.provider_message_id.as_str()));
        let state = if judged.decision == Decision::Stale { InboundState::Stale } else { InboundState::Done };
        outcome.states.push((message.id, state));
        outcome.effects.extend(judged.effects);
        if let Some(text) = judged.reply.filter(|text| !text.is_empty()) {
            outcome.replies.push(Reply {
                to: message.reply_to.clone(),
                body: MessageBody::Text { text: cut(&text, REPLY_CHARACTERS_MAX) },
                answers: message.provider_message_id.clone(),
                ignores_opt_out: judged.decision == Decision::OptOut,
            });
        }
        outcome.trace.messages.push(MessageTrace { inbound_id: message.id, decision: judged.decision });
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

struct Judged {
    decision: Decision,
    reply: Option<String>,
    effects: Vec<Effect>,
}

impl Judged {
    fn silent(decision: Decision) -> Self {
        Self { decision, reply: None, effects: Vec::new() }
    }

    fn saying(decision: Decision, reply: String) -> Self {
        Self { decision, reply: Some(reply), effects: Vec::new() }
    }
}

fn judge(input: &TurnInput<'_>, message: &PendingMessage, standing: &mut Standing, replaced: bool) -> Judged {
    if let Some(gone) = taken_back(message, replaced) {
        return gone;
    }
    if input.is_blocked {
        return Judged::silent(Decision::Blocked);
    }
    let Some(text) = message.text.as_deref().filter(|text| !text.trim().is_empty()) else {
        return Judged::silent(Decision::NoWords);
    };
    let normalised = normalise(&first_characters(text, MATCHED_CHARACTERS_MAX));
    let heard = match message.nature {
        MessageNature::Tap => input.consent.of_tap(&normalised, message.tapped.as_deref()),
        _ => input.consent.of_message(&normalised),
    };
    if let Some(verdict) = heard.and_then(|heard| consent::judge(&heard, message, standing)) {
        return Judged { decision: verdict.decision, reply: verdict.reply, effects: verdict.effects };
    }
    if standing.opted_out {
        return Judged::silent(Decision::OptedOut);
    }
    if input.mode != ConversationMode::Bot {
        return Judged::silent(Decision::NotBot);
    }
    // A tap on a button of ours is an answer to us: it needs no invocation.
    if message.nature != MessageNature::Tap && input.gate.check(&normalised) == GateOutcome::Blocked {
        return Judged::silent(Decision::NotInvoked);
    }
    let settings = &input.agent.settings;
    let age = input.now.duration_since(message.sent_at);
    let is_stale = age > SignedDuration::from_secs(settings.stale_after_seconds);
    let too_late =
        settings.stale_policy == StalePolicy::Ignore || age > SignedDuration::from_secs(input.window_seconds);
    if is_stale && too_late {
        return Judged::silent(Decision::Stale);
    }
    let (decision, reply) = answer(input.agent, &normalised, text);
    let apology = if is_stale && !reply.is_empty() { APOLOGY_PREFIX } else { "" };
    Judged::saying(decision, format!("{apology}{reply}"))
}

fn taken_back(message: &PendingMessage, replaced: bool) -> Option<Judged> {
    if message.nature == MessageNature::Revoke {
        let erase = |target: &String| Effect::EraseWords { provider_message_id: target.clone() };
        let effects = message.target_provider_message_id.iter().map(erase).collect();
        return Some(Judged { decision: Decision::Revoked, reply: None, effects });
    }
    if message.revoked {
        // The revocation came first: the words of the latecomer go as well.
        let effects = vec![Effect::EraseWords { provider_message_id: message.provider_message_id.clone() }];
        return Some(Judged { decision: Decision::Revoked, reply: None, effects });
    }
    (message.edited || replaced).then(|| Judged::silent(Decision::ReplacedByEdit))
}

/// What an agent answers to a message that is for it: the winning rule's words, else the fallback.
pub fn answer(agent: &CompiledAgent, normalised: &str, text: &str) -> (Decision, String) {
    match agent.triggers.winner(normalised) {
        Some(found) => {
            let reply = rule_reply(&found);
            (Decision::Rule { rule_id: found.rule.id.clone(), matched: operators_words(&found.on) }, reply)
        }
        None => (Decision::Fallback, fallback_reply(agent, text)),
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

/// The words of a rule.
pub fn rule_reply(found: &Match) -> String {
    match found.rule.action {
        RuleAction::CallWeather if found.rule.reply_text.is_empty() => WEATHER_UNAVAILABLE_REPLY.to_owned(),
        RuleAction::CallWeather | RuleAction::ReplyText => found.rule.reply_text.clone(),
    }
}

/// The words for what no rule matches, with the text as it was written. A long text is cut, not the sentence around it.
pub fn fallback_reply(agent: &CompiledAgent, text: &str) -> String {
    let template = agent.settings.fallback_reply.as_deref().unwrap_or(FALLBACK_REPLY);
    template.replace("{text}", &cut(text, REPLY_CHARACTERS_MAX.saturating_sub(length(template))))
}

fn first_characters(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).collect()
}

/// Cuts a text so that it and the mark fit. WhatsApp does not say how it counts: UTF-16 units are the larger count.
fn cut(text: &str, characters_max: usize) -> String {
    if length(text) <= characters_max {
        return text.to_owned();
    }
    let mut room = characters_max.saturating_sub(CUT_MARK.len_utf16());
    let mut cut: String = text
        .chars()
        .take_while(|character| {
            let fits = character.len_utf16() <= room;
            room = room.saturating_sub(character.len_utf16());
            fits
        })
        .collect();
    cut.push(CUT_MARK);
    cut
}

fn length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::domain::agent::{AgentId, AgentSettings};
    use crate::domain::contact::AddressKind;
    use crate::ids::Ids;

    const HOUR: i64 = 3_600;

    fn now() -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap()
    }

    fn agent(stale_policy: StalePolicy) -> CompiledAgent {
        let settings = AgentSettings { stale_policy, ..AgentSettings::default() };
        CompiledAgent::new(AgentId::default_agent(), 1, settings, &[]).unwrap()
    }

    fn message(ids: &Ids, id: &str, text: &str) -> PendingMessage {
        PendingMessage {
            id: ids.inbound(now()),
            provider_message_id: id.to_owned(),
            kind: "text".to_owned(),
            nature: MessageNature::Words,
            text: Some(text.to_owned()),
            tapped: None,
            target_provider_message_id: None,
            reply_to: Address { kind: AddressKind::Phone, value: "551".to_owned() },
            sent_at: now(),
            received_at: now(),
            revoked: false,
            edited: false,
            failures: 0,
        }
    }

    fn turn(agent: &CompiledAgent, pending: &[PendingMessage], opted_out: bool) -> TurnOutcome {
        run_turn(&TurnInput {
            agent,
            gate: &Gate::new(false, &[]),
            consent: &ConsentWords::built_in().unwrap(),
            mode: ConversationMode::Bot,
            opted_out_at: opted_out.then(now),
            marketing_stopped_by: None,
            is_blocked: false,
            pending,
            window_seconds: 24 * HOUR,
            now: now(),
        })
    }

    fn said(outcome: &TurnOutcome) -> Vec<&str> {
        outcome.replies.iter().filter_map(|reply| reply.body.text()).collect()
    }

    #[test]
    fn stop_holds_from_the_next_message_on_and_start_undoes_it() {
        let ids = Ids::seeded(1);
        let texts = ["hello", "Stop.", "hello?", "stop", "START", "hello!"];
        let pending: Vec<_> = texts.iter().map(|text| message(&ids, text, text)).collect();
        let outcome = turn(&agent(StalePolicy::Ignore), &pending, false);
        let answered: Vec<_> = outcome.replies.iter().map(|reply| reply.answers.as_str()).collect();
        assert_eq!(answered, ["hello", "Stop.", "START", "hello!"]);
        let changes: Vec<_> = outcome.effects.iter().map(|effect| format!("{effect:?}")).collect();
        assert!(changes[0].contains("stopped: true") && changes[1].contains("stopped: false"), "{changes:?}");
        assert!(outcome.replies[1].ignores_opt_out && !outcome.replies[0].ignores_opt_out);
    }

    #[test]
    fn what_is_edited_or_revoked_in_the_same_turn_is_not_answered() {
        let ids = Ids::seeded(1);
        let aimed = |id, text, nature, target: &str| PendingMessage {
            nature,
            target_provider_message_id: Some(target.to_owned()),
            ..message(&ids, id, text)
        };
        let pending = [
            message(&ids, "a", "wrong"),
            aimed("b", "right", MessageNature::Edit, "a"),
            message(&ids, "c", "oops"),
            aimed("d", "", MessageNature::Revoke, "c"),
            PendingMessage { revoked: true, ..message(&ids, "e", "late") },
        ];
        let outcome = turn(&agent(StalePolicy::Ignore), &pending, false);
        assert_eq!(said(&outcome), ["I heard: right. I can help with weather or reminders."]);
        let erased: Vec<_> = outcome.effects.iter().map(|effect| format!("{effect:?}")).collect();
        assert_eq!(erased.len(), 2, "{erased:?}");
    }

    #[test]
    fn staleness_is_judged_by_policy_and_never_past_the_window() {
        let ids = Ids::seeded(1);
        for (policy, age_hours, expected) in [
            (StalePolicy::Ignore, 5, Some("I heard: hi.")),
            (StalePolicy::Ignore, 7, None),
            (StalePolicy::Apologise, 7, Some("Sorry for the late answer. I heard: hi.")),
            (StalePolicy::Apologise, 25, None),
        ] {
            let sent_at = now() - SignedDuration::from_secs(age_hours * HOUR);
            let pending = [PendingMessage { sent_at, ..message(&ids, "a", "hi") }];
            let outcome = turn(&agent(policy), &pending, false);
            match expected {
                Some(beginning) => assert!(said(&outcome)[0].starts_with(beginning), "{policy:?} {age_hours}"),
                None => assert_eq!(outcome.states[0].1, InboundState::Stale, "{policy:?} {age_hours}"),
            }
        }
    }

    proptest! {
        #[test]
        fn every_reply_fits_into_a_message(text in "\\PC{0,200}", times in 1..60_usize) {
            let ids = Ids::seeded(1);
            let outcome = turn(&agent(StalePolicy::Ignore), &[message(&ids, "a", &text.repeat(times))], false);
            for reply in said(&outcome) {
                prop_assert!(reply.encode_utf16().count() <= REPLY_CHARACTERS_MAX);
                prop_assert!(reply.ends_with(". I can help with weather or reminders.") || reply.contains("START"));
            }
        }
    }
}
