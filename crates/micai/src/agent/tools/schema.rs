//! Arguments against a JSON Schema. Ours use a small part of the language, and only that part is known here: `type`, `properties`,
//! `required`, `additionalProperties: false`, `enum`, `items` and the bounds of lengths, numbers and counts. A test holds the
//! table to it, so nothing in a schema is silently not checked.

use serde_json::Value;

/// What a schema may say; `description` is for readers.
#[cfg(test)]
pub(super) const KNOWN_WORDS: [&str; 13] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "enum",
    "items",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "description",
];

/// Checks a value.
///
/// # Errors
/// The first thing that does not fit, in words, with where it stands.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    check_at(schema, value, "")
}

fn check_at(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let at = if place.is_empty() { "the arguments" } else { place };
    if let Some(kind) = schema["type"].as_str()
        && !is_of(kind, value)
    {
        return Err(format!("{at} must be of type {kind}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        let words: Vec<String> = words.iter().map(Value::to_string).collect();
        return Err(format!("{at} must be one of {}", words.join(", ")));
    }
    match value {
        Value::Object(fields) => {
            let known = &schema["properties"];
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    return Err(format!("{at} must have {name}"));
                }
            }
            for (name, field) in fields {
                match known.get(name) {
                    Some(schema) => check_at(schema, field, &inside(place, name))?,
                    None if schema["additionalProperties"] == false => {
                        return Err(format!("{at} must not have {}", name.chars().take(64).collect::<String>()));
                    }
                    None => {}
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            within(items.len() as f64, schema, ("minItems", "maxItems"), at, "items")?;
            let each = |(number, item)| check_at(&schema["items"], item, &inside(place, &format!("{number}")));
            items.iter().enumerate().try_for_each(each)
        }
        Value::String(text) => {
            within(text.chars().count() as f64, schema, ("minLength", "maxLength"), at, "characters")
        }
        Value::Number(number) => {
            within(number.as_f64().unwrap_or(f64::NAN), schema, ("minimum", "maximum"), at, "as its value")
        }
        Value::Bool(_) | Value::Null => Ok(()),
    }
}

fn inside(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

fn within(size: f64, schema: &Value, (least, most): (&str, &str), at: &str, what: &str) -> Result<(), String> {
    let (least, most) = (schema[least].as_f64(), schema[most].as_f64());
    if least.is_none_or(|least| size >= least) && most.is_none_or(|most| size <= most) {
        return Ok(());
    }
    let bound = |bound: Option<f64>| bound.map_or_else(|| "any".to_owned(), |bound| bound.to_string());
    Err(format!("{at} must have {} to {} {what}", bound(least), bound(most)))
}
