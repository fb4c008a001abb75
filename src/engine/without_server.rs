//! The work that a server does by itself, for commands that run without a server.

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    breaker::Breaker,
    case::Worked,
    error::WorkError,
    ledger::Tally,
    ports::Engine,
    run::{Report, RunOptions},
};
use crate::{
    model::{ApprovalKind, Pair, RunId, Subject},
    store::{Claimed, PairState, StoreError, TaskFilter},
};

/// The result of working the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Number of tasks that were worked to their end.
    pub done: usize,
    /// Number of tasks that failed; they are retried later.
    pub failed: usize,
    /// The operations that they planned, by fate.
    pub tally: Tally,
}

/// The result of a first plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPlan {
    /// It waits for approval, under this approval id.
    Held(i64),
    /// It has no operations, as both sides are in sync: the pair is in service.
    InService,
    /// No user is in scope yet: the pair stays out of service and is planned again.
    NoUsers,
}

impl Drained {
    fn add(&mut self, (worked, error): &(Worked, Option<WorkError>)) {
        *if error.is_some() { &mut self.failed } else { &mut self.done } += 1;
        self.tally.merge(worked.ledger.tally());
    }
}

impl Report {
    /// Returns whether a first plan has no operations because no user is in scope.
    pub fn finds_no_users(&self) -> bool {
        self.needs_no_approval() && self.in_scope == 0
    }
}

impl Engine {
    /// Plans the first run of a pair and holds it for approval. A plan without operations needs no approval: the pair
    /// is in service at once, by the rules that apply there. Without users in scope nothing is known of what the pair
    /// would do, so it stays out of service.
    pub async fn plan_first_run(&self, pair: &Pair, options: &RunOptions) -> Result<(FirstPlan, Report), WorkError> {
        let (_, report) = self.run(pair, options).await?;
        if options.cancel.is_cancelled() {
            return Err(WorkError::Stopped(pair.clone()));
        }
        if report.finds_no_users() {
            self.store.set_pair_state(pair, PairState::NoUsers, self.clock.now()).await?;
            tracing::info!(%pair, "the realm has no users in scope yet; the first run is planned again later");
            return Ok((FirstPlan::NoUsers, report));
        }
        if report.needs_no_approval() {
            self.store.set_pair_state(pair, PairState::InService, self.clock.now()).await?;
            tracing::info!(%pair, "the first run has no operations, so it needs no approval: in service");
            return Ok((FirstPlan::InService, report));
        }
        let set = self.store.hold_first_run(pair, report.stored(), self.clock.now()).await?;
        Ok((FirstPlan::Held(set), report))
    }

    /// Sets a pair back to be planned if the policy was changed since its first run was planned: an operator approved
    /// another plan. Returns whether it did.
    pub async fn withdraw_outdated_approval(&self, pair: &Pair) -> Result<bool, WorkError> {
        let policy = self.connector(&pair.connector)?.policy.fingerprint(&pair.target);
        let approvals = self.store.approvals(false).await?;
        let approved = approvals.into_iter().find(|one| one.pair == *pair && one.kind == ApprovalKind::FirstRun);
        let planned = approved.and_then(|one| one.summary.get("policy")?.as_str().map(str::to_owned));
        let outdated = planned.is_some_and(|planned| !planned.is_empty() && planned != policy);
        if outdated {
            self.store.set_pair_state(pair, PairState::New, self.clock.now()).await?;
            tracing::warn!(%pair, "the policy was changed after the first run was planned, so it is planned again and waits for approval");
        }
        Ok(outdated)
    }

    /// Executes the approved first run of a pair. Afterwards the pair is in service, unless the run was ended early.
    pub async fn do_first_run(&self, pair: &Pair, options: &RunOptions) -> Result<(RunId, Report), WorkError> {
        let done = self.run(pair, options).await?;
        if !options.cancel.is_cancelled() {
            self.store.set_pair_state(pair, PairState::InService, self.clock.now()).await?;
            tracing::info!(%pair, "in service");
        }
        Ok(done)
    }

    /// Works due tasks of a pair concurrently, until none is left or the breaker of one side is open.
    pub async fn work_due(&self, pair: &Pair, cancel: &CancellationToken) -> Result<Drained, WorkError> {
        let port = self.target(&pair.target)?;
        let drained = Mutex::new(Drained::default());
        let drained = &drained;
        let claims = stream::unfold(true, |go_on| async move {
            if !go_on || !self.may_work(pair, cancel) {
                return None;
            }
            let claim = self.claim_of(pair).await.transpose()?;
            let go_on = claim.is_ok();
            Some((claim, go_on))
        });
        let worked = claims.map(|claim| async move {
            let worked = self.work_to_end(claim?).await;
            drained.lock().add(&worked);
            Ok::<(), StoreError>(())
        });
        let results: Vec<_> = worked.buffer_unordered(port.parallel.max(1)).collect().await;
        results.into_iter().collect::<Result<(), _>>()?;
        Ok(*drained.lock())
    }

    /// Works due tasks of a pair one by one, until this subject's task has ended or no task can be worked now. Tasks
    /// that are more urgent, or that it waits for, are worked first.
    pub async fn work_until(
        &self,
        pair: &Pair,
        subject: &Subject,
        cancel: &CancellationToken,
    ) -> Result<Drained, WorkError> {
        let mut drained = Drained::default();
        let filter = TaskFilter {
            connector: Some(pair.connector.clone()),
            target: Some(pair.target.clone()),
            subject: Some(subject.clone()),
            limit: 1,
            ..TaskFilter::default()
        };
        while self.may_work(pair, cancel) {
            let Some(claim) = self.claim_of(pair).await? else { break };
            let ours = claim.subject == *subject;
            drained.add(&self.work_to_end(claim).await);
            let task = self.store.tasks(&filter).await?.pop();
            if task.is_none_or(|task| ours && task.error.is_some()) {
                break;
            }
        }
        Ok(drained)
    }

    fn may_work(&self, pair: &Pair, cancel: &CancellationToken) -> bool {
        let well = |breaker: &Breaker| breaker.open().is_none();
        !cancel.is_cancelled()
            && self.connector(&pair.connector).is_ok_and(|connector| well(&connector.breaker))
            && self.target(&pair.target).is_ok_and(|port| well(&port.breaker))
    }

    async fn claim_of(&self, pair: &Pair) -> Result<Option<Claimed>, StoreError> {
        self.store.claim(&pair.target, std::slice::from_ref(&pair.connector), self.clock.now()).await
    }
}
