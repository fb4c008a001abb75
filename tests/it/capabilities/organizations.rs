//! Organizations in the policy: who is in scope by them, and what proves nothing about it.

use jiff::SignedDuration;
use serde_json::json;
use usersync::{
    demo::stack::{Stack, StackOptions},
    engine::Report,
    model::{ObjectKind, Policy, ReadEvidence, RunTrigger},
    store::StoreReads,
};
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, RealmHandle, UserChange},
};

use super::support::{STAFF, World, id_of, options, servers, until};

/// The client of usersync in the simulated realm.
const CLIENT: &str = "usersync";

const REQUIRED: &str = r#"{"scope": {"required_organizations": ["acme"]}}"#;

/// Starts a realm with its staff and two guests, where this is the policy, and with the organizations `acme` (Acme Inc) and
/// `globex`. The number of staff in `acme` is the last argument.
async fn with_members(options: StackOptions, json: &str, members: usize) -> World {
    let mut stack = options;
    let read: Policy = serde_json::from_str(json).expect("a policy");
    stack.policy.scope = read.scope;
    let servers = servers(stack).await;
    let guests = (0..2).map(|number| NewUser::named(format!("guest{number}")).in_groups(&["/guests"]));
    servers.realm.import_users(guests).expect("imported");
    let realm = &servers.realm;
    realm.set_client_roles(CLIENT, &["view-users", "view-events", "view-organizations"]);
    realm.switch_organizations(true).await;
    let acme = realm.create_organization("acme", "Acme Inc").await.expect("created");
    realm.create_organization("globex", "globex").await.expect("created");
    for number in 0..members {
        let user = id_of(realm, &format!("staff{number}"));
        realm.set_organization_member(&acme, &user, true).await.expect("added");
    }
    // The first poll would read that the organizations were created, and request a full reconcile.
    realm.clear_events();
    super::support::on(servers).await
}

async fn with_policy(json: &str, members: usize) -> World {
    Box::pin(with_members(options(), json, members)).await
}

fn organization(realm: &RealmHandle, alias: &str) -> String {
    realm.organization_id(alias).expect("it exists")
}

/// Adds a user to `acme`, or removes it.
async fn set_member(w: &World, login: &str, on: bool) {
    let acme = organization(w.realm(), "acme");
    w.realm().set_organization_member(&acme, &w.id(login), on).await.expect("changed");
}

/// Returns the number of full reconciles that events caused and that have ended.
async fn runs_of_events(w: &World) -> usize {
    let runs = w.stack.store.runs(Some(&Stack::pair()), 100).await.expect("readable");
    runs.iter().filter(|run| run.trigger == RunTrigger::Event && run.ended_at.is_some()).count()
}

/// Sends an event about a user that changes nothing about its organizations.
async fn touch(w: &World, login: &str) {
    let change = UserChange { first_name: Some("New".to_owned()), ..UserChange::default() };
    w.realm().update_user(&w.id(login), change).await.expect("updated");
    w.calm().await;
}

fn all_active(w: &World) -> bool {
    (0..STAFF).all(|number| w.account(&format!("staff{number}")).active)
}

/// Returns how the lists of members of organizations were read.
fn members_evidence(report: &Report) -> &ReadEvidence {
    &report.evidence.source.read[&ObjectKind::OrganizationMembers]
}

/// Returns the requests to Keycloak whose path contains this text, since the journal had this length.
fn requests(w: &World, since: usize, text: &str) -> Vec<String> {
    let entries = w.servers.keycloak.journal.entries();
    entries
        .iter()
        .skip(since)
        .map(usersync_simulators::journal::Entry::target)
        .filter(|one| one.contains(text))
        .collect()
}

#[tokio::test]
async fn only_members_of_a_required_organization_get_accounts() {
    for named in ["acme", "Acme Inc"] {
        let policy = json!({"scope": {"required_organizations": [named, "globex"]}}).to_string();
        let w = with_policy(&policy, 2).await;
        let report = w.run().await;
        assert!(!report.has_problems(), "{report:?}");
        assert_eq!((report.users, report.in_scope), (STAFF + 2, 2));
        assert!(w.account("staff0").active && w.account("staff1").active);
        assert!(!w.has_account("staff2") && !w.has_account("guest0"));
    }
}

