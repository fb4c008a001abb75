//! Groups and their members.

use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::{Call, Jira};
use super::render;
use super::state::World;
use crate::front::Reply;
use crate::identities::fold;
use crate::roster::Id;

/// Maximum number of members on a page.
const PAGE: usize = 50;

fn group_name(call: &Call<'_>) -> Result<String, Refused> {
    let name = call.request.param("groupname").filter(|name| !name.trim().is_empty());
    name.ok_or_else(|| Refused::message(400, "Group name was empty"))
}

/// Checks that the caller may change the group: only system administrators change administrators' groups.
fn demand_over(world: &World, call: &Call<'_>, group: &str) -> Result<(), Refused> {
    let caller = call.name.and_then(|name| world.identities.named(name));
    if world.sysadmin_groups.contains(&fold(group)) && !caller.is_some_and(|caller| world.is_sysadmin(caller)) {
        return Err(Refused::forbidden());
    }
    Ok(())
}

/// `POST /group`
pub(crate) fn create(jira: &Jira, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    if jira.switches().external_management || world.writable().is_none() {
        return Err(Refused::read_only());
    }
    let sent: Value = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
    let name = sent["name"].as_str().unwrap_or_default().trim();
    if name.is_empty() {
        return Err(Refused::message(400, "You must specify valid group name."));
    }
    let name = if jira.switches().fold_groups { fold(name) } else { name.to_owned() };
    if !world.add_group(&name) {
        return Err(Refused::message(400, "A group or user with this name already exists."));
    }
    let group = world.identities.group(&name).ok_or_else(|| Refused::bare(500))?;
    Ok(Reply::json_utf8(201, &render::group(&call.api, group)))
}

/// `GET /group`, up to 9.x.
pub(crate) fn get(jira: &Jira, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    if jira.version >= (10, 0) {
        return Err(Refused::no_path(&call.request.path));
    }
    let name = group_name(call)?;
    let group = world.identities.group(&name).ok_or_else(|| Refused::no_group(&name))?;
    let mut shown = render::group(&call.api, group);
    if call.request.params("expand").join(",").contains("users") {
        let items: Vec<_> = world
            .identities
            .members(group)
            .filter(|account| account.active())
            .take(PAGE)
            .map(|account| render::listed(&call.api, account))
            .collect();
        shown["users"]["items"] = json!(items);
    }
    Ok(Reply::json_utf8(200, &shown))
}

/// `DELETE /group`
pub(crate) fn delete(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let name = group_name(call)?;
    let group = world.identities.group(&name).ok_or_else(|| Refused::no_group(&name))?;
    demand_over(world, call, &name)?;
    if group.read_only {
        return Err(Refused::read_only());
    }
    let folded = fold(&name);
    let admins = world.admin_groups.union(&world.sysadmin_groups).filter(|one| world.identities.group(one).is_some());
    if (world.admin_groups.contains(&folded) || world.sysadmin_groups.contains(&folded)) && admins.count() == 1 {
        return Err(Refused::message(400, "Cannot delete the last group of administrators."));
    }
    match call.request.param("swapGroup").filter(|swap| !swap.is_empty()) {
        Some(swap) if world.identities.group(&swap).is_none() => return Err(Refused::no_group(&swap)),
        None if group.in_use => {
            let text = format!("The group '{name}' is used in restrictions: say which group takes its place.");
            return Err(Refused::message(400, text));
        }
        _ => {}
    }
    world.remove_group(&name);
    Ok(Reply::empty(200))
}

/// `GET /group/member`
pub(crate) fn members(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let name = group_name(call)?;
    let group = world.identities.group(&name).ok_or_else(|| Refused::no_group(&name))?;
    let start = call.number("startAt")?.unwrap_or(0);
    let max = call.number("maxResults")?.unwrap_or(PAGE).clamp(1, PAGE);
    let inactive = call.request.flag("includeInactiveUsers");
    let ids = group.members.ids();
    let active = |key: &&Id| world.identities.get(key).is_some_and(|account| account.active());
    // With inactive members a page is a slice; without them, the total needs a check of every member.
    let (total, page): (usize, Vec<&Id>) = if inactive {
        (ids.len(), ids.iter().skip(start).take(max).collect())
    } else {
        (ids.iter().filter(active).count(), ids.iter().filter(active).skip(start).take(max).collect())
    };
    let values: Vec<_> = page
        .into_iter()
        .filter_map(|key| world.identities.get(key))
        .map(|account| render::listed(&call.api, account))
        .collect();
    let last = start.saturating_add(values.len()) >= total;
    let link = |start: usize| {
        let name: String = url::form_urlencoded::byte_serialize(group.name.as_bytes()).collect();
        format!(
            "{}/group/member?groupname={name}&includeInactiveUsers={inactive}&maxResults={max}&startAt={start}",
            call.api
        )
    };
    let mut shown = json!({
        "self": link(start), "maxResults": max, "startAt": start, "total": total, "isLast": last, "values": values,
    });
    if !last {
        shown["nextPage"] = json!(link(start + max));
    }
    Ok(Reply::json_utf8(200, &shown))
}

