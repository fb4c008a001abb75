//! The full run: walks both sides, plans through the same pure functions as the worker, applies through the same
//! operations. A dry run is the same without writing.

mod apply;
mod confirm;
mod groups;
mod members;
mod own_groups;
mod pages;
mod report;
mod users;
mod walk;

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use report::{Counts, Line, Report};

use self::walk::SourceWalk;
use super::{
    case::RunRules,
    error::WorkError,
    ports::{Connector, Engine, TargetPort},
    user::View,
};
use crate::{
    model::{Cause, IdSet, Limited, Pair, Priority, RunId, RunMode, RunOutcome, RunTrigger, Subject, TargetGroupId},
    plan,
    store::{Planned, StoreError},
    target::TargetInfo,
    telemetry::logs::Personal,
};

/// How a run is to go.
#[derive(Clone)]
pub struct RunOptions {
    /// What made it begin.
    pub trigger: RunTrigger,
    /// Whether it writes.
    pub mode: RunMode,
    /// The first run of the pair: what was there before us is adopted without asking.
    pub first: bool,
    /// Told how far it is.
    pub progress: Option<watch::Sender<Progress>>,
    /// Ends it early, between two subjects.
    pub cancel: CancellationToken,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it does now.
    pub phase: &'static str,
    /// Done of it.
    pub done: usize,
    /// Of so many.
    pub total: usize,
    /// Failed so far.
    pub errors: usize,
}

impl RunOptions {
    /// A run that applies what it plans.
    pub fn apply(trigger: RunTrigger) -> Self {
        Self { trigger, mode: RunMode::Apply, first: false, progress: None, cancel: CancellationToken::new() }
    }

    /// A run that only plans.
    pub fn dry(trigger: RunTrigger) -> Self {
        Self { mode: RunMode::DryRun, ..Self::apply(trigger) }
    }

    fn tell(&self, phase: &'static str, done: usize, total: usize, errors: usize) {
        if let Some(progress) = &self.progress {
            progress.send_replace(Progress { phase, done, total, errors });
        }
    }
}

/// How a run ended, for the store that could not be written then.
pub(super) struct EndedRun {
    id: RunId,
    outcome: RunOutcome,
    report: serde_json::Value,
    at: Timestamp,
}

/// All that one run reads and knows.
struct Run<'e> {
    engine: &'e Engine,
    pair: &'e Pair,
    connector: Arc<Connector>,
    port: Arc<TargetPort>,
    info: Arc<TargetInfo>,
    id: RunId,
    options: &'e RunOptions,
    /// Groups that a dry run shows as made: they are not there, but not because somebody deleted them.
    planned: IdSet<TargetGroupId>,
    /// Found in order; stands unless somebody worked on it since.
    in_order: Vec<Planned>,
    /// Planned operations that were approved, and so count towards no limit.
    approved: HashMap<Limited, u32>,
    report: Report,
}

/// A user or group for which there is something to do.
struct Item {
    planned: Planned,
    /// What the walk saw of a user; `None` where both sides are read again first.
    view: Option<View>,
}

