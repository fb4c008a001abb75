//! One claim, whoever took it: worked to its end, whatever happens on the way.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::{
    case::{RunRules, Unfinished, Worked},
    error::WorkError,
    ports::Engine,
    user::Walked,
};
use crate::{
    model::Subject,
    store::{Claimed, StoreError},
};

impl Engine {
    /// Works one claim to its end, and gives it back whatever happens.
    pub async fn work(&self, claim: Claimed) -> Result<Worked, WorkError> {
        let (worked, error) = self.work_to_end(claim).await;
        error.map_or(Ok(worked), Err)
    }

    /// The same; also returns what was done before an error.
    pub async fn work_to_end(&self, claim: Claimed) -> (Worked, Option<WorkError>) {
        match self.work_claim(claim, Walked::default(), &RunRules::default()).await {
            Ok(worked) => (worked, None),
            Err(Unfinished { claim, error, worked }) => {
                if !matches!(error, WorkError::Store(StoreError::ClaimEnded)) {
                    self.give_back(&claim, &error).await;
                }
                (worked, Some(error))
            }
        }
    }

    /// Works one claim from what a walk saw, or from a look of its own. A panic ends only this piece of work.
    pub(super) async fn work_claim(
        &self,
        claim: Claimed,
        walked: Walked,
        rules: &RunRules,
    ) -> Result<Worked, Unfinished> {
        let kept = claim.clone();
        let work = async {
            match claim.subject.clone() {
                Subject::User(user) => self.work_user(claim, user, walked, rules).await,
                Subject::Group(group) => self.work_group(claim, group, rules).await,
            }
        };
        let panic = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(ended) => return ended,
            Err(panic) => panic,
        };
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it does not say why");
        tracing::error!(pair = %kept.pair, subject = %kept.subject, "usersync failed while it worked this: {text}");
        Err(Unfinished::at_once(kept, WorkError::Bug))
    }
}
