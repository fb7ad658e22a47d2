//! The weather in words: one bubble, in the units of the place.

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::domain::outbound::cut;
use crate::domain::weather::WeatherDay;
use crate::weather::{Conditions, DayForecast, Forecast};

/// Characters of a name that somebody wrote, where it is repeated to them.
const QUOTED_CHARACTERS_MAX: usize = 60;
/// Countries that measure temperature in degrees Fahrenheit and wind in miles.
const IMPERIAL: [&str; 14] = ["US", "PR", "GU", "VI", "AS", "MP", "UM", "BS", "BZ", "KY", "FM", "MH", "PW", "LR"];
/// The time zones of the United States by their beginnings, as far as they are not a name alone.
const AMERICAN_ZONES: [&str; 22] = [
    "America/New_York",
    "America/Detroit",
    "America/Kentucky/",
    "America/Indiana/",
    "America/Chicago",
    "America/Menominee",
    "America/North_Dakota/",
    "America/Denver",
    "America/Boise",
    "America/Phoenix",
    "America/Los_Angeles",
    "America/Anchorage",
    "America/Juneau",
    "America/Sitka",
    "America/Metlakatla",
    "America/Yakutat",
    "America/Nome",
    "America/Adak",
    "America/Puerto_Rico",
    "Pacific/Honolulu",
    "Pacific/Guam",
    "US/",
];
const MILES_PER_KILOMETRE: f64 = 0.621_371;

/// How temperature and wind are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Units {
    /// °C and km/h.
    Metric,
    /// °C and mph.
    British,
    /// °F and mph.
    Imperial,
}

impl Units {
    /// Those of a country, by its code.
    pub fn of_country(code: &str) -> Self {
        match code.to_uppercase().as_str() {
            "GB" => Self::British,
            code if IMPERIAL.contains(&code) => Self::Imperial,
            _ => Self::Metric,
        }
    }

    /// Those of the country of a time zone; `None` where the zone does not tell.
    pub fn of_zone(zone: &str) -> Option<Self> {
        match zone {
            "Europe/London" => Some(Self::British),
            // Zones at sea and the like are in no country.
            zone if !zone.contains('/') || zone.starts_with("Etc/") => None,
            zone if AMERICAN_ZONES.iter().any(|known| zone.starts_with(known)) => Some(Self::Imperial),
            _ => Some(Self::Metric),
        }
    }

    /// What somebody with this number is likely used to.
    pub fn of_phone(phone: Option<&str>) -> Self {
        match phone {
            Some(phone) if phone.starts_with('1') => Self::Imperial,
            Some(phone) if phone.starts_with("44") => Self::British,
            _ => Self::Metric,
        }
    }

    fn degrees(self, celsius: f64) -> f64 {
        // The sum keeps -0 from being told as such.
        match self {
            Self::Metric | Self::British => celsius.round() + 0.0,
            Self::Imperial => (celsius * 1.8 + 32.0).round() + 0.0,
        }
    }

    fn wind(self, kilometres: f64) -> (f64, &'static str) {
        match self {
            Self::Metric => (kilometres.round() + 0.0, "km/h"),
            Self::British | Self::Imperial => ((kilometres * MILES_PER_KILOMETRE).round() + 0.0, "mph"),
        }
    }

    fn symbol(self) -> &'static str {
        if self == Self::Imperial { "°F" } else { "°C" }
    }
}

