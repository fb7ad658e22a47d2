//! `whatsapp-sim load`: signed webhooks at a rate, and how long the platform takes to answer them and to reply.
//!
//! Two spans are measured for each message, both from the moment at which it was *meant* to leave, so that a stalled
//! platform cannot hide its stall: until the webhook is answered, and until the first reply to that phone reaches the
//! Graph endpoint of the simulator that this command runs on `--bind`. A reply names a person, not the message that it
//! answers, so each message leaves from a phone that waits for nothing; the phone that has rested longest goes first.
//! If no phone is free the message still leaves, from a phone that waits already, and is counted as unpaired: then add
//! phones.

mod measure;
mod pairing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::StatusLevel;
use crate::deliver::Signer;
use crate::line::{Answer, Line, Target};
use crate::platform::PlatformArgs;
use crate::view::{InboundKind, PhoneKind, PhoneSpec};
use crate::world::people::PHONES_MAX;
use crate::{Simulator, SimulatorConfig};
use measure::{Measure, Mode};
use pairing::Pairing;

/// Most webhooks a second that may be asked for.
const RATE_PER_SECOND_MAX: u32 = 100_000;
/// Connections of an open loop, and so the webhooks in flight; past it sending waits, and the waiting counts as latency.
const OPEN_LOOP_CONNECTIONS: u32 = 256;
/// Longest run, in seconds.
const SECONDS_MAX: u64 = 24 * 3_600;
/// Most webhooks in a run.
const COUNT_MAX: u64 = 100_000_000;
/// How often the progress bar says how things stand.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Sends signed webhooks at a rate to a platform on this machine; measures webhook to answer and webhook to reply
#[derive(Clone, clap::Args)]
pub struct LoadArgs {
    /// The platform under test
    #[command(flatten)]
    pub platform: PlatformArgs,
    /// Webhooks a second (open loop); 0 sends as fast as answers come (closed loop)
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=i64::from(RATE_PER_SECOND_MAX)))]
    pub rate: u32,
    /// Connections of the closed loop and of `--outstanding`
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub connections: u32,
    /// Send as fast as replies come: at most so many messages wait for a reply (in place of a rate)
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub outstanding: Option<u32>,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Stop after so many webhooks, if the seconds are not over before
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    pub count: Option<u64>,
    /// Simulated people; there should be more than messages wait for a reply at any time
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=PHONES_MAX as i64))]
    pub phones: u32,
    /// What people write; an n in braces becomes the number of the message
    #[arg(long, default_value = "michael: weather please")]
    pub text: String,
    /// Statuses that are sent, apart from failed
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = StatusLevel::ALL)]
    pub statuses: Vec<StatusLevel>,
    /// Statuses that share a webhook, at most, if they come within 20 milliseconds
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub status_batch_max: u32,
    /// How long to wait for the last replies, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=600))]
    pub drain_seconds: u64,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Runs the load and prints the figures.
///
/// # Errors
/// The target is not on this machine, the simulator cannot start, or not one webhook was answered with 200.
pub async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let target = Target::new(&args.platform.webhook_url)?;
    let enough_phones = args.outstanding.is_none_or(|outstanding| outstanding <= args.phones);
    ensure!(
        enough_phones,
        "each message without a reply needs a phone of its own: more --phones or less --outstanding"
    );
    let config = SimulatorConfig {
        statuses: args.statuses.clone(),
        status_batch_max: args.status_batch_max as usize,
        ..args.platform.simulator_config()
    };
    let simulator = Simulator::start(config).await.context("the simulator did not start")?;
    let run = Arc::new(Run::prepare(args, target, simulator)?);
    run.simulator.on_reply({
        let run = Arc::downgrade(&run);
        move |phone_id| {
            if let Some(run) = run.upgrade() {
                run.replied(phone_id);
            }
        }
    });
    let showing = CancellationToken::new();
    let started = Instant::now();
    let progress = tokio::spawn(show_progress(Arc::clone(&run), started, showing.clone()));
    let connections = if run.is_open() { OPEN_LOOP_CONNECTIONS } else { run.args.connections };
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        senders.spawn(connection(Arc::clone(&run), started));
    }
    senders.join_all().await;
    let (sending, (_, replies_meanwhile)) = (started.elapsed(), run.measure.counts());
    run.drain().await;
    showing.cancel();
    _ = progress.await;
    run.simulator.shutdown().await;
    let report = run.measure.report(run.mode(), sending, replies_meanwhile, run.pairing.waiting());
    println!("{}", if run.args.json { report.json() } else { report.table() });
    ensure!(report.answered() > 0, "not one webhook was answered with 200: is the platform at {}?", run.target.url());
    Ok(())
}

/// Everything that the tasks of one run share.
struct Run {
    args: LoadArgs,
    target: Target,
    signer: Signer,
    simulator: Simulator,
    pairing: Pairing,
    measure: Measure,
    /// Messages that may still leave before a reply comes, with `--outstanding`.
    allowance: Semaphore,
    /// Number of the next message.
    next: AtomicU64,
}

