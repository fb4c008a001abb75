//! What an admin event's path names. Keycloak's resource types are not to be relied on, its paths are.

/// The place that an admin event is about, relative to its realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// No path, or an empty one.
    Nowhere,
    /// `users/{id}` and whatever is below it.
    User(&'a str),
    /// `users`, without an id.
    Users,
    /// `users/profile`: the declaration of attributes.
    UserProfile,
    /// `groups/{id}` and what is below it, with whether it is exactly the group.
    Group(&'a str, bool),
    /// `groups/{id}/children`: a sub-group was made or moved here.
    Children(&'a str),
    /// `groups/{id}/role-mappings/…`
    GroupRoles,
    /// `groups`, without an id: a group was moved to the top.
    Groups,
    /// `default-groups/{id}`
    DefaultGroup,
    /// `user-storage/…`, a synchronisation of a user federation.
    UserStorage,
    /// `components/{id}`: settings of a user federation, a mapper, a key.
    Component,
    /// `organizations/{id}`
    Organization,
    /// A member of an organisation, as far as the path tells.
    OrganizationMember(Option<&'a str>),
    /// `partialImport`
    PartialImport,
    /// `roles/…`, `roles-by-id/…`, `clients/{id}/roles/…`
    Role,
    /// Anything else.
    Other,
}

/// The longest id of a user that comes from a federation without import, `f:component:name`.
const LONGEST_FEDERATED_ID: usize = 255;

/// Whether a text can be an id. It will stand in addresses of requests, so nothing else is let through.
pub(super) fn is_id(text: &str) -> bool {
    if text.starts_with("f:") {
        return text.len() <= LONGEST_FEDERATED_ID && text.chars().all(|c| !c.is_control() && c != '/');
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
    let mut segments = path.split('/');
    let root = segments.next().unwrap_or_default();
    let (first, rest) = (segments.next(), segments);
    match (root, first) {
        ("users" | "Users", None) => Place::Users,
        ("users", Some("profile")) => Place::UserProfile,
        ("users" | "Users", Some(id)) if is_id(id) => Place::User(id),
        ("groups" | "Groups", None) => Place::Groups,
        ("groups" | "Groups", Some(id)) if is_id(id) => group(id, rest),
        ("default-groups", _) => Place::DefaultGroup,
        ("user-storage", _) => Place::UserStorage,
        ("components", Some(_)) => Place::Component,
        ("organizations", Some(_)) => organization(rest),
        ("partialImport" | "partial-import", _) => Place::PartialImport,
        ("roles" | "roles-by-id", _) => Place::Role,
        ("clients", Some(_)) if rest.clone().next() == Some("roles") => Place::Role,
        _ => Place::Other,
    }
}

fn group<'a>(id: &'a str, mut rest: std::str::Split<'a, char>) -> Place<'a> {
    match rest.next() {
        Some("children") => Place::Children(id),
        Some("role-mappings") => Place::GroupRoles,
        below => Place::Group(id, below.is_none()),
    }
}

fn organization(rest: std::str::Split<'_, char>) -> Place<'_> {
    let below: Vec<_> = rest.collect();
    if below.is_empty() {
        return Place::Organization;
    }
    // The last pair counts: `groups/{id}/members/{user}` is about the user.
    let member = below.windows(2).rev().find(|pair| matches!(pair[0], "members" | "users") && is_id(pair[1]));
    Place::OrganizationMember(member.map(|pair| pair[1]))
}
