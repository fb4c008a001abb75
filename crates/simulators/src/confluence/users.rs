//! Users: read, create, change, delete.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::errors::Refused;
use super::instance::{Call, Confluence};
use super::render;
use super::state::{Account, USERS, World};
use crate::front::Reply;

/// Request body that creates or changes an account.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    user_name: Option<String>,
    full_name: Option<String>,
    email: Option<String>,
    password: Option<String>,
    #[serde(default)]
    notify_via_email: bool,
}

fn read(call: &Call<'_>) -> Result<Sent, Refused> {
    serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())
}

/// Returns the account that `username` or `key` names.
fn find<'w>(world: &'w World, call: &Call<'_>) -> Result<&'w Arc<Account>, Refused> {
    let (name, key) = (call.request.param("username"), call.request.param("key"));
    let found = match (&name, &key) {
        (_, Some(key)) => world.identities.get(key.as_str()),
        (Some(name), None) => world.identities.named(name),
        (None, None) => None,
    };
    found.ok_or_else(|| Refused::no_user(&name.or(key).unwrap_or_default()))
}

fn named<'w>(world: &'w World, name: &str) -> Result<&'w Arc<Account>, Refused> {
    world.identities.named(name).ok_or_else(|| Refused::no_user(name))
}

/// `GET /user`
pub(crate) fn get(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_user(world)?;
    Ok(Reply::json(200, &render::user(call, find(world, call)?)))
}

/// `GET /user/current`
pub(crate) fn current(world: &World, call: &Call<'_>) -> Reply {
    let Some(account) = call.account(world) else {
        let picture =
            json!({ "path": "/images/icons/profilepics/anonymous.svg", "width": 48, "height": 48, "isDefault": true });
        let nobody = json!({ "type": "anonymous", "displayName": "Anonymous", "profilePicture": picture });
        return Reply::json(200, &nobody);
    };
    Reply::json(200, &render::user(call, account))
}

/// `GET /user/list`, and `GET /admin/users/list/active`
pub(crate) fn list(world: &World, call: &Call<'_>, only_counted: bool) -> Result<Reply, Refused> {
    let show = |account: &Arc<Account>| Some(render::user(call, account));
    let all = world.identities.listed();
    let all: Vec<Arc<Account>> = if only_counted {
        call.demand_admin(world)?;
        all.filter(|account| World::counts(account)).cloned().collect()
    } else {
        call.demand_user(world)?;
        all.cloned().collect()
    };
    render::page(call, &all, 100, show)
}

/// `GET /user/memberof`
pub(crate) fn member_of(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_user(world)?;
    let groups: Vec<String> = find(world, call)?.groups.iter().cloned().collect();
    render::page(call, &groups, 200, |name| world.identities.group(name).map(|group| render::group(call, group)))
}

fn check_full_name(name: &str) -> Result<(), Refused> {
    if name.trim().is_empty() || name.contains(['<', '>']) || name.eq_ignore_ascii_case("anonymous") {
        return Err(Refused::message(400, "The full name is blank, anonymous, or contains < or >."));
    }
    Ok(())
}

fn check_email(email: &str) -> Result<(), Refused> {
    if email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()) {
        return Ok(());
    }
    Err(Refused::message(400, "The email is not a valid address."))
}

fn check_login(name: &str) -> Result<(), Refused> {
    let wrong = if name.is_empty() {
        "is blank"
    } else if name.contains(['\\', ',', '+', '<', '>', '\'', '"']) {
        "contains one of \\ , + < > ' \""
    } else if name.contains(char::is_whitespace) {
        "contains white space"
    } else if name == "anonymous" {
        "is anonymous"
    } else if name.contains(char::is_uppercase) {
        "contains upper case characters"
    } else {
        return Ok(());
    };
    Err(Refused::message(400, format!("The username {wrong}.")))
}

