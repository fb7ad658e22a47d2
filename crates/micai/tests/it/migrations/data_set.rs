//! A filled database as rows of SQL: written at one version, read at every later one.

use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use micai::clock::Clock as _;
use micai::domain::agent::AgentId;
use micai::domain::audit::Actor;
use micai::domain::consent::{ConsentCategory, ConsentChange, ConsentSource};
use micai::domain::contact::{AddressKind, Person};
use micai::domain::inbound::{RawEvent, WebhookFacts};
use micai::domain::outbound::{AttemptOutcome, DeliveryStatus, MessageBody, NextSend, Refusal, SendError, SendState};
use micai::domain::pause::{PauseKey, PauseScope};
use micai::domain::rule::{Rule, RuleAction, RuleKind};
use micai::domain::turn::Effect;
use micai::ids::{ConversationId, InboundId};
use micai::store::{Location, TranscriptEntry};
use serde_json::json;
use uuid::Uuid;

use super::Empty;
use crate::store::{DEADLINE_SECONDS, LEASE_SECONDS, NUMBER, World, accepted, message, status, world};

/// Fills a new database and writes what is in it to `file`.
pub async fn write(database: &Empty, dialect: &str, file: &Path) {
    let world = world(database.location()).await;
    fill(&world).await;
    world.store.close().await;
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(file, dump(database, dialect).await).expect("a file");
}

/// Every row as an INSERT, tables by name; what refers to another table comes behind it.
async fn dump(database: &Empty, dialect: &str) -> String {
    let is_postgres = dialect == "postgres";
    let tables = if is_postgres {
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('_sqlx_migrations', 'people_versions') ORDER BY 1"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT IN ('_sqlx_migrations', 'people_versions')
         ORDER BY 1"
    };
    let mut lines = vec!["-- Rows of a database of this version; written by the test that reads them.".to_owned()];
    for table in database.texts(tables).await {
        let columns = if is_postgres {
            format!(
                "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'
                 ORDER BY ordinal_position"
            )
        } else {
            format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid")
        };
        let columns = database.texts(&columns).await;
        let value = |column: &String| match is_postgres {
            true => format!("quote_nullable({column}::text)"),
            false => format!("quote({column})"),
        };
        let values = columns.iter().map(value).collect::<Vec<_>>().join(" || ', ' || ");
        let rows = database.texts(&format!("SELECT {values} FROM {table} ORDER BY 1")).await;
        let insert = |row| format!("INSERT INTO {table} ({}) VALUES ({row});", columns.join(", "));
        lines.extend(rows.into_iter().map(insert));
    }
    lines.join("\n") + "\n"
}

fn rule() -> Rule {
    Rule {
        id: "hours".into(),
        agent_id: AgentId("shop".into()),
        kind: RuleKind::Keyword,
        enabled: true,
        priority: 3,
        keywords: vec!["open".into(), "horário".into()],
        whole_word: true,
        prefix: None,
        action: RuleAction::ReplyText,
        reply_text: "Nine to five; don't ask why.".into(),
    }
}

fn error(reason: &str) -> SendError {
    SendError { code: Some(131_000), reason: reason.into(), detail: "It's so.".into() }
}

/// One of everything that a database can hold.
async fn fill(world: &World) {
    let happy = world.say("in-1", "4915550001", "hello").await;
    world.answer(happy, &["hello to you"]).await;
    let sent = world.due(happy).await;
    assert!(world.store.begin_send(&sent).await.unwrap());
    assert!(world.settle(&sent, accepted("out-1")).await);
    world.ingest(Vec::new(), vec![status("out-1", Some(&sent), DeliveryStatus::Delivered)]).await;

    world.say("in-2", "4915550002", "I wait; still").await;
    let queued = world.say("in-3", "4915550003", "and me").await;
    world.answer(queued, &["soon"]).await;
    for (number, outcome) in [
        AttemptOutcome::Unknown { error: error("timeout") },
        AttemptOutcome::Failed { error: error("refused") },
        AttemptOutcome::Paused { error: error("paused"), pause: PauseKey::new(PauseScope::Account, "") },
    ]
    .into_iter()
    .enumerate()
    {
        let conversation = world.say(&format!("in-4{number}"), &format!("491555001{number}"), "hm").await;
        world.answer(conversation, &["ended badly"]).await;
        let candidate = world.due(conversation).await;
        assert!(world.store.begin_send(&candidate).await.unwrap());
        assert!(world.settle(&candidate, outcome).await);
    }
    let dry = world.say("in-5", "4915550005", "dry").await;
    world.answer(dry, &["run"]).await;
    let request = json!({ "body": { "text": "run" } });
    world.store.refuse_send(&world.due(dry).await, Refusal::Suppress { request }).await.unwrap();

    let stopped = world.say("in-6", "4915550006", "STOP").await;
    let claim = world.store.claim(stopped, LEASE_SECONDS).await.unwrap().unwrap();
    let mut turn = world.turn(&claim, &[]);
    let change = ConsentChange::new(ConsentCategory::All, true, ConsentSource::Word, json!({ "word": "stop" }));
    turn.effects.push(Effect::Consent { change, provider_message_id: "in-6".into() });
    world.store.finish(turn).await.unwrap();

    assert!(
        world
            .store
            .create_agent(&AgentId("shop".into()), &Default::default(), &Actor::Platform)
            .await
            .unwrap()
            .is_some()
    );
    world.store.save_rule(&rule(), 20, &Actor::Platform).await.unwrap();
    let person = Person { phone: Some("4915550001".into()), bsuid: Some("DE.1".into()), ..Person::default() };
    world.store.bind(&person, &AgentId("shop".into()), NUMBER, &Actor::Platform).await.unwrap();
    let event = RawEvent {
        kind: "account_update".into(),
        waba_id: Some("7".into()),
        reason: None,
        raw: "{\"it's\":\"news\"}".into(),
    };
    let facts = WebhookFacts { raw_events: vec![event], ..WebhookFacts::default() };
    world.store.ingest(Arc::new(facts)).await.unwrap();
}

