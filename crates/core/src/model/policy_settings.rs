//! The policy settings of a connector.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    AccountRules, AccountTemplates, AttributeRules, DriftRule, GroupRules, LeaverRules, MatchRules, Matching,
    OrganizationName, RoleName, Scope, TargetMatching, TargetName,
};

/// Whether the first run of a connector on a target waits for approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstRun {
    /// It is planned and waits for approval.
    #[default]
    Hold,
    /// It is applied at once.
    Apply,
}

/// How existing accounts and groups, older than usersync, are adopted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptRule {
    /// Adopt in the first run, hold afterwards.
    #[default]
    FirstRun,
    /// Adopt at any time.
    Always,
}

/// Safety limits in a rolling hour: `count` or `percent` of the whole, whichever is larger, but never more than half.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Safety {
    /// Number of operations that a limit allows even where the percentage is smaller.
    pub count: u32,
    /// Percentage of the active linked accounts; for operations on groups, of the managed groups.
    pub percent: f64,
    /// Percentage of the granted memberships, for removing memberships.
    pub remove_members_percent: f64,
}

impl Default for Safety {
    fn default() -> Self {
        Self { count: 20, percent: 5.0, remove_members_percent: 10.0 }
    }
}

/// Policy of a connector for one of its targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetPolicy {
    /// Templates of the login, display name and e-mail address, in place of those of the connector.
    pub account: AccountTemplates,
    /// Attributes other than login, display name and e-mail address.
    pub attributes: AttributeRules,
    /// How users without a link are matched, in place of the rules of the connector.
    pub matching: TargetMatching,
    /// The groups that are synced, and their names, in place of all rules of the connector; `None`: its rules apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupRules>,
    /// What happens to drift, in place of the setting of the connector; `None`: that applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftRule>,
}

/// Policy of a connector. The defaults are those of the design; more options come with the full policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether the first run waits for approval.
    pub first_run: FirstRun,
    /// How existing accounts and groups, older than usersync, are adopted.
    pub adopt: AdoptRule,
    /// The safety limits.
    pub safety: Safety,
    /// Time since a user was last seen alive within which its link moves automatically to a new id with the same login;
    /// default `24h`.
    pub same_person_within: SignedDuration,
    /// The users that are synced; default all.
    pub scope: Scope,
    /// The groups that are synced, and their names; default all under their own names.
    pub groups: GroupRules,
    /// Templates of the login, display name and e-mail address in all targets.
    pub account: AccountTemplates,
    /// How users without a link are matched to accounts that exist in a target; default: by login.
    pub matching: Matching,
    /// What happens to the accounts of users that have left; default: they are deactivated.
    pub leavers: LeaverRules,
    /// What happens to changes in a target that did not come from usersync; default: they are mended.
    pub drift: DriftRule,
    /// Policies for single targets.
    pub targets: BTreeMap<TargetName, TargetPolicy>,
}

/// What a policy depends on beside the fields and the groups of users. Events about the rest cause no work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Whether it depends on roles.
    pub roles: bool,
    /// Whether it depends on organizations.
    pub organizations: bool,
}

impl Policy {
    /// Returns a fingerprint of what decides which users, accounts and groups this target should have. Settings that only
    /// decide what waits for approval, and those of other targets, are not part of it. Nor are defaults, so that a new
    /// setting changes no fingerprint.
    pub fn fingerprint(&self, target: &TargetName) -> String {
        let defaults = Self::default();
        let mut of_target = self.of_target(target).into_owned();
        let own = TargetPolicy { drift: None, ..of_target.targets.remove(target).unwrap_or_default() };
        let general = Self {
            first_run: defaults.first_run,
            adopt: defaults.adopt,
            safety: defaults.safety,
            same_person_within: defaults.same_person_within,
            drift: defaults.drift,
            targets: BTreeMap::new(),
            ..of_target
        };
        let what = (changed(&general, &defaults), changed(&own, &TargetPolicy::default()));
        let json = serde_json::to_vec(&what).unwrap_or_default();
        hex::encode(&Sha256::digest(json)[..8])
    }

