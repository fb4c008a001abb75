//! Applies the plan of a run, and records the verdicts at its end.

use std::{
    iter,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures::{FutureExt, StreamExt, TryStreamExt, future, stream};
use jiff::SignedDuration;
use parking_lot::{Mutex, MutexGuard};

use super::{
    InSync, Item, Report, Run,
    users::{Pending, planned},
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{
        additions::{Additions, Part, Waves},
        case::RunRules,
        error::WorkError,
        group::wanted_rename,
    },
    model::{Federated, Grants, GroupState, Subject, UserId, number},
    store::{MovedGroup, StoreError},
};

/// Age at which the record of when a linked user was last seen alive is renewed.
const SEEN_ALIVE_RENEWED: SignedDuration = SignedDuration::from_hours(4);
/// Number of subjects in one transaction of verdicts.
const BATCH: usize = 500;
/// Number of such transactions in progress.
const AHEAD: usize = 3;
/// Number of waves in progress: one ends while the next one begins.
const WAVES_AT_ONCE: usize = 2;
/// Number of subjects between two writes of the progress.
const STORED_EVERY: usize = 500;

/// State that concurrent work on subjects shares.
struct Applying {
    done: AtomicUsize,
    stopped: AtomicBool,
    report: Mutex<Report>,
}

impl Applying {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock()
    }
}

/// Returns the number of subjects in progress for this number of concurrent calls: somewhat more, as each subject
/// sometimes waits for the store. The target's own limit of calls stays.
fn side_by_side(parallel: usize) -> usize {
    parallel.max(1) + parallel / 4
}