/// Reads everything that [`fill`] made, through the present program, and goes on with it.
pub async fn check(location: Location, from: &str) {
    let world = world(location).await;
    let store = &world.store;
    world.clock.advance(SignedDuration::from_secs(DEADLINE_SECONDS));
    let conversations = store.conversations(None, 100).await.unwrap();
    assert_eq!(conversations.len(), 8, "{from}");
    let mut told = Vec::new();
    let mut with = std::collections::HashMap::new();
    for conversation in &conversations {
        let id = ConversationId(conversation.id);
        for entry in store.transcript(id, None, 100).await.unwrap() {
            if let TranscriptEntry::In(message) = entry {
                let timeline = store.timeline(id, InboundId(message.id)).await.unwrap().expect("a timeline");
                assert_eq!(timeline.message.state, message.state);
                told.push((message.provider_message_id.clone(), message.state));
                with.insert(message.provider_message_id, (id, conversation));
            }
        }
    }
    told.sort();
    let done = |id: &str| (id.to_owned(), "done".to_owned());
    let expected = [
        done("in-1"),
        ("in-2".to_owned(), "pending".to_owned()),
        done("in-3"),
        done("in-40"),
        done("in-41"),
        done("in-42"),
        done("in-5"),
        done("in-6"),
    ];
    assert_eq!(told, expected, "{from}");
    assert!(with["in-6"].1.opted_out_at.is_some(), "{from}: a STOP outlives every upgrade");
    assert_eq!(with["in-1"].1.agent_id.as_deref(), Some("shop"), "{from}");
    let addresses = store.addresses(micai::ids::ContactId(with["in-1"].1.contact_id)).await.unwrap();
    assert_eq!(addresses[&AddressKind::Phone], "4915550001", "{from}");
    assert_eq!(addresses[&AddressKind::Bsuid], "DE.1", "{from}");
    assert_eq!(store.rule("hours").await.unwrap(), Some(rule()), "{from}");
    for state in ["delivered", "queued", "unknown", "failed", "held", "suppressed"] {
        let state = SendState::ALL.into_iter().find(|one| one.as_str() == state).expect("a state");
        assert_eq!(store.outbound_list(Some(state), None, 10).await.unwrap().len(), 1, "{from}: {}", state.as_str());
    }
    assert_eq!(store.overdue_unknowns(DEADLINE_SECONDS).await.unwrap().len(), 1, "{from}");
    assert_eq!(store.forgotten_turns(world.clock.now(), ConversationId(Uuid::nil()), 9).await.unwrap().len(), 1);
    go_on(&world, with["in-2"].0, with["in-3"].0, from).await;
    store.close().await;
}

/// What waited when the old program stopped is done by the new one.
async fn go_on(world: &World, pending: ConversationId, queued: ConversationId, from: &str) {
    let claim = world.store.claim(pending, LEASE_SECONDS).await.unwrap().expect("it waits");
    assert_eq!(claim.pending[0].text.as_deref(), Some("I wait; still"), "{from}");
    world.store.finish(world.turn(&claim, &["at last"])).await.unwrap();
    for (conversation, text) in [(pending, "at last"), (queued, "soon")] {
        let candidate = world.due(conversation).await;
        assert_eq!(candidate.body, MessageBody::Text { text: text.into() }, "{from}");
        assert!(world.store.begin_send(&candidate).await.unwrap(), "{from}");
        assert!(world.settle(&candidate, accepted(text)).await, "{from}");
        assert_eq!(world.store.next_send(conversation, DEADLINE_SECONDS).await.unwrap(), NextSend::Nothing, "{from}");
    }
    // The same message again, as WhatsApp does: the index over what was there before the upgrade knows it.
    let again = vec![message("in-1", "4915550001", "hello", world.clock.now())];
    assert_eq!(world.ingest(again, Vec::new()).await.0, 0, "{from}");
    assert_eq!(world.store.unfinished().await.unwrap(), 0, "{from}");
}
