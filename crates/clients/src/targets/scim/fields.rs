//! Fields of an account: reading them from its resource, and the edits that write them.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{
    ScimTarget,
    attributes::Path,
    discovery::Service,
    profile::{Names, Profile},
    wire::{Edit, Resource, USER, field, principal},
};
use crate::{
    model::{Account, UserFields, UserId},
    targets::rest::Protection,
};

/// Attributes requested if `groups` must be requested explicitly.
const WITH_GROUPS: &str = "userName,displayName,name,emails,active,groups";
const DISPLAY_NAME: &str = "displayName";
const EMAIL: &str = "emails";

impl ScimTarget {
    /// Returns the attributes to request if `groups` must be requested explicitly.
    pub(super) fn with_groups(&self) -> String {
        self.attributes.iter().fold(WITH_GROUPS.to_owned(), |asked, path| asked + "," + &path.attribute())
    }

    /// Builds an account from a resource, without its groups; `None` if a required field is missing. A list may omit
    /// attributes, so attributes seen in lists are recorded separately.
    pub(super) fn account_in(&self, user: &Resource, protection: &Protection, list: bool) -> Option<Account> {
        let mut account = user.account(&self.profile, protection)?;
        if user.inner("name", "givenName").or_else(|| user.inner("name", "familyName")).is_some() {
            self.learned.name_parts.store(true, Ordering::Relaxed);
        }
        let shown = if list { &self.learned.shown_in_lists } else { &self.learned.shown };
        let mut shown = shown.lock();
        for path in &self.attributes {
            let value = path.value(user);
            if value.is_some() && !shown.contains(&path.text) {
                shown.insert(path.text.clone());
            }
            if value.is_some() || shown.contains(&path.text) {
                account.attributes.insert(path.text.clone(), value.unwrap_or_default());
            }
        }
        drop(shown);
        for path in &self.match_paths {
            let (name, path) = path;
            if let Some(value) = path.value(user) {
                account.attributes.insert(name.clone(), value);
            }
        }
        Some(account)
    }

    /// Builds a new active user without further attributes.
    pub(super) fn new_user(&self, name: &str, fields: &UserFields, external_id: Option<&UserId>) -> Resource {
        let shown = filled(fields.display_name.as_ref()).unwrap_or(name);
        let mut user = Resource::default();
        user.set("schemas", json!([USER]));
        user.set("userName", json!(name));
        user.set("active", json!(true));
        if let Some(id) = external_id {
            user.set("externalId", json!(id.as_str()));
        }
        for edit in self.name_edits(shown, true) {
            user.apply(&edit);
        }
        // All name attributes are sent, even if they are kept apart: a server may store only some of them.
        user.set("displayName", json!(shown));
        user.set("name.formatted", json!(shown));
        if let Some(email) = filled(fields.email.as_ref()) {
            user.set("emails", json!([address(email)]));
        }
        user
    }

    /// Returns the edits that set a display name. `displayName`, `name.formatted` and, if accounts have them, given and
    /// family name are written together, so that none keeps a former name. If the policy maps the parts, they are not
    /// derived from the display name.
    pub(super) fn name_edits(&self, shown: &str, new: bool) -> Vec<Edit> {
        let names = self.profile.names;
        let by_policy = self.attributes.iter().any(Path::is_part_of_name);
        let has_parts = self.learned.name_parts.load(Ordering::Relaxed) && !new;
        let mut edits = Vec::new();
        if names != Names::Split {
            edits.push(Edit::new("displayName", shown));
            edits.push(Edit::new("name.formatted", shown));
        }
        if !by_policy && (names != Names::Whole || has_parts) {
            let (given, family) = Profile::split(shown);
            edits.push(Edit::new("name.givenName", given));
            edits.push(Edit::new("name.familyName", family));
        }
        edits
    }

    /// Returns the edits for further attributes; only those that the policy named when this client was created.
    pub(super) fn attribute_edits(
        &self,
        service: &Service,
        before: Option<&Resource>,
        fields: &UserFields,
    ) -> Vec<Edit> {
        let known = self.attributes.iter().zip(&service.declared).filter(|(_, declared)| declared.is_writable());
        let mut now = before.cloned().unwrap_or_default();
        let wanted = known.filter_map(|(path, declared)| Some((path, declared, fields.attributes.get(&path.text)?)));
        let edit = wanted.map(|(path, declared, value)| {
            let edit = path.edit(Some(&now), value, *declared);
            // Two paths may lead to values of one attribute.
            now.apply(&edit);
            edit
        });
        let mut edits: Vec<Edit> = Vec::new();
        for edit in edit {
            edits.retain(|former| former.path != edit.path);
            edits.push(edit);
        }
        edits
    }
}

/// Returns a value with content; `None` if it is missing or blank.
pub(super) fn filled(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.trim().is_empty())
}

/// Returns the names of the attributes that an update changes.
pub(super) fn aspects(fields: &UserFields) -> Vec<&str> {
    let name = fields.display_name.as_ref().map(|_| DISPLAY_NAME);
    let email = fields.email.as_ref().map(|_| EMAIL);
    name.into_iter().chain(email).chain(fields.attributes.keys().map(String::as_str)).collect()
}

/// Returns the value of one of these attributes.
pub(super) fn value_of<'a>(account: &'a Account, aspect: &str) -> Option<&'a str> {
    match aspect {
        DISPLAY_NAME => Some(&account.display_name),
        EMAIL => account.email.as_deref(),
        attribute => account.attributes.get(attribute).map(String::as_str),
    }
}

/// Builds the value of a new e-mail address.
fn address(email: &str) -> Value {
    json!({ "value": email, "type": "work", "primary": true })
}

/// Replaces the principal e-mail address; the others stay.
pub(super) fn with_address(mut present: Vec<Value>, email: &str) -> Value {
    match principal(&present) {
        Some(at) => {
            let mut one = Resource(present[at].as_object().cloned().unwrap_or_default());
            let primary = field(&present[at], "primary").is_some();
            one.set("value", json!(email));
            if !primary {
                one.set("primary", json!(true));
            }
            present[at] = Value::Object(one.0);
        }
        None => present.push(address(email)),
    }
    Value::Array(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_address_takes_the_place_of_the_principal_one_only() {
        let present = vec![json!({"value": "a@home", "type": "home"}), json!({"value": "a@x", "type": "work"})];
        assert_eq!(
            with_address(present, "b@x"),
            json!([{"value": "a@home", "type": "home"}, {"value": "b@x", "type": "work", "primary": true}])
        );
        assert_eq!(with_address(Vec::new(), "b@x"), json!([{"value": "b@x", "type": "work", "primary": true}]));
    }
}