impl Run<'_> {
    /// Works users with a plan. The walk's reads of each user are unpacked when its turn comes.
    pub(super) async fn apply_users(
        &mut self,
        users: Vec<Pending>,
        source: &SourceWalk,
        target: &TargetWalk,
        rules: &RunRules,
    ) -> Result<(), WorkError> {
        let (total, info, connector) = (users.len(), Arc::clone(&self.info), Arc::clone(&self.connector));
        let pair = self.pair;
        let items =
            users.into_iter().map(|user| user.item(source, target, &connector.policy, pair, &info.capabilities));
        self.apply("applying", total, items, rules).await
    }

    /// Works the planned subjects, as many concurrently as the target allows; `phase` is reported with the progress.
    pub(super) async fn apply(
        &mut self,
        phase: &'static str,
        total: usize,
        items: impl Iterator<Item = Item> + Send,
        rules: &RunRules,
    ) -> Result<(), WorkError> {
        let report = Mutex::new(std::mem::take(&mut self.report));
        let state = Applying { done: AtomicUsize::new(0), stopped: AtomicBool::new(false), report };
        let this = &*self;
        let broken = if this.port.target.max_members_per_call() > 1 {
            // All users run in one Tokio task and would share its cooperative budget, which one wave uses up.
            tokio::task::unconstrained(this.apply_in_waves(phase, total, items, rules, &state)).await
        } else {
            let applied = stream::iter(items)
                .map(|item| this.apply_one(phase, item, rules, &state, total))
                .buffer_unordered(side_by_side(this.port.parallel));
            applied.filter_map(|result| async move { result.err() }).collect().await
        };
        self.report = state.report.into_inner();
        broken.into_iter().next().map_or(Ok(()), Err)
    }

    /// Works users wave by wave, with the additions to groups of one wave sent together. A wave begins while the
    /// previous one ends.
    async fn apply_in_waves(
        &self,
        phase: &'static str,
        total: usize,
        mut items: impl Iterator<Item = Item> + Send,
        rules: &RunRules,
        state: &Applying,
    ) -> Vec<WorkError> {
        let waves = Waves::new(self.port.parallel);
        let each = iter::from_fn(move || {
            let wave: Vec<Item> = items.by_ref().take(self.port.wave.max(1)).collect();
            (!wave.is_empty()).then_some(wave)
        });
        let broken = stream::iter(each)
            .map(|wave| self.apply_wave(phase, wave, &waves, rules, state, total))
            .buffer_unordered(WAVES_AT_ONCE);
        broken.concat().await
    }

    async fn apply_wave(
        &self,
        phase: &'static str,
        wave: Vec<Item>,
        waves: &Arc<Waves>,
        rules: &RunRules,
        state: &Applying,
        total: usize,
    ) -> Vec<WorkError> {
        // A run that ends early passes over its waves without waiting for anything else.
        tokio::task::yield_now().await;
        let (size, most) = (wave.len(), self.port.target.max_members_per_call());
        let subjects: Vec<Subject> = wave.iter().map(|item| item.planned.subject.clone()).collect();
        let (clock, cancel) = (Arc::clone(&self.engine.clock), self.options.cancel.clone());
        let (additions, parts) = Additions::wave(waves, clock, self.pair, &subjects, most, rules.first, cancel);
        self.port.note_wave(&additions);
        let applied = stream::iter(wave.into_iter().zip(parts))
            .map(|(item, part)| self.apply_part(phase, item, part, rules, state, total))
            .buffer_unordered(size)
            .filter_map(|result| future::ready(result.err()))
            .collect::<Vec<_>>();
        // Always in this order, as simulations repeat a run.
        let (broken, ()) = future::join(applied, additions.send(self.engine, &self.port)).await;
        broken
    }

    /// Works one user of a wave when its turn comes.
    async fn apply_part(
        &self,
        phase: &'static str,
        item: Item,
        part: Part,
        rules: &RunRules,
        state: &Applying,
        total: usize,
    ) -> Result<(), WorkError> {
        part.begin().await;
        let rules = RunRules { part: Some(Arc::new(part)), ..rules.clone() };
        self.apply_one(phase, item, &rules, state, total).await
    }

    /// Works one subject. A panic ends no other subject, as that would leave its claim held.
    async fn apply_one(
        &self,
        phase: &'static str,
        item: Item,
        rules: &RunRules,
        state: &Applying,
        total: usize,
    ) -> Result<(), WorkError> {
        let work = AssertUnwindSafe(self.claim_and_work(phase, item, rules, state, total));
        work.catch_unwind().await.unwrap_or(Err(WorkError::Bug))
    }

    async fn claim_and_work(
        &self,
        phase: &'static str,
        item: Item,
        rules: &RunRules,
        state: &Applying,
        total: usize,
    ) -> Result<(), WorkError> {
        let Item { planned, walked, operations } = item;
        // No subject is claimed while its server accepts no calls; if that takes too long, the call itself fails.
        let open = self.options.cancel.run_until_cancelled(self.port.target.until_open());
        let _ = match &rules.part {
            Some(part) => part.wait_for_server(open).await,
            None => open.await,
        };
        if self.options.cancel.is_cancelled() || state.stopped.load(Ordering::Relaxed) {
            state.report().postpone(operations);
            return Ok(());
        }
        let (engine, subject) = (self.engine, planned.subject.clone());
        let claim = engine.store.claim_planned(self.pair, self.id, planned, engine.clock.now()).await;
        if !matches!(claim, Ok(Some(_))) {
            state.report().postpone(operations);
        }
        match claim? {
            None => state.report().raised += 1,
            Some(claim) => match engine.work_claim(claim, walked, rules).await {
                (worked, None | Some(WorkError::Store(StoreError::ClaimEnded))) => {
                    state.report().add(&subject, worked, operations, false);
                }
                (worked, Some(error)) => {
                    state.report().add(&subject, worked, operations, true);
                    state.report().errors.push(format!("{subject}: {error}"));
                    if self.port.breaker.open().is_some() || self.source_is_down().await {
                        state.stopped.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            },
        }
        let done = state.done.fetch_add(1, Ordering::Relaxed) + 1;
        let errors = usize::try_from(state.report().errors.total()).unwrap_or(usize::MAX);
        self.options.report_progress(phase, done, total, errors);
        if done.is_multiple_of(STORED_EVERY) {
            let report = state.report().stored_under_way();
            engine.store.progress_run(self.id, report).await?;
        }
        Ok(())
    }

    /// Returns whether the source's breaker is open and stays so. Many users that cannot be read are no reason to stop,
    /// as long as the source answers otherwise.
    async fn source_is_down(&self) -> bool {
        if self.connector.breaker.open().is_none() {
            return false;
        }
        let answers = self.connector.source.user_count().await.is_ok();
        if answers {
            self.connector.breaker.succeeded();
        }
        !answers
    }

    /// Writes the verdicts on subjects that were in sync, and which users were seen alive.
    pub(super) async fn close(&mut self, source: &SourceWalk, target: &TargetWalk) -> Result<(), WorkError> {
        let engine = self.engine;
        let InSync { users, absent, others } = std::mem::take(&mut self.in_sync);
        let mut settled = users.clone();
        settled.sort_unstable();
        let store = &engine.store;
        let observation = source.observation.min(target.observation);
        let read = users.into_iter().map(|place| {
            let user = source.id(place as usize);
            let account = target.grants_of(&user).map(|grants| grants.account);
            planned(user, observation, account)
        });
        let absent = absent.into_iter().map(|place| {
            let Grants { user, account, .. } = target.grants_at(place as usize);
            planned(user, target.observation, Some(account))
        });
        let (pair, run) = (self.pair, self.id);
        // The next verdicts are prepared while the store writes a transaction.
        let mut verdicts = stream::iter(others.into_iter().chain(read).chain(absent))
            .chunks(BATCH)
            .map(|batch| store.found_in_sync(pair, run, batch, engine.clock.now()))
            .buffered(AHEAD);
        while let Some(raised) = verdicts.try_next().await? {
            self.report.raised += raised;
        }
        drop(verdicts);
        self.keep_group_paths(source).await?;
        let now = engine.clock.now();
        let mut seen: Vec<(UserId, Option<Federated>)> = Vec::with_capacity(BATCH);
        for (place, user) in source.iter().enumerate() {
            let Some(link) = target.link(&user.id).filter(|_| user.enabled) else { continue };
            // A user that has left its provider counts as one of it until all of its removals are decided.
            let is_settled = || settled.binary_search(&number(place)).is_ok() && !self.unsettled.contains(&user.id);
            let stays = link.federation().is_none() || link.federation() == user.federation();
            let federated = if stays || is_settled() { user.federated() } else { link.federated.clone() };
            let is_due = link.seen_alive.is_none_or(|seen| now.duration_since(seen) > SEEN_ALIVE_RENEWED);
            if !is_due && link.federated == federated {
                continue;
            }
            seen.push((user.id, federated));
            if seen.len() == BATCH {
                store.record_seen(pair, std::mem::take(&mut seen), now).await?;
            }
        }
        if !seen.is_empty() {
            store.record_seen(pair, seen, now).await?;
        }
        Ok(())
    }

    /// Records the paths of groups, as all that depends on them is done.
    async fn keep_group_paths(&mut self, source: &SourceWalk) -> Result<(), WorkError> {
        let table = self.engine.group_table(self.pair).await?;
        // The path explains a rename that waits for approval.
        let waits = |group: &GroupState| wanted_rename(group, &table, &self.info.capabilities).is_some();
        let mut moved = Vec::new();
        for group in source.groups.iter().filter(|group| !source.has_failed_group(&group.id) && !waits(group)) {
            let from = self.paths.remove(&group.id);
            if from.as_ref() != Some(&group.path) {
                moved.push(MovedGroup { group: group.id.clone(), from, to: group.path.clone() });
            }
        }
        for batch in moved.chunks(BATCH) {
            self.engine.store.keep_group_paths(self.pair, batch).await?;
        }
        Ok(())
    }
}
