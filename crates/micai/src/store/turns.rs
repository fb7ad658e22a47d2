//! Turns: the lease on a conversation with what waits in it, and the one commit that ends a turn.

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
use crate::domain::agent::{AgentId, DEFAULT_AGENT_ID};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::conversation::ConversationMode;
use crate::domain::inbound::{InboundState, MessageNature, PendingMessage};
use crate::domain::outbound::SendState;
use crate::domain::turn::{Claim, Effect, FinishOutcome, FinishedTurn};
use crate::ids::{ContactId, ConversationId, InboundId};

/// Messages that one turn takes; the rest follows in the next.
const TURN_MESSAGES_MAX: i64 = 20;
/// Turns over the same message that may fail before it is put aside as dead.
const TURN_FAILURES_MAX: i32 = 5;

pub(super) struct ClaimRequest {
    pub conversation_id: ConversationId,
    pub now: Timestamp,
    pub lease_seconds: i64,
}

pub(super) struct ClaimVerb;

impl Verb<ClaimRequest, Option<Claim>> for ClaimVerb {
    fn run<'a>(
        &'a self,
        tx: &'a mut Tx,
        requests: &'a [ClaimRequest],
    ) -> BoxFuture<'a, Result<Vec<Option<Claim>>, StoreError>> {
        Box::pin(claim(tx, requests))
    }
}

pub(super) struct FinishVerb;

impl Verb<FinishedTurn, FinishOutcome> for FinishVerb {
    fn run<'a>(
        &'a self,
        tx: &'a mut Tx,
        turns: &'a [FinishedTurn],
    ) -> BoxFuture<'a, Result<Vec<FinishOutcome>, StoreError>> {
        Box::pin(finish(tx, turns))
    }
}

impl Store {
    /// Gives a lease back without a turn, as when the process stops. What waited waits on. `false` when the lease was no
    /// longer ours.
    pub async fn release_lease(&self, claim: &Claim) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let changed = on!(&mut tx, |connection, D| {
            sqlx::query("UPDATE conversations SET lease_until = NULL WHERE id = $1 AND lease_token = $2")
                .bind(claim.conversation_id.0)
                .bind(claim.lease_token)
                .execute(connection)
                .await?
                .rows_affected()
        });
        tx.commit().await?;
        Ok(changed > 0)
    }

    /// Notes that a turn over the claimed messages failed and gives the lease back. A message whose turns have failed
    /// five times is put aside as dead, so that it does not stand in the way of the next ones.
    pub async fn fail_turn(&self, claim: &Claim, error: &str) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let held = on!(&mut tx, |connection, D| {
            sqlx::query("UPDATE conversations SET lease_until = NULL WHERE id = $1 AND lease_token = $2")
                .bind(claim.conversation_id.0)
                .bind(claim.lease_token)
                .execute(connection)
                .await?
                .rows_affected()
        });
        if held > 0 {
            for message in &claim.pending {
                on!(&mut tx, |connection, D| {
                    sqlx::query(
                        "UPDATE inbound_messages SET failures = failures + 1, error = $1,
                             state = CASE WHEN failures + 1 >= $2 THEN 'dead' ELSE state END
                         WHERE conversation_id = $3 AND id = $4 AND state = 'pending'",
                    )
                    .bind(Json(error))
                    .bind(TURN_FAILURES_MAX)
                    .bind(claim.conversation_id.0)
                    .bind(message.id.0)
                    .execute(connection)
                    .await?;
                });
            }
        }
        tx.commit().await
    }

    /// Conversations behind `after` with messages that arrived before `arrived_before` and still wait, where nobody holds
    /// the lease: what the sweeper announces again. At most `limit`, by id.
    pub async fn forgotten_turns(
        &self,
        arrived_before: Timestamp,
        after: ConversationId,
        limit: i64,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let now = self.clock.now();
        let rows: Vec<IdRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT DISTINCT m.conversation_id AS id
                 FROM inbound_messages m JOIN conversations c ON c.id = m.conversation_id
                 WHERE m.state = 'pending' AND m.conversation_id > $1 AND m.received_at <= $2
                   AND (c.lease_until IS NULL OR c.lease_until <= $3)
                 ORDER BY m.conversation_id LIMIT $4",
            )
            .bind(after.0)
            .bind(Ts(arrived_before))
            .bind(Ts(now))
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(|row| ConversationId(row.id)).collect())
    }

    /// Breaks every lease and declares every call under way unknown. Only for the start of a process that has the
    /// database to itself: whoever held them is gone. The fencing token grows, so even a wrong guess is harmless.
    pub async fn recover_after_restart(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        on!(&mut tx, |connection, D| {
            sqlx::query(
                "UPDATE conversations SET lease_until = NULL, lease_token = lease_token + 1
                 WHERE lease_until IS NOT NULL",
            )
            .execute(connection)
            .await?;
        });
        super::unknown::expire(&mut tx, now, now).await?;
        tx.commit().await
    }
}

