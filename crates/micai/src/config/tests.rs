//! Settings as an operator writes them, and what the process answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod secrets;

use std::collections::BTreeSet;

use super::*;

fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::load(environment.iter().copied(), None)
}

fn findings(environment: &[(&str, &str)]) -> Vec<String> {
    load(environment).expect_err("these settings should be refused").sentences
}

/// The one finding, for tables in which each row is wrong in one way.
fn finding(environment: &[(&str, &str)]) -> String {
    let mut sentences = findings(environment);
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    sentences.remove(0)
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn without_any_setting_the_defaults_hold() {
    let config = load(&[]).unwrap();
    assert_eq!(config.app_env, AppEnv::Dev);
    assert_eq!(config.bind.to_string(), "127.0.0.1:8001");
    assert!(matches!(&config.database_url, DatabaseUrl::Sqlite(path) if path == Path::new("micai.db")));
    assert!(config.redis_url.is_none() && config.admin_api_key.is_none() && config.whatsapp_app_secret.is_empty());
    assert_eq!(config.whatsapp_api_url.as_str(), "https://graph.facebook.com/");
    assert_eq!(config.whatsapp_api_version, "v25.0");
    assert!(!config.outbound_reply_enabled && config.require_invoke_prefix);
    assert_eq!(config.invoke_prefixes, ["michael:", "@michael", "/ask"]);
    assert_eq!((config.freeform_window_hours, config.unknown_send_deadline_seconds), (24, 120));
    assert_eq!((config.webhook_body_bytes_max, config.webhook_items_max), (3 * 1024 * 1024, 1_000));
    assert_eq!((config.conversation_lease_seconds, config.shutdown_grace_seconds), (90, 20));
}

/// The keys of the defaults file, each with the comment above it on one line.
fn documented_keys() -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in include_str!("../../config.default.toml").lines() {
        match (line.strip_prefix('#'), line.split_once(" = ")) {
            (Some(words), _) => comment.push(words.trim()),
            (None, Some((key, _))) => keys.push((key, std::mem::take(&mut comment).join(" "))),
            (None, None) => comment.clear(),
        }
    }
    keys
}

#[test]
fn every_default_has_a_comment_and_a_field() {
    let table: toml::Table = include_str!("../../config.default.toml").parse().unwrap();
    let keys: BTreeSet<&str> = documented_keys().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, table.keys().map(String::as_str).collect(), "this reads the same keys as TOML");
    let rendered = load(&[]).unwrap().rendered();
    for (key, comment) in documented_keys() {
        assert!(comment.ends_with('.'), "{key} has no sentence above it: {comment:?}");
        assert!(rendered.contains(key), "{key} is not shown");
        // The comment says [secret] exactly where the value may come from a file.
        let name = format!("MICAI_{}_FILE", key.to_uppercase());
        let knows_file = !finding(&[(&name, "/nowhere/at/all")]).contains("is unknown");
        assert_eq!(comment.starts_with("[secret]"), knows_file, "{key}");
    }
}

#[test]
fn a_later_layer_wins_and_the_source_is_told() {
    let file =
        file("bind = \"127.0.0.1:1\"\nturn_workers = 3\nsend_workers = 4\ninvoke_prefixes = [\"bot:\", \"hey\"]\n");
    let presets = [("turn_workers", "2".to_owned()), ("page_rows_max", "7".to_owned())];
    let environment = [("MICAI_BIND", "127.0.0.1:2"), ("MICAI_SEND_WORKERS", "5"), ("HOME", "/"), ("PATH", "")];
    let config = Config::load_with_presets(&presets, environment, Some(file.path())).unwrap();
    assert_eq!(config.bind.port(), 2);
    assert_eq!((config.turn_workers, config.send_workers, config.page_rows_max), (3, 5, 7));
    assert_eq!(config.invoke_prefixes, ["bot:", "hey"]);
    let rendered = config.rendered();
    let line = |key: &str| rendered.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("bind = \"127.0.0.1:2\"").ends_with("# MICAI_BIND"));
    assert!(line("turn_workers = \"3\"").ends_with(&format!("# `turn_workers` in {}", file.path().display())));
    assert!(line("page_rows_max = \"7\"").ends_with("# this command"));
    assert!(line("http_connections_max").ends_with("# default"));
    rendered.parse::<toml::Table>().expect("what `micai config` prints is TOML again");
}

