//! Confirms what Keycloak shows of one user, before something is removed.

use jiff::Timestamp;

use super::Asked;
use crate::{
    engine::{
        error::WorkError,
        ports::{Connector, Engine},
    },
    keycloak::ProviderContact,
    model::{Link, Pair, UserId, UserState, count},
    plan::{Presence, ProviderAnswer},
};

impl Engine {
    /// Returns whether the federation provider of a user confirms what Keycloak shows; `None`: the user has changed and is to
    /// be read again.
    pub(in crate::engine) async fn ask_provider(
        &self,
        connector: &Connector,
        pair: &Pair,
        link: &Link,
        presence: &Presence,
    ) -> Result<Option<ProviderAnswer>, WorkError> {
        let now_at = presence.user().and_then(UserState::federation);
        let Some(component) = presence.federation(Some(link)) else { return Ok(Some(ProviderAnswer::Confirmed)) };
        let Some(federation) = connector.source.federation() else {
            let why = "its federation provider cannot be asked";
            return Ok(Some(ProviderAnswer::Unconfirmed(why.to_owned())));
        };
        let asked = Asked { connector, pair, federation, component, user: &link.user };
        let answer = match presence {
            Presence::Gone => Some(self.confirm_gone(&asked, link, None).await?),
            Presence::Present(user, _) if now_at != link.federation() && link.federation().is_some() => {
                Some(moved(user, &self.provider_name(&connector.name, link.federation().unwrap_or(component))))
            }
            Presence::Present(user, verdict) => {
                let is_disabled = !user.enabled
                    && asked.imported()
                    && federation.is_stored_disabled(&user.id, &user.username).await?;
                if is_disabled && verdict.out().is_none() {
                    Some(ProviderAnswer::OnlyDisabled)
                } else {
                    match self.confirm_present(&asked, user, is_disabled).await? {
                        Some(ProviderAnswer::Confirmed) => Some(ProviderAnswer::Confirmed),
                        Some(_) if is_disabled => Some(ProviderAnswer::OnlyDisabled),
                        other => other,
                    }
                }
            }
        };
        // After the reads, which may have renewed the token at another realm at the same address.
        self.identify(connector).await?;
        Ok(answer)
    }

    /// Returns whether the provider of a user that is gone, and whose link another user claims, confirms that: it has
    /// nobody with that login, or the claimant.
    pub(in crate::engine) async fn may_take_over(
        &self,
        connector: &Connector,
        pair: &Pair,
        owner: &Link,
        claimant: &UserId,
    ) -> Result<ProviderAnswer, WorkError> {
        let (Some(component), Some(federation)) = (owner.federation(), connector.source.federation()) else {
            return Ok(ProviderAnswer::Confirmed);
        };
        let asked = Asked { connector, pair, federation, component, user: &owner.user };
        let answer = self.confirm_gone(&asked, owner, Some(claimant)).await?;
        self.identify(connector).await?;
        Ok(answer)
    }

    /// Confirms that a user is gone: its provider answers, does not have its login, and has others. `claimant`: the user with
    /// that login who gets its account.
    async fn confirm_gone(
        &self,
        asked: &Asked<'_>,
        link: &Link,
        claimant: Option<&UserId>,
    ) -> Result<ProviderAnswer, WorkError> {
        let federated = link.federated.as_ref();
        let recorded = federated.and_then(|federated| federated.login.as_deref());
        let Some(login) = recorded.or(asked.user.at_provider().map(|(_, login)| login)) else {
            return Ok(ProviderAnswer::ToApprove("its login at its federation provider is not known".to_owned()));
        };
        if let Some(doubt) = self.contacted(asked, None).await? {
            return Ok(doubt);
        }
        let mut found = asked.federation.find(asked.component, login, asked.imported()).await?;
        if let (None, Some(ldap_id)) = (&found, federated.and_then(|federated| federated.ldap_id.as_deref())) {
            // A user that is not imported has a new id once its login changes.
            found = asked.federation.find_by_ldap_id(ldap_id).await?.into_iter().find(|user| user != asked.user);
        }
        match found {
            Some(user) if Some(&user) == claimant => Ok(ProviderAnswer::Confirmed),
            Some(user) => {
                // Its account moves to that user.
                let why = format!("its federation provider has it as user {user}");
                Ok(ProviderAnswer::Unconfirmed(why))
            }
            None => self.confirm_others(asked, login).await,
        }
    }

