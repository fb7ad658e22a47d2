//! `/admin/alerts`: what somebody must look at.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::SharedState;
use super::page::{Page, PageRows, uuid_cursor};
use crate::store::AlertView;

/// Which alerts, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Also those that are over; only open ones unless told otherwise.
    #[serde(default)]
    #[param(default = false)]
    all: bool,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists alerts, the youngest first: those that are open, or all.
#[utoipa::path(
    get,
    path = "/alerts",
    operation_id = "list_alerts",
    tag = "alerts",
    params(ListQuery),
    responses((status = 200, body = Page<AlertView>, description = "A page of alerts.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<AlertView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    let alerts = state.store.alerts(!query.all, before, rows.to_fetch()).await?;
    Ok(Json(rows.page(alerts, |alert: &AlertView| alert.id.as_bytes())))
}

/// Says that somebody has seen an alert. One that reports an event is over with that; one that reports a condition stays
/// open until the platform sees that it has ended.
#[utoipa::path(
    post,
    path = "/alerts/{id}/acknowledge",
    operation_id = "acknowledge_alert",
    tag = "alerts",
    params(("id" = Uuid, Path, description = "The alert."), ActorHeader),
    responses((status = 200, body = AlertView, description = "The alert as it is now.")),
)]
pub async fn acknowledge(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<Uuid>,
) -> Result<Json<AlertView>, Problem> {
    let alert = state.store.acknowledge_alert(id, &actor).await?;
    alert.map(Json).ok_or_else(|| {
        Problem::not_found(
            "alert_not_found",
            "There is no alert of this id: GET /admin/alerts?all=true lists those there are.",
        )
    })
}
