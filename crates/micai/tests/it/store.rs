//! The database's story, told to both databases.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use micai::clock::{Clock, ManualClock};
use micai::domain::agent::AgentId;
use micai::domain::audit::Actor;
use micai::domain::contact::{Address, AddressKind, Person};
use micai::domain::inbound::{AfterFailure, InboundState, MessageNature, NewInbound, NewStatus, WebhookFacts};
use micai::domain::outbound::{
    AttemptOutcome, DeliveryStatus, MessageBody, NewOutbound, NextSend, Refusal, SendCandidate, SendError, SendState,
    Settlement, reply_key,
};
use micai::domain::rule::{Rule, RuleAction, RuleKind};
use micai::domain::turn::{Claim, FinishOutcome, FinishedTurn, TurnTrace};
use micai::ids::{ConversationId, Ids};
use micai::store::{DeleteAgent, Location, RuleChange, Store};
use serde_json::json;

use crate::postgres::Postgres;

pub const NUMBER: &str = "900001";
pub const LEASE_SECONDS: i64 = 90;
pub const DEADLINE_SECONDS: i64 = 120;

/// A migrated store with its clock.
pub struct World {
    pub store: Store,
    pub clock: ManualClock,
    ids: Arc<Ids>,
}

/// Opens and migrates a database.
pub async fn world(location: Location) -> World {
    let clock = ManualClock::at(Timestamp::from_second(1_790_000_000).unwrap());
    let ids = Arc::new(Ids::seeded(11));
    let store = Store::open(&location, ids.clone(), Arc::new(clock.clone())).await.unwrap();
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    store.ensure_default_agent().await.unwrap();
    World { store, clock, ids }
}

pub fn message(id: &str, phone: &str, text: &str, sent_at: Timestamp) -> NewInbound {
    NewInbound {
        phone_number_id: NUMBER.into(),
        provider_message_id: id.into(),
        person: Person { phone: Some(phone.into()), name: Some("Ana".into()), ..Person::default() },
        reply_to: Address { kind: AddressKind::Phone, value: phone.into() },
        kind: "text".into(),
        nature: MessageNature::Words,
        text: Some(text.into()),
        target_provider_message_id: None,
        payload: json!({ "text": { "body": text } }),
        sent_at: Some(sent_at),
        state: InboundState::Pending,
        opens_window: true,
        is_referred: false,
        identity_change: None,
    }
}

pub fn status(id: &str, callback: Option<&SendCandidate>, status: DeliveryStatus) -> NewStatus {
    NewStatus {
        phone_number_id: NUMBER.into(),
        provider_message_id: id.into(),
        callback: callback.map(|candidate| (candidate.conversation_id, candidate.id)),
        status,
        recipient: "551".into(),
        person: Person::default(),
        occurred_at: None,
        error: None,
        after: AfterFailure::Letter,
        price: None,
    }
}

impl World {
    pub async fn ingest(&self, messages: Vec<NewInbound>, statuses: Vec<NewStatus>) -> (usize, Vec<ConversationId>) {
        let facts = WebhookFacts { messages, statuses, ..WebhookFacts::default() };
        let receipt = self.store.ingest(Arc::new(facts)).await.unwrap();
        (receipt.new_messages, receipt.wake_turns)
    }

    pub async fn say(&self, id: &str, phone: &str, text: &str) -> ConversationId {
        let (new, wake) = self.ingest(vec![message(id, phone, text, self.clock.now())], Vec::new()).await;
        assert_eq!(new, 1);
        wake[0]
    }

