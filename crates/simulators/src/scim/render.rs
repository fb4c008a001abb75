//! Resources as JSON.

use serde_json::{Map, Value, json};

use super::instance::Call;
use super::state::{Item, World};
use super::switches::Visibility;
use crate::front::Reply;

pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// Returns one resource as an answer, with its version if the server has versions.
pub(crate) fn one(call: &Call<'_>, status: u16, item: &Item, shown: &Value) -> Reply {
    let reply = Reply::scim(status, shown);
    let reply = if call.switches.etag { reply.with("etag", item.tag(call.switches)) } else { reply };
    match (status, shown["meta"]["location"].as_str()) {
        (201, Some(location)) => reply.with("location", location),
        _ => reply,
    }
}

/// Attributes that a request wants.
struct Wanted {
    named: Vec<String>,
    excluded: Vec<String>,
}

impl Wanted {
    fn of(call: &Call<'_>) -> Self {
        let names = |name: &str| {
            let all = call.request.param(name).unwrap_or_default();
            // An attribute of an extension selects the whole extension.
            let first = |name: &str| match name.rsplit_once(':') {
                Some((schema, _)) => schema.trim().to_lowercase(),
                None => name.split('.').next().unwrap_or_default().trim().to_lowercase(),
            };
            all.split(',').map(first).filter(|name| !name.is_empty()).collect()
        };
        Self { named: names("attributes"), excluded: names("excludedAttributes") }
    }

    /// Returns whether an attribute with this visibility is shown.
    fn shows(&self, name: &str, reported: Visibility, list: bool) -> bool {
        let name = name.to_lowercase();
        let named = self.named.contains(&name);
        let usual = self.named.is_empty() && !self.excluded.contains(&name);
        match reported {
            Visibility::Always => named || usual,
            Visibility::NotInLists => !list && (named || usual),
            Visibility::OnlyInLists => list && (named || usual),
            Visibility::OnRequest => named,
            Visibility::Empty | Visibility::Never => false,
        }
    }
}

fn shown(call: &Call<'_>, item: &Item, kind: &str, schema: &str) -> (Map<String, Value>, Wanted) {
    let wanted = Wanted::of(call);
    let mut meta = json!({ "resourceType": kind, "location": format!("{}/{kind}s/{}", call.base, item.id) });
    if call.switches.etag {
        meta["version"] = json!(item.tag(call.switches));
    }
    let mut fields = Map::new();
    fields.insert("id".into(), json!(item.id));
    fields.insert("meta".into(), meta);
    for (name, value) in &item.fields {
        let empty = value.as_object().is_some_and(Map::is_empty);
        if wanted.shows(name, Visibility::Always, false) && !empty {
            fields.insert(name.clone(), value.clone());
        }
    }
    let extensions: Vec<&String> = fields.keys().filter(|name| name.starts_with("urn:")).collect();
    let schemas = std::iter::once(schema).chain(extensions.into_iter().map(String::as_str)).collect::<Vec<_>>();
    fields.insert("schemas".into(), json!(schemas));
    (fields, wanted)
}

/// A user; `list`: as an entry of a list.
pub(crate) fn user(world: &World, call: &Call<'_>, item: &Item, list: bool) -> Value {
    let (mut fields, wanted) = shown(call, item, "User", USER);
    if wanted.shows("groups", call.switches.groups_told, list) {
        let groups: Vec<Value> = world
            .groups
            .all()
            .filter(|group| group.members.contains(&item.id))
            .map(|group| json!({ "value": group.id, "display": group.text("displayName"), "type": "direct" }))
            .collect();
        if !groups.is_empty() {
            fields.insert("groups".into(), json!(groups));
        }
    }
    if call.switches.groups_told == Visibility::Empty {
        fields.insert("groups".into(), json!([]));
    }
    if call.switches.booleans_as_text
        && let Some(Value::Bool(active)) = fields.get("active").cloned()
    {
        fields.insert("active".into(), json!(if active { "True" } else { "False" }));
    }
    if list {
        fields.retain(|name, _| !call.switches.not_in_lists.contains(&name.as_str()));
    }
    Value::Object(fields)
}

/// A group; `list`: as an entry of a list.
pub(crate) fn group(world: &World, call: &Call<'_>, item: &Item, list: bool) -> Value {
    let (mut fields, wanted) = shown(call, item, "Group", GROUP);
    if wanted.shows("members", call.switches.members_told, list) && !item.members.is_empty() {
        let member = |id: &String| {
            let name = world.users.get(id).map(|user| user.text("userName").to_owned()).unwrap_or_default();
            let address = format!("{}/Users/{id}", call.base);
            json!({ "value": id, "display": name, "type": "User", "$ref": address })
        };
        fields.insert("members".into(), item.members.iter().map(member).collect());
    }
    if call.switches.members_told == Visibility::Empty {
        fields.insert("members".into(), json!([]));
    }
    Value::Object(fields)
}
