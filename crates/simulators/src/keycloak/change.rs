//! Changes: one transaction at a time, with the events that Keycloak would emit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::errors::Refused;
use super::event::{AdminEvent, AuthDetails, Happening, ModelEvent, STORED_BY_DEFAULT, Subject, UserEvent, now};
use super::state::{Id, Realm, RoleKey, User, new_id};

/// The account that makes a change.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    /// Id of the realm that the account signed in to.
    pub(crate) realm: String,
    /// Internal id of the client that the account used.
    pub(crate) client: String,
    /// Id of the account.
    pub(crate) user: String,
}

/// A change in progress. It must check everything before it changes anything: there is no rollback.
pub(crate) struct Tx<'a> {
    pub(crate) realm: &'a mut Realm,
    actor: &'a Actor,
    pub(crate) out: Vec<Happening>,
    draws: &'a mut Draws,
}

/// Time of a change and the ids that it generates. A change that is announced before its commit runs twice, first on a
/// draft, and must generate the same ids.
#[derive(Debug)]
pub(crate) struct Draws {
    now: i64,
    ids: Vec<Id>,
    next: usize,
}

impl Draws {
    pub(crate) fn new() -> Self {
        Self { now: now(), ids: Vec::new(), next: 0 }
    }

    /// Starts over: the same ids are returned again.
    pub(crate) fn again(&mut self) {
        self.next = 0;
    }

    fn id(&mut self) -> Id {
        if self.next == self.ids.len() {
            self.ids.push(new_id());
        }
        self.next += 1;
        Arc::clone(&self.ids[self.next - 1])
    }
}

impl<'a> Tx<'a> {
    pub(crate) fn new(realm: &'a mut Realm, actor: &'a Actor, draws: &'a mut Draws) -> Self {
        Self { realm, actor, out: Vec::new(), draws }
    }

    /// Returns a new id.
    pub(crate) fn id(&mut self) -> Id {
        self.draws.id()
    }

    /// Returns the time of this change, in epoch milliseconds.
    pub(crate) fn now(&self) -> i64 {
        self.draws.now
    }

    /// Returns the time of this change's events, in epoch milliseconds.
    fn event_time(&self) -> i64 {
        self.realm.event_time.unwrap_or(self.draws.now)
    }

    fn stored(&mut self, id: &str) {
        if self.realm.holds_events {
            self.realm.uncommitted.insert(id.to_owned());
        }
    }

    /// Records an administrator's change.
    pub(crate) fn admin(
        &mut self,
        operation: &'static str,
        resource: &'static str,
        path: Option<String>,
        representation: Option<String>,
        subject: Subject,
    ) {
        self.admin_with(operation, resource, path, representation, subject, None);
    }

    /// Records an administrator's change with details.
    pub(crate) fn admin_with(
        &mut self,
        operation: &'static str,
        resource: &'static str,
        path: Option<String>,
        representation: Option<String>,
        subject: Subject,
        details: Option<BTreeMap<&'static str, String>>,
    ) {
        let event = AdminEvent {
            id: self.id().to_string(),
            time: self.event_time(),
            realm_id: self.realm.id.to_string(),
            auth_details: AuthDetails {
                realm_id: self.actor.realm.clone(),
                client_id: self.actor.client.clone(),
                user_id: self.actor.user.clone(),
                ip_address: "127.0.0.1".into(),
            },
            operation_type: operation,
            resource_type: resource,
            resource_path: path,
            representation: representation.filter(|_| self.realm.settings.admin_event_details),
            details,
        };
        let event = Arc::new(event);
        if self.realm.settings.admin_events {
            let at = self.realm.admin_events.partition_point(|one| one.time <= event.time);
            self.realm.admin_events.insert(at, Arc::clone(&event));
            self.stored(&event.id);
        }
        self.out.push(Happening::Admin(event, subject));
    }

    /// Records a user event.
    pub(crate) fn user_event(
        &mut self,
        kind: &str,
        client: Option<&str>,
        user: Option<&str>,
        error: Option<&str>,
        details: BTreeMap<String, String>,
    ) {
        let event = Arc::new(UserEvent {
            id: self.id().to_string(),
            time: self.event_time(),
            kind: kind.into(),
            realm_id: self.realm.id.to_string(),
            client_id: client.map(Into::into),
            user_id: user.map(Into::into),
            ip_address: "127.0.0.1".into(),
            error: error.map(Into::into),
            details,
        });
        let types = &self.realm.settings.event_types;
        let stored = if types.is_empty() {
            STORED_BY_DEFAULT.contains(&kind.strip_suffix("_ERROR").unwrap_or(kind))
        } else {
            types.contains(kind)
        };
        if self.realm.settings.user_events && stored {
            let at = self.realm.user_events.partition_point(|one| one.time <= event.time);
            self.realm.user_events.insert(at, Arc::clone(&event));
            self.stored(&event.id);
        }
        self.out.push(Happening::User(event));
    }

    /// Records a model event about a user.
    pub(crate) fn model_user(
        &mut self,
        kind: &'static str,
        resource: &'static str,
        path: String,
        about: &str,
        user: &User,
    ) {
        let event = Happening::Model(ModelEvent {
            id: self.id().to_string(),
            time: self.now(),
            kind,
            resource_type: resource,
            resource_path: path,
            resource_id: about.into(),
            user_id: Some(user.id.to_string()),
            username: Some(user.username.clone()),
        });
        self.out.push(event);
    }

    /// Records a model event about a group.
    pub(crate) fn model_group(&mut self, kind: &'static str, id: &str) {
        let event = Happening::Model(ModelEvent {
            id: self.id().to_string(),
            time: self.now(),
            kind,
            resource_type: "GROUP",
            resource_path: format!("groups/{id}"),
            resource_id: id.into(),
            user_id: None,
            username: None,
        });
        self.out.push(event);
    }

    /// Records the model event of a deleted role.
    pub(crate) fn model_role_removed(&mut self, key: &RoleKey, id: &str) {
        let event = Happening::Model(ModelEvent {
            id: self.id().to_string(),
            time: self.now(),
            kind: "RoleRemovedEvent",
            resource_type: if key.0.is_some() { "CLIENT_ROLE" } else { "REALM_ROLE" },
            resource_path: format!("roles-by-id/{id}"),
            resource_id: id.into(),
            user_id: None,
            username: None,
        });
        self.out.push(event);
    }

    /// Returns the user with this id.
    pub(crate) fn user(&self, id: &str) -> Result<Arc<User>, Refused> {
        self.realm.users.get(id).cloned().ok_or_else(Refused::no_user)
    }

    /// Returns a stored user for a change in place.
    pub(crate) fn user_mut(&mut self, id: &str) -> Result<&mut User, Refused> {
        // A change drops the cached copy.
        if let Some(cached) = &mut self.realm.cached {
            cached.remove(id);
        }
        self.realm.users.get_mut(id).map(Arc::make_mut).ok_or_else(Refused::no_user)
    }

    /// Returns the stored id, so that it is shared and not copied.
    pub(crate) fn group_id(&self, id: &str) -> Option<Id> {
        self.realm.groups.get(id).map(|group| Arc::clone(&group.id))
    }
}

/// Returns JSON text; the types passed here always have string keys.
pub(crate) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns a user as the subject of an event.
pub(crate) fn about(user: &User) -> Subject {
    Subject {
        resource_id: Some(user.id.to_string()),
        user_id: Some(user.id.to_string()),
        username: Some(user.username.clone()),
    }
}
