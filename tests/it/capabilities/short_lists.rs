//! Incomplete lists: they confirm no absence.

use usersync::{
    demo::stack::Stack,
    model::{GroupMapping, Subject},
    store::StoreReads,
};
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, UserChange},
};

use super::support::{STAFF, World, world};

/// Returns a fault that removes these entries from a list of this realm.
fn without(path: &str, ids: Vec<String>) -> Fault {
    Fault::edit(move |list| {
        if let Some(list) = list.as_array_mut() {
            list.retain(|one| !ids.iter().any(|id| one["id"] == id.as_str()));
        }
    })
    .path(path)
}

#[tokio::test]
async fn members_missing_in_a_listing_keep_the_groups_that_their_accounts_show_and_get_them_back() {
    let w = world().await;
    w.realm().switch_webhook(false);
    let staff = w.realm().snapshot().group("/staff").unwrap().id.clone();
    // One user really left; another was removed only at the target.
    w.realm().leave(&w.id("staff3"), &staff).await.unwrap();
    w.jira().remove_member("staff", "staff4");
    w.servers.keycloak.faults.add(Fault::edit(|list| *list = serde_json::json!([])).path("/members"));
    let plan = w.dry_run().await;
    assert_eq!(plan.planned.get("remove_member"), Some(&1), "{plan:?}");
    assert_eq!(plan.planned.get("add_member"), Some(&1), "{plan:?}");
    let report = w.run().await;
    let reported = report.unconfirmed.iter().find(|incomplete| incomplete.starts_with("group /staff: ")).unwrap();
    assert!(reported.contains("staff1") && reported.contains("own group lists contain the group"), "{reported}");
    assert_eq!(w.members("staff").len(), STAFF - 1);
    assert!(!w.members("staff").contains(&"staff3".to_owned()));
    w.servers.keycloak.faults.clear();
    w.agrees();
    // The explanation shows what a run plans: from the user's own groups.
    let connector = w.stack.engine.connector(&"acme".into()).unwrap();
    let user = connector.source.user(&w.id("staff1").as_str().into()).await.unwrap().unwrap();
    assert_eq!(user.groups.len(), 1);
}

#[tokio::test]
async fn a_listing_without_usersyncs_own_account_is_incomplete() {
    let w = world().await;
    let lacks_admin = Fault::edit(|page| {
        if let Some(accounts) = page["values"].as_array_mut() {
            accounts.retain(|account| account["name"] != "admin" && account["name"] != "staff5");
        }
    });
    w.jira().faults.add(lacks_admin.path("/user/list"));
    let report = w.run().await;
    let incomplete = report.incomplete.expect("the listing is incomplete");
    assert!(incomplete.contains("the listing lacks usersync's own account"), "{incomplete}");
    w.jira().faults.clear();
    assert_eq!(w.run().await.incomplete, None);
    w.agrees();
}

#[tokio::test]
async fn in_a_realm_with_a_wrong_count_users_are_planned_as_read() {
    let w = world().await;
    w.realm().switch_webhook(false);
    let staff = w.realm().snapshot().group("/staff").unwrap().id.clone();
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    w.realm().leave(&w.id("staff2"), &staff).await.unwrap();
    w.realm().delete_user_without_event(&w.id("staff3")).unwrap();
    w.realm().update_user(&w.id("staff4"), UserChange::email("four@example.com")).await.unwrap();
    let hidden = vec![w.id("staff4")];
    w.servers.keycloak.faults.add(without("briefRepresentation=false", hidden));
    let report = w.run().await;
    assert!(
        report
            .incomplete
            .as_ref()
            .is_some_and(|incomplete| incomplete.contains("8 users were read, but Keycloak counts 9"))
    );
    assert!(!w.account("staff1").active, "read as disabled: {report:?}");
    assert!(!w.members("staff").contains(&"staff2".to_owned()), "read without the group");
    assert!(w.account("staff3").active, "not listed, and the listing is incomplete");
    assert!(
        report.unconfirmed.iter().any(|incomplete| incomplete.starts_with("staff3: not listed by Keycloak")),
        "{report:?}"
    );
    assert_eq!(w.account("staff4").email, "four@example.com", "not listed, but there by id");
    w.servers.keycloak.faults.clear();
    w.run().await;
    assert!(!w.account("staff3").active);
    w.agrees();
}

