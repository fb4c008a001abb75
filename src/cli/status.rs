//! `usersync status`: a sentence for each connector on each target, and the latest activity.

mod alerts;
mod silence;
mod verdict;

use std::collections::BTreeSet;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

pub(super) use self::{alerts::StatusReports, verdict::exit_of};
use self::{
    silence::Silence,
    verdict::{Facts, Standing, Undecided, Verdict, judge},
};
use super::{
    Context, app,
    args::PairArgs,
    drift,
    exit::{Exit, Failure, Outcome},
    hook_refusals,
    out::{Out, State},
    polling::Polling,
    runs,
    words::{count, thin},
};
use crate::{
    config::Config,
    engine::Report,
    model::{Approval, Condition, ConnectorName, ErrorClass, Pair, RunMode, RunRecord, Unsupported},
    store::{PairCounts, Store, StoreError, TaskFilter},
};

/// Maximum number of runs that are searched for the last one that wrote.
const RUNS: usize = 20;
/// The key of a refused create, see [`Unsupported::key`].
const CREATE: &str = "create";
/// Maximum number of tasks that are searched for errors.
const TASKS: usize = 200;

/// Show sync status
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show sync status: a sentence for each connector on each target, what to do where something is wrong, and the latest \
activity: the last event, change and run, and the next run. Requests that the hook refused in the last day are shown \
with their reason, and alerts that cannot be delivered.

Exit code 0: in sync, working, or paused; protected accounts that are not changed are named. 1: failed tasks, conflicts, \
unsupported operations, users with an undecided scope, a full reconcile that failed, had problems or was cancelled, a \
store that cannot be written, or an alert that cannot be delivered. 3: something waits for approval. 4: a source or target does not answer, or refuses \
usersync's credentials.",
    after_help = "\
Examples:
  usersync status
  usersync status --connector acme
  usersync status --json | jq -r '.pairs[] | select(.state != \"in_sync\") | .sentence'"
)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pair: PairArgs,
}

/// The status of a pair.
#[derive(Serialize)]
struct PairStatus {
    #[serde(flatten)]
    pair: Pair,
    state: Standing,
    sentence: String,
    /// Further sentences for the operator.
    more: Vec<String>,
    conditions: Vec<Condition>,
    approvals: Vec<i64>,
    counts: PairCounts,
    /// Number of failed tasks that are conflicts.
    conflicts: u64,
    /// Operations that the target does not support, in words.
    unsupported: Vec<String>,
    /// Number of users that are not changed, because their account is protected.
    protected: u64,
    /// Number of changes in the target that did not come from usersync and stay, as the last full reconcile found them.
    drift: u64,
    /// Users that are not changed, because it is undecided whether they are in scope, by the reason.
    undecided: Vec<Undecided>,
    events: u64,
    last_event: Option<Timestamp>,
    polling: Polling,
    last_run: Option<RunRecord>,
    next_run: Option<Timestamp>,
    #[serde(skip)]
    exit: Exit,
}

/// Values that all pairs share.
struct Common<'a> {
    config: &'a Config,
    store: &'a dyn Store,
    server: bool,
    paused: BTreeSet<ConnectorName>,
    sets: Vec<Approval>,
    conditions: Vec<Condition>,
    unwritable: Option<String>,
    now: Timestamp,
}

