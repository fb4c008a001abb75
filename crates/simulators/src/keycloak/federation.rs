//! User federations such as LDAP, in every state that was observed on a real Keycloak.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::change::{Tx, text};
use super::errors::Refused;
use super::event::Subject;
use super::rep::UserRep;
use super::state::{Id, Realm, User};
use super::users_change::insert_user;
use super::users_read;
use crate::front::Request;

/// State of a federation component and of the LDAP server behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FederationState {
    /// LDAP answers.
    #[default]
    Available,
    /// LDAP refuses connections.
    Unreachable,
    /// LDAP does not answer: each question to it takes this time and fails.
    Frozen(Duration),
    /// The bind password is wrong, or the base DN does not exist; LDAP is read in pages.
    Misconfigured,
    /// The same without pages (the console's default): listings look as if LDAP were unreachable.
    MisconfiguredUnpaged,
    /// The component is disabled.
    Disabled,
    /// The base DN is an empty branch, or the filter matches nobody.
    Empty,
    /// The component is removed, with all its users.
    Removed,
}

impl FederationState {
    /// Returns whether Keycloak gets an error when it asks LDAP.
    pub fn fails(self) -> bool {
        matches!(self, Self::Unreachable | Self::Frozen(_) | Self::Misconfigured | Self::MisconfiguredUnpaged)
    }

    /// Returns whether the state is a setting of the component, not of the LDAP server.
    fn is_setting(self) -> bool {
        !matches!(self, Self::Available | Self::Unreachable | Self::Frozen(_))
    }
}

/// State of the mapper of LDAP groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupMapper {
    /// Memberships are read from LDAP.
    #[default]
    Mapped,
    /// Memberships of imported users are stored in Keycloak (mode `IMPORT`).
    Stored,
    /// `groups.dn` is an empty branch.
    Empty,
    /// `groups.dn` does not exist.
    Missing,
}

/// A federation component.
#[derive(Clone, Debug)]
pub(crate) struct Federation {
    pub(crate) state: FederationState,
    pub(crate) mapper: GroupMapper,
    /// `importEnabled`.
    imports: bool,
    /// `removeInvalidUsersEnabled`.
    pub(crate) removes_invalid: bool,
    /// Users in LDAP that Keycloak has not imported, by login.
    waiting: BTreeMap<String, User>,
    /// Users without an entry in LDAP.
    left: BTreeSet<Id>,
    /// Users that were unlinked, by login, with their LDAP groups. A read by `f:{component}:{login}` links them again.
    unlinked: BTreeMap<String, (Id, BTreeSet<Id>)>,
    /// Changes in LDAP that the next synchronization stores in Keycloak.
    unsynced: Vec<(Id, UserRep)>,
}

impl Federation {
    fn new(imports: bool) -> Self {
        Self {
            state: FederationState::default(),
            mapper: GroupMapper::default(),
            imports,
            removes_invalid: true,
            waiting: BTreeMap::new(),
            left: BTreeSet::new(),
            unlinked: BTreeMap::new(),
            unsynced: Vec::new(),
        }
    }

    /// Returns whether every read returns what is stored.
    fn is_plain(&self) -> bool {
        self.state == FederationState::Available
            && matches!(self.mapper, GroupMapper::Mapped | GroupMapper::Stored)
            && self.left.is_empty()
            && self.unlinked.is_empty()
            && self.waiting.is_empty()
    }
}

/// What a read of a user returns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look<'a> {
    /// The user as stored, or as cached.
    Full(&'a User),
    /// The stored user as disabled and without LDAP groups; whether with attributes.
    Dark(&'a User, bool),
    /// No such user. If it is imported, the read deletes it in Keycloak.
    Gone,
    /// LDAP cannot be asked, and nothing is stored.
    Failed,
}

impl<'a> Look<'a> {
    /// Returns the user, or the answer to a read by id.
    pub(crate) fn user(self) -> Result<&'a User, Refused> {
        match self {
            Self::Full(user) | Self::Dark(user, _) => Ok(user),
            Self::Gone => Err(Refused::no_user()),
            Self::Failed => Err(Refused::broke()),
        }
    }
}

