//! Talking to a person: asked for once, told once, ended by a word, by an operator or by the clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode as Answer};
use jiff::SignedDuration;
use micai::app::{App, Roles};
use micai::clock::{Clock as _, SystemClock};
use micai::config::Config;
use micai::domain::alert::{AlertKind, NewAlert, Severity};
use micai::domain::audit::Actor;
use micai::domain::conversation::{ConversationMode, ModeChange, ModeSetter};
use micai::domain::inbound::{AfterFailure, NewStatus};
use micai::domain::notice::NoticeKind;
use micai::domain::outbound::{AttemptOutcome, DeliveryStatus, Refusal, SendError};
use micai::domain::pause::{Pause, PauseCause, PauseKey, PauseScope};
use micai::domain::turn::{Effect, FinishOutcome};
use micai::store::{Location, SetMode};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::PhoneKind;
use uuid::Uuid;

use crate::harness::{ADMIN_KEY, Stage, settings, variable};
use crate::postgres::Postgres;
use crate::store::{LEASE_SECONDS, World, status, world};

pub(super) const SECRET: &str = "the-secret-of-the-operators-desk";

/// The operator's own system: keeps what it is told, and answers as it was told to.
#[derive(Clone, Default)]
pub(super) struct Desk {
    told: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    refusals: Arc<Mutex<usize>>,
}

