//! Tests of the Rust API of the simulated Keycloak: webhook, model events, federation faults, seeding.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use usersync_simulators::keycloak::{FederationState, NewUser, RealmHandle, Timing, UserChange, Webhook};
use usersync_simulators::{KeycloakOptions, SimulatedKeycloak};

/// Requests that a receiver got, and the statuses of its next answers.
#[derive(Clone, Default)]
struct Receiver {
    calls: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    async fn start() -> (Self, String) {
        let receiver = Self::default();
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hooks/acme", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, url)
    }

    fn calls(&self) -> Vec<(HeaderMap, Bytes)> {
        self.calls.lock().expect("no panic").clone()
    }

    /// Returns all events of all calls.
    fn events(&self) -> Vec<Value> {
        let body = |call: &(HeaderMap, Bytes)| serde_json::from_slice::<Value>(&call.1).expect("JSON");
        self.calls().iter().flat_map(|call| body(call)["events"].as_array().expect("a list").clone()).collect()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.calls.lock().expect("no panic").push((headers, body));
    let mut answers = receiver.answers.lock().expect("no panic");
    let status = if answers.is_empty() { 202 } else { answers.remove(0) };
    StatusCode::from_u16(status).expect("a status")
}

// One client for all tests, without a pool: each test has its own runtime.
static HTTP: LazyLock<reqwest::Client> =
    LazyLock::new(|| reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client"));

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn mac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any key");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

async fn realm() -> (SimulatedKeycloak, RealmHandle) {
    SimulatedKeycloak::start_with_realm().await.expect("a free port")
}

async fn token(keycloak: &SimulatedKeycloak) -> String {
    let form = [("grant_type", "client_credentials"), ("client_id", "usersync"), ("client_secret", "usersync-secret")];
    let url = format!("{}/realms/acme/protocol/openid-connect/token", keycloak.url());
    let answer: Value = HTTP.post(url).form(&form).send().await.expect("an answer").json().await.expect("JSON");
    answer["access_token"].as_str().expect("a token").to_owned()
}

async fn get(keycloak: &SimulatedKeycloak, token: &str, path: &str) -> (u16, Value) {
    let url = format!("{}/admin/realms/acme{path}", keycloak.url());
    let answer = HTTP.get(url).bearer_auth(token).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn the_own_listener_signs_batches_that_say_only_where_to_look() {
    let (_keycloak, realm) = realm().await;
    let (receiver, url) = Receiver::start().await;
    let second = STANDARD.encode(b"another secret of 24 byte");
    realm.set_webhook(Some(Webhook::listener(url, "first").and_secret(format!("whsec_{second}"))));
    let group = realm.create_group(None, "eng").await.expect("a group");
    let alice = realm.create_user(NewUser::named("alice").in_groups(&["/eng"])).await.expect("a user");
    realm.webhook_idle().await;
    let (headers, body) = receiver.calls().remove(0);
    let (id, at) = (header(&headers, "webhook-id"), header(&headers, "webhook-timestamp"));
    assert!(at.parse::<i64>().is_ok() && !id.contains('.'));
    let signed = [format!("{id}.{at}.").as_bytes(), &body].concat();
    let one = |secret: &[u8]| format!("v1,{}", STANDARD.encode(mac(secret, &signed)));
    let expected = format!("{} {}", one(b"first"), one(b"another secret of 24 byte"));
    assert_eq!(header(&headers, "webhook-signature"), expected);

    let events = receiver.events();
    let shown = |event: &Value| {
        let kind = event.get("operationType").or_else(|| event.get("type")).cloned();
        json!([
            event["kind"],
            kind,
            event["resourceType"],
            event["resourcePath"],
            event["resourceId"],
            event["userId"],
            event["username"]
        ])
    };
    let role = events[2]["resourceId"].clone();
    let expected = [
        json!(["model", "GroupCreatedEvent", "GROUP", format!("groups/{group}"), group, null, null]),
        json!(["admin", "CREATE", "GROUP", format!("groups/{group}"), group, null, null]),
        json!([
            "model",
            "RoleGrantedEvent",
            "REALM_ROLE_MAPPING",
            format!("users/{alice}/role-mappings/realm"),
            role,
            alice,
            "alice"
        ]),
        json!([
            "model",
            "GroupMemberJoinEvent",
            "GROUP_MEMBERSHIP",
            format!("users/{alice}/groups/{group}"),
            group,
            alice,
            "alice"
        ]),
        json!(["admin", "CREATE", "USER", format!("users/{alice}"), alice, alice, "alice"]),
    ];
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), expected);
    let stored = realm.admin_events();
    assert_eq!(events[1]["id"], stored[0]["id"], "push and pull tell of the same event by the same id");
    let fields: BTreeSet<&str> =
        events.iter().flat_map(|event| event.as_object().expect("an object").keys()).map(String::as_str).collect();
    let allowed = [
        "id",
        "kind",
        "operationType",
        "realmId",
        "realmName",
        "resourceId",
        "resourcePath",
        "resourceType",
        "time",
        "type",
        "userId",
        "username",
    ];
    assert_eq!(fields, BTreeSet::from(allowed));
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(!text.contains("example.org") && !text.contains("127.0.0.1"));
}

#[tokio::test]
async fn moves_and_deletions_name_what_they_are_about() {
    let (_keycloak, realm) = realm().await;
    let (receiver, url) = Receiver::start().await;
    let top = realm.create_group(None, "top").await.expect("a group");
    let sub = realm.create_group(Some(&top), "sub").await.expect("a group");
    let bob = realm.create_user(NewUser::named("bob").in_groups(&["/top/sub"])).await.expect("a user");
    realm.set_webhook(Some(Webhook::listener(url, "s")));
    realm.move_group(&sub, None).await.expect("moved");
    realm.rename_group(&sub, "renamed").await.expect("renamed");
    realm.move_group(&sub, Some(&top)).await.expect("moved");
    realm.delete_group(&top).await.expect("deleted");
    let new = realm.overwriting_import(&[NewUser::named("bob")]).await.expect("imported").remove(0);
    realm.delete_user(&new).await.expect("deleted");
    realm.webhook_idle().await;
    let events = receiver.events();
    let of = |kind: &str| -> Vec<Value> {
        let name = |event: &Value| event.get("type").or_else(|| event.get("operationType")).cloned();
        events
            .iter()
            .filter(|event| event["kind"] == kind)
            .map(|event| json!([name(event), event["resourcePath"], event["resourceId"]]))
            .collect()
    };
    let expected = [
        json!(["UPDATE", "groups", sub]),
        json!(["UPDATE", format!("groups/{sub}"), sub]),
        json!(["UPDATE", format!("groups/{top}/children"), sub]),
        json!(["DELETE", format!("groups/{top}"), top]),
        json!(["UPDATE", format!("users/{new}"), new]),
        json!(["DELETE", format!("users/{new}"), new]),
    ];
    assert_eq!(of("admin"), expected);
    let model: Vec<Value> = of("model").into_iter().map(|event| json!([event[0], event[2]])).collect();
    let role = model.iter().find(|event| event[0] == "RoleGrantedEvent");
    assert_eq!(role, None, "a partial import gives no default role");
    for expected in [
        json!(["GroupPathChangeEvent", sub]),
        json!(["GroupRemovedEvent", top]),
        json!(["GroupRemovedEvent", sub]),
        json!(["UserPreRemovedEvent", bob]),
        json!(["UserRemovedEvent", bob]),
        json!(["UserRemovedEvent", new]),
    ] {
        assert!(model.contains(&expected), "{expected} in {model:#?}");
    }
    assert!(realm.snapshot().groups.is_empty() && realm.snapshot().user("bob").is_none());
}

#[tokio::test]
async fn deliveries_are_tried_again_with_the_same_id() {
    let (_keycloak, realm) = realm().await;
    let (receiver, url) = Receiver::start().await;
    *receiver.answers.lock().expect("no panic") = vec![503, 429];
    let quick = vec![Duration::from_millis(1); 3];
    realm.set_webhook(Some(Webhook::listener(url.clone(), "s").retries(quick.clone())));
    realm.create_group(None, "a").await.expect("a group");
    realm.webhook_idle().await;
    let calls = receiver.calls();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| header(&call.0, "webhook-id") == header(&calls[0].0, "webhook-id")));
    let statuses: Vec<Option<u16>> = realm.deliveries().iter().map(|delivery| delivery.status).collect();
    assert_eq!(statuses, [Some(503), Some(429), Some(202)]);

    // Connection refused: the own listener retries, p2 gives up at once.
    realm.set_webhook(Some(Webhook::listener("http://127.0.0.1:9/", "s").retries(quick.clone())));
    realm.create_group(None, "b").await.expect("a group");
    realm.webhook_idle().await;
    assert_eq!(realm.deliveries().len(), 3 + 4);
    realm.set_webhook(Some(Webhook::p2("http://127.0.0.1:9/", "s").retries(quick)));
    realm.create_group(None, "c").await.expect("a group");
    realm.webhook_idle().await;
    assert_eq!(realm.deliveries().len(), 3 + 4 + 1);
}

