//! `/admin/agents/{id}/try`: what an agent would answer, and why. The same function as in a real turn makes the answer;
//! nothing is sent and nothing stored.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::error::{Problem, StrictJson};
use super::super::path::StrictPath;
use super::super::state::{HttpState, SharedState};
use super::bounds::{Faults, agent_id, no_such_agent};
use super::rules::{action_schema, rule_problem, rule_type_schema};
use crate::agent::CompiledAgent;
use crate::agent::triggers::{AllMatches, GateOutcome, Match, MatchedOn, normalise};
use crate::agent::turn::{MATCHED_CHARACTERS_MAX, TurnInput, TurnOutcome, run_turn};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::conversation::ModeState;
use crate::domain::inbound::{MessageNature, PendingMessage};
use crate::domain::person::{AgentChoice, PersonFacts};
use crate::domain::rule::{RuleAction, RuleKind};
use crate::domain::schedule::Reminders;
use crate::domain::tool::{ToolFate, ToolTrace};
use crate::domain::turn::Decision;
use crate::ids::{ContactId, InboundId};
use crate::store::AgentWithRules;

/// A message to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryText {
    /// What a person would write.
    #[schema(max_length = 4096, example = "michael: weather please")]
    text: String,
}

/// What an agent would answer, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// Who answers.
    agent_id: String,
    /// The version of the agent and its rules that was tried.
    agent_version: i64,
    /// What rules look at.
    #[schema(example = "michael: weather please")]
    normalised: String,
    /// Whether the message is for the agent at all.
    gate: GateView,
    /// Every rule that matches, in the order of asking; the first is the winner. Rules are only asked if nothing
    /// before them has decided.
    matches: Vec<MatchView>,
    /// Whether more rules match than are listed.
    matches_cut: bool,
    /// The rule that gives the answer.
    winner: Option<Winner>,
    /// What a turn decides about the message, as its trace shows it.
    #[schema(value_type = Object, example = json!({"decision": "rule", "rule_id": "weather-keyword", "matched": "weather"}))]
    decision: Decision,
    /// The answer; null when there is none.
    reply: Option<String>,
    /// Why there is this answer, or why there is none.
    reason: String,
}

/// The invoke gate's word.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum GateView {
    /// No prefix is asked for.
    NotRequired,
    /// The message begins with this prefix.
    Passed {
        /// The prefix, normalised.
        prefix: String,
    },
    /// A prefix is asked for and missing.
    Blocked,
}

/// A rule that matches.
#[derive(Debug, Serialize, ToSchema)]
pub struct MatchView {
    /// The rule.
    rule_id: String,
    /// How it looks at the text.
    #[schema(schema_with = rule_type_schema)]
    rule_type: RuleKind,
    /// Lower is asked first.
    priority: i32,
    /// What it does.
    #[schema(schema_with = action_schema)]
    action: RuleAction,
    /// What in the text made it match: `kind`, `text`, and `pattern` for a regular expression.
    #[schema(value_type = Object, example = json!({"kind": "keyword", "text": "weather"}))]
    on: MatchedOn,
    /// The same in words.
    #[schema(example = "the text contains `weather`")]
    because: String,
}

/// The rule that gives the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Winner {
    /// The rule.
    rule_id: String,
    /// Why it won.
    because: String,
}

/// Explains what an agent would answer to a message. Sends and stores nothing.
#[utoipa::path(
    post,
    path = "/agents/{id}/try",
    tag = "agents",
    params(("id" = String, Path, description = "The agent.")),
    request_body = TryText,
    responses((status = 200, body = Explanation, description = "The answer and why.")),
)]
pub async fn try_agent(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<String>,
    StrictJson(TryText { text }): StrictJson<TryText>,
) -> Result<Json<Explanation>, Problem> {
    let id = agent_id("id", id)?;
    let mut faults = Faults::default();
    faults.check_text("text", &text, MATCHED_CHARACTERS_MAX);
    faults.into_result("text_invalid")?;
    let agent = state.store.agent_with_rules(&id).await?.ok_or_else(no_such_agent)?;
    let now = state.clock.now();
    // Compiling the rules of a large agent takes most of a second.
    let compiled = tokio::task::spawn_blocking(move || {
        let AgentWithRules { agent, rules } = agent;
        CompiledAgent::new(agent.id, agent.version, agent.settings, &rules)
            .map_err(|error| rule_problem(std::slice::from_ref(&error)))
    });
    explain(&state, compiled.await.map_err(Problem::internal)??, text, now).await.map(Json)
}

