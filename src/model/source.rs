//! What is read at the source.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{GroupId, UserId};

/// Who the source is: the token's issuer and the service account's own id. Another one behind the same settings is
/// another realm.
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
    /// The first name, if there is one.
    pub first_name: Option<String>,
    /// The last name, if there is one.
    pub last_name: Option<String>,
    /// The e-mail address, if there is one.
    pub email: Option<String>,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// The federation component that the user comes from, if any.
    pub federation_link: Option<String>,
    /// Custom attributes.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Direct groups, ordered by id.
    pub groups: Vec<Arc<GroupState>>,
}

/// A group as Keycloak shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupState {
    /// Keycloak's id.
    pub id: GroupId,
    /// The leaf name.
    pub name: String,
    /// The full path, `/parent/leaf`; a slash inside a name is not told apart.
    pub path: String,
}