#[tokio::test]
async fn each_organization_is_required_if_the_policy_says_so() {
    let policy = r#"{"scope": {"required_organizations": ["acme", "globex"], "required": "all"}}"#;
    let w = with_policy(policy, 2).await;
    assert!(!w.has_account("staff0"));
    let globex = organization(w.realm(), "globex");
    w.realm().set_organization_member(&globex, &w.id("staff0"), true).await.expect("added");
    w.settled().await;
    assert!(w.account("staff0").active && !w.has_account("staff1"));
}

#[tokio::test]
async fn a_user_that_joins_or_leaves_an_organization_gets_or_loses_access_at_once() {
    let w = with_policy(REQUIRED, 1).await;
    set_member(&w, "guest0", true).await;
    w.settled().await;
    assert!(w.account("guest0").active);
    set_member(&w, "guest0", false).await;
    w.settled().await;
    assert!(!w.account("guest0").active && w.account("staff0").active);
    assert_eq!(runs_of_events(&w).await, 0, "each was found by its task");
}

#[tokio::test]
async fn a_new_member_is_found_by_the_login_where_events_are_polled() {
    let polled = StackOptions { poll_events: Some(SignedDuration::from_millis(60)), ..options() };
    let w = Box::pin(with_members(polled, REQUIRED, 1)).await;
    w.realm().switch_webhook(false);
    until("polling", async || w.stack.store.event_poll(&"acme".into()).await.is_ok_and(|poll| poll.admin.is_some()))
        .await;
    set_member(&w, "guest0", true).await;
    until("the account", async || w.has_account("guest0")).await;
    set_member(&w, "guest0", false).await;
    until("the end of the account", async || !w.account("guest0").active).await;
    assert_eq!(runs_of_events(&w).await, 0, "each was found by its task");
    w.settled().await;
}

#[tokio::test]
async fn an_event_about_a_user_reads_its_organizations_and_a_run_each_list_of_members_once() {
    let w = with_policy(REQUIRED, 2).await;
    let before = w.servers.keycloak.journal.entries().len();
    touch(&w, "staff0").await;
    let own = format!("/organizations/members/{}/organizations", w.id("staff0"));
    let read = requests(&w, before, "/organizations");
    assert!(!read.is_empty() && read.iter().all(|target| target.contains(&own)), "{read:?}");
    let before = w.servers.keycloak.journal.entries().len();
    let report = w.run().await;
    let evidence = members_evidence(&report);
    let counts = (evidence.count_before, evidence.read, evidence.count_after);
    assert_eq!(counts, (Some(2), 2, Some(2)));
    assert_eq!((evidence.lists, evidence.pages, evidence.rereads, evidence.last_good), (1, 1, 0, Some(2)));
    let lists = requests(&w, before, "/members?");
    let acme = organization(w.realm(), "acme");
    let own: Vec<&String> = lists.iter().filter(|target| target.contains("/organizations/")).collect();
    assert!(own.iter().all(|target| target.contains(&acme) && target.contains("max=")), "{lists:?}");
    assert_eq!(own.iter().filter(|target| target.contains("first=0")).count(), 1, "{lists:?}");
    assert_eq!(requests(&w, before, "/members/count").len(), 2, "before and after");
}

#[tokio::test]
async fn an_organization_that_is_deleted_removes_nobody_and_is_reported_with_a_similar_one() {
    let w = with_policy(REQUIRED, STAFF).await;
    w.realm().delete_organization(&organization(w.realm(), "acme")).await.expect("deleted");
    w.realm().create_organization("acme2", "Acme 2").await.expect("created");
    w.calm().await;
    touch(&w, "staff1").await;
    let report = w.run().await;
    let reported = report.unconfirmed.iter().find(|why| why.contains("Keycloak lists no organization acme, which"));
    let similar = "A similar organization is Acme 2 (alias acme2).";
    assert!(reported.is_some_and(|why| why.contains(similar)), "{report:?}");
    assert_eq!((report.unconfirmed.len(), report.in_scope), (1, 0), "{report:?}");
    assert!(all_active(&w));
    assert!(runs_of_events(&w).await >= 1, "a deleted organization causes a full reconcile");
}

