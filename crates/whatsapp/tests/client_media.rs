//! Media against a small server on the loopback: where our token goes, how much is read, what is checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod stub;

use axum::body::{Body, Bytes};
use axum::http::Response;
use serde_json::json;
use stub::{Server, config, reply};
use url::Url;
use whatsapp::Client;
use whatsapp::client::{MediaError, MediaInfo};

#[tokio::test]
async fn an_upload_carries_file_type_and_length() {
    let server = Server::always(200, json!({"id": "55501"})).await;
    let id = server.client().upload_media(Bytes::from_static(b"OggS..."), "audio/ogg", "note.ogg").await.unwrap();
    assert_eq!(id, "55501");
    let seen = server.seen();
    let body = String::from_utf8_lossy(&seen[0].body).into_owned();
    assert_eq!(seen[0].uri.path(), "/v25.0/900001/media");
    assert!(seen[0].headers.contains_key("content-length"), "Meta does not take chunked uploads for granted");
    for part in ["name=\"messaging_product\"", "whatsapp", "audio/ogg; codecs=opus", "filename=\"note.ogg\"", "OggS..."]
    {
        assert!(body.contains(part), "{part} is missing in {body}");
    }
    let error = server.client().upload_media(Bytes::from_static(b"x"), "text/html", "x.html").await.unwrap_err();
    assert!(error.to_string().contains("takes no files of the type"), "{error}");
    let large = Bytes::from(vec![0; 5 * 1024 * 1024 + 1]);
    let error = server.client().upload_media(large, "image/png", "x.png").await.unwrap_err();
    assert!(error.to_string().contains("the limit is 5242880"), "{error}");
    assert_eq!(server.seen().len(), 1, "what is refused here is not sent");
}

/// A media server: `/v25.0/{id}` looks up, `/file/{n}` is the file; `file` decides what the n-th address answers.
async fn media_server(sha256: &'static str, file: fn(u32) -> Response<Body>) -> Server {
    let lookups = std::sync::atomic::AtomicU32::new(0);
    Server::start(move |request, _| {
        if let Some(number) = request.uri.path().strip_prefix("/file/") {
            return file(number.parse().unwrap());
        }
        let number = lookups.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let host = request.headers["host"].to_str().unwrap();
        let mut body = json!({"url": format!("http://{host}/file/{number}"), "mime_type": "audio/ogg", "id": "70011"});
        if !sha256.is_empty() {
            body["sha256"] = json!(sha256);
        }
        reply(200, &body)
    })
    .await
}

const HELLO_HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const HELLO_BASE64: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";

fn hello(_: u32) -> Response<Body> {
    Response::new(Body::from("hello"))
}

#[tokio::test]
async fn a_file_is_looked_up_and_downloaded_with_our_token_and_its_digest_checked() {
    for (digest, verified) in [(HELLO_HEX, true), (HELLO_BASE64, true), ("", false), ("not a digest", false)] {
        let server = media_server(digest, hello).await;
        let file = server.client().download_media("70011").await.unwrap();
        assert_eq!((&file.bytes[..], file.mime_type.as_deref()), (&b"hello"[..], Some("audio/ogg")));
        assert_eq!(file.sha256_verified, verified, "{digest}");
        let seen = server.seen();
        assert_eq!(seen[0].uri.to_string(), "/v25.0/70011?phone_number_id=900001");
        assert_eq!(seen[1].headers["authorization"], "Bearer TOKEN-1");
    }
    let server = media_server(HELLO_HEX, |_| Response::new(Body::from("hullo"))).await;
    assert!(matches!(server.client().download_media("70011").await, Err(MediaError::Digest)));
}

#[tokio::test]
async fn a_stale_address_is_looked_up_once_more_and_only_once() {
    let stale_once = |number| match number {
        0 => Response::builder().status(404).body(Body::empty()).unwrap(),
        _ => hello(number),
    };
    let server = media_server(HELLO_HEX, stale_once).await;
    assert_eq!(&server.client().download_media("70011").await.unwrap().bytes[..], b"hello");
    assert_eq!(server.seen().len(), 4);
    let server = media_server(HELLO_HEX, |_| Response::builder().status(410).body(Body::empty()).unwrap()).await;
    let error = server.client().download_media("70011").await.unwrap_err();
    assert!(matches!(error, MediaError::Gone) && !error.is_temporary());
    assert_eq!(server.seen().len(), 4);
}

fn info(url: &str) -> MediaInfo {
    MediaInfo {
        id: "70011".into(),
        url: Url::parse(url).unwrap(),
        mime_type: None,
        sha256: None,
        file_size_bytes: None,
    }
}

#[tokio::test]
async fn our_token_goes_to_no_foreign_host() {
    let server = media_server(HELLO_HEX, hello).await;
    let foreign = Server::start(|_, _| hello(0)).await;
    let port = server.address.port();
    let refused = [
        format!("http://{}/file/0", foreign.address),
        format!("http://localhost:{port}/file/0"),
        "http://lookaside.fbsbx.com/x".to_owned(),
        "https://lookaside.fbsbx.com:8443/x".to_owned(),
        "https://lookaside.fbsbx.com.evil.example/x".to_owned(),
        "https://evil.example/lookaside.fbsbx.com".to_owned(),
        format!("http://user@127.0.0.1:{port}/file/0"),
        "file:///etc/passwd".to_owned(),
    ];
    for url in refused {
        let error = server.client().download_media_from(&info(&url)).await.unwrap_err();
        assert!(matches!(error, MediaError::HostNotAllowed { .. }), "{url} {error:?}");
    }
    assert!(foreign.seen().is_empty() && server.seen().is_empty());
}

#[tokio::test]
async fn a_media_host_that_redirects_is_not_followed() {
    let foreign = Server::start(|_, _| hello(0)).await;
    let location = format!("http://{}/", foreign.address);
    let server = Server::start(move |_, _| {
        Response::builder().status(302).header("location", &location).body(Body::empty()).unwrap()
    })
    .await;
    let error =
        server.client().download_media_from(&info(&format!("http://{}/file/0", server.address))).await.unwrap_err();
    assert!(matches!(error, MediaError::Status { status: 302 }), "{error:?}");
    assert!(foreign.seen().is_empty());
}

#[tokio::test]
async fn a_file_above_the_limit_is_broken_off_wherever_it_shows() {
    let server = Server::start(|request, _| match request.uri.path() {
        "/file/known" => Response::new(Body::from(vec![0; 2000])),
        // Without a length: it shows only while streaming.
        _ => {
            let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 100])));
            Response::new(Body::from_stream(futures_util::stream::iter(chunks)))
        }
    })
    .await;
    let mut config = config(server.address);
    config.media_bytes_max = 1000;
    let client = Client::new(config).unwrap();
    for path in ["known", "streamed"] {
        let error =
            client.download_media_from(&info(&format!("http://{}/file/{path}", server.address))).await.unwrap_err();
        assert!(matches!(error, MediaError::TooLarge { limit_bytes: 1000 }), "{path} {error:?}");
    }
    let mut announced = info(&format!("http://{}/file/known", server.address));
    announced.file_size_bytes = Some(2000);
    let before = server.seen().len();
    assert!(matches!(client.download_media_from(&announced).await, Err(MediaError::TooLarge { .. })));
    assert_eq!(server.seen().len(), before, "an announced size is believed without a download");
}
