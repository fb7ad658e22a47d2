//! What the business sends, once the Graph API has found it well-formed.

use std::sync::Arc;

use serde_json::Value;

use crate::errors::{GraphError, failure};
use crate::view::{Author, BubbleStatus, FailureView, FaultKind, FaultOn};
use crate::world::bubble::{Bubble, Face};
use crate::world::pricing::{Charged, Price, PriceKind};
use crate::world::{Job, World};

/// How far a reaction or reply may look back, in seconds.
const REACTION_SECONDS_MAX: i64 = 30 * 24 * 3_600;

/// Whom a message is for, as the caller named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Digits.
    Number(String),
    /// A BSUID or parent BSUID.
    UserId(String),
}

impl Address {
    pub(crate) fn identifier(&self) -> &str {
        match self {
            Self::Number(identifier) | Self::UserId(identifier) => identifier,
        }
    }
}

/// A checked message of the business.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) address: Address,
    /// The recipient as written in the request.
    pub(crate) input: String,
    pub(crate) kind: String,
    /// Type and payload as sent.
    pub(crate) content: Value,
    pub(crate) face: Face,
    pub(crate) reply_to: Option<String>,
    pub(crate) callback_data: Option<String>,
    /// The template's category in lower case.
    pub(crate) template_category: Option<String>,
    pub(crate) reaction: Option<(String, String)>,
    /// Why the media cannot be delivered, known only after accepting.
    pub(crate) media_trouble: Option<String>,
}

/// What statuses of an accepted message need.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) wamid: String,
    /// Empty where nobody has this identifier.
    pub(crate) phone_id: String,
    pub(crate) address: Address,
    pub(crate) kind: String,
    pub(crate) callback_data: Option<String>,
    pub(crate) price: Option<Price>,
    /// Set where the message is going to fail.
    pub(crate) failure: Option<FailureView>,
}

impl World {
    /// The phone that an address means.
    pub(crate) fn phone_id_of(&self, address: &Address) -> Option<String> {
        self.people.find(address.identifier()).map(|phone| phone.id.clone())
    }

    /// Refusals that depend on the state of the world and are answered at once.
    pub(crate) fn check_policy(&mut self, outgoing: &Outgoing) -> Result<(), GraphError> {
        if self.crowded {
            return Err(GraphError::new(130_429, "The simulator has too much scheduled work: send more slowly."));
        }
        let identifier = outgoing.address.identifier();
        if identifier == self.config.display_phone_number {
            return Err(GraphError::new(131_021, "The recipient and the sender are the same phone number."));
        }
        let allowed = &self.config.recipient_allow_list;
        if !allowed.is_empty() && !allowed.iter().any(|one| one == identifier) {
            return Err(GraphError::new(131_030, "Recipient phone number not in allowed list"));
        }
        let phone_id = self.phone_id_of(&outgoing.address);
        let in_window = phone_id.as_deref().is_some_and(|id| self.in_window(id));
        let refuses_now = self.config.window_refusal == crate::config::WindowRefusal::Answer;
        if refuses_now && phone_id.is_some() && !in_window && outgoing.template_category.is_none() {
            return Err(GraphError::new(131_047, WINDOW_DETAILS));
        }
        if !self.config.enforce_pace {
            return Ok(());
        }
        let (now, throughput) = (self.now_milliseconds, self.config.throughput_messages_per_second);
        if !self.number_pace.take(now, throughput, false) {
            return Err(GraphError::new(
                130_429,
                "Too many messages were sent from this phone number in a short period.",
            ));
        }
        let phone = phone_id.and_then(|id| self.people.get_mut(&id));
        if phone.is_some_and(|phone| !phone.pace.take(now)) {
            return Err(GraphError::new(
                131_056,
                "Too many messages were sent from this phone number to the same recipient in a short period.",
            ));
        }
        Ok(())
    }

    pub(crate) fn in_window(&self, phone_id: &str) -> bool {
        let until = self.people.get(phone_id).and_then(|phone| phone.window_until());
        until.is_some_and(|until| self.now() < until)
    }

    /// Takes the message on: bubble, price, and the first step of its way. Gives its id.
    pub(crate) fn accept(&mut self, outgoing: Outgoing) -> String {
        let wamid = self.ids.wamid();
        self.accepted.count += 1;
        self.accepted.first_at_milliseconds.get_or_insert(self.now_milliseconds);
        self.accepted.last_at_milliseconds = Some(self.now_milliseconds);
        let phone_id = self.phone_id_of(&outgoing.address).unwrap_or_default();
        let failure = self.coming_failure(&phone_id, &outgoing);
        let price = failure.is_none().then(|| self.price(&phone_id, &outgoing));
        let failure = failure.or_else(|| self.unpaid(price.as_ref()?));
        if failure.is_none() {
            self.number_used(&phone_id, &outgoing.address);
        }
        self.stop_typing(&phone_id);
        let sent = Arc::new(Sent {
            wamid: wamid.clone(),
            phone_id: phone_id.clone(),
            address: outgoing.address.clone(),
            kind: outgoing.kind.clone(),
            callback_data: outgoing.callback_data.clone(),
            price: price.filter(|_| failure.is_none()),
            failure,
        });
        self.later(self.config.sent_after_milliseconds, Job::Advance(Arc::clone(&sent), BubbleStatus::Sent));
        match outgoing.reaction {
            Some((message_id, emoji)) if sent.failure.is_none() => {
                self.change_bubble(&message_id, |bubble| bubble.react(Author::Business, &emoji));
            }
            Some(_) => {}
            None if phone_id.is_empty() => {}
            None => self.add_business_bubble(&phone_id, outgoing, sent),
        }
        wamid
    }

