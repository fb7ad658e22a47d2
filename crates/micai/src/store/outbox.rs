//! The outbox: what is next in a conversation, the intent before a call, and the outcome after it.

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Db, Ts, Tx, on, read, row};
use super::error::StoreError;
use super::lane::Commit;
use crate::clock::SharedClock;
use crate::domain::contact::{Address, AddressKind};
use crate::domain::outbound::{
    AttemptOutcome, MessageBody, NextSend, Refusal, SendCandidate, SendError, SendState, Settlement,
};
use crate::ids::{ConversationId, OutboundId};

/// Rows at the head of an outbox that decide what is next.
const HEAD_ROWS_MAX: i64 = 8;

/// The intent to call, written before the call.
pub(super) struct Begin {
    conversation_id: ConversationId,
    id: OutboundId,
    /// Attempts made before this one.
    attempts: i32,
    now: Timestamp,
}

pub(super) struct BeginVerb {
    pub db: Db,
}

impl Commit<Begin, bool> for BeginVerb {
    fn commit<'a>(&'a self, begins: &'a [Begin]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        Box::pin(begin(&self.db, begins))
    }

    fn weight(&self, _: &Begin) -> usize {
        1
    }
}

pub(super) struct SettleVerb {
    pub db: Db,
    pub clock: SharedClock,
}

impl Commit<Settlement, bool> for SettleVerb {
    fn commit<'a>(&'a self, settlements: &'a [Settlement]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        Box::pin(settle(&self.db, self.clock.now(), settlements))
    }

    fn weight(&self, _: &Settlement) -> usize {
        1
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
        let now = self.clock.now();
        let rows: Vec<HeadRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT o.id, o.phone_number_id, o.to_kind, o.to_value, o.body, o.state, o.attempts, o.not_before,
                        o.sending_at, o.ignores_opt_out, c.last_inbound_at, p.opted_out_at
                 FROM outbound_messages o
                 JOIN conversations c ON c.id = o.conversation_id
                 JOIN contacts p ON p.id = c.contact_id
                 WHERE o.conversation_id = $1
                   AND o.state IN ('queued', 'sending', 'unknown', 'held') AND o.state <> 'held'
                 ORDER BY o.id LIMIT $2",
            )
            .bind(conversation_id.0)
            .bind(HEAD_ROWS_MAX)
            .fetch_all(pool)
            .await?
        });
        for row in rows {
            let settles_by = row
                .sending_at
                .map_or(now, |at| at.0 + jiff::SignedDuration::from_secs(unknown_deadline_seconds));
            match row.state.as_str() {
                "sending" => return Ok(NextSend::Busy),
                "unknown" if settles_by > now => return Ok(NextSend::WaitUntil(settles_by)),
                "unknown" => continue,
                _ => {}
            }
            return Ok(match row.not_before {
                Some(at) if at.0 > now => NextSend::WaitUntil(at.0),
                _ => NextSend::Due(Box::new(read_candidate(conversation_id, row)?)),
            });
        }
        Ok(NextSend::Nothing)
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

    /// Writes what policy decided instead of a call. `false` when the row had moved on.
    pub async fn refuse_send(&self, candidate: &SendCandidate, refusal: &Refusal) -> Result<bool, StoreError> {
        let (state, error, request) = match refusal {
            Refusal::Hold(error) => (SendState::Held, Some(error), None),
            Refusal::Suppress { request } => (SendState::Suppressed, None, Some(request)),
            Refusal::Cancel(error) => (SendState::Cancelled, Some(error), None),
        };
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let changed = on!(&mut tx, |connection, D| {
            sqlx::query(
                "UPDATE outbound_messages SET state = $1, error = $2, request = $3, updated_at = $4
                 WHERE conversation_id = $5 AND id = $6 AND state = 'queued' AND attempts = $7",
            )
            .bind(state.as_str())
            .bind(error.map(Json))
            .bind(request.map(Json))
            .bind(Ts(now))
            .bind(candidate.conversation_id.0)
            .bind(candidate.id.0)
            .bind(candidate.attempts)
            .execute(connection)
            .await?
            .rows_affected()
        });
        tx.commit().await?;
        Ok(changed > 0)
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

async fn begin(db: &Db, begins: &[Begin]) -> Result<Vec<bool>, StoreError> {
    let mut tx = db.begin().await?;
    let moved: Vec<MovedRow> = on!(&mut tx, |connection, D| {
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
        on!(&mut tx, |connection, D| {
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
    tx.commit().await?;
    let mut answered = HashSet::new();
    Ok(begins.iter().map(|begin| moved.contains(&begin.id.0) && answered.insert(begin.id)).collect())
}

/// How an outcome stands in the row.
struct Written<'a> {
    settlement: &'a Settlement,
    state: SendState,
    not_before: Option<Timestamp>,
    provider_message_id: Option<&'a str>,
    error: Option<&'a SendError>,
}

fn written(settlement: &Settlement) -> Written<'_> {
    let (state, not_before, provider_message_id, error) = match &settlement.outcome {
        AttemptOutcome::Accepted { provider_message_id } => {
            (SendState::Sent, None, Some(provider_message_id.as_str()), None)
        }
        AttemptOutcome::RetryAt { not_before, error } => (SendState::Queued, Some(*not_before), None, Some(error)),
        AttemptOutcome::Held { error } => (SendState::Held, None, None, Some(error)),
        AttemptOutcome::Failed { error } => (SendState::Failed, None, None, Some(error)),
        AttemptOutcome::Unknown { error } => (SendState::Unknown, None, None, Some(error)),
    };
    Written { settlement, state, not_before, provider_message_id, error }
}

async fn settle(db: &Db, now: Timestamp, settlements: &[Settlement]) -> Result<Vec<bool>, StoreError> {
    let rows: Vec<Written<'_>> = settlements.iter().map(written).collect();
    let mut tx = db.begin().await?;
    let moved = move_rows(&mut tx, &rows, now).await?;
    // A status may have been quicker than the answer to the call: the row keeps its place on the ladder and learns
    // WhatsApp's id.
    name_rows(&mut tx, &rows).await?;
    close_attempts(&mut tx, &rows, now).await?;
    tx.commit().await?;
    Ok(settlements.iter().map(|settlement| moved.contains(&settlement.outbound_id.0)).collect())
}

/// Only the attempt that is under way moves its row, or the late truth about one that was declared unknown.
async fn move_rows(tx: &mut Tx, rows: &[Written<'_>], now: Timestamp) -> Result<HashSet<Uuid>, StoreError> {
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
                .push_bind(Ts(now));
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

async fn close_attempts(tx: &mut Tx, rows: &[Written<'_>], now: Timestamp) -> Result<(), StoreError> {
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
                .push_bind(Ts(now));
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
