//! Alerts: announce changes of the connectors' states to operators, by webhook, e-mail or
//! command.
//!
//! One task reads the states. One task for each alert keeps in the store what it announced and has to announce, and
//! delivers it. Nothing else waits for them. [`AlertState`] decides what is announced.

#![warn(clippy::disallowed_methods)]

mod command;
mod email;
mod notice;
mod text;
mod webhook;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::notice::Notice;
use self::{email::Email, text::Text, webhook::Webhook};
use crate::{
    backoff::Backoff,
    clock::{Clock, Jitter},
    config::{AlertChannel, AlertConfig, Schedule},
    engine::retry_delay,
    http,
    model::{Alert, AlertKind, AlertState, ConnectorName, Digest, PairReport, Settling},
    store::OperatorStore,
    telemetry::{Metrics, logs::Personal},
};

/// Delays between attempts to deliver an alert.
const RETRIES: Backoff = Backoff::new(200, 5, Duration::from_mins(10));
/// The period that a digest covers.
const DIGEST_PERIOD: SignedDuration = SignedDuration::from_hours(24);
/// Bounds of the interval at which the states are read.
const READ_EVERY: [SignedDuration; 2] = [SignedDuration::from_millis(500), SignedDuration::from_secs(15)];

/// Reads the states that `usersync status` shows.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Returns the state of each pair, or why it cannot be read.
    async fn read(&self, now: Timestamp) -> Result<Vec<PairReport>, String>;

    /// Returns a digest of the connectors in this period, or why it cannot be read; without connectors, of all.
    async fn digest(&self, id: String, period: [Timestamp; 2], connectors: &[ConnectorName]) -> Result<Digest, String>;
}

/// Why an attempt to deliver an alert failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The reason, without secrets.
    pub why: String,
    /// The time before the next attempt that the receiver asked for.
    asked: Option<SignedDuration>,
    /// Whether the receiver refuses it for good, so that it is not retried.
    is_final: bool,
    /// Whether the reason contains addresses, or an answer that may.
    is_personal: bool,
}

impl Failed {
    /// Combines two reasons. It is retried unless both are final.
    fn and(self, other: &Self) -> Self {
        let why = format!("{}; {}", self.why, other.why);
        Self {
            why,
            asked: self.asked.max(other.asked),
            is_final: self.is_final && other.is_final,
            is_personal: self.is_personal || other.is_personal,
        }
    }
}

/// The reason as it is logged.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_personal { Personal(&self.why).fmt(f) } else { self.why.fmt(f) }
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { why, asked: None, is_final: false, is_personal: false }
    }
}

/// An alert of the configuration, ready to deliver.
pub struct Channel {
    name: String,
    way: Way,
    timeout: Duration,
    after: SignedDuration,
    problems: Vec<AlertKind>,
    connectors: Vec<ConnectorName>,
    digest: Option<Schedule>,
}

enum Way {
    Webhook(Webhook),
    Email(Email),
    Command(command::Command),
}

impl Channel {
    /// Creates the client of an alert; nothing is sent yet.
    ///
    /// # Errors
    /// A sentence about the setting that is invalid.
    pub fn new(config: &AlertConfig) -> Result<Self, String> {
        let way = match &config.channel {
            AlertChannel::Webhook { url, secret, ca_file, proxy } => {
                let (ca_file, proxy, connect) = (ca_file.as_deref(), proxy.as_ref(), config.timeout);
                let way = http::Way { ca_file, certificate: None, proxy, proxy_user: None, connect };
                Way::Webhook(Webhook::new(url, secret, way)?)
            }
            AlertChannel::Email(email) => Way::Email(Email::new(email, config.timeout)?),
            AlertChannel::Command { program, arguments } => {
                Way::Command(command::Command { program: program.clone(), arguments: arguments.clone() })
            }
        };
        Ok(Self {
            name: config.name.clone(),
            way,
            timeout: config.timeout,
            after: config.after,
            problems: config.problems.clone(),
            connectors: config.connectors.clone(),
            digest: config.digest.clone(),
        })
    }

    /// Returns the alert's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Delivers a message once.
    ///
    /// # Errors
    /// The reason as a text without secrets.
    pub async fn deliver(&self, notice: Notice<'_>, clock: &dyn Clock) -> Result<(), Failed> {
        let body = || notice.document().to_string();
        let sent = async {
            match &self.way {
                Way::Webhook(webhook) => webhook.send(notice.id(), &body(), clock.now()).await,
                Way::Email(email) => {
                    let host = host();
                    email.send(notice.id(), &Text::new(notice, &host), &host, clock).await
                }
                Way::Command(command) => command.run(&body()).await.map_err(Failed::from),
            }
        };
        tokio::select! {
            sent = sent => sent,
            () = clock.sleep_real(self.timeout) => {
                Err(Failed::from(format!("timeout after {} s", self.timeout.as_secs_f64())))
            }
        }
    }

