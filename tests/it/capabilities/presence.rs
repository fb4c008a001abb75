//! Nothing is removed unless its absence is confirmed: no user loses anything, whatever a faulty Keycloak answers.

use jiff::Timestamp;
use usersync::{
    demo::stack::{CLIENT_SECRET, CONNECTOR, Stack},
    engine::EngineTimes,
    model::{ApprovalKind, GroupId, GroupMapping},
    store::{EngineStore, OperatorStore, PairState, StoreReads},
};
use usersync_simulators::{
    Fault,
    fault::Stale,
    jira::NewAccount,
    keycloak::{FederationState, NewUser, UserChange},
};

use super::support::{STAFF, World, on, options, servers, world, world_with};

/// Runs while Keycloak answers with this fault. Nothing may be removed, and both sides must be in sync afterwards.
async fn nothing_is_taken(w: &World, fault: Fault) {
    let before = w.jira().snapshot();
    let fault = w.servers.keycloak.faults.add(fault);
    let outcome = w.try_run().await;
    w.calm().await;
    assert!(w.servers.keycloak.faults.hits(fault) > 0, "the fault was met");
    w.servers.keycloak.faults.remove(fault);
    assert_eq!(w.jira().snapshot(), before, "{outcome:?}");
    if let Ok(report) = outcome {
        assert!(report.has_problems(), "{report:?}");
    }
}

#[tokio::test]
async fn listings_that_are_empty_short_cut_or_html_remove_nothing() {
    let w = world().await;
    let empty = || Fault::status(200, "[]").header("content-type", "application/json");
    nothing_is_taken(&w, empty().path("/users?")).await;
    nothing_is_taken(&w, empty().path("/groups?")).await;
    nothing_is_taken(&w, Fault::status(200, "30").header("content-type", "application/json").path("/users/count"))
        .await;
    nothing_is_taken(&w, Fault::truncate(300).path("/users?")).await;
    nothing_is_taken(&w, Fault::html(200, "<html>Sign in</html>").path("/users?")).await;
    nothing_is_taken(&w, Fault::html(200, "<html>Sign in</html>").path("/members")).await;
    nothing_is_taken(&w, Fault::unavailable().path("/users?")).await;
    nothing_is_taken(&w, Fault::html(404, "<html>Not here</html>").path("/users?")).await;
    w.run().await;
    w.agrees();
}

#[tokio::test]
async fn a_page_that_lacks_users_removes_nothing_from_them() {
    let w = world().await;
    w.servers.keycloak.freeze();
    w.realm().switch_webhook(false);
    let late: Vec<NewUser> =
        (0..3).map(|number| NewUser::named(format!("late{number}")).in_groups(&["/staff"])).collect();
    w.realm().import_users(late).unwrap();
    w.run().await;
    w.agrees();
    let before = w.jira().snapshot();
    // The pages are old, the count is current.
    let stale = w.servers.keycloak.faults.add(Fault::stale(Stale::Frozen).path("/users?"));
    let report = w.run().await;
    assert!(report.incomplete.is_some(), "{report:?}");
    assert_eq!(w.jira().snapshot(), before);
    w.servers.keycloak.faults.remove(stale);
    w.run().await;
    w.agrees();
}

#[tokio::test]
async fn a_404_that_is_not_keycloaks_own_means_nothing() {
    let w = world().await;
    let before = w.jira().snapshot();
    let id = w.id("staff1");
    for body in ["{\"error\":\"HTTP 404 Not Found\"}", "{\"error\":\"Realm not found.\"}", "<html>404</html>"] {
        let fault = w.servers.keycloak.faults.add(Fault::status(404, body).path(id.clone()));
        w.realm().user_action(&id, "logout").await.unwrap();
        let update = UserChange { first_name: Some("Again".into()), ..UserChange::default() };
        w.realm().update_user(&id, update).await.unwrap();
        w.realm().webhook_idle().await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(w.jira().snapshot(), before, "{body}");
        w.servers.keycloak.faults.remove(fault);
        w.realm()
            .update_user(&id, UserChange { first_name: Some("staff1".into()), ..UserChange::default() })
            .await
            .unwrap();
        w.calm().await;
    }
    w.agrees();
}

