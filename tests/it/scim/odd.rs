//! Every field of every answer is null, missing, empty or of another type once. No account counts as deleted because of
//! it, and a bad account or group affects no other.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usersync::targets::{Target, TargetError, scim::ScimTarget};
use usersync_simulators::scim::{InvalidField, NewAccount};

use super::world::{World, names, settings};

/// Returns the replacements of a field; `None`: it is missing.
fn values(one: bool) -> Vec<Option<Value>> {
    let mut all = vec![None, Some(Value::Null), Some(json!([])), Some(json!(7))];
    if one {
        all.extend([json!(""), json!({}), json!("odd"), json!([null])].map(Some));
    }
    all
}

const USER: [&str; 18] = [
    "/id",
    "/userName",
    "/displayName",
    "/name",
    "/name/formatted",
    "/emails",
    "/emails/0",
    "/emails/0/value",
    "/emails/0/primary",
    "/emails/0/type",
    "/active",
    "/groups",
    "/groups/0",
    "/groups/0/value",
    "/groups/0/type",
    "/meta",
    "/meta/location",
    "/schemas",
];
const GROUP: [&str; 9] = [
    "/id",
    "/displayName",
    "/members",
    "/members/0",
    "/members/0/value",
    "/members/0/type",
    "/members/0/$ref",
    "/meta",
    "/schemas",
];
const LIST: [&str; 5] = ["/schemas", "/totalResults", "/startIndex", "/itemsPerPage", "/Resources"];
const CONFIG: [&str; 10] = [
    "/patch",
    "/patch/supported",
    "/bulk",
    "/bulk/maxOperations",
    "/bulk/maxPayloadSize",
    "/filter",
    "/filter/maxResults",
    "/etag/supported",
    "/authenticationSchemes",
    "/meta",
];
const TYPES: [&str; 4] = ["/Resources/0", "/Resources/0/schema", "/Resources/0/endpoint", "/Resources/0/meta"];
const SCHEMAS: [&str; 6] = [
    "/Resources/0",
    "/Resources/0/id",
    "/Resources/0/attributes",
    "/Resources/0/attributes/0",
    "/Resources/0/attributes/0/name",
    "/Resources/0/attributes/0/mutability",
];

/// Returns all fields, each with the path of the answers and whether it belongs to one resource only.
fn places() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let of = |path, all: &'static [&'static str], one| all.iter().map(move |at| (path, *at, one));
    let lists =
        ["/Users", "/Groups", "/ResourceTypes", "/Schemas"].into_iter().flat_map(move |path| of(path, &LIST, false));
    of("/Users", &USER, true)
        .chain(of("/Groups", &GROUP, true))
        .chain(of("/ServiceProviderConfig", &CONFIG, false))
        .chain(of("/ResourceTypes", &TYPES, false))
        .chain(of("/Schemas", &SCHEMAS, false))
        .chain(lists)
}

/// Results of all reads of a server.
struct Readings {
    probe: Result<(), TargetError>,
    listed: Result<(BTreeSet<String>, bool), TargetError>,
    by_id: Vec<Result<bool, TargetError>>,
    by_name: Vec<Result<bool, TargetError>>,
    groups: Vec<Result<bool, TargetError>>,
    /// Number of members, and whether the list is complete.
    members: Vec<Result<Option<(usize, bool)>, TargetError>>,
}

