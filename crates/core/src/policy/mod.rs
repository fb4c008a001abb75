//! Derives what a target should hold from the state at the source: pure, no I/O, no clock.
//!
//! The rules: the users in scope but service accounts, the values of their accounts, and the selected groups under the
//! names that the rules give them.

mod account;
mod condition;
mod expectations;
mod group_reasons;
mod groups;
mod matching;
mod scope;

use crate::{
    capabilities::{Capabilities, CaseRule},
    model::GroupState,
};

pub use account::{DesiredUser, desired_user, login};
pub use expectations::{Mismatch, check_account, check_group, check_scope};
pub use group_reasons::{named_by, selected_by};
pub use groups::{
    grants, is_merged, left_out, named_group, not_created, own_names, path_left_out, paths_above, paths_above_user,
    paths_decide_groups, paths_decide_users, same_name, selects_nothing_by_one, shapes_groups, unmatched,
    with_named_groups,
};
pub use matching::{Search, fold_value, searches};
pub use scope::{Verdict, is_required, members_suffice, verdict};

/// Returns why the target cannot have an account for this user, and what an operator can do; `None`: it can.
pub fn unusable_user(desired: &DesiredUser, capabilities: &Capabilities) -> Option<String> {
    if capabilities.email_required && desired.email.is_none() {
        return Some("it has no e-mail address, which the target requires; set one in Keycloak".to_owned());
    }
    desired.login.as_ref().and_then(|login| unusable_login(login, capabilities))
}

/// Returns why the target cannot have an account of this login, and what an operator can do; `None`: it can.
pub fn unusable_login(login: &str, capabilities: &Capabilities) -> Option<String> {
    name_fault("login", login, capabilities.login_max, &capabilities.login_forbids)
        .map(|fault| format!("{fault}; change the login in Keycloak"))
}

/// Returns the name of a group in the target.
pub fn group_name(group: &GroupState, case: CaseRule) -> String {
    case.written(&group.name)
}

/// Returns why the target cannot have a group of this name, and what an operator can do; `None`: it can.
pub fn unusable_group(name: &str, capabilities: &Capabilities) -> Option<String> {
    name_fault("group name", name, capabilities.group_max, &capabilities.group_forbids)
        .map(|fault| format!("{fault}; rename the group in Keycloak"))
}

fn name_fault(what: &str, name: &str, max: usize, forbidden: &[char]) -> Option<String> {
    if name.trim().is_empty() {
        return Some(format!("the {what} is empty"));
    }
    if name.chars().count() > max {
        return Some(format!("the {what} is longer than the {max} characters that the target allows"));
    }
    let found = name.chars().find(|c| forbidden.contains(c) || c.is_control())?;
    Some(format!("the target does not allow {found:?} in a {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixtures::capabilities;

    #[test]
    fn a_group_name_is_in_lower_case_only_if_the_target_stores_it_so() {
        let group = GroupState::new("1".into(), "Eng".into(), "/Eng".into());
        let names = [CaseRule::Lower, CaseRule::Insensitive, CaseRule::Sensitive].map(|case| group_name(&group, case));
        assert_eq!(names, ["eng", "Eng", "Eng"]);
    }

    #[test]
    fn a_name_has_at_most_the_allowed_characters_and_no_forbidden_or_control_characters() {
        let caps = Capabilities { group_max: 5, group_forbids: vec!['/'], ..capabilities() };
        let longer = "the group name is longer than the 5 characters that the target allows";
        let table = [
            ("Éùüöä", None),
            ("Éùüöäa", Some(longer)),
            (" ", Some("the group name is empty")),
            ("a/b", Some("the target does not allow '/' in a group name")),
            ("a\tb", Some("the target does not allow '\\t' in a group name")),
        ];
        for (name, fault) in table {
            let expected = fault.map(|fault| format!("{fault}; rename the group in Keycloak"));
            assert_eq!(unusable_group(name, &caps), expected, "{name:?}");
        }
    }

    #[test]
    fn group_names_that_the_target_cannot_have_are_told() {
        let mut caps = capabilities();
        caps.group_forbids = vec!['/'];
        assert!(unusable_group("a/b", &caps).is_some_and(|why| why.contains("'/'")));
        assert!(unusable_group("", &caps).is_some());
        assert_eq!(unusable_group("Entwicklung & Forschung", &caps), None);
    }
}
