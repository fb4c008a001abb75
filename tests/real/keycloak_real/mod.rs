//! The client and the setup against a real Keycloak, if `USERSYNC_TEST_KEYCLOAK_URL` names one that may be changed (its
//! administrator: `USERSYNC_TEST_KEYCLOAK_ADMIN` and `USERSYNC_TEST_KEYCLOAK_PASSWORD`, by default admin and admin).
//! Each test creates its own realm and deletes it.

mod organizations;

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use usersync::{
    keycloak::{
        Connection, KeycloakSettings, KeycloakSource, Source as _,
        setup::{ADDRESS_ATTRIBUTE, Setup, SetupOptions, SignIn},
    },
    model::{ErrorClass, EventLog, Subject, Uses},
    targets::NoteState,
};

use crate::support::realm::Realm;

fn options(realm: &Realm) -> SetupOptions {
    let connection = Connection::new(realm.url.parse().unwrap());
    let sign_in = SignIn::Password {
        realm: "master".into(),
        username: realm.admin.clone(),
        password: realm.password.clone().into(),
    };
    SetupOptions {
        address: Some("https://sync.example.org/hooks/acme".parse().unwrap()),
        ..SetupOptions::new(connection, &realm.name, "usersync", sign_in)
    }
}

fn source(
    realm: &Realm,
    client_realm: Option<&str>,
    client: &str,
    secret: &SecretString,
    page: usize,
) -> KeycloakSource {
    let secret = secret.expose_secret().to_owned();
    let url = realm.url.parse().unwrap();
    let settings = KeycloakSettings::new(url, &realm.name, client, Arc::new(move || Ok(secret.clone().into())));
    KeycloakSource::new(KeycloakSettings { client_realm: client_realm.map(str::to_owned), page, ..settings }).unwrap()
}

async fn set_up(options: SetupOptions) -> (Setup, SecretString) {
    let setup = Setup::connect(options).await.unwrap();
    let plan = setup.plan().await.unwrap();
    assert!(!plan.is_empty());
    let done = setup.apply(plan).await.unwrap();
    (setup, done.client_secret)
}

