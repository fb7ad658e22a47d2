//! The simulator over real HTTP: a client in front of it, a webhook receiver behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod control;
mod deliveries;
mod errors;
mod faults;
mod identities;
mod inbound;
mod media;
mod sends;
mod statuses;
mod templates;