#[tokio::test]
async fn a_renamed_organization_keeps_its_alias_and_a_policy_with_its_old_name_removes_nobody() {
    for (named, in_scope) in [("acme", STAFF), ("Acme Inc", 0)] {
        let policy = json!({"scope": {"required_organizations": [named]}}).to_string();
        let w = with_policy(&policy, STAFF).await;
        w.realm().rename_organization(&organization(w.realm(), "acme"), "Acme Ink").await.expect("renamed");
        until("the full reconcile", async || runs_of_events(&w).await == 1).await;
        touch(&w, "staff1").await;
        let report = w.run().await;
        assert_eq!(report.in_scope, in_scope, "{report:?}");
        let hint = "A similar organization is Acme Ink (alias acme).";
        assert_eq!(report.unconfirmed.iter().any(|why| why.contains(hint)), in_scope == 0, "{report:?}");
        assert!(all_active(&w));
    }
}

#[tokio::test]
async fn organizations_that_are_turned_off_remove_nobody_and_are_reported() {
    let w = with_policy(REQUIRED, STAFF).await;
    w.realm().switch_organizations(false).await;
    touch(&w, "staff1").await;
    let report = w.run().await;
    let why = "organizations are turned off in this realm. Turn them on";
    assert!(report.unconfirmed.iter().any(|text| text.contains(why)), "{report:?}");
    assert!(all_active(&w));
}

#[tokio::test]
async fn a_missing_right_to_read_organizations_removes_nobody_and_is_reported() {
    // With `query-organizations`, lists of organizations and of a user's organizations are empty.
    for rights in [&[][..], &["query-organizations"]] {
        let w = with_policy(REQUIRED, STAFF).await;
        w.realm().set_client_roles(CLIENT, &[&["view-users", "view-events"], rights].concat());
        w.servers.keycloak.revoke_tokens();
        touch(&w, "staff1").await;
        let report = w.run().await;
        let why = "lacks the role view-organizations (before Keycloak 26.7: manage-realm). Grant it: ";
        assert!(report.unconfirmed.iter().any(|text| text.contains(why)), "{rights:?} {report:?}");
        assert!(report.evidence.source.lacks.iter().any(|text| text.contains(why)), "{rights:?} {report:?}");
        assert!(all_active(&w), "{rights:?}");
    }
}

#[tokio::test]
async fn a_list_of_members_of_an_organization_that_is_wrong_removes_nobody() {
    let w = with_policy(REQUIRED, STAFF).await;
    let members = format!("/organizations/{}/members", organization(w.realm(), "acme"));
    let count = format!("{members}/count");
    let not_complete = "the members of the organization acme were not read completely";
    for (fault, why) in [
        (Fault::edit(|list| *list = json!([])).path(&members), not_complete),
        (Fault::edit(|list| drop(list.as_array_mut().and_then(Vec::pop))).path(&members), not_complete),
        (Fault::edit(|count| *count = json!(STAFF + 1)).path(&count), "10 members were read, but Keycloak counts 11"),
        (Fault::edit(|count| *count = json!("many")).path(&count), "Keycloak's count of the members is not a number"),
        (Fault::status(403, "{}").path(&members), "the organizations that the policy names cannot be read"),
        (Fault::status(500, "{}").path(&members), "the organizations that the policy names cannot be read"),
        (Fault::status(404, "{}").path(&count), "confirms no deletion"),
        (Fault::status(200, "null").path("/organizations"), "the organizations that the policy names cannot be read"),
    ] {
        w.servers.keycloak.faults.add(fault);
        let report = w.run().await;
        assert!(report.unconfirmed.iter().any(|text| text.contains(why)), "{why}: {report:?}");
        assert!(report.planned.is_empty() && all_active(&w), "{why}");
        if why.contains("counts 11") {
            let evidence = members_evidence(&report);
            assert_eq!((evidence.count_before, evidence.read, evidence.rereads), (Some(STAFF + 1), STAFF, 2));
        }
        w.servers.keycloak.faults.clear();
    }
    let report = w.run().await;
    assert!(!report.has_problems(), "{report:?}");
}

