//! The database: one struct, one verb a transaction. Every statement is written once and runs on SQLite and Postgres.
//!
//! Verbs on hot paths (ingest, claim, finish, next, reserve, begin, refuse, settle) go through lanes that share commits
//! (`lane.rs`); the rest run on their own. No verb knows what calls it.

mod account_news;
mod agents;
mod alerts;
mod audit;
mod budgets;
mod checkpoint;
mod consent;
mod contacts;
mod conversations;
mod db;
mod due;
mod due_batch;
mod erasures;
mod error;
mod facts;
mod failures;
mod familiar;
mod finish;
mod handover;
mod holds;
mod identity;
mod ingest;
mod lane;
mod letters;
mod migrate;
mod notices;
mod operator;
mod outbox;
mod pauses;
mod people;
mod postgres;
mod purse;
mod repairs;
mod reports;
mod reserve;
mod rules;
mod schedule_lists;
mod schedule_writes;
mod schedules;
mod script;
mod settle;
mod settled;
mod spend;
mod statuses;
mod stops;
mod template_pauses;
mod template_writes;
mod templates;
mod tools;
mod turns;
mod unknown;

use std::sync::Arc;

use tokio::sync::Notify;

pub use agents::{AgentRow, AgentWithRules, DeleteAgent};
pub use alerts::AlertView;
pub use audit::AuditView;
pub use budgets::{BudgetSnapshot, BudgetView, SaveBudget};
pub use contacts::{BindOutcome, CONSENT_HISTORY_MAX, ConsentView, ContactDetail, ContactView, IdentityView};
pub use conversations::{ConversationView, MessageView, Timeline, TranscriptEntry};
pub use db::Location;
pub use due::Fired;
pub use erasures::{ErasureStep, ErasureView};
pub use error::StoreError;
pub use handover::SetMode;
pub use ingest::IngestReceipt;
pub use letters::{CallView, StatusView, Story};
pub use migrate::{MigrationState, MigrationStatus, SchemaStatus};
pub use operator::{OperatorSend, Prospect};
pub use outbox::Moved;
pub use pauses::{PauseSnapshot, PauseView};
pub use purse::ReservationCursor;
pub use repairs::Repaired;
pub use reports::{Backlog, OutboundView};
pub use rules::RuleChange;
pub use schedule_lists::{ListedSchedule, ScheduleFilter};
pub use schedule_writes::{DueNext, RunSchedule, SaveSchedule, SavedSchedule, ScheduleKey};
pub use spend::{AllowanceView, SPEND_GROUPS_MAX, SpendGroup, SpendView};
pub use templates::{SyncChanges, SyncTicket, TemplateFilter, TemplateRow, TemplateSyncState};
pub use tools::Denials;
pub use unknown::OVERDUE_SENDS_MAX;

use crate::clock::SharedClock;
use crate::domain::budget::Reservation;
use crate::domain::inbound::WebhookFacts;
use crate::domain::outbound::NextSend;
use crate::domain::turn::{Claim, Effect, FinishOutcome, FinishedTurn};
use crate::ids::{ConversationId, Ids};
use db::Db;
use lane::{Lane, LaneBounds, Yard};

/// Webhooks that may wait for their commit; beyond that the caller is told to come back.
const INGEST_WAITING_MAX: usize = 4_096;
/// Rows of one ingest transaction; keeps statements below SQLite's 32,766 parameters.
const INGEST_BATCH_ROWS_MAX: usize = 1_000;
/// Turns and sends that may wait for a commit; above what the workers may have under way at once.
const WORK_WAITING_MAX: usize = 4_096;
/// Conversations, turns or sends of one transaction.
const WORK_BATCH_MAX: usize = 200;

