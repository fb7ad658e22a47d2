//! How templates change: by a whole list from WhatsApp, by one that was just made, by webhooks. Each is told to those who
//! must hear of it in the same transaction.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::alerts;
use super::db::{Tx, on, row};
use super::error::StoreError;
use super::script::{Cell, Kind, Rows, Script};
use super::template_pauses::{Learned, look_again};
use super::templates::{SyncChanges, SyncTicket, TemplateColumns, TemplateRow, all_of};
use crate::domain::template::news::{AlertMoves, TemplateChange, TemplateNews, TemplateRecord};
use crate::domain::template::{Template, TemplateStatus};
use crate::ids::Ids;

/// Rows of one statement: SQLite takes 32,766 parameters.
const ROWS_PER_STATEMENT: usize = 1_000;
/// How long a template that WhatsApp no longer lists is kept: as long as its name is locked there.
const GONE_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

row! { struct VersionColumn { version: i64 } }

/// Writes a whole list.
pub(super) async fn write_sync(
    tx: &mut Tx,
    ids: &Ids,
    waba_id: &str,
    ticket: SyncTicket,
    listed: Vec<TemplateRecord>,
    now: Timestamp,
) -> Result<SyncChanges, StoreError> {
    // Also keeps other writers of this account out until the end.
    let Some(version) = next_version(tx, waba_id).await? else { return Ok(SyncChanges::default()) };
    let plan = plan(all_of(tx, waba_id).await?, listed, ticket, version, now);
    write_rows(tx, waba_id, &plan.rows).await?;
    // First: what it ends may be raised anew.
    look_again(tx, waba_id, Learned::List(ticket.asked_at), now).await?;
    tell(tx, ids, &plan.moves, now).await?;
    on!(tx, |connection, D| {
        sqlx::query("DELETE FROM templates WHERE waba_id = $1 AND gone_at IS NOT NULL AND gone_at < $2")
            .bind(waba_id)
            .bind(super::db::Ts(now - GONE_KEPT))
            .execute(connection)
            .await?;
    });
    Ok(plan.changes)
}

/// Writes one template.
pub(super) async fn write_single(
    tx: &mut Tx,
    ids: &Ids,
    waba_id: &str,
    record: TemplateRecord,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(version) = next_version(tx, waba_id).await? else { return Ok(()) };
    let (name, language) = (record.template.name.clone(), record.template.language.clone());
    let known = named(tx, waba_id, &[&name]).await?.into_iter();
    let mut known = known.filter(|row| row.record.template.language == language);
    let mut moves = AlertMoves::default();
    let row = match known.next() {
        None => fresh(record, version, now),
        Some(before) => {
            moves.note_change(&before.record.template, &record.template);
            TemplateRow { created_at: before.created_at, ..fresh(record, version, now) }
        }
    };
    write_rows(tx, waba_id, &[row]).await?;
    tell(tx, ids, &moves, now).await
}

/// Applies what webhooks say, in their order, and asks for a sync of each account that they concern. Accounts that are not
/// ours are passed over.
pub(super) async fn apply_news(
    tx: &mut Tx,
    ids: &Ids,
    news: &[&TemplateNews],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut by_account: BTreeMap<&str, Vec<&TemplateNews>> = BTreeMap::new();
    for one in news {
        by_account.entry(&one.waba_id).or_default().push(one);
    }
    for (waba_id, news) in by_account {
        let Some(version) = next_version(tx, waba_id).await? else { continue };
        want_sync(tx, waba_id).await?;
        let names: Vec<&str> = news.iter().map(|one| one.name.as_str()).collect();
        let mut rows = named(tx, waba_id, &names).await?;
        let mut moves = AlertMoves::default();
        for one in &news {
            for row in rows.iter_mut().filter(|row| concerns(one, row)) {
                apply(one, row, &mut moves, version, now);
            }
        }
        rows.retain(|row| row.version == version);
        write_rows(tx, waba_id, &rows).await?;
        for one in news.iter().filter(|one| matches!(one.change, TemplateChange::Status { .. })) {
            let at = one.occurred_at.unwrap_or(now);
            let learned = Learned::News { name: &one.name, language: &one.language, at };
            look_again(tx, waba_id, learned, now).await?;
        }
        tell(tx, ids, &moves, now).await?;
    }
    Ok(())
}

