//! What is due becomes messages: by many schedulers at once, in turn for everybody, and what turns ask for. Told to both databases.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::SignedDuration;
use micai::clock::{Clock as _, SharedClock};
use micai::domain::agent::AgentId;
use micai::domain::audit::Actor;
use micai::domain::contact::{AddressKind, Person};
use micai::domain::schedule::{
    NewSchedule, Recurrence, SCHEDULES_PER_CONTACT_MAX, ScheduleAction, ScheduleMaker, ScheduleState, Timing,
};
use micai::domain::turn::{Effect, FinishOutcome};
use micai::ids::{ConversationId, ScheduleId};
use micai::queue::UnheardQueue;
use micai::scheduler::{firing, step};
use micai::store::{Location, SaveSchedule, SavedSchedule, ScheduleFilter, ScheduleKey};

use super::crowd::Crowd;
use crate::postgres::Postgres;
use crate::store::{DEADLINE_SECONDS, LEASE_SECONDS, World, world};

impl World {
    /// Keys of all sends, which must be different.
    async fn sent_keys(&self) -> BTreeSet<String> {
        let (mut keys, mut before) = (BTreeSet::new(), None);
        loop {
            let page = self.store.outbound_list(None, before, 1_000).await.unwrap();
            let Some(last) = page.last() else { return keys };
            before = Some(last.id);
            for send in page {
                assert!(keys.insert(send.idempotency_key.clone()), "{} twice", send.idempotency_key);
            }
        }
    }

    async fn attend(&self) {
        let clock: SharedClock = std::sync::Arc::new(self.clock.clone());
        step(&self.store, &UnheardQueue, &clock).await.unwrap();
    }
}

/// Ten schedulers at the same work do it once.
async fn ten_at_once(world: &World, location: &Location) {
    let due_at = world.clock.now() + SignedDuration::from_secs(60);
    Crowd { from: 1, people: 10_000, each: 1, due_at }.write(location).await;
    world.attend().await;
    assert_eq!(world.sent_keys().await.len(), 0, "nothing is due");
    world.clock.advance(SignedDuration::from_secs(60));
    let begun = Instant::now();
    // One that finds the writer busy for too long gives way; whoever looks next does its part.
    futures_util::future::join_all((0..10).map(async |_| {
        let clock: SharedClock = std::sync::Arc::new(world.clock.clone());
        let attended = step(&world.store, &UnheardQueue, &clock).await;
        assert!(attended.as_ref().err().is_none_or(|error| error.is_transient()), "{attended:?}");
    }))
    .await;
    while world.store.next_schedule_at().await.unwrap().is_some_and(|at| at <= due_at) {
        world.attend().await;
    }
    eprintln!("10,000 schedules that were due at once are in the outbox after {:?}", begun.elapsed());
    let keys = world.sent_keys().await;
    assert_eq!(keys.len(), 10_000);
    assert!(keys.iter().all(|key| key.ends_with(&format!(":{due_at}"))));
    let next = world.store.next_schedule_at().await.unwrap().unwrap();
    assert_eq!(next, due_at + SignedDuration::from_mins(60), "by the calendar");
    let listed = world.store.schedules(&ScheduleFilter::default(), None, 100).await.unwrap();
    assert!(listed.iter().all(|one| one.schedule.fired == 1 && one.schedule.next_due_at == Some(next)));
}

/// One person's thousand do not keep the others waiting: they are in the first batch.
async fn a_thousand_of_one_person_delay_nobody(world: &World, location: &Location) {
    let due_at = world.clock.now() + SignedDuration::from_secs(60);
    Crowd { from: 20_001, people: 1, each: 1_000, due_at }.write(location).await;
    Crowd { from: 20_002, people: 20, each: 1, due_at: due_at + SignedDuration::from_secs(1) }.write(location).await;
    world.clock.advance(SignedDuration::from_secs(61));
    let before = world.sent_keys().await.len();
    let fired = world.store.fire_due(firing).await.unwrap();
    assert!(fired.schedules < 1_020, "not all at once");
    assert_eq!(fired.sends.len(), 21, "everybody is served in the first batch");
    world.attend().await;
    assert_eq!(world.sent_keys().await.len() - before, 1_020);
}

