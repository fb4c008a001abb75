//! Templates that render a text from a group at the source.

use std::{collections::BTreeMap, sync::Arc};

use minijinja::Value;

use super::{Compiled, TemplateError};
use crate::model::{GroupState, path_names};

/// The names that a template of a group can use.
const KNOWN: [&str; 5] = ["path", "name", "names", "attributes", "values"];

/// A template of groups that was checked to be well-formed and to work for a group without attributes.
#[derive(Clone)]
pub struct GroupTemplate(pub(super) Arc<Compiled>);

impl GroupTemplate {
    /// Parses and checks a template.
    ///
    /// # Errors
    /// The template is invalid; the error says why.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, TemplateError> {
        let template = Self(Arc::new(Compiled::new(text.into(), &KNOWN)?));
        let mut group = GroupState::new("0".into(), "group".to_owned(), "/group".to_owned());
        group.attributes = Some(BTreeMap::new());
        template.render(&group)?;
        Ok(template)
    }

    /// Returns whether it uses the attributes of groups.
    pub fn uses_attributes(&self) -> bool {
        self.0.uses().iter().any(|name| matches!(*name, "attributes" | "values"))
    }

    /// Renders the template for a group as read, and trims white space around the text.
    ///
    /// # Errors
    /// The template fails for this group, or uses attributes that were not read.
    pub fn render(&self, group: &GroupState) -> Result<String, TemplateError> {
        if self.uses_attributes() && group.attributes.is_none() {
            return Err(TemplateError("Keycloak did not return the group's attributes".to_owned()));
        }
        self.0.render(context(group, self.0.uses()))
    }
}

fn context(group: &GroupState, names: &[&'static str]) -> Value {
    let attributes = || group.attributes.iter().flatten();
    let value = |name: &'static str| match name {
        "path" => Value::from(group.path.as_str()),
        "name" => Value::from(group.own_name().as_ref()),
        "names" => path_names(&group.path).map(Value::from).collect(),
        "attributes" => {
            Value::from_pairs(attributes().filter_map(|(name, values)| Some((name.as_str(), values.first()?.as_str()))))
        }
        "values" => Value::from_pairs(attributes().map(|(name, values)| (name.as_str(), Value::from(values.clone())))),
        _ => Value::UNDEFINED,
    };
    Value::from_pairs(names.iter().map(|name| (*name, value(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> GroupState {
        let attributes = [("sync", vec!["yes", "jira"]), ("none", vec![])];
        let attributes = attributes
            .into_iter()
            .map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()))
            .collect();
        let group = GroupState::new("1".into(), "kc-core".to_owned(), "/Eng/a~/b/core".to_owned());
        GroupState { attributes: Some(attributes), ..group }
    }

    #[test]
    fn a_template_can_use_every_property_of_a_group() {
        for (text, expected) in [
            ("{{ path }}", "/Eng/a~/b/core"),
            ("{{ name }}", "core"),
            ("{{ names | join('.') | lower }}", "eng.a/b.core"),
            ("{{ attributes.sync == 'yes' }}", "True"),
            ("{{ 'jira' in values.sync }}", "True"),
            ("{{ attributes.none }}{{ attributes.other }}", ""),
            ("{{ path | matches('^/Eng/.*/core$') }}", "True"),
            ("{{ path | matches('^/eng') }}", "False"),
            ("{{ path is matching('^/Eng') }}", "True"),
            ("{{ path | regex_replace('^/([^/]*)/.*$', '$1') }}", "Eng"),
        ] {
            assert_eq!(GroupTemplate::new(text).unwrap().render(&group()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn attributes_that_were_not_read_are_an_error_and_not_empty() {
        let unread = GroupState { attributes: None, ..group() };
        let of = |text: &str| GroupTemplate::new(text).unwrap().render(&unread).map_err(|error| error.to_string());
        for text in ["{{ attributes.sync != 'no' }}", "{{ values.sync }}"] {
            assert_eq!(of(text), Err("Keycloak did not return the group's attributes".to_owned()), "{text}");
        }
        assert_eq!(of("{{ names[0] }}"), Ok("Eng".to_owned()));
    }

    #[test]
    fn a_template_of_groups_does_not_know_the_names_of_users() {
        let wrong = |text: &str| GroupTemplate::new(text).unwrap_err().to_string();
        let unknown = "unknown variable username: custom attributes are written as attributes.username; also available: \
                       path, name, names, attributes, values";
        assert_eq!(wrong("{{ username }}"), unknown);
        assert!(
            wrong("{{ path | matches('(') }}").contains("the pattern ( is invalid"),
            "{}",
            wrong("{{ path | matches('(') }}")
        );
        let read: GroupTemplate = serde_json::from_str("\"{{ name }}\"").unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"{{ name }}\"");
    }
}
