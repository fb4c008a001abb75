//! Templates that render a text from the user at the source: Jinja's `{{ … }}`, with a few filters of usersync.

use std::{collections::BTreeMap, fmt, sync::Arc};

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};

mod filters;
mod group;

pub use group::GroupTemplate;

use super::{UserOrganizations, UserRoles, UserState};

/// The name of a template within its own environment.
const NAME: &str = "template";
/// Maximum number of steps of one rendering: more than any value needs, so that no loop blocks a run.
const FUEL: u64 = 100_000;
/// Maximum length of a rendered text, in bytes.
const LONGEST: usize = 64 << 10;
/// The names that a template can use.
const KNOWN: [&str; 10] = [
    "id",
    "username",
    "first_name",
    "last_name",
    "email",
    "email_verified",
    "enabled",
    "attributes",
    "values",
    "groups",
];

/// A template that was checked to be well-formed and to work for a user with nothing but a login.
#[derive(Clone)]
pub struct Template(Arc<Compiled>);

/// A well-formed template.
struct Compiled {
    text: Arc<str>,
    environment: Environment<'static>,
    /// The known names that it uses.
    uses: Vec<&'static str>,
}

/// Why a template does not work, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

impl TemplateError {
    /// Start of the message where a template is part of a larger input.
    pub const PREFIX: &str = "this template is invalid";
}

impl From<Error> for TemplateError {
    fn from(error: Error) -> Self {
        let what = match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => "rendering takes too long".to_owned(),
            (kind, Some(detail)) => format!("{kind}: {detail}"),
            (kind, None) => kind.to_string(),
        };
        Self(what)
    }
}

impl Compiled {
    /// Parses a template that may use these names.
    pub fn new(text: Arc<str>, known: &[&'static str]) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        filters::add_to(&mut environment);
        environment.add_template_owned(NAME, text.to_string())?;
        let unknown = environment.get_template(NAME)?.undeclared_variables(false);
        let uses = known.iter().copied().filter(|name| unknown.contains(*name)).collect();
        let mut unknown: Vec<_> = unknown.iter().filter(|name| !known.contains(&name.as_str())).collect();
        unknown.sort();
        if let Some(name) = unknown.first() {
            let known = known.join(", ");
            let hint = format!("custom attributes are written as attributes.{name}; also available: {known}");
            return Err(TemplateError(format!("unknown variable {name}: {hint}")));
        }
        Ok(Self { text, environment, uses })
    }

    /// Returns the known names that it uses.
    pub fn uses(&self) -> &[&'static str] {
        &self.uses
    }

    /// Returns the template as it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Renders the template with these values, and trims white space around the text.
    pub fn render(&self, context: Value) -> Result<String, TemplateError> {
        let made = self.environment.get_template(NAME)?.render(context)?;
        if made.len() > LONGEST {
            return Err(TemplateError(format!("its result is longer than {LONGEST} bytes")));
        }
        Ok(made.trim().to_owned())
    }
}

impl Template {
    /// Parses and checks a template.
    ///
    /// # Errors
    /// The template is invalid; the error says why.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, TemplateError> {
        let template = Self(Arc::new(Compiled::new(text.into(), &KNOWN)?));
        template.render(&nobody())?;
        Ok(template)
    }

    /// Returns the properties of a user that it uses.
    pub fn uses(&self) -> &[&'static str] {
        self.0.uses()
    }

    /// Renders the template for a user, and trims white space around the text.
    pub fn render(&self, user: &UserState) -> Result<String, TemplateError> {
        self.0.render(context(user, self.uses()))
    }
}

/// Returns a user with nothing but a login.
fn nobody() -> UserState {
    UserState {
        id: "0".into(),
        username: "nobody".to_owned(),
        first_name: None,
        last_name: None,
        email: None,
        email_verified: Some(false),
        enabled: true,
        federation_link: None,
        attributes: BTreeMap::new(),
        groups: Vec::new(),
        parent_groups: Vec::new(),
        roles: UserRoles::default(),
        organizations: UserOrganizations::default(),
    }
}

