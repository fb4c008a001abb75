//! Deactivation by revoking access, and activation by granting it again.

use usersync::{
    model::ErrorClass::Permanent,
    targets::{
        Target,
        TargetErrorKind::{NotFound, Unanswered, Unsupported},
    },
};
use usersync_simulators::{
    Fault,
    bitbucket::{NewAccount, Permission},
};

use super::world::{activate, client, deactivate, not_done, place, settings, soon};

#[tokio::test]
async fn access_is_what_makes_an_account_active() {
    let place = place().await;
    for (name, active, access) in [
        ("ada", true, vec!["group:Developers", "group:stash-users"]),
        ("eve", true, vec!["permission:LICENSED_USER"]),
        ("joe", false, vec![]),
    ] {
        let account = place.see(name).await;
        assert_eq!(
            (account.active, account.access),
            (active, access.iter().map(|&one| one.to_owned()).collect()),
            "{name}"
        );
    }
    place.server.set_active("ada", false);
    let account = place.see("ada").await;
    assert!(!account.active && !account.access.is_empty(), "its directory says so");
}

#[tokio::test]
async fn revoked_access_is_granted_again_and_nothing_else_changes() {
    let place = place().await;
    place.server.set_user_permission("ada", Some(Permission::ProjectCreate));
    let before = place.server.snapshot();
    let ada = place.see("ada").await;
    let access: Vec<&str> = ada.access.iter().map(String::as_str).collect();
    assert_eq!(access, ["group:Developers", "group:stash-users", "permission:PROJECT_CREATE"]);
    for _ in 0..2 {
        place.done(&deactivate(&ada.id, "ada", &access)).await;
        let now = place.see("ada").await;
        assert!(!now.active && now.access.is_empty());
        assert_eq!(place.groups("ada"), ["readers"], "what gives no access stays");
    }
    for _ in 0..2 {
        place.done(&activate(&ada.id, "ada", &access)).await;
        assert_eq!(place.server.snapshot(), before);
    }
    assert_eq!(place.see("ada").await.access, ada.access);
    place.keeps_to_the_description();
}

#[tokio::test]
async fn access_that_is_not_recorded_is_not_revoked() {
    let place = place().await;
    let ada = place.id("ada");
    place.refused(&deactivate(&ada, "ada", &["group:stash-users"]), NotFound, "gained group:Developers").await;
    place.server.set_user_permission("ada", Some(Permission::LicensedUser));
    let groups = ["group:STASH-users", "group:developers"];
    place.refused(&deactivate(&ada, "ada", &groups), NotFound, "gained permission:LICENSED_USER").await;
    assert_eq!(place.writes(), 0);
    // A group that was granted a permission since the last read counts too.
    place.server.set_user_permission("ada", None);
    place.see("ada").await;
    place.server.set_group_permission("readers", Some(Permission::LicensedUser));
    place.refused(&deactivate(&ada, "ada", &groups), NotFound, "gained group:readers").await;
    assert_eq!(place.writes(), 0);
    place.server.set_group_permission("readers", None);
    // The request lists more than the account has: what exists is revoked.
    let more = ["group:stash-users", "group:Developers", "group:other", "permission:LICENSED_USER"];
    place.done(&deactivate(&ada, "ada", &more)).await;
    assert_eq!(place.groups("ada"), ["readers"]);
}

#[tokio::test]
async fn a_failure_after_a_part_was_done_is_unanswered_and_the_rest_can_be_done() {
    let place = place().await;
    place.server.set_user_permission("ada", Some(Permission::LicensedUser));
    let ada = place.see("ada").await;
    let access: Vec<&str> = ada.access.iter().map(String::as_str).collect();
    let refusal = r#"{"errors":[{"context":null,"message":"No.","exceptionName":"x"}]}"#;
    for (fault, undone) in [
        (
            Fault::status(403, refusal).method("POST").path("remove-group").after(1),
            Fault::cut().method("POST").path("add-groups"),
        ),
        (Fault::unavailable().method("DELETE"), Fault::status(409, refusal).method("PUT").path("permissions")),
    ] {
        place.server.faults.add(fault);
        place.refused(&deactivate(&ada.id, "ada", &access), Unanswered, "").await;
        place.server.faults.clear();
        assert!(place.see("ada").await.access.len() < 3);
        place.done(&deactivate(&ada.id, "ada", &access)).await;
        assert!(place.see("ada").await.access.is_empty());
        place.server.faults.add(undone);
        place.refused(&activate(&ada.id, "ada", &access), Unanswered, "").await;
        place.server.faults.clear();
        place.done(&activate(&ada.id, "ada", &access)).await;
        assert_eq!(place.see("ada").await.access, ada.access);
    }
}

