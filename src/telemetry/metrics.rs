//! Metrics for Prometheus. Labels are names from the configuration and fixed words, never personal data.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

use super::Conditions;
use crate::{
    model::{ConnectorName, ErrorClass, Pair, RunOutcome, TargetName},
    store::PairCounts,
};

/// The content type of the output of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The outcome of a received event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFate {
    /// Stored, with its tasks.
    Stored,
    /// Already stored before.
    Duplicate,
    /// Stored, but it causes no work.
    Ignored,
    /// Stored, with its tasks; found by polling Keycloak's event store.
    Polled,
    /// Refused: no valid signature, malformed, or too large.
    Refused,
}

impl EventFate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Polled => "polled",
            Self::Refused => "refused",
        }
    }
}

/// The peer of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer<'a> {
    /// A connector's Keycloak.
    Source(&'a ConnectorName),
    /// A target.
    Target(&'a TargetName),
}

impl Peer<'_> {
    fn labels(self) -> (&'static str, String) {
        match self {
            Self::Source(name) => ("source", name.to_string()),
            Self::Target(name) => ("target", name.to_string()),
        }
    }
}

/// All metrics; counters may be incremented from any thread.
pub struct Metrics {
    registry: Registry,
    events: Family<EventLabels, Counter>,
    last_event: Family<ConnectorLabels, Seconds>,
    last_poll: Family<ConnectorLabels, Seconds>,
    next_run: Family<ConnectorLabels, Seconds>,
    hook_answers: Family<HookLabels, Counter>,
    tasks: Family<TaskLabels, Gauge>,
    oldest_task: Family<PairLabels, Seconds>,
    last_change: Family<PairLabels, Seconds>,
    links: Family<PairLabels, Gauge>,
    held: Family<PairLabels, Gauge>,
    event_to_write: Family<TargetLabels, Histogram, fn() -> Histogram>,
    calls: Family<CallLabels, Counter>,
    call_duration: Family<PeerLabels, Histogram, fn() -> Histogram>,
    refused_sign_ins: Family<PeerLabels, Counter>,
    runs: Family<RunLabels, Counter>,
    run_duration: Family<PairLabels, Histogram, fn() -> Histogram>,
    conditions: Conditions,
    condition: Family<ConditionLabels, Seconds>,
}

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    connector: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectorLabels {
    connector: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabels {
    target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookLabels {
    connector: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PairLabels {
    connector: String,
    target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    condition: &'static str,
    connector: String,
    target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    connector: String,
    target: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    connector: String,
    target: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer: &'static str,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    peer: &'static str,
    name: String,
    result: &'static str,
}

const TASK_STATES: [&str; 3] = ["due", "waiting", "dead"];

impl Metrics {
    /// Creates all metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("usersync");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the running server", version);
        let mut metrics = Self {
            registry: Registry::default(),
            events: Family::default(),
            last_event: Family::default(),
            last_poll: Family::default(),
            next_run: Family::default(),
            hook_answers: Family::default(),
            tasks: Family::default(),
            oldest_task: Family::default(),
            last_change: Family::default(),
            links: Family::default(),
            held: Family::default(),
            // 10 ms to 2.9 hours: usually a second is enough, but after an outage it takes hours.
            event_to_write: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.5, 16))),
            calls: Family::default(),
            call_duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.005, 2.5, 11))),
            refused_sign_ins: Family::default(),
            runs: Family::default(),
            run_duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.5, 3.0, 10))),
            conditions: Conditions::default(),
            condition: Family::default(),
        };
        let m = &metrics;
        registry.register("events", "Events received, by outcome", m.events.clone());
        registry.register_with_unit(
            "last_event_timestamp",
            "When the last event was received",
            Unit::Seconds,
            m.last_event.clone(),
        );
        registry.register_with_unit(
            "last_poll_timestamp",
            "When Keycloak's event store was last polled successfully",
            Unit::Seconds,
            m.last_poll.clone(),
        );
        registry.register_with_unit(
            "next_run_timestamp",
            "When the next full reconcile is due",
            Unit::Seconds,
            m.next_run.clone(),
        );
        registry.register("hook_answers", "Answers to senders of events", m.hook_answers.clone());
        registry.register("tasks", "Tasks that are not done", m.tasks.clone());
        registry.register_with_unit(
            "oldest_task_age",
            "How long the oldest task has been waiting",
            Unit::Seconds,
            m.oldest_task.clone(),
        );
        registry.register_with_unit(
            "last_change_timestamp",
            "When the last change was recorded",
            Unit::Seconds,
            m.last_change.clone(),
        );
        registry.register("links", "Users with an account", m.links.clone());
        registry.register("approval_items", "Operations that wait for approval", m.held.clone());
        registry.register_with_unit(
            "event_to_write",
            "Time from the receipt of an event to the write that it caused",
            Unit::Seconds,
            m.event_to_write.clone(),
        );
        registry.register("calls", "Calls to sources and targets, by result", m.calls.clone());
        registry.register_with_unit(
            "call_duration",
            "How long calls to sources and targets took",
            Unit::Seconds,
            m.call_duration.clone(),
        );
        registry.register(
            "refused_sign_ins",
            "Calls whose credentials were refused, those to token endpoints included",
            m.refused_sign_ins.clone(),
        );
        registry.register("runs", "Full reconciles that ended", m.runs.clone());
        registry.register_with_unit(
            "run_duration",
            "How long full reconciles took",
            Unit::Seconds,
            m.run_duration.clone(),
        );
        registry.register_with_unit(
            "condition_since_timestamp",
            "When each active condition began; a series exists only while its condition is active",
            Unit::Seconds,
            m.condition.clone(),
        );
        metrics.registry = registry;
        metrics
    }

    /// Counts `count` received events with this outcome.
    pub fn events(&self, connector: &ConnectorName, fate: EventFate, count: u64, now: Timestamp) {
        let labels = EventLabels { connector: connector.to_string(), outcome: fate.as_str() };
        self.events.get_or_create(&labels).inc_by(count);
        // A refused event does not show that Keycloak's events arrive.
        if fate != EventFate::Refused && count > 0 {
            self.last_event.get_or_create(&connector_labels(connector)).set(now.as_duration().as_secs_f64());
        }
    }

    /// Records that Keycloak's event store was polled.
    pub fn polled(&self, connector: &ConnectorName, now: Timestamp) {
        self.last_poll.get_or_create(&connector_labels(connector)).set(now.as_duration().as_secs_f64());
    }

    /// Counts an answer to a sender. `None` stands for unknown connectors, because senders choose those names freely.
    pub fn hook_answered(&self, connector: Option<&ConnectorName>, status: u16) {
        let connector = connector.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        self.hook_answers.get_or_create(&HookLabels { connector, status: status.into() }).inc();
    }

    /// Sets when the next full reconcile is due; `None`: never.
    pub fn next_run(&self, connector: &ConnectorName, at: Option<Timestamp>) {
        let labels = connector_labels(connector);
        match at {
            Some(at) => {
                self.next_run.get_or_create(&labels).set(at.as_duration().as_secs_f64());
            }
            None => {
                self.next_run.remove(&labels);
            }
        }
    }

    /// Sets the store's counts for a pair. It is called before each encoding, because ages are relative to `now`.
    pub fn counts(&self, pair: &Pair, counts: &PairCounts, now: Timestamp) {
        let labels = pair_labels(pair);
        let numbers = [counts.due, counts.tasks.saturating_sub(counts.due), counts.dead];
        for (state, number) in TASK_STATES.into_iter().zip(numbers) {
            self.tasks.get_or_create(&task_labels(pair, state)).set(gauge(number));
        }
        let age = counts.oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
        self.oldest_task.get_or_create(&labels).set(age);
        if let Some(at) = counts.last_change {
            self.last_change.get_or_create(&labels).set(at.as_duration().as_secs_f64());
        }
        self.links.get_or_create(&labels).set(gauge(counts.links));
        self.held.get_or_create(&labels).set(gauge(counts.held));
    }

    /// Observes a write to a target, caused by an event that was received at `caused_at`.
    pub fn written(&self, target: &TargetName, caused_at: Timestamp, now: Timestamp) {
        let seconds = now.duration_since(caused_at).as_secs_f64().max(0.0);
        self.event_to_write.get_or_create(&TargetLabels { target: target.to_string() }).observe(seconds);
    }

    /// Counts a call; `None`: it succeeded, else the class of its error.
    pub fn called(&self, peer: Peer<'_>, error: Option<ErrorClass>, took: Duration) {
        let (kind, name) = peer.labels();
        let result = error.map_or("ok", ErrorClass::as_str);
        self.call_duration.get_or_create(&PeerLabels { peer: kind, name: name.clone() }).observe(took.as_secs_f64());
        self.calls.get_or_create(&CallLabels { peer: kind, name, result }).inc();
    }

    /// Counts refused credentials.
    pub fn refused_sign_in(&self, peer: Peer<'_>) {
        let (peer, name) = peer.labels();
        self.refused_sign_ins.get_or_create(&PeerLabels { peer, name }).inc();
    }

    /// Counts a full reconcile that ended.
    pub fn run_ended(&self, pair: &Pair, outcome: &RunOutcome, took: Duration) {
        let outcome = match outcome {
            RunOutcome::Running => "running",
            RunOutcome::Done => "done",
            RunOutcome::Problems => "problems",
            RunOutcome::Held => "held",
            RunOutcome::Failed { .. } => "failed",
            RunOutcome::Stopped => "stopped",
        };
        let PairLabels { connector, target } = pair_labels(pair);
        self.runs.get_or_create(&RunLabels { connector, target, outcome }).inc();
        self.run_duration.get_or_create(&pair_labels(pair)).observe(took.as_secs_f64());
    }

    /// Returns the conditions that are reported with the metrics.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Returns the text for `/metrics`, with content type [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.condition.clear();
        for condition in self.conditions.all() {
            let labels = ConditionLabels {
                condition: condition.code.as_str(),
                connector: condition.about.connector_name().map(ToString::to_string).unwrap_or_default(),
                target: condition.about.target_name().map(ToString::to_string).unwrap_or_default(),
            };
            self.condition.get_or_create(&labels).set(condition.since.as_duration().as_secs_f64());
        }
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn connector_labels(connector: &ConnectorName) -> ConnectorLabels {
    ConnectorLabels { connector: connector.to_string() }
}