impl Engine {
    /// Runs one pair whole. The report is stored with the run, too; an error ends it as failed.
    pub async fn run(&self, pair: &Pair, options: &RunOptions) -> Result<(RunId, Report), WorkError> {
        let began = self.clock.now();
        let id = self.store.begin_run(pair, options.trigger.clone(), options.mode, began).await?;
        tracing::info!(%pair, run = %id, trigger = ?options.trigger, mode = ?options.mode, "full reconcile begins");
        let work = AssertUnwindSafe(self.run_within(pair, id, options)).catch_unwind();
        let outcome = work.await.unwrap_or(Err(WorkError::Bug));
        let now = self.clock.now();
        let took = now.duration_since(began);
        match outcome {
            Ok(mut report) => {
                report.tell_once();
                report.took_ms = took.as_millis().try_into().unwrap_or(i64::MAX);
                let ended = if options.cancel.is_cancelled() {
                    RunOutcome::Stopped
                } else if report.has_problems() {
                    RunOutcome::Problems
                } else if report.held > 0 {
                    RunOutcome::Held
                } else {
                    RunOutcome::Done
                };
                self.metrics.run_ended(pair, &ended, took.unsigned_abs());
                tracing::info!(
                    %pair, run = %id, outcome = ?ended, users = report.users, groups = report.groups,
                    accounts = report.accounts, planned = ?report.planned, done = ?report.done, held = report.held,
                    raised = report.raised, unsupported = report.not_possible.len(), conflicts = report.conflicts.len(),
                    errors = report.errors.len(), took_ms = report.took_ms, "full reconcile ended"
                );
                self.end_run(id, ended, report.stored(), now).await?;
                self.note_run(pair, None);
                Ok((id, report))
            }
            Err(error) => {
                self.note_run(pair, Some(&error));
                tracing::warn!(
                    %pair, run = %id, class = error.class().as_str(), detail = %Personal(&error),
                    "full reconcile failed"
                );
                let ended = RunOutcome::Failed { why: error.to_string() };
                self.metrics.run_ended(pair, &ended, took.unsigned_abs());
                // The reason matters more than that it could not be written.
                let _ = self.end_run(id, ended, serde_json::Value::Null, now).await;
                Err(error)
            }
        }
    }

    /// Writes how a run ended; if the store refuses, [`Engine::end_left_runs`] writes it later.
    async fn end_run(
        &self,
        id: RunId,
        outcome: RunOutcome,
        report: serde_json::Value,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let written = self.store.end_run(id, outcome.clone(), report.clone(), at).await;
        if let Err(error @ StoreError::Unavailable(_)) = &written {
            tracing::error!(run = %id, "{error}. The end of full reconcile {id} is written once the store can be written.");
            self.left_runs().push(EndedRun { id, outcome, report, at });
        }
        written
    }

    /// Writes the ends of runs that the store refused before.
    pub(super) async fn end_left_runs(&self) {
        let left = std::mem::take(&mut *self.left_runs());
        for run in left {
            let written = self.store.end_run(run.id, run.outcome.clone(), run.report.clone(), run.at).await;
            if matches!(written, Err(StoreError::Unavailable(_))) {
                self.left_runs().push(run);
            }
        }
    }

    async fn run_within(&self, pair: &Pair, id: RunId, options: &RunOptions) -> Result<Report, WorkError> {
        let connector = Arc::clone(self.connector(&pair.connector)?);
        let port = Arc::clone(self.target(&pair.target)?);
        let noted = |error: WorkError| {
            self.note_failure(&connector, &port, &error);
            error
        };
        let info = self.probe(&port).await.map_err(noted)?;
        let run = Run {
            engine: self,
            pair,
            connector: Arc::clone(&connector),
            port: Arc::clone(&port),
            info,
            id,
            options,
            planned: IdSet::default(),
            in_order: Vec::new(),
            approved: HashMap::new(),
            report: Report::default(),
        };
        let observed = Arc::clone(&run.port);
        let mut report = run.go().await.map_err(noted)?;
        report.not_possible.extend(observed.target.observed().into_iter().map(|note| note.text));
        Ok(report)
    }
}

