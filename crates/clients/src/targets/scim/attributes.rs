//! Paths to further attributes (RFC 7644, section 3.10): `title`, `name.middleName`,
//! `phoneNumbers[type eq "work"].value`, `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`.

use serde_json::{Value, json};

use super::wire::{Edit, Resource, USER, field, text, truth};

/// Attributes that usersync writes itself, or that belong to the server.
const OURS: [&str; 10] =
    ["active", "displayName", "emails", "externalId", "groups", "id", "meta", "password", "schemas", "userName"];

/// The attribute that stores the source's id of a user.
const EXTERNAL_ID: &str = "externalId";

/// A path to one value of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The path as written in the settings.
    pub text: String,
    /// The schema of the extension that holds the attribute; `None`: the core schema.
    pub schema: Option<String>,
    /// The attribute.
    pub name: String,
    /// The `type` of the value, for an attribute with several values; `None`: the only or first value.
    kind: Option<String>,
    /// The sub-attribute.
    pub sub: Option<String>,
}

/// What the server's schemas declare about an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    /// No schema of the server describes it.
    Untold,
    /// The server's schemas do not have it.
    Unknown,
    /// Read-only.
    ReadOnly,
    /// A text, or a type that is written as text.
    Text,
    /// A Boolean.
    Truth,
    /// A number.
    Number,
    /// Several values, and the path names no type.
    Several,
}

/// A path by which users are matched: `externalId`, or any further attribute.
#[derive(Clone, Debug)]
pub(super) enum MatchPath {
    /// The id that a source of accounts gives them.
    ExternalId,
    /// A further attribute.
    Other(Path),
}

impl MatchPath {
    /// Parses a path; the error says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case(EXTERNAL_ID) {
            return Ok(Self::ExternalId);
        }
        Path::read(text).map(Self::Other)
    }

    /// Returns the value of an account.
    pub(super) fn value(&self, user: &Resource) -> Option<String> {
        match self {
            Self::ExternalId => user.text(EXTERNAL_ID),
            Self::Other(path) => path.value(user),
        }
    }
}

/// Checks whether users can be matched by an attribute of this path; the error says why not.
pub(super) fn check_match(path: &str) -> Result<(), String> {
    MatchPath::read(path).map(|_| ())
}

/// Checks whether accounts can have an attribute of this path; the error says why not.
pub(super) fn check(path: &str) -> Result<(), String> {
    Path::read(path).map(|_| ())
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '$')
        && letters.all(|one| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '$'))
}

