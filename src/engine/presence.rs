//! Confirms that a user or group is gone before anything is removed.

use super::{error::WorkError, ports::Connector, ports::Engine};
use crate::{
    model::{ErrorClass, GroupId, Pair, UserId, UserState},
    plan::Presence,
};

/// Maximum number of live users that are read before the source counts as unconfirmed.
const LIVE_USERS: usize = 3;

impl Engine {
    /// Reads a user. A user is gone only if Keycloak itself answers so twice. A live user must be read successfully in
    /// between, and the source's identity must be unchanged. The result says whether the user is in scope.
    pub(super) async fn read_user(
        &self,
        connector: &Connector,
        pair: &Pair,
        id: &UserId,
    ) -> Result<Presence, WorkError> {
        Ok(match self.read_confirmed(connector, pair, id).await? {
            Some(user) => self.judge(connector, user).await?,
            None => Presence::Gone,
        })
    }

    /// Reads a user by the same rule, without its scope; `None`: it is gone.
    pub(super) async fn read_confirmed(
        &self,
        connector: &Connector,
        pair: &Pair,
        id: &UserId,
    ) -> Result<Option<UserState>, WorkError> {
        if let Some(user) = self.read_once(connector, id).await? {
            return Ok(Some(user));
        }
        self.confirm_live_user(connector, pair, id).await?;
        self.read_once(connector, id).await
    }

    async fn read_once(&self, connector: &Connector, id: &UserId) -> Result<Option<UserState>, WorkError> {
        let user = connector.source.user(id).await?;
        // After the read, which may have renewed the token at another realm at the same address.
        self.identify(connector).await?;
        Ok(user)
    }

    /// Reads a group that was not listed, and returns whether it is gone.
    pub(super) async fn read_group_gone(
        &self,
        connector: &Connector,
        pair: &Pair,
        id: &GroupId,
    ) -> Result<bool, WorkError> {
        Ok(connector.source.group(id).await?.is_none() && self.group_is_gone(connector, pair, id).await?)
    }

    /// Returns whether a group that Keycloak reported as gone is gone, by the same rule.
    pub(super) async fn group_is_gone(
        &self,
        connector: &Connector,
        pair: &Pair,
        id: &GroupId,
    ) -> Result<bool, WorkError> {
        self.confirm_live_user(connector, pair, &UserId::from("")).await?;
        let gone = connector.source.group(id).await?.is_none();
        self.identify(connector).await?;
        Ok(gone)
    }

    async fn confirm_live_user(&self, connector: &Connector, pair: &Pair, except: &UserId) -> Result<(), WorkError> {
        let known = self.store.seen_alive(pair, except, LIVE_USERS).await?;
        if self.is_any_alive(connector, pair, known).await? {
            return Ok(());
        }
        // While a federation is misconfigured, Keycloak deletes the imported users that it lists.
        let may_list = !self.store.federations(pair).await?.iter().any(|federation| federation.imported);
        if may_list {
            let some = connector.source.some_users().await?.into_iter().filter(|id| id != except).take(LIVE_USERS);
            if self.is_any_alive(connector, pair, some.collect()).await? {
                return Ok(());
            }
        }
        Err(WorkError::Unconfirmed(format!(
            "{}: Keycloak reports {except} as gone, but no other user can be read. The absence is not confirmed. \
             Check the realm",
            connector.name
        )))
    }

    /// Returns whether one of these users can be read. A user that cannot be read proves nothing, and the next one is
    /// read.
    async fn is_any_alive(&self, connector: &Connector, pair: &Pair, users: Vec<UserId>) -> Result<bool, WorkError> {
        for id in users {
            let link = self.store.link(pair, &id).await?;
            let federated = link.and_then(|link| link.federated).and_then(|of| Some((of.component, of.login?)));
            let alive = match (federated, connector.source.federation()) {
                // A read by its id may delete an imported user in Keycloak.
                (Some((component, login)), Some(federation)) if id.component().is_none() => {
                    federation.find(&component, &login, true).await.map(|found| found.is_some())
                }
                _ => connector.source.is_alive(&id).await,
            };
            match alive {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.class == ErrorClass::Transient => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}
