//! The routes, asked as clients do, over a real database in a temporary folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agents;
mod budgets;
mod document;
mod hardening;
mod harness;
mod reading;
mod rules;
mod try_agent;
mod webhook;
