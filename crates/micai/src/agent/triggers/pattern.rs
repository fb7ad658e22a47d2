//! Regular expressions of operators: linear time, bounded size, faults told with their place.

use regex::{Regex, RegexBuilder};

use super::normalise::normalise_literals;
use super::rule_error::RuleError;

/// The most bytes one regular expression may compile to, and the most its lazily built tables may take.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// Compiles an expression to be run over normalised text: case is ignored, and its letters are spelt as that text
/// spells them.
///
/// # Errors
/// [`RuleError::BadPattern`] with the column, [`RuleError::PatternTooBig`], or [`RuleError::ControlCharacter`]: none
/// is left in normalised text but as `\s`, so a line break typed into a pattern is a slip.
pub(super) fn compile_pattern(field: &str, pattern: &str) -> Result<Regex, RuleError> {
    let field = field.to_owned();
    if let Some((place, character)) = pattern.chars().enumerate().find(|(_, character)| character.is_control()) {
        return Err(RuleError::ControlCharacter { field, code_point: character.into(), column: place + 1 });
    }
    RegexBuilder::new(&normalise_literals(pattern))
        .case_insensitive(true)
        .size_limit(PATTERN_COMPILED_BYTES_MAX)
        .dfa_size_limit(PATTERN_COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit_bytes) => RuleError::PatternTooBig { field, limit_bytes },
            other => {
                let (column, reason) = place_of_fault(&other.to_string());
                RuleError::BadPattern { field, reason, column }
            }
        })
}

/// Whether an expression would compile.
pub(super) fn validate_pattern(field: &str, pattern: &str) -> Result<(), RuleError> {
    compile_pattern(field, pattern).map(|_| ())
}

/// The column and the reason of a syntax error. The crate tells the place only in its message: the pattern indented
/// by four, a line with `^` under the fault, then `error: …`. Where a fault names two places, as a repeated group name
/// does, the later one is at fault.
fn place_of_fault(message: &str) -> (usize, String) {
    const INDENT: usize = 4;
    let reason = message.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(message);
    let marks = message.lines().find(|line| line.contains('^') && line.chars().all(|mark| matches!(mark, ' ' | '^')));
    let marked = marks.unwrap_or_default();
    let fault = marked.trim_end_matches('^').chars().count();
    (fault.saturating_sub(INDENT) + 1, reason.trim().to_owned())
}
