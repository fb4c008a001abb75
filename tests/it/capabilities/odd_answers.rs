//! An invalid field in a Keycloak answer fails one subject; no user loses anything.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use usersync::model::{Limited, Subject};
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, UserChange},
};

use super::support::{STAFF, World, on, options, servers, world};

/// Answers that a full reconcile reads: part of the path, and where the edited object is in the answer.
const ANSWERS: [(&str, &str); 7] = [
    ("/users?", "/3"),
    ("/users/count", ""),
    ("/groups?", "/0"),
    ("/groups/count", ""),
    ("/members", "/2"),
    ("by id", ""),
    ("groups by id", "/0"),
];

/// Returns the replacements of a field; `None`: the field is missing.
fn replacements() -> [Option<Value>; 7] {
    [None, Some(Value::Null), Some(json!("")), Some(json!(7)), Some(json!([])), Some(json!({})), Some(json!([null]))]
}

/// Returns active accounts and memberships.
fn granted(w: &World) -> BTreeSet<String> {
    let jira = w.jira().snapshot();
    let active =
        jira.accounts.values().filter(|account| account.active).map(|account| format!("active {}", account.name));
    let members =
        jira.groups.iter().flat_map(|(group, members)| members.iter().map(move |one| format!("{one} in {group}")));
    active.chain(members).collect()
}

fn set(value: &mut Value, at: &str, field: &str, to: Option<&Value>) {
    let Some(place) = value.pointer_mut(at) else { return };
    if let (true, Some(to)) = (place.is_number(), to) {
        *place = to.clone();
    }
    let Some(fields) = place.as_object_mut() else { return };
    match to {
        Some(to) => drop(fields.insert(field.to_owned(), to.clone())),
        None => drop(fields.remove(field)),
    }
}

#[tokio::test]
async fn any_field_that_is_null_missing_empty_or_of_another_type_ends_no_run_and_removes_nothing() {
    let servers = servers(options()).await;
    let federated = NewUser::named("ldap").attribute("dept", "x").in_groups(&["/staff"]).federated("ldap");
    servers
        .realm
        .import_users([federated, NewUser::named("aaa").attribute("dept", "x").in_groups(&["/staff"])])
        .unwrap();
    let w = on(servers).await;
    w.realm().switch_webhook(false);
    let before = granted(&w);
    let id = w.id("staff1");
    let source = Arc::clone(&w.stack.engine.connector(&"acme".into()).unwrap().source);
    let user = ["id", "username", "firstName", "lastName", "email", "emailVerified", "attributes", "enabled"];
    let more = ["createdTimestamp", "federationLink", "origin", "totp", "requiredActions", "access"];
    let group = ["id", "name", "path", "parentId", "subGroupCount", "subGroups", "attributes", "access"];
    let user: Vec<&str> = user.into_iter().chain(more).collect();
    for (path, at) in ANSWERS {
        let (path, fields) = match path {
            "by id" => (format!("/users/{id}"), user.clone()),
            "groups by id" => (format!("/users/{id}/groups"), group.to_vec()),
            "/users/count" | "/groups/count" => (path.to_owned(), vec!["count"]),
            path if path.starts_with("/groups") => (path.to_owned(), group.to_vec()),
            path => (path.to_owned(), user.clone()),
        };
        for (field, to) in fields.into_iter().flat_map(|field| replacements().map(|to| (field, to))) {
            let reported = format!("{path} {at}/{field}: {to:?}");
            let fault = Fault::edit(move |value| set(value, at, field, to.as_ref())).method("GET").path(path.clone());
            let fault = w.servers.keycloak.faults.add(fault);
            if path.contains(&id) {
                match source.user(&id.as_str().into()).await {
                    Ok(Some(user)) => assert!(user.enabled && user.groups.len() == 1, "{reported}: {user:?}"),
                    Ok(None) => panic!("{reported}: called gone"),
                    Err(_) => {}
                }
                assert!(w.servers.keycloak.faults.hits(fault) > 0, "{reported} was read");
                w.servers.keycloak.faults.remove(fault);
                continue;
            }
            let report = w.try_run().await.unwrap_or_else(|error| panic!("{reported}: {error}"));
            let lost: Vec<String> = before.difference(&granted(&w)).cloned().collect();
            assert_eq!(lost, Vec::<String>::new(), "{reported}: {report:?}");
            assert!(w.servers.keycloak.faults.hits(fault) > 0, "{reported} was read");
            w.servers.keycloak.faults.remove(fault);
        }
    }
    w.calm().await;
    w.run().await;
    w.agrees();
}

