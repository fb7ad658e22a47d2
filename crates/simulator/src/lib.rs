//! A faithful local WhatsApp Cloud API with phones in it.
//!
//! [`Simulator::start`] listens on loopback and serves three things: the Graph API (`/{version}/…`) for the software
//! under test, the control API (`/sim/…`) for tests and tools, and a chat page (`/`) for people. Webhooks go to one
//! address, signed and with redelivery. It knows nothing of the software it tests and does its own validation. The
//! crate's README describes the control API.

pub mod clock;
pub mod config;
mod control;
pub mod deliver;
mod errors;
pub mod faults;
mod graph_api;
mod ids;
pub mod ingest_load;
mod latency;
mod line;
pub mod load;
mod load_people;
pub mod phone;
pub mod platform;
pub mod scenario;
pub mod server;
pub mod shared;
pub mod simulator;
pub mod timers;
pub mod view;
mod world;

pub use config::{SimulatorConfig, StartError, StatusLevel, WindowRefusal};
pub use simulator::{Simulator, Split};
pub use view::{
    Author, BubbleStatus, BubbleView, ButtonView, ClockView, ControlError, DeliveryState, DeliveryView, FailureView,
    FaultKind, FaultOn, FaultSpec, GraphRequestView, InboundKind, InboundSpec, MediaView, PhoneKind, PhoneSpec,
    PhoneView, ReactionView, RowView, SimEvent, StateView, TemplateView,
};
pub use world::log::{LOGGED_BODY_BYTES_MAX, Signing};
