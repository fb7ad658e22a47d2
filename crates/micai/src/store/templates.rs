//! Templates of an account: what is known of them, and how far.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::types::Json;

use super::Store;
use super::db::{Ts, Tx, on, read, row};
use super::error::StoreError;
use super::template_writes;
use crate::domain::alert::{AlertKind, NewAlert, Severity};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::template::news::TemplateRecord;
use crate::domain::template::{
    ParameterFormat, Template, TemplateCategory, TemplateParts, TemplateQuality, TemplateStatus,
};

/// A template with what this platform noted about it.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateRow {
    /// The template as WhatsApp last described it.
    pub record: TemplateRecord,
    /// What WhatsApp says that it will count as soon.
    pub announced_category: Option<TemplateCategory>,
    /// When a webhook last told its status.
    pub status_at: Option<Timestamp>,
    /// The account's version at its last change.
    pub version: i64,
    /// Since when WhatsApp no longer lists it.
    pub gone_at: Option<Timestamp>,
    /// When we first heard of it.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// How far an account's templates are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateSyncState {
    /// Counts changes: while it stands still, nothing has changed.
    pub version: i64,
    /// Whether somebody asked for a sync since the last one began.
    pub is_wanted: bool,
    /// No sync by itself before then.
    pub not_before: Option<Timestamp>,
    /// When the last sync ended well.
    pub synced_at: Option<Timestamp>,
    /// When the last one failed, if none has gone well since.
    pub failed_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The right to sync, with what was known when it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncTicket {
    /// Changes behind this version are younger than the list that WhatsApp gives from now on.
    pub version: i64,
    /// The wishes that this sync fulfils.
    pub wanted: i64,
    /// When it was given: the list is not older.
    pub asked_at: Timestamp,
}

/// What a sync changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncChanges {
    /// Templates that we had not heard of.
    pub new: usize,
    /// Templates that differ from what we knew.
    pub changed: usize,
    /// Templates that WhatsApp no longer lists.
    pub gone: usize,
}

/// Which templates of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateFilter {
    /// Only those that stand here.
    pub status: Option<TemplateStatus>,
    /// Only those whose name holds this.
    pub name_part: Option<String>,
}

