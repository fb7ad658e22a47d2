//! The Graph API goes away for hours, and paces: what waits, how often is asked, and how it comes out.

use micai::queue::Topic;
use simulator::{FaultKind, GraphRequestView, PhoneKind};

use super::front::{Door, Front};
use super::on_send;
use crate::harness::Stage;

const PEOPLE: usize = 25;
const OUTAGE_SECONDS: i64 = 2 * 3_600;
const STEP_SECONDS: i64 = 20;
/// The longest rest between two probes, then the number's pace, and as much again.
const RECOVERY_SECONDS: usize = 2 * (60 + 2 * PEOPLE / PACE);
/// How long statuses have on a line that was silent for long.
const UNHEARD_SECONDS: i64 = 1_800;
/// Messages a second that the number may carry.
const PACE: usize = 5;

/// Places by which what was said may come early: as many calls are under way at once.
const SLACK: usize = 4;

/// What the calls said that WhatsApp took, in order.
fn taken(stage: &Stage) -> Vec<String> {
    let said = |call: GraphRequestView| call.body.unwrap()["text"]["body"].as_str().unwrap_or_default().to_owned();
    stage.calls().into_iter().filter(|call| call.accepted).map(said).collect()
}

/// How many of the numbers are in order when the others are taken away.
fn longest_ascent(numbers: &[usize]) -> usize {
    let mut ends: Vec<usize> = Vec::new();
    for number in numbers {
        match ends.iter().position(|end| end > number) {
            Some(place) => ends[place] = *number,
            None => ends.push(*number),
        }
    }
    ends.len()
}

/// How the Graph API is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// Its front answers 503.
    Unavailable,
    /// Nobody listens.
    Refusing,
}

async fn an_outage_costs_few_calls_and_ends_at_the_numbers_pace_oldest_first(away: Away) {
    let mut front = Front::new().await;
    front.set(Door::Open).await;
    // Fewer than there are conversations: some must stand back for others.
    let (pace, url) = (PACE.to_string(), front.url());
    let stage =
        Stage::with(&[("number_messages_per_second", &pace), ("send_workers", "4"), ("whatsapp_api_url", &url)]).await;
    front.leads_to(&stage.simulator.url());
    let phones: Vec<String> = (0..PEOPLE).map(|n| stage.phone(&format!("Ana {n}"), PhoneKind::Phone)).collect();
    // Their conversations are as old as their numbers; what they say in the outage comes in the opposite order.
    for phone in &phones {
        stage.simulator.say(phone, "zero").unwrap();
    }
    stage.simulator.wait_idle().await;
    recover(&stage, PEOPLE).await;
    stage.advance(60);
    match away {
        Away::Unavailable => {
            let fault = FaultKind::Status { code: 503, after_accepting: false };
            stage.simulator.add_fault(on_send(fault, 1_000_000, None)).unwrap();
        }
        Away::Refusing => front.set(Door::Refusing).await,
    }
    for text in ["one", "two"] {
        for (place, phone) in phones.iter().rev().enumerate() {
            stage.simulator.say(phone, &format!("{text} {place}")).unwrap();
            stage.simulator.wait_idle().await;
            stage.until_quiet_or_in_line().await;
            stage.advance(1);
        }
    }
    stage
        .until("the outage is noticed", async || {
            stage.advance(1);
            !stage.open_alerts("graph_outage").await.is_empty()
        })
        .await;
    for _ in 0..OUTAGE_SECONDS / STEP_SECONDS {
        stage.advance(STEP_SECONDS);
        stage.until_quiet_or_in_line().await;
    }
    let attempts: i64 = stage.outbound("queued").await.iter().map(|send| send["attempts"].as_i64().unwrap()).sum();
    assert!((60..=180).contains(&attempts), "{away:?}: one a minute and the first few: {attempts}");
    assert!(stage.outbound("failed").await.is_empty(), "an outage kills nothing");
    assert_eq!((taken(&stage).len(), stage.open_alerts("graph_outage").await.len()), (PEOPLE, 1));

    stage.simulator.clear_faults();
    front.set(Door::Open).await;
    let recovered = recover(&stage, 2 * PEOPLE).await;
    // The probe may have been any of them; and who passes the line last is not who is called last.
    let late = recovered.iter().skip(1).position(|text| text.contains("two")).unwrap();
    assert!(late + 1 >= PEOPLE - SLACK, "{away:?}: oldest first: {recovered:?}");
    let firsts = recovered.iter().filter_map(|text| text.split_once("one ")).map(|(_, rest)| rest);
    let ages: Vec<usize> = firsts.map(|said| said.split('.').next().unwrap().parse().unwrap()).collect();
    assert!(longest_ascent(&ages) >= PEOPLE - 2 * SLACK, "{away:?}: oldest first: {ages:?}");
    stage.advance(2);
    stage.settle().await;
    for phone in &phones {
        let heard = stage.replies(phone, 3).await;
        assert!(heard[1].contains("one") && heard[2].contains("two"), "{heard:?}");
    }
    assert!(stage.open_alerts("graph_outage").await.is_empty(), "over");
    stage.end().await;
}

