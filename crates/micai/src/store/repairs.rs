//! What people do with dead letters: replay them or put them away. A row moves only out of the state that makes it a letter, so
//! two operators, or a request that is made twice, move it once; the row before and who moved it are kept with it.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::audit;
use super::db::{Tx, row};
use super::error::StoreError;
use super::letters::{INBOUND_CAUSE, LetterColumns, OUTBOUND_CAUSE};
use super::script::{Cell, Kind, Rows, Script};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::letter::{
    Chosen, Direction, GROUP_LETTERS_MAX, GroupName, LETTER_IDS_MAX, Obstacle, RepairReport, ReplayFate, ReplayTerms,
    Replayable, replay_fate,
};
use crate::domain::outbound::MessageBody;
use crate::ids::ConversationId;

/// Letters of one transaction.
const BATCH_LETTERS_MAX: usize = 200;

/// What a repair did, and which conversations have something to do now.
#[derive(Debug, Default)]
pub struct Repaired {
    /// For people.
    pub report: RepairReport,
    /// Conversations whose outbox may go on.
    pub wake_sends: Vec<ConversationId>,
    /// Conversations in which messages wait for a turn again.
    pub wake_turns: Vec<ConversationId>,
}

/// What is to be done with letters.
enum Deed<'a> {
    Replay(&'a ReplayTerms),
    Discard { reason: &'a str, dry_run: bool },
}

impl Deed<'_> {
    fn dry_run(&self) -> bool {
        match self {
            Self::Replay(terms) => terms.dry_run,
            Self::Discard { dry_run, .. } => *dry_run,
        }
    }

    fn fate(&self, letter: &Replayable) -> ReplayFate {
        match self {
            Self::Replay(terms) => replay_fate(letter, terms),
            Self::Discard { .. } => ReplayFate::AsIs,
        }
    }

    /// What a row that moves says from then on, where that changes.
    fn body(&self, fate: ReplayFate) -> Option<&MessageBody> {
        match self {
            Self::Replay(terms) if fate == ReplayFate::AsTemplate => terms.template.as_ref(),
            _ => None,
        }
    }
}

impl Store {
    /// Queues letters again, by `actor`. Each keeps its idempotency key: it is the same message. The report says what became of
    /// each, and in a dry run what would.
    pub async fn replay_letters(
        &self,
        chosen: &Chosen,
        terms: &ReplayTerms,
        actor: &Actor,
    ) -> Result<Repaired, StoreError> {
        self.repair(chosen, &Deed::Replay(terms), actor).await
    }

    /// Puts letters away, by `actor`: sends are cancelled, messages that came in are kept for the record. Nothing is deleted.
    pub async fn discard_letters(
        &self,
        chosen: &Chosen,
        reason: &str,
        actor: &Actor,
        dry_run: bool,
    ) -> Result<Repaired, StoreError> {
        self.repair(chosen, &Deed::Discard { reason, dry_run }, actor).await
    }

    async fn repair(&self, chosen: &Chosen, deed: &Deed<'_>, actor: &Actor) -> Result<Repaired, StoreError> {
        let mut repaired = Repaired::default();
        repaired.report.dry_run = deed.dry_run();
        match chosen {
            Chosen::Ids(ids) => {
                let mut seen = HashSet::new();
                let ids: Vec<Uuid> = ids.iter().copied().filter(|id| seen.insert(*id)).take(LETTER_IDS_MAX).collect();
                for batch in ids.chunks(BATCH_LETTERS_MAX) {
                    self.repair_ids(batch, deed, actor, &mut repaired).await?;
                }
            }
            Chosen::Group(group) => {
                let mut after = Uuid::nil();
                while let Some(last) = self.repair_group(group, after, deed, actor, &mut repaired).await? {
                    after = last;
                    if repaired.report.looked_at >= GROUP_LETTERS_MAX {
                        repaired.report.more = !self.are_no_more(group, after).await?;
                        break;
                    }
                }
            }
        }
        for wakes in [&mut repaired.wake_sends, &mut repaired.wake_turns] {
            wakes.sort_unstable();
            wakes.dedup();
        }
        Ok(repaired)
    }