impl Desk {
    pub(super) async fn open(refusals: usize) -> (Self, SocketAddr) {
        let desk = Self { refusals: Arc::new(Mutex::new(refusals)), ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = desk.clone();
        let receive = move |headers: HeaderMap, body: Bytes| {
            let told = told.clone();
            async move { told.take(headers, body) }
        };
        let router = axum::Router::new().route("/desk", axum::routing::post(receive));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (desk, address)
    }

    fn take(&self, headers: HeaderMap, body: Bytes) -> Answer {
        self.told.lock().unwrap().push((headers, body));
        let mut refusals = self.refusals.lock().unwrap();
        if *refusals == 0 {
            return Answer::NO_CONTENT;
        }
        *refusals -= 1;
        Answer::SERVICE_UNAVAILABLE
    }

    pub(super) fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

async fn stage_with(address: SocketAddr) -> Stage {
    let url = format!("http://{address}/desk?key=secret");
    let host = address.to_string();
    let settings = [("operator_webhook_url", url.as_str()), ("operator_webhook_secret", SECRET)];
    Stage::with(&[settings[0], settings[1], ("outbound_private_hosts", &host)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_is_told_at_least_once_with_one_id_and_a_signature() {
    let (desk, address) = Desk::open(2).await;
    let stage = stage_with(address).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    let answers = stage.answers(&phone, "Talk to a person").await;
    assert!(answers[0].starts_with("I am telling our team"), "{answers:?}");
    assert!(stage.answers(&phone, "human").await.is_empty(), "asked once");
    stage
        .until("the desk has taken it", async || {
            stage.advance(5);
            desk.told().len() >= 3
        })
        .await;
    stage.advance(600);
    assert!(stage.answers(&phone, "anybody there?").await.is_empty(), "the agent is silent");
    let told = desk.told();
    assert_eq!(told.len(), 3, "two refusals, then taken, then never again: {told:?}");
    assert!(told.iter().all(|one| *one == told[0]), "the same id and the same words: {told:?}");
    let conversation = stage.conversation().await;
    assert_eq!((&told[0]["kind"], &told[0]["conversation_id"]), (&json!("handover_requested"), &conversation["id"]));
    assert_eq!((&told[0]["name"], &told[0]["mode_until"]), (&json!("Ana"), &conversation["mode_until"]));
    for (headers, body) in desk.told.lock().unwrap().iter() {
        let signature = headers["x-micai-signature-256"].to_str().unwrap();
        whatsapp::signature::verify(&[SecretString::from(SECRET)], Some(signature), body).unwrap();
    }
    assert!(stage.answers(&phone, "BACK TO THE ASSISTANT").await[0].starts_with("I am back"));
    stage
        .until("the desk hears of the end", async || {
            stage.advance(2);
            desk.told().len() == 4
        })
        .await;
    assert_eq!(desk.told()[3]["kind"], "handover_ended");
    stage.end().await;
}

/// What the operator's own network is, only the operator can say.
#[tokio::test(flavor = "multi_thread")]
async fn a_desk_at_a_private_address_is_called_only_where_the_settings_allow_it() {
    let (desk, address) = Desk::open(0).await;
    for url in [format!("http://{address}/desk"), format!("https://{address}/desk?key=secret")] {
        let said = refused_start(&url).await;
        assert!(said.contains("MICAI_OPERATOR_WEBHOOK_URL") && said.contains("MICAI_OUTBOUND_PRIVATE_HOSTS"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    // A name is looked up when it is called.
    let url = format!("https://localhost:{}/desk", address.port());
    let stage = Stage::with(&[("operator_webhook_url", &url), ("operator_webhook_secret", SECRET)]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.answers(&phone, "human").await;
    stage
        .until("it is given up", async || {
            stage.advance(3_600);
            let alerts = stage.get("/admin/alerts").await.to_string();
            alerts.contains("operator_webhook_failed") && alerts.contains("not public")
        })
        .await;
    assert!(desk.told().is_empty());
    stage.end().await;
}

/// What a platform says that does not start with this address.
async fn refused_start(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let changes = [("operator_webhook_url", url), ("operator_webhook_secret", SECRET)];
    let settings = settings(&folder.path().join("micai.db"), "http://127.0.0.1:9", &changes);
    let environment = settings.into_iter().map(|(key, value)| (variable(&key), value));
    let config = Config::load(environment, None).unwrap();
    let dice = StdRng::seed_from_u64(1);
    let started = App::start(&config, Roles::SERVE, Arc::new(SystemClock), dice).await;
    format!("{:#}", started.err().expect("it does not start"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_that_never_answers_ends_in_an_alert() {
    let (desk, address) = Desk::open(usize::MAX).await;
    let stage = stage_with(address).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.answers(&phone, "human").await;
    stage
        .until("it is given up", async || {
            stage.advance(900);
            stage.get("/admin/alerts").await.to_string().contains("operator_webhook_failed")
        })
        .await;
    stage.advance(24 * 3_600);
    stage.answers(&phone, "hello").await;
    assert_eq!(desk.told().iter().filter(|one| one["kind"] == "handover_requested").count(), 12, "given up");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_is_told_of_alerts_once_and_not_of_hand_overs_twice() {
    let (desk, address) = Desk::open(0).await;
    let stage = stage_with(address).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    let alert = NewAlert::new(AlertKind::BudgetExceeded, Severity::Critical, "all", "It is spent.", json!({}));
    assert!(stage.app().store().raise_alert(&alert).await.unwrap());
    assert!(!stage.app().store().raise_alert(&alert).await.unwrap(), "counted");
    stage.answers(&phone, "human").await;
    stage
        .until("the desk has heard of both", async || {
            stage.advance(2);
            desk.told().len() >= 2
        })
        .await;
    stage.advance(600);
    stage.settle().await;
    let told = desk.told();
    let mut kinds: Vec<_> = told.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["alert_raised", "handover_requested"], "{told:?}");
    let alerts = stage.get("/admin/alerts").await;
    let open = alerts["items"].as_array().unwrap().iter().find(|one| one["kind"] == "budget_exceeded").unwrap();
    let heard = told.iter().find(|one| one["kind"] == "alert_raised").unwrap();
    assert_eq!(
        *heard,
        json!({ "id": open["id"], "kind": "alert_raised", "raised_at": open["raised_at"],
                "alert": { "kind": "budget_exceeded", "subject": "all", "severity": "critical",
                           "sentence": "It is spent." } })
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_desk_an_alert_says_so_and_the_person_is_told_the_truth() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    assert!(stage.answers(&phone, "quiero hablar con una persona").await[0].starts_with("He anotado"));
    assert!(stage.answers(&phone, "hello?").await.is_empty());
    assert!(stage.answers(&phone, "help").await.is_empty(), "nor is a person interrupted by the agent's own words");
    let conversation = stage.conversation().await;
    let id = conversation["id"].as_str().unwrap();
    assert_eq!((&conversation["mode"], &conversation["mode_set_by"]), (&json!("human"), &json!("person")));
    let waiting = stage.get("/admin/conversations?mode=human").await;
    assert_eq!(waiting["items"][0]["id"], id);
    let alerts = stage.get("/admin/alerts").await;
    assert_eq!(
        (&alerts["items"][0]["kind"], &alerts["items"][0]["subject"]),
        (&json!("handover_requested"), &json!(id))
    );
    let transcript = stage.get(&format!("/admin/conversations/{id}/messages")).await.to_string();
    assert!(transcript.contains("hello?"), "what comes in is kept");

    let say = json!({ "text": "Bo here, how can I help?", "idempotency_key": Uuid::from_u128(7) });
    stage.admin(Method::POST, &format!("/admin/conversations/{id}/messages"), Some(say)).await;
    stage.settle().await;
    assert_eq!(stage.heard(&phone).pop().unwrap(), "Bo here, how can I help?");
    assert!(stage.get("/admin/alerts").await["items"].as_array().unwrap().is_empty(), "somebody is there");
    assert!(stage.answers(&phone, "Stop").await[0].contains("START"), "STOP is heard whoever speaks");
    assert!(stage.answers(&phone, "START").await[0].contains("STOP"));
    assert_eq!(stage.answers(&phone, "volver al bot").await.len(), 1);
    assert!(stage.answers(&phone, "hello").await[0].starts_with("I heard"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_comes_back_by_the_clock_counted_from_a_persons_last_message() {
    let stage = Stage::with(&[("handover_hours", "3")]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.answers(&phone, "human").await;
    let id = stage.conversation().await["id"].as_str().unwrap().to_owned();
    stage.advance(2 * 3_600);
    let say = json!({ "text": "One moment.", "idempotency_key": Uuid::from_u128(8) });
    stage.admin(Method::POST, &format!("/admin/conversations/{id}/messages"), Some(say)).await;
    stage.settle().await;
    stage.advance(2 * 3_600);
    assert!(stage.answers(&phone, "still there?").await.is_empty(), "four hours after the request, two after a person");
    stage.advance(3_600);
    let conversation = stage.conversation().await;
    assert_eq!(conversation["mode"], "bot", "nobody had to write that down: {conversation}");
    assert!(stage.get("/admin/conversations?mode=human").await["items"].as_array().unwrap().is_empty());
    assert!(stage.answers(&phone, "hello").await[0].starts_with("I heard"));
    assert_eq!(stage.conversation().await["mode_set_by"], "time");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_takes_over_and_gives_back() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.answers(&phone, "hello").await;
    let path = format!("/admin/conversations/{}/mode", stage.conversation().await["id"].as_str().unwrap());
    let taken = json!({ "mode": "human", "hours": 1, "reason": "I know the case" });
    let taken = stage.admin(Method::POST, &path, Some(taken)).await;
    assert_eq!((&taken["mode"], &taken["mode_reason"]), (&json!("human"), &json!("I know the case")));
    assert!(stage.answers(&phone, "hello").await.is_empty());
    stage.admin(Method::POST, &path, Some(json!({ "mode": "bot" }))).await;
    assert!(stage.answers(&phone, "hello").await[0].starts_with("I heard"));
    let log = stage.get("/admin/audit?action=conversation_mode_set").await;
    let entries = log["items"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[1]["after"]["reason"]), (2, &json!("I know the case")));
    for (body, status, code) in [
        (json!({ "mode": "bot", "hours": 1 }), StatusCode::UNPROCESSABLE_ENTITY, "mode_invalid"),
        (json!({ "mode": "human", "hours": 0 }), StatusCode::UNPROCESSABLE_ENTITY, "mode_invalid"),
    ] {
        let answer =
            stage.http.post(stage.url(&path)).header("x-admin-key", ADMIN_KEY).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
    let nobody = stage.url("/admin/conversations/00000000-0000-0000-0000-000000000001/mode");
    let answer = stage.http.post(nobody).header("x-admin-key", ADMIN_KEY).json(&json!({ "mode": "bot" })).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::NOT_FOUND);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_had_queued_is_not_said_after_a_person_has_taken_over() {
    let stage = Stage::open().await;
    let (ana, cy) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Cy", PhoneKind::Phone));
    let until = stage.now() + SignedDuration::from_secs(600);
    let pause = json!({ "scope": "account", "reason": "a moment", "until": until });
    stage.admin(Method::POST, "/admin/pauses", Some(pause)).await;
    let mut conversations = Vec::new();
    for (phone, text) in [(&ana, "hello"), (&cy, "STOP")] {
        stage.simulator.say(phone, text).unwrap();
        let already = conversations.len();
        stage.until("the answer waits", async || stage.outbound("queued").await.len() > already).await;
        conversations.push(stage.outbound("queued").await[0]["conversation_id"].as_str().unwrap().to_owned());
    }
    for id in &conversations {
        let human = json!({ "mode": "human" });
        stage.admin(Method::POST, &format!("/admin/conversations/{id}/mode"), Some(human)).await;
    }
    let cancelled = stage.outbound("cancelled").await;
    assert_eq!((cancelled.len(), &cancelled[0]["conversation_id"]), (1, &json!(conversations[0])), "{cancelled:?}");
    assert_eq!(cancelled[0]["error"]["reason"], "handed_over");
    assert!(cancelled[0]["error"]["detail"].as_str().unwrap().starts_with("A person took the conversation over"));
    let log = stage.get("/admin/audit?action=conversation_mode_set").await;
    let counted: Vec<_> =
        log["items"].as_array().unwrap().iter().map(|one| &one["after"]["cancelled_replies"]).collect();
    assert_eq!(counted, [&json!(0), &json!(1)], "the youngest first: the confirmation of a STOP is owed");

    let say = json!({ "text": "Bo here.", "idempotency_key": Uuid::from_u128(9) });
    stage.admin(Method::POST, &format!("/admin/conversations/{}/messages", conversations[0]), Some(say)).await;
    stage.advance(601);
    stage.settle().await;
    assert_eq!(stage.heard(&ana), ["Bo here."]);
    assert!(stage.heard(&cy)[0].contains("START"), "{:?}", stage.heard(&cy));
    let bot = json!({ "mode": "bot" });
    stage.admin(Method::POST, &format!("/admin/conversations/{}/mode", conversations[0]), Some(bot)).await;
    assert_eq!(stage.answers(&ana, "hello again").await.len(), 1, "and nothing of what was cancelled");

    // The same for what is held, which nobody counts as waiting any more.
    let pause = json!({ "scope": "account", "reason": "until I am back" });
    stage.admin(Method::POST, "/admin/pauses", Some(pause)).await;
    assert!(stage.answers(&ana, "once more").await.is_empty());
    assert_eq!(stage.get("/admin/pauses").await["items"][0]["held"], 1);
    let paused = json!({ "mode": "paused" });
    stage.admin(Method::POST, &format!("/admin/conversations/{}/mode", conversations[0]), Some(paused)).await;
    let cancelled = &stage.outbound("cancelled").await[0]["error"]["detail"];
    assert!(cancelled.as_str().unwrap().starts_with("An operator paused the conversation"), "{cancelled}");
    assert_eq!(stage.get("/admin/pauses").await["items"][0]["held"], 0);
    stage.admin(Method::DELETE, "/admin/pauses/account", None).await;
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 2);
    stage.end().await;
}

/// A turn that is repeated, or that somebody has overtaken, tells nobody anything.
async fn a_turn_counts_once(world: &World) {
    let conversation = world.say("h-1", "15550001", "human").await;
    let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    let until = Some(world.clock.now() + SignedDuration::from_secs(60));
    let change = ModeChange { to: ConversationMode::Human, until, by: ModeSetter::Person };
    let mut turn = world.turn(&claim, &["A person comes."]);
    turn.effects = vec![Effect::Mode(change), Effect::Tell(NoticeKind::HandoverRequested)];
    assert!(matches!(world.store.finish(turn.clone()).await.unwrap(), FinishOutcome::Finished { .. }));
    assert_eq!(world.store.finish(turn).await.unwrap(), FinishOutcome::Fenced);
    let due = world.store.claim_notices(10, 60).await.unwrap();
    let told = due.iter().map(|one| (one.conversation_id(), one.attempts)).collect::<Vec<_>>();
    assert_eq!(told, [(Some(conversation.0), 1)]);
    assert!(world.store.claim_notices(10, 60).await.unwrap().is_empty(), "claimed");
    world.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(world.store.claim_notices(10, 60).await.unwrap()[0].attempts, 2, "whoever had it has died");

    // The time is over, and a person writes at the same moment: the turn that saw the end counts for nothing in this.
    world.say("h-2", "15550001", "hello").await;
    let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    assert_eq!(claim.mode.at(world.clock.now()), ConversationMode::Bot);
    let set = SetMode { mode: ConversationMode::Human, seconds: Some(3_600), reason: None };
    assert!(world.store.set_mode(conversation, set, &Actor::Platform).await.unwrap());
    let mut turn = world.turn(&claim, &["I am back."]);
    turn.effects = vec![Effect::Mode(ModeChange { to: ConversationMode::Bot, until: None, by: ModeSetter::Time })];
    assert_eq!(world.store.finish(turn).await.unwrap(), FinishOutcome::Fenced, "the agent does not talk over a person");
    let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    assert_eq!((claim.pending.len(), claim.mode.at(world.clock.now())), (1, ConversationMode::Human));
    world.store.finish(world.turn(&claim, &[])).await.unwrap();
}

/// What was queued, held or got lost is not said after a person has taken over.
async fn the_agent_is_silent_at_once(world: &World) {
    let store = &world.store;
    let conversation = world.say("s-1", "15550002", "hello").await;
    world.answer(conversation, &["one", "two", "three"]).await;
    let lost = world.due(conversation).await;
    assert!(store.begin_send(&lost).await.unwrap());
    let error = SendError { code: None, reason: "timeout".into(), detail: String::new() };
    assert!(world.settle(&lost, AttemptOutcome::Unknown { error: error.clone() }).await);
    world.clock.advance(SignedDuration::from_secs(3_600));
    let held = world.due(conversation).await;
    let account = PauseKey::new(PauseScope::Account, "");
    assert!(store.refuse_send(&held, Refusal::Pause(account.clone(), error)).await.unwrap().moved);
    let queued = world.due(conversation).await;
    let pause = Pause {
        key: account.clone(),
        cause: PauseCause::Person,
        code: None,
        sentence: "It is late.".to_owned(),
        since: world.clock.now(),
        until: None,
    };
    assert!(store.set_pause(&pause, &Actor::Platform).await.unwrap());
    assert_eq!(store.pauses().await.unwrap()[0].held, 1);

    let set = SetMode { mode: ConversationMode::Human, seconds: Some(3_600), reason: None };
    assert!(store.set_mode(conversation, set, &Actor::Platform).await.unwrap());
    assert_eq!((world.state(&queued).await, world.state(&held).await), ("cancelled".into(), "cancelled".into()));
    assert_eq!((world.state(&lost).await, store.pauses().await.unwrap()[0].held), ("unknown".into(), 0));
    let overdue = store.overdue_unknowns(120).await.unwrap();
    let lost_send = overdue.iter().find(|one| one.id == lost.id).unwrap();
    assert!(!store.resend_unknown(lost_send).await.unwrap(), "it goes out no more");
    assert_eq!(world.state(&lost).await, "cancelled");
    assert!(store.resume(&account, &Actor::Platform).await.unwrap());
}

/// What is being called while a person takes over may go out; if it does not, it does not come back later either.
async fn what_is_on_its_way_does_not_come_back(world: &World) {
    let store = &world.store;
    let error = || SendError { code: None, reason: "too_fast".into(), detail: String::new() };
    let later = world.clock.now() + SignedDuration::from_secs(60);
    let again = AttemptOutcome::RetryAt { not_before: later, is_counted: true, error: error() };
    for (phone, mode, outcome, expected) in [
        ("15550003", ConversationMode::Human, again.clone(), "cancelled"),
        ("15550004", ConversationMode::Paused, AttemptOutcome::NeedsTemplate { error: error() }, "cancelled"),
        ("15550005", ConversationMode::Bot, again, "queued"),
    ] {
        let conversation = world.say(&format!("{phone}-1"), phone, "hello").await;
        world.answer(conversation, &["one"]).await;
        let called = world.due(conversation).await;
        assert!(store.begin_send(&called).await.unwrap());
        assert!(
            store
                .set_mode(conversation, SetMode { mode, seconds: None, reason: None }, &Actor::Platform)
                .await
                .unwrap()
        );
        assert_eq!(world.state(&called).await, "sending");
        world.settle(&called, outcome).await;
        assert_eq!(world.state(&called).await, expected);
    }
    // WhatsApp takes it, and says later that it wants a template.
    let conversation = world.say("15550006-1", "15550006", "hello").await;
    world.answer(conversation, &["one"]).await;
    let called = world.due(conversation).await;
    assert!(store.begin_send(&called).await.unwrap());
    assert!(world.settle(&called, AttemptOutcome::Accepted { provider_message_id: "taken".into() }).await);
    let set = SetMode { mode: ConversationMode::Human, seconds: None, reason: None };
    assert!(store.set_mode(conversation, set, &Actor::Platform).await.unwrap());
    let failed = NewStatus { after: AfterFailure::Template, ..status("taken", None, DeliveryStatus::Failed) };
    world.ingest(Vec::new(), vec![failed]).await;
    assert_eq!(world.state(&called).await, "cancelled");
}

/// A new alert is told once, under its own id.
async fn an_alert_is_told_once(world: &World) {
    let alert = NewAlert::new(AlertKind::BudgetWarning, Severity::Warning, "month", "Most is spent.", json!({}));
    assert!(world.store.raise_alert(&alert).await.unwrap());
    let id = world.store.open_alert(AlertKind::BudgetWarning, "month").await.unwrap().unwrap().id;
    for expected in [1, 0] {
        world.store.note_alerts().await.unwrap();
        let due = world.store.claim_notices(10, 60).await.unwrap();
        let told = due.iter().filter(|one| one.id == id && one.conversation_id().is_none()).count();
        assert_eq!(told, expected);
    }
    assert!(world.store.clear_alert(AlertKind::BudgetWarning, "month").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_counts_once_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 }).await;
    a_turn_counts_once(&world).await;
    the_agent_is_silent_at_once(&world).await;
    what_is_on_its_way_does_not_come_back(&world).await;
    an_alert_is_told_once(&world).await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_counts_once_on_postgres() {
    let server = Postgres::start().await;
    let world = world(server.location()).await;
    a_turn_counts_once(&world).await;
    the_agent_is_silent_at_once(&world).await;
    what_is_on_its_way_does_not_come_back(&world).await;
    an_alert_is_told_once(&world).await;
    world.store.close().await;
}
