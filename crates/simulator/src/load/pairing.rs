//! Which phone sends next, and which message a reply belongs to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Phones that rest and phones that wait for a reply.
pub(super) struct Pairing {
    state: Mutex<State>,
    nobody_waits: Notify,
}

struct State {
    /// The one that has rested longest stands in front.
    resting: VecDeque<String>,
    /// Since when it waits: the moment at which its message was meant to leave.
    waiting: HashMap<String, Instant>,
    /// Where no phone rests, the waiting ones lend themselves in turn.
    lenders: VecDeque<String>,
}

impl Pairing {
    /// `phones` must not be empty.
    pub(super) fn new(phones: Vec<String>) -> Self {
        let lenders = phones.iter().cloned().collect();
        let state = State { resting: phones.into(), waiting: HashMap::new(), lenders };
        Self { state: Mutex::new(state), nobody_waits: Notify::new() }
    }

    /// A phone for a message that was meant to leave at `intended`, and whether its reply will be measured. A phone
    /// that waits already keeps waiting for its first message.
    pub(super) fn take(&self, intended: Instant) -> (String, bool) {
        let mut state = self.lock();
        if let Some(phone) = state.resting.pop_front() {
            state.waiting.insert(phone.clone(), intended);
            return (phone, true);
        }
        state.lenders.rotate_left(1);
        (state.lenders.back().cloned().unwrap_or_default(), false)
    }

    /// The first reply to a phone that waits: when its message was meant to leave. The phone rests again.
    pub(super) fn reply(&self, phone: &str) -> Option<Instant> {
        let mut state = self.lock();
        let (phone, intended) = state.waiting.remove_entry(phone)?;
        state.resting.push_back(phone);
        if state.waiting.is_empty() {
            self.nobody_waits.notify_waiters();
        }
        Some(intended)
    }

    /// The message was not accepted: nothing is to be waited for. `false`: a reply came all the same.
    pub(super) fn give_up(&self, phone: &str) -> bool {
        self.reply(phone).is_some()
    }

    /// How many phones wait for a reply.
    pub(super) fn waiting(&self) -> u64 {
        self.lock().waiting.len() as u64
    }

    /// Resolves when no phone waits.
    pub(super) async fn all_paired(&self) {
        loop {
            let notified = self.nobody_waits.notified();
            tokio::pin!(notified);
            // Registered before looking, so that a reply in between is not missed.
            notified.as_mut().enable();
            if self.waiting() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use super::*;

    fn pairing(names: &[&str]) -> Pairing {
        Pairing::new(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn the_phone_that_rested_longest_sends_and_only_its_first_reply_counts() {
        let pairing = pairing(&["a", "b"]);
        let start = Instant::now();
        assert_eq!(pairing.take(start), ("a".to_owned(), true));
        assert_eq!(pairing.reply("a"), Some(start));
        assert_eq!(pairing.reply("a"), None, "a second bubble of the same reply is no reply to a message");
        assert_eq!(pairing.take(start).0, "b");
        assert_eq!(pairing.take(start).0, "a");
        assert_eq!(pairing.waiting(), 2);
    }

    #[test]
    fn without_a_resting_phone_messages_leave_unpaired_and_the_first_intention_stays() {
        let pairing = pairing(&["a", "b"]);
        let (first, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        pairing.take(first);
        pairing.take(first);
        let lent: Vec<(String, bool)> = (0..3).map(|_| pairing.take(later)).collect();
        assert_eq!(
            lent.iter().map(|(phone, paired)| (phone.as_str(), *paired)).collect::<Vec<_>>(),
            [("a", false), ("b", false), ("a", false)]
        );
        assert_eq!(pairing.reply("a"), Some(first));
    }

    #[tokio::test]
    async fn draining_ends_with_the_last_reply() {
        let pairing = std::sync::Arc::new(pairing(&["a"]));
        pairing.take(Instant::now());
        let drained = tokio::spawn({
            let pairing = std::sync::Arc::clone(&pairing);
            async move { pairing.all_paired().await }
        });
        pairing.reply("a");
        drained.await.unwrap();
        pairing.all_paired().await;
    }
}
