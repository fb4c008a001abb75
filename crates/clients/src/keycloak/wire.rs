//! Keycloak's representations, limited to the fields that usersync reads. Unknown fields are ignored.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::Unreadable;
use crate::model::{GroupId, GroupState, UserId, UserOrganizations, UserRoles, UserState, federation};

/// A representation of an entry in a listing.
pub(super) trait Listed: DeserializeOwned + Send {
    /// The fields that an entry must have.
    const REQUIRED: &'static [&'static str];

    /// Keycloak's id.
    fn id(&self) -> &str;

    /// Whether the required fields are not empty.
    fn is_whole(&self) -> bool {
        !self.id().is_empty()
    }
}

/// One entry of a list.
pub(super) enum Entry<T> {
    Read(T),
    /// An unreadable entry: its id, if that can be read, and what is wrong with it.
    Unreadable(Option<String>, Unreadable),
}

impl<T: Listed> Entry<T> {
    /// Reads the entries of a list. If the list cannot be parsed as a whole, each entry is read separately: one bad
    /// entry fails alone.
    pub fn list(body: &[u8]) -> Result<Vec<Self>, serde_json::Error> {
        match serde_json::from_slice::<Vec<T>>(body) {
            Ok(list) if list.iter().all(T::is_whole) => Ok(list.into_iter().map(Self::Read).collect()),
            Err(error) if !error.is_data() => Err(error),
            _ => Ok(serde_json::from_slice::<Vec<Value>>(body)?.iter().map(Self::of).collect()),
        }
    }

    fn of(value: &Value) -> Self {
        if let Some(read) = serde_json::from_value(value.clone()).ok().filter(T::is_whole) {
            return Self::Read(read);
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let id = text("id").map(str::to_owned);
        let name = text("username").or_else(|| text("path")).or_else(|| text("name")).map(str::to_owned);
        // The value is not part of the reason, as it may be personal data.
        let why = match faulty_field::<T>(value) {
            Some(field) => format!("field \"{field}\" has an unexpected format"),
            None => format!("one of its fields {} is missing or has an unexpected format", T::REQUIRED.join(", ")),
        };
        Self::Unreadable(id, Unreadable { name, why })
    }

    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Read(read) => Some(read.id()),
            Self::Unreadable(id, _) => id.as_deref(),
        }
    }
}

/// Returns the readable entries.
pub(super) fn readable<T>(entries: Vec<Entry<T>>) -> Vec<T> {
    let read = |entry| match entry {
        Entry::Read(item) => Some(item),
        Entry::Unreadable(..) => None,
    };
    entries.into_iter().filter_map(read).collect()
}

/// Returns the field that makes an entry unreadable: without it, the entry can be read.
fn faulty_field<T: Listed>(value: &Value) -> Option<&str> {
    value.as_object()?.keys().map(String::as_str).find(|field| {
        let mut without = value.clone();
        without.as_object_mut().and_then(|fields| fields.remove(*field));
        serde_json::from_value::<T>(without).is_ok_and(|read| read.is_whole())
    })
}

/// A user, in brief or full form.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub id: String,
    pub username: String,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    email_verified: Option<bool>,
    pub enabled: bool,
    federation_link: Option<String>,
    /// Present in the full form only.
    origin: Option<String>,
    #[serde(default, deserialize_with = "attributes")]
    attributes: BTreeMap<String, Vec<String>>,
}

/// Reads attributes. `null` means absent at every level: realms on Oracle return `null` and `[null]` for empty values.
fn attributes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    let reported = Option::<BTreeMap<String, Option<Vec<Option<String>>>>>::deserialize(deserializer)?;
    let values = |values: Option<Vec<Option<String>>>| values.into_iter().flatten().flatten().collect::<Vec<_>>();
    let all = reported.unwrap_or_default().into_iter().map(|(name, reported)| (name, values(reported)));
    Ok(all.filter(|(_, values)| !values.is_empty()).collect())
}

impl Listed for User {
    const REQUIRED: &'static [&'static str] = &["id", "username", "enabled"];

    fn id(&self) -> &str {
        &self.id
    }

    fn is_whole(&self) -> bool {
        !self.id.is_empty() && !self.username.trim().is_empty()
    }
}

/// Prefix of the user name that Keycloak assigns to the user of a client's service account.
const SERVICE_ACCOUNT: &str = "service-account-";

