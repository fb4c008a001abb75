//! The full reconcile: walks both sides, plans through the same pure functions as the worker, and applies through the
//! same operations. A dry run does the same without writing.

mod absent;
mod apply;
mod confirm;
mod counted;
mod decided;
mod empty;
mod evidence;
mod follow;
mod groups;
mod holders;
mod listed;
mod logins;
mod members;
mod memberships;
mod nothing;
mod own_groups;
mod pages;
mod providers;
mod report;
mod same_accounts;
mod same_logins;
mod scope_walk;
mod seats;
mod undecided;
mod unmanaged;
mod users;
mod walk;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use listed::Listed;
pub use report::{Counts, Line, Report, WaitingLine};
pub use seats::Seats;

use self::{
    evidence::LastGood,
    undecided::Undecided,
    users::Pending,
    walk::{SourceWalk, TargetWalk},
};
use super::{
    case::RunRules,
    error::WorkError,
    ports::{Connector, Engine, TargetPort},
    user::{Walked, fingerprint_of},
};
use crate::{
    gate::turn_within,
    model::{
        Action, Cause, GroupId, IdMap, IdSet, Limited, Pair, Priority, RunId, RunMode, RunOutcome, RunRecord,
        RunTrigger, Scope, Subject, TargetGroupId, UserId,
    },
    plan::{self, Presence, ProviderAnswer},
    store::{Planned, StoreError},
    targets::TargetInfo,
    telemetry::{RunCost, logs::Personal},
};

/// Maximum number of members recorded by one write.
const MEMBERS_AT_ONCE: usize = 50_000;

/// Number of earlier runs among which the last one with a policy is looked for.
const RUNS_LOOKED_AT: usize = 20;

/// Options of a run.
#[derive(Clone)]
pub struct RunOptions {
    /// What started it.
    pub trigger: RunTrigger,
    /// Whether it writes.
    pub mode: RunMode,
    /// Whether it is the first run of the pair: existing accounts and groups are adopted without approval.
    pub first: bool,
    /// Receives the progress.
    pub progress: Option<watch::Sender<Progress>>,
    /// Ends it early, between two subjects.
    pub cancel: CancellationToken,
    /// Maximum number of entries that the report keeps of each list. A plan that is shown completely keeps all.
    pub keep: usize,
}

/// Progress of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The current phase.
    pub phase: Cow<'static, str>,
    /// Number of completed items of the phase.
    pub done: usize,
    /// Total number of items of the phase.
    pub total: usize,
    /// Number of failures so far.
    pub errors: usize,
}

impl RunOptions {
    /// Returns the options of a run that applies its plan.
    pub fn apply(trigger: RunTrigger) -> Self {
        Self {
            trigger,
            mode: RunMode::Apply,
            first: false,
            progress: None,
            cancel: CancellationToken::new(),
            keep: listed::KEPT,
        }
    }

    /// Returns the options of a run that only plans.
    pub fn dry(trigger: RunTrigger) -> Self {
        Self { mode: RunMode::DryRun, ..Self::apply(trigger) }
    }

    fn report_progress(&self, phase: &'static str, done: usize, total: usize, errors: usize) {
        if let Some(progress) = &self.progress {
            progress.send_replace(Progress { phase: phase.into(), done, total, errors });
        }
    }
}

/// The end of a run that could not be written to the store at that time.
pub(super) struct EndedRun {
    id: RunId,
    outcome: RunOutcome,
    report: serde_json::Value,
    at: Timestamp,
}

