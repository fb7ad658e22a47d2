//! `/admin/audit`: who changed what.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::schema::Object;

use super::super::error::{Problem, StrictQuery};
use super::super::state::SharedState;
use super::agents::words_schema;
use super::bounds::Faults;
use super::page::{Page, PageRows, uuid_cursor};
use crate::domain::audit::{AUDIT_SUBJECT_CHARACTERS_MAX, AuditAction};
use crate::store::AuditView;

/// Which entries, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only what was done to this: the id of an agent, rule, contact, …
    #[param(max_length = 256)]
    subject: Option<String>,
    /// Only what was done in this way.
    #[param(schema_with = action_schema)]
    action: Option<AuditAction>,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists who changed what, the youngest first. Entries are never changed or deleted.
#[utoipa::path(
    get,
    path = "/audit",
    operation_id = "list_audit_log",
    tag = "audit",
    params(ListQuery),
    responses((status = 200, body = Page<AuditView>, description = "A page of entries.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<AuditView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    let mut faults = Faults::default();
    faults.check_text("subject", query.subject.as_deref().unwrap_or_default(), AUDIT_SUBJECT_CHARACTERS_MAX);
    faults.into_result("subject_invalid")?;
    let entries = state.store.audit_log(query.subject.as_deref(), query.action, before, rows.to_fetch()).await?;
    Ok(Json(rows.page(entries, |entry: &AuditView| entry.id.as_bytes())))
}

fn action_schema() -> Object {
    let words: Vec<&str> = AuditAction::ALL.iter().map(|action| action.as_str()).collect();
    words_schema(&words)
}
