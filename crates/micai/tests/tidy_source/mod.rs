//! How `tidy` reads Rust: text without comments, strings and tests; paths and functions in it. No parser: rough, and
//! enough for what is checked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;

use regex::Regex;

/// Comments, strings, character literals. Compiled once: a debug build is slow at that.
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?s)//[^\n]*|/\*.*?\*/"#,
        r##"|\bb?r"[^"]*"|\bb?r#".*?"#|\bb?r#{2}".*?"#{2}"##,
        r#"|b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\\n]|\\(?:u\{[0-9a-fA-F_]+\}|x..|.))'"#,
    ))
    .unwrap()
});
static TEST_ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"#\[cfg\((?:test|all\(test[^\]]*)\)\]").unwrap());
static FUNCTION_HEAD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bfn\s+([A-Za-z_][A-Za-z0-9_]*)").unwrap());
static PATH_START: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^:\w\s.]|[^:\s]\s+)(crate|(?:super\s*::\s*)*super|whatsapp|simulator)\s*::\s*").unwrap()
});

/// One file.
pub struct Source {
    /// Its path from the workspace's root.
    pub file: String,
    /// As it stands there.
    pub text: String,
    /// Comments and what stands in strings are blank; lines are where they were.
    pub with_tests: String,
    /// As `with_tests`, and items under `#[cfg(test)]` are blank, too.
    pub code: String,
}

/// One function with a body.
pub struct Function {
    pub name: String,
    /// Where its `fn` stands, from 1.
    pub line: usize,
    /// From `fn` to the last brace.
    pub lines: usize,
}

impl Source {
    pub fn new(file: String, text: String) -> Self {
        let with_tests = without_words(&text);
        let code = without_tests(&with_tests);
        Self { file, text, with_tests, code }
    }

    /// Whether the whole file is a test.
    pub fn is_test_file(&self) -> bool {
        self.file.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
    }
}

/// Blanks comments and what stands in strings and character literals.
fn without_words(text: &str) -> String {
    WORDS.replace_all(text, |found: &regex::Captures<'_>| blank(&found[0])).into_owned()
}

fn without_tests(code: &str) -> String {
    let mut text = code.to_owned();
    while let Some(found) = TEST_ATTRIBUTE.find(&text) {
        let end = item_end(&text, found.end());
        let range = found.start()..end;
        let blanked = blank(&text[range.clone()]);
        text.replace_range(range, &blanked);
    }
    text
}

/// Spaces for everything but line ends.
fn blank(text: &str) -> String {
    text.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect()
}

/// Behind the `;` or the closing brace that ends the item at `start`.
fn item_end(code: &str, start: usize) -> usize {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (offset, letter) in code[start..].char_indices() {
        match letter {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return start + offset + 1,
            '}' => braces -= 1,
            ';' if braces == 0 && brackets == 0 => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Every function in `code` that has a body.
pub fn functions(code: &str) -> Vec<Function> {
    FUNCTION_HEAD
        .captures_iter(code)
        .filter_map(|found| {
            let (start, name) = (found.get(0)?.start(), found[1].to_owned());
            let end = item_end(code, start);
            code[..end].ends_with('}').then(|| Function {
                name,
                line: line_of(code, start),
                lines: code[start..end].matches('\n').count() + 1,
            })
        })
        .collect()
}

/// Every path in `code` from our own crates, from the root of its crate, at most three parts each: `crate::…` and
/// `super::…` as they resolve inside `module`, and `whatsapp` and `simulator` in capitals.
pub fn paths_of(code: &str, module: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    for found in PATH_START.captures_iter(code) {
        let (whole, first) = (found.get(0).unwrap(), found.get(1).unwrap());
        let base: Vec<String> = match first.as_str() {
            "crate" => Vec::new(),
            name @ ("whatsapp" | "simulator") => vec![name.to_uppercase()],
            supers => {
                let kept = module.len().saturating_sub(supers.matches("super").count());
                module[..kept].iter().map(|part| (*part).to_owned()).collect()
            }
        };
        let mut ends = Vec::new();
        use_tree(&code[whole.end()..], base, &mut ends);
        let line = line_of(code, first.start());
        // A capital is an item of the root itself, a `!` a macro: no edge between modules.
        let is_module =
            |path: &Vec<String>| path.first().is_some_and(|name| !name.ends_with('!') && is_known_case(name));
        paths.extend(ends.into_iter().filter(is_module).map(|path| (line, path)));
    }
    paths
}

fn is_known_case(name: &str) -> bool {
    matches!(name, "WHATSAPP" | "SIMULATOR") || name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
}

/// Reads `a::{b, c::d}` and adds each path below `base`; what follows is left. Gives the rest of the text.
fn use_tree<'a>(text: &'a str, base: Vec<String>, ends: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = use_tree(rest, base.clone(), ends).trim_start();
            match rest.strip_prefix(',') {
                Some(after) if !after.trim_start().starts_with('}') => rest = after,
                Some(after) => return after.trim_start().strip_prefix('}').unwrap_or(after),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = base;
    if !matches!(name, "" | "self") {
        path.push(if rest.starts_with('!') { format!("{name}!") } else { name.to_owned() });
    }
    match rest.trim_start().strip_prefix("::") {
        Some(below) if path.len() < 3 => use_tree(below, path, ends),
        _ => {
            ends.push(path);
            skip_to_separator(rest)
        }
    }
}

/// What follows the next `,` or `}` of this level, with that sign.
fn skip_to_separator(text: &str) -> &str {
    let mut braces = 0_usize;
    for (offset, letter) in text.char_indices() {
        match letter {
            '{' => braces += 1,
            '}' if braces > 0 => braces -= 1,
            ',' | '}' if braces == 0 => return &text[offset..],
            ';' => return &text[offset..],
            _ => {}
        }
    }
    ""
}

fn line_of(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}
