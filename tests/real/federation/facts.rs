//! The states of a federation, and what the requests answer that a reader of the realm makes.

use std::time::{Duration, Instant};

use serde_json::Value;
use usersync_simulators::keycloak::{FederationState, GroupMapper};

use crate::support::federated::{Federated, QUESTION_LIMIT, USERS, login};
use crate::support::keycloak::Keycloak;

/// The state; whether Keycloak has cached the users; what it answers where users are imported, and where they are not.
///
/// An answer: the user by id (`+` enabled, `-` disabled); how many groups it has; how many users of the listing are
/// enabled, of all; how many users a search for it as disabled finds; the status of the probe; the status of the
/// component's name; the members of its group. A failed request shows its status.
type Row = (FederationState, bool, &'static str, &'static str);

const STATES: [Row; 8] = [
    (FederationState::Available, false, "200+ 2 21/21 0 404 200 20", "200+ 2 21/21 0 404 200 20"),
    (FederationState::Available, true, "200+ 2 21/21 0 404 200 20", "200+ 2 21/21 0 404 200 20"),
    (FederationState::Unreachable, true, "200+ 2 21/21 0 500 200 0", "200+ 2 1/1 0 500 200 0"),
    (FederationState::Unreachable, false, "200- 0 1/21 0 500 200 0", "500 500 1/1 0 500 200 0"),
    (FederationState::Misconfigured, true, "200- 0 broken 0 500 200 0", "500 500 broken 0 500 200 0"),
    (FederationState::Misconfigured, false, "200- 0 broken 0 500 200 0", "500 500 broken 0 500 200 0"),
    (FederationState::MisconfiguredUnpaged, false, "200- 0 1/21 0 500 200 0", "500 500 1/1 0 500 200 0"),
    (FederationState::Disabled, true, "200- 0 1/21 0 404 200 0", "404 404 1/1 0 404 200 0"),
];

/// Goes through all states on one realm. Keycloak 26.0 (`old`) fails where later versions show a part of the users.
pub async fn run(keycloak: Keycloak, imported: bool, old: bool) {
    let mut realm = Federated::new(keycloak, imported).await;
    first_listing(&realm).await;
    let mut differences = Vec::new();
    for (state, warm, with_import, without) in STATES {
        let path = warm_up(&realm).await;
        realm.set(state).await;
        if !warm {
            realm.clear_cache().await;
        }
        let expected = match (old && state.fails(), imported) {
            (true, _) if warm && state == FederationState::Unreachable => "200+ 2 broken 0 500 200 400",
            (true, _) => "500 500 broken 0 500 200 400",
            (false, true) => with_import,
            (false, false) => without,
        };
        let observed = observed(&realm, &path, "u02").await;
        if observed != expected {
            differences.push(format!("{state:?}, cached: {warm}: {observed}, not {expected}"));
        }
        realm.set(FederationState::Available).await;
    }
    assert!(differences.is_empty(), "imported: {imported}: {differences:#?}");
    probes(&realm).await;
    frozen(&mut realm).await;
    stored_disabled(&mut realm, old).await;
    groups(&realm, old).await;
    changes_in_ldap(&realm).await;
    wrong_base(&mut realm, old).await;
    if imported {
        unlinked(&realm).await;
    }
    realm.set(FederationState::Removed).await;
    let answers = observed(&realm, &realm.probe("u04"), "u04").await;
    let left = if imported { "404 404 19/19 0 404 404 0" } else { "404 404 1/1 0 404 404 0" };
    // Users that are unlinked are local ones now; one of them was linked again.
    assert_eq!(answers, left, "imported: {imported}, removed");
    realm.leave().await;
}

/// The first listing imports the users, if they are imported at all.
async fn first_listing(realm: &Federated) {
    let count = async || realm.get("/users/count").await.json();
    assert_eq!(count().await, 1);
    assert_eq!(listed(realm).await, format!("{0}/{0}", USERS + 1));
    assert_eq!(count().await, if realm.imported { USERS + 1 } else { 1 });
    let found = realm.get("/users?username=u04&exact=true").await.json();
    let user = &found[0];
    for link in ["origin", "federationLink"] {
        assert_eq!(user[link], realm.component.as_str(), "{link}: {user}");
    }
    assert!(
        user["attributes"]["LDAP_ID"][0].is_string() && user["attributes"]["LDAP_ENTRY_DN"][0].is_string(),
        "{user}"
    );
}

/// Reads everything twice, so that Keycloak has cached it; returns the path of the user that is observed.
async fn warm_up(realm: &Federated) -> String {
    let path = format!("/users/{}", realm.id("u02").await);
    for _ in 0..2 {
        observed(realm, &path, "u02").await;
    }
    path
}

