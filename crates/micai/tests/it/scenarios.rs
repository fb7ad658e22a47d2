//! The scripted conversations that come with the simulator, played against a platform that nobody has set up further.

use std::path::{Path, PathBuf};

use simulator::scenario::{Scenario, play};

use crate::process::{Process, outside};

/// Where they are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../simulator/scenarios");
/// Fewer would mean that the folder has moved.
const FILES_MIN: usize = 4;

/// What a file's report says, where a step did not go as it should. Each has a platform of its own, with a prefix asked for as by
/// default, and the system's clock: a step waits in real time.
async fn complaint(file: PathBuf) -> Option<String> {
    let scenario = Scenario::from_file(&file).unwrap_or_else(|error| panic!("{error}"));
    let simulator = outside().await;
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("micai.db");
    let changes = [("require_invoke_prefix", "true")];
    let platform = Process::serve(&database, &simulator.url(), &changes, &[]);
    simulator.set_webhook(Some(&format!("http://{}/webhook", platform.address))).expect("a webhook address");
    let report = play(&scenario, &simulator.url()).await.expect("a simulator that answers");
    simulator.stop().await;
    (!report.passed()).then(|| format!("{}\n{report}", file.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_scenario_passes_on_a_fresh_platform() {
    let entries = std::fs::read_dir(Path::new(FOLDER)).expect("a folder");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.len() >= FILES_MIN, "{files:?}");
    // Side by side: most of a scenario is waiting for silence.
    let playing: Vec<_> = files.into_iter().map(|file| tokio::spawn(complaint(file))).collect();
    let mut complaints = Vec::new();
    for one in playing {
        complaints.extend(one.await.expect("a report"));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