row! { struct IdRow { id: Uuid } }
row! { struct LeaseRow { id: Uuid, lease_token: i64 } }
row! {
    struct ContextRow {
        id: Uuid,
        contact_id: Uuid,
        mode: String,
        opted_out_at: Option<Ts>,
        agent_id: String,
        agent_version: i64,
    }
}
row! {
    struct PendingRow {
        conversation_id: Uuid,
        id: Uuid,
        provider_message_id: String,
        kind: String,
        nature: String,
        text: Option<String>,
        target_provider_message_id: Option<String>,
        reply_to_kind: String,
        reply_to: String,
        sent_at: Ts,
        received_at: Ts,
        failures: i32,
        revoked: bool,
        edited: bool,
    }
}

async fn claim(tx: &mut Tx, requests: &[ClaimRequest]) -> Result<Vec<Option<Claim>>, StoreError> {
    let Some(now) = requests.iter().map(|request| request.now).max() else { return Ok(Vec::new()) };
    let lease_seconds = requests.iter().map(|request| request.lease_seconds).max().unwrap_or_default();
    let leases = take_leases(tx, requests, now, now + SignedDuration::from_secs(lease_seconds)).await?;
    let mut claims = HashMap::new();
    if !leases.is_empty() {
        let ids: Vec<Uuid> = leases.iter().map(|lease| lease.id).collect();
        let mut pending = load_pending(tx, &ids).await?;
        for context in load_contexts(tx, &ids).await? {
            let Some(lease) = leases.iter().find(|lease| lease.id == context.id) else { continue };
            let pending = pending.remove(&context.id).unwrap_or_default();
            claims.insert(context.id, assemble(context, lease.lease_token, pending)?);
        }
    }
    Ok(requests.iter().map(|request| claims.remove(&request.conversation_id.0)).collect())
}

async fn take_leases(
    tx: &mut Tx,
    requests: &[ClaimRequest],
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<LeaseRow>, StoreError> {
    Ok(on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new("UPDATE conversations SET lease_token = lease_token + 1, lease_until = ");
        sql.push_bind(Ts(until));
        sql.push(" WHERE id IN (");
        let mut list = sql.separated(", ");
        for request in requests {
            list.push_bind(request.conversation_id.0);
        }
        sql.push(") AND (lease_until IS NULL OR lease_until <= ").push_bind(Ts(now));
        sql.push(
            ") AND EXISTS (SELECT 1 FROM inbound_messages m
                           WHERE m.conversation_id = conversations.id AND m.state = 'pending')
             RETURNING id, lease_token",
        );
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    }))
}

async fn load_contexts(tx: &mut Tx, conversations: &[Uuid]) -> Result<Vec<ContextRow>, StoreError> {
    Ok(on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "SELECT c.id, c.contact_id, c.mode, p.opted_out_at, a.id AS agent_id, a.version AS agent_version
             FROM conversations c
             JOIN contacts p ON p.id = c.contact_id
             -- A binding is the person's: it also counts in a conversation that began on another number later.
             JOIN agents a ON a.id = coalesce(c.agent_id,
                 (SELECT o.agent_id FROM conversations o WHERE o.contact_id = c.contact_id AND o.agent_id IS NOT NULL
                  ORDER BY o.id DESC LIMIT 1), ",
        );
        sql.push_bind(DEFAULT_AGENT_ID).push(") WHERE c.id IN (");
        let mut list = sql.separated(", ");
        for conversation in conversations {
            list.push_bind(conversation);
        }
        sql.push(")");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    }))
}

