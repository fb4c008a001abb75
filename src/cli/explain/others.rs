//! Finds other users that the policy matches to the same account, as a full reconcile does.

use super::side::{TargetState, read};
use crate::{
    cli::{app::Sides, exit::Failure},
    keycloak::{Source as _, SourceError},
    model::{Account, MatchedBy, Pair, Policy, UserId, UserState},
    plan::{self, GroupTable, Presence},
    policy,
    store::Store,
    targets::{Capabilities, Target, TargetError},
};

/// Why the other users could not be compared.
pub(super) enum Trouble {
    Source(SourceError),
    Target(TargetError),
    Store(Failure),
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

/// What other users are compared with.
pub(super) struct Comparison<'a> {
    pub sides: &'a Sides,
    pub store: &'a dyn Store,
    pub target: &'a dyn Target,
    pub pair: &'a Pair,
    pub policy: &'a Policy,
    pub groups: &'a GroupTable,
}

impl Comparison<'_> {
    /// Returns the username of another user without a link that is matched to the account of this user without a link;
    /// `None`: there is none, or users are matched by login only.
    pub async fn same_account_as(&self, user: &UserId, there: &TargetState) -> Result<Option<String>, Trouble> {
        let rules = self.policy.account_rules(&self.pair.target);
        if rules.matching.is_by_login_only() {
            return Ok(None);
        }
        let by_login = rules.matching.has_login();
        let Some(account) = plan::matched_account(&there.holder, there.matched.as_ref(), by_login) else {
            return Ok(None);
        };
        let source = &self.sides.sources[&self.pair.connector];
        let links = self.store.links(self.pair).await.map_err(Failure::from)?;
        for listed in source.users(&|_, _| ()).await?.items.iter() {
            let is_other = listed.id != *user && listed.enabled && !links.contains(listed.id.as_str());
            if !is_other || !self.may_match(&listed, account, &there.info.capabilities) {
                continue;
            }
            // A listing has neither groups nor roles.
            let Some(other) = source.user(&listed.id).await? else { continue };
            let presence = self.sides.judge(&self.pair.connector, self.policy, other).await?;
            if self.is_matched(&presence, account).await? {
                return Ok(Some(listed.username));
            }
        }
        Ok(None)
    }

    /// Returns whether a key of the policy may lead from a user to an account, by what both show.
    fn may_match(&self, user: &UserState, account: &Account, capabilities: &Capabilities) -> bool {
        let rules = self.policy.account_rules(&self.pair.target);
        let case = capabilities.login_case;
        let login = policy::login(user, capabilities, rules, true).ok().flatten();
        let by_key = |search: policy::Search| match &search.by {
            MatchedBy::Email => account.email.as_deref().map(policy::fold_value).as_ref() == Some(&search.value),
            // A target may find accounts by values that it does not show.
            MatchedBy::Attribute(name) => account.attributes.get(name).is_none_or(|value| *value == search.value),
            MatchedBy::Login | MatchedBy::OtherLogin | MatchedBy::Operator => case.same(&account.name, &search.value),
        };
        login.is_some_and(|login| case.same(&login, &account.name))
            || policy::searches(user, capabilities, rules).unwrap_or_default().into_iter().any(by_key)
    }

    /// Returns whether a user without a link is matched to this account.
    async fn is_matched(&self, presence: &Presence, account: &Account) -> Result<bool, Trouble> {
        let rules = self.policy.account_rules(&self.pair.target);
        let there = read(self.store, self.target, self.pair, None, presence, self.groups, rules).await?;
        let there = there.map_err(Trouble::Target)?;
        let found = plan::matched_account(&there.holder, there.matched.as_ref(), rules.matching.has_login());
        Ok(found.is_some_and(|found| found.id == account.id))
    }
}
