//! Users that come from a federation provider, such as LDAP.

use serde::{Deserialize, Serialize};

use super::UserId;

/// The federation provider that a user comes from, and the login under which it knows the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Federated {
    /// Id of the provider's component in Keycloak.
    pub component: String,
    /// The user's login in Keycloak; `None`: it was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The id of the user's LDAP entry, which stays if the login changes; `None`: the provider is not LDAP, or it was not
    /// recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ldap_id: Option<String>,
}

/// The attribute in which Keycloak shows the id of a user's LDAP entry.
pub const LDAP_ID: &str = "LDAP_ID";

impl Federated {
    /// Creates the record of a user whose login was not recorded.
    pub fn of(component: &str) -> Self {
        Self { component: component.to_owned(), login: None, ldap_id: None }
    }
}

/// Returns the federation component that a user comes from: Keycloak's `federationLink`, else its `origin`, else the
/// component in an id of the form `f:COMPONENT:NAME`. Users of a provider that is not LDAP have only that id.
pub fn federation<'a>(id: &'a UserId, link: Option<&'a str>, origin: Option<&'a str>) -> Option<&'a str> {
    let reported = [link, origin].into_iter().flatten().map(str::trim).find(|component| !component.is_empty());
    reported.or_else(|| id.component())
}

impl UserId {
    /// Returns component and login in an id of the form `f:COMPONENT:LOGIN`, as users have that Keycloak itself does not
    /// store. The login is in the provider's spelling.
    pub fn at_provider(&self) -> Option<(&str, &str)> {
        let (component, login) = self.as_str().strip_prefix("f:")?.split_once(':')?;
        (!component.is_empty() && !login.is_empty()).then_some((component, login))
    }

    /// Returns the component in such an id.
    pub fn component(&self) -> Option<&str> {
        self.at_provider().map(|(component, _)| component)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_federation_is_told_by_link_origin_or_the_form_of_the_id() {
        let table = [
            ("1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11", None, None, None),
            ("1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11", Some("ldap"), None, Some("ldap")),
            ("1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11", None, Some("ldap"), Some("ldap")),
            ("1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11", Some(""), Some(" "), None),
            ("f:spi:alice", None, None, Some("spi")),
            ("f:spi:alice", Some(""), None, Some("spi")),
            ("f:spi:a:b/c d", None, None, Some("spi")),
            ("f:spi:alice", Some("ldap"), Some("other"), Some("ldap")),
            ("f::alice", None, None, None),
            ("f:spi:", None, None, None),
            ("f:spi", None, None, None),
            ("F:spi:alice", None, None, None),
        ];
        for (id, link, origin, expected) in table {
            assert_eq!(federation(&id.into(), link, origin), expected, "{id} {link:?} {origin:?}");
        }
    }
}