async fn explain(
    state: &HttpState,
    agent: CompiledAgent,
    text: String,
    now: Timestamp,
) -> Result<Explanation, Problem> {
    let gate = &state.gate;
    let normalised = normalise(&text);
    let pending = [message(text, now)];
    let facts = stranger(state.store.agent_choices().await?, now);
    let outcome = run_turn(&TurnInput {
        agent: &agent,
        gate,
        consent: &state.consent,
        control: &state.control,
        handover: state.handover,
        mode: ModeState::BOT,
        opted_out_at: None,
        marketing_stopped_by: None,
        is_blocked: false,
        pending: &pending,
        question: None,
        facts: Some(&facts),
        tools: &state.tools,
        // The message has just come in: it is inside any window.
        window_seconds: 0,
        now,
    })
    .await;
    let AllMatches { matches, cut } = agent.triggers.all_matches(&normalised);
    let reply = reply_text(&outcome);
    let (decision, tools) = match outcome.trace.messages.into_iter().next() {
        Some(message) => (message.decision, message.tools),
        None => (Decision::NoWords, Vec::new()),
    };
    Ok(Explanation {
        gate: match gate.check(&normalised) {
            GateOutcome::NotRequired => GateView::NotRequired,
            GateOutcome::Passed { prefix } => GateView::Passed { prefix: prefix.to_owned() },
            GateOutcome::Blocked => GateView::Blocked,
        },
        winner: winner(&decision, &matches),
        reason: reason(&decision, tools.first(), reply.is_some()),
        matches: matches.iter().map(MatchView::from).collect(),
        matches_cut: cut,
        agent_id: agent.id.0,
        agent_version: agent.version,
        normalised,
        decision,
        reply,
    })
}

/// Somebody of whom nothing is known yet, with the agents that everybody may choose from.
fn stranger(agents: Vec<AgentChoice>, now: Timestamp) -> PersonFacts {
    PersonFacts {
        contact_id: ContactId(Uuid::nil()),
        phone: None,
        zone: None,
        last_inbound_at: Some(now),
        reminders: Some(Reminders::default()),
        agents,
    }
}

/// A message that has just come in.
fn message(text: String, now: Timestamp) -> PendingMessage {
    PendingMessage {
        id: InboundId(Uuid::nil()),
        provider_message_id: String::new(),
        kind: "text".to_owned(),
        nature: MessageNature::Words,
        text: Some(text),
        tapped: None,
        location: None,
        target_provider_message_id: None,
        reply_to: Address { kind: AddressKind::Phone, value: String::new() },
        sent_at: now,
        received_at: now,
        revoked: false,
        edited: false,
        failures: 0,
    }
}

fn reply_text(outcome: &TurnOutcome) -> Option<String> {
    outcome.replies.first().and_then(|reply| reply.body.text().map(str::to_owned))
}

fn winner(decision: &Decision, matches: &[Match]) -> Option<Winner> {
    let Decision::Rule { rule_id, .. } = decision else {
        return None;
    };
    let matched = &matches.first()?.on;
    let because = match matches {
        [first, second, ..] if first.rule.priority == second.rule.priority => format!(
            "{matched}; `{}` also matches with the same priority {}, and its id comes later",
            second.rule.id, first.rule.priority
        ),
        [first, second, ..] => format!(
            "{matched}; its priority {} is asked before {} of `{}`, the next that matches",
            first.rule.priority, second.rule.priority, second.rule.id
        ),
        _ => format!("{matched}; no other rule matches"),
    };
    Some(Winner { rule_id: rule_id.clone(), because })
}

fn reason(decision: &Decision, tool: Option<&ToolTrace>, has_reply: bool) -> String {
    if let (Decision::Rule { rule_id, .. }, Some(ToolTrace { tool, fate, .. })) = (decision, tool) {
        let refused = match fate {
            ToolFate::NotAllowed => ", which the agent does not list: it did not run",
            _ => "",
        };
        return format!("The rule `{rule_id}` answers with the tool `{tool}`{refused}.");
    }
    match decision {
        Decision::Rule { rule_id, .. } if has_reply => format!("The rule `{rule_id}` answers."),
        Decision::Rule { rule_id, .. } => format!("The rule `{rule_id}` matches and has no words: nothing is said."),
        Decision::Control { wish } => {
            format!("The whole message is the control word `{}`: no rule is asked.", wish.as_str())
        }
        Decision::Tool { tool } => format!("No rule matches, and the words ask for what the tool `{tool}` does."),
        Decision::Fallback if has_reply => "No rule matches: the fallback reply.".to_owned(),
        Decision::Fallback => "No rule matches, and the agent's fallback reply is empty: nothing is said.".to_owned(),
        Decision::NotInvoked => {
            "The message does not begin with an invoke prefix (MICAI_INVOKE_PREFIXES), so it is not for the agent."
                .to_owned()
        }
        Decision::NoWords => "The message has no words: nothing is said.".to_owned(),
        Decision::OptOut => "The whole message is a wish to stop: it is confirmed, and no rule is asked.".to_owned(),
        Decision::MarketingStop => {
            "The whole message is a wish for no more marketing: it is confirmed, and no rule is asked.".to_owned()
        }
        other => format!("A turn would decide: {}.", serde_json::to_string(other).unwrap_or_default()),
    }
}

impl From<&Match> for MatchView {
    fn from(found: &Match) -> Self {
        Self {
            rule_id: found.rule.id.clone(),
            rule_type: found.rule.kind,
            priority: found.rule.priority,
            action: found.rule.action,
            on: found.on.clone(),
            because: found.on.to_string(),
        }
    }
}
