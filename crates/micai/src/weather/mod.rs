//! Open-Meteo: which places have a name, and what the weather there is. Needs no key. What it answers is kept for a while, so that
//! a hundred people who ask for the same town cost one call.

mod cache;
mod read;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use url::Url;

use crate::clock::SharedClock;
use crate::fetch::{FetchError, FetchRules, Fetcher};
use cache::Cache;

/// Places that are asked for at once, and so the most that a person can choose from.
pub const PLACES_MAX: usize = 10;
/// How long a forecast is good for.
const FORECAST_MINUTES: i64 = 10;
/// How long it is good for which places have a name.
const PLACES_HOURS: i64 = 24;
/// Names and points that are kept, each.
const CACHED_MAX: usize = 2_000;
/// How long a call may take. Two of them fit into a tool's time.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes of an answer; a forecast has two thousand.
const ANSWER_BYTES_MAX: usize = 262_144;
/// Days of a forecast: today and tomorrow, and one more since a forecast that is kept may see midnight.
const FORECAST_DAYS: &str = "3";

/// Where the weather is asked.
#[derive(Debug, Clone)]
pub struct WeatherConfig {
    /// Scheme and host of the forecast.
    pub forecast_url: Url,
    /// Scheme and host of the search for places.
    pub geocoding_url: Url,
    /// Hosts that may be private.
    pub private_hosts: Vec<String>,
}

/// A place that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// The region that it lies in, such as a state.
    pub region: Option<String>,
    /// The country, in English.
    pub country: Option<String>,
    /// The country, as ISO 3166-1 alpha-2.
    pub country_code: Option<String>,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// People who live there, where that is known.
    pub population: u64,
}

/// What the weather is and will be.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The time zone of the place, as an IANA name.
    pub zone: Option<String>,
    /// Seconds that its clocks are ahead of UTC.
    pub utc_offset_seconds: i64,
    /// Now, where that is known.
    pub now: Option<Conditions>,
    /// Whole days, the first of them today when it was asked.
    pub days: Vec<DayForecast>,
}

/// The weather at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// In degrees Celsius.
    pub celsius: f64,
    /// What it looks like, as the WMO numbers it.
    pub code: Option<u64>,
    /// The wind.
    pub wind_kilometres_per_hour: Option<f64>,
}

/// The weather of a day.
#[derive(Debug, Clone, PartialEq)]
pub struct DayForecast {
    /// Which day, by the place's calendar.
    pub date: Date,
    /// The lowest temperature, in degrees Celsius.
    pub celsius_min: Option<f64>,
    /// The highest.
    pub celsius_max: Option<f64>,
    /// The chance of rain or snow, in per cent.
    pub rain_chance: Option<u64>,
    /// What it looks like, as the WMO numbers it.
    pub code: Option<u64>,
}

/// Why there is no weather.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeatherError {
    /// The service did not answer, or not well.
    #[error("the weather service gave nothing: {0}")]
    Down(FetchError),
    /// It answered something that is not what it should be.
    #[error("the weather service's answer cannot be read: {0}")]
    Unreadable(&'static str),
}

/// Asks for the weather. What is kept is kept in this process.
pub struct Weather {
    fetcher: Fetcher,
    forecast_url: Url,
    geocoding_url: Url,
    clock: SharedClock,
    places: Cache<String, Vec<Place>>,
    forecasts: Cache<(i64, i64), Forecast>,
}

impl Weather {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`FetchError::Forbidden`] for addresses that may not be called.
    pub fn new(config: WeatherConfig, clock: SharedClock) -> Result<Self, FetchError> {
        let fetcher = Fetcher::new(&FetchRules {
            allowed: vec![config.forecast_url.clone(), config.geocoding_url.clone()],
            private_hosts: config.private_hosts,
            timeout: CALL_TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        })?;
        Ok(Self {
            fetcher,
            forecast_url: config.forecast_url,
            geocoding_url: config.geocoding_url,
            places: Cache::new(CACHED_MAX, SignedDuration::from_hours(PLACES_HOURS)),
            forecasts: Cache::new(CACHED_MAX, SignedDuration::from_mins(FORECAST_MINUTES)),
            clock,
        })
    }

    /// The places of a name, the likeliest first; at most [`PLACES_MAX`].
    ///
    /// # Errors
    /// [`WeatherError`].
    pub async fn places(&self, name: &str) -> Result<Vec<Place>, WeatherError> {
        let key = name.to_lowercase();
        if let Some(known) = self.places.get(&key, self.clock.now()) {
            return Ok(known);
        }
        let mut url = self.geocoding_url.clone();
        url.set_path("/v1/search");
        let count = PLACES_MAX.to_string();
        url.query_pairs_mut().clear().extend_pairs([
            ("name", name),
            ("count", count.as_str()),
            ("language", "en"),
            ("format", "json"),
        ]);
        let answer = self.fetcher.get_json(url).await.map_err(WeatherError::Down)?;
        let places = read::places(&answer)?;
        self.places.keep(key, places.clone(), self.clock.now());
        Ok(places)
    }

    /// The weather at a point, to a hundredth of a degree.
    ///
    /// # Errors
    /// [`WeatherError`].
    pub async fn forecast(&self, latitude: f64, longitude: f64) -> Result<Forecast, WeatherError> {
        let key = (hundredths(latitude), hundredths(longitude));
        if let Some(known) = self.forecasts.get(&key, self.clock.now()) {
            return Ok(known);
        }
        let mut url = self.forecast_url.clone();
        url.set_path("/v1/forecast");
        url.query_pairs_mut().clear().extend_pairs([
            ("latitude", shown(key.0).as_str()),
            ("longitude", shown(key.1).as_str()),
            ("current", "temperature_2m,weather_code,wind_speed_10m"),
            ("daily", "weather_code,temperature_2m_max,temperature_2m_min,precipitation_probability_max"),
            ("timezone", "auto"),
            ("forecast_days", FORECAST_DAYS),
        ]);
        let answer = self.fetcher.get_json(url).await.map_err(WeatherError::Down)?;
        let forecast = read::forecast(&answer)?;
        self.forecasts.keep(key, forecast.clone(), self.clock.now());
        Ok(forecast)
    }
}

/// A hundredth of a degree is a kilometre at most.
#[allow(clippy::cast_possible_truncation, reason = "degrees are 180 at most")]
fn hundredths(degrees: f64) -> i64 {
    (degrees.clamp(-180.0, 180.0) * 100.0).round() as i64
}

fn shown(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", hundredths.abs() / 100, hundredths.abs() % 100)
}
