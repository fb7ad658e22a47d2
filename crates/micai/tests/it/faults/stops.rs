//! A process that is asked to stop while calls are under way.

use std::time::{Duration, Instant};

use reqwest::Client;
use simulator::{BubbleStatus, FaultKind, FaultOn, FaultSpec, Simulator};

use super::{NOWHERE, add_phone, compose, idle, replies, sends, sent, simulator, until, webhook_url};
use crate::ingest;
use crate::process::Process;

/// Somebody has written, WhatsApp has accepted the reply and takes its time to say so; its statuses find nobody. Gives
/// who wrote, and the process.
async fn in_the_middle_of_a_call(
    simulator: &Simulator,
    database: &std::path::Path,
    delay: Duration,
    grace_seconds: &str,
) -> (String, Process) {
    let ms = u64::try_from(delay.as_millis()).unwrap();
    let slow = FaultSpec { on: FaultOn::Send, kind: FaultKind::Delay { ms }, times: 1, phone: None };
    simulator.add_fault(slow).unwrap();
    simulator.set_webhook(Some(NOWHERE)).unwrap();
    let process = Process::serve(database, &simulator.url(), &[("shutdown_grace_seconds", grace_seconds)], &[]);
    let phone = add_phone(simulator);
    let body = compose(simulator, &phone, "hello");
    assert_eq!(ingest::post(&Client::new(), &webhook_url(&process), body).await.status, 200);
    until("WhatsApp has the reply", async || simulator.graph_requests().len() == 1).await;
    assert_eq!(sends(database).await, [sent("sending")], "the platform does not know it yet");
    (phone, process)
}

async fn wait_for_end(mut process: Process) -> std::process::ExitStatus {
    tokio::task::spawn_blocking(move || process.wait_for_end()).await.unwrap()
}

/// Starts the platform again and waits until the statuses have come through; the reply was said once.
async fn goes_on_without_repeating(simulator: &Simulator, database: &std::path::Path, phone: &str) {
    let process = Process::serve(database, &simulator.url(), &[], &[]);
    simulator.set_webhook(Some(&webhook_url(&process))).unwrap();
    idle(simulator).await;
    until("the status has settled it", async || sends(database).await == [sent("delivered")]).await;
    // A round trip through the whole platform, so that a second reply would have had its time.
    let somebody = add_phone(simulator);
    simulator.say(&somebody, "hello").unwrap();
    until("somebody else is answered", async || replies(simulator, &somebody) == 1).await;
    idle(simulator).await;
    assert_eq!(replies(simulator, phone), 1);
    let chat = simulator.chat(phone).unwrap();
    assert_eq!(chat.last().map(|bubble| bubble.status), Some(BubbleStatus::Delivered));
    process.signal("TERM");
    assert!(wait_for_end(process).await.success());
    assert_eq!(sends(database).await, [sent("delivered"), sent("delivered")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_calls_under_way() {
    let delay = Duration::from_millis(1_500);
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("micai.db");
    let (phone, process) = in_the_middle_of_a_call(&simulator, &database, delay, "20").await;
    let address = process.address;
    process.signal("TERM");
    until("it is stopping", async || process.has_said("stopping")).await;
    until("it takes no more", async || std::net::TcpStream::connect(address).is_err()).await;
    assert!(wait_for_end(process).await.success());
    assert_eq!(sends(&database).await, [sent("sent")], "the answer was waited for and written down");
    goes_on_without_repeating(&simulator, &database, &phone).await;
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once_and_nothing_is_said_twice() {
    let delay = Duration::from_secs(15);
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("micai.db");
    let (phone, process) = in_the_middle_of_a_call(&simulator, &database, delay, "20").await;
    let begun = Instant::now();
    process.signal("TERM");
    until("it is stopping", async || process.has_said("stopping")).await;
    process.signal("INT");
    assert!(wait_for_end(process).await.success(), "it was asked for");
    assert!(begun.elapsed() < delay, "it did not wait for the answer");
    assert_eq!(sends(&database).await, [sent("sending")], "nobody knows what became of it");
    goes_on_without_repeating(&simulator, &database, &phone).await;
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_takes_too_long_cuts_and_the_next_start_goes_on() {
    let delay = Duration::from_secs(15);
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("micai.db");
    let (phone, process) = in_the_middle_of_a_call(&simulator, &database, delay, "1").await;
    let begun = Instant::now();
    process.signal("TERM");
    assert!(wait_for_end(process).await.success());
    assert!(begun.elapsed() < delay, "the grace is over before the answer comes");
    assert_eq!(sends(&database).await, [sent("sending")]);
    goes_on_without_repeating(&simulator, &database, &phone).await;
    simulator.stop().await;
}
