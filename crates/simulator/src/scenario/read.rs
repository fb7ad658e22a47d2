//! Reads scenario files, strictly: whatever is not understood is named with its place.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::file::{Action, ExpectReply, ExpectStatus, Scenario, ScenarioError, ScenarioPhone, Sender, Step};
use crate::view::BubbleStatus;

/// A larger file is a mistake, not a script.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Phones in one scenario.
const PHONES_MAX: usize = 100;
/// Steps in one scenario.
const STEPS_MAX: usize = 1_000;
/// How long an expectation waits when its step does not say.
const WITHIN_DEFAULT: Duration = Duration::from_secs(10);
/// How long "no reply" watches when its step does not say.
const SILENCE_DEFAULT: Duration = Duration::from_secs(2);
/// The longest that an expectation may wait.
const WITHIN_MAX: Duration = Duration::from_secs(600);
/// The keys of which a step has exactly one.
const VERBS: [&str; 9] =
    ["say", "tap", "send", "read", "expect_reply", "expect_no_reply", "expect_status", "advance_clock", "fault"];
impl Scenario {
    /// Reads a scenario from a file of at most 1 MiB.
    pub fn from_file(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let unreadable = |source| ScenarioError::Unreadable { file: file.clone(), source };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > FILE_BYTES_MAX {
            return Err(unreadable(std::io::Error::other(format!(
                "{length} bytes, at most {FILE_BYTES_MAX} are read"
            ))));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&file, &text)
    }

    /// Reads a scenario from text; `file` is the name that errors use.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| ScenarioError::Syntax {
            file: file.to_owned(),
            message: error.to_string(),
        })?;
        let head =
            |key: &str, reason: String| ScenarioError::Head { file: file.to_owned(), key: key.to_owned(), reason };
        if let Some(unknown) = table.keys().find(|key| !["name", "about", "phones", "steps"].contains(&key.as_str())) {
            return Err(head(unknown, "unknown; a scenario has name, about, phones and steps".to_owned()));
        }
        let name: String = required(&table, "name").map_err(|reason| head("name", reason))?;
        let phones = read_phones(&table).map_err(|(key, reason)| head(&key, reason))?;
        let steps: Vec<Table> = required(&table, "steps").map_err(|reason| head("steps", reason))?;
        if steps.is_empty() || steps.len() > STEPS_MAX {
            return Err(head("steps", format!("has {} steps, 1 to {STEPS_MAX} are allowed", steps.len())));
        }
        let steps = steps.iter().enumerate().map(|(index, table)| {
            read_step(table, &phones).map_err(|(key, reason)| ScenarioError::Step {
                file: file.to_owned(),
                step: index + 1,
                key,
                reason,
            })
        });
        Ok(Self { name, steps: steps.collect::<Result<_, _>>()?, phones })
    }
}

/// A key and what is wrong with it.
type Problem = (String, String);

fn problem(key: &str, reason: impl Into<String>) -> Problem {
    (key.to_owned(), reason.into())
}

fn required<T: DeserializeOwned>(table: &Table, key: &str) -> Result<T, String> {
    convert(table.get(key).ok_or("is missing")?)
}

fn convert<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    value.clone().try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

fn read_phones(table: &Table) -> Result<Vec<ScenarioPhone>, Problem> {
    let found: Vec<Value> = required(table, "phones").map_err(|reason| problem("phones", reason))?;
    if found.is_empty() || found.len() > PHONES_MAX {
        return Err(problem("phones", format!("has {} phones, 1 to {PHONES_MAX} are allowed", found.len())));
    }
    let mut phones: Vec<ScenarioPhone> = Vec::new();
    for (index, one) in found.iter().enumerate() {
        let key = format!("phones[{}]", index + 1);
        let phone: ScenarioPhone = convert(one).map_err(|reason| problem(&key, reason))?;
        if phones.iter().any(|other| other.name == phone.name) {
            return Err(problem(&key, format!("there are two phones named `{}`", phone.name)));
        }
        phones.push(phone);
    }
    Ok(phones)
}

fn read_step(table: &Table, phones: &[ScenarioPhone]) -> Result<Step, Problem> {
    if let Some(unknown) = table.keys().find(|key| *key != "phone" && !VERBS.contains(&key.as_str())) {
        return Err(problem(unknown, format!("unknown; a step has `phone` and one of {}", VERBS.join(", "))));
    }
    let mut verbs = table.keys().filter(|key| *key != "phone");
    let verb =
        verbs.next().ok_or_else(|| problem("phone", format!("stands alone; add one of {}", VERBS.join(", "))))?;
    if let Some(second) = verbs.next() {
        return Err(problem(second, format!("a step does one thing, and this one has `{verb}` too")));
    }
    let action = read_action(verb, &table[verb.as_str()]).map_err(|reason| problem(verb, reason))?;
    let phone = match table.get("phone") {
        Some(name) => {
            let name: String = convert(name).map_err(|reason| problem("phone", reason))?;
            let place = phones.iter().position(|phone| phone.name == name);
            Some(place.ok_or_else(|| problem("phone", format!("there is no phone named `{name}`")))?)
        }
        None if matches!(action, Action::AdvanceClock(_) | Action::Fault(_)) => None,
        None if phones.len() == 1 => Some(0),
        None => return Err(problem("phone", "is missing; the scenario has several phones")),
    };
    Ok(Step { phone, action })
}

