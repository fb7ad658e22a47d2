//! Contacts: who answers them, what they want to hear from us, and whether they are blocked.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::familiar;
use super::identity::IdentityBook;
use super::people::{load_people, write_people};
use super::{audit, consent};
use crate::domain::agent::AgentId;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::consent::{ConsentCategory, ConsentChange, ConsentSource, blocked_error};
use crate::domain::contact::Person;
use crate::domain::conversation::ConversationMode;
use crate::ids::ContactId;

/// What became of the wish to bind a contact to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindOutcome {
    /// Conversations that are bound now.
    pub conversations: u64,
}

/// The most rows of a contact's history that are shown.
pub const CONSENT_HISTORY_MAX: usize = 100;

/// A contact as people see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ContactView {
    /// Its id.
    pub id: Uuid,
    /// Their profile name.
    pub name: Option<String>,
    /// Their username.
    pub username: Option<String>,
    /// Since when they want nothing from us.
    pub opted_out_at: Option<Timestamp>,
    /// Since when they want no marketing from us.
    pub marketing_stopped_at: Option<Timestamp>,
    /// How that was said: `word`, `button`, `preference`, `refusal` or `operator`.
    pub marketing_stopped_by: Option<String>,
    /// Since when they are blocked.
    pub blocked_at: Option<Timestamp>,
    /// Why they are blocked.
    pub blocked_reason: Option<String>,
    /// The contact that they turned out to be.
    pub merged_into: Option<Uuid>,
    /// When we first heard of them.
    pub created_at: Timestamp,
}

/// An identifier under which WhatsApp shows or showed a contact.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct IdentityView {
    /// `phone`, `bsuid` or `parent_bsuid`.
    pub kind: String,
    /// The identifier.
    pub value: String,
    /// When we first saw it.
    pub created_at: Timestamp,
    /// Since when somebody else holds it, or nobody.
    pub superseded_at: Option<Timestamp>,
}

/// A change of what a contact wants.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ConsentView {
    /// When they said so.
    pub at: Timestamp,
    /// `all` or `marketing`.
    pub category: String,
    /// Whether they wanted no more of it; else they wanted it again.
    pub stopped: bool,
    /// How it became known: `word`, `button`, `preference`, `refusal`, `operator` or `merge`.
    pub source: String,
    /// What it rests on.
    pub evidence: serde_json::Value,
}

/// A contact with all that is known of them.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ContactDetail {
    /// The contact.
    #[serde(flatten)]
    pub contact: ContactView,
    /// Their identifiers, past ones included.
    pub identities: Vec<IdentityView>,
    /// What they said about hearing from us, the youngest first; at most 100 changes.
    pub consents: Vec<ConsentView>,
}

impl Store {
    /// At most `limit` contacts (all, or only blocked ones) from before `before`, the youngest first.
    pub async fn contacts(
        &self,
        blocked_only: bool,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<ContactView>, StoreError> {
        let filter = if blocked_only { "blocked_at IS NOT NULL AND " } else { "" };
        let sql = format!("SELECT {CONTACT_COLUMNS} FROM contacts WHERE {filter}id < $1 ORDER BY id DESC LIMIT $2");
        let rows: Vec<ContactColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(before.unwrap_or(Uuid::max()))
                .bind(limit)
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(ContactColumns::view).collect())
    }

