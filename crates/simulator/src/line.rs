//! One kept-alive HTTP/1.1 connection for load: a webhook is one write, its answer as a rule one read.
//!
//! A general client costs several times what the platform's own server does for the same request, and load shares the
//! machine with what it measures. This one knows a single request and of the answer only what it needs: the status, and
//! where the answer ends.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::deliver::Signer;

/// How long one webhook may take to be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer, head and body; what is longer counts as no answer.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;
/// Pause before a connection that was refused is tried again, so that a stopped platform does not make a busy loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// How a webhook was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With 200.
    Accepted,
    /// With another status.
    Refused,
    /// Not at all.
    Failed,
}

/// Where webhooks go, and the part of each request that is always the same.
#[derive(Debug)]
pub(crate) struct Target {
    url: Url,
    address: SocketAddr,
    head: Vec<u8>,
}

impl Target {
    /// Refuses everything that is not on this machine.
    pub(crate) fn new(webhook_url: &str) -> anyhow::Result<Self> {
        let url = loopback(webhook_url)?;
        let addresses = url.socket_addrs(|| Some(80)).with_context(|| format!("{url} cannot be resolved"))?;
        let address = addresses.into_iter().find(|address| address.ip().is_loopback());
        let address = address.with_context(|| format!("{url} does not lead to this machine"))?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = url.path();
        let head = format!(
            "POST {path}{query} HTTP/1.1\r\nhost: {address}\r\nuser-agent: facebookexternalua\r\n\
             content-type: application/json\r\nx-hub-signature-256: sha256=",
        );
        Ok(Self { address, head: head.into_bytes(), url })
    }

    /// The address as it was given.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

/// One connection, opened when it is first needed and again when it was lost.
pub(crate) struct Line<'a> {
    target: &'a Target,
    signer: &'a Signer,
    stream: Option<TcpStream>,
    request: Vec<u8>,
    received: Vec<u8>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(target: &'a Target, signer: &'a Signer) -> Self {
        Self { target, signer, stream: None, request: Vec::new(), received: Vec::new() }
    }

    /// Signs and sends one webhook and waits for its answer.
    pub(crate) async fn post(&mut self, body: &[u8]) -> Answer {
        self.request.clear();
        self.request.extend_from_slice(&self.target.head);
        self.request.extend_from_slice(&self.signer.hex(body));
        self.request.extend_from_slice(b"\r\ncontent-length: ");
        self.request.extend_from_slice(body.len().to_string().as_bytes());
        self.request.extend_from_slice(b"\r\n\r\n");
        self.request.extend_from_slice(body);
        match tokio::time::timeout(ANSWER_TIMEOUT, self.exchange()).await {
            Ok(Ok(200)) => Answer::Accepted,
            Ok(Ok(_)) => Answer::Refused,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a webhook was not answered");
                self.stream = None;
                tokio::time::sleep(RECONNECT_PAUSE).await;
                Answer::Failed
            }
            Err(_) => {
                self.stream = None;
                Answer::Failed
            }
        }
    }

    /// The status of the answer. A server may close a kept connection just when it is used again: that is tried once
    /// more on a new one, and is safe, since a webhook that arrived twice is a duplicate like any other.
    async fn exchange(&mut self) -> anyhow::Result<u16> {
        if let Some(stream) = self.stream.take()
            && let Ok(status) = self.exchange_on(stream).await
        {
            return Ok(status);
        }
        let stream = TcpStream::connect(self.target.address).await?;
        stream.set_nodelay(true)?;
        self.exchange_on(stream).await
    }

    /// Keeps the stream for the next request if the answer allows it.
    async fn exchange_on(&mut self, mut stream: TcpStream) -> anyhow::Result<u16> {
        self.received.clear();
        stream.write_all(&self.request).await?;
        loop {
            if let Some(head) = Head::read(&self.received)? {
                let Some(end) = head.end() else {
                    return Ok(head.status);
                };
                ensure!(end <= ANSWER_BYTES_MAX, "the answer is longer than {ANSWER_BYTES_MAX} bytes");
                if self.received.len() >= end {
                    self.stream = Some(stream);
                    return Ok(head.status);
                }
            }
            ensure!(self.received.len() < ANSWER_BYTES_MAX, "the answer is longer than {ANSWER_BYTES_MAX} bytes");
            ensure!(stream.read_buf(&mut self.received).await? > 0, "the connection was closed before the answer");
        }
    }
}

