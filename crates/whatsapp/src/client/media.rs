//! Media: upload, look up, download.
//!
//! A download needs our token, and the address comes out of an answer or a webhook: the token goes only to hosts on the
//! list, over https (or to the base URL's own origin), and no redirect is followed.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::AUTHORIZATION;
use reqwest::multipart::{Form, Part};
use sha2::{Digest, Sha256};
use thiserror::Error;
use url::Url;

use super::exchange::{SendError, chain};
use super::{Client, is_path_segment};
use crate::json;
use crate::webhook::Media;

/// Where a file is and what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaInfo {
    /// The media id.
    pub id: String,
    /// Where it is, for five minutes.
    pub url: Url,
    /// MIME type.
    pub mime_type: Option<String>,
    /// Digest, base64 or hexadecimal.
    pub sha256: Option<String>,
    /// Size in bytes.
    pub file_size_bytes: Option<u64>,
}

impl MediaInfo {
    /// The direct address that some webhooks carry; `None` if there is none, then look the id up.
    pub fn from_webhook(media: &Media) -> Option<Self> {
        Some(Self {
            id: media.id.clone(),
            url: Url::parse(media.url.as_deref()?).ok()?,
            mime_type: media.mime_type.clone(),
            sha256: media.sha256.clone(),
            file_size_bytes: None,
        })
    }
}

/// A downloaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaBytes {
    /// The file.
    pub bytes: Bytes,
    /// MIME type, from the look-up.
    pub mime_type: Option<String>,
    /// True if the digest was known and fits. A digest that does not fit is an error; false means that none was known.
    pub sha256_verified: bool,
}

/// A file that could not be had.
#[derive(Debug, Error)]
pub enum MediaError {
    /// Looking it up failed.
    #[error("the file could not be looked up: {0}")]
    Lookup(#[from] SendError),
    /// The address is not one our token may go to.
    #[error("{host} is not on the list of media hosts, the token was not sent there")]
    HostNotAllowed {
        /// The host (and port, where it is an unusual one).
        host: String,
    },
    /// The address is stale, and a fresh one was not found either: the id has expired.
    #[error("the file is gone")]
    Gone,
    /// It is larger than allowed. The download was broken off.
    #[error("the file is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Largest size in bytes.
        limit_bytes: u64,
    },
    /// What was downloaded is not what was announced.
    #[error("the digest of the file does not fit")]
    Digest,
    /// The host answered something else than the file; redirects are among it.
    #[error("the media host answered HTTP {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// The transfer broke off.
    #[error("the transfer of the file failed: {reason}")]
    Transfer {
        /// Why.
        reason: String,
    },
}

impl MediaError {
    /// True if the same call may succeed a little later.
    pub fn is_temporary(&self) -> bool {
        use crate::error::Verdict;
        match self {
            Self::Lookup(error) => {
                matches!(error.verdict(), Verdict::Retry | Verdict::Later { .. } | Verdict::Unknown)
            }
            Self::Status { status } => *status == 429 || *status >= 500,
            // A digest differs after a damaged transfer; a second download settles it.
            Self::Transfer { .. } | Self::Digest => true,
            Self::HostNotAllowed { .. } | Self::Gone | Self::TooLarge { .. } => false,
        }
    }
}

/// Largest file that WhatsApp takes, in bytes, by MIME type; `None` for a type it does not take.
pub fn upload_bytes_max(mime_type: &str) -> Option<u64> {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match essence(mime_type).as_str() {
        "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg" => Some(16 * MIB),
        "image/jpeg" | "image/png" => Some(5 * MIB),
        "video/mp4" | "video/3gpp" => Some(16 * MIB),
        "image/webp" => Some(500 * KIB),
        "text/plain" | "application/pdf" => Some(100 * MIB),
        "application/msword" | "application/vnd.ms-excel" | "application/vnd.ms-powerpoint" => Some(100 * MIB),
        office if office.starts_with("application/vnd.openxmlformats-officedocument.") => Some(100 * MIB),
        _ => None,
    }
}

impl Client {
    /// Uploads a file and returns its id, good for 30 days and for this phone number. Checks type and size first
    /// ([`upload_bytes_max`]). `audio/ogg` is sent as `audio/ogg; codecs=opus`: WhatsApp takes nothing else in Ogg.
    pub async fn upload_media(&self, file: Bytes, mime_type: &str, filename: &str) -> Result<String, SendError> {
        let invalid = |reason: String| SendError::Invalid { reason };
        let Some(limit_bytes) = upload_bytes_max(mime_type) else {
            return Err(invalid(format!("WhatsApp takes no files of the type {mime_type:?}")));
        };
        if file.len() as u64 > limit_bytes {
            return Err(invalid(format!("the file has {} bytes, the limit is {limit_bytes}", file.len())));
        }
        let mime_type = if essence(mime_type) == "audio/ogg" { "audio/ogg; codecs=opus" } else { mime_type };
        let length = file.len() as u64;
        let part = Part::stream_with_length(file, length).file_name(filename.to_owned());
        let part = part.mime_str(mime_type).map_err(|error| invalid(chain(&error)))?;
        let form = Form::new().text("messaging_product", "whatsapp").text("type", mime_type.to_owned());
        let url = self.url(&[&self.config.phone_number_id, "media"])?;
        let request = self.http.post(url).timeout(self.config.media_timeout).multipart(form.part("file", part));
        let answer = self.exchange(request).await?;
        json::text(&answer.value, "id").ok_or_else(|| answer.unreadable())
    }