    /// The contact of that id with its identifiers and its history.
    pub async fn contact(&self, id: ContactId) -> Result<Option<ContactDetail>, StoreError> {
        let sql = format!("SELECT {CONTACT_COLUMNS} FROM contacts WHERE id = $1");
        let row: Option<ContactColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id.0).fetch_optional(pool).await?
        });
        let Some(row) = row else { return Ok(None) };
        let identities: Vec<IdentityColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT kind, value, created_at, superseded_at FROM contact_identities WHERE contact_id = $1
                 ORDER BY id DESC LIMIT $2",
            )
            .bind(id.0)
            .bind(i64::try_from(CONSENT_HISTORY_MAX).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?
        });
        let consents: Vec<ConsentColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT at, category, stopped, source, evidence FROM contact_consents WHERE contact_id = $1
                 ORDER BY id DESC LIMIT $2",
            )
            .bind(id.0)
            .bind(i64::try_from(CONSENT_HISTORY_MAX).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?
        });
        Ok(Some(ContactDetail {
            contact: row.view(),
            identities: identities.into_iter().map(IdentityColumns::view).collect(),
            consents: consents.into_iter().map(ConsentColumns::view).collect(),
        }))
    }

    /// Notes what an operator knows a contact to want. `None` when there is none of that id.
    pub async fn set_consent(
        &self,
        id: ContactId,
        category: ConsentCategory,
        stopped: bool,
        reason: &str,
        actor: &Actor,
    ) -> Result<Option<ContactDetail>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = locked_contact(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok(None);
        };
        let id = ContactId(before.id);
        let evidence = serde_json::json!({ "reason": reason, "actor": actor.name(), "request_id": actor.request_id() });
        let change = ConsentChange::new(category, stopped, ConsentSource::Operator, evidence);
        if consent::note(&mut tx, &self.ids, id, &change, (now, now)).await? {
            let was_stopped = match category {
                ConsentCategory::All => before.opted_out_at.is_some(),
                ConsentCategory::Marketing => before.marketing_stopped_at.is_some(),
            };
            let stands = |stopped| serde_json::json!({ "category": category, "stopped": stopped });
            let mut after = stands(stopped);
            after["reason"] = reason.into();
            let entry = AuditEntry::new(AuditAction::ConsentSet, id, Some(stands(was_stopped)), Some(after));
            audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        }
        tx.commit().await?;
        self.contact(id).await
    }

    /// Blocks a contact: what they write is recorded and gets no turn, and nothing is sent to them. The first reason stays.
    /// `None` when there is none of that id.
    pub async fn block_contact(
        &self,
        id: ContactId,
        reason: &str,
        actor: &Actor,
    ) -> Result<Option<ContactDetail>, StoreError> {
        self.set_block(id, Some(reason), actor).await
    }

    /// Lifts the block of a contact. What they wrote meanwhile stays unanswered. `None` when there is none of that id.
    pub async fn unblock_contact(&self, id: ContactId, actor: &Actor) -> Result<Option<ContactDetail>, StoreError> {
        self.set_block(id, None, actor).await
    }

    async fn set_block(
        &self,
        id: ContactId,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<Option<ContactDetail>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = locked_contact(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok(None);
        };
        let id = ContactId(before.id);
        if before.blocked_at.is_some() != reason.is_some() {
            write_block(&mut tx, id, reason, now).await?;
            // Whoever is familiar is taken to be somebody who may have a turn.
            familiar::note_change(&mut tx, self.ids.uuid(now)).await?;
            if reason.is_some() {
                consent::cancel_waiting(&mut tx, id, &blocked_error(), now).await?;
            }
            let action = if reason.is_some() { AuditAction::ContactBlocked } else { AuditAction::ContactUnblocked };
            let stands = |reason: &str| serde_json::json!({ "reason": reason });
            let was = before.blocked_reason.as_deref().map(stands);
            let entry = AuditEntry::new(action, id, was, reason.map(stands));
            audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        }
        tx.commit().await?;
        self.contact(id).await
    }

    /// Binds every conversation of a contact to an agent, and makes contact and agent if they are not there yet: clients
    /// bind people before they ever wrote. Who has no conversation gets one on `phone_number_id`.
    pub async fn bind(
        &self,
        person: &Person,
        agent_id: &AgentId,
        phone_number_id: &str,
        actor: &Actor,
    ) -> Result<BindOutcome, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        self.make_if_missing(&mut tx, agent_id, actor, now).await?;
        let known = load_people(&mut tx, &person.addresses()).await?;
        let mut book = IdentityBook::new(&self.ids, now, known.identities, known.names);
        let contact_id = book.resolve(person);
        write_people(&mut tx, &self.ids, &book.into_writes(), now).await?;
        let before = bindings(&mut tx, contact_id).await?;
        let conversations = on!(&mut tx, |connection, D| {
            let bound = sqlx::query("UPDATE conversations SET agent_id = $1 WHERE contact_id = $2")
                .bind(agent_id.as_str())
                .bind(contact_id.0)
                .execute(&mut *connection)
                .await?
                .rows_affected();
            if bound == 0 {
                sqlx::query(
                    "INSERT INTO conversations (id, contact_id, phone_number_id, agent_id, mode, lease_token, created_at)
                     VALUES ($1, $2, $3, $4, $5, 0, $6)
                     ON CONFLICT (contact_id, phone_number_id) DO UPDATE SET agent_id = excluded.agent_id",
                )
                .bind(self.ids.uuid(now))
                .bind(contact_id.0)
                .bind(phone_number_id)
                .bind(agent_id.as_str())
                .bind(ConversationMode::Bot.as_str())
                .bind(Ts(now))
                .execute(&mut *connection)
                .await?;
            }
            bound.max(1)
        });
        let after = serde_json::json!({ "agent_id": agent_id, "conversations": conversations });
        let entry = AuditEntry::new(AuditAction::ContactBound, contact_id, Some(before), Some(after));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        Ok(BindOutcome { conversations })
    }
}

