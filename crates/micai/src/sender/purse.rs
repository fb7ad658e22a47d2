//! The purse: what a send may cost is put aside before it goes out, and what time does to budgets.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::cost::{Basis, Category, Circumstances, PriceTable};
use crate::domain::budget::{Allowance, Budget, BudgetClaim, BudgetPeriod, Reservation, SpendRequest, Spender, span};
use crate::domain::outbound::{MessageBody, SendCandidate, SendError};
use crate::domain::template::TemplateCategory;
use crate::queue::{Topic, WakeQueue};
use crate::store::{BudgetSnapshot, ReservationCursor, Store, StoreError};

/// Asks for the money of sends. Clones share everything.
#[derive(Clone)]
pub struct Purse {
    store: Store,
    prices: Arc<PriceTable>,
}

impl Purse {
    /// A purse that reckons with `prices`.
    pub fn new(store: Store, prices: Arc<PriceTable>) -> Self {
        Self { store, prices }
    }

    /// The country of whom a send goes to.
    pub fn country_of(&self, candidate: &SendCandidate) -> String {
        self.prices.country_of(&candidate.to)
    }

    /// Notes on a send what it may cost, and puts that aside where a budget concerns it. Gives why it must be held, if a
    /// budget has no room for it. Without a budget nothing is written. `template` is the category of the template that the
    /// send uses; where it is not known, it counts as the dearest.
    pub async fn open(
        &self,
        candidate: &mut SendCandidate,
        template: Option<TemplateCategory>,
        now: Timestamp,
    ) -> Result<Option<SendError>, StoreError> {
        let snapshot = self.store.budget_snapshot().await?;
        let country = self.prices.country_of(&candidate.to);
        let category = category(&candidate.body, template);
        let used = snapshot.free_messages_used.get(&candidate.phone_number_id).copied().unwrap_or_default();
        let estimate = self.prices.estimate(
            &country,
            category,
            Circumstances {
                at: now,
                inside_free_entry_point: candidate.free_entry.is_free(now),
                free_allowance_left: self.prices.free_service_messages() - used,
            },
        );
        candidate.estimate_micros = Some(estimate.micros);
        let claims = claims(&snapshot, candidate, &country, now);
        if claims.is_empty() {
            return Ok(None);
        }
        // Free whatever is left of the month: such a message uses up none of its free ones. If WhatsApp sees it otherwise, what
        // its status says is spent all the same.
        let is_free = matches!(estimate.basis, Basis::FreeService | Basis::FreeEntryPoint);
        let request = SpendRequest {
            conversation_id: candidate.conversation_id,
            outbound_id: candidate.id,
            phone_number_id: candidate.phone_number_id.clone(),
            micros: if is_free { 0 } else { estimate.billed_micros },
            currency: estimate.currency,
            allowance: (category == Category::Service && !is_free).then(|| Allowance {
                span: span(BudgetPeriod::Month, &TimeZone::UTC, now),
                messages_max: self.prices.free_service_messages(),
                used,
            }),
            claims,
        };
        match self.store.reserve_spend(request).await? {
            Reservation::Reserved => Ok(None),
            Reservation::Exceeded(exceeded) => Ok(Some(exceeded.error())),
        }
    }
}

/// The budgets that a send counts against.
fn claims(snapshot: &BudgetSnapshot, candidate: &SendCandidate, country: &str, now: Timestamp) -> Vec<BudgetClaim> {
    let spender = Spender {
        agent_id: candidate.agent_id.as_ref(),
        contact_id: candidate.contact_id,
        phone_number_id: &candidate.phone_number_id,
        country,
    };
    let claim = |budget: &Budget| {
        let subject = budget.subject_of(&spender)?;
        Some(BudgetClaim { budget_id: budget.id.clone(), subject, span: budget.span(now) })
    };
    snapshot.budgets.iter().filter_map(claim).collect()
}

/// What a message is billed as.
pub(super) fn category(body: &MessageBody, template: Option<TemplateCategory>) -> Category {
    match (body, template) {
        (
            MessageBody::Text { .. }
            | MessageBody::List { .. }
            | MessageBody::Buttons { .. }
            | MessageBody::LocationRequest { .. }
            | MessageBody::Erased,
            _,
        ) => Category::Service,
        (MessageBody::Template { .. }, Some(TemplateCategory::Utility)) => Category::Utility,
        (MessageBody::Template { .. }, Some(TemplateCategory::Authentication)) => Category::Authentication,
        (MessageBody::Template { .. }, Some(TemplateCategory::Marketing | TemplateCategory::Unknown) | None) => {
            Category::Marketing
        }
    }
}

/// Time-driven upkeep of budgets, until `stop` is cancelled: what is settled becomes spend, what came to nothing is given
/// back, what waited goes out when there is room, and past periods end. `currency` is that of the price table.
pub async fn run(
    store: Store,
    queue: Arc<dyn WakeQueue>,
    clock: SharedClock,
    currency: String,
    interval_seconds: i64,
    stop: CancellationToken,
) {
    loop {
        if let Err(error) = look(&store, queue.as_ref(), &currency).await {
            tracing::warn!(%error, "budgets could not be looked after; next time");
        }
        let next = clock.now() + SignedDuration::from_secs(interval_seconds);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(next) => {}
        }
    }
}

/// One look.
pub async fn look(store: &Store, queue: &dyn WakeQueue, currency: &str) -> Result<(), StoreError> {
    let mut after = Some(ReservationCursor::first());
    while let Some(cursor) = after {
        after = store.settle_reservations(&cursor).await?;
    }
    store.end_budget_periods().await?;
    let released = store.release_budget_holds(currency).await?;
    if !released.is_empty() {
        tracing::info!(conversations = released.len(), "budgets have room again: held sends go out");
        queue.announce(Topic::Send, &released);
    }
    Ok(())
}