#[tokio::test]
async fn when_all_users_are_missing_no_absence_is_confirmed() {
    let w = world().await;
    let before = w.jira().snapshot();
    w.servers.keycloak.faults.add(
        Fault::status(404, "{\"error\":\"User not found\"}").header("content-type", "application/json").path("/users/"),
    );
    let update = UserChange { first_name: Some("Again".into()), ..UserChange::default() };
    w.realm().update_user(&w.id("staff1"), update).await.unwrap();
    w.realm().webhook_idle().await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(w.jira().snapshot(), before);
    w.servers.keycloak.faults.clear();
    w.calm().await;
    w.agrees();
}

#[tokio::test]
async fn rights_that_show_an_empty_realm_stop_the_run() {
    let w = world().await;
    let before = w.jira().snapshot();
    w.realm().set_client_roles("usersync", &["query-users", "query-groups"]);
    w.servers.keycloak.revoke_tokens();
    assert!(w.try_run().await.is_err());
    assert_eq!(w.jira().snapshot(), before);
    w.realm().set_client_roles("usersync", &["view-users"]);
    w.servers.keycloak.revoke_tokens();
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.calm().await;
    w.run().await;
    w.agrees();
}

#[tokio::test]
async fn a_federation_that_is_down_removes_nothing_and_other_users_are_synced() {
    let servers = servers(options()).await;
    let federated =
        (0..4).map(|number| NewUser::named(format!("ldap{number}")).in_groups(&["/staff"]).federated("ldap"));
    servers.realm.import_users(federated).unwrap();
    let w = on(servers).await;
    let before = w.jira().snapshot();
    w.realm().set_federation("ldap", FederationState::Unreachable);
    let report = w.run().await;
    assert_eq!(w.jira().snapshot(), before);
    for number in 0..4 {
        assert!(
            report.unconfirmed.iter().any(|incomplete| incomplete.contains(&format!("ldap{number}"))),
            "{:?}",
            report.unconfirmed
        );
    }
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    w.realm().user_action(&w.id("ldap1"), "logout").await.unwrap();
    w.settled().await;
    assert!(w.account("ldap1").active);
    assert_eq!(w.account("staff1").email, "one@example.com", "those of Keycloak itself are served meanwhile");

    w.realm().set_federation("ldap", FederationState::Available);
    let group = w.realm().create_group(None, "new").await.unwrap();
    w.realm().join(&w.id("ldap1"), &group).await.unwrap();
    w.realm().update_user(&w.id("ldap2"), UserChange::email("two@example.com")).await.unwrap();
    w.settled().await;
    assert_eq!(w.members("new"), ["ldap1"]);
    w.run().await;
    w.agrees();
}

/// Users of a federation that stores nothing in Keycloak: LDAP users that are not imported, or users of another
/// provider.
async fn outside(make: impl Fn(NewUser) -> NewUser) -> World {
    let servers = servers(options()).await;
    let outside = (0..3).map(|number| make(NewUser::named(format!("out{number}")).in_groups(&["/staff"])));
    servers.realm.import_users(outside).unwrap();
    let w = on(servers).await;
    assert_eq!(w.agrees().users, STAFF + 3);
    w
}

