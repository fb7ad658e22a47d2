//! The bodies of the load's webhooks, written straight into a buffer.
//!
//! Everything about a message follows from its number and the run's seed: who writes, the ids, the text. So a duplicate
//! is a message whose number comes twice, and nothing has to be remembered. Numbers are those of messages, from 0.

use std::io::Write as _;

use serde_json::Value;

use crate::load_people;
use crate::world::webhooks::escaped;

/// How far back a duplicate looks, in messages: Meta repeats what it sent a moment ago.
const DUPLICATE_LOOKS_BACK_MAX: u64 = 1_000;

/// What all bodies of a run have in common.
pub(super) struct Bodies {
    pub(super) seed: u64,
    /// Distinct senders.
    pub(super) people: u64,
    /// Each message from the next person in turn, in place of anybody.
    pub(super) in_order: bool,
    pub(super) duplicates_percent: u64,
    phone_number_id: String,
    /// The text between the places of the message's number, as it stands in JSON.
    text_parts: Vec<String>,
}

impl Bodies {
    pub(super) fn new(seed: u64, people: u64, phone_number_id: &str, text: &str) -> Self {
        let text_parts = text.split("{n}").map(inside_quotes).collect();
        Self {
            seed,
            people: people.max(1),
            in_order: false,
            duplicates_percent: 0,
            phone_number_id: phone_number_id.to_owned(),
            text_parts,
        }
    }

    /// The number of the message that is sent in this place: an earlier one if this is to be a duplicate.
    pub(super) fn sent_in_place_of(&self, number: u64) -> u64 {
        let mut sent = number;
        // Ends at 0 at the latest, which is never a duplicate.
        while sent > 0 && mixed(self.seed ^ !sent) % 100 < self.duplicates_percent {
            sent -= 1 + mixed(self.seed.wrapping_add(sent)) % sent.min(DUPLICATE_LOOKS_BACK_MAX);
        }
        sent
    }

    fn person(&self, number: u64) -> u64 {
        if self.in_order { number % self.people } else { mixed(self.seed.wrapping_mul(31) ^ number) % self.people }
    }

    /// Writes the webhook with these messages. Slashes are escaped as Meta does; all else is ASCII anyway.
    pub(super) fn write(&self, numbers: &[u64], now_seconds: i64, into: &mut Vec<u8>) {
        into.clear();
        // Writing into memory cannot fail.
        _ = write!(
            into,
            "{{\"object\":\"whatsapp_business_account\",\"entry\":[{{\"id\":\"102290129340398\",\"time\":{now_seconds},\
             \"changes\":[{{\"field\":\"messages\",\"value\":{{\"messaging_product\":\"whatsapp\",\"metadata\":\
             {{\"display_phone_number\":\"15550783881\",\"phone_number_id\":\"{}\"}},\"contacts\":[",
            self.phone_number_id
        );
        for (place, &number) in numbers.iter().enumerate() {
            let (comma, person) = (comma(place), self.person(number));
            _ = write!(
                into,
                "{comma}{{\"profile\":{{\"name\":\"{}\"}},\"wa_id\":\"{}\",\"user_id\":\"{}\"}}",
                load_people::name(person),
                load_people::number(person),
                load_people::user_id(person),
            );
        }
        into.extend_from_slice(b"],\"messages\":[");
        for (place, &number) in numbers.iter().enumerate() {
            let (comma, person) = (comma(place), self.person(number));
            _ = write!(
                into,
                "{comma}{{\"id\":\"wamid.HBgLMTk5OTAw{:016X}{number:016X}AA\",\"from\":\"{}\",\
                 \"from_user_id\":\"{}\",\"timestamp\":\"{now_seconds}\",\"type\":\"text\",\
                 \"text\":{{\"body\":\"",
                self.seed,
                load_people::number(person),
                load_people::user_id(person),
            );
            self.write_text(number, into);
            into.extend_from_slice(b"\"}}");
        }
        into.extend_from_slice(b"]}}]}]}");
    }

    fn write_text(&self, number: u64, into: &mut Vec<u8>) {
        for (place, part) in self.text_parts.iter().enumerate() {
            if place > 0 {
                _ = write!(into, "{number}");
            }
            into.extend_from_slice(part.as_bytes());
        }
    }
}

fn comma(place: usize) -> &'static str {
    if place == 0 { "" } else { "," }
}

/// A text as it stands between the quotes of JSON.
fn inside_quotes(text: &str) -> String {
    let quoted = escaped(&Value::String(text.to_owned()));
    String::from_utf8_lossy(&quoted[1..quoted.len() - 1]).into_owned()
}

/// Spreads neighbouring numbers over the whole range (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::HashSet;

    use super::*;

    fn read(bodies: &Bodies, numbers: &[u64]) -> Value {
        let mut bytes = Vec::new();
        bodies.write(numbers, 1_790_000_000, &mut bytes);
        assert!(bytes.is_ascii());
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_body_is_what_meta_sends_and_follows_from_seed_and_number() {
        let bodies = Bodies::new(7, 1_000_000, "900001", "olá \"a/b\" {n}!");
        let body = read(&bodies, &[5, 6]);
        let value = &body["entry"][0]["changes"][0]["value"];
        assert_eq!(value["metadata"]["phone_number_id"], "900001");
        assert_eq!(value["messages"][1]["text"]["body"], "olá \"a/b\" 6!");
        for place in [0, 1] {
            let (contact, message) = (&value["contacts"][place], &value["messages"][place]);
            assert_eq!((&contact["wa_id"], &contact["user_id"]), (&message["from"], &message["from_user_id"]));
        }
        assert_ne!(value["messages"][0]["id"], value["messages"][1]["id"]);
        assert_eq!(body, read(&bodies, &[5, 6]));
        let other = Bodies::new(8, 1_000_000, "900001", "x");
        assert_ne!(
            read(&other, &[5])["entry"][0]["changes"][0]["value"]["messages"][0]["id"],
            value["messages"][0]["id"],
            "another run has other ids"
        );
    }

    #[test]
    fn in_order_nobody_is_left_out() {
        let bodies = Bodies { in_order: true, ..Bodies::new(7, 50, "900001", "x") };
        let people: HashSet<u64> = (0..50).map(|number| bodies.person(number)).collect();
        assert_eq!(people.len(), 50);
        let anybody = Bodies::new(7, 50, "900001", "x");
        let people: HashSet<u64> = (0..50).map(|number| anybody.person(number)).collect();
        assert!(people.len() < 50 && people.len() > 20, "{}", people.len());
    }

    #[test]
    fn as_many_are_duplicates_as_was_asked_for_and_each_repeats_something_sent_shortly_before() {
        let bodies = Bodies { duplicates_percent: 20, ..Bodies::new(7, 50, "900001", "x") };
        let mut sent = HashSet::new();
        let mut duplicates = 0;
        for number in 0..10_000 {
            let place = bodies.sent_in_place_of(number);
            if !sent.insert(place) {
                duplicates += 1;
            }
            assert!(place <= number && number - place < 5 * DUPLICATE_LOOKS_BACK_MAX);
        }
        assert!((1_800..2_200).contains(&duplicates), "{duplicates}");
    }
}
