//! Reads who has roles: directly, by composite roles, or by groups.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use super::{
    KeycloakSource, SourceError,
    fault::{self, Asked},
    pages::{Collect, Paged},
    requests::{Listing, USER_GONE},
    source::{Holders, RoleHolders},
    wire::{Group, Listed},
};
use crate::model::{ErrorClass, GroupId, Packed, ReadEvidence, RoleName, Unread, UserId, UserRoles};

const ROLE_GONE: &str = "Could not find role";
const CLIENT_GONE: &str = "Could not find client";

/// What is read here.
const ROLES: &str = "roles";

/// Concurrent requests of one read.
const SIDE_BY_SIDE: usize = 4;

/// Minimum similarity of a role or organization that is suggested.
pub(super) const SIMILAR: f64 = 0.85;

/// A role, in brief form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Role {
    id: String,
    name: String,
    #[serde(default)]
    composite: bool,
}

impl Listed for Role {
    const REQUIRED: &'static [&'static str] = &["id", "name"];

    fn id(&self) -> &str {
        &self.id
    }

    fn is_whole(&self) -> bool {
        !self.id.is_empty() && !self.name.is_empty()
    }
}

/// A client, limited to its ids.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Client {
    id: String,
    client_id: String,
}

impl Listed for Client {
    const REQUIRED: &'static [&'static str] = &["id", "clientId"];

    fn id(&self) -> &str {
        &self.id
    }

    fn is_whole(&self) -> bool {
        !self.id.is_empty() && !self.client_id.is_empty()
    }
}

impl<T: Listed> Collect for Vec<T> {
    type Entry = T;

    fn contains(&self, id: &str) -> bool {
        self.iter().any(|one| one.id() == id)
    }

    fn add(&mut self, entry: T) {
        self.push(entry);
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }
}

/// A role with its place.
#[derive(Clone, Debug)]
struct Placed {
    role: Role,
    /// The internal id of its client; `None`: it is a role of the realm.
    client: Option<String>,
}

impl Placed {
    /// Returns its path below the realm.
    fn path(&self) -> Vec<&str> {
        place(self.client.as_deref(), &[&self.role.name])
    }
}

