//! Open-Meteo's answers, as they were recorded and as they must never hurt.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn recorded(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/weather/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn recorded_answers_are_read() {
    let places = read::places(&recorded("search_lisbon")).unwrap();
    let first = &places[0];
    assert_eq!((first.name.as_str(), first.country_code.as_deref(), first.population), ("Lisbon", Some("PT"), 517_802));
    assert_eq!(read::places(&recorded("search_nothing")), Ok(Vec::new()));
    let forecast = read::forecast(&recorded("forecast_lisbon")).unwrap();
    assert_eq!(forecast.zone.as_deref(), Some("Europe/Lisbon"));
    let now = forecast.now.unwrap();
    assert_eq!((now.celsius, now.code), (17.6, Some(2)));
    assert_eq!((forecast.days.len(), forecast.days[1].rain_chance, forecast.days[1].code), (3, Some(78), Some(61)));
}

#[test]
fn what_is_missing_is_left_out_and_nonsense_is_refused() {
    assert!(read::places(&json!([1])).is_err());
    assert!(read::forecast(&json!({ "error": true, "reason": "no" })).is_err());
    assert_eq!(
        read::places(&json!({ "results": [{ "name": "x" }, 7, { "name": "y", "latitude": 91, "longitude": 0 }] })),
        Ok(vec![])
    );
    let bare = json!({ "results": [{ "name": " a\n b ", "latitude": 1, "longitude": 2, "country_code": "xyz" }] });
    let places = read::places(&bare).unwrap();
    assert_eq!((places[0].name.as_str(), places[0].country_code.as_deref()), ("a b", None));
    let forecast =
        read::forecast(&json!({ "daily": { "time": ["2026-11-24", "x"], "temperature_2m_max": [null] } })).unwrap();
    assert_eq!((forecast.days.len(), forecast.days[0].celsius_max, forecast.now), (1, None, None));
}

#[test]
fn a_point_is_written_to_a_hundredth() {
    for (degrees, expected) in
        [(38.716_67, "38.72"), (-9.133_33, "-9.13"), (0.004, "0.00"), (-0.05, "-0.05"), (-180.0, "-180.00")]
    {
        assert_eq!(shown(hundredths(degrees)), expected);
    }
}

proptest! {
    #[test]
    fn no_answer_is_too_odd(text in "\\PC{0,200}", number in any::<f64>(), count in 0..50_usize) {
        let odd = json!({
            "results": vec![json!({ "name": text, "latitude": number, "longitude": number, "population": number }); count],
            "timezone": text, "utc_offset_seconds": number,
            "current": { "temperature_2m": number, "weather_code": number },
            "daily": { "time": vec![json!(text); count], "weather_code": number },
        });
        prop_assert!(read::places(&odd).unwrap().len() <= PLACES_MAX);
        let _ = read::forecast(&odd);
    }
}
