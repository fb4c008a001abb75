//! Routing of changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::change::{Actor, text};
use super::errors::Refused;
use super::instance::{Keycloak, RealmCell};
use super::page::ok;
use super::render;
use super::rep::{GroupRep, UserRep, read};
use super::rights::{Rights, demand};
use super::state::{Realm, RoleKey};
use crate::front::{Reply, Request};

/// `POST /admin/realms`.
pub(crate) fn create_realm(keycloak: &Keycloak, request: &Request) -> Result<Reply, Refused> {
    let sent: Map<String, Value> = read(&request.body)?;
    let name = sent.get("realm").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(Refused::message(400, "Realm name cannot be empty"));
    }
    let mut realm = Realm::new(&name);
    apply_settings(&mut realm, sent);
    if !keycloak.add(realm) {
        return Err(Refused::message(409, format!("Realm {name} already exists")));
    }
    let location = format!("{}{}/admin/realms/{name}", request.origin(), keycloak.prefix);
    Ok(Reply::empty(201).with("location", location))
}

fn apply_settings(realm: &mut Realm, mut sent: Map<String, Value>) {
    let settings = &mut realm.settings;
    let mut flag = |name: &str, into: &mut bool| {
        if let Some(value) = sent.remove(name).and_then(|value| value.as_bool()) {
            *into = value;
        }
    };
    flag("adminEventsEnabled", &mut settings.admin_events);
    flag("adminEventsDetailsEnabled", &mut settings.admin_event_details);
    flag("eventsEnabled", &mut settings.user_events);
    flag("editUsernameAllowed", &mut settings.edit_username);
    if let Some(listeners) = sent.remove("eventsListeners").and_then(|value| serde_json::from_value(value).ok()) {
        settings.listeners = listeners;
    }
    if let Some(types) = sent.remove("enabledEventTypes").and_then(|value| serde_json::from_value(value).ok()) {
        settings.event_types = types;
    }
    for fixed in ["id", "realm"] {
        sent.remove(fixed);
    }
    settings.extra.extend(sent);
}

/// Context of a changing request.
struct Call<'a> {
    cell: &'a RealmCell,
    actor: &'a Actor,
    rights: &'a Rights,
    request: &'a Request,
    base: String,
}

/// Answers a request other than GET below `/admin/realms/{realm}`.
pub(crate) async fn answer(
    keycloak: &Keycloak,
    cell: &Arc<RealmCell>,
    actor: &Actor,
    rights: &Rights,
    request: &Request,
    method: &str,
    rest: &[&str],
) -> Result<Reply, Refused> {
    let base = format!("{}{}/admin/realms/{}", request.origin(), keycloak.prefix, cell.name);
    let call = Call { cell, actor, rights, request, base };
    match rest {
        ["users", ..] => call.users(method, rest).await,
        ["groups", ..] => call.groups(method, rest).await,
        ["default-groups", id] if matches!(method, "PUT" | "DELETE") => {
            demand(rights.manage_realm())?;
            cell.change(actor, |tx| tx.set_default_group(id, method == "PUT")).await?;
            Ok(done())
        }
        ["roles", rest @ ..] => {
            demand(rights.manage_realm())?;
            call.container_roles(method, None, rest).await
        }
        ["clients", client, "roles", rest @ ..] => {
            demand(rights.manage_clients())?;
            call.container_roles(method, Some(client), rest).await
        }
        ["clients", ..] => call.clients(method, rest).await,
        ["organizations", rest @ ..] => call.organizations(method, rest).await,
        _ => call.realm(method, rest).await,
    }
}

fn done() -> Reply {
    Reply::empty(204).with("cache-control", "no-cache")
}