#[test]
fn what_is_for_trying_things_out_does_not_start_in_prod() {
    let presets = [("whatsapp_app_secret", DEV_APP_SECRET.to_owned())];
    let error = Config::load_with_presets(&presets, [("MICAI_APP_ENV", "prod")], None).unwrap_err().to_string();
    assert!(error.contains("MICAI_APP_ENV is prod, and `micai dev` is for trying things out"), "{error}");
    assert!(!error.contains("well-known value"), "its own presets are no fault of the caller's: {error}");
}

#[test]
fn the_file_is_named_by_the_argument_or_by_the_environment() {
    let one = file("turn_workers = 11\n");
    let other = file("turn_workers = 12\n");
    let environment = [("MICAI_CONFIG_FILE", other.path().to_str().unwrap())];
    assert_eq!(Config::load(environment, None).unwrap().turn_workers, 12);
    assert_eq!(Config::load(environment, Some(one.path())).unwrap().turn_workers, 11);
    assert!(finding(&[("MICAI_CONFIG_FILE", "/nowhere/micai.toml")]).contains("/nowhere/micai.toml cannot be read"));
    let broken = file("turn_workers = 3\nadmin_api_key = \"hidden-half\n");
    let error = Config::load([("", ""); 0], Some(broken.path())).unwrap_err().to_string();
    assert!(error.contains("line 2, is not TOML") && !error.contains("hidden"), "{error}");
    let unknown = file("turn_worker = 3\nbind = 1.5\nlog_filter_file = \"x\"\n");
    let error = Config::load([("", ""); 0], Some(unknown.path())).unwrap_err().sentences;
    assert_eq!(error.len(), 3, "{error:?}");
    assert!(error[0].contains("`bind` in") && error[0].contains("is a float"), "{error:?}");
    assert!(error[1].contains("only secrets are read from files; set `log_filter` itself"), "{error:?}");
    assert!(error[2].contains("did you mean `turn_workers`?"), "{error:?}");
}

#[test]
fn all_findings_come_at_once_and_name_what_was_written() {
    let sentences = findings(&[
        ("MICAI_BIND", "localhost"),
        ("MICAI_TURN_WORKERS", "0"),
        ("MICAI_WHATSAPP_API_VERSION", "25"),
        ("MICAI_OUTBOUND_REPLY_ENABLD", "true"),
    ]);
    assert_eq!(
        sentences,
        [
            "MICAI_BIND is \"localhost\": it must be an IP address and a port, such as 127.0.0.1:8001 or [::]:8001.",
            "MICAI_WHATSAPP_API_VERSION is \"25\": it must be a version such as v25.0.",
            "MICAI_TURN_WORKERS is \"0\": it must be a whole number from 1 to 1024 (workers).",
            "MICAI_OUTBOUND_REPLY_ENABLD is unknown: did you mean MICAI_OUTBOUND_REPLY_ENABLED?",
        ]
    );
}