#[tokio::test]
async fn a_realm_is_set_up_read_and_restored() {
    let Some(realm) = Realm::new("setup").await else { return };
    let events_before: Value = realm.get("events/config").await;
    let setup = Setup::connect(options(&realm)).await.unwrap();
    let plan = setup.plan().await.unwrap();
    assert!(plan.lines()[0].starts_with("create client usersync"), "{:?}", plan.lines());
    let done = setup.apply(plan).await.unwrap();
    let key = done.new_webhook_secret.unwrap();
    assert!(key.expose_secret().starts_with("whsec_"));

    let again = SetupOptions { webhook_secret: Some(key.clone()), ..options(&realm) };
    let setup = Setup::connect(again).await.unwrap();
    let plan = setup.plan().await.unwrap();
    assert_eq!(plan.lines(), Vec::<String>::new());
    let again = setup.apply(plan).await.unwrap();
    assert_eq!(again.client_secret.expose_secret(), done.client_secret.expose_secret());
    assert!(again.new_webhook_secret.is_none());
    let admin_events = realm.get("admin-events?max=1000").await.to_string();
    assert!(!admin_events.contains(key.expose_secret()), "the key is kept in an admin event");
    let attributes = realm.get("").await["attributes"].to_string();
    assert!(
        !attributes.contains(key.expose_secret()),
        "the key is kept in the realm, where its administrators read it"
    );

    let source = source(&realm, None, "usersync", &done.client_secret, 500);
    let info = source.identify().await.unwrap();
    assert!(info.identity.issuer.ends_with(&format!("/realms/{}", realm.name)));
    let found = source.diagnose(&BTreeSet::new(), &BTreeSet::new()).await;
    for (about, state) in [
        ("reached", NoteState::Ok),
        ("sign-in", NoteState::Ok),
        ("read users", NoteState::Note),
        ("read groups", NoteState::Note),
        ("read events", NoteState::Ok),
        ("admin events", NoteState::Ok),
        ("user events", NoteState::Ok),
        ("expiry", NoteState::Ok),
        ("clock", NoteState::Ok),
    ] {
        let note = found.notes.iter().find(|note| note.about == about);
        assert_eq!(note.map(|note| note.state), Some(state), "{about}: {:?}", found.notes);
    }

    let test = setup.test_event().await.unwrap();
    let events = realm.get("admin-events?max=1").await;
    assert_eq!(events[0]["resourcePath"], test.about.as_str());
    assert_eq!(format!("{} {}", text(&events[0]["operationType"]), text(&events[0]["resourceType"])), test.kind);

    let plan = setup.plan_removal().await.unwrap();
    setup.remove(&plan).await.unwrap();
    assert!(setup.plan_removal().await.unwrap().is_empty());
    let events_after: Value = realm.get("events/config").await;
    for name in ["eventsEnabled", "adminEventsEnabled", "adminEventsDetailsEnabled", "eventsListeners"] {
        assert_eq!(events_after[name], events_before[name], "{name}");
    }
    let types = |config: &Value| -> BTreeSet<String> {
        config["enabledEventTypes"].as_array().into_iter().flatten().map(|kind| text(kind).to_owned()).collect()
    };
    assert_eq!(types(&events_after), types(&events_before));
    assert!(!realm.get("").await.to_string().contains(ADDRESS_ATTRIBUTE));
    assert_eq!(source.identify().await.map(|_| ()), Ok(()), "a token that is still good is used");
    realm.remove().await;
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_client_of_master_reads_another_realm() {
    let Some(realm) = Realm::new("master").await else { return };
    let client = format!("usersync-{}", realm.name);
    let options = SetupOptions {
        client_realm: Some("master".into()),
        client_id: client.clone(),
        address: None,
        ..options(&realm)
    };
    let (setup, secret) = set_up(options).await;
    assert!(setup.plan().await.unwrap().is_empty(), "{:?}", setup.plan().await.unwrap().lines());
    let source = source(&realm, Some("master"), &client, &secret, 500);
    assert!(source.identify().await.unwrap().identity.issuer.ends_with("/realms/master"));
    assert_eq!(source.user_count().await, Ok(0));
    let found = source.diagnose(&BTreeSet::new(), &BTreeSet::new()).await;
    assert!(found.notes.iter().all(|note| note.state != NoteState::No), "{:?}", found.notes);
    assert_eq!(setup.test_event().await.unwrap().kind, "UPDATE REALM_ROLE");
    let plan = setup.plan_removal().await.unwrap();
    setup.remove(&plan).await.unwrap();
    realm.remove().await;
}

#[tokio::test]
async fn users_and_groups_are_read_page_by_page() {
    let Some(realm) = Realm::new("read").await else { return };
    let (_, secret) = set_up(options(&realm)).await;
    let alpha = realm.post("groups", &json!({"name": "Alpha"})).await;
    let below = realm.post(&format!("groups/{alpha}/children"), &json!({"name": "ALPHA"})).await;
    for n in 0..13 {
        realm.post(&format!("groups/{below}/children"), &json!({"name": format!("leaf{n:02}")})).await;
    }
    let odd = realm.post("groups", &json!({"name": "a/b %_ü"})).await;
    let mut users = Vec::new();
    for n in 0..7 {
        let user = json!({"username": format!("user{n}"), "enabled": n != 3, "firstName": "F", "lastName": "L",
            "email": format!("user{n}@example.org"), "groups": ["/Alpha/ALPHA"]});
        users.push(realm.post("users", &user).await);
    }
    realm.put(&format!("users/{}/groups/{odd}", users[0])).await;

    let source = source(&realm, None, "usersync", &secret, 2);
    assert_eq!(source.user_count().await, Ok(7));
    let walked = source.users(&|_, _| {}).await.unwrap();
    assert_eq!((walked.incomplete, walked.unreadable.len()), (None, 0));
    let read = walked.items;
    assert_eq!(read.iter().map(|user| user.id.to_string()).collect::<Vec<_>>(), users);
    assert!(!read.get(3).enabled && read.get(4).enabled);
    let one = source.user(&users[0].as_str().into()).await.unwrap().unwrap();
    assert_eq!((one.username.as_str(), one.first_name.as_deref()), ("user0", Some("F")));
    let mut paths: Vec<_> = one.groups.iter().map(|group| group.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths[0], "/Alpha/ALPHA");
    assert_eq!(
        one.groups.iter().find(|group| group.id.as_str() == odd).map(|group| group.name.as_str()),
        Some("a/b %_ü")
    );
    assert_eq!(source.is_alive(&users[0].as_str().into()).await, Ok(true));
    assert_eq!(source.is_alive(&users[3].as_str().into()).await, Ok(false));
    let some = source.some_users().await.unwrap();
    assert!(some.len() == 6 && !some.contains(&users[3].as_str().into()));

    let walked = source.groups().await.unwrap();
    assert_eq!((walked.items.len(), walked.incomplete), (16, None));
    let named = source.groups_named("alpha").await.unwrap();
    assert_eq!(named.iter().map(|g| g.path.as_str()).collect::<BTreeSet<_>>(), ["/Alpha", "/Alpha/ALPHA"].into());
    assert_eq!(source.groups_named("A/B %_Ü").await.unwrap().len(), 1);
    assert_eq!(source.groups_named("alp").await.unwrap(), []);
    let group = source.group(&below.as_str().into()).await.unwrap().unwrap();
    assert_eq!(group.path, "/Alpha/ALPHA");
    let members = source.members(&below.as_str().into()).await.unwrap().unwrap();
    assert_eq!((members.items.len(), members.incomplete), (7, None));

    let gone = "00000000-0000-4000-8000-000000000000";
    assert_eq!(source.user(&gone.into()).await, Ok(None));
    assert_eq!(source.group(&gone.into()).await, Ok(None));
    assert_eq!(source.members(&gone.into()).await, Ok(None));
    assert_eq!(source.is_alive(&gone.into()).await, Ok(false));
    assert!(
        source.user(&"..".into()).await.is_ok_and(|user| user.is_none()) || source.user(&"..".into()).await.is_err()
    );
    realm.remove().await;
}

#[tokio::test]
async fn stored_events_are_read_by_time_or_refused_with_a_reason() {
    let Some(realm) = Realm::new("polled").await else { return };
    let (_, secret) = set_up(options(&realm)).await;
    let source = source(&realm, None, "usersync", &secret, 500);
    let settings = source.event_settings().await.unwrap();
    assert!(settings.admin.stored && settings.user.stored && settings.details, "{settings:?}");
    assert!(settings.user.expiry.is_some(), "{settings:?}");
    let from = source.time().await.unwrap() - SignedDuration::from_mins(1);
    let mut made = BTreeSet::new();
    for n in 0..7 {
        let user = realm.post("users", &json!({"username": format!("user{n}"), "enabled": true})).await;
        made.insert(Subject::user(user.as_str()));
    }
    match source.stored_events(EventLog::Admin, from, Uses::default()).await {
        Ok(page) => {
            let found: BTreeSet<_> = page.events.iter().flat_map(|event| event.hints.clone()).collect();
            assert!(found.is_superset(&made), "{found:?}");
            let ids: BTreeSet<_> = page.events.iter().map(|event| event.id.as_str()).collect();
            assert_eq!((ids.len(), page.next), (page.events.len(), None), "each event has its own id");
            let stored = realm.get("admin-events?max=1000").await;
            assert!(stored.as_array().unwrap().iter().all(|event| ids.contains(text(&event["id"]))), "all are read");
            let user_events = source.stored_events(EventLog::User, from, Uses::default()).await.unwrap();
            assert_eq!(user_events.events, [], "a token request is not read");
        }
        // Before 26.2.
        Err(error) => {
            assert_eq!(error.class, ErrorClass::Permanent);
            assert!(error.text.contains("Update Keycloak to 26.2 or newer"), "{error}");
        }
    }
    realm.roles("usersync", "DELETE", &["view-events"]).await;
    let bare = self::source(&realm, None, "usersync", &secret, 500);
    let error = bare.event_settings().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Forbidden);
    assert!(error.text.contains("lacks the role view-events"), "{error}");
    realm.remove().await;
}

