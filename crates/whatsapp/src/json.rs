//! Lenient readers over a JSON value: a wrong type means absent, never an error.

use serde_json::Value;

/// Earliest believable Unix time in seconds: 2001-09-09. WhatsApp did not exist before.
const TIMESTAMP_SECONDS_MIN: i64 = 1_000_000_000;
/// Latest believable Unix time in seconds: 2100-01-01. Milliseconds taken for seconds lie far above it.
const TIMESTAMP_SECONDS_MAX: i64 = 4_102_444_800;

/// A string, or a number or boolean spelled as one; the empty string counts as absent.
pub(crate) fn text(object: &Value, key: &str) -> Option<String> {
    any_text(object, key).filter(|text| !text.is_empty())
}

/// Like [`text`], but an empty string is kept: it is content.
pub(crate) fn any_text(object: &Value, key: &str) -> Option<String> {
    match object.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A non-empty string without copying it; numbers do not count.
pub(crate) fn str<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// An object.
pub(crate) fn object<'a>(parent: &'a Value, key: &str) -> Option<&'a Value> {
    parent.get(key).filter(|value| value.is_object())
}

/// The elements of an array; anything else is an empty list.
pub(crate) fn list<'a>(parent: &'a Value, key: &str) -> &'a [Value] {
    parent.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A boolean, also spelled `"true"`.
pub(crate) fn flag(object: &Value, key: &str) -> Option<bool> {
    match object.get(key)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// An integer, also spelled as a string.
pub(crate) fn integer(object: &Value, key: &str) -> Option<i64> {
    match object.get(key)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A finite number, also spelled as a string.
pub(crate) fn number(object: &Value, key: &str) -> Option<f64> {
    let number = match object.get(key)? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// Unix seconds from a string or an integer; `None` for what cannot be a time of this service (before 2001-09-09 or
/// from 2100 on: zero, negative numbers, milliseconds, noise).
pub(crate) fn timestamp_seconds(object: &Value, key: &str) -> Option<i64> {
    integer(object, key).filter(|seconds| is_believable_timestamp(*seconds))
}

/// True for Unix seconds that can be a time of this service.
pub(crate) fn is_believable_timestamp(seconds: i64) -> bool {
    (TIMESTAMP_SECONDS_MIN..TIMESTAMP_SECONDS_MAX).contains(&seconds)
}

/// The type of a value in words, for messages.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn timestamps_are_read_from_both_spellings_and_absurd_ones_are_absent() {
        let table = [
            (json!("1790000000"), Some(1_790_000_000)),
            (json!(1_790_000_000), Some(1_790_000_000)),
            (json!(1_790_000_000_000_i64), None),
            (json!("0"), None),
            (json!(-5), None),
            (json!("soon"), None),
            (json!("99999999999999999999999"), None),
            (json!(u64::MAX), None),
            (json!(1.5), None),
            (json!(null), None),
            (json!([]), None),
        ];
        for (value, expected) in table {
            assert_eq!(timestamp_seconds(&json!({"t": value}), "t"), expected, "{value}");
        }
    }
}
