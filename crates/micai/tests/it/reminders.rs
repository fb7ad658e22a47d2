//! Reminders as people use them: by words in the chat, without any model.

use simulator::PhoneKind;

use crate::harness::Stage;

const MINUTE: i64 = 60;

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
    for (place, said) in [(7, "My reminders"), (8, "mis recordatorios"), (9, "michael: mis recordatorios")] {
        let none = answer(&stage, &ana, said, place).await;
        assert!(none.starts_with("You have no reminders."), "{said}: {none}");
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
