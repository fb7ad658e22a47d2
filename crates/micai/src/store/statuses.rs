//! Delivery statuses: kept as they came, and moved along the ledger's ladder. A status may arrive before the call
//! returned, twice, or after one that says more.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::consent::MarketingRefusal;
use super::db::{Tx, row};
use super::error::StoreError;
use super::outbox::waiting_beside;
use super::script::{Cell, Kind, Question, Rows, Script};
use crate::domain::inbound::NewStatus;
use crate::domain::outbound::{DeliveryStatus, Price, SendError};
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

/// Stores the statuses and moves their rows. Answers with the conversations whose outbox may go on.
///
/// A status that came before moves nothing: a row only climbs.
pub(super) fn apply<'a>(script: &mut Script<'a>, located: &[Located<'a>]) -> Result<Question, StoreError> {
    insert_events(script, located)?;
    move_rows(script, &fold(located))
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
    id: Uuid,
    status: &'a NewStatus,
    received_at: Timestamp,
    row: Option<(ConversationId, OutboundId)>,
}

/// The furthest that the new statuses move one row.
struct Move<'a> {
    row: (ConversationId, OutboundId),
    status: DeliveryStatus,
    provider_message_id: &'a str,
    error: Option<&'a SendError>,
    price: Option<&'a Price>,
    at: Timestamp,
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
fn fold<'a>(located: &[Located<'a>]) -> Vec<Move<'a>> {
    let mut moves: HashMap<(ConversationId, OutboundId), Move<'a>> = HashMap::new();
    for one in located {
        let Some(row) = one.row else { continue };
        let next = Move {
            row,
            status: one.status.status,
            provider_message_id: &one.status.provider_message_id,
            error: one.status.error.as_ref(),
            price: one.status.price.as_ref(),
            at: one.received_at,
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

/// Moves the rows. Any status but `failed` proves acceptance, so it also moves a row that waits for another attempt, one
/// whose fate was unknown, and one that was given up on without an answer. `failed` after acceptance is final.
///
/// Answers with their conversations in which more waits to be sent.
fn move_rows<'a>(script: &mut Script<'a>, moves: &[Move<'a>]) -> Result<Question, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("state", Kind::Text),
        ("below_rank", Kind::Whole),
        ("provider_message_id", Kind::Text),
        ("error", Kind::Json),
        ("price", Kind::Json),
        ("moved_at", Kind::Instant),
    ];
    let mut rows = Rows::new("moves", COLUMNS);
    for one in moves {
        rows.push([
            one.row.0.0.into(),
            one.row.1.0.into(),
            one.status.as_str().into(),
            one.status.applies_below_rank().into(),
            one.provider_message_id.into(),
            Cell::json_or_null(one.error)?,
            Cell::json_or_null(one.price)?,
            one.at.into(),
        ]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "UPDATE outbound_messages SET
             state = moves.state,
             provider_message_id = coalesce(outbound_messages.provider_message_id, moves.provider_message_id),
             error = moves.error,
             price = coalesce(moves.price, outbound_messages.price),
             updated_at = moves.moved_at
         FROM moves
         WHERE outbound_messages.conversation_id = moves.conversation_id AND outbound_messages.id = moves.id
           AND outbound_messages.attempts > 0
           AND CASE outbound_messages.state
                   WHEN 'sent' THEN 1 WHEN 'delivered' THEN 2 WHEN 'read' THEN 3 WHEN 'played' THEN 4
                   WHEN 'failed' THEN CASE WHEN outbound_messages.provider_message_id IS NULL THEN 0 ELSE 9 END
                   ELSE 0 END < moves.below_rank",
    );
    Ok(script.ask(&[rows], waiting_beside("moves")))
}
