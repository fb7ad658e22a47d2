//! Tools in use: the weather against a stand-in that replays recorded answers, and the list that no door leads around.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use micai::clock::Clock as _;
use micai::domain::agent::AgentId;
use micai::domain::audit::AuditAction;
use micai::domain::question::{OpenQuestion, Question};
use micai::domain::tool::{EffectKey, ToolDenial, ToolName};
use micai::domain::turn::{Effect, FinishOutcome};
use micai::domain::weather::WeatherDay;
use micai::store::Location;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{BubbleView, InboundKind, InboundSpec, PhoneKind};

use crate::harness::Stage;
use crate::postgres::Postgres;
use crate::store::{LEASE_SECONDS, World, message, world};

const LISBON_NOW: &str =
    "Lisbon, Portugal: 18 °C, partly cloudy, wind 12 km/h.\nToday: 13 to 20 °C, 30% chance of rain.";
const WHERE: &str = "For which place? Write its name, such as Lisbon, or share your location.";
const ILLINOIS: &str =
    "Springfield, United States: 30 °F, light snow, wind 15 mph.\nToday: 23 to 34 °F, 90% chance of snow.";

/// A weather service on this machine.
#[derive(Clone, Default)]
struct StandIn(Arc<Mutex<Service>>);

#[derive(Default)]
struct Service {
    /// What was asked, in order.
    asked: Vec<String>,
    is_down: bool,
    /// The day that forecasts begin with.
    today: Option<Timestamp>,
}

impl StandIn {
    async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v1/search", get(search))
            .route("/v1/forecast", get(forecast))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    fn set_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }
}

#[derive(serde::Deserialize)]
struct Search {
    name: String,
}

