//! What is counted in the end: at the phones, and in the database.

use std::collections::HashMap;

use micai::agent::turn::FALLBACK_REPLY;
use simulator::Simulator;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::{Person, Written, replies};

/// Faults that are told in full; the rest is counted.
const TOLD_MAX: usize = 3;

/// Everything that a person, a message concerned, and what is wrong.
struct Fault<'a> {
    person: &'a Person,
    about: Option<&'a Written>,
    what: String,
}

/// What is wrong, each with the seed's help enough to look for it: phone, expectation, timeline.
pub async fn faults(simulator: &Simulator, database: &PgConnectOptions, people: &[Person]) -> Vec<String> {
    let mut connection = database.connect().await.expect("a connection");
    let states: Vec<(String, String)> = sqlx::query_as("SELECT provider_message_id, state FROM inbound_messages")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let states: HashMap<String, String> = states.into_iter().collect();
    let found: Vec<Fault<'_>> = people.iter().flat_map(|person| faults_of(simulator, &states, person)).collect();
    let mut told = Vec::new();
    for fault in &found {
        let mut text = format!("{}: {}", fault.person.phone, fault.what);
        if told.len() < TOLD_MAX {
            text.push_str(&timeline(simulator, &mut connection, fault).await);
        }
        told.push(text);
    }
    told.extend(unsettled(&mut connection).await);
    told
}

fn faults_of<'a>(simulator: &Simulator, states: &HashMap<String, String>, person: &'a Person) -> Vec<Fault<'a>> {
    let mut faults = Vec::new();
    let said: Vec<String> = replies(simulator, &person.phone).into_iter().map(|bubble| bubble.text).collect();
    let written: Vec<(usize, &Written)> =
        person.groups.iter().enumerate().flat_map(|(group, all)| all.iter().map(move |one| (group, one))).collect();
    for (_, one) in &written {
        let state = states.get(&one.id).map_or("not there", String::as_str);
        if state != "done" {
            let what = format!("{:?} was answered 200 and is {state}", one.text);
            faults.push(Fault { person, about: Some(one), what });
        }
        let times = said.iter().filter(|said| **said == reply_to(one)).count();
        if times != 1 {
            let what = format!("{:?} was answered {times} times", one.text);
            faults.push(Fault { person, about: Some(one), what });
        }
    }
    let group_of: HashMap<String, usize> = written.iter().map(|(group, one)| (reply_to(one), *group)).collect();
    let order: Vec<Option<usize>> = said.iter().map(|said| group_of.get(said).copied()).collect();
    if let Some(position) = order.iter().position(Option::is_none) {
        faults.push(Fault { person, about: None, what: format!("nobody asked for {:?}", said[position]) });
    }
    if !order.is_sorted() {
        let expected: Vec<Vec<&str>> =
            person.groups.iter().map(|group| group.iter().map(|one| one.text.as_str()).collect()).collect();
        let about = written.first().map(|(_, one)| *one);
        faults.push(Fault { person, about, what: format!("out of order: {said:?}, expected {expected:?}") });
    }
    faults
}

fn reply_to(written: &Written) -> String {
    FALLBACK_REPLY.replace("{text}", &written.text)
}

/// Everything that the database and the simulator know about the message's conversation.
async fn timeline(simulator: &Simulator, connection: &mut PgConnection, fault: &Fault<'_>) -> String {
    const ROWS: &str = "
        WITH c AS (SELECT conversation_id AS id FROM inbound_messages WHERE provider_message_id = $1)
        SELECT at::text || '  ' || what || '  ' || row::text FROM (
            SELECT received_at AS at, 'message' AS what, to_jsonb(m) - 'payload' AS row
            FROM inbound_messages m JOIN c ON m.conversation_id = c.id
            UNION ALL SELECT finished_at, 'turn', to_jsonb(t) - 'trace' FROM turns t JOIN c ON t.conversation_id = c.id
            UNION ALL SELECT created_at, 'send', to_jsonb(o) FROM outbound_messages o JOIN c ON o.conversation_id = c.id
            UNION ALL SELECT started_at, 'attempt', to_jsonb(a)
                FROM delivery_attempts a JOIN c ON a.conversation_id = c.id
            UNION ALL SELECT received_at, 'status', to_jsonb(e) FROM delivery_events e JOIN c ON e.conversation_id = c.id
        ) rows ORDER BY at";
    let Some(about) = fault.about else { return String::new() };
    let rows: Vec<String> = sqlx::query_scalar(ROWS).bind(&about.id).fetch_all(connection).await.unwrap();
    let calls =
        simulator.graph_requests().into_iter().filter(|call| call.phone_id.as_ref() == Some(&fault.person.phone));
    let calls = calls.map(|call| {
        let (at, wamid) = (call.at_milliseconds, call.wamid.unwrap_or_default());
        format!(
            "call at {at}: {wamid} status {:?} fault {:?} {}",
            call.status,
            call.fault,
            call.body.unwrap_or_default()
        )
    });
    let chat = simulator.chat(&fault.person.phone).expect("a chat");
    let chat =
        chat.iter().map(|bubble| format!("{:?} {:?} {} {:?}", bubble.author, bubble.text, bubble.id, bubble.status));
    let lines: Vec<String> = rows.into_iter().chain(calls).chain(chat).collect();
    format!("\n    message {}\n    {}", about.id, lines.join("\n    "))
}

/// Rows that are not where everything must be in the end.
async fn unsettled(connection: &mut PgConnection) -> Vec<String> {
    let sends: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT state, count(*), coalesce(sum(attempts), 0)::bigint, coalesce(sum(resends), 0)::bigint
         FROM outbound_messages GROUP BY state",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let leases: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations WHERE lease_until IS NOT NULL")
        .fetch_one(connection)
        .await
        .unwrap();
    let mut faults = Vec::new();
    for (state, count, attempts, resends) in sends {
        eprintln!("{count} sends are {state}, after {attempts} attempts; {resends} were proved lost and sent again");
        if state != "delivered" {
            faults.push(format!("{count} sends are {state}, and every one must be delivered"));
        }
    }
    if leases > 0 {
        faults.push(format!("{leases} leases are still held"));
    }
    faults
}
