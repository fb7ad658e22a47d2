//! What messages cost: settled once, put aside before they go out, held when a budget is spent, told to the operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use micai::clock::Clock as _;
use micai::domain::audit::Actor;
use micai::domain::budget::{
    Allowance, Budget, BudgetClaim, BudgetPeriod, BudgetScope, ExceededBudget, Reservation, SpendRequest, span,
};
use micai::domain::inbound::NewStatus;
use micai::domain::outbound::{AttemptOutcome, DeliveryStatus, Price, Refusal, SendCandidate, SendError};
use micai::domain::spend::Charge;
use micai::ids::Ids;
use micai::store::{Location, ReservationCursor, SpendGroup, SpendView, Store};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use simulator::{FaultKind, FaultOn, FaultSpec, InboundKind, InboundSpec, PhoneKind, SimulatorConfig};

use crate::harness::{ADMIN_KEY, Stage};
use crate::postgres::Postgres;
use crate::store::{NUMBER, World, accepted, status, world};

/// What a message of these stories costs.
const MICROS: i64 = 10_000;

fn actor() -> Actor {
    Actor::command_line("ana")
}

fn price(micros: i64) -> Option<Price> {
    let (is_free, kind) = if micros == 0 { (true, "free_customer_service") } else { (false, "regular") };
    let charge = Charge {
        country: "BR".to_owned(),
        category: "service".to_owned(),
        currency: "USD".to_owned(),
        micros,
        is_free,
    };
    Some(Price {
        billable: None,
        model: Some("PMP".to_owned()),
        kind: Some(kind.to_owned()),
        category: Some("service".to_owned()),
        charge: Some(charge),
    })
}

/// A status with a price.
pub fn priced(id: &str, kind: DeliveryStatus, micros: i64) -> NewStatus {
    NewStatus { price: price(micros), ..status(id, None, kind) }
}

/// Somebody writes, and the answer goes out as far as WhatsApp's acceptance.
async fn sent(world: &World, id: &str, person: &str) -> SendCandidate {
    let conversation = world.say(id, person, "hello").await;
    world.answer(conversation, &["hi"]).await;
    let candidate = SendCandidate { estimate_micros: Some(MICROS), ..world.due(conversation).await };
    assert!(world.store.begin_send(&candidate).await.unwrap());
    assert!(world.settle(&candidate, accepted(&format!("{id}.out"))).await);
    candidate
}

/// All that was ever spent.
async fn spent(store: &Store) -> SpendView {
    let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    let mut total = SpendView::default();
    store.spend(SpendGroup::Agent, from, to).await.unwrap().iter().for_each(|group| total.add(group));
    total
}

fn counts(view: &SpendView) -> (i64, i64, i64, i64, i64) {
    (view.messages, view.billed, view.free, view.estimated_micros, view.settled_micros)
}

async fn a_message_is_settled_once_however_its_statuses_come(world: &World) {
    use DeliveryStatus::{Delivered, Played, Read, Sent};
    sent(world, "c1", "5511900000001").await;
    world.ingest(Vec::new(), vec![priced("c1.out", Sent, MICROS)]).await;
    assert_eq!(counts(&spent(&world.store).await), (0, 0, 0, 0, 0), "not delivered yet: it can still fail");
    // `read` without a price comes first; `delivered` with one does not move the row any more, and settles it all the same.
    world.ingest(Vec::new(), vec![status("c1.out", None, Read)]).await;
    world.ingest(Vec::new(), vec![priced("c1.out", Delivered, MICROS)]).await;
    assert_eq!(counts(&spent(&world.store).await), (1, 1, 0, MICROS, MICROS));
    for again in [Delivered, Read, Played, Sent, Delivered] {
        world.ingest(Vec::new(), vec![priced("c1.out", again, MICROS)]).await;
    }
    let batch = [Read, Delivered, Read].map(|kind| priced("c1.out", kind, MICROS)).to_vec();
    world.ingest(Vec::new(), batch).await;
    let all = (0..8).map(|_| world.ingest(Vec::new(), vec![priced("c1.out", Played, MICROS)]));
    join_all(all).await;
    assert_eq!(counts(&spent(&world.store).await), (1, 1, 0, MICROS, MICROS), "once");

    // A free one, whose first status says everything.
    sent(world, "c2", "5511900000002").await;
    world.ingest(Vec::new(), vec![priced("c2.out", Read, 0)]).await;
    assert_eq!(counts(&spent(&world.store).await), (2, 1, 1, 2 * MICROS, MICROS));
    // One that failed after acceptance costs nothing, whatever was said before and after.
    let failed = sent(world, "c3", "5511900000003").await;
    world.ingest(Vec::new(), vec![priced("c3.out", Sent, MICROS)]).await;
    world.ingest(Vec::new(), vec![status("c3.out", None, DeliveryStatus::Failed)]).await;
    world.ingest(Vec::new(), vec![priced("c3.out", Delivered, MICROS)]).await;
    assert_eq!(world.state(&failed).await, "failed");
    assert_eq!(counts(&spent(&world.store).await), (2, 1, 1, 2 * MICROS, MICROS));
    let used = world.store.free_messages_used(world.clock.now()).await.unwrap();
    assert_eq!(used.iter().map(|one| (one.phone_number_id.as_str(), one.used)).collect::<Vec<_>>(), [(NUMBER, 1)]);
    let month = world.clock.now() + SignedDuration::from_hours(24 * 31);
    assert!(world.store.free_messages_used(month).await.unwrap().is_empty(), "they begin anew with the month");
}

