//! Changes: one transaction at a time, with the events that Keycloak would leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::event::{AdminEvent, AuthDetails, Happening, ModelEvent, STORED_BY_DEFAULT, Subject, UserEvent, now};
use super::refused::Refused;
use super::state::{Id, Realm, User, new_id};

/// Who changes something.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) realm_id: String,
    pub(crate) client_id: String,
    pub(crate) user_id: String,
}

/// A change in the making. What refuses must refuse before it changes anything: there is no way back.
pub(crate) struct Tx<'a> {
    pub(crate) realm: &'a mut Realm,
    actor: &'a Actor,
    pub(crate) out: Vec<Happening>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(realm: &'a mut Realm, actor: &'a Actor) -> Self {
        Self { realm, actor, out: Vec::new() }
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
            id: new_id().to_string(),
            time: now(),
            realm_id: self.realm.id.to_string(),
            auth_details: AuthDetails {
                realm_id: self.actor.realm_id.clone(),
                client_id: self.actor.client_id.clone(),
                user_id: self.actor.user_id.clone(),
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
            self.realm.admin_events.push(Arc::clone(&event));
        }
        self.out.push(Happening::Admin(event, subject));
    }

    /// Records a user's own doing.
    pub(crate) fn user_event(
        &mut self,
        kind: &str,
        client: Option<&str>,
        user: Option<&str>,
        error: Option<&str>,
        details: BTreeMap<String, String>,
    ) {
        let event = Arc::new(UserEvent {
            id: new_id().to_string(),
            time: now(),
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
            self.realm.user_events.push(Arc::clone(&event));
        }
        self.out.push(Happening::User(event));
    }

    /// Records a change of the model about a user.
    pub(crate) fn model_user(
        &mut self,
        kind: &'static str,
        resource: &'static str,
        path: String,
        about: &str,
        user: &User,
    ) {
        self.out.push(Happening::Model(ModelEvent {
            id: new_id().to_string(),
            time: now(),
            kind,
            resource_type: resource,
            resource_path: path,
            resource_id: about.into(),
            user_id: Some(user.id.to_string()),
            username: Some(user.username.clone()),
        }));
    }

    /// Records a change of the model about a group.
    pub(crate) fn model_group(&mut self, kind: &'static str, id: &str) {
        self.out.push(Happening::Model(ModelEvent {
            id: new_id().to_string(),
            time: now(),
            kind,
            resource_type: "GROUP",
            resource_path: format!("groups/{id}"),
            resource_id: id.into(),
            user_id: None,
            username: None,
        }));
    }

    /// The user with this id.
    pub(crate) fn user(&self, id: &str) -> Result<Arc<User>, Refused> {
        self.realm.users.get(id).cloned().ok_or_else(Refused::no_user)
    }

    /// Changes a stored user in place.
    pub(crate) fn user_mut(&mut self, id: &str) -> Result<&mut User, Refused> {
        self.realm.users.get_mut(id).map(Arc::make_mut).ok_or_else(Refused::no_user)
    }

    /// The stored id, so that it is shared rather than copied.
    pub(crate) fn group_id(&self, id: &str) -> Option<Id> {
        self.realm.groups.get(id).map(|group| Arc::clone(&group.id))
    }
}

/// JSON text; the types given here always have string keys.
pub(crate) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A user as the subject of an event.
pub(crate) fn about(user: &User) -> Subject {
    Subject {
        resource_id: Some(user.id.to_string()),
        user_id: Some(user.id.to_string()),
        username: Some(user.username.clone()),
    }
}