#[tokio::test]
async fn p2_posts_one_event_a_call_signed_in_hex() {
    let (_keycloak, realm) = realm().await;
    let (receiver, url) = Receiver::start().await;
    realm.set_webhook(Some(Webhook::p2(url, "p2-secret")));
    let bob = realm.create_user(NewUser::named("bob")).await.expect("a user");
    let group = realm.create_group(None, "eng").await.expect("a group");
    realm.join(&bob, &group).await.expect("joined");
    realm.update_profile(&bob, UserChange::username("bobby")).await.expect("changed");
    realm.delete_user(&bob).await.expect("deleted");
    realm.webhook_idle().await;
    let calls = receiver.calls();
    let mut types = Vec::new();
    for (headers, body) in &calls {
        assert_eq!(header(headers, "x-keycloak-signature"), hex::encode(mac(b"p2-secret", body)));
        let event: Value = serde_json::from_slice(body).expect("JSON");
        assert!(event["uid"].is_string() && event["id"].is_string() && event["realmName"] == "acme");
        types.push(event["type"].as_str().unwrap_or_default().to_owned());
    }
    let expected = [
        "admin.USER-CREATE",
        "admin.GROUP-CREATE",
        "admin.GROUP_MEMBERSHIP-CREATE",
        "access.UPDATE_PROFILE",
        "admin.USER-DELETE",
    ];
    assert_eq!(types, expected);
    let first: Value = serde_json::from_slice(&calls[0].1).expect("JSON");
    assert_eq!(first["details"], json!({ "userId": bob, "username": "bob" }));
    assert!(first["representation"].is_string());
    let last: Value = serde_json::from_slice(&calls[4].1).expect("JSON");
    assert_eq!(last["details"], json!({ "userId": bob }), "no name after a deletion");
}

