//! Who is who: finds or makes the contact behind the identifiers of an event, links identifiers that were seen
//! together, and follows changes. Pure: it works on what was loaded and lists what must be written.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::contact::{Address, AddressKind, IdentityChange, Person};
use crate::ids::{ContactId, Ids};

/// An identifier that the database knows, with the contact behind it.
#[derive(Debug, Clone)]
pub(super) struct KnownIdentity {
    pub id: Uuid,
    pub address: Address,
    pub contact_id: ContactId,
    pub is_live: bool,
}

/// What a contact is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ContactNames {
    pub name: Option<String>,
    pub username: Option<String>,
}

/// What must be written, in this order.
#[derive(Debug, Default)]
pub(super) struct IdentityWrites {
    pub new_contacts: Vec<(ContactId, ContactNames)>,
    /// Identity rows that give way.
    pub superseded: Vec<Uuid>,
    /// `(from, into)`: everything known of the first belongs to the second.
    pub merges: Vec<(ContactId, ContactId)>,
    pub new_identities: Vec<NewIdentity>,
    pub renamed: Vec<(ContactId, ContactNames)>,
}

impl IdentityWrites {
    /// Whether an identifier now leads to somebody else than before.
    pub fn change_who_is_who(&self) -> bool {
        !(self.superseded.is_empty() && self.merges.is_empty())
    }

    /// Whoever a contact is after the merges.
    pub fn present(&self, contact: ContactId) -> ContactId {
        self.merges.iter().fold(contact, |contact, (from, into)| if contact == *from { *into } else { contact })
    }

    /// Whether people who were known before change, too.
    pub fn touch_known(&self) -> bool {
        !(self.superseded.is_empty() && self.renamed.is_empty() && self.merges.is_empty())
    }
}

/// An identifier that the database is to know.
#[derive(Debug)]
pub(super) struct NewIdentity {
    pub id: Uuid,
    pub address: Address,
    pub contact_id: ContactId,
    /// False when it gave way again within the same batch.
    pub is_live: bool,
}

/// The identities that a batch touches.
#[derive(Debug)]
pub(super) struct IdentityBook<'a> {
    ids: &'a Ids,
    now: Timestamp,
    known: Vec<KnownIdentity>,
    by_address: HashMap<Address, Vec<usize>>,
    names: HashMap<ContactId, ContactNames>,
    writes: IdentityWrites,
}

impl<'a> IdentityBook<'a> {
    /// A book over everything the database knows about the addresses of a batch, and about their contacts.
    pub fn new(
        ids: &'a Ids,
        now: Timestamp,
        known: Vec<KnownIdentity>,
        names: HashMap<ContactId, ContactNames>,
    ) -> Self {
        let mut book =
            Self { ids, now, known: Vec::new(), by_address: HashMap::new(), names, writes: IdentityWrites::default() };
        for identity in known {
            book.remember(identity);
        }
        book
    }

    /// The contact behind `person`, made on first sight. Identifiers seen together are linked.
    ///
    /// A known phone number that arrives with another BSUID than its contact has, without a change having been
    /// announced, may have been given to somebody else: it moves to a new contact, and nothing is merged.
    pub fn resolve(&mut self, person: &Person) -> ContactId {
        let addresses = person.addresses();
        let contact = match self.find(person) {
            Some(contact) => contact,
            None => self.create(),
        };
        self.link(contact, &addresses);
        self.rename(contact, person);
        contact
    }

    /// Whether the database knew already that both identifiers are one person's, before anything of this batch.
    pub fn are_one(&self, person: &Person) -> bool {
        let holders = person.addresses().iter().map(|address| self.live_holder(address)).collect::<Vec<_>>();
        let nothing_new = self.writes.new_identities.is_empty() && !self.writes.touch_known();
        nothing_new && holders.first().is_some_and(|first| first.is_some() && holders.iter().all(|one| one == first))
    }

    /// Whether all that `person` says of a contact is what the database knows once this is written.
    pub fn knows(&self, contact: ContactId, person: &Person) -> bool {
        let says = |said: &Option<String>, known: &Option<String>| said.is_none() || said == known;
        let is_called =
            |names: &ContactNames| says(&person.name, &names.name) && says(&person.username, &names.username);
        self.names.get(&contact).is_some_and(is_called)
            && person.addresses().iter().all(|address| self.live_holder(address) == Some(contact))
    }

    /// Links identifiers seen together if their contact is known; makes nobody.
    pub fn learn(&mut self, person: &Person) {
        if let Some(contact) = self.find(person) {
            self.link(contact, &person.addresses());
        }
    }

