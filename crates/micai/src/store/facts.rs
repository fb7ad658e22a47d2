//! What a turn may know about a person beside their messages, read at once where a message needs it.

use uuid::Uuid;

use super::Store;
use super::db::{Ts, read, row};
use super::error::StoreError;
use crate::domain::agent::AgentId;
use crate::domain::person::{AGENT_CHOICES_MAX, AgentChoice, PersonFacts};
use crate::ids::{ContactId, ConversationId};

impl Store {
    /// What is known about the person of a conversation; `None` when it is gone.
    pub async fn person_facts(&self, conversation_id: ConversationId) -> Result<Option<PersonFacts>, StoreError> {
        let limit = i64::try_from(AGENT_CHOICES_MAX).unwrap_or(i64::MAX);
        // A row for each agent; the person's own columns stand in each of them.
        let rows: Vec<FactColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT p.id AS contact_id, c.last_inbound_at, p.zone, a.id AS agent_id, a.name AS agent_name,
                     a.purpose AS agent_purpose,
                     (SELECT i.value FROM contact_identities i
                      WHERE i.contact_id = p.id AND i.kind = 'phone' AND i.superseded_at IS NULL
                      ORDER BY i.created_at DESC LIMIT 1) AS phone
                 FROM conversations c JOIN contacts o ON o.id = c.contact_id
                 JOIN contacts p ON p.id = coalesce(o.merged_into, o.id)
                 LEFT JOIN (SELECT id, name, purpose FROM agents WHERE listed ORDER BY id LIMIT $2) a ON true
                 WHERE c.id = $1 ORDER BY a.id",
            )
            .bind(conversation_id.0)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        let choice = |row: &FactColumns| {
            Some(choice(row.agent_id.clone()?, row.agent_name.clone(), row.agent_purpose.clone().unwrap_or_default()))
        };
        let agents = rows.iter().filter_map(choice).collect();
        Ok(rows.into_iter().next().map(|row| PersonFacts {
            contact_id: ContactId(row.contact_id),
            phone: row.phone,
            zone: row.zone,
            last_inbound_at: row.last_inbound_at.map(|at| at.0),
            reminders: None,
            agents,
        }))
    }

    /// The agents that people can choose, as each of them sees them.
    pub async fn agent_choices(&self) -> Result<Vec<AgentChoice>, StoreError> {
        let limit = i64::try_from(AGENT_CHOICES_MAX).unwrap_or(i64::MAX);
        let rows: Vec<ChoiceRow> = read!(&self.db, |pool, D| {
            sqlx::query_as("SELECT id, name, purpose FROM agents WHERE listed ORDER BY id LIMIT $1")
                .bind(limit)
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(|row| choice(row.id, row.name, row.purpose)).collect())
    }
}

/// Who has no name is called by its id.
fn choice(id: String, name: Option<String>, purpose: String) -> AgentChoice {
    let name = name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| id.clone());
    AgentChoice { id: AgentId(id), name, purpose }
}

row! { struct ChoiceRow { id: String, name: Option<String>, purpose: String } }

row! {
    struct FactColumns {
        contact_id: Uuid,
        last_inbound_at: Option<Ts>,
        zone: Option<String>,
        agent_id: Option<String>,
        agent_name: Option<String>,
        agent_purpose: Option<String>,
        phone: Option<String>,
    }
}
