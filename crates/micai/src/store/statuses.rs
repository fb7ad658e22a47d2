//! Delivery statuses: kept as they came, and moved along the ledger's ladder. A status may arrive before the call
//! returned, twice, or after one that says more.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::consent::MarketingRefusal;
use super::db::{Tx, row};
use super::error::StoreError;
use super::outbox::waiting_beside;
use super::script::{Batch, Cell, Kind, Question, Rows, Script, Written};
use super::spend::{self, SPEND_SHARDS};
use super::stops::Stops;
use crate::domain::inbound::{AfterFailure, NewStatus};
use crate::domain::outbound::{DeliveryStatus, Price, SendError};
use crate::domain::pause::PauseKey;
use crate::domain::spend::Charge;
use crate::ids::{ConversationId, Ids, OutboundId};

/// Finds the ledger row that each status speaks of.
pub(super) async fn locate<'a>(
    tx: &mut Tx,
    ids: &Ids,
    statuses: &[(&'a NewStatus, Timestamp)],
) -> Result<Vec<Located<'a>>, StoreError> {
    let ledger = find_rows(tx, statuses).await?;
    let locate = |(status, received_at): &(&'a NewStatus, Timestamp)| Located {
        id: ids.uuid(*received_at),
        status,
        received_at: *received_at,
        row: status.callback.or_else(|| ledger.get(status.provider_message_id.as_str()).copied()),
    };
    Ok(statuses.iter().map(locate).collect())
}

/// What statuses leave to be done.
pub(super) struct Applied<'a> {
    /// Asks for conversations whose outbox may go on.
    pub waiting: Question,
    /// Messages that go again, if they moved.
    pub again: Vec<(ConversationId, OutboundId)>,
    /// Messages that wait for the end of a pause from then on, if they moved.
    pub held: Vec<((ConversationId, OutboundId), &'a PauseKey, Timestamp)>,
}

/// Stores the statuses and moves their rows. `stops`: what they stop.
///
/// A status that came before moves nothing: a row only climbs.
pub(super) fn apply<'a>(
    script: &mut Script<'a>,
    located: &[Located<'a>],
    stops: &'a Stops,
    is_postgres: bool,
) -> Result<Applied<'a>, StoreError> {
    insert_events(script, located)?;
    let moves = fold(located, stops);
    let (rows, moved) = move_rows(script, &moves, is_postgres)?;
    spend::settle(script, &moves, (rows, moved), is_postgres);
    let mut applied =
        Applied { waiting: script.ask(&[rows], waiting_beside("moves")), again: Vec::new(), held: Vec::new() };
    for one in &moves {
        match (one.again(), one.again_at()) {
            (Some(Again::Held(key)), Some(at)) => applied.held.push((one.row, key, at)),
            (Some(_), _) => applied.again.push(one.row),
            (None, _) => {}
        }
    }
    Ok(applied)
}

impl Applied<'_> {
    /// All that comes back to the outbox.
    pub fn returned(&self) -> Vec<(ConversationId, OutboundId)> {
        self.again.iter().copied().chain(self.held.iter().map(|(row, ..)| *row)).collect()
    }
}

/// Those of the statuses that say that a person wants no marketing.
pub(super) fn marketing_refusals(located: &[Located<'_>]) -> Vec<MarketingRefusal> {
    let refusal = |one: &Located<'_>| {
        let at = one.status.occurred_at.unwrap_or(one.received_at);
        one.row.and_then(|(conversation, outbound)| {
            MarketingRefusal::of(one.status.error.as_ref(), conversation, outbound, at)
        })
    };
    located.iter().filter_map(refusal).collect()
}

/// A status with the ledger row it speaks of; `None` for messages that somebody else sent from our number.
pub(super) struct Located<'a> {
    pub id: Uuid,
    pub status: &'a NewStatus,
    received_at: Timestamp,
    pub row: Option<(ConversationId, OutboundId)>,
}

/// The furthest that the new statuses move one row.
pub(super) struct Move<'a> {
    pub row: (ConversationId, OutboundId),
    /// Names this move among all that will ever be.
    pub event_id: Uuid,
    pub phone_number_id: &'a str,
    status: DeliveryStatus,
    provider_message_id: &'a str,
    error: Option<&'a SendError>,
    after: &'a AfterFailure,
    /// What it waits for the end of.
    stopped: Option<&'a PauseKey>,
    price: Option<&'a Price>,
    pub occurred_at: Timestamp,
    at: Timestamp,
    /// Which of the rows of the spend table takes what the batch settles.
    pub shard: i64,
}

