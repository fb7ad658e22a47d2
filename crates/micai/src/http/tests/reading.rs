//! Lists in pages, conversations, and the send ledger.

use serde_json::{Value, json};

use super::harness::{PAGE_ROWS_MAX, Platform, rule};

#[tokio::test]
async fn lists_are_walked_to_their_end_in_pages() {
    let platform = Platform::start().await;
    for number in 0..5 {
        platform.post("/admin/rules", rule(&format!("r{number}"), "default-agent", json!({}))).await.ok();
        platform.post("/admin/rules", rule(&format!("q{number}"), &format!("agent-{number}"), json!({}))).await.ok();
        platform.write(&format!("1555000000{number}"), &["one", "two", "three"]).await.ok();
        let conversation = platform.conversation_of(&format!("1555000000{number}")).await;
        platform.answer(conversation, &["reply"]).await;
    }
    let conversation = platform.conversation_of("15550000000").await.0;
    for (list, count) in [
        ("/admin/agents".to_owned(), 6),
        ("/admin/rules".to_owned(), 10),
        ("/admin/rules?agent_id=default-agent".to_owned(), 5),
        ("/admin/rules?agent_id=nobody".to_owned(), 0),
        ("/admin/conversations".to_owned(), 5),
        (format!("/admin/conversations/{conversation}/messages"), 4),
        ("/admin/outbound".to_owned(), 5),
        ("/admin/outbound?state=queued".to_owned(), 5),
        ("/admin/outbound?state=delivered".to_owned(), 0),
    ] {
        let whole = platform.all(&list, PAGE_ROWS_MAX).await;
        assert_eq!(whole.len(), count, "{list}");
        for limit in 1..=4 {
            assert_eq!(platform.all(&list, limit).await, whole, "{list} in pages of {limit}");
        }
    }
    let ids: Vec<Value> = platform.all("/admin/rules", 3).await.iter().map(|rule| rule["id"].clone()).collect();
    assert_eq!(ids, ["q0", "q1", "q2", "q3", "q4", "r0", "r1", "r2", "r3", "r4"]);
}

#[tokio::test]
async fn pages_and_filters_that_do_not_fit_are_refused_by_name() {
    let platform = Platform::start().await;
    let lists = ["agents", "rules", "conversations", "outbound"];
    for list in lists {
        for (query, code, field) in [
            ("limit=0", "limit_out_of_range", "limit"),
            ("limit=101", "limit_out_of_range", "limit"),
            ("limit=-1", "query_invalid", "limit"),
            ("limit=many", "query_invalid", "limit"),
            ("limits=1", "query_invalid", "limits"),
            ("cursor=zz", "cursor_invalid", "cursor"),
            ("cursor=", "cursor_invalid", "cursor"),
        ] {
            let answer = platform.get(&format!("/admin/{list}?{query}")).await;
            let problem = answer.problem(400, code);
            assert_eq!(problem["errors"][0]["field"], field, "{list}?{query}: {problem}");
        }
        platform.get(&format!("/admin/{list}?limit=100")).await.ok();
    }
    let state = platform.get("/admin/outbound?state=lost").await;
    let problem = state.problem(400, "query_invalid");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("`suppressed`"), "{problem}");
    platform.get(&format!("/admin/rules?agent_id={}", "x".repeat(129))).await.problem(422, "agent_id_invalid");
}

#[tokio::test]
async fn a_conversation_is_read_from_its_list_to_one_message() {
    let platform = Platform::start().await;
    platform.write("15551234567", &["michael: weather"]).await.ok();
    let id = platform.conversation_of("15551234567").await;
    let sends = platform.answer(id, &["sunny", "and warm"]).await;
    let detail = platform.get(&format!("/admin/conversations/{}", id.0)).await;
    assert_eq!(detail.ok()["addresses"], json!({"phone": "15551234567"}));
    assert_eq!((&detail.json["name"], &detail.json["mode"]), (&json!("Ana"), &json!("bot")));

    let transcript = platform.get(&format!("/admin/conversations/{}/messages", id.0)).await.ok()["items"].clone();
    let lines: Vec<(&str, &Value)> = transcript
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["direction"].as_str().unwrap(),
                if line["direction"] == "in" { &line["text"] } else { &line["body"]["text"] },
            )
        })
        .collect();
    assert_eq!(lines, [("out", &json!("and warm")), ("out", &json!("sunny")), ("in", &json!("michael: weather"))]);

    let message = transcript[2]["id"].as_str().unwrap();
    let timeline = platform.get(&format!("/admin/conversations/{}/messages/{message}", id.0)).await;
    let stations: Vec<&str> =
        timeline.ok()["stations"].as_array().unwrap().iter().map(|station| station["what"].as_str().unwrap()).collect();
    assert_eq!(stations, ["received", "claimed", "decided", "outbox", "outbox"]);
    assert_eq!(timeline.json["stations"][2]["detail"]["rule_id"], "r");
    assert_eq!(timeline.json["message"]["state"], "done");

    let nowhere = "00000000-0000-0000-0000-000000000001";
    platform.get(&format!("/admin/conversations/{nowhere}")).await.problem(404, "conversation_not_found");
    platform.get(&format!("/admin/conversations/{nowhere}/messages")).await.problem(404, "conversation_not_found");
    platform
        .get(&format!("/admin/conversations/{nowhere}/messages/{message}"))
        .await
        .problem(404, "conversation_not_found");
    let ours = format!("/admin/conversations/{}/messages/{}", id.0, sends[0].0);
    platform.get(&ours).await.problem(404, "message_not_found");
    for path in ["conversations/7", "conversations/7/messages", "outbound/7", "outbound/%FF"] {
        platform.get(&format!("/admin/{path}")).await.problem(404, "path_invalid");
    }
}

#[tokio::test]
async fn the_ledger_shows_what_a_dry_run_would_have_sent() {
    let platform = Platform::start().await;
    platform.write("15551234567", &["michael: weather"]).await.ok();
    let conversation = platform.conversation_of("15551234567").await;
    let sends = platform.answer(conversation, &["sunny", "and warm"]).await;
    let request = json!({"messaging_product": "whatsapp", "to": "15551234567", "text": {"body": "sunny"}});
    platform.suppress_next(conversation, request.clone()).await;

    let suppressed = platform.get("/admin/outbound?state=suppressed").await.ok()["items"].clone();
    assert_eq!(suppressed.as_array().unwrap().len(), 1);
    let send = &suppressed[0];
    assert_eq!((&send["id"], &send["request"]), (&json!(sends[0].0), &request));
    for field in [
        "id",
        "conversation_id",
        "to",
        "kind",
        "body",
        "state",
        "attempts",
        "error",
        "provider_message_id",
        "created_at",
    ] {
        assert!(send.get(field).is_some(), "{field} is missing in {send}");
    }
    assert_eq!((&send["to"], &send["kind"], &send["attempts"]), (&json!("15551234567"), &json!("text"), &json!(0)));
    let read = platform.get(&format!("/admin/outbound/{}", sends[0].0)).await.ok().clone();
    for (field, value) in send.as_object().unwrap() {
        assert_eq!(&read[field], value, "{field}");
    }
    assert_eq!((&read["calls"], &read["statuses"], &read["actions"]), (&json!([]), &json!([]), &json!([])));
    let queued = platform.get("/admin/outbound?state=queued").await;
    assert_eq!(queued.ok()["items"][0]["id"], json!(sends[1].0));
    platform.get("/admin/outbound/00000000-0000-0000-0000-000000000001").await.problem(404, "outbound_not_found");
}
