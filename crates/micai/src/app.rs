//! The platform put together: which parts a process runs, from the settings to running tasks and back to silence.

mod links;
mod notices;
mod tools;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::tools::Tools;
use crate::agent::triggers::Gate;
use crate::clock::SharedClock;
use crate::config::{Config, DatabaseUrl, bounded_file};
use crate::cost::{PRICES_FILE_BYTES_MAX, PriceTable};
use crate::domain::conversation::HandoverRules;
use crate::domain::fate::UnknownRules;
use crate::http::server::{Drained, ServerLimits};
use crate::http::state::SendingRules;
use crate::http::{HttpState, server};
use crate::ids::Ids;
use crate::ingest::{Ingest, IngestRules};
use crate::queue::WakeQueue;
use crate::scheduler;
use crate::sender::gate::{Gate as SendGate, Paces};
use crate::sender::planner::PlanRules;
use crate::sender::policy::{Policy, WINDOW_MARGIN_SECONDS};
use crate::sender::purse;
use crate::sender::reconcile::{self, ReconcileLimits};
use crate::sender::stand_in::{OutOfWindow, StandIns};
use crate::sender::{Rules, Sender, SenderLimits};
use crate::shared::{Changes, Pace, Shared};
use crate::store::{Location, Store};
use crate::templates::{TemplateBook, TemplateDesk, TemplateSync};
use crate::transport::{CloudApi, CloudApiConfig};
use crate::worker::{Words, Worker, WorkerLimits, sweeper};

/// The number that a contact is bound to who never wrote, while no number is set.
const UNSET_PHONE_NUMBER_ID: &str = "unset";
/// A call that has been under way for so many times its limit has lost its process: the rest is for writing its outcome to a
/// database that is slow or away.
const LOST_CALL_FACTOR: u64 = 3;
/// How long those behind a send of unknown fate wait beyond its deadline: whoever decides whether it is sent once more comes
/// first, even if that process had to be started again. Otherwise they would overtake it.
const RECONCILE_GRACE_SECONDS: u64 = 10;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Answers HTTP: webhooks, admin.
    pub api: bool,
    /// Takes turns and sends.
    pub worker: bool,
    /// Does what time asks for: schedules, unknown and held sends, pauses, budgets, the list of templates, notices.
    pub scheduler: bool,
    /// No other process does the same on a SQLite file (a lock sees to it): whatever was under way at the start belonged to
    /// a process that is gone. A server's database is never taken to be ours alone.
    pub alone: bool,
}

impl Roles {
    /// Everything, in one process that has the database to itself.
    pub const SERVE: Self = Self { api: true, worker: true, scheduler: true, alone: true };
    /// HTTP only.
    pub const API: Self = Self { api: true, worker: false, scheduler: false, alone: false };
    /// Turns and sends only.
    pub const WORKER: Self = Self { api: false, worker: true, scheduler: false, alone: false };
    /// Time only.
    pub const SCHEDULER: Self = Self { api: false, worker: false, scheduler: true, alone: false };
}

/// A running platform.
pub struct App {
    store: Store,
    queue: Arc<dyn WakeQueue>,
    shared: Arc<dyn Shared>,
    changes: Changes,
    templates: TemplateBook,
    address: Option<SocketAddr>,
    server: Option<JoinHandle<Drained>>,
    loops: Vec<JoinHandle<()>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    grace: Duration,
}

