//! Everything that can stand in a webhook, good and bad: what is taken in, what is answered, what is left alone.

mod answers;
mod hostile;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use bytes::Bytes;
use reqwest::Client;
use reqwest::header::HeaderMap;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{InboundKind, InboundSpec, PhoneKind, Split};
use whatsapp::{Event, webhook};

use crate::harness::{APP_SECRET, Stage};

/// Bytes of a webhook that are still taken.
const BODY_BYTES_MAX: usize = 3 * 1_024 * 1_024;
/// Our number in the fixtures.
const FIXTURE_NUMBER: &str = "900001";
/// What came back for a webhook.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    fn processed(&self) -> usize {
        assert_eq!((self.status, &self.body["status"]), (200, &json!("accepted")), "{}", self.body);
        usize::try_from(self.body["processed"].as_u64().expect("a count")).unwrap()
    }

    /// Asserts that it is a refusal in the form of all our refusals.
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"].as_str(), self.headers["x-request-id"].to_str().ok());
        assert!(self.body["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{}", self.body);
    }
}

pub fn signed(secret: &str, body: &[u8]) -> String {
    whatsapp::signature::sign(&SecretString::from(secret), body)
}

/// Posts a webhook with any signature, or none.
async fn post_as(http: &Client, url: &str, signature: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
    let mut request = http.post(url).header("content-type", "application/json").body(body);
    if let Some(signature) = signature {
        request = request.header("x-hub-signature-256", signature);
    }
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.json().await.expect("JSON");
    Answer { status, headers, body }
}

/// Posts a webhook as WhatsApp does.
pub async fn post(http: &Client, url: &str, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    post_as(http, url, Some(&signed(APP_SECRET, &body)), body).await
}

async fn take(stage: &Stage, body: impl Into<Bytes>) -> Answer {
    post(&stage.http, &stage.url("/webhook"), body).await
}

/// Every fixture by its name, in the order of the names.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../whatsapp/tests/fixtures");
    let mut fixtures: Vec<_> = std::fs::read_dir(folder)
        .expect("the fixtures")
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    fixtures.sort();
    assert!(fixtures.len() > 80, "{} fixtures", fixtures.len());
    fixtures
}

/// The messages of a webhook as they stand in it, each once, by our number and their id.
fn messages(body: &[u8]) -> Vec<((String, String), String)> {
    let events = webhook::parse(body).expect("a webhook").events;
    let message = |event: &Event| match event {
        Event::Message(message) => {
            Some(((message.phone_number_id.clone(), message.id.clone()), message.raw.get().to_owned()))
        }
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

/// A webhook around these items of `messages`.
fn envelope(items: &[String]) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"700001","changes":[{{"field":"messages","value":{{
            "messaging_product":"whatsapp","metadata":{{"display_phone_number":"1","phone_number_id":"{FIXTURE_NUMBER}"}},
            "messages":[{}]}}}}]}}]}}"#,
        items.join(",")
    )
}

fn text_message(id: &str, text: &str, at: i64) -> String {
    json!({ "id": id, "from": "5511999990000", "timestamp": at.to_string(), "type": "text", "text": { "body": text } })
        .to_string()
}

/// WhatsApp's ids of every message that is kept.
async fn kept_ids(stage: &Stage) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for conversation in all(stage, "/admin/conversations").await {
        let path = format!("/admin/conversations/{}/messages", conversation["id"].as_str().unwrap());
        for entry in all(stage, &path).await {
            if entry["direction"] == "in" {
                ids.insert(entry["provider_message_id"].as_str().unwrap().to_owned());
            }
        }
    }
    ids
}

