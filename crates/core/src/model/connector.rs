//! What a connector is told to do.

use std::{collections::BTreeMap, fmt};

use jiff::SignedDuration;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self, MapAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

use super::{TargetName, Template};

/// Whether the first run of a connector on a target waits for approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstRun {
    /// It is planned, and waits for approval.
    #[default]
    Hold,
    /// It is applied at once.
    Apply,
}

/// What to do with an account or group that existed before usersync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptRule {
    /// Adopt in the first run, hold afterwards.
    #[default]
    FirstRun,
    /// Adopt at any time.
    Always,
}

/// Safety limits: at most `count` or `percent` of the whole, whichever is larger, never more than half,
/// in a rolling hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Safety {
    /// So many are always allowed.
    pub count: u32,
    /// Percent of the active linked accounts (of the managed groups, for deleting groups).
    pub percent: f64,
    /// Percent of the memberships that were given, for removing memberships.
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
    /// With a new account only; afterwards it is the target's.
    Create,
}

/// What an empty value does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    /// It leaves what is there.
    #[default]
    Keep,
    /// It takes away what is there.
    Clear,
}

/// How one further attribute of an account is made; a template alone stands for one with the defaults.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeRule {
    /// What it is made of.
    pub template: Template,
    /// When it is written.
    pub when: When,
    /// What an empty value does.
    pub empty: Empty,
}

/// Further attributes by the target's own names for them.
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

/// What a connector wants of one of its targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetPolicy {
    /// Attributes beside login, display name and e-mail address.
    pub attributes: AttributeRules,
}

/// What a connector wants of its targets. The defaults are those of the design; more options come with the full policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether the first run waits for approval.
    pub first_run: FirstRun,
    /// What happens to accounts and groups that existed before usersync.
    pub adopt: AdoptRule,
    /// The safety limits.
    pub safety: Safety,
    /// How long after it was last seen alive an id's link moves by itself to a new id with the same login; `24h`.
    pub same_person_within: SignedDuration,
    /// What is wanted of one target only.
    pub targets: BTreeMap<TargetName, TargetPolicy>,
}

impl Policy {
    /// The further attributes of accounts in a target.
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
            targets: BTreeMap::new(),
        }
    }
}