/// Which agent each of a contact's conversations is bound to; there is one for each of our numbers.
async fn bindings(tx: &mut Tx, contact_id: ContactId) -> Result<serde_json::Value, StoreError> {
    let sql = format!("SELECT phone_number_id, agent_id FROM conversations WHERE contact_id = $1{}", tx.row_lock());
    let rows: Vec<BindingColumns> = on!(tx, |connection, D| {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(contact_id.0).fetch_all(connection).await?
    });
    Ok(rows.into_iter().map(|row| (row.phone_number_id, row.agent_id.into())).collect::<serde_json::Map<_, _>>().into())
}

row! { struct BindingColumns { phone_number_id: String, agent_id: Option<String> } }
const CONTACT_COLUMNS: &str =
    "id, name, username, opted_out_at, marketing_stopped_at, marketing_stopped_by, blocked_at,
    blocked_reason, merged_into, created_at";

/// Whoever a contact is now, kept from others until the transaction ends.
async fn locked_contact(tx: &mut Tx, id: ContactId) -> Result<Option<ContactColumns>, StoreError> {
    let id = consent::present(tx, id).await?;
    let sql = format!("SELECT {CONTACT_COLUMNS} FROM contacts WHERE id = $1{}", tx.row_lock());
    Ok(on!(tx, |connection, D| {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id.0).fetch_optional(connection).await?
    }))
}

/// Also in what was merged into this contact: old conversations still hang there. What waits for a turn gets none.
async fn write_block(tx: &mut Tx, id: ContactId, reason: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query("UPDATE contacts SET blocked_at = $1, blocked_reason = $2 WHERE id = $3 OR merged_into = $3")
            .bind(reason.map(|_| Ts(now)))
            .bind(reason)
            .bind(id.0)
            .execute(&mut *connection)
            .await?;
        if reason.is_some() {
            sqlx::query(
                "UPDATE inbound_messages SET state = 'noted'
                 WHERE state = 'pending' AND conversation_id IN
                     (SELECT c.id FROM conversations c
                      WHERE c.contact_id IN (SELECT p.id FROM contacts p WHERE p.id = $1 OR p.merged_into = $1))",
            )
            .bind(id.0)
            .execute(&mut *connection)
            .await?;
        }
    });
    Ok(())
}

row! {
    struct ContactColumns {
        id: Uuid,
        name: Option<String>,
        username: Option<String>,
        opted_out_at: Option<Ts>,
        marketing_stopped_at: Option<Ts>,
        marketing_stopped_by: Option<String>,
        blocked_at: Option<Ts>,
        blocked_reason: Option<String>,
        merged_into: Option<Uuid>,
        created_at: Ts,
    }
}
row! { struct IdentityColumns { kind: String, value: String, created_at: Ts, superseded_at: Option<Ts> } }
row! {
    struct ConsentColumns {
        at: Ts,
        category: String,
        stopped: bool,
        source: String,
        evidence: Json<serde_json::Value>,
    }
}

impl ContactColumns {
    fn view(self) -> ContactView {
        ContactView {
            id: self.id,
            name: self.name,
            username: self.username,
            opted_out_at: self.opted_out_at.map(|at| at.0),
            marketing_stopped_at: self.marketing_stopped_at.map(|at| at.0),
            marketing_stopped_by: self.marketing_stopped_at.and(self.marketing_stopped_by),
            blocked_at: self.blocked_at.map(|at| at.0),
            blocked_reason: self.blocked_reason,
            merged_into: self.merged_into,
            created_at: self.created_at.0,
        }
    }
}

impl IdentityColumns {
    fn view(self) -> IdentityView {
        IdentityView {
            kind: self.kind,
            value: self.value,
            created_at: self.created_at.0,
            superseded_at: self.superseded_at.map(|at| at.0),
        }
    }
}

impl ConsentColumns {
    fn view(self) -> ConsentView {
        ConsentView {
            at: self.at.0,
            category: self.category,
            stopped: self.stopped,
            source: self.source,
            evidence: self.evidence.0,
        }
    }
}
