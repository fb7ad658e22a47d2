//! Delivery statuses: kept as they came, and moved along the ledger's ladder. A status may arrive before the call
//! returned, twice, or after one that says more.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use super::outbox;
use crate::domain::inbound::NewStatus;
use crate::domain::outbound::{DeliveryStatus, Price, SendError};
use crate::ids::{ConversationId, Ids, OutboundId};

/// Stores the statuses, applies those that are new, and returns the conversations whose outbox may go on.
pub(super) async fn apply(
    tx: &mut Tx,
    ids: &Ids,
    statuses: &[(&NewStatus, Timestamp)],
) -> Result<Vec<ConversationId>, StoreError> {
    if statuses.is_empty() {
        return Ok(Vec::new());
    }
    let ledger = find_rows(tx, statuses).await?;
    let located: Vec<Located<'_>> = statuses
        .iter()
        .map(|(status, received_at)| Located {
            id: ids.uuid(*received_at),
            status,
            received_at: *received_at,
            row: status.callback.or_else(|| ledger.get(status.provider_message_id.as_str()).copied()),
        })
        .collect();
    let new = insert_events(tx, &located).await?;
    let moves = fold(located.iter().filter(|one| new.contains(&one.id)));
    move_rows(tx, &moves).await?;
    waiting_behind(tx, &moves).await
}

/// A status with the ledger row it speaks of; `None` for messages that somebody else sent from our number.
struct Located<'a> {
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
row! { struct EventRow { id: Uuid } }

async fn find_rows(
    tx: &mut Tx,
    statuses: &[(&NewStatus, Timestamp)],
) -> Result<HashMap<String, (ConversationId, OutboundId)>, StoreError> {
    let unnamed: HashSet<&str> = statuses
        .iter()
        .filter(|(status, _)| status.callback.is_none())
        .map(|(status, _)| status.provider_message_id.as_str())
        .collect();
    if unnamed.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<LedgerRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "SELECT conversation_id, id, provider_message_id FROM outbound_messages WHERE provider_message_id IN (",
        );
        let mut list = sql.separated(", ");
        for provider_message_id in &unnamed {
            list.push_bind(*provider_message_id);
        }
        sql.push(")");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    Ok(rows
        .into_iter()
        .map(|row| (row.provider_message_id, (ConversationId(row.conversation_id), OutboundId(row.id))))
        .collect())
}

async fn insert_events(tx: &mut Tx, located: &[Located<'_>]) -> Result<HashSet<Uuid>, StoreError> {
    let rows: Vec<EventRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "INSERT INTO delivery_events
                 (id, phone_number_id, provider_message_id, status, recipient, conversation_id, outbound_id,
                  occurred_at, received_at, error, price) ",
        );
        sql.push_values(located, |mut row, one| {
            row.push_bind(one.id)
                .push_bind(&one.status.phone_number_id)
                .push_bind(&one.status.provider_message_id)
                .push_bind(one.status.status.as_str())
                .push_bind(&one.status.recipient)
                .push_bind(one.row.map(|(conversation, _)| conversation.0))
                .push_bind(one.row.map(|(_, outbound)| outbound.0))
                .push_bind(Ts(one.status.occurred_at.unwrap_or(one.received_at)))
                .push_bind(Ts(one.received_at))
                .push_bind(one.status.error.as_ref().map(Json))
                .push_bind(one.status.price.as_ref().map(Json));
        });
        sql.push(" ON CONFLICT (provider_message_id, status, recipient) DO NOTHING RETURNING id");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// One move a row: several statuses of a message in one batch would otherwise race inside the statement.
fn fold<'a>(located: impl Iterator<Item = &'a Located<'a>>) -> Vec<Move<'a>> {
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
    moves.into_values().collect()
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
async fn move_rows(tx: &mut Tx, moves: &[Move<'_>]) -> Result<(), StoreError> {
    if moves.is_empty() {
        return Ok(());
    }
    on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "WITH v (conversation_id, id, state, below_rank, provider_message_id, error, price, at) AS (",
        );
        sql.push_values(moves, |mut row, one| {
            row.push_bind(one.row.0.0)
                .push_bind(one.row.1.0)
                .push_bind(one.status.as_str())
                .push_bind(one.status.applies_below_rank())
                .push_bind(one.provider_message_id)
                .push_bind(one.error.map(Json))
                .push_bind(one.price.map(Json))
                .push_bind(Ts(one.at));
        });
        sql.push(
            ") UPDATE outbound_messages SET
                   state = v.state,
                   provider_message_id = coalesce(outbound_messages.provider_message_id, v.provider_message_id),
                   error = v.error,
                   price = coalesce(v.price, outbound_messages.price),
                   updated_at = v.at
               FROM v
               WHERE outbound_messages.conversation_id = v.conversation_id AND outbound_messages.id = v.id
                 AND outbound_messages.attempts > 0
                 AND CASE outbound_messages.state
                         WHEN 'sent' THEN 1 WHEN 'delivered' THEN 2 WHEN 'read' THEN 3 WHEN 'played' THEN 4
                         WHEN 'failed' THEN
                             CASE WHEN outbound_messages.provider_message_id IS NULL THEN 0 ELSE 9 END
                         ELSE 0 END < v.below_rank",
        );
        sql.build().persistent(false).execute(connection).await?;
    });
    Ok(())
}

/// Conversations of moved rows in which more waits to be sent.
async fn waiting_behind(tx: &mut Tx, moves: &[Move<'_>]) -> Result<Vec<ConversationId>, StoreError> {
    let touched: HashSet<ConversationId> = moves.iter().map(|one| one.row.0).collect();
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    let waiting = outbox::waiting(tx, touched.into_iter()).await?;
    Ok(waiting.into_iter().map(ConversationId).collect())
}
