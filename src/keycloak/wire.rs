//! Keycloak's representations, as far as they are read. What is not known is passed over.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use crate::model::{GroupId, GroupState, UserId, UserState};

/// A user, brief or full.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub id: String,
    pub username: String,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    pub enabled: bool,
    pub federation_link: Option<String>,
    #[serde(default)]
    attributes: Option<BTreeMap<String, Vec<String>>>,
}

/// The name that Keycloak gives to the user of a client's service account.
const SERVICE_ACCOUNT: &str = "service-account-";

impl User {
    /// Whether this is no person, as far as a name can tell: Keycloak's listing by id says nothing else.
    pub fn is_service_account(&self) -> bool {
        self.username.starts_with(SERVICE_ACCOUNT)
    }

    pub fn with_groups(self, mut groups: Vec<GroupState>) -> UserState {
        groups.sort_unstable();
        groups.dedup();
        UserState {
            id: self.id.into(),
            username: self.username,
            first_name: self.first_name,
            last_name: self.last_name,
            email: self.email,
            enabled: self.enabled,
            federation_link: self.federation_link,
            attributes: self.attributes.unwrap_or_default(),
            groups: groups.into_iter().map(Arc::new).collect(),
        }
    }
}

/// A user of whom only the id is asked.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    id: String,
}

impl From<Member> for UserId {
    fn from(member: Member) -> Self {
        member.id.into()
    }
}

/// A group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    pub id: String,
    pub name: String,
    path: Option<String>,
    pub sub_group_count: Option<u64>,
    #[serde(default)]
    pub sub_groups: Option<Vec<Group>>,
}

impl Group {
    /// Without what is below it. `parent` is the parent's path, for servers that leave the path out.
    pub fn state(&self, parent: &str) -> GroupState {
        GroupState {
            id: GroupId::from(self.id.as_str()),
            name: self.name.clone(),
            path: self.path.clone().unwrap_or_else(|| format!("{parent}/{}", self.name)),
        }
    }
}

/// `{"count": 3}`
#[derive(Debug, Deserialize)]
pub(super) struct Count {
    pub count: usize,
}

/// How a realm keeps events.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct EventsConfig {
    pub events_enabled: bool,
    pub events_expiration: Option<i64>,
    pub events_listeners: Vec<String>,
    pub enabled_event_types: Vec<String>,
    pub admin_events_enabled: bool,
    pub admin_events_details_enabled: bool,
}
