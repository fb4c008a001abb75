//! Asks federation providers, such as LDAP, before anything is removed for their users.
//!
//! While a provider cannot be asked, or is misconfigured, Keycloak answers 200 and shows its users as disabled, without
//! their groups, or not at all (promise: nothing is removed unless its absence is confirmed). What it shows is believed only if requests that its
//! cache does not falsify confirm it: the provider answers before and after the read, it has or has not the login, and
//! it still has other known logins.

mod check;
mod confirm;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    error::WorkError,
    ports::{Connector, Engine},
};
use crate::{
    keycloak::{Federation, ProviderContact},
    model::{ConnectorName, Pair, UserId},
};

/// Number of known users that a provider is asked for, until it has one of them.
const KNOWN_USERS: usize = 20;

/// What is known of the providers of all connectors.
#[derive(Default)]
pub(super) struct Providers {
    known: Mutex<HashMap<(ConnectorName, String), Provider>>,
    /// Users that the last check of each connector found gone or disabled.
    left: Mutex<HashMap<ConnectorName, HashSet<UserId>>>,
}

/// What is known of one provider.
#[derive(Clone, Default)]
struct Provider {
    /// The result of the last contact, and when it began.
    contact: Option<(ProviderContact, Timestamp)>,
    /// The last known user that the provider had, with its login, and when it was asked for that one.
    alive: Option<((UserId, String), Timestamp)>,
    /// Held during a contact, so that the users of one provider do not ask the same at the same time.
    contacting: Arc<tokio::sync::Mutex<()>>,
    /// Whether Keycloak stores its users.
    imported: bool,
    /// Why it cannot confirm its users, and since when.
    trouble: Option<(String, Timestamp)>,
}

/// The user that a provider is asked about.
struct Asked<'a> {
    connector: &'a Connector,
    pair: &'a Pair,
    federation: &'a dyn Federation,
    component: &'a str,
    user: &'a UserId,
}

impl Asked<'_> {
    /// Whether Keycloak stores the users of this provider.
    fn imported(&self) -> bool {
        self.user.component().is_none()
    }
}

impl Engine {
    /// Contacts a provider, unless that was done since this time or within the last seconds.
    async fn contact_provider(
        &self,
        connector: &Connector,
        federation: &dyn Federation,
        component: &str,
        since: Option<Timestamp>,
    ) -> Result<ProviderContact, WorkError> {
        let key = (connector.name.clone(), component.to_owned());
        let contacting = Arc::clone(&self.providers.known.lock().entry(key.clone()).or_default().contacting);
        let _turn = contacting.lock().await;
        let now = self.clock.now();
        if let Some((contact, at)) = self.providers.known.lock().get(&key).and_then(|one| one.contact.clone()) {
            let shared = match contact {
                ProviderContact::Silent { .. } => self.times.provider_silent,
                _ => self.times.provider_shared,
            };
            let is_fresh = now.duration_since(at) < shared;
            if is_fresh && (since.is_none_or(|since| at >= since) || matches!(contact, ProviderContact::Silent { .. }))
            {
                return Ok(contact);
            }
        }
        let contact = federation.contact(component).await?;
        self.providers.known.lock().entry(key).or_default().contact = Some((contact.clone(), now));
        Ok(contact)
    }

    /// Returns whether a provider has one of its known users, other than this one; `None`: no other is known. An answer from
    /// before `since` does not count.
    async fn has_known_user(&self, asked: &Asked<'_>, since: Timestamp) -> Result<Option<bool>, WorkError> {
        let key = (asked.connector.name.clone(), asked.component.to_owned());
        let began = self.clock.now();
        let alive = self.providers.known.lock().get(&key).and_then(|one| one.alive.clone());
        let alive = alive.filter(|((user, _), _)| user != asked.user);
        if alive.as_ref().is_some_and(|(_, at)| *at >= since) {
            return Ok(Some(true));
        }
        // The same one again, as a user that was unlinked is linked again by the question.
        if let Some((known, _)) = alive
            && self.has_user(asked, &known).await?
        {
            self.providers.known.lock().entry(key).or_default().alive = Some((known, began));
            return Ok(Some(true));
        }
        let users = self.store.federated_users(asked.pair, asked.component, KNOWN_USERS + 1).await?;
        let mut others = users.into_iter().filter(|(user, _)| user != asked.user).take(KNOWN_USERS).peekable();
        if others.peek().is_none() {
            return Ok(None);
        }
        for known in others {
            if self.has_user(asked, &known).await? {
                self.providers.known.lock().entry(key).or_default().alive = Some((known, began));
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    async fn has_user(&self, asked: &Asked<'_>, (user, login): &(UserId, String)) -> Result<bool, WorkError> {
        Ok(asked.federation.find(asked.component, login, user.component().is_none()).await?.is_some())
    }

    fn name_of(&self, asked: &Asked<'_>) -> String {
        self.provider_name(&asked.connector.name, asked.component)
    }

    /// Returns how a provider is named in messages.
    fn provider_name(&self, connector: &ConnectorName, component: &str) -> String {
        let known = self.providers.known.lock();
        let contact = known.get(&(connector.clone(), component.to_owned())).and_then(|one| one.contact.as_ref());
        match contact {
            Some((ProviderContact::Answers { name } | ProviderContact::Silent { name, .. }, _)) => {
                format!("federation provider {name}")
            }
            _ => format!("federation provider {component}"),
        }
    }
}
