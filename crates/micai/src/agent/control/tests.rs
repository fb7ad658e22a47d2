//! Control words: which messages are one, and what follows from it.

#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::agent::triggers::normalise;
use crate::domain::agent::{AgentId, AgentSettings};
use crate::domain::contact::{Address, AddressKind};
use crate::domain::conversation::{ConversationMode, HandoverRules, ModeSetter, ModeState};
use crate::domain::inbound::{MessageNature, PendingMessage};
use crate::domain::notice::NoticeKind;
use crate::domain::outbound::MessageBody;
use crate::domain::person::AgentChoice;
use crate::domain::tool::ToolName;
use crate::domain::turn::Effect;
use crate::ids::Ids;

fn words() -> ControlWords {
    ControlWords::built_in().unwrap_or_else(|error| panic!("{error}"))
}

fn wish(words: &ControlWords, text: &str) -> Option<(ControlWish, String)> {
    words.of_message(&normalise(text)).map(|heard| (heard.wish, heard.language.code.clone()))
}

#[test]
fn each_language_has_a_person_and_help_and_nothing_clashes_with_stop_and_start() {
    let words = words();
    assert!(words.languages.len() >= 20, "{}", words.languages.len());
    let consent = ConsentWords::built_in().unwrap();
    assert_eq!(words.clashes_with(&consent), Vec::<String>::new());
    let stops = words.languages.iter().filter(|language| {
        let line = normalise(&language.answers.help_stop);
        let word = line.split([':', '：']).next().unwrap_or_default();
        consent.of_message(word.trim()).is_none()
    });
    assert_eq!(
        stops.map(|language| language.code.as_str()).collect::<Vec<_>>(),
        [""; 0],
        "help names a STOP that is heard"
    );
}

#[test]
fn a_word_counts_as_a_whole_message_only() {
    let words = words();
    for (text, expected) in [
        ("Help", Some((ControlWish::Help, "en"))),
        ("help!", Some((ControlWish::Help, "en"))),
        ("Help?", Some((ControlWish::Help, "en"))),
        ("¿Ayuda?", Some((ControlWish::Help, "es"))),
        ("ＨＥＬＰ 🙏", Some((ControlWish::Help, "en"))),
        ("can you help me with my order", None),
        ("help me with this", None),
        ("Talk to a PERSON.", Some((ControlWish::Human, "en"))),
        ("falar com atendente", Some((ControlWish::Human, "pt"))),
        ("人工", Some((ControlWish::Human, "zh"))),
        ("Оператор!", Some((ControlWish::Human, "ru"))),
        ("担当者", Some((ControlWish::Human, "ja"))),
        ("TEMSİLCİ", Some((ControlWish::Human, "tr"))),
        ("נציג", Some((ControlWish::Human, "he"))),
        ("a person came by yesterday", None),
        ("pause", Some((ControlWish::Pause, "en"))),
        ("pause?", None),
        ("stop", None),
        ("START", None),
        ("1", None),
        ("", None),
        ("Vergiss mich", Some((ControlWish::Forget, "de"))),
        ("RETOUR À L’ASSISTANT", Some((ControlWish::Back, "fr"))),
    ] {
        let heard = wish(&words, text);
        let heard = heard.as_ref().map(|(wish, code)| (*wish, code.as_str()));
        assert_eq!(heard, expected, "{text:?}");
    }
}

#[test]
fn an_agent_is_named_within_a_phrase_or_by_a_row() {
    let words = words();
    let named = |text: &str| words.of_message(&normalise(text)).and_then(|heard| heard.agent);
    for (text, name) in [
        ("switch to Ana", "ana"),
        ("Switch to “Pizza & Co”.", "pizza & co"),
        ("切换到小明", "小明"),
        ("天気さんに切り替えて", "天気さん"),
        ("ana पर जाएं", "ana"),
    ] {
        assert_eq!(named(text), Some(Named::InWords(name.to_owned())), "{text:?}");
    }
    assert_eq!(named("switch to"), None);
    assert_eq!(named("switch to !"), None);
    assert_eq!(wish(&words, "talk to a person").map(|heard| heard.0), Some(ControlWish::Human), "a person is no agent");
    let tap =
        |payload| words.of_tap("x", Some(payload)).map(|heard| (heard.wish, heard.agent, heard.language.code.clone()));
    let row = Some((ControlWish::Switch, Some(Named::ById("a/b".to_owned())), "pt".to_owned()));
    assert_eq!(tap("micai/agent/pt/a/b"), row);
    assert_eq!(tap("micai/erase/xx"), Some((ControlWish::Erase, None, "en".to_owned())), "a language that is gone");
    assert_eq!(tap("micai/nonsense/en"), None);
    assert_eq!(words.of_tap("help", Some("my own payload")).map(|heard| heard.wish), Some(ControlWish::Help));
}

