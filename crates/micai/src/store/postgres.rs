//! Connecting to Postgres: what a bad address, password, role or version is told as, and how a server that has gone
//! silent is noticed.

use std::io;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Error};

use super::db::ACQUIRE_TIMEOUT;
use super::error::StoreError;

/// The oldest server that the statements are written for, as `server_version_num` has it: 14.0.
const VERSION_NUMBER_MIN: i64 = 140_000;
/// How long the start waits for a server that is starting itself, refuses connections for now or has too many.
const START_WAIT: Duration = Duration::from_secs(5);
/// The pause between two tries of the start.
const START_PAUSE: Duration = Duration::from_millis(250);
/// How long a connection may take to show that its server is still there. One that does not is thrown away: sqlx 0.9.0
/// itself would wait for ever, and with each such connection the pool would lose a place.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// A lane's connection that has rested for longer is asked whether its server still lives before it is used. Under load
/// none rests so long: the question would cost as much as the statement.
const LANE_REST_TRUSTED: Duration = Duration::from_millis(20);
/// Connections for the lanes: one each, and some that are on their way back to the pool.
const LANE_CONNECTIONS_MAX: u32 = 12;
/// A lane's statements find their rows by key, however many there are. A plan is made once and kept, often while tables are
/// small or nobody has counted them; left to itself, Postgres would then plan to read all of a table and go on doing so when it
/// has grown. So what could read all is off, and what counts is rows touched, not pages.
const LANE_SETTINGS: &str = "SET plan_cache_mode = force_generic_plan; \
     SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_material = off; \
     SET enable_hashjoin = off; SET enable_mergejoin = off; \
     SET random_page_cost = 0; SET seq_page_cost = 0; SET cpu_tuple_cost = 1; SET cpu_index_tuple_cost = 1";
/// Connections older than this are replaced when they come back to the pool.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The pools: for everything in general, and for the lanes. A connection has been tried.
pub(super) async fn connect(
    options: PgConnectOptions,
    connections_max: u32,
    statement_timeout: Duration,
) -> Result<(PgPool, PgPool), StoreError> {
    let mut first = first_connection(&options).await?;
    let version = sqlx::query_scalar("SELECT current_setting('server_version_num')::bigint").fetch_one(&mut first);
    check_version(version.await?)?;
    // It has shown what it was for; the server notices its end however it comes.
    let _ = tokio::time::timeout(PING_TIMEOUT, first.close()).await;
    let for_lanes = (connections_max / 2).clamp(1, LANE_CONNECTIONS_MAX);
    let settings = session_settings(statement_timeout);
    let general = pool(connections_max.saturating_sub(for_lanes).max(1), settings.clone(), Duration::ZERO);
    let lanes = pool(for_lanes, format!("{settings}; {LANE_SETTINGS}"), LANE_REST_TRUSTED);
    Ok((general.connect_lazy_with(options.clone()), lanes.connect_lazy_with(options)))
}

/// Connections that have rested for longer than `rest_trusted` are asked whether their server still lives before use.
fn pool(connections_max: u32, settings: String, rest_trusted: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Where sqlx would close a connection by itself it waits for the server without a bound; the hooks below do not.
        .max_lifetime(None)
        .idle_timeout(None)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move { sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(connection).await.map(drop) })
        })
        .before_acquire(move |connection, about| {
            Box::pin(async move {
                match about.idle_for > rest_trusted {
                    true => answers(connection).await.map(|()| true),
                    false => Ok(true),
                }
            })
        })
        .after_release(|connection, about| {
            Box::pin(async move { answers(connection).await.map(|()| about.age < CONNECTION_LIFETIME) })
        })
}

/// Limits that the server keeps for us: on a statement, and on a transaction whose process has gone silent, so that it
/// does not hold its locks for ever. No statement here runs long enough to be worth compiling: that would take up to a tenth
/// of a second each time, where the server takes a statement for a large one.
fn session_settings(statement_timeout: Duration) -> String {
    let milliseconds = statement_timeout.as_millis();
    format!(
        "SET statement_timeout = {milliseconds}; SET idle_in_transaction_session_timeout = {milliseconds}; SET jit = off"
    )
}

/// Whether the server answers in time. An error has the pool throw the connection away without a word to the server.
async fn answers(connection: &mut PgConnection) -> Result<(), Error> {
    match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer"))),
    }
}

