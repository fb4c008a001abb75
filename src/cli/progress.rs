//! One line of progress on a terminal, a line every ten seconds elsewhere; always on standard error.

use std::{
    borrow::Cow,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    out::Out,
    words::{count, span, thin},
};
use crate::{engine::Progress, model::RunProgress};

/// Interval between lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);
/// Refresh interval of the line on a terminal.
const DRAWN: Duration = Duration::from_millis(100);
/// Age at which a stored progress is shown with its age.
const STALE: SignedDuration = SignedDuration::from_secs(10);

/// Shows the progress of a run until it is dropped.
pub(super) struct Shown {
    pub sender: watch::Sender<Progress>,
    task: JoinHandle<()>,
    bar: ProgressBar,
}

impl Shown {
    pub fn new(out: &Out, what: String) -> Self {
        let (sender, receiver) = watch::channel(Progress::default());
        let terminal = std::io::stderr().is_terminal() && !out.quiet;
        let bar = ProgressBar::with_draw_target(
            None,
            if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let task = tokio::spawn(follow(receiver, bar.clone(), what, terminal, out.clone()));
        Self { sender, task, bar }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

async fn follow(receiver: watch::Receiver<Progress>, bar: ProgressBar, what: String, terminal: bool, out: Out) {
    let mut ticks = tokio::time::interval(if terminal { DRAWN } else { EVERY });
    // The first tick is immediate, and a very short run needs no line.
    ticks.tick().await;
    let mut phase = (Cow::Borrowed(""), Instant::now(), 0);
    loop {
        ticks.tick().await;
        let progress = receiver.borrow().clone();
        if progress.phase != phase.0 {
            phase = (progress.phase.clone(), Instant::now(), progress.done);
        }
        let line =
            format!("{what}  {}", describe(&progress, progress.done - phase.2.min(progress.done), phase.1.elapsed()));
        if terminal {
            bar.set_message(line);
        } else {
            out.note(line);
        }
    }
}

/// Describes the stored progress of a run that another process works on.
pub(super) fn describe_stored(stored: &RunProgress, now: Timestamp) -> String {
    let progress =
        Progress { phase: stored.phase.clone().into(), done: stored.done, total: stored.total, errors: stored.errors };
    let within = stored.at.duration_since(stored.phase_began).unsigned_abs();
    let age = now.duration_since(stored.at);
    let line = describe(&progress, stored.done, within);
    // A phase without counts may take minutes; so may one that makes no progress.
    if age < STALE { line } else { format!("{line}, unchanged for {}", span(age)) }
}

/// Describes the progress: phase, done of total, rate, time left, errors so far.
fn describe(progress: &Progress, done: usize, within: Duration) -> String {
    let phase = if progress.phase.is_empty() { "beginning" } else { &*progress.phase };
    let mut parts = vec![phase.to_owned()];
    if progress.total > 0 {
        parts.push(format!("{} of {}", thin(progress.done), thin(progress.total)));
    }
    let seconds = within.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    if done > 0 && seconds >= 1.0 {
        let rate = done as f64 / seconds;
        parts.push(format!("{rate:.0}/s"));
        let left = progress.total.saturating_sub(progress.done) as f64 / rate;
        if left.is_finite() && left >= 1.0 {
            parts.push(format!("{} left", span(SignedDuration::from_secs_f64(left.min(1e9)))));
        }
    }
    if progress.errors > 0 {
        parts.push(count(progress.errors, "error", "errors"));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_phase_counts_rate_time_left_and_errors() {
        let progress = Progress { phase: "applying".into(), done: 300, total: 1_500, errors: 2 };
        assert_eq!(
            describe(&progress, 300, Duration::from_secs(10)),
            "applying  300 of 1\u{2009}500  30/s  40 s left  2 errors"
        );
        let reading = Progress { phase: "reading both sides".into(), ..Progress::default() };
        assert_eq!(describe(&reading, 0, Duration::from_secs(10)), "reading both sides");
    }

    #[test]
    fn a_stored_progress_says_how_long_it_is_unchanged() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let stored = RunProgress {
            phase: "applying".into(),
            phase_began: at(0),
            done: 300,
            total: 1_500,
            errors: 0,
            at: at(10),
        };
        assert_eq!(describe_stored(&stored, at(12)), "applying  300 of 1\u{2009}500  30/s  40 s left");
        let late = describe_stored(&stored, at(70));
        assert_eq!(late, "applying  300 of 1\u{2009}500  30/s  40 s left, unchanged for 60 s");
    }
}