#[test]
fn what_is_wrong_with_a_file_is_said_all_at_once() {
    let wrong = r#"
        [[languages]]
        code = "xx/1"
        name = ""
        help = ["help", "1"]
        human = ["help", "person?"]
        back = []
        switch = ["switch to", "to {agent}"]
        pause = ["pause"]
        [languages.answers]
        help = "I am {agent}."
        help_human = "Call us."
        help_stop = "STOP"
        handed_over = "Wait."
        handover_noted = "Wait."
        back = ""
        forget_yes = "This title is far too long for a button"
    "#;
    let ControlWordsError(faults) = ControlWords::parse(wrong).unwrap_err();
    let said = faults.join("\n");
    for part in [
        "Language 1 has the code",
        "needs a name",
        "`help` of xx/1 lists \"1\", which has no letter",
        "`human` of xx/1 lists \"help\", which `help` lists, too",
        "lists \"person?\", which has a question mark",
        "`back` of xx/1 is empty",
        "`switch` of xx/1 lists \"switch to\": write {agent} once",
        "lists only one of `pause` and `resume`",
        "`help_human` of xx/1 names no word",
        "`handed_over` of xx/1 names no word",
        "`paused` of xx/1 is missing",
        "`back` of xx/1 needs 1 to 1000 characters",
        "`forget_yes` of xx/1 needs 1 to 20 characters",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert!(ControlWords::parse("languages = 3").unwrap_err().0[0].starts_with("Line 1: "));
    assert!(ControlWords::parse(&"#".repeat(CONTROL_WORDS_FILE_BYTES_MAX + 1)).is_err());
}

#[test]
fn a_word_of_both_files_is_named() {
    let text = include_str!("../../../data/control_words.toml").replacen(
        "help = [\"help\",",
        "help = [\"help\", \"Stop!\",",
        1,
    );
    let clashes = ControlWords::parse(&text).unwrap().clashes_with(&ConsentWords::built_in().unwrap());
    assert_eq!(clashes, ["`help` of en lists \"stop\", which is a consent word: it would never be heard."]);
}

const NOW: Timestamp = Timestamp::constant(1_790_000_000, 0);

fn message() -> PendingMessage {
    PendingMessage {
        id: Ids::seeded(1).inbound(NOW),
        provider_message_id: "a".to_owned(),
        kind: "text".to_owned(),
        nature: MessageNature::Words,
        text: Some("x".to_owned()),
        tapped: None,
        location: None,
        target_provider_message_id: None,
        reply_to: Address { kind: AddressKind::Phone, value: "551".to_owned() },
        sent_at: NOW,
        received_at: NOW,
        revoked: false,
        edited: false,
        failures: 0,
    }
}

fn choice(id: &str, name: &str) -> AgentChoice {
    AgentChoice { id: AgentId(id.to_owned()), name: name.to_owned(), purpose: format!("{name} helps.") }
}

/// What a text comes to in a conversation of that mode.
fn judged(text: &str, mode: ModeState, change: impl FnOnce(&mut Scene<'_>)) -> Option<Verdict> {
    let (words, id, settings) = (words(), AgentId("shop".to_owned()), AgentSettings::default());
    let listed = [choice("ana", "Ana"), choice("shop", "The shop")];
    let mut scene = Scene {
        agent_id: &id,
        settings: &settings,
        listed: &listed,
        mode,
        opted_out: false,
        handover: HandoverRules { seconds: 3_600, is_told: true },
        prefix: "",
        now: NOW,
    };
    change(&mut scene);
    let heard = words.of_message(&normalise(text)).unwrap();
    judge(&heard, &message(), &scene)
}

fn mode(mode: ConversationMode, set_by: ModeSetter) -> ModeState {
    ModeState { mode, until: None, set_by: Some(set_by) }
}

#[test]
fn which_words_are_heard_depends_on_who_speaks() {
    let human = mode(ConversationMode::Human, ModeSetter::Person);
    let paused = mode(ConversationMode::Paused, ModeSetter::Person);
    let by_operator = mode(ConversationMode::Paused, ModeSetter::Operator);
    for (text, bot, in_human, in_paused, in_operators_pause) in [
        ("help", true, false, true, false),
        ("agents", true, false, false, false),
        ("switch to Ana", true, false, false, false),
        ("switch to decaf", false, false, false, false),
        ("pause", true, false, false, false),
        ("resume", false, false, true, false),
        ("back to the bot", false, true, true, false),
        ("human", true, true, true, true),
        ("forget me", true, true, true, true),
    ] {
        let heard = [ModeState::BOT, human, paused, by_operator].map(|mode| judged(text, mode, |_| {}).is_some());
        assert_eq!(heard, [bot, in_human, in_paused, in_operators_pause], "{text}");
    }
    let over = ModeState { until: Some(NOW), ..human };
    assert!(judged("help", over, |_| {}).is_some(), "its time is over: the agent speaks");
    assert!(judged("human", ModeState::BOT, |scene| scene.opted_out = true).is_none(), "after STOP");
    let forgotten = judged("forget me", ModeState::BOT, |scene| scene.opted_out = true).unwrap();
    assert!(forgotten.ignores_opt_out, "also after STOP");
}

#[test]
fn a_person_is_asked_for_once_and_told_the_truth() {
    let verdict = judged("human", ModeState::BOT, |_| {}).unwrap();
    let Effect::Mode(change) = &verdict.effects[0] else { panic!("{verdict:?}") };
    assert_eq!(
        (change.to, change.until),
        (ConversationMode::Human, Some(NOW + jiff::SignedDuration::from_secs(3_600)))
    );
    assert_eq!(verdict.effects[1], Effect::Tell(NoticeKind::HandoverRequested));
    assert!(verdict.reply.unwrap().text().unwrap().starts_with("I am telling our team"));
    let untold = judged("human", ModeState::BOT, |scene| scene.handover.is_told = false).unwrap();
    assert_eq!(untold.effects.len(), 1);
    assert!(untold.reply.unwrap().text().unwrap().starts_with("I have noted for our team"));
    let again = judged("human", mode(ConversationMode::Human, ModeSetter::Person), |_| {}).unwrap();
    assert_eq!(again, Verdict::default(), "nobody is told twice");
    let back = judged("back to bot", mode(ConversationMode::Human, ModeSetter::Operator), |_| {}).unwrap();
    assert_eq!(back.effects[1], Effect::Tell(NoticeKind::HandoverEnded));
    let own = AgentSettings { handover_reply: Some("Call 555 0100.".to_owned()), ..AgentSettings::default() };
    let own = |text: &str| {
        let (words, id) = (words(), AgentId::default_agent());
        let scene = Scene {
            agent_id: &id,
            settings: &own,
            listed: &[],
            mode: ModeState::BOT,
            opted_out: false,
            handover: HandoverRules { seconds: 3_600, is_told: true },
            prefix: "",
            now: NOW,
        };
        judge(&words.of_message(text).unwrap(), &message(), &scene).unwrap().reply.unwrap()
    };
    assert_eq!(own("human").text(), Some("Call 555 0100."));
    let help = own("help");
    let help = help.text().unwrap();
    assert!(help.starts_with("I am default-agent.") && help.ends_with("HUMAN: talk to a person of our team"), "{help}");
    assert!(!help.contains("AGENTS"), "there is nobody else: {help}");
}

#[test]
fn examples_in_the_help_are_heard_as_they_stand() {
    let able = AgentSettings { tools: vec![ToolName::GetWeather, ToolName::SetReminder], ..AgentSettings::default() };
    let help = |prefix: &str| {
        let (words, id) = (words(), AgentId::default_agent());
        let scene = Scene {
            agent_id: &id,
            settings: &able,
            listed: &[],
            mode: ModeState::BOT,
            opted_out: false,
            handover: HandoverRules { seconds: 3_600, is_told: true },
            prefix,
            now: NOW,
        };
        let reply = judge(&words.of_message("help").unwrap(), &message(), &scene).unwrap().reply.unwrap();
        reply.text().unwrap().to_owned()
    };
    let (with, without) = (help("michael: "), help(""));
    for example in ["weather in Lisbon", "remind me tomorrow at 9 to call Ana"] {
        assert!(with.contains(&format!("“michael: {example}”")), "{with}");
        assert!(without.contains(&format!("“{example}”")), "{without}");
    }
}

#[test]
fn who_is_chosen_answers_and_what_waits_is_theirs() {
    let verdict = judged("switch to ANA!", ModeState::BOT, |_| {}).unwrap();
    assert_eq!(verdict.effects, [Effect::BindAgent { agent_id: AgentId("ana".to_owned()) }]);
    assert!(verdict.ends_turn);
    let same = judged("switch to the shop", ModeState::BOT, |_| {}).unwrap();
    assert!(same.effects.is_empty() && !same.ends_turn, "already so: {same:?}");
    let Some(MessageBody::List { rows, .. }) = judged("agents", ModeState::BOT, |_| {}).unwrap().reply else {
        panic!()
    };
    assert_eq!(
        rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(),
        ["micai/agent/en/ana", "micai/agent/en/shop"]
    );
    let alone = judged("agents", ModeState::BOT, |scene| scene.listed = &[]).unwrap().reply.unwrap();
    assert!(alone.text().unwrap().starts_with("There is nobody else"), "{alone:?}");
}

proptest! {
    #[test]
    fn no_text_and_no_payload_breaks_anything(text in "\\PC{0,120}", payload in "(micai/)?(erase|keep|agent)?/?\\PC{0,40}") {
        let words = words();
        let _ = words.of_message(&normalise(&text));
        let _ = words.of_tap(&normalise(&text), Some(&payload));
    }
}