fn read_action(verb: &str, value: &Value) -> Result<Action, String> {
    match verb {
        "say" => Ok(Action::Say(convert(value)?)),
        "tap" => Ok(Action::Tap(convert(value)?)),
        "send" => Ok(Action::Send(Box::new(strict(value)?))),
        "read" if value.as_bool() == Some(true) => Ok(Action::Read),
        "read" => Err("must be `true`".to_owned()),
        "expect_reply" => read_expect_reply(value),
        "expect_no_reply" => {
            let Within { within } = convert(value)?;
            Ok(Action::ExpectNoReply(duration(within, SILENCE_DEFAULT)?))
        }
        "expect_status" => read_expect_status(value),
        "advance_clock" => {
            let text: String = convert(value)?;
            Ok(Action::AdvanceClock(parse_duration(&text)?))
        }
        _ => Ok(Action::Fault(strict(value)?)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Within {
    within: Option<String>,
}

fn read_expect_reply(value: &Value) -> Result<Action, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        contains: Option<String>,
        equals: Option<String>,
        kind: Option<String>,
        within: Option<String>,
    }
    let Wanted { contains, equals, kind, within } = convert(value)?;
    let within = duration(within, WITHIN_DEFAULT)?;
    Ok(Action::ExpectReply(ExpectReply { contains, equals, kind, within }))
}

fn read_expect_status(value: &Value) -> Result<Action, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        status: BubbleStatus,
        #[serde(default)]
        of: Sender,
        code: Option<u32>,
        within: Option<String>,
    }
    let Wanted { status, of, code, within } = convert(value)?;
    if code.is_some() && status != BubbleStatus::Failed {
        return Err("`code` goes only with status `failed`".to_owned());
    }
    Ok(Action::ExpectStatus(ExpectStatus { status, of, code, within: duration(within, WITHIN_DEFAULT)? }))
}

fn duration(text: Option<String>, default: Duration) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(default) };
    let duration = parse_duration(&text)?;
    if duration > WITHIN_MAX {
        return Err(format!("`{text}` is longer than the {} s that a step may wait", WITHIN_MAX.as_secs()));
    }
    Ok(duration)
}

/// A span such as `500ms`, `10s`, `25h` or `1d 2h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a span of time; write one such as `500ms`, `10s` or `25h`");
    let span: jiff::Span = text.parse().map_err(|_| refused())?;
    let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| refused())?;
    Duration::try_from(signed).map_err(|_| refused())
}

