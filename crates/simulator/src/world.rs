//! The simulated world: people with phones, chats, media, templates. Pure: it is told the time and keeps what must be
//! done outside (webhooks, timers, events) in [`Effects`] until the caller takes it.

pub(crate) mod bubble;
mod identity_changes;
pub(crate) mod inbound;
pub(crate) mod log;
pub(crate) mod media;
pub(crate) mod outbound;
pub(crate) mod pace;
pub(crate) mod people;
pub(crate) mod pricing;
pub(crate) mod replies;
pub(crate) mod statuses;
pub(crate) mod templates;
pub(crate) mod webhooks;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::config::SimulatorConfig;
use crate::faults::Faults;
use crate::ids::Ids;
use crate::view::{AcceptedView, BubbleStatus, ControlError, SimEvent};
use crate::world::bubble::Bubble;
use crate::world::log::{Deliveries, Requests};
use crate::world::media::MediaStore;
use crate::world::outbound::Sent;
use crate::world::people::People;
use crate::world::pricing::Allowance;
use crate::world::statuses::StatusItem;
use crate::world::templates::Templates;

/// Bubbles kept in all chats together; past it the oldest go.
pub const BUBBLES_MAX: usize = 100_000;
/// Bubbles kept in one chat; past it the oldest go.
pub const BUBBLES_PER_CHAT_MAX: usize = 1_000;
/// How long the business is shown as typing, in seconds.
pub const TYPING_SECONDS: i64 = 25;
/// The customer service window, in seconds.
pub const WINDOW_SECONDS: i64 = 24 * 3_600;

/// Work for later, by real time.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    /// A message of the business comes one step further.
    Advance(Arc<Sent>, BubbleStatus),
    /// Statuses that waited for others leave.
    SendStatuses,
    /// A new template is approved.
    ApproveTemplate(String),
    /// A webhook leaves; does nothing unless it has been tried exactly so often.
    Deliver { number: u64, attempts: u32 },
    /// Typing may have ended.
    TypingEnd(String),
}

/// What must happen outside of the world after a call.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) events: Vec<SimEvent>,
    /// Phones that a message of the business has come to.
    pub(crate) replies: Vec<String>,
    /// Delay in milliseconds and the work.
    pub(crate) jobs: Vec<(u64, Job)>,
}

/// Everything that the simulator remembers.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Arc<SimulatorConfig>,
    pub(crate) public_url: String,
    pub(crate) webhook_url: Option<String>,
    /// Milliseconds of the simulator's clock, set before each call.
    pub(crate) now_milliseconds: i64,
    /// Whether anybody listens to events; spares making them.
    pub(crate) watched: bool,
    /// Whether too much work is scheduled to take on more.
    pub(crate) crowded: bool,
    pub(crate) ids: Ids,
    pub(crate) people: People,
    /// The chat that a message is in.
    chat_of: HashMap<String, String>,
    bubble_order: VecDeque<(String, String)>,
    pub(crate) media: MediaStore,
    pub(crate) templates: Templates,
    pub(crate) faults: Faults,
    pub(crate) requests: Requests,
    pub(crate) deliveries: Deliveries,
    statuses_waiting: Vec<StatusItem>,
    pub(crate) number_pace: pace::NumberPace,
    pub(crate) allowance: Allowance,
    pub(crate) accepted: AcceptedView,
    pub(crate) effects: Effects,
}

impl World {
    pub(crate) fn new(config: Arc<SimulatorConfig>, public_url: String) -> Self {
        let webhook_url = config.webhook_url.clone();
        let mut ids = Ids::new(config.seed);
        let templates = Templates::seeded(&mut ids);
        Self {
            config,
            public_url,
            webhook_url,
            now_milliseconds: 0,
            watched: false,
            crowded: false,
            ids,
            people: People::default(),
            chat_of: HashMap::new(),
            bubble_order: VecDeque::new(),
            media: MediaStore::default(),
            templates,
            faults: Faults::default(),
            requests: Requests::default(),
            deliveries: Deliveries::default(),
            statuses_waiting: Vec::new(),
            number_pace: pace::NumberPace::default(),
            allowance: Allowance::default(),
            accepted: AcceptedView::default(),
            effects: Effects::default(),
        }
    }

