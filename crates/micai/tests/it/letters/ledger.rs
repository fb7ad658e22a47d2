//! Dead letters and unknown sends in the ledger, told to both databases: races, late truths, and what stays as it is.

use jiff::SignedDuration;
use micai::clock::Clock as _;
use micai::domain::audit::{Actor, AuditAction};
use micai::domain::consent::{ConsentCategory, ConsentChange, ConsentSource};
use micai::domain::fate::{Decision, Settled, Verdict};
use micai::domain::letter::{Chosen, Direction, GroupName, ReplayTerms};
use micai::domain::outbound::{AttemptOutcome, DeliveryStatus, NextSend, SendCandidate, SendError, Settlement};
use micai::domain::turn::Effect;
use micai::ids::ConversationId;
use micai::store::Location;

use crate::postgres::Postgres;
use crate::store::{DEADLINE_SECONDS, LEASE_SECONDS, World, accepted, status, world};

fn error(code: i64) -> SendError {
    SendError { code: Some(code), reason: "refused_by_whatsapp".into(), detail: "For the story's sake.".into() }
}

fn actor() -> Actor {
    Actor::command_line("ana")
}

fn group(code: i64) -> GroupName {
    GroupName { direction: Direction::Outbound, cause: code.to_string() }
}

impl World {
    fn terms(&self, dry_run: bool) -> ReplayTerms {
        ReplayTerms {
            dry_run,
            older_than_ok: false,
            template: None,
            template_for_all: false,
            window_seconds: 24 * 3_600,
            now: self.clock.now(),
        }
    }

