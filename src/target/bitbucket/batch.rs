//! Joining one group: many accounts by few calls.

use jiff::Timestamp;
use reqwest::Method;

use super::{BitbucketTarget, wire::GroupAndUsers};
use crate::{
    model::{AccountId, TargetGroupId},
    target::{
        Applied, TargetError,
        rest::{Ask, BatchCall, BatchOutcome},
    },
};

/// So many accounts join a group by one call, at most.
pub(super) const USERS_AT_ONCE: usize = 100;

/// An account that joins by its login.
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
        self.bitbucket.seen.lately(&member.account, &member.login)
    }

    async fn alone(&self) -> Result<Applied, TargetError> {
        self.bitbucket.add_alone(self.group, self.account, self.login, self.what, self.deadline).await
    }

    /// Bitbucket adds all or none, and nowhere is it said what it makes of one who is a member already.
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
    /// Adds a member, by one call with those who join the same group at the same time.
    pub(super) async fn add_member(
        &self,
        (id, group): (&TargetGroupId, &str),
        account: &AccountId,
        login: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("adding {login} to {group}");
        // Whoever would be refused keeps out of the others' call.
        self.check_may_add(account, login, &what, Some(deadline)).await?;
        let join = GroupBatch { bitbucket: self, group, account, login, what: &what, deadline };
        self.batches.send(id, &what, &join, deadline).await
    }
}
