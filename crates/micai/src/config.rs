//! What an operator can set: defaults, then a file, then `MICAI_*` variables; everything that is wrong is said at once.

mod files;
mod parse;
mod reader;
mod shown;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub(crate) use files::bounded_file;
use reader::Reader;
use shown::Entry;

/// App secret that `micai dev` shares with its simulator. Refused in prod.
pub const DEV_APP_SECRET: &str = "dev-app-secret";
/// Verify token of `micai dev`. Refused in prod.
pub const DEV_VERIFY_TOKEN: &str = "dev-verify-token";
/// Access token of `micai dev`. Refused in prod.
pub const DEV_ACCESS_TOKEN: &str = "dev-access-token";
/// Admin key of `micai dev`. Refused in prod.
pub const DEV_ADMIN_API_KEY: &str = "dev-admin-key";

/// What each secret of a prod process must have at least.
const PROD_SECRET_BYTES_MIN: usize = 16;

/// The effective settings. The comments of `config.default.toml` say what each one means.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the comments of config.default.toml are the documentation of each key")]
pub struct Config {
    pub app_env: AppEnv,
    pub bind: SocketAddr,
    pub log_filter: String,
    pub log_format: LogFormat,
    pub shutdown_grace_seconds: u64,

    pub database_url: DatabaseUrl,
    pub database_connections_max: u32,
    pub database_statement_timeout_seconds: u64,
    pub sqlite_readers_max: u32,
    pub redis_url: Option<SecretString>,
    pub redis_prefix: String,
    pub queue_shards: usize,
    pub queue_lease_seconds: u64,

    pub whatsapp_verify_token: Option<SecretString>,
    pub whatsapp_app_secret: Vec<SecretString>,
    pub whatsapp_access_token: Option<SecretString>,
    pub whatsapp_phone_number_id: Option<String>,
    pub whatsapp_business_account_id: Option<String>,
    pub whatsapp_api_url: Url,
    pub whatsapp_api_version: String,
    pub whatsapp_call_timeout_seconds: u64,
    pub template_sync_interval_seconds: u64,

    pub outbound_reply_enabled: bool,
    pub require_invoke_prefix: bool,
    pub invoke_prefixes: Vec<String>,
    pub steering: SteeringConfig,
    pub freeform_window_hours: u32,
    pub out_of_window_template: Option<String>,
    pub template_language: String,
    pub unknown_send_deadline_seconds: u64,
    pub prices_file: Option<PathBuf>,

    pub tools: ToolConfig,

    pub admin_api_key: Option<SecretString>,
    pub page_rows_max: usize,

    pub webhook_body_bytes_max: usize,
    pub webhook_items_max: usize,
    pub http_connections_max: usize,
    pub http_header_timeout_seconds: u64,
    pub http_request_timeout_seconds: u64,

    pub turn_workers: usize,
    pub conversation_lease_seconds: u64,
    pub send_workers: usize,
    pub queue_max_attempts: u32,
    pub number_messages_per_second: u32,
    pub pair_seconds: u32,
    pub pair_burst: u32,
    pub held_hours_max: u32,
    pub sweep_interval_seconds: u64,

    /// What `micai config` prints: one line a key, in the order of `config.default.toml`.
    entries: Vec<Entry>,
}

/// What tools reach.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the comments of config.default.toml are the documentation of each key")]
pub struct ToolConfig {
    pub weather_forecast_url: Url,
    pub weather_geocoding_url: Url,
    pub outbound_private_hosts: Vec<String>,
}

impl ToolConfig {
    fn read(from: &mut Reader) -> Result<Self, ConfigErrors> {
        Ok(Self {
            weather_forecast_url: from.open_key("weather_forecast_url", parse::service_url)?,
            weather_geocoding_url: from.open_key("weather_geocoding_url", parse::service_url)?,
            outbound_private_hosts: from.open_key("outbound_private_hosts", parse::hosts)?,
        })
    }
}

/// The words by which people stop us and steer a conversation, and how it is handed to people.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the comments of config.default.toml are the documentation of each key")]
pub struct SteeringConfig {
    pub consent_words_file: Option<PathBuf>,
    pub control_words_file: Option<PathBuf>,
    pub handover_hours: u32,
    /// Secret, since what stands behind its host may be a key.
    pub operator_webhook_url: Option<SecretString>,
    pub operator_webhook_secret: Option<SecretString>,
}

