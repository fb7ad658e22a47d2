//! Alerts: raised once, counted after that, seen by a person, over when their cause is.

use jiff::SignedDuration;
use micai::clock::Clock as _;
use micai::domain::alert::{AlertKind, NewAlert, Severity};
use micai::domain::audit::Actor;
use micai::store::Location;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{ADMIN_KEY, Stage};
use crate::postgres::Postgres;
use crate::store::{World, world};

fn paused(subject: &str, minutes: i64) -> NewAlert {
    let sentence = "WhatsApp restricts this number for spam. Wait, write less, then resume it.";
    NewAlert::new(AlertKind::NumberPaused, Severity::Critical, subject, sentence, json!({ "minutes": minutes }))
}

async fn one_is_open_for_each_subject_and_counts(world: &World) {
    let store = &world.store;
    let begun = world.clock.now();
    assert!(store.raise_alert(&paused("900001", 1)).await.unwrap(), "new");
    world.clock.advance(SignedDuration::from_secs(60));
    assert!(!store.raise_alert(&paused("900001", 2)).await.unwrap(), "counted");
    assert!(store.raise_alert(&paused("900002", 1)).await.unwrap(), "another number");
    let open = store.alerts(true, None, 10).await.unwrap();
    assert_eq!(open.iter().map(|one| one.subject.as_str()).collect::<Vec<_>>(), ["900002", "900001"], "youngest first");
    let first = &open[1];
    assert_eq!((first.times, &first.evidence), (2, &json!({ "minutes": 2 })));
    assert_eq!((first.raised_at, first.last_raised_at), (begun, world.clock.now()));

    // A condition is not over because somebody has seen it.
    let seen = store.acknowledge_alert(first.id, &Actor::command_line("ana")).await.unwrap().unwrap();
    assert_eq!((seen.acknowledged_at, seen.cleared_at), (Some(world.clock.now()), None));
    let again = store.acknowledge_alert(first.id, &Actor::command_line("ben")).await.unwrap().unwrap();
    assert_eq!(again.acknowledged_by.as_deref(), Some("ana"), "the first one stays");
    assert!(store.acknowledge_alert(uuid::Uuid::nil(), &Actor::Platform).await.unwrap().is_none());

    assert!(store.clear_alert(AlertKind::NumberPaused, "900001").await.unwrap());
    assert!(!store.clear_alert(AlertKind::NumberPaused, "900001").await.unwrap(), "once");
    assert_eq!(store.alerts(true, None, 10).await.unwrap().len(), 1);
    assert!(store.raise_alert(&paused("900001", 3)).await.unwrap(), "a new one after the end of the last");
    let all = store.alerts(false, None, 10).await.unwrap();
    assert_eq!(all.iter().map(|one| one.times).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(store.alerts(false, Some(all[1].id), 10).await.unwrap().len(), 1, "paged");
}

async fn what_the_database_would_refuse_is_mended(world: &World) {
    let odd = NewAlert::new(AlertKind::UnknownSends, Severity::Warning, "a\0b", "c\0d", json!({ "e\0": "f\0" }));
    assert!(world.store.raise_alert(&odd).await.unwrap());
    assert!(!world.store.raise_alert(&odd).await.unwrap(), "and found again");
}

async fn story(location: Location) {
    let world = world(location).await;
    one_is_open_for_each_subject_and_counts(&world).await;
    what_the_database_would_refuse_is_mended(&world).await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    story(Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_on_postgres() {
    let server = Postgres::start().await;
    story(server.location()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_reads_alerts_and_says_that_they_have_seen_them() {
    let stage = Stage::open().await;
    let store = stage.app().store();
    let sentence = "WhatsApp moved the template to marketing: it costs more now.";
    let changed = |name: &str| {
        let evidence = json!({ "from": "utility", "to": "marketing" });
        NewAlert::new(AlertKind::TemplateCategoryChanged, Severity::Warning, name, sentence, evidence)
    };
    for name in ["order_sent", "welcome", "reminder"] {
        assert!(store.raise_alert(&changed(name)).await.unwrap());
    }
    let page = stage.get("/admin/alerts?limit=2").await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|one| &one["subject"]).collect::<Vec<_>>(), ["reminder", "welcome"]);
    assert_eq!((&items[0]["sentence"], &items[0]["evidence"]["to"]), (&json!(sentence), &json!("marketing")));
    let rest = stage.get(&format!("/admin/alerts?cursor={}", page["next_cursor"].as_str().unwrap())).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));

    let path = format!("/admin/alerts/{}/acknowledge", items[0]["id"].as_str().unwrap());
    let seen = stage.admin(Method::POST, &path, None).await;
    assert!(
        seen["acknowledged_at"].is_string() && seen["cleared_at"].is_string(),
        "an event is over once seen: {seen}"
    );
    assert_eq!(stage.get("/admin/alerts").await["items"].as_array().unwrap().len(), 2);
    assert_eq!(stage.get("/admin/alerts?all=true").await["items"].as_array().unwrap().len(), 3);

    let unknown = stage.url("/admin/alerts/00000000-0000-0000-0000-000000000001/acknowledge");
    let answer = stage.http.post(unknown).header("x-admin-key", ADMIN_KEY).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "alert_not_found");
    stage.end().await;
}
