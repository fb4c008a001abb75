//! State of a realm. Groups have ids and form a tree, and a user is in one of three listings, so
//! [`Identities`](crate::identities::Identities) does not fit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::event::{AdminEvent, UserEvent};
use super::federation::Federation;
pub(crate) use crate::roster::Id;
use crate::roster::Roster;

/// Returns a new random id.
pub(crate) fn new_id() -> Id {
    uuid::Uuid::new_v4().to_string().into()
}

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: Id,
    pub(crate) username: String,
    pub(crate) email: Option<String>,
    pub(crate) first_name: Option<String>,
    pub(crate) last_name: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) email_verified: bool,
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
    pub(crate) federation_link: Option<String>,
    pub(crate) created: i64,
    pub(crate) not_before: i64,
    pub(crate) required_actions: Vec<String>,
    pub(crate) groups: BTreeSet<Id>,
    pub(crate) realm_roles: BTreeSet<String>,
    pub(crate) client_roles: BTreeMap<Id, BTreeSet<String>>,
    pub(crate) service_account_of: Option<Id>,
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) parent: Option<Id>,
    pub(crate) children: BTreeMap<String, Id>,
    pub(crate) members: Roster,
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
    pub(crate) realm_roles: BTreeSet<String>,
    pub(crate) client_roles: BTreeMap<Id, BTreeSet<String>>,
}

/// A role: the internal id of its client (`None`: a role of the realm), and its name.
pub(crate) type RoleKey = (Option<Id>, String);

/// A role of the realm or of a client.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// The roles that it contains.
    pub(crate) composites: BTreeSet<RoleKey>,
}

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: Id,
    /// The `clientId`.
    pub(crate) name: String,
    pub(crate) secret: Option<String>,
    pub(crate) service_account: Option<Id>,
    pub(crate) roles: BTreeMap<String, Role>,
    /// All other fields of the create or update request; returned unchanged.
    pub(crate) extra: Map<String, Value>,
}

/// An organization.
#[derive(Clone, Debug)]
pub(crate) struct Organization {
    pub(crate) id: Id,
    pub(crate) name: String,
    /// Never changes.
    pub(crate) alias: String,
    pub(crate) enabled: bool,
    pub(crate) domains: Vec<Value>,
    /// Its members by id, each with whether the organization manages the user.
    pub(crate) members: BTreeMap<Id, bool>,
}

/// Settings of a realm.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Settings {
    pub(crate) admin_events: bool,
    pub(crate) admin_event_details: bool,
    pub(crate) user_events: bool,
    /// User events that are stored; empty: Keycloak's default.
    pub(crate) event_types: BTreeSet<String>,
    pub(crate) listeners: Vec<String>,
    pub(crate) edit_username: bool,
    pub(crate) unmanaged_attributes: bool,
    pub(crate) extra: Map<String, Value>,
}

/// A realm.
#[derive(Clone, Debug)]
pub(crate) struct Realm {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) users: HashMap<Id, Arc<User>>,
    /// All users by name, including service accounts.
    pub(crate) names: HashMap<String, Id>,
    pub(crate) emails: HashMap<String, Id>,
    /// All users by creation time, in milliseconds.
    pub(crate) by_creation: BTreeSet<(i64, Id)>,
    /// All stored users except service accounts, in listing order.
    pub(crate) people: Roster,
    /// Users of a federation that stores nothing in Keycloak: listed after all others, never counted.
    pub(crate) outside: Roster,
    /// Service accounts, which only filtered listings include.
    pub(crate) services: Roster,
    pub(crate) groups: HashMap<Id, Arc<Group>>,
    pub(crate) top: BTreeMap<String, Id>,
    pub(crate) default_groups: BTreeSet<Id>,
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) clients: BTreeMap<String, Client>,
    /// Organizations, by id.
    pub(crate) organizations: BTreeMap<Id, Organization>,
    pub(crate) admin_events: Vec<Arc<AdminEvent>>,
    pub(crate) user_events: Vec<Arc<UserEvent>>,
    /// The time of new events, in epoch milliseconds; `None`: the current time.
    pub(crate) event_time: Option<i64>,
    /// Whether new events are stored without being visible, as those of a long transaction.
    pub(crate) holds_events: bool,
    /// Ids of stored events that are not visible yet.
    pub(crate) uncommitted: BTreeSet<String>,
    /// Federation components, by id.
    pub(crate) federations: BTreeMap<String, Federation>,
    /// Copies of federated users as they were first read; `None`: nothing is cached.
    pub(crate) cached: Option<HashMap<Id, Arc<User>>>,
}