/// The database. Clones share the same pools and lanes.
#[derive(Clone)]
pub struct Store {
    db: Db,
    ids: Arc<Ids>,
    clock: SharedClock,
    lanes: Arc<Lanes>,
    budgets: Arc<budgets::BudgetCache>,
    pause_cache: Arc<pauses::PauseCache>,
    schedule_changes: Arc<Notify>,
}

struct Lanes {
    ingest: Lane<ingest::Webhook, IngestReceipt>,
    claim: Lane<turns::ClaimRequest, Option<Claim>>,
    finish: Lane<FinishedTurn, FinishOutcome>,
    next: Lane<outbox::NextRequest, NextSend>,
    reserve: Lane<reserve::Reserve, Reservation>,
    begin: Lane<outbox::Begin, bool>,
    refuse: Lane<outbox::Refuse, Moved>,
    settle: Lane<settle::Settle, Moved>,
}

impl Store {
    /// Connects and starts the lanes. The schema is left as it is: see [`Store::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot be reached or opened.
    pub async fn open(location: &Location, ids: Arc<Ids>, clock: SharedClock) -> Result<Self, StoreError> {
        let db = Db::connect(location).await?;
        let ingest = LaneBounds { waiting_items_max: INGEST_WAITING_MAX, batch_weight_max: INGEST_BATCH_ROWS_MAX };
        let work = LaneBounds { waiting_items_max: WORK_WAITING_MAX, batch_weight_max: WORK_BATCH_MAX };
        let mut yard = Yard::new(db.clone());
        let lanes = Lanes {
            ingest: yard.lane(ingest, ingest::Ingest::new(ids.clone())),
            settle: yard.lane(work, settle::SettleVerb { ids: ids.clone() }),
            finish: yard.lane(work, finish::FinishVerb { ids: ids.clone() }),
            claim: yard.lane(work, turns::ClaimVerb),
            next: yard.lane(work, outbox::NextVerb),
            refuse: yard.lane(work, outbox::RefuseVerb),
            reserve: yard.lane(work, reserve::ReserveVerb { ids: ids.clone() }),
            begin: yard.lane(work, outbox::BeginVerb),
        };
        yard.start()?;
        Ok(Self {
            db,
            ids,
            clock,
            lanes: Arc::new(lanes),
            budgets: Arc::default(),
            pause_cache: Arc::default(),
            schedule_changes: Arc::default(),
        })
    }

    /// Closes the pools; verbs under way end with [`StoreError::Unavailable`].
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Commits all that a webhook asks us to remember, in one transaction shared with other webhooks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing is remembered, the sender must come back. [`StoreError::Refused`]: these
    /// facts, alone, cannot be stored.
    pub async fn ingest(&self, facts: Arc<WebhookFacts>) -> Result<IngestReceipt, StoreError> {
        let may_pause = facts.may_pause();
        let receipt = self.lanes.ingest.submit(ingest::Webhook { facts, received_at: self.clock.now() }).await;
        if may_pause {
            self.pause_cache.forget();
        }
        receipt
    }

    /// Takes the lease of a conversation for `lease_seconds`, with what waits in it. `None` when somebody else holds
    /// it or nothing waits.
    pub async fn claim(
        &self,
        conversation_id: ConversationId,
        lease_seconds: i64,
    ) -> Result<Option<Claim>, StoreError> {
        let now = self.clock.now();
        self.lanes.claim.submit(turns::ClaimRequest { conversation_id, now, lease_seconds }).await
    }

    /// Commits a finished turn with everything that follows from it and lets go of the lease.
    pub async fn finish(&self, turn: FinishedTurn) -> Result<FinishOutcome, StoreError> {
        let schedules = turn.effects.iter().any(Effect::is_about_schedules);
        let finished = self.lanes.finish.submit(turn).await;
        if schedules {
            self.schedule_changes.notify_one();
        }
        finished
    }

    /// Wakes whoever attends to schedules, when this process has changed some.
    pub fn schedule_changes(&self) -> Arc<Notify> {
        self.schedule_changes.clone()
    }
}
