//! A policy on the real Keycloak: required groups with sub-groups, a group for a composite role, an overwriting import,
//! and a changed policy that waits for approval.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    binary::{Place, prepare},
    changes::user,
    keycloak::{Realm, Server},
};

/// Users in each of the two sub-groups: more than the hourly limit lets through.
const EACH: usize = 30;

/// Syncs the staff without these groups, and its groups with the members of the groups below each, and a group for a
/// role.
fn staff_without(excluded: &[&str]) -> String {
    format!(
        r#"
[connector.policy.scope]
required_groups = ["/staff"]
excluded_groups = {excluded:?}

[connector.policy.groups]
only = ["/staff/**"]
named_by = "path"
members = "with_subgroups"

[[connector.policy.groups.constant]]
name = "editors"
roles = ["editor"]
"#
    )
}

/// Creates the groups, with users in them and users outside.
async fn hire(realm: &Realm) {
    let staff = realm.post("groups", &json!({"name": "staff"})).await;
    realm.post("groups", &json!({"name": "contractors"})).await;
    for role in ["editor", "lead"] {
        realm.post("roles", &json!({"name": role})).await;
    }
    let below = |group: &str| format!("groups/{group}/children");
    let eng = realm.post(&below(&staff), &json!({"name": "eng"})).await;
    realm.post(&below(&staff), &json!({"name": "ops"})).await;
    realm.post(&below(&eng), &json!({"name": "platform"})).await;
    let made = |name: &str, number: usize, group: &str| {
        let mut made = user(&format!("{name}{number:02}"));
        made["groups"] = json!([group]);
        made
    };
    let users: Vec<Value> = (0..EACH)
        .map(|number| made("eng", number, "/staff/eng"))
        .chain((0..EACH).map(|number| made("ops", number, "/staff/ops")))
        .chain((0..3).map(|number| made("contractor", number, "/contractors")))
        .collect();
    realm.post("partialImport", &json!({"ifResourceExists": "FAIL", "users": users})).await;
}

/// Returns the logins of active accounts, except Jira's own administrator.
fn active(place: &Place) -> BTreeSet<String> {
    let jira = place.jira.snapshot();
    let active = jira.accounts.values().filter(|account| account.active && account.name != "admin");
    active.map(|account| account.name.clone()).collect()
}

fn members(place: &Place, group: &str) -> BTreeSet<String> {
    place.jira.snapshot().groups.get(group).cloned().unwrap_or_default()
}

/// Returns the id of a group by its path.
async fn group(realm: &Realm, path: &str) -> String {
    realm.get(&format!("group-by-path/{path}")).await["id"].as_str().expect("an id").to_owned()
}

/// Waits until this holds.
async fn until(place: &Place, what: &str, holds: impl Fn() -> bool) {
    let state = || format!("active: {:?}", active(place));
    place.until(what, async || if holds() { Ok(()) } else { Err(state()) }).await;
}

/// Approves what waits, once something does.
async fn approve(place: &Place, what: &str) {
    let waiting = place
        .until(what, async || {
            let (_, said) = place.ended(&["approvals", "list", "--json"]).await;
            let sets: Value = serde_json::from_str(&said).map_err(|_| said.clone())?;
            let sets = sets["approvals"].as_array().cloned().unwrap_or_default();
            if sets.iter().any(|set| set["open"] == true) { Ok(sets) } else { Err(said) }
        })
        .await;
    assert!(!waiting.is_empty());
    place.run(&["approvals", "approve", "--connector", "acme", "--note", "intended"], 0).await;
}

pub async fn selects_users_and_a_changed_one_waits_for_approval(server: &Server, port: u16) {
    let realm = Realm::fresh(server, "e2e-policy").await;
    hire(&realm).await;
    let mut place = prepare(server, realm, port, &staff_without(&[]), &["--view-realm"]).await;
    place.run(&["check"], 0).await;
    let contractor = place.run(&["explain", "contractor00"], 0).await;
    assert!(contractor.contains("no: it is a member of none of required_groups (/staff)"), "{contractor}");

    place.serve();
    approve(&place, "the first run is held").await;
    until(&place, "the staff has accounts, and nobody else", || active(&place).len() == 2 * EACH).await;
    until(&place, "sub-groups count for the groups above them", || members(&place, "staff-eng").len() == EACH).await;
    assert!(active(&place).iter().all(|login| !login.starts_with("contractor")));

    events(&place).await;
    composite_role(&place).await;
    overwriting_import(&place).await;
    changed_policy(&mut place).await;
    place.realm.leave().await;
}

