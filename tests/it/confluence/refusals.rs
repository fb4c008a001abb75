//! Refusals of Confluence and of the proxies in front of it, and their messages.

use usersync::{
    model::{ErrorClass, Operation},
    targets::{Applied, Target, TargetErrorKind},
};
use usersync_simulators::{ConfluenceOptions, Fault, confluence::NewAccount};

use super::world::{
    Wiki, activate, create, deactivate, delete, delete_group, fields, join, leave, not_done, token, update,
};

#[tokio::test]
async fn a_full_licence_is_reported_with_the_remedy() {
    let wiki = Wiki::new().await;
    let ada = wiki.create("ada").await;
    wiki.done(deactivate(&ada.id, "ada")).await;
    wiki.simulator.set_seats(Some(1));
    for operation in [create("bob"), activate(&ada.id, "ada")] {
        let error = wiki.refused(operation).await;
        assert_eq!(error.kind, not_done(ErrorClass::Permanent), "{error}");
        assert!(error.text.contains("no seat left") && error.text.contains("dead replay"), "{error}");
    }
    wiki.assert_contract();
}

#[tokio::test]
async fn a_read_only_directory_is_reported_once_for_all_writes() {
    let wiki = Wiki::new().await;
    let (ada, bob) = (wiki.create("ada").await, wiki.create("bob").await);
    wiki.done(deactivate(&bob.id, "bob")).await;
    wiki.group("dev").await;
    wiki.simulator.set_read_only(true);
    for operation in [
        create("eve"),
        update(&ada.id, "ada", fields(Some("A"), None)),
        deactivate(&ada.id, "ada"),
        activate(&bob.id, "bob"),
        delete(&ada.id, "ada"),
        join(&ada.id, "ada", "dev"),
        leave(&ada.id, "ada", "confluence-users"),
        delete_group("dev"),
        Operation::CreateGroup { name: "new".to_owned() },
    ] {
        let error = wiki.refused(operation).await;
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
        assert!(error.text.contains("read-only"), "{error}");
    }
    wiki.assert_contract();
    // In another language only the status counts, and usersync's own rights decide.
    wiki.simulator.set_read_only(false);
    wiki.simulator.faults.add(Fault::status(403, "{\"statusCode\": 403, \"message\": \"Nein.\"}").method("PUT"));
    let error = wiki.refused(join(&ada.id, "ada", "dev")).await;
    assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
    assert!(error.text.contains("Nein") && error.text.contains("although usersync is an administrator"), "{error}");
}

#[tokio::test]
async fn a_missing_right_is_named_as_confluence_names_it() {
    let options = ConfluenceOptions { base_path: "/confluence".into(), ..ConfluenceOptions::default() };
    let wiki = Wiki::start(options, token("sync-token")).await;
    wiki.simulator.add_account(NewAccount::named("usersync").in_groups(&["confluence-users"]));
    wiki.simulator.set_credentials("usersync", "p", "sync-token");
    // Only groups with readable members are protected.
    wiki.simulator.remove_group("confluence-administrators");
    let error = wiki.refused(create("ada")).await;
    assert_eq!(error.kind, not_done(ErrorClass::Forbidden), "{error}");
    assert!(error.text.contains("usersync lacks the permission"), "{error}");
    assert!(error.text.contains("Confluence Administrator"), "{error}");
}

#[tokio::test]
async fn an_xsrf_refusal_points_to_the_proxy() {
    let wiki = Wiki::new().await;
    wiki.simulator.faults.add(Fault::status(403, "XSRF check failed").method("POST"));
    let error = wiki.refused(create("ada")).await;
    assert_eq!(error.kind, not_done(ErrorClass::Forbidden));
    assert!(error.text.contains("X-Atlassian-Token"), "{error}");
}

