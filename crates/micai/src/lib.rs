//! mic.ai: agents that live on a WhatsApp Business number.
//!
//! `ARCHITECTURE.md` is the map, `README.md` has the settings, `docs/http.md` the HTTP interface.

pub mod agent;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cost;
pub mod crash;
pub mod dev;
pub mod domain;
pub mod fetch;
pub mod http;
pub mod ids;
pub mod ingest;
pub mod letters;
pub mod lock;
pub mod operator;
pub mod queue;
pub mod redis_link;
pub mod run;
pub mod scheduler;
pub mod sender;
pub mod shared;
pub mod store;
pub mod telemetry;
pub mod templates;
pub mod transport;
pub mod weather;
pub mod worker;