/// Roles of `realm-management`, each with its composite roles.
const MANAGEMENT_ROLES: &[(&str, &[&str])] = &[
    ("create-client", &[]),
    ("impersonation", &[]),
    ("manage-authorization", &[]),
    ("manage-clients", &[]),
    ("manage-events", &[]),
    ("manage-identity-providers", &[]),
    ("manage-organizations", &[]),
    ("manage-realm", &[]),
    ("manage-users", &[]),
    ("query-clients", &[]),
    ("query-groups", &[]),
    ("query-organizations", &[]),
    ("query-realms", &[]),
    ("query-users", &[]),
    ("view-authorization", &[]),
    ("view-clients", &["query-clients"]),
    ("view-events", &[]),
    ("view-identity-providers", &[]),
    ("view-organizations", &["query-organizations"]),
    ("view-realm", &[]),
    ("view-users", &["query-groups", "query-users"]),
];

/// The client that holds the rights over a realm: its own, or the one in `master`.
pub(crate) fn management_client(client_id: &str) -> Client {
    let id = new_id();
    let mut roles: BTreeMap<String, Role> = BTreeMap::new();
    for (name, composites) in MANAGEMENT_ROLES {
        roles.insert((*name).to_owned(), role(Some(&id), name, composites));
    }
    let all: Vec<&str> = MANAGEMENT_ROLES.iter().map(|(name, _)| *name).collect();
    roles.insert("realm-admin".into(), role(Some(&id), "realm-admin", &all));
    let mut extra = Map::new();
    extra.insert("name".into(), Value::String(format!("${{client_{client_id}}}")));
    extra.insert("bearerOnly".into(), Value::Bool(true));
    Client { id, name: client_id.into(), secret: None, service_account: None, roles, extra }
}

/// Returns a role with these composite roles, all of one container.
fn role(client: Option<&Id>, name: &str, composites: &[&str]) -> Role {
    Role {
        id: new_id(),
        name: name.into(),
        description: Some(format!("${{role_{name}}}")),
        composites: composites.iter().map(|&name| (client.cloned(), name.to_owned())).collect(),
    }
}

impl Realm {
    /// Returns a new realm with Keycloak's default content.
    pub(crate) fn new(name: &str) -> Self {
        let default_role = format!("default-roles-{name}");
        let mut roles = BTreeMap::new();
        roles.insert(
            "offline_access".to_owned(),
            Role { description: Some("${role_offline-access}".into()), ..role(None, "offline_access", &[]) },
        );
        roles.insert("uma_authorization".to_owned(), role(None, "uma_authorization", &[]));
        let default = Role {
            description: Some("${role_default-roles}".into()),
            ..role(None, &default_role, &["offline_access", "uma_authorization"])
        };
        roles.insert(default_role, default);
        let mut clients = BTreeMap::new();
        let own = if name == "master" { "master-realm" } else { "realm-management" };
        clients.insert(own.to_owned(), management_client(own));
        let mut cli = Map::new();
        cli.insert("publicClient".into(), Value::Bool(true));
        let admin_cli = Client {
            id: new_id(),
            name: "admin-cli".into(),
            secret: None,
            service_account: None,
            roles: BTreeMap::new(),
            extra: cli,
        };
        clients.insert("admin-cli".to_owned(), admin_cli);
        Self {
            id: new_id(),
            name: name.into(),
            settings: Settings {
                admin_events: false,
                admin_event_details: false,
                user_events: false,
                event_types: BTreeSet::new(),
                listeners: vec!["jboss-logging".into()],
                edit_username: false,
                unmanaged_attributes: false,
                extra: Map::new(),
            },
            users: HashMap::new(),
            names: HashMap::new(),
            emails: HashMap::new(),
            by_creation: BTreeSet::new(),
            people: Roster::default(),
            outside: Roster::default(),
            services: Roster::default(),
            groups: HashMap::new(),
            top: BTreeMap::new(),
            default_groups: BTreeSet::new(),
            roles,
            clients,
            organizations: BTreeMap::new(),
            admin_events: Vec::new(),
            user_events: Vec::new(),
            event_time: None,
            holds_events: false,
            uncommitted: BTreeSet::new(),
            federations: BTreeMap::new(),
            cached: None,
        }
    }

