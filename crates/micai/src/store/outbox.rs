//! The outbox: what is next in a conversation, the intent before a call, and the outcome after it.

use std::collections::{HashMap, HashSet};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Lenient, Ts, Tx, read, row};
use super::error::StoreError;
use super::lane::Verb;
use super::script::{Cell, Kind, Rows, Script};
use super::settle::Settle;
use crate::domain::agent::AgentId;
use crate::domain::contact::{Address, AddressKind};
use crate::domain::fate::LostCall;
use crate::domain::free_entry::FreeEntry;
use crate::domain::outbound::{MessageBody, NextSend, Refusal, SendCandidate, SendState, Settlement, UnreadableSend};
use crate::domain::pause::PauseKey;
use crate::domain::template::TemplateUse;
use crate::ids::{ContactId, ConversationId, OutboundId};

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
    others_wait_seconds: i64,
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
    estimate_micros: Option<i64>,
    /// What it says in place of what it was to say: a template, since the window is closed.
    body: Option<MessageBody>,
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

impl Store {
    /// What is next in a conversation's outbox. Sends keep their order: one that waits for its next attempt holds up
    /// those behind it, and one whose fate is unknown does so until its call settles by `others_wait_seconds`
    /// ([`LostCall::settles_by`]).
    pub async fn next_send(
        &self,
        conversation_id: ConversationId,
        others_wait_seconds: i64,
    ) -> Result<NextSend, StoreError> {
        let request = NextRequest { conversation_id, others_wait_seconds, now: self.clock.now() };
        self.lanes.next.submit(request).await
    }

    /// Writes the intent to call, as attempt `candidate.attempts + 1`. `false` when somebody else was quicker.
    pub async fn begin_send(&self, candidate: &SendCandidate) -> Result<bool, StoreError> {
        self.begin_send_as(candidate, None).await
    }

    /// As [`Store::begin_send`]; `body` is what the message says from now on, where that is something else than before.
    pub async fn begin_send_as(
        &self,
        candidate: &SendCandidate,
        body: Option<MessageBody>,
    ) -> Result<bool, StoreError> {
        let begin = Begin {
            conversation_id: candidate.conversation_id,
            id: candidate.id,
            attempts: candidate.attempts,
            estimate_micros: candidate.estimate_micros,
            body,
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
        contact_id: Uuid,
        agent_id: Option<String>,
        phone_number_id: String,
        to_kind: String,
        to_value: String,
        body: Lenient<Json<MessageBody>>,
        template: Lenient<Option<Json<TemplateUse>>>,
        needs_template: bool,
        tried_since: Option<Ts>,
        state: String,
        attempts: i32,
        attempts_before: i32,
        not_before: Option<Ts>,
        unreadable: i32,
        sending_at: Option<Ts>,
        updated_at: Ts,
        ignores_opt_out: bool,
        last_inbound_at: Option<Ts>,
        opted_out_at: Option<Ts>,
        marketing_stopped_at: Option<Ts>,
        blocked_at: Option<Ts>,
        referred_at: Option<Ts>,
        free_entry_until: Option<Ts>,
    }
}

async fn next(tx: &mut Tx, requests: &[NextRequest]) -> Result<Vec<NextSend>, StoreError> {
    let mut rows = Rows::new("wanted", &[("conversation_id", Kind::Id), ("parked_since", Kind::Instant)]);
    for request in requests {
        let patience = SignedDuration::from_secs(request.others_wait_seconds);
        rows.push([request.conversation_id.0.into(), (request.now - patience).into()]);
    }
    let sql = heads_sql(tx);
    let rows: Vec<HeadRow> = rows.fetch(tx, &sql).await?;
    let mut heads: HashMap<Uuid, Vec<HeadRow>> = HashMap::new();
    for row in rows {
        heads.entry(row.conversation_id).or_default().push(row);
    }
    Ok(requests.iter().map(|request| first_in_line(request, heads.remove(&request.conversation_id.0))).collect())
}

/// The heads of outboxes, found through the index of open sends alone. What is parked holds up nobody: it must not fill the
/// head of the line either: as [`LostCall::settles_by`], whose bound on a long silence [`first_in_line`] knows.
fn heads_sql(tx: &Tx) -> String {
    let open = "h.state IN ('queued', 'sending', 'unknown', 'held') AND h.state IN ('queued', 'sending', 'unknown')
           AND h.conversation_id = w.conversation_id
           AND (h.state <> 'unknown' OR h.updated_at + (h.updated_at - h.sending_at) > w.parked_since)";
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
        "SELECT o.conversation_id, o.id, c.contact_id, o.agent_id, o.phone_number_id, o.to_kind, o.to_value, o.body,
                o.template, o.needs_template, o.state, o.attempts, o.attempts_before, o.tried_since, o.not_before,
                o.unreadable, o.sending_at, o.updated_at, o.ignores_opt_out, c.last_inbound_at, c.referred_at, c.free_entry_until,
                p.opted_out_at, p.marketing_stopped_at, p.blocked_at
         FROM {heads} ORDER BY o.conversation_id, o.id"
    )
}

