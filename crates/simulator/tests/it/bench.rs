//! A simulator, a receiver for its webhooks, and a client for its Graph API.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use simulator::{PhoneKind, PhoneSpec, PhoneView, Simulator, SimulatorConfig};

/// A webhook as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub raw: Bytes,
    pub body: Value,
    pub signed_well: bool,
    /// What it was answered with.
    pub answered: u16,
}

#[derive(Default)]
pub struct Receiver {
    pub received: Mutex<Vec<Received>>,
    /// Answers to give before 200 becomes the rule.
    pub answers: Mutex<VecDeque<u16>>,
}

impl Receiver {
    fn take(&self, headers: &HeaderMap, raw: Bytes) -> u16 {
        let given = headers.get("x-hub-signature-256").map(|value| value.to_str().unwrap().to_owned());
        let mut mac = Hmac::<Sha256>::new_from_slice(b"simulator-app-secret").unwrap();
        mac.update(&raw);
        let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let signed_well = given.as_deref() == Some(expected.as_str());
        let body = serde_json::from_slice(&raw).unwrap_or(Value::Null);
        let answered = self.answers.lock().unwrap().pop_front().unwrap_or(200);
        self.received.lock().unwrap().push(Received { raw, body, signed_well, answered });
        answered
    }
}

pub struct Bench {
    pub simulator: Simulator,
    pub receiver: Arc<Receiver>,
    pub http: reqwest::Client,
}

pub async fn bench() -> Bench {
    bench_with(|_| {}).await
}

