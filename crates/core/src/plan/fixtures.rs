//! Fixtures for tests of the plan and the policy.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;

use super::{Decision, Found, GroupTable, NameHolder, Planned, Presence, ProviderAnswer, Situation, decide};
use crate::{
    capabilities::{Capabilities, CaseRule},
    model::{
        Account, AccountRules, AttributeRules, DriftRule, GroupRules, GroupState, LeaverRules, Link, MatchRules,
        Matching, Pair, Scope, UserOrganizations, UserRoles, UserState,
    },
    policy,
};

/// The rules that sync all groups under their own names.
pub(crate) static GROUP_RULES: LazyLock<GroupRules> = LazyLock::new(GroupRules::default);

/// No rules for further attributes.
pub(crate) static NO_ATTRIBUTES: AttributeRules = AttributeRules::new();

/// The rules that deactivate the accounts of all leavers.
pub(crate) static LEAVER_RULES: LazyLock<LeaverRules> = LazyLock::new(LeaverRules::default);

/// Returns the user as read, judged by the scope that has all users.
pub(crate) fn present(user: UserState) -> Presence {
    let verdict = policy::verdict(&user, &Scope::default());
    Presence::Present(user, verdict)
}

/// Returns the capabilities of Jira.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities { email_required: true, login_case: CaseRule::Lower, ..Capabilities::base() }
}

/// Returns the source group with this id and this name, at the top level.
pub(crate) fn source_group(id: &str, name: &str) -> Arc<GroupState> {
    Arc::new(GroupState::new(id.into(), name.into(), format!("/{name}")))
}

/// Returns an enabled user `alice` in no group.
pub(crate) fn user() -> UserState {
    UserState {
        id: "1".into(),
        username: "alice".into(),
        first_name: Some("Alice".into()),
        last_name: Some("Ng".into()),
        email: Some("alice@example.org".into()),
        email_verified: Some(false),
        enabled: true,
        federation_link: None,
        attributes: BTreeMap::new(),
        groups: Vec::new(),
        parent_groups: Vec::new(),
        roles: UserRoles::default(),
        organizations: UserOrganizations::default(),
    }
}

/// Returns the account of [`user`], in sync.
pub(crate) fn account() -> Account {
    Account {
        id: "a".into(),
        name: "alice".into(),
        display_name: "Alice Ng".into(),
        email: Some("alice@example.org".into()),
        attributes: BTreeMap::new(),
        active: true,
        access: Vec::new(),
        groups: Some(Vec::new()),
        protected: None,
        immutable: None,
    }
}

/// The values that a [`Situation`] borrows.
#[expect(clippy::struct_excessive_bools, reason = "the same as in the situation")]
#[derive(Clone, Debug)]
pub(crate) struct OwnedSituation {
    pub(crate) pair: Pair,
    pub(crate) capabilities: Capabilities,
    pub(crate) presence: Presence,
    pub(crate) link: Option<Link>,
    pub(crate) account: Option<Account>,
    pub(crate) account_gone: bool,
    pub(crate) holder: NameHolder,
    pub(crate) groups: GroupTable,
    pub(crate) attributes: AttributeRules,
    pub(crate) matching: Matching,
    pub(crate) matched: Option<Found>,
    pub(crate) same_account_as: Option<&'static str>,
    pub(crate) leavers: LeaverRules,
    pub(crate) now: Timestamp,
    pub(crate) adopt_freely: bool,
    pub(crate) wanted_by_other: bool,
    pub(crate) in_ring: bool,
    pub(crate) provider: ProviderAnswer,
    pub(crate) drift: DriftRule,
}

impl OwnedSituation {
    /// Returns the situation of a user without a link; `holder`: the holder of its login.
    pub(crate) fn unlinked(user: UserState, holder: NameHolder) -> Self {
        Self {
            pair: Pair::new("acme", "target"),
            capabilities: capabilities(),
            presence: present(user),
            link: None,
            account: None,
            account_gone: false,
            holder,
            groups: GroupTable::default(),
            attributes: AttributeRules::new(),
            matching: Matching::default(),
            matched: None,
            same_account_as: None,
            leavers: LeaverRules::default(),
            now: Timestamp::UNIX_EPOCH,
            adopt_freely: false,
            wanted_by_other: false,
            in_ring: false,
            provider: ProviderAnswer::NotAsked,
            drift: DriftRule::Mend,
        }
    }

    /// Returns the situation of a user with this account.
    pub(crate) fn linked(user: UserState, account: Account) -> Self {
        let link = Link::new(user.id.clone(), account.id.clone(), account.name.clone());
        Self { link: Some(link), account: Some(account), ..Self::unlinked(user, NameHolder::NotAsked) }
    }

    /// Returns the situation of a deleted user with this account.
    pub(crate) fn deleted(account: Account) -> Self {
        Self { presence: Presence::Gone, ..Self::linked(user(), account) }
    }

    pub(crate) fn situation(&self) -> Situation<'_> {
        Situation {
            pair: &self.pair,
            capabilities: &self.capabilities,
            presence: &self.presence,
            link: self.link.as_ref(),
            account: self.account.as_ref(),
            account_gone: self.account_gone,
            holder: &self.holder,
            groups: &self.groups,
            rules: AccountRules {
                matching: MatchRules::new(&self.matching, None),
                ..AccountRules::of_attributes(&self.attributes)
            },
            matched: self.matched.as_ref(),
            same_login_as: None,
            same_account_as: self.same_account_as,
            group_rules: &GROUP_RULES,
            leavers: &self.leavers,
            now: self.now,
            adopt_freely: self.adopt_freely,
            wanted_by_other: self.wanted_by_other,
            in_ring: self.in_ring,
            own_login: "usersync",
            provider: &self.provider,
            drift: self.drift,
        }
    }

    pub(crate) fn decide(&self) -> Decision {
        decide(&self.situation())
    }

    /// Returns the plan.
    ///
    /// # Panics
    /// If the decision is not a plan.
    pub(crate) fn plan(&self) -> Planned {
        match self.decide() {
            Decision::Plan(planned) => planned,
            other => panic!("not a plan: {other:?}"),
        }
    }

    /// Returns the link, to change it.
    ///
    /// # Panics
    /// If there is no link.
    pub(crate) fn link_mut(&mut self) -> &mut Link {
        self.link.as_mut().expect("the user is linked")
    }
}