impl App {
    /// Opens and migrates the database, recovers what a dead process left, and starts the parts that `roles` names.
    /// HTTP is served only when everything else is ready.
    ///
    /// # Errors
    /// A sentence about what could not be opened or understood.
    pub async fn start(config: &Config, roles: Roles, clock: SharedClock, mut chance: StdRng) -> anyhow::Result<Self> {
        let prices = Arc::new(open_prices(config)?);
        let (consent, control) = words::open(config)?;
        let ids = Arc::new(Ids::from_rng(StdRng::from_rng(&mut chance)));
        let store = open_store(config, ids.clone(), clock.clone()).await?;
        store.migrate().await.context("the database schema could not be brought up to date")?;
        store.ensure_default_agent().await.context("the default agent could not be made")?;
        if roles.alone && matches!(config.database_url, DatabaseUrl::Sqlite(_)) {
            store.recover_after_restart().await.context("what the last run left could not be recovered")?;
        }
        let stop = CancellationToken::new();
        let (queue, shared) = links::open(config, roles, &clock, &stop, &mut chance).await?;
        let mut app = Self {
            store,
            queue,
            changes: Changes::new(shared.clone()),
            shared,
            templates: TemplateBook::default(),
            address: None,
            server: None,
            loops: Vec::new(),
            tasks: TaskTracker::new(),
            stop,
            grace: Duration::from_secs(config.shutdown_grace_seconds),
        };
        let api = Arc::new(open_api(config)?);
        let sync = app.start_templates(config, roles, &clock, &api).await?;
        let gate = Arc::new(Gate::new(config.require_invoke_prefix, &config.invoke_prefixes));
        let words = Words { gate, consent: Arc::new(consent), control: Arc::new(control) };
        let tools = Arc::new(tools::open(config, &clock)?);
        if roles.worker {
            app.start_worker(config, &clock, ids, words.clone(), tools.clone());
            app.start_sender(config, &clock, &prices, api.clone(), StdRng::from_rng(&mut chance));
        }
        if roles.scheduler {
            app.start_reconciliation(config, &clock);
            app.start_budgets(config, &clock, &prices);
            app.start_alert_watch(config, &clock);
            let (store, queue) = (app.store.clone(), app.queue.clone());
            app.loops.push(tokio::spawn(scheduler::run(store, queue, clock.clone(), app.stop.clone())));
            app.start_notices(config, &clock, StdRng::from_rng(&mut chance))?;
        }
        if roles.api {
            let desk = TemplateDesk::new(app.store.clone(), api, app.templates.clone(), sync);
            app.start_http(config, clock, prices, desk, words, tools).await?;
        }
        Ok(app)
    }

    /// Where HTTP is served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The wake queue.
    pub fn queue(&self) -> &Arc<dyn WakeQueue> {
        &self.queue
    }

    /// Pace limits and live events.
    pub fn shared(&self) -> &Arc<dyn Shared> {
        &self.shared
    }

    /// The templates that this process knows.
    pub fn templates(&self) -> &TemplateBook {
        &self.templates
    }