async fn spend_is_told_by_day_month_agent_category_and_country(world: &World) {
    let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    for (group, name) in [
        (SpendGroup::Day, "2026-09-21"),
        (SpendGroup::Month, "2026-09"),
        (SpendGroup::Agent, "default-agent"),
        (SpendGroup::Category, "service"),
        (SpendGroup::Country, "BR"),
    ] {
        let groups = world.store.spend(group, from, to).await.unwrap();
        assert_eq!(groups.len(), 1, "{groups:?}");
        assert_eq!((groups[0].group.as_str(), groups[0].currency.as_str(), groups[0].messages), (name, "USD", 2));
    }
    let before = "2026-09-21T00:00:00Z".parse().unwrap();
    assert!(world.store.spend(SpendGroup::Day, from, before).await.unwrap().is_empty(), "the end does not count");
}

fn budget(id: &str, limit_micros: i64) -> Budget {
    Budget {
        id: id.to_owned(),
        scope: BudgetScope::Installation,
        subject: None,
        period: BudgetPeriod::Day,
        zone: None,
        currency: "USD".to_owned(),
        limit_micros,
    }
}

fn request(candidate: &SendCandidate, budgets: &[&Budget], now: Timestamp) -> SpendRequest {
    SpendRequest {
        conversation_id: candidate.conversation_id,
        outbound_id: candidate.id,
        phone_number_id: candidate.phone_number_id.clone(),
        micros: MICROS,
        currency: "USD".to_owned(),
        allowance: None,
        claims: budgets
            .iter()
            .map(|budget| BudgetClaim { budget_id: budget.id.clone(), subject: String::new(), span: budget.span(now) })
            .collect(),
    }
}

/// Puts money aside for a send, in a budget that has enough.
pub async fn put_aside(world: &World, candidate: &SendCandidate) {
    let large = budget("large", 1_000 * MICROS);
    world.store.save_budget(&large, &actor()).await.unwrap();
    let answer = world.store.reserve_spend(request(candidate, &[&large], world.clock.now())).await.unwrap();
    assert_eq!(answer, Reservation::Reserved);
}

/// People write, and an answer waits for each of them.
async fn due(world: &World, prefix: &str, people: usize) -> Vec<SendCandidate> {
    let mut candidates = Vec::new();
    for person in 0..people {
        let conversation = world.say(&format!("{prefix}.{person}"), &format!("55119{prefix}{person}"), "hello").await;
        world.answer(conversation, &["hi"]).await;
        candidates.push(world.due(conversation).await);
    }
    candidates
}

fn exceeded(reservation: &Reservation) -> Option<&ExceededBudget> {
    match reservation {
        Reservation::Reserved => None,
        Reservation::Exceeded(exceeded) => Some(exceeded),
    }
}

async fn used(store: &Store, id: &str) -> (i64, i64, i64) {
    let budget = store.budget(id).await.unwrap().unwrap();
    (budget.reserved_micros, budget.spent_micros, budget.held)
}

async fn open_alerts(store: &Store) -> BTreeMap<String, i64> {
    let alerts = store.alerts(true, None, 100).await.unwrap();
    alerts.into_iter().map(|alert| (format!("{} {}", alert.kind, alert.subject), alert.times)).collect()
}

