//! Users: read, create, change, delete.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::errors::Refused;
use super::instance::Call;
use super::state::{Item, World};
use super::{lists, patch, render};
use crate::front::Reply;
use crate::identities::fold;

/// `GET /Users`
pub(crate) fn list(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    lists::page(world, call, &world.users, |item| render::user(world, call, item, true))
}

fn find<'w>(world: &'w World, id: &str) -> Result<&'w Arc<Item>, Refused> {
    world.users.get(id).ok_or_else(|| Refused::absent(id))
}

fn shown(world: &World, call: &Call<'_>, id: &str, status: u16) -> Result<Reply, Refused> {
    let item = find(world, id)?;
    Ok(render::one(call, status, item, &render::user(world, call, item, false)))
}

/// `GET /Users/{id}`
pub(crate) fn get(world: &World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    shown(world, call, id, 200)
}

/// Checks that the version in `If-Match` is still current.
pub(crate) fn demand_version(call: &Call<'_>, item: &Item) -> Result<(), Refused> {
    let wanted = call.request.header("if-match").filter(|_| call.switches.etag);
    match wanted {
        Some(wanted) if wanted != "*" && (wanted != item.tag(call.switches) || wanted.starts_with("W/")) => {
            Err(Refused::new(412, None, "The resource has changed meanwhile."))
        }
        _ => Ok(()),
    }
}

/// Returns the attributes of a body, without those that only the server sets.
pub(crate) fn sent(call: &Call<'_>) -> Result<Map<String, Value>, Refused> {
    let body: Map<String, Value> = serde_json::from_slice(&call.request.body).map_err(|_| Refused::syntax())?;
    if body.get("schemas").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(Refused::syntax());
    }
    // The schemas must list an extension (RFC 7643, section 3.3).
    let named =
        |schema: &str| body["schemas"].as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some(schema)));
    if let Some(schema) = body.keys().find(|name| name.starts_with("urn:") && !named(name)) {
        return Err(Refused::value(format!("{schema} is not among the schemas")));
    }
    let own = ["schemas", "id", "meta", "groups"];
    Ok(body.into_iter().filter(|(name, value)| !own.contains(&name.as_str()) && !value.is_null()).collect())
}

/// Checks the attributes of an account, and converts them to the form that this server stores.
fn check(
    world: &World,
    call: &Call<'_>,
    mut fields: Map<String, Value>,
    present: Option<&Item>,
) -> Result<Map<String, Value>, Refused> {
    let switches = call.switches;
    let login = fields.get("userName").and_then(Value::as_str).unwrap_or_default().to_owned();
    if login.trim().is_empty() {
        return Err(Refused::value("userName is required"));
    }
    let renamed = present.is_some_and(|item| item.text("userName") != login);
    if renamed && !switches.login_rename {
        return Err(Refused::new(400, Some("mutability"), "userName cannot be changed"));
    }
    let other = |item: &Arc<Item>| present.is_none_or(|present| present.id != item.id);
    if world.user_named(&login).is_some_and(other) || switches.hidden.contains(&login.as_str()) {
        // Keycloak words this error differently when it changes a user.
        return Err(Refused::taken(switches.uniqueness_told));
    }
    let before = |name: &str| present.and_then(|item| item.fields.get(name));
    if let Some(name) = switches.refuses.iter().find(|name| fields.get(**name) != before(name)) {
        return Err(Refused::value(format!("{name} is not well-formed")));
    }
    for name in &switches.drops {
        fields.remove(*name);
    }
    if switches.lower_logins {
        fields.insert("userName".into(), json!(login.to_lowercase()));
    }
    if let Some(Value::String(text)) = fields.get("active").cloned() {
        let active = text.parse::<bool>().or_else(|_| text.to_lowercase().parse());
        fields.insert("active".into(), json!(active.map_err(|_| Refused::value("active is no truth value"))?));
    }
    if switches.names_apart {
        let name = |sub: &str| {
            let text = fields.get("name").and_then(|name| name[sub].as_str());
            text.unwrap_or_default().to_owned()
        };
        let (given, family) = (name("givenName"), name("familyName"));
        for (part, what) in [(&family, "lastName"), (&given, "firstName")] {
            if part.trim().is_empty() && present.is_none() {
                return Err(Refused::new(400, Some("invalidSyntax"), format!("Please specify {what}.")));
            }
        }
        fields.remove("displayName");
        let formatted = format!(" {given}  {family} ");
        fields.insert("name".into(), json!({ "formatted": formatted, "givenName": given, "familyName": family }));
    }
    if switches.email_unique {
        let mails = Item { fields: fields.clone(), ..blank() };
        let taken = |email: &str| {
            world.users.all().filter(|one| other(one)).any(|one| one.emails().any(|e| fold(e) == fold(email)))
        };
        if mails.emails().any(taken) {
            let made = present.is_none();
            let text = "An unexpected error occurred when processing the request";
            return Err(if made {
                Refused::new(500, None, text)
            } else {
                Refused::otherwise(409, "Duplicate resource error")
            });
        }
    }
    Ok(fields)
}

fn blank() -> Item {
    Item { id: String::new(), number: 0, version: 0, fields: Map::new(), members: std::collections::BTreeSet::new() }
}

/// `POST /Users`
pub(crate) fn create(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let mut fields = check(world, call, sent(call)?, None)?;
    fields.entry("active").or_insert(json!(!call.switches.names_apart));
    let item = world.item(fields);
    let id = item.id.clone();
    world.users.put(item);
    shown(world, call, &id, 201)
}

fn write(world: &mut World, call: &Call<'_>, id: &str, fields: Map<String, Value>) -> Result<(), Refused> {
    let present = Arc::clone(find(world, id)?);
    demand_version(call, &present)?;
    let fields = check(world, call, fields, Some(&present))?;
    world.users.put(Item { fields, version: present.version + 1, ..Item::clone(&present) });
    Ok(())
}

/// `PUT /Users/{id}`
pub(crate) fn replace(world: &mut World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let present = Arc::clone(find(world, id)?);
    let mut fields = sent(call)?;
    if !call.switches.put_clears {
        for (name, value) in &present.fields {
            fields.entry(name).or_insert_with(|| value.clone());
        }
    }
    write(world, call, id, fields)?;
    shown(world, call, id, 200)
}

/// `PATCH /Users/{id}`
pub(crate) fn patch(world: &mut World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let mut fields = find(world, id)?.fields.clone();
    for operation in patch::operations(call)? {
        patch::apply(&mut fields, &operation)?;
    }
    write(world, call, id, fields)?;
    if call.switches.patch_returns_resource { shown(world, call, id, 200) } else { Ok(Reply::empty(204)) }
}

/// `DELETE /Users/{id}`
pub(crate) fn delete(world: &mut World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    demand_version(call, find(world, id)?)?;
    world.remove_user(id);
    Ok(Reply::empty(204))
}
