//! The accept loop: bounded connections, a time limit on request heads, and a stop that lets answers finish.
//!
//! Our own, since `axum::serve` gives hyper no timer and so has no limit on how slowly a head may arrive.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How long to wait before the next accept when the system is out of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long after the stop the last of an answer without end may take to be read; then its connection is cut.
const ENDLESS_DRAIN_DEADLINE: Duration = Duration::from_secs(1);

/// The bounds of one server.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Connections open at once; more wait in the system's backlog.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, and how long an idle connection is kept.
    pub header_timeout: Duration,
    /// How long answers may take to finish after the stop; then their connections are cut.
    pub drain_deadline: Duration,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every answer was finished.
    Fully,
    /// The deadline passed and this many connections were cut.
    Cut {
        /// Connections cut.
        connections: usize,
    },
}

/// Serves `router` on `listener` until `stop` is cancelled; then takes no new connection, closes idle ones, and lets
/// answers in flight finish within the drain deadline. HTTP/1.1 only: proxies speak it to us, and detecting HTTP/2 would
/// read the first bytes without a time limit.
pub async fn serve(listener: TcpListener, router: Router, limits: ServerLimits, stop: CancellationToken) -> Drained {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let cut = CancellationToken::new();
    while let Some((stream, permit)) = next_connection(&listener, &permits, &stop).await {
        let (cut, stop) = (cut.clone(), stop.clone());
        let connection = Connection { permit, watcher: graceful.watcher(), cut, stop };
        tokio::spawn(connection.run(stream, router.clone(), limits.header_timeout));
    }
    // From here on the system refuses connections instead of queueing them.
    drop(listener);
    if tokio::time::timeout(limits.drain_deadline, graceful.shutdown()).await.is_ok() {
        return Drained::Fully;
    }
    let connections = limits.connections_max - permits.available_permits();
    tracing::warn!(http.connections = connections, "the drain deadline passed: connections are cut");
    cut.cancel();
    Drained::Cut { connections }
}

/// The next connection with its permit, or nothing once the stop has come.
async fn next_connection(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        // Asking for the permit first leaves what we cannot serve in the backlog.
        let permit = permits.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted now; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accepted => accepted,
    }
}

/// Errors of a connection that died in the backlog; the next one may be taken at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// What one connection holds as long as it lives.
struct Connection {
    permit: OwnedSemaphorePermit,
    watcher: Watcher,
    cut: CancellationToken,
    stop: CancellationToken,
}

/// An extension of each request: whoever answers without an end says so, since a stop need not wait for such an answer to be read.
/// A client that has fallen asleep would hold it up.
#[derive(Debug, Clone, Default)]
pub(super) struct Endless(CancellationToken);

impl Endless {
    /// The answer has no end of its own.
    pub fn declare(&self) {
        self.0.cancel();
    }
}

