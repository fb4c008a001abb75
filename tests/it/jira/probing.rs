//! First contact.

use serde_json::json;
use usersync::{
    model::ErrorClass::{Credentials, Permanent},
    targets::{CaseRule, NoteState, Target, TargetInfo},
};

use super::{
    scripted_server::{Reply, Seen, Server},
    world::{client, healthy, not_done, settings},
};

fn line<'a>(info: &'a TargetInfo, about: &str) -> Option<(NoteState, &'a str)> {
    info.notes.iter().find(|note| note.about == about).map(|note| (note.state, note.text.as_str()))
}

#[tokio::test]
async fn a_good_target_is_reported_in_full() {
    let server = Server::start(|seen: &Seen| match seen.path.as_str() {
        "/rest/api/2/user/duplicated/count" => Reply::json(200, json!({"count": 3})),
        _ => healthy(seen).header("Date", "Fri, 06 Nov 2026 08:49:37 GMT"),
    })
    .await;
    let jira = client(&server.url);
    let info = jira.probe().await.expect("all goes well");
    assert_eq!(info.identity.id, "https://jira.example.org");
    assert_eq!(info.product, "Jira Data Center 10.3.5");
    assert_eq!(info.signed_in_as, "jsync");
    let can = &info.capabilities;
    assert!(can.list_all && can.rename && can.delete && can.email_required && !can.rename_group);
    assert_eq!((can.login_case, can.group_case), (CaseRule::Lower, CaseRule::Insensitive));
    let (state, text) = line(&info, "rights").expect("rights");
    assert_eq!((state, text.starts_with("administrator;")), (NoteState::Ok, true));
    assert!(line(&info, "cannot").expect("cannot").1.starts_with("rename a group"));
    assert_eq!(line(&info, "seats"), Some((NoteState::Note, "48 free of 2\u{2009}000 in Jira Software")));
    assert!(
        line(&info, "protected")
            .expect("protected")
            .1
            .starts_with("jira-administrators, jira-system-administrators, ops-admins")
    );
    assert!(line(&info, "duplicates").expect("duplicates").1.starts_with("3 logins"));
    assert_eq!(line(&info, "clock").expect("clock").0, NoteState::Note, "a clock that far off is told");
    assert!(line(&info, "round trip").expect("round trip").1.ends_with(" ms"));
    assert_eq!(jira.free_seats().await, Ok(Some(48)));
}

#[tokio::test]
async fn without_the_permission_to_browse_users_an_empty_picker_proves_nothing_about_groups() {
    for (browses, state) in [(Some(false), Some(NoteState::No)), (Some(true), None), (None, None)] {
        let server = Server::start(move |seen: &Seen| match seen.path.as_str() {
            "/rest/api/2/mypermissions" => {
                let mut all = json!({"ADMINISTER": {"havePermission": true}});
                if let Some(browses) = browses {
                    all["USER_PICKER"] = json!({"name": "Browse users and groups", "havePermission": browses});
                }
                Reply::json(200, json!({"permissions": all}))
            }
            "/rest/api/2/groups/picker" => Reply::json(200, json!({"total": 0, "groups": []})),
            _ => healthy(seen),
        })
        .await;
        let jira = client(&server.url);
        let info = jira.probe().await.expect("all goes well");
        let reported = info.notes.iter().find(|note| note.text.contains("\"Browse users and groups\""));
        assert_eq!(reported.filter(|note| note.about == "rights").map(|note| note.state), state, "{browses:?}");
        let ada = jira.account(&"JIRAUSER10".into()).await.expect("an answer").expect("there");
        assert_eq!(ada.protected.is_some(), browses == Some(false), "{:?}", ada.protected);
    }
}

