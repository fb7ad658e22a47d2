//! Why something is asked back instead of guessed.

use jiff::civil::{Date, Time};

/// Why something is asked back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskReason {
    /// No time was said.
    WhenMissing,
    /// Nothing was said to be reminded of.
    TextMissing,
    /// A time stands in the middle of the text.
    Inside,
    /// It is over.
    Past,
    /// It is more than five years ahead.
    TooFar,
    /// It would come more often than each five minutes.
    TooOften,
    /// In no time at all.
    Zero,
    /// There is no such day.
    NoSuchDay,
    /// No clock shows it.
    NoSuchTime,
    /// Before or after noon?
    WhichHalf(Time, Time),
    /// Day and month, or month and day?
    WhichOrder,
    /// This week or the next?
    WhichWeek(Date, Date),
    /// At the beginning of the day or at its end?
    WhichMidnight,
    /// Things that do not go together.
    Mixed,
    /// "Soon".
    Soon,
    /// "Next week".
    WhichDay,
    /// "After work".
    WhichTime,
    /// "Twice a day".
    OneTimeOnly,
    /// "In 5".
    WhichUnit,
    /// "By Friday".
    Deadline,
    /// The text is too long.
    TextTooLong,
    /// A reminder for somebody else.
    OtherPerson,
    /// "Don't remind me".
    Never,
    /// A place that is not known.
    ZoneUnknown,
    /// A name of several places.
    ZoneUnclear,
}

impl AskReason {
    /// Its name in a language's file and in the table of phrases.
    pub fn name(self) -> &'static str {
        match self {
            Self::WhenMissing => "when_missing",
            Self::TextMissing => "text_missing",
            Self::Inside => "inside",
            Self::Past => "past",
            Self::TooFar => "too_far",
            Self::TooOften => "too_often",
            Self::Zero => "zero",
            Self::NoSuchDay => "no_such_day",
            Self::NoSuchTime => "no_such_time",
            Self::WhichHalf(..) => "which_half",
            Self::WhichOrder => "which_order",
            Self::WhichWeek(..) => "which_week",
            Self::WhichMidnight => "which_midnight",
            Self::Mixed => "mixed",
            Self::Soon => "soon",
            Self::WhichDay => "which_day",
            Self::WhichTime => "which_time",
            Self::OneTimeOnly => "one_time_only",
            Self::WhichUnit => "which_unit",
            Self::Deadline => "deadline",
            Self::TextTooLong => "text_too_long",
            Self::OtherPerson => "other_person",
            Self::Never => "never",
            Self::ZoneUnknown => "zone_unknown",
            Self::ZoneUnclear => "zone_unclear",
        }
    }

    /// Every name.
    pub(super) const NAMES: [&str; 25] = [
        "when_missing",
        "text_missing",
        "inside",
        "past",
        "too_far",
        "too_often",
        "zero",
        "no_such_day",
        "no_such_time",
        "which_half",
        "which_order",
        "which_week",
        "which_midnight",
        "mixed",
        "soon",
        "which_day",
        "which_time",
        "one_time_only",
        "which_unit",
        "deadline",
        "text_too_long",
        "other_person",
        "never",
        "zone_unknown",
        "zone_unclear",
    ];
}
