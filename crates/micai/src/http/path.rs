//! Path parameters whose refusal is a sentence.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::Problem;

/// The parameters of a path. What does not fit, such as an id that is no UUID, leads nowhere: 404.
#[derive(Debug, Clone, Copy)]
pub(super) struct StrictPath<T>(pub T);

impl<S, T> FromRequestParts<S> for StrictPath<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(Problem::not_found("path_invalid", sentence(&error.body_text())))
            }
            Err(error) => Err(Problem::internal(error)),
        }
    }
}

/// From the framework's words to what the client can do.
fn sentence(error: &str) -> String {
    match error.contains("UUID") {
        true => "An id in the path is not a UUID, so there is nothing under it: take ids from the lists.".to_owned(),
        false => format!("The path cannot be read: {error}. Percent-encode its parts as UTF-8."),
    }
}
