//! Where an outbound file is.

use serde::{Deserialize, Serialize};

use super::limits::{LimitError, MESSAGE_ID_CHARACTERS_MAX, check_id, check_url};

/// A file by the id of an earlier upload, or by a link that WhatsApp fetches itself. Prefer ids where many are sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    /// Id of an upload, good for 30 days and for the number it was uploaded to.
    Id(String),
    /// An http or https address.
    Link(String),
}

impl MediaSource {
    /// A file that was uploaded.
    pub fn id(id: impl Into<String>) -> Result<Self, LimitError> {
        let source = Self::Id(id.into());
        source.check()?;
        Ok(source)
    }

    /// A file on the web.
    pub fn link(url: impl Into<String>) -> Result<Self, LimitError> {
        let source = Self::Link(url.into());
        source.check()?;
        Ok(source)
    }

    pub(crate) fn check(&self) -> Result<(), LimitError> {
        match self {
            Self::Id(id) => check_id("media id", id, MESSAGE_ID_CHARACTERS_MAX),
            Self::Link(url) => check_url("media link", url),
        }
    }
}
