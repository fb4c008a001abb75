//! Effects of operations, which are idempotent, and the meaning of refusals.

use usersync::{
    model::{
        ErrorClass::{Permanent, Unconfirmed},
        UserFields,
    },
    targets::{
        Applied, Target,
        TargetErrorKind::{NameTaken, NotFound, Unanswered, Unsupported},
    },
};
use usersync_simulators::{
    Fault,
    bitbucket::{NewAccount, Permission},
};

use super::world::{
    client, create, create_group, delete, delete_group, fields, join, leave, not_done, place, rename, settings, update,
};

#[tokio::test]
async fn an_account_is_created_with_a_random_password() {
    let place = place().await;
    let Applied::Account(bob) = place.done(&create("Bob")).await else { panic!("an account") };
    assert_eq!((bob.name.as_str(), bob.display_name.as_str()), ("Bob", "Bob Shown"), "kept as given");
    assert_eq!(bob.email.as_deref(), Some("Bob@example.com"));
    assert!(bob.active, "by the default group");
    assert_eq!(bob.access, ["group:stash-users"]);
    assert_eq!(bob.groups, Some(vec!["stash-users".into()]));
    assert_eq!(bob.id, place.id("bob"));
    let sent = place.server.journal.writes().pop().expect("it was sent");
    assert!(sent.body.is_empty());
    let query: Vec<(String, String)> = url::form_urlencoded::parse(sent.query.as_bytes()).into_owned().collect();
    let names: Vec<_> = query.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["name", "displayName", "emailAddress", "password", "addToDefaultGroup"], "no mail is sent");
    assert!(query[3].1.len() >= 40);
    place.refused(&create("bOB"), NameTaken, "the login is taken").await;
    place.keeps_to_the_description();
}

#[tokio::test]
async fn the_default_group_is_a_setting() {
    let place = place().await;
    let mut without = settings(&place.server);
    without.default_group = false;
    let made = client(without).apply(&create("bob"), super::world::soon()).await.expect("made");
    let Applied::Account(bob) = made else { panic!("an account") };
    assert!(!bob.active && bob.access.is_empty() && bob.groups == Some(Vec::new()));
    assert_eq!(place.groups("bob"), Vec::<String>::new());
}

#[tokio::test]
async fn no_account_is_created_without_the_required_fields() {
    let place = place().await;
    let mut nameless = create("bob");
    if let usersync::model::Operation::CreateUser { fields, .. } = &mut nameless {
        fields.email = Some(" ".to_owned());
    }
    place.refused(&nameless, Unsupported, "requires an e-mail address").await;
    place.refused(&create(&"x".repeat(256)), Unsupported, "rejects this login").await;
    place.server.set_seats(Some(4));
    place.refused(&create("bob"), not_done(Permanent), "licence has no seat left").await;
    assert!(place.server.snapshot().account("bob").is_none());
    place.server.set_seats(None);
    place.server.set_directory_active(false);
    place.refused(&create("bob"), Unsupported, "read-only").await;
}

#[tokio::test]
async fn no_message_contains_the_password() {
    let place = place().await;
    for fault in [
        Fault::status(400, "Bad request"),
        Fault::cut(),
        Fault::html(502, "<html>Bad Gateway</html>"),
        Fault::login_redirect("/login"),
    ] {
        place.server.faults.clear();
        place.server.faults.add(fault.method("POST"));
        let error = place.apply(&create("bob")).await.expect_err("refused");
        let sent = place.server.journal.writes().pop().expect("it was sent");
        let secret = sent.query.split('&').find_map(|pair| pair.strip_prefix("password=")).expect("a password");
        assert!(!error.text.contains(secret) && !error.text.contains("password="), "{}", error.text);
        // A proxy may repeat the whole URL.
        place.server.faults.clear();
        place.target.forget_refusal();
    }
}

#[tokio::test]
async fn a_change_of_one_field_keeps_the_other() {
    let place = place().await;
    let ada = place.id("ada");
    let name = UserFields { display_name: Some("Ada L".into()), email: None, ..UserFields::default() };
    let email = UserFields { display_name: None, email: Some("al@example.com".into()), ..UserFields::default() };
    for change in [name, email] {
        place.done(&update(&ada, "ADA", change.clone())).await;
        place.done(&update(&ada, "ADA", change)).await;
    }
    let seen = place.see("ada").await;
    assert_eq!((seen.display_name.as_str(), seen.email.as_deref()), ("Ada L", Some("al@example.com")));
    let before = place.writes();
    place.done(&update(&ada, "ada", UserFields::default())).await;
    place
        .refused(
            &update(
                &ada,
                "ada",
                UserFields { display_name: Some(String::new()), email: None, ..UserFields::default() },
            ),
            Unsupported,
            "an empty display name",
        )
        .await;
    assert_eq!(place.writes(), before);
    place.keeps_to_the_description();
}

