//! What the world does to a platform: locked and full disks, stops in the middle of the work, roles that start late.

mod disk;
mod stops;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use micai::app::{App, Roles};
use micai::clock::{Clock as _, ManualClock, SystemClock};
use micai::config::Config;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reqwest::Client;
use serde_json::{Value, json};
use simulator::{Author, DeliveryState, InboundKind, InboundSpec, PhoneKind, PhoneSpec, Simulator, SimulatorConfig};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};

use crate::harness::{ACCESS_TOKEN, APP_SECRET, PATIENCE, Stage, VERIFY_TOKEN, settings, variable};
use crate::ingest;
use crate::process::Process;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/webhook";

/// A simulated WhatsApp that is impatient with a platform that does not take its webhooks.
async fn simulator() -> Simulator {
    Simulator::start(SimulatorConfig {
        app_secret: APP_SECRET.to_owned(),
        verify_token: VERIFY_TOKEN.to_owned(),
        access_token: ACCESS_TOKEN.to_owned(),
        retry_delay_milliseconds: 50,
        ..SimulatorConfig::default()
    })
    .await
    .expect("a simulator")
}

fn webhook_url(process: &Process) -> String {
    format!("http://{}/webhook", process.address)
}

fn add_phone(simulator: &Simulator) -> String {
    let spec = PhoneSpec { kind: Some(PhoneKind::PhoneAndBsuid), ..PhoneSpec::default() };
    simulator.add_phone(spec).expect("a phone").id
}

fn replies(simulator: &Simulator, phone: &str) -> usize {
    let chat = simulator.chat(phone).expect("a chat");
    chat.iter().filter(|bubble| bubble.author == Author::Business).count()
}