#[tokio::test]
async fn versions_determine_the_capabilities() {
    for (version, listing, list_all) in
        [("8.3.0", 404, true), ("9.12.1", 404, true), ("10.0.0", 404, false), ("11.3.0", 200, true)]
    {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/rest/api/2/serverInfo" => Reply::json(200, json!({"version": version, "serverId": "B1-2"})),
            "/rest/api/2/user/list" if listing == 404 => Reply::html(404, "<html/>"),
            _ => healthy(seen),
        })
        .await;
        let info = client(&server.url).probe().await.expect("all goes well");
        assert_eq!(info.capabilities.list_all, list_all, "{version}");
        assert_eq!(info.identity.id, "B1-2");
    }
    for (reported, text) in [
        (json!({"version": "8.2.6", "versionNumbers": [8, 2, 6]}), "requires 8.3 or later"),
        (json!({"version": "1001.0.0", "deploymentType": "Cloud"}), "Jira Cloud"),
        (json!({"hello": "world"}), "does not report its Jira version"),
    ] {
        let server = Server::start(move |seen| {
            if seen.is("GET", "/serverInfo") { Reply::json(200, reported.clone()) } else { healthy(seen) }
        })
        .await;
        let error = client(&server.url).probe().await.expect_err("refused");
        assert_eq!(error.kind, not_done(Permanent));
        assert!(error.text.contains(text), "{}", error.text);
    }
}

#[tokio::test]
async fn a_missing_right_is_a_line_and_not_an_error() {
    let server = Server::start(|seen: &Seen| match seen.path.as_str() {
        "/rest/api/2/mypermissions" => Reply::json(200, json!({"permissions": {}})),
        "/rest/api/2/myself" | "/rest/api/2/serverInfo" => healthy(seen),
        _ => Reply::json(403, json!({"errorMessages": ["no"], "errors": {}})),
    })
    .await;
    let info = client(&server.url).probe().await.expect("an answer");
    let (state, text) = line(&info, "rights").expect("rights");
    assert_eq!(state, NoteState::No);
    assert!(text.contains("jsync is not a Jira administrator"), "{text}");
}

#[tokio::test]
async fn masked_addresses_are_no_addresses() {
    let server = Server::start(|seen: &Seen| {
        let mut reported = super::world::user("JIRAUSER1", "jsync", &[]);
        reported["emailAddress"] = json!("ada at example dot org");
        if seen.is("GET", "/myself") || seen.is("GET", "/user") { Reply::json(200, reported) } else { healthy(seen) }
    })
    .await;
    let jira = client(&server.url);
    assert!(!jira.probe().await.expect("an answer").capabilities.reads_email);
    assert_eq!(jira.account_named("jsync").await.expect("an answer").expect("there").email, None);
}

#[tokio::test]
async fn for_jira_11_the_reason_for_a_refused_password_is_reported() {
    let server = Server::start(|seen: &Seen| match (seen.path.as_str(), seen.headers.get("authorization")) {
        ("/rest/api/2/serverInfo", None) => Reply::json(200, json!({"version": "11.3.0"})),
        _ => Reply::empty(401),
    })
    .await;
    let mut settings = settings(&server.url);
    settings.credentials = usersync::targets::Credentials::Basic {
        user: "jsync".to_owned(),
        password: std::sync::Arc::new(|| Ok("pw".to_owned().into())),
    };
    let jira = usersync::targets::jira::JiraTarget::new(settings).expect("good settings");
    let error = jira.probe().await.expect_err("refused");
    assert_eq!(error.kind, not_done(Credentials));
    assert!(error.text.contains("This is Jira 11.3.0, which takes only personal access tokens"), "{}", error.text);
}

#[tokio::test]
async fn full_seats_and_unknown_applications_are_problems() {
    let server = Server::start(|seen: &Seen| {
        if seen.is("GET", "/applicationrole") {
            Reply::json(
                200,
                json!([{"key": "jira-core", "name": "Jira Core", "numberOfSeats": 10, "remainingSeats": 0},
                       {"key": "jira-software", "numberOfSeats": -1, "remainingSeats": -1, "hasUnlimitedSeats": true}]),
            )
        } else {
            healthy(seen)
        }
    })
    .await;
    let mut settings = settings(&server.url);
    settings.applications = Some(vec!["jira-core".to_owned(), "jira-typo".to_owned()]);
    let jira = usersync::targets::jira::JiraTarget::new(settings).expect("good settings");
    let info = jira.probe().await.expect("an answer");
    assert_eq!(line(&info, "seats").expect("seats").0, NoteState::No);
    assert!(line(&info, "applications").expect("applications").1.contains("jira-typo is not an application"));
    assert_eq!(jira.free_seats().await, Ok(Some(0)));
}
