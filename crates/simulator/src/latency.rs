//! Latencies of a run, and how they are shown.

use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies past this count as this, in microseconds.
const LATENCY_MICROSECONDS_MAX: u64 = 3_600 * 1_000_000;
/// Three digits: an error of at most a thousandth.
const SIGNIFICANT_DIGITS: u8 = 3;

/// The line above [`Latencies::row`].
pub(crate) const HEADING: &str =
    "milliseconds             count        p50        p90        p99      p99.9        max";

/// An empty histogram of microseconds.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_MICROSECONDS_MAX, SIGNIFICANT_DIGITS)
        .context("the histogram's bounds are bad")
}

/// Adds one latency.
pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latencies {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

impl Latencies {
    /// `None` where nothing was measured.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1_000.0,
        })
    }

    /// A line of a table for people.
    pub(crate) fn row(name: &str, count: u64, latencies: Option<Self>) -> String {
        match latencies {
            Some(Self { p50, p90, p99, p999, max }) => {
                format!("{name:20} {count:>9} {p50:>10.2} {p90:>10.2} {p99:>10.2} {p999:>10.2} {max:>10.2}")
            }
            None => format!("{name:20} {count:>9} {:>10} {:>10} {:>10} {:>10} {:>10}", "-", "-", "-", "-", "-"),
        }
    }
}

/// Seconds of a processor that this process has used so far; `None` where the system does not tell.
pub(crate) fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// Linux reports process times in hundredths of a second on every platform that it runs on.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_measured_shows_dashes_under_the_same_heading() {
        let mut histogram = histogram().unwrap();
        let empty = Latencies::row("webhook -> answer", 0, Latencies::of(&histogram));
        record(&mut histogram, Duration::from_millis(5));
        let full = Latencies::row("webhook -> answer", 1, Latencies::of(&histogram));
        assert!(full.contains(" 5.00 ") && empty.contains(" - "), "{full}\n{empty}");
        assert_eq!((HEADING.len(), full.len()), (empty.len(), empty.len()));
    }
}