/// What the scheduler does every few seconds. Gives how many conversations go on.
async fn look(store: &Store) -> usize {
    let mut after = Some(ReservationCursor::first());
    while let Some(cursor) = after {
        after = store.settle_reservations(&cursor).await.unwrap();
    }
    store.end_budget_periods().await.unwrap();
    store.release_budget_holds("USD").await.unwrap().len()
}

async fn two_processes_cannot_overspend_together(world: &World, other: &Store) {
    let store = &world.store;
    let day = budget("day", 3 * MICROS);
    assert_eq!(store.budget_snapshot().await.unwrap().budgets, []);
    store.save_budget(&day, &actor()).await.unwrap();
    let held = store.budget_snapshot().await.unwrap();
    assert_eq!(held.budgets, std::slice::from_ref(&day), "at once in the process that saved it");
    let sends = due(world, "7", 10).await;
    let now = world.clock.now();
    let ask = |(position, candidate): (usize, &SendCandidate)| {
        let (store, request) =
            (if position % 2 == 0 { store } else { other }.clone(), request(candidate, &[&day], now));
        async move { store.reserve_spend(request).await.unwrap() }
    };
    let answers = join_all(sends.iter().enumerate().map(ask)).await;
    let (open, shut): (Vec<_>, Vec<_>) = sends.iter().zip(&answers).partition(|(_, answer)| exceeded(answer).is_none());
    assert_eq!((open.len(), shut.len()), (3, 7));
    let words = exceeded(shut[0].1).unwrap().error();
    assert_eq!(words.reason, "budget_exceeded");
    assert!(words.detail.contains("\"day\" has 0 of 0.03 USD left until 2026-09-2"), "{}", words.detail);
    assert_eq!(used(store, "day").await, (3 * MICROS, 0, 7));
    let alerts = open_alerts(store).await;
    let expected = [("budget_exceeded day".to_owned(), 1), ("budget_warning day".to_owned(), 1)];
    assert_eq!(alerts, expected.into_iter().collect(), "once each");

    // A repeated attempt finds its money, also beside one that has none.
    for (candidate, _) in &open {
        let again = request(candidate, &[&day], now);
        assert_eq!(other.reserve_spend(again).await.unwrap(), Reservation::Reserved);
    }
    assert_eq!(used(store, "day").await, (3 * MICROS, 0, 7));
    for (candidate, answer) in &shut {
        let error = exceeded(answer).unwrap().error();
        assert!(store.refuse_send(candidate, Refusal::Hold(error)).await.unwrap().moved);
    }
    assert_eq!(look(store).await, 0, "no room yet");

    // One is delivered for less, one fails for good, one is on its way.
    let open: Vec<&SendCandidate> = open.into_iter().map(|(candidate, _)| candidate).collect();
    for (position, candidate) in open.iter().enumerate() {
        assert!(store.begin_send(candidate).await.unwrap());
        let outcome = if position == 1 {
            AttemptOutcome::Failed { error: SendError { code: None, reason: "story".into(), detail: String::new() } }
        } else {
            accepted(&format!("b.{position}"))
        };
        assert!(world.settle(candidate, outcome).await);
    }
    world.ingest(Vec::new(), vec![priced("b.0", DeliveryStatus::Delivered, MICROS / 2)]).await;
    assert_eq!(look(store).await, 1, "the failed one gave its money back");
    assert_eq!(used(store, "day").await, (MICROS, MICROS / 2, 6), "1.5 of 3 are used");
    assert_eq!(look(store).await, 1, "until it asks again, its room is still free");
    for candidate in shut.iter().map(|(candidate, _)| *candidate) {
        if world.state(candidate).await != "queued" {
            continue;
        }
        let answer = store.reserve_spend(request(candidate, &[&day], now)).await.unwrap();
        if let Some(exceeded) = exceeded(&answer) {
            store.refuse_send(candidate, Refusal::Hold(exceeded.error())).await.unwrap();
        }
    }
    assert_eq!(used(store, "day").await, (2 * MICROS, MICROS / 2, 6), "never more than the limit");
}