impl<'a> Move<'a> {
    /// What the message costs, if the statuses say that it was delivered and name a price. Before that nothing is charged:
    /// what WhatsApp has accepted can still fail.
    pub fn charge(&self) -> Option<&'a Charge> {
        match self.status {
            DeliveryStatus::Delivered | DeliveryStatus::Read | DeliveryStatus::Played => self.price?.charge.as_ref(),
            DeliveryStatus::Sent | DeliveryStatus::Failed => None,
        }
    }

    /// Whether the message may live on after it died.
    fn again(&self) -> Option<Again<'a>> {
        match (self.status, self.after) {
            (DeliveryStatus::Failed, AfterFailure::Template) => Some(Again::AsTemplate),
            (DeliveryStatus::Failed, AfterFailure::Later { not_before, attempts_max }) => {
                Some(Again::Later(*not_before, *attempts_max))
            }
            (DeliveryStatus::Failed, AfterFailure::Stop { waits: true, .. }) => self.stopped.map(Again::Held),
            _ => None,
        }
    }

    /// When its next life begins: just after this status, so that the same status, coming again, belongs to the life before.
    fn again_at(&self) -> Option<Timestamp> {
        self.again().map(|_| self.at + SignedDuration::from_micros(1))
    }
}

/// How a message lives on that WhatsApp had taken and that failed.
#[derive(Clone, Copy)]
enum Again<'a> {
    /// It was refused for want of a template.
    AsTemplate,
    /// Not before then, with so many attempts in all.
    Later(Timestamp, i32),
    /// When this is no longer paused.
    Held(&'a PauseKey),
}

impl Again<'_> {
    fn as_str(self) -> &'static str {
        match self {
            Self::AsTemplate => "template",
            Self::Later(..) => "later",
            Self::Held(_) => "held",
        }
    }
}

row! { struct LedgerRow { conversation_id: Uuid, id: Uuid, provider_message_id: String } }

async fn find_rows(
    tx: &mut Tx,
    statuses: &[(&NewStatus, Timestamp)],
) -> Result<HashMap<String, (ConversationId, OutboundId)>, StoreError> {
    let unnamed: HashSet<&str> = statuses
        .iter()
        .filter(|(status, _)| status.callback.is_none())
        .map(|(status, _)| status.provider_message_id.as_str())
        .collect();
    let mut wanted = Rows::new("wanted", &[("provider_message_id", Kind::Text)]);
    unnamed.into_iter().for_each(|id| wanted.push([id.into()]));
    let rows: Vec<LedgerRow> = wanted
        .fetch(
            tx,
            "SELECT o.conversation_id, o.id, o.provider_message_id FROM wanted w CROSS JOIN outbound_messages o
             WHERE o.provider_message_id IS NOT NULL AND o.provider_message_id = w.provider_message_id",
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.provider_message_id, (ConversationId(row.conversation_id), OutboundId(row.id))))
        .collect())
}

fn insert_events<'a>(script: &mut Script<'a>, located: &[Located<'a>]) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("id", Kind::Id),
        ("phone_number_id", Kind::Text),
        ("provider_message_id", Kind::Text),
        ("status", Kind::Text),
        ("recipient", Kind::Text),
        ("conversation_id", Kind::Id),
        ("outbound_id", Kind::Id),
        ("occurred_at", Kind::Instant),
        ("received_at", Kind::Instant),
        ("error", Kind::Json),
        ("price", Kind::Json),
    ];
    let mut rows = Rows::new("statuses", COLUMNS);
    for one in located {
        rows.push([
            one.id.into(),
            (&one.status.phone_number_id).into(),
            (&one.status.provider_message_id).into(),
            one.status.status.as_str().into(),
            (&one.status.recipient).into(),
            one.row.map(|(conversation, _)| conversation.0).into(),
            one.row.map(|(_, outbound)| outbound.0).into(),
            one.status.occurred_at.unwrap_or(one.received_at).into(),
            one.received_at.into(),
            Cell::json_or_null(one.status.error.as_ref())?,
            Cell::json_or_null(one.status.price.as_ref())?,
        ]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "INSERT INTO delivery_events
             (id, phone_number_id, provider_message_id, status, recipient, conversation_id, outbound_id,
              occurred_at, received_at, error, price)
         SELECT id, phone_number_id, provider_message_id, status, recipient, conversation_id, outbound_id,
              occurred_at, received_at, error, price
         FROM statuses WHERE true
         ON CONFLICT (provider_message_id, status, recipient) DO NOTHING",
    );
    Ok(())
}

