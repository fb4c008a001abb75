//! Requests about federation providers that Keycloak's cache does not falsify.
//!
//! While a provider such as LDAP cannot be asked, Keycloak answers 200 and shows its users as disabled, without their
//! groups, or not at all. The requests of this file were tried on Keycloak 26.7 in each of these states. All of them need
//! `view-users` only.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::StatusCode;
use serde::Deserialize;

use super::{
    Federation, KeycloakSource, ProviderContact, SourceError,
    fault::{self, Asked},
    requests::USER_GONE,
    wire::{self, User},
};
use crate::model::{ErrorClass, IdSet, LDAP_ID, UserId};

const COMPONENT_GONE: &str = "Could not find component";
/// A login that no user has.
const NOBODY: &str = "usersync-no-such-user";
/// A provider that does not answer keeps each question waiting, for 5 s with Keycloak's defaults.
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// Time after which a question that fails counts as one that was kept waiting; a refused connection takes milliseconds.
const HANGS: Duration = Duration::from_secs(1);
/// Maximum number of users read for one login.
const MOST: usize = 20;

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[async_trait]
impl Federation for KeycloakSource {
    async fn contact(&self, component: &str) -> Result<ProviderContact, SourceError> {
        let within = self.settings.connection.time_outs.call;
        let below = ["user-storage", component, "name"];
        let named: Option<Named> = self.ask(Asked::Users, &below, &[], within, Some(COMPONENT_GONE)).await?;
        let Some(Named { name }) = named else { return Ok(ProviderContact::Removed) };
        let began = Instant::now();
        match self.find_imported(component, NOBODY, PROBE_WITHIN.min(within)).await {
            Ok(_) => Ok(ProviderContact::Answers { name }),
            Err(error) if error.class == ErrorClass::Transient => {
                let hangs = began.elapsed() >= HANGS;
                Ok(ProviderContact::Silent { name, why: error.text, hangs })
            }
            Err(error) => Err(error),
        }
    }

    async fn find(&self, component: &str, login: &str, imported: bool) -> Result<Option<UserId>, SourceError> {
        if imported {
            return self.find_imported(component, login, self.settings.connection.time_outs.call).await;
        }
        // A user that is not imported may be read from the cache; a search asks the provider.
        let mut found = self.users_by("username", login).await?;
        found.retain(|id| id.component() == Some(component));
        Ok(found.pop())
    }

    async fn find_by_ldap_id(&self, ldap_id: &str) -> Result<Vec<UserId>, SourceError> {
        let attribute = format!("{LDAP_ID}:{ldap_id}");
        let query = [("q", attribute.as_str()), ("briefRepresentation", "true")];
        let page = self.page::<User>(Asked::Users, &["users"], &query, (0, MOST), None).await?;
        Ok(page.iter().flatten().filter_map(|entry| entry.id().map(UserId::from)).collect())
    }

    async fn is_stored_disabled(&self, id: &UserId, login: &str) -> Result<bool, SourceError> {
        let query = [("username", login), ("exact", "true"), ("enabled", "false"), ("briefRepresentation", "true")];
        let page = self.page::<User>(Asked::Users, &["users"], &query, (0, MOST), None).await?;
        Ok(page.iter().flatten().any(|entry| entry.id() == Some(id.as_str())))
    }

    async fn enabled_among(&self, ids: &[UserId]) -> Result<IdSet<UserId>, SourceError> {
        let users = wire::readable(self.search_by_id(ids).await?);
        Ok(users.into_iter().filter(|user| user.enabled).map(|user| user.id.into()).collect())
    }
}

impl KeycloakSource {
    /// Asks a provider for the user with this login, by an id that Keycloak does not cache for imported users.
    async fn find_imported(
        &self,
        component: &str,
        login: &str,
        within: Duration,
    ) -> Result<Option<UserId>, SourceError> {
        let base = self.base().await?;
        let id = format!("f:{component}:{login}");
        let answer = self.fetch(&base.admin(&self.settings.realm, &["users", &id]), &[], within).await?;
        if answer.status == StatusCode::NOT_FOUND && fault::reported(&answer.body).as_deref() == Some(USER_GONE) {
            return Ok(None);
        }
        let user: User = self.read(Asked::Users, base, &answer)?;
        Ok(Some(user.id.into()))
    }
}
