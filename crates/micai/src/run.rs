//! A process from its first line to its last: starts the roles, waits for the signal, stops in good order.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Roles, chance};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::lock::DatabaseLock;

/// Runs `roles` until the process is asked to stop. `ready` is awaited once everything runs.
///
/// # Errors
/// A sentence about what could not be started.
pub async fn run(
    config: &Config,
    roles: Roles,
    ready: impl AsyncFnOnce(&App) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // Held until the end: two processes that both believe to be alone would break each other's leases.
    let _lock = if roles.alone { DatabaseLock::take(&config.database_url)? } else { None };
    let app = App::start(config, roles, Arc::new(SystemClock), chance()).await?;
    ready(&app).await?;
    let (stopping, hard_stop) = stop_signals()?;
    stopping.await;
    tracing::info!(
        grace_seconds = config.shutdown_grace_seconds,
        "stopping: what is under way is finished; a second signal stops at once"
    );
    tokio::select! {
        finished = app.stop() => match finished {
            true => tracing::info!("stopped"),
            false => tracing::warn!("stopped with work cut off; the next start takes it up again"),
        },
        () = hard_stop => tracing::warn!("stopped at once; the next start takes up what was under way"),
    }
    Ok(())
}

/// Two futures: the first signal (SIGTERM or SIGINT), and the one after it.
fn stop_signals() -> anyhow::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let (first, first_seen) = tokio::sync::oneshot::channel();
    let (second, second_seen) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        for seen in [first, second] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // Whoever waited is gone when the process ends for another reason.
            let _ = seen.send(());
        }
    });
    let wait = |seen: tokio::sync::oneshot::Receiver<()>| async move {
        let _ = seen.await;
    };
    Ok((wait(first_seen), wait(second_seen)))
}
