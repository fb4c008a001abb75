//! Compares what a policy does with what its tests expect.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    DesiredUser, Verdict, desired_user, grants, group_name, left_out, named_group, paths_above_user, unusable_user,
    verdict,
};
use crate::{
    capabilities::Capabilities,
    model::{Expected, GroupTest, Policy, Scope, TargetName, UserState, UserTest, group_at},
};

/// A value that differs from what a test expects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The value, such as `login`.
    pub about: String,
    /// The expected value.
    pub expected: String,
    /// The value by the policy.
    pub actual: String,
    /// Why the policy gives this value; `None`: the value shows it.
    pub why: Option<String>,
}

impl Mismatch {
    fn new(about: impl Into<String>, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self { about: about.into(), expected: expected.into(), actual: actual.into(), why: None }
    }

    fn because(self, why: Option<String>) -> Self {
        Self { why, ..self }
    }
}

/// Returns how the group's name in a target differs from the expected one; `None`: it does not.
pub fn check_group(
    test: &GroupTest,
    policy: &Policy,
    target: &TargetName,
    capabilities: &Capabilities,
) -> Option<Mismatch> {
    let (policy, case) = (policy.of_target(target), capabilities.group_case);
    let group = named_group(group_at(&test.path, test.attributes.clone()), &policy.groups);
    let why = left_out(&group, &policy.groups).or_else(|| group.verdict.fault().map(str::to_owned));
    let actual = why.is_none().then(|| group_name(&group, case));
    let (about, shown) =
        ("name", |name: Option<&str>| name.map_or("not synced".to_owned(), |name| format!("{name:?}")));
    let expected = match &test.expect {
        Expected::Nothing if actual.is_some() => "not synced".to_owned(),
        Expected::Something if actual.is_none() => "synced".to_owned(),
        Expected::Text(name) if Some(case.written(name)) != actual => shown(Some(name)),
        _ => return None,
    };
    Some(Mismatch::new(about, expected, shown(actual.as_deref())).because(why))
}

/// Compares whether the user is in scope with the expectation; `None`: they agree.
pub fn check_scope(test: &UserTest, policy: &Policy) -> Option<Mismatch> {
    let expected = test.in_scope?;
    let (actual, why) = match verdict(&test.user.state(), &policy.scope) {
        Verdict::In if expected => return None,
        Verdict::In if policy.scope == Scope::default() => ("yes", Some("the scope has no conditions".to_owned())),
        Verdict::In => ("yes", Some("it meets all conditions of the scope".to_owned())),
        Verdict::Out { .. } if !expected => return None,
        Verdict::Out { why, .. } => ("no", Some(why)),
        Verdict::Undecided(why) => ("undecided", Some(why)),
    };
    let expected = if expected { "yes" } else { "no" };
    Some(Mismatch::new("in scope", expected, actual).because(why))
}

