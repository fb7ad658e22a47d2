//! Schedules as people look at them.

use uuid::Uuid;

use super::Store;
use super::db::read;
use super::error::StoreError;
use super::schedule_writes::ScheduleKey;
use super::schedules::{COLUMNS, ScheduleColumns};
use crate::domain::agent::AgentId;
use crate::domain::schedule::{Schedule, ScheduleState};
use crate::ids::{ContactId, ConversationId};

/// Which schedules are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleFilter {
    /// Those of this contact.
    pub contact_id: Option<ContactId>,
    /// Those of this agent.
    pub agent_id: Option<AgentId>,
    /// Those of this rule.
    pub rule_id: Option<String>,
    /// Those in this state.
    pub state: Option<ScheduleState>,
}

/// A schedule with the identifier under which its person is known best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSchedule {
    /// The schedule.
    pub schedule: Schedule,
    /// Their number, else their user id.
    pub wa_id: Option<String>,
    /// The conversation that it speaks in.
    pub conversation_id: Option<ConversationId>,
}

struct ListedRow {
    columns: ScheduleColumns,
    wa_id: Option<String>,
    conversation_id: Option<Uuid>,
}

impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for ListedRow
where
    &'static str: sqlx::ColumnIndex<R>,
    ScheduleColumns: sqlx::FromRow<'r, R>,
    Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<Uuid>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let columns = ScheduleColumns::from_row(row)?;
        Ok(Self { columns, wa_id: row.try_get("wa_id")?, conversation_id: row.try_get("conversation_id")? })
    }
}

impl ListedRow {
    fn read(self) -> Result<ListedSchedule, StoreError> {
        let conversation_id = self.conversation_id.map(ConversationId);
        Ok(ListedSchedule { schedule: self.columns.read()?, wa_id: self.wa_id, conversation_id })
    }
}

/// What a [`ListedRow`] has beside the schedule.
const LISTED: &str = "(SELECT i.value FROM contact_identities i
         WHERE i.contact_id = schedules.contact_id AND i.superseded_at IS NULL
         ORDER BY CASE i.kind WHEN 'phone' THEN 0 WHEN 'bsuid' THEN 1 ELSE 2 END LIMIT 1) AS wa_id,
    (SELECT c.id FROM conversations c
     WHERE c.contact_id = schedules.contact_id AND c.phone_number_id = schedules.phone_number_id) AS conversation_id";

impl Store {
    /// The schedule of that key.
    pub async fn schedule(&self, key: ScheduleKey<'_>) -> Result<Option<ListedSchedule>, StoreError> {
        let (column, id, text) = match key {
            ScheduleKey::Id(id) => ("id = $1 AND $2 IS NULL", Some(id.0), None),
            ScheduleKey::Name(name) => ("$1 IS NULL AND name = $2", None, Some(name)),
            ScheduleKey::Rule(rule) => ("$1 IS NULL AND rule_id = $2", None, Some(rule)),
        };
        let sql = format!("SELECT {COLUMNS}, {LISTED} FROM schedules WHERE {column} LIMIT 1");
        let row: Option<ListedRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id).bind(text).fetch_optional(pool).await?
        });
        row.map(ListedRow::read).transpose()
    }

    /// At most `limit` schedules from before `before`, the youngest first.
    pub async fn schedules(
        &self,
        filter: &ScheduleFilter,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<ListedSchedule>, StoreError> {
        // Each filter in words of its own, so that each finds its index.
        let word = |is_set: bool, set: &'static str, unset: &'static str| if is_set { set } else { unset };
        let sql = format!(
            "SELECT {COLUMNS}, {LISTED} FROM schedules
             WHERE id < $1 AND {} AND {} AND {} AND {} ORDER BY id DESC LIMIT $2",
            word(filter.contact_id.is_some(), "contact_id = $3", "$3 IS NULL"),
            word(filter.agent_id.is_some(), "agent_id = $4", "$4 IS NULL"),
            word(filter.state.is_some(), "state = $5", "$5 IS NULL"),
            word(filter.rule_id.is_some(), "rule_id = $6", "$6 IS NULL"),
        );
        let rows: Vec<ListedRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(before.unwrap_or(Uuid::max()))
                .bind(limit)
                .bind(filter.contact_id.map(|id| id.0))
                .bind(filter.agent_id.as_ref().map(AgentId::as_str))
                .bind(filter.state.map(ScheduleState::as_str))
                .bind(filter.rule_id.as_deref())
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(ListedRow::read).collect()
    }
}