#[tokio::test]
async fn events_can_be_posted_before_the_commit() {
    let (keycloak, realm) = realm().await;
    let (receiver, url) = Receiver::start().await;
    let wait = Timing::PreCommit(Duration::from_hours(1));
    realm.set_webhook(Some(Webhook::listener(url, "s").timing(wait)));
    let token = token(&keycloak).await;
    let handle = realm.clone();
    let change = tokio::spawn(async move { handle.create_user(NewUser::named("early")).await });
    while receiver.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    let event = receiver.events().pop().expect("an event");
    let id = event["userId"].as_str().expect("an id");
    let (status, body) = get(&keycloak, &token, &format!("/users/{id}")).await;
    assert_eq!((status, body), (404, json!({ "error": "User not found" })), "told of, but not there yet");
    assert!(realm.admin_events().is_empty());
    change.abort();
    assert!(change.await.is_err());
    assert!(realm.snapshot().user("early").is_none(), "a phantom: the change was rolled back");

    realm.set_webhook(None);
    let (receiver, url) = Receiver::start().await;
    realm.set_webhook(Some(Webhook::listener(url, "s").timing(Timing::PreCommit(Duration::ZERO))));
    let late = realm.create_user(NewUser::named("late")).await.expect("a user");
    assert_eq!(get(&keycloak, &token, &format!("/users/{late}")).await.0, 200);
    assert_eq!(receiver.events().last().map(|event| event["userId"].clone()), Some(json!(late)));
}

#[tokio::test]
async fn events_can_be_lost_held_doubled_and_reordered() {
    let (_keycloak, realm) = realm().await;
    let (receiver, url) = Receiver::start().await;
    realm.set_webhook(Some(Webhook::listener(url, "s")));
    realm.switch_webhook(false);
    realm.create_group(None, "lost").await.expect("a group");
    realm.hold_webhook();
    realm.create_group(None, "one").await.expect("a group");
    realm.create_group(None, "two").await.expect("a group");
    realm.webhook_idle().await;
    assert!(receiver.calls().is_empty());
    let mut held = realm.take_held();
    assert_eq!(held.len(), 4);
    held.reverse();
    realm.post_events(held.clone()).await;
    realm.post_events(held.clone()).await;
    assert_eq!(receiver.events(), [held.clone(), held].concat());
    realm.switch_webhook(true);
    realm.create_group(None, "three").await.expect("a group");
    realm.webhook_idle().await;
    assert_eq!(receiver.events().len(), 10);
    assert_eq!(realm.admin_events().len(), 4, "stored all the same");
}

#[tokio::test]
async fn an_unreachable_directory_makes_its_people_look_gone() {
    let (keycloak, realm) = realm().await;
    let group = realm.import_group("/staff/all").expect("a group");
    let people = [NewUser::named("fed").federated("ldap-1"), NewUser::named("loc")];
    let people = people.map(|user| user.in_groups(&["/staff/all"]));
    let ids = realm.import_users(people).expect("seeded");
    let token = token(&keycloak).await;
    let seen = async |id: &str| {
        let (_, user) = get(&keycloak, &token, &format!("/users/{id}")).await;
        let (_, groups) = get(&keycloak, &token, &format!("/users/{id}/groups")).await;
        (user["enabled"] == true, groups.as_array().map_or(0, Vec::len))
    };
    let members = async || {
        let (status, list) = get(&keycloak, &token, &format!("/groups/{group}/members")).await;
        assert_eq!(status, 200);
        list.as_array().map_or(0, Vec::len)
    };
    assert_eq!((seen(&ids[0]).await, seen(&ids[1]).await, members().await), ((true, 1), (true, 1), 2));
    realm.set_federation("ldap-1", FederationState::Unreachable);
    assert_eq!((seen(&ids[0]).await, seen(&ids[1]).await, members().await), ((false, 0), (true, 1), 1));
    assert_eq!(get(&keycloak, &token, "/users/count").await.1, 2, "the count stays right");
    assert_eq!(get(&keycloak, &token, "/users").await.1[0]["enabled"], false);
    assert!(realm.snapshot().user("fed").is_some_and(|fed| fed.enabled && fed.groups.len() == 1));
    realm.set_federation("ldap-1", FederationState::Available);
    assert_eq!((seen(&ids[0]).await, members().await), ((true, 1), 2));
}

