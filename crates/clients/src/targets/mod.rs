//! Targets: directories that usersync writes. Product-specific behaviour stays in each product's folder; the other
//! modules see only [`Capabilities`].

pub mod bitbucket;
pub mod confluence;
pub mod crowd;
pub mod http;
pub mod jira;
mod kind;
mod left_open;
mod registry;
mod rest;
pub mod scim;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::rest::Rest;
pub use kind::{NoToken, TargetConfig, TargetKind};
pub use left_open::{LeftOpen, left_open};
pub use registry::{KINDS, build};
pub use rest::{ClientCredentials, Credentials, ProtectionSettings};
pub use usersync_core::{
    capabilities::{Capabilities, CaseRule, Deactivation, ProtectedGroups},
    note::{Note, NoteState},
};
pub use writes::{AccountRef, GroupRef, GroupWrites, MemberWrites, UserWrites, WriteResult, Writes};

use crate::{
    meter::CallMeter,
    model::{Account, AccountId, ErrorClass, Operation, TargetGroup, TargetGroupId, TargetIdentity},
};

/// Maximum number of groups read concurrently to find an account's memberships.
const CONCURRENT_GROUP_READS: usize = 4;

/// The result of a first contact with a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Identity of the target.
    pub identity: TargetIdentity,
    /// Product and version, as `Jira Data Center 10.3.5`.
    pub product: String,
    /// Login of the account that usersync works with; or `application NAME`, which is not a login.
    pub signed_in_as: String,
    /// Operations and limits of the target.
    pub capabilities: Capabilities,
    /// Permissions present and missing, licence seats, clock: one note each for `usersync check`.
    pub notes: Vec<Note>,
}

/// An error at a target, with a message for operators.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text}")]
pub struct TargetError {
    /// Meaning of the error for the operation.
    pub kind: TargetErrorKind,
    /// One readable line: the object, what happened, what to do. Contains no secret.
    pub text: String,
    /// Delay that the server requests (`Retry-After`); `None`: not given.
    pub retry_after: Option<SignedDuration>,
}

/// Meaning of an error for its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetErrorKind {
    /// The request may have arrived and taken effect; only a read of the target shows whether it did.
    Unanswered,
    /// The request was answered or never sent, and nothing was done. The class decides whether to retry.
    NotDone(ErrorClass),
    /// The name is taken; re-read the target.
    NameTaken,
    /// The account or group does not exist.
    NotFound,
    /// The target never supports this operation for this object (read-only directory, lead of a project). Reported
    /// once, never retried.
    Unsupported,
}

impl TargetError {
    /// Whether the same call would be refused again.
    pub fn is_permanent(&self) -> bool {
        matches!(self.kind, TargetErrorKind::Unsupported | TargetErrorKind::NotDone(ErrorClass::Permanent))
    }

    /// The class under which the error is counted and retried.
    pub fn class(&self) -> ErrorClass {
        match self.kind {
            TargetErrorKind::Unanswered | TargetErrorKind::NameTaken | TargetErrorKind::NotFound => {
                ErrorClass::Transient
            }
            TargetErrorKind::NotDone(class) => class,
            TargetErrorKind::Unsupported => ErrorClass::Permanent,
        }
    }
}

/// Result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The created account.
    Account(Account),
    /// The created group.
    Group(TargetGroup),
    /// Done, without further data.
    Done,
    /// Done, after something else was changed at the target that stood in its way: what, as the second half of a
    /// sentence.
    DoneWith(String),
    /// A success status that the vendor does not document for this call; a proxy may have sent it. The change counts
    /// only if a read confirms it.
    Undocumented,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Entries of the page.
    pub items: Vec<T>,
    /// Cursor of the next page; `None` at the end.
    pub next: Option<String>,
    /// Why the listing may be incomplete; `None`: complete. Nothing is removed after an incomplete listing.
    pub incomplete: Option<String>,
}

/// The first page of a group's members, and the total number of members; `None`: not reported.
pub type FirstMembers = (Page<AccountId>, Option<usize>);

/// Members of groups from one bulk listing; see [`Target::memberships`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// Logins of all direct members, as the target spells them, for each group that was requested and returned.
    pub logins: BTreeMap<TargetGroupId, Vec<Arc<str>>>,
    /// Ids of all direct members, where the target returns ids.
    pub ids: BTreeMap<TargetGroupId, Vec<AccountId>>,
}