#[tokio::test]
async fn a_first_refusal_did_nothing() {
    let place = place().await;
    let ada = place.see("ada").await;
    let access: Vec<&str> = ada.access.iter().map(String::as_str).collect();
    let refusal = r#"{"errors":[{"context":null,"message":"No.","exceptionName":"x"}]}"#;
    place.server.faults.add(Fault::status(403, refusal).path("remove-group"));
    place.refused(&deactivate(&ada.id, "ada", &access), Unsupported, "saying \"No\"").await;
    place.server.faults.clear();
    let eve = place.id("eve");
    place.server.faults.add(Fault::status(409, refusal).method("DELETE"));
    let own = ["permission:LICENSED_USER"];
    place.refused(&deactivate(&eve, "eve", &own), Unsupported, "Revoke its global permission manually").await;
}

#[tokio::test]
async fn a_success_of_bitbucket_is_checked_by_reading_it_back() {
    let place = place().await;
    let ada = place.see("ada").await;
    let access: Vec<&str> = ada.access.iter().map(String::as_str).collect();
    place.server.faults.add(Fault::status(200, "").path("remove-group"));
    place.refused(&deactivate(&ada.id, "ada", &access), Unanswered, "still a member of").await;
}

#[tokio::test]
async fn a_deleted_group_is_skipped_while_other_access_can_be_granted() {
    let place = place().await;
    let joe = place.id("joe");
    place.done(&activate(&joe, "joe", &["group:gone", "group:Developers", "group:STASH-USERS"])).await;
    assert_eq!(place.groups("joe"), ["Developers", "readers", "stash-users"]);
    let eve = place.id("eve");
    place.done(&activate(&eve, "eve", &["group:gone"])).await;
    assert_eq!(place.groups("eve"), ["readers"], "she can sign in all the same");
    place.server.set_user_permission("eve", None);
    for nothing in [vec!["group:gone"], vec![], vec!["group:readers"]] {
        place.refused(&activate(&eve, "eve", &nothing), Unsupported, "nothing that usersync revoked").await;
    }
    place.done(&activate(&eve, "eve", &["group:gone", "permission:LICENSED_USER", "permission:PROJECT_CREATE"])).await;
    assert_eq!(place.server.snapshot().account("eve").expect("there").permission, Some(Permission::ProjectCreate));
    // A permission that she has is not replaced by a lower one.
    place.done(&activate(&eve, "eve", &["permission:LICENSED_USER"])).await;
    assert_eq!(place.server.snapshot().account("eve").expect("there").permission, Some(Permission::ProjectCreate));
    place.keeps_to_the_description();
}

#[tokio::test]
async fn with_a_full_licence_no_user_is_activated() {
    let place = place().await;
    place.server.set_seats(Some(4));
    let joe = place.id("joe");
    place.refused(&activate(&joe, "joe", &["group:stash-users"]), not_done(Permanent), "no seat left").await;
    place.refused(&activate(&joe, "joe", &["permission:LICENSED_USER"]), not_done(Permanent), "no seat left").await;
    place.refused(&super::world::join("Developers", &joe, "joe"), not_done(Permanent), "no seat left").await;
    place.done(&super::world::join("readers", &joe, "joe")).await;
    assert!(!place.see("joe").await.active);
}

#[tokio::test]
async fn a_user_who_is_inactive_in_the_directory_is_activated_there() {
    let place = place().await;
    let crowd = place.server.add_directory("Corporate Crowd", "Crowd", true, true);
    place.server.add_account_in(crowd, &NewAccount::named("kim").in_groups(&["stash-users"]));
    place.server.set_active("kim", false);
    let kim = place.id("kim");
    place
        .refused(&activate(&kim, "kim", &["group:Developers"]), Unsupported, "in user directory Corporate Crowd")
        .await;
    place.done(&deactivate(&kim, "kim", &[])).await;
    assert_eq!(place.writes(), 0);
}

#[tokio::test]
async fn a_former_administrator_is_activated_as_a_user() {
    let place = place().await;
    place.server.add_group("release-admins");
    place.server.set_group_permission("release-admins", Some(Permission::Admin));
    let joe = place.id("joe");
    let gives = ["group:release-admins", "permission:SYS_ADMIN"];
    client(settings(&place.server)).apply(&activate(&joe, "joe", &gives), soon()).await.expect("given");
    let seen = place.server.snapshot();
    let joe = seen.account("joe").expect("there");
    assert_eq!(joe.permission, Some(Permission::LicensedUser));
    assert!(!joe.groups.contains("release-admins"), "{joe:?}");
}
