//! Every change that Keycloak supports, one after the other: those of `tests/captures`, and those that its event store
//! does not record.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{keycloak::Realm, place::Place};

/// Returns the body that creates a user.
pub fn user(login: &str) -> Value {
    json!({"username": login, "enabled": true, "firstName": login, "lastName": "Example",
        "email": format!("{login}@example.org")})
}

/// The same in these groups.
fn user_in(login: &str, groups: &[&str]) -> Value {
    let mut user = user(login);
    user["groups"] = json!(groups);
    user
}

async fn put(place: &mut Place, what: &str, path: &str, body: Value) {
    place.step(what, async |realm| realm.put(path, &body).await).await;
}

async fn post(place: &mut Place, what: &str, path: &str, body: Value) -> String {
    place.step(what, async |realm| realm.post(path, &body).await).await
}

async fn delete(place: &mut Place, what: &str, path: &str) {
    place.step(what, async |realm| realm.delete(path).await).await;
}

/// Returns the stable key of a login's account.
pub fn key(place: &Place, login: &str) -> String {
    let jira = place.jira.snapshot();
    jira.account(login).unwrap_or_else(|| panic!("{login} has no account")).key.clone()
}

pub async fn users(place: &mut Place) {
    let alice = post(place, "a user is made", "users", user("alice")).await;
    let path = format!("users/{alice}");
    let account = key(place, "alice");
    put(place, "a user gets another first name", &path, json!({"firstName": "Alicia"})).await;
    put(place, "a user gets another address", &path, json!({"email": "alicia@example.org"})).await;
    put(place, "a user is renamed", &path, json!({"username": "alicia"})).await;
    assert_eq!(key(place, "alicia"), account, "the account was renamed, not recreated");
    put(place, "a user is disabled", &path, json!({"enabled": false})).await;
    put(place, "a user is enabled", &path, json!({"enabled": true})).await;
    place
        .idle_step("a password is reset", async |realm| {
            realm
                .put(&format!("{path}/reset-password"), &json!({"type": "password", "value": "alicia-1-Alicia"}))
                .await;
        })
        .await;
    place
        .idle_step("a user is signed out", async |realm| realm.post(&format!("{path}/logout"), &json!({})).await)
        .await;
    let taken = json!({"username": "carl", "enabled": true, "email": "alicia@example.org"});
    let answer = place
        .idle_step("a change that is rolled back", async |realm| realm.ask(Method::POST, "users", Some(&taken)).await)
        .await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    delete(place, "a user is deleted", &path).await;
    let again = post(place, "a user with the login of a deleted one", "users", user("alicia")).await;
    assert_ne!(alice, again);
    let bare = json!({"username": "nomail", "enabled": true});
    let nomail = place.idle_step("a user without an address", async |realm| realm.post("users", &bare).await).await;
    put(place, "the address is given", &format!("users/{nomail}"), json!({"email": "nomail@example.org"})).await;
}

pub async fn groups(place: &mut Place) {
    let engineering = post(place, "a group is made", "groups", json!({"name": "engineering"})).await;
    let jira_users = post(place, "a second group is made", "groups", json!({"name": "jira-users"})).await;
    let below = format!("groups/{engineering}/children");
    let platform = post(place, "a sub-group is made", &below, json!({"name": "platform"})).await;
    let bob = post(place, "a user is made with groups", "users", user_in("bob", &["/engineering"])).await;
    let join = |group: &str| format!("users/{bob}/groups/{group}");
    put(place, "a user joins a group", &join(&jira_users), Value::Null).await;
    place.idle_step("the same again", async |realm| realm.put(&join(&jira_users), &Value::Null).await).await;
    delete(place, "a user leaves a group", &join(&jira_users)).await;
    place.idle_step("the same again", async |realm| realm.delete(&join(&jira_users)).await).await;
    put(place, "a user joins a sub-group", &join(&platform), Value::Null).await;
    put(place, "a group is renamed", &format!("groups/{engineering}"), json!({"name": "eng"})).await;
    let moved = json!({"id": platform, "name": "platform"});
    place.idle_step("a sub-group moves to the top", async |realm| realm.post("groups", &moved).await).await;
    place
        .idle_step("a group moves under another", async |realm| {
            realm.post(&format!("groups/{jira_users}/children"), &moved).await
        })
        .await;
    let attributes = json!({"name": "eng", "attributes": {"colour": ["blue"]}});
    place
        .idle_step("a group gets an attribute", async |realm| {
            realm.put(&format!("groups/{engineering}"), &attributes).await;
        })
        .await;
    let same = json!({"name": "platform"});
    place
        .idle_step("a second group of one name", async |realm| {
            realm.post(&format!("groups/{engineering}/children"), &same).await
        })
        .await;
    let second = child(&place.realm, &engineering, "platform").await;
    place
        .step("the second group is renamed", async |realm| {
            realm.put(&format!("groups/{second}"), &json!({"name": "platform2"})).await;
        })
        .await;
    put(place, "a user joins a group and its sub-group", &join(&jira_users), Value::Null).await;
    delete(place, "a group with children and members is deleted", &format!("groups/{jira_users}")).await;

    let newcomers = post(place, "a group for newcomers is made", "groups", json!({"name": "newcomers"})).await;
    place
        .idle_step("it becomes a default group", async |realm| {
            realm.put(&format!("default-groups/{newcomers}"), &Value::Null).await;
        })
        .await;
    post(place, "a user is made who is given the default group", "users", user("dave")).await;
    assert!(place.jira.snapshot().groups["newcomers"].contains("dave"));
}

