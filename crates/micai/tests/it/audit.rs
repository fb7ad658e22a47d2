//! The audit log: every change of an operator's is there with who, what, when, before and after, and nothing rewrites it.

use micai::domain::agent::{AgentId, AgentSettings};
use micai::domain::audit::{Actor, AuditAction};
use micai::domain::rule::{Rule, RuleAction, RuleKind};
use micai::store::{Location, RuleChange};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::harness::{ADMIN_KEY, Stage};
use crate::postgres::Postgres;
use crate::store::{World, world};

/// What would rewrite the past.
const REWRITES: [&str; 3] = [
    "UPDATE audit_log SET actor_name = 'somebody else'",
    "DELETE FROM audit_log",
    "INSERT INTO audit_log (id, at, actor, action, subject) SELECT id, at, actor, action, 'x' FROM audit_log",
];

fn rule(agent: &str, keywords: Vec<String>) -> Rule {
    Rule {
        id: "hours".into(),
        agent_id: AgentId(agent.into()),
        kind: RuleKind::Keyword,
        enabled: true,
        priority: 1,
        keywords,
        whole_word: false,
        prefix: None,
        action: RuleAction::ReplyText,
        reply_text: "9 to 5".into(),
    }
}

async fn a_change_and_its_entry_are_one(world: &World) {
    let (store, shop) = (&world.store, AgentId("shop".into()));
    let ana = Actor::command_line("ana");
    let actions = async || {
        let log = store.audit_log(None, None, None, 100).await.unwrap();
        log.into_iter().map(|entry| entry.action).collect::<Vec<_>>()
    };
    // A rule that names an agent makes it; both are told.
    assert_eq!(store.save_rule(&rule("shop", vec!["open".into()]), 4, &ana).await.unwrap(), RuleChange::Saved);
    assert_eq!(actions().await, ["rule_saved", "agent_created"]);
    let refused = store.save_rule(&rule("new", vec!["open".into()]), usize::MAX / 2, &ana).await.unwrap();
    assert!(matches!(refused, RuleChange::NoRoom(_)));
    let settings = AgentSettings { name: "Shop".into(), ..AgentSettings::default() };
    assert!(store.create_agent(&shop, &settings, &ana).await.unwrap().is_none(), "it is there");
    assert!(store.update_agent(&AgentId("nobody".into()), &settings, &ana).await.unwrap().is_none());
    assert!(!store.delete_rule("nothing", &ana).await.unwrap());
    assert_eq!(actions().await.len(), 2, "what changed nothing is not told");
    assert!(store.update_agent(&shop, &settings, &ana).await.unwrap().is_some());
    // Too large to be kept whole: its size is.
    store.save_rule(&rule("shop", vec!["x".repeat(200); 500]), 4, &ana).await.unwrap();
    let last = &store.audit_log(Some("hours"), Some(AuditAction::RuleSaved), None, 1).await.unwrap()[0];
    assert_eq!(last.before.as_ref().unwrap()["keywords"], json!(["open"]));
    assert!(last.after.as_ref().unwrap()["left_out_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!((last.actor.as_str(), last.actor_name.as_deref()), ("command_line", Some("ana")));
    assert_eq!(last.at, micai::clock::Clock::now(&world.clock));
    let updated = &store.audit_log(Some("shop"), None, None, 1).await.unwrap()[0];
    assert_eq!(updated.before.as_ref().unwrap()["name"], "shop");
    assert_eq!(updated.after.as_ref().unwrap()["name"], "Shop");
}

async fn filters_and_pages_agree(world: &World) {
    let store = &world.store;
    let all = store.audit_log(None, None, None, 100).await.unwrap();
    assert!(all.is_sorted_by(|left, right| left.id > right.id), "youngest first");
    let saved = store.audit_log(None, Some(AuditAction::RuleSaved), None, 100).await.unwrap();
    assert_eq!(saved.len(), all.iter().filter(|entry| entry.action == "rule_saved").count());
    let rest = store.audit_log(None, None, Some(all[0].id), 100).await.unwrap();
    assert_eq!(rest.len(), all.len() - 1);
    assert!(store.audit_log(Some("shop"), Some(AuditAction::RuleSaved), None, 100).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("micai.db");
    let world = world(Location::Sqlite { path: path.clone(), readers_max: 4 }).await;
    a_change_and_its_entry_are_one(&world).await;
    filters_and_pages_agree(&world).await;
    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    for rewrite in REWRITES.into_iter().chain(["REPLACE INTO audit_log SELECT * FROM audit_log"]) {
        let refused = connection.execute(rewrite).await.unwrap_err().to_string();
        assert!(refused.contains("only grows"), "{rewrite}: {refused}");
    }
    connection.close().await.unwrap();
    filters_and_pages_agree(&world).await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_on_postgres() {
    let server = Postgres::start().await;
    let world = world(server.location()).await;
    a_change_and_its_entry_are_one(&world).await;
    filters_and_pages_agree(&world).await;
    let mut connection = server.options().connect().await.unwrap();
    for rewrite in REWRITES.into_iter().chain(["TRUNCATE audit_log"]) {
        let refused = connection.execute(rewrite).await.unwrap_err().to_string();
        assert!(refused.contains("only grows") || refused.contains("audit_log_pkey"), "{rewrite}: {refused}");
    }
    connection.close().await.unwrap();
    filters_and_pages_agree(&world).await;
    world.store.close().await;
}

/// A change by somebody who says who they are. Gives the request's id.
async fn change(stage: &Stage, method: Method, path: &str, body: Option<Value>) -> String {
    let mut request = stage.http.request(method.clone(), stage.url(path)).header("x-admin-key", ADMIN_KEY);
    request = request.header("x-admin-actor", "Zoë");
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{method} {path}: {answer:?}");
    answer.headers()["x-request-id"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_over_http_is_told_with_who_claims_to_have_made_it() {
    let stage = Stage::open().await;
    let shop = json!({ "id": "shop", "name": "Shop" });
    let rule = json!({ "id": "hours", "agent_id": "shop", "rule_type": "keyword", "keywords": ["open"],
                       "action": "reply_text", "reply_text": "9 to 5" });
    let mut requests = vec![
        change(&stage, Method::POST, "/admin/agents", Some(shop)).await,
        change(&stage, Method::PUT, "/admin/agents/shop", Some(json!({ "name": "The shop" }))).await,
        change(&stage, Method::POST, "/admin/rules", Some(rule)).await,
        change(&stage, Method::POST, "/admin/bind/15550001/shop", None).await,
        change(&stage, Method::DELETE, "/admin/rules/hours", None).await,
        change(&stage, Method::DELETE, "/admin/agents/shop", None).await,
    ];
    requests.reverse();
    let page = stage.get("/admin/audit?limit=4").await;
    let rest = stage.get(&format!("/admin/audit?cursor={}", page["next_cursor"].as_str().unwrap())).await;
    let items = [page["items"].as_array().unwrap().as_slice(), rest["items"].as_array().unwrap()].concat();
    let told = |key: &str| items.iter().map(|item| item[key].as_str().unwrap_or("-")).collect::<Vec<_>>();
    assert_eq!(
        told("action"),
        ["agent_deleted", "rule_deleted", "contact_bound", "rule_saved", "agent_updated", "agent_created"]
    );
    assert_eq!(told("request_id"), requests);
    assert!(items.iter().all(|item| item["actor"] == "admin" && item["actor_name"] == "Zoë"));
    assert_eq!((&items[0]["before"]["name"], &items[0]["after"]), (&json!("The shop"), &Value::Null));
    assert_eq!((&items[5]["before"], &items[5]["after"]["name"]), (&Value::Null, &json!("Shop")));
    assert_eq!(items[2]["after"], json!({ "agent_id": "shop", "conversations": 1 }));
    let of_shop = stage.get("/admin/audit?subject=shop&action=agent_updated").await;
    assert_eq!(of_shop["items"].as_array().unwrap(), &items[4..5]);

    for (query, header, code) in [
        ("?action=surprise", None, "query_invalid"),
        ("?limit=0", None, "limit_out_of_range"),
        ("?subject=%00", None, "subject_invalid"),
        ("", Some("x".repeat(129)), "admin_actor_invalid"),
    ] {
        let mut request = stage.http.get(stage.url(&format!("/admin/audit{query}"))).header("x-admin-key", ADMIN_KEY);
        if let Some(name) = header {
            // Only what changes something asks who it is.
            request = stage.http.post(stage.url("/admin/bind/15550001/shop")).header("x-admin-key", ADMIN_KEY);
            request = request.header("x-admin-actor", name);
        }
        let answer = request.send().await.unwrap();
        assert!([StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY].contains(&answer.status()));
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
    stage.end().await;
}