async fn load_pending(tx: &mut Tx, conversations: &[Uuid]) -> Result<HashMap<Uuid, Vec<PendingMessage>>, StoreError> {
    let rows: Vec<PendingRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "SELECT q.*,
                 EXISTS (SELECT 1 FROM inbound_messages t WHERE t.conversation_id = q.conversation_id
                         AND t.target_provider_message_id IS NOT NULL
                         AND t.target_provider_message_id = q.provider_message_id AND t.nature = 'revoke') AS revoked,
                 EXISTS (SELECT 1 FROM inbound_messages t WHERE t.conversation_id = q.conversation_id
                         AND t.target_provider_message_id IS NOT NULL
                         AND t.target_provider_message_id = q.provider_message_id AND t.nature = 'edit') AS edited
             FROM (SELECT m.conversation_id, m.id, m.provider_message_id, m.kind, m.nature, m.text,
                       m.target_provider_message_id, m.reply_to_kind, m.reply_to, m.sent_at, m.received_at, m.failures,
                       row_number() OVER (PARTITION BY m.conversation_id ORDER BY m.id) AS place
                   FROM inbound_messages m
                   WHERE m.state = 'pending' AND m.conversation_id IN (",
        );
        let mut list = sql.separated(", ");
        for conversation in conversations {
            list.push_bind(conversation);
        }
        sql.push(")) q WHERE q.place <= ").push_bind(TURN_MESSAGES_MAX).push(" ORDER BY q.conversation_id, q.id");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    let mut pending: HashMap<Uuid, Vec<PendingMessage>> = HashMap::new();
    for row in rows {
        pending.entry(row.conversation_id).or_default().push(read_pending(row)?);
    }
    Ok(pending)
}

fn read_pending(row: PendingRow) -> Result<PendingMessage, StoreError> {
    let nature =
        MessageNature::parse(&row.nature).ok_or_else(|| StoreError::unreadable("message nature", &row.nature))?;
    let kind = AddressKind::parse(&row.reply_to_kind)
        .ok_or_else(|| StoreError::unreadable("address kind", &row.reply_to_kind))?;
    Ok(PendingMessage {
        id: InboundId(row.id),
        provider_message_id: row.provider_message_id,
        kind: row.kind,
        nature,
        text: row.text,
        target_provider_message_id: row.target_provider_message_id,
        reply_to: Address { kind, value: row.reply_to },
        sent_at: row.sent_at.0,
        received_at: row.received_at.0,
        revoked: row.revoked,
        edited: row.edited,
        failures: row.failures,
    })
}

fn assemble(context: ContextRow, lease_token: i64, pending: Vec<PendingMessage>) -> Result<Claim, StoreError> {
    let mode = ConversationMode::parse(&context.mode)
        .ok_or_else(|| StoreError::unreadable("conversation mode", &context.mode))?;
    Ok(Claim {
        conversation_id: ConversationId(context.id),
        contact_id: ContactId(context.contact_id),
        lease_token,
        mode,
        opted_out_at: context.opted_out_at.map(|at| at.0),
        agent_id: AgentId(context.agent_id),
        agent_version: context.agent_version,
        pending,
    })
}

async fn finish(tx: &mut Tx, turns: &[FinishedTurn]) -> Result<Vec<FinishOutcome>, StoreError> {
    let held = let_go(tx, turns).await?;
    let counted: Vec<&FinishedTurn> = turns.iter().filter(|turn| held.contains(&turn.conversation_id.0)).collect();
    let mut waiting = HashSet::new();
    if !counted.is_empty() {
        mark_messages(tx, &counted).await?;
        insert_turns(tx, &counted).await?;
        insert_replies(tx, &counted).await?;
        for turn in counted.iter().filter(|turn| !turn.effects.is_empty()) {
            apply_effects(tx, turn).await?;
        }
        waiting = still_pending(tx, &counted).await?;
    }
    Ok(turns
        .iter()
        .map(|turn| match held.contains(&turn.conversation_id.0) {
            true => FinishOutcome::Finished { more_pending: waiting.contains(&turn.conversation_id.0) },
            false => FinishOutcome::Fenced,
        })
        .collect())
}

/// Ends the leases that are still ours; whoever lost theirs must not write anything.
async fn let_go(tx: &mut Tx, turns: &[FinishedTurn]) -> Result<HashSet<Uuid>, StoreError> {
    let rows: Vec<IdRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new("WITH v (id, lease_token) AS (");
        sql.push_values(turns, |mut row, turn| {
            row.push_bind(turn.conversation_id.0).push_bind(turn.lease_token);
        });
        sql.push(
            ") UPDATE conversations SET lease_until = NULL FROM v
               WHERE conversations.id = v.id AND conversations.lease_token = v.lease_token
                 AND conversations.lease_until IS NOT NULL
               RETURNING conversations.id",
        );
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    Ok(rows.into_iter().map(|row| row.id).collect())
}

async fn mark_messages(tx: &mut Tx, turns: &[&FinishedTurn]) -> Result<(), StoreError> {
    let marks: Vec<(&FinishedTurn, InboundId, InboundState)> =
        turns.iter().flat_map(|turn| turn.messages.iter().map(|(message, state)| (*turn, *message, *state))).collect();
    if marks.is_empty() {
        return Ok(());
    }
    on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new("WITH v (conversation_id, id, state, turn_id) AS (");
        sql.push_values(&marks, |mut row, (turn, message, state)| {
            row.push_bind(turn.conversation_id.0).push_bind(message.0).push_bind(state.as_str()).push_bind(turn.id.0);
        });
        sql.push(
            ") UPDATE inbound_messages SET state = v.state, turn_id = v.turn_id FROM v
               WHERE inbound_messages.conversation_id = v.conversation_id AND inbound_messages.id = v.id",
        );
        sql.build().persistent(false).execute(connection).await?;
    });
    Ok(())
}

