//! Agents and their rules. Every change of either raises the agent's version, which is what compiled rules are cached
//! by.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::Store;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use crate::domain::agent::{AgentId, AgentSettings, DEFAULT_AGENT_ID};
use crate::domain::rule::{
    KEYWORD_BYTES_PER_AGENT_MAX, KEYWORDS_PER_AGENT_MAX, PATTERNS_PER_AGENT_MAX, RULES_PER_AGENT_MAX, Rule, RuleAction,
    RuleKind,
};

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

/// What became of the wish to save a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChange {
    /// Saved.
    Saved,
    /// The agent has no room for it; the sentence says which bound.
    NoRoom(String),
}

impl Store {
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
    pub async fn create_agent(&self, id: &AgentId, settings: &AgentSettings) -> Result<Option<AgentRow>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let is_new = insert_if_missing(&mut tx, id, now).await?;
        if is_new {
            write_settings(&mut tx, id, settings, now).await?;
        }
        tx.commit().await?;
        if is_new { self.agent(id).await } else { Ok(None) }
    }

    /// Changes an agent; `None` when there is none of that id.
    pub async fn update_agent(&self, id: &AgentId, settings: &AgentSettings) -> Result<Option<AgentRow>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        write_settings(&mut tx, id, settings, now).await?;
        tx.commit().await?;
        self.agent(id).await
    }

    /// Deletes an agent with its rules.
    pub async fn delete_agent(&self, id: &AgentId) -> Result<DeleteAgent, StoreError> {
        if id.as_str() == DEFAULT_AGENT_ID {
            return Ok(DeleteAgent::IsDefault);
        }
        const STEPS: [&str; 3] = [
            "UPDATE conversations SET agent_id = NULL WHERE agent_id IS NOT NULL AND agent_id = $1",
            "DELETE FROM rules WHERE agent_id = $1",
            "DELETE FROM agents WHERE id = $1",
        ];
        let mut tx = self.db.begin().await?;
        let mut deleted = 0;
        for step in STEPS {
            deleted = on!(&mut tx, |connection, D| {
                sqlx::query(step).bind(id.as_str()).execute(connection).await?.rows_affected()
            });
        }
        tx.commit().await?;
        Ok(if deleted > 0 { DeleteAgent::Deleted } else { DeleteAgent::NotFound })
    }

    /// The agent of that id.
    pub async fn agent(&self, id: &AgentId) -> Result<Option<AgentRow>, StoreError> {
        let row: Option<AgentColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, version, name, purpose, persona, fallback_reply, stale_after_seconds, stale_policy,
                        created_at, updated_at
                 FROM agents WHERE id = $1",
            )
            .bind(id.as_str())
            .fetch_optional(pool)
            .await?
        });
        row.map(read_agent).transpose()
    }

    /// At most `limit` agents whose ids come after `after`, by id.
    pub async fn agents(&self, after: &str, limit: i64) -> Result<Vec<AgentRow>, StoreError> {
        let rows: Vec<AgentColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, version, name, purpose, persona, fallback_reply, stale_after_seconds, stale_policy,
                        created_at, updated_at
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

    /// Saves a rule under its id. Its agent is made if it is not there: older clients only ever named agents in rules.
    /// `keyword_bytes` is what its keywords weigh normalised: all rules of an agent are compiled together, so none may
    /// be saved that would make them too heavy.
    pub async fn save_rule(&self, rule: &Rule, keyword_bytes: usize) -> Result<RuleChange, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        insert_if_missing(&mut tx, &rule.agent_id, now).await?;
        if let Some(full) = no_room(&mut tx, rule, keyword_bytes).await? {
            tx.roll_back().await;
            return Ok(RuleChange::NoRoom(full));
        }
        raise_version_of_rule(&mut tx, &rule.id, now).await?;
        upsert_rule(&mut tx, rule, keyword_bytes, now).await?;
        raise_version_of_rule(&mut tx, &rule.id, now).await?;
        tx.commit().await?;
        Ok(RuleChange::Saved)
    }

    /// Deletes a rule; `false` when there is none of that id.
    pub async fn delete_rule(&self, id: &str) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        raise_version_of_rule(&mut tx, id, now).await?;
        let deleted = on!(&mut tx, |connection, D| {
            sqlx::query("DELETE FROM rules WHERE id = $1").bind(id).execute(connection).await?.rows_affected()
        });
        tx.commit().await?;
        Ok(deleted > 0)
    }

    /// The rule of that id.
    pub async fn rule(&self, id: &str) -> Result<Option<Rule>, StoreError> {
        let row: Option<RuleColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT id, agent_id, kind, enabled, priority, keywords, whole_word, prefix, action, reply_text
                 FROM rules WHERE id = $1",
            )
            .bind(id)
            .fetch_optional(pool)
            .await?
        });
        row.map(read_rule).transpose()
    }

    /// At most `limit` rules (of one agent, or of all) whose ids come after `after`, by id.
    pub async fn rules(&self, agent_id: Option<&AgentId>, after: &str, limit: i64) -> Result<Vec<Rule>, StoreError> {
        let rows: Vec<RuleColumns> = match agent_id {
            Some(agent_id) => read!(&self.db, |pool, D| {
                sqlx::query_as(
                    "SELECT id, agent_id, kind, enabled, priority, keywords, whole_word, prefix, action, reply_text
                     FROM rules WHERE agent_id = $1 AND id > $2 ORDER BY id LIMIT $3",
                )
                .bind(agent_id.as_str())
                .bind(after)
                .bind(limit)
                .fetch_all(pool)
                .await?
            }),
            None => read!(&self.db, |pool, D| {
                sqlx::query_as(
                    "SELECT id, agent_id, kind, enabled, priority, keywords, whole_word, prefix, action, reply_text
                     FROM rules WHERE id > $1 ORDER BY id LIMIT $2",
                )
                .bind(after)
                .bind(limit)
                .fetch_all(pool)
                .await?
            }),
        };
        rows.into_iter().map(read_rule).collect()
    }
}

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
        created_at: Ts,
        updated_at: Ts,
    }
}
row! {
    struct RuleColumns {
        id: String,
        agent_id: String,
        kind: String,
        enabled: bool,
        priority: i32,
        keywords: Json<Vec<String>>,
        whole_word: bool,
        prefix: Option<String>,
        action: String,
        reply_text: String,
    }
}
row! { struct RoomRow { rules: i64, keywords: i64, patterns: i64, bytes: i64 } }

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
        },
        created_at: row.created_at.0,
        updated_at: row.updated_at.0,
    })
}

