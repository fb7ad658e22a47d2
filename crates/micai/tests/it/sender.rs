//! What goes out, what does not, and what nobody can say.

use simulator::{FaultKind, FaultOn, FaultSpec, PhoneKind};

use crate::harness::Stage;

fn on_send(kind: FaultKind) -> FaultSpec {
    FaultSpec { on: FaultOn::Send, kind, times: 1, phone: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_until_outbound_is_switched_on() {
    let stage = Stage::with(&[("outbound_reply_enabled", "false")]).await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    stage.simulator.say(&phone, "hello").unwrap();
    stage.settle().await;
    assert!(stage.simulator.graph_requests().is_empty(), "no call was made");
    let suppressed = stage.outbound("suppressed").await;
    assert_eq!(suppressed.len(), 1);
    let bsuid = stage.simulator.phone(&phone).unwrap().user_id.unwrap();
    let request = &suppressed[0]["request"];
    assert_eq!(request["body"]["recipient"], bsuid.as_str(), "the exact request is kept: {request}");
    assert!(request["body"]["text"]["body"].as_str().unwrap().starts_with("I heard: hello."));
    assert!(!request.to_string().contains("the-access-token"), "without the token");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_outside_the_window_waits_until_the_person_writes_again() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    // WhatsApp is down for a day; the reply is refused for now again and again, until the window has closed.
    stage.simulator.add_fault(FaultSpec { times: 100, ..on_send(FaultKind::Error { code: 130429 }) }).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    stage.until("it was tried", async || !stage.simulator.graph_requests().is_empty()).await;
    stage.until("it waits for its next attempt", async || stage.outbound("queued").await.len() == 1).await;
    stage.simulator.clear_faults();
    stage.advance(25 * 3_600);
    stage.until("it is held", async || stage.outbound("held").await.len() == 1).await;
    assert_eq!(stage.outbound("held").await[0]["error"]["reason"], "window_closed");
    stage.simulator.say(&phone, "are you there?").unwrap();
    let heard = stage.replies(&phone, 2).await;
    assert!(heard[0].contains("hello") && heard[1].contains("are you there?"), "in order: {heard:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_send_is_tried_again_later_and_in_order() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 130429 })).unwrap();
    stage.simulator.say(&phone, "one").unwrap();
    stage.until("it was refused once", async || stage.simulator.graph_requests().len() == 1).await;
    stage.simulator.say(&phone, "two").unwrap();
    stage.until("both wait", async || stage.outbound("queued").await.len() == 2).await;
    assert!(stage.heard(&phone).is_empty(), "the second does not overtake the first");
    stage.advance(10);
    let heard = stage.replies(&phone, 2).await;
    assert!(heard[0].contains("one") && heard[1].contains("two"), "{heard:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_whatsapp_never_takes_is_a_dead_letter_with_its_reason_and_blocks_nobody() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 131009 })).unwrap();
    stage.simulator.say(&phone, "one").unwrap();
    stage.until("it failed", async || stage.outbound("failed").await.len() == 1).await;
    let failed = &stage.outbound("failed").await[0];
    assert_eq!(failed["error"]["code"], 131009);
    assert!(failed["error"]["detail"].as_str().unwrap().len() > 30, "it says why: {failed}");
    stage.simulator.say(&phone, "two").unwrap();
    stage.replies(&phone, 1).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_answer_was_lost_is_settled_by_its_status_and_not_repeated() {
    let stage = Stage::open().await;
    for kind in [PhoneKind::Phone, PhoneKind::Username] {
        let phone = stage.phone("Ana", kind);
        stage.simulator.add_fault(on_send(FaultKind::DropAnswer)).unwrap();
        stage.simulator.say(&phone, "hello").unwrap();
        stage.replies(&phone, 1).await;
        stage.settle().await;
        stage.until("the status has settled it", async || stage.outbound("unknown").await.is_empty()).await;
        stage.advance(3_600);
        stage.settle().await;
        assert_eq!(stage.heard(&phone).len(), 1, "said once");
    }
    assert_eq!(stage.outbound("delivered").await.len(), 2);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_evidence_only_while_the_line_is_open() {
    let stage = Stage::open().await;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Username), stage.phone("Bo", PhoneKind::Phone));
    // "Something broke in here": it was not accepted, but WhatsApp does not promise that.
    stage.simulator.add_fault(on_send(FaultKind::Error { code: 131000 })).unwrap();
    stage.simulator.say(&ana, "hello").unwrap();
    stage.until("its fate is unknown", async || stage.outbound("unknown").await.len() == 1).await;
    stage.advance(600);
    stage.settle().await;
    assert_eq!(stage.outbound("unknown").await.len(), 1, "silence alone proves nothing");
    assert!(stage.heard(&ana).is_empty());
    stage.simulator.say(&bo, "hello").unwrap();
    stage.replies(&bo, 1).await;
    stage.settle().await;
    // Statuses come through and this one had none.
    stage.in_time("it is sent once more", async || stage.heard(&ana).len() == 1).await;
    stage.settle().await;
    let delivered = stage.outbound("delivered").await;
    let resent: Vec<_> = delivered.iter().filter(|one| one["resends"] == 1).collect();
    assert_eq!(resent.len(), 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_a_status_gives_the_lie_to_is_not_followed_by_a_repeat() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    stage.simulator.add_fault(on_send(FaultKind::Status { code: 502, after_accepting: true })).unwrap();
    stage.simulator.say(&phone, "hello").unwrap();
    stage.replies(&phone, 1).await;
    stage.settle().await;
    stage.advance(3_600);
    stage.settle().await;
    assert_eq!(stage.heard(&phone).len(), 1, "accepted although the answer said 502");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_come_twice_and_out_of_order_never_move_a_message_back() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    for kind in [FaultKind::Reorder, FaultKind::Duplicate, FaultKind::Reorder] {
        stage.simulator.add_fault(FaultSpec { on: FaultOn::Webhook, kind, times: 2, phone: None }).unwrap();
    }
    for number in 0..4 {
        stage.simulator.say(&phone, &format!("number {number}")).unwrap();
        stage.settle().await;
    }
    stage.replies(&phone, 4).await;
    stage.settle().await;
    assert_eq!(stage.outbound("delivered").await.len(), 4);
    stage.simulator.read(&phone, &[]).unwrap();
    stage.settle().await;
    assert_eq!(stage.outbound("read").await.len(), 4);
    stage.end().await;
}