fn first_in_line(request: &NextRequest, head: Option<Vec<HeadRow>>) -> NextSend {
    for row in head.unwrap_or_default() {
        let call = row.sending_at.map(|at| LostCall { attempted_at: at.0, unknown_since: row.updated_at.0 });
        let settles_by = call.map_or(request.now, |call| call.settles_by(request.others_wait_seconds));
        match row.state.as_str() {
            "sending" => return NextSend::Busy,
            "unknown" if settles_by > request.now => return NextSend::WaitUntil(settles_by),
            "unknown" => continue,
            _ => {}
        }
        if let Some(at) = row.not_before.filter(|at| at.0 > request.now) {
            return NextSend::WaitUntil(at.0);
        }
        let (id, tries) = (OutboundId(row.id), row.unreadable);
        return match read_candidate(request.conversation_id, row) {
            Ok(candidate) => NextSend::Due(Box::new(candidate)),
            Err(detail) => {
                NextSend::Unreadable(UnreadableSend { conversation_id: request.conversation_id, id, tries, detail })
            }
        };
    }
    NextSend::Nothing
}

/// The row as a sender sees it, or what about it cannot be read.
fn read_candidate(conversation_id: ConversationId, row: HeadRow) -> Result<SendCandidate, String> {
    let kind = AddressKind::parse(&row.to_kind).ok_or_else(|| format!("address kind is {:?}", row.to_kind))?;
    Ok(SendCandidate {
        id: OutboundId(row.id),
        conversation_id,
        contact_id: ContactId(row.contact_id),
        agent_id: row.agent_id.map(AgentId),
        phone_number_id: row.phone_number_id,
        to: Address { kind, value: row.to_value },
        body: row.body.0?.0,
        estimate_micros: None,
        attempts: row.attempts,
        attempts_before: row.attempts_before,
        ignores_opt_out: row.ignores_opt_out,
        tried_since: row.tried_since.map(|at| at.0),
        needs_template: row.needs_template,
        template: row.template.0?.map(|template| template.0),
        last_inbound_at: row.last_inbound_at.map(|at| at.0),
        opted_out_at: row.opted_out_at.map(|at| at.0),
        marketing_stopped_at: row.marketing_stopped_at.map(|at| at.0),
        blocked_at: row.blocked_at.map(|at| at.0),
        free_entry: FreeEntry {
            referred_at: row.referred_at.map(|at| at.0),
            until: row.free_entry_until.map(|at| at.0),
        },
    })
}