/// What matters of an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    /// `None`: the end is not told by a length.
    body_bytes: Option<usize>,
    closes: bool,
}

impl Head {
    /// `None`: it has not arrived completely.
    fn read(received: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&received[..end]).context("the head of the answer is not text")?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.with_context(|| format!("{first:?} is no status line of HTTP/1.1"))?;
        let mut head = Self { status, bytes: end + 4, body_bytes: None, closes: false };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                head.body_bytes = Some(value.trim().parse().context("the content-length is no number")?);
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.trim().eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(head))
    }

    /// Bytes of the whole answer; `None` where the connection cannot be used again.
    fn end(&self) -> Option<usize> {
        self.body_bytes.filter(|_| !self.closes).map(|body_bytes| self.bytes + body_bytes)
    }
}

/// The address, if it is on this machine: this tool makes load, and nobody else's server is meant for that.
fn loopback(address: &str) -> anyhow::Result<Url> {
    let url = Url::parse(address).with_context(|| format!("{address} is not an address"))?;
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let on_this_machine = host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !on_this_machine {
        bail!("load goes only to this machine: {host} is not a loopback address, use 127.0.0.1, [::1] or localhost");
    }
    ensure!(url.scheme() == "http", "the webhook of {address} must be http");
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_this_machine_is_loaded() {
        for good in
            ["http://127.0.0.1:8001/webhook", "http://localhost/webhook", "http://[::1]:9/", "http://127.9.9.9/"]
        {
            assert!(loopback(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1/webhook",
            "http://example.com/webhook",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://0.0.0.0/",
            "http://[2001:db8::1]/",
            "http://127.0.0.1@example.com/",
            "https://127.0.0.1/",
            "127.0.0.1:80",
        ] {
            assert!(loopback(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_head_tells_status_and_end() {
        assert_eq!(Head::read(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap(), None);
        let head = Head::read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap().unwrap();
        assert_eq!((head.status, head.end()), (200, Some(43)));
        let head = Head::read(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.status, head.end()), (503, None));
        let head = Head::read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.end(), None, "without a length the connection is not used again");
        assert!(Head::read(b"SSH-2.0-x\r\n\r\n").is_err());
    }

    /// Answers each connection with these bytes, one part after each request, and closes it after the last.
    async fn server(connections: Vec<Vec<&'static [u8]>>) -> (Target, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::new(&format!("http://{}/webhook?x=1", listener.local_addr().unwrap())).unwrap();
        let serving = tokio::spawn(async move {
            let mut heard = Vec::new();
            for answers in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut request = vec![0; 4_096];
                    let bytes = stream.read(&mut request).await.unwrap();
                    heard.push(String::from_utf8_lossy(&request[..bytes]).into_owned());
                    stream.write_all(answer).await.unwrap();
                }
            }
            heard
        });
        (target, serving)
    }

    #[tokio::test]
    async fn a_connection_is_kept_signed_for_and_replaced_when_it_was_closed() {
        let ok: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let busy: &[u8] = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (target, serving) = server(vec![vec![ok, ok], vec![busy], vec![b"HTTP/1.1 2"], vec![ok]]).await;
        let signer = Signer::new("key");
        let mut line = Line::new(&target, &signer);
        let body = b"The quick brown fox jumps over the lazy dog";
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(line.post(body).await);
        }
        use Answer::{Accepted, Failed, Refused};
        assert_eq!(answers, [Accepted, Accepted, Refused, Failed, Accepted]);
        let heard = serving.await.unwrap();
        assert_eq!(heard.len(), 5);
        let first = &heard[0];
        assert!(first.starts_with("POST /webhook?x=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{first}");
        assert!(
            first.contains("sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8\r\n"),
            "{first}"
        );
        assert!(first.ends_with("content-length: 43\r\n\r\nThe quick brown fox jumps over the lazy dog"), "{first}");
    }
}
