//! Meaning of Crowd's refusals, and of other answers to reads. Their meaning for writes is in `targets`.

use serde_json::json;
use usersync::{
    model::{
        ErrorClass::{Forbidden, Maintenance, Permanent, Throttled, Transient, Unconfirmed},
        Operation, UserFields,
    },
    targets::{
        Target,
        TargetErrorKind::{self, Unsupported},
    },
};
use usersync_simulators::{
    Fault,
    crowd::{NewCrowdUser, Permission},
};

use super::place::{
    Place, create, create_group, deactivate, delete, delete_group, join, leave, not_done, rename, update,
};

fn refusal(status: u16, reason: &str, message: &str) -> Fault {
    Fault::status(status, json!({ "reason": reason, "message": message }).to_string())
        .header("x-embedded-crowd-version", "Crowd/5.2.3")
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let place = Place::new().await;
    place.simulator.add_group("dev");
    let (ada, bob) = (place.create("ada").await, place.create("bob").await);
    place.done(&join(&bob.id, "bob", "dev")).await;
    for (permission, name, operations) in [
        (Permission::AddUser, "Add user", vec![create("eve")]),
        (
            Permission::ModifyUser,
            "Modify user",
            vec![update(&ada, Some("X"), None), deactivate(&ada), rename(&ada, "x")],
        ),
        (Permission::RemoveUser, "Remove user", vec![delete(&ada)]),
        (Permission::AddGroup, "Add group", vec![create_group("new")]),
        (Permission::ModifyGroup, "Modify group", vec![join(&ada.id, "ada", "dev"), leave(&bob.id, "bob", "dev")]),
        (Permission::RemoveGroup, "Remove group", vec![delete_group("dev")]),
    ] {
        place.simulator.permit(permission, false);
        for operation in operations {
            let error = place.refused(&operation).await;
            assert_eq!(error.kind, not_done(Forbidden), "{operation}");
            let lacks = format!("application usersync lacks the permission \"{name}\"");
            assert!(error.text.contains(&lacks), "{}", error.text);
            assert!(error.text.contains("usersync dead replay --all"), "{}", error.text);
        }
        place.simulator.permit(permission, true);
    }
    let error = {
        place.simulator.permit(Permission::ModifyUser, false);
        place.refused(&deactivate(&ada)).await
    };
    assert!(error.text.contains("in directory Crowd Internal Directory"), "{}", error.text);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_reported_in_every_form() {
    let place = Place::new().await;
    let check = |error: usersync::targets::TargetError, text: &str| {
        assert_eq!(error.kind, not_done(Forbidden), "{}", error.text);
        for text in [text, "Applications > usersync > Remote addresses", "Jira user server > usersync"] {
            assert!(error.text.contains(text), "{}", error.text);
        }
    };
    place.simulator.refuse_address(true);
    check(place.crowd.probe().await.expect_err("refused"), "is not among the allowed");
    check(place.crowd.account_named("ada").await.expect_err("refused"), "127.0.0.1");
    place.simulator.refuse_address(false);
    for (fault, text) in [
        (
            Fault::status(403, "Client with address \"10.0.0.7\" is forbidden from making requests to the application"),
            "10.0.0.7",
        ),
        (Fault::html(403, "<html>Client with address 10.0.0.7 is forbidden</html>"), "is not among the allowed"),
        (Fault::status(403, ""), "either usersync's address"),
    ] {
        let fault = place.simulator.faults.add(fault);
        check(place.crowd.probe().await.expect_err("refused"), text);
        place.simulator.faults.remove(fault);
    }
    place.crowd.probe().await.expect("all is well again");
}

#[tokio::test]
async fn a_read_only_directory_is_named_and_nothing_is_tried_again() {
    let place = Place::new().await;
    let directory = place.simulator.add_directory("Company LDAP", true);
    place.simulator.add_user(NewCrowdUser { directory, ..NewCrowdUser::named("lea") });
    let lea = place.named("lea").await.expect("there");
    for operation in [update(&lea, Some("X"), None), deactivate(&lea), rename(&lea, "x"), delete(&lea)] {
        let error = place.refused(&operation).await;
        assert_eq!(error.kind, Unsupported, "{operation}: {}", error.text);
        assert!(error.text.contains("its user directory Company LDAP is read-only"), "{}", error.text);
    }
    place.simulator.set_read_only(0, true);
    assert_eq!(place.refused(&create("eve")).await.kind, Unsupported);
}

#[tokio::test]
async fn refusals_are_classified() {
    let place = Place::new().await;
    place.simulator.add_group("dev");
    let ada = place.create("ada").await;
    let bad_address = Operation::CreateUser {
        name: "eve".into(),
        fields: UserFields { display_name: None, email: Some("nowhere".into()), ..UserFields::default() },
        external_id: None,
    };
    let error = place.refused(&bad_address).await;
    assert!(error.kind == not_done(Permanent) && error.text.contains("INVALID_EMAIL"), "{}", error.text);
    let blank = place.refused(&update(&ada, Some(" "), None)).await;
    assert_eq!(blank.kind, Unsupported);
    for (operation, status, reason, kind) in [
        (create("eve"), 400, "INVALID_USER", Unsupported),
        (create("eve"), 400, "ILLEGAL_ARGUMENT", not_done(Permanent)),
        (create("eve"), 400, "UNSUPPORTED_OPERATION", Unsupported),
        (create("eve"), 403, "PERMISSION_DENIED", not_done(Forbidden)),
        (create("eve"), 404, "APPLICATION_NOT_FOUND", not_done(Unconfirmed)),
        (create("eve"), 500, "OPERATION_FAILED", TargetErrorKind::Unanswered),
        (rename(&ada, "x"), 400, "INVALID_USER", Unsupported),
        (rename(&ada, "x"), 404, "USER_NOT_FOUND", TargetErrorKind::NotFound),
        (deactivate(&ada), 404, "USER_NOT_FOUND", TargetErrorKind::NotFound),
        (deactivate(&ada), 400, "ILLEGAL_ARGUMENT", not_done(Permanent)),
        (delete(&ada), 404, "USER_NOT_FOUND", TargetErrorKind::NotFound),
        (delete(&ada), 404, "DIRECTORY_NOT_FOUND", not_done(Unconfirmed)),
        (create_group("new"), 400, "INVALID_GROUP", Unsupported),
        (delete_group("dev"), 404, "APPLICATION_NOT_FOUND", not_done(Unconfirmed)),
        (join(&ada.id, "ada", "dev"), 400, "INVALID_MEMBERSHIP", Unsupported),
        (join(&ada.id, "ada", "dev"), 400, "USER_NOT_FOUND", TargetErrorKind::NotFound),
        (join(&ada.id, "ada", "dev"), 404, "GROUP_NOT_FOUND", TargetErrorKind::NotFound),
    ] {
        for method in ["POST", "PUT", "DELETE"] {
            place.simulator.faults.add(refusal(status, reason, "Words of Crowd").method(method));
        }
        let error = place.refused(&operation).await;
        assert_eq!(error.kind, kind, "{operation} {reason}: {}", error.text);
        place.simulator.faults.clear();
    }
    let full = refusal(403, "PERMISSION_DENIED", "The licensed user limit is reached");
    place.simulator.faults.add(full.method("POST"));
    let error = place.refused(&create("eve")).await;
    assert!(error.kind == not_done(Permanent) && error.text.contains("no seat left"), "{}", error.text);
}

#[tokio::test]
async fn only_crowds_own_404_means_deleted() {
    let place = Place::new().await;
    let ada = place.create("ada").await;
    assert_eq!(place.crowd.account(&"nobody".into()).await, Ok(None));
    assert_eq!(place.crowd.group_named("nowhere").await, Ok(None));
    assert_eq!(place.crowd.members(&"nowhere".into(), None).await, Ok(None));
    for fault in [
        Fault::html(404, "<html>nginx</html>"),
        Fault::status(404, ""),
        refusal(404, "APPLICATION_NOT_FOUND", "no"),
        refusal(404, "DIRECTORY_NOT_FOUND", "no"),
    ] {
        let fault = place.simulator.faults.add(fault);
        let errors = [
            place.crowd.account(&ada.id).await.err(),
            place.crowd.account_named("ada").await.err(),
            place.crowd.group_named("dev").await.err(),
            place.crowd.members(&"dev".into(), None).await.err(),
            place.crowd.accounts(None).await.err(),
            place.apply(&delete(&ada)).await.err(),
            place.apply(&leave(&ada.id, "ada", "dev")).await.err(),
        ];
        for error in errors {
            let error = error.expect("nothing is taken as gone");
            assert_eq!(error.kind, not_done(Unconfirmed), "{}", error.text);
        }
        place.simulator.faults.remove(fault);
    }
}

#[tokio::test]
async fn other_answers_mean_the_right_thing_for_reads() {
    for (name, fault, kind, wait) in [
        ("500", Fault::status(500, "{}"), not_done(Transient), None),
        ("502", Fault::html(502, "<html>Bad gateway</html>"), not_done(Transient), None),
        ("503", Fault::unavailable(), not_done(Transient), None),
        ("429", Fault::status(429, ""), not_done(Throttled), None),
        ("429, 7 s", Fault::too_many(7), not_done(Throttled), Some(7)),
        ("a page", Fault::html(200, "<html>Welcome</html>"), not_done(Unconfirmed), None),
        ("nonsense", Fault::status(200, "done"), not_done(Unconfirmed), None),
        ("too much", Fault::new(usersync_simulators::fault::Kind::Huge(5 << 20)), not_done(Unconfirmed), None),
        ("cut short", Fault::truncate(4), not_done(Unconfirmed), None),
        ("cut", Fault::cut(), not_done(Transient), None),
        ("sign-in page", Fault::login_redirect("https://sso.example.org/login"), not_done(Maintenance), None),
        (
            "elsewhere",
            Fault::status(301, "").header("location", "https://x.example.org/y"),
            not_done(Maintenance),
            None,
        ),
    ] {
        let place = Place::new().await;
        let ada = place.create("ada").await;
        place.simulator.faults.add(fault);
        let error = place.crowd.account(&ada.id).await.expect_err(name);
        assert_eq!(error.kind, kind, "{name}: {}", error.text);
        assert_eq!(error.retry_after.map(|wait| wait.as_secs()), wait, "{name}");
        assert!(!error.text.contains('<') && !error.text.contains("simulator-password"), "{name}: {}", error.text);
    }
    let place = Place::new().await;
    let ada = place.create("ada").await;
    place.simulator.faults.add(Fault::cut().once());
    assert!(place.crowd.account(&ada.id).await.expect("a broken read is sent once more").is_some());
}
