//! People as the database knows them: their identifiers and conversations, loaded together, and what a batch changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use super::familiar::Place;
use super::identity::{ContactNames, IdentityWrites, KnownIdentity};
use super::script::{Kind, Rows, Script};
use super::{consent, erasures};
use crate::domain::contact::{Address, AddressKind, PORTFOLIO_ID};
use crate::domain::conversation::ConversationMode;
use crate::domain::inbound::NewInbound;
use crate::ids::{ContactId, ConversationId, Ids};

/// What the database knows of the people behind some addresses.
#[derive(Debug, Default)]
pub(super) struct KnownPeople {
    pub identities: Vec<KnownIdentity>,
    pub names: HashMap<ContactId, ContactNames>,
    pub conversations: KnownConversations,
    /// Those whose messages get no turn.
    pub blocked: HashSet<ContactId>,
}

/// Conversations by person and number.
pub(super) type KnownConversations = HashMap<(ContactId, String), KnownConversation>;

#[derive(Debug, Clone, Copy)]
pub(super) struct KnownConversation {
    id: ConversationId,
    last_inbound_at: Option<Timestamp>,
    /// When somebody came into it through an advertisement, in this batch.
    referred_at: Option<Timestamp>,
    /// Whether something is held in it until its window opens.
    holds: bool,
    /// Made by this batch.
    is_new: bool,
}

row! {
    struct PersonRow {
        identity_id: Uuid,
        kind: String,
        value: String,
        contact_id: Uuid,
        superseded_at: Option<Ts>,
        name: Option<String>,
        username: Option<String>,
        blocked_at: Option<Ts>,
        conversation_id: Option<Uuid>,
        phone_number_id: Option<String>,
        last_inbound_at: Option<Ts>,
        holds: bool,
    }
}
row! {
    struct ConversationRow {
        contact_id: Uuid,
        conversation_id: Uuid,
        phone_number_id: String,
        last_inbound_at: Option<Ts>,
        holds: bool,
    }
}

/// Loads the given addresses, every other identifier of the contacts behind them, and their conversations.
pub(super) async fn load_people(tx: &mut Tx, addresses: &[Address]) -> Result<KnownPeople, StoreError> {
    let mut wanted = Rows::new("wanted", &[("portfolio_id", Kind::Text), ("kind", Kind::Text), ("value", Kind::Text)]);
    for address in addresses {
        wanted.push([PORTFOLIO_ID.into(), address.kind.as_str().into(), (&address.value).into()]);
    }
    let rows: Vec<PersonRow> = wanted
        .fetch(
            tx,
            // Who holds an address now, else who held it last. One look-up each, whatever the planners make of the rest;
            // CROSS JOIN keeps SQLite from walking through all identities in search of the few that are wanted.
            "SELECT i.id AS identity_id, i.kind, i.value, i.contact_id, i.superseded_at, c.name, c.username,
                    c.blocked_at, t.id AS conversation_id, t.phone_number_id, t.last_inbound_at,
                    (SELECT 1 FROM outbound_messages o
                     WHERE o.state IN ('queued', 'sending', 'unknown', 'held') AND o.state = 'held'
                       AND o.conversation_id = t.id LIMIT 1) IS NOT NULL AS holds
             FROM (SELECT DISTINCT coalesce(
                       (SELECT k.contact_id FROM contact_identities k
                        WHERE k.superseded_at IS NULL
                          AND k.portfolio_id = w.portfolio_id AND k.kind = w.kind AND k.value = w.value LIMIT 1),
                       (SELECT k.contact_id FROM contact_identities k
                        WHERE k.superseded_at IS NOT NULL
                          AND k.portfolio_id = w.portfolio_id AND k.kind = w.kind AND k.value = w.value
                        ORDER BY k.superseded_at DESC, k.id DESC LIMIT 1)) AS contact_id
                   FROM wanted w) hit
             CROSS JOIN contact_identities i
             CROSS JOIN contacts c
             LEFT JOIN conversations t ON t.contact_id = c.id
             WHERE i.contact_id = hit.contact_id AND c.id = hit.contact_id",
        )
        .await?;
    let mut people = KnownPeople::default();
    let mut seen = HashSet::new();
    for row in rows {
        let contact_id = ContactId(row.contact_id);
        if let (Some(id), Some(phone_number_id)) = (row.conversation_id, row.phone_number_id) {
            let id = ConversationId(id);
            let last_inbound_at = row.last_inbound_at.map(|at| at.0);
            let known = KnownConversation { id, last_inbound_at, referred_at: None, holds: row.holds, is_new: false };
            people.conversations.insert((contact_id, phone_number_id), known);
        }
        // Once for each address that leads to it and for each conversation.
        if !seen.insert(row.identity_id) {
            continue;
        }
        let kind = AddressKind::parse(&row.kind).ok_or_else(|| StoreError::unreadable("identity kind", &row.kind))?;
        if row.blocked_at.is_some() {
            people.blocked.insert(contact_id);
        }
        people.names.insert(contact_id, ContactNames { name: row.name, username: row.username });
        let address = Address { kind, value: row.value };
        let is_live = row.superseded_at.is_none();
        people.identities.push(KnownIdentity { id: row.identity_id, address, contact_id, is_live });
    }
    Ok(people)
}

