//! Dead letters: what killed them in words, replayed once however often it is asked for, put away, and the same at the command
//! line; messages over which turns fail; sends of unknown fate in the hands of a person.

mod command_line;
mod ledger;
mod unknown;

use micai::queue::Topic;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, FaultSpec, PhoneKind, SimulatorConfig};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _};

use crate::harness::{ADMIN_KEY, Stage};

pub fn fault(on: FaultOn, kind: FaultKind) -> FaultSpec {
    FaultSpec { on, kind, times: 1, phone: None }
}

/// A platform that gives up at the first refusal.
pub async fn impatient() -> Stage {
    Stage::with(&[("queue_max_attempts", "1")]).await
}

impl Stage {
    /// Somebody writes, and the answer dies of `code`: refused at once, or in a status after it was accepted.
    pub async fn letter(&self, phone: &str, text: &str, on: FaultOn, code: u32) {
        let before = self.outbound("failed").await.len();
        self.simulator.add_fault(fault(on, FaultKind::Error { code })).unwrap();
        self.simulator.say(phone, text).unwrap();
        self.until("it is a letter", async || self.outbound("failed").await.len() > before).await;
        self.settle().await;
    }

    /// The groups of letters by their names.
    pub async fn groups(&self) -> std::collections::BTreeMap<String, Value> {
        let groups = self.get("/admin/letters").await;
        let groups = groups["items"].as_array().unwrap().clone();
        groups.into_iter().map(|group| (group["group"].as_str().unwrap().to_owned(), group)).collect()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.admin(Method::POST, path, Some(body)).await
    }

