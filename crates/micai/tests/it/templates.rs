//! Templates: fetched, followed, made, previewed, and on their way to a phone.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use micai::clock::Clock as _;
use micai::domain::audit::Actor;
use micai::domain::inbound::{InboundState, WebhookFacts};
use micai::domain::outbound::{MessageBody, NewOutbound};
use micai::domain::template::news::{TemplateChange, TemplateNews, TemplateRecord};
use micai::domain::template::{
    ParameterFormat, Template, TemplateCategory, TemplateParts, TemplateQuality, TemplateStatus, TemplateUse, TextValue,
};
use micai::domain::turn::{FinishOutcome, FinishedTurn, TurnTrace};
use micai::ids::{ConversationId, Ids};
use micai::queue::Topic;
use micai::store::{Location, Store, SyncChanges, TemplateFilter};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, FaultSpec, PhoneKind, SimulatorConfig};

use crate::harness::{ACCESS_TOKEN, ADMIN_KEY, PATIENCE, Stage};
use crate::postgres::Postgres;
use crate::store::{World, message, world};

/// The simulator's own templates.
const SEEDED: usize = 5;
/// More than the platform waits before webhooks bring about the next sync.
const BEHIND_THE_PAUSE_SECONDS: i64 = 61;

/// A platform that knows its account, with the first list fetched.
async fn stage() -> Stage {
    let stage = Stage::with(&[("whatsapp_business_account_id", &SimulatorConfig::default().waba_id)]).await;
    stage.until("the first list is there", async || stage.app().templates().snapshot().len() == SEEDED).await;
    stage
}

