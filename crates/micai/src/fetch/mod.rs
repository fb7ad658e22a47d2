//! The one client for calls to hosts other than WhatsApp's. Each use names the hosts that it may reach; whatever a name resolves
//! to, nothing but public addresses is connected to, except for hosts that the operator named as private.

mod address;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use url::{Host, Url};

pub use address::is_public;

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are looked at; a name has a handful.
const ADDRESSES_MAX: usize = 64;
/// Bytes of an answer that are repeated in an error.
const SAID_CHARACTERS_MAX: usize = 200;

/// What one use of the client may do.
#[derive(Debug, Clone)]
pub struct FetchRules {
    /// Addresses of which scheme, host and port may be called; what else stands in them does not matter.
    pub allowed: Vec<Url>,
    /// `host` or `host:port` that may be private, and be called without TLS.
    pub private_hosts: Vec<String>,
    /// How long one call may take, the answer included.
    pub timeout: Duration,
    /// The most bytes of an answer.
    pub answer_bytes_max: usize,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It may not be made: the reason, and what to do.
    #[error("{0}")]
    Forbidden(String),
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// An answer that points elsewhere, where nobody follows.
    #[error("the answer is a redirect ({0}), and none is followed")]
    Redirected(u16),
    /// An answer that says no.
    #[error("the answer is {status}: {said}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The beginning of what it says.
        said: String,
    },
    /// An answer that is too large, or is not JSON.
    #[error("the answer is of no use: {0}")]
    Unusable(String),
}

/// Looks a name up.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The client under one set of rules. Clones share their connections.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    allowed: Arc<BTreeSet<Origin>>,
    private: Arc<PrivateHosts>,
    answer_bytes_max: usize,
}

/// Scheme, host and port of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Fetcher {
    /// A client under these rules, which looks names up as the system does.
    ///
    /// # Errors
    /// What the rules must be mended in.
    pub fn new(rules: &FetchRules) -> Result<Self, FetchError> {
        Self::with_lookup(rules, Arc::new(system_lookup))
    }

    /// The same with another way to look names up.
    ///
    /// # Errors
    /// As [`Fetcher::new`].
    pub fn with_lookup(rules: &FetchRules, lookup: Lookup) -> Result<Self, FetchError> {
        let private = Arc::new(PrivateHosts::read(&rules.private_hosts));
        let mut allowed = BTreeSet::new();
        for url in &rules.allowed {
            check_form(url, &private)?;
            allowed.insert(origin(url).ok_or_else(|| FetchError::Forbidden(format!("{url} names no host")))?);
        }
        let client = Client::builder()
            .redirect(Policy::none())
            .user_agent(concat!("micai/", env!("CARGO_PKG_VERSION")))
            // A proxy would resolve names by itself, past the check.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(rules.timeout)
            .dns_resolver(Arc::new(CheckedNames { lookup, private: private.clone() }))
            .build()
            .map_err(|error| FetchError::Forbidden(error.to_string()))?;
        Ok(Self { client, allowed: Arc::new(allowed), private, answer_bytes_max: rules.answer_bytes_max })
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get_json(&self, url: Url) -> Result<Value, FetchError> {
        self.check(&url)?;
        let body = self.answer(self.client.get(url)).await?;
        serde_json::from_slice(&body).map_err(|error| FetchError::Unusable(error.to_string()))
    }

    /// Sends bytes as they are, and wants nothing back but a yes: what else the answer says is not read.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn post(&self, url: Url, headers: &[(&str, &str)], body: Vec<u8>) -> Result<(), FetchError> {
        self.check(&url)?;
        let request = self.client.post(url).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let status = request.send().await.map_err(|error| told(&error.without_url()))?.status();
        match status.as_u16() {
            _ if status.is_success() => Ok(()),
            status @ 300..=399 => Err(FetchError::Redirected(status)),
            status => Err(FetchError::Refused { status, said: String::new() }),
        }
    }

    /// Whether this address may be called, as far as it tells by itself; what its name resolves to is checked on the way.
    ///
    /// # Errors
    /// [`FetchError::Forbidden`].
    pub fn check(&self, url: &Url) -> Result<(), FetchError> {
        check_form(url, &self.private)?;
        match origin(url) {
            Some(origin) if self.allowed.contains(&origin) => Ok(()),
            _ => Err(FetchError::Forbidden(format!("{} is not among the allowed hosts", shown(url)))),
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Vec<u8>, FetchError> {
        let mut response = request.send().await.map_err(|error| told(&error.without_url()))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(FetchError::Redirected(status.as_u16()));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| told(&error.without_url()))? {
            if body.len() + part.len() > self.answer_bytes_max {
                return Err(FetchError::Unusable(format!("it has more than {} bytes", self.answer_bytes_max)));
            }
            body.extend_from_slice(&part);
        }
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body);
            let said = said.chars().filter(|letter| !letter.is_control());
            return Err(FetchError::Refused {
                status: status.as_u16(),
                said: said.take(SAID_CHARACTERS_MAX).collect(),
            });
        }
        Ok(body)
    }
}

