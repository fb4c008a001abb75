//! Operations on accounts, specific to Crowd.

use std::collections::BTreeMap;

use serde_json::json;
use usersync::{
    model::{ErrorClass::Unconfirmed, Operation, UserFields},
    targets::{
        Applied, Target,
        TargetErrorKind::{NotFound, Unanswered, Unsupported},
    },
};
use usersync_simulators::{CrowdOptions, Fault, crowd::NewCrowdUser};

use super::place::{
    Place, activate, create, create_group, deactivate, delete, join, leave, not_done, rename, soon, update,
};

#[tokio::test]
async fn an_account_lives_its_life_on_every_version() {
    for options in [
        CrowdOptions::version("3.7.2"),
        CrowdOptions::version("5.2.3"),
        CrowdOptions::version("7.1.3"),
        CrowdOptions::jira("10.3.5"),
    ] {
        let place = Place::start(options).await;
        place.simulator.add_group("Dev");
        let ada = place.create("Ada").await;
        assert_eq!((ada.name.as_str(), ada.active), ("Ada", true), "the case is kept");
        place.done(&join(&ada.id, "Ada", "Dev")).await;
        let seen = place.simulator.snapshot();
        let user = seen.user("ada").expect("there");
        assert_eq!(ada.id.as_str(), user.key);
        assert_eq!((user.first_name.as_str(), user.last_name.as_str()), ("The great", "Ada"));
        for _ in 0..2 {
            place.done(&update(&ada, Some("Ada Lovelace"), None)).await;
            place.done(&deactivate(&ada)).await;
        }
        for _ in 0..2 {
            place.done(&rename(&ada, "ada.l")).await;
            place.done(&activate(&ada)).await;
        }
        let seen = place.simulator.snapshot();
        let user = seen.user("ada.l").expect("there");
        assert_eq!((user.key.as_str(), user.active), (ada.id.as_str(), true));
        assert!(user.groups.contains("Dev"));
        assert_eq!((user.display_name.as_str(), user.email.as_str()), ("Ada Lovelace", "Ada@example.org"));
        for _ in 0..2 {
            place.done(&delete(&ada)).await;
        }
        assert!(place.simulator.snapshot().users.is_empty());
    }
}

#[tokio::test]
async fn a_change_keeps_unmanaged_fields() {
    let place = Place::new().await;
    let attributes = BTreeMap::from([("room".to_owned(), vec!["12".to_owned()])]);
    place.simulator.add_user(NewCrowdUser { attributes: attributes.clone(), ..NewCrowdUser::named("ada") });
    let ada = place.named("ada").await.expect("there");
    for operation in [update(&ada, Some("Countess"), None), update(&ada, None, Some("c@example.org")), deactivate(&ada)]
    {
        place.done(&operation).await;
    }
    let seen = place.simulator.snapshot();
    let user = seen.user("ada").expect("there");
    assert_eq!((user.first_name.as_str(), user.last_name.as_str()), ("ada", "Example"));
    assert_eq!((user.display_name.as_str(), user.email.as_str(), user.active), ("Countess", "c@example.org", false));
    assert_eq!(user.attributes, attributes);
    let puts = place.simulator.journal.matching(|entry| entry.method == "PUT");
    let sent = json!({
        "name": "ada", "first-name": "ada", "last-name": "Example", "display-name": "Countess",
        "email": "c@example.org", "active": false,
    });
    assert_eq!(puts.last().expect("a change").json(), sent, "all core fields, and no password");
}

#[tokio::test]
async fn a_change_that_already_holds_is_not_sent() {
    let place = Place::new().await;
    let ada = place.create("ada").await;
    place.simulator.journal.clear();
    let nothing = Operation::UpdateUser { account: ada.id.clone(), name: "ada".into(), fields: UserFields::default() };
    for operation in [update(&ada, Some("The great ada"), Some("ada@example.org")), activate(&ada), nothing] {
        place.done(&operation).await;
    }
    place.done(&rename(&ada, "ada")).await;
    assert!(place.simulator.journal.writes().is_empty());
}