/// The weather in words and as data; `None` when the forecast has nothing about the day. `today` is by the place's calendar.
pub(super) fn weather(
    label: &str,
    forecast: &Forecast,
    day: WeatherDay,
    today: Date,
    units: Units,
) -> Option<(String, Value)> {
    let date = if day == WeatherDay::Tomorrow { today.tomorrow().ok()? } else { today };
    let outlook = forecast.days.iter().find(|known| known.date == date);
    let frame = |now: Option<&Conditions>| {
        json!({
            "place": label, "date": date.to_string(), "unit": units.symbol(),
            "now": now.map(|now| json!({ "temperature": units.degrees(now.celsius), "sky": now.code.and_then(sky) })),
            "min": outlook.and_then(|day| day.celsius_min).map(|celsius| units.degrees(celsius)),
            "max": outlook.and_then(|day| day.celsius_max).map(|celsius| units.degrees(celsius)),
            "rain_chance_percent": outlook.and_then(|day| day.rain_chance),
            "sky": outlook.and_then(|day| day.code).and_then(sky),
            "source": "open-meteo.com",
        })
    };
    if day == WeatherDay::Tomorrow {
        let words = outlook.and_then(|day| day_words(day, units, true))?;
        return Some((format!("{label}, tomorrow ({}): {words}.", date.strftime("%a %-d %b")), frame(None)));
    }
    let now = forecast.now.as_ref();
    let today = outlook.and_then(|day| day_words(day, units, now.is_none())).map(|words| format!("Today: {words}."));
    let now_words = now.map(|now| format!("{label}: {}.", now_words(now, units)));
    let text = match (now_words, today) {
        (Some(now), Some(today)) => format!("{now}\n{today}"),
        (Some(now), None) => now,
        (None, Some(today)) => format!("{label}. {today}"),
        (None, None) => return None,
    };
    Some((text, frame(now)))
}

/// `18 °C, partly cloudy, wind 12 km/h`.
fn now_words(now: &Conditions, units: Units) -> String {
    let mut words = vec![format!("{} {}", units.degrees(now.celsius), units.symbol())];
    words.extend(now.code.and_then(sky).map(str::to_owned));
    words.extend(now.wind_kilometres_per_hour.map(|kilometres| {
        let (speed, unit) = units.wind(kilometres);
        format!("wind {speed} {unit}")
    }));
    words.join(", ")
}

/// `14 to 21 °C, light rain, 30% chance of rain`.
fn day_words(day: &DayForecast, units: Units, with_sky: bool) -> Option<String> {
    let symbol = units.symbol();
    let mut words = Vec::new();
    match (day.celsius_min, day.celsius_max) {
        (Some(min), Some(max)) => words.push(format!("{} to {} {symbol}", units.degrees(min), units.degrees(max))),
        (Some(min), None) => words.push(format!("from {} {symbol}", units.degrees(min))),
        (None, Some(max)) => words.push(format!("up to {} {symbol}", units.degrees(max))),
        (None, None) => {}
    }
    words.extend(day.code.filter(|_| with_sky).and_then(sky).map(str::to_owned));
    let falls = if matches!(day.code, Some(71..=77 | 85 | 86)) { "snow" } else { "rain" };
    words.extend(day.rain_chance.map(|chance| format!("{chance}% chance of {falls}")));
    (!words.is_empty()).then(|| words.join(", "))
}

/// What the sky does, by the numbers of the WMO.
fn sky(code: u64) -> Option<&'static str> {
    Some(match code {
        0 => "clear",
        1 => "mostly clear",
        2 => "partly cloudy",
        3 => "overcast",
        45 | 48 => "fog",
        51 | 53 | 55 => "drizzle",
        56 | 57 => "freezing drizzle",
        61 => "light rain",
        63 => "rain",
        65 => "heavy rain",
        66 | 67 => "freezing rain",
        71 => "light snow",
        73 => "snow",
        75 => "heavy snow",
        77 => "snow grains",
        80 => "light showers",
        81 => "showers",
        82 => "heavy showers",
        85 | 86 => "snow showers",
        95 => "thunderstorm",
        96 | 99 => "thunderstorm with hail",
        _ => return None,
    })
}

/// What is said when nobody knows a place of that name.
pub(super) fn not_found(name: &str) -> String {
    format!(
        "I cannot find a place called {}. Try the next larger town, or ask for the weather and then share your location.",
        quoted(name)
    )
}

