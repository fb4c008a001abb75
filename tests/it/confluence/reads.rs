//! Reads of one account or group, and protection.

use serde_json::json;
use usersync::{
    model::{AccountId, ErrorClass, TargetGroupId},
    targets::{Target, TargetErrorKind},
};
use usersync_simulators::{ConfluenceOptions, Fault, confluence::NewAccount};

use super::world::{Wiki, deactivate, delete, fields, not_done, token, update};

#[tokio::test]
async fn an_account_is_found_by_key_and_by_login_in_any_case() {
    let wiki = Wiki::new().await;
    let names: Vec<String> = (0..450).map(|nth| format!("Group {nth:03}")).collect();
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    let key = wiki.simulator.add_account(NewAccount::named("Ada").in_groups(&groups));
    wiki.simulator.set_page_cap(100);
    let ada = wiki.target.account(&AccountId::from(key.clone())).await.expect("an answer").expect("there");
    assert_eq!(
        (ada.name.as_str(), ada.groups.as_ref().map(Vec::len)),
        ("ada", Some(450)),
        "all of three pages and more"
    );
    assert!(ada.groups.as_ref().is_some_and(|groups| groups.contains(&TargetGroupId::from("group 449"))));
    for name in ["ada", "ADA"] {
        assert_eq!(
            wiki.target.account_named(name).await.expect("an answer").map(|one| one.id.to_string()),
            Some(key.clone())
        );
    }
    assert_eq!(wiki.target.account_named("ad").await, Ok(None));
    assert_eq!(wiki.target.account(&AccountId::from("nobody")).await, Ok(None));
    wiki.assert_contract();
}

#[tokio::test]
async fn answers_with_missing_fields_are_not_confirmed_and_unknown_fields_are_ignored() {
    let wiki = Wiki::new().await;
    wiki.simulator.add_account(NewAccount::named("ada"));
    let answer = |body: serde_json::Value| Fault::status(200, body.to_string()).path("/user?").once();
    for body in [
        json!({}),
        json!({ "type": "known", "username": "ada", "displayName": "A", "status": "current" }),
        json!({ "type": "known", "userKey": "k", "displayName": "A", "status": "current" }),
        json!({ "type": "known", "username": "ada", "userKey": "k", "status": "perhaps" }),
    ] {
        wiki.simulator.faults.add(answer(body.clone()));
        let error = wiki.target.account_named("ada").await.expect_err("it lacks something");
        assert_eq!(error.kind, not_done(ErrorClass::Unconfirmed), "{body}: {error}");
    }
    wiki.simulator.faults.add(answer(json!({ "type": "unknown", "userKey": "k", "username": "k" })));
    assert_eq!(wiki.target.account_named("ada").await, Ok(None), "what is left of a deleted one");
    let full = json!({ "type": "known", "username": "ada", "userKey": "k", "status": "CURRENT", "new": [{}] });
    wiki.simulator.faults.add(answer(full));
    wiki.simulator.faults.add(Fault::status(200, json!({ "results": [] }).to_string()).path("/memberof?key=k"));
    let ada = wiki.target.account_named("ada").await.expect("an answer").expect("there");
    assert_eq!((ada.display_name.as_str(), ada.active, ada.groups), ("ada", true, Some(Vec::new())));
    for (fault, class) in [
        (Fault::html(404, "<html>no</html>"), ErrorClass::Unconfirmed),
        (Fault::status(404, "{\"message\": \"a proxy's\"}"), ErrorClass::Unconfirmed),
        (Fault::html(200, "<html>Welcome</html>"), ErrorClass::Unconfirmed),
        (Fault::status(403, ""), ErrorClass::Forbidden),
        (Fault::unavailable(), ErrorClass::Transient),
        (Fault::cut().times(2), ErrorClass::Transient),
    ] {
        wiki.simulator.faults.clear();
        wiki.simulator.faults.add(fault.path("/user?"));
        let error = wiki.target.account_named("ada").await.expect_err("no answer");
        assert_eq!(error.kind, not_done(class), "{error}");
    }
}

#[tokio::test]
async fn an_inconsistent_listing_of_groups_is_not_used() {
    let wiki = Wiki::new().await;
    let key = wiki.simulator.add_account(NewAccount::named("ada").in_groups(&["dev"]));
    let page = json!({ "results": [{ "type": "group", "name": "dev" }], "totalCount": 3, "_links": {} });
    wiki.simulator.faults.add(Fault::status(200, page.to_string()).path(format!("/memberof?key={key}")));
    let ada = wiki.target.account(&AccountId::from(key)).await.expect("an answer").expect("there");
    assert_eq!(ada.groups, None);
}

