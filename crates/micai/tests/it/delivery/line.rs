//! What changes while a reply stands in line for its number's throughput: it was looked at before, and is looked at once more.

use micai::queue::Topic;
use reqwest::Method;
use serde_json::json;
use simulator::PhoneKind;

use crate::harness::Stage;

const DAY: i64 = 24 * 3_600;

/// A stage on which Ana's reply stands in line: a number that carries one message a second, which hers was.
async fn in_line() -> (Stage, String) {
    let stage = Stage::with(&[("number_messages_per_second", "1")]).await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    stage.simulator.say(&ana, "hello").unwrap();
    stage
        .until("her reply is being served", async || {
            stage.outbound("queued").await.len() == 1 && stage.app().queue().depth(Topic::Send).out == 1
        })
        .await;
    stage.until_quiet_or_in_line().await;
    assert_eq!((stage.heard(&ana).len(), stage.app().queue().depth(Topic::Send).out), (0, 1));
    (stage, ana)
}

async fn let_the_clock_run(stage: &Stage) {
    for _ in 0..10 {
        stage.advance(1);
        stage.until_quiet_or_in_line().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_heard_by_what_stands_in_line() {
    let (stage, ana) = in_line().await;
    stage.simulator.say(&ana, "stop").unwrap();
    stage.until("the stop takes it along", async || stage.outbound("cancelled").await.len() == 1).await;
    assert_eq!(stage.outbound("cancelled").await[0]["error"]["reason"], "opted_out");
    let_the_clock_run(&stage).await;
    let heard = stage.heard(&ana);
    assert!(heard.len() == 1 && !heard[0].contains("hello"), "only that the stop is heard: {heard:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_reaches_what_stands_in_line() {
    let (stage, ana) = in_line().await;
    let contacts = stage.get("/admin/contacts").await;
    let path = format!("/admin/contacts/{}/block", contacts["items"][0]["id"].as_str().unwrap());
    stage.admin(Method::POST, &path, Some(json!({ "reason": "threatens the staff" }))).await;
    assert_eq!(stage.outbound("cancelled").await[0]["error"]["reason"], "blocked");
    let_the_clock_run(&stage).await;
    assert!(stage.heard(&ana).is_empty());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_reaches_what_stands_in_line() {
    let (stage, ana) = in_line().await;
    let pause = json!({ "scope": "account", "subject": "", "reason": "It is late." });
    stage.admin(Method::POST, "/admin/pauses", Some(pause)).await;
    let_the_clock_run(&stage).await;
    assert_eq!((stage.heard(&ana).len(), stage.outbound("held").await.len()), (0, 1));
    stage.resume("account").await;
    stage
        .until("it goes out", async || {
            stage.advance(1);
            stage.heard(&ana).len() == 1
        })
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_closes_is_seen_by_what_stands_in_line() {
    let (stage, ana) = in_line().await;
    stage.advance(DAY);
    stage.until("it is held", async || stage.outbound("held").await.len() == 1).await;
    assert!(stage.heard(&ana).is_empty());
    stage.simulator.say(&ana, "again").unwrap();
    stage
        .until("both go out", async || {
            stage.advance(1);
            stage.heard(&ana).len() == 2
        })
        .await;
    stage.end().await;
}