/// Hosts that may be private.
#[derive(Debug, Default)]
struct PrivateHosts(BTreeSet<(String, Option<u16>)>);

impl PrivateHosts {
    fn read(hosts: &[String]) -> Self {
        let read = |entry: &String| {
            let (host, port) = match entry.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
                _ => (entry.as_str(), None),
            };
            (plain_host(host), port)
        };
        Self(hosts.iter().map(read).collect())
    }

    fn has(&self, host: &str, port: u16) -> bool {
        [None, Some(port)].into_iter().any(|port| self.0.contains(&(host.to_owned(), port)))
    }

    /// Whether a name may resolve to private addresses; on which ports it may be called was checked before.
    fn has_name(&self, host: &str) -> bool {
        self.0.iter().any(|(known, _)| known == host)
    }
}

/// What an address tells by itself: TLS, no password, no private literal. Decimal, octal and hexadecimal forms of an IPv4 address
/// are that address already: the parser of the URL reads them so.
fn check_form(url: &Url, private: &PrivateHosts) -> Result<(), FetchError> {
    let forbidden = |why: &str| Err(FetchError::Forbidden(format!("{}: {why}", shown(url))));
    let Some(origin) = origin(url) else { return forbidden("an address needs a scheme of http or https, and a host") };
    let is_private = private.has(&origin.host, origin.port);
    if origin.scheme != "https" && !is_private {
        return forbidden("it must be https, unless the host is named as private");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return forbidden("a name and password in an address are not sent");
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        _ => None,
    };
    match literal {
        Some(address) if !is_private && !is_public(address) => forbidden("the address is not public"),
        _ => Ok(()),
    }
}

fn origin(url: &Url) -> Option<Origin> {
    let scheme = url.scheme();
    let is_known = matches!(scheme, "http" | "https");
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    is_known.then(|| Origin { scheme: scheme.to_owned(), host: plain_host(host), port })
}

fn plain_host(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// An address for people: without what follows the host, which may be about somebody.
fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Resolves names and gives out nothing but checked addresses: those are what is connected to, so a name cannot turn to another
/// one in between.
struct CheckedNames {
    lookup: Lookup,
    private: Arc<PrivateHosts>,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let host = plain_host(name.as_str());
        let may_be_private = self.private.has_name(&host);
        let found = (self.lookup)(host.clone());
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = found.await?.into_iter().take(ADDRESSES_MAX).collect();
            // One private address among public ones is how somebody would try it.
            if let Some(bad) = addresses.iter().find(|one| !may_be_private && !is_public(one.ip())) {
                let why = format!("{host} resolves to {}, which is not public", bad.ip());
                return Err(Box::new(NotPublic(why)) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// A name that leads where nobody may go.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotPublic(String);

fn system_lookup(host: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) })
}

/// What went wrong, without the address: it may be about somebody.
fn told(error: &reqwest::Error) -> FetchError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(error) = cause {
        if let Some(NotPublic(why)) = error.downcast_ref() {
            return FetchError::Forbidden(why.clone());
        }
        last = error.to_string();
        cause = error.source();
    }
    FetchError::Unreachable(if error.is_timeout() { "it took too long".to_owned() } else { last })
}
