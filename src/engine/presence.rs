//! Nothing is removed on doubt.

use super::{error::WorkError, ports::Connector, ports::Engine};
use crate::{
    model::{ErrorClass, GroupId, Pair, UserId, UserState},
    plan::Presence,
};

/// How many live users are asked at most before the source is called doubtful.
const LIVE_USERS: usize = 3;

impl Engine {
    /// Reads a user. Gone is only what Keycloak itself calls gone, twice, while a live user reads well in between, and
    /// while the source is who it was.
    pub(super) async fn read_user(
        &self,
        connector: &Connector,
        pair: &Pair,
        id: &UserId,
    ) -> Result<Presence, WorkError> {
        if let Some(user) = self.read_once(connector, id).await? {
            return Ok(Presence::Present(user));
        }
        self.see_somebody_alive(connector, pair, id).await?;
        Ok(match self.read_once(connector, id).await? {
            Some(user) => Presence::Present(user),
            None => Presence::Gone,
        })
    }

    async fn read_once(&self, connector: &Connector, id: &UserId) -> Result<Option<UserState>, WorkError> {
        let user = connector.source.user(id).await?;
        // Afterwards: the reading may have renewed the token at another realm behind the same address.
        self.identify(connector).await?;
        Ok(user)
    }

    /// Reads a group that was not listed: whether it is gone.
    pub(super) async fn read_group_gone(
        &self,
        connector: &Connector,
        pair: &Pair,
        id: &GroupId,
    ) -> Result<bool, WorkError> {
        Ok(connector.source.group(id).await?.is_none() && self.group_is_gone(connector, pair, id).await?)
    }

    /// Whether a group that Keycloak called gone is gone, by the same rule.
    pub(super) async fn group_is_gone(
        &self,
        connector: &Connector,
        pair: &Pair,
        id: &GroupId,
    ) -> Result<bool, WorkError> {
        self.see_somebody_alive(connector, pair, &UserId::from("")).await?;
        let gone = connector.source.group(id).await?.is_none();
        self.identify(connector).await?;
        Ok(gone)
    }

    async fn see_somebody_alive(&self, connector: &Connector, pair: &Pair, except: &UserId) -> Result<(), WorkError> {
        let known = self.store.seen_alive(pair, except, LIVE_USERS).await?;
        if self.is_any_alive(connector, known).await? {
            return Ok(());
        }
        let some = connector.source.some_users().await?.into_iter().filter(|id| id != except).take(LIVE_USERS);
        if self.is_any_alive(connector, some.collect()).await? {
            return Ok(());
        }
        Err(WorkError::Unconfirmed(format!(
            "{}: Keycloak calls {except} gone, but no other user reads well either, so nothing is believed; look at the realm",
            connector.name
        )))
    }

    /// Whether one of these users reads well. One who cannot be read is no sign of life, and no reason not to ask the next.
    async fn is_any_alive(&self, connector: &Connector, users: Vec<UserId>) -> Result<bool, WorkError> {
        for id in users {
            match connector.source.is_alive(&id).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.class == ErrorClass::Transient => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}