async fn what_is_held_goes_out_when_the_budget_is_raised_or_begins_anew(world: &World) {
    let store = &world.store;
    store.save_budget(&budget("day", 5 * MICROS), &actor()).await.unwrap();
    assert!(open_alerts(store).await.is_empty(), "another budget: warned anew when it comes to that");
    assert_eq!(look(store).await, 2, "as many as there is room for");
    world.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(used(store, "day").await, (0, 0, 4), "nothing is spent of a new day");
    assert_eq!(look(store).await, 4);
    assert_eq!(used(store, "day").await, (0, 0, 0));

    // A budget that is deleted holds nothing up.
    let tiny = budget("tiny", 1);
    store.save_budget(&tiny, &actor()).await.unwrap();
    let sends = due(world, "8", 1).await;
    let answer = store.reserve_spend(request(&sends[0], &[&tiny], world.clock.now())).await.unwrap();
    store.refuse_send(&sends[0], Refusal::Hold(exceeded(&answer).unwrap().error())).await.unwrap();
    assert_eq!(look(store).await, 0);
    assert!(store.delete_budget("tiny", &actor()).await.unwrap());
    assert!(!store.delete_budget("tiny", &actor()).await.unwrap());
    assert_eq!(look(store).await, 1);
    assert_eq!(world.state(&sends[0]).await, "queued");
    // Whoever still thinks that it is there is not stopped by it.
    let answer = store.reserve_spend(request(&sends[0], &[&tiny], world.clock.now())).await.unwrap();
    assert_eq!(answer, Reservation::Reserved);
    assert!(store.delete_budget("day", &actor()).await.unwrap());
    let audited = store.audit_log(Some("day"), None, None, 10).await.unwrap();
    let audited: Vec<_> = audited.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(audited, ["budget_deleted", "budget_saved", "budget_saved"]);
}

async fn all_budgets_or_none_and_no_other_currency(world: &World) {
    let store = &world.store;
    let (wide, narrow) = (budget("wide", 100 * MICROS), budget("narrow", MICROS - 1));
    let euros = Budget { currency: "EUR".to_owned(), ..budget("euros", 100 * MICROS) };
    for one in [&wide, &narrow, &euros] {
        store.save_budget(one, &actor()).await.unwrap();
    }
    let (now, sends) = (world.clock.now(), due(world, "6", 2).await);
    let answer = store.reserve_spend(request(&sends[0], &[&wide, &narrow], now)).await.unwrap();
    assert_eq!(exceeded(&answer).unwrap().budget_id, "narrow");
    assert_eq!(used(store, "wide").await, (0, 0, 0), "nothing was put aside in the other");
    let answer = store.reserve_spend(request(&sends[1], &[&wide, &euros], now)).await.unwrap();
    let words = exceeded(&answer).unwrap().error().detail;
    assert!(words.contains("is in EUR and the price table in USD"), "{words}");
    for id in ["wide", "narrow", "euros"] {
        store.delete_budget(id, &actor()).await.unwrap();
    }
    look(store).await;
}

async fn the_free_messages_of_the_month_are_counted_together(world: &World) {
    let store = &world.store;
    let month = budget("month", 2 * MICROS);
    store.save_budget(&month, &actor()).await.unwrap();
    let (now, sends) = (world.clock.now(), due(world, "5", 6).await);
    let allowance =
        Allowance { span: span(BudgetPeriod::Month, &jiff::tz::TimeZone::UTC, now), messages_max: 1_000, used: 997 };
    let ask = |candidate: &SendCandidate, used: i64| {
        let allowance = Some(Allowance { used, ..allowance });
        let request = SpendRequest { allowance, ..request(candidate, &[&month], now) };
        async move { store.reserve_spend(request).await.unwrap() }
    };
    // The counter of those that asked knows of none yet, the statuses of 997.
    assert_eq!(ask(&sends[0], 999).await, Reservation::Reserved);
    assert_eq!(used(store, "month").await.0, 0, "free");
    for candidate in &sends[1..3] {
        assert_eq!(ask(candidate, 1_000).await, Reservation::Reserved);
    }
    assert_eq!(used(store, "month").await.0, 2 * MICROS, "the free ones are used up");
    assert!(exceeded(&ask(&sends[3], 1_000).await).is_some());
    assert_eq!(ask(&sends[4], 999).await, Reservation::Reserved, "what is free goes out although nothing is left");
    // A bill for what was expected to be free counts all the same.
    assert!(store.begin_send(&sends[0]).await.unwrap());
    assert!(world.settle(&sends[0], accepted("free.0")).await);
    world.ingest(Vec::new(), vec![priced("free.0", DeliveryStatus::Delivered, MICROS)]).await;
    look(store).await;
    assert_eq!(used(store, "month").await, (2 * MICROS, MICROS, 1));
    store.delete_budget("month", &actor()).await.unwrap();
    look(store).await;
}

