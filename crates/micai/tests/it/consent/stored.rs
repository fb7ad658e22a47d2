//! Consent in the database, told to both.

use micai::clock::Clock as _;
use micai::domain::audit::Actor;
use micai::domain::consent::{ConsentCategory, ConsentChange, ConsentSource};
use micai::domain::contact::{Address, AddressKind, IdentityChange, Person};
use micai::domain::inbound::{NewInbound, NewPreference, NewStatus, WebhookFacts};
use micai::domain::outbound::{AttemptOutcome, DeliveryStatus, MessageBody, SendCandidate, SendError};
use micai::domain::template::{TemplateCategory, TemplateUse};
use micai::domain::turn::Effect;
use micai::ids::{ContactId, ConversationId};
use micai::sender::policy::{Permission, Policy, check};
use micai::store::{ContactDetail, Location, PauseSnapshot};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::postgres::Postgres;
use crate::store::{LEASE_SECONDS, World, accepted, message, status, world};

const POLICY: Policy = Policy { outbound_enabled: true, window_seconds: 86_400 };

fn stop(category: ConsentCategory, answered: &str) -> Effect {
    let change = ConsentChange::new(category, true, ConsentSource::Word, json!({ "word": "stop" }));
    Effect::Consent { change, provider_message_id: answered.into() }
}

async fn contact_of(world: &World, conversation: ConversationId) -> ContactDetail {
    let view = world.store.conversation(conversation).await.unwrap().unwrap();
    world.store.contact(ContactId(view.contact_id)).await.unwrap().unwrap()
}

fn sources(contact: &ContactDetail) -> Vec<&str> {
    contact.consents.iter().rev().map(|row| row.source.as_str()).collect()
}

async fn one_wish_on_two_numbers_is_confirmed_once(world: &World) {
    let here = world.say("two-1", "700", "stop").await;
    let there = NewInbound { phone_number_id: "900002".into(), ..message("two-2", "700", "stop", world.clock.now()) };
    let there = world.ingest(vec![there], Vec::new()).await.1[0];
    // Both turns begin before either has ended.
    let mut confirmed = 0;
    let mut claims = Vec::new();
    for conversation in [here, there] {
        claims.push(world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap());
    }
    for claim in &claims {
        let mut turn = world.turn(claim, &["You will not hear from us any more."]);
        turn.replies[0].ignores_opt_out = true;
        turn.effects.push(stop(ConsentCategory::All, &claim.pending[0].provider_message_id));
        world.store.finish(turn).await.unwrap();
    }
    for conversation in [here, there] {
        if let micai::domain::outbound::NextSend::Due(candidate) =
            world.store.next_send(conversation, 120).await.unwrap()
        {
            confirmed += 1;
            assert_eq!(allowed(&candidate, world.clock.now()), Permission::Granted);
            assert!(world.store.begin_send(&candidate).await.unwrap());
            assert!(world.settle(&candidate, accepted("two-out")).await);
        }
    }
    assert_eq!(confirmed, 1);
    assert_eq!(sources(&contact_of(world, here).await), ["word"], "one change, one row");
}

async fn marketing_goes_to_nobody_who_stopped_it(world: &World) {
    let conversation = world.say("m-1", "701", "stop promotions").await;
    let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    let mut turn = world.turn(&claim, &["no more promotions", "offer"]);
    let template = Box::new(TemplateUse::plain("summer_sale", "en_US"));
    turn.replies[1].body = MessageBody::Template { template, text: None };
    turn.effects.push(stop(ConsentCategory::Marketing, "m-1"));
    world.store.finish(turn).await.unwrap();
    let confirmation = world.due(conversation).await;
    assert!(confirmation.marketing_stopped_at.is_some() && confirmation.opted_out_at.is_none());
    assert_eq!(allowed(&confirmation, world.clock.now()), Permission::Granted, "plain words go on");
    assert!(world.store.begin_send(&confirmation).await.unwrap());
    assert!(world.settle(&confirmation, accepted("m-out")).await);
    let offer = world.due(conversation).await;
    let Permission::Cancel(error) = allowed(&offer, world.clock.now()) else { panic!("it would be sent") };
    assert_eq!(error.reason, "marketing_stopped");
    world.store.refuse_send(&offer, micai::domain::outbound::Refusal::Cancel(error)).await.unwrap();
    // The next claim knows it, too.
    world.say("m-2", "701", "hello").await;
    let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    assert_eq!(claim.marketing_stopped_by, Some(ConsentSource::Word));
    world.store.finish(world.turn(&claim, &[])).await.unwrap();
}