    pub fn turn(&self, claim: &Claim, replies: &[&str]) -> FinishedTurn {
        let now = self.clock.now();
        let id = self.ids.turn(now);
        let reply = |(position, text): (usize, &&str)| NewOutbound {
            id: self.ids.outbound(now),
            idempotency_key: reply_key(id, position),
            to: claim.pending[0].reply_to.clone(),
            body: MessageBody::Text { text: (*text).into() },
            answers_provider_message_id: Some(claim.pending[0].provider_message_id.clone()),
            ignores_opt_out: false,
        };
        FinishedTurn {
            id,
            conversation_id: claim.conversation_id,
            contact_id: claim.contact_id,
            lease_token: claim.lease_token,
            agent_id: claim.agent_id.clone(),
            agent_version: claim.agent_version,
            started_at: now,
            finished_at: now,
            opens_window: claim.opens_window(),
            messages: claim.pending.iter().map(|message| (message.id, InboundState::Done)).collect(),
            replies: replies.iter().enumerate().map(reply).collect(),
            effects: Vec::new(),
            trace: TurnTrace::default(),
        }
    }

    pub async fn answer(&self, conversation: ConversationId, replies: &[&str]) {
        let claim = self.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
        let finished = self.store.finish(self.turn(&claim, replies)).await.unwrap();
        assert!(matches!(finished, FinishOutcome::Finished { .. }));
    }

    pub async fn due(&self, conversation: ConversationId) -> SendCandidate {
        match self.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap() {
            NextSend::Due(candidate) => *candidate,
            other => panic!("nothing is due: {other:?}"),
        }
    }

    pub async fn settle(&self, candidate: &SendCandidate, outcome: AttemptOutcome) -> bool {
        let settlement = Settlement {
            conversation_id: candidate.conversation_id,
            outbound_id: candidate.id,
            attempt: candidate.attempts + 1,
            begun_at: self.clock.now(),
            http_status: Some(200),
            outcome,
            restored: None,
        };
        self.store.settle(settlement).await.unwrap().moved
    }

    pub async fn state(&self, candidate: &SendCandidate) -> String {
        self.store.outbound(candidate.id).await.unwrap().unwrap().state
    }
}

pub fn accepted(id: &str) -> AttemptOutcome {
    AttemptOutcome::Accepted { provider_message_id: id.into() }
}

async fn duplicates_are_counted_once(world: &World) {
    let now = world.clock.now();
    let twice =
        vec![message("d1", "550", "one", now), message("d1", "550", "one", now), message("d2", "550", "two", now)];
    assert_eq!(world.ingest(twice.clone(), Vec::new()).await.0, 2);
    assert_eq!(world.ingest(twice, Vec::new()).await.0, 0);
    let claim = world.store.conversations(None, 10).await.unwrap()[0].id;
    let claim = world.store.claim(ConversationId(claim), LEASE_SECONDS).await.unwrap().unwrap();
    let texts: Vec<_> = claim.pending.iter().map(|message| message.text.clone().unwrap()).collect();
    assert_eq!(texts, ["one", "two"], "in order");
    world.store.finish(world.turn(&claim, &[])).await.unwrap();
}

async fn a_lease_fences_out_whoever_lost_it(world: &World) {
    let conversation = world.say("l1", "551", "hello").await;
    let slow = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    assert!(world.store.claim(conversation, LEASE_SECONDS).await.unwrap().is_none(), "leased");
    world.clock.advance(SignedDuration::from_secs(LEASE_SECONDS));
    let all = world.store.forgotten_turns(world.clock.now(), ConversationId(uuid::Uuid::nil()), 10).await.unwrap();
    assert_eq!(all, [conversation], "the sweeper sees it");
    let quick = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    assert!(quick.lease_token > slow.lease_token);
    assert_eq!(world.store.finish(world.turn(&slow, &["twice?"])).await.unwrap(), FinishOutcome::Fenced);
    let more = world.say("l2", "551", "and this").await;
    assert_eq!(more, conversation);
    let finished = world.store.finish(world.turn(&quick, &["once"])).await.unwrap();
    assert_eq!(finished, FinishOutcome::Finished { more_pending: true, released: false });
    world.answer(conversation, &[]).await;
    assert!(world.store.claim(conversation, LEASE_SECONDS).await.unwrap().is_none(), "nothing waits");
    let candidate = world.due(conversation).await;
    assert_eq!(candidate.body, MessageBody::Text { text: "once".into() });
    assert!(world.store.begin_send(&candidate).await.unwrap());
    assert!(world.settle(&candidate, accepted("l-out")).await);
}

