//! `/admin/outbound`: the send ledger.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::schema::Object;
use uuid::Uuid;

use super::super::error::{Problem, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::HttpState;
use super::agents::words_schema;
use super::page::{Page, PageRows, uuid_cursor};
use crate::domain::outbound::SendState;
use crate::ids::OutboundId;
use crate::store::OutboundView;

/// Which sends, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only sends in this state.
    #[param(schema_with = state_schema)]
    state: Option<SendState>,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists sends, the youngest first.
#[utoipa::path(
    get,
    path = "/outbound",
    operation_id = "list_sends",
    tag = "outbound",
    params(ListQuery),
    responses((status = 200, body = Page<OutboundView>, description = "A page of sends.")),
)]
pub async fn list(
    State(state): State<HttpState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<OutboundView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    let sends = state.store.outbound_list(query.state, before, rows.to_fetch()).await?;
    Ok(Json(rows.page(sends, |send: &OutboundView| send.id.as_bytes())))
}

/// Reads a send.
#[utoipa::path(
    get,
    path = "/outbound/{id}",
    operation_id = "read_send",
    tag = "outbound",
    params(("id" = Uuid, Path, description = "The send.")),
    responses((status = 200, body = OutboundView, description = "The send.")),
)]
pub async fn read(
    State(state): State<HttpState>,
    StrictPath(id): StrictPath<Uuid>,
) -> Result<Json<OutboundView>, Problem> {
    let send = state.store.outbound(OutboundId(id)).await?;
    send.map(Json).ok_or_else(|| {
        Problem::not_found(
            "outbound_not_found",
            "There is no send of this id: GET /admin/outbound lists those there are.",
        )
    })
}

fn state_schema() -> Object {
    words_schema(&SendState::ALL.map(SendState::as_str))
}
