//! Familiar people: what somebody is known by, and the conversation that it led to last time. Their next message needs no
//! look-up. The database keeps a version of who is who; what is written on the strength of memory is written only while that
//! version is the one that memory began with.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use uuid::Uuid;

use super::db::{Tx, on, row};
use super::error::StoreError;
use super::script::Guard;
use crate::domain::contact::Person;
use crate::domain::inbound::NewInbound;
use crate::ids::ConversationId;

/// People of one generation. Two generations of them take 100 MB at the very most; a hundred thousand people take 8.
const FAMILIAR_PEOPLE_MAX: usize = 500_000;

/// The statement that a guard compares with the version of a memory.
const VERSION: &str = "SELECT version AS id FROM people_versions WHERE name = 'who_is_who'";

/// What a process remembers of people. It forgets by itself, which costs a look-up and no more.
#[derive(Default)]
pub(super) struct FamiliarPeople {
    hashers: [RandomState; 2],
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    version: Option<Uuid>,
    /// Counts how often everything was forgotten: what was looked up before must not be remembered after.
    epoch: u64,
    /// When the young one is full it takes the place of the old one.
    generations: [HashMap<u128, Known>; 2],
    /// Whom a batch met that is not committed yet, and the epoch of that.
    met: (u64, Vec<(u128, Known)>),
}

#[derive(Clone, Copy)]
struct Known {
    place: Place,
    /// Hashes of name and username; zero for one that was not said.
    names: [u32; 2],
}

/// Where what somebody writes belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub conversation_id: ConversationId,
    /// What the database has for the opening of its window, or something earlier.
    pub opened_at: Option<Timestamp>,
}

/// What memory stood for when a batch began.
#[derive(Debug, Clone, Copy)]
pub(super) struct AsOf {
    version: Uuid,
    epoch: u64,
}

impl AsOf {
    /// Lets a script write only while who is who has not changed since.
    pub fn guard(self) -> Guard {
        Guard { sql: VERSION, expected: self.version }
    }
}

row! { struct VersionRow { id: Uuid } }

impl FamiliarPeople {
    /// The version to work with; read from the database where memory begins anew.
    pub async fn as_of(&self, tx: &mut Tx) -> Result<AsOf, StoreError> {
        let epoch = {
            let memory = self.memory();
            if let Some(version) = memory.version {
                return Ok(AsOf { version, epoch: memory.epoch });
            }
            memory.epoch
        };
        let row: VersionRow = on!(&mut *tx, |connection, D| sqlx::query_as(VERSION).fetch_one(connection).await?);
        let mut memory = self.memory();
        if memory.epoch == epoch {
            memory.version = Some(row.id);
        }
        Ok(AsOf { version: row.id, epoch })
    }

    /// The place of somebody familiar. `None` where a look-up has to tell, or has something to learn: an identity
    /// change, another name.
    pub fn find(&self, as_of: AsOf, message: &NewInbound) -> Option<Place> {
        if message.identity_change.is_some() {
            return None;
        }
        let key = self.key(message);
        let memory = self.memory();
        if memory.epoch != as_of.epoch {
            return None;
        }
        let known = memory.generations.iter().find_map(|generation| generation.get(&key))?;
        let same = |(said, known): (u32, u32)| said == 0 || said == known;
        self.names(&message.person).into_iter().zip(known.names).all(same).then_some(known.place)
    }

    /// A batch begins. What the last one met and did not commit is nothing to remember.
    pub fn begin(&self) {
        self.memory().met.1.clear();
    }

    /// Notes whom a batch met, to be remembered once it is committed: people may be new.
    pub fn meet(&self, as_of: AsOf, message: &NewInbound, place: Place) {
        let known = Known { place, names: self.names(&message.person) };
        let key = self.key(message);
        let met = &mut self.memory().met;
        met.0 = as_of.epoch;
        met.1.push((key, known));
    }