impl Realm {
    /// Registers the component that a user comes from.
    pub(crate) fn register_federation(&mut self, user: &User) {
        if let Some(component) = user.component()
            && !self.federations.contains_key(component)
        {
            self.federations.insert(component.to_owned(), Federation::new(!user.is_outside()));
        }
    }

    /// Returns whether every read of a federated user returns what is stored.
    pub(crate) fn federations_are_plain(&self) -> bool {
        self.federations.values().all(Federation::is_plain)
    }

    /// Returns a component, unless it is removed.
    pub(crate) fn federation(&self, component: &str) -> Option<&Federation> {
        self.federations.get(component).filter(|federation| federation.state != FederationState::Removed)
    }

    fn federation_mut(&mut self, component: &str) -> Result<&mut Federation, Refused> {
        let found = self.federations.get_mut(component);
        found.filter(|federation| federation.state != FederationState::Removed).ok_or_else(no_component)
    }

    fn federation_of(&self, user: &User) -> Option<&Federation> {
        self.federations.get(user.component()?)
    }

    /// Returns what a read of a user returns; a cached copy comes before what LDAP has.
    pub(crate) fn look<'a>(&'a self, user: &'a User) -> Look<'a> {
        match self.cached_copy(&user.id) {
            Some(copy) => Look::Full(copy),
            None => self.look_uncached(user),
        }
    }

    /// Returns what a read of a user returns that is not cached.
    fn look_uncached<'a>(&'a self, user: &'a User) -> Look<'a> {
        let Some(federation) = self.federation_of(user) else { return Look::Full(user) };
        let state = federation.state;
        let asks = matches!(state, FederationState::Available | FederationState::Empty);
        match (state, user.is_outside()) {
            (FederationState::Available, _) if !federation.left.contains(&user.id) => Look::Full(user),
            (_, false) if asks && federation.removes_invalid => Look::Gone,
            (FederationState::Removed, _) => Look::Gone,
            (_, false) => Look::Dark(user, state != FederationState::Disabled),
            (_, true) if state.fails() => Look::Failed,
            (_, true) => Look::Gone,
        }
    }

    /// Drops all cached copies.
    pub(crate) fn clear_user_cache(&mut self) {
        if let Some(cached) = &mut self.cached {
            cached.clear();
        }
    }

    fn cached_copy(&self, id: &str) -> Option<&User> {
        self.cached.as_ref()?.get(id).map(|copy| &**copy)
    }

    /// Returns what a read by id returns. The id may have the form `f:{component}:{login}`.
    pub(crate) fn look_by_id(&self, id: &str) -> Look<'_> {
        if let Some(user) = self.users.get(id) {
            return self.look(user);
        }
        if let Some(copy) = self.cached_copy(id) {
            return Look::Full(copy);
        }
        let Some((component, login)) = id.strip_prefix("f:").and_then(|rest| rest.split_once(':')) else {
            return Look::Gone;
        };
        let Some(federation) = self.federation(component) else { return Look::Gone };
        let named = self.names.get(&login.trim().to_lowercase()).and_then(|id| self.users.get(id));
        let is_known =
            |user: &&Arc<User>| user.component() == Some(component) || federation.unlinked.contains_key(&user.username);
        let known = named.filter(is_known);
        match known {
            Some(user) if user.is_outside() => self.look(user),
            _ if federation.state.fails() => Look::Failed,
            // LDAP is asked, whatever is stored or cached; nothing is deleted.
            Some(user) if federation.state == FederationState::Available && !federation.left.contains(&user.id) => {
                Look::Full(user)
            }
            _ => Look::Gone,
        }
    }

    /// Returns whether a listing leaves a user out that it reads.
    pub(crate) fn is_left_out(&self, user: &User) -> bool {
        // Users that are not imported are listed from LDAP, never from the cache.
        let look = if user.is_outside() { self.look_uncached(user) } else { self.look(user) };
        matches!(look, Look::Gone | Look::Failed)
    }

    /// Returns the groups that a read of a user's groups returns.
    pub(crate) fn groups_shown<'a>(&'a self, user: &'a User) -> Result<Option<&'a BTreeSet<Id>>, Refused> {
        match (self.cached_copy(&user.id), self.federation_of(user).map(|federation| federation.mapper)) {
            (Some(copy), Some(GroupMapper::Mapped | GroupMapper::Stored)) => Ok(Some(&copy.groups)),
            _ => self.groups_uncached(user),
        }
    }

    /// Returns the groups that are counted for a user, which no cache answers.
    pub(crate) fn groups_uncached<'a>(&'a self, user: &'a User) -> Result<Option<&'a BTreeSet<Id>>, Refused> {
        let Some(federation) = self.federation_of(user) else { return Ok(Some(&user.groups)) };
        match (self.look_uncached(user), federation.mapper) {
            (Look::Full(_), GroupMapper::Mapped | GroupMapper::Stored) | (Look::Dark(..), GroupMapper::Stored) => {
                Ok(Some(&user.groups))
            }
            (Look::Full(_), GroupMapper::Missing) | (Look::Failed, _) => Err(Refused::broke()),
            (Look::Full(_) | Look::Dark(..), _) => Ok(None),
            (Look::Gone, _) => Err(Refused::no_user()),
        }
    }

    /// Returns whether the members of a group show a user, which no cache answers.
    pub(crate) fn is_member_shown(&self, user: &User) -> bool {
        matches!(self.groups_uncached(user), Ok(Some(_)))
    }

    /// Returns whether a request that reaches past the stored users fails.
    pub(crate) fn listing_fails(&self) -> bool {
        self.federations.values().any(|federation| federation.state == FederationState::Misconfigured)
    }

    /// Returns the logins in LDAP that Keycloak has not imported, with their components.
    fn waiting(&self) -> impl Iterator<Item = (&String, &User)> {
        let available = self.federations.iter().filter(|(_, one)| one.state == FederationState::Available);
        available.flat_map(|(component, one)| one.waiting.values().map(move |user| (component, user)))
    }
}