    /// A call that must be refused; gives status and problem.
    pub async fn refused(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(self.url(path)).header("x-admin-key", ADMIN_KEY).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Runs SQL on the database, beside the platform.
    pub async fn sql(&self, sql: &'static str) {
        let mut connection = SqliteConnectOptions::new().filename(self.database_path()).connect().await.unwrap();
        connection.execute(sqlx::raw_sql(sql)).await.unwrap();
    }

    /// Moves the clock whenever a conversation only waits for its next try, until `holds`.
    async fn until_after_tries(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.until(what, async || {
            let depth = self.app().queue().depth(Topic::Turn);
            if depth.ready == 0 && depth.out == 0 && depth.delayed > 0 {
                self.advance(2);
            }
            holds().await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_stand_in_groups_that_say_why_and_what_helps() {
    let stage = impatient().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    for (on, code) in [
        (FaultOn::Send, 131_009),
        (FaultOn::Webhook, 131_026),
        (FaultOn::Send, 130_429),
        (FaultOn::Send, 131_053),
        (FaultOn::Webhook, 131_026),
    ] {
        stage.letter(&phone, &format!("say {code}"), on, code).await;
    }
    let groups = stage.groups().await;
    assert_eq!(groups.len(), 4, "{groups:#?}");
    for (group, count, cause, repair, first) in [
        ("outbound:131009", "1", "value of a parameter invalid", "Correct the request", "fix_first"),
        ("outbound:131026", "2", "not on WhatsApp", "Mark the user as unreachable", "discard"),
        ("outbound:130429", "1", "throughput of the number reached", "Then replay it.", "replay"),
        ("outbound:131053", "1", "media rejected", "Check type, codec and size of the file.", "discard"),
    ] {
        let found = &groups[group];
        assert_eq!((&found["count"], &found["repairs"][0]), (&json!(count), &json!(first)), "{found}");
        assert!(found["cause"].as_str().unwrap().contains(cause), "{found}");
        assert!(found["repair"].as_str().unwrap().contains(repair), "{found}");
        assert!(found["oldest_at"].as_str() <= found["youngest_at"].as_str(), "{found}");
    }
    assert_eq!(stage.get("/health/ready").await["dead_letters"], 5);

    let first = stage.get("/admin/letters?limit=3").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    let rest = stage.get(&format!("/admin/letters?limit=3&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));

    let page = stage.get("/admin/letters/items?group=outbound:131026&limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = stage.get(&format!("/admin/letters/items?group=outbound:131026&limit=1&cursor={cursor}")).await;
    assert_ne!(page["items"][0]["id"], next["items"][0]["id"]);
    let id = page["items"][0]["id"].as_str().unwrap();
    let letter = stage.get(&format!("/admin/letters/items/{id}")).await;
    assert_eq!(letter["calls"][0]["outcome"], "accepted", "{letter:#}");
    let statuses: Vec<&str> =
        letter["statuses"].as_array().unwrap().iter().map(|status| status["status"].as_str().unwrap()).collect();
    assert!(statuses.contains(&"failed"), "{letter:#}");
    assert!(letter["cause"].as_str().unwrap().contains("131026"), "{letter:#}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_a_replay_sends_once_however_often_it_is_asked_for() {
    let stage = impatient().await;
    let phones: Vec<String> = (0..5).map(|n| stage.phone(&format!("Ana {n}"), PhoneKind::Phone)).collect();
    for phone in &phones {
        stage.letter(phone, "hello", FaultOn::Send, 131_009).await;
    }
    let calls = stage.simulator.graph_requests().len();
    let group = json!({ "group": "outbound:131009" });
    let would = stage.post("/admin/letters/replay", group).await;
    assert_eq!((&would["dry_run"], &would["looked_at"], &would["moved"]), (&json!(true), &json!(5), &json!(5)));
    assert!(would["notes"][0].as_str().unwrap().starts_with("Nothing was changed."), "{would}");
    stage.settle().await;
    assert_eq!((stage.simulator.graph_requests().len(), stage.outbound("failed").await.len()), (calls, 5));

    let do_it = json!({ "group": "outbound:131009", "dry_run": false });
    let (one, two) = tokio::join!(
        stage.post("/admin/letters/replay", do_it.clone()),
        stage.post("/admin/letters/replay", do_it.clone())
    );
    assert_eq!(one["moved"].as_i64().unwrap() + two["moved"].as_i64().unwrap(), 5, "{one} {two}");
    for phone in &phones {
        stage.replies(phone, 1).await;
    }
    stage.settle().await;
    assert_eq!(stage.post("/admin/letters/replay", do_it).await["looked_at"], 0);
    let delivered = stage.outbound("delivered").await;
    let again = json!({ "ids": [delivered[0]["id"]], "dry_run": false });
    let refused = stage.post("/admin/letters/replay", again).await;
    assert_eq!((&refused["moved"], &refused["refused"][0]["reason"]), (&json!(0), &json!("not_a_letter")));
    stage.settle().await;
    for phone in &phones {
        assert_eq!(stage.heard(phone).len(), 1, "said once");
    }
    let send = stage.get(&format!("/admin/outbound/{}", delivered[0]["id"].as_str().unwrap())).await;
    assert_eq!((&send["replays"], &send["attempts"]), (&json!(1), &json!(2)), "{send:#}");
    assert_eq!(send["calls"].as_array().unwrap().len(), 2, "the old life stays readable: {send:#}");
    assert_eq!(send["actions"][0]["action"], "letter_replayed");
    assert_eq!(send["actions"][0]["before"]["error"]["code"], 131_009);
    assert!(stage.groups().await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_only_when_that_is_said_and_outside_the_window_as_a_template() {
    let stage = impatient().await;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Phone));
    for phone in [&ana, &bo] {
        stage.letter(phone, "hello", FaultOn::Send, 131_009).await;
    }
    stage.advance(25 * 3_600);
    let group = "outbound:131009";
    let too_old = stage.post("/admin/letters/replay", json!({ "group": group, "dry_run": false })).await;
    assert_eq!((&too_old["moved"], &too_old["refused"][0]["reason"]), (&json!(0), &json!("too_old")), "{too_old}");
    assert!(too_old["refused"][0]["why"].as_str().unwrap().contains("older_than_ok"), "{too_old}");

    let would = stage.post("/admin/letters/replay", json!({ "group": group, "older_than_ok": true })).await;
    assert_eq!((&would["moved"], &would["held"]), (&json!(2), &json!(2)), "{would}");
    assert!(would["notes"][0].as_str().unwrap().starts_with("2 of them are outside the 24-hour window"), "{would}");

    let letters = stage.get(&format!("/admin/letters/items?group={group}")).await;
    let of = |phone: &str| {
        let number = stage.simulator.phone(phone).unwrap().phone;
        let found = letters["items"].as_array().unwrap().iter().find(|letter| letter["person"] == number.as_str());
        found.unwrap()["id"].clone()
    };
    let held = json!({ "ids": [of(&bo)], "older_than_ok": true, "dry_run": false });
    assert_eq!(stage.post("/admin/letters/replay", held).await["held"], 1);
    stage.until("it waits for the window", async || stage.outbound("held").await.len() == 1).await;

    let template = json!({ "name": "hello_world", "language": "en_US" });
    let as_template = json!({ "group": group, "older_than_ok": true, "dry_run": false, "template": template });
    let went = stage.post("/admin/letters/replay", as_template).await;
    assert_eq!((&went["moved"], &went["as_template"], &went["held"]), (&json!(1), &json!(1), &json!(0)), "{went}");
    let heard = stage.replies(&ana, 1).await;
    assert!(heard[0].contains("Welcome!"), "{heard:?}");
    stage.settle().await;
    let sent = &stage.outbound("delivered").await[0];
    assert_eq!((&sent["kind"], &sent["body"]["template"]["name"]), (&json!("template"), &json!("hello_world")));
    let story = stage.get(&format!("/admin/outbound/{}", sent["id"].as_str().unwrap())).await;
    assert!(story["actions"][0]["before"]["body"]["text"].as_str().unwrap().contains("hello"), "{story:#}");
    assert!(stage.heard(&bo).is_empty());
    stage.simulator.say(&bo, "are you there?").unwrap();
    let heard = stage.replies(&bo, 2).await;
    assert!(heard[0].contains("hello"), "what was held goes first: {heard:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_does_not_fit_is_refused_before_anything_moves() {
    let account = SimulatorConfig::default().waba_id;
    let settings = [("queue_max_attempts", "1"), ("whatsapp_business_account_id", account.as_str())];
    let stage = Stage::with(&settings).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.letter(&phone, "hello", FaultOn::Send, 131_009).await;
    stage.post("/admin/templates/sync", json!({})).await;
    let replay = |template: Value| json!({ "group": "outbound:131009", "dry_run": false, "template": template, "template_for_all": true });
    for (template, field) in [
        (json!({ "name": "nothing", "language": "en_US" }), "template.name"),
        (json!({ "name": "reminder", "language": "xx" }), "template.language"),
        (json!({ "name": "reminder", "language": "en_US", "body": [{ "text": "Ana" }] }), "template.body"),
    ] {
        let (status, problem) = stage.refused("/admin/letters/replay", replay(template)).await;
        let named = problem["errors"][0]["field"].as_str().unwrap_or_default();
        assert_eq!((status, named.starts_with(field)), (422, true), "{problem}");
    }
    assert_eq!(stage.outbound("failed").await.len(), 1);
    let fits =
        json!({ "name": "reminder", "language": "en_US", "body": [{ "text": "Ana" }, { "text": "dentist at 9" }] });
    assert_eq!(stage.post("/admin/letters/replay", replay(fits)).await["as_template"], 1);
    let heard = stage.replies(&phone, 1).await;
    assert!(heard[0].contains("Hi Ana, this is your reminder: dentist at 9."), "{heard:?}");
    stage.settle().await;
    assert!(stage.outbound("delivered").await[0]["body"]["text"].as_str().unwrap().contains("dentist at 9"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_put_away_with_a_reason_and_faulty_requests_are_refused_by_name() {
    let stage = impatient().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.letter(&phone, "hello", FaultOn::Webhook, 131_026).await;
    let letters = stage.get("/admin/letters/items?group=outbound:131026").await;
    let id = letters["items"][0]["id"].clone();
    for (path, body, field) in [
        ("replay", json!({}), "ids"),
        ("replay", json!({ "ids": [id], "group": "outbound:131026" }), "group"),
        ("replay", json!({ "group": "sideways:1" }), "group"),
        ("replay", json!({ "ids": vec![id.clone(); 1_001] }), "ids"),
        ("replay", json!({ "ids": [id], "template_for_all": true }), "template_for_all"),
        ("replay", json!({ "ids": [id], "template": { "name": "", "language": "en" } }), "template.name"),
        ("discard", json!({ "ids": [id], "reason": "  " }), "reason"),
        ("discard", json!({ "ids": [id], "reason": "x".repeat(501) }), "reason"),
        ("discard", json!({ "ids": [id] }), "reason"),
    ] {
        let (status, problem) = stage.refused(&format!("/admin/letters/{path}"), body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    let would = stage.post("/admin/letters/discard", json!({ "ids": [id], "reason": "wrong number" })).await;
    assert_eq!((&would["moved"], stage.outbound("failed").await.len()), (&json!(1), 1));
    let body = json!({ "ids": [id, id], "reason": "wrong number", "dry_run": false });
    let request = stage.http.post(stage.url("/admin/letters/discard")).header("x-admin-key", ADMIN_KEY);
    let answer = request.header("x-admin-actor", "Ana").json(&body).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["moved"], 1);
    let id = id.as_str().unwrap();
    let send = stage.get(&format!("/admin/outbound/{id}")).await;
    assert_eq!((&send["state"], &send["error"]["code"]), (&json!("cancelled"), &json!(131_026)), "kept: {send:#}");
    let action = &send["actions"][0];
    assert_eq!((&action["action"], &action["actor_name"]), (&json!("letter_discarded"), &json!("Ana")));
    assert_eq!(action["after"]["reason"], "wrong number");
    let (status, problem) = stage.refused("/admin/letters/replay", json!({ "ids": [id], "dry_run": "no" })).await;
    assert_eq!((status, &problem["code"]), (422, &json!("body_invalid")));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_outbound_is_off_letters_stay_where_they_are() {
    let mut stage = impatient().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage.letter(&phone, "hello", FaultOn::Send, 131_009).await;
    stage.stop().await;
    stage.set("outbound_reply_enabled", "false");
    stage.start().await;
    let do_it = json!({ "group": "outbound:131009", "dry_run": false });
    let (status, problem) = stage.refused("/admin/letters/replay", do_it).await;
    assert_eq!((status, &problem["code"]), (409, &json!("outbound_off")), "{problem}");
    assert_eq!(stage.post("/admin/letters/replay", json!({ "group": "outbound:131009" })).await["moved"], 1);
    assert_eq!(stage.outbound("failed").await.len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_which_turns_fail_is_put_aside_alone_and_replayed_when_the_fault_is_gone() {
    let stage = Stage::open().await;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Phone));
    // The database refuses what the turn over this message wants to write.
    stage
        .sql(
            "CREATE TRIGGER story BEFORE INSERT ON outbound_messages WHEN NEW.body LIKE '%poison%'
             BEGIN SELECT RAISE(ABORT, 'refused for the story'); END",
        )
        .await;
    stage.simulator.say(&ana, "zero").unwrap();
    stage.replies(&ana, 1).await;
    stage.settle().await;
    // Somebody holds the conversation until all three wait, so that one turn takes them together.
    stage.sql("UPDATE conversations SET lease_until = 9000000000000000").await;
    for text in ["one", "poison", "three"] {
        stage.simulator.say(&ana, text).unwrap();
        stage.simulator.wait_idle().await;
    }
    stage.sql("UPDATE conversations SET lease_until = NULL").await;
    stage.advance(3);
    stage.simulator.say(&bo, "hello").unwrap();
    stage.until_after_tries("it is a letter", async || !stage.groups().await.is_empty()).await;
    stage.until_after_tries("the others are answered", async || stage.heard(&ana).len() == 3).await;
    stage.replies(&bo, 1).await;
    stage.settle().await;
    let heard = stage.heard(&ana);
    assert!(heard[1].contains("one") && heard[2].contains("three"), "{heard:?}");
    let groups = stage.groups().await;
    let group = &groups["inbound:turn_refused"];
    assert_eq!(
        (groups.len(), &group["count"], &group["sample"]["body"]),
        (1, &json!("1"), &json!("poison")),
        "{group:#}"
    );
    assert_eq!((&group["sample"]["attempts"], &group["direction"]), (&json!(5), &json!("inbound")));
    assert!(group["sample"]["detail"].as_str().unwrap().contains("refused for the story"), "{group:#}");

    let by_group = json!({ "group": "inbound:turn_refused", "dry_run": false });
    assert_eq!(stage.post("/admin/letters/replay", by_group.clone()).await["moved"], 1);
    stage.until_after_tries("it is a letter again", async || !stage.groups().await.is_empty()).await;
    assert_eq!(stage.groups().await["inbound:turn_refused"]["sample"]["replays"], 1);
    stage.sql("DROP TRIGGER story").await;
    assert_eq!(stage.post("/admin/letters/replay", by_group).await["moved"], 1);
    let heard = stage.replies(&ana, 4).await;
    assert!(heard[3].contains("poison"), "{heard:?}");
    assert!(stage.groups().await.is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_stands_in_nobodys_way() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    stage
        .sql(
            "CREATE TRIGGER story AFTER INSERT ON inbound_messages WHEN NEW.text = 'garbled'
             BEGIN UPDATE inbound_messages SET nature = 'nonsense'
                   WHERE conversation_id = NEW.conversation_id AND id = NEW.id; END",
        )
        .await;
    for text in ["garbled", "after"] {
        stage.simulator.say(&phone, text).unwrap();
    }
    stage.until_after_tries("it is a letter", async || !stage.groups().await.is_empty()).await;
    let heard = stage.replies(&phone, 1).await;
    assert!(heard[0].contains("after"), "{heard:?}");
    let group = &stage.groups().await["inbound:unreadable"];
    assert!(group["sample"]["detail"].as_str().unwrap().contains("nonsense"), "{group:#}");
    assert_eq!(group["repairs"][0], "fix_first");
    let id = group["sample"]["id"].as_str().unwrap();
    stage.sql("DROP TRIGGER story; UPDATE inbound_messages SET nature = 'words' WHERE nature = 'nonsense'").await;
    stage.advance(25 * 3_600);
    let old = stage.post("/admin/letters/replay", json!({ "ids": [id], "dry_run": false })).await;
    assert_eq!(old["refused"][0]["reason"], "too_old", "what was asked yesterday is not answered unseen: {old}");
    let away = json!({ "ids": [id], "reason": "asked again meanwhile", "dry_run": false });
    assert_eq!(stage.post("/admin/letters/discard", away).await["moved"], 1);
    assert!(stage.groups().await.is_empty());
    stage.end().await;
}