/// Where the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppEnv {
    /// On a developer's machine.
    Dev,
    /// For real people.
    Prod,
    /// Under a test.
    Test,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// JSON in prod, text elsewhere.
    Auto,
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Where the facts are kept.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// A `postgresql://` address, as sqlx takes it. Secret, since it may hold a password.
    Postgres(SecretString),
    /// A file, relative to the working directory or absolute.
    Sqlite(PathBuf),
}

/// Everything that is wrong with the settings, a sentence each.
#[derive(Debug, thiserror::Error)]
#[error("these settings must be mended first:\n  - {}", .sentences.join("\n  - "))]
pub struct ConfigErrors {
    /// One finding each, with the name of the setting and what to do.
    pub sentences: Vec<String>,
}

impl Config {
    /// The settings from the compiled-in defaults, then `file` (else the file that `MICAI_CONFIG_FILE` names), then
    /// `environment`. The environment is passed in; a process gives `std::env::vars_os()`.
    ///
    /// # Errors
    /// Every finding at once: unknown names, values that do not fit, secret files that cannot be read, and what `prod`
    /// refuses. No sentence holds a secret.
    pub fn load<K, V>(environment: impl IntoIterator<Item = (K, V)>, file: Option<&Path>) -> Result<Self, ConfigErrors>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        Self::load_with_presets(&[], environment, file)
    }

    /// As [`Config::load`], with `presets` (key, value) that replace defaults and that file and environment still
    /// override: how `micai dev` brings its own.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with_presets<K, V>(
        presets: &[(&str, String)],
        environment: impl IntoIterator<Item = (K, V)>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigErrors>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut reader = Reader::open(presets, environment, file);
        let mut config = Self::read(&mut reader)?;
        config.check_together(&mut reader);
        match config.app_env {
            AppEnv::Prod if !presets.is_empty() => reader.note(format!(
                "{} is prod, and `micai dev` is for trying things out, with a simulated WhatsApp: start `micai serve`, or \
                 leave this setting away.",
                reader.named("app_env")
            )),
            AppEnv::Prod => config.check_prod(&mut reader),
            AppEnv::Dev | AppEnv::Test => {}
        }
        config.entries = reader.finish()?;
        Ok(config)
    }

    /// One line a key: its name, whether it is secret, and what it must be. A bad value is noted by the reader, which
    /// goes on with the default, so that all findings come together.
    fn read(from: &mut Reader) -> Result<Self, ConfigErrors> {
        Ok(Self {
            app_env: from.open_key("app_env", parse::app_env)?,
            bind: from.open_key("bind", parse::socket_address)?,
            log_filter: from.open_key("log_filter", parse::log_filter)?,
            log_format: from.open_key("log_format", parse::log_format)?,
            shutdown_grace_seconds: from.open_key("shutdown_grace_seconds", parse::whole(1..=600, "seconds"))?,

            database_url: from.address_key("database_url", parse::database_url)?,
            database_connections_max: from
                .open_key("database_connections_max", parse::whole(2..=500, "connections"))?,
            database_statement_timeout_seconds: from
                .open_key("database_statement_timeout_seconds", parse::whole(1..=600, "seconds"))?,
            sqlite_readers_max: from.open_key("sqlite_readers_max", parse::whole(1..=64, "connections"))?,
            redis_url: from.address_key("redis_url", parse::redis_url)?,
            redis_prefix: from.open_key("redis_prefix", parse::redis_prefix)?,
            queue_shards: from.open_key("queue_shards", parse::whole(1..=64, "shards"))?,
            queue_lease_seconds: from.open_key("queue_lease_seconds", parse::whole(3..=7_200, "seconds"))?,

            whatsapp_verify_token: from.secret_key("whatsapp_verify_token", parse::optional_secret)?,
            whatsapp_app_secret: from.secret_key("whatsapp_app_secret", parse::secret_list)?,
            whatsapp_access_token: from.secret_key("whatsapp_access_token", parse::optional_secret)?,
            whatsapp_phone_number_id: from.open_key("whatsapp_phone_number_id", parse::optional_id)?,
            whatsapp_business_account_id: from.open_key("whatsapp_business_account_id", parse::optional_id)?,
            whatsapp_api_url: from.open_key("whatsapp_api_url", parse::api_url)?,
            whatsapp_api_version: from.open_key("whatsapp_api_version", parse::api_version)?,
            whatsapp_call_timeout_seconds: from
                .open_key("whatsapp_call_timeout_seconds", parse::whole(1..=120, "seconds"))?,
            template_sync_interval_seconds: from
                .open_key("template_sync_interval_seconds", parse::whole(60..=86_400, "seconds"))?,

            outbound_reply_enabled: from.open_key("outbound_reply_enabled", parse::flag)?,
            require_invoke_prefix: from.open_key("require_invoke_prefix", parse::flag)?,
            invoke_prefixes: from.open_key("invoke_prefixes", parse::prefixes)?,
            steering: SteeringConfig::read(from)?,
            freeform_window_hours: from.open_key("freeform_window_hours", parse::whole(1..=24, "hours"))?,
            out_of_window_template: from.open_key("out_of_window_template", parse::optional_name)?,
            template_language: from.open_key("template_language", parse::language)?,
            unknown_send_deadline_seconds: from
                .open_key("unknown_send_deadline_seconds", parse::whole(1..=86_400, "seconds"))?,
            prices_file: from.open_key("prices_file", parse::optional_path)?,

            tools: ToolConfig::read(from)?,

            admin_api_key: from.secret_key("admin_api_key", parse::optional_secret)?,
            page_rows_max: from.open_key("page_rows_max", parse::whole(1..=1_000, "rows"))?,

            webhook_body_bytes_max: from
                .open_key("webhook_body_bytes_max", parse::whole(65_536..=67_108_864, "bytes"))?,
            webhook_items_max: from.open_key("webhook_items_max", parse::whole(1..=1_000, "items"))?,
            http_connections_max: from.open_key("http_connections_max", parse::whole(1..=65_536, "connections"))?,
            http_header_timeout_seconds: from
                .open_key("http_header_timeout_seconds", parse::whole(1..=600, "seconds"))?,
            http_request_timeout_seconds: from
                .open_key("http_request_timeout_seconds", parse::whole(1..=600, "seconds"))?,

            turn_workers: from.open_key("turn_workers", parse::whole(1..=1_024, "workers"))?,
            conversation_lease_seconds: from
                .open_key("conversation_lease_seconds", parse::whole(2..=3_600, "seconds"))?,
            send_workers: from.open_key("send_workers", parse::whole(1..=1_024, "workers"))?,
            queue_max_attempts: from.open_key("queue_max_attempts", parse::whole(1..=50, "attempts"))?,
            number_messages_per_second: from
                .open_key("number_messages_per_second", parse::whole(0..=100_000, "messages a second"))?,
            pair_seconds: from.open_key("pair_seconds", parse::whole(0..=3_600, "seconds"))?,
            pair_burst: from.open_key("pair_burst", parse::whole(1..=45, "messages"))?,
            held_hours_max: from.open_key("held_hours_max", parse::whole(1..=8_760, "hours"))?,
            sweep_interval_seconds: from.open_key("sweep_interval_seconds", parse::whole(1..=3_600, "seconds"))?,
            entries: Vec::new(),
        })
    }

    /// What each value allows alone and two values together do not.
    fn check_together(&self, reader: &mut Reader) {
        if self.require_invoke_prefix && self.invoke_prefixes.is_empty() {
            reader.note(format!(
                "{} is empty while {} is true: no message would ever be answered; name a prefix or set the second to \
                 false.",
                reader.named("invoke_prefixes"),
                reader.named("require_invoke_prefix")
            ));
        }
        if self.redis_url.is_some() && self.queue_lease_seconds <= self.conversation_lease_seconds {
            reader.note(format!(
                "{} is {} and {} is {}: the first must be longer, or a conversation would be handed to a second worker \
                 that can only wait for the first.",
                reader.named("queue_lease_seconds"),
                self.queue_lease_seconds,
                reader.named("conversation_lease_seconds"),
                self.conversation_lease_seconds
            ));
        }
        if self.steering.operator_webhook_url.is_some() && self.steering.operator_webhook_secret.is_none() {
            reader.note(format!(
                "{} is set and {} is not: your system could not tell our notices from anybody's; set a secret.",
                reader.named("operator_webhook_url"),
                reader.named("operator_webhook_secret")
            ));
        }
        if let DatabaseUrl::Sqlite(path) = &self.database_url
            && let Some(folder) = path.parent()
            && !folder.as_os_str().is_empty()
            && !folder.is_dir()
        {
            reader.note(format!(
                "{} names a file in {}, which is not a folder here: make the folder, or write four slashes \
                 (sqlite:////var/lib/micai.db) for an absolute path.",
                reader.named("database_url"),
                folder.display()
            ));
        }
    }

    /// What is good enough for a developer's machine and not for real people.
    fn check_prod(&self, reader: &mut Reader) {
        let app_secrets: Vec<&SecretString> = self.whatsapp_app_secret.iter().collect();
        let single = |secret: &'static str, value| (secret, Option::<&SecretString>::into_iter(value).collect());
        let rows: [(&str, Vec<&SecretString>); 5] = [
            ("whatsapp_app_secret", app_secrets),
            single("whatsapp_verify_token", self.whatsapp_verify_token.as_ref()),
            single("admin_api_key", self.admin_api_key.as_ref()),
            single("whatsapp_access_token", self.whatsapp_access_token.as_ref()),
            single("operator_webhook_secret", self.steering.operator_webhook_secret.as_ref()),
        ];
        for (key, secrets) in rows {
            let needed = match key {
                "whatsapp_access_token" => self.outbound_reply_enabled,
                // An address without one is refused everywhere.
                "operator_webhook_secret" => false,
                _ => true,
            };
            if secrets.is_empty() && needed {
                reader.note_missing_in_prod(key);
            }
            for secret in secrets {
                check_prod_secret(key, secret, reader);
            }
        }
        if self.outbound_reply_enabled && self.whatsapp_phone_number_id.is_none() {
            reader.note_missing_in_prod("whatsapp_phone_number_id");
        }
        if self.whatsapp_api_url.scheme() != "https" && !parse::is_loopback(&self.whatsapp_api_url) {
            reader.note(format!(
                "{} is \"{}\": in prod it must be https, since the access token travels with every call.",
                reader.named("whatsapp_api_url"),
                self.whatsapp_api_url
            ));
        }
    }

    /// The effective settings as a TOML text, each with its source as a comment; secrets only as set or not set.
    #[must_use]
    pub fn rendered(&self) -> String {
        let width = self.entries.iter().map(|entry| entry.line().chars().count()).max().unwrap_or(0);
        let mut text = String::from("# Effective settings of micai. Behind each: where it comes from.\n");
        for entry in &self.entries {
            text.push_str(&format!("{:<width$}  # {}\n", entry.line(), entry.source));
        }
        text
    }
}

