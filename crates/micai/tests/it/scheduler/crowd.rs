//! Many people with schedules, written straight into the tables: making them one by one would take longer than the story.

use jiff::Timestamp;
use micai::store::Location;
use sqlx::{ConnectOptions as _, Executor as _};

/// A crowd of schedules.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// The number of the first person.
    pub from: u32,
    /// How many people.
    pub people: u32,
    /// How many schedules each of them has.
    pub each: u32,
    /// When all of them are due.
    pub due_at: Timestamp,
}

impl Crowd {
    /// Writes the people, their conversations and their schedules.
    pub async fn write(self, location: &Location) {
        match location {
            Location::Sqlite { path, .. } => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut connection = options.connect().await.expect("a connection");
                for sql in self.statements("unhex(printf('%08x000070008000%012x', {n}, {m}))", &self.micros()) {
                    connection.execute(sqlx::AssertSqlSafe(sql)).await.expect("rows");
                }
            }
            Location::Postgres { options, .. } => {
                let mut connection = options.connect().await.expect("a connection");
                let id = "(lpad(to_hex({n}), 8, '0') || '-0000-7000-8000-' || lpad(to_hex({m}), 12, '0'))::uuid";
                let instant = format!("'{}'::timestamptz", self.due_at);
                for sql in self.statements(id, &instant) {
                    connection.execute(sqlx::AssertSqlSafe(sql)).await.expect("rows");
                }
            }
        }
    }

    fn micros(self) -> String {
        self.due_at.as_microsecond().to_string()
    }

    fn statements(self, id: &str, instant: &str) -> Vec<String> {
        let Self { from, people, each, .. } = self;
        let id = |n: &str, m: &str| id.replace("{n}", n).replace("{m}", m);
        let last = from + people - 1;
        let crowd =
            format!("WITH RECURSIVE crowd(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM crowd WHERE n < {last})");
        let copies = format!(", copies(m) AS (SELECT 1 UNION ALL SELECT m + 1 FROM copies WHERE m < {each})");
        let (contact, identity, conversation) = (id("n", "1"), id("n", "2"), id("n", "3"));
        let schedule = id("n", "m + 100");
        vec![
            format!("INSERT INTO contacts (id, created_at) {crowd} SELECT {contact}, {instant} FROM crowd"),
            format!(
                "INSERT INTO contact_identities (id, portfolio_id, kind, value, contact_id, created_at)
                 {crowd} SELECT {identity}, 'default', 'phone', CAST(500000000 + n AS text), {contact}, {instant} FROM crowd"
            ),
            format!(
                "INSERT INTO conversations (id, contact_id, phone_number_id, mode, lease_token, created_at)
                 {crowd} SELECT {conversation}, {contact}, '900001', 'bot', 0, {instant} FROM crowd"
            ),
            format!(
                "INSERT INTO schedules (id, contact_id, phone_number_id, agent_id, maker, recurrence, zone, starts_at,
                     jitter_seconds, missed, action, state, next_due_at, next_run_at, fired, created_at, updated_at)
                 {crowd}{copies} SELECT {schedule}, {contact}, '900001', 'default-agent', 'operator',
                     '{{\"kind\":\"every\",\"minutes\":60}}', 'UTC', {instant}, 0, '{{\"kind\":\"once\"}}',
                     '{{\"kind\":\"text\",\"text\":\"hello\"}}', 'active', {instant}, {instant}, 0, {instant}, {instant}
                 FROM crowd CROSS JOIN copies"
            ),
        ]
    }
}
