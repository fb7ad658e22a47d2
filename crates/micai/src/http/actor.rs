//! Who stands behind an admin request, for the audit log.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;
use utoipa::IntoParams;

use super::error::{Problem, RequestId};
use crate::domain::audit::{ACTOR_NAME_CHARACTERS_MAX, Actor};

/// The header that names the person behind a shared key.
const ADMIN_ACTOR_HEADER: HeaderName = HeaderName::from_static("x-admin-actor");

/// Whoever holds the admin key: the request's id, and the name that `x-admin-actor` claims.
#[derive(Debug, Clone)]
pub(super) struct AdminActor(pub Actor);

/// The header, for the description of each operation that changes something.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ActorHeader {
    /// The person behind a shared key, at most 128 characters. Recorded in the audit log as claimed: nobody checks it.
    #[param(rename = "x-admin-actor", example = "ana", required = false)]
    #[allow(dead_code)]
    x_admin_actor: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for AdminActor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(RequestId(request_id)) = parts.extensions.get::<RequestId>().copied() else {
            return Err(Problem::internal("a request without an id"));
        };
        let name = parts.headers.get(ADMIN_ACTOR_HEADER).map(|value| name(value.as_bytes())).transpose()?;
        Ok(Self(Actor::Admin { request_id, name }))
    }
}

fn name(bytes: &[u8]) -> Result<String, Problem> {
    let refuse = |what: &str| {
        let message = format!("{what}; give a name of 1 to {ACTOR_NAME_CHARACTERS_MAX} printable characters");
        Problem::bad_request("admin_actor_invalid", format!("`x-admin-actor` {message}."))
            .with_field("x-admin-actor", message)
    };
    let name = std::str::from_utf8(bytes).map_err(|_| refuse("is not UTF-8"))?.trim();
    match name.chars().count() {
        0 => Err(refuse("is empty")),
        count if count > ACTOR_NAME_CHARACTERS_MAX => Err(refuse(&format!("has {count} characters"))),
        _ if name.chars().any(char::is_control) => Err(refuse("holds a control character")),
        _ => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_printable() {
        let long = "é".repeat(ACTOR_NAME_CHARACTERS_MAX);
        let too_long = format!("{long}é");
        for (given, expected) in [
            ("ana".as_bytes(), Some("ana")),
            (" Ana Müller ".as_bytes(), Some("Ana Müller")),
            (long.as_bytes(), Some(long.as_str())),
            (too_long.as_bytes(), None),
            (b" ", None),
            (b"", None),
            (b"a\tb", None),
            (b"\xff", None),
        ] {
            let name = name(given);
            assert_eq!(name.as_deref().ok(), expected, "{given:?}");
            if let Err(problem) = name {
                assert_eq!(problem.code(), "admin_actor_invalid");
            }
        }
    }
}
