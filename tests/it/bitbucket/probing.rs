//! First contact.

use usersync::{
    model::ErrorClass::{Permanent, Unconfirmed},
    targets::{CaseRule, Deactivation, NoteState, Target, TargetInfo},
};
use usersync_simulators::{
    BitbucketOptions, Fault, SimulatedBitbucket,
    bitbucket::{NewAccount, Permission},
};

use super::world::{client, not_done, options, password, place, settings};

fn lines<'a>(info: &'a TargetInfo, about: &str) -> Vec<(NoteState, &'a str)> {
    info.notes.iter().filter(|note| note.about == about).map(|note| (note.state, note.text.as_str())).collect()
}

fn line<'a>(info: &'a TargetInfo, about: &str) -> (NoteState, &'a str) {
    *lines(info, about).first().unwrap_or_else(|| panic!("no line about {about}: {:?}", info.notes))
}

#[tokio::test]
async fn a_good_target_is_reported_in_full() {
    let place = place().await;
    place.server.set_seats(Some(2000));
    place.server.add_directory("Corporate LDAP", "LDAP", true, true);
    let info = place.target.probe().await.expect("all goes well");
    assert_eq!(info.identity.id, place.server.server_id());
    assert_eq!(info.product, "Bitbucket Data Center 10.0.1");
    assert_eq!(info.signed_in_as, "bsync");
    let can = &info.capabilities;
    assert!(can.list_all && can.rename && can.delete && can.email_required && can.reads_email && !can.rename_group);
    assert_eq!(can.deactivate, Deactivation::Access);
    assert_eq!((can.login_case, can.group_case), (CaseRule::Insensitive, CaseRule::Insensitive));
    assert_eq!(line(&info, "rights"), (NoteState::Ok, "SYS_ADMIN"));
    assert!(line(&info, "cannot").1.starts_with("rename a group"));
    assert!(line(&info, "deactivate").1.contains("cannot deactivate accounts"));
    assert_eq!(line(&info, "access"), (NoteState::Ok, "through Developers, stash-users"));
    assert_eq!(line(&info, "seats"), (NoteState::Note, "1\u{2009}996 free of 2\u{2009}000"));
    assert_eq!(line(&info, "protected"), (NoteState::Ok, "stash-admins: never changed, nor their members"));
    let directories = lines(&info, "directory");
    assert_eq!(directories[0], (NoteState::Ok, "Bitbucket Internal Directory"));
    assert!(directories[1].1.starts_with("Corporate LDAP (LDAP) is managed outside Bitbucket"));
    assert!(line(&info, "round trip").1.ends_with(" ms"));
    assert_eq!(place.target.free_seats().await, Ok(Some(1996)));
    place.server.set_seats(None);
    assert_eq!(place.target.free_seats().await, Ok(None));
    assert_eq!(line(&place.target.probe().await.expect("an answer"), "seats"), (NoteState::Note, "unlimited"));
    place.keeps_to_the_description();
}

#[tokio::test]
async fn each_problem_is_a_line() {
    let place = place().await;
    place.server.set_seats(Some(4));
    place.server.set_directory_active(false);
    place.server.set_group_permission("Developers", None);
    place.server.set_group_permission("stash-users", None);
    place.server.set_user_permission("joe", Some(Permission::LicensedUser));
    place.server.set_user_permission("ada", Some(Permission::LicensedUser));
    let mut without = settings(&place.server);
    without.default_group = false;
    let info = client(without).probe().await.expect("an answer");
    assert_eq!(line(&info, "seats").0, NoteState::No);
    assert!(line(&info, "seats").1.contains("0 free of 4"));
    assert_eq!(line(&info, "access").0, NoteState::No);
    assert_eq!(line(&info, "directory").0, NoteState::No);
    assert!(line(&info, "directory").1.contains("is disabled"));
}

#[tokio::test]
async fn a_missing_right_is_a_line_and_not_an_error() {
    let place = place().await;
    place.server.set_credentials("ada", "pw", "ada-token");
    let mut ada = settings(&place.server);
    ada.credentials = password("ada", "pw");
    let info = client(ada).probe().await.expect("an answer");
    let (state, text) = line(&info, "rights");
    assert_eq!(state, NoteState::No);
    assert!(text.contains("ada lacks the global permission ADMIN"), "{text}");
    assert!(!info.capabilities.list_all);
    assert_eq!(info.identity.id, place.server.url());
    place.server.add_account(NewAccount::named("minor"));
    place.server.set_user_permission("minor", Some(Permission::Admin));
    place.server.set_credentials("minor", "pw", "minor-token");
    let mut minor = settings(&place.server);
    minor.credentials = password("minor", "pw");
    let info = client(minor).probe().await.expect("an answer");
    assert_eq!(line(&info, "rights").0, NoteState::Ok);
    assert!(line(&info, "rights").1.starts_with("ADMIN; accounts and groups of system administrators"));
    place.keeps_to_the_description();
}

#[tokio::test]
async fn versions_and_addresses_are_distinguished() {
    for (version, noted) in [("8.19.2", false), ("9.4.12", false), ("10.2.0", false), ("7.21.4", true)] {
        let server = SimulatedBitbucket::start(BitbucketOptions { version: version.into(), ..options() }).await;
        let server = server.expect("a free port");
        let info = client(settings(&server)).probe().await.expect("an answer");
        assert_eq!(info.product, format!("Bitbucket Data Center {version}"));
        assert_eq!(!lines(&info, "version").is_empty(), noted, "{version}");
    }
    let place = place().await;
    place.server.faults.add(Fault::status(200, r#"{"hello":"world"}"#).path("application-properties"));
    let error = place.target.probe().await.expect_err("not one");
    assert_eq!(error.kind, not_done(Permanent));
    assert!(error.text.contains("does not report its Bitbucket version"), "{}", error.text);
    place.server.faults.clear();
    let mut elsewhere = settings(&place.server);
    elsewhere.base_url = format!("{}/wrong/", place.server.url()).parse().expect("a URL");
    let error = client(elsewhere).probe().await.expect_err("not there");
    assert_eq!(error.kind, not_done(Unconfirmed), "{}", error.text);
    assert!(error.text.contains("path prefix"), "{}", error.text);
}

#[tokio::test]
async fn a_path_prefix_is_kept() {
    let prefixed = BitbucketOptions { base_path: "/bitbucket".into(), ..options() };
    let server = SimulatedBitbucket::start(prefixed).await.expect("a free port");
    let info = client(settings(&server)).probe().await.expect("an answer");
    assert_eq!(info.signed_in_as, "bsync");
    assert!(server.journal.entries().iter().all(|entry| entry.path.starts_with("/bitbucket/rest/")));
}

#[tokio::test]
async fn features_that_a_bitbucket_lacks_are_skipped() {
    let place = place().await;
    let null = r#"{"message":"null for uri","status-code":404}"#;
    place.server.faults.add(Fault::status(404, null).path("user-directories"));
    let none = r#"{"errors":[{"context":null,"message":"No license.","exceptionName":"x"}]}"#;
    place.server.faults.add(Fault::status(404, none).path("license"));
    let info = place.target.probe().await.expect("an answer");
    assert!(lines(&info, "directory").is_empty() && lines(&info, "seats").is_empty());
    assert_eq!(info.identity.id, place.server.url());
    place.server.faults.clear();
    let page = r#"{"isLastPage":true,"values":[{"name":"Own","type":"Internal"}]}"#;
    place.server.faults.add(Fault::status(200, page).path("user-directories"));
    let info = place.target.probe().await.expect("an answer");
    assert_eq!(line(&info, "directory"), (NoteState::Ok, "Own"));
}