    /// Takes nothing new, finishes what is under way within the grace period, gives leases back, closes the database.
    /// `false` when something had to be cut off; the next start takes it up again.
    pub async fn stop(self) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let finished = tokio::time::timeout(self.grace, async {
            for running in self.loops {
                // A loop that panicked has nothing left to finish.
                let _ = running.await;
            }
            self.tasks.wait().await;
            match self.server {
                Some(server) => matches!(server.await, Ok(Drained::Fully)),
                None => true,
            }
        });
        let finished = finished.await.unwrap_or(false);
        self.queue.close().await;
        self.store.close().await;
        finished
    }

    fn start_worker(&mut self, config: &Config, clock: &SharedClock, ids: Arc<Ids>, words: Words, tools: Arc<Tools>) {
        let limits = WorkerLimits {
            workers: config.turn_workers,
            lease_seconds: seconds(config.conversation_lease_seconds),
            window_seconds: i64::from(config.freeform_window_hours) * 3_600,
            handover: handover_rules(config),
        };
        let worker = Worker::new(self.store.clone(), self.queue.clone(), clock.clone(), ids, words, tools, limits);
        let worker = worker.telling(self.changes.clone());
        self.loops.push(tokio::spawn(worker.run(self.tasks.clone(), self.stop.clone())));
    }

    /// Reads the templates that are known and follows their changes; the scheduler fetches them from WhatsApp.
    async fn start_templates(
        &mut self,
        config: &Config,
        roles: Roles,
        clock: &SharedClock,
        api: &Arc<CloudApi>,
    ) -> anyhow::Result<Option<TemplateSync>> {
        let Some(waba_id) = &config.whatsapp_business_account_id else {
            tracing::info!("there are no templates: MICAI_WHATSAPP_BUSINESS_ACCOUNT_ID is not set");
            return Ok(None);
        };
        let (store, book) = (self.store.clone(), self.templates.clone());
        store.ensure_template_account(waba_id).await.context("the account of the templates could not be noted")?;
        book.refresh(&store, waba_id).await.context("the templates could not be read")?;
        let sync = TemplateSync::new(store.clone(), api.clone(), book.clone(), clock.clone(), waba_id);
        self.loops.push(tokio::spawn(book.follow(store, waba_id.clone(), clock.clone(), self.stop.clone())));
        if roles.scheduler {
            let interval_seconds = seconds(config.template_sync_interval_seconds);
            self.loops.push(tokio::spawn(sync.clone().run(interval_seconds, self.stop.clone())));
        }
        Ok(Some(sync))
    }

    fn start_sender(
        &mut self,
        config: &Config,
        clock: &SharedClock,
        prices: &Arc<PriceTable>,
        api: Arc<CloudApi>,
        dice: StdRng,
    ) {
        let policy = Policy {
            outbound_enabled: config.outbound_reply_enabled,
            window_seconds: i64::from(config.freeform_window_hours) * 3_600,
        };
        let limits = SenderLimits {
            workers: config.send_workers,
            attempts_max: attempts_max(config),
            others_wait_seconds: others_wait_seconds(config),
        };
        let (store, queue) = (self.store.clone(), self.queue.clone());
        let fallback = OutOfWindow {
            template: config.out_of_window_template.clone(),
            language: config.template_language.clone(),
            has_account: config.whatsapp_business_account_id.is_some(),
        };
        let gate = SendGate::new(self.shared.clone(), clock.clone(), paces(config));
        self.loops.push(tokio::spawn(sweeper::run(
            self.store.clone(),
            self.queue.clone(),
            clock.clone(),
            seconds(config.sweep_interval_seconds),
            Box::new({
                let gate = gate.clone();
                move || gate.has_probers()
            }),
            self.stop.clone(),
        )));
        let rules = Rules {
            policy,
            prices: prices.clone(),
            stand_ins: StandIns::new(store.clone(), self.templates.clone(), fallback),
            gate,
            changes: self.changes.clone(),
        };
        let sender = Sender::new(store, queue, api, clock.clone(), rules, limits, dice);
        self.loops.push(tokio::spawn(sender.run(self.tasks.clone(), self.stop.clone())));
    }

    fn start_reconciliation(&mut self, config: &Config, clock: &SharedClock) {
        let limits = ReconcileLimits {
            call_seconds_max: seconds(config.whatsapp_call_timeout_seconds * LOST_CALL_FACTOR),
            unknown_deadline_seconds: seconds(config.unknown_send_deadline_seconds),
            held_seconds_max: i64::from(config.held_hours_max) * 3_600,
            interval_seconds: seconds(config.sweep_interval_seconds),
        };
        let (store, queue) = (self.store.clone(), self.queue.clone());
        self.loops.push(tokio::spawn(reconcile::run(store, queue, clock.clone(), limits, self.stop.clone())));
    }

    fn start_budgets(&mut self, config: &Config, clock: &SharedClock, prices: &PriceTable) {
        self.loops.push(tokio::spawn(purse::run(
            self.store.clone(),
            self.queue.clone(),
            clock.clone(),
            prices.currency().to_owned(),
            seconds(config.sweep_interval_seconds),
            self.stop.clone(),
        )));
    }

    async fn start_http(
        &mut self,
        config: &Config,
        clock: SharedClock,
        prices: Arc<PriceTable>,
        templates: TemplateDesk,
        words: Words,
        tools: Arc<Tools>,
    ) -> anyhow::Result<()> {
        let rules = IngestRules {
            secrets: config.whatsapp_app_secret.clone(),
            items_max: config.webhook_items_max,
            attempts_max: attempts_max(config),
            business_account_id: config.whatsapp_business_account_id.clone(),
            prices: prices.clone(),
            throughput: paces(config).number.map(|pace| (self.shared.clone(), pace)),
            changes: self.changes.clone(),
        };
        let ingest = Ingest::new(self.store.clone(), self.queue.clone(), clock.clone(), rules);
        let router = crate::http::router(HttpState {
            store: self.store.clone(),
            queue: self.queue.clone(),
            shared: self.shared.clone(),
            changes: self.changes.clone(),
            event_streams: links::event_streams(config, &self.stop),
            ingest,
            templates,
            clock,
            prices,
            verify_token: config.whatsapp_verify_token.clone(),
            admin_api_key: config.admin_api_key.clone(),
            gate: words.gate,
            consent: words.consent,
            control: words.control,
            handover: handover_rules(config),
            tools,
            default_phone_number_id: phone_number_id(config),
            page_rows_max: config.page_rows_max,
            webhook_body_bytes_max: config.webhook_body_bytes_max,
            request_timeout: Duration::from_secs(config.http_request_timeout_seconds),
            sending: sending_rules(config),
            plan_rules: Arc::new(plan_rules(config)),
        });
        let listener = TcpListener::bind(config.bind)
            .await
            .with_context(|| format!("{} cannot be listened on: free it, or set MICAI_BIND to another", config.bind))?;
        self.address = Some(listener.local_addr()?);
        let limits = ServerLimits {
            connections_max: config.http_connections_max,
            header_timeout: Duration::from_secs(config.http_header_timeout_seconds),
            drain_deadline: self.grace,
        };
        self.server = Some(tokio::spawn(server::serve(listener, router, limits, self.stop.clone())));
        Ok(())
    }
}

/// How conversations are handed to people.
fn handover_rules(config: &Config) -> HandoverRules {
    HandoverRules {
        seconds: i64::from(config.steering.handover_hours) * 3_600,
        is_told: config.steering.operator_webhook_url.is_some(),
    }
}

