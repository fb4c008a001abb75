//! Users: read, find, create, change, delete.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::errors::Refused;
use super::instance::{Call, Jira};
use super::state::{Account, Application, Profile, World};
use super::{projects, render};
use crate::front::Reply;
use crate::identities::fold;

const DUPLICATE: &str = "A user with that username already exists.";
const FULL: &str = "There are no seats left in the licence of";

/// Request body that creates or changes an account.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    name: Option<String>,
    email_address: Option<String>,
    display_name: Option<String>,
    active: Option<bool>,
    application_keys: Option<Vec<String>>,
}

/// `GET /user`
pub(crate) fn get(jira: &Jira, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let deleted = call.request.flag("includeDeleted") && call.is_admin(world);
    let account = find(world, call, deleted)?;
    let expand = call.request.params("expand").join(",");
    Ok(Reply::json_utf8(200, &render::user(world, &call.api, account, &expand, jira.switches().shown_groups)))
}

/// Returns the account that `username` or `key` names.
fn find<'a>(world: &'a World, call: &Call<'_>, deleted: bool) -> Result<&'a Arc<Account>, Refused> {
    let (name, key) = (call.request.param("username"), call.request.param("key"));
    let found = match (&name, &key) {
        (Some(name), _) => world.identities.named(name).or_else(|| {
            let wanted = fold(name);
            world.deleted.iter().find(|account| deleted && account.name == wanted)
        }),
        (None, Some(key)) => {
            world.identities.get(key).or_else(|| world.deleted.iter().find(|account| deleted && *account.id == **key))
        }
        (None, None) => {
            // Jira's API description has no 400 for reads.
            let status = if call.request.method == "GET" { 404 } else { 400 };
            let text = "Either the 'username' or the 'key' query parameters need to be provided";
            return Err(Refused::message(status, text));
        }
    };
    found.ok_or_else(|| Refused::no_user(&name.or(key).unwrap_or_default()))
}

/// `GET /user/search`: a bare array, which never has all users. It finds logins, addresses and words of display names
/// that begin with the text.
///
/// # Source
/// Jira's `UserMatcherPredicate`.
pub(crate) fn search(jira: &Jira, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    let switches = jira.switches();
    let query = call.request.param("username").filter(|query| !query.is_empty());
    let query = query.ok_or_else(|| Refused::message(400, "The username query parameter was not provided"))?;
    let start = call.number("startAt")?.unwrap_or(0);
    let max = call.number("maxResults")?.unwrap_or(50);
    let active = call.request.param("includeActive").is_none_or(|value| value != "false");
    let inactive = call.request.flag("includeInactive");
    let (start, max) = if switches.search_cap_is_total {
        (start, max.min(switches.search_cap.saturating_sub(start)))
    } else {
        (start, max.min(switches.search_cap))
    };
    let wanted = fold(&query);
    // These match every user.
    let all = matches!(wanted.as_str(), "." | "%" | "_");
    let fits = |account: &&Arc<Account>| {
        let profile = account.profile();
        (if account.active() { active } else { inactive })
            && (all
                || account.name.starts_with(&wanted)
                || profile.is_some_and(|one| {
                    fold(&one.email).starts_with(&wanted)
                        || fold(&one.display_name).split(' ').any(|word| word.starts_with(&wanted))
                        || fold(&one.display_name).starts_with(&wanted)
                }))
    };
    let found = world.identities.listed().filter(fits);
    let shown: Vec<_> = found.skip(start).take(max).map(|account| render::listed(&call.api, account)).collect();
    Ok(Reply::json_utf8(200, &shown))
}

/// `GET /user/list`: all users, by cursor.
pub(crate) fn list(jira: &Jira, world: &World, call: &Call<'_>) -> Result<Reply, Refused> {
    if jira.version < (10, 3) {
        return Err(Refused::no_path(&call.request.path));
    }
    call.demand_admin(world)?;
    let switches = jira.switches();
    let max = call.number("maxResults")?.unwrap_or(2000).clamp(1, switches.list_cap);
    let cursor = match call.request.param("cursor") {
        Some(text) => text.parse().map_err(|_| Refused::message(400, "The cursor is not one of ours."))?,
        None => 0_u64,
    };
    let mut from = world
        .by_number
        .range(cursor..)
        .filter_map(|(number, key)| Some((number, world.identities.get(key)?)))
        .filter(|(_, account)| switches.list_inactive || account.active());
    let values: Vec<_> = from.by_ref().take(max).map(|(_, account)| render::listed(&call.api, account)).collect();
    let next = from.next().map(|(number, _)| number.to_string());
    let link = |cursor: &str| format!("{}/user/list?cursor={cursor}&maxResults={max}", call.api);
    let mut shown = json!({
        "self": link(&cursor.to_string()), "maxResults": max, "isLast": next.is_none(), "values": values,
    });
    if let Some(next) = next {
        shown["nextPage"] = json!(link(&next));
        shown["nextCursor"] = json!(next);
    }
    Ok(Reply::json_utf8(200, &shown))
}

