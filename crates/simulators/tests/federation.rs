//! Tests of the federations of the simulated Keycloak, against what a real one answered in each state.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usersync_simulators::SimulatedKeycloak;
use usersync_simulators::keycloak::{FederationState, GroupMapper, NewUser, RealmHandle, UserChange, Webhook};

// One client for all tests, without a pool: each test has its own runtime.
static HTTP: LazyLock<reqwest::Client> =
    LazyLock::new(|| reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client"));

const COMPONENT: &str = "t27htMMISEqxCx_XYScyAA";
const UNREACHABLE: FederationState = FederationState::Unreachable;

/// A realm with a federation, and a reader with `view-users`.
struct World {
    keycloak: SimulatedKeycloak,
    realm: RealmHandle,
    token: String,
}

impl World {
    async fn new() -> Self {
        let (keycloak, realm) = SimulatedKeycloak::start_with_realm().await.expect("a free port");
        let form =
            [("grant_type", "client_credentials"), ("client_id", "usersync"), ("client_secret", "usersync-secret")];
        let url = format!("{}/realms/acme/protocol/openid-connect/token", keycloak.url());
        let answer: Value = HTTP.post(url).form(&form).send().await.expect("an answer").json().await.expect("a token");
        let token = answer["access_token"].as_str().expect("a token").to_owned();
        Self { keycloak, realm, token }
    }

    /// Returns a world with these users of a federation, one local user, and groups that all of them are in.
    async fn with(imported: bool, logins: &[&str]) -> Self {
        let world = Self::new().await;
        let user = |login: &str| NewUser::named(login).in_groups(&["/staff"]);
        let users = logins.iter().map(|login| link(user(login), imported));
        world.realm.import_users(users.chain([user("local1")])).expect("seeded");
        world
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let url = format!("{}/admin/realms/acme/{path}", self.keycloak.url());
        let answer = HTTP.get(url).bearer_auth(&self.token).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, text) = self.text(path).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}")))
    }

    async fn status(&self, path: &str) -> u16 {
        self.text(path).await.0
    }

    /// Returns the logins that a listing returns, those that look disabled with a mark.
    async fn listed(&self, path: &str) -> Vec<String> {
        let (status, list) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {list}");
        let shown = |user: &Value| {
            let mark = if user["enabled"] == true { "" } else { "!" };
            format!("{mark}{}", user["username"].as_str().unwrap_or_default())
        };
        list.as_array().expect("a list").iter().map(shown).collect()
    }

    fn id(&self, login: &str) -> String {
        self.realm.snapshot().user(login).unwrap_or_else(|| panic!("no {login}")).id.clone()
    }

    fn probe(login: &str) -> String {
        format!("users/f%3A{COMPONENT}%3A{login}")
    }
}

fn link(user: NewUser, imported: bool) -> NewUser {
    if imported { user.federated(COMPONENT) } else { user.not_imported(COMPONENT) }
}

fn encoded(id: &str) -> String {
    id.replace(':', "%3A")
}

/// Returns the realm that the captures show, in the state that one of them has.
async fn captured_world(imported: bool, state: &str, warm: bool) -> (World, String) {
    let world = World::new().await;
    let user = |n: usize| {
        let groups: &[&str] = match n {
            5 => &["/g5", "/g0"],
            n if n % 10 == 5 => &["/g5"],
            _ => &[],
        };
        let mut user = link(NewUser::named(format!("u{n:03}")).in_groups(groups), imported);
        user.first_name = Some(format!("First{n} Last{n}"));
        user.last_name = Some(format!("Last{n}"));
        user.email_verified = true;
        user
    };
    let mut local = NewUser::named("local1");
    (local.first_name, local.last_name) = (Some("Lo".into()), Some("Cal".into()));
    world.realm.import_users((0..200).map(user).chain([local])).expect("seeded");
    let id = encoded(&world.id("u005"));
    world.realm.set_user_cache(warm);
    if warm {
        for path in [format!("users/{id}"), format!("users/{id}/groups"), "users?max=500".to_owned()] {
            assert_eq!(world.status(&path).await, 200);
        }
    }
    match state {
        "LDAP answers" => {}
        "LDAP stopped (connection refused)" => world.realm.set_federation(COMPONENT, UNREACHABLE),
        "bind password wrong" => world.realm.set_federation(COMPONENT, FederationState::Misconfigured),
        "component enabled=false" => world.realm.set_federation(COMPONENT, FederationState::Disabled),
        "component removed" => world.realm.set_federation(COMPONENT, FederationState::Removed),
        "usersDn is an empty branch (after one listing)" => {
            world.realm.set_federation(COMPONENT, FederationState::Empty);
            assert_eq!(world.listed("users?max=500").await, ["local1"]);
        }
        "usersDn is an empty branch, removeInvalidUsersEnabled=false" => {
            world.realm.set_removes_invalid_users(COMPONENT, false).expect("set");
            world.realm.set_federation(COMPONENT, FederationState::Empty);
        }
        other => panic!("an unknown state: {other}"),
    }
    (world, id)
}

