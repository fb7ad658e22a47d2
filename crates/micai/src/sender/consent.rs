//! Whether the person wants the message, asked at the moment of sending. Pure.

use crate::domain::consent::{blocked_error, marketing_stopped_error, opted_out_error};
use crate::domain::outbound::{SendCandidate, SendError};
use crate::domain::template::TemplateCategory;

/// Why a message must not go out, if the person does not want it. `category` is that of its template; none for plain words,
/// which answer somebody. Of a template whose category is not known, marketing is assumed.
pub fn consent_refusal(candidate: &SendCandidate, category: Option<TemplateCategory>) -> Option<SendError> {
    let may_be_marketing = matches!(category, Some(TemplateCategory::Marketing | TemplateCategory::Unknown));
    if candidate.blocked_at.is_some() {
        Some(blocked_error())
    } else if candidate.opted_out_at.is_some() && !candidate.ignores_opt_out {
        Some(opted_out_error())
    } else if candidate.marketing_stopped_at.is_some() && may_be_marketing {
        Some(marketing_stopped_error())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;

    use super::*;
    use crate::domain::contact::{Address, AddressKind};
    use crate::domain::outbound::MessageBody;
    use crate::ids::Ids;

    #[test]
    fn what_the_person_does_not_want_is_refused() {
        use TemplateCategory::{Authentication, Marketing, Unknown, Utility};
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let ids = Ids::seeded(3);
        let candidate = SendCandidate {
            id: ids.outbound(now),
            conversation_id: ids.conversation(now),
            phone_number_id: "1".to_owned(),
            to: Address { kind: AddressKind::Phone, value: "551".to_owned() },
            body: MessageBody::Text { text: "hello".to_owned() },
            attempts: 0,
            ignores_opt_out: false,
            last_inbound_at: None,
            opted_out_at: None,
            marketing_stopped_at: None,
            blocked_at: None,
        };
        // Blocked, opted out, marketing stopped; confirms an opt-out; category.
        for (blocked, opted_out, stopped, confirms, category, expected) in [
            (false, false, false, false, None, None),
            (false, false, false, false, Some(Marketing), None),
            (false, false, true, false, Some(Marketing), Some("marketing_stopped")),
            (false, false, true, false, Some(Unknown), Some("marketing_stopped")),
            (false, false, true, false, Some(Utility), None),
            (false, false, true, false, Some(Authentication), None),
            (false, false, true, false, None, None),
            (false, true, false, false, None, Some("opted_out")),
            (false, true, true, false, Some(Utility), Some("opted_out")),
            (false, true, false, true, None, None),
            (true, false, false, false, None, Some("blocked")),
            (true, true, true, true, Some(Marketing), Some("blocked")),
        ] {
            let candidate = SendCandidate {
                ignores_opt_out: confirms,
                opted_out_at: opted_out.then_some(now),
                marketing_stopped_at: stopped.then_some(now),
                blocked_at: blocked.then_some(now),
                ..candidate.clone()
            };
            let reason = consent_refusal(&candidate, category).map(|error| error.reason);
            assert_eq!(reason.as_deref(), expected, "{blocked} {opted_out} {stopped} {confirms} {category:?}");
        }
    }
}
