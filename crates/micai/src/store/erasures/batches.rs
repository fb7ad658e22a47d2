//! The batches of an erasure: through one table after the other, by key, from where the last batch ended.

use sqlx::types::Json;
use uuid::Uuid;

use super::super::db::{Ts, Tx, on, row};
use super::super::error::StoreError;
use super::super::handover::conversations_of;
use super::Job;
use crate::domain::outbound::MessageBody;
use crate::ids::ContactId;

/// Rows of one statement.
const BATCH_ROWS: i64 = 500;
/// Kept webhooks that one statement reads: a row can have megabytes.
const WEBHOOK_ROWS: i64 = 200;

/// Which table is being erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Outbound,
    Inbound,
    Turns,
    WebhookEvents,
}

impl Stage {
    pub const FIRST: Self = Self::Outbound;
    const ALL: [Self; 4] = [Self::Outbound, Self::Inbound, Self::Turns, Self::WebhookEvents];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::Turns => "turns",
            Self::WebhookEvents => "webhook_events",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }

    fn next(self) -> Option<Self> {
        match self {
            Self::Outbound => Some(Self::Inbound),
            Self::Inbound => Some(Self::Turns),
            Self::Turns => Some(Self::WebhookEvents),
            Self::WebhookEvents => None,
        }
    }
}

/// Erases about `rows_max` rows. `true` when nothing is left.
pub(super) async fn erase(tx: &mut Tx, job: &mut Job, rows_max: i64) -> Result<bool, StoreError> {
    let conversations = conversations_of(tx, job.contact_id).await?;
    let mut rows = 0;
    while rows < rows_max {
        let looked_at = match job.stage {
            Stage::WebhookEvents => webhook_events(tx, job).await?,
            _ => match conversations.iter().find(|id| **id >= job.cursor.0) {
                Some(conversation) => by_conversation(tx, job, *conversation).await?,
                None => None,
            },
        };
        match looked_at {
            Some(count) => rows += count,
            None => match job.stage.next() {
                Some(next) => (job.stage, job.cursor) = (next, (Uuid::nil(), Uuid::nil())),
                None => return Ok(true),
            },
        }
    }
    Ok(false)
}

/// The next batch of a conversation; behind its last one the cursor stands on the next conversation.
async fn by_conversation(tx: &mut Tx, job: &mut Job, conversation: Uuid) -> Result<Option<i64>, StoreError> {
    if conversation > job.cursor.0 {
        job.cursor = (conversation, Uuid::nil());
    }
    let ids = match job.stage {
        Stage::Outbound => outbound(tx, job).await?,
        Stage::Inbound => inbound(tx, job).await?,
        Stage::Turns => turns(tx, job).await?,
        Stage::WebhookEvents => Vec::new(),
    };
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    match ids.last() {
        Some(last) if count >= BATCH_ROWS => job.cursor.1 = *last,
        _ => job.cursor = (after(conversation), Uuid::nil()),
    }
    // A step without rows is a step, too: the loop ends.
    Ok(Some(count.max(1)))
}