/// Replaces the ids of a captured request by those of the simulator.
fn translated(request: &str, user: &str, group: &str) -> String {
    let path = request.strip_prefix("GET ").expect("a read");
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.split('/').collect();
    let of = |at: usize| parts.get(at).copied().unwrap_or_default();
    let id = match (of(0), of(1)) {
        ("users", "count" | "") => of(1).to_owned(),
        ("users", id) if id.ends_with("no-such-login") => format!("f%3A{COMPONENT}%3Ano-such-login"),
        ("users", _) => user.to_owned(),
        ("groups", _) => group.to_owned(),
        ("user-storage", _) => COMPONENT.to_owned(),
        other => panic!("{other:?}"),
    };
    let rest = parts.get(2..).unwrap_or_default().join("/");
    let rest = if rest.is_empty() { rest } else { format!("/{rest}") };
    let id = if id.is_empty() { id } else { format!("/{id}") };
    format!("{}{id}{rest}{}", of(0), if query.is_empty() { String::new() } else { format!("?{query}") })
}

/// Fields with values of their own in each realm.
const RANDOM: [&str; 5] = ["id", "origin", "federationLink", "createdTimestamp", "attributes"];
/// Fields that the capture leaves out.
const LEFT_OUT: [&str; 5] = ["totp", "disableableCredentialTypes", "requiredActions", "notBefore", "access"];

/// Compares an object with a captured one: the same fields, and the same values where they are not random.
fn compare(at: &str, real: &Value, ours: &Value) {
    let (Some(wanted), Some(found)) = (real.as_object(), ours.as_object()) else {
        assert_eq!(real, ours, "{at}");
        return;
    };
    for (name, value) in wanted {
        let other = found.get(name).unwrap_or_else(|| panic!("{at}: no {name} in {ours}"));
        if !RANDOM.contains(&name.as_str()) {
            assert_eq!(value, other, "{at}: {name}");
        }
    }
    for name in found.keys().filter(|name| !LEFT_OUT.contains(&name.as_str())) {
        assert!(wanted.contains_key(name), "{at}: {name} is not in the capture: {ours}");
    }
    if wanted.contains_key("attributes") {
        for name in ["LDAP_ID", "LDAP_ENTRY_DN"] {
            assert_eq!(ours["attributes"][name].as_array().map(Vec::len), Some(1), "{at}: {name}");
        }
    }
}

