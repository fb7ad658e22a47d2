//! `/admin/bind`: which agent answers a person.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::error::Problem;
use super::super::path::StrictPath;
use super::super::state::HttpState;
use super::bounds::agent_id;
use crate::domain::contact::{AddressKind, Person};

/// Digits of a phone number with its country code.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=20;
/// The most letters and digits behind the prefix of a user id.
const USER_ID_CHARACTERS_MAX: usize = 128;

/// The person is bound.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bound {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// The person as they were named in the request.
    #[schema(example = "15551234567")]
    wa_id: String,
    /// Who answers them from now on.
    #[schema(example = "default-agent")]
    agent_id: String,
}

/// Binds a person to an agent, in all their conversations. Person and agent are made if they are not there.
#[utoipa::path(
    post,
    path = "/bind/{wa_id}/{agent_id}",
    tag = "agents",
    params(
        (
            "wa_id" = String,
            Path,
            description = "A phone number (5 to 20 digits, `+` allowed in front) or a user id (BSUID: `CC.…`, or parent BSUID: `CC.ENT.…`).",
        ),
        ("agent_id" = String, Path, description = "The agent, at most 128 characters."),
    ),
    responses(
        (status = 200, body = Bound, description = "Bound."),
        (
            status = 422,
            body = Problem,
            content_type = "application/problem+json",
            description = "One of the two is no such id.",
        ),
    ),
)]
pub async fn bind(
    State(state): State<HttpState>,
    StrictPath((wa_id, agent)): StrictPath<(String, String)>,
) -> Result<Json<Bound>, Problem> {
    let person = person(&wa_id).ok_or_else(not_a_person)?;
    let agent = agent_id("agent_id", agent)?;
    let outcome = state.store.bind(&person, &agent, &state.default_phone_number_id).await?;
    tracing::info!(agent_id = %agent, conversations = outcome.conversations, "contact bound");
    Ok(Json(Bound { status: "ok", wa_id, agent_id: agent.0 }))
}

/// Who an identifier names, by the documented shapes of WhatsApp's identifiers.
fn person(wa_id: &str) -> Option<Person> {
    let (kind, value) = address(wa_id)?;
    let value = Some(value.to_owned());
    Some(match kind {
        AddressKind::Phone => Person { phone: value, ..Person::default() },
        AddressKind::Bsuid => Person { bsuid: value, ..Person::default() },
        AddressKind::ParentBsuid => Person { parent_bsuid: value, ..Person::default() },
    })
}

fn address(wa_id: &str) -> Option<(AddressKind, &str)> {
    let digits = wa_id.strip_prefix('+').unwrap_or(wa_id);
    if PHONE_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some((AddressKind::Phone, digits));
    }
    let (country, rest) = wa_id.split_once('.')?;
    let is_country = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    let (kind, tail) = match rest.strip_prefix("ENT.") {
        Some(tail) => (AddressKind::ParentBsuid, tail),
        None => (AddressKind::Bsuid, rest),
    };
    let fits =
        (1..=USER_ID_CHARACTERS_MAX).contains(&tail.len()) && tail.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_country && fits).then_some((kind, wa_id))
}

fn not_a_person() -> Problem {
    let message =
        "is neither a phone number (5 to 20 digits, `+` allowed in front) nor a user id (`CC.…` or `CC.ENT.…`)";
    Problem::unprocessable("wa_id_invalid", format!("`wa_id` {message}.")).with_field("wa_id", message)
}

#[cfg(test)]
mod tests {
    use whatsapp::identity::Identity;

    use super::*;

    /// What a client of WhatsApp takes for an identifier and what this page takes for one must be the same.
    #[test]
    fn reads_identifiers_as_the_protocol_crate_does() {
        let long = "a".repeat(USER_ID_CHARACTERS_MAX);
        let (fits, too_long) = (format!("BR.{long}"), format!("BR.{long}a"));
        let (parent, parent_too_long) = (format!("BR.ENT.{long}"), format!("BR.ENT.{long}a"));
        for wa_id in [
            "15551234567",
            "+15551234567",
            "12345",
            "1234",
            "12345678901234567890",
            "123456789012345678901",
            "++15551",
            "1555-1234",
            "１２３４５",
            "",
            "+",
            "BR.1",
            "BR.aZ9",
            "br.1",
            "BRA.1",
            "BR.",
            "BR.a b",
            "BR.é",
            "BR.ENT.1",
            "BR.ENT.",
            "BR.ENT",
            "BR.1.2",
            ".1",
            &fits,
            &too_long,
            &parent,
            &parent_too_long,
        ] {
            let ours = address(wa_id).map(|(kind, value)| (kind.as_str(), value.to_owned()));
            let theirs = Identity::parse(wa_id).ok().map(|identity| (identity.kind().as_str(), identity.to_string()));
            assert_eq!(ours, theirs, "{wa_id:?}");
        }
    }
}
