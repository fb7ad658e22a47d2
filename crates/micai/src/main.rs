//! The one binary: reads the command line and the settings, and hands over.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use micai::app::{Roles, chance, open_store};
use micai::cli::{Cli, Command, MigrateAction, dlq, open_existing_store};
use micai::clock::SystemClock;
use micai::config::Config;
use micai::ids::Ids;
use micai::store::{MigrationState, SchemaStatus};
use micai::{dev, run, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match start(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("micai: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> anyhow::Result<()> {
    let presets = match &cli.command {
        Command::Dev(args) => dev::presets(args),
        _ => Vec::new(),
    };
    let config = Config::load_with_presets(&presets, std::env::vars_os(), cli.config.as_deref())?;
    if matches!(cli.command, Command::Config) {
        // A closed pipe, as from `micai config | head`, is not our error.
        let _ = std::io::stdout().write_all(config.rendered().as_bytes());
        return Ok(());
    }
    telemetry::init(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(command(&cli.command, &config))
}

async fn command(command: &Command, config: &Config) -> anyhow::Result<()> {
    match command {
        Command::Dev(args) => dev::run(args, config).await,
        Command::Serve => serve(config, Roles::SERVE).await,
        Command::Api => serve(config, Roles::API).await,
        Command::Worker => serve(config, Roles::WORKER).await,
        Command::Scheduler => serve(config, Roles::SCHEDULER).await,
        Command::Migrate(args) => migrate(config, args.action()).await,
        Command::Dlq(args) => dlq::run(args, config).await,
        Command::Config => Ok(()),
    }
}

async fn serve(config: &Config, roles: Roles) -> anyhow::Result<()> {
    run::run(config, roles, async |app| {
        match app.address() {
            Some(address) => tracing::info!(%address, outbound = config.outbound_reply_enabled, "ready"),
            None => tracing::info!("ready"),
        }
        Ok(())
    })
    .await
}

async fn migrate(config: &Config, action: MigrateAction) -> anyhow::Result<()> {
    let store = match action {
        MigrateAction::Up => {
            let store = open_store(config, Arc::new(Ids::from_rng(chance())), Arc::new(SystemClock)).await?;
            store.migrate().await.context("the database schema could not be brought up to date")?;
            store
        }
        MigrateAction::Status => open_existing_store(config).await?,
    };
    let status = store.schema_status().await?;
    store.close().await;
    // A closed pipe, as from `micai migrate status | head`, is not our error.
    let _ = std::io::stdout().write_all(schema_report(&status).as_bytes());
    Ok(())
}

/// One line a migration, and what follows from them.
fn schema_report(status: &SchemaStatus) -> String {
    let mut report = String::new();
    for one in &status.migrations {
        let word = match one.state {
            MigrationState::Applied => "applied",
            MigrationState::Missing => "missing",
            MigrationState::Differs => "applied, but not as this program knows it",
            MigrationState::FromNewer => "applied by a newer program",
        };
        report.push_str(&format!("{:04}  {:<30}  {word}\n", one.number, one.name));
    }
    report.push_str(match status {
        _ if status.is_current() => "The schema is up to date.\n",
        _ if status.count(MigrationState::FromNewer) > 0 => {
            "The schema is newer than this program, which will not start on it.\n"
        }
        _ if status.count(MigrationState::Differs) > 0 => {
            "The schema was changed by hand or by another build: this program will not start on it.\n"
        }
        _ => "The schema is behind: `micai migrate` brings it up to date, and so does the start of any role.\n",
    });
    report
}
