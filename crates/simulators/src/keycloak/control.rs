//! The simulated Keycloak as tests control it: the changes of its HTTP API, seeds, switches and the current state.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::KeycloakOptions;
use super::change::{Actor, Draws, Tx};
use super::errors::Refused;
use super::event::now;
use super::federation::{FederationState, GroupMapper};
use super::instance::{Keycloak, RealmCell};
use super::rep::{GroupRep, UserRep};
use super::state::{Group, Realm, RoleKey, User, new_id};
use super::users_change::insert_user;
use super::values::{GroupState, NewUser, RealmSnapshot, UserChange, UserState};
use super::webhook::{Delivery, Webhook};
use crate::fault::Faults;
use crate::front;
use crate::journal::Journal;
use crate::server::Server;

/// A running simulated Keycloak; dropping it stops the server.
#[derive(Debug)]
pub struct SimulatedKeycloak {
    server: Server,
    keycloak: Arc<Keycloak>,
    /// Faults of this server.
    pub faults: Faults,
    /// Journal of the requests.
    pub journal: Journal,
}

impl SimulatedKeycloak {
    /// Starts a Keycloak on a loopback port, with only the realm `master`.
    pub async fn start(options: KeycloakOptions) -> io::Result<Self> {
        let keycloak = Arc::new(Keycloak::new(&options));
        let (faults, journal) = (Faults::default(), Journal::new(options.journal));
        let router = front::router(Arc::clone(&keycloak), faults.clone(), journal.clone());
        let server = Server::start(router, options.port).await?;
        Ok(Self { server, keycloak, faults, journal })
    }

    /// Starts a Keycloak with realm `acme`; its client `usersync` (secret `usersync-secret`) may read users and events.
    pub async fn start_with_realm() -> io::Result<(Self, RealmHandle)> {
        let simulator = Self::start(KeycloakOptions::default()).await?;
        let realm = simulator.add_realm("acme");
        realm.add_service_client("usersync", "usersync-secret", &["view-users", "view-events"]);
        Ok((simulator, realm))
    }

    /// Returns the URL with the base path, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.server.address(), self.keycloak.prefix)
    }

    /// Adds a realm that stores events, allows login changes and keeps every attribute; or returns the one of that
    /// name.
    pub fn add_realm(&self, name: &str) -> RealmHandle {
        let mut realm = Realm::new(name);
        realm.settings.admin_events = true;
        realm.settings.admin_event_details = true;
        realm.settings.user_events = true;
        realm.settings.edit_username = true;
        realm.settings.unmanaged_attributes = true;
        self.keycloak.add(realm);
        let realms = self.keycloak.realms.read();
        RealmHandle::new(Arc::clone(&realms[name]), &self.keycloak.admin_id)
    }

    /// Returns the realm of this name.
    pub fn realm(&self, name: &str) -> Option<RealmHandle> {
        let realms = self.keycloak.realms.read();
        realms.get(name).map(|cell| RealmHandle::new(Arc::clone(cell), &self.keycloak.admin_id))
    }

    /// Revokes all tokens: the next call with one of them is answered with 401.
    pub fn revoke_tokens(&self) {
        self.keycloak.tokens.revoke_all();
    }

    /// Saves the current state of all realms for [`Stale::Frozen`](crate::fault::Stale::Frozen) reads.
    pub fn freeze(&self) {
        for cell in self.keycloak.realms.read().values() {
            cell.versions.freeze();
        }
    }

    /// Stops the server; returns when the port is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

/// A realm of a simulated Keycloak. Its changes emit the same events as an administrator's.
#[derive(Clone, Debug)]
pub struct RealmHandle {
    cell: Arc<RealmCell>,
    actor: Actor,
}

impl RealmHandle {
    pub(crate) fn new(cell: Arc<RealmCell>, admin_id: &str) -> Self {
        let actor = Actor { realm: cell.id.clone(), client: new_id().to_string(), user: admin_id.to_owned() };
        Self { cell, actor }
    }

    /// Returns the realm's name.
    pub fn name(&self) -> &str {
        &self.cell.name
    }

    /// Returns the realm's id.
    pub fn id(&self) -> &str {
        &self.cell.id
    }