#[tokio::test]
async fn a_user_and_a_group_that_cannot_be_read_are_their_own_failures_by_name() {
    let w = world().await;
    w.realm().switch_webhook(false);
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    w.realm().update_user(&w.id("staff2"), UserChange::enabled(false)).await.unwrap();
    let late = w.realm().create_group(None, "late").await.unwrap();
    let odd = w.id("staff5");
    let (user, group) = (odd.clone(), late.clone());
    let edit = move |of: String, field: &'static str| {
        Fault::edit(move |value: &mut Value| {
            let entries = value.as_array_mut().into_iter().flatten();
            entries.filter(|one| one["id"] == of.as_str()).for_each(|one| one[field] = json!({ "odd": 1 }));
        })
    };
    w.servers.keycloak.faults.add(edit(user, "email").path("/users?"));
    w.servers.keycloak.faults.add(edit(group, "name").path("/groups?"));
    w.servers.keycloak.faults.add(Fault::status(500, r#"{"error":"unknown_error"}"#).path(format!("/users/{odd}")));
    let report = w.try_run().await.unwrap();
    let reported = |subject: Subject, words: &str| {
        let found = report.errors.iter().any(|error| error.starts_with(&subject.to_string()) && error.contains(words));
        assert!(found, "{:?}", report.errors);
    };
    reported(Subject::user(odd.as_str()), "the entry staff5 in Keycloak's listing cannot be decoded: field \"email\"");
    reported(Subject::group(late.as_str()), "field");
    assert_eq!(report.incomplete, None, "{report:?}");
    assert_eq!(w.account("staff1").email, "one@example.com");
    assert!(!w.account("staff2").active, "who was read is planned as read");
    assert!(w.account("staff5").active);
    let tasks = w.tasks().await;
    assert!(tasks.iter().any(|task| task.subject == Subject::user(odd.as_str())), "{tasks:?}");
    w.servers.keycloak.faults.clear();
    w.calm().await;
    w.run().await;
    w.agrees();
}

#[tokio::test]
async fn linked_users_who_are_not_listed_and_answer_500_by_id_end_no_run() {
    // They are missing from the listing only, or from a search by id as well.
    for lists in ["briefRepresentation=false", "/users?"] {
        let w = world().await;
        w.realm().switch_webhook(false);
        let ids: Vec<String> = (0..7).map(|number| w.id(&format!("staff{number}"))).collect();
        w.realm().update_user(&w.id("staff8"), UserChange::email("eight@example.com")).await.unwrap();
        w.realm().delete_user_without_event(&w.id("staff9")).unwrap();
        let hidden = ids.clone();
        let hide = Fault::edit(move |value| {
            if let Some(list) = value.as_array_mut() {
                list.retain(|one| !hidden.iter().any(|id| one["id"] == id.as_str()));
            }
        });
        w.servers.keycloak.faults.add(hide.path(lists));
        let count = Fault::status(200, "2").header("content-type", "application/json").path("/users/count");
        w.servers.keycloak.faults.add(count);
        for id in &ids {
            let broken = Fault::status(500, r#"{"error":"unknown_error"}"#).path(format!("/users/{id}"));
            w.servers.keycloak.faults.add(broken);
        }
        let report = w.try_run().await.unwrap();
        for (number, id) in ids.iter().enumerate() {
            let subject = Subject::user(id.as_str()).to_string();
            assert!(report.errors.iter().any(|error| error.starts_with(&subject)), "{:?}", report.errors);
            assert!(w.account(&format!("staff{number}")).active);
        }
        assert_eq!(w.account("staff8").email, "eight@example.com");
        assert_eq!(report.users, STAFF - 8);
        if lists == "/users?" {
            // This many planned leavers exceed the safety limit.
            assert_eq!(report.limits_reached, [Limited::Deactivate]);
            continue;
        }
        assert!(!w.account("staff9").active, "who is gone is deactivated all the same: {report:?}");
        w.servers.keycloak.faults.clear();
        w.replay_dead().await;
        w.run().await;
        w.agrees();
    }
}

#[tokio::test]
async fn values_that_are_null_are_absent() {
    let w = world().await;
    w.realm().switch_webhook(false);
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    let edit = |value: &mut Value| {
        for one in value.as_array_mut().into_iter().flatten() {
            one["attributes"] = json!({ "a": null, "b": [null], "c": ["x", null] });
        }
    };
    w.servers.keycloak.faults.add(Fault::edit(edit).path("/users?"));
    let report = w.run().await;
    assert_eq!((report.errors.len(), report.incomplete), (0, None));
    assert_eq!(w.account("staff1").email, "one@example.com");
}

#[tokio::test]
async fn a_user_for_whom_keycloak_fails_ends_no_run_and_no_user_is_reported_absent() {
    let w = world().await;
    w.realm().switch_webhook(false);
    w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.com")).await.unwrap();
    w.realm().update_user(&w.id("staff2"), UserChange::enabled(false)).await.unwrap();
    w.realm().delete_user_without_event(&w.id("staff3")).unwrap();
    let odd = w.id("staff5");
    // Every list that contains the user fails completely, and so does the user.
    w.servers.keycloak.faults.add(Fault::fails_over(odd.as_str()));
    w.servers.keycloak.faults.add(Fault::status(500, r#"{"error":"unknown_error"}"#).path(format!("/users/{odd}")));
    let report = w.try_run().await.unwrap();
    let incomplete = report.incomplete.clone().unwrap_or_default();
    assert!(incomplete.contains("1 user could not be read, at position") && incomplete.contains("max=1"), "{report:?}");
    assert_eq!(w.account("staff1").email, "one@example.com");
    assert!(!w.account("staff2").active, "who was read is planned as read");
    assert!(w.account("staff3").active, "absence from an incomplete listing proves nothing");
    assert!(w.account("staff5").active);
    assert_eq!(w.members("staff").len(), STAFF);
    w.servers.keycloak.faults.clear();
    w.calm().await;
    w.run().await;
    w.agrees();
}
