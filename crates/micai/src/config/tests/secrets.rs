//! Secrets: where they come from, when prod refuses them, and that nobody shows them.

use super::*;

const LONG_SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_secret_is_read_from_its_file_without_the_newline_at_its_end() {
    for (content, expected) in
        [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("two words\n", "two words")]
    {
        let file = file(content);
        let config = load(&[("MICAI_ADMIN_API_KEY_FILE", file.path().to_str().unwrap())]).unwrap();
        assert_eq!(config.admin_api_key.unwrap().expose_secret(), expected);
    }
    let secret = file("from-a-file\n");
    let settings = file(&format!("admin_api_key_file = {:?}\n", secret.path()));
    let config = Config::load([("", ""); 0], Some(settings.path())).unwrap();
    assert_eq!(config.admin_api_key.unwrap().expose_secret(), "from-a-file");
    let above = Config::load([("MICAI_ADMIN_API_KEY", "from-above")], Some(settings.path())).unwrap();
    assert_eq!(above.admin_api_key.unwrap().expose_secret(), "from-above");
    let rotation = load(&[("MICAI_WHATSAPP_APP_SECRET", "new, old")]).unwrap().whatsapp_app_secret;
    assert_eq!(rotation.iter().map(|one| one.expose_secret().to_owned()).collect::<Vec<_>>(), ["new", "old"]);
    let database = file("postgresql+psycopg://u:p@db/micai\n");
    let config = load(&[("MICAI_DATABASE_URL_FILE", database.path().to_str().unwrap())]).unwrap();
    assert!(matches!(config.database_url, DatabaseUrl::Postgres(_)));
    let empty_beside =
        load(&[("MICAI_ADMIN_API_KEY", ""), ("MICAI_ADMIN_API_KEY_FILE", secret.path().to_str().unwrap())]);
    assert_eq!(empty_beside.unwrap().admin_api_key.unwrap().expose_secret(), "from-a-file");
}

#[test]
fn a_secret_file_that_cannot_serve_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let good = file("s3cret");
    let empty = file("\n");
    let large = file(&"x".repeat(70_000));
    let spaced = file("s3cret \n");
    let double = file("s3cret\n\n");
    let binary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(binary.path(), [0xff, 0xfe]).unwrap();
    let at = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    for (path, expected) in [
        ("/nowhere/key".to_owned(), "cannot be read"),
        (String::new(), "is empty: name a file"),
        (folder.path().to_str().unwrap().to_owned(), "a folder"),
        (at(&empty), "which is empty"),
        (at(&large), "that is no secret"),
        (at(&binary), "cannot be read"),
        (at(&spaced), "no white space at its ends"),
        (at(&double), "no white space at its ends"),
    ] {
        let sentence = finding(&[("MICAI_ADMIN_API_KEY_FILE", &path)]);
        assert!(sentence.starts_with("MICAI_ADMIN_API_KEY_FILE "), "{sentence}");
        assert!(sentence.contains(expected) && !sentence.contains("s3cret"), "{sentence}");
    }
    let both = finding(&[("MICAI_ADMIN_API_KEY", "x"), ("MICAI_ADMIN_API_KEY_FILE", &at(&good))]);
    assert_eq!(both, "MICAI_ADMIN_API_KEY and MICAI_ADMIN_API_KEY_FILE are both set: remove one of them.");
}

#[test]
fn prod_refuses_what_is_good_enough_for_dev() {
    let sentences = findings(&[("MICAI_APP_ENV", "prod")]);
    assert_eq!(
        sentences,
        [
            "MICAI_WHATSAPP_APP_SECRET is not set: prod cannot run without it; set it or MICAI_WHATSAPP_APP_SECRET_FILE.",
            "MICAI_WHATSAPP_VERIFY_TOKEN is not set: prod cannot run without it; set it or \
             MICAI_WHATSAPP_VERIFY_TOKEN_FILE.",
            "MICAI_ADMIN_API_KEY is not set: prod cannot run without it; set it or MICAI_ADMIN_API_KEY_FILE.",
        ]
    );
    let good = [
        ("MICAI_APP_ENV", "prod"),
        ("MICAI_WHATSAPP_APP_SECRET", LONG_SECRET),
        ("MICAI_WHATSAPP_VERIFY_TOKEN", LONG_SECRET),
        ("MICAI_ADMIN_API_KEY", LONG_SECRET),
    ];
    load(&good).expect("three long secrets are enough while nothing is sent");
    for (name, value, expected) in [
        ("MICAI_WHATSAPP_APP_SECRET", DEV_APP_SECRET, "well-known value"),
        ("MICAI_WHATSAPP_APP_SECRET", &format!("{LONG_SECRET},{DEV_APP_SECRET}"), "well-known value"),
        ("MICAI_WHATSAPP_VERIFY_TOKEN", DEV_VERIFY_TOKEN, "well-known value"),
        ("MICAI_WHATSAPP_ACCESS_TOKEN", DEV_ACCESS_TOKEN, "well-known value"),
        ("MICAI_ADMIN_API_KEY", DEV_ADMIN_API_KEY, "well-known value"),
        ("MICAI_ADMIN_API_KEY", "short-s3cret", "shorter than 16 bytes"),
        ("MICAI_WHATSAPP_API_URL", "http://graph.example.com", "it must be https"),
    ] {
        let mut environment: Vec<_> = good.iter().copied().filter(|(other, _)| *other != name).collect();
        environment.push((name, value));
        let sentence = finding(&environment);
        assert!(sentence.starts_with(name) && sentence.contains(expected), "{sentence}");
        assert!(!name.contains("URL") || sentence.contains(value), "{sentence}");
        assert!(name.contains("URL") || !sentence.contains(value), "a secret is never echoed: {sentence}");
    }
    let mut sending = good.to_vec();
    sending.extend([("MICAI_OUTBOUND_REPLY_ENABLED", "true"), ("MICAI_WHATSAPP_API_URL", "http://127.0.0.1:9000")]);
    let sentences = findings(&sending);
    assert_eq!(sentences.len(), 2, "{sentences:?}");
    assert!(sentences[0].starts_with("MICAI_WHATSAPP_ACCESS_TOKEN is not set"), "{sentences:?}");
    assert!(sentences[1].ends_with("without it; set it."), "{sentences:?}");
}

