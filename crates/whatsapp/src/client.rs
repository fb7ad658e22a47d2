//! The HTTP client: messages, read receipts, media, templates, the phone number.
//!
//! Every call says afterwards what is known: accepted, refused (and what that means for a repeat,
//! [`SendError::verdict`]), or **unknown**: there is no idempotency key, so a message whose answer was lost may be out,
//! and only a status webhook that echoes its callback data can tell. The client itself never repeats a request and
//! follows no redirects.

mod exchange;
mod media;
mod templates;

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use thiserror::Error;
use url::Url;

use crate::identity::{Bsuid, Phone};
use crate::json;
use crate::message::{OutboundMessage, ReadReceipt};

pub use exchange::SendError;
pub use media::{MediaBytes, MediaError, MediaInfo, upload_bytes_max};
pub use templates::{CreatedTemplate, NewTemplate, TemplateInfo, TemplatePage};

/// The public Graph API.
pub const DEFAULT_BASE_URL: &str = "https://graph.facebook.com";
/// The version of the API this crate was written for.
pub const DEFAULT_API_VERSION: &str = "v25.0";
/// Hosts that media may be fetched from with our token, besides the host of the base URL.
pub const DEFAULT_MEDIA_HOSTS: [&str; 2] = ["graph.facebook.com", "lookaside.fbsbx.com"];
/// Longest time for a connection to come about.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a call, connecting included.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time for a file to be uploaded or downloaded.
pub const DEFAULT_MEDIA_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest file that is downloaded, in bytes: 16 MiB.
pub const DEFAULT_MEDIA_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most characters of an id that becomes part of a path.
const PATH_SEGMENT_CHARACTERS_MAX: usize = 256;

/// What a [`Client`] needs to know. `Debug` does not show the token.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Scheme and host (and a path prefix, if a proxy needs one), without the version.
    pub base_url: Url,
    /// The version, such as `v25.0`.
    pub api_version: String,
    /// The access token.
    pub access_token: SecretString,
    /// Id of the business phone number that sends.
    pub phone_number_id: String,
    /// Id of the WhatsApp Business account; needed for templates only.
    pub waba_id: Option<String>,
    /// Longest time for a connection to come about.
    pub connect_timeout: Duration,
    /// Longest time for a call, connecting included.
    pub request_timeout: Duration,
    /// Longest time for a file to be uploaded or downloaded.
    pub media_timeout: Duration,
    /// Hosts that media may be fetched from over https with our token. The base URL's own origin always may.
    pub media_hosts: Vec<String>,
    /// Largest file that is downloaded, in bytes.
    pub media_bytes_max: u64,
}

impl ClientConfig {
    /// A configuration with the defaults of this module.
    pub fn new(base_url: Url, access_token: SecretString, phone_number_id: impl Into<String>) -> Self {
        Self {
            base_url,
            api_version: DEFAULT_API_VERSION.to_owned(),
            access_token,
            phone_number_id: phone_number_id.into(),
            waba_id: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            media_timeout: DEFAULT_MEDIA_TIMEOUT,
            media_hosts: DEFAULT_MEDIA_HOSTS.map(str::to_owned).to_vec(),
            media_bytes_max: DEFAULT_MEDIA_BYTES_MAX,
        }
    }
}

/// A configuration that cannot work.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Not an http or https address with a host, or one with a query, a fragment or a password in it.
    #[error("the base URL must be an http or https address without query, fragment and password")]
    BaseUrl,
    /// A version that is not `v` and a number such as `25.0`.
    #[error("the API version must look like v25.0")]
    ApiVersion,
    /// The id has characters that do not belong into a path.
    #[error("the {field} must be 1 to 256 letters, digits, `_`, `-` or `.`")]
    Id {
        /// Which id.
        field: &'static str,
    },
    /// An empty token, or one with characters that a header cannot carry.
    #[error("the access token is empty or has characters that no header can carry")]
    AccessToken,
    /// The HTTP client could not be built, mostly for want of TLS roots.
    #[error("the HTTP client could not be built: {0}")]
    Build(#[from] reqwest::Error),
}

/// A client for one phone number. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    bearer: HeaderValue,
    config: std::sync::Arc<ClientConfig>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.config.base_url.as_str())
            .field("api_version", &self.config.api_version)
            .field("phone_number_id", &self.config.phone_number_id)
            .finish_non_exhaustive()
    }
}

/// WhatsApp's answer to a send: accepted, which is not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The id of the message (`wamid.…`), by which its statuses name it.
    pub message_id: String,
    /// The phone number it goes to, which may differ from the one given (Brazil, Mexico). Only if sent to a phone
    /// number.
    pub wa_id: Option<Phone>,
    /// The BSUID it goes to. Only if sent to one.
    pub user_id: Option<Bsuid>,
    /// Whether it is on its way.
    pub message_status: AcceptedStatus,
}

/// Whether an accepted message is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptedStatus {
    /// It is. Also where the answer does not say.
    Accepted,
    /// Held until the template's quality is known: it is released or dropped later.
    HeldForQualityAssessment,
    /// The template is paused.
    Paused,
    /// A word this crate does not know.
    Other(String),
}

/// The business phone number as the API describes it. Every field may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PhoneNumber {
    /// Its id.
    pub id: Option<String>,
    /// The number as people see it.
    pub display_phone_number: Option<String>,
    /// The display name.
    pub verified_name: Option<String>,
    /// `GREEN`, `YELLOW`, `RED`, `NA`, `UNKNOWN`.
    pub quality_rating: Option<String>,
    /// `throughput.level`: `STANDARD` (80 messages a second) or `HIGH` (1,000).
    pub throughput_level: Option<String>,
    /// Users that may be written to outside of windows in 24 hours: `TIER_250` … `TIER_UNLIMITED`.
    pub messaging_limit: Option<String>,
    /// `CONNECTED`, `DISCONNECTED` and the like.
    pub status: Option<String>,
}

