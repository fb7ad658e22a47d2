//! Schedules as the database keeps them, and what turns do with those of a person.

use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::db::{Lenient, Ts, Tx, on, read, row};
use super::error::StoreError;
use crate::domain::agent::AgentId;
use crate::domain::schedule::{
    MissedPolicy, NewSchedule, REMINDERS_HAPPENED_MAX, REMINDERS_PER_CONTACT_MAX, Recurrence, Reminders,
    SCHEDULES_PER_CONTACT_MAX, Schedule, ScheduleAction, ScheduleMaker, ScheduleOutcome, ScheduleState, Timing,
};
use crate::domain::turn::FinishedTurn;
use crate::ids::{ContactId, ScheduleId};

/// All that a [`ScheduleColumns`] is read from.
pub(super) const COLUMNS: &str =
    "id, name, number, contact_id, phone_number_id, agent_id, maker, rule_id, recurrence, zone,
    starts_at, ends_at, count_max, jitter_seconds, missed, action, state, next_due_at, last_due_at, last_outcome, fired,
    created_at, updated_at";

impl Store {
    /// The schedules that a person made for themselves.
    pub async fn reminders(&self, contact_id: ContactId) -> Result<Reminders, StoreError> {
        let waiting = format!(
            "SELECT {COLUMNS} FROM schedules
             WHERE next_due_at IS NOT NULL AND contact_id =
                 (SELECT coalesce(merged_into, id) FROM contacts WHERE id = $1) AND maker = 'person'
             ORDER BY next_due_at, id LIMIT {REMINDERS_PER_CONTACT_MAX}"
        );
        let happened = format!(
            "SELECT {COLUMNS} FROM schedules
             WHERE last_due_at IS NOT NULL AND contact_id =
                 (SELECT coalesce(merged_into, id) FROM contacts WHERE id = $1) AND maker = 'person'
                 AND state <> 'cancelled'
             ORDER BY last_due_at DESC, id DESC LIMIT {REMINDERS_HAPPENED_MAX}"
        );
        let waiting: Vec<ScheduleColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(waiting)).bind(contact_id.0).fetch_all(pool).await?
        });
        let happened: Vec<ScheduleColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(sqlx::AssertSqlSafe(happened)).bind(contact_id.0).fetch_all(pool).await?
        });
        Ok(Reminders { waiting: read_all(waiting)?, happened: read_all(happened)? })
    }
}

row! {
    pub(super) struct ScheduleColumns {
        id: Uuid,
        name: Option<String>,
        number: Option<i64>,
        contact_id: Uuid,
        phone_number_id: String,
        agent_id: String,
        maker: String,
        rule_id: Option<String>,
        recurrence: Lenient<Json<Recurrence>>,
        zone: String,
        starts_at: Ts,
        ends_at: Option<Ts>,
        count_max: Option<i64>,
        jitter_seconds: i64,
        missed: Lenient<Json<MissedPolicy>>,
        action: Lenient<Json<ScheduleAction>>,
        state: String,
        next_due_at: Option<Ts>,
        last_due_at: Option<Ts>,
        last_outcome: Lenient<Option<Json<ScheduleOutcome>>>,
        fired: i64,
        created_at: Ts,
        updated_at: Ts,
    }
}

impl ScheduleColumns {
    pub(super) fn read(self) -> Result<Schedule, StoreError> {
        let id = self.id;
        self.read_leniently().map_err(|detail| StoreError::Unreadable(format!("schedule {id}: {detail}")))
    }

    /// The schedule, or what about it this program cannot read.
    pub(super) fn read_leniently(self) -> Result<Schedule, String> {
        let unknown = |what: &str, word: &str| format!("its {what} is {word:?}");
        Ok(Schedule {
            id: ScheduleId(self.id),
            name: self.name,
            number: self.number,
            contact_id: ContactId(self.contact_id),
            phone_number_id: self.phone_number_id,
            agent_id: AgentId(self.agent_id),
            maker: ScheduleMaker::parse(&self.maker).ok_or_else(|| unknown("maker", &self.maker))?,
            rule_id: self.rule_id,
            timing: Timing {
                recurrence: self.recurrence.0?.0,
                zone: self.zone,
                starts_at: self.starts_at.0,
                ends_at: self.ends_at.map(|at| at.0),
                count: self.count_max,
                jitter_seconds: self.jitter_seconds,
                missed: self.missed.0?.0,
            },
            action: self.action.0?.0,
            state: ScheduleState::parse(&self.state).ok_or_else(|| unknown("state", &self.state))?,
            next_due_at: self.next_due_at.map(|at| at.0),
            last_due_at: self.last_due_at.map(|at| at.0),
            last_outcome: self.last_outcome.0?.map(|outcome| outcome.0),
            fired: self.fired,
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
        })
    }
}

