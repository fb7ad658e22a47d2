//! House rules that a program can check: who may name whom, how long things may be, what code and tests may not do.
//!
//! Each finding says where, what, why, and what to do. An exception is a row in a table here, with its reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

mod tidy_source;
use tidy_source::{Source, functions, paths_of};

/// Everybody may use these; they know nothing of ours but each other.
const FOUNDATION: [&str; 4] = ["domain", "ids", "clock", "crash"];
/// The part of the foundation that stands alone.
const GROUND: [&str; 3] = ["ids", "clock", "crash"];
/// These put the others together and may use everything.
const ASSEMBLY: [&str; 5] = ["app", "run", "cli", "dev", "main"];
/// The only part of the assembly that may name the simulator.
const SIMULATOR_STARTER: &str = "dev";

/// "One way": a module, and what it may name beside the foundation. `a::b` allows that part of `a` only.
/// A name in capitals is one of our other crates.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("ids", &[]),
    ("clock", &[]),
    ("crash", &[]),
    ("config", &[]),
    ("cost", &[]),
    ("telemetry", &["config"]),
    ("lock", &["config"]),
    ("letters", &["WHATSAPP"]),
    ("store", &[]),
    ("redis_link", &[]),
    ("operator", &["WHATSAPP", "store", "fetch"]),
    ("queue", &["redis_link"]),
    ("shared", &["redis_link"]),
    ("llm", &[]),
    ("speech", &[]),
    ("fetch", &[]),
    ("weather", &["fetch"]),
    ("transport", &["WHATSAPP"]),
    ("ingest", &["WHATSAPP", "store", "queue", "shared", "cost"]),
    ("agent", &["llm", "weather", "scheduler::recurrence"]),
    // Of what processes share, a worker only tells what it has committed.
    ("worker", &["store", "queue", "agent", "speech", "transport", "shared::Changes", "shared::Subject"]),
    ("sender", &["store", "queue", "transport", "shared", "templates", "cost"]),
    ("templates", &["store", "queue", "transport", "cost"]),
    ("scheduler", &["store", "queue", "cost"]),
    (
        "http",
        // Of agent, scheduler, sender and templates only pure parts, for previews; and the desk, which alone of them leads
        // to WhatsApp.
        &[
            "ingest",
            "letters",
            "store",
            "queue",
            "shared",
            "cost",
            "agent::CompiledAgent",
            "agent::consent",
            "agent::control",
            "agent::tools",
            "agent::triggers",
            "agent::turn",
            "scheduler::recurrence",
            "sender::planner",
            "templates::TemplateDesk",
            "templates::CreateError",
            "templates::SyncError",
            "templates::TemplateFault",
            "templates::contract",
            "templates::creation",
            "templates::fitting",
            "templates::render",
        ],
    ),
];

const FILE_LINES_MAX: usize = 500;
/// Tables of cases and stories are read one at a time.
const TEST_FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// A map is read at one sitting.
const MAP_LINES_MAX: usize = 200;

/// Files over the bound, from the workspace's root, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions over the bound as `file#function`, each with its reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[(
    "crates/simulator/src/world/templates.rs#seeded",
    "a table of templates as data: the length is rows, not branches",
)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Rust files of the workspace's crates, with paths from its root.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for member in entries(&root().join("crates")) {
        for folder in ["src", "tests", "benches"] {
            collect(&member.join(folder), &mut files);
        }
    }
    assert!(files.len() > 10, "tidy found {} Rust files only: it looks in the wrong place", files.len());
    files
}