    /// Returns the reports limited to what this alert announces.
    fn concerned(&self, reports: &[PairReport]) -> Vec<PairReport> {
        let is_named =
            |report: &&PairReport| self.connectors.is_empty() || self.connectors.contains(&report.pair.connector);
        let mut reports: Vec<PairReport> = reports.iter().filter(is_named).cloned().collect();
        for report in &mut reports {
            report.problems.retain(|key, _| self.problems.contains(&key.kind));
        }
        reports
    }
}

/// Creates a test alert.
pub fn test_alert(now: Timestamp) -> Alert {
    let (pair, began, ended, remaining) = Default::default();
    let sentence = "This is a test of usersync. Nothing is wrong.".to_owned();
    Alert { id: new_id(), at: now, pair, state: "test".to_owned(), sentence, began, ended, remaining }
}

/// Returns the name of this machine.
fn host() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

fn new_id() -> String {
    format!("alert_{}", Uuid::new_v4().simple())
}

/// What the tasks of all alerts share.
pub struct Surroundings {
    /// Keeps what was announced.
    pub store: Arc<dyn OperatorStore>,
    /// Reads the states.
    pub reports: Arc<dyn Reports>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Counts the deliveries.
    pub metrics: Arc<Metrics>,
}

/// The running alerts. If it is dropped without [`Alerts::shutdown`], they end at once.
#[derive(Default)]
pub struct Alerts {
    cancel: CancellationToken,
    tasks: JoinSet<()>,
    /// Orders to repeat what could not be delivered.
    orders: watch::Sender<()>,
}

/// The states when they were last read.
type LastRead = watch::Receiver<Option<Arc<Vec<PairReport>>>>;

impl Alerts {
    /// Starts a task for each alert; without alerts, nothing runs.
    pub fn start(channels: Vec<Channel>, surroundings: Surroundings) -> Self {
        let (cancel, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let orders = watch::Sender::new(());
        let around = Arc::new(surroundings);
        let shortest = channels.iter().map(|channel| channel.after / 4).min();
        if let Some(every) = shortest.map(|every| every.clamp(READ_EVERY[0], READ_EVERY[1])) {
            let (read, last) = watch::channel(None);
            tasks.spawn(until(cancel.clone(), read_states(Arc::clone(&around), every, read)));
            for channel in channels {
                let task = Task {
                    channel,
                    around: Arc::clone(&around),
                    jitter: Jitter::random(),
                    state: AlertState::default(),
                    settling: Settling::default(),
                    is_stored: true,
                };
                tasks.spawn(until(cancel.clone(), task.work(last.clone(), orders.subscribe())));
            }
        }
        Self { cancel, tasks, orders }
    }

    /// Repeats at once what could not be delivered, also what a receiver refused.
    pub fn try_again(&self) {
        self.orders.send_replace(());
    }

    /// Waits until a task ends by a defect, and returns a sentence about it.
    pub async fn died(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(_) => "internal error of usersync: the alerts ended. Report it with the log of that time".to_owned(),
            None => std::future::pending().await,
        }
    }