/// What a turn asks for is there once, however often it is asked; only the person's own is touched.
async fn turns_make_put_off_and_give_up(world: &World) {
    let conversation = world.say("t1", "5598", "remind me").await;
    let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    let now = world.clock.now();
    let first_due_at = now + SignedDuration::from_mins(20);
    let new = NewSchedule {
        id: ScheduleId::made_by(claim.pending[0].id, 0),
        agent_id: claim.agent_id.clone(),
        timing: Timing::once(first_due_at, "Europe/Lisbon"),
        action: ScheduleAction::Text { text: "Stretch.".into(), template: None },
        first_due_at,
        number: Some(1),
    };
    let id = new.id;
    let effects = vec![Effect::CreateSchedule(Box::new(new.clone())), Effect::CreateSchedule(Box::new(new))];
    finish(world, conversation, effects, Some(claim)).await;
    let contact_id = world.store.schedule(ScheduleKey::Id(id)).await.unwrap().unwrap().schedule.contact_id;
    let reminders = async || world.store.reminders(contact_id).await.unwrap();
    let made = reminders().await.waiting;
    assert_eq!((made.len(), made[0].id, made[0].maker), (1, id, ScheduleMaker::Person));
    assert_eq!((made[0].next_due_at, &made[0].timing.zone), (Some(first_due_at), &"Europe/Lisbon".to_owned()));

    world.clock.advance(SignedDuration::from_mins(20));
    world.attend().await;
    assert_eq!(world.due(conversation).await.body.text(), Some("Stretch."));
    assert_eq!(reminders().await.waiting, []);
    assert_eq!(reminders().await.happened[0].state, ScheduleState::Finished);

    let until = world.clock.now() + SignedDuration::from_mins(10);
    world.say("t2", "5598", "snooze").await;
    finish(world, conversation, vec![Effect::SnoozeSchedule { schedule_id: id, until }], None).await;
    assert_eq!((reminders().await.waiting[0].next_due_at, reminders().await.waiting[0].fired), (Some(until), 0));
    let stranger = world.say("t3", "5597", "cancel").await;
    finish(world, stranger, vec![Effect::CancelSchedule { schedule_id: id }], None).await;
    assert_eq!(reminders().await.waiting.len(), 1, "it is not theirs");
    world.clock.advance(SignedDuration::from_mins(10));
    world.attend().await;
    let keys = world.sent_keys().await;
    let own: Vec<_> = keys.iter().filter(|key| key.contains(&id.to_string())).collect();
    assert_eq!(own.len(), 2, "each instant has a message of its own: {own:?}");

    world.say("t4", "5598", "again").await;
    finish(
        world,
        conversation,
        vec![Effect::SnoozeSchedule { schedule_id: id, until: until + SignedDuration::from_mins(9) }],
        None,
    )
    .await;
    world.say("t5", "5598", "cancel").await;
    finish(world, conversation, vec![Effect::CancelSchedule { schedule_id: id }], None).await;
    assert_eq!(reminders().await.waiting, []);
    assert_eq!(reminders().await.happened, []);
    drain(world, conversation).await;
}

async fn finish(
    world: &World,
    conversation: ConversationId,
    effects: Vec<Effect>,
    claim: Option<micai::domain::turn::Claim>,
) {
    let claim = match claim {
        Some(claim) => claim,
        None => world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap(),
    };
    let mut turn = world.turn(&claim, &[]);
    turn.effects = effects;
    assert!(matches!(world.store.finish(turn).await.unwrap(), FinishOutcome::Finished { .. }));
}

async fn drain(world: &World, conversation: ConversationId) {
    while let micai::domain::outbound::NextSend::Due(candidate) =
        world.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap()
    {
        let error =
            micai::domain::outbound::SendError { code: None, reason: "story".into(), detail: "It is over.".into() };
        world.store.refuse_send(&candidate, micai::domain::outbound::Refusal::Cancel(error)).await.unwrap();
    }
}

/// At the bound of a person nothing more is made for them, and what is over is cleared away in the end.
async fn bounds_hold(world: &World, location: &Location) {
    let due_at = world.clock.now() + SignedDuration::from_hours(1);
    let each = u32::try_from(SCHEDULES_PER_CONTACT_MAX).unwrap();
    Crowd { from: 30_001, people: 1, each, due_at }.write(location).await;
    let new = |phone: &str| SaveSchedule {
        name: None,
        person: Person { phone: Some(phone.into()), ..Person::default() },
        phone_number_id: "900001".into(),
        agent_id: AgentId::default_agent(),
        rule_id: None,
        timing: Timing::new(Recurrence::Every { minutes: 5 }, "UTC", due_at),
        action: ScheduleAction::AskAgent { text: "hello".into() },
        enabled: true,
    };
    let save = async |phone: &str| {
        world.store.save_schedule(&new(phone), None, &|_, _| Some(due_at), &Actor::Platform).await.unwrap()
    };
    assert_eq!(save("500030001").await, SavedSchedule::NoRoom);
    let SavedSchedule::Created(made) = save("7712345").await else { panic!("there is room for a stranger") };
    let found = world.store.schedule(ScheduleKey::Id(made.id)).await.unwrap().unwrap();
    assert_eq!(found.wa_id.as_deref(), Some("7712345"));
    let addresses = world.store.addresses(made.contact_id).await.unwrap();
    assert_eq!(addresses[&AddressKind::Phone], "7712345");
    let filter = ScheduleFilter { state: Some(ScheduleState::Cancelled), ..ScheduleFilter::default() };
    assert_eq!(world.store.schedules(&filter, None, 5).await.unwrap().len(), 1);
    world.store.clear_schedules(world.clock.now() + SignedDuration::from_secs(1)).await.unwrap();
    assert_eq!(world.store.schedules(&filter, None, 5).await.unwrap(), []);
}

