//! How long policy takes to decide about one send, by how much is paused. The bound is 20 microseconds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use micai::domain::contact::{Address, AddressKind};
use micai::domain::free_entry::FreeEntry;
use micai::domain::outbound::{MessageBody, SendCandidate};
use micai::domain::pause::{PAUSES_MAX, Pause, PauseCause, PauseKey, PauseScope};
use micai::domain::template::{TemplateCategory, TemplateUse, TextValue};
use micai::ids::Ids;
use micai::sender::policy::{self, Permission, Policy};
use micai::store::PauseSnapshot;

const DAY_SECONDS: i64 = 24 * 3_600;

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("an instant")
}

fn candidate(body: MessageBody) -> SendCandidate {
    let (ids, now) = (Ids::seeded(3), now());
    SendCandidate {
        id: ids.outbound(now),
        conversation_id: ids.conversation(now),
        contact_id: ids.contact(now),
        agent_id: None,
        phone_number_id: "106540352242922".to_owned(),
        to: Address { kind: AddressKind::Phone, value: "5511987654321".to_owned() },
        body,
        estimate_micros: None,
        attempts: 0,
        attempts_before: 0,
        ignores_opt_out: false,
        tried_since: None,
        needs_template: false,
        template: None,
        last_inbound_at: Some(now - SignedDuration::from_secs(60)),
        opted_out_at: None,
        marketing_stopped_at: None,
        blocked_at: None,
        free_entry: FreeEntry::default(),
    }
}

/// Pauses of other numbers, templates and countries, so that all keys are looked for and none is found.
fn pauses(count: usize) -> PauseSnapshot {
    let pause = |number: usize| {
        let scope = [PauseScope::Number, PauseScope::Template, PauseScope::Country][number % 3];
        let sentence = "A story of a bench.".to_owned();
        let key = PauseKey::new(scope, &format!("other-{number}"));
        Pause { key, cause: PauseCause::Refusal, code: Some(131_048), sentence, since: now(), until: None }
    };
    (0..count).map(pause).collect()
}

fn check(criterion: &mut Criterion) {
    let policy = Policy { outbound_enabled: true, window_seconds: DAY_SECONDS };
    let words = candidate(MessageBody::Text { text: "It rains tomorrow.".to_owned() });
    let filled = TemplateUse { body: vec![TextValue::numbered("Ana")], ..TemplateUse::plain("reminder", "en_US") };
    let template = candidate(MessageBody::Template { template: Box::new(filled), text: None });
    for count in [0, 100, PAUSES_MAX] {
        let paused = pauses(count);
        for (name, candidate, category) in
            [("words", &words, None), ("template", &template, Some(TemplateCategory::Utility))]
        {
            assert_eq!(policy::check(&policy, candidate, category, &paused, "BR", now()), Permission::Granted);
            criterion.bench_function(&format!("policy, {name}, {count} pauses"), |bencher| {
                bencher.iter(|| policy::check(&policy, black_box(candidate), category, &paused, "BR", now()));
            });
        }
    }
    // The dearest answer: held, with its sentence.
    let key = PauseKey::new(PauseScope::Number, &words.phone_number_id);
    let sentence = "WhatsApp restricts this number. Wait, write less, then resume it.".to_owned();
    let paused: PauseSnapshot =
        [Pause { key, cause: PauseCause::Refusal, code: Some(131_048), sentence, since: now(), until: None }]
            .into_iter()
            .collect();
    criterion.bench_function("policy, held", |bencher| {
        bencher.iter(|| policy::check(&policy, black_box(&words), None, &paused, "BR", now()));
    });
}

criterion_group!(benches, check);
criterion_main!(benches);
