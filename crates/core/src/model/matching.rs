//! How a user without a link is matched to an account that exists in a target.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::Template;

/// A key by which a user is matched.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKey {
    /// The account has the login that the policy gives the user.
    Login,
    /// The account has the e-mail address that the policy gives the user.
    Email,
    /// The account has the login that this template gives, such as a former one.
    OtherLogin(Template),
    /// An attribute of the account has a value.
    Attribute {
        /// The attribute, by the target's own name.
        attribute: String,
        /// The template of the value.
        equals: Template,
    },
}

/// The rules for matching of a connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matching {
    /// The keys, in this order: the first one that finds an account decides.
    pub by: Vec<MatchKey>,
    /// Whether an e-mail address that Keycloak has not verified counts too. A user can enter another person's address.
    pub unverified_email: bool,
}

/// The rules for matching in one target, in place of those of the connector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetMatching {
    /// The keys; `None`: those of the connector.
    pub by: Option<Vec<MatchKey>>,
    /// Whether an e-mail address that Keycloak has not verified counts too; `None`: as in the connector.
    pub unverified_email: Option<bool>,
}

/// How an account was found for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// By the login that the policy gives the user.
    #[default]
    Login,
    /// By the e-mail address.
    Email,
    /// By the login that a template of the policy's matching gives.
    OtherLogin,
    /// By this attribute.
    Attribute(String),
    /// An operator requested the link.
    Operator,
}

impl Default for Matching {
    fn default() -> Self {
        Self { by: vec![MatchKey::Login], unverified_email: false }
    }
}

/// The rules for matching in one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatchRules<'p> {
    /// The keys, in their order.
    pub by: &'p [MatchKey],
    /// Whether an e-mail address that Keycloak has not verified counts too.
    pub unverified_email: bool,
}

impl<'p> MatchRules<'p> {
    /// The rules without any setting.
    pub const BY_LOGIN: MatchRules<'static> = MatchRules { by: &[MatchKey::Login], unverified_email: false };

    /// Returns the rules of a connector for one of its targets.
    pub fn new(general: &'p Matching, own: Option<&'p TargetMatching>) -> Self {
        Self {
            by: own.and_then(|own| own.by.as_ref()).unwrap_or(&general.by),
            unverified_email: own.and_then(|own| own.unverified_email).unwrap_or(general.unverified_email),
        }
    }

    /// Returns whether users are matched by their logins only, as without any setting.
    pub fn is_by_login_only(&self) -> bool {
        self.by == [MatchKey::Login]
    }

    /// Returns whether the login is a key.
    pub fn has_login(&self) -> bool {
        self.by.contains(&MatchKey::Login)
    }

    /// Returns the attributes that are compared.
    pub fn attributes(&self) -> impl Iterator<Item = &'p str> + use<'p> {
        self.by.iter().filter_map(|key| match key {
            MatchKey::Attribute { attribute, .. } => Some(attribute.as_str()),
            _ => None,
        })
    }
}

impl MatchKey {
    /// Returns how an account is found by this key.
    pub fn matched_by(&self) -> MatchedBy {
        match self {
            Self::Login => MatchedBy::Login,
            Self::Email => MatchedBy::Email,
            Self::OtherLogin(_) => MatchedBy::OtherLogin,
            Self::Attribute { attribute, .. } => MatchedBy::Attribute(attribute.clone()),
        }
    }
}

impl<'de> Deserialize<'de> for MatchKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            login: Option<Template>,
            attribute: Option<String>,
            equals: Option<Template>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = MatchKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"login\", \"email\", { login = TEMPLATE } or { attribute = NAME, equals = TEMPLATE }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MatchKey, E> {
                match text {
                    "login" => Ok(MatchKey::Login),
                    "email" => Ok(MatchKey::Email),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MatchKey, A::Error> {
                match Whole::deserialize(MapAccessDeserializer::new(map))? {
                    Whole { login: Some(login), attribute: None, equals: None } => Ok(MatchKey::OtherLogin(login)),
                    Whole { login: None, attribute: Some(attribute), equals: Some(equals) } => {
                        Ok(MatchKey::Attribute { attribute, equals })
                    }
                    _ => Err(de::Error::invalid_value(de::Unexpected::Map, &self)),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl fmt::Display for MatchedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login => f.write_str("login"),
            Self::Email => f.write_str("e-mail address"),
            Self::OtherLogin => f.write_str("another login"),
            Self::Attribute(name) => write!(f, "attribute {name}"),
            Self::Operator => f.write_str("an operator"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::new(text).unwrap()
    }

    fn rules(matching: &Matching) -> MatchRules<'_> {
        MatchRules::new(matching, None)
    }

    #[test]
    fn keys_are_words_or_tables() {
        let json = r#"{"by": ["login", "email", {"login": "{{ attributes.old }}"},
                       {"attribute": "externalId", "equals": "{{ id }}"}], "unverified_email": true}"#;
        let matching: Matching = serde_json::from_str(json).unwrap();
        let other = MatchKey::OtherLogin(template("{{ attributes.old }}"));
        let attribute = MatchKey::Attribute { attribute: "externalId".to_owned(), equals: template("{{ id }}") };
        let by = vec![MatchKey::Login, MatchKey::Email, other, attribute];
        assert_eq!(rules(&matching).attributes().collect::<Vec<_>>(), ["externalId"]);
        assert_eq!(matching, Matching { by, unverified_email: true });
        let words: Vec<String> = matching.by.iter().map(|key| key.matched_by().to_string()).collect();
        assert_eq!(words, ["login", "e-mail address", "another login", "attribute externalId"]);
        assert!(rules(&matching).has_login() && !rules(&matching).is_by_login_only());
    }

    #[test]
    fn without_a_setting_users_are_matched_by_login() {
        let matching: Matching = serde_json::from_str("{}").unwrap();
        assert!(rules(&matching).is_by_login_only());
        assert_eq!(rules(&matching), MatchRules::BY_LOGIN);
        assert!(!MatchRules { by: &[], unverified_email: false }.has_login());
    }

    #[test]
    fn a_target_has_its_own_keys_in_place_of_those_of_the_connector() {
        let general = Matching { by: vec![MatchKey::Email], unverified_email: true };
        for (json, by, unverified_email) in [
            ("{}", MatchKey::Email, true),
            (r#"{"by": ["login"]}"#, MatchKey::Login, true),
            (r#"{"unverified_email": false}"#, MatchKey::Email, false),
        ] {
            let own: TargetMatching = serde_json::from_str(json).unwrap();
            assert_eq!(MatchRules::new(&general, Some(&own)), MatchRules { by: &[by], unverified_email }, "{json}");
        }
    }

    #[test]
    fn a_wrong_key_is_refused_with_the_possible_ones() {
        let forms = "\"login\", \"email\", { login = TEMPLATE } or { attribute = NAME, equals = TEMPLATE }";
        for (key, reason) in [
            ("\"mail\"", format!("invalid value: string \"mail\", expected {forms}")),
            ("7", format!("invalid type: integer `7`, expected {forms}")),
            ("{}", format!("invalid value: map, expected {forms}")),
            (r#"{"attribute": "externalId"}"#, format!("invalid value: map, expected {forms}")),
            (r#"{"login": "{{ old }}"}"#, "this template is invalid: unknown variable old".to_owned()),
            (r#"{"mail": "x"}"#, "unknown field `mail`, expected one of `login`, `attribute`, `equals`".to_owned()),
        ] {
            let error = serde_json::from_str::<MatchKey>(key).unwrap_err().to_string();
            assert!(error.starts_with(&reason), "{key}: {error}");
        }
    }
}
