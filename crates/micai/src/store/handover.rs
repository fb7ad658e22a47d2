//! Who speaks for the business in a conversation: changed by control words at the end of a turn, by operators, and by time.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use super::script::{Cell, Kind, Rows, Script};
use super::{Store, alerts, audit, erasures, notices};
use crate::domain::agent::AgentId;
use crate::domain::alert::{AlertKind, NewAlert, Severity};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::conversation::{ConversationMode, ModeChange, ModeSetter, ModeState, silenced_error};
use crate::domain::turn::{Effect, FinishedTurn};
use crate::ids::{ContactId, ConversationId, Ids, OutboundId};

/// What an operator says about a conversation's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetMode<'a> {
    /// Who speaks from now on.
    pub mode: ConversationMode,
    /// For how long; without it, until somebody says otherwise.
    pub seconds: Option<i64>,
    /// For whoever asks later.
    pub reason: Option<&'a str>,
}

/// Applies what the control words of a turn ask for, in the transaction that ends the turn.
pub(super) async fn apply_turn(tx: &mut Tx, ids: &Ids, turn: &FinishedTurn) -> Result<(), StoreError> {
    for effect in &turn.effects {
        match effect {
            Effect::Mode(change) => change_mode(tx, ids, turn.conversation_id, *change, turn.finished_at).await?,
            Effect::Tell(kind) => notices::write(tx, ids, turn, *kind).await?,
            Effect::BindAgent { agent_id } => bind(tx, turn.contact_id, agent_id).await?,
            Effect::Forget(wish) => erasures::ask_by_person(tx, ids, turn, wish).await?,
            _ => {}
        }
    }
    Ok(())
}

impl Store {
    /// Lets somebody else speak in a conversation from now on. A turn that is under way counts for nothing, and what the agent has
    /// said that has not gone out yet is cancelled, so that it says nothing after a person has taken over; what the turn was about
    /// has its turn again. `false` when there is no such conversation.
    pub async fn set_mode(&self, id: ConversationId, set: SetMode<'_>, actor: &Actor) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = locked_mode(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok(false);
        };
        let until = set.seconds.map(|seconds| now + SignedDuration::from_secs(seconds));
        let change = ModeChange { to: set.mode, until, by: ModeSetter::Operator };
        on!(&mut tx, |connection, D| {
            sqlx::query(
                "UPDATE conversations SET mode = $1, mode_until = $2, mode_set_by = $3, mode_since = $4, mode_reason = $5,
                     lease_token = lease_token + 1, lease_until = NULL
                 WHERE id = $6",
            )
            .bind(change.to.as_str())
            .bind(change.until.map(Ts))
            .bind(change.by.as_str())
            .bind(Ts(now))
            .bind(set.reason)
            .bind(id.0)
            .execute(connection)
            .await?;
        });
        let silenced = match set.mode {
            ConversationMode::Bot => 0,
            ConversationMode::Human | ConversationMode::Paused => silence(&mut tx, id, set.mode, now).await?,
        };
        alerts::clear(&mut tx, AlertKind::HandoverRequested, &id.to_string(), now).await?;
        let stands = |state: ModeState| json!({ "mode": state.mode, "until": state.until, "set_by": state.set_by });
        let mut after = stands(change.state());
        after["reason"] = set.reason.into();
        after["cancelled_replies"] = silenced.into();
        let entry = AuditEntry::new(AuditAction::ConversationModeSet, id, Some(stands(before)), Some(after));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Cancels what turns have said and no call has begun for; gives how much that is. Left alone: what schedules and people say, what
/// may have gone out already, and the confirmation of a STOP, which the person is owed whoever speaks.
async fn silence(tx: &mut Tx, id: ConversationId, mode: ConversationMode, now: Timestamp) -> Result<u64, StoreError> {
    let error = silenced_error(mode);
    let cancelled = on!(tx, |connection, D| {
        sqlx::query(
            // The first list of states is the partial index's own condition, word for word.
            "UPDATE outbound_messages SET state = 'cancelled', error = $1, not_before = NULL, updated_at = $2
             WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state IN ('queued', 'held')
               AND conversation_id = $3 AND turn_id IS NOT NULL AND NOT ignores_opt_out",
        )
        .bind(Json(&error))
        .bind(Ts(now))
        .bind(id.0)
        .execute(connection)
        .await?
        .rows_affected()
    });
    Ok(cancelled)
}

/// Cancels those agents' replies among `returned` that have just come back to the outbox by themselves, for another try, as a template
/// or until a pause ends, where an operator has taken the conversation over since they were written. Gives which.
pub(super) async fn silence_returned(
    tx: &mut Tx,
    returned: &[(ConversationId, OutboundId)],
    now: Timestamp,
) -> Result<HashSet<Uuid>, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("if_human", Kind::Json),
        ("if_paused", Kind::Json),
        ("now", Kind::Instant),
    ];
    let errors = [ConversationMode::Human, ConversationMode::Paused].map(silenced_error);
    let mut rows = Rows::new("returned", COLUMNS);
    for (conversation_id, id) in returned {
        let [if_human, if_paused] = [Cell::json(&errors[0])?, Cell::json(&errors[1])?];
        rows.push([conversation_id.0.into(), id.0.into(), if_human, if_paused, now.into()]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let silenced = script.ask(
        &[rows],
        "UPDATE outbound_messages SET state = 'cancelled', not_before = NULL, updated_at = returned.now,
             error = CASE c.mode WHEN 'paused' THEN returned.if_paused ELSE returned.if_human END
         FROM returned JOIN conversations c ON c.id = returned.conversation_id
         WHERE outbound_messages.conversation_id = returned.conversation_id AND outbound_messages.id = returned.id
           AND coalesce(outbound_messages.state, '') IN ('queued', 'held')
           AND outbound_messages.turn_id IS NOT NULL AND NOT outbound_messages.ignores_opt_out
           AND c.mode_set_by = 'operator' AND c.mode <> 'bot' AND c.mode_since >= outbound_messages.created_at
           AND (c.mode_until IS NULL OR c.mode_until > returned.now)
         RETURNING outbound_messages.id AS id",
    );
    Ok(script.run(tx).await?.of(silenced))
}

/// A person in charge has written: they are in charge for so long again.
pub(super) async fn extend(
    tx: &mut Tx,
    id: ConversationId,
    handover_seconds: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let until = now + SignedDuration::from_secs(handover_seconds);
    let changed = on!(&mut *tx, |connection, D| {
        sqlx::query(
            "UPDATE conversations SET mode_until = $1
             WHERE id = $2 AND mode = 'human' AND mode_until IS NOT NULL AND mode_until > $3",
        )
        .bind(Ts(until))
        .bind(id.0)
        .bind(Ts(now))
        .execute(connection)
        .await?
        .rows_affected()
    });
    if changed > 0 {
        // Somebody has seen it.
        alerts::clear(tx, AlertKind::HandoverRequested, &id.to_string(), now).await?;
    }
    Ok(())
}

async fn change_mode(
    tx: &mut Tx,
    ids: &Ids,
    id: ConversationId,
    change: ModeChange,
    now: Timestamp,
) -> Result<(), StoreError> {
    let changed = on!(&mut *tx, |connection, D| {
        sqlx::query(
            // Time ends what is over; whoever has written meanwhile is in charge for longer.
            "UPDATE conversations SET mode = $1, mode_until = $2, mode_set_by = $3, mode_since = $4, mode_reason = NULL
             WHERE id = $5 AND ($3 <> 'time' OR (mode_until IS NOT NULL AND mode_until <= $4))",
        )
        .bind(change.to.as_str())
        .bind(change.until.map(Ts))
        .bind(change.by.as_str())
        .bind(Ts(now))
        .bind(id.0)
        .execute(connection)
        .await?
        .rows_affected()
    });
    let subject = id.to_string();
    if change.to == ConversationMode::Human {
        let sentence = "Somebody wants to talk to a person. Read the conversation and answer in it, or give it back to the \
                        agent with POST /admin/conversations/{id}/mode.";
        let evidence = json!({ "conversation_id": id, "until": change.until });
        let alert = NewAlert::new(AlertKind::HandoverRequested, Severity::Warning, &subject, sentence, evidence);
        alerts::raise(tx, ids, &[alert], now).await?;
    } else if changed > 0 {
        alerts::clear(tx, AlertKind::HandoverRequested, &subject, now).await?;
    }
    Ok(())
}

/// As an operator's binding: in all conversations of the person.
async fn bind(tx: &mut Tx, contact_id: ContactId, agent_id: &AgentId) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query(
            // Nobody can choose what is no longer offered.
            "UPDATE conversations SET agent_id = $1
             WHERE contact_id = $2 AND (SELECT 1 FROM agents WHERE id = $1 AND listed) IS NOT NULL",
        )
        .bind(agent_id.as_str())
        .bind(contact_id.0)
        .execute(connection)
        .await?;
    });
    Ok(())
}

