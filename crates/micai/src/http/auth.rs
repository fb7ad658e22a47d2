//! Who may use `/admin`: whoever sends the admin key. It stands in a header that no foreign page can make a browser
//! send, so there is nothing to forge across sites.

use axum::extract::{Request, State};
use axum::http::HeaderName;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::error::Problem;
use super::state::SharedState;

/// The header that carries the admin key.
pub(super) const ADMIN_KEY_HEADER: HeaderName = HeaderName::from_static("x-admin-key");

const CLOSED: &str = "No admin key is configured, so everything under /admin is closed: set MICAI_ADMIN_API_KEY (or \
                      MICAI_ADMIN_API_KEY_FILE) and start again.";
const MISSING: &str = "The header `x-admin-key` is missing: send the admin key in it.";
const WRONG: &str = "The header `x-admin-key` does not hold the admin key: send the value of MICAI_ADMIN_API_KEY.";

/// Lets a request pass that carries the admin key.
pub(super) async fn require_admin_key(State(state): State<SharedState>, request: Request, next: Next) -> Response {
    let given = request.headers().get(ADMIN_KEY_HEADER);
    match (&state.admin_api_key, given) {
        (Some(key), Some(given)) if is_secret(key, given.as_bytes()) => next.run(request).await,
        (Some(_), Some(_)) => Problem::unauthorized(WRONG).into_response(),
        (Some(_), None) => Problem::unauthorized(MISSING).into_response(),
        (None, _) => Problem::unauthorized(CLOSED).into_response(),
    }
}

/// Whether `given` is the secret, without telling by the time it takes how much of it is right. An empty secret is
/// nobody's.
pub(super) fn is_secret(secret: &SecretString, given: &[u8]) -> bool {
    let secret = secret.expose_secret().as_bytes();
    !secret.is_empty() && bool::from(secret.ct_eq(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_fits() {
        let secret = SecretString::from("key-1");
        for (given, fits) in [("key-1", true), ("key-2", false), ("key-", false), ("key-1 ", false), ("", false)] {
            assert_eq!(is_secret(&secret, given.as_bytes()), fits, "{given:?}");
        }
        assert!(!is_secret(&SecretString::from(""), b""), "an empty secret lets nobody in");
    }
}