/// The smallest id behind this one.
fn after(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

/// What goes out: bodies, requests, and what the audit log says of them.
async fn outbound(tx: &mut Tx, job: &mut Job) -> Result<Vec<Uuid>, StoreError> {
    let ids = batch(
        tx,
        job,
        "SELECT id FROM outbound_messages WHERE conversation_id = $1 AND id > $2 AND created_at <= $3 ORDER BY id LIMIT $4",
    )
    .await?;
    let Some(last) = ids.last() else { return Ok(ids) };
    job.counts.outbound += changed(on!(&mut *tx, |connection, D| {
        sqlx::query(
            "UPDATE outbound_messages SET body = $1, request = NULL, template = NULL
             WHERE conversation_id = $2 AND id > $3 AND id <= $4 AND created_at <= $5",
        )
        .bind(Json(MessageBody::Erased))
        .bind(job.cursor.0)
        .bind(job.cursor.1)
        .bind(last)
        .bind(Ts(job.asked_at))
        .execute(connection)
        .await?
        .rows_affected()
    }));
    for id in &ids {
        // The one change that the log allows: words go.
        on!(&mut *tx, |connection, D| {
            sqlx::query(
                "UPDATE audit_log SET state_before = CASE WHEN state_before IS NULL THEN NULL ELSE $1 END,
                     state_after = CASE WHEN state_after IS NULL THEN NULL ELSE $1 END
                 WHERE subject = $2",
            )
            .bind(Json(serde_json::json!({ "erased": true })))
            .bind(id.to_string())
            .execute(connection)
            .await?;
        });
    }
    Ok(ids)
}

/// What came in: words and payloads. A letter that nobody can read any more is no letter.
async fn inbound(tx: &mut Tx, job: &mut Job) -> Result<Vec<Uuid>, StoreError> {
    let through = job.inbound_through;
    let ids: Vec<IdRow> = on!(&mut *tx, |connection, D| {
        sqlx::query_as(
            "SELECT id FROM inbound_messages WHERE conversation_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4",
        )
        .bind(job.cursor.0)
        .bind(job.cursor.1)
        .bind(through)
        .bind(BATCH_ROWS)
        .fetch_all(connection)
        .await?
    });
    let ids: Vec<Uuid> = ids.into_iter().map(|row| row.id).collect();
    let Some(last) = ids.last() else { return Ok(ids) };
    job.counts.inbound += changed(on!(&mut *tx, |connection, D| {
        sqlx::query(
            "UPDATE inbound_messages SET text = NULL, payload = $1, error = NULL,
                 state = CASE WHEN state IN ('pending', 'dead') THEN 'noted' ELSE state END
             WHERE conversation_id = $2 AND id > $3 AND id <= $4",
        )
        .bind(Json(serde_json::json!({ "erased": true })))
        .bind(job.cursor.0)
        .bind(job.cursor.1)
        .bind(last)
        .execute(connection)
        .await?
        .rows_affected()
    }));
    Ok(ids)
}

/// What turns made of it.
async fn turns(tx: &mut Tx, job: &mut Job) -> Result<Vec<Uuid>, StoreError> {
    let ids = batch(
        tx,
        job,
        "SELECT id FROM turns WHERE conversation_id = $1 AND id > $2 AND finished_at <= $3 ORDER BY id LIMIT $4",
    )
    .await?;
    let Some(last) = ids.last() else { return Ok(ids) };
    job.counts.turns += changed(on!(&mut *tx, |connection, D| {
        sqlx::query(
            "UPDATE turns SET trace = $1 WHERE conversation_id = $2 AND id > $3 AND id <= $4 AND finished_at <= $5",
        )
        .bind(Json(serde_json::json!({ "messages": [], "erased": true })))
        .bind(job.cursor.0)
        .bind(job.cursor.1)
        .bind(last)
        .bind(Ts(job.asked_at))
        .execute(connection)
        .await?
        .rows_affected()
    }));
    Ok(ids)
}

async fn batch(tx: &mut Tx, job: &Job, sql: &'static str) -> Result<Vec<Uuid>, StoreError> {
    let ids: Vec<IdRow> = on!(tx, |connection, D| {
        sqlx::query_as(sql)
            .bind(job.cursor.0)
            .bind(job.cursor.1)
            .bind(Ts(job.asked_at))
            .bind(BATCH_ROWS)
            .fetch_all(connection)
            .await?
    });
    Ok(ids.into_iter().map(|row| row.id).collect())
}

/// Webhooks that were kept as they came: what names the person, in the quotation marks of JSON, is emptied. The table has no index
/// for that and is small: it is read through once, some rows at a time.
async fn webhook_events(tx: &mut Tx, job: &mut Job) -> Result<Option<i64>, StoreError> {
    let ids: Vec<IdRow> = on!(&mut *tx, |connection, D| {
        sqlx::query_as("SELECT id FROM webhook_events WHERE id > $1 AND received_at <= $2 ORDER BY id LIMIT $3")
            .bind(job.cursor.1)
            .bind(Ts(job.asked_at))
            .bind(WEBHOOK_ROWS)
            .fetch_all(connection)
            .await?
    });
    let Some(last) = ids.last().map(|row| row.id) else { return Ok(None) };
    let place = match tx {
        Tx::Pg(..) => "strpos",
        Tx::Lite(_) => "instr",
    };
    let sql = format!(
        "UPDATE webhook_events SET raw = $1 WHERE id > $2 AND id <= $3 AND received_at <= $4 AND {place}(raw, $5) > 0"
    );
    for value in identifiers(tx, job.contact_id).await? {
        let sql = sql.clone();
        job.counts.webhook_events += changed(on!(&mut *tx, |connection, D| {
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind("{\"erased\":true}")
                .bind(job.cursor.1)
                .bind(last)
                .bind(Ts(job.asked_at))
                .bind(format!("\"{value}\""))
                .execute(connection)
                .await?
                .rows_affected()
        }));
    }
    job.cursor.1 = last;
    Ok(Some(i64::try_from(ids.len()).unwrap_or(i64::MAX)))
}

async fn identifiers(tx: &mut Tx, contact_id: ContactId) -> Result<Vec<String>, StoreError> {
    let rows: Vec<ValueRow> = on!(tx, |connection, D| {
        sqlx::query_as("SELECT DISTINCT value FROM contact_identities WHERE contact_id = $1 LIMIT 100")
            .bind(contact_id.0)
            .fetch_all(connection)
            .await?
    });
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// What was to be said to the person at a time: their reminders, and whatever else. Few enough for one statement.
pub(super) async fn erase_schedules(tx: &mut Tx, contact_id: ContactId) -> Result<i64, StoreError> {
    Ok(changed(on!(tx, |connection, D| {
        sqlx::query(
            "DELETE FROM schedules
             WHERE contact_id IN (SELECT p.id FROM contacts p WHERE p.id = $1 OR p.merged_into = $1)",
        )
        .bind(contact_id.0)
        .execute(connection)
        .await?
        .rows_affected()
    })))
}

fn changed(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

row! { struct IdRow { id: Uuid } }
row! { struct ValueRow { value: String } }
