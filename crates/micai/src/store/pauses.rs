//! Pauses: kept in the database for all processes, and in memory by whoever sends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::Store;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::script::{Kind, Rows, Script};
use super::{alerts, audit};
use crate::domain::alert::{NewAlert, Severity};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::pause::{PAUSES_MAX, Pause, PauseCause, PauseKey, PauseScope};
use crate::ids::{ConversationId, Ids};

/// How old the pauses in memory may be: for so long another process's pause may go unnoticed.
const SNAPSHOT_SECONDS_MAX: i64 = 2;
/// Within this time each process knows what has changed about a template.
const TEMPLATES_KNOWN_SECONDS: i64 = 3;
/// Held sends that one transaction lets go.
const RELEASE_ROWS_MAX: i64 = 500;

/// The pauses in force, as a sender needs them.
#[derive(Debug, Clone, Default)]
pub struct PauseSnapshot(HashMap<PauseKey, Pause>);

impl PauseSnapshot {
    /// The first pause in force among `keys`.
    pub fn first(&self, keys: impl IntoIterator<Item = PauseKey>, now: Timestamp) -> Option<&Pause> {
        if self.0.is_empty() {
            return None;
        }
        keys.into_iter().find_map(|key| self.0.get(&key).filter(|pause| pause.is_on(now)))
    }
}

impl FromIterator<Pause> for PauseSnapshot {
    fn from_iter<I: IntoIterator<Item = Pause>>(pauses: I) -> Self {
        Self(pauses.into_iter().map(|pause| (pause.key.clone(), pause)).collect())
    }
}

/// A pause as people see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PauseView {
    /// `account`, `number`, `account_templates`, `template` or `country`.
    pub scope: String,
    /// The number, template or country; empty where there is only one.
    pub subject: String,
    /// What set it, which decides what lifts it: `person`, `refusal` or `news` (of the account or a number).
    pub cause: String,
    /// WhatsApp's code that caused it, where there is one.
    pub code: Option<i64>,
    /// What happened and what to do.
    pub sentence: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; null: until somebody resumes.
    pub until: Option<Timestamp>,
    /// Sends that wait for its end; counted up to 10,000.
    pub held: i64,
}

/// The pauses in memory.
#[derive(Debug, Default)]
pub(super) struct PauseCache(Mutex<Option<(Timestamp, Arc<PauseSnapshot>)>>);

impl PauseCache {
    fn held(&self) -> std::sync::MutexGuard<'_, Option<(Timestamp, Arc<PauseSnapshot>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self) {
        *self.held() = None;
    }
}

impl Store {
    /// What is paused now, at most two seconds old.
    pub async fn pause_snapshot(&self) -> Result<Arc<PauseSnapshot>, StoreError> {
        let now = self.clock.now();
        if let Some((at, snapshot)) = &*self.pause_cache.held()
            && (*at..*at + SignedDuration::from_secs(SNAPSHOT_SECONDS_MAX)).contains(&now)
        {
            return Ok(snapshot.clone());
        }
        let pauses = self.load_pauses().await?;
        let snapshot: Arc<PauseSnapshot> = Arc::new(pauses.into_iter().filter_map(|row| row.pause()).collect());
        *self.pause_cache.held() = Some((now, snapshot.clone()));
        Ok(snapshot)
    }