#[tokio::test]
async fn each_state_of_a_federation_answers_as_captured() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures/federation/keycloak-26.7.5.json");
    let capture: Value = serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
    let states = capture["states"].as_array().expect("states");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut compared = 0;
    for captured in states {
        let (imported, state) = (captured["federation"] == "importEnabled=true", text(&captured["state"]));
        let (world, user) = captured_world(imported, &state, captured["cache"] == "warm").await;
        let group = world.realm.snapshot().group("/g5").expect("g5").id.clone();
        for answer in captured["answers"].as_array().expect("answers") {
            let request = text(&answer["request"]);
            let at = format!("imported: {imported}, {state}, {}: {request}", captured["cache"]);
            let (status, body) = world.text(&translated(&request, &user, &group)).await;
            assert_eq!(json!(status), answer["status"], "{at}: {body}");
            let real = &answer["answer"];
            compared += 1;
            if real["not_json"] == true {
                let error = r#"{"error":"unknown_error","error_description":"Cannot parse the JSON"}"#;
                assert!(body.ends_with(error) && serde_json::from_str::<Value>(&body).is_err(), "{at}");
                // The real one sends pieces of 8,191 bytes as well.
                let length = real["length"].as_u64().and_then(|length| usize::try_from(length).ok()).expect("a length");
                assert_eq!((length - error.len()) % 8191, (body.len() - error.len()) % 8191, "{at}");
                continue;
            }
            let ours: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{at}: {body}"));
            let Some(of) = real["of"].as_u64() else {
                compare(&at, real, &ours);
                continue;
            };
            let list = ours.as_array().unwrap_or_else(|| panic!("{at}: {body}"));
            assert_eq!(list.len() as u64, of, "{at}");
            if of > 0 {
                let name = if real["one"]["username"].is_null() { "name" } else { "username" };
                let one = list.iter().find(|one| one[name] == real["one"][name]);
                compare(&at, &real["one"], one.unwrap_or_else(|| panic!("{at}: {body}")));
            }
        }
    }
    assert_eq!((states.len(), compared), (15, 150));
}

