//! Reading a complete realm: complete despite concurrent changes, and never endless.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use usersync::{
    keycloak::{FullListing, KeycloakSettings, KeycloakSource, Source as _},
    model::{Packed, UserId, UserState},
};
use usersync_simulators::{
    Fault, SimulatedKeycloak,
    keycloak::{NewUser, RealmHandle},
};

use crate::support::faulty::{Faulty, Reply};

/// Users of the realm at the start: more than one request reads.
const USERS: usize = 65;

fn settings(url: &str, page: usize) -> KeycloakSettings {
    let secret = Arc::new(|| Ok("usersync-secret".to_owned().into()));
    KeycloakSettings { page, ..KeycloakSettings::new(url.parse().unwrap(), "acme", "usersync", secret) }
}

fn source(url: &str, page: usize) -> KeycloakSource {
    KeycloakSource::new(settings(url, page)).unwrap()
}

/// A realm with users created over years, thirty of them at the same time.
async fn realm() -> (SimulatedKeycloak, RealmHandle) {
    let (keycloak, realm) = SimulatedKeycloak::start_with_realm().await.unwrap();
    let created = |number: usize| {
        let years = i64::try_from(number).unwrap();
        if number < 30 { 1_500_000_000_000 } else { 1_400_000_000_000 + years * 7_654_321_000 }
    };
    let users = (0..USERS).map(|number| NewUser::named(format!("u{number:02}")).created(created(number)));
    realm.import_users(users).unwrap();
    (keycloak, realm)
}

async fn read(source: &KeycloakSource) -> FullListing<UserId, Packed<UserState>> {
    source.users(&|_, _| {}).await.unwrap()
}

fn names(walked: &FullListing<UserId, Packed<UserState>>) -> BTreeSet<String> {
    let names: BTreeSet<String> = walked.items.iter().map(|user| user.username).collect();
    assert_eq!(names.len(), walked.items.len(), "each once");
    names
}

/// Runs this once, after a page of users is read.
fn at_first_page(work: impl Fn() + Send + Sync + 'static) -> Fault {
    let done = AtomicBool::new(false);
    Fault::edit(move |page| {
        if page.as_array().is_some_and(|page| !page.is_empty()) && !done.swap(true, Ordering::SeqCst) {
            work();
        }
    })
    .path("/users?")
}

#[tokio::test]
async fn no_user_is_missed_while_others_are_deleted_and_created() {
    for by_creation in [true, false] {
        let (keycloak, realm) = realm().await;
        if !by_creation {
            // An older server ignores unknown parameters.
            let all = USERS.to_string();
            let count = Fault::status(200, all).header("content-type", "application/json");
            keycloak.faults.add(count.path("count?createdAfter"));
        }
        let id = realm.snapshot().user("u00").unwrap().id.clone();
        let changed = realm.clone();
        keycloak.faults.add(at_first_page(move || {
            changed.delete_user_without_event(&id).unwrap();
            changed.import_users([NewUser::named("a-first")]).unwrap();
        }));
        let walked = read(&source(&keycloak.url(), 2)).await;
        assert_eq!(walked.incomplete, None);
        let names = names(&walked);
        for number in 1..USERS {
            assert!(names.contains(format!("u{number:02}").as_str()), "u{number:02} is missed: {by_creation}");
        }
        assert!(!names.iter().any(|name| name.starts_with("service-account-")));
        let windows = keycloak.journal.entries().iter().filter(|one| one.query.contains("createdBefore")).count();
        assert_eq!(windows > 0, by_creation);
    }
}

#[tokio::test]
async fn users_who_are_never_counted_are_read_too() {
    let (keycloak, realm) = realm().await;
    let ldap = (0..25).map(|number| NewUser::named(format!("l{number:02}")).not_imported("ldap"));
    realm.import_users(ldap).unwrap();
    let source = source(&keycloak.url(), 2);
    assert_eq!(source.user_count().await, Ok(USERS));
    let walked = read(&source).await;
    assert_eq!(
        (walked.incomplete.as_deref(), names(&walked).len()),
        (None, USERS + 25),
        "more than counted is not short"
    );
    let ldap = walked.items.iter().find(|user| user.username == "l07").unwrap();
    assert_eq!(ldap.federation(), Some("ldap"));
}

#[tokio::test]
async fn a_realm_of_one_page_is_read_with_one_request() {
    let (keycloak, _realm) = realm().await;
    let source = source(&keycloak.url(), 500);
    keycloak.journal.clear();
    assert_eq!(names(&read(&source).await).len(), USERS);
    let pages = keycloak.journal.entries().iter().filter(|one| one.path.ends_with("/users")).count();
    assert_eq!(pages, 2, "the second is empty");
}

