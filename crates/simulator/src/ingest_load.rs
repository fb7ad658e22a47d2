//! `whatsapp-sim ingest-load`: nothing but signed webhooks, as cheap as they can be made, and how fast they are answered.
//!
//! There is no simulated world behind it: bodies are written and signed for each request and go over connections that
//! stay open. Nobody takes the replies, so the platform under test should have its workers stopped or sending switched
//! off. In an open loop latencies run from the moment at which a webhook was *meant* to leave, so that a stalled
//! platform cannot hide its stall; the timer's millisecond counts, too.

mod body;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::SimulatorConfig;
use crate::clock::SimClock;
use crate::deliver::Signer;
use crate::latency::{self, Latencies};
use crate::line::{Answer, Line, Target};
use body::Bodies;

/// Longest run, in seconds.
const SECONDS_MAX: u64 = 24 * 3_600;
/// Most webhooks in a run.
const COUNT_MAX: u64 = 100_000_000;

/// Sends nothing but signed webhooks to a platform on this machine, as cheap as they can be made; measures the answers
#[derive(Clone, clap::Args)]
pub struct IngestLoadArgs {
    /// The webhook of the platform under test
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8001/webhook")]
    pub webhook_url: String,
    /// Key of the signature on webhooks
    #[arg(long, env = "WHATSAPP_SIM_APP_SECRET", hide_env_values = true, default_value = "simulator-app-secret")]
    pub app_secret: String,
    /// Id of the business phone number
    #[arg(long, default_value = "106540352242922")]
    pub phone_number_id: String,
    /// Webhooks a second (open loop); 0 sends as fast as answers come (closed loop)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub rate: u32,
    /// Connections, and so the most webhooks in flight
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub connections: u32,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Stop after so many webhooks, if the seconds are not over before
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    pub count: Option<u64>,
    /// Messages in each webhook
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub batch: u32,
    /// Messages of a hundred that repeat an earlier one
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=90))]
    pub duplicates_percent: u32,
    /// Distinct people who write
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=9_999_999_999))]
    pub people: u64,
    /// Each message from the next person in turn: makes a number of conversations quickly
    #[arg(long)]
    pub in_order: bool,
    /// What people write; an n in braces becomes the number of the message
    #[arg(long, default_value = "michael: weather please")]
    pub text: String,
    /// Seed of ids and choices; without it every run is different
    #[arg(long)]
    pub seed: Option<u64>,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Runs the load and prints the figures.
///
/// # Errors
/// The target is not on this machine, or not one webhook was answered with 200.
pub async fn run(args: IngestLoadArgs) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(SimulatorConfig::fresh_seed);
    let mut bodies = Bodies::new(seed, args.people, &args.phone_number_id, &args.text);
    bodies.in_order = args.in_order;
    bodies.duplicates_percent = u64::from(args.duplicates_percent);
    let run = Arc::new(Run {
        target: Target::new(&args.webhook_url)?,
        signer: Signer::new(&args.app_secret),
        bodies,
        clock: SimClock::default(),
        next: AtomicU64::new(0),
        started: Instant::now(),
        args,
    });
    let mut connections = JoinSet::new();
    for _ in 0..run.args.connections {
        let tally = Tally::new()?;
        connections.spawn(Arc::clone(&run).connection(tally));
    }
    let mut whole = Tally::new()?;
    for tally in connections.join_all().await {
        whole.add(&tally?)?;
    }
    let report = whole.report(&run);
    println!("{}", if run.args.json { report.json() } else { report.table() });
    ensure!(whole.accepted > 0, "not one webhook was answered with 200: is the platform at {}?", run.target.url());
    Ok(())
}

/// Everything that the connections share.
struct Run {
    args: IngestLoadArgs,
    target: Target,
    signer: Signer,
    bodies: Bodies,
    clock: SimClock,
    /// Number of the next webhook.
    next: AtomicU64,
    started: Instant,
}

impl Run {
    /// Sends webhooks over one connection until the run is over.
    async fn connection(self: Arc<Self>, mut tally: Tally) -> anyhow::Result<Tally> {
        let mut line = Line::new(&self.target, &self.signer);
        let (mut numbers, mut body) = (Vec::new(), Vec::new());
        while let Some(number) = self.next() {
            let intended = self.leave(number).await;
            let first = number * u64::from(self.args.batch);
            numbers.clear();
            for place in first..first + u64::from(self.args.batch) {
                let sent = self.bodies.sent_in_place_of(place);
                tally.duplicates += u64::from(sent != place);
                numbers.push(sent);
            }
            self.bodies.write(&numbers, self.clock.now_milliseconds().div_euclid(1_000), &mut body);
            let answer = line.post(&body).await;
            tally.answer(answer, intended.elapsed());
        }
        Ok(tally)
    }