impl Store {
    /// Makes sure that the account is there, so that webhooks about its templates count.
    pub async fn ensure_template_account(&self, waba_id: &str) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        on!(&mut tx, |connection, D| {
            sqlx::query(
                "INSERT INTO template_syncs (waba_id, version, wanted, done) VALUES ($1, 0, 1, 0)
                 ON CONFLICT (waba_id) DO NOTHING",
            )
            .bind(waba_id)
            .execute(connection)
            .await?;
        });
        tx.commit().await
    }

    /// How far an account's templates are known. Cheap: one row by its key.
    pub async fn template_sync_state(&self, waba_id: &str) -> Result<TemplateSyncState, StoreError> {
        let row: Option<SyncColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT version, wanted, done, not_before, synced_at, failed_at, error
                 FROM template_syncs WHERE waba_id = $1",
            )
            .bind(waba_id)
            .fetch_optional(pool)
            .await?
        });
        Ok(row.map(SyncColumns::state).unwrap_or_default())
    }

    /// Takes the right to sync for `claim_seconds`; `None` while somebody else has it.
    pub async fn claim_template_sync(
        &self,
        waba_id: &str,
        claim_seconds: i64,
    ) -> Result<Option<SyncTicket>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let row: Option<TicketColumns> = on!(&mut tx, |connection, D| {
            sqlx::query_as(
                "UPDATE template_syncs SET claimed_until = $1
                 WHERE waba_id = $2 AND (claimed_until IS NULL OR claimed_until <= $3) RETURNING version, wanted",
            )
            .bind(Ts(now + SignedDuration::from_secs(claim_seconds)))
            .bind(waba_id)
            .bind(Ts(now))
            .fetch_optional(connection)
            .await?
        });
        tx.commit().await?;
        Ok(row.map(|row| SyncTicket { version: row.version, wanted: row.wanted, asked_at: now }))
    }

    /// Writes all that WhatsApp lists: what is new, what changed, what is gone. What changed while it was asked for is
    /// younger and stays. No sync by itself for `pause_seconds`. A sync that a person asked for stands in the audit log.
    pub async fn finish_template_sync(
        &self,
        waba_id: &str,
        ticket: SyncTicket,
        listed: Vec<TemplateRecord>,
        pause_seconds: i64,
        asked_by: Option<&Actor>,
    ) -> Result<SyncChanges, StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let changes = template_writes::write_sync(&mut tx, &self.ids, waba_id, ticket, listed, now).await?;
        on!(&mut tx, |connection, D| {
            sqlx::query(
                "UPDATE template_syncs SET done = CASE WHEN done > $1 THEN done ELSE $1 END, claimed_until = NULL,
                     not_before = $2, synced_at = $3, failed_at = NULL, error = NULL
                 WHERE waba_id = $4",
            )
            .bind(ticket.wanted)
            .bind(Ts(now + SignedDuration::from_secs(pause_seconds)))
            .bind(Ts(now))
            .bind(waba_id)
            .execute(connection)
            .await?;
        });
        super::alerts::clear(&mut tx, AlertKind::TemplateSyncFailed, waba_id, now).await?;
        if let Some(actor) = asked_by {
            let after = json!({ "new": changes.new, "changed": changes.changed, "gone": changes.gone });
            let entry = AuditEntry::new(AuditAction::TemplatesSynced, waba_id, None, Some(after));
            super::audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        }
        tx.commit().await?;
        self.pause_cache.forget();
        Ok(changes)
    }

    /// Notes that a sync failed; the templates stay as they are. No sync by itself for `pause_seconds`.
    pub async fn fail_template_sync(&self, waba_id: &str, error: &str, pause_seconds: i64) -> Result<(), StoreError> {
        let now = self.clock.now();
        let sentence = format!(
            "The list of templates could not be fetched: {error} The old list stays; it is asked for again by itself."
        );
        let alert = NewAlert::new(AlertKind::TemplateSyncFailed, Severity::Warning, waba_id, &sentence, Value::Null);
        let mut tx = self.db.begin().await?;
        on!(&mut tx, |connection, D| {
            sqlx::query(
                "UPDATE template_syncs SET claimed_until = NULL, not_before = $1, failed_at = $2, error = $3
                 WHERE waba_id = $4",
            )
            .bind(Ts(now + SignedDuration::from_secs(pause_seconds)))
            .bind(Ts(now))
            .bind(error)
            .bind(waba_id)
            .execute(connection)
            .await?;
        });
        super::alerts::raise(&mut tx, &self.ids, &[alert], now).await?;
        tx.commit().await
    }

    /// Writes a template that `actor` has just had made at WhatsApp.
    pub async fn save_template(&self, waba_id: &str, record: TemplateRecord, actor: &Actor) -> Result<(), StoreError> {
        let now = self.clock.now();
        let template = &record.template;
        let after = json!({
            "language": template.language, "provider_template_id": template.provider_template_id,
            "status": template.status, "category": template.category,
            "parameter_format": template.parameter_format, "components": record.components,
        });
        let entry = AuditEntry::new(AuditAction::TemplateCreated, &template.name, None, Some(after));
        let mut tx = self.db.begin().await?;
        super::audit::record(&mut tx, &self.ids, actor, entry, now).await?;
        template_writes::write_single(&mut tx, &self.ids, waba_id, record, now).await?;
        tx.commit().await
    }

    /// At most `limit` templates behind `after` (name and language), by name and language.
    pub async fn templates(
        &self,
        waba_id: &str,
        filter: &TemplateFilter,
        after: (&str, &str),
        limit: i64,
    ) -> Result<Vec<TemplateRow>, StoreError> {
        let pattern = filter.name_part.as_deref().map(containing);
        let rows: Vec<TemplateColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT name, language, provider_template_id, status, status_reason, status_at, category,
                        announced_category, quality, parameter_format, components, version, gone_at, created_at,
                        updated_at
                 FROM templates
                 WHERE waba_id = $1 AND (name, language) > ($2, $3) AND ($4 IS NULL OR status = $4)
                   AND ($5 IS NULL OR name LIKE $5 ESCAPE '!')
                 ORDER BY name, language LIMIT $6",
            )
            .bind(waba_id)
            .bind(after.0)
            .bind(after.1)
            .bind(filter.status.map(TemplateStatus::as_str))
            .bind(pattern)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(TemplateColumns::row).collect())
    }

    /// All languages of a template, at most `limit`, by language.
    pub async fn templates_named(&self, waba_id: &str, name: &str, limit: i64) -> Result<Vec<TemplateRow>, StoreError> {
        let rows: Vec<TemplateColumns> = read!(&self.db, |pool, D| {
            sqlx::query_as(
                "SELECT name, language, provider_template_id, status, status_reason, status_at, category,
                        announced_category, quality, parameter_format, components, version, gone_at, created_at,
                        updated_at
                 FROM templates WHERE waba_id = $1 AND name = $2 ORDER BY language LIMIT $3",
            )
            .bind(waba_id)
            .bind(name)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(TemplateColumns::row).collect())
    }
}