async fn a_send_is_begun_once_and_statuses_climb(world: &World) {
    let conversation = world.say("s1", "552", "hello").await;
    world.answer(conversation, &["first", "second"]).await;
    let first = world.due(conversation).await;
    let (one, two) = tokio::join!(world.store.begin_send(&first), world.store.begin_send(&first));
    assert_eq!(usize::from(one.unwrap()) + usize::from(two.unwrap()), 1, "one of two senders wins");
    assert_eq!(world.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap(), NextSend::Busy);
    // The status overtakes the answer to the call.
    world.ingest(Vec::new(), vec![status("s-out", Some(&first), DeliveryStatus::Delivered)]).await;
    assert!(!world.settle(&first, accepted("s-out")).await, "nothing was left to settle");
    assert_eq!(world.state(&first).await, "delivered");
    world.ingest(Vec::new(), vec![status("s-out", None, DeliveryStatus::Sent)]).await;
    assert_eq!(world.state(&first).await, "delivered", "never back");
    let late = vec![status("s-out", None, DeliveryStatus::Failed), status("s-out", None, DeliveryStatus::Read)];
    world.ingest(Vec::new(), late).await;
    assert_eq!(world.state(&first).await, "read");
    let second = world.due(conversation).await;
    assert!(world.store.begin_send(&second).await.unwrap());
    assert!(world.settle(&second, accepted("s-out-2")).await);
    world.ingest(Vec::new(), vec![status("s-out-2", None, DeliveryStatus::Failed)]).await;
    assert_eq!(world.state(&second).await, "failed", "failed beats sent");
    world.ingest(Vec::new(), vec![status("s-out-2", None, DeliveryStatus::Delivered)]).await;
    assert_eq!(world.state(&second).await, "failed", "failed after acceptance is final");
}

async fn an_unknown_send_waits_for_proof(world: &World) {
    let conversation = world.say("u1", "553", "hello").await;
    world.answer(conversation, &["lost", "behind"]).await;
    let lost = world.due(conversation).await;
    assert!(world.store.begin_send(&lost).await.unwrap());
    assert!(!world.store.has_expired_calls(60).await.unwrap());
    world.clock.advance(SignedDuration::from_secs(61));
    assert!(world.store.has_expired_calls(60).await.unwrap());
    assert_eq!(world.store.expire_calls(60).await.unwrap(), 1);
    assert!(matches!(world.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap(), NextSend::WaitUntil(_)));
    assert!(world.store.overdue_unknowns(DEADLINE_SECONDS).await.unwrap().is_empty());
    // The deadline, and as long again as nobody knew that the call was lost.
    world.clock.advance(SignedDuration::from_secs(DEADLINE_SECONDS + 60));
    assert!(world.store.overdue_unknowns(DEADLINE_SECONDS).await.unwrap().is_empty());
    assert!(matches!(world.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap(), NextSend::WaitUntil(_)));
    world.clock.advance(SignedDuration::from_secs(1));
    let unknown = world.store.overdue_unknowns(DEADLINE_SECONDS).await.unwrap();
    assert_eq!(unknown.len(), 1);
    assert_eq!(world.store.line_open_since(&unknown[0]).await.unwrap(), None, "no status of a later send yet");
    let behind = world.due(conversation).await;
    assert_ne!(behind.id, lost.id, "past the deadline it holds up nobody");
    assert!(world.store.begin_send(&behind).await.unwrap());
    world.ingest(Vec::new(), vec![status("u-out", Some(&behind), DeliveryStatus::Sent)]).await;
    assert_eq!(world.store.line_open_since(&unknown[0]).await.unwrap(), Some(world.clock.now()));
    assert!(world.store.resend_unknown(&unknown[0]).await.unwrap());
    assert!(!world.store.resend_unknown(&unknown[0]).await.unwrap(), "once");
    // The late truth: it had gone out after all, so it is not sent again.
    world.ingest(Vec::new(), vec![status("u-late", Some(&lost), DeliveryStatus::Sent)]).await;
    assert_eq!(world.state(&lost).await, "sent");
    assert_eq!(world.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap(), NextSend::Nothing);
}

