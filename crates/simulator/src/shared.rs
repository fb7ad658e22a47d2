//! What all tasks of a simulator share: the world behind its lock, the clock, the timers, the listeners.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SimClock;
use crate::config::{SimulatorConfig, StartError};
use crate::deliver;
use crate::timers::Timers;
use crate::view::SimEvent;
use crate::world::{Job, World};

/// Events kept for a slow listener; past it the oldest go and the listener is told.
pub const EVENTS_MAX: usize = 8_192;

/// Hears of replies by the phone's id. It is called while the world stands still: it must not touch the simulator.
pub(crate) type ReplyListener = Box<dyn Fn(&str) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) config: Arc<SimulatorConfig>,
    world: Mutex<World>,
    pub(crate) clock: SimClock,
    pub(crate) timers: Timers,
    pub(crate) events: broadcast::Sender<SimEvent>,
    pub(crate) client: reqwest::Client,
    pub(crate) delivering: Semaphore,
    /// Told the phone of each message of the business as it is accepted.
    pub(crate) reply_listener: OnceLock<ReplyListener>,
    pub(crate) cancel: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn new(config: SimulatorConfig, public_url: String) -> Result<Self, StartError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_millis(config.delivery_timeout_milliseconds))
            .tcp_nodelay(true)
            .user_agent("facebookexternalua")
            .build()?;
        let config = Arc::new(config);
        Ok(Self {
            world: Mutex::new(World::new(Arc::clone(&config), public_url)),
            clock: SimClock::default(),
            timers: Timers::default(),
            events: broadcast::Sender::new(EVENTS_MAX),
            client,
            delivering: Semaphore::new(config.delivery_concurrency),
            reply_listener: OnceLock::new(),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config,
        })
    }

    /// Does something with the world, then passes on what follows from it. Events leave in the order of the acts.
    pub(crate) fn act<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.now_milliseconds = self.clock.now_milliseconds();
        world.watched = self.events.receiver_count() > 0;
        world.crowded = self.timers.is_full();
        let result = work(&mut world);
        let effects = std::mem::take(&mut world.effects);
        if let Some(listener) = self.reply_listener.get() {
            effects.replies.iter().for_each(|phone_id| listener(phone_id));
        }
        for event in effects.events {
            // An error only says that the last listener has just gone.
            _ = self.events.send(event);
        }
        for (delay_milliseconds, job) in effects.jobs {
            self.timers.add(delay_milliseconds, job);
        }
        result
    }

    /// Does scheduled work until cancelled.
    pub(crate) async fn work(self: Arc<Self>) {
        while let Some(job) = self.timers.next(&self.cancel).await {
            match &job {
                Job::Advance(sent, status) => self.act(|world| world.advance(sent, *status)),
                Job::SendStatuses => self.act(World::send_statuses),
                Job::ApproveTemplate(id) => self.act(|world| world.approve_template(id)),
                Job::TypingEnd(phone_id) => self.act(|world| world.expire_typing(Some(phone_id))),
                Job::Deliver { number, attempts } => {
                    let (shared, number, attempts) = (Arc::clone(&self), *number, *attempts);
                    self.tasks.spawn(async move {
                        deliver::attempt(&shared, number, attempts).await;
                        shared.timers.done(&Job::Deliver { number, attempts });
                    });
                    continue;
                }
            }
            self.timers.done(&job);
        }
    }
}
