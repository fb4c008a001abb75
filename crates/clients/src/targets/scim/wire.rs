//! SCIM's JSON. Resources are kept as received, so that unknown attributes can be written back. Attribute names are
//! compared case-insensitively (RFC 7643, section 2.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::profile::{Names, Profile};
use crate::{
    model::{Account, AccountId, TargetGroupId},
    targets::rest::Protection,
};

pub(super) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(super) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The two kinds of resources that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

/// Returns an attribute of a complex value; null counts as absent (RFC 7643, section 2.5).
pub(super) fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_object().and_then(|fields| attribute(fields, name))
}

fn attribute<'v>(fields: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let found = fields
        .get(name)
        .or_else(|| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

/// Returns a Boolean; some servers send it as text.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Returns a text, or a number sent in the place of a text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the key of an attribute as spelled in the resource, compared case-insensitively.
fn spelled(fields: &Map<String, Value>, name: &str) -> String {
    fields.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned().unwrap_or_else(|| name.to_owned())
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let key = spelled(fields, name);
    if value.is_null() {
        fields.remove(&key);
    } else {
        fields.insert(key, value);
    }
}

/// Changes the fields of a complex attribute; creates it if it is missing.
fn inside(fields: &mut Map<String, Value>, name: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let key = spelled(fields, name);
    let mut whole = match fields.remove(&key) {
        Some(Value::Object(whole)) => whole,
        _ => Map::new(),
    };
    change(&mut whole);
    fields.insert(key, Value::Object(whole));
}

/// A user, a group, or another SCIM resource.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Resource(pub Map<String, Value>);

impl Resource {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        attribute(&self.0, name)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(truth)
    }

    /// Returns a multi-valued attribute; a single value becomes a list of one.
    pub(super) fn list(&self, name: &str) -> Option<Vec<Value>> {
        match self.get(name)? {
            Value::Array(items) => Some(items.clone()),
            Value::Object(one) => Some(vec![Value::Object(one.clone())]),
            _ => None,
        }
    }

    /// Returns a sub-attribute of a complex attribute.
    pub(super) fn inner(&self, name: &str, sub: &str) -> Option<String> {
        self.get(name).and_then(|value| field(value, sub)).and_then(text)
    }

    /// Whether a sub-attribute is `true`.
    pub(super) fn inner_truth(&self, name: &str, sub: &str) -> Option<bool> {
        self.get(name).and_then(|value| field(value, sub)).and_then(truth)
    }

    /// Sets an attribute, a sub-attribute such as `name.formatted`, or an extension's attribute by its schema. Null
    /// removes it.
    pub(super) fn set(&mut self, path: &str, value: Value) {
        let (schema, path) = path.rsplit_once(':').map_or((None, path), |(schema, path)| (Some(schema), path));
        let (name, sub) = path.split_once('.').map_or((path, None), |(name, sub)| (name, Some(sub)));
        let set = |fields: &mut Map<String, Value>| match sub {
            Some(sub) => inside(fields, name, |inner| put(inner, sub, value)),
            None => put(fields, name, value),
        };
        match schema {
            Some(schema) => inside(&mut self.0, schema, set),
            None => set(&mut self.0),
        }
        if let Some(schema) = schema {
            self.has_schema(schema);
        }
    }

    /// Applies an edit.
    pub(super) fn apply(&mut self, edit: &Edit) {
        self.set(&edit.path, edit.value.clone());
    }

    /// Lists an extension in `schemas` only while it has attributes.
    fn has_schema(&mut self, schema: &str) {
        let empty = self.get(schema).and_then(Value::as_object).is_none_or(Map::is_empty);
        let mut schemas = self.list_of_texts("schemas");
        schemas.retain(|one| !one.eq_ignore_ascii_case(schema));
        if empty {
            put(&mut self.0, schema, Value::Null);
        } else {
            schemas.push(schema.to_owned());
        }
        put(&mut self.0, "schemas", json!(schemas));
    }

    /// Returns the texts of a multi-valued attribute.
    pub(super) fn list_of_texts(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(text).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            _ => Vec::new(),
        }
    }

    pub(super) fn id(&self) -> Option<String> {
        self.text("id")
    }

    /// Returns the version (RFC 7644, section 3.14), for answers without the header.
    pub(super) fn version(&self) -> Option<String> {
        self.inner("meta", "version")
    }

    /// Returns the display name.
    pub(super) fn shown(&self, names: Names) -> Option<String> {
        let joined = || {
            let part = |sub| self.inner("name", sub).unwrap_or_default();
            Some(Profile::joined(&part("givenName"), &part("familyName"))).filter(|name| !name.is_empty())
        };
        // GitLab returns it under the literal path.
        let formatted = || self.inner("name", "formatted").or_else(|| self.text("name.formatted"));
        let whole = || self.text("displayName").or_else(formatted);
        match names {
            Names::Whole | Names::Both => whole().or_else(joined),
            Names::Split => joined().or_else(whole),
        }
    }

    /// Returns the e-mail address to use: the primary one, else one of type work, else the first.
    pub(super) fn email(&self) -> Option<String> {
        let all = self.list("emails")?;
        all.get(principal(&all)?).and_then(|one| field(one, "value")).and_then(text)
    }

    /// Returns the ids of the groups that the user is a direct member of; `None`: the resource does not include them.
    pub(super) fn direct_groups(&self) -> Option<Vec<TargetGroupId>> {
        let direct = |group: &&Value| {
            field(group, "type").and_then(Value::as_str).is_none_or(|kind| !kind.eq_ignore_ascii_case("indirect"))
        };
        let groups = self.list("groups")?;
        // An unreadable entry could be any group, so the whole list is unknown.
        groups.iter().filter(direct).map(|group| reference(group).map(TargetGroupId::from)).collect()
    }

    /// Builds the account without its groups; `None` if a required field is missing.
    pub(super) fn account(&self, profile: &Profile, protection: &Protection) -> Option<Account> {
        let (id, name) = (self.id()?, self.text("userName")?);
        Some(Account {
            protected: protection.account(&id, &name, None),
            immutable: None,
            display_name: self.shown(profile.names).unwrap_or_else(|| name.clone()),
            email: self.email(),
            // An account without `active` counts as active.
            active: self.truth("active").unwrap_or(true),
            access: Vec::new(),
            attributes: BTreeMap::new(),
            groups: None,
            id: id.into(),
            name,
        })
    }
}

