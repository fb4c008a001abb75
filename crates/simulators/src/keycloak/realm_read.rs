//! Reads of roles, clients and components.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::errors::Refused;
use super::page::{Page, ok};
use super::render::{self, Depth, GroupDepth};
use super::rights::{Rights, demand};
use super::state::{Client, Id, Realm, Role, User};
use crate::front::{Reply, Request};

/// Returns realm roles by name.
pub(crate) fn shown_roles(realm: &Realm, names: &BTreeSet<String>, full: bool) -> Vec<Value> {
    names.iter().filter_map(|name| realm.roles.get(name)).map(|role| one(role, &realm.id, false, full)).collect()
}

fn one(role: &Role, container: &str, of_client: bool, full: bool) -> Value {
    serde_json::to_value(render::role(role, container, of_client, full)).unwrap_or_default()
}

fn shown_client_roles(client: &Client, names: &BTreeSet<String>) -> Vec<Value> {
    names.iter().filter_map(|name| client.roles.get(name)).map(|role| one(role, &client.id, true, false)).collect()
}

/// Answers a GET below `/users/{id}/role-mappings`.
pub(crate) fn user_mappings(realm: &Realm, user: &User, rest: &[&str]) -> Result<Reply, Refused> {
    let none = BTreeSet::new();
    match rest {
        [] => {
            let mut shown = json!({});
            if !user.realm_roles.is_empty() {
                shown["realmMappings"] = json!(shown_roles(realm, &user.realm_roles, false));
            }
            for (id, names) in user.client_roles.iter().filter(|(_, names)| !names.is_empty()) {
                if let Some(client) = realm.client(id) {
                    let mappings = shown_client_roles(client, names);
                    shown["clientMappings"][&client.name] =
                        json!({ "id": *client.id, "client": client.name, "mappings": mappings });
                }
            }
            Ok(ok(&shown))
        }
        ["realm"] => Ok(ok(&shown_roles(realm, &user.realm_roles, false))),
        ["realm", "composite"] => Ok(ok(&shown_roles(realm, &realm.effective_roles(user), false))),
        ["realm", "available"] => {
            let left = realm.roles.keys().filter(|name| !user.realm_roles.contains(*name)).cloned().collect();
            Ok(ok(&shown_roles(realm, &left, false)))
        }
        ["clients", id, rest @ ..] => {
            let client = realm.client(id).ok_or_else(|| Refused::error(404, "Client not found"))?;
            let held = user.client_roles.get(&client.id).unwrap_or(&none);
            match rest {
                [] => Ok(ok(&shown_client_roles(client, held))),
                ["composite"] => Ok(ok(&shown_client_roles(client, &client.expand(held)))),
                ["available"] => {
                    let left = client.roles.keys().filter(|name| !held.contains(*name)).cloned().collect();
                    Ok(ok(&shown_client_roles(client, &left)))
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
    let Some((name, rest)) = rest.split_first() else {
        let page = Page::of(request, usize::MAX)?;
        let search = request.param("search").unwrap_or_default().to_lowercase();
        let names: Vec<&String> = realm.roles.keys().filter(|name| name.to_lowercase().contains(&search)).collect();
        let names = page.cut(&names).iter().map(|name| (*name).clone()).collect();
        return Ok(ok(&shown_roles(realm, &names, false)));
    };
    let role = realm.roles.get(*name).ok_or_else(|| Refused::error(404, "Could not find role"))?;
    match rest {
        [] => Ok(ok(&render::role(role, &realm.id, false, true))),
        ["composites"] => Ok(ok(&shown_roles(realm, &role.composites, false))),
        ["users"] => {
            demand(rights.view_users())?;
            let page = Page::of(request, 100)?;
            let depth = if request.flag("briefRepresentation") { Depth::Brief } else { Depth::Full };
            let holds = |id: &&Id| realm.users.get(*id).is_some_and(|user| user.realm_roles.contains(*name));
            let held: Vec<Id> = realm.people.ids().iter().filter(holds).cloned().collect();
            Ok(ok(&render::users(realm, page.cut(&held), depth, None)))
        }
        ["groups"] => {
            // Up to 26.7.0 without this right.
            demand(rights.view_users())?;
            let page = Page::of(request, 100)?;
            let depth = GroupDepth { brief: true, count: false, access: None };
            let mut held: Vec<_> = realm.groups.values().filter(|group| group.realm_roles.contains(*name)).collect();
            held.sort_by(|a, b| a.name.cmp(&b.name));
            let shown: Vec<Value> =
                page.cut(&held).iter().map(|group| render::group(realm, group, depth, Vec::new())).collect();
            Ok(ok(&shown))
        }
        _ => Err(Refused::no_path()),
    }
}

/// Answers a GET below `/clients`.
pub(crate) fn clients(realm: &Realm, rights: &Rights, request: &Request, rest: &[&str]) -> Result<Reply, Refused> {
    let manage = rights.manage_clients();
    let Some((id, rest)) = rest.split_first() else {
        demand(rights.query_clients())?;
        if !rights.view_clients() {
            return Ok(ok(&json!([])));
        }
        let wanted = request.param("clientId");
        let fits = |client: &&Client| wanted.as_ref().is_none_or(|wanted| *wanted == client.name);
        let shown: Vec<Value> =
            realm.clients.values().filter(fits).map(|client| render::client(client, manage)).collect();
        return Ok(ok(&shown));
    };
    demand(rights.query_clients())?;
    let client = realm.client(id).ok_or_else(|| Refused::error(404, "Could not find client"))?;
    demand(rights.view_clients())?;
    match rest {
        [] => Ok(ok(&render::client(client, manage))),
        ["client-secret"] => {
            demand(manage)?;
            Ok(ok(&json!({ "type": "secret", "value": client.secret })))
        }
        ["service-account-user"] => {
            let text = format!("Service account not enabled for the client '{}'", client.name);
            let user = client.service_account.as_ref().and_then(|id| realm.users.get(id));
            let user = user.ok_or_else(|| Refused::error(400, &text))?;
            Ok(ok(&render::user(realm, user, Depth::Full, None)))
        }
        ["roles"] => Ok(ok(&shown_client_roles(client, &client.roles.keys().cloned().collect()))),
        ["roles", name] => {
            let role = client.roles.get(*name).ok_or_else(|| Refused::error(404, "Could not find role"))?;
            Ok(ok(&one(role, &client.id, true, true)))
        }
        _ => Err(Refused::no_path()),
    }
}

/// Returns the federation providers that users link to.
pub(crate) fn components(realm: &Realm) -> Vec<Value> {
    let links: BTreeSet<&str> =
        realm.users.values().filter_map(|user: &Arc<User>| user.federation_link.as_deref()).collect();
    let shown = |link: &str| {
        json!({
            "id": link, "name": "ldap", "providerId": "ldap",
            "providerType": "org.keycloak.storage.UserStorageProvider", "parentId": *realm.id, "config": {},
        })
    };
    links.into_iter().map(shown).collect()
}