async fn begin(tx: &mut Tx, begins: &[Begin]) -> Result<Vec<bool>, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("attempts", Kind::Whole),
        ("estimate_micros", Kind::Whole),
        ("kind", Kind::Text),
        ("body", Kind::Json),
        ("begun_at", Kind::Instant),
    ];
    let mut rows = Rows::new("begins", COLUMNS);
    for begin in begins {
        rows.push([
            begin.conversation_id.0.into(),
            begin.id.0.into(),
            begin.attempts.into(),
            begin.estimate_micros.into(),
            begin.body.as_ref().map(MessageBody::kind).into(),
            Cell::json_or_null(begin.body.as_ref())?,
            begin.now.into(),
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let moved = script.ask(
        &[rows],
        // No other send of the conversation may be under way: two senders that met keep the order.
        "UPDATE outbound_messages SET state = 'sending', attempts = begins.attempts + 1,
             sending_at = begins.begun_at, not_before = NULL, error = NULL, updated_at = begins.begun_at,
             tried_since = coalesce(outbound_messages.tried_since, begins.begun_at),
             kind = coalesce(begins.kind, outbound_messages.kind),
             body = coalesce(begins.body, outbound_messages.body), estimate_micros = begins.estimate_micros
         FROM begins
         WHERE outbound_messages.conversation_id = begins.conversation_id AND outbound_messages.id = begins.id
           -- Said so that only the primary key fits: all that is queued is no way to a row.
           AND coalesce(outbound_messages.state, '') = 'queued' AND outbound_messages.attempts = begins.attempts
           -- With NOT EXISTS, Postgres would walk through all that is being sent, for each.
           AND (SELECT 1 FROM outbound_messages s
                WHERE s.state IN ('queued', 'sending', 'unknown', 'held') AND s.state = 'sending'
                  AND s.conversation_id = begins.conversation_id LIMIT 1) IS NULL
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
        ("is_for_window", Kind::Flag),
        ("last_inbound_at", Kind::Instant),
    ];
    let mut rows = Rows::new("refusals", COLUMNS);
    let mut holds = pause_holds();
    for refuse in refusals {
        if let Refusal::Pause(pause, _) = &refuse.refusal {
            hold(&mut holds, pause, refuse.conversation_id, refuse.id);
        }
        let (state, error, request) = match &refuse.refusal {
            Refusal::Hold(error) | Refusal::HoldForWindow(error, _) | Refusal::Pause(_, error) => {
                (SendState::Held, Some(error), None)
            }
            Refusal::Fail(error) => (SendState::Failed, Some(error), None),
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
            matches!(refuse.refusal, Refusal::HoldForWindow(..)).into(),
            match refuse.refusal {
                Refusal::HoldForWindow(_, last_inbound_at) => last_inbound_at.into(),
                _ => None::<Timestamp>.into(),
            },
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let moved = script.ask(
        &[rows],
        // What is held when its window has just opened would wait for the next message of its person, and they may have no reason
        // to write one.
        "UPDATE outbound_messages SET state = refusals.state, error = refusals.error, request = refusals.request,
             updated_at = refusals.refused_at
         FROM refusals
         WHERE outbound_messages.conversation_id = refusals.conversation_id AND outbound_messages.id = refusals.id
           AND coalesce(outbound_messages.state, '') = 'queued' AND outbound_messages.attempts = refusals.attempts
           AND (NOT refusals.is_for_window
                OR (SELECT c.last_inbound_at FROM conversations c WHERE c.id = refusals.conversation_id)
                   IS NOT DISTINCT FROM refusals.last_inbound_at)
         RETURNING outbound_messages.id AS id",
    );
    let waiting = script.ask(&[rows], waiting_beside("refusals"));
    keep_holds(&mut script, holds);
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

/// Sends that are put aside until a pause is over.
pub(super) fn pause_holds<'a>() -> Rows<'a> {
    Rows::new(
        "new_holds",
        &[("scope", Kind::Text), ("subject", Kind::Text), ("outbound_id", Kind::Id), ("conversation_id", Kind::Id)],
    )
}

/// Adds one to them.
pub(super) fn hold<'a>(holds: &mut Rows<'a>, pause: &'a PauseKey, conversation_id: ConversationId, id: OutboundId) {
    holds.push([pause.scope.as_str().into(), (&pause.subject).into(), id.0.into(), conversation_id.0.into()]);
}

/// Writes them.
pub(super) fn keep_holds<'a>(script: &mut Script<'a>, holds: Rows<'a>) {
    let holds = script.batch(holds);
    script.step(
        &[holds],
        "INSERT INTO pause_holds (scope, subject, outbound_id, conversation_id)
         SELECT scope, subject, outbound_id, conversation_id FROM new_holds WHERE true
         ON CONFLICT (scope, subject, outbound_id) DO NOTHING",
    );
}
