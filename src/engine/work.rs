//! Works one claim to its end, whatever its origin and whatever errors occur.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::{
    case::{RunRules, Unfinished, Worked},
    error::WorkError,
    ports::Engine,
    user::Walked,
};
use crate::{
    gate::turn_within,
    model::{Subject, Token},
    store::{Claimed, StoreError},
};

/// Abandons a claim unless its end was written, so that no claim stays held however the work ends.
struct Unended<'e> {
    engine: &'e Engine,
    token: Token,
    ended: bool,
}

impl Drop for Unended<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.engine.store.abandon(self.token, self.engine.clock.now());
        }
    }
}

impl Engine {
    /// Works one claim to its end. The claim is always released, even if its end cannot be written, the work panics, or
    /// this future is dropped.
    pub async fn work(&self, claim: Claimed) -> Result<Worked, WorkError> {
        let (worked, error) = self.work_to_end(claim).await;
        error.map_or(Ok(worked), Err)
    }

    /// Works one claim to its end, and also returns the results up to an error.
    pub async fn work_to_end(&self, claim: Claimed) -> (Worked, Option<WorkError>) {
        self.work_claim(claim, Walked::default(), &RunRules::default()).await
    }

    /// Works one claim to its end, from the reads of a full reconcile or from its own reads.
    pub(super) async fn work_claim(
        &self,
        claim: Claimed,
        walked: Walked,
        rules: &RunRules,
    ) -> (Worked, Option<WorkError>) {
        let mut claimed = Unended { engine: self, token: claim.token, ended: false };
        match turn_within(self.times.task_turn, self.work_guarded(claim, walked, rules)).await {
            Ok(worked) => {
                claimed.ended = true;
                (worked, None)
            }
            Err(Unfinished { error: error @ WorkError::Store(StoreError::ClaimEnded), worked, .. }) => {
                (worked, Some(error))
            }
            Err(Unfinished { claim, error, worked, failed }) => {
                claimed.ended = self.give_back(&claim, &error, failed).await;
                (worked, Some(error))
            }
        }
    }

    /// Limits the effect of a panic to the work on this subject.
    async fn work_guarded(&self, claim: Claimed, walked: Walked, rules: &RunRules) -> Result<Worked, Unfinished> {
        let kept = claim.clone();
        let work = Box::pin(async {
            match claim.subject.clone() {
                Subject::User(user) => Box::pin(self.work_user(claim, user, walked, rules)).await,
                Subject::Group(group) => self.work_group(claim, group, walked.group_work, rules).await,
            }
        });
        let panic = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(ended) => return ended,
            Err(panic) => panic,
        };
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        tracing::error!(
            pair = %kept.pair, subject = %kept.subject,
            "internal error of usersync: {text}. Report it with the log of that time."
        );
        Err(Unfinished::at_once(kept, WorkError::Bug))
    }
}
