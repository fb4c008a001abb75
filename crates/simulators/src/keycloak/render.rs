//! Users, groups, roles and clients as answers show them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::change::text;
use super::errors::Refused;
use super::federation::Look;
use super::state::{Client, Group, Id, Realm, Role, User};

/// Detail level of a user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// `briefRepresentation=true`.
    Brief,
    /// All fields of a listing.
    Full,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserView<'a> {
    id: &'a str,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Attributes<'a>>,
    enabled: bool,
    created_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    federation_link: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(flatten)]
    more: Option<More<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<&'a Value>,
}

/// Attributes of a user; in the brief form only those that tell where it is in LDAP.
struct Attributes<'a> {
    all: &'a BTreeMap<String, Vec<String>>,
    brief: bool,
}

impl<'a> Attributes<'a> {
    fn new(all: &'a BTreeMap<String, Vec<String>>, depth: Depth) -> Option<Self> {
        let found = Self { all, brief: depth == Depth::Brief };
        let any = found.shown().next().is_some();
        any.then_some(found)
    }

    fn shown(&self) -> impl Iterator<Item = (&'a String, &'a Vec<String>)> {
        let brief = self.brief;
        self.all.iter().filter(move |(name, _)| !brief || matches!(name.as_str(), "LDAP_ID" | "LDAP_ENTRY_DN"))
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct More<'a> {
    totp: bool,
    disableable_credential_types: [&'a str; 0],
    required_actions: &'a [String],
    not_before: i64,
}

/// A user, in a listing or alone. Users of an unavailable federation look disabled.
pub(crate) fn user<'a>(
    realm: &'a Realm,
    user: &'a User,
    depth: Depth,
    access: Option<&'a Value>,
) -> impl Serialize + 'a {
    let full = depth == Depth::Full;
    let (user, available, attributes) = match realm.look(user) {
        Look::Full(user) => (user, true, true),
        Look::Dark(user, attributes) => (user, false, attributes),
        Look::Gone | Look::Failed => (user, false, true),
    };
    UserView {
        id: &user.id,
        username: &user.username,
        first_name: user.first_name.as_deref(),
        last_name: user.last_name.as_deref(),
        email: user.email.as_deref(),
        email_verified: user.email_verified,
        attributes: Attributes::new(&user.attributes, depth).filter(|_| attributes),
        enabled: user.enabled && available,
        created_timestamp: user.created,
        federation_link: user.federation_link.as_deref(),
        origin: user.federation_link.as_deref(),
        more: full.then_some(More {
            totp: false,
            disableable_credential_types: [],
            required_actions: &user.required_actions,
            not_before: user.not_before,
        }),
        access,
    }
}

/// The `access` field of a single user.
pub(crate) fn user_access(manage: bool) -> Value {
    json!({
        "manageGroupMembership": manage, "resetPassword": manage, "view": true,
        "mapRoles": manage, "impersonate": manage, "manage": manage,
    })
}

/// The `access` field of a group.
pub(crate) fn group_access(manage: bool) -> Value {
    json!({ "view": true, "viewMembers": true, "manageMembers": manage, "manage": manage, "manageMembership": manage })
}

/// Detail level of a group.
#[derive(Clone, Copy)]
pub(crate) struct GroupDepth {
    /// Whether attributes and roles are left out.
    pub(crate) brief: bool,
    /// Whether `subGroupCount` is shown.
    pub(crate) count: bool,
    /// Whether `access` is shown, and the right to manage that it reports.
    pub(crate) access: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupView<'a> {
    id: &'a str,
    name: &'a str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_group_count: Option<usize>,
    sub_groups: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm_roles: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_roles: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<Value>,
}

fn group_view<'a>(realm: &Realm, group: &'a Group, depth: GroupDepth, sub_groups: Vec<Value>) -> GroupView<'a> {
    GroupView {
        id: &group.id,
        name: &group.name,
        path: realm.path(group),
        parent_id: group.parent.as_deref(),
        sub_group_count: depth.count.then_some(group.children.len()),
        sub_groups,
        attributes: (!depth.brief).then_some(&group.attributes),
        realm_roles: (!depth.brief).then(|| group.realm_roles.iter().map(String::as_str).collect()),
        client_roles: (!depth.brief).then(|| json!({})),
        access: depth.access.map(group_access),
    }
}

/// A group, with these groups below it.
pub(crate) fn group(realm: &Realm, group: &Group, depth: GroupDepth, sub_groups: Vec<Value>) -> Value {
    serde_json::to_value(group_view(realm, group, depth, sub_groups)).unwrap_or_default()
}

/// A group as a membership's admin event shows it.
pub(crate) fn group_in_event(realm: &Realm, group: &Group) -> String {
    text(&group_view(realm, group, GroupDepth { brief: false, count: false, access: None }, Vec::new()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoleView<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    composite: bool,
    client_role: bool,
    container_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Value>,
}

/// A role in its container; `full` includes its attributes.
pub(crate) fn role<'a>(role: &'a Role, container: &'a str, of_client: bool, full: bool) -> impl Serialize + 'a {
    RoleView {
        id: &role.id,
        name: &role.name,
        description: role.description.as_deref(),
        composite: !role.composites.is_empty(),
        client_role: of_client,
        container_id: container,
        attributes: full.then(|| json!({})),
    }
}

/// Realm roles as an admin event shows them; a missing role is refused.
pub(crate) fn realm_roles(realm: &Realm, names: &[String]) -> Result<String, Refused> {
    let missing = || Refused::error(404, "Role not found");
    let roles: Result<Vec<&Role>, Refused> =
        names.iter().map(|name| realm.roles.get(name).ok_or_else(missing)).collect();
    let shown: Vec<_> = roles?.into_iter().map(|one| role(one, &realm.id, false, true)).collect();
    Ok(text(&shown))
}

/// Roles of a client as an admin event shows them.
pub(crate) fn client_roles(client: &Client, names: &[String]) -> Result<String, Refused> {
    let missing = || Refused::error(404, "Role not found");
    let roles: Result<Vec<&Role>, Refused> =
        names.iter().map(|name| client.roles.get(name).ok_or_else(missing)).collect();
    let shown: Vec<_> = roles?.into_iter().map(|one| role(one, &client.id, true, true)).collect();
    Ok(text(&shown))
}

/// A client.
pub(crate) fn client(client: &Client, manage: bool) -> Value {
    let mut shown = json!({
        "id": *client.id, "clientId": client.name, "enabled": true, "surrogateAuthRequired": false,
        "clientAuthenticatorType": "client-secret", "bearerOnly": false, "publicClient": false,
        "standardFlowEnabled": true, "directAccessGrantsEnabled": false, "fullScopeAllowed": true,
        "protocol": "openid-connect", "attributes": {}, "redirectUris": [], "webOrigins": [],
    });
    if let Some(fields) = shown.as_object_mut() {
        fields.extend(client.extra.clone());
        fields.insert("serviceAccountsEnabled".into(), json!(client.service_account.is_some()));
        fields.insert("access".into(), json!({ "view": true, "configure": manage, "manage": manage }));
        if let Some(secret) = &client.secret {
            let secret = if manage { secret.as_str() } else { "**********" };
            fields.insert("secret".into(), json!(secret));
        }
    }
    shown
}

/// Users as a list.
pub(crate) fn users<'a>(
    realm: &'a Realm,
    ids: &[Id],
    depth: Depth,
    access: Option<&'a Value>,
) -> Vec<impl Serialize + 'a> {
    ids.iter().filter_map(|id| realm.users.get(id)).map(|one| user(realm, one, depth, access)).collect()
}
