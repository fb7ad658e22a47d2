//! The ladder sent, delivered, read, played, and its webhooks (reference §1.7, §2.3).

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::config::StatusLevel;
use crate::deliver::STATUS_GATHER_MAX;
use crate::errors::webhook_error;
use crate::view::{Author, BubbleStatus, ControlError, FailureView, SimEvent};
use crate::world::outbound::{Address, Sent};
use crate::world::webhooks::About;
use crate::world::{Job, World};

/// A status on its way into a webhook, with the person's card where the status has one.
#[derive(Debug)]
pub(crate) struct StatusItem {
    about: About,
    contact: Option<Value>,
    status: Value,
}

impl World {
    /// Takes a message of the business one step further, if it is not there already.
    pub(crate) fn advance(&mut self, sent: &Arc<Sent>, to: BubbleStatus) {
        if to == BubbleStatus::Sent
            && let Some(failure) = sent.failure.clone()
        {
            return self.fail(sent, failure);
        }
        let moved = match self.chat_of(&sent.wamid) {
            Some(_) => self.change_bubble(&sent.wamid, |bubble| bubble.advance(to)).unwrap_or(false),
            // A reaction has no bubble and is only ever sent.
            None => to == BubbleStatus::Sent && self.people.get(&sent.phone_id).is_some(),
        };
        if !moved {
            return;
        }
        self.status_webhook(sent, to, None);
        self.status_event(sent, to, None);
        let config = Arc::clone(&self.config);
        match to {
            BubbleStatus::Sent if sent.kind != "reaction" => {
                let next = Job::Advance(Arc::clone(sent), BubbleStatus::Delivered);
                self.later(config.delivered_after_milliseconds, next);
            }
            BubbleStatus::Delivered if config.auto_read => {
                self.later(config.read_after_milliseconds, Job::Advance(Arc::clone(sent), BubbleStatus::Read));
            }
            BubbleStatus::Delivered | BubbleStatus::Read => self.phone_event(&sent.phone_id),
            _ => {}
        }
    }

    fn fail(&mut self, sent: &Arc<Sent>, failure: FailureView) {
        if self.chat_of(&sent.wamid).is_some() {
            let error = failure.clone();
            let moved = self.change_bubble(&sent.wamid, |bubble| {
                let moved = bubble.advance(BubbleStatus::Failed);
                bubble.error = moved.then_some(error);
                moved
            });
            if moved != Some(true) {
                return;
            }
        }
        self.status_webhook(sent, BubbleStatus::Failed, Some(&failure));
        self.status_event(sent, BubbleStatus::Failed, Some(failure.clone()));
        self.event(|| SimEvent::Failure {
            phone_id: Some(sent.phone_id.clone()).filter(|id| !id.is_empty()),
            source: "status".to_owned(),
            code: Some(failure.code),
            message: format!("{}: {}", failure.title, failure.details),
        });
    }

    fn status_event(&mut self, sent: &Sent, status: BubbleStatus, error: Option<FailureView>) {
        let (phone_id, id) = (sent.phone_id.clone(), sent.wamid.clone());
        self.event(|| SimEvent::Status { phone_id, id, status, error });
    }

    /// Tells of a status, at once or together with others.
    fn status_webhook(&mut self, sent: &Sent, status: BubbleStatus, error: Option<&FailureView>) {
        let level = level(status);
        if level.is_some_and(|level| !self.config.statuses.contains(&level)) {
            return;
        }
        let mut item = Map::new();
        item.insert("id".to_owned(), json!(sent.wamid));
        item.insert("status".to_owned(), json!(status_name(status)));
        item.insert("timestamp".to_owned(), json!(self.now().to_string()));
        self.put_recipient(&mut item, sent, error.is_some());
        if let Some(data) = &sent.callback_data {
            item.insert("biz_opaque_callback_data".to_owned(), json!(data));
        }
        if let Some(error) = error {
            item.insert("errors".to_owned(), json!([webhook_error(error)]));
        } else if let Some(price) = &sent.price {
            item.insert("pricing".to_owned(), price.json());
        }
        let contact = self.status_contact(sent, status).filter(|_| error.is_none());
        let about = About {
            phone_id: Some(sent.phone_id.clone()).filter(|id| !id.is_empty()),
            wamids: vec![sent.wamid.clone()],
            kind: status_name(status).to_owned(),
        };
        self.statuses_waiting.push(StatusItem { about, contact, status: Value::Object(item) });
        if self.statuses_waiting.len() >= self.config.status_batch_max {
            self.send_statuses();
        } else if self.statuses_waiting.len() == 1 {
            let wait = u64::try_from(STATUS_GATHER_MAX.as_millis()).unwrap_or(u64::MAX);
            self.later(wait, Job::SendStatuses);
        }
    }

