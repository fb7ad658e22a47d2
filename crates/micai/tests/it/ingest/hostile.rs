//! Webhooks with things in them that nobody should send: their neighbours come through, and it is never our fault.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::{FIXTURE_NUMBER, envelope, fixtures, kept_ids, messages, take, text_message};
use crate::harness::Stage;

/// Messages that no parser should choke on; `{id}` and `{at}` are filled in.
const HOSTILE: [&str; 26] = [
    r#"{"id":"{id}","from":"5511999990000","timestamp":"{at}","type":"hologram","hologram":{"beam":1}}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"{at}"}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"{at}","type":"text","text":"not an object"}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"{at}","type":"text","text":{"body":7}}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"{at}","type":["text"],"text":{"body":"hello"}}"#,
    r#"{"id":7,"from":[],"timestamp":{},"type":"text","text":{"body":"hello"}}"#,
    r#"{"id":"{id}","from":5511999990000,"timestamp":"{at}","type":"text","text":{"body":"hello"}}"#,
    r#"{"id":"","from":"5511999990000","timestamp":"{at}","type":"text","text":{"body":"hello"}}"#,
    r#"{"id":"{id}","from":"","timestamp":"{at}","type":"text","text":{"body":"from nobody"}}"#,
    r#"{"id":"{id}","id":"{id}-2","type":"image","type":"text","text":{"body":"a"},"text":{"body":"b"},"from":"5511999990000"}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"{at}","type":"location","location":{"latitude":1e999,"longitude":-1e999}}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"{at}","type":"text","text":{"body":"\ud83d half a face"}}"#,
    r#"{"id":"{id}\ud800","from":"5511999990000","timestamp":"{at}","type":"text","text":{"body":"hello"}}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"{at}","type":"text","text":{"body":"zero \u0000 zero"},"\u0000":"\u0000"}"#,
    r#"{"id":"{id}\u0000","from":"5511999990000","timestamp":"{at}","type":"text","text":{"body":"zero in the id"}}"#,
    r#"{"id":"{id}","from":"5511999990000","from_user_id":"BR.\u0000","timestamp":"{at}","type":"te\u0000xt"}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"99999999999999999999999","type":"text","text":{"body":"far"}}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":-9223372036854775808,"type":"text","text":{"body":"long ago"}}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":1e300,"type":"text","text":{"body":"when"}}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":"soon","type":"text","text":{"body":"when"}}"#,
    r#"{"id":"{id}","from":"5511999990000","timestamp":null,"type":"text","text":{"body":"when"}}"#,
    "null",
    "[]",
    r#""a string""#,
    "-0.5e-7",
    "{}",
];