/// Returns the values with these names. For an attribute with several values, `attributes` has the first and `values` has
/// all.
fn context(user: &UserState, names: &[&'static str]) -> Value {
    let text = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
    let value = |name: &'static str| match name {
        "id" => Value::from(user.id.as_str()),
        "username" => Value::from(user.username.as_str()),
        "first_name" => text(&user.first_name),
        "last_name" => text(&user.last_name),
        "email" => text(&user.email),
        "email_verified" => user.email_verified.map_or(Value::UNDEFINED, Value::from),
        "enabled" => Value::from(user.enabled),
        "attributes" => {
            let first =
                user.attributes.iter().filter_map(|(name, values)| Some((name.as_str(), values.first()?.as_str())));
            Value::from_pairs(first)
        }
        "values" => {
            Value::from_pairs(user.attributes.iter().map(|(name, values)| (name.as_str(), Value::from(values.clone()))))
        }
        "groups" => user.groups.iter().map(|group| Value::from(group.own_name().as_ref())).collect(),
        _ => Value::UNDEFINED,
    };
    Value::from_pairs(names.iter().map(|name| (*name, value(name))))
}

/// Implements comparison, display and serde of a template by its text.
macro_rules! shown_as_text {
    ($($template:ident),*) => {$(
        impl PartialEq for $template {
            fn eq(&self, other: &Self) -> bool {
                self.0.text() == other.0.text()
            }
        }

        impl fmt::Debug for $template {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($template)).field(self.0.text()).finish()
            }
        }

        impl fmt::Display for $template {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.text())
            }
        }

        impl Serialize for $template {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.text())
            }
        }

        impl<'de> Deserialize<'de> for $template {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(|error| serde::de::Error::custom(format!("{}: {error}", TemplateError::PREFIX)))
            }
        }
    )*};
}
shown_as_text!(Template, GroupTemplate);

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> UserState {
        let attributes = [("dept", vec!["R&D", "Ops"]), ("cost-centre", vec!["DE 4711"]), ("none", vec![])];
        UserState {
            username: "ada".to_owned(),
            first_name: Some("Ada".to_owned()),
            attributes: attributes
                .into_iter()
                .map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()))
                .collect(),
            ..nobody()
        }
    }

    fn made(text: &str) -> String {
        Template::new(text).expect("well-formed").render(&ada()).expect("renders")
    }

    fn wrong(text: &str) -> String {
        Template::new(text).expect_err("not well-formed").to_string()
    }

    #[test]
    fn a_text_is_made_of_what_is_known() {
        assert_eq!(made("{{ attributes.dept }}"), "R&D");
        assert_eq!(made("{{ values.dept | join(', ') }}"), "R&D, Ops");
        assert_eq!(made("{{ attributes['cost-centre'] | regex_replace('^([A-Z]+) ', '$1-') }}"), "DE-4711");
        assert_eq!(made(" {{ first_name | upper }} {{ last_name }} "), "ADA");
        assert_eq!(made("{{ attributes.nothing | default('none', true) }}"), "none");
        assert_eq!(made("{{ username | replace('a', 'e') | lower }}"), "ede");
        assert_eq!(made("{% if attributes.dept %}staff{% else %}guest{% endif %}"), "staff");
        assert_eq!(made("plain"), "plain");
        assert_eq!(made("{{ 'on' if enabled else 'off' }}"), "on");
    }

    #[test]
    fn what_is_not_there_makes_an_empty_text() {
        for text in ["{{ attributes.nothing }}", "{{ attributes.none }}", "{{ email }}", "{{ values.nothing | join }}"]
        {
            assert_eq!(made(text), "", "{text}");
        }
    }

    #[test]
    fn a_template_that_cannot_work_is_refused_in_words() {
        assert!(wrong("{{ department }}").contains("unknown variable department: custom attributes are written"));
        assert!(wrong("{{ username ").contains("syntax error"), "{}", wrong("{{ username "));
        assert!(wrong("{{ username | shout }}").contains("shout"), "{}", wrong("{{ username | shout }}"));
        assert!(wrong("{{ username | regex_replace('(', '') }}").contains("the pattern ( is invalid"));
        assert!(wrong("{% for a in range(9) %}x{% endfor %}").contains("unknown variable range"));
    }

    #[test]
    fn a_template_that_goes_on_and_on_ends() {
        let text = "{% for a in values.many %}{% for b in values.many %}{% for c in values.many %}x{% endfor %}{% endfor %}{% endfor %}";
        let mut user = ada();
        user.attributes.insert("many".to_owned(), vec!["x".to_owned(); 100]);
        let template = Template::new(text).expect("well-formed");
        assert_eq!(template.render(&user).expect_err("endless").to_string(), "rendering takes too long");
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        let template: Template = serde_json::from_str(r#""{{ email }}""#).expect("well-formed");
        assert_eq!(serde_json::to_string(&template).expect("JSON"), r#""{{ email }}""#);
        assert!(serde_json::from_str::<Template>(r#""{{""#).is_err());
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_known_ones() {
        let known = "id, username, first_name, last_name, email, email_verified, enabled, attributes, values, groups";
        for (text, first) in [("{{ department }}", "department"), ("{{ team }}{{ city }}", "city")] {
            let hint = format!("custom attributes are written as attributes.{first}; also available: {known}");
            assert_eq!(wrong(text), format!("unknown variable {first}: {hint}"));
        }
    }

    #[test]
    fn a_template_can_use_every_property_of_a_user() {
        let group =
            |name: &str| Arc::new(crate::model::GroupState::new(name.into(), name.to_owned(), format!("/{name}")));
        let user = UserState {
            id: "u1".into(),
            last_name: Some("Lovelace".to_owned()),
            email: Some("ada@example.org".to_owned()),
            email_verified: Some(true),
            enabled: false,
            groups: vec![group("eng"), group("ops")],
            ..ada()
        };
        for (text, expected) in [
            ("{{ id }}", "u1"),
            ("{{ username }}", "ada"),
            ("{{ first_name }} {{ last_name }}", "Ada Lovelace"),
            ("{{ email }}", "ada@example.org"),
            ("{{ email if email_verified }}", "ada@example.org"),
            ("{{ 'active' if enabled else 'inactive' }}", "inactive"),
            ("{{ attributes.dept }}", "R&D"),
            ("{{ values.dept[1] }}", "Ops"),
            ("{{ groups | join(' ') }}", "eng ops"),
        ] {
            assert_eq!(Template::new(text).unwrap().render(&user).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_result_has_at_most_64_kibibytes() {
        let template = Template::new("{{ attributes.long }}").unwrap();
        let of = |length| {
            let mut user = ada();
            user.attributes.insert("long".to_owned(), vec!["x".repeat(length)]);
            template.render(&user).map(|text| text.len()).map_err(|error| error.to_string())
        };
        assert_eq!(of(65_535), Ok(65_535));
        assert_eq!(of(65_536), Ok(65_536));
        assert_eq!(of(65_537), Err("its result is longer than 65536 bytes".to_owned()));
    }

    #[test]
    fn two_templates_are_equal_if_their_texts_are() {
        let of = |text| Template::new(text).unwrap();
        assert_eq!(of("{{ email }}"), of("{{ email }}"));
        assert_ne!(of("{{ email }}"), of("{{email}}"));
    }

    #[test]
    fn a_template_is_shown_as_its_text() {
        let template = Template::new(" {{ email }} ").unwrap();
        assert_eq!(template.to_string(), " {{ email }} ");
        assert_eq!(format!("{template:?}"), r#"Template(" {{ email }} ")"#);
    }

    #[test]
    fn an_invalid_template_in_a_larger_input_is_called_a_template() {
        let error = serde_json::from_str::<Template>(r#""{{ username | shout }}""#).unwrap_err().to_string();
        assert!(error.starts_with("this template is invalid: unknown filter: filter shout is unknown"), "{error}");
    }
}