fn collect(folder: &Path, files: &mut Vec<Source>) {
    for path in entries(folder) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            files.push(Source::new(name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// What is in a folder, sorted; nothing when there is no such folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).map(|all| all.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default();
    paths.sort();
    paths
}

fn report(findings: &[String]) {
    assert!(findings.is_empty(), "\n\n{}\n", findings.join("\n\n"));
}

#[test]
fn modules_name_only_what_the_design_allows() {
    report(&sources().iter().flat_map(edge_findings).collect::<Vec<_>>());
}

/// `crates/micai/src/http/admin/rules.rs` -> `[http, admin, rules]`; nothing for the root and for other crates.
fn module_path(file: &str) -> Option<Vec<&str>> {
    let inside = file.strip_prefix("crates/micai/src/")?.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    (inside != "lib").then(|| inside.split('/').collect())
}

fn edge_findings(source: &Source) -> Vec<String> {
    let Some(module) = module_path(&source.file).filter(|_| !source.is_test_file()) else {
        return Vec::new();
    };
    let (mut findings, mut seen) = (Vec::new(), BTreeSet::new());
    for (line, path) in paths_of(&source.code, &module) {
        if path[0] == module[0] {
            continue;
        }
        // One finding a line and module: `use crate::llm::{self, Llm}` is one edge.
        if let Err(why) = may_use(module[0], &path)
            && seen.insert((line, path[0].clone()))
        {
            let target = path.join("::");
            findings.push(format!("{}:{line}: `{}` names `{target}`.\n  {why}", source.file, module[0]));
        }
    }
    findings
}

fn may_use(module: &str, path: &[String]) -> Result<(), String> {
    let target = path[0].as_str();
    if ASSEMBLY.contains(&module) {
        let allowed = target != "SIMULATOR" || module == SIMULATOR_STARTER;
        return allowed.then_some(()).ok_or_else(|| {
            format!("Why: only `{SIMULATOR_STARTER}` starts a simulator. What to do: move this call there.")
        });
    }
    let Some((_, row)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
        return Err(format!(
            "Why: `{module}` has no row in the table \"One way\". What to do: put the code into a module that has one, \
             or decide what `{module}` may use and add a row to MAY_USE in tests/tidy.rs."
        ));
    };
    let part = path.iter().take(2).cloned().collect::<Vec<_>>().join("::");
    if (FOUNDATION.contains(&target) && !GROUND.contains(&module))
        || row.contains(&target)
        || row.contains(&part.as_str())
    {
        return Ok(());
    }
    Err(format!(
        "Why: the table \"One way\" lets `{module}` use only {:?} beside {FOUNDATION:?}, so that each part can be read \
         and changed alone. What to do: pass the thing in as plain data or a trait from `app`, or move the code to \
         where it may be named.",
        row
    ))
}

#[test]
fn every_file_says_what_it_is_and_fits() {
    let mut findings = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") && !source.text.starts_with("#![doc = include_str!(") {
            findings.push(format!(
                "{}:1: the file does not begin with `//! `.\n  Why: whoever opens it wants to know in one line what it \
                 is for. What to do: write that line.",
                source.file
            ));
        }
        let lines = source.text.lines().count();
        let lines_max = lines_max(&source);
        if lines > lines_max && !LONG_FILES.iter().any(|(file, _)| *file == source.file) {
            findings.push(format!(
                "{}: {lines} lines, over {lines_max}.\n  Why: a file holds one theme that one can keep in mind. \
                 What to do: split it by theme (tests may go to a file `tests.rs` beside it).",
                source.file
            ));
        }
    }
    report(&findings);
}

fn lines_max(source: &Source) -> usize {
    if source.is_test_file() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX }
}

#[test]
fn every_function_fits_a_screen() {
    report(&sources().iter().filter(|source| !source.is_test_file()).flat_map(long_functions).collect::<Vec<_>>());
}

fn long_functions(source: &Source) -> Vec<String> {
    let listed = |name: &str| LONG_FUNCTIONS.iter().any(|(place, _)| *place == format!("{}#{name}", source.file));
    functions(&source.code)
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX && !listed(&function.name))
        .map(|function| {
            format!(
                "{}:{}: `{}` has {} lines, over {FUNCTION_LINES_MAX}.\n  Why: a function is read on one screen. What to \
                 do: keep the branching here and move what each branch does into functions below.",
                source.file, function.line, function.name, function.lines
            )
        })
        .collect()
}

#[test]
fn nothing_panics_outside_tests_and_no_test_is_left_out() {
    report(&sources().iter().flat_map(forbidden_words).collect::<Vec<_>>());
}

