//! The evidence of a run: how it read both sides, what that cost, and why it did nothing.

use usersync::{
    demo::stack::Stack,
    engine::Report,
    model::{ById, ObjectKind, Policy, ReadEvidence, RunMode, SideEvidence},
    store::StoreReads,
};
use usersync_simulators::{
    Fault,
    keycloak::{FederationState, NewUser},
};

use super::support::{STAFF, World, on, options, policy, servers, world};

/// Returns how one kind of object was read; nothing if it was not.
fn read(side: &SideEvidence, kind: ObjectKind) -> ReadEvidence {
    side.read.get(&kind).cloned().unwrap_or_default()
}

fn users(report: &Report) -> ReadEvidence {
    read(&report.evidence.source, ObjectKind::Users)
}

fn by_id(asked: usize, found: usize, gone: usize) -> ById {
    ById { asked, found, gone }
}

/// Returns the stored reports of the runs that applied their plan, oldest first.
async fn stored(w: &World) -> Vec<Report> {
    let runs = w.stack.store.runs(Some(&Stack::pair()), 0).await.expect("readable");
    let applied = runs.into_iter().rev().filter(|run| run.mode == RunMode::Apply);
    applied.map(|run| serde_json::from_value(run.report).expect("a report")).collect()
}

/// A world in which nothing changes by events.
async fn quiet() -> World {
    let w = world().await;
    w.realm().switch_webhook(false);
    w
}

#[tokio::test]
async fn a_run_keeps_how_it_read_both_sides_and_the_sizes_of_the_last_good_run() {
    let w = quiet().await;
    // The first run found no accounts.
    w.run().await;
    let report = w.run().await;
    let all = Some(STAFF);
    let one_list = |count, read, last_good| ReadEvidence {
        count_before: count,
        count_after: count,
        read,
        lists: 1,
        pages: 1,
        last_good,
        ..ReadEvidence::default()
    };
    assert_eq!(users(&report), one_list(all, STAFF, all));
    let source = &report.evidence.source;
    assert_eq!(read(source, ObjectKind::Groups), one_list(Some(1), 1, Some(1)));
    assert_eq!(read(source, ObjectKind::Members), one_list(None, STAFF, all));
    assert!(source.rights.contains(&"view-users".to_owned()) && source.lacks.is_empty(), "{source:?}");
    let target = &report.evidence.target;
    let accounts = read(target, ObjectKind::Accounts);
    assert_eq!((accounts.read, accounts.lists, accounts.repeats), (report.accounts, 1, 0));
    assert_eq!(accounts.last_good, Some(report.accounts));
    let members = read(target, ObjectKind::Members);
    assert_eq!((members.size(), members.lists, members.last_good), (STAFF, 1, all));
    assert_eq!((target.rights.len(), target.lacks.len()), (1, 0), "{target:?}");
    assert_eq!(report.nothing_done, Some(format!("Nothing to do: all {STAFF} users are in sync.")));
    let stored = stored(&w).await;
    assert_eq!(stored.last().expect("the run").evidence, report.evidence);
    assert_eq!(users(&stored[0]).last_good, None, "the first run has none before it");
    assert_eq!(stored[0].nothing_done, None, "it created accounts");
}

#[tokio::test]
async fn the_cost_of_a_run_is_that_of_its_own_calls() {
    let w = quiet().await;
    w.run().await;
    w.servers.keycloak.journal.clear();
    w.jira().journal.clear();
    let report = w.try_run().await.expect("it ends well");
    // Polling reads events beside the run.
    let is_polled = |target: &str| target.contains("events");
    let calls = w.servers.keycloak.journal.matching(|entry| !is_polled(&entry.target())).len();
    let (source, target) = (report.evidence.source.cost, report.evidence.target.cost);
    assert!(source.calls > 4 && source.calls <= calls as u64, "{source:?} of {calls}");
    assert!(target.calls > 1 && target.calls <= w.jira().journal.entries().len() as u64, "{target:?}");
    // The users alone take more than a hundred bytes each.
    assert!(source.bytes > 100 * STAFF as u64 && target.bytes > 100 * STAFF as u64, "{source:?} {target:?}");
    let again = w.dry_run().await.evidence;
    assert_eq!((again.source.cost.calls, again.source.cost.bytes), (source.calls, source.bytes));
}

