//! The production shape: several processes on one Postgres and one Redis, and nothing else between them.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use simulator::{Author, PhoneKind, PhoneSpec, Simulator, SimulatorConfig};
use sqlx::ConnectOptions as _;

use crate::harness::{ACCESS_TOKEN, ADMIN_KEY, APP_SECRET, GLANCE, PATIENCE, VERIFY_TOKEN, settings, variable};
use crate::postgres::Postgres;
use crate::process::Process;
use crate::redis::{Private, Redis};

/// The settings of all roles of one installation.
struct Installation {
    changes: Vec<(&'static str, String)>,
    api_url: String,
}

impl Installation {
    fn role(&self, role: &str) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_micai"));
        command.arg(role);
        let changes: Vec<_> = self.changes.iter().map(|(key, value)| (*key, value.as_str())).collect();
        Process::run(command, std::path::Path::new("unused.db"), &self.api_url, &changes, &[])
    }
}

async fn simulator() -> Simulator {
    let config = SimulatorConfig {
        app_secret: APP_SECRET.to_owned(),
        verify_token: VERIFY_TOKEN.to_owned(),
        access_token: ACCESS_TOKEN.to_owned(),
        ..SimulatorConfig::default()
    };
    Simulator::start(config).await.expect("a simulator")
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "it never came about that {what}");
        tokio::time::sleep(GLANCE).await;
    }
}

async fn readiness(api: &Process) -> Value {
    let answer = reqwest::get(format!("http://{}/health/ready", api.address)).await.expect("an answer");
    let text = answer.text().await.expect("a body");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_process_wakes_the_workers_of_others_and_webhooks_are_taken_while_redis_is_away() {
    let Some(mut redis) = Private::start_if_installed(&[]) else { return };
    let postgres = Postgres::start().await;
    let simulator = simulator().await;
    let mut installation = Installation {
        changes: vec![
            ("database_url", postgres.options().to_url_lossy().to_string()),
            ("redis_url", redis.url()),
            ("redis_prefix", Redis::prefix()),
            // Nobody finds anything by looking: what arrives, Redis has brought.
            ("sweep_interval_seconds", "3600".to_owned()),
        ],
        api_url: simulator.url(),
    };
    let api = installation.role("api");
    let mut workers = vec![installation.role("worker"), installation.role("worker")];
    simulator.set_webhook(Some(&format!("http://{}/webhook", api.address))).expect("a webhook address");
    let spec = PhoneSpec { name: Some("Ana".into()), kind: Some(PhoneKind::Phone), ..PhoneSpec::default() };
    let ana = simulator.add_phone(spec).expect("a phone").id;
    let replies = || simulator.chat(&ana).unwrap().iter().filter(|bubble| bubble.author == Author::Business).count();
    for round in 1..=5 {
        simulator.say(&ana, "hello").unwrap();
        until("Ana is answered", async || replies() == round).await;
    }
    until("all keys are done", async || {
        let readiness = readiness(&api).await;
        let is_empty = |topic: &Value| topic["ready"] == 0 && topic["out"] == 0;
        readiness["queue"]["link"] == "redis"
            && readiness["shared"] == "redis"
            && is_empty(&readiness["queue"]["turn"])
            && is_empty(&readiness["queue"]["send"])
    })
    .await;

    redis.kill();
    simulator.say(&ana, "hello without Redis").unwrap();
    tokio::time::timeout(PATIENCE, simulator.wait_idle()).await.expect("the webhook is acknowledged");
    until("it is seen", async || {
        let readiness = readiness(&api).await;
        readiness["status"] == "ready" && readiness["queue"]["link"] == "in_process_while_redis_is_away"
    })
    .await;
    // A worker that starts needs Redis; one that runs works on what it finds in the database.
    redis.restart();
    workers.clear();
    installation.changes.retain(|(key, _)| *key != "sweep_interval_seconds");
    let _worker = installation.role("worker");
    until("what came meanwhile is answered", async || replies() == 6).await;
    until("Redis is used again", async || readiness(&api).await["queue"]["link"] == "redis").await;
    simulator.say(&ana, "hello again").unwrap();
    until("Ana is answered", async || replies() == 7).await;
    drop(api);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_schedules_another_attends_to_and_a_third_sends() {
    let Some(redis) = Private::start_if_installed(&[]) else { return };
    let postgres = Postgres::start().await;
    let simulator = simulator().await;
    let installation = Installation {
        changes: vec![
            ("database_url", postgres.options().to_url_lossy().to_string()),
            ("redis_url", redis.url()),
            ("redis_prefix", Redis::prefix()),
            ("sweep_interval_seconds", "3600".to_owned()),
        ],
        api_url: simulator.url(),
    };
    let api = installation.role("api");
    let _worker = installation.role("worker");
    let _schedulers = [installation.role("scheduler"), installation.role("scheduler")];
    simulator.set_webhook(Some(&format!("http://{}/webhook", api.address))).expect("a webhook address");
    let spec = PhoneSpec { name: Some("Ana".into()), kind: Some(PhoneKind::Phone), ..PhoneSpec::default() };
    let ana = simulator.add_phone(spec).expect("a phone");
    let heard = || simulator.chat(&ana.id).unwrap().iter().filter(|bubble| bubble.author == Author::Business).count();
    simulator.say(&ana.id, "hello").unwrap();
    until("Ana is answered", async || heard() == 1).await;
    let body = serde_json::json!({
        "wa_id": ana.phone, "message_text": "It is time.", "interval_minutes": 600, "next_run_at": "2026-01-01T00:00:00Z",
    });
    let call = reqwest::Client::new()
        .post(format!("http://{}/admin/schedules", api.address))
        .header("x-admin-key", ADMIN_KEY)
        .json(&body);
    assert_eq!(call.send().await.expect("an answer").status(), 201);
    let begun = Instant::now();
    until("the schedule has spoken", async || heard() == 2).await;
    eprintln!("what another process scheduled arrived after {:?}", begun.elapsed());
    // A round trip through all of them, in which a second one would have had its time.
    simulator.say(&ana.id, "hello").unwrap();
    until("Ana is answered again", async || heard() == 3).await;
    tokio::time::timeout(PATIENCE, simulator.wait_idle()).await.expect("webhooks are acknowledged");
    assert_eq!(heard(), 3);
    drop(api);
    simulator.stop().await;
}

#[test]
fn a_process_whose_redis_cannot_be_used_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let changes = [("redis_url", "redis://:hidden@127.0.0.1:1/0")];
    let output = Command::new(env!("CARGO_BIN_EXE_micai"))
        .arg("api")
        .env_clear()
        .envs(
            settings(&folder.path().join("micai.db"), "http://127.0.0.1:9", &changes)
                .into_iter()
                .map(|(key, value)| (variable(&key), value)),
        )
        .output()
        .expect("micai starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the Redis at redis://:***@127.0.0.1:1/0 cannot be reached"), "{said}");
    assert!(said.contains("MICAI_REDIS_URL") && !said.contains("hidden"), "{said}");
}