impl Call<'_> {
    fn created(&self, path: &str) -> Reply {
        Reply::empty(201).with("location", format!("{}/{path}", self.base))
    }

    fn json_only(&self) -> Result<(), Refused> {
        let kind = self.request.header("content-type").unwrap_or_default();
        if kind.starts_with("application/json") {
            return Ok(());
        }
        Err(Refused::error(415, "The content-type header value did not match the value in @Consumes"))
    }

    /// Returns a user to change. A caller that may read learns that it is missing; any other is refused.
    fn manage_user(&self, id: &str) -> Result<(), Refused> {
        demand(self.rights.query_users())?;
        if !self.cell.versions.read(None, |realm| realm.users.contains_key(id)) {
            return Err(Refused::no_user());
        }
        demand(self.rights.manage_users())
    }

    fn manage_group(&self, id: &str) -> Result<(), Refused> {
        if !self.cell.versions.read(None, |realm| realm.groups.contains_key(id)) {
            return Err(Refused::no_group());
        }
        demand(self.rights.manage_users())
    }

    async fn users(&self, method: &str, rest: &[&str]) -> Result<Reply, Refused> {
        let (cell, actor) = (self.cell, self.actor);
        match (method, rest) {
            ("POST", ["users"]) => {
                demand(self.rights.manage_users())?;
                self.json_only()?;
                // Keycloak chooses the id.
                let rep = UserRep { id: None, ..UserRep::read(&self.request.body)? };
                let id = cell.change(actor, |tx| tx.create_user(&rep)).await?;
                Ok(self.created(&format!("users/{id}")))
            }
            ("PUT", ["users", "profile"]) => {
                demand(self.rights.manage_realm())?;
                let sent: Value = read(&self.request.body)?;
                let policy = sent.get("unmanagedAttributePolicy").and_then(Value::as_str).unwrap_or_default();
                let enabled = matches!(policy, "ENABLED" | "ADMIN_EDIT");
                cell.change(actor, |tx| {
                    tx.realm.settings.unmanaged_attributes = enabled;
                    Ok(())
                })
                .await?;
                Ok(ok(&sent))
            }
            ("PUT", ["users", id]) => {
                self.manage_user(id)?;
                self.json_only()?;
                let rep = UserRep::read(&self.request.body)?;
                cell.change(actor, |tx| tx.update_user(id, &rep)).await?;
                Ok(Reply::empty(204))
            }
            ("DELETE", ["users", id]) => {
                self.manage_user(id)?;
                cell.change(actor, |tx| tx.delete_user(id)).await?;
                Ok(done())
            }
            ("PUT" | "DELETE", ["users", id, "groups", group]) => {
                self.manage_user(id)?;
                let join = method == "PUT";
                cell.change(actor, |tx| if join { tx.join(id, group) } else { tx.leave(id, group) }).await?;
                Ok(done())
            }
            ("PUT", ["users", id, action @ ("reset-password" | "execute-actions-email" | "send-verify-email")])
            | ("POST", ["users", id, action @ "logout"]) => {
                self.manage_user(id)?;
                cell.change(actor, |tx| tx.user_action(id, action)).await?;
                Ok(Reply::empty(204))
            }
            ("POST" | "DELETE", ["users", id, "role-mappings", "realm"]) => {
                self.manage_user(id)?;
                let roles = self.roles()?;
                cell.change(actor, |tx| tx.user_roles(id, &roles, method == "POST")).await?;
                Ok(Reply::empty(204))
            }
            ("POST" | "DELETE", ["users", id, "role-mappings", "clients", client]) => {
                self.manage_user(id)?;
                let roles = self.roles()?;
                cell.change(actor, |tx| tx.user_client_roles(id, client, &roles, method == "POST")).await?;
                Ok(Reply::empty(204))
            }
            ("POST", ["users", _]) => Err(Refused::no_path()),
            (_, ["users"]) => Err(Refused::no_method()),
            (_, ["users", id]) => {
                self.manage_user(id)?;
                Err(Refused::no_method())
            }
            _ => Err(Refused::no_path()),
        }
    }

    fn roles(&self) -> Result<Vec<String>, Refused> {
        let sent: Vec<Value> = read(&self.request.body)?;
        let name = |role: &Value| role.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(sent.iter().map(name).collect())
    }

    /// Returns the roles of a request that changes a composite role; they are given by their ids.
    fn parts(&self) -> Result<Vec<RoleKey>, Refused> {
        let sent: Vec<Value> = read(&self.request.body)?;
        let missing = || Refused::error(404, "Could not find composite role");
        self.cell.versions.read(None, |realm| {
            let id = |role: &Value| role.get("id").and_then(Value::as_str).and_then(|id| realm.role_by_id(id));
            sent.iter().map(|role| id(role).ok_or_else(missing)).collect()
        })
    }

    /// Changes roles of the realm, or of a client (by internal id).
    async fn container_roles(&self, method: &str, client: Option<&str>, rest: &[&str]) -> Result<Reply, Refused> {
        let (cell, actor) = (self.cell, self.actor);
        let named = || -> Result<String, Refused> {
            let sent: Map<String, Value> = read(&self.request.body)?;
            Ok(sent.get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
        };
        let key = |name: &str| -> RoleKey { (client.map(Into::into), name.to_owned()) };
        match (method, rest) {
            ("POST", []) => {
                let name = named()?;
                cell.change(actor, |tx| tx.create_role(client, &name, BTreeSet::new())).await?;
                let container = client.map_or_else(String::new, |client| format!("clients/{client}/"));
                Ok(self.created(&format!("{container}roles/{name}")))
            }
            ("PUT", [name]) => {
                let to = named()?;
                cell.change(actor, |tx| tx.rename_role(&key(name), &to)).await?;
                Ok(done())
            }
            ("DELETE", [name]) => {
                cell.change(actor, |tx| tx.delete_role(&key(name))).await?;
                Ok(done())
            }
            ("POST" | "DELETE", [name, "composites"]) => {
                let parts = self.parts()?;
                cell.change(actor, |tx| tx.set_composites(&key(name), &parts, method == "POST")).await?;
                Ok(done())
            }
            (_, [] | [_]) => Err(Refused::no_method()),
            _ => Err(Refused::no_path()),
        }
    }

    async fn groups(&self, method: &str, rest: &[&str]) -> Result<Reply, Refused> {
        let (cell, actor) = (self.cell, self.actor);
        match (method, rest) {
            ("POST", ["groups"]) => {
                demand(self.rights.manage_users())?;
                let rep = GroupRep::read(&self.request.body)?;
                rep.named()?;
                // With an id it is a move to the top level.
                if let Some(id) = &rep.id {
                    cell.change(actor, |tx| tx.move_group(id, None)).await?;
                    return Ok(Reply::empty(204));
                }
                let id = cell.change(actor, |tx| tx.create_group(None, &rep)).await?;
                Ok(self.created(&format!("groups/{id}")))
            }
            ("POST", ["groups", parent, "children"]) => {
                self.manage_group(parent)?;
                let rep = GroupRep::read(&self.request.body)?;
                rep.named()?;
                if let Some(id) = &rep.id {
                    cell.change(actor, |tx| tx.move_group(id, Some(parent))).await?;
                    return Ok(done());
                }
                let id = cell.change(actor, |tx| tx.create_group(Some(parent), &rep)).await?;
                let depth = render::GroupDepth { brief: false, count: false, access: Some(true) };
                let shown = cell.versions.read(None, |realm| {
                    realm.groups.get(&id).map(|group| render::group(realm, group, depth, Vec::new()))
                });
                let mut reply = ok(&shown);
                reply.status = 201;
                Ok(reply.with("location", format!("{}/groups/{id}", self.base)))
            }
            ("PUT", ["groups", id]) => {
                self.manage_group(id)?;
                let rep = GroupRep::read(&self.request.body)?;
                cell.change(actor, |tx| tx.update_group(id, &rep)).await?;
                Ok(Reply::empty(204))
            }
            ("DELETE", ["groups", id]) => {
                self.manage_group(id)?;
                cell.change(actor, |tx| tx.delete_group(id)).await?;
                Ok(Reply::empty(204))
            }
            ("POST" | "DELETE", ["groups", id, "role-mappings", "realm"]) => {
                self.manage_group(id)?;
                let roles = self.roles()?;
                cell.change(actor, |tx| tx.group_roles(id, &roles, method == "POST")).await?;
                Ok(Reply::empty(204))
            }
            ("POST" | "DELETE", ["groups", id, "role-mappings", "clients", client]) => {
                self.manage_group(id)?;
                let roles = self.roles()?;
                cell.change(actor, |tx| tx.group_client_roles(id, client, &roles, method == "POST")).await?;
                Ok(Reply::empty(204))
            }
            (_, ["groups"] | ["groups", _]) => Err(Refused::no_method()),
            _ => Err(Refused::no_path()),
        }
    }

    async fn organizations(&self, method: &str, rest: &[&str]) -> Result<Reply, Refused> {
        let (cell, actor) = (self.cell, self.actor);
        demand(self.rights.manage_organizations())?;
        match (method, rest) {
            ("POST", []) => {
                let sent: Map<String, Value> = read(&self.request.body)?;
                let id = cell.change(actor, |tx| tx.create_organization(&sent)).await?;
                Ok(self.created(&format!("organizations/{id}")))
            }
            ("PUT", [id]) => {
                let sent: Map<String, Value> = read(&self.request.body)?;
                cell.change(actor, |tx| tx.update_organization(id, &sent)).await?;
                Ok(done())
            }
            ("DELETE", [id]) => {
                cell.change(actor, |tx| tx.delete_organization(id)).await?;
                Ok(done())
            }
            ("POST", [id, "members"]) => {
                demand(self.rights.manage_users())?;
                let user: String = read(&self.request.body)?;
                cell.change(actor, |tx| tx.add_organization_member(id, &user, false)).await?;
                Ok(self.created(&format!("organizations/{id}/members/{user}")))
            }
            ("DELETE", [id, "members", user]) => {
                demand(self.rights.manage_users())?;
                cell.change(actor, |tx| tx.remove_organization_member(id, user)).await?;
                Ok(done())
            }
            _ => Err(Refused::no_path()),
        }
    }

    async fn clients(&self, method: &str, rest: &[&str]) -> Result<Reply, Refused> {
        let (cell, actor) = (self.cell, self.actor);
        demand(self.rights.manage_clients())?;
        match (method, rest) {
            ("POST", ["clients"]) => {
                let sent: Map<String, Value> = read(&self.request.body)?;
                let id = cell.change(actor, |tx| tx.create_client(sent.clone())).await?;
                Ok(self.created(&format!("clients/{id}")))
            }
            ("PUT", ["clients", id]) => {
                let sent: Map<String, Value> = read(&self.request.body)?;
                cell.change(actor, |tx| tx.update_client(id, sent.clone())).await?;
                Ok(Reply::empty(204))
            }
            ("DELETE", ["clients", id]) => {
                cell.change(actor, |tx| tx.delete_client(id)).await?;
                Ok(Reply::empty(204))
            }
            ("POST", ["clients", id, "client-secret"]) => {
                let secret = uuid::Uuid::new_v4().simple().to_string();
                let sent = Map::from_iter([("secret".to_owned(), json!(secret))]);
                cell.change(actor, |tx| tx.update_client(id, sent.clone())).await?;
                Ok(ok(&json!({ "type": "secret", "value": secret })))
            }
            (_, ["clients"] | ["clients", _]) => Err(Refused::no_method()),
            _ => Err(Refused::no_path()),
        }
    }

    async fn realm(&self, method: &str, rest: &[&str]) -> Result<Reply, Refused> {
        let (cell, actor) = (self.cell, self.actor);
        match (method, rest) {
            ("PUT", []) => {
                demand(self.rights.manage_realm())?;
                let sent: Map<String, Value> = read(&self.request.body)?;
                self.settings(None, sent).await
            }
            ("PUT", ["events", "config"]) => {
                demand(self.rights.manage_events())?;
                let sent: Map<String, Value> = read(&self.request.body)?;
                self.settings(Some("events/config".into()), sent).await
            }
            ("DELETE", ["admin-events"]) => {
                demand(self.rights.manage_events())?;
                // Clearing leaves no event.
                cell.change(actor, |tx| {
                    tx.realm.admin_events.clear();
                    Ok(())
                })
                .await?;
                Ok(Reply::empty(204))
            }
            ("DELETE", ["events"]) => {
                demand(self.rights.manage_events())?;
                cell.change(actor, |tx| {
                    tx.realm.user_events.clear();
                    Ok(())
                })
                .await?;
                Ok(Reply::empty(204))
            }
            ("POST", ["user-storage", component, action]) => {
                demand(self.rights.manage_users())?;
                self.user_storage(component, action).await
            }
            ("POST", ["clear-user-cache"]) => {
                demand(self.rights.manage_realm())?;
                cell.change(actor, |tx| {
                    tx.realm.clear_user_cache();
                    Ok(())
                })
                .await?;
                Ok(Reply::empty(204))
            }
            ("POST", ["partialImport"]) => {
                demand(self.rights.manage_realm())?;
                let sent: Value = read(&self.request.body)?;
                let result = cell.change(actor, |tx| tx.partial_import(&sent)).await?;
                Ok(ok(&result))
            }
            (_, [] | ["events" | "admin-events" | "partialImport"] | ["events", "config"]) => Err(Refused::no_method()),
            _ => Err(Refused::no_path()),
        }
    }

    /// Runs an action of a federation component.
    async fn user_storage(&self, component: &str, action: &str) -> Result<Reply, Refused> {
        let (cell, actor) = (self.cell, self.actor);
        match action {
            "sync" => {
                let kind = self.request.param("action").unwrap_or_default();
                let result = cell.change(actor, |tx| tx.sync_federation(component, &kind)).await?;
                return Ok(ok(&result));
            }
            "unlink-users" => cell.change(actor, |tx| tx.unlink_users(component)).await?,
            "remove-imported-users" => cell.change(actor, |tx| tx.remove_imported_users(component)).await?,
            _ => return Err(Refused::no_path()),
        }
        Ok(Reply::empty(204))
    }

    async fn settings(&self, path: Option<String>, sent: Map<String, Value>) -> Result<Reply, Refused> {
        let shown = text(&sent);
        self.cell
            .change(self.actor, |tx| {
                apply_settings(tx.realm, sent.clone());
                tx.realm_event(path.clone(), shown.clone());
                Ok(())
            })
            .await?;
        Ok(Reply::empty(204))
    }
}
