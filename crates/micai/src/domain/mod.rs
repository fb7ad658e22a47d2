//! Plain data that every module speaks: no I/O, no clock, no database.

pub mod agent;
pub mod alert;
pub mod audit;
pub mod budget;
pub mod choice;
pub mod consent;
pub mod contact;
pub mod control;
pub mod conversation;
pub mod erasure;
pub mod evidence;
pub mod fate;
pub mod inbound;
pub mod letter;
pub mod notice;
pub mod outbound;
pub mod pause;
pub mod person;
pub mod question;
pub mod rule;
pub mod schedule;
pub mod spend;
pub mod template;
pub mod tool;
pub mod turn;
pub mod weather;
