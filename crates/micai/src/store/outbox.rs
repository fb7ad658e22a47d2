//! The outbox: what is next in a conversation, the intent before a call, and the outcome after it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::consent::{self, MarketingRefusal};
use super::db::{Ts, Tx, read, row};
use super::error::StoreError;
use super::lane::Verb;
use super::script::{Cell, Kind, Rows, Script};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::outbound::{
    AttemptOutcome, MessageBody, NextSend, Refusal, SendCandidate, SendError, SendState, Settlement,
};
use crate::ids::{ConversationId, Ids, OutboundId};

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

pub(super) struct SettleVerb {
    pub ids: Arc<Ids>,
}

impl Verb<Settle, Moved> for SettleVerb {
    fn run<'a>(&'a self, tx: &'a mut Tx, items: &'a [Settle]) -> BoxFuture<'a, Result<Vec<Moved>, StoreError>> {
        Box::pin(settle_and_note(tx, &self.ids, items))
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
        marketing_stopped_at: Option<Ts>,
        blocked_at: Option<Ts>,
    }
}

async fn next(tx: &mut Tx, requests: &[NextRequest]) -> Result<Vec<NextSend>, StoreError> {
    let mut rows = Rows::new("wanted", &[("conversation_id", Kind::Id), ("parked_since", Kind::Instant)]);
    for request in requests {
        let patience = SignedDuration::from_secs(request.unknown_deadline_seconds);
        rows.push([request.conversation_id.0.into(), (request.now - patience).into()]);
    }
    let sql = heads_sql(tx);
    let rows: Vec<HeadRow> = rows.fetch(tx, &sql).await?;
    let mut heads: HashMap<Uuid, Vec<HeadRow>> = HashMap::new();
    for row in rows {
        heads.entry(row.conversation_id).or_default().push(row);
    }
    requests.iter().map(|request| first_in_line(request, heads.remove(&request.conversation_id.0))).collect()
}

/// The heads of outboxes, found through the index of open sends alone. What is parked holds up nobody: it must not fill the
/// head of the line either.
fn heads_sql(tx: &Tx) -> String {
    let open = "h.state IN ('queued', 'sending', 'unknown', 'held') AND h.state IN ('queued', 'sending', 'unknown')
           AND h.conversation_id = w.conversation_id AND (h.state <> 'unknown' OR h.sending_at > w.parked_since)";
    let heads = match tx {
        Tx::Pg(..) => format!(
            "wanted w CROSS JOIN LATERAL
                 (SELECT h.* FROM outbound_messages h WHERE {open} ORDER BY h.id LIMIT {HEAD_ROWS_MAX}) o
             JOIN conversations c ON c.id = o.conversation_id JOIN contacts p ON p.id = c.contact_id"
        ),
        // Given the chance, SQLite would walk through the whole history of a conversation.
        Tx::Lite(_) => format!(
            "wanted w CROSS JOIN outbound_messages o CROSS JOIN conversations c CROSS JOIN contacts p
             WHERE o.conversation_id = w.conversation_id AND c.id = o.conversation_id AND p.id = c.contact_id
               AND o.id IN (SELECT h.id FROM outbound_messages h INDEXED BY outbound_messages_open
                            WHERE {open} ORDER BY h.id LIMIT {HEAD_ROWS_MAX})"
        ),
    };
    format!(
        "SELECT o.conversation_id, o.id, o.phone_number_id, o.to_kind, o.to_value, o.body, o.state, o.attempts,
                o.not_before, o.sending_at, o.ignores_opt_out, c.last_inbound_at, p.opted_out_at,
                p.marketing_stopped_at, p.blocked_at
         FROM {heads} ORDER BY o.conversation_id, o.id"
    )
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
        marketing_stopped_at: row.marketing_stopped_at.map(|at| at.0),
        blocked_at: row.blocked_at.map(|at| at.0),
    })
}

