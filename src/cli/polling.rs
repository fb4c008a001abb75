//! What `status` and `check` report about event polling.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    out::Out,
    words::{count, span, thin},
};
use crate::{
    config::ConnectorConfig,
    model::{EventLog, EventPoll, FoundGap, PollProblem, RunOutcome, RunRecord},
    store::{PolledEvents, Store, StoreResult},
    targets::{Note, NoteState},
};

/// Time for which `check` reports a gap. `status` reports it until a full reconcile has answered it.
const GAP_SHOWN: SignedDuration = SignedDuration::from_hours(24);
/// Time after which a problem without a listener is one of the connector.
const LASTING: SignedDuration = SignedDuration::from_mins(5);
/// Share of recent events, as a divisor, from which the listener counts as unable to reach this server.
const UNREACHED: u64 = 4;

/// The event polling of a connector.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Polling {
    /// The interval in seconds; `None`: off.
    every: Option<i64>,
    /// When it last succeeded, accurate to a minute.
    polled_at: Option<Timestamp>,
    /// Events that were new when they were polled.
    #[serde(flatten)]
    events: PolledEvents,
    problem: Option<PollProblem>,
    /// The newest event that Keycloak stores, as far as it was read.
    #[serde(skip)]
    newest: Option<Timestamp>,
    gap: Option<FoundGap>,
    /// The logs that the realm does not store.
    not_stored: Vec<EventLog>,
    /// Whether a listener is expected: a secret for it is configured, and it sent an event before.
    #[serde(skip)]
    has_listener: bool,
    #[serde(skip)]
    realm: String,
}

impl Polling {
    /// Reads the state of a connector's polling.
    pub async fn read(store: &dyn Store, connector: &ConnectorConfig) -> StoreResult<Self> {
        let state = store.event_poll(&connector.name).await?;
        let has_pushed = store.event_counts(&connector.name).await?.received > 0;
        let polling = Self::new(connector, state, store.polled_events(&connector.name).await?);
        Ok(Self { has_listener: has_pushed && polling.has_listener, ..polling })
    }

    /// Combines the configuration with what is stored.
    pub fn new(connector: &ConnectorConfig, state: EventPoll, events: PolledEvents) -> Self {
        let settings = state.settings;
        let not_stored =
            EventLog::ALL.into_iter().filter(|log| settings.as_ref().is_some_and(|settings| !settings.of(*log).stored));
        Self {
            every: connector.poll_events.map(|every| every.as_secs()),
            polled_at: state.polled_at,
            events,
            problem: state.problem,
            newest: [state.admin, state.user].into_iter().flatten().filter_map(|log| Some(log.newest?.at)).max(),
            gap: state.gap,
            not_stored: not_stored.collect(),
            has_listener: connector.hook.secret.is_some() || connector.hook.p2.is_some(),
            realm: connector.realm.clone(),
        }
    }

