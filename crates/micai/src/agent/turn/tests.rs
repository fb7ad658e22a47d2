//! Turns as functions: from messages to replies, effects and a trace.

use futures_util::FutureExt as _;
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
    let settings = AgentSettings { stale_policy, tools: ToolName::UNLISTED.to_vec(), ..AgentSettings::default() };
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
        location: None,
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
    let (tools, gate, consent) = (Tools::nowhere(), Gate::new(false, &[]), ConsentWords::built_in().unwrap());
    let control = ControlWords::built_in().unwrap();
    let input = TurnInput {
        agent,
        gate: &gate,
        consent: &consent,
        control: &control,
        handover: HandoverRules { seconds: 24 * HOUR, is_told: false },
        mode: ModeState::BOT,
        opted_out_at: opted_out.then(now),
        marketing_stopped_by: None,
        is_blocked: false,
        pending,
        question: None,
        facts: None,
        tools: &tools,
        window_seconds: 24 * HOUR,
        now: now(),
    };
    // No tool is called here, so nothing is waited for.
    run_turn(&input).now_or_never().unwrap()
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

#[test]
fn the_platforms_fallback_offers_only_what_the_agent_may_do() {
    let ids = Ids::seeded(1);
    let table: [(&[ToolName], Option<&str>, &str); 6] = [
        (ToolName::ALL, None, "I heard: hm. I can help with weather or reminders."),
        (&[ToolName::GetWeather], None, "I heard: hm. I can help with the weather."),
        (&[ToolName::SetReminder], None, "I heard: hm. I can help with reminders."),
        // Who can only look at reminders sets none.
        (&[ToolName::ListReminders], None, "I heard: hm. I have no answer to that."),
        (&[], None, "I heard: hm. I have no answer to that."),
        (&[], Some("Ask me about {text} later."), "Ask me about hm later."),
    ];
    for (tools, own, expected) in table {
        let settings =
            AgentSettings { tools: tools.to_vec(), fallback_reply: own.map(str::to_owned), ..AgentSettings::default() };
        let agent = CompiledAgent::new(AgentId::default_agent(), 1, settings, &[]).unwrap();
        assert_eq!(said(&turn(&agent, &[message(&ids, "a", "hm")], false)), [expected], "{tools:?}");
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

#[test]
fn reminders_are_read_only_for_an_agent_that_may_use_them_and_a_message_that_speaks_of_them() {
    use crate::domain::agent::AgentId;
    use crate::domain::rule::{Rule, RuleAction, RuleKind};
    use crate::ids::{ContactId, ConversationId};

    let rule = Rule {
        id: "todo".to_owned(),
        agent_id: AgentId::default_agent(),
        kind: RuleKind::Keyword,
        enabled: true,
        priority: 1,
        keywords: vec!["todo".to_owned()],
        whole_word: false,
        prefix: None,
        action: RuleAction::CallReminder,
        reply_text: String::new(),
    };
    let (tools, gate, control) = (Tools::nowhere(), Gate::new(false, &[]), ControlWords::built_in().unwrap());
    let needs = |text: &str, listed: &[ToolName]| {
        let settings = AgentSettings { tools: listed.to_vec(), ..AgentSettings::default() };
        let rules = std::slice::from_ref(&rule);
        let agent = CompiledAgent::new(AgentId::default_agent(), 1, settings, rules).unwrap();
        let claim = Claim {
            conversation_id: ConversationId(uuid::Uuid::nil()),
            contact_id: ContactId(uuid::Uuid::nil()),
            lease_token: 1,
            mode: ModeState::BOT,
            opted_out_at: None,
            marketing_stopped_by: None,
            blocked_at: None,
            agent_id: AgentId::default_agent(),
            agent_version: 1,
            question: None,
            pending: vec![message(&Ids::seeded(1), "a", text)],
            unreadable: Vec::new(),
        };
        needs_reminders(&claim, &agent, &gate, &control, &tools)
    };
    for text in ["remind me at 9 to call", "cancel 2", "my reminders", "todo call Mom"] {
        assert!(needs(text, &[ToolName::ListReminders]), "{text}");
        assert!(!needs(text, &[ToolName::GetWeather]), "{text}");
    }
    assert!(!needs("good morning", ToolName::ALL));
}