    /// Stops all tasks. A delivery in progress is interrupted, and repeated after the next start.
    pub async fn shutdown(mut self) {
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn until(cancel: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

/// Reads the states again and again.
async fn read_states(
    around: Arc<Surroundings>,
    every: SignedDuration,
    read: watch::Sender<Option<Arc<Vec<PairReport>>>>,
) {
    loop {
        match around.reports.read(around.clock.now()).await {
            Ok(reports) => drop(read.send_replace(Some(Arc::new(reports)))),
            Err(why) => tracing::error!("alerts: the state cannot be read: {why}"),
        }
        around.clock.sleep(every).await;
    }
}

/// The task of one alert.
struct Task {
    channel: Channel,
    around: Arc<Surroundings>,
    jitter: Jitter,
    state: AlertState,
    settling: Settling,
    /// Whether the store has this state.
    is_stored: bool,
}

impl Task {
    async fn work(mut self, mut last: LastRead, mut orders: watch::Receiver<()>) {
        let around = Arc::clone(&self.around);
        loop {
            match around.store.alert_state(&self.channel.name).await {
                Ok(state) => break self.state = state,
                Err(error) => tracing::error!(alert = self.channel.name, "the store cannot be read: {error}"),
            }
            around.clock.sleep(READ_EVERY[1]).await;
        }
        // Problems that a changed configuration no longer announces are forgotten.
        self.state.keep(&self.channel.problems);
        self.state.try_again(around.clock.now());
        self.is_stored = false;
        self.observe_digest();
        loop {
            let now = around.clock.now();
            let due = self.state.due_at(now).filter(|_| self.state.waiting() > 0);
            let next_attempt = async {
                match due {
                    Some(at) => around.clock.sleep(at.duration_since(now)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = last.changed() => {
                    // The reader ends only when the server stops.
                    let Ok(()) = changed else { return };
                    let reports = last.borrow_and_update().clone().unwrap_or_default();
                    self.observe(&reports);
                }
                () = next_attempt => {}
                ordered = orders.changed() => {
                    let Ok(()) = ordered else { return };
                    self.state.try_again(around.clock.now());
                    self.is_stored = false;
                }
            }
            self.observe_digest();
            self.store().await;
            self.deliver().await;
        }
    }

    /// Records whether a digest became due.
    fn observe_digest(&mut self) {
        let now = self.around.clock.now();
        match &self.channel.digest {
            None => self.state.no_digest(),
            Some(schedule) => {
                let changed = self.state.schedule_digest(now, |at| schedule.next_after(at));
                self.is_stored &= !changed;
            }
        }
    }

    /// Compares the present states with what is recorded.
    fn observe(&mut self, reports: &[PairReport]) {
        let reports = self.channel.concerned(reports);
        let (after, now) = (self.channel.after, self.around.clock.now());
        let changed = self.state.observe(&reports, &mut self.settling, after, now, new_id);
        self.is_stored &= !changed;
    }

    /// Stores the state if it changed. If that fails, it is repeated in the next round; alerts are delivered all the
    /// same, because the store's failure is one of them.
    async fn store(&mut self) {
        self.around.metrics.alerts_waiting(&self.channel.name, self.state.waiting());
        if self.is_stored {
            return;
        }
        match self.around.store.keep_alert_state(&self.channel.name, &self.state).await {
            Ok(()) => self.is_stored = true,
            Err(error) => tracing::error!(alert = self.channel.name, "the store cannot be written: {error}"),
        }
    }

    fn is_due(&self) -> bool {
        let now = self.around.clock.now();
        self.state.due_at(now).is_some_and(|at| at <= now)
    }

    /// Delivers what is due, until an attempt fails that is retried.
    async fn deliver(&mut self) {
        if !self.is_due() {
            return;
        }
        self.deliver_alerts().await;
        if self.is_due() || self.state.undelivered.as_ref().is_some_and(|one| one.again_at.is_none()) {
            self.deliver_digest().await;
        }
    }

    /// Delivers the alerts, until an attempt fails.
    async fn deliver_alerts(&mut self) {
        let around = Arc::clone(&self.around);
        let name = self.channel.name.clone();
        while let Some(alert) = self.state.next().filter(|_| self.is_due()) {
            let Some(pair) = &alert.pair else { return };
            let had_failed = self.state.undelivered.is_some();
            let sent = self.channel.deliver(Notice::Alert(&alert), around.clock.as_ref()).await;
            around.metrics.alert_sent(&name, sent.is_ok());
            match sent {
                Ok(()) => {
                    self.state.delivered(pair, around.clock.now());
                    tracing::info!(alert = name, "{pair}: alert delivered");
                }
                Err(failed) => {
                    if failed.is_final {
                        tracing::error!(alert = name, "{pair}: alert not delivered, and not retried: {failed}");
                    } else if !had_failed {
                        tracing::warn!(alert = name, "{pair}: alert not delivered, and retried: {failed}");
                    }
                    let Failed { why, asked, is_final, is_personal: _ } = failed;
                    let delay = |attempts| (!is_final).then(|| retry_delay(&RETRIES, attempts, asked, &self.jitter));
                    self.state.failed(pair, why, around.clock.now(), delay);
                }
            }
            self.is_stored = false;
            self.store().await;
        }
    }

    /// Delivers the digest that is due.
    async fn deliver_digest(&mut self) {
        let around = Arc::clone(&self.around);
        let name = self.channel.name.clone();
        let Some(due) = self.state.take_digest() else { return };
        self.is_stored = false;
        self.store().await;
        if !self.is_stored {
            // It could be sent again after a restart.
            return self.state.return_digest(due);
        }
        let now = around.clock.now();
        let period = [now - DIGEST_PERIOD, now];
        let id = format!("digest_{name}_{}", due.strftime("%Y%m%d"));
        let sent = match around.reports.digest(id, period, &self.channel.connectors).await {
            Ok(digest) => self.channel.deliver(Notice::Digest(&digest), around.clock.as_ref()).await,
            Err(why) => Err(Failed::from(format!("the state cannot be read: {why}"))),
        };
        around.metrics.alert_sent(&name, sent.is_ok());
        match sent {
            Ok(()) => {
                self.state.digest_delivered();
                tracing::info!(alert = name, "digest delivered");
            }
            Err(failed) => {
                tracing::warn!(alert = name, "digest not delivered: {failed}");
                let Failed { why, asked, is_final, is_personal: _ } = failed;
                let delay = |attempts| (!is_final).then(|| retry_delay(&RETRIES, attempts, asked, &self.jitter));
                self.state.digest_failed(due, why, around.clock.now(), delay);
            }
        }
        self.is_stored = false;
        self.store().await;
    }
}