/// Attempts of one message.
fn attempts_max(config: &Config) -> i32 {
    i32::try_from(config.queue_max_attempts).unwrap_or(i32::MAX)
}

/// Opens the database that the settings name.
///
/// # Errors
/// A sentence about what could not be reached or opened.
pub async fn open_store(config: &Config, ids: Arc<Ids>, clock: SharedClock) -> anyhow::Result<Store> {
    let location = match &config.database_url {
        DatabaseUrl::Sqlite(path) => Location::Sqlite { path: path.clone(), readers_max: config.sqlite_readers_max },
        DatabaseUrl::Postgres(url) => Location::Postgres {
            // The parser's own error may repeat the address with its password.
            options: Box::new(url.expose_secret().parse().ok().context("MICAI_DATABASE_URL is no Postgres address")?),
            connections_max: config.database_connections_max,
            statement_timeout: Duration::from_secs(config.database_statement_timeout_seconds),
        },
    };
    Store::open(&location, ids, clock)
        .await
        .with_context(|| format!("the database {} could not be opened", config.database_url.shown()))
}

/// The road to WhatsApp that the settings describe.
fn open_api(config: &Config) -> anyhow::Result<CloudApi> {
    CloudApi::new(CloudApiConfig {
        base_url: config.whatsapp_api_url.clone(),
        api_version: config.whatsapp_api_version.clone(),
        access_token: config.whatsapp_access_token.clone(),
        phone_number_id: phone_number_id(config),
        business_account_id: config.whatsapp_business_account_id.clone(),
        call_timeout: Duration::from_secs(config.whatsapp_call_timeout_seconds),
    })
    .context("the WhatsApp settings cannot work")
}

/// The price table that the settings name, else the one that is compiled in.
fn open_prices(config: &Config) -> anyhow::Result<PriceTable> {
    let Some(path) = &config.prices_file else { return Ok(PriceTable::compiled_in()?) };
    let text = bounded_file(path, PRICES_FILE_BYTES_MAX, "rate card")
        .map_err(|problem| anyhow::anyhow!("MICAI_PRICES_FILE {problem}"))?;
    Ok(PriceTable::parse(&text, &path.display().to_string())?)
}

/// What the sender goes by, for those who foresee what it will do.
pub fn sending_rules(config: &Config) -> SendingRules {
    SendingRules {
        outbound_enabled: config.outbound_reply_enabled,
        window_seconds: i64::from(config.freeform_window_hours) * 3_600 - WINDOW_MARGIN_SECONDS,
        unknown: UnknownRules {
            deadline_seconds: seconds(config.unknown_send_deadline_seconds),
            resends: true,
            others_wait_seconds: others_wait_seconds(config),
        },
    }
}

fn plan_rules(config: &Config) -> PlanRules {
    PlanRules {
        outbound_enabled: config.outbound_reply_enabled,
        window_seconds: i64::from(config.freeform_window_hours) * 3_600,
        fallback_template: config.out_of_window_template.clone(),
        template_language: config.template_language.clone(),
        has_account: config.whatsapp_business_account_id.is_some(),
        held_seconds_max: i64::from(config.held_hours_max) * 3_600,
    }
}

/// How long those behind an unknown send wait: somewhat longer than a status has, so that it comes first if it is sent again.
fn others_wait_seconds(config: &Config) -> i64 {
    seconds(config.unknown_send_deadline_seconds + config.sweep_interval_seconds + RECONCILE_GRACE_SECONDS)
}

fn phone_number_id(config: &Config) -> String {
    config.whatsapp_phone_number_id.clone().unwrap_or_else(|| UNSET_PHONE_NUMBER_ID.to_owned())
}

fn seconds(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A generator seeded by the system's randomness: the one place where chance comes in from outside.
#[allow(clippy::disallowed_methods)]
pub fn chance() -> StdRng {
    StdRng::seed_from_u64(rand::rng().next_u64())
}

/// How fast may be sent; nothing where the settings set no limit.
fn paces(config: &Config) -> Paces {
    let number = i64::from(config.number_messages_per_second);
    let pair = i64::from(config.pair_seconds);
    Paces {
        // A tenth of a second's worth may go at once: calls do not leave at even times.
        number: (number > 0).then(|| Pace {
            period_microseconds: (1_000_000 / number).max(1),
            burst: (config.number_messages_per_second / 10).max(1),
        }),
        pair: (pair > 0).then_some(Pace { period_microseconds: pair * 1_000_000, burst: config.pair_burst }),
    }
}