/// One move a row: several statuses of a message in one batch would otherwise race inside the statement.
fn fold<'a>(located: &[Located<'a>], stops: &'a Stops) -> Vec<Move<'a>> {
    let mut moves: HashMap<(ConversationId, OutboundId), Move<'a>> = HashMap::new();
    // By chance: the last digits of an id are.
    let shard = located.first().map_or(0, |one| i64::try_from(one.id.as_u128() % SPEND_SHARDS).unwrap_or_default());
    for one in located {
        let Some(row) = one.row else { continue };
        let next = Move {
            row,
            event_id: one.id,
            phone_number_id: &one.status.phone_number_id,
            status: one.status.status,
            provider_message_id: &one.status.provider_message_id,
            error: one.status.error.as_ref(),
            after: &one.status.after,
            stopped: stops.of(one.id),
            price: one.status.price.as_ref(),
            occurred_at: one.status.occurred_at.unwrap_or(one.received_at),
            at: one.received_at,
            shard,
        };
        match moves.get_mut(&row) {
            Some(held) if goes_further(next.status, held.status) => {
                let price = next.price.or(held.price);
                *held = Move { price, ..next };
            }
            Some(held) => held.price = held.price.or(next.price),
            None => {
                moves.insert(row, next);
            }
        }
    }
    // Sorted, so that two transactions lock the rows in the same order.
    let mut moves: Vec<_> = moves.into_values().collect();
    moves.sort_unstable_by_key(|one| one.row);
    moves
}

/// Whether a row that `held` would move is moved further by `next`: `failed` beats `sent` and nothing else.
fn goes_further(next: DeliveryStatus, held: DeliveryStatus) -> bool {
    let rank = |status| match status {
        DeliveryStatus::Sent => 1,
        DeliveryStatus::Failed => 2,
        DeliveryStatus::Delivered => 3,
        DeliveryStatus::Read => 4,
        DeliveryStatus::Played => 5,
    };
    rank(next) > rank(held)
}

/// The row's place on the ladder, to be compared with [`DeliveryStatus::applies_below_rank`]. What one call died of is final for that
/// call: if another one of the same row has reached the person, they have it.
const RANK: &str = "CASE outbound_messages.state
                   WHEN 'sent' THEN 1 WHEN 'delivered' THEN 2 WHEN 'read' THEN 3 WHEN 'played' THEN 4
                   WHEN 'failed' THEN CASE WHEN outbound_messages.provider_message_id IS NULL
                       OR (outbound_messages.provider_message_id <> moves.provider_message_id
                           AND moves.state IN ('delivered', 'read', 'played')) THEN 0 ELSE 9 END
                   WHEN 'cancelled' THEN CASE WHEN outbound_messages.provider_message_id IS NULL THEN 0 ELSE 9 END
                   ELSE 0 END";

/// Whether the row lives on: for a template, what was refused for want of one and is none itself; for later, what has attempts
/// left. A dead letter stays one, since somebody may have dealt with it.
const AGAIN: &str = "moves.again_at IS NOT NULL
                   AND (moves.again <> 'template' OR outbound_messages.kind <> 'template')
                   AND (moves.again <> 'later'
                        OR outbound_messages.attempts - outbound_messages.attempts_before < moves.attempts_max)
                   AND outbound_messages.state IN ('queued', 'sending', 'sent', 'unknown', 'held')";

/// What the step of the moves returns on Postgres, for the spend table.
const RETURNING: &str = "
         RETURNING outbound_messages.agent_id, outbound_messages.estimate_micros,
             outbound_messages.charged_by = moves.charged_by AS is_first, moves.day, moves.phone_number_id,
             moves.category, moves.country, moves.currency, moves.shard, moves.free_messages, moves.micros";

