//! Verifies by a re-read that a write took effect, where the answer alone does not prove it. A reverse proxy that
//! answers a DELETE itself, with 200 and an empty body, is indistinguishable from a server that executed it.

use super::{case::Case, error::WorkError, recover::shows};
use crate::{
    model::{ErrorClass, Operation},
    store::ChangeFilter,
    targets::{Applied, TargetError, TargetErrorKind},
};

/// Number of a subject's latest changes that are searched for the same operation.
const LATEST: usize = 50;

impl Case<'_> {
    /// Returns an answer, corrected by a re-read of the target. Three answers are verified: the first removal of each
    /// kind since the start of this process, a removal that was done before, and a success that the vendor does not
    /// document.
    pub async fn verified(
        &self,
        operation: &Operation,
        answer: Result<Applied, TargetError>,
    ) -> Result<Applied, TargetError> {
        let undocumented = matches!(answer, Ok(Applied::Undocumented));
        let first = || operation.removes() && !self.port.is_verified(operation.verb());
        let answer = answer?;
        if !undocumented && !first() {
            return Ok(answer);
        }
        // A server with several nodes may show the former state for a moment.
        for wait in std::iter::once(None).chain(self.engine.times.read_back.iter().copied().map(Some)) {
            if let Some(wait) = wait {
                self.engine.clock.sleep(wait).await;
            }
            let shown = self.shown(operation).await.map_err(|error| TargetError {
                kind: TargetErrorKind::Unanswered,
                text: format!("{operation}: usersync could not check whether it took effect. {}", error.text),
                ..error
            })?;
            match shown {
                Some(true) => {
                    self.port.verified(operation.verb());
                    return Ok(if undocumented { Applied::Done } else { answer });
                }
                // The target does not show it, so only its answer is known.
                None => return Ok(if undocumented { Applied::Done } else { answer }),
                Some(false) => {}
            }
        }
        let text = format!(
            "{operation}: the target reported success, but the change did not take effect. A proxy in front of it may \
             answer such requests itself. Let it forward PUT, POST and DELETE, then run: usersync dead replay \
             --target {}",
            self.port.name
        );
        Err(TargetError { kind: TargetErrorKind::NotDone(ErrorClass::Unconfirmed), text, retry_after: None })
    }

    /// Returns whether the target shows the state after an operation; `None`: the target does not show it.
    pub async fn shown(&self, operation: &Operation) -> Result<Option<bool>, TargetError> {
        let target = &self.port.target;
        if let Operation::DeleteGroup { name, .. } = operation {
            return Ok(Some(target.group_named(name).await?.is_none()));
        }
        let Some(id) = operation.account() else { return Ok(None) };
        let account = target.account(id).await?;
        let membership = matches!(operation, Operation::AddMember { .. } | Operation::RemoveMember { .. });
        if membership && !target.shows_memberships() {
            return Ok(None);
        }
        let unread = account.as_ref().is_some_and(|account| account.groups.is_none());
        match operation {
            Operation::AddMember { group, .. } if unread => Ok(Some(target.has_member(group, id).await? == Some(true))),
            Operation::RemoveMember { group, .. } if unread => {
                Ok(Some(target.has_member(group, id).await? != Some(true)))
            }
            Operation::RemoveMember { .. } if account.is_none() => Ok(Some(true)),
            _ => Ok(shows(operation, account.as_ref(), self.info.capabilities.reads_email)),
        }
    }

    /// Reports a removal that is planned although the same one was done last time.
    pub async fn note_repeated(&mut self, operation: &Operation) -> Result<(), WorkError> {
        if !operation.removes() {
            return Ok(());
        }
        let filter = ChangeFilter {
            connector: Some(self.claim.pair.connector.clone()),
            target: Some(self.claim.pair.target.clone()),
            subject: Some(self.claim.subject.clone()),
            limit: LATEST,
            ..ChangeFilter::default()
        };
        let changes = self.engine.store.changes(&filter).await?;
        let about = |change: &crate::model::Change| serde_json::from_value::<Operation>(change.after.clone()).ok();
        let last = changes.iter().find_map(|change| {
            let done = about(change)?;
            (done == *operation || undoes(&done, operation)).then_some((change, done))
        });
        let Some((change, done)) = last else { return Ok(()) };
        let was_done = change.outcome.took_effect();
        if done == *operation && was_done {
            self.port.distrust(operation.verb());
            let text = format!(
                "{operation}: planned again, although it was done at {:.0}. Either the target did not apply it, or it \
                 was reverted there.",
                change.at
            );
            if !self.worked.findings.repeated.contains(&text) {
                self.worked.findings.repeated.push(text);
            }
        }
        Ok(())
    }
}

/// Returns whether one operation undoes the other.
fn undoes(one: &Operation, other: &Operation) -> bool {
    match (one, other) {
        (Operation::AddMember { group, account, .. }, Operation::RemoveMember { group: left, account: who, .. }) => {
            group == left && account == who
        }
        (Operation::ActivateUser { account, .. }, Operation::DeactivateUser { account: who, .. }) => account == who,
        (Operation::CreateGroup { name }, Operation::DeleteGroup { name: gone, .. }) => name == gone,
        _ => false,
    }
}
