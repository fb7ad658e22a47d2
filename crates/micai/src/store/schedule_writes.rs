//! What operators do with schedules: make, change, pause, run, delete. Each with its entry in the audit log, in one commit.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::audit;
use super::db::{Ts, Tx, on, row};
use super::due::{addresses, places};
use super::due_batch::Batch;
use super::error::StoreError;
use super::identity::IdentityBook;
use super::people::{load_people, write_people};
use super::schedules::{COLUMNS, ScheduleColumns};
use crate::domain::agent::AgentId;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::contact::Person;
use crate::domain::conversation::ConversationMode;
use crate::domain::schedule::{
    SCHEDULES_PER_CONTACT_MAX, Schedule, ScheduleAction, ScheduleMaker, ScheduleOutcome, ScheduleState, Timing, run_key,
};
use crate::ids::{ContactId, ConversationId, ScheduleId};

/// What a schedule is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveSchedule {
    /// The operator's own id for it.
    pub name: Option<String>,
    /// Whom it is for; made if they are not there.
    pub person: Person,
    /// Our number on which their conversation stands if they have none yet.
    pub phone_number_id: String,
    /// In whose name it speaks; made if it is not there.
    pub agent_id: AgentId,
    /// The rule that it belongs to.
    pub rule_id: Option<String>,
    /// When.
    pub timing: Timing,
    /// What.
    pub action: ScheduleAction,
    /// Whether it waits for its time; else it is paused.
    pub enabled: bool,
}

/// When a schedule is due next, from how it stood before and the present.
pub type DueNext<'a> = &'a (dyn Fn(Option<&Schedule>, Timestamp) -> Option<Timestamp> + Sync);

