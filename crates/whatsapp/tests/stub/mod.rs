//! A small server on the loopback that answers as it is told and remembers what it was asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use secrecy::SecretString;
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;
use whatsapp::{Client, ClientConfig};

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

type Answer = Box<dyn Fn(&Seen, usize) -> Response<Body> + Send + Sync>;

struct Stub {
    seen: Mutex<Vec<Seen>>,
    answer: Answer,
}

pub struct Server {
    pub address: SocketAddr,
    stub: Arc<Stub>,
}

impl Server {
    /// Answers each request by a function of the request and its number, from 0.
    pub async fn start(answer: impl Fn(&Seen, usize) -> Response<Body> + Send + Sync + 'static) -> Self {
        let stub = Arc::new(Stub { seen: Mutex::new(Vec::new()), answer: Box::new(answer) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(serve).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, stub }
    }

    /// Always the same status and JSON.
    pub async fn always(status: u16, body: Value) -> Self {
        Self::start(move |_, _| reply(status, &body)).await
    }

    pub fn client(&self) -> Client {
        Client::new(config(self.address)).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.stub.seen.lock().unwrap().clone()
    }
}

async fn serve(
    State(stub): State<Arc<Stub>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let request = Seen { method, uri, headers, body };
    let number = {
        let mut seen = stub.seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    (stub.answer)(&request, number)
}

/// A JSON answer.
pub fn reply(status: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// A configuration for a server on this address.
pub fn config(address: SocketAddr) -> ClientConfig {
    let base_url = Url::parse(&format!("http://{address}")).unwrap();
    let mut config = ClientConfig::new(base_url, SecretString::from("TOKEN-1"), "900001");
    config.waba_id = Some("700001".into());
    config
}