fn pair_labels(pair: &Pair) -> PairLabels {
    PairLabels { connector: pair.connector.to_string(), target: pair.target.to_string() }
}

fn task_labels(pair: &Pair, state: &'static str) -> TaskLabels {
    TaskLabels { connector: pair.connector.to_string(), target: pair.target.to_string(), state }
}

/// Converts a count to a gauge, which is signed.
fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{About, ConditionCode};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn everything_is_told_under_its_conventional_name() {
        let metrics = Metrics::new();
        let (acme, jira) = (ConnectorName::from("acme"), TargetName::from("jira-prod"));
        let pair = Pair::new("acme", "jira-prod");
        metrics.events(&acme, EventFate::Stored, 3, at(1000));
        metrics.events(&acme, EventFate::Duplicate, 1, at(1001));
        metrics.events(&acme, EventFate::Refused, 1, at(2000));
        metrics.hook_answered(Some(&acme), 202);
        metrics.hook_answered(None, 404);
        metrics.next_run(&acme, Some(at(3600)));
        let counts =
            PairCounts { tasks: 5, due: 2, oldest: Some(at(990)), dead: 1, links: 7, held: 4, ..PairCounts::default() };
        metrics.counts(&pair, &counts, at(1000));
        metrics.written(&jira, at(1000), at(1001));
        metrics.called(Peer::Target(&jira), None, Duration::from_millis(20));
        metrics.called(Peer::Source(&acme), Some(ErrorClass::Throttled), Duration::from_millis(20));
        metrics.refused_sign_in(Peer::Target(&jira));
        metrics.run_ended(&pair, &RunOutcome::Done, Duration::from_secs(2));
        let text = metrics.encode().unwrap();
        for line in [
            "usersync_build_info{version=\"0.1.0\"} 1",
            "usersync_events_total{connector=\"acme\",outcome=\"stored\"} 3",
            "usersync_events_total{connector=\"acme\",outcome=\"duplicate\"} 1",
            "usersync_last_event_timestamp_seconds{connector=\"acme\"} 1001.0",
            "usersync_next_run_timestamp_seconds{connector=\"acme\"} 3600.0",
            "usersync_hook_answers_total{connector=\"acme\",status=\"202\"} 1",
            "usersync_hook_answers_total{connector=\"unknown\",status=\"404\"} 1",
            "usersync_tasks{connector=\"acme\",target=\"jira-prod\",state=\"due\"} 2",
            "usersync_tasks{connector=\"acme\",target=\"jira-prod\",state=\"waiting\"} 3",
            "usersync_tasks{connector=\"acme\",target=\"jira-prod\",state=\"dead\"} 1",
            "usersync_oldest_task_age_seconds{connector=\"acme\",target=\"jira-prod\"} 10.0",
            "usersync_links{connector=\"acme\",target=\"jira-prod\"} 7",
            "usersync_approval_items{connector=\"acme\",target=\"jira-prod\"} 4",
            "usersync_event_to_write_seconds_count{target=\"jira-prod\"} 1",
            "usersync_calls_total{peer=\"target\",name=\"jira-prod\",result=\"ok\"} 1",
            "usersync_calls_total{peer=\"source\",name=\"acme\",result=\"throttled\"} 1",
            "usersync_call_duration_seconds_count{peer=\"source\",name=\"acme\"} 1",
            "usersync_refused_sign_ins_total{peer=\"target\",name=\"jira-prod\"} 1",
            "usersync_runs_total{connector=\"acme\",target=\"jira-prod\",outcome=\"done\"} 1",
            "usersync_run_duration_seconds_sum{connector=\"acme\",target=\"jira-prod\"} 2.0",
        ] {
            assert!(text.lines().any(|found| found == line), "missing: {line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_condition_has_a_series_while_it_holds() {
        let metrics = Metrics::new();
        let about = About::target(&"jira-prod".into());
        metrics.conditions().raise(&about, ConditionCode::CredentialsRefused, "HTTP 401", at(1000), None);
        let line = "usersync_condition_since_timestamp_seconds{condition=\"credentials_refused\",connector=\"\",target=\"jira-prod\"} 1000.0";
        let text = metrics.encode().unwrap();
        assert!(text.lines().any(|found| found == line), "{text}");
        metrics.conditions().clear_all(&about);
        assert!(!metrics.encode().unwrap().contains("jira-prod"));
    }
}
