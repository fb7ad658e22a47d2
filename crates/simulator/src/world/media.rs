//! Files: uploaded by the business or by people, looked up by id, downloaded by a short-lived address (reference §4).

use std::collections::{HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::view::{Author, ControlError};
use crate::world::World;

/// Bytes of all files together; past it the oldest files go.
pub const MEDIA_BYTES_MAX: usize = 256 * 1_024 * 1_024;
/// Bytes of one file, the largest that any type allows.
pub const MEDIA_FILE_BYTES_MAX: usize = 100 * 1_024 * 1_024;
/// Files at a time; past it the oldest go.
pub const MEDIA_FILES_MAX: usize = 5_000;
/// Download addresses at a time; past it the oldest go.
pub const MEDIA_ADDRESSES_MAX: usize = 20_000;
/// How long a download address works, in seconds.
pub const MEDIA_ADDRESS_SECONDS: i64 = 5 * 60;
/// How long the id of a file from a person lives, in seconds.
pub const USER_MEDIA_SECONDS: i64 = 7 * 24 * 3_600;
/// How long the id of a file that the business uploaded lives, in seconds.
pub const BUSINESS_MEDIA_SECONDS: i64 = 30 * 24 * 3_600;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * 1_024;
/// What may be sent: kind, MIME type, largest size in bytes.
const SENDABLE: &[(&str, &str, usize)] = &[
    ("audio", "audio/aac", 16 * MIB),
    ("audio", "audio/amr", 16 * MIB),
    ("audio", "audio/mpeg", 16 * MIB),
    ("audio", "audio/mp4", 16 * MIB),
    ("audio", "audio/ogg", 16 * MIB),
    ("image", "image/jpeg", 5 * MIB),
    ("image", "image/png", 5 * MIB),
    ("video", "video/mp4", 16 * MIB),
    ("video", "video/3gpp", 16 * MIB),
    ("sticker", "image/webp", 500 * KIB),
    ("document", "application/pdf", 100 * MIB),
    ("document", "text/plain", 100 * MIB),
    ("document", "application/msword", 100 * MIB),
    ("document", "application/vnd.ms-excel", 100 * MIB),
    ("document", "application/vnd.ms-powerpoint", 100 * MIB),
    ("document", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", 100 * MIB),
    ("document", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 100 * MIB),
    ("document", "application/vnd.openxmlformats-officedocument.presentationml.presentation", 100 * MIB),
];

/// A stored file.
#[derive(Debug, Clone)]
pub(crate) struct MediaFile {
    pub(crate) id: String,
    pub(crate) mime_type: String,
    pub(crate) filename: Option<String>,
    pub(crate) bytes: Bytes,
    sha256: [u8; 32],
    /// End of the id's life, in seconds.
    expires_at: i64,
}

impl MediaFile {
    /// As webhooks write it.
    pub(crate) fn sha256_base64(&self) -> String {
        STANDARD.encode(self.sha256)
    }

    /// As a look-up writes it.
    pub(crate) fn sha256_hex(&self) -> String {
        hex::encode(self.sha256)
    }

    /// The MIME type without parameters.
    pub(crate) fn essence(&self) -> &str {
        essence(&self.mime_type)
    }

    /// Why it cannot be sent as this kind; `None` if it can.
    pub(crate) fn unfit_for(&self, kind: &str) -> Option<String> {
        let Some((_, _, limit)) = SENDABLE.iter().find(|(k, mime, _)| *k == kind && *mime == self.essence()) else {
            return Some(format!("{} cannot be sent as {kind}", self.mime_type));
        };
        if self.bytes.len() > *limit {
            return Some(format!("the file has {} bytes, {kind} may have {limit}", self.bytes.len()));
        }
        if self.essence() == "audio/ogg" && !self.is_ogg_opus() {
            return Some("audio/ogg must hold Opus".to_owned());
        }
        None
    }

    /// Whether this can be a voice note.
    pub(crate) fn is_ogg_opus(&self) -> bool {
        let head = &self.bytes[..self.bytes.len().min(512)];
        self.essence() == "audio/ogg" && head.starts_with(b"OggS") && head.windows(8).any(|part| part == b"OpusHead")
    }
}

/// All files and download addresses.
#[derive(Debug, Default)]
pub(crate) struct MediaStore {
    files: HashMap<String, MediaFile>,
    order: VecDeque<String>,
    bytes: usize,
    /// Token to file and end of its life in seconds.
    addresses: HashMap<String, (String, i64)>,
    address_order: VecDeque<String>,
}

impl MediaStore {
    /// A living file.
    pub(crate) fn get(&self, id: &str, now: i64) -> Option<&MediaFile> {
        self.files.get(id).filter(|file| now < file.expires_at)
    }

    pub(crate) fn by_address(&self, token: &str, now: i64) -> Option<&MediaFile> {
        let (id, expires_at) = self.addresses.get(token)?;
        (now < *expires_at).then(|| self.get(id, now)).flatten()
    }

    pub(crate) fn remove(&mut self, id: &str) -> bool {
        self.order.retain(|other| other != id);
        let removed = self.files.remove(id);
        self.bytes -= removed.as_ref().map_or(0, |file| file.bytes.len());
        removed.is_some()
    }

    fn insert(&mut self, file: MediaFile) {
        self.bytes += file.bytes.len();
        self.order.push_back(file.id.clone());
        self.files.insert(file.id.clone(), file);
        while (self.bytes > MEDIA_BYTES_MAX || self.order.len() > MEDIA_FILES_MAX) && self.order.len() > 1 {
            let Some(oldest) = self.order.front().cloned() else {
                break;
            };
            self.remove(&oldest);
        }
    }

    fn insert_address(&mut self, token: String, id: &str, expires_at: i64) {
        self.addresses.insert(token.clone(), (id.to_owned(), expires_at));
        self.address_order.push_back(token);
        if self.address_order.len() > MEDIA_ADDRESSES_MAX
            && let Some(oldest) = self.address_order.pop_front()
        {
            self.addresses.remove(&oldest);
        }
    }
}

impl World {
    /// Stores a file and gives its id.
    pub(crate) fn store_media(
        &mut self,
        owner: Author,
        mime_type: &str,
        filename: Option<String>,
        bytes: Bytes,
    ) -> Result<String, ControlError> {
        if bytes.is_empty() || bytes.len() > MEDIA_FILE_BYTES_MAX {
            return Err(ControlError::Invalid(format!("a file has 1 to {MEDIA_FILE_BYTES_MAX} bytes")));
        }
        if !is_mime_type(mime_type) {
            return Err(ControlError::Invalid("the file needs a content type such as image/jpeg".to_owned()));
        }
        let id = self.ids.object_id();
        let life = if owner == Author::User { USER_MEDIA_SECONDS } else { BUSINESS_MEDIA_SECONDS };
        let sha256 = Sha256::digest(&bytes).into();
        let expires_at = self.now() + life;
        let mime_type = mime_type.to_owned();
        self.media.insert(MediaFile { id: id.clone(), mime_type, filename, bytes, sha256, expires_at });
        Ok(id)
    }

    /// A fresh download address, good for [`MEDIA_ADDRESS_SECONDS`].
    pub(crate) fn media_address(&mut self, id: &str) -> String {
        let token = self.ids.token();
        let expires_at = self.now() + MEDIA_ADDRESS_SECONDS;
        let url = format!("{}/attachments/{token}?mid={id}&ext={expires_at}", self.public_url);
        self.media.insert_address(token, id, expires_at);
        url
    }
}

/// Whether the business may upload this type at all.
pub(crate) fn is_sendable_type(mime_type: &str) -> bool {
    SENDABLE.iter().any(|(_, mime, _)| *mime == essence(mime_type))
}

fn essence(mime_type: &str) -> &str {
    mime_type.split(';').next().unwrap_or_default().trim()
}

fn is_mime_type(text: &str) -> bool {
    let plain = text.len() <= 200 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    plain && essence(text).split_once('/').is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty())
}
