//! Files both ways: upload, look-up, download, and the end of their lives.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simulator::{InboundKind, PhoneKind};

use crate::bench::{answer, bench, ogg_opus};

#[tokio::test]
async fn a_voice_note_is_looked_up_and_downloaded_within_five_minutes() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let bytes = ogg_opus();
    let part = reqwest::multipart::Part::bytes(bytes.clone())
        .file_name("note.ogg")
        .mime_str("audio/ogg; codecs=opus")
        .unwrap();
    let form = reqwest::multipart::Form::new().part("file", part);
    let upload = format!("{}/sim/phones/{}/media", bench.simulator.url(), phone.id);
    let (status, stored) = answer(bench.http.post(upload).multipart(form)).await;
    assert_eq!((status, &stored["bytes"]), (200, &json!(bytes.len())));
    let media_id = stored["media_id"].as_str().unwrap().to_owned();
    let note = bench.simulator.post(&phone.id, InboundKind::Voice { media_id: media_id.clone() }.into()).unwrap();
    bench.idle().await;
    let audio = bench.message_of(&note)["audio"].clone();
    assert_eq!(
        (&audio["id"], &audio["voice"], &audio["mime_type"]),
        (&json!(media_id), &json!(true), &json!("audio/ogg; codecs=opus"))
    );
    let digest = Sha256::digest(&bytes);
    use base64::Engine as _;
    assert_eq!(audio["sha256"], base64::engine::general_purpose::STANDARD.encode(digest));

    let (status, node) = bench.graph_get(&format!("{media_id}?phone_number_id=106540352242922")).await;
    assert_eq!((status, &node["file_size"], &node["sha256"]), (200, &json!(bytes.len()), &json!(hex::encode(digest))));
    let url = node["url"].as_str().unwrap();
    assert_eq!(bench.http.get(url).send().await.unwrap().status(), 403, "a plain GET gets nothing");
    let get = || bench.http.get(url).bearer_auth("simulator-access-token").send();
    let response = get().await.unwrap();
    assert_eq!(response.headers()["content-type"], "audio/ogg; codecs=opus");
    assert_eq!(response.bytes().await.unwrap(), bytes);
    bench.simulator.advance_clock(299);
    assert_eq!(get().await.unwrap().status(), 200);
    bench.simulator.advance_clock(1);
    assert_eq!(get().await.unwrap().status(), 404, "the address is good for five minutes");
    let (status, again) = bench.graph_get(&media_id).await;
    assert_eq!(status, 200);
    assert_ne!(again["url"].as_str().unwrap(), url);
    bench.simulator.advance_clock(7 * 86_400);
    assert_eq!(bench.graph_get(&media_id).await.0, 400, "the id of a user's file lives for seven days");
}

#[tokio::test]
async fn a_lookup_by_another_number_finds_nothing() {
    let bench = bench().await;
    let (_, file) = bench.upload("image/png", b"\x89PNG").await;
    let id = file["id"].as_str().unwrap();
    assert_eq!(bench.graph_get(&format!("{id}?phone_number_id=1")).await.0, 400);
    let url = format!("{}/v25.0/{id}", bench.simulator.url());
    let delete = || bench.http.delete(&url).bearer_auth("simulator-access-token");
    assert_eq!(answer(delete()).await, (200, json!({ "success": true })));
    assert_eq!(answer(delete()).await.0, 400);
    assert_eq!(bench.graph_get(id).await.0, 400);
}

#[tokio::test]
async fn uploaded_files_live_for_thirty_days() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let (_, file) = bench.upload("image/png", b"\x89PNG").await;
    bench.simulator.advance_clock(30 * 86_400 - 60);
    bench.simulator.say(&phone.id, "hello").unwrap();
    let body = bench.to(&phone, "image", json!({ "id": file["id"] }));
    bench.accepted(&body).await;
    bench.simulator.advance_clock(61);
    bench.refused(&body, 400, 100).await;
}

#[tokio::test]
async fn bad_uploads_are_refused() {
    let bench = bench().await;
    assert_eq!(bench.upload("application/x-msdownload", b"MZ").await.1["error"]["code"], 100);
    assert_eq!(bench.upload("image/png", b"").await.1["error"]["code"], 131_053);
    let part = reqwest::multipart::Part::bytes(vec![1]).mime_str("image/png").unwrap();
    let form = reqwest::multipart::Form::new().part("file", part);
    let url = format!("{}/v25.0/106540352242922/media", bench.simulator.url());
    let request = bench.http.post(url).bearer_auth("simulator-access-token").multipart(form);
    assert_eq!(answer(request).await.1["error"]["code"], 100, "messaging_product is missing");
}

#[tokio::test]
async fn media_that_does_not_fit_fails_later_131053() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    let (_, not_opus) = bench.upload("audio/ogg", b"OggS with something else").await;
    let (_, mp3) = bench.upload("audio/mpeg", b"ID3").await;
    let (_, large) = bench.upload("image/png", &vec![0; 5 * 1_024 * 1_024 + 1]).await;
    let cases: [(&str, Value); 4] = [
        ("audio", json!({ "id": not_opus["id"] })),
        ("audio", json!({ "id": mp3["id"], "voice": true })),
        ("image", json!({ "id": mp3["id"] })),
        ("image", json!({ "id": large["id"] })),
    ];
    for (kind, payload) in cases {
        bench.fails_later(&bench.to(&phone, kind, payload), 131_053).await;
    }
}

#[tokio::test]
async fn pages_get_files_that_cannot_act() {
    let bench = bench().await;
    let id = bench.simulator.upload("text/html", Some("x.html"), "<script>alert(1)</script>".into()).unwrap();
    let response = bench.http.get(format!("{}/sim/media/{id}", bench.simulator.url())).send().await.unwrap();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("sandbox"));
}
