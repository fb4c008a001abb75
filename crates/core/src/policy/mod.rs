//! Derives what a target should hold from the state at the source: pure, no I/O, no clock.
//!
//! The rules: the users in scope but service accounts, the display name from the names, the selected groups under the
//! names that the rules give them, and the templates of further attributes.

mod expectations;
mod group_reasons;
mod groups;
mod scope;

use std::collections::BTreeMap;

use crate::{
    capabilities::{Capabilities, CaseRule},
    model::{AttributeRule, AttributeRules, Empty, GroupState, UserState, When},
};

pub use expectations::{Mismatch, check_account, check_group, check_scope};
pub use group_reasons::{named_by, selected_by};
pub use groups::{
    left_out, named_group, own_names, renames_groups, selects_nothing_by_one, unmatched, with_named_groups,
};
pub use scope::{Verdict, verdict};

/// The desired state of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredUser {
    /// The login, in the target's spelling.
    pub login: String,
    /// The display name.
    pub display_name: String,
    /// The e-mail address; `None`: the user has none.
    pub email: Option<String>,
    /// Further attributes by the target's own names, for a new or an existing account; an empty text clears the
    /// attribute.
    pub attributes: BTreeMap<String, String>,
    /// Attributes that could not be rendered, with the reason.
    pub faults: Vec<String>,
}

/// Returns the login that the user's account should have.
pub fn login(user: &UserState, capabilities: &Capabilities) -> String {
    capabilities.login_case.written(&user.username)
}

/// Returns the desired state of the user's account; `new`: the account is to be created.
pub fn desired_user(user: &UserState, capabilities: &Capabilities, rules: &AttributeRules, new: bool) -> DesiredUser {
    let names = [user.first_name.as_deref(), user.last_name.as_deref()];
    let display_name = names.into_iter().flatten().map(str::trim).filter(|name| !name.is_empty()).collect::<Vec<_>>();
    let (attributes, faults) = if capabilities.attributes { attributes(user, rules, new) } else { Default::default() };
    DesiredUser {
        login: login(user, capabilities),
        display_name: if display_name.is_empty() { user.username.clone() } else { display_name.join(" ") },
        email: user.email.as_deref().map(str::trim).filter(|email| !email.is_empty()).map(str::to_owned),
        attributes,
        faults,
    }
}

/// Returns the desired further attributes, and the errors of those that could not be rendered.
fn attributes(user: &UserState, rules: &AttributeRules, new: bool) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut made, mut faults) = (BTreeMap::new(), Vec::new());
    for (name, AttributeRule { template, when, empty }) in rules {
        if *when == When::Create && !new {
            continue;
        }
        match template.render(user) {
            // A new account has nothing to clear.
            Ok(value) if value.is_empty() && (new || *empty == Empty::Keep) => {}
            Ok(value) => {
                made.insert(name.clone(), value);
            }
            Err(why) => {
                faults.push(format!("{}: cannot render attribute {name} ({why}). Correct its template", user.username));
            }
        }
    }
    (made, faults)
}

/// Returns why the target cannot have an account for this user, and what an operator can do; `None`: it can.
pub fn unusable_user(desired: &DesiredUser, capabilities: &Capabilities) -> Option<String> {
    if capabilities.email_required && desired.email.is_none() {
        return Some("it has no e-mail address, which the target requires; set one in Keycloak".to_owned());
    }
    unusable_login(&desired.login, capabilities)
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
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::fixtures::capabilities;

    fn wanted(user: &UserState, caps: &Capabilities) -> DesiredUser {
        desired_user(user, caps, &AttributeRules::new(), false)
    }

    fn user(username: &str) -> UserState {
        UserState {
            id: "1".into(),
            username: username.into(),
            first_name: None,
            last_name: None,
            email: None,
            enabled: true,
            federation_link: None,
            attributes: BTreeMap::new(),
            groups: Vec::new(),
        }
    }

    #[test]
    fn the_display_name_is_made_of_the_names_and_falls_back_to_the_login() {
        let caps = capabilities();
        let mut alice = user("alice");
        assert_eq!(wanted(&alice, &caps).display_name, "alice");
        alice.last_name = Some(" Ng ".into());
        assert_eq!(wanted(&alice, &caps).display_name, "Ng");
        alice.first_name = Some("Alice".into());
        assert_eq!(wanted(&alice, &caps).display_name, "Alice Ng");
        alice.first_name = Some("  ".into());
        assert_eq!(wanted(&alice, &caps).display_name, "Ng");
    }

    #[test]
    fn an_empty_email_is_none_and_may_be_impossible() {
        let caps = capabilities();
        let mut alice = user("alice");
        alice.email = Some(" ".into());
        let desired = wanted(&alice, &caps);
        assert_eq!(desired.email, None);
        assert!(unusable_user(&desired, &caps).is_some_and(|why| why.contains("e-mail")));
        alice.email = Some("alice@example.org".into());
        assert_eq!(unusable_user(&wanted(&alice, &caps), &caps), None);
    }

    #[test]
    fn logins_are_written_by_the_targets_case_rule_and_checked_by_its_limits() {
        let caps = capabilities();
        let mut long = user(&"É".repeat(300));
        long.email = Some("e@example.org".into());
        let desired = wanted(&long, &caps);
        assert_eq!(desired.login, "é".repeat(300));
        assert!(unusable_user(&desired, &caps).is_some_and(|why| why.contains("255")));
    }

    #[test]
    fn attributes_are_made_when_and_as_their_rules_say() {
        let caps = Capabilities { attributes: true, ..capabilities() };
        let rules: AttributeRules = serde_json::from_value(serde_json::json!({
            "title": "{{ attributes.title }}",
            "division": { "template": "{{ attributes.division }}", "empty": "clear" },
            "locale": { "template": "{{ attributes.locale | default('en', true) }}", "when": "create" },
            "odd": "{{ attributes.odd | int }}",
        }))
        .expect("rules");
        let mut alice = user("alice");
        alice.attributes.insert("odd".into(), vec!["x".into()]);
        let of = |alice: &UserState, new| {
            let desired = desired_user(alice, &caps, &rules, new);
            (desired.attributes.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), desired.faults)
        };
        let (made, faults) = of(&alice, true);
        assert_eq!(made, ["locale=en"]);
        assert!(faults.len() == 1 && faults[0].starts_with("alice: cannot render attribute odd ("), "{faults:?}");
        assert_eq!(of(&alice, false).0, ["division="]);
        alice.attributes.insert("title".into(), vec![" Countess ".into(), "Lady".into()]);
        assert_eq!(of(&alice, false).0, ["division=", "title=Countess"]);
        let none = desired_user(&alice, &capabilities(), &rules, false);
        assert!(none.attributes.is_empty() && none.faults.is_empty());
    }

    #[test]
    fn a_group_name_is_in_lower_case_only_if_the_target_stores_it_so() {
        let group = GroupState { id: "1".into(), name: "Eng".into(), path: "/Eng".into() };
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
