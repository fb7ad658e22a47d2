//! Contacts: who answers them.

use super::Store;
use super::audit;
use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use super::identity::IdentityBook;
use super::people::{load_people, write_people};
use crate::domain::agent::AgentId;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::contact::Person;
use crate::domain::conversation::ConversationMode;
use crate::ids::ContactId;

/// What became of the wish to bind a contact to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindOutcome {
    /// Conversations that are bound now.
    pub conversations: u64,
}

impl Store {
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
        write_people(&mut tx, &book.into_writes(), now).await?;
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