/// Returns the index of the principal e-mail address.
pub(super) fn principal(emails: &[Value]) -> Option<usize> {
    let primary = emails.iter().position(|one| field(one, "primary").and_then(truth) == Some(true));
    let work = || emails.iter().position(|one| field(one, "type").and_then(Value::as_str) == Some("work"));
    primary.or_else(work).or((!emails.is_empty()).then_some(0))
}

/// Returns the id that an entry of members or groups refers to.
fn reference(value: &Value) -> Option<String> {
    let by_address = || {
        let address = field(value, "$ref")?.as_str()?;
        address.trim_end_matches('/').rsplit('/').next().filter(|id| !id.is_empty()).map(str::to_owned)
    };
    field(value, "value").and_then(text).or_else(by_address)
}

/// Returns the accounts among a group's members, and the number of unreadable members.
pub(super) fn accounts_among(members: &[Value]) -> (Vec<AccountId>, usize) {
    let mut unread = 0;
    let is_group = |member: &&Value| {
        let kind = field(member, "type").and_then(Value::as_str);
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("group"))
    };
    let ids = members.iter().filter(|member| !is_group(member)).filter_map(|member| {
        let id = reference(member);
        unread += usize::from(id.is_none());
        id.map(AccountId::from)
    });
    let ids = ids.collect();
    (ids, unread)
}

/// A list (RFC 7644, section 3.4.2; cursors by RFC 9865).
pub(super) struct List {
    pub total: Option<usize>,
    pub next_cursor: Option<String>,
    pub items: Vec<Resource>,
}