async fn search(State(service): State<StandIn>, Query(query): Query<Search>) -> Response {
    let mut service = service.0.lock().unwrap();
    service.asked.push(query.name.clone());
    if service.is_down {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    Json(recorded(match query.name.as_str() {
        "lisbon" => "search_lisbon",
        "springfield" => "search_springfield",
        _ => "search_nothing",
    }))
    .into_response()
}

#[derive(serde::Deserialize)]
struct Point {
    latitude: String,
    longitude: String,
}

async fn forecast(State(service): State<StandIn>, Query(point): Query<Point>) -> Response {
    let mut service = service.0.lock().unwrap();
    service.asked.push(format!("{},{}", point.latitude, point.longitude));
    if service.is_down {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let mut answer = recorded(match point.latitude.as_str() {
        "39.80" => "forecast_springfield",
        _ => "forecast_lisbon",
    });
    let mut day = service.today.unwrap().to_zoned(TimeZone::UTC).date();
    for date in answer["daily"]["time"].as_array_mut().unwrap() {
        *date = json!(day.to_string());
        day = day.tomorrow().unwrap();
    }
    Json(answer).into_response()
}

fn recorded(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/weather/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A platform whose weather comes from a stand-in.
async fn stage(settings: &[(&str, &str)]) -> (Stage, StandIn) {
    let service = StandIn::default();
    let address = service.start().await;
    let (url, host) = (format!("http://{address}"), address.to_string());
    let mut all = vec![
        ("weather_forecast_url", url.as_str()),
        ("weather_geocoding_url", url.as_str()),
        ("outbound_private_hosts", host.as_str()),
    ];
    all.extend_from_slice(settings);
    let stage = Stage::with(&all).await;
    service.0.lock().unwrap().today = Some(stage.now());
    (stage, service)
}

async fn weather_rule(stage: &Stage, agent: &str, reply_text: &str) {
    let body = json!({
        "id": format!("weather-of-{agent}"), "agent_id": agent, "rule_type": "keyword", "keywords": ["weather"],
        "action": "call_weather", "reply_text": reply_text,
    });
    stage.admin(Method::POST, "/admin/rules", Some(body)).await;
}

/// Says something and gives the bubble that answers.
async fn answer(stage: &Stage, phone: &str, kind: InboundKind) -> BubbleView {
    let before = stage.bubbles(phone).len();
    stage.simulator.post(phone, InboundSpec::from(kind)).unwrap();
    stage.settle().await;
    let bubbles = stage.bubbles(phone);
    assert_eq!(bubbles.len(), before + 1, "{:?}", stage.heard(phone));
    bubbles.last().unwrap().clone()
}

async fn said(stage: &Stage, phone: &str, text: &str) -> String {
    answer(stage, phone, InboundKind::Text { text: text.to_owned() }).await.text
}

async fn set_tools(stage: &Stage, agent: &str, tools: Value) {
    stage.admin(Method::PUT, &format!("/admin/agents/{agent}"), Some(json!({ "tools": tools }))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weather_is_answered_by_rule_and_by_plain_words() {
    let (stage, service) = stage(&[]).await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    assert_eq!(said(&stage, &phone, "michael: weather in Lisbon").await, LISBON_NOW, "plain words need no rule");
    weather_rule(&stage, "default-agent", "").await;
    assert_eq!(said(&stage, &phone, "Weather LISBON please").await, LISBON_NOW);
    assert_eq!(said(&stage, &phone, "so, what weather is there in lisbon?").await, LISBON_NOW);
    let tomorrow = said(&stage, &phone, "weather in Lisbon tomorrow").await;
    assert!(tomorrow.starts_with("Lisbon, Portugal, tomorrow ("), "{tomorrow}");
    assert!(tomorrow.ends_with("): 12 to 16 °C, light rain, 78% chance of rain."), "{tomorrow}");
    assert_eq!(service.asked(), ["lisbon", "38.72,-9.13"], "four answers, one search, one forecast");
    stage.advance(11 * 60);
    said(&stage, &phone, "weather in Lisbon").await;
    assert_eq!(service.asked()[2..], ["38.72,-9.13"], "a forecast grows old, a place does not");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_places_one_is_tapped_also_later_and_without_the_prefix() {
    let (stage, _service) = stage(&[("require_invoke_prefix", "true")]).await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    let ask = InboundKind::Text { text: "michael: weather in Springfield".to_owned() };
    let list = answer(&stage, &phone, ask).await;
    assert_eq!(list.text, "There are several places called “Springfield”. Which one?");
    let rows: Vec<_> = list.rows.iter().map(|row| (row.title.as_str(), row.description.as_deref().unwrap())).collect();
    assert_eq!(rows[2], ("Springfield", "Illinois, United States"));
    assert_eq!(rows.len(), 3);
    stage.advance(3_600);
    let tap = InboundKind::ListReply { message_id: list.id.clone(), id: list.rows[2].id.clone() };
    let chosen = answer(&stage, &phone, tap).await.text;
    let expected = ILLINOIS.replacen("Springfield,", "Springfield, Illinois,", 1);
    assert_eq!(chosen, expected, "says which one, in the units of the country");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_is_asked_and_answered_by_name_or_by_a_shared_location() {
    let (stage, service) = stage(&[("require_invoke_prefix", "true")]).await;
    let phone = stage.phone("Ana", PhoneKind::PhoneAndBsuid);
    let place = |latitude, name: Option<&str>| InboundKind::Location {
        latitude,
        longitude: -89.643_71,
        name: name.map(str::to_owned),
        address: None,
    };
    // Nobody asked for it.
    stage.simulator.post(&phone, InboundSpec::from(place(39.801_72, None))).unwrap();
    stage.simulator.say(&phone, "lisbon").unwrap();
    stage.settle().await;
    assert!(stage.heard(&phone).is_empty());

    assert_eq!(said(&stage, &phone, "michael: weather tomorrow").await, WHERE);
    let tomorrow = said(&stage, &phone, "in Lisbon").await;
    assert!(tomorrow.starts_with("Lisbon, Portugal, tomorrow"), "the answer needs no prefix: {tomorrow}");
    said(&stage, &phone, "michael: weather").await;
    let here = answer(&stage, &phone, place(39.801_72, Some("Home"))).await.text;
    assert!(here.starts_with("Home: 30 °F"), "{here}");
    said(&stage, &phone, "michael: weather").await;
    assert!(answer(&stage, &phone, place(39.801_72, None)).await.text.starts_with("Your location: 30 °F"));
    assert_eq!(service.asked(), ["lisbon", "38.72,-9.13", "39.80,-89.64"], "the same point is asked once");

    // A question is forgotten after a while.
    said(&stage, &phone, "michael: weather").await;
    stage.advance(601);
    let count = stage.heard(&phone).len();
    stage.simulator.say(&phone, "lisbon").unwrap();
    stage.settle().await;
    assert_eq!(stage.heard(&phone).len(), count);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_found_and_out_of_order_have_their_words() {
    let (stage, service) = stage(&[]).await;
    weather_rule(&stage, "default-agent", "Where would you like to know it for?").await;
    let phone = stage.phone("Ana", PhoneKind::Username);
    assert_eq!(
        said(&stage, &phone, "weather please").await,
        "Where would you like to know it for?",
        "the rule's own words"
    );
    assert_eq!(said(&stage, &phone, "lisbon").await, LISBON_NOW, "and their answer");
    let nowhere = said(&stage, &phone, "weather in Xyzzy").await;
    assert!(nowhere.starts_with("I cannot find a place called “Xyzzy”."), "{nowhere}");
    assert_eq!(said(&stage, &phone, "weather in Lisbon, Portugal").await, LISBON_NOW);
    let illinois = said(&stage, &phone, "weather in Springfield Illinois").await;
    assert_eq!(illinois, ILLINOIS, "where it lies says which one is meant");
    service.set_down(true);
    let down = said(&stage, &phone, "weather in Porto").await;
    assert_eq!(down, "I cannot reach the weather service at the moment. Please try again in a few minutes.");
    service.set_down(false);
    let timeline = decided(&stage).await;
    assert_eq!(timeline["tools"][0]["fate"], "failed", "{timeline}");
    assert!(timeline["tools"][0]["detail"].as_str().unwrap().contains("502"), "{timeline}");
    assert!(
        !timeline.to_string().to_lowercase().contains("porto"),
        "a trace outlives what people take back: {timeline}"
    );
    stage.end().await;
}

/// What the turn over the youngest message that came in decided.
async fn decided(stage: &Stage) -> Value {
    let conversations = stage.get("/admin/conversations").await;
    let id = conversations["items"][0]["id"].as_str().unwrap().to_owned();
    let transcript = stage.get(&format!("/admin/conversations/{id}/messages")).await;
    let message = transcript["items"].as_array().unwrap().iter().find(|one| one["direction"] == "in").unwrap().clone();
    let message = message["id"].as_str().unwrap();
    let timeline = stage.get(&format!("/admin/conversations/{id}/messages/{message}")).await;
    let stations = timeline["stations"].as_array().unwrap();
    stations.iter().find(|one| one["what"] == "decided").unwrap()["detail"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_door_leads_around_the_list_of_an_agent() {
    let (stage, service) = stage(&[]).await;
    weather_rule(&stage, "default-agent", "").await;
    let phone = stage.phone("Ana", PhoneKind::Phone);
    let ask = InboundKind::Text { text: "weather in Springfield".to_owned() };
    let list = answer(&stage, &phone, ask).await;
    said(&stage, &phone, "weather").await;
    let asked = service.asked().len();
    set_tools(&stage, "default-agent", json!([])).await;

    let refused = "I am not set up to do that.";
    assert_eq!(said(&stage, &phone, "lisbon").await, refused, "the answer to a question that was asked before");
    let tap = InboundKind::ListReply { message_id: list.id.clone(), id: list.rows[0].id.clone() };
    assert_eq!(answer(&stage, &phone, tap).await.text, refused, "a tap on a row that was sent before");
    assert_eq!(said(&stage, &phone, "weather in Lisbon").await, refused, "a rule");
    let denied = decided(&stage).await;
    assert_eq!((&denied["decision"], &denied["tools"][0]["fate"]), (&json!("rule"), &json!("not_allowed")));
    let tried = json!({ "text": "weather in Lisbon" });
    let tried = stage.admin(Method::POST, "/admin/agents/default-agent/try", Some(tried)).await;
    assert_eq!(tried["reply"], refused, "an explanation");
    stage.admin(Method::DELETE, "/admin/rules/weather-of-default-agent", None).await;
    let plain = said(&stage, &phone, "weather in Lisbon").await;
    assert!(plain.starts_with("I heard: weather in Lisbon."), "plain words mean nothing special then: {plain}");
    assert_eq!(service.asked().len(), asked, "nothing was asked of the service");

    let log = stage.get("/admin/audit?action=tool_denied&subject=default-agent").await;
    assert_eq!(log["items"].as_array().unwrap().len(), 3, "{log}");
    assert_eq!(
        (&log["items"][0]["actor"], &log["items"][0]["after"]["tool"]),
        (&json!("platform"), &json!("get_weather"))
    );
    assert!(!log.to_string().to_lowercase().contains("lisbon"));
    let tools = stage.get("/admin/agents/default-agent/tools").await;
    let weather = tools["items"].as_array().unwrap().iter().find(|tool| tool["name"] == "get_weather").unwrap();
    assert_eq!((&weather["is_allowed"], &weather["denied"]), (&json!(false), &json!(3)));
    assert!(weather["last_denied_at"].is_string());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_has_the_tools_that_it_is_given() {
    let (stage, _service) = stage(&[]).await;
    let tools = |agent: &Value| agent["tools"].as_array().unwrap().clone();
    let make = async |body| tools(&stage.admin(Method::POST, "/admin/agents", Some(body)).await);
    assert_eq!(make(json!({ "id": "bare" })).await, Vec::<Value>::new(), "none unless named");
    assert_eq!(make(json!({ "id": "able", "tools": ["get_weather", "get_weather"] })).await, [json!("get_weather")]);
    weather_rule(&stage, "named", "").await;
    for (agent, has_weather) in [("default-agent", true), ("named", true), ("bare", false)] {
        let listed = tools(&stage.get(&format!("/admin/agents/{agent}")).await);
        assert_eq!(listed.contains(&json!("get_weather")), has_weather, "{agent}");
    }
    // Who changes something else and does not know of tools leaves them alone.
    let kept = stage.admin(Method::PUT, "/admin/agents/able", Some(json!({ "name": "Able" }))).await;
    assert_eq!(tools(&kept), [json!("get_weather")]);
    let key = crate::harness::ADMIN_KEY;
    let request = stage.http.put(stage.url("/admin/agents/able")).header("x-admin-key", key);
    let refused = request.json(&json!({ "tools": ["open_door"] })).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains("get_weather"), "it says which tools there are");
    let all = stage.get("/admin/tools").await;
    let weather = all["items"].as_array().unwrap().iter().find(|tool| tool["name"] == "get_weather").unwrap();
    assert_eq!((&weather["reach"], &weather["arguments"]["type"]), (&json!(["weather_service"]), &json!("object")));
    stage.end().await;
}

/// What tools leave in the database is the same in both.
async fn stored(location: Location) {
    let world = world(location).await;
    a_question_waits_with_its_conversation(&world).await;
    refused_calls_are_counted_and_written_down_once_a_turn(&world).await;
    what_is_known_about_a_person_is_read_at_once(&world).await;
    world.store.close().await;
}

async fn a_question_waits_with_its_conversation(world: &World) {
    let asked = OpenQuestion::asked(Question::WeatherPlace { day: WeatherDay::Tomorrow }, world.clock.now(), "q-1");
    let mut conversation = None;
    // The first turn finds none and asks, the second one finds it and takes it back.
    for (id, found, leaves) in [("q-1", None, Some(asked.clone())), ("q-2", Some(asked), None), ("q-3", None, None)] {
        let id = world.say(id, "4915550100", "weather").await;
        conversation = Some(id);
        let claim = world.store.claim(id, LEASE_SECONDS).await.unwrap().unwrap();
        assert_eq!(claim.question, found);
        let mut turn = world.turn(&claim, &[]);
        turn.effects.push(Effect::Ask(leaves));
        assert!(matches!(world.store.finish(turn).await.unwrap(), FinishOutcome::Finished { .. }));
    }
    // A shared location is read with the message, and only from where one may be.
    let mut location = message("q-4", "4915550100", "", world.clock.now());
    location.kind = "location".to_owned();
    location.text = None;
    location.payload =
        json!({ "type": "location", "location": { "latitude": 38.7, "longitude": -9.1, "name": "Home" } });
    world.ingest(vec![location], vec![]).await;
    let claim = world.store.claim(conversation.unwrap(), LEASE_SECONDS).await.unwrap().unwrap();
    let shared = claim.pending[0].location.as_ref().unwrap();
    assert_eq!((shared.latitude, shared.longitude, shared.name.as_deref()), (38.7, -9.1, Some("Home")));
    world.store.finish(world.turn(&claim, &[])).await.unwrap();
}

async fn refused_calls_are_counted_and_written_down_once_a_turn(world: &World) {
    for (id, steps) in [("d-1", 1..=2), ("d-2", 1..=1)] {
        let conversation = world.say(id, "4915550101", "weather").await;
        let claim = world.store.claim(conversation, LEASE_SECONDS).await.unwrap().unwrap();
        let mut turn = world.turn(&claim, &[]);
        turn.effects.extend(steps.map(|step| {
            let key = EffectKey { inbound_id: claim.pending[0].id, step };
            Effect::ToolDenied(ToolDenial { tool: "get_weather".to_owned(), key })
        }));
        world.store.finish(turn.clone()).await.unwrap();
        // Somebody who lost the lease writes nothing.
        assert_eq!(world.store.finish(turn).await.unwrap(), FinishOutcome::Fenced);
    }
    let agent = AgentId::default_agent();
    let denials = world.store.tool_denials(&agent).await.unwrap();
    assert_eq!((denials.len(), denials[0].tool.as_str(), denials[0].times), (1, "get_weather", 3));
    let log = world.store.audit_log(Some(agent.as_str()), Some(AuditAction::ToolDenied), None, 10).await.unwrap();
    let calls = log.iter().map(|entry| entry.after.as_ref().unwrap()["calls"].as_array().unwrap().len());
    assert_eq!(calls.collect::<Vec<_>>(), [1, 2]);
}

async fn what_is_known_about_a_person_is_read_at_once(world: &World) {
    let conversation = world.say("f-1", "4915550102", "hello").await;
    let facts = world.store.person_facts(conversation).await.unwrap().unwrap();
    assert_eq!((facts.phone.as_deref(), facts.zone), (Some("4915550102"), None));
    assert_eq!(facts.last_inbound_at, Some(world.clock.now()));
    assert!(facts.agents.is_empty(), "only agents that are listed are offered");
    let agent = world.store.agent(&AgentId::default_agent()).await.unwrap().unwrap();
    assert_eq!(agent.settings.tools, ToolName::UNLISTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    stored(Location::Sqlite { path: folder.path().join("micai.db"), readers_max: 4 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    let server = Postgres::start().await;
    stored(server.location()).await;
}