/// Reads a shape of the control API and refuses keys that it does not know: their serde shapes are flattened, so that
/// they cannot refuse by themselves.
fn strict<T: DeserializeOwned + Serialize>(value: &Value) -> Result<T, String> {
    let read: T = convert(value)?;
    let known = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    let given = value.as_table().ok_or("must be a table")?;
    match given.iter().find(|(key, value)| known.get(key.as_str()).is_none() && value.as_bool() != Some(false)) {
        Some((key, _)) => Err(format!("`{key}` is unknown here")),
        None => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::view::{FaultKind, FaultOn, FaultSpec, InboundKind, PhoneKind};

    const HEAD: &str = "name = \"x\"\n[[phones]]\nname = \"Ana\"\n[[phones]]\nname = \"Bo\"\nkind = \"username\"\n";

    fn with_step(step: &str) -> String {
        format!("{HEAD}[[steps]]\nphone = \"Ana\"\nsay = \"hi\"\n[[steps]]\n{step}\n")
    }

    #[test]
    fn each_kind_of_step_is_read() {
        let table: &[(&str, Action)] = &[
            ("say = 'hi'", Action::Say("hi".to_owned())),
            ("tap = 'Yes'", Action::Tap("Yes".to_owned())),
            ("read = true", Action::Read),
            ("expect_no_reply = {}", Action::ExpectNoReply(SILENCE_DEFAULT)),
            ("expect_no_reply = { within = '500ms' }", Action::ExpectNoReply(Duration::from_millis(500))),
            ("advance_clock = '1d 2h'", Action::AdvanceClock(Duration::from_secs(26 * 3_600))),
            (
                "expect_status = { status = 'failed', code = 131047, of = 'person' }",
                Action::ExpectStatus(ExpectStatus {
                    status: BubbleStatus::Failed,
                    of: Sender::Person,
                    code: Some(131_047),
                    within: WITHIN_DEFAULT,
                }),
            ),
            (
                "fault = { on = 'send', kind = 'status', code = 503, times = 2 }",
                Action::Fault(FaultSpec {
                    on: FaultOn::Send,
                    kind: FaultKind::Status { code: 503, after_accepting: false },
                    times: 2,
                    phone: None,
                }),
            ),
            (
                "send = { type = 'reaction', message_id = 'last', emoji = 'x' }",
                Action::Send(Box::new(
                    InboundKind::Reaction { message_id: "last".to_owned(), emoji: Some("x".to_owned()) }.into(),
                )),
            ),
            (
                "expect_reply = { contains = 'a', kind = 'text', within = '2s' }",
                Action::ExpectReply(ExpectReply {
                    contains: Some("a".to_owned()),
                    equals: None,
                    kind: Some("text".to_owned()),
                    within: Duration::from_secs(2),
                }),
            ),
        ];
        for (step, wanted) in table {
            let scenario = Scenario::parse("x.toml", &with_step(&format!("phone = 'Bo'\n{step}"))).unwrap();
            assert_eq!(scenario.steps[1], Step { phone: Some(1), action: wanted.clone() }, "{step}");
        }
    }

    #[test]
    fn a_bad_file_names_file_step_and_key() {
        let bo = |step: &str| with_step(&format!("phone = 'Bo'\n{step}"));
        let table: &[(String, &str)] = &[
            (bo("sya = 'hi'"), "x.toml: step 2: key `sya`: unknown; a step has `phone` and one of say, "),
            (
                bo("say = 'hi'\ntap = 'x'"),
                "x.toml: step 2: key `tap`: a step does one thing, and this one has `say` too",
            ),
            (bo("say = 5"), "x.toml: step 2: key `say`: invalid type"),
            (bo(""), "x.toml: step 2: key `phone`: stands alone"),
            (bo("expect_reply = { contians = 'x' }"), "x.toml: step 2: key `expect_reply`: unknown field `contians`"),
            (
                bo("expect_reply = { within = '11m' }"),
                "x.toml: step 2: key `expect_reply`: `11m` is longer than the 600 s",
            ),
            (bo("expect_status = { status = 'red' }"), "x.toml: step 2: key `expect_status`: unknown variant `red`"),
            (bo("expect_status = { status = 'read', code = 1 }"), "`code` goes only with status `failed`"),
            (bo("advance_clock = 'soon'"), "x.toml: step 2: key `advance_clock`: `soon` is not a span of time"),
            (bo("advance_clock = '-1h'"), "`-1h` is not a span of time"),
            (
                bo("fault = { on = 'send', kind = 'drop_answer', tims = 2 }"),
                "x.toml: step 2: key `fault`: `tims` is unknown here",
            ),
            (
                bo("send = { type = 'text', text = 'x', reply = 'y' }"),
                "x.toml: step 2: key `send`: `reply` is unknown here",
            ),
            (bo("read = false"), "x.toml: step 2: key `read`: must be `true`"),
            (with_step("say = 'hi'"), "x.toml: step 2: key `phone`: is missing; the scenario has several phones"),
            (with_step("phone = 'Eve'\nsay = 'hi'"), "x.toml: step 2: key `phone`: there is no phone named `Eve`"),
            (HEAD.to_owned(), "x.toml: key `steps`: is missing"),
            (format!("{HEAD}steps = []"), "x.toml: key `phones[2]`: "),
            (
                with_step("say = 'hi'").replace("\"Bo\"", "\"Ana\""),
                "x.toml: key `phones[2]`: there are two phones named `Ana`",
            ),
            (with_step("say = 'hi'").replace("username", "fax"), "x.toml: key `phones[2]`: unknown variant `fax`"),
            (format!("colour = 1\n{}", bo("say = 'x'")), "x.toml: key `colour`: unknown"),
            ("name = ".to_owned(), "x.toml: not valid TOML: "),
        ];
        for (text, wanted) in table {
            let said = Scenario::parse("x.toml", text).unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}\n does not contain: {wanted}\n{text}");
        }
    }

    #[test]
    fn a_single_phone_need_not_be_named_and_defaults_to_a_number() {
        let scenario =
            Scenario::parse("x.toml", "name='x'\nphones=[{name='Ana'}]\nsteps=[{say='hi'},{advance_clock='1h'}]")
                .unwrap();
        assert_eq!(scenario.phones[0].kind, PhoneKind::Phone);
        assert_eq!(scenario.steps.iter().map(|step| step.phone).collect::<Vec<_>>(), [Some(0), None]);
    }

    #[test]
    fn a_file_that_is_missing_or_too_large_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.toml");
        assert!(Scenario::from_file(&path).unwrap_err().to_string().contains("none.toml: cannot be read"));
        let length = usize::try_from(FILE_BYTES_MAX).unwrap() + 1;
        std::fs::write(&path, vec![b'#'; length]).unwrap();
        assert!(Scenario::from_file(&path).unwrap_err().to_string().contains("at most 1048576 are read"));
    }

    #[test]
    fn the_shipped_scenarios_are_good() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 4);
        for file in files {
            Scenario::from_file(&file).unwrap();
        }
    }
}