async fn locked_mode(tx: &mut Tx, id: ConversationId) -> Result<Option<ModeState>, StoreError> {
    let sql = format!("SELECT mode, mode_until, mode_set_by FROM conversations WHERE id = $1{}", tx.row_lock());
    let row: Option<ModeRow> = on!(tx, |connection, D| {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id.0).fetch_optional(connection).await?
    });
    row.map(|row| state_of(&row.mode, row.mode_until, row.mode_set_by.as_deref())).transpose()
}

row! { struct ModeRow { mode: String, mode_until: Option<Ts>, mode_set_by: Option<String> } }

/// The mode that a conversation's columns say.
pub(super) fn state_of(mode: &str, until: Option<Ts>, set_by: Option<&str>) -> Result<ModeState, StoreError> {
    Ok(ModeState {
        mode: ConversationMode::parse(mode).ok_or_else(|| StoreError::unreadable("conversation mode", mode))?,
        until: until.map(|at| at.0),
        set_by: set_by.and_then(ModeSetter::parse),
    })
}

/// All of a person's conversations, also of whom was merged into them.
pub(super) async fn conversations_of(tx: &mut Tx, contact_id: ContactId) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<IdRow> = on!(tx, |connection, D| {
        sqlx::query_as(
            "SELECT c.id FROM conversations c
             WHERE c.contact_id IN (SELECT p.id FROM contacts p WHERE p.id = $1 OR p.merged_into = $1) ORDER BY c.id",
        )
        .bind(contact_id.0)
        .fetch_all(connection)
        .await?
    });
    Ok(rows.into_iter().map(|row| row.id).collect())
}

row! { struct IdRow { id: Uuid } }
