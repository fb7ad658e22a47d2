//! The two calls of WhatsApp.

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use futures_util::stream;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::harness::{APP_SECRET, Platform, VERIFY_TOKEN, WEBHOOK_BODY_BYTES_MAX, envelope};
use crate::http::webhook::CHALLENGE_CHARACTERS_MAX;

async fn check(platform: &Platform, query: &str) -> super::harness::Answer {
    platform.call(Request::get(format!("/webhook{query}")).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn meta_gets_its_bare_challenge() {
    let platform = Platform::start().await;
    let query = format!("?hub.mode=subscribe&hub.verify_token={VERIFY_TOKEN}&hub.challenge=1158201444&hub.new=1");
    let answer = check(&platform, &query).await;
    assert_eq!((answer.status, answer.bytes.as_slice()), (StatusCode::OK, &b"1158201444"[..]));
    assert!(answer.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
}

#[tokio::test]
async fn nobody_else_gets_anything_back() {
    let mut platform = Platform::start().await;
    let longest = "x".repeat(CHALLENGE_CHARACTERS_MAX);
    let token = format!("hub.verify_token={VERIFY_TOKEN}");
    let fits = check(&platform, &format!("?hub.mode=subscribe&{token}&hub.challenge={longest}")).await;
    assert_eq!(fits.bytes, longest.as_bytes());
    for query in [
        String::new(),
        "?hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1".to_owned(),
        "?hub.mode=subscribe&hub.verify_token=&hub.challenge=1".to_owned(),
        "?hub.mode=subscribe&hub.challenge=1".to_owned(),
        format!("?hub.mode=unsubscribe&{token}&hub.challenge=1"),
        format!("?{token}&hub.challenge=1"),
        format!("?hub.mode=subscribe&{token}"),
        format!("?hub.mode=subscribe&{token}&hub.challenge="),
        format!("?hub.mode=subscribe&{token}&hub.challenge={longest}x"),
        format!("?hub.mode=subscribe&{token}&{token}&hub.challenge=1"),
    ] {
        check(&platform, &query).await.problem(403, "webhook_check_refused");
    }
    // What a browser would run is text and stays text.
    let script = check(&platform, &format!("?hub.mode=subscribe&{token}&hub.challenge=%3Cscript%3E")).await;
    assert_eq!(script.bytes, b"<script>");
    assert_eq!(script.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");

    for none in [None, Some(SecretString::from(""))] {
        platform.state.verify_token = none;
        for token in [VERIFY_TOKEN, ""] {
            let query = format!("?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1");
            check(&platform, &query).await.problem(403, "webhook_check_refused");
        }
    }
}

#[tokio::test]
async fn a_signed_webhook_is_counted_once() {
    let platform = Platform::start().await;
    let messages: Vec<Value> = ["a", "b"]
        .iter()
        .map(|id| {
            json!({"id": format!("wamid.{id}"), "from": "15551234567", "timestamp": "1789905600", "type": "text",
                   "text": {"body": "hello"}})
        })
        .collect();
    let body = envelope("15551234567", &messages).to_string();
    let first = platform.webhook(body.as_bytes()).await;
    assert_eq!(first.ok(), &json!({"status": "accepted", "processed": 2}));
    assert_eq!(platform.turns_ready(), 1, "the conversation is announced");
    let again = platform.webhook(body.as_bytes()).await;
    assert_eq!(again.ok(), &json!({"status": "accepted", "processed": 0}));
    let empty = platform.webhook(br#"{"object": "whatsapp_business_account", "entry": []}"#).await;
    assert_eq!(empty.ok()["processed"], 0);
}

#[tokio::test]
async fn what_is_not_signed_by_us_is_not_taken() {
    let platform = Platform::start().await;
    let body = envelope("15551234567", &[]).to_string();
    let other = whatsapp::signature::sign(&SecretString::from("other"), body.as_bytes());
    for signature in [None, Some(""), Some("sha256=00"), Some(other.as_str())] {
        let mut request = Request::post("/webhook");
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let answer = platform.call(request.body(Body::from(body.clone())).unwrap()).await;
        answer.problem(401, "unauthorized");
    }
    assert_eq!(crate::ingest::SIGNATURE_HEADER, "x-hub-signature-256");
}

#[tokio::test]
async fn without_a_signature_not_one_byte_is_read() {
    let platform = Platform::start().await;
    let untouched = stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, std::io::Error>>> {
        panic!("the body was read");
    });
    let answer = platform.call(Request::post("/webhook").body(Body::from_stream(untouched)).unwrap()).await;
    answer.problem(401, "unauthorized");
}

#[tokio::test]
async fn bodies_that_cannot_be_webhooks_are_refused() {
    let platform = Platform::start().await;
    for body in [&b""[..], b"{", b"hello", b"[]"] {
        platform.webhook(body).await.problem(400, "body_not_json");
    }
    let padded = |bytes: usize| {
        let body = envelope("15551234567", &[]).to_string();
        body.clone() + &" ".repeat(bytes - body.len())
    };
    platform.webhook(padded(WEBHOOK_BODY_BYTES_MAX).as_bytes()).await.ok();
    let too_large = platform.webhook(padded(WEBHOOK_BODY_BYTES_MAX + 1).as_bytes()).await;
    let problem = too_large.problem(413, "body_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("65536 bytes"), "{problem}");

    let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))]);
    let signature = whatsapp::signature::sign(&SecretString::from(APP_SECRET), b"{");
    let request = Request::post("/webhook").header("x-hub-signature-256", signature);
    platform.call(request.body(Body::from_stream(broken)).unwrap()).await.problem(400, "body_unreadable");
}

#[tokio::test]
async fn while_the_database_is_away_the_sender_is_told_to_come_back() {
    let platform = Platform::start().await;
    platform.state.store.close().await;
    let answer = platform.write("15551234567", &["hello"]).await;
    answer.problem(503, "database_unavailable");
    assert_eq!(answer.headers[header::RETRY_AFTER], "5");
}
