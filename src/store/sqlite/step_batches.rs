//! Batches of steps: the steps of many claims, written with few statements.
//!
//! A call to `SQLite`'s thread costs more than a statement, so fewer calls make a full reconcile faster. The most common
//! steps of users are written in batches: they resolve intents, put links, store the next intents, and end claims about
//! which nothing else is stored. The result is the same as if they were written one by one.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{
    endings::StoredAtEnd,
    intents::NewChange,
    memory::Claim,
    tx::{Answer, Done, Tx, Work},
};
use crate::{
    model::{ChangeOutcome, IntentId, Link, NewApprovalItem, Operation, Token},
    store::{LinkWrite, NewIntent, OpenIntent, Step, Stepped, StoreResult},
};

/// A step of one claim, which also ends the claim if it is the last one.
pub(super) struct StepJob {
    pub token: Token,
    pub step: Step,
    /// The ending; `None`: the claim stays.
    pub end: Option<Ending>,
    pub now: Timestamp,
    pub reply: oneshot::Sender<StoreResult<Stepped>>,
    /// Whether it is written alone.
    pub is_alone: bool,
}

/// How a claim is completed.
pub(super) struct Ending {
    /// Operations that wait for approval.
    pub held: Vec<NewApprovalItem>,
    pub recheck_at: Timestamp,
}

impl StepJob {
    /// Returns the job that writes this step alone.
    pub fn alone(self) -> Work {
        Box::new(move |tx| {
            Box::pin(async move {
                let Self { token, step, end, now, reply, is_alone: _ } = self;
                let result = match (tx, end) {
                    (Err(error), _) => Err(error),
                    (Ok(tx), None) => tx.step(token, step, now).await,
                    (Ok(tx), Some(Ending { held, recheck_at })) => {
                        tx.complete(token, step, &held, recheck_at, now).await
                    }
                };
                let failed = result.as_ref().err().cloned();
                let answer = move |committed: StoreResult<()>| {
                    let _ = reply.send(result.and_then(|stepped| committed.map(|()| stepped)));
                };
                Done { failed, answer: Box::new(answer) }
            })
        })
    }

    /// Returns the ids of all intents that the step ends.
    fn ended(&self) -> Vec<IntentId> {
        self.step.resolved.iter().map(|one| one.intent).chain(self.step.unsent.iter().copied()).collect()
    }

    /// Returns whether the step only does what can be written in a batch, as far as the job shows it.
    fn may_be_batched(&self, claim: &Claim) -> bool {
        let Step { resolved: _, link, group, raise, unsupported, order, unsent: _, next, due_again } = &self.step;
        let link_fits = match link {
            None => claim.subject.as_user().is_some(),
            Some(LinkWrite::Put(link)) => claim.subject.as_user() == Some(&link.user),
            Some(_) => false,
        };
        let unlimited = |next: &NewIntent| {
            next.approved_by.is_none() && (next.limit.is_none() || next.operation.limited().is_none())
        };
        let ends_simply =
            |end: &Ending| end.held.is_empty() && next.is_empty() && due_again.is_none() && claim.generation == 0;
        !self.is_alone
            && link_fits
            && group.is_none()
            && order.is_none()
            && unsupported.is_none()
            && raise.is_empty()
            && next.iter().all(unlimited)
            && self.end.as_ref().is_none_or(ends_simply)
    }
}

/// What is stored about a step that can be written in a batch.
pub(super) struct Batchable {
    claim: Claim,
    /// The numbers of the groups of the claim's link.
    given: BTreeSet<i64>,
    /// The intents that the step resolves, in its order.
    resolved: Vec<OpenIntent>,
}

/// Returns whether nothing else is stored about an operation that took effect than its change.
fn leaves_only_a_change(operation: &Operation) -> bool {
    match operation {
        Operation::CreateUser { .. }
        | Operation::UpdateUser { .. }
        | Operation::ActivateUser { .. }
        | Operation::DeactivateUser { .. }
        | Operation::AddMember { .. } => true,
        // They free a name, change the groups, or change what is stored of a group's members.
        Operation::RenameUser { .. }
        | Operation::DeleteUser { .. }
        | Operation::AnonymizeUser { .. }
        | Operation::RemoveMember { .. }
        | Operation::CreateGroup { .. }
        | Operation::RenameGroup { .. }
        | Operation::DeleteGroup { .. } => false,
    }
}

