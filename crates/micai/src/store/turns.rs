//! Turns: the lease on a conversation with what waits in it, and the one commit that ends a turn.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::consent;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::lane::Verb;
use super::script::{Cell, Kind, Question, Rows, Script};
use crate::domain::agent::{AgentId, DEFAULT_AGENT_ID};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::conversation::ConversationMode;
use crate::domain::inbound::{MessageNature, PendingMessage};
use crate::domain::outbound::SendState;
use crate::domain::turn::{Claim, Effect, FinishOutcome, FinishedTurn};
use crate::ids::{ContactId, ConversationId, Ids, InboundId};

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
row! {
    struct ClaimedRow {
        conversation_id: Uuid,
        contact_id: Uuid,
        lease_token: i64,
        mode: String,
        opted_out_at: Option<Ts>,
        marketing_stopped_at: Option<Ts>,
        marketing_stopped_by: Option<String>,
        blocked_at: Option<Ts>,
        agent_id: String,
        agent_version: i64,
        id: Uuid,
        provider_message_id: String,
        kind: String,
        nature: String,
        text: Option<String>,
        tap: Option<Json<serde_json::Value>>,
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

/// On Postgres the leases are committed before what waits is read; if the reading fails, they run out.
async fn claim(tx: &mut Tx, requests: &[ClaimRequest]) -> Result<Vec<Option<Claim>>, StoreError> {
    let leased = take_leases(tx, requests).await?;
    let mut rows = Rows::new("leased", &[("id", Kind::Id), ("default_agent", Kind::Text)]);
    leased.iter().for_each(|id| rows.push([(*id).into(), DEFAULT_AGENT_ID.into()]));
    let sql = claimed_sql(tx);
    let rows: Vec<ClaimedRow> = rows.fetch(tx, &sql).await?;
    let mut claims: HashMap<Uuid, Claim> = HashMap::new();
    for row in rows {
        match claims.get_mut(&row.conversation_id) {
            Some(claim) => claim.pending.push(read_pending(row)?),
            None => {
                claims.insert(row.conversation_id, read_claim(row)?);
            }
        }
    }
    Ok(requests.iter().map(|request| claims.remove(&request.conversation_id.0)).collect())
}

/// Takes the free leases among those asked for, where something waits.
async fn take_leases(tx: &mut Tx, requests: &[ClaimRequest]) -> Result<Vec<Uuid>, StoreError> {
    let mut rows = Rows::new("wanted", &[("id", Kind::Id), ("now", Kind::Instant), ("lease_until", Kind::Instant)]);
    // Each once, and sorted, so that two transactions lock the rows in the same order.
    let sorted: BTreeMap<ConversationId, &ClaimRequest> =
        requests.iter().map(|request| (request.conversation_id, request)).collect();
    for (id, request) in sorted {
        let until = request.now + SignedDuration::from_secs(request.lease_seconds);
        rows.push([id.0.into(), request.now.into(), until.into()]);
    }
    // Postgres: a row that somebody is writing is left out rather than waited for. Whoever commits a message to it
    // announces it again. And it need not be flushed: a lease that a crash takes back is free, and its turn is fenced.
    let unlocked = match tx {
        Tx::Pg(..) => {
            " AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
              AND conversations.id IN (SELECT c.id FROM conversations c JOIN wanted w ON w.id = c.id
                                       FOR UPDATE OF c SKIP LOCKED)"
        }
        Tx::Lite(_) => "",
    };
    let mut script = Script::default();
    let wanted = script.batch(rows);
    let leased = script.ask(
        &[wanted],
        format!(
            "UPDATE conversations SET lease_token = conversations.lease_token + 1, lease_until = wanted.lease_until
             FROM wanted
             WHERE conversations.id = wanted.id
               AND (conversations.lease_until IS NULL OR conversations.lease_until <= wanted.now)
               AND (SELECT 1 FROM inbound_messages m
                    WHERE m.state = 'pending' AND m.conversation_id = wanted.id LIMIT 1) IS NOT NULL{unlocked}
             RETURNING conversations.id AS id"
        ),
    );
    Ok(script.run(tx).await?.of(leased).into_iter().collect())
}

/// What waits in leased conversations, oldest first, and who is to answer it.
fn claimed_sql(tx: &Tx) -> String {
    let waiting = match tx {
        Tx::Pg(..) => format!(
            "leased l CROSS JOIN LATERAL
                 (SELECT n.* FROM inbound_messages n WHERE n.state = 'pending' AND n.conversation_id = l.id
                  ORDER BY n.id LIMIT {TURN_MESSAGES_MAX}) m"
        ),
        // Given the chance, SQLite would walk through the whole history of a conversation.
        Tx::Lite(_) => format!(
            "leased l JOIN inbound_messages m ON m.conversation_id = l.id
                 AND m.id IN (SELECT n.id FROM inbound_messages n INDEXED BY inbound_messages_pending
                              WHERE n.state = 'pending' AND n.conversation_id = l.id
                              ORDER BY n.id LIMIT {TURN_MESSAGES_MAX})"
        ),
    };
    format!(
        "SELECT m.conversation_id, m.id, m.provider_message_id, m.kind, m.nature, m.text,
             CASE WHEN m.nature = 'tap' THEN m.payload END AS tap,
             m.target_provider_message_id, m.reply_to_kind, m.reply_to, m.sent_at, m.received_at, m.failures,
             c.contact_id, c.lease_token, c.mode, p.opted_out_at, p.marketing_stopped_at, p.marketing_stopped_by, p.blocked_at,
             a.id AS agent_id, a.version AS agent_version,
             EXISTS (SELECT 1 FROM inbound_messages t WHERE t.conversation_id = m.conversation_id
                     AND t.target_provider_message_id IS NOT NULL
                     AND t.target_provider_message_id = m.provider_message_id AND t.nature = 'revoke') AS revoked,
             EXISTS (SELECT 1 FROM inbound_messages t WHERE t.conversation_id = m.conversation_id
                     AND t.target_provider_message_id IS NOT NULL
                     AND t.target_provider_message_id = m.provider_message_id AND t.nature = 'edit') AS edited
         FROM {waiting}
         JOIN conversations c ON c.id = m.conversation_id
         JOIN contacts p ON p.id = c.contact_id
         -- A binding is the person's: it also counts in a conversation that began on another number later.
         JOIN agents a ON a.id = coalesce(c.agent_id,
             (SELECT o.agent_id FROM conversations o
              -- Said so that only the index of the person's conversations fits.
              WHERE o.contact_id = c.contact_id AND coalesce(o.agent_id, '') <> ''
              ORDER BY o.created_at DESC, o.id DESC LIMIT 1), l.default_agent)
         ORDER BY m.conversation_id, m.id"
    )
}

fn read_pending(row: ClaimedRow) -> Result<PendingMessage, StoreError> {
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
        tapped: row.tap.and_then(|tap| tapped(&tap.0)),
        target_provider_message_id: row.target_provider_message_id,
        reply_to: Address { kind, value: row.reply_to },
        sent_at: row.sent_at.0,
        received_at: row.received_at.0,
        revoked: row.revoked,
        edited: row.edited,
        failures: row.failures,
    })
}