fn refused() -> SendError {
    SendError { code: Some(131_050), reason: "refused".into(), detail: "User has stopped marketing messages".into() }
}

async fn whatsapps_refusals_are_noted_once_and_never_against_later_news(world: &World) {
    let conversation = world.say("r-1", "702", "hello").await;
    world.answer(conversation, &["offer", "another"]).await;
    let first = world.due(conversation).await;
    assert!(world.store.begin_send(&first).await.unwrap());
    assert!(world.settle(&first, AttemptOutcome::Failed { error: refused() }).await);
    let second = world.due(conversation).await;
    assert!(world.store.begin_send(&second).await.unwrap());
    assert!(world.settle(&second, accepted("r-out")).await);
    let said_at = world.clock.now();
    let late = || NewStatus {
        error: Some(refused()),
        occurred_at: Some(said_at),
        ..status("r-out", Some(&second), DeliveryStatus::Failed)
    };
    world.ingest(Vec::new(), vec![late()]).await;
    assert_eq!(sources(&contact_of(world, conversation).await), ["refusal"], "once");
    world.clock.advance(jiff::SignedDuration::from_secs(60));
    let person = Person { phone: Some("702".into()), ..Person::default() };
    let resumed = NewPreference {
        person,
        marketing_stopped: false,
        evidence: json!({ "value": "resume" }),
        occurred_at: Some(world.clock.now()),
    };
    let facts = WebhookFacts { preferences: vec![resumed], ..WebhookFacts::default() };
    world.store.ingest(std::sync::Arc::new(facts)).await.unwrap();
    // The refusal of before comes again.
    world.ingest(Vec::new(), vec![late()]).await;
    let contact = contact_of(world, conversation).await;
    assert_eq!(sources(&contact), ["refusal", "preference"]);
    assert!(contact.contact.marketing_stopped_at.is_none());
}

async fn a_block_takes_what_waits_and_follows_the_person(world: &World) {
    let store = &world.store;
    let conversation = world.say("b-1", "703", "hello").await;
    let claim = store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
    world.say("b-2", "703", "hello?").await;
    let contact = contact_of(world, conversation).await;
    let id = ContactId(contact.contact.id);
    store.block_contact(id, "spam", &Actor::Platform).await.unwrap().unwrap();
    // A turn that was under way ends; what it says is refused when it is to go out.
    store.finish(world.turn(&claim, &["late"])).await.unwrap();
    let late = world.due(conversation).await;
    let Permission::Cancel(error) = allowed(&late, world.clock.now()) else { panic!("it would be sent") };
    assert_eq!(error.reason, "blocked");
    store.refuse_send(&late, micai::domain::outbound::Refusal::Cancel(error)).await.unwrap();
    let (new, wake) = world.ingest(vec![message("b-3", "703", "hello!", world.clock.now())], Vec::new()).await;
    assert_eq!((new, wake.len()), (1, 0), "recorded, and nobody is woken");
    assert!(store.claim(conversation, LEASE_SECONDS).await.unwrap().is_none(), "nothing waits");

    // They take another number that we know from before: the block and the stop come along.
    let old = world.say("b-4", "704", "stop").await;
    let claim = store.claim(old, LEASE_SECONDS).await.unwrap().unwrap();
    let mut turn = world.turn(&claim, &[]);
    turn.effects.push(stop(ConsentCategory::All, "b-4"));
    store.finish(turn).await.unwrap();
    let address = |value: &str| Address { kind: AddressKind::Phone, value: value.into() };
    let moved = NewInbound {
        state: micai::domain::inbound::InboundState::Noted,
        identity_change: Some(IdentityChange { previous: vec![address("703")], current: vec![address("705")] }),
        ..message("b-5", "705", "moved", world.clock.now())
    };
    world.ingest(vec![moved], Vec::new()).await;
    let one = NewInbound {
        person: Person { phone: Some("705".into()), bsuid: Some("DE.705".into()), ..Person::default() },
        ..message("b-6", "705", "hello", world.clock.now())
    };
    let (_, wake) = world.ingest(vec![one], Vec::new()).await;
    assert!(wake.is_empty(), "still blocked: {wake:?}");
    assert!(store.contacts(true, None, 10).await.unwrap().iter().any(|one| one.id == id.0));
    store.unblock_contact(id, &Actor::Platform).await.unwrap().unwrap();
    assert!(store.contacts(true, None, 10).await.unwrap().is_empty());
}

