//! Groups, their members, and nested groups.

use std::sync::Arc;

use serde_json::Value;

use super::errors::Refused;
use super::instance::{Call, named};
use super::render;
use super::state::{Group, GroupData, World};
use super::switches::Permission;
use crate::front::Reply;
use crate::identities::fold;

/// Returns the group that `groupname` names.
fn find<'w>(world: &'w World, call: &Call<'_>) -> Result<&'w Arc<Group>, Refused> {
    let name = call.required("groupname")?;
    world.identities.group(&name).ok_or_else(|| Refused::no_group(&name))
}

/// `GET /group`
pub(crate) fn get(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    Ok(Reply::json(200, &render::group(call, find(world, call)?)))
}

/// `POST /group`
pub(crate) fn create(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand(Permission::AddGroup)?;
    let sent: Value =
        serde_json::from_slice(&call.request.body).map_err(|_| Refused::argument("The group cannot be read."))?;
    let name = named(call, "name")?;
    let invalid = |text: String| Refused::new(400, "INVALID_GROUP", text);
    if sent["type"] != "GROUP" {
        return Err(invalid("The group has no type.".to_owned()));
    }
    let description = sent["description"].as_str().unwrap_or_default().to_owned();
    let active = sent["active"].as_bool().unwrap_or(true);
    if !world.identities.add_group(&name, GroupData { description, active, ..GroupData::default() }) {
        return Err(invalid(format!("Group already exists: <{name}>")));
    }
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    Ok(Reply::empty(201).with("location", format!("{}/group?groupname={name}", call.api)))
}

/// `PUT /group`: the name stays.
pub(crate) fn update(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = find(world, call)?.name.clone();
    call.demand(Permission::ModifyGroup)?;
    let sent: Value =
        serde_json::from_slice(&call.request.body).map_err(|_| Refused::argument("The group cannot be read."))?;
    if fold(&named(call, "name")?) != fold(&name) {
        return Err(Refused::argument("The names in the body and in the address do not match."));
    }
    if let Some(group) = world.identities.group_mut(&name) {
        sent["description"].as_str().unwrap_or_default().clone_into(&mut group.description);
        group.active = sent["active"].as_bool().unwrap_or_default();
    }
    Ok(Reply::json(200, &render::group(call, find(world, call)?)))
}

/// `DELETE /group`
pub(crate) fn delete(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = find(world, call)?.name.clone();
    call.demand(Permission::RemoveGroup)?;
    world.remove_group(&name);
    Ok(Reply::empty(204))
}

/// `GET /group/user/direct` and `…/nested`
pub(crate) fn members(world: &World, call: &Call<'_>, nested: bool) -> Result<Reply, Refused> {
    let keys = world.members(&find(world, call)?.name, nested);
    Ok(Reply::json(200, &render::users(call, world, &keys)?))
}

/// `GET /group/membership`: all direct memberships, in XML only.
pub(crate) fn memberships(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    if !call.crowd.switches().returns_memberships {
        return Err(Refused::bare(404));
    }
    let accepted = call.request.header("accept").unwrap_or("*/*");
    let mut forms = accepted.split(',').filter_map(|form| form.split(';').next()).map(str::trim);
    if !forms.any(|form| ["application/xml", "application/*", "*/*"].contains(&form)) {
        return Err(Refused::bare(406));
    }
    Ok(Reply::xml(200, render::memberships(world)))
}

/// `POST /group/user/direct`
pub(crate) fn add_member(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let group = find(world, call)?.name.clone();
    let name = named(call, "name")?;
    let account = world.identities.id_of(&name).ok_or_else(|| Refused::no_user(&name).in_body())?;
    call.demand(Permission::ModifyGroup)?;
    if !world.identities.add_member(&account, &group) {
        let text = format!("User <{name}> is already a direct member of group <{group}>");
        return Err(Refused::new(409, "MEMBERSHIP_ALREADY_EXISTS", text));
    }
    Ok(Reply::empty(201))
}

/// `DELETE /group/user/direct`
pub(crate) fn remove_member(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let group = find(world, call)?.name.clone();
    let name = call.required("username")?;
    let account = world.identities.id_of(&name).ok_or_else(|| Refused::no_user(&name))?;
    call.demand(Permission::ModifyGroup)?;
    if !world.identities.remove_member(&account, &group) {
        let text = format!("User <{name}> is not a direct member of group <{group}>");
        return Err(Refused::new(404, "MEMBERSHIP_NOT_FOUND", text));
    }
    Ok(Reply::empty(204))
}

/// `GET /group/child-group/direct` and `…/nested`
pub(crate) fn children(world: &World, call: &Call<'_>, nested: bool) -> Result<Reply, Refused> {
    let group = find(world, call)?;
    let names: Vec<String> =
        if nested { world.below(&group.name).into_iter().collect() } else { group.children.iter().cloned().collect() };
    Ok(Reply::json(200, &render::groups(call, world, &names)?))
}