pub async fn bench_with(change: impl FnOnce(&mut SimulatorConfig)) -> Bench {
    let receiver = Arc::new(Receiver::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webhook_url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let router = Router::new().route("/webhook", get(challenge).post(webhook)).with_state(Arc::clone(&receiver));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let mut config = SimulatorConfig {
        webhook_url: Some(webhook_url),
        sent_after_milliseconds: 1,
        delivered_after_milliseconds: 1,
        read_after_milliseconds: 1,
        template_review_milliseconds: 1,
        retry_delay_milliseconds: 10,
        ..SimulatorConfig::default()
    };
    change(&mut config);
    let simulator = Simulator::start(config).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Bench { simulator, receiver, http }
}

async fn challenge(Query(query): Query<std::collections::HashMap<String, String>>) -> (StatusCode, String) {
    if query["hub.mode"] != "subscribe" || query["hub.verify_token"] != "simulator-verify-token" {
        return (StatusCode::FORBIDDEN, String::new());
    }
    (StatusCode::OK, query["hub.challenge"].clone())
}

async fn webhook(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    StatusCode::from_u16(receiver.take(&headers, body)).unwrap()
}

impl Bench {
    pub fn phone(&self, kind: PhoneKind) -> PhoneView {
        self.simulator.add_phone(PhoneSpec { kind: Some(kind), ..PhoneSpec::default() }).unwrap()
    }

    /// A phone that has just written, so that its window is open.
    pub async fn writing_phone(&self, kind: PhoneKind) -> PhoneView {
        let phone = self.phone(kind);
        self.simulator.say(&phone.id, "hello").unwrap();
        self.idle().await;
        phone
    }

    /// A body of a send to this phone, by the identifier that webhooks show.
    pub fn to(&self, phone: &PhoneView, kind: &str, payload: Value) -> Value {
        let mut body = json!({ "messaging_product": "whatsapp", "type": kind, kind: payload });
        match &phone.user_id {
            Some(user_id) if !phone.phone_shown => body["recipient"] = json!(user_id),
            _ => body["to"] = json!(phone.phone),
        }
        body
    }

    pub async fn send(&self, body: &Value) -> (u16, Value) {
        self.graph("106540352242922/messages", body).await
    }

    /// Sends and expects acceptance; gives the message's id.
    pub async fn accepted(&self, body: &Value) -> String {
        let (status, answer) = self.send(body).await;
        assert_eq!(status, 200, "{answer}");
        answer["messages"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Sends and expects this refusal.
    pub async fn refused(&self, body: &Value, status: u16, code: u32) -> Value {
        let (given, answer) = self.send(body).await;
        let error = &answer["error"];
        assert_eq!((u32::from(given), &error["code"]), (u32::from(status), &json!(code)), "{body} gave {answer}");
        assert!(
            error["message"].is_string() && error["type"].is_string() && error["fbtrace_id"].is_string(),
            "{answer}"
        );
        answer
    }

    /// Sends, expects acceptance and then this failure; gives the status item.
    pub async fn fails_later(&self, body: &Value, code: u32) -> Value {
        let wamid = self.accepted(body).await;
        self.idle().await;
        let statuses = self.statuses_of(&wamid);
        assert_eq!(statuses.len(), 1, "{statuses:?}");
        assert_eq!(statuses[0]["status"], "failed");
        assert_eq!(statuses[0]["errors"][0]["code"], json!(code), "{}", statuses[0]);
        statuses[0].clone()
    }

    pub async fn graph(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}/v25.0/{path}", self.simulator.url()));
        answer(request.bearer_auth("simulator-access-token").json(body)).await
    }

    pub async fn graph_get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}/v25.0/{path}", self.simulator.url()));
        answer(request.bearer_auth("simulator-access-token")).await
    }

    /// A call to the control API.
    pub async fn sim(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let method = method.parse().unwrap();
        answer(self.http.request(method, format!("{}/sim/{path}", self.simulator.url())).json(body)).await
    }

    pub async fn upload(&self, mime_type: &str, bytes: &[u8]) -> (u16, Value) {
        let part = reqwest::multipart::Part::bytes(bytes.to_vec()).file_name("file.bin").mime_str(mime_type).unwrap();
        let form = reqwest::multipart::Form::new()
            .text("messaging_product", "whatsapp")
            .text("type", mime_type.to_owned())
            .part("file", part);
        let request = self.http.post(format!("{}/v25.0/106540352242922/media", self.simulator.url()));
        answer(request.bearer_auth("simulator-access-token").multipart(form)).await
    }

    pub async fn idle(&self) {
        tokio::time::timeout(Duration::from_secs(60), self.simulator.wait_idle()).await.expect("it never came to rest");
    }

    pub fn received(&self) -> Vec<Received> {
        self.receiver.received.lock().unwrap().clone()
    }

    /// The `value` of every change that was received, in order.
    pub fn values(&self) -> Vec<Value> {
        let bodies = self.received().into_iter().map(|received| received.body);
        let entries = bodies.flat_map(|body| body["entry"].as_array().cloned().unwrap_or_default());
        let changes = entries.flat_map(|entry| entry["changes"].as_array().cloned().unwrap_or_default());
        changes.map(|change| change["value"].clone()).collect()
    }

    /// Values with messages of users.
    pub fn message_values(&self) -> Vec<Value> {
        self.values().into_iter().filter(|value| value["messages"].is_array()).collect()
    }

    /// The value that carries this message.
    pub fn value_of(&self, wamid: &str) -> Value {
        let found = self.message_values().into_iter().find(|value| value["messages"][0]["id"] == wamid);
        found.expect("the message was not received")
    }

    pub fn message_of(&self, wamid: &str) -> Value {
        self.value_of(wamid)["messages"][0].clone()
    }

    /// Values with a status of this message, in order of arrival.
    pub fn status_values(&self, wamid: &str) -> Vec<Value> {
        self.values().into_iter().filter(|value| value["statuses"][0]["id"] == wamid).collect()
    }

    pub fn statuses_of(&self, wamid: &str) -> Vec<Value> {
        self.status_values(wamid).into_iter().map(|value| value["statuses"][0].clone()).collect()
    }

    /// Names of the statuses of this message, in the order of the ladder.
    pub fn ladder(&self, wamid: &str) -> Vec<String> {
        let order = ["sent", "delivered", "read", "played", "failed"];
        let mut names: Vec<String> =
            self.statuses_of(wamid).iter().map(|status| status["status"].as_str().unwrap().to_owned()).collect();
        names.sort_by_key(|name| order.iter().position(|known| known == name));
        names
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// A text payload.
pub fn text(body: &str) -> Value {
    json!({ "body": body })
}

/// The beginning of an Ogg file with Opus.
pub fn ogg_opus() -> Vec<u8> {
    let mut bytes = b"OggS\0\x02".to_vec();
    bytes.extend_from_slice(&[0; 22]);
    bytes.extend_from_slice(b"OpusHead\x01\x01");
    bytes.extend_from_slice(&[7; 200]);
    bytes
}
