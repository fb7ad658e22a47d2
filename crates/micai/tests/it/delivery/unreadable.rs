//! A row of the outbox that this version cannot read.

use serde_json::json;
use simulator::PhoneKind;

use crate::harness::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_cannot_be_read_is_counted_put_aside_and_holds_up_nobody() {
    let stage = Stage::open().await;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Username));
    stage
        .sql(
            "CREATE TRIGGER story AFTER INSERT ON outbound_messages WHEN NEW.body LIKE '%garbled%'
             BEGIN UPDATE outbound_messages SET body = '{\"kind\":\"hologram\",\"text\":\"garbled\"}'
                   WHERE conversation_id = NEW.conversation_id AND id = NEW.id; END",
        )
        .await;
    for text in ["garbled", "after"] {
        stage.simulator.say(&ana, text).unwrap();
        stage.until("it has had its turn", async || stage.app().store().backlog().await.is_ok()).await;
        stage.simulator.wait_idle().await;
    }
    stage.simulator.say(&bo, "hello").unwrap();
    stage.replies(&bo, 1).await;
    stage.until_quiet().await;
    assert!(stage.heard(&ana).is_empty() && stage.groups().await.is_empty(), "a newer version may yet read it");
    let waiting = stage.outbound("queued").await;
    let first = waiting.last().unwrap();
    assert_eq!(first["error"]["reason"], "unreadable", "{waiting:#?}");
    for _ in 0..4 {
        assert!(stage.groups().await.is_empty(), "not yet");
        stage.until_quiet().await;
        stage.advance(30);
        stage.until_quiet().await;
    }
    let heard = stage.replies(&ana, 1).await;
    assert!(heard[0].contains("after"), "{heard:?}");
    stage.until("it is a letter", async || !stage.groups().await.is_empty()).await;
    let group = stage.groups().await["outbound:unreadable"].clone();
    let detail = group["sample"]["detail"].as_str().unwrap();
    assert!(detail.contains("hologram") && group["repairs"][0] == "fix_first", "{group:#}");
    // Mended, it goes out; until then it stays what it is.
    let id = group["sample"]["id"].as_str().unwrap();
    stage.post("/admin/letters/replay", json!({ "ids": [id], "dry_run": false })).await;
    stage.until("it is looked at", async || stage.outbound("queued").await[0]["error"] != json!(null)).await;
    stage.sql("DROP TRIGGER story").await;
    stage.sql("UPDATE outbound_messages SET body = '{\"kind\":\"text\",\"text\":\"mended\"}' WHERE body LIKE '%hologram%'").await;
    stage.advance(30);
    assert_eq!(stage.replies(&ana, 2).await[1], "mended");
    stage.end().await;
}
