//! Open-Meteo's answers as facts. What is missing is left out; only an answer of which nothing is of use is an error.

use jiff::civil::Date;
use serde_json::Value;

use super::{Conditions, DayForecast, Forecast, PLACES_MAX, Place, WeatherError};

/// Characters of a name; those of the service are shorter.
const NAME_CHARACTERS_MAX: usize = 80;
/// A clock is a day ahead of UTC at most; more would be nonsense.
const OFFSET_SECONDS_MAX: i64 = 86_400;
/// Days that are read.
const DAYS_MAX: usize = 7;

/// The places of a search. No place at all is an answer, too.
pub(super) fn places(answer: &Value) -> Result<Vec<Place>, WeatherError> {
    if !answer.is_object() {
        return Err(WeatherError::Unreadable("it is no object"));
    }
    let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(results.iter().filter_map(place).take(PLACES_MAX).collect())
}

fn place(result: &Value) -> Option<Place> {
    Some(Place {
        name: name(&result["name"])?,
        region: name(&result["admin1"]),
        country: name(&result["country"]),
        country_code: name(&result["country_code"]).map(|code| code.to_uppercase()).filter(|code| code.len() == 2),
        latitude: result["latitude"].as_f64().filter(|degrees| degrees.abs() <= 90.0)?,
        longitude: result["longitude"].as_f64().filter(|degrees| degrees.abs() <= 180.0)?,
        population: result["population"].as_u64().unwrap_or_default(),
    })
}

/// A name as it may stand in a message: in one line, within its bound.
fn name(value: &Value) -> Option<String> {
    let line = value.as_str()?.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(NAME_CHARACTERS_MAX).collect();
    Some(line).filter(|line| !line.is_empty())
}

pub(super) fn forecast(answer: &Value) -> Result<Forecast, WeatherError> {
    let current = &answer["current"];
    let now = current["temperature_2m"].as_f64().map(|celsius| Conditions {
        celsius,
        code: whole(&current["weather_code"]),
        wind_kilometres_per_hour: current["wind_speed_10m"].as_f64(),
    });
    let daily = &answer["daily"];
    let dates = daily["time"].as_array().map(Vec::as_slice).unwrap_or_default();
    let day = |(at, date): (usize, &Value)| {
        Some(DayForecast {
            date: date.as_str()?.parse::<Date>().ok()?,
            celsius_min: daily["temperature_2m_min"][at].as_f64(),
            celsius_max: daily["temperature_2m_max"][at].as_f64(),
            rain_chance: whole(&daily["precipitation_probability_max"][at]).map(|chance| chance.min(100)),
            code: whole(&daily["weather_code"][at]),
        })
    };
    let days: Vec<DayForecast> = dates.iter().enumerate().take(DAYS_MAX).filter_map(day).collect();
    if now.is_none() && days.is_empty() {
        return Err(WeatherError::Unreadable("it has neither the present nor a day"));
    }
    Ok(Forecast {
        zone: name(&answer["timezone"]),
        utc_offset_seconds: answer["utc_offset_seconds"]
            .as_i64()
            .filter(|seconds| seconds.abs() <= OFFSET_SECONDS_MAX)
            .unwrap_or_default(),
        now,
        days,
    })
}

/// A whole number, also where it is written with a point.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 and 1000")]
fn whole(value: &Value) -> Option<u64> {
    value.as_f64().filter(|number| (0.0..=1_000.0).contains(number)).map(|number| number.round() as u64)
}
