use url::Url;

use super::*;
use crate::keycloak::{Connection, setup::SignIn};

fn options() -> SetupOptions {
    let connection = Connection::new(Url::parse("https://sso.example.org").unwrap());
    let sign_in = SignIn::Token("t".into());
    SetupOptions {
        address: Some(Url::parse("https://sync.example.org/hooks/acme").unwrap()),
        ..SetupOptions::new(connection, "acme", "usersync", sign_in)
    }
}

fn raw(value: Value) -> Raw {
    match value {
        Value::Object(raw) => raw,
        _ => Raw::new(),
    }
}

fn fresh() -> Present {
    Present {
        events: raw(json!({"eventsEnabled": false, "eventsListeners": ["jboss-logging"], "enabledEventTypes": [],
            "adminEventsEnabled": false, "adminEventsDetailsEnabled": false})),
        attributes: [("cibaInterval".to_owned(), "5".to_owned())].into(),
        listeners: Some(["jboss-logging".to_owned(), LISTENER.to_owned()].into()),
        client: None,
    }
}

fn lines(present: &Present) -> (Vec<String>, Vec<Note>) {
    let (steps, notes) = plan(&options(), present);
    (steps.iter().map(ToString::to_string).collect(), notes)
}

/// Returns the state of Keycloak after the planned steps.
fn done(present: &Present) -> Present {
    let mut present = present.clone();
    for step in plan(&options(), &present).0 {
        match step {
            Step::CreateClient { client_id, .. } => {
                present.client = Some(Client { raw: new_client(&client_id), ..Client::default() });
            }
            Step::RepairClient { raw, .. } => present.client.as_mut().unwrap().raw = raw,
            Step::GiveRoles { roles, .. } => {
                present.client.as_mut().unwrap().roles.extend(roles.into_iter().map(str::to_owned));
            }
            Step::WidenScope { roles, .. } => {
                let scope = present.client.as_mut().unwrap().scope.as_mut().unwrap();
                scope.extend(roles.into_iter().map(str::to_owned));
            }
            Step::Attributes { all, .. } => present.attributes = all,
            Step::Events { config, .. } => present.events.extend(config),
            Step::DeleteClient { .. } => present.client = None,
        }
    }
    present
}

#[test]
fn a_fresh_realm_gets_everything_and_then_nothing() {
    let (steps, notes) = lines(&fresh());
    assert_eq!(
        steps,
        [
            "create client usersync in realm acme: confidential, service account, no interactive sign-in",
            "grant the service account of usersync: view-users, view-events",
            "realm attributes: admin events for 7 days, usersync.before (the previous event settings), usersync.address",
            "realm events: keep admin events, with details, keep user events, user events for 7 days, listener usersync",
        ]
    );
    assert_eq!(notes.len(), 1, "{notes:?}");
    let after = done(&fresh());
    assert_eq!(after.attributes["cibaInterval"], "5");
    assert_eq!(after.events["eventsListeners"], json!(["jboss-logging", "usersync"]));
    assert_eq!(lines(&after), (vec![], vec![]));
}

#[test]
fn what_is_there_and_better_is_kept() {
    let mut present = done(&fresh());
    present.events.insert("eventsExpiration".into(), 99_999_999.into());
    present.attributes.insert(ADMIN_EXPIRY.into(), "99999999".into());
    present.events.insert("eventsListeners".into(), json!(["email", "usersync", "jboss-logging"]));
    assert_eq!(lines(&present).0, Vec::<String>::new());
    present.events.insert("eventsExpiration".into(), 0.into());
    present.attributes.remove(ADMIN_EXPIRY);
    let (steps, notes) = lines(&present);
    assert_eq!(steps, Vec::<String>::new());
    assert!(notes.iter().all(|note| note.text.contains("have no expiry")) && notes.len() == 2);
    present.events.insert("eventsExpiration".into(), 60.into());
    assert_eq!(lines(&present).0, ["realm events: user events for 7 days"]);
}

#[test]
fn types_are_added_to_those_that_were_chosen() {
    let mut present = done(&fresh());
    present.events.insert("enabledEventTypes".into(), json!(["LOGIN", "REGISTER"]));
    let types = done(&present).events["enabledEventTypes"].clone();
    let types: Vec<_> = types.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(types[..2], ["LOGIN", "REGISTER"]);
    assert_eq!(types.len(), 1 + DIRECTORY_EVENTS.len());
}

#[test]
fn a_client_that_is_wrong_is_repaired() {
    let mut present = done(&fresh());
    let client = present.client.as_mut().unwrap();
    client.raw.insert("standardFlowEnabled".into(), true.into());
    client.raw.insert("publicClient".into(), true.into());
    client.raw.insert("mine".into(), "kept".into());
    client.roles = ["manage-users".to_owned()].into();
    client.scope = Some(["view-users".to_owned()].into());
    let (steps, notes) = lines(&present);
    assert_eq!(
        steps,
        [
            "repair client usersync: client authentication on, standard flow off",
            "grant the service account of usersync: view-users, view-events",
            "include in tokens of usersync: view-events",
        ]
    );
    assert!(notes[0].text.starts_with("manage-users is more than usersync needs"));
    let after = done(&present);
    assert_eq!(after.client.as_ref().unwrap().raw["mine"], "kept");
    assert_eq!(lines(&after).0, Vec::<String>::new());
}

#[test]
fn a_listener_that_is_not_installed_is_never_asked_for() {
    let mut present = fresh();
    present.listeners = Some(["jboss-logging".to_owned()].into());
    let (steps, notes) = lines(&present);
    assert!(!steps.concat().contains("listener"), "{steps:?}");
    assert!(notes.iter().any(|note| note.state == NoteState::Wait && note.text.contains("providers")));
    present.listeners = None;
    assert!(lines(&present).1.iter().any(|note| note.text.contains("cannot see whether")));
}

#[test]
fn no_step_shows_a_secret() {
    let (steps, _) = plan(&options(), &fresh());
    assert!(!format!("{steps:?}").contains("whsec_"));
}

#[test]
fn settings_as_they_were_are_remembered_once() {
    let after = done(&fresh());
    let before: Before = serde_json::from_str(&after.attributes[BEFORE_ATTRIBUTE]).unwrap();
    assert_eq!(before.admin_expiry.as_deref(), Some(""));
    assert_eq!(before.config["eventsExpiration"], Value::Null);
    assert_eq!(before.config["adminEventsEnabled"], false);
    let mut weaker = after.clone();
    weaker.events.insert("adminEventsEnabled".into(), false.into());
    assert_eq!(done(&weaker).attributes[BEFORE_ATTRIBUTE], after.attributes[BEFORE_ATTRIBUTE]);
}
