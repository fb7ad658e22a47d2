//! A disk that is full: webhooks are refused for now, and when there is room again everything is made up for.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Client;
use simulator::Simulator;
use tempfile::TempDir;

use super::{add_phone, assert_comes_back, compose, idle, refused, replies, simulator, until, webhook_url};
use crate::harness::PATIENCE;
use crate::ingest;
use crate::process::Process;

/// What a small disk holds, in the words of `mount`.
const SMALL: &str = "size=4m";
/// Bytes of one piece of the ballast that fills it: less than a page of the database.
const PIECE_BYTES: usize = 512;

/// How a disk is made to be full.
enum Narrow {
    /// A small disk of its own, and a file that takes the rest of it.
    Mounted(PathBuf),
    /// No file of the process may grow: the system refuses the write as a full disk does.
    Limited,
}

/// Where the database lives. Unmounted when dropped.
struct Disk {
    folder: TempDir,
    narrow: Narrow,
}

impl Disk {
    /// A small disk, where this may mount one; else a limit that the system sets on the process.
    fn small() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", SMALL, "tmpfs"]).arg(folder.path()).output();
        let narrow = match mount {
            Ok(output) if output.status.success() => Narrow::Mounted(folder.path().join("ballast")),
            _ => {
                eprintln!("no disk can be mounted here: a limit on the size of files takes its place");
                Narrow::Limited
            }
        };
        Self { folder, narrow }
    }

    fn limited() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), narrow: Narrow::Limited }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("micai.db")
    }

    fn fill(&self, process: &Process) {
        match &self.narrow {
            Narrow::Mounted(ballast) => {
                let mut file = File::create(ballast).unwrap();
                while file.write_all(&[0x7f; PIECE_BYTES]).is_ok() {}
            }
            // Not even what is there already can be written over: moving the log into the database would make room in it.
            Narrow::Limited => limit_files(process, "4096"),
        }
    }

    /// Whether what was refused once is refused until there is room again. On a small disk it need not be: whenever the log was
    /// moved into the database, its own blocks take another commit or two.
    fn stays_full(&self) -> bool {
        matches!(self.narrow, Narrow::Limited)
    }

    fn free(&self, process: &Process) {
        match &self.narrow {
            Narrow::Mounted(ballast) => std::fs::remove_file(ballast).unwrap(),
            Narrow::Limited => limit_files(process, "unlimited"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if matches!(self.narrow, Narrow::Mounted(_)) {
            // Lazily: whoever is still in there must not keep it.
            let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        }
    }
}

/// Sets how large a file of the process may become; the hard limit stays, so that it can be taken back.
fn limit_files(process: &Process, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let pid = process.id().to_string();
    let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(set.expect("prlimit of util-linux is needed").success());
}

/// `micai serve` that takes a file limit as an error, not as the signal that would end it.
fn serve(database: &Path, simulator: &Simulator) -> Process {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" serve", env!("CARGO_BIN_EXE_micai")]);
    Process::run(command, database, &simulator.url(), &[], &[])
}

async fn fills_up(disk: Disk) {
    let simulator = simulator().await;
    let process = serve(&disk.database(), &simulator);
    simulator.set_webhook(Some(&webhook_url(&process))).unwrap();
    let phones: Vec<_> = (0..8).map(|_| add_phone(&simulator)).collect();
    let heard = || phones.iter().map(|phone| replies(&simulator, phone)).collect::<Vec<_>>();
    simulator.say(&phones[0], "hello").unwrap();
    until("there is an answer while there is room", async || heard()[0] == 1).await;
    idle(&simulator).await;

    disk.fill(&process);
    let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0];
    let begun = std::time::Instant::now();
    // The database may still have some room inside its own files.
    while refused(&simulator) < phones.len() {
        assert!(begun.elapsed() < PATIENCE, "the disk is full and nobody says so");
        for (phone, count) in phones.iter().zip(&mut expected) {
            simulator.say(phone, &"many words ".repeat(100)).unwrap();
            *count += 1;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let http = Client::new();
    let late = compose(&simulator, &phones[0], "at a bad time");
    let first = ingest::post(&http, &webhook_url(&process), late.clone()).await;
    let was_taken = first.status == 200 && !disk.stays_full();
    if !was_taken {
        assert_comes_back(&first);
    }
    let live = http.get(format!("http://{}/health/live", process.address)).send().await.unwrap();
    assert_eq!(live.status(), 200, "the process is well");
    let statuses = simulator.deliveries(2_000).into_iter().filter_map(|one| one.status);
    assert!(statuses.into_iter().all(|status| [200, 503].contains(&status)));

    disk.free(&process);
    idle(&simulator).await;
    // Taken is taken, refused is refused.
    expected[0] += usize::from(was_taken);
    until("everything is answered", async || heard() == expected).await;
    let answer = ingest::post(&http, &webhook_url(&process), late).await;
    let new = u64::from(!was_taken);
    assert_eq!((answer.status, answer.body["processed"].as_u64()), (200, Some(new)), "taken before: {was_taken}");
    expected[0] += usize::from(!was_taken);
    until("it is answered", async || heard()[0] >= expected[0]).await;
    idle(&simulator).await;
    assert_eq!(heard(), expected, "nothing was lost and nothing said twice");
    drop(process);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_as_503_and_made_up_for() {
    fills_up(Disk::small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_may_not_grow_are_told_as_503_and_made_up_for() {
    fills_up(Disk::limited()).await;
}