#[tokio::test]
async fn many_missing_users_are_read_by_one_request_before_each_absence_is_confirmed() {
    let w = world().await;
    w.realm().switch_webhook(false);
    let gone: Vec<String> = (0..4).map(|number| w.id(&format!("staff{number}"))).collect();
    for id in &gone {
        w.realm().delete_user_without_event(id).unwrap();
    }
    w.servers.keycloak.journal.clear();
    let plan = w.dry_run().await;
    assert_eq!(plan.planned.get("deactivate"), Some(&4), "{plan:?}");
    for id in &gone {
        assert_eq!(w.servers.keycloak.journal.count("GET", &format!("/users/{id}")), 0);
    }
    // An empty answer to a query for several ids is not trusted.
    let nobody = Fault::edit(|list| *list = serde_json::json!([])).path("search=id");
    w.servers.keycloak.faults.add(nobody);
    w.run().await;
    assert!((0..4).all(|number| !w.account(&format!("staff{number}")).active));
    for id in &gone {
        assert!(w.servers.keycloak.journal.count("GET", &format!("/users/{id}")) > 1, "confirmed by id");
    }
    w.servers.keycloak.faults.clear();
    w.agrees();
}

#[tokio::test]
async fn members_of_a_group_whose_list_cannot_be_read_lose_nothing_and_others_go_on() {
    let w = world().await;
    w.realm().switch_webhook(false);
    let extra = w.realm().create_group(None, "extra").await.unwrap();
    w.realm().join(&w.id("staff1"), &extra).await.unwrap();
    w.run().await;
    assert_eq!(w.members("extra"), ["staff1"]);
    w.realm().create_user(NewUser::named("alice").in_groups(&["/staff"])).await.unwrap();
    let path = format!("/groups/{extra}/members");
    w.servers.keycloak.faults.add(Fault::status(500, r#"{"error":"unknown_error"}"#).path(path));
    let report = w.try_run().await.unwrap();
    let subject = Subject::group(extra.as_str()).to_string();
    assert!(report.errors.iter().any(|error| error.starts_with(&subject)), "{report:?}");
    assert_eq!(w.members("extra"), ["staff1"]);
    assert!(w.members("staff").contains(&"alice".to_owned()));
    let mappings = w.stack.store.group_mappings(&Stack::pair()).await.unwrap();
    assert!(mappings.iter().all(|(_, mapping)| matches!(mapping, GroupMapping::Managed { .. })));
    w.servers.keycloak.faults.clear();
    w.calm().await;
    w.run().await;
    w.agrees();
}

/// A target listing that repeats its first page forever.
#[tokio::test]
async fn a_listing_of_the_target_that_repeats_ends_and_is_reported() {
    let w: World = world().await;
    let first = std::sync::OnceLock::new();
    let again = Fault::edit(move |page| {
        let same = first.get_or_init(|| {
            let mut first = page.clone();
            first["isLast"] = serde_json::json!(false);
            first.as_object_mut().and_then(|fields| fields.remove("total"));
            first
        });
        page.clone_from(same);
    });
    w.jira().faults.add(again.method("GET").path("groupname=staff"));
    let report = tokio::time::timeout(std::time::Duration::from_secs(20), w.try_run()).await.expect("it ends").unwrap();
    assert_eq!(w.members("staff").len(), STAFF);
    assert!(report.unconfirmed.iter().any(|text| text.contains("returned entries twice")), "{report:?}");
    w.jira().faults.clear();
    w.run().await;
    w.agrees();
}
