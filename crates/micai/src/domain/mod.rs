//! Plain data that every module speaks: no I/O, no clock, no database.

pub mod agent;
pub mod contact;
pub mod conversation;
pub mod fate;
pub mod inbound;
pub mod letter;
pub mod outbound;
pub mod rule;
pub mod turn;
