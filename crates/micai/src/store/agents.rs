//! Agents. Every change of one or of its rules raises its version, which is what compiled rules are cached by.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::Store;
use super::audit;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use crate::domain::agent::{AgentId, AgentSettings, DEFAULT_AGENT_ID};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::rule::{RULES_PER_AGENT_MAX, Rule};
use crate::domain::template::TemplateUse;
use crate::domain::tool::ToolName;

/// An agent as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// Its id.
    pub id: AgentId,
    /// Grows with every change of the agent or its rules.
    pub version: i64,
    /// What the operator decided.
    pub settings: AgentSettings,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it or one of its rules last changed.
    pub updated_at: Timestamp,
}

/// An agent with all of its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentWithRules {
    /// The agent.
    pub agent: AgentRow,
    /// Its rules, by id.
    pub rules: Vec<Rule>,
}

/// What became of the wish to delete an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeleteAgent {
    /// Gone, with its rules; its conversations go back to the default agent.
    Deleted,
    /// There is none of that id.
    NotFound,
    /// The default agent stays.
    IsDefault,
}

impl Store {
    /// The template that an agent falls back to outside the window.
    pub async fn fallback_template(&self, agent_id: &AgentId) -> Result<Option<TemplateUse>, StoreError> {
        let row: Option<FallbackRow> = read!(&self.db, |pool, D| {
            sqlx::query_as("SELECT fallback_template FROM agents WHERE id = $1")
                .bind(agent_id.as_str())
                .fetch_optional(pool)
                .await?
        });
        Ok(row.and_then(|row| row.fallback_template).map(|template| template.0))
    }

    /// Makes sure that the default agent is there.
    pub async fn ensure_default_agent(&self) -> Result<(), StoreError> {
        if self.agent(&AgentId::default_agent()).await?.is_none() {
            let mut tx = self.db.begin().await?;
            insert_if_missing(&mut tx, &AgentId::default_agent(), self.clock.now()).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Makes an agent; `None` when the id is taken.
    pub async fn create_agent(
        &self,
        id: &AgentId,
        settings: &AgentSettings,
        actor: &Actor,
    ) -> Result<Option<AgentRow>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let is_new = insert_if_missing(&mut tx, id, now).await?;
        if is_new {
            write_settings(&mut tx, id, settings, now).await?;
            let entry = AuditEntry::new(AuditAction::AgentCreated, id, None, Some(state(settings)?));
            audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        }
        tx.commit().await?;
        if is_new { self.agent(id).await } else { Ok(None) }
    }

    /// Changes an agent; `None` when there is none of that id.
    pub async fn update_agent(
        &self,
        id: &AgentId,
        settings: &AgentSettings,
        actor: &Actor,
    ) -> Result<Option<AgentRow>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = locked_agent(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok(None);
        };
        write_settings(&mut tx, id, settings, now).await?;
        let (before, after) = (state(&before.settings)?, state(settings)?);
        let entry = AuditEntry::new(AuditAction::AgentUpdated, id, Some(before), Some(after));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        self.agent(id).await
    }

    /// Deletes an agent with its rules.
    pub async fn delete_agent(&self, id: &AgentId, actor: &Actor) -> Result<DeleteAgent, StoreError> {
        if id.as_str() == DEFAULT_AGENT_ID {
            return Ok(DeleteAgent::IsDefault);
        }
        // What its rules made goes with them; what people and operators made is said by the default agent.
        const STEPS: [&str; 5] = [
            "DELETE FROM schedules WHERE agent_id = $1 AND maker = 'rule'",
            "UPDATE schedules SET agent_id = 'default-agent' WHERE agent_id = $1",
            "UPDATE conversations SET agent_id = NULL WHERE agent_id IS NOT NULL AND agent_id = $1",
            "DELETE FROM rules WHERE agent_id = $1",
            "DELETE FROM agents WHERE id = $1",
        ];
        let mut tx = self.db.begin().await?;
        let Some(before) = locked_agent(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok(DeleteAgent::NotFound);
        };
        for step in STEPS {
            on!(&mut tx, |connection, D| {
                sqlx::query(step).bind(id.as_str()).execute(connection).await?;
            });
        }
        let entry = AuditEntry::new(AuditAction::AgentDeleted, id, Some(state(&before.settings)?), None);
        audit::record(&mut tx, &self.ids, actor, entry, self.clock.now()).await?;
        tx.commit().await?;
        Ok(DeleteAgent::Deleted)
    }

    /// Makes an agent that somebody named and that is not there, as part of a transaction.
    pub(super) async fn make_if_missing(
        &self,
        tx: &mut Tx,
        id: &AgentId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !insert_if_missing(tx, id, now).await? {
            return Ok(());
        }
        let after = locked_agent(tx, id).await?.map(|agent| state(&agent.settings)).transpose()?;
        let entry = AuditEntry::new(AuditAction::AgentCreated, id, None, after);
        audit::record(tx, &self.ids, actor, entry, now).await
    }

    /// The agent of that id.
    pub async fn agent(&self, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        let row: Option<AgentColumns> =
            read!(&self.db, |pool, D| sqlx::query_as(AGENT).bind(id.as_str()).fetch_optional(pool).await?);
        row.map(read_agent).transpose()
    }