/// The first connection shows what is wrong with an address; a pool would only say that it has waited in vain.
async fn first_connection(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let mut has_said = false;
    let tries = async {
        loop {
            match PgConnection::connect_with(options).await {
                Ok(connection) => return Ok(connection),
                Err(error) if !may_pass(&error) => return Err(explain(&error, options)),
                Err(error) => {
                    if !has_said {
                        has_said = true;
                        tracing::warn!(reason = %explain(&error, options), "the start waits for the database");
                    }
                    tokio::time::sleep(START_PAUSE).await;
                }
            }
        }
    };
    match tokio::time::timeout(START_WAIT, tries).await {
        Ok(outcome) => outcome,
        // Asked once more for its reason; a server that says nothing at all has none.
        Err(_) => match tokio::time::timeout(START_PAUSE, PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(explain(&error, options)),
            Err(_) => Err(StoreError::Unavailable(format!(
                "{} does not answer: check host and port in MICAI_DATABASE_URL, and what stands between",
                place(options)
            ))),
        },
    }
}

/// Whether the same try may succeed in a moment.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Database(database) => matches!(database.code().as_deref(), Some("53300" | "57P01" | "57P02" | "57P03")),
        // A socket that is not there yet, a port that nobody listens on yet, a server that leaves while it is asked.
        Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

/// The server as people know it. Never the password.
fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(folder) => format!("the Postgres socket in {}", folder.display()),
        None => format!("the Postgres server at {}:{}", options.get_host(), options.get_port()),
    }
}

/// What a failed connection means for whoever set it up.
fn explain(error: &Error, options: &PgConnectOptions) -> StoreError {
    let place = place(options);
    let user = options.get_username();
    match error {
        Error::Database(database) => {
            let said = database.message();
            match database.code().as_deref() {
                Some("28P01" | "28000") => StoreError::Misconfigured(format!(
                    "{place} does not let {user:?} in ({said}): check user and password in MICAI_DATABASE_URL, and the \
                     server's pg_hba.conf"
                )),
                Some("3D000") => StoreError::Misconfigured(format!(
                    "{place} has no database {:?}: make it (`createdb`), or name another one in MICAI_DATABASE_URL",
                    options.get_database().unwrap_or(user)
                )),
                Some("42501") => StoreError::Misconfigured(format!(
                    "{user:?} may not connect to the database {:?} ({said}): grant it CONNECT",
                    options.get_database().unwrap_or(user)
                )),
                Some("53300") => StoreError::Unavailable(format!(
                    "{place} has no connection left ({said}): raise its max_connections, or lower \
                     MICAI_DATABASE_CONNECTIONS_MAX of each process"
                )),
                code => StoreError::Unavailable(format!("{place} refuses: {said} (code {})", code.unwrap_or_default())),
            }
        }
        Error::Tls(reason) => StoreError::Misconfigured(format!(
            "{place} cannot be spoken to in confidence ({reason}): check sslmode and sslrootcert in MICAI_DATABASE_URL"
        )),
        Error::Io(reason) => StoreError::Unavailable(format!(
            "{place} cannot be reached ({reason}): check host and port in MICAI_DATABASE_URL, and whether it runs"
        )),
        Error::Configuration(reason) => {
            StoreError::Misconfigured(format!("{place} cannot be used with these settings ({reason})"))
        }
        other => StoreError::Unavailable(format!("{place}: {other}")),
    }
}

/// Refuses a server that the statements are not written for.
fn check_version(number: i64) -> Result<(), StoreError> {
    if number >= VERSION_NUMBER_MIN {
        return Ok(());
    }
    Err(StoreError::Misconfigured(format!(
        "the Postgres server is version {}.{}, and mic.ai needs {} or newer: upgrade the server",
        number / 10_000,
        number % 10_000,
        VERSION_NUMBER_MIN / 10_000
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn old_servers_are_refused_by_name() {
        for good in [140_000, 140_012, 150_006, 180_001] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        let refused = check_version(130_014).unwrap_err().to_string();
        assert!(refused.contains("version 13.14") && refused.contains("needs 14 or newer"), "{refused}");
        assert!(check_version(90_624).is_err());
    }

    #[test]
    fn no_sentence_holds_the_password() {
        let options: PgConnectOptions = "postgres://ana:s3cret@db.example:5433/talk".parse().unwrap();
        let errors = [
            Error::Io(io::Error::new(io::ErrorKind::ConnectionRefused, "refused")),
            Error::Tls("no".into()),
            Error::Configuration("odd".into()),
            Error::PoolTimedOut,
        ];
        for error in errors {
            let sentence = explain(&error, &options).to_string();
            assert!(sentence.contains("db.example:5433") && !sentence.contains("s3cret"), "{sentence}");
        }
    }
}
