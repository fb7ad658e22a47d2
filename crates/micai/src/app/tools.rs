//! The edges of the network that tools reach, from the settings.

use anyhow::Context;

use crate::agent::tools::Tools;
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
        "MICAI_WEATHER_FORECAST_URL or MICAI_WEATHER_GEOCODING_URL cannot be used; MICAI_OUTBOUND_PRIVATE_HOSTS names \
         hosts that may be private",
    )?;
    Ok(Tools::new(weather))
}