fn read_rule(row: RuleColumns) -> Result<Rule, StoreError> {
    Ok(Rule {
        kind: read_word::<RuleKind>("rule kind", &row.kind)?,
        action: read_word::<RuleAction>("rule action", &row.action)?,
        id: row.id,
        agent_id: AgentId(row.agent_id),
        enabled: row.enabled,
        priority: row.priority,
        keywords: row.keywords.0,
        whole_word: row.whole_word,
        prefix: row.prefix,
        reply_text: row.reply_text,
    })
}

fn read_word<T: for<'de> Deserialize<'de>>(what: &str, word: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|_| StoreError::unreadable(what, word))
}

fn word<T: Serialize>(value: T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(StoreError::Unreadable(format!("not a word: {other:?}"))),
    }
}

pub(super) async fn insert_if_missing(tx: &mut Tx, id: &AgentId, now: Timestamp) -> Result<bool, StoreError> {
    let settings = AgentSettings { name: id.as_str().to_owned(), ..AgentSettings::default() };
    let inserted = on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO agents (id, version, name, purpose, persona, stale_after_seconds, stale_policy, created_at,
                 updated_at)
             VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id.as_str())
        .bind(&settings.name)
        .bind(&settings.purpose)
        .bind(&settings.persona)
        .bind(settings.stale_after_seconds)
        .bind(word(settings.stale_policy)?)
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
                 stale_after_seconds = $5, stale_policy = $6, updated_at = $7
             WHERE id = $8",
        )
        .bind(&settings.name)
        .bind(&settings.purpose)
        .bind(&settings.persona)
        .bind(&settings.fallback_reply)
        .bind(settings.stale_after_seconds)
        .bind(word(settings.stale_policy)?)
        .bind(Ts(now))
        .bind(id.as_str())
        .execute(connection)
        .await?;
    });
    Ok(())
}