impl Path {
    /// Parses a path; the error says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a valid attribute path; examples: title, name.middleName, phoneNumbers[type eq \
                 \"work\"].value, and urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"
            )
        };
        // Quoted text may contain any character, so the part before it is parsed separately.
        let (head, filter, sub) = match text.split_once('[') {
            Some((head, rest)) => {
                let (filter, sub) = rest.rsplit_once(']').ok_or_else(wrong)?;
                (head, Some(filter), sub.strip_prefix('.').or((sub.is_empty()).then_some("")).ok_or_else(wrong)?)
            }
            None => (text, None, ""),
        };
        let (schema, name) = match head.rsplit_once(':') {
            Some((schema, name)) if schema.to_ascii_lowercase().starts_with("urn:") => (Some(schema), name),
            Some(_) => return Err(wrong()),
            None => (None, head),
        };
        let (name, sub) = match (name.split_once('.'), filter) {
            (Some((name, sub)), None) => (name, sub),
            (Some(_), Some(_)) => return Err(wrong()),
            (None, _) => (name, sub),
        };
        let sub = (!sub.is_empty()).then_some(sub);
        if !is_name(name) || sub.is_some_and(|sub| !is_name(sub)) || text.ends_with('.') {
            return Err(wrong());
        }
        let kind = match filter {
            None => None,
            Some(filter) => {
                let mut words = filter.trim().splitn(3, ' ').map(str::trim);
                let is = |word: Option<&str>, wanted: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(wanted));
                if !is(words.next(), "type") || !is(words.next(), "eq") {
                    return Err(wrong());
                }
                let quoted = words.next().and_then(|value| serde_json::from_str::<String>(value).ok());
                Some(quoted.ok_or_else(wrong)?)
            }
        };
        let schema = schema.filter(|schema| !schema.eq_ignore_ascii_case(USER));
        let is_ours = OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        let is_shown_name =
            name.eq_ignore_ascii_case("name") && sub.is_none_or(|sub| sub.eq_ignore_ascii_case("formatted"));
        if schema.is_none() && (is_ours || is_shown_name) {
            return Err(format!("{text} is written by usersync itself; remove it"));
        }
        Ok(Self {
            text: text.to_owned(),
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
            kind,
            sub: sub.map(str::to_owned),
        })
    }

    /// Returns the attribute with its schema, as it is requested.
    pub(super) fn attribute(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}:{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Returns two paths that lead to the same value, if there are any.
    pub(super) fn one_twice(all: &[Self]) -> Option<(&str, &str)> {
        let place = |path: &Self| {
            let kind = path.kind.clone().unwrap_or_default();
            let sub = path.sub.as_deref().or(path.kind.as_ref().map(|_| "value")).unwrap_or_default();
            (path.attribute().to_lowercase(), kind, sub.to_lowercase())
        };
        let mut seen = std::collections::HashMap::new();
        all.iter()
            .find_map(|path| seen.insert(place(path), path).map(|other| (other.text.as_str(), path.text.as_str())))
    }

    /// Whether the path is the given or family name.
    pub(super) fn is_part_of_name(&self) -> bool {
        let part = |sub: &str| ["givenName", "familyName"].iter().any(|one| one.eq_ignore_ascii_case(sub));
        self.schema.is_none() && self.name.eq_ignore_ascii_case("name") && self.sub.as_deref().is_some_and(part)
    }

    fn top<'r>(&self, user: &'r Resource) -> Option<&'r Value> {
        match &self.schema {
            Some(schema) => field(user.get(schema)?, &self.name),
            None => user.get(&self.name),
        }
    }

    /// Returns the index of the value of this type.
    fn place(&self, all: &[Value]) -> Option<usize> {
        let is = |one: &Value| {
            field(one, "type").and_then(Value::as_str).is_some_and(|kind| Some(kind) == self.kind.as_deref())
        };
        all.iter().position(is)
    }

    /// Returns the value of an account as text.
    pub(super) fn value(&self, user: &Resource) -> Option<String> {
        let top = self.top(user)?;
        let one = match top {
            Value::Array(all) if self.kind.is_some() => all.get(self.place(all)?)?,
            Value::Array(all) => all.first()?,
            one => one,
        };
        let sub = self.sub.as_deref().or(self.kind.as_ref().map(|_| "value"));
        let value = match sub {
            Some(sub) => field(one, sub)?,
            None => one,
        };
        truth_as_text(value).or_else(|| text(value))
    }

    /// Returns the edit that sets this value; an empty value removes it.
    pub(super) fn edit(&self, before: Option<&Resource>, value: &str, declared: Declared) -> Edit {
        let wanted = declared.json(value);
        if self.kind.is_none() {
            let sub = self.sub.as_ref().map(|sub| format!(".{sub}"));
            return Edit::new(self.attribute() + sub.as_deref().unwrap_or_default(), wanted);
        }
        let present = before.and_then(|user| self.top(user)).and_then(Value::as_array).cloned();
        Edit::new(self.attribute(), self.among(present.unwrap_or_default(), wanted))
    }

    /// Returns the values with the one of this type replaced; null if none is left.
    fn among(&self, mut all: Vec<Value>, wanted: Value) -> Value {
        let sub = self.sub.as_deref().unwrap_or("value");
        match (self.place(&all), wanted.is_null()) {
            (Some(at), true) if matches!(sub, "value") => drop(all.remove(at)),
            (Some(at), _) => {
                let mut one = Resource(all[at].as_object().cloned().unwrap_or_default());
                one.set(sub, wanted);
                all[at] = Value::Object(one.0);
            }
            (None, true) => {}
            (None, false) => all.push(json!({ "type": self.kind, sub: wanted })),
        }
        if all.is_empty() { Value::Null } else { Value::Array(all) }
    }
}

