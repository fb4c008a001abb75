//! Reads of roles and of who has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::errors::Refused;
use super::page::{Page, ok};
use super::render::{self, Depth, GroupDepth};
use super::rights::{Rights, demand};
use super::state::{Group, Id, Realm, Role, RoleKey, User};
use crate::front::{Reply, Request};

fn no_role() -> Refused {
    Refused::error(404, "Could not find role")
}

/// Returns realm roles by name.
pub(crate) fn shown_roles(realm: &Realm, names: &BTreeSet<String>) -> Vec<Value> {
    shown(realm, names.iter().map(|name| (None, name.clone())))
}

fn shown_client_roles(realm: &Realm, client: &Id, names: &BTreeSet<String>) -> Vec<Value> {
    shown(realm, names.iter().map(|name| (Some(Arc::clone(client)), name.clone())))
}

/// Returns a role with its attributes.
pub(crate) fn shown_role(realm: &Realm, key: &RoleKey) -> Option<Value> {
    realm.role(key).map(|role| one(realm, key, role, true))
}

fn shown(realm: &Realm, keys: impl IntoIterator<Item = RoleKey>) -> Vec<Value> {
    keys.into_iter().filter_map(|key| Some(one(realm, &key, realm.role(&key)?, false))).collect()
}

fn one(realm: &Realm, (client, _): &RoleKey, role: &Role, full: bool) -> Value {
    let container = client.as_ref().unwrap_or(&realm.id);
    serde_json::to_value(render::role(role, container, client.is_some(), full)).unwrap_or_default()
}

/// The direct roles of a user or a group.
struct Direct<'a> {
    realm: &'a BTreeSet<String>,
    clients: &'a BTreeMap<Id, BTreeSet<String>>,
}

impl Direct<'_> {
    /// Returns all of them, by container.
    fn all(&self, realm: &Realm) -> Value {
        let mut all = json!({});
        if !self.realm.is_empty() {
            all["realmMappings"] = json!(shown_roles(realm, self.realm));
        }
        for (id, names) in self.clients.iter().filter(|(_, names)| !names.is_empty()) {
            if let Some(client) = realm.client(id) {
                let mappings = shown_client_roles(realm, id, names);
                all["clientMappings"][&client.name] =
                    json!({ "id": *client.id, "client": client.name, "mappings": mappings });
            }
        }
        all
    }
}

/// Answers a GET below `/users/{id}/role-mappings`.
pub(crate) fn user_mappings(realm: &Realm, user: &User, rest: &[&str]) -> Result<Reply, Refused> {
    mappings(realm, &Direct { realm: &user.realm_roles, clients: &user.client_roles }, rest, || {
        realm.effective_roles(user)
    })
}

/// Answers a GET below `/groups/{id}/role-mappings`.
pub(crate) fn group_mappings(realm: &Realm, group: &Group, rest: &[&str]) -> Result<Reply, Refused> {
    mappings(realm, &Direct { realm: &group.realm_roles, clients: &group.client_roles }, rest, BTreeSet::new)
}

fn mappings(
    realm: &Realm,
    direct: &Direct<'_>,
    rest: &[&str],
    effective: impl Fn() -> BTreeSet<RoleKey>,
) -> Result<Reply, Refused> {
    let none = BTreeSet::new();
    match rest {
        [] => Ok(ok(&direct.all(realm))),
        ["realm"] => Ok(ok(&shown_roles(realm, direct.realm))),
        ["realm", "composite"] => Ok(ok(&shown(realm, effective().into_iter().filter(|(client, _)| client.is_none())))),
        ["realm", "available"] => {
            let left = realm.roles.keys().filter(|name| !direct.realm.contains(*name)).cloned().collect();
            Ok(ok(&shown_roles(realm, &left)))
        }
        ["clients", id, rest @ ..] => {
            let client = realm.client(id).ok_or_else(|| Refused::error(404, "Client not found"))?;
            let held = direct.clients.get(&client.id).unwrap_or(&none);
            match rest {
                [] => Ok(ok(&shown_client_roles(realm, &client.id, held))),
                ["composite"] => {
                    let of_client = |(container, _): &RoleKey| container.as_ref() == Some(&client.id);
                    Ok(ok(&shown(realm, effective().into_iter().filter(of_client))))
                }
                ["available"] => {
                    let left = client.roles.keys().filter(|name| !held.contains(*name)).cloned().collect();
                    Ok(ok(&shown_client_roles(realm, &client.id, &left)))
                }
                _ => Err(Refused::no_path()),
            }
        }
        _ => Err(Refused::no_path()),
    }
}