    /// Returns the policy that applies to a target: its own rules for groups, if it has some, are the rules of the policy.
    pub fn of_target(&self, target: &TargetName) -> Cow<'_, Self> {
        if self.targets.values().all(|own| own.groups.is_none()) {
            return Cow::Borrowed(self);
        }
        let own = self.targets.get(target);
        let groups = match own.and_then(|own| own.groups.as_ref()) {
            Some(groups) => GroupRules { own_of: Some(target.clone()), ..groups.clone() },
            None => self.groups.clone(),
        };
        // The rules of other targets decide nothing here, such as which roles are read.
        let own = own.map(|own| TargetPolicy { groups: None, ..own.clone() });
        let targets = own.into_iter().map(|own| (target.clone(), own)).collect();
        Cow::Owned(Self { groups, targets, ..self.clone() })
    }

    /// Returns what happens to drift in a target.
    pub fn drift_in(&self, target: &TargetName) -> DriftRule {
        self.targets.get(target).and_then(|own| own.drift).unwrap_or(self.drift)
    }

    /// Returns the rules for groups of the connector and of its targets.
    pub fn all_group_rules(&self) -> impl Iterator<Item = &GroupRules> {
        std::iter::once(&self.groups).chain(self.targets.values().filter_map(|own| own.groups.as_ref()))
    }

    /// Returns the roles that decide who is in scope or a member of a group, in any target.
    pub fn roles(&self) -> BTreeSet<RoleName> {
        let Scope { required_roles, excluded_roles, .. } = &self.scope;
        let granting = self.all_group_rules().flat_map(|rules| &rules.constant).flat_map(|constant| &constant.roles);
        required_roles.iter().chain(excluded_roles).chain(granting).cloned().collect()
    }

    /// Returns whether roles decide who is in scope or a member of a group, in any target.
    pub fn uses_roles(&self) -> bool {
        let Scope { required_roles, excluded_roles, .. } = &self.scope;
        let mut constants = self.all_group_rules().flat_map(|rules| &rules.constant);
        let grants = constants.any(|constant| !constant.roles.is_empty());
        !(required_roles.is_empty() && excluded_roles.is_empty()) || grants
    }

    /// Returns the organizations that decide who is in scope.
    pub fn organizations(&self) -> BTreeSet<OrganizationName> {
        self.scope.required_organizations.iter().cloned().collect()
    }

    /// Returns what decides who is in scope or a member of a group, in any target.
    pub fn uses(&self) -> Uses {
        Uses { roles: self.uses_roles(), organizations: !self.scope.required_organizations.is_empty() }
    }

    /// Returns whether attributes of groups decide anything, in any target.
    pub fn uses_group_attributes(&self) -> bool {
        self.all_group_rules().any(GroupRules::uses_attributes)
    }

    /// Returns the rules for accounts in a target.
    pub fn account_rules(&self, target: &TargetName) -> AccountRules<'_> {
        static NONE: AttributeRules = AttributeRules::new();
        let own = self.targets.get(target);
        let general = &self.account;
        AccountRules {
            login: own.and_then(|own| own.account.login.as_ref()).or(general.login.as_ref()),
            display_name: own.and_then(|own| own.account.display_name.as_ref()).or(general.display_name.as_ref()),
            email: own.and_then(|own| own.account.email.as_ref()).or(general.email.as_ref()),
            attributes: own.map_or(&NONE, |own| &own.attributes),
            matching: MatchRules::new(&self.matching, own.map(|own| &own.matching)),
        }
    }
}

/// Returns the settings that differ from the defaults.
fn changed<T: Serialize>(settings: &T, defaults: &T) -> Value {
    let value = |settings: &T| serde_json::to_value(settings).unwrap_or_default();
    without(value(settings), &value(defaults)).unwrap_or_default()
}