async fn read(world: &World, accounts: &[String; 2], groups: &[String; 2]) -> Readings {
    let scim = ScimTarget::new(settings(&world.server)).expect("good settings");
    let (mut by_id, mut by_name, mut found, mut members) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let probe = scim.probe().await.map(drop);
    for (id, name) in accounts.iter().zip(["ada", "bob"]) {
        by_id.push(scim.account(&id.as_str().into()).await.map(|one| one.is_some()));
        by_name.push(scim.account_named(name).await.map(|one| one.is_some()));
    }
    for (id, name) in groups.iter().zip(["dev", "ops"]) {
        found.push(scim.group_named(name).await.map(|one| one.is_some()));
        let page = scim.members(&id.as_str().into(), None).await;
        members.push(page.map(|page| page.map(|page| (page.items.len(), page.incomplete.is_none()))));
    }
    let listed = async {
        let (mut seen, mut whole, mut cursor) = (BTreeSet::new(), true, None::<String>);
        loop {
            let page = scim.accounts(cursor.as_deref()).await?;
            seen.extend(page.items.into_iter().map(|account| account.name));
            whole &= page.incomplete.is_none();
            cursor = page.next;
            if cursor.is_none() {
                return Ok((seen, whole && scim.observed().is_empty()));
            }
        }
    };
    Readings { probe, listed: listed.await, by_id, by_name, groups: found, members }
}

/// Returns results that the client must not trust.
fn faults(read: &Readings, path: &str, at: &str, value: Option<&Value>, one: bool) -> Vec<String> {
    let mut faults = Vec::new();
    // A changed name counts as another name.
    let renamed = (at == "/userName" || at == "/displayName")
        && matches!(value, Some(Value::String(_) | Value::Number(_)))
        && value != Some(&json!(""));
    let named = [(&read.by_name, path == "/Users"), (&read.groups, path == "/Groups")];
    let named = named.into_iter().filter(|(_, odd)| !(renamed && *odd)).flat_map(|(all, _)| all);
    if read.by_id.iter().chain(named).any(|there| *there == Ok(false)) {
        faults.push(format!("gone: {:?} {:?} {:?}", read.by_id, read.by_name, read.groups));
    }
    // A list without one entry is still a valid list.
    let shorter = at == "/members/0" && value.is_none();
    let unbelievable = |reported: &Result<Option<(usize, bool)>, TargetError>| match reported {
        Ok(None) => true,
        Ok(Some((members, all))) => *members < 2 && *all,
        Err(_) => false,
    };
    if !shorter && read.members.iter().any(unbelievable) {
        faults.push(format!("members: {:?}", read.members));
    }
    if !renamed && matches!(&read.listed, Ok((seen, true)) if *seen != names(&["ada", "bob"])) {
        faults.push(format!("listed: {:?}", read.listed));
    }
    if one {
        let others = read.by_id[1] == Ok(true)
            && read.by_name[1] == Ok(true)
            && read.groups[1] == Ok(true)
            && read.members[1] == Ok(Some((2, true)));
        if !others {
            faults.push(format!("others: {:?} {:?} {:?} {:?}", read.by_id, read.by_name, read.groups, read.members));
        }
        if read.probe.is_err() || !matches!(&read.listed, Ok((seen, _)) if seen.contains("bob")) {
            faults.push(format!("all: {:?} {:?}", read.probe, read.listed));
        }
    }
    faults
}

#[tokio::test]
async fn no_odd_field_makes_an_account_absent_or_affects_another_account() {
    let world = World::switched(|_| {}).await;
    let accounts =
        ["ada", "bob"].map(|name| world.server.add_account(NewAccount::named(name).in_groups(&["dev", "ops"])));
    let groups = ["dev", "ops"].map(|name| world.server.add_group(name));
    let (mut tried, mut wrong) = (0, Vec::new());
    for (path, at, one) in places() {
        for value in values(one) {
            let id = one.then(|| if path == "/Users" { &accounts[0] } else { &groups[0] }.clone());
            let what = format!("{path} {at} {value:?}");
            world
                .server
                .switch(|switches| switches.odd = Some(InvalidField { path, id, at: at.into(), value: value.clone() }));
            let read = read(&world, &accounts, &groups).await;
            tried += 1;
            wrong.extend(
                faults(&read, path, at, value.as_ref(), one).into_iter().map(|fault| format!("{what}: {fault}")),
            );
        }
    }
    assert!(tried > 300, "{tried}");
    assert!(wrong.is_empty(), "{} faults: {wrong:#?}", wrong.len());
}
