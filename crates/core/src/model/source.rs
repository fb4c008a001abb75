//! Objects that are read at the source.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Federated, GroupId, LDAP_ID, UserId, UserOrganizations, UserRoles, federation,
    packed::{self, Names, Packable},
    path_names,
};

/// Identity of the source: the token's issuer and the service account's own id. A different identity behind the same
/// settings is another realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// `iss` of the token.
    pub issuer: String,
    /// `sub` of the token.
    pub service_account: String,
}

/// A user as Keycloak shows it, with the groups that it is a direct member of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserState {
    /// Keycloak's id.
    pub id: UserId,
    /// The login; Keycloak keeps it in lower case.
    pub username: String,
    /// The first name; `None`: there is none.
    pub first_name: Option<String>,
    /// The last name; `None`: there is none.
    pub last_name: Option<String>,
    /// The e-mail address; `None`: there is none.
    pub email: Option<String>,
    /// Whether the e-mail address is verified; `None`: Keycloak does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// The federation component that the user comes from; `None`: the user is not federated, or only the id shows it.
    pub federation_link: Option<String>,
    /// Custom attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Direct groups, ordered by id.
    pub groups: Vec<Arc<GroupState>>,
    /// Parent groups that also get the user as a member, according to the policy; ordered by id. They count for
    /// memberships only, not for the scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_groups: Vec<Arc<GroupState>>,
    /// Which of the roles that the policy names the user has.
    #[serde(default, skip_serializing_if = "UserRoles::is_empty")]
    pub roles: UserRoles,
    /// Which of the organizations that the policy names the user is a member of.
    #[serde(default, skip_serializing_if = "UserOrganizations::is_empty")]
    pub organizations: UserOrganizations,
}

impl GroupState {
    /// Creates a group whose attributes were not read.
    pub fn new(id: GroupId, name: String, path: String) -> Self {
        Self { id, name, path, attributes: None, verdict: GroupVerdict::Selected }
    }

    /// Returns the group's own name in Keycloak, whatever name the policy gives it.
    pub fn own_name(&self) -> Cow<'_, str> {
        if self.path.ends_with(&format!("/{}", self.name)) {
            return Cow::Borrowed(&self.name);
        }
        Cow::Owned(path_names(&self.path).last().unwrap_or_default())
    }
}

impl UserState {
    /// Returns all groups of which the user is to be a member, direct ones first.
    pub fn all_groups(&self) -> impl Iterator<Item = &Arc<GroupState>> {
        self.groups.iter().chain(&self.parent_groups)
    }

    /// Returns the federation component that the user comes from, if any.
    pub fn federation(&self) -> Option<&str> {
        federation(&self.id, self.federation_link.as_deref(), None)
    }

    /// Returns the federation provider that the user comes from, if any, as a link records it.
    pub fn federated(&self) -> Option<Federated> {
        let ldap_id = self.attributes.get(LDAP_ID).and_then(|values| values.first());
        self.federation().map(|component| Federated {
            component: component.to_owned(),
            login: Some(self.username.clone()),
            ldap_id: ldap_id.cloned(),
        })
    }
}

/// Packed without its groups, roles and organizations: a holder of many users stores them separately.
impl Packable for UserState {
    fn key(&self) -> &str {
        self.id.as_str()
    }

    fn pack(&self, names: &mut Names, out: &mut Vec<u8>) {
        let federation = self.federation_link.as_deref().map(|component| names.number(component));
        let attributes: Vec<(u32, &Vec<String>)> =
            self.attributes.iter().map(|(name, values)| (names.number(name), values)).collect();
        let named = (&self.username, &self.first_name, &self.last_name, &self.email);
        packed::write(&(named, (self.email_verified, self.enabled), federation, attributes), out);
    }

