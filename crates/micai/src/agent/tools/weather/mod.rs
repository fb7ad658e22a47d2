//! `get_weather`: the weather of a place, in one bubble.

mod say;
mod words;

use serde_json::{Value, json};

use super::super::answer::Wish;
use super::{Call, ToolError, ToolOutput};
use crate::domain::choice::{CHOICE_ID_CHARACTERS_MAX, Choice};
use crate::domain::outbound::{MessageBody, cut};
use crate::domain::question::Question;
use crate::domain::tool::ToolName;
use crate::domain::weather::{SharedLocation, WeatherDay};
use crate::weather::{Forecast, Place, Weather, WeatherError};
use say::Units;

/// Characters of what a point is called.
const LABEL_CHARACTERS_MAX: usize = 100;
/// What is said when no place is named.
const WHERE: &str = "For which place? Write its name, such as Lisbon, or share your location.";
/// What opens the list of places.
const CHOOSE: &str = "Choose a place";
/// How many times as many people as in the next place of a name must live in the first one for it to be the one that is meant.
const DOMINANCE: u64 = 10;
/// Names of countries as people shorten them, with what they stand for.
const SHORT_COUNTRIES: &[(&str, &str)] = &[
    ("usa", "us"),
    ("america", "us"),
    ("uk", "gb"),
    ("england", "gb"),
    ("scotland", "gb"),
    ("wales", "gb"),
    ("britain", "gb"),
    ("uae", "ae"),
    ("holland", "nl"),
];

/// Where somebody asks about.
struct Spot {
    label: String,
    country_code: Option<String>,
    latitude: f64,
    longitude: f64,
}