/// Raises the account's version; `None` when it is not ours.
async fn next_version(tx: &mut Tx, waba_id: &str) -> Result<Option<i64>, StoreError> {
    let row: Option<VersionColumn> = on!(tx, |connection, D| {
        sqlx::query_as("UPDATE template_syncs SET version = version + 1 WHERE waba_id = $1 RETURNING version")
            .bind(waba_id)
            .fetch_optional(connection)
            .await?
    });
    Ok(row.map(|row| row.version))
}

async fn want_sync(tx: &mut Tx, waba_id: &str) -> Result<(), StoreError> {
    on!(tx, |connection, D| {
        sqlx::query("UPDATE template_syncs SET wanted = wanted + 1 WHERE waba_id = $1")
            .bind(waba_id)
            .execute(connection)
            .await?;
    });
    Ok(())
}

async fn tell(tx: &mut Tx, ids: &Ids, moves: &AlertMoves, now: Timestamp) -> Result<(), StoreError> {
    alerts::raise(tx, ids, &moves.raised, now).await?;
    for (kind, subject) in &moves.cleared {
        alerts::clear(tx, *kind, subject, now).await?;
    }
    Ok(())
}

/// What a list comes to.
struct Plan {
    rows: Vec<TemplateRow>,
    moves: AlertMoves,
    changes: SyncChanges,
}

fn plan(
    known: Vec<TemplateRow>,
    listed: Vec<TemplateRecord>,
    ticket: SyncTicket,
    version: i64,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan { rows: Vec::new(), moves: AlertMoves::default(), changes: SyncChanges::default() };
    let mut listed: BTreeMap<(String, String), TemplateRecord> = listed
        .into_iter()
        .map(|record| ((record.template.name.clone(), record.template.language.clone()), record))
        .collect();
    for row in known {
        let template = &row.record.template;
        let found = listed.remove(&(template.name.clone(), template.language.clone()));
        if row.version > ticket.version {
            continue;
        }
        let next = match found {
            Some(record) => updated(&row, record, version, now),
            None if row.gone_at.is_none() => Some(gone(&row, version, now)),
            None => None,
        };
        let Some(next) = next else { continue };
        plan.moves.note_change(template, &next.record.template);
        match next.gone_at {
            Some(_) => plan.changes.gone += 1,
            None => plan.changes.changed += 1,
        }
        plan.rows.push(next);
    }
    plan.changes.new = listed.len();
    plan.rows.extend(listed.into_values().map(|record| fresh(record, version, now)));
    plan
}

fn fresh(record: TemplateRecord, version: i64, now: Timestamp) -> TemplateRow {
    TemplateRow {
        record,
        announced_category: None,
        status_at: None,
        version,
        gone_at: None,
        created_at: now,
        updated_at: now,
    }
}

/// The row as the list has it; `None` when nothing differs.
fn updated(row: &TemplateRow, mut record: TemplateRecord, version: i64, now: Timestamp) -> Option<TemplateRow> {
    let before = &row.record.template;
    if record.template.status == before.status {
        // The list does not say why.
        record.template.status_reason.clone_from(&before.status_reason);
    }
    let announced_category = row.announced_category.filter(|_| record.template.category == before.category);
    let differs = record != row.record || row.gone_at.is_some();
    differs.then(|| TemplateRow { record, announced_category, version, gone_at: None, updated_at: now, ..row.clone() })
}

fn gone(row: &TemplateRow, version: i64, now: Timestamp) -> TemplateRow {
    let mut next = TemplateRow { version, gone_at: Some(now), updated_at: now, ..row.clone() };
    next.record.template.status = TemplateStatus::Deleted;
    next
}

/// Whether a webhook speaks of this row: a template that was deleted and made again has another id.
fn concerns(news: &TemplateNews, row: &TemplateRow) -> bool {
    let template = &row.record.template;
    let same_id = match (&news.provider_template_id, &template.provider_template_id) {
        (Some(told), Some(known)) => told == known,
        _ => true,
    };
    template.name == news.name && template.language == news.language && same_id
}

