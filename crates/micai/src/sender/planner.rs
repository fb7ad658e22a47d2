//! How a message would go at some instant: the window, the template, whether its values fit, the cost, and what stands in the
//! way. Pure: the same decisions as the sender makes, asked beforehand.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::consent::consent_refusal;
use super::policy::{self, Policy, WINDOW_MARGIN_SECONDS};
use super::purse;
use super::stand_in::{self, OutOfWindow};
use crate::cost::{Basis, Circumstances, PriceTable};
use crate::domain::budget::{BudgetPeriod, span};
use crate::domain::outbound::{MessageBody, SendCandidate};
use crate::domain::template::{Template, TemplateCategory, TemplateUse};
use crate::store::PauseSnapshot;
use crate::templates::book::Snapshot;
use crate::templates::choice::{Wish, Wishes, choose};
use crate::templates::{TemplateFault, fitting, render};

/// The operator's settings that decide how a message goes.
#[derive(Debug, Clone, Default)]
pub struct PlanRules {
    /// Nothing is sent at all until this is on.
    pub outbound_enabled: bool,
    /// How long after a person's last message plain words may be sent; the margin is taken off here.
    pub window_seconds: i64,
    /// The template that the installation falls back to; none: messages wait until the window opens.
    pub fallback_template: Option<String>,
    /// Its language, and the one to try where a template is not there in its own.
    pub template_language: String,
    /// Whether the account's templates are known. Without an account to ask, a template goes as it is and WhatsApp judges.
    pub has_account: bool,
    /// How long a message may be held.
    pub held_seconds_max: i64,
}

/// A message, when it is to go, and what is known now.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The present.
    pub now: Timestamp,
    /// When it is to go; not before `now`.
    pub at: Timestamp,
    /// The message and its person. What it says outside the window is its `template`.
    pub candidate: &'a SendCandidate,
    /// What its agent falls back to.
    pub agent_fallback: Option<&'a TemplateUse>,
    /// The account's templates.
    pub templates: &'a Snapshot,
    /// What is paused.
    pub pauses: &'a PauseSnapshot,
    /// What messages cost.
    pub prices: &'a PriceTable,
    /// Free service messages that the number has used in the month of `now`.
    pub free_messages_used: i64,
    /// The operator's settings.
    pub rules: &'a PlanRules,
}

/// How a message would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Plan {
    /// The instant that this is about.
    pub at: Timestamp,
    /// Whether plain words may be sent then.
    pub window: PlannedWindow,
    /// How it would go.
    pub way: Way,
    /// The same in a sentence.
    pub sentence: String,
    /// The template that it would go as.
    pub template: Option<PlannedTemplate>,
    /// What is wrong with the template that the message names.
    pub faults: Vec<PlanFault>,
    /// What it would probably cost; null where nothing would go.
    pub cost: Option<PlannedCost>,
    /// What stands in the way, as it is known now. Budgets, paces and outages are looked at when it is sent.
    pub obstacles: Vec<Obstacle>,
    /// Whether it would go out then, by what is known now.
    pub would_go: bool,
}

/// How a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As plain words.
    FreeForm,
    /// As a template.
    Template,
    /// Not yet: it waits until the person writes.
    Held,
    /// Not at all: WhatsApp would refuse the template, so it becomes a dead letter.
    Refused,
}

/// The window at that instant, if the person does not write before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlannedWindow {
    /// Whether it is likely open.
    pub likely_open: bool,
    /// When it closes, or closed, a margin taken off; null where the person never wrote.
    pub closes_at: Option<Timestamp>,
    /// When the person last wrote; an earlier message of theirs, by an hour at most, while the latest waits for its turn.
    pub last_inbound_at: Option<Timestamp>,
}

/// A template that would go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlannedTemplate {
    /// Its name.
    pub name: String,
    /// The language that it would go in.
    pub language: String,
    /// Whose wish it is: `message` (it is this template), `own` (what it names for outside the window), `agent` or `installation`.
    pub wish: String,
    /// What the person would read.
    pub text: String,
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlanFault {
    /// The field, such as `template.body[1]`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a message would probably cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PlannedCost {
    /// The probable amount, in millionths.
    pub micros: i64,
    /// The amount if it is billed after all.
    pub billed_micros: i64,
    /// Three letters.
    pub currency: String,
    /// What it is billed as.
    pub category: String,
    /// Whom it goes to, in two letters.
    pub country: String,
    /// Why it is that much: `billed`, `free_entry_point`, `free_allowance` or `free_service`.
    pub basis: String,
    /// What to know about the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// Something that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Obstacle {
    /// A stable word: `outbound_off`, `paused`, `opted_out`, `marketing_stopped`, `blocked`.
    pub reason: String,
    /// What it is and what to do.
    pub sentence: String,
    /// When it ends by itself; null: not by itself.
    pub until: Option<Timestamp>,
}

