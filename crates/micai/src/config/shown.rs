//! What `micai config` shows of a setting.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::reader::VARIABLE_PREFIX;

/// In place of what is not shown.
const STARS: &str = "***";

/// One line of `micai config`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: &'static str,
    pub(super) shown: Shown,
    pub(super) source: Source,
}

#[derive(Debug, Clone)]
pub(super) enum Shown {
    Open(String),
    Masked(String),
    Secret { set: bool },
}

/// Where an effective value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Default,
    Preset,
    File { path: PathBuf, key: String },
    Environment { variable: String },
}

impl Entry {
    /// The setting as TOML. A secret is a comment, so that a pasted line never becomes its value.
    pub(super) fn line(&self) -> String {
        match &self.shown {
            Shown::Open(text) => format!("{} = {}", self.key, toml::Value::String(text.clone())),
            Shown::Masked(text) => format!("# {} = {}", self.key, toml::Value::String(text.clone())),
            Shown::Secret { set: true } => format!("# {} is set", self.key),
            Shown::Secret { set: false } => format!("# {} is not set", self.key),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::Preset => formatter.write_str("this command"),
            Self::File { path, key } => write!(formatter, "`{key}` in {}", path.display()),
            Self::Environment { variable } => formatter.write_str(variable),
        }
    }
}

/// The address with three stars for each password in it; nothing when there is none to hide.
pub(super) fn masked(address: &str) -> Option<String> {
    let mut url = match Url::parse(address) {
        Ok(url) => url,
        Err(_) if address.is_empty() => return None,
        Err(_) => return Some(STARS.to_owned()),
    };
    let is_password = |name: &str| name.to_ascii_lowercase().contains("pass");
    let in_query = url.query_pairs().any(|(name, _)| is_password(&name));
    if url.password().is_none() && !in_query {
        return None;
    }
    if url.password().is_some() && url.set_password(Some(STARS)).is_err() {
        return Some(STARS.to_owned());
    }
    if in_query {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if is_password(&name) { STARS.to_owned() } else { value.into_owned() };
                (name.into_owned(), value)
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    Some(url.to_string())
}

/// Scheme and host of an address, with three stars for whatever stands behind them; nothing when there is nothing to hide.
pub(super) fn host_only(address: &str) -> Option<String> {
    let url = match Url::parse(address) {
        Ok(url) => url,
        Err(_) if address.is_empty() => return None,
        Err(_) => return Some(STARS.to_owned()),
    };
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let origin = url.origin().ascii_serialization();
    match is_bare && url.username().is_empty() && url.password().is_none() {
        true => None,
        false => Some(format!("{origin}/{STARS}")),
    }
}

/// The environment variable of a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase())
}