async fn two_contacts_that_are_one_person_keep_the_stricter_wish(world: &World) {
    let store = &world.store;
    let by_phone = world.say("j-1", "710", "stop").await;
    let claim = store.claim(by_phone, LEASE_SECONDS).await.unwrap().unwrap();
    let mut turn = world.turn(&claim, &[]);
    turn.effects.push(stop(ConsentCategory::All, "j-1"));
    turn.effects.push(stop(ConsentCategory::Marketing, "j-1"));
    store.finish(turn).await.unwrap();
    store
        .block_contact(ContactId(contact_of(world, by_phone).await.contact.id), "spam", &Actor::Platform)
        .await
        .unwrap();
    let bsuid = |id: &str, phone: Option<&str>| NewInbound {
        person: Person { bsuid: Some("DE.710".into()), phone: phone.map(str::to_owned), ..Person::default() },
        reply_to: Address { kind: AddressKind::Bsuid, value: "DE.710".into() },
        ..message(id, "unused", "hello", world.clock.now())
    };
    let by_id = world.ingest(vec![bsuid("j-2", None)], Vec::new()).await.1[0];
    world.answer(by_id, &[]).await;
    assert!(contact_of(world, by_id).await.contact.opted_out_at.is_none());
    // A message that names both: they are one.
    world.ingest(vec![bsuid("j-3", Some("710"))], Vec::new()).await;
    let (old, new) = (contact_of(world, by_phone).await.contact, contact_of(world, by_id).await.contact);
    let into = [&old, &new].into_iter().find(|one| one.merged_into.is_none()).unwrap();
    let into = store.contact(ContactId(into.id)).await.unwrap().unwrap();
    assert!(into.contact.opted_out_at.is_some() && into.contact.marketing_stopped_at.is_some(), "{into:?}");
    assert_eq!(into.contact.blocked_reason.as_deref(), Some("spam"));
    assert_eq!(into.contact.marketing_stopped_by.as_deref(), Some("word"), "START still undoes it");
    // What is changed by either id changes the person.
    for id in [old.id, new.id] {
        store.unblock_contact(ContactId(id), &Actor::Platform).await.unwrap().unwrap();
    }
    for id in [old.id, new.id] {
        let none = store.set_consent(ContactId(id), ConsentCategory::All, false, "asked to", &Actor::Platform).await;
        assert!(none.unwrap().unwrap().contact.opted_out_at.is_none());
        let one = store.contact(ContactId(id)).await.unwrap().unwrap().contact;
        assert!(one.opted_out_at.is_none() && one.blocked_at.is_none(), "old conversations hang there: {one:?}");
    }
    while let Ok(Some(claim)) = store.claim(by_id, LEASE_SECONDS).await {
        store.finish(world.turn(&claim, &[])).await.unwrap();
    }
}

/// Somebody who wants nothing and is blocked writes from a new number before WhatsApp tells that it is theirs.
async fn a_new_number_inherits_what_the_old_one_did_not_want(world: &World) {
    let (store, old, new) = (&world.store, "731", "732");
    let before = world.say(&format!("{old}-1"), old, "stop").await;
    let claim = store.claim(before, LEASE_SECONDS).await.unwrap().unwrap();
    let mut turn = world.turn(&claim, &[]);
    turn.effects.push(stop(ConsentCategory::All, &format!("{old}-1")));
    turn.effects.push(stop(ConsentCategory::Marketing, &format!("{old}-1")));
    store.finish(turn).await.unwrap();
    let after = world.say(&format!("{new}-1"), new, "hello").await;
    world.answer(after, &["waits"]).await;
    let waiting = world.due(after).await;
    let address = |value: &str| Address { kind: AddressKind::Phone, value: value.into() };
    let moved = NewInbound {
        state: micai::domain::inbound::InboundState::Noted,
        identity_change: Some(IdentityChange { previous: vec![address(old)], current: vec![address(new)] }),
        ..message(&format!("{new}-2"), new, "moved", world.clock.now())
    };
    world.ingest(vec![moved], Vec::new()).await;
    assert_eq!(world.state(&waiting).await, "cancelled");
    let there = contact_of(world, after).await.contact;
    assert!(there.opted_out_at.is_some() && there.marketing_stopped_at.is_some(), "{there:?}");
}