/// What a tapped button or row carries, in a message as it came.
fn tapped(message: &serde_json::Value) -> Option<String> {
    let reply = &message["interactive"];
    let carried = [&message["button"]["payload"], &reply["button_reply"]["id"], &reply["list_reply"]["id"]];
    carried.into_iter().find_map(|value| value.as_str()).map(str::to_owned)
}

fn read_claim(row: ClaimedRow) -> Result<Claim, StoreError> {
    let mode =
        ConversationMode::parse(&row.mode).ok_or_else(|| StoreError::unreadable("conversation mode", &row.mode))?;
    Ok(Claim {
        conversation_id: ConversationId(row.conversation_id),
        contact_id: ContactId(row.contact_id),
        lease_token: row.lease_token,
        mode,
        opted_out_at: row.opted_out_at.map(|at| at.0),
        marketing_stopped_by: row
            .marketing_stopped_at
            .map(|_| consent::stopped_by(row.marketing_stopped_by.as_deref())),
        blocked_at: row.blocked_at.map(|at| at.0),
        agent_id: AgentId(row.agent_id.clone()),
        agent_version: row.agent_version,
        pending: vec![read_pending(row)?],
    })
}

async fn finish(tx: &mut Tx, ids: &Ids, turns: &[FinishedTurn]) -> Result<Vec<FinishOutcome>, StoreError> {
    // If a crash of the database takes it back, the turn is taken again: none of its sends can have begun.
    tx.together_unflushed().await?;
    let held = let_go(tx, turns).await?;
    let counted: Vec<&FinishedTurn> = turns.iter().filter(|turn| held.contains(&turn.conversation_id.0)).collect();
    let mut script = Script::default();
    let waiting = mark_messages(&mut script, &counted);
    insert_turns(&mut script, &counted)?;
    insert_replies(&mut script, &counted)?;
    let waiting = script.run(tx).await?.of(waiting);
    for turn in counted.iter().filter(|turn| !turn.effects.is_empty()) {
        consent::note_turn(tx, ids, turn).await?;
        apply_effects(tx, turn).await?;
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
    let mut rows = Rows::new("finished", &[("id", Kind::Id), ("lease_token", Kind::Whole)]);
    let sorted: BTreeSet<(ConversationId, i64)> =
        turns.iter().map(|turn| (turn.conversation_id, turn.lease_token)).collect();
    sorted.into_iter().for_each(|(id, lease_token)| rows.push([id.0.into(), lease_token.into()]));
    let mut script = Script::default();
    let finished = script.batch(rows);
    let held = script.ask(
        &[finished],
        "UPDATE conversations SET lease_until = NULL FROM finished
         WHERE conversations.id = finished.id AND conversations.lease_token = finished.lease_token
           AND conversations.lease_until IS NOT NULL
         RETURNING conversations.id AS id",
    );
    Ok(script.run(tx).await?.of(held))
}

/// Marks the messages that the turns dealt with. Answers with the conversations in which others still wait.
fn mark_messages(script: &mut Script<'_>, turns: &[&FinishedTurn]) -> Question {
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
        "UPDATE inbound_messages SET state = marks.state, turn_id = marks.turn_id FROM marks
         WHERE inbound_messages.conversation_id = marks.conversation_id AND inbound_messages.id = marks.id",
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

fn insert_turns<'a>(script: &mut Script<'a>, turns: &[&'a FinishedTurn]) -> Result<(), StoreError> {
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
        "INSERT INTO turns (conversation_id, id, agent_id, agent_version, started_at, finished_at, trace)
         SELECT conversation_id, id, agent_id, agent_version, started_at, finished_at, trace FROM new_turns",
    );
    Ok(())
}

fn insert_replies<'a>(script: &mut Script<'a>, turns: &[&'a FinishedTurn]) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("idempotency_key", Kind::Text),
        ("turn_id", Kind::Id),
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
        "INSERT INTO outbound_messages
             (conversation_id, id, idempotency_key, turn_id, answers_provider_message_id, phone_number_id,
              to_kind, to_value, kind, body, ignores_opt_out, state, attempts, resends, created_at, updated_at)
         SELECT r.conversation_id, r.id, r.idempotency_key, r.turn_id, r.answers, c.phone_number_id,
              r.to_kind, r.to_value, r.kind, r.body, r.ignores_opt_out, r.state, 0, 0, r.created_at, r.created_at
         FROM replies r CROSS JOIN conversations c WHERE c.id = r.conversation_id",
    );
    Ok(())
}

async fn apply_effects(tx: &mut Tx, turn: &FinishedTurn) -> Result<(), StoreError> {
    for effect in &turn.effects {
        let Effect::EraseWords { provider_message_id } = effect else { continue };
        on!(&mut *tx, |connection, D| {
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
    }
    Ok(())
}
