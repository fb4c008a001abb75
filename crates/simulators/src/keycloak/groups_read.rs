//! Reads of groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::errors::Refused;
use super::page::{Page, ok};
use super::render::{self, Depth, GroupDepth};
use super::rights::{Rights, demand};
use super::roles_read;
use super::state::{Group, Id, Realm};
use crate::front::{Reply, Request};

/// Answers a GET below `/groups`.
pub(crate) fn answer(realm: &Realm, rights: &Rights, request: &Request, rest: &[&str]) -> Result<Reply, Refused> {
    match rest {
        [] => list(realm, rights, request),
        ["count"] => {
            demand(rights.query_groups())?;
            let count = match request.param("search").filter(|search| !search.is_empty()) {
                Some(search) => found(realm, &search, request.flag("exact")).len(),
                None if request.flag("top") => realm.top.len(),
                None => realm.groups.len(),
            };
            Ok(ok(&json!({ "count": count })))
        }
        [id, rest @ ..] => {
            // Every caller learns that a group is missing.
            let group = realm.groups.get(*id).ok_or_else(Refused::no_group)?;
            demand(rights.view_users())?;
            of_group(realm, rights, request, group, rest)
        }
    }
}

fn list(realm: &Realm, rights: &Rights, request: &Request) -> Result<Reply, Refused> {
    demand(rights.query_groups())?;
    let page = Page::of(request, usize::MAX)?;
    if !rights.view_users() {
        return Ok(ok(&json!([])));
    }
    let default_on = |name: &str| request.param(name).is_none_or(|value| value != "false");
    let depth = GroupDepth {
        brief: default_on("briefRepresentation"),
        count: default_on("subGroupsCount"),
        access: Some(rights.manage_users()),
    };
    let search = request.param("search").filter(|search| !search.is_empty());
    let attributes = request.param("q").filter(|q| !q.is_empty());
    let hits: Vec<&Arc<Group>> = match (&search, &attributes) {
        (Some(search), _) => found(realm, search, request.flag("exact")),
        (None, Some(q)) => with_attributes(realm, q),
        (None, None) => {
            let top: Vec<&Arc<Group>> = realm.top.values().filter_map(|id| realm.groups.get(id)).collect();
            let shown: Vec<Value> =
                page.cut(&top).iter().map(|group| render::group(realm, group, depth, Vec::new())).collect();
            return Ok(ok(&shown));
        }
    };
    let hits = page.cut(&hits);
    if !default_on("populateHierarchy") {
        let shown: Vec<Value> = hits.iter().map(|group| render::group(realm, group, depth, Vec::new())).collect();
        return Ok(ok(&shown));
    }
    Ok(ok(&hierarchy(realm, hits, depth)))
}

fn found<'a>(realm: &'a Realm, search: &str, exact: bool) -> Vec<&'a Arc<Group>> {
    // An asterisk matches any text.
    let wanted = search.trim_matches('*').to_lowercase();
    let fits = |group: &&Arc<Group>| {
        if exact { group.name == search } else { group.name.to_lowercase().contains(&wanted) }
    };
    let mut hits: Vec<&Arc<Group>> = realm.groups.values().filter(fits).collect();
    hits.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    hits
}

fn with_attributes<'a>(realm: &'a Realm, q: &str) -> Vec<&'a Arc<Group>> {
    let pairs: Vec<(&str, &str)> = q.split_whitespace().filter_map(|pair| pair.split_once(':')).collect();
    let fits = |group: &&Arc<Group>| {
        pairs
            .iter()
            .all(|(key, value)| group.attributes.get(*key).is_some_and(|values| values.iter().any(|one| one == value)))
    };
    let mut hits: Vec<&Arc<Group>> = realm.groups.values().filter(fits).collect();
    hits.sort_by(|a, b| a.name.cmp(&b.name));
    hits
}