    /// The batch is committed.
    pub fn remember(&self) {
        let memory = &mut *self.memory();
        let (epoch, met) = (memory.met.0, std::mem::take(&mut memory.met.1));
        if memory.epoch != epoch {
            return;
        }
        for (key, known) in met {
            if memory.generations[0].len() >= FAMILIAR_PEOPLE_MAX {
                memory.generations.swap(0, 1);
                memory.generations[0].clear();
            }
            let young = &mut memory.generations[0];
            let names = young.get(&key).map_or([0; 2], |before| before.names);
            young.insert(key, Known { names: said_last(names, known.names), ..known });
        }
    }

    /// Who is who has changed.
    pub fn forget(&self) {
        let mut memory = self.memory();
        memory.version = None;
        memory.epoch += 1;
        memory.generations.iter_mut().for_each(HashMap::clear);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// 128 bits under keys that nobody outside knows: two people do not meet in it.
    fn key(&self, message: &NewInbound) -> u128 {
        let person = &message.person;
        let known_by = (&person.phone, &person.bsuid, &person.parent_bsuid, &message.phone_number_id);
        let [left, right] = [&self.hashers[0], &self.hashers[1]].map(|hasher| u128::from(hasher.hash_one(known_by)));
        left << 64 | right
    }

    fn names(&self, person: &Person) -> [u32; 2] {
        [self.name(&person.name), self.name(&person.username)]
    }

    fn name(&self, name: &Option<impl Hash>) -> u32 {
        let hash = |name| u32::try_from(self.hashers[0].hash_one(name) >> 32).unwrap_or(1).max(1);
        name.as_ref().map_or(0, hash)
    }
}

/// What is not said stays as it is.
fn said_last(before: [u32; 2], said: [u32; 2]) -> [u32; 2] {
    std::array::from_fn(|name| if said[name] == 0 { before[name] } else { said[name] })
}

/// Tells every process that who is who has changed, when this transaction commits.
pub(super) async fn note_change(tx: &mut Tx, version: Uuid) -> Result<(), StoreError> {
    on!(&mut *tx, |connection, D| {
        sqlx::query("UPDATE people_versions SET version = $1 WHERE name = 'who_is_who'")
            .bind(version)
            .execute(connection)
            .await?;
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::contact::{Address, AddressKind};
    use crate::domain::inbound::{InboundState, MessageNature};

    fn message(phone: &str, name: &str) -> NewInbound {
        NewInbound {
            phone_number_id: "900001".into(),
            provider_message_id: "wamid.1".into(),
            person: Person { phone: Some(phone.into()), name: Some(name.into()), ..Person::default() },
            reply_to: Address { kind: AddressKind::Phone, value: phone.into() },
            kind: "text".into(),
            nature: MessageNature::Words,
            text: None,
            target_provider_message_id: None,
            payload: json!({}),
            sent_at: Some(Timestamp::UNIX_EPOCH),
            state: InboundState::Pending,
            opens_window: true,
            is_referred: false,
            identity_change: None,
        }
    }

    fn place() -> Place {
        Place { conversation_id: ConversationId(Uuid::from_u128(1)), opened_at: None }
    }

    #[test]
    fn people_are_familiar_once_their_batch_is_committed_and_not_before() {
        let people = FamiliarPeople::default();
        let as_of = AsOf { version: Uuid::nil(), epoch: 0 };
        let (ana, place) = (message("551", "Ana"), place());
        people.begin();
        people.meet(as_of, &ana, place);
        assert_eq!(people.find(as_of, &ana), None, "her conversation may yet be taken back");
        people.begin();
        people.remember();
        assert_eq!(people.find(as_of, &ana), None, "it was taken back");
        people.begin();
        people.meet(as_of, &ana, place);
        people.remember();
        assert_eq!(people.find(as_of, &ana), Some(place));
        assert_eq!(people.find(as_of, &message("551", "Anna")), None, "there is a name to learn");
        assert_eq!(people.find(as_of, &message("552", "Ana")), None);
    }

    #[test]
    fn what_was_met_before_everything_was_forgotten_is_not_remembered_after() {
        let people = FamiliarPeople::default();
        let before = AsOf { version: Uuid::nil(), epoch: 0 };
        let ana = message("551", "Ana");
        people.meet(before, &ana, place());
        people.forget();
        people.remember();
        let after = AsOf { epoch: 1, ..before };
        assert_eq!((people.find(before, &ana), people.find(after, &ana)), (None, None));
    }
}