/// Which schedule is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleKey<'a> {
    /// By its id.
    Id(ScheduleId),
    /// By the operator's own id.
    Name(&'a str),
    /// By the rule that it belongs to.
    Rule(&'a str),
}

/// What became of the wish to save a schedule.
#[derive(Debug, Clone, PartialEq)]
pub enum SavedSchedule {
    /// It is new.
    Created(Box<Schedule>),
    /// It was there and is changed.
    Replaced(Box<Schedule>),
    /// There is none of that id.
    NotFound,
    /// The person has as many as anybody may have.
    NoRoom,
}

/// What became of the wish to run a schedule at once.
#[derive(Debug, Clone, PartialEq)]
pub enum RunSchedule {
    /// It was run, or was by the same key before.
    Ran(Box<ScheduleOutcome>),
    /// There is none of that id.
    NotFound,
}

impl Store {
    /// Saves a schedule: under `key`, where one is named that must be there; else under its own name, where it has one. `due`
    /// says when it is due next, from how it stood before and the present.
    pub async fn save_schedule(
        &self,
        new: &SaveSchedule,
        key: Option<ScheduleKey<'_>>,
        due: DueNext<'_>,
        actor: &Actor,
    ) -> Result<SavedSchedule, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let before = match (key, &new.name) {
            (Some(key), _) => match locked(&mut tx, key).await? {
                None => {
                    tx.roll_back().await;
                    return Ok(SavedSchedule::NotFound);
                }
                before => before,
            },
            (None, Some(name)) => locked(&mut tx, ScheduleKey::Name(name)).await?,
            (None, None) => None,
        };
        let Some(saved) = self.save_in(&mut tx, new, before.as_ref(), due, actor, now).await? else {
            tx.roll_back().await;
            return Ok(SavedSchedule::NoRoom);
        };
        tx.commit().await?;
        self.schedule_changes.notify_one();
        Ok(match before {
            Some(_) => SavedSchedule::Replaced(Box::new(saved)),
            None => SavedSchedule::Created(Box::new(saved)),
        })
    }

    /// Saves a schedule as part of a transaction. `None` when its person has as many as anybody may have.
    pub(super) async fn save_in(
        &self,
        tx: &mut Tx,
        new: &SaveSchedule,
        before: Option<&Schedule>,
        due: DueNext<'_>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Schedule>, StoreError> {
        self.make_if_missing(tx, &new.agent_id, actor, now).await?;
        let (contact_id, phone_number_id) = self.place_of(tx, new, now).await?;
        let next_due_at = due(before, now);
        if before.is_none() && waiting(tx, contact_id).await? >= SCHEDULES_PER_CONTACT_MAX {
            return Ok(None);
        }
        let state = match (next_due_at, new.enabled) {
            (None, _) => ScheduleState::Finished,
            (Some(_), true) => ScheduleState::Active,
            (Some(_), false) => ScheduleState::Paused,
        };
        let schedule = Schedule {
            id: before.map_or_else(|| self.ids.schedule(now), |before| before.id),
            name: new.name.clone().or_else(|| before.and_then(|before| before.name.clone())),
            number: before.and_then(|before| before.number),
            contact_id,
            phone_number_id,
            agent_id: new.agent_id.clone(),
            // A person's own stays theirs, whoever mends it.
            maker: match (&new.rule_id, before) {
                (Some(_), _) => ScheduleMaker::Rule,
                (None, Some(before)) if before.maker == ScheduleMaker::Person => ScheduleMaker::Person,
                (None, _) => ScheduleMaker::Operator,
            },
            rule_id: new.rule_id.clone(),
            timing: new.timing.clone(),
            action: new.action.clone(),
            state,
            next_due_at,
            last_due_at: before.and_then(|before| before.last_due_at),
            last_outcome: before.and_then(|before| before.last_outcome.clone()),
            // Another timing begins to count anew.
            fired: before.filter(|before| before.timing == new.timing).map_or(0, |before| before.fired),
            created_at: before.map_or(now, |before| before.created_at),
            updated_at: now,
        };
        upsert(tx, &schedule).await?;
        let entry =
            AuditEntry::new(AuditAction::ScheduleSaved, schedule.id, before.map(audited), Some(audited(&schedule)));
        audit::record(tx, &self.ids, actor, entry, now).await?;
        Ok(Some(schedule))
    }

    /// Whom it is for, and on which of our numbers their conversation stands: the one where they wrote last.
    async fn place_of(
        &self,
        tx: &mut Tx,
        new: &SaveSchedule,
        now: Timestamp,
    ) -> Result<(ContactId, String), StoreError> {
        let known = load_people(tx, &new.person.addresses()).await?;
        let mut book = IdentityBook::new(&self.ids, now, known.identities, known.names);
        let contact_id = book.resolve(&new.person);
        write_people(tx, &self.ids, &book.into_writes(), now).await?;
        let row: Option<NumberRow> = on!(&mut *tx, |connection, D| {
            sqlx::query_as(
                "SELECT phone_number_id FROM conversations WHERE contact_id = $1
                 ORDER BY coalesce(last_inbound_at, created_at) DESC, id DESC LIMIT 1",
            )
            .bind(contact_id.0)
            .fetch_optional(connection)
            .await?
        });
        if let Some(row) = row {
            return Ok((contact_id, row.phone_number_id));
        }
        on!(&mut *tx, |connection, D| {
            sqlx::query(
                "INSERT INTO conversations (id, contact_id, phone_number_id, mode, lease_token, created_at)
                 VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (contact_id, phone_number_id) DO NOTHING",
            )
            .bind(self.ids.uuid(now))
            .bind(contact_id.0)
            .bind(&new.phone_number_id)
            .bind(ConversationMode::Bot.as_str())
            .bind(Ts(now))
            .execute(connection)
            .await?;
        });
        Ok((contact_id, new.phone_number_id.clone()))
    }

    /// Pauses a schedule, or lets it go on with what `due` says comes next: what came due meanwhile is left out. `None` when there is
    /// none of that id.
    pub async fn set_schedule_enabled(
        &self,
        key: ScheduleKey<'_>,
        enabled: bool,
        due: impl Fn(&Schedule, Timestamp) -> Option<Timestamp>,
        actor: &Actor,
    ) -> Result<Option<Schedule>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = locked(&mut tx, key).await? else {
            tx.roll_back().await;
            return Ok(None);
        };
        let mut schedule = before.clone();
        match (before.state, enabled) {
            (ScheduleState::Active, false) => schedule.state = ScheduleState::Paused,
            (ScheduleState::Paused, true) => {
                schedule.next_due_at = due(&before, now);
                schedule.state =
                    if schedule.next_due_at.is_some() { ScheduleState::Active } else { ScheduleState::Finished };
            }
            // It stands as asked, or has come to its end.
            _ => {
                tx.roll_back().await;
                return Ok(Some(before));
            }
        }
        schedule.updated_at = now;
        upsert(&mut tx, &schedule).await?;
        let action = if enabled { AuditAction::ScheduleResumed } else { AuditAction::SchedulePaused };
        let stands = |schedule: &Schedule| json!({ "state": schedule.state, "next_due_at": schedule.next_due_at });
        let entry = AuditEntry::new(action, schedule.id, Some(stands(&before)), Some(stands(&schedule)));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        self.schedule_changes.notify_one();
        Ok(Some(schedule))
    }

    /// Deletes a schedule; `false` when there is none of that id.
    pub async fn delete_schedule(&self, key: ScheduleKey<'_>, actor: &Actor) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let is_gone = self.delete_in(&mut tx, key, actor, now).await?;
        tx.commit().await?;
        Ok(is_gone)
    }

    pub(super) async fn delete_in(
        &self,
        tx: &mut Tx,
        key: ScheduleKey<'_>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(before) = locked(tx, key).await? else { return Ok(false) };
        on!(&mut *tx, |connection, D| {
            sqlx::query("DELETE FROM schedules WHERE id = $1").bind(before.id.0).execute(connection).await?;
        });
        let entry = AuditEntry::new(AuditAction::ScheduleDeleted, before.id, Some(audited(&before)), None);
        audit::record(tx, &self.ids, actor, entry, now).await?;
        Ok(true)
    }

    /// Says now what a schedule says when it is due, once for each `run`. Its calendar and its count stay as they are.
    pub async fn run_schedule(
        &self,
        key: ScheduleKey<'_>,
        run: Uuid,
        actor: &Actor,
    ) -> Result<RunSchedule, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(schedule) = locked(&mut tx, key).await? else {
            tx.roll_back().await;
            return Ok(RunSchedule::NotFound);
        };
        let run_key = run_key(schedule.id, run);
        if let Some(known) = ran_before(&mut tx, &schedule, &run_key).await? {
            tx.roll_back().await;
            return Ok(RunSchedule::Ran(Box::new(known)));
        }
        let id = schedule.id;
        let rows = places(&mut tx, vec![(id.0, Ok(schedule))]).await?;
        let addresses = addresses(&mut tx, &rows).await?;
        let mut batch = Batch::new();
        let mut outcome = None;
        for row in rows {
            outcome = batch.run(&self.ids, row, &addresses, &run_key, now)?;
        }
        let Some(outcome) = outcome else {
            tx.roll_back().await;
            return Ok(RunSchedule::NotFound);
        };
        batch.write(&mut tx).await?;
        let said = serde_json::to_value(&outcome).map_err(|error| StoreError::Refused(error.to_string()))?;
        let entry = AuditEntry::new(AuditAction::ScheduleRun, id, None, Some(said));
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        Ok(RunSchedule::Ran(Box::new(outcome)))
    }
}