/// Users come into scope, move within it and leave it, each by an event.
async fn events(place: &Place) {
    let (contractor, platform) =
        (place.realm.user("contractor00").await, group(&place.realm, "staff/eng/platform").await);
    let membership = format!("users/{contractor}/groups/{platform}");
    place.realm.put(&membership, &Value::Null).await;
    until(place, "a contractor joins the staff in a sub-group", || {
        let is_in = |group: &str| members(place, group).contains("contractor00");
        active(place).contains("contractor00") && is_in("staff-eng-platform") && is_in("staff-eng")
    })
    .await;
    place.realm.delete(&membership).await;
    until(place, "and leaves it", || !active(place).contains("contractor00")).await;
}

/// A role that a user has by a composite role, by a group and directly gives a group until the last way ends.
async fn composite_role(place: &Place) {
    let realm = &place.realm;
    let is_editor = |login: &str| members(place, "editors").contains(login);
    let (lead, editor) = (json!([realm.get("roles/lead").await]), json!([realm.get("roles/editor").await]));
    let user = realm.user("ops01").await;
    realm.post(&format!("users/{user}/role-mappings/realm"), &lead).await;
    realm.post("roles/lead/composites", &editor).await;
    until(place, "the composite role contains the role of the group", || is_editor("ops01")).await;

    let eng = group(realm, "staff/eng").await;
    realm.post(&format!("groups/{eng}/role-mappings/realm"), &editor).await;
    until(place, "all members of a group have the role", || is_editor("eng00") && is_editor("ops01")).await;
    realm.delete_with("roles/lead/composites", &editor).await;
    until(place, "the composite role no longer contains it", || is_editor("eng00") && !is_editor("ops01")).await;
}

/// An import that overwrites a user gives it another id; the account stays.
async fn overwriting_import(place: &Place) {
    let key = |place: &Place| place.jira.snapshot().account("ops00").map(|account| account.key.clone());
    let (before, id) = (key(place), place.realm.user("ops00").await);
    let mut imported = user("ops00");
    (imported["lastName"], imported["groups"]) = (json!("Imported"), json!(["/staff/ops"]));
    place.realm.post("partialImport", &json!({"ifResourceExists": "OVERWRITE", "users": [imported]})).await;
    assert_ne!(place.realm.user("ops00").await, id, "the import gives another id");
    until(place, "the account follows the user", || {
        let jira = place.jira.snapshot();
        jira.account("ops00").is_some_and(|account| account.active && account.display_name.ends_with("Imported"))
    })
    .await;
    assert_eq!(key(place), before, "the account was kept");
    assert!(members(place, "staff-ops").contains("ops00"));
}

/// A policy that puts half of the users out of scope shows what it would do, and removes nobody before an approval.
async fn changed_policy(place: &mut Place) {
    let without_engineering = staff_without(&["/staff/eng"]);
    place.configure("next.toml", &without_engineering);
    // 3: operations would wait for approval.
    let plan = place.run(&["plan", "--policy", "next.toml"], 3).await;
    for expected in ["in scope 60 → 30", "30 operations would wait for approval"] {
        assert!(plan.contains(expected), "{plan}");
    }

    place.kill();
    place.configure("usersync.toml", &without_engineering);
    place.serve();
    place
        .until("the changed policy is held", async || {
            let (_, said) = place.ended(&["approvals", "list"]).await;
            let all = said.contains(&format!("{EACH} operations")) && said.contains("after the policy was changed: 2");
            if all { Ok(()) } else { Err(said) }
        })
        .await;
    assert_eq!(active(place).len(), 2 * EACH, "nobody was deactivated before the approval");
    approve(place, "the changed policy is held").await;
    until(place, "engineering has left", || active(place).len() == EACH).await;
    assert!(active(place).iter().all(|login| login.starts_with("ops")));
    let log = place.log();
    assert!(!log.contains("ERROR"), "{log}");
}
