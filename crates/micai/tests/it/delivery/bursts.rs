//! Throttles in bursts: what is refused for now waits, spread out, and nothing is lost, said twice, or taken for an outage.

use std::collections::HashSet;

use serde_json::json;
use simulator::{FaultKind, PhoneKind};

use super::on_send;
use crate::harness::Stage;

const PEOPLE: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn throttles_in_bursts_delay_what_they_meet_and_come_back_apart() {
    let stage = Stage::open().await;
    let phones: Vec<String> = (0..PEOPLE).map(|n| stage.phone(&format!("Ana {n}"), PhoneKind::Username)).collect();
    // Two bursts of the number's limit, one of them by the HTTP status alone, and one person's own.
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 131_056 }, 3, Some(&phones[0]))).unwrap();
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 130_429 }, 20, None)).unwrap();
    let by_status = FaultKind::Status { code: 429, after_accepting: false };
    stage.simulator.add_fault(on_send(by_status, 10, None)).unwrap();
    for text in ["one", "two"] {
        for phone in &phones {
            stage.simulator.say(phone, text).unwrap();
        }
        stage.simulator.wait_idle().await;
    }
    stage
        .until("each first message was refused once", async || {
            let queued = stage.outbound("queued").await;
            queued.len() == 2 * PEOPLE && queued.iter().filter(|one| one["attempts"] == 1).count() == PEOPLE
        })
        .await;
    let waiting = stage.outbound("queued").await;
    let tried: Vec<_> = waiting.iter().filter(|one| one["attempts"] == 1).collect();
    let instants: HashSet<_> = tried.iter().map(|one| one["not_before"].as_str().unwrap()).collect();
    assert!(instants.len() > PEOPLE / 2, "they do not come back together: {instants:?}");
    assert!(tried.iter().all(|one| one["error"]["reason"] == "refused_by_whatsapp"), "{tried:#?}");

    stage
        .until("all went out", async || {
            stage.advance(1);
            stage.until_quiet().await;
            stage.outbound("queued").await.is_empty()
        })
        .await;
    stage.settle().await;
    for phone in &phones {
        let heard = stage.replies(phone, 2).await;
        assert!(heard[0].contains("one") && heard[1].contains("two"), "{heard:?}");
    }
    assert!(stage.outbound("failed").await.is_empty() && stage.open_alerts("graph_outage").await.is_empty());
    assert!(stage.paused().await.is_empty(), "nothing is paused for everybody");
    let delivered = stage.outbound("delivered").await;
    assert!(delivered.iter().all(|one| one["attempts"].as_i64().unwrap() <= 8 && one["error"] == json!(null)));
    stage.end().await;
}