#[tokio::test]
async fn fewer_users_than_counted_are_incomplete() {
    let (keycloak, _realm) = realm().await;
    let count = Fault::status(200, "70").header("content-type", "application/json").path("/users/count");
    keycloak.faults.add(count);
    for page in [2, 500] {
        let walked = read(&source(&keycloak.url(), page)).await;
        assert_eq!(walked.incomplete.as_deref(), Some("65 users were read, but Keycloak counts 70"));
    }
}

#[tokio::test]
async fn a_hundred_users_are_read_by_one_request() {
    let (keycloak, realm) = realm().await;
    let mut ids: Vec<UserId> = realm.snapshot().users.keys().map(|id| UserId::from(id.as_str())).collect();
    ids.push("00000000-0000-4000-8000-000000000000".into());
    let source = source(&keycloak.url(), 2);
    source.user_count().await.unwrap();
    keycloak.journal.clear();
    let there = source.users_among(&ids).await.unwrap().unwrap();
    assert!(there.len() == ids.len() - 1 && !there.contains(ids.last().unwrap()));
    assert_eq!(keycloak.journal.entries().len(), 1);
}

#[tokio::test]
async fn groups_are_read_flat_and_by_folders_where_a_server_cannot() {
    let (keycloak, realm) = realm().await;
    for number in 0..7 {
        realm.import_group(&format!("/top{number}/below/leaf{number}")).unwrap();
    }
    let source = source(&keycloak.url(), 3);
    let flat = source.groups().await.unwrap();
    assert_eq!((flat.items.len(), flat.incomplete.as_deref()), (21, None));
    assert!(flat.items.iter().any(|group| group.path == "/top3/below/leaf3"));
    let children = || keycloak.journal.entries().iter().filter(|one| one.path.ends_with("/children")).count();
    assert_eq!(children(), 0);
    keycloak.faults.add(Fault::status(200, "[]").header("content-type", "application/json").path("search=*"));
    keycloak.faults.add(Fault::status(200, "[]").header("content-type", "application/json").path("search=%2A"));
    let folders = source.groups().await.unwrap();
    assert_eq!((folders.items, folders.incomplete), (flat.items, None));
    assert!(children() > 0);
}

