//! The client against a small server on the loopback: what each kind of answer, and each kind of silence, proves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod stub;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use stub::{Server, config, reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;
use whatsapp::client::{AcceptedStatus, ClientError, NewTemplate};
use whatsapp::{
    Accepted, Client, ClientConfig, Identity, OutboundContent, OutboundMessage, PauseScope, ReadReceipt, SendError,
    Verdict,
};

fn text() -> OutboundMessage {
    let content = OutboundContent::text("hello").unwrap();
    OutboundMessage::new(Identity::parse("BR.88123").unwrap(), content).with_callback_data("turn:1").unwrap()
}

fn accepted_body() -> Value {
    json!({"messaging_product":"whatsapp","contacts":[{"input":"BR.88123","user_id":"BR.88123"}],
           "messages":[{"id":"wamid.OUT1","message_status":"accepted"}]})
}

fn refusal(code: i64) -> Value {
    json!({"error":{"message":format!("(#{code}) no"),"type":"OAuthException","code":code,
                    "error_data":{"messaging_product":"whatsapp","details":"why not"},"fbtrace_id":"A1"}})
}

/// A server that reads a request and then does what it is told with the bare connection.
async fn raw_server(answer: &'static [u8], keep_open: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.flush().await;
                if keep_open {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

async fn send_to(address: SocketAddr) -> SendError {
    Client::new(config(address)).unwrap().send(&text()).await.unwrap_err()
}

#[tokio::test]
async fn a_message_goes_out_with_token_and_version_and_is_accepted() {
    let server = Server::always(200, accepted_body()).await;
    let accepted = server.client().send(&text()).await.unwrap();
    assert_eq!(accepted.message_id, "wamid.OUT1");
    assert_eq!((accepted.user_id.unwrap().as_str(), accepted.wa_id), ("BR.88123", None));
    assert_eq!(accepted.message_status, AcceptedStatus::Accepted);
    let seen = server.seen();
    assert_eq!((&seen[0].method, seen[0].uri.path()), (&Method::POST, "/v25.0/900001/messages"));
    assert_eq!(seen[0].headers["authorization"], "Bearer TOKEN-1");
    assert_eq!(serde_json::from_slice::<Value>(&seen[0].body).unwrap(), text().to_json());
}

#[tokio::test]
async fn a_send_to_a_phone_learns_the_number_and_a_held_message_says_so() {
    let body = json!({"contacts":[{"input":"+55 11","wa_id":"5511999990000"}],
                      "messages":[{"id":"wamid.2","message_status":"held_for_quality_assessment"}]});
    let Accepted { wa_id, user_id, message_status, .. } =
        Server::always(200, body).await.client().send(&text()).await.unwrap();
    assert_eq!((wa_id.unwrap().as_str(), user_id), ("5511999990000", None));
    assert_eq!(message_status, AcceptedStatus::HeldForQualityAssessment);
}

#[tokio::test]
async fn a_refusal_is_what_its_code_says() {
    let later = |seconds| Verdict::Later { after_seconds: Some(seconds) };
    let table = [
        (400, 131_047, Verdict::NeedsTemplate),
        (400, 131_056, Verdict::Retry),
        (400, 131_048, Verdict::Pause(PauseScope::Number)),
        (401, 190, Verdict::Auth),
        (400, 100, Verdict::Never),
        (400, 4, later(3600)),
        (503, 2, Verdict::Retry),
        (400, 1, Verdict::Retry),
        (500, 1, Verdict::Unknown),
        (500, 131_000, Verdict::Unknown),
        (400, 131_016, Verdict::Unknown),
        (400, 987_654, Verdict::Never),
        (500, 987_654, Verdict::Unknown),
        (200, 131_047, Verdict::NeedsTemplate),
    ];
    for (status, code, verdict) in table {
        let server = Server::always(status, refusal(code)).await;
        let error = server.client().send(&text()).await.unwrap_err();
        assert_eq!((error.verdict(), error.status()), (verdict, Some(status)), "{status} {code}");
        assert_eq!(error.api_error().unwrap().code, code);
        assert_eq!(server.seen().len(), 1, "the client repeats nothing");
    }
    let error = Server::always(400, refusal(131_047)).await.client().send(&text()).await.unwrap_err();
    assert_eq!(error.to_string(), "WhatsApp refused (HTTP 400): error 131047: why not");
}

#[tokio::test]
async fn an_error_without_a_code_is_sorted_by_its_status() {
    let table = [
        (500, Verdict::Unknown),
        (502, Verdict::Unknown),
        (504, Verdict::Unknown),
        (408, Verdict::Unknown),
        (401, Verdict::Auth),
        (403, Verdict::Auth),
        (404, Verdict::Retry),
        (429, Verdict::Later { after_seconds: None }),
    ];
    for (status, verdict) in table {
        let server =
            Server::start(move |_, _| Response::builder().status(status).body(Body::from("<html>")).unwrap()).await;
        let error = server.client().send(&text()).await.unwrap_err();
        assert_eq!((error.verdict(), error.api_error()), (verdict, None), "{status}");
    }
}

#[tokio::test]
async fn waiting_times_are_taken_from_the_headers() {
    let with = |status: u16, header: &'static str, value: &'static str, body: Value| async move {
        let server = Server::start(move |_, _| {
            let mut response = reply(status, &body);
            response.headers_mut().insert(header, value.parse().unwrap());
            response
        });
        server.await.client().send(&text()).await.unwrap_err()
    };
    let error = with(400, "retry-after", "17", refusal(130_429)).await;
    assert_eq!((error.retry_after_seconds(), error.verdict()), (Some(17), Verdict::Later { after_seconds: Some(17) }));
    let usage =
        r#"{"1":[{"call_count":100,"estimated_time_to_regain_access":2}],"2":[{"estimated_time_to_regain_access":5}]}"#;
    let error = with(400, "x-business-use-case-usage", usage, refusal(80_007)).await;
    assert_eq!(error.verdict(), Verdict::Later { after_seconds: Some(300) });
    // Waiting does not turn a final refusal into a temporary one.
    assert_eq!(with(400, "retry-after", "17", refusal(100)).await.verdict(), Verdict::Never);
    assert_eq!(with(429, "retry-after", "soon", json!({})).await.verdict(), Verdict::Later { after_seconds: None });
    assert_eq!(with(429, "retry-after", "99999999999", json!({})).await.retry_after_seconds(), Some(604_800));
}

#[tokio::test]
async fn a_success_that_cannot_be_understood_proves_nothing() {
    for body in [json!({}), json!({"messages": []}), json!({"messages": [{}]}), json!([]), json!(null)] {
        let error = Server::always(200, body.clone()).await.client().send(&text()).await.unwrap_err();
        assert!(matches!(error, SendError::Unreadable { .. }), "{body} {error:?}");
        assert_eq!(error.verdict(), Verdict::Unknown);
    }
    let server = Server::start(|_, _| Response::new(Body::from("<html>ok</html>"))).await;
    let error = server.client().send(&text()).await.unwrap_err();
    assert_eq!(error.to_string(), "HTTP 200, but the answer cannot be understood: <html>ok</html>");
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = send_to(address).await;
    assert!(matches!(error, SendError::NotSent { .. }), "{error:?}");
    assert_eq!(error.verdict(), Verdict::Retry);
}

#[tokio::test]
async fn a_lost_answer_proves_nothing() {
    let broken: [&[u8]; 3] = [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"messages\":[{\"id\":\"wamid",
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 500\r\n\r\n{",
    ];
    for answer in broken {
        let error = send_to(raw_server(answer, false).await).await;
        assert!(matches!(error, SendError::Unanswered { .. }), "{error:?}");
        assert_eq!(error.verdict(), Verdict::Unknown);
    }
    // A "no" is a "no", even if its reason is lost.
    let error = send_to(raw_server(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 500\r\n\r\n{", false).await).await;
    assert_eq!(error.verdict(), Verdict::Auth);
}

#[tokio::test]
async fn a_time_out_proves_nothing() {
    let mut config = config(raw_server(b"", true).await);
    config.request_timeout = Duration::from_millis(100);
    let error = Client::new(config).unwrap().send(&text()).await.unwrap_err();
    assert!(matches!(error, SendError::Unanswered { .. }), "{error:?}");
    assert!(error.to_string().contains("timed out"), "{error}");
    assert_eq!(error.verdict(), Verdict::Unknown);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let server = Server::start(|_, _| Response::new(Body::from(vec![b' '; 5 * 1024 * 1024]))).await;
    let error = server.client().send(&text()).await.unwrap_err();
    assert!(error.to_string().contains("longer than 4194304 bytes"), "{error}");
    assert_eq!(error.verdict(), Verdict::Unknown);
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_our_token() {
    let target = Server::always(200, accepted_body()).await;
    let location = format!("http://{}/", target.address);
    let server = Server::start(move |_, _| {
        Response::builder()
            .status(StatusCode::TEMPORARY_REDIRECT)
            .header("location", &location)
            .body(Body::empty())
            .unwrap()
    })
    .await;
    let error = server.client().send(&text()).await.unwrap_err();
    assert_eq!(error.status(), Some(307));
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn reading_and_typing_are_shown() {
    let server = Server::always(200, json!({"success": true})).await;
    let receipt = ReadReceipt { message_id: "wamid.A1".into(), typing: true };
    server.client().mark_read(&receipt).await.unwrap();
    let seen = server.seen();
    assert_eq!(serde_json::from_slice::<Value>(&seen[0].body).unwrap(), receipt.to_json());
    let error = Server::always(200, json!({"success": false})).await.client().mark_read(&receipt).await;
    assert!(matches!(error, Err(SendError::Unreadable { .. })));
}

#[tokio::test]
async fn the_phone_number_tells_how_it_is() {
    let body = json!({"id":"900001","display_phone_number":"+1 555-000-1111","verified_name":"Cups","quality_rating":"GREEN",
                      "throughput":{"level":"HIGH"},"whatsapp_business_manager_messaging_limit":"TIER_2K"});
    let server = Server::always(200, body).await;
    let number = server.client().phone_number().await.unwrap();
    assert_eq!((number.quality_rating.as_deref(), number.throughput_level.as_deref()), (Some("GREEN"), Some("HIGH")));
    assert_eq!((number.messaging_limit.as_deref(), number.status), (Some("TIER_2K"), None));
    assert_eq!(server.seen()[0].uri.path(), "/v25.0/900001");
}

#[tokio::test]
async fn templates_are_paged_and_created() {
    let server = Server::start(|request, _| match (request.method.clone(), request.uri.query().unwrap_or_default()) {
        (Method::POST, _) => reply(200, &json!({"id": 77, "status": "PENDING", "category": "MARKETING"})),
        (_, query) if query.contains("after=c2") => reply(200, &json!({"data": [], "paging": {"cursors": {"after": "c2"}}})),
        _ => reply(
            200,
            &json!({"data": [{"id":"1","name":"order_ready","language":"pt_BR","status":"APPROVED","category":"UTILITY",
                "quality_score":{"score":"GREEN"},"parameter_format":"NAMED","components":[{"type":"BODY","text":"x"}]}, 7],
                "paging": {"cursors": {"after": "c2"}, "next": "https://graph.facebook.com/next"}}),
        ),
    })
    .await;
    let client = server.client();
    let page = client.templates(None).await.unwrap();
    assert_eq!((page.templates.len(), page.next.as_deref()), (1, Some("c2")));
    assert_eq!((page.templates[0].name.as_str(), page.templates[0].quality.as_deref()), ("order_ready", Some("GREEN")));
    assert_eq!(client.templates(page.next.as_deref()).await.unwrap().next, None);
    let new = NewTemplate {
        name: "order_ready".into(),
        language: "pt_BR".into(),
        category: "UTILITY".into(),
        parameter_format: None,
        components: json!([{"type":"BODY","text":"Pronto"}]),
    };
    let created = client.create_template(&new).await.unwrap();
    assert_eq!((created.id.as_str(), created.category.as_deref()), ("77", Some("MARKETING")));
    assert_eq!(server.seen()[0].uri.path(), "/v25.0/700001/message_templates");

    let mut without = config(server.address);
    without.waba_id = None;
    let error = Client::new(without).unwrap().templates(None).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Never);
}

#[tokio::test]
async fn an_id_that_would_change_the_path_is_refused() {
    let server = Server::always(200, json!({})).await;
    for id in ["", "..", "a/b", "a?b=c", "a#b", "%2e%2e", "a b", &"9".repeat(300)] {
        let error = server.client().media_info(id).await.unwrap_err();
        assert!(matches!(error, SendError::Invalid { .. }), "{id}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_and_the_token_is_never_shown() {
    let good = || config(SocketAddr::from(([127, 0, 0, 1], 9)));
    let build = |change: fn(&mut ClientConfig)| {
        let mut config = good();
        change(&mut config);
        Client::new(config).map(drop)
    };
    assert!(build(|_| ()).is_ok());
    assert!(matches!(build(|c| c.base_url = Url::parse("ftp://x/").unwrap()), Err(ClientError::BaseUrl)));
    assert!(matches!(build(|c| c.base_url = Url::parse("http://a:b@x/").unwrap()), Err(ClientError::BaseUrl)));
    assert!(matches!(build(|c| c.base_url = Url::parse("http://x/?v=1").unwrap()), Err(ClientError::BaseUrl)));
    assert!(matches!(build(|c| c.api_version = "25".into()), Err(ClientError::ApiVersion)));
    assert!(matches!(build(|c| c.phone_number_id = "a/b".into()), Err(ClientError::Id { .. })));
    assert!(matches!(build(|c| c.waba_id = Some(String::new())), Err(ClientError::Id { .. })));
    assert!(matches!(build(|c| c.access_token = SecretString::from(" ")), Err(ClientError::AccessToken)));
    assert!(matches!(build(|c| c.access_token = SecretString::from("a\nb")), Err(ClientError::AccessToken)));
    let shown = format!("{:?} {:?}", good(), Client::new(good()).unwrap());
    assert!(!shown.contains("TOKEN-1") && shown.contains("900001"), "{shown}");
}

#[tokio::test]
async fn a_path_prefix_of_a_proxy_is_kept() {
    let server = Server::always(200, accepted_body()).await;
    let mut config = config(server.address);
    config.base_url = Url::parse(&format!("http://{}/graph/", server.address)).unwrap();
    Client::new(config).unwrap().send(&text()).await.unwrap();
    assert_eq!(server.seen()[0].uri.path(), "/graph/v25.0/900001/messages");
}