/// The conversations of these people, for when a merge has moved some.
pub(super) async fn load_conversations(
    tx: &mut Tx,
    contacts: impl Iterator<Item = ContactId>,
) -> Result<KnownConversations, StoreError> {
    let mut wanted = Rows::new("wanted", &[("contact_id", Kind::Id)]);
    let contacts: HashSet<ContactId> = contacts.collect();
    contacts.into_iter().for_each(|contact| wanted.push([contact.0.into()]));
    let rows: Vec<ConversationRow> = wanted
        .fetch(
            tx,
            "SELECT t.contact_id, t.id AS conversation_id, t.phone_number_id, t.last_inbound_at,
                    (SELECT 1 FROM outbound_messages o
                     WHERE o.state IN ('queued', 'sending', 'unknown', 'held') AND o.state = 'held'
                       AND o.conversation_id = t.id LIMIT 1) IS NOT NULL AS holds
             FROM wanted w CROSS JOIN conversations t WHERE t.contact_id = w.contact_id",
        )
        .await?;
    let known = |row: &ConversationRow| KnownConversation {
        id: ConversationId(row.conversation_id),
        last_inbound_at: row.last_inbound_at.map(|at| at.0),
        referred_at: None,
        holds: row.holds,
        is_new: false,
    };
    Ok(rows.into_iter().map(|row| ((ContactId(row.contact_id), row.phone_number_id.clone()), known(&row))).collect())
}

/// What a batch of messages writes about people and their conversations.
#[derive(Debug, Default)]
pub(super) struct People {
    identities: IdentityWrites,
    conversations: KnownConversations,
    /// Conversations whose window moves. Sorted, so that two transactions lock the rows in the same order.
    windows: BTreeMap<ConversationId, Window>,
    /// Of those, the ones in which something waits for the window, or may, and no turn comes first.
    released: BTreeSet<ConversationId>,
}

/// A window that moves.
#[derive(Debug, Clone, Copy)]
struct Window {
    opened_at: Timestamp,
    /// When the person came through an advertisement, if they did.
    referred_at: Option<Timestamp>,
}

/// What a message does to the window of its conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// Since when it is open.
    pub at: Timestamp,
    /// Whether the person came through an advertisement.
    pub is_referred: bool,
}

/// How far a window may lag behind a message that gets a turn: the claim of the turn moves it, in a write that it makes anyway.
/// Until then it is open all the same, since it lasts for a day; a window that is closed, or may soon be, moves at once. Each move
/// would be a new version of the conversation, in its table and in the log.
const WINDOW_LAG_BEFORE_TURN: SignedDuration = SignedDuration::from_hours(1);
/// The same for a message that gets none. The sender takes a longer margin off the window's end.
const WINDOW_LAG: SignedDuration = SignedDuration::from_secs(10);

impl Opening {
    fn is_after(self, opened_at: Option<Timestamp>) -> bool {
        opened_at.is_none_or(|opened_at| opened_at < self.at)
    }

    /// Whether a window that was opened then is worth moving.
    fn moves(self, opened_at: Option<Timestamp>, gets_turn: bool) -> bool {
        let may_lag = if gets_turn { WINDOW_LAG_BEFORE_TURN } else { WINDOW_LAG };
        let lags = opened_at.is_some_and(|opened_at| self.at.duration_since(opened_at) < may_lag);
        self.is_after(opened_at) && (self.is_referred || !lags)
    }
}

impl People {
    pub fn new(identities: IdentityWrites, conversations: KnownConversations) -> Self {
        Self { identities, conversations, ..Self::default() }
    }