/// Returns a path below the roles of the realm, or of a client (by internal id).
fn place<'a>(client: Option<&'a str>, below: &[&'a str]) -> Vec<&'a str> {
    let container = client.map_or(vec!["roles"], |client| vec!["clients", client, "roles"]);
    [container.as_slice(), below].concat()
}

/// All roles of a realm.
#[derive(Default)]
struct Catalog {
    roles: HashMap<RoleName, Placed>,
    /// The clients.
    clients: HashSet<String>,
}

impl Catalog {
    fn add(&mut self, client: Option<&Client>, roles: Vec<Role>) {
        for role in roles {
            let name = RoleName { client: client.map(|client| client.client_id.clone()), name: role.name.clone() };
            self.roles.insert(name, Placed { role, client: client.map(|client| client.id.clone()) });
        }
    }

    /// Reports that a role does not exist, and which one is similar.
    fn absent(&self, role: &RoleName) -> Unread {
        let text = role.to_string().to_lowercase();
        let similar = self
            .roles
            .keys()
            .map(|known| (strsim::jaro_winkler(&text, &known.to_string().to_lowercase()), known))
            .filter(|(similarity, _)| *similarity >= SIMILAR)
            .max_by(|(one, a), (other, b)| one.total_cmp(other).then_with(|| b.cmp(a)));
        let hint = match (similar, &role.client) {
            (Some((_, near)), _) => format!(" A similar role is {near}."),
            (None, Some(client)) if !self.clients.contains(client) => format!(" The realm has no client {client}."),
            (None, _) => String::new(),
        };
        absent(role, &hint)
    }
}

/// Reports that a role does not exist, with a hint.
fn absent(role: &RoleName, hint: &str) -> Unread {
    Unread::Absent(format!(
        "Keycloak lists no role {role}, which the policy names. Nobody is added or removed because of it.{hint} Correct \
         the role in the policy, or create it in Keycloak."
    ))
}

/// Reports that the roles or organizations of one user could not be read, and what to do. An error that a retry may end
/// stays an error: the user's task is retried.
pub(super) fn unknown(what: &str, error: SourceError) -> Result<Unread, SourceError> {
    match error.class {
        ErrorClass::Forbidden | ErrorClass::Unconfirmed | ErrorClass::Permanent => {
            Ok(Unread::Unknown(format!("the {what} that the policy names cannot be read: {}", error.text)))
        }
        _ => Err(error),
    }
}

/// Returns the missing right that an error reports; `None`: it has another cause.
pub(super) fn missing_right(error: &SourceError) -> Option<String> {
    (error.class == ErrorClass::Forbidden).then(|| error.text.clone())
}

/// Reports that a run could not read roles or organizations. It goes on without them, unless other reads would fail as
/// well.
pub(super) fn unknown_in_run(what: &str, error: SourceError) -> Result<Unread, SourceError> {
    match error.class {
        ErrorClass::Transient => unknown(what, SourceError { class: ErrorClass::Unconfirmed, ..error }),
        _ => unknown(what, error),
    }
}

impl KeycloakSource {
    /// Returns which of these roles a user has; `None`: the user is gone.
    pub(super) async fn effective_roles(
        &self,
        id: &UserId,
        roles: &BTreeSet<RoleName>,
    ) -> Result<Option<UserRoles>, SourceError> {
        let mut containers: BTreeMap<Option<&str>, Vec<&RoleName>> = BTreeMap::new();
        for role in roles {
            containers.entry(role.client.as_deref()).or_default().push(role);
        }
        let (mut held, mut unread) = (Vec::new(), BTreeMap::new());
        for (client, roles) in containers {
            match self.effective_in(id, client).await {
                Ok(Some(found)) => {
                    for role in roles {
                        if found.contains(&role.name) {
                            held.push(role.clone().into());
                        } else if let Some(why) = self.absent_role(role).await? {
                            unread.insert(role.clone(), why);
                        }
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    let why = unknown(ROLES, error)?;
                    unread.extend(roles.into_iter().map(|role| (role.clone(), why.clone())));
                }
            }
        }
        held.sort();
        Ok(Some(UserRoles { held, unread: (!unread.is_empty()).then(|| unread.into()) }))
    }

    /// Returns the names of the user's effective roles of the realm or of a client; `None`: the user is gone.
    async fn effective_in(&self, id: &UserId, client: Option<&str>) -> Result<Option<HashSet<String>>, SourceError> {
        let mappings = ["users", id.as_str(), "role-mappings"];
        let client = match client {
            Some(client) => match self.client_called(client).await? {
                Some(id) => Some(id),
                None => return Ok(Some(HashSet::new())),
            },
            None => None,
        };
        let (asked, container) = match &client {
            Some(id) => (Asked::Clients, vec!["clients", id]),
            None => (Asked::Users, vec!["realm"]),
        };
        let below = [&mappings[..], &container, &["composite"]].concat();
        let within = self.settings.connection.time_outs.long;
        let list: Option<Vec<Role>> = self.ask(asked, &below, &[], within, Some(USER_GONE)).await?;
        Ok(list.map(|list| list.into_iter().map(|role| role.name).collect()))
    }

    /// Returns the internal id of a client; `None`: there is no such client.
    async fn client_called(&self, client: &str) -> Result<Option<String>, SourceError> {
        let found: Vec<Client> = self.must(Asked::Clients, &["clients"], &[("clientId", client)]).await?;
        let found = found.into_iter().find(|found| found.client_id == client);
        if found.is_none() {
            self.sees_clients().await?;
        }
        Ok(found.map(|client| client.id))
    }

    /// Fails if the client's rights show no clients: every realm has some, but with `query-clients` alone the list is
    /// empty.
    async fn sees_clients(&self) -> Result<(), SourceError> {
        let some: Vec<Client> = self.must(Asked::Clients, &["clients"], &[("first", "0"), ("max", "1")]).await?;
        if some.is_empty() { Err(self.names.lacks(Asked::Clients, self.base().await?)) } else { Ok(()) }
    }

    /// Returns why a role that a user lacks says nothing about the user: it does not exist, or this cannot be read.
    /// `None`: it exists.
    async fn absent_role(&self, role: &RoleName) -> Result<Option<Unread>, SourceError> {
        let exists = async {
            let client = match &role.client {
                Some(client) => match self.client_called(client).await? {
                    Some(id) => Some(id),
                    None => return Ok(false),
                },
                None => None,
            };
            let (asked, below) = (asked(client.as_deref()), place(client.as_deref(), &[&role.name]));
            let within = self.settings.connection.time_outs.call;
            Ok(self.ask::<Role>(asked, &below, &[], within, Some(ROLE_GONE)).await?.is_some())
        };
        match exists.await {
            Ok(true) => Ok(None),
            Ok(false) => match self.catalog().await {
                Ok(catalog) => Ok(Some(catalog.absent(role))),
                // Only the suggestion is missing.
                Err(_) => Ok(Some(absent(role, ""))),
            },
            Err(error) => unknown(ROLES, error).map(Some),
        }
    }

    /// Returns why those of these roles that do not exist are missing.
    pub(super) async fn absent_roles(&self, roles: &BTreeSet<RoleName>) -> Result<Vec<String>, SourceError> {
        let catalog = self.catalog().await?;
        let absent = roles.iter().filter(|role| !catalog.roles.contains_key(role));
        Ok(absent.map(|role| catalog.absent(role).why().to_owned()).collect())
    }

    /// Lists all roles of the realm and of its clients.
    async fn catalog(&self) -> Result<Catalog, SourceError> {
        let mut catalog = Catalog::default();
        catalog.add(None, self.all(Asked::Roles, &["roles"], None).await?.unwrap_or_default());
        let clients: Vec<Client> = self.all(Asked::Clients, &["clients"], None).await?.unwrap_or_default();
        if clients.is_empty() {
            return Err(self.names.lacks(Asked::Clients, self.base().await?));
        }
        catalog.clients = clients.iter().map(|client| client.client_id.clone()).collect();
        let mut lists = stream::iter(clients)
            .map(|client| async move {
                let below = ["clients", &client.id, "roles"];
                let roles = self.all::<Role>(Asked::Clients, &below, Some(CLIENT_GONE)).await?;
                Ok::<_, SourceError>((client, roles))
            })
            .buffered(SIDE_BY_SIDE);
        while let Some((client, roles)) = lists.try_next().await? {
            match roles {
                Some(roles) => catalog.add(Some(&client), roles),
                // It was deleted since the clients were listed.
                None => drop(catalog.clients.remove(&client.client_id)),
            }
        }
        drop(lists);
        Ok(catalog)
    }

    /// Reads a listing that has to be complete; `None` only if Keycloak itself answers `gone`.
    pub(super) async fn all<T: Listed>(
        &self,
        asked: Asked,
        below: &[&str],
        gone: Option<&str>,
    ) -> Result<Option<Vec<T>>, SourceError> {
        let query = [("briefRepresentation", "true")];
        let listing = Listing { asked, below, query: &query, from: 0, max: self.settings.page.max(1), gone };
        let Some(paged): Option<Paged<Vec<T>>> = self.pages(listing, &|_| {}).await? else { return Ok(None) };
        let odd = paged.unreadable.first().map(|(_, odd)| odd.failure());
        match paged.incomplete.or(odd) {
            Some(why) => Err(self.unconfirmed(&why)),
            None => Ok(Some(paged.items)),
        }
    }

    /// Reads which users and groups have these roles, or a composite role that contains them.
    pub(super) async fn holders(&self, roles: &BTreeSet<RoleName>) -> Result<RoleHolders, SourceError> {
        let mut found = RoleHolders::default();
        let structure = async {
            let catalog = self.catalog().await?;
            let containing = self.containing(&catalog).await?;
            Ok((catalog, containing))
        };
        let (catalog, containing) = match structure.await {
            Ok(structure) => structure,
            Err(error) => {
                found.lacks = missing_right(&error);
                let why = unknown_in_run(ROLES, error)?;
                found.unread = roles.iter().map(|role| (role.clone(), why.clone())).collect();
                return Ok(found);
            }
        };
        let by_id: HashMap<&str, &Placed> =
            catalog.roles.values().map(|placed| (placed.role.id.as_str(), placed)).collect();
        let mut read: HashMap<&str, Result<Holders, Unread>> = HashMap::new();
        let default_role =
            RoleName { client: None, name: format!("default-roles-{}", self.settings.realm.to_lowercase()) };
        for role in roles {
            let Some(placed) = catalog.roles.get(role) else {
                found.unread.insert(role.clone(), catalog.absent(role));
                continue;
            };
            let mut all = Holders::default();
            let granting = granting(&placed.role.id, &containing);
            let default = catalog.roles.get(&default_role);
            if default.is_some_and(|default| granting.contains(&default.role.id.as_str())) {
                let why =
                    format!("Keycloak does not list which users of a federation without import have the role {role}");
                found.by_default.insert(role.clone(), Unread::Unknown(why));
            }
            for id in granting {
                let Some(placed) = by_id.get(id) else { continue };
                if !read.contains_key(id) {
                    let holders = match self.direct_holders(placed).await {
                        Ok((holders, evidence)) => {
                            found.evidence.add(&evidence);
                            Ok(holders)
                        }
                        Err(error) => {
                            found.lacks = found.lacks.take().or_else(|| missing_right(&error));
                            Err(unknown_in_run(ROLES, error)?)
                        }
                    };
                    read.insert(id, holders);
                }
                match read.get(id) {
                    Some(Ok(holders)) => all.add(holders),
                    Some(Err(why)) => drop(found.unread.insert(role.clone(), why.clone())),
                    None => {}
                }
            }
            if let Some(why) = all.incomplete.take() {
                let why = format!("the users with the role {role} were not read completely: {why}");
                found.unread.entry(role.clone()).or_insert(Unread::Unknown(why));
            }
            found.held.insert(role.clone(), all);
        }
        Ok(found)
    }

    /// Returns, for the id of each role, the ids of the composite roles that contain it directly.
    async fn containing(&self, catalog: &Catalog) -> Result<HashMap<String, Vec<String>>, SourceError> {
        let composites = catalog.roles.values().filter(|placed| placed.role.composite);
        let composites: Vec<String> = composites.map(|placed| placed.role.id.clone()).collect();
        let mut containing: HashMap<String, Vec<String>> = HashMap::new();
        let mut lists = stream::iter(composites)
            .map(|id| async move {
                let parts: Vec<Role> = self.must(Asked::Roles, &["roles-by-id", &id, "composites"], &[]).await?;
                Ok::<_, SourceError>((id, parts))
            })
            .buffered(SIDE_BY_SIDE);
        while let Some((id, parts)) = lists.try_next().await? {
            for part in parts {
                containing.entry(part.id).or_default().push(id.clone());
            }
        }
        Ok(containing)
    }

    /// Reads the users and the groups that have a role directly.
    async fn direct_holders(&self, placed: &Placed) -> Result<(Holders, ReadEvidence), SourceError> {
        let (users, groups): (Paged<Packed<UserId>>, Paged<BTreeMap<String, Group>>) =
            tokio::try_join!(self.of_role(placed, "users"), self.of_role(placed, "groups"))?;
        let mut evidence = users.evidence();
        evidence.add(&groups.evidence());
        let odd = |unreadable: &[(String, super::Unreadable)]| unreadable.first().map(|(_, odd)| odd.failure());
        let incomplete = users.incomplete.or(groups.incomplete).or(odd(&users.unreadable)).or(odd(&groups.unreadable));
        let groups = groups.items.into_keys().map(GroupId::from).collect();
        Ok((Holders { users: users.items, groups, incomplete }, evidence))
    }

    async fn of_role<C: Collect>(&self, placed: &Placed, what: &str) -> Result<Paged<C>, SourceError> {
        let below = [placed.path().as_slice(), &[what]].concat();
        let query = [("briefRepresentation", "true")];
        let listing = Listing {
            asked: asked(placed.client.as_deref()),
            below: &below,
            query: &query,
            from: 0,
            max: self.settings.page.max(1),
            gone: Some(ROLE_GONE),
        };
        let paged = self.pages(listing, &|_| {}).await?;
        paged.ok_or_else(|| {
            let text =
                format!("realm {}: the role {} was deleted during the read", self.settings.realm, placed.role.name);
            fault::transient(format!("{text}; usersync reads it again"))
        })
    }
}

/// Returns the kind of read that a role needs: of the realm, or of its clients.
fn asked(client: Option<&str>) -> Asked {
    client.map_or(Asked::Roles, |_| Asked::Clients)
}

/// Returns the ids of a role and of all composite roles that contain it, directly or not.
fn granting<'a>(id: &'a str, containing: &'a HashMap<String, Vec<String>>) -> Vec<&'a str> {
    let mut all = vec![id];
    let mut next = 0;
    while let Some(one) = all.get(next).copied() {
        for above in containing.get(one).into_iter().flatten() {
            if !all.contains(&above.as_str()) {
                all.push(above);
            }
        }
        next += 1;
    }
    all
}

impl Holders {
    fn add(&mut self, other: &Self) {
        self.users.extend(other.users.iter());
        self.groups.extend(other.groups.iter().cloned());
        if self.incomplete.is_none() {
            self.incomplete.clone_from(&other.incomplete);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_granted_by_all_composites_above_it_even_in_a_circle() {
        let above = |id: &str, ids: &[&str]| (id.to_owned(), ids.iter().map(|&id| id.to_owned()).collect());
        let containing = [above("a", &["b", "c"]), above("b", &["d"]), above("c", &["d"]), above("d", &["a"])].into();
        assert_eq!(granting("a", &containing), ["a", "b", "c", "d"]);
        assert_eq!(granting("b", &containing), ["b", "d", "a", "c"]);
        assert_eq!(granting("x", &containing), ["x"]);
    }
}
