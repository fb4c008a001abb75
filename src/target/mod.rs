//! Targets: directories that are written. Each product's quirks stay in its own folder and are told to the rest only
//! as [`Capabilities`].

pub mod bitbucket;
pub mod confluence;
pub mod crowd;
pub mod http;
pub mod jira;
mod left_open;
mod registry;
mod rest;
pub mod scim;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use left_open::{LeftOpen, left_open};
pub use registry::{KINDS, NoToken, TargetKind, build};
pub use rest::{ClientCredentials, Credentials};
pub use usersync_core::{
    capabilities::{Capabilities, CaseRule, Deactivation, ProtectedGroups},
    note::{Note, NoteState},
};

use crate::{
    model::{Account, AccountId, ErrorClass, Operation, TargetGroup, TargetGroupId, TargetIdentity},
    telemetry::CallMeter,
};

/// Groups that are read side by side to learn an account's memberships.
const GROUPS_SIDE_BY_SIDE: usize = 4;

/// What a first contact with a target finds out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Who the target is.
    pub identity: TargetIdentity,
    /// Product and version, as `Jira Data Center 10.3.5`.
    pub product: String,
    /// The login of the account that usersync works with; or `application NAME`, which is no login.
    pub signed_in_as: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Rights present and missing, licence seats, clock: one line each for `usersync check`.
    pub notes: Vec<Note>,
}

/// What went wrong at a target, in words for people.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text}")]
pub struct TargetError {
    /// What it means for the operation.
    pub kind: TargetErrorKind,
    /// One readable line: the thing, what happened, what to do; no secret.
    pub text: String,
    /// How long the other side asks to wait (`Retry-After`).
    pub retry_after: Option<SignedDuration>,
}

/// What an error means for the operation that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetErrorKind {
    /// The request may have arrived and taken effect: only looking tells.
    Unanswered,
    /// It was answered, or never sent, and nothing was done; the class says whether to try again.
    NotDone(ErrorClass),
    /// The name is taken; look again.
    NameTaken,
    /// The account or group is not there.
    NotFound,
    /// The target cannot do this to this object, now or ever (read-only directory, a lead of a project): told once,
    /// never retried.
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

/// What a write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The account that was made.
    Account(Account),
    /// The group that was made.
    Group(TargetGroup),
    /// Done; nothing new to know.
    Done,
    /// Answered with a success that the vendor does not document for this call, as a proxy that answers itself gives it:
    /// done only if reading shows it.
    Undocumented,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; `None` at the end.
    pub next: Option<String>,
    /// Why the listing may not be all, if so: nothing is removed then.
    pub incomplete: Option<String>,
}

/// The first page of a group's members, and how many there are in all; `None`: not told.
pub type FirstMembers = (Page<AccountId>, Option<usize>);

/// Who is in which groups, as one reading told it; see [`Target::memberships`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// The logins of all direct members, as the target spells them, of each group that was asked for and told.
    pub logins: BTreeMap<TargetGroupId, Vec<Arc<str>>>,
    /// The ids of all direct members, where the target tells ids.
    pub ids: BTreeMap<TargetGroupId, Vec<AccountId>>,
}

/// What came of adding several accounts to a group by one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddedMembers {
    /// All of them are members.
    All,
    /// Nothing was done, and one of them may be why, or that they are too many.
    Refused,
}

/// A directory that is written. Every operation is idempotent: done twice it is as done once (already a member, already
/// gone, already inactive are successes).
#[async_trait]
pub trait Target: Send + Sync {
    /// The kind, as in the configuration: `jira`.
    fn kind(&self) -> &'static str;

    /// Signs in, finds out who the target is and what it can do.
    async fn probe(&self) -> Result<TargetInfo, TargetError>;

    /// An account by stable id, with its groups.
    async fn account(&self, id: &AccountId) -> Result<Option<Account>, TargetError>;

    /// An account by login, by the target's case rule, with its groups.
    async fn account_named(&self, name: &str) -> Result<Option<Account>, TargetError>;

    /// One page of all accounts, inactive ones included; groups need not be told.
    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError>;

    /// The account that usersync itself works with, where [`accounts`](Target::accounts) has to list it: a listing without
    /// it is incomplete. `None` where usersync signs in as something that is no account.
    async fn own_account(&self) -> Result<Option<AccountId>, TargetError> {
        Ok(None)
    }

