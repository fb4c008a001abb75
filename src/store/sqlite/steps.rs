//! One step of a worker: resolves intents, writes what the worker learned, and stores the next intents (rule: an ended
//! claim writes nothing).

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::{memory::Claim, tx::Tx};
use crate::{
    model::{Cause, ChangeOutcome, Limited, Operation, Priority, Token},
    store::{LinkWrite, Step, Stepped, StoreError, StoreResult},
};

impl Tx {
    pub(super) async fn step(&mut self, token: Token, step: Step, now: Timestamp) -> StoreResult<Stepped> {
        let claim = self.held(token)?;
        let mut given_before = BTreeSet::new();
        // All checks that can refuse the step come before the first write.
        if let Some(LinkWrite::Put(link)) = &step.link {
            if claim.subject.as_user() != Some(&link.user) {
                return Err(StoreError::Failed(format!("{} is not the claimed {}", link.user, claim.subject)));
            }
            let elsewhere =
                self.memory.holds_account(claim.no.target, &link.account).is_some_and(|holder| holder != token);
            let known = self.link_rows(claim.no, link).await?;
            if elsewhere || known.of_another {
                return Ok(Stepped::AccountTaken);
            }
            given_before = known.given;
        }
        for next in &step.next {
            // A group's claim does not hold the account, so it removes only one that no link and no claim has.
            if claim.subject.as_user().is_none()
                && let Some(account) = next.operation.account()
                && (self.memory.holds_account(claim.no.target, account).is_some()
                    || self.linked(claim.no.target, account).await?.is_some())
            {
                return Ok(Stepped::AccountTaken);
            }
        }
        for item in step.next.iter().filter_map(|next| next.approved_by) {
            self.check_approved(&claim, item).await?;
        }
        let ids: Vec<_> = step.resolved.iter().map(|one| one.intent).chain(step.unsent.iter().copied()).collect();
        let mut resolved = self.take_intents(&ids).await?;
        for (open, _) in resolved.drain(step.resolved.len()..) {
            if open.pair != claim.pair || open.subject != claim.subject {
                return Err(StoreError::Failed(format!("intent {} is not the claimed {}'s", open.id, claim.subject)));
            }
        }
        let resolved: Vec<_> = resolved.into_iter().zip(step.resolved.iter().map(|one| &one.outcome)).collect();

        for ((_, approval), outcome) in &resolved {
            if let Some(approval) = approval {
                self.use_up(*approval, outcome).await?;
            }
        }
        let ended: Vec<_> = resolved.iter().map(|((intent, _), outcome)| (intent, *outcome)).collect();
        self.resolve_intents(&ended, Some(&claim), now).await?;
        for (intent, outcome) in ended {
            if outcome.took_effect() {
                let no = self.pair(&intent.pair).await?;
                match &intent.operation {
                    // The login is free now.
                    Operation::RenameUser { .. } | Operation::DeleteUser { .. } | Operation::AnonymizeUser { .. } => {
                        self.wake_waiting(no, &intent.subject, now).await?;
                    }
                    Operation::RenameGroup { group, name, to } => {
                        self.group_renamed(no, &intent.subject, group, (name, to), now).await?;
                    }
                    Operation::DeleteGroup { group, .. } => self.group_deleted(&claim, group, now).await?,
                    _ => {}
                }
            }
        }
        let was = match (&step.order, claim.subject.as_user()) {
            (Some(_), Some(user)) => self.link(claim.no, user).await?.map(|link| link.account),
            _ => None,
        };
        if let Some(done) = self.write_link(&claim, step.link, &given_before, now).await? {
            return Ok(Stepped::LimitReached { done });
        }
        if let Some(end) = &step.order {
            self.end_order(&claim, end, was.as_ref(), now).await?;
        }
        let mut raise = step.raise;
        if let Some(group) = step.group {
            raise.extend(self.concerned(&claim, &group).await?);
            if !self.write_group(&claim, group).await? {
                raise.push(claim.subject.clone());
            }
        }
        if !raise.is_empty() {
            let cause = match claim.cause.clone() {
                Cause::Other { .. } => Cause::Other { what: format!("a change of {}", claim.subject) },
                known => known,
            };
            self.raise(claim.no, &raise, Priority::FanOut, &cause, now).await?;
        }
        if let Some(all) = &step.unsupported {
            self.keep_unsupported(claim.no, &claim.subject, all).await?;
        }
        if step.next.is_empty() {
            return Ok(Stepped::Written);
        }
        let mut limited = HashMap::new();
        for next in &step.next {
            if let (Some(limit), Some(kind)) = (next.limit, next.operation.limited()) {
                let before = limited.entry(kind).or_insert(0);
                let done = self.done_in_last_hour(claim.no, kind, now).await? + *before;
                *before += 1;
                if done >= limit {
                    return Ok(Stepped::LimitReached { done });
                }
            }
        }
        Ok(Stepped::Send(self.write_intents(&[(&claim, &step.next)]).await?))
    }

    /// Writes a link; `given_before` are the groups of a put link so far. A drop above its limit is not written; the number of drops in the last hour is returned instead.
    async fn write_link(
        &mut self,
        claim: &Claim,
        write: Option<LinkWrite>,
        given_before: &BTreeSet<i64>,
        now: Timestamp,
    ) -> StoreResult<Option<u32>> {
        match write {
            None => {}
            Some(LinkWrite::Put(link)) => {
                self.put_link_after(claim.no, &link, given_before).await?;
                let undo = self.memory.add_account(claim.token, &link.account);
                self.undo_with(undo);
            }
            Some(LinkWrite::Remove) => {
                if let Some(user) = claim.subject.as_user() {
                    self.remove_link(claim.no, user).await?;
                    self.wake_waiting(claim.no, &claim.subject, now).await?;
                }
            }
            Some(LinkWrite::Unconfirmed { why }) => self.drop_own_unconfirmed(claim, &why, now).await?,
            Some(LinkWrite::Drop { why, limit, approved_by }) => {
                let done = self.done_in_last_hour(claim.no, Limited::DropLink, now).await?;
                if limit.is_some_and(|limit| done >= limit) {
                    return Ok(Some(done));
                }
                if let Some(item) = approved_by {
                    self.check_approved(claim, item).await?;
                    self.use_up(item, &ChangeOutcome::Done).await?;
                }
                self.drop_link(claim, &why, approved_by.is_some(), now).await?;
            }
        }
        Ok(None)
    }
}