impl Run {
    fn prepare(args: LoadArgs, target: Target, simulator: Simulator) -> anyhow::Result<Self> {
        let mut phones = Vec::new();
        for _ in 0..args.phones {
            let spec = PhoneSpec { kind: Some(PhoneKind::PhoneAndBsuid), ..PhoneSpec::default() };
            phones.push(simulator.add_phone(spec)?.id);
        }
        Ok(Self {
            target,
            signer: Signer::new(&args.platform.app_secret),
            simulator,
            pairing: Pairing::new(phones),
            measure: Measure::new()?,
            allowance: Semaphore::new(args.outstanding.unwrap_or_default() as usize),
            next: AtomicU64::new(0),
            args,
        })
    }

    fn mode(&self) -> Mode {
        match self.args.outstanding {
            Some(outstanding) => Mode::Sustained { outstanding },
            None if self.args.rate == 0 => Mode::Closed { connections: self.args.connections },
            None => Mode::Open { rate_per_second: self.args.rate },
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.mode(), Mode::Open { .. })
    }

    /// The number of the next message, or `None` when the run is over.
    fn next(&self, started: Instant) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let open_loop_count = self.is_open().then(|| u64::from(self.args.rate) * self.args.seconds);
        let enough = [open_loop_count, self.args.count].into_iter().flatten().any(|count| number >= count);
        let over = started.elapsed() >= Duration::from_secs(self.args.seconds);
        (!over && !enough).then_some(number)
    }

    /// Waits until the message with this number is to leave, and says when that was meant to be.
    async fn leave(&self, number: u64, started: Instant) -> Instant {
        if !self.is_open() {
            return Instant::now();
        }
        let intended = started + Duration::from_secs_f64(number as f64 / f64::from(self.args.rate));
        tokio::time::sleep_until(intended).await;
        intended
    }

    /// Sends one message that was meant to leave at `intended`.
    async fn send(&self, line: &mut Line<'_>, number: u64, intended: Instant) {
        let (phone, paired) = self.pairing.take(intended);
        if !paired {
            self.measure.unpaired();
        }
        let text = self.args.text.replace("{n}", &number.to_string());
        let answer = match self.simulator.compose_body(&phone, InboundKind::Text { text }.into()) {
            Ok(body) => line.post(&body).await,
            Err(error) => {
                tracing::warn!(%error, "a message could not be made");
                Answer::Failed
            }
        };
        self.measure.answer(answer, intended.elapsed());
        if paired && answer != Answer::Accepted && self.pairing.give_up(&phone) {
            self.allowance.add_permits(1);
        }
    }

    /// A message of the business has reached this phone.
    fn replied(&self, phone_id: &str) {
        if let Some(intended) = self.pairing.reply(phone_id) {
            self.measure.reply(intended.elapsed());
            self.allowance.add_permits(1);
        }
    }

    /// Waits for the last replies, as long as the arguments allow.
    async fn drain(&self) {
        let wait = Duration::from_secs(self.args.drain_seconds);
        // A time-out here is not an error: the report counts what never came.
        let _ = tokio::time::timeout(wait, self.pairing.all_paired()).await;
    }
}

/// Sends over one connection until the run is over.
async fn connection(run: Arc<Run>, started: Instant) {
    let mut line = Line::new(&run.target, &run.signer);
    let end = started + Duration::from_secs(run.args.seconds);
    loop {
        let mut permit = None;
        if run.args.outstanding.is_some() {
            match tokio::time::timeout_at(end, run.allowance.acquire()).await {
                Ok(Ok(allowed)) => permit = Some(allowed),
                // The time is over.
                _ => return,
            }
        }
        let Some(number) = run.next(started) else {
            // The permit goes back, so that the next connection finds out as well.
            return;
        };
        // It comes back with the reply.
        permit.into_iter().for_each(SemaphorePermit::forget);
        let intended = run.leave(number, started).await;
        run.send(&mut line, number, intended).await;
    }
}

async fn show_progress(run: Arc<Run>, started: Instant, stop: CancellationToken) {
    let bar = match run.args.count {
        Some(count) => ProgressBar::new(count),
        None if !run.is_open() => ProgressBar::new_spinner(),
        None => ProgressBar::new(u64::from(run.args.rate) * run.args.seconds),
    };
    let template = "{elapsed_precise} {wide_bar:.cyan/dim} {pos}/{len} {msg}";
    // The template is a constant; if it were bad, the plain bar does as well.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let show = || {
        let (answers, replies) = run.measure.counts();
        bar.set_position(answers);
        let rate = answers as f64 / started.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{rate:.0}/s · {replies} replies"));
    };
    while stop.run_until_cancelled(tokio::time::sleep(PROGRESS_INTERVAL)).await.is_some() {
        show();
    }
    show();
    bar.finish_and_clear();
}
