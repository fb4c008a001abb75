//! Operations on accounts and groups, on every version.

use std::collections::BTreeSet;

use usersync::{
    model::{AccountId, Operation},
    targets::{Applied, Target, TargetErrorKind},
};

use super::world::{
    Wiki, activate, create, deactivate, delete, delete_group, fields, join, leave, rename, soon, update,
};

const VERSIONS: [&str; 6] = ["8.5.16", "8.8.1", "9.2.13", "9.4.0", "10.0.3", "10.2.2"];

#[tokio::test]
async fn an_account_lives_its_life_on_every_version() {
    for version in VERSIONS {
        let wiki = Wiki::version(version).await;
        wiki.simulator.set_remote_api(true, 500);
        let info = wiki.probe().await;
        assert!(info.capabilities.update, "{version}: over REST or RPC");
        let ada = wiki.create("ada").await;
        assert_eq!((ada.name.as_str(), ada.display_name.as_str(), ada.active), ("ada", "ada Shown", true));
        let read = wiki.account(&ada.id).await;
        assert_eq!(read.groups.as_deref(), Some(&["confluence-users".into()][..]), "{version}");
        assert_eq!((read.email, read.protected, read.immutable), (None, None, None));
        assert_eq!(wiki.refused(create("ada")).await.kind, TargetErrorKind::NameTaken);

        wiki.done(update(&ada.id, "ada", fields(Some("Ada Ünal"), None))).await;
        wiki.done(update(&ada.id, "ada", fields(None, Some("a.u@example.org")))).await;
        let group = wiki.group("Dev & Ops EMEA").await;
        for _ in 0..2 {
            wiki.done(join(&ada.id, "ada", "Dev & Ops EMEA")).await;
            wiki.done(deactivate(&ada.id, "ada")).await;
        }
        let seen = wiki.simulator.snapshot();
        let state = seen.account("ada").expect("there");
        assert_eq!((state.full_name.as_str(), state.email.as_str()), ("Ada Ünal", "a.u@example.org"), "{version}");
        assert!(!state.active && state.groups.contains("dev & ops emea"), "groups stay");
        assert!(!wiki.account(&ada.id).await.active);
        assert_eq!(wiki.members(&group).await, Some(BTreeSet::from([ada.id.clone()])), "inactive ones included");
        for _ in 0..2 {
            wiki.done(activate(&ada.id, "ada")).await;
            wiki.done(leave(&ada.id, "ada", "dev & ops emea")).await;
        }
        assert!(wiki.account(&ada.id).await.active);
        assert_eq!(wiki.members(&group).await, Some(BTreeSet::new()));
        for _ in 0..2 {
            wiki.done(delete(&ada.id, "ada")).await;
            wiki.done(delete_group("Dev & Ops EMEA")).await;
        }
        assert_eq!(wiki.target.account(&ada.id).await, Ok(None));
        assert_eq!(wiki.target.account_named("ada").await, Ok(None));
        assert_eq!(wiki.target.group_named("Dev & Ops EMEA").await, Ok(None));
        assert_eq!(wiki.members(&group).await, None);
        assert_eq!(wiki.simulator.snapshot().accounts.len(), 1);
        wiki.assert_contract();
    }
}

#[tokio::test]
async fn a_new_account_has_a_random_password() {
    let wiki = Wiki::new().await;
    let mut passwords = BTreeSet::new();
    for name in ["ada", "bob"] {
        wiki.create(name).await;
        let sent = wiki.simulator.journal.matching(|entry| entry.path.ends_with("/admin/user"));
        let sent = sent.last().expect("sent").json();
        assert_eq!((&sent["userName"], &sent["notifyViaEmail"]), (&name.into(), &false.into()));
        passwords.insert(sent["password"].as_str().expect("a password").to_owned());
    }
    assert!(passwords.len() == 2 && passwords.iter().all(|password| password.len() > 40));
}

