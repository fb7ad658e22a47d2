//! The processes and servers of production, and what happens to them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use crate::postgres::Private;
use crate::process::Process;
use crate::redis;

/// A sweep, and a look at sends of unknown fate.
pub const ROUND: Duration = Duration::from_secs(1);
/// How long something stays dead, in milliseconds.
const DOWN: RangeInclusive<u64> = 0..=800;
/// Starts of a process until it stands. The database is up by then.
const STARTS_MAX: usize = 5;

/// Every role that a production has, some twice.
const ROLES: [&str; 5] = ["api", "api", "worker", "worker", "scheduler"];

/// Short limits, so that what a dead process held is taken over soon. The deadline of unknown sends is longer than any outage
/// here together with the pause that WhatsApp makes after it: only then is silence proof.
const SETTINGS: [(&str, &str); 7] = [
    ("conversation_lease_seconds", "5"),
    ("queue_lease_seconds", "6"),
    ("whatsapp_call_timeout_seconds", "3"),
    ("unknown_send_deadline_seconds", "15"),
    ("database_connections_max", "8"),
    ("number_messages_per_second", "0"),
    ("pair_seconds", "0"),
];

/// What may happen.
enum Disturbance {
    /// SIGKILL, and a new process later.
    Kill(usize),
    /// The database stops by this signal and comes back.
    Postgres(&'static str),
    /// The queue forgets everything.
    RedisFlushed,
    /// The queue's server dies and comes back empty.
    RedisRestarted,
}

/// A production.
pub struct Fleet {
    pub postgres: Private,
    redis: redis::Private,
    pub doors: Doors,
    /// What was done to it, in order.
    pub deeds: Vec<String>,
    settings: Vec<(&'static str, String)>,
    api_url: String,
    members: Vec<Option<Process>>,
}

impl Fleet {
    /// All roles on one database and one queue.
    pub fn start(postgres: Private, redis: redis::Private, api_url: &str) -> Self {
        let mut settings: Vec<_> = SETTINGS.map(|(key, value)| (key, value.to_owned())).to_vec();
        settings.push(("database_url", postgres.url("postgres")));
        settings.push(("redis_url", redis.url()));
        let mut fleet = Self {
            postgres,
            redis,
            doors: Doors::default(),
            deeds: Vec::new(),
            settings,
            api_url: api_url.to_owned(),
            members: ROLES.map(|_| None).into(),
        };
        for member in 0..ROLES.len() {
            fleet.raise(member);
        }
        fleet
    }

    /// Disturbs until it is over, and at least so many times. Everything is up again at the end.
    pub fn disturb(
        mut self,
        mut dice: StdRng,
        calm: &RangeInclusive<u64>,
        at_least: usize,
        is_over: &AtomicBool,
    ) -> Self {
        while self.deeds.len() < at_least || !is_over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(dice.random_range(calm.clone())));
            let disturbance = match dice.random_range(0..12) {
                0..8 => Disturbance::Kill(dice.random_range(0..ROLES.len())),
                8 => Disturbance::Postgres("INT"),
                9 => Disturbance::Postgres("QUIT"),
                10 => Disturbance::RedisFlushed,
                _ => Disturbance::RedisRestarted,
            };
            let down = Duration::from_millis(dice.random_range(DOWN));
            match disturbance {
                Disturbance::Kill(member) => {
                    self.deeds.push(format!("{} {member} killed", ROLES[member]));
                    self.doors.close(member);
                    // SIGKILL, as a drop is.
                    self.members[member] = None;
                    std::thread::sleep(down);
                    self.raise(member);
                }
                Disturbance::Postgres(signal) => {
                    self.deeds.push(format!("postgres stopped by {signal}"));
                    self.postgres.stop(signal);
                    std::thread::sleep(down);
                    self.postgres.start_again();
                }
                Disturbance::RedisFlushed => {
                    self.deeds.push("redis flushed".to_owned());
                    let _: String = Handle::current().block_on(self.redis.command(&["FLUSHALL"]));
                }
                Disturbance::RedisRestarted => {
                    self.deeds.push("redis killed".to_owned());
                    self.redis.kill();
                    std::thread::sleep(down);
                    self.redis.restart();
                }
            }
        }
        self
    }

    fn raise(&mut self, member: usize) {
        let settings: Vec<(&str, &str)> = self.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        for _ in 0..STARTS_MAX {
            let mut command = Command::new(env!("CARGO_BIN_EXE_micai"));
            command.arg(ROLES[member]);
            match Process::launch(command, Path::new("unused"), &self.api_url, &settings, &[]) {
                Ok(process) => {
                    if ROLES[member] == "api" {
                        self.doors.place(member, process.address);
                    }
                    self.members[member] = Some(process);
                    return;
                }
                Err(said) => eprintln!("{} {member} did not start: {said}", ROLES[member]),
            }
        }
        panic!("{} {member} does not start", ROLES[member]);
    }
}

/// The load balancer before the api processes: connections go to them in turn, to whichever is up.
#[derive(Clone, Default)]
pub struct Doors {
    open: Arc<Mutex<Vec<(usize, SocketAddr)>>>,
    turn: Arc<AtomicUsize>,
}

impl Doors {
    fn place(&self, member: usize, address: SocketAddr) {
        self.open.lock().expect("doors").push((member, address));
    }

    fn close(&self, member: usize) {
        self.open.lock().expect("doors").retain(|(other, _)| *other != member);
    }

    /// Listens; gives the address.
    pub async fn open(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let doors = self.clone();
        tokio::spawn(async move {
            while let Ok((guest, _)) = listener.accept().await {
                let doors = doors.clone();
                tokio::spawn(async move { doors.lead(guest).await });
            }
        });
        address
    }

    async fn lead(&self, mut guest: TcpStream) {
        let addresses: Vec<SocketAddr> = self.open.lock().expect("doors").iter().map(|(_, address)| *address).collect();
        let first = self.turn.fetch_add(1, Ordering::SeqCst);
        for step in 0..addresses.len() {
            if let Ok(mut host) = TcpStream::connect(addresses[(first + step) % addresses.len()]).await {
                // Either side may end it in any way.
                let _ = tokio::io::copy_bidirectional(&mut guest, &mut host).await;
                return;
            }
        }
    }
}
