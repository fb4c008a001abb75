//! Groups and their members.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use super::errors::Refused;
use super::instance::{Bitbucket, Call};
use super::render::{self, page};
use super::state::{Account, World};
use super::users;
use crate::front::Reply;
use crate::identities::fold;

#[derive(Debug, Deserialize)]
struct GroupAndUsers {
    group: Option<String>,
    users: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct UserAndGroups {
    user: Option<String>,
    groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Picked {
    context: Option<String>,
    item_name: Option<String>,
}

/// `GET /admin/groups`
pub(crate) fn list(bitbucket: &Bitbucket, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let filter = fold(&call.request.param("filter").unwrap_or_default());
    page(
        bitbucket,
        call,
        world.identities.groups(),
        |(folded, _)| folded.contains(&filter),
        |(_, group)| render::group(group),
    )
}

/// `GET /admin/groups/more-members`
pub(crate) fn members(bitbucket: &Bitbucket, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = call.demanded("context")?;
    let filter = fold(&call.request.param("filter").unwrap_or_default());
    let group = world.identities.group(&name);
    if group.is_none() && bitbucket.switches().unknown_is_404 {
        return Err(Refused::no_group(&name));
    }
    let all = group.into_iter().flat_map(|group| world.identities.members(group));
    page(bitbucket, call, all, |account| users::matches(account, &filter), |account| render::user(world, account))
}

/// `POST /admin/groups`
pub(crate) fn create(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = call.demanded("name")?;
    if name.trim() != name || name.chars().count() > 255 {
        return Err(Refused::field("name", "The name begins or ends with a space, or is longer than 255 characters."));
    }
    if world.writable().is_none() {
        return Err(Refused::message(400, "The group cannot be created: the user directory is read-only."));
    }
    if !world.add_group(&name) {
        return Err(Refused::message(409, format!("A group with the name {name} already exists.")));
    }
    let group = world.identities.group(&name).ok_or_else(|| Refused::bare(500))?;
    Ok(Reply::json_utf8(200, &render::group(group)))
}

/// `DELETE /admin/groups`
pub(crate) fn delete(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = call.demanded("name")?;
    let group = Arc::clone(world.identities.group(&name).ok_or_else(|| Refused::no_group(&name))?);
    let level = call.level(world);
    if world.given_by(&name) > level {
        return Err(Refused::message(403, "You cannot delete a group with more permissions than you have."));
    }
    if call.account(world).is_some_and(|me| world.level_without(me, Some(&name)) < level) {
        return Err(Refused::message(409, "You cannot delete this group: that would lower your own permissions."));
    }
    if group.fixed {
        return Err(Refused::message(400, "The group cannot be deleted: its user directory is read-only."));
    }
    world.remove_group(&name);
    Ok(Reply::json_utf8(200, &render::group(&group)))
}

/// `POST /admin/groups/add-users`
pub(crate) fn add_users(bitbucket: &Bitbucket, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let sent: GroupAndUsers = serde_json::from_slice(&call.body()?).map_err(|_| Refused::unreadable())?;
    let group = sent.group.unwrap_or_default();
    let pairs: Vec<_> = sent.users.into_iter().map(|user| (user, group.clone())).collect();
    add_members(bitbucket, world, call, &pairs)
}

/// `POST /admin/users/add-groups`
pub(crate) fn add_groups(bitbucket: &Bitbucket, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let sent: UserAndGroups = serde_json::from_slice(&call.body()?).map_err(|_| Refused::unreadable())?;
    let user = sent.user.unwrap_or_default();
    let pairs: Vec<_> = sent.groups.into_iter().map(|group| (user.clone(), group)).collect();
    add_members(bitbucket, world, call, &pairs)
}

/// Adds all memberships, or none.
fn add_members(
    bitbucket: &Bitbucket,
    world: &mut World,
    call: &Call<'_>,
    pairs: &[(String, String)],
) -> Result<Reply, Refused> {
    let mut ids = Vec::with_capacity(pairs.len());
    let mut newcomers = BTreeSet::new();
    for (user, group) in pairs {
        let account = world.identities.named(user).ok_or_else(|| Refused::no_user(user))?;
        check_group(world, call, group, account)?;
        if account.groups.contains(&fold(group)) && bitbucket.switches().strict_members {
            return Err(Refused::message(409, format!("{user} is a member of {group} already.")));
        }
        if account.active && world.level(account).is_none() && world.given_by(group).is_some() {
            newcomers.insert(Arc::clone(&account.id));
        }
        ids.push(Arc::clone(&account.id));
    }
    if world.seats.is_some_and(|seats| !newcomers.is_empty() && world.licensed() + newcomers.len() > seats) {
        return Err(Refused::full());
    }
    for (id, (_, group)) in ids.iter().zip(pairs) {
        world.identities.add_member(id, group);
    }
    Ok(Reply::empty(200))
}

/// `POST /admin/users/remove-group`, and `POST /admin/groups/remove-user` with the two names swapped.
pub(crate) fn remove(
    bitbucket: &Bitbucket,
    world: &mut World,
    call: &Call<'_>,
    user_first: bool,
) -> Result<Reply, Refused> {
    let sent: Picked = serde_json::from_slice(&call.body()?).map_err(|_| Refused::unreadable())?;
    let (context, item) = (sent.context.unwrap_or_default(), sent.item_name.unwrap_or_default());
    let (user, group) = if user_first { (context, item) } else { (item, context) };
    let account = Arc::clone(world.identities.named(&user).ok_or_else(|| Refused::no_user(&user))?);
    check_group(world, call, &group, &account)?;
    let own = call.name == Some(fold(&account.name).as_str());
    if own && world.level_without(&account, Some(&group)) < world.level(&account) {
        return Err(Refused::message(403, "You cannot leave this group: that would lower your own permissions."));
    }
    if !world.identities.remove_member(&account.id, &group) && bitbucket.switches().strict_members {
        return Err(Refused::message(404, format!("{user} is not a member of {group}.")));
    }
    Ok(Reply::empty(200))
}

/// Checks that the memberships of the group and of the user can be changed.
fn check_group(world: &World, call: &Call<'_>, group: &str, account: &Account) -> Result<(), Refused> {
    let found = world.identities.group(group).ok_or_else(|| Refused::no_group(group))?;
    if world.given_by(group) > call.level(world) {
        return Err(Refused::message(403, "The group has more permissions than you have."));
    }
    if found.fixed || world.directory(account).is_none_or(|directory| directory.groups_fixed) {
        return Err(Refused::message(403, "The membership cannot be changed: its user directory is read-only."));
    }
    Ok(())
}