/// Lets the clock run until so many calls were taken, never more than the number's pace allows. Gives what they said, in order.
async fn recover(stage: &Stage, count: usize) -> Vec<String> {
    let before = taken(stage).len();
    let mut seconds = 0;
    for _ in 0..RECOVERY_SECONDS {
        stage.until_quiet_or_in_line().await;
        let new = taken(stage).len() - before;
        // A burst of one; and a second's worth may still have been on its way when the clock went on.
        assert!(new <= 1 + (seconds + 1) * PACE, "{new} in {seconds} s");
        if new == count {
            break;
        }
        seconds += usize::from(new > 0);
        stage.advance(1);
    }
    let taken = taken(stage)[before..].to_vec();
    assert_eq!(taken.len(), count, "everything went out");
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_two_hours_costs_few_calls_and_ends_at_the_numbers_pace() {
    an_outage_costs_few_calls_and_ends_at_the_numbers_pace_oldest_first(Away::Unavailable).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hours_of_refused_connections_cost_few_calls_and_end_at_the_numbers_pace() {
    an_outage_costs_few_calls_and_ends_at_the_numbers_pace_oldest_first(Away::Refusing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hours_of_silence_leave_each_message_unknown_and_none_is_lost_or_said_twice() {
    let mut front = Front::new().await;
    front.set(Door::Open).await;
    let url = front.url();
    let mut stage = Stage::with(&[("whatsapp_call_timeout_seconds", "1"), ("whatsapp_api_url", &url)]).await;
    front.leads_to(&stage.simulator.url());
    let phones: Vec<String> = (0..6).map(|n| stage.phone(&format!("Ana {n}"), PhoneKind::Phone)).collect();
    front.set(Door::Silent).await;
    for text in ["one", "two"] {
        for phone in &phones {
            stage.simulator.say(phone, text).unwrap();
        }
        stage.simulator.wait_idle().await;
    }
    stage
        .until("all answers are written", async || {
            stage.get("/admin/outbound?limit=100").await["items"].as_array().unwrap().len() == 2 * phones.len()
        })
        .await;
    // A call ends after a second of real time, and nothing moves the clock meanwhile.
    for _ in 0..OUTAGE_SECONDS / 60 {
        stage.advance(60);
        stage.until_nothing_is_out().await;
    }
    let unknown = stage.outbound("unknown").await;
    assert_eq!((unknown.len(), stage.calls().len()), (2 * phones.len(), 0), "each was tried, and may have gone out");
    assert!(unknown.iter().all(|send| send["attempts"] == 1 && send["error"]["reason"] == "no_clear_answer"));
    assert_eq!(stage.open_alerts("graph_outage").await.len(), 1);

    front.set(Door::Open).await;
    stage.stop().await;
    stage.set("number_messages_per_second", &PACE.to_string());
    stage.start().await;
    stage.advance(60);
    stage.until_nothing_is_out().await;
    assert_eq!(stage.outbound("unknown").await.len(), 2 * phones.len(), "silence alone is no evidence");
    // Somebody else writes; the statuses of the answer show that the line is open.
    let bo = stage.phone("Bo", PhoneKind::Phone);
    stage.simulator.say(&bo, "hello").unwrap();
    stage
        .until("Bo is answered", async || {
            stage.advance(1);
            stage.heard(&bo).len() == 1
        })
        .await;
    stage.simulator.wait_idle().await;
    // Nothing may have come through before, and what WhatsApp has to say comes after growing pauses.
    stage.advance(UNHEARD_SECONDS - 60);
    stage.until_nothing_is_out().await;
    assert_eq!(stage.outbound("unknown").await.len(), 2 * phones.len(), "the line is open since too short a time");
    stage.advance(60);
    recover(&stage, 2 * phones.len()).await;
    stage.advance(2);
    stage.settle().await;
    for phone in &phones {
        let heard = stage.replies(phone, 2).await;
        assert!(heard[0].contains("one") && heard[1].contains("two"), "{heard:?}");
    }
    assert!(stage.open_alerts("graph_outage").await.is_empty());
    stage.end().await;
}

impl Stage {
    /// Waits until no conversation is being sent to.
    async fn until_nothing_is_out(&self) {
        self.until("nothing is being sent", async || {
            self.until_quiet_or_in_line().await;
            let depth = self.app().queue().depth(Topic::Send);
            depth.ready == 0 && depth.out == 0
        })
        .await;
    }

    /// Waits until what is under way, if anything, stands in line for a number, and waits for the clock with all behind it.
    pub async fn until_quiet_or_in_line(&self) {
        self.until("nothing moves without the clock", async || {
            let before = (self.calls().len(), self.app().queue().depth(Topic::Send));
            for _ in 0..5 {
                tokio::time::sleep(crate::harness::GLANCE).await;
            }
            let after = (self.calls().len(), self.app().queue().depth(Topic::Send));
            before == after
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
    assert!(taken(&stage).len() <= 2, "what came in counts, too: {:?}", taken(&stage));
    let before = taken(&stage).len();
    stage.advance(1);
    stage
        .until("all went out", async || {
            stage.advance(1);
            taken(&stage).len() == 10
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