    /// The conversation that a message belongs to, made on first sight. `opening`: how the message opens its window, if it does.
    pub fn conversation(
        &mut self,
        ids: &Ids,
        now: Timestamp,
        contact_id: ContactId,
        message: &NewInbound,
        opening: Option<Opening>,
        gets_turn: bool,
    ) -> Place {
        let key = (contact_id, message.phone_number_id.clone());
        let conversation = self.conversations.entry(key).or_insert_with(|| KnownConversation {
            id: ids.conversation(now),
            last_inbound_at: None,
            referred_at: None,
            holds: false,
            is_new: true,
        });
        if let Some(opening) = opening.filter(|opening| opening.is_after(conversation.last_inbound_at)) {
            if conversation.holds && !gets_turn {
                self.released.insert(conversation.id);
            }
            if opening.moves(conversation.last_inbound_at, gets_turn) {
                conversation.last_inbound_at = Some(opening.at);
                if opening.is_referred {
                    conversation.referred_at = Some(opening.at);
                }
                if !conversation.is_new {
                    move_window(&mut self.windows, conversation.id, opening);
                }
            }
        }
        Place { conversation_id: conversation.id, opened_at: conversation.last_inbound_at }
    }

    /// A message in a conversation of which nothing was looked up. Says what there is to remember anew.
    pub fn familiar(&mut self, place: Place, opening: Option<Opening>, gets_turn: bool) -> Option<Place> {
        let opening = opening?;
        if !gets_turn {
            self.released.insert(place.conversation_id);
        }
        opening.moves(place.opened_at, gets_turn).then(|| {
            move_window(&mut self.windows, place.conversation_id, opening);
            Place { opened_at: Some(opening.at), ..place }
        })
    }

    /// Where what was held until the window opens may go at once. Where a turn comes first, it decides: the message may be
    /// a STOP.
    pub fn released(&self) -> impl Iterator<Item = ConversationId> {
        self.released.iter().copied()
    }

    /// Writes new people, their identifiers and conversations, and moves windows. The unique indexes on live identities
    /// and on conversations make a second process that met the same person at the same moment fail here; its batch is
    /// committed again and then finds them.
    pub fn write<'a>(&'a self, script: &mut Script<'a>, now: Timestamp) {
        write_contacts(script, &self.identities, now);
        write_identities(script, &self.identities, now);
        let mut rows = Rows::new(
            "new_conversations",
            &[
                ("id", Kind::Id),
                ("contact_id", Kind::Id),
                ("phone_number_id", Kind::Text),
                ("mode", Kind::Text),
                ("last_inbound_at", Kind::Instant),
                ("referred_at", Kind::Instant),
                ("created_at", Kind::Instant),
            ],
        );
        let new: BTreeMap<_, _> = self.conversations.iter().filter(|(_, conversation)| conversation.is_new).collect();
        for ((contact_id, phone_number_id), conversation) in new {
            rows.push([
                conversation.id.0.into(),
                contact_id.0.into(),
                phone_number_id.into(),
                ConversationMode::Bot.as_str().into(),
                conversation.last_inbound_at.into(),
                conversation.referred_at.into(),
                now.into(),
            ]);
        }
        let rows = script.batch(rows);
        script.step(
            &[rows],
            "INSERT INTO conversations
                 (id, contact_id, phone_number_id, mode, last_inbound_at, referred_at, lease_token, created_at)
             SELECT id, contact_id, phone_number_id, mode, last_inbound_at, referred_at, 0, created_at
             FROM new_conversations",
        );
        const WINDOWS: &[(&str, Kind)] =
            &[("id", Kind::Id), ("opened_at", Kind::Instant), ("referred_at", Kind::Instant)];
        let mut rows = Rows::new("windows", WINDOWS);
        for (id, window) in &self.windows {
            rows.push([id.0.into(), window.opened_at.into(), window.referred_at.into()]);
        }
        let rows = script.batch(rows);
        script.step(
            &[rows],
            "UPDATE conversations SET last_inbound_at = windows.opened_at,
                 referred_at = coalesce(windows.referred_at, conversations.referred_at) FROM windows
             WHERE conversations.id = windows.id
               AND (conversations.last_inbound_at IS NULL OR conversations.last_inbound_at < windows.opened_at)",
        );
    }
}

fn move_window(windows: &mut BTreeMap<ConversationId, Window>, conversation: ConversationId, opening: Opening) {
    let referred_at = opening.is_referred.then_some(opening.at);
    let window = windows.entry(conversation).or_insert(Window { opened_at: opening.at, referred_at });
    window.opened_at = window.opened_at.max(opening.at);
    window.referred_at = window.referred_at.max(referred_at);
}