#[tokio::test]
async fn a_new_account_has_a_random_password_that_is_shown_nowhere() {
    let place = Place::new().await;
    for name in ["ada", "bob"] {
        place.create(name).await;
    }
    let made = place.simulator.journal.matching(|entry| entry.method == "POST" && entry.path.ends_with("/user"));
    let passwords: Vec<String> =
        made.iter().map(|entry| entry.json()["password"]["value"].as_str().expect("a password").to_owned()).collect();
    assert!(passwords[0] != passwords[1] && passwords.iter().all(|password| password.len() == 47));
    place.simulator.set_password_min(100);
    let error = place.refused(&create("eve")).await;
    assert_eq!(error.kind, not_done(usersync::model::ErrorClass::Permanent));
    assert!(error.text.contains("password policy"), "{}", error.text);
}

#[tokio::test]
async fn an_account_is_followed_by_its_key_whatever_its_login_is_by_now() {
    let place = Place::new().await;
    place.simulator.add_group("dev");
    let ada = place.create("ada").await;
    place.done(&join(&ada.id, "ada", "dev")).await;
    place.simulator.rename_user("ada", "ada.l");
    place.simulator.add_user(NewCrowdUser::named("ada").in_groups(&["dev"]));
    place.done(&deactivate(&ada)).await;
    place.done(&leave(&ada.id, "ada", "dev")).await;
    let seen = place.simulator.snapshot();
    let (other, meant) = (seen.user("ada").expect("there"), seen.user("ada.l").expect("there"));
    assert!(other.active && other.groups.contains("dev"), "who has the login now is let alone");
    assert!(!meant.active && meant.groups.is_empty());
    place.done(&delete(&ada)).await;
    let seen = place.simulator.snapshot();
    assert!(seen.user("ada").is_some() && seen.user("ada.l").is_none());
    for operation in [deactivate(&ada), activate(&ada), rename(&ada, "x"), update(&ada, Some("X"), None)] {
        assert_eq!(place.refused(&operation).await.kind, NotFound, "{operation}");
    }
    place.done(&delete(&ada)).await;
    place.done(&leave(&ada.id, "ada", "dev")).await;
    assert!(place.simulator.snapshot().user("ada").is_some_and(|user| user.active));
}

#[tokio::test]
async fn logins_differ_by_more_than_case() {
    let place = Place::new().await;
    let ada = place.create("Ada").await;
    assert_eq!(place.named("aDA").await.expect("there").id, ada.id);
    assert_eq!(place.refused(&create("ADA")).await.kind, usersync::targets::TargetErrorKind::NameTaken);
    place.done(&rename(&ada, "ada")).await;
    assert_eq!(place.named("Ada").await.expect("there").name, "ada", "only the case was changed");
    place.done(&create_group("Dev")).await;
    place.done(&join(&ada.id, "ADA", "DEV")).await;
    let groups = place.named("ada").await.expect("there").groups;
    assert_eq!(groups, Some(vec!["dev".into()]));
}

#[tokio::test]
async fn without_keys_the_login_is_all_that_is_known() {
    let place = Place::version("2.7.2").await;
    let ada = place.create("Ada").await;
    assert_eq!(ada.id.as_str(), "login:ada");
    place.simulator.add_group("dev");
    for operation in [update(&ada, Some("Ada L"), None), deactivate(&ada), activate(&ada), join(&ada.id, "Ada", "dev")]
    {
        place.done(&operation).await;
        place.done(&operation).await;
    }
    let members = place.crowd.members(&"dev".into(), None).await.expect("a look").expect("there");
    assert_eq!(members.items, vec![ada.id.clone()]);
    let error = place.refused(&rename(&ada, "ada.l")).await;
    assert_eq!(error.kind, Unsupported, "{}", error.text);
    let info = place.crowd.probe().await.expect("a first contact");
    assert!(!info.capabilities.rename);
    // An update of Crowd introduces keys: an account known only by login is not mistaken for one with a key.
    place.simulator.set_tells_keys(true);
    assert_eq!(place.crowd.account(&ada.id).await, Ok(None));
    assert_eq!(place.refused(&deactivate(&ada)).await.kind, NotFound);
    assert!(place.named("ada").await.is_some());
}

#[tokio::test]
async fn versions_before_2_8_4_do_not_rename() {
    let place = Place::version("2.8.3").await;
    let ada = place.create("ada").await;
    assert!(!ada.id.as_str().starts_with("login:"));
    assert!(!place.crowd.probe().await.expect("a first contact").capabilities.rename);
    let error = place.refused(&rename(&ada, "ada.l")).await;
    assert!(error.kind == Unsupported && error.text.contains("2.8.4"), "{}", error.text);
}

