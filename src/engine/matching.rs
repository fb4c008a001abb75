//! Searches the accounts that a user without a link may be matched to.

use super::{case::Case, error::WorkError, user::View};
use crate::{
    model::{Account, MatchedBy},
    plan::{self, Candidate, Found, Owner, Presence},
    policy::Search,
    store::Holder,
    targets::{Target, TargetError},
};

/// Searches the accounts with a value at the target.
///
/// # Errors
/// The target cannot be read, or not by this key.
pub async fn search_accounts(target: &dyn Target, search: &Search) -> Result<Vec<Account>, TargetError> {
    match &search.by {
        MatchedBy::Email => target.accounts_with_email(&search.value).await,
        MatchedBy::Attribute(name) => target.accounts_with_attribute(name, &search.value).await,
        MatchedBy::Login | MatchedBy::OtherLogin | MatchedBy::Operator => {
            Ok(target.account_named(&search.value).await?.into_iter().collect())
        }
    }
}

impl Case<'_> {
    /// Searches the accounts of the user by the keys of the policy, if it has no link. Without other keys than the login,
    /// nothing is searched.
    pub(super) async fn find_matches(&mut self, view: &View) -> Result<Option<Found>, WorkError> {
        let rules = self.connector.policy.account_rules(&self.claim.pair.target);
        let capabilities = &self.info.capabilities;
        let searches =
            plan::searches_before_login(&view.presence, self.link.as_ref(), &view.holder, capabilities, rules);
        for search in searches {
            let accounts = search_accounts(self.port.target.as_ref(), &search).await?;
            let mut candidates = Vec::with_capacity(accounts.len());
            for account in accounts {
                let owner = self.owner(&account).await?;
                candidates.push(Candidate { account, owner });
            }
            let found = Found { search, candidates };
            if found.decides() {
                let login = plan::matched_account(&view.holder, Some(&found), false).map(|account| &account.name);
                if let Some(login) = login
                    && self.same_account_as.is_none()
                {
                    self.same_account_as = self.other_user_with_login(login).await?;
                }
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Returns the username of another user without a link who has this login of an account, which is rather that user's.
    async fn other_user_with_login(&self, login: &str) -> Result<Option<String>, WorkError> {
        let (pair, case) = (&self.claim.pair, self.info.capabilities.login_case);
        for id in self.connector.source.users_named(login).await? {
            if self.claim.subject.as_user() == Some(&id) || self.engine.store.link(pair, &id).await?.is_some() {
                continue;
            }
            // Out of scope, the account is still that user's.
            if let Presence::Present(user, _) = self.engine.read_user(&self.connector, pair, &id).await?
                && user.enabled
                && case.same(&user.username, login)
            {
                return Ok(Some(user.username));
            }
        }
        Ok(None)
    }

    /// Returns the user that a found account belongs to.
    async fn owner(&self, account: &Account) -> Result<Owner, WorkError> {
        Ok(match self.engine.store.holder(self.claim.token, &account.id, &account.name).await? {
            Holder::Unlinked => Owner::Nobody,
            Holder::BeingCreated => Owner::BeingCreated,
            Holder::Linked { connector, .. } if connector != self.claim.pair.connector => Owner::Connector(connector),
            Holder::Linked { link, .. } => {
                let created = !link.adopted;
                let exists = created
                    && matches!(
                        self.engine.read_user(&self.connector, &self.claim.pair, &link.user).await?,
                        Presence::Present(..)
                    );
                Owner::User { user: link.user, certain: exists }
            }
        })
    }
}