#[tokio::test]
async fn a_listing_that_ignores_the_offset_is_not_read_forever() {
    let user = |n: usize| format!(r#"{{"id":"u{n}","username":"u{n}","enabled":true}}"#);
    let group = |n: usize| format!(r#"{{"id":"g{n}","name":"g{n}","path":"/g{n}","subGroupCount":0}}"#);
    let (users, groups) = ((0..20).map(user).collect::<Vec<_>>(), (0..2).map(group).collect::<Vec<_>>());
    let server = Faulty::start(move |target, _| match target {
        target if target.starts_with("/admin/realms/acme/users/count") => Some(Reply::ok("20")),
        target if target.starts_with("/admin/realms/acme/groups/count") => Some(Reply::ok(r#"{"count":2}"#)),
        target if target.starts_with("/admin/realms/acme/users?") => Some(Reply::ok(format!("[{}]", users.join(",")))),
        target if target.starts_with("/admin/realms/acme/groups?") => {
            Some(Reply::ok(format!("[{}]", groups.join(","))))
        }
        target if target.contains("/members?") => Some(Reply::ok(r#"[{"id":"u1"},{"id":"u2"}]"#)),
        _ => None,
    })
    .await;
    let source = source(&server.url(), 2);
    let users = read(&source).await;
    assert!(users.items.len() == 20 && users.incomplete.unwrap().contains("the server ignores the offset"));
    let members = source.members(&"g1".into()).await.unwrap().unwrap();
    assert!(members.items.len() == 2 && members.incomplete.unwrap().contains("the server ignores the offset"));
    let groups = source.groups().await.unwrap();
    assert!(groups.items.len() == 2 && groups.incomplete.is_some());
    assert_eq!(source.groups_named("g1").await.unwrap().len(), 1);
    assert!(server.asked("/admin/") < 60, "{}", server.asked("/admin/"));
}

#[tokio::test]
async fn a_short_page_in_the_middle_does_not_end_a_listing_and_pages_must_be_consistent() {
    let members = |pages: &'static [(usize, &'static [usize])]| async move {
        let server = Faulty::start(move |target, _| {
            let (_, first) = target.split_once("/members?first=")?;
            let first: usize = first.split('&').next()?.parse().ok()?;
            let page = pages.iter().find(|(at, _)| *at == first).map_or(&[][..], |(_, page)| page);
            let page: Vec<String> = page.iter().map(|n| format!(r#"{{"id":"u{n}"}}"#)).collect();
            Some(Reply::ok(format!("[{}]", page.join(","))))
        })
        .await;
        let walked = source(&server.url(), 3).members(&"g".into()).await.unwrap().unwrap();
        (walked.items.len(), walked.incomplete.is_some())
    };
    assert_eq!(members(&[(0, &[1, 2])]).await, (2, false));
    assert_eq!(members(&[(0, &[1, 2, 3]), (2, &[3])]).await, (3, false));
    assert_eq!(members(&[(0, &[1, 2, 3]), (2, &[3, 4, 5]), (4, &[5, 6])]).await, (6, false));
    assert_eq!(members(&[(0, &[1, 2]), (3, &[4, 5])]).await, (4, false), "a short page in the middle");
    assert_eq!(members(&[(0, &[1, 2, 3]), (2, &[4, 5])]).await, (5, true), "somebody left in between");
    assert_eq!(members(&[(0, &[1, 2, 3]), (2, &[2, 3, 4])]).await, (4, true), "somebody came in between");
    assert_eq!(members(&[(0, &[1, 2]), (3, &[1, 2])]).await, (2, true), "a repeated page");
}

/// Makes Keycloak fail lists that contain one of these users.
fn fail_over(keycloak: &SimulatedKeycloak, realm: &RealmHandle, logins: &[&str]) {
    for login in logins {
        keycloak.faults.add(Fault::fails_over(realm.snapshot().user(login).unwrap().id.as_str()));
    }
}

#[tokio::test]
async fn one_user_for_whom_keycloak_fails_does_not_prevent_reading_the_others() {
    for (page, bad) in [(500, &["u07"][..]), (2, &["u07"]), (500, &["u00", "u01", "u40", "u64"]), (1, &["u50"])] {
        let (keycloak, realm) = realm().await;
        fail_over(&keycloak, &realm, bad);
        let walked = read(&source(&keycloak.url(), page)).await;
        let names = names(&walked);
        assert_eq!(names.len(), USERS - bad.len(), "{page}: {:?}", walked.incomplete);
        assert!(bad.iter().all(|login| !names.contains(*login)));
        let why = walked.incomplete.unwrap();
        let users = if bad.len() == 1 { "1 user could not be read, at position" } else { "4 users could not be read" };
        assert!(why.contains(users) && why.contains("Its log names the cause"), "{page}: {why}");
        let asked = keycloak.journal.entries().iter().filter(|one| one.path.ends_with("/users")).count();
        assert!(asked < 250, "{asked}");
    }
}

#[tokio::test]
async fn one_group_and_one_member_for_which_keycloak_fails_are_omitted() {
    let (keycloak, realm) = realm().await;
    for number in 0..7 {
        realm.import_group(&format!("/top{number}/leaf{number}")).unwrap();
    }
    let source = source(&keycloak.url(), 4);
    let whole = source.groups().await.unwrap();
    let odd = whole.items.iter().find(|group| group.path == "/top3/leaf3").unwrap().id.clone();
    let top = whole.items.iter().find(|group| group.path == "/top0").unwrap().id.clone();
    keycloak.faults.add(Fault::fails_over(odd.as_str()));
    let walked = source.groups().await.unwrap();
    assert_eq!(walked.items.len(), whole.items.len() - 1);
    assert!(walked.incomplete.is_some_and(|why| why.contains("1 group could not be read, at position")));

    let ids: Vec<String> = ["u03", "u04", "u05"].map(|name| realm.snapshot().user(name).unwrap().id.clone()).into();
    for id in &ids {
        realm.join(id, top.as_str()).await.unwrap();
    }
    keycloak.faults.add(Fault::fails_over(ids[1].as_str()));
    let members = source.members(&top).await.unwrap().unwrap();
    assert_eq!(members.items.len(), 2);
    assert!(members.incomplete.is_some_and(|why| why.contains("1 member could not be read, at position 1:")));
}

#[tokio::test]
async fn a_server_that_fails_for_all_or_too_many_users_ends_the_listing_soon() {
    let (keycloak, realm) = realm().await;
    keycloak.faults.add(Fault::status(500, r#"{"error":"unknown_error"}"#).path("/users?"));
    let failed = source(&keycloak.url(), 500).users(&|_, _| {}).await.unwrap_err();
    assert!(failed.text.contains("500 when reading users"), "{failed}");
    let asked = keycloak.journal.entries().iter().filter(|one| one.path.ends_with("/users")).count();
    assert!(asked <= 25, "{asked}");

    keycloak.faults.clear();
    // Every second user, so that there is always one between them.
    let many: Vec<String> = (0..USERS).step_by(2).map(|number| format!("u{number:02}")).collect();
    fail_over(&keycloak, &realm, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let failed = source(&keycloak.url(), 500).users(&|_, _| {}).await.unwrap_err();
    assert!(failed.text.contains("500 when reading users"), "{failed}");
}

#[tokio::test]
async fn a_failure_that_passes_leaves_a_whole_listing() {
    let (keycloak, _realm) = realm().await;
    keycloak.faults.add(Fault::status(500, r#"{"error":"unknown_error"}"#).path("/users?").once());
    let walked = read(&source(&keycloak.url(), 500)).await;
    assert_eq!((names(&walked).len(), walked.incomplete.as_deref()), (USERS, None));
}
