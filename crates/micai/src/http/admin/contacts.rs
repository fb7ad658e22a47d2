//! `/admin/contacts`: who they are, what they want to hear from us, and whether they are blocked.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::actor::{ActorHeader, AdminActor};
use super::super::error::{Problem, StrictJson, StrictQuery};
use super::super::path::StrictPath;
use super::super::state::SharedState;
use super::agents::words_schema;
use super::bounds::Faults;
use super::page::{Page, PageRows, uuid_cursor};
use crate::domain::consent::ConsentCategory;
use crate::ids::ContactId;
use crate::store::{ContactDetail, ContactView};

/// Which contacts, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only those that are blocked.
    #[serde(default)]
    #[param(default = false)]
    blocked: bool,
    /// Rows of the page; 50 unless told otherwise.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Why a contact is blocked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// For whoever asks later.
    #[schema(min_length = 1, max_length = 500, example = "threatens the staff")]
    reason: String,
}

/// What a contact is known to want.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// What it concerns.
    #[schema(schema_with = category_schema)]
    category: ConsentCategory,
    /// Whether they want no more of it; else they want it again.
    stopped: bool,
    /// How that is known.
    #[schema(min_length = 1, max_length = 500, example = "said so on the telephone")]
    reason: String,
}

/// Lists contacts, the youngest first: all, or the block list.
#[utoipa::path(
    get,
    path = "/contacts",
    operation_id = "list_contacts",
    tag = "contacts",
    params(ListQuery),
    responses((status = 200, body = Page<ContactView>, description = "A page of contacts.")),
)]
pub async fn list(
    State(state): State<SharedState>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<Page<ContactView>>, Problem> {
    let rows = PageRows::new(query.limit, state.page_rows_max)?;
    let before = uuid_cursor(query.cursor.as_deref())?;
    let contacts = state.store.contacts(query.blocked, before, rows.to_fetch()).await?;
    Ok(Json(rows.page(contacts, |contact: &ContactView| contact.id.as_bytes())))
}

/// Reads a contact: identifiers, what they want to hear from us, and how that came to be.
#[utoipa::path(
    get,
    path = "/contacts/{id}",
    operation_id = "read_contact",
    tag = "contacts",
    params(("id" = Uuid, Path, description = "The contact.")),
    responses((status = 200, body = ContactDetail, description = "The contact.")),
)]
pub async fn read(
    State(state): State<SharedState>,
    StrictPath(id): StrictPath<Uuid>,
) -> Result<Json<ContactDetail>, Problem> {
    found(state.store.contact(ContactId(id)).await?)
}

/// Notes what a contact is known to want, as when they said it on the telephone. Nothing is confirmed to them.
#[utoipa::path(
    post,
    path = "/contacts/{id}/consent",
    operation_id = "set_consent",
    tag = "contacts",
    params(("id" = Uuid, Path, description = "The contact."), ActorHeader),
    request_body = Consent,
    responses((status = 200, body = ContactDetail, description = "The contact as it is now.")),
)]
pub async fn set_consent(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<Uuid>,
    StrictJson(body): StrictJson<Consent>,
) -> Result<Json<ContactDetail>, Problem> {
    let reason = checked(&body.reason)?;
    let contact = state.store.set_consent(ContactId(id), body.category, body.stopped, reason, &actor).await?;
    tracing::info!(contact_id = %id, category = body.category.as_str(), stopped = body.stopped, "consent noted");
    found(contact)
}

/// Blocks a contact: what they write is recorded and gets no answer, and nothing is sent to them.
#[utoipa::path(
    post,
    path = "/contacts/{id}/block",
    operation_id = "block_contact",
    tag = "contacts",
    params(("id" = Uuid, Path, description = "The contact."), ActorHeader),
    request_body = Block,
    responses((status = 200, body = ContactDetail, description = "The contact as it is now.")),
)]
pub async fn block(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<Uuid>,
    StrictJson(body): StrictJson<Block>,
) -> Result<Json<ContactDetail>, Problem> {
    let contact = state.store.block_contact(ContactId(id), checked(&body.reason)?, &actor).await?;
    tracing::info!(contact_id = %id, "contact blocked");
    found(contact)
}

/// Lifts a block. What the contact wrote meanwhile stays unanswered.
#[utoipa::path(
    delete,
    path = "/contacts/{id}/block",
    operation_id = "unblock_contact",
    tag = "contacts",
    params(("id" = Uuid, Path, description = "The contact."), ActorHeader),
    responses((status = 200, body = ContactDetail, description = "The contact as it is now.")),
)]
pub async fn unblock(
    State(state): State<SharedState>,
    AdminActor(actor): AdminActor,
    StrictPath(id): StrictPath<Uuid>,
) -> Result<Json<ContactDetail>, Problem> {
    let contact = state.store.unblock_contact(ContactId(id), &actor).await?;
    tracing::info!(contact_id = %id, "contact unblocked");
    found(contact)
}

fn checked(reason: &str) -> Result<&str, Problem> {
    let mut faults = Faults::default();
    faults.check_reason(reason);
    faults.into_result("reason_invalid")?;
    Ok(reason)
}

fn found(contact: Option<ContactDetail>) -> Result<Json<ContactDetail>, Problem> {
    contact.map(Json).ok_or_else(|| {
        Problem::not_found(
            "contact_not_found",
            "There is no contact of this id: GET /admin/contacts lists those there are, and each conversation names its own.",
        )
    })
}

fn category_schema() -> Object {
    words_schema(&["all", "marketing"])
}
