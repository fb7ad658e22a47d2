//! The one commit that ends a turn: the lease goes back, and with it everything that the turn decided.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::types::Json;

use super::consent;
use super::db::{Tx, on};
use super::error::StoreError;
use super::handover;
use super::holds::release_held;
use super::lane::Verb;
use super::schedules;
use super::script::{Cell, Kind, Question, Rows, Script};
use super::tools;
use crate::domain::outbound::SendState;
use crate::domain::turn::{Effect, FinishOutcome, FinishedTurn};
use crate::ids::{ConversationId, Ids};

/// In a statement of its own, Postgres need not flush it before it answers: a turn is done again if a crash takes it back, and
/// none of its sends can have begun. Any later commit that is flushed, such as the intent of a call, brings it along.
pub(super) const UNFLUSHED: &str = " AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL";

pub(super) struct FinishVerb {
    pub ids: Arc<Ids>,
}

impl Verb<FinishedTurn, FinishOutcome> for FinishVerb {
    fn run<'a>(
        &'a self,
        tx: &'a mut Tx,
        turns: &'a [FinishedTurn],
    ) -> BoxFuture<'a, Result<Vec<FinishOutcome>, StoreError>> {
        Box::pin(finish(tx, &self.ids, turns))
    }
}

async fn finish(tx: &mut Tx, ids: &Ids, turns: &[FinishedTurn]) -> Result<Vec<FinishOutcome>, StoreError> {
    let current = current_turns(turns);
    if current.iter().any(|turn| !turn.effects.is_empty()) {
        tx.together_unflushed().await?;
    }
    let mut script = Script::default();
    let (held, waiting, released) = match tx {
        // One statement: what follows looks at who was let go.
        Tx::Pg(..) => {
            let held = let_go(&mut script, &current, UNFLUSHED);
            let wrote = write_turns(tx, &mut script, &current, "step_0")?;
            let mut answers = script.run(tx).await?;
            (answers.of(held), answers.of(wrote.waiting), answers.of(wrote.released))
        }
        Tx::Lite(_) => {
            let held = let_go(&mut script, &current, "");
            let held = script.run(tx).await?.of(held);
            let mut script = Script::default();
            let counted: Vec<_> =
                current.iter().copied().filter(|turn| held.contains(&turn.conversation_id.0)).collect();
            let wrote = write_turns(tx, &mut script, &counted, "")?;
            let mut answers = script.run(tx).await?;
            (held, answers.of(wrote.waiting), answers.of(wrote.released))
        }
    };
    for turn in current.iter().filter(|turn| held.contains(&turn.conversation_id.0) && !turn.effects.is_empty()) {
        consent::note_turn(tx, ids, turn).await?;
        apply_effects(tx, ids, turn).await?;
    }
    let tokens: HashMap<ConversationId, i64> =
        current.iter().map(|turn| (turn.conversation_id, turn.lease_token)).collect();
    Ok(turns
        .iter()
        .map(|turn| {
            let is_current = tokens.get(&turn.conversation_id) == Some(&turn.lease_token);
            match is_current && held.contains(&turn.conversation_id.0) {
                true => FinishOutcome::Finished {
                    more_pending: waiting.contains(&turn.conversation_id.0),
                    released: released.contains(&turn.conversation_id.0),
                },
                false => FinishOutcome::Fenced,
            }
        })
        .collect())
}

/// The turns that may still hold their lease: where two of a conversation meet in a batch, the older one has lost it.
/// Sorted, so that two transactions lock the rows in the same order.
fn current_turns(turns: &[FinishedTurn]) -> Vec<&FinishedTurn> {
    let mut current: BTreeMap<ConversationId, &FinishedTurn> = BTreeMap::new();
    for turn in turns {
        let newest = current.entry(turn.conversation_id).or_insert(turn);
        if turn.lease_token > newest.lease_token {
            *newest = turn;
        }
    }
    current.into_values().collect()
}