    /// Returns the role that every stored user has.
    pub(crate) fn default_role(&self) -> String {
        format!("default-roles-{}", self.name)
    }

    /// Returns whether organizations are turned on.
    pub(crate) fn has_organizations(&self) -> bool {
        self.settings.extra.get("organizationsEnabled") == Some(&Value::Bool(true))
    }

    /// Returns the organizations that a user is a member of.
    pub(crate) fn organizations_of(&self, user: &str) -> impl Iterator<Item = &Organization> {
        self.organizations.values().filter(move |one| one.members.contains_key(user))
    }

    /// Returns the client with this internal id.
    pub(crate) fn client(&self, id: &str) -> Option<&Client> {
        self.clients.values().find(|client| &*client.id == id)
    }

    /// Returns the client with this internal id for a change in place.
    pub(crate) fn client_mut(&mut self, id: &str) -> Option<&mut Client> {
        self.clients.values_mut().find(|client| &*client.id == id)
    }

    /// Returns the path of a group, built from names.
    pub(crate) fn path(&self, group: &Group) -> String {
        let mut names = vec![group.name.as_str()];
        let mut parent = group.parent.as_ref();
        while let Some(above) = parent.and_then(|id| self.groups.get(id)) {
            names.push(&above.name);
            parent = above.parent.as_ref();
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }

    /// Returns the group at a path; names with slashes are supported.
    pub(crate) fn group_at(&self, path: &str) -> Option<&Arc<Group>> {
        let rest = path.strip_prefix('/').unwrap_or(path);
        self.group_below(None, rest)
    }

    fn group_below(&self, parent: Option<&Group>, rest: &str) -> Option<&Arc<Group>> {
        let level = parent.map_or(&self.top, |group| &group.children);
        if let Some(group) = level.get(rest).and_then(|id| self.groups.get(id)) {
            return Some(group);
        }
        rest.match_indices('/').find_map(|(at, _)| {
            let group = level.get(&rest[..at]).and_then(|id| self.groups.get(id))?;
            self.group_below(Some(group), &rest[at + 1..])
        })
    }

    /// Returns a role.
    pub(crate) fn role(&self, (client, name): &RoleKey) -> Option<&Role> {
        match client {
            Some(client) => self.client(client)?.roles.get(name),
            None => self.roles.get(name),
        }
    }

    /// Returns a role for a change in place.
    pub(crate) fn role_mut(&mut self, (client, name): &RoleKey) -> Option<&mut Role> {
        match client {
            Some(client) => self.client_mut(client)?.roles.get_mut(name),
            None => self.roles.get_mut(name),
        }
    }

    /// Returns the role with this id.
    pub(crate) fn role_by_id(&self, id: &str) -> Option<RoleKey> {
        let of = |client: Option<&Id>, roles: &BTreeMap<String, Role>| {
            let role = roles.values().find(|role| &*role.id == id)?;
            Some((client.cloned(), role.name.clone()))
        };
        of(None, &self.roles).or_else(|| self.clients.values().find_map(|client| of(Some(&client.id), &client.roles)))
    }

    /// Returns a user's effective roles: direct, from groups and their parents, and composites.
    pub(crate) fn effective_roles(&self, user: &User) -> BTreeSet<RoleKey> {
        let mut found: BTreeSet<RoleKey> = BTreeSet::new();
        let mut open = role_keys(&user.realm_roles, &user.client_roles);
        for id in &user.groups {
            let mut group = self.groups.get(id);
            while let Some(one) = group {
                open.extend(role_keys(&one.realm_roles, &one.client_roles));
                group = one.parent.as_ref().and_then(|id| self.groups.get(id));
            }
        }
        while let Some(key) = open.pop() {
            if let Some(role) = self.role(&key)
                && found.insert(key)
            {
                open.extend(role.composites.iter().cloned());
            }
        }
        found
    }

    /// Returns the composite roles that contain a role directly.
    pub(crate) fn containing(&self, key: &RoleKey) -> Vec<RoleKey> {
        let of = |client: Option<&Id>, roles: &BTreeMap<String, Role>| -> Vec<RoleKey> {
            let contain = roles.values().filter(|role| role.composites.contains(key));
            contain.map(|role| (client.cloned(), role.name.clone())).collect()
        };
        let of_clients = self.clients.values().flat_map(|client| of(Some(&client.id), &client.roles));
        of(None, &self.roles).into_iter().chain(of_clients).collect()
    }

    /// Deletes a role, and removes it from all that have it.
    pub(crate) fn drop_role(&mut self, key: &RoleKey) {
        fn forget(realm: &mut BTreeSet<String>, clients: &mut BTreeMap<Id, BTreeSet<String>>, key: &RoleKey) {
            match key {
                (None, name) => drop(realm.remove(name)),
                (Some(client), name) => drop(clients.get_mut(client).map(|held| held.remove(name))),
            }
        }
        for user in self.users.values_mut().map(Arc::make_mut) {
            forget(&mut user.realm_roles, &mut user.client_roles, key);
        }
        for group in self.groups.values_mut().map(Arc::make_mut) {
            forget(&mut group.realm_roles, &mut group.client_roles, key);
        }
        let of_clients = self.clients.values_mut().flat_map(|client| client.roles.values_mut());
        for role in self.roles.values_mut().chain(of_clients) {
            role.composites.remove(key);
        }
        match key {
            (Some(client), name) => drop(self.client_mut(client).map(|client| client.roles.remove(name))),
            (None, name) => drop(self.roles.remove(name)),
        }
    }

    /// Returns the list that contains a user.
    pub(crate) fn roster(&mut self, user: &User) -> &mut Roster {
        if user.service_account_of.is_some() {
            &mut self.services
        } else if user.is_outside() {
            &mut self.outside
        } else {
            &mut self.people
        }
    }

    /// Returns all visible users except service accounts, in listing order.
    pub(crate) fn listed(&self) -> Vec<Id> {
        let seen = |id: &&Id| self.users.get(*id).is_some_and(|user| !self.is_left_out(user));
        self.people.ids().iter().chain(self.outside.ids().iter().filter(seen)).cloned().collect()
    }
}

/// Returns whether these direct roles contain a role.
fn has(realm: &BTreeSet<String>, clients: &BTreeMap<Id, BTreeSet<String>>, (client, name): &RoleKey) -> bool {
    match client {
        None => realm.contains(name),
        Some(client) => clients.get(client).is_some_and(|held| held.contains(name)),
    }
}

/// Adds a role to these direct roles.
fn grant(realm: &mut BTreeSet<String>, clients: &mut BTreeMap<Id, BTreeSet<String>>, (client, name): &RoleKey) {
    match client {
        None => realm.insert(name.clone()),
        Some(client) => clients.entry(Arc::clone(client)).or_default().insert(name.clone()),
    };
}

impl Group {
    /// Returns whether the group has a role directly.
    pub(crate) fn has(&self, role: &RoleKey) -> bool {
        has(&self.realm_roles, &self.client_roles, role)
    }

