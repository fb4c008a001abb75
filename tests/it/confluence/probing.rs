//! The first contact.

use std::sync::Arc;

use usersync::{
    model::ErrorClass,
    policy,
    targets::{
        CaseRule, Credentials, NoteState, Target,
        confluence::{ConfluenceSettings, ConfluenceTarget},
    },
};
use usersync_simulators::{ConfluenceOptions, Fault, JiraOptions, SimulatedJira, confluence::NewAccount};

use super::world::{Wiki, not_done, reported, token};

#[tokio::test]
async fn versions_differ_in_their_capabilities() {
    for (version, lists, rest, rpc) in [
        ("8.5.16", false, false, true),
        ("8.8.1", true, false, true),
        ("9.2.13", true, false, true),
        ("9.4.0", true, true, true),
        ("10.2.2", true, true, true),
    ] {
        for options in [true, false] {
            let wiki = Wiki::version(version).await;
            wiki.simulator.set_tells_options(options);
            let info = wiki.probe().await;
            assert_eq!(info.product, format!("Confluence Data Center {version}"));
            assert_eq!(info.identity.id, wiki.simulator.server_id());
            assert_eq!(info.signed_in_as, "admin");
            let can = &info.capabilities;
            assert_eq!((can.list_all, can.update), (lists, rest), "{version}, OPTIONS {options}");
            assert!(!can.rename && !can.rename_group && !can.reads_email && can.email_required && can.delete);
            let cannot = reported(&info, NoteState::Note, "cannot").join("\n");
            for (word, expected) in [
                ("rename a login", true),
                ("Crowd or Jira", true),
                ("rename a group", true),
                ("read e-mail", true),
                ("update names", !rest),
                ("list all users", !lists),
            ] {
                assert_eq!(cannot.contains(word), expected, "{version}: {word} in {cannot}");
            }
            wiki.simulator.set_remote_api(true, 500);
            let info = wiki.probe().await;
            assert_eq!(info.capabilities.update, rpc, "{version}");
            let over_rpc = reported(&info, NoteState::Note, "cannot").join("\n").contains("JSON-RPC is on");
            assert_eq!(over_rpc, !rest);
            for about in ["clock", "round trip", "rights", "protected"] {
                assert_eq!(reported(&info, NoteState::Ok, about).len(), 1, "{version}: {about}");
            }
            wiki.assert_contract();
        }
    }
}

#[tokio::test]
async fn names_that_confluence_does_not_accept_are_reported_in_the_plan() {
    let can = Wiki::new().await.probe().await.capabilities;
    assert_eq!((can.login_case, can.group_case), (CaseRule::Lower, CaseRule::Lower));
    for login in ["a b", "a,b", "a+b", "o'brien", "a\\b", "a<b", "a\"b", "a/b", "a\u{a0}b", "a\tb"] {
        assert!(policy::unusable_login(login, &can).is_some(), "{login:?}");
    }
    for group in ["a/b", "a\\b"] {
        assert!(policy::unusable_group(group, &can).is_some(), "{group}");
    }
    assert_eq!(policy::unusable_group("Dev & Ops, 100% + \"you\"", &can), None);
}

#[tokio::test]
async fn permissions_and_seats_are_reported() {
    for version in ["8.5.16", "9.4.0", "10.0.3"] {
        let options = ConfluenceOptions { base_path: "/confluence".into(), ..ConfluenceOptions::version(version) };
        let wiki = Wiki::start(options, token("sync-token")).await;
        wiki.simulator.add_account(NewAccount::named("usersync").in_groups(&["confluence-users"]));
        wiki.simulator.set_credentials("usersync", "p", "sync-token");
        let info = wiki.probe().await;
        let missing = reported(&info, NoteState::No, "rights").join(" ");
        // Before 8.8 nothing that is read here is restricted to administrators.
        let unknown = reported(&info, NoteState::Note, "rights").join(" ");
        let text = if version == "8.5.16" { unknown } else { missing };
        assert!(text.contains("usersync") && text.contains("Confluence Administrator"), "{version}: {info:?}");
        assert!(text.contains("confluence-administrators"), "{text}");
        wiki.assert_contract();
    }
    let wiki = Wiki::new().await;
    assert_eq!(wiki.target.free_seats().await, Ok(None), "unlimited");
    wiki.simulator.set_seats(Some(1234));
    assert_eq!(wiki.target.free_seats().await, Ok(Some(1233)));
    assert_eq!(reported(&wiki.probe().await, NoteState::Note, "seats"), ["1\u{2009}233 free"]);
    wiki.simulator.set_seats(Some(1));
    assert!(reported(&wiki.probe().await, NoteState::No, "seats")[0].contains("Free some"));
    wiki.simulator.faults.add(Fault::status(404, "{}").path("remainingSeats"));
    assert_eq!(wiki.target.free_seats().await, Ok(None), "not told");
}

