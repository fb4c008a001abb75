//! Users: read, find, create, change, delete.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::errors::Refused;
use super::instance::{Call, named};
use super::render;
use super::state::{Account, AccountData, World};
use super::switches::Permission;
use crate::front::Reply;
use crate::identities::fold;

/// Request body that creates or changes an account.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Sent {
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    active: Option<bool>,
    password: Option<Value>,
}

fn read(call: &Call<'_>) -> Result<Sent, Refused> {
    serde_json::from_slice(&call.request.body).map_err(|_| Refused::argument("The user cannot be read."))
}

/// Returns the account that `username` names.
pub(crate) fn find<'w>(world: &'w World, call: &Call<'_>) -> Result<&'w Arc<Account>, Refused> {
    let name = call.required("username")?;
    world.identities.named(&name).ok_or_else(|| Refused::no_user(&name))
}

/// `GET /user`
pub(crate) fn get(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let key = call.request.param("key").filter(|_| call.crowd.switches().returns_keys);
    let account = match (call.request.param("username"), key) {
        (None, Some(key)) => {
            let found = world.identities.get(key.as_str());
            found.ok_or_else(|| Refused::new(404, "USER_NOT_FOUND", format!("User with key <{key}> does not exist")))?
        }
        _ => find(world, call)?,
    };
    Ok(Reply::json(200, &render::user(call, world, account, call.expands("attributes"))))
}

/// Returns the address in the only restriction that is supported: `email = "…"`, in which an asterisk at an end stands
/// for any text.
fn restricted_to(restriction: &str) -> Option<String> {
    let (property, value) = restriction.split_once('=')?;
    let quoted = value.trim().strip_prefix('"')?.strip_suffix('"')?;
    (property.trim() == "email").then(|| quoted.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// Returns whether an address fits a pattern with an asterisk at an end.
fn fits(email: &str, pattern: &str) -> bool {
    let (email, pattern) = (fold(email), fold(pattern));
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => email.contains(pattern.trim_matches('*')),
        (Some(end), None) => email.ends_with(end),
        (None, Some(start)) => email.starts_with(start),
        (None, None) => email == pattern,
    }
}

/// `GET /search`: all users, those with an e-mail address, or all groups.
///
/// # Source
/// Atlassian, "Crowd Query Language".
pub(crate) fn search(world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let restriction = call.request.param("restriction").unwrap_or_default();
    if !restriction.trim().is_empty() {
        let email = restricted_to(&restriction);
        let email = email.ok_or_else(|| Refused::argument("This restriction is not understood."))?;
        if call.required("entity-type")? != "user" {
            return Err(Refused::argument("Groups have no e-mail address."));
        }
        let found = world.identities.listed().filter(|account| fits(&account.email, &email));
        let ids: Vec<_> = found.map(|account| account.id.clone()).collect();
        return Ok(Reply::json(200, &render::users(call, world, &ids)?));
    }
    match call.required("entity-type")?.as_str() {
        "user" => Ok(Reply::json(200, &render::users(call, world, world.identities.ids())?)),
        "group" => {
            let names: Vec<String> = world.identities.groups().map(|(name, _)| name.clone()).collect();
            Ok(Reply::json(200, &render::groups(call, world, &names)?))
        }
        other => Err(Refused::argument(format!("There is no entity type {other}."))),
    }
}

/// `POST /user`
pub(crate) fn create(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand(Permission::AddUser)?;
    let sent = read(call)?;
    let invalid = |text: &str| Refused::new(400, "INVALID_USER", text);
    let name = sent.name.unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err(invalid("The user has no name."));
    }
    if world.identities.named(&name).is_some() {
        return Err(invalid(&format!("User already exists in directory: <{name}>")));
    }
    let last_name = sent.last_name.unwrap_or_default();
    if call.crowd.before(&[4]) && last_name.trim().is_empty() {
        return Err(invalid("The user has no last name."));
    }
    let email = sent.email.unwrap_or_default();
    if !email.is_empty() && !email.contains('@') {
        return Err(Refused::new(400, "INVALID_EMAIL", format!("{email} is no e-mail address.")));
    }
    let password = sent.password.as_ref().and_then(|password| password["value"].as_str()).unwrap_or_default();
    if password.is_empty() || password.chars().count() < call.crowd.switches().password_min {
        return Err(Refused::new(400, "INVALID_CREDENTIAL", "The password does not meet the policy."));
    }
    let directory = world.writable().ok_or_else(|| {
        Refused::new(403, "APPLICATION_PERMISSION_DENIED", "All directories of this application are read-only.")
    })?;
    let data = AccountData {
        first_name: sent.first_name.unwrap_or_default(),
        last_name,
        display_name: sent.display_name.unwrap_or_default(),
        email,
        active: sent.active.unwrap_or(true),
        directory,
        ..AccountData::default()
    };
    let key = world.add(name, data);
    let account = world.identities.get(&key).ok_or_else(|| Refused::bare(500))?;
    let shown = render::user(call, world, account, false);
    let location = shown["link"]["href"].as_str().unwrap_or_default().to_owned();
    let reply = if call.crowd.before(&[3]) { Reply::empty(201) } else { Reply::json(201, &shown) };
    Ok(reply.with("location", location))
}

