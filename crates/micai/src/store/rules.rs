//! The rules of agents. Every change of one raises the version of its agent.

use jiff::Timestamp;
use sqlx::types::Json;

use super::Store;
use super::agents::{read_word, state, word};
use super::audit;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::schedule_writes::{DueNext, SaveSchedule, ScheduleKey, locked};
use crate::domain::agent::AgentId;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::rule::{
    KEYWORD_BYTES_PER_AGENT_MAX, KEYWORDS_PER_AGENT_MAX, PATTERNS_PER_AGENT_MAX, RULES_PER_AGENT_MAX, Rule, RuleAction,
    RuleKind,
};
use crate::domain::schedule::SCHEDULES_PER_CONTACT_MAX;

/// What became of the wish to save a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChange {
    /// Saved.
    Saved,
    /// The agent has no room for it; the sentence says which bound.
    NoRoom(String),
    /// It is fired by time, has a schedule, and came without one: to leave it out is no way to lose it.
    ScheduleLeftOut,
}

impl Store {
    /// Saves a rule under its id. Its agent is made if it is not there: older clients only ever named agents in rules.
    /// `keyword_bytes` is what its keywords weigh normalised: all rules of an agent are compiled together, so none may
    /// be saved that would make them too heavy.
    pub async fn save_rule(&self, rule: &Rule, keyword_bytes: usize, actor: &Actor) -> Result<RuleChange, StoreError> {
        self.save_rule_with(rule, keyword_bytes, None, actor).await
    }

    /// As [`Store::save_rule`], with the schedule of a rule that time fires. The one that it had is gone when it is fired
    /// otherwise now.
    pub async fn save_rule_with(
        &self,
        rule: &Rule,
        keyword_bytes: usize,
        schedule: Option<(&SaveSchedule, DueNext<'_>)>,
        actor: &Actor,
    ) -> Result<RuleChange, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        self.make_if_missing(&mut tx, &rule.agent_id, actor, now).await?;
        if let Some(full) = no_room(&mut tx, rule, keyword_bytes).await? {
            tx.roll_back().await;
            return Ok(RuleChange::NoRoom(full));
        }
        let before = locked_rule(&mut tx, &rule.id).await?.as_ref().map(state).transpose()?;
        raise_version_of_rule(&mut tx, &rule.id, now).await?;
        upsert_rule(&mut tx, rule, keyword_bytes, now).await?;
        raise_version_of_rule(&mut tx, &rule.id, now).await?;
        let entry = AuditEntry::new(AuditAction::RuleSaved, &rule.id, before, Some(state(rule)?));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        let key = ScheduleKey::Rule(&rule.id);
        match schedule {
            None if rule.kind == RuleKind::Scheduled && locked(&mut tx, key).await?.is_some() => {
                tx.roll_back().await;
                return Ok(RuleChange::ScheduleLeftOut);
            }
            None => drop(self.delete_in(&mut tx, key, actor, now).await?),
            Some((new, due)) => {
                let before = locked(&mut tx, key).await?;
                if self.save_in(&mut tx, new, before.as_ref(), due, actor, now).await?.is_none() {
                    tx.roll_back().await;
                    let reason = format!("the person has {SCHEDULES_PER_CONTACT_MAX} schedules, which is the most");
                    return Ok(RuleChange::NoRoom(reason));
                }
            }
        }
        tx.commit().await?;
        self.schedule_changes.notify_one();
        Ok(RuleChange::Saved)
    }

    /// Deletes a rule; `false` when there is none of that id.
    pub async fn delete_rule(&self, id: &str, actor: &Actor) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = locked_rule(&mut tx, id).await? else {
            tx.roll_back().await;
            return Ok(false);
        };
        raise_version_of_rule(&mut tx, id, now).await?;
        on!(&mut tx, |connection, D| {
            sqlx::query("DELETE FROM rules WHERE id = $1").bind(id).execute(connection).await?;
        });
        self.delete_in(&mut tx, ScheduleKey::Rule(id), actor, now).await?;
        let entry = AuditEntry::new(AuditAction::RuleDeleted, id, Some(state(&before)?), None);
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The rule of that id.
    pub async fn rule(&self, id: &str) -> Result<Option<Rule>, StoreError> {
        let row: Option<RuleColumns> =
            read!(&self.db, |pool, D| sqlx::query_as(RULE).bind(id).fetch_optional(pool).await?);
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

const RULE: &str = "SELECT id, agent_id, kind, enabled, priority, keywords, whole_word, prefix, action, reply_text
    FROM rules WHERE id = $1";

/// The rule as it stands, kept from others until the transaction ends.
async fn locked_rule(tx: &mut Tx, id: &str) -> Result<Option<Rule>, StoreError> {
    let sql = format!("{RULE}{}", tx.row_lock());
    let row: Option<RuleColumns> = on!(tx, |connection, D| {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(connection).await?
    });
    row.map(read_rule).transpose()
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