async fn child(realm: &Realm, group: &str, name: &str) -> String {
    let children = realm.get(&format!("groups/{group}/children")).await;
    let child = children.as_array().expect("a list").iter().find(|child| child["name"] == name);
    child.expect("it is there")["id"].as_str().expect("an id").to_owned()
}

pub async fn roles(place: &mut Place) {
    let bob = place.realm.user("bob").await;
    place
        .idle_step("roles come and go, which are no groups here", async |realm| {
            for name in ["app-admin", "comp", "base"] {
                realm.post("roles", &json!({"name": name})).await;
            }
            let role = json!([realm.get("roles/app-admin").await]);
            let mapping = format!("users/{bob}/role-mappings/realm");
            realm.post(&mapping, &role).await;
            realm.delete_with(&mapping, &role).await;
            let eng = realm.get("groups?search=eng&exact=true").await[0]["id"].as_str().expect("an id").to_owned();
            realm.post(&format!("groups/{eng}/role-mappings/realm"), &role).await;
            let base = json!([realm.get("roles/base").await]);
            realm.post("roles/comp/composites", &base).await;
            realm.delete_with("roles/comp/composites", &base).await;
            realm.put("roles/base", &json!({"name": "base2"})).await;
            realm.delete("roles/base2").await;
        })
        .await;
}

pub async fn self_service(place: &mut Place) {
    let web = json!({"clientId": "web", "publicClient": true, "directAccessGrantsEnabled": true,
        "redirectUris": [format!("{}/done", place.realm.url)]});
    place.idle_step("a client is made", async |realm| realm.post("clients", &web).await).await;
    place.step("a user registers", async |realm| realm.register("selma").await).await;
    for (what, change) in [
        ("a user changes the own name", json!({"firstName": "Selma"})),
        ("a user changes the own address", json!({"email": "selma2@example.org"})),
    ] {
        place.step(what, async |realm| realm.change_own_profile("selma", "selma-1-selma", &change).await).await;
    }
    let change = json!({"username": "selma3"});
    place
        .step("a user changes the own login", async |realm| {
            realm.change_own_profile("selma", "selma-1-selma", &change).await;
        })
        .await;
}

pub async fn imports(place: &mut Place) {
    let import = json!({"ifResourceExists": "FAIL",
        "users": [user_in("erin", &["/newcomers"]), user_in("frank", &["/newcomers"])]});
    post(place, "users are imported with groups", "partialImport", import).await;
    let (erin, account) = (place.realm.user("erin").await, key(place, "erin"));
    let mut anew = user_in("erin", &["/eng"]);
    anew["lastName"] = json!("Anew");
    let import = json!({"ifResourceExists": "OVERWRITE", "users": [anew]});
    post(place, "a user is imported anew, which gives another id", "partialImport", import).await;
    assert_ne!(place.realm.user("erin").await, erin, "an overwriting import makes a new id");
    assert_eq!(key(place, "erin"), account, "the link moves to the new id");
    assert!(place.jira.snapshot().account("erin").expect("there").active);
}

pub async fn organisations(place: &mut Place) {
    let selma = place.realm.user("selma3").await;
    place
        .idle_step("organisations come and go, which are no groups here", async |realm| {
            let made = json!({"name": "org1", "domains": [{"name": "org1.example"}]});
            let organisation = realm.post("organizations", &made).await;
            let members = format!("organizations/{organisation}/members");
            realm.post(&members, &json!(selma)).await;
            realm.delete(&format!("{members}/{selma}")).await;
            realm.delete(&format!("organizations/{organisation}")).await;
        })
        .await;
}

pub async fn swaps(place: &mut Place) {
    let gina = post(place, "one of two users is made", "users", user("gina")).await;
    let hugo = post(place, "the other is made", "users", user("hugo")).await;
    let (of_gina, of_hugo) = (key(place, "gina"), key(place, "hugo"));
    place
        .step("two users swap their logins", async |realm| {
            for (id, login) in [(&gina, "gina-on-the-way"), (&hugo, "gina"), (&gina, "hugo")] {
                realm.put(&format!("users/{id}"), &json!({"username": login})).await;
            }
        })
        .await;
    assert_eq!((key(place, "hugo"), key(place, "gina")), (of_gina, of_hugo), "accounts follow their owners");
    place
        .step("many users are made, changed and taken away at once", async |realm| {
            let work = (0..12).map(async |number| {
                let id = realm.post("users", &user_in(&format!("crowd{number}"), &["/eng"])).await;
                let path = format!("users/{id}");
                realm.put(&path, &json!({"lastName": "Changed"})).await;
                match number % 3 {
                    0 => realm.delete(&path).await,
                    1 => realm.put(&path, &json!({"username": format!("CROWD-{number}")})).await,
                    _ => realm.put(&path, &json!({"enabled": false})).await,
                }
            });
            futures::future::join_all(work).await;
        })
        .await;
}