/// Returns the account that a write is about, if its directory is writable.
fn writable(world: &World, call: &Call<'_>, permission: Permission) -> Result<Arc<Account>, Refused> {
    let account = Arc::clone(find(world, call)?);
    call.demand(permission)?;
    match world.directories.get(account.directory).filter(|directory| directory.read_only) {
        Some(directory) => {
            let text = format!("Directory <{}> is read-only.", directory.name);
            Err(Refused::new(403, "APPLICATION_PERMISSION_DENIED", text))
        }
        None => Ok(account),
    }
}

/// `PUT /user`: replaces all core fields; attributes and password stay.
pub(crate) fn update(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let account = writable(world, call, Permission::ModifyUser)?;
    let sent = read(call)?;
    if sent.name.as_deref().is_none_or(|name| name.to_lowercase() != account.name.to_lowercase()) {
        return Err(Refused::argument("The names in the body and in the address do not match."));
    }
    let keeps_status = world.directories.get(account.directory).is_none_or(|directory| directory.keeps_status);
    if let Some(account) = world.account_mut(&account.name) {
        account.first_name = sent.first_name.unwrap_or_default();
        account.last_name = sent.last_name.unwrap_or_default();
        account.display_name = sent.display_name.unwrap_or_default();
        account.email = sent.email.unwrap_or_default();
        if keeps_status {
            account.active = sent.active.unwrap_or_default();
        }
    }
    Ok(Reply::empty(204))
}

/// `POST /user/rename`, since 2.8.4.
pub(crate) fn rename(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    if call.crowd.before(&[2, 8, 4]) {
        return Err(Refused::bare(404));
    }
    let account = writable(world, call, Permission::ModifyUser)?;
    let to = named(call, "new-name")?;
    if world.identities.named(&to).is_some_and(|other| other.id != account.id) {
        return Err(Refused::new(400, "INVALID_USER", format!("User already exists: <{to}>")));
    }
    world.identities.rename(&account.id, to.clone());
    let account = world.identities.named(&to).ok_or_else(|| Refused::bare(500))?;
    Ok(Reply::json(200, &render::user(call, world, account, false)))
}

/// `DELETE /user`
pub(crate) fn delete(world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    let account = writable(world, call, Permission::RemoveUser)?;
    world.identities.remove(&account.id);
    Ok(Reply::empty(204))
}

/// `GET /user/group/direct` and `…/nested`. For a missing user the list is empty; it is no error.
pub(crate) fn groups(world: &World, call: &Call<'_>, nested: bool) -> Result<Reply, Refused> {
    let name = call.required("username")?;
    let account = world.identities.named(&name);
    let mut names = account.map(|account| world.groups_of(account, nested)).unwrap_or_default();
    if let Some(group) = call.request.param("groupname") {
        let folded = group.to_lowercase();
        names.retain(|name| *name == folded);
        if names.is_empty() {
            let text = format!("User <{name}> is not in group <{group}>");
            return Err(Refused::new(404, "MEMBERSHIP_NOT_FOUND", text));
        }
    }
    Ok(Reply::json(200, &render::groups(call, world, &names)?))
}
