//! The routes, asked as clients do, over a real database in a temporary folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod document;
mod harness;
mod hardening;
mod try_agent;
mod webhook;