row! { struct NumberRow { phone_number_id: String } }
row! { struct CountRow { count: i64 } }
row! { struct RanRow { id: Uuid, conversation_id: Uuid } }

/// A schedule as it stands, kept from others until the transaction ends.
pub(super) async fn locked(tx: &mut Tx, key: ScheduleKey<'_>) -> Result<Option<Schedule>, StoreError> {
    let (column, id, text) = match key {
        ScheduleKey::Id(id) => ("id = $1 AND $2 IS NULL", Some(id.0), None),
        ScheduleKey::Name(name) => ("$1 IS NULL AND name = $2", None, Some(name)),
        ScheduleKey::Rule(rule) => ("$1 IS NULL AND rule_id = $2", None, Some(rule)),
    };
    let sql = format!("SELECT {COLUMNS} FROM schedules WHERE {column} LIMIT 1{}", tx.row_lock());
    let row: Option<ScheduleColumns> = on!(tx, |connection, D| {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id).bind(text).fetch_optional(connection).await?
    });
    row.map(ScheduleColumns::read).transpose()
}

async fn waiting(tx: &mut Tx, contact_id: ContactId) -> Result<i64, StoreError> {
    let row: CountRow = on!(tx, |connection, D| {
        sqlx::query_as("SELECT count(*) AS count FROM schedules WHERE contact_id = $1 AND next_due_at IS NOT NULL")
            .bind(contact_id.0)
            .fetch_one(connection)
            .await?
    });
    Ok(row.count)
}

