//! What turns leave behind of tools: questions that wait for an answer, and calls that the allowlist refused. Rare, so none of
//! these statements runs for each message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use sqlx::types::Json;

use super::Store;
use super::audit;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use crate::domain::agent::AgentId;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::question::OpenQuestion;
use crate::domain::tool::ToolDenial;
use crate::domain::turn::{Effect, FinishedTurn};
use crate::ids::{ConversationId, Ids};

/// Tools that are listed; there are a handful.
const DENIED_TOOLS_MAX: i64 = 100;

/// How often an agent's calls of one tool were refused because it does not list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denials {
    /// What was called.
    pub tool: String,
    /// How often.
    pub times: i64,
    /// When it was last.
    pub last_at: Timestamp,
}

impl Store {
    /// The calls that an agent was refused, by tool: at most one row for each tool there ever was.
    pub async fn tool_denials(&self, agent_id: &AgentId) -> Result<Vec<Denials>, StoreError> {
        let rows: Vec<DenialColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as("SELECT tool, times, last_at FROM tool_denials WHERE agent_id = $1 ORDER BY tool LIMIT $2")
                .bind(agent_id.as_str())
                .bind(DENIED_TOOLS_MAX)
                .fetch_all(pool)
                .await?
        });
        let read = |row: DenialColumns| Denials { tool: row.tool, times: row.times, last_at: row.last_at.0 };
        Ok(rows.into_iter().map(read).collect())
    }
}

/// Keeps what an agent waits to hear, in place of an earlier question.
pub(super) async fn ask(
    tx: &mut Tx,
    conversation_id: ConversationId,
    question: Option<&OpenQuestion>,
) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query("UPDATE conversations SET question = $1 WHERE id = $2")
            .bind(question.map(Json))
            .bind(conversation_id.0)
            .execute(connection)
            .await?;
    });
    Ok(())
}

/// Counts the calls that a turn was refused, and writes an entry for each tool.
pub(super) async fn note_denials(tx: &mut Tx, ids: &Ids, turn: &FinishedTurn) -> Result<(), StoreError> {
    let mut denied: BTreeMap<&str, Vec<&ToolDenial>> = BTreeMap::new();
    for effect in &turn.effects {
        let Effect::ToolDenied(denial) = effect else { continue };
        denied.entry(&denial.tool).or_default().push(denial);
    }
    if denied.is_empty() {
        return Ok(());
    }
    let mut entries = Vec::new();
    for (tool, denials) in denied {
        let times = i64::try_from(denials.len()).unwrap_or(i64::MAX);
        on!(&mut *tx, |connection, D| {
            sqlx::query(
                "INSERT INTO tool_denials (agent_id, tool, times, last_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (agent_id, tool)
                 DO UPDATE SET times = tool_denials.times + excluded.times, last_at = excluded.last_at",
            )
            .bind(turn.agent_id.as_str())
            .bind(tool)
            .bind(times)
            .bind(Ts(turn.finished_at))
            .execute(connection)
            .await?;
        });
        let keys: Vec<String> = denials.iter().map(|denial| denial.key.to_string()).collect();
        let call = json!({ "tool": tool, "conversation_id": turn.conversation_id, "turn_id": turn.id, "calls": keys });
        entries.push(AuditEntry::new(AuditAction::ToolDenied, &turn.agent_id, None, Some(call)));
    }
    audit::record_all(tx, ids, &Actor::Platform, &entries, turn.finished_at).await
}

row! { struct DenialColumns { tool: String, times: i64, last_at: Ts } }
