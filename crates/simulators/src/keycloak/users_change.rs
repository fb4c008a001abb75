//! Changes of users and their memberships.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::change::{Tx, about, text};
use super::errors::Refused;
use super::event::Subject;
use super::render;
use super::rep::UserRep;
use super::state::{Id, Realm, User};

impl Tx<'_> {
    /// Creates a user as an administrator does.
    pub(crate) fn create_user(&mut self, rep: &UserRep) -> Result<Id, Refused> {
        let user = self.prepare_user(rep)?;
        let id = Arc::clone(&user.id);
        let subject = about(&user);
        self.store_user(user, true);
        self.admin("CREATE", "USER", Some(format!("users/{id}")), Some(text(rep)), subject);
        Ok(id)
    }

    /// Checks and builds a new user without storing it.
    pub(crate) fn prepare_user(&mut self, rep: &UserRep) -> Result<User, Refused> {
        let username = rep.username.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let username = username.ok_or_else(|| Refused::message(400, "User name is missing"))?.to_lowercase();
        let email = rep.email.as_deref().filter(|email| !email.is_empty()).map(str::to_lowercase);
        check_free(self.realm, &username, email.as_deref(), None)?;
        check_profile(&username, email.as_deref())?;
        let mut groups = BTreeSet::new();
        for path in rep.groups.iter().flatten() {
            // Keycloak fails on a missing group instead of reporting it.
            groups.insert(Arc::clone(&self.realm.group_at(path).ok_or_else(Refused::broke)?.id));
        }
        let id = rep.id.as_deref().map_or_else(|| self.id(), Into::into);
        if self.realm.users.contains_key(&id) {
            return Err(Refused::message(409, "User exists with same id"));
        }
        let mut attributes = rep.attributes.clone().unwrap_or_default();
        // A federation's attributes need no profile.
        if !self.realm.settings.unmanaged_attributes && rep.federation_link.is_none() {
            attributes.clear();
        }
        Ok(User {
            id,
            username,
            email,
            first_name: rep.first_name.clone().filter(|name| !name.is_empty()),
            last_name: rep.last_name.clone().filter(|name| !name.is_empty()),
            enabled: rep.enabled.unwrap_or(false),
            email_verified: rep.email_verified.unwrap_or(false),
            attributes,
            federation_link: rep.federation_link.clone(),
            created: self.now(),
            not_before: 0,
            required_actions: rep.required_actions.clone().unwrap_or_default(),
            groups,
            realm_roles: BTreeSet::new(),
            client_roles: BTreeMap::new(),
            service_account_of: None,
        })
    }

    /// Stores a new user; `defaults` adds the default role and groups, as all ways except a partial import do.
    pub(crate) fn store_user(&mut self, mut user: User, defaults: bool) {
        if defaults {
            let role = self.realm.default_role();
            let role_id = self.realm.roles.get(&role).map(|role| role.id.to_string()).unwrap_or_default();
            user.realm_roles.insert(role);
            let path = format!("users/{}/role-mappings/realm", user.id);
            self.model_user("RoleGrantedEvent", "REALM_ROLE_MAPPING", path, &role_id, &user);
            user.groups.extend(self.realm.default_groups.iter().cloned());
        }
        for group in user.groups.clone() {
            self.enter(&user, &group);
        }
        insert_user(self.realm, user);
    }

    /// Adds a user to a group's members and emits the model event.
    fn enter(&mut self, user: &User, group: &Id) {
        if let Some(group) = self.realm.groups.get_mut(group) {
            Arc::make_mut(group).members.insert(&user.username, &user.id);
        }
        let path = format!("users/{}/groups/{group}", user.id);
        self.model_user("GroupMemberJoinEvent", "GROUP_MEMBERSHIP", path, group, user);
    }

    /// Updates a user as an administrator does.
    pub(crate) fn update_user(&mut self, id: &str, rep: &UserRep) -> Result<(), Refused> {
        let before = self.user(id)?;
        // A request with attributes contains the complete profile.
        if rep.attributes.is_some() && rep.username.is_none() {
            return Err(Refused::message(400, "User name is missing"));
        }
        let email = match rep.email.as_deref() {
            None if rep.attributes.is_some() => None,
            None => before.email.clone(),
            Some("") => None,
            Some(email) => Some(email.to_lowercase()),
        };
        let username = rep.username.as_deref().map_or_else(|| before.username.clone(), str::to_lowercase);
        check_free(self.realm, &username, email.as_deref(), Some(id))?;
        if username != before.username && !self.realm.settings.edit_username {
            return Err(Refused::field("username", "error-user-attribute-read-only", &[]));
        }
        check_profile(&username, email.as_deref())?;
        self.change_profile(id, rep, &username, email)?;
        let unmanaged = self.realm.settings.unmanaged_attributes;
        let user = self.user_mut(id)?;
        user.enabled = rep.enabled.unwrap_or(user.enabled);
        user.email_verified = rep.email_verified.unwrap_or(user.email_verified);
        if let (Some(attributes), true) = (&rep.attributes, unmanaged) {
            user.attributes.clone_from(attributes);
        }
        if let Some(actions) = &rep.required_actions {
            user.required_actions.clone_from(actions);
        }
        if let Some(link) = &rep.federation_link {
            user.federation_link = Some(link.clone());
        }
        let after = user.clone();
        self.realm.register_federation(&after);
        let subject = about(&after);
        self.admin("UPDATE", "USER", Some(format!("users/{id}")), Some(text(rep)), subject);
        Ok(())
    }

    /// Changes a user's name, e-mail or login as the user does in the account console: no admin event, but
    /// `UPDATE_PROFILE`.
    pub(crate) fn update_profile(&mut self, id: &str, rep: &UserRep) -> Result<(), Refused> {
        let before = self.user(id)?;
        let email = rep.email.as_deref().map(str::to_lowercase).or_else(|| before.email.clone());
        let username = rep.username.as_deref().map_or_else(|| before.username.clone(), str::to_lowercase);
        check_free(self.realm, &username, email.as_deref(), Some(id))?;
        self.change_profile(id, rep, &username, email)?;
        let after = self.user(id)?;
        let mut details = BTreeMap::from([("context".to_owned(), "ACCOUNT".to_owned())]);
        let fields = [
            ("username", Some(before.username.clone()), Some(after.username.clone())),
            ("email", before.email.clone(), after.email.clone()),
            ("first_name", before.first_name.clone(), after.first_name.clone()),
            ("last_name", before.last_name.clone(), after.last_name.clone()),
        ];
        for (name, old, new) in fields {
            if old != new {
                details.insert(format!("previous_{name}"), old.unwrap_or_default());
                details.insert(format!("updated_{name}"), new.unwrap_or_default());
            }
        }
        self.user_event("UPDATE_PROFILE", Some("account"), Some(id), None, details);
        Ok(())
    }

    /// Registers a user: no admin event, but `REGISTER`.
    pub(crate) fn register(&mut self, rep: &UserRep) -> Result<Id, Refused> {
        let user = self.prepare_user(rep)?;
        let id = Arc::clone(&user.id);
        let mut details = BTreeMap::from([
            ("auth_method".to_owned(), "openid-connect".to_owned()),
            ("register_method".to_owned(), "form".to_owned()),
            ("username".to_owned(), user.username.clone()),
        ]);
        let fields = [("email", &user.email), ("first_name", &user.first_name), ("last_name", &user.last_name)];
        for (name, value) in fields {
            if let Some(value) = value {
                details.insert(name.to_owned(), value.clone());
            }
        }
        self.store_user(user, true);
        self.user_event("REGISTER", Some("account-console"), Some(&id), None, details);
        Ok(id)
    }

    pub(crate) fn change_profile(
        &mut self,
        id: &str,
        rep: &UserRep,
        username: &str,
        email: Option<String>,
    ) -> Result<(), Refused> {
        let before = self.user(id)?;
        if username != before.username {
            rename_user(self.realm, &before, username);
        }
        if email != before.email {
            if let Some(old) = &before.email {
                self.realm.emails.remove(old);
            }
            if let Some(new) = &email {
                self.realm.emails.insert(new.clone(), Arc::clone(&before.id));
            }
        }
        // A request with attributes contains the complete profile: missing ones are cleared.
        let whole = rep.attributes.is_some();
        let user = self.user_mut(id)?;
        username.clone_into(&mut user.username);
        user.email = email;
        for (field, sent) in [(&mut user.first_name, &rep.first_name), (&mut user.last_name, &rep.last_name)] {
            match sent {
                Some(name) => *field = Some(name.clone()).filter(|name| !name.is_empty()),
                None if whole => *field = None,
                None => {}
            }
        }
        Ok(())
    }

    /// Deletes a user as an administrator does. A federated one is in LDAP all the same: it is imported again, or
    /// not deleted at all.
    pub(crate) fn delete_user(&mut self, id: &str) -> Result<(), Refused> {
        let user = self.user(id)?;
        if user.is_outside() {
            self.announce_removal(&user);
            self.removed(&user);
        } else {
            self.remove_user(&user, true);
            self.return_to_ldap(&user);
        }
        let representation = format!("{{\"id\":{},\"username\":{}}}", json!(*user.id), json!(user.username));
        self.admin("DELETE", "USER", Some(format!("users/{id}")), Some(representation), about(&user));
        Ok(())
    }

    pub(crate) fn announce_removal(&mut self, user: &User) {
        self.model_user("UserPreRemovedEvent", "USER", format!("users/{}", user.id), &user.id, user);
    }

    fn removed(&mut self, user: &User) {
        self.model_user("UserRemovedEvent", "USER", format!("users/{}", user.id), &user.id, user);
    }

    /// Deletes a user, with model events only: of the removal, and before it if it is announced.
    pub(crate) fn remove_user(&mut self, user: &User, announced: bool) {
        if announced {
            self.announce_removal(user);
        }
        self.forget_user(user);
        self.removed(user);
    }

    /// Deletes a user from the realm, without any event.
    pub(crate) fn forget_user(&mut self, user: &User) {
        self.leave_organizations(user);
        for group in &user.groups {
            if let Some(group) = self.realm.groups.get_mut(group) {
                Arc::make_mut(group).members.remove(&user.username);
            }
        }
        self.realm.users.remove(&user.id);
        self.realm.by_creation.remove(&(user.created, Arc::clone(&user.id)));
        self.realm.names.remove(&user.username);
        self.realm.roster(user).remove(&user.username);
        if let Some(email) = &user.email {
            self.realm.emails.remove(email);
        }
        if let Some(cached) = self.realm.cached.as_mut().filter(|_| !user.is_outside()) {
            cached.remove(&user.id);
        }
    }

    /// Adds a user to a group as an administrator does; a second time leaves no trace.
    pub(crate) fn join(&mut self, user: &str, group: &str) -> Result<(), Refused> {
        let before = self.user(user)?;
        let group_id = self.group_id(group).ok_or_else(|| Refused::error(404, "Group not found"))?;
        if !self.user_mut(user)?.groups.insert(Arc::clone(&group_id)) {
            return Ok(());
        }
        self.enter(&before, &group_id);
        self.membership_event("CREATE", &before, &group_id);
        Ok(())
    }

    /// Removes a user from a group. For a user that is only in a sub-group the only effect is an event.
    pub(crate) fn leave(&mut self, user: &str, group: &str) -> Result<(), Refused> {
        let before = self.user(user)?;
        let group_id = self.group_id(group).ok_or_else(|| Refused::error(404, "Group not found"))?;
        if !self.user_mut(user)?.groups.remove(&group_id) {
            if before.groups.iter().any(|below| is_below(self.realm, below, &group_id)) {
                self.membership_event("DELETE", &before, &group_id);
            }
            return Ok(());
        }
        if let Some(group) = self.realm.groups.get_mut(&group_id) {
            Arc::make_mut(group).members.remove(&before.username);
        }
        let path = format!("users/{user}/groups/{group_id}");
        self.model_user("GroupMemberLeaveEvent", "GROUP_MEMBERSHIP", path, &group_id, &before);
        self.membership_event("DELETE", &before, &group_id);
        Ok(())
    }

    fn membership_event(&mut self, operation: &'static str, user: &User, group: &Id) {
        let representation = self.realm.groups.get(group).map(|group| render::group_in_event(self.realm, group));
        let mut details = BTreeMap::from([("username", user.username.clone())]);
        if let Some(email) = &user.email {
            details.insert("email", email.clone());
        }
        let path = format!("users/{}/groups/{group}", user.id);
        let subject = Subject { resource_id: Some(group.to_string()), ..about(user) };
        self.admin_with(operation, "GROUP_MEMBERSHIP", Some(path), representation, subject, Some(details));
    }

    /// Runs an administrator's action on a user that changes nothing that a sync reads.
    pub(crate) fn user_action(&mut self, id: &str, action: &str) -> Result<(), Refused> {
        let user = self.user(id)?;
        let now = self.now();
        if action == "logout" {
            self.user_mut(id)?.not_before = now / 1000;
        }
        self.admin("ACTION", "USER", Some(format!("users/{id}/{action}")), None, about(&user));
        Ok(())
    }
}