#[tokio::test]
async fn logins_are_renamed_swapped_and_respelled_under_one_id() {
    let place = place().await;
    let (ada, joe) = (place.id("ada"), place.id("joe"));
    place.done(&rename(&ada, "ada", "Ada.L")).await;
    place.done(&rename(&ada, "ada", "Ada.L")).await;
    assert_eq!(place.see("ada.l").await.name, "Ada.L");
    for clash in [409, 400] {
        place.server.set_clash(clash);
        place.refused(&rename(&joe, "joe", "ADA.L"), NameTaken, "the login is taken").await;
    }
    for (id, from, to) in [(&ada, "Ada.L", "tmp"), (&joe, "joe", "ada"), (&ada, "tmp", "joe"), (&ada, "joe", "JOE")] {
        place.done(&rename(id, from, to)).await;
    }
    assert_eq!((place.see("joe").await.id, place.see("joe").await.name.as_str()), (ada.clone(), "JOE"));
    assert_eq!(place.see("ada").await.id, joe);
    assert_eq!(place.target.account(&ada).await.expect("an answer").expect("there").name, "JOE");
    assert!(place.groups("joe").contains(&"Developers".to_owned()), "groups go with the account");
    place.refused(&rename(&ada, "ada", "x"), NotFound, "belongs to another account").await;
    place.refused(&rename(&ada, "JOE", &"x".repeat(300)), Unsupported, "rejects this login").await;
    place.keeps_to_the_description();
}

#[tokio::test]
async fn a_changed_spelling_of_logins_is_reported_once() {
    let place = place().await;
    let ada = place.id("ada");
    place.server.set_lower_logins(true);
    place.refused(&rename(&ada, "ada", "Ada"), Unsupported, "the login is ada").await;
}

#[tokio::test]
async fn a_deleted_account_stays_deleted() {
    let place = place().await;
    let ada = place.id("ada");
    place.done(&delete(&ada, "ada")).await;
    place.done(&delete(&ada, "ada")).await;
    assert_eq!(place.target.account(&ada).await, Ok(None));
    // A new account with the old login is another account.
    place.server.add_account(NewAccount::named("ada"));
    place.done(&delete(&ada, "ada")).await;
    assert!(place.server.snapshot().account("ada").is_some());
    let joe = place.id("joe");
    place.server.rename_account("joe", "joseph");
    place.refused(&delete(&joe, "joe"), NotFound, "belongs to no account").await;
    place.keeps_to_the_description();
}

#[tokio::test]
async fn our_own_account_and_the_last_other_administrator_are_never_ended() {
    let place = place().await;
    let (own, root) = (place.id("bsync"), place.id("root"));
    place.refused(&delete(&own, "bsync"), Unsupported, "usersync's own account").await;
    place.refused(&super::world::deactivate(&own, "bsync", &[]), Unsupported, "usersync's own account").await;
    place.refused(&delete(&root, "root"), Unsupported, "the last active administrator").await;
    let eve = place.id("eve");
    place.server.set_user_permission("eve", Some(Permission::Admin));
    let other = client(settings(&place.server));
    other.apply(&delete(&root, "root"), super::world::soon()).await.expect("there is another");
    let error = client(settings(&place.server)).apply(&delete(&eve, "eve"), super::world::soon()).await;
    assert_eq!(error.expect_err("refused").kind, Unsupported);
    assert!(place.server.snapshot().account("bsync").is_some());
}