    /// The contact behind `person`, if there is one.
    pub fn find(&mut self, person: &Person) -> Option<ContactId> {
        let lookup = |book: &Self, kind, value: &Option<String>| {
            let value = value.clone()?;
            book.holder(&Address { kind, value })
        };
        let by_bsuid = lookup(self, AddressKind::Bsuid, &person.bsuid);
        let by_phone = lookup(self, AddressKind::Phone, &person.phone);
        let by_parent = lookup(self, AddressKind::ParentBsuid, &person.parent_bsuid);
        match (by_bsuid, by_phone) {
            (Some(user), Some(phone_owner)) if user != phone_owner && !self.has_live_bsuid(phone_owner) => {
                // Known by phone before, by BSUID since: one person after all.
                self.merge(phone_owner, user);
                Some(user)
            }
            (Some(user), _) => Some(user),
            (None, Some(phone_owner)) if person.bsuid.is_some() && self.has_live_bsuid(phone_owner) => None,
            (None, Some(phone_owner)) => Some(phone_owner),
            (None, None) => by_parent.filter(|parent| person.bsuid.is_none() || !self.has_live_bsuid(*parent)),
        }
    }

    /// Follows an announced change. Idempotent, and right also when the first message from the new identifier came
    /// before the announcement.
    pub fn change(&mut self, change: &IdentityChange) -> Option<ContactId> {
        let before = change.previous.iter().find_map(|address| self.holder(address));
        let after = change.current.iter().find_map(|address| self.live_holder(address));
        let contact = match (before, after) {
            (Some(before), Some(after)) if before != after => {
                self.merge(after, before);
                before
            }
            (Some(contact), _) | (None, Some(contact)) => contact,
            (None, None) => self.create(),
        };
        for address in change.previous.iter().filter(|address| !change.current.contains(address)) {
            self.supersede(address, contact);
        }
        // A person has one live identifier of each kind.
        for address in &change.current {
            let outdated: Vec<Address> = self
                .known
                .iter()
                .filter(|one| one.is_live && one.contact_id == contact && one.address.kind == address.kind)
                .filter(|one| one.address != *address)
                .map(|one| one.address.clone())
                .collect();
            for old in outdated {
                self.supersede(&old, contact);
            }
        }
        self.link(contact, &change.current);
        Some(contact)
    }

    /// What must be written.
    pub fn into_writes(self) -> IdentityWrites {
        self.writes
    }

    fn remember(&mut self, identity: KnownIdentity) {
        self.by_address.entry(identity.address.clone()).or_default().push(self.known.len());
        self.known.push(identity);
    }

    /// Who holds the address now; else who held it last.
    fn holder(&self, address: &Address) -> Option<ContactId> {
        self.live_holder(address).or_else(|| {
            let rows = self.by_address.get(address)?;
            rows.iter().map(|row| &self.known[*row]).max_by_key(|one| one.id).map(|one| one.contact_id)
        })
    }

    fn live_holder(&self, address: &Address) -> Option<ContactId> {
        let rows = self.by_address.get(address)?;
        rows.iter().map(|row| &self.known[*row]).find(|one| one.is_live).map(|one| one.contact_id)
    }

    fn has_live_bsuid(&self, contact: ContactId) -> bool {
        self.known.iter().any(|one| one.is_live && one.contact_id == contact && one.address.kind == AddressKind::Bsuid)
    }

    fn create(&mut self) -> ContactId {
        let contact = self.ids.contact(self.now);
        self.writes.new_contacts.push((contact, ContactNames::default()));
        contact
    }

    fn link(&mut self, contact: ContactId, addresses: &[Address]) {
        for address in addresses {
            match self.live_holder(address) {
                Some(holder) if holder == contact => continue,
                // A parent id is a hint, shared by design: it stays with whom it was seen first.
                Some(_) if address.kind == AddressKind::ParentBsuid => continue,
                Some(holder) => self.supersede(address, holder),
                // An old identifier in a late message: it leads to its contact, but is not theirs again.
                None if addresses.len() == 1 && self.holder(address) == Some(contact) => continue,
                None => {}
            }
            let id = self.ids.uuid(self.now);
            let address = address.clone();
            self.writes.new_identities.push(NewIdentity {
                id,
                address: address.clone(),
                contact_id: contact,
                is_live: true,
            });
            self.remember(KnownIdentity { id, address, contact_id: contact, is_live: true });
        }
    }

    fn supersede(&mut self, address: &Address, holder: ContactId) {
        for row in self.by_address.get(address).cloned().unwrap_or_default() {
            let one = &mut self.known[row];
            if !one.is_live || one.contact_id != holder {
                continue;
            }
            one.is_live = false;
            let id = one.id;
            match self.writes.new_identities.iter_mut().find(|new| new.id == id) {
                Some(new) => new.is_live = false,
                None => self.writes.superseded.push(id),
            }
        }
    }

    fn merge(&mut self, from: ContactId, into: ContactId) {
        for one in self.known.iter_mut().filter(|one| one.contact_id == from) {
            one.contact_id = into;
        }
        for new in self.writes.new_identities.iter_mut().filter(|new| new.contact_id == from) {
            new.contact_id = into;
        }
        self.writes.merges.push((from, into));
    }

