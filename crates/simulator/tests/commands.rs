//! `whatsapp-sim run`, `load` and `ingest-load` against a small platform that speaks real HTTP: it checks the signature,
//! answers 200 and replies through the Graph API, as any client would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use simulator::scenario::{Scenario, StepOutcome, play};
use simulator::{Simulator, SimulatorConfig};

const APP_SECRET: &str = "simulator-app-secret";
const ACCESS_TOKEN: &str = "simulator-access-token";
const PHONE_NUMBER_ID: &str = "106540352242922";

/// The platform: answers each new message once, as its text asks.
struct Platform {
    graph_url: OnceLock<String>,
    seen: Mutex<HashSet<String>>,
    client: reqwest::Client,
}

impl Platform {
    /// Starts it; the second part is the address of its webhook.
    async fn start() -> (Arc<Self>, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let platform = Arc::new(Self { graph_url: OnceLock::new(), seen: Mutex::default(), client });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let webhook = format!("http://{}/webhook", listener.local_addr().unwrap());
        let router = Router::new().route("/webhook", post(webhook_handler)).with_state(Arc::clone(&platform));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (platform, webhook)
    }

    async fn reply(&self, message: &Value) {
        let recipient = match message["from"].as_str() {
            Some(number) => json!({ "to": number }),
            None => json!({ "recipient": message["from_user_id"] }),
        };
        let interactive = &message["interactive"];
        let tapped = interactive["button_reply"]["title"].as_str().or(interactive["list_reply"]["title"].as_str());
        let text = message["text"]["body"].as_str().unwrap_or_default();
        let mut body = match (tapped, text) {
            (Some(title), _) => json!({ "type": "text", "text": { "body": format!("You chose {title}") } }),
            (None, "silence") => return,
            (None, "buttons") => json!({ "type": "interactive", "interactive": {
                "type": "button", "body": { "text": "Sure?" },
                "action": { "buttons": [{ "type": "reply", "reply": { "id": "y", "title": "Yes" } }] },
            } }),
            (None, "list") => json!({ "type": "interactive", "interactive": {
                "type": "list", "body": { "text": "Which?" },
                "action": { "button": "Open", "sections": [{ "title": "All", "rows": [{ "id": "r1", "title": "First" }] }] },
            } }),
            (None, text) => json!({ "type": "text", "text": { "body": format!("I heard: {text}") } }),
        };
        body["messaging_product"] = json!("whatsapp");
        body.as_object_mut().unwrap().extend(recipient.as_object().unwrap().clone());
        let url = format!("{}/v25.0/{PHONE_NUMBER_ID}/messages", self.graph_url.get().unwrap());
        // A fault may close the connection: this small platform does not try again.
        let _ = self.client.post(url).bearer_auth(ACCESS_TOKEN).json(&body).send().await;
    }
}