    /// Pauses what WhatsApp refuses to send, or what a person does not want sent; with an alert where it was WhatsApp. A pause
    /// of the same thing is replaced, and keeps its beginning. `false` when there are [`PAUSES_MAX`] already.
    pub async fn set_pause(&self, pause: &Pause, actor: &Actor) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = write(&mut tx, &self.ids, pause, now).await? else {
            tx.roll_back().await;
            return Ok(false);
        };
        if *actor != Actor::Platform {
            let before = before.map(|one| one.state());
            let entry = AuditEntry::new(AuditAction::PauseSet, &pause.key, before, Some(state(pause)));
            audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        }
        tx.commit().await?;
        self.pause_cache.forget();
        Ok(true)
    }

    /// Ends a pause. What is held for it is let go by [`Store::release_pause_holds`]. `false` when there is none.
    pub async fn resume(&self, key: &PauseKey, actor: &Actor) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let Some(before) = load_pause(&mut tx, key).await? else {
            tx.roll_back().await;
            return Ok(false);
        };
        end_pause(&mut tx, key, before.code, now).await?;
        let entry = AuditEntry::new(AuditAction::PauseResumed, key, Some(before.state()), None);
        audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        tx.commit().await?;
        self.pause_cache.forget();
        Ok(true)
    }

    /// Every pause, by scope and subject, with how much waits for it.
    pub async fn pauses(&self) -> Result<Vec<PauseView>, StoreError> {
        let mut views = Vec::new();
        for row in self.load_pauses().await? {
            let held: i64 = read!(&self.db, |pool, D| {
                sqlx::query_scalar(
                    // What was cancelled meanwhile waits no longer, and is struck off at the pause's end.
                    "SELECT count(*) FROM (SELECT 1 FROM pause_holds w CROSS JOIN outbound_messages o
                         WHERE w.scope = $1 AND w.subject = $2 AND o.conversation_id = w.conversation_id
                           AND o.id = w.outbound_id AND coalesce(o.state, '') = 'held' LIMIT 10000) h",
                )
                .bind(&row.scope)
                .bind(&row.subject)
                .fetch_one(pool)
                .await?
            });
            views.push(PauseView {
                scope: row.scope,
                subject: row.subject,
                cause: row.cause,
                code: row.code,
                sentence: row.sentence,
                since: row.since.0,
                until: row.until.map(|until| until.0),
                held,
            });
        }
        Ok(views)
    }

    /// Ends pauses whose time is over, and lets go what is held for a pause that is no more: at most some hundred sends of
    /// each at a time, the oldest first. Gives their conversations, and whether there is more to let go.
    pub async fn release_pause_holds(&self) -> Result<(Vec<ConversationId>, bool), StoreError> {
        let now = self.clock.now();
        let mut ended = false;
        for row in self.load_pauses().await? {
            let Some(pause) = row.pause().filter(|pause| !pause.is_on(now)) else { continue };
            let mut tx = self.db.begin().await?;
            end_pause(&mut tx, &pause.key, pause.code, now).await?;
            tx.commit().await?;
            ended = true;
        }
        if ended {
            self.pause_cache.forget();
        }
        let subjects: Vec<SubjectRow> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT DISTINCT scope, subject FROM pause_holds
                 WHERE (SELECT 1 FROM pauses p WHERE p.scope = pause_holds.scope AND p.subject = pause_holds.subject) IS NULL
                 LIMIT 100",
            )
            .fetch_all(pool)
            .await?
        });
        let (mut released, mut more) = (Vec::new(), subjects.len() == 100);
        for subject in subjects {
            let mut tx = self.db.begin().await?;
            let holds = first_holds(&mut tx, &subject).await?;
            more |= i64::try_from(holds.len()).unwrap_or(i64::MAX) == RELEASE_ROWS_MAX;
            released.extend(release(&mut tx, &subject, &holds, None, now).await?);
            tx.commit().await?;
        }
        released.sort_unstable();
        released.dedup();
        Ok((released, more))
    }

    async fn load_pauses(&self) -> Result<Vec<PauseRow>, StoreError> {
        Ok(read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT scope, subject, cause, code, sentence, since, until FROM pauses ORDER BY scope, subject LIMIT $1",
            )
            .bind(i64::try_from(PAUSES_MAX).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?
        }))
    }
}

row! {
    pub(super) struct PauseRow {
        scope: String,
        subject: String,
        cause: String,
        code: Option<i64>,
        sentence: String,
        since: Ts,
        until: Option<Ts>,
    }
}
row! { struct SubjectRow { scope: String, subject: String } }
row! { struct HoldRow { outbound_id: Uuid, conversation_id: Uuid } }

