//! `micai dlq`: dead letters at the command line, straight from the database. The same verbs as `/admin/letters`.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{open_existing_store, system_user};
use crate::app::sending_rules;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::audit::Actor;
use crate::domain::letter::{
    ACTION_REASON_CHARACTERS_MAX, Chosen, GroupName, LETTER_IDS_MAX, RepairReport, ReplayTerms,
};
use crate::domain::outbound::MessageBody;
use crate::domain::template::{TemplateUse, TextValue};
use crate::letters::{ExplainedGroup, ExplainedLetter, explain_group, explain_letter};
use crate::store::{Store, Story};
use crate::templates::fitting;

/// Characters of a message that a table shows.
const SHOWN_CHARACTERS_MAX: usize = 48;
/// Languages of one template that are looked at.
const LANGUAGES_MAX: i64 = 200;
/// Columns of running text.
const TEXT_COLUMNS: usize = 96;

/// What `micai dlq` does.
#[derive(Debug, Clone, Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    action: DlqAction,
    /// Print JSON, as the admin API answers it.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum DlqAction {
    /// List the groups of dead letters with why they died and what would help, or the letters of one group.
    List {
        /// List the letters of this group, such as `outbound:131026`.
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// How many lines at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
        limit: u32,
    },
    /// Show one letter: why it died, what would help, each call, each status, what was done about it.
    Show {
        /// The message.
        #[arg(value_parser = letter_id)]
        id: Uuid,
    },
    /// Queue letters again. Says only what would happen, unless --yes is given.
    Replay(ReplayArgs),
    /// Put letters away with a reason. Says only what would happen, unless --yes is given.
    Discard {
        #[command(flatten)]
        which: WhichArgs,
        /// Why; kept with the letters.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["ids", "group"])))]
struct WhichArgs {
    /// The letters, at most 1,000.
    #[arg(value_name = "ID")]
    #[arg(value_parser = letter_id)]
    ids: Vec<Uuid>,
    /// All letters of this group, the oldest first, at most 10,000 at a time.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

fn letter_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| "it is no id of a letter: take it from `micai dlq list --group GROUP`".to_owned())
}

#[derive(Debug, Clone, Args)]
struct ReplayArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Letters older than 24 hours go, too.
    #[arg(long)]
    older_than_ok: bool,
    /// Send this template in place of words that the 24-hour window no longer lets through.
    #[arg(long, value_name = "NAME:LANGUAGE")]
    template: Option<String>,
    /// A value of the template's body; once for each variable, in their order.
    #[arg(long, requires = "template", conflicts_with = "named_value", value_name = "TEXT")]
    value: Vec<String>,
    /// A value of the template's body by the name of its variable.
    #[arg(long, requires = "template", value_name = "NAME=TEXT")]
    named_value: Vec<String>,
    /// The template takes the place of all letters, also of those that could go as they are.
    #[arg(long, requires = "template")]
    template_for_all: bool,
}

/// Does what was asked for and prints what came of it.
///
/// # Errors
/// A sentence about what could not be understood, reached or done.
pub async fn run(args: &DlqArgs, config: &Config) -> anyhow::Result<()> {
    let store = open_existing_store(config).await?;
    let said = act(args, config, &store).await;
    store.close().await;
    // A closed pipe, as from `micai dlq list | head`, is not our error.
    let _ = std::io::stdout().write_all(said?.as_bytes());
    Ok(())
}

async fn act(args: &DlqArgs, config: &Config, store: &Store) -> anyhow::Result<String> {
    if !store.schema_status().await?.is_current() {
        bail!("the schema of the database is not that of this program: `micai migrate status` shows how far it is");
    }
    match &args.action {
        DlqAction::List { group: None, limit } => {
            let groups = store.letter_groups(None, usize::try_from(*limit)?).await?;
            let groups: Vec<ExplainedGroup> = groups.into_iter().map(explain_group).collect();
            shown(args.json, &groups, groups_text)
        }
        DlqAction::List { group: Some(group), limit } => {
            let letters = store.letters(&group_name(group)?, None, i64::from(*limit)).await?;
            let letters: Vec<ExplainedLetter> = letters.into_iter().map(explain_letter).collect();
            shown(args.json, &letters, letters_text)
        }
        DlqAction::Show { id } => {
            let letter = store.letter(*id).await?;
            let letter = letter.context("there is no dead letter of this id, or it is none any more")?;
            let story = store.story(letter.conversation_id, letter.id).await?;
            let detail = Detail { letter: explain_letter(letter), story };
            shown(args.json, &detail, detail_text)
        }
        DlqAction::Replay(replay) => {
            let rules = sending_rules(config);
            if replay.which.yes && !rules.outbound_enabled {
                bail!(
                    "outbound is switched off, so these letters would go nowhere: set MICAI_OUTBOUND_REPLY_ENABLED=true"
                );
            }
            let terms = ReplayTerms {
                dry_run: !replay.which.yes,
                older_than_ok: replay.older_than_ok,
                template: template(replay, config, store).await?,
                template_for_all: replay.template_for_all,
                window_seconds: rules.window_seconds,
                now: SystemClock.now(),
            };
            let repaired = store.replay_letters(&chosen(&replay.which)?, &terms, &actor()).await?;
            shown(args.json, &repaired.report.conclude(REPEAT), |report| report_text(report, "replayed"))
        }
        DlqAction::Discard { which, reason } => {
            check_reason(reason)?;
            let repaired = store.discard_letters(&chosen(which)?, reason.trim(), &actor(), !which.yes).await?;
            shown(args.json, &repaired.report.conclude(REPEAT), |report| report_text(report, "put away"))
        }
    }
}