/// Returns the answer to a request for a component that does not exist.
pub(crate) fn no_component() -> Refused {
    Refused::error(404, "Could not find component")
}

/// Returns a component as the API shows it.
pub(crate) fn component(realm: &Realm, id: &str, federation: &Federation) -> Value {
    let state = federation.state;
    let flag = |on: bool| json!([on.to_string()]);
    let dn = if state == FederationState::Empty { "ou=empty" } else { "ou=people" };
    json!({
        "id": id, "name": "ldap", "providerId": "ldap",
        "providerType": "org.keycloak.storage.UserStorageProvider", "parentId": *realm.id,
        "config": {
            "enabled": flag(state != FederationState::Disabled),
            "importEnabled": flag(federation.imports),
            "removeInvalidUsersEnabled": flag(federation.removes_invalid),
            "usersDn": [format!("{dn},dc=example,dc=org")],
        },
    })
}

/// Side effects of a read.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Users that the read imports: component and login.
    import: Vec<(String, String)>,
    /// Imported users that the read deletes.
    delete: Vec<Id>,
    /// Users that are in the cache afterwards.
    keep: Vec<Id>,
    /// The time that LDAP takes.
    pub(crate) wait: Duration,
}

impl Effects {
    /// Returns the side effects of a GET request.
    pub(crate) fn of(realm: &Realm, request: &Request, rest: &[&str]) -> Self {
        if realm.federations.is_empty() || (realm.federations_are_plain() && realm.cached.is_none()) {
            return Self::default();
        }
        match rest {
            ["users"] => users_read::Selection::of(realm, request, &[]).map_or_else(
                |_| Self::default(),
                |selection| {
                    // Keycloak validates an imported user, and then loads it.
                    let mut effects = Self::on(realm, selection.ids.iter(), 2);
                    effects.list(realm, request, &selection);
                    effects
                },
            ),
            ["users", "count" | "profile"] => Self::default(),
            ["users", id, ..] => {
                let mut effects = Self::on(realm, realm.users.get(*id).map(|user| &user.id).into_iter(), 1);
                effects.probe(realm, id);
                effects
            }
            ["groups", _, "members"] => {
                let mut effects = Self::default();
                effects.ask(realm, None, 1);
                effects
            }
            _ => Self::default(),
        }
    }