/// An admin call that may be refused.
async fn call(stage: &Stage, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = stage.http.request(method, stage.url(path)).header("x-admin-key", ADMIN_KEY).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn sync(stage: &Stage) -> Value {
    stage.admin(Method::POST, "/admin/templates/sync", None).await
}

/// A template as somebody makes it in WhatsApp's own tools.
async fn make_at_whatsapp(stage: &Stage, name: &str, language: &str) {
    let waba_id = SimulatorConfig::default().waba_id;
    let url = format!("{}/v25.0/{waba_id}/message_templates", stage.simulator.url());
    let body = json!({
        "name": name, "language": language, "category": "UTILITY",
        "components": [{ "type": "BODY", "text": "Hello {{1}}, all is well with your order.",
            "example": { "body_text": [["Ana"]] } }],
    });
    let answer = stage.http.post(url).bearer_auth(ACCESS_TOKEN).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

async fn language(stage: &Stage, name: &str, language: &str) -> Value {
    let all = stage.get(&format!("/admin/templates/{name}")).await;
    let found = all["languages"].as_array().unwrap().iter().find(|one| one["language"] == language);
    found.unwrap_or_else(|| panic!("{language} in {all}")).clone()
}

async fn open_alerts(stage: &Stage, kind: &str) -> Vec<Value> {
    let all = stage.get("/admin/alerts").await;
    all["items"].as_array().unwrap().iter().filter(|alert| alert["kind"] == kind).cloned().collect()
}

/// Until the process has looked for changes of other processes and knows this one.
async fn until_status(stage: &Stage, name: &str, language: &str, status: TemplateStatus) {
    let what = format!("{name} in {language} is {status:?} here");
    stage
        .until(&what, async || {
            stage.advance(2);
            stage.app().templates().find(name, language).is_some_and(|template| template.status == status)
        })
        .await;
}

/// Until the list that webhooks asked for has been fetched. From then on, as long as the clock stands still, no list is fetched
/// but those that the story asks for itself: one under way would refuse them, or be first to find what is new.
async fn until_no_list_is_wanted(stage: &Stage) {
    tokio::time::timeout(PATIENCE, stage.simulator.wait_idle()).await.expect("every webhook is acknowledged");
    let waba_id = SimulatorConfig::default().waba_id;
    stage
        .until("the list that webhooks asked for is fetched", async || {
            stage.advance(2);
            let state = stage.app().store().template_sync_state(&waba_id).await.unwrap();
            !state.is_wanted && state.failed_at.is_none()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_several_pages_and_languages_is_fetched_and_a_failure_leaves_the_old_one() {
    let stage = stage().await;
    for number in 0..60 {
        for language in ["en_US", "pt_BR"] {
            make_at_whatsapp(&stage, &format!("notice_{number}"), language).await;
        }
    }
    stage.settle().await;
    assert_eq!(sync(&stage).await, json!({ "new": 120, "changed": 0, "gone": 0 }));
    assert_eq!(sync(&stage).await, json!({ "new": 0, "changed": 0, "gone": 0 }), "nothing is written twice");
    let pages = stage.simulator.graph_requests();
    assert!(pages.iter().any(|one| one.method == "GET" && one.path.contains("after=")), "there was a second page");

    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = stage.get(&format!("/admin/templates?limit=50{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().map(|one| (one["name"].to_string(), one["language"].to_string())));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names.len(), SEEDED + 120);
    assert!(names.is_sorted_by(|one, next| one < next), "in order, none twice");
    let both = stage.get("/admin/templates/notice_7").await;
    assert_eq!(both["languages"].as_array().unwrap().len(), 2);
    let some = stage.get("/admin/templates?status=approved&name=e_5&limit=100").await;
    assert_eq!(some["items"].as_array().unwrap().len(), 22, "notice_5 and notice_50 to notice_59, twice each");
    assert_eq!(stage.get("/admin/templates?status=paused").await["items"], json!([]));

    let outage = FaultKind::Status { code: 503, after_accepting: false };
    let fault = FaultSpec { on: FaultOn::Templates, kind: outage, times: 1, phone: None };
    stage.simulator.add_fault(fault.clone()).unwrap();
    let (status, problem) = call(&stage, Method::POST, "/admin/templates/sync", &json!({})).await;
    assert_eq!((status, &problem["code"]), (503, &json!("whatsapp_unavailable")), "{problem}");
    assert_eq!(stage.app().templates().snapshot().len(), SEEDED + 120, "the old list stays");
    assert_eq!(open_alerts(&stage, "template_sync_failed").await.len(), 1);
    stage.simulator.add_fault(FaultSpec { kind: FaultKind::Error { code: 190 }, ..fault }).unwrap();
    let (status, problem) = call(&stage, Method::POST, "/admin/templates/sync", &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("whatsapp_refused")), "{problem}");
    sync(&stage).await;
    assert!(open_alerts(&stage, "template_sync_failed").await.is_empty(), "over");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_template_is_checked_handed_in_approved_by_webhook_and_then_usable() {
    let stage = stage().await;
    let new = json!({
        "name": "parcel", "language": "pt_BR", "category": "utility", "parameter_format": "named",
        "components": [{ "type": "BODY", "text": "Olá {{who}}, seu pacote chegou hoje.",
            "example": { "body_text_named_params": [{ "param_name": "who", "example": "Ana" }] } }],
    });
    let mut bad = new.clone();
    bad["name"] = json!("Parcel");
    bad["components"][0]["text"] = json!("{{who}} chegou.");
    let (status, problem) = call(&stage, Method::POST, "/admin/templates", &bad).await;
    assert_eq!((status, &problem["code"]), (422, &json!("template_invalid")));
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["name", "components[0].text"]);
    assert!(stage.simulator.graph_requests().iter().all(|one| one.method != "POST"), "WhatsApp was not asked");

    let (status, made) = call(&stage, Method::POST, "/admin/templates", &new).await;
    assert_eq!((status, &made["status"], &made["category"]), (201, &json!("pending"), &json!("utility")), "{made}");
    assert!(made["note"].as_str().unwrap().starts_with("PENDING"), "{made}");
    let (status, problem) = call(&stage, Method::POST, "/admin/templates", &new).await;
    assert_eq!((status, &problem["code"]), (409, &json!("template_exists")));
    until_status(&stage, "parcel", "pt_BR", TemplateStatus::Approved).await;
    let log = stage.get("/admin/audit?action=template_created").await;
    assert_eq!(
        (&log["items"][0]["subject"], &log["items"][0]["after"]["status"]),
        (&json!("parcel"), &json!("pending"))
    );
    let shown = language(&stage, "parcel", "pt_BR").await;
    assert_eq!((&shown["may_be_sent"], &shown["provider_template_id"]), (&json!(true), &made["provider_template_id"]));

    let other = json!({ "name": "offer", "language": "en_US", "category": "utility",
        "components": [{ "type": "BODY", "text": "Hello there." }] });
    let refusal = FaultKind::Error { code: 100 };
    until_no_list_is_wanted(&stage).await;
    stage.simulator.add_fault(FaultSpec { on: FaultOn::Templates, kind: refusal, times: 1, phone: None }).unwrap();
    let (status, problem) = call(&stage, Method::POST, "/admin/templates", &other).await;
    assert_eq!((status, &problem["code"]), (422, &json!("template_refused")), "{problem}");
    // Made, and the answer lost: it is not claimed that nothing happened.
    let lost = FaultSpec { on: FaultOn::Templates, kind: FaultKind::DropAnswer, times: 1, phone: None };
    stage.simulator.add_fault(lost).unwrap();
    let (status, problem) = call(&stage, Method::POST, "/admin/templates", &other).await;
    assert_eq!((status, &problem["code"]), (503, &json!("whatsapp_answer_lost")), "{problem}");
    assert_eq!(sync(&stage).await["new"], 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_it_would_read_and_everything_that_does_not_fit_and_sends_nothing() {
    let stage = stage().await;
    let preview = async |name: &str, body: Value| {
        stage.admin(Method::POST, &format!("/admin/templates/{name}/preview"), Some(body)).await
    };
    let good = json!({
        "language": "pt_BR",
        "body": [{ "name": "order", "text": "77" }, { "name": "first_name", "text": "Ana" }],
        "buttons": [{ "type": "quick_reply", "index": 1, "payload": "order:77:no" }],
    });
    let shown = preview("order_ready", good).await;
    assert_eq!((&shown["fits"], &shown["may_be_sent"]), (&json!(true), &json!(true)), "{shown}");
    assert_eq!(shown["text"], "Olá Ana, seu pedido 77 está pronto para retirada.");
    assert_eq!(shown["rendered"]["buttons"][1], json!({ "text": "No", "target": "order:77:no" }));
    let request = &shown["request"];
    let number = SimulatorConfig::default().phone_number_id;
    assert_eq!(request["path"], format!("/v25.0/{number}/messages"));
    assert_eq!(request["body"]["template"]["language"], json!({ "code": "pt_BR" }));
    assert_eq!(request["body"]["template"]["components"][0]["parameters"][0]["parameter_name"], "order");
    assert!(request["body"].get("to").is_none() && request["body"].get("recipient").is_none(), "{request}");

    for (name, body, field, words) in [
        ("reminder", json!({ "body": [{ "text": "Ana" }] }), "body[1]", "Parameter 2 of the body is missing"),
        ("reminder", json!({ "body": [{ "text": "a" }, { "text": "b" }, { "text": "c" }] }), "body[2]", "3 are given"),
        ("reminder", json!({ "body": [{ "text": "a" }, { "text": " " }] }), "body[1].text", "is empty"),
        ("reminder", json!({ "body": [{ "text": "a" }, { "text": "b\nc" }] }), "body[1].text", "line break"),
        ("reminder", json!({ "body": [{ "text": "a" }, { "text": "x".repeat(1_020) }] }), "body", "at most 1024"),
        ("reminder", json!({ "body": [{ "text": "a" }, { "name": "b", "text": "c" }] }), "body[1].name", "numbers its"),
        ("hello_world", json!({ "header": { "type": "image", "media": { "id": "1" } } }), "header", "no variable"),
        ("hello_world", json!({ "buttons": [{ "type": "flow", "index": 0 }] }), "buttons[0]", "There is no button 0"),
        ("sign_in_code", json!({ "body": [{ "text": "123456" }] }), "buttons", "needs the code"),
    ] {
        let mut body = body;
        body["language"] = json!("en_US");
        let shown = preview(name, body.clone()).await;
        assert_eq!(shown["fits"], false, "{body}");
        let faults = shown["faults"].as_array().unwrap();
        assert_eq!(faults.len(), 1, "{faults:?}");
        let fault = (faults[0]["field"].as_str().unwrap(), faults[0]["message"].as_str().unwrap());
        assert!(fault.0 == field && fault.1.contains(words), "{body}: {fault:?}");
        // What the check lets pass or not, WhatsApp's own rules must say, too.
        assert!(shown["request"].is_object());
    }
    let path = "/admin/templates/reminder/preview";
    let (status, problem) = call(&stage, Method::POST, path, &json!({ "language": "fr" })).await;
    assert_eq!((status, &problem["code"]), (404, &json!("template_language_not_found")));
    let (status, problem) = call(&stage, Method::GET, "/admin/templates/nope", &json!(null)).await;
    assert_eq!((status, &problem["code"]), (404, &json!("template_not_found")));
    let sent = stage.simulator.graph_requests().into_iter().filter(|one| one.path.contains("/messages")).count();
    assert_eq!(sent, 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_that_costs_more_raises_an_alert_with_what_changed() {
    let stage = stage().await;
    stage.simulator.set_template_category("reminder", "MARKETING", true).unwrap();
    stage.settle().await;
    let shown = language(&stage, "reminder", "en_US").await;
    assert_eq!((&shown["category"], &shown["announced_category"]), (&json!("utility"), &json!("marketing")));
    let alerts = open_alerts(&stage, "template_category_changed").await;
    assert_eq!((alerts.len(), &alerts[0]["subject"]), (1, &json!("reminder/en_US")));
    assert!(alerts[0]["sentence"].as_str().unwrap().contains("will move"), "{alerts:?}");

    stage.simulator.set_template_category("reminder", "MARKETING", false).unwrap();
    stage.settle().await;
    let shown = language(&stage, "reminder", "en_US").await;
    assert_eq!((&shown["category"], &shown["announced_category"]), (&json!("marketing"), &Value::Null));
    let alerts = open_alerts(&stage, "template_category_changed").await;
    assert_eq!((alerts.len(), &alerts[0]["times"]), (1, &json!(2)));
    assert_eq!(alerts[0]["evidence"]["changes"], json!({ "category": { "before": "utility", "after": "marketing" } }));
    // A cheaper one is good news; a worse quality is not.
    stage.simulator.set_template_category("spring_offer", "UTILITY", false).unwrap();
    stage.simulator.set_template_quality("spring_offer", "RED").unwrap();
    stage.settle().await;
    assert_eq!(open_alerts(&stage, "template_category_changed").await.len(), 1);
    assert_eq!(open_alerts(&stage, "template_quality_changed").await.len(), 1);
    assert_eq!(language(&stage, "spring_offer", "en_US").await["quality"], "red");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_whatsapp_pauses_rewrites_or_deletes_is_known_here_soon() {
    let stage = stage().await;
    stage.simulator.set_template_status("reminder", "PAUSED", None).unwrap();
    stage.settle().await;
    until_status(&stage, "reminder", "en_US", TemplateStatus::Paused).await;
    assert_eq!(open_alerts(&stage, "template_paused").await.len(), 1);
    stage.simulator.set_template_status("reminder", "APPROVED", None).unwrap();
    stage.settle().await;
    until_status(&stage, "reminder", "en_US", TemplateStatus::Approved).await;
    assert!(open_alerts(&stage, "template_paused").await.is_empty(), "over");

    // The webhook only says that the words changed; the sync that it wakes reads them.
    stage.simulator.set_template_body("reminder", "Hi {{1}}, do not forget today: {{2}}. Bye.").unwrap();
    stage.settle().await;
    stage.advance(BEHIND_THE_PAUSE_SECONDS);
    stage
        .until("the new words are read", async || {
            let shown = language(&stage, "reminder", "en_US").await;
            shown["parts"]["body"] == "Hi {{1}}, do not forget today: {{2}}. Bye."
        })
        .await;

    let waba_id = SimulatorConfig::default().waba_id;
    let url = format!("{}/v25.0/{waba_id}/message_templates?name=reminder", stage.simulator.url());
    assert!(stage.http.delete(url).bearer_auth(ACCESS_TOKEN).send().await.unwrap().status().is_success());
    stage
        .until("a sync of its own finds it gone", async || {
            stage.advance(3_600);
            let shown = language(&stage, "reminder", "en_US").await;
            shown["status"] == "deleted" && shown["gone_at"].is_string()
        })
        .await;
    until_status(&stage, "reminder", "en_US", TemplateStatus::Deleted).await;
    assert_eq!(open_alerts(&stage, "template_status_changed").await.len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_account_there_are_no_templates_and_the_answer_says_what_to_set() {
    let stage = Stage::open().await;
    for (method, path) in [(Method::POST, "/admin/templates/sync"), (Method::GET, "/admin/templates")] {
        let (status, problem) = call(&stage, method, path, &json!(null)).await;
        assert_eq!((status, &problem["code"]), (409, &json!("business_account_unset")), "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("MICAI_WHATSAPP_BUSINESS_ACCOUNT_ID"));
    }
    stage.end().await;
}

/// Puts a message into the outbox of somebody who has just written, as the outcome of a turn. No worker hears of them.
async fn queue(stage: &Stage, phone: &str, body: MessageBody) -> ConversationId {
    let store = stage.app().store();
    let digits = stage.simulator.phone(phone).unwrap().phone;
    let mut inbound = message("wamid.first", &digits, "hello", stage.now());
    inbound.phone_number_id = SimulatorConfig::default().phone_number_id;
    let facts = WebhookFacts { messages: vec![inbound], ..WebhookFacts::default() };
    let conversation_id = store.ingest(Arc::new(facts)).await.unwrap().wake_turns[0];
    let claim = store.claim(conversation_id, 90).await.unwrap().unwrap();
    let (ids, now) = (Ids::seeded(77), stage.now());
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
            idempotency_key: "template:1".to_owned(),
            to: claim.pending[0].reply_to.clone(),
            body,
            answers_provider_message_id: None,
            ignores_opt_out: false,
        }],
        effects: Vec::new(),
        trace: TurnTrace::default(),
    };
    assert!(matches!(store.finish(finished).await.unwrap(), FinishOutcome::Finished { .. }));
    stage.app().queue().announce(Topic::Send, &[conversation_id]);
    conversation_id
}

fn order(number: &str) -> TemplateUse {
    let body = vec![TextValue::named("first_name", "Ana"), TextValue::named("order", number)];
    TemplateUse { body, ..TemplateUse::plain("order_ready", "pt_BR") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_in_the_outbox_reaches_the_phone_with_its_words() {
    let stage = stage().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    let text = Some("Olá Ana, seu pedido 77 está pronto para retirada.".to_owned());
    let conversation = queue(&stage, &phone, MessageBody::Template { template: Box::new(order("77")), text }).await;
    assert_eq!(stage.replies(&phone, 1).await, ["Olá Ana, seu pedido 77 está pronto para retirada."]);
    stage.settle().await;
    let sent = stage.get("/admin/outbound").await["items"][0].clone();
    assert_eq!((&sent["kind"], &sent["state"]), (&json!("template"), &json!("delivered")));
    assert_eq!(sent["body"]["template"]["name"], "order_ready");
    assert_eq!(sent["price"]["category"], "utility");
    let transcript = stage.get(&format!("/admin/conversations/{}/messages", conversation.0)).await;
    let out = transcript["items"].as_array().unwrap().iter().find(|entry| entry["kind"] == "template");
    assert_eq!(out.unwrap()["body"]["text"], "Olá Ana, seu pedido 77 está pronto para retirada.");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_while_outbound_is_off_shows_its_exact_request() {
    let waba_id = SimulatorConfig::default().waba_id;
    let stage = Stage::with(&[("outbound_reply_enabled", "false"), ("whatsapp_business_account_id", &waba_id)]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    queue(&stage, &phone, MessageBody::Template { template: Box::new(order("77")), text: None }).await;
    stage.settle().await;
    let kept = &stage.outbound("suppressed").await[0]["request"]["body"];
    assert_eq!((&kept["type"], &kept["template"]["name"]), (&json!("template"), &json!("order_ready")), "{kept}");
    assert!(stage.heard(&phone).is_empty());
    stage.end().await;
}

// --- The same on both databases ---

const WABA: &str = "700001";

fn record(name: &str, language: &str, text: &str) -> TemplateRecord {
    let components = json!([{ "type": "BODY", "text": text }]);
    let template = Template {
        name: name.to_owned(),
        language: language.to_owned(),
        provider_template_id: Some(format!("{name}-{language}")),
        status: TemplateStatus::Approved,
        status_reason: None,
        category: TemplateCategory::Utility,
        quality: TemplateQuality::Unknown,
        parameter_format: ParameterFormat::Positional,
        parts: TemplateParts::read(&components),
    };
    TemplateRecord { template, components }
}

fn news(name: &str, occurred_at: Option<Timestamp>, change: TemplateChange) -> TemplateNews {
    TemplateNews {
        waba_id: WABA.to_owned(),
        provider_template_id: None,
        name: name.to_owned(),
        language: "en".to_owned(),
        occurred_at,
        change,
    }
}

fn status(status: TemplateStatus) -> TemplateChange {
    TemplateChange::Status { status, reason: Some("LOW_QUALITY".to_owned()), category: None }
}

async fn tell(world: &World, templates: Vec<TemplateNews>) {
    let facts = WebhookFacts { templates, ..WebhookFacts::default() };
    world.store.ingest(Arc::new(facts)).await.unwrap();
}

async fn list(world: &World, listed: Vec<TemplateRecord>) -> SyncChanges {
    let ticket = world.store.claim_template_sync(WABA, 300).await.unwrap().expect("nobody else syncs");
    world.store.finish_template_sync(WABA, ticket, listed, 60, None).await.unwrap()
}

async fn known(store: &Store) -> Vec<(String, TemplateStatus)> {
    let rows = store.templates(WABA, &TemplateFilter::default(), ("", ""), 100).await.unwrap();
    rows.into_iter().map(|row| (row.record.template.name, row.record.template.status)).collect()
}

async fn what_webhooks_and_lists_say_is_kept_in_their_order(location: Location) {
    use TemplateStatus::{Approved, Deleted, Disabled, Paused};
    let world = world(location).await;
    let store = &world.store;
    // Before the account is known, and of an account that is not ours: passed over.
    tell(&world, vec![news("a", None, status(Paused))]).await;
    assert_eq!(store.template_sync_state(WABA).await.unwrap().version, 0);
    store.ensure_template_account(WABA).await.unwrap();
    store.ensure_template_account(WABA).await.unwrap();
    assert!(store.template_sync_state(WABA).await.unwrap().is_wanted, "nothing was fetched yet");

    let both = || vec![record("a", "en", "hello"), record("b", "en", "bye")];
    assert_eq!(list(&world, both()).await, SyncChanges { new: 2, changed: 0, gone: 0 });
    assert!(!store.template_sync_state(WABA).await.unwrap().is_wanted);

    // Of two statuses the younger one counts, whichever comes first.
    let now = world.clock.now();
    tell(&world, vec![news("a", Some(now), status(Disabled))]).await;
    tell(&world, vec![news("a", Some(now - SignedDuration::from_secs(9)), status(Approved))]).await;
    assert_eq!(known(store).await, [("a".to_owned(), Disabled), ("b".to_owned(), Approved)]);
    assert!(store.template_sync_state(WABA).await.unwrap().is_wanted, "webhooks ask for a sync");
    let other = TemplateNews { provider_template_id: Some("another".to_owned()), ..news("b", None, status(Paused)) };
    tell(&world, vec![other]).await;
    assert_eq!(known(store).await[1].1, Approved, "another template of that name, from before it was deleted");

    // What changes while WhatsApp makes up its list is younger than the list.
    let ticket = store.claim_template_sync(WABA, 300).await.unwrap().unwrap();
    assert!(store.claim_template_sync(WABA, 300).await.unwrap().is_none(), "one at a time");
    tell(&world, vec![news("b", None, status(Paused))]).await;
    store.save_template(WABA, record("c", "en", "new"), &Actor::Platform).await.unwrap();
    let changes = store.finish_template_sync(WABA, ticket, vec![record("b", "en", "bye")], 60, None).await.unwrap();
    assert_eq!(changes, SyncChanges { new: 0, changed: 0, gone: 1 }, "a is gone, b and c stay as they are");
    let after = [("a".to_owned(), Deleted), ("b".to_owned(), Paused), ("c".to_owned(), Approved)];
    assert_eq!(known(store).await, after);
    assert!(store.template_sync_state(WABA).await.unwrap().is_wanted, "and the next sync makes sure");

    // A claim whose holder died runs out; what is gone leaves after thirty days.
    store.claim_template_sync(WABA, 300).await.unwrap().unwrap();
    world.clock.advance(SignedDuration::from_hours(31 * 24));
    let rest = || vec![record("b", "en", "bye"), record("c", "en", "new")];
    assert_eq!(list(&world, rest()).await, SyncChanges { new: 0, changed: 1, gone: 0 }, "b is approved again");
    assert_eq!(known(store).await, [("b".to_owned(), Approved), ("c".to_owned(), Approved)]);
    let named = store.templates_named(WABA, "b", 10).await.unwrap();
    assert_eq!((named.len(), &named[0].record), (1, &record("b", "en", "bye")), "as it was written");

    store.fail_template_sync(WABA, "WhatsApp is away.", 300).await.unwrap();
    let state = store.template_sync_state(WABA).await.unwrap();
    assert_eq!(state.error.as_deref(), Some("WhatsApp is away."));
    let many = (0..2_500).map(|number| record(&format!("n{number}"), "en", "hello")).collect();
    assert_eq!(list(&world, many).await, SyncChanges { new: 2_500, changed: 0, gone: 2 });
    assert_eq!(store.template_sync_state(WABA).await.unwrap().error, None);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 };
    what_webhooks_and_lists_say_is_kept_in_their_order(location).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_on_postgres() {
    let server = Postgres::start().await;
    what_webhooks_and_lists_say_is_kept_in_their_order(server.location()).await;
}