#[tokio::test]
async fn a_list_of_members_that_lacks_users_and_is_counted_so_does_not_put_them_out_of_scope() {
    let w = with_policy(REQUIRED, STAFF).await;
    let members = format!("/organizations/{}/members", organization(w.realm(), "acme"));
    w.servers.keycloak.faults.add(Fault::edit(|list| *list = json!([])).path(&members));
    w.servers.keycloak.faults.add(Fault::edit(|count| *count = json!(0)).path(format!("{members}/count")));
    let report = w.run().await;
    let lacks = "organization acme: Keycloak's member list lacks staff0";
    assert!(report.unconfirmed.iter().any(|why| why.starts_with(lacks)), "{report:?}");
    assert_eq!((report.in_scope, report.planned.len()), (STAFF, 0), "{report:?}");
    assert!(all_active(&w));
}

#[tokio::test]
async fn an_event_whose_organizations_cannot_be_read_removes_nothing() {
    let w = with_policy(REQUIRED, 1).await;
    let own = format!("/organizations/members/{}/organizations", w.id("staff0"));
    for (fault, why) in [
        (Fault::status(403, "{}"), "lacks the role view-organizations"),
        (Fault::status(404, "{}"), "confirms no deletion"),
        (Fault::status(500, "{}"), "500 when reading organizations"),
        (Fault::status(200, "null"), "unexpected format"),
    ] {
        w.servers.keycloak.faults.add(fault.path(&own));
        touch(&w, "staff0").await;
        let tasks = w.tasks().await.into_iter().filter_map(|task| task.error.map(|(_, text)| text));
        let undecided = w.stack.store.unsupported(&Stack::pair()).await.expect("readable");
        let texts: Vec<String> = tasks.chain(undecided.into_iter().map(|one| one.why)).collect();
        assert!(texts.iter().any(|text| text.contains(why)), "{why}: {texts:?}");
        assert!(w.account("staff0").active, "{why}");
        w.servers.keycloak.faults.clear();
        w.run().await;
    }
    assert!(w.account("staff0").active);
}

#[tokio::test]
async fn a_managed_member_that_is_removed_or_whose_organization_is_deleted_leaves() {
    let w = with_policy(r#"{"scope": {"required_organizations": ["acme", "globex"]}}"#, 2).await;
    let (acme, globex) = (organization(w.realm(), "acme"), organization(w.realm(), "globex"));
    for (organization, login) in [(&acme, "guest0"), (&globex, "guest1")] {
        w.realm().add_managed_member(organization, &w.id(login)).await.expect("added");
    }
    w.settled().await;
    assert!(w.account("guest0").active && w.account("guest1").active);
    // Keycloak deletes the user, and has no event of the deletion.
    w.realm().set_organization_member(&acme, &w.id("guest0"), false).await.expect("removed");
    w.settled().await;
    assert!(w.realm().snapshot().user("guest0").is_none() && !w.account("guest0").active);
    w.realm().delete_organization(&globex).await.expect("deleted");
    until("the full reconcile", async || runs_of_events(&w).await >= 1).await;
    w.calm().await;
    assert!(w.realm().snapshot().user("guest1").is_none() && !w.account("guest1").active);
    assert!(w.account("staff0").active);
}

#[tokio::test]
async fn a_policy_without_organizations_reads_none_and_hears_only_of_removed_members() {
    let w = with_policy("{}", 1).await;
    let before = w.servers.keycloak.journal.entries().len();
    set_member(&w, "staff1", true).await;
    w.realm().rename_organization(&organization(w.realm(), "acme"), "Other").await.expect("renamed");
    w.settled().await;
    w.run().await;
    assert_eq!((requests(&w, before, "organizations"), runs_of_events(&w).await), (Vec::new(), 0));
}
