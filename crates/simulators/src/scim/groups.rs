//! Groups and their members.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::errors::Refused;
use super::instance::Call;
use super::patch::{Operation, Verb};
use super::state::{Item, World};
use super::switches::{MemberAddition, MemberRemoval};
use super::users::{demand_version, sent};
use super::{lists, patch, render};
use crate::front::Reply;
use crate::identities::fold;

/// `GET /Groups`
pub(crate) fn list(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    lists::page(world, call, &world.groups, |item| render::group(world, call, item, true))
}

fn find<'w>(world: &'w World, id: &str) -> Result<&'w Arc<Item>, Refused> {
    world.groups.get(id).ok_or_else(|| Refused::absent(id))
}

fn shown(world: &World, call: &Call<'_>, id: &str, status: u16) -> Result<Reply, Refused> {
    let item = find(world, id)?;
    Ok(render::one(call, status, item, &render::group(world, call, item, false)))
}

/// `GET /Groups/{id}`
pub(crate) fn get(world: &World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    shown(world, call, id, 200)
}

/// Returns the ids in a list of members; all must exist.
fn members(world: &World, value: Option<&Value>) -> Result<BTreeSet<String>, Refused> {
    let items = match value {
        None | Some(Value::Null) => return Ok(BTreeSet::new()),
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let id = |member: &Value| {
        let id = member["value"].as_str().ok_or_else(|| Refused::value("a member has no value"))?;
        match world.users.get(id) {
            Some(_) => Ok(id.to_owned()),
            None => Err(Refused::value(format!("User with id {id} not found"))),
        }
    };
    items.iter().map(id).collect()
}

fn check_name(world: &World, call: &Call<'_>, fields: &Map<String, Value>, own: Option<&Item>) -> Result<(), Refused> {
    let name = fields.get("displayName").and_then(Value::as_str).unwrap_or_default();
    if name.trim().is_empty() {
        return Err(Refused::value("displayName is required"));
    }
    if own.is_some_and(|own| own.text("displayName") != name) && !call.switches.group_rename {
        return Err(Refused::new(400, Some("mutability"), "A group cannot be renamed"));
    }
    let folded = call.switches.group_unique_fold;
    let same = |group: &Item| {
        let known = group.text("displayName");
        known == name || (folded && fold(known) == fold(name))
    };
    let other = world.groups.all().any(|group| same(group) && own.is_none_or(|own| own.id != group.id))
        || call.switches.hidden.contains(&name);
    if other && call.switches.group_unique { Err(Refused::taken(call.switches.uniqueness_told)) } else { Ok(()) }
}

/// `POST /Groups`
pub(crate) fn create(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let mut fields = sent(call)?;
    check_name(world, call, &fields, None)?;
    let members = members(world, fields.remove("members").as_ref())?;
    let mut item = world.item(fields);
    item.members = members;
    let id = item.id.clone();
    world.groups.put(item);
    shown(world, call, &id, 201)
}

/// `PUT /Groups/{id}`
pub(crate) fn replace(world: &mut World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let present = Arc::clone(find(world, id)?);
    demand_version(call, &present)?;
    let mut fields = sent(call)?;
    check_name(world, call, &fields, Some(&present))?;
    let reported = fields.remove("members");
    let keep = reported.is_none() && !call.switches.put_clears;
    let members = if keep { present.members.clone() } else { members(world, reported.as_ref())? };
    if let Some(item) = world.groups.get_mut(id) {
        item.fields = fields;
        item.members = members;
        item.version += 1;
    }
    shown(world, call, id, 200)
}

/// `PATCH /Groups/{id}`
pub(crate) fn patch(world: &mut World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let mut draft = Item::clone(find(world, id)?);
    demand_version(call, &draft)?;
    for operation in patch::operations(call)? {
        match operation.path.as_deref() {
            Some(path) if path.starts_with("members") => change_members(world, call, &mut draft, path, &operation)?,
            _ => patch::apply(&mut draft.fields, &operation)?,
        }
    }
    check_name(world, call, &draft.fields, Some(find(world, id)?))?;
    draft.version += 1;
    world.groups.put(draft);
    if call.switches.patch_returns_resource { shown(world, call, id, 200) } else { Ok(Reply::empty(204)) }
}

fn change_members(
    world: &World,
    call: &Call<'_>,
    draft: &mut Item,
    path: &str,
    operation: &Operation,
) -> Result<(), Refused> {
    let named = operation.value.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
    if named > call.switches.members_per_patch {
        return Err(Refused::new(413, None, format!("{named} members are too many for one PATCH")));
    }
    let removal = call.switches.member_removal;
    match (operation.verb, path) {
        (Verb::Add, "members") => {
            let added = members(world, operation.value.as_ref())?;
            match call.switches.member_addition {
                MemberAddition::Adds => draft.members.extend(added),
                MemberAddition::Replaces => draft.members = added,
                MemberAddition::Nothing => {}
            }
        }
        (Verb::Replace, "members") => draft.members = members(world, operation.value.as_ref())?,
        (Verb::Remove, _) if removal == MemberRemoval::AlwaysRemovesAll => draft.members.clear(),
        (Verb::Remove, "members") if operation.value.is_none() => draft.members.clear(),
        (Verb::Remove, "members") => match removal {
            MemberRemoval::Strict | MemberRemoval::ValueRemovesAll | MemberRemoval::AlwaysRemovesAll => {
                draft.members.clear();
            }
            MemberRemoval::Filter => return Err(Refused::path(path)),
            MemberRemoval::FilterElseNothing => {}
            MemberRemoval::Value => {
                for id in members(world, operation.value.as_ref())? {
                    draft.members.remove(&id);
                }
            }
        },
        (Verb::Remove, filtered) => {
            let id = lists::inner_filter(filtered).ok_or_else(|| Refused::path(path))?;
            if matches!(removal, MemberRemoval::Value | MemberRemoval::ValueRemovesAll) {
                return Err(Refused::path(path));
            }
            draft.members.remove(&id);
        }
        _ => return Err(Refused::path(path)),
    }
    Ok(())
}

/// `DELETE /Groups/{id}`
pub(crate) fn delete(world: &mut World, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    demand_version(call, find(world, id)?)?;
    world.groups.remove(id);
    Ok(Reply::empty(204))
}