#[tokio::test]
async fn administrators_and_configured_users_are_protected() {
    let options = ConfluenceOptions { base_path: "/confluence".into(), ..ConfluenceOptions::default() };
    let wiki = Wiki::start(options, token("sync-token")).await;
    let simulator = &wiki.simulator;
    simulator.set_admin_group("Wiki Masters", true);
    simulator.add_account(NewAccount::named("usersync").in_groups(&["wiki masters", "confluence-users"]));
    simulator.set_credentials("usersync", "p", "sync-token");
    simulator.add_account(NewAccount::named("master").in_groups(&["wiki masters"]));
    simulator.add_account(NewAccount::named("ada").in_groups(&["dev"]));
    simulator.set_admin_group("Others", true);

    let find = async |name: &str| wiki.target.account_named(name).await.expect("an answer").expect("there");
    assert!(find("usersync").await.protected.is_some_and(|why| why.contains("usersync's own account")));
    assert!(find("admin").await.protected.is_some());
    assert!(find("master").await.protected.is_some(), "by one of our own groups, as it makes us an administrator");
    assert_eq!(find("ada").await.protected, None);
    for (group, protected) in
        [("confluence-administrators", true), ("wiki masters", true), ("others", true), ("dev", false)]
    {
        let group = wiki.target.group_named(group).await.expect("an answer").expect("there");
        assert_eq!(group.protected.is_some(), protected, "{}", group.name);
    }
    // An approved deactivation of an administrator succeeds, except of the last other one, and of usersync itself.
    let (admin, master, us) = (find("admin").await, find("master").await, find("usersync").await);
    wiki.done(deactivate(&admin.id, "admin")).await;
    for (account, word) in [(&master, "last active administrator"), (&us, "usersync's own account")] {
        for operation in [deactivate(&account.id, &account.name), delete(&account.id, &account.name)] {
            let error = wiki.refused(operation).await;
            assert_eq!(error.kind, TargetErrorKind::Unsupported);
            assert!(error.text.contains(word), "{error}");
        }
    }
    assert!(find("master").await.active && find("usersync").await.active);
    wiki.assert_contract();
}

/// Starts a Confluence with `master`, the only administrator besides usersync's own account.
async fn with_master(version: &str) -> (Wiki, AccountId) {
    let wiki = Wiki::version(version).await;
    let key = wiki.simulator.add_account(NewAccount::named("master").in_groups(&["confluence-administrators"]));
    (wiki, key.into())
}

/// Replaces the key of `master` in the list of administrators; `None` removes it.
fn master_with_key(key: Option<&'static str>) -> Fault {
    let edit = move |body: &mut serde_json::Value| {
        for user in body["results"].as_array_mut().into_iter().flatten().filter(|user| user["username"] == "master") {
            user["userKey"] = json!(key);
        }
    };
    Fault::edit(edit).path("/group/confluence-administrators/member")
}

#[tokio::test]
async fn an_administrator_that_the_group_lists_without_a_key_stays_protected() {
    for key in [None, Some(""), Some(" ")] {
        for version in ["9.4.0", "10.0.3"] {
            let (wiki, master) = with_master(version).await;
            wiki.simulator.faults.add(master_with_key(key));
            let error = wiki.refused(update(&master, "master", fields(Some("No Master"), None))).await;
            assert_eq!(error.kind, TargetErrorKind::NotFound, "{version} {key:?}: {error}");
            for operation in [deactivate(&master, "master"), delete(&master, "master")] {
                let error = wiki.refused(operation).await;
                assert_eq!(error.kind, not_done(ErrorClass::Unconfirmed), "{version} {key:?}: {error}");
                assert!(error.text.contains("cannot be confirmed; nothing was changed"), "{error}");
            }
            // Its own list of groups cannot be read completely either.
            let page = json!({ "results": [], "totalCount": 3, "_links": {} });
            wiki.simulator.faults.add(Fault::status(200, page.to_string()).path(format!("/memberof?key={master}")));
            let error = wiki.refused(deactivate(&master, "master")).await;
            assert_eq!(error.kind, not_done(ErrorClass::Unconfirmed), "{version} {key:?}: {error}");
            assert!(wiki.simulator.snapshot().account("master").expect("there").active);
        }
    }
}

#[tokio::test]
async fn an_unreadable_list_of_administrators_refuses_to_deactivate_or_delete_one() {
    let (wiki, master) = with_master("10.0.3").await;
    wiki.account(&master).await;
    let short = json!({ "results": [], "totalCount": 3, "_links": {} }).to_string();
    for fault in [Fault::html(200, "<html>Welcome</html>"), Fault::status(200, short)] {
        wiki.simulator.faults.clear();
        wiki.simulator.faults.add(fault.path("/group/confluence-administrators/member"));
        for operation in [deactivate(&master, "master"), delete(&master, "master")] {
            let error = wiki.refused(operation).await;
            assert_eq!(error.kind, not_done(ErrorClass::Unconfirmed), "{error}");
        }
    }
    assert!(wiki.simulator.snapshot().account("master").expect("there").active);
}

#[tokio::test]
async fn the_last_administrator_is_recognized_where_only_rpc_shows_the_status() {
    let (wiki, master) = with_master("9.4.0").await;
    wiki.simulator.set_tells_status(false);
    wiki.simulator.set_remote_api(true, 200);
    let error = wiki.refused(deactivate(&master, "master")).await;
    assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
    assert!(error.text.contains("last active administrator"), "{error}");
    wiki.simulator.add_account(NewAccount::named("second").in_groups(&["confluence-administrators"]));
    wiki.done(deactivate(&master, "master")).await;
}