    /// The number of the next webhook, or `None` when the run is over.
    fn next(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let open_loop_count = (self.args.rate > 0).then(|| u64::from(self.args.rate) * self.args.seconds);
        let enough = [open_loop_count, self.args.count].into_iter().flatten().any(|count| number >= count);
        let over = self.started.elapsed() >= Duration::from_secs(self.args.seconds);
        (!over && !enough).then_some(number)
    }

    /// Waits until this webhook is to leave, and says when that was meant to be.
    async fn leave(&self, number: u64) -> Instant {
        if self.args.rate == 0 {
            return Instant::now();
        }
        let intended = self.started + Duration::from_secs_f64(number as f64 / f64::from(self.args.rate));
        tokio::time::sleep_until(intended).await;
        intended
    }
}

/// What one connection has measured; connections share nothing while they measure.
struct Tally {
    accepted: u64,
    refused: u64,
    failed: u64,
    duplicates: u64,
    answer: Histogram<u64>,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { accepted: 0, refused: 0, failed: 0, duplicates: 0, answer: latency::histogram()? })
    }

    /// Refusals are counted and kept out of the latencies: a quick refusal would make the figures look better.
    fn answer(&mut self, answer: Answer, latency: Duration) {
        match answer {
            Answer::Accepted => {
                self.accepted += 1;
                latency::record(&mut self.answer, latency);
            }
            Answer::Refused => self.refused += 1,
            Answer::Failed => self.failed += 1,
        }
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.failed += other.failed;
        self.duplicates += other.duplicates;
        self.answer.add(&other.answer)?;
        Ok(())
    }

    fn report(&self, run: &Run) -> Report {
        let seconds = run.started.elapsed().as_secs_f64();
        let per_second = (self.accepted as f64 / seconds.max(f64::EPSILON)).round();
        Report {
            open_loop_rate: run.args.rate,
            connections: run.args.connections,
            seconds: (seconds * 1_000.0).round() / 1_000.0,
            webhooks: self.accepted + self.refused + self.failed,
            accepted: self.accepted,
            accepted_per_second: per_second,
            messages_per_second: per_second * f64::from(run.args.batch),
            duplicate_messages: self.duplicates,
            http_errors: self.refused,
            transport_errors: self.failed,
            processor_seconds: latency::processor_seconds(),
            webhook_to_answer_ms: Latencies::of(&self.answer),
        }
    }
}

/// The figures of a run.
#[derive(Debug, Serialize)]
struct Report {
    /// 0: closed loop.
    open_loop_rate: u32,
    connections: u32,
    seconds: f64,
    webhooks: u64,
    accepted: u64,
    accepted_per_second: f64,
    messages_per_second: f64,
    duplicate_messages: u64,
    http_errors: u64,
    transport_errors: u64,
    /// What this command itself has cost.
    processor_seconds: Option<f64>,
    webhook_to_answer_ms: Option<Latencies>,
}

impl Report {
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn table(&self) -> String {
        let mode = match self.open_loop_rate {
            0 => format!("closed loop, {} connections", self.connections),
            rate => format!("open loop at {rate}/s"),
        };
        let mut lines = vec![
            format!(
                "{} webhooks in {:.1} s ({mode}), {:.0} answered with 200 a second, {:.0} messages a second",
                self.webhooks, self.seconds, self.accepted_per_second, self.messages_per_second
            ),
            String::new(),
            latency::HEADING.to_owned(),
            Latencies::row("webhook -> answer", self.accepted, self.webhook_to_answer_ms),
        ];
        let notes = [
            (self.duplicate_messages, "messages were repeats"),
            (self.http_errors, "webhooks answered with another status than 200"),
            (self.transport_errors, "webhooks not answered"),
        ];
        lines.extend(notes.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        if let Some(seconds) = self.processor_seconds {
            lines.push(format!("{seconds:.1} s of a processor were used to make this load"));
        }
        lines.join("\n")
    }
}