impl Tx {
    /// Returns what is stored about the longest prefix of these steps that can be written in one batch; empty if that is
    /// less than two. Marks steps that have to be written alone, so that they are not read again.
    pub(super) async fn batchable(&mut self, jobs: &mut [StepJob]) -> StoreResult<Vec<Batchable>> {
        let claims = self.claims_of_batch(jobs);
        let jobs = &mut jobs[..claims.len()];
        if jobs.len() < 2 {
            return Ok(Vec::new());
        }
        let links: Vec<_> = jobs.iter().zip(&claims).filter_map(|(job, claim)| Some((claim.no, put(job)?))).collect();
        let mut links = self.link_rows_of(&links).await?.into_iter();
        let ended: Vec<Vec<IntentId>> = jobs.iter().map(StepJob::ended).collect();
        let mut open = self.intents_of(&ended.concat()).await?;
        let ending = jobs.iter().zip(claims.iter().zip(&ended)).filter(|(job, _)| job.end.is_some());
        let ending: Vec<_> = ending.map(|(job, (claim, ended))| (claim, ended.as_slice(), job.now)).collect();
        let mut stored = self.stored_at_end(&ending).await?.into_iter();

        let mut batch = Vec::with_capacity(jobs.len());
        let mut is_prefix = true;
        for ((job, claim), ended) in jobs.iter_mut().zip(claims).zip(ended) {
            let link = put(job).and_then(|_| links.next()).unwrap_or_default();
            let at_end = job.end.as_ref().and_then(|_| stored.next()).unwrap_or_default();
            let mut taken = ended.iter().map_while(|id| open.remove(id)).collect::<Vec<_>>();
            let is_simple = taken.len() == ended.len()
                && taken.iter().all(|(intent, approval)| {
                    approval.is_none()
                        && leaves_only_a_change(&intent.operation)
                        && intent.pair == claim.pair
                        && intent.subject == claim.subject
                });
            job.is_alone = link.of_another || at_end != StoredAtEnd::default() || !is_simple;
            is_prefix &= !job.is_alone;
            if is_prefix {
                taken.truncate(job.step.resolved.len());
                let resolved = taken.into_iter().map(|(intent, _)| intent).collect();
                batch.push(Batchable { claim, given: link.given, resolved });
            }
        }
        Ok(if batch.len() < 2 { Vec::new() } else { batch })
    }

    /// Returns the claims of the longest prefix of these steps that may be written in one batch, as far as memory shows
    /// it.
    fn claims_of_batch(&self, jobs: &[StepJob]) -> Vec<Claim> {
        let (mut claims, mut tokens, mut accounts) = (Vec::with_capacity(jobs.len()), HashSet::new(), HashSet::new());
        for job in jobs {
            let Some(claim) = self.memory.find(job.token).filter(|claim| job.may_be_batched(claim)) else { break };
            let free = put(job).is_none_or(|link| {
                let holder = self.memory.holds_account(claim.no.target, &link.account);
                holder.is_none_or(|holder| holder == job.token)
                    && accounts.insert((claim.no.target, link.account.clone()))
            });
            if !free || !tokens.insert(job.token) {
                break;
            }
            claims.push(claim);
        }
        claims
    }

    /// Writes a batch.
    pub(super) async fn write_steps(&mut self, jobs: &[StepJob], batch: &[Batchable]) -> StoreResult<Vec<Stepped>> {
        let both = || jobs.iter().zip(batch);
        let ended: Vec<IntentId> = jobs.iter().flat_map(StepJob::ended).collect();
        self.delete_intents(&ended).await?;
        let changes: Vec<_> = both()
            .flat_map(|(job, stored)| {
                let outcomes = job.step.resolved.iter().map(|one| &one.outcome);
                stored.resolved.iter().zip(outcomes).map(|(intent, outcome): (&OpenIntent, &ChangeOutcome)| {
                    NewChange::of_intent(stored.claim.no, intent, outcome, job.now)
                })
            })
            .collect();
        // Work on a subject that ends is an observation, as is an answer to one of its writes.
        let observed = both().filter(|(job, stored)| !stored.resolved.is_empty() || job.end.is_some());
        let observed: Vec<&Claim> = observed.map(|(_, stored)| &stored.claim).collect();
        self.write_changes_observed(&changes, &observed).await?;

        let links: Vec<_> =
            both().filter_map(|(job, stored)| Some((stored.claim.no, put(job)?, &stored.given))).collect();
        self.put_links(&links).await?;
        for (link, stored) in both().filter_map(|(job, stored)| Some((put(job)?, stored))) {
            let undo = self.memory.add_account(stored.claim.token, &link.account);
            self.undo_with(undo);
        }
        let next: Vec<_> = both().map(|(job, stored)| (&stored.claim, job.step.next.as_slice())).collect();
        let mut ids = self.write_intents(&next).await?.into_iter();

        for (_, stored) in both().filter(|(job, _)| job.end.is_some()) {
            self.release(stored.claim.token)?;
            self.wake = true;
        }
        let stepped = |job: &StepJob| match job.step.next.len() {
            0 => Stepped::Written,
            some => Stepped::Send(ids.by_ref().take(some).collect()),
        };
        Ok(jobs.iter().map(stepped).collect())
    }
}

/// Returns the link that a step puts.
fn put(job: &StepJob) -> Option<&Link> {
    match &job.step.link {
        Some(LinkWrite::Put(link)) => Some(link),
        _ => None,
    }
}

/// Returns the answer to the callers of a batch that was written.
pub(super) fn answer(jobs: Vec<StepJob>, stepped: Vec<Stepped>) -> Answer {
    Box::new(move |committed| {
        for (job, stepped) in jobs.into_iter().zip(stepped) {
            let _ = job.reply.send(committed.clone().map(|()| stepped));
        }
    })
}
