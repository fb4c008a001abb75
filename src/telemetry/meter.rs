//! Counts the calls to one source or target, in total and for each run, and reports when the server limits them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use usersync_clients::meter::{CallMeter, CallObserver};

use super::{Metrics, metrics::Peer};
use crate::model::{About, CallCost, ConditionCode, ConnectorName, ErrorClass, TargetName};

/// Shortest wait that is reported as a condition.
const REPORTED: SignedDuration = SignedDuration::from_secs(3);

tokio::task_local! {
    static RUN: Arc<RunCost>;
}

/// What the calls of one run cost.
#[derive(Debug, Default)]
pub struct RunCost {
    source: SideCost,
    target: SideCost,
}

/// What the calls to one side cost.
#[derive(Debug, Default)]
struct SideCost {
    calls: AtomicU64,
    bytes: AtomicU64,
    micros: AtomicU64,
}

impl SideCost {
    fn add(&self, took: Duration, bytes: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn sum(&self) -> CallCost {
        CallCost {
            calls: self.calls.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            time_ms: self.micros.load(Ordering::Relaxed) / 1_000,
        }
    }
}

impl RunCost {
    /// Runs `work`, and counts the calls that it makes in this task. Calls of other runs and of workers are not counted.
    pub async fn of<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        RUN.scope(Arc::clone(self), work).await
    }

    /// Returns the cost of the calls to the source.
    pub fn source(&self) -> CallCost {
        self.source.sum()
    }

    /// Returns the cost of the calls to the target.
    pub fn target(&self) -> CallCost {
        self.target.sum()
    }
}

/// Counts the calls of a client to one source or target.
#[derive(Debug)]
struct Meter {
    metrics: Arc<Metrics>,
    side: Side,
    /// Whether a rate limit is reported.
    limits: AtomicBool,
    /// Whether the server is reported as unavailable.
    unavailable: AtomicBool,
}

#[derive(Debug)]
enum Side {
    Source(ConnectorName),
    Target(TargetName),
}

impl Meter {
    fn peer(&self) -> Peer<'_> {
        match &self.side {
            Side::Source(name) => Peer::Source(name),
            Side::Target(name) => Peer::Target(name),
        }
    }

    fn about(&self) -> About {
        match &self.side {
            Side::Source(name) => About::source(name),
            Side::Target(name) => About::target(name),
        }
    }
}

/// Creates a meter for a connector's Keycloak.
pub fn source_meter(metrics: &Arc<Metrics>, name: &ConnectorName) -> CallMeter {
    meter(metrics, Side::Source(name.clone()))
}

/// Creates a meter for a target.
pub fn target_meter(metrics: &Arc<Metrics>, name: &TargetName) -> CallMeter {
    meter(metrics, Side::Target(name.clone()))
}

fn meter(metrics: &Arc<Metrics>, side: Side) -> CallMeter {
    let (limits, unavailable) = (AtomicBool::new(false), AtomicBool::new(false));
    CallMeter::new(Arc::new(Meter { metrics: Arc::clone(metrics), side, limits, unavailable }))
}

impl CallObserver for Meter {
    fn called(&self, error: Option<ErrorClass>, took: Duration, bytes: usize) {
        self.metrics.called(self.peer(), error, took);
        // Outside of a run, only the totals are counted.
        let _ = RUN.try_with(|run| match self.side {
            Side::Source(_) => run.source.add(took, bytes),
            Side::Target(_) => run.target.add(took, bytes),
        });
    }

    fn refused_sign_in(&self) {
        self.metrics.refused_sign_in(self.peer());
    }

    fn limited(&self, now: Timestamp, until: Timestamp) {
        if until.duration_since(now) < REPORTED {
            return;
        }
        self.limits.store(true, Ordering::Relaxed);
        let text = "rate limited (429); calls wait, and usersync retries them";
        self.metrics.conditions().raise(&self.about(), ConditionCode::RateLimited, text, now, Some(until));
    }

    fn unavailable(&self, since: Timestamp, until: Timestamp) {
        self.unavailable.store(true, Ordering::Relaxed);
        let text = format!(
            "every call returns 503, and the server asks usersync to wait until {}",
            Timestamp::from_second(until.as_second()).unwrap_or(until)
        );
        self.metrics.conditions().raise(&self.about(), ConditionCode::Unavailable, &text, since, Some(until));
    }

    fn available(&self) {
        if self.unavailable.swap(false, Ordering::Relaxed) {
            self.metrics.conditions().clear(&self.about(), ConditionCode::Unavailable);
        }
    }

    fn takes_calls(&self) {
        if self.limits.swap(false, Ordering::Relaxed) {
            self.metrics.conditions().clear(&self.about(), ConditionCode::RateLimited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_counts_only_the_calls_of_its_own_task() {
        let metrics = Arc::new(Metrics::new());
        let (source, target) = (source_meter(&metrics, &"acme".into()), target_meter(&metrics, &"jira".into()));
        let (one, other) = (Arc::new(RunCost::default()), Arc::new(RunCost::default()));
        let call = |meter: &CallMeter| meter.called(None, Duration::from_micros(600), 10);
        let works = one.of(async {
            call(&source);
            tokio::task::yield_now().await;
            call(&source);
            call(&target);
        });
        let beside = other.of(async {
            call(&target);
            tokio::task::yield_now().await;
            source.called(Some(ErrorClass::Transient), Duration::from_secs(2), 0);
        });
        tokio::join!(works, beside);
        call(&source);
        let cost = |calls, bytes, time_ms| CallCost { calls, bytes, time_ms };
        assert_eq!((one.source(), one.target()), (cost(2, 20, 1), cost(1, 10, 0)));
        assert_eq!((other.source(), other.target()), (cost(1, 0, 2_000), cost(1, 10, 0)));
    }
}