/// How the message would go.
pub fn plan(question: &Question<'_>) -> Plan {
    let Question { at, candidate, rules, .. } = *question;
    let policy = Policy { outbound_enabled: rules.outbound_enabled, window_seconds: rules.window_seconds };
    let last_inbound_at = candidate.last_inbound_at;
    let window = PlannedWindow {
        likely_open: !candidate.needs_template && policy::window_is_open(&policy, last_inbound_at, at),
        closes_at: last_inbound_at
            .map(|last| last + SignedDuration::from_secs(rules.window_seconds - WINDOW_MARGIN_SECONDS)),
        last_inbound_at,
    };
    let planned = decide(question, window);
    let category = planned.body.as_ref().and_then(|body| category_of(question, body));
    let obstacles = obstacles(question, planned.body.clone(), category);
    let goes = matches!(planned.way, Way::FreeForm | Way::Template);
    let cost = planned.body.as_ref().filter(|_| goes).map(|body| cost(question, body, category));
    Plan {
        at,
        window,
        way: planned.way,
        sentence: planned.sentence,
        template: planned.template,
        faults: faults(question),
        cost,
        would_go: goes && obstacles.is_empty(),
        obstacles,
    }
}

/// What is decided about the message itself.
struct Planned {
    way: Way,
    sentence: String,
    template: Option<PlannedTemplate>,
    /// What would be sent.
    body: Option<MessageBody>,
}

fn decide(question: &Question<'_>, window: PlannedWindow) -> Planned {
    let candidate = question.candidate;
    if let Some(filled) = candidate.body.template() {
        return template_message(question, filled);
    }
    if window.likely_open {
        let until = window.closes_at.map(|at| format!(" until {at}")).unwrap_or_default();
        let sentence = format!("The window is likely open{until}: it goes as plain words.");
        return Planned { way: Way::FreeForm, sentence, template: None, body: Some(candidate.body.clone()) };
    }
    let closed = match window.closes_at {
        Some(_) => "The window is closed then, unless they write before",
        None => "They have never written, so the window is closed",
    };
    let rules = question.rules;
    let fallback = OutOfWindow {
        template: rules.fallback_template.clone(),
        language: rules.template_language.clone(),
        has_account: rules.has_account,
    };
    let paused = (question.pauses, question.at);
    let agent = question.agent_fallback.cloned();
    let chosen = stand_in::choose_stand_in(question.templates, candidate, agent, &fallback, paused);
    match chosen {
        Ok(choice) => {
            let (wish, whose) = match choice.wish {
                Wish::Own => ("own", "the message's own template"),
                Wish::Agent => ("agent", "the agent's fallback template"),
                Wish::Installation => ("installation", "the configured fallback template"),
            };
            let sentence = format!("{closed}: it goes as {whose}, {}.", choice.filled.name);
            let template = shown(&choice.template, &choice.filled, wish);
            let body = MessageBody::Template { text: Some(template.text.clone()), template: Box::new(choice.filled) };
            Planned { way: Way::Template, sentence, template: Some(template), body: Some(body) }
        }
        Err(none) => {
            let expires_at = question.at + SignedDuration::from_secs(rules.held_seconds_max);
            let reasons = none.reasons.join(" ");
            let sentence = format!(
                "{closed}. {reasons} It is held until they write again; what is still held at {expires_at} becomes a dead \
                 letter."
            );
            Planned { way: Way::Held, sentence, template: None, body: Some(candidate.body.clone()) }
        }
    }
}

fn template_message(question: &Question<'_>, filled: &TemplateUse) -> Planned {
    let body = Some(question.candidate.body.clone());
    if let Some(fault) = use_faults(question, filled).first() {
        let sentence =
            format!("WhatsApp would not take this template, so it becomes a dead letter. {}", fault.sentence);
        return Planned { way: Way::Refused, sentence, template: None, body };
    }
    let template = question.templates.find(&filled.name, &filled.language);
    let template = template.map(|template| shown(template, filled, "message"));
    let sentence = match question.rules.has_account {
        true => format!("It is the template {}, which may go at any time.", filled.name),
        false => {
            format!("It is the template {}. No account is set, so it goes as it is and WhatsApp judges.", filled.name)
        }
    };
    Planned { way: Way::Template, sentence, template, body }
}

