//! Accounts and groups as answers show them.

use std::fmt::Write;

use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::Call;
use super::state::{Account, Group, World};
use crate::front::form_encoded;
use crate::roster::Id;

fn link(call: &Call<'_>, what: &str, name: &str, rel: &str) -> Value {
    json!({ "href": format!("{}/{what}={}", call.api, form_encoded(name)), "rel": rel })
}

/// An account as an entry of a list that is not expanded.
pub(crate) fn listed(call: &Call<'_>, account: &Account) -> Value {
    json!({ "link": link(call, "user?username", &account.name, "self"), "name": account.name })
}

/// An account with all its fields.
pub(crate) fn user(call: &Call<'_>, world: &World, account: &Account, attributes: bool) -> Value {
    let name = &account.name;
    let mut user = json!({
        "expand": "attributes",
        "link": link(call, "user?username", name, "self"),
        "name": name,
        "password": { "link": link(call, "user/password?username", name, "edit") },
        "first-name": account.first_name,
        "last-name": account.last_name,
        "display-name": account.display_name,
        "email": account.email,
        "active": account.active,
        "attributes": self::attributes(call, account, attributes),
    });
    let switches = call.crowd.switches();
    if switches.returns_keys {
        user["key"] = json!(*account.id);
    }
    if switches.returns_directories
        && let Some(directory) = world.directories.get(account.directory)
    {
        user["directory-id"] = json!(32_769 + account.directory);
        user["directory-name"] = json!(directory.name);
        user["created-date"] = json!(1_767_225_600_000_u64);
        user["updated-date"] = json!(1_767_225_600_000_u64);
    }
    user
}

/// An account's attributes, or the link to them.
pub(crate) fn attributes(call: &Call<'_>, account: &Account, shown: bool) -> Value {
    let name = &account.name;
    let values = |(key, values): (&String, &Vec<String>)| {
        let attribute = format!("user/attribute?username={}&attributename", form_encoded(name));
        json!({ "link": link(call, &attribute, key, "self"), "name": key, "values": values })
    };
    let shown: Vec<Value> = if shown { account.attributes.iter().map(values).collect() } else { Vec::new() };
    json!({ "link": link(call, "user/attribute?username", name, "self"), "attributes": shown })
}

/// A group as an entry of a list that is not expanded.
pub(crate) fn group_listed(call: &Call<'_>, group: &Group) -> Value {
    json!({ "link": link(call, "group?groupname", &group.name, "self"), "name": group.name })
}

/// A group with all its fields.
pub(crate) fn group(call: &Call<'_>, group: &Group) -> Value {
    json!({
        "expand": "attributes",
        "link": link(call, "group?groupname", &group.name, "self"),
        "name": group.name,
        "description": group.description,
        "type": "GROUP",
        "active": group.active,
        "attributes": {
            "link": link(call, "group/attribute?groupname", &group.name, "self"), "attributes": [],
        },
    })
}

/// A page of users.
pub(crate) fn users(call: &Call<'_>, world: &World, keys: &[Id]) -> Result<Value, Refused> {
    let (full, attributes) = (call.expands("user"), call.expands("attributes"));
    let page = call.page(keys)?.iter().filter_map(|key| world.identities.get(key));
    let users: Vec<Value> =
        page.map(|account| if full { user(call, world, account, attributes) } else { listed(call, account) }).collect();
    Ok(json!({ "expand": "user", "users": users }))
}

/// A page of groups.
pub(crate) fn groups(call: &Call<'_>, world: &World, names: &[String]) -> Result<Value, Refused> {
    let full = call.expands("group");
    let page = call.page(names)?.iter().filter_map(|name| world.identities.group(name));
    let groups: Vec<Value> = page.map(|one| if full { group(call, one) } else { group_listed(call, one) }).collect();
    Ok(json!({ "expand": "group", "groups": groups }))
}

/// All direct memberships, in XML.
pub(crate) fn memberships(world: &World) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<memberships>");
    for (_, group) in world.identities.groups() {
        let users = world.identities.members(group).map(|user| &user.name);
        let children = group.children.iter().filter_map(|name| world.identities.group(name)).map(|child| &child.name);
        // Writing to a `String` cannot fail.
        let _ = write!(xml, "<membership group=\"{}\">", attribute(&group.name));
        list(&mut xml, "users", "user", users);
        list(&mut xml, "groups", "group", children);
        xml.push_str("</membership>");
    }
    xml.push_str("</memberships>");
    xml
}

/// Writes an element that contains one element for each name.
fn list<'n>(xml: &mut String, list: &str, each: &str, names: impl Iterator<Item = &'n String>) {
    let mut names = names.peekable();
    if names.peek().is_none() {
        let _ = write!(xml, "<{list}/>");
        return;
    }
    let _ = write!(xml, "<{list}>");
    for name in names {
        let _ = write!(xml, "<{each} name=\"{}\"/>", attribute(name));
    }
    let _ = write!(xml, "</{list}>");
}

/// Escapes a text as an attribute value.
fn attribute(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => value.push_str("&amp;"),
            '<' => value.push_str("&lt;"),
            '>' => value.push_str("&gt;"),
            '"' => value.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(value, "&#{};", u32::from(c));
            }
            c => value.push(c),
        }
    }
    value
}
