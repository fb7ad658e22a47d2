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

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Url;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::platform::PlatformArgs;
use crate::view::{Author, InboundKind, PhoneKind, PhoneSpec, SimEvent};
use crate::{Simulator, SimulatorConfig};
use measure::{Answer, Measure};
use pairing::Pairing;

/// Most webhooks a second that may be asked for.
const RATE_PER_SECOND_MAX: u32 = 100_000;
/// Webhooks in flight in an open loop; past it sending waits, and the waiting counts as latency.
const IN_FLIGHT_MAX: usize = 8_192;
/// Longest run, in seconds.
const SECONDS_MAX: u64 = 24 * 3_600;
/// Most webhooks in a run.
const COUNT_MAX: u64 = 100_000_000;
/// How long one webhook may take to be answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
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
    /// Connections of the closed loop
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub connections: u32,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Stop after so many webhooks, if the seconds are not over before
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    pub count: Option<u64>,
    /// Simulated people; there should be more than messages wait for a reply at any time
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub phones: u32,
    /// What people write; `{n}` becomes the number of the message
    #[arg(long, default_value = "michael: weather please")]
    pub text: String,
    /// How long to wait for the last replies, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=600))]
    pub drain_seconds: u64,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Runs the load and prints the figures.
///
/// Fails if the target is not on this machine, the simulator cannot start, or not one webhook was answered with 200.
pub async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let target = loopback(&args.platform.webhook_url)?;
    let config = SimulatorConfig { webhook_url: Some(target.to_string()), ..args.platform.simulator_config() };
    let simulator = Simulator::start(config).await.context("the simulator did not start")?;
    let events = simulator.subscribe();
    let run = Arc::new(Run::prepare(args, target, simulator).await?);
    let listening = CancellationToken::new();
    let listener = tokio::spawn(listen(Arc::clone(&run), events, listening.clone()));
    let started = Instant::now();
    let progress = tokio::spawn(show_progress(Arc::clone(&run), started, listening.clone()));
    if run.args.rate == 0 {
        closed_loop(&run, started).await
    } else {
        open_loop(&run, started).await
    }
    let sending = started.elapsed();
    run.drain().await;
    listening.cancel();
    let (_, _) = tokio::join!(listener, progress);
    run.simulator.shutdown().await;
    let report = run.measure.report(run.args.rate, run.args.connections, sending, run.pairing.waiting());
    println!("{}", if run.args.json { report.json() } else { report.table() });
    ensure!(report.answered() > 0, "not one webhook was answered with 200: is the platform running at {}?", run.target);
    Ok(())
}

/// Everything that the tasks of one run share.
struct Run {
    args: LoadArgs,
    target: Url,
    client: reqwest::Client,
    simulator: Simulator,
    pairing: Pairing,
    measure: Measure,
    /// Number of the next message.
    next: AtomicU64,
}

impl Run {
    async fn prepare(args: LoadArgs, target: Url, simulator: Simulator) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER_TIMEOUT)
            .pool_max_idle_per_host(IN_FLIGHT_MAX)
            .tcp_nodelay(true)
            .build()?;
        let mut phones = Vec::new();
        for _ in 0..args.phones {
            let spec = PhoneSpec { kind: Some(PhoneKind::PhoneAndBsuid), ..PhoneSpec::default() };
            phones.push(simulator.add_phone(spec)?.id);
        }
        Ok(Self {
            args,
            target,
            client,
            simulator,
            pairing: Pairing::new(phones),
            measure: Measure::new()?,
            next: AtomicU64::new(0),
        })
    }

    /// The number of the next message, or `None` when the run is over.
    fn next(&self, started: Instant) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let open_loop_count = (self.args.rate > 0).then(|| u64::from(self.args.rate) * self.args.seconds);
        let enough = [open_loop_count, self.args.count].into_iter().flatten().any(|count| number >= count);
        let over = started.elapsed() >= Duration::from_secs(self.args.seconds);
        (!over && !enough).then_some(number)
    }

    /// Sends one message that was meant to leave at `intended`.
    async fn send(&self, number: u64, intended: Instant) {
        let (phone, paired) = self.pairing.take(intended);
        if !paired {
            self.measure.unpaired();
        }
        let text = self.args.text.replace("{n}", &number.to_string());
        let answer = match self.simulator.compose(&phone, InboundKind::Text { text }.into()) {
            Ok((body, signature)) => self.post(body, signature).await,
            Err(error) => {
                tracing::warn!(%error, "a message could not be made");
                Answer::Failed
            }
        };
        self.measure.answer(answer, intended.elapsed());
        if paired && answer != Answer::Accepted {
            self.pairing.give_up(&phone);
        }
    }

    async fn post(&self, body: bytes::Bytes, signature: String) -> Answer {
        let request = self
            .client
            .post(self.target.clone())
            .header("content-type", "application/json")
            .header("x-hub-signature-256", signature)
            .body(body);
        let Ok(response) = request.send().await else {
            return Answer::Failed;
        };
        let accepted = response.status() == reqwest::StatusCode::OK;
        match response.bytes().await {
            Ok(_) if accepted => Answer::Accepted,
            Ok(_) => Answer::Refused,
            Err(_) => Answer::Failed,
        }
    }

    /// Waits for the last replies, as long as the arguments allow.
    async fn drain(&self) {
        let wait = Duration::from_secs(self.args.drain_seconds);
        // A time-out here is not an error: the report counts what never came.
        let _ = tokio::time::timeout(wait, self.pairing.all_paired()).await;
    }
}