    async fn repair_ids(
        &self,
        ids: &[Uuid],
        deed: &Deed<'_>,
        actor: &Actor,
        repaired: &mut Repaired,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let mut wanted = Rows::new("wanted", &[("id", Kind::Id)]);
        ids.iter().for_each(|id| wanted.push([(*id).into()]));
        let mut found = HashSet::new();
        for direction in [Direction::Outbound, Direction::Inbound] {
            let condition = match direction {
                Direction::Outbound => "o.id = w.id AND o.state = 'failed'",
                Direction::Inbound => "m.id = w.id AND m.state = 'dead'",
            };
            let letters = load(&mut tx, direction, &wanted, "wanted w CROSS JOIN ", condition).await?;
            found.extend(letters.iter().map(|one| one.candidate.letter.id));
            self.take_on(&mut tx, direction, &letters, deed, actor, repaired).await?;
        }
        ids.iter().filter(|id| !found.contains(*id)).for_each(|id| {
            repaired.report.looked_at += 1;
            repaired.report.refuse(Obstacle::NotALetter, *id);
        });
        finish(tx, deed).await
    }

    /// Takes on the letters of a group behind `after`. Gives the last one while there may be more.
    async fn repair_group(
        &self,
        group: &GroupName,
        after: Uuid,
        deed: &Deed<'_>,
        actor: &Actor,
        repaired: &mut Repaired,
    ) -> Result<Option<Uuid>, StoreError> {
        let mut tx = self.db.begin().await?;
        let letters = load_group(&mut tx, group, after).await?;
        self.take_on(&mut tx, group.direction, &letters, deed, actor, repaired).await?;
        finish(tx, deed).await?;
        let is_full = letters.len() >= BATCH_LETTERS_MAX;
        Ok(letters.last().map(|one| one.candidate.letter.id).filter(|_| is_full))
    }

    async fn are_no_more(&self, group: &GroupName, after: Uuid) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let rest = load_group(&mut tx, group, after).await?;
        tx.roll_back().await;
        Ok(rest.is_empty())
    }

    /// Decides about letters, moves those that go, and writes down who did it and what the row said before.
    async fn take_on(
        &self,
        tx: &mut Tx,
        direction: Direction,
        letters: &[Loaded],
        deed: &Deed<'_>,
        actor: &Actor,
        repaired: &mut Repaired,
    ) -> Result<(), StoreError> {
        repaired.report.looked_at += letters.len();
        let mut going = Vec::new();
        for one in letters {
            match deed.fate(&one.candidate) {
                ReplayFate::Refused(obstacle) => repaired.report.refuse(obstacle, one.candidate.letter.id),
                fate => going.push((one, fate)),
            }
        }
        if !deed.dry_run() && !going.is_empty() {
            let now = self.clock.now();
            let moved = move_rows(tx, direction, &going, deed, now).await?;
            // Nobody else can have moved them, since they are locked; if somebody has, they are not ours.
            let (ours, lost): (Vec<_>, Vec<_>) =
                going.into_iter().partition(|(one, _)| moved.contains(&one.candidate.letter.id));
            lost.iter().for_each(|(one, _)| repaired.report.refuse(Obstacle::NotALetter, one.candidate.letter.id));
            going = ours;
            self.write_down(tx, &going, deed, actor, now).await?;
            if let Deed::Replay(_) = deed {
                let wakes = match direction {
                    Direction::Outbound => &mut repaired.wake_sends,
                    Direction::Inbound => &mut repaired.wake_turns,
                };
                wakes.extend(going.iter().map(|(one, _)| ConversationId(one.candidate.letter.conversation_id)));
            }
        }
        going.iter().for_each(|(_, fate)| repaired.report.count_moved(*fate));
        Ok(())
    }

    /// Writes down what `actor` did with each, and what its row said before.
    async fn write_down(
        &self,
        tx: &mut Tx,
        going: &[(&Loaded, ReplayFate)],
        deed: &Deed<'_>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let entry = |(one, fate): &(&Loaded, ReplayFate)| {
            let letter = &one.candidate.letter;
            let before = json!({
                "direction": letter.direction,
                "body": letter.body,
                "attempts": letter.attempts,
                "provider_message_id": one.provider_message_id,
                "error": one.error,
            });
            let (action, after) = match deed {
                Deed::Replay(_) => (
                    AuditAction::LetterReplayed,
                    json!({ "template": deed.body(*fate).and_then(MessageBody::template) }),
                ),
                Deed::Discard { reason, .. } => (AuditAction::LetterDiscarded, json!({ "reason": reason })),
            };
            AuditEntry::new(action, letter.id, Some(before), Some(after))
        };
        let entries: Vec<AuditEntry> = going.iter().map(entry).collect();
        audit::record_all(tx, &self.ids, actor, &entries, now).await
    }
}

