//! The one binary: reads the command line and the settings, and hands over.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use micai::app::{Roles, chance, open_store};
use micai::cli::{Cli, Command};
use micai::clock::SystemClock;
use micai::config::Config;
use micai::ids::Ids;
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
        Command::Migrate { status } => migrate(config, *status).await,
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

async fn migrate(config: &Config, status: bool) -> anyhow::Result<()> {
    let store = open_store(config, Arc::new(Ids::from_rng(chance())), Arc::new(SystemClock)).await?;
    if !status {
        store.migrate().await?;
    }
    for (number, name, is_applied) in store.schema_status().await?.migrations {
        println!("{number:04}  {name:<30}  {}", if is_applied { "applied" } else { "missing" });
    }
    store.close().await;
    Ok(())
}