/// Everything that one run reads and knows.
struct Run<'e> {
    engine: &'e Engine,
    pair: &'e Pair,
    connector: Arc<Connector>,
    port: Arc<TargetPort>,
    info: Arc<TargetInfo>,
    id: RunId,
    options: &'e RunOptions,
    /// Groups that a dry run models as created. They do not exist, but were not deleted.
    planned: IdSet<TargetGroupId>,
    /// Groups that keep feeding what they feed, whatever the policy says: they are not created again.
    standing: HashSet<GroupId>,
    /// Users to whom the policy gives a login that it gives to another user too, each with the other's username.
    same_logins: IdMap<UserId, String>,
    /// Users that the policy matches to the same account as another one, each with that one's username.
    same_accounts: IdMap<UserId, String>,
    /// Subjects found in sync; this stands unless a worker has worked on them since.
    in_sync: InSync,
    /// Users whose federation provider is to be asked, because something would be removed.
    to_ask: Vec<UserId>,
    /// Users with findings that are not confirmed, or with rejected operations.
    unsettled: IdSet<UserId>,
    /// What these providers answered.
    answers: IdMap<UserId, ProviderAnswer>,
    /// The answers of providers that cannot be asked, by component.
    silent: HashMap<String, ProviderAnswer>,
    /// Whether every user with operations is read alone, as incomplete lists may have put it into the scope.
    rereads: bool,
    /// Number of planned operations that were approved and so count towards no limit.
    approved: HashMap<Limited, u32>,
    /// Mapped groups that Keycloak confirmed to be gone.
    gone: Vec<GroupId>,
    /// Mapped groups that were not listed and cannot be read by their ids.
    hidden: Vec<GroupId>,
    /// The recorded paths of groups.
    paths: IdMap<GroupId, String>,
    /// The users whose scope is undecided.
    undecided: Undecided,
    /// The runs that this one is compared with.
    last_good: LastGood,
    report: Report,
}

/// Subjects found in sync.
#[derive(Default)]
struct InSync {
    /// Users that were read, by index.
    users: Vec<u32>,
    /// Links of users that were not listed, by index.
    absent: Vec<u32>,
    others: Vec<Planned>,
}

/// A user or group with pending work.
struct Item {
    planned: Planned,
    /// What the walk read and planned.
    walked: Walked,
    /// Number of operations that the walk planned.
    operations: usize,
}

impl Item {
    /// Creates an item with both sides still to be read, whatever the walk planned.
    fn unread(planned: Planned, operations: usize) -> Self {
        Self { planned, walked: Walked::default(), operations }
    }

    /// Creates an item with both sides to be read again, and with the walk's plan.
    fn expecting(planned: Planned, expected: Vec<Action>, presence: &Presence) -> Self {
        let operations = expected.len();
        let fingerprint = fingerprint_of(presence);
        Self { planned, walked: Walked { expected, fingerprint, ..Walked::default() }, operations }
    }
}

impl Engine {
    /// Runs a full reconcile of one pair. The report is stored with the run, even if the run fails; an error ends the
    /// run as failed.
    pub async fn run(&self, pair: &Pair, options: &RunOptions) -> Result<(RunId, Report), WorkError> {
        let began = self.clock.now();
        let id = self.store.begin_run(pair, options.trigger.clone(), options.mode, began).await?;
        tracing::info!(%pair, run = %id, trigger = ?options.trigger, mode = ?options.mode, "full reconcile started");
        let mut report = Report::keeping(options.keep);
        let cost = Arc::new(RunCost::default());
        let work = turn_within(self.times.run_turn, self.run_within(pair, id, options, &mut report));
        let work = AssertUnwindSafe(cost.of(Box::pin(work)));
        let outcome = work.catch_unwind().await.unwrap_or(Err(WorkError::Bug));
        report.sort();
        let now = self.clock.now();
        let took = now.duration_since(began);
        report.took_ms = took.as_millis().try_into().unwrap_or(i64::MAX);
        let (source, target) = (cost.source(), cost.target());
        (report.evidence.source.cost, report.evidence.target.cost) = (source, target);
        let ended = match &outcome {
            Err(error) => RunOutcome::Failed { why: error.to_string(), class: Some(error.class()) },
            Ok(()) if options.cancel.is_cancelled() => RunOutcome::Stopped,
            Ok(()) if report.has_problems() => RunOutcome::Problems,
            Ok(()) if report.held > 0 => RunOutcome::Held,
            Ok(()) => RunOutcome::Done,
        };
        report.nothing_done = report.why_nothing(options.mode, &ended);
        self.metrics.run_ended(pair, &ended, took.unsigned_abs());
        if options.mode == RunMode::Apply {
            let counts = report.drift.counts.iter();
            let counts = counts.flat_map(|(kind, by)| by.iter().map(|(handling, number)| (*kind, *handling, *number)));
            counts.for_each(|(kind, handling, number)| self.metrics.drifted(pair, kind, handling, number));
        }
        self.note_run(pair, outcome.as_ref().err());
        match &outcome {
            Ok(()) => tracing::info!(
                %pair, run = %id, outcome = ?ended, users = report.users, groups = report.groups,
                accounts = report.accounts, planned = ?report.planned, done = ?report.done, held = report.held,
                raised = report.raised, unsupported = report.unsupported.total(), conflicts = report.conflicts.total(),
                errors = report.errors.total(), took_ms = report.took_ms, source_calls = source.calls,
                source_bytes = source.bytes, source_ms = source.time_ms, target_calls = target.calls,
                target_bytes = target.bytes, target_ms = target.time_ms, nothing = report.nothing_done.as_deref(),
                "full reconcile ended"
            ),
            Err(error) => tracing::warn!(
                %pair, run = %id, class = error.class().as_str(), done = ?report.done,
                source_calls = source.calls, target_calls = target.calls, detail = %Personal(error),
                "full reconcile failed"
            ),
        }
        let written = self.end_run(id, ended, report.stored(), now).await;
        // The reason of a failure matters more than the error of writing it.
        outcome?;
        written?;
        Ok((id, report))
    }