#[tokio::test]
async fn a_state_that_the_directory_does_not_store_is_reported() {
    let place = Place::new().await;
    let ada = place.create("ada").await;
    place.simulator.set_keeps_status(0, false);
    let error = place.refused(&deactivate(&ada)).await;
    assert_eq!(error.kind, Unsupported);
    assert!(error.text.contains("still active. Directory Crowd Internal Directory does not"), "{}", error.text);
}

#[tokio::test]
async fn a_failed_read_after_a_write_leaves_the_result_unanswered() {
    let place = Place::new().await;
    let ada = place.create("ada").await;
    place.simulator.faults.add(Fault::status(503, "").method("GET").path("key=").after(2).once());
    let error = place.refused(&deactivate(&ada)).await;
    assert!(error.kind == Unanswered && error.text.starts_with("deactivating ada: "), "{}", error.text);
    assert!(!place.simulator.snapshot().user("ada").expect("there").active);
    place.done(&deactivate(&ada)).await;

    let old = Place::version("2.9.0").await;
    old.simulator.faults.add(Fault::status(503, "").method("GET").path("username=bob").once());
    assert_eq!(old.refused(&create("bob")).await.kind, Unanswered);
    assert!(old.named("bob").await.is_some());
}

#[tokio::test]
async fn missing_and_unknown_fields_are_tolerated_or_not_confirmed() {
    let place = Place::new().await;
    let ada = place.create("ada").await;
    place.named("ada").await;
    let id = ada.id.as_str();
    for (body, good) in [
        (json!({ "key": id, "name": "ada", "active": false, "new": { "x": 1 } }), true),
        (json!({ "key": id, "name": "ada" }), false),
        (json!({ "key": id, "active": true }), false),
        (json!({ "key": "another", "name": "ada", "active": true }), false),
        (json!({ "name": "ada", "active": true }), false),
        (json!({}), false),
        (json!([]), false),
        (json!({ "key": 1, "name": "ada", "active": true }), false),
    ] {
        let fault = place.simulator.faults.add(Fault::status(200, body.to_string()).path("/user?key="));
        let got = place.crowd.account(&ada.id).await;
        place.simulator.faults.remove(fault);
        if good {
            assert_eq!(got.expect("enough").expect("there").display_name, "ada");
        } else {
            assert_eq!(got.expect_err("too little").kind, not_done(Unconfirmed), "{body}");
        }
    }
}

#[tokio::test]
async fn past_its_deadline_nothing_is_sent() {
    let place = Place::new().await;
    let ada = place.create("ada").await;
    place.simulator.journal.clear();
    let past = soon() - jiff::SignedDuration::from_mins(1);
    for operation in [create("bob"), deactivate(&ada), delete(&ada), join(&ada.id, "ada", "dev"), create_group("x")] {
        let error = place.crowd.apply(&operation, past).await.expect_err("too late");
        assert_eq!(error.kind, not_done(usersync::model::ErrorClass::Transient), "{operation}");
    }
    assert!(place.simulator.journal.is_empty());
}

#[tokio::test]
async fn a_membership_that_already_exists_or_is_already_removed_is_a_success() {
    let place = Place::new().await;
    place.simulator.add_group("dev");
    let ada = place.create("ada").await;
    for _ in 0..2 {
        place.done(&join(&ada.id, "ada", "dev")).await;
    }
    // Without Crowd's own reason, a read decides.
    for status in [400, 409] {
        let fault = place.simulator.faults.add(Fault::status(status, "already a member").method("POST"));
        place.done(&join(&ada.id, "ada", "dev")).await;
        place.simulator.remove_member("dev", "ada");
        place.refused(&join(&ada.id, "ada", "dev")).await;
        place.simulator.add_member("dev", "ada");
        place.simulator.faults.remove(fault);
    }
    for _ in 0..2 {
        place.done(&leave(&ada.id, "ada", "dev")).await;
    }
    assert_eq!(place.refused(&join(&ada.id, "ada", "nowhere")).await.kind, NotFound);
    assert_eq!(place.refused(&join(&"gone".into(), "gone", "dev")).await.kind, NotFound);
    assert_eq!(place.apply(&leave(&ada.id, "ada", "nowhere")).await, Ok(Applied::Done));
}
