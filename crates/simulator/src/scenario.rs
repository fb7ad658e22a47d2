//! Scripted conversations from TOML files, played against a running platform and reported step by step.
//!
//! ```toml
//! name = "The weather of a place"
//!
//! [[phones]]
//! name = "Ana"
//! kind = "phone"            # phone, phone_and_bsuid, username, parent_bsuid
//!
//! [[steps]]
//! phone = "Ana"             # may be left out where there is one phone
//! say = "michael: weather in Lisbon"
//!
//! [[steps]]
//! expect_reply = { contains = "Lisbon", within = "5s" }
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

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

pub use file::{Action, ExpectReply, ExpectStatus, Scenario, ScenarioError, ScenarioPhone, Sender, Step};
pub use play::{PlayError, play};
pub use report::{Report, StepOutcome, StepReport};

use crate::Simulator;
use crate::platform::PlatformArgs;

/// `whatsapp-sim run`: plays scenario files against a platform.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Scenario files, played one after the other
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The platform under test
    #[command(flatten)]
    pub platform: PlatformArgs,
}

/// Reads all files first, starts a simulator, plays the scenarios and prints a report whose last line is `N passed, N
/// failed`.
///
/// Answers with a failing exit code if one scenario failed, with an error if a file is bad or the simulator cannot
/// start.
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let scenarios = args.files.iter().map(|file| Scenario::from_file(file)).collect::<Result<Vec<_>, _>>()?;
    let simulator = Simulator::start(args.platform.simulator_config()).await.context("the simulator did not start")?;
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