#[tokio::test]
async fn a_server_that_is_no_confluence_or_too_old_is_reported() {
    for (version, word) in [("8.2.0", "8.5 or later"), ("7.19.30", "8.5 or later"), ("1000.0.0", "Cloud")] {
        let error = Wiki::version(version).await.target.probe().await.expect_err("refused");
        assert_eq!(error.kind, not_done(ErrorClass::Permanent), "{version}");
        assert!(error.text.contains(word), "{error}");
    }
    let jira = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
    let settings = ConfluenceSettings::new(jira.url().parse().expect("an address"), token(jira.token()));
    let target = ConfluenceTarget::new(settings).expect("good settings");
    let error = target.probe().await.expect_err("a Jira");
    assert!(error.text.contains("is jira, not Confluence"), "{error}");
    for wrong in ["ftp://wiki.example.org", "https://me:secret@wiki.example.org", "https://wiki.example.org/?x"] {
        let settings = ConfluenceSettings::new(wrong.parse().expect("an address"), token("t"));
        let error = ConfluenceTarget::new(settings).err().expect("no address for this");
        assert!(!error.text.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn without_a_manifest_the_server_is_known_by_its_address() {
    let wiki = Wiki::new().await;
    wiki.simulator.set_manifest_open(false);
    let info = wiki.probe().await;
    assert_eq!(info.identity.id, wiki.simulator.url());
    assert_eq!(info.product, "Confluence Data Center 10.0.3", "told by server-information");
    let old = Wiki::version("9.2.13").await;
    old.simulator.set_manifest_open(false);
    assert_eq!(old.probe().await.identity.id, old.simulator.url());
    // Another id would look like another server, so the client does not fall back to the URL because of a fault.
    wiki.simulator.set_manifest_open(true);
    wiki.simulator.faults.add(Fault::unavailable().path("manifest"));
    assert_eq!(wiki.target.probe().await.expect_err("not now").kind, not_done(ErrorClass::Transient));
}

#[tokio::test]
async fn refused_credentials_are_sent_once() {
    let wiki = Wiki::new().await;
    wiki.simulator.refuse_credentials(true);
    for _ in 0..3 {
        let error = wiki.target.account_named("admin").await.expect_err("refused");
        assert_eq!(error.kind, not_done(ErrorClass::Credentials), "{error}");
        assert!(error.text.contains("retries when they change"), "{error}");
    }
    assert_eq!(wiki.simulator.journal.len(), 1);
    wiki.simulator.refuse_credentials(false);
    wiki.target.forget_refusal();
    assert!(wiki.target.account_named("admin").await.is_ok());
}

#[tokio::test]
async fn a_refusal_with_the_form_of_an_answer_is_recognized() {
    let wiki = Wiki::new().await;
    wiki.simulator.refuse_credentials_silently(true);
    let error = wiki.target.accounts(None).await.expect_err("refused");
    assert_eq!(error.kind, not_done(ErrorClass::Credentials), "{error}");
    // The same through a proxy that removes the headers: only the body shows it.
    let wiki = Wiki::new().await;
    let nobody = "{\"type\": \"anonymous\", \"displayName\": \"Anonymous\"}";
    wiki.simulator.faults.add(Fault::status(200, nobody).path("/user/current"));
    let error = wiki.target.probe().await.expect_err("refused");
    assert_eq!(error.kind, not_done(ErrorClass::Credentials), "{error}");
}

#[tokio::test]
async fn a_password_works_until_a_captcha_is_required() {
    let options = ConfluenceOptions { base_path: "/confluence".into(), ..ConfluenceOptions::default() };
    let password = Credentials::Basic { user: "admin".to_owned(), password: Arc::new(|| Ok("admin".into())) };
    let wiki = Wiki::start(options, password).await;
    assert_eq!(reported(&wiki.probe().await, NoteState::Note, "sign-in").len(), 1);
    wiki.simulator.set_captcha(true);
    let error = wiki.target.account_named("admin").await.expect_err("refused");
    assert_eq!(error.kind, not_done(ErrorClass::Credentials));
    assert!(error.text.contains("CAPTCHA"), "{error}");
}
