//! Dead letters for people to look at: their groups, the letters of a group, one with its whole story, and how many there are.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::audit::AuditView;
use super::db::{Ts, read, row};
use super::error::StoreError;
use crate::domain::letter::{COUNTED_MAX, Direction, GroupName, Letter, LetterGroup};
use crate::domain::outbound::SendError;
use crate::domain::turn::TurnError;

/// What a send died of, word for word the expression of the index over letters: `o` is the row.
pub(super) const OUTBOUND_CAUSE: &str = "coalesce(CAST(o.error ->> 'code' AS text), o.error ->> 'reason', 'unnamed')";
/// What turns over a message died of, word for word as in its index: `m` is the row.
pub(super) const INBOUND_CAUSE: &str = "coalesce(m.error ->> 'reason', 'turn_failed')";
/// Calls, statuses and actions of one message that are shown.
const STORY_ROWS_MAX: i64 = 200;

/// A call to WhatsApp.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CallView {
    /// Its number; counted on through replays.
    pub attempt: i32,
    /// When it began.
    pub started_at: Timestamp,
    /// When its outcome was written.
    pub finished_at: Option<Timestamp>,
    /// `accepted`, `refused_for_now`, `held`, `refused` or `unknown`.
    pub outcome: Option<String>,
    /// HTTP status of the answer, where there was one.
    pub http_status: Option<i32>,
    /// Why: `code`, `reason`, `detail`.
    pub error: Option<serde_json::Value>,
}

/// A delivery status.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct StatusView {
    /// `sent`, `delivered`, `read`, `played` or `failed`.
    pub status: String,
    /// WhatsApp's id of the message that it speaks of.
    pub provider_message_id: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it reached us.
    pub received_at: Timestamp,
    /// Why it failed.
    pub error: Option<serde_json::Value>,
    /// What it costs.
    pub price: Option<serde_json::Value>,
}

/// All that happened to a message and all that people did about it.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct Story {
    /// The calls, in order.
    pub calls: Vec<CallView>,
    /// The statuses, in order of arrival; also of lives before a replay.
    pub statuses: Vec<StatusView>,
    /// What people did about it, in order: who, when, and what it was before.
    pub actions: Vec<AuditView>,
}

