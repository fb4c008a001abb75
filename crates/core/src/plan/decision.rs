//! What a decision about one user depends on, and what it results in.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{GroupTable, matching::Found};
use crate::{
    capabilities::Capabilities,
    model::{
        Account, AccountRules, ApprovalKind, ConnectorName, Drift, DriftRule, GroupId, GroupRules, LeaverRules, Link,
        MatchedBy, Operation, Pair, TargetGroupId, UserId, UserState,
    },
    policy::Verdict,
};

/// Whether a user exists at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all users are present, and one is held at a time")]
pub enum Presence {
    /// The user as read, and whether it is in scope.
    Present(UserState, Verdict),
    /// Keycloak answered twice that the user is gone, with a successful read of a live user in between.
    Gone,
}

impl Presence {
    /// Returns why it is undecided whether the user is in scope. A disabled user needs no decision.
    pub fn undecided(&self) -> Option<&str> {
        match self {
            Self::Present(user, verdict) if user.enabled => verdict.undecided(),
            Self::Present(..) | Self::Gone => None,
        }
    }

    /// Returns the federation component that the user comes from, or came from when its link was written, if any.
    pub fn federation<'a>(&'a self, link: Option<&'a Link>) -> Option<&'a str> {
        self.user().and_then(UserState::federation).or_else(|| link.and_then(Link::federation))
    }

    /// Returns the user, if it exists.
    pub fn user(&self) -> Option<&UserState> {
        match self {
            Self::Present(user, _) => Some(user),
            Self::Gone => None,
        }
    }
}

/// The holder of the login that a user should have in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameHolder {
    /// Not looked up.
    NotAsked,
    /// No account has the login.
    Free,
    /// The user's own linked account, in another spelling.
    Own,
    /// An account that no link claims.
    Unlinked(Account),
    /// An account that this connector links to another user.
    Ours {
        /// The account.
        account: Account,
        /// The user.
        user: UserId,
        /// Whether the source still has that user; `None`: it was not read.
        standing: Option<OwnerStanding>,
    },
    /// An account that another connector links.
    Theirs(ConnectorName),
    /// Possibly another user's account that is being created.
    BeingCreated,
}

/// The state at the source of the user with the account that holds a wanted login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerStanding {
    /// The user exists.
    Alive,
    /// Gone, but last seen alive so recently that a new id with the same login is the same user.
    GoneLately,
    /// Gone for longer: the login may belong to a different user.
    GoneLong,
}

/// What is known about the federation provider of a user, such as LDAP, of which Keycloak shows less than before. Keycloak
/// answers 200 with disabled, missing or groupless users if the provider cannot be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProviderAnswer {
    /// It was not asked yet.
    #[default]
    NotAsked,
    /// What Keycloak shows is confirmed.
    Confirmed,
    /// The user is disabled; everything else is not confirmed.
    OnlyDisabled,
    /// Not confirmed, for this reason: nothing is removed.
    Unconfirmed(String),
    /// It cannot be confirmed, for this reason: an operator decides.
    ToApprove(String),
}

/// The input of a decision about one user.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The pair.
    pub pair: &'a Pair,
    /// The target's capabilities.
    pub capabilities: &'a Capabilities,
    /// The user at the source.
    pub presence: &'a Presence,
    /// The user's link.
    pub link: Option<&'a Link>,
    /// The linked account; `None` with a link: it was not found.
    pub account: Option<&'a Account>,
    /// Whether a linked account that was not found is confirmed to be gone.
    pub account_gone: bool,
    /// The holder of the login that the user should have, see [`wanted_name`](super::wanted_name).
    pub holder: &'a NameHolder,
    /// The groups of the pair.
    pub groups: &'a GroupTable,
    /// The rules for the user's account.
    pub rules: AccountRules<'a>,
    /// The accounts that the first key other than the login found, if one decides before the login.
    pub matched: Option<&'a Found>,
    /// Another user to whom the policy gives the same login.
    pub same_login_as: Option<&'a str>,
    /// Another user that is matched to the same account.
    pub same_account_as: Option<&'a str>,
    /// The rules for groups.
    pub group_rules: &'a GroupRules,
    /// The rules for users that have left.
    pub leavers: &'a LeaverRules,
    /// The current time, for the grace period of leavers.
    pub now: Timestamp,
    /// Whether accounts that existed before usersync are adopted without approval.
    pub adopt_freely: bool,
    /// Whether another user waits for this account to release its login.
    pub wanted_by_other: bool,
    /// Whether the users that wait for each other form a cycle, so that this account takes a temporary login.
    pub in_ring: bool,
    /// The login of usersync's own account in the target.
    pub own_login: &'a str,
    /// What is known about the user's federation provider.
    pub provider: &'a ProviderAnswer,
    /// What happens to drift.
    pub drift: DriftRule,
}

impl<'a> Situation<'a> {
    /// Returns why a removal is not simply done, because the user is federated; `None`: there is no such reason.
    pub(super) fn doubt(&self) -> Option<&'a ProviderAnswer> {
        let federation = self.presence.federation(self.link);
        let is_sure = matches!(self.provider, ProviderAnswer::Confirmed | ProviderAnswer::OnlyDisabled);
        federation.filter(|_| !is_sure).map(|_| self.provider)
    }
}