impl SteeringConfig {
    fn read(from: &mut Reader) -> Result<Self, ConfigErrors> {
        Ok(Self {
            consent_words_file: from.open_key("consent_words_file", parse::optional_path)?,
            control_words_file: from.open_key("control_words_file", parse::optional_path)?,
            handover_hours: from.open_key("handover_hours", parse::whole(1..=720, "hours"))?,
            operator_webhook_url: from.host_key("operator_webhook_url", parse::optional_web_address)?,
            operator_webhook_secret: from.secret_key("operator_webhook_secret", parse::optional_secret)?,
        })
    }
}

impl DatabaseUrl {
    /// For people: the address without its password, or the path.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:///{}", path.display()),
            Self::Postgres(url) => {
                let address = url.expose_secret();
                shown::masked(address).unwrap_or_else(|| address.to_owned())
            }
        }
    }
}

impl Config {
    /// The address of Redis for people, without its password.
    #[must_use]
    pub fn redis_shown(&self) -> Option<String> {
        let address = self.redis_url.as_ref()?.expose_secret();
        Some(shown::masked(address).unwrap_or_else(|| address.to_owned()))
    }
}

fn check_prod_secret(key: &str, secret: &SecretString, reader: &mut Reader) {
    const WELL_KNOWN: [&str; 4] = [DEV_APP_SECRET, DEV_VERIFY_TOKEN, DEV_ACCESS_TOKEN, DEV_ADMIN_API_KEY];
    let value = secret.expose_secret();
    if WELL_KNOWN.contains(&value) {
        reader.note(format!(
            "{} is the well-known value of `micai dev`: in prod everybody could use it; set one of your own.",
            reader.named(key)
        ));
    } else if value.len() < PROD_SECRET_BYTES_MIN {
        reader.note(format!(
            "{} is shorter than {PROD_SECRET_BYTES_MIN} bytes: in prod it could be guessed; set a longer one, for \
             example from `openssl rand -hex 24`.",
            reader.named(key)
        ));
    }
}
