//! The people of `ingest-load`: everything about one follows from a number, so that any of millions can write without
//! being remembered, and a simulator can know the same people to take the replies.

use std::fmt::{Display, from_fn};

/// Their phone numbers.
pub(crate) fn number(person: u64) -> impl Display {
    from_fn(move |out| write!(out, "1999{person:010}"))
}

/// Their business-scoped user ids.
pub(crate) fn user_id(person: u64) -> impl Display {
    from_fn(move |out| write!(out, "US.LOAD{person:014}"))
}

/// Their names.
pub(crate) fn name(person: u64) -> impl Display {
    from_fn(move |out| write!(out, "Person {person}"))
}
