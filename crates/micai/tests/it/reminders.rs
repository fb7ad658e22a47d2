//! Reminders as people use them: by words in the chat, without any model.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{InboundKind, InboundSpec, PhoneKind};

use crate::delivery::with_templates;
use crate::harness::Stage;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

/// A platform whose agent has to be called by name, as it comes out of the box.
async fn stage() -> Stage {
    Stage::with(&[("require_invoke_prefix", "true")]).await
}

/// Says something and gives the answer: the bubble of that place.
async fn answer(stage: &Stage, phone: &str, said: &str, place: usize) -> String {
    stage.simulator.say(phone, said).unwrap();
    stage.replies(phone, place).await.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_is_confirmed_and_comes_and_can_be_put_off() {
    let stage = stage().await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    let confirmed = answer(&stage, &ana, "michael: remind me in 1 minute to stretch", 1).await;
    assert!(confirmed.starts_with("Reminder 1 is set: stretch\nIt comes on "), "{confirmed}");
    let list = answer(&stage, &ana, "michael: list my reminders", 2).await;
    assert!(list.contains("1. stretch: ") && list.contains("michael: cancel 1"), "{list}");
    stage.advance(MINUTE - 1);
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 2, "not before its time");
    stage.advance(1);
    assert_eq!(stage.replies(&ana, 3).await[2], "Reminder: stretch");
    stage.settle().await;

    let put_off = answer(&stage, &ana, "michael: snooze 10 min", 4).await;
    assert!(put_off.starts_with("I remind you again on ") && put_off.ends_with(": stretch"), "{put_off}");
    stage.advance(10 * MINUTE);
    assert_eq!(stage.replies(&ana, 5).await[4], "Reminder: stretch");
    stage.settle().await;
    let none = answer(&stage, &ana, "michael: my reminders", 6).await;
    assert!(none.starts_with("You have no reminders."), "{none}");
    // The control word is for us alone, in whatever language.
    for (place, said, expected) in [
        (7, "My reminders", "You have no reminders."),
        (8, "mis recordatorios", "No tiene recordatorios."),
        (9, "michael: meus lembretes", "You have no reminders."),
    ] {
        let none = answer(&stage, &ana, said, place).await;
        assert!(none.starts_with(expected), "{said}: {none}");
    }
    assert!(answer(&stage, &ana, "help", 10).await.contains("\nMY REMINDERS: "), "help names it");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_zone_is_not_known_it_is_asked_once_and_the_reminder_waits_for_the_answer() {
    let stage = stage().await;
    let ana = stage.phone("Ana", PhoneKind::Username);
    let asked = answer(&stage, &ana, "michael: remind me in 3 days at 9:00 am to pay rent", 1).await;
    assert!(asked.starts_with("In which city are you?"), "{asked}");
    // An answer to our question needs no name in front.
    let set = answer(&stage, &ana, "Lisbon", 2).await;
    assert!(
        set.starts_with("Reminder 1 is set: pay rent\nIt comes on ") && set.contains("at 09:00 (Europe/Lisbon)."),
        "{set}"
    );
    assert!(set.contains("it waits until you write again"), "no template is set up: {set}");
    let next = answer(&stage, &ana, "michael: every weekday at 9 call mom", 3).await;
    assert!(next.contains("It comes every weekday at 09:00, first on ") && next.contains("(Europe/Lisbon)"), "{next}");
    let gone = answer(&stage, &ana, "michael: cancel 1", 4).await;
    assert_eq!(gone, "Cancelled: pay rent");
    let list = answer(&stage, &ana, "michael: my reminders", 5).await;
    assert!(list.contains("2. call mom: every weekday at 09:00, next ") && !list.contains("pay rent"), "{list}");
    assert_eq!(answer(&stage, &ana, "michael: cancel all", 6).await, "Cancelled: call mom");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_asked_back_and_its_answer_completes_it() {
    let stage = stage().await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    let asked = answer(&stage, &ana, "michael: remind me soon to stretch", 1).await;
    assert!(
        asked.starts_with("I need an exact time.") && asked.contains("michael: remind me in 2 hours to stretch"),
        "{asked}"
    );
    stage.simulator.say(&ana, "let me think about it").unwrap();
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 1, "that is no answer, and nobody was called");
    let set = answer(&stage, &ana, "in 20 minutes", 2).await;
    assert!(set.starts_with("Reminder 1 is set: stretch\n"), "{set}");
    stage.advance(20 * MINUTE);
    assert_eq!(stage.replies(&ana, 3).await[2], "Reminder: stretch");
    stage.end().await;
}

async fn rule(stage: &Stage, keyword: &str, reply_text: &str) {
    let body = json!({
        "id": keyword, "agent_id": "default-agent", "rule_type": "keyword", "keywords": [keyword],
        "action": "call_reminder", "reply_text": reply_text,
    });
    stage.admin(Method::POST, "/admin/rules", Some(body)).await;
}

async fn tried(stage: &Stage, text: &str) -> Value {
    stage.admin(Method::POST, "/admin/agents/default-agent/try", Some(json!({ "text": text }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_takes_words_for_a_reminder() {
    let stage = stage().await;
    rule(&stage, "todo", "").await;
    rule(&stage, "jot", "What shall I jot down?").await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    let said = async |text: &str, place: usize| answer(&stage, &ana, text, place).await;
    assert!(said("michael: TODO: call Mom in 20 minutes", 1).await.starts_with("Reminder 1 is set: call Mom\n"));
    assert!(
        said("michael: in 3 hours water the plants, todo", 2).await.starts_with("Reminder 2 is set: water the plants")
    );
    let list = said("michael: todo list my reminders", 3).await;
    assert!(list.contains("1. call Mom: ") && list.contains("2. water the plants"), "{list}");
    // What is missing is asked for, one by one, and with an example.
    let asked = said("michael: todo", 4).await;
    assert!(asked.starts_with("What shall I remind you of?") && asked.contains("michael: remind me"), "{asked}");
    assert!(said("buy milk", 5).await.starts_with("When shall I remind you?"));
    assert!(said("in 1 hour", 6).await.starts_with("Reminder 3 is set: buy milk\n"));
    assert!(said("michael: todo call Bo soon", 7).await.starts_with("I need an exact time."));
    // The rule's own words ask as well.
    assert_eq!(said("michael: jot", 8).await, "What shall I jot down?");
    assert!(said("call Cy in 2 hours", 9).await.starts_with("Reminder 4 is set: call Cy\n"));
    stage.advance(20 * MINUTE);
    assert_eq!(stage.replies(&ana, 10).await[9], "Reminder: call Mom");
    stage.settle().await;

    let explained = tried(&stage, "michael: todo call Mom in 20 minutes").await;
    assert!(explained["reply"].as_str().unwrap().starts_with("Reminder 1 is set: call Mom\n"), "{explained}");
    assert_eq!(explained["reason"], "The rule `todo` answers with the tool `set_reminder`.");
    stage.admin(Method::PUT, "/admin/agents/default-agent", Some(json!({ "tools": ["get_weather"] }))).await;
    assert_eq!(said("michael: todo call Mom in 20 minutes", 11).await, "I am not set up to do that.");
    let explained = tried(&stage, "michael: todo call Mom in 20 minutes").await;
    let reason = explained["reason"].as_str().unwrap();
    assert!(reason.ends_with("the tool `set_reminder`, which the agent does not list: it did not run."), "{explained}");
    let log = stage.get("/admin/audit?action=tool_denied").await;
    assert_eq!(log["items"][0]["after"]["tool"], "set_reminder");
    let plain = said("michael: remind me in 20 minutes to call Mom", 12).await;
    assert!(plain.starts_with("I heard"), "without the rule these are ordinary words: {plain}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_a_message_back_takes_back_the_question_about_it() {
    let stage = stage().await;
    let ana = stage.phone("Ana", PhoneKind::Username);
    let ask = async |text: &str| {
        let count = stage.heard(&ana).len();
        let id = stage.simulator.say(&ana, text).unwrap();
        (id, stage.replies(&ana, count + 1).await.pop().unwrap())
    };
    let post = async |kind: InboundKind| {
        stage.simulator.post(&ana, InboundSpec::from(kind)).unwrap();
        stage.settle().await;
    };
    let is_no_answer = async |text: &str| {
        let count = stage.heard(&ana).len();
        stage.simulator.say(&ana, text).unwrap();
        stage.settle().await;
        assert_eq!(stage.heard(&ana).len(), count, "{:?}", stage.heard(&ana));
    };
    let (first, asked) = ask("michael: remind me soon to stretch").await;
    assert!(asked.starts_with("I need an exact time."), "{asked}");
    post(InboundKind::Revoke { message_id: first }).await;
    is_no_answer("in 20 minutes").await;

    // Also by the answer that led to the next question, and by what stood at the beginning.
    for takes_first in [true, false] {
        let (first, _) = ask("michael: remind me soon to stretch").await;
        let (second, asked) = ask("in 3 days at 9:00 am").await;
        assert!(asked.starts_with("In which city are you?"), "{asked}");
        post(InboundKind::Revoke { message_id: if takes_first { first } else { second } }).await;
        is_no_answer("Lisbon").await;
    }
    // Who mends the words is not waited for any more.
    let (first, _) = ask("michael: remind me soon to stretch").await;
    post(InboundKind::Edit { message_id: first, text: "michael: remind me in 2 hours to stretch".into() }).await;
    let set = stage.heard(&ana).pop().unwrap();
    assert!(set.starts_with("Reminder 1 is set: stretch\n"), "{set}");
    is_no_answer("in 20 minutes").await;
    let (_, list) = ask("michael: my reminders").await;
    assert!(list.contains("1. stretch") && !list.contains("2. "), "{list}");
    // Somebody else's message taken back changes nothing.
    let other = stage.simulator.say(&ana, "never mind this").unwrap();
    ask("michael: remind me soon to rest").await;
    post(InboundKind::Revoke { message_id: other }).await;
    assert!(ask("in 20 minutes").await.1.starts_with("Reminder 2 is set: rest\n"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_window_has_closed_a_template_says_it_as_was_announced() {
    let stage = with_templates("news", &[("require_invoke_prefix", "true")]).await;
    stage.make_news().await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    let set = answer(&stage, &ana, "michael: remind me in 50 hours to pay rent", 1).await;
    assert!(set.starts_with("Reminder 1 is set: pay rent\n"), "{set}");
    assert!(set.contains("lets me send only an approved template by then, so it comes as a template."), "{set}");
    let inside = answer(&stage, &ana, "michael: remind me in 20 hours to stretch", 2).await;
    assert!(!inside.contains("template"), "nothing to announce: {inside}");
    let again = answer(&stage, &ana, "michael: every 12 hours drink water", 3).await;
    assert!(again.contains("Once you have not written to me for 24 hours,") && again.contains("template"), "{again}");
    answer(&stage, &ana, "michael: cancel 3", 4).await;
    stage.advance(20 * HOUR);
    assert_eq!(stage.replies(&ana, 5).await[4], "Reminder: stretch");
    stage.settle().await;
    stage.advance(30 * HOUR);
    let said = stage.replies(&ana, 6).await.pop().unwrap();
    assert_eq!(said, "Your answer: Reminder: pay rent Write to us again at any time.");
    stage.settle().await;
    let sent = stage.get("/admin/outbound?limit=1").await["items"][0].clone();
    assert_eq!((&sent["kind"], &sent["body"]["template"]["name"]), (&json!("template"), &json!("news")), "{sent}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_repeats_is_put_off_once_and_goes_on_by_its_calendar() {
    let stage = stage().await;
    let ana = stage.phone("Ana", PhoneKind::Phone);
    let set = answer(&stage, &ana, "michael: every 3 hours drink water", 1).await;
    assert!(set.starts_with("Reminder 1 is set: drink water\nIt comes every 3 hours, first on "), "{set}");
    stage.advance(3 * HOUR);
    assert_eq!(stage.replies(&ana, 2).await[1], "Reminder: drink water");
    stage.settle().await;
    let put_off = answer(&stage, &ana, "michael: snooze 10 min", 3).await;
    assert!(put_off.ends_with(": drink water"), "{put_off}");
    stage.advance(10 * MINUTE - 1);
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 3, "not before");
    stage.advance(1);
    assert_eq!(stage.replies(&ana, 4).await[3], "Reminder: drink water");
    stage.settle().await;
    // Six hours after the beginning, not three hours after it was put off.
    stage.advance(3 * HOUR - 10 * MINUTE - 1);
    stage.settle().await;
    assert_eq!(stage.heard(&ana).len(), 4);
    stage.advance(1);
    assert_eq!(stage.replies(&ana, 5).await[4], "Reminder: drink water");
    stage.settle().await;
    let list = answer(&stage, &ana, "michael: my reminders", 6).await;
    assert!(list.contains("1. drink water: every 3 hours, next ") && !list.contains("2. "), "{list}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_for_a_person_who_is_forgotten_never_comes() {
    let stage = stage().await;
    let [ana, bo] = ["Ana", "Bo"].map(|name| stage.phone(name, PhoneKind::Phone));
    answer(&stage, &ana, "michael: remind me in 2 hours to stretch", 1).await;
    answer(&stage, &ana, "michael: every 3 hours drink water", 2).await;
    let body = json!({
        "id": "news", "wa_id": stage.simulator.phone(&ana).unwrap().phone, "message_text": "News.", "interval_minutes": 60,
        "next_run_at": stage.now() + jiff::SignedDuration::from_mins(30),
    });
    stage.admin(Method::POST, "/admin/schedules", Some(body)).await;
    let contact = stage.get("/admin/schedules/news").await["contact_id"].as_str().unwrap().to_owned();
    stage.admin(Method::DELETE, &format!("/admin/contacts/{contact}"), None).await;
    // Somebody else's still do.
    answer(&stage, &bo, "michael: remind me in 2 hours to stretch", 1).await;
    let schedules = stage.get("/admin/schedules").await;
    assert_eq!(schedules["items"].as_array().unwrap().len(), 1, "{schedules}");
    for _ in 0..8 {
        stage.advance(HOUR);
        stage.settle().await;
    }
    assert_eq!(stage.replies(&bo, 2).await[1], "Reminder: stretch");
    assert_eq!(stage.heard(&ana).len(), 2, "{:?}", stage.heard(&ana));
    let list = answer(&stage, &ana, "michael: my reminders", 3).await;
    assert!(list.starts_with("You have no reminders."), "{list}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_spanish_it_is_answered_in_spanish() {
    let stage = stage().await;
    let ana = stage.phone("Ana", PhoneKind::Username);
    let said = async |text: &str, place: usize| answer(&stage, &ana, text, place).await;
    let asked = said("michael: recuérdame en 3 días a las 9 de la mañana pagar el alquiler", 1).await;
    assert!(asked.starts_with("¿En qué ciudad está?"), "{asked}");
    let set = said("Madrid", 2).await;
    assert!(
        set.starts_with("Recordatorio 1 anotado: pagar el alquiler\nLlega el ")
            && set.contains(" a las 09:00 (Europe/Madrid)."),
        "{set}"
    );
    let soon = said("michael: recuérdame pronto estirarme", 3).await;
    assert!(
        soon.starts_with("Necesito una hora exacta.") && soon.contains("«michael: recuérdame en 2 horas"),
        "{soon}"
    );
    assert!(said("en 20 minutos", 4).await.starts_with("Recordatorio 2 anotado: estirarme\n"));
    stage.advance(20 * MINUTE);
    assert_eq!(stage.replies(&ana, 5).await[4], "Recordatorio: estirarme");
    stage.settle().await;
    let put_off = said("michael: posponlo 10 minutos", 6).await;
    assert!(put_off.starts_with("Se lo recuerdo otra vez el ") && put_off.ends_with(": estirarme"), "{put_off}");
    let list = said("mis recordatorios", 7).await;
    assert!(list.starts_with("Sus recordatorios (hora de Europe/Madrid):\n2. estirarme: "), "{list}");
    assert!(list.contains("1. pagar el alquiler: ") && list.ends_with("escriba «michael: cancela 2»."), "{list}");
    assert_eq!(said("michael: cancela 1", 8).await, "Cancelado: pagar el alquiler");
    assert!(said("michael: my reminders", 9).await.starts_with("Your reminders"), "each in its own");
    assert_eq!(said("michael: cancela todos", 10).await, "Cancelado: estirarme");
    stage.end().await;
}
