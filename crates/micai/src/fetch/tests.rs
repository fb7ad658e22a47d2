//! Who may be called: the guard against calls that end where nobody should get by our hand.

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;

use super::*;

fn rules(allowed: &[&str], private_hosts: &[&str]) -> FetchRules {
    FetchRules {
        allowed: allowed.iter().map(|url| url.parse().unwrap()).collect(),
        private_hosts: private_hosts.iter().map(|host| (*host).to_owned()).collect(),
        timeout: Duration::from_secs(5),
        answer_bytes_max: 1_000,
    }
}

/// Every name resolves to these.
fn resolves_to(addresses: &[&str]) -> Lookup {
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|address| SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0)).collect();
    Arc::new(move |_| {
        let addresses = addresses.clone();
        Box::pin(async move { Ok(addresses) })
    })
}

fn forbidden(outcome: Result<Value, FetchError>) -> String {
    match outcome {
        Err(FetchError::Forbidden(why)) => why,
        other => panic!("it was not forbidden: {other:?}"),
    }
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_connected_to() {
    for addresses in [
        &["127.0.0.1"][..],
        &["169.254.169.254"],
        &["10.1.2.3"],
        &["100.64.0.1"],
        &["0.0.0.0"],
        &["::1"],
        &["::ffff:169.254.169.254"],
        &["64:ff9b::a9fe:a9fe"],
        &["fd00::1"],
        &["fe80::1"],
        // One among others is enough.
        &["93.184.216.34", "127.0.0.1"],
    ] {
        let rules = rules(&["https://weather.example"], &[]);
        let fetcher = Fetcher::with_lookup(&rules, resolves_to(addresses)).unwrap();
        let why = forbidden(fetcher.get_json("https://weather.example/v1".parse().unwrap()).await);
        assert!(why.contains("weather.example resolves to") && why.contains("not public"), "{why}");
    }
}

#[tokio::test]
async fn the_systems_own_names_for_this_machine_are_refused_as_well() {
    let fetcher = Fetcher::new(&rules(&["https://localhost"], &[])).unwrap();
    assert!(forbidden(fetcher.get_json("https://localhost/".parse().unwrap()).await).contains("not public"));
}

#[tokio::test]
async fn what_an_address_shows_by_itself_is_checked_before_anything_is_resolved() {
    let fetcher = Fetcher::new(&rules(&["https://weather.example", "https://93.184.216.34"], &[])).unwrap();
    for url in [
        "http://weather.example/",
        "https://weather.example:8443/",
        "https://weather.example.evil.example/",
        "https://evil.example/?weather.example",
        "https://weather.example@evil.example/",
        "https://name:password@weather.example/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2852039166/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[fd00::1]/",
        "ftp://weather.example/",
        "file:///etc/passwd",
        "data:text/plain,hello",
    ] {
        forbidden(fetcher.get_json(url.parse().unwrap()).await);
    }
    for url in ["https://weather.example/", "https://WEATHER.example./v1?q=1", "https://93.184.216.34/"] {
        assert_eq!(fetcher.check(&url.parse().unwrap()), Ok(()), "{url}");
    }
    for base in ["http://weather.example", "https://127.0.0.1", "https://0x7f.1", "https://[::1]"] {
        assert!(Fetcher::new(&rules(&[base], &[])).is_err(), "{base} is refused at the start");
    }
}

#[tokio::test]
async fn a_private_host_that_the_operator_names_is_reached_and_nothing_beside_it() {
    let address = stand_in().await;
    let (base, host) = (format!("http://{address}"), address.to_string());
    let fetcher = Fetcher::new(&rules(&[&base], &[&host])).unwrap();
    let at = |path: &str| format!("{base}{path}").parse::<Url>().unwrap();
    assert_eq!(fetcher.get_json(at("/json")).await, Ok(serde_json::json!({ "sun": true })));
    assert_eq!(fetcher.get_json(at("/away")).await, Err(FetchError::Redirected(302)));
    assert_eq!(
        fetcher.get_json(at("/long")).await,
        Err(FetchError::Unusable("it has more than 1000 bytes".to_owned()))
    );
    assert!(matches!(fetcher.get_json(at("/words")).await, Err(FetchError::Unusable(_))));
    let refused = FetchError::Refused { status: 503, said: "later".to_owned() };
    assert_eq!(fetcher.get_json(at("/down")).await, Err(refused));
    forbidden(fetcher.get_json(format!("http://127.0.0.1:{}/json", address.port() ^ 1).parse().unwrap()).await);
    // Another name for the same machine was not named.
    let named = rules(&[&base, "https://weather.example"], &[&host]);
    let fetcher = Fetcher::with_lookup(&named, resolves_to(&["127.0.0.1"])).unwrap();
    forbidden(fetcher.get_json("https://weather.example/json".parse().unwrap()).await);
}

#[tokio::test]
async fn bytes_are_posted_as_they_are_and_of_the_answer_only_the_yes_is_read() {
    let address = stand_in().await;
    let (base, host) = (format!("http://{address}"), address.to_string());
    let fetcher = Fetcher::new(&rules(&[&base], &[&host])).unwrap();
    let post = async |path: &str, body: &[u8]| {
        fetcher.post(format!("{base}{path}").parse().unwrap(), &[("x-signed", "by us")], body.to_vec()).await
    };
    assert_eq!(post("/take", b"{ }").await, Ok(()));
    assert_eq!(post("/take", b"{}").await, Err(FetchError::Refused { status: 400, said: String::new() }));
    assert_eq!(post("/long", b"").await, Ok(()), "however much it says");
    assert_eq!(post("/away", b"").await, Err(FetchError::Redirected(302)));
    for (rules, url) in [
        (rules(&["https://desk.example"], &[]), "https://desk.example/"),
        (rules(&["https://desk.example"], &[]), "https://other.example/"),
        (rules(&[], &[&host]), &base),
    ] {
        let fetcher = Fetcher::with_lookup(&rules, resolves_to(&["10.0.0.5"])).unwrap();
        let outcome = fetcher.post(url.parse().unwrap(), &[], Vec::new()).await;
        assert!(matches!(outcome, Err(FetchError::Forbidden(_))), "{url}: {outcome:?}");
    }
}

/// A server on this machine that answers in several ways.
async fn stand_in() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let away = (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/latest/meta-data/")]);
    let router = Router::new()
        .route("/json", get(async || "{\"sun\": true}"))
        .route("/words", get(async || "sunny"))
        .route("/long", get(async || "x".repeat(1_001)).post(async || "x".repeat(1_001)))
        .route("/away", any(async move || away.into_response()))
        .route("/take", post(take))
        .route("/down", get(async || (StatusCode::SERVICE_UNAVAILABLE, "later")));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn take(headers: axum::http::HeaderMap, body: axum::body::Bytes) -> StatusCode {
    let is_as_sent = headers["x-signed"] == "by us" && !headers["user-agent"].is_empty() && body == "{ }";
    if is_as_sent { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST }
}
