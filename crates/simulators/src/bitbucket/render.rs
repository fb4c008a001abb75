//! Users, groups and lists as answers show them.

use serde_json::{Value, json};

use super::errors::Refused;
use super::instance::{Bitbucket, Call};
use super::state::{Account, Group, World};
use crate::front::Reply;

/// Returns the user slug of a login: lower case, with `_` for characters that need encoding in a URL.
fn slug(name: &str) -> String {
    name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect()
}

/// A user with the fields that only administrators see.
pub(crate) fn user(world: &World, account: &Account) -> Value {
    let mut shown = plain_user(account);
    let directory = world.directory(account);
    let details = directory.is_some_and(|directory| !directory.details_fixed);
    shown["directoryName"] = json!(directory.map(|directory| &directory.name));
    shown["deletable"] = json!(details);
    shown["createdTimestamp"] = json!(1_768_145_580_548_i64);
    shown["lastAuthenticationTimestamp"] = json!(1_768_145_580_548_i64);
    shown["mutableDetails"] = json!(details);
    shown["mutableGroups"] = json!(directory.is_some_and(|directory| !directory.groups_fixed));
    shown
}

/// A user with the fields that every caller sees.
pub(crate) fn plain_user(account: &Account) -> Value {
    json!({
        "name": account.name,
        "emailAddress": account.email,
        "id": account.id.parse::<i64>().unwrap_or_default(),
        "displayName": account.display_name,
        "active": account.active,
        "slug": slug(&account.name),
        "type": if account.service { "SERVICE" } else { "NORMAL" },
    })
}

pub(crate) fn group(group: &Group) -> Value {
    json!({ "name": group.name, "deletable": !group.fixed })
}

/// Returns a page of a list: the entries of `all` that match the filter.
pub(crate) fn page<T>(
    bitbucket: &Bitbucket,
    call: &Call<'_>,
    all: impl Iterator<Item = T>,
    fits: impl Fn(&T) -> bool,
    shown: impl Fn(T) -> Value,
) -> Result<Reply, Refused> {
    let switches = bitbucket.switches();
    let start = call.number("start")?.unwrap_or(0);
    let limit = call.number("limit")?.unwrap_or(25).clamp(1, switches.page_cap);
    let mut passed = 0;
    let (values, more): (Vec<Value>, bool) = if switches.sparse {
        let mut rest = all.skip(start);
        let page: Vec<T> = rest.by_ref().take(limit).collect();
        passed += page.len();
        (page.into_iter().filter(|one| fits(one)).map(shown).collect(), rest.next().is_some())
    } else {
        let mut rest = all.filter(|one| fits(one)).skip(start);
        let page: Vec<T> = rest.by_ref().take(limit).collect();
        passed += page.len();
        (page.into_iter().map(shown).collect(), rest.next().is_some())
    };
    let mut body = json!({
        "size": values.len(), "limit": limit, "isLastPage": !more, "start": start, "values": values,
    });
    if more {
        body["nextPageStart"] = json!(start + passed);
    }
    Ok(Reply::json_utf8(200, &body))
}
