//! Commit points at which the crash stories stop the process. Compiled to nothing without the feature `crash-points`.

/// The variable that names the point after which the process ends, as `name` or `name:count` (the count-th passage).
#[cfg(feature = "crash-points")]
pub const VARIABLE: &str = "MICAI_CRASH_AFTER";

/// Ends the process without any clean-up when the environment asks for it here.
#[cfg(feature = "crash-points")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let (point, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if point == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == count.parse().unwrap_or(1) {
        std::process::abort();
    }
}

/// Nothing: this build has no crash points.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn point(_: &str) {}
