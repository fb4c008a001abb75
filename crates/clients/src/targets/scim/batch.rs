//! Adding many accounts to one group with few writes.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{ScimTarget, members::Added};
use crate::{
    model::{AccountId, ErrorClass, TargetGroupId},
    targets::{
        AddedMembers, Applied, TargetError,
        TargetErrorKind::{NotDone, NotFound, Unsupported},
        rest::{BatchCall, BatchOutcome},
    },
};

struct GroupBatch<'a> {
    scim: &'a ScimTarget,
    group: &'a TargetGroupId,
    group_name: &'a str,
    account: &'a AccountId,
    what: &'a str,
    deadline: Timestamp,
}

impl BatchCall for GroupBatch<'_> {
    type Member = AccountId;

    fn member(&self) -> AccountId {
        self.account.clone()
    }

    async fn alone(&self) -> Result<Applied, TargetError> {
        self.scim.add_alone(self.group, self.account, self.what, self.deadline).await
    }

    async fn add_batch(&self, members: &[AccountId], deadline: Timestamp) -> Result<BatchOutcome, TargetError> {
        let what = format!("adding {} accounts to {}", members.len(), self.group_name);
        let members: Vec<&AccountId> = members.iter().collect();
        match self.scim.add_members(self.group, &members, &what, deadline).await {
            Ok(Added::Done) => Ok(BatchOutcome::Done),
            Ok(Added::Refused(_)) => Ok(BatchOutcome::Singly),
            // The group would be written back whole.
            Err(error)
                if matches!(
                    error.kind,
                    NotFound | Unsupported | NotDone(ErrorClass::Permanent | ErrorClass::Forbidden)
                ) =>
            {
                Ok(BatchOutcome::Singly)
            }
            Err(error) => Err(error),
        }
    }
}

impl ScimTarget {
    /// Returns the maximum number of accounts that one write adds to a group, from the profile and earlier refusals.
    pub(super) fn accounts_at_once(&self) -> usize {
        let most = self.profile.max_members_per_call.max(1);
        match self.learned.too_many.load(Ordering::Relaxed) {
            0 => most,
            refused => most.min((refused / 2).max(1)),
        }
    }

    /// Adds accounts that a full reconcile collected.
    pub(super) async fn add_many(
        &self,
        (group, group_name): (&TargetGroupId, &str),
        accounts: &[AccountId],
        deadline: Timestamp,
    ) -> Result<AddedMembers, TargetError> {
        let count = accounts.len();
        if count > self.accounts_at_once() {
            return Ok(AddedMembers::Refused);
        }
        let what = format!("adding {count} {} to {group_name}", if count == 1 { "account" } else { "accounts" });
        let accounts: Vec<&AccountId> = accounts.iter().collect();
        match self.add_members(group, &accounts, &what, deadline).await {
            Ok(Added::Done) => Ok(AddedMembers::All),
            Ok(Added::Refused(answer)) => {
                if answer.status == StatusCode::PAYLOAD_TOO_LARGE && count > 1 {
                    self.learned.too_many.store(count, Ordering::Relaxed);
                }
                Ok(AddedMembers::Refused)
            }
            // The group would be written back whole.
            Err(error) if error.kind == NotDone(ErrorClass::Permanent) => Ok(AddedMembers::Refused),
            Err(error) => Err(error),
        }
    }

    /// Adds a member, batched with concurrent additions to the same group.
    pub(super) async fn add_member(
        &self,
        (group, group_name): (&TargetGroupId, &str),
        account: &AccountId,
        name: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("adding {name} to {group_name}");
        let join = GroupBatch { scim: self, group, group_name, account, what: &what, deadline };
        self.batches.send(group, &what, &join, deadline).await
    }
}