impl StatusArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let pairs = app::pairs(&config, &self.pair)?;
        let opened = app::open_for_reading(context, &config).await?;
        let store: &dyn Store = opened.store.as_ref();
        let common = Common {
            config: &config,
            store,
            server: opened.server.is_some(),
            paused: store.paused().await?,
            sets: store.approvals(true).await?,
            conditions: store.conditions().await?,
            // A running server cannot record in the store that the store cannot be written.
            unwritable: store.check().await.err().map(|error| match error {
                StoreError::Unavailable(why) => why,
                error => error.to_string(),
            }),
            now: context.out.now,
        };
        let mut reported = Vec::new();
        for pair in &pairs {
            reported.push(pair_status(&common, pair).await?);
        }
        let out = &context.out;
        let refused = hook_refusals::recent(store, &config, self.pair.connector.as_ref(), out).await?;
        let alerts = alerts::read(store, &config, out).await?;
        if out.json {
            out.document(&serde_json::json!({
                "server": opened.server, "store": config.store.path, "pairs": reported, "refused": refused,
                "alerts": alerts,
            }));
        } else {
            show(out, &reported, opened.server.as_deref());
            hook_refusals::print(out, &refused);
            alerts::print(out, &alerts);
        }
        let exit = hook_refusals::exit(&refused).and(alerts::exit(&alerts));
        Ok(reported.iter().fold(exit, |exit, reported| exit.and(reported.exit)))
    }
}

async fn pair_status(common: &Common<'_>, pair: &Pair) -> Result<PairStatus, Failure> {
    let facts = facts(common, pair).await?;
    let Verdict { standing, sentence, more, exit, problems: _ } = judge(&facts);
    let heard = common.store.event_counts(&pair.connector).await?;
    let polling = facts.polling;
    let (server, enabled, protected) = (facts.server, facts.enabled, facts.protected);
    Ok(PairStatus {
        pair: pair.clone(),
        state: standing,
        sentence,
        more,
        conditions: facts.conditions,
        approvals: facts.held.iter().map(|set| set.id).collect(),
        counts: facts.counts,
        conflicts: facts.conflicts,
        unsupported: facts.unsupported,
        protected,
        drift: facts.drift,
        undecided: facts.undecided,
        events: heard.received + polling.events(),
        last_event: heard.last.max(polling.last_event()),
        polling,
        last_run: facts.last_run,
        next_run: facts.next_run.filter(|_| server && enabled),
        exit,
    })
}

async fn facts<'a>(common: &'a Common<'_>, pair: &'a Pair) -> Result<Facts<'a>, Failure> {
    let Common { config, store, now, .. } = common;
    let connector = config.connectors.iter().find(|connector| connector.name == pair.connector);
    let tasks = TaskFilter {
        connector: Some(pair.connector.clone()),
        target: Some(pair.target.clone()),
        dead: Some(false),
        limit: TASKS,
        ..TaskFilter::default()
    };
    let conflicts = TaskFilter { dead: Some(true), class: Some(ErrorClass::Conflict), limit: 0, ..tasks.clone() };
    let runs = store.runs(Some(pair), RUNS).await?;
    let drift = drift::reported(&runs);
    let last_run = runs.into_iter().find(|run| run.mode == RunMode::Apply);
    let (protected, known): (Vec<_>, Vec<_>) =
        store.unsupported(pair).await?.into_iter().partition(|one| one.key == Unsupported::PROTECTED);
    let (undecided, known): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.key == Unsupported::UNDECIDED);
    let mut retried = store.tasks(&tasks).await?;
    // A task that waits because of a rate limit has not failed.
    retried.retain(|task| task.error.as_ref().is_some_and(|(class, _)| *class != ErrorClass::Throttled));
    let polling = match connector {
        Some(connector) => Polling::read(*store, connector).await?,
        None => Polling::default(),
    };
    let last_event = store.event_counts(&pair.connector).await?.last.max(polling.newest());
    let silence = Silence::read(*store, &pair.connector, last_event, *now).await?;
    Ok(Facts {
        pair,
        state: store.pair_state(pair).await?,
        enabled: connector.is_some_and(|connector| connector.enabled),
        paused: common.paused.contains(&pair.connector),
        server: common.server,
        unwritable: common.unwritable.clone(),
        conditions: common.conditions.iter().filter(|one| one.about.concerns(pair)).cloned().collect(),
        counts: store.counts(pair, *now).await?,
        conflicts: u64::try_from(store.tasks(&conflicts).await?.len()).unwrap_or(u64::MAX),
        unsupported: unsupported(known, last_run.as_ref()),
        protected: u64::try_from(protected.len()).unwrap_or(u64::MAX),
        undecided: Undecided::by_reason(undecided),
        held: common.sets.iter().filter(|set| set.pair == *pair).collect(),
        retried,
        drift,
        last_run,
        polling,
        silence: silence.zip(connector).map(|(silence, connector)| silence.sentence(&connector.realm, *now)),
        next_run: connector.and_then(|one| one.schedule.as_ref()).and_then(|schedule| schedule.next_after(*now)),
        now: *now,
    })
}

