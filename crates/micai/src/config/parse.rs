//! From the text of a setting to its value: pure functions, one a kind.
//!
//! An error is the end of a sentence: it says what the value must be, and never repeats the value, which may be secret.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::{AppEnv, DatabaseUrl, LogFormat};

/// The value, or the end of the sentence "X is …: it must be …".
pub(super) type Parsed<T> = Result<T, String>;

const PREFIX_CHARS_MAX: usize = 64;
/// Hosts of a list.
const HOSTS_MAX: usize = 32;
const PREFIXES_MAX: usize = 32;
const REDIS_PREFIX_CHARS_MAX: usize = 64;
const APP_SECRETS_MAX: usize = 4;
const ID_DIGITS_MAX: usize = 32;

/// One of `dev`, `prod`, `test`.
pub(super) fn app_env(text: &str) -> Parsed<AppEnv> {
    match text {
        "dev" => Ok(AppEnv::Dev),
        "prod" => Ok(AppEnv::Prod),
        "test" => Ok(AppEnv::Test),
        _ => Err("it must be dev, prod or test".to_owned()),
    }
}

/// One of `auto`, `text`, `json`.
pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("it must be auto, text or json".to_owned()),
    }
}

/// A level or a list of `target=level`, as `tracing` understands it.
pub(super) fn log_filter(text: &str) -> Parsed<String> {
    match EnvFilter::try_new(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("it must be a level such as info, or a list such as info,micai::sender=debug".to_owned()),
    }
}

/// `true` or `false`, also as 1/0, yes/no, on/off.
pub(super) fn flag(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

/// A whole number in `range`; `unit` names what is counted.
pub(super) fn whole<T>(range: RangeInclusive<T>, unit: &'static str) -> impl Fn(&str) -> Parsed<T>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    move |text| match text.parse::<T>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("it must be a whole number from {} to {} ({unit})", range.start(), range.end())),
    }
}

/// An address and a port.
pub(super) fn socket_address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:8001 or [::]:8001".to_owned())
}

/// Digits only; empty is allowed and means "not set".
pub(super) fn optional_id(text: &str) -> Parsed<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > ID_DIGITS_MAX || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("it must be an id of digits only, at most {ID_DIGITS_MAX}"));
    }
    Ok(Some(text.to_owned()))
}

/// `vNN.N`, as in the path of a Graph call.
pub(super) fn api_version(text: &str) -> Parsed<String> {
    let digits = |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_prefix('v').and_then(|rest| rest.split_once('.')) {
        Some((major, minor)) if digits(major) && digits(minor) => Ok(text.to_owned()),
        _ => Err("it must be a version such as v25.0".to_owned()),
    }
}

/// Scheme and host, nothing behind them.
pub(super) fn api_url(text: &str) -> Parsed<Url> {
    let wrong = || "it must be scheme and host only, such as https://graph.facebook.com".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    match (url.scheme(), bare) {
        ("https" | "http", true) => Ok(url),
        ("https" | "http", false) if url.path() != "/" => {
            Err(format!("{}; the version goes into whatsapp_api_version", wrong()))
        }
        _ => Err(wrong()),
    }
}

/// Scheme and host of a service.
pub(super) fn service_url(text: &str) -> Parsed<Url> {
    api_url(text).map_err(|_| "it must be scheme and host only, such as https://api.open-meteo.com".to_owned())
}

/// Hosts with or without a port, with a comma between; empty means "none".
pub(super) fn hosts(text: &str) -> Parsed<Vec<String>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_owned()).collect();
    // A whole address would never be found again.
    let is_host = |host: &String| {
        let url = Url::parse(&format!("http://{host}/")).ok();
        url.is_some_and(|url| url.path() == "/" && url.username().is_empty() && url.query().is_none())
    };
    match hosts.len() <= HOSTS_MAX && hosts.iter().all(is_host) {
        true => Ok(hosts),
        false => Err(format!(
            "it must be at most {HOSTS_MAX} hosts, with or without a port, such as weather.internal,127.0.0.1:8080"
        )),
    }
}

/// Where something is posted to; empty means "nowhere". What stands behind the host may be a key.
pub(super) fn optional_web_address(text: &str) -> Parsed<Option<SecretString>> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        "it must be an http or https address without user and password, such as https://desk.example/micai".to_owned()
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    match matches!(url.scheme(), "http" | "https") && is_plain && url.host_str().is_some() {
        true => Ok(Some(SecretString::from(text))),
        false => Err(wrong()),
    }
}

/// Whether what is sent to `url` stays on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A file; empty means "none".
pub(super) fn optional_path(text: &str) -> Parsed<Option<PathBuf>> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err("it must be the path of a file, without white space at its ends".to_owned());
    }
    Ok(Some(PathBuf::from(text)))
}

/// Words with commas between; none is allowed, an empty one is not.
pub(super) fn prefixes(text: &str) -> Parsed<Vec<String>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
    if words.iter().any(|word| word.is_empty() || word.chars().count() > PREFIX_CHARS_MAX) {
        return Err(format!(
            "it must be words with a comma between, each of 1 to {PREFIX_CHARS_MAX} characters, such as michael:,/ask"
        ));
    }
    if words.len() > PREFIXES_MAX {
        return Err(format!("it must be at most {PREFIXES_MAX} words"));
    }
    Ok(words)
}

