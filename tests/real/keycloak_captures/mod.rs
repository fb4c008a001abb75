//! Events of a real Keycloak's event store for each change, and their decoded form. `scripts/record-captures URL FILE`
//! records the files again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use usersync::{
    keycloak::{
        decode::{DecodeContext, decode},
        signature::Verified,
    },
    model::{EventOutcome, NewEvent},
};

#[derive(Deserialize)]
struct Capture {
    keycloak: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    did: String,
    events: Vec<Value>,
}

fn capture(file: &str) -> Capture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(file);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn decoded(events: &[Value]) -> Vec<NewEvent> {
    let body = serde_json::to_vec(events).unwrap();
    let context = DecodeContext::new("acme", "2026-12-01T00:00:00Z".parse::<Timestamp>().unwrap());
    decode(Verified::read_at_source(&body), &context).unwrap()
}

/// Returns the kind, and the subjects to read: ids by their first group of digits.
fn reported(event: &NewEvent) -> String {
    let outcome = match &event.outcome {
        EventOutcome::Ignored(why) => format!("- {why}"),
        EventOutcome::Accepted => {
            let hints =
                event.hints.iter().map(|hint| hint.to_string().split('-').next().unwrap_or_default().to_owned());
            hints.chain(event.wants_run.then(|| "run".to_owned())).collect::<Vec<_>>().join(" ")
        }
    };
    format!("{}: {outcome}", event.kind)
}

const NOBODY: &str = "- it names no user or group";
const ROLES: &str = "- the policy names no role";
const FAILED: &str = "- it reports a failure, so nothing was changed";
const LOGIN: &str = "- a sign-in without an identity provider changes no user";
const ORGANIZATIONS: &str = "- the policy names no organization";
const DEFAULT_GROUP: &str = "- a default group applies to users created later; existing users are unchanged";

fn check(file: &str, expected: &[(&str, &str, &str)]) {
    let reported: Vec<_> = capture(file)
        .steps
        .iter()
        .flat_map(|step| {
            decoded(&step.events).iter().map(|event| (step.did.clone(), reported(event))).collect::<Vec<_>>()
        })
        .collect();
    let expected: Vec<_> =
        expected.iter().map(|(did, kind, what)| ((*did).to_owned(), format!("{kind}: {what}"))).collect();
    for (reported, expected) in reported.iter().zip(&expected) {
        assert_eq!(reported, expected);
    }
    assert_eq!(reported.len(), expected.len());
}

#[test]
fn every_admin_event_names_the_subjects_to_read() {
    check(
        "keycloak-26.7.0-events.json",
        &[
            ("client create", "CREATE CLIENT", NOBODY),
            ("sa roles", "CREATE CLIENT_ROLE_MAPPING", ROLES),
            ("group create", "CREATE GROUP", "group:5eeba18c"),
            ("subgroup create", "CREATE GROUP", "group:5eeba18c group:79a35593"),
            ("group2 create", "CREATE GROUP", "group:dbcd81c3"),
            ("user create with groups", "CREATE USER", "user:ac5fcfb8"),
            ("user create plain", "CREATE USER", "user:8db44c67"),
            ("user update name", "UPDATE USER", "user:ac5fcfb8"),
            ("user rename", "UPDATE USER", "user:ac5fcfb8"),
            ("user disable", "UPDATE USER", "user:ac5fcfb8"),
            ("user enable", "UPDATE USER", "user:ac5fcfb8"),
            ("join group", "CREATE GROUP_MEMBERSHIP", "user:8db44c67"),
            ("leave group", "DELETE GROUP_MEMBERSHIP", "user:8db44c67"),
            ("group rename", "UPDATE GROUP", "group:5eeba18c"),
            ("subgroup move top", "UPDATE GROUP", "group:79a35593"),
            ("subgroup move under g2", "UPDATE GROUP", "group:dbcd81c3 group:79a35593"),
            ("join subgroup", "CREATE GROUP_MEMBERSHIP", "user:8db44c67"),
            ("role create", "CREATE REALM_ROLE", ROLES),
            ("role assign user", "CREATE REALM_ROLE_MAPPING", ROLES),
            ("role assign group", "CREATE REALM_ROLE_MAPPING", ROLES),
            ("role unassign", "DELETE REALM_ROLE_MAPPING", ROLES),
            ("password reset by admin", "ACTION USER", "user:8db44c67"),
            ("direct grant login", "LOGIN", LOGIN),
            ("direct grant login bad", "LOGIN_ERROR", FAILED),
            ("default group", "CREATE GROUP", DEFAULT_GROUP),
            ("user create default group", "CREATE USER", "user:f9d8332a"),
            ("logout all user sessions", "ACTION USER", "user:8db44c67"),
            ("group delete with children", "DELETE GROUP", "group:dbcd81c3 run"),
            ("user delete", "DELETE USER", "user:ac5fcfb8"),
            ("realm update", "UPDATE REALM", NOBODY),
        ],
    );
}