async fn the_news_of_one_call_is_not_taken_for_that_of_another(world: &World) {
    let conversation = world.say("v1", "557", "hello").await;
    world.answer(conversation, &["twice"]).await;
    let first = world.due(conversation).await;
    assert!(world.store.begin_send(&first).await.unwrap());
    let error = SendError { code: None, reason: "timeout".to_owned(), detail: String::new() };
    assert!(world.settle(&first, AttemptOutcome::Unknown { error }).await);
    world.clock.advance(SignedDuration::from_secs(DEADLINE_SECONDS));
    let unknown = world.store.overdue_unknowns(DEADLINE_SECONDS).await.unwrap();
    let unknown = unknown.iter().find(|one| one.id == first.id).unwrap();
    assert!(world.store.resend_unknown(unknown).await.unwrap());
    let second = world.due(conversation).await;
    assert!(world.store.begin_send(&second).await.unwrap());
    assert!(world.settle(&second, accepted("v-second")).await);
    // The first call had reached WhatsApp after all, and died there.
    let died = NewStatus { after: AfterFailure::Template, ..status("v-first", Some(&first), DeliveryStatus::Failed) };
    world.ingest(Vec::new(), vec![died]).await;
    assert_eq!(world.state(&second).await, "sent", "the second is on its way");
    world.ingest(Vec::new(), vec![status("v-second", None, DeliveryStatus::Failed)]).await;
    assert_eq!(world.state(&second).await, "failed");
    world.ingest(Vec::new(), vec![status("v-first", Some(&first), DeliveryStatus::Sent)]).await;
    assert_eq!(world.state(&second).await, "failed", "that it was taken is no proof");
    world.ingest(Vec::new(), vec![status("v-first", Some(&first), DeliveryStatus::Delivered)]).await;
    assert_eq!(world.state(&second).await, "delivered", "they have it");
}

async fn however_many_sends_are_parked_the_next_one_gets_its_turn(world: &World) {
    let conversation = world.say("p1", "554", "hello").await;
    world.answer(conversation, &["0", "1", "2", "3", "4", "5", "6", "7", "8", "last"]).await;
    for position in 0..9 {
        let candidate = world.due(conversation).await;
        assert_eq!(candidate.body, MessageBody::Text { text: position.to_string() });
        assert!(world.store.begin_send(&candidate).await.unwrap());
        world.clock.advance(SignedDuration::from_secs(61));
        assert_eq!(world.store.expire_calls(60).await.unwrap(), 1);
        world.clock.advance(SignedDuration::from_secs(DEADLINE_SECONDS + 61));
    }
    let last = world.due(conversation).await;
    assert_eq!(last.body, MessageBody::Text { text: "last".into() });
    assert!(world.store.begin_send(&last).await.unwrap());
    assert!(world.settle(&last, accepted("p-out")).await);
}

async fn what_is_held_for_the_window_waits_for_the_person(world: &World) {
    let conversation = world.say("w1", "556", "hello").await;
    world.answer(conversation, &["held"]).await;
    let seen = world.due(conversation).await;
    // They write at the moment in which it is put aside: nothing would let it go.
    world.clock.advance(SignedDuration::from_secs(1));
    world.say("w0", "556", "hello").await;
    world.answer(conversation, &[]).await;
    let closed = |seen: &SendCandidate| {
        let error = SendError { code: None, reason: "window_closed".to_owned(), detail: "It is closed.".to_owned() };
        Refusal::HoldForWindow(error, seen.last_inbound_at)
    };
    let refused = world.store.refuse_send(&seen, closed(&seen)).await.unwrap();
    assert!(!refused.moved && world.state(&seen).await == "queued", "it is looked at once more");
    let held = world.due(conversation).await;
    assert!(world.store.refuse_send(&held, closed(&held)).await.unwrap().moved);
    for (id, opens_window, state) in [("w2", false, "held"), ("w3", true, "queued")] {
        world.say(id, "556", "hello").await;
        let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
        // A schedule that asks the agent is a turn like any other, and opens nothing.
        let turn = FinishedTurn { opens_window, ..world.turn(&claim, &[]) };
        let expected = FinishOutcome::Finished { more_pending: false, released: opens_window };
        assert_eq!(world.store.finish(turn).await.unwrap(), expected);
        assert_eq!(world.state(&held).await, state);
    }
    let held = world.due(conversation).await;
    assert!(world.store.begin_send(&held).await.unwrap());
    assert!(world.settle(&held, accepted("w-out")).await);
}