/// Plain words cost nothing; the template that takes their place does, in the budget of the day on which it goes out.
async fn what_goes_out_as_something_dearer_is_asked_for_again(world: &World) {
    let store = &world.store;
    let day = budget("day", MICROS);
    store.save_budget(&day, &actor()).await.unwrap();
    let sends = due(world, "4", 2).await;
    let ask = |candidate: &SendCandidate, micros: i64| {
        let request = SpendRequest { micros, ..request(candidate, &[&day], world.clock.now()) };
        async move { store.reserve_spend(request).await.unwrap() }
    };
    for send in &sends {
        assert_eq!(ask(send, 0).await, Reservation::Reserved);
    }
    assert_eq!(used(store, "day").await.0, 0);
    for _ in 0..2 {
        assert_eq!(ask(&sends[0], MICROS).await, Reservation::Reserved);
        assert_eq!(used(store, "day").await.0, MICROS, "in place of nothing, and once");
    }
    assert!(exceeded(&ask(&sends[1], MICROS).await).is_some(), "it does not ride on what was free");
    world.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(ask(&sends[0], MICROS).await, Reservation::Reserved);
    assert_eq!(used(store, "day").await.0, MICROS, "of this day");
    assert!(exceeded(&ask(&sends[1], MICROS).await).is_some());
    store.delete_budget("day", &actor()).await.unwrap();
    look(store).await;
}