impl Connection {
    async fn run(self, stream: TcpStream, router: Router, header_timeout: Duration) {
        // Answers are small: waiting to fill a packet would only add delay. Failing to set it only costs that delay.
        let _ = stream.set_nodelay(true);
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
        let endless = Endless::default();
        let extension = endless.clone();
        let router = router.map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(extension.clone());
            request
        });
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let endless_drained = async {
            endless.0.cancelled().await;
            self.stop.cancelled().await;
            tokio::time::sleep(ENDLESS_DRAIN_DEADLINE).await;
        };
        tokio::select! {
            ended = self.watcher.watch(connection) => {
                if let Err(error) = ended {
                    // The client left, was too slow, or does not speak HTTP: its own affair.
                    tracing::debug!(error, "a connection ended early");
                }
            }
            () = self.cut.cancelled() => {}
            () = endless_drained => {}
        }
        drop(self.permit);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::Extension;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";
    const SLOW_REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: here\r\n\r\n";
    /// No story takes this long unless something hangs.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        /// Told when `/slow` has been reached.
        reached: Arc<Notify>,
        /// Lets `/slow` answer.
        release: Arc<Notify>,
        ended: JoinHandle<Drained>,
    }

    fn limits() -> ServerLimits {
        ServerLimits { connections_max: 16, header_timeout: PATIENCE, drain_deadline: PATIENCE }
    }

    async fn start(limits: ServerLimits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (reached.clone(), release.clone());
        let slow = move || async move {
            tell.notify_one();
            wait.notified().await;
            "late"
        };
        let tell = reached.clone();
        let endless = move |Extension(endless): Extension<Endless>| async move {
            endless.declare();
            tell.notify_one();
            let piece = || Ok::<_, io::Error>(axum::body::Bytes::from_static(&[b'x'; 65_536]));
            axum::body::Body::from_stream(futures_util::stream::repeat_with(piece))
        };
        let router = Router::new().route("/", get(|| async { "here" })).route("/slow", get(slow));
        let router = router.route("/endless", get(endless));
        let stop = CancellationToken::new();
        let ended = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Server { address, stop, reached, release, ended }
    }

    async fn connect(server: &Server) -> TcpStream {
        TcpStream::connect(server.address).await.unwrap()
    }

    /// Reads until `end` has come.
    async fn read_until(stream: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.ends_with(end) {
            let count = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
            assert_ne!(count, 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        text
    }

    /// What still comes until the server closes; a reset counts as the end.
    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
        bytes
    }

    async fn end(server: Server) -> Drained {
        tokio::time::timeout(PATIENCE, server.ended).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_head_that_drips_is_cut_and_so_is_silence() {
        let limits = ServerLimits { header_timeout: Duration::from_millis(150), ..limits() };
        let server = start(limits).await;
        for start in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nhost: h"] {
            let begun = Instant::now();
            let mut stream = connect(&server).await;
            stream.write_all(start).await.unwrap();
            let answer = String::from_utf8(rest(&mut stream).await).unwrap();
            assert!(begun.elapsed() < PATIENCE / 2, "{start:?} was cut late");
            assert!(!answer.contains("200 OK"), "{answer}");
        }
        // A drip does not win time: the limit is for the whole head.
        let mut stream = connect(&server).await;
        let drip = async {
            for byte in REQUEST.iter().cycle().take(100_000) {
                if stream.write_all(&[*byte | 0x40]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("the drip was never cut");
        };
        tokio::time::timeout(PATIENCE, drip).await.unwrap();
        server.stop.cancel();
        assert_eq!(end(server).await, Drained::Fully);
    }

    #[tokio::test]
    async fn an_answer_in_flight_is_finished_and_nobody_new_gets_in() {
        let server = start(limits()).await;
        let mut idle = connect(&server).await;
        idle.write_all(REQUEST).await.unwrap();
        assert!(read_until(&mut idle, "here").await.starts_with("HTTP/1.1 200 OK"));
        let mut busy = connect(&server).await;
        busy.write_all(SLOW_REQUEST).await.unwrap();
        server.reached.notified().await;

        server.stop.cancel();
        assert_eq!(rest(&mut idle).await, b"", "an idle connection is closed at once");
        assert!(TcpStream::connect(server.address).await.is_err(), "the listener is gone");

        server.release.notify_one();
        let answer = String::from_utf8(rest(&mut busy).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("late"), "{answer}");
        assert_eq!(end(server).await, Drained::Fully);
    }

    #[tokio::test]
    async fn what_does_not_finish_is_cut_at_the_deadline() {
        let server = start(ServerLimits { drain_deadline: Duration::from_millis(100), ..limits() }).await;
        let mut busy = connect(&server).await;
        busy.write_all(SLOW_REQUEST).await.unwrap();
        server.reached.notified().await;
        server.stop.cancel();
        assert_eq!(end(server).await, Drained::Cut { connections: 1 });
        assert_eq!(rest(&mut busy).await, b"");
    }

    #[tokio::test]
    async fn an_answer_without_end_that_nobody_reads_holds_no_stop_up() {
        let server = start(limits()).await;
        let mut asleep = connect(&server).await;
        asleep.write_all(b"GET /endless HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        server.reached.notified().await;
        let begun = Instant::now();
        server.stop.cancel();
        assert_eq!(end(server).await, Drained::Fully);
        assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_connection_over_the_bound_waits_its_turn() {
        let server = start(ServerLimits { connections_max: 1, ..limits() }).await;
        let mut first = connect(&server).await;
        first.write_all(SLOW_REQUEST).await.unwrap();
        server.reached.notified().await;
        let mut second = connect(&server).await;
        second.write_all(REQUEST).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(200), second.read_u8()).await;
        assert!(early.is_err(), "answered over the bound");
        server.release.notify_one();
        read_until(&mut first, "late").await;
        drop(first);
        assert!(read_until(&mut second, "here").await.starts_with("HTTP/1.1 200 OK"));
        server.stop.cancel();
        assert_eq!(end(server).await, Drained::Fully);
    }

    #[tokio::test]
    async fn a_stop_is_heard_while_all_connections_are_taken() {
        let server = start(ServerLimits { connections_max: 1, ..limits() }).await;
        let mut busy = connect(&server).await;
        busy.write_all(SLOW_REQUEST).await.unwrap();
        server.reached.notified().await;
        server.stop.cancel();
        server.release.notify_one();
        assert!(String::from_utf8(rest(&mut busy).await).unwrap().ends_with("late"));
        assert_eq!(end(server).await, Drained::Fully);
    }

    #[test]
    fn only_errors_of_one_connection_are_passed_over_without_a_pause() {
        const OUT_OF_FILES: i32 = 24;
        for (error, passed_over) in [
            (io::Error::from(io::ErrorKind::ConnectionAborted), true),
            (io::Error::from(io::ErrorKind::ConnectionReset), true),
            (io::Error::from(io::ErrorKind::Interrupted), true),
            (io::Error::from_raw_os_error(OUT_OF_FILES), false),
            (io::Error::from(io::ErrorKind::OutOfMemory), false),
        ] {
            assert_eq!(concerns_one_connection(&error), passed_over, "{error}");
        }
    }
}