/// `POST /admin/user`
pub(crate) fn create(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let sent = read(call)?;
    let (name, full_name) = (sent.user_name.unwrap_or_default(), sent.full_name.unwrap_or_default());
    let email = sent.email.unwrap_or_default();
    check_login(&name)?;
    check_full_name(&full_name)?;
    check_email(&email)?;
    let password = sent.password.is_some_and(|password| !password.trim().is_empty());
    if password == sent.notify_via_email {
        return Err(Refused::message(400, "Either a password or a notification by email is needed, and not both."));
    }
    if call.switches.read_only {
        return Err(Refused::read_only());
    }
    if world.identities.named(&name).is_some() {
        return Err(Refused::message(409, format!("A user with the username {name} exists already.")));
    }
    if world.free_seats() == Some(0) {
        return Err(Refused::message(402, "There are not enough licenses to create this user."));
    }
    let key = world.add(&name, &full_name, &email, true);
    world.identities.add_member(&key, USERS);
    Ok(Reply::json(201, &json!({ "userKey": *key })))
}

/// `PUT /admin/user/{username}`
pub(crate) fn update(world: &mut World, call: &Call<'_>, name: &str) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    named(world, name)?;
    let sent = read(call)?;
    if call.switches.update_wants_both && (sent.full_name.is_none() || sent.email.is_none()) {
        return Err(Refused::message(400, "Full name and email must be given."));
    }
    if let Some(full_name) = &sent.full_name {
        check_full_name(full_name)?;
    }
    if let Some(email) = &sent.email {
        check_email(email)?;
    }
    if call.switches.read_only {
        return Err(Refused::read_only());
    }
    if let Some(account) = world.account_mut(name) {
        account.full_name = sent.full_name.unwrap_or_else(|| account.full_name.clone());
        account.email = sent.email.unwrap_or_else(|| account.email.clone());
    }
    Ok(Reply::empty(204))
}

/// `PUT /admin/user/{username}/enable` and `…/disable`
pub(crate) fn set_active(world: &mut World, call: &Call<'_>, name: &str, active: bool) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let account = Arc::clone(named(world, name)?);
    if call.switches.read_only {
        return Err(Refused::read_only());
    }
    if active && !account.active && World::may_use(&account) && world.free_seats() == Some(0) {
        return Err(Refused::message(402, "There are not enough licenses to enable this user."));
    }
    if let Some(account) = world.account_mut(name).filter(|_| !call.switches.idle_activity) {
        account.active = active;
    }
    Ok(Reply::empty(204))
}

/// `DELETE /admin/user/{username}`
pub(crate) fn delete(confluence: &Confluence, world: &World, call: &Call<'_>, name: &str) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let account = named(world, name)?;
    if call.switches.read_only {
        return Err(Refused::read_only());
    }
    let (requests, fails) = (call.switches.deletion_requests, call.switches.deletion_fails.clone());
    let mut tasks = confluence.tasks.lock();
    let id = tasks.submit(&account.id, requests, fails);
    let link = format!("{}/rest/api/longtask/{id}", call.site);
    Ok(Reply::json(202, &json!({ "id": id, "links": { "status": link, "result": format!("{link}/result") } })))
}

/// `PUT` and `DELETE /user/{username}/group/{groupName}`
pub(crate) fn membership(
    world: &mut World,
    call: &Call<'_>,
    name: &str,
    group: &str,
    join: bool,
) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let key = Arc::clone(&named(world, name)?.id);
    let administers =
        world.identities.group(group).ok_or_else(|| Refused::no_group(call.switches.no_group, group))?.administers;
    if call.switches.read_only {
        return Err(Refused::read_only());
    }
    if join {
        world.identities.add_member(&key, group);
    } else {
        let own = call.account(world).is_some_and(|caller| caller.name == name);
        if own && administers {
            return Err(Refused::forbidden());
        }
        world.identities.remove_member(&key, group);
    }
    Ok(Reply::empty(204))
}
