//! Plain data that every module speaks: no I/O, no clock, no database.

pub mod agent;
pub mod alert;
pub mod audit;
pub mod consent;
pub mod contact;
pub mod conversation;
pub mod evidence;
pub mod inbound;
pub mod outbound;
pub mod rule;
pub mod template;
pub mod turn;
