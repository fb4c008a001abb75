//! Counts the calls to one source or target, and reports when the server limits them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{Metrics, metrics::Peer};
use crate::model::{About, ConditionCode, ConnectorName, ErrorClass, TargetName};

/// Shortest wait that is reported as a condition.
const REPORTED: SignedDuration = SignedDuration::from_secs(3);

/// Counts the calls of a client to one source or target; by default, it counts nothing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CallMeter(Option<Arc<Meter>>);

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

impl CallMeter {
    /// Creates a meter for a connector's Keycloak.
    pub fn source(metrics: &Arc<Metrics>, name: &ConnectorName) -> Self {
        Self::of(metrics, Side::Source(name.clone()))
    }

    /// Creates a meter for a target.
    pub fn target(metrics: &Arc<Metrics>, name: &TargetName) -> Self {
        Self::of(metrics, Side::Target(name.clone()))
    }

    fn of(metrics: &Arc<Metrics>, side: Side) -> Self {
        let (limits, unavailable) = (AtomicBool::new(false), AtomicBool::new(false));
        let meter = Meter { metrics: Arc::clone(metrics), side, limits, unavailable };
        Self(Some(Arc::new(meter)))
    }

    /// Counts a call; `None`: it succeeded, else the class of its error.
    pub fn called(&self, error: Option<ErrorClass>, took: Duration) {
        if let Some(meter) = &self.0 {
            meter.metrics.called(meter.peer(), error, took);
        }
    }

    /// Counts refused credentials.
    pub fn refused_sign_in(&self) {
        if let Some(meter) = &self.0 {
            meter.metrics.refused_sign_in(meter.peer());
        }
    }

    /// Reports that a call was rate limited; no call is sent before `until`.
    pub fn limited(&self, now: Timestamp, until: Timestamp) {
        let Some(meter) = self.0.as_ref().filter(|_| until.duration_since(now) >= REPORTED) else { return };
        meter.limits.store(true, Ordering::Relaxed);
        let text = "rate limited (429); calls wait, and usersync retries them";
        meter.metrics.conditions().raise(&meter.about(), ConditionCode::RateLimited, text, now, Some(until));
    }

    /// Reports that every call since `since` was answered by a 503 with `Retry-After`; no call is sent before `until`.
    pub fn unavailable(&self, since: Timestamp, until: Timestamp) {
        let Some(meter) = &self.0 else { return };
        meter.unavailable.store(true, Ordering::Relaxed);
        let text = format!(
            "every call returns 503, and the server asks usersync to wait until {}",
            Timestamp::from_second(until.as_second()).unwrap_or(until)
        );
        let (about, conditions) = (meter.about(), meter.metrics.conditions());
        conditions.raise(&about, ConditionCode::Unavailable, &text, since, Some(until));
    }

    /// Reports an answer other than such a 503.
    pub fn available(&self) {
        if let Some(meter) = self.0.as_ref().filter(|meter| meter.unavailable.swap(false, Ordering::Relaxed)) {
            meter.metrics.conditions().clear(&meter.about(), ConditionCode::Unavailable);
        }
    }

    /// Reports that the server accepts calls.
    pub fn takes_calls(&self) {
        if let Some(meter) = self.0.as_ref().filter(|meter| meter.limits.swap(false, Ordering::Relaxed)) {
            meter.metrics.conditions().clear(&meter.about(), ConditionCode::RateLimited);
        }
    }
}