/// Returns the value without members that equal the default's; `None`: all do.
fn without(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (value, default) if value == *default => None,
        (Value::Object(members), Value::Object(defaults)) => {
            let differ = members.into_iter().filter_map(|(key, value)| {
                let value = without(value, defaults.get(&key).unwrap_or(&Value::Null))?;
                Some((key, value))
            });
            Some(Value::Object(differ.collect()))
        }
        (value, _) => Some(value),
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_run: FirstRun::default(),
            adopt: AdoptRule::default(),
            safety: Safety::default(),
            same_person_within: SignedDuration::from_hours(24),
            scope: Scope::default(),
            groups: GroupRules::default(),
            account: AccountTemplates::default(),
            matching: Matching::default(),
            leavers: LeaverRules::default(),
            drift: DriftRule::default(),
            targets: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AttributeRule;

    #[test]
    fn an_empty_policy_has_the_defaults() {
        let policy: Policy = serde_json::from_str("{}").unwrap();
        assert_eq!(policy, Policy::default());
        assert_eq!((policy.first_run, policy.adopt), (FirstRun::Hold, AdoptRule::FirstRun));
        assert_eq!(policy.safety, Safety { count: 20, percent: 5.0, remove_members_percent: 10.0 });
        assert_eq!(policy.same_person_within, SignedDuration::from_hours(24));
        assert!(policy.targets.is_empty());
    }

    #[test]
    fn the_fingerprint_changes_with_what_is_wanted_and_not_with_the_limits() {
        let of = |json: &str| serde_json::from_str::<Policy>(json).unwrap().fingerprint(&"jira".into());
        assert_eq!(of("{}"), Policy::default().fingerprint(&"jira".into()));
        assert_eq!(of("{}").len(), 16);
        let limits = r#"{"first_run": "apply", "adopt": "always", "safety": {"count": 1}, "same_person_within": "1h"}"#;
        assert_eq!(of(limits), of("{}"));
        for json in [
            r#"{"scope": {"required_groups": ["/staff"]}}"#,
            r#"{"scope": {"required_roles": ["staff"]}}"#,
            r#"{"scope": {"required_organizations": ["acme"]}}"#,
            r#"{"groups": {"constant": [{"name": "a", "roles": ["staff"]}]}}"#,
            r#"{"groups": {"prefix": "kc-"}}"#,
            r#"{"account": {"login": "{{ email }}"}}"#,
            r#"{"matching": {"by": ["email"]}}"#,
            r#"{"targets": {"jira": {"matching": {"by": ["email"]}}}}"#,
            r#"{"targets": {"jira": {"attributes": {"a": "b"}}}}"#,
        ] {
            assert_ne!(of(json), of("{}"), "{json}");
        }
    }

    #[test]
    fn the_fingerprint_is_of_one_target_and_has_no_defaults() {
        let of = |json: &str| serde_json::from_str::<Policy>(json).unwrap().fingerprint(&"jira".into());
        for same in [
            r#"{"scope": {"required_groups": [], "subgroups": true}, "groups": {"named_by": "leaf"}}"#,
            r#"{"targets": {"jira": {"attributes": {}}}}"#,
            r#"{"targets": {"wiki": {"account": {"login": "{{ email }}"}}}}"#,
        ] {
            assert_eq!(of(same), of("{}"), "{same}");
        }
        let general = r#"{"account": {"login": "{{ email }}"}}"#;
        let own = r#"{"targets": {"jira": {"account": {"login": "{{ email }}"}}}}"#;
        assert_ne!(of(general), of(own));
    }

    #[test]
    fn the_rules_for_groups_of_a_target_replace_those_of_the_connector() {
        let policy = |json: &str| serde_json::from_str::<Policy>(json).unwrap();
        let json = r#"{
            "groups": {"prefix": "kc-", "excluded": ["/hr"], "constant": [{"name": "a", "roles": ["r1"]}]},
            "targets": {
                "jira": {
                    "groups": {"only": ["/eng"], "constant": [{"name": "b", "roles": ["r2"]}]},
                    "account": {"login": "{{ email }}"}
                },
                "wiki": {"groups": {}, "account": {"login": "{{ id }}"}}
            }
        }"#;
        let both = policy(json);
        let of = |target: &str| both.of_target(&target.into()).into_owned();
        let jira = of("jira");
        let own = both.targets[&"jira".into()].groups.clone().unwrap();
        assert_eq!(jira.groups, GroupRules { own_of: Some("jira".into()), ..own });
        assert_eq!(jira.groups.setting("only"), "targets.jira.groups.only");
        assert_eq!(of("gitlab").groups.setting("only"), "groups.only");
        assert_eq!((jira.groups.prefix.as_str(), jira.groups.excluded.len()), ("", 0));
        assert_eq!(jira.account_rules(&"jira".into()).login, both.account_rules(&"jira".into()).login);
        assert_eq!(of("wiki").groups, GroupRules { own_of: Some("wiki".into()), ..GroupRules::default() });
        assert_eq!(of("gitlab").groups, both.groups);
        // Which roles are read: those of the target alone, and for events those of all.
        let roles = |policy: &Policy| policy.roles().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(["jira", "wiki", "gitlab"].map(|target| roles(&of(target))), ["r2", "", "r1"]);
        assert_eq!((roles(&both), both.uses_roles(), of("wiki").uses_roles()), ("r1 r2".to_owned(), true, false));
        // It is the policy of the target from the start.
        assert_eq!(*jira.of_target(&"jira".into()), jira);
        let plain = policy(r#"{"groups": {"prefix": "kc-"}, "targets": {"jira": {"attributes": {"a": "b"}}}}"#);
        assert!(matches!(plain.of_target(&"jira".into()), Cow::Borrowed(_)));
    }

    #[test]
    fn group_attributes_are_read_if_one_target_uses_them() {
        let uses = |json: &str| serde_json::from_str::<Policy>(json).unwrap().uses_group_attributes();
        assert!(uses(r#"{"targets": {"jira": {"groups": {"name": "{{ attributes.name }}"}}}}"#));
        assert!(uses(r#"{"groups": {"name": "{{ attributes.name }}"}}"#));
        assert!(!uses(r#"{"targets": {"jira": {"groups": {"prefix": "a"}}}}"#));
    }

    #[test]
    fn the_fingerprint_has_only_the_rules_for_groups_that_apply_to_the_target() {
        let of = |json: &str| serde_json::from_str::<Policy>(json).unwrap().fingerprint(&"jira".into());
        let own = r#"{"targets": {"jira": {"groups": {"prefix": "kc-"}}}}"#;
        assert_ne!(of(own), of("{}"));
        assert_eq!(of(own), of(r#"{"groups": {"prefix": "kc-"}}"#));
        assert_eq!(of(own), of(r#"{"groups": {"suffix": "-x"}, "targets": {"jira": {"groups": {"prefix": "kc-"}}}}"#));
        assert_eq!(of(r#"{"groups": {"prefix": "kc-"}, "targets": {"jira": {"groups": {}}}}"#), of("{}"));
        assert_eq!(of(r#"{"targets": {"wiki": {"groups": {"prefix": "kc-"}}}}"#), of("{}"));
    }

    #[test]
    fn only_settings_that_differ_from_the_defaults_count() {
        use serde_json::json;
        let default = json!({ "a": 1, "b": { "c": 2, "d": [] }, "e": null });
        for (value, left) in [
            (default.clone(), None),
            (json!({ "a": 1, "b": { "c": 3, "d": [] }, "e": null }), Some(json!({ "b": { "c": 3 } }))),
            (json!({ "a": 2, "new": 1, "e": {} }), Some(json!({ "a": 2, "new": 1, "e": {} }))),
        ] {
            assert_eq!(without(value, &default), left);
        }
    }

    #[test]
    fn a_policy_uses_roles_and_organizations_only_if_it_names_some() {
        let uses = |json: &str| serde_json::from_str::<Policy>(json).unwrap().uses();
        assert_eq!(uses("{}"), Uses::default());
        let organizations = r#"{"scope": {"required_organizations": ["acme"]}}"#;
        assert_eq!(uses(organizations), Uses { roles: false, organizations: true });
        assert_eq!(uses(r#"{"scope": {"excluded_roles": ["r"]}}"#), Uses { roles: true, organizations: false });
    }

    #[test]
    fn the_roles_of_a_policy_are_those_of_its_scope_and_its_groups() {
        let of = |json: &str| {
            let policy = serde_json::from_str::<Policy>(json).unwrap();
            let roles: Vec<String> = policy.roles().iter().map(ToString::to_string).collect();
            assert_eq!(policy.uses_roles(), !roles.is_empty(), "{json}");
            roles.join(" ")
        };
        assert_eq!(of(r#"{"groups": {"constant": [{"name": "a"}]}}"#), "");
        assert_eq!(of(r#"{"scope": {"required_roles": ["b", "jira/a"]}}"#), "b jira/a");
        assert_eq!(of(r#"{"scope": {"excluded_roles": ["b"]}}"#), "b");
        assert_eq!(of(r#"{"groups": {"constant": [{"name": "a", "roles": ["c"]}]}}"#), "c");
    }

    #[test]
    fn a_target_has_its_own_attributes_and_its_templates_come_before_those_of_the_connector() {
        let json = r#"{
            "account": {"login": "{{ username | upper }}", "email": "{{ attributes.mail }}"},
            "targets": {
                "jira": {"account": {"login": "{{ email }}"}, "attributes": {"dept": "{{ attributes.dept }}"}},
                "confluence": {}
            }
        }"#;
        let policy: Policy = serde_json::from_str(json).unwrap();
        let of = |target: &str| {
            let rules = policy.account_rules(&target.into());
            let text = |rule: Option<&AttributeRule>| rule.map(|rule| rule.template.to_string());
            let attributes = rules.attributes.keys().cloned().collect::<Vec<_>>().join(" ");
            (text(rules.login), text(rules.display_name), text(rules.email), attributes)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of("jira"), (text("{{ email }}"), None, text("{{ attributes.mail }}"), "dept".into()));
        for other in ["confluence", "gitlab"] {
            assert_eq!(of(other), (text("{{ username | upper }}"), None, text("{{ attributes.mail }}"), String::new()));
        }
    }
}
