//! Counts and latencies of a run, and how they are shown.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies past this count as this, in microseconds.
const LATENCY_MICROSECONDS_MAX: u64 = 3_600 * 1_000_000;
/// Three digits: an error of at most a thousandth.
const SIGNIFICANT_DIGITS: u8 = 3;

/// How a webhook was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// With 200.
    Accepted,
    /// With another status.
    Refused,
    /// Not at all.
    Failed,
}

/// What has been measured so far.
pub(super) struct Measure {
    tally: Mutex<Tally>,
}

struct Tally {
    accepted: u64,
    refused: u64,
    failed: u64,
    replies: u64,
    unpaired: u64,
    missed_events: u64,
    answer: Histogram<u64>,
    reply: Histogram<u64>,
}

impl Measure {
    pub(super) fn new() -> anyhow::Result<Self> {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MICROSECONDS_MAX, SIGNIFICANT_DIGITS)
                .context("the histogram's bounds are bad")
        };
        let tally = Tally {
            accepted: 0,
            refused: 0,
            failed: 0,
            replies: 0,
            unpaired: 0,
            missed_events: 0,
            answer: histogram()?,
            reply: histogram()?,
        };
        Ok(Self { tally: Mutex::new(tally) })
    }

    /// A webhook was answered, or failed. Refusals and failures are counted and kept out of the latencies: a quick
    /// refusal would make the figures look better than they are.
    pub(super) fn answer(&self, answer: Answer, latency: Duration) {
        let mut tally = self.lock();
        match answer {
            Answer::Accepted => {
                tally.accepted += 1;
                tally.answer.saturating_record(microseconds(latency));
            }
            Answer::Refused => tally.refused += 1,
            Answer::Failed => tally.failed += 1,
        }
    }

    /// A reply came.
    pub(super) fn reply(&self, latency: Duration) {
        let mut tally = self.lock();
        tally.replies += 1;
        tally.reply.saturating_record(microseconds(latency));
    }

    /// A message left from a phone that waited already.
    pub(super) fn unpaired(&self) {
        self.lock().unpaired += 1;
    }

    /// The simulator reported faster than this command could listen.
    pub(super) fn missed_events(&self, missed: u64) {
        self.lock().missed_events += missed;
    }

    /// Webhooks that are over and done with, and replies.
    pub(super) fn counts(&self) -> (u64, u64) {
        let tally = self.lock();
        (tally.accepted + tally.refused + tally.failed, tally.replies)
    }

    /// Everything measured. `sending` is how long webhooks were sent, `unanswered` how many phones still wait for a
    /// reply.
    pub(super) fn report(&self, rate: u32, connections: u32, sending: Duration, unanswered: u64) -> Report {
        let tally = self.lock();
        let mode = if rate == 0 { Mode::Closed { connections } } else { Mode::Open { rate_per_second: rate } };
        let per_second = tally.accepted as f64 / sending.as_secs_f64().max(f64::EPSILON);
        Report {
            mode,
            seconds: (sending.as_secs_f64() * 1_000.0).round() / 1_000.0,
            webhooks: tally.accepted + tally.refused + tally.failed,
            accepted: tally.accepted,
            accepted_per_second: per_second.round(),
            http_errors: tally.refused,
            transport_errors: tally.failed,
            replies: tally.replies,
            without_reply: unanswered,
            unpaired: tally.unpaired,
            missed_events: tally.missed_events,
            webhook_to_answer_ms: Latencies::of(&tally.answer),
            webhook_to_reply_ms: Latencies::of(&tally.reply),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn microseconds(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    mode: Mode,
    seconds: f64,
    webhooks: u64,
    accepted: u64,
    accepted_per_second: f64,
    http_errors: u64,
    transport_errors: u64,
    replies: u64,
    without_reply: u64,
    unpaired: u64,
    missed_events: u64,
    webhook_to_answer_ms: Option<Latencies>,
    webhook_to_reply_ms: Option<Latencies>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "loop", rename_all = "lowercase")]
enum Mode {
    Open { rate_per_second: u32 },
    Closed { connections: u32 },
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Latencies {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Latencies {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: histogram.max() as f64 / 1_000.0,
        })
    }
}

impl Report {
    /// Webhooks answered with 200.
    pub(super) fn answered(&self) -> u64 {
        self.accepted
    }

    /// One line.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mode = match self.mode {
            Mode::Open { rate_per_second } => format!("open loop at {rate_per_second}/s"),
            Mode::Closed { connections } => format!("closed loop, {connections} connections"),
        };
        let mut lines = vec![
            format!(
                "{} webhooks in {:.1} s ({mode}), {:.0} answered with 200 a second",
                self.webhooks, self.seconds, self.accepted_per_second
            ),
            String::new(),
            format!("{:20} {:>9} {:>10} {:>10} {:>10} {:>10}", "milliseconds", "count", "p50", "p90", "p99", "max"),
            row("webhook -> answer", self.accepted, self.webhook_to_answer_ms),
            row("webhook -> reply", self.replies, self.webhook_to_reply_ms),
        ];
        let notes = [
            (self.http_errors, "webhooks answered with another status than 200"),
            (self.transport_errors, "webhooks not answered"),
            (self.without_reply, "messages without a reply when the waiting ended"),
            (
                self.unpaired,
                "messages left from a phone that waited already, their replies are not measured: more --phones",
            ),
            (self.missed_events, "events of the simulator missed, so replies may be missing: a lower --rate"),
        ];
        let mut notes =
            notes.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).peekable();
        if notes.peek().is_some() {
            lines.push(String::new());
        }
        lines.extend(notes);
        lines.join("\n")
    }
}

fn row(name: &str, count: u64, latencies: Option<Latencies>) -> String {
    match latencies {
        Some(Latencies { p50, p90, p99, max }) => {
            format!("{name:20} {count:>9} {p50:>10.2} {p90:>10.2} {p99:>10.2} {max:>10.2}")
        }
        None => format!("{name:20} {count:>9} {:>10} {:>10} {:>10} {:>10}", "-", "-", "-", "-"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn refusals_are_counted_and_do_not_flatter_the_latencies() {
        let measure = Measure::new().unwrap();
        for milliseconds in 1..=100 {
            measure.answer(Answer::Accepted, Duration::from_millis(milliseconds));
        }
        measure.answer(Answer::Refused, Duration::from_micros(10));
        measure.answer(Answer::Failed, Duration::from_secs(30));
        measure.reply(Duration::from_millis(200));
        let report = measure.report(50, 0, Duration::from_secs(2), 3);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["loop"], &json["rate_per_second"]), (&"open".into(), &50.into()));
        assert_eq!((&json["webhooks"], &json["accepted"], &json["http_errors"]), (&102.into(), &100.into(), &1.into()));
        assert_eq!((&json["transport_errors"], &json["without_reply"]), (&1.into(), &3.into()));
        let p50 = json["webhook_to_answer_ms"]["p50"].as_f64().unwrap();
        assert!((49.0..=51.0).contains(&p50), "{p50}");
        let max = json["webhook_to_answer_ms"]["max"].as_f64().unwrap();
        assert!((100.0..=100.2).contains(&max), "{max}");
        let table = report.table();
        assert!(table.contains("3 messages without a reply") && !table.contains("--phones"), "{table}");
    }

    #[test]
    fn nothing_measured_shows_dashes() {
        let report = Measure::new().unwrap().report(0, 8, Duration::from_secs(1), 0);
        assert!(report.table().contains("closed loop, 8 connections"));
        assert!(report.table().contains('-'));
    }
}