    /// Returns when the newest event happened that Keycloak stores, also if it causes no work.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest.max(self.events.last)
    }

    /// Returns when the last event came by polling.
    pub fn last_event(&self) -> Option<Timestamp> {
        self.events.last
    }

    /// Returns the number of events that were new when they were polled.
    pub fn events(&self) -> u64 {
        self.events.events
    }

    /// Returns whether only the full reconcile has found changes for a while.
    pub fn is_down(&self, now: Timestamp) -> bool {
        let lasts = |problem: &PollProblem| now.duration_since(problem.since) >= LASTING;
        self.every.is_some() && !self.has_listener && self.problem.as_ref().is_some_and(lasts)
    }

    /// Returns the sentence of `status` about polling that neither succeeds nor fails, while a server runs.
    pub fn unanswered(&self, now: Timestamp) -> Option<String> {
        let (every, polled_at) = (self.every?, self.polled_at.filter(|_| self.problem.is_none())?);
        // An idle realm is polled three times as slowly.
        let longest = LASTING + SignedDuration::from_secs(every.saturating_mul(3));
        let waited = now.duration_since(polled_at);
        (waited > longest).then(|| {
            format!(
                "Polling of events has had no answer for {}. Check that Keycloak answers: usersync check; if it does, restart \
                 the server",
                span(waited)
            )
        })
    }

    /// Returns the sentences of `status`. `last_run`: the last full reconcile that wrote.
    pub fn sentences(&self, last_run: Option<&RunRecord>, now: Timestamp) -> Vec<String> {
        if self.every.is_none() {
            return Vec::new();
        }
        let gap = self.gap.filter(|gap| !last_run.is_some_and(|run| answers(run, gap)));
        [self.trouble(now), self.stores_nothing(), gap.map(|gap| missed(&gap, now)), self.unreached()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Describes the polling in one line of `status`.
    pub fn line(&self, out: &Out) -> String {
        let Some(every) = self.every else { return "off (poll_events)".to_owned() };
        let last = match (self.polled_at, self.events.last) {
            (None, _) => "not yet polled".to_owned(),
            (Some(at), None) => format!("last {}, no new event yet", out.when(at)),
            (Some(at), Some(event)) => {
                format!(
                    "last {}, last new event {} ({} in total)",
                    out.when(at),
                    out.when(event),
                    thin(self.events.events)
                )
            }
        };
        format!("every {}, {last}", span(SignedDuration::from_secs(every)))
    }

    /// Returns the lines of `check`.
    pub fn notes(&self, out: &Out) -> Vec<Note> {
        let note = |state, text: String| Note { state, about: "polling".to_owned(), text };
        if self.every.is_none() {
            let text = "off (poll_events): only the listener and the full reconcile find changes";
            return vec![note(NoteState::Note, text.to_owned())];
        }
        let mut notes = match (self.trouble(out.now), self.polled_at) {
            (Some(text), _) => vec![note(NoteState::No, text)],
            (None, None) => vec![note(NoteState::Wait, "no server has polled events yet".to_owned())],
            (None, Some(_)) => vec![note(NoteState::Ok, self.line(out))],
        };
        let gap = self.gap.filter(|gap| out.now.duration_since(gap.at) < GAP_SHOWN);
        notes.extend(gap.map(|gap| note(NoteState::Note, missed(&gap, out.now))));
        notes.extend(self.unreached().map(|text| note(NoteState::Note, text)));
        notes
    }

    fn trouble(&self, now: Timestamp) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let (since, text) = (span(now.duration_since(problem.since)), problem.text.trim_end_matches('.'));
        let meanwhile = if self.has_listener {
            "the listener and the full reconcile find changes"
        } else {
            "the full reconcile finds changes"
        };
        Some(format!("Events cannot be polled, for {since}: {text}. Meanwhile, only {meanwhile}."))
    }

    fn stores_nothing(&self) -> Option<String> {
        let logs: Vec<String> = self.not_stored.iter().map(|log| format!("no {log}")).collect();
        (!logs.is_empty()).then(|| {
            format!(
                "Realm {} stores {}, so they cannot be polled. Turn them on: usersync keycloak setup",
                self.realm,
                logs.join(" and ")
            )
        })
    }

    fn unreached(&self) -> Option<String> {
        let PolledEvents { recent, only_polled, .. } = self.events;
        let why = if only_polled.saturating_mul(UNREACHED) >= recent {
            "the listener does not reach this server"
        } else {
            "the listener did not deliver them"
        };
        (self.has_listener && only_polled > 0).then(|| {
            format!(
                "{} of the last {} came only by polling: {why}.",
                thin(only_polled),
                count(recent, "event", "events")
            )
        })
    }
}

/// Whether a full reconcile has found what was missed in a gap.
fn answers(run: &RunRecord, gap: &FoundGap) -> bool {
    run.started_at >= gap.at && matches!(run.outcome, RunOutcome::Done | RunOutcome::Problems | RunOutcome::Held)
}

