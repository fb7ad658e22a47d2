//! The layers below [`Config`](super::Config): which one a value comes from, what nobody asked for, what went wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::ConfigErrors;
use super::files::{flat_table, secret_file};
use super::parse::Parsed;
use super::shown::{Entry, Shown, Source, host_only, masked, variable_of};

pub(super) const DEFAULTS: &str = include_str!("../../config.default.toml");
pub(super) const VARIABLE_PREFIX: &str = "MICAI_";
/// Variables that steer tests, not the product; a child of a test inherits them.
const TEST_PREFIX: &str = "MICAI_TEST_";
/// Read by the builds for the crash stories only.
const CRASH_VARIABLE: &str = "MICAI_CRASH_AFTER";
const CONFIG_FILE_VARIABLE: &str = "MICAI_CONFIG_FILE";
/// Behind the name of a secret: the value stands in the file that is named.
const FILE_SUFFIX: &str = "_file";
const SHOWN_VALUE_CHARS_MAX: usize = 80;
/// How alike two names must be (Jaro-Winkler, 0 to 1) before one is offered for the other.
const SUGGESTION_SIMILARITY_MIN: f64 = 0.8;

/// Values of one layer, taken out as they are read; what is left at the end is unknown.
#[derive(Default)]
struct Layer(BTreeMap<String, String>);

/// The layers, lowest first, and the findings so far.
pub(super) struct Reader {
    defaults: Layer,
    presets: Layer,
    file: Layer,
    file_path: PathBuf,
    environment: Layer,
    /// In the order of reading.
    known: Vec<(&'static str, Secrecy)>,
    /// Key -> where its effective value stands.
    sources: BTreeMap<&'static str, Source>,
    entries: Vec<Entry>,
    findings: Vec<String>,
}

/// What may be printed of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Open,
    /// All but its password.
    Address,
    /// Scheme and host only.
    Host,
    Secret,
}

/// A value as text, with its origin.
struct Raw {
    text: String,
    source: Source,
}

impl Reader {
    /// Reads the file, if there is one, and takes the `MICAI_*` part of the environment.
    pub(super) fn open(
        presets: &[(&str, String)],
        environment: Vec<(OsString, OsString)>,
        file: Option<&Path>,
    ) -> Self {
        let defaults = flat_table(DEFAULTS, "config.default.toml");
        let presets = presets.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let mut reader = Self {
            defaults: Layer(defaults.values),
            presets: Layer(presets),
            file: Layer::default(),
            file_path: PathBuf::new(),
            environment: Layer::default(),
            known: Vec::new(),
            sources: BTreeMap::new(),
            entries: Vec::new(),
            findings: defaults.findings,
        };
        reader.take_environment(environment);
        let named = reader.environment.0.remove("config_file").filter(|path| !path.is_empty());
        if let Some(path) = file.map(Path::to_owned).or(named.map(PathBuf::from)) {
            reader.take_file(path);
        }
        reader
    }

    /// The value of a setting that may be printed.
    pub(super) fn open_key<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Result<T, ConfigErrors> {
        self.key(key, Secrecy::Open, &parse)
    }

    /// The value of a setting that may not be printed, and that may stand in a file of its own.
    pub(super) fn secret_key<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Result<T, ConfigErrors> {
        self.key(key, Secrecy::Secret, &parse)
    }

    /// The value of a setting whose password may not be printed, and that may stand in a file of its own.
    pub(super) fn address_key<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Result<T, ConfigErrors> {
        self.key(key, Secrecy::Address, &parse)
    }

    /// The value of a setting of which only scheme and host may be printed, and that may stand in a file of its own.
    pub(super) fn host_key<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Result<T, ConfigErrors> {
        self.key(key, Secrecy::Host, &parse)
    }

