//! The control API as a scenario needs it: calls, and a stream that says when it is worth looking again.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::view::{BubbleView, InboundSpec};

/// How long the control API may take for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Calls to the control API, and a stream of events that says when it is worth looking again.
pub(super) struct Control {
    client: reqwest::Client,
    url: String,
    events: reqwest::Response,
}

impl Control {
    pub(super) async fn connect(url: &str) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().no_proxy().connect_timeout(CALL_TIMEOUT).build()?;
        let url = url.trim_end_matches('/').to_owned();
        let events = client.get(format!("{url}/sim/events")).send().await?.error_for_status()?;
        Ok(Self { client, url, events })
    }

    /// Waits until the simulator reports that anything happened; `false` when the deadline came first.
    pub(super) async fn changed_before(&mut self, deadline: Instant) -> Result<bool, String> {
        match timeout_at(deadline, self.events.chunk()).await {
            Err(_) => Ok(false),
            Ok(Ok(Some(_))) => Ok(true),
            Ok(Ok(None)) => Err("the simulator closed its stream of events".to_owned()),
            Ok(Err(error)) => Err(format!("the simulator's stream of events broke: {error}")),
        }
    }

    pub(super) async fn chat(&self, phone_id: &str) -> Result<Vec<BubbleView>, String> {
        #[derive(serde::Deserialize)]
        struct Chat {
            bubbles: Vec<BubbleView>,
        }
        let request = self.client.get(format!("{}/sim/phones/{phone_id}/chat", self.url));
        Ok(answer::<Chat>(request).await?.bubbles)
    }

    pub(super) async fn send(&self, phone_id: &str, message: &InboundSpec) -> Result<(), String> {
        self.post::<serde_json::Value>(&format!("/sim/phones/{phone_id}/messages"), message).await.map(drop)
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, String> {
        answer(self.client.post(format!("{}{path}", self.url)).json(body)).await
    }
}

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, String> {
    let response = request.timeout(CALL_TIMEOUT).send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| error.to_string())?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|error| format!("the simulator's answer is not understood: {error}"));
    }
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    Err(said["error"].as_str().map_or_else(|| format!("the simulator answered {status}"), str::to_owned))
}