#[test]
fn unknown_variables_are_refused_with_the_nearest_name() {
    for (name, expected) in [
        ("MICAI_ADMIN_KEY", "did you mean MICAI_ADMIN_API_KEY?"),
        ("MICAI_DATABSE_URL", "did you mean MICAI_DATABASE_URL?"),
        ("MICAI_WHATSAPP_APP_SECRETS", "did you mean MICAI_WHATSAPP_APP_SECRET?"),
        ("MICAI_ADMIN_API_KEY_FIL", "did you mean MICAI_ADMIN_API_KEY_FILE?"),
        ("MICAI_CONFIGFILE", "did you mean MICAI_CONFIG_FILE?"),
        ("MICAI_BIND_FILE", "only secrets are read from files; set MICAI_BIND itself."),
        ("MICAI_QQQ", "remove it"),
        ("MICAI_bind", "write it in capitals, MICAI_BIND."),
        ("MICAI_", "MICAI_ is unknown: remove it"),
    ] {
        let sentence = finding(&[(name, "1")]);
        assert!(sentence.starts_with(name) && sentence.contains(expected), "{sentence}");
    }
    load(&[("MICAI_TEST_POSTGRES_BIN", "/x"), ("OTHER", "x")]).expect("what is not ours is left alone");
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let long_prefix = "x".repeat(65);
    let many_prefixes = vec!["x"; 33].join(",");
    for (name, value, expected) in [
        ("MICAI_APP_ENV", "production", "dev, prod or test"),
        ("MICAI_APP_ENV", "", "dev, prod or test"),
        ("MICAI_LOG_FORMAT", "yaml", "auto, text or json"),
        ("MICAI_LOG_FILTER", "micai=loud", "a level such as info"),
        ("MICAI_LOG_FILTER", "", "a level such as info"),
        ("MICAI_OUTBOUND_REPLY_ENABLED", "maybe", "true or false"),
        ("MICAI_BIND", "127.0.0.1", "an IP address and a port"),
        ("MICAI_FREEFORM_WINDOW_HOURS", "25", "from 1 to 24 (hours)"),
        ("MICAI_FREEFORM_WINDOW_HOURS", "-1", "from 1 to 24 (hours)"),
        ("MICAI_FREEFORM_WINDOW_HOURS", "1.5", "from 1 to 24 (hours)"),
        ("MICAI_WEBHOOK_BODY_BYTES_MAX", "99999999999999999999999", "(bytes)"),
        ("MICAI_WHATSAPP_PHONE_NUMBER_ID", "+15551234", "digits only"),
        ("MICAI_WHATSAPP_API_VERSION", "v25", "v25.0"),
        ("MICAI_WHATSAPP_API_VERSION", "v25.0/", "v25.0"),
        ("MICAI_WHATSAPP_API_URL", "graph.facebook.com", "scheme and host only"),
        ("MICAI_WHATSAPP_API_URL", "ftp://graph.facebook.com", "scheme and host only"),
        ("MICAI_WHATSAPP_API_URL", "https://graph.facebook.com/v25.0", "the version goes into whatsapp_api_version"),
        ("MICAI_WHATSAPP_API_URL", "https://u:p@graph.facebook.com", "scheme and host only"),
        ("MICAI_WHATSAPP_API_URL", "https://graph.facebook.com?x=1", "scheme and host only"),
        ("MICAI_INVOKE_PREFIXES", "a,,b", "words with a comma between"),
        ("MICAI_INVOKE_PREFIXES", &long_prefix, "1 to 64 characters"),
        ("MICAI_INVOKE_PREFIXES", &many_prefixes, "at most 32 words"),
        ("MICAI_INVOKE_PREFIXES", "", "no message would ever be answered"),
        ("MICAI_REDIS_URL", "localhost:6379", "redis://HOST:6379/0"),
        ("MICAI_REDIS_URL", "http://localhost", "redis://HOST:6379/0"),
        ("MICAI_REDIS_PREFIX", "a{b}", "letters, digits"),
        ("MICAI_REDIS_PREFIX", "", "letters, digits"),
        ("MICAI_QUEUE_SHARDS", "0", "shards"),
    ] {
        let sentence = finding(&[(name, value)]);
        assert!(sentence.starts_with(name) && sentence.contains(expected), "{name}={value}: {sentence}");
    }
    let long = finding(&[("MICAI_BIND", &"x".repeat(5_000))]);
    assert!(long.len() < 300 && long.contains("(cut here)"), "{long}");
}

