//! `DELETE /admin/contacts/{id}` and `/admin/erasures`: people who are forgotten, and the receipts of it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::Problem;
use super::super::path::StrictPath;
use super::super::state::SharedState;
use crate::ids::ContactId;
use crate::store::{ErasureStep, ErasureView};

/// Batches that one request erases; the scheduler goes on with what is left.
const STEPS_MAX: usize = 10;

/// Forgets a contact: words, payloads, names, reminders and notes go, what waits to be sent to them is cancelled. Identifiers, what
/// they want to hear from us, and the states and prices of sends stay. What comes in after that is a new start. The person is not
/// told.
#[utoipa::path(
    delete,
    path = "/contacts/{id}",
    operation_id = "erase_contact",
    tag = "contacts",
    params(("id" = Uuid, Path, description = "The contact."), ActorHeader),
    responses(
        (status = 200, body = ErasureView, description = "Erased: the receipt."),
        (status = 202, body = ErasureView, description = "There is more to erase: GET /admin/erasures/{receipt_id} says when it is done."),
    ),
)]
pub async fn erase(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<Uuid>,
) -> Result<(StatusCode, Json<ErasureView>), Problem> {
    let Some(receipt_id) = state.store.erase_contact(ContactId(id), &actor).await? else {
        return Err(Problem::not_found(
            "contact_not_found",
            "There is no contact of this id: GET /admin/contacts lists those there are, and each conversation names its own.",
        ));
    };
    for _ in 0..STEPS_MAX {
        if state.store.erase_step(receipt_id).await? != ErasureStep::More {
            break;
        }
    }
    let erasure = state.store.erasure(receipt_id).await?.ok_or_else(no_such_receipt)?;
    let status = if erasure.done_at.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(erasure)))
}

/// Reads the receipt of an erasure: what was erased, and when.
#[utoipa::path(
    get,
    path = "/erasures/{receipt_id}",
    operation_id = "read_erasure",
    tag = "contacts",
    params(("receipt_id" = Uuid, Path, description = "The receipt: the person was told it, or the erasure answered it.")),
    responses((status = 200, body = ErasureView, description = "The erasure.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(receipt_id): StrictPath<Uuid>,
) -> Result<Json<ErasureView>, Problem> {
    state.store.erasure(receipt_id).await?.map(Json).ok_or_else(no_such_receipt)
}

fn no_such_receipt() -> Problem {
    Problem::not_found(
        "erasure_not_found",
        "There is no erasure of this receipt: compare it with what the person was told.",
    )
}
