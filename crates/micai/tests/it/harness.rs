//! The platform and a simulated WhatsApp in one process: real HTTP and real signatures between them, a real database, and
//! a clock that moves only when told. Each story ends with [`Stage::end`], which drains the work and asserts that nothing
//! is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use micai::app::{App, Roles};
use micai::clock::{Clock, ManualClock, SystemClock};
use micai::config::Config;
use micai::queue::Topic;
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use simulator::{Author, BubbleView, PhoneKind, PhoneSpec, Simulator, SimulatorConfig};

pub const ADMIN_KEY: &str = "the-admin-key-of-the-stories";
pub const APP_SECRET: &str = "the-app-secret-of-the-stories";
pub const VERIFY_TOKEN: &str = "the-verify-token-of-the-stories";
pub const ACCESS_TOKEN: &str = "the-access-token-of-the-stories";
/// Real time that a story may wait for something that happens by itself. Reached only when it never happens.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const GLANCE: Duration = Duration::from_millis(3);

/// A platform, a simulated WhatsApp, and the clocks of both.
pub struct Stage {
    pub simulator: Simulator,
    pub http: Client,
    pub clock: ManualClock,
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    app: Option<App>,
    starts: u64,
}

impl Stage {
    /// Outbound on, no invoke prefix asked for, sweeps each second of the manual clock.
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    /// As [`Stage::open`] with other settings: keys as in `config.default.toml`.
    pub async fn with(changes: &[(&str, &str)]) -> Self {
        Self::before(SimulatorConfig::default(), changes).await
    }

    /// As [`Stage::with`], before a simulated WhatsApp of another kind.
    pub async fn before(simulator: SimulatorConfig, changes: &[(&str, &str)]) -> Self {
        let simulator = Simulator::start(SimulatorConfig {
            app_secret: APP_SECRET.to_owned(),
            verify_token: VERIFY_TOKEN.to_owned(),
            access_token: ACCESS_TOKEN.to_owned(),
            seed: 42,
            ..simulator
        })
        .await
        .expect("a simulator");
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(&folder.path().join("micai.db"), &simulator.url(), changes);
        let clock = ManualClock::at(SystemClock.now());
        let http = Client::new();
        let mut stage = Self { simulator, http, clock, folder, settings, app: None, starts: 0 };
        stage.start().await;
        stage
    }

    /// Starts the platform on the same database; webhooks go to it.
    pub async fn start(&mut self) {
        let environment = self.settings.iter().map(|(key, value)| (variable(key), value.clone()));
        let config = Config::load(environment, None).unwrap_or_else(|errors| panic!("{errors}"));
        let clock = Arc::new(self.clock.clone());
        // A clock that stands still and the same dice would make the same ids again.
        self.starts += 1;
        let app =
            App::start(&config, Roles::SERVE, clock, StdRng::seed_from_u64(self.starts)).await.expect("a platform");
        let address = app.address().expect("an address");
        self.simulator.set_webhook(Some(&format!("http://{address}/webhook"))).expect("a webhook address");
        self.app = Some(app);
    }

    /// Stops the platform in good order; webhooks wait meanwhile.
    pub async fn stop(&mut self) {
        if let Some(app) = self.app.take() {
            assert!(app.stop().await, "everything under way was finished");
        }
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("the platform runs")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app().address().expect("an address"))
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    pub fn database_path(&self) -> std::path::PathBuf {
        self.folder.path().join("micai.db")
    }

    /// Moves both clocks.
    pub fn advance(&self, seconds: i64) {
        self.simulator.advance_clock(seconds);
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Somebody with a phone of that kind; gives the phone's id.
    pub fn phone(&self, name: &str, kind: PhoneKind) -> String {
        let spec = PhoneSpec { name: Some(name.to_owned()), kind: Some(kind), ..PhoneSpec::default() };
        self.simulator.add_phone(spec).expect("a phone").id
    }

    /// An admin call that must succeed; gives the answer.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method.clone(), self.url(path)).header("x-admin-key", ADMIN_KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub async fn get(&self, path: &str) -> Value {
        self.admin(Method::GET, path, None).await
    }

