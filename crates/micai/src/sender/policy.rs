//! What may be sent now. Pure, and asked at the moment of sending, not when the message was written.

use jiff::{SignedDuration, Timestamp};

use super::consent::consent_refusal;
use crate::domain::erasure::erased_error;
use crate::domain::outbound::{MessageBody, SendCandidate, SendError};
use crate::domain::pause::{PauseKey, PauseScope, Stopped};
use crate::domain::template::TemplateCategory;
use crate::store::PauseSnapshot;

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
    /// Plain words may not go out now: a template, or wait until the window opens.
    NeedsTemplate,
    /// Keep the request, send nothing: outbound is off.
    Suppress,
    /// It keeps its place in line until then.
    Wait(Timestamp),
    /// It is put aside until this is no longer paused.
    Pause(PauseKey, SendError),
    /// It must not go out.
    Cancel(SendError),
}

/// Decides about one send to somebody in `country`; `category` is that of its template. What people want comes first, so that a
/// dry run does not show what would never have gone out.
pub fn check(
    policy: &Policy,
    candidate: &SendCandidate,
    category: Option<TemplateCategory>,
    pauses: &PauseSnapshot,
    country: &str,
    now: Timestamp,
) -> Permission {
    if candidate.body == MessageBody::Erased {
        return Permission::Cancel(erased_error());
    }
    if let Some(error) = consent_refusal(candidate, category) {
        return Permission::Cancel(error);
    }
    if !policy.outbound_enabled {
        return Permission::Suppress;
    }
    if let Some(pause) = pauses.first(pause_keys(candidate, country), now) {
        return match pause.stops(now) {
            Stopped::Until(instant) => Permission::Wait(instant),
            Stopped::Held(key, error) => Permission::Pause(key, error),
        };
    }
    // An approved template may be sent at any time.
    let open = !candidate.needs_template && window_is_open(policy, candidate.last_inbound_at, now);
    match candidate.body.template() {
        None if !open => Permission::NeedsTemplate,
        _ => Permission::Granted,
    }
}

/// Everything whose pause concerns a send, the widest first.
pub fn pause_keys<'a>(candidate: &'a SendCandidate, country: &'a str) -> impl Iterator<Item = PauseKey> + use<'a> {
    let template = candidate.body.template();
    let templates = template.map(|_| PauseKey::new(PauseScope::AccountTemplates, ""));
    [
        Some(PauseKey::new(PauseScope::Account, "")),
        Some(PauseKey::new(PauseScope::Number, &candidate.phone_number_id)),
        Some(PauseKey::new(PauseScope::Country, country)),
        templates,
        template.map(|template| PauseKey::new(PauseScope::Template, &template.name)),
        template.map(|template| PauseKey::template(&template.name, &template.language)),
    ]
    .into_iter()
    .flatten()
}

/// What a refusal of this scope pauses: of a template the language that was refused.
pub fn pause_key(scope: PauseScope, candidate: &SendCandidate, country: &str) -> Option<PauseKey> {
    pause_keys(candidate, country).filter(|key| key.scope == scope).last()
}

/// Why a send is held that no template can say.
pub fn window_closed(why_no_template: &str) -> SendError {
    SendError {
        code: None,
        reason: "window_closed".to_owned(),
        detail: format!(
            "The person's last message is too old for plain words. {why_no_template} It goes out when they write again."
        ),
    }
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
    use crate::domain::free_entry::FreeEntry;
    use crate::ids::Ids;

    const DAY: i64 = 24 * 3_600;

    fn candidate(last_inbound_seconds_ago: Option<i64>, opted_out: bool, now: Timestamp) -> SendCandidate {
        let ids = Ids::seeded(3);
        SendCandidate {
            id: ids.outbound(now),
            conversation_id: ids.conversation(now),
            contact_id: ids.contact(now),
            agent_id: None,
            phone_number_id: "1".to_owned(),
            to: Address { kind: AddressKind::Phone, value: "551".to_owned() },
            body: MessageBody::Text { text: "hello".to_owned() },
            estimate_micros: None,
            attempts: 0,
            attempts_before: 0,
            ignores_opt_out: false,
            tried_since: None,
            needs_template: false,
            template: None,
            last_inbound_at: last_inbound_seconds_ago.map(|ago| now - SignedDuration::from_secs(ago)),
            opted_out_at: opted_out.then_some(now),
            marketing_stopped_at: None,
            blocked_at: None,
            free_entry: FreeEntry::default(),
        }
    }

    fn word(permission: &Permission) -> &str {
        match permission {
            Permission::Granted => "granted",
            Permission::NeedsTemplate => "needs_template",
            Permission::Suppress => "suppress",
            Permission::Wait(_) => "wait",
            Permission::Pause(_, error) | Permission::Cancel(error) => &error.reason,
        }
    }

    #[test]
    fn what_may_be_sent() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        for (last_seconds_ago, opted_out, outbound_enabled, expected) in [
            (Some(0), false, true, "granted"),
            (Some(DAY - WINDOW_MARGIN_SECONDS - 1), false, true, "granted"),
            (Some(DAY - WINDOW_MARGIN_SECONDS), false, true, "needs_template"),
            (Some(DAY), false, true, "needs_template"),
            (None, false, true, "needs_template"),
            (Some(0), true, true, "opted_out"),
            (Some(0), false, false, "suppress"),
            (Some(2 * DAY), false, false, "suppress"),
            (Some(0), true, false, "opted_out"),
        ] {
            let policy = Policy { outbound_enabled, window_seconds: DAY };
            let permission = check(
                &policy,
                &candidate(last_seconds_ago, opted_out, now),
                None,
                &PauseSnapshot::default(),
                "BR",
                now,
            );
            assert_eq!(word(&permission), expected, "{last_seconds_ago:?} {opted_out} {outbound_enabled}");
        }
    }

    #[test]
    fn the_confirmation_of_stop_goes_out() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let confirmation = SendCandidate { ignores_opt_out: true, ..candidate(Some(0), true, now) };
        let policy = Policy { outbound_enabled: true, window_seconds: DAY };
        assert_eq!(check(&policy, &confirmation, None, &PauseSnapshot::default(), "BR", now), Permission::Granted);
    }
}