/// Returns how the values of the user's new account in a target differ from the expected ones. The user's groups have the
/// attributes of the tests of these groups.
pub fn check_account(
    test: &UserTest,
    groups: &[(usize, GroupTest)],
    policy: &Policy,
    target: &TargetName,
    capabilities: &Capabilities,
) -> Vec<Mismatch> {
    let (user, policy) = (test.user.state(), policy.of_target(target));
    let policy = policy.as_ref();
    let desired = new_account(&user, policy, target, capabilities);
    let value = |of: fn(&DesiredUser) -> Option<&str>| desired.as_ref().ok().and_then(of);
    let why = desired.as_ref().err().cloned();
    let written = |expected: &Expected| match expected {
        Expected::Text(login) => Expected::Text(capabilities.login_case.written(login)),
        other => other.clone(),
    };
    let login = test.login.as_ref().map(written);
    let fields = [
        ("login", login.as_ref(), value(|desired| desired.login.as_deref())),
        ("display name", test.display_name.as_ref(), value(|desired| desired.display_name.as_deref())),
        ("e-mail", test.email.as_ref(), value(|desired| desired.email.as_deref())),
    ];
    let mut found: Vec<Mismatch> = fields
        .into_iter()
        .filter_map(|(about, expected, actual)| differs(about, expected?, actual))
        .map(|mismatch| mismatch.because(why.clone()))
        .collect();
    found.extend(test.attributes.iter().filter_map(|(name, expected)| {
        let actual = desired.as_ref().ok().and_then(|desired| desired.attributes.get(name));
        let no_rule = || {
            let ruled = policy.account_rules(target).attributes.contains_key(name);
            (!ruled).then(|| format!("policy.targets.{target}.attributes has no {name}"))
        };
        let fault = |desired: &DesiredUser| {
            desired.attribute_faults.iter().find(|fault| fault.contains(name.as_str())).cloned()
        };
        let why = match &desired {
            Err(why) => Some(why.clone()),
            Ok(_) if actual.is_some() => None,
            Ok(_) if !capabilities.attributes => Some(format!("{target} does not support further attributes")),
            Ok(desired) => fault(desired).or_else(no_rule),
        };
        Some(differs(name, expected, actual.map(String::as_str))?.because(why))
    }));
    found.extend(check_groups(test, groups, &user, policy, capabilities, why));
    found
}

/// Returns the values of the user's new account.
///
/// # Errors
/// The user gets no account; the text says why.
fn new_account(
    user: &UserState,
    policy: &Policy,
    target: &TargetName,
    capabilities: &Capabilities,
) -> Result<DesiredUser, String> {
    match verdict(user, &policy.scope) {
        Verdict::In => {}
        Verdict::Out { why, .. } => return Err(format!("it is not in scope: {why}")),
        Verdict::Undecided(why) => return Err(format!("it is undecided whether it is in scope: {why}")),
    }
    if !user.enabled {
        return Err("it is disabled in Keycloak".to_owned());
    }
    let desired = desired_user(user, capabilities, policy.account_rules(target), true);
    if !desired.faults.is_empty() {
        return Err(desired.faults.join("; "));
    }
    match unusable_user(&desired, capabilities) {
        Some(why) => Err(why),
        None => Ok(desired),
    }
}

fn differs(about: &str, expected: &Expected, actual: Option<&str>) -> Option<Mismatch> {
    let fits = match expected {
        Expected::Nothing => actual.is_none(),
        Expected::Something => actual.is_some(),
        Expected::Text(text) => actual == Some(text),
    };
    let shown = |value: Option<&str>| value.map_or("none".to_owned(), |value| format!("{value:?}"));
    (!fits).then(|| Mismatch::new(about, expected.to_string(), shown(actual)))
}

