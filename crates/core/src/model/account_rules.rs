//! Which values the accounts in a target get, and when they are written.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self, MapAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

use super::{MatchRules, Template};

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

/// Templates of the values that every account has. A value without a template comes from Keycloak: the username, the
/// first and last name, the e-mail address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountTemplates {
    /// The login.
    pub login: Option<AttributeRule>,
    /// The display name.
    pub display_name: Option<AttributeRule>,
    /// The e-mail address.
    pub email: Option<AttributeRule>,
}

/// The rules for the accounts in one target.
#[derive(Clone, Copy, Debug)]
pub struct AccountRules<'p> {
    /// The rule for the login; `None`: the username in Keycloak.
    pub login: Option<&'p AttributeRule>,
    /// The rule for the display name; `None`: the first and last name in Keycloak.
    pub display_name: Option<&'p AttributeRule>,
    /// The rule for the e-mail address; `None`: the one in Keycloak.
    pub email: Option<&'p AttributeRule>,
    /// The rules for further attributes.
    pub attributes: &'p AttributeRules,
    /// How a user without a link is matched to an account.
    pub matching: MatchRules<'p>,
}

impl<'p> AccountRules<'p> {
    /// Returns rules that only have further attributes.
    pub fn of_attributes(attributes: &'p AttributeRules) -> Self {
        Self { login: None, display_name: None, email: None, attributes, matching: MatchRules::BY_LOGIN }
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
}