    /// Saves a keyword rule of the default agent.
    pub async fn keyword_rule(&self, id: &str, keyword: &str, reply_text: &str) {
        let body = json!({
            "id": id, "agent_id": "default-agent", "rule_type": "keyword", "keywords": [keyword],
            "action": "reply_text", "reply_text": reply_text,
        });
        let answer = self.admin(Method::POST, "/admin/rules", Some(body)).await;
        assert_eq!(answer, json!({ "status": "ok", "rule_id": id }));
    }

    /// What the business said in a chat, oldest first.
    pub fn heard(&self, phone: &str) -> Vec<String> {
        self.bubbles(phone).into_iter().map(|bubble| bubble.text).collect()
    }

    /// The business's bubbles in a chat, oldest first.
    pub fn bubbles(&self, phone: &str) -> Vec<BubbleView> {
        let chat = self.simulator.chat(phone).expect("a chat");
        chat.into_iter().filter(|bubble| bubble.author == Author::Business).collect()
    }

    /// Sends in a state, youngest first.
    pub async fn outbound(&self, state: &str) -> Vec<Value> {
        let list = self.get(&format!("/admin/outbound?state={state}&limit=100")).await;
        list["items"].as_array().expect("items").clone()
    }

    /// Waits until `holds`; the story fails when it never does.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            if begun.elapsed() >= PATIENCE {
                let queue = self.app().queue();
                let depths = [Topic::Turn, Topic::Send].map(|topic| queue.depth(topic));
                let outbound = self.get("/admin/outbound?limit=5").await;
                panic!("it never came about that {what}; queue {depths:?}; youngest sends {outbound:#}");
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until the business has said this much in a chat, and gives it.
    pub async fn replies(&self, phone: &str, count: usize) -> Vec<String> {
        self.until(&format!("{phone} has {count} replies"), async || self.heard(phone).len() >= count).await;
        let heard = self.heard(phone);
        assert_eq!(heard.len(), count, "{heard:?}");
        heard
    }

    /// Waits until `holds` while the clock goes on: for what a loop does by the clock. One that was looking when the clock was moved
    /// counts from the end of its look, and would wait for ever for a clock that stands still.
    pub async fn in_time(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.until(what, async || {
            self.advance(1);
            self.until_quiet().await;
            holds().await
        })
        .await;
    }

    /// Waits until webhooks are acknowledged and nothing is pending, queued or under way.
    pub async fn settle(&self) {
        tokio::time::timeout(PATIENCE, self.simulator.wait_idle()).await.expect("every webhook is acknowledged");
        self.until("nothing is pending, queued or under way", async || {
            self.app().store().unfinished().await.expect("a count") == 0
        })
        .await;
        tokio::time::timeout(PATIENCE, self.simulator.wait_idle()).await.expect("every status is acknowledged");
    }

    /// Drains the work, asserts that nothing is left, and stops.
    pub async fn end(mut self) {
        self.settle().await;
        // The last statuses, and a list of templates that the clock had fetched, may have let something go once more.
        self.until("nothing is left", async || self.app().store().unfinished().await.expect("a count") == 0).await;
        self.stop().await;
        self.simulator.stop().await;
    }
}

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("MICAI_{}", key.to_uppercase())
}

/// The settings of a story's platform.
pub fn settings(database: &std::path::Path, api_url: &str, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = [
        ("app_env", "test".to_owned()),
        ("database_url", format!("sqlite:///{}", database.display())),
        ("bind", "127.0.0.1:0".to_owned()),
        ("admin_api_key", ADMIN_KEY.to_owned()),
        ("whatsapp_app_secret", APP_SECRET.to_owned()),
        ("whatsapp_verify_token", VERIFY_TOKEN.to_owned()),
        ("whatsapp_access_token", ACCESS_TOKEN.to_owned()),
        ("whatsapp_phone_number_id", SimulatorConfig::default().phone_number_id),
        ("whatsapp_api_url", api_url.to_owned()),
        ("outbound_reply_enabled", "true".to_owned()),
        ("require_invoke_prefix", "false".to_owned()),
        ("sweep_interval_seconds", "1".to_owned()),
        // Stories about something else do not wait for paces.
        ("number_messages_per_second", "0".to_owned()),
        ("pair_seconds", "0".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    for (key, value) in changes {
        settings.retain(|(known, _)| known != key);
        settings.push(((*key).to_owned(), (*value).to_owned()));
    }
    settings
}