pub(super) fn read_all(rows: Vec<ScheduleColumns>) -> Result<Vec<Schedule>, StoreError> {
    rows.into_iter().map(ScheduleColumns::read).collect()
}

/// Whoever the person of the turn is by now: `$1` is the contact of the turn.
const PERSON: &str = "(SELECT coalesce(merged_into, id) FROM contacts WHERE id = $1)";

/// One that is there already stays as it is. At the bound of a person's schedules nothing is made: the agent, which sees them, says
/// so before.
pub(super) async fn create_in_turn(tx: &mut Tx, turn: &FinishedTurn, new: &NewSchedule) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO schedules (id, contact_id, phone_number_id, agent_id, maker, recurrence, zone, starts_at, ends_at,
             count_max, jitter_seconds, missed, action, state, next_due_at, next_run_at, fired, created_at, updated_at, number)
         SELECT $3, p.id, c.phone_number_id, $4, 'person', $5, $6, $7, $8, $9, $10, $11, $12, 'active', $13, $13, 0, $14, $14, $15
         FROM conversations c CROSS JOIN contacts p
         WHERE c.id = $2 AND p.id = {PERSON}
           AND (SELECT count(*) FROM schedules s WHERE s.contact_id = p.id AND s.next_due_at IS NOT NULL)
               < {SCHEDULES_PER_CONTACT_MAX}
         ON CONFLICT (id) DO NOTHING"
    );
    let timing = &new.timing;
    on!(&mut *tx, |connection, D| {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(turn.contact_id.0)
            .bind(turn.conversation_id.0)
            .bind(new.id.0)
            .bind(new.agent_id.as_str())
            .bind(Json(&timing.recurrence))
            .bind(&timing.zone)
            .bind(Ts(timing.starts_at))
            .bind(timing.ends_at.map(Ts))
            .bind(timing.count)
            .bind(timing.jitter_seconds)
            .bind(Json(timing.missed))
            .bind(Json(&new.action))
            .bind(Ts(new.first_due_at))
            .bind(Ts(turn.finished_at))
            .bind(new.number)
            .execute(connection)
            .await?;
    });
    Ok(())
}

pub(super) async fn set_zone_in_turn(tx: &mut Tx, turn: &FinishedTurn, zone: &str) -> Result<(), StoreError> {
    let sql = format!("UPDATE contacts SET zone = $2 WHERE id = {PERSON}");
    on!(&mut *tx, |connection, D| {
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(turn.contact_id.0).bind(zone).execute(connection).await?;
    });
    Ok(())
}

pub(super) async fn cancel_in_turn(tx: &mut Tx, turn: &FinishedTurn, id: ScheduleId) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE schedules SET state = 'cancelled', next_due_at = NULL, next_run_at = NULL, updated_at = $3
         WHERE id = $2 AND contact_id = {PERSON} AND maker = 'person' AND state IN ('active', 'paused')"
    );
    on!(&mut *tx, |connection, D| {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(turn.contact_id.0)
            .bind(id.0)
            .bind(Ts(turn.finished_at))
            .execute(connection)
            .await?;
    });
    Ok(())
}

/// The time that is put off does not count twice.
pub(super) async fn snooze_in_turn(
    tx: &mut Tx,
    turn: &FinishedTurn,
    id: ScheduleId,
    until: Timestamp,
) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE schedules SET state = 'active', next_due_at = $4, next_run_at = $4, updated_at = $3,
             fired = CASE WHEN fired > 0 THEN fired - 1 ELSE 0 END
         WHERE id = $2 AND contact_id = {PERSON} AND maker = 'person' AND state IN ('active', 'finished')"
    );
    on!(&mut *tx, |connection, D| {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(turn.contact_id.0)
            .bind(id.0)
            .bind(Ts(turn.finished_at))
            .bind(Ts(until))
            .execute(connection)
            .await?;
    });
    Ok(())
}
