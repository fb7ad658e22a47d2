//! Counts and latencies of a run, and how they are shown.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::latency::{self, Latencies};
use crate::line::Answer;

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
    answer: Histogram<u64>,
    reply: Histogram<u64>,
}

impl Measure {
    pub(super) fn new() -> anyhow::Result<Self> {
        let tally = Tally {
            accepted: 0,
            refused: 0,
            failed: 0,
            replies: 0,
            unpaired: 0,
            answer: latency::histogram()?,
            reply: latency::histogram()?,
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
                latency::record(&mut tally.answer, latency);
            }
            Answer::Refused => tally.refused += 1,
            Answer::Failed => tally.failed += 1,
        }
    }

    /// A reply came.
    pub(super) fn reply(&self, latency: Duration) {
        let mut tally = self.lock();
        tally.replies += 1;
        latency::record(&mut tally.reply, latency);
    }

    /// A message left from a phone that waited already.
    pub(super) fn unpaired(&self) {
        self.lock().unpaired += 1;
    }

    /// Webhooks that are over and done with, and replies.
    pub(super) fn counts(&self) -> (u64, u64) {
        let tally = self.lock();
        (tally.accepted + tally.refused + tally.failed, tally.replies)
    }

    /// Everything measured. `sending` is how long webhooks were sent, `replies_meanwhile` how many replies came in that
    /// time, `unanswered` how many phones still wait for a reply.
    pub(super) fn report(&self, mode: Mode, sending: Duration, replies_meanwhile: u64, unanswered: u64) -> Report {
        let tally = self.lock();
        let per_second = |count: u64| (count as f64 / sending.as_secs_f64().max(f64::EPSILON)).round();
        Report {
            mode,
            seconds: (sending.as_secs_f64() * 1_000.0).round() / 1_000.0,
            webhooks: tally.accepted + tally.refused + tally.failed,
            accepted: tally.accepted,
            accepted_per_second: per_second(tally.accepted),
            http_errors: tally.refused,
            transport_errors: tally.failed,
            replies: tally.replies,
            replies_per_second: per_second(replies_meanwhile),
            without_reply: unanswered,
            unpaired: tally.unpaired,
            processor_seconds: latency::processor_seconds(),
            webhook_to_answer_ms: Latencies::of(&tally.answer),
            webhook_to_reply_ms: Latencies::of(&tally.reply),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    replies_per_second: f64,
    without_reply: u64,
    unpaired: u64,
    /// What this command, simulator included, has cost.
    processor_seconds: Option<f64>,
    webhook_to_answer_ms: Option<Latencies>,
    webhook_to_reply_ms: Option<Latencies>,
}

/// What makes the next message leave.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "loop", rename_all = "lowercase")]
pub(super) enum Mode {
    /// The clock.
    Open { rate_per_second: u32 },
    /// The answer to a webhook.
    Closed { connections: u32 },
    /// A reply.
    Sustained { outstanding: u32 },
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
            Mode::Sustained { outstanding } => format!("at most {outstanding} without a reply"),
        };
        let mut lines = vec![
            format!(
                "{} webhooks in {:.1} s ({mode}), {:.0} answered with 200 a second, {:.0} replies a second",
                self.webhooks, self.seconds, self.accepted_per_second, self.replies_per_second
            ),
            String::new(),
            latency::HEADING.to_owned(),
            Latencies::row("webhook -> answer", self.accepted, self.webhook_to_answer_ms),
            Latencies::row("webhook -> reply", self.replies, self.webhook_to_reply_ms),
        ];
        let notes = [
            (self.http_errors, "webhooks answered with another status than 200"),
            (self.transport_errors, "webhooks not answered"),
            (self.without_reply, "messages without a reply when the waiting ended"),
            (
                self.unpaired,
                "messages left from a phone that waited already, their replies are not measured: more --phones",
            ),
        ];
        let mut notes =
            notes.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).peekable();
        if notes.peek().is_some() {
            lines.push(String::new());
        }
        lines.extend(notes);
        if let Some(seconds) = self.processor_seconds {
            lines.push(format!("{seconds:.1} s of a processor were used by this command and its simulator"));
        }
        lines.join("\n")
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
        let report = measure.report(Mode::Open { rate_per_second: 50 }, Duration::from_secs(2), 1, 3);
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
        let report = Measure::new().unwrap().report(Mode::Closed { connections: 8 }, Duration::from_secs(1), 0, 0);
        assert!(report.table().contains("closed loop, 8 connections"));
        assert!(report.table().contains('-'));
    }
}