impl Store {
    /// How many letters there are in both directions, counted up to [`COUNTED_MAX`] and one more.
    pub async fn letter_count(&self) -> Result<i64, StoreError> {
        let row: CountColumns = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbound_messages
                          WHERE state IN ('held', 'suppressed', 'unknown', 'failed', 'cancelled') AND state = 'failed'
                          LIMIT $1) o)
                      + (SELECT count(*) FROM (SELECT 1 FROM inbound_messages WHERE state = 'dead' LIMIT $1) m) AS count",
            )
            .bind(COUNTED_MAX + 1)
            .fetch_one(pool)
            .await?
        });
        Ok(row.count.min(COUNTED_MAX + 1))
    }

    /// At most `limit` groups whose name comes behind `after`: sends first, then messages that came in.
    pub async fn letter_groups(&self, after: Option<&GroupName>, limit: usize) -> Result<Vec<LetterGroup>, StoreError> {
        let mut groups = Vec::new();
        for direction in [Direction::Outbound, Direction::Inbound] {
            let mut behind = match after {
                Some(after) if after.direction > direction => continue,
                Some(after) if after.direction == direction => after.cause.clone(),
                _ => String::new(),
            };
            while groups.len() < limit {
                let Some(cause) = self.next_cause(direction, &behind).await? else { break };
                // The last letter of it may have been replayed a moment ago.
                groups.extend(self.letter_group(&GroupName { direction, cause: cause.clone() }).await?);
                behind = cause;
            }
        }
        Ok(groups)
    }

    /// The first cause behind `after`: one step through the index, however many letters there are.
    async fn next_cause(&self, direction: Direction, after: &str) -> Result<Option<String>, StoreError> {
        let sql = match direction {
            Direction::Outbound => format!(
                "SELECT {OUTBOUND_CAUSE} AS cause FROM outbound_messages o
                 WHERE o.state = 'failed' AND {OUTBOUND_CAUSE} > $1 ORDER BY {OUTBOUND_CAUSE} LIMIT 1"
            ),
            Direction::Inbound => format!(
                "SELECT {INBOUND_CAUSE} AS cause FROM inbound_messages m
                 WHERE m.state = 'dead' AND {INBOUND_CAUSE} > $1 ORDER BY {INBOUND_CAUSE} LIMIT 1"
            ),
        };
        Ok(read!(&self.db, |pool, D| {
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(after).fetch_optional(pool).await?
        }))
    }

    async fn letter_group(&self, name: &GroupName) -> Result<Option<LetterGroup>, StoreError> {
        let Some(sample) = self.letters(name, None, 1).await?.pop() else { return Ok(None) };
        let (table, cause, at) = match name.direction {
            Direction::Outbound => ("outbound_messages o WHERE o.state = 'failed'", OUTBOUND_CAUSE, "o.created_at"),
            Direction::Inbound => ("inbound_messages m WHERE m.state = 'dead'", INBOUND_CAUSE, "m.received_at"),
        };
        let id = if name.direction == Direction::Outbound { "o.id" } else { "m.id" };
        let sql = format!(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM {table} AND {cause} = $1 LIMIT $2) counted) AS count,
                    (SELECT {at} FROM {table} AND {cause} = $1 ORDER BY {id} LIMIT 1) AS oldest_at"
        );
        let row: GroupColumns = read!(&self.db, |pool, D| {
            sqlx::query_as(AssertSqlSafe(sql)).bind(&name.cause).bind(COUNTED_MAX + 1).fetch_one(pool).await?
        });
        let oldest_at = row.oldest_at.map(|at| at.0);
        Ok(Some(LetterGroup { name: name.clone(), count: row.count, oldest_at, sample }))
    }

    /// At most `limit` letters of a group from before `before`, the youngest first.
    pub async fn letters(
        &self,
        group: &GroupName,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Letter>, StoreError> {
        let sql = match group.direction {
            Direction::Outbound => format!(
                "SELECT {OUTBOUND_LETTER} WHERE o.state = 'failed' AND {OUTBOUND_CAUSE} = $1 AND o.id < $2
                 ORDER BY o.id DESC LIMIT $3"
            ),
            Direction::Inbound => format!(
                "SELECT {INBOUND_LETTER} WHERE m.state = 'dead' AND {INBOUND_CAUSE} = $1 AND m.id < $2
                 ORDER BY m.id DESC LIMIT $3"
            ),
        };
        let before = before.unwrap_or(Uuid::max());
        let rows: Vec<LetterColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(AssertSqlSafe(sql)).bind(&group.cause).bind(before).bind(limit).fetch_all(pool).await?
        });
        Ok(rows.into_iter().map(|row| row.letter(group.direction)).collect())
    }

    /// The letter of that id, in either direction.
    pub async fn letter(&self, id: Uuid) -> Result<Option<Letter>, StoreError> {
        for (direction, sql) in [
            (Direction::Outbound, format!("SELECT {OUTBOUND_LETTER} WHERE o.state = 'failed' AND o.id = $1")),
            (Direction::Inbound, format!("SELECT {INBOUND_LETTER} WHERE m.state = 'dead' AND m.id = $1")),
        ] {
            let row: Option<LetterColumns> =
                read!(&self.db, |pool, D| sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(pool).await?);
            if let Some(row) = row {
                return Ok(Some(row.letter(direction)));
            }
        }
        Ok(None)
    }

    /// What happened to a message, and what people did about it.
    pub async fn story(&self, conversation_id: Uuid, id: Uuid) -> Result<Story, StoreError> {
        let (calls, named): (Vec<CallColumns>, Vec<NamedColumns>) = read!(&self.db, |pool, D| {
            let calls = sqlx::query_as(
                "SELECT attempt, started_at, finished_at, outcome, http_status, error FROM delivery_attempts
                 WHERE conversation_id = $1 AND outbound_id = $2 ORDER BY attempt LIMIT $3",
            )
            .bind(conversation_id)
            .bind(id)
            .bind(STORY_ROWS_MAX)
            .fetch_all(pool)
            .await?;
            let named = sqlx::query_as(
                "SELECT provider_message_id FROM outbound_messages
                 WHERE conversation_id = $1 AND id = $2 AND provider_message_id IS NOT NULL",
            )
            .bind(conversation_id)
            .bind(id)
            .fetch_all(pool)
            .await?;
            (calls, named)
        });
        let mut actions = self.audit_log(Some(&id.to_string()), None, None, STORY_ROWS_MAX).await?;
        actions.reverse();
        // A life before a replay went by another name.
        let earlier = actions.iter().filter_map(|action| action.before.as_ref()?["provider_message_id"].as_str());
        let earlier: BTreeSet<String> = earlier.map(str::to_owned).collect();
        let names = named.into_iter().map(|row| row.provider_message_id).chain(earlier).collect::<BTreeSet<_>>();
        let mut statuses = Vec::new();
        for name in &names {
            statuses.extend(self.statuses_of(name).await?);
        }
        statuses.sort_by_key(|status| status.received_at);
        Ok(Story { calls: calls.into_iter().map(CallColumns::view).collect(), statuses, actions })
    }

    async fn statuses_of(&self, provider_message_id: &str) -> Result<Vec<StatusView>, StoreError> {
        let rows: Vec<StatusColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT status, provider_message_id, occurred_at, received_at, error, price FROM delivery_events
                 WHERE provider_message_id = $1 ORDER BY id LIMIT $2",
            )
            .bind(provider_message_id)
            .bind(STORY_ROWS_MAX)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(StatusColumns::view).collect())
    }
}

