//! News of the account and of numbers: what they stop, with an alert, and what they let go again.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Store;
use super::alerts;
use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use super::pauses;
use super::script::{Kind, Rows, Script};
use crate::domain::alert::{AlertKind, NewAlert, Severity};
use crate::domain::news::{AccountEffect, AccountNews, OurNumber};
use crate::domain::pause::{Pause, PauseCause, PauseKey, PauseScope};
use crate::ids::{ConversationId, Ids};

row! { struct NumberRow { phone_number_id: String } }
row! { struct NewsRow { event: String, occurred_at: Ts } }

impl Store {
    /// Notes that everything in a conversation is free until then: somebody has answered a person who came through an
    /// advertisement.
    pub async fn open_free_entry(&self, id: ConversationId, until: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        on!(&mut tx, |connection, D| {
            sqlx::query("UPDATE conversations SET free_entry_until = $1, referred_at = NULL WHERE id = $2")
                .bind(Ts(until))
                .bind(id.0)
                .execute(connection)
                .await?;
        });
        tx.commit().await
    }
}

/// Remembers numbers of ours by both of their names.
pub(super) fn insert_numbers<'a>(script: &mut Script<'a>, numbers: impl Iterator<Item = &'a OurNumber>) {
    let numbers: BTreeMap<&str, &str> =
        numbers.map(|one| (one.display_phone_number.as_str(), one.phone_number_id.as_str())).collect();
    let mut rows = Rows::new("our_numbers", &[("display_phone_number", Kind::Text), ("phone_number_id", Kind::Text)]);
    for (display_phone_number, phone_number_id) in numbers {
        rows.push([display_phone_number.into(), phone_number_id.into()]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "INSERT INTO numbers (display_phone_number, phone_number_id)
         SELECT display_phone_number, phone_number_id FROM our_numbers WHERE true
         ON CONFLICT (display_phone_number) DO UPDATE SET phone_number_id = excluded.phone_number_id",
    );
}

/// Applies news in their order. What comes again, or late, moves nothing. A number that nobody knows stands for the account.
pub(super) async fn apply(tx: &mut Tx, ids: &Ids, news: &[&AccountNews], now: Timestamp) -> Result<(), StoreError> {
    for one in news {
        let number = match &one.display_phone_number {
            Some(number) => number_id(tx, number).await?,
            None => None,
        };
        let (target, warning) = match &number {
            Some(id) => (PauseKey::new(PauseScope::Number, id), AlertKind::NumberWarning),
            None => (PauseKey::new(PauseScope::Account, ""), AlertKind::AccountWarning),
        };
        if !is_new(tx, &target, &one.event, one.occurred_at.unwrap_or(now)).await? {
            continue;
        }
        match &one.effect {
            AccountEffect::Stop { only_templates, until, sentence } => {
                let key = if *only_templates { PauseKey::new(PauseScope::AccountTemplates, "") } else { target };
                stop(tx, ids, key, *until, sentence, now).await?;
            }
            AccountEffect::Warn { sentence } => {
                let evidence = serde_json::json!({ "event": one.event });
                let alert = NewAlert::new(warning, Severity::Warning, &target.subject, sentence, evidence);
                alerts::raise(tx, ids, &[alert], now).await?;
            }
            AccountEffect::Lift => {
                alerts::clear(tx, warning, &target.subject, now).await?;
                if target.scope == PauseScope::Account {
                    lift(tx, &PauseKey::new(PauseScope::AccountTemplates, ""), now).await?;
                }
                lift(tx, &target, now).await?;
            }
        }
    }
    Ok(())
}

async fn stop(
    tx: &mut Tx,
    ids: &Ids,
    key: PauseKey,
    until: Option<Timestamp>,
    sentence: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let before = pauses::load_pause(tx, &key).await?;
    if before.is_some_and(|before| before.cause() == PauseCause::Person) {
        // Theirs to lift, whatever comes of the news.
        let kind = key.scope.alert(None);
        let alert =
            NewAlert::new(kind, Severity::Critical, &key.subject, sentence, serde_json::json!({ "until": until }));
        return alerts::raise(tx, ids, &[alert], now).await.map(drop);
    }
    let pause = Pause { key, cause: PauseCause::News, code: None, sentence: sentence.to_owned(), since: now, until };
    tracing::error!(pause = %pause.key, "sending is paused");
    pauses::write(tx, ids, &pause, now).await.map(drop)
}

/// Ends a pause that news set.
async fn lift(tx: &mut Tx, key: &PauseKey, now: Timestamp) -> Result<(), StoreError> {
    let before = pauses::load_pause(tx, key).await?;
    match before.filter(|before| before.cause() == PauseCause::News) {
        Some(before) => pauses::end_pause(tx, key, before.code(), now).await,
        None => Ok(()),
    }
}

async fn number_id(tx: &mut Tx, display_phone_number: &str) -> Result<Option<String>, StoreError> {
    let row: Option<NumberRow> = on!(tx, |connection, D| {
        sqlx::query_as("SELECT phone_number_id FROM numbers WHERE display_phone_number = $1")
            .bind(display_phone_number)
            .fetch_optional(connection)
            .await?
    });
    Ok(row.map(|row| row.phone_number_id))
}

/// Whether this is younger than what was last heard of the account or number; remembers it then.
async fn is_new(tx: &mut Tx, target: &PauseKey, event: &str, at: Timestamp) -> Result<bool, StoreError> {
    let last: Option<NewsRow> = on!(&mut *tx, |connection, D| {
        sqlx::query_as("SELECT event, occurred_at FROM account_news WHERE scope = $1 AND subject = $2")
            .bind(target.scope.as_str())
            .bind(&target.subject)
            .fetch_optional(connection)
            .await?
    });
    if last.is_some_and(|last| at < last.occurred_at.0 || (at == last.occurred_at.0 && event == last.event)) {
        return Ok(false);
    }
    on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO account_news (scope, subject, event, occurred_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (scope, subject) DO UPDATE SET event = excluded.event, occurred_at = excluded.occurred_at",
        )
        .bind(target.scope.as_str())
        .bind(&target.subject)
        .bind(event)
        .bind(Ts(at))
        .execute(connection)
        .await?;
    });
    Ok(true)
}
