//! Counts the calls to one source or target, and reports when the server limits them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use usersync_clients::meter::{CallMeter, CallObserver};

use super::{Metrics, metrics::Peer};
use crate::model::{About, ConditionCode, ConnectorName, ErrorClass, TargetName};

/// Shortest wait that is reported as a condition.
const REPORTED: SignedDuration = SignedDuration::from_secs(3);

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
    fn called(&self, error: Option<ErrorClass>, took: Duration) {
        self.metrics.called(self.peer(), error, took);
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
