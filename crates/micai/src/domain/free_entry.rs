//! Free entry points: who comes through an advertisement and is answered in time costs nothing for some days.

use jiff::{SignedDuration, Timestamp};

/// How long the first answer opens a free entry point.
const REFERRAL_SECONDS: i64 = 24 * 3_600;
/// How long everything is free then. WhatsApp speaks of up to seven days under conditions that are not known: more than three
/// are not counted on.
const FREE_ENTRY_SECONDS: i64 = 72 * 3_600;

/// The free entry point of a conversation: the person came through an advertisement, and what is sent to them is free for some days from the first
/// answer on. A matter of price alone: the window decides what may be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FreeEntry {
    /// When the person last came through an advertisement that nobody has answered yet.
    pub referred_at: Option<Timestamp>,
    /// Until when everything is free, because somebody has answered.
    pub until: Option<Timestamp>,
}

impl FreeEntry {
    /// Whether what is sent then is free.
    pub fn is_free(self, at: Timestamp) -> bool {
        self.opens(at).is_some() || self.is_open(at)
    }

    /// Until when everything is free if an answer goes out then; nothing if that answer opens nothing.
    pub fn opens(self, at: Timestamp) -> Option<Timestamp> {
        let is_in_time = self.referred_at.is_some_and(|then| at < then + SignedDuration::from_secs(REFERRAL_SECONDS));
        (is_in_time && !self.is_open(at)).then(|| at + SignedDuration::from_secs(FREE_ENTRY_SECONDS))
    }

    fn is_open(self, at: Timestamp) -> bool {
        self.until.is_some_and(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    #[test]
    fn an_answer_within_a_day_opens_three_free_days() {
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(hours * HOUR);
        let nobody = FreeEntry::default();
        let referred = FreeEntry { referred_at: Some(at(0)), until: None };
        let answered = FreeEntry { referred_at: None, until: Some(at(73)) };
        let again = FreeEntry { referred_at: Some(at(70)), until: Some(at(73)) };
        for (entry, hours, is_free, opens) in [
            (nobody, 0, false, None),
            (referred, 1, true, Some(73)),
            (referred, 23, true, Some(95)),
            (referred, 24, false, None),
            (answered, 72, true, None),
            (answered, 73, false, None),
            (again, 71, true, None),
            (again, 74, true, Some(146)),
        ] {
            assert_eq!(entry.is_free(at(hours)), is_free, "{entry:?} {hours}");
            assert_eq!(entry.opens(at(hours)), opens.map(at), "{entry:?} {hours}");
        }
    }
}
