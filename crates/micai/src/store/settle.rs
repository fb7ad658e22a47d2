//! The outcome of a call becomes the state of its row, and the attempt is written down.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::consent::{self, MarketingRefusal};
use super::db::Tx;
use super::error::StoreError;
use super::handover;
use super::lane::Verb;
use super::outbox::{Moved, hold, keep_holds, pause_holds, waiting_beside};
use super::script::{Cell, Kind, Rows, Script};
use crate::domain::outbound::{AttemptOutcome, SendError, SendState, Settlement};
use crate::ids::{ConversationId, Ids, OutboundId};

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

/// How an outcome stands in the row.
struct Written<'a> {
    settlement: &'a Settlement,
    state: SendState,
    not_before: Option<Timestamp>,
    provider_message_id: Option<&'a str>,
    error: Option<&'a SendError>,
    needs_template: bool,
    /// 1 where the attempt does not count.
    uncounted: i32,
    at: Timestamp,
}

fn written(settle: &Settle) -> Written<'_> {
    let (state, not_before, provider_message_id, error) = match &settle.settlement.outcome {
        AttemptOutcome::Accepted { provider_message_id } => {
            (SendState::Sent, None, Some(provider_message_id.as_str()), None)
        }
        AttemptOutcome::RetryAt { not_before, error, .. } => (SendState::Queued, Some(*not_before), None, Some(error)),
        // It waits in line for what policy makes of it.
        AttemptOutcome::NeedsTemplate { error } => (SendState::Queued, None, None, Some(error)),
        AttemptOutcome::Paused { error, .. } => (SendState::Held, None, None, Some(error)),
        AttemptOutcome::Failed { error } => (SendState::Failed, None, None, Some(error)),
        AttemptOutcome::Unknown { error } => (SendState::Unknown, None, None, Some(error)),
    };
    let needs_template = matches!(settle.settlement.outcome, AttemptOutcome::NeedsTemplate { .. });
    let is_uncounted = matches!(settle.settlement.outcome, AttemptOutcome::RetryAt { is_counted: false, .. });
    Written {
        uncounted: i32::from(is_uncounted),
        settlement: &settle.settlement,
        state,
        not_before,
        provider_message_id,
        error,
        needs_template,
        at: settle.now,
    }
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
    let returned: Vec<_> = settlements.iter().filter_map(|settle| returned(&settle.settlement)).collect();
    let restores = settlements.iter().any(|settle| settle.settlement.restored.is_some());
    if restores || !refusals.is_empty() || !returned.is_empty() {
        tx.together().await?;
    }
    let moved = settle(tx, settlements).await?;
    if restores {
        restore_bodies(tx, settlements).await?;
    }
    if let Some(now) = settlements.iter().map(|settle| settle.now).max() {
        if !returned.is_empty() {
            handover::silence_returned(tx, &returned, now).await?;
        }
        consent::note_refusals(tx, ids, &refusals, now).await?;
    }
    Ok(moved)
}

/// A send that comes back to the outbox.
fn returned(settlement: &Settlement) -> Option<(ConversationId, OutboundId)> {
    let row = (settlement.conversation_id, settlement.outbound_id);
    match settlement.outcome {
        AttemptOutcome::RetryAt { .. } | AttemptOutcome::NeedsTemplate { .. } | AttemptOutcome::Paused { .. } => {
            Some(row)
        }
        AttemptOutcome::Accepted { .. } | AttemptOutcome::Failed { .. } | AttemptOutcome::Unknown { .. } => None,
    }
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
        ("needs_template", Kind::Flag),
        ("uncounted", Kind::Whole),
        ("outcome", Kind::Text),
        ("http_status", Kind::Whole),
        ("begun_at", Kind::Instant),
        ("settled_at", Kind::Instant),
    ];
    let mut rows = Rows::new("settled", COLUMNS);
    let written: Vec<Written<'_>> = settlements.iter().map(written).collect();
    let mut holds = pause_holds();
    for one in &written {
        if let AttemptOutcome::Paused { pause, .. } = &one.settlement.outcome {
            hold(&mut holds, pause, one.settlement.conversation_id, one.settlement.outbound_id);
        }
        rows.push([
            one.settlement.conversation_id.0.into(),
            one.settlement.outbound_id.0.into(),
            one.settlement.attempt.into(),
            one.state.as_str().into(),
            one.not_before.into(),
            one.provider_message_id.into(),
            Cell::json_or_null(one.error)?,
            one.needs_template.into(),
            one.uncounted.into(),
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
             needs_template = CASE WHEN settled.needs_template THEN settled.needs_template
                                   ELSE outbound_messages.needs_template END,
             attempts_before = outbound_messages.attempts_before + settled.uncounted,
             updated_at = settled.settled_at
         FROM settled
         WHERE outbound_messages.conversation_id = settled.conversation_id AND outbound_messages.id = settled.id
           AND coalesce(outbound_messages.state, '') IN ('sending', 'unknown')
           AND outbound_messages.attempts = settled.attempt
         RETURNING outbound_messages.id AS id",
    );
    script.step(&[rows], ATTEMPTS);
    let waiting = script.ask(&[rows], waiting_beside("settled"));
    keep_holds(&mut script, holds);
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

/// Gives messages their own words back, where a template was refused that stood in for them. Only while they wait: whoever has
/// moved one meanwhile knows better.
async fn restore_bodies(tx: &mut Tx, settlements: &[Settle]) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("attempt", Kind::Whole),
        ("kind", Kind::Text),
        ("body", Kind::Json),
    ];
    let mut rows = Rows::new("restored", COLUMNS);
    for settlement in settlements.iter().map(|settle| &settle.settlement) {
        let Some(body) = &settlement.restored else { continue };
        rows.push([
            settlement.conversation_id.0.into(),
            settlement.outbound_id.0.into(),
            settlement.attempt.into(),
            body.kind().into(),
            Cell::json(body)?,
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "UPDATE outbound_messages SET kind = restored.kind, body = restored.body FROM restored
         WHERE outbound_messages.conversation_id = restored.conversation_id AND outbound_messages.id = restored.id
           AND coalesce(outbound_messages.state, '') IN ('queued', 'held')
           AND outbound_messages.attempts = restored.attempt
           -- Somebody may have asked to be forgotten during the call.
           AND outbound_messages.body ->> 'kind' <> 'erased'",
    );
    script.run(tx).await.map(drop)
}

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
        AttemptOutcome::NeedsTemplate { .. } => "needs_template",
        AttemptOutcome::Paused { .. } => "paused",
        AttemptOutcome::Failed { .. } => "refused",
        AttemptOutcome::Unknown { .. } => "unknown",
    }
}