/// Moves the rows. Any status but `failed` proves acceptance, so it also moves a row that waits for another attempt, one
/// whose fate was unknown, and one that was given up on without an answer. `failed` after acceptance is final, also when the
/// letter was put away, unless the message lives on: as a template, later, or when a pause is over. What comes again of a life before moves
/// nothing, unless it proves that the person has it.
///
/// The first status that tells of a delivery and names a price is remembered as the one that settles the cost, also where
/// another one has moved the row further before: `read` may come without a price and before `delivered`.
///
/// Gives the batch, and the step, which on Postgres returns what the spend table must know.
fn move_rows<'a>(
    script: &mut Script<'a>,
    moves: &[Move<'a>],
    is_postgres: bool,
) -> Result<(Batch, Written), StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("state", Kind::Text),
        ("below_rank", Kind::Whole),
        ("provider_message_id", Kind::Text),
        ("error", Kind::Json),
        ("price", Kind::Json),
        ("charged_by", Kind::Id),
        ("moved_at", Kind::Instant),
        ("again", Kind::Text),
        ("again_at", Kind::Instant),
        ("not_before", Kind::Instant),
        ("attempts_max", Kind::Whole),
        // On Postgres alone.
        ("day", Kind::Instant),
        ("phone_number_id", Kind::Text),
        ("category", Kind::Text),
        ("country", Kind::Text),
        ("currency", Kind::Text),
        ("shard", Kind::Whole),
        ("free_messages", Kind::Whole),
        ("micros", Kind::Whole),
    ];
    let columns = if is_postgres { COLUMNS } else { &COLUMNS[..13] };
    let mut rows = Rows::new("moves", columns);
    for one in moves {
        let again = one.again();
        let (not_before, attempts_max) = match again {
            Some(Again::Later(not_before, attempts_max)) => (Some(not_before), Some(attempts_max)),
            _ => (None, None),
        };
        let row = [
            one.row.0.0.into(),
            one.row.1.0.into(),
            one.status.as_str().into(),
            one.status.applies_below_rank().into(),
            one.provider_message_id.into(),
            Cell::json_or_null(one.error)?,
            Cell::json_or_null(one.price)?,
            one.charge().map(|_| one.event_id).into(),
            one.at.into(),
            again.map(Again::as_str).into(),
            one.again_at().into(),
            not_before.into(),
            attempts_max.into(),
        ];
        match is_postgres {
            true => rows.push_parts(row, spend::charge_cells(one)),
            false => rows.push(row),
        }
    }
    let rows = script.batch(rows);
    let returning = if is_postgres { RETURNING } else { "" };
    let moved = script.step(&[rows], move_sql(returning));
    Ok((rows, moved))
}

/// The step that moves the rows of `moves`.
fn move_sql(returning: &str) -> String {
    format!(
        "UPDATE outbound_messages SET
             state = CASE WHEN {AGAIN} THEN CASE WHEN moves.again = 'held' THEN 'held' ELSE 'queued' END
                          WHEN {RANK} < moves.below_rank THEN moves.state
                          ELSE outbound_messages.state END,
             provider_message_id = CASE WHEN {AGAIN} THEN NULL
                 ELSE coalesce(outbound_messages.provider_message_id, moves.provider_message_id) END,
             error = CASE WHEN {RANK} < moves.below_rank THEN moves.error ELSE outbound_messages.error END,
             price = coalesce(moves.price, outbound_messages.price),
             needs_template = CASE WHEN {AGAIN} AND moves.again = 'template' THEN true
                 ELSE outbound_messages.needs_template END,
             tried_since = CASE WHEN {AGAIN} AND moves.again <> 'later' THEN NULL
                 ELSE outbound_messages.tried_since END,
             attempts_before = CASE WHEN {AGAIN} AND moves.again <> 'later' THEN outbound_messages.attempts
                 ELSE outbound_messages.attempts_before END,
             not_before = CASE WHEN {AGAIN} THEN moves.not_before ELSE outbound_messages.not_before END,
             replayed_at = CASE WHEN {AGAIN} THEN moves.again_at ELSE outbound_messages.replayed_at END,
             charged_by = coalesce(outbound_messages.charged_by, moves.charged_by),
             updated_at = moves.moved_at
         FROM moves
         WHERE outbound_messages.conversation_id = moves.conversation_id AND outbound_messages.id = moves.id
           AND outbound_messages.attempts > 0
           -- That an earlier call of the row died says nothing about the one that counts.
           AND (moves.state <> 'failed' OR outbound_messages.provider_message_id IS NULL
                OR outbound_messages.provider_message_id = moves.provider_message_id)
           AND ({RANK} < moves.below_rank
                OR (moves.charged_by IS NOT NULL AND outbound_messages.charged_by IS NULL
                    AND outbound_messages.state IN ('delivered', 'read', 'played')))
           AND (outbound_messages.replayed_at IS NULL OR moves.state NOT IN ('sent', 'failed')
                OR (SELECT 1 FROM delivery_events e
                    WHERE e.provider_message_id = moves.provider_message_id
                      AND e.received_at < outbound_messages.replayed_at LIMIT 1) IS NULL){returning}"
    )
}