async fn story(location: Location) {
    let world = world(location.clone()).await;
    a_message_is_settled_once_however_its_statuses_come(&world).await;
    spend_is_told_by_day_month_agent_category_and_country(&world).await;
    let other = Store::open(&location, Arc::new(Ids::seeded(12)), Arc::new(world.clock.clone())).await.unwrap();
    two_processes_cannot_overspend_together(&world, &other).await;
    what_is_held_goes_out_when_the_budget_is_raised_or_begins_anew(&world).await;
    all_budgets_or_none_and_no_other_currency(&world).await;
    the_free_messages_of_the_month_are_counted_together(&world).await;
    what_goes_out_as_something_dearer_is_asked_for_again(&world).await;
    other.close().await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    story(Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cost_on_postgres() {
    let server = Postgres::start().await;
    story(server.location()).await;
}

/// A WhatsApp that bills each message, and a price table with one price.
async fn stage() -> (Stage, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let prices = folder.path().join("prices.csv");
    let table =
        "# free_service_messages: 0\nMarket,Currency,Marketing,Utility,Authentication\nOther,USD,0.05,0.01,0.01\n";
    std::fs::write(&prices, table).unwrap();
    let simulator = SimulatorConfig { free_service_messages_per_month: 0, ..SimulatorConfig::default() };
    (Stage::before(simulator, &[("prices_file", prices.to_str().unwrap())]).await, folder)
}

async fn save_budget(stage: &Stage, id: &str, body: Value) {
    let answer = stage.admin(Method::PUT, &format!("/admin/budgets/{id}"), Some(body)).await;
    assert_eq!(answer, json!({ "status": "ok", "budget_id": id }));
}

async fn delivered(stage: &Stage, count: usize) {
    stage.until(&format!("{count} are delivered"), async || stage.outbound("delivered").await.len() == count).await;
}

/// The words of both alerts, which say what happens, until when, and what to do.
async fn what_the_operator_reads_of_a_budget(stage: &Stage) {
    let month = span(BudgetPeriod::Month, &jiff::tz::TimeZone::UTC, stage.now());
    let until = month.ends_at.to_string();
    let alerts = stage.get("/admin/alerts").await;
    for (kind, severity, words) in [
        (
            "budget_exceeded",
            "critical",
            format!(
                "The budget \"november\" is spent: 0 of 0.03 USD is left until {until}, and the next message may cost 0.01. \
                 What it concerns is held, and goes out by itself when the budget begins anew or money comes back, as long as \
                 the 24-hour window is open. To let it go now, raise the budget: PUT /admin/budgets/november."
            ),
        ),
        (
            "budget_warning",
            "warning",
            format!(
                "0.03 of 0.03 USD of the budget \"november\" are spent or put aside, and it lasts until {until}. When nothing \
                 is left, messages are held until then. If they should go out, raise it: PUT /admin/budgets/november."
            ),
        ),
    ] {
        let alert = alerts["items"].as_array().unwrap().iter().find(|one| one["kind"] == kind).unwrap();
        let read = (&alert["subject"], &alert["severity"], &alert["sentence"]);
        assert_eq!(read, (&json!("november"), &json!(severity), &json!(words)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_holds_what_comes_until_it_is_raised() {
    let (stage, _prices) = stage().await;
    save_budget(&stage, "november", json!({ "scope": "installation", "period": "month", "limit_micros": 30_000 }))
        .await;
    let phones: Vec<String> = (0..10).map(|_| stage.phone("Ana", PhoneKind::Phone)).collect();
    phones.iter().for_each(|phone| drop(stage.simulator.say(phone, "hello").unwrap()));
    stage.until("seven are held", async || stage.outbound("held").await.len() == 7).await;
    delivered(&stage, 3).await;
    let held = &stage.outbound("held").await[0];
    assert_eq!(held["error"]["reason"], "budget_exceeded");
    assert!(held["error"]["detail"].as_str().unwrap().contains("of 0.03 USD left until"), "{held}");
    let alerts = stage.get("/admin/alerts").await;
    let alerts: Vec<_> = alerts["items"].as_array().unwrap().iter().map(|one| (&one["kind"], &one["times"])).collect();
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    assert!(alerts.iter().all(|(_, times)| **times == 1), "{alerts:?}");
    what_the_operator_reads_of_a_budget(&stage).await;

    // What has gone out is spent now, not only put aside.
    stage
        .in_time("it is settled", async || {
            let budget = stage.get("/admin/budgets/november").await;
            (&budget["spent_micros"], &budget["reserved_micros"]) == (&json!(30_000), &json!(0))
        })
        .await;
    assert_eq!(stage.get("/admin/budgets").await["items"][0]["held"], 7);
    let spend = stage.get("/admin/spend?group_by=agent").await;
    assert_eq!(
        spend["groups"],
        json!([{ "group": "default-agent", "currency": "USD", "messages": 3, "billed": 3, "free": 0,
                 "estimated_micros": 30_000, "settled_micros": 30_000 }])
    );
    assert_eq!((&spend["totals"][0]["messages"], &spend["prices"]["currency"]), (&json!(3), &json!("USD")));

    save_budget(&stage, "november", json!({ "scope": "installation", "period": "month", "limit_micros": 50_000 }))
        .await;
    assert_eq!(stage.get("/admin/alerts").await["items"], json!([]), "over with the old limit");
    stage.in_time("two more are delivered", async || stage.outbound("delivered").await.len() == 5).await;
    let answer = stage.http.delete(stage.url("/admin/budgets/november")).header("x-admin-key", ADMIN_KEY);
    assert_eq!(answer.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    stage.in_time("all are delivered", async || stage.outbound("delivered").await.len() == 10).await;
    assert!(phones.iter().all(|phone| stage.heard(phone).len() == 1), "each heard its answer once");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_send_gives_its_money_back_and_each_contact_has_its_own() {
    let (stage, _prices) = stage().await;
    save_budget(&stage, "each", json!({ "scope": "contact", "period": "day", "limit_micros": 15_000 })).await;
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Username), stage.phone("Bo", PhoneKind::Phone));
    let fault = FaultSpec { on: FaultOn::Webhook, kind: FaultKind::Error { code: 131_026 }, times: 1, phone: None };
    stage.simulator.add_fault(FaultSpec { phone: Some(ana.clone()), ..fault }).unwrap();
    stage.simulator.say(&ana, "one").unwrap();
    stage.until("it failed", async || stage.outbound("failed").await.len() == 1).await;
    stage.simulator.say(&bo, "one").unwrap();
    delivered(&stage, 1).await;
    stage
        .in_time("the money is back", async || {
            let budget = stage.get("/admin/budgets/each").await;
            (&budget["reserved_micros"], &budget["spent_micros"]) == (&json!(0), &json!(10_000))
        })
        .await;
    // Ana has hers again, Bo has spent his.
    stage.simulator.say(&ana, "two").unwrap();
    delivered(&stage, 2).await;
    stage.simulator.say(&bo, "two").unwrap();
    stage.until("it is held", async || stage.outbound("held").await.len() == 1).await;
    stage.advance(24 * 3_600);
    stage
        .in_time("it is held no longer for the budget", async || {
            stage.outbound("held").await.iter().all(|held| held["error"]["reason"] != "budget_exceeded")
        })
        .await;
    stage.end().await;
}

/// Says something, and waits until everything is at rest.
async fn say(stage: &Stage, phone: &str, text: &str, referral: Option<Value>) {
    let text = InboundKind::Text { text: text.to_owned() };
    stage.simulator.post(phone, InboundSpec { referral, ..InboundSpec::from(text) }).unwrap();
    stage.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_through_an_advertisement_costs_nothing_for_three_days_from_the_first_answer() {
    let (stage, _prices) = stage().await;
    // Less than a message costs: whatever money had to be put aside for would be held.
    save_budget(&stage, "tiny", json!({ "scope": "contact", "period": "month", "limit_micros": 5_000 })).await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    let ad = json!({ "source_type": "ad", "source_id": "120210000000000000", "source_url": "https://fb.me/x" });
    say(&stage, &ana, "hello", Some(ad)).await;
    delivered(&stage, 1).await;
    // A minute before the end of it, in a window that her message opens anew.
    stage.advance(72 * 3_600 - 60);
    say(&stage, &ana, "and now?", None).await;
    delivered(&stage, 2).await;
    let day = |days: i64| (stage.now() + SignedDuration::from_hours(24 * days)).to_string()[..10].to_owned();
    let spend = stage.get(&format!("/admin/spend?group_by=category&from={}&to={}", day(-4), day(1))).await;
    assert_eq!(
        spend["groups"],
        json!([{ "group": "referral_conversion", "currency": "USD", "messages": 2, "billed": 0, "free": 2,
                 "estimated_micros": 0, "settled_micros": 0 }])
    );
    assert_eq!(spend["free_allowance"], json!([]), "none of the month's free messages is used up");
    let budget = async || {
        let budget = stage.get("/admin/budgets/tiny").await;
        (budget["reserved_micros"].clone(), budget["spent_micros"].clone())
    };
    assert_eq!(budget().await, (json!(0), json!(0)));

    stage.advance(60);
    say(&stage, &ana, "over?", None).await;
    let held = stage.outbound("held").await;
    assert_eq!((held.len(), &held[0]["error"]["reason"]), (1, &json!("budget_exceeded")), "it costs again: {held:?}");
    save_budget(&stage, "tiny", json!({ "scope": "contact", "period": "month", "limit_micros": 10_000 })).await;
    stage.in_time("it is spent", async || budget().await == (json!(0), json!(10_000))).await;
    delivered(&stage, 3).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_table_with_faults_stops_the_start_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let prices = folder.path().join("prices.csv");
    let start = async |text: Option<&[u8]>| {
        if let Some(text) = text {
            std::fs::write(&prices, text).unwrap();
        }
        let changes = [("prices_file", prices.to_str().unwrap())];
        let settings = crate::harness::settings(&folder.path().join("micai.db"), "http://127.0.0.1:9", &changes);
        let environment = settings.into_iter().map(|(key, value)| (crate::harness::variable(&key), value));
        let config = micai::config::Config::load(environment, None).unwrap();
        let clock = Arc::new(micai::clock::SystemClock);
        let chance = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
        match micai::app::App::start(&config, micai::app::Roles::SERVE, clock, chance).await {
            Ok(app) => {
                app.stop().await;
                String::new()
            }
            Err(error) => format!("{error:#}"),
        }
    };
    let said = start(None).await;
    assert!(said.contains("MICAI_PRICES_FILE names") && said.contains("cannot be read"), "{said}");
    let said = start(Some(b"Market,Currency,Marketing,Utility,Authentication\nOther,USD,1,a lot,1\n")).await;
    assert!(said.contains("prices.csv, line 2: utility of Other is \"a lot\""), "{said}");
    assert!(start(Some(&[0xff; 100])).await.contains("UTF-8"));
    assert!(start(Some(&vec![b'#'; 300_000])).await.contains("over 262144 bytes"));
    assert_eq!(start(Some(b"Market,Currency,Marketing,Utility,Authentication\nOther,USD,1,1,1\n")).await, "");
}
