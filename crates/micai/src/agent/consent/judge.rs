//! What follows from a wish: whether it changes anything, what to note, and how to confirm it once.

use serde_json::json;

use super::{ConsentWish, Heard};
use crate::domain::consent::{ConsentCategory, ConsentChange, ConsentSource};
use crate::domain::inbound::{MessageNature, PendingMessage};
use crate::domain::turn::{Decision, Effect};

/// How it stands with a person, at this point of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) struct Standing {
    /// They want nothing from us.
    pub opted_out: bool,
    /// They want no marketing from us, and said so in this way.
    pub marketing_stopped_by: Option<ConsentSource>,
}

/// What a turn makes of a wish.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) struct Verdict {
    pub decision: Decision,
    pub reply: Option<String>,
    pub effects: Vec<Effect>,
}

/// Judges a wish, and moves `standing` along. `None` for START where there is nothing to undo: an ordinary word.
pub(in crate::agent) fn judge(heard: &Heard<'_>, message: &PendingMessage, standing: &mut Standing) -> Option<Verdict> {
    let source = match message.nature {
        MessageNature::Tap => ConsentSource::Button,
        MessageNature::Words | MessageNature::Edit | MessageNature::Revoke | MessageNature::Schedule => {
            ConsentSource::Word
        }
    };
    let effect = |category, stopped| {
        let evidence = json!({
            "word": heard.word, "language": heard.language.code, "provider_message_id": message.provider_message_id,
        });
        let change = ConsentChange::new(category, stopped, source, evidence);
        Effect::Consent { change, provider_message_id: message.provider_message_id.clone() }
    };
    let silent = |decision| Some(Verdict { decision, reply: None, effects: Vec::new() });
    match heard.wish {
        // Confirmed once.
        ConsentWish::Stop | ConsentWish::StopMarketing if standing.opted_out => silent(Decision::OptedOut),
        ConsentWish::StopMarketing if standing.marketing_stopped_by.is_some() => silent(Decision::MarketingStop),
        ConsentWish::Stop => {
            standing.opted_out = true;
            let reply = Some(heard.language.stopped.clone());
            Some(Verdict { decision: Decision::OptOut, reply, effects: vec![effect(ConsentCategory::All, true)] })
        }
        ConsentWish::StopMarketing => {
            standing.marketing_stopped_by = Some(source);
            let reply = heard.language.marketing_stopped.clone();
            let effects = vec![effect(ConsentCategory::Marketing, true)];
            Some(Verdict { decision: Decision::MarketingStop, reply, effects })
        }
        ConsentWish::Start => {
            let mut effects = Vec::new();
            if std::mem::take(&mut standing.opted_out) {
                effects.push(effect(ConsentCategory::All, false));
            }
            if standing.marketing_stopped_by.is_some_and(ConsentSource::is_undone_by_start) {
                standing.marketing_stopped_by = None;
                effects.push(effect(ConsentCategory::Marketing, false));
            }
            let reply = Some(heard.language.started.clone());
            (!effects.is_empty()).then_some(Verdict { decision: Decision::OptIn, reply, effects })
        }
    }
}
