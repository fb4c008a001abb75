//! Administrators, protected accounts, and the application, which is no account.

use serde_json::json;
use usersync::{
    model::ErrorClass::Unconfirmed,
    targets::{
        Target,
        TargetErrorKind::{NotFound, Unsupported},
        crowd::CrowdTarget,
    },
};
use usersync_simulators::{Fault, crowd::NewCrowdUser};

use super::place::{Place, deactivate, delete, not_done, settings, soon, update};

#[tokio::test]
async fn administrators_are_protected_through_groups_in_groups() {
    let place = Place::new().await;
    place.simulator.add_user(NewCrowdUser::named("root").in_groups(&["crowd-administrators"]));
    place.simulator.add_user(NewCrowdUser::named("inner").in_groups(&["Operators"]));
    place.simulator.add_user(NewCrowdUser::named("plain").in_groups(&["dev"]));
    place.simulator.nest("Operators", "Admins of all");
    place.simulator.nest("Admins of all", "crowd-administrators");
    for name in ["root", "inner"] {
        assert!(place.named(name).await.expect("there").protected.is_some(), "{name}");
    }
    assert_eq!(place.named("plain").await.expect("there").protected, None);
    for name in ["crowd-administrators", "admins OF all", "Operators"] {
        assert!(place.crowd.group_named(name).await.expect("a look").expect("there").protected.is_some(), "{name}");
    }
    assert_eq!(place.crowd.group_named("dev").await.expect("a look").expect("there").protected, None);
}

#[tokio::test]
async fn the_last_active_member_of_each_administrators_group_stays() {
    let place = Place::new().await;
    for (name, group) in
        [("one", "crowd-administrators"), ("two", "crowd-administrators"), ("jim", "jira-administrators")]
    {
        place.simulator.add_user(NewCrowdUser::named(name).in_groups(&[group]));
    }
    let (one, two) = (place.named("one").await.expect("there"), place.named("two").await.expect("there"));
    let jim = place.named("jim").await.expect("there");
    for operation in [deactivate(&jim), delete(&jim)] {
        let error = place.refused(&operation).await;
        assert!(error.kind == Unsupported && error.text.contains("last active administrator"), "{}", error.text);
    }
    place.done(&deactivate(&one)).await;
    assert_eq!(place.refused(&deactivate(&two)).await.kind, Unsupported);
    assert_eq!(place.refused(&delete(&two)).await.kind, Unsupported);
    place.done(&delete(&one)).await;
}

#[tokio::test]
async fn an_incomplete_read_of_the_administrators_refuses_to_deactivate_or_delete_one() {
    let gone = r#"{"reason": "USER_NOT_FOUND", "message": "x"}"#;
    let nested = "/group/user/nested?groupname=crowd-administrators";
    // Some members cannot be read, or the list cannot, although it is read again.
    for (fault, path, expands) in [
        (Fault::html(200, "<html>Welcome</html>"), "/user?username=root", false),
        (Fault::status(404, gone), "/user?username=root", false),
        (Fault::edit(|body| body["users"] = json!(null)), nested, true),
        (Fault::html(200, "<html>Welcome</html>"), nested, true),
        (Fault::status(404, "{}"), nested, true),
    ] {
        // The fault comes after the client has read the administrators, or before.
        for known in [true, false] {
            let place = Place::new().await;
            place.simulator.set_expands(expands);
            place.simulator.add_user(NewCrowdUser::named("root").in_groups(&["crowd-administrators"]));
            let root = place.named("root").await.expect("there");
            let fresh = CrowdTarget::new(settings(&place.simulator)).expect("good settings");
            let crowd = if known { &place.crowd } else { &fresh };
            place.simulator.faults.add(fault.clone().method("GET").path(path));
            for operation in [deactivate(&root), delete(&root)] {
                let error = crowd.apply(&operation, soon()).await.expect_err("refused");
                assert_eq!(error.kind, not_done(Unconfirmed), "{path} {known}: {operation}: {error}");
                assert!(error.text.contains("cannot be confirmed; nothing was changed"), "{error}");
            }
            assert_eq!(place.simulator.journal.writes().len(), 0);
        }
    }
}

#[tokio::test]
async fn an_administrator_that_the_list_did_not_show_is_not_updated() {
    let place = Place::new().await;
    place.simulator.add_user(NewCrowdUser::named("root").in_groups(&["crowd-administrators"]));
    place.simulator.faults.add(Fault::edit(|body| body["users"] = json!(null)).path("/group/user/nested"));
    let (listed, _) = place.all().await;
    let error = place.refused(&update(&listed[0], Some("No Root"), None)).await;
    assert!(error.kind == NotFound && error.text.contains("is protected"), "{error}");
}

#[tokio::test]
async fn settings_protect_more() {
    let place = Place::new().await;
    place.simulator.add_user(NewCrowdUser::named("eve").in_groups(&["Board"]));
    place.simulator.add_user(NewCrowdUser::named("Ann"));
    let mut settings = settings(&place.simulator);
    settings.protection.frozen_groups = vec!["board".to_owned(), "nowhere".to_owned()];
    settings.protection.protected_users = vec!["ann".to_owned()];
    let crowd = CrowdTarget::new(settings).expect("good settings");
    for name in ["eve", "Ann"] {
        assert!(crowd.account_named(name).await.expect("a look").expect("there").protected.is_some(), "{name}");
    }
    assert!(crowd.group_named("Board").await.expect("a look").expect("there").protected.is_some());
}

#[tokio::test]
async fn an_account_named_as_the_application_is_not_protected() {
    let place = Place::new().await;
    let (application, _) = place.simulator.application();
    let namesake = place.create(application).await;
    assert_eq!(namesake.protected, None);
    let info = place.crowd.probe().await.expect("a first contact");
    assert_eq!(info.signed_in_as, "application usersync", "which planning takes for nobody's login");
    place.done(&deactivate(&namesake)).await;
    assert!(place.crowd.probe().await.is_ok());
}
