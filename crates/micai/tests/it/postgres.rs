//! A Postgres server of the stories' own: a private data folder and a unix socket in a temporary folder, nothing shared
//! with a server that may run on the machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use micai::store::Location;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// The account that owns the server's files when the stories run as root, which Postgres refuses.
const ACCOUNT: &str = "postgres";

/// An empty database on a server.
pub enum Postgres {
    /// A server of our own; stopped when dropped.
    Private(Private),
    /// A database of our own on a shared server, where no server programs are installed.
    Shared(Box<PgConnectOptions>),
}

impl Postgres {
    /// Starts a server, or makes a database on the one that `MICAI_TEST_POSTGRES_URL` names.
    pub async fn start() -> Self {
        match std::env::var("MICAI_TEST_POSTGRES_URL") {
            Ok(url) => Self::Shared(Box::new(database_on(&url).await)),
            Err(_) => Self::Private(Private::start()),
        }
    }

    /// How to reach it.
    pub fn options(&self) -> PgConnectOptions {
        match self {
            Self::Private(server) => server.options(),
            Self::Shared(options) => options.as_ref().clone(),
        }
    }

    /// The same as the setting `database_url`.
    pub fn url(&self) -> String {
        match self {
            Self::Private(server) => server.url("postgres"),
            Self::Shared(options) => {
                let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
                format!("postgresql://{user}@{host}:{port}/{}", options.get_database().expect("a name"))
            }
        }
    }

    /// How a store reaches it.
    pub fn location(&self) -> Location {
        location(self.options())
    }
}

/// How a store reaches a database.
pub fn location(options: PgConnectOptions) -> Location {
    Location::Postgres { options: Box::new(options), connections_max: 8, statement_timeout: Duration::from_secs(30) }
}

async fn database_on(url: &str) -> PgConnectOptions {
    let options: PgConnectOptions = url.parse().expect("MICAI_TEST_POSTGRES_URL is an address");
    let name = format!("story_{}", uuid::Uuid::now_v7().simple());
    let mut connection = options.connect().await.expect("the shared server answers");
    // The name is ours: letters, digits and underscores.
    let made = sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await;
    made.expect("a database can be made");
    options.database(&name)
}

/// A private cluster.
pub struct Private {
    server: Child,
    folder: tempfile::TempDir,
    settings: Vec<&'static str>,
}

impl Private {
    /// A server of our own, or nothing where only a shared one is to be had: then a story about servers has nobody to
    /// play it with.
    pub fn available(settings: &[&'static str]) -> Option<Self> {
        if std::env::var_os("MICAI_TEST_POSTGRES_URL").is_some() {
            eprintln!("not told: this story stops servers, and MICAI_TEST_POSTGRES_URL names one that is shared");
            return None;
        }
        Some(Self::start_with(settings))
    }

    fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further settings, `name=value` each.
    fn start_with(settings: &[&'static str]) -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("pg").tempdir().expect("a folder");
        if is_root() {
            run(Command::new("chown").arg(ACCOUNT).arg(folder.path()));
        }
        run(as_account(&programs.join("initdb"))
            .args(["-U", "micai", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C", "-D"])
            .arg(folder.path().join("data")));
        let settings = settings.to_vec();
        let server = spawn(folder.path(), &settings);
        let started = Self { server, folder, settings };
        started.wait_until_ready(&programs);
        started
    }

    /// How to reach its first database.
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass().socket(self.folder.path()).username("micai").database("postgres")
    }

    /// The same as the setting `database_url`.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql:///{database}?host={}&user=micai", self.folder.path().display())
    }

    /// Where its files and its socket are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server by a signal (INT: fast, QUIT: at once, as in a crash).
    pub fn stop(&mut self, signal: &str) {
        run(Command::new("kill").arg(format!("-{signal}")).arg(self.server.id().to_string()));
        self.server.wait().expect("the server ends");
    }

    /// Starts the stopped server again.
    pub fn start_again(&mut self) {
        self.server = spawn(self.folder.path(), &self.settings);
        self.wait_until_ready(&programs());
    }

    fn wait_until_ready(&self, programs: &Path) {
        let begun = Instant::now();
        loop {
            let mut probe = Command::new(programs.join("pg_isready"));
            probe.arg("-q").arg("-h").arg(self.folder.path());
            if probe.status().is_ok_and(|status| status.success()) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "postgres does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn spawn(folder: &Path, settings: &[&str]) -> Child {
    let mut command = as_account(&programs().join("postgres"));
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    for setting in ["listen_addresses=", "fsync=off"].iter().chain(settings) {
        command.args(["-c", setting]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres starts")
}

impl Drop for Private {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown that removes its shared memory.
        let _ = Command::new("kill").arg("-INT").arg(self.server.id().to_string()).status();
        let _ = self.server.wait();
    }
}

fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("MICAI_TEST_POSTGRES_BIN") {
        return folder.into();
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest
        .expect("a Postgres server is installed: bin/test installs one; or set MICAI_TEST_POSTGRES_BIN to its programs")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout.trim_ascii() == b"0"
}

fn as_account(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--init-groups", "--"]).arg(program);
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
