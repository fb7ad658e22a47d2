//! Messages that people send: what would become of one, and the row of the ledger that it makes.

use jiff::Timestamp;
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::{audit, handover};
use crate::domain::agent::{AgentId, DEFAULT_AGENT_ID};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::free_entry::FreeEntry;
use crate::domain::outbound::{MessageBody, SendCandidate, operator_key};
use crate::domain::template::TemplateUse;
use crate::ids::{ContactId, ConversationId, OutboundId};

/// A message to the person of a conversation, as it would be queued now.
#[derive(Debug, Clone, PartialEq)]
pub enum Prospect {
    /// There is no conversation of that id.
    NoConversation,
    /// No identifier of the person is live.
    NoAddress,
    /// This message.
    Ready(Box<SendCandidate>),
}

/// What became of a person's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorSend {
    /// It is queued.
    Queued(OutboundId),
    /// It was queued before, by the same key.
    Known(OutboundId),
    /// The key belongs to another message.
    KeyUsed,
}

impl Store {
    /// A message to the person of a conversation. It goes where they last wrote from while that is theirs, else to their number or
    /// user id. It counts as said by the agent of the conversation.
    pub async fn prospect(
        &self,
        id: ConversationId,
        body: MessageBody,
        template: Option<TemplateUse>,
    ) -> Result<Prospect, StoreError> {
        let row: Option<ProspectRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT c.contact_id, c.agent_id, c.phone_number_id, c.last_inbound_at, c.referred_at, c.free_entry_until,
                        p.opted_out_at, p.marketing_stopped_at, p.blocked_at
                 FROM conversations c JOIN contacts p ON p.id = c.contact_id WHERE c.id = $1",
            )
            .bind(id.0)
            .fetch_optional(pool)
            .await?
        });
        let Some(row) = row else { return Ok(Prospect::NoConversation) };
        let contact_id = ContactId(row.contact_id);
        let Some(to) = self.reachable_at(id, contact_id).await? else { return Ok(Prospect::NoAddress) };
        Ok(Prospect::Ready(Box::new(SendCandidate {
            conversation_id: id,
            contact_id,
            agent_id: Some(AgentId(row.agent_id.unwrap_or_else(|| DEFAULT_AGENT_ID.to_owned()))),
            phone_number_id: row.phone_number_id,
            to,
            body,
            template,
            last_inbound_at: row.last_inbound_at.map(|at| at.0),
            opted_out_at: row.opted_out_at.map(|at| at.0),
            marketing_stopped_at: row.marketing_stopped_at.map(|at| at.0),
            blocked_at: row.blocked_at.map(|at| at.0),
            free_entry: FreeEntry {
                referred_at: row.referred_at.map(|at| at.0),
                until: row.free_entry_until.map(|at| at.0),
            },
            ..SendCandidate::blank()
        })))
    }

    async fn reachable_at(&self, id: ConversationId, contact_id: ContactId) -> Result<Option<Address>, StoreError> {
        let live = self.addresses(contact_id).await?;
        let last: Option<LastRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT reply_to_kind, reply_to FROM inbound_messages WHERE conversation_id = $1 ORDER BY id DESC LIMIT 1",
            )
            .bind(id.0)
            .fetch_optional(pool)
            .await?
        });
        let last = last.and_then(|row| {
            let kind = AddressKind::parse(&row.reply_to_kind)?;
            live.get(&kind).filter(|value| **value == row.reply_to)?;
            Some(Address { kind, value: row.reply_to })
        });
        Ok(last.or_else(|| {
            let kinds = [AddressKind::Phone, AddressKind::Bsuid, AddressKind::ParentBsuid];
            kinds.into_iter().find_map(|kind| Some(Address { kind, value: live.get(&kind)?.clone() }))
        }))
    }

    /// Queues a person's message once for each `key`, with its entry in the audit log. Who is in charge of the conversation is so
    /// for `handover_seconds` again.
    pub async fn send_by_operator(
        &self,
        candidate: &SendCandidate,
        key: Uuid,
        handover_seconds: i64,
        actor: &Actor,
    ) -> Result<OperatorSend, StoreError> {
        let now = self.clock.now();
        let id = self.ids.outbound(now);
        let idempotency_key = operator_key(key);
        let mut tx = self.db.begin().await?;
        if !insert(&mut tx, id, &idempotency_key, candidate, now).await? {
            tx.roll_back().await;
            return self.sent_before(&idempotency_key, candidate).await;
        }
        let said = json!({
            "conversation_id": candidate.conversation_id,
            "idempotency_key": idempotency_key,
            "body": candidate.body,
            "template": candidate.template,
        });
        let entry = AuditEntry::new(AuditAction::MessageSent, id, None, Some(said));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        handover::extend(&mut tx, candidate.conversation_id, handover_seconds, now).await?;
        tx.commit().await?;
        Ok(OperatorSend::Queued(id))
    }

    async fn sent_before(&self, idempotency_key: &str, candidate: &SendCandidate) -> Result<OperatorSend, StoreError> {
        let row: Option<SentRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, conversation_id, body, template FROM outbound_messages WHERE idempotency_key = $1",
            )
            .bind(idempotency_key)
            .fetch_optional(pool)
            .await?
        });
        let Some(row) = row else {
            return Err(StoreError::Conflict("the message with this key was there and is gone".to_owned()));
        };
        let said_then = match (&row.body.0, &candidate.body) {
            (MessageBody::Template { template, .. }, MessageBody::Template { template: now, .. }) => template == now,
            // A template has stood in for the words since.
            (MessageBody::Template { .. }, _) => true,
            (then, now) => then == now,
        };
        let is_same = said_then
            && row.conversation_id == candidate.conversation_id.0
            && row.template.map(|template| template.0) == candidate.template;
        Ok(if is_same { OperatorSend::Known(OutboundId(row.id)) } else { OperatorSend::KeyUsed })
    }
}

row! {
    struct ProspectRow {
        contact_id: Uuid,
        agent_id: Option<String>,
        phone_number_id: String,
        last_inbound_at: Option<Ts>,
        referred_at: Option<Ts>,
        free_entry_until: Option<Ts>,
        opted_out_at: Option<Ts>,
        marketing_stopped_at: Option<Ts>,
        blocked_at: Option<Ts>,
    }
}
row! { struct LastRow { reply_to_kind: String, reply_to: String } }
row! {
    struct SentRow {
        id: Uuid,
        conversation_id: Uuid,
        body: Json<MessageBody>,
        template: Option<Json<TemplateUse>>,
    }
}

/// `false` when the key is taken.
async fn insert(
    tx: &mut Tx,
    id: OutboundId,
    idempotency_key: &str,
    candidate: &SendCandidate,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let inserted = on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO outbound_messages
                 (conversation_id, id, idempotency_key, agent_id, phone_number_id, to_kind, to_value, kind, body, template,
                  ignores_opt_out, state, attempts, resends, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, false, 'queued', 0, 0, $11, $11)
             ON CONFLICT (idempotency_key) DO NOTHING",
        )
        .bind(candidate.conversation_id.0)
        .bind(id.0)
        .bind(idempotency_key)
        .bind(candidate.agent_id.as_ref().map(AgentId::as_str))
        .bind(&candidate.phone_number_id)
        .bind(candidate.to.kind.as_str())
        .bind(&candidate.to.value)
        .bind(candidate.body.kind())
        .bind(Json(&candidate.body))
        .bind(candidate.template.as_ref().map(Json))
        .bind(Ts(now))
        .execute(connection)
        .await?
        .rows_affected()
    });
    Ok(inserted > 0)
}
