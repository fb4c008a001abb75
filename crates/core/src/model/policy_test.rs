//! Tests of a policy: what an operator expects for a user or a group.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::{GroupState, OrganizationName, RoleName, TargetName, UserOrganizations, UserRoles, UserState, path_names};

/// What a test expects of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// There is none: `false`.
    Nothing,
    /// There is one: `true`.
    Something,
    /// It is this text.
    Text(String),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Something => f.write_str("any"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or false")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
                Ok(Expected::Text(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, some: bool) -> Result<Expected, E> {
                Ok(if some { Expected::Something } else { Expected::Nothing })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The expected name of a group in the targets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupTest {
    /// The path of the group.
    pub path: String,
    /// Its custom attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Its name; nothing: it is not synced.
    pub expect: Expected,
    /// The target; `None`: all targets of the connector.
    #[serde(default)]
    pub target: Option<TargetName>,
}

/// What is expected for a user. A value that is not named is not tested.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserTest {
    /// The name of the test.
    pub name: String,
    /// The user.
    pub user: TestUser,
    /// The target; `None`: all targets of the connector.
    #[serde(default)]
    pub target: Option<TargetName>,
    /// Whether it is in scope.
    #[serde(default)]
    pub in_scope: Option<bool>,
    /// The names of all its groups in the target.
    #[serde(default)]
    pub groups: Option<BTreeSet<String>>,
    /// Its login.
    #[serde(default)]
    pub login: Option<Expected>,
    /// Its display name.
    #[serde(default)]
    pub display_name: Option<Expected>,
    /// Its e-mail address.
    #[serde(default)]
    pub email: Option<Expected>,
    /// Its further attributes, by the target's names.
    #[serde(default)]
    pub attributes: BTreeMap<String, Expected>,
}

impl UserTest {
    /// Returns whether the test expects anything.
    pub fn expects_something(&self) -> bool {
        let texts = [&self.login, &self.display_name, &self.email];
        self.in_scope.is_some()
            || self.groups.is_some()
            || !self.attributes.is_empty()
            || texts.iter().any(|text| text.is_some())
    }
}

/// A user as Keycloak would show it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestUser {
    /// The login.
    pub username: String,
    /// The first name; `None`: there is none.
    #[serde(default)]
    pub first_name: Option<String>,
    /// The last name; `None`: there is none.
    #[serde(default)]
    pub last_name: Option<String>,
    /// The e-mail address; `None`: there is none.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether the e-mail address is verified.
    #[serde(default)]
    pub email_verified: bool,
    /// Whether the user may sign in.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The federation component that the user comes from; `None`: the user is local.
    #[serde(default)]
    pub federation: Option<String>,
    /// The paths of the groups that the user is a direct member of.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The effective roles of the user.
    #[serde(default)]
    pub roles: BTreeSet<RoleName>,
    /// The organizations that the user is a member of, as the policy names them.
    #[serde(default)]
    pub organizations: BTreeSet<OrganizationName>,
    /// Custom attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, Vec<String>>,
}

fn yes() -> bool {
    true
}

impl TestUser {
    /// Returns the user as it would be read.
    pub fn state(&self) -> UserState {
        UserState {
            id: self.username.as_str().into(),
            username: self.username.clone(),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            email: self.email.clone(),
            email_verified: Some(self.email_verified),
            enabled: self.enabled,
            federation_link: self.federation.clone(),
            attributes: self.attributes.clone(),
            groups: self.groups.iter().map(|path| Arc::new(group_at(path, BTreeMap::new()))).collect(),
            parent_groups: Vec::new(),
            roles: UserRoles { held: self.roles.iter().cloned().map(Arc::new).collect(), unread: None },
            organizations: UserOrganizations {
                held: self.organizations.iter().cloned().map(Arc::new).collect(),
                unread: None,
            },
        }
    }
}

/// Returns a group with this path and these attributes, under its own name.
pub fn group_at(path: &str, attributes: BTreeMap<String, Vec<String>>) -> GroupState {
    let name = path_names(path).last().unwrap_or_default();
    let group = GroupState::new(path.into(), name, path.to_owned());
    GroupState { attributes: Some(attributes), ..group }
}

/// The tests of a connector's policy, each with its line in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyTests {
    /// Tests of groups.
    pub groups: Vec<(usize, GroupTest)>,
    /// Tests of users.
    pub users: Vec<(usize, UserTest)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_a_text_or_false() {
        let read = |json: &str| serde_json::from_str::<Expected>(json).map_err(|error| error.to_string());
        assert_eq!(read(r#""eng""#), Ok(Expected::Text("eng".to_owned())));
        assert_eq!(read("false"), Ok(Expected::Nothing));
        assert!(read("4").unwrap_err().contains("expected a text or false"));
    }

    #[test]
    fn each_expectation_of_a_test_of_a_user_counts() {
        let test = |more: &str| {
            let json = format!(r#"{{"name": "t", "user": {{"username": "anna"}}{more}}}"#);
            serde_json::from_str::<UserTest>(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
        };
        assert!(!test("").expects_something());
        for more in [
            r#", "in_scope": false"#,
            r#", "groups": []"#,
            r#", "attributes": {"title": "Lead"}"#,
            r#", "login": "anna""#,
            r#", "display_name": "Anna""#,
            r#", "email": "anna@example.org""#,
        ] {
            assert!(test(more).expects_something(), "{more}");
        }
    }
}