impl Declared {
    /// Whether usersync sends a value for the attribute.
    pub(super) fn is_writable(self) -> bool {
        !matches!(self, Self::ReadOnly | Self::Several)
    }

    /// Returns what the schemas of a server declare about a path.
    pub(super) fn of(path: &Path, schemas: Option<&[Resource]>) -> Self {
        let Some(schemas) = schemas else { return Self::Untold };
        let wanted = path.schema.as_deref().unwrap_or(USER);
        let schema = schemas.iter().find(|one| one.id().is_some_and(|id| id.eq_ignore_ascii_case(wanted)));
        // A server may describe only some of its schemas.
        let Some(attributes) = schema.and_then(|schema| schema.list("attributes")) else {
            return if path.schema.is_some() { Self::Unknown } else { Self::Untold };
        };
        let named = |all: &[Value], name: &str| {
            all.iter().find(|one| word(one, "name").is_some_and(|known| known.eq_ignore_ascii_case(name))).cloned()
        };
        let Some(top) = named(&attributes, &path.name) else { return Self::Unknown };
        let several = field(&top, "multiValued").and_then(truth) == Some(true);
        if several != path.kind.is_some() {
            return if several { Self::Several } else { Self::Unknown };
        }
        let inner = field(&top, "subAttributes").and_then(Value::as_array);
        let value = match (path.sub.as_deref().or(several.then_some("value")), inner) {
            (Some(sub), Some(inner)) => match named(inner, sub) {
                Some(value) => value,
                None => return Self::Unknown,
            },
            _ => top.clone(),
        };
        let read_only = |one: &Value| word(one, "mutability").is_some_and(|word| word.eq_ignore_ascii_case("readOnly"));
        if read_only(&top) || read_only(&value) {
            return Self::ReadOnly;
        }
        match word(&value, "type") {
            Some("boolean") => Self::Truth,
            Some("integer" | "decimal") => Self::Number,
            _ => Self::Text,
        }
    }

    /// Converts a text to the JSON type of the attribute; null if it is empty.
    fn json(self, value: &str) -> Value {
        if value.is_empty() {
            return Value::Null;
        }
        let other = match self {
            Self::Truth => truth(&json!(value)).map(Value::Bool),
            Self::Number => serde_json::from_str(value).ok().filter(Value::is_number),
            _ => None,
        };
        other.unwrap_or_else(|| json!(value))
    }
}

fn word<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    field(value, key).and_then(Value::as_str)
}

