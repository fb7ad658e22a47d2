//! The webhook parser on arbitrary bytes. It must not panic, and what it takes in has to hold together: no JSON
//! object is refused, each event keeps readable raw JSON, and content can be stored and read back.
//!
//! Run from this crate: `cargo +nightly fuzz run webhook`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use whatsapp::{Content, Event, webhook};

fuzz_target!(|body: &[u8]| {
    let text = String::from_utf8_lossy(body);
    let raw = serde_json::from_str::<&serde_json::value::RawValue>(&text);
    let is_object = raw.is_ok_and(|raw| raw.get().starts_with('{'));
    let parsed = webhook::parse(body);
    // The other way round does not hold: keys with bare control characters are taken in although they are no JSON.
    assert!(parsed.is_ok() || !is_object, "a JSON object was refused");
    assert!(
        parsed.is_err() || text.trim_start().starts_with('{'),
        "something else than an object was taken in"
    );

    let Ok(webhook) = parsed else { return };
    for event in &webhook.events {
        assert!(text.contains(event.raw().get()), "the raw JSON is not from the body");
        if let Event::Message(message) = event {
            assert!(!message.id.is_empty());
            let stored = serde_json::to_string(&message.content).expect("content can be stored");
            let read: Content = serde_json::from_str(&stored).expect("stored content can be read");
            // Not compared as a whole: a coordinate may come back different in its last digit.
            assert_eq!(read.kind(), message.content.kind());
        }
    }
});
