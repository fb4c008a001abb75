//! Decides whether a user is in the scope of a connector.

use super::condition::meets;
use crate::model::{Granted, GroupState, LeaverAction, Origin, PathPattern, Policy, Required, Scope, UserState};

/// Whether a user is in scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is synced.
    In,
    /// It is not synced, for this reason. A user out of scope is never matched to an account.
    Out {
        /// The reason, naming the setting.
        why: String,
        /// Whether it lacks required groups. Where such a group does not exist, this proves nothing.
        lacks_group: bool,
        /// Whether it lacks required roles. A list of holders that lacks users proves nothing.
        lacks_role: bool,
        /// Whether it is not a member of required organizations. A list that lacks members proves nothing.
        lacks_organization: bool,
    },
    /// The rules cannot be applied to it, for this reason, which names no user: nothing about it is changed.
    Undecided(String),
}

impl Verdict {
    /// Returns whether the user is synced.
    pub fn is_in(&self) -> bool {
        matches!(self, Self::In)
    }

    /// Returns why the user is out of scope.
    pub fn out(&self) -> Option<&str> {
        match self {
            Self::Out { why, .. } => Some(why),
            Self::In | Self::Undecided(_) => None,
        }
    }

    /// Returns why the rules cannot be applied to the user.
    pub fn undecided(&self) -> Option<&str> {
        match self {
            Self::Undecided(why) => Some(why),
            Self::In | Self::Out { .. } => None,
        }
    }
}

/// Decides whether a user, read with its groups, is in scope.
pub fn verdict(user: &UserState, scope: &Scope) -> Verdict {
    // Keycloak reserves this prefix for the users behind clients.
    if user.username.starts_with("service-account-") {
        return out("it is the service account of a client");
    }
    let login = &user.username;
    if let Some(pattern) = scope.excluded_logins.iter().find(|pattern| pattern.matches(login)) {
        return out(format!("its login matches {pattern} of excluded_logins"));
    }
    if !scope.logins.is_empty() && !scope.logins.iter().any(|pattern| pattern.matches(login)) {
        return out("its login matches no pattern in scope.logins");
    }
    match (scope.origin, user.federation()) {
        (Origin::Local, Some(_)) => return out("it comes from a federation (origin = \"local\")"),
        (Origin::Federated, None) => return out("it does not come from a federation (origin = \"federated\")"),
        _ => {}
    }
    if scope.email_verified && user.email_verified == Some(false) {
        return out("its e-mail address is not verified (email_verified = true)");
    }
    for pattern in &scope.excluded_groups {
        if let Some(group) = membership(user, scope, pattern) {
            return out(format!("it is a member of {} (excluded_groups: {pattern})", group.path));
        }
    }
    if let Some(role) = scope.excluded_roles.iter().find(|role| user.roles.has(role) == Ok(true)) {
        return out(format!("it has the role {role} (excluded_roles)"));
    }
    if let Some(why) = lacking(user, scope) {
        return Verdict::Out { why, lacks_group: true, lacks_role: false, lacks_organization: false };
    }
    match lacking_one(&user.roles, &scope.required_roles, scope.required) {
        Lacking::Nothing => {}
        Lacking::All(all) => return without_role(format!("it has none of required_roles ({all})")),
        Lacking::One(role) => return without_role(format!("it does not have the role {role} (required_roles)")),
        Lacking::Unread(why) => return Verdict::Undecided(why),
    }
    match lacking_one(&user.organizations, &scope.required_organizations, scope.required) {
        Lacking::Nothing => {}
        Lacking::All(all) => {
            return without_organization(format!("it is a member of none of required_organizations ({all})"));
        }
        Lacking::One(lacks) => {
            let why = format!("it is not a member of the organization {lacks} (required_organizations)");
            return without_organization(why);
        }
        Lacking::Unread(why) => return Verdict::Undecided(why),
    }
    // A role that is not listed may have been renamed, or is not visible to usersync.
    if let Some(unread) = scope.excluded_roles.iter().find_map(|role| user.roles.has(role).err()) {
        return Verdict::Undecided(unread.why().to_owned());
    }
    if scope.email_verified && user.email_verified.is_none() {
        return Verdict::Undecided("Keycloak does not say whether the e-mail address is verified".to_owned());
    }
    condition(user, scope)
}

/// Returns whether a full reconcile may read the members of the required groups in place of all users. Then no other user
/// is in scope, and users out of scope have inactive accounts, so that few have to be read by their ids.
pub fn members_suffice(policy: &Policy) -> bool {
    let ends = policy.leavers.out_of_scope >= LeaverAction::Deactivate;
    ends && !policy.scope.required_groups.is_empty()
}

