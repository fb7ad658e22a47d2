//! Plays a scenario through the control API of a simulator, and says what happened.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::control::Control;
use super::file::{
    Action, ExpectReply, ExpectStatus, LAST_OF_BUSINESS, LAST_OF_PERSON, Scenario, ScenarioPhone, Sender, Step,
};
use super::report::{Report, StepOutcome, StepReport, describe, excerpt, seconds, status_words};
use crate::view::{
    Author, BubbleStatus, BubbleView, ButtonView, ClockMove, FaultSpec, InboundKind, InboundSpec, PhoneSpec, PhoneView,
};

/// Why a scenario could not be played at all. A step that does not go as expected is no error but part of the report.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The simulator did not answer: is it running at this address?
    #[error("the simulator at {url} does not answer: {source}")]
    Unreachable {
        /// Its base URL.
        url: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The simulator refused to make the scenario's phones.
    #[error("the simulator refused: {0}")]
    Refused(String),
}

/// Plays `scenario` on the simulator at `url` with phones of its own, up to the first step that fails.
pub async fn play(scenario: &Scenario, url: &str) -> Result<Report, PlayError> {
    let unreachable = |source| PlayError::Unreachable { url: url.to_owned(), source };
    let control = Control::connect(url).await.map_err(unreachable)?;
    let mut phones = Vec::with_capacity(scenario.phones.len());
    for ScenarioPhone { name, kind } in &scenario.phones {
        let spec = PhoneSpec { name: Some(name.clone()), kind: Some(*kind), ..PhoneSpec::default() };
        let made: PhoneView = control.post("/sim/phones", &spec).await.map_err(PlayError::Refused)?;
        phones.push(Phone { id: made.id, name: name.clone(), expected: HashSet::new() });
    }
    let mut player = Player { control, phones };
    let mut steps = Vec::with_capacity(scenario.steps.len());
    let mut broken = false;
    for step in &scenario.steps {
        let started = Instant::now();
        let outcome = if broken {
            StepOutcome::NotRun
        } else {
            player.perform(step).await.map_or_else(StepOutcome::Failed, |()| StepOutcome::Passed)
        };
        broken |= matches!(outcome, StepOutcome::Failed(_));
        steps.push(StepReport { step: describe(step, &scenario.phones), outcome, took: started.elapsed() });
    }
    Ok(Report { scenario: scenario.name.clone(), steps })
}

struct Phone {
    id: String,
    name: String,
    /// Replies that a step has already found.
    expected: HashSet<String>,
}

struct Player {
    control: Control,
    phones: Vec<Phone>,
}

impl Player {
    async fn perform(&mut self, step: &Step) -> Result<(), String> {
        if let Action::AdvanceClock(by) = step.action {
            let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
            let change = ClockMove { advance_seconds: Some(seconds), set: None };
            return self.control.post::<serde_json::Value>("/sim/clock", &change).await.map(drop);
        }
        if let Action::Fault(fault) = &step.action {
            let phone = step.phone.map(|index| self.phones[index].id.clone());
            let fault = FaultSpec { phone: phone.or_else(|| fault.phone.clone()), ..fault.clone() };
            return self.control.post::<serde_json::Value>("/sim/faults", &fault).await.map(drop);
        }
        let Player { control, phones } = self;
        let phone = step.phone.and_then(|index| phones.get_mut(index)).ok_or("the step has no phone")?;
        match &step.action {
            Action::Say(text) => control.send(&phone.id, &InboundKind::Text { text: text.clone() }.into()).await,
            Action::Tap(label) => tap(control, phone, label).await,
            Action::Send(message) => send(control, phone, message).await,
            Action::Read => {
                let path = format!("/sim/phones/{}/read", phone.id);
                control.post::<serde_json::Value>(&path, &serde_json::json!({})).await.map(drop)
            }
            Action::ExpectReply(wanted) => expect_reply(control, phone, wanted).await,
            Action::ExpectNoReply(silence) => expect_no_reply(control, phone, *silence).await,
            Action::ExpectStatus(wanted) => expect_status(control, phone, wanted).await,
            Action::AdvanceClock(_) | Action::Fault(_) => Ok(()),
        }
    }
}

async fn tap(control: &Control, phone: &Phone, label: &str) -> Result<(), String> {
    let chat = control.chat(&phone.id).await?;
    let found = chat.iter().rev().filter(|bubble| arrived(bubble)).find_map(|bubble| answer_to_tap(bubble, label));
    let answer = found.ok_or_else(|| {
        let mut labels: Vec<&str> = chat.iter().filter(|bubble| arrived(bubble)).flat_map(labels).collect();
        labels.dedup();
        match labels.as_slice() {
            [] => "nothing in the chat can be tapped".to_owned(),
            some => format!("no such button or row; there are: {}", some.join(", ")),
        }
    })?;
    control.send(&phone.id, &answer.into()).await
}

fn labels(bubble: &BubbleView) -> Vec<&str> {
    let buttons = bubble.buttons.iter().filter_map(|button| match button {
        ButtonView::Reply { title, .. } | ButtonView::QuickReply { title, .. } | ButtonView::ShareContact { title } => {
            Some(title.as_str())
        }
        ButtonView::Url { .. } | ButtonView::SendLocation | ButtonView::Other { .. } => None,
    });
    buttons.chain(bubble.rows.iter().map(|row| row.title.as_str())).collect()
}