/// Sends at fixed moments whatever the answers do.
async fn open_loop(run: &Arc<Run>, started: Instant) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut sends = JoinSet::new();
    while let Some(number) = run.next(started) {
        let intended = started + Duration::from_secs_f64(number as f64 / f64::from(run.args.rate));
        tokio::time::sleep_until(intended).await;
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else {
            break;
        };
        let run = Arc::clone(run);
        sends.spawn(async move {
            run.send(number, intended).await;
            drop(permit);
        });
        while sends.try_join_next().is_some() {}
    }
    sends.join_all().await;
}

/// Sends on each connection as soon as the answer to the message before is there.
async fn closed_loop(run: &Arc<Run>, started: Instant) {
    let mut connections = JoinSet::new();
    for _ in 0..run.args.connections {
        let run = Arc::clone(run);
        connections.spawn(async move {
            while let Some(number) = run.next(started) {
                run.send(number, Instant::now()).await;
            }
        });
    }
    connections.join_all().await;
}

/// Takes note of each message of the business that reaches the Graph endpoint.
async fn listen(run: Arc<Run>, mut events: broadcast::Receiver<SimEvent>, stop: CancellationToken) {
    while let Some(event) = stop.run_until_cancelled(events.recv()).await {
        match event {
            Ok(SimEvent::BubbleAdded { bubble }) if bubble.author == Author::Business => {
                if let Some(intended) = run.pairing.reply(&bubble.phone_id) {
                    run.measure.reply(intended.elapsed());
                }
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(missed)) => run.measure.missed_events(missed),
            Err(broadcast::error::RecvError::Closed) => break,
        }
    }
}

async fn show_progress(run: Arc<Run>, started: Instant, stop: CancellationToken) {
    let bar = match run.args.count {
        Some(count) => ProgressBar::new(count),
        None if run.args.rate == 0 => ProgressBar::new_spinner(),
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

/// The address, if it is on this machine: this tool makes load, and nobody else's server is meant for that.
fn loopback(address: &str) -> anyhow::Result<Url> {
    let url = Url::parse(address).with_context(|| format!("{address} is not an address"))?;
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let on_this_machine = host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !on_this_machine {
        bail!("load goes only to this machine: {host} is not a loopback address, use 127.0.0.1, [::1] or localhost");
    }
    ensure!(url.scheme() == "http", "the webhook of {address} must be http");
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn only_this_machine_is_loaded() {
        for good in
            ["http://127.0.0.1:8001/webhook", "http://localhost/webhook", "http://[::1]:9/", "http://127.9.9.9/"]
        {
            assert!(loopback(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1/webhook",
            "http://example.com/webhook",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://0.0.0.0/",
            "http://[2001:db8::1]/",
            "http://127.0.0.1@example.com/",
            "https://127.0.0.1/",
            "127.0.0.1:80",
        ] {
            assert!(loopback(bad).is_err(), "{bad}");
        }
    }
}
