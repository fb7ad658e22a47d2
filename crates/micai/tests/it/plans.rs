//! How Postgres finds the rows of each statement that runs once a message, at a million rows of history: by an index, whatever
//! the table has grown to. The server itself writes down the plans that it really used.
//!
//! `MICAI_TEST_WRITE_PLANS=1` writes `tests/data/plans.txt` anew: every such statement with the indexes it went by.

mod due;
mod sqlite;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use micai::domain::inbound::{NewStatus, WebhookFacts};
use micai::domain::outbound::{AttemptOutcome, DeliveryStatus, Refusal, SendCandidate, SendError};
use micai::ids::ConversationId;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection};
use uuid::Uuid;

use crate::postgres::{Private, location};
use crate::store::{DEADLINE_SECONDS, NUMBER, World, world};

/// Has the server log the plan of every statement.
const SETTINGS: [&str; 9] = [
    "autovacuum=off",
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "log_destination=stderr",
    "logging_collector=on",
    "log_directory=.",
    "log_filename=plans.log",
    "log_file_mode=0644",
    "max_wal_size=4GB",
];
/// Tables of a few rows, of which reading all is the best that can be done.
/// Budgets are few; their periods are as many as people only where each person has a budget.
const SMALL: [&str; 4] = ["agents", "rules", "budgets by", "budget_periods by"];

/// In statements of sweeps and probes.
const WAITING: &str = "state = 'pending'";
/// In statements of operators who save a budget.
const BUDGETS: [&str; 2] = ["FROM budgets", "UPDATE budget_periods SET warned_at = NULL"];

