//! The platform as a process of its own: what only the real binary can show.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use simulator::{Simulator, SimulatorConfig};

use crate::harness::{ACCESS_TOKEN, APP_SECRET, PATIENCE, VERIFY_TOKEN, settings, variable};

/// The outside world of a process: WhatsApp with the secrets that a process is told.
pub async fn outside() -> Simulator {
    Simulator::start(SimulatorConfig {
        app_secret: APP_SECRET.to_owned(),
        verify_token: VERIFY_TOKEN.to_owned(),
        access_token: ACCESS_TOKEN.to_owned(),
        ..SimulatorConfig::default()
    })
    .await
    .unwrap()
}

/// Waits until it holds; a process has a clock of its own.
pub async fn until(what: &str, holds: &dyn Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A running `micai`. Killed when dropped.
pub struct Process {
    child: Child,
    /// Where HTTP is served; port 0 in a role that serves none.
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `micai serve` and waits until it is ready.
    pub fn serve(database: &Path, api_url: &str, changes: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_micai"));
        command.arg("serve");
        Self::run(command, database, api_url, changes, environment)
    }

    /// Runs a command that becomes `micai` and waits until it is ready.
    pub fn run(
        command: Command,
        database: &Path,
        api_url: &str,
        changes: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Self {
        Self::launch(command, database, api_url, changes, environment)
            .unwrap_or_else(|said| panic!("micai ends: {said}"))
    }

    /// As [`Process::run`] for one that may end instead of becoming ready: then gives what it said.
    pub fn launch(
        mut command: Command,
        database: &Path,
        api_url: &str,
        changes: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        let mut child = command
            .env_clear()
            .envs(settings(database, api_url, changes).iter().map(|(key, value)| (variable(key), value.clone())))
            .env("MICAI_LOG_FORMAT", "json")
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("micai starts");
        let log = Arc::default();
        let address = ready_address(&mut child, &log);
        let mut process = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), log };
        match address {
            Some(address) => {
                process.address = address;
                Ok(process)
            }
            None => {
                process.wait_for_end();
                Err(process.log.lock().expect("a log").join("\n"))
            }
        }
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ever said so in its log.
    pub fn has_said(&self, beginning: &str) -> bool {
        self.log.lock().expect("a log").iter().any(|message| message.starts_with(beginning))
    }

    /// Waits until the process has ended by itself.
    pub fn wait_for_end(&mut self) -> std::process::ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the process goes on and on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal by number.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log until it says `ready`; the rest is read on, so that the process never waits for us. Nothing when it ends
/// first.
fn ready_address(child: &mut Child, said: &Arc<Mutex<Vec<String>>>) -> Option<SocketAddr> {
    let said = said.clone();
    let log = BufReader::new(child.stderr.take().expect("a log"));
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            said.lock().expect("a log").push(entry["message"].as_str().unwrap_or(&line).to_owned());
            if entry["message"] == "ready" {
                let address = entry["address"].as_str().and_then(|text| text.parse().ok());
                let _ = ready.send(address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))));
            } else if entry["level"] == "ERROR" || entry.is_null() {
                eprintln!("micai: {line}");
            }
        }
    });
    match is_ready.recv_timeout(PATIENCE) {
        Ok(address) => Some(address),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("micai becomes neither ready nor ends"),
    }
}

#[test]
fn a_first_signal_stops_in_good_order_and_the_lock_keeps_a_second_process_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("micai.db");
    let mut first = Process::serve(&database, "http://127.0.0.1:9", &[], &[]);
    let second = Command::new(env!("CARGO_BIN_EXE_micai"))
        .arg("serve")
        .env_clear()
        .envs(settings(&database, "http://127.0.0.1:9", &[]).iter().map(|(key, value)| (variable(key), value.clone())))
        .output()
        .expect("micai starts");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another `micai serve`"), "{said}");
    first.signal("TERM");
    assert!(first.wait_for_end().success(), "a stop that was asked for is no failure");
}

#[test]
fn settings_that_cannot_work_are_all_named_at_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_micai"))
        .arg("serve")
        .env_clear()
        .env("MICAI_BIND", "nowhere")
        .env("MICAI_ADMIN_API_KYE", "x")
        .env("MICAI_WHATSAPP_APP_SECRET_FILE", "/does/not/exist")
        .output()
        .expect("micai starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in ["MICAI_BIND", "MICAI_ADMIN_API_KYE", "MICAI_ADMIN_API_KEY", "MICAI_WHATSAPP_APP_SECRET_FILE"] {
        assert!(said.contains(expected), "{expected} is missing in: {said}");
    }
}