    /// A group by name, by the target's case rule.
    async fn group_named(&self, name: &str) -> Result<Option<TargetGroup>, TargetError>;

    /// One page of a group's members, inactive ones included; `None` if there is no such group.
    async fn members(
        &self,
        group: &TargetGroupId,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError>;

    /// The first page of a group's members, and how many there are in all where the target counts them beside it; `None` if
    /// there is no such group. [`members`](Target::members) goes on from there.
    async fn first_members(&self, group: &TargetGroupId) -> Result<Option<FirstMembers>, TargetError> {
        Ok(self.members(group, None).await?.map(|page| (page, None)))
    }

    /// The direct members of these groups, inactive ones included, by one reading of all memberships that there are. `None`
    /// where there is no such reading, or where its answer is not whole: then [`members`](Target::members) tells, as it does
    /// of each group that this answer leaves out, which says nothing about whether the group is there.
    async fn memberships(&self, groups: &BTreeSet<TargetGroupId>) -> Result<Option<Memberships>, TargetError> {
        let _ = groups;
        Ok(None)
    }

    /// Whether an account is a member of a group, as the group's own list says; `None` if there is no such group.
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

    /// Those of `groups` that an account is a member of, read from the groups' side: for an account whose own list of
    /// groups is missing or cut.
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
            stream::iter(groups.iter().cloned().map(read)).buffered(GROUPS_SIDE_BY_SIDE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Does one operation, before `deadline`: past it nothing more is sent.
    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError>;

    /// Makes an account a member of several groups (id and name of each) by one call, before `deadline`; gives those that
    /// were refused, each of which is then joined by itself. With an error, nothing was done, or it is `Unanswered`. Only
    /// for targets that can, and for as many as they can ([`Capabilities::groups_at_once`]).
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
            text: format!("adding {name} to groups: {} takes one at a time.", self.kind()),
            retry_after: None,
        })
    }

    /// Ends the open sessions of an account that was deactivated, where the target has a call for that, before `deadline`.
    /// Idempotent: sent again after a lost answer.
    async fn end_sessions(&self, name: &str, deadline: Timestamp) -> Result<(), TargetError> {
        let _ = (name, deadline);
        Ok(())
    }

    /// How many accounts one call adds to a group. With more than one, a full reconcile collects additions and sends them
    /// by [`add_members`](Target::add_members), and accounts are addressed by their ids alone.
    fn members_at_once(&self) -> usize {
        1
    }

    /// Adds accounts to a group (id and name) by one call, before `deadline`.
    ///
    /// # Errors
    /// The same for each of them.
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

    /// Whether an account does not show its groups, so that its memberships cost a call for each group. Then a task reads
    /// those alone that change by usersync's record; full reconciles read all.
    fn reads_memberships_by_group(&self) -> bool {
        false
    }

    /// How many accounts can still be made or activated within the licence; `None` where there is no limit, or the
    /// target does not tell.
    async fn free_seats(&self) -> Result<Option<u64>, TargetError> {
        Ok(None)
    }

    /// Whether the target shows memberships at all. One that was seen to show none, from no side, is worked by usersync's
    /// own record of what it gave.
    fn shows_memberships(&self) -> bool {
        true
    }

    /// What the target was seen to do otherwise than it should while it was worked with, for `usersync check` and runs.
    fn observed(&self) -> Vec<Note> {
        Vec::new()
    }

    /// Waits until the server takes calls, if it refused one for now (429).
    ///
    /// # Errors
    /// [`ErrorClass::Throttled`] if that is longer than a call waits.
    async fn until_open(&self) -> Result<(), TargetError> {
        Ok(())
    }

    /// Counts its calls here from now on.
    fn attach(&self, meter: &CallMeter) {
        let _ = meter;
    }

    /// Has credentials that were refused sent with the next call. Without it they are not sent until they change.
    fn forget_refusal(&self) {}

    /// Whether the last refusal said that the user is locked out (a CAPTCHA, too many wrong sign-ins): every further try
    /// makes it worse, so only an operator has the same credentials sent again.
    fn locked_out(&self) -> bool {
        false
    }
}
