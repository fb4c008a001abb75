//! Changes of roles, clients and the realm itself, and partial imports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::change::{Tx, about, text};
use super::errors::Refused;
use super::event::Subject;
use super::rep::{Attributes, UserRep};
use super::state::{Client, Group, Id, User};
use super::users_change::{check_profile, insert_user};
use crate::roster::Roster;

impl Tx<'_> {
    /// Creates a client, with a service account if requested.
    pub(crate) fn create_client(&mut self, mut sent: Map<String, Value>) -> Result<Id, Refused> {
        let name = sent.get("clientId").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.realm.clients.contains_key(&name) {
            return Err(Refused::message(409, format!("Client {name} already exists")));
        }
        let id = self.id();
        let mut shown = sent.clone();
        shown.insert("id".into(), json!(*id));
        if shown.contains_key("secret") {
            shown.insert("secret".into(), json!("**********"));
        }
        let secret = sent.remove("secret").and_then(|secret| secret.as_str().map(str::to_owned));
        let public = sent.get("publicClient").and_then(Value::as_bool).unwrap_or(false);
        let with_account = sent.remove("serviceAccountsEnabled").and_then(|on| on.as_bool()).unwrap_or(false);
        sent.remove("id");
        let drawn = self.id();
        let client = Client {
            id: Arc::clone(&id),
            name: name.clone(),
            secret: secret.or_else(|| (!public).then(|| drawn.replace('-', ""))),
            service_account: None,
            roles: BTreeMap::new(),
            extra: sent,
        };
        self.realm.clients.insert(name, client);
        if with_account {
            self.add_service_account(&id);
        }
        let subject = Subject { resource_id: Some(id.to_string()), ..Subject::default() };
        self.admin("CREATE", "CLIENT", Some(format!("clients/{id}")), Some(text(&shown)), subject);
        Ok(id)
    }

    /// Changes a client.
    pub(crate) fn update_client(&mut self, id: &str, mut sent: Map<String, Value>) -> Result<(), Refused> {
        let shown = text(&sent);
        let client = self.realm.client_mut(id).ok_or_else(|| Refused::error(404, "Could not find client"))?;
        if let Some(secret) = sent.remove("secret").and_then(|secret| secret.as_str().map(str::to_owned)) {
            client.secret = Some(secret);
        }
        let with_account = sent.remove("serviceAccountsEnabled").and_then(|on| on.as_bool());
        let missing = client.service_account.is_none();
        client.extra.extend(sent);
        if with_account == Some(true) && missing {
            self.add_service_account(id);
        }
        let subject = Subject { resource_id: Some(id.into()), ..Subject::default() };
        self.admin("UPDATE", "CLIENT", Some(format!("clients/{id}")), Some(shown), subject);
        Ok(())
    }

    /// Deletes a client with its service account.
    pub(crate) fn delete_client(&mut self, id: &str) -> Result<(), Refused> {
        let missing = || Refused::error(404, "Could not find client");
        let client = self.realm.client(id).cloned().ok_or_else(missing)?;
        if let Some(account) = client.service_account.as_ref().and_then(|id| self.realm.users.get(id)).cloned() {
            self.remove_user(&account, true);
        }
        for name in client.roles.keys() {
            self.realm.drop_role(&(Some(Arc::clone(&client.id)), name.clone()));
        }
        self.realm.clients.remove(&client.name);
        let subject = Subject { resource_id: Some(id.into()), ..Subject::default() };
        self.admin("DELETE", "CLIENT", Some(format!("clients/{id}")), None, subject);
        Ok(())
    }

    fn add_service_account(&mut self, client: &str) {
        let default_role = self.realm.default_role();
        let (id, now) = (self.id(), self.now());
        let Some(client) = self.realm.client_mut(client) else {
            return;
        };
        let user = User {
            id,
            username: format!("service-account-{}", client.name.to_lowercase()),
            email: None,
            first_name: None,
            last_name: None,
            enabled: true,
            email_verified: false,
            attributes: Attributes::new(),
            federation_link: None,
            created: now,
            not_before: 0,
            required_actions: Vec::new(),
            groups: BTreeSet::new(),
            realm_roles: BTreeSet::from([default_role]),
            client_roles: BTreeMap::new(),
            service_account_of: Some(Arc::clone(&client.id)),
        };
        client.service_account = Some(Arc::clone(&user.id));
        insert_user(self.realm, user);
    }

    /// Records a change of the realm's settings.
    pub(crate) fn realm_event(&mut self, path: Option<String>, shown: String) {
        self.admin("UPDATE", "REALM", path, Some(shown), Subject::default());
    }

    /// Runs a partial import of users and top-level groups. Overwriting deletes and recreates, so ids change.
    pub(crate) fn partial_import(&mut self, body: &Value) -> Result<Value, Refused> {
        let policy = body.get("ifResourceExists").and_then(Value::as_str).unwrap_or("FAIL");
        let users: Vec<UserRep> = list(body, "users")?;
        let groups: Vec<GroupImport> = list(body, "groups")?;
        self.check_import(policy, &users, &groups)?;
        let (mut overwritten, mut added, mut skipped) = (0, 0, 0);
        let mut results = Vec::new();
        for group in &groups {
            let existing = self.realm.top.get(&group.name).cloned();
            if existing.is_some() {
                skipped += 1;
                results.push(
                    json!({ "action": "SKIPPED", "resourceType": "GROUP", "resourceName": group.name, "id": existing }),
                );
                continue;
            }
            added += 1;
            let id = self.import_group(None, group);
            let shown = format!("{{\"id\":{},\"name\":{},\"subGroups\":[]}}", json!(*id), json!(group.name));
            let subject = Subject { resource_id: Some(id.to_string()), ..Subject::default() };
            self.admin("CREATE", "REALM", Some(format!("groups/{id}")), Some(shown), subject);
            results.push(json!({ "action": "ADDED", "resourceType": "GROUP", "resourceName": group.name, "id": *id }));
        }
        for rep in &users {
            let name = rep.username.clone().unwrap_or_default().to_lowercase();
            let existing = self.realm.names.get(&name).and_then(|id| self.realm.users.get(id)).cloned();
            let replaces = existing.is_some();
            match existing {
                Some(user) if policy == "SKIP" => {
                    skipped += 1;
                    results.push(
                        json!({ "action": "SKIPPED", "resourceType": "USER", "resourceName": name, "id": *user.id }),
                    );
                    continue;
                }
                Some(user) => self.remove_user(&user, true),
                None => {}
            }
            // Checked before; the old user or group of this name is deleted by now.
            let user = self.prepare_user(&UserRep { id: None, ..rep.clone() })?;
            let (id, subject) = (Arc::clone(&user.id), about(&user));
            self.store_user(user, false);
            let (operation, action) = if replaces { ("UPDATE", "OVERWRITTEN") } else { ("CREATE", "ADDED") };
            if replaces {
                overwritten += 1;
            } else {
                added += 1;
            }
            let shown = text(&UserRep { id: Some(id.to_string()), ..rep.clone() });
            self.admin(operation, "REALM", Some(format!("users/{id}")), Some(shown), subject);
            results.push(json!({ "action": action, "resourceType": "USER", "resourceName": name, "id": *id }));
        }
        Ok(json!({ "overwritten": overwritten, "added": added, "skipped": skipped, "results": results }))
    }

    fn check_import(&mut self, policy: &str, users: &[UserRep], groups: &[GroupImport]) -> Result<(), Refused> {
        let mut names = BTreeSet::new();
        for rep in users {
            let name = rep.username.clone().unwrap_or_default().to_lowercase();
            let existing = self.realm.names.get(&name);
            if existing.is_some() && policy == "FAIL" {
                return Err(Refused::message(409, format!("User with user name {name} already exists.")));
            }
            if existing.is_some() && policy == "SKIP" {
                continue;
            }
            let email_taken = rep.email.as_ref().is_some_and(|email| {
                self.realm.emails.get(&email.to_lowercase()).is_some_and(|id| Some(id) != existing)
            });
            if email_taken || !names.insert(name.clone()) {
                return Err(Refused::message(409, "Duplicate resource error"));
            }
            check_profile(&name, rep.email.as_deref().filter(|email| !email.is_empty()))?;
            if existing.is_none() {
                self.prepare_user(rep)?;
            } else if rep.groups.iter().flatten().any(|path| self.realm.group_at(path).is_none()) {
                return Err(Refused::broke());
            }
        }
        match groups.iter().find(|group| self.realm.top.contains_key(&group.name)) {
            Some(group) if policy == "FAIL" => {
                Err(Refused::message(409, format!("Group '{}' already exists.", group.name)))
            }
            Some(_) if policy == "OVERWRITE" => Err(Refused::message(409, "Duplicate resource error")),
            _ => Ok(()),
        }
    }

    fn import_group(&mut self, parent: Option<&Id>, rep: &GroupImport) -> Id {
        let id = self.id();
        let group = Group {
            id: Arc::clone(&id),
            name: rep.name.clone(),
            parent: parent.cloned(),
            children: BTreeMap::new(),
            members: Roster::default(),
            attributes: rep.attributes.clone(),
            realm_roles: BTreeSet::new(),
            client_roles: BTreeMap::new(),
        };
        self.insert_group(group);
        self.model_group("GroupCreatedEvent", &id);
        for child in &rep.sub_groups {
            self.import_group(Some(&id), child);
        }
        id
    }
}

/// A group of a partial import.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupImport {
    name: String,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    sub_groups: Vec<GroupImport>,
}

fn list<T: serde::de::DeserializeOwned>(body: &Value, field: &str) -> Result<Vec<T>, Refused> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => serde_json::from_value(value.clone()).map_err(|_| Refused::broke()),
    }
}