/// `GET /user/duplicated/…`: names that exist in more than one directory.
pub(crate) fn duplicated(world: &World, call: &Call<'_>, count: bool) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let found: Vec<&Arc<Account>> = world.identities.listed().filter(|account| account.profiles.len() > 1).collect();
    if count {
        return Ok(Reply::json_utf8(200, &found.len()));
    }
    let shown: Vec<Value> = found.iter().map(|one| json!({ "userName": one.name, "directories": one.profiles.iter().filter_map(|profile| world.directories.get(profile.directory)).map(|one| json!({ "name": one.name })).collect::<Vec<_>>() })).collect();
    Ok(Reply::json_utf8(200, &shown))
}

fn read(call: &Call<'_>) -> Result<Sent, Refused> {
    serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())
}

fn check_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("You must specify a username.");
    }
    if name.contains(['<', '>', '&']) {
        return Some("The username must not contain '<', '>' and '&'.");
    }
    (name.chars().count() > 255).then_some("The username must not exceed 255 characters in length.")
}

fn is_address(email: &str) -> bool {
    email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
}

/// `POST /user`
pub(crate) fn create(jira: &Jira, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    if jira.switches().external_management {
        return Err(Refused::message(403, "Users cannot be created: external user management is switched on."));
    }
    let directory = world.writable().ok_or_else(Refused::read_only)?;
    let sent = read(call)?;
    let name = sent.name.as_deref().unwrap_or_default().trim();
    let email = sent.email_address.as_deref().unwrap_or_default().trim();
    let display_name = sent.display_name.as_deref().unwrap_or_default().trim();
    let mut errors = Map::new();
    if let Some(text) = check_name(name) {
        errors.insert("username".into(), json!(text));
    } else if world.identities.named(name).is_some() {
        errors.insert("username".into(), json!(DUPLICATE));
    }
    if email.is_empty() {
        errors.insert("email".into(), json!("You must specify an email address."));
    } else if !is_address(email) {
        errors.insert("email".into(), json!("You must specify a valid email address."));
    }
    if display_name.is_empty() {
        errors.insert("fullname".into(), json!("You must specify a full name."));
    }
    if !errors.is_empty() {
        return Err(Refused::fields(&errors));
    }
    // Missing keys mean the applications that new users get by default; an empty list means none.
    let applications: Vec<&Application> = match &sent.application_keys {
        None => world.applications.iter().filter(|one| one.selected_by_default).collect(),
        Some(keys) => keys.iter().map(|key| application(world, key)).collect::<Result<_, _>>()?,
    };
    if let Some(full) = applications.iter().find(|application| world.is_full(application)) {
        return Err(Refused::message(400, format!("{FULL} {}.", full.name)));
    }
    let groups: Vec<String> = applications.iter().flat_map(|one| one.default_groups.iter().cloned()).collect();
    let profile = Profile { directory, display_name: display_name.into(), email: email.into(), active: true };
    let key = world.add(name, profile);
    for group in groups {
        world.identities.add_member(&key, &group);
    }
    let account = world.identities.get(&key).ok_or_else(|| Refused::bare(500))?;
    let shown = render::written(world, &call.api, account);
    let location = shown["self"].as_str().unwrap_or_default().to_owned();
    Ok(Reply::json_utf8(201, &shown).with("location", location))
}

fn application<'a>(world: &'a World, key: &str) -> Result<&'a Application, Refused> {
    let found = world.applications.iter().find(|application| application.key == key);
    found.ok_or_else(|| Refused::message(400, format!("There is no application '{key}'.")))
}

