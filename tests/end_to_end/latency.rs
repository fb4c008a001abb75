//! How long each change took from Keycloak's answer to the writes in Jira.

use std::time::{Duration, SystemTime};

use usersync::sandbox::Entry;

/// What was measured in one place.
pub struct Latencies {
    title: String,
    steps: Vec<Step>,
}

struct Step {
    what: String,
    writes: usize,
    first: Duration,
    last: Duration,
}

impl Latencies {
    pub fn new(realm: &str, version: &str) -> Self {
        Self { title: format!("Keycloak {version}, {realm}"), steps: Vec::new() }
    }

    /// A write before the answer counts as one at once.
    pub fn note(&mut self, what: &str, answered: SystemTime, writes: &[Entry]) {
        let after = |entry: &Entry| entry.at.duration_since(answered).unwrap_or_default();
        let (Some(first), Some(last)) = (writes.first(), writes.last()) else { return };
        let (first, last) = (after(first), after(last));
        self.steps.push(Step { what: what.to_owned(), writes: writes.len(), first, last });
    }

    pub fn print(&self) {
        println!("{}: milliseconds from the change's answer to the first and the last write in Jira", self.title);
        for step in &self.steps {
            let Step { what, writes, first, last } = step;
            println!("  {:>6} {:>6}  {what} ({writes})", first.as_millis(), last.as_millis());
        }
        let mut firsts: Vec<_> = self.steps.iter().map(|step| step.first.as_millis()).collect();
        firsts.sort_unstable();
        if let (Some(p50), Some(max)) = (firsts.get(firsts.len() / 2), firsts.last()) {
            println!("latency of {}: p50 {p50} ms, max {max} ms, {} changes", self.title, firsts.len());
        }
    }
}
