//! Times on the wall and the instants that they mean.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// The instant that a time on the wall means: the first that exists where a clock change leaves it out, the first of the two where
/// it comes twice. `None` past the end of the calendar. Later times never mean earlier instants.
pub(super) fn instant(zone: &TimeZone, wall: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(wall).ok()
        }
        AmbiguousOffset::Gap { before, after } => {
            // The change happened between these two.
            let (earliest, latest) = (after.to_timestamp(wall).ok()?, before.to_timestamp(wall).ok()?);
            let just_behind = latest.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
            let changes = zone.preceding(just_behind).take_while(|change| change.timestamp() >= earliest);
            changes.filter(|change| change.offset() == after).last().map(|change| change.timestamp()).or(Some(latest))
        }
    }
}