/// Returns whether the members of a group count as members of a required group.
pub fn is_required(group: &GroupState, scope: &Scope) -> bool {
    scope.required_groups.iter().any(|pattern| scope.is_within(pattern, &group.path))
}

fn out(why: impl Into<String>) -> Verdict {
    Verdict::Out { why: why.into(), lacks_group: false, lacks_role: false, lacks_organization: false }
}

fn without_role(why: String) -> Verdict {
    Verdict::Out { why, lacks_group: false, lacks_role: true, lacks_organization: false }
}

fn without_organization(why: String) -> Verdict {
    Verdict::Out { why, lacks_group: false, lacks_role: false, lacks_organization: true }
}

/// Returns a group of the user that counts as a membership in a group of this path.
fn membership<'u>(user: &'u UserState, scope: &Scope, pattern: &PathPattern) -> Option<&'u GroupState> {
    user.groups.iter().map(AsRef::as_ref).find(|group| scope.is_within(pattern, &group.path))
}

/// Returns which required groups a user lacks; `None`: none.
fn lacking(user: &UserState, scope: &Scope) -> Option<String> {
    let is_member = |pattern: &PathPattern| membership(user, scope, pattern).is_some();
    let required = &scope.required_groups;
    match scope.required {
        Required::Any if required.is_empty() || required.iter().any(is_member) => None,
        Required::Any => {
            let all: Vec<String> = required.iter().map(ToString::to_string).collect();
            Some(format!("it is a member of none of required_groups ({})", all.join(", ")))
        }
        Required::All => {
            let lacks = required.iter().find(|pattern| !is_member(pattern))?;
            Some(format!("it is not a member of {lacks} (required_groups)"))
        }
    }
}

/// What a user lacks of what is required, as roles or organizations.
enum Lacking {
    /// It has what is required.
    Nothing,
    /// It has none of these, of which one is enough.
    All(String),
    /// It does not have this one, though each is required.
    One(String),
    /// It is not known, for this reason.
    Unread(String),
}

