//! Event polling: reads the events that Keycloak stores, to find changes without a listener, and changes that a listener
//! did not deliver.
//!
//! Reads overlap, because an event becomes visible later than its time says. An event that was stored before raises no
//! task again. A problem of polling is reported, and never stops other work.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    error::WorkError,
    ports::{Connector, Engine},
};
use crate::{
    model::{
        ErrorClass, EventLog, EventMark, EventOutcome, EventPoll, EventSettings, FoundGap, Gap, LogPosition, NewEvent,
        Pair, PollProblem,
    },
    store::StoreError,
    telemetry::metrics::EventFate,
};

/// Factor by which polling is slower in an idle realm.
const IDLE_FACTOR: i32 = 3;
/// How often the interval doubles after failures. It stays short, so that a server that recovers is polled soon.
const MOST_DOUBLINGS: u32 = 2;

/// The polling of a connector's events.
pub(super) struct Poller {
    connector: Arc<Connector>,
    /// The configured interval.
    every: SignedDuration,
    state: EventPoll,
    /// The state as last stored.
    kept: EventPoll,
    /// Recently read events of each log, which the next read returns again.
    read: HashMap<EventLog, BTreeSet<EventMark>>,
    /// When the settings are read again.
    settings_due: Timestamp,
    /// When the state is stored even if no event was found.
    keep_due: Timestamp,
    /// When an event was last found.
    last_news: Timestamp,
    /// Number of failures since the last success.
    failures: u32,
    /// Whether the last failure lasts until an operator acts.
    lasting: bool,
}

impl Poller {
    /// Creates a poller that continues where the last one stopped.
    pub async fn load(engine: &Engine, connector: Arc<Connector>, every: SignedDuration) -> Result<Self, StoreError> {
        let state = engine.store.event_poll(&connector.name).await?;
        let now = engine.clock.now();
        Ok(Self {
            connector,
            every,
            kept: state.clone(),
            state,
            read: HashMap::new(),
            settings_due: now,
            keep_due: now,
            last_news: now,
            failures: 0,
            lasting: false,
        })
    }

    /// Returns whether the source accepts calls at present.
    pub fn may_poll(&self) -> bool {
        self.connector.breaker.open().is_none()
    }

    /// Returns the time until the next poll.
    pub fn wait(&self, engine: &Engine) -> SignedDuration {
        let longest = engine.times.poll_longest.max(self.every);
        let idle = engine.clock.now().duration_since(self.last_news) >= engine.times.poll_idle_after;
        if self.lasting { longest } else { interval(self.every, longest, self.failures, idle) }
    }

    /// Records why polling does not work; a new reason is logged.
    fn note_problem(&mut self, error: &WorkError, now: Timestamp) {
        let text = error.to_string();
        let known = self.state.problem.take();
        if known.as_ref().is_none_or(|problem| problem.text != text) {
            tracing::warn!(connector = %self.connector.name, "events cannot be polled: {text}");
        }
        self.state.problem = Some(PollProblem { since: known.map_or(now, |problem| problem.since), text });
    }

    /// Returns whether the state differs from the stored one in more than the time of the last read.
    fn has_news(&self) -> bool {
        let essence = |state: &EventPoll| {
            let newest = [&state.admin, &state.user].map(|log| log.as_ref().map(|position| position.newest.clone()));
            let problem = state.problem.as_ref().map(|problem| problem.text.clone());
            (state.source.clone(), state.settings.clone(), problem, state.gap, newest)
        };
        essence(&self.state) != essence(&self.kept)
    }
}

impl Engine {
    /// Reads the new events of a connector, and records how that went.
    pub(super) async fn poll(&self, poller: &mut Poller) {
        let result = self.poll_once(poller).await;
        let now = self.clock.now();
        let name = poller.connector.name.clone();
        match result {
            Ok(()) => {
                if poller.state.problem.take().is_some() {
                    tracing::info!(connector = %name, "events are polled again");
                }
                (poller.failures, poller.lasting) = (0, false);
                poller.state.polled_at = Some(now);
                self.metrics.polled(&name, true, now);
            }
            Err(error) => {
                poller.failures = poller.failures.saturating_add(1);
                poller.lasting = is_lasting(error.class());
                // A rate limit is a condition of the source, and ends by itself.
                if error.class() != ErrorClass::Throttled {
                    self.metrics.polled(&name, false, now);
                    poller.note_problem(&error, now);
                }
            }
        }
        if poller.has_news() || poller.keep_due <= now {
            // A failure is the store's own condition; the state is stored after the next poll.
            if self.store.keep_event_poll(&name, &poller.state).await.is_ok() {
                poller.kept = poller.state.clone();
                poller.keep_due = now + self.times.poll_kept;
            }
        }
    }

    async fn poll_once(&self, poller: &mut Poller) -> Result<(), WorkError> {
        let connector = Arc::clone(&poller.connector);
        let identity = connector.source.identify().await?.identity;
        if poller.state.source.as_ref() != Some(&identity) {
            // An unexpected identity stops the connector: nothing of it is stored.
            self.identify(&connector).await?;
            if poller.state.source.is_some() {
                self.note_gap(poller, EventLog::Admin, Gap::Recreated).await?;
            }
            let gap = poller.state.gap;
            poller.state = EventPoll { source: Some(identity), gap, ..EventPoll::default() };
            poller.read.clear();
            poller.settings_due = self.clock.now();
        }
        let now = connector.source.time().await?;
        for log in EventLog::ALL {
            if poller.state.settings.as_ref().is_none_or(|settings| settings.of(log).stored) {
                // From here on nothing may be missed, even if the first reads fail.
                poller.state.position(log).get_or_insert(LogPosition { read_to: now, newest: None });
            }
        }
        let is_deep = poller.failures > 0 || poller.settings_due <= self.clock.now();
        let settings = self.event_settings(poller).await?;
        let mut result = Ok(());
        for log in EventLog::ALL {
            if settings.of(log).stored {
                // One log is polled even if the other cannot be read.
                result = result.and(self.poll_log(poller, log, settings.of(log).expiry, now, is_deep).await);
            } else {
                *poller.state.position(log) = None;
                poller.read.remove(&log);
            }
        }
        result
    }

