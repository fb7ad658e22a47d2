//! Erasures: what is known of a person goes, batch by batch, so that a long history does not hold up others; what sending rightly
//! needs stays. A row says how far each one is: whoever finds one unfinished goes on with it.
//!
//! What stays: identifiers (whether somebody said STOP, and who wrote a message twice, hangs on them), what they want to hear, the
//! keys, states and prices of sends, and that turns were taken. None of it holds their words.

mod batches;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::handover::conversations_of;
use super::{Store, alerts, audit, consent, familiar};
use crate::domain::alert::AlertKind;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::contact::Address;
use crate::domain::erasure::{ErasureAsker, ErasureCounts, ErasureWish, erased_error};
use crate::domain::outbound::MessageBody;
use crate::domain::turn::FinishedTurn;
use crate::ids::{ContactId, ConversationId, Ids};

/// Rows that one transaction erases.
const ROWS_PER_STEP: i64 = 2_000;

/// An erasure as people see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ErasureView {
    /// Its id: the receipt.
    pub receipt_id: Uuid,
    /// Who was forgotten.
    pub contact_id: Uuid,
    /// `person` or `operator`.
    pub asked_by: String,
    /// When it was asked for: what is younger is a new start.
    pub asked_at: Timestamp,
    /// When it was done; none while it goes on.
    pub done_at: Option<Timestamp>,
    /// What was erased so far.
    pub erased: ErasureCounts,
}

/// What a step of an erasure came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureStep {
    /// There is more to erase.
    More,
    /// It is done. The receipt waits in this conversation's outbox, where the person asked for it.
    Done(Option<ConversationId>),
}

/// Where the receipt goes, and what it says.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
struct ReceiptTo {
    conversation_id: Uuid,
    to: Address,
    text: String,
}

impl Store {
    /// Begins to forget a contact, as an operator asks. `None` when there is none of that id.
    pub async fn erase_contact(&self, id: ContactId, actor: &Actor) -> Result<Option<Uuid>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let id = consent::present(&mut tx, id).await?;
        if !is_known(&mut tx, id).await? {
            tx.roll_back().await;
            return Ok(None);
        }
        let receipt_id = self.ids.uuid(now);
        let asked =
            Asked { id: receipt_id, contact_id: id, by: ErasureAsker::Operator, at: now, inbound_through: receipt_id };
        begin(&mut tx, &self.ids, &asked, None, actor).await?;
        tx.commit().await?;
        Ok(Some(receipt_id))
    }

    /// Erases the next batch. Two processes may do so at once: each batch is erased once.
    pub async fn erase_step(&self, receipt_id: Uuid) -> Result<ErasureStep, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let sql = format!(
            "SELECT contact_id, asked_at, inbound_through, stage, cursor_conversation, cursor_id, counts, receipt, done_at
             FROM erasures WHERE id = $1{}",
            tx.row_lock()
        );
        let row: Option<JobColumns> = on!(&mut tx, |connection, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(receipt_id).fetch_optional(connection).await?
        });
        let Some(row) = row else {
            tx.roll_back().await;
            return Ok(ErasureStep::Done(None));
        };
        let receipt = row.receipt.as_ref().map(|receipt| receipt.0.clone());
        let told = receipt.as_ref().map(|receipt| ConversationId(receipt.conversation_id));
        if row.done_at.is_some() {
            tx.roll_back().await;
            return Ok(ErasureStep::Done(told));
        }
        let mut job = row.job(receipt_id)?;
        let is_done = batches::erase(&mut tx, &mut job, ROWS_PER_STEP).await?;
        save(&mut tx, &job, is_done.then_some(now)).await?;
        if let (true, Some(receipt)) = (is_done, receipt) {
            write_receipt(&mut tx, &self.ids, &job, &receipt, now).await?;
        }
        tx.commit().await?;
        if !is_done {
            return Ok(ErasureStep::More);
        }
        tracing::info!(%receipt_id, contact_id = %job.contact_id, "a contact was forgotten");
        Ok(ErasureStep::Done(told))
    }

    /// Erasures that are not done, the oldest first, at most `limit`.
    pub async fn open_erasures(&self, limit: i64) -> Result<Vec<Uuid>, StoreError> {
        let rows: Vec<IdRow> = read!(&self.db, |pool, D| {
            sqlx::query_as("SELECT id FROM erasures WHERE done_at IS NULL ORDER BY id LIMIT $1")
                .bind(limit)
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// The erasure of that receipt.
    pub async fn erasure(&self, receipt_id: Uuid) -> Result<Option<ErasureView>, StoreError> {
        let row: Option<ViewColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as("SELECT id, contact_id, asked_by, asked_at, done_at, counts FROM erasures WHERE id = $1")
                .bind(receipt_id)
                .fetch_optional(pool)
                .await?
        });
        Ok(row.map(|row| ErasureView {
            receipt_id: row.id,
            contact_id: row.contact_id,
            asked_by: row.asked_by,
            asked_at: row.asked_at.0,
            done_at: row.done_at.map(|at| at.0),
            erased: row.counts.0,
        }))
    }
}

