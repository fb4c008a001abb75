//! Values that the Rust API accepts and returns.

use std::collections::{BTreeMap, BTreeSet};

use super::rep::UserRep;
use super::state::{User, new_id};

/// A user to create.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// The id; `None`: a random one.
    pub id: Option<String>,
    /// The login; stored in lower case.
    pub username: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether the e-mail address is verified.
    pub email_verified: bool,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// Whether it is disabled.
    pub disabled: bool,
    /// Further attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Component id of the federation that the user comes from.
    pub federation_link: Option<String>,
    /// Paths of its groups.
    pub groups: Vec<String>,
    /// Creation time in epoch milliseconds; `None`: now. For seeded users.
    pub created: Option<i64>,
}

impl NewUser {
    /// Returns an enabled user `username`; names and address are derived from it.
    pub fn named(username: impl Into<String>) -> Self {
        let username = username.into();
        Self {
            email: Some(format!("{username}@example.org")),
            first_name: Some(username.clone()),
            last_name: Some("Example".into()),
            username,
            ..Self::default()
        }
    }

    /// Adds these groups, given by path.
    #[must_use]
    pub fn in_groups(mut self, paths: &[&str]) -> Self {
        self.groups = paths.iter().map(|&path| path.to_owned()).collect();
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.entry(name.to_owned()).or_default().push(value.to_owned());
        self
    }

    /// Sets the LDAP component that the user comes from.
    #[must_use]
    pub fn federated(mut self, component: &str) -> Self {
        self.federation_link = Some(component.to_owned());
        let entry = format!("uid={},ou=people,dc=example,dc=org", self.username);
        self.attribute("LDAP_ID", &new_id()).attribute("LDAP_ENTRY_DN", &entry)
    }

    /// Sets an LDAP provider that imports no users: Keycloak stores nothing of them.
    #[must_use]
    pub fn not_imported(mut self, component: &str) -> Self {
        self.id = Some(format!("f:{component}:{}", self.username));
        self.federated(component)
    }

    /// Sets a provider of another kind than LDAP; only the id shows it.
    #[must_use]
    pub fn provided(mut self, component: &str) -> Self {
        self.id = Some(format!("f:{component}:{}", self.username));
        self
    }

    /// Sets the creation time.
    #[must_use]
    pub fn created(mut self, millis: i64) -> Self {
        self.created = Some(millis);
        self
    }

    pub(crate) fn rep(&self) -> UserRep {
        UserRep {
            id: self.id.clone(),
            username: Some(self.username.clone()),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            email: self.email.clone(),
            email_verified: self.email_verified.then_some(true),
            enabled: Some(!self.disabled),
            attributes: (!self.attributes.is_empty()).then(|| self.attributes.clone()),
            federation_link: self.federation_link.clone(),
            groups: (!self.groups.is_empty()).then(|| self.groups.clone()),
            ..UserRep::default()
        }
    }
}

/// A change of a user; `None` leaves a field unchanged. An empty text removes an e-mail address or a name.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// The new login.
    pub username: Option<String>,
    /// The new e-mail address.
    pub email: Option<String>,
    /// The new first name.
    pub first_name: Option<String>,
    /// The new last name.
    pub last_name: Option<String>,
    /// Whether it is enabled.
    pub enabled: Option<bool>,
    /// Whether the e-mail address is verified.
    pub email_verified: Option<bool>,
}

impl UserChange {
    /// Returns a change that enables or disables a user.
    pub fn enabled(on: bool) -> Self {
        Self { enabled: Some(on), ..Self::default() }
    }

    /// Returns a change of the login.
    pub fn username(name: impl Into<String>) -> Self {
        Self { username: Some(name.into()), ..Self::default() }
    }

    /// Returns a change of the e-mail address.
    pub fn email(email: impl Into<String>) -> Self {
        Self { email: Some(email.into()), ..Self::default() }
    }

    pub(crate) fn rep(&self) -> UserRep {
        UserRep {
            username: self.username.clone(),
            email: self.email.clone(),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            enabled: self.enabled,
            email_verified: self.email_verified,
            ..UserRep::default()
        }
    }
}

/// Current state of a user, whatever the switches expose of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserState {
    /// The id.
    pub id: String,
    /// The login.
    pub username: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// The federation that it comes from.
    pub federation_link: Option<String>,
    /// Whether it is the service account of a client.
    pub service_account: bool,
    /// Ids of the groups that it is a direct member of.
    pub groups: BTreeSet<String>,
}

/// Current state of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The path.
    pub path: String,
    /// Id of the parent group.
    pub parent: Option<String>,
    /// Ids of the direct members.
    pub members: BTreeSet<String>,
}

/// Current state of a realm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealmSnapshot {
    /// Users by id, including service accounts.
    pub users: BTreeMap<String, UserState>,
    /// Groups by id.
    pub groups: BTreeMap<String, GroupState>,
}

impl RealmSnapshot {
    /// Returns the user with this login.
    pub fn user(&self, username: &str) -> Option<&UserState> {
        self.users.values().find(|user| user.username == username)
    }

    /// Returns the group at this path.
    pub fn group(&self, path: &str) -> Option<&GroupState> {
        self.groups.values().find(|group| group.path == path)
    }
}

impl From<&User> for UserState {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.clone(),
            email: user.email.clone(),
            first_name: user.first_name.clone(),
            last_name: user.last_name.clone(),
            enabled: user.enabled,
            attributes: user.attributes.clone(),
            federation_link: user.federation_link.clone(),
            service_account: user.service_account_of.is_some(),
            groups: user.groups.iter().map(ToString::to_string).collect(),
        }
    }
}