    /// As many dead letters in a conversation of their own.
    async fn dead(&self, name: &str, count: usize, code: i64) -> (ConversationId, Vec<SendCandidate>) {
        let conversation = self.say(&format!("in.{name}"), name, "hello").await;
        let texts: Vec<String> = (0..count).map(|number| format!("{name} {number}")).collect();
        self.answer(conversation, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut letters = Vec::new();
        for _ in 0..count {
            let send = self.due(conversation).await;
            assert!(self.store.begin_send(&send).await.unwrap());
            assert!(self.settle(&send, AttemptOutcome::Failed { error: error(code) }).await);
            letters.push(send);
        }
        (conversation, letters)
    }

    /// A dead letter that was accepted under an id and died after that.
    async fn dead_after_acceptance(&self, name: &str, id: &str) -> (ConversationId, SendCandidate) {
        let conversation = self.say(&format!("in.{name}"), name, "hello").await;
        self.answer(conversation, &[name]).await;
        let send = self.due(conversation).await;
        assert!(self.store.begin_send(&send).await.unwrap());
        assert!(self.settle(&send, accepted(id)).await);
        self.ingest(Vec::new(), vec![status(id, Some(&send), DeliveryStatus::Failed)]).await;
        assert_eq!(self.state(&send).await, "failed");
        self.clock.advance(SignedDuration::from_secs(1));
        (conversation, send)
    }

    async fn replay(&self, send: &SendCandidate) -> (usize, Option<String>) {
        let chosen = Chosen::Ids(vec![send.id.0]);
        let report = self.store.replay_letters(&chosen, &self.terms(false), &actor()).await.unwrap().report;
        (report.moved, report.refused.first().map(|refused| refused.reason.clone()))
    }
}

async fn two_replays_at_once_move_each_letter_once(world: &World) {
    let (conversation, letters) = world.dead("600", 6, 131_009).await;
    let (terms, group) = (world.terms(false), Chosen::Group(group(131_009)));
    let dry = world.store.replay_letters(&group, &world.terms(true), &actor()).await.unwrap();
    assert_eq!((dry.report.moved, dry.wake_sends.len()), (6, 0));
    assert_eq!(world.state(&letters[0]).await, "failed", "a dry run changes nothing");
    let store = &world.store;
    let actor = actor();
    let (one, two, three) = tokio::join!(
        store.replay_letters(&group, &terms, &actor),
        store.replay_letters(&group, &terms, &actor),
        store.replay_letters(&group, &terms, &actor),
    );
    let reports = [one.unwrap(), two.unwrap(), three.unwrap()];
    assert_eq!(reports.iter().map(|one| one.report.moved).sum::<usize>(), 6, "{reports:?}");
    let audited = store.audit_log(None, Some(AuditAction::LetterReplayed), None, 100).await.unwrap();
    assert_eq!(audited.len(), 6, "one entry a letter");
    for letter in &letters {
        let again = world.due(conversation).await;
        assert_eq!((again.id, again.attempts, again.attempts_before), (letter.id, 1, 1), "in order, counted on");
        assert!(store.begin_send(&again).await.unwrap());
        // The answer to the call of the old life comes very late: it is not this one's.
        let late = Settlement {
            conversation_id: conversation,
            outbound_id: letter.id,
            attempt: 1,
            begun_at: world.clock.now(),
            http_status: Some(400),
            outcome: AttemptOutcome::Failed { error: error(131_009) },
            restored: None,
        };
        assert!(!store.settle(late).await.unwrap().moved);
        assert!(world.settle(&again, accepted(&format!("new.{}", letter.id))).await);
        let view = store.outbound(letter.id).await.unwrap().unwrap();
        assert_eq!((view.replays, view.state.as_str()), (1, "sent"));
    }
    assert_eq!(store.next_send(conversation, DEADLINE_SECONDS).await.unwrap(), NextSend::Nothing);
}

async fn news_of_an_old_life_moves_nothing_unless_the_person_has_it(world: &World) {
    let (conversation, send) = world.dead_after_acceptance("601", "old.1").await;
    assert_eq!(world.replay(&send).await, (1, None));
    for late in [DeliveryStatus::Failed, DeliveryStatus::Sent] {
        world.ingest(Vec::new(), vec![status("old.1", Some(&send), late)]).await;
        assert_eq!(world.state(&send).await, "queued", "{late:?} of the old life");
    }
    world.ingest(Vec::new(), vec![status("old.1", Some(&send), DeliveryStatus::Delivered)]).await;
    assert_eq!(world.state(&send).await, "delivered", "she has it: nothing is to be sent");
    assert_eq!(world.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap(), NextSend::Nothing);

    let (conversation, send) = world.dead_after_acceptance("602", "old.2").await;
    assert_eq!(world.replay(&send).await, (1, None));
    let again = world.due(conversation).await;
    assert!(world.store.begin_send(&again).await.unwrap());
    // Its own status comes before the answer to the call.
    world.ingest(Vec::new(), vec![status("new.2", Some(&send), DeliveryStatus::Sent)]).await;
    assert!(!world.settle(&again, accepted("new.2")).await);
    let view = world.store.outbound(send.id).await.unwrap().unwrap();
    assert_eq!((view.state.as_str(), view.provider_message_id.as_deref()), ("sent", Some("new.2")));
    let story = world.store.story(view.conversation_id, view.id).await.unwrap();
    assert_eq!((story.calls.len(), story.statuses.len(), story.actions.len()), (2, 2, 1), "{story:?}");
}

async fn what_was_delivered_and_who_said_stop_is_left_alone(world: &World) {
    let (_, send) = world.dead_after_acceptance("603", "seen.1").await;
    world.ingest(Vec::new(), vec![status("seen.1", Some(&send), DeliveryStatus::Read)]).await;
    assert_eq!(world.state(&send).await, "failed", "failed after acceptance is final");
    assert_eq!(world.replay(&send).await, (0, Some("was_delivered".into())));

    let (conversation, letters) = world.dead("604", 1, 131_026).await;
    world.say("stop.604", "604", "stop").await;
    let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    let mut turn = world.turn(&claim, &[]);
    let change =
        ConsentChange::new(ConsentCategory::All, true, ConsentSource::Word, serde_json::json!({ "word": "stop" }));
    turn.effects = vec![Effect::Consent { change, provider_message_id: "stop.604".into() }];
    world.store.finish(turn).await.unwrap();
    assert_eq!(world.replay(&letters[0]).await, (0, Some("opted_out".into())));
}

async fn what_was_put_away_stays_away(world: &World) {
    let (_, send) = world.dead_after_acceptance("605", "away.1").await;
    let chosen = Chosen::Ids(vec![send.id.0]);
    let discarded = world.store.discard_letters(&chosen, "wrong number", &actor(), false).await.unwrap();
    assert_eq!(discarded.report.moved, 1);
    world.ingest(Vec::new(), vec![status("away.1", Some(&send), DeliveryStatus::Failed)]).await;
    assert_eq!(world.state(&send).await, "cancelled", "the same news again does not bring it back");
    assert_eq!(world.replay(&send).await, (0, Some("not_a_letter".into())));
}

async fn groups_are_counted_and_paged(world: &World) {
    world.dead("606", 3, 131_047).await;
    let all = world.store.letter_groups(None, 100).await.unwrap();
    let names: Vec<String> = all.iter().map(|group| group.name.to_string()).collect();
    assert!(names.contains(&"outbound:131047".to_owned()) && names.is_sorted(), "{names:?}");
    let mut paged = Vec::new();
    while let Some(next) = world.store.letter_groups(paged.last(), 1).await.unwrap().pop() {
        paged.push(next.name);
    }
    assert_eq!(paged.iter().map(ToString::to_string).collect::<Vec<_>>(), names);
    let found = all.iter().find(|one| one.name == group(131_047)).unwrap();
    assert_eq!((found.count, found.sample.code), (3, Some(131_047)));
    let letters = world.store.letters(&group(131_047), None, 2).await.unwrap();
    let rest = world.store.letters(&group(131_047), letters.last().map(|letter| letter.id), 2).await.unwrap();
    assert_eq!((letters.len(), rest.len()), (2, 1));
    let counted: i64 = all.iter().map(|group| group.count).sum();
    assert_eq!(world.store.letter_count().await.unwrap(), counted);
}

async fn a_group_larger_than_a_batch_is_gone_through_to_its_end(world: &World) {
    let (_, letters) = world.dead("607", 230, 132_000).await;
    let chosen = Chosen::Group(group(132_000));
    let dry = world.store.replay_letters(&chosen, &world.terms(true), &actor()).await.unwrap().report;
    assert_eq!((dry.looked_at, dry.moved, dry.more), (230, 230, false));
    let away = world.store.discard_letters(&chosen, "wrong template", &actor(), false).await.unwrap().report;
    assert_eq!((away.looked_at, away.moved, away.more), (230, 230, false));
    for letter in [&letters[0], &letters[229]] {
        assert_eq!(world.state(letter).await, "cancelled");
    }
}

async fn a_status_and_a_person_at_once_come_to_one_end(world: &World) {
    for round in 0..8 {
        let name = format!("61{round}");
        let conversation = world.say(&format!("in.{name}"), &name, "hello").await;
        world.answer(conversation, &["lost?"]).await;
        let send = world.due(conversation).await;
        assert!(world.store.begin_send(&send).await.unwrap());
        world.settle(&send, AttemptOutcome::Unknown { error: error(131_000) }).await;
        assert_eq!(world.store.unknown_count().await.unwrap(), 1);
        let decision = Decision {
            verdict: Verdict::NotSentSendAgain,
            provider_message_id: None,
            attempts: Some(1),
            reason: "nothing on the phone".into(),
        };
        let came = vec![status(&format!("late.{name}"), Some(&send), DeliveryStatus::Sent)];
        let actor = actor();
        let (settled, _) =
            tokio::join!(world.store.settle_unknown(send.id, &decision, &actor), world.ingest(Vec::new(), came));
        let (settled, wake) = settled.unwrap();
        assert_eq!(settled == Settled::Done, wake.is_some());
        assert_eq!(world.state(&send).await, "sent", "whoever came first, it went out: {settled:?}");
        assert_eq!(world.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap(), NextSend::Nothing);
        let again = world.store.settle_unknown(send.id, &decision, &actor).await.unwrap();
        assert_eq!(again, (Settled::NotUnknown, None));
    }
}

async fn story(location: Location) {
    let world = world(location).await;
    two_replays_at_once_move_each_letter_once(&world).await;
    news_of_an_old_life_moves_nothing_unless_the_person_has_it(&world).await;
    what_was_delivered_and_who_said_stop_is_left_alone(&world).await;
    what_was_put_away_stays_away(&world).await;
    groups_are_counted_and_paged(&world).await;
    a_group_larger_than_a_batch_is_gone_through_to_its_end(&world).await;
    a_status_and_a_person_at_once_come_to_one_end(&world).await;
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    story(Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let server = Postgres::start().await;
    story(server.location()).await;
}
