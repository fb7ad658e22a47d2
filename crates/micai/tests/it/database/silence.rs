//! A server that is there and says nothing any more, as behind a dead firewall or a stuck proxy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

use super::{assert_unavailable, hasty, ingest, lock_tables, waiting};
use crate::postgres::Private;
use crate::store::world;

/// Beyond the server's own limit of a second: what a silent server gets, a ping, and a new connection.
const GIVEN_UP_AFTER_MAX: Duration = Duration::from_secs(12);

/// After this a connection counts as idle, and its word is no longer taken for granted.
const REST: Duration = Duration::from_millis(50);

/// Leads TCP connections to the server's unix socket. Told to, it falls silent on those that are open: it takes what it is
/// given, passes nothing on, and closes nothing.
struct Proxy {
    options: PgConnectOptions,
    silenced: watch::Sender<u32>,
}

impl Proxy {
    async fn before(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket: Arc<PathBuf> = Arc::new(folder.join(".s.PGSQL.5432"));
        let silenced = watch::Sender::new(0);
        let subscriber = silenced.clone();
        tokio::spawn(async move {
            while let Ok((guest, _)) = listener.accept().await {
                let host = UnixStream::connect(socket.as_path()).await.unwrap();
                let (guest_reads, guest_writes) = guest.into_split();
                let (host_reads, host_writes) = host.into_split();
                tokio::spawn(pass(guest_reads, host_writes, subscriber.subscribe()));
                tokio::spawn(pass(host_reads, guest_writes, subscriber.subscribe()));
            }
        });
        let options =
            PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port).username("micai").database("postgres");
        Self { options, silenced }
    }

    fn fall_silent(&self) {
        self.silenced.send_modify(|times| *times += 1);
    }
}

async fn pass(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    mut silenced: watch::Receiver<u32>,
) {
    let mut bytes = [0; 8_192];
    let mut is_silent = false;
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read.unwrap_or(0),
            Ok(()) = silenced.changed(), if !is_silent => {
                is_silent = true;
                continue;
            }
        };
        if read == 0 && !is_silent {
            return;
        }
        if read == 0 {
            // Not even the end is passed on.
            std::future::pending::<()>().await;
        }
        if !is_silent && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_silent_costs_a_wait_and_no_connection() {
    const CONNECTIONS: u32 = 2;
    let Some(server) = Private::available(&[]) else { return };
    let proxy = Proxy::before(server.folder()).await;
    let world = world(hasty(proxy.options.clone(), CONNECTIONS)).await;
    // As often as there are connections and once more: each time all of them go silent while a statement is under way.
    for id in ["s0", "s1"] {
        let other = lock_tables(&server.options()).await;
        let begun = Instant::now();
        let (write, read, ()) = tokio::join!(ingest(&world.store, id), world.store.conversations(None, 1), async {
            waiting(&server.options(), 2).await;
            proxy.fall_silent();
        });
        assert_unavailable(write, "not answered for 6 seconds");
        assert_unavailable(read, "not answered for 6 seconds");
        assert!(begun.elapsed() < GIVEN_UP_AFTER_MAX, "{:?}", begun.elapsed());
        drop(other);
        let begun = Instant::now();
        let (write, read) = tokio::join!(ingest(&world.store, id), world.store.conversations(None, 1));
        assert_eq!(write.unwrap().new_messages, 1, "nothing of it had been written");
        read.unwrap();
        assert!(begun.elapsed() < GIVEN_UP_AFTER_MAX, "{:?}", begun.elapsed());
    }
    // Idle ones that went silent are noticed before they are used. Idle is a matter of real time to the pool.
    tokio::time::sleep(REST).await;
    proxy.fall_silent();
    let (write, read) = tokio::join!(ingest(&world.store, "s9"), world.store.conversations(None, 1));
    assert_eq!((write.unwrap().new_messages, read.unwrap().len()), (1, 1));
}