/// A secret; empty means "not set". White space at an end is a slip of the hand, so it is refused.
pub(super) fn optional_secret(text: &str) -> Parsed<Option<SecretString>> {
    if text.is_empty() {
        return Ok(None);
    }
    secret_word(text).map(Some)
}

/// Secrets with commas between, for the time of a rotation.
pub(super) fn secret_list(text: &str) -> Parsed<Vec<SecretString>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let secrets = text.split(',').map(|word| secret_word(word.trim_matches(' '))).collect::<Parsed<Vec<_>>>()?;
    if secrets.len() > APP_SECRETS_MAX {
        return Err(format!("it must be at most {APP_SECRETS_MAX} secrets"));
    }
    Ok(secrets)
}

fn secret_word(word: &str) -> Parsed<SecretString> {
    if word.is_empty() {
        return Err("it must not have an empty entry between commas".to_owned());
    }
    if word.trim() != word || word.chars().any(char::is_control) {
        return Err("it must have no white space at its ends and no control characters; write it again".to_owned());
    }
    Ok(SecretString::from(word))
}

/// Redis or Valkey; empty means "in process".
pub(super) fn redis_url(text: &str) -> Parsed<Option<SecretString>> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text).map_err(|_| wrong_redis_url())?;
    match (url.scheme(), url.host_str()) {
        ("redis" | "rediss", Some(host)) if !host.is_empty() => Ok(Some(SecretString::from(text))),
        ("redis+unix" | "unix", _) if url.path().len() > 1 => Ok(Some(SecretString::from(text))),
        _ => Err(wrong_redis_url()),
    }
}

/// The beginning of names in Redis. A brace would break the hash tags.
pub(super) fn redis_prefix(text: &str) -> Parsed<String> {
    let is_fine = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, ':' | '_' | '-' | '.');
    if text.is_empty() || text.len() > REDIS_PREFIX_CHARS_MAX || !text.chars().all(is_fine) {
        return Err(format!(
            "it must be 1 to {REDIS_PREFIX_CHARS_MAX} letters, digits, colons, points, dashes or underscores, such as \
             micai"
        ));
    }
    Ok(text.to_owned())
}

fn wrong_redis_url() -> String {
    "it must be such as redis://HOST:6379/0, rediss://HOST:6380 or unix:///run/redis.sock".to_owned()
}

/// Postgres or a SQLite file, in any of the spellings that are around.
pub(super) fn database_url(text: &str) -> Parsed<DatabaseUrl> {
    let wrong = || {
        "it must be such as sqlite:///micai.db, sqlite:////var/lib/micai.db or postgresql://USER:PASSWORD@HOST/DATABASE"
            .to_owned()
    };
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (dialect, driver) = scheme.split_once('+').unwrap_or((scheme, ""));
    match (dialect, driver) {
        ("sqlite", "" | "pysqlite" | "aiosqlite") => sqlite_path(rest).map(DatabaseUrl::Sqlite),
        ("postgresql" | "postgres", "" | "psycopg" | "psycopg2" | "asyncpg") => {
            let canonical = format!("postgresql:{rest}");
            let url = Url::parse(&canonical).map_err(|_| wrong())?;
            let names_host = url.host().is_some() || url.query_pairs().any(|(name, _)| name == "host");
            if !rest.starts_with("//") || !names_host || url.path().len() < 2 {
                return Err("it must name host and database: postgresql://USER:PASSWORD@HOST:5432/DATABASE".to_owned());
            }
            Ok(DatabaseUrl::Postgres(SecretString::from(canonical)))
        }
        _ => Err(wrong()),
    }
}

/// `rest` is what stands behind `sqlite:`. Three slashes lead to a relative path and four to an absolute one, as
/// SQLAlchemy reads them; two and none are read as relative, too.
fn sqlite_path(rest: &str) -> Parsed<PathBuf> {
    let path = match rest.strip_prefix("//") {
        Some(after) => after.strip_prefix('/').unwrap_or(after),
        None => rest,
    };
    if path.is_empty() || path.contains(":memory:") {
        return Err("it must name a file: a database in memory would forget every message at the next stop".to_owned());
    }
    if path.contains(['?', '#', '\0']) {
        return Err("it must be a plain path for SQLite: leave out everything from the question mark on".to_owned());
    }
    Ok(PathBuf::from(path))
}

/// A template's name; empty means "none".
pub(super) fn optional_name(text: &str) -> Parsed<Option<String>> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match text {
        "" => Ok(None),
        text if text.len() <= 512 && text.bytes().all(is_plain) => Ok(Some(text.to_owned())),
        _ => Err("it must be a template's name: small letters, digits and underscores, at most 512".to_owned()),
    }
}

/// A language as WhatsApp's templates name it.
pub(super) fn language(text: &str) -> Parsed<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match (2..=16).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("it must be a language such as en_US or pt_BR".to_owned()),
    }
}
