//! What people want to hear from us: how it stands in `contacts`, how it came to be in `contact_consents`, which only grows.
//! All of it is rare, so none of these statements runs for each message.

use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use crate::domain::consent::{
    ConsentCategory, ConsentChange, ConsentSource, MARKETING_STOPPED_CODE, blocked_error, opted_out_error,
};
use crate::domain::inbound::NewPreference;
use crate::domain::outbound::SendError;
use crate::domain::turn::{Effect, FinishedTurn};
use crate::ids::{ContactId, ConversationId, Ids, OutboundId};

/// WhatsApp's word that a person wants no marketing, on one of our sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarketingRefusal {
    pub conversation_id: ConversationId,
    pub outbound_id: OutboundId,
    /// When WhatsApp said so.
    pub at: Timestamp,
}

impl MarketingRefusal {
    /// The refusal that an error is, if it is one.
    pub fn of(
        error: Option<&SendError>,
        conversation_id: ConversationId,
        outbound_id: OutboundId,
        at: Timestamp,
    ) -> Option<Self> {
        let is_one = error.is_some_and(|error| error.code == Some(MARKETING_STOPPED_CODE));
        is_one.then_some(Self { conversation_id, outbound_id, at })
    }
}

/// Notes a change as part of a transaction: the present state, and a row of history. `at` is when the person said so. `false`
/// when it stood so already, or when something later is known: WhatsApp repeats its news, and not always in order.
pub(super) async fn note(
    tx: &mut Tx,
    ids: &Ids,
    contact_id: ContactId,
    change: &ConsentChange,
    (at, now): (Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    let contact_id = present(tx, contact_id).await?;
    let comes_from_whatsapp = !change.source.is_undone_by_start();
    if comes_from_whatsapp && is_overtaken(tx, contact_id, change.category, at).await? {
        return Ok(false);
    }
    if write_state(tx, contact_id, change, now).await? == 0 {
        return Ok(false);
    }
    write_history(tx, ids, contact_id, change, (at, now)).await?;
    if change.category == ConsentCategory::All && change.stopped {
        cancel_waiting(tx, contact_id, &opted_out_error(), now).await?;
    }
    Ok(true)
}

/// Notes what the turn's messages said. Where nothing changed after all (the same person said it on another of our numbers at the
/// same moment), the answer that would confirm it is dropped: it is confirmed there.
pub(super) async fn note_turn(tx: &mut Tx, ids: &Ids, turn: &FinishedTurn) -> Result<(), StoreError> {
    let mut said: Vec<(&str, bool)> = Vec::new();
    for effect in &turn.effects {
        let Effect::Consent { change, provider_message_id } = effect else { continue };
        let has_changed = note(tx, ids, turn.contact_id, change, (turn.finished_at, turn.finished_at)).await?;
        match said.iter_mut().find(|(id, _)| id == provider_message_id) {
            Some((_, changed)) => *changed |= has_changed,
            None => said.push((provider_message_id, has_changed)),
        }
    }
    for (provider_message_id, _) in said.iter().filter(|(_, changed)| !changed) {
        let answers = |answered: Option<&str>| answered == Some(provider_message_id);
        let error = SendError {
            code: None,
            reason: "confirmed_already".to_owned(),
            detail: "The person said the same on another of our numbers, where it was confirmed.".to_owned(),
        };
        for reply in turn.replies.iter().filter(|reply| answers(reply.answers_provider_message_id.as_deref())) {
            on!(&mut *tx, |connection, D| {
                sqlx::query(
                    "UPDATE outbound_messages SET state = 'cancelled', error = $1, updated_at = $2
                     WHERE conversation_id = $3 AND id = $4 AND state = 'queued' AND attempts = 0",
                )
                .bind(Json(&error))
                .bind(Ts(turn.finished_at))
                .bind(turn.conversation_id.0)
                .bind(reply.id.0)
                .execute(connection)
                .await?;
            });
        }
    }
    Ok(())
}

/// Notes what people chose in WhatsApp.
pub(super) async fn note_preferences(
    tx: &mut Tx,
    ids: &Ids,
    preferences: &[(ContactId, &NewPreference)],
    now: Timestamp,
) -> Result<(), StoreError> {
    for (contact_id, preference) in preferences {
        let stopped = preference.marketing_stopped;
        let evidence = preference.evidence.clone();
        let change = ConsentChange::new(ConsentCategory::Marketing, stopped, ConsentSource::Preference, evidence);
        note(tx, ids, *contact_id, &change, (preference.occurred_at.unwrap_or(now), now)).await?;
    }
    Ok(())
}

/// Notes that WhatsApp refused marketing for people who want none.
pub(super) async fn note_refusals(
    tx: &mut Tx,
    ids: &Ids,
    refusals: &[MarketingRefusal],
    now: Timestamp,
) -> Result<(), StoreError> {
    for refusal in refusals {
        let row: Option<ContactRow> = on!(&mut *tx, |connection, D| {
            sqlx::query_as("SELECT contact_id FROM conversations WHERE id = $1")
                .bind(refusal.conversation_id.0)
                .fetch_optional(connection)
                .await?
        });
        if let Some(row) = row {
            let change = ConsentChange::refused(refusal.outbound_id);
            note(tx, ids, ContactId(row.contact_id), &change, (refusal.at, now)).await?;
        }
    }
    Ok(())
}

/// Two contacts turn out to be one person: what `from` did not want, `into` does not want either. Neither is the block lifted.
pub(super) async fn merge(
    tx: &mut Tx,
    ids: &Ids,
    from: ContactId,
    into: ContactId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row: Option<StandingRow> = on!(&mut *tx, |connection, D| {
        sqlx::query_as("SELECT opted_out_at, marketing_stopped_at, marketing_stopped_by FROM contacts WHERE id = $1")
            .bind(from.0)
            .fetch_optional(connection)
            .await?
    });
    let Some(row) = row else { return Ok(()) };
    // Who stopped marketing decides who can undo it: that stays.
    let stopped_by = stopped_by(row.marketing_stopped_by.as_deref());
    for (category, source, at) in [
        (ConsentCategory::All, ConsentSource::Merge, row.opted_out_at),
        (ConsentCategory::Marketing, stopped_by, row.marketing_stopped_at),
    ] {
        if let Some(at) = at {
            let evidence = serde_json::json!({ "merged_from": from.to_string() });
            let change = ConsentChange::new(category, true, source, evidence);
            note(tx, ids, into, &change, (at.0, now)).await?;
        }
    }
    on!(&mut *tx, |connection, D| {
        sqlx::query(
            "UPDATE contacts SET blocked_at = (SELECT f.blocked_at FROM contacts f WHERE f.id = $1),
                 blocked_reason = (SELECT f.blocked_reason FROM contacts f WHERE f.id = $1)
             WHERE id = $2 AND blocked_at IS NULL",
        )
        .bind(from.0)
        .bind(into.0)
        .execute(connection)
        .await?;
    });
    Ok(())
}

/// What a contact does not want, and its block, hold for whoever was merged into it as well: a conversation may hang there still,
/// and what waits in it must not go out.
pub(super) async fn spread(tx: &mut Tx, into: ContactId, now: Timestamp) -> Result<(), StoreError> {
    const COLUMNS: [&str; 5] =
        ["opted_out_at", "marketing_stopped_at", "marketing_stopped_by", "blocked_at", "blocked_reason"];
    let copies = COLUMNS.map(|column| format!("{column} = (SELECT i.{column} FROM contacts i WHERE i.id = $1)"));
    let sql = format!("UPDATE contacts SET {} WHERE merged_into = $1", copies.join(", "));
    on!(&mut *tx, |connection, D| {
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(into.0).execute(connection).await?;
    });
    let row: Option<UnwantedRow> = on!(&mut *tx, |connection, D| {
        sqlx::query_as("SELECT opted_out_at, blocked_at FROM contacts WHERE id = $1")
            .bind(into.0)
            .fetch_optional(connection)
            .await?
    });
    let Some(row) = row else { return Ok(()) };
    if row.blocked_at.is_some() {
        cancel_waiting(tx, into, &blocked_error(), now).await?;
    } else if row.opted_out_at.is_some() {
        cancel_waiting(tx, into, &opted_out_error(), now).await?;
    }
    Ok(())
}

/// How marketing was stopped. Older versions heard of it from WhatsApp alone and did not note that.
pub(super) fn stopped_by(source: Option<&str>) -> ConsentSource {
    source.and_then(ConsentSource::parse).unwrap_or(ConsentSource::Preference)
}

/// Whoever a contact is now, after all merges.
pub(super) async fn present(tx: &mut Tx, id: ContactId) -> Result<ContactId, StoreError> {
    let row: Option<ContactRow> = on!(tx, |connection, D| {
        sqlx::query_as("SELECT coalesce(merged_into, id) AS contact_id FROM contacts WHERE id = $1")
            .bind(id.0)
            .fetch_optional(connection)
            .await?
    });
    Ok(row.map_or(id, |row| ContactId(row.contact_id)))
}

/// Cancels what waits in a contact's conversations, for the window, a pause or its turn: what a sender has looked at already must
/// not go out either.
pub(super) async fn cancel_waiting(
    tx: &mut Tx,
    contact_id: ContactId,
    error: &SendError,
    now: Timestamp,
) -> Result<(), StoreError> {
    let also_confirmations = *error == blocked_error();
    on!(tx, |connection, D| {
        sqlx::query(
            "UPDATE outbound_messages SET state = 'cancelled', error = $1, updated_at = $2
             WHERE state IN ('queued', 'sending', 'unknown', 'held') AND state IN ('queued', 'held')
               AND (NOT ignores_opt_out OR $3)
               AND conversation_id IN
                   (SELECT c.id FROM conversations c
                    WHERE c.contact_id IN (SELECT p.id FROM contacts p WHERE p.id = $4 OR p.merged_into = $4))",
        )
        .bind(Json(error))
        .bind(Ts(now))
        .bind(also_confirmations)
        .bind(contact_id.0)
        .execute(connection)
        .await?;
    });
    Ok(())
}

row! { struct ContactRow { contact_id: Uuid } }
row! {
    struct StandingRow {
        opted_out_at: Option<Ts>,
        marketing_stopped_at: Option<Ts>,
        marketing_stopped_by: Option<String>,
    }
}
row! { struct UnwantedRow { opted_out_at: Option<Ts>, blocked_at: Option<Ts> } }
row! { struct LastRow { at: Ts } }

/// Whether something later than `at` is known. WhatsApp counts in whole seconds.
async fn is_overtaken(
    tx: &mut Tx,
    contact_id: ContactId,
    category: ConsentCategory,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let last: Option<LastRow> = on!(tx, |connection, D| {
        sqlx::query_as(
            "SELECT at FROM contact_consents WHERE contact_id = $1 AND category = $2 ORDER BY id DESC LIMIT 1",
        )
        .bind(contact_id.0)
        .bind(category.as_str())
        .fetch_optional(connection)
        .await?
    });
    Ok(last.is_some_and(|last| at.as_second() < last.at.0.as_second()))
}

/// Moves the present state, also in what was merged into this contact: old conversations still hang there. Gives how many rows
/// changed.
async fn write_state(
    tx: &mut Tx,
    contact_id: ContactId,
    change: &ConsentChange,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let at = change.stopped.then_some(Ts(now));
    let source = change.stopped.then_some(change.source.as_str());
    let sql = match (change.category, change.stopped) {
        (ConsentCategory::All, true) => {
            "UPDATE contacts SET opted_out_at = $1
             WHERE (id = $2 OR merged_into = $2) AND opted_out_at IS NULL"
        }
        (ConsentCategory::All, false) => {
            "UPDATE contacts SET opted_out_at = $1
             WHERE (id = $2 OR merged_into = $2) AND opted_out_at IS NOT NULL"
        }
        (ConsentCategory::Marketing, true) => {
            "UPDATE contacts SET marketing_stopped_at = $1, marketing_stopped_by = $3
             WHERE (id = $2 OR merged_into = $2) AND marketing_stopped_at IS NULL"
        }
        (ConsentCategory::Marketing, false) => {
            "UPDATE contacts SET marketing_stopped_at = $1, marketing_stopped_by = $3
             WHERE (id = $2 OR merged_into = $2) AND marketing_stopped_at IS NOT NULL"
        }
    };
    Ok(on!(tx, |connection, D| {
        let query = sqlx::query(sql).bind(at).bind(contact_id.0);
        let query = match change.category {
            ConsentCategory::All => query,
            ConsentCategory::Marketing => query.bind(source),
        };
        query.execute(connection).await?.rows_affected()
    }))
}

async fn write_history(
    tx: &mut Tx,
    ids: &Ids,
    contact_id: ContactId,
    change: &ConsentChange,
    (at, now): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query(
            "INSERT INTO contact_consents (contact_id, id, category, stopped, source, evidence, at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(contact_id.0)
        .bind(ids.uuid(now))
        .bind(change.category.as_str())
        .bind(change.stopped)
        .bind(change.source.as_str())
        .bind(Json(change.evidence()))
        .bind(Ts(at))
        .execute(connection)
        .await?;
    });
    Ok(())
}
