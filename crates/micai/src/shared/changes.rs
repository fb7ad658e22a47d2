//! What changed, gathered and told at most ten times a second: conversations by their ids, what is rare by its kind. Never what
//! people wrote.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use crate::ids::ConversationId;

/// How long changes gather: a person does not see the difference, and a busy process tells ten events a second and no more.
const GATHER: Duration = Duration::from_millis(100);
/// Conversations of one event: as many as fit into [`EVENT_BYTES_MAX`](super::EVENT_BYTES_MAX). Of those beyond, it only says that
/// there are more.
const CONVERSATIONS_MAX: usize = 200;

/// Of what it is told that something changed, and not which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Agents, their rules and tools, and who answers whom.
    Agents,
    /// What somebody must look at.
    Alerts,
    /// What may be spent.
    Budgets,
    /// Who people are and what they want to hear.
    Contacts,
    /// Messages that will not move by themselves any more.
    Letters,
    /// What is not sent for the time being.
    Pauses,
    /// What is said to people at a time.
    Schedules,
    /// Message templates.
    Templates,
}

/// What changed within a tenth of a second, in one process.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Changed {
    /// Conversations in which a message came in, was decided about, sent, or got a status; in that order.
    #[schema(value_type = Vec<uuid::Uuid>, max_items = 200)]
    conversations: Vec<ConversationId>,
    /// What else there is to read anew.
    subjects: Vec<Subject>,
    /// There were more conversations than are listed: any may have changed.
    more: bool,
}

/// Tells what has been committed. Clones share everything. As long as nobody can listen, it does nothing.
#[derive(Clone)]
pub struct Changes(Arc<Inner>);

struct Inner {
    shared: Arc<dyn Shared>,
    gathered: Mutex<Changed>,
}

impl Changes {
    /// Tells through `shared`.
    pub fn new(shared: Arc<dyn Shared>) -> Self {
        Self(Arc::new(Inner { shared, gathered: Mutex::default() }))
    }

    /// Whether anybody may be listening.
    pub fn is_heard(&self) -> bool {
        self.0.shared.is_heard()
    }

    /// Something changed in these conversations, and is committed.
    pub fn conversations(&self, ids: impl IntoIterator<Item = ConversationId>) {
        self.gather(|changed| ids.into_iter().for_each(|id| changed.add(id)));
    }

    /// Something of this kind changed, and is committed.
    pub fn subject(&self, subject: Subject) {
        self.gather(|changed| changed.add_subject(subject));
    }

    /// Whoever brings the first sees to the telling.
    fn gather(&self, add: impl FnOnce(&mut Changed)) {
        if !self.is_heard() {
            return;
        }
        let mut gathered = self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = gathered.is_empty();
        add(&mut gathered);
        if is_first && !gathered.is_empty() {
            let inner = self.0.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                inner.tell();
            });
        }
    }
}

impl Inner {
    fn tell(&self) {
        let changed = std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        let Ok(event) = serde_json::to_string(&changed) else { return };
        if let Err(error) = self.shared.publish(&event) {
            tracing::error!(%error, "what changed could not be told");
        }
    }
}

impl Changed {
    fn is_empty(&self) -> bool {
        self.conversations.is_empty() && self.subjects.is_empty() && !self.more
    }

    /// Looking through a few hundred ids in a row is quicker than to hash one.
    fn add(&mut self, id: ConversationId) {
        if self.conversations.contains(&id) {
            return;
        }
        match self.conversations.len() < CONVERSATIONS_MAX {
            true => self.conversations.push(id),
            false => self.more = true,
        }
    }

    fn add_subject(&mut self, subject: Subject) {
        if !self.subjects.contains(&subject) {
            self.subjects.push(subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use uuid::Uuid;

    use super::super::{EVENT_BYTES_MAX, Heard, InProcess};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const SUBJECTS: [Subject; 8] = [
        Subject::Agents,
        Subject::Alerts,
        Subject::Budgets,
        Subject::Contacts,
        Subject::Letters,
        Subject::Pauses,
        Subject::Schedules,
        Subject::Templates,
    ];

    fn conversation(number: usize) -> ConversationId {
        ConversationId(Uuid::from_u128(number as u128))
    }

    #[test]
    fn the_fullest_event_fits_and_says_that_there_is_more() {
        let mut changed = Changed::default();
        for _ in 0..2 {
            (0..CONVERSATIONS_MAX).for_each(|number| changed.add(conversation(number)));
            SUBJECTS.into_iter().for_each(|subject| changed.add_subject(subject));
            assert!(!changed.more, "each counts once");
        }
        changed.add(conversation(CONVERSATIONS_MAX));
        assert!(changed.more);
        assert_eq!((changed.conversations.len(), changed.subjects.len()), (CONVERSATIONS_MAX, SUBJECTS.len()));
        let event = serde_json::to_string(&changed).unwrap();
        assert!(event.len() <= EVENT_BYTES_MAX, "{} bytes", event.len());
    }

    #[tokio::test]
    async fn what_comes_close_together_is_one_event_and_what_follows_the_next() {
        let shared: Arc<dyn Shared> = Arc::new(InProcess::default());
        let changes = Changes::new(shared.clone());
        changes.conversations([conversation(9)]);
        assert!(changes.0.gathered.lock().unwrap().is_empty(), "nobody listens, and nothing gathers");

        let mut events = shared.subscribe();
        let begun = Instant::now();
        changes.conversations([]);
        changes.conversations([conversation(2), conversation(1)]);
        changes.subject(Subject::Alerts);
        changes.conversations([conversation(1)]);
        let mut next = async || match tokio::time::timeout(PATIENCE, events.next()).await.unwrap() {
            Some(Heard::Event(event)) => serde_json::from_str::<serde_json::Value>(&event).unwrap(),
            other => panic!("{other:?}"),
        };
        let expected = serde_json::json!({
            "conversations": [conversation(2), conversation(1)], "subjects": ["alerts"], "more": false,
        });
        assert_eq!(next().await, expected);
        assert!(begun.elapsed() >= GATHER);
        changes.conversations([conversation(1)]);
        assert_eq!(next().await["conversations"], serde_json::json!([conversation(1)]));
        assert!(begun.elapsed() >= 2 * GATHER);
    }
}