/// What is kept word for word because it could not be read or asks nothing of us.
async fn kept_raw(stage: &Stage) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(stage.database_path()).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a connection");
    sqlx::query_scalar("SELECT raw FROM webhook_events").fetch_all(&mut connection).await.expect("rows")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_everything_loses_nobody_to_a_bad_neighbour() {
    let stage = Stage::with(&[("outbound_reply_enabled", "false")]).await;
    let mut good = Vec::new();
    let mut ids = BTreeSet::new();
    for (_, body) in fixtures() {
        for ((_, id), raw) in messages(&body) {
            if ids.insert(id) {
                good.push(raw);
            }
        }
    }
    let at = stage.now().as_second().to_string();
    let mut bad: Vec<String> = HOSTILE
        .iter()
        .enumerate()
        .map(|(number, text)| text.replace("{id}", &format!("wamid.BAD{number}")).replace("{at}", &at))
        .collect();
    let (open, close) = ("[".repeat(5_000), "]".repeat(5_000));
    bad.push(format!(r#"{{"id":"wamid.DEEPER","from":"5511999990000","type":"text","x":{open}{close}}}"#));
    bad.push(text_message(&"long".repeat(3_000), "an endless id", stage.now().as_second()));
    bad.push(text_message("wamid.LONG", &"long ".repeat(40_000), stage.now().as_second()));
    let mut items = Vec::new();
    for (number, raw) in good.iter().enumerate() {
        items.push(bad[number % bad.len()].clone());
        items.push(raw.clone());
    }
    // Each bad one stands between two good ones; the further rounds are repetitions that count for nothing.
    assert!(good.len() > bad.len());
    let body = envelope(&items);
    let processed = take(&stage, body.clone()).await.processed();
    assert!(processed >= good.len(), "{processed} of {} good ones", good.len());
    let kept = kept_ids(&stage).await;
    let lost: Vec<_> = ids.iter().map(|id| id.replace('\0', "\u{fffd}")).filter(|id| !kept.contains(id)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(take(&stage, body).await.processed(), 0, "the second time nothing is new");
    let raw = kept_raw(&stage).await;
    for one in ["hologram", "\"a string\"", "-0.5e-7", "wamid.DEEPER", "longlong"] {
        let in_transcript = kept.iter().any(|id| one == "hologram" && id == "wamid.BAD0");
        assert!(in_transcript || raw.iter().any(|text| text.contains(one)), "{one} is kept nowhere");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_entries_changes_and_values_harm_no_other() {
    let stage = Stage::with(&[("outbound_reply_enabled", "false")]).await;
    let now = stage.now().as_second();
    let good = |id: &str| {
        let message = text_message(id, "hello", now);
        format!(
            r#"{{"field":"messages","value":{{"metadata":{{"phone_number_id":"{FIXTURE_NUMBER}"}},"messages":[{message}]}}}}"#
        )
    };
    let body = format!(
        r#"{{"object":7,"entry":[null,7,"x",{{}},[],{{"id":{{}},"changes":"no"}},{{"id":"1","changes":[
            null,{one},{{"field":7,"value":{{}}}},{{"field":"messages"}},{{"value":{{"messages":[{{}}]}}}},
            {{"field":"messages","value":{{"metadata":7,"messages":"no","statuses":{{}},"contacts":[null,{{"wa_id":7}}]}}}},
            {{"field":"messages","value":{{"metadata":{{"phone_number_id":5}},"statuses":[null,7,{{"id":[],"status":{{}}}},
                {{"id":"wamid.S","status":"\ud800","timestamp":[],"errors":"no","pricing":7,"recipient_id":{{}}}}]}}}},
            {two}]}},{{"id":"2","id":"3","changes":[],"changes":[{three}]}}],"extra":{{"deep":{open}{close}}}}}"#,
        one = good("wamid.ONE"),
        two = good("wamid.TWO"),
        three = good("wamid.THREE"),
        open = "[".repeat(3_000),
        close = "]".repeat(3_000),
    );
    assert_eq!(take(&stage, body).await.processed(), 3);
    let expected = ["wamid.ONE", "wamid.THREE", "wamid.TWO"].map(str::to_owned);
    assert_eq!(kept_ids(&stage).await, BTreeSet::from(expected));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_changed_at_random_are_taken_or_refused_and_never_our_fault() {
    const BODIES: usize = 600;
    let stage = Stage::with(&[("outbound_reply_enabled", "false")]).await;
    let fixtures = fixtures();
    let mut dice = StdRng::seed_from_u64(2_026);
    let mut bodies: Vec<(Vec<u8>, usize)> = Vec::new();
    for number in 0..BODIES {
        let (_, fixture) = &fixtures[number % fixtures.len()];
        let mut body = fixture.clone();
        for _ in 0..dice.random_range(1..5) {
            let place = dice.random_range(0..body.len());
            body[place] = if dice.random() { dice.random() } else { body[dice.random_range(0..body.len())] };
        }
        if number % 5 == 0 {
            body.truncate(dice.random_range(0..body.len()));
        }
        let is_one_value = serde_json::from_slice::<Box<serde_json::value::RawValue>>(&body).is_ok();
        // The changed body as an item between two good ones: whatever it is, they must come through.
        if is_one_value {
            let item = String::from_utf8(body.clone()).expect("checked");
            let (before, after) = (format!("wamid.N{number}.before"), format!("wamid.N{number}.after"));
            let now = stage.now().as_second();
            let items = [text_message(&before, "hello", now), item, text_message(&after, "hello", now)];
            bodies.push((envelope(&items).into_bytes(), 2));
        }
        bodies.push((body, 0));
    }
    let stage_here = &stage;
    let answers = futures_util::stream::iter(bodies)
        .map(|(body, expected_min)| async move {
            let shown = String::from_utf8_lossy(&body).into_owned();
            (take(stage_here, body).await, expected_min, shown)
        })
        .buffer_unordered(16);
    let mut counts = [0, 0];
    answers
        .for_each(|(answer, expected_min, shown)| {
            match answer.status {
                200 => assert!(answer.processed() >= expected_min, "{shown}"),
                _ => answer.assert_problem(400, "body_not_json"),
            }
            counts[usize::from(answer.status == 200)] += 1;
            std::future::ready(())
        })
        .await;
    assert!(counts[0] > 100 && counts[1] > 100, "both ways were taken: {counts:?}");
    stage.end().await;
}