    /// Returns which events the realm stores, read again from time to time.
    async fn event_settings(&self, poller: &mut Poller) -> Result<EventSettings, WorkError> {
        let now = self.clock.now();
        let known = poller.state.settings.clone();
        if let Some(settings) = known.clone().filter(|_| poller.settings_due > now) {
            return Ok(settings);
        }
        let settings = poller.connector.source.event_settings().await?;
        for log in EventLog::ALL {
            let was_off = known.as_ref().is_some_and(|known| !known.of(log).stored);
            if was_off && settings.of(log).stored {
                self.note_gap(poller, log, Gap::TurnedOff).await?;
            }
        }
        poller.state.settings = Some(settings.clone());
        poller.settings_due = now + self.times.poll_settings;
        Ok(settings)
    }

    /// Reads the new events of a log. A deep read begins earlier, and checks whether the log was cleared.
    async fn poll_log(
        &self,
        poller: &mut Poller,
        log: EventLog,
        expiry: Option<SignedDuration>,
        now: Timestamp,
        is_deep: bool,
    ) -> Result<(), WorkError> {
        let connector = Arc::clone(&poller.connector);
        let deepest = self.times.poll_deep_overlap;
        let overlap = if is_deep { deepest } else { self.times.poll_overlap };
        let before = poller.state.position(log).get_or_insert(LogPosition { read_to: now, newest: None }).clone();
        let mut newest = before.newest.clone();
        let mut next = Some(before.begin(now, overlap));
        while let Some(at) = next {
            let page = connector.source.stored_events(log, at, connector.policy.uses()).await?;
            next = page.next;
            let read = poller.read.entry(log).or_default();
            let mut fresh = Vec::new();
            for event in page.events {
                let mark = event.occurred_at.map(|at| EventMark { at, id: event.id.clone() });
                newest = newest.max(mark.clone());
                let is_new = mark.is_none_or(|mark| read.insert(mark));
                if is_new && event.outcome == EventOutcome::Accepted {
                    fresh.push(event);
                }
            }
            // What is older is not returned again.
            *read = read.split_off(&EventMark { at: before.begin(now, deepest), id: String::new() });
            if let Err(error) = self.store_polled(&connector, fresh).await {
                // They are new again at the next poll.
                poller.read.remove(&log);
                return Err(error.into());
            }
        }
        if newest != before.newest {
            poller.last_news = self.clock.now();
        }
        let mut gap = before.gap_before(now, self.times.poll_overlap, expiry);
        if let (true, Some(mark)) = (is_deep, &before.newest)
            && !connector.source.stores_event(log, mark).await?
        {
            gap = gap.or_else(|| before.gap_without_newest(now, expiry));
            newest = newest.filter(|newest| newest != mark);
        }
        if let Some(gap) = gap {
            self.note_gap(poller, log, gap).await?;
        }
        *poller.state.position(log) = Some(LogPosition { read_to: now, newest });
        Ok(())
    }

    /// Stores new events with their tasks, as the listener does.
    async fn store_polled(&self, connector: &Connector, events: Vec<NewEvent>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let appended = self.store.append_events(&connector.name, &connector.targets, events, now).await?;
        if appended.stored > 0 {
            self.metrics.events(&connector.name, EventFate::Polled, appended.stored as u64, now);
        }
        Ok(())
    }

    /// Requests a full reconcile, because events may have been missed.
    async fn note_gap(&self, poller: &mut Poller, log: EventLog, why: Gap) -> Result<(), StoreError> {
        let gap = FoundGap { at: self.clock.now(), log, why };
        let connector = &poller.connector;
        tracing::warn!(connector = %connector.name, "{gap}; a full reconcile is requested");
        for target in &connector.targets {
            let pair = Pair { connector: connector.name.clone(), target: target.clone() };
            self.store.request_run(&pair).await?;
        }
        poller.state.gap = Some(gap);
        Ok(())
    }
}

/// Returns the time until the next poll: longer in an idle realm, and with each failure, up to `longest`.
fn interval(every: SignedDuration, longest: SignedDuration, failures: u32, idle: bool) -> SignedDuration {
    let factor = match (failures, idle) {
        (0, false) => 1,
        (0, true) => IDLE_FACTOR,
        (failures, _) => 1 << failures.min(MOST_DOUBLINGS),
    };
    every.checked_mul(factor).unwrap_or(longest).min(longest)
}

/// Whether an error of this class lasts until an operator acts.
fn is_lasting(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Forbidden
            | ErrorClass::Permanent
            | ErrorClass::Credentials
            | ErrorClass::Conflict
            | ErrorClass::Bug
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_realm_and_one_that_fails_are_polled_less_often() {
        let seconds = SignedDuration::from_secs;
        let (every, longest) = (seconds(5), seconds(60));
        assert_eq!(interval(every, longest, 0, false), seconds(5));
        assert_eq!(interval(every, longest, 0, true), seconds(15));
        assert_eq!(interval(every, longest, 1, false), seconds(10));
        assert_eq!(interval(every, longest, 2, true), seconds(20));
        assert_eq!(interval(every, longest, 40, false), seconds(20));
        assert_eq!(interval(seconds(30), longest, 2, false), longest);
        assert_eq!(interval(seconds(600), seconds(600), 3, true), seconds(600), "never less often than configured");
    }
}
