//! The stories: the platform as its users meet it. One binary, one file a theme.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alerts;
mod audit;
mod chat;
mod consent;
mod control;
mod cost;
mod crash;
mod database;
mod delivery;
mod events;
mod faults;
mod harness;
mod ingest;
mod letters;
mod loss;
mod migrations;
mod people;
mod planner;
mod plans;
mod postgres;
mod process;
mod queue;
mod redis;
mod reminders;
mod roles;
mod scenarios;
mod scheduler;
mod sender;
mod shared;
mod store;
mod templates;
mod tools;
mod turn;