/// `PUT /user`
pub(crate) fn update(jira: &Jira, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let account = Arc::clone(find(world, call, false)?);
    call.demand_over(world, &account)?;
    if world.is_read_only(&account) {
        return Err(Refused::read_only());
    }
    let mut sent = read(call)?;
    if jira.version < (8, 3) {
        sent.active = None;
    }
    if sent.name.is_none() && sent.email_address.is_none() && sent.display_name.is_none() && sent.active.is_none() {
        return Err(Refused::message(400, "There is nothing to change."));
    }
    if let Some(name) = &sent.name {
        if let Some(text) = check_name(name) {
            return Err(Refused::field("username", text));
        }
        if world.identities.named(name).is_some_and(|other| other.id != account.id) {
            return Err(Refused::field("username", DUPLICATE));
        }
    }
    if let Some(email) = sent.email_address.as_deref().filter(|email| !is_address(email)) {
        return Err(Refused::field("email", &format!("'{email}' is not a valid email address.")));
    }
    if sent.display_name.as_deref().is_some_and(|name| name.trim().is_empty()) {
        return Err(Refused::field("fullname", "You must specify a full name."));
    }
    if let Some(why) = (sent.active == Some(false)).then(|| projects::why_kept(jira, world, &account)).flatten() {
        return Err(Refused::message(400, why));
    }
    if sent.active == Some(true) && !account.active() {
        let held = world.applications.iter().find(|one| World::uses(&account, one) && world.is_full(one));
        if let Some(full) = held {
            return Err(Refused::message(400, format!("{FULL} {}.", full.name)));
        }
    }
    if let Some(name) = &sent.name {
        world.identities.rename(&account.id, fold(name));
    }
    if let Some(profile) = world.identities.get_mut(&account.id).and_then(|account| account.profiles.first_mut()) {
        if let Some(email) = sent.email_address {
            profile.email = email;
        }
        if let Some(name) = sent.display_name {
            profile.display_name = name;
        }
        profile.active = sent.active.unwrap_or(profile.active);
    }
    let account = world.identities.get(&account.id).ok_or_else(|| Refused::bare(500))?;
    Ok(Reply::json_utf8(200, &render::written(world, &call.api, account)))
}

/// `DELETE /user`
pub(crate) fn delete(jira: &Jira, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let account = Arc::clone(find(world, call, false)?);
    call.demand_over(world, &account)?;
    if call.name == Some(account.name.as_str()) {
        return Err(Refused::message(400, "You cannot delete yourself."));
    }
    if world.is_read_only(&account) {
        return Err(Refused::read_only());
    }
    if let Some(why) = projects::why_kept(jira, world, &account) {
        return Err(Refused::message(400, why));
    }
    // Content stays with the name if another directory has it.
    if account.content && account.profiles.len() == 1 {
        let text = format!("Cannot delete user '{}': it has reported issues or comments.", account.name);
        return Err(Refused::message(400, text));
    }
    world.remove(&account.id);
    Ok(Reply::empty(204))
}

/// `PUT /user/password`
pub(crate) fn password(jira: &Jira, world: &mut World, call: &Call<'_>) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let account = find(world, call, false)?;
    call.demand_over(world, account)?;
    if world.is_read_only(account) {
        return Err(Refused::read_only());
    }
    let sent: Value = serde_json::from_slice(&call.request.body).map_err(|_| Refused::unreadable())?;
    let password = sent["password"].as_str().filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| Refused::field("password", "You must specify a password."))?;
    jira.set_password(&account.name, password);
    Ok(Reply::empty(204))
}

/// `POST` and `DELETE /user/application`
pub(crate) fn access(world: &mut World, call: &Call<'_>, give: bool) -> Result<Reply, Refused> {
    call.demand_admin(world)?;
    let account = Arc::clone(find(world, call, false).map_err(|_| Refused::message(400, "There is no such user."))?);
    let key = call.request.param("applicationKey").unwrap_or_default();
    let application = application(world, &key)?.clone();
    if !give {
        for group in &application.groups {
            world.identities.remove_member(&account.id, group);
        }
        return Ok(Reply::empty(204));
    }
    if !World::uses(&account, &application) && world.is_full(&application) {
        return Err(Refused::message(400, format!("{FULL} {}.", application.name)));
    }
    for group in &application.default_groups {
        world.identities.add_member(&account.id, group);
    }
    Ok(Reply::empty(200))
}

/// `DELETE /user/session/{username}`, since 9.11 (Jira knowledge base, "Invalidating user sessions in Jira Data
/// Center").
pub(crate) fn end_session(jira: &Jira, world: &mut World, call: &Call<'_>, name: &str) -> Result<Reply, Refused> {
    if jira.version < (9, 11) {
        return Err(Refused::no_path(&call.request.path));
    }
    call.demand_admin(world)?;
    let key = world.identities.id_of(name).ok_or_else(|| Refused::no_user(name))?;
    if let Some(account) = world.identities.get_mut(&key) {
        account.sessions = 0;
    }
    Ok(Reply::empty(200))
}