/// A name as somebody wrote it, in its bound.
pub(super) fn quoted(name: &str) -> String {
    format!("“{}”", cut(name, QUOTED_CHARACTERS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast() -> Forecast {
        let day = |date: &str, celsius_min, celsius_max, rain_chance, code| DayForecast {
            date: date.parse().unwrap(),
            celsius_min,
            celsius_max,
            rain_chance,
            code,
        };
        Forecast {
            zone: None,
            utc_offset_seconds: 0,
            now: Some(Conditions { celsius: 17.6, code: Some(2), wind_kilometres_per_hour: Some(11.9) }),
            days: vec![
                day("2026-11-24", Some(13.4), Some(19.5), Some(30), Some(80)),
                day("2026-11-25", Some(-0.4), Some(4.0), Some(78), Some(61)),
                day("2026-11-26", None, None, None, None),
            ],
        }
    }

    fn said(forecast: &Forecast, day: WeatherDay, today: &str, units: Units) -> Option<String> {
        weather("Lisbon, Portugal", forecast, day, today.parse().unwrap(), units).map(|(text, _)| text)
    }

    #[test]
    fn the_weather_fits_a_bubble_in_the_units_of_the_place() {
        use WeatherDay::{Today, Tomorrow};
        for (day, today, units, expected) in [
            (
                Today,
                "2026-11-24",
                Units::Metric,
                "Lisbon, Portugal: 18 °C, partly cloudy, wind 12 km/h.\nToday: 13 to 20 °C, 30% chance of rain.",
            ),
            (
                Today,
                "2026-11-24",
                Units::Imperial,
                "Lisbon, Portugal: 64 °F, partly cloudy, wind 7 mph.\nToday: 56 to 67 °F, 30% chance of rain.",
            ),
            (
                Today,
                "2026-11-24",
                Units::British,
                "Lisbon, Portugal: 18 °C, partly cloudy, wind 7 mph.\nToday: 13 to 20 °C, 30% chance of rain.",
            ),
            (
                Tomorrow,
                "2026-11-24",
                Units::Metric,
                "Lisbon, Portugal, tomorrow (Wed 25 Nov): 0 to 4 °C, light rain, 78% chance of rain.",
            ),
            // A forecast that was kept over midnight.
            (
                Today,
                "2026-11-25",
                Units::Metric,
                "Lisbon, Portugal: 18 °C, partly cloudy, wind 12 km/h.\nToday: 0 to 4 °C, 78% chance of rain.",
            ),
        ] {
            assert_eq!(said(&forecast(), day, today, units).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_the_service_leaves_out_is_left_out() {
        assert_eq!(said(&forecast(), WeatherDay::Tomorrow, "2026-11-25", Units::Metric), None);
        assert_eq!(said(&forecast(), WeatherDay::Tomorrow, "2026-11-29", Units::Metric), None);
        let silent = Forecast { now: None, ..forecast() };
        let expected = "Lisbon, Portugal. Today: 13 to 20 °C, light showers, 30% chance of rain.";
        assert_eq!(said(&silent, WeatherDay::Today, "2026-11-24", Units::Metric).as_deref(), Some(expected));
        assert_eq!(said(&silent, WeatherDay::Today, "2026-12-24", Units::Metric), None);
    }

    #[test]
    fn units_follow_country_zone_and_number() {
        let by_country = ["US", "pr", "GB", "PT", "CA"].map(Units::of_country);
        assert_eq!(by_country, [Units::Imperial, Units::Imperial, Units::British, Units::Metric, Units::Metric]);
        let by_zone = ["America/Chicago", "America/Toronto", "Europe/London", "Etc/GMT+3", "GMT"].map(Units::of_zone);
        assert_eq!(by_zone, [Some(Units::Imperial), Some(Units::Metric), Some(Units::British), None, None]);
        let by_phone = [Some("15550001111"), Some("447000"), Some("351900"), None].map(Units::of_phone);
        assert_eq!(by_phone, [Units::Imperial, Units::British, Units::Metric, Units::Metric]);
    }
}
