//! Templates that a refusal paused are decided again by what is known of them since: a list or a webhook tells where they stand.

use jiff::Timestamp;

use super::db::{Ts, Tx, on, row};
use super::error::StoreError;
use super::pauses;
use crate::domain::pause::{PAUSES_MAX, PauseKey, PauseScope};
use crate::domain::template::TemplateStatus;

row! { struct PausedRow { subject: String, code: Option<i64>, since: Ts } }
row! { struct StatusRow { status: String } }

/// What was learned, and when it was true.
#[derive(Debug, Clone, Copy)]
pub(super) enum Learned<'a> {
    /// A whole list that was asked for then.
    List(Timestamp),
    /// Where one template stands since then.
    News { name: &'a str, language: &'a str, at: Timestamp },
}

/// Ends the pauses of templates that WhatsApp would take again, and of those that it never will: what is held goes out, or is told
/// why not. One that WhatsApp pauses stays paused. What was refused after it was learned stays, too.
pub(super) async fn look_again(
    tx: &mut Tx,
    waba_id: &str,
    learned: Learned<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for paused in refused_templates(tx).await? {
        let Some((name, language)) = paused.subject.rsplit_once('/') else { continue };
        let is_meant = match learned {
            Learned::List(asked_at) => paused.since.0 < asked_at,
            // Webhooks tell whole seconds.
            Learned::News { name: one, language: other, at } => {
                (one, other) == (name, language) && paused.since.0.as_second() <= at.as_second()
            }
        };
        if !is_meant || status_of(tx, waba_id, name, language).await? == Some(TemplateStatus::Paused) {
            continue;
        }
        let key = PauseKey::template(name, language);
        pauses::end_pause(tx, &key, paused.code, now).await?;
        pauses::release_tried(tx, &key, now).await?;
    }
    Ok(())
}

async fn refused_templates(tx: &mut Tx) -> Result<Vec<PausedRow>, StoreError> {
    Ok(on!(tx, |connection, D| {
        sqlx::query_as(
            "SELECT subject, code, since FROM pauses WHERE scope = $1 AND cause = 'refusal' ORDER BY subject LIMIT $2",
        )
        .bind(PauseScope::Template.as_str())
        .bind(i64::try_from(PAUSES_MAX).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?
    }))
}

/// Where a template stands; nothing for one that is not there.
async fn status_of(
    tx: &mut Tx,
    waba_id: &str,
    name: &str,
    language: &str,
) -> Result<Option<TemplateStatus>, StoreError> {
    let row: Option<StatusRow> = on!(tx, |connection, D| {
        sqlx::query_as("SELECT status FROM templates WHERE waba_id = $1 AND name = $2 AND language = $3")
            .bind(waba_id)
            .bind(name)
            .bind(language)
            .fetch_optional(connection)
            .await?
    });
    Ok(row.map(|row| TemplateStatus::read(&row.status)))
}
