//! Decides which subjects an event reconciles: the only place that does.

use super::path::{Place, is_federated_id, is_id, place};
use crate::model::{Subject, UserId, Uses};

/// The facts of an event, independent of the form in which it was received.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts<'a> {
    /// A user event's type; `None` for admin and model events.
    pub user_event: Option<&'a str>,
    /// `CREATE`, `UPDATE`, `DELETE`, `ACTION`.
    pub operation: &'a str,
    /// `USER`, `GROUP`, …
    pub resource: &'a str,
    /// The path, relative to the realm.
    pub path: &'a str,
    /// The user that the event is about, never the user that caused it.
    pub user: Option<&'a str>,
    /// The login of that user, if the event contains it.
    pub login: Option<&'a str>,
    /// The id of the changed object, if the event contains it beside its path.
    pub object: Option<&'a str>,
    /// The kind of the changed component, if the representation contains it.
    pub provider_type: Option<&'a str>,
    /// Whether the event is a sign-in through an identity provider.
    pub brokered: bool,
    /// Whether the event reports a failure.
    pub failed: bool,
    /// Whether usersync's listener sent it: it reports each removal inside a removal separately.
    pub from_listener: bool,
    /// Whether it is a model event. Keycloak does not store model events.
    pub is_model: bool,
    /// What the policy depends on.
    pub uses: Uses,
}

/// The work that an event causes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub hints: Vec<Subject>,
    pub may_remove: bool,
    pub wants_run: bool,
    pub ignored: Option<&'static str>,
}

impl Verdict {
    fn reconcile(hints: impl IntoIterator<Item = Subject>) -> Self {
        Self { hints: hints.into_iter().collect(), ..Self::default() }
    }

    fn run() -> Self {
        Self { wants_run: true, ..Self::default() }
    }

    fn ignored(why: &'static str) -> Self {
        Self { ignored: Some(why), ..Self::default() }
    }
}

const ROLES: &str = "the policy names no role";
const ORGANIZATIONS: &str = "the policy names no organization";
const NO_MEMBER: &str = "it names no member of an organization";
const NEW_ROLE: &str = "nobody has a new role yet";
const NO_ID: &str = "it names no user or group";

pub(super) fn verdict(facts: &Facts<'_>) -> Verdict {
    if facts.failed {
        return Verdict::ignored("it reports a failure, so nothing was changed");
    }
    let verdict = match facts.user_event {
        Some(kind) => user_event(kind, facts),
        None => admin_event(facts),
    };
    Verdict { may_remove: verdict.ignored.is_none() && may_remove(facts), ..verdict }
}

/// Whether an event may remove access. The listener of usersync does not send what changed in an updated user.
fn may_remove(facts: &Facts<'_>) -> bool {
    match facts.user_event {
        Some(kind) => kind == "DELETE_ACCOUNT" || kind.starts_with("USER_DISABLED_BY"),
        None => match place(facts.path) {
            Place::User(_) => match facts.operation {
                "DELETE" => true,
                "UPDATE" => facts.resource == "USER",
                // A role may be one that the policy excludes.
                _ => facts.uses.roles && facts.resource.ends_with("ROLE_MAPPING"),
            },
            Place::OrganizationMember(_) => facts.operation == "DELETE",
            _ => false,
        },
    }
}

/// Whether an event is about a role of a user and causes no work. Without a policy for roles, a new role matters only in a
/// model event, as the sign of a new user.
fn is_idle_role(facts: &Facts<'_>) -> bool {
    facts.resource.ends_with("ROLE_MAPPING") && !facts.uses.roles && !(facts.is_model && facts.operation == "CREATE")
}

/// Decides about a change of a role, of a composite role, or of a group's roles, which may concern many users. A role
/// that was only created has no holder yet.
fn role_change(facts: &Facts<'_>) -> Verdict {
    let is_new =
        facts.operation == "CREATE" && !facts.path.contains("/composites") && !facts.path.contains("/role-mappings");
    match (facts.uses.roles, is_new) {
        (false, _) => Verdict::ignored(ROLES),
        (true, true) => Verdict::ignored(NEW_ROLE),
        (true, false) => Verdict::run(),
    }
}

fn admin_event(facts: &Facts<'_>) -> Verdict {
    let object = facts.object.filter(|id| is_id(id));
    match place(facts.path) {
        Place::User(_) if is_idle_role(facts) => Verdict::ignored(ROLES),
        Place::User(id) => Verdict::reconcile([Subject::user(id)]),
        Place::Users => object.map_or_else(Verdict::run, |id| Verdict::reconcile([Subject::user(id)])),
        Place::Group(id, exact) => Verdict {
            // Keycloak does not report the sub-groups and members that were deleted with the group, and the listener does
            // not report which users had a role by it.
            wants_run: exact && facts.operation == "DELETE" && (facts.uses.roles || !facts.from_listener),
            ..Verdict::reconcile([Subject::group(id)])
        },
        Place::Children(parent) => {
            let child = object.filter(|id| *id != parent).map(Subject::group);
            Verdict::reconcile([Subject::group(parent)].into_iter().chain(child))
        }
        Place::Groups => object.map_or_else(Verdict::run, |id| Verdict::reconcile([Subject::group(id)])),
        Place::UserStorage | Place::PartialImport => Verdict::run(),
        Place::Component => component(facts.provider_type),
        Place::OrganizationMember(member) => match member.or(facts.user.filter(|id| is_id(id))) {
            Some(id) => Verdict::reconcile([Subject::user(id)]),
            None => Verdict::ignored(NO_MEMBER),
        },
        Place::OrganizationMembers => new_member(facts),
        // Members that the organization manages are deleted with it, without an event.
        Place::Organization if facts.uses.organizations || facts.operation == "DELETE" => Verdict::run(),
        Place::Organization => Verdict::ignored(ORGANIZATIONS),
        Place::DefaultGroup => {
            Verdict::ignored("a default group applies to users created later; existing users are unchanged")
        }
        Place::UserProfile => {
            Verdict::ignored("it changes which attributes users may have; the next full reconcile reads them all")
        }
        Place::GroupRoles | Place::Role => role_change(facts),
        // The roles of a client are deleted with it.
        Place::Client if facts.uses.roles && facts.operation == "DELETE" => Verdict::run(),
        Place::Nowhere => without_path(facts, object),
        Place::Other if facts.resource.contains("ROLE") => role_change(facts),
        Place::Client | Place::Other => Verdict::ignored(NO_ID),
    }
}