/// Begins to forget the person of a turn, in the transaction that ends it. The turn's id is the receipt: a turn asks once.
pub(super) async fn ask_by_person(
    tx: &mut Tx,
    ids: &Ids,
    turn: &FinishedTurn,
    wish: &ErasureWish,
) -> Result<(), StoreError> {
    let contact_id = consent::present(tx, turn.contact_id).await?;
    let asked = Asked {
        id: turn.id.0,
        contact_id,
        by: ErasureAsker::Person,
        at: turn.finished_at,
        inbound_through: wish.through.0,
    };
    let receipt =
        ReceiptTo { conversation_id: turn.conversation_id.0, to: wish.to.clone(), text: wish.receipt.clone() };
    begin(tx, ids, &asked, Some(&receipt), &Actor::Platform).await
}

/// Who asked to be forgotten and turns out to be `into` is forgotten there as well: it begins anew with what both said before.
pub(super) async fn follow_merge(tx: &mut Tx, from: ContactId, into: ContactId) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query(
            "UPDATE erasures SET contact_id = $2, stage = $3, cursor_conversation = $4, cursor_id = $4
             WHERE done_at IS NULL AND contact_id = $1",
        )
        .bind(from.0)
        .bind(into.0)
        .bind(batches::Stage::FIRST.as_str())
        .bind(Uuid::nil())
        .execute(connection)
        .await?;
    });
    Ok(())
}

struct Asked {
    id: Uuid,
    contact_id: ContactId,
    by: ErasureAsker,
    at: Timestamp,
    /// What came in after it is a new start.
    inbound_through: Uuid,
}

/// What must hold from this moment on: nobody goes on with what they had said, nothing that waits goes out, and the next message
/// is that of somebody new. Their words go in [`Store::erase_step`].
async fn begin(
    tx: &mut Tx,
    ids: &Ids,
    asked: &Asked,
    receipt: Option<&ReceiptTo>,
    actor: &Actor,
) -> Result<(), StoreError> {
    let conversations = conversations_of(tx, asked.contact_id).await?;
    let schedules = batches::erase_schedules(tx, asked.contact_id).await?;
    let counts = ErasureCounts { schedules, ..ErasureCounts::default() };
    on!(&mut *tx, |connection, D| {
        sqlx::query("UPDATE contacts SET name = NULL, username = NULL, zone = NULL WHERE id = $1 OR merged_into = $1")
            .bind(asked.contact_id.0)
            .execute(&mut *connection)
            .await?;
        for id in &conversations {
            // A turn under way is fenced: it knows what is to be forgotten.
            sqlx::query(
                "UPDATE conversations SET agent_id = NULL, mode = 'bot', mode_until = NULL, mode_set_by = NULL,
                     mode_since = NULL, mode_reason = NULL, question = NULL, lease_token = lease_token + 1, lease_until = NULL
                 WHERE id = $1",
            )
            .bind(id)
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "UPDATE inbound_messages SET state = 'noted'
                 WHERE state = 'pending' AND conversation_id = $1 AND id <= $2",
            )
            .bind(id)
            .bind(asked.inbound_through)
            .execute(&mut *connection)
            .await?;
            sqlx::query(
                "UPDATE outbound_messages SET state = 'cancelled', error = $1, updated_at = $2
                 WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state IN ('queued', 'held')
                   AND conversation_id = $3",
            )
            .bind(Json(erased_error()))
            .bind(Ts(asked.at))
            .bind(id)
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query(
            "INSERT INTO erasures (id, contact_id, asked_by, asked_at, inbound_through, stage, cursor_conversation, cursor_id,
                 counts, receipt)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
        )
        .bind(asked.id)
        .bind(asked.contact_id.0)
        .bind(asked.by.as_str())
        .bind(Ts(asked.at))
        .bind(asked.inbound_through)
        .bind(batches::Stage::FIRST.as_str())
        .bind(Uuid::nil())
        .bind(Json(counts))
        .bind(receipt.map(Json))
        .execute(&mut *connection)
        .await?;
    });
    for id in &conversations {
        alerts::clear(tx, AlertKind::HandoverRequested, &id.to_string(), asked.at).await?;
    }
    // Whoever is familiar keeps their name in memory only: the next message writes it down anew.
    familiar::note_change(tx, ids.uuid(asked.at)).await?;
    let what = json!({ "receipt_id": asked.id, "asked_by": asked.by });
    let entry = AuditEntry::new(AuditAction::ContactErased, asked.contact_id, None, Some(what));
    audit::record(tx, ids, actor, entry, asked.at).await
}

