//! Scripted conversations from TOML files, played against a running platform and reported step by step.
//!
//! ```toml
//! name = "The weather, by keyword"
//!
//! [[phones]]
//! name = "Ana"
//! kind = "phone"            # phone, phone_and_bsuid, username, parent_bsuid
//!
//! [[steps]]
//! phone = "Ana"             # may be left out where there is one phone
//! say = "michael: weather please"
//!
//! [[steps]]
//! expect_reply = { contains = "weather", within = "5s" }
//! ```
//!
//! A step has exactly one of `say`, `tap` (title or id of a button or row), `send` (any message of the control API,
//! where `last` and `mine` stand for the newest message of the business and of the person), `read = true`,
//! `expect_reply { contains, equals, kind, within }`, `expect_no_reply { within }`, `expect_status { status, of =
//! "business" or "person", code, within }`, `advance_clock = "25h"` and `fault` (as in the control API). A reply that
//! was expected once is not found a second time.

mod control;
mod file;
mod play;
mod read;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

pub use file::{Action, ExpectReply, ExpectStatus, Scenario, ScenarioError, ScenarioPhone, Sender, Step};
pub use play::{PlayError, play};
pub use report::{Report, StepOutcome, StepReport};

use crate::{Simulator, SimulatorConfig};

/// `whatsapp-sim run`: plays scenario files against a platform.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Scenario files, played one after the other
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The webhook of the platform under test
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/webhook")]
    pub webhook_url: String,
    /// Where the simulator listens; the platform's Graph API base URL must be http://BIND
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7100")]
    pub bind: SocketAddr,
    /// Key of the signature on webhooks
    #[arg(long, env = "WHATSAPP_SIM_APP_SECRET", hide_env_values = true, default_value = "simulator-app-secret")]
    pub app_secret: String,
    /// Bearer token that the platform sends
    #[arg(long, env = "WHATSAPP_SIM_ACCESS_TOKEN", hide_env_values = true, default_value = "simulator-access-token")]
    pub access_token: String,
    /// Id of the business phone number
    #[arg(long, default_value = "106540352242922")]
    pub phone_number_id: String,
}

/// Reads all files first, starts a simulator, plays the scenarios and prints a report whose last line is `N passed, N
/// failed`.
///
/// Answers with a failing exit code if one scenario failed, with an error if a file is bad or the simulator cannot
/// start.
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let scenarios = args.files.iter().map(|file| Scenario::from_file(file)).collect::<Result<Vec<_>, _>>()?;
    let simulator = Simulator::start(SimulatorConfig {
        bind: args.bind,
        app_secret: args.app_secret,
        access_token: args.access_token,
        phone_number_id: args.phone_number_id,
        webhook_url: Some(args.webhook_url),
        seed: fresh_seed(),
        ..SimulatorConfig::default()
    })
    .await
    .context("the simulator did not start")?;
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for (scenario, file) in scenarios.iter().zip(&args.files) {
        let report = play(scenario, &simulator.url()).await?;
        println!("{}\n{report}", file.display());
        if report.passed() { passed += 1 } else { failed += 1 }
    }
    simulator.shutdown().await;
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Another seed each time: a platform that remembers the message ids of the last run would take the same ones for
/// repeats.
#[expect(clippy::disallowed_methods, reason = "the point is that two runs differ; in tests the seed is a setting")]
pub(crate) fn fresh_seed() -> u64 {
    rand::random()
}
