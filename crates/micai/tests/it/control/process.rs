//! A process that dies before it could tell the operator's system: the next one does, once.

use serde_json::json;
use simulator::{Author, PhoneKind, PhoneSpec};

use super::handover::{Desk, SECRET};
use crate::harness::PATIENCE;
use crate::process::{Process, outside, until};

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_commit_and_the_call_the_desk_is_told_once_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("micai.db");
    let simulator = outside().await;
    let phone = |name: &str| {
        let spec = PhoneSpec { name: Some(name.into()), kind: Some(PhoneKind::Phone), ..PhoneSpec::default() };
        simulator.add_phone(spec).unwrap().id
    };
    let (ana, bo) = (phone("Ana"), phone("Bo"));
    let heard =
        |phone: &str| simulator.chat(phone).unwrap().iter().filter(|bubble| bubble.author == Author::Business).count();
    let (desk, address) = Desk::open(0).await;
    let (url, host) = (format!("http://{address}/desk"), address.to_string());
    let settings = [
        ("operator_webhook_url", url.as_str()),
        ("operator_webhook_secret", SECRET),
        ("outbound_private_hosts", host.as_str()),
        // The dying process must not come to it by a sweep before its end.
        ("sweep_interval_seconds", "3600"),
    ];
    let mut dying = Process::serve(&database, &simulator.url(), &settings, &[("MICAI_CRASH_AFTER", "finish")]);
    simulator.set_webhook(Some(&format!("http://{}/webhook", dying.address))).unwrap();
    simulator.say(&ana, "human").unwrap();
    let status = tokio::task::spawn_blocking(move || dying.wait_for_end()).await.unwrap();
    assert!(!status.success(), "it died");
    assert!(desk.told().is_empty(), "before it had told anybody");

    let living = Process::serve(&database, &simulator.url(), &settings[..3], &[]);
    simulator.set_webhook(Some(&format!("http://{}/webhook", living.address))).unwrap();
    let names = || -> Vec<_> {
        let told = desk.told().into_iter().filter(|one| one["kind"] == "handover_requested");
        told.map(|one| one["name"].clone()).collect()
    };
    until("the desk is told", &|| !names().is_empty()).await;
    until("Ana has her answer", &|| heard(&ana) == 1).await;
    // Bo's own notice comes with a later sweep: a second one of Ana's would have come before it.
    simulator.say(&bo, "human").unwrap();
    until("the desk is told of Bo", &|| names().contains(&json!("Bo"))).await;
    tokio::time::timeout(PATIENCE, simulator.wait_idle()).await.expect("webhooks are acknowledged");
    assert_eq!(names(), [json!("Ana"), json!("Bo")]);
    assert_eq!((heard(&ana), heard(&bo)), (1, 1));
    drop(living);
    simulator.stop().await;
}