/// Ends the leases that are still ours; whoever lost theirs must not write anything.
fn let_go(script: &mut Script<'_>, turns: &[&FinishedTurn], unflushed: &str) -> Question {
    let mut rows = Rows::new("finished", &[("id", Kind::Id), ("lease_token", Kind::Whole)]);
    turns.iter().for_each(|turn| rows.push([turn.conversation_id.0.into(), turn.lease_token.into()]));
    let finished = script.batch(rows);
    script.ask(
        &[finished],
        format!(
            "UPDATE conversations SET lease_until = NULL FROM finished
             WHERE conversations.id = finished.id AND conversations.lease_token = finished.lease_token
               AND conversations.lease_until IS NOT NULL{unflushed}
             RETURNING conversations.id AS id"
        ),
    )
}

/// What is asked about turns that are written.
struct Wrote {
    /// In which conversations other messages still wait.
    waiting: Question,
    /// In which something was held that may go now.
    released: Question,
}

/// Writes all that the turns decided, for those in `held` (a table of ids; empty: for all).
fn write_turns<'a>(
    tx: &Tx,
    script: &mut Script<'a>,
    turns: &[&'a FinishedTurn],
    held: &str,
) -> Result<Wrote, StoreError> {
    // IS TRUE keeps Postgres from comparing each row with all the ids.
    let among = |column: &str| match held {
        "" => String::new(),
        held => format!(" AND ({column} IN (SELECT id FROM {held})) IS TRUE"),
    };
    let gate = among("conversation_id");
    let waiting = mark_messages(script, turns, &gate);
    insert_turns(script, turns, &gate)?;
    insert_replies(script, turns, &gate)?;
    let now = turns.iter().map(|turn| turn.finished_at).max().unwrap_or_default();
    let opened = turns.iter().filter(|turn| turn.opens_window).map(|turn| turn.conversation_id);
    let released = release_held(tx, script, opened, now, &among("opened.id"));
    Ok(Wrote { waiting, released })
}

/// Marks the messages that the turns dealt with. Answers with the conversations in which others still wait.
fn mark_messages(script: &mut Script<'_>, turns: &[&FinishedTurn], held: &str) -> Question {
    const COLUMNS: &[(&str, Kind)] =
        &[("conversation_id", Kind::Id), ("id", Kind::Id), ("state", Kind::Text), ("turn_id", Kind::Id)];
    let mut conversations = Rows::new("dealt_with", &[("conversation_id", Kind::Id)]);
    let mut rows = Rows::new("marks", COLUMNS);
    for turn in turns {
        conversations.push([turn.conversation_id.0.into()]);
        for (message, state) in &turn.messages {
            rows.push([turn.conversation_id.0.into(), message.0.into(), state.as_str().into(), turn.id.0.into()]);
        }
    }
    let conversations = script.batch(conversations);
    let marks = script.batch(rows);
    script.step(
        &[marks],
        format!(
            "UPDATE inbound_messages SET state = m.state, turn_id = m.turn_id
             FROM (SELECT conversation_id, id, state, turn_id FROM marks WHERE true{held}) m
             WHERE inbound_messages.conversation_id = m.conversation_id AND inbound_messages.id = m.id"
        ),
    );
    script.ask(
        &[conversations, marks],
        "SELECT d.conversation_id AS id FROM dealt_with d
         WHERE (SELECT 1 FROM inbound_messages m
                WHERE m.state = 'pending' AND m.conversation_id = d.conversation_id
                  AND m.id NOT IN (SELECT id FROM marks)
                LIMIT 1) IS NOT NULL",
    )
}

fn insert_turns<'a>(script: &mut Script<'a>, turns: &[&'a FinishedTurn], held: &str) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("agent_id", Kind::Text),
        ("agent_version", Kind::Whole),
        ("started_at", Kind::Instant),
        ("finished_at", Kind::Instant),
        ("trace", Kind::Json),
    ];
    let mut rows = Rows::new("new_turns", COLUMNS);
    for turn in turns {
        rows.push([
            turn.conversation_id.0.into(),
            turn.id.0.into(),
            turn.agent_id.as_str().into(),
            turn.agent_version.into(),
            turn.started_at.into(),
            turn.finished_at.into(),
            Cell::json(&turn.trace)?,
        ]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        format!(
            "INSERT INTO turns (conversation_id, id, agent_id, agent_version, started_at, finished_at, trace)
             SELECT conversation_id, id, agent_id, agent_version, started_at, finished_at, trace
             FROM new_turns WHERE true{held}"
        ),
    );
    Ok(())
}