/// Returns the matches below their parents, from the top level.
fn hierarchy(realm: &Realm, hits: &[&Arc<Group>], depth: GroupDepth) -> Vec<Value> {
    let mut below: BTreeMap<Option<Id>, BTreeMap<String, Id>> = BTreeMap::new();
    for hit in hits {
        let mut one = Some(*hit);
        while let Some(group) = one {
            below.entry(group.parent.clone()).or_default().insert(group.name.clone(), Arc::clone(&group.id));
            one = group.parent.as_ref().and_then(|id| realm.groups.get(id));
        }
    }
    branch(realm, &below, None, depth)
}

fn branch(
    realm: &Realm,
    below: &BTreeMap<Option<Id>, BTreeMap<String, Id>>,
    parent: Option<&Id>,
    depth: GroupDepth,
) -> Vec<Value> {
    let children = below.get(&parent.cloned()).into_iter().flat_map(BTreeMap::values);
    children
        .filter_map(|id| realm.groups.get(id))
        .map(|group| render::group(realm, group, depth, branch(realm, below, Some(&group.id), depth)))
        .collect()
}

fn of_group(realm: &Realm, rights: &Rights, request: &Request, group: &Group, rest: &[&str]) -> Result<Reply, Refused> {
    let full = GroupDepth { brief: false, count: true, access: Some(rights.manage_users()) };
    match rest {
        [] => Ok(ok(&render::group(realm, group, full, Vec::new()))),
        ["children"] => {
            let page = Page::of(request, 10)?;
            let depth = GroupDepth {
                brief: request.flag("briefRepresentation"),
                count: request.param("subGroupsCount").is_none_or(|value| value != "false"),
                ..full
            };
            let search = request.param("search").unwrap_or_default().to_lowercase();
            let exact = request.flag("exact");
            let children: Vec<&Arc<Group>> = group
                .children
                .values()
                .filter_map(|id| realm.groups.get(id))
                .filter(|child| {
                    let name = child.name.to_lowercase();
                    search.is_empty() || if exact { name == search } else { name.contains(&search) }
                })
                .collect();
            let shown: Vec<Value> =
                page.cut(&children).iter().map(|child| render::group(realm, child, depth, Vec::new())).collect();
            Ok(ok(&shown))
        }
        ["members"] => {
            let page = Page::of(request, 100)?;
            let depth = if request.flag("briefRepresentation") { Depth::Brief } else { Depth::Full };
            if realm.federations_are_plain() {
                return Ok(ok(&render::users(realm, page.cut(group.members.ids()), depth, None)));
            }
            let shown = |id: &&Id| realm.users.get(*id).is_some_and(|user| realm.is_member_shown(user));
            let shown: Vec<Id> = group.members.ids().iter().filter(shown).cloned().collect();
            Ok(ok(&render::users(realm, page.cut(&shown), depth, None)))
        }
        ["role-mappings", rest @ ..] => roles_read::group_mappings(realm, group, rest),
        _ => Err(Refused::no_path()),
    }
}

/// Returns the group at a path.
pub(crate) fn by_path(realm: &Realm, rights: &Rights, path: &str) -> Result<Reply, Refused> {
    let group = realm.group_at(path).ok_or_else(|| Refused::error(404, "Group path does not exist"))?;
    demand(rights.view_users())?;
    let depth = GroupDepth { brief: false, count: true, access: None };
    Ok(ok(&render::group(realm, group, depth, Vec::new())))
}

/// Returns the default groups of new users.
pub(crate) fn defaults(realm: &Realm, rights: &Rights) -> Result<Reply, Refused> {
    demand(rights.view_realm())?;
    let depth = GroupDepth { brief: true, count: false, access: None };
    let groups = realm.default_groups.iter().filter_map(|id| realm.groups.get(id));
    let shown: Vec<Value> = groups.map(|group| render::group(realm, group, depth, Vec::new())).collect();
    Ok(ok(&shown))
}
