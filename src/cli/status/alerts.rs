//! What alerts announce of the status of each pair, and the status of the alerts themselves.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::{Common, Verdict, app, facts, judge};
use crate::{
    alerts::Reports,
    cli::{
        exit::{Exit, Failure},
        out::{Out, State},
        words::{ago, count},
    },
    config::Config,
    model::{PairReport, Undelivered},
    store::{Store, StoreResult, sqlite::SqliteStore},
};

/// Reads the states that `usersync status` shows, within the server.
pub(in crate::cli) struct StatusReports {
    /// The configuration of the server.
    pub config: Config,
    /// The store of the server.
    pub store: Arc<SqliteStore>,
}

#[async_trait]
impl Reports for StatusReports {
    async fn read(&self, now: Timestamp) -> Result<Vec<PairReport>, String> {
        self.all(now).await.map_err(|failure| failure.text)
    }
}

impl StatusReports {
    async fn all(&self, now: Timestamp) -> Result<Vec<PairReport>, Failure> {
        let store: &dyn Store = self.store.as_ref();
        let failing = self.store.failing();
        let unwritable = failing.borrow().clone();
        let common = Common {
            config: &self.config,
            store,
            server: true,
            paused: store.paused().await?,
            sets: store.approvals(true).await?,
            conditions: store.conditions().await?,
            unwritable,
            now,
        };
        let mut reports = Vec::new();
        for pair in app::all_pairs(&self.config) {
            let facts = facts(&common, &pair).await?;
            let Verdict { standing, sentence, problems, more: _, exit: _ } = judge(&facts);
            reports.push(PairReport { pair: pair.clone(), state: standing.word(), sentence, problems });
        }
        Ok(reports)
    }
}

/// The status of an alert of the configuration.
#[derive(Serialize)]
pub(super) struct AlertStatus {
    name: String,
    /// Number of alerts that are not delivered yet.
    waiting: usize,
    /// Why; `None`: no attempt failed.
    undelivered: Option<Undelivered>,
    /// The same in a sentence.
    sentence: Option<String>,
}

/// Returns the status of each alert.
pub(super) async fn read(store: &dyn Store, config: &Config, out: &Out) -> StoreResult<Vec<AlertStatus>> {
    let mut all = Vec::new();
    for alert in &config.alerts {
        let state = store.alert_state(&alert.name).await?;
        let (name, waiting) = (alert.name.clone(), state.waiting());
        let sentence = state.undelivered.as_ref().map(|undelivered| sentence(&name, waiting, undelivered, out));
        all.push(AlertStatus { name, waiting, undelivered: state.undelivered, sentence });
    }
    Ok(all)
}

fn sentence(name: &str, waiting: usize, undelivered: &Undelivered, out: &Out) -> String {
    let next = match undelivered.again_at {
        Some(at) => {
            let at = ago(at.max(out.now), out.now);
            format!("Next attempt {at}. Correct it, then test it: usersync alert test {name}")
        }
        None => format!(
            "It is not retried before the next change. Correct it, test it by usersync alert test {name}, then send it: \
             systemctl reload usersync"
        ),
    };
    format!(
        "{} since {}, after {}: {}. {next}",
        count(waiting, "alert is not delivered", "alerts are not delivered"),
        out.exact(undelivered.since),
        count(undelivered.attempts, "attempt", "attempts"),
        undelivered.why.trim_end_matches('.'),
    )
}

/// Prints the alerts that cannot be delivered.
pub(super) fn print(out: &Out, alerts: &[AlertStatus]) {
    for (alert, sentence) in alerts.iter().filter_map(|alert| Some((alert, alert.sentence.as_ref()?))) {
        let name = out.strong(&format!("alert {}", alert.name));
        out.prose(6, format!("{}  {name}    {sentence}", out.state(State::No)));
    }
}

/// Returns the exit code of the alerts.
pub(super) fn exit(alerts: &[AlertStatus]) -> Exit {
    if alerts.iter().any(|alert| alert.undelivered.is_some()) { Exit::Problems } else { Exit::Done }
}