const REPEAT: &str = "Give --yes to do it.";

/// As over HTTP. An argument holds no U+0000: the system ends it there.
fn check_reason(reason: &str) -> anyhow::Result<()> {
    let characters = reason.chars().count();
    if reason.trim().is_empty() {
        bail!("--reason is blank: say why, for whoever reads this later");
    }
    if characters > ACTION_REASON_CHARACTERS_MAX {
        bail!("--reason has {characters} characters: shorten it to {ACTION_REASON_CHARACTERS_MAX}");
    }
    Ok(())
}

/// A letter with its whole story.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    letter: ExplainedLetter,
    #[serde(flatten)]
    story: Story,
}

fn actor() -> Actor {
    Actor::command_line(&system_user())
}

fn group_name(name: &str) -> anyhow::Result<GroupName> {
    GroupName::parse(name).with_context(|| {
        format!("{name:?} is no group of letters: take it from `micai dlq list`, such as outbound:131026")
    })
}

fn chosen(which: &WhichArgs) -> anyhow::Result<Chosen> {
    if which.ids.len() > LETTER_IDS_MAX {
        bail!("{} letters are named; at most {LETTER_IDS_MAX} are allowed at once", which.ids.len());
    }
    match &which.group {
        Some(group) => Ok(Chosen::Group(group_name(group)?)),
        None => Ok(Chosen::Ids(which.ids.clone())),
    }
}

async fn template(replay: &ReplayArgs, config: &Config, store: &Store) -> anyhow::Result<Option<MessageBody>> {
    let Some(template) = &replay.template else { return Ok(None) };
    let parts = template.split_once(':').filter(|(name, language)| !name.is_empty() && !language.is_empty());
    let (name, language) = parts.context("--template must be NAME:LANGUAGE, such as order_ready:pt_BR")?;
    let mut template = TemplateUse::plain(name, language);
    template.body.extend(replay.value.iter().map(TextValue::numbered));
    for value in &replay.named_value {
        let (name, text) = value.split_once('=').context("--named-value must be NAME=TEXT, such as first_name=Ana")?;
        template.body.push(TextValue::named(name, text));
    }
    // Without an account no templates are known, and it goes as it is.
    let Some(waba_id) = &config.whatsapp_business_account_id else {
        return Ok(Some(MessageBody::Template { template: Box::new(template), text: None }));
    };
    let known = store.templates_named(waba_id, &template.name, LANGUAGES_MAX).await?;
    match fitting::message(known.iter().map(|row| &row.record.template), template) {
        Ok(message) => Ok(Some(message)),
        Err(wrong) => {
            let sentences: Vec<String> = wrong.into_iter().map(|fault| fault.sentence).collect();
            bail!("the template does not fit: {}", sentences.join(" "))
        }
    }
}