async fn begin(tx: &mut Tx, begins: &[Begin]) -> Result<Vec<bool>, StoreError> {
    const COLUMNS: &[(&str, Kind)] =
        &[("conversation_id", Kind::Id), ("id", Kind::Id), ("attempts", Kind::Whole), ("begun_at", Kind::Instant)];
    let mut rows = Rows::new("begins", COLUMNS);
    for begin in begins {
        rows.push([begin.conversation_id.0.into(), begin.id.0.into(), begin.attempts.into(), begin.now.into()]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let moved = script.ask(
        &[rows],
        // No other send of the conversation may be under way: two senders that met keep the order.
        "UPDATE outbound_messages SET state = 'sending', attempts = begins.attempts + 1,
             sending_at = begins.begun_at, not_before = NULL, error = NULL, updated_at = begins.begun_at
         FROM begins
         WHERE outbound_messages.conversation_id = begins.conversation_id AND outbound_messages.id = begins.id
           AND outbound_messages.state = 'queued' AND outbound_messages.attempts = begins.attempts
           AND NOT EXISTS (SELECT 1 FROM outbound_messages s
                           WHERE s.state IN ('queued', 'sending', 'unknown', 'held') AND s.state = 'sending'
                             AND s.conversation_id = begins.conversation_id)
         RETURNING outbound_messages.id AS id",
    );
    let moved = script.run(tx).await?.of(moved);
    let mut answered = HashSet::new();
    Ok(begins.iter().map(|begin| moved.contains(&begin.id.0) && answered.insert(begin.id)).collect())
}

async fn refuse(tx: &mut Tx, refusals: &[Refuse]) -> Result<Vec<Moved>, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("attempts", Kind::Whole),
        ("state", Kind::Text),
        ("error", Kind::Json),
        ("request", Kind::Json),
        ("refused_at", Kind::Instant),
    ];
    let mut rows = Rows::new("refusals", COLUMNS);
    for refuse in refusals {
        let (state, error, request) = match &refuse.refusal {
            Refusal::Hold(error) => (SendState::Held, Some(error), None),
            Refusal::Suppress { request } => (SendState::Suppressed, None, Some(request)),
            Refusal::Cancel(error) => (SendState::Cancelled, Some(error), None),
        };
        rows.push([
            refuse.conversation_id.0.into(),
            refuse.id.0.into(),
            refuse.attempts.into(),
            state.as_str().into(),
            Cell::json_or_null(error)?,
            Cell::json_or_null(request)?,
            refuse.now.into(),
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let moved = script.ask(
        &[rows],
        "UPDATE outbound_messages SET state = refusals.state, error = refusals.error, request = refusals.request,
             updated_at = refusals.refused_at
         FROM refusals
         WHERE outbound_messages.conversation_id = refusals.conversation_id AND outbound_messages.id = refusals.id
           AND outbound_messages.state = 'queued' AND outbound_messages.attempts = refusals.attempts
         RETURNING outbound_messages.id AS id",
    );
    let waiting = script.ask(&[rows], waiting_beside("refusals"));
    let mut answers = script.run(tx).await?;
    let (moved, waiting) = (answers.of(moved), answers.of(waiting));
    let outcome = |refuse: &Refuse| Moved {
        moved: moved.contains(&refuse.id.0),
        more_waiting: waiting.contains(&refuse.conversation_id.0),
    };
    Ok(refusals.iter().map(outcome).collect())
}

/// Asks which conversations of a batch (columns `conversation_id`, `id`) have something in their outbox beside the rows
/// that the batch itself moves.
pub(super) fn waiting_beside(batch: &str) -> String {
    format!(
        "SELECT b.conversation_id AS id FROM {batch} b
         WHERE (SELECT 1 FROM outbound_messages o
                WHERE o.state IN ('queued', 'sending', 'unknown', 'held')
                  AND o.state IN ('queued', 'sending', 'unknown')
                  AND o.conversation_id = b.conversation_id AND o.id NOT IN (SELECT id FROM {batch})
                -- With EXISTS, Postgres may read all that waits anywhere, once, into a table of its own.
                LIMIT 1) IS NOT NULL"
    )
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

/// Settles, and notes for those people that they want no marketing of whom WhatsApp says so.
async fn settle_and_note(tx: &mut Tx, ids: &Ids, settlements: &[Settle]) -> Result<Vec<Moved>, StoreError> {
    let refusals: Vec<MarketingRefusal> = settlements
        .iter()
        .filter_map(|settle| {
            let AttemptOutcome::Failed { error } = &settle.settlement.outcome else { return None };
            let settlement = &settle.settlement;
            MarketingRefusal::of(Some(error), settlement.conversation_id, settlement.outbound_id, settle.now)
        })
        .collect();
    if !refusals.is_empty() {
        tx.together().await?;
    }
    let moved = settle(tx, settlements).await?;
    if let Some(now) = settlements.iter().map(|settle| settle.now).max() {
        consent::note_refusals(tx, ids, &refusals, now).await?;
    }
    Ok(moved)
}

async fn settle(tx: &mut Tx, settlements: &[Settle]) -> Result<Vec<Moved>, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("attempt", Kind::Whole),
        ("state", Kind::Text),
        ("not_before", Kind::Instant),
        ("provider_message_id", Kind::Text),
        ("error", Kind::Json),
        ("outcome", Kind::Text),
        ("http_status", Kind::Whole),
        ("begun_at", Kind::Instant),
        ("settled_at", Kind::Instant),
    ];
    let mut rows = Rows::new("settled", COLUMNS);
    let written: Vec<Written<'_>> = settlements.iter().map(written).collect();
    for one in &written {
        rows.push([
            one.settlement.conversation_id.0.into(),
            one.settlement.outbound_id.0.into(),
            one.settlement.attempt.into(),
            one.state.as_str().into(),
            one.not_before.into(),
            one.provider_message_id.into(),
            Cell::json_or_null(one.error)?,
            outcome_word(&one.settlement.outcome).into(),
            one.settlement.http_status.into(),
            one.settlement.begun_at.into(),
            one.at.into(),
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    // Only the attempt that is under way moves its row, or the late truth about one that was declared unknown.
    let moved = script.ask(
        &[rows],
        "UPDATE outbound_messages SET state = settled.state, not_before = settled.not_before, error = settled.error,
             provider_message_id = coalesce(settled.provider_message_id, outbound_messages.provider_message_id),
             updated_at = settled.settled_at
         FROM settled
         WHERE outbound_messages.conversation_id = settled.conversation_id AND outbound_messages.id = settled.id
           AND outbound_messages.state IN ('sending', 'unknown') AND outbound_messages.attempts = settled.attempt
         RETURNING outbound_messages.id AS id",
    );
    script.step(&[rows], ATTEMPTS);
    let waiting = script.ask(&[rows], waiting_beside("settled"));
    let mut answers = script.run(tx).await?;
    let (moved, waiting) = (answers.of(moved), answers.of(waiting));
    name_rows(tx, written.iter().filter(|one| !moved.contains(&one.settlement.outbound_id.0))).await?;
    let outcome = |one: &Written<'_>| Moved {
        moved: moved.contains(&one.settlement.outbound_id.0),
        more_waiting: one.state.is_in_line() || waiting.contains(&one.settlement.conversation_id.0),
    };
    Ok(written.iter().map(outcome).collect())
}

/// An attempt is written when it is over; until then the row itself says since when it is under way. Its end may be told
/// twice: given up as unknown, and settled after all.
const ATTEMPTS: &str = "INSERT INTO delivery_attempts
         (conversation_id, outbound_id, attempt, started_at, finished_at, outcome, http_status, error)
     SELECT conversation_id, id, attempt, begun_at, settled_at, outcome, http_status, error FROM settled WHERE true
     ON CONFLICT (conversation_id, outbound_id, attempt) DO UPDATE SET finished_at = excluded.finished_at,
         outcome = excluded.outcome, http_status = excluded.http_status, error = excluded.error";

/// A status was quicker than the answer to the call: the row keeps its place on the ladder and learns WhatsApp's id.
async fn name_rows<'a>(tx: &mut Tx, overtaken: impl Iterator<Item = &'a Written<'a>>) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] =
        &[("conversation_id", Kind::Id), ("id", Kind::Id), ("provider_message_id", Kind::Text)];
    let mut rows = Rows::new("named", COLUMNS);
    for one in overtaken {
        if let Some(provider_message_id) = one.provider_message_id {
            let settlement = one.settlement;
            rows.push([
                settlement.conversation_id.0.into(),
                settlement.outbound_id.0.into(),
                provider_message_id.into(),
            ]);
        }
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "UPDATE outbound_messages SET provider_message_id = named.provider_message_id FROM named
         WHERE outbound_messages.conversation_id = named.conversation_id AND outbound_messages.id = named.id
           AND outbound_messages.provider_message_id IS NULL",
    );
    script.run(tx).await.map(drop)
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
