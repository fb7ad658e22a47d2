//! Each code that can answer a send: what becomes of the message, when it is tried again, what is paused, and what an operator
//! reads.

use micai::domain::outbound::MessageBody;
use micai::domain::template::{TemplateUse, TextValue};
use serde_json::{Value, json};
use simulator::{FaultKind, PhoneKind, SimulatorConfig};

use super::{on_send, with_templates};
use crate::harness::Stage;

const HOUR: i64 = 3_600;
/// The longest jitter of a second attempt, in seconds.
const JITTER: i64 = 5;

/// What must follow.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// Tried again after at least and at most so many seconds.
    Again(i64, i64),
    /// A dead letter.
    Letter,
    /// A dead letter, and the template that it used is paused.
    LetterPausing,
    /// Held, and everything else in this scope with it; with this alert.
    Paused(&'static str, &'static str),
    /// Held until the window opens.
    Window,
    /// Nobody knows.
    Unknown,
}

use Then::{Again, Letter, LetterPausing, Paused, Unknown, Window};

const AUTH: Then = Paused("account", "token_rejected");
const ACCOUNT: Then = Paused("account", "account_paused");
const NUMBER: Then = Paused("number", "number_paused");

/// Answers to plain words.
const WORDS: &[(u32, Then)] = &[
    (0, AUTH),
    (1, Again(0, JITTER)),
    (2, Again(0, JITTER)),
    (3, AUTH),
    (4, Again(HOUR, HOUR + JITTER)),
    (10, AUTH),
    (33, NUMBER),
    (100, Letter),
    (190, AUTH),
    (200, AUTH),
    (299, AUTH),
    (368, ACCOUNT),
    (613, Again(0, JITTER)),
    (80_007, Again(HOUR, HOUR + JITTER)),
    (130_403, Letter),
    (130_429, Again(0, JITTER)),
    (130_472, Letter),
    (130_497, Paused("country", "country_paused")),
    (131_000, Unknown),
    (131_005, AUTH),
    (131_008, Letter),
    (131_009, Letter),
    (131_016, Unknown),
    (131_020, Letter),
    (131_021, Letter),
    (131_026, Letter),
    (131_030, Letter),
    (131_031, ACCOUNT),
    (131_037, NUMBER),
    (131_041, Letter),
    (131_042, ACCOUNT),
    (131_044, Letter),
    (131_045, NUMBER),
    (131_047, Window),
    (131_048, NUMBER),
    (131_049, Again(24 * HOUR, 24 * HOUR + JITTER)),
    (131_050, Letter),
    (131_051, Letter),
    (131_052, Letter),
    (131_053, Letter),
    (131_055, Letter),
    (131_056, Again(1, 2)),
    (131_057, Again(60, 60 + JITTER)),
    (131_062, Letter),
    (131_063, Letter),
    (132_068, Letter),
    (132_069, Again(HOUR, HOUR + JITTER)),
    (133_010, NUMBER),
    (133_015, Again(300, 300 + JITTER)),
    (134_011, Letter),
    (134_100, Letter),
    (135_000, Letter),
    (137_000, Letter),
    (2_494_100, Again(300, 300 + JITTER)),
    // In no table.
    (999_999, Letter),
];

/// Answers to a template.
const TEMPLATES: &[(u32, Then)] = &[
    (131_047, Letter),
    (131_064, Paused("account_templates", "account_paused")),
    (132_000, Letter),
    (132_001, Paused("template", "template_paused")),
    (132_005, Letter),
    (132_007, Letter),
    (132_008, Letter),
    (132_012, Letter),
    (132_015, Paused("template", "template_paused")),
    (132_016, LetterPausing),
    (132_018, Letter),
    (134_101, Again(600, 600 + JITTER)),
    (134_102, Letter),
];

/// Registration, block lists, usernames, the making of templates, histories: no send is answered with these.
const OF_OTHER_CALLS: &[i64] = &[
    133_000, 133_004, 133_005, 133_006, 133_008, 133_009, 133_016, 139_100, 139_103, 147_001, 2_388_019, 2_388_039,
    2_388_040, 2_388_047, 2_388_072, 2_388_073, 2_388_293, 2_388_299, 2_593_107, 2_593_108, 2_593_109,
];