impl Run<'_> {
    async fn go(mut self) -> Result<Report, WorkError> {
        let engine = self.engine;
        let reading = async {
            tokio::try_join!(
                engine.walk_source(self.pair, &self.connector, self.options),
                engine.walk_target(self.pair, &self.port, self.info.capabilities.login_case),
            )
        };
        // Nothing is written yet, so that reading may end anywhere.
        let Some(read) = self.options.cancel.run_until_cancelled(Box::pin(reading)).await else {
            return Ok(self.report);
        };
        let (mut source, mut target) = read?;
        self.confirm_links(&mut target).await?;
        self.report.users = source.users.len();
        self.report.groups = source.groups.len();
        self.report.accounts = target.accounts.len();
        self.report.doubt = source.users_incomplete.clone().or_else(|| {
            (source.users.is_empty() && !target.links.is_empty())
                .then(|| format!("{}: no users were read where {} are linked", self.pair.connector, target.links.len()))
        });
        source.users_incomplete.clone_from(&self.report.doubt);
        self.report.doubt = self.report.doubt.take().or_else(|| source.groups_incomplete.clone());

        let rules = RunRules { in_run: true, first: self.options.first, ..RunRules::default() };
        let groups = self.groups(&source, &target, &rules).await?;
        engine.walk_target_groups(self.pair, &self.port, &mut target, &groups).await?;
        self.report.doubt = self.report.doubt.take().or_else(|| target.doubt.clone());
        self.report.doubts.extend(target.not_all_members());
        let groups = self.restore_groups(std::mem::take(&mut target.absent), groups, &rules).await?;

        self.confirm_memberships(&mut source, &target, &groups).await?;
        let items = self.plan_users(&mut source, &target, &groups);
        let leavers = self.plan_absent(&mut source, &target, &groups).await?;
        let refused: HashSet<&str> = target.not_possible.values().map(|known| known.why.as_str()).collect();
        let unsupported = self.report.not_possible.iter().filter(|why| !refused.contains(why.as_str()));
        self.report.unsupported = unsupported.cloned().collect();
        self.tell_failed(&source).await?;
        let rules = self.gate(rules).await?;
        if self.options.mode == RunMode::DryRun {
            return Ok(self.report);
        }
        self.apply("applying", items, &rules).await?;
        if !leavers.is_empty() && !self.options.cancel.is_cancelled() {
            self.options.tell("reading those who are gone once more", 0, leavers.len(), 0);
            engine.clock.sleep(engine.times.gone_twice).await;
            self.apply("applying", leavers, &rules).await?;
        }
        self.close(&source, &target).await?;
        Ok(self.report)
    }

    /// Reports who could not be read; their tasks go on by themselves.
    async fn tell_failed(&mut self, source: &SourceWalk) -> Result<(), WorkError> {
        let doubts = source.members_incomplete.iter().map(|(path, why)| {
            format!(
                "group {path}: the list of its members is incomplete: {why}. Its next full reconcile reads it again"
            )
        });
        self.report.doubts.extend(doubts);
        self.report.errors.extend(source.failed.iter().map(|(subject, why)| format!("{subject}: {why}")));
        if self.options.mode == RunMode::DryRun || source.failed.is_empty() {
            return Ok(());
        }
        let subjects: Vec<Subject> = source.failed.iter().map(|(subject, _)| subject.clone()).collect();
        let (store, cause) = (&self.engine.store, Cause::Run { id: self.id });
        self.report.raised += store.raise(self.pair, &subjects, Priority::Run, &cause, self.engine.clock.now()).await?;
        Ok(())
    }

    /// Compares what is planned with the limits; kinds past theirs are held whole.
    async fn gate(&mut self, mut rules: RunRules) -> Result<RunRules, WorkError> {
        let now = self.engine.clock.now();
        let measure = self.engine.measure(self.pair).await?;
        let mut planned: HashMap<Limited, u32> = HashMap::new();
        for line in &self.report.lines {
            if let Some(kind) = line.operation.limited() {
                *planned.entry(kind).or_default() += 1;
            }
        }
        for (kind, planned) in planned {
            let planned = planned.saturating_sub(self.approved.get(&kind).copied().unwrap_or_default());
            let limit = plan::limit(kind, &self.connector.policy.safety, measure);
            let done = self.engine.store.done_in_last_hour(self.pair, kind, now).await?;
            self.report.gate.insert(kind, (planned, limit));
            if planned.saturating_add(done) > limit {
                rules.hold.insert(kind);
                self.report.held_kinds.push(kind);
            }
        }
        self.report.held_kinds.sort();
        Ok(rules)
    }
}