#[tokio::test]
async fn operations_without_rest_in_older_versions_use_rpc_or_are_reported() {
    for (version, refusals) in [("8.5.16", 200), ("9.2.13", 500)] {
        let wiki = Wiki::version(version).await;
        let ada = wiki.create("ada").await;
        let error = wiki.refused(update(&ada.id, "ada", fields(Some("Ada"), None))).await;
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{version}: {error}");
        assert!(error.text.contains("Remote API") && error.text.contains("9.4"), "{error}");
        assert_eq!(wiki.simulator.journal.count("PUT", "/admin/user/ada"), 1);

        wiki.simulator.set_remote_api(true, refusals);
        wiki.done(update(&ada.id, "ada", fields(Some("Ada"), None))).await;
        let edit = wiki.simulator.journal.matching(|entry| entry.json()["method"] == "editUser");
        let expected = serde_json::json!([{ "name": "ada", "fullname": "Ada", "email": "ada@example.org" }]);
        assert_eq!(edit.last().expect("sent").json()["params"], expected, "the address goes along as it is");

        wiki.simulator.set_secure_sessions(true);
        let error = wiki.refused(update(&ada.id, "ada", fields(Some("Else"), None))).await;
        assert!(error.text.contains("secure administrator session"), "{version}: {error}");
        assert_eq!(wiki.simulator.snapshot().account("ada").expect("there").full_name, "Ada");
        wiki.simulator.set_secure_sessions(false);
        wiki.simulator.set_read_only(true);
        let error = wiki.refused(update(&ada.id, "ada", fields(Some("Else"), None))).await;
        assert!(error.text.contains("rejected the change"), "{error}");
        wiki.assert_contract();
    }
}

#[tokio::test]
async fn an_update_that_must_send_both_fields_sends_both() {
    let wiki = Wiki::new().await;
    wiki.simulator.set_update_wants_both(true);
    let ada = wiki.create("ada").await;
    wiki.done(update(&ada.id, "ada", fields(None, Some("new@example.org")))).await;
    let error = wiki.refused(update(&ada.id, "ada", fields(Some("Ada"), None))).await;
    assert!(error.text.contains("must be given"), "the address cannot be known: {error}");
    wiki.simulator.set_remote_api(true, 200);
    wiki.done(update(&ada.id, "ada", fields(Some("Ada"), None))).await;
    let seen = wiki.simulator.snapshot();
    let seen = seen.account("ada").expect("there");
    assert_eq!((seen.full_name.as_str(), seen.email.as_str()), ("Ada", "new@example.org"));
}

#[tokio::test]
async fn a_login_is_not_renamed_and_the_remedy_is_reported() {
    let wiki = Wiki::new().await;
    let ada = wiki.create("ada").await;
    let before = wiki.simulator.journal.writes().len();
    let error = wiki.refused(rename(&ada.id, "ada", "lovelace")).await;
    assert_eq!(error.kind, TargetErrorKind::Unsupported);
    assert!(error.text.contains("Crowd") && error.text.contains("manually"), "{error}");
    assert_eq!(wiki.simulator.journal.writes().len(), before, "nothing was sent");
}

#[tokio::test]
async fn another_account_with_the_login_is_not_changed() {
    let wiki = Wiki::new().await;
    let (ada, bob) = (wiki.create("ada").await, wiki.create("bob").await);
    for account in [&ada, &bob] {
        wiki.done(join(&account.id, &account.name, "confluence-users")).await;
    }
    // Manual change: ada becomes ada.l, and bob gets her login.
    wiki.simulator.rename_account("ada", "ada.l");
    wiki.simulator.rename_account("bob", "ada");
    let before = wiki.simulator.snapshot();
    wiki.simulator.journal.clear();
    for operation in [
        deactivate(&ada.id, "ada"),
        delete(&ada.id, "ada"),
        leave(&ada.id, "ada", "confluence-users"),
        update(&ada.id, "ada", fields(Some("X"), None)),
    ] {
        let error = wiki.refused(operation).await;
        assert_eq!(error.kind, TargetErrorKind::NotFound, "{error}");
        assert!(error.text.contains("ada.l"), "{error}");
    }
    assert_eq!(wiki.simulator.snapshot(), before);
    assert_eq!(wiki.simulator.journal.writes().len(), 0, "nothing was sent");
    wiki.done(deactivate(&ada.id, "ada.l")).await;
    assert!(wiki.simulator.snapshot().account("ada").expect("bob").active);
}

#[tokio::test]
async fn a_deletion_is_awaited() {
    let wiki = Wiki::new().await;
    let ada = wiki.create("ada").await;
    wiki.simulator.set_deletion(5, None);
    assert_eq!(wiki.apply(delete(&ada.id, "ada")).await, Ok(Applied::Done));
    assert!(wiki.simulator.journal.count("GET", "/longtask/") > 1);
    assert!(wiki.simulator.snapshot().account("ada").is_none());

    let bob = wiki.create("bob").await;
    wiki.simulator.set_deletion(100_000, None);
    let deadline = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(400);
    let error = wiki.target.apply(&delete(&bob.id, "bob"), deadline).await.expect_err("still at it");
    assert_eq!(error.kind, TargetErrorKind::Unanswered, "{error}");

    let eve = wiki.create("eve").await;
    wiki.simulator.set_deletion(1, Some("The user owns a space."));
    let error = wiki.refused(delete(&eve.id, "eve")).await;
    assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
    assert!(error.text.contains("owns a space") && error.text.contains("Deactivate the account instead"), "{error}");
    wiki.assert_contract();
}