fn insert_replies<'a>(script: &mut Script<'a>, turns: &[&'a FinishedTurn], held: &str) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("idempotency_key", Kind::Text),
        ("turn_id", Kind::Id),
        ("agent_id", Kind::Text),
        ("answers", Kind::Text),
        ("to_kind", Kind::Text),
        ("to_value", Kind::Text),
        ("kind", Kind::Text),
        ("body", Kind::Json),
        ("ignores_opt_out", Kind::Flag),
        ("state", Kind::Text),
        ("created_at", Kind::Instant),
    ];
    let mut rows = Rows::new("replies", COLUMNS);
    for (turn, reply) in turns.iter().flat_map(|turn| turn.replies.iter().map(move |reply| (turn, reply))) {
        rows.push([
            turn.conversation_id.0.into(),
            reply.id.0.into(),
            (&reply.idempotency_key).into(),
            turn.id.0.into(),
            turn.agent_id.as_str().into(),
            (&reply.answers_provider_message_id).into(),
            reply.to.kind.as_str().into(),
            (&reply.to.value).into(),
            reply.body.kind().into(),
            Cell::json(&reply.body)?,
            reply.ignores_opt_out.into(),
            SendState::Queued.as_str().into(),
            turn.finished_at.into(),
        ]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        format!(
            "INSERT INTO outbound_messages
                 (conversation_id, id, idempotency_key, turn_id, agent_id, answers_provider_message_id, phone_number_id,
                  to_kind, to_value, kind, body, ignores_opt_out, state, attempts, resends, created_at, updated_at)
             SELECT r.conversation_id, r.id, r.idempotency_key, r.turn_id, r.agent_id, r.answers, c.phone_number_id,
                  r.to_kind, r.to_value, r.kind, r.body, r.ignores_opt_out, r.state, 0, 0, r.created_at, r.created_at
             FROM (SELECT * FROM replies WHERE true{held}) r CROSS JOIN conversations c WHERE c.id = r.conversation_id"
        ),
    );
    Ok(())
}

/// Everything beside consent.
async fn apply_effects(tx: &mut Tx, ids: &Ids, turn: &FinishedTurn) -> Result<(), StoreError> {
    for effect in &turn.effects {
        match effect {
            // Noted before: see `consent::note_turn`.
            Effect::Consent { .. } => {}
            Effect::EraseWords { provider_message_id } => erase_words(tx, turn, provider_message_id).await?,
            Effect::CreateSchedule(new) => schedules::create_in_turn(tx, turn, new).await?,
            Effect::CancelSchedule { schedule_id } => schedules::cancel_in_turn(tx, turn, *schedule_id).await?,
            Effect::SnoozeSchedule { schedule_id, until } => {
                schedules::snooze_in_turn(tx, turn, *schedule_id, *until).await?;
            }
            Effect::SetZone { zone } => schedules::set_zone_in_turn(tx, turn, zone).await?,
            Effect::Ask(question) => tools::ask(tx, turn.conversation_id, question.as_ref()).await?,
            // Noted together: see `tools::note_denials`.
            Effect::ToolDenied(_) => {}
            // Noted last, since a person who is forgotten has nothing left: see `handover::apply_turn`.
            Effect::Mode(_) | Effect::Tell(_) | Effect::BindAgent { .. } | Effect::Forget(_) => {}
        }
    }
    tools::note_denials(tx, ids, turn).await?;
    handover::apply_turn(tx, ids, turn).await
}

async fn erase_words(tx: &mut Tx, turn: &FinishedTurn, provider_message_id: &str) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query(
            "UPDATE inbound_messages SET text = NULL, payload = $1
             WHERE conversation_id = $2 AND phone_number_id =
                 (SELECT phone_number_id FROM conversations WHERE id = $2)
               AND provider_message_id = $3",
        )
        .bind(Json(serde_json::json!({ "revoked": true })))
        .bind(turn.conversation_id.0)
        .bind(provider_message_id)
        .execute(connection)
        .await?;
    });
    Ok(())
}
