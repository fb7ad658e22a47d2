//! Notices to the operator's own system.

use anyhow::Context as _;
use rand::rngs::StdRng;
use secrecy::ExposeSecret as _;
use url::Url;

use super::{App, seconds};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::operator::{self, OperatorWebhook};

impl App {
    /// Tells the operator's own system, where there is one.
    pub(super) fn start_notices(&mut self, config: &Config, clock: &SharedClock, dice: StdRng) -> anyhow::Result<()> {
        let (Some(url), Some(secret)) =
            (&config.steering.operator_webhook_url, &config.steering.operator_webhook_secret)
        else {
            return Ok(());
        };
        // The parser's own error may repeat the address with a key in it.
        let url = Url::parse(url.expose_secret()).ok().context("MICAI_OPERATOR_WEBHOOK_URL is no address")?;
        let webhook = OperatorWebhook::new(url, secret.clone(), &config.tools.outbound_private_hosts).context(
            "MICAI_OPERATOR_WEBHOOK_URL cannot be used (MICAI_OUTBOUND_PRIVATE_HOSTS is where hosts are named as private)",
        )?;
        let interval_seconds = seconds(config.sweep_interval_seconds);
        let (store, clock, stop) = (self.store.clone(), clock.clone(), self.stop.clone());
        self.loops.push(tokio::spawn(operator::run(store, webhook, clock, dice, interval_seconds, stop)));
        Ok(())
    }
}