/// Compares the names of all groups; `no_account`: why the user gets none.
fn check_groups(
    test: &UserTest,
    groups: &[(usize, GroupTest)],
    user: &UserState,
    policy: &Policy,
    capabilities: &Capabilities,
    no_account: Option<String>,
) -> Option<Mismatch> {
    let case = capabilities.group_case;
    let expected: BTreeSet<String> = test.groups.as_ref()?.iter().map(|name| case.written(name)).collect();
    let (mut actual, mut reasons) = (BTreeSet::new(), Vec::new());
    if no_account.is_none() {
        let rules = &policy.groups;
        for path in user.groups.iter().map(|group| group.path.as_str()).chain(paths_above_user(user, rules)) {
            let tested = groups.iter().find(|(_, group)| group.path == path);
            let attributes = tested.map(|(_, group)| group.attributes.clone()).unwrap_or_default();
            let group = named_group(group_at(path, attributes), rules);
            match (left_out(&group, rules), group.verdict.fault()) {
                (Some(why), _) => reasons.push(format!("{path} is {why}")),
                (None, Some(why)) => reasons.push(format!("{path}: {why}")),
                (None, None) => {
                    actual.insert(group_name(&group, case));
                }
            }
        }
        for constant in &rules.constant {
            match grants(constant, rules, user, true) {
                Ok(true) => {
                    actual.insert(case.written(&constant.name));
                }
                Ok(false) => {}
                Err(why) => reasons.push(why),
            }
        }
    }
    if expected == actual {
        return None;
    }
    let shown = |names: &BTreeSet<String>| match names.len() {
        0 => "none".to_owned(),
        _ => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    };
    let why = no_account.or_else(|| (!reasons.is_empty()).then(|| reasons.join("; ")));
    Some(Mismatch::new("groups", shown(&expected), shown(&actual)).because(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixtures::capabilities;

    fn policy() -> Policy {
        let json = r#"{
            "scope": {"excluded_logins": ["svc-*"], "excluded_roles": ["left"], "condition": "{{ attributes.type or true }}"},
            "groups": {"excluded": ["/hr/**"], "named_by": "path", "prefix": "KC-"},
            "targets": {"wiki": {"attributes": {"title": "{{ attributes.title }}"}}}
        }"#;
        serde_json::from_str(json).unwrap()
    }

    fn user_test(json: &str) -> UserTest {
        serde_json::from_str(&format!(r#"{{"name": "a test", {json}}}"#)).unwrap()
    }

    fn shown(mismatch: &Mismatch) -> String {
        let Mismatch { about, expected, actual, why } = mismatch;
        let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{about}: {expected} != {actual}{why}")
    }

    #[test]
    fn a_group_is_expected_under_a_name_or_not_at_all() {
        let lower = Capabilities { group_case: crate::capabilities::CaseRule::Lower, ..capabilities() };
        let left_out = "left out by groups.excluded of the policy (/hr/**)";
        for (path, expect, capabilities, expected) in [
            ("/eng/core", r#""KC-eng-core""#, capabilities(), None),
            ("/eng/core", r#""KC-eng-core""#, lower.clone(), None),
            ("/eng/core", "true", lower, None),
            ("/hr/pay", "false", capabilities(), None),
            ("/eng/core", r#""core""#, capabilities(), Some(r#"name: "core" != "KC-eng-core""#.to_owned())),
            ("/eng/core", "false", capabilities(), Some(r#"name: not synced != "KC-eng-core""#.to_owned())),
            ("/hr/pay", "true", capabilities(), Some(format!("name: synced != not synced ({left_out})"))),
            ("/hr/pay", r#""pay""#, capabilities(), Some(format!(r#"name: "pay" != not synced ({left_out})"#))),
        ] {
            let test: GroupTest =
                serde_json::from_str(&format!(r#"{{"path": "{path}", "expect": {expect}}}"#)).unwrap();
            let found = check_group(&test, &policy(), &"jira".into(), &capabilities);
            assert_eq!(found.as_ref().map(shown), expected, "{path} {expect}");
        }
    }

    #[test]
    fn a_scope_without_conditions_is_named_as_the_reason() {
        let test = user_test(r#""user": {"username": "bob"}, "in_scope": false"#);
        let found = check_scope(&test, &Policy::default()).as_ref().map(shown);
        assert_eq!(found.as_deref(), Some("in scope: no != yes (the scope has no conditions)"));
    }

    #[test]
    fn the_scope_is_compared_with_the_reason() {
        for (json, expected) in [
            (r#""user": {"username": "bob"}, "in_scope": true"#, None),
            (r#""user": {"username": "svc-ci"}, "in_scope": false"#, None),
            (r#""user": {"username": "bob"}"#, None),
            (
                r#""user": {"username": "bob"}, "in_scope": false"#,
                Some("in scope: no != yes (it meets all conditions of the scope)"),
            ),
            (
                r#""user": {"username": "svc-ci"}, "in_scope": true"#,
                Some("in scope: yes != no (its login matches svc-* of excluded_logins)"),
            ),
            (
                r#""user": {"username": "bob", "roles": ["left"]}, "in_scope": true"#,
                Some("in scope: yes != no (it has the role left (excluded_roles))"),
            ),
            (
                r#""user": {"username": "bob", "attributes": {"type": ["x"]}}, "in_scope": false"#,
                Some(
                    "in scope: no != undecided (cannot apply the scope's condition: it renders \"x\", not true or false)",
                ),
            ),
        ] {
            let found = check_scope(&user_test(json), &policy());
            assert_eq!(found.as_ref().map(shown).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn a_member_of_a_required_organization_is_in_scope() {
        let policy = serde_json::from_str(r#"{"scope": {"required_organizations": ["acme"]}}"#).unwrap();
        let of = |user: &str| {
            let test = user_test(&format!(r#""user": {{"username": "bob"{user}}}, "in_scope": true"#));
            check_scope(&test, &policy).as_ref().map(shown)
        };
        assert_eq!(of(r#", "organizations": ["acme"]"#), None);
        let out = "in scope: yes != no (it is a member of none of required_organizations (acme))";
        assert_eq!(of(r#", "organizations": ["globex"]"#).as_deref(), Some(out));
        assert_eq!(of("").as_deref(), Some(out));
    }

    #[test]
    fn an_account_is_compared_field_by_field() {
        let check = |json: &str, target: &str| -> Vec<String> {
            let capabilities = Capabilities { attributes: target == "wiki", ..capabilities() };
            let found = check_account(&user_test(json), &[], &policy(), &target.into(), &capabilities);
            found.iter().map(shown).collect()
        };
        let none: [&str; 0] = [];
        let bob = r#""user": {"username": "Bob", "first_name": "Bob", "email": "bob@example.org",
            "groups": ["/eng/core", "/hr/pay"], "attributes": {"title": ["Dr"]}}"#;
        let right = format!(
            r#"{bob}, "login": "Bob", "display_name": "Bob", "email": "bob@example.org", "groups": ["KC-eng-core"],
               "attributes": {{"title": "Dr", "phone": false}}"#
        );
        assert_eq!(check(&right, "wiki"), none);
        let wrong = format!(
            r#"{bob}, "login": "robert", "display_name": false, "email": "b@example.org", "groups": ["pay"],
               "attributes": {{"title": "Prof", "phone": true}}"#
        );
        assert_eq!(
            check(&wrong, "wiki"),
            [
                r#"login: "robert" != "bob""#,
                r#"display name: none != "Bob""#,
                r#"e-mail: "b@example.org" != "bob@example.org""#,
                "phone: any != none (policy.targets.wiki.attributes has no phone)",
                r#"title: "Prof" != "Dr""#,
                "groups: \"pay\" != \"KC-eng-core\" (/hr/pay is left out by groups.excluded of the policy (/hr/**))",
            ]
        );
        let unsupported = format!(r#"{bob}, "attributes": {{"title": "Dr"}}"#);
        assert_eq!(check(&unsupported, "jira"), ["title: \"Dr\" != none (jira does not support further attributes)"]);
        let service = r#""user": {"username": "svc-ci", "groups": ["/eng"]}, "login": "svc-ci", "groups": ["KC-eng"]"#;
        let why = "it is not in scope: its login matches svc-* of excluded_logins";
        assert_eq!(
            check(service, "jira"),
            [format!(r#"login: "svc-ci" != none ({why})"#), format!(r#"groups: "KC-eng" != none ({why})"#)]
        );
        assert_eq!(check(r#""user": {"username": "svc-ci"}, "login": false, "groups": []"#, "jira"), none);
    }

    #[test]
    fn a_user_who_gets_no_account_has_no_values_and_no_groups() {
        let policy: Policy = serde_json::from_str(r#"{"account": {"login": "{{ attributes.uid }}"}}"#).unwrap();
        let check = |user: &str, expected: &str, email_required: bool| -> Vec<String> {
            let capabilities = Capabilities { email_required, ..capabilities() };
            let test = user_test(&format!(r#""user": {{"username": "bob", "groups": ["/eng"], {user}}}, {expected}"#));
            check_account(&test, &[], &policy, &"jira".into(), &capabilities).iter().map(shown).collect()
        };
        let some = r#""login": true, "display_name": true, "email": true, "groups": ["eng"]"#;
        let nothing = r#""login": false, "display_name": false, "email": false, "groups": []"#;
        let uid = r#""attributes": {"uid": ["b1"]}"#;
        let email = r#""email": "bob@example.org""#;
        for (user, email_required, why) in [
            (format!("{uid}, {email}, \"enabled\": false"), true, "it is disabled in Keycloak"),
            (uid.to_owned(), true, "it has no e-mail address, which the target requires; set one in Keycloak"),
            (
                email.to_owned(),
                false,
                "bob: cannot render the login (it is empty for this user). Correct the template in the policy, or the user in Keycloak",
            ),
        ] {
            let expected = [
                format!("login: any != none ({why})"),
                format!("display name: any != none ({why})"),
                format!("e-mail: any != none ({why})"),
                format!(r#"groups: "eng" != none ({why})"#),
            ];
            assert_eq!(check(&user, some, email_required), expected, "{user}");
            assert_eq!(check(&user, nothing, email_required), [] as [String; 0], "{user}");
        }
        assert_eq!(check(&format!("{uid}, {email}"), some, true), [] as [String; 0]);
        let without_email = r#""login": "b1", "email": false, "groups": ["eng"]"#;
        assert_eq!(check(uid, without_email, false), [] as [String; 0]);
    }

    #[test]
    fn a_target_with_rules_of_its_own_has_its_own_groups() {
        let json = r#"{
            "groups": {"excluded": ["/hr"], "prefix": "kc-", "constant": [{"name": "all"}]},
            "targets": {"wiki": {"groups": {"only": ["/hr"]}}}
        }"#;
        let policy: Policy = serde_json::from_str(json).unwrap();
        let test =
            user_test(r#""user": {"username": "bob", "email": "b@x.org", "groups": ["/eng", "/hr"]}, "groups": []"#);
        let groups = |target: &str| {
            let found = check_account(&test, &[], &policy, &target.into(), &capabilities());
            found.into_iter().map(|mismatch| mismatch.actual).collect::<Vec<_>>().join("; ")
        };
        assert_eq!((groups("jira"), groups("wiki")), (r#""all", "kc-eng""#.to_owned(), r#""hr""#.to_owned()));
        let group: GroupTest = serde_json::from_str(r#"{"path": "/eng", "expect": "kc-eng"}"#).unwrap();
        let check = |target: &str| check_group(&group, &policy, &target.into(), &capabilities());
        assert_eq!(check("jira"), None);
        assert!(check("wiki").is_some_and(|mismatch| mismatch.actual == "not synced"));
    }

    #[test]
    fn the_groups_of_a_user_have_the_attributes_of_their_tests() {
        let groups = r#"{"groups": {"condition": "{{ attributes.sync == 'yes' }}", "name": "{{ attributes.jira }}"}}"#;
        let policy: Policy = serde_json::from_str(groups).unwrap();
        let user = r#""user": {"username": "bob", "email": "bob@example.org", "groups": ["/eng", "/hr"]}"#;
        let test = user_test(&format!(r#"{user}, "groups": ["Engineers"]"#));
        let group =
            r#"{"path": "/eng", "attributes": {"sync": ["yes"], "jira": ["Engineers"]}, "expect": "Engineers"}"#;
        let groups = [(1, serde_json::from_str::<GroupTest>(group).unwrap())];
        let check = |groups: &[(usize, GroupTest)]| {
            check_account(&test, groups, &policy, &"jira".into(), &capabilities()).iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(check(&groups), [""; 0]);
        assert_eq!(check(&[]).len(), 1);
        let other = GroupTest { path: "/ops".to_owned(), ..groups[0].1.clone() };
        assert_eq!(check(&[(1, other)]).len(), 1, "the attributes are those of another group");
    }
}