#[tokio::test]
async fn users_of_a_provider_that_is_switched_off_or_down_lose_nothing() {
    for (at, make) in
        [|user: NewUser| user.provided("spi"), |user: NewUser| user.not_imported("spi")].iter().enumerate()
    {
        let w = outside(make).await;
        w.realm().switch_webhook(false);
        let before = w.jira().snapshot();
        for state in [FederationState::Disabled, FederationState::Unreachable] {
            w.realm().set_federation("spi", state);
            let report = w.try_run().await.unwrap();
            let reported = |text: &String| report.unconfirmed.contains(text) || report.errors.contains(text);
            for number in 0..3 {
                let name = format!("out{number}");
                let found = report
                    .unconfirmed
                    .iter()
                    .chain(report.errors.iter())
                    .any(|text| reported(text) && text.contains(&name));
                assert!(found, "{at}: {name}: {report:?}");
            }
            // An event asks for one of them.
            let id = w.id("out1");
            w.realm().switch_webhook(true);
            w.realm().user_action(&id, "logout").await.unwrap();
            w.realm().webhook_idle().await;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            assert_eq!(w.jira().snapshot(), before, "{at}: {report:?}");
            w.realm().set_federation("spi", FederationState::Available);
            w.realm().switch_webhook(false);
        }
        w.realm().change_without_event(&w.id("out2"), &UserChange::email("out@example.com")).unwrap();
        w.run().await;
        assert_eq!(w.account("out2").email, "out@example.com");
    }
}

