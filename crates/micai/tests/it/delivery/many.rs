//! Many messages to many phones while one in seven calls goes wrong.
//!
//! `MICAI_TEST_SEED` repeats a run; `MICAI_TEST_SOAK` makes it 10,000 messages.

use std::time::{Duration, Instant};

use micai::queue::Topic;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use simulator::{FaultKind, PhoneKind, SimulatorConfig};

use super::on_send;
use crate::harness::{GLANCE, Stage};

const SENDS: usize = 2_000;
const SENDS_SOAK: usize = 10_000;
/// Messages to each phone, one a round.
const ROUNDS: usize = 5;
/// Of a hundred calls, so many meet each kind of fault.
const FAULTS_PERCENT: u32 = 5;
/// Real time that a round may take.
const ROUND_PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_once_on_its_phone_and_in_order_though_answers_are_lost_and_calls_refused() {
    let sends = if std::env::var_os("MICAI_TEST_SOAK").is_some() { SENDS_SOAK } else { SENDS };
    let seed = std::env::var("MICAI_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(SimulatorConfig::fresh_seed);
    eprintln!("MICAI_TEST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let stage = Stage::open().await;
    let kinds = [PhoneKind::Phone, PhoneKind::PhoneAndBsuid, PhoneKind::Username];
    let phones: Vec<String> =
        (0..sends / ROUNDS).map(|n| stage.phone(&format!("Ana {n}"), kinds[n % kinds.len()])).collect();
    let mut faults = [0; 3];
    for round in 0..ROUNDS {
        for phone in &phones {
            let Some((kind, fault)) = fault(&mut dice) else { continue };
            faults[kind] += 1;
            stage.simulator.add_fault(on_send(fault, 1, Some(phone))).unwrap();
        }
        for phone in &phones {
            stage.simulator.say(phone, &format!("number {round}")).unwrap();
        }
        until_done(&stage, seed).await;
    }
    eprintln!("{sends} sends; answers lost, 5xx, throttled: {faults:?}");
    assert!(faults.iter().all(|count| *count > sends / 50), "MICAI_TEST_SEED={seed}: {faults:?}");
    stage.settle().await;
    for phone in &phones {
        let heard = stage.heard(phone);
        let in_order = heard.iter().enumerate().all(|(place, text)| text.contains(&format!("number {place}.")));
        assert!(in_order && heard.len() == ROUNDS, "MICAI_TEST_SEED={seed}: {phone} heard {heard:?}");
    }
    for state in ["unknown", "failed", "held", "queued", "sending", "sent"] {
        let stuck = stage.outbound(state).await;
        assert!(stuck.is_empty(), "MICAI_TEST_SEED={seed}: {state} {stuck:#?}");
    }
    stage.end().await;
}

fn fault(dice: &mut StdRng) -> Option<(usize, FaultKind)> {
    let kind = usize::try_from(dice.random_range(0..100) / FAULTS_PERCENT).ok()?;
    let fault = match (kind, dice.random_bool(0.5)) {
        (0, _) => FaultKind::DropAnswer,
        (1, true) => FaultKind::Status { code: 503, after_accepting: false },
        // A lie, which a status gives away.
        (1, false) => FaultKind::Status { code: 502, after_accepting: true },
        (2, true) => FaultKind::Error { code: 130_429 },
        (2, false) => FaultKind::Error { code: 131_056 },
        _ => return None,
    };
    Some((kind, fault))
}

/// Lets the clock run whenever nothing moves without it, until nothing is left.
async fn until_done(stage: &Stage, seed: u64) {
    let begun = Instant::now();
    loop {
        // Statuses first: by then what was accepted is known to be.
        stage.simulator.wait_idle().await;
        let left = stage.app().store().unfinished().await.unwrap();
        let unknown = stage.outbound("unknown").await.len();
        if left == 0 && unknown == 0 {
            return;
        }
        let queue = stage.app().queue();
        let depths = [Topic::Turn, Topic::Send].map(|topic| queue.depth(topic));
        if depths.iter().all(|depth| depth.ready == 0 && depth.out == 0) {
            stage.simulator.wait_idle().await;
            stage.advance(1);
        }
        assert!(begun.elapsed() < ROUND_PATIENCE, "MICAI_TEST_SEED={seed}: {left} left, {unknown} unknown, {depths:?}");
        tokio::time::sleep(GLANCE).await;
    }
}
