//! The outbox: what is next in a conversation, the intent before a call, and the outcome after it.

use std::collections::{HashMap, HashSet};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::lane::Verb;
use crate::domain::contact::{Address, AddressKind};
use crate::domain::outbound::{
    AttemptOutcome, MessageBody, NextSend, Refusal, SendCandidate, SendError, SendState, Settlement,
};
use crate::ids::{ConversationId, OutboundId};

/// Rows at the head of an outbox that decide what is next.
const HEAD_ROWS_MAX: i64 = 8;

/// What became of a row that was to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Whether it moved; if not, somebody else had moved it meanwhile.
    pub moved: bool,
    /// Whether something waits in the outbox of its conversation.
    pub more_waiting: bool,
}

/// The question what is next in an outbox. It writes nothing and travels with the others all the same: asked one by one
/// it would cost more than everything else.
pub(super) struct NextRequest {
    conversation_id: ConversationId,
    unknown_deadline_seconds: i64,
    now: Timestamp,
}

pub(super) struct NextVerb;

impl Verb<NextRequest, NextSend> for NextVerb {
    fn run<'a>(&'a self, tx: &'a mut Tx, items: &'a [NextRequest]) -> BoxFuture<'a, Result<Vec<NextSend>, StoreError>> {
        Box::pin(next(tx, items))
    }
}

/// The intent to call, written before the call.
pub(super) struct Begin {
    conversation_id: ConversationId,
    id: OutboundId,
    /// Attempts made before this one.
    attempts: i32,
    now: Timestamp,
}

pub(super) struct BeginVerb;

impl Verb<Begin, bool> for BeginVerb {
    fn run<'a>(&'a self, tx: &'a mut Tx, items: &'a [Begin]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        Box::pin(begin(tx, items))
    }
}

/// What policy decided instead of a call.
pub(super) struct Refuse {
    conversation_id: ConversationId,
    id: OutboundId,
    /// Attempts made before.
    attempts: i32,
    refusal: Refusal,
    now: Timestamp,
}

pub(super) struct RefuseVerb;

impl Verb<Refuse, Moved> for RefuseVerb {
    fn run<'a>(&'a self, tx: &'a mut Tx, items: &'a [Refuse]) -> BoxFuture<'a, Result<Vec<Moved>, StoreError>> {
        Box::pin(refuse(tx, items))
    }
}

/// The outcome of a call, with the time of writing.
pub(super) struct Settle {
    pub settlement: Settlement,
    pub now: Timestamp,
}

pub(super) struct SettleVerb;

impl Verb<Settle, Moved> for SettleVerb {
    fn run<'a>(&'a self, tx: &'a mut Tx, items: &'a [Settle]) -> BoxFuture<'a, Result<Vec<Moved>, StoreError>> {
        Box::pin(settle(tx, items))
    }
}

impl Store {
    /// What is next in a conversation's outbox. Sends keep their order: one that waits for its next attempt holds up
    /// those behind it, and one whose fate is unknown does so until `unknown_deadline_seconds` after its attempt.
    pub async fn next_send(
        &self,
        conversation_id: ConversationId,
        unknown_deadline_seconds: i64,
    ) -> Result<NextSend, StoreError> {
        let request = NextRequest { conversation_id, unknown_deadline_seconds, now: self.clock.now() };
        self.lanes.next.submit(request).await
    }

    /// Writes the intent to call, as attempt `candidate.attempts + 1`. `false` when somebody else was quicker.
    pub async fn begin_send(&self, candidate: &SendCandidate) -> Result<bool, StoreError> {
        let begin = Begin {
            conversation_id: candidate.conversation_id,
            id: candidate.id,
            attempts: candidate.attempts,
            now: self.clock.now(),
        };
        self.lanes.begin.submit(begin).await
    }