fn apply(news: &TemplateNews, row: &mut TemplateRow, moves: &mut AlertMoves, version: i64, now: Timestamp) {
    let before = row.record.template.clone();
    let template = &mut row.record.template;
    match &news.change {
        TemplateChange::Status { status, reason, category } => {
            let is_overtaken = matches!((news.occurred_at, row.status_at), (Some(told), Some(known)) if told < known);
            if is_overtaken {
                return;
            }
            template.status = *status;
            template.status_reason.clone_from(reason);
            template.category = category.unwrap_or(template.category);
            row.status_at = Some(news.occurred_at.unwrap_or(now));
            row.gone_at = None;
        }
        TemplateChange::Quality { quality } => template.quality = *quality,
        TemplateChange::Components => return,
        TemplateChange::Category { category } => {
            template.category = *category;
            row.announced_category = None;
        }
        TemplateChange::CategoryAnnounced { category } => {
            if row.announced_category.replace(*category) != Some(*category) {
                moves.note_announcement(&before, *category);
            }
        }
    }
    moves.note_change(&before, &row.record.template);
    row.version = version;
    row.updated_at = now;
}

/// All languages of these names that are known.
async fn named(tx: &mut Tx, waba_id: &str, names: &[&str]) -> Result<Vec<TemplateRow>, StoreError> {
    let mut wanted = Rows::new("wanted", &[("waba_id", Kind::Text), ("name", Kind::Text)]);
    let unique: std::collections::BTreeSet<&str> = names.iter().copied().collect();
    for name in unique {
        wanted.push([waba_id.into(), name.into()]);
    }
    let rows: Vec<TemplateColumns> = wanted
        .fetch(
            tx,
            "SELECT t.name, t.language, t.provider_template_id, t.status, t.status_reason, t.status_at, t.category,
                    t.announced_category, t.quality, t.parameter_format, t.components, t.version, t.gone_at,
                    t.created_at, t.updated_at
             FROM wanted w JOIN templates t ON t.waba_id = w.waba_id AND t.name = w.name",
        )
        .await?;
    Ok(rows.into_iter().map(TemplateColumns::row).collect())
}

async fn write_rows(tx: &mut Tx, waba_id: &str, rows: &[TemplateRow]) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut script = Script::default();
        let batch = script.batch(batch(waba_id, chunk)?);
        script.step(
            &[batch],
            "INSERT INTO templates (waba_id, name, language, provider_template_id, status, status_reason, status_at,
                 category, announced_category, quality, parameter_format, components, version, gone_at, created_at,
                 updated_at)
             SELECT waba_id, name, language, provider_template_id, status, status_reason, status_at, category,
                 announced_category, quality, parameter_format, components, version, gone_at, created_at, updated_at
             FROM template_rows WHERE true
             ON CONFLICT (waba_id, name, language) DO UPDATE SET
                 provider_template_id = excluded.provider_template_id, status = excluded.status,
                 status_reason = excluded.status_reason, status_at = excluded.status_at, category = excluded.category,
                 announced_category = excluded.announced_category, quality = excluded.quality,
                 parameter_format = excluded.parameter_format, components = excluded.components,
                 version = excluded.version, gone_at = excluded.gone_at, updated_at = excluded.updated_at",
        );
        script.run(tx).await?;
    }
    Ok(())
}

fn batch<'a>(waba_id: &'a str, templates: &'a [TemplateRow]) -> Result<Rows<'a>, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("waba_id", Kind::Text),
        ("name", Kind::Text),
        ("language", Kind::Text),
        ("provider_template_id", Kind::Text),
        ("status", Kind::Text),
        ("status_reason", Kind::Text),
        ("status_at", Kind::Instant),
        ("category", Kind::Text),
        ("announced_category", Kind::Text),
        ("quality", Kind::Text),
        ("parameter_format", Kind::Text),
        ("components", Kind::Json),
        ("version", Kind::Whole),
        ("gone_at", Kind::Instant),
        ("created_at", Kind::Instant),
        ("updated_at", Kind::Instant),
    ];
    let mut rows = Rows::new("template_rows", COLUMNS);
    for row in templates {
        let template: &Template = &row.record.template;
        rows.push([
            waba_id.into(),
            (&template.name).into(),
            (&template.language).into(),
            (&template.provider_template_id).into(),
            template.status.as_str().into(),
            (&template.status_reason).into(),
            row.status_at.into(),
            template.category.as_str().into(),
            row.announced_category.map(|category| category.as_str()).into(),
            template.quality.as_str().into(),
            template.parameter_format.as_str().into(),
            Cell::json(&row.record.components)?,
            row.version.into(),
            row.gone_at.into(),
            row.created_at.into(),
            row.updated_at.into(),
        ]);
    }
    Ok(rows)
}