async fn ran_before(tx: &mut Tx, schedule: &Schedule, key: &str) -> Result<Option<ScheduleOutcome>, StoreError> {
    let sql = match schedule.action {
        ScheduleAction::AskAgent { .. } => {
            "SELECT id, conversation_id FROM inbound_messages WHERE phone_number_id = $1 AND provider_message_id = $2"
        }
        ScheduleAction::Text { .. } | ScheduleAction::Template { .. } => {
            "SELECT id, conversation_id FROM outbound_messages WHERE idempotency_key = $2 AND $1 IS NOT NULL"
        }
    };
    let row: Option<RanRow> = on!(tx, |connection, D| {
        sqlx::query_as(sql).bind(&schedule.phone_number_id).bind(key).fetch_optional(connection).await?
    });
    Ok(row.map(|row| ScheduleOutcome::of(&schedule.action, ConversationId(row.conversation_id), row.id, 0)))
}

fn audited(schedule: &Schedule) -> Value {
    json!({
        "name": schedule.name,
        "contact_id": schedule.contact_id,
        "agent_id": schedule.agent_id,
        "maker": schedule.maker,
        "rule_id": schedule.rule_id,
        "timing": schedule.timing,
        "action": schedule.action,
        "state": schedule.state,
        "next_due_at": schedule.next_due_at,
    })
}

async fn upsert(tx: &mut Tx, schedule: &Schedule) -> Result<(), StoreError> {
    let timing = &schedule.timing;
    let next_run_at = match (schedule.state, schedule.next_due_at) {
        (ScheduleState::Active, Some(due_at)) => Some(Ts(Schedule::run_at(schedule.id, timing, due_at))),
        _ => None,
    };
    on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO schedules (id, name, contact_id, phone_number_id, agent_id, maker, rule_id, recurrence, zone,
                 starts_at, ends_at, count_max, jitter_seconds, missed, action, state, next_due_at, next_run_at, last_due_at,
                 last_outcome, fired, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, contact_id = excluded.contact_id,
                 phone_number_id = excluded.phone_number_id, agent_id = excluded.agent_id, maker = excluded.maker,
                 rule_id = excluded.rule_id, recurrence = excluded.recurrence, zone = excluded.zone,
                 starts_at = excluded.starts_at, ends_at = excluded.ends_at, count_max = excluded.count_max,
                 jitter_seconds = excluded.jitter_seconds, missed = excluded.missed, action = excluded.action,
                 state = excluded.state, next_due_at = excluded.next_due_at, next_run_at = excluded.next_run_at,
                 last_due_at = excluded.last_due_at, last_outcome = excluded.last_outcome, fired = excluded.fired,
                 updated_at = excluded.updated_at",
        )
        .bind(schedule.id.0)
        .bind(&schedule.name)
        .bind(schedule.contact_id.0)
        .bind(&schedule.phone_number_id)
        .bind(schedule.agent_id.as_str())
        .bind(schedule.maker.as_str())
        .bind(&schedule.rule_id)
        .bind(Json(&timing.recurrence))
        .bind(&timing.zone)
        .bind(Ts(timing.starts_at))
        .bind(timing.ends_at.map(Ts))
        .bind(timing.count)
        .bind(timing.jitter_seconds)
        .bind(Json(timing.missed))
        .bind(Json(&schedule.action))
        .bind(schedule.state.as_str())
        .bind(schedule.next_due_at.map(Ts))
        .bind(next_run_at)
        .bind(schedule.last_due_at.map(Ts))
        .bind(schedule.last_outcome.as_ref().map(Json))
        .bind(schedule.fired)
        .bind(Ts(schedule.created_at))
        .bind(Ts(schedule.updated_at))
        .execute(connection)
        .await?;
    });
    Ok(())
}