#[test]
fn every_event_of_users_roles_and_organisations_names_the_subjects_to_read() {
    check(
        "keycloak-26.7.0-self-service-roles-organisations.json",
        &[
            ("self registration by form", "REGISTER", "user:2cc97a61"),
            ("self registration by form", "LOGIN", LOGIN),
            ("profile: name changed by the user", "UPDATE_PROFILE", "user:2cc97a61"),
            ("profile: e-mail changed by the user", "UPDATE_PROFILE", "user:2cc97a61"),
            ("profile: login changed by the user", "UPDATE_PROFILE", "user:2cc97a61"),
            ("organisation create", "CREATE ORGANIZATION", ORGANIZATIONS),
            ("organisation member added", "CREATE ORGANIZATION_MEMBERSHIP", ORGANIZATIONS),
            ("organisation member removed", "DELETE ORGANIZATION_MEMBERSHIP", "user:2cc97a61"),
            ("role made composite", "CREATE REALM_ROLE", ROLES),
            ("composite taken apart", "DELETE REALM_ROLE", ROLES),
            ("role renamed", "UPDATE REALM_ROLE", ROLES),
            ("client role create", "CREATE CLIENT_ROLE", ROLES),
            ("client role to user", "CREATE CLIENT_ROLE_MAPPING", ROLES),
            ("group attributes", "UPDATE GROUP", "group:d956dee3"),
            ("user disabled then logs in", "LOGIN_ERROR", FAILED),
        ],
    );
}

/// Recorded from the listener's own jar in a real Keycloak: its user events have their user only in `authDetails`.
#[test]
fn every_request_of_the_p2_listener_names_the_subjects_to_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/p2-inc/keycloak-events-0.59.json");
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let requests = recorded["requests"].as_array().unwrap();
    let decoded = decoded(requests);
    let reported: Vec<_> = decoded.iter().map(reported).collect();
    let expected = [
        ("CREATE USER", "user:cf33ba90"),
        ("LOGIN", LOGIN),
        ("LOGIN", LOGIN),
        ("UPDATE USER", "user:cf33ba90"),
        ("UPDATE_PROFILE", "user:cf33ba90"),
        ("LOGIN_ERROR", FAILED),
        ("CREATE GROUP", "group:b07562a2"),
        ("CREATE GROUP_MEMBERSHIP", "user:cf33ba90"),
        ("DELETE USER", "user:cf33ba90"),
    ];
    assert_eq!(reported, expected.map(|(kind, what)| format!("{kind}: {what}")));
    for (request, event) in requests.iter().zip(&decoded) {
        assert_eq!(Some(event.id.as_str()), request["id"].as_str());
        assert!(!event.body.contains("127.0.0.1") && !event.body.contains("sessionId"), "{}", event.body);
    }
}

