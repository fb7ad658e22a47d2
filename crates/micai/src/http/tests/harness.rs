//! A platform without workers: store, queue, ingest and the router over them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::agent::consent::ConsentWords;
use crate::agent::control::ControlWords;
use crate::agent::triggers::Gate;
use crate::clock::{ManualClock, SharedClock};
use crate::cost::PriceTable;
use crate::domain::conversation::HandoverRules;
use crate::domain::fate::UnknownRules;
use crate::domain::inbound::InboundState;
use crate::domain::outbound::{MessageBody, NewOutbound, NextSend, Refusal, reply_key};
use crate::domain::turn::{Claim, Decision, FinishOutcome, FinishedTurn, MessageTrace, TurnTrace};
use crate::http::state::{EventStreams, SendingRules};
use crate::http::{HttpState, router};
use crate::ids::{ConversationId, Ids, OutboundId, TurnId};
use crate::ingest::{Ingest, IngestRules};
use crate::queue::{MemoryQueue, Topic, WakeQueue};
use crate::shared::{Changes, InProcess, Shared};
use crate::store::{Location, Store};
use crate::templates::{TemplateBook, TemplateDesk};
use crate::transport::{CloudApi, CloudApiConfig};

pub const ADMIN_KEY: &str = "admin-key-of-the-test";
pub const VERIFY_TOKEN: &str = "verify-token-of-the-test";
pub const APP_SECRET: &str = "app-secret-of-the-test";
pub const PAGE_ROWS_MAX: usize = 100;
pub const WEBHOOK_BODY_BYTES_MAX: usize = 65_536;
const EVENT_STREAMS_MAX: usize = 2;
const LEASE_SECONDS: i64 = 90;

pub struct Platform {
    pub state: HttpState,
    pub clock: ManualClock,
    pub ids: Arc<Ids>,
    stop: CancellationToken,
    _folder: TempDir,
}

/// An answer, with its body as JSON where it is JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    pub json: Value,
}

impl Answer {
    /// Asserts that this is a problem as all of ours are.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> &Value {
        assert_eq!((self.status.as_u16(), &self.json["code"]), (status, &json!(code)), "{self:?}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.json["status"], status);
        assert_eq!(self.json["request_id"], self.headers["x-request-id"].to_str().unwrap());
        assert!(self.json["detail"].as_str().unwrap().len() > 20, "{self:?}");
        &self.json
    }

    #[track_caller]
    pub fn ok(&self) -> &Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        &self.json
    }
}

