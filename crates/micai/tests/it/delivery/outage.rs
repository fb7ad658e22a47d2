//! The Graph API goes away for hours, and paces: what waits, how often is asked, and how it comes out.

use micai::queue::Topic;
use simulator::{FaultKind, PhoneKind};

use super::on_send;
use crate::harness::Stage;

const PEOPLE: usize = 25;
const OUTAGE_SECONDS: i64 = 2 * 3_600;
const STEP_SECONDS: i64 = 20;
/// The longest rest between two probes, then the number's pace, and as much again.
const RECOVERY_SECONDS: usize = 2 * (60 + 2 * PEOPLE / PACE);
/// Messages a second that the number may carry.
const PACE: usize = 5;

/// Calls that WhatsApp took.
fn taken(stage: &Stage) -> usize {
    stage.calls().iter().filter(|call| call.accepted).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_two_hours_costs_few_calls_and_ends_at_the_numbers_pace() {
    let stage = Stage::with(&[("number_messages_per_second", &PACE.to_string())]).await;
    let phones: Vec<String> = (0..PEOPLE).map(|n| stage.phone(&format!("Ana {n}"), PhoneKind::Phone)).collect();
    let away = FaultKind::Status { code: 503, after_accepting: false };
    stage.simulator.add_fault(on_send(away, 1_000_000, None)).unwrap();
    for text in ["one", "two"] {
        for phone in &phones {
            stage.simulator.say(phone, text).unwrap();
        }
        stage.simulator.wait_idle().await;
    }
    stage
        .until("the outage is noticed", async || {
            stage.advance(1);
            !stage.open_alerts("graph_outage").await.is_empty()
        })
        .await;
    for _ in 0..OUTAGE_SECONDS / STEP_SECONDS {
        stage.advance(STEP_SECONDS);
        // Whoever stands in line for the number waits for the clock.
        stage.until("nothing is ready", async || stage.app().queue().depth(Topic::Send).ready == 0).await;
        stage.until_quiet_or_in_line().await;
    }
    let calls = stage.calls().len();
    assert!((60..=180).contains(&calls), "one a minute and the first few: {calls}");
    assert!(stage.outbound("failed").await.is_empty(), "an outage kills nothing");
    assert_eq!((taken(&stage), stage.open_alerts("graph_outage").await.len()), (0, 1));

    stage.simulator.clear_faults();
    let mut seconds = 0;
    for _ in 0..RECOVERY_SECONDS {
        stage.until_quiet_or_in_line().await;
        let taken = taken(&stage);
        // A burst of one; and a second's worth may still have been on its way when the clock went on.
        assert!(taken <= 1 + (seconds + 1) * PACE, "{taken} in {seconds} s");
        if taken == 2 * PEOPLE {
            break;
        }
        seconds += usize::from(taken > 0);
        stage.advance(1);
    }
    assert_eq!(taken(&stage), 2 * PEOPLE, "everything went out");
    stage.advance(2);
    stage.settle().await;
    for phone in &phones {
        let heard = stage.replies(phone, 2).await;
        assert!(heard[0].contains("one") && heard[1].contains("two"), "{heard:?}");
    }
    assert!(stage.open_alerts("graph_outage").await.is_empty(), "over");
    stage.end().await;
}

impl Stage {
    /// Waits until what is under way, if anything, stands in line for a number: until the calls no longer grow.
    async fn until_quiet_or_in_line(&self) {
        self.until("nothing moves without the clock", async || {
            let before = (self.calls().len(), self.app().queue().depth(Topic::Send));
            for _ in 0..5 {
                tokio::time::sleep(crate::harness::GLANCE).await;
            }
            let after = (self.calls().len(), self.app().queue().depth(Topic::Send));
            before == after && after.1.ready == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_clock_stands_still_a_number_sends_its_burst_and_no_more() {
    let stage = Stage::with(&[("number_messages_per_second", "20")]).await;
    let phones: Vec<String> = (0..10).map(|n| stage.phone(&format!("Ana {n}"), PhoneKind::Username)).collect();
    for phone in &phones {
        stage.simulator.say(phone, "hello").unwrap();
    }
    stage.until("all are to be sent", async || stage.app().queue().depth(Topic::Turn).ready == 0).await;
    stage.simulator.wait_idle().await;
    stage.until_quiet_or_in_line().await;
    assert!(taken(&stage) <= 2, "what came in counts, too: {}", taken(&stage));
    let before = taken(&stage);
    stage.advance(1);
    stage
        .until("all went out", async || {
            stage.advance(1);
            taken(&stage) == 10
        })
        .await;
    assert!(before < 10);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_hears_four_at_once_and_then_one_in_six_seconds_while_others_are_answered() {
    let stage = Stage::with(&[("pair_seconds", "6"), ("pair_burst", "4")]).await;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Phone));
    for number in 0..7 {
        stage.simulator.say(&ana, &format!("number {number}")).unwrap();
        stage
            .until("it is answered or waits", async || {
                let all = stage.get("/admin/outbound?limit=100").await;
                all["items"].as_array().unwrap().len() == number + 1
            })
            .await;
    }
    stage.replies(&ana, 4).await;
    stage.until_quiet().await;
    assert_eq!(stage.heard(&ana).len(), 4);
    stage.simulator.say(&bo, "hello").unwrap();
    stage.replies(&bo, 1).await;
    for more in 1..=3 {
        stage.advance(5);
        stage.until_quiet().await;
        assert_eq!(stage.heard(&ana).len(), 3 + more, "not yet");
        stage.advance(1);
        stage.replies(&ana, 4 + more).await;
        stage.until_quiet().await;
    }
    let heard = stage.heard(&ana);
    assert!(heard.iter().enumerate().all(|(place, text)| text.contains(&format!("number {place}"))), "{heard:?}");
    stage.end().await;
}