fn missed(gap: &FoundGap, now: Timestamp) -> String {
    let text = gap.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase()).unwrap_or_default();
    let ago = span(now.duration_since(gap.at));
    format!("{first}{}. A full reconcile was requested {ago} ago.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Gap, Pair, RunId, RunMode, RunTrigger};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_447_400 + second).unwrap()
    }

    fn polling() -> Polling {
        Polling {
            every: Some(5),
            polled_at: Some(at(0)),
            has_listener: true,
            realm: "acme".into(),
            ..Polling::default()
        }
    }

    fn recent(only_polled: u64, recent: u64) -> Polling {
        Polling { events: PolledEvents { recent, only_polled, ..PolledEvents::default() }, ..polling() }
    }

    #[test]
    fn a_listener_that_does_not_reach_the_server_is_reported() {
        let said = |polling: &Polling| polling.sentences(None, at(1));
        assert_eq!(
            said(&recent(12, 40)),
            ["12 of the last 40 events came only by polling: the listener does not reach this server."]
        );
        assert_eq!(
            said(&recent(2, 40)),
            ["2 of the last 40 events came only by polling: the listener did not deliver them."]
        );
        assert_eq!(said(&recent(0, 40)), [""; 0]);
        assert_eq!(said(&Polling { has_listener: false, ..recent(40, 40) }), [""; 0], "no listener is expected");
        assert_eq!(said(&Polling { every: None, ..recent(12, 40) }), [""; 0]);
    }

    #[test]
    fn a_realm_that_stores_no_events_is_one_sentence() {
        let off = Polling { not_stored: EventLog::ALL.to_vec(), ..polling() };
        assert_eq!(
            off.sentences(None, at(1)),
            ["Realm acme stores no admin events and no user events, so they cannot be polled. Turn them on: usersync \
                 keycloak setup"]
        );
    }

    #[test]
    fn a_gap_is_reported_until_a_full_reconcile_has_answered_it() {
        let gap = FoundGap { at: at(60), log: EventLog::Admin, why: Gap::Expired };
        let polling = Polling { gap: Some(gap), ..polling() };
        let run = |started: i64, outcome| RunRecord {
            id: RunId(1),
            pair: Pair::new("acme", "jira"),
            trigger: RunTrigger::Event,
            mode: RunMode::Apply,
            started_at: at(started),
            ended_at: None,
            outcome,
            cancelled_by: None,
            progress: None,
            report: serde_json::Value::Null,
        };
        let failed = RunOutcome::Failed { why: "x".into(), class: None };
        for run in [run(59, RunOutcome::Done), run(61, RunOutcome::Running), run(61, failed)] {
            assert_eq!(
                polling.sentences(Some(&run), at(70)),
                [
                    "Admin events may have been missed, because Keycloak deleted events before they were read: polling was \
                  interrupted for longer than their expiry. A full reconcile was requested 10 s ago."
                ]
            );
        }
        assert_eq!(polling.sentences(Some(&run(61, RunOutcome::Done)), at(70)), [""; 0]);
    }

    #[test]
    fn polling_without_an_answer_is_reported_after_some_minutes() {
        assert_eq!((polling().unanswered(at(315)), Polling::default().unanswered(at(9_999))), (None, None));
        let text = polling().unanswered(at(720)).unwrap();
        assert!(text.starts_with("Polling of events has had no answer for 12 min. "), "{text}");
        let problem = Some(PollProblem { since: at(0), text: "x".into() });
        assert_eq!(Polling { problem, ..polling() }.unanswered(at(720)), None, "it has its own sentence");
        assert_eq!(Polling { every: Some(600), ..polling() }.unanswered(at(1_800)), None);
        assert_eq!(Polling { every: None, ..polling() }.unanswered(at(720)), None);
    }

    #[test]
    fn a_problem_has_its_effect() {
        let problem = PollProblem { since: at(0), text: "client usersync lacks the role view-events. Grant it".into() };
        let problem = Polling { problem: Some(problem), ..polling() };
        assert_eq!(
            problem.sentences(None, at(300)),
            [
                "Events cannot be polled, for 5 min: client usersync lacks the role view-events. Grant it. Meanwhile, only \
                 the listener and the full reconcile find changes."
            ]
        );
        assert!(!problem.is_down(at(300)), "the listener finds changes");
        let bare = Polling { has_listener: false, ..problem };
        assert_eq!(
            bare.sentences(None, at(240)),
            ["Events cannot be polled, for 4 min: client usersync lacks the role view-events. Grant it. Meanwhile, \
                 only the full reconcile finds changes."]
        );
        assert!(!bare.is_down(at(299)) && bare.is_down(at(300)));
        assert!(!Polling { every: None, ..bare }.is_down(at(300)));
    }
}
