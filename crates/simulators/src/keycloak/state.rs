//! State of a realm. Groups have ids and form a tree, and a user is in one of three listings, so
//! [`Identities`](crate::identities::Identities) does not fit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::event::{AdminEvent, UserEvent};
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
}

/// A role of the realm or of a client.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// Names of its composite roles, in the same container.
    pub(crate) composites: BTreeSet<String>,
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
    pub(crate) admin_events: Vec<Arc<AdminEvent>>,
    pub(crate) user_events: Vec<Arc<UserEvent>>,
    /// Unreachable federation providers, by component id.
    pub(crate) ldap_down: HashSet<String>,
    /// Disabled federation providers, by component id.
    pub(crate) switched_off: HashSet<String>,
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
    let mut roles: BTreeMap<String, Role> = BTreeMap::new();
    for (name, composites) in MANAGEMENT_ROLES {
        roles.insert((*name).to_owned(), role(name, composites));
    }
    let all: Vec<&str> = MANAGEMENT_ROLES.iter().map(|(name, _)| *name).collect();
    roles.insert("realm-admin".into(), role("realm-admin", &all));
    let mut extra = Map::new();
    extra.insert("name".into(), Value::String(format!("${{client_{client_id}}}")));
    extra.insert("bearerOnly".into(), Value::Bool(true));
    Client { id: new_id(), name: client_id.into(), secret: None, service_account: None, roles, extra }
}

fn role(name: &str, composites: &[&str]) -> Role {
    Role {
        id: new_id(),
        name: name.into(),
        description: Some(format!("${{role_{name}}}")),
        composites: composites.iter().map(|&name| name.to_owned()).collect(),
    }
}

impl Realm {
    /// Returns a new realm with Keycloak's default content.
    pub(crate) fn new(name: &str) -> Self {
        let default_role = format!("default-roles-{name}");
        let mut roles = BTreeMap::new();
        roles.insert(
            "offline_access".to_owned(),
            Role { description: Some("${role_offline-access}".into()), ..role("offline_access", &[]) },
        );
        roles.insert("uma_authorization".to_owned(), role("uma_authorization", &[]));
        let default = Role {
            description: Some("${role_default-roles}".into()),
            ..role(&default_role, &["offline_access", "uma_authorization"])
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
            admin_events: Vec::new(),
            user_events: Vec::new(),
            ldap_down: HashSet::new(),
            switched_off: HashSet::new(),
        }
    }

    /// Returns the role that every stored user has.
    pub(crate) fn default_role(&self) -> String {
        format!("default-roles-{}", self.name)
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

    /// Returns a user's effective realm roles: direct, from groups and their parents, and composites.
    pub(crate) fn effective_roles(&self, user: &User) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut open: Vec<&str> = user.realm_roles.iter().map(String::as_str).collect();
        for id in &user.groups {
            let mut group = self.groups.get(id);
            while let Some(one) = group {
                open.extend(one.realm_roles.iter().map(String::as_str));
                group = one.parent.as_ref().and_then(|id| self.groups.get(id));
            }
        }
        while let Some(name) = open.pop() {
            if let Some(role) = self.roles.get(name)
                && found.insert(name.to_owned())
            {
                open.extend(role.composites.iter().map(String::as_str));
            }
        }
        found
    }

    /// Returns whether the user's federation provider is unreachable or disabled.
    pub(crate) fn is_cut_off(&self, user: &User) -> bool {
        let down = |component: &str| self.ldap_down.contains(component) || self.switched_off.contains(component);
        !(self.ldap_down.is_empty() && self.switched_off.is_empty()) && user.component().is_some_and(down)
    }

    /// Returns whether the user is absent for Keycloak: its provider is unavailable and nothing of it is stored.
    pub(crate) fn is_hidden(&self, user: &User) -> bool {
        user.is_outside() && self.is_cut_off(user)
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
        let seen = |id: &&Id| self.users.get(*id).is_some_and(|user| !self.is_hidden(user));
        self.people.ids().iter().chain(self.outside.ids().iter().filter(seen)).cloned().collect()
    }
}

impl User {
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

impl Client {
    /// Returns roles of this client with their composite roles.
    pub(crate) fn expand<'a>(&'a self, names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&String> = names.into_iter().collect();
        while let Some(name) = open.pop() {
            if let Some(role) = self.roles.get(name)
                && found.insert(name.clone())
            {
                open.extend(role.composites.iter());
            }
        }
        found
    }
}