/// A million messages with their answers and statuses, from a hundred thousand people.
const HISTORY: &str = "
    INSERT INTO contacts (id, name, created_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, 'Ana', '2026-01-01' FROM generate_series(1, 100000) n;
    INSERT INTO contact_identities (id, portfolio_id, kind, value, contact_id, created_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, 'default', 'phone', (5510000000 + n)::text, lpad(to_hex(n), 32, '0')::uuid,
           '2026-01-01' FROM generate_series(1, 100000) n;
    INSERT INTO conversations (id, contact_id, phone_number_id, mode, last_inbound_at, lease_token, created_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex(n), 32, '0')::uuid, '900001', 'bot', '2026-01-01', 1, '2026-01-01'
    FROM generate_series(1, 100000) n;
    INSERT INTO inbound_messages (conversation_id, id, phone_number_id, provider_message_id, kind, nature, text, payload,
           reply_to_kind, reply_to, sent_at, received_at, state, failures)
    SELECT lpad(to_hex(n % 100000 + 1), 32, '0')::uuid, lpad(to_hex(n), 32, '0')::uuid, '900001', 'old.' || n, 'text',
           'words', 'hello', '{}', 'phone', '551', '2026-01-01', '2026-01-01', 'done', 0
    FROM generate_series(1, 1000000) n;
    INSERT INTO outbound_messages (conversation_id, id, idempotency_key, phone_number_id, to_kind, to_value, kind, body,
           ignores_opt_out, state, attempts, resends, provider_message_id, sending_at, created_at, updated_at)
    SELECT lpad(to_hex(n % 100000 + 1), 32, '0')::uuid, lpad(to_hex(n), 32, '0')::uuid, 'old:' || n, '900001', 'phone',
           '551', 'text', '{}', false, 'delivered', 1, 0, 'old.out.' || n, '2026-01-01', '2026-01-01', '2026-01-01'
    FROM generate_series(1, 1000000) n;
    INSERT INTO delivery_attempts (conversation_id, outbound_id, attempt, started_at)
    SELECT conversation_id, id, 1, created_at FROM outbound_messages WHERE idempotency_key LIKE 'old:%';
    INSERT INTO delivery_events (id, phone_number_id, provider_message_id, status, recipient, occurred_at, received_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, '900001', 'old.out.' || n, 'sent', '551', '2026-01-01', '2026-01-01'
    FROM generate_series(1, 1000000) n;
    INSERT INTO turns (conversation_id, id, agent_id, agent_version, started_at, finished_at, trace)
    SELECT conversation_id, id, 'default-agent', 1, '2026-01-01', '2026-01-01', '{}' FROM inbound_messages
    WHERE state = 'done'";

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_that_runs_once_a_message_goes_by_an_index() {
    let Some(server) = Private::available(&SETTINGS) else { return };
    let world = world(location(server.options())).await;
    let mut connection = server.options().connect().await.unwrap();
    connection.execute("SET auto_explain.log_min_duration = -1").await.unwrap();
    // Plans are made while the tables are empty, are kept while they grow uncounted, and are made again when the server has
    // counted. They must do each time.
    one_of_everything(&world, "empty").await;
    connection.execute(HISTORY).await.unwrap();
    one_of_everything(&world, "grown").await;
    connection.execute("ANALYZE").await.unwrap();
    let log = log_of(&server);
    let begins_at = std::fs::metadata(&log).unwrap().len();
    one_of_everything(&world, "counted").await;
    world.store.close().await;
    let written = written_to_the_end(&log, &mut connection).await;
    let read_whole = |plans: &BTreeMap<String, BTreeSet<String>>| -> Vec<String> {
        let whole = plans.iter().flat_map(|(statement, accesses)| accesses.iter().map(move |one| (statement, one)));
        let whole = whole.filter(|(_, access)| access.starts_with("all of "));
        let whole = whole.filter(|(_, access)| !SMALL.iter().any(|table| access.contains(table)));
        // A sweep reads all that waits: the index holds nothing else. The statements of lanes begin with their batches.
        let whole = whole.filter(|(statement, _)| statement.starts_with("WITH ") || !statement.contains(WAITING));
        let is_theirs = |statement: &str| BUDGETS.iter().any(|words| statement.contains(words));
        let whole = whole.filter(|(statement, _)| statement.starts_with("WITH ") || !is_theirs(statement));
        whole.map(|(statement, access)| format!("{access} is read by: {statement}")).collect()
    };
    // What is not a lane's may read a table whole while it is as good as empty.
    let mut always = plans(&String::from_utf8_lossy(&written));
    always.retain(|statement, _| statement.starts_with("WITH "));
    let ever = read_whole(&always);
    assert!(ever.is_empty(), "{}", ever.join("\n\n"));
    let plans = plans(&String::from_utf8_lossy(&written[usize::try_from(begins_at).unwrap()..]));
    assert!(plans.len() > 10, "{plans:#?}");
    let now = read_whole(&plans);
    assert!(now.is_empty(), "{}", now.join("\n\n"));
    let listed: Vec<String> = plans
        .iter()
        .map(|(statement, accesses)| {
            let accesses: Vec<String> = accesses.iter().map(|access| format!("    {access}\n")).collect();
            format!("{statement}\n{}", accesses.concat())
        })
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/plans.txt");
    if std::env::var_os("MICAI_TEST_WRITE_PLANS").is_some() {
        std::fs::write(&file, listed.join("\n")).unwrap();
    }
    // Which of two equally good indexes is taken depends on what the server counted and on its version: that stands in the
    // file for people. Which statements there are does not.
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    let known: BTreeSet<&str> = known.lines().filter(|line| !line.is_empty() && !line.starts_with("    ")).collect();
    let found: BTreeSet<&str> = plans.keys().map(String::as_str).collect();
    let changed: Vec<_> = known.symmetric_difference(&found).collect();
    assert!(
        changed.is_empty(),
        "these statements are new or gone: look at their plans, then write the file anew: {changed:#?}"
    );
}

fn log_of(server: &Private) -> PathBuf {
    let log = std::fs::read_dir(server.folder()).unwrap().flatten().map(|entry| entry.path().join("plans.log"));
    log.into_iter().find(|path| path.exists()).expect("the server's log")
}

/// What stands in the log, up to now. The server hands its lines to a process that writes them in its own time: a line of ours
/// behind them shows that they are there.
async fn written_to_the_end(log: &Path, connection: &mut PgConnection) -> Vec<u8> {
    const END: &str = "the story ends here";
    connection.execute(AssertSqlSafe(format!("DO $$ BEGIN RAISE LOG '{END}'; END $$"))).await.unwrap();
    for _ in 0..3_000 {
        let written = std::fs::read(log).unwrap();
        if String::from_utf8_lossy(&written).contains(&format!("LOG:  {END}")) {
            return written;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the server does not write its log");
}

/// The whole way of a message, every outcome of a send, and what looks for forgotten work.
async fn one_of_everything(world: &World, time: &str) {
    for person in 1..=3 {
        let round = format!("{time}.{person}");
        // Somebody new, somebody known (from the history, once there is one), and a second one of theirs.
        let acquaintance = match time {
            "empty" => format!("8800{person}"),
            _ => format!("551000{}00{person}", time.len()),
        };
        let conversation = world.say(&format!("new.{round}"), &format!("77{}{person}", time.len()), "hello").await;
        let known = world.say(&format!("known.{round}"), &acquaintance, "hello").await;
        world.say(&format!("more.{round}"), &acquaintance, "more").await;
        world.answer(conversation, &["sent", "unknown"]).await;
        world.answer(known, &["held"]).await;
        let sent = world.due(conversation).await;
        assert!(world.store.begin_send(&sent).await.unwrap());
        world.settle(&sent, AttemptOutcome::Accepted { provider_message_id: format!("out.{round}") }).await;
        for status in [DeliveryStatus::Sent, DeliveryStatus::Delivered] {
            statuses(world, &format!("out.{round}"), Some(&sent), status).await;
        }
        statuses(world, &format!("out.{round}"), None, DeliveryStatus::Read).await;
        let played = crate::cost::priced(&format!("out.{round}"), DeliveryStatus::Played, 1);
        world.ingest(Vec::new(), vec![played]).await;
        let unknown = world.due(conversation).await;
        crate::cost::put_aside(world, &unknown).await;
        assert!(world.store.begin_send(&unknown).await.unwrap());
        world.settle(&unknown, AttemptOutcome::Unknown { error: error() }).await;
        let held = world.due(known).await;
        world.store.refuse_send(&held, Refusal::Hold(error())).await.unwrap();
        // The window moves at once, so much later, and what was held goes.
        world.clock.advance(jiff::SignedDuration::from_hours(2));
        world.say(&format!("again.{round}"), &acquaintance, "again").await;
        world.answer(known, &[]).await;
        let released = world.due(known).await;
        world.store.refuse_send(&released, Refusal::Cancel(error())).await.unwrap();
    }
    let now = jiff::Timestamp::MAX;
    let first = ConversationId(Uuid::nil());
    world.store.forgotten_turns(now, first, 1_000).await.unwrap();
    world.store.forgotten_sends(now, first, 1_000).await.unwrap();
    world.store.has_expired_calls(60).await.unwrap();
    world.store.expire_calls(60).await.unwrap();
    for unknown in world.store.overdue_unknowns(DEADLINE_SECONDS).await.unwrap() {
        world.store.line_open_since(&unknown).await.unwrap();
    }
    world.store.backlog().await.unwrap();
}

fn error() -> SendError {
    SendError { code: None, reason: "story".to_owned(), detail: "For the story's sake.".to_owned() }
}

async fn statuses(world: &World, id: &str, callback: Option<&SendCandidate>, status: DeliveryStatus) {
    let status = NewStatus {
        phone_number_id: NUMBER.into(),
        provider_message_id: id.into(),
        callback: callback.map(|candidate| (candidate.conversation_id, candidate.id)),
        status,
        recipient: "551".into(),
        person: Default::default(),
        occurred_at: None,
        error: None,
        after: Default::default(),
        price: None,
    };
    let facts = WebhookFacts { statuses: vec![status], ..WebhookFacts::default() };
    world.store.ingest(std::sync::Arc::new(facts)).await.unwrap();
}

/// Statement -> how its rows are found, from the server's log.
fn plans(log: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut plans: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.ends_with("plan:") {
            continue;
        }
        let mut statement = String::new();
        let (mut accesses, mut plan) = (BTreeSet::new(), Vec::new());
        let mut is_plan = false;
        while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
            is_plan |= line.contains("(cost=");
            if !is_plan {
                statement.push_str(line.trim().trim_start_matches("Query Text: "));
                statement.push(' ');
            } else {
                plan.push(line.trim());
            }
        }
        for (place, line) in plan.iter().enumerate() {
            let Some((access, is_index)) = access(line) else { continue };
            let details = plan[place + 1..].iter().take_while(|line| !line.starts_with("->"));
            // Lanes (their statements begin with their batches) must find the few rows they are about. A sweep may read what
            // is in a state.
            let is_lane = statement.starts_with("WITH ");
            let mut conditions = details.into_iter().filter(|line| line.starts_with("Index Cond:"));
            let has_key = conditions.any(|line| !is_lane || is_narrow(line));
            accesses.insert(if is_index && !has_key { format!("all of {access}") } else { access });
        }
        if is_ours(&statement) {
            plans.entry(statement.trim().to_owned()).or_default().extend(accesses);
        }
    }
    plans
}

/// Whether what is looked for in an index leads to few entries: a state, a nature, a number of ours or a portfolio alone
/// leads to all of it.
fn is_narrow(condition: &str) -> bool {
    let condition = condition.replace("portfolio_id", "").replace("phone_number_id", "");
    ["id = ", "value = ", "id > ", "idempotency_key = "].iter().any(|key| condition.contains(key))
        || !["state", "nature", "kind"].iter().any(|broad| condition.contains(broad))
}

/// What the migrations and sqlx ask for themselves is not of interest.
fn is_ours(statement: &str) -> bool {
    !["_sqlx_migrations", "pg_catalog", "CREATE ", "ALTER ", "DROP "].iter().any(|word| statement.contains(word))
}

/// How a line of a plan reads a table, and whether by an index; nothing for lines that read none.
fn access(line: &str) -> Option<(String, bool)> {
    let words: Vec<&str> = line.trim_start_matches("->").split_whitespace().collect();
    let after = |word: &str| words.iter().position(|one| *one == word).and_then(|at| words.get(at + 1));
    match (line.contains("Scan"), after("using"), after("on")) {
        (true, Some(index), Some(table)) => Some((format!("{table} by {index}"), true)),
        (true, None, Some(index)) if line.contains("Bitmap Index Scan") => Some((format!("by {index}"), true)),
        (true, None, Some(table)) if line.contains("Seq Scan") => Some((format!("all of {table}"), false)),
        _ => None,
    }
}