#[tokio::test]
async fn entries_that_come_twice_are_counted_and_the_list_is_read_again() {
    let w = quiet().await;
    let twice = |times| {
        let twice = Fault::edit(|page| {
            let same = page.as_array().cloned().unwrap_or_default();
            page.as_array_mut().expect("a list").extend(same);
        });
        twice.path("briefRepresentation=false").times(times)
    };
    // Once: the second read is as it should be.
    w.servers.keycloak.faults.add(twice(1));
    let report = w.run().await;
    let read_twice = users(&report);
    assert_eq!(report.incomplete, None);
    assert_eq!((read_twice.read, read_twice.repeats, read_twice.rereads), (STAFF, STAFF, 1));
    assert_eq!(read_twice.pages, 2);
    w.servers.keycloak.faults.clear();
    w.servers.keycloak.faults.add(twice(1_000));
    let report = w.run().await;
    assert!(report.incomplete.is_some() && users(&report).repeats > STAFF, "{:?}", users(&report));
    assert_eq!(users(&report).read, STAFF);
}

#[tokio::test]
async fn counts_before_and_after_the_read_are_kept_and_an_incomplete_run_is_not_the_last_good_one() {
    let w = quiet().await;
    w.servers.keycloak.faults.add(Fault::edit(|count| *count = (STAFF - 1).into()).path("/users/count").once());
    let report = w.run().await;
    let counted = users(&report);
    assert_eq!((counted.count_before, counted.read, counted.count_after), (Some(STAFF - 1), STAFF, Some(STAFF)));
    assert_eq!(report.incomplete, None);
    w.servers.keycloak.faults.clear();

    w.realm().import_users([NewUser::named("newcomer").in_groups(&["/staff"])]).expect("imported");
    w.servers.keycloak.faults.add(Fault::edit(|count| *count = 40.into()).path("/users/count"));
    let report = w.run().await;
    let counted = users(&report);
    assert_eq!((counted.count_before, counted.count_after, counted.read), (Some(40), Some(40), STAFF + 1));
    assert!(report.incomplete.is_some() && counted.rereads > 0, "{counted:?}");
    w.servers.keycloak.faults.clear();
    assert_eq!(users(&w.run().await).last_good, Some(STAFF), "not that of the incomplete run");
    assert_eq!(users(&w.run().await).last_good, Some(STAFF + 1));
}

#[tokio::test]
async fn ids_that_are_read_alone_are_found_gone_or_not_confirmed() {
    let w = quiet().await;
    let extra = w.realm().create_group(None, "extra").await.expect("created");
    w.realm().join(&w.id("staff1"), &extra).await.expect("joined");
    w.run().await;
    w.realm().delete_user_without_event(&w.id("staff2")).expect("deleted");
    w.realm().delete_group(&extra).await.expect("deleted");
    let staff1 = w.id("staff1");
    let lacking = Fault::edit(move |members| {
        members.as_array_mut().expect("a list").retain(|member| member["id"] != staff1.as_str());
    });
    w.servers.keycloak.faults.add(lacking.path("/members"));
    let plan = w.dry_run().await;
    assert_eq!(users(&plan).by_id, by_id(2, 1, 1), "a list of members lacks staff1, and staff2 is gone");
    assert_eq!(read(&plan.evidence.source, ObjectKind::Groups).by_id, by_id(1, 0, 1));
    let path = format!("/users/{}", w.id("staff1"));
    w.servers.keycloak.faults.add(Fault::status(500, "{}").path(path));
    assert_eq!(users(&w.dry_run().await).by_id, by_id(2, 0, 1), "staff1 cannot be read");
    w.servers.keycloak.faults.clear();
    // An account that the target does not find is read by its id.
    w.jira().remove_account("staff3");
    let report = w.run().await;
    let accounts = read(&report.evidence.target, ObjectKind::Accounts).by_id;
    assert_eq!((accounts.asked, accounts.found), (1, 0), "{report:?}");
}