#[tokio::test]
async fn a_read_deletes_imported_users_that_ldap_does_not_have() {
    let w = World::with(true, &["amy", "bea", "cleo", "dora"]).await;
    w.realm.set_webhook(Some(Webhook::listener("http://127.0.0.1:9/".to_owned(), "s")));
    w.realm.hold_webhook();
    let (amy, bea) = (w.id("amy"), w.id("bea"));
    w.realm.set_federation(COMPONENT, FederationState::Empty);
    assert_eq!(w.get(&format!("users/{amy}")).await.0, 404);
    assert!(w.realm.snapshot().user("amy").is_none() && w.realm.snapshot().user("bea").is_some());
    assert_eq!(w.get("users/count").await.1, 4);
    // A page is read and then cut: who comes after it stays for now.
    assert_eq!(w.listed("users?max=2").await, Vec::<String>::new());
    assert_eq!(w.listed("users?max=2").await, ["local1"]);
    assert_eq!(w.get("users/count").await.1, 1);
    w.realm.webhook_idle().await;
    let kinds: Vec<String> =
        w.realm.take_held().iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "UserRemovedEvent").count(), 4, "{kinds:?}");
    assert!(!kinds.iter().any(|kind| kind == "UserPreRemovedEvent"));
    let stored = w.realm.admin_events();
    assert_eq!((stored.len(), stored[0]["resourceType"].as_str()), (1, Some("COMPONENT")), "no event tells of them");
    // The same users, with new ids.
    w.realm.set_federation(COMPONENT, FederationState::Available);
    assert_eq!(w.listed("users").await, ["local1", "amy", "bea", "cleo", "dora"]);
    assert_eq!(w.listed("users").await, ["amy", "bea", "cleo", "dora", "local1"]);
    assert_ne!(w.id("bea"), bea);
    assert_eq!(w.get(&format!("users/{}/groups", w.id("bea"))).await.1.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_user_deleted_in_ldap_is_gone_when_it_is_read() {
    for imported in [true, false] {
        let w = World::with(imported, &["amy", "bea"]).await;
        w.realm.set_user_cache(true);
        let amy = encoded(&w.id("amy"));
        assert_eq!(w.status(&format!("users/{amy}")).await, 200);
        w.realm.remove_from_ldap(&w.id("amy")).expect("removed");
        w.realm.sync_federation(COMPONENT).expect("a sync deletes nobody");
        assert!(w.realm.snapshot().user("amy").is_some());
        assert_eq!(w.status(&format!("users/{amy}")).await, 200, "cached");
        if imported {
            assert_eq!(w.status(&World::probe("amy")).await, 404, "the probe is not cached");
            assert!(w.realm.snapshot().user("amy").is_some(), "and deletes nobody");
        }
        w.realm.clear_user_cache();
        assert_eq!(w.status(&format!("users/{amy}")).await, 404);
        assert_eq!(w.realm.snapshot().user("amy").is_none(), imported);
        assert_eq!(w.status(&World::probe("bea")).await, 200);
        assert_eq!(w.listed("users").await.len(), 2, "bea and local1");
    }
}

#[tokio::test]
async fn users_are_found_by_the_id_that_names_their_login() {
    for imported in [true, false] {
        let w = World::with(imported, &["amy"]).await;
        w.realm.add_to_ldap([link(NewUser::named("bea"), imported)]).expect("added");
        for login in ["amy", "AMY", "amy%20"] {
            let (status, user) = w.get(&World::probe(login)).await;
            assert_eq!((status, user["id"].as_str()), (200, Some(&*w.id("amy"))), "{login}");
        }
        assert_eq!(w.realm.snapshot().user("bea").is_some(), !imported);
        let (status, bea) = w.get(&World::probe("bea")).await;
        assert_eq!((status, bea["username"].as_str()), (200, Some("bea")), "imported if need be");
        assert_eq!(bea["id"].as_str(), Some(&*w.id("bea")));
        assert_eq!(w.get(&World::probe("local1")).await, (404, json!({"error": "User not found"})));
        w.realm.set_federation(COMPONENT, UNREACHABLE);
        assert_eq!(w.status(&World::probe("amy")).await, 500);
        assert_eq!(w.status("users/f%3Aother%3Aamy").await, 404, "no such component");
    }
}

#[tokio::test]
async fn a_listing_filters_by_what_is_stored() {
    let w = World::with(true, &["amy", "bea"]).await;
    w.realm.change_without_event(&w.id("bea"), &UserChange::enabled(false)).expect("disabled");
    let exact =
        async |login: &str, on: bool| w.listed(&format!("users?username={login}&exact=true&enabled={on}")).await;
    for state in [FederationState::Available, UNREACHABLE, FederationState::Disabled] {
        w.realm.set_federation(COMPONENT, state);
        let mark = if state == FederationState::Available { "amy" } else { "!amy" };
        assert_eq!((exact("amy", true).await, exact("amy", false).await), (vec![mark.to_owned()], vec![]));
        assert_eq!((exact("bea", true).await, exact("bea", false).await), (vec![], vec!["!bea".to_owned()]));
        assert_eq!(w.get("users/count?enabled=false").await.1, 1);
    }
}

#[tokio::test]
async fn many_users_by_id_answer_as_each_of_them() {
    for imported in [true, false] {
        let w = World::with(imported, &["amy", "bea"]).await;
        let search = format!("users?search=id:{}%20{}%20no-one", encoded(&w.id("amy")), w.id("local1"));
        assert_eq!(w.listed(&search).await, ["amy", "local1"]);
        w.realm.set_federation(COMPONENT, UNREACHABLE);
        if imported {
            assert_eq!(w.listed(&search).await, ["!amy", "local1"]);
        } else {
            assert_eq!(w.status(&search).await, 400, "the whole request");
        }
        w.realm.set_federation(COMPONENT, FederationState::Empty);
        assert_eq!(w.listed(&search).await, ["local1"]);
        assert_eq!(w.realm.snapshot().user("amy").is_none(), imported);
    }
}

#[tokio::test]
async fn a_page_within_the_stored_users_hides_a_wrong_setting() {
    let w = World::with(true, &["amy", "bea"]).await;
    w.realm.set_federation(COMPONENT, FederationState::Misconfigured);
    assert_eq!(w.listed("users?max=3").await, ["!amy", "!bea", "local1"]);
    assert_eq!(w.status("users?max=4").await, 400);
    assert_eq!(w.status(&World::probe("amy")).await, 500);
    // Without pages nothing but the probe fails.
    for (imported, listed) in [(true, vec!["!amy", "local1"]), (false, vec!["local1"])] {
        let w = World::with(imported, &["amy"]).await;
        w.realm.set_federation(COMPONENT, FederationState::MisconfiguredUnpaged);
        assert_eq!(
            (w.listed("users").await, w.status(&World::probe("nobody")).await),
            (listed.into_iter().map(str::to_owned).collect(), 500)
        );
    }
}

#[tokio::test]
async fn the_brief_form_tells_where_a_user_is_in_ldap() {
    let w = World::new().await;
    w.realm.import_users([NewUser::named("amy").attribute("dept", "x").federated(COMPONENT)]).expect("seeded");
    let (_, list) = w.get("users?briefRepresentation=true").await;
    let names: Vec<&str> = list[0]["attributes"].as_object().expect("attributes").keys().map(String::as_str).collect();
    assert_eq!((names, &list[0]["origin"]), (vec!["LDAP_ENTRY_DN", "LDAP_ID"], &json!(COMPONENT)));
}

#[tokio::test]
async fn a_misdirected_group_mapper_hides_groups_or_fails() {
    for imported in [true, false] {
        let w = World::with(imported, &["amy"]).await;
        let (groups, count) = (
            format!("users/{}/groups", encoded(&w.id("amy"))),
            format!("users/{}/groups/count", encoded(&w.id("amy"))),
        );
        let members = format!("groups/{}/members", w.realm.snapshot().group("/staff").expect("staff").id);
        w.realm.set_group_mapper(COMPONENT, GroupMapper::Empty).expect("set");
        assert_eq!((w.get(&groups).await, w.get(&count).await.1), ((200, json!([])), json!({"count": 0})));
        assert_eq!(w.listed(&members).await, ["local1"]);
        w.realm.set_group_mapper(COMPONENT, GroupMapper::Missing).expect("set");
        assert_eq!((w.status(&groups).await, w.listed(&members).await), (500, vec!["local1".to_owned()]));
        assert_eq!((w.status(&World::probe("nobody")).await, w.listed("users").await.len()), (404, 2));
        w.realm.set_group_mapper(COMPONENT, GroupMapper::Stored).expect("set");
        w.realm.set_federation(COMPONENT, UNREACHABLE);
        if imported {
            assert_eq!(w.listed(&members).await, ["!amy", "local1"], "what is stored stays");
            assert_eq!(w.get(&groups).await.1.as_array().map(Vec::len), Some(1));
        } else {
            assert_eq!((w.listed(&members).await, w.status(&groups).await), (vec!["local1".to_owned()], 500));
        }
    }
}

#[tokio::test]
async fn changes_in_ldap_arrive_at_a_sync_or_at_the_next_read() {
    let w = World::with(true, &["amy"]).await;
    let amy = w.id("amy");
    let email = async |id: &str| w.get(&format!("users/{}", encoded(id))).await.1["email"].clone();
    w.realm.change_in_ldap(&amy, &UserChange::email("new@example.org")).expect("changed");
    assert_eq!(w.realm.rename_in_ldap(&amy, "amy2").expect("renamed"), amy);
    assert_eq!(email(&amy).await, "amy@example.org");
    w.realm.sync_federation(COMPONENT).expect("a sync");
    assert_eq!(
        (email(&amy).await, w.listed("users").await),
        (json!("new@example.org"), vec!["amy2".to_owned(), "local1".into()])
    );

    let w = World::with(false, &["amy"]).await;
    w.realm.set_user_cache(true);
    let email = async |id: &str| w.get(&format!("users/{}", encoded(id))).await.1["email"].clone();
    let (amy, before) = (w.id("amy"), w.get(&format!("users/{}", encoded(&w.id("amy")))).await.1);
    w.realm.change_in_ldap(&amy, &UserChange::email("new@example.org")).expect("changed");
    assert_eq!(email(&amy).await, "amy@example.org", "cached");
    w.realm.clear_user_cache();
    assert_eq!(email(&amy).await, "new@example.org");
    let renamed = w.realm.rename_in_ldap(&amy, "amy2").expect("renamed");
    assert_eq!((w.status(&format!("users/{}", encoded(&amy))).await, renamed.ends_with(":amy2")), (200, true));
    w.realm.clear_user_cache();
    assert_eq!(w.status(&format!("users/{}", encoded(&amy))).await, 404);
    let after = w.get(&format!("users/{}", encoded(&renamed))).await.1;
    assert_eq!(after["attributes"]["LDAP_ID"], before["attributes"]["LDAP_ID"]);
}

#[tokio::test]
async fn a_first_listing_imports_and_pages_miss_nobody() {
    let w = World::with(true, &["mia"]).await;
    let logins: Vec<String> = (0..25).map(|n| format!("u{n:02}")).chain((0..25).map(|n| format!("a{n:02}"))).collect();
    w.realm.add_to_ldap(logins.iter().map(|login| link(NewUser::named(login.as_str()), true))).expect("added");
    assert_eq!(w.get("users/count").await.1, 2);
    let mut seen = Vec::new();
    for first in (0..).step_by(10) {
        let page = w.listed(&format!("users?first={first}&max=10")).await;
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert!(logins.iter().all(|login| seen.contains(login)), "{seen:?}");
    assert_eq!(w.get("users/count").await.1, 52);
}

#[tokio::test]
async fn unlinked_and_removed_users_leave_no_events() {
    let w = World::with(true, &["amy", "bea"]).await;
    let amy = w.id("amy");
    w.realm.remove_imported_users(COMPONENT).expect("removed");
    assert_eq!(w.get("users/count").await.1, 1);
    assert_eq!(w.listed("users").await.len(), 3);
    assert_ne!(w.id("amy"), amy);
    let amy = w.id("amy");
    w.realm.unlink_users(COMPONENT).expect("unlinked");
    let (_, user) = w.get(&format!("users/{amy}")).await;
    assert_eq!((&user["enabled"], user.get("federationLink")), (&json!(true), None));
    assert_eq!(w.get(&format!("users/{amy}/groups")).await.1, json!([]));
    assert!(w.realm.admin_events().is_empty());
    // An administrator's deletion brings an imported user back, and does not delete another one.
    for imported in [true, false] {
        let w = World::with(imported, &["cleo"]).await;
        let before = w.id("cleo");
        w.realm.delete_user(&before).await.expect("204");
        assert_eq!(w.listed("users").await.len(), 2);
        assert_eq!(w.id("cleo") == before, !imported);
    }
}

#[tokio::test]
async fn a_frozen_server_takes_its_time_for_each_question() {
    let time = Duration::from_millis(40);
    for (imported, path, questions) in [
        (true, World::probe("nobody"), 1),
        (false, World::probe("nobody"), 1),
        (true, "users?max=100".to_owned(), 7),
        (false, "users?max=100".to_owned(), 1),
        (true, "users?username=amy&exact=true&enabled=true".to_owned(), 3),
        (true, "users/count".to_owned(), 0),
        (true, "users?username=amy&exact=true&enabled=false".to_owned(), 0),
    ] {
        let w = World::with(imported, &["amy", "bea", "cleo"]).await;
        w.realm.set_federation(COMPONENT, FederationState::Frozen(time));
        let began = Instant::now();
        let _ = w.text(&path).await;
        assert!(began.elapsed() >= time * questions, "{path}: {:?}", began.elapsed());
        assert!(began.elapsed() < time * questions + Duration::from_secs(2), "{path}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_removed_component_takes_its_users_along() {
    for imported in [true, false] {
        let w = World::with(imported, &["amy"]).await;
        w.realm.set_federation(COMPONENT, FederationState::Removed);
        assert_eq!(w.listed("users").await, ["local1"]);
        assert_eq!(
            w.get(&format!("user-storage/{COMPONENT}/name")).await,
            (404, json!({"error": "Could not find component"}))
        );
        let events = w.realm.admin_events();
        assert_eq!(
            (&events[0]["operationType"], &events[0]["resourcePath"]),
            (&json!("DELETE"), &json!(format!("components/{COMPONENT}")))
        );
        assert_eq!(events.len(), 1);
    }
}
