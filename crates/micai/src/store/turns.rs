//! Turns: the lease on a conversation with what waits in it, and the one commit that ends a turn.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::consent;
use super::db::{Lenient, Ts, Tx, on, read, row};
use super::error::StoreError;
use super::finish::UNFLUSHED;
use super::lane::Verb;
use super::script::{Kind, Rows, Script};
use crate::domain::agent::{AgentId, DEFAULT_AGENT_ID};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::conversation::{ConversationMode, ModeSetter, ModeState};
use crate::domain::inbound::{MessageNature, PendingMessage};
use crate::domain::question::OpenQuestion;
use crate::domain::turn::{Claim, UnreadableMessage};
use crate::domain::weather::SharedLocation;
use crate::ids::{ContactId, ConversationId, InboundId};

/// Messages that one turn takes; the rest follows in the next.
const TURN_MESSAGES_MAX: i64 = 20;

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
        mode_until: Lenient<Option<Ts>>,
        mode_set_by: Lenient<Option<String>>,
        question: Lenient<Option<Json<OpenQuestion>>>,
        opted_out_at: Lenient<Option<Ts>>,
        marketing_stopped_at: Lenient<Option<Ts>>,
        marketing_stopped_by: Lenient<Option<String>>,
        blocked_at: Lenient<Option<Ts>>,
        agent_id: String,
        agent_version: i64,
        id: Uuid,
        provider_message_id: Lenient<String>,
        kind: Lenient<String>,
        nature: Lenient<String>,
        text: Lenient<Option<String>>,
        carried: Lenient<Option<Json<serde_json::Value>>>,
        target_provider_message_id: Lenient<Option<String>>,
        reply_to_kind: Lenient<String>,
        reply_to: Lenient<String>,
        sent_at: Lenient<Ts>,
        received_at: Lenient<Ts>,
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
        let claim = claims.entry(row.conversation_id).or_insert_with(|| begin_claim(&row));
        let id = InboundId(row.id);
        match read_pending(row) {
            Ok(message) => claim.pending.push(message),
            Err(detail) => claim.unreadable.push(UnreadableMessage { id, detail }),
        }
    }
    let in_vain: Vec<Uuid> = leased.into_iter().filter(|id| !claims.contains_key(id)).collect();
    if !in_vain.is_empty() {
        give_back(tx, &in_vain).await?;
    }
    Ok(requests.iter().map(|request| claims.remove(&request.conversation_id.0)).collect())
}

/// Postgres: whoever held the lease before may have dealt with what waited while we asked for it. Nobody would have it for
/// the whole term of a lease then.
async fn give_back(tx: &mut Tx, leased: &[Uuid]) -> Result<(), StoreError> {
    let mut rows = Rows::new("in_vain", &[("id", Kind::Id)]);
    leased.iter().for_each(|id| rows.push([(*id).into()]));
    let mut script = Script::default();
    let rows = script.batch(rows);
    script
        .step(&[rows], "UPDATE conversations SET lease_until = NULL FROM in_vain WHERE conversations.id = in_vain.id");
    script.run(tx).await?;
    Ok(())
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
    let (free, by_index, unflushed) = match tx {
        Tx::Pg(..) => (
            "(SELECT w.id, w.now, w.lease_until FROM wanted w JOIN conversations c ON c.id = w.id
              FOR UPDATE OF c SKIP LOCKED) free",
            "",
            UNFLUSHED,
        ),
        Tx::Lite(_) => ("wanted free", "INDEXED BY inbound_messages_pending", ""),
    };
    let mut script = Script::default();
    let wanted = script.batch(rows);
    // Ingest lets the window lag where a turn comes. What people say and tap opens it.
    let leased = script.ask(
        &[wanted],
        format!(
            "UPDATE conversations SET lease_token = conversations.lease_token + 1, lease_until = free.lease_until,
                 last_inbound_at = (SELECT max(o.at) FROM (
                     SELECT conversations.last_inbound_at AS at
                     UNION ALL
                     SELECT t.sent_at FROM (SELECT m.nature, m.sent_at FROM inbound_messages m {by_index}
                                            WHERE m.state = 'pending' AND m.conversation_id = free.id
                                            ORDER BY m.id LIMIT {TURN_MESSAGES_MAX}) t
                     WHERE t.nature IN ('words', 'tap')) o)
             FROM {free}
             WHERE conversations.id = free.id
               AND (conversations.lease_until IS NULL OR conversations.lease_until <= free.now)
               AND (SELECT 1 FROM inbound_messages m
                    WHERE m.state = 'pending' AND m.conversation_id = free.id LIMIT 1) IS NOT NULL{unflushed}
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
    let [revoked, edited] = ["revoke", "edit"].map(|nature| {
        // With EXISTS, Postgres would read all revokes and edits there ever were into a table of its own.
        format!(
            "(SELECT 1 FROM inbound_messages t WHERE t.target_provider_message_id IS NOT NULL
                  AND t.target_provider_message_id = m.provider_message_id AND t.nature = '{nature}'
                  AND t.conversation_id = m.conversation_id LIMIT 1) IS NOT NULL"
        )
    });
    format!(
        "SELECT m.conversation_id, m.id, m.provider_message_id, m.kind, m.nature, m.text,
             CASE WHEN m.nature = 'tap' OR m.kind = 'location' THEN m.payload END AS carried,
             m.target_provider_message_id, m.reply_to_kind, m.reply_to, m.sent_at, m.received_at, m.failures,
             c.contact_id, c.lease_token, c.mode, c.mode_until, c.mode_set_by, c.question, p.opted_out_at, p.marketing_stopped_at, p.marketing_stopped_by,
             p.blocked_at, a.id AS agent_id, a.version AS agent_version, {revoked} AS revoked, {edited} AS edited
         FROM {waiting}
         JOIN conversations c ON c.id = m.conversation_id
         JOIN contacts p ON p.id = c.contact_id
         -- A binding is the person's: it also counts in a conversation that began on another number later.
         -- Looked up, since somebody may have been bound to it at the moment in which it was deleted.
         JOIN agents a ON a.id = coalesce((SELECT b.id FROM agents b WHERE b.id = coalesce(c.agent_id,
             (SELECT o.agent_id FROM conversations o
              -- Said so that only the index of the person's conversations fits.
              WHERE o.contact_id = c.contact_id AND coalesce(o.agent_id, '') <> ''
              ORDER BY o.created_at DESC, o.id DESC LIMIT 1))), l.default_agent)
         ORDER BY m.conversation_id, m.id"
    )
}