fn shown<T: Serialize + ?Sized>(json: bool, what: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<String> {
    Ok(if json { serde_json::to_string_pretty(what)? + "\n" } else { text(what) })
}

fn groups_text(groups: &Vec<ExplainedGroup>) -> String {
    if groups.is_empty() {
        return "There are no dead letters.\n".to_owned();
    }
    let mut rows = vec![["GROUP", "COUNT", "OLDEST", "YOUNGEST"].map(str::to_owned)];
    for group in groups {
        let oldest = time(group.oldest_at.unwrap_or(group.youngest_at));
        rows.push([group.group.clone(), group.count.clone(), oldest, time(group.youngest_at)]);
    }
    let mut lines = table(&rows).into_iter();
    let mut text = lines.next().unwrap_or_default();
    for (group, line) in groups.iter().zip(lines) {
        text.push_str(&line);
        text.push_str(&paragraph("  ", &group.explanation.cause));
        text.push_str(&paragraph("  ", &group.explanation.repair));
    }
    text + "\n`micai dlq list --group GROUP` lists the letters of a group, `micai dlq replay --group GROUP` replays them.\n"
}

fn letters_text(letters: &Vec<ExplainedLetter>) -> String {
    if letters.is_empty() {
        return "There are no letters in this group.\n".to_owned();
    }
    let mut rows = vec![["ID", "WRITTEN", "PERSON", "TRIES", "REPLAYS", "SAYS"].map(str::to_owned)];
    for ExplainedLetter { letter, .. } in letters {
        rows.push([
            letter.id.to_string(),
            time(letter.created_at),
            letter.person.clone(),
            letter.attempts.to_string(),
            letter.replays.to_string(),
            words(&letter.body),
        ]);
    }
    table(&rows).concat()
}

fn detail_text(detail: &Detail) -> String {
    let ExplainedLetter { letter, explanation } = &detail.letter;
    let person = match &letter.name {
        Some(name) => format!("{} ({name})", letter.person),
        None => letter.person.clone(),
    };
    let facts = [
        ("Letter", letter.id.to_string()),
        ("Group", letter.group().to_string()),
        ("Conversation", letter.conversation_id.to_string()),
        ("Person", person),
        ("Written", time(letter.created_at)),
        ("Last wrote", letter.last_inbound_at.map_or_else(|| "never".to_owned(), time)),
        ("Tries", format!("{}, replayed {} times", letter.attempts, letter.replays)),
        ("Says", words(&letter.body)),
    ];
    let mut text = table(&facts.map(|(name, fact)| [name.to_owned(), fact])).concat();
    for (heading, sentence) in
        [("Why", &explanation.cause), ("What helps", &explanation.repair), ("As noted then", &letter.detail)]
    {
        text.push_str(&format!("\n{heading}\n{}", paragraph("  ", sentence)));
    }
    let mut events: Vec<(Timestamp, String)> = Vec::new();
    for call in &detail.story.calls {
        let outcome = call.outcome.as_deref().unwrap_or("under way");
        events.push((call.started_at, format!("call {}: {outcome}{}", call.attempt, reason_of(call.error.as_ref()))));
    }
    for status in &detail.story.statuses {
        events.push((status.received_at, format!("status: {}{}", status.status, reason_of(status.error.as_ref()))));
    }
    for action in &detail.story.actions {
        let who = action.actor_name.as_deref().unwrap_or(&action.actor);
        events.push((action.at, format!("{} by {who}", action.action)));
    }
    events.sort_by_key(|(at, _)| *at);
    if !events.is_empty() {
        let rows: Vec<[String; 2]> = events.into_iter().map(|(at, what)| [time(at), what]).collect();
        text.push_str("\nWhat happened\n");
        table(&rows).iter().for_each(|line| text.push_str(&format!("  {line}")));
    }
    text
}

fn report_text(report: &RepairReport, done: &str) -> String {
    let would = if report.dry_run { "would be " } else { "" };
    let mut text = match report.looked_at {
        0 => "There are no letters in this group.\n".to_owned(),
        looked_at => format!("{} of {looked_at} letters {would}{done}.\n", report.moved),
    };
    // Writing to a String cannot fail.
    if report.as_template > 0 {
        let _ = writeln!(text, "{} of them as the template.", report.as_template);
    }
    for refused in &report.refused {
        let _ = write!(text, "\nLeft alone: {} ({})\n{}", refused.count, refused.reason, paragraph("  ", &refused.why));
        let ids = refused.ids.iter().map(|id| format!("  {id}\n"));
        text.extend(ids);
        if refused.count > refused.ids.len() {
            let _ = writeln!(text, "  and {} more", refused.count - refused.ids.len());
        }
    }
    if !report.notes.is_empty() {
        text.push('\n');
        report.notes.iter().for_each(|note| text.push_str(&paragraph("", note)));
    }
    if !report.dry_run && report.moved > 0 && done == "replayed" {
        text.push_str("\nWhatever runs on this database finds them with its next sweep.\n");
    }
    text
}

fn reason_of(error: Option<&serde_json::Value>) -> String {
    let Some(error) = error else { return String::new() };
    match (error["code"].as_i64(), error["reason"].as_str()) {
        (Some(code), _) => format!(" ({code})"),
        (None, Some(reason)) => format!(" ({reason})"),
        (None, None) => String::new(),
    }
}

/// What a message says, on one line.
fn words(body: &serde_json::Value) -> String {
    let said = body["text"].as_str().or(body.as_str()).map(str::to_owned);
    let said = said.or_else(|| body["template"]["name"].as_str().map(|name| format!("template {name}")));
    let line = said.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    match line.chars().count() > SHOWN_CHARACTERS_MAX {
        true => line.chars().take(SHOWN_CHARACTERS_MAX - 1).chain(['…']).collect(),
        false => line,
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Lines whose columns stand below each other.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Running text, broken into lines.
fn paragraph(indent: &str, text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|line| line.chars().count() + word.chars().count() > TEXT_COLUMNS);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if line.is_empty() { indent } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_long_words_are_cut_with_a_mark() {
        let rows = [["A", "LONGER"], ["é…", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), ["A   LONGER\n", "é…  x\n"]);
        let long = words(&serde_json::json!({ "kind": "text", "text": "word\nword ".repeat(20) }));
        assert_eq!(long.chars().count(), SHOWN_CHARACTERS_MAX);
        assert!(long.starts_with("word word") && long.ends_with('…'), "{long}");
        let text = paragraph("  ", &"word ".repeat(60));
        assert!(text.lines().all(|line| line.starts_with("  word") && line.len() <= TEXT_COLUMNS + 2), "{text}");
        assert_eq!(text.split_whitespace().count(), 60);
    }
}