fn forbidden_words(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (index, line) in source.with_tests.lines().enumerate() {
        if line.contains("#[ignore") {
            findings.push(format!(
                "{}:{}: `#[ignore]`.\n  Why: a test that does not run protects nothing. What to do: make it run \
                 everywhere, or remove it.",
                source.file,
                index + 1
            ));
        }
    }
    if source.is_test_file() {
        return findings;
    }
    for (index, line) in source.code.lines().enumerate() {
        for word in [".unwrap()", ".expect("] {
            if line.contains(word) {
                findings.push(format!(
                    "{}:{}: `{word}` outside a test.\n  Why: one surprising value would stop every conversation. What \
                     to do: return an error, or choose a type that cannot be wrong.",
                    source.file,
                    index + 1
                ));
            }
        }
    }
    findings
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |dialect: &str| -> BTreeSet<String> {
        entries(&root().join("crates/micai/migrations").join(dialect))
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    let (postgres, sqlite) = (names("postgres"), names("sqlite"));
    let odd: Vec<&String> = postgres.symmetric_difference(&sqlite).collect();
    assert!(
        odd.is_empty(),
        "{odd:?} stand in only one of migrations/postgres and migrations/sqlite.\n  Why: one version number must mean \
         one schema. What to do: write the same number and name for the other database."
    );
    let numbers: BTreeSet<&str> =
        postgres.iter().filter_map(|name| name.split_once('_')).map(|(number, _)| number).collect();
    assert_eq!(
        numbers.len(),
        postgres.len(),
        "two migrations share a number, or a name is not NNNN_name.sql: {postgres:?}.\n  What to do: renumber the newer."
    );
}

#[test]
fn the_readme_explains_every_setting() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let defaults = fs::read_to_string(root().join("crates/micai/config.default.toml")).unwrap();
    let keys = defaults.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let words: BTreeSet<&str> =
        readme.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).collect();
    let missing: Vec<String> = keys
        .map(|(key, _)| format!("MICAI_{}", key.to_ascii_uppercase()))
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "README.md does not mention {missing:?}.\n  Why: its table is where an operator looks for settings. What to do: \
         add a row for each, or remove the key from config.default.toml."
    );
}

