//! First contact.

use usersync::{
    model::ErrorClass::{Credentials as Refused, Permanent},
    targets::{
        CaseRule, Deactivation, NoteState, Target, TargetInfo,
        crowd::{CrowdSettings, CrowdTarget},
    },
};
use usersync_simulators::{CrowdOptions, Fault, crowd::NewCrowdUser};

use super::place::{Place, not_done, settings};

fn line<'a>(info: &'a TargetInfo, about: &str) -> Vec<(NoteState, &'a str)> {
    info.notes.iter().filter(|note| note.about == about).map(|note| (note.state, note.text.as_str())).collect()
}

#[tokio::test]
async fn a_crowd_is_reported_in_full() {
    let place = Place::new().await;
    place.create("ada").await;
    let info = place.crowd.probe().await.expect("a first contact");
    assert_eq!(info.product, "Crowd 7.1.3");
    assert_eq!(info.identity.id, place.simulator.url());
    let can = &info.capabilities;
    assert!(can.list_all && can.rename && can.delete && can.reads_email && !can.rename_group && !can.email_required);
    assert_eq!(can.deactivate, Deactivation::Switch);
    assert_eq!((can.login_case, can.group_case), (CaseRule::Insensitive, CaseRule::Insensitive));
    assert_eq!(line(&info, "rights")[0], (NoteState::Ok, "read users and groups"));
    assert!(line(&info, "rights")[1].1.contains("Add, Modify and Remove"));
    assert_eq!(line(&info, "nested groups"), [(NoteState::Note, "only direct members are read and written")]);
    assert!(line(&info, "cannot")[0].1.starts_with("rename a group"));
    assert!(line(&info, "protected")[0].1.contains("crowd-administrators"));
    assert!(line(&info, "round trip")[0].1.ends_with(" ms"));
    assert_eq!(place.crowd.free_seats().await, Ok(None));
}

#[tokio::test]
async fn a_jira_behind_the_crowd_interface_is_recognized_as_jira() {
    let place = Place::start(CrowdOptions::jira("10.3.5")).await;
    let info = place.crowd.probe().await.expect("a first contact");
    assert_eq!(info.product, "Jira 10.3.5 user server, Crowd 5.1.4");
    assert_eq!(info.identity.id, place.simulator.server_id(), "as the same Jira tells through its own interface");
    // An outage does not change the reported identity.
    place.simulator.faults.add(Fault::status(503, "").path("manifest").once());
    assert!(place.crowd.probe().await.is_err());
}

#[tokio::test]
async fn keys_that_some_or_all_accounts_lack_are_reported() {
    let place = Place::new().await;
    place.simulator.add_user(NewCrowdUser::named("ada"));
    let keyless = r#"{"users": [{"name": "ada", "key": "k", "active": true}, {"name": "bob", "active": true}]}"#;
    let header = |fault: Fault| fault.header("x-embedded-crowd-version", "Crowd/4.0.0").path("entity-type=user").once();
    place.simulator.faults.add(header(Fault::status(200, keyless)));
    let info = place.crowd.probe().await.expect("a first contact");
    assert!(info.capabilities.rename && info.product == "Crowd 4.0.0");
    assert!(line(&info, "keys")[0].1.starts_with("1 of the first 2 accounts"));
    place.simulator.set_tells_keys(false);
    let info = place.crowd.probe().await.expect("a first contact");
    assert!(!info.capabilities.rename);
    assert!(line(&info, "cannot")[0].1.starts_with("rename a login: accounts have no key here"));
}

#[tokio::test]
async fn a_server_that_is_no_crowd_is_reported() {
    let place = Place::new().await;
    place.simulator.set_version_header(false);
    let error = place.crowd.probe().await.expect_err("no Crowd");
    assert_eq!(error.kind, not_done(Permanent));
    assert!(error.text.contains("not as Crowd does"), "{}", error.text);
    place.simulator.set_version_header(true);
    let mut wrong = settings(&place.simulator);
    wrong.base_url = place.simulator.url().replace("/crowd", "/wiki").parse().expect("a URL");
    let fault = place.simulator.faults.add(Fault::html(404, "<html>nothing here</html>").path("/wiki"));
    let error = CrowdTarget::new(wrong).expect("good settings").probe().await.expect_err("no Crowd");
    assert!(error.text.contains("usually https://host/crowd"), "{}", error.text);
    place.simulator.faults.remove(fault);
}

#[tokio::test]
async fn refused_credentials_are_sent_once() {
    let place = Place::new().await;
    place.simulator.refuse_credentials(true);
    for _ in 0..3 {
        let error = place.crowd.probe().await.expect_err("refused");
        assert_eq!(error.kind, not_done(Refused));
        assert!(error.text.contains("the password of usersync"), "{}", error.text);
        assert!(error.text.contains("an application") && !error.text.contains("simulator-password"), "{}", error.text);
    }
    assert_eq!(place.simulator.journal.len(), 1);
    place.simulator.refuse_credentials(false);
    place.crowd.probe().await.expect_err("not tried again by itself");
    place.crowd.forget_refusal();
    place.crowd.probe().await.expect("taken");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_with_a_message() {
    let place = Place::new().await;
    let mut token = settings(&place.simulator);
    token.credentials = usersync::targets::Credentials::Token(std::sync::Arc::new(|| Ok("t0ken".to_owned().into())));
    let mut secret = settings(&place.simulator);
    secret.base_url = "https://me:hush@crowd.example.org/crowd".parse().expect("a URL");
    for (settings, text) in [(token, "does not accept tokens"), (secret, "contains a user or password")] {
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hush"), "{shown}");
        let error = CrowdTarget::new(settings).err().expect("refused");
        assert_eq!(error.kind, not_done(Permanent));
        assert!(error.text.contains(text) && !error.text.contains("hush"), "{}", error.text);
    }
    let password = std::sync::Arc::new(|| Err("CROWD_PASSWORD is not set.".to_owned()));
    let none = CrowdSettings::new(place.simulator.url().parse().expect("a URL"), "usersync", password);
    let error = CrowdTarget::new(none).expect("good settings").probe().await.expect_err("no secret");
    assert!(error.kind == not_done(Refused) && error.text.contains("CROWD_PASSWORD"), "{}", error.text);
    assert!(place.simulator.journal.is_empty());
}