    /// A bad value is noted and replaced by the default; an error is only a default that does not fit itself.
    fn key<T>(
        &mut self,
        key: &'static str,
        secrecy: Secrecy,
        parse: &dyn Fn(&str) -> Parsed<T>,
    ) -> Result<T, ConfigErrors> {
        self.known.push((key, secrecy));
        let Some(default) = self.defaults.0.remove(key) else {
            self.note(format!("`{key}` has no line in config.default.toml: add one with its comment."));
            return Err(self.errors());
        };
        let raw = self
            .effective(key, secrecy != Secrecy::Open)
            .unwrap_or(Raw { text: default.clone(), source: Source::Default });
        self.sources.insert(key, raw.source.clone());
        let parsed = match parse(&raw.text) {
            Ok(value) => Ok(value),
            Err(must) => {
                let is = match secrecy {
                    Secrecy::Open => format!("is {}", clipped(&raw.text)),
                    Secrecy::Address | Secrecy::Host | Secrecy::Secret => "does not fit".to_owned(),
                };
                self.note(format!("{} {is}: {must}.", self.named(key)));
                parse(&default).map_err(|_| self.errors())
            }
        };
        let shown = match secrecy {
            Secrecy::Open => Shown::Open(raw.text),
            Secrecy::Address => masked(&raw.text).map_or(Shown::Open(raw.text), Shown::Masked),
            Secrecy::Host => host_only(&raw.text).map_or(Shown::Open(raw.text), Shown::Masked),
            Secrecy::Secret => Shown::Secret { set: !raw.text.is_empty() },
        };
        self.entries.push(Entry { key, shown, source: raw.source });
        parsed
    }

    /// The text from the highest layer that has one.
    fn effective(&mut self, key: &'static str, secret: bool) -> Option<Raw> {
        // Every layer is asked, so that a value below another is known, too.
        let preset = self.presets.0.remove(key).map(|text| Raw { text, source: Source::Preset });
        let mut file = std::mem::take(&mut self.file);
        let path = self.file_path.clone();
        let in_file = self.of_layer(&mut file, key, secret, &|key| Source::File { path: path.clone(), key });
        self.file = file;
        let mut environment = std::mem::take(&mut self.environment);
        let in_environment =
            self.of_layer(&mut environment, key, secret, &|key| Source::Environment { variable: variable_of(&key) });
        self.environment = environment;
        in_environment.or(in_file).or(preset)
    }

    /// The text of `key`, or what stands in the file that `key_file` names. Both at once is a finding.
    fn of_layer(
        &mut self,
        layer: &mut Layer,
        key: &str,
        secret: bool,
        source: &dyn Fn(String) -> Source,
    ) -> Option<Raw> {
        let direct = layer.0.remove(key).map(|text| Raw { text, source: source(key.to_owned()) });
        if !secret {
            return direct;
        }
        let file_key = format!("{key}{FILE_SUFFIX}");
        let Some(path) = layer.0.remove(&file_key) else {
            return direct;
        };
        let file_source = source(file_key);
        match direct.filter(|raw| !raw.text.is_empty()) {
            Some(direct) => {
                self.note(format!("{} and {} are both set: remove one of them.", direct.source, file_source));
                Some(direct)
            }
            None => match secret_file(Path::new(&path)) {
                Ok(text) => Some(Raw { text, source: file_source }),
                Err(problem) => {
                    self.note(format!("{file_source} {problem}."));
                    None
                }
            },
        }
    }

    /// How to name a setting in a sentence: as the operator wrote it, or as they would.
    pub(super) fn named(&self, key: &str) -> String {
        match self.sources.get(key) {
            Some(source @ (Source::File { .. } | Source::Environment { .. })) => source.to_string(),
            _ => variable_of(key),
        }
    }

    /// Adds one finding.
    pub(super) fn note(&mut self, sentence: String) {
        self.findings.push(sentence);
    }

    /// Adds the finding that prod cannot do without `key`.
    pub(super) fn note_missing_in_prod(&mut self, key: &str) {
        let secret = self.known.iter().any(|(name, secrecy)| *name == key && *secrecy != Secrecy::Open);
        let or_file = if secret { format!(" or {}_FILE", variable_of(key)) } else { String::new() };
        self.note(format!("{} is not set: prod cannot run without it; set it{or_file}.", variable_of(key)));
    }