    /// Returns the effects of reading these users; `questions` are asked for each imported one.
    fn on<'a>(realm: &Realm, ids: impl Iterator<Item = &'a Id>, questions: u32) -> Self {
        let mut effects = Self::default();
        for user in ids.filter_map(|id| realm.users.get(id)) {
            let Some(federation) = realm.federation_of(user) else { continue };
            if realm.cached_copy(&user.id).is_some() {
                continue;
            }
            if let FederationState::Frozen(time) = federation.state {
                effects.wait += time * if user.is_outside() { 1 } else { questions };
            }
            match realm.look_uncached(user) {
                Look::Gone if !user.is_outside() => effects.delete.push(Arc::clone(&user.id)),
                Look::Full(_) => effects.keep.push(Arc::clone(&user.id)),
                _ => {}
            }
        }
        effects
    }

    /// Adds `times` questions to each frozen LDAP server, or to that of one component.
    fn ask(&mut self, realm: &Realm, component: Option<&str>, times: u32) {
        for (id, federation) in &realm.federations {
            if let FederationState::Frozen(time) = federation.state
                && component.is_none_or(|component| component == id)
            {
                self.wait += time * times;
            }
        }
    }

    /// Adds the effects of a listing beyond the users that are stored.
    fn list(&mut self, realm: &Realm, request: &Request, selection: &users_read::Selection) {
        if !selection.asks_federations {
            return;
        }
        self.ask(realm, None, 1);
        let fits = realm.waiting().filter(|(_, user)| users_read::matches(realm, request, user));
        let found = fits.take(selection.room).map(|(component, user)| (component.clone(), user.username.clone()));
        self.import = found.collect();
    }

    /// Adds the effects of a read by `f:{component}:{login}`.
    fn probe(&mut self, realm: &Realm, id: &str) {
        let Some((component, login)) = id.strip_prefix("f:").and_then(|rest| rest.split_once(':')) else { return };
        if realm.users.contains_key(id) || realm.cached_copy(id).is_some() {
            return;
        }
        self.ask(realm, Some(component), 1);
        let login = login.trim().to_lowercase();
        let is_unlinked = realm
            .federation(component)
            .is_some_and(|one| one.state == FederationState::Available && one.unlinked.contains_key(&login));
        if is_unlinked || realm.waiting().any(|(one, user)| one == component && user.username == login) {
            self.import.push((component.to_owned(), login));
        }
    }

    /// Returns whether something is imported before the answer.
    pub(crate) fn imports(&self) -> bool {
        !self.import.is_empty()
    }

    /// Returns whether something changes after the answer.
    pub(crate) fn follows(&self, realm: &Realm) -> bool {
        !self.delete.is_empty() || (realm.cached.is_some() && !self.keep.is_empty())
    }
}