/// Writes all that an identity book decided, changes to people who were known before included: identifiers that gave
/// way, new names, merges. Rare, so in as many steps as it takes.
pub(super) async fn write_people(
    tx: &mut Tx,
    ids: &Ids,
    writes: &IdentityWrites,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut contacts = Script::default();
    write_contacts(&mut contacts, writes, now);
    contacts.run(tx).await?;
    for id in &writes.superseded {
        on!(&mut *tx, |connection, D| {
            sqlx::query("UPDATE contact_identities SET superseded_at = $1 WHERE id = $2")
                .bind(Ts(now))
                .bind(id)
                .execute(connection)
                .await?;
        });
    }
    for (id, names) in &writes.renamed {
        on!(&mut *tx, |connection, D| {
            sqlx::query("UPDATE contacts SET name = $1, username = $2 WHERE id = $3")
                .bind(&names.name)
                .bind(&names.username)
                .bind(id.0)
                .execute(connection)
                .await?;
        });
    }
    let mut identities = Script::default();
    write_identities(&mut identities, writes, now);
    identities.run(tx).await?;
    for (from, into) in &writes.merges {
        consent::merge(tx, ids, *from, *into, now).await?;
        merge_contacts(tx, *from, *into).await?;
        erasures::follow_merge(tx, *from, *into).await?;
        consent::spread(tx, *into, now).await?;
    }
    Ok(())
}

fn write_contacts<'a>(script: &mut Script<'a>, writes: &'a IdentityWrites, now: Timestamp) {
    let mut rows = Rows::new(
        "new_contacts",
        &[("id", Kind::Id), ("name", Kind::Text), ("username", Kind::Text), ("created_at", Kind::Instant)],
    );
    for (id, names) in &writes.new_contacts {
        rows.push([id.0.into(), (&names.name).into(), (&names.username).into(), now.into()]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "INSERT INTO contacts (id, name, username, created_at)
         SELECT id, name, username, created_at FROM new_contacts",
    );
}

fn write_identities<'a>(script: &mut Script<'a>, writes: &'a IdentityWrites, now: Timestamp) {
    let mut rows = Rows::new(
        "new_identities",
        &[
            ("id", Kind::Id),
            ("portfolio_id", Kind::Text),
            ("kind", Kind::Text),
            ("value", Kind::Text),
            ("contact_id", Kind::Id),
            ("created_at", Kind::Instant),
            ("superseded_at", Kind::Instant),
        ],
    );
    for new in &writes.new_identities {
        rows.push([
            new.id.into(),
            PORTFOLIO_ID.into(),
            new.address.kind.as_str().into(),
            (&new.address.value).into(),
            new.contact_id.0.into(),
            now.into(),
            (!new.is_live).then_some(now).into(),
        ]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "INSERT INTO contact_identities (id, portfolio_id, kind, value, contact_id, created_at, superseded_at)
         SELECT id, portfolio_id, kind, value, contact_id, created_at, superseded_at FROM new_identities",
    );
}

/// Everything known of `from` belongs to `into`. A conversation that both have on the same number stays as it was, for
/// its history; new messages go to that of `into`, which inherits the window.
async fn merge_contacts(tx: &mut Tx, from: ContactId, into: ContactId) -> Result<(), StoreError> {
    const STEPS: [&str; 6] = [
        "UPDATE contact_identities SET contact_id = $2 WHERE contact_id = $1",
        "UPDATE schedules SET contact_id = $2 WHERE contact_id = $1",
        "UPDATE contacts SET zone = coalesce(zone, (SELECT f.zone FROM contacts f WHERE f.id = $1)) WHERE id = $2",
        // Also of those that `from` had taken in before: one step leads to whoever they are now.
        "UPDATE contacts SET merged_into = $2 WHERE id = $1 OR merged_into = $1",
        "UPDATE conversations SET last_inbound_at =
             (SELECT max(b.last_inbound_at) FROM conversations b
              WHERE b.contact_id IN ($1, $2) AND b.phone_number_id = conversations.phone_number_id)
         WHERE contact_id = $2",
        "UPDATE conversations SET contact_id = $2 WHERE contact_id = $1 AND NOT EXISTS
             (SELECT 1 FROM conversations b
              WHERE b.contact_id = $2 AND b.phone_number_id = conversations.phone_number_id)",
    ];
    for step in STEPS {
        on!(&mut *tx, |connection, D| {
            sqlx::query(step).bind(from.0).bind(into.0).execute(connection).await?;
        });
    }
    Ok(())
}