/// A row that this program cannot read stands in nobody's way.
async fn an_unreadable_row_is_put_aside(world: &World, location: &Location) {
    let due_at = world.clock.now();
    Crowd { from: 40_001, people: 3, each: 1, due_at }.write(location).await;
    let sql = "UPDATE schedules SET action = '{\"kind\":\"from_the_future\"}' WHERE contact_id =
        (SELECT contact_id FROM contact_identities WHERE value = '500040002')";
    match location {
        Location::Sqlite { path, .. } => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        Location::Postgres { options, .. } => {
            let mut connection = sqlx::ConnectOptions::connect(options.as_ref()).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
    }
    let fired = world.store.fire_due(firing).await.unwrap();
    assert_eq!((fired.schedules, fired.sends.len()), (3, 2));
    assert_eq!(world.store.fire_due(firing).await.unwrap().schedules, 0, "it is not met again");
}

/// Turns that put off what schedulers have in hand, while what it said last is let go and gives way to what it says now: nobody
/// waits for somebody who waits for them.
async fn turns_meet_schedulers(world: &World) {
    const PEOPLE: usize = 20;
    const ROUNDS: usize = 8;
    let minutes = SignedDuration::from_mins;
    let due_at = world.clock.now() + minutes(1);
    let mut meetings = Vec::new();
    for person in 0..PEOPLE {
        let conversation = world.say(&format!("m{person}"), &format!("56000{person}"), "remind me").await;
        let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
        let id = ScheduleId::made_by(claim.pending[0].id, 0);
        let new = NewSchedule {
            id,
            agent_id: claim.agent_id.clone(),
            timing: Timing::new(Recurrence::Every { minutes: 5 }, "UTC", due_at),
            action: ScheduleAction::Text { text: "Stretch.".into(), template: None },
            first_due_at: due_at,
            number: Some(1),
        };
        finish(world, conversation, vec![Effect::CreateSchedule(Box::new(new))], Some(claim)).await;
        meetings.push((conversation, id));
    }
    let begun = Instant::now();
    for round in 0..ROUNDS {
        world.clock.advance(minutes(5));
        world.attend().await;
        let mut turns = Vec::new();
        for (person, (conversation, id)) in meetings.iter().enumerate() {
            let error = micai::domain::outbound::SendError {
                code: None,
                reason: "window_closed".into(),
                detail: "The window is closed.".into(),
            };
            let candidate = world.due(*conversation).await;
            world.store.refuse_send(&candidate, micai::domain::outbound::Refusal::Hold(error)).await.unwrap();
            world.say(&format!("m{person}-{round}"), &format!("56000{person}"), "snooze").await;
            let claim = world.store.claim(*conversation, LEASE_SECONDS).await.unwrap().unwrap();
            let mut turn = world.turn(&claim, &[]);
            let until = world.clock.now() + minutes(7);
            turn.effects = vec![Effect::SnoozeSchedule { schedule_id: *id, until }];
            turns.push(turn);
        }
        world.clock.advance(minutes(5));
        let finishes = turns.into_iter().map(|turn| world.store.finish(turn));
        let (finished, fired, also_fired) = tokio::join!(
            futures_util::future::join_all(finishes),
            world.store.fire_due(firing),
            world.store.fire_due(firing)
        );
        for outcome in finished {
            assert!(matches!(outcome.unwrap(), FinishOutcome::Finished { .. }));
        }
        fired.unwrap();
        also_fired.unwrap();
        for (conversation, _) in &meetings {
            drain(world, *conversation).await;
        }
    }
    eprintln!("{ROUNDS} meetings of {PEOPLE} turns and two schedulers took {:?}", begun.elapsed());
}

async fn story(location: Location) {
    let world = world(location.clone()).await;
    turns_make_put_off_and_give_up(&world).await;
    bounds_hold(&world, &location).await;
    an_unreadable_row_is_put_aside(&world, &location).await;
    a_thousand_of_one_person_delay_nobody(&world, &location).await;
    world.store.close().await;
}

async fn meeting_story(location: Location) {
    let world = world(location).await;
    turns_meet_schedulers(&world).await;
    world.store.close().await;
}

async fn crowd_story(location: Location) {
    let world = world(location.clone()).await;
    ten_at_once(&world, &location).await;
    world.store.close().await;
}

fn sqlite(folder: &tempfile::TempDir) -> Location {
    Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    story(sqlite(&tempfile::tempdir().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let server = Postgres::start().await;
    story(server.location()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_schedulers_and_ten_thousand_schedules_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    crowd_story(sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_schedulers_and_ten_thousand_schedules_on_postgres() {
    let server = Postgres::start().await;
    crowd_story(server.location()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_and_schedulers_meet_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    meeting_story(sqlite(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_and_schedulers_meet_on_postgres() {
    let server = Postgres::start().await;
    meeting_story(server.location()).await;
}
