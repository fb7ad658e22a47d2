//! The control API itself: state, phones, clock, events, bounds, reset.

use serde_json::{Value, json};
use simulator::{PhoneKind, PhoneSpec, Simulator, SimulatorConfig, StartError};

use crate::bench::{answer, bench, text};

#[tokio::test]
async fn phones_are_added_listed_and_removed() {
    let bench = bench().await;
    let ana = json!({ "name": "Ana", "kind": "phone_and_bsuid", "phone": "+55 11 99999-0000" });
    let (status, phone) = bench.sim("POST", "phones", &ana).await;
    assert_eq!((status, &phone["phone"], &phone["phone_shown"]), (200, &json!("5511999990000"), &json!(true)));
    assert!(phone["user_id"].as_str().unwrap().starts_with("BR."));
    for bad in [
        ana.clone(),
        json!({ "kind": "fax" }),
        json!({ "phone": "12" }),
        json!({ "name": "" }),
        json!({ "kind": "phone", "username": "ana.x" }),
        json!({ "username": "Ana!" }),
        json!({ "colour": "red" }),
        Value::Null,
        json!({ "phone": "15550783881" }),
    ] {
        assert_eq!(bench.sim("POST", "phones", &bad).await.0, 400, "{bad}");
    }
    assert_eq!(answer(bench.http.post(format!("{}/sim/phones", bench.simulator.url()))).await.1["kind"], "username");
    let id = phone["id"].as_str().unwrap();
    assert_eq!(bench.sim("GET", "phones", &Value::Null).await.1["phones"].as_array().unwrap().len(), 2);
    assert_eq!(bench.sim("DELETE", &format!("phones/{id}"), &Value::Null).await.0, 200);
    assert_eq!(bench.sim("DELETE", &format!("phones/{id}"), &Value::Null).await.0, 404);
    assert_eq!(bench.sim("GET", &format!("phones/{id}/chat"), &Value::Null).await.0, 404);
    bench
        .fails_later(
            &json!({ "messaging_product": "whatsapp", "to": "5511999990000", "text": { "body": "x" } }),
            131_026,
        )
        .await;
}

#[tokio::test]
async fn the_clock_moves_timestamps() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let (_, clock) = bench.sim("POST", "clock", &json!({ "set": 2_000_000_000 })).await;
    assert_eq!(clock["now"], 2_000_000_000_u64);
    let id = bench.simulator.say(&phone.id, "from the future").unwrap();
    bench.idle().await;
    let stamp: i64 = bench.message_of(&id)["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((2_000_000_000..2_000_000_060).contains(&stamp), "{stamp}");
    let before = bench.simulator.clock().now;
    assert_eq!(bench.sim("POST", "clock", &json!({ "advance_seconds": -86_400 })).await.0, 200);
    assert!(bench.simulator.clock().now < before);
    assert_eq!(bench.sim("POST", "clock", &json!({})).await.0, 400);
    assert_eq!(bench.sim("POST", "clock", &json!({ "set": 1, "advance_seconds": 1 })).await.0, 400);
}

#[tokio::test]
async fn events_tell_what_happens() {
    let bench = bench().await;
    let phone = bench.phone(PhoneKind::Username);
    let mut stream = bench.http.get(format!("{}/sim/events", bench.simulator.url())).send().await.unwrap();
    bench.simulator.say(&phone.id, "hello").unwrap();
    bench.accepted(&bench.to(&phone, "text", text("hi"))).await;
    bench.send(&json!({ "messaging_product": "whatsapp" })).await;
    let mut heard = String::new();
    let wanted = [
        "event: bubble_added",
        "event: bubble_changed",
        "event: status",
        "event: phone",
        "event: failure",
        "\"delivered\"",
    ];
    while !wanted.iter().all(|part| heard.contains(part)) {
        let chunk =
            tokio::time::timeout(std::time::Duration::from_secs(10), stream.chunk()).await.expect(&heard).unwrap();
        heard.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    bench.simulator.shutdown().await;
    while let Ok(Some(_)) = stream.chunk().await {}
    assert!(bench.http.get(bench.simulator.url()).send().await.is_err(), "it has stopped");
}

#[tokio::test]
async fn state_shows_the_whole_and_reset_forgets_it() {
    let bench = bench().await;
    let phone = bench.writing_phone(PhoneKind::Username).await;
    bench.accepted(&bench.to(&phone, "text", text("hi"))).await;
    bench.idle().await;
    bench.simulator.advance_clock(1_000);
    let (_, state) = bench.sim("GET", "state", &Value::Null).await;
    assert_eq!((&state["phone_number_id"], &state["deliveries_pending"]), (&json!("106540352242922"), &json!(0)));
    assert_eq!(state["phones"][0]["last_line"], "hi");
    assert_eq!(state["templates"].as_array().unwrap().len(), 5);
    let secrets = ["simulator-app-secret", "simulator-access-token"];
    assert!(secrets.iter().all(|secret| !state.to_string().contains(secret)));
    let (_, log) = bench.sim("GET", "webhooks?limit=1", &Value::Null).await;
    assert_eq!((&log["webhooks"][0]["state"], log["webhooks"].as_array().unwrap().len()), (&json!("acknowledged"), 1));
    assert_eq!(bench.sim("GET", "requests", &Value::Null).await.1["requests"][0]["accepted"], true);
    let (_, accepted) = bench.sim("GET", "accepted", &Value::Null).await;
    assert_eq!(
        (&accepted["count"], &accepted["first_at_milliseconds"]),
        (&json!(1), &accepted["last_at_milliseconds"])
    );
    assert_eq!(bench.sim("POST", "reset", &Value::Null).await.0, 200);
    assert_eq!(bench.sim("GET", "accepted", &Value::Null).await.1["count"], 0);
    let after = bench.simulator.state();
    assert!(after.phones.is_empty() && after.clock.ahead_seconds == 0 && after.webhook_url.is_some());
    assert!(bench.simulator.graph_requests().is_empty());
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let bench = bench().await;
    let request =
        bench.http.post(format!("{}/sim/reset", bench.simulator.url())).header("sec-fetch-site", "cross-site");
    assert_eq!(answer(request).await.0, 403);
}

#[tokio::test]
async fn the_chat_page_is_served() {
    let bench = bench().await;
    let page = bench.http.get(bench.simulator.url()).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
}

#[tokio::test]
async fn the_same_seed_makes_the_same_people() {
    let mut made = Vec::new();
    for _ in 0..2 {
        let simulator = Simulator::start(SimulatorConfig { seed: 7, ..SimulatorConfig::default() }).await.unwrap();
        made.push(simulator.add_phone(PhoneSpec::default()).unwrap());
        simulator.stop().await;
    }
    assert_eq!(made[0], made[1]);
}

#[tokio::test]
async fn senseless_settings_and_taken_addresses_stop_the_start() {
    let empty = SimulatorConfig { app_secret: String::new(), ..SimulatorConfig::default() };
    assert!(matches!(Simulator::start(empty).await, Err(StartError::Setting(_))));
    let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let taken = SimulatorConfig { bind: simulator.local_addr(), ..SimulatorConfig::default() };
    assert!(matches!(Simulator::start(taken).await, Err(StartError::Bind { .. })));
}