impl List {
    /// Reads a list; `None` if the body is not a list.
    pub(super) fn read(mut body: Resource) -> Option<Self> {
        let number = |name| {
            let value = body.get(name)?;
            value.as_u64().or_else(|| value.as_str()?.parse().ok()).and_then(|number| usize::try_from(number).ok())
        };
        let total = number("totalResults");
        let next_cursor = body.text("nextCursor");
        let key = body.0.keys().find(|key| key.eq_ignore_ascii_case("Resources")).cloned();
        let items = match key.and_then(|key| body.0.remove(&key)) {
            Some(Value::Array(items)) if items.is_empty() || items.iter().any(Value::is_object) => {
                // An entry that is not an object becomes an empty resource; the others stay usable.
                let read = |item| if let Value::Object(fields) = item { Resource(fields) } else { Resource::default() };
                items.into_iter().map(read).collect()
            }
            Some(Value::Null) | None if total.is_some() => Vec::new(),
            _ => return None,
        };
        Some(Self { total, next_cursor, items })
    }
}

/// One edit of a resource: a path such as `name.formatted` and its new value; null removes it.
#[derive(Debug)]
pub(super) struct Edit {
    pub path: String,
    pub value: Value,
}

impl Edit {
    pub(super) fn new(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { path: path.into(), value: value.into() }
    }
}

/// Builds a PATCH that replaces values and removes null ones (RFC 7644, sections 3.5.2.2 and 3.5.2.3).
pub(super) fn replacing(edits: &[Edit]) -> Value {
    let operation = |edit: &Edit| match &edit.value {
        Value::Null => json!({ "op": "remove", "path": edit.path }),
        value => json!({ "op": "replace", "path": edit.path, "value": value }),
    };
    patch(&edits.iter().map(operation).collect::<Vec<_>>())
}

/// Builds a PATCH that adds members.
pub(super) fn adding(members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    patch(&[json!({ "op": "add", "path": "members", "value": members })])
}

/// Builds a PATCH that removes one member by a filter.
pub(super) fn removing_by_filter(member: &str) -> Value {
    patch(&[json!({ "op": "remove", "path": format!("members[{}]", equals("value", member)) })])
}

/// Builds a PATCH that removes one member by its value. Without the value it would remove all.
pub(super) fn removing_by_value(member: &str) -> Value {
    patch(&[json!({ "op": "remove", "path": "members", "value": [{ "value": member }] })])
}

fn patch(operations: &[Value]) -> Value {
    json!({ "schemas": [PATCH], "Operations": operations })
}

/// Builds a filter for one value, encoded as a JSON string (RFC 7644, section 3.4.2.2).
pub(super) fn equals(attribute: &str, value: &str) -> String {
    format!("{attribute} eq {}", Value::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(value: Value) -> Resource {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn names_are_read_in_whatever_case_and_truths_in_whatever_form() {
        let user = resource(json!({
            "ID": 7, "username": "ada", "Active": "False", "displayName": null,
            "emails": [{"value": "home@x"}, {"value": "ada@x", "primary": "true"}],
            "groups": [{"value": "g1"}, {"value": "g2", "type": "indirect"}, {"$ref": "https://h/Groups/g3"}],
        }));
        let account = user.account(Profile::named("generic").expect("there"), &Protection::default()).expect("enough");
        assert_eq!((account.id.as_str(), account.name.as_str(), account.active), ("7", "ada", false));
        assert_eq!((account.display_name.as_str(), account.email.as_deref()), ("ada", Some("ada@x")));
        assert_eq!(user.direct_groups(), Some(vec!["g1".into(), "g3".into()]));
    }

    #[test]
    fn a_sub_attribute_is_set_beside_what_is_there() {
        let mut user = resource(json!({"Name": {"familyName": "L"}, "x": 1}));
        user.set("name.formatted", json!("Ada L"));
        user.set("displayName", json!("Ada L"));
        assert_eq!(
            serde_json::to_value(&user).expect("JSON"),
            json!({"Name": {"familyName": "L", "formatted": "Ada L"}, "x": 1, "displayName": "Ada L"})
        );
    }

    #[test]
    fn a_filters_value_is_quoted() {
        assert_eq!(equals("userName", r#"a"b\c"#), r#"userName eq "a\"b\\c""#);
        let patch = removing_by_filter("x");
        assert_eq!(patch["Operations"][0]["path"], "members[value eq \"x\"]");
    }

    #[test]
    fn members_that_are_groups_are_no_accounts() {
        let members = [json!({"value": "a"}), json!({"value": "g", "type": "Group"}), json!({"display": "?"})];
        assert_eq!(accounts_among(&members), (vec!["a".into()], 1));
    }
}