/// Decides about a member that was added to an organization. Keycloak's own event names only the login.
fn new_member(facts: &Facts<'_>) -> Verdict {
    match (facts.user.filter(|id| is_id(id)), facts.login) {
        (Some(id), _) => Verdict::reconcile([Subject::user(id)]),
        _ if !facts.uses.organizations => Verdict::ignored(ORGANIZATIONS),
        (None, Some(login)) => Verdict::reconcile([Subject::User(UserId::of_login(login))]),
        (None, None) => Verdict::run(),
    }
}

/// Settings of a user federation can show, hide or remove many users; keys and other components cannot.
fn component(provider_type: Option<&str>) -> Verdict {
    match provider_type {
        Some(kind) if !kind.contains("storage") => Verdict::ignored("this component contains no users"),
        _ => Verdict::run(),
    }
}

fn without_path(facts: &Facts<'_>, object: Option<&str>) -> Verdict {
    match (facts.resource, object.or(facts.user.filter(|id| is_id(id)))) {
        ("USER", Some(id)) => Verdict::reconcile([Subject::user(id)]),
        ("GROUP", Some(id)) => Verdict::reconcile([Subject::group(id)]),
        ("USER" | "GROUP" | "GROUP_MEMBERSHIP", _) => Verdict::run(),
        ("REALM", _) if facts.operation == "DELETE" => Verdict::run(),
        _ => Verdict::ignored(NO_ID),
    }
}

fn user_event(kind: &str, facts: &Facts<'_>) -> Verdict {
    if kind.ends_with("_ERROR") {
        return Verdict::ignored("it reports a failure, so nothing was changed");
    }
    if is_session_only(kind) {
        return Verdict::ignored("this kind contains no directory data of a user");
    }
    if kind == "LOGIN" && !login_may_change(facts) {
        return Verdict::ignored("a sign-in without an identity provider changes no user");
    }
    match facts.user {
        Some(id) if is_id(id) => Verdict::reconcile([Subject::user(id)]),
        _ => Verdict::ignored(NO_ID),
    }
}

/// Whether a sign-in may change a user. An identity provider's mappers write the user, and a federation without import
/// reveals a new user, without any other event. The listener in Keycloak sends no other sign-ins unless its option
/// `login-events` is set.
fn login_may_change(facts: &Facts<'_>) -> bool {
    facts.brokered || facts.from_listener || facts.user.is_some_and(is_federated_id)
}

/// Whether the type is about sessions, tokens or credentials only. An unknown type may have changed the user.
fn is_session_only(kind: &str) -> bool {
    const KINDS: [&str; 35] = [
        "AUTHREQID_TO_TOKEN",
        "CODE_TO_TOKEN",
        "CUSTOM_REQUIRED_ACTION",
        "EXECUTE_ACTIONS",
        "EXECUTE_ACTION_TOKEN",
        "GRANT_CONSENT",
        "IDENTITY_PROVIDER_RESPONSE",
        "IDENTITY_PROVIDER_RETRIEVE_TOKEN",
        "IMPERSONATE",
        "INTROSPECT_TOKEN",
        "INVALID_SIGNATURE",
        "JWT_AUTHORIZATION_GRANT",
        "LOGOUT",
        "OAUTH2_DEVICE_AUTH",
        "OAUTH2_DEVICE_CODE_TO_TOKEN",
        "OAUTH2_DEVICE_VERIFY_USER_CODE",
        "OAUTH2_EXTENSION_GRANT",
        "PERMISSION_TOKEN",
        "PUSHED_AUTHORIZATION_REQUEST",
        "REFRESH_TOKEN",
        "REGISTER_NODE",
        "REMOVE_CREDENTIAL",
        "REMOVE_TOTP",
        "RESET_PASSWORD",
        "RESTART_AUTHENTICATION",
        "REVOKE_GRANT",
        "TOKEN_EXCHANGE",
        "UNREGISTER_NODE",
        "UPDATE_CONSENT",
        "UPDATE_CREDENTIAL",
        "UPDATE_PASSWORD",
        "UPDATE_TOTP",
        "USER_INFO_REQUEST",
        "USER_SESSION_DELETED",
        "VALIDATE_ACCESS_TOKEN",
    ];
    const PREFIXES: [&str; 3] = ["CLIENT_", "VERIFIABLE_CREDENTIAL_", "SEND_"];
    KINDS.binary_search(&kind).is_ok() || PREFIXES.iter().any(|prefix| kind.starts_with(prefix))
}