    /// Sends the statuses that have gathered, in one webhook.
    pub(crate) fn send_statuses(&mut self) {
        let waiting = std::mem::take(&mut self.statuses_waiting);
        let (mut contacts, mut statuses, mut about) = (Vec::new(), Vec::new(), About::default());
        // By what is written on it: comparing each card with each other would cost more than all the rest.
        let mut cards = HashSet::new();
        for item in waiting {
            if statuses.is_empty() {
                about = item.about;
            } else {
                about.wamids.extend(item.about.wamids);
            }
            contacts.extend(item.contact.filter(|contact| cards.insert(contact.to_string())));
            statuses.push(item.status);
        }
        if statuses.is_empty() {
            return;
        }
        let mut value = self.messages_value();
        if !contacts.is_empty() {
            value.insert("contacts".to_owned(), Value::Array(contacts));
        }
        value.insert("statuses".to_owned(), Value::Array(statuses));
        self.send_change(about, "messages", Value::Object(value));
    }

    /// The identifiers of the recipient: what was written to, and what webhooks show of the person.
    fn put_recipient(&self, item: &mut Map<String, Value>, sent: &Sent, failed: bool) {
        let person = self.people.get(&sent.phone_id);
        match &sent.address {
            Address::Number(number) => {
                item.insert("recipient_id".to_owned(), json!(number));
                if failed {
                    return;
                }
            }
            Address::UserId(user_id) => {
                if let Some(number) = person.and_then(|phone| phone.shown_number(self.now())) {
                    item.insert("recipient_id".to_owned(), json!(number));
                }
                if person.is_none() {
                    item.insert("recipient_user_id".to_owned(), json!(user_id));
                }
            }
        }
        let Some(phone) = person else { return };
        if let Some(user_id) = &phone.user_id {
            item.insert("recipient_user_id".to_owned(), json!(user_id));
        }
        if let Some(parent) = &phone.parent_user_id {
            item.insert("recipient_parent_user_id".to_owned(), json!(parent));
        }
    }

    /// Only people with a BSUID appear in `contacts`; older payloads have none.
    fn status_contact(&self, sent: &Sent, status: BubbleStatus) -> Option<Value> {
        let phone = self.people.get(&sent.phone_id).filter(|phone| phone.user_id.is_some())?;
        let mut contact = phone.contact(self.now(), status != BubbleStatus::Sent);
        if let Address::Number(number) = &sent.address {
            contact["wa_id"] = json!(number);
        }
        Some(contact)
    }

    /// The person opens the chat: what was delivered becomes read, and the named voice notes played.
    pub(crate) fn read_chat(&mut self, phone_id: &str, played: &[String]) -> Result<(usize, usize), ControlError> {
        let phone = self.phone(phone_id)?;
        for wamid in played {
            let bubble = self.bubble_in_chat(phone_id, wamid)?;
            if !bubble.face.media.as_ref().is_some_and(|media| media.voice) || bubble.author != Author::Business {
                return Err(ControlError::Invalid(format!("{wamid} is no voice note of the business")));
            }
        }
        let unread: Vec<Arc<Sent>> = phone
            .chat
            .iter()
            .filter(|bubble| bubble.status == BubbleStatus::Delivered)
            .filter_map(|bubble| bubble.sent.clone())
            .collect();
        for sent in &unread {
            self.advance(sent, BubbleStatus::Read);
        }
        let mut newly_played = 0;
        for wamid in played {
            let Some(bubble) = self.bubble(wamid) else { continue };
            let arrived = bubble.status == BubbleStatus::Read;
            if let Some(sent) = bubble.sent.clone().filter(|_| arrived) {
                self.advance(&sent, BubbleStatus::Played);
                newly_played += 1;
            }
        }
        Ok((unread.len(), newly_played))
    }
}

fn status_name(status: BubbleStatus) -> &'static str {
    match status {
        BubbleStatus::Accepted => "accepted",
        BubbleStatus::Sent => "sent",
        BubbleStatus::Delivered => "delivered",
        BubbleStatus::Read => "read",
        BubbleStatus::Played => "played",
        BubbleStatus::Failed => "failed",
    }
}

fn level(status: BubbleStatus) -> Option<StatusLevel> {
    match status {
        BubbleStatus::Sent => Some(StatusLevel::Sent),
        BubbleStatus::Delivered => Some(StatusLevel::Delivered),
        BubbleStatus::Read => Some(StatusLevel::Read),
        BubbleStatus::Played => Some(StatusLevel::Played),
        BubbleStatus::Accepted | BubbleStatus::Failed => None,
    }
}
