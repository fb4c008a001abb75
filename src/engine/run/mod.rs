//! The full run: walks both sides, plans through the same pure functions as the worker, applies through the same
//! operations. A dry run is the same without writing.

mod report;
mod walk;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use report::{Counts, Line, Report};
use walk::{SourceWalk, TargetWalk};

use super::{
    case::{RunRules, Worked, fingerprint},
    error::WorkError,
    group::{Intended, intend},
    ports::{Connector, Engine, TargetPort},
    user::{View, fingerprint_of},
};
use crate::{
    model::{
        AdoptRule, GroupMapping, Limited, Link, Look, ManagedGroup, Operation, Pair, RunId, RunMode, RunOutcome,
        RunTrigger, Subject, TargetGroupId, UserId,
    },
    plan::{self, Decision, GroupTable, Measure, NameHolder, Presence, Situation, Then},
    policy,
    store::{Claimed, Planned, StoreError},
    target::TargetInfo,
};

/// How old the note may grow that a linked user was seen alive.
const SEEN_ALIVE_RENEWED: SignedDuration = SignedDuration::from_hours(4);
/// Subjects in one transaction of verdicts.
const BATCH: usize = 500;
/// Such transactions under way.
const AHEAD: usize = 3;
/// How often the progress is stored.
const STORED_EVERY: usize = 500;

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
    planned: HashSet<TargetGroupId>,
    /// Found in order; stands unless somebody worked on it since.
    in_order: Vec<Planned>,
    report: Report,
}

/// A user for whom there is something to do.
struct Item {
    user: UserId,
    planned: Planned,
    /// What the walk saw; `None` where both sides are read again first.
    view: Option<View>,
}

/// What applying came to, summed up over workers.
#[derive(Default)]
struct Applying {
    done: AtomicUsize,
    failed: AtomicUsize,
    raised: AtomicUsize,
    stopped: AtomicBool,
    report: Mutex<Report>,
}

impl Engine {
    /// Runs one pair whole. The report is stored with the run, too; an error ends it as failed.
    pub async fn run(&self, pair: &Pair, options: &RunOptions) -> Result<(RunId, Report), WorkError> {
        let began = self.clock.now();
        let id = self.store.begin_run(pair, options.trigger.clone(), options.mode, began).await?;
        let outcome = self.run_within(pair, id, options).await;
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
                self.store.end_run(id, ended, report.stored(), now).await?;
                Ok((id, report))
            }
            Err(error) => {
                let ended = RunOutcome::Failed { why: error.to_string() };
                self.metrics.run_ended(pair, &ended, took.unsigned_abs());
                self.store.end_run(id, ended, serde_json::Value::Null, now).await?;
                Err(error)
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
            planned: HashSet::new(),
            in_order: Vec::new(),
            report: Report::default(),
        };
        run.go().await.map_err(noted)
    }
}