/// A message that the caller brings to the platform.
fn compose(simulator: &Simulator, phone: &str, text: &str) -> bytes::Bytes {
    let spec = InboundSpec::from(InboundKind::Text { text: text.to_owned() });
    simulator.compose(phone, spec).expect("a webhook").0
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn idle(simulator: &Simulator) {
    if tokio::time::timeout(PATIENCE, simulator.wait_idle()).await.is_err() {
        let waiting = simulator.deliveries(2_000).into_iter().filter(|one| one.state == DeliveryState::Pending);
        let waiting: Vec<_> = waiting.map(|one| (one.kind, one.attempts, one.status, one.error)).collect();
        panic!("webhooks are not acknowledged: {waiting:?}");
    }
}

/// Webhooks that the platform has refused for now and that will come again.
fn refused(simulator: &Simulator) -> usize {
    let waits = |state| state == DeliveryState::Pending;
    simulator.deliveries(2_000).iter().filter(|one| waits(one.state) && one.status == Some(503)).count()
}

async fn connect(database: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(PATIENCE);
    SqliteConnection::connect_with(&options).await.expect("a connection")
}

/// State, calls and repetitions of every send, oldest first.
async fn sends(database: &Path) -> Vec<(String, i64, i64)> {
    let mut connection = connect(database).await;
    let sql = "SELECT state, attempts, resends FROM outbound_messages ORDER BY id";
    sqlx::query_as(sql).fetch_all(&mut connection).await.expect("rows")
}

fn sent(state: &str) -> (String, i64, i64) {
    (state.to_owned(), 1, 0)
}

/// A refusal that tells WhatsApp to come back.
fn assert_comes_back(answer: &ingest::Answer) {
    answer.assert_problem(503, "database_unavailable");
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_told_as_503_and_nothing_is_lost() {
    let stage = Stage::open().await;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Username), stage.phone("Bo", PhoneKind::Phone));
    let mut other = connect(&stage.database_path()).await;
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let body = compose(&stage.simulator, &ana, "hello");
    assert_comes_back(&ingest::post(&stage.http, &stage.url("/webhook"), body.clone()).await);
    stage.simulator.say(&bo, "hello").unwrap();
    stage.until("Bo's webhook was refused", async || refused(&stage.simulator) == 1).await;
    let live = stage.http.get(stage.url("/health/live")).send().await.unwrap();
    assert_eq!(live.status(), 200, "the process is well");
    assert_eq!(stage.get("/admin/conversations").await["items"], json!([]), "what is there can be read");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(stage.replies(&bo, 1).await.len(), 1, "WhatsApp came back by itself");
    assert!(stage.heard(&ana).is_empty(), "what was refused had not been taken");
    let answer = ingest::post(&stage.http, &stage.url("/webhook"), body).await;
    assert_eq!((answer.status, answer.body["processed"].as_u64()), (200, Some(1)));
    stage.replies(&ana, 1).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_in_the_middle_of_the_work_delays_it_and_repeats_nothing() {
    /// Far less than the deadline after which a send of unknown fate may be repeated.
    const SECONDS_MAX: i64 = 60;
    let stage = Stage::open().await;
    let phones: Vec<_> = (0..20).map(|_| stage.phone("Ana", PhoneKind::Username)).collect();
    for phone in &phones {
        stage.simulator.say(phone, "hello").unwrap();
    }
    stage.until("the first reply is there", async || phones.iter().any(|phone| !stage.heard(phone).is_empty())).await;
    let mut other = connect(&stage.database_path()).await;
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    stage.simulator.say(&phones[0], "and again").unwrap();
    stage.until("webhooks are refused", async || refused(&stage.simulator) > 0).await;
    other.execute("ROLLBACK").await.unwrap();
    let expected = |phone: &String| if *phone == phones[0] { 2 } else { 1 };
    let begun = stage.now();
    stage
        .until("everybody is answered", async || {
            if stage.now() < begun + SignedDuration::from_secs(SECONDS_MAX) {
                stage.advance(1);
            }
            phones.iter().all(|phone| stage.heard(phone).len() >= expected(phone))
        })
        .await;
    stage.settle().await;
    for phone in &phones {
        assert_eq!(stage.heard(phone).len(), expected(phone));
    }
    let calls = stage.simulator.graph_requests().len();
    assert_eq!(calls, phones.len() + 1, "one call for each reply");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_how_long_work_has_waited() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(SystemClock.now());
    let environment = settings(&folder.path().join("micai.db"), &simulator.url(), &[]);
    let environment = environment.iter().map(|(key, value)| (variable(key), value.clone()));
    let config = Config::load(environment, None).unwrap_or_else(|errors| panic!("{errors}"));
    // HTTP only: nobody takes turns.
    let app = App::start(&config, Roles::API, Arc::new(clock.clone()), StdRng::seed_from_u64(7)).await.unwrap();
    let address = app.address().unwrap();
    let http = Client::new();
    let ready = async || -> Value {
        let answer = http.get(format!("http://{address}/health/ready")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    };
    let idle = ready().await;
    assert_eq!((&idle["status"], &idle["database"]), (&json!("ready"), &json!("ok")));
    assert_eq!((&idle["oldest_pending_age_seconds"], &idle["oldest_queued_age_seconds"]), (&json!(null), &json!(null)));
    for seconds in [90, 45] {
        let phone = add_phone(&simulator);
        let body = compose(&simulator, &phone, "hello");
        assert_eq!(ingest::post(&http, &format!("http://{address}/webhook"), body).await.status, 200);
        clock.advance(SignedDuration::from_secs(seconds));
    }
    let waiting = ready().await;
    assert_eq!(waiting["oldest_pending_age_seconds"], json!(135.0), "the oldest counts: {waiting}");
    assert!(app.stop().await);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_starts_late_finds_what_waits() {
    const PHONES: usize = 30;
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("micai.db");
    let role = |name: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_micai"));
        command.arg(name);
        Process::run(command, &database, &simulator.url(), &[], &[])
    };
    let api = role("api");
    simulator.set_webhook(Some(&webhook_url(&api))).unwrap();
    let phones: Vec<_> = (0..PHONES).map(|_| add_phone(&simulator)).collect();
    for phone in &phones {
        simulator.say(phone, "hello").unwrap();
    }
    idle(&simulator).await;
    assert!(simulator.graph_requests().is_empty(), "nobody answers yet");
    let ready = Client::new().get(format!("http://{}/health/ready", api.address)).send().await.unwrap();
    let ready: Value = ready.json().await.unwrap();
    assert!(ready["oldest_pending_age_seconds"].as_f64().is_some_and(|age| age > 0.0), "{ready}");
    let worker = role("worker");
    let heard = || phones.iter().map(|phone| replies(&simulator, phone)).sum::<usize>();
    until("everybody is answered", async || heard() == PHONES).await;
    // The two share no queue: what comes in from now on is found by sweeping, too.
    simulator.say(&phones[0], "are you there?").unwrap();
    until("the newcomer is answered", async || heard() == PHONES + 1).await;
    idle(&simulator).await;
    worker.signal("TERM");
    let mut worker = worker;
    assert!(worker.wait_for_end().success());
    drop(api);
    assert_eq!(sends(&database).await, vec![sent("delivered"); PHONES + 1], "one call each");
    simulator.stop().await;
}
