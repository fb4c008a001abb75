//! Changes of roles and of who has them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::change::{Tx, about};
use super::errors::Refused;
use super::event::Subject;
use super::groups_change::set_names;
use super::render;
use super::roles_read;
use super::state::{Id, Role, RoleKey};

impl Tx<'_> {
    /// Creates a role of the realm, or of a client (by internal id).
    pub(crate) fn create_role(
        &mut self,
        client: Option<&str>,
        name: &str,
        composites: BTreeSet<RoleKey>,
    ) -> Result<(), Refused> {
        if name.is_empty() {
            return Err(Refused::error(400, "role has no name"));
        }
        let client = client.map(|client| self.client_id(client)).transpose()?;
        let key = (client, name.to_owned());
        if self.realm.role(&key).is_some() {
            return Err(Refused::message(409, format!("Role with name {name} already exists")));
        }
        let id = self.id();
        let shown = format!("{{\"id\":{},\"name\":{},\"composite\":false}}", json!(*id), json!(name));
        let role = Role { id: Arc::clone(&id), name: name.to_owned(), description: None, composites };
        let roles = match &key.0 {
            Some(client) => self.realm.client_mut(client).map(|client| &mut client.roles),
            None => Some(&mut self.realm.roles),
        };
        roles.and_then(|roles| roles.insert(name.to_owned(), role));
        self.role_event("CREATE", &key, &id, "", Some(shown));
        Ok(())
    }

    /// Renames a role.
    pub(crate) fn rename_role(&mut self, key: &RoleKey, name: &str) -> Result<(), Refused> {
        let role = self.realm.role(key).cloned().ok_or_else(no_role)?;
        let to = (key.0.clone(), name.to_owned());
        if self.realm.role(&to).is_some() {
            return Err(Refused::message(409, format!("Role with name {name} already exists")));
        }
        let users: Vec<Id> =
            self.realm.users.values().filter(|user| user.has(key)).map(|user| Arc::clone(&user.id)).collect();
        let groups: Vec<Id> =
            self.realm.groups.values().filter(|group| group.has(key)).map(|group| Arc::clone(&group.id)).collect();
        let parents: Vec<RoleKey> = self.realm.containing(key);
        self.realm.drop_role(key);
        let renamed = Role { name: name.to_owned(), ..role.clone() };
        match &to.0 {
            Some(client) => {
                if let Some(client) = self.realm.client_mut(client) {
                    client.roles.insert(name.to_owned(), renamed);
                }
            }
            None => drop(self.realm.roles.insert(name.to_owned(), renamed)),
        }
        for user in users {
            self.user_mut(&user)?.grant(&to);
        }
        for group in groups {
            if let Some(group) = self.realm.groups.get_mut(&group) {
                Arc::make_mut(group).grant(&to);
            }
        }
        for parent in parents {
            if let Some(parent) = self.realm.role_mut(&parent) {
                parent.composites.insert(to.clone());
            }
        }
        let shown = format!("{{\"name\":{},\"composite\":{}}}", json!(name), !role.composites.is_empty());
        self.role_event("UPDATE", key, &role.id, "", Some(shown));
        Ok(())
    }

    /// Deletes a role.
    pub(crate) fn delete_role(&mut self, key: &RoleKey) -> Result<(), Refused> {
        let id = self.realm.role(key).map(|role| Arc::clone(&role.id)).ok_or_else(no_role)?;
        self.realm.drop_role(key);
        self.model_role_removed(key, &id);
        self.role_event("DELETE", key, &id, "", None);
        Ok(())
    }

    /// Adds roles to a composite role, or removes them.
    pub(crate) fn set_composites(&mut self, key: &RoleKey, parts: &[RoleKey], on: bool) -> Result<(), Refused> {
        let shown: Option<Vec<_>> = parts.iter().map(|part| roles_read::shown_role(self.realm, part)).collect();
        let shown = json!(shown.ok_or_else(no_role)?);
        let role = self.realm.role_mut(key).ok_or_else(no_role)?;
        for part in parts {
            if on {
                role.composites.insert(part.clone());
            } else {
                role.composites.remove(part);
            }
        }
        let id = Arc::clone(&role.id);
        self.role_event(if on { "CREATE" } else { "DELETE" }, key, &id, "/composites", Some(shown.to_string()));
        Ok(())
    }

    /// Grants realm roles to a user, or revokes them.
    pub(crate) fn user_roles(&mut self, id: &str, roles: &[String], on: bool) -> Result<(), Refused> {
        let user = self.user(id)?;
        let shown = render::realm_roles(self.realm, roles)?;
        let path = format!("users/{id}/role-mappings/realm");
        for role in roles {
            let held = &mut self.user_mut(id)?.realm_roles;
            let changed = if on { held.insert(role.clone()) } else { held.remove(role) };
            if changed {
                let kind = if on { "RoleGrantedEvent" } else { "RoleRevokedEvent" };
                let role_id = self.realm.roles.get(role).map(|role| role.id.to_string()).unwrap_or_default();
                self.model_user(kind, "REALM_ROLE_MAPPING", path.clone(), &role_id, &user);
            }
        }
        let operation = if on { "CREATE" } else { "DELETE" };
        self.admin(operation, "REALM_ROLE_MAPPING", Some(path), Some(shown), about(&user));
        Ok(())
    }

    /// Grants roles of a client (by internal id) to a user, or revokes them.
    pub(crate) fn user_client_roles(
        &mut self,
        id: &str,
        client: &str,
        roles: &[String],
        on: bool,
    ) -> Result<(), Refused> {
        let user = self.user(id)?;
        let client = self.client_id(client)?;
        let shown = self.realm.client(&client).map(|found| render::client_roles(found, roles)).transpose()?;
        let path = format!("users/{id}/role-mappings/clients/{client}");
        for role in roles {
            let held = self.user_mut(id)?.client_roles.entry(Arc::clone(&client)).or_default();
            let changed = if on { held.insert(role.clone()) } else { held.remove(role) };
            if changed {
                let kind = if on { "RoleGrantedEvent" } else { "RoleRevokedEvent" };
                let key = (Some(Arc::clone(&client)), role.clone());
                let role_id = self.realm.role(&key).map(|role| role.id.to_string()).unwrap_or_default();
                self.model_user(kind, "CLIENT_ROLE_MAPPING", path.clone(), &role_id, &user);
            }
        }
        let operation = if on { "CREATE" } else { "DELETE" };
        self.admin(operation, "CLIENT_ROLE_MAPPING", Some(path), shown, about(&user));
        Ok(())
    }

    /// Grants realm roles to a group, or revokes them.
    pub(crate) fn group_roles(&mut self, id: &str, roles: &[String], on: bool) -> Result<(), Refused> {
        let shown = render::realm_roles(self.realm, roles)?;
        let group = self.realm.groups.get_mut(id).map(Arc::make_mut).ok_or_else(Refused::no_group)?;
        set_names(&mut group.realm_roles, roles, on);
        self.group_roles_event(id, "REALM_ROLE_MAPPING", "realm", shown, on);
        Ok(())
    }

    /// Grants roles of a client (by internal id) to a group, or revokes them.
    pub(crate) fn group_client_roles(
        &mut self,
        id: &str,
        client: &str,
        roles: &[String],
        on: bool,
    ) -> Result<(), Refused> {
        let client = self.client_id(client)?;
        let shown = self.realm.client(&client).map(|found| render::client_roles(found, roles)).transpose()?;
        let group = self.realm.groups.get_mut(id).map(Arc::make_mut).ok_or_else(Refused::no_group)?;
        set_names(group.client_roles.entry(Arc::clone(&client)).or_default(), roles, on);
        self.group_roles_event(id, "CLIENT_ROLE_MAPPING", &format!("clients/{client}"), shown.unwrap_or_default(), on);
        Ok(())
    }

    fn group_roles_event(&mut self, id: &str, resource: &'static str, below: &str, shown: String, on: bool) {
        self.model_group("GroupUpdatedEvent", id);
        let operation = if on { "CREATE" } else { "DELETE" };
        let path = format!("groups/{id}/role-mappings/{below}");
        let subject = Subject { resource_id: Some(id.into()), ..Subject::default() };
        self.admin(operation, resource, Some(path), Some(shown), subject);
    }

    /// Returns the internal id of a client, so that it is shared and not copied.
    fn client_id(&self, id: &str) -> Result<Id, Refused> {
        let found = self.realm.client(id).ok_or_else(|| Refused::error(404, "Client not found"))?;
        Ok(Arc::clone(&found.id))
    }

    fn role_event(&mut self, operation: &'static str, key: &RoleKey, id: &Id, below: &str, shown: Option<String>) {
        let (resource, path) = match key {
            (None, name) => ("REALM_ROLE", format!("roles/{name}{below}")),
            (Some(client), name) => ("CLIENT_ROLE", format!("clients/{client}/roles/{name}{below}")),
        };
        let subject = Subject { resource_id: Some(id.to_string()), ..Subject::default() };
        self.admin(operation, resource, Some(path), shown, subject);
    }
}

fn no_role() -> Refused {
    Refused::error(404, "Could not find role")
}