/// Returns what the requests answer for one user.
async fn observed(realm: &Federated, path: &str, login: &str) -> String {
    let user = realm.get(path).await;
    let seen = match user.status {
        200 => format!("200{}", if user.json()["enabled"] == true { "+" } else { "-" }),
        status => status.to_string(),
    };
    let groups = length(realm, &format!("{path}/groups")).await;
    let listed = listed(realm).await;
    let disabled = length(realm, &format!("/users?username={login}&exact=true&enabled=false")).await;
    let probe = realm.get(&realm.probe("nobody")).await.status;
    let name = realm.get(&format!("/user-storage/{}/name", realm.component)).await.status;
    let members = members(realm, "all").await;
    format!("{seen} {groups} {listed} {disabled} {probe} {name} {members}")
}

/// Returns the length of a list, or the status.
async fn length(realm: &Federated, path: &str) -> String {
    let answer = realm.get(path).await;
    match answer.status {
        200 => answer.json().as_array().map_or_else(|| "no list".to_owned(), |list| list.len().to_string()),
        status => status.to_string(),
    }
}

/// Returns how many users of the listing are enabled, of all.
async fn listed(realm: &Federated) -> String {
    let answer = realm.get("/users?max=100").await;
    // A failed listing is a 400, or a 200 that is cut off.
    let Ok(Value::Array(users)) = serde_json::from_str(&answer.body) else { return "broken".to_owned() };
    let enabled = users.iter().filter(|user| user["enabled"] == true).count();
    format!("{enabled}/{}", users.len())
}

async fn members(realm: &Federated, group: &str) -> String {
    let groups = realm.get("/groups").await.json();
    let found = groups.as_array().into_iter().flatten().find(|one| one["name"] == group);
    let id = found.and_then(|group| group["id"].as_str()).unwrap_or_else(|| panic!("no {group}: {groups}"));
    length(realm, &format!("/groups/{id}/members?max=100")).await
}

/// The probe by login: not case-sensitive, and the id in the answer is the stored one.
async fn probes(realm: &Federated) {
    let id = realm.id("u02").await;
    for login in ["u02", "U02", "u02%20"] {
        let user = realm.get(&realm.probe(login)).await;
        assert_eq!(user.status, 200, "{login}: {}", user.body);
        assert_eq!(user.json()["id"].as_str().map(|id| id.replace(':', "%3A")), Some(id.clone()), "{login}");
    }
    assert_eq!(length(realm, &format!("/users?search=id:{id}&max=10")).await, "1");
}

/// A server that does not answer: each question takes its time limit, and what needs no LDAP is answered at once.
async fn frozen(realm: &mut Federated) {
    warm_up(realm).await;
    let limit = Duration::from_millis(QUESTION_LIMIT);
    realm.set(FederationState::Frozen(limit)).await;
    let (disabled, name) =
        ("/users?username=u02&exact=true&enabled=false", format!("/user-storage/{}/name", realm.component));
    for (path, status, waits) in [
        (realm.probe("nobody"), 500, true),
        (disabled.to_owned(), 200, false),
        (name, 200, false),
        ("/users/count".to_owned(), 200, false),
    ] {
        let began = Instant::now();
        assert_eq!(realm.get(&path).await.status, status, "{path}");
        let took = began.elapsed();
        assert!(!waits || took >= limit.mul_f32(0.8), "{path}: {took:?}");
    }
    realm.set(FederationState::Available).await;
    assert_eq!(realm.get(&realm.probe("nobody")).await.status, 404);
}

/// A user that an administrator disabled is found as disabled, whatever LDAP does.
async fn stored_disabled(realm: &mut Federated, old: bool) {
    if !realm.imported {
        return;
    }
    let id = realm.id("u06").await;
    let set = async |realm: &Federated, on: bool| {
        let mut user = realm.admin("GET", &format!("/users/{id}"), None).await.json();
        user["enabled"] = Value::Bool(on);
        let answer = realm.admin("PUT", &format!("/users/{id}"), Some(user)).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    };
    set(realm, false).await;
    for state in [FederationState::Available, FederationState::Unreachable, FederationState::Disabled] {
        realm.set(state).await;
        realm.clear_cache().await;
        let found = if old && state.fails() { "400" } else { "1" };
        for (login, disabled) in [("u06", found), ("u07", "0")] {
            let path = format!("/users?username={login}&exact=true&enabled=false");
            assert_eq!(length(realm, &path).await, disabled, "{state:?}: {login}");
        }
    }
    realm.set(FederationState::Available).await;
    set(realm, true).await;
}

