//! Personal data in log lines.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether log lines may contain personal data such as logins; for the whole process.
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Allows or forbids personal data in the log lines of this process.
pub fn allow(allowed: bool) {
    ALLOWED.store(allowed, Ordering::Relaxed);
}

/// A log text that may be personal data; shown as `(hidden)` unless personal data is allowed.
#[derive(Debug)]
pub struct Personal<T>(pub T);

impl<T: fmt::Display> fmt::Display for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if ALLOWED.load(Ordering::Relaxed) { self.0.fmt(f) } else { f.write_str("(hidden)") }
    }
}
