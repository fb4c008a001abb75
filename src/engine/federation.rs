//! Asks federation providers, such as LDAP, before anything is removed for their users.
//!
//! While a provider cannot be asked, or is misconfigured, Keycloak answers 200 and shows its users as disabled, without
//! their groups, or not at all (rule: nothing is removed on doubt). What it shows is believed only if requests that its
//! cache does not falsify confirm it: the provider answers before and after the read, it has or has not the login, and
//! it still has other known logins.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    error::WorkError,
    ports::{Connector, Engine},
};
use crate::{
    keycloak::{Federation, ProviderContact, SourceError},
    model::{About, ConditionCode, ConnectorName, ErrorClass, Link, Pair, UserId, UserState, count},
    plan::{Presence, ProviderAnswer},
    store::LinkedFederation,
};

/// Number of known users that a provider is asked for, until it has one of them.
const KNOWN_USERS: usize = 20;

/// What is known of the providers of all connectors.
#[derive(Default)]
pub(super) struct Providers {
    known: Mutex<HashMap<(ConnectorName, String), Provider>>,
    /// Held during a contact, so that the users of one provider do not ask the same at the same time.
    contacting: tokio::sync::Mutex<()>,
}

/// What is known of one provider.
#[derive(Clone, Default)]
struct Provider {
    /// The result of the last contact, and when it began.
    contact: Option<(ProviderContact, Timestamp)>,
    /// The last known user that the provider had, with its login, and when it was asked for that one.
    alive: Option<((UserId, String), Timestamp)>,
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
    /// Returns whether the federation provider of a user confirms what Keycloak shows; `None`: the user has changed and is to
    /// be read again.
    pub(super) async fn ask_provider(
        &self,
        connector: &Connector,
        pair: &Pair,
        link: &Link,
        presence: &Presence,
    ) -> Result<Option<ProviderAnswer>, WorkError> {
        let now_at = presence.user().and_then(UserState::federation);
        let Some(component) = now_at.or(link.federation()) else { return Ok(Some(ProviderAnswer::Confirmed)) };
        let Some(federation) = connector.source.federation() else {
            let why = "its federation provider cannot be asked";
            return Ok(Some(ProviderAnswer::Unconfirmed(why.to_owned())));
        };
        let asked = Asked { connector, pair, federation, component, user: &link.user };
        let answer = match presence {
            Presence::Gone => self.confirm_gone(&asked, link).await?,
            Presence::Present(user, _) if now_at.is_none() => Some(moved_to_keycloak(user, component)),
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

    /// Confirms that a user is gone: its provider answers, does not have its login, and has others.
    async fn confirm_gone(&self, asked: &Asked<'_>, link: &Link) -> Result<Option<ProviderAnswer>, WorkError> {
        let recorded = link.federated.as_ref().and_then(|federated| federated.login.as_deref());
        let Some(login) = asked.user.at_provider().map(|(_, login)| login).or(recorded) else {
            let why = "its login at its federation provider is not known".to_owned();
            return Ok(Some(ProviderAnswer::ToApprove(why)));
        };
        if let Some(doubt) = self.contacted(asked, None).await? {
            return Ok(Some(doubt));
        }
        if let Some(user) = asked.federation.find(asked.component, login, asked.imported()).await? {
            // It has a new id after an import; its account moves to that user.
            let why = format!("its federation provider still has the login {login}, as user {user}");
            return Ok(Some(ProviderAnswer::Unconfirmed(why)));
        }
        self.confirm_others(asked).await
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
        let login = asked.user.at_provider().map_or(user.username.as_str(), |(_, login)| login);
        match asked.federation.find(asked.component, login, asked.imported()).await? {
            None => return self.confirm_others(asked).await,
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
        let (listed, counted) = (user.groups.len(), asked.federation.group_count(&user.id).await?);
        if asked.imported() && counted > listed {
            let why = format!("Keycloak lists {} of the user, but counts {counted}", count(listed, "group", "groups"));
            return Ok(Some(ProviderAnswer::ToApprove(why)));
        }
        let doubt = self.contacted(asked, Some(self.clock.now())).await?;
        Ok(Some(doubt.unwrap_or(ProviderAnswer::Confirmed)))
    }

    /// Confirms that a provider that does not have a login still has others: a disabled or misconfigured one has none.
    async fn confirm_others(&self, asked: &Asked<'_>) -> Result<Option<ProviderAnswer>, WorkError> {
        let answer = match self.has_known_user(asked).await? {
            Some(true) => ProviderAnswer::Confirmed,
            Some(false) => ProviderAnswer::ToApprove(format!("{} has none of its known users", self.name_of(asked))),
            None => {
                ProviderAnswer::ToApprove(format!("no other user of {} is known to check it with", self.name_of(asked)))
            }
        };
        let doubt = self.contacted(asked, Some(self.clock.now())).await?;
        Ok(Some(doubt.unwrap_or(answer)))
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

    async fn contact_provider(
        &self,
        connector: &Connector,
        federation: &dyn Federation,
        component: &str,
        since: Option<Timestamp>,
    ) -> Result<ProviderContact, WorkError> {
        let key = (connector.name.clone(), component.to_owned());
        let _turn = self.providers.contacting.lock().await;
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

    /// Returns whether a provider has one of its known users, other than this one; `None`: no other is known.
    async fn has_known_user(&self, asked: &Asked<'_>) -> Result<Option<bool>, WorkError> {
        let key = (asked.connector.name.clone(), asked.component.to_owned());
        let began = self.clock.now();
        let alive = self.providers.known.lock().get(&key).and_then(|one| one.alive.clone());
        let alive = alive.filter(|((user, _), _)| user != asked.user);
        if alive.as_ref().is_some_and(|(_, at)| began.duration_since(*at) < self.times.provider_shared) {
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
        let login = user.at_provider().map_or(login.as_str(), |(_, login)| login);
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

    /// Contacts all providers that linked users of a connector come from, and records which of them cannot confirm their
    /// users. Requests a full reconcile of each target once they can again. Returns whether all can.
    pub(super) async fn check_providers(&self, connector: &Connector) -> Result<bool, WorkError> {
        let Some(federation) = connector.source.federation() else { return Ok(true) };
        let pairs =
            connector.targets.iter().map(|target| Pair { connector: connector.name.clone(), target: target.clone() });
        let mut providers: BTreeMap<String, (Pair, LinkedFederation)> = BTreeMap::new();
        for pair in pairs {
            for linked in self.store.federations(&pair).await? {
                let known = providers.get(&linked.component);
                if known.is_none_or(|(_, known)| linked.users > known.users) {
                    providers.insert(linked.component.clone(), (pair.clone(), linked));
                }
            }
        }
        let mut troubles = Vec::new();
        for (component, (pair, linked)) in &providers {
            let why = self.provider_trouble(connector, federation, component, pair).await?;
            let key = (connector.name.clone(), component.to_owned());
            let now = self.clock.now();
            let mut known = self.providers.known.lock();
            let provider = known.entry(key).or_default();
            provider.imported = linked.imported;
            provider.trouble = why.map(|why| (why, provider.trouble.as_ref().map_or(now, |(_, since)| *since)));
            let trouble = provider.trouble.clone();
            drop(known);
            if let Some((why, since)) = trouble {
                troubles.push(format!(
                    "{} {why} since {}; its {} as they are. Everything else continues",
                    self.provider_name(&connector.name, component),
                    since.strftime("%Y-%m-%d %H:%M:%S UTC"),
                    count(linked.users, "user stays", "users stay"),
                ));
            }
        }
        self.note_troubles(connector, &troubles).await?;
        Ok(troubles.is_empty())
    }

    /// Returns why a provider cannot confirm its users; `None`: it can.
    async fn provider_trouble(
        &self,
        connector: &Connector,
        federation: &dyn Federation,
        component: &str,
        pair: &Pair,
    ) -> Result<Option<String>, WorkError> {
        Ok(match self.contact_provider(connector, federation, component, Some(self.clock.now())).await? {
            ProviderContact::Removed => Some("is removed from Keycloak".to_owned()),
            ProviderContact::Silent { why, .. } => Some(format!("cannot be asked ({why})")),
            ProviderContact::Answers { .. } => {
                let nobody = UserId::from("");
                let asked = Asked { connector, pair, federation, component, user: &nobody };
                let has_any = self.has_known_user(&asked).await?;
                has_any.is_some_and(|has_any| !has_any).then(|| {
                    "has none of its known users (check in Keycloak whether it is enabled, its users DN and its filter)".to_owned()
                })
            }
        })
    }

    /// Raises or ends the condition of each pair of a connector.
    async fn note_troubles(&self, connector: &Connector, troubles: &[String]) -> Result<(), WorkError> {
        let code = ConditionCode::FederationUnconfirmed;
        let raised = self.conditions().all();
        for target in &connector.targets {
            let pair = Pair { connector: connector.name.clone(), target: target.clone() };
            let about = About::Pair(pair.clone());
            let was_raised = raised.iter().any(|one| one.about == about && one.code == code);
            if !troubles.is_empty() {
                self.conditions().raise(&about, code, &troubles.join(" "), self.clock.now(), None);
            } else if was_raised {
                self.store.request_run(&pair).await?;
                self.conditions().clear(&about, code);
            }
        }
        Ok(())
    }

    /// Returns the answers of a connector's providers that could not confirm any user in their last check, by component.
    pub(super) fn silent_providers(&self, connector: &Connector) -> HashMap<String, ProviderAnswer> {
        let answer = |provider: &Provider| match (&provider.contact, &provider.trouble) {
            (Some((ProviderContact::Silent { name, .. }, _)), _) => {
                Some(ProviderAnswer::Unconfirmed(format!("federation provider {name} cannot be asked")))
            }
            (Some((ProviderContact::Answers { name }, _)), Some(_)) => {
                Some(ProviderAnswer::Unconfirmed(format!("federation provider {name} has none of its known users")))
            }
            _ => None,
        };
        let known = self.providers.known.lock();
        let of_connector = known.iter().filter(|((name, _), _)| *name == connector.name);
        of_connector.filter_map(|((_, component), one)| Some((component.clone(), answer(one)?))).collect()
    }

    /// Returns an error if reading all users now would do harm: Keycloak deletes the imported users that it reads while their
    /// provider answers without having them.
    pub(super) async fn before_listing(&self, connector: &Connector) -> Result<(), WorkError> {
        let is_well = match self.check_providers(connector).await {
            Ok(is_well) => is_well,
            // The listing shows whether the source answers.
            Err(WorkError::Source(SourceError { class: ErrorClass::Transient, .. })) => return Ok(()),
            Err(error) => return Err(error),
        };
        if is_well {
            return Ok(());
        }
        let known = self.providers.known.lock();
        let of_connector = known.iter().filter(|((name, _), _)| *name == connector.name);
        for ((_, component), provider) in of_connector {
            let answers = matches!(provider.contact, Some((ProviderContact::Answers { .. }, _)));
            if let (true, Some((why, _))) = (answers && provider.imported, &provider.trouble) {
                return Err(WorkError::Unconfirmed(format!(
                    "{}: federation provider {component} {why}. All users are not read, because Keycloak would delete \
                     the imported users that its provider lacks",
                    connector.name
                )));
            }
        }
        Ok(())
    }
}

/// Returns what is believed of a user that is no longer linked to its provider.
fn moved_to_keycloak(user: &UserState, component: &str) -> ProviderAnswer {
    if !user.enabled {
        return ProviderAnswer::OnlyDisabled;
    }
    ProviderAnswer::ToApprove(format!("it was unlinked from its federation provider {component}, with its groups"))
}
