//! The words that turns listen for before any agent does: those of the files that the settings name, else the compiled-in ones.

use std::path::Path;

use anyhow::Context as _;

use crate::agent::consent::{CONSENT_WORDS_FILE_BYTES_MAX, ConsentWords};
use crate::agent::control::{CONTROL_WORDS_FILE_BYTES_MAX, ControlWords};
use crate::config::{Config, bounded_file};

/// Consent words and control words.
///
/// # Errors
/// A sentence for each fault.
pub(super) fn open(config: &Config) -> anyhow::Result<(ConsentWords, ControlWords)> {
    let consent = consent_words(config.steering.consent_words_file.as_deref())?;
    let control = control_words(config.steering.control_words_file.as_deref(), &consent)?;
    Ok((consent, control))
}

/// The words by which people stop us.
fn consent_words(file: Option<&Path>) -> anyhow::Result<ConsentWords> {
    let Some(file) = file else {
        return ConsentWords::built_in().context("the compiled-in consent words are wrong");
    };
    let (named, text) = words_file("MICAI_CONSENT_WORDS_FILE", file, CONSENT_WORDS_FILE_BYTES_MAX)?;
    ConsentWords::parse(&text).context(named)
}

/// The words by which they steer a conversation. Consent comes first, so none may be in both.
fn control_words(file: Option<&Path>, consent: &ConsentWords) -> anyhow::Result<ControlWords> {
    let words = match file {
        None => ControlWords::built_in().context("the compiled-in control words are wrong")?,
        Some(file) => {
            let (named, text) = words_file("MICAI_CONTROL_WORDS_FILE", file, CONTROL_WORDS_FILE_BYTES_MAX)?;
            ControlWords::parse(&text).context(named)?
        }
    };
    let clashes = words.clashes_with(consent);
    anyhow::ensure!(
        clashes.is_empty(),
        "the control words and the consent words must be mended first:\n  - {}",
        clashes.join("\n  - ")
    );
    Ok(words)
}

/// The text of a file of words, with how to name it in a complaint.
fn words_file(variable: &str, file: &Path, bytes_max: usize) -> anyhow::Result<(String, String)> {
    let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let text =
        bounded_file(file, bytes_max, "file of words").map_err(|problem| anyhow::anyhow!("{variable} {problem}"))?;
    Ok((format!("{variable} names {}", file.display()), text))
}