impl PauseRow {
    fn pause(&self) -> Option<Pause> {
        Some(Pause {
            key: PauseKey { scope: PauseScope::parse(&self.scope)?, subject: self.subject.clone() },
            cause: self.cause(),
            code: self.code,
            sentence: self.sentence.clone(),
            since: self.since.0,
            until: self.until.map(|until| until.0),
        })
    }

    /// What set it; for a word of a newer version, as if a person had: only people lift it.
    pub(super) fn cause(&self) -> PauseCause {
        PauseCause::parse(&self.cause).unwrap_or(PauseCause::Person)
    }

    /// WhatsApp's code that caused it.
    pub(super) fn code(&self) -> Option<i64> {
        self.code
    }

    fn state(&self) -> serde_json::Value {
        serde_json::json!({ "sentence": self.sentence, "code": self.code, "until": self.until.map(|until| until.0) })
    }
}

fn state(pause: &Pause) -> serde_json::Value {
    serde_json::json!({ "sentence": pause.sentence, "code": pause.code, "until": pause.until })
}

/// Writes a pause as part of a transaction, with an alert unless a person sets it, and asks for the list of templates where
/// WhatsApp refused one. Gives what was paused before; none where there is no room. What
/// people or news paused stays theirs to lift when it is refused, too.
pub(super) async fn write(
    tx: &mut Tx,
    ids: &Ids,
    pause: &Pause,
    now: Timestamp,
) -> Result<Option<Option<PauseRow>>, StoreError> {
    let before = load_pause(tx, &pause.key).await?;
    if before.is_none() && count_pauses(tx).await? >= i64::try_from(PAUSES_MAX).unwrap_or(i64::MAX) {
        return Ok(None);
    }
    on!(&mut *tx, |connection, D| {
        sqlx::query(
            "INSERT INTO pauses (scope, subject, cause, code, sentence, since, until) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (scope, subject) DO UPDATE SET code = excluded.code, sentence = excluded.sentence,
                 until = excluded.until,
                 cause = CASE WHEN excluded.cause = 'refusal' THEN pauses.cause ELSE excluded.cause END",
        )
        .bind(pause.key.scope.as_str())
        .bind(&pause.key.subject)
        .bind(pause.cause.as_str())
        .bind(pause.code)
        .bind(&pause.sentence)
        .bind(Ts(pause.since))
        .bind(pause.until.map(Ts))
        .execute(connection)
        .await?;
    });
    if pause.cause != PauseCause::Person {
        let evidence = serde_json::json!({ "cause": pause.cause, "code": pause.code, "until": pause.until });
        let kind = pause.key.scope.alert(pause.code);
        let alert = NewAlert::new(kind, Severity::Critical, &pause.key.subject, &pause.words(), evidence);
        alerts::raise(tx, ids, &[alert], now).await?;
    }
    if pause.cause == PauseCause::Refusal && pause.key.scope == PauseScope::Template {
        on!(&mut *tx, |connection, D| {
            sqlx::query("UPDATE template_syncs SET wanted = wanted + 1").execute(connection).await?;
        });
    }
    Ok(Some(before))
}

pub(super) async fn load_pause(tx: &mut Tx, key: &PauseKey) -> Result<Option<PauseRow>, StoreError> {
    Ok(on!(&mut *tx, |connection, D| {
        sqlx::query_as(
            "SELECT scope, subject, cause, code, sentence, since, until FROM pauses WHERE scope = $1 AND subject = $2",
        )
        .bind(key.scope.as_str())
        .bind(&key.subject)
        .fetch_optional(connection)
        .await?
    }))
}

async fn count_pauses(tx: &mut Tx) -> Result<i64, StoreError> {
    Ok(on!(&mut *tx, |connection, D| sqlx::query_scalar("SELECT count(*) FROM pauses").fetch_one(connection).await?))
}

