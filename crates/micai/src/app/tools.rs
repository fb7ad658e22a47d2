//! The edges of the network that tools reach, from the settings.

use anyhow::Context;

use crate::agent::reminders::ReminderWords;
use crate::agent::tools::{ReminderTools, Tools};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::weather::{Weather, WeatherConfig};

/// What tools reach.
pub(super) fn open(config: &Config, clock: &SharedClock) -> anyhow::Result<Tools> {
    let weather = WeatherConfig {
        forecast_url: config.tools.weather_forecast_url.clone(),
        geocoding_url: config.tools.weather_geocoding_url.clone(),
        private_hosts: config.tools.outbound_private_hosts.clone(),
    };
    let weather = Weather::new(weather, clock.clone()).context(
        "MICAI_WEATHER_FORECAST_URL or MICAI_WEATHER_GEOCODING_URL cannot be used (MICAI_OUTBOUND_PRIVATE_HOSTS is \
         where hosts are named as private)",
    )?;
    Ok(Tools::new(weather, reminder_tools(config)?, config.conversation_lease_seconds))
}

/// How people speak of reminders here.
fn reminder_tools(config: &Config) -> anyhow::Result<ReminderTools> {
    let prefix = config.invoke_prefixes.first().filter(|_| config.require_invoke_prefix);
    Ok(ReminderTools {
        words: ReminderWords::built_in()?,
        window_seconds: i64::from(config.freeform_window_hours) * 3_600,
        has_fallback_template: config.out_of_window_template.is_some(),
        prefix: prefix.map(|prefix| format!("{} ", prefix.trim())).unwrap_or_default(),
    })
}
