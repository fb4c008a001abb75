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
    model::{ConnectorName, DriftKind, ErrorClass, Handling, Pair, RunOutcome, TargetName},
    store::{PairCounts, PairState},
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
    polls: Family<PollLabels, Counter>,
    next_run: Family<ConnectorLabels, Seconds>,
    hook_answers: Family<HookLabels, Counter>,
    tasks: Family<TaskLabels, Gauge>,
    oldest_task: Family<PairLabels, Seconds>,
    last_change: Family<PairLabels, Seconds>,
    pair_state: Family<PairStateLabels, Gauge>,
    last_successful_run: Family<PairLabels, Seconds>,
    successful_run_due: Family<PairLabels, Seconds>,
    links: Family<PairLabels, Gauge>,
    held: Family<PairLabels, Gauge>,
    event_to_write: Family<TargetLabels, Histogram, fn() -> Histogram>,
    calls: Family<CallLabels, Counter>,
    call_duration: Family<PeerLabels, Histogram, fn() -> Histogram>,
    refused_sign_ins: Family<PeerLabels, Counter>,
    runs: Family<RunLabels, Counter>,
    run_duration: Family<PairLabels, Histogram, fn() -> Histogram>,
    drift: Family<DriftLabels, Counter>,
    conditions: Conditions,
    condition: Family<ConditionLabels, Seconds>,
    alerts: Family<AlertResultLabels, Counter>,
    alerts_waiting: Family<AlertLabels, Gauge>,
    ready: Gauge,
    started: Seconds,
    /// A family, so that there is no series before the first measurement.
    store_free: Family<Vec<(String, String)>, Gauge>,
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
struct PollLabels {
    connector: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    alert: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertResultLabels {
    alert: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PairStateLabels {
    connector: String,
    target: String,
    state: &'static str,
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
struct DriftLabels {
    connector: String,
    target: String,
    kind: &'static str,
    handling: &'static str,
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
const PAIR_STATES: [&str; 7] = ["new", "no_users", "held", "approved", "in_service", "stopped", "paused"];

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
            polls: Family::default(),
            next_run: Family::default(),
            hook_answers: Family::default(),
            tasks: Family::default(),
            oldest_task: Family::default(),
            last_change: Family::default(),
            pair_state: Family::default(),
            last_successful_run: Family::default(),
            successful_run_due: Family::default(),
            links: Family::default(),
            held: Family::default(),
            // 10 ms to 2.9 hours: usually a second is enough, but after an outage it takes hours.
            event_to_write: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.5, 16))),
            calls: Family::default(),
            call_duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.005, 2.5, 11))),
            refused_sign_ins: Family::default(),
            runs: Family::default(),
            drift: Family::default(),
            run_duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.5, 3.0, 10))),
            conditions: Conditions::default(),
            condition: Family::default(),
            alerts: Family::default(),
            alerts_waiting: Family::default(),
            ready: Gauge::default(),
            started: Seconds::default(),
            store_free: Family::default(),
        };
        let m = &metrics;
        m.register_of_process(&mut registry);
        m.register_of_events(&mut registry);
        m.register_of_work(&mut registry);
        m.register_of_calls(&mut registry);
        m.register_of_runs(&mut registry);
        metrics.registry = registry;
        metrics
    }

    fn register_of_process(&self, registry: &mut Registry) {
        registry.register("ready", "Whether events can be accepted (1), as /readyz reports it", self.ready.clone());
        registry.register_with_unit("start_timestamp", "When the process started", Unit::Seconds, self.started.clone());
        registry.register_with_unit(
            "store_free",
            "Free space of the file system that contains the store",
            Unit::Bytes,
            self.store_free.clone(),
        );
        registry.register_with_unit(
            "condition_since_timestamp",
            "When each active condition began; a series exists only while its condition is active",
            Unit::Seconds,
            self.condition.clone(),
        );
        registry.register("alerts", "Attempts to deliver an alert, by result", self.alerts.clone());
        registry.register("alerts_waiting", "Alerts that are not delivered yet", self.alerts_waiting.clone());
    }

    fn register_of_events(&self, registry: &mut Registry) {
        registry.register("events", "Events received, by outcome", self.events.clone());
        registry.register_with_unit(
            "last_event_timestamp",
            "When the last event was received",
            Unit::Seconds,
            self.last_event.clone(),
        );
        registry.register_with_unit(
            "last_poll_timestamp",
            "When Keycloak's event store was last polled successfully",
            Unit::Seconds,
            self.last_poll.clone(),
        );
        registry.register("polls", "Polls of Keycloak's event store, by result", self.polls.clone());
        registry.register("hook_answers", "Answers to senders of events", self.hook_answers.clone());
    }

    fn register_of_work(&self, registry: &mut Registry) {
        registry.register(
            "pair_state",
            "Whether a connector is in this state on a target (1)",
            self.pair_state.clone(),
        );
        registry.register("tasks", "Tasks that are not done", self.tasks.clone());
        registry.register_with_unit(
            "oldest_task_age",
            "How long the oldest task has been waiting",
            Unit::Seconds,
            self.oldest_task.clone(),
        );
        registry.register_with_unit(
            "last_change_timestamp",
            "When the last change was recorded",
            Unit::Seconds,
            self.last_change.clone(),
        );
        registry.register("links", "Users with an account", self.links.clone());
        registry.register("approval_items", "Operations that wait for approval", self.held.clone());
        registry.register_with_unit(
            "event_to_write",
            "Time from the receipt of an event to the write that it caused",
            Unit::Seconds,
            self.event_to_write.clone(),
        );
    }

    fn register_of_calls(&self, registry: &mut Registry) {
        registry.register("calls", "Calls to sources and targets, by result", self.calls.clone());
        registry.register_with_unit(
            "call_duration",
            "How long calls to sources and targets took",
            Unit::Seconds,
            self.call_duration.clone(),
        );
        registry.register(
            "refused_sign_ins",
            "Calls whose credentials were refused, those to token endpoints included",
            self.refused_sign_ins.clone(),
        );
    }

    fn register_of_runs(&self, registry: &mut Registry) {
        registry.register("runs", "Full reconciles that ended", self.runs.clone());
        registry.register(
            "drift",
            "Changes in targets that full reconciles found and usersync did not make",
            self.drift.clone(),
        );
        registry.register_with_unit(
            "run_duration",
            "How long full reconciles took",
            Unit::Seconds,
            self.run_duration.clone(),
        );
        registry.register_with_unit(
            "next_run_timestamp",
            "When the next full reconcile is due",
            Unit::Seconds,
            self.next_run.clone(),
        );
        registry.register_with_unit(
            "last_successful_run_timestamp",
            "When the last full reconcile ended that neither failed nor was stopped",
            Unit::Seconds,
            self.last_successful_run.clone(),
        );
        registry.register_with_unit(
            "successful_run_due_timestamp",
            "When the first full reconcile after the last successful one was due",
            Unit::Seconds,
            self.successful_run_due.clone(),
        );
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

    /// Counts a poll of Keycloak's event store.
    pub fn polled(&self, connector: &ConnectorName, is_ok: bool, now: Timestamp) {
        let result = if is_ok { "ok" } else { "failed" };
        self.polls.get_or_create(&PollLabels { connector: connector.to_string(), result }).inc();
        if !is_ok {
            return;
        }
        self.last_poll.get_or_create(&connector_labels(connector)).set(now.as_duration().as_secs_f64());
    }

    /// Counts an answer to a sender. `None` stands for unknown connectors, because senders choose those names freely.
    pub fn hook_answered(&self, connector: Option<&ConnectorName>, status: u16) {
        let connector = connector.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        self.hook_answers.get_or_create(&HookLabels { connector, status: status.into() }).inc();
    }

    /// Sets when the next full reconcile is due; `None`: never.
    pub fn next_run(&self, connector: &ConnectorName, at: Option<Timestamp>) {
        set_or_remove(&self.next_run, &connector_labels(connector), at);
    }

    /// Sets when the first full reconcile after the last successful one was due; `None`: none is expected.
    pub fn successful_run_due(&self, pair: &Pair, at: Option<Timestamp>) {
        set_or_remove(&self.successful_run_due, &pair_labels(pair), at);
    }

    /// Sets the state of a pair; `None`: its connector is paused or disabled.
    pub fn pair_state(&self, pair: &Pair, state: Option<PairState>) {
        let current = match state {
            Some(PairState::New) => "new",
            Some(PairState::NoUsers) => "no_users",
            Some(PairState::Held) => "held",
            Some(PairState::Approved) => "approved",
            Some(PairState::InService) => "in_service",
            Some(PairState::Stopped) => "stopped",
            None => "paused",
        };
        for state in PAIR_STATES {
            let PairLabels { connector, target } = pair_labels(pair);
            let labels = PairStateLabels { connector, target, state };
            self.pair_state.get_or_create(&labels).set(i64::from(state == current));
        }
    }

    /// Counts an attempt to deliver an alert.
    pub fn alert_sent(&self, alert: &str, is_ok: bool) {
        let result = if is_ok { "ok" } else { "failed" };
        self.alerts.get_or_create(&AlertResultLabels { alert: alert.to_owned(), result }).inc();
    }

    /// Sets the number of alerts that are not delivered yet.
    pub fn alerts_waiting(&self, alert: &str, waiting: usize) {
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.alerts_waiting.get_or_create(&AlertLabels { alert: alert.to_owned() }).set(waiting);
    }

    /// Sets whether events can be accepted.
    pub fn ready(&self, is_ready: bool) {
        self.ready.set(i64::from(is_ready));
    }

    /// Records when the process started.
    pub fn started(&self, at: Timestamp) {
        self.started.set(at.as_duration().as_secs_f64());
    }

    /// Sets the free space of the store's file system, in bytes.
    pub fn store_free(&self, bytes: u64) {
        self.store_free.get_or_create(&Vec::new()).set(gauge(bytes));
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
        set_or_remove(&self.last_successful_run, &labels, counts.last_successful_run);
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

    /// Counts changes in a target of one kind that a full reconcile found, with what became of them.
    pub fn drifted(&self, pair: &Pair, kind: DriftKind, handling: Handling, number: u64) {
        let PairLabels { connector, target } = pair_labels(pair);
        let labels = DriftLabels { connector, target, kind: kind.key(), handling: handling.key() };
        self.drift.get_or_create(&labels).inc_by(number);
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

/// Sets a point in time, or removes its series.
fn set_or_remove<L>(family: &Family<L, Seconds>, labels: &L, at: Option<Timestamp>)
where
    L: Clone + Eq + std::hash::Hash,
{
    match at {
        Some(at) => {
            family.get_or_create(labels).set(at.as_duration().as_secs_f64());
        }
        None => {
            family.remove(labels);
        }
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
        metrics.polled(&acme, true, at(990));
        metrics.polled(&acme, false, at(995));
        metrics.pair_state(&pair, Some(PairState::Held));
        metrics.pair_state(&pair, Some(PairState::InService));
        metrics.successful_run_due(&pair, Some(at(1200)));
        metrics.alert_sent("ops", true);
        metrics.alert_sent("ops", false);
        metrics.alerts_waiting("ops", 2);
        metrics.ready(true);
        metrics.started(at(60));
        metrics.store_free(1 << 30);
        let counts = PairCounts {
            tasks: 5,
            due: 2,
            oldest: Some(at(990)),
            dead: 1,
            links: 7,
            held: 4,
            last_successful_run: Some(at(900)),
            ..PairCounts::default()
        };
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
            "usersync_last_poll_timestamp_seconds{connector=\"acme\"} 990.0",
            "usersync_polls_total{connector=\"acme\",result=\"ok\"} 1",
            "usersync_polls_total{connector=\"acme\",result=\"failed\"} 1",
            "usersync_pair_state{connector=\"acme\",target=\"jira-prod\",state=\"held\"} 0",
            "usersync_pair_state{connector=\"acme\",target=\"jira-prod\",state=\"in_service\"} 1",
            "usersync_last_successful_run_timestamp_seconds{connector=\"acme\",target=\"jira-prod\"} 900.0",
            "usersync_successful_run_due_timestamp_seconds{connector=\"acme\",target=\"jira-prod\"} 1200.0",
            "usersync_alerts_total{alert=\"ops\",result=\"ok\"} 1",
            "usersync_alerts_total{alert=\"ops\",result=\"failed\"} 1",
            "usersync_alerts_waiting{alert=\"ops\"} 2",
            "usersync_ready 1",
            "usersync_start_timestamp_seconds 60.0",
            "usersync_store_free_bytes{} 1073741824",
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