/// Returns the operations that the target does not support, in words. The target refused them, or the last full
/// reconcile found them unsupported before it sent them. A refused create is a failed task, and is counted as one.
fn unsupported(known: Vec<Unsupported>, last_run: Option<&RunRecord>) -> Vec<String> {
    let (creates, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|one| one.key == CREATE);
    let report = last_run.and_then(|run| serde_json::from_value::<Report>(run.report.clone()).ok());
    let mut all: Vec<String> = others.into_iter().map(|one| one.why).collect();
    all.extend(report.map(|report| report.known_unsupported.to_vec()).unwrap_or_default());
    let mut seen: BTreeSet<String> = creates.into_iter().map(|one| one.why).collect();
    all.retain(|why| seen.insert(why.clone()));
    all
}

fn show(out: &Out, reported: &[PairStatus], server: Option<&str>) {
    for reported in reported {
        let state = match reported.state {
            Standing::InSync => State::Ok,
            Standing::Working | Standing::FirstRun | Standing::New if reported.exit != Exit::Done => State::No,
            Standing::Working | Standing::FirstRun | Standing::New => State::Wait,
            Standing::FirstRunWaits => State::Held,
            Standing::Paused | Standing::Off => State::Note,
            Standing::OutOfSync | Standing::Degraded | Standing::Stopped => State::No,
        };
        if out.quiet && reported.exit == Exit::Done {
            continue;
        }
        out.prose(
            6,
            format!("{}  {}    {}", out.state(state), out.strong(&reported.pair.to_string()), reported.sentence),
        );
        for more in &reported.more {
            out.prose(8, format!("      {more}"));
        }
        if !out.quiet {
            proof_of_life(out, reported);
        }
    }
    match server {
        Some(pid) => out.say(format!("The server runs (pid {pid}).")),
        None => out.say("No server runs: no event is received and no scheduled run starts."),
    }
}

fn proof_of_life(out: &Out, reported: &PairStatus) {
    let event = match reported.last_event {
        Some(at) => format!("{} ({} in total)", out.when(at), thin(reported.events)),
        None => "none yet".to_owned(),
    };
    let run = match &reported.last_run {
        Some(run) => {
            let report = serde_json::from_value::<Report>(run.report.clone()).ok();
            let did = report.map(|report| format!("; {}", runs::did(run, &report))).unwrap_or_default();
            format!("{}, {}{did}", out.when(run.started_at), runs::outcome(run))
        }
        None => "none yet".to_owned(),
    };
    let counts = &reported.counts;
    let lines = [
        ("last event", event),
        ("polling", reported.polling.line(out)),
        ("last change", counts.last_change.map_or_else(|| "none yet".to_owned(), |at| out.when(at))),
        ("last run", run),
        ("next run", reported.next_run.map_or_else(|| "none".to_owned(), |at| out.when(at))),
        (
            "linked",
            format!(
                "{} ({} active), {}, {}",
                count(counts.links, "account", "accounts"),
                thin(counts.active_links),
                count(counts.managed_groups, "managed group", "managed groups"),
                count(counts.memberships, "membership", "memberships"),
            ),
        ),
    ];
    for (about, text) in lines {
        out.prose(19, format!("      {about:<12} {text}"));
    }
}