/// Findings to report to an operator, without an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What the target does not support: why, and what an operator can do.
    pub unsupported: Vec<String>,
    /// What is not confirmed, and so not done.
    pub unconfirmed: Vec<String>,
    /// Why it is undecided whether the user is in scope, so that nothing is done.
    pub undecided: Option<String>,
    /// Why the account is not changed.
    pub protected: Option<String>,
    /// Memberships that stay because their group is protected or gives access to the product. One text for each; the
    /// text is the same for each group.
    pub kept: Vec<String>,
    /// What happens to the account of a user that has left, if it is nothing now; `None`: anything else.
    pub left: Option<String>,
    /// Operations that are planned again although they were done last time.
    pub repeated: Vec<String>,
    /// What else was changed at the target because it stood in the way of an operation.
    pub also_done: Vec<String>,
}

/// An operation that always waits for approval, whatever the limits are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why it waits.
    pub kind: ApprovalKind,
    /// The action once it is approved.
    pub then: Then,
}

/// The action that an approval allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Do an operation.
    Do(Operation),
    /// Link this account, which was found in this way.
    Adopt(Account, MatchedBy),
}

/// Drift that a plan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drifted {
    /// The drift.
    pub drift: Drift,
    /// The operation that undoes it; `None`: it stays.
    pub mended_by: Option<Operation>,
}

/// The plan for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// The operations, in this order.
    pub operations: Vec<Operation>,
    /// Operations that wait for approval.
    pub holds: Vec<Hold>,
    /// The groups to which a new account is added once it exists.
    pub adds_after_create: BTreeMap<TargetGroupId, String>,
    /// Source groups whose tasks have to be worked before this user is done.
    pub missing_groups: Vec<GroupId>,
    /// When a leaver's grace period ends, before which nothing is done; `None`: nothing waits for that.
    pub leaves_at: Option<Timestamp>,
    /// Whether the account's groups were not read, so that no membership is planned.
    pub groups_unread: bool,
    /// Whether the user's federation provider has to be asked, because something would be removed.
    pub asks_provider: bool,
    /// What was changed in the target.
    pub drift: Vec<Drifted>,
    /// Memberships that usersync granted, that the target does not have, and that are not wanted any more; only where drift
    /// stays, as otherwise nothing depends on them.
    pub ended: Vec<TargetGroupId>,
    /// The decision about the login once all of this is done: a conflict, or a user to wait for.
    pub afterwards: Option<Box<Decision>>,
    /// Findings to report.
    pub findings: Findings,
}

impl Planned {
    /// Plans an operation that removes something from an account, as far as the user's federation provider confirms it.
    pub(super) fn remove_if_confirmed(
        &mut self,
        operation: Operation,
        account: &Account,
        why: &str,
        doubt: Option<&ProviderAnswer>,
    ) {
        match doubt {
            Some(ProviderAnswer::ToApprove(_)) => {
                self.holds.push(Hold { kind: ApprovalKind::Federation, then: Then::Do(operation) });
            }
            Some(doubt) => self.not_confirmed(account, why, doubt),
            None => self.operations.push(operation),
        }
    }

    /// Reports that nothing is removed from an account, because the federation provider of its user does not confirm it.
    pub(super) fn not_confirmed(&mut self, account: &Account, why: &str, doubt: &ProviderAnswer) {
        self.asks_provider |= *doubt == ProviderAnswer::NotAsked;
        let name = &account.name;
        self.findings.unconfirmed.push(match doubt {
            ProviderAnswer::Unconfirmed(reason) => format!("{name}: {why}, but {reason}. Nothing is removed"),
            _ => format!("{name}: {why}. usersync asks its federation provider before it removes anything"),
        });
    }

    /// Returns whether any operation removes access or data.
    pub fn removes(&self) -> bool {
        self.operations.iter().any(Operation::removes)
            || self.holds.iter().any(|hold| matches!(&hold.then, Then::Do(operation) if operation.removes()))
    }

    /// Returns why the user gets no account; `None`: it has one, or gets one. `link`: the user's link.
    pub fn no_account(&self, link: Option<&Link>) -> Option<&str> {
        let does_nothing = self.operations.is_empty() && self.holds.is_empty() && self.missing_groups.is_empty();
        let why = self.findings.unsupported.first().filter(|_| link.is_none() && does_nothing);
        why.map(String::as_str)
    }

    /// Returns whether an operation adds an existing account to a group.
    pub fn adds_members(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation, Operation::AddMember { .. }))
    }
}

/// The decision about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Apply this plan; an empty one means that nothing is to be done.
    Plan(Planned),
    /// Link this account, which existed before usersync and was found in this way, then read it again.
    Adopt(Account, MatchedBy),
    /// Move the link of that gone user to this one, the same person with a new id, then read again.
    TakeOver(UserId, Account),
    /// Read whether that user still exists, then decide again.
    ReadOwner(UserId),
    /// Work that user first.
    WaitFor(UserId),
    /// The account may be another user's that is being created: return the task to the queue.
    Later,
    /// The linked account was not found, which alone proves nothing: read it again later.
    Missing,
    /// The linked account is confirmed to be gone: drop the link, then decide again.
    DropLink,
    /// Two candidates; waits for an operator.
    Conflict(String),
}
