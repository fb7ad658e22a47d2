//! The HTTP interface: every route on one screen, and what all of them have in common.

mod actor;
mod admin;
mod auth;
pub mod error;
mod health;
mod limits;
mod openapi;
mod path;
pub mod server;
pub mod state;
mod trace;
mod webhook;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::any;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use error::{no_such_method, no_such_path, with_request_id};
pub use state::HttpState;
use state::SharedState;

/// Everything that the platform answers.
pub fn router(state: HttpState) -> Router {
    let state = SharedState::new(state);
    let (open, mut document) = open_routes().split_for_parts();
    let (admin, admin_document) = admin_routes().split_for_parts();
    document = document.nest("/admin", admin_document);
    openapi::complete(&mut document);

    // Before the fallbacks of the whole, and with fallbacks of its own, so that nothing under /admin answers without
    // the key: not even that there is no such path or method.
    let ask_for_key = from_fn_with_state(state.clone(), auth::require_admin_key);
    let tell = from_fn_with_state(state.clone(), admin::events::tell);
    let admin = admin.fallback(no_such_path).method_not_allowed_fallback(no_such_method);
    let admin = admin.layer(tell).layer(ask_for_key.clone());
    open.merge(openapi::pages(&document))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .nest("/admin", admin)
        // The one path under /admin that `nest` leaves out.
        .route("/admin/", any(no_such_path).layer(ask_for_key))
        .layer(from_fn_with_state(state.request_timeout, limits::time_limit))
        .layer(limits::catch_panics())
        .layer(from_fn(limits::safe_headers))
        .layer(from_fn(trace::traced))
        .layer(from_fn(with_request_id))
        .with_state(state)
}

fn open_routes() -> OpenApiRouter<SharedState> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(webhook::verify, webhook::receive))
}

fn admin_routes() -> OpenApiRouter<SharedState> {
    use admin::{
        agents, alerts, audit, bind, budgets, contacts, conversations, erasures, events, handover, letters, messages,
        outbound, pauses, rules, schedules, spend, templates, tools, try_agent,
    };
    OpenApiRouter::new()
        .routes(routes!(agents::list, agents::create))
        .routes(routes!(agents::read, agents::update, agents::delete))
        .routes(routes!(try_agent::try_agent))
        .routes(routes!(tools::list))
        .routes(routes!(tools::of_agent))
        .routes(routes!(rules::list, rules::save))
        .routes(routes!(rules::read, rules::delete))
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(schedules::read, schedules::update, schedules::delete))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::run))
        .routes(routes!(schedules::preview))
        .routes(routes!(bind::bind))
        .routes(routes!(conversations::list))
        .routes(routes!(conversations::read))
        .routes(routes!(conversations::transcript, messages::send))
        .routes(routes!(messages::plan))
        .routes(routes!(conversations::timeline))
        .routes(routes!(handover::set_mode))
        .routes(routes!(contacts::list))
        .routes(routes!(contacts::read, erasures::erase))
        .routes(routes!(erasures::read))
        .routes(routes!(contacts::set_consent))
        .routes(routes!(contacts::block, contacts::unblock))
        .routes(routes!(outbound::list))
        .routes(routes!(outbound::read))
        .routes(routes!(budgets::list))
        .routes(routes!(budgets::read, budgets::save, budgets::delete))
        .routes(routes!(spend::read))
        .routes(routes!(outbound::settle))
        .routes(routes!(letters::groups))
        .routes(routes!(letters::items))
        .routes(routes!(letters::read))
        .routes(routes!(letters::replay))
        .routes(routes!(letters::discard))
        .routes(routes!(templates::list, templates::create))
        .routes(routes!(templates::sync))
        .routes(routes!(templates::read))
        .routes(routes!(templates::preview))
        .routes(routes!(pauses::list, pauses::set))
        .routes(routes!(pauses::resume_all))
        .routes(routes!(pauses::resume))
        .routes(routes!(pauses::resume_template))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(audit::list))
        .routes(routes!(events::listen))
}