async fn is_known(tx: &mut Tx, id: ContactId) -> Result<bool, StoreError> {
    let row: Option<IdRow> = on!(tx, |connection, D| {
        sqlx::query_as("SELECT id FROM contacts WHERE id = $1").bind(id.0).fetch_optional(connection).await?
    });
    Ok(row.is_some())
}

/// An erasure under way.
struct Job {
    receipt_id: Uuid,
    contact_id: ContactId,
    asked_at: Timestamp,
    inbound_through: Uuid,
    stage: batches::Stage,
    /// What is erased in this stage: everything up to here.
    cursor: (Uuid, Uuid),
    counts: ErasureCounts,
}

async fn save(tx: &mut Tx, job: &Job, done_at: Option<Timestamp>) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query(
            "UPDATE erasures SET stage = $1, cursor_conversation = $2, cursor_id = $3, counts = $4, done_at = $5 WHERE id = $6",
        )
        .bind(job.stage.as_str())
        .bind(job.cursor.0)
        .bind(job.cursor.1)
        .bind(Json(job.counts))
        .bind(done_at.map(Ts))
        .bind(job.receipt_id)
        .execute(connection)
        .await?;
    });
    Ok(())
}

/// Queues the receipt. It goes out although the person may want nothing from us: they have just asked for it.
async fn write_receipt(
    tx: &mut Tx,
    ids: &Ids,
    job: &Job,
    receipt: &ReceiptTo,
    now: Timestamp,
) -> Result<(), StoreError> {
    let messages = job.counts.inbound + job.counts.outbound;
    let text = receipt
        .text
        .replace("{receipt}", &job.receipt_id.to_string())
        .replace("{time}", &now.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .replace("{messages}", &messages.to_string());
    let body = MessageBody::Text { text };
    on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO outbound_messages
                 (conversation_id, id, idempotency_key, phone_number_id, to_kind, to_value, kind, body, ignores_opt_out, state,
                  attempts, resends, created_at, updated_at)
             SELECT $1, $2, $3, phone_number_id, $4, $5, $6, $7, $8, 'queued', 0, 0, $9, $9
             FROM conversations WHERE id = $1
             ON CONFLICT (idempotency_key) DO NOTHING",
        )
        .bind(receipt.conversation_id)
        .bind(ids.outbound(now).0)
        .bind(format!("receipt:{}", job.receipt_id))
        .bind(receipt.to.kind.as_str())
        .bind(&receipt.to.value)
        .bind(body.kind())
        .bind(Json(&body))
        .bind(true)
        .bind(Ts(now))
        .execute(connection)
        .await?;
    });
    Ok(())
}

row! { struct IdRow { id: Uuid } }
row! {
    struct JobColumns {
        contact_id: Uuid,
        asked_at: Ts,
        inbound_through: Uuid,
        stage: String,
        cursor_conversation: Uuid,
        cursor_id: Uuid,
        counts: Json<ErasureCounts>,
        receipt: Option<Json<ReceiptTo>>,
        done_at: Option<Ts>,
    }
}
row! {
    struct ViewColumns {
        id: Uuid,
        contact_id: Uuid,
        asked_by: String,
        asked_at: Ts,
        done_at: Option<Ts>,
        counts: Json<ErasureCounts>,
    }
}

impl JobColumns {
    fn job(self, receipt_id: Uuid) -> Result<Job, StoreError> {
        Ok(Job {
            receipt_id,
            contact_id: ContactId(self.contact_id),
            asked_at: self.asked_at.0,
            inbound_through: self.inbound_through,
            stage: batches::Stage::parse(&self.stage)
                .ok_or_else(|| StoreError::unreadable("erasure stage", &self.stage))?,
            cursor: (self.cursor_conversation, self.cursor_id),
            counts: self.counts.0,
        })
    }
}
