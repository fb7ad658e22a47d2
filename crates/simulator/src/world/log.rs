//! What came in through the Graph API and what went out as webhooks.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::view::{DeliveryState, DeliveryView, GraphRequestView};

/// Graph calls kept; past it the oldest go.
pub const GRAPH_REQUESTS_MAX: usize = 5_000;
/// Finished webhooks kept; past it the oldest go.
pub const FINISHED_DELIVERIES_MAX: usize = 2_000;
/// Webhooks waiting for an acknowledgement; past it the oldest are given up.
pub const PENDING_DELIVERIES_MAX: usize = 20_000;
/// Bodies longer than this are not kept in the logs, in bytes.
pub const LOGGED_BODY_BYTES_MAX: usize = 64 * 1_024;

/// The log of Graph calls.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    kept: VecDeque<GraphRequestView>,
    number: u64,
}

impl Requests {
    /// Writes a call down and gives it its number.
    pub(crate) fn add(&mut self, mut request: GraphRequestView) {
        self.number += 1;
        request.number = self.number;
        self.kept.push_back(request);
        if self.kept.len() > GRAPH_REQUESTS_MAX {
            self.kept.pop_front();
        }
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &GraphRequestView> {
        self.kept.iter()
    }

    pub(crate) fn continue_after(&mut self, earlier: &Self) {
        self.number = earlier.number;
    }
}

/// How a webhook is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signing {
    /// With the app secret.
    #[default]
    Valid,
    /// With another secret.
    Wrong,
    /// Not at all.
    Missing,
}

/// A webhook on its way.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) at_milliseconds: i64,
    pub(crate) phone_id: Option<String>,
    /// The user's messages in it, or the message that a status is about.
    pub(crate) wamids: Vec<String>,
    pub(crate) kind: String,
    pub(crate) body: Bytes,
    pub(crate) signing: Signing,
    pub(crate) attempts: u32,
    pub(crate) attempts_max: u32,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) answered_in_milliseconds: Option<u64>,
}

impl Pending {
    pub(crate) fn view(&self, number: u64, state: DeliveryState) -> DeliveryView {
        let short = self.body.len() <= LOGGED_BODY_BYTES_MAX;
        DeliveryView {
            number,
            at_milliseconds: self.at_milliseconds,
            phone_id: self.phone_id.clone(),
            wamid: self.wamids.first().cloned(),
            kind: self.kind.clone(),
            attempts: self.attempts,
            status: self.status,
            error: self.error.clone(),
            answered_in_milliseconds: self.answered_in_milliseconds,
            state,
            body: short.then(|| serde_json::from_slice(&self.body).ok()).flatten(),
        }
    }
}

/// All webhooks: those pending and the last finished ones.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    pending: BTreeMap<u64, Pending>,
    finished: VecDeque<(u64, DeliveryState, Pending)>,
    /// Held back by a reorder fault until another one is through.
    pub(crate) held: Vec<u64>,
    number: u64,
}

impl Deliveries {
    /// Takes a webhook in; gives its number and the one that had to be given up for it.
    pub(crate) fn add(&mut self, pending: Pending) -> (u64, Option<Pending>) {
        self.number += 1;
        self.pending.insert(self.number, pending);
        let surplus = if self.pending.len() > PENDING_DELIVERIES_MAX {
            self.pending.keys().next().copied().and_then(|oldest| self.finish(oldest, DeliveryState::GivenUp))
        } else {
            None
        };
        (self.number, surplus)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Pending> {
        self.pending.get_mut(&number)
    }

    /// Moves a webhook to the finished ones. `None`: it was finished already.
    pub(crate) fn finish(&mut self, number: u64, state: DeliveryState) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.finished.push_back((number, state, pending.clone()));
        if self.finished.len() > FINISHED_DELIVERIES_MAX {
            self.finished.pop_front();
        }
        Some(pending)
    }

    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Newest first.
    pub(crate) fn newest(&self, limit: usize) -> Vec<DeliveryView> {
        let mut views: Vec<DeliveryView> = self
            .pending
            .iter()
            .rev()
            .take(limit)
            .map(|(number, pending)| pending.view(*number, DeliveryState::Pending))
            .chain(self.finished.iter().rev().take(limit).map(|(number, state, pending)| pending.view(*number, *state)))
            .collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.number));
        views.truncate(limit);
        views
    }

    pub(crate) fn continue_after(&mut self, earlier: &Self) {
        self.number = earlier.number;
    }
}
