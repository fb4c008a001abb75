//! The policy settings of a connector.

use std::{collections::BTreeMap, fmt};

use jiff::SignedDuration;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self, MapAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

use super::{GroupRules, LeaverRules, Scope, TargetName, Template};

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
    /// Percentage of the active linked accounts; for deleting groups, of the managed groups.
    pub percent: f64,
    /// Percentage of the granted memberships, for removing memberships.
    pub remove_members_percent: f64,
}

impl Default for Safety {
    fn default() -> Self {
        Self { count: 20, percent: 5.0, remove_members_percent: 10.0 }
    }
}

/// When an attribute is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Whenever it differs.
    #[default]
    Always,
    /// With a new account only; afterwards it belongs to the target.
    Create,
}

/// The effect of an empty value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    /// It keeps the current value.
    #[default]
    Keep,
    /// It clears the current value.
    Clear,
}

/// Rule for one further attribute of an account. A template alone stands for a rule with the defaults.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeRule {
    /// The template of its value.
    pub template: Template,
    /// When it is written.
    pub when: When,
    /// The effect of an empty value.
    pub empty: Empty,
}

/// Rules for further attributes, by the target's own attribute names.
pub type AttributeRules = BTreeMap<String, AttributeRule>;

impl<'de> Deserialize<'de> for AttributeRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            template: Template,
            #[serde(default)]
            when: When,
            #[serde(default)]
            empty: Empty,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = AttributeRule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template, or a table with template, when and empty")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AttributeRule, E> {
                let template = Template::deserialize(StrDeserializer::new(text))?;
                Ok(AttributeRule { template, when: When::default(), empty: Empty::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AttributeRule, A::Error> {
                let Whole { template, when, empty } = Whole::deserialize(MapAccessDeserializer::new(map))?;
                Ok(AttributeRule { template, when, empty })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Policy of a connector for one of its targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetPolicy {
    /// Attributes other than login, display name and e-mail address.
    pub attributes: AttributeRules,
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
    /// What happens to the accounts of users that have left; default: they are deactivated.
    pub leavers: LeaverRules,
    /// Policies for single targets.
    pub targets: BTreeMap<TargetName, TargetPolicy>,
}

impl Policy {
    /// Returns the rules for further attributes in a target.
    pub fn attributes_of(&self, target: &TargetName) -> &AttributeRules {
        static NONE: AttributeRules = AttributeRules::new();
        self.targets.get(target).map_or(&NONE, |target| &target.attributes)
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
            leavers: LeaverRules::default(),
            targets: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str, when: When, empty: Empty) -> AttributeRule {
        AttributeRule { template: Template::new(text).unwrap(), when, empty }
    }

    #[test]
    fn a_template_alone_stands_for_a_rule_with_the_defaults() {
        for (json, expected) in [
            (r#""{{ email }}""#, rule("{{ email }}", When::Always, Empty::Keep)),
            (r#"{"template":"{{ email }}"}"#, rule("{{ email }}", When::Always, Empty::Keep)),
            (r#"{"template":"x","when":"create","empty":"clear"}"#, rule("x", When::Create, Empty::Clear)),
        ] {
            let read: AttributeRule = serde_json::from_str(json).unwrap();
            assert_eq!(read, expected, "{json}");
            let written = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<AttributeRule>(&written).unwrap(), expected, "{written}");
        }
    }

    #[test]
    fn an_invalid_rule_is_refused_with_the_reason() {
        for (json, reason) in [
            ("7", "invalid type: integer `7`, expected a template, or a table with template, when and empty"),
            (r#""{{ team }}""#, "this template is invalid: unknown variable team"),
            (r#"{"template":"{{ team }}"}"#, "this template is invalid: unknown variable team"),
            (r#"{"when":"create"}"#, "missing field `template`"),
            (r#"{"template":"x","then":"y"}"#, "unknown field `then`, expected one of `template`, `when`, `empty`"),
        ] {
            let error = serde_json::from_str::<AttributeRule>(json).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{json}: {error}");
        }
    }

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
    fn the_attribute_rules_of_a_target_are_its_own() {
        let json = r#"{"targets":{"jira":{"attributes":{"dept":"{{ attributes.dept }}"}},"confluence":{}}}"#;
        let policy: Policy = serde_json::from_str(json).unwrap();
        let dept = rule("{{ attributes.dept }}", When::Always, Empty::Keep);
        assert_eq!(*policy.attributes_of(&"jira".into()), AttributeRules::from([("dept".to_owned(), dept)]));
        for other in ["confluence", "gitlab"] {
            assert_eq!(*policy.attributes_of(&other.into()), AttributeRules::new(), "{other}");
        }
    }
}