impl Tx<'_> {
    /// Imports what a read imports; returns the new ids.
    pub(crate) fn import_by_read(&mut self, effects: &Effects) -> Vec<Id> {
        effects.import.iter().filter_map(|(component, login)| self.import_waiting(component, login)).collect()
    }

    /// Deletes the users that LDAP no longer has, and keeps the others in the cache.
    pub(crate) fn after_read(&mut self, effects: &Effects) {
        for id in &effects.delete {
            if let Ok(user) = self.user(id) {
                self.remove_user(&user, false);
                self.return_to_ldap(&user);
            }
        }
        let copies = effects.keep.iter().filter_map(|id| self.realm.users.get(id)).map(Arc::clone);
        if let Some(cached) = &mut self.realm.cached {
            for copy in copies {
                cached.entry(Arc::clone(&copy.id)).or_insert(copy);
            }
        }
    }

    fn import_waiting(&mut self, component: &str, login: &str) -> Option<Id> {
        let federation = self.realm.federation_mut(component).ok()?;
        if let Some((id, groups)) = federation.unlinked.remove(login) {
            self.user_mut(&id).ok()?.federation_link = Some(component.to_owned());
            self.quiet_memberships(&id, &groups, true);
            return Some(id);
        }
        let found = federation.waiting.remove(login)?;
        let user = User { id: self.id(), created: self.now(), ..found };
        let id = Arc::clone(&user.id);
        let groups = user.groups.clone();
        // Memberships that LDAP has leave no event.
        self.store_user(User { groups: BTreeSet::new(), ..user }, true);
        self.quiet_memberships(&id, &groups, true);
        Some(id)
    }

    /// Adds a user to groups, or removes it, without events.
    fn quiet_memberships(&mut self, id: &Id, groups: &BTreeSet<Id>, member: bool) {
        let Some(user) = self.realm.users.get_mut(id).map(Arc::make_mut) else { return };
        for group_id in groups {
            let Some(group) = self.realm.groups.get_mut(group_id).map(Arc::make_mut) else { continue };
            if member {
                user.groups.insert(Arc::clone(group_id));
                group.members.insert(&user.username, id);
            } else {
                user.groups.remove(group_id);
                group.members.remove(&user.username);
            }
        }
    }

    /// Makes a user that was deleted in Keycloak one that the next listing imports, unless its LDAP entry is gone.
    pub(crate) fn return_to_ldap(&mut self, user: &User) {
        let Some(component) = user.component() else { return };
        if let Some(federation) = self.realm.federations.get_mut(component)
            && !federation.left.remove(&user.id)
            && federation.state != FederationState::Removed
        {
            // Only what LDAP has comes back.
            let entry = User { realm_roles: BTreeSet::new(), client_roles: BTreeMap::new(), ..user.clone() };
            federation.waiting.insert(entry.username.clone(), entry);
        }
    }

    /// Sets the state of a component. A changed setting is an administrator's change, and empties the cache.
    pub(crate) fn set_federation(&mut self, component: &str, state: FederationState) {
        let federation = self.realm.federations.entry(component.to_owned()).or_insert_with(|| Federation::new(true));
        let before = std::mem::replace(&mut federation.state, state);
        if before == state || !(before.is_setting() || state.is_setting()) {
            return;
        }
        self.forget_cached(component);
        if state != FederationState::Removed {
            return self.component_event("UPDATE", component);
        }
        self.component_event("DELETE", component);
        for user in self.users_of(component) {
            self.remove_user(&user, false);
        }
        // No event reports these users.
        self.out.retain(|happening| !happening.is_model());
        if let Some(federation) = self.realm.federations.get_mut(component) {
            federation.waiting.clear();
            federation.left.clear();
        }
    }

    /// Sets the state of a component's group mapper.
    pub(crate) fn set_group_mapper(&mut self, component: &str, mapper: GroupMapper) -> Result<(), Refused> {
        self.realm.federation_mut(component)?.mapper = mapper;
        self.forget_cached(component);
        self.component_event("UPDATE", component);
        Ok(())
    }

    /// Sets `removeInvalidUsersEnabled`.
    pub(crate) fn set_removes_invalid(&mut self, component: &str, on: bool) -> Result<(), Refused> {
        self.realm.federation_mut(component)?.removes_invalid = on;
        self.forget_cached(component);
        self.component_event("UPDATE", component);
        Ok(())
    }

    fn component_event(&mut self, operation: &'static str, id: &str) {
        let shown = self.realm.federations.get(id).map(|one| component(self.realm, id, one));
        let shown = shown.filter(|_| operation != "DELETE").map(|shown| text(&shown));
        let subject = Subject { resource_id: Some(id.to_owned()), user_id: None, username: None };
        self.admin(operation, "COMPONENT", Some(format!("components/{id}")), shown, subject);
    }

    fn users_of(&self, component: &str) -> Vec<Arc<User>> {
        let users = self.realm.users.values();
        users.filter(|user| user.component() == Some(component)).cloned().collect()
    }

    fn forget_cached(&mut self, component: &str) {
        if let Some(cached) = &mut self.realm.cached {
            cached.retain(|_, copy| copy.component() != Some(component));
        }
    }

    /// Adds an entry to LDAP: a user that Keycloak imports later, or one that it only lists.
    pub(crate) fn add_to_ldap(&mut self, user: User) {
        self.realm.register_federation(&user);
        let component = user.component().unwrap_or_default();
        match self.realm.federations.get_mut(component) {
            Some(federation) if !user.is_outside() => drop(federation.waiting.insert(user.username.clone(), user)),
            _ => {
                let (id, groups) = (Arc::clone(&user.id), user.groups.clone());
                insert_user(self.realm, user);
                self.quiet_memberships(&id, &groups, true);
            }
        }
    }

    /// Deletes a user's LDAP entry.
    pub(crate) fn remove_from_ldap(&mut self, id: &str) -> Result<(), Refused> {
        let user = self.user(id)?;
        let component = user.component().ok_or_else(no_component)?;
        self.realm.federation_mut(component)?.left.insert(Arc::clone(&user.id));
        Ok(())
    }

    /// Changes a user in LDAP. Keycloak stores it at the next synchronization, if it stores the user.
    pub(crate) fn change_in_ldap(&mut self, id: &str, rep: UserRep) -> Result<(), Refused> {
        let user = self.user(id)?;
        let component = user.component().ok_or_else(no_component)?;
        if user.is_outside() {
            return self.update_user(id, &rep);
        }
        self.realm.federation_mut(component)?.unsynced.push((Arc::clone(&user.id), rep));
        Ok(())
    }

    /// Changes the login of a user that is not imported: it has a new id; returns it.
    pub(crate) fn rename_outside(&mut self, id: &str, login: &str) -> Result<Id, Refused> {
        let user = self.user(id)?;
        let component = user.component().ok_or_else(no_component)?;
        let renamed = User {
            id: format!("f:{component}:{login}").into(),
            username: login.to_lowercase(),
            groups: BTreeSet::new(),
            ..User::clone(&user)
        };
        let new = Arc::clone(&renamed.id);
        self.remove_user(&user, false);
        insert_user(self.realm, renamed);
        self.quiet_memberships(&new, &user.groups, true);
        Ok(new)
    }

    /// Runs a synchronization: it imports what LDAP has and stores changes, but deletes nobody.
    pub(crate) fn sync_federation(&mut self, component: &str, action: &str) -> Result<Value, Refused> {
        let federation = self.realm.federation_mut(component)?;
        if federation.state.fails() {
            return Err(Refused::broke());
        }
        let found = federation.state == FederationState::Available;
        let changes = if found { std::mem::take(&mut federation.unsynced) } else { Vec::new() };
        let logins: Vec<String> = federation.waiting.keys().filter(|_| found).cloned().collect();
        let added = logins.iter().filter_map(|login| self.import_waiting(component, login)).count();
        let mut updated = 0;
        for (id, rep) in changes {
            updated += usize::from(self.store_from_ldap(&id, &rep).is_ok());
        }
        let result = json!({
            "ignored": false, "added": added, "updated": updated, "removed": 0, "failed": 0,
            "status": format!("{added} imported users, {updated} updated users"),
        });
        let shown = json!({ "result": result, "action": action });
        let subject = Subject { resource_id: Some(component.to_owned()), user_id: None, username: None };
        self.admin("ACTION", "REALM", Some(format!("user-storage/{component}/sync")), Some(text(&shown)), subject);
        Ok(result)
    }

    /// Stores what LDAP has of a user, without an event.
    fn store_from_ldap(&mut self, id: &Id, rep: &UserRep) -> Result<(), Refused> {
        let before = self.user(id)?;
        let login = rep.username.as_deref().map_or_else(|| before.username.clone(), str::to_lowercase);
        let email = rep.email.clone().or_else(|| before.email.clone());
        self.change_profile(id, rep, &login, email)?;
        let user = self.user_mut(id)?;
        user.enabled = rep.enabled.unwrap_or(user.enabled);
        Ok(())
    }

    /// Makes all users of a component local ones; no event reports it.
    pub(crate) fn unlink_users(&mut self, component: &str) -> Result<(), Refused> {
        let mapper = self.realm.federation_mut(component)?.mapper;
        for user in self.users_of(component).into_iter().filter(|user| !user.is_outside()) {
            if mapper != GroupMapper::Stored {
                self.quiet_memberships(&user.id, &user.groups, false);
            }
            self.user_mut(&user.id)?.federation_link = None;
            let known = (Arc::clone(&user.id), user.groups.clone());
            self.realm.federation_mut(component)?.unlinked.insert(user.username.clone(), known);
        }
        Ok(())
    }

    /// Deletes all imported users of a component in Keycloak; no event reports it.
    pub(crate) fn remove_imported_users(&mut self, component: &str) -> Result<(), Refused> {
        self.realm.federation_mut(component)?;
        for user in self.users_of(component).into_iter().filter(|user| !user.is_outside()) {
            self.remove_user(&user, false);
            self.return_to_ldap(&user);
        }
        self.out.retain(|happening| !happening.is_model());
        Ok(())
    }
}