/// Result of adding several accounts to a group with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddedMembers {
    /// All of them are members.
    All,
    /// Nothing was done: one of the accounts may be the cause, or there are too many.
    Refused,
}

/// A directory that usersync writes. Every operation is idempotent: repeating it succeeds (already a member, already
/// gone, already inactive).
#[async_trait]
pub trait Target: Send + Sync {
    /// Returns the kind as in the configuration: `jira`.
    fn kind(&self) -> &'static str;

    /// Signs in and reads the target's identity and capabilities.
    async fn probe(&self) -> Result<TargetInfo, TargetError>;

    /// Returns an account by stable id, with its groups.
    async fn account(&self, id: &AccountId) -> Result<Option<Account>, TargetError>;

    /// Returns an account by login, by the target's case rule, with its groups.
    async fn account_named(&self, name: &str) -> Result<Option<Account>, TargetError>;

    /// Returns the accounts with this e-mail address, compared without case, inactive ones included; their groups may
    /// be missing. Only for targets with [`Capabilities::finds_by_email`].
    async fn accounts_with_email(&self, email: &str) -> Result<Vec<Account>, TargetError> {
        let _ = email;
        Err(rest::unsupported(format!("searching accounts by e-mail address: {} has no such search.", self.kind())))
    }

    /// Returns the accounts with this value of an attribute, inactive ones included; their groups may be missing. Only
    /// for targets with [`Capabilities::finds_by_attribute`].
    async fn accounts_with_attribute(&self, attribute: &str, value: &str) -> Result<Vec<Account>, TargetError> {
        let _ = value;
        Err(rest::unsupported(format!("searching accounts by {attribute}: {} has no such search.", self.kind())))
    }

    /// Returns one page of all accounts, inactive ones included; their groups may be missing.
    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError>;

    /// Returns the account that usersync signs in with. [`accounts`](Target::accounts) must list it: a listing without
    /// it is incomplete. `None` where usersync signs in without an account.
    async fn own_account(&self) -> Result<Option<AccountId>, TargetError> {
        Ok(None)
    }

    /// Returns a group by name, by the target's case rule.
    async fn group_named(&self, name: &str) -> Result<Option<TargetGroup>, TargetError>;

