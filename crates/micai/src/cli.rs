//! The command line.

pub mod dlq;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::app::{chance, open_store};
use crate::clock::SystemClock;
use crate::config::{Config, DatabaseUrl};
use crate::ids::Ids;
use crate::store::Store;

/// Agents that live on a WhatsApp Business number.
///
/// `micai dev` runs everything on this machine, with a simulated WhatsApp to chat in: nothing else is needed.
/// `micai serve` is the same for a real number. Settings are `MICAI_*` variables; `micai config` shows them.
#[derive(Debug, Parser)]
#[command(name = "micai", version, max_term_width = 100)]
pub struct Cli {
    /// A TOML file with settings. Variables win over it.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What a process is started for.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run everything, with a simulated WhatsApp and a sample agent to chat with.
    Dev(DevArgs),
    /// Run every role in this process: HTTP, turns, sending, upkeep. Migrates the database first.
    Serve,
    /// Run HTTP only: webhooks and the admin API.
    Api,
    /// Run turns and sending only.
    Worker,
    /// Run only what time asks for. At least one is needed beside `api` and `worker`.
    ///
    /// It fires schedules and reminders, settles sends whose fate is unknown, settles and releases budgets, ends pauses whose
    /// time is over, gives up on sends that were held too long, fetches the list of templates, and tells your own system of
    /// hand-overs and alerts.
    Scheduler,
    /// Bring the database schema up to date, or show how far it is.
    Migrate(MigrateArgs),
    /// Look at dead letters, replay them or put them away. Works beside running processes.
    Dlq(dlq::DlqArgs),
    /// Print the effective settings and where each comes from. Secrets are not shown.
    Config,
}

/// What `micai migrate` does; without a word, `up`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct MigrateArgs {
    #[command(subcommand)]
    action: Option<MigrateAction>,
    /// The same as `micai migrate status`.
    #[arg(long)]
    status: bool,
}

/// What can be done with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum MigrateAction {
    /// Bring the schema up to date. Safe beside running processes, and when several do it at once.
    Up,
    /// Show which migrations the database has. Changes nothing.
    Status,
}

impl MigrateArgs {
    /// What was asked for.
    #[must_use]
    pub fn action(&self) -> MigrateAction {
        match self.action {
            Some(action) => action,
            None if self.status => MigrateAction::Status,
            None => MigrateAction::Up,
        }
    }
}

/// The system's name for whoever started this program, for the audit log; `unknown` where the environment does not tell.
#[must_use]
pub fn system_user() -> String {
    let known = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    known.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// Opens the database for a command that works on what is there: makes none where there is none.
///
/// # Errors
/// A sentence about where no database is, or what could not be reached or opened.
pub async fn open_existing_store(config: &Config) -> anyhow::Result<Store> {
    if let DatabaseUrl::Sqlite(path) = &config.database_url {
        let shown = path.display();
        anyhow::ensure!(
            path.exists(),
            "there is no database at {shown}: `micai migrate` makes one, and so does the start of any role; if there should \
             be one, see to MICAI_DATABASE_URL"
        );
    }
    open_store(config, Arc::new(Ids::from_rng(chance())), Arc::new(SystemClock)).await
}

/// Addresses of `micai dev`.
#[derive(Debug, Clone, clap::Args)]
pub struct DevArgs {
    /// Where the simulated WhatsApp listens; its chat page is there.
    #[arg(long, default_value = "127.0.0.1:8002", value_parser = address, value_name = "ADDRESS")]
    pub simulator_bind: std::net::SocketAddr,
}

/// The platform is told of it before anybody listens there, so the system cannot choose the port.
fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    match text.parse::<std::net::SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err("port 0 names no port: choose one, such as 127.0.0.1:8002".to_owned()),
        Err(_) => Err("it must be an IP address and a port, such as 127.0.0.1:8002".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_serve_is_refused_with_an_example() {
        for (bind, expected) in [
            ("localhost", "it must be an IP address and a port, such as 127.0.0.1:8002"),
            ("127.0.0.1:0", "port 0 names no port: choose one, such as 127.0.0.1:8002"),
        ] {
            let parsed = Cli::try_parse_from(["micai", "dev", "--simulator-bind", bind]);
            let told = parsed.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(told.contains(expected), "{told}");
        }
    }
}