    fn rename(&mut self, contact: ContactId, person: &Person) {
        let current = self.names.entry(contact).or_default();
        let next = ContactNames {
            name: person.name.clone().or_else(|| current.name.clone()),
            username: person.username.clone().or_else(|| current.username.clone()),
        };
        if *current == next {
            return;
        }
        *current = next.clone();
        if let Some(created) = self.writes.new_contacts.iter_mut().find(|(id, _)| *id == contact) {
            created.1 = next;
        } else if let Some(renamed) = self.writes.renamed.iter_mut().find(|(id, _)| *id == contact) {
            renamed.1 = next;
        } else {
            self.writes.renamed.push((contact, next));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap()
    }

    fn person(phone: &str, bsuid: &str) -> Person {
        let some = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        Person { phone: some(phone), bsuid: some(bsuid), ..Person::default() }
    }

    fn phone(value: &str) -> Address {
        Address { kind: AddressKind::Phone, value: value.to_owned() }
    }

    fn bsuid(value: &str) -> Address {
        Address { kind: AddressKind::Bsuid, value: value.to_owned() }
    }

    fn book(ids: &Ids) -> IdentityBook<'_> {
        IdentityBook::new(ids, at(), Vec::new(), HashMap::new())
    }

    #[test]
    fn identifiers_seen_together_lead_to_one_contact() {
        let ids = Ids::seeded(1);
        let mut book = book(&ids);
        let ana = book.resolve(&person("551", "BR.1"));
        assert_eq!(book.resolve(&person("", "BR.1")), ana);
        assert_eq!(book.resolve(&person("551", "")), ana);
        let writes = book.into_writes();
        assert_eq!((writes.new_contacts.len(), writes.new_identities.len()), (1, 2));
    }

    #[test]
    fn a_phone_known_before_user_ids_existed_gets_its_user_id() {
        let ids = Ids::seeded(1);
        let mut book = book(&ids);
        let ana = book.resolve(&person("551", ""));
        book.learn(&person("551", "BR.1"));
        assert_eq!(book.resolve(&person("", "BR.1")), ana);
        book.learn(&person("552", "BR.9"));
        assert_eq!(book.into_writes().new_contacts.len(), 1, "learning makes nobody");
    }

    #[test]
    fn a_recycled_number_becomes_somebody_else() {
        let ids = Ids::seeded(1);
        let mut book = book(&ids);
        let before = book.resolve(&person("551", "BR.1"));
        let after = book.resolve(&person("551", "BR.2"));
        assert_ne!(before, after);
        assert_eq!(book.resolve(&person("551", "")), after, "the number went to its new owner");
        assert_eq!(book.resolve(&person("", "BR.1")), before, "the old owner keeps the user id");
        assert!(book.into_writes().merges.is_empty(), "no history is merged in silence");
    }

    #[test]
    fn an_announced_change_keeps_the_contact_whichever_comes_first() {
        let change = IdentityChange { previous: vec![bsuid("BR.1")], current: vec![bsuid("BR.2")] };
        for message_first in [false, true] {
            let ids = Ids::seeded(1);
            let mut book = book(&ids);
            let ana = book.resolve(&person("", "BR.1"));
            if message_first {
                assert_ne!(book.resolve(&person("", "BR.2")), ana, "not announced yet");
            }
            for _ in 0..2 {
                book.change(&change);
            }
            assert_eq!(book.resolve(&person("", "BR.2")), ana);
            assert_eq!(book.resolve(&person("", "BR.1")), ana, "a late message from the old id");
            let writes = book.into_writes();
            assert_eq!(writes.merges.len(), usize::from(message_first), "merged once, however often announced");
        }
    }

    #[test]
    fn a_number_change_moves_the_contact_to_the_new_number() {
        let ids = Ids::seeded(1);
        let mut book = book(&ids);
        let ana = book.resolve(&person("551", "BR.1"));
        book.change(&IdentityChange {
            previous: vec![phone("551"), bsuid("BR.1")],
            current: vec![phone("559"), bsuid("BR.2")],
        });
        assert_eq!(book.resolve(&person("559", "BR.2")), ana);
        let stranger = book.resolve(&person("551", "BR.7"));
        assert_ne!(stranger, ana, "the old number is free for somebody else");
    }

    #[test]
    fn phone_only_and_user_id_only_histories_of_one_person_are_joined() {
        let ids = Ids::seeded(1);
        let mut book = book(&ids);
        let by_phone = book.resolve(&person("551", ""));
        let by_id = book.resolve(&person("", "BR.1"));
        assert_ne!(by_phone, by_id);
        assert_eq!(book.resolve(&person("551", "BR.1")), by_id);
        assert_eq!(book.resolve(&person("551", "")), by_id);
        assert_eq!(book.into_writes().merges, [(by_phone, by_id)]);
    }
}