/// The same in one batch: the message comes to whom the person is, not to somebody who is nobody any more.
async fn a_message_and_the_news_of_its_number_in_one_batch_are_one_person(world: &World) {
    let store = &world.store;
    let before = world.say("735-1", "735", "hello").await;
    world.answer(before, &[]).await;
    let id = ContactId(contact_of(world, before).await.contact.id);
    store.block_contact(id, "spam", &Actor::Platform).await.unwrap().unwrap();
    let address = |value: &str| Address { kind: AddressKind::Phone, value: value.into() };
    let moved = NewInbound {
        state: micai::domain::inbound::InboundState::Noted,
        identity_change: Some(IdentityChange { previous: vec![address("735")], current: vec![address("736")] }),
        ..message("736-2", "736", "moved", world.clock.now())
    };
    let hello = message("736-1", "736", "hello", world.clock.now());
    let (new, wake) = world.ingest(vec![hello, moved], Vec::new()).await;
    assert_eq!((new, wake.len()), (2, 0), "they are blocked");
    assert!(store.claim(before, LEASE_SECONDS).await.unwrap().is_none(), "nothing waits");
}

async fn what_was_held_is_cancelled_by_a_stop(world: &World) {
    let conversation = world.say("h-1", "720", "hello").await;
    world.answer(conversation, &["held"]).await;
    let held = world.due(conversation).await;
    let error = SendError { code: None, reason: "window_closed".into(), detail: "Too old.".into() };
    world.store.refuse_send(&held, micai::domain::outbound::Refusal::Hold(error)).await.unwrap();
    let id = ContactId(contact_of(world, conversation).await.contact.id);
    world.store.set_consent(id, ConsentCategory::Marketing, true, "asked to", &Actor::Platform).await.unwrap();
    assert_eq!(world.state(&held).await, "held", "it is no marketing");
    world.store.set_consent(id, ConsentCategory::All, true, "asked to", &Actor::Platform).await.unwrap();
    assert_eq!(world.state(&held).await, "cancelled");
    let reason = world.store.outbound(held.id).await.unwrap().unwrap().error.unwrap()["reason"].clone();
    assert_eq!(reason, "opted_out");
}

async fn story(world: &World) {
    one_wish_on_two_numbers_is_confirmed_once(world).await;
    marketing_goes_to_nobody_who_stopped_it(world).await;
    whatsapps_refusals_are_noted_once_and_never_against_later_news(world).await;
    a_block_takes_what_waits_and_follows_the_person(world).await;
    two_contacts_that_are_one_person_keep_the_stricter_wish(world).await;
    a_new_number_inherits_what_the_old_one_did_not_want(world).await;
    a_message_and_the_news_of_its_number_in_one_batch_are_one_person(world).await;
    what_was_held_is_cancelled_by_a_stop(world).await;
}

/// What would rewrite what people said.
const REWRITES: [&str; 2] = ["UPDATE contact_consents SET stopped = false", "DELETE FROM contact_consents"];

/// What policy says while nothing is paused, of a template whose category nobody knows.
fn allowed(candidate: &SendCandidate, now: jiff::Timestamp) -> Permission {
    let category = candidate.body.template().map(|_| TemplateCategory::Unknown);
    check(&POLICY, candidate, category, &PauseSnapshot::default(), "BR", now)
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("micai.db");
    let world = world(Location::Sqlite { path: path.clone(), readers_max: 4 }).await;
    story(&world).await;
    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    for rewrite in REWRITES {
        let refused = connection.execute(rewrite).await.unwrap_err().to_string();
        assert!(refused.contains("only grows"), "{rewrite}: {refused}");
    }
    connection.close().await.unwrap();
    world.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_on_postgres() {
    let server = Postgres::start().await;
    let world = world(server.location()).await;
    story(&world).await;
    let mut connection = server.options().connect().await.unwrap();
    for rewrite in REWRITES {
        let refused = connection.execute(rewrite).await.unwrap_err().to_string();
        assert!(refused.contains("only grows"), "{rewrite}: {refused}");
    }
    connection.close().await.unwrap();
    world.store.close().await;
}
