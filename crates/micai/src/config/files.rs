//! Settings files, secret files and files that settings name, read and nothing more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
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
    let text = bounded_file(path, SECRET_FILE_BYTES_MAX, "secret")?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest));
    if text.is_empty() {
        return Err(format!("names {}, which is empty: write the secret into it", path.display()));
    }
    Ok(text.to_owned())
}

/// The text of a file that a setting names, within a bound; or the rest of the sentence "X …", with what to do. `kind` is what
/// the file should hold.
pub(crate) fn bounded_file(path: &Path, bytes_max: u64, kind: &str) -> Result<String, String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        format!("names {shown}, which cannot be read ({error}): make it, or mend the path or its permissions")
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(format!("names {shown}, a folder: name a file"));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, which tells that there is more.
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(format!("names {shown}, which is over {bytes_max} bytes: that is no {kind}; name another file"));
    }
    String::from_utf8(bytes).map_err(|_| {
        format!("names {shown}, which cannot be read as UTF-8 text: save it as such, or name another file")
    })
}