    /// The lines for `micai config`, if nothing was found; else all findings.
    pub(super) fn finish(mut self) -> Result<Vec<Entry>, ConfigErrors> {
        self.note_unknown();
        if self.findings.is_empty() { Ok(self.entries) } else { Err(self.errors()) }
    }

    fn errors(&mut self) -> ConfigErrors {
        ConfigErrors { sentences: std::mem::take(&mut self.findings) }
    }

    fn note_unknown(&mut self) {
        let path = self.file_path.clone();
        for key in std::mem::take(&mut self.environment).0.into_keys() {
            let sentence = self.unknown(&variable_of(&key), &key, &variable_of);
            self.note(sentence);
        }
        for key in std::mem::take(&mut self.file).0.into_keys() {
            let sentence = self.unknown(&format!("`{key}` in {}", path.display()), &key, &|key| format!("`{key}`"));
            self.note(sentence);
        }
        for (layer, name) in [(&self.presets, "a preset"), (&self.defaults, "config.default.toml")] {
            let left: Vec<String> = layer.0.keys().cloned().collect();
            self.findings.extend(left.iter().map(|key| format!("`{key}` in {name} is read by nobody: remove it.")));
        }
    }

    fn unknown(&self, written: &str, key: &str, spell: &dyn Fn(&str) -> String) -> String {
        if let Some(open) = key.strip_suffix(FILE_SUFFIX)
            && self.known.iter().any(|(name, secrecy)| *name == open && *secrecy == Secrecy::Open)
        {
            return format!("{written} is unknown: only secrets are read from files; set {} itself.", spell(open));
        }
        match self.nearest(key) {
            Some(nearest) => format!("{written} is unknown: did you mean {}?", spell(&nearest)),
            None => format!("{written} is unknown: remove it; `micai config` lists the known ones."),
        }
    }

    fn nearest(&self, key: &str) -> Option<String> {
        let names = self.known.iter().flat_map(|(name, secrecy)| {
            let file = (*secrecy != Secrecy::Open).then(|| format!("{name}{FILE_SUFFIX}"));
            std::iter::once((*name).to_owned()).chain(file)
        });
        names
            .chain(std::iter::once("config_file".to_owned()))
            .map(|name| (strsim::jaro_winkler(&name, key), name))
            .filter(|(similarity, _)| *similarity >= SUGGESTION_SIMILARITY_MIN)
            .max_by(|left, right| left.0.total_cmp(&right.0))
            .map(|(_, name)| name)
    }

    fn take_environment(&mut self, environment: Vec<(OsString, OsString)>) {
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLE_PREFIX)) else {
                continue;
            };
            if name.starts_with(TEST_PREFIX) || (cfg!(feature = "crash-points") && name == CRASH_VARIABLE) {
                continue;
            }
            let key = name.trim_start_matches(VARIABLE_PREFIX).to_ascii_lowercase();
            match value.into_string() {
                Ok(text) if variable_of(&key) == name => {
                    self.environment.0.insert(key, text);
                }
                Ok(_) => self.note(format!("{name} is unknown: write it in capitals, {}.", variable_of(&key))),
                Err(_) => self.note(format!("{name} is not valid UTF-8: write it again.")),
            }
        }
    }

    fn take_file(&mut self, path: PathBuf) {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let table = flat_table(&text, &path.display().to_string());
                self.file = Layer(table.values);
                self.findings.extend(table.findings);
            }
            Err(error) => self.note(format!(
                "the settings file {} cannot be read ({error}): mend the path in --config or {CONFIG_FILE_VARIABLE}.",
                path.display()
            )),
        }
        self.file_path = path;
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(SHOWN_VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{:?} (cut here)", &text[..end]),
        None => format!("{text:?}"),
    }
}
