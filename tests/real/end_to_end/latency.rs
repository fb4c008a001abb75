//! Time of each change from Keycloak's answer to the writes in Jira.

use std::time::{Duration, SystemTime};

use usersync_simulators::Entry;

/// Measurements of one place.
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

    /// Records a latency. A write before the answer counts as immediate; if all were before, the change itself waited
    /// for them.
    pub fn note(&mut self, what: &str, answered: SystemTime, writes: &[Entry]) {
        let after = |entry: &Entry| entry.at.duration_since(answered).unwrap_or_default();
        let (Some(first), Some(last)) = (writes.first(), writes.last()) else { return };
        if last.at <= answered {
            return;
        }
        let (first, last) = (after(first), after(last));
        self.steps.push(Step { what: what.to_owned(), writes: writes.len(), first, last });
    }

    pub fn print(&self) {
        println!("{}: milliseconds from the change's answer to the first and the last write in Jira", self.title);
        for step in &self.steps {
            let Step { what, writes, first, last } = step;
            println!("  {:>6} {:>6}  {what} ({writes})", first.as_millis(), last.as_millis());
        }
        for (which, of) in [("first", (|step| step.first) as fn(&Step) -> Duration), ("last", |step| step.last)] {
            let mut all: Vec<_> = self.steps.iter().map(|step| of(step).as_millis()).collect();
            all.sort_unstable();
            if let (Some(p50), Some(max)) = (all.get(all.len() / 2), all.last()) {
                println!(
                    "latency to the {which} write, {}: p50 {p50} ms, max {max} ms, {} changes",
                    self.title,
                    all.len()
                );
            }
        }
    }
}
