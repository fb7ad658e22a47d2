//! Reading fields of a request body, with the refusals that the Graph API gives.

use serde_json::{Map, Value};

use crate::errors::GraphError;

type Checked<T> = Result<T, GraphError>;

/// An object of the request and what to call it in a refusal.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    name: &'a str,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(object: &'a Map<String, Value>, name: &'a str) -> Self {
        Self { object, name }
    }

    /// The value as an object, or the refusal that names it.
    pub(crate) fn of(value: &'a Value, name: &'a str) -> Checked<Self> {
        match value {
            Value::Object(object) => Ok(Self { object, name }),
            _ => Err(GraphError::parameter(format!("Param {name} must be a JSON object."))),
        }
    }

    /// Refuses keys that nobody knows: a misspelt parameter must not pass unseen.
    pub(crate) fn only(&self, known: &[&str]) -> Checked<()> {
        match self.object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(GraphError::parameter(format!("Unexpected key \"{key}\" on param \"{}\".", self.name))),
            None => Ok(()),
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.object.get(key).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// A required part, whatever it is (131008).
    pub(crate) fn need(&self, key: &str) -> Checked<&'a Value> {
        self.get(key).ok_or_else(|| GraphError::new(131_008, format!("Parameter {}['{key}'] is required.", self.name)))
    }

    pub(crate) fn need_object(&self, key: &'a str) -> Checked<Self> {
        Fields::of(self.need(key)?, key)
    }

    pub(crate) fn object(&self, key: &'a str) -> Checked<Option<Self>> {
        self.get(key).map(|value| Fields::of(value, key)).transpose()
    }

    pub(crate) fn text(&self, key: &str) -> Checked<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(GraphError::parameter(format!("Param {}['{key}'] must be a string.", self.name))),
        }
    }

    /// A required text of 1 to `most` characters: missing or empty is 131008, too long 100.
    pub(crate) fn need_text(&self, key: &str, most: usize) -> Checked<&'a str> {
        let text = self.text(key)?.filter(|text| !text.is_empty());
        let text =
            text.ok_or_else(|| GraphError::new(131_008, format!("Parameter {}['{key}'] is required.", self.name)))?;
        self.at_most(key, text, most)?;
        Ok(text)
    }

    /// An optional text of at most `most` characters.
    pub(crate) fn short_text(&self, key: &str, most: usize) -> Checked<Option<&'a str>> {
        let text = self.text(key)?;
        if let Some(text) = text {
            self.at_most(key, text, most)?;
        }
        Ok(text)
    }

    /// A required label of 1 to `most` characters; any other length is 131009.
    pub(crate) fn label(&self, key: &str, most: usize) -> Checked<&'a str> {
        let text = self.text(key)?;
        let text =
            text.ok_or_else(|| GraphError::new(131_008, format!("Parameter {}['{key}'] is required.", self.name)))?;
        let length = text.chars().count();
        if length == 0 || length > most {
            let sentence = format!("{} {key} length invalid. Min length: 1, Max length: {most}", self.name);
            return Err(GraphError::new(131_009, sentence));
        }
        Ok(text)
    }

    pub(crate) fn flag(&self, key: &str) -> Checked<bool> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(GraphError::parameter(format!("Param {}['{key}'] must be a boolean.", self.name))),
        }
    }

    /// A required number within bounds; numbers in strings are taken too.
    pub(crate) fn degrees(&self, key: &str, most: f64) -> Checked<f64> {
        let value = self.need(key)?;
        let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        number.filter(|number| (-most..=most).contains(number)).ok_or_else(|| {
            GraphError::new(131_009, format!("{}['{key}'] must be between -{most} and {most}.", self.name))
        })
    }

    /// A required list with so many items; any other length is 131009.
    pub(crate) fn list(&self, key: &str, most: usize) -> Checked<&'a [Value]> {
        match self.need(key)? {
            Value::Array(items) if (1..=most).contains(&items.len()) => Ok(items),
            Value::Array(_) => {
                let sentence = format!("Invalid {} {key} count. Min allowed: 1, Max allowed: {most}", self.name);
                Err(GraphError::new(131_009, sentence))
            }
            _ => Err(GraphError::parameter(format!("Param {}['{key}'] must be an array.", self.name))),
        }
    }

    fn at_most(&self, key: &str, text: &str, most: usize) -> Checked<()> {
        if text.chars().count() > most {
            let sentence = format!("Param {}['{key}'] must be at most {most} characters long.", self.name);
            return Err(GraphError::parameter(sentence));
        }
        Ok(())
    }
}

/// Whether this is a web address that WhatsApp would open.
pub(crate) fn is_web_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && !text.contains(char::is_whitespace)
}
