//! Parses the path of an admin event. Keycloak's resource types are not reliable, its paths are.

/// The resource that an admin event is about, relative to its realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// No path, or an empty one.
    Nowhere,
    /// `users/{id}` and everything below it.
    User(&'a str),
    /// `users`, without an id.
    Users,
    /// `users/profile`: the declaration of attributes.
    UserProfile,
    /// `groups/{id}` and everything below it; `true` if the path is exactly the group.
    Group(&'a str, bool),
    /// `groups/{id}/children`: a sub-group was created here or moved here.
    Children(&'a str),
    /// `groups/{id}/role-mappings/…`
    GroupRoles,
    /// `groups`, without an id: a group was moved to the top level.
    Groups,
    /// `default-groups/{id}`
    DefaultGroup,
    /// `user-storage/…`: a synchronization of a user federation.
    UserStorage,
    /// `components/{id}`: the settings of a user federation, a mapper or a key.
    Component,
    /// `organizations/{id}`
    Organization,
    /// `organizations/{id}/members`: a member was added. The path does not contain the member's id.
    OrganizationMembers,
    /// A member of an organization or of its groups; `None`: the path names another resource of the organization.
    OrganizationMember(Option<&'a str>),
    /// `partialImport`
    PartialImport,
    /// `roles/…`, `roles-by-id/…`, `clients/{id}/roles/…`
    Role,
    /// `clients/{id}`
    Client,
    /// Anything else.
    Other,
}

/// Maximum length of the id of a user from a federation without import, `f:component:name`.
const LONGEST_FEDERATED_ID: usize = 255;

/// The resources below a user in Keycloak's paths. They end an id that may contain slashes itself.
const BELOW_A_USER: [&str; 16] = [
    "configured-user-storage-credential-types",
    "consents",
    "credentials",
    "disable-credential-types",
    "execute-actions-email",
    "federated-identity",
    "groups",
    "impersonation",
    "logout",
    "offline-sessions",
    "reset-password",
    "reset-password-email",
    "role-mappings",
    "send-verify-email",
    "sessions",
    "unmanagedAttributes",
];

/// Whether a user's id comes from a federation without import.
pub(super) fn is_federated_id(text: &str) -> bool {
    text.starts_with("f:")
}

/// Whether a text is a valid id. Requests escape ids in their URLs; other characters are rejected nevertheless.
pub(super) fn is_id(text: &str) -> bool {
    if is_federated_id(text) {
        return text.len() <= LONGEST_FEDERATED_ID && !text.chars().any(char::is_control);
    }
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
        && text.bytes().any(|b| b != b'.')
}

pub(super) fn place(path: &str) -> Place<'_> {
    let path = path.trim_start_matches('/').trim_end_matches('/');
    if path.is_empty() {
        return Place::Nowhere;
    }
    let path =
        path.strip_prefix("scim/v2/").or_else(|| path.strip_prefix("attack-detection/brute-force/")).unwrap_or(path);
    let (root, rest) = match path.split_once('/') {
        Some((root, rest)) => (root, Some(rest)),
        None => (path, None),
    };
    match (root, rest) {
        ("users" | "Users", None) => Place::Users,
        ("users", Some("profile")) => Place::UserProfile,
        ("users" | "Users", Some(rest)) => user_id(rest).map_or(Place::Other, Place::User),
        ("groups" | "Groups", None) => Place::Groups,
        ("groups" | "Groups", Some(rest)) => group(rest),
        ("default-groups", _) => Place::DefaultGroup,
        ("user-storage", _) => Place::UserStorage,
        ("components", Some(_)) => Place::Component,
        ("organizations", Some(rest)) => organization(rest),
        ("partialImport" | "partial-import", _) => Place::PartialImport,
        ("roles" | "roles-by-id", _) => Place::Role,
        ("clients", Some(rest)) if rest.split('/').nth(1) == Some("roles") => Place::Role,
        ("clients", Some(id)) if !id.contains('/') => Place::Client,
        _ => Place::Other,
    }
}

/// Returns the user's id at the start of the path after `users/` or `members/`. A federated id is not escaped there:
/// its name may contain slashes and spaces.
fn user_id(rest: &str) -> Option<&str> {
    let end = |at: usize| !is_federated_id(rest) || BELOW_A_USER.contains(&first(&rest[at + 1..]));
    let id = match rest.match_indices('/').find(|(at, _)| end(*at)) {
        Some((at, _)) => &rest[..at],
        None => rest,
    };
    is_id(id).then_some(id)
}

/// Returns the first segment of a path.
fn first(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

fn group(rest: &str) -> Place<'_> {
    let mut segments = rest.split('/');
    let id = segments.next().unwrap_or_default();
    if !is_id(id) {
        return Place::Other;
    }
    match segments.next() {
        Some("children") => Place::Children(id),
        Some("role-mappings") => Place::GroupRoles,
        below => Place::Group(id, below.is_none()),
    }
}

/// Parses the path after `organizations/`: `{id}`, `{id}/members`, `{id}/members/{user}`,
/// `{id}/groups/{group}/members/{user}`.
fn organization(rest: &str) -> Place<'_> {
    if !rest.contains('/') {
        return Place::Organization;
    }
    if rest.split('/').skip(1).eq(["members"]) {
        return Place::OrganizationMembers;
    }
    let member =
        ["/members/", "/users/"].into_iter().filter_map(|name| rest.find(name).map(|at| at + name.len())).min();
    Place::OrganizationMember(member.and_then(|at| user_id(&rest[at..])))
}