/// Answers a GET below `/roles`.
pub(crate) fn roles(realm: &Realm, rights: &Rights, request: &Request, rest: &[&str]) -> Result<Reply, Refused> {
    demand(rights.view_realm())?;
    in_container(realm, rights, request, None, rest)
}

/// Answers a GET below `/roles-by-id`.
pub(crate) fn by_id(realm: &Realm, rights: &Rights, request: &Request, rest: &[&str]) -> Result<Reply, Refused> {
    let Some((id, rest)) = rest.split_first() else { return Err(Refused::no_path()) };
    let Some(key) = realm.role_by_id(id) else {
        return Err(Refused::error(404, "Could not find role with id"));
    };
    demand(if key.0.is_some() { rights.view_clients() } else { rights.view_realm() })?;
    match rest {
        [] | ["composites", ..] => one_role(realm, rights, request, &key, rest),
        _ => Err(Refused::no_path()),
    }
}

/// Answers a GET below the roles of the realm or of a client.
pub(crate) fn in_container(
    realm: &Realm,
    rights: &Rights,
    request: &Request,
    client: Option<&Id>,
    rest: &[&str],
) -> Result<Reply, Refused> {
    let Some((name, rest)) = rest.split_first() else {
        let page = Page::of(request, usize::MAX)?;
        let search = request.param("search").unwrap_or_default().to_lowercase();
        let roles = match client {
            Some(client) => realm.client(client).map(|client| &client.roles),
            None => Some(&realm.roles),
        };
        let names = roles.into_iter().flat_map(BTreeMap::keys);
        let names: Vec<&String> = names.filter(|name| name.to_lowercase().contains(&search)).collect();
        let keys = page.cut(&names).iter().map(|name| (client.cloned(), (*name).clone()));
        return Ok(ok(&shown(realm, keys)));
    };
    one_role(realm, rights, request, &(client.cloned(), (*name).to_owned()), rest)
}

fn one_role(realm: &Realm, rights: &Rights, request: &Request, key: &RoleKey, rest: &[&str]) -> Result<Reply, Refused> {
    let role = realm.role(key).ok_or_else(no_role)?;
    match rest {
        [] => Ok(ok(&one(realm, key, role, true))),
        ["composites"] => Ok(ok(&shown(realm, role.composites.iter().cloned()))),
        ["users"] => {
            demand(rights.view_users())?;
            let page = Page::of(request, 100)?;
            let depth = if request.flag("briefRepresentation") { Depth::Brief } else { Depth::Full };
            let has = |id: &&Id| realm.users.get(*id).is_some_and(|user| user.has(key));
            let held: Vec<Id> = realm.people.ids().iter().filter(has).cloned().collect();
            Ok(ok(&render::users(realm, page.cut(&held), depth, None)))
        }
        ["groups"] => {
            // Up to 26.7.0 without this right.
            demand(rights.view_users())?;
            let page = Page::of(request, 100)?;
            let depth = GroupDepth { brief: true, count: false, access: None };
            let mut held: Vec<_> = realm.groups.values().filter(|group| group.has(key)).collect();
            held.sort_by(|a, b| a.name.cmp(&b.name));
            let shown: Vec<Value> =
                page.cut(&held).iter().map(|group| render::group(realm, group, depth, Vec::new())).collect();
            Ok(ok(&shown))
        }
        _ => Err(Refused::no_path()),
    }
}