/// Whether this is a service account, judged by the name: Keycloak's listing by id gives no other sign.
pub(super) fn is_service_account(username: &str) -> bool {
    username.starts_with(SERVICE_ACCOUNT)
}

impl User {
    /// Returns the federation component that the user comes from, if any.
    pub fn federation(&self) -> Option<String> {
        let id = UserId::from(self.id.as_str());
        federation(&id, self.federation_link.as_deref(), self.origin.as_deref()).map(str::to_owned)
    }

    pub fn with_groups(self, mut groups: Vec<GroupState>) -> UserState {
        groups.sort_unstable();
        groups.dedup();
        let federation_link = self.federation();
        UserState {
            id: self.id.into(),
            username: self.username,
            first_name: self.first_name,
            last_name: self.last_name,
            email: self.email,
            email_verified: self.email_verified,
            enabled: self.enabled,
            federation_link,
            attributes: self.attributes,
            groups: groups.into_iter().map(Arc::new).collect(),
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        }
    }
}

/// A user, limited to the id.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    id: String,
}

impl Listed for Member {
    const REQUIRED: &'static [&'static str] = &["id"];

    fn id(&self) -> &str {
        &self.id
    }
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
    /// Present in the full form only.
    #[serde(default)]
    attributes: Option<Value>,
    pub sub_group_count: Option<u64>,
    #[serde(default)]
    pub sub_groups: Option<Vec<Group>>,
}

impl Listed for Group {
    const REQUIRED: &'static [&'static str] = &["id", "name"];

    fn id(&self) -> &str {
        &self.id
    }

    fn is_whole(&self) -> bool {
        !self.id.is_empty() && !self.name.trim().is_empty()
    }
}

impl Group {
    /// Converts the group without its sub-groups. `parent` is the parent's path, for servers that omit the group's own
    /// path.
    pub fn state(&self, parent: &str, with_attributes: bool) -> GroupState {
        let path = self.path.clone().unwrap_or_else(|| format!("{parent}/{}", self.name));
        let group = GroupState::new(GroupId::from(self.id.as_str()), self.name.clone(), path);
        // What is not there was not read: it is not the same as no attributes.
        let attributes = self.attributes.as_ref().filter(|read| with_attributes && !read.is_null());
        GroupState { attributes: attributes.and_then(|read| self::attributes(read).ok()), ..group }
    }
}

/// Reads a count: a number, or `{"count": 3}`; `None` if the value is neither.
pub(super) fn count(value: &Value) -> Option<usize> {
    value.get("count").unwrap_or(value).as_u64().and_then(|count| count.try_into().ok())
}

/// A realm's event settings.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_absence_and_an_odd_entry_is_its_own_failure() {
        let body = br#"[
            {"id":"1","username":"a","enabled":true,"email":null,"attributes":null},
            {"id":"2","username":"b","enabled":true,"attributes":{"x":null,"y":[null],"z":["1",null]}},
            {"id":"3","username":"c","enabled":true,"email":["c@example.org"]},
            {"id":"4","username":"d","enabled":"d@example.org"},
            null
        ]"#;
        let list = Entry::<User>::list(body).expect("a list");
        let reported: Vec<String> = list
            .iter()
            .map(|entry| match entry {
                Entry::Read(user) => format!("{} {:?}", user.username, user.attributes),
                Entry::Unreadable(id, Unreadable { name, why }) => format!("{id:?} {name:?} {why}"),
            })
            .collect();
        assert_eq!(
            reported,
            [
                "a {}",
                r#"b {"z": ["1"]}"#,
                r#"Some("3") Some("c") field "email" has an unexpected format"#,
                r#"Some("4") Some("d") one of its fields id, username, enabled is missing or has an unexpected format"#,
                "None None one of its fields id, username, enabled is missing or has an unexpected format",
            ]
        );
        assert!(Entry::<User>::list(b"{}").is_err() && Entry::<User>::list(b"[1").is_err());
    }

    #[test]
    fn a_count_is_a_number_alone_or_in_an_object() {
        for (text, expected) in [("3", Some(3)), (r#"{"count":4}"#, Some(4)), ("null", None), (r#""3""#, None)] {
            assert_eq!(count(&serde_json::from_str(text).expect("JSON")), expected, "{text}");
        }
    }
}
