//! Templates at the moment of sending: which one stands in for plain words while the window is closed, and whether the one that
//! a message names may go out as it is.

use jiff::Timestamp;

use crate::domain::agent::FALLBACK_WORDS;
use crate::domain::outbound::{MessageBody, Refusal, SendCandidate, SendError};
use crate::domain::template::{TemplateCategory, TemplateUse, TextValue};
use crate::sender::policy;
use crate::store::{PauseSnapshot, Store, StoreError};
use crate::templates::book::Snapshot;
use crate::templates::choice::{Choice, NoChoice, Wishes, choose};
use crate::templates::{TemplateBook, contract, render};

/// Characters of a message that a template's value takes; more are cut.
const WORDS_CHARACTERS_MAX: usize = 900;

/// What an installation falls back to.
#[derive(Debug, Clone, Default)]
pub struct OutOfWindow {
    /// The template's name; none: messages wait until the window opens.
    pub template: Option<String>,
    /// Its language, and the one to try where a template is not there in its own.
    pub language: String,
    /// Whether the account's templates are known. Without an account to ask, a template goes as it is and WhatsApp judges.
    pub has_account: bool,
}

/// Finds and checks templates. Clones share everything.
#[derive(Clone)]
pub struct StandIns {
    store: Store,
    book: TemplateBook,
    fallback: OutOfWindow,
}

impl StandIns {
    /// With the templates in `book`.
    pub fn new(store: Store, book: TemplateBook, fallback: OutOfWindow) -> Self {
        Self { store, book, fallback }
    }

    /// What says the same by a template.
    ///
    /// # Errors
    /// Why the message must wait instead: a sentence for each template that might have done.
    pub async fn stand_in(
        &self,
        candidate: &SendCandidate,
        pauses: &PauseSnapshot,
        now: Timestamp,
    ) -> Result<Result<MessageBody, SendError>, StoreError> {
        let agent = match &candidate.agent_id {
            Some(agent) => self.store.fallback_template(agent).await?,
            None => None,
        };
        let chosen = choose_stand_in(&self.book.snapshot(), candidate, agent, &self.fallback, (pauses, now));
        Ok(match chosen {
            Ok(choice) => Ok(MessageBody::Template {
                text: Some(render::render(&choice.template, &choice.filled).text()),
                template: Box::new(choice.filled),
            }),
            Err(none) => Err(policy::window_closed(&none.reasons.join(" "))),
        })
    }

    /// Whether WhatsApp can be asked which templates there are.
    pub fn has_account(&self) -> bool {
        self.fallback.has_account
    }

    /// What a template message counts as; unknown where its template is.
    pub fn category(&self, body: &MessageBody) -> Option<TemplateCategory> {
        let filled = body.template()?;
        let templates = self.book.snapshot();
        Some(templates.find(&filled.name, &filled.language).map_or(TemplateCategory::Unknown, |found| found.category))
    }

    /// Whether WhatsApp would take a template message as it is.
    ///
    /// # Errors
    /// The dead letter that it becomes otherwise.
    pub fn check(&self, body: &MessageBody) -> Result<(), Refusal> {
        let Some(filled) = body.template().filter(|_| self.fallback.has_account) else { return Ok(()) };
        let templates: &Snapshot = &self.book.snapshot();
        let fail =
            |reason: &str, detail: String| Refusal::Fail(SendError { code: None, reason: reason.to_owned(), detail });
        let Some(template) = templates.find(&filled.name, &filled.language) else {
            return Err(fail(
                "template_unknown",
                format!(
                    "The account has no template {} in {}. GET /admin/templates lists those it has; POST \
                     /admin/templates/sync fetches them anew.",
                    filled.name, filled.language
                ),
            ));
        };
        if !template.status.may_be_sent() {
            let status = template.status.as_str();
            return Err(fail(
                "template_not_approved",
                format!("The template {} is {status}; only approved ones may be sent. Send another one.", filled.name),
            ));
        }
        match contract::faults(template, filled).first() {
            Some(fault) => Err(fail("template_contract", fault.sentence.clone())),
            None => Ok(()),
        }
    }
}

/// The template that says the same as plain words while the window is closed: the message's own, its agent's, the
/// installation's. One that is paused only where no other will do: the message waits for it. Pure.
///
/// # Errors
/// A sentence for each of them: why not that one.
pub fn choose_stand_in(
    templates: &Snapshot,
    candidate: &SendCandidate,
    agent: Option<TemplateUse>,
    fallback: &OutOfWindow,
    paused: (&PauseSnapshot, Timestamp),
) -> Result<Choice, NoChoice> {
    let words = words(&candidate.body);
    let agent = agent.map(|agent| with_words(agent, &words));
    let language = Some(fallback.language.as_str()).filter(|language| !language.is_empty());
    let plain = fallback.template.as_ref().map(|name| TemplateUse::plain(name, &fallback.language));
    let filled = plain.clone().map(|plain| TemplateUse { body: vec![TextValue::numbered(&words)], ..plain });
    let (own, agent) = (candidate.template.as_ref(), agent.as_ref());
    let among = |paused| {
        let wishes = |installation| Wishes { own, agent, installation, language, paused };
        let chosen = choose(templates, &wishes(plain.as_ref()));
        // The installation's template may have one place for what the message says.
        chosen.or_else(|none| match &filled {
            Some(filled) => choose(templates, &wishes(Some(filled))).map_err(|_| none),
            None => Err(none),
        })
    };
    among(Some(paused)).or_else(|_| among(None))
}

/// What a message says, as a template's value may say it: in one line.
fn words(body: &MessageBody) -> String {
    let Some(text) = body.text().filter(|_| body.template().is_none()) else { return String::new() };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

fn with_words(mut filled: TemplateUse, words: &str) -> TemplateUse {
    for value in &mut filled.body {
        value.text = value.text.replace(FALLBACK_WORDS, words);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_into_a_value() {
        let said = |text: &str| words(&MessageBody::Text { text: text.to_owned() });
        assert_eq!(said("one\n\n two\t\tthree     four"), "one two three four");
        assert_eq!(said(&"x".repeat(5_000)).chars().count(), WORDS_CHARACTERS_MAX + 1);
        let filled = TemplateUse { body: vec![TextValue::numbered("News: {text}")], ..TemplateUse::plain("a", "en") };
        assert_eq!(with_words(filled, "it rains").body[0].text, "News: it rains");
    }
}