#[tokio::test]
async fn seeds_and_quiet_changes_leave_no_events() {
    let (keycloak, realm) = realm().await;
    let (receiver, url) = Receiver::start().await;
    realm.set_webhook(Some(Webhook::listener(url, "s")));
    let users = (0..500).map(|n| NewUser::named(format!("u{n:03}")).in_groups(&["/a/b", "/c"]));
    let ids = realm.import_users(users).expect("seeded");
    realm.change_without_event(&ids[0], &UserChange::enabled(false)).expect("changed");
    realm.delete_user_without_event(&ids[1]).expect("gone");
    let group = realm.snapshot().group("/c").expect("a group").id.clone();
    realm.set_member_without_event(&ids[2], &group, false).expect("left");
    realm.webhook_idle().await;
    assert!(receiver.calls().is_empty() && realm.admin_events().is_empty());
    let snapshot = realm.snapshot();
    assert_eq!((snapshot.users.len(), snapshot.groups.len()), (500, 3), "499 people and the service account");
    assert!(snapshot.user("u000").is_some_and(|user| !user.enabled));
    assert_eq!(snapshot.group("/a/b").map(|group| group.members.len()), Some(499));
    assert_eq!(snapshot.group("/c").map(|group| group.members.len()), Some(498));
    // A federation import emits only a model event.
    let brought = realm.federation_import(vec![NewUser::named("ldap-user").federated("ldap-1")]).await.expect("in");
    realm.webhook_idle().await;
    let events = receiver.events();
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["type"], &events[0]["userId"]), (&json!("RoleGrantedEvent"), &json!(brought[0])));
    assert!(realm.admin_events().is_empty());
    let registered = realm.register(NewUser::named("selma")).await.expect("registered");
    let events = realm.user_events();
    let last = events.iter().find(|event| event["type"] == "REGISTER").expect("the event");
    assert_eq!((&last["userId"], &last["details"]["username"]), (&json!(registered), &json!("selma")));
    drop(keycloak);
}

#[tokio::test]
async fn a_prefix_gone_realms_and_revoked_tokens() {
    let options = KeycloakOptions { prefix: "/auth".into(), ..KeycloakOptions::default() };
    let keycloak = SimulatedKeycloak::start(options).await.expect("a free port");
    let realm = keycloak.add_realm("acme");
    realm.add_service_client("usersync", "usersync-secret", &["view-users"]);
    assert!(keycloak.url().ends_with("/auth"));
    let first = token(&keycloak).await;
    assert_eq!(get(&keycloak, &first, "/users").await.0, 200);
    realm.set_client_roles("usersync", &["query-users"]);
    assert_eq!(get(&keycloak, &first, "/admin-events").await.0, 403);
    assert_eq!(get(&keycloak, &first, "/groups").await.0, 200, "a token keeps the rights that it was given");
    let second = token(&keycloak).await;
    assert_eq!(get(&keycloak, &second, "/groups").await.0, 403);
    keycloak.revoke_tokens();
    assert_eq!(get(&keycloak, &second, "/users").await.0, 401);
    let third = token(&keycloak).await;
    realm.set_realm_gone(true);
    assert_eq!(get(&keycloak, &third, "/users").await.0, 401);
    realm.set_realm_gone(false);
    assert_eq!(get(&keycloak, &third, "/users").await.0, 200);
    let outside = keycloak.url().replace("/auth", "/realms/acme");
    assert_eq!(HTTP.get(outside).send().await.expect("an answer").status().as_u16(), 404);
}

#[test]
fn the_simulated_listener_posts_the_types_of_user_events_that_the_real_one_posts() {
    let file = "../../keycloak-spi-notes/event-listener/src/main/java/io/usersync/keycloak/UserEvents.java";
    let source =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("readable");
    let list = source.split("TYPES = Set.of(").nth(1).and_then(|rest| rest.split(')').next()).expect("the list");
    let listed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(listed, usersync_simulators::keycloak::LISTENER_USER_EVENTS);
}