async fn finish(tx: Tx, deed: &Deed<'_>) -> Result<(), StoreError> {
    if deed.dry_run() {
        tx.roll_back().await;
        return Ok(());
    }
    tx.commit().await
}

/// A letter as it was found, locked.
struct Loaded {
    candidate: Replayable,
    provider_message_id: Option<String>,
    error: Option<serde_json::Value>,
}

row! {
    struct LoadedColumns {
        id: Uuid,
        conversation_id: Uuid,
        person: String,
        name: Option<String>,
        kind: String,
        body: Option<Json<serde_json::Value>>,
        words: Option<String>,
        error: Option<Json<serde_json::Value>>,
        attempts: i32,
        replays: i32,
        created_at: super::db::Ts,
        last_inbound_at: Option<super::db::Ts>,
        provider_message_id: Option<String>,
        was_delivered: bool,
        is_opted_out: bool,
    }
}

async fn load_group(tx: &mut Tx, group: &GroupName, after: Uuid) -> Result<Vec<Loaded>, StoreError> {
    let mut wanted = Rows::new("wanted", &[("cause", Kind::Text), ("after", Kind::Id)]);
    wanted.push([(&group.cause).into(), after.into()]);
    // Not joined: so the index gives them in order, and no more are read than are taken.
    let cause = "(SELECT cause FROM wanted)";
    let condition = match group.direction {
        Direction::Outbound => {
            format!("o.state = 'failed' AND {OUTBOUND_CAUSE} = {cause} AND o.id > (SELECT after FROM wanted)")
        }
        Direction::Inbound => {
            format!("m.state = 'dead' AND {INBOUND_CAUSE} = {cause} AND m.id > (SELECT after FROM wanted)")
        }
    };
    load(tx, group.direction, &wanted, "", &condition).await
}

/// The oldest letters that a batch asks for. On Postgres they are locked, without those that somebody else is moving; on SQLite
/// the whole transaction is.
async fn load(
    tx: &mut Tx,
    direction: Direction,
    wanted: &Rows<'_>,
    joined: &str,
    condition: &str,
) -> Result<Vec<Loaded>, StoreError> {
    let row = if direction == Direction::Outbound { "o" } else { "m" };
    let lock = match tx {
        Tx::Pg(..) => format!(" FOR UPDATE OF {row} SKIP LOCKED"),
        Tx::Lite(_) => String::new(),
    };
    let columns = match direction {
        Direction::Outbound => {
            "o.id, o.conversation_id, o.to_value AS person, p.name, o.kind, o.body, NULL AS words, o.error, o.attempts,
             o.replays, o.created_at, c.last_inbound_at, o.provider_message_id,
             (SELECT 1 FROM delivery_events e WHERE e.provider_message_id = o.provider_message_id
                AND e.status IN ('delivered', 'read', 'played') LIMIT 1) IS NOT NULL AS was_delivered,
             ((p.opted_out_at IS NOT NULL AND NOT o.ignores_opt_out) OR p.blocked_at IS NOT NULL) AS is_opted_out"
        }
        Direction::Inbound => {
            "m.id, m.conversation_id, m.reply_to AS person, p.name, m.kind, NULL AS body, m.text AS words, m.error,
             m.failures AS attempts, m.replays, m.received_at AS created_at, c.last_inbound_at, NULL AS provider_message_id,
             false AS was_delivered, false AS is_opted_out"
        }
    };
    let table = if direction == Direction::Outbound { "outbound_messages o" } else { "inbound_messages m" };
    let sql = format!(
        "SELECT {columns} FROM {joined}{table} CROSS JOIN conversations c CROSS JOIN contacts p
         WHERE {condition} AND c.id = {row}.conversation_id AND p.id = c.contact_id
         ORDER BY {row}.id LIMIT {BATCH_LETTERS_MAX}{lock}"
    );
    let rows: Vec<LoadedColumns> = wanted.fetch(tx, &sql).await?;
    Ok(rows.into_iter().map(|row| row.loaded(direction)).collect())
}