impl Client {
    /// A client for this configuration. Connects to nothing yet.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        check_config(&config)?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", config.access_token.expose_secret()))
            .map_err(|_| ClientError::AccessToken)?;
        bearer.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            .timeout(config.request_timeout)
            .redirect(reqwest::redirect::Policy::none())
            // A repeat below us would be a blind one.
            .retry(reqwest::retry::never())
            .user_agent(concat!("whatsapp-rust/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, bearer, config: std::sync::Arc::new(config) })
    }

    /// Sends one message: `POST /{phone_number_id}/messages`. On an error ask [`SendError::verdict`] what it means.
    pub async fn send(&self, message: &OutboundMessage) -> Result<Accepted, SendError> {
        let url = self.url(&[&self.config.phone_number_id, "messages"])?;
        let answer = self.post_json(url, &message.to_json()).await?;
        read_accepted(&answer.value).ok_or_else(|| answer.unreadable())
    }

    /// Marks a message as read, with or without the typing indicator. Harmless to repeat.
    pub async fn mark_read(&self, receipt: &ReadReceipt) -> Result<(), SendError> {
        let url = self.url(&[&self.config.phone_number_id, "messages"])?;
        let answer = self.post_json(url, &receipt.to_json()).await?;
        match json::flag(&answer.value, "success") {
            Some(true) => Ok(()),
            _ => Err(answer.unreadable()),
        }
    }

    /// Asks how the phone number is doing. Also the cheapest way to see whether token and id are right.
    pub async fn phone_number(&self) -> Result<PhoneNumber, SendError> {
        let mut url = self.url(&[&self.config.phone_number_id])?;
        let fields = "id,display_phone_number,verified_name,quality_rating,throughput,status,\
                      whatsapp_business_manager_messaging_limit";
        url.query_pairs_mut().append_pair("fields", fields);
        let answer = self.get_json(url).await?;
        let node = &answer.value;
        Ok(PhoneNumber {
            id: json::text(node, "id"),
            display_phone_number: json::text(node, "display_phone_number"),
            verified_name: json::text(node, "verified_name"),
            quality_rating: json::text(node, "quality_rating"),
            throughput_level: json::object(node, "throughput").and_then(|level| json::text(level, "level")),
            messaging_limit: json::text(node, "whatsapp_business_manager_messaging_limit"),
            status: json::text(node, "status"),
        })
    }

    /// The same client for another phone number of the account; both share connections.
    ///
    /// # Errors
    /// [`ClientError::Id`] when the id does not belong into a path.
    pub fn for_phone_number(&self, phone_number_id: &str) -> Result<Self, ClientError> {
        if !is_path_segment(phone_number_id) {
            return Err(ClientError::Id { field: "phone number id" });
        }
        let config = ClientConfig { phone_number_id: phone_number_id.to_owned(), ..self.config.as_ref().clone() };
        Ok(Self { config: std::sync::Arc::new(config), ..self.clone() })
    }

    /// The phone number id this client sends from.
    pub fn phone_number_id(&self) -> &str {
        &self.config.phone_number_id
    }

    /// `{base}/{version}/{segments…}`. Refuses segments that would change the path.
    fn url(&self, segments: &[&str]) -> Result<Url, SendError> {
        if let Some(bad) = segments.iter().find(|segment| !is_path_segment(segment)) {
            let shown: String = bad.chars().take(40).collect();
            return Err(SendError::Invalid { reason: format!("{shown:?} is not an id") });
        }
        let mut url = self.config.base_url.clone();
        let invalid = || SendError::Invalid { reason: "the base URL cannot be extended".to_owned() };
        let mut path = url.path_segments_mut().map_err(|()| invalid())?;
        path.pop_if_empty().push(&self.config.api_version).extend(segments);
        drop(path);
        Ok(url)
    }
}

fn check_config(config: &ClientConfig) -> Result<(), ClientError> {
    let url = &config.base_url;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain || url.password().is_some() {
        return Err(ClientError::BaseUrl);
    }
    let number = config.api_version.strip_prefix('v').unwrap_or_default();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(ClientError::ApiVersion);
    }
    if !is_path_segment(&config.phone_number_id) {
        return Err(ClientError::Id { field: "phone number id" });
    }
    if config.waba_id.as_deref().is_some_and(|id| !is_path_segment(id)) {
        return Err(ClientError::Id { field: "WhatsApp Business account id" });
    }
    if config.access_token.expose_secret().trim().is_empty() {
        return Err(ClientError::AccessToken);
    }
    Ok(())
}

fn is_path_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=PATH_SEGMENT_CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(plain) && !matches!(text, "." | "..")
}

fn read_accepted(body: &Value) -> Option<Accepted> {
    let message = json::list(body, "messages").first()?;
    let contact = json::list(body, "contacts").first().unwrap_or(&Value::Null);
    Some(Accepted {
        message_id: json::text(message, "id")?,
        wa_id: json::text(contact, "wa_id").and_then(|text| Phone::from_webhook(&text)),
        user_id: json::str(contact, "user_id").and_then(Bsuid::from_webhook),
        message_status: match json::str(message, "message_status") {
            None | Some("accepted") => AcceptedStatus::Accepted,
            Some("held_for_quality_assessment") => AcceptedStatus::HeldForQualityAssessment,
            Some("paused") => AcceptedStatus::Paused,
            Some(other) => AcceptedStatus::Other(other.to_owned()),
        },
    })
}