fn answer_to_tap(bubble: &BubbleView, label: &str) -> Option<InboundKind> {
    let message_id = bubble.id.clone();
    let button = bubble.buttons.iter().find(|button| match button {
        ButtonView::Reply { id, title } => id == label || title == label,
        ButtonView::QuickReply { title, .. } | ButtonView::ShareContact { title } => title == label,
        ButtonView::Url { .. } | ButtonView::SendLocation | ButtonView::Other { .. } => false,
    });
    match button {
        Some(ButtonView::Reply { id, .. }) => Some(InboundKind::ButtonReply { message_id, id: id.clone() }),
        Some(ButtonView::QuickReply { index, .. }) => {
            Some(InboundKind::TemplateButton { message_id, index: *index, without_context: false })
        }
        Some(_) => Some(InboundKind::SharePhone { message_id: Some(message_id) }),
        None => {
            let row = bubble.rows.iter().find(|row| row.id == label || row.title == label)?;
            Some(InboundKind::ListReply { message_id, id: row.id.clone() })
        }
    }
}

/// Sends a message of the file after putting real ids where it says `last` or `mine`.
async fn send(control: &Control, phone: &Phone, message: &InboundSpec) -> Result<(), String> {
    let chat = control.chat(&phone.id).await?;
    let mut json = serde_json::to_value(message).map_err(|error| error.to_string())?;
    for key in ["message_id", "reply_to"] {
        let author = match json.get(key).and_then(serde_json::Value::as_str) {
            Some(LAST_OF_BUSINESS) => Author::Business,
            Some(LAST_OF_PERSON) => Author::User,
            _ => continue,
        };
        let newest = chat.iter().rev().find(|bubble| bubble.author == author);
        let newest = newest.ok_or_else(|| format!("`{key}` names the newest message, and there is none yet"))?;
        json[key] = newest.id.clone().into();
    }
    let path = format!("/sim/phones/{}/messages", phone.id);
    control.post::<serde_json::Value>(&path, &json).await.map(drop)
}

async fn expect_reply(control: &mut Control, phone: &mut Phone, wanted: &ExpectReply) -> Result<(), String> {
    let deadline = Instant::now() + wanted.within;
    loop {
        let chat = control.chat(&phone.id).await?;
        let new =
            || chat.iter().filter(|bubble| bubble.author == Author::Business && !phone.expected.contains(&bubble.id));
        if let Some(place) = chat.iter().position(|bubble| {
            bubble.author == Author::Business
                && !phone.expected.contains(&bubble.id)
                && arrived(bubble)
                && fits(bubble, wanted)
        }) {
            // What stood before it was passed over and must not fit a later step out of order.
            phone.expected.extend(chat[..=place].iter().map(|bubble| bubble.id.clone()));
            return Ok(());
        }
        if !control.changed_before(deadline).await? {
            let came: Vec<String> = new().map(excerpt).collect();
            return Err(match came.as_slice() {
                [] => format!("nothing came to {} in {}", phone.name, seconds(wanted.within)),
                some => format!("in {} came only: {}", seconds(wanted.within), some.join(" · ")),
            });
        }
    }
}

fn fits(bubble: &BubbleView, wanted: &ExpectReply) -> bool {
    wanted.contains.as_ref().is_none_or(|part| bubble.text.contains(part.as_str()))
        && wanted.equals.as_ref().is_none_or(|text| bubble.text == *text)
        && wanted.kind.as_ref().is_none_or(|kind| bubble.kind == *kind)
}

async fn expect_no_reply(control: &mut Control, phone: &Phone, silence: Duration) -> Result<(), String> {
    let deadline = Instant::now() + silence;
    loop {
        let chat = control.chat(&phone.id).await?;
        let spoke = chat.iter().find(|bubble| {
            bubble.author == Author::Business
                && bubble.status != BubbleStatus::Failed
                && !phone.expected.contains(&bubble.id)
        });
        if let Some(bubble) = spoke {
            return Err(format!("the business wrote: {}", excerpt(bubble)));
        }
        if !control.changed_before(deadline).await? {
            return Ok(());
        }
    }
}

async fn expect_status(control: &mut Control, phone: &Phone, wanted: &ExpectStatus) -> Result<(), String> {
    let author = if wanted.of == Sender::Business { Author::Business } else { Author::User };
    let deadline = Instant::now() + wanted.within;
    loop {
        let chat = control.chat(&phone.id).await?;
        let newest = chat.iter().rev().find(|bubble| bubble.author == author);
        if newest.is_some_and(|bubble| has_come(bubble, wanted)) {
            return Ok(());
        }
        if !control.changed_before(deadline).await? {
            return Err(match newest {
                None => "there is no such message".to_owned(),
                Some(bubble) => format!("it is {}: {}", status_words(bubble), excerpt(bubble)),
            });
        }
    }
}

fn has_come(bubble: &BubbleView, wanted: &ExpectStatus) -> bool {
    if bubble.status == BubbleStatus::Failed || wanted.status == BubbleStatus::Failed {
        let code = bubble.error.as_ref().map(|error| error.code);
        return bubble.status == wanted.status && wanted.code.is_none_or(|wanted| code == Some(wanted));
    }
    bubble.status >= wanted.status
}

/// Whether a message of the business is on the phone.
pub(super) fn arrived(bubble: &BubbleView) -> bool {
    bubble.author == Author::Business
        && matches!(bubble.status, BubbleStatus::Delivered | BubbleStatus::Read | BubbleStatus::Played)
}