/// A group mapper that points to an empty branch gives no sign, one that points nowhere fails for each user.
async fn groups(realm: &Federated, old: bool) {
    let path = format!("/users/{}/groups", realm.id("u02").await);
    let missing = if old { "400" } else { "0" };
    for (state, groups, shown) in [(GroupMapper::Empty, "0", "0"), (GroupMapper::Missing, "500", missing)] {
        realm.set_group_mapper(state).await;
        assert_eq!((length(realm, &path).await, members(realm, "all").await), (groups.to_owned(), shown.to_owned()));
        assert_eq!(realm.get(&realm.probe("nobody")).await.status, 404, "{state:?}");
        assert_eq!(listed(realm).await, format!("{0}/{0}", USERS + 1), "{state:?}");
    }
    realm.set_group_mapper(GroupMapper::Mapped).await;
    assert_eq!((length(realm, &path).await, members(realm, "all").await), ("2".to_owned(), USERS.to_string()));
}

/// Entries are deleted, renamed and changed in LDAP, and put back.
async fn changes_in_ldap(realm: &Federated) {
    let field = async |login: &str, field: &str| {
        let found = realm.get(&format!("/users?username={login}&exact=true")).await.json();
        found[0][field].clone()
    };
    let (id, ldap_id) = (field("u08", "id").await, field("u08", "attributes").await["LDAP_ID"].clone());
    realm.change_email("u08", "new@example.org");
    realm.rename_entry("u08", "v08");
    realm.remove_member("u09", "all");
    realm.delete_entry("u10");
    realm.act("sync?action=triggerFullSync").await;
    realm.clear_cache().await;
    assert_eq!(field("v08", "id").await == id, realm.imported, "a renamed login");
    assert_eq!(field("v08", "email").await, "new@example.org");
    assert_eq!(field("v08", "attributes").await["LDAP_ID"], ldap_id);
    assert_eq!(realm.get(&realm.probe("u08")).await.status, 404);
    let groups = format!("/users/{}/groups", realm.id("u09").await);
    assert_eq!(length(realm, &groups).await, "0");
    // A synchronization deletes nobody; the read does.
    let count = async || realm.get("/users/count").await.json().as_u64().expect("a count");
    let stored = USERS as u64 + 1;
    assert_eq!(count().await, if realm.imported { stored } else { 1 });
    assert_eq!(realm.get(&realm.probe("u10")).await.status, 404);
    assert_eq!(count().await, if realm.imported { stored } else { 1 }, "the probe deletes nobody");
    assert_eq!(listed(realm).await, format!("{USERS}/{USERS}"));
    assert_eq!(count().await, if realm.imported { stored - 1 } else { 1 });
    assert_eq!(realm.get(&realm.probe(&login(11))).await.status, 200, "another one is there");
}

/// A base DN without users: reading deletes imported users, unless that is switched off, which Keycloak 26.0 cannot.
async fn wrong_base(realm: &mut Federated, old: bool) {
    let id = realm.id("u02").await;
    let path = format!("/users/{id}");
    if realm.imported && !old {
        realm.set_removes_invalid(false).await;
        realm.set(FederationState::Empty).await;
        assert_eq!(observed(realm, &path, "u02").await, "200- 0 1/20 0 404 200 0");
        realm.set(FederationState::Available).await;
        realm.set_removes_invalid(true).await;
    }
    realm.set(FederationState::Empty).await;
    assert_eq!(observed(realm, &path, "u02").await, "404 404 1/1 0 404 200 0");
    assert_eq!(realm.get("/users/count").await.json(), 1);
    realm.set(FederationState::Available).await;
    assert_eq!(listed(realm).await, "20/20");
    assert_eq!(realm.id("u02").await == id, !realm.imported, "imported again with new ids");
}

/// The two actions of the component leave no event.
async fn unlinked(realm: &Federated) {
    let before = realm.id("u02").await;
    realm.act("remove-imported-users").await;
    assert_eq!(realm.get("/users/count").await.json(), 1);
    assert_eq!(listed(realm).await, "20/20");
    let id = realm.id("u02").await;
    assert_ne!(id, before);
    realm.act("unlink-users").await;
    realm.clear_cache().await;
    let user = realm.get(&format!("/users/{id}")).await.json();
    assert_eq!((&user["enabled"], user.get("federationLink")), (&Value::Bool(true), None), "{user}");
    assert_eq!(length(realm, &format!("/users/{id}/groups")).await, "0");
    // The probe by login links the user again.
    assert_eq!(realm.get(&realm.probe("u02")).await.json()["id"].as_str(), Some(id.as_str()));
    let user = realm.get(&format!("/users/{id}")).await.json();
    assert_eq!(user["federationLink"], realm.component.as_str(), "{user}");
    assert_eq!(length(realm, &format!("/users/{id}/groups")).await, "2");
}
