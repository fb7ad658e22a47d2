//! Time: when schedules are due, and what happens then.

pub mod recurrence;