    /// At most `limit` agents whose ids come after `after`, by id.
    pub async fn agents(&self, after: &str, limit: i64) -> Result<Vec<AgentRow>, StoreError> {
        let rows: Vec<AgentColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, version, name, purpose, persona, fallback_reply, stale_after_seconds, stale_policy,
                        fallback_template, unknown_deadline_seconds, unknown_policy, tools, listed, help_reply,
                        handover_reply, created_at, updated_at
                 FROM agents WHERE id > $1 ORDER BY id LIMIT $2",
            )
            .bind(after)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(read_agent).collect()
    }

    /// The agent of that id with all of its rules.
    pub async fn agent_with_rules(&self, id: &AgentId) -> Result<Option<AgentWithRules>, StoreError> {
        let Some(agent) = self.agent(id).await? else { return Ok(None) };
        let limit = i64::try_from(RULES_PER_AGENT_MAX).unwrap_or(i64::MAX);
        let rules = self.rules(Some(id), "", limit).await?;
        Ok(Some(AgentWithRules { agent, rules }))
    }
}

const AGENT: &str = "SELECT id, version, name, purpose, persona, fallback_reply, stale_after_seconds, stale_policy,
        fallback_template, unknown_deadline_seconds, unknown_policy, tools, listed, help_reply, handover_reply, created_at,
        updated_at
    FROM agents WHERE id = $1";

/// The agent as it stands, kept from others until the transaction ends.
async fn locked_agent(tx: &mut Tx, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
    let sql = format!("{AGENT}{}", tx.row_lock());
    let row: Option<AgentColumns> = on!(tx, |connection, D| {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(connection).await?
    });
    row.map(read_agent).transpose()
}

/// How something stands, for the audit log.
pub(super) fn state(of: &impl Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(of).map_err(|error| StoreError::Refused(error.to_string()))
}

row! { struct FallbackRow { fallback_template: Option<Json<TemplateUse>> } }
row! {
    struct AgentColumns {
        id: String,
        version: i64,
        name: String,
        purpose: String,
        persona: String,
        fallback_reply: Option<String>,
        stale_after_seconds: i64,
        stale_policy: String,
        fallback_template: Option<Json<TemplateUse>>,
        unknown_deadline_seconds: Option<i64>,
        unknown_policy: Option<String>,
        tools: Option<Json<Vec<String>>>,
        listed: bool,
        help_reply: Option<String>,
        handover_reply: Option<String>,
        created_at: Ts,
        updated_at: Ts,
    }
}
fn read_agent(row: AgentColumns) -> Result<AgentRow, StoreError> {
    Ok(AgentRow {
        id: AgentId(row.id),
        version: row.version,
        settings: AgentSettings {
            name: row.name,
            purpose: row.purpose,
            persona: row.persona,
            fallback_reply: row.fallback_reply,
            stale_after_seconds: row.stale_after_seconds,
            stale_policy: read_word("stale policy", &row.stale_policy)?,
            fallback_template: row.fallback_template.map(|template| template.0),
            unknown_deadline_seconds: row.unknown_deadline_seconds,
            unknown_policy: row.unknown_policy.map(|word| read_word("unknown policy", &word)).transpose()?,
            tools: read_tools(row.tools.map(|tools| tools.0)),
            listed: row.listed,
            help_reply: row.help_reply,
            handover_reply: row.handover_reply,
        },
        created_at: row.created_at.0,
        updated_at: row.updated_at.0,
    })
}

/// The tools of a list; without one, what agents could do before there were lists. A name of a newer version is of no use here.
fn read_tools(names: Option<Vec<String>>) -> Vec<ToolName> {
    match names {
        Some(names) => names.iter().filter_map(|name| ToolName::parse(name)).collect(),
        None => ToolName::UNLISTED.to_vec(),
    }
}

pub(super) fn read_word<T: for<'de> Deserialize<'de>>(what: &str, word: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|_| StoreError::unreadable(what, word))
}

pub(super) fn word<T: Serialize>(value: T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(StoreError::Unreadable(format!("not a word: {other:?}"))),
    }
}

pub(super) async fn insert_if_missing(tx: &mut Tx, id: &AgentId, now: Timestamp) -> Result<bool, StoreError> {
    let settings = AgentSettings { name: id.first_name().to_owned(), ..AgentSettings::default() };
    let inserted = on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO agents (id, version, name, purpose, persona, stale_after_seconds, stale_policy, tools, created_at,
                 updated_at)
             VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id.as_str())
        .bind(&settings.name)
        .bind(&settings.purpose)
        .bind(&settings.persona)
        .bind(settings.stale_after_seconds)
        .bind(word(settings.stale_policy)?)
        // Nobody chose: whoever makes an agent through the admin interface writes a list of its own at once.
        .bind(Json(ToolName::UNLISTED))
        .bind(Ts(now))
        .execute(connection)
        .await?
        .rows_affected()
    });
    Ok(inserted > 0)
}

async fn write_settings(tx: &mut Tx, id: &AgentId, settings: &AgentSettings, now: Timestamp) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query(
            "UPDATE agents SET version = version + 1, name = $1, purpose = $2, persona = $3, fallback_reply = $4,
                 stale_after_seconds = $5, stale_policy = $6, fallback_template = $7, unknown_deadline_seconds = $8,
                 unknown_policy = $9, tools = $10, listed = $11, help_reply = $12, handover_reply = $13, updated_at = $14
             WHERE id = $15",
        )
        .bind(&settings.name)
        .bind(&settings.purpose)
        .bind(&settings.persona)
        .bind(&settings.fallback_reply)
        .bind(settings.stale_after_seconds)
        .bind(word(settings.stale_policy)?)
        .bind(settings.fallback_template.as_ref().map(Json))
        .bind(settings.unknown_deadline_seconds)
        .bind(settings.unknown_policy.map(word).transpose()?)
        .bind(Json(&settings.tools))
        .bind(settings.listed)
        .bind(&settings.help_reply)
        .bind(&settings.handover_reply)
        .bind(Ts(now))
        .bind(id.as_str())
        .execute(connection)
        .await?;
    });
    Ok(())
}
