//! From a reply that exists to a phone that shows it, whatever WhatsApp answers: the whole error table, pauses, the window,
//! outages, paces, and many messages under many faults.

mod account;
mod again;
mod bursts;
mod failed;
mod front;
mod line;
mod many;
mod outage;
mod pauses;
mod statuses;
mod table;
mod unreadable;
mod window;

use std::sync::Arc;

use micai::domain::inbound::{InboundState, WebhookFacts};
use micai::domain::outbound::{MessageBody, NewOutbound};
use micai::domain::turn::{FinishOutcome, FinishedTurn, TurnTrace};
use micai::ids::{ConversationId, Ids};
use micai::queue::Topic;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{BubbleStatus, FaultKind, FaultOn, FaultSpec, GraphRequestView, SimulatorConfig};

use crate::harness::{ACCESS_TOKEN, Stage};
use crate::store::message;

/// A fault of sends, to one phone or to all.
pub fn on_send(kind: FaultKind, times: u32, phone: Option<&str>) -> FaultSpec {
    FaultSpec { on: FaultOn::Send, kind, times, phone: phone.map(str::to_owned) }
}

/// A platform that knows its account and falls back to `template` outside the window.
pub async fn with_templates(template: &str, changes: &[(&str, &str)]) -> Stage {
    let account = SimulatorConfig::default().waba_id;
    let mut settings = vec![
        ("whatsapp_business_account_id", account.as_str()),
        ("out_of_window_template", template),
        ("template_language", "en_US"),
    ];
    settings.extend_from_slice(changes);
    let stage = Stage::with(&settings).await;
    stage.until("the templates are known", async || stage.app().templates().find("reminder", "en_US").is_some()).await;
    stage
}

impl Stage {
    /// Calls to send something, in their order.
    pub fn calls(&self) -> Vec<GraphRequestView> {
        let calls = self.simulator.graph_requests();
        calls
            .into_iter()
            .filter(|one| one.method == "POST" && one.path.ends_with("/messages") && is_send(one))
            .collect()
    }

    /// What reached a phone, in order.
    pub fn arrived(&self, phone: &str) -> Vec<String> {
        let bubbles = self.bubbles(phone).into_iter();
        bubbles.filter(|bubble| bubble.status != BubbleStatus::Failed).map(|bubble| bubble.text).collect()
    }

    /// The youngest send to a phone.
    pub async fn youngest(&self, phone: &str) -> Option<Value> {
        let person = self.simulator.phone(phone).unwrap();
        let all = self.get("/admin/outbound?limit=100").await;
        let to = |one: &&Value| one["to"] == person.phone.as_str() || one["to"] == json!(person.user_id);
        all["items"].as_array().unwrap().iter().find(to).cloned()
    }

    /// Waits until the youngest send to a phone is in a state, and gives it.
    pub async fn until_state(&self, phone: &str, state: &str) -> Value {
        self.until(&format!("the send to {phone} is {state}"), async || {
            self.youngest(phone).await.is_some_and(|send| send["state"] == state)
        })
        .await;
        self.youngest(phone).await.unwrap()
    }

    pub async fn open_alerts(&self, kind: &str) -> Vec<Value> {
        let all = self.get("/admin/alerts").await;
        all["items"].as_array().unwrap().iter().filter(|alert| alert["kind"] == kind).cloned().collect()
    }

    /// What is paused: `scope/subject`, or the scope alone.
    pub async fn paused(&self) -> Vec<String> {
        let list = self.get("/admin/pauses").await;
        let name = |pause: &Value| {
            let (scope, subject) = (pause["scope"].as_str().unwrap(), pause["subject"].as_str().unwrap());
            if subject.is_empty() { scope.to_owned() } else { format!("{scope}/{subject}") }
        };
        list["items"].as_array().unwrap().iter().map(name).collect()
    }

    pub async fn resume(&self, pause: &str) -> Value {
        self.admin(Method::DELETE, &format!("/admin/pauses/{pause}"), None).await
    }

    /// Waits until no send is ready or under way: those that are left wait for their time.
    pub async fn until_quiet(&self) {
        self.until("sends only wait for their time", async || {
            let depths = [Topic::Turn, Topic::Send].map(|topic| self.app().queue().depth(topic));
            depths.iter().all(|depth| depth.ready == 0 && depth.out == 0)
        })
        .await;
    }

    /// Puts a message into the outbox of somebody who has just written to one of our numbers, as the outcome of a turn.
    pub async fn queue(&self, phone: &str, number: &str, body: MessageBody) -> ConversationId {
        let store = self.app().store();
        let digits = self.simulator.phone(phone).unwrap().phone;
        let seed = u64::try_from(self.now().as_microsecond()).unwrap() ^ digits.parse::<u64>().unwrap();
        let mut inbound = message(&format!("wamid.{seed}"), &digits, "hello", self.now());
        inbound.phone_number_id = number.to_owned();
        let facts = WebhookFacts { messages: vec![inbound], ..WebhookFacts::default() };
        let conversation_id = store.ingest(Arc::new(facts)).await.unwrap().wake_turns[0];
        let claim = store.claim(conversation_id, 90).await.unwrap().unwrap();
        let (ids, now) = (Ids::seeded(seed), self.now());
        let finished = FinishedTurn {
            id: ids.turn(now),
            conversation_id,
            contact_id: claim.contact_id,
            lease_token: claim.lease_token,
            agent_id: claim.agent_id.clone(),
            agent_version: claim.agent_version,
            started_at: now,
            finished_at: now,
            opens_window: claim.opens_window(),
            messages: claim.pending.iter().map(|message| (message.id, InboundState::Done)).collect(),
            replies: vec![NewOutbound {
                id: ids.outbound(now),
                idempotency_key: format!("story:{seed}"),
                to: claim.pending[0].reply_to.clone(),
                body,
                answers_provider_message_id: None,
                ignores_opt_out: false,
            }],
            effects: Vec::new(),
            trace: TurnTrace::default(),
        };
        assert!(matches!(store.finish(finished).await.unwrap(), FinishOutcome::Finished { .. }));
        self.app().queue().announce(Topic::Send, &[conversation_id]);
        conversation_id
    }

    /// Makes the template `news`, which has one place for words, at WhatsApp, and fetches it.
    pub async fn make_news(&self) {
        let url = format!("{}/v25.0/{}/message_templates", self.simulator.url(), SimulatorConfig::default().waba_id);
        let body = json!({
            "name": "news", "language": "en_US", "category": "UTILITY",
            "components": [{ "type": "BODY", "text": "Your answer: {{1}} Write to us again at any time.",
                "example": { "body_text": [["Yes."]] } }],
        });
        let answer = self.http.post(url).bearer_auth(ACCESS_TOKEN).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        self.until("it is approved", async || {
            let state = self.simulator.state();
            state.templates.iter().any(|one| one.name == "news" && one.status == "APPROVED")
        })
        .await;
        self.admin(Method::POST, "/admin/templates/sync", Some(json!({}))).await;
    }
}

/// Read marks go the same way.
fn is_send(call: &GraphRequestView) -> bool {
    call.body.as_ref().is_some_and(|body| body.get("status").is_none())
}