#[test]
fn a_key_in_redis_outlasts_the_lease_of_its_conversation() {
    let both = |queue_lease| [("MICAI_REDIS_URL", "redis://cache:6379"), ("MICAI_QUEUE_LEASE_SECONDS", queue_lease)];
    let sentence = finding(&both("90"));
    assert!(sentence.contains("MICAI_CONVERSATION_LEASE_SECONDS is 90: the first must be longer"), "{sentence}");
    assert!(Config::load(both("91"), None).is_ok());
    let alone = [("MICAI_QUEUE_LEASE_SECONDS", "90")];
    assert!(Config::load(alone, None).is_ok(), "without Redis there is no such lease");
}

#[test]
fn flags_and_prefixes_are_read_kindly() {
    for (text, expected) in [("true", true), ("TRUE", true), ("1", true), ("on", true), ("no", false), ("0", false)] {
        assert_eq!(load(&[("MICAI_REQUIRE_INVOKE_PREFIX", text)]).unwrap().require_invoke_prefix, expected, "{text}");
    }
    let config = load(&[("MICAI_INVOKE_PREFIXES", " bot: , /ask ")]).unwrap();
    assert_eq!(config.invoke_prefixes, ["bot:", "/ask"]);
    let open = load(&[("MICAI_REQUIRE_INVOKE_PREFIX", "false"), ("MICAI_INVOKE_PREFIXES", "")]).unwrap();
    assert!(open.invoke_prefixes.is_empty());
}

#[test]
fn database_addresses_in_every_spelling() {
    for (text, expected) in [
        ("sqlite:///micai.db", "micai.db"),
        ("sqlite://micai.db", "micai.db"),
        ("sqlite:micai.db", "micai.db"),
        ("sqlite+pysqlite:///./micai.db", "./micai.db"),
        ("sqlite+pysqlite:////tmp/micai.db", "/tmp/micai.db"),
        ("sqlite+aiosqlite:////tmp/micai.db", "/tmp/micai.db"),
        ("sqlite:////tmp/a b%20.db", "/tmp/a b%20.db"),
        ("sqlite:/tmp/micai.db", "/tmp/micai.db"),
    ] {
        match load(&[("MICAI_DATABASE_URL", text)]).unwrap().database_url {
            DatabaseUrl::Sqlite(path) => assert_eq!(path, Path::new(expected), "{text}"),
            DatabaseUrl::Postgres(_) => panic!("{text} is SQLite"),
        }
    }
    for text in [
        "postgresql+psycopg://u:p@db:5432/micai?sslmode=require",
        "postgresql+psycopg2://u:p@db:5432/micai?sslmode=require",
        "postgresql+asyncpg://u:p@db:5432/micai?sslmode=require",
        "postgres://u:p@db:5432/micai?sslmode=require",
        "postgresql://u:p@db:5432/micai?sslmode=require",
    ] {
        match load(&[("MICAI_DATABASE_URL", text)]).unwrap().database_url {
            DatabaseUrl::Postgres(url) => {
                assert_eq!(url.expose_secret(), "postgresql://u:p@db:5432/micai?sslmode=require", "{text}");
            }
            DatabaseUrl::Sqlite(path) => panic!("{text} is Postgres, not {path:?}"),
        }
    }
    load(&[("MICAI_DATABASE_URL", "postgresql:///micai?host=/run/postgresql")]).expect("a unix socket");
    for (text, expected) in [
        ("mysql://db/micai", "it must be such as"),
        ("sqlite+odd:///x", "it must be such as"),
        ("micai.db", "it must be such as"),
        ("", "it must be such as"),
        ("sqlite::memory:", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite://", "in memory"),
        ("sqlite:///micai.db?mode=rwc", "plain path"),
        ("sqlite:///no/such/folder/micai.db", "not a folder here"),
        ("sqlite:////no/such/folder/micai.db", "not a folder here"),
        ("postgresql://u:p@db", "name host and database"),
        ("postgresql:///micai", "name host and database"),
        ("postgresql:db", "name host and database"),
    ] {
        let sentence = finding(&[("MICAI_DATABASE_URL", text)]);
        assert!(sentence.starts_with("MICAI_DATABASE_URL ") && sentence.contains(expected), "{text}: {sentence}");
    }
}