/// `POST /group/user`
pub(crate) fn add_member(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let name = group_name(call)?;
    let sent: Value = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
    let user = sent["name"].as_str().unwrap_or_default();
    let group = world.identities.group(&name).ok_or_else(|| Refused::no_group(&name))?;
    let account = world.identities.named(user).ok_or_else(|| Refused::no_user(user))?;
    demand_over(world, call, &name)?;
    if group.read_only {
        return Err(Refused::read_only());
    }
    let key = account.id.clone();
    if !world.identities.add_member(&key, &name) {
        let text = format!("Cannot add user '{user}', user is already a member of '{name}'");
        return Err(Refused::message(400, text));
    }
    let group = world.identities.group(&name).ok_or_else(|| Refused::bare(500))?;
    Ok(Reply::json_utf8(201, &render::group(&call.api, group)))
}

/// `DELETE /group/user`
pub(crate) fn remove_member(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let name = group_name(call)?;
    let user = call.request.param("username").unwrap_or_default();
    let group = world.identities.group(&name).ok_or_else(|| Refused::no_group(&name))?;
    let account = world.identities.named(&user).ok_or_else(|| Refused::no_user(&user))?;
    demand_over(world, call, &name)?;
    if group.read_only {
        return Err(Refused::read_only());
    }
    let folded = fold(&name);
    if !account.groups.contains(&folded) {
        let text = format!("Cannot remove user '{user}' from group '{name}' since user is not a member of '{name}'");
        return Err(Refused::message(400, text));
    }
    let administers = |one: &&String| world.admin_groups.contains(*one) || world.sysadmin_groups.contains(*one);
    let own = call.name == Some(account.name.as_str());
    if own && administers(&&folded) && account.groups.iter().filter(administers).count() == 1 {
        return Err(Refused::message(400, "You cannot leave the last group that makes you an administrator."));
    }
    let key = account.id.clone();
    world.identities.remove_member(&key, &name);
    Ok(Reply::empty(200))
}

/// `GET /groups/picker`
pub(crate) fn picker(jira: &Jira, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let query = fold(&call.request.param("query").unwrap_or_default());
    let max = call.number("maxResults")?.unwrap_or(20).min(jira.switches().picker_cap);
    let excluded: Vec<String> = call.request.params("exclude").iter().map(|name| fold(name)).collect();
    let found: Vec<_> =
        world.identities.groups().filter(|(folded, _)| folded.contains(&query) && !excluded.contains(folded)).collect();
    let shown: Vec<Value> = found
        .iter()
        .take(max)
        .map(|(folded, group)| {
            let mut labels = Vec::new();
            if world.admin_groups.contains(*folded) || world.sysadmin_groups.contains(*folded) {
                labels.push(json!({ "text": "Admin", "title": "Members administer Jira", "type": "ADMIN" }));
            }
            json!({ "name": group.name, "html": marked(&group.name, &query), "labels": labels })
        })
        .collect();
    let header = format!("Showing {} of {} matching groups", shown.len(), found.len());
    Ok(Reply::json_utf8(200, &json!({ "header": header, "total": found.len(), "groups": shown })))
}

/// Returns the name with the matched text in bold.
fn marked(name: &str, query: &str) -> String {
    let at = if query.is_empty() || !name.is_ascii() { None } else { fold(name).find(query) };
    match at {
        Some(at) => {
            let end = at + query.len();
            format!("{}<b>{}</b>{}", &name[..at], &name[at..end], &name[end..])
        }
        None => name.to_owned(),
    }
}