/// The bound that the agent would break with this rule.
async fn no_room(tx: &mut Tx, rule: &Rule, keyword_bytes: usize) -> Result<Option<String>, StoreError> {
    let row: RoomRow = on!(tx, |connection, D| {
        sqlx::query_as(
            "SELECT count(*) AS rules, coalesce(sum(keyword_count), 0) AS keywords,
                    coalesce(sum(CASE WHEN kind = 'regex' THEN keyword_count ELSE 0 END), 0) AS patterns,
                    coalesce(CAST(sum(keyword_bytes) AS bigint), 0) AS bytes
             FROM rules WHERE agent_id = $1 AND id <> $2",
        )
        .bind(rule.agent_id.as_str())
        .bind(&rule.id)
        .fetch_one(connection)
        .await?
    });
    let after = |before: i64, more: usize| usize::try_from(before).unwrap_or(0) + more;
    let patterns = if rule.kind == RuleKind::Regex { rule.keywords.len() } else { 0 };
    let agent = &rule.agent_id;
    Ok(if after(row.rules, 1) > RULES_PER_AGENT_MAX {
        Some(format!("agent {agent} has {RULES_PER_AGENT_MAX} rules, which is the most; delete one first"))
    } else if after(row.keywords, keyword_count(rule)) > KEYWORDS_PER_AGENT_MAX {
        Some(format!("agent {agent} would have more than {KEYWORDS_PER_AGENT_MAX} keywords in all its rules"))
    } else if after(row.patterns, patterns) > PATTERNS_PER_AGENT_MAX {
        Some(format!(
            "agent {agent} would have more than {PATTERNS_PER_AGENT_MAX} regular expressions in all its rules"
        ))
    } else if after(row.bytes, keyword_bytes) > KEYWORD_BYTES_PER_AGENT_MAX {
        Some(format!(
            "agent {agent} would have more than {KEYWORD_BYTES_PER_AGENT_MAX} bytes of keywords in all its rules"
        ))
    } else {
        None
    })
}

fn keyword_count(rule: &Rule) -> usize {
    rule.keywords.len() + usize::from(rule.prefix.is_some())
}

async fn upsert_rule(tx: &mut Tx, rule: &Rule, keyword_bytes: usize, now: Timestamp) -> Result<(), StoreError> {
    let count = i32::try_from(keyword_count(rule)).unwrap_or(i32::MAX);
    let bytes = i64::try_from(keyword_bytes).unwrap_or(i64::MAX);
    on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO rules (id, agent_id, kind, enabled, priority, keywords, keyword_count, keyword_bytes,
                 whole_word, prefix, action, reply_text, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
             ON CONFLICT (id) DO UPDATE SET agent_id = excluded.agent_id, kind = excluded.kind,
                 enabled = excluded.enabled, priority = excluded.priority, keywords = excluded.keywords,
                 keyword_count = excluded.keyword_count, keyword_bytes = excluded.keyword_bytes,
                 whole_word = excluded.whole_word, prefix = excluded.prefix,
                 action = excluded.action, reply_text = excluded.reply_text, updated_at = excluded.updated_at",
        )
        .bind(&rule.id)
        .bind(rule.agent_id.as_str())
        .bind(word(rule.kind)?)
        .bind(rule.enabled)
        .bind(rule.priority)
        .bind(Json(&rule.keywords))
        .bind(count)
        .bind(bytes)
        .bind(rule.whole_word)
        .bind(&rule.prefix)
        .bind(word(rule.action)?)
        .bind(&rule.reply_text)
        .bind(Ts(now))
        .execute(connection)
        .await?;
    });
    Ok(())
}

/// Raises the version of the agent that holds the rule now: called before and after a change, since a rule may move
/// from one agent to another.
async fn raise_version_of_rule(tx: &mut Tx, rule_id: &str, now: Timestamp) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query(
            "UPDATE agents SET version = version + 1, updated_at = $1
             WHERE id = (SELECT agent_id FROM rules WHERE id = $2)",
        )
        .bind(Ts(now))
        .bind(rule_id)
        .execute(connection)
        .await?;
    });
    Ok(())
}
