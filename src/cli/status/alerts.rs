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
    config::{AlertConfig, Config},
    model::{ConnectorName, Digest, Pair, PairDigest, PairReport, Undelivered, UndeliveredAlert, WaitingApproval},
    store::{OperatorStore as _, Store, StoreReads as _, StoreResult, sqlite::SqliteStore},
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
        let verdicts = self.verdicts(now).await.map_err(|failure| failure.text)?;
        let report = |(pair, verdict, _)| {
            let Verdict { standing, sentence, problems, more: _, exit: _ } = verdict;
            PairReport { pair, state: standing.word(), sentence, problems }
        };
        Ok(verdicts.into_iter().map(report).collect())
    }

    async fn digest(
        &self,
        id: String,
        [from, to]: [Timestamp; 2],
        connectors: &[ConnectorName],
    ) -> Result<Digest, String> {
        let pairs = self.pairs(from, to, connectors).await.map_err(|failure| failure.text)?;
        let mut undelivered = Vec::new();
        for AlertConfig { name, .. } in &self.config.alerts {
            let state = self.store.alert_state(name).await.map_err(|error| error.to_string())?;
            let waiting = state.waiting();
            let alert =
                state.undelivered.map(|undelivered| UndeliveredAlert { name: name.clone(), waiting, undelivered });
            undelivered.extend(alert);
        }
        Ok(Digest::new(id, [from, to], pairs, undelivered))
    }
}

impl StatusReports {
    async fn pairs(
        &self,
        from: Timestamp,
        to: Timestamp,
        connectors: &[ConnectorName],
    ) -> Result<Vec<PairDigest>, Failure> {
        let approvals = self.store.approvals(true).await?;
        let mut pairs = Vec::new();
        for (pair, verdict, failed_tasks) in self.verdicts(to).await? {
            if !connectors.is_empty() && !connectors.contains(&pair.connector) {
                continue;
            }
            let waiting = approvals.iter().filter(|one| one.pair == pair);
            let waiting =
                waiting.map(|one| WaitingApproval { id: one.id, since: one.since, operations: one.open_items });
            pairs.push(PairDigest {
                state: verdict.standing.word(),
                sentence: verdict.sentence,
                needs_attention: !verdict.problems.is_empty(),
                activity: self.store.activity(&pair, from).await?,
                failed_tasks,
                approvals: waiting.collect(),
                pair,
            });
        }
        Ok(pairs)
    }

    /// Returns what `usersync status` reports about each pair, with its number of failed tasks.
    async fn verdicts(&self, now: Timestamp) -> Result<Vec<(Pair, Verdict, u64)>, Failure> {
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
        let mut verdicts = Vec::new();
        for pair in app::all_pairs(&self.config) {
            let facts = facts(&common, &pair).await?;
            verdicts.push((pair.clone(), judge(&facts), facts.counts.dead));
        }
        Ok(verdicts)
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