#[tokio::test]
async fn groups_are_created_whatever_the_answer() {
    for (lower, status) in [(false, 200), (false, 201), (true, 201)] {
        let wiki = Wiki::new().await;
        wiki.simulator.set_new_groups(lower, status);
        let Ok(Applied::Group(made)) = wiki.apply(Operation::CreateGroup { name: "Dev".to_owned() }).await else {
            panic!("a group");
        };
        assert_eq!((made.id.as_str(), made.name.as_str()), ("dev", "dev"));
        assert_eq!(wiki.target.group_named("DEV").await, Ok(Some(made)));
        let again = wiki.refused(Operation::CreateGroup { name: "dEV".to_owned() }).await;
        assert_eq!(again.kind, TargetErrorKind::NameTaken, "{again}");
    }
}

#[tokio::test]
async fn a_missing_group_is_recognized_in_every_form_of_the_answer() {
    for (status, empty) in [(404, false), (404, true), (403, false), (403, true)] {
        let wiki = Wiki::new().await;
        wiki.simulator.set_absent_groups(status, empty);
        wiki.group("dev").await;
        assert_eq!(wiki.target.group_named("nowhere").await, Ok(None), "{status} {empty}");
        assert!(wiki.target.group_named("Dev").await.expect("an answer").is_some());
        if empty || status == 404 {
            assert_eq!(wiki.members(&"nowhere".into()).await, None, "{status} {empty}");
            assert_eq!(wiki.members(&"dev".into()).await, Some(BTreeSet::new()));
        }
    }
}

#[tokio::test]
async fn names_in_paths_arrive_as_they_are() {
    let wiki = Wiki::new().await;
    for login in ["jürgen", "a@example.org", "100%", "田中", "semi;colon", "a&b=c?d#e"] {
        let made = wiki.create(login).await;
        let group = wiki.group(&format!("of {login} + \"{login}\"")).await;
        let name = format!("of {login} + \"{login}\"");
        wiki.done(join(&made.id, login, &name)).await;
        assert_eq!(wiki.members(&group).await, Some(BTreeSet::from([made.id.clone()])), "{login}");
        wiki.done(deactivate(&made.id, login)).await;
        assert!(!wiki.simulator.snapshot().account(login).expect("there").active, "{login}");
    }
    wiki.assert_contract();
    wiki.simulator.journal.clear();
    let id = AccountId::from("1");
    for operation in [
        Operation::CreateGroup { name: "a/b".to_owned() },
        Operation::CreateGroup { name: "..".to_owned() },
        delete_group("a\\b"),
        join(&id, "a/b", "dev"),
        create("a/b"),
        create("anonymous"),
    ] {
        let error = wiki.target.apply(&operation, soon()).await.expect_err("no such name");
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
        assert!(error.text.contains("Keycloak"), "{error}");
    }
    assert_eq!(wiki.simulator.journal.writes().len(), 0, "nothing was sent");
}

#[tokio::test]
async fn fields_that_confluence_does_not_accept_are_reported_before_they_are_sent() {
    let wiki = Wiki::new().await;
    let ada = wiki.create("ada").await;
    wiki.simulator.journal.clear();
    let nameless = |fields| Operation::CreateUser { name: "bob".to_owned(), fields, external_id: None };
    for (operation, word) in [
        (nameless(fields(Some("Bob"), None)), "e-mail"),
        (nameless(fields(Some("<Bob>"), Some("bob@example.org"))), "< or >"),
        (nameless(fields(Some("Anonymous"), Some("bob@example.org"))), "Anonymous"),
        (update(&ada.id, "ada", fields(Some(" "), None)), "empty display name"),
        (update(&ada.id, "ada", fields(Some("a>b"), None)), "< or >"),
        (update(&ada.id, "ada", fields(None, Some(" "))), "empty e-mail"),
    ] {
        let error = wiki.refused(operation).await;
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
        assert!(error.text.contains(word), "{error}");
    }
    assert_eq!(wiki.simulator.journal.writes().len(), 0, "nothing was sent");
    let nothing = wiki.apply(update(&ada.id, "ada", fields(None, None))).await;
    assert_eq!(nothing, Ok(Applied::Done));
}
