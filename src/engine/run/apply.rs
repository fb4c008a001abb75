//! Applying what a run planned, and what it records at its end.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;

use super::{
    Item, Report, Run,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{case::RunRules, error::WorkError},
    model::UserId,
    store::StoreError,
};

/// How old the note may grow that a linked user was seen alive.
const SEEN_ALIVE_RENEWED: SignedDuration = SignedDuration::from_hours(4);
/// Subjects in one transaction of verdicts.
const BATCH: usize = 500;
/// Such transactions under way.
const AHEAD: usize = 3;
/// How often the progress is stored.
const STORED_EVERY: usize = 500;

/// What is shared by those who apply side by side.
struct Applying {
    done: AtomicUsize,
    stopped: AtomicBool,
    report: Mutex<Report>,
}

impl Applying {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subjects under way where so many calls go at once: some more, as each waits for the store at times. The target's own
/// limit of calls stays.
fn side_by_side(parallel: usize) -> usize {
    parallel.max(1) + parallel / 4
}

impl Run<'_> {
    /// Works what was planned, so many side by side as the target takes; `phase` is told beside the progress.
    pub(super) async fn apply(
        &mut self,
        phase: &'static str,
        items: Vec<Item>,
        rules: &RunRules,
    ) -> Result<(), WorkError> {
        let total = items.len();
        let report = Mutex::new(std::mem::take(&mut self.report));
        let state = Applying { done: AtomicUsize::new(0), stopped: AtomicBool::new(false), report };
        let this = &*self;
        let applied = stream::iter(items)
            .map(|item| this.apply_one(phase, item, rules, &state, total))
            .buffer_unordered(side_by_side(this.port.parallel));
        let broken = applied.filter_map(|result| async move { result.err() }).collect::<Vec<_>>().await;
        self.report = state.report.into_inner().unwrap_or_else(PoisonError::into_inner);
        broken.into_iter().next().map_or(Ok(()), Err)
    }

    /// Works one of them; a defect ends no other, which would keep its claim.
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
        // No subject is claimed while its server takes no calls; if that is for too long, the call itself fails.
        let _ = self.options.cancel.run_until_cancelled(self.port.target.until_open()).await;
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
        self.options.tell(phase, done, total, errors);
        if done.is_multiple_of(STORED_EVERY) {
            let report = state.report().stored_under_way(done, total);
            engine.store.progress_run(self.id, report).await?;
        }
        Ok(())
    }

    /// Whether the source's breaker is open and stays so: many users who cannot be read are no reason, as long as it answers
    /// otherwise.
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

    /// Verdicts on what was in order, and who was seen alive.
    pub(super) async fn close(&mut self, source: &SourceWalk, target: &TargetWalk) -> Result<(), WorkError> {
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
            .filter(|user| user.enabled)
            .filter(|user| {
                target.links.get(&user.id).is_some_and(|link| {
                    link.federation() != user.federation()
                        || link.seen_alive.is_none_or(|seen| now.duration_since(seen) > SEEN_ALIVE_RENEWED)
                })
            })
            .map(|user| (user.id.clone(), user.federation().map(str::to_owned)))
            .collect();
        for batch in seen.chunks(BATCH) {
            store.saw_alive(self.pair, batch.to_vec(), now).await?;
        }
        Ok(())
    }
}
