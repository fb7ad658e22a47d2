//! What may be sent now. Pure, and asked at the moment of sending, not when the message was written.

use jiff::{SignedDuration, Timestamp};

use super::consent::consent_refusal;
use crate::domain::outbound::{SendCandidate, SendError};
use crate::domain::template::TemplateCategory;

/// Kept back from the end of the window: the clocks of two companies differ, and a message takes its time.
pub const WINDOW_MARGIN_SECONDS: i64 = 60;

/// The operator's switches.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Nothing is sent at all until this is on.
    pub outbound_enabled: bool,
    /// How long after a person's last message plain words may be sent.
    pub window_seconds: i64,
}

/// What policy says about a send.
#[derive(Debug, Clone, PartialEq)]
pub enum Permission {
    /// Go ahead.
    Granted,
    /// Keep the request, send nothing: outbound is off.
    Suppress,
    /// Wait until the window opens.
    Hold(SendError),
    /// It must not go out.
    Cancel(SendError),
}

/// Decides about one send. What people want comes first, so that a dry run does not show what would never have gone out.
pub fn check(policy: &Policy, candidate: &SendCandidate, now: Timestamp) -> Permission {
    // A template's category is not known here yet.
    let category = candidate.body.template().map(|_| TemplateCategory::Unknown);
    if let Some(error) = consent_refusal(candidate, category) {
        return Permission::Cancel(error);
    }
    if !policy.outbound_enabled {
        return Permission::Suppress;
    }
    if !window_is_open(policy, candidate.last_inbound_at, now) {
        return Permission::Hold(SendError {
            code: None,
            reason: "window_closed".to_owned(),
            detail: "The person's last message is too old for plain words. It goes out when they write again."
                .to_owned(),
        });
    }
    Permission::Granted
}

/// Whether plain words may be sent to somebody who last wrote at `last_inbound_at`.
pub fn window_is_open(policy: &Policy, last_inbound_at: Option<Timestamp>, now: Timestamp) -> bool {
    last_inbound_at
        .is_some_and(|last| now < last + SignedDuration::from_secs(policy.window_seconds - WINDOW_MARGIN_SECONDS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::contact::{Address, AddressKind};
    use crate::domain::outbound::MessageBody;
    use crate::ids::Ids;

    const DAY: i64 = 24 * 3_600;

    fn candidate(last_inbound_seconds_ago: Option<i64>, opted_out: bool, now: Timestamp) -> SendCandidate {
        let ids = Ids::seeded(3);
        SendCandidate {
            id: ids.outbound(now),
            conversation_id: ids.conversation(now),
            phone_number_id: "1".to_owned(),
            to: Address { kind: AddressKind::Phone, value: "551".to_owned() },
            body: MessageBody::Text { text: "hello".to_owned() },
            attempts: 0,
            ignores_opt_out: false,
            last_inbound_at: last_inbound_seconds_ago.map(|ago| now - SignedDuration::from_secs(ago)),
            opted_out_at: opted_out.then_some(now),
            marketing_stopped_at: None,
            blocked_at: None,
        }
    }

    fn word(permission: &Permission) -> &str {
        match permission {
            Permission::Granted => "granted",
            Permission::Suppress => "suppress",
            Permission::Hold(error) | Permission::Cancel(error) => &error.reason,
        }
    }

    #[test]
    fn what_may_be_sent() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        for (last_seconds_ago, opted_out, outbound_enabled, expected) in [
            (Some(0), false, true, "granted"),
            (Some(DAY - WINDOW_MARGIN_SECONDS - 1), false, true, "granted"),
            (Some(DAY - WINDOW_MARGIN_SECONDS), false, true, "window_closed"),
            (Some(DAY), false, true, "window_closed"),
            (None, false, true, "window_closed"),
            (Some(0), true, true, "opted_out"),
            (Some(0), false, false, "suppress"),
            (Some(2 * DAY), false, false, "suppress"),
            (Some(0), true, false, "opted_out"),
        ] {
            let policy = Policy { outbound_enabled, window_seconds: DAY };
            let permission = check(&policy, &candidate(last_seconds_ago, opted_out, now), now);
            assert_eq!(word(&permission), expected, "{last_seconds_ago:?} {opted_out} {outbound_enabled}");
        }
    }

    #[test]
    fn the_confirmation_of_stop_goes_out() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let confirmation = SendCandidate { ignores_opt_out: true, ..candidate(Some(0), true, now) };
        let policy = Policy { outbound_enabled: true, window_seconds: DAY };
        assert_eq!(check(&policy, &confirmation, now), Permission::Granted);
    }
}
