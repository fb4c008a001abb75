//! Groups: read, create and delete; members and permissions.

use std::sync::Arc;

use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::Call;
use super::render;
use super::state::{Group, World};
use crate::front::Reply;
use crate::identities::fold;

fn find<'w>(world: &'w World, call: &Call<'_>, name: &str) -> Result<&'w Arc<Group>, Refused> {
    world.identities.group(name).ok_or_else(|| Refused::no_group(call.switches.no_group, name))
}

/// `GET /group`
pub(crate) fn list(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_user(world)?;
    let all: Vec<&Arc<Group>> = world.identities.groups().map(|(_, group)| group).collect();
    render::page(call, &all, 200, |group| Some(render::group(call, group)))
}

/// `GET /group/{groupName}`
pub(crate) fn get(world: &World, call: &Call<'_>, name: &str) -> Result<Reply, Refused> {
    call.demand_user(world)?;
    Ok(Reply::json(200, &render::group(call, find(world, call, name)?)))
}

/// `GET /group/{groupName}/member`
pub(crate) fn members(world: &World, call: &Call<'_>, name: &str) -> Result<Reply, Refused> {
    if call.features.ten {
        call.demand_admin(world)?;
    } else {
        call.demand_user(world)?;
    }
    if call.switches.no_group_is_empty && world.identities.group(name).is_none() {
        return render::page::<()>(call, &[], 200, |()| None);
    }
    let group = find(world, call, name)?;
    render::page(call, group.members.ids(), 200, |key| {
        world.identities.get(key).map(|account| render::user(call, account))
    })
}

/// `GET /permissions/group/{groupName}`
pub(crate) fn permissions(world: &World, call: &Call<'_>, name: &str) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let group = find(world, call, name)?;
    let one = |key: &str| {
        json!({
            "operation": { "operationKey": key, "targetType": "application" },
            "subject": { "type": "group", "displayName": group.name },
        })
    };
    let mut shown = vec![one("use")];
    if group.administers {
        shown.push(one("administer"));
    }
    Ok(Reply::json(200, &shown))
}

/// `POST /admin/group`: names must be in lower case (Confluence Groups for Administrators, 7.15 and later).
pub(crate) fn create(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let sent: Value = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
    let name = sent["name"].as_str().unwrap_or_default().trim();
    if name.is_empty() {
        return Err(Refused::message(400, "A group needs a name."));
    }
    if call.switches.read_only {
        return Err(Refused::read_only());
    }
    if name != fold(name) && !call.switches.fold_groups {
        return Err(Refused::message(400, "Group names must be lower case."));
    }
    let name = fold(name);
    if !world.add_group(&name) {
        return Err(Refused::message(409, format!("A group with the name {name} exists already.")));
    }
    Ok(Reply::json(call.switches.group_created, &render::group(call, find(world, call, &name)?)))
}

/// `DELETE /admin/group/{groupName}`
pub(crate) fn delete(world: &mut World, call: &Call<'_>, name: &str) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let administers = world.identities.group(name).ok_or_else(|| Refused::no_group(404, name))?.administers;
    if call.switches.read_only {
        return Err(Refused::read_only());
    }
    if administers && world.identities.groups().filter(|(_, group)| group.administers).count() == 1 {
        return Err(Refused::message(400, "The last group of administrators cannot be removed."));
    }
    world.identities.remove_group(name);
    Ok(Reply::empty(204))
}