/// Ends a pause as part of a transaction, with its alert.
pub(super) async fn end_pause(
    tx: &mut Tx,
    key: &PauseKey,
    code: Option<i64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    on!(&mut *tx, |connection, D| {
        sqlx::query("DELETE FROM pauses WHERE scope = $1 AND subject = $2")
            .bind(key.scope.as_str())
            .bind(&key.subject)
            .execute(connection)
            .await?;
    });
    let kind = key.scope.alert(code);
    // Cut as it was when it was raised.
    let alert = NewAlert::new(kind, Severity::Critical, &key.subject, "", serde_json::Value::Null);
    alerts::clear(tx, kind, alert.subject(), now).await?;
    Ok(())
}

/// On Postgres locked, so that a send which is about to be held does not lose its place.
async fn first_holds(tx: &mut Tx, subject: &SubjectRow) -> Result<Vec<HoldRow>, StoreError> {
    let locked = match tx {
        Tx::Pg(..) => " FOR UPDATE SKIP LOCKED",
        Tx::Lite(_) => "",
    };
    let mut wanted = Rows::new("wanted", &[("scope", Kind::Text), ("subject", Kind::Text)]);
    wanted.push([(&subject.scope).into(), (&subject.subject).into()]);
    let sql = format!(
        "SELECT outbound_id, conversation_id FROM pause_holds
         WHERE scope = (SELECT scope FROM wanted) AND subject = (SELECT subject FROM wanted)
         ORDER BY outbound_id LIMIT {RELEASE_ROWS_MAX}{locked}"
    );
    wanted.fetch(tx, &sql).await
}

/// Lets the first of what a pause holds go, as part of the transaction that ends it. What was tried before goes on from there: it
/// is not tried for ever, however often the same pause comes and goes.
pub(super) async fn release_tried(tx: &mut Tx, key: &PauseKey, now: Timestamp) -> Result<(), StoreError> {
    let subject = SubjectRow { scope: key.scope.as_str().to_owned(), subject: key.subject.clone() };
    let holds = first_holds(tx, &subject).await?;
    release(tx, &subject, &holds, Some(now + SignedDuration::from_secs(TEMPLATES_KNOWN_SECONDS)), now).await.map(drop)
}

/// Queues what is held, and strikes it off the list. With a `not_before` it goes on where it was; otherwise it begins afresh: the
/// time it was held does not count as time that it was tried, nor do attempts before.
async fn release(
    tx: &mut Tx,
    subject: &SubjectRow,
    holds: &[HoldRow],
    not_before: Option<Timestamp>,
    now: Timestamp,
) -> Result<Vec<ConversationId>, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("scope", Kind::Text),
        ("subject", Kind::Text),
        ("outbound_id", Kind::Id),
        ("conversation_id", Kind::Id),
        ("not_before", Kind::Instant),
        ("now", Kind::Instant),
    ];
    let mut rows = Rows::new("holds", COLUMNS);
    for hold in holds {
        rows.push([
            (&subject.scope).into(),
            (&subject.subject).into(),
            hold.outbound_id.into(),
            hold.conversation_id.into(),
            not_before.into(),
            now.into(),
        ]);
    }
    let mut script = Script::default();
    let rows = script.batch(rows);
    let life = match not_before {
        Some(_) => "",
        None => "tried_since = NULL, attempts_before = outbound_messages.attempts, ",
    };
    let queued = script.ask(
        &[rows],
        format!(
            "UPDATE outbound_messages SET state = 'queued', not_before = holds.not_before, error = NULL, {life}updated_at = holds.now
         FROM holds
         WHERE outbound_messages.conversation_id = holds.conversation_id AND outbound_messages.id = holds.outbound_id
           AND coalesce(outbound_messages.state, '') = 'held'
         RETURNING outbound_messages.conversation_id AS id"
        ),
    );
    script.step(
        &[rows],
        "DELETE FROM pause_holds WHERE (scope, subject, outbound_id) IN (SELECT scope, subject, outbound_id FROM holds)",
    );
    Ok(script.run(tx).await?.of(queued).into_iter().map(ConversationId).collect())
}