fn lacking_one<N: Ord + ToString>(held: &Granted<N>, required: &[N], how: Required) -> Lacking {
    let lacked: Vec<&N> = required.iter().filter(|name| held.has(name) != Ok(true)).collect();
    if lacked.is_empty() || how == Required::Any && lacked.len() < required.len() {
        return Lacking::Nothing;
    }
    let unread = lacked.iter().find_map(|name| held.has(name).err()).map(|unread| unread.why().to_owned());
    match how {
        Required::Any => unread.map_or_else(
            || Lacking::All(required.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            Lacking::Unread,
        ),
        Required::All => match lacked.iter().find(|name| held.has(name) == Ok(false)) {
            Some(lacks) => Lacking::One(lacks.to_string()),
            None => unread.map_or(Lacking::Nothing, Lacking::Unread),
        },
    }
}

fn condition(user: &UserState, scope: &Scope) -> Verdict {
    let Some(template) = &scope.condition else { return Verdict::In };
    match meets(template, user) {
        Ok(true) => Verdict::In,
        Ok(false) => out("it does not meet the condition"),
        Err(why) => Verdict::Undecided(format!("cannot apply the scope's condition: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::model::{OrganizationName, RoleName, Unread, UserOrganizations, UserRoles};

    fn user(login: &str, paths: &[&str]) -> UserState {
        let group = |path: &&str| Arc::new(GroupState::new((*path).into(), path[1..].into(), (*path).into()));
        UserState {
            id: "1".into(),
            username: login.into(),
            first_name: None,
            last_name: None,
            email: None,
            email_verified: Some(false),
            enabled: true,
            federation_link: None,
            attributes: BTreeMap::new(),
            groups: paths.iter().map(group).collect(),
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        }
    }

    fn scope(json: &str) -> Scope {
        serde_json::from_str(json).unwrap()
    }

    fn why(user: &UserState, json: &str) -> Option<String> {
        let verdict = verdict(user, &scope(json));
        assert_eq!(verdict.is_in(), verdict.out().is_none() && verdict.undecided().is_none());
        verdict.out().map(str::to_owned)
    }

    #[test]
    fn by_default_all_users_but_service_accounts_are_in_scope() {
        assert_eq!(why(&user("alice", &[]), "{}"), None);
        let service = Some("it is the service account of a client".to_owned());
        assert_eq!(why(&user("service-account-usersync", &[]), "{}"), service);
    }

    #[test]
    fn logins_are_chosen_and_left_out_by_pattern() {
        let rules = r#"{"logins": ["*@example.org", "bob"], "excluded_logins": ["svc-*"]}"#;
        assert_eq!(why(&user("ann@example.org", &[]), rules), None);
        assert_eq!(why(&user("bob", &[]), rules), None);
        assert_eq!(why(&user("carl", &[]), rules).as_deref(), Some("its login matches no pattern in scope.logins"));
        let left_out = why(&user("svc-ci@example.org", &[]), rules);
        assert_eq!(left_out.as_deref(), Some("its login matches svc-* of excluded_logins"));
    }

    #[test]
    fn one_required_group_is_enough_or_each_is_required() {
        let any = r#"{"required_groups": ["/staff", "/guests"]}"#;
        assert_eq!(why(&user("ann", &["/guests"]), any), None);
        let none = why(&user("ann", &["/other"]), any);
        assert_eq!(none.as_deref(), Some("it is a member of none of required_groups (/staff, /guests)"));
        let all = r#"{"required_groups": ["/staff", "/jira"], "required": "all"}"#;
        assert_eq!(why(&user("ann", &["/jira", "/staff"]), all), None);
        let one = why(&user("ann", &["/staff"]), all);
        assert_eq!(one.as_deref(), Some("it is not a member of /jira (required_groups)"));
    }

    #[test]
    fn the_members_of_required_groups_suffice_if_others_lose_access() {
        let suffice = |json: &str| members_suffice(&serde_json::from_str(json).unwrap());
        assert!(suffice(r#"{"scope": {"required_groups": ["/staff"]}}"#));
        assert!(!suffice(r#"{"scope": {"excluded_groups": ["/staff"]}}"#));
        assert!(!suffice(r#"{"scope": {"required_groups": ["/staff"]}, "leavers": {"out_of_scope": "nothing"}}"#));
        let required = |json: &str, path: &str| is_required(&user("ann", &[path]).groups[0], &scope(json));
        assert!(required(r#"{"required_groups": ["/staff"]}"#, "/staff/eng"));
        assert!(!required(r#"{"required_groups": ["/staff"], "subgroups": false}"#, "/staff/eng"));
        assert!(!required(r#"{"required_groups": ["/staff"]}"#, "/other"));
    }

    #[test]
    fn only_a_lacking_group_depends_on_the_existence_of_groups() {
        let lacks = |user: &UserState, json: &str| match verdict(user, &scope(json)) {
            Verdict::Out { lacks_group, .. } => lacks_group,
            other => panic!("{other:?}"),
        };
        assert!(lacks(&user("ann", &[]), r#"{"required_groups": ["/staff"]}"#));
        assert!(!lacks(&user("ann", &["/x"]), r#"{"excluded_groups": ["/x"]}"#));
        assert!(!lacks(&user("ann", &[]), r#"{"logins": ["b*"]}"#));
    }

    #[test]
    fn a_lacking_role_or_organization_is_marked() {
        let lacks = |user: &UserState, json: &str| match verdict(user, &scope(json)) {
            Verdict::Out { lacks_group, lacks_role, lacks_organization, .. } => {
                [lacks_group, lacks_role, lacks_organization]
            }
            other => panic!("{other:?}"),
        };
        for required in ["", r#", "required": "all""#] {
            let rules = |what: &str| format!(r#"{{"{what}": ["staff"]{required}}}"#);
            assert_eq!(lacks(&user("ann", &[]), &rules("required_roles")), [false, true, false]);
            assert_eq!(lacks(&user("ann", &[]), &rules("required_organizations")), [false, false, true]);
        }
        assert_eq!(lacks(&with_roles(&["x"], &[]), r#"{"excluded_roles": ["x"]}"#), [false; 3]);
    }

    #[test]
    fn sub_groups_count_unless_the_scope_says_otherwise() {
        let rules = r#"{"required_groups": ["/staff"], "excluded_groups": ["/staff/left"]}"#;
        assert_eq!(why(&user("ann", &["/staff/eng/core"]), rules), None);
        let left = why(&user("ann", &["/staff/left/2025"]), rules);
        assert_eq!(left.as_deref(), Some("it is a member of /staff/left/2025 (excluded_groups: /staff/left)"));
        let direct = r#"{"required_groups": ["/staff"], "subgroups": false}"#;
        assert!(why(&user("ann", &["/staff/eng"]), direct).is_some());
        assert_eq!(why(&user("ann", &["/staff"]), direct), None);
    }

    #[test]
    fn users_are_chosen_by_their_origin() {
        let (local, federated) =
            (user("ann", &[]), UserState { federation_link: Some("ldap".into()), ..user("bob", &[]) });
        for (rules, one, in_scope) in [
            (r#"{"origin": "any"}"#, &local, true),
            (r#"{"origin": "any"}"#, &federated, true),
            (r#"{"origin": "local"}"#, &local, true),
            (r#"{"origin": "local"}"#, &federated, false),
            (r#"{"origin": "federated"}"#, &local, false),
            (r#"{"origin": "federated"}"#, &federated, true),
        ] {
            assert_eq!(verdict(one, &scope(rules)).is_in(), in_scope, "{rules} {}", one.username);
        }
    }

    fn with_roles(held: &[&str], unread: &[(&str, Unread)]) -> UserState {
        let role = |text: &str| RoleName::try_from(text.to_owned()).unwrap();
        let unread: BTreeMap<_, _> = unread.iter().map(|(text, unread)| (role(text), unread.clone())).collect();
        let held = held.iter().map(|text| Arc::new(role(text))).collect();
        let unread = (!unread.is_empty()).then(|| Arc::new(unread));
        UserState { roles: UserRoles { held, unread }, ..user("ann", &[]) }
    }

    #[test]
    fn one_required_role_is_enough_or_each_is_required() {
        let any = r#"{"required_roles": ["staff", "jira/user"]}"#;
        assert_eq!(why(&with_roles(&["jira/user"], &[]), any), None);
        let none = why(&with_roles(&["user"], &[]), any);
        assert_eq!(none.as_deref(), Some("it has none of required_roles (staff, jira/user)"));
        let all = r#"{"required_roles": ["staff", "jira/user"], "required": "all"}"#;
        assert_eq!(why(&with_roles(&["jira/user", "staff"], &[]), all), None);
        let one = why(&with_roles(&["staff"], &[]), all);
        assert_eq!(one.as_deref(), Some("it does not have the role jira/user (required_roles)"));
    }

    fn in_organizations(held: &[&str], unread: &[(&str, Unread)]) -> UserState {
        let name = |text: &str| OrganizationName::try_from(text.to_owned()).unwrap();
        let unread: BTreeMap<_, _> = unread.iter().map(|(text, unread)| (name(text), unread.clone())).collect();
        let held = held.iter().map(|text| Arc::new(name(text))).collect();
        let unread = (!unread.is_empty()).then(|| Arc::new(unread));
        UserState { organizations: UserOrganizations { held, unread }, ..user("ann", &[]) }
    }

    #[test]
    fn one_required_organization_is_enough_or_each_is_required() {
        let any = r#"{"required_organizations": ["acme", "Globex Inc"]}"#;
        assert_eq!(why(&in_organizations(&["Globex Inc"], &[]), any), None);
        let none = why(&in_organizations(&["other"], &[]), any);
        assert_eq!(none.as_deref(), Some("it is a member of none of required_organizations (acme, Globex Inc)"));
        let all = r#"{"required_organizations": ["acme", "Globex Inc"], "required": "all"}"#;
        assert_eq!(why(&in_organizations(&["Globex Inc", "acme"], &[]), all), None);
        let one = why(&in_organizations(&["acme"], &[]), all);
        assert_eq!(one.as_deref(), Some("it is not a member of the organization Globex Inc (required_organizations)"));
        // A group, a role and an organization are required: each is.
        let three = r#"{"required_organizations": ["acme"], "required_groups": ["/staff"], "required_roles": ["r"]}"#;
        let member = in_organizations(&["acme"], &[]);
        assert!(why(&member, three).unwrap().contains("required_groups"));
        let in_group = UserState { groups: user("ann", &["/staff"]).groups, ..member };
        assert!(why(&in_group, three).unwrap().contains("required_roles"));
        let roles = with_roles(&["r"], &[]).roles;
        assert_eq!(why(&UserState { roles, ..in_group }, three), None);
    }

    #[test]
    fn an_organization_that_does_not_exist_or_cannot_be_read_puts_nobody_out_of_scope() {
        let (absent, unknown) = (Unread::Absent("none such".into()), Unread::Unknown("no right".into()));
        let any = r#"{"required_organizations": ["acme", "globex"]}"#;
        let all = r#"{"required_organizations": ["acme", "globex"], "required": "all"}"#;
        for (held, unread, rules, expected) in [
            (&["acme"][..], &absent, any, None),
            (&[], &absent, any, Some("undecided: none such")),
            (&[], &unknown, any, Some("undecided: no right")),
            (&["acme"], &unknown, all, Some("undecided: no right")),
            (&[], &absent, all, Some("it is not a member of the organization acme (required_organizations)")),
        ] {
            let verdict = verdict(&in_organizations(held, &[("globex", unread.clone())]), &scope(rules));
            let undecided = verdict.undecided().map(|why| format!("undecided: {why}"));
            let got = undecided.or(verdict.out().map(str::to_owned));
            assert_eq!(got.as_deref(), expected, "{held:?} {rules}");
        }
    }

    #[test]
    fn the_holders_of_an_excluded_role_are_out_of_scope() {
        let rules = r#"{"excluded_roles": ["contractor"], "required_groups": ["/staff"]}"#;
        let out = why(&with_roles(&["contractor"], &[]), rules);
        assert_eq!(out.as_deref(), Some("it has the role contractor (excluded_roles)"));
        let member = UserState { groups: user("ann", &["/staff"]).groups, ..with_roles(&[], &[]) };
        assert_eq!(why(&member, rules), None);
    }

    #[test]
    fn a_role_that_does_not_exist_or_cannot_be_read_puts_nobody_out_of_scope() {
        let (absent, unknown) = (Unread::Absent("no such role".into()), Unread::Unknown("no right".into()));
        let required = r#"{"required_roles": ["staff", "guest"]}"#;
        let all = r#"{"required_roles": ["staff", "guest"], "required": "all"}"#;
        let excluded = r#"{"excluded_roles": ["guest"]}"#;
        let of = |held: &[&str], unread: &Unread, rules: &str| {
            let user = with_roles(held, &[("guest", unread.clone())]);
            match verdict(&user, &scope(rules)) {
                Verdict::In => "in".to_owned(),
                Verdict::Out { why, .. } => why,
                Verdict::Undecided(why) => format!("undecided: {why}"),
            }
        };
        for (held, unread, rules, expected) in [
            (&["staff"][..], &absent, required, "in"),
            (&[], &absent, required, "undecided: no such role"),
            (&[], &unknown, required, "undecided: no right"),
            (&["staff"], &absent, all, "undecided: no such role"),
            (&[], &absent, all, "it does not have the role staff (required_roles)"),
            (&[], &absent, excluded, "undecided: no such role"),
            (&[], &unknown, excluded, "undecided: no right"),
            (&["guest"], &unknown, excluded, "it has the role guest (excluded_roles)"),
        ] {
            assert_eq!(of(held, unread, rules), expected, "{held:?} {rules}");
        }
    }

    #[test]
    fn an_e_mail_address_that_is_not_verified_is_out_of_scope_only_if_keycloak_says_so() {
        let rules = r#"{"email_verified": true}"#;
        let of = |email_verified| UserState { email_verified, ..user("ann", &[]) };
        let not_verified = "its e-mail address is not verified (email_verified = true)";
        assert_eq!(why(&of(Some(false)), rules).as_deref(), Some(not_verified));
        assert!(verdict(&of(Some(true)), &scope(rules)).is_in());
        let unknown = "Keycloak does not say whether the e-mail address is verified";
        assert_eq!(verdict(&of(None), &scope(rules)).undecided(), Some(unknown));
        for email_verified in [Some(false), Some(true), None] {
            assert!(verdict(&of(email_verified), &scope("{}")).is_in());
        }
        let condition = r#"{"condition": "{{ email_verified }}"}"#;
        assert_eq!(why(&of(Some(false)), condition).as_deref(), Some("it does not meet the condition"));
        assert!(verdict(&of(Some(true)), &scope(condition)).is_in());
        assert!(verdict(&of(None), &scope(condition)).undecided().is_some());
    }

    #[test]
    fn a_condition_is_true_or_false_and_anything_else_decides_nothing() {
        let rules = r#"{"condition": "{{ attributes.type != 'contractor' }}"}"#;
        assert_eq!(why(&user("ann", &[]), rules), None);
        let attributes = [("type".to_owned(), vec!["contractor".to_owned()])].into();
        let contractor = UserState { attributes, ..user("bob", &[]) };
        assert_eq!(why(&contractor, rules).as_deref(), Some("it does not meet the condition"));
        for (rules, text) in [
            (
                r#"{"condition": "{{ username }}"}"#,
                "cannot apply the scope's condition: it renders \"ann\", not true or false",
            ),
            (
                r#"{"condition": "{% if username == 'ann' %}{{ username | regex_replace('(', '') }}{% endif %}"}"#,
                "cannot apply the scope's condition: invalid operation: the pattern ( is invalid: unclosed group",
            ),
        ] {
            assert_eq!(verdict(&user("ann", &[]), &scope(rules)).undecided(), Some(text));
        }
    }
}
