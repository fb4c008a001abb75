//! Changes of organizations and of their members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::change::{Tx, about, text};
use super::errors::Refused;
use super::event::Subject;
use super::organizations_read::{demand_organizations, no_organization, shown};
use super::state::{Id, Organization, User};

impl Tx<'_> {
    /// Creates an organization; its alias is its name unless another one is sent.
    pub(crate) fn create_organization(&mut self, sent: &Map<String, Value>) -> Result<Id, Refused> {
        demand_organizations(self.realm)?;
        let sent_text = |name: &str| sent.get(name).and_then(Value::as_str).map(str::to_owned);
        let name = sent_text("name").ok_or_else(|| Refused::message(400, "Name can not be null"))?;
        let alias = sent_text("alias").unwrap_or_else(|| name.clone());
        if alias.contains(' ') {
            return Err(Refused::message(400, "Name cannot be used as alias: Empty Space not allowed."));
        }
        if self.realm.organizations.values().any(|one| one.name == name) {
            return Err(Refused::message(409, "A organization with the same name already exists."));
        }
        if self.realm.organizations.values().any(|one| one.alias == alias) {
            return Err(Refused::message(409, "A organization with the same alias already exists"));
        }
        let id = self.id();
        let mut domains = sent.get("domains").and_then(Value::as_array).cloned().unwrap_or_default();
        for domain in domains.iter_mut().filter_map(Value::as_object_mut) {
            domain.entry("verified").or_insert(Value::Bool(false));
        }
        let mut event = Map::from_iter([("id".to_owned(), Value::from(&*id))]);
        event.extend(sent.clone());
        event.entry("enabled").or_insert(Value::Bool(true));
        let organization =
            Organization { id: Arc::clone(&id), name, alias, enabled: true, domains, members: BTreeMap::new() };
        self.realm.organizations.insert(Arc::clone(&id), organization);
        self.organization_event("CREATE", &id, Some(text(&event)));
        Ok(id)
    }

    /// Renames, enables or disables an organization.
    pub(crate) fn update_organization(&mut self, id: &str, sent: &Map<String, Value>) -> Result<(), Refused> {
        demand_organizations(self.realm)?;
        let (id, organization) = self.realm.organizations.get_key_value(id).ok_or_else(no_organization)?;
        let (id, mut changed) = (Arc::clone(id), organization.clone());
        let sent_text = |name: &str| sent.get(name).and_then(Value::as_str);
        // An alias never changes, and one that is not sent is the name.
        if sent_text("alias").or(sent_text("name")).is_some_and(|alias| alias != changed.alias) {
            return Err(Refused::message(400, "Cannot change the alias"));
        }
        if let Some(name) = sent_text("name") {
            name.clone_into(&mut changed.name);
        }
        changed.enabled = sent.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        self.realm.organizations.insert(Arc::clone(&id), changed);
        let mut event = sent.clone();
        event.entry("enabled").or_insert(Value::Bool(true));
        self.organization_event("UPDATE", &id, Some(text(&event)));
        Ok(())
    }

    /// Deletes an organization, and the users that it manages.
    pub(crate) fn delete_organization(&mut self, id: &str) -> Result<(), Refused> {
        demand_organizations(self.realm)?;
        let organization = self.realm.organizations.remove(id).ok_or_else(no_organization)?;
        for (user, managed) in &organization.members {
            let user = self.user(user)?;
            self.left(&organization.id, &user, *managed);
        }
        self.organization_event("DELETE", &organization.id, None);
        Ok(())
    }

    /// Adds a member; `managed`: the organization manages the user, as its identity provider brings it.
    pub(crate) fn add_organization_member(&mut self, id: &str, user: &str, managed: bool) -> Result<(), Refused> {
        demand_organizations(self.realm)?;
        let organization = self.realm.organizations.get_mut(id).ok_or_else(no_organization)?;
        let user = self.realm.users.get(user).cloned().ok_or_else(Refused::no_path)?;
        if organization.members.insert(Arc::clone(&user.id), managed).is_some() {
            return Err(Refused::message(409, "User is already a member of the organization."));
        }
        let kind = "OrganizationMemberJoinEvent";
        self.model_user(kind, "ORGANIZATION_MEMBERSHIP", format!("organizations/{id}/members/{}", user.id), id, &user);
        self.member_event("CREATE", id, format!("organizations/{id}/members"), &user);
        Ok(())
    }

    /// Removes a member; a user that the organization manages is deleted.
    pub(crate) fn remove_organization_member(&mut self, id: &str, user: &str) -> Result<(), Refused> {
        demand_organizations(self.realm)?;
        let organization = self.realm.organizations.get_mut(id).ok_or_else(no_organization)?;
        let managed = organization.members.remove(user).ok_or_else(Refused::no_path)?;
        let user = self.user(user)?;
        self.left(id, &user, managed);
        self.member_event("DELETE", id, format!("organizations/{id}/members/{}", user.id), &user);
        Ok(())
    }

    /// Records that a user left, and deletes it if the organization managed it: without an event of its removal.
    fn left(&mut self, id: &str, user: &User, managed: bool) {
        if managed {
            self.announce_removal(user);
            self.forget_user(user);
        }
        let path = format!("organizations/{id}/members/{}", user.id);
        self.model_user("OrganizationMemberLeaveEvent", "ORGANIZATION_MEMBERSHIP", path, id, user);
    }

    /// Removes a deleted user from all organizations.
    pub(crate) fn leave_organizations(&mut self, user: &User) {
        let own: BTreeSet<Id> = self.realm.organizations_of(&user.id).map(|one| Arc::clone(&one.id)).collect();
        for id in own {
            if let Some(organization) = self.realm.organizations.get_mut(&id) {
                organization.members.remove(&user.id);
            }
        }
    }

    fn organization_event(&mut self, operation: &'static str, id: &str, representation: Option<String>) {
        let subject = Subject { resource_id: Some(id.to_owned()), ..Subject::default() };
        self.admin(operation, "ORGANIZATION", Some(format!("organizations/{id}")), representation, subject);
    }

    /// Records a change of a member. Keycloak's own event of a new member contains the login, but not the id.
    fn member_event(&mut self, operation: &'static str, id: &str, path: String, user: &User) {
        let representation = self.realm.organizations.get(id).map(|one| text(&shown(one, true)));
        let mut details = BTreeMap::from([("username", user.username.clone())]);
        details.extend(user.email.clone().map(|email| ("email", email)));
        let subject = match operation {
            "DELETE" => Subject { resource_id: Some(id.to_owned()), ..about(user) },
            _ => Subject { resource_id: Some(id.to_owned()), user_id: None, ..about(user) },
        };
        self.admin_with(operation, "ORGANIZATION_MEMBERSHIP", Some(path), representation, subject, Some(details));
    }
}