#[tokio::test]
async fn missing_permissions_are_reported_and_never_mistaken_for_an_empty_realm() {
    let Some(realm) = Realm::new("rights").await else { return };
    let (setup, secret) = set_up(options(&realm)).await;
    realm.post("users", &json!({"username": "anna", "enabled": true})).await;
    realm.post("groups", &json!({"name": "g"})).await;
    realm.roles("usersync", "DELETE", &["view-users", "view-events"]).await;
    let bare = source(&realm, None, "usersync", &secret, 500);
    let error = bare.users(&|_, _| {}).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Forbidden);
    assert!(error.text.contains("lacks the role view-users") && error.text.contains("realm-management"), "{error}");
    let found = bare.diagnose(&BTreeSet::new(), &BTreeSet::new()).await;
    assert!(found.notes.iter().any(|note| note.about == "read events" && note.text.contains("view-events is missing")));

    realm.roles("usersync", "POST", &["query-users", "query-groups", "manage-users"]).await;
    realm.roles("usersync", "DELETE", &["manage-users"]).await;
    let weak = source(&realm, None, "usersync", &secret, 500);
    let error = weak.users(&|_, _| {}).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Unconfirmed | ErrorClass::Forbidden), "{error:?}");
    match weak.groups().await {
        Ok(walked) => assert!(walked.incomplete.is_some(), "{walked:?}"),
        Err(error) => assert_eq!(error.class, ErrorClass::Forbidden),
    }
    assert_eq!(
        setup.plan().await.unwrap().lines()[0],
        "grant the service account of usersync: view-users, view-events"
    );
    realm.roles("usersync", "POST", &["view-users"]).await;
    let next = source(&realm, None, "usersync", &secret, 500);
    assert_eq!(
        next.users(&|_, _| {}).await.map(|walked| walked.items.len()),
        Ok(1),
        "a right counts from the next token on"
    );
    realm.remove().await;
}

#[tokio::test]
async fn a_rotated_secret_is_used_and_a_wrong_one_is_sent_once() {
    let Some(realm) = Realm::new("secret").await else { return };
    let (_, secret) = set_up(options(&realm)).await;
    let present = Arc::new(std::sync::Mutex::new(secret.expose_secret().to_owned()));
    let provider = {
        let present = present.clone();
        Arc::new(move || Ok(present.lock().unwrap().clone().into()))
    };
    let settings = KeycloakSettings::new(realm.url.parse().unwrap(), &realm.name, "usersync", provider);
    let source = KeycloakSource::new(settings).unwrap();
    *present.lock().unwrap() = "wrong".into();
    assert_eq!(source.user_count().await.unwrap_err().class, ErrorClass::Credentials);
    assert_eq!(source.user_count().await.unwrap_err().class, ErrorClass::Credentials);
    *present.lock().unwrap() = secret.expose_secret().to_owned();
    assert_eq!(source.user_count().await, Ok(0));
    realm.remove().await;
    let error = source.user_count().await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Unconfirmed | ErrorClass::Transient), "{error:?}");
    assert!(error.text.contains(&realm.name), "{error}");
}