#[test]
fn no_address_or_session_of_a_capture_is_kept() {
    for file in files() {
        for step in capture(&file).steps {
            for (event, kept) in step.events.iter().zip(decoded(&step.events)) {
                assert!(!kept.body.contains("127.0.0.1\"") && !kept.body.contains("ipAddress"), "{}", kept.body);
                for session in [&event["sessionId"], &event["details"]["code_id"]] {
                    let session = session.as_str().unwrap_or("none there");
                    assert!(!kept.body.contains(session), "{}", kept.body);
                }
                // Keycloak 26.0 omits the ids of its events: then a hash is used.
                match event["id"].as_str() {
                    Some(id) => assert_eq!(kept.id, id),
                    None => assert_eq!(kept.id.len(), 64),
                }
                assert_eq!(kept.occurred_at.map(Timestamp::as_millisecond), event["time"].as_i64());
            }
        }
    }
}

fn files() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.to_lowercase().ends_with("json"))
        .collect();
    files.sort();
    files
}

/// Returns an event and its decoded form, without ids and times.
fn shape(decoded: &NewEvent) -> String {
    let segment = |segment: &str| if uuid::Uuid::try_parse(segment).is_ok() { "ID".into() } else { segment.to_owned() };
    let path: Vec<_> = decoded.about.split('/').map(segment).collect();
    let hints: Vec<_> =
        decoded.hints.iter().map(|hint| hint.to_string().split(':').next().unwrap_or_default().to_owned()).collect();
    format!("{} {}: {} {} {:?}", decoded.kind, path.join("/"), hints.join(" "), decoded.wants_run, decoded.outcome)
}

#[test]
fn new_recordings_have_the_known_shapes() {
    let mut known: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for file in files() {
        let capture = capture(&file);
        for step in capture.steps {
            // Events of one request can share a millisecond.
            let mut shapes: Vec<_> = decoded(&step.events).iter().map(shape).collect();
            shapes.sort();
            let (version, before) =
                known.entry(step.did.clone()).or_insert_with(|| (capture.keycloak.clone(), shapes.clone()));
            assert_eq!(shapes, *before, "{}: {} in {file}, not as in Keycloak {version}", step.did, capture.keycloak);
        }
    }
}

/// Collects the names of all fields at any depth; list elements count as one. `representation` is JSON in a string.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let text = value.as_str().filter(|_| path == ".representation").and_then(|text| serde_json::from_str(text).ok());
    match text.as_ref().unwrap_or(value) {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| fields(value, &format!("{path}.{name}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, &format!("{path}[]"), found)),
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// Returns the effects of a step without ids and times: kind, path and fields of each event.
fn tells(step: &Step) -> BTreeSet<String> {
    let tell = |event: &Value| {
        let mut found = BTreeSet::new();
        fields(event, "", &mut found);
        let found: Vec<_> = found.into_iter().collect();
        let about = decoded(std::slice::from_ref(event)).iter().map(shape).collect::<String>();
        format!("{about} with {}", found.join(" "))
    };
    step.events.iter().map(tell).collect()
}

/// A version without a recording is compared with the newest recording.
#[test]
fn a_real_keycloak_still_sends_the_recorded_events() {
    let Ok(file) = std::env::var("USERSYNC_TEST_CAPTURE") else {
        eprintln!("NOT RUN: it needs what scripts/record-captures recorded just now, in USERSYNC_TEST_CAPTURE");
        return;
    };
    let now: Capture = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let recorded: Vec<_> = files().into_iter().filter(|file| file.starts_with("recorded-")).collect();
    let same = recorded.iter().find(|file| **file == format!("recorded-{}.json", now.keycloak));
    let file = same.or(recorded.last()).unwrap();
    let before = capture(file);
    let did = |capture: &Capture| capture.steps.iter().map(|step| step.did.clone()).collect::<Vec<_>>();
    assert_eq!(did(&now), did(&before), "the steps are others than in {file}: record them anew");
    let differences: Vec<_> = now
        .steps
        .iter()
        .zip(&before.steps)
        .filter(|(now, before)| tells(now) != tells(before))
        .map(|(now, before)| format!("{}: {:#?}, in {file} {:#?}", now.did, tells(now), tells(before)))
        .collect();
    assert!(differences.is_empty(), "Keycloak {} tells something else: {}", now.keycloak, differences.join("\n"));
}
