//! A Redis server of the stories' own: a unix socket in a temporary folder, nothing on disk, nothing shared with a server
//! that may run on the machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use micai::redis_link::RedisServer;
use redis::FromRedisValue;

/// Where stories keep their keys.
pub enum Redis {
    /// A server of our own; killed when dropped.
    Private(Private),
    /// A shared server, where no program is installed. Stories differ in their prefixes.
    Shared { url: String },
}

impl Redis {
    /// Starts a server, or takes the one that `MICAI_TEST_REDIS_URL` names.
    pub fn start() -> Self {
        match std::env::var("MICAI_TEST_REDIS_URL") {
            Ok(url) => Self::Shared { url },
            Err(_) => Self::Private(Private::start(&[])),
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Private(server) => server.url(),
            Self::Shared { url } => url.clone(),
        }
    }

    pub fn server(&self) -> RedisServer {
        server_at(&self.url())
    }

    /// A prefix that nobody else has.
    pub fn prefix() -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        format!("story-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
    }
}

pub fn server_at(url: &str) -> RedisServer {
    RedisServer::at(&url.into(), url.to_owned()).expect("an address")
}

/// A server of a story's own.
pub struct Private {
    server: Child,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

impl Private {
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("redis").tempdir().expect("a folder");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Self { server: spawn(folder.path(), &options), folder, options }
    }

    /// A server of one's own, for stories that stop or flush it. None where only a shared one is to be had.
    pub fn start_if_installed(options: &[&str]) -> Option<Self> {
        let is_shared = std::env::var_os("MICAI_TEST_REDIS_URL").is_some();
        if is_shared {
            eprintln!("not told: this story stops its server, and there is only a shared one");
        }
        (!is_shared).then(|| Self::start(options))
    }

    pub fn url(&self) -> String {
        format!("unix://{}", socket(self.folder.path()).display())
    }

    pub fn server(&self) -> RedisServer {
        server_at(&self.url())
    }

    /// Ends it at once; what it held is gone.
    pub fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Starts it again, empty.
    pub fn restart(&mut self) {
        self.kill();
        self.server = spawn(self.folder.path(), &self.options);
    }

    /// One command, on a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.server().connect().await.expect("a connection");
        let (name, arguments) = words.split_first().expect("a command");
        redis::cmd(name).arg(arguments).query_async(&mut connection).await.expect("an answer")
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.kill();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

fn spawn(folder: &Path, options: &[String]) -> Child {
    // A killed server leaves its socket; the wait below must not take it for the new one's.
    let _ = std::fs::remove_file(socket(folder));
    let program = ["redis-server", "valkey-server"].into_iter().find(|name| is_in_path(name));
    let program = program.expect("a Redis server is installed: bin/test installs one; or set MICAI_TEST_REDIS_URL");
    let server = Command::new(program)
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(socket(folder))
        .arg("--dir")
        .arg(folder)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts");
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(socket(folder)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "redis-server does not become ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    server
}

fn is_in_path(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}