impl Platform {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at("2026-09-20T12:00:00Z".parse::<Timestamp>().unwrap());
        let shared: SharedClock = Arc::new(clock.clone());
        let ids = Arc::new(Ids::seeded(1));
        let location = Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 2 };
        let store = Store::open(&location, ids.clone(), shared.clone()).await.unwrap();
        store.migrate().await.unwrap();
        store.ensure_default_agent().await.unwrap();
        let stop = CancellationToken::new();
        let queue: Arc<dyn WakeQueue> = Arc::new(MemoryQueue::start(shared.clone(), stop.clone()));
        let prices = Arc::new(PriceTable::compiled_in().unwrap());
        let live: Arc<dyn Shared> = Arc::new(InProcess::default());
        let rules = IngestRules {
            secrets: vec![SecretString::from(APP_SECRET)],
            items_max: 1_000,
            attempts_max: 8,
            business_account_id: None,
            prices: prices.clone(),
            throughput: None,
            changes: Changes::new(live.clone()),
        };
        let api = Arc::new(
            CloudApi::new(CloudApiConfig {
                base_url: "http://127.0.0.1:9".parse().unwrap(),
                api_version: "v25.0".to_owned(),
                access_token: None,
                phone_number_id: "unset".to_owned(),
                business_account_id: None,
                call_timeout: Duration::from_secs(1),
            })
            .unwrap(),
        );
        let state = HttpState {
            templates: TemplateDesk::new(store.clone(), api, TemplateBook::default(), None),
            ingest: Ingest::new(store.clone(), queue.clone(), shared.clone(), rules),
            prices,
            store,
            queue,
            changes: Changes::new(live.clone()),
            shared: live,
            event_streams: EventStreams::new(EVENT_STREAMS_MAX, CancellationToken::new()),
            clock: shared,
            verify_token: Some(SecretString::from(VERIFY_TOKEN)),
            admin_api_key: Some(SecretString::from(ADMIN_KEY)),
            gate: Arc::new(Gate::new(true, &["michael:".to_owned(), "/ask".to_owned()])),
            consent: Arc::new(ConsentWords::built_in().unwrap()),
            control: Arc::new(ControlWords::built_in().unwrap()),
            handover: HandoverRules { seconds: 24 * 3_600, is_told: false },
            tools: crate::agent::tools::Tools::nowhere(),
            default_phone_number_id: "unset".to_owned(),
            page_rows_max: PAGE_ROWS_MAX,
            webhook_body_bytes_max: WEBHOOK_BODY_BYTES_MAX,
            request_timeout: Duration::from_secs(30),
            plan_rules: Arc::default(),
            sending: SendingRules {
                outbound_enabled: true,
                window_seconds: 24 * 3_600,
                unknown: UnknownRules { deadline_seconds: 120, resends: true, others_wait_seconds: 120 },
            },
        };
        Self { state, clock, ids, stop, _folder: folder }
    }

    pub fn router(&self) -> Router {
        router(self.state.clone())
    }

    pub async fn call(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router().oneshot(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, bytes, json }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.admin("GET", path, Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.admin("POST", path, Body::from(body.to_string())).await
    }

    pub async fn admin(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).header("x-admin-key", ADMIN_KEY);
        self.call(request.body(body.into()).unwrap()).await
    }

    /// A webhook signed as WhatsApp signs.
    pub async fn webhook(&self, body: &[u8]) -> Answer {
        let signature = whatsapp::signature::sign(&SecretString::from(APP_SECRET), body);
        let request = Request::builder().method("POST").uri("/webhook").header("x-hub-signature-256", signature);
        self.call(request.body(Body::from(body.to_vec())).unwrap()).await
    }

    /// Text messages from `phone`, in one webhook.
    pub async fn write(&self, phone: &str, texts: &[&str]) -> Answer {
        let messages: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(place, text)| {
                let id = format!("wamid.{phone}.{}.{place}", self.ids.uuid(self.state.clock.now()));
                json!({"id": id, "from": phone, "timestamp": self.state.clock.now().as_second().to_string(),
                       "type": "text", "text": {"body": text}})
            })
            .collect();
        self.webhook(envelope(phone, &messages).to_string().as_bytes()).await
    }

    pub async fn conversation_of(&self, phone: &str) -> ConversationId {
        for conversation in self.state.store.conversations(None, 1_000).await.unwrap() {
            let detail = self.get(&format!("/admin/conversations/{}", conversation.id)).await;
            if detail.json["addresses"]["phone"] == phone && detail.json["phone_number_id"] != "unset" {
                return ConversationId(conversation.id);
            }
        }
        panic!("{phone} has no conversation");
    }

    pub async fn claim(&self, conversation: ConversationId) -> Claim {
        self.state.store.claim(conversation, LEASE_SECONDS).await.unwrap().expect("something waits")
    }

    /// A turn that answers everything that waits with `replies`, the first message's.
    pub async fn answer(&self, conversation: ConversationId, replies: &[&str]) -> Vec<OutboundId> {
        let claim = self.claim(conversation).await;
        let now = self.state.clock.now();
        let turn = TurnId(self.ids.uuid(now));
        let first = &claim.pending[0];
        let replies: Vec<NewOutbound> = replies
            .iter()
            .enumerate()
            .map(|(place, text)| NewOutbound {
                id: OutboundId(self.ids.uuid(now)),
                idempotency_key: reply_key(turn, place),
                to: first.reply_to.clone(),
                body: MessageBody::Text { text: (*text).to_owned() },
                answers_provider_message_id: Some(first.provider_message_id.clone()),
                ignores_opt_out: false,
            })
            .collect();
        let ids = replies.iter().map(|reply| reply.id).collect();
        let decision = Decision::Rule { rule_id: "r".to_owned(), matched: "weather".to_owned() };
        let outcome = self
            .state
            .store
            .finish(FinishedTurn {
                id: turn,
                conversation_id: conversation,
                contact_id: claim.contact_id,
                lease_token: claim.lease_token,
                agent_id: claim.agent_id.clone(),
                agent_version: claim.agent_version,
                started_at: now,
                finished_at: now,
                opens_window: claim.opens_window(),
                messages: claim.pending.iter().map(|message| (message.id, InboundState::Done)).collect(),
                replies,
                effects: Vec::new(),
                trace: TurnTrace { messages: vec![MessageTrace { inbound_id: first.id, decision, tools: Vec::new() }] },
            })
            .await
            .unwrap();
        assert_eq!(outcome, FinishOutcome::Finished { more_pending: false, released: false });
        ids
    }

    /// Suppresses the next send of a conversation, as the sender does while outbound is off.
    pub async fn suppress_next(&self, conversation: ConversationId, request: Value) {
        let NextSend::Due(candidate) = self.state.store.next_send(conversation, 120).await.unwrap() else {
            panic!("nothing is due");
        };
        assert!(self.state.store.refuse_send(&candidate, Refusal::Suppress { request }).await.unwrap().moved);
    }

    /// Every item of a list, page by page.
    pub async fn all(&self, path: &str, limit: usize) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut cursor) = (Vec::new(), String::new());
        for _ in 0..100 {
            let answer = self.get(&format!("{path}{separator}limit={limit}{cursor}")).await;
            let page = answer.ok();
            let rows = page["items"].as_array().unwrap();
            assert!(rows.len() <= limit, "{page}");
            items.extend(rows.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => {
                    assert_eq!(rows.len(), limit, "a page before the last is full: {page}");
                    cursor = format!("&cursor={next}");
                }
                None => {
                    assert_eq!(page["next_cursor"], Value::Null);
                    return items;
                }
            }
        }
        panic!("{path} never ends");
    }

    pub fn turns_ready(&self) -> usize {
        self.state.queue.depth(Topic::Turn).ready
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn envelope(phone: &str, messages: &[Value]) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550001111", "phone_number_id": "900001"},
        "contacts": [{"profile": {"name": "Ana"}, "wa_id": phone}],
        "messages": messages,
    }}]}]})
}

/// A rule as older clients write it.
pub fn rule(id: &str, agent_id: &str, more: Value) -> Value {
    let mut rule = json!({"id": id, "agent_id": agent_id, "rule_type": "keyword", "keywords": ["weather"],
                          "action": "reply_text", "reply_text": "sunny"});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}