    /// Returns one page of a group's members, inactive ones included; `None` if there is no such group.
    async fn members(
        &self,
        group: &TargetGroupId,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError>;

    /// Returns the first page of a group's members, with the total where the target reports it; `None` if there is no
    /// such group. [`members`](Target::members) continues from there.
    async fn first_members(&self, group: &TargetGroupId) -> Result<Option<FirstMembers>, TargetError> {
        Ok(self.members(group, None).await?.map(|page| (page, None)))
    }

    /// Returns the direct members of these groups, inactive ones included, from one bulk listing of all memberships.
    /// `None` if the target has no such listing, or if its answer is incomplete; then use [`members`](Target::members).
    /// A group that the answer omits needs [`members`](Target::members) too: the omission does not mean that the group
    /// is missing.
    async fn memberships(&self, groups: &BTreeSet<TargetGroupId>) -> Result<Option<Memberships>, TargetError> {
        let _ = groups;
        Ok(None)
    }

    /// Whether an account is a member of a group, according to the group's own list; `None` if there is no such group.
    ///
    /// # Errors
    /// [`ErrorClass::Unconfirmed`] if the list is incomplete and does not name the account.
    async fn has_member(&self, group: &TargetGroupId, account: &AccountId) -> Result<Option<bool>, TargetError> {
        let (mut cursor, mut incomplete): (Option<String>, Option<String>) = (None, None);
        loop {
            let Some(page) = self.members(group, cursor.as_deref()).await? else { return Ok(None) };
            if page.items.contains(account) {
                return Ok(Some(true));
            }
            incomplete = incomplete.or(page.incomplete);
            if page.next.is_none() || page.next == cursor {
                return match incomplete {
                    Some(why) => Err(rest::unconfirmed(format!("reading the members of {group}: incomplete, {why}."))),
                    None => Ok(Some(false)),
                };
            }
            cursor = page.next;
        }
    }

    /// Returns those of `groups` that an account is a member of, read from the groups' member lists. Used for an
    /// account with a missing or truncated list of groups.
    ///
    /// # Errors
    /// [`ErrorClass::Unconfirmed`] if one of them cannot be read completely.
    async fn groups_among(
        &self,
        account: &AccountId,
        groups: &BTreeSet<TargetGroupId>,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        let read = |group: TargetGroupId| async move {
            let member = self.has_member(&group, account).await?;
            Ok((member == Some(true)).then_some(group))
        };
        let found: Vec<Option<TargetGroupId>> =
            stream::iter(groups.iter().cloned().map(read)).buffered(CONCURRENT_GROUP_READS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Applies one operation. Sends nothing after `deadline`.
    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError>;

    /// Adds an account to several groups (id and name of each) with one call, before `deadline`. Returns the groups
    /// that were refused; the caller adds the account to each of them separately. Only for targets with such a call,
    /// and for at most [`Capabilities::groups_at_once`] groups.
    ///
    /// # Errors
    /// Nothing was done, or the kind is [`TargetErrorKind::Unanswered`].
    async fn add_to_groups(
        &self,
        account: &AccountId,
        name: &str,
        groups: &[(&TargetGroupId, &str)],
        deadline: Timestamp,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        let _ = (account, groups, deadline);
        Err(TargetError {
            kind: TargetErrorKind::Unsupported,
            text: format!("adding {name} to groups: {} accepts one at a time.", self.kind()),
            retry_after: None,
        })
    }

    /// Ends the open sessions of a deactivated account, before `deadline`, where the target has a call for that.
    /// Idempotent: sent again after a lost answer.
    async fn end_sessions(&self, name: &str, deadline: Timestamp) -> Result<(), TargetError> {
        let _ = (name, deadline);
        Ok(())
    }

    /// Returns the maximum number of accounts that one call adds to a group. If it is above 1, a full reconcile
    /// collects additions and sends them with [`add_members`](Target::add_members). Accounts are then addressed by id
    /// only.
    fn max_members_per_call(&self) -> usize {
        1
    }

    /// Adds accounts to a group (id and name) with one call, before `deadline`.
    ///
    /// # Errors
    /// The error applies to each of the accounts.
    async fn add_members(
        &self,
        group: &TargetGroupId,
        group_name: &str,
        accounts: &[AccountId],
        deadline: Timestamp,
    ) -> Result<AddedMembers, TargetError> {
        let _ = (group, group_name, accounts, deadline);
        Ok(AddedMembers::Refused)
    }

    /// Whether accounts do not show their groups, so that reading memberships takes one call per group. A task then
    /// reads only the memberships that change according to usersync's record; full reconciles read all.
    fn reads_memberships_by_group(&self) -> bool {
        false
    }

    /// Returns how many accounts the licence still allows to create or activate; `None`: unlimited or not reported.
    async fn free_seats(&self) -> Result<Option<u64>, TargetError> {
        Ok(None)
    }

    /// Whether the target shows memberships at all. If no call shows any, usersync works from its own record of the
    /// memberships that it added.
    fn shows_memberships(&self) -> bool {
        true
    }

    /// Returns notes on unexpected behaviour observed while the target was in use, for `usersync check` and runs.
    fn observed(&self) -> Vec<Note> {
        Vec::new()
    }

    /// Returns the REST interface that the methods below use; `None`: the target has none.
    #[doc(hidden)]
    fn rest(&self) -> Option<&Rest> {
        None
    }

    /// Waits until the server accepts calls again after a temporary refusal (429).
    ///
    /// # Errors
    /// [`ErrorClass::Throttled`] if that takes longer than the longest wait of a call.
    async fn until_open(&self) -> Result<(), TargetError> {
        match self.rest() {
            Some(rest) => rest.until_open().await,
            None => Ok(()),
        }
    }

    /// Counts all further calls in `meter`.
    fn attach(&self, meter: &CallMeter) {
        if let Some(rest) = self.rest() {
            rest.attach(meter);
        }
    }

    /// Allows refused credentials to be sent with the next call. Otherwise they are not sent until they change.
    fn forget_refusal(&self) {
        if let Some(rest) = self.rest() {
            rest.auth.forget();
        }
    }

    /// Whether the last refusal reported a locked user (a CAPTCHA, too many failed sign-ins). Every further attempt
    /// makes it worse, so only an operator can have the same credentials sent again.
    fn locked_out(&self) -> bool {
        self.rest().is_some_and(|rest| rest.auth.locked_out())
    }
}
