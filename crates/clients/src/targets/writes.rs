//! The writes of a target: one method for each verb, in one trait for each of its files (`users`, `groups`, `members`).

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Applied, TargetError, rest::unsupported};
use crate::model::{AccountId, Operation, TargetGroupId, UserFields, UserId};

/// An existing account.
#[derive(Clone, Copy, Debug)]
pub struct AccountRef<'a> {
    /// Its stable id.
    pub id: &'a AccountId,
    /// Its login as last seen.
    pub name: &'a str,
}

/// An existing group.
#[derive(Clone, Copy, Debug)]
pub struct GroupRef<'a> {
    /// Its stable id.
    pub id: &'a TargetGroupId,
    /// Its name as last seen.
    pub name: &'a str,
}

/// Result of a write.
pub type WriteResult = Result<Applied, TargetError>;

/// Writes to accounts. Each is idempotent, and sends nothing after its deadline.
#[async_trait]
pub trait UserWrites: Send + Sync {
    /// Creates an active account with this login. `external_id` is the user's id at the source, for targets that keep
    /// it; see [`Capabilities::keeps_external_id`](super::Capabilities::keeps_external_id).
    async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        external_id: Option<&UserId>,
        deadline: Timestamp,
    ) -> WriteResult;

    /// Writes the fields that have a value.
    async fn update_user(&self, account: AccountRef<'_>, fields: &UserFields, deadline: Timestamp) -> WriteResult;

    /// Changes the login.
    async fn rename_user(&self, account: AccountRef<'_>, to: &str, deadline: Timestamp) -> WriteResult;

    /// Allows the account to sign in again. `gives` is what a deactivation revoked, for targets without a switch.
    async fn activate_user(&self, account: AccountRef<'_>, gives: &[String], deadline: Timestamp) -> WriteResult;

    /// Prevents the account from signing in. `takes` is what allows it to, for targets without a switch.
    async fn deactivate_user(&self, account: AccountRef<'_>, takes: &[String], deadline: Timestamp) -> WriteResult;

    /// Deletes the account.
    async fn delete_user(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult;

    /// Removes the personal data of the account, which is gone afterwards. Only for targets with
    /// [`Capabilities::anonymize`](super::Capabilities::anonymize).
    async fn anonymize_user(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let _ = deadline;
        Err(unsupported(format!("anonymizing {}: the target has no such call.", account.name)))
    }
}

/// Writes to groups. Each is idempotent, and sends nothing after its deadline.
#[async_trait]
pub trait GroupWrites: Send + Sync {
    /// Creates a group with this name.
    async fn create_group(&self, name: &str, deadline: Timestamp) -> WriteResult;

    /// Changes the name.
    async fn rename_group(&self, group: GroupRef<'_>, to: &str, deadline: Timestamp) -> WriteResult;

    /// Deletes the group.
    async fn delete_group(&self, group: GroupRef<'_>, deadline: Timestamp) -> WriteResult;
}

/// Writes to memberships. Each is idempotent, and sends nothing after its deadline.
#[async_trait]
pub trait MemberWrites: Send + Sync {
    /// Adds the account to the group.
    async fn add_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult;

    /// Removes the account from the group. Succeeds if either is gone.
    async fn remove_member(&self, group: GroupRef<'_>, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult;
}

/// All writes of a target.
#[async_trait]
pub trait Writes: UserWrites + GroupWrites + MemberWrites {
    /// Refuses an operation that the target's protection forbids, before anything is sent.
    async fn check_protection(&self, operation: &Operation, deadline: Timestamp) -> Result<(), TargetError> {
        let _ = (operation, deadline);
        Ok(())
    }

    /// Applies one operation by the method of its verb.
    async fn write(&self, operation: &Operation, deadline: Timestamp) -> WriteResult {
        self.check_protection(operation, deadline).await?;
        match operation {
            Operation::CreateUser { name, fields, external_id } => {
                self.create_user(name, fields, external_id.as_ref(), deadline).await
            }
            Operation::UpdateUser { account: id, name, fields } => {
                self.update_user(AccountRef { id, name }, fields, deadline).await
            }
            Operation::RenameUser { account: id, name, to } => {
                self.rename_user(AccountRef { id, name }, to, deadline).await
            }
            Operation::ActivateUser { account: id, name, gives } => {
                self.activate_user(AccountRef { id, name }, gives, deadline).await
            }
            Operation::DeactivateUser { account: id, name, takes } => {
                self.deactivate_user(AccountRef { id, name }, takes, deadline).await
            }
            Operation::DeleteUser { account: id, name } => self.delete_user(AccountRef { id, name }, deadline).await,
            Operation::AnonymizeUser { account: id, name } => {
                self.anonymize_user(AccountRef { id, name }, deadline).await
            }
            Operation::CreateGroup { name } => self.create_group(name, deadline).await,
            Operation::RenameGroup { group: id, name, to } => {
                self.rename_group(GroupRef { id, name }, to, deadline).await
            }
            Operation::DeleteGroup { group: id, name } => self.delete_group(GroupRef { id, name }, deadline).await,
            Operation::AddMember { group: id, group_name, account, name } => {
                let (group, account) = (GroupRef { id, name: group_name }, AccountRef { id: account, name });
                self.add_member(group, account, deadline).await
            }
            Operation::RemoveMember { group: id, group_name, account, name } => {
                let (group, account) = (GroupRef { id, name: group_name }, AccountRef { id: account, name });
                self.remove_member(group, account, deadline).await
            }
        }
    }
}