    /// Unix seconds of the simulator's clock.
    pub(crate) fn now(&self) -> i64 {
        self.now_milliseconds.div_euclid(1_000)
    }

    /// Forgets people, chats, media, faults and logs; numbering goes on, so that late work finds nothing.
    pub(crate) fn reset(&mut self) {
        let ids = std::mem::replace(&mut self.ids, Ids::new(self.config.seed));
        let mut fresh = Self::new(Arc::clone(&self.config), self.public_url.clone());
        fresh.ids = ids;
        fresh.webhook_url = self.webhook_url.take();
        fresh.now_milliseconds = self.now_milliseconds;
        fresh.watched = self.watched;
        fresh.requests.continue_after(&self.requests);
        fresh.deliveries.continue_after(&self.deliveries);
        fresh.effects.events.push(SimEvent::Reset);
        *self = fresh;
    }

    pub(crate) fn event(&mut self, make: impl FnOnce() -> SimEvent) {
        if self.watched {
            self.effects.events.push(make());
        }
    }

    pub(crate) fn later(&mut self, delay_milliseconds: u64, job: Job) {
        self.effects.jobs.push((delay_milliseconds, job));
    }

    /// Puts a bubble into a chat and says so.
    pub(crate) fn add_bubble(&mut self, phone_id: &str, bubble: Bubble) {
        let wamid = bubble.id.clone();
        let Some(phone) = self.people.get_mut(phone_id) else {
            return;
        };
        phone.chat.push_back(bubble);
        let surplus = (phone.chat.len() > BUBBLES_PER_CHAT_MAX).then(|| phone.chat.pop_front()).flatten();
        if let Some(surplus) = surplus {
            self.chat_of.remove(&surplus.id);
        }
        self.chat_of.insert(wamid.clone(), phone_id.to_owned());
        self.bubble_order.push_back((phone_id.to_owned(), wamid.clone()));
        if self.bubble_order.len() > BUBBLES_MAX
            && let Some((old_phone, old_wamid)) = self.bubble_order.pop_front()
            && self.chat_of.remove(&old_wamid).is_some()
            && let Some(phone) = self.people.get_mut(&old_phone)
        {
            phone.chat.retain(|bubble| bubble.id != old_wamid);
        }
        if self.watched
            && let Some(view) = self.bubble(&wamid).map(|bubble| bubble.view(phone_id))
        {
            self.effects.events.push(SimEvent::BubbleAdded { bubble: view });
            self.phone_event(phone_id);
        }
    }

    pub(crate) fn chat_of(&self, wamid: &str) -> Option<&str> {
        self.chat_of.get(wamid).map(String::as_str)
    }

    pub(crate) fn bubble(&self, wamid: &str) -> Option<&Bubble> {
        let phone = self.people.get(self.chat_of(wamid)?)?;
        phone.chat.iter().rev().find(|bubble| bubble.id == wamid)
    }

    /// Changes a bubble and says so. `None`: there is no such bubble.
    pub(crate) fn change_bubble<R>(&mut self, wamid: &str, change: impl FnOnce(&mut Bubble) -> R) -> Option<R> {
        let phone_id = self.chat_of.get(wamid)?.clone();
        let phone = self.people.get_mut(&phone_id)?;
        let bubble = phone.chat.iter_mut().rev().find(|bubble| bubble.id == wamid)?;
        let result = change(bubble);
        if self.watched {
            let view = bubble.view(&phone_id);
            self.effects.events.push(SimEvent::BubbleChanged { bubble: view });
        }
        Some(result)
    }

    /// The bubble in this phone's chat, or the refusal that names it.
    pub(crate) fn bubble_in_chat(&self, phone_id: &str, wamid: &str) -> Result<&Bubble, ControlError> {
        match self.bubble(wamid) {
            Some(bubble) if self.chat_of(wamid) == Some(phone_id) => Ok(bubble),
            _ => Err(ControlError::NotFound(format!("there is no message {wamid} in the chat of {phone_id}"))),
        }
    }

    pub(crate) fn forget_chat(&mut self, phone_id: &str) {
        self.chat_of.retain(|_, chat| chat != phone_id);
        self.bubble_order.retain(|(chat, _)| chat != phone_id);
    }
}