impl LoadedColumns {
    fn loaded(self, direction: Direction) -> Loaded {
        let error = self.error.as_ref().map(|error| error.0.clone());
        let letter = LetterColumns {
            id: self.id,
            conversation_id: self.conversation_id,
            person: self.person,
            name: self.name,
            kind: self.kind,
            body: self.body,
            words: self.words,
            error: self.error,
            attempts: self.attempts,
            replays: self.replays,
            created_at: self.created_at,
            last_inbound_at: self.last_inbound_at,
        };
        let letter = letter.letter(direction);
        let candidate = Replayable { letter, was_delivered: self.was_delivered, is_opted_out: self.is_opted_out };
        Loaded { candidate, provider_message_id: self.provider_message_id, error }
    }
}

/// Moves letters out of their state. Answers with those that moved.
async fn move_rows(
    tx: &mut Tx,
    direction: Direction,
    going: &[(&Loaded, ReplayFate)],
    deed: &Deed<'_>,
    now: Timestamp,
) -> Result<HashSet<Uuid>, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("new_kind", Kind::Text),
        ("new_body", Kind::Json),
        ("moved_at", Kind::Instant),
    ];
    let mut rows = Rows::new("going", COLUMNS);
    for (one, fate) in going {
        let letter = &one.candidate.letter;
        let body = deed.body(*fate);
        rows.push([
            letter.conversation_id.into(),
            letter.id.into(),
            body.map(MessageBody::kind).into(),
            Cell::json_or_null(body)?,
            now.into(),
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let moved = script.ask(
        &[rows],
        match (direction, deed) {
            // A new life: its attempts are counted on, WhatsApp's id of the old one is not its own.
            (Direction::Outbound, Deed::Replay(_)) => {
                "UPDATE outbound_messages SET state = 'queued', replays = outbound_messages.replays + 1,
                     replayed_at = going.moved_at, attempts_before = outbound_messages.attempts, resends = 0,
                     not_before = NULL, provider_message_id = NULL, error = NULL, request = NULL,
                     kind = coalesce(going.new_kind, outbound_messages.kind),
                     body = coalesce(going.new_body, outbound_messages.body), unreadable = 0, updated_at = going.moved_at
                 FROM going
                 WHERE outbound_messages.conversation_id = going.conversation_id AND outbound_messages.id = going.id
                   AND outbound_messages.state = 'failed'
                 RETURNING outbound_messages.id AS id"
            }
            (Direction::Outbound, Deed::Discard { .. }) => {
                "UPDATE outbound_messages SET state = 'cancelled', updated_at = going.moved_at
                 FROM going
                 WHERE outbound_messages.conversation_id = going.conversation_id AND outbound_messages.id = going.id
                   AND outbound_messages.state = 'failed'
                 RETURNING outbound_messages.id AS id"
            }
            (Direction::Inbound, Deed::Replay(_)) => {
                "UPDATE inbound_messages SET state = 'pending', failures = 0, replays = inbound_messages.replays + 1,
                     error = NULL
                 FROM going
                 WHERE inbound_messages.conversation_id = going.conversation_id AND inbound_messages.id = going.id
                   AND inbound_messages.state = 'dead'
                 RETURNING inbound_messages.id AS id"
            }
            (Direction::Inbound, Deed::Discard { .. }) => {
                "UPDATE inbound_messages SET state = 'noted'
                 FROM going
                 WHERE inbound_messages.conversation_id = going.conversation_id AND inbound_messages.id = going.id
                   AND inbound_messages.state = 'dead'
                 RETURNING inbound_messages.id AS id"
            }
        },
    );
    Ok(script.run(tx).await?.of(moved))
}