    /// Writes the end of a run; if the store cannot be written, [`Engine::end_left_runs`] writes it later.
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

    /// Writes the ends of runs that the store could not write before.
    pub(super) async fn end_left_runs(&self) {
        let left = std::mem::take(&mut *self.left_runs());
        for run in left {
            let written = self.store.end_run(run.id, run.outcome.clone(), run.report.clone(), run.at).await;
            if matches!(written, Err(StoreError::Unavailable(_))) {
                self.left_runs().push(run);
            }
        }
    }

    async fn run_within(
        &self,
        pair: &Pair,
        id: RunId,
        options: &RunOptions,
        report: &mut Report,
    ) -> Result<(), WorkError> {
        let connector = Arc::clone(self.connector_of(pair)?);
        let port = Arc::clone(self.target(&pair.target)?);
        let noted = |error: WorkError| {
            self.note_failure(&connector, &port, &error);
            error
        };
        let info = self.probe(&port).await.map_err(noted)?;
        let mut run = Run {
            engine: self,
            pair,
            connector: Arc::clone(&connector),
            port: Arc::clone(&port),
            info,
            id,
            options,
            planned: IdSet::default(),
            standing: HashSet::default(),
            same_logins: IdMap::default(),
            same_accounts: IdMap::default(),
            in_sync: InSync::default(),
            to_ask: Vec::new(),
            unsettled: IdSet::default(),
            answers: IdMap::default(),
            silent: HashMap::new(),
            rereads: false,
            approved: HashMap::new(),
            gone: Vec::new(),
            hidden: Vec::new(),
            paths: IdMap::default(),
            undecided: Undecided::default(),
            last_good: LastGood::default(),
            report: std::mem::take(report),
        };
        run.report.policy = connector.policy.fingerprint(&pair.target);
        let earlier = self.earlier_runs(pair).await?;
        run.report.policy_changed = has_other_policy(&earlier, &run.report.policy);
        run.last_good = LastGood::among(&earlier);
        drop(earlier);
        run.report.evidence.target = evidence::of_target(&run.info);
        let observed = Arc::clone(&run.port);
        let ended = Box::pin(run.go()).await;
        *report = run.report;
        if let Err(error) = &ended {
            evidence::note_missing_right(&mut report.evidence, error);
        }
        report.unsupported.extend_once(observed.target.observed().into_iter().map(|note| note.text));
        ended.map_err(noted)
    }
}

impl Engine {
    /// Returns whether the last run that applied its plan had another policy than the one with this fingerprint.
    pub(super) async fn policy_changed(&self, pair: &Pair, policy: &str) -> Result<bool, StoreError> {
        Ok(has_other_policy(&self.earlier_runs(pair).await?, policy))
    }

    /// Returns the last runs of a pair, newest first.
    async fn earlier_runs(&self, pair: &Pair) -> Result<Vec<RunRecord>, StoreError> {
        self.store.runs(Some(pair), RUNS_LOOKED_AT).await
    }
}