    /// Writes what policy decided instead of a call.
    pub async fn refuse_send(&self, candidate: &SendCandidate, refusal: Refusal) -> Result<Moved, StoreError> {
        let refuse = Refuse {
            conversation_id: candidate.conversation_id,
            id: candidate.id,
            attempts: candidate.attempts,
            refusal,
            now: self.clock.now(),
        };
        self.lanes.refuse.submit(refuse).await
    }

    /// Writes the outcome of an attempt.
    pub async fn settle(&self, settlement: Settlement) -> Result<Moved, StoreError> {
        self.lanes.settle.submit(Settle { settlement, now: self.clock.now() }).await
    }

    /// Conversations behind `after` with a send that was due before `due_before` and is not under way: what the sweeper
    /// announces again. At most `limit`, by id.
    pub async fn forgotten_sends(
        &self,
        due_before: Timestamp,
        after: ConversationId,
        limit: i64,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let rows: Vec<ConversationRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT DISTINCT conversation_id FROM outbound_messages
                 WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state = 'queued'
                   AND conversation_id > $1 AND coalesce(not_before, created_at) <= $2
                 ORDER BY conversation_id LIMIT $3",
            )
            .bind(after.0)
            .bind(Ts(due_before))
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(|row| ConversationId(row.conversation_id)).collect())
    }
}

row! { struct ConversationRow { conversation_id: Uuid } }
row! { struct MovedRow { id: Uuid } }
row! {
    struct HeadRow {
        conversation_id: Uuid,
        id: Uuid,
        phone_number_id: String,
        to_kind: String,
        to_value: String,
        body: Json<MessageBody>,
        state: String,
        attempts: i32,
        not_before: Option<Ts>,
        sending_at: Option<Ts>,
        ignores_opt_out: bool,
        last_inbound_at: Option<Ts>,
        opted_out_at: Option<Ts>,
    }
}

