//! Joining one group: many accounts by few writes.

use jiff::Timestamp;

use super::{ScimTarget, members::Added};
use crate::{
    model::{AccountId, ErrorClass, TargetGroupId},
    target::{
        Applied, TargetError,
        TargetErrorKind::{NotDone, NotFound, NotPossible},
        rest::{Came, Join},
    },
};

/// So many accounts join a group by one write, at most. No server says how many it takes; AWS IAM Identity Center takes 100.
pub(super) const ACCOUNTS_AT_ONCE: usize = 50;

struct Joining<'a> {
    scim: &'a ScimTarget,
    group: &'a TargetGroupId,
    group_name: &'a str,
    account: &'a AccountId,
    what: &'a str,
    deadline: Timestamp,
}

impl Join for Joining<'_> {
    type Member = AccountId;

    fn member(&self) -> AccountId {
        self.account.clone()
    }

    async fn alone(&self) -> Result<Applied, TargetError> {
        self.scim.add_alone(self.group, self.account, self.what, self.deadline).await
    }

    async fn together(&self, members: &[AccountId], deadline: Timestamp) -> Result<Came, TargetError> {
        let what = format!("adding {} accounts to {}", members.len(), self.group_name);
        let members: Vec<&AccountId> = members.iter().collect();
        match self.scim.add_members(self.group, &members, &what, deadline).await {
            Ok(Added::Done) => Ok(Came::Done),
            Ok(Added::Refused(_)) => Ok(Came::Singly),
            // Where the group is written back whole.
            Err(error)
                if matches!(
                    error.kind,
                    NotFound | NotPossible | NotDone(ErrorClass::Permanent | ErrorClass::Forbidden)
                ) =>
            {
                Ok(Came::Singly)
            }
            Err(error) => Err(error),
        }
    }
}

impl ScimTarget {
    /// Adds a member, by one write with those who join the same group at the same time.
    pub(super) async fn add_member(
        &self,
        (group, group_name): (&TargetGroupId, &str),
        account: &AccountId,
        name: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("adding {name} to {group_name}");
        let join = Joining { scim: self, group, group_name, account, what: &what, deadline };
        self.joins.send(group, &what, &join, deadline).await
    }
}
