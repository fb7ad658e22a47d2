//! Settings files and secret files, read and nothing more.

use std::collections::BTreeMap;
use std::path::Path;

const SECRET_FILE_BYTES_MAX: u64 = 65_536;

/// What a settings file holds, and what is wrong with it.
pub(super) struct FlatTable {
    pub(super) values: BTreeMap<String, String>,
    pub(super) findings: Vec<String>,
}

/// A flat TOML table as texts. Findings name the line, never its content, which may be a secret.
pub(super) fn flat_table(text: &str, named: &str) -> FlatTable {
    let (mut values, mut findings) = (BTreeMap::new(), Vec::new());
    match text.parse::<toml::Table>() {
        Ok(table) => {
            for (key, value) in table {
                match as_text(&value) {
                    Some(value) => {
                        values.insert(key, value);
                    }
                    None => findings.push(format!(
                        "`{key}` in {named} is a {}: it must be a text, a number, true or false, or a list of texts \
                         without commas.",
                        value.type_str()
                    )),
                }
            }
        }
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            findings.push(format!("{named}, line {line}, is not TOML: {}.", error.message()));
        }
    }
    FlatTable { values, findings }
}

fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let words: Option<Vec<&str>> =
                items.iter().map(|item| item.as_str().filter(|word| !word.contains(','))).collect();
            words.map(|words| words.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// What stands in a secret's file, less one newline at its end; or the rest of the sentence "X …".
pub(super) fn secret_file(path: &Path) -> Result<String, String> {
    if path.as_os_str().is_empty() {
        return Err("is empty: name a file, or remove it".to_owned());
    }
    let shown = path.display();
    let size = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(format!("names {shown}, a folder: name a file")),
        Ok(metadata) => metadata.len(),
        Err(error) => {
            return Err(format!("names {shown}, which cannot be read ({error}): make it, or mend the path"));
        }
    };
    if size > SECRET_FILE_BYTES_MAX {
        return Err(format!("names {shown}, which is over {SECRET_FILE_BYTES_MAX} bytes: that is no secret"));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("names {shown}, which cannot be read ({error}): mend its permissions or content"))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest));
    if text.is_empty() {
        return Err(format!("names {shown}, which is empty: write the secret into it"));
    }
    Ok(text.to_owned())
}