    /// Adds a role.
    pub(crate) fn grant(&mut self, role: &RoleKey) {
        grant(&mut self.realm_roles, &mut self.client_roles, role);
    }
}

impl User {
    /// Returns whether the user has a role directly.
    pub(crate) fn has(&self, role: &RoleKey) -> bool {
        has(&self.realm_roles, &self.client_roles, role)
    }

    /// Adds a role.
    pub(crate) fn grant(&mut self, role: &RoleKey) {
        grant(&mut self.realm_roles, &mut self.client_roles, role);
    }

    /// Returns whether Keycloak stores nothing of this user.
    pub(crate) fn is_outside(&self) -> bool {
        self.id.starts_with("f:")
    }

    /// Returns the component that the user comes from.
    pub(crate) fn component(&self) -> Option<&str> {
        let by_id = || self.id.strip_prefix("f:")?.split(':').next();
        self.federation_link.as_deref().or_else(by_id)
    }
}

/// Returns the roles of a user or a group.
fn role_keys(realm: &BTreeSet<String>, clients: &BTreeMap<Id, BTreeSet<String>>) -> Vec<RoleKey> {
    let of_clients =
        clients.iter().flat_map(|(client, names)| names.iter().map(|name| (Some(Arc::clone(client)), name.clone())));
    realm.iter().map(|name| (None, name.clone())).chain(of_clients).collect()
}