    async fn change<R>(&self, work: impl Fn(&mut Tx<'_>) -> Result<R, Refused>) -> Result<R, Refused> {
        self.cell.change(&self.actor, work).await
    }

    /// Makes a change without any event, whatever the webhook's settings are.
    fn quietly<R>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<R, Refused>) -> Result<R, Refused> {
        self.cell.versions.write(|realm| {
            let on = (realm.settings.admin_events, realm.settings.user_events);
            realm.settings.admin_events = false;
            realm.settings.user_events = false;
            let result = work(&mut Tx::new(realm, &self.actor, &mut Draws::new()));
            (realm.settings.admin_events, realm.settings.user_events) = on;
            result
        })
    }

    /// Creates a user; returns its id.
    pub async fn create_user(&self, user: NewUser) -> Result<String, Refused> {
        self.change(|tx| tx.create_user(&user.rep()).map(|id| id.to_string())).await
    }

    /// Changes a user.
    pub async fn update_user(&self, id: &str, change: UserChange) -> Result<(), Refused> {
        self.change(|tx| tx.update_user(id, &change.rep())).await
    }

    /// Sets one attribute of a user; no values remove it.
    pub async fn set_attribute(&self, id: &str, name: &str, values: &[&str]) -> Result<(), Refused> {
        self.change(|tx| {
            let user = tx.user(id)?;
            let mut attributes = user.attributes.clone();
            attributes.remove(name);
            if !values.is_empty() {
                attributes.insert(name.to_owned(), values.iter().map(|&value| value.to_owned()).collect());
            }
            // The console sends the complete profile too.
            let rep = UserRep {
                username: Some(user.username.clone()),
                email: user.email.clone(),
                first_name: user.first_name.clone(),
                last_name: user.last_name.clone(),
                attributes: Some(attributes),
                ..UserRep::default()
            };
            tx.update_user(id, &rep)
        })
        .await
    }

    /// Deletes a user.
    pub async fn delete_user(&self, id: &str) -> Result<(), Refused> {
        self.change(|tx| tx.delete_user(id)).await
    }

    /// Adds a user to a group.
    pub async fn join(&self, user: &str, group: &str) -> Result<(), Refused> {
        self.change(|tx| tx.join(user, group)).await
    }

    /// Removes a user from a group.
    pub async fn leave(&self, user: &str, group: &str) -> Result<(), Refused> {
        self.change(|tx| tx.leave(user, group)).await
    }

    /// Creates a group below `parent`, or at the top level; returns its id.
    pub async fn create_group(&self, parent: Option<&str>, name: &str) -> Result<String, Refused> {
        let rep = GroupRep { name: Some(name.into()), ..GroupRep::default() };
        self.change(|tx| tx.create_group(parent, &rep).map(|id| id.to_string())).await
    }

    /// Renames a group.
    pub async fn rename_group(&self, id: &str, name: &str) -> Result<(), Refused> {
        let rep = GroupRep { name: Some(name.into()), ..GroupRep::default() };
        self.change(|tx| tx.update_group(id, &rep)).await
    }

