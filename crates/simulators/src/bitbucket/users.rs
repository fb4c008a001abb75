//! Users: find, create, change, delete.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::errors::Refused;
use super::instance::{Bitbucket, Call};
use super::render::{self, page};
use super::state::{Account, World};
use crate::front::Reply;
use crate::identities::fold;

/// Request body that changes a user's details. It has no field for the active flag.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Update {
    name: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
}

/// Request body that changes a login.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rename {
    name: Option<String>,
    new_name: Option<String>,
}

pub(crate) fn matches(account: &Account, filter: &str) -> bool {
    [&account.name, &account.display_name, &account.email].into_iter().any(|text| fold(text).contains(filter))
}

/// `GET /admin/users`
pub(crate) fn list(bitbucket: &Bitbucket, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let filter = fold(&call.request.param("filter").unwrap_or_default());
    let all = world.identities.listed();
    page(bitbucket, call, all, |account| matches(account, &filter), |account| render::user(world, account))
}

/// `GET /admin/users/more-members`: the groups of a user, although the API description says otherwise.
pub(crate) fn groups(bitbucket: &Bitbucket, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = call.demanded("context")?;
    let filter = fold(&call.request.param("filter").unwrap_or_default());
    let account = world.identities.named(&name);
    if account.is_none() && bitbucket.switches().unknown_is_404 {
        return Err(Refused::no_user(&name));
    }
    let all =
        account.into_iter().flat_map(|account| account.groups.iter()).filter_map(|name| world.identities.group(name));
    page(bitbucket, call, all, |group| fold(&group.name).contains(&filter), |group| render::group(group))
}

/// Checks that a login is valid.
fn check_name(name: &str) -> Result<(), Refused> {
    if name.trim().is_empty() {
        return Err(Refused::missing("name"));
    }
    if name.chars().count() > 255 {
        return Err(Refused::field("name", "The name is longer than 255 characters."));
    }
    Ok(())
}

/// `POST /admin/users`: all parameters are in the query; there is no body.
pub(crate) fn create(bitbucket: &Bitbucket, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = call.request.param("name").unwrap_or_default();
    check_name(&name)?;
    let (display_name, email) = (call.demanded("displayName")?, call.demanded("emailAddress")?);
    let notify = call.request.param("notify").is_some_and(|value| value != "false");
    if !notify && call.request.param("password").is_none_or(|password| password.is_empty()) {
        return Err(Refused::missing("password"));
    }
    let name = if bitbucket.switches().lower_logins { fold(&name) } else { name };
    if world.identities.named(&name).is_some() {
        return Err(Refused::message(409, format!("Another user with the name {name} already exists.")));
    }
    let directory = world.writable().ok_or_else(|| {
        Refused::message(400, "The user cannot be created: there is no user directory that is not read-only.")
    })?;
    let group = world.default_group.clone();
    let group = group.filter(|_| call.request.param("addToDefaultGroup").is_none_or(|value| value != "false"));
    if group.as_ref().is_some_and(|group| world.given_by(group).is_some()) && world.is_full() {
        return Err(Refused::full());
    }
    let id = world.add(&name, &display_name, &email, directory);
    if let Some(group) = group {
        world.identities.add_member(&id, &group);
    }
    if let Some(password) = call.request.param("password") {
        bitbucket.set_password(&name, &password);
    }
    Ok(Reply::empty(204))
}

/// Returns the user that a change is about, if the caller may change it.
fn changed(world: &World, call: &Call<'_>, name: Option<&str>) -> Result<Arc<Account>, Refused> {
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| Refused::missing("name"))?;
    let account = world.identities.named(name).ok_or_else(|| Refused::no_user(name))?;
    if world.level(account) > call.level(world) {
        return Err(Refused::no_right());
    }
    if world.directory(account).is_none_or(|directory| directory.details_fixed) {
        return Err(Refused::message(400, "The user cannot be changed: its user directory is read-only."));
    }
    Ok(Arc::clone(account))
}

/// `PUT /admin/users`
pub(crate) fn update(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let sent: Update = serde_json::from_slice(&call.body()?).map_err(|error| {
        let unknown = error.to_string().starts_with("unknown field");
        if unknown { Refused::message(400, "Unrecognized field") } else { Refused::unreadable() }
    })?;
    let account = changed(world, call, sent.name.as_deref())?;
    for (field, value) in [("displayName", &sent.display_name), ("email", &sent.email)] {
        if value.as_deref().is_some_and(|value| value.trim().is_empty()) {
            return Err(Refused::missing(field));
        }
    }
    if let Some(account) = world.identities.get_mut(&account.id) {
        if let Some(name) = sent.display_name {
            account.display_name = name;
        }
        if let Some(email) = sent.email {
            account.email = email;
        }
    }
    shown(world, &account.id)
}

/// `POST /admin/users/rename`
pub(crate) fn rename(bitbucket: &Bitbucket, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let sent: Rename = serde_json::from_slice(&call.body()?).map_err(|_| Refused::unreadable())?;
    let account = changed(world, call, sent.name.as_deref())?;
    let to = sent.new_name.unwrap_or_default();
    check_name(&to)?;
    let switches = bitbucket.switches();
    if world.identities.named(&to).is_some_and(|other| other.id != account.id) {
        return Err(Refused::message(switches.clash, format!("Another user with the name {to} already exists.")));
    }
    bitbucket.move_credentials(&account.name, &to);
    world.identities.rename(&account.id, if switches.lower_logins { fold(&to) } else { to });
    shown(world, &account.id)
}

fn shown(world: &World, id: &str) -> Result<Reply, Refused> {
    let account = world.identities.get(id).ok_or_else(|| Refused::bare(500))?;
    Ok(Reply::json_utf8(200, &render::user(world, account)))
}

/// `DELETE /admin/users`
pub(crate) fn delete(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = call.demanded("name")?;
    let account = Arc::clone(world.identities.named(&name).ok_or_else(|| Refused::no_user(&name))?);
    if call.name == Some(fold(&account.name).as_str()) {
        return Err(Refused::message(409, "You cannot delete yourself."));
    }
    if world.level(&account) > call.level(world) {
        return Err(Refused::message(403, "You cannot delete a user with more permissions than you have."));
    }
    if world.directory(&account).is_none_or(|directory| directory.details_fixed) {
        return Err(Refused::message(400, "The user cannot be deleted: its user directory is read-only."));
    }
    let reply = Reply::json_utf8(200, &render::user(world, &account));
    world.remove(&account.id);
    Ok(reply)
}

/// `PUT /admin/users/credentials`
pub(crate) fn password(bitbucket: &Bitbucket, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let sent: Value = serde_json::from_slice(&call.body()?).map_err(|_| Refused::unreadable())?;
    let account = changed(world, call, sent["name"].as_str())?;
    let password = sent["password"].as_str().filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| Refused::missing("password"))?;
    if sent["passwordConfirm"] != password {
        return Err(Refused::field("passwordConfirm", "The passwords are not the same."));
    }
    bitbucket.set_password(&account.name, password);
    Ok(Reply::empty(204))
}
