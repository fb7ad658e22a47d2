//! Live events as a console hears them: what changed, while it changes, whichever process it happens in.

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use micai::domain::alert::{AlertKind, NewAlert, Severity};
use micai::shared::EVENT_BYTES_MAX;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use simulator::{PhoneKind, PhoneSpec};
use sqlx::ConnectOptions as _;

use crate::harness::{ADMIN_KEY, GLANCE, PATIENCE, Stage};
use crate::postgres::Postgres;
use crate::process::{Process, outside};
use crate::redis::{Private, Redis};

/// The most streams of one process, as docs/http.md has it.
const STREAMS_MAX: usize = 64;

/// Somebody who listens, and reads the rest only when told.
struct Console {
    address: SocketAddr,
    answer: reqwest::Response,
    text: String,
}

async fn ask(address: SocketAddr, path: &str, key: Option<&str>) -> reqwest::Response {
    let mut request = Client::new().get(format!("http://{address}{path}"));
    if let Some(key) = key {
        request = request.header("x-admin-key", key);
    }
    tokio::time::timeout(PATIENCE, request.send()).await.expect("it answers in time").expect("an answer")
}

impl Console {
    async fn listen(address: SocketAddr) -> Self {
        let answer = ask(address, "/admin/events", Some(ADMIN_KEY)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Self { address, answer, text: String::new() }
    }

    async fn of(stage: &Stage) -> Self {
        Self::listen(stage.app().address().expect("an address")).await
    }

    /// The next event with its data; nothing when the stream has ended in good order.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some((name, data)) = event.strip_prefix("event: ").and_then(|rest| rest.split_once("\ndata: ")) {
                    return Some((name.to_owned(), data.to_owned()));
                }
                assert!(event.starts_with(':'), "neither an event nor a comment: {event}");
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("something comes");
            self.text.push_str(std::str::from_utf8(&chunk.expect("it does not break off")?).expect("UTF-8"));
        }
    }

    /// What changed, as the next event says.
    async fn changed(&mut self) -> Value {
        let (name, data) = self.next().await.expect("the stream goes on");
        assert_eq!(name, "changed", "{data}");
        serde_json::from_str(&data).expect("JSON")
    }

    /// Listens until an event is about it. Comments keep a stream going for ever, so the whole has a bound.
    async fn until(&mut self, what: &str, holds: impl AsyncFn(&Value) -> bool) -> Value {
        let listening = async {
            loop {
                let changed = self.changed().await;
                if holds(&changed).await {
                    return changed;
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, listening).await;
        heard.unwrap_or_else(|_| panic!("it is never heard of that {what}"))
    }

    async fn subject(&mut self, subject: &str) {
        let is_listed = async |changed: &Value| changed["subjects"].as_array().unwrap().contains(&json!(subject));
        self.until(&format!("{subject} changed"), is_listed).await;
    }

    /// Listens until the transcript of the one conversation is as it should be; looks only when told that it has changed.
    async fn until_transcript(&mut self, what: &str, holds: impl Fn(&[Value]) -> bool) -> String {
        let address = self.address;
        let changed = self
            .until(what, async |changed| {
                let Some(id) = changed["conversations"][0].as_str() else { return false };
                let answer = ask(address, &format!("/admin/conversations/{id}/messages"), Some(ADMIN_KEY)).await;
                let text = answer.text().await.expect("a body");
                let page: Value = serde_json::from_str(&text).expect("JSON");
                holds(page["items"].as_array().unwrap_or_else(|| panic!("{text}")))
            })
            .await;
        changed["conversations"][0].as_str().expect("an id").to_owned()
    }
}

fn states(items: &[Value], direction: &str) -> Vec<String> {
    let of_it = items.iter().filter(|item| item["direction"] == direction);
    of_it.map(|item| item["state"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_hears_of_a_message_of_its_reply_and_of_what_became_of_it() {
    let stage = Stage::open().await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    let mut console = Console::of(&stage).await;
    let pause = json!({"scope": "account", "reason": "a look around"});
    stage.admin(Method::POST, "/admin/pauses", Some(pause)).await;
    console.subject("pauses").await;
    stage.simulator.say(&ana, "hello").unwrap();
    let conversation = console.until_transcript("a reply is held", |items| states(items, "out") == ["held"]).await;
    // Nothing is under way any more: from here on, only the sender has news, and its own.
    stage.simulator.wait_idle().await;
    let webhook = stage.url("/webhook");
    stage.simulator.set_webhook(None).unwrap();
    stage.admin(Method::DELETE, "/admin/pauses/account", None).await;
    stage.replies(&ana, 1).await;
    console.until_transcript("it is sent", |items| states(items, "out") == ["sent"]).await;
    stage.simulator.set_webhook(Some(&webhook)).unwrap();
    stage.simulator.say(&ana, "hello again").unwrap();
    console.until_transcript("the next is delivered", |items| states(items, "out")[0] == "delivered").await;
    stage.simulator.read(&ana, &[]).unwrap();
    console.until_transcript("she has seen it", |items| states(items, "out")[0] == "read").await;
    // What an operator does is told as well.
    let body = json!({"mode": "human"});
    stage.admin(Method::POST, &format!("/admin/conversations/{conversation}/mode"), Some(body)).await;
    console.until("a person is in charge", async |changed| changed["conversations"] == json!([conversation])).await;
    stage.keyword_rule("weather", "weather", "It will be sunny.").await;
    console.subject("agents").await;
    drop(console);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_heard_of_wherever_it_was_raised() {
    let stage = Stage::open().await;
    let mut console = Console::of(&stage).await;
    let alert = NewAlert::new(AlertKind::NumberWarning, Severity::Warning, "1", "Its quality is low.", Value::Null);
    // The first look after somebody began to listen tells in any case.
    hear_of_alerts(&stage, &mut console).await;
    assert!(stage.app().store().raise_alert(&alert).await.expect("a database"));
    hear_of_alerts(&stage, &mut console).await;
    drop(console);
    stage.end().await;
}

/// Lets the clock go on until it is told that alerts changed.
async fn hear_of_alerts(stage: &Stage, console: &mut Console) {
    let is_heard = Cell::new(false);
    let listening = async {
        console.subject("alerts").await;
        is_heard.set(true);
    };
    tokio::join!(listening, stage.in_time("it is told", async || is_heard.get()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_nothing_is_streamed() {
    let stage = Stage::open().await;
    let address = stage.app().address().expect("an address");
    for key in [None, Some("wrong"), Some("")] {
        let answer = ask(address, "/admin/events", key).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{key:?}");
        let body = tokio::time::timeout(PATIENCE, answer.text()).await.expect("it ends").expect("a body");
        let problem: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(problem["code"], "unauthorized", "{key:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_is_refused_until_another_ends() {
    let stage = Stage::open().await;
    let mut consoles = Vec::new();
    for _ in 0..STREAMS_MAX {
        consoles.push(Console::of(&stage).await);
    }
    let address = stage.app().address().expect("an address");
    let refused = ask(address, "/admin/events", Some(ADMIN_KEY)).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = serde_json::from_str(&refused.text().await.expect("a body")).expect("JSON");
    assert_eq!(problem["code"], "too_many_event_streams");
    assert!(problem["detail"].as_str().expect("words").contains("64"), "{problem}");
    stage.get("/admin/rules").await;
    consoles.pop();
    stage
        .until("there is room again", async || {
            ask(address, "/admin/events", Some(ADMIN_KEY)).await.status() == StatusCode::OK
        })
        .await;
    drop(consoles);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_open_streams_at_once() {
    let mut stage = Stage::open().await;
    let mut consoles = [Console::of(&stage).await, Console::of(&stage).await];
    let begun = Instant::now();
    // Asserts that nothing had to be cut off.
    stage.stop().await;
    assert!(begun.elapsed() < PATIENCE / 4, "{:?}", begun.elapsed());
    for console in &mut consoles {
        assert_eq!(console.next().await, None);
    }
    stage.start().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_does_not_keep_up_hears_how_much_it_missed() {
    const EVENTS: u64 = 3_000;
    let stage = Stage::open().await;
    let mut console = Console::of(&stage).await;
    // Far more than lies in the buffers of a connection.
    let filler = "x".repeat(EVENT_BYTES_MAX - 10);
    for number in 1..=EVENTS {
        stage.app().shared().publish(&format!("{number} {filler}")).expect("short enough");
    }
    let (mut heard, mut missed) = (0, 0);
    loop {
        let (name, data) = console.next().await.expect("the stream goes on");
        match name.as_str() {
            "missed" => {
                missed += serde_json::from_str::<Value>(&data).expect("JSON")["count"].as_u64().expect("a count");
            }
            _ => heard += 1,
        }
        if data.starts_with(&format!("{EVENTS} ")) {
            break;
        }
    }
    assert_eq!(heard + missed, EVENTS, "{heard} heard, {missed} missed");
    assert!(missed > 0, "all of it was kept");
    drop(console);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_hears_what_happens_in_other_processes_and_its_own_while_redis_is_away() {
    let Some(mut redis) = Private::start_if_installed(&[]) else { return };
    let postgres = Postgres::start().await;
    let simulator = outside().await;
    let changes = [
        ("database_url", postgres.options().to_url_lossy().to_string()),
        ("redis_url", redis.url()),
        ("redis_prefix", Redis::prefix()),
        ("require_invoke_prefix", "true".to_owned()),
        ("invoke_prefixes", "michael:".to_owned()),
    ];
    let role = |role: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_micai"));
        command.arg(role);
        let changes: Vec<_> = changes.iter().map(|(key, value)| (*key, value.as_str())).collect();
        Process::run(command, std::path::Path::new("unused.db"), &simulator.url(), &changes, &[])
    };
    let (api, other_api) = (role("api"), role("api"));
    simulator.set_webhook(Some(&format!("http://{}/webhook", api.address))).expect("a webhook address");
    let mut console = Console::listen(other_api.address).await;
    subscribed(&api, &mut console).await;
    let spec = PhoneSpec { name: Some("Ana".into()), kind: Some(PhoneKind::Phone), ..PhoneSpec::default() };
    let ana = simulator.add_phone(spec).expect("a phone").id;
    // Nobody takes turns yet, and then one that says nothing.
    simulator.say(&ana, "good morning").unwrap();
    console.until_transcript("a message came in", |items| states(items, "in") == ["pending"]).await;
    let _worker = role("worker");
    console.until_transcript("it had its turn", |items| states(items, "in") == ["done"]).await;
    simulator.say(&ana, "michael: hello").unwrap();
    console.until_transcript("it is answered", |items| states(items, "out") == ["delivered"]).await;

    redis.kill();
    let mut console_at_home = Console::listen(api.address).await;
    simulator.say(&ana, "are you there?").unwrap();
    console_at_home.until_transcript("she goes on", |items| states(items, "in").len() == 3).await;
    drop((api, other_api));
    simulator.stop().await;
}

/// Writes in one process until another hears of it: a subscription across a network takes a moment.
async fn subscribed(api: &Process, console: &mut Console) {
    let begun = Instant::now();
    loop {
        let rule = json!({
            "id": "noon", "agent_id": "default-agent", "rule_type": "keyword", "keywords": ["noon"],
            "action": "reply_text", "reply_text": "It is noon.",
        });
        let call = Client::new().post(format!("http://{}/admin/rules", api.address)).header("x-admin-key", ADMIN_KEY);
        assert!(call.json(&rule).send().await.expect("an answer").status().is_success());
        if tokio::time::timeout(GLANCE * 100, console.subject("agents")).await.is_ok() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing is heard");
    }
}