#[test]
fn no_code_is_forgotten() {
    let tried = |code: i64| WORDS.iter().chain(TEMPLATES).any(|(one, _)| i64::from(*one) == code);
    for fact in whatsapp::error::ERROR_FACTS {
        assert_ne!(tried(fact.code), OF_OTHER_CALLS.contains(&fact.code), "{} {}", fact.code, fact.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_consequence_and_says_what_to_do() {
    let stage = with_templates("", &[]).await;
    for (code, then) in WORDS {
        let phone = stage.phone(&format!("Ana {code}"), PhoneKind::Phone);
        stage.simulator.add_fault(on_send(FaultKind::Error { code: *code }, 1, Some(&phone))).unwrap();
        stage.simulator.say(&phone, "hello").unwrap();
        check(&stage, &phone, *code, *then, "").await;
    }
    for (code, then) in TEMPLATES {
        let phone = stage.phone(&format!("Bo {code}"), PhoneKind::Phone);
        stage.simulator.add_fault(on_send(FaultKind::Error { code: *code }, 1, Some(&phone))).unwrap();
        let body = vec![TextValue::numbered("Bo"), TextValue::numbered("dentist at 9")];
        let template = Box::new(TemplateUse { body, ..TemplateUse::plain("reminder", "en_US") });
        let body = MessageBody::Template { template, text: None };
        stage.queue(&phone, &SimulatorConfig::default().phone_number_id, body).await;
        check(&stage, &phone, *code, *then, "reminder/en_US").await;
    }
    let letters = stage.get("/admin/letters?limit=100").await;
    for (code, _) in WORDS.iter().chain(TEMPLATES).filter(|(_, then)| matches!(then, Letter | LetterPausing)) {
        let group = letters["items"].as_array().unwrap().iter().find(|one| one["group"] == format!("outbound:{code}"));
        let repair = group.unwrap_or_else(|| panic!("{code} in {letters:#}"))["repair"].as_str().unwrap();
        assert!(repair.len() > 10, "{code}: {repair}");
    }
    // Those that wait go in their time; a day later only a person's next message opens the window for the last.
    for _ in 0..4 {
        stage.advance(HOUR + JITTER);
        stage.until_quiet().await;
    }
    stage
        .until("what nobody knew of was sent once more", async || {
            stage.advance(1);
            stage.outbound("unknown").await.is_empty()
        })
        .await;
    stage.advance(24 * HOUR);
    stage.end().await;
}

async fn check(stage: &Stage, phone: &str, code: u32, then: Then, template: &str) {
    let now = stage.now();
    let state = match then {
        Again(..) => "queued",
        Letter | LetterPausing => "failed",
        Paused(..) | Window => "held",
        Unknown => "unknown",
    };
    stage
        .until(&format!("{code} leads to {state}"), async || {
            stage.youngest(phone).await.is_some_and(|send| send["state"] == state && send["error"] != Value::Null)
        })
        .await;
    let send = stage.youngest(phone).await.unwrap();
    let told = &send["error"];
    let detail = told["detail"].as_str().unwrap();
    let advice = whatsapp::error::describe(i64::from(code)).map(|fact| fact.advice).unwrap_or_default();
    assert!(detail.len() > 30 && !detail.contains(".."), "{code}: {detail}");
    match then {
        Window => assert!(detail.contains("No template stands in") && detail.ends_with("write again."), "{detail}"),
        _ => assert!(detail.contains(&code.to_string()) && detail.ends_with(advice), "{code}: {detail}"),
    }
    assert_eq!(stage.arrived(phone).len(), 0, "{code}");
    if !matches!(then, Window) {
        assert_eq!(told["code"], code, "{told}");
    }
    let reason = match then {
        Window => "window_closed",
        Unknown => "no_clear_answer",
        _ => "refused_by_whatsapp",
    };
    assert_eq!(told["reason"], reason, "{code}");
    if let Again(least, most) = then {
        let not_before: jiff::Timestamp = send["not_before"].as_str().unwrap().parse().unwrap();
        let wait = not_before.duration_since(now);
        assert!(wait.as_secs() >= least && wait.as_millis() <= i128::from(most) * 1_000, "{code}: {wait}");
    } else {
        assert_eq!(send["not_before"], Value::Null, "{code}: {send}");
    }
    let Paused(scope, alert) = then else {
        let paused = stage.paused().await;
        if matches!(then, LetterPausing) {
            assert_eq!(paused, [format!("template/{template}")], "{code}");
            stage.resume(&paused[0]).await;
        } else {
            assert!(paused.is_empty(), "{code}: {paused:?}");
        }
        return;
    };
    let subject = match scope {
        "number" => SimulatorConfig::default().phone_number_id,
        "country" => stage.paused().await[0].trim_start_matches("country/").to_owned(),
        "template" => template.to_owned(),
        _ => String::new(),
    };
    let name = if subject.is_empty() { scope.to_owned() } else { format!("{scope}/{subject}") };
    assert_eq!(stage.paused().await, [name.as_str()], "{code}");
    let pauses = stage.get("/admin/pauses").await;
    let pause = &pauses["items"][0];
    assert_eq!((&pause["code"], &pause["held"]), (&json!(code), &json!(1)), "{pause}");
    assert_eq!(pause["sentence"], detail, "{pause}");
    let alerts = stage.open_alerts(alert).await;
    assert_eq!((alerts.len(), &alerts[0]["subject"]), (1, &json!(subject)), "{code}: {alerts:?}");
    stage.resume(&name).await;
    assert!(stage.open_alerts(alert).await.is_empty(), "{code}");
    stage.until_state(phone, "delivered").await;
    assert_eq!(stage.arrived(phone).len(), 1, "{code}");
}