#[tokio::test]
async fn a_group_that_cannot_be_deleted_is_reported() {
    let wiki = Wiki::new().await;
    let error = wiki.refused(delete_group("confluence-administrators")).await;
    assert_eq!(error.kind, TargetErrorKind::Unsupported);
    assert!(error.text.contains("last group"), "{error}");
    wiki.simulator.faults.add(Fault::status(400, "{\"statusCode\": 400, \"message\": \"No.\"}").method("DELETE"));
    assert_eq!(wiki.apply(delete_group("nowhere")).await, Ok(Applied::Done), "what is not there is gone");
}

#[tokio::test]
async fn a_write_that_was_reported_as_done_is_read_back() {
    let wiki = Wiki::new().await;
    let ada = wiki.create("ada").await;
    wiki.simulator.set_idle_activity(true);
    let error = wiki.refused(deactivate(&ada.id, "ada")).await;
    assert_eq!(error.kind, TargetErrorKind::Unsupported);
    assert!(error.text.contains("still active"), "{error}");
    wiki.simulator.set_idle_activity(false);
    // The read after the write fails: whether it took effect stays open.
    for fault in [Fault::unavailable(), Fault::html(200, "<html>Welcome</html>"), Fault::cut()] {
        wiki.simulator.set_active("ada", true);
        wiki.simulator.faults.clear();
        wiki.simulator.faults.add(fault.method("GET").path("/user?").after(2));
        let error = wiki.refused(deactivate(&ada.id, "ada")).await;
        assert_eq!(error.kind, TargetErrorKind::Unanswered, "{error}");
        assert!(!wiki.simulator.snapshot().account("ada").expect("there").active);
    }
    wiki.simulator.faults.clear();
    wiki.simulator.faults.add(Fault::unavailable().path("/longtask/"));
    let error = wiki.refused(delete(&ada.id, "ada")).await;
    assert_eq!(error.kind, TargetErrorKind::Unanswered, "{error}");
}

#[tokio::test]
async fn an_answer_to_a_creation_without_an_account_is_followed_by_a_read() {
    let wiki = Wiki::new().await;
    for body in ["", "{}", "[]"] {
        let name = format!("ada{}", body.len());
        let kind = usersync_simulators::fault::Kind::AnswerAfter { status: 201, body: body.to_owned() };
        wiki.simulator.faults.add(Fault::new(kind).method("POST").once());
        assert_eq!(wiki.create(&name).await.name, name);
    }
    wiki.simulator.faults.add(Fault::status(201, "{}").method("POST").once());
    let error = wiki.refused(create("bob")).await;
    assert_eq!(error.kind, TargetErrorKind::Unanswered, "{error}");
}

#[tokio::test]
async fn a_blank_key_in_the_answer_to_a_creation_counts_as_missing() {
    let wiki = Wiki::new().await;
    for (name, key) in [("ada", ""), ("bob", " ")] {
        let body = format!("{{\"userKey\": \"{key}\"}}");
        let kind = usersync_simulators::fault::Kind::AnswerAfter { status: 201, body };
        wiki.simulator.faults.add(Fault::new(kind).method("POST").once());
        let created = wiki.create(name).await;
        assert_eq!(created.id.as_str(), wiki.simulator.snapshot().account(name).expect("there").key, "{key:?}");
    }
}

#[tokio::test]
async fn what_is_between_us_and_confluence_may_cut_a_write_before_or_after() {
    let wiki = Wiki::new().await;
    for (nth, (fault, done)) in [
        (Fault::cut(), false),
        (Fault::cut_after(), true),
        (Fault::html(502, "<html>Bad gateway</html>"), false),
        (Fault::status(500, "{}"), false),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("user{nth}");
        wiki.simulator.faults.add(fault.method("POST").once());
        let error = wiki.refused(create(&name)).await;
        assert_eq!(error.kind, TargetErrorKind::Unanswered, "{error}");
        let found = wiki.target.account_named(&name).await.expect("a look");
        assert_eq!(found.is_some(), done, "a look tells");
    }
}