#[tokio::test]
async fn an_incomplete_read_of_the_administrators_refuses_to_deactivate_or_delete_one() {
    let place = place().await;
    let root = place.see("root").await.id;
    let page = format!(r#"{{"isLastPage":true,"values":[{{"id":{root},"name":"root"}}]}}"#);
    for answer in [Fault::html(200, "<html>Welcome</html>"), Fault::status(200, "{}"), Fault::status(200, page)] {
        place.server.faults.add(answer.path("/admin/groups/more-members?context=stash-admins"));
        for operation in [super::world::deactivate(&root, "root", &["group:stash-admins"]), delete(&root, "root")] {
            place.refused(&operation, not_done(Unconfirmed), "cannot be confirmed; nothing was changed").await;
        }
        place.server.faults.clear();
    }
    // An administrator by its own permission, whose entry does not show whether it is active.
    place.server.remove_member("stash-admins", "root");
    place.server.set_user_permission("eve", Some(Permission::Admin));
    place.server.faults.add(
        Fault::edit(|body| {
            for entry in body["values"].as_array_mut().into_iter().flatten() {
                entry["user"].as_object_mut().expect("a user").remove("active");
            }
        })
        .path("/admin/permissions/users"),
    );
    let (eve, target) = (place.id("eve"), client(settings(&place.server)));
    let error = target.apply(&delete(&eve, "eve"), super::world::soon()).await.expect_err("refused");
    assert_eq!(error.kind, not_done(Unconfirmed), "{error}");
    assert_eq!(place.writes(), 0);
}

#[tokio::test]
async fn groups_are_created_and_deleted_once() {
    let place = place().await;
    let Applied::Group(group) = place.done(&create_group("R&D + Ops/EMEA #1 100% 'Ünï'")).await else {
        panic!("a group")
    };
    assert_eq!(group.id.as_str(), "r&d + ops/emea #1 100% 'ünï'");
    place.refused(&create_group("r&d + ops/emea #1 100% 'Ünï'"), NameTaken, "a group with this name").await;
    let found = place.target.group_named("R&D + OPS/emea #1 100% 'ünï'").await.expect("an answer").expect("there");
    assert_eq!((found.name.as_str(), &found.id, found.protected), ("R&D + Ops/EMEA #1 100% 'Ünï'", &group.id, None));
    let joe = place.id("joe");
    place.done(&join(&group.name, &joe, "joe")).await;
    place.done(&join(&group.name, &joe, "joe")).await;
    let members = place.target.members(&group.id, None).await.expect("an answer").expect("there");
    assert_eq!(members.items, std::slice::from_ref(&joe));
    place.done(&leave(&group.name, &joe, "joe")).await;
    place.done(&leave(&group.name, &joe, "joe")).await;
    place.done(&delete_group(&group.name)).await;
    place.done(&delete_group(&group.name)).await;
    place.done(&leave(&group.name, &joe, "joe")).await;
    assert_eq!(place.target.group_named(&group.name).await, Ok(None));
    assert_eq!(place.target.members(&group.id, None).await, Ok(None));
    place.refused(&join(&group.name, &joe, "joe"), NotFound, "not found").await;
    place.refused(&create_group("ends with a space "), Unsupported, "rejects this name").await;
    let protected = place.target.group_named("Stash-Admins").await.expect("an answer").expect("there");
    assert!(protected.protected.is_some());
    place.keeps_to_the_description();
}

#[tokio::test]
async fn a_refusal_of_a_change_that_already_holds_is_a_success() {
    let place = place().await;
    place.server.set_strict_members(true);
    place.server.set_unknown_is_404(true);
    let joe = place.id("joe");
    place.done(&join("readers", &joe, "joe")).await;
    place.done(&leave("Developers", &joe, "joe")).await;
    place.done(&leave("no such group", &joe, "joe")).await;
    assert_eq!(place.target.members(&"no such group".into(), None).await, Ok(None));
    place.keeps_to_the_description();
}

#[tokio::test]
async fn another_account_with_the_same_login_is_not_changed() {
    let place = place().await;
    let joe = place.id("joe");
    place.server.rename_account("joe", "joseph");
    place.server.add_account(NewAccount::named("joe").in_groups(&["readers"]));
    for operation in [
        update(&joe, "joe", fields("joe")),
        join("Developers", &joe, "joe"),
        leave("readers", &joe, "joe"),
        super::world::deactivate(&joe, "joe", &[]),
        super::world::activate(&joe, "joe", &["group:stash-users"]),
        delete(&joe, "joe"),
        rename(&joe, "joe", "other"),
    ] {
        place.refused(&operation, NotFound, "belongs to another account").await;
    }
    assert_eq!(place.writes(), 0);
    // A deleted account is in no group.
    place.server.remove_account("joseph");
    place.done(&leave("readers", &joe, "joe")).await;
    assert_eq!(place.groups("joe"), ["readers"]);
}

#[tokio::test]
async fn a_change_in_another_directory_is_unsupported_and_names_the_directory() {
    let place = place().await;
    let ldap = place.server.add_directory("Corporate LDAP", "LDAP", true, true);
    let groups = place.server.add_directory("Corporate Crowd", "Crowd", false, true);
    place.server.add_account_in(ldap, &NewAccount::named("lin").in_groups(&["stash-users"]));
    place.server.add_account_in(groups, &NewAccount::named("kim").in_groups(&["stash-users"]));
    let (lin, kim) = (place.id("lin"), place.id("kim"));
    let seen = place.see("lin").await.immutable.expect("immutable");
    assert!(seen.contains("details and groups") && seen.contains("Corporate LDAP"), "{seen}");
    assert!(place.see("kim").await.immutable.expect("immutable").contains("its groups are stored in"));
    let taken = ["group:stash-users"];
    for operation in [
        update(&lin, "lin", fields("lin")),
        rename(&lin, "lin", "linus"),
        delete(&lin, "lin"),
        super::world::deactivate(&lin, "lin", &taken),
    ] {
        place.refused(&operation, Unsupported, "Corporate LDAP").await;
    }
    let fresh = client(settings(&place.server));
    let error = fresh.apply(&join("readers", &kim, "kim"), super::world::soon()).await.expect_err("refused");
    assert!(error.kind == Unsupported && error.text.contains("Corporate Crowd"), "{}", error.text);
    for operation in [
        leave("stash-users", &kim, "kim"),
        super::world::deactivate(&kim, "kim", &taken),
        super::world::activate(&kim, "kim", &["group:Developers"]),
    ] {
        place.refused(&operation, Unsupported, "Corporate Crowd").await;
    }
    assert_eq!(place.writes(), 0, "the account tells before anything is sent");
    // An account read recently is not read again; Bitbucket's own refusal reports it.
    place.refused(&join("readers", &kim, "kim"), Unsupported, "read-only").await;
}

#[tokio::test]
async fn service_users_and_administrators_are_protected() {
    let place = place().await;
    place.server.add_account(NewAccount::named("bot"));
    place.server.set_service("bot", true);
    place.server.set_user_permission("eve", Some(Permission::SysAdmin));
    let mut named = settings(&place.server);
    named.protection.frozen_groups = vec!["READERS".into()];
    named.protection.protected_users = vec!["Bob".into()];
    place.server.add_account(NewAccount::named("bob"));
    let target = client(named);
    for (name, words) in [
        ("bsync", "usersync's own account"),
        ("root", "stash-admins"),
        ("eve", "global permission SYS_ADMIN"),
        ("bot", "service user"),
        ("joe", "readers"),
        ("bob", "protected_users"),
    ] {
        let account = target.account_named(name).await.expect("an answer").expect("there");
        let why = account.protected.expect("protected");
        assert!(why.contains(words), "{name}: {why}");
    }
}

#[tokio::test]
async fn an_account_that_became_an_administrator_is_read_again() {
    let place = place().await;
    let (ada, eve) = (place.see("ada").await.id, place.see("eve").await.id);
    place.server.add_member("stash-admins", "ada");
    place.server.set_user_permission("eve", Some(Permission::Admin));
    let takes = ["group:stash-users", "group:Developers", "group:stash-admins"];
    place.refused(&super::world::deactivate(&ada, "ada", &takes), NotFound, "has become an administrator").await;
    assert!(place.see("ada").await.protected.is_some() && place.see("eve").await.protected.is_some());
    place.server.set_user_permission("eve", None);
    place.server.add_member("stash-admins", "joe");
    let joe = place.see("joe").await.id;
    place.refused(&delete(&joe, "joe"), NotFound, "has become an administrator").await;
    assert_eq!(place.writes(), 0);
    place.done(&delete(&eve, "eve")).await;
}

#[tokio::test]
async fn missing_permissions_are_reported_and_not_mistaken_for_refused_credentials() {
    let place = place().await;
    place.server.set_group_permission("minor-admins", Some(Permission::Admin));
    place.server.add_account(NewAccount::named("minor").in_groups(&["minor-admins"]));
    place.server.add_account(NewAccount::named("boss").in_groups(&["stash-admins"]));
    place.server.set_credentials("minor", "pw", "minor-token");
    let mut minor = settings(&place.server);
    minor.credentials = super::world::password("minor", "pw");
    let minor = client(minor);
    let boss = place.id("boss");
    let soon = super::world::soon;
    for (operation, kind, words) in [
        (
            update(&boss, "boss", fields("boss")),
            not_done(usersync::model::ErrorClass::Forbidden),
            "minor lacks the permission",
        ),
        (delete(&boss, "boss"), Unsupported, "more permissions than you have"),
        (leave("stash-admins", &boss, "boss"), Unsupported, "grant usersync's account SYS_ADMIN"),
        (join("stash-admins", &boss, "boss"), Unsupported, "more permissions than you have"),
        (delete_group("stash-admins"), Unsupported, "more permissions than you have"),
        (delete_group("minor-admins"), Unsupported, "lower your own permissions"),
        (super::world::deactivate(&boss, "boss", &["group:stash-admins"]), Unsupported, "more permissions"),
    ] {
        let error = minor.apply(&operation, soon()).await.expect_err("refused");
        assert_eq!(error.kind, kind, "{operation}: {}", error.text);
        assert!(error.text.contains(words), "{operation}: {}", error.text);
    }
    minor.apply(&create("bob"), soon()).await.expect("the credentials are good all the same");
    place.keeps_to_the_description();
}

#[tokio::test]
async fn a_created_account_that_cannot_be_read_is_found_by_a_search() {
    let place = place().await;
    place.server.faults.add(Fault::unavailable().method("GET").path("filter=bob"));
    place.refused(&create("bob"), Unanswered, "the account was created, but could not be read").await;
    place.server.faults.clear();
    assert!(place.see("bob").await.active);
}