    fn add_business_bubble(&mut self, phone_id: &str, outgoing: Outgoing, sent: Arc<Sent>) {
        let bubble = Bubble {
            id: sent.wamid.clone(),
            author: Author::Business,
            kind: outgoing.kind,
            at: self.now(),
            face: outgoing.face,
            reply_to: outgoing.reply_to,
            status: BubbleStatus::Accepted,
            error: None,
            reactions: Vec::new(),
            edited: false,
            revoked: false,
            content: outgoing.content,
            sent: Some(sent),
        };
        self.effects.replies.push(phone_id.to_owned());
        self.add_bubble(phone_id, bubble);
    }

    /// A hidden number that was written to becomes shown; an answer to an ad opens the free entry point.
    fn number_used(&mut self, phone_id: &str, address: &Address) {
        let now = self.now();
        let Some(phone) = self.people.get_mut(phone_id) else {
            return;
        };
        if matches!(address, Address::Number(_)) {
            phone.number_used_at = Some(now);
        }
        let answers_ad = phone.referral_at.is_some_and(|at| now < at + super::WINDOW_SECONDS);
        if answers_ad && phone.free_entry_until.is_none_or(|until| until <= now) {
            phone.free_entry_until = Some(now + FREE_ENTRY_SECONDS);
            phone.referral_at = None;
        }
    }

    fn unpaid(&self, price: &Price) -> Option<FailureView> {
        let unpaid = !self.config.payment_method && price.kind == PriceKind::Regular;
        unpaid.then(|| failure(131_042, "There is no payment method for messages past the free allowance."))
    }

    fn price(&mut self, phone_id: &str, outgoing: &Outgoing) -> Price {
        let now = self.now();
        let in_free_entry = self.people.get(phone_id).is_some_and(|phone| {
            let answers_ad = phone.referral_at.is_some_and(|at| now < at + super::WINDOW_SECONDS);
            answers_ad || phone.free_entry_until.is_some_and(|until| now < until)
        });
        let charged = Charged {
            template: outgoing.template_category.as_deref(),
            in_window: self.in_window(phone_id),
            in_free_entry,
            now,
            free_per_month: self.config.free_service_messages_per_month,
        };
        self.allowance.charge(charged)
    }

    /// Why an accepted message is going to fail: asked for by a fault, or by the rules.
    fn coming_failure(&mut self, phone_id: &str, outgoing: &Outgoing) -> Option<FailureView> {
        let phone = Some(phone_id).filter(|id| !id.is_empty());
        let asked = self.faults.take(FaultOn::Webhook, phone, |kind| matches!(kind, FaultKind::Error { .. }));
        if let Some(FaultKind::Error { code }) = asked {
            return Some(failure(code, "Asked for by a fault."));
        }
        if phone.is_none() {
            return Some(failure(131_026, "Message undeliverable: nobody on WhatsApp has this identifier."));
        }
        if outgoing.template_category.is_none() && !self.in_window(phone_id) {
            return Some(failure(131_047, WINDOW_DETAILS));
        }
        if let Some(trouble) = &outgoing.media_trouble {
            return Some(failure(131_053, trouble));
        }
        if let Some((message_id, _)) = &outgoing.reaction {
            let oldest = self.now() - REACTION_SECONDS_MAX;
            let found = self.bubble(message_id).is_some_and(|bubble| bubble.at >= oldest);
            if !found || self.chat_of(message_id) != Some(phone_id) {
                return Some(failure(131_009, "The message to react to does not exist or is too old."));
            }
        }
        None
    }

    /// The business has read this message and all earlier ones of its chat. `None`: there is no such message.
    pub(crate) fn mark_read(&mut self, wamid: &str, typing: bool) -> Option<String> {
        let phone_id = self.chat_of(wamid)?.to_owned();
        let phone = self.people.get(&phone_id)?;
        let place = phone.chat.iter().position(|bubble| bubble.id == wamid && bubble.author == Author::User)?;
        let earlier: Vec<String> = phone
            .chat
            .iter()
            .take(place + 1)
            .filter(|bubble| bubble.author == Author::User && bubble.status < BubbleStatus::Read)
            .map(|bubble| bubble.id.clone())
            .collect();
        for id in earlier {
            self.change_bubble(&id, |bubble| bubble.advance(BubbleStatus::Read));
        }
        if typing {
            self.start_typing(&phone_id);
        }
        Some(phone_id)
    }

    /// A webhook with these messages was answered 200.
    pub(crate) fn user_messages_arrived(&mut self, wamids: &[String]) {
        for wamid in wamids {
            let waiting = self.bubble(wamid).is_some_and(|bubble| bubble.status < BubbleStatus::Delivered);
            if waiting {
                self.change_bubble(wamid, |bubble| bubble.advance(BubbleStatus::Delivered));
            }
        }
    }
}

const WINDOW_DETAILS: &str = "Message failed to send because more than 24 hours have passed since the customer last \
                              replied to this number.";
/// How long a free entry point lasts, in seconds.
const FREE_ENTRY_SECONDS: i64 = 72 * 3_600;