async fn webhook_handler(State(platform): State<Arc<Platform>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut mac = Hmac::<Sha256>::new_from_slice(APP_SECRET.as_bytes()).unwrap();
    mac.update(&body);
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    if headers.get("x-hub-signature-256").is_none_or(|given| given.as_bytes() != expected.as_bytes()) {
        return StatusCode::UNAUTHORIZED;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    for change in body["entry"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|entry| entry["changes"].as_array().into_iter().flatten())
    {
        for message in change["value"]["messages"].as_array().into_iter().flatten() {
            if platform.seen.lock().unwrap().insert(message["id"].as_str().unwrap().to_owned()) {
                let (platform, message) = (Arc::clone(&platform), message.clone());
                tokio::spawn(async move { platform.reply(&message).await });
            }
        }
    }
    StatusCode::OK
}

async fn together() -> (Simulator, Arc<Platform>) {
    let (platform, webhook) = Platform::start().await;
    let config = SimulatorConfig { webhook_url: Some(webhook), ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    platform.graph_url.set(simulator.url().to_owned()).unwrap();
    (simulator, platform)
}

fn scenario(steps: &str) -> Scenario {
    let text = format!(
        "name = 'story'\nphones = [{{ name = 'Ana' }}, {{ name = 'Bo', kind = 'username' }}]\nsteps = [{steps}]"
    );
    Scenario::parse("story.toml", &text).unwrap()
}

#[tokio::test]
async fn a_conversation_with_buttons_lists_statuses_and_a_person_without_a_number_passes() {
    let (simulator, _platform) = together().await;
    let scenario = scenario(
        "{ phone = 'Ana', say = 'hello' },
         { phone = 'Ana', expect_reply = { equals = 'I heard: hello', kind = 'text' } },
         { phone = 'Ana', expect_status = { status = 'delivered' } },
         { phone = 'Ana', read = true },
         { phone = 'Ana', expect_status = { status = 'read' } },
         { phone = 'Ana', expect_status = { status = 'delivered', of = 'person' } },
         { phone = 'Bo', say = 'buttons' },
         { phone = 'Bo', expect_reply = { kind = 'interactive', contains = 'Sure' } },
         { phone = 'Bo', tap = 'Yes' },
         { phone = 'Bo', expect_reply = { contains = 'chose Yes' } },
         { phone = 'Bo', say = 'list' },
         { phone = 'Bo', expect_reply = { contains = 'Which' } },
         { phone = 'Bo', tap = 'r1' },
         { phone = 'Bo', expect_reply = { contains = 'chose First' } },
         { phone = 'Bo', send = { type = 'reaction', message_id = 'last', emoji = 'x' } },
         { phone = 'Ana', say = 'silence' },
         { phone = 'Ana', expect_no_reply = { within = '300ms' } },
         { advance_clock = '25h' },
         { fault = { on = 'webhook', kind = 'duplicate' } },
         { phone = 'Ana', say = 'again' },
         { phone = 'Ana', expect_reply = { equals = 'I heard: again' } },
         { phone = 'Ana', expect_no_reply = { within = '300ms' } }",
    );
    let report = play(&scenario, &simulator.url()).await.unwrap();
    assert!(report.passed(), "{report}");
}

#[tokio::test]
async fn a_failed_step_says_what_came_instead_and_stops_the_scenario() {
    let (simulator, _platform) = together().await;
    let table = [
        (
            "{ phone = 'Ana', expect_reply = { contains = 'sun', within = '300ms' } }",
            "in 300 ms came only: text \"I heard: hi\"",
        ),
        ("{ phone = 'Ana', expect_no_reply = { within = '5s' } }", "the business wrote: text \"I heard: hi\""),
        ("{ phone = 'Bo', expect_reply = { within = '100ms' } }", "nothing came to Bo in 100 ms"),
        ("{ phone = 'Bo', tap = 'Yes' }", "nothing in the chat can be tapped"),
        (
            "{ phone = 'Ana', expect_status = { status = 'failed', within = '300ms' } }",
            "it is delivered: text \"I heard: hi\"",
        ),
        ("{ phone = 'Ana', send = { type = 'revoke', message_id = 'wamid.none' } }", "wamid.none"),
    ];
    for (step, wanted) in table {
        let steps = format!("{{ phone = 'Ana', say = 'hi' }}, {step}, {{ phone = 'Ana', read = true }}");
        let report = play(&scenario(&steps), &simulator.url()).await.unwrap();
        let StepOutcome::Failed(reason) = &report.steps[1].outcome else { panic!("{step} passed: {report}") };
        assert!(reason.contains(wanted), "{reason}\n does not contain: {wanted}");
        assert_eq!(report.steps[2].outcome, StepOutcome::NotRun);
        assert!(report.to_string().starts_with("FAILED story"), "{report}");
    }
}

/// An address that nobody listens on at the moment.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Runs `whatsapp-sim` with these words plus `--webhook-url` and `--bind` for a platform of its own.
async fn whatsapp_sim(words: &[&str]) -> Output {
    let (platform, webhook) = Platform::start().await;
    let bind = free_address();
    platform.graph_url.set(format!("http://{bind}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_whatsapp-sim"));
    command.args(words).args(["--webhook-url", &webhook, "--bind", &bind]);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn run_reports_each_file_and_ends_with_the_count() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, steps: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("name = '{name}'\nphones = [{{ name = 'Ana' }}]\nsteps = [{steps}]")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good", "{ say = 'hi' }, { expect_reply = { contains = 'hi' } }");
    let bad = file("bad", "{ say = 'silence' }, { expect_reply = { within = '200ms' } }");
    let output = whatsapp_sim(&["run", &good, &bad]).await;
    let said = text(&output.stdout);
    assert_eq!(said.lines().last(), Some("1 passed, 1 failed"), "{said}{}", text(&output.stderr));
    assert!(
        said.contains("passed good") && said.contains("FAILED bad") && said.contains("nothing came to Ana"),
        "{said}"
    );
    assert!(!output.status.success());
    let output = whatsapp_sim(&["run", &good]).await;
    assert_eq!((text(&output.stdout).lines().last(), output.status.success()), (Some("1 passed, 0 failed"), true));
    let broken = file("broken", "{ sya = 'hi' }");
    let output = whatsapp_sim(&["run", &good, &broken]).await;
    let complaint = text(&output.stderr);
    assert!(complaint.contains("broken: step 1: key `sya`"), "{complaint}");
    assert!(!output.status.success() && output.stdout.is_empty(), "nothing is played when a file is bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn load_measures_answers_and_replies_in_every_loop() {
    for (words, mode) in
        [(["--rate", "100"], "open"), (["--rate", "0"], "closed"), (["--outstanding", "3"], "sustained")]
    {
        let common = ["load", "--json", "--count", "50", "--seconds", "30", "--phones", "60", "--connections", "4"];
        let output = whatsapp_sim(&[&common[..], &words[..]].concat()).await;
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        for (key, wanted) in
            [("webhooks", 50), ("accepted", 50), ("replies", 50), ("without_reply", 0), ("unpaired", 0)]
        {
            assert_eq!(report[key], wanted, "{key} in {report}");
        }
        assert_eq!(report["loop"], mode);
        assert!(report["seconds"].as_f64().unwrap() < 20.0, "it ends with the last message: {report}");
        for span in ["webhook_to_answer_ms", "webhook_to_reply_ms"] {
            let at = |key: &str| report[span][key].as_f64().unwrap();
            assert!(0.0 < at("p50") && at("p50") <= at("p90") && at("p99") <= at("max"), "{report}");
        }
    }
}

/// Runs `whatsapp-sim ingest-load` and gives its figures and the bodies' messages as the platform saw them.
async fn ingest_load(words: &[&str]) -> (Value, HashSet<String>) {
    let (platform, webhook) = Platform::start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_whatsapp-sim"));
    command.args(["ingest-load", "--json", "--text", "silence", "--webhook-url", &webhook]).args(words);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (report, platform.seen.lock().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_load_sends_as_many_signed_messages_as_asked_for_in_both_loops() {
    let common = ["--count", "40", "--seconds", "60", "--connections", "4"];
    for (words, rate, messages) in
        [(["--rate", "0"], 0, 40), (["--rate", "200"], 200, 40), (["--batch", "25"], 0, 1_000)]
    {
        let (report, seen) = ingest_load(&[&common[..], &words[..]].concat()).await;
        for (key, wanted) in [("webhooks", 40), ("accepted", 40), ("http_errors", 0), ("open_loop_rate", rate)] {
            assert_eq!(report[key], wanted, "{key} in {report}");
        }
        assert_eq!(seen.len(), messages, "each message has its own id");
        assert!(report["webhook_to_answer_ms"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    }
    let (report, seen) = ingest_load(&[&common[..], &["--batch", "25", "--duplicates-percent", "30"]].concat()).await;
    let duplicates = report["duplicate_messages"].as_u64().unwrap();
    assert!((200..400).contains(&duplicates), "{report}");
    assert_eq!(seen.len() as u64, 1_000 - duplicates, "the rest were repeats");
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_load_counts_refusals_and_says_when_nothing_was_accepted() {
    let output = whatsapp_sim_alone(&["ingest-load", "--count", "2", "--webhook-url", "http://192.0.2.1/"]).await;
    assert!(text(&output.stderr).contains("192.0.2.1 is not a loopback address"), "{}", text(&output.stderr));
    let (_platform, webhook) = Platform::start().await;
    let words = ["ingest-load", "--count", "2", "--json", "--app-secret", "another", "--webhook-url", &webhook];
    let output = whatsapp_sim_alone(&words).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["http_errors"], &report["accepted"]), (&json!(2), &json!(0)));
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("not one webhook was answered with 200"), "{}", text(&output.stderr));
}

async fn whatsapp_sim_alone(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whatsapp-sim"));
    command.args(words);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn load_counts_what_was_not_replied_to_and_refuses_other_machines() {
    let output = whatsapp_sim(&[
        "load",
        "--json",
        "--count",
        "6",
        "--rate",
        "200",
        "--phones",
        "2",
        "--text",
        "silence",
        "--drain-seconds",
        "0",
    ])
    .await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = ["accepted", "replies", "without_reply", "unpaired"].map(|key| report[key].as_u64().unwrap());
    assert_eq!(counts, [6, 0, 2, 4], "{report}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_whatsapp-sim"));
    let output = command.args(["load", "--webhook-url", "http://192.0.2.1/webhook"]).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("192.0.2.1 is not a loopback address"), "{}", text(&output.stderr));
}
