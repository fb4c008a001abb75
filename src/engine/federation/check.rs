//! Checks the federation providers of a connector, and finds users that have left one without an event.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Asked, Provider};
use crate::{
    engine::{
        error::WorkError,
        ports::{Connector, Engine},
    },
    keycloak::{Federation, ProviderContact, SourceError},
    model::{About, Cause, ConditionCode, ErrorClass, Pair, Priority, Subject, UserId, count},
    plan::ProviderAnswer,
    store::LinkedFederation,
};

/// Number of users that one search requests by id.
const IDS_AT_ONCE: usize = 99;

impl Engine {
    /// Contacts all providers that linked users of a connector come from, and records which of them cannot confirm their
    /// users. Requests a full reconcile of each target once they can again. Returns whether all can.
    pub(in crate::engine) async fn check_providers(&self, connector: &Connector) -> Result<bool, WorkError> {
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
        let is_linked = |component: &String| providers.contains_key(component);
        self.providers.known.lock().retain(|(name, component), _| *name != connector.name || is_linked(component));
        let mut troubles = Vec::new();
        for (component, (pair, linked)) in &providers {
            let why = match self.provider_trouble(connector, federation, component, pair).await {
                Err(WorkError::Source(SourceError { class: ErrorClass::Transient, text, .. })) => {
                    Some(format!("was not checked ({text})"))
                }
                why => why?,
            };
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
                    "{} {why} since {}. Nothing is removed for its {} without approval",
                    self.provider_name(&connector.name, component),
                    since.strftime("%Y-%m-%d %H:%M:%S UTC"),
                    count(linked.users, "user", "users"),
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
        let contact =
            async || self.contact_provider(connector, federation, component, Some(self.clock.now())).await.map(silence);
        if let Some(why) = contact().await? {
            return Ok(Some(why));
        }
        let nobody = UserId::from("");
        let asked = Asked { connector, pair, federation, component, user: &nobody };
        let has_any = self.has_known_user(&asked, self.clock.now()).await;
        match has_any {
            Ok(Some(true) | None) => return Ok(None),
            Ok(Some(false)) | Err(WorkError::Source(SourceError { class: ErrorClass::Transient, .. })) => {}
            Err(error) => return Err(error),
        }
        // An outage that began in between looks like a provider without users.
        if let Some(why) = contact().await? {
            return Ok(Some(why));
        }
        has_any.map(|_| {
            Some(
                "has none of its known users (check in Keycloak whether it is enabled, its users DN and its filter; \
                 remove it there if it is no longer used)"
                    .to_owned(),
            )
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
    pub(in crate::engine) fn silent_providers(&self, connector: &Connector) -> HashMap<String, ProviderAnswer> {
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

    /// Returns an error if all users cannot be read now: Keycloak deletes the imported users that it reads while their provider
    /// answers without having them, and takes seconds for each of them while their provider hangs.
    pub(in crate::engine) async fn before_listing(&self, connector: &Connector) -> Result<(), WorkError> {
        if self.check_providers(connector).await? {
            return Ok(());
        }
        let known = self.providers.known.lock();
        for ((name, _), provider) in known.iter() {
            let (Some((contact, _)), Some((why, _))) = (&provider.contact, &provider.trouble) else { continue };
            let (provider_name, danger) = match contact {
                ProviderContact::Answers { name } => (name, "Keycloak would delete the imported users that it lacks"),
                ProviderContact::Silent { name, hangs: true, .. } => {
                    (name, "Keycloak would take seconds for each user")
                }
                ProviderContact::Silent { .. } | ProviderContact::Removed => continue,
            };
            if provider.imported && *name == connector.name {
                return Err(WorkError::Unconfirmed(format!(
                    "{}: federation provider {provider_name} {why}. No users are listed until then, because {danger}; \
                     events are processed",
                    connector.name
                )));
            }
        }
        Ok(())
    }

    /// Reads all active linked users of a connector's providers, a hundred with one request, and raises the tasks of those
    /// that are gone or disabled since the last time. Changes in LDAP leave no events.
    pub(in crate::engine) async fn find_federated_leavers(&self, connector: &Connector) -> Result<usize, WorkError> {
        let Some(federation) = connector.source.federation() else { return Ok(0) };
        let mut linked: BTreeMap<UserId, Vec<Pair>> = BTreeMap::new();
        for target in &connector.targets {
            let pair = Pair { connector: connector.name.clone(), target: target.clone() };
            for user in self.store.active_federated(&pair).await? {
                // A search by id cannot contain spaces.
                if !user.as_str().contains(char::is_whitespace) {
                    linked.entry(user).or_default().push(pair.clone());
                }
            }
        }
        let users: Vec<UserId> = linked.keys().cloned().collect();
        let mut left: HashSet<UserId> = HashSet::new();
        for some in users.chunks(IDS_AT_ONCE) {
            let enabled = federation.enabled_among(some).await?;
            // Keycloak 26.0 finds nobody by several ids.
            if enabled.is_empty() && some.len() > 1 {
                return Ok(0);
            }
            left.extend(some.iter().filter(|user| !enabled.contains(*user)).cloned());
        }
        // An outage that began during the reads shows as many leavers; the next check finds them if they stay.
        if !self.check_providers(connector).await? {
            return Ok(0);
        }
        self.identify(connector).await?;
        let known = self.providers.left.lock().insert(connector.name.clone(), left.clone()).unwrap_or_default();
        let mut raised: BTreeMap<Pair, Vec<Subject>> = BTreeMap::new();
        for user in left.difference(&known) {
            for pair in linked.get(user).into_iter().flatten() {
                raised.entry(pair.clone()).or_default().push(Subject::User(user.clone()));
            }
        }
        let cause = Cause::Other { what: "the check of federated users found the user gone or disabled".to_owned() };
        let mut count = 0;
        for (pair, subjects) in raised {
            count += self.store.raise(&pair, &subjects, Priority::Removal, &cause, self.clock.now()).await?;
        }
        Ok(count)
    }
}

/// Returns why a provider cannot be asked; `None`: it answers.
fn silence(contact: ProviderContact) -> Option<String> {
    match contact {
        ProviderContact::Removed => Some("is removed from Keycloak".to_owned()),
        ProviderContact::Silent { why, .. } => Some(format!("cannot be asked ({why})")),
        ProviderContact::Answers { .. } => None,
    }
}