/// A message as a turn sees it, or what about it or its conversation cannot be read.
fn read_pending(row: ClaimedRow) -> Result<PendingMessage, String> {
    let nature = row.nature.0?;
    let kind = row.reply_to_kind.0?;
    ConversationMode::parse(&row.mode).ok_or_else(|| format!("conversation mode is {:?}", row.mode))?;
    row.opted_out_at.0?;
    let carried = row.carried.0?.map(|carried| carried.0);
    Ok(PendingMessage {
        id: InboundId(row.id),
        provider_message_id: row.provider_message_id.0?,
        kind: row.kind.0?,
        nature: MessageNature::parse(&nature).ok_or_else(|| format!("message nature is {nature:?}"))?,
        text: row.text.0?,
        tapped: carried.as_ref().and_then(tapped),
        location: carried.as_ref().and_then(location),
        target_provider_message_id: row.target_provider_message_id.0?,
        reply_to: Address {
            kind: AddressKind::parse(&kind).ok_or_else(|| format!("address kind is {kind:?}"))?,
            value: row.reply_to.0?,
        },
        sent_at: row.sent_at.0?.0,
        received_at: row.received_at.0?.0,
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

/// Where a message says that somebody is, if it is one that does.
fn location(message: &serde_json::Value) -> Option<SharedLocation> {
    let location = message.get("location")?;
    let name = location["name"].as_str().or_else(|| location["address"].as_str());
    Some(SharedLocation {
        latitude: location["latitude"].as_f64().filter(|degrees| degrees.abs() <= 90.0)?,
        longitude: location["longitude"].as_f64().filter(|degrees| degrees.abs() <= 180.0)?,
        name: name.map(str::to_owned),
    })
}

/// A claim without its messages. If its own columns cannot be read, none of its messages can: see [`read_pending`].
fn begin_claim(row: &ClaimedRow) -> Claim {
    let instant = |column: &Lenient<Option<Ts>>| column.0.as_ref().ok().copied().flatten().map(|at| at.0);
    let stopped_by = row.marketing_stopped_by.0.as_ref().ok().and_then(|by| by.as_deref());
    Claim {
        conversation_id: ConversationId(row.conversation_id),
        contact_id: ContactId(row.contact_id),
        lease_token: row.lease_token,
        mode: ModeState {
            mode: ConversationMode::parse(&row.mode).unwrap_or(ConversationMode::Paused),
            until: instant(&row.mode_until),
            set_by: row.mode_set_by.0.as_ref().ok().and_then(|by| by.as_deref()).and_then(ModeSetter::parse),
        },
        opted_out_at: instant(&row.opted_out_at),
        marketing_stopped_by: instant(&row.marketing_stopped_at).map(|_| consent::stopped_by(stopped_by)),
        blocked_at: instant(&row.blocked_at),
        agent_id: AgentId(row.agent_id.clone()),
        agent_version: row.agent_version,
        // A question that cannot be read is forgotten: the answer is then taken as any other message.
        question: row
            .question
            .0
            .as_ref()
            .ok()
            .and_then(|question| question.as_ref())
            .map(|question| question.0.clone()),
        pending: Vec::new(),
        unreadable: Vec::new(),
    }
}
