//! Control words, as people use them: help, another agent, silence, a person, being forgotten.

mod forgotten;
mod handover;
mod process;

use micai::app::{App, Roles};
use micai::clock::SystemClock;
use micai::config::Config;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{InboundKind, InboundSpec, PhoneKind};

use crate::harness::{Stage, settings, variable};

impl Stage {
    /// The only conversation there is.
    async fn conversation(&self) -> Value {
        let list = self.get("/admin/conversations").await;
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{list}");
        items[0].clone()
    }

    /// Says something, waits until everything is at rest, and gives what was answered.
    async fn answers(&self, phone: &str, text: &str) -> Vec<String> {
        let before = self.heard(phone).len();
        self.simulator.say(phone, text).unwrap();
        self.settle().await;
        self.heard(phone).split_off(before)
    }

    /// Taps the button of that title, or the row, in the youngest message that has it.
    fn tap(&self, phone: &str, title: &str) {
        let bubbles = self.bubbles(phone);
        let found = bubbles.iter().rev().find_map(|bubble| {
            let row = bubble.rows.iter().find(|row| row.title == title).map(|row| row.id.clone());
            let message_id = bubble.id.clone();
            if let Some(id) = row {
                return Some(InboundKind::ListReply { message_id, id });
            }
            let button = serde_json::to_value(&bubble.buttons).unwrap();
            let button = button.as_array().unwrap().iter().find(|button| button.to_string().contains(title))?;
            Some(InboundKind::ButtonReply { message_id, id: button["id"].as_str().unwrap().to_owned() })
        });
        let kind = found.unwrap_or_else(|| panic!("nothing says {title:?} in {bubbles:#?}"));
        self.simulator.post(phone, InboundSpec::from(kind)).unwrap();
    }