    /// Looks a file up: `GET /{media_id}`. The address in the answer is good for five minutes.
    pub async fn media_info(&self, media_id: &str) -> Result<MediaInfo, SendError> {
        let mut url = self.url(&[media_id])?;
        url.query_pairs_mut().append_pair("phone_number_id", &self.config.phone_number_id);
        let answer = self.get_json(url).await?;
        let node = &answer.value;
        let address = json::str(node, "url").and_then(|text| Url::parse(text).ok());
        Ok(MediaInfo {
            id: media_id.to_owned(),
            url: address.ok_or_else(|| answer.unreadable())?,
            mime_type: json::text(node, "mime_type"),
            sha256: json::text(node, "sha256"),
            file_size_bytes: json::integer(node, "file_size").and_then(|size| u64::try_from(size).ok()),
        })
    }

    /// Looks a file up and downloads it. If its address turns out stale, it is looked up once more.
    pub async fn download_media(&self, media_id: &str) -> Result<MediaBytes, MediaError> {
        let info = self.media_info(media_id).await?;
        self.download_media_from(&info).await
    }

    /// Downloads a file from an address that is known already. If that is stale, the file is looked up once.
    pub async fn download_media_from(&self, info: &MediaInfo) -> Result<MediaBytes, MediaError> {
        match self.fetch(info).await {
            Err(MediaError::Gone) if is_path_segment(&info.id) => self.fetch(&self.media_info(&info.id).await?).await,
            settled => settled,
        }
    }

    async fn fetch(&self, info: &MediaInfo) -> Result<MediaBytes, MediaError> {
        self.check_host(&info.url)?;
        let limit_bytes = self.config.media_bytes_max;
        if info.file_size_bytes.is_some_and(|size| size > limit_bytes) {
            return Err(MediaError::TooLarge { limit_bytes });
        }
        let request = self.http.get(info.url.clone()).timeout(self.config.media_timeout);
        let transfer = |error: reqwest::Error| MediaError::Transfer { reason: chain(&error) };
        let response = request.header(AUTHORIZATION, self.bearer.clone()).send().await.map_err(transfer)?;
        match response.status().as_u16() {
            200 => {}
            404 | 410 => return Err(MediaError::Gone),
            status => return Err(MediaError::Status { status }),
        }
        if response.content_length().is_some_and(|length| length > limit_bytes) {
            return Err(MediaError::TooLarge { limit_bytes });
        }
        let bytes = read_file(response, limit_bytes).await?;
        let expected = info.sha256.as_deref().and_then(decode_digest);
        if expected.is_some_and(|expected| Sha256::digest(&bytes)[..] != expected) {
            return Err(MediaError::Digest);
        }
        Ok(MediaBytes { bytes, mime_type: info.mime_type.clone(), sha256_verified: expected.is_some() })
    }

    /// Our token goes to the base URL's own origin, and over https to the usual port of the listed hosts.
    fn check_host(&self, url: &Url) -> Result<(), MediaError> {
        let host = url.host_str().unwrap_or_default();
        let listed = self.config.media_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
        let secure = url.scheme() == "https" && url.port().is_none();
        let plain = url.username().is_empty() && url.password().is_none();
        if plain && (url.origin() == self.config.base_url.origin() || (listed && secure)) {
            return Ok(());
        }
        let shown = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        Err(MediaError::HostNotAllowed { host: shown })
    }
}

async fn read_file(response: reqwest::Response, limit_bytes: u64) -> Result<Bytes, MediaError> {
    let mut file = BytesMut::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| MediaError::Transfer { reason: chain(&error) })?;
        if (file.len() + chunk.len()) as u64 > limit_bytes {
            return Err(MediaError::TooLarge { limit_bytes });
        }
        file.extend_from_slice(&chunk);
    }
    Ok(file.freeze())
}

/// 64 hexadecimal digits, or base64 with or without padding; `None` for anything else.
fn decode_digest(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let bytes = match text.len() {
        64 => hex::decode(text).ok()?,
        _ => STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?,
    };
    bytes.try_into().ok()
}

/// The type without its parameters, in lower case.
fn essence(mime_type: &str) -> String {
    mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_in_each_spelling() {
        let digest: [u8; 32] = Sha256::digest(b"x").into();
        let padded = STANDARD.encode(digest);
        for text in [hex::encode(digest), hex::encode_upper(digest), padded.clone(), padded.replace('=', "")] {
            assert_eq!(decode_digest(&text), Some(digest), "{text}");
        }
        for text in ["", "abc", "!!!!", &hex::encode([0; 31])] {
            assert_eq!(decode_digest(text), None, "{text}");
        }
    }

    #[test]
    fn types_are_known_with_and_without_parameters() {
        assert_eq!(upload_bytes_max("audio/ogg; codecs=opus"), Some(16 * 1024 * 1024));
        assert_eq!(upload_bytes_max("Image/PNG"), Some(5 * 1024 * 1024));
        assert_eq!(upload_bytes_max("text/html"), None);
    }
}
