//! The stories: the platform as its users meet it. One binary, one file a theme.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crash;
mod harness;
mod postgres;
mod process;
mod sender;
mod store;
mod turn;