    /// Sets an attribute of a group to these values, or removes it.
    pub async fn set_group_attribute(&self, id: &str, name: &str, values: &[&str]) -> Result<(), Refused> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        self.change(|tx| {
            let group = tx.realm.groups.get(id).ok_or_else(Refused::no_group)?;
            let mut attributes = group.attributes.clone();
            if values.is_empty() {
                attributes.remove(name);
            } else {
                attributes.insert(name.to_owned(), values.clone());
            }
            let rep = GroupRep { name: Some(group.name.clone()), attributes: Some(attributes), ..GroupRep::default() };
            tx.update_group(id, &rep)
        })
        .await
    }

    /// Moves a group below `parent`, or to the top level.
    pub async fn move_group(&self, id: &str, parent: Option<&str>) -> Result<(), Refused> {
        self.change(|tx| tx.move_group(id, parent)).await
    }

    /// Deletes a group and all groups below it.
    pub async fn delete_group(&self, id: &str) -> Result<(), Refused> {
        self.change(|tx| tx.delete_group(id)).await
    }

    /// Makes a group a default group for new users, or not.
    pub async fn set_default_group(&self, id: &str, on: bool) -> Result<(), Refused> {
        self.change(|tx| tx.set_default_group(id, on)).await
    }

    /// Creates a realm role with these composite roles.
    pub async fn create_role(&self, name: &str, composites: &[&str]) -> Result<(), Refused> {
        let composites: BTreeSet<RoleKey> = composites.iter().map(|&name| (None, name.to_owned())).collect();
        self.change(|tx| tx.create_role(None, name, composites.clone())).await
    }

    /// Grants a realm role to a user, or revokes it.
    pub async fn set_role(&self, user: &str, role: &str, on: bool) -> Result<(), Refused> {
        self.change(|tx| tx.user_roles(user, &[role.to_owned()], on)).await
    }

    /// Grants a realm role to a group, or revokes it.
    pub async fn set_group_role(&self, group: &str, role: &str, on: bool) -> Result<(), Refused> {
        self.change(|tx| tx.group_roles(group, &[role.to_owned()], on)).await
    }

    /// Creates a client without a service account, with these roles; returns its internal id.
    pub async fn create_client_with_roles(&self, client_id: &str, roles: &[&str]) -> Result<String, Refused> {
        let id =
            self.change(|tx| tx.create_client(Map::from_iter([("clientId".to_owned(), json!(client_id))]))).await?;
        for role in roles {
            self.change(|tx| tx.create_role(Some(&id), role, BTreeSet::new())).await?;
        }
        Ok(id.to_string())
    }

    /// Grants a role of a client (by internal id) to a user, or revokes it.
    pub async fn set_client_role(&self, user: &str, client: &str, role: &str, on: bool) -> Result<(), Refused> {
        self.change(|tx| tx.user_client_roles(user, client, &[role.to_owned()], on)).await
    }

    /// Grants a role of a client (by internal id) to a group, or revokes it.
    pub async fn set_group_client_role(&self, group: &str, client: &str, role: &str, on: bool) -> Result<(), Refused> {
        self.change(|tx| tx.group_client_roles(group, client, &[role.to_owned()], on)).await
    }

    /// Adds a role to a composite role, or removes it. A role of a client is given with the client's internal id.
    pub async fn set_composite(
        &self,
        (client, role): (Option<&str>, &str),
        (part_client, part): (Option<&str>, &str),
        on: bool,
    ) -> Result<(), Refused> {
        let key = |client: Option<&str>, name: &str| -> RoleKey { (client.map(Into::into), name.to_owned()) };
        let (role, part) = (key(client, role), key(part_client, part));
        self.change(|tx| tx.set_composites(&role, std::slice::from_ref(&part), on)).await
    }

    /// Renames a realm role.
    pub async fn rename_role(&self, name: &str, to: &str) -> Result<(), Refused> {
        self.change(|tx| tx.rename_role(&(None, name.to_owned()), to)).await
    }

    /// Deletes a realm role.
    pub async fn delete_role(&self, name: &str) -> Result<(), Refused> {
        self.change(|tx| tx.delete_role(&(None, name.to_owned()))).await
    }

    /// Turns organizations on or off.
    pub async fn switch_organizations(&self, on: bool) {
        let setting = ("organizationsEnabled".to_owned(), json!(on));
        let changed = self.change(|tx| {
            tx.realm.settings.extra.extend([setting.clone()]);
            Ok(())
        });
        changed.await.unwrap_or_default();
    }

    /// Creates an organization; returns its id.
    pub async fn create_organization(&self, alias: &str, name: &str) -> Result<String, Refused> {
        let sent = Map::from_iter([("alias".to_owned(), json!(alias)), ("name".to_owned(), json!(name))]);
        Ok(self.change(|tx| tx.create_organization(&sent)).await?.to_string())
    }

    /// Returns the id of the organization with this alias.
    pub fn organization_id(&self, alias: &str) -> Option<String> {
        let id =
            |realm: &Realm| realm.organizations.values().find(|one| one.alias == alias).map(|one| one.id.to_string());
        self.cell.versions.read(None, id)
    }

    /// Renames an organization.
    pub async fn rename_organization(&self, id: &str, name: &str) -> Result<(), Refused> {
        let alias = self.cell.versions.read(None, |realm| realm.organizations.get(id).map(|one| one.alias.clone()));
        let sent = Map::from_iter([("alias".to_owned(), json!(alias)), ("name".to_owned(), json!(name))]);
        self.change(|tx| tx.update_organization(id, &sent)).await
    }

    /// Deletes an organization, and the users that it manages.
    pub async fn delete_organization(&self, id: &str) -> Result<(), Refused> {
        self.change(|tx| tx.delete_organization(id)).await
    }

    /// Adds a member to an organization, or removes it.
    pub async fn set_organization_member(&self, id: &str, user: &str, on: bool) -> Result<(), Refused> {
        let change = |tx: &mut Tx<'_>| {
            if on { tx.add_organization_member(id, user, false) } else { tx.remove_organization_member(id, user) }
        };
        self.change(change).await
    }

    /// Adds a member that the organization manages: if it is removed, the user is deleted.
    pub async fn add_managed_member(&self, id: &str, user: &str) -> Result<(), Refused> {
        self.change(|tx| tx.add_organization_member(id, user, true)).await
    }

    /// Returns the internal id of a client.
    pub fn client_id(&self, client_id: &str) -> Option<String> {
        self.cell.versions.read(None, |realm| realm.clients.get(client_id).map(|client| client.id.to_string()))
    }

    /// Runs an administrator's action that does not affect a sync: `reset-password`, `logout`.
    pub async fn user_action(&self, id: &str, action: &str) -> Result<(), Refused> {
        self.change(|tx| tx.user_action(id, action)).await
    }

    /// Registers a user: a user event, no admin event.
    pub async fn register(&self, user: NewUser) -> Result<String, Refused> {
        self.change(|tx| tx.register(&user.rep()).map(|id| id.to_string())).await
    }

    /// Changes a user's profile as the user does: a user event, no admin event.
    pub async fn update_profile(&self, id: &str, change: UserChange) -> Result<(), Refused> {
        self.change(|tx| tx.update_profile(id, &change.rep())).await
    }

    /// Runs a partial import that overwrites. Users with one of these logins are deleted and recreated with new ids; no
    /// event reports the deletion. Returns the ids in the same order.
    pub async fn overwriting_import(&self, users: &[NewUser]) -> Result<Vec<String>, Refused> {
        let users: Vec<Value> = users.iter().map(|user| json!(UserRep { id: None, ..user.rep() })).collect();
        let body = json!({ "ifResourceExists": "OVERWRITE", "users": users });
        let result = self.change(|tx| tx.partial_import(&body)).await?;
        let ids = result["results"].as_array().into_iter().flatten();
        Ok(ids.filter_map(|one| one["id"].as_str()).map(str::to_owned).collect())
    }

    /// Imports users from a federation provider; only listeners of model events are notified.
    pub async fn federation_import(&self, users: Vec<NewUser>) -> Result<Vec<String>, Refused> {
        self.change(|tx| {
            let reps: Vec<UserRep> = users.iter().map(NewUser::rep).collect();
            let mut ids = Vec::new();
            for rep in &reps {
                let user = tx.prepare_user(rep)?;
                ids.push(user.id.to_string());
                tx.store_user(user, true);
            }
            Ok(ids)
        })
        .await
    }

    /// Seeds users in one change, without any event; returns their ids. Missing groups on their paths are created.
    pub fn import_users(&self, users: impl IntoIterator<Item = NewUser>) -> Result<Vec<String>, Refused> {
        self.quietly(|tx| {
            let mut ids = Vec::new();
            for user in users {
                for path in &user.groups {
                    ensure_path(tx, path)?;
                }
                let mut made = tx.prepare_user(&user.rep())?;
                ids.push(made.id.to_string());
                made.realm_roles.insert(tx.realm.default_role());
                made.created = user.created.unwrap_or_else(now);
                seed(tx, made);
            }
            Ok(ids)
        })
    }

    /// Seeds the group at a path, without any event; returns its id.
    pub fn import_group(&self, path: &str) -> Result<String, Refused> {
        self.quietly(|tx| ensure_path(tx, path))
    }

    /// Seeds memberships by ids, without any event.
    pub fn import_memberships<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), Refused> {
        self.quietly(|tx| {
            for (user, group) in pairs {
                let group = tx.group_id(group).ok_or_else(|| Refused::error(404, "Group not found"))?;
                let member = tx.user_mut(user)?;
                member.groups.insert(Arc::clone(&group));
                let (name, id) = (member.username.clone(), Arc::clone(&member.id));
                if let Some(group) = tx.realm.groups.get_mut(&group) {
                    Arc::make_mut(group).members.insert(&name, &id);
                }
            }
            Ok(())
        })
    }

    /// Deletes a user without any event, as a change in the database does.
    pub fn delete_user_without_event(&self, id: &str) -> Result<(), Refused> {
        self.quietly(|tx| {
            let user = tx.user(id)?;
            tx.remove_user(&user, true);
            Ok(())
        })
    }

    /// Changes a user without any event, as an LDAP sync or an identity provider's mapper does.
    pub fn change_without_event(&self, id: &str, change: &UserChange) -> Result<(), Refused> {
        self.quietly(|tx| tx.update_user(id, &change.rep()))
    }

    /// Adds a user to a group, or removes it, without any event.
    pub fn set_member_without_event(&self, user: &str, group: &str, member: bool) -> Result<(), Refused> {
        self.quietly(|tx| if member { tx.join(user, group) } else { tx.leave(user, group) })
    }

    /// Adds a client with a service account that has these `realm-management` roles, or resets its secret and roles;
    /// returns the account's id.
    pub fn add_service_client(&self, client_id: &str, secret: &str, roles: &[&str]) -> String {
        let made = self.quietly(|tx| {
            if !tx.realm.clients.contains_key(client_id) {
                tx.create_client(Map::from_iter([
                    ("clientId".to_owned(), json!(client_id)),
                    ("serviceAccountsEnabled".to_owned(), json!(true)),
                ]))?;
            }
            let Some(client) = tx.realm.clients.get_mut(client_id) else {
                return Ok(None);
            };
            client.secret = Some(secret.to_owned());
            let account = client.service_account.clone();
            let management = tx.realm.clients.get("realm-management").map(|client| Arc::clone(&client.id));
            if let (Some(account), Some(management)) = (&account, management) {
                let held = roles.iter().map(|&role| role.to_owned()).collect();
                tx.user_mut(account)?.client_roles.insert(management, held);
            }
            Ok(account)
        });
        made.ok().flatten().map(|id| id.to_string()).unwrap_or_default()
    }

    /// Deletes a client with its service account, without any event.
    pub fn delete_client(&self, client_id: &str) -> Result<(), Refused> {
        self.quietly(|tx| {
            let id = tx.realm.clients.get(client_id).map(|client| Arc::clone(&client.id));
            id.map_or(Ok(()), |id| tx.delete_client(&id))
        })
    }

    /// Replaces the `realm-management` roles of a service account; tokens issued before keep the old ones.
    pub fn set_client_roles(&self, client_id: &str, roles: &[&str]) {
        let secret = self.cell.versions.read(None, |realm| {
            realm.clients.get(client_id).and_then(|client| client.secret.clone()).unwrap_or_default()
        });
        self.add_service_client(client_id, &secret, roles);
    }

    /// Sets which events are stored: admin events, their representation, user events.
    pub fn set_events(&self, admin: bool, details: bool, user: bool) {
        self.cell.versions.change(|realm| {
            realm.settings.admin_events = admin;
            realm.settings.admin_event_details = details;
            realm.settings.user_events = user;
        });
    }

    /// Sets how long user events and admin events are kept, in seconds; `None`: forever. Nothing is deleted by it.
    pub fn set_event_expiry(&self, seconds: Option<u64>) {
        self.cell.versions.change(|realm| {
            let shown = seconds.map_or(Value::Null, |seconds| json!(seconds));
            realm.settings.extra.insert("eventsExpiration".to_owned(), shown);
            let attributes = realm.settings.extra.entry("attributes").or_insert_with(|| json!({}));
            attributes["adminEventsExpiration"] = seconds.map_or(Value::Null, |seconds| json!(seconds.to_string()));
        });
    }

    /// Sets the time of new events, in epoch milliseconds: many events of one millisecond, or a wrong clock. `None`: the
    /// current time.
    pub fn set_event_time(&self, millis: Option<i64>) {
        self.cell.versions.change(|realm| realm.event_time = millis);
    }

    /// Whether new events are stored with their time without being visible, as those of a long transaction.
    pub fn hold_stored_events(&self, hold: bool) {
        self.cell.versions.change(|realm| realm.holds_events = hold);
    }

    /// Makes all held events visible.
    pub fn show_held_events(&self) {
        self.cell.versions.change(|realm| realm.uncommitted.clear());
    }

    /// Deletes stored events, as an administrator's *clear* or the expiry does.
    pub fn clear_events(&self) {
        self.cell.versions.change(|realm| {
            realm.admin_events.clear();
            realm.user_events.clear();
        });
    }

    /// Returns the stored admin events, oldest first, as `GET admin-events` returns them.
    pub fn admin_events(&self) -> Vec<Value> {
        self.cell.versions.read(None, |realm| realm.admin_events.iter().map(|event| json!(**event)).collect())
    }

    /// Returns the stored user events, oldest first.
    pub fn user_events(&self) -> Vec<Value> {
        self.cell.versions.read(None, |realm| realm.user_events.iter().map(|event| json!(**event)).collect())
    }

    /// Removes or restores the realm. While it is removed, it answers 404 `Realm does not exist`; its tokens become
    /// invalid.
    pub fn set_realm_gone(&self, gone: bool) {
        self.cell.gone.store(gone, Ordering::SeqCst);
    }

    /// Makes a change at once; listeners are notified of its events.
    fn change_now<R>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<R, Refused>) -> Result<R, Refused> {
        let (result, events) = self.cell.versions.write(|realm| {
            let mut draws = Draws::new();
            let mut tx = Tx::new(realm, &self.actor, &mut draws);
            let result = work(&mut tx)?;
            Ok((result, self.cell.sender.prepare(&self.cell.id, &self.cell.name, &tx.out)))
        })?;
        self.cell.sender.queue(events);
        Ok(result)
    }

    /// Makes a change in LDAP: no event, and cached copies stay.
    fn in_ldap<R>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<R, Refused>) -> Result<R, Refused> {
        self.quietly(|tx| {
            let cached = tx.realm.cached.take();
            let result = work(tx);
            tx.realm.cached = cached;
            result
        })
    }

    /// Sets the state of a federation component. Changed settings are admin events of the component; an LDAP server
    /// that is unreachable or frozen leaves none.
    pub fn set_federation(&self, component: &str, state: FederationState) {
        // It cannot be refused.
        let _ = self.change_now(|tx| {
            tx.set_federation(component, state);
            Ok(())
        });
    }

    /// Sets the state of a component's group mapper.
    pub fn set_group_mapper(&self, component: &str, mapper: GroupMapper) -> Result<(), Refused> {
        self.change_now(|tx| tx.set_group_mapper(component, mapper))
    }

    /// Sets `removeInvalidUsersEnabled`: whether a read deletes an imported user that LDAP does not have.
    pub fn set_removes_invalid_users(&self, component: &str, on: bool) -> Result<(), Refused> {
        self.change_now(|tx| tx.set_removes_invalid(component, on))
    }

    /// Turns the cache of federated users on or off, always with no copies. Off: each read asks LDAP.
    pub fn set_user_cache(&self, on: bool) {
        self.cell.versions.change(|realm| realm.cached = on.then(HashMap::new));
    }

    /// Drops all cached copies, as `POST clear-user-cache` does.
    pub fn clear_user_cache(&self) {
        self.cell.versions.change(Realm::clear_user_cache);
    }

    /// Adds federated users to LDAP. Imported ones are in Keycloak after the first read or synchronization.
    pub fn add_to_ldap(&self, users: impl IntoIterator<Item = NewUser>) -> Result<(), Refused> {
        self.in_ldap(|tx| {
            for user in users {
                for path in &user.groups {
                    ensure_path(tx, path)?;
                }
                let entry = tx.prepare_user(&user.rep())?;
                tx.add_to_ldap(entry);
            }
            Ok(())
        })
    }

    /// Deletes a user's LDAP entry. The next read that is not cached deletes an imported user in Keycloak.
    pub fn remove_from_ldap(&self, id: &str) -> Result<(), Refused> {
        self.in_ldap(|tx| tx.remove_from_ldap(id))
    }

    /// Changes a user in LDAP. Of an imported user Keycloak stores it at the next synchronization.
    pub fn change_in_ldap(&self, id: &str, change: &UserChange) -> Result<(), Refused> {
        self.in_ldap(|tx| tx.change_in_ldap(id, change.rep()))
    }

    /// Changes the login of a user in LDAP; returns its id, which is a new one if the user is not imported.
    pub fn rename_in_ldap(&self, id: &str, login: &str) -> Result<String, Refused> {
        self.in_ldap(|tx| {
            if tx.user(id)?.is_outside() {
                return tx.rename_outside(id, login).map(|id| id.to_string());
            }
            tx.change_in_ldap(id, UserChange::username(login).rep())?;
            Ok(id.to_owned())
        })
    }

    /// Adds a user to a group in LDAP, or removes it.
    pub fn set_member_in_ldap(&self, user: &str, group: &str, member: bool) -> Result<(), Refused> {
        self.in_ldap(|tx| if member { tx.join(user, group) } else { tx.leave(user, group) })
    }

    /// Runs a full synchronization of a component, as an administrator does.
    pub fn sync_federation(&self, component: &str) -> Result<(), Refused> {
        self.change_now(|tx| tx.sync_federation(component, "triggerFullSync").map(drop))
    }

    /// Makes all imported users of a component local ones.
    pub fn unlink_users(&self, component: &str) -> Result<(), Refused> {
        self.change_now(|tx| tx.unlink_users(component))
    }

    /// Deletes all imported users of a component in Keycloak; the next listing imports them with new ids.
    pub fn remove_imported_users(&self, component: &str) -> Result<(), Refused> {
        self.change_now(|tx| tx.remove_imported_users(component))
    }

    /// Turns the posting of events on or off.
    pub fn set_webhook(&self, webhook: Option<Webhook>) {
        self.cell.sender.set(webhook);
    }

    /// Off: events are lost, as they are while the listener is down. On: they are posted.
    pub fn switch_webhook(&self, on: bool) {
        self.cell.sender.switch(on);
    }

    /// Holds events back until [`Self::take_held`]; [`Self::switch_webhook`] ends it.
    pub fn hold_webhook(&self) {
        self.cell.sender.hold();
    }

    /// Returns the held events, oldest first. [`Self::post_events`] can send them in any order, any number of times.
    pub fn take_held(&self) -> Vec<Value> {
        self.cell.sender.take_held()
    }

    /// Posts these events now, as one signed batch; returns when they are answered or given up.
    pub async fn post_events(&self, events: Vec<Value>) {
        self.cell.sender.post(events).await;
    }

    /// Returns when all events so far are posted or given up.
    pub async fn webhook_idle(&self) {
        self.cell.sender.idle().await;
    }

    /// Returns all calls of the webhook so far.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.cell.sender.deliveries()
    }

    /// Returns the current realm, whatever the state of its federation providers.
    pub fn snapshot(&self) -> RealmSnapshot {
        self.cell.versions.read(None, |realm| {
            let users = realm.users.values().map(|user| (user.id.to_string(), UserState::from(&**user)));
            let groups = realm.groups.values().map(|group| {
                let state = GroupState {
                    id: group.id.to_string(),
                    name: group.name.clone(),
                    path: realm.path(group),
                    parent: group.parent.as_ref().map(ToString::to_string),
                    members: group.members.ids().iter().map(ToString::to_string).collect(),
                };
                (group.id.to_string(), state)
            });
            RealmSnapshot { users: users.collect(), groups: groups.collect() }
        })
    }
}

/// Stores a user and adds it to its groups, without events.
fn seed(tx: &mut Tx<'_>, user: User) {
    for id in &user.groups {
        if let Some(group) = tx.realm.groups.get_mut(id) {
            Arc::make_mut(group).members.insert(&user.username, &user.id);
        }
    }
    insert_user(tx.realm, user);
}

/// Creates the missing groups on a path; returns the last one's id.
fn ensure_path(tx: &mut Tx<'_>, path: &str) -> Result<String, Refused> {
    let found = |tx: &Tx<'_>, path: &str| tx.realm.group_at(path).map(|group: &Arc<Group>| group.id.to_string());
    if let Some(id) = found(tx, path) {
        return Ok(id);
    }
    let path = path.trim_start_matches('/');
    let (parent, name) = match path.rsplit_once('/') {
        Some((above, name)) => (Some(ensure_path(tx, above)?), name),
        None => (None, path),
    };
    let rep = GroupRep { name: Some(name.to_owned()), ..GroupRep::default() };
    tx.create_group(parent.as_deref(), &rep).map(|id| id.to_string())
}