async fn insert_turns(tx: &mut Tx, turns: &[&FinishedTurn]) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "INSERT INTO turns (conversation_id, id, agent_id, agent_version, started_at, finished_at, trace) ",
        );
        sql.push_values(turns, |mut row, turn| {
            row.push_bind(turn.conversation_id.0)
                .push_bind(turn.id.0)
                .push_bind(turn.agent_id.as_str())
                .push_bind(turn.agent_version)
                .push_bind(Ts(turn.started_at))
                .push_bind(Ts(turn.finished_at))
                .push_bind(Json(&turn.trace));
        });
        sql.build().persistent(false).execute(connection).await?;
    });
    Ok(())
}

async fn insert_replies(tx: &mut Tx, turns: &[&FinishedTurn]) -> Result<(), StoreError> {
    let replies: Vec<_> = turns.iter().flat_map(|turn| turn.replies.iter().map(|reply| (*turn, reply))).collect();
    if replies.is_empty() {
        return Ok(());
    }
    on!(tx, |connection, D| {
        let mut sql =
            QueryBuilder::<D>::new("WITH v (conversation_id, id, idempotency_key, turn_id, answers, to_kind,");
        sql.push(" to_value, kind, body, ignores_opt_out, state, attempts, resends, created_at) AS (");
        sql.push_values(&replies, |mut row, (turn, reply)| {
            row.push_bind(turn.conversation_id.0)
                .push_bind(reply.id.0)
                .push_bind(&reply.idempotency_key)
                .push_bind(turn.id.0)
                .push_bind(&reply.answers_provider_message_id)
                .push_bind(reply.to.kind.as_str())
                .push_bind(&reply.to.value)
                .push_bind(reply.body.kind())
                .push_bind(Json(&reply.body))
                .push_bind(reply.ignores_opt_out)
                .push_bind(SendState::Queued.as_str())
                .push_bind(0_i32)
                .push_bind(0_i32)
                .push_bind(Ts(turn.finished_at));
        });
        sql.push(
            ") INSERT INTO outbound_messages
                   (conversation_id, id, idempotency_key, turn_id, answers_provider_message_id, phone_number_id,
                    to_kind, to_value, kind, body, ignores_opt_out, state, attempts, resends, created_at, updated_at)
               SELECT v.conversation_id, v.id, v.idempotency_key, v.turn_id, v.answers, c.phone_number_id,
                    v.to_kind, v.to_value, v.kind, v.body, v.ignores_opt_out, v.state, v.attempts, v.resends,
                    v.created_at, v.created_at
               FROM v JOIN conversations c ON c.id = v.conversation_id",
        );
        sql.build().persistent(false).execute(connection).await?;
    });
    Ok(())
}

async fn apply_effects(tx: &mut Tx, turn: &FinishedTurn) -> Result<(), StoreError> {
    for effect in &turn.effects {
        on!(&mut *tx, |connection, D| {
            match effect {
                Effect::OptOut => {
                    sqlx::query("UPDATE contacts SET opted_out_at = coalesce(opted_out_at, $1) WHERE id = $2")
                        .bind(Ts(turn.finished_at))
                        .bind(turn.contact_id.0)
                        .execute(connection)
                        .await?
                }
                Effect::OptIn => {
                    sqlx::query("UPDATE contacts SET opted_out_at = NULL WHERE id = $1")
                        .bind(turn.contact_id.0)
                        .execute(connection)
                        .await?
                }
                Effect::EraseWords { provider_message_id } => {
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
                    .await?
                }
            };
        });
    }
    Ok(())
}

async fn still_pending(tx: &mut Tx, turns: &[&FinishedTurn]) -> Result<HashSet<Uuid>, StoreError> {
    let rows: Vec<IdRow> = on!(tx, |connection, D| {
        let mut sql = QueryBuilder::<D>::new(
            "SELECT DISTINCT conversation_id AS id FROM inbound_messages WHERE state = 'pending' AND conversation_id IN (",
        );
        let mut list = sql.separated(", ");
        for turn in turns {
            list.push_bind(turn.conversation_id.0);
        }
        sql.push(")");
        sql.build_query_as().persistent(false).fetch_all(connection).await?
    });
    Ok(rows.into_iter().map(|row| row.id).collect())
}
