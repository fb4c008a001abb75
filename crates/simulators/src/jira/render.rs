//! Accounts, groups and applications as answers show them.

use serde::Serialize;
use serde_json::{Value, json};

use super::state::{Account, Application, Group, World};
use super::switches::ShownGroups;
use crate::front::form_encoded;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserView<'a> {
    #[serde(rename = "self")]
    link: String,
    key: &'a str,
    name: &'a str,
    email_address: &'a str,
    avatar_urls: Value,
    display_name: &'a str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
    time_zone: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_roles: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expand: Option<&'a str>,
}

fn view<'a>(api: &str, account: &'a Account) -> UserView<'a> {
    let profile = account.profile();
    UserView {
        link: format!("{api}/user?username={}", form_encoded(&account.name)),
        key: &account.id,
        name: &account.name,
        email_address: profile.map_or("", |profile| &profile.email),
        avatar_urls: json!({ "48x48": format!("{}/secure/useravatar?avatarId=10122", site(api)) }),
        display_name: profile.map_or("", |profile| &profile.display_name),
        active: account.active() && !account.deleted,
        deleted: None,
        time_zone: "Europe/Berlin",
        locale: None,
        groups: None,
        application_roles: None,
        expand: None,
    }
}

fn site(api: &str) -> &str {
    api.find("/rest/api/").map_or(api, |at| &api[..at])
}

/// An account as an entry of a list.
pub(crate) fn listed<'a>(api: &str, account: &'a Account) -> impl Serialize + 'a {
    view(api, account)
}

/// A single account, with groups and applications if the request expands them.
pub(crate) fn user(world: &World, api: &str, account: &Account, expand: &str, groups: ShownGroups) -> Value {
    let asked = |what: &str| expand.split(',').any(|one| one.trim() == what);
    let mut shown = view(api, account);
    shown.deleted = Some(account.deleted);
    shown.locale = Some("en_US");
    shown.expand = Some("groups,applicationRoles");
    let group = |name: &String| {
        let name = world.identities.group(name).map_or(name.as_str(), |group| &group.name);
        json!({ "name": name, "self": format!("{api}/group?groupname={}", form_encoded(name)) })
    };
    let most = match groups {
        _ if !asked("groups") => 0,
        ShownGroups::All => usize::MAX,
        ShownGroups::First(most) => most,
        ShownGroups::Counted | ShownGroups::Missing => 0,
    };
    let items: Vec<Value> = account.groups.iter().take(most).map(group).collect();
    let list = json!({ "size": account.groups.len(), "items": items });
    shown.groups = (groups != ShownGroups::Missing).then_some(list);
    let held: Vec<&Application> = world.applications.iter().filter(|one| World::uses(account, one)).collect();
    let items: Vec<Value> = if asked("applicationRoles") {
        held.iter().map(|one| json!({ "key": one.key, "name": one.name })).collect()
    } else {
        Vec::new()
    };
    shown.application_roles = Some(json!({ "size": held.len(), "items": items }));
    serde_json::to_value(shown).unwrap_or_default()
}

/// An account as the answer to its creation or change shows it.
pub(crate) fn written(world: &World, api: &str, account: &Account) -> Value {
    let profile = account.profile();
    let keys: Vec<&str> = world
        .applications
        .iter()
        .filter(|application| World::uses(account, application))
        .map(|application| application.key.as_str())
        .collect();
    json!({
        "self": format!("{api}/user?username={}", form_encoded(&account.name)),
        "key": *account.id,
        "name": account.name,
        "emailAddress": profile.map(|profile| &profile.email),
        "displayName": profile.map(|profile| &profile.display_name),
        "active": account.active(),
        "applicationKeys": keys,
    })
}

/// A group as the answer to its creation or change shows it.
pub(crate) fn group(api: &str, group: &Group) -> Value {
    json!({
        "name": group.name,
        "self": format!("{api}/group?groupname={}", form_encoded(&group.name)),
        "users": {
            "size": group.members.len(), "items": [], "max-results": 50, "start-index": 0, "end-index": 0,
        },
        "expand": "users",
    })
}

/// An application with its seats.
pub(crate) fn application(world: &World, application: &Application) -> Value {
    let used = world.users_of(application);
    let named = |folded| -> Vec<String> { world.identities.group_names(folded) };
    let free = application.seats.map(|seats| seats.saturating_sub(used));
    json!({
        "key": application.key,
        "name": application.name,
        "groups": named(&application.groups),
        "defaultGroups": named(&application.default_groups),
        "selectedByDefault": application.selected_by_default,
        "defined": true,
        "platform": application.key == "jira-core",
        // Without a limit Jira shows -1.
        "numberOfSeats": application.seats.map_or(-1, |seats| i64::try_from(seats).unwrap_or(i64::MAX)),
        "remainingSeats": free.map_or(-1, |seats| i64::try_from(seats).unwrap_or(i64::MAX)),
        "userCount": used,
        "userCountDescription": format!("{used} users"),
        "hasUnlimitedSeats": application.seats.is_none(),
    })
}
