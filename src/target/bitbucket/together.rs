//! Joining one group: many accounts by few calls.

use jiff::Timestamp;
use reqwest::Method;

use super::{BitbucketTarget, wire::GroupAndUsers};
use crate::{
    model::{AccountId, TargetGroupId},
    target::{
        Applied, TargetError,
        rest::{Ask, Came, Join},
    },
};

/// So many accounts join a group by one call, at most.
pub(super) const USERS_AT_ONCE: usize = 100;

/// An account that joins by its login.
pub(super) struct Member {
    account: AccountId,
    login: String,
}

struct Joining<'a> {
    bitbucket: &'a BitbucketTarget,
    group: &'a str,
    account: &'a AccountId,
    login: &'a str,
    what: &'a str,
    deadline: Timestamp,
}

impl Join for Joining<'_> {
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
    async fn together(&self, members: &[Member], deadline: Timestamp) -> Result<Came, TargetError> {
        let what = format!("adding {} users to {}", members.len(), self.group);
        let users = members.iter().map(|member| member.login.as_str()).collect();
        let ask = Ask::new(Method::POST, "/admin/groups/add-users", &what)
            .deadline(Some(deadline))
            .json(&GroupAndUsers { group: self.group, users })?;
        let answer = self.bitbucket.rest.ask(&ask).await?;
        Ok(if answer.status.is_success() { Came::Done } else { Came::Singly })
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
        self.can_join(account, login, &what, Some(deadline)).await?;
        let join = Joining { bitbucket: self, group, account, login, what: &what, deadline };
        self.joins.send(id, &what, &join, deadline).await
    }
}
