//! Schedules: what is said at a time arrives then, once, whatever dies when.

pub mod crowd;
mod dispatch;
mod process;

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::PhoneKind;

use crate::harness::Stage;

const HOUR: i64 = 3_600;

impl Stage {
    async fn schedule(&self, body: Value) -> Value {
        self.admin(Method::POST, "/admin/schedules", Some(body)).await
    }

    /// Waits until a schedule has happened so often.
    async fn fired(&self, id: &str, times: i64) -> Value {
        let path = format!("/admin/schedules/{id}");
        self.until(&format!("{id} has happened {times} times"), async || self.get(&path).await["fired"] == times).await;
        self.get(&path).await
    }
}

/// The number of a phone, as the business knows it.
fn number(stage: &Stage, phone: &str) -> String {
    stage.simulator.phone(phone).unwrap().phone
}

/// A phone whose window is open.
async fn open_window(stage: &Stage, name: &str) -> String {
    let phone = stage.phone(name, PhoneKind::Phone);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 1).await;
    phone
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_existing_client_is_taken_as_it_is_and_repeats_without_a_flood() {
    let mut stage = Stage::open().await;
    let ana = open_window(&stage, "Ana").await;
    let first = stage.now() + SignedDuration::from_mins(10);
    let row = json!({
        "id": 7, "wa_id": number(&stage, &ana), "agent_id": "default-agent", "message_text": "Drink water.", "template_name": null,
        "interval_minutes": 30, "next_run_at": first, "enabled": true,
    });
    let made = stage.schedule(row.clone()).await;
    assert_eq!((made["id"].as_str(), made["wa_id"].as_str()), (Some("7"), Some(number(&stage, &ana).as_str())));
    assert_eq!((&made["interval_minutes"], &made["state"]), (&json!(30), &json!("active")));
    stage.advance(10 * 60 - 1);
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 1, "not before its time");
    stage.advance(1);
    assert_eq!(stage.replies(&ana, 2).await[1], "Drink water.");
    stage.fired("7", 1).await;
    // The same row again, as a client sends it at each start, changes nothing.
    let again = stage.schedule(row).await;
    assert_eq!(again["next_run_at"], json!(first + SignedDuration::from_mins(30)));
    stage.settle().await;
    stage.stop().await;
    // Five hours are ten occurrences: one of them is made up for, and the calendar goes on from its anchor.
    stage.advance(5 * HOUR);
    stage.start().await;
    let stands = stage.fired("7", 2).await;
    assert_eq!(stage.replies(&ana, 3).await[2], "Drink water.");
    assert_eq!(stands["last_outcome"]["left_out"], 9);
    assert_eq!(stands["next_run_at"], json!(first + SignedDuration::from_mins(330)));
    stage.advance(29 * 60);
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 3);
    stage.advance(60);
    stage.replies(&ana, 4).await;
    stage.end().await;
}