/// Returns whether the last of these runs that applied its plan had another policy than the one with this fingerprint.
fn has_other_policy(runs: &[RunRecord], policy: &str) -> bool {
    let is_complete =
        |run: &&RunRecord| matches!(run.outcome, RunOutcome::Done | RunOutcome::Problems | RunOutcome::Held);
    let applied = runs.iter().filter(|run| run.mode == RunMode::Apply).filter(is_complete);
    let before = applied.filter_map(|run| run.report.get("policy")?.as_str()).find(|before| !before.is_empty());
    before.is_some_and(|before| before != policy)
}

impl Run<'_> {
    async fn go(&mut self) -> Result<(), WorkError> {
        let engine = self.engine;
        let trusts = counted::trusts_records(self.options);
        self.paths = engine.store.group_paths(self.pair).await?.into_iter().collect();
        let reading = async {
            tokio::try_join!(
                engine.walk_source(self.pair, &self.connector, self.options),
                engine.walk_target(self.pair, &self.port, self.info.capabilities.login_case, trusts),
            )
        };
        // Nothing is written yet, so the read may end anywhere.
        let Some(read) = self.options.cancel.run_until_cancelled(Box::pin(reading)).await else {
            return Ok(());
        };
        let (mut source, mut target) = read?;
        self.note_reads(&mut source, &mut target);
        self.note_silent_providers();
        self.confirm_links(&mut target).await?;
        self.report.users = source.users();
        self.report.only_scope = source.only_scope;
        self.report.groups = source.groups.len();
        self.report.accounts = target.accounts().len();
        self.report.incomplete = source.users_incomplete.clone().or_else(|| {
            (source.users() == 0 && target.links() > 0)
                .then(|| format!("{}: no users were read, but {} are linked", self.pair.connector, target.links()))
        });
        source.users_incomplete.clone_from(&self.report.incomplete);
        self.report.incomplete = self.report.incomplete.take().or_else(|| source.groups_incomplete.clone());

        let rules = RunRules { in_run: true, first: self.options.first, ..RunRules::default() };
        let groups = self.groups(&source, &target, &rules).await?;
        engine.walk_target_groups(self.pair, &self.port, &mut target, &groups).await?;
        self.note_reads(&mut source, &mut target);
        self.report.counted = target.counted;
        self.keep_members_read(&mut target).await?;
        self.report.incomplete = self.report.incomplete.take().or_else(|| target.incomplete.clone());
        self.report.unconfirmed.extend_once(target.not_all_members());
        let groups = self.restore_groups(std::mem::take(&mut target.absent), groups, &rules).await?;

        self.confirm_memberships(&mut source, &target, &groups).await?;
        // A missing membership may put a user into the scope, so such users are read alone.
        let is_incomplete = !source.members_incomplete.is_empty() || source.groups_incomplete.is_some();
        self.rereads = is_incomplete && self.connector.policy.scope != Scope::default();
        let items = self.plan_users(&source, &target, &groups);
        let mut leavers = self.plan_absent(&mut source, &target, &groups).await?;
        leavers.extend(self.plan_asked(&source, &target, &groups).await?);
        let unmanaged = self.plan_unmanaged(&source, &target, &groups);
        let empty = self.plan_deletions(&source, &target, &groups);
        let refused: HashSet<&str> = target.unsupported.values().map(|known| known.why.as_str()).collect();
        let unsupported = self.report.unsupported.iter().filter(|why| !refused.contains(why.as_str()));
        self.report.known_unsupported = unsupported.cloned().collect::<Vec<_>>().into();
        self.report_failed(&source).await?;
        self.recheck_undecided(&source, &target).await?;
        let rules = self.check_limits(rules).await?;
        self.forecast_seats().await;
        if self.options.mode == RunMode::DryRun {
            return Ok(());
        }
        let applied = self.apply_users(items, &source, &target, &rules).await;
        self.report_unlisted(&groups);
        if applied.is_err() || self.options.cancel.is_cancelled() {
            self.report.postpone(
                leavers.iter().map(Pending::operations).sum::<usize>() + unmanaged.planned() + empty.planned(),
            );
        } else {
            if !leavers.is_empty() {
                self.options.report_progress("re-reading deleted users", 0, leavers.len(), 0);
                engine.clock.sleep(engine.times.gone_twice).await;
                self.apply_users(leavers, &source, &target, &rules).await?;
            }
            self.remove_unmanaged(unmanaged, &rules).await?;
            self.delete_empty(empty, &rules).await?;
        }
        applied?;
        self.close(&source, &target).await
    }

    /// Records the members of completely read groups for the next run, in batches of groups.
    async fn keep_members_read(&self, target: &mut TargetWalk) -> Result<(), WorkError> {
        let whole = std::mem::take(&mut target.whole);
        if self.options.mode != RunMode::Apply || whole.is_empty() {
            return Ok(());
        }
        let oldest = counted::oldest(target.began);
        let (mut records, mut members) = (Vec::new(), 0);
        for others in counted::others(whole, target) {
            let record = others.record(target);
            members += record.others.len();
            records.push(record);
            if members >= MEMBERS_AT_ONCE {
                self.engine.store.keep_members_read(self.pair, &records, oldest).await?;
                records.clear();
                members = 0;
            }
        }
        if !records.is_empty() {
            self.engine.store.keep_members_read(self.pair, &records, oldest).await?;
        }
        Ok(())
    }

    /// Reports subjects that could not be read; their tasks continue by themselves.
    async fn report_failed(&mut self, source: &SourceWalk) -> Result<(), WorkError> {
        let unconfirmed = source.members_incomplete.iter().map(|(path, why)| {
            format!("group {path}: the list of its members is incomplete: {why}. The next full reconcile re-reads it")
        });
        self.report.unconfirmed.extend_once(unconfirmed);
        self.report.unconfirmed.extend_once(source.absent_groups.iter().cloned());
        self.report.unconfirmed.extend_once(source.unread_holders());
        let known: Vec<String> = source.absent_groups.iter().cloned().chain(source.unread_holders()).collect();
        self.report.unconfirmed.extend_once(std::mem::take(&mut self.undecided).sentences(&known));
        for (subject, why) in &source.failed {
            self.report.errors.push_with(|| format!("{subject}: {why}"));
        }
        if self.options.mode == RunMode::DryRun || source.failed.is_empty() {
            return Ok(());
        }
        let subjects: Vec<Subject> = source.failed.iter().map(|(subject, _)| subject.clone()).collect();
        let (store, cause) = (&self.engine.store, Cause::Run { id: self.id });
        self.report.raised += store.raise(self.pair, &subjects, Priority::Run, &cause, self.engine.clock.now()).await?;
        Ok(())
    }

    /// Compares the plan with the safety limits. All operations of a kind above its limit are held.
    async fn check_limits(&mut self, mut rules: RunRules) -> Result<RunRules, WorkError> {
        let now = self.engine.clock.now();
        let mut measure = self.engine.measure(self.pair).await?;
        // The accounts that a first run links and creates exist by the time its limits matter.
        if self.options.first {
            let planned =
                |verbs: [&str; 2]| verbs.iter().filter_map(|verb| self.report.planned.get(*verb)).sum::<u64>();
            measure.active_accounts += planned(["create", "adopt"]);
            measure.groups += planned(["create_group", "adopt_group"]);
        }
        let limit = |kind| plan::limit(kind, &self.connector.policy.safety, measure);
        // Measured once: what the run removes does not make its own limits smaller.
        rules.limits = Limited::ALL.into_iter().map(|kind| (kind, limit(kind))).collect();
        for (kind, planned) in std::mem::take(&mut self.report.limited) {
            // A run that applies its plan has worked the groups by now.
            if kind == Limited::RenameGroup && self.options.mode == RunMode::Apply {
                continue;
            }
            let planned = planned.saturating_sub(self.approved.get(&kind).copied().unwrap_or_default());
            let limit = limit(kind);
            let done = self.engine.store.done_in_last_hour(self.pair, kind, now).await?;
            self.report.limits.insert(kind, (planned, limit));
            if planned.saturating_add(done) > limit {
                rules.hold.insert(kind);
                self.report.hold(kind);
                if self.options.mode == RunMode::DryRun {
                    self.report.held += usize::try_from(planned).unwrap_or(usize::MAX);
                }
            }
        }
        Ok(rules)
    }
}