#[tokio::test]
async fn a_missing_right_is_kept_also_if_it_ends_the_run() {
    let required: Policy = serde_json::from_str(r#"{"scope": {"required_roles": ["jira"]}}"#).expect("a policy");
    let servers = servers(policy(|policy| policy.scope = required.scope)).await;
    servers.realm.set_client_roles("usersync", &["view-users", "view-events", "view-realm", "view-clients"]);
    servers.realm.create_role("jira", &[]).await.expect("created");
    for login in ["staff0", "staff1"] {
        let id = super::support::id_of(&servers.realm, login);
        servers.realm.set_role(&id, "jira", true).await.expect("granted");
    }
    let w = on(servers).await;
    w.realm().switch_webhook(false);
    let source = w.run().await.evidence.source;
    let holders = read(&source, ObjectKind::RoleHolders);
    assert_eq!((holders.read, holders.lists, holders.last_good), (2, 2, Some(2)), "users and groups of the role");
    assert!(source.lacks.is_empty(), "{source:?}");

    w.servers.keycloak.faults.add(Fault::status(403, "{}").path("/roles/jira/users"));
    let report = w.run().await;
    let source = &report.evidence.source;
    assert!(source.lacks.len() == 1 && source.lacks[0].contains("lacks the role"), "{source:?}");
    assert_eq!(report.nothing_done.as_deref(), Some("Nothing to do now: what may differ is not confirmed."));
    w.servers.keycloak.faults.clear();

    w.servers.keycloak.faults.add(Fault::status(403, "{}").path("briefRepresentation=false"));
    w.try_run().await.expect_err("users cannot be read");
    let stored = stored(&w).await;
    let report = stored.last().expect("the failed run");
    let source = &report.evidence.source;
    assert!(source.lacks.iter().any(|right| right.contains("lacks the role view-users")), "{source:?}");
    assert!(source.cost.calls > 0, "{source:?}");
    assert_eq!(report.nothing_done.as_deref(), Some("Nothing was done: the full reconcile failed."));
}

#[tokio::test]
async fn pages_of_the_target_are_counted_and_so_is_what_was_not_read_again() {
    const MEMBERS: usize = 160;
    let servers = servers(options()).await;
    let many = (0..MEMBERS).map(|number| NewUser::named(format!("p{number:03}")).in_groups(&["/big"]));
    servers.realm.import_users(many).expect("imported");
    let w = on(servers).await;
    w.realm().switch_webhook(false);
    // Pages of 50, and one of the group staff.
    let members = |report: &Report| read(&report.evidence.target, ObjectKind::Members);
    let whole = members(&w.run().await);
    assert_eq!((whole.read, whole.recorded, whole.lists, whole.pages), (MEMBERS + STAFF, 0, 2, 5));
    assert_eq!(whole.count_before, Some(MEMBERS + STAFF));
    let counted = members(&w.run().await);
    assert_eq!((counted.read, counted.recorded, counted.lists, counted.pages), (50 + STAFF, MEMBERS - 50, 2, 2));
    assert_eq!(counted.last_good, Some(MEMBERS + STAFF));
    // The list of accounts repeats its first entry.
    let repeats = Fault::edit(|page| {
        if let Some(accounts) = page["values"].as_array_mut() {
            let first = accounts[0].clone();
            accounts.push(first);
        }
    });
    w.jira().faults.add(repeats.path("/user/list"));
    let report = w.run().await;
    let accounts = read(&report.evidence.target, ObjectKind::Accounts);
    assert!(report.incomplete.is_some() && accounts.repeats > 0, "{accounts:?}");
    assert_eq!(accounts.read, report.accounts);
}

#[tokio::test]
async fn users_that_their_federation_provider_confirms_and_providers_that_cannot() {
    let servers = servers(options()).await;
    let ldap = (0..6).map(|number| NewUser::named(format!("ldap{number}")).in_groups(&["/staff"]).not_imported("corp"));
    servers.realm.import_users(ldap).expect("imported");
    let w = on(servers).await;
    w.realm().switch_webhook(false);
    let federated = |report: &Report| read(&report.evidence.source, ObjectKind::FederatedUsers).by_id;
    assert_eq!(federated(&w.run().await), ById::default());
    w.realm().remove_from_ldap(&w.id("ldap1")).expect("removed");
    let plan = w.dry_run().await;
    assert_eq!(federated(&plan), by_id(1, 0, 1), "{plan:?}");
    assert!(plan.evidence.source.silent_providers.is_empty());

    w.realm().set_federation("corp", FederationState::Unreachable);
    let report = w.run().await;
    let silent = &report.evidence.source.silent_providers;
    assert!(silent.len() == 1 && silent[0].contains("cannot be asked"), "{silent:?}");
    let why = report.nothing_done.as_deref().expect("nothing was done");
    assert!(
        why.starts_with("Nothing to do now: federation provider") && why.ends_with("removed for its users."),
        "{why}"
    );
}

#[tokio::test]
async fn members_of_required_groups_are_compared_with_runs_that_read_only_them() {
    let required: Policy = serde_json::from_str(r#"{"scope": {"required_groups": ["/staff"]}}"#).expect("a policy");
    let servers = servers(policy(|policy| policy.scope = required.scope)).await;
    let others = (0..60).map(|number| NewUser::named(format!("other{number}")).in_groups(&["/others"]));
    servers.realm.import_users(others).expect("imported");
    let w = on(servers).await;
    w.realm().switch_webhook(false);
    let report = w.run().await;
    assert!(report.only_scope, "{report:?}");
    let read_only = users(&report);
    assert_eq!((read_only.read, read_only.lists, read_only.pages), (STAFF, 1, 1));
    assert_eq!((read_only.count_before, read_only.last_good), (None, Some(STAFF)));
    let members = read(&report.evidence.source, ObjectKind::Members);
    assert_eq!((members.lists, members.read), (1, 60), "of the other group");
}
