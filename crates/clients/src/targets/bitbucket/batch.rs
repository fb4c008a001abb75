//! Adds many accounts to one group with few calls.

use jiff::Timestamp;
use reqwest::Method;

use super::{BitbucketTarget, wire::GroupAndUsers};
use crate::{
    model::{AccountId, TargetGroupId},
    targets::{
        Applied, TargetError,
        rest::{Ask, BatchCall, BatchOutcome},
    },
};

/// Maximum number of accounts that one call adds to a group.
pub(super) const MAX_USERS_PER_CALL: usize = 100;

/// An account to add, addressed by its login.
pub(super) struct Member {
    account: AccountId,
    login: String,
}

struct GroupBatch<'a> {
    bitbucket: &'a BitbucketTarget,
    group: &'a str,
    account: &'a AccountId,
    login: &'a str,
    what: &'a str,
    deadline: Timestamp,
}

impl BatchCall for GroupBatch<'_> {
    type Member = Member;

    fn member(&self) -> Member {
        Member { account: self.account.clone(), login: self.login.to_owned() }
    }

    fn still_holds(&self, member: &Member) -> bool {
        self.bitbucket.seen.seen_recently(&member.account, &member.login)
    }

    async fn alone(&self) -> Result<Applied, TargetError> {
        self.bitbucket.add_alone(self.group, self.account, self.login, self.what, self.deadline).await
    }

    /// Bitbucket adds all or none. Its answer for an account that is already a member is undocumented.
    async fn add_batch(&self, members: &[Member], deadline: Timestamp) -> Result<BatchOutcome, TargetError> {
        let what = format!("adding {} users to {}", members.len(), self.group);
        let users = members.iter().map(|member| member.login.as_str()).collect();
        let ask = Ask::new(Method::POST, "/admin/groups/add-users", &what)
            .deadline(Some(deadline))
            .json(&GroupAndUsers { group: self.group, users })?;
        let answer = self.bitbucket.rest.ask(&ask).await?;
        Ok(if answer.status.is_success() { BatchOutcome::Done } else { BatchOutcome::Singly })
    }
}

impl BitbucketTarget {
    /// Adds a member, in one call with concurrent additions to the same group.
    pub(super) async fn add_member(
        &self,
        (id, group): (&TargetGroupId, &str),
        account: &AccountId,
        login: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("adding {login} to {group}");
        // Checked first, so that an account that would be refused does not fail the whole batch.
        self.check_may_add(account, login, &what, Some(deadline)).await?;
        let join = GroupBatch { bitbucket: self, group, account, login, what: &what, deadline };
        self.batches.send(id, &what, &join, deadline).await
    }
}
