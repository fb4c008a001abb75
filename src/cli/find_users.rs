//! Finds the users that a name refers to: a login, an e-mail address or a Keycloak id.

use std::collections::BTreeMap;

use super::{app::Sides, exit::Failure};
use crate::{
    keycloak::Source,
    model::{ConnectorName, UserId, UserState},
    store::Store,
};

/// A user that matches the name.
pub(super) struct MatchedUser {
    pub connector: ConnectorName,
    pub id: UserId,
    /// The user as the source shows it; `None`: deleted there, or not readable.
    pub user: Option<UserState>,
    /// Why the source could not be read; `None`: it was read.
    pub trouble: Option<String>,
}

/// Returns the users of these connectors that match the name, according to the links and the source.
pub(super) async fn find(
    store: &dyn Store,
    sides: &Sides,
    connectors: &[ConnectorName],
    name: &str,
) -> Result<Vec<MatchedUser>, Failure> {
    let linked = store.links_named(name).await?;
    let mut people = Vec::new();
    for connector in connectors {
        let Some(source) = sides.sources.get(connector) else { continue };
        let mut trouble = None;
        let mut ids: BTreeMap<UserId, Option<UserState>> = linked
            .iter()
            .filter(|(pair, _)| pair.connector == *connector)
            .map(|(_, link)| (link.user.clone(), None))
            .collect();
        match source.users_called(name).await {
            Ok(found) => ids.extend(found.into_iter().map(|id| (id, None))),
            Err(error) => trouble = Some(error.text),
        }
        // Keycloak's own ids, and ids that other systems give their imported users.
        let as_id = UserId::from(name);
        if trouble.is_none() && !ids.contains_key(&as_id) && looks_like_id(name) {
            match source.user(&as_id).await {
                Ok(Some(user)) => {
                    ids.insert(as_id, Some(user));
                }
                Ok(None) => {}
                Err(error) => trouble = Some(error.text),
            }
        }
        for (id, user) in ids {
            let user = match (user, &trouble) {
                (Some(user), _) => Some(user),
                (None, Some(_)) => None,
                (None, None) => match source.user(&id).await {
                    Ok(user) => user,
                    Err(error) => {
                        trouble = Some(error.text);
                        None
                    }
                },
            };
            people.push(MatchedUser { connector: connector.clone(), id, user, trouble: trouble.clone() });
        }
        if let (Some(text), false) = (trouble, people.iter().any(|person| person.connector == *connector)) {
            return Err(Failure::unreachable(text));
        }
    }
    if people.is_empty() {
        let realms = connectors.iter().map(ConnectorName::as_str).collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!(
            "{name}: no user has this login, e-mail address or Keycloak id, neither in the realm of {realms} nor among \
             the linked accounts"
        )));
    }
    Ok(people)
}

fn looks_like_id(name: &str) -> bool {
    uuid::Uuid::try_parse(name).is_ok() || UserId::from(name).component().is_some()
}