/// The pattern of LIKE for texts that hold this one.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

row! { struct TicketColumns { version: i64, wanted: i64 } }
row! {
    struct SyncColumns {
        version: i64,
        wanted: i64,
        done: i64,
        not_before: Option<Ts>,
        synced_at: Option<Ts>,
        failed_at: Option<Ts>,
        error: Option<String>,
    }
}

impl SyncColumns {
    fn state(self) -> TemplateSyncState {
        TemplateSyncState {
            version: self.version,
            is_wanted: self.wanted > self.done,
            not_before: self.not_before.map(|at| at.0),
            synced_at: self.synced_at.map(|at| at.0),
            failed_at: self.failed_at.map(|at| at.0),
            error: self.error,
        }
    }
}

row! {
    pub(super) struct TemplateColumns {
        name: String,
        language: String,
        provider_template_id: Option<String>,
        status: String,
        status_reason: Option<String>,
        status_at: Option<Ts>,
        category: String,
        announced_category: Option<String>,
        quality: String,
        parameter_format: String,
        components: Json<Value>,
        version: i64,
        gone_at: Option<Ts>,
        created_at: Ts,
        updated_at: Ts,
    }
}

impl TemplateColumns {
    pub(super) fn row(self) -> TemplateRow {
        let template = Template {
            name: self.name,
            language: self.language,
            provider_template_id: self.provider_template_id,
            status: TemplateStatus::read(&self.status),
            status_reason: self.status_reason,
            category: TemplateCategory::read(&self.category),
            quality: TemplateQuality::read(&self.quality),
            parameter_format: ParameterFormat::read(&self.parameter_format),
            parts: TemplateParts::read(&self.components.0),
        };
        TemplateRow {
            record: TemplateRecord { template, components: self.components.0 },
            announced_category: self.announced_category.as_deref().map(TemplateCategory::read),
            status_at: self.status_at.map(|at| at.0),
            version: self.version,
            gone_at: self.gone_at.map(|at| at.0),
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
        }
    }
}

/// All templates of an account that are known, inside a transaction.
pub(super) async fn all_of(tx: &mut Tx, waba_id: &str) -> Result<Vec<TemplateRow>, StoreError> {
    let rows: Vec<TemplateColumns> = on!(tx, |connection, D| {
        sqlx::query_as(
            "SELECT name, language, provider_template_id, status, status_reason, status_at, category,
                    announced_category, quality, parameter_format, components, version, gone_at, created_at, updated_at
             FROM templates WHERE waba_id = $1",
        )
        .bind(waba_id)
        .fetch_all(connection)
        .await?
    });
    Ok(rows.into_iter().map(TemplateColumns::row).collect())
}