#[test]
fn no_secret_is_shown_anywhere() {
    let config = load(&[
        ("MICAI_ADMIN_API_KEY", "hidden-1"),
        ("MICAI_WHATSAPP_APP_SECRET", "hidden-2,hidden-3"),
        ("MICAI_WHATSAPP_ACCESS_TOKEN", "token://hidden-4"),
        ("MICAI_DATABASE_URL", "postgresql://user:hidden-5@db/micai?password=hidden-6"),
        ("MICAI_REDIS_URL", "redis://:hidden-7@cache:6379/0"),
    ])
    .unwrap();
    let rendered = config.rendered();
    for text in [&rendered, &format!("{config:?}"), &format!("{config:#?}"), &config.database_url.shown()] {
        assert!(!text.contains("hidden"), "{text}");
    }
    assert!(rendered.contains("# admin_api_key is set "), "{rendered}");
    assert!(rendered.contains("# whatsapp_verify_token is not set "), "{rendered}");
    assert!(rendered.contains("# database_url = \"postgresql://user:***@db/micai?password=***\""), "{rendered}");
    assert!(rendered.contains("# redis_url = \"redis://:***@cache:6379/0\""), "{rendered}");
    rendered.parse::<toml::Table>().expect("TOML again");
    for (name, value) in [
        ("MICAI_DATABASE_URL", "postgres://user:hidden@"),
        ("MICAI_REDIS_URL", "hidden"),
        ("MICAI_ADMIN_API_KEY", " hidden"),
        ("MICAI_WHATSAPP_APP_SECRET", "hidden,,hidden"),
    ] {
        let sentence = finding(&[(name, value)]);
        assert!(sentence.contains("does not fit: it must") && !sentence.contains("hidden"), "{sentence}");
    }
}

#[test]
fn what_stands_behind_the_host_of_the_operators_webhook_is_shown_nowhere() {
    let secret = ("MICAI_OPERATOR_WEBHOOK_SECRET", "signs");
    for (address, shown) in [
        ("https://desk.example/hooks/hidden", "# operator_webhook_url = \"https://desk.example/***\""),
        ("https://desk.example:8443?key=hidden", "# operator_webhook_url = \"https://desk.example:8443/***\""),
        ("https://desk.example", "operator_webhook_url = \"https://desk.example\""),
    ] {
        let config = load(&[("MICAI_OPERATOR_WEBHOOK_URL", address), secret]).unwrap();
        let rendered = config.rendered();
        assert!(rendered.lines().any(|line| line.starts_with(shown)), "{rendered}");
        for text in [&rendered, &format!("{config:?}"), &format!("{:#?}", config.steering)] {
            assert!(!text.contains("hidden"), "{text}");
        }
        let file = file(&format!("{address}\n"));
        let config = load(&[("MICAI_OPERATOR_WEBHOOK_URL_FILE", file.path().to_str().unwrap()), secret]).unwrap();
        assert_eq!(config.steering.operator_webhook_url.unwrap().expose_secret(), address);
    }
    for bad in ["ftp://desk.example/hidden", "https://u:hidden@desk.example/", "desk.example/hidden"] {
        let sentence = finding(&[("MICAI_OPERATOR_WEBHOOK_URL", bad), secret]);
        assert!(
            sentence.contains("does not fit: it must be an http or https") && !sentence.contains("hidden"),
            "{sentence}"
        );
    }
}

#[test]
#[cfg(unix)]
fn a_value_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xff, b'x']);
    let error = Config::load([(OsString::from("MICAI_ADMIN_API_KEY"), value)], None).unwrap_err();
    assert_eq!(error.sentences, ["MICAI_ADMIN_API_KEY is not valid UTF-8: write it again."]);
}
