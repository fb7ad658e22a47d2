//! What a simulator is started with, and why a start can fail.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

/// Settings of one simulator. [`Default`] gives a working one on a free loopback port.
#[derive(Clone)]
pub struct SimulatorConfig {
    /// Where to listen. Port 0 picks a free port; [`crate::Simulator::url`] tells which.
    pub bind: SocketAddr,
    /// Base URL that clients use to reach this server, for media links. Default: made from the listening address.
    pub public_url: Option<String>,
    /// Key of the HMAC-SHA256 signature on webhooks.
    pub app_secret: String,
    /// What `hub.verify_token` carries in the handshake.
    pub verify_token: String,
    /// The bearer token that the Graph API accepts.
    pub access_token: String,
    /// The business phone number's id, part of the path of a send.
    pub phone_number_id: String,
    /// The WhatsApp Business Account's id: `entry[].id` of webhooks and the owner of templates.
    pub waba_id: String,
    /// The business number as digits, `metadata.display_phone_number`.
    pub display_phone_number: String,
    /// The business's verified name, shown by the phone number node and the chat page.
    pub verified_name: String,
    /// Where webhooks go. `None`: nowhere, until [`crate::Simulator::set_webhook`].
    pub webhook_url: Option<String>,
    /// Seed of every random choice (ids, names). The same seed and calls give the same ids.
    pub seed: u64,
    /// Whether phones read what arrives by themselves, without anybody opening the chat.
    pub auto_read: bool,
    /// Real time from acceptance to the `sent` status, in milliseconds.
    pub sent_after_milliseconds: u64,
    /// Real time from `sent` to `delivered`, in milliseconds.
    pub delivered_after_milliseconds: u64,
    /// Real time from `delivered` to `read` where `auto_read` is on, in milliseconds.
    pub read_after_milliseconds: u64,
    /// Real time until a new template is decided, in milliseconds.
    pub template_review_milliseconds: u64,
    /// Whether the pair limit (131056) and the number's throughput (130429) are enforced.
    pub enforce_pace: bool,
    /// Messages a second, in and out together, that the number may carry while pace is enforced.
    pub throughput_messages_per_second: u32,
    /// How a free-form message outside the 24-hour window is refused.
    pub window_refusal: WindowRefusal,
    /// Where not empty, only these phones (digits) and user ids may be written to, as on a test number (131030).
    pub recipient_allow_list: Vec<String>,
    /// Service messages a month that cost nothing.
    pub free_service_messages_per_month: u32,
    /// Whether the account can pay. Without it service messages past the allowance fail (131042).
    pub payment_method: bool,
    /// Statuses that are told, apart from `failed`, which always is. Bubbles move on whatever is told.
    pub statuses: Vec<StatusLevel>,
    /// Statuses that share a webhook, at most. Above 1 a status waits for others, up to
    /// [`crate::deliver::STATUS_GATHER_MAX`].
    pub status_batch_max: usize,
    /// Webhook requests in flight at the same time.
    pub delivery_concurrency: usize,
    /// How long to wait for the answer to one webhook, in milliseconds.
    pub delivery_timeout_milliseconds: u64,
    /// Pause before the first redelivery, in milliseconds; doubles up to [`crate::deliver::RETRY_DELAY_MAX`].
    pub retry_delay_milliseconds: u64,
}

/// How a free-form message outside the window is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WindowRefusal {
    /// Accepted with 200, then a `failed` status with 131047, as Meta does.
    #[default]
    Status,
    /// A 400 with 131047 at once.
    Answer,
}

/// A status that is told as it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StatusLevel {
    /// On its way.
    Sent,
    /// On the phone.
    Delivered,
    /// Seen.
    Read,
    /// Listened to.
    Played,
}

impl StatusLevel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sent, Self::Delivered, Self::Read, Self::Played];
}

impl fmt::Display for StatusLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
        })
    }
}

impl SimulatorConfig {
    /// A seed that differs from run to run. A platform with a memory needs it: it would take the message ids of an
    /// earlier run for repeats.
    #[expect(clippy::disallowed_methods, reason = "the point is that two runs differ; in tests the seed is a setting")]
    pub fn fresh_seed() -> u64 {
        rand::random()
    }
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            app_secret: "simulator-app-secret".to_owned(),
            verify_token: "simulator-verify-token".to_owned(),
            access_token: "simulator-access-token".to_owned(),
            phone_number_id: "106540352242922".to_owned(),
            waba_id: "102290129340398".to_owned(),
            display_phone_number: "15550783881".to_owned(),
            verified_name: "Simulated Business".to_owned(),
            webhook_url: None,
            seed: 1,
            auto_read: false,
            sent_after_milliseconds: 10,
            delivered_after_milliseconds: 40,
            read_after_milliseconds: 200,
            template_review_milliseconds: 200,
            enforce_pace: false,
            throughput_messages_per_second: 80,
            window_refusal: WindowRefusal::Status,
            recipient_allow_list: Vec::new(),
            free_service_messages_per_month: 1_000,
            payment_method: true,
            statuses: StatusLevel::ALL.to_vec(),
            status_batch_max: 1,
            delivery_concurrency: 32,
            delivery_timeout_milliseconds: 20_000,
            retry_delay_milliseconds: 200,
        }
    }
}

impl fmt::Debug for SimulatorConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SimulatorConfig")
            .field("bind", &self.bind)
            .field("phone_number_id", &self.phone_number_id)
            .field("waba_id", &self.waba_id)
            .field("webhook_url", &self.webhook_url)
            .field("seed", &self.seed)
            .field("auto_read", &self.auto_read)
            .field("enforce_pace", &self.enforce_pace)
            .finish_non_exhaustive()
    }
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on: choose another port.
    #[error("{address} cannot be listened on: free it, or choose another address or port")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A setting makes no sense: correct it.
    #[error("bad setting: {0}")]
    Setting(String),
    /// The HTTP client could not be made.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}