#[tokio::test]
async fn another_realm_behind_the_same_address_stops_the_connector() {
    let w = world().await;
    let before = w.jira().snapshot();
    let keycloak = &w.servers.keycloak;
    // The realm is recreated with the same name, client and secret, but with other users.
    let client = reqwest::Client::new();
    let form = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", "admin"), ("password", "admin")];
    let token = format!("{}/realms/master/protocol/openid-connect/token", keycloak.url());
    let given: serde_json::Value = client.post(token).form(&form).send().await.unwrap().json().await.unwrap();
    let realm = client.delete(format!("{}/admin/realms/{CONNECTOR}", keycloak.url()));
    let answer = realm.bearer_auth(given["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let anew = keycloak.add_realm(CONNECTOR);
    anew.add_service_client("usersync", CLIENT_SECRET, &["view-users", "view-events"]);
    anew.import_users([NewUser::named("somebody")]).unwrap();
    assert!(w.try_run().await.is_err());
    assert_eq!(w.stack.store.pair_state(&Stack::pair()).await.unwrap(), PairState::Stopped);
    assert_eq!(w.jira().snapshot(), before, "nothing is written");
}

#[tokio::test]
async fn a_recreated_service_account_of_the_same_client_is_the_same_realm() {
    let w = world().await;
    w.realm().switch_webhook(false);
    w.realm().delete_client("usersync").unwrap();
    w.realm().add_service_client("usersync", CLIENT_SECRET, &["view-users", "view-events"]);
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.run().await;
    assert_eq!(w.stack.store.pair_state(&Stack::pair()).await.unwrap(), PairState::InService);
    assert!(w.account("alice").active);
    let audit = w.stack.store.audit(None, 10).await.unwrap();
    assert_eq!(audit.iter().filter(|one| one.what.contains("service account was recreated")).count(), 1, "{audit:?}");
}

#[tokio::test]
async fn another_jira_behind_the_same_address_stops_the_target() {
    let w = world().await;
    w.jira().set_identity("another-server", "Another");
    let before = w.writes().len();
    w.realm().switch_webhook(false);
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    assert!(w.try_run().await.is_err());
    assert_eq!(w.stack.store.pair_state(&Stack::pair()).await.unwrap(), PairState::Stopped);
    w.realm().switch_webhook(true);
    w.realm().create_user(NewUser::named("bob")).await.unwrap();
    w.realm().webhook_idle().await;
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert_eq!(w.writes().len(), before, "nothing is written to it");
    assert_eq!(w.tasks().await.len(), 1, "but events are kept");
}

#[tokio::test]
async fn after_another_server_is_confirmed_a_link_is_kept_only_if_its_account_has_the_same_login() {
    let w = world().await;
    let keys: Vec<String> = (3..STAFF).map(|number| w.account(&format!("staff{number}")).key).collect();
    let other = w.account("staff1").key;
    w.jira().set_identity("another-server", "Another");
    // staff1's id belongs to another user there, and staff2 is unknown.
    w.jira().rename_account("staff1", "somebody");
    w.jira().remove_account("staff2");
    w.jira().add_account(NewAccount::named("staff2"));
    assert!(w.try_run().await.is_err());
    let store = &w.stack.store;
    assert_eq!(store.pair_state(&Stack::pair()).await.unwrap(), PairState::Stopped);
    let before = w.account("somebody");
    store.confirm_identity(None, Some(&Stack::pair().target), "ann", Timestamp::now()).await.unwrap();
    w.stack.in_service().await.unwrap();
    w.settled().await;
    assert_eq!(w.account("somebody"), before, "another person's account is not touched");
    assert_ne!(w.account("staff1").key, other);
    let kept: Vec<String> = (3..STAFF).map(|number| w.account(&format!("staff{number}")).key).collect();
    assert_eq!(kept, keys);
    let runs = store.runs(Some(&Stack::pair()), 9).await.unwrap();
    let listed = |report: &serde_json::Value| report["dropped_links"]["first"].as_array().cloned();
    let dropped = runs.iter().find_map(|run| listed(&run.report).filter(|list| !list.is_empty()));
    let dropped = dropped.expect("listed");
    let dropped: Vec<&str> = dropped.iter().filter_map(serde_json::Value::as_str).collect();
    assert_eq!(dropped.len(), 2, "{dropped:?}");
    assert!(
        dropped.iter().any(|line| line.starts_with("staff1: account") && line.contains("is now somebody")),
        "{dropped:?}"
    );
    assert!(dropped.iter().any(|line| line.starts_with("staff2: the server has no account")), "{dropped:?}");
    let changes = w.changes().await;
    assert_eq!(changes.iter().filter(|change| change.verb == "drop_link").count(), 2, "{changes:?}");
    assert_eq!(store.unconfirmed_links(&Stack::pair()).await.unwrap(), Vec::new());
    w.agrees_but_for(&["somebody"]);
}

#[tokio::test]
async fn an_absence_found_by_a_run_is_read_twice_and_a_user_who_is_back_stays() {
    let w = world().await;
    let id = w.id("staff1");
    w.realm().delete_user_without_event(&id).unwrap();
    w.run().await;
    assert!(!w.account("staff1").active);
    assert_eq!(w.waiting(ApprovalKind::ProtectedLeaver).await.len(), 0);
    assert_eq!(w.agrees().users, STAFF - 1);
}

#[tokio::test]
async fn after_an_incomplete_read_additions_continue_without_removals() {
    let w = world().await;
    let groups = w.account("staff1").groups;
    w.realm().switch_webhook(false);
    let update = UserChange { first_name: Some("Again".into()), ..UserChange::default() };
    w.realm().update_user(&w.id("staff1"), update).await.unwrap();
    let empty = Fault::status(200, "[]").header("content-type", "application/json").path("/members");
    let fault = w.servers.keycloak.faults.add(empty);
    let count = w.servers.keycloak.faults.add(miscounted());
    let report = w.run().await;
    assert!(report.incomplete.is_some(), "{report:?}");
    assert!(w.servers.keycloak.faults.hits(fault) > 0 && w.servers.keycloak.faults.hits(count) > 0);
    assert_eq!(w.account("staff1").display_name, "Again Example");
    assert_eq!(w.account("staff1").groups, groups);
    w.servers.keycloak.faults.clear();
    w.run().await;
    w.agrees();
}

/// A count that is larger than the list.
fn miscounted() -> Fault {
    Fault::status(200, "30").header("content-type", "application/json").path("/users/count")
}

#[tokio::test]
async fn after_an_incomplete_read_linked_users_that_were_not_read_are_not_changed() {
    let w = world().await;
    w.realm().switch_webhook(false);
    let (gone, off) = (w.id("staff1"), w.id("staff2"));
    w.realm().update_user(&off, UserChange::enabled(false)).await.unwrap();
    w.run().await;
    assert!(!w.account("staff2").active);
    for id in [&gone, &off] {
        w.realm().delete_user_without_event(id).unwrap();
    }
    let before = w.jira().snapshot();
    let fault = w.servers.keycloak.faults.add(miscounted());
    let report = w.try_run().await.unwrap();
    assert!(report.incomplete.is_some(), "{report:?}");
    let left: Vec<&String> =
        report.unconfirmed.iter().filter(|incomplete| incomplete.contains("not listed by Keycloak")).collect();
    assert!(left.len() == 1 && left[0].starts_with("staff1: "), "{report:?}");
    assert_eq!(w.jira().snapshot(), before);
    assert_eq!(report.unchanged, STAFF - 2, "no verdict on them: {report:?}");
    w.servers.keycloak.faults.remove(fault);
    w.run().await;
    assert!(!w.account("staff1").active);
    w.agrees();
}

/// Adds the group `extra` with staff1.
async fn with_extra(w: &World) -> String {
    let extra = w.realm().create_group(None, "extra").await.unwrap();
    w.realm().join(&w.id("staff1"), &extra).await.unwrap();
    w.settled().await;
    assert_eq!(w.members("extra"), ["staff1"]);
    w.realm().switch_webhook(false);
    extra
}

/// Returns whether this Keycloak group feeds a Jira group.
async fn feeds(w: &World, group: &str) -> bool {
    let mappings = w.stack.store.group_mappings(&Stack::pair()).await.unwrap();
    mappings.iter().any(|(id, mapping)| *id == GroupId::from(group) && matches!(mapping, GroupMapping::Managed { .. }))
}

#[tokio::test]
async fn after_an_incomplete_read_groups_that_were_not_read_are_not_changed() {
    let w = world().await;
    let extra = with_extra(&w).await;
    w.realm().delete_group(&extra).await.unwrap();
    let short = Fault::status(200, r#"{"count":30}"#).header("content-type", "application/json").path("/groups/count");
    let fault = w.servers.keycloak.faults.add(short);
    let report = w.run().await;
    assert!(report.incomplete.is_some(), "{report:?}");
    assert!(
        report.unconfirmed.iter().any(|incomplete| incomplete.starts_with("group extra: not listed by Keycloak")),
        "{report:?}"
    );
    assert!(feeds(&w, &extra).await);
    assert_eq!(w.members("extra"), Vec::<String>::new(), "the user's own groups lack it");
    w.servers.keycloak.faults.remove(fault);
    w.run().await;
    assert!(!feeds(&w, &extra).await);
    w.agrees();
}

#[tokio::test]
async fn a_group_missing_in_a_run_is_read_again_after_a_while() {
    let mut options = options();
    options.times = EngineTimes { gone_twice: jiff::SignedDuration::from_millis(700), ..EngineTimes::hasty() };
    let w = world_with(options).await;
    w.servers.keycloak.freeze();
    let extra = with_extra(&w).await;
    let faults = &w.servers.keycloak.faults;
    faults.add(Fault::stale(Stale::Frozen).path(format!("/{CONNECTOR}/groups?")));
    faults.add(Fault::stale(Stale::Frozen).path("/groups/count"));
    // Keycloak reports it as deleted for a moment, with its own message.
    let answer = "{\"error\":\"Could not find group by id\"}";
    let gone = Fault::status(404, answer).header("content-type", "application/json").path(format!("/groups/{extra}"));
    let gone = faults.add(gone);
    let well_again = async {
        while faults.hits(gone) < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        faults.remove(gone);
    };
    let (report, ()) = tokio::join!(w.try_run(), well_again);
    assert!(feeds(&w, &extra).await, "{report:?}");
    faults.clear();
    w.calm().await;
    assert_eq!(w.waiting(ApprovalKind::Adoption).await, Vec::<String>::new(), "nothing has to be adopted anew");
    assert_eq!(w.members("extra"), ["staff1"]);
    w.run().await;
    w.agrees();
}
