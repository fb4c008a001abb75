//! Roles of a realm, and which of them a user has.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Granted;

/// A role of the realm, or of a client. Text form: `ROLE` or `CLIENT/ROLE`; in a name, `~/` stands for a slash and `~~`
/// for a tilde.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RoleName {
    /// The `clientId` of its client; `None`: it is a role of the realm.
    pub client: Option<String>,
    /// Its name.
    pub name: String,
}

/// Why a text names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{prefix}: {0}", prefix = Self::PREFIX)]
pub struct RoleNameError(String);

impl RoleNameError {
    /// Start of the message where a role is part of a larger input.
    pub const PREFIX: &str = "this role is invalid";
}

impl RoleName {
    /// Returns a role of the realm.
    pub fn of_realm(name: impl Into<String>) -> Self {
        Self { client: None, name: name.into() }
    }

    /// Returns a role of a client.
    pub fn of_client(client: impl Into<String>, name: impl Into<String>) -> Self {
        Self { client: Some(client.into()), name: name.into() }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |name: &str| name.replace('~', "~~").replace('/', "~/");
        match &self.client {
            Some(client) => write!(f, "{}/{}", escaped(client), escaped(&self.name)),
            None => f.write_str(&escaped(&self.name)),
        }
    }
}

impl From<RoleName> for String {
    fn from(role: RoleName) -> Self {
        role.to_string()
    }
}

impl TryFrom<String> for RoleName {
    type Error = RoleNameError;

    fn try_from(text: String) -> Result<Self, RoleNameError> {
        let mut names = vec![String::new()];
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let escaped = if letter == '~' { letters.next_if(|next| ['/', '~'].contains(next)) } else { None };
            match (escaped.unwrap_or(letter), names.last_mut()) {
                ('/', _) if escaped.is_none() => names.push(String::new()),
                (letter, Some(name)) => name.push(letter),
                (_, None) => {}
            }
        }
        if names.iter().any(|name| name.trim().is_empty()) {
            return Err(RoleNameError(format!("{text:?} has an empty name; write it as ROLE or CLIENT/ROLE")));
        }
        let name = names.pop().unwrap_or_default();
        match (names.pop(), names.is_empty()) {
            (client, true) => Ok(Self { client, name }),
            _ => Err(RoleNameError(format!("{text:?} has several slashes; write ~/ for a slash in a name"))),
        }
    }
}

/// Which of the roles that a policy names a user has: directly, by composite roles, or by groups.
pub type UserRoles = Granted<RoleName>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for (text, role) in [
            ("jira-users", RoleName::of_realm("jira-users")),
            ("jira/admin", RoleName::of_client("jira", "admin")),
            ("read~/write", RoleName::of_realm("read/write")),
            ("https:~/~/sp.example.org~/saml/user", RoleName::of_client("https://sp.example.org/saml", "user")),
            ("a~~/b", RoleName::of_client("a~", "b")),
            ("a~~~/b", RoleName::of_realm("a~/b")),
        ] {
            assert_eq!(RoleName::try_from(text.to_owned()), Ok(role.clone()), "{text}");
            assert_eq!(String::from(role), text);
        }
        assert_eq!(RoleName::try_from("a~b".to_owned()), Ok(RoleName::of_realm("a~b")));
    }

    #[test]
    fn a_text_that_names_no_role_is_refused() {
        for (text, why) in [
            ("", "\"\" has an empty name; write it as ROLE or CLIENT/ROLE"),
            ("jira/", "\"jira/\" has an empty name; write it as ROLE or CLIENT/ROLE"),
            ("/admin", "\"/admin\" has an empty name; write it as ROLE or CLIENT/ROLE"),
            ("a/b/c", "\"a/b/c\" has several slashes; write ~/ for a slash in a name"),
        ] {
            let error = RoleName::try_from(text.to_owned()).unwrap_err();
            assert_eq!(error.to_string(), format!("this role is invalid: {why}"));
        }
    }
}