/// A letter's columns, and the tables they are from.
pub(super) const OUTBOUND_LETTER: &str =
    "o.id, o.conversation_id, o.to_value AS person, p.name, o.kind, o.body, NULL AS words, o.error, o.attempts, o.replays,
     o.created_at, c.last_inbound_at
     FROM outbound_messages o JOIN conversations c ON c.id = o.conversation_id JOIN contacts p ON p.id = c.contact_id";
const INBOUND_LETTER: &str =
    "m.id, m.conversation_id, m.reply_to AS person, p.name, m.kind, NULL AS body, m.text AS words, m.error,
     m.failures AS attempts, m.replays, m.received_at AS created_at, c.last_inbound_at
     FROM inbound_messages m JOIN conversations c ON c.id = m.conversation_id JOIN contacts p ON p.id = c.contact_id";

row! { struct CountColumns { count: i64 } }
row! { struct GroupColumns { count: i64, oldest_at: Option<Ts> } }
row! { struct NamedColumns { provider_message_id: String } }
row! {
    pub(super) struct LetterColumns {
        id: Uuid,
        conversation_id: Uuid,
        person: String,
        name: Option<String>,
        kind: String,
        body: Option<Json<serde_json::Value>>,
        words: Option<String>,
        error: Option<Json<serde_json::Value>>,
        attempts: i32,
        replays: i32,
        created_at: Ts,
        last_inbound_at: Option<Ts>,
    }
}
row! {
    struct CallColumns {
        attempt: i32,
        started_at: Ts,
        finished_at: Option<Ts>,
        outcome: Option<String>,
        http_status: Option<i32>,
        error: Option<Json<serde_json::Value>>,
    }
}
row! {
    struct StatusColumns {
        status: String,
        provider_message_id: String,
        occurred_at: Ts,
        received_at: Ts,
        error: Option<Json<serde_json::Value>>,
        price: Option<Json<serde_json::Value>>,
    }
}
impl LetterColumns {
    pub(super) fn letter(self, direction: Direction) -> Letter {
        let (code, reason, detail) = read_error(direction, self.error.map(|error| error.0));
        Letter {
            id: self.id,
            direction,
            conversation_id: self.conversation_id,
            person: self.person,
            name: self.name,
            kind: self.kind,
            body: self.body.map(|body| body.0).or(self.words.map(Into::into)).unwrap_or_default(),
            code,
            reason,
            detail,
            attempts: self.attempts,
            replays: self.replays,
            created_at: self.created_at.0,
            last_inbound_at: self.last_inbound_at.map(|at| at.0),
        }
    }
}

/// Code, reason and detail of an error as it stands in a row. Messages that died in the first version say it as one text.
fn read_error(direction: Direction, error: Option<serde_json::Value>) -> (Option<i64>, String, String) {
    let error = error.unwrap_or_default();
    let unnamed = if direction == Direction::Outbound { "unnamed" } else { "turn_failed" };
    let text = error.as_str().unwrap_or_default().to_owned();
    match direction {
        Direction::Outbound => match serde_json::from_value::<SendError>(error) {
            Ok(error) => (error.code, error.reason, error.detail),
            Err(_) => (None, unnamed.to_owned(), text),
        },
        Direction::Inbound => match serde_json::from_value::<TurnError>(error) {
            Ok(error) => (None, error.reason, error.detail),
            Err(_) => (None, unnamed.to_owned(), text),
        },
    }
}

impl CallColumns {
    fn view(self) -> CallView {
        CallView {
            attempt: self.attempt,
            started_at: self.started_at.0,
            finished_at: self.finished_at.map(|at| at.0),
            outcome: self.outcome,
            http_status: self.http_status,
            error: self.error.map(|error| error.0),
        }
    }
}

impl StatusColumns {
    fn view(self) -> StatusView {
        StatusView {
            status: self.status,
            provider_message_id: self.provider_message_id,
            occurred_at: self.occurred_at.0,
            received_at: self.received_at.0,
            error: self.error.map(|error| error.0),
            price: self.price.map(|price| price.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite takes an index over an expression only for the very same words, large and small letters included.
    #[test]
    fn causes_are_word_for_word_those_of_the_indexes() {
        for migration in [
            include_str!("../../migrations/sqlite/0003_delivery.sql"),
            include_str!("../../migrations/postgres/0003_delivery.sql"),
        ] {
            for (cause, row) in [(OUTBOUND_CAUSE, "o."), (INBOUND_CAUSE, "m.")] {
                assert!(migration.contains(&format!("({}, id)", cause.replace(row, ""))), "{cause}");
            }
        }
    }
}
