//! Evidence: what stands beside a sentence, as JSON of bounded size that either database can hold.

use serde_json::{Value, json};

/// Why U+0000 goes: Postgres refuses it, in texts and in JSON.
const IN_PLACE_OF_NUL: &str = "\u{fffd}";

/// The value as it can be stored. One that is larger than `bytes_max` is not kept in part, which could mislead: its size
/// stands in its place.
#[must_use]
pub fn bounded(value: Value, bytes_max: usize) -> Value {
    let value = without_nul(value);
    let bytes = value.to_string().len();
    if bytes <= bytes_max { value } else { json!({ "left_out_bytes": bytes }) }
}

/// The text as it can be stored: at most `characters_max` characters, the last of them a mark where it was cut.
#[must_use]
pub fn bounded_text(text: &str, characters_max: usize) -> String {
    let text = text.replace('\0', IN_PLACE_OF_NUL);
    if text.chars().count() <= characters_max {
        return text;
    }
    text.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect()
}

fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('\0', IN_PLACE_OF_NUL)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(key, value)| (key.replace('\0', IN_PLACE_OF_NUL), without_nul(value))).collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_says_so_and_nul_goes() {
        assert_eq!(bounded(json!({ "a": "b\0" }), 100), json!({ "a": "b\u{fffd}" }));
        assert_eq!(bounded(json!("abc"), 5), json!("abc"));
        assert_eq!(bounded(json!("abcd"), 5), json!({ "left_out_bytes": 6 }));
        assert_eq!(bounded_text("abc", 3), "abc");
        assert_eq!(bounded_text("ab\0d", 3), "ab…");
    }
}