    fn unpack(key: &str, bytes: &[u8], names: &Names) -> Self {
        type Named = (String, Option<String>, Option<String>, Option<String>);
        type Attributes = Vec<(u32, Vec<String>)>;
        type Flags = (Option<bool>, bool);
        let (named, (email_verified, enabled), federation, attributes): (Named, Flags, Option<u32>, Attributes) =
            packed::read(bytes);
        let (username, first_name, last_name, email) = named;
        let name = |number| names.name(number).to_string();
        Self {
            id: key.into(),
            username,
            first_name,
            last_name,
            email,
            email_verified,
            enabled,
            federation_link: federation.map(name),
            attributes: attributes.into_iter().map(|(number, values)| (name(number), values)).collect(),
            groups: Vec::new(),
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        }
    }
}

/// A group as Keycloak shows it, and what the templates of the policy make of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupState {
    /// Keycloak's id.
    pub id: GroupId,
    /// The leaf name, or the name that the policy gives the group.
    pub name: String,
    /// The full path, `/parent/leaf`; a slash inside a name is written as `~/`.
    pub path: String,
    /// Custom attributes; `None`: the policy does not use them, or has used them already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, Vec<String>>>,
    /// What the templates of the policy decide about the group.
    #[serde(default, skip_serializing_if = "GroupVerdict::is_selected")]
    pub verdict: GroupVerdict,
}

/// What the templates of the policy decide about a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupVerdict {
    /// They leave it in and give it its name, or there are none.
    #[default]
    Selected,
    /// The condition leaves it out.
    LeftOut,
    /// The condition fails for it, for this reason: the group keeps its name and nobody is added.
    Failed(String),
    /// The condition leaves it in, but the template of names fails for it, with the same effect.
    Unnamed(String),
}

impl GroupVerdict {
    /// Returns whether no template leaves the group out or fails.
    pub fn is_selected(&self) -> bool {
        *self == Self::Selected
    }

    /// Returns why a template fails for the group; `None`: none does.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Failed(why) | Self::Unnamed(why) => Some(why),
            Self::Selected | Self::LeftOut => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> UserState {
        let dept = ("dept".to_owned(), vec!["R&D".to_owned(), "Ops".to_owned()]);
        UserState {
            id: "1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11".into(),
            username: "ada".to_owned(),
            first_name: Some("Ada".to_owned()),
            last_name: Some("Lovelace".to_owned()),
            email: Some("ada@example.org".to_owned()),
            email_verified: Some(true),
            enabled: true,
            federation_link: Some("ldap".to_owned()),
            attributes: [dept, ("none".to_owned(), Vec::new())].into(),
            groups: vec![Arc::new(GroupState::new("g1".into(), "eng".to_owned(), "/eng".to_owned()))],
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        }
    }

    /// A user with a login only, from a provider that is not LDAP.
    fn bob() -> UserState {
        UserState {
            id: "f:spi:bob".into(),
            username: "bob".to_owned(),
            first_name: None,
            last_name: None,
            email: None,
            email_verified: None,
            enabled: false,
            federation_link: None,
            attributes: BTreeMap::new(),
            groups: Vec::new(),
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        }
    }

    #[test]
    fn a_packed_user_is_restored_without_its_groups() {
        let carol = UserState { id: "3".into(), username: "carol".to_owned(), ..ada() };
        let users = [ada(), bob(), carol];
        let packed: packed::Packed<UserState> = users.iter().cloned().collect();
        let expected = users.map(|user| UserState { groups: Vec::new(), ..user });
        assert_eq!(packed.iter().collect::<Vec<_>>(), expected);
        for user in expected {
            assert_eq!(packed.find(user.id.as_str()), Some(user));
        }
    }

    #[test]
    fn the_federation_of_a_user_comes_from_its_link_or_its_id() {
        let local = UserState { federation_link: None, ..ada() };
        assert_eq!([ada(), bob(), local].each_ref().map(UserState::federation), [Some("ldap"), Some("spi"), None]);
    }

    #[test]
    fn only_an_id_with_a_component_and_a_name_has_a_component() {
        let ids = ["f:spi:bob", "f:spi:a:b", "f::bob", "f:spi:", "f:spi", "F:spi:bob", "bob"].map(UserId::from);
        let components = [Some("spi"), Some("spi"), None, None, None, None, None];
        assert_eq!(ids.each_ref().map(UserId::component), components);
    }
}
