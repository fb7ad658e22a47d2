//! Identifiers: version 7 UUIDs, so that ids made later sort later, also within one millisecond of one process.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bits of a version 7 UUID behind its millisecond: 12 in the first half, 62 in the second.
const TAIL_BITS: u32 = 74;
/// A fresh tail leaves its upper bits clear, so that a millisecond can count up without overflowing.
const FRESH_TAIL_BITS: u32 = 72;

/// The bits of a UUID that follow its variant.
const LOWER_TAIL: u128 = (1 << 62) - 1;
/// Where a UUID says its version.
const VERSION_SHIFT: u32 = 76;
const VERSION: u128 = 0xf << VERSION_SHIFT;
/// Odd, so that different steps change the tail differently.
const GOLDEN_RATIO_62_BITS: u128 = 0x9e37_79b9_7f4a_7c15 >> 2 | 1;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A person (or a number that may have changed hands) as the platform knows them.
    ContactId
}
id! {
    /// A contact on one of our phone numbers.
    ConversationId
}
id! {
    /// A message that somebody sent to us.
    InboundId
}
id! {
    /// One run of an agent over the messages that waited in a conversation.
    TurnId
}
id! {
    /// A message that we send: a row of the send ledger.
    OutboundId
}
id! {
    /// What is said to a person at a time, once or again and again.
    ScheduleId
}

impl ScheduleId {
    /// The schedule that the `step`-th step of an answer to `message` makes: however often the turn is repeated, this one. It is
    /// of version 8, so it meets no id that was made by chance.
    pub fn made_by(message: InboundId, step: u32) -> Self {
        let spread = u128::from(step) * GOLDEN_RATIO_62_BITS;
        let tail = (message.0.as_u128() ^ spread) & LOWER_TAIL;
        let head = message.0.as_u128() & !LOWER_TAIL & !VERSION;
        Self(Uuid::from_u128(head | 0x8 << VERSION_SHIFT | tail))
    }
}

/// Makes ids. Time comes from the caller's clock, chance from the seed.
#[derive(Debug)]
pub struct Ids {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    last_milliseconds: u64,
    tail: u128,
}

impl Ids {
    /// A generator whose random parts follow from `seed`: equal seeds and clocks make equal ids.
    pub fn seeded(seed: u64) -> Self {
        Self::from_rng(StdRng::seed_from_u64(seed))
    }

    /// A generator seeded by the given source of randomness.
    pub fn from_rng(rng: StdRng) -> Self {
        Self { state: Mutex::new(State { rng, last_milliseconds: 0, tail: 0 }) }
    }

    /// A new id, greater than every id this generator made before, even when `now` stands still or goes back.
    pub fn uuid(&self, now: Timestamp) -> Uuid {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        if milliseconds > state.last_milliseconds {
            state.last_milliseconds = milliseconds;
            state.tail = random_u128(&mut state.rng) >> (128 - FRESH_TAIL_BITS);
        } else {
            // A random step, so that the next id cannot be guessed from the last one.
            let step = u128::from(state.rng.next_u32()) + 1;
            state.tail += step;
            if state.tail >> TAIL_BITS != 0 {
                state.last_milliseconds += 1;
                state.tail = random_u128(&mut state.rng) >> (128 - FRESH_TAIL_BITS);
            }
        }
        assemble(state.last_milliseconds, state.tail)
    }

    /// A new contact id.
    pub fn contact(&self, now: Timestamp) -> ContactId {
        ContactId(self.uuid(now))
    }

    /// A new conversation id.
    pub fn conversation(&self, now: Timestamp) -> ConversationId {
        ConversationId(self.uuid(now))
    }

    /// A new inbound message id.
    pub fn inbound(&self, now: Timestamp) -> InboundId {
        InboundId(self.uuid(now))
    }

    /// A new turn id.
    pub fn turn(&self, now: Timestamp) -> TurnId {
        TurnId(self.uuid(now))
    }

    /// A new outbound message id.
    pub fn outbound(&self, now: Timestamp) -> OutboundId {
        OutboundId(self.uuid(now))
    }

    /// A new schedule id.
    pub fn schedule(&self, now: Timestamp) -> ScheduleId {
        ScheduleId(self.uuid(now))
    }
}

fn random_u128(rng: &mut StdRng) -> u128 {
    (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64())
}

fn assemble(milliseconds: u64, tail: u128) -> Uuid {
    let upper_tail = (tail >> 62) & 0xfff;
    let lower_tail = tail & ((1 << 62) - 1);
    let high = (u128::from(milliseconds) << 16) | 0x7000 | upper_tail;
    Uuid::from_u128((high << 64) | (0b10 << 62) | lower_tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_while_the_clock_stands_still_or_goes_back() {
        let ids = Ids::seeded(7);
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_790_000_000);
        let mut last = ids.uuid(now);
        for step in 0..10_000_i64 {
            let next = ids.uuid(now - jiff::SignedDuration::from_millis(step % 3));
            assert!(next > last, "{next} after {last}");
            assert_eq!(next.get_version_num(), 7);
            assert_eq!(next.get_variant(), uuid::Variant::RFC4122);
            last = next;
        }
    }

    #[test]
    fn a_step_makes_the_same_schedule_however_often_it_is_taken() {
        let ids = Ids::seeded(1);
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_790_000_000);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let message = ids.inbound(now);
            for step in 0..20 {
                let made = ScheduleId::made_by(message, step);
                assert_eq!(made, ScheduleId::made_by(message, step));
                assert_eq!((made.0.get_version_num(), made.0.get_variant()), (8, uuid::Variant::RFC4122));
                assert!(seen.insert(made), "{message} {step}");
            }
        }
    }

    #[test]
    fn equal_seeds_make_equal_ids() {
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_790_000_000);
        assert_eq!(Ids::seeded(1).uuid(now), Ids::seeded(1).uuid(now));
        assert_ne!(Ids::seeded(1).uuid(now), Ids::seeded(2).uuid(now));
    }
}