#[test]
fn the_map_has_a_row_for_every_module_and_fits() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows: String = map.lines().filter(|line| line.starts_with("| `")).collect();
    let missing: BTreeSet<String> = sources()
        .iter()
        .filter_map(|source| Some(module_path(&source.file)?[0].to_owned()))
        .filter(|module| !rows.contains(&format!("`{module}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md has no row for {missing:?}.\n  Why: it is the map, and who looks for a thing starts there. What to \
         do: say in its table of modules what each does and what it may name."
    );
    let lines = map.lines().count();
    assert!(
        lines <= MAP_LINES_MAX,
        "ARCHITECTURE.md has {lines} lines, over {MAP_LINES_MAX}: move what is detail to docs/"
    );
}

#[test]
fn the_http_reference_names_every_code() {
    let call = r"\b(?:bad_request|forbidden|not_found|conflict|unprocessable|unavailable|into_result|refuse|new)";
    let code = Regex::new(&format!(r#"{call}\(\s*(?:StatusCode::\w+,\s*)?"([a-z_]+)""#)).unwrap();
    let reference = fs::read_to_string(root().join("docs/http.md")).unwrap();
    let named: Vec<&str> = reference.split('`').skip(1).step_by(2).collect();
    // `rule_…` and `…_not_found` stand for all that begin or end so.
    let is_named = |code: &str| {
        named.iter().any(|name| match name.split_once('…') {
            Some((start, end)) => start.len() + end.len() > 1 && code.starts_with(start) && code.ends_with(end),
            None => *name == code,
        })
    };
    let http = sources().into_iter().filter(|source| source.file.contains("micai/src/http/") && !source.is_test_file());
    let codes: BTreeSet<String> = http
        .flat_map(|source| code.captures_iter(&source.text).map(|found| found[1].to_owned()).collect::<Vec<_>>())
        .collect();
    assert!(codes.len() > 40, "tidy found {} codes only: it looks for them in the wrong way", codes.len());
    let missing: Vec<&String> = codes.iter().filter(|code| !is_named(code)).collect();
    assert!(
        missing.is_empty(),
        "docs/http.md does not name {missing:?}.\n  Why: programs go by the codes of refusals, and its table lists them. \
         What to do: add each to the row of its status."
    );
}

#[test]
fn the_lists_of_exceptions_hold_only_what_is_needed() {
    let sources = sources();
    for (file, reason) in LONG_FILES {
        let long = sources.iter().any(|source| source.file == *file && source.text.lines().count() > FILE_LINES_MAX);
        assert!(long && !reason.is_empty(), "LONG_FILES: {file} is short or gone, or has no reason: remove the row");
    }
    for (place, reason) in LONG_FUNCTIONS {
        let (file, name) = place.split_once('#').unwrap();
        let long = sources.iter().filter(|source| source.file == file).any(|source| {
            functions(&source.code).iter().any(|function| function.name == name && function.lines > FUNCTION_LINES_MAX)
        });
        assert!(long && !reason.is_empty(), "LONG_FUNCTIONS: {place} is short or gone: remove the row");
    }
}

/// The checks themselves: code that breaks a rule is found, code that only looks like it is not.
mod the_checks {
    use super::*;

    fn source(file: &str, text: &str) -> Source {
        Source::new(file.to_owned(), text.to_owned())
    }

    #[test]
    fn find_edges_however_they_are_written() {
        for (file, text, expected) in [
            ("http/admin/rules.rs", "use crate::llm::Llm;", 1),
            ("http/admin/rules.rs", "use crate::{store::Store, llm::{self, Llm}, domain};", 1),
            ("http/admin/rules.rs", "use super::super::super::llm::Llm;", 1),
            ("http/admin/rules.rs", "use super::super::store_page;", 0),
            ("http/admin/rules.rs", "fn f() { crate::transport::send() }", 1),
            ("http/admin/rules.rs", "use crate::agent::triggers::Matcher;", 0),
            ("http/admin/rules.rs", "use crate::agent::{triggers, brain};", 1),
            ("http/mod.rs", "use super::sender::deliver;", 1),
            ("agent/mod.rs", "use crate::store::Store;", 1),
            ("agent/mod.rs", "use whatsapp::Message;", 1),
            ("agent/mod.rs", "use crate::domain::agent::Agent;", 0),
            ("agent/mod.rs", "// crate::store is not for us\nconst A: &str = \"crate::store::X\";", 0),
            ("agent/mod.rs", "#[cfg(test)]\nmod tests { use crate::store::Store; }", 0),
            ("agent/tests.rs", "use crate::store::Store;", 0),
            ("clock.rs", "use crate::domain::agent::Agent;", 1),
            ("transport/mod.rs", "use whatsapp::Client;", 0),
            ("transport/mod.rs", "use simulator::Simulator;", 1),
            ("app.rs", "use crate::{store, llm}; use whatsapp::Client;", 0),
            ("app.rs", "use simulator::Simulator;", 1),
            ("dev.rs", "use simulator::Simulator;", 0),
            ("surprise.rs", "use crate::domain::agent;", 1),
        ] {
            let findings = edge_findings(&source(&format!("crates/micai/src/{file}"), text));
            assert_eq!(findings.len(), expected, "{file}: {text}\n{findings:?}");
        }
    }

    #[test]
    fn find_what_is_forbidden_and_nothing_that_only_looks_like_it() {
        for (file, text, expected) in [
            ("a.rs", "fn f() { x.unwrap(); y.expect(\"z\"); }", 2),
            ("a.rs", "fn f() { x.unwrap_or(1); expect(2); let s = \".unwrap()\"; /* .unwrap() */ }", 0),
            ("a.rs", "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' } fn g() { x.unwrap() }", 1),
            ("a.rs", "const R: &str = r#\" \"quoted\" .unwrap() \"#;", 0),
            ("a.rs", "#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }\nfn g() { y.unwrap() }", 1),
            ("tests.rs", "fn f() { x.unwrap() }", 0),
            ("a.rs", "#[cfg(test)]\nmod tests { #[test]\n#[ignore = \"slow\"]\nfn f() {} }", 1),
        ] {
            let findings = forbidden_words(&source(&format!("crates/micai/src/{file}"), text));
            assert_eq!(findings.len(), expected, "{text}\n{findings:?}");
        }
    }

    #[test]
    fn measure_functions_from_their_name_to_their_last_brace() {
        let body = "    step();\n".repeat(FUNCTION_LINES_MAX - 2);
        let fits = format!("fn fits() {{\n{body}}}\n");
        let long = format!("{fits}impl X {{\nfn long(\n) -> [u8; 2] {{\n{body}}}\nfn declared();\n}}\n");
        assert!(long_functions(&source("crates/micai/src/a.rs", &fits)).is_empty());
        let findings = long_functions(&source("crates/micai/src/a.rs", &long));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains(":72: `long` has 71 lines"), "{findings:?}");
    }
}