fn shown(template: &Template, filled: &TemplateUse, wish: &str) -> PlannedTemplate {
    PlannedTemplate {
        name: template.name.clone(),
        language: template.language.clone(),
        wish: wish.to_owned(),
        text: render::render(template, filled).text(),
    }
}

/// What is wrong with the template that the message is or names.
fn faults(question: &Question<'_>) -> Vec<PlanFault> {
    let candidate = question.candidate;
    let faults = match (candidate.body.template(), &candidate.template) {
        (Some(filled), _) => use_faults(question, filled),
        (None, Some(own)) => {
            let language = Some(question.rules.template_language.as_str()).filter(|language| !language.is_empty());
            // In another language it may do all the same.
            match choose(question.templates, &Wishes { own: Some(own), language, ..Wishes::default() }) {
                Ok(_) => Vec::new(),
                Err(_) => use_faults(question, own),
            }
        }
        (None, None) => Vec::new(),
    };
    let fault =
        |fault: TemplateFault| PlanFault { field: format!("template.{}", fault.field), message: fault.sentence };
    faults.into_iter().map(fault).collect()
}

fn use_faults(question: &Question<'_>, filled: &TemplateUse) -> Vec<TemplateFault> {
    if !question.rules.has_account {
        return Vec::new();
    }
    let known = question.templates.named(&filled.name).iter().map(AsRef::as_ref);
    fitting::message(known, filled.clone()).err().unwrap_or_default()
}

fn category_of(question: &Question<'_>, body: &MessageBody) -> Option<TemplateCategory> {
    let filled = body.template()?;
    let found = question.templates.find(&filled.name, &filled.language);
    Some(found.map_or(TemplateCategory::Unknown, |found| found.category))
}

fn obstacles(question: &Question<'_>, body: Option<MessageBody>, category: Option<TemplateCategory>) -> Vec<Obstacle> {
    let mut candidate = question.candidate.clone();
    candidate.body = body.unwrap_or(candidate.body);
    let mut obstacles = Vec::new();
    if let Some(error) = consent_refusal(&candidate, category) {
        obstacles.push(Obstacle { reason: error.reason, sentence: error.detail, until: None });
    }
    if !question.rules.outbound_enabled {
        obstacles.push(Obstacle {
            reason: "outbound_off".to_owned(),
            sentence: "Outbound is switched off: the request would be kept and nothing sent. Set \
                       MICAI_OUTBOUND_REPLY_ENABLED=true and start again."
                .to_owned(),
            until: None,
        });
    }
    let country = question.prices.country_of(&candidate.to);
    let concerning = policy::pause_keys(&candidate, &country);
    let paused = concerning.filter_map(|key| question.pauses.first([key], question.at));
    obstacles.extend(paused.map(|pause| {
        let error = pause.error();
        Obstacle { reason: error.reason, sentence: error.detail, until: pause.until }
    }));
    obstacles
}

fn cost(question: &Question<'_>, body: &MessageBody, category: Option<TemplateCategory>) -> PlannedCost {
    let prices = question.prices;
    let month = span(BudgetPeriod::Month, &TimeZone::UTC, question.now);
    // What another month leaves of its free messages is not known: none of them is used yet.
    let used = if question.at < month.ends_at { question.free_messages_used } else { 0 };
    let estimate = prices.estimate(
        &prices.country_of(&question.candidate.to),
        purse::category(body, category),
        Circumstances {
            at: question.at,
            inside_free_entry_point: question.candidate.free_entry.is_free(question.at),
            free_allowance_left: prices.free_service_messages() - used,
        },
    );
    let basis = match estimate.basis {
        Basis::Billed => "billed",
        Basis::FreeEntryPoint => "free_entry_point",
        Basis::FreeAllowance => "free_allowance",
        Basis::FreeService => "free_service",
    };
    PlannedCost {
        micros: estimate.micros,
        billed_micros: estimate.billed_micros,
        currency: estimate.currency,
        category: estimate.category.as_str().to_owned(),
        country: estimate.country,
        basis: basis.to_owned(),
        remark: estimate.certainty.remark().map(str::to_owned),
    }
}
