//! `get_weather`: the weather of a place, in one bubble.

mod words;

use serde_json::{Value, json};

use super::super::answer::Wish;
use super::{Call, ToolError, ToolOutput};
use crate::domain::outbound::MessageBody;
use crate::domain::question::Question;
use crate::domain::tool::ToolName;
use crate::domain::weather::{SharedLocation, WeatherDay};

/// Characters of what a point is called.
const LABEL_CHARACTERS_MAX: usize = 100;
/// What is said when no place is named.
const WHERE: &str = "For which place? Write its name, such as Lisbon, or share your location.";

/// Runs the tool; the arguments fit its schema.
pub(super) async fn run(_call: &Call<'_>, arguments: &Value) -> Result<ToolOutput, ToolError> {
    let day = arguments["day"].as_str().and_then(WeatherDay::parse).unwrap_or_default();
    let place = arguments["place"].as_str();
    let point = arguments["latitude"].as_f64().zip(arguments["longitude"].as_f64());
    match (place, point) {
        (None, None) => Ok(ToolOutput {
            data: json!({ "missing": "place" }),
            reply: Some(MessageBody::LocationRequest { text: WHERE.to_owned() }),
            question: Some(Question::WeatherPlace { day }),
            effects: Vec::new(),
        }),
        _ => Err(ToolError::Failed("no weather service is set up".to_owned())),
    }
}

/// What a row begins with that stands for a place.
const ROW: &str = "weather";

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

/// The call for words that a rule takes to be about the weather.
pub(in crate::agent) fn of_rule(said: &str) -> Wish {
    requested(words::meant(said))
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