    /// Confirms what Keycloak shows of a user that exists. `is_disabled`: Keycloak itself has stored that it is disabled.
    async fn confirm_present(
        &self,
        asked: &Asked<'_>,
        user: &UserState,
        is_disabled: bool,
    ) -> Result<Option<ProviderAnswer>, WorkError> {
        if let Some(doubt) = self.contacted(asked, None).await? {
            return Ok(Some(doubt));
        }
        if asked.connector.source.user(&user.id).await?.as_ref() != Some(user) {
            return Ok(None);
        }
        let login = user.username.as_str();
        match asked.federation.find(asked.component, login, asked.imported()).await? {
            None => return self.confirm_others(asked, login).await.map(Some),
            Some(id) if id != user.id => {
                let why = format!("its federation provider has the login {login} as user {id}");
                return Ok(Some(ProviderAnswer::Unconfirmed(why)));
            }
            Some(_) if !user.enabled && asked.imported() && !is_disabled => {
                let why = "its federation provider has the user, and Keycloak has not stored that it is disabled";
                return Ok(Some(ProviderAnswer::Unconfirmed(why.to_owned())));
            }
            Some(_) => {}
        }
        // Keycloak may show groups that it cached while the provider did not answer; the count is never cached.
        let (listed, counted) = (user.groups.len(), asked.connector.source.count_groups_of(&user.id).await?);
        if asked.imported() && counted > listed {
            let why = format!("Keycloak lists {} of the user, but counts {counted}", count(listed, "group", "groups"));
            return Ok(Some(ProviderAnswer::ToApprove(why)));
        }
        let doubt = self.contacted(asked, Some(self.clock.now())).await?;
        Ok(Some(doubt.unwrap_or(ProviderAnswer::Confirmed)))
    }

    /// Confirms that a provider that does not have a login still has others: a disabled or misconfigured one has none.
    async fn confirm_others(&self, asked: &Asked<'_>, login: &str) -> Result<ProviderAnswer, WorkError> {
        let answer = match self.has_known_user(asked, self.clock.now()).await? {
            // Once more, as an outage may have passed in between.
            Some(true) if asked.federation.find(asked.component, login, asked.imported()).await?.is_some() => {
                ProviderAnswer::Unconfirmed(format!("{} has its login again", self.name_of(asked)))
            }
            Some(true) => ProviderAnswer::Confirmed,
            Some(false) => ProviderAnswer::ToApprove(format!("{} has none of its known users", self.name_of(asked))),
            None => {
                ProviderAnswer::ToApprove(format!("no other user of {} is known to check it with", self.name_of(asked)))
            }
        };
        let doubt = self.contacted(asked, Some(self.clock.now())).await?;
        Ok(doubt.unwrap_or(answer))
    }

    /// Contacts a provider, unless that was done since this time or within the last seconds. Returns why nothing is
    /// confirmed; `None`: it answers.
    async fn contacted(
        &self,
        asked: &Asked<'_>,
        since: Option<Timestamp>,
    ) -> Result<Option<ProviderAnswer>, WorkError> {
        let contact = self.contact_provider(asked.connector, asked.federation, asked.component, since).await?;
        Ok(match contact {
            ProviderContact::Answers { .. } => None,
            ProviderContact::Silent { .. } => {
                Some(ProviderAnswer::Unconfirmed(format!("{} cannot be asked", self.name_of(asked))))
            }
            ProviderContact::Removed => {
                Some(ProviderAnswer::ToApprove("its federation provider was removed from Keycloak".to_owned()))
            }
        })
    }
}

/// Returns what is believed of a user that no longer comes from this provider, and so lost the groups that it had from it.
fn moved(user: &UserState, provider: &str) -> ProviderAnswer {
    if !user.enabled && user.federation().is_none() {
        return ProviderAnswer::OnlyDisabled;
    }
    ProviderAnswer::ToApprove(format!("it no longer comes from {provider}"))
}