/// Runs the tool; the arguments fit its schema.
pub(super) async fn run(call: &Call<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    let day = arguments["day"].as_str().and_then(WeatherDay::parse).unwrap_or_default();
    if let Some((latitude, longitude)) = arguments["latitude"].as_f64().zip(arguments["longitude"].as_f64()) {
        let text = |name: &str| arguments[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let label = text("label").unwrap_or_else(|| "Your location".to_owned());
        return tell(call, Spot { label, country_code: text("country"), latitude, longitude }, day).await;
    }
    let Some(name) = arguments["place"].as_str().map(str::trim).filter(|name| !name.is_empty()) else {
        return Ok(ToolOutput {
            data: json!({ "missing": "place" }),
            reply: Some(MessageBody::LocationRequest { text: WHERE.to_owned() }),
            question: Some(Question::WeatherPlace { day }),
            effects: Vec::new(),
        });
    };
    let places = found(&call.tools.weather, name).await.map_err(failed)?;
    let called = written(call, name).unwrap_or_else(|| name.to_owned());
    match places.as_slice() {
        [] => Ok(ToolOutput {
            data: json!({ "not_found": name }),
            reply: Some(MessageBody::Text { text: say::not_found(&called) }),
            ..ToolOutput::default()
        }),
        [first, rest @ ..] if rest.iter().all(|next| dominates(first, next)) => tell(call, spot(first), day).await,
        several => Ok(choice(&called, several, day)),
    }
}

/// A name as the person wrote it: rules and tools read it in the one spelling of all texts.
fn written(call: &Call<'_>, name: &str) -> Option<String> {
    words::as_written(call.message.text.as_deref()?, name)
}

/// The places of a name. Where nobody knows the whole, what stands behind a comma or the last space says where it lies.
async fn found(weather: &Weather, name: &str) -> Result<Vec<Place>, WeatherError> {
    let places = weather.places(name).await?;
    if !places.is_empty() {
        return Ok(places);
    }
    let Some((name, lies_in)) = name.split_once(',').or_else(|| name.rsplit_once(' ')) else { return Ok(places) };
    let lies_in = lies_in.trim().to_lowercase();
    let lies_in =
        SHORT_COUNTRIES.iter().find(|(short, _)| *short == lies_in).map_or(lies_in.as_str(), |(_, code)| *code);
    let mut places = weather.places(name.trim()).await?;
    places.retain(|place| {
        [&place.region, &place.country, &place.country_code]
            .into_iter()
            .flatten()
            .any(|name| name.to_lowercase() == *lies_in)
    });
    Ok(places)
}

/// Whether so many more people live in a place that it is meant rather than another one of its name.
fn dominates(first: &Place, next: &Place) -> bool {
    first.population > 0 && first.population / DOMINANCE >= next.population
}

async fn tell(call: &Call<'_>, spot: Spot, day: WeatherDay) -> Result<ToolOutput, ToolError> {
    let forecast = call.tools.weather.forecast(spot.latitude, spot.longitude).await.map_err(failed)?;
    let units = units(call, &spot, &forecast);
    let today = (call.now + jiff::SignedDuration::from_secs(forecast.utc_offset_seconds))
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let (text, data) = say::weather(&spot.label, &forecast, day, today, units)
        .ok_or_else(|| ToolError::Failed("the weather service knows nothing about that day".to_owned()))?;
    Ok(ToolOutput { data, reply: Some(MessageBody::Text { text }), ..ToolOutput::default() })
}

/// The units of the country that the place lies in; where that is not known, of the zone, then of the person's number.
fn units(call: &Call<'_>, spot: &Spot, forecast: &Forecast) -> Units {
    if let Some(code) = &spot.country_code {
        return Units::of_country(code);
    }
    let by_zone = forecast.zone.as_deref().and_then(Units::of_zone);
    by_zone.unwrap_or_else(|| Units::of_phone(call.facts.and_then(|facts| facts.phone.as_deref())))
}

/// Several places to choose from.
fn choice(name: &str, places: &[Place], day: WeatherDay) -> ToolOutput {
    let row = |place: &Place| Choice::new(row_id(place, day), &place.name).described(&lies_in(place));
    // As the name is written, where somebody wrote it in small letters.
    let written =
        places.iter().map(|place| place.name.as_str()).find(|known| known.to_lowercase() == name.to_lowercase());
    let text = format!("There are several places called {}. Which one?", say::quoted(written.unwrap_or(name)));
    ToolOutput {
        data: json!({
            "several": places.iter().map(|place| json!({
                "place": place.name, "lies_in": lies_in(place), "latitude": place.latitude, "longitude": place.longitude,
                "country": place.country_code,
            })).collect::<Vec<_>>(),
        }),
        reply: Some(MessageBody::list(&text, CHOOSE, places.iter().map(row))),
        ..ToolOutput::default()
    }
}

fn spot(place: &Place) -> Spot {
    let label = match &place.country {
        Some(country) => format!("{}, {country}", place.name),
        None => place.name.clone(),
    };
    let country_code = place.country_code.clone();
    Spot { label, country_code, latitude: place.latitude, longitude: place.longitude }
}

/// `Illinois, United States`.
fn lies_in(place: &Place) -> String {
    [&place.region, &place.country].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn failed(error: WeatherError) -> ToolError {
    ToolError::Failed(error.to_string())
}

/// What a row begins with that stands for a place.
const ROW: &str = "weather";

/// All that is needed to answer a tap, however much later it comes.
fn row_id(place: &Place, day: WeatherDay) -> String {
    let Spot { country_code, latitude, longitude, .. } = spot(place);
    // Several have this name: the answer says which of them was chosen.
    let label = [place.name.clone(), lies_in(place)].join(", ");
    let label = label.trim_end_matches([',', ' ']);
    let country = country_code.unwrap_or_default();
    let beginning = format!("{ROW}|{}|{latitude:.4}|{longitude:.4}|{country}|", day.as_str());
    let label = cut(label, LABEL_CHARACTERS_MAX.min(CHOICE_ID_CHARACTERS_MAX - beginning.len()));
    format!("{beginning}{}", label.replace('|', " ").trim_end())
}

/// The call that a tap on a row of ours asks for: `weather|day|latitude|longitude|country|label`.
pub(in crate::agent) fn of_row(id: &str) -> Option<Wish> {
    let mut parts = id.splitn(6, '|');
    if parts.next() != Some(ROW) {
        return None;
    }
    let day = WeatherDay::parse(parts.next()?)?;
    let degrees = |part: Option<&str>| part?.parse::<f64>().ok().filter(|degrees| degrees.is_finite());
    let (latitude, longitude) = (degrees(parts.next())?, degrees(parts.next())?);
    let mut arguments = json!({ "latitude": latitude, "longitude": longitude, "day": day.as_str() });
    for name in ["country", "label"] {
        if let Some(part) = parts.next().filter(|part| !part.is_empty()) {
            arguments[name] = Value::from(part);
        }
    }
    Some(wish(arguments))
}

/// The call that normalised words ask for, if they are about the weather.
pub(in crate::agent) fn of_words(said: &str) -> Option<Wish> {
    words::asked(said).map(requested)
}

/// The call for words that a rule takes to be about the weather, by what it matched in them.
pub(in crate::agent) fn of_rule(said: &str, matched: &str) -> Wish {
    requested(words::meant(said, matched))
}

/// The call for an answer to "where?": a place in words, or a shared location.
pub(in crate::agent) fn of_answer(day: WeatherDay, said: &str, location: Option<&SharedLocation>) -> Wish {
    let Some(location) = location else {
        return requested(words::Request { place: words::place(said), day: words::day(said).unwrap_or(day) });
    };
    let mut arguments = json!({ "latitude": location.latitude, "longitude": location.longitude, "day": day.as_str() });
    if let Some(name) = &location.name {
        arguments["label"] = name.chars().take(LABEL_CHARACTERS_MAX).collect::<String>().into();
    }
    wish(arguments)
}

fn requested(request: words::Request) -> Wish {
    let mut arguments = json!({ "day": request.day.as_str() });
    if let Some(place) = request.place {
        arguments["place"] = place.into();
    }
    wish(arguments)
}

fn wish(arguments: Value) -> Wish {
    Wish { tool: ToolName::GetWeather, arguments }
}