/// Every item of a list, page by page.
async fn all(stage: &Stage, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = stage.get(&format!("{path}?limit=100{cursor}")).await;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_is_taken_once() {
    let stage = Stage::with(&[("outbound_reply_enabled", "false")]).await;
    let mut seen = HashSet::new();
    for (name, body) in fixtures() {
        let new = messages(&body).into_iter().filter(|(key, _)| seen.insert(key.clone())).count();
        assert_eq!(take(&stage, body.clone()).await.processed(), new, "{name}");
        assert_eq!(take(&stage, body).await.processed(), 0, "{name} for the second time");
    }
    assert!(seen.len() > 50, "the fixtures hold messages");
    let expected: BTreeSet<String> = seen.into_iter().map(|(_, id)| id.replace('\0', "\u{fffd}")).collect();
    assert_eq!(kept_ids(&stage).await, expected, "each is in somebody's transcript");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_object_is_refused_and_an_empty_one_is_not() {
    let stage = Stage::open().await;
    let whole = envelope(&[text_message("wamid.WHOLE", "hello", stage.now().as_second())]);
    for length in (0..whole.trim_end().len()).step_by(7) {
        take(&stage, whole.as_bytes()[..length].to_vec()).await.assert_problem(400, "body_not_json");
    }
    for body in ["[]", "\"x\"", "null", "7", "{} {}", "{\"entry\":[]}garbage", "\u{feff}{}x"] {
        take(&stage, body).await.assert_problem(400, "body_not_json");
    }
    take(&stage, &b"{\"entry\":\xff}"[..]).await.assert_problem(400, "body_not_json");
    for body in ["{}", " {\"entry\":null}\n", "{\"entry\":[]}", "{\"entry\":{}}", "{\"entry\":7,\"x\":{}}"] {
        assert_eq!(take(&stage, body).await.processed(), 0, "{body}");
    }
    let now = stage.now().as_second();
    let neighbours = ["one", "two", "three"].map(|id| text_message(&format!("wamid.{id}"), id, now));
    let mut body = envelope(&neighbours).into_bytes();
    let place = body.windows(5).rposition(|window| window == b"\"two\"").expect("the words");
    body[place + 1] = 0xff;
    assert_eq!(take(&stage, body).await.processed(), 3, "bytes that are no UTF-8 inside a string cost nobody anything");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_megabytes_are_taken_and_one_byte_more_is_not() {
    let stage = Stage::open().await;
    let now = stage.now().as_second();
    let sized = |id: &str, bytes: usize| {
        let message = |padding: &str| {
            let text = text_message(id, "hello", now);
            envelope(&[format!(r#"{{"padding":"{padding}",{}"#, &text[1..])])
        };
        let body = message(&"x".repeat(bytes - message("").len()));
        assert_eq!(body.len(), bytes);
        body
    };
    assert_eq!(take(&stage, sized("wamid.FITS", BODY_BYTES_MAX)).await.processed(), 1);
    let nested = format!(r#"{{"entry":{}{}}}"#, "[".repeat(1_500_000), "]".repeat(1_500_000));
    assert!([200, 400].contains(&take(&stage, nested).await.status), "a million levels are no danger");
    take(&stage, sized("wamid.LARGE", BODY_BYTES_MAX + 1)).await.assert_problem(413, "body_too_large");
    // Far too much may be cut off before all of it has been sent, but it is never taken.
    let larger = sized("wamid.LARGER", 3 * BODY_BYTES_MAX);
    let signature = signed(APP_SECRET, larger.as_bytes());
    let request = stage.http.post(stage.url("/webhook")).header("x-hub-signature-256", signature).body(larger);
    assert!(request.send().await.map_or(true, |answer| answer.status() == 413));
    // In pieces without a length ahead.
    let body = sized("wamid.PIECES", BODY_BYTES_MAX + 1);
    let signature = signed(APP_SECRET, body.as_bytes());
    let pieces: Vec<_> =
        body.into_bytes().chunks(65_536).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    post_as(&stage.http, &stage.url("/webhook"), Some(&signature), stream).await.assert_problem(413, "body_too_large");
    assert_eq!(kept_ids(&stage).await, BTreeSet::from(["wamid.FITS".to_owned()]));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_in_one_webhook_are_all_answered_in_order() {
    const PEOPLE: usize = 20;
    const EACH: usize = 50;
    let stage = Stage::open().await;
    let phones: Vec<_> = (0..PEOPLE).map(|_| stage.phone("Ana", PhoneKind::PhoneAndBsuid)).collect();
    let say = |number: usize| InboundSpec::from(InboundKind::Text { text: format!("number {:02}", number / PEOPLE) });
    let batch: Vec<_> = (0..PEOPLE * EACH).map(|number| (phones[number % PEOPLE].clone(), say(number))).collect();
    stage.simulator.post_batch(&batch, Split::Messages).unwrap();
    assert_eq!(stage.simulator.deliveries(2).len(), 1, "it is one webhook");
    let expected: Vec<_> =
        (0..EACH).map(|number| format!("I heard: number {number:02}. I can help with weather or reminders.")).collect();
    // Patience is for each hundred, not for all.
    for count in (100..=PEOPLE * EACH).step_by(100) {
        let heard = || phones.iter().map(|phone| stage.heard(phone).len()).sum::<usize>();
        stage.until(&format!("{count} are answered"), async || heard() >= count).await;
    }
    for phone in &phones {
        assert_eq!(stage.heard(phone), expected);
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_one_transaction_is_split_in_order() {
    let stage = Stage::with(&[("webhook_items_max", "7")]).await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    let say = |number| InboundSpec::from(InboundKind::Text { text: format!("number {number:02}") });
    for (begin, split) in [(0, Split::Messages), (30, Split::Changes), (60, Split::Entries)] {
        let batch: Vec<_> = (begin..begin + 30).map(|number| (phone.clone(), say(number))).collect();
        stage.simulator.post_batch(&batch, split).unwrap();
        stage.simulator.wait_idle().await;
    }
    let heard = stage.replies(&phone, 90).await;
    assert!(heard.iter().enumerate().all(|(number, text)| text.contains(&format!("number {number:02}."))), "{heard:?}");
    stage.end().await;
}

/// A message of somebody new with every identifier there is, and what their profile says.
fn stranger(number: usize, at: i64) -> (Value, Value) {
    let (phone, user, parent) = (format!("5511{number:09}"), format!("BR.{number}"), format!("BR.ENT.{number}"));
    let message = json!({
        "id": format!("wamid.STRANGER{number}"), "from": phone, "from_user_id": user, "from_parent_user_id": parent,
        "timestamp": at.to_string(), "type": "text", "text": { "body": "hello" },
    });
    let contact = json!({
        "wa_id": phone, "user_id": user, "parent_user_id": parent,
        "profile": { "name": format!("Somebody {number}"), "username": format!("somebody.{number}") },
    });
    (message, contact)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_batches_fit_the_database() {
    let stage = Stage::with(&[("outbound_reply_enabled", "false"), ("webhook_items_max", "1000")]).await;
    let now = stage.now().as_second();
    let body = |messages: Vec<Value>, contacts: Vec<Value>, statuses: Vec<Value>| {
        let metadata = json!({ "phone_number_id": FIXTURE_NUMBER });
        let value = json!({ "metadata": metadata, "messages": messages, "contacts": contacts, "statuses": statuses });
        json!({ "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": value }] }] }).to_string()
    };
    let (messages, contacts): (Vec<_>, Vec<_>) = (0..1_000).map(|number| stranger(number, now)).unzip();
    assert_eq!(take(&stage, body(messages, contacts, Vec::new())).await.processed(), 1_000);
    // Everybody changes everything: twice as many identifiers as messages bring.
    let changes = (0..1_000).map(|number| {
        let (from, to) = (format!("5511{number:09}"), format!("5521{number:09}"));
        json!({
            "id": format!("wamid.CHANGE{number}"), "from": from, "from_user_id": format!("BR.{number}"),
            "from_parent_user_id": format!("BR.ENT.{number}"), "timestamp": now.to_string(), "type": "system",
            "system": {
                "type": "user_changed_number", "wa_id": to, "user_id": format!("BR.9{number}"),
                "parent_user_id": format!("BR.ENT.9{number}"), "previous_user_id": format!("BR.{number}"),
                "previous_parent_user_id": format!("BR.ENT.{number}"),
            },
        })
    });
    assert_eq!(take(&stage, body(changes.collect(), Vec::new(), Vec::new())).await.processed(), 1_000);
    let statuses = (0..1_000).map(|number| {
        json!({
            "id": format!("wamid.OUT{number}"), "status": "delivered", "timestamp": now.to_string(),
            "recipient_id": format!("5521{number:09}"), "recipient_user_id": format!("BR.9{number}"),
        })
    });
    assert_eq!(take(&stage, body(Vec::new(), Vec::new(), statuses.collect())).await.processed(), 0);
    assert_eq!(all(&stage, "/admin/conversations").await.len(), 1_000, "still a thousand people");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_bound_that_can_be_set_fits_the_database() {
    let stage = Stage::with(&[("outbound_reply_enabled", "false"), ("webhook_items_max", "1000")]).await;
    let now = stage.now().as_second();
    let items: Vec<_> = (0..1_200).map(|number| text_message(&format!("wamid.{number}"), "hello", now)).collect();
    assert_eq!(take(&stage, envelope(&items)).await.processed(), items.len());
    stage.end().await;
}