async fn next(tx: &mut Tx, requests: &[NextRequest]) -> Result<Vec<NextSend>, StoreError> {
    let patience = |request: &NextRequest| SignedDuration::from_secs(request.unknown_deadline_seconds);
    let Some(parked_since) = requests.iter().map(|request| request.now - patience(request)).min() else {
        return Ok(Vec::new());
    };
    let rows: Vec<HeadRow> = on!(tx, |connection, D| {
        // The rows are found through the index of open sends alone: given the chance, SQLite would walk through the
        // whole history of a conversation instead.
        let mut sql = QueryBuilder::<D>::new(
            "SELECT n.* FROM
                 (SELECT o.conversation_id, o.id, o.phone_number_id, o.to_kind, o.to_value, o.body, o.state, o.attempts,
                         o.not_before, o.sending_at, o.ignores_opt_out, c.last_inbound_at, p.opted_out_at,
                         row_number() OVER (PARTITION BY o.conversation_id ORDER BY o.id) AS place
                  FROM outbound_messages o
                  JOIN conversations c ON c.id = o.conversation_id
                  JOIN contacts p ON p.id = c.contact_id
                  WHERE o.id IN
                      (SELECT h.id FROM outbound_messages h
                       WHERE h.state IN ('queued', 'sending', 'unknown', 'held')
                         AND h.state IN ('queued', 'sending', 'unknown') AND h.conversation_id IN (",
        );
        let mut list = sql.separated(", ");
        for request in requests {
            list.push_bind(request.conversation_id.0);
        }
        // What is parked holds up nobody: it must not fill the head of the line either.
        sql.push(")) AND (o.state <> 'unknown' OR o.sending_at > ").push_bind(Ts(parked_since));
        sql.push(")) n WHERE n.place <= ").push_bind(HEAD_ROWS_MAX).push(" ORDER BY n.conversation_id, n.id");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    let mut heads: HashMap<Uuid, Vec<HeadRow>> = HashMap::new();
    for row in rows {
        heads.entry(row.conversation_id).or_default().push(row);
    }
    requests.iter().map(|request| first_in_line(request, heads.remove(&request.conversation_id.0))).collect()
}

fn first_in_line(request: &NextRequest, head: Option<Vec<HeadRow>>) -> Result<NextSend, StoreError> {
    let patience = SignedDuration::from_secs(request.unknown_deadline_seconds);
    for row in head.unwrap_or_default() {
        let settles_by = row.sending_at.map_or(request.now, |at| at.0 + patience);
        match row.state.as_str() {
            "sending" => return Ok(NextSend::Busy),
            "unknown" if settles_by > request.now => return Ok(NextSend::WaitUntil(settles_by)),
            "unknown" => continue,
            _ => {}
        }
        return Ok(match row.not_before {
            Some(at) if at.0 > request.now => NextSend::WaitUntil(at.0),
            _ => NextSend::Due(Box::new(read_candidate(request.conversation_id, row)?)),
        });
    }
    Ok(NextSend::Nothing)
}

fn read_candidate(conversation_id: ConversationId, row: HeadRow) -> Result<SendCandidate, StoreError> {
    let kind = AddressKind::parse(&row.to_kind).ok_or_else(|| StoreError::unreadable("address kind", &row.to_kind))?;
    Ok(SendCandidate {
        id: OutboundId(row.id),
        conversation_id,
        phone_number_id: row.phone_number_id,
        to: Address { kind, value: row.to_value },
        body: row.body.0,
        attempts: row.attempts,
        ignores_opt_out: row.ignores_opt_out,
        last_inbound_at: row.last_inbound_at.map(|at| at.0),
        opted_out_at: row.opted_out_at.map(|at| at.0),
    })
}

async fn begin(tx: &mut Tx, begins: &[Begin]) -> Result<Vec<bool>, StoreError> {
    let moved: Vec<MovedRow> = on!(&mut *tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new("WITH v (conversation_id, id, attempts, at) AS (");
        sql.push_values(begins, |mut row, begin| {
            row.push_bind(begin.conversation_id.0)
                .push_bind(begin.id.0)
                .push_bind(begin.attempts)
                .push_bind(Ts(begin.now));
        });
        // No other send of the conversation may be under way: two senders that met keep the order.
        sql.push(
            ") UPDATE outbound_messages SET state = 'sending', attempts = v.attempts + 1, sending_at = v.at,
                   not_before = NULL, error = NULL, updated_at = v.at
               FROM v
               WHERE outbound_messages.conversation_id = v.conversation_id AND outbound_messages.id = v.id
                 AND outbound_messages.state = 'queued' AND outbound_messages.attempts = v.attempts
                 AND NOT EXISTS (SELECT 1 FROM outbound_messages s WHERE s.conversation_id = v.conversation_id
                                 AND s.state IN ('queued', 'sending', 'unknown', 'held') AND s.state = 'sending')
               RETURNING outbound_messages.id",
        );
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    let moved: HashSet<Uuid> = moved.into_iter().map(|row| row.id).collect();
    let won: Vec<&Begin> = begins.iter().filter(|begin| moved.contains(&begin.id.0)).collect();
    if !won.is_empty() {
        on!(&mut *tx, |connection, D| {
            let mut sql = QueryBuilder::<D>::new(
                "INSERT INTO delivery_attempts (conversation_id, outbound_id, attempt, started_at) ",
            );
            sql.push_values(&won, |mut row, begin| {
                row.push_bind(begin.conversation_id.0)
                    .push_bind(begin.id.0)
                    .push_bind(begin.attempts + 1)
                    .push_bind(Ts(begin.now));
            });
            sql.build().persistent(false).execute(connection).await?;
        });
    }
    let mut answered = HashSet::new();
    Ok(begins.iter().map(|begin| moved.contains(&begin.id.0) && answered.insert(begin.id)).collect())
}

async fn refuse(tx: &mut Tx, refusals: &[Refuse]) -> Result<Vec<Moved>, StoreError> {
    let moved: Vec<MovedRow> = on!(&mut *tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new("WITH v (conversation_id, id, attempts, state, error, request, at) AS (");
        sql.push_values(refusals, |mut row, refuse| {
            let (state, error, request) = match &refuse.refusal {
                Refusal::Hold(error) => (SendState::Held, Some(error), None),
                Refusal::Suppress { request } => (SendState::Suppressed, None, Some(request)),
                Refusal::Cancel(error) => (SendState::Cancelled, Some(error), None),
            };
            row.push_bind(refuse.conversation_id.0)
                .push_bind(refuse.id.0)
                .push_bind(refuse.attempts)
                .push_bind(state.as_str())
                .push_bind(error.map(Json))
                .push_bind(request.map(Json))
                .push_bind(Ts(refuse.now));
        });
        sql.push(
            ") UPDATE outbound_messages SET state = v.state, error = v.error, request = v.request, updated_at = v.at
               FROM v
               WHERE outbound_messages.conversation_id = v.conversation_id AND outbound_messages.id = v.id
                 AND outbound_messages.state = 'queued' AND outbound_messages.attempts = v.attempts
               RETURNING outbound_messages.id",
        );
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    let moved: HashSet<Uuid> = moved.into_iter().map(|row| row.id).collect();
    let waiting = waiting(tx, refusals.iter().map(|refuse| refuse.conversation_id)).await?;
    let outcome = |refuse: &Refuse| Moved {
        moved: moved.contains(&refuse.id.0),
        more_waiting: waiting.contains(&refuse.conversation_id.0),
    };
    Ok(refusals.iter().map(outcome).collect())
}

/// Which of these conversations (at least one) have something in their outbox.
pub(super) async fn waiting(
    tx: &mut Tx,
    conversations: impl Iterator<Item = ConversationId>,
) -> Result<HashSet<Uuid>, StoreError> {
    let rows: Vec<ConversationRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "SELECT DISTINCT conversation_id FROM outbound_messages
             WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state IN ('queued', 'sending', 'unknown')
               AND conversation_id IN (",
        );
        let mut list = sql.separated(", ");
        for conversation in conversations {
            list.push_bind(conversation.0);
        }
        sql.push(")");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    Ok(rows.into_iter().map(|row| row.conversation_id).collect())
}

/// How an outcome stands in the row.
struct Written<'a> {
    settlement: &'a Settlement,
    state: SendState,
    not_before: Option<Timestamp>,
    provider_message_id: Option<&'a str>,
    error: Option<&'a SendError>,
    at: Timestamp,
}

fn written(settle: &Settle) -> Written<'_> {
    let (state, not_before, provider_message_id, error) = match &settle.settlement.outcome {
        AttemptOutcome::Accepted { provider_message_id } => {
            (SendState::Sent, None, Some(provider_message_id.as_str()), None)
        }
        AttemptOutcome::RetryAt { not_before, error } => (SendState::Queued, Some(*not_before), None, Some(error)),
        AttemptOutcome::Held { error } => (SendState::Held, None, None, Some(error)),
        AttemptOutcome::Failed { error } => (SendState::Failed, None, None, Some(error)),
        AttemptOutcome::Unknown { error } => (SendState::Unknown, None, None, Some(error)),
    };
    Written { settlement: &settle.settlement, state, not_before, provider_message_id, error, at: settle.now }
}

async fn settle(tx: &mut Tx, settlements: &[Settle]) -> Result<Vec<Moved>, StoreError> {
    let rows: Vec<Written<'_>> = settlements.iter().map(written).collect();
    let moved = move_rows(tx, &rows).await?;
    // A status may have been quicker than the answer to the call: the row keeps its place on the ladder and learns
    // WhatsApp's id.
    name_rows(tx, &rows).await?;
    close_attempts(tx, &rows).await?;
    let waiting = waiting(tx, rows.iter().map(|one| one.settlement.conversation_id)).await?;
    let outcome = |one: &Written<'_>| Moved {
        moved: moved.contains(&one.settlement.outbound_id.0),
        more_waiting: waiting.contains(&one.settlement.conversation_id.0),
    };
    Ok(rows.iter().map(outcome).collect())
}

/// Only the attempt that is under way moves its row, or the late truth about one that was declared unknown.
async fn move_rows(tx: &mut Tx, rows: &[Written<'_>]) -> Result<HashSet<Uuid>, StoreError> {
    let moved: Vec<MovedRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "WITH v (conversation_id, id, attempt, state, not_before, provider_message_id, error, at) AS (",
        );
        sql.push_values(rows, |mut row, one| {
            row.push_bind(one.settlement.conversation_id.0)
                .push_bind(one.settlement.outbound_id.0)
                .push_bind(one.settlement.attempt)
                .push_bind(one.state.as_str())
                .push_bind(one.not_before.map(Ts))
                .push_bind(one.provider_message_id)
                .push_bind(one.error.map(Json))
                .push_bind(Ts(one.at));
        });
        sql.push(
            ") UPDATE outbound_messages SET state = v.state, not_before = v.not_before, error = v.error,
                   provider_message_id = coalesce(v.provider_message_id, outbound_messages.provider_message_id),
                   updated_at = v.at
               FROM v
               WHERE outbound_messages.conversation_id = v.conversation_id AND outbound_messages.id = v.id
                 AND outbound_messages.state IN ('sending', 'unknown') AND outbound_messages.attempts = v.attempt
               RETURNING outbound_messages.id",
        );
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    Ok(moved.into_iter().map(|row| row.id).collect())
}

async fn name_rows(tx: &mut Tx, rows: &[Written<'_>]) -> Result<(), StoreError> {
    let accepted: Vec<_> = rows.iter().filter_map(|one| Some((one.settlement, one.provider_message_id?))).collect();
    if accepted.is_empty() {
        return Ok(());
    }
    on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new("WITH v (conversation_id, id, provider_message_id) AS (");
        sql.push_values(&accepted, |mut row, (settlement, provider_message_id)| {
            row.push_bind(settlement.conversation_id.0)
                .push_bind(settlement.outbound_id.0)
                .push_bind(*provider_message_id);
        });
        sql.push(
            ") UPDATE outbound_messages SET provider_message_id = v.provider_message_id
               FROM v
               WHERE outbound_messages.conversation_id = v.conversation_id AND outbound_messages.id = v.id
                 AND outbound_messages.provider_message_id IS NULL",
        );
        sql.build().persistent(false).execute(connection).await?;
    });
    Ok(())
}

async fn close_attempts(tx: &mut Tx, rows: &[Written<'_>]) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "WITH v (conversation_id, outbound_id, attempt, outcome, http_status, error, at) AS (",
        );
        sql.push_values(rows, |mut row, one| {
            row.push_bind(one.settlement.conversation_id.0)
                .push_bind(one.settlement.outbound_id.0)
                .push_bind(one.settlement.attempt)
                .push_bind(outcome_word(&one.settlement.outcome))
                .push_bind(one.settlement.http_status)
                .push_bind(one.error.map(Json))
                .push_bind(Ts(one.at));
        });
        sql.push(
            ") UPDATE delivery_attempts SET finished_at = v.at, outcome = v.outcome, http_status = v.http_status,
                   error = v.error
               FROM v
               WHERE delivery_attempts.conversation_id = v.conversation_id
                 AND delivery_attempts.outbound_id = v.outbound_id AND delivery_attempts.attempt = v.attempt",
        );
        sql.build().persistent(false).execute(connection).await?;
    });
    Ok(())
}

fn outcome_word(outcome: &AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Accepted { .. } => "accepted",
        AttemptOutcome::RetryAt { .. } => "refused_for_now",
        AttemptOutcome::Held { .. } => "held",
        AttemptOutcome::Failed { .. } => "refused",
        AttemptOutcome::Unknown { .. } => "unknown",
    }
}
