//! What people want to hear from us: said in any language, by a button, in WhatsApp itself or to an operator; confirmed once,
//! honoured at the moment of sending, undone by START.

mod stored;

use micai::app::{App, Roles};
use micai::clock::SystemClock;
use micai::config::Config;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, FaultSpec, InboundKind, InboundSpec, PhoneKind, Signing, SimulatorConfig};

use crate::harness::{ADMIN_KEY, Stage, settings, variable};

/// STOP, a word of its confirmation, START, in ten scripts.
const SCRIPTS: [(&str, &str, &str); 12] = [
    ("Sair!", "VOLTAR", "voltar"),
    ("СТОП", "СТАРТ", "старт"),
    ("إيقاف", "ابدأ", "ابدأ"),
    ("स्टॉप", "शुरू", "शुरू"),
    ("থামুন।", "শুরু", "শুরু"),
    ("退订", "开始", "开始"),
    ("配信停止", "再開", "再開"),
    ("수신거부", "시작", "시작"),
    ("หยุด", "เริ่ม", "เริ่ม"),
    ("நிறுத்து", "தொடங்கு", "தொடங்கு"),
    ("Στοπ.", "ΕΝΑΡΞΗ", "έναρξη"),
    ("הסר", "התחל", "התחל"),
];

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_understood_in_every_script_and_confirmed_once_in_its_language() {
    let stage = Stage::open().await;
    let phones: Vec<_> = SCRIPTS.iter().map(|(stop, ..)| stage.phone(stop, PhoneKind::PhoneAndBsuid)).collect();
    for texts in [0, 1, 2, 3].map(|round| SCRIPTS.map(|(stop, ..)| [stop, "hello", stop, "STOP"][round])) {
        for (phone, text) in phones.iter().zip(texts) {
            stage.simulator.say(phone, text).unwrap();
        }
        stage.settle().await;
    }
    for (phone, (_, way_back, start)) in phones.iter().zip(SCRIPTS) {
        let heard = stage.heard(phone);
        assert_eq!(heard.len(), 1, "confirmed once, then silence: {heard:?}");
        assert!(heard[0].contains(way_back), "it says how to come back, in their language: {heard:?}");
        stage.simulator.say(phone, start).unwrap();
    }
    stage.settle().await;
    for phone in &phones {
        stage.simulator.say(phone, "hello").unwrap();
    }
    stage.settle().await;
    for phone in &phones {
        let heard = stage.heard(phone);
        assert_eq!(heard.len(), 3, "welcomed and answered again: {heard:?}");
        assert!(heard[2].starts_with("I heard: hello"), "{heard:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_somebody_says_stop_is_cancelled_with_its_reason() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    let busy = FaultSpec { on: FaultOn::Send, kind: FaultKind::Error { code: 130429 }, times: 1, phone: None };
    stage.simulator.add_fault(busy).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    stage
        .until("it waits for its next attempt", async || {
            stage.simulator.graph_requests().len() == 1 && stage.outbound("queued").await.len() == 1
        })
        .await;
    stage.simulator.say(&phone, "SAIR").unwrap();
    // The clock stands still: the confirmation need not wait behind it.
    let heard = stage.replies(&phone, 1).await;
    assert!(heard[0].contains("VOLTAR"), "only the confirmation: {heard:?}");
    let cancelled = stage.outbound("cancelled").await;
    assert_eq!(cancelled.len(), 1);
    assert_eq!(cancelled[0]["error"]["reason"], "opted_out");
    stage.end().await;
}

/// The only contact there is.
async fn contact(stage: &Stage) -> Value {
    let list = stage.get("/admin/contacts").await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{list}");
    stage.get(&format!("/admin/contacts/{}", items[0]["id"].as_str().unwrap())).await
}

/// How a contact's history reads, the oldest first.
fn history(contact: &Value) -> Vec<String> {
    let row = |row: &Value| {
        let word = if row["stopped"] == true { "stop" } else { "start" };
        format!("{word} {} by {}", row["category"].as_str().unwrap(), row["source"].as_str().unwrap())
    };
    contact["consents"].as_array().unwrap().iter().rev().map(row).collect()
}

/// A tap on a quick reply of a template.
fn tap(text: &str, payload: &str) -> InboundSpec {
    let button = json!({ "type": "button", "button": { "text": text, "payload": payload } });
    InboundSpec::from(InboundKind::Raw { message: button })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_templates_opt_out_button_stops_marketing_and_nothing_else() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    for _ in 0..2 {
        stage.simulator.post(&phone, tap("Parar promoções", "btn-7")).unwrap();
        stage.settle().await;
    }
    assert_eq!(stage.heard(&phone), ["Você não receberá mais promoções nossas. Se mudar de ideia, escreva VOLTAR."]);
    let stopped = contact(&stage).await;
    assert!(stopped["marketing_stopped_at"].is_string() && stopped["opted_out_at"].is_null(), "{stopped}");
    assert_eq!(stopped["marketing_stopped_by"], "button");
    assert_eq!(stopped["consents"][0]["evidence"]["word"], "parar promoções");
    stage.simulator.say(&phone, "hello").unwrap();
    assert!(stage.replies(&phone, 2).await[1].starts_with("I heard: hello"), "the agent still answers");
    stage.simulator.say(&phone, "voltar").unwrap();
    stage.replies(&phone, 3).await;
    stage.settle().await;
    // What a button carries counts, too, and a reply button like a template's.
    stage.simulator.post(&phone, tap("Chega", "STOP_PROMOTIONS")).unwrap();
    assert!(stage.replies(&phone, 4).await[3].contains("no more promotions"));
    stage.settle().await;
    let reply = json!({ "type": "interactive", "interactive": {
        "type": "button_reply", "button_reply": { "id": "unsubscribe", "title": "Chega" } } });
    stage.simulator.post(&phone, InboundSpec::from(InboundKind::Raw { message: reply })).unwrap();
    assert!(stage.replies(&phone, 5).await[4].contains("not hear from us any more"));
    stage.settle().await;
    let history = history(&contact(&stage).await);
    assert_eq!(
        history,
        ["stop marketing by button", "start marketing by word", "stop marketing by button", "stop all by button"]
    );
    stage.end().await;
}

/// News of what somebody chose in WhatsApp, some seconds ago.
async fn chooses(stage: &Stage, phone: &str, value: &str, seconds_ago: i64) {
    let person = stage.simulator.phone(phone).unwrap();
    let config = SimulatorConfig::default();
    let preference = json!({
        "wa_id": person.phone, "user_id": person.user_id, "category": "marketing_messages", "value": value,
        "detail": "The person chose so", "timestamp": stage.now().as_second() - seconds_ago,
    });
    let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": config.waba_id, "changes": [{
        "field": "user_preferences", "value": {
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550001111", "phone_number_id": config.phone_number_id },
            "contacts": [{ "wa_id": person.phone, "user_id": person.user_id, "profile": { "name": "Ana" } }],
            "user_preferences": [preference],
        } }] }] });
    stage.simulator.send_raw_json(&body, Signing::Valid).unwrap();
    stage.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_choose_in_whatsapp_is_noted_once_and_in_its_order() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    chooses(&stage, &phone, "stop", 100).await;
    chooses(&stage, &phone, "stop", 100).await;
    let stopped = contact(&stage).await;
    assert_eq!(stopped["marketing_stopped_by"], "preference");
    assert_eq!(stopped["consents"][0]["evidence"]["value"], "stop");
    // START cannot undo what stands at WhatsApp: it is a word like any other.
    stage.simulator.say(&phone, "start").unwrap();
    assert!(stage.replies(&phone, 1).await[0].starts_with("I heard: start"));
    chooses(&stage, &phone, "resume", 50).await;
    // The first one again, late.
    chooses(&stage, &phone, "stop", 100).await;
    let resumed = contact(&stage).await;
    assert!(resumed["marketing_stopped_at"].is_null(), "{resumed}");
    chooses(&stage, &phone, "stop", 10).await;
    chooses(&stage, &phone, "signup", 5).await;
    let history = history(&contact(&stage).await);
    assert_eq!(
        history,
        [
            "stop marketing by preference",
            "start marketing by preference",
            "stop marketing by preference",
            "start marketing by preference"
        ]
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatsapps_refusal_of_marketing_is_remembered_whether_it_comes_at_once_or_later() {
    for on in [FaultOn::Send, FaultOn::Webhook] {
        let stage = Stage::open().await;
        let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
        let fault = FaultSpec { on, kind: FaultKind::Error { code: 131050 }, times: 1, phone: None };
        stage.simulator.add_fault(fault).unwrap();
        stage.simulator.say(&phone, "hello").unwrap();
        stage.until("it failed", async || stage.outbound("failed").await.len() == 1).await;
        stage.settle().await;
        let failed = stage.outbound("failed").await;
        let stopped = contact(&stage).await;
        assert_eq!(history(&stopped), ["stop marketing by refusal"], "{on:?}");
        assert_eq!(stopped["consents"][0]["evidence"]["outbound_id"], failed[0]["id"]);
        assert_eq!(stopped["marketing_stopped_by"], "refusal");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_contact_is_heard_by_nobody_and_told_nothing() {
    let stage = Stage::open().await;
    let (phone, other) = (stage.phone("Ana", PhoneKind::PhoneAndBsuid), stage.phone("Bo", PhoneKind::Phone));
    let busy = FaultSpec { on: FaultOn::Send, kind: FaultKind::Error { code: 130429 }, times: 1, phone: None };
    stage.simulator.add_fault(busy).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    stage
        .until("it waits for its next attempt", async || {
            stage.simulator.graph_requests().len() == 1 && stage.outbound("queued").await.len() == 1
        })
        .await;
    let id = contact(&stage).await["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/contacts/{id}/block");
    let blocked = stage.admin(Method::POST, &path, Some(json!({ "reason": "threatens the staff" }))).await;
    assert!(blocked["blocked_at"].is_string(), "{blocked}");
    let again = stage.admin(Method::POST, &path, Some(json!({ "reason": "again" }))).await;
    assert_eq!(again["blocked_reason"], "threatens the staff", "the first reason stays");
    let list = stage.get("/admin/contacts?blocked=true").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    stage.simulator.say(&phone, "are you there?").unwrap();
    stage.simulator.say(&other, "hello").unwrap();
    stage.replies(&other, 1).await;
    stage.advance(10);
    stage.settle().await;
    assert!(stage.heard(&phone).is_empty(), "{:?}", stage.heard(&phone));
    assert_eq!(stage.outbound("cancelled").await[0]["error"]["reason"], "blocked");
    let conversations = stage.get("/admin/conversations").await;
    let items = conversations["items"].as_array().unwrap();
    let hers = items.iter().find(|one| one["contact_id"] == id.as_str()).unwrap()["id"].as_str().unwrap();
    let transcript = stage.get(&format!("/admin/conversations/{hers}/messages")).await;
    let kept = &transcript["items"][0];
    assert_eq!((&kept["text"], &kept["state"]), (&json!("are you there?"), &json!("noted")), "{kept}");
    assert!(kept["turn_id"].is_null(), "recorded, and no turn");

    let free = stage.admin(Method::DELETE, &path, None).await;
    assert!(free["blocked_at"].is_null() && free["blocked_reason"].is_null(), "{free}");
    stage.simulator.say(&phone, "hello again").unwrap();
    let heard = stage.replies(&phone, 1).await;
    assert!(heard[0].starts_with("I heard: hello again"), "and nothing of before: {heard:?}");
    let audit = stage.get(&format!("/admin/audit?subject={id}")).await;
    let actions: Vec<_> = audit["items"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect();
    assert_eq!(actions, ["contact_unblocked", "contact_blocked"], "a block that stood already changes nothing");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_notes_what_somebody_said_elsewhere() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
    let id = contact(&stage).await["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/contacts/{id}/consent");
    let wish = |category: &str, stopped: bool| {
        Some(json!({ "category": category, "stopped": stopped, "reason": "said so on the telephone" }))
    };
    for _ in 0..2 {
        stage.admin(Method::POST, &path, wish("all", true)).await;
    }
    stage.admin(Method::POST, &path, wish("marketing", true)).await;
    stage.simulator.say(&phone, "hello?").unwrap();
    stage.settle().await;
    assert_eq!(stage.heard(&phone).len(), 1, "not answered, and nothing confirmed");
    stage.simulator.say(&phone, "START").unwrap();
    stage.replies(&phone, 2).await;
    stage.settle().await;
    let after = contact(&stage).await;
    assert_eq!(
        history(&after),
        ["stop all by operator", "stop marketing by operator", "start all by word", "start marketing by word"]
    );
    let audit = stage.get("/admin/audit?action=consent_set").await;
    let entries = audit["items"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "what changed nothing is not told: {audit}");
    assert_eq!(entries[1]["before"], json!({ "category": "all", "stopped": false }));
    assert_eq!(entries[1]["after"]["reason"], "said so on the telephone");

    for (method, path, body, status, code) in [
        (Method::GET, "/admin/contacts/00000000-0000-0000-0000-000000000001", json!({}), 404, "contact_not_found"),
        (Method::POST, &path, json!({ "category": "some", "stopped": true, "reason": "x" }), 422, "body_invalid"),
        (Method::POST, &path, json!({ "category": "all", "stopped": true, "reason": " " }), 422, "reason_invalid"),
        (
            Method::POST,
            &path,
            json!({ "category": "all", "stopped": true, "reason": "x".repeat(501) }),
            422,
            "reason_invalid",
        ),
        (Method::POST, &path, json!({ "category": "all", "stopped": true }), 422, "body_invalid"),
        (
            Method::POST,
            "/admin/contacts/00000000-0000-0000-0000-000000000001/block",
            json!({ "reason": "x" }),
            404,
            "contact_not_found",
        ),
    ] {
        let request = stage.http.request(method.clone(), stage.url(path)).header("x-admin-key", ADMIN_KEY);
        let answer = if method == Method::GET { request } else { request.json(&body) }.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::from_u16(status).unwrap(), "{method} {path} {body}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_can_be_replaced_and_a_wrong_file_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("words.toml");
    let words = "[[languages]]\ncode = \"eo\"\nname = \"Esperanto\"\nstop = [\"ĉesu\"]\nstart = [\"rekomencu\"]\n\
                 stopped = \"Skribu REKOMENCU.\"\nstarted = \"Skribu ĈESU.\"\n";
    std::fs::write(&file, words).unwrap();
    let stage = Stage::with(&[("consent_words_file", file.to_str().unwrap())]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.say(&phone, "stop").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
    stage.simulator.say(&phone, "ĈESU!").unwrap();
    let heard = stage.replies(&phone, 2).await;
    assert!(heard[0].starts_with("I heard: stop") && heard[1] == "Skribu REKOMENCU.", "{heard:?}");
    stage.end().await;

    let missing = folder.path().join("missing.toml");
    std::fs::write(&file, words.replace("[\"rekomencu\"]", "[\"ĉesu\"]")).unwrap();
    for (path, expected) in [(&file, "means something else in another list"), (&missing, "cannot be read")] {
        let path = path.to_str().unwrap();
        let settings = settings(&folder.path().join("micai.db"), "http://127.0.0.1:1", &[("consent_words_file", path)]);
        let environment = settings.into_iter().map(|(key, value)| (variable(&key), value));
        let config = Config::load(environment, None).unwrap_or_else(|errors| panic!("{errors}"));
        let clock = std::sync::Arc::new(SystemClock);
        let Err(error) = App::start(&config, Roles::SERVE, clock, StdRng::seed_from_u64(1)).await else {
            panic!("it starts with {path}");
        };
        let error = format!("{error:#}");
        assert!(error.contains("MICAI_CONSENT_WORDS_FILE") && error.contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_does_not_go_before_a_stop_is_heard() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    let refused = FaultSpec { on: FaultOn::Send, kind: FaultKind::Error { code: 130_429 }, times: 100, phone: None };
    stage.simulator.add_fault(refused).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    stage.until("it was tried", async || !stage.simulator.graph_requests().is_empty()).await;
    stage.until("it waits for its next attempt", async || stage.outbound("queued").await.len() == 1).await;
    stage.simulator.clear_faults();
    stage.advance(25 * 3_600);
    stage.until("it is held", async || stage.outbound("held").await.len() == 1).await;
    stage.simulator.say(&phone, "stop").unwrap();
    let heard = stage.replies(&phone, 1).await;
    assert!(heard[0].contains("START"), "only the confirmation: {heard:?}");
    stage.settle().await;
    assert_eq!(stage.outbound("cancelled").await.len(), 1, "what was held is over");
    stage.end().await;
}