/// Adds a user to all indexes except the members of groups.
pub(crate) fn insert_user(realm: &mut Realm, user: User) {
    let id = Arc::clone(&user.id);
    realm.names.insert(user.username.clone(), Arc::clone(&id));
    if let Some(email) = &user.email {
        realm.emails.insert(email.clone(), Arc::clone(&id));
    }
    realm.roster(&user).insert(&user.username, &id);
    realm.by_creation.insert((user.created, Arc::clone(&id)));
    realm.register_federation(&user);
    realm.users.insert(id, Arc::new(user));
}

fn rename_user(realm: &mut Realm, user: &User, username: &str) {
    realm.names.remove(&user.username);
    realm.names.insert(username.to_owned(), Arc::clone(&user.id));
    realm.roster(user).rename(&user.username, username, &user.id);
    for group in &user.groups {
        if let Some(group) = realm.groups.get_mut(group) {
            Arc::make_mut(group).members.rename(&user.username, username, &user.id);
        }
    }
}

fn is_below(realm: &Realm, group: &Id, above: &Id) -> bool {
    let mut parent = realm.groups.get(group).and_then(|group| group.parent.as_ref());
    while let Some(id) = parent {
        if id == above {
            return true;
        }
        parent = realm.groups.get(id).and_then(|group| group.parent.as_ref());
    }
    false
}

fn check_free(realm: &Realm, username: &str, email: Option<&str>, own: Option<&str>) -> Result<(), Refused> {
    if realm.names.get(username).is_some_and(|id| Some(&**id) != own) {
        return Err(Refused::message(409, "User exists with same username"));
    }
    if email.and_then(|email| realm.emails.get(email)).is_some_and(|id| Some(&**id) != own) {
        return Err(Refused::message(409, "User exists with same email"));
    }
    Ok(())
}

/// Checks Keycloak's default user profile, as far as it matters to a sync.
pub(crate) fn check_profile(username: &str, email: Option<&str>) -> Result<(), Refused> {
    let length = username.chars().count();
    if !(3..=255).contains(&length) {
        return Err(Refused::field("username", "error-invalid-length", &[json!(3), json!(255)]));
    }
    if username
        .contains(['<', '>', '&', '"', '\'', ' ', '$', '%', '!', '#', '?', ';', ',', '(', ')', '{', '}', '|', '\\'])
    {
        return Err(Refused::field("username", "error-username-invalid-character", &[]));
    }
    match email {
        Some(email) if !email.split_once('@').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()) => {
            Err(Refused::field("email", "error-invalid-email", &[json!(email)]))
        }
        _ => Ok(()),
    }
}