fn truth_as_text(value: &Value) -> Option<String> {
    value.as_bool().map(|truth| truth.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";

    fn path(text: &str) -> Path {
        Path::read(text).expect("a path")
    }

    fn user(value: Value) -> Resource {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn what_is_no_path_or_not_for_others_to_write_is_refused() {
        for text in
            ["", "a b", "title.", ".x", "a.b.c", "phones[", "phones[type eq work].value", "x:y", "a[kind eq \"x\"]"]
        {
            assert!(Path::read(text).is_err_and(|why| why.contains("is not a valid attribute path")), "{text}");
        }
        for text in ["userName", "USERNAME", "emails[type eq \"home\"].value", "name", "name.formatted", "active"] {
            assert!(Path::read(text).is_err_and(|why| why.contains("by usersync itself")), "{text}");
        }
        let core = path(&format!("{USER}:title"));
        assert_eq!(core.edit(None, "Dr", Declared::Untold).path, "title", "the core's attributes have no other place");
        assert_eq!(Path::one_twice(&[path("Title"), core.clone()]), Some(("Title", core.text.as_str())));
        assert_eq!(Path::one_twice(&[path("title"), path("name.givenName"), path("name.familyName")]), None);
        let core = format!("{USER}:userName");
        assert!(Path::read(&core).is_err(), "the core's attributes by their whole name");
        for text in
            ["title", "name.givenName", DEPARTMENT, "phoneNumbers[type eq \"wo.rk]\"].value", "urn:x:y:userName"]
        {
            assert_eq!(path(text).text, text);
        }
        assert_eq!((path(DEPARTMENT).name.as_str(), path(DEPARTMENT).attribute().as_str()), ("department", DEPARTMENT));
    }

    #[test]
    fn a_value_is_found_wherever_its_path_leads() {
        let user = user(json!({
            "title": "Dr", "Vip": true, "name": { "middleName": "K" },
            "phoneNumbers": [{ "type": "home", "value": "1" }, { "type": "work", "value": "2" }],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "R&D", "costCenter": 47 },
        }));
        let of = |text: &str| path(text).value(&user);
        assert_eq!(of("title").as_deref(), Some("Dr"));
        assert_eq!(of("vip").as_deref(), Some("true"));
        assert_eq!(of("name.middleName").as_deref(), Some("K"));
        assert_eq!(of("phoneNumbers[type eq \"work\"].value").as_deref(), Some("2"));
        assert_eq!(of("phoneNumbers[type eq \"fax\"].value"), None);
        assert_eq!(of(DEPARTMENT).as_deref(), Some("R&D"));
        assert_eq!(of(&DEPARTMENT.replace("department", "costCenter")).as_deref(), Some("47"));
    }

    #[test]
    fn what_was_edited_is_read_back_and_nothing_else_changes() {
        let before = user(json!({
            "title": "Dr", "phoneNumbers": [{ "type": "home", "value": "1" }, { "type": "work", "value": "2", "x": 1 }],
        }));
        for (text, value) in [
            ("title", "Prof"),
            (DEPARTMENT, "Ops"),
            ("phoneNumbers[type eq \"work\"].value", "3"),
            ("name.middleName", "K"),
        ] {
            let (path, mut now) = (path(text), before.clone());
            now.apply(&path.edit(Some(&before), value, Declared::Untold));
            assert_eq!(path.value(&now).as_deref(), Some(value), "{text}");
            now.apply(&path.edit(Some(&now.clone()), "", Declared::Untold));
            assert_eq!(path.value(&now), None, "{text}");
            assert_eq!(super::tests::path("phoneNumbers[type eq \"home\"].value").value(&now).as_deref(), Some("1"));
        }
        let phone = path("phoneNumbers[type eq \"work\"].value");
        let edit = phone.edit(Some(&before), "3", Declared::Untold);
        assert_eq!(edit.value[1], json!({ "type": "work", "value": "3", "x": 1 }));
        assert_eq!(phone.edit(None, "", Declared::Untold).value, Value::Null);
    }

    #[test]
    fn a_value_takes_the_form_that_the_schema_wants() {
        let schemas = [user(json!({ "id": USER, "attributes": [
            { "name": "vip", "type": "boolean" }, { "name": "age", "type": "integer" }, { "name": "title", "type": "string" },
            { "name": "fixed", "type": "string", "mutability": "readOnly" },
            { "name": "phoneNumbers", "type": "complex", "multiValued": true, "subAttributes": [{ "name": "value", "type": "string" }] },
        ]}))];
        let of = |text: &str| Declared::of(&path(text), Some(&schemas));
        assert_eq!((of("VIP"), of("age"), of("title")), (Declared::Truth, Declared::Number, Declared::Text));
        assert_eq!(
            (of("fixed"), of("nothing"), of(DEPARTMENT)),
            (Declared::ReadOnly, Declared::Unknown, Declared::Unknown)
        );
        assert_eq!(
            (of("phoneNumbers"), of("phoneNumbers[type eq \"work\"].value")),
            (Declared::Several, Declared::Text)
        );
        assert_eq!(Declared::of(&path("title"), None), Declared::Untold);
        assert_eq!((Declared::Truth.json("True"), Declared::Number.json("4.5")), (json!(true), json!(4.5)));
        assert_eq!((Declared::Truth.json("maybe"), Declared::Number.json("x")), (json!("maybe"), json!("x")));
        assert_eq!((Declared::Text.json("1"), Declared::Text.json("")), (json!("1"), Value::Null));
    }
}
