//! A run in progress as operators see it: its progress is stored, and their order to cancel it is carried out.

use std::{convert::Infallible, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Progress, RunOptions};
use crate::{
    engine::ports::Engine,
    model::{Pair, RunOutcome, RunProgress, RunRecord},
    store::StoreError,
};

/// Interval at which the progress is stored and an order to cancel is looked for.
const EVERY: Duration = Duration::from_millis(500);

impl Engine {
    /// Works on a run of a pair, and meanwhile follows it: `work` gets the options that it must use.
    pub(in crate::engine) async fn followed<T, W>(
        &self,
        pair: &Pair,
        options: RunOptions,
        work: impl FnOnce(RunOptions) -> W,
    ) -> T
    where
        W: Future<Output = T>,
    {
        let sender = watch::Sender::new(Progress::default());
        let follower = Follower {
            engine: self,
            pair,
            options: options.clone(),
            progress: sender.subscribe(),
            stored: Progress::default(),
            phase_began: self.clock.now(),
        };
        tokio::select! {
            done = work(RunOptions { progress: Some(sender), ..options }) => done,
            never = follower.follow() => match never {},
        }
    }
}

struct Follower<'e> {
    engine: &'e Engine,
    pair: &'e Pair,
    options: RunOptions,
    progress: watch::Receiver<Progress>,
    stored: Progress,
    phase_began: Timestamp,
}

impl Follower<'_> {
    async fn follow(mut self) -> Infallible {
        let mut had_failed = false;
        loop {
            self.engine.clock.sleep_real(EVERY).await;
            let looked = self.look().await;
            // Once for each outage of the store, which has a condition of its own.
            if let (Err(error), false) = (&looked, had_failed) {
                tracing::error!(pair = %self.pair, "the progress of a full reconcile cannot be stored: {error}");
            }
            had_failed = looked.is_err();
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let runs = self.engine.store.runs(Some(self.pair), 1).await?;
        let Some(run) = runs.first().filter(|run| run.outcome == RunOutcome::Running) else { return Ok(()) };
        if run.cancelled_by.is_some() {
            self.options.cancel.cancel();
        }
        self.store_progress(run).await
    }

    async fn store_progress(&mut self, run: &RunRecord) -> Result<(), StoreError> {
        let progress = self.progress.borrow().clone();
        if progress == self.stored {
            return Ok(());
        }
        let now = self.engine.clock.now();
        if progress.phase != self.stored.phase {
            self.phase_began = now;
        }
        let record = RunProgress {
            phase: progress.phase.clone().into_owned(),
            phase_began: self.phase_began,
            done: progress.done,
            total: progress.total,
            errors: progress.errors,
            at: now,
        };
        self.engine.store.note_progress(run.id, &record).await?;
        self.stored = progress;
        Ok(())
    }
}