/// The next change of the clocks, and the one after it.
fn changes(zone: &str, now: Timestamp) -> [Timestamp; 2] {
    let zone = TimeZone::get(zone).unwrap();
    let mut changes = zone.following(now).map(|change| change.timestamp());
    [changes.next().unwrap(), changes.next().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_in_the_morning_stays_nine_in_the_morning_across_both_changes_of_the_clocks() {
    const ZONE: &str = "Europe/Berlin";
    let stage = Stage::open().await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    let body = json!({ "id": "nine", "wa_id": number(&stage, &ana), "message_text": "Good morning.", "cron": "0 9 * * *", "zone": ZONE });
    stage.schedule(body).await;
    let mut times = 0;
    for change in changes(ZONE, stage.now()) {
        // Two days before, so that it happens on both sides.
        let start = change - SignedDuration::from_hours(40);
        stage.advance(start.duration_since(stage.now()).as_secs());
        times += 1;
        let caught_up = stage.fired("nine", times).await;
        let mut due: Timestamp = caught_up["next_run_at"].as_str().unwrap().parse().unwrap();
        for _ in 0..3 {
            stage.advance(due.duration_since(stage.now()).as_secs() + 1);
            times += 1;
            let stands = stage.fired("nine", times).await;
            assert_eq!(stands["last_due_at"], json!(due));
            assert_eq!(due.to_zoned(TimeZone::get(ZONE).unwrap()).time(), jiff::civil::time(9, 0, 0, 0));
            due = stands["next_run_at"].as_str().unwrap().parse().unwrap();
        }
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_never_wrote_is_held_for_and_who_wants_nothing_is_left_alone() {
    let stage = Stage::open().await;
    let [bo, cy] = ["Bo", "Cy"].map(|name| stage.phone(name, PhoneKind::Phone));
    let at = stage.now() + SignedDuration::from_secs(5);
    let body = |id: &str, to: &str| json!({ "id": id, "wa_id": number(&stage, to), "message_text": "News.", "next_run_at": at });
    stage.schedule(body("bo", &bo)).await;
    let stranger = stage.get("/admin/schedules/bo/preview?count=3").await;
    assert_eq!(stranger["items"].as_array().unwrap().len(), 1);
    assert_eq!(stranger["items"][0]["plan"]["way"], "held");
    assert!(stranger["items"][0]["local"].as_str().unwrap().ends_with("+00:00[UTC]"), "{stranger}");
    stage.simulator.say(&cy, "stop").unwrap();
    stage.replies(&cy, 1).await;
    stage.schedule(body("cy", &cy)).await;
    stage.advance(6);
    let (of_bo, of_cy) = (stage.fired("bo", 1).await, stage.fired("cy", 1).await);
    assert_eq!((&of_cy["last_outcome"]["reason"], &of_cy["state"]), (&json!("opted_out"), &json!("finished")));
    let sent = of_bo["last_outcome"]["outbound_id"].as_str().unwrap();
    stage.until("it is held", async || stage.get(&format!("/admin/outbound/{sent}")).await["state"] == "held").await;
    let key = stage.get(&format!("/admin/outbound/{sent}")).await["idempotency_key"].as_str().unwrap().to_owned();
    assert_eq!(key, format!("schedule:{}:{at}", of_bo["schedule_id"].as_str().unwrap()));
    // They write: what was held goes, after the answer.
    stage.simulator.say(&bo, "hello").unwrap();
    let heard = stage.replies(&bo, 2).await;
    assert!(heard.contains(&"News.".to_owned()), "{heard:?}");
    assert_eq!(stage.heard(&cy).len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_after_a_long_time_gets_the_latest_and_not_all_of_it() {
    let stage = Stage::open().await;
    let [bo, cy] = ["Bo", "Cy"].map(|name| stage.phone(name, PhoneKind::Phone));
    let body = |id: &str, to: &str, missed: &str| {
        let at = stage.now() + SignedDuration::from_mins(1);
        json!({
            "id": id, "wa_id": number(&stage, to), "message_text": "News.", "interval_minutes": 60, "next_run_at": at,
            "missed": missed,
        })
    };
    stage.schedule(body("latest", &bo, "once")).await;
    stage.schedule(body("each", &cy, "all")).await;
    stage.advance(60);
    for times in 1..=3 {
        stage.fired("latest", times).await;
        stage.fired("each", times).await;
        stage.settle().await;
        stage.advance(HOUR);
    }
    stage.fired("latest", 4).await;
    stage.fired("each", 4).await;
    stage.settle().await;
    assert_eq!((stage.outbound("held").await.len(), stage.outbound("cancelled").await.len()), (5, 3));
    stage.simulator.say(&bo, "hello").unwrap();
    stage.replies(&bo, 2).await;
    stage.simulator.say(&cy, "hello").unwrap();
    stage.replies(&cy, 5).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_asked_and_needs_no_invocation() {
    let stage = Stage::with(&[("require_invoke_prefix", "true")]).await;
    stage.keyword_rule("tip", "tip of the day", "Rest your eyes.").await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.say(&ana, "michael: tip of the day").unwrap();
    stage.replies(&ana, 1).await;
    let at = stage.now() + SignedDuration::from_secs(60);
    let body = json!({
        "id": "tips", "wa_id": number(&stage, &ana), "message_text": "tip of the day", "ask_agent": true, "next_run_at": at,
        "interval_minutes": 60, "count": 2,
    });
    stage.schedule(body).await;
    stage.advance(60);
    assert_eq!(stage.replies(&ana, 2).await[1], "Rest your eyes.");
    let stands = stage.fired("tips", 1).await;
    assert_eq!(stands["last_outcome"]["kind"], "asked");
    stage.advance(HOUR);
    stage.replies(&ana, 3).await;
    let over = stage.fired("tips", 2).await;
    assert_eq!((&over["state"], &over["next_run_at"]), (&json!("finished"), &Value::Null));
    // It opened no window.
    let conversation = stage.get("/admin/conversations").await["items"][0].clone();
    let opened: Timestamp = conversation["last_inbound_at"].as_str().unwrap().parse().unwrap();
    assert!(opened < at, "{conversation}");
    // What the person may not set going by stopping is not set going by time either.
    stage.simulator.say(&ana, "stop").unwrap();
    stage.replies(&ana, 4).await;
    let run = json!({ "idempotency_key": "00000000-0000-0000-0000-000000000001" });
    let ran = stage.admin(Method::POST, "/admin/schedules/tips/run", Some(run)).await;
    assert_eq!(ran["outcome"]["reason"], "opted_out");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_pauses_runs_changes_and_deletes_and_all_of_it_is_told() {
    let stage = Stage::open().await;
    let ana = open_window(&stage, "Ana").await;
    let body = |text: &str, cron: &str| json!({ "wa_id": number(&stage, &ana), "message_text": text, "cron": cron, "zone": "Asia/Kolkata" });
    let made = stage.schedule(body("One.", "*/10 * * * *")).await;
    let id = made["schedule_id"].as_str().unwrap().to_owned();
    assert_eq!(made["id"], json!(id), "without an id of the operator's own it is the platform's");
    let path = |end: &str| format!("/admin/schedules/{id}{end}");
    let paused = stage.admin(Method::POST, &path("/pause"), None).await;
    assert_eq!((&paused["state"], &paused["enabled"]), (&json!("paused"), &json!(false)));
    stage.advance(HOUR);
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 1, "nothing is said while it is paused");
    let resumed = stage.admin(Method::POST, &path("/resume"), None).await;
    let next: Timestamp = resumed["next_run_at"].as_str().unwrap().parse().unwrap();
    assert!(next > stage.now(), "what came due meanwhile is left out");
    let run = json!({ "idempotency_key": "00000000-0000-0000-0000-000000000002" });
    let ran = stage.admin(Method::POST, &path("/run"), Some(run.clone())).await;
    assert_eq!(stage.admin(Method::POST, &path("/run"), Some(run)).await, ran, "once for each key");
    assert_eq!(stage.replies(&ana, 2).await[1], "One.");
    let changed = stage.admin(Method::PUT, &path(""), Some(body("Two.", "*/10 * * * *"))).await;
    assert_eq!(changed["next_run_at"], resumed["next_run_at"], "words do not move it");
    stage.advance(next.duration_since(stage.now()).as_secs() + 1);
    assert_eq!(stage.replies(&ana, 3).await[2], "Two.");
    let preview = stage.get(&path("/preview?count=2")).await;
    assert_eq!(preview["items"][0]["plan"]["way"], "free_form");
    assert!(preview["items"][1]["local"].as_str().unwrap().ends_with("+05:30[Asia/Kolkata]"), "{preview}");
    let listed = stage.get("/admin/schedules?state=active&agent_id=default-agent&limit=1").await;
    assert_eq!(listed["items"][0]["schedule_id"], json!(id));
    let contact = made["contact_id"].as_str().unwrap();
    assert_eq!(
        stage.get(&format!("/admin/schedules?contact_id={contact}")).await["items"].as_array().unwrap().len(),
        1
    );
    stage.admin(Method::DELETE, &path(""), None).await;
    assert_eq!(stage.refused(&path("/pause"), Value::Null).await.1["code"], "schedule_not_found");
    let log = stage.get(&format!("/admin/audit?subject={id}")).await;
    let actions: Vec<_> = log["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    let expected = ["deleted", "saved", "run", "resumed", "paused", "saved"].map(|word| format!("schedule_{word}"));
    assert_eq!(actions, expected);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_with_all_its_faults() {
    let stage = Stage::open().await;
    for (body, fields) in [
        (json!({ "wa_id": "x", "message_text": "a" }), vec!["wa_id", "next_run_at", "next_run_at"]),
        (
            json!({ "wa_id": "15551234567", "cron": "61 * * * *", "zone": "Nowhere" }),
            vec!["zone", "cron", "message_text"],
        ),
        (
            json!({ "wa_id": "15551234567", "message_text": "a", "interval_minutes": 0, "missed_limit": 3 }),
            vec!["missed_limit", "interval_minutes"],
        ),
        (
            json!({ "wa_id": "15551234567", "message_text": "a", "rrule": "FREQ=DAILY", "cron": "* * * * *" }),
            vec!["interval_minutes"],
        ),
        (
            json!({ "wa_id": "15551234567", "message_text": "a", "cron": "0 9 * * *", "ends_at": stage.now() }),
            vec!["next_run_at"],
        ),
        (
            json!({ "wa_id": "15551234567", "ask_agent": true, "template_name": "t", "interval_minutes": 5 }),
            vec!["message_text", "template"],
        ),
    ] {
        let (status, problem) = stage.refused("/admin/schedules", body.clone()).await;
        assert_eq!(status, 422);
        let named: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
        let named: Vec<&str> = named.into_iter().collect();
        let expected: Vec<&str> = fields;
        assert!(expected.iter().all(|field| named.contains(field)), "{body} {problem}");
    }
    for (field, text, how) in [
        ("next_run_at", "soon", "write it as 2026-11-24T13:00:00Z, or as 2026-11-24T13:00:00 on the clock of `zone`"),
        ("ends_at", "2027-01-01T09:00:00", "it is no instant; write it as 2026-11-24T13:00:00Z"),
    ] {
        let body = json!({ "wa_id": "15551234567", "message_text": "a", "interval_minutes": 5, field: text });
        let (status, problem) = stage.refused("/admin/schedules", body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.ends_with(how), "{problem}");
    }
    assert_eq!(stage.get("/admin/schedules").await["items"], json!([]));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_time_fires_has_a_schedule_that_lives_and_dies_with_it() {
    let stage = Stage::open().await;
    let ana = open_window(&stage, "Ana").await;
    let rule = |enabled: bool, schedule: Value| {
        json!({
            "id": "daily", "agent_id": "coach", "rule_type": "scheduled", "action": "reply_text", "reply_text": "Stretch.",
            "enabled": enabled, "schedule": schedule,
        })
    };
    let each_hour = json!({ "wa_id": number(&stage, &ana), "interval_minutes": 60, "next_run_at": stage.now() + SignedDuration::from_mins(1) });
    stage.admin(Method::POST, "/admin/rules", Some(rule(true, each_hour.clone()))).await;
    stage.advance(60);
    assert_eq!(stage.replies(&ana, 2).await[1], "Stretch.");
    let listed = async || stage.get("/admin/schedules?rule_id=daily").await["items"].clone();
    let of_rule = listed().await;
    assert_eq!((&of_rule[0]["maker"], &of_rule[0]["agent_id"]), (&json!("rule"), &json!("coach")));
    stage.admin(Method::POST, "/admin/rules", Some(rule(false, each_hour))).await;
    assert_eq!(listed().await[0]["state"], "paused");
    let (_, wrong) =
        stage.refused("/admin/rules", rule(true, json!({ "wa_id": number(&stage, &ana), "cron": "x" }))).await;
    assert_eq!(wrong["errors"][0]["field"], "schedule.cron");
    // What `GET /admin/rules/daily` shows, sent back as it is, must not lose it.
    let mut shown = rule(true, Value::Null);
    shown.as_object_mut().unwrap().remove("schedule");
    let (_, left_out) = stage.refused("/admin/rules", shown).await;
    assert_eq!(left_out["code"], "rule_schedule_missing");
    assert_eq!(listed().await.as_array().unwrap().len(), 1);
    stage.admin(Method::DELETE, "/admin/rules/daily", None).await;
    assert_eq!(listed().await, json!([]));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_schedules_is_seen_within_a_second() {
    let stage = Stage::open().await;
    let ana = open_window(&stage, "Ana").await;
    let at = stage.now() + SignedDuration::from_secs(100);
    stage
        .schedule(json!({ "id": "late", "wa_id": number(&stage, &ana), "message_text": "Later.", "next_run_at": at }))
        .await;
    // Somebody else's hand moves it: nobody here is told.
    let due = stage.now().as_microsecond() + 1_000_000;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(stage.database_path());
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let moved = sqlx::query("UPDATE schedules SET next_due_at = $1, next_run_at = $1").bind(due);
    moved.execute(&mut connection).await.unwrap();
    // The loop may just have gone to sleep: it looks again after a second at most.
    tokio::time::sleep(Duration::ZERO).await;
    stage.advance(1);
    stage.replies(&ana, 2).await;
    stage.end().await;
}
