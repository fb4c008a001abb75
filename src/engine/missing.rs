//! Linked accounts that the target does not find.
//!
//! One "not found" proves nothing: a stale node, a disabled directory or a resync gives this answer for accounts that
//! are back a minute later. The link stays, marked with the time since when its account is missing. The account counts
//! as gone only if two reads after [`super::EngineTimes::account_gone`] do not find it. Between the two, another linked
//! account must be found. Only then is the link dropped, within its own safety limit. The dropped link is kept in case
//! the account comes back. The account of a user that left is read every [`super::EngineTimes::dropped_recheck`] for a
//! day, later by full reconciles only.

use jiff::{SignedDuration, Timestamp};

use super::{case::Case, error::WorkError, ledger::Fate, user::Round};
use crate::{
    model::{Action, LeaverAction, Limited, Link, NewApprovalItem},
    plan::{self, Presence},
    store::{Adopted, LinkWrite, Step, Stepped},
};

/// Maximum number of other accounts that are read before the answers of the target count as unconfirmed.
const OTHER_ACCOUNTS: usize = 3;

impl Case<'_> {
    /// Records that the linked account was not found. Returns whether it has been missing long enough to be gone.
    pub(super) async fn is_missing_for_long(&mut self) -> Result<bool, WorkError> {
        // Another server at the same address has none of the accounts.
        self.engine.probe(&self.port).await?;
        let now = self.engine.clock.now();
        let Some(link) = self.link.as_mut() else { return Ok(false) };
        let since = if let Some(since) = link.missing_since {
            since
        } else {
            link.missing_since = Some(now);
            tracing::warn!(
                pair = %self.claim.pair, subject = %self.claim.subject,
                "the linked account is not found at the target; usersync keeps the link and re-reads the account"
            );
            self.keep_link();
            now
        };
        Ok(now.duration_since(since) >= self.engine.times.account_gone)
    }

    /// Fails unless the target finds the account of another link, or usersync's own account where there is no other
    /// link.
    pub(super) async fn confirm_other_account(&self) -> Result<(), WorkError> {
        let Some(link) = &self.link else { return Ok(()) };
        let pair = &self.claim.pair;
        let mut read = 0;
        for user in self.engine.store.seen_alive(pair, &link.user, OTHER_ACCOUNTS).await? {
            let Some(other) = self.engine.store.link(pair, &user).await? else { continue };
            read += 1;
            if self.port.target.account(&other.account).await?.is_some() {
                return Ok(());
            }
        }
        if read == 0 && self.port.target.account_named(&self.info.signed_in_as).await?.is_some() {
            return Ok(());
        }
        Err(WorkError::Unconfirmed(format!(
            "{}: the account {} is not found, but no other linked account is found either, so its absence is not \
             confirmed. Check the user directories of {}",
            pair.target, link.name, pair.target
        )))
    }

    /// Defers the task until the next read of the missing account.
    pub(super) async fn recheck_missing(&mut self) -> Result<(), WorkError> {
        let times = &self.engine.times;
        let Some((name, since)) = self.link.as_ref().and_then(|link| Some((link.name.clone(), link.missing_since?)))
        else {
            return self.defer(times.account_recheck).await;
        };
        let missing = self.engine.clock.now().duration_since(since);
        let left = (times.account_gone - missing).max(SignedDuration::ZERO);
        self.worked.findings.unconfirmed.push(missing_account(&name, since));
        self.defer(missing.min(left).max(times.account_recheck)).await
    }

    /// Drops the link of an account that is gone. Returns `false` if the link is kept: limit reached, or rejected.
    pub(super) async fn drop_link(&mut self) -> Result<bool, WorkError> {
        let Some(link) = self.link.clone() else { return Ok(true) };
        let action = Action::drop_link(&link);
        self.worked.ledger.plan(action.clone(), &self.fingerprint);
        let item = NewApprovalItem::dropped_link(&link);
        let approved_by = self.approval(&item);
        if approved_by.is_none() && self.is_rejected(&item) {
            self.set_aside.insert(item.key);
            return Ok(false);
        }
        let limit = match approved_by {
            Some(_) => None,
            None => Some(self.limit(Limited::DropLink).await?),
        };
        self.flush().await?;
        let why = format!("its account is gone from {}", self.claim.pair.target);
        let write = LinkWrite::Drop { why, limit, approved_by };
        if let Stepped::LimitReached { .. } = self.write(Step { link: Some(write), ..Step::default() }).await? {
            self.hold(item);
            return Ok(false);
        }
        self.link = None;
        self.claim.dropped.push(link);
        self.worked.ledger.end(action.clone(), Fate::Done);
        self.worked.linked.push(action);
        Ok(true)
    }

    /// Ends the work on a user. The account of a user that left may come back with access, so it is read again for a
    /// limited time.
    pub(super) async fn unless_it_may_return(&mut self, presence: &Presence) -> Result<Round, WorkError> {
        let (now, times) = (self.engine.clock.now(), &self.engine.times);
        let seen_recently =
            |link: &Link| link.missing_since.is_some_and(|since| now.duration_since(since) < times.dropped_believed);
        let acts = plan::leaver_action(presence, &self.connector.policy.leavers) > Some(LeaverAction::Nothing);
        if self.link.is_some() || !acts || !self.claim.dropped.iter().any(seen_recently) {
            return Ok(Round::Complete);
        }
        self.defer(times.dropped_recheck).await?;
        Ok(Round::Released)
    }

    /// Links the account of a dropped link again if it is back, with everything that was recorded of it.
    pub(super) async fn restore_dropped(&mut self) -> Result<(), WorkError> {
        if self.link.is_some() {
            return Ok(());
        }
        for dropped in std::mem::take(&mut self.claim.dropped) {
            let Some(account) = self.port.target.account(&dropped.account).await? else {
                self.claim.dropped.push(dropped);
                continue;
            };
            let link = Link { name: account.name, missing_since: None, ..dropped };
            let user = link.user.clone();
            match self.engine.store.adopt(self.claim.token, link, None, self.engine.clock.now()).await? {
                Adopted::Linked => {
                    self.link = self.engine.store.link(&self.claim.pair, &user).await?;
                    self.claim.intents = self.engine.store.open_intents(self.claim.token).await?;
                    return Ok(());
                }
                Adopted::LinkedElsewhere { .. } => {}
                Adopted::Busy { .. } => return Err(WorkError::Unsteady(self.claim.subject.to_string())),
            }
        }
        Ok(())
    }
}

/// Returns the report about a linked account that is not found.
pub(super) fn missing_account(name: &str, since: Timestamp) -> String {
    format!(
        "{name}: the linked account has been missing at the target since {since:.0}; usersync keeps the link and \
         re-reads the account"
    )
}
