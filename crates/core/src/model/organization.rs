//! Organizations of a realm, and which of them a user is a member of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Granted;

/// An organization of the realm, as a policy names it: by its alias, which is unique and never changes, or by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct OrganizationName(String);

/// A text that names no organization.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{prefix}: it is empty", prefix = Self::PREFIX)]
pub struct OrganizationNameError;

impl OrganizationNameError {
    /// Start of the message where an organization is part of a larger input.
    pub const PREFIX: &str = "this organization is invalid";
}

impl OrganizationName {
    /// Returns the alias or name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrganizationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<OrganizationName> for String {
    fn from(organization: OrganizationName) -> Self {
        organization.0
    }
}

impl TryFrom<String> for OrganizationName {
    type Error = OrganizationNameError;

    fn try_from(text: String) -> Result<Self, OrganizationNameError> {
        if text.trim().is_empty() { Err(OrganizationNameError) } else { Ok(Self(text)) }
    }
}

/// Which of the organizations that a policy names a user is a member of.
pub type UserOrganizations = Granted<OrganizationName>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_is_any_text_that_is_not_empty() {
        let read = |json: &str| serde_json::from_str::<OrganizationName>(json).map_err(|error| error.to_string());
        let organization = read(r#""Acme & Sons/Berlin""#).unwrap();
        assert_eq!(organization.to_string(), "Acme & Sons/Berlin");
        assert_eq!(serde_json::to_string(&organization).unwrap(), r#""Acme & Sons/Berlin""#);
        assert_eq!(read(r#"" ""#), Err("this organization is invalid: it is empty".to_owned()));
    }
}