    async fn agent(&self, id: &str, name: &str, purpose: &str, listed: bool) {
        let body = json!({
            "id": id, "name": name, "purpose": purpose, "listed": listed, "fallback_reply": format!("{name} here."),
        });
        self.admin(Method::POST, "/admin/agents", Some(body)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_is_a_whole_message_with_or_without_the_prefix() {
    let stage = Stage::with(&[("require_invoke_prefix", "true")]).await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    for text in ["Help!", "michael: help", "@Michael, HELP?"] {
        let answers = stage.answers(&phone, text).await;
        assert_eq!(answers.len(), 1, "{text}");
        assert!(answers[0].starts_with("I am Assistant.") && answers[0].contains("HUMAN"), "{answers:?}");
    }
    assert!(stage.answers(&phone, "ajuda").await[0].contains("ATENDENTE"), "in the language of the word");
    assert!(
        stage.answers(&phone, "can you help me with my order").await.is_empty(),
        "an ordinary sentence, not invoked"
    );
    assert!(stage.answers(&phone, "michael: help me carry this").await[0].starts_with("I heard"), "and one that is");
    let tried = json!({ "text": "help" });
    let tried = stage.admin(Method::POST, "/admin/agents/default-agent/try", Some(tried)).await;
    assert_eq!((&tried["decision"]["decision"], &tried["decision"]["wish"]), (&json!("control"), &json!("help")));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_own_rule_for_a_word_wins_and_stop_wins_over_everything() {
    let stage = Stage::open().await;
    stage.keyword_rule("help", "help", "Read our handbook.").await;
    stage.keyword_rule("stop", "stop", "We never stop.").await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    assert_eq!(stage.answers(&phone, "HELP!").await, ["Read our handbook."]);
    assert!(stage.answers(&phone, "ayuda").await[0].starts_with("Soy"), "no rule was written for that one");
    assert!(stage.answers(&phone, "Stop").await[0].contains("START"));
    assert!(stage.answers(&phone, "human").await.is_empty(), "silence after STOP");
    assert_eq!(stage.conversation().await["mode"], "bot");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_choose_among_the_agents_that_are_offered() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    assert!(stage.answers(&phone, "agents").await[0].starts_with("There is nobody else"));
    stage.agent("pizza", "Pizza & Co", "Takes orders.", true).await;
    stage.agent("books", "Books", "Finds books.", true).await;
    stage.agent("staff", "Staff", "For our own people.", false).await;
    stage.answers(&phone, "agents").await;
    let rows: Vec<_> = stage.bubbles(&phone).pop().unwrap().rows;
    assert_eq!(
        rows.iter().map(|row| (row.title.as_str(), row.description.as_deref())).collect::<Vec<_>>(),
        [("Books", Some("Finds books.")), ("Pizza & Co", Some("Takes orders."))]
    );
    stage.tap(&phone, "Pizza & Co");
    stage.settle().await;
    assert_eq!(stage.heard(&phone).pop().unwrap(), "Pizza & Co answers you from now on.\nTakes orders.");
    assert_eq!(stage.conversation().await["agent_id"], "pizza");
    assert_eq!(stage.answers(&phone, "hello").await, ["Pizza & Co here."]);
    // What comes right behind the word is the new agent's, though it waits in the same turn.
    let messages = ["switch to BOOKS", "hello"]
        .map(|text| (phone.clone(), InboundSpec::from(InboundKind::Text { text: text.to_owned() })));
    stage.simulator.post_batch(&messages, simulator::Split::Messages).unwrap();
    stage.settle().await;
    assert_eq!(stage.heard(&phone).pop().unwrap(), "Books here.");
    assert_eq!(stage.answers(&phone, "switch to staff").await, ["Books here."], "not offered: an ordinary sentence");
    assert!(stage.answers(&phone, "help").await[0].contains("AGENTS"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_silent_from_pause_to_resume() {
    let stage = Stage::open().await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    assert!(stage.answers(&phone, "continue").await[0].starts_with("I heard: continue"), "nothing is paused");
    assert!(stage.answers(&phone, "Pause.").await[0].contains("RESUME"));
    assert!(stage.answers(&phone, "hello").await.is_empty());
    let conversation = stage.conversation().await;
    assert_eq!((&conversation["mode"], &conversation["mode_set_by"]), (&json!("paused"), &json!("person")));
    assert_eq!(stage.answers(&phone, "help").await.len(), 1, "how to come back");
    assert!(stage.answers(&phone, "Stop").await[0].contains("START"), "STOP is heard");
    assert!(stage.answers(&phone, "START").await[0].contains("STOP"));
    assert_eq!(stage.answers(&phone, "resume").await, ["I am back."]);
    assert!(stage.answers(&phone, "hello").await[0].starts_with("I heard"));
    let id = conversation["id"].as_str().unwrap().to_owned();
    let by_operator = json!({ "mode": "paused" });
    stage.admin(Method::POST, &format!("/admin/conversations/{id}/mode"), Some(by_operator)).await;
    assert!(stage.answers(&phone, "resume").await.is_empty(), "what an operator paused, an operator resumes");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_are_a_file_that_can_be_replaced_and_clashes_end_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let built_in = include_str!("../../data/control_words.toml");
    let file = folder.path().join("words.toml");
    std::fs::write(&file, built_in.replacen("help = [\"help\",", "help = [\"sos\", \"help\",", 1)).unwrap();
    let stage = Stage::with(&[("control_words_file", file.to_str().unwrap())]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    assert!(stage.answers(&phone, "SOS").await[0].starts_with("I am"));
    stage.end().await;
    std::fs::write(&file, built_in.replacen("help = [\"help\",", "help = [\"stop\", \"help\",", 1)).unwrap();
    let missing = folder.path().join("missing.toml");
    for (path, said) in [(&file, "consent word"), (&missing, "cannot be read")] {
        let path = path.to_str().unwrap();
        let settings = settings(&folder.path().join("micai.db"), "http://127.0.0.1:1", &[("control_words_file", path)]);
        let config = Config::load(settings.iter().map(|(key, value)| (variable(key), value.clone())), None).unwrap();
        let clock = std::sync::Arc::new(SystemClock);
        let started = App::start(&config, Roles::SERVE, clock, StdRng::seed_from_u64(1)).await;
        let error = format!("{:#}", started.err().expect("it does not start"));
        assert!(error.contains(said), "{error}");
    }
}