async fn rules_raise_the_version_of_their_agents(world: &World) {
    let rule = |agent: &str| Rule {
        id: "r1".into(),
        agent_id: AgentId(agent.into()),
        kind: RuleKind::Keyword,
        enabled: true,
        priority: -5,
        keywords: vec!["ünïcode".into()],
        whole_word: true,
        prefix: None,
        action: RuleAction::ReplyText,
        reply_text: "hi".into(),
    };
    let (one, two) = (AgentId("one".into()), AgentId("two".into()));
    let version = async |id: &AgentId| world.store.agent(id).await.unwrap().map(|agent| agent.version);
    assert_eq!(world.store.save_rule(&rule("one"), 9, &Actor::Platform).await.unwrap(), RuleChange::Saved);
    let before = version(&one).await.unwrap();
    world.store.save_rule(&rule("two"), 9, &Actor::Platform).await.unwrap();
    assert!(version(&one).await.unwrap() > before, "it lost a rule");
    assert_eq!(world.store.rule("r1").await.unwrap(), Some(rule("two")));
    assert_eq!(world.store.rules(Some(&one), "", 10).await.unwrap(), []);
    let full = world.store.save_rule(&rule("two"), usize::MAX / 2, &Actor::Platform).await.unwrap();
    assert!(matches!(full, RuleChange::NoRoom(_)));
    assert_eq!(world.store.delete_agent(&two, &Actor::Platform).await.unwrap(), DeleteAgent::Deleted);
    assert_eq!(world.store.rule("r1").await.unwrap(), None, "gone with its agent");
    assert_eq!(world.store.delete_agent(&two, &Actor::Platform).await.unwrap(), DeleteAgent::NotFound);
    assert_eq!(
        world.store.delete_agent(&AgentId::default_agent(), &Actor::Platform).await.unwrap(),
        DeleteAgent::IsDefault
    );
}

async fn lists_are_paged_to_the_end(world: &World) {
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = world.store.outbound_list(None, before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.into_iter().map(|one| one.id));
    }
    assert!(seen.len() >= 5);
    assert!(seen.is_sorted_by(|left, right| left > right), "youngest first, none twice");
    for state in SendState::ALL {
        let listed = world.store.outbound_list(Some(state), None, 100).await.unwrap();
        assert!(listed.iter().all(|one| one.state == state.as_str()));
    }
    assert_eq!(world.store.unfinished().await.unwrap(), 0);
    let backlog = world.store.backlog().await.unwrap();
    assert_eq!((backlog.oldest_pending_at, backlog.oldest_queued_at), (None, None));
}

async fn story(location: Location) {
    let world = world(location).await;
    duplicates_are_counted_once(&world).await;
    a_lease_fences_out_whoever_lost_it(&world).await;
    a_send_is_begun_once_and_statuses_climb(&world).await;
    an_unknown_send_waits_for_proof(&world).await;
    however_many_sends_are_parked_the_next_one_gets_its_turn(&world).await;
    what_is_held_for_the_window_waits_for_the_person(&world).await;
    the_news_of_one_call_is_not_taken_for_that_of_another(&world).await;
    rules_raise_the_version_of_their_agents(&world).await;
    lists_are_paged_to_the_end(&world).await;
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
