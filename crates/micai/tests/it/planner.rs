//! How a message would go and how it goes: what agents fall back to, what people send, what is foreseen, and sends of unknown
//! fate as their agents want them.

use micai::domain::agent::{AgentId, AgentSettings, UnknownPolicy};
use micai::domain::audit::Actor;
use micai::domain::outbound::MessageBody;
use micai::store::{Location, OperatorSend, Prospect};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, FaultSpec, PhoneKind, SimulatorConfig};
use uuid::Uuid;

use crate::harness::{ADMIN_KEY, Stage};
use crate::postgres::Postgres;
use crate::store::{World, world};

const DAY_SECONDS: i64 = 24 * 3_600;

/// A platform that knows its account and its templates.
async fn stage(changes: &[(&str, &str)]) -> Stage {
    let waba_id = SimulatorConfig::default().waba_id;
    let mut settings = vec![("whatsapp_business_account_id", waba_id.as_str())];
    settings.extend_from_slice(changes);
    let stage = Stage::with(&settings).await;
    stage.post("/admin/templates/sync", json!({})).await;
    stage
}

/// Somebody who has written and been answered; gives the phone and the path of the conversation.
async fn acquaintance(stage: &Stage, name: &str, kind: PhoneKind) -> (String, String) {
    let phone = stage.phone(name, kind);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
    let all = stage.get("/admin/conversations?limit=100").await;
    let conversation = all["items"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    (phone, format!("/admin/conversations/{}", conversation["id"].as_str().unwrap()))
}

fn key(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

/// Sends, and gives the status and the row.
async fn send(stage: &Stage, conversation: &str, body: &Value) -> (u16, Value) {
    let request = stage.http.post(stage.url(&format!("{conversation}/messages"))).header("x-admin-key", ADMIN_KEY);
    let answer = request.json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn plan(stage: &Stage, conversation: &str, body: Value) -> Value {
    stage.post(&format!("{conversation}/plan"), body).await
}

async fn set_agent(stage: &Stage, settings: Value) -> Value {
    stage.admin(Method::PUT, "/admin/agents/default-agent", Some(settings)).await
}

fn reminder(values: &[&str]) -> Value {
    let body: Vec<Value> = values.iter().map(|text| json!({ "text": text })).collect();
    json!({ "name": "reminder", "language": "en_US", "body": body })
}

async fn open_alerts(stage: &Stage, kind: &str) -> Vec<Value> {
    let all = stage.get("/admin/alerts").await;
    all["items"].as_array().unwrap().iter().filter(|alert| alert["kind"] == kind).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_fallback_template_says_it_outside_the_window_with_the_words_in_it() {
    let stage = stage(&[]).await;
    let (ana, conversation) = acquaintance(&stage, "Ana", PhoneKind::Username).await;
    for (template, field, words) in [
        (json!({ "name": "nope", "language": "en_US" }), "fallback_template.name", "no template that the account has"),
        (json!({ "name": "reminder", "language": "fr" }), "fallback_template.language", "en_US"),
        (reminder(&["{text}"]), "fallback_template.body[1]", "Parameter 2 of the body is missing"),
        (json!({ "name": " ", "language": "en_US" }), "fallback_template.name", "is empty"),
    ] {
        let body = json!({ "id": "shop", "fallback_template": template });
        let (status, problem) = stage.refused("/admin/agents", body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(words), "{problem}");
    }
    let saved = set_agent(&stage, json!({ "fallback_template": reminder(&["Ana", "{text}"]) })).await;
    assert_eq!(saved["fallback_template"], reminder(&["Ana", "{text}"]));
    assert_eq!(stage.get("/admin/agents/default-agent").await, saved);
    let entry = stage.get("/admin/audit?action=agent_updated").await["items"][0].clone();
    assert_eq!(entry["after"]["fallback_template"]["name"], "reminder", "{entry}");

    stage.advance(2 * DAY_SECONDS);
    let text = "Your parcel\n is here.";
    let foreseen = plan(&stage, &conversation, json!({ "text": text })).await;
    let (status, row) = send(&stage, &conversation, &json!({ "idempotency_key": key(1), "text": text })).await;
    assert_eq!((status, &row["idempotency_key"]), (202, &json!(format!("operator:{}", key(1)))), "{row}");
    let said = "Hi Ana, this is your reminder: Your parcel is here.. Have a good day.";
    assert_eq!(stage.replies(&ana, 2).await[1], said);
    assert_eq!(
        (&foreseen["way"], &foreseen["template"]["wish"], &foreseen["template"]["text"]),
        (&json!("template"), &json!("agent"), &json!(said)),
        "{foreseen:#}"
    );
    assert_eq!((&foreseen["cost"]["category"], &foreseen["would_go"]), (&json!("utility"), &json!(true)));
    stage.settle().await;
    let sent = stage.get(&format!("/admin/outbound/{}", row["id"].as_str().unwrap())).await;
    assert_eq!((&sent["kind"], &sent["state"]), (&json!("template"), &json!("delivered")), "{sent:#}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_message_goes_once_for_each_key_in_its_own_template_outside_the_window() {
    let stage = stage(&[]).await;
    let (ana, conversation) = acquaintance(&stage, "Ana", PhoneKind::Phone).await;
    let own = json!({ "name": "hello_world", "language": "en_US" });
    let first = json!({ "idempotency_key": key(1), "text": "It is ready.", "template": own });
    let (status, row) = send(&stage, &conversation, &first).await;
    assert_eq!(status, 202, "{row}");
    assert_eq!(stage.replies(&ana, 2).await[1], "It is ready.", "the window is open");
    let entry = stage.get("/admin/audit?action=message_sent").await["items"][0].clone();
    assert_eq!((&entry["subject"], &entry["after"]["body"]["text"]), (&row["id"], &json!("It is ready.")), "{entry}");
    let (status, again) = send(&stage, &conversation, &first).await;
    assert_eq!((status, &again["id"]), (200, &row["id"]));
    let (status, problem) = send(&stage, &conversation, &json!({ "idempotency_key": key(1), "text": "Not it." })).await;
    assert_eq!((status, &problem["code"]), (409, &json!("idempotency_key_used")), "{problem}");

    stage.advance(2 * DAY_SECONDS);
    let second = json!({ "idempotency_key": key(2), "text": "Are you coming?", "template": own });
    let (one, two) = tokio::join!(send(&stage, &conversation, &second), send(&stage, &conversation, &second));
    assert_eq!(one.1["id"], two.1["id"], "at once, and still one message");
    assert_eq!(one.0 + two.0, 402, "one of them made it");
    assert!(stage.replies(&ana, 3).await[2].contains("your number can send templates"));
    let third = json!({ "idempotency_key": key(3), "template": reminder(&["Ana", "dentist at 9"]) });
    assert_eq!(send(&stage, &conversation, &third).await.0, 202);
    assert_eq!(stage.replies(&ana, 4).await[3], "Hi Ana, this is your reminder: dentist at 9. Have a good day.");
    stage.settle().await;
    assert_eq!(send(&stage, &conversation, &second).await.0, 200, "a template stands where the words were");

    for (body, field) in [
        (json!({ "idempotency_key": key(9) }), "text"),
        (json!({ "idempotency_key": key(9), "text": " " }), "text"),
        (json!({ "idempotency_key": key(9), "text": "x".repeat(4_097) }), "text"),
        (json!({ "idempotency_key": key(9), "template": reminder(&["Ana"]) }), "template.body[1]"),
        (
            json!({ "idempotency_key": key(9), "text": "hi", "template": { "name": "no", "language": "en" } }),
            "template.name",
        ),
    ] {
        let (status, problem) = send(&stage, &conversation, &body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    let nobody = "/admin/conversations/00000000-0000-0000-0000-000000000001";
    assert_eq!(send(&stage, nobody, &json!({ "idempotency_key": key(9), "text": "hi" })).await.0, 404);
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 4);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_foreseen_names_window_way_cost_and_obstacles() {
    let stage = stage(&[]).await;
    let (_, conversation) = acquaintance(&stage, "Ana", PhoneKind::Phone).await;
    let open = plan(&stage, &conversation, json!({})).await;
    assert_eq!((&open["way"], &open["window"]["likely_open"]), (&json!("free_form"), &json!(true)), "{open:#}");
    assert!(open["sentence"].as_str().unwrap().starts_with("The window is likely open until"), "{open}");
    let cost = &open["cost"];
    assert_eq!((&cost["category"], &cost["currency"]), (&json!("service"), &json!("USD")), "{cost}");
    assert_eq!((&cost["micros"], &cost["basis"]), (&json!(0), &json!("free_allowance")), "{cost}");
    assert!(cost["billed_micros"].as_i64().unwrap() > 0, "{cost}");

    let tomorrow = (stage.now() + jiff::SignedDuration::from_secs(DAY_SECONDS + 60)).to_string();
    let closed = plan(&stage, &conversation, json!({ "at": tomorrow, "text": "News!" })).await;
    assert_eq!((&closed["way"], &closed["cost"], &closed["would_go"]), (&json!("held"), &Value::Null, &json!(false)));
    let sentence = closed["sentence"].as_str().unwrap();
    assert!(sentence.contains("No template stands in") && sentence.contains("becomes a dead letter"), "{sentence}");
    let own = json!({ "at": tomorrow, "text": "News!", "template": reminder(&["Ana"]) });
    let unfit = plan(&stage, &conversation, own).await;
    assert_eq!(
        (&unfit["way"], &unfit["faults"][0]["field"]),
        (&json!("held"), &json!("template.body[1]")),
        "{unfit:#}"
    );
    let own = json!({ "at": tomorrow, "text": "News!", "template": reminder(&["Ana", "news"]) });
    let fits = plan(&stage, &conversation, own).await;
    assert_eq!((&fits["way"], &fits["template"]["wish"]), (&json!("template"), &json!("own")), "{fits:#}");
    assert_eq!((&fits["cost"]["basis"], &fits["faults"]), (&json!("billed"), &json!([])), "{fits:#}");
    assert_eq!(fits["cost"]["micros"], fits["cost"]["billed_micros"]);
    let refused = plan(&stage, &conversation, json!({ "template": { "name": "nope", "language": "en_US" } })).await;
    assert_eq!((&refused["way"], &refused["faults"][0]["field"]), (&json!("refused"), &json!("template.name")));

    // What is paused, and what the person said.
    let pause = json!({ "scope": "template", "subject": "reminder", "reason": "Not this week." });
    stage.post("/admin/pauses", pause).await;
    let paused = plan(&stage, &conversation, json!({ "template": reminder(&["Ana", "news"]) })).await;
    assert_eq!((&paused["way"], &paused["would_go"]), (&json!("template"), &json!(false)), "{paused:#}");
    assert_eq!(paused["obstacles"][0]["reason"], "paused");
    assert!(paused["obstacles"][0]["sentence"].as_str().unwrap().contains("Not this week."), "{paused:#}");
    assert_eq!(plan(&stage, &conversation, json!({})).await["would_go"], true, "plain words are not concerned");
    let ana = stage.get(&conversation).await["contact_id"].as_str().unwrap().to_owned();
    stage.post(&format!("/admin/contacts/{ana}/block"), json!({ "reason": "so" })).await;
    let blocked = plan(&stage, &conversation, json!({})).await;
    assert_eq!((&blocked["obstacles"][0]["reason"], &blocked["would_go"]), (&json!("blocked"), &json!(false)));
    for (at, message) in [
        ((stage.now() + jiff::SignedDuration::from_hours(24 * 400)).to_string(), "366 days ahead"),
        ((stage.now() - jiff::SignedDuration::from_secs(61)).to_string(), "is over; leave it out to plan for now"),
        ("tomorrow".to_owned(), "it is no instant; write it as"),
    ] {
        let (status, problem) = stage.refused(&format!("{conversation}/plan"), json!({ "at": at })).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("at")), "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(message), "{problem}");
    }
    // A caller whose clock is a little slow.
    plan(&stage, &conversation, json!({ "at": (stage.now() - jiff::SignedDuration::from_secs(59)).to_string() })).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_installations_template_is_the_last_resort_and_a_dry_run_says_so() {
    let stage = stage(&[("out_of_window_template", "spring_offer"), ("outbound_reply_enabled", "false")]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.settle().await;
    let id = stage.get("/admin/conversations").await["items"][0]["id"].as_str().unwrap().to_owned();
    let tomorrow = (stage.now() + jiff::SignedDuration::from_secs(DAY_SECONDS + 60)).to_string();
    let plan = plan(&stage, &format!("/admin/conversations/{id}"), json!({ "at": tomorrow, "text": "dear Ana" })).await;
    assert_eq!((&plan["way"], &plan["template"]["wish"]), (&json!("template"), &json!("installation")), "{plan:#}");
    assert!(plan["template"]["text"].as_str().unwrap().starts_with("Good news dear Ana:"), "{plan:#}");
    assert_eq!((&plan["cost"]["category"], &plan["cost"]["basis"]), (&json!("marketing"), &json!("billed")));
    assert_eq!((&plan["obstacles"][0]["reason"], &plan["would_go"]), (&json!("outbound_off"), &json!(false)));
    stage.end().await;
}

/// Somebody writes, and nobody can say whether the answer went out. It did not.
async fn unknown(stage: &Stage, name: &str) -> String {
    let phone = stage.phone(name, PhoneKind::Phone);
    let kind = FaultKind::Error { code: 131_000 };
    stage.simulator.add_fault(FaultSpec { on: FaultOn::Send, kind, times: 1, phone: None }).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    stage.until("its fate is unknown", async || stage.outbound("unknown").await.len() == 1).await;
    phone
}

/// Statuses of later sends arrive: the line is open.
async fn open_line(stage: &Stage, name: &str) {
    stage.advance(5);
    let phone = stage.phone(name, PhoneKind::Phone);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_parks_its_unknown_sends_leaves_them_to_a_person_who_is_told() {
    let stage = Stage::open().await;
    set_agent(&stage, json!({ "unknown_policy": "park", "unknown_deadline_seconds": 30 })).await;
    let ana = unknown(&stage, "Ana").await;
    open_line(&stage, "Bo").await;
    assert!(open_alerts(&stage, "unknown_sends").await.is_empty(), "a status may still settle it");
    stage.advance(60);
    stage.in_time("somebody is told", async || !open_alerts(&stage, "unknown_sends").await.is_empty()).await;
    let send = stage.outbound("unknown").await[0].clone();
    let evidence = &send["unknown"];
    assert_eq!((&evidence["deadline_passed"], &evidence["line"]), (&json!(true), &json!("open")), "{evidence}");
    assert!(evidence["next"].as_str().unwrap().starts_with("It is not to be sent again by itself"), "{evidence}");
    let alert = open_alerts(&stage, "unknown_sends").await[0].clone();
    assert_eq!((&alert["evidence"]["parked"], &alert["evidence"]["first"]), (&json!(1), &send["id"]), "{alert}");
    // However often it is looked at, it is told once and not sent.
    for _ in 0..3 {
        stage.advance(600);
        stage.settle().await;
    }
    assert!(stage.heard(&ana).is_empty());
    assert_eq!(open_alerts(&stage, "unknown_sends").await[0]["times"], 1);
    let path = format!("/admin/outbound/{}/settle", send["id"].as_str().unwrap());
    stage.post(&path, json!({ "fate": "not_sent_send_again", "reason": "she has nothing" })).await;
    stage.replies(&ana, 1).await;
    stage
        .until("it is over", async || {
            stage.advance(2);
            open_alerts(&stage, "unknown_sends").await.is_empty()
        })
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_own_time_counts_for_its_unknown_sends() {
    let stage = Stage::open().await;
    set_agent(&stage, json!({ "unknown_deadline_seconds": 900 })).await;
    let ana = unknown(&stage, "Ana").await;
    open_line(&stage, "Bo").await;
    // Past the installation's two minutes.
    stage.advance(600);
    stage.settle().await;
    stage.advance(2);
    stage.settle().await;
    let evidence = stage.outbound("unknown").await[0]["unknown"].clone();
    assert_eq!(evidence["deadline_passed"], false, "{evidence}");
    assert!(evidence["others_wait_until"].as_str() < evidence["deadline_at"].as_str(), "{evidence}");
    stage.advance(300);
    stage.in_time("it is sent once more", async || stage.heard(&ana).len() == 1).await;
    stage.settle().await;
    assert!(open_alerts(&stage, "unknown_sends").await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_got_lost_is_not_said_again_after_a_person_has_taken_over() {
    let stage = Stage::open().await;
    let ana = unknown(&stage, "Ana").await;
    let send = stage.outbound("unknown").await[0].clone();
    let mode = format!("/admin/conversations/{}/mode", send["conversation_id"].as_str().unwrap());
    stage.post(&mode, json!({ "mode": "human" })).await;
    assert_eq!(
        stage.outbound("unknown").await.len(),
        1,
        "it may have gone out: only its status or its time settles it"
    );
    open_line(&stage, "Bo").await;
    stage.in_time("it is cancelled", async || stage.outbound("unknown").await.is_empty()).await;
    let cancelled = stage.outbound("cancelled").await;
    assert_eq!((&cancelled[0]["id"], &cancelled[0]["error"]["reason"]), (&send["id"], &json!("handed_over")));
    stage.settle().await;
    assert!(stage.heard(&ana).is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_sends_on_a_silent_line_are_told_and_the_word_is_taken_back() {
    let stage = Stage::open().await;
    let ana = unknown(&stage, "Ana").await;
    stage.advance(600);
    stage.in_time("somebody is told", async || !open_alerts(&stage, "unknown_sends").await.is_empty()).await;
    assert_eq!(open_alerts(&stage, "unknown_sends").await[0]["evidence"]["silent_line"], 1);
    open_line(&stage, "Bo").await;
    stage.in_time("it is sent once more", async || stage.heard(&ana).len() == 1).await;
    stage.in_time("it is over", async || open_alerts(&stage, "unknown_sends").await.is_empty()).await;
    stage.end().await;
}

// --- The same on both databases ---

fn actor() -> Actor {
    Actor::Admin { request_id: Uuid::nil(), name: None }
}

async fn a_persons_message_is_kept_once(world: &World) {
    let conversation = world.say("o1", "5511999990001", "hello").await;
    let text = |text: &str| MessageBody::Text { text: text.to_owned() };
    let prospect = async |body| match world.store.prospect(conversation, body, None).await.unwrap() {
        Prospect::Ready(candidate) => *candidate,
        other => panic!("{other:?}"),
    };
    let candidate = prospect(text("hi")).await;
    assert_eq!(candidate.to.value, "5511999990001");
    let key = Uuid::from_u128(7);
    let OperatorSend::Queued(id) = world.store.send_by_operator(&candidate, key, 3_600, &actor()).await.unwrap() else {
        panic!("it is new");
    };
    assert_eq!(world.store.send_by_operator(&candidate, key, 3_600, &actor()).await.unwrap(), OperatorSend::Known(id));
    let other = prospect(text("ho")).await;
    assert_eq!(world.store.send_by_operator(&other, key, 3_600, &actor()).await.unwrap(), OperatorSend::KeyUsed);
    let due = world.due(conversation).await;
    assert_eq!((due.id, due.body, due.agent_id), (id, text("hi"), Some(AgentId::default_agent())));
    let entries = world.store.audit_log(Some(&id.to_string()), None, None, 10).await.unwrap();
    assert_eq!(entries.len(), 1, "one message, one entry");
}

async fn an_agent_keeps_what_it_says_about_sends(world: &World) {
    let id = AgentId("shop".to_owned());
    let settings = AgentSettings {
        unknown_deadline_seconds: Some(30),
        unknown_policy: Some(UnknownPolicy::Park),
        fallback_template: Some(serde_json::from_value(reminder(&["Ana", "{text}"])).unwrap()),
        ..AgentSettings::default()
    };
    let made = world.store.create_agent(&id, &settings, &actor()).await.unwrap().unwrap();
    assert_eq!(made.settings, settings);
    assert_eq!(world.store.fallback_template(&id).await.unwrap(), settings.fallback_template);
    let plain = AgentSettings::default();
    assert_eq!(world.store.update_agent(&id, &plain, &actor()).await.unwrap().unwrap().settings, plain);
}

async fn story(location: Location) {
    let world = world(location).await;
    a_persons_message_is_kept_once(&world).await;
    an_agent_keeps_what_it_says_about_sends(&world).await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    story(Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let server = Postgres::start().await;
    story(server.location()).await;
}
