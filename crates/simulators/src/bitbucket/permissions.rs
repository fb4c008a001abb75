//! Global permissions of groups and users.

use std::sync::Arc;

use serde_json::json;

use super::errors::Refused;
use super::instance::{Bitbucket, Call};
use super::render::{page, plain_user};
use super::state::{Permission, World};
use crate::front::Reply;
use crate::identities::fold;
use crate::roster::Id;

/// `GET /admin/permissions/groups` and `/users`
pub(crate) fn list(bitbucket: &Bitbucket, world: &World, call: &Call<'_>, groups: bool) -> Result<Reply, Refused> {
    let filter = fold(&call.request.param("filter").unwrap_or_default());
    if groups {
        let all = world.group_permissions.iter();
        return page(
            bitbucket,
            call,
            all,
            |(name, _)| name.contains(&filter),
            |(name, permission)| {
                let name = world.identities.group(name).map_or(name, |group| &group.name);
                json!({ "group": { "name": name }, "permission": permission.as_str() })
            },
        );
    }
    let all =
        world.user_permissions.iter().filter_map(|(id, permission)| Some((world.identities.get(id)?, permission)));
    page(
        bitbucket,
        call,
        all,
        |(account, _)| fold(&account.name).contains(&filter),
        |(account, permission)| json!({ "user": plain_user(account), "permission": permission.as_str() }),
    )
}

/// Subject of a permission: a group by folded name, or a user by id.
enum Subject {
    Group(String),
    User(Id),
}

fn subject(world: &World, name: &str, groups: bool) -> Result<Subject, Refused> {
    if groups {
        world.identities.group(name).map(|_| Subject::Group(fold(name))).ok_or_else(|| Refused::no_group(name))
    } else {
        let account = world.identities.named(name).ok_or_else(|| Refused::no_user(name))?;
        Ok(Subject::User(Arc::clone(&account.id)))
    }
}

/// Grants or revokes a permission. Refused if it lowers the caller's own, or if the old one was above the caller's.
fn set(world: &mut World, call: &Call<'_>, subject: &Subject, to: Option<Permission>) -> Result<(), Refused> {
    let level = call.level(world);
    let mut draft = world.clone();
    let before = match (subject, to) {
        (Subject::Group(name), Some(to)) => draft.group_permissions.insert(name.clone(), to),
        (Subject::Group(name), None) => draft.group_permissions.remove(name),
        (Subject::User(id), Some(to)) => draft.user_permissions.insert(Arc::clone(id), to),
        (Subject::User(id), None) => draft.user_permissions.remove(id),
    };
    if before > level || call.level(&draft) < level {
        let text = "This would lower your own permissions, or those of somebody with more than you have.";
        return Err(Refused::message(409, text));
    }
    if draft.seats.is_some_and(|seats| draft.licensed() > seats) && draft.licensed() > world.licensed() {
        return Err(Refused::full());
    }
    *world = draft;
    Ok(())
}

/// `PUT /admin/permissions/groups` and `/users`
pub(crate) fn give(world: &mut World, call: &Call<'_>, groups: bool) -> Result<Reply, Refused> {
    let text = call.demanded("permission")?;
    let permission = Permission::read(&text);
    let permission = permission.ok_or_else(|| Refused::field("permission", format!("{text} is no permission.")))?;
    if Some(permission) > call.level(world) {
        return Err(Refused::no_right());
    }
    let names = call.request.params("name");
    if names.is_empty() {
        return Err(Refused::missing("name"));
    }
    for name in names {
        let subject = subject(world, &name, groups)?;
        set(world, call, &subject, Some(permission))?;
    }
    Ok(Reply::empty(204))
}

/// `DELETE /admin/permissions/groups` and `/users`
pub(crate) fn take(world: &mut World, call: &Call<'_>, groups: bool) -> Result<Reply, Refused> {
    let subject = subject(world, &call.demanded("name")?, groups)?;
    set(world, call, &subject, None)?;
    Ok(Reply::empty(204))
}