impl Run<'_> {
    async fn go(mut self) -> Result<Report, WorkError> {
        let engine = self.engine;
        let reading = async {
            tokio::try_join!(
                engine.walk_source(&self.connector, self.options),
                engine.walk_target(self.pair, &self.port, self.info.capabilities.login_case),
            )
        };
        // Nothing is written yet, so that reading may end anywhere.
        let Some(read) = self.options.cancel.run_until_cancelled(Box::pin(reading)).await else {
            return Ok(self.report);
        };
        let (mut source, mut target) = read?;
        self.report.users = source.users.len();
        self.report.groups = source.groups.len();
        self.report.accounts = target.accounts.len();
        self.report.doubt = source.doubt.clone().or_else(|| {
            (source.users.is_empty() && !target.links.is_empty()).then(|| {
                format!(
                    "{}: no users were read where {} are linked; nothing is removed",
                    self.pair.connector,
                    target.links.len()
                )
            })
        });

        let rules = RunRules { in_run: true, first: self.options.first, ..RunRules::default() };
        let groups = self.groups(&source, &target, &rules).await?;
        engine.walk_target_groups(self.pair, &self.port, &mut target, &groups).await?;
        self.report.doubt = self.report.doubt.take().or_else(|| target.doubt.clone());
        let groups = self.restore_groups(std::mem::take(&mut target.absent), groups, &rules).await?;

        let items = self.plan_users(&mut source, &target, &groups);
        let leavers = self.plan_absent(&source, &target, &groups).await?;
        let rules = RunRules { doubt: self.report.doubt.is_some(), ..self.gate(rules).await? };
        if self.options.mode == RunMode::DryRun {
            return Ok(self.report);
        }
        self.apply(items, &rules).await?;
        if !leavers.is_empty() && !self.options.cancel.is_cancelled() {
            self.options.tell("reading those who are gone once more", 0, leavers.len(), 0);
            engine.clock.sleep(engine.times.gone_twice).await;
            self.apply(leavers, &rules).await?;
        }
        self.close(&source, &target).await?;
        Ok(self.report)
    }

    /// Brings the groups in order, or models what that would come to; returns the table that users are planned with.
    async fn groups(
        &mut self,
        source: &SourceWalk,
        target: &TargetWalk,
        rules: &RunRules,
    ) -> Result<GroupTable, WorkError> {
        let engine = self.engine;
        let case = self.info.capabilities.group_case;
        let mut table = GroupTable::clone(&*engine.group_table(self.pair).await?);
        let mut names: HashMap<String, usize> = HashMap::new();
        for group in &source.groups {
            *names.entry(case.fold(&group.name)).or_default() += 1;
        }
        let present = source.group_ids();
        let mut work: Vec<Subject> = Vec::new();
        for group in &source.groups {
            let name = policy::group_name(group, case);
            let why_not = policy::impossible_group(&name, &self.info.capabilities);
            let intended = intend(group, &table, case, why_not, false);
            let clash = names.get(&case.fold(&group.name)).is_some_and(|count| *count > 1);
            match intended {
                Intended::InOrder(_) => {
                    let subject = Subject::Group(group.id.clone());
                    self.in_order.push(Planned { subject, look: source.groups_look, account: None });
                }
                Intended::None(why) if matches!(table.mapping(&group.id), Some(GroupMapping::Unmapped { why: known, .. }) if *known == why) =>
                {
                    self.report.not_possible.push(format!("group {}: {why}", group.path));
                }
                _ if self.options.mode == RunMode::Apply => work.push(Subject::Group(group.id.clone())),
                Intended::None(why) => self.model_unmapped(&mut table, group, why),
                Intended::Make(_) | Intended::Ask(_) if clash => {
                    let why = format!("two groups in Keycloak are named {}; rename one of them", group.name);
                    self.model_unmapped(&mut table, group, why);
                }
                Intended::Join(id) => {
                    if let Some(managed) = table.managed(&id).cloned() {
                        table.assume(self.pair, group, managed);
                    }
                }
                Intended::Make(name) => self.model_group(&mut table, target, group, name).await?,
                Intended::Ask(other) => {
                    // The one that holds the name has another by now, and will let go of it.
                    if let Some(GroupMapping::Managed { group: id, .. }) = table.mapping(&other)
                        && let Some(managed) = table.managed(id).cloned()
                    {
                        table.assume(self.pair, group, managed);
                    }
                }
            }
        }
        work.extend(table.sources().filter(|(id, _)| !present.contains(id)).map(|(id, _)| Subject::Group(id.clone())));
        if self.options.mode == RunMode::DryRun {
            return Ok(table);
        }
        self.apply_groups(work, source.groups_look, rules).await?;
        Ok(GroupTable::clone(&*engine.group_table(self.pair).await?))
    }

    fn model_unmapped(&mut self, table: &mut GroupTable, group: &crate::model::GroupState, why: String) {
        self.report.not_possible.push(format!("group {}: {why}", group.path));
        table.assume_unmapped(group, why);
    }

    /// What making this group would come to.
    async fn model_group(
        &mut self,
        table: &mut GroupTable,
        target: &TargetWalk,
        group: &crate::model::GroupState,
        name: String,
    ) -> Result<(), WorkError> {
        let subject = Subject::Group(group.id.clone());
        let found = self.port.target.group_named(&name).await?;
        let freely = self.options.first || self.connector.policy.adopt == AdoptRule::Always;
        let (id, name, adopted) = match found {
            Some(found) if found.protected.is_some() => {
                let why = found.protected.unwrap_or_default();
                self.model_unmapped(table, group, format!("{}: {why}; never changed", found.name));
                return Ok(());
            }
            Some(found) if freely => {
                Report::count(&mut self.report.planned, "adopt_group", 1);
                (found.id, found.name, true)
            }
            Some(found) => {
                self.report.held += 1;
                self.model_unmapped(
                    table,
                    group,
                    format!("the group {} was there before; adopting it waits for a person", found.name),
                );
                return Ok(());
            }
            None => {
                let make = Operation::CreateGroup { name: name.clone() };
                if let Some(why) = target.why_not(&subject, &make, &fingerprint(group)) {
                    self.model_unmapped(table, group, why);
                    return Ok(());
                }
                self.report.plan(&subject, &make);
                let id = TargetGroupId::from(self.info.capabilities.group_case.fold(&name));
                self.planned.insert(id.clone());
                (id, name, false)
            }
        };
        let managed = ManagedGroup { id, name, adopted, removals_approved: false, sources: Vec::new() };
        table.assume(self.pair, group, managed);
        Ok(())
    }

    async fn apply_groups(&mut self, work: Vec<Subject>, look: Look, rules: &RunRules) -> Result<(), WorkError> {
        let total = work.len();
        for (done, subject) in work.into_iter().enumerate() {
            self.options.tell("groups", done, total, self.report.errors.len());
            if self.options.cancel.is_cancelled() {
                break;
            }
            let Subject::Group(id) = subject.clone() else { continue };
            let planned = Planned { subject, look, account: None };
            let claim = self.engine.store.claim_planned(self.pair, self.id, planned, self.engine.clock.now()).await?;
            let Some(claim) = claim else {
                self.report.raised += 1;
                continue;
            };
            match self.engine.work_group(claim, id, rules).await {
                Ok(worked) => self.sum_up(worked),
                Err((claim, error)) => self.failed(&claim, &error).await?,
            }
        }
        Ok(())
    }

    fn sum_up(&mut self, worked: Worked) {
        sum_up(&mut self.report, worked);
    }

    async fn failed(&mut self, claim: &Claimed, error: &WorkError) -> Result<(), WorkError> {
        self.engine.give_back(claim, error).await;
        self.report.errors.push(format!("{}: {error}", claim.subject));
        if self.port.breaker.open().is_some() || self.connector.breaker.open().is_some() {
            return Err(WorkError::Doubt(format!("{}: given up: {error}", self.pair)));
        }
        Ok(())
    }

    /// Managed groups that somebody deleted behind our back are made again.
    async fn restore_groups(
        &mut self,
        absent: Vec<TargetGroupId>,
        table: GroupTable,
        rules: &RunRules,
    ) -> Result<GroupTable, WorkError> {
        let mut sources: Vec<Subject> = Vec::new();
        for group in absent.iter().filter_map(|group| table.managed(group)) {
            let ours = group.sources.iter().filter(|(connector, source)| {
                *connector == self.pair.connector && matches!(table.mapping(source), Some(GroupMapping::Managed { .. }))
            });
            let ours: Vec<Subject> = ours.map(|(_, source)| Subject::Group(source.clone())).collect();
            if let (RunMode::DryRun, Some(first)) = (self.options.mode, ours.first())
                && !self.planned.contains(&group.id)
            {
                self.report.plan(first, &Operation::CreateGroup { name: group.name.clone() });
            }
            sources.extend(ours);
        }
        if self.options.mode == RunMode::DryRun || sources.is_empty() {
            return Ok(table);
        }
        let look = self.engine.store.next_look().await?;
        self.apply_groups(sources, look, rules).await?;
        Ok(GroupTable::clone(&*self.engine.group_table(self.pair).await?))
    }

    /// Decides for each user who was read; returns those with something to do.
    fn plan_users(&mut self, source: &mut SourceWalk, target: &TargetWalk, groups: &GroupTable) -> Vec<Item> {
        let mut items = Vec::new();
        let users = Vec::with_capacity(source.users.len());
        for (user, look) in std::mem::replace(&mut source.users, users) {
            if policy::out_of_scope(&user).is_none() {
                self.report.in_scope += 1;
            }
            let link = target.links.get(&user.id);
            let planned = Planned {
                subject: Subject::User(user.id.clone()),
                look: look.min(target.look),
                account: link.map(|link| link.account.clone()),
            };
            let id = user.id.clone();
            let presence = Presence::Present(user);
            match self.plan_user(&presence, link, target, groups, &planned.subject) {
                Verdict::InOrder => self.in_order.push(planned),
                Verdict::Nothing => {}
                Verdict::FromWalk(view) => items.push(Item { user: id, planned, view: Some(*view) }),
                Verdict::LookAgain => items.push(Item { user: id, planned, view: None }),
            }
            // Put back, as it is read again later and a copy of each would cost as much as deciding.
            if let Presence::Present(user) = presence {
                source.users.push((user, look));
            }
        }
        items
    }

    /// Decides for each linked user who was not read. Absence from a listing proves nothing: each is read by id.
    async fn plan_absent(
        &mut self,
        source: &SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
    ) -> Result<Vec<Item>, WorkError> {
        let mut absent: Vec<&Link> = target.links.values().filter(|link| !source.holds(&link.user)).collect();
        absent.sort_by(|one, other| one.user.cmp(&other.user));
        let mut items = Vec::new();
        if self.report.doubt.is_some() {
            if !absent.is_empty() {
                let text = format!("{} linked users were not read; nothing is done about them", absent.len());
                self.report.doubts.push(text);
            }
            return Ok(items);
        }
        for link in absent {
            let subject = Subject::User(link.user.clone());
            let planned = Planned { subject, look: target.look, account: Some(link.account.clone()) };
            let active = target.accounts.get(&link.account).is_none_or(|account| account.active);
            if !active {
                self.report.unchanged += 1;
                self.in_order.push(planned);
                continue;
            }
            let presence = self.engine.read_user(&self.connector, self.pair, &link.user).await?;
            match self.plan_user(&presence, Some(link), target, groups, &planned.subject) {
                Verdict::InOrder => self.in_order.push(planned),
                Verdict::Nothing => {}
                Verdict::FromWalk(_) | Verdict::LookAgain => {
                    items.push(Item { user: link.user.clone(), planned, view: None });
                }
            }
        }
        Ok(items)
    }

    fn plan_user(
        &mut self,
        presence: &Presence,
        link: Option<&Link>,
        target: &TargetWalk,
        groups: &GroupTable,
        subject: &Subject,
    ) -> Verdict {
        let account = link.and_then(|link| target.accounts.get(&link.account));
        let capabilities = &self.info.capabilities;
        let holder = plan::wanted_name(presence, link, account, capabilities)
            .map_or(NameHolder::NotAsked, |login| target.holder(&login, link));
        let decision = plan::decide(&Situation {
            pair: self.pair,
            capabilities,
            presence,
            link,
            account,
            holder: &holder,
            groups,
            adopt_freely: self.options.first || self.connector.policy.adopt == AdoptRule::Always,
            wanted_by_other: false,
            in_ring: false,
            own_login: &self.info.signed_in_as,
        });
        let view =
            || View { presence: presence.clone(), account: account.cloned(), holder: holder.clone(), walked: true };
        let report = &mut self.report;
        match decision {
            Decision::Plan(mut planned) => {
                let known = forgo_impossible(&mut planned, target, presence, subject);
                planned.findings.not_possible.extend(known);
                let forgone = report.doubt.is_some() && planned.forgo_removals();
                for operation in &planned.operations {
                    report.plan(subject, operation);
                }
                Report::count(&mut report.planned, "join", planned.joins_after_create.len() as u64);
                report.held += if self.options.mode == RunMode::DryRun { planned.holds.len() } else { 0 };
                if planned.findings.protected.is_some() {
                    report.protected += 1;
                }
                let told = !planned.findings.not_possible.is_empty() || !planned.findings.doubts.is_empty();
                report.not_possible.append(&mut planned.findings.not_possible);
                report.doubts.append(&mut planned.findings.doubts);
                let nothing =
                    planned.operations.is_empty() && planned.holds.is_empty() && planned.missing_groups.is_empty();
                // Somebody activated an account that we had deactivated: that is to be noted.
                let forgotten = link.is_some_and(|link| link.deactivated_by_us)
                    && account.is_some_and(|account| account.active)
                    && self.options.mode == RunMode::Apply;
                if nothing && forgone {
                    return Verdict::Nothing;
                }
                if nothing && forgotten {
                    return Verdict::LookAgain;
                }
                if nothing {
                    report.unchanged += usize::from(!told && planned.findings.protected.is_none());
                    return Verdict::InOrder;
                }
                let removes = planned.operations.iter().any(Operation::removes) || !planned.holds.is_empty();
                if removes || !planned.missing_groups.is_empty() {
                    Verdict::LookAgain
                } else {
                    Verdict::FromWalk(Box::new(view()))
                }
            }
            Decision::Adopt(account) => {
                Report::count(&mut report.planned, "adopt", 1);
                if self.options.mode == RunMode::DryRun {
                    self.plan_adopted(presence, subject, &account, target, groups);
                }
                Verdict::FromWalk(Box::new(view()))
            }
            Decision::Conflict(text) => {
                report.conflicts.push(text);
                if self.options.mode == RunMode::DryRun { Verdict::Nothing } else { Verdict::LookAgain }
            }
            Decision::TakeOver(..)
            | Decision::LookAt(_)
            | Decision::WaitFor(_)
            | Decision::Later
            | Decision::Unlink => {
                self.model_entangled(presence, link, subject);
                Verdict::LookAgain
            }
        }
    }

    /// What follows from adopting an account, for a dry run.
    fn plan_adopted(
        &mut self,
        presence: &Presence,
        subject: &Subject,
        account: &crate::model::Account,
        target: &TargetWalk,
        groups: &GroupTable,
    ) {
        let Some(user) = subject.as_user() else { return };
        let link = Link { adopted: true, ..Link::new(user.clone(), account.id.clone(), account.name.clone()) };
        let planned = plan::decide(&Situation {
            pair: self.pair,
            capabilities: &self.info.capabilities,
            presence,
            link: Some(&link),
            account: Some(target.accounts.get(&account.id).unwrap_or(account)),
            holder: &NameHolder::Own,
            groups,
            adopt_freely: true,
            wanted_by_other: false,
            in_ring: false,
            own_login: &self.info.signed_in_as,
        });
        if let Decision::Plan(planned) = planned {
            for operation in &planned.operations {
                self.report.plan(subject, operation);
            }
            self.report.held += planned.holds.len();
        }
    }

    /// Users whose accounts wait for each other: what can be told beforehand is where each of them ends.
    fn model_entangled(&mut self, presence: &Presence, link: Option<&Link>, subject: &Subject) {
        let Presence::Present(user) = presence else { return };
        let desired = policy::desired_user(user, &self.info.capabilities);
        match link {
            Some(link) if link.name != desired.login => {
                let (account, name) = (link.account.clone(), link.name.clone());
                self.report.plan(subject, &Operation::RenameUser { account, name, to: desired.login });
            }
            Some(_) => {}
            None => Report::count(&mut self.report.planned, "relink", 1),
        }
    }

    /// Compares what is planned with the limits; kinds past theirs are held whole.
    async fn gate(&mut self, mut rules: RunRules) -> Result<RunRules, WorkError> {
        let now = self.engine.clock.now();
        let counts = self.engine.store.counts(self.pair, now).await?;
        let measure = Measure {
            active_accounts: counts.active_links,
            memberships: counts.memberships,
            groups: counts.managed_groups,
        };
        let mut planned: HashMap<Limited, u32> = HashMap::new();
        for line in &self.report.lines {
            if let Some(kind) = line.operation.limited() {
                *planned.entry(kind).or_default() += 1;
            }
        }
        for (kind, planned) in planned {
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

    async fn apply(&mut self, items: Vec<Item>, rules: &RunRules) -> Result<(), WorkError> {
        let total = items.len();
        let state = Applying::default();
        let this = &*self;
        let applied = stream::iter(items)
            .map(|item| this.apply_one(item, rules, &state, total))
            .buffer_unordered(this.port.parallel.max(1));
        let broken = applied.filter_map(|result| async move { result.err() }).collect::<Vec<_>>().await;
        self.report.raised += state.raised.load(Ordering::Relaxed);
        if let Ok(part) = state.report.into_inner() {
            absorb(&mut self.report, part);
        }
        broken.into_iter().next().map_or(Ok(()), Err)
    }

    async fn apply_one(&self, item: Item, rules: &RunRules, state: &Applying, total: usize) -> Result<(), WorkError> {
        if self.options.cancel.is_cancelled() || state.stopped.load(Ordering::Relaxed) {
            return Ok(());
        }
        let engine = self.engine;
        let claim = engine.store.claim_planned(self.pair, self.id, item.planned, engine.clock.now()).await?;
        match claim {
            None => {
                state.raised.fetch_add(1, Ordering::Relaxed);
            }
            Some(claim) => match engine.work_user(claim, item.user, item.view, rules).await {
                Ok(worked) => {
                    if let Ok(mut report) = state.report.lock() {
                        sum_up(&mut report, worked);
                    }
                }
                Err((_, WorkError::Store(StoreError::ClaimEnded))) => {}
                Err((claim, error)) => {
                    engine.give_back(&claim, &error).await;
                    state.failed.fetch_add(1, Ordering::Relaxed);
                    if let Ok(mut report) = state.report.lock() {
                        report.errors.push(format!("{}: {error}", claim.subject));
                    }
                    if self.port.breaker.open().is_some() || self.connector.breaker.open().is_some() {
                        state.stopped.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            },
        }
        let done = state.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.options.tell("applying", done, total, state.failed.load(Ordering::Relaxed));
        if done.is_multiple_of(STORED_EVERY) {
            engine.store.progress_run(self.id, serde_json::json!({ "done": done, "of": total })).await?;
        }
        Ok(())
    }

    /// Verdicts on what was in order, and who was seen alive.
    async fn close(&mut self, source: &SourceWalk, target: &TargetWalk) -> Result<(), WorkError> {
        let engine = self.engine;
        let in_order = std::mem::take(&mut self.in_order);
        let store = &engine.store;
        let mut batches = Vec::with_capacity(in_order.len().div_ceil(BATCH));
        for batch in in_order.chunks(BATCH) {
            batches.push(store.found_in_order(self.pair, self.id, batch.to_vec(), engine.clock.now()));
        }
        // The next ones are made ready while the store works on one.
        let mut verdicts = stream::iter(batches).buffered(AHEAD);
        while let Some(raised) = verdicts.try_next().await? {
            self.report.raised += raised;
        }
        let now = engine.clock.now();
        let seen: Vec<(UserId, Option<String>)> = source
            .users
            .iter()
            .filter(|(user, _)| user.enabled)
            .filter(|(user, _)| {
                target.links.get(&user.id).is_some_and(|link| {
                    link.federation_link != user.federation_link
                        || link.seen_alive.is_none_or(|seen| now.duration_since(seen) > SEEN_ALIVE_RENEWED)
                })
            })
            .map(|(user, _)| (user.id.clone(), user.federation_link.clone()))
            .collect();
        for batch in seen.chunks(BATCH) {
            store.saw_alive(self.pair, batch.to_vec(), now).await?;
        }
        Ok(())
    }
}

/// What the walk makes of one user.
enum Verdict {
    InOrder,
    Nothing,
    FromWalk(Box<View>),
    LookAgain,
}

fn sum_up(report: &mut Report, worked: Worked) {
    for operation in &worked.done {
        Report::count(&mut report.done, operation.verb(), 1);
    }
    Report::count(&mut report.done, "adopt", u64::from(worked.adopted));
    report.held += worked.held;
    report.raised += usize::from(worked.later);
    report.not_possible.extend(worked.findings.not_possible);
    report.doubts.extend(worked.findings.doubts);
}

/// Takes out of a plan what is known to be impossible; gives the reasons.
fn forgo_impossible(
    planned: &mut plan::Planned,
    target: &TargetWalk,
    presence: &Presence,
    subject: &Subject,
) -> Vec<String> {
    if target.not_possible.is_empty() {
        return Vec::new();
    }
    let fingerprint = fingerprint_of(presence);
    let mut reasons = Vec::new();
    let mut possible = |operation: &Operation| {
        let why = target.why_not(subject, operation, &fingerprint);
        reasons.extend(why.clone());
        why.is_none()
    };
    planned.operations.retain(&mut possible);
    planned.holds.retain(|hold| !matches!(&hold.then, Then::Do(operation) if !possible(operation)));
    if planned.operations.is_empty() && planned.holds.is_empty() {
        planned.joins_after_create.clear();
    }
    reasons
}

fn absorb(report: &mut Report, part: Report) {
    for (verb, count) in part.done {
        *report.done.entry(verb).or_default() += count;
    }
    report.held += part.held;
    report.raised += part.raised;
    report.errors.extend(part.errors);
    report.not_possible.extend(part.not_possible);
    report.doubts.extend(part.doubts);
}
