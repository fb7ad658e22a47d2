//! `micai dlq`, as a process of its own on the database of a running platform.

use std::process::Command;

use serde_json::Value;
use simulator::{FaultOn, PhoneKind};

use super::impatient;
use crate::harness::{Stage, settings, variable};

/// Runs `micai dlq` to its end; gives whether it succeeded and what it said.
async fn dlq(stage: &Stage, words: &[&str], changes: &[(&str, &str)]) -> (bool, String) {
    let settings = settings(&stage.database_path(), &stage.simulator.url(), changes);
    let mut command = Command::new(env!("CARGO_BIN_EXE_micai"));
    command.arg("dlq").args(words).env_clear().env("USER", "ana");
    command.envs(settings.iter().map(|(key, value)| (variable(key), value.clone())));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn says(stage: &Stage, words: &[&str]) -> String {
    let (succeeded, said) = dlq(stage, words, &[]).await;
    assert!(succeeded, "{words:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_shown_replayed_and_put_away_beside_a_running_platform() {
    let stage = impatient().await;
    assert_eq!(says(&stage, &["list"]).await, "There are no dead letters.\n");
    let (ana, bo) = (stage.phone("Ana", PhoneKind::Phone), stage.phone("Bo", PhoneKind::Phone));
    stage.letter(&ana, "hello from Ana", FaultOn::Send, 131_009).await;
    stage.letter(&bo, "hello from Bo", FaultOn::Webhook, 131_026).await;

    let list = says(&stage, &["list"]).await;
    assert!(list.starts_with("GROUP            COUNT  OLDEST"), "{list}");
    assert!(list.contains("outbound:131009") && list.contains("value of a parameter invalid"), "{list}");
    assert!(list.contains("Mark the user as unreachable"), "{list}");
    let groups: Value = serde_json::from_str(&says(&stage, &["list", "--json"]).await).unwrap();
    assert_eq!(groups, stage.get("/admin/letters").await["items"], "the same as the admin API answers");

    let letters = says(&stage, &["list", "--group", "outbound:131009"]).await;
    assert!(letters.contains("hello from Ana"), "{letters}");
    let id = groups[0]["sample"]["id"].as_str().unwrap();
    let shown = says(&stage, &["show", id]).await;
    for expected in ["Group         outbound:131009", "Why\n", "What helps\n", "call 1: refused (131009)"] {
        assert!(shown.contains(expected), "{expected} is missing: {shown}");
    }

    let would = says(&stage, &["replay", id]).await;
    assert!(
        would.starts_with("1 of 1 letters would be replayed.") && would.contains("Give --yes to do it."),
        "{would}"
    );
    assert_eq!(stage.outbound("failed").await.len(), 2);
    let (succeeded, off) = dlq(&stage, &["replay", id, "--yes"], &[("outbound_reply_enabled", "false")]).await;
    assert!(!succeeded && off.contains("outbound is switched off"), "{off}");
    let done = says(&stage, &["replay", "--group", "outbound:131009", "--yes"]).await;
    assert!(done.starts_with("1 of 1 letters replayed."), "{done}");
    stage.advance(3);
    stage.replies(&ana, 1).await;
    stage.settle().await;
    let again = says(&stage, &["replay", id, "--yes"]).await;
    assert!(again.contains("Left alone: 1 (not_a_letter)") && again.contains(id), "{again}");

    let away = says(&stage, &["discard", "--group", "outbound:131026", "--reason", "no such number", "--yes"]).await;
    assert!(away.starts_with("1 of 1 letters put away."), "{away}");
    assert_eq!(says(&stage, &["list"]).await, "There are no dead letters.\n");
    let audit = stage.get("/admin/audit?action=letter_discarded").await;
    let entry = &audit["items"][0];
    assert_eq!((&entry["actor"], &entry["actor_name"]), (&"command_line".into(), &"ana".into()), "{entry:#}");
    assert_eq!(stage.heard(&ana).len(), 1, "said once");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_cannot_do_is_said_in_a_sentence() {
    let stage = impatient().await;
    let id = "00000000-0000-0000-0000-000000000001";
    for (words, sentence) in [
        (&["show", id][..], "there is no dead letter of this id"),
        (&["replay"][..], "--group"),
        (&["replay", id, "--group", "outbound:1"][..], "cannot be used with"),
        (&["list", "--group", "nonsense"][..], "is no group of letters"),
        (&["discard", id][..], "--reason"),
        (&["discard", id, "--reason", " "][..], "--reason is blank: say why"),
        (&["replay", id, "--template", "hello"][..], "NAME:LANGUAGE"),
        (&["replay", "7"][..], "it is no id of a letter: take it from `micai dlq list"),
    ] {
        let (succeeded, said) = dlq(&stage, words, &[]).await;
        assert!(!succeeded && said.contains(sentence), "{words:?}: {said}");
    }
    let none = says(&stage, &["replay", "--group", "outbound:131026", "--yes"]).await;
    assert!(none.starts_with("There are no letters in this group."), "{none}");
    let help = says(&stage, &["--help"]).await;
    for word in ["list", "show", "replay", "discard", "--json"] {
        assert!(help.contains(word), "{help}");
    }
    stage.end().await;
}
