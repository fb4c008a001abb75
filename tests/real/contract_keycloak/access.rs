//! Roles and rights.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Case, error, keys, message};

pub(crate) async fn roles(case: Arc<Case>) {
    let bob = case.post("/users", json!({ "username": "bob", "enabled": true })).await;
    let eng = case.post("/groups", json!({ "name": "eng" })).await;
    case.events().await;
    case.expect("GET", "/roles/app", None, 404, error("Could not find role")).await;
    assert_eq!(case.ask("POST", "/roles", Some(json!({ "name": "app" }))).await.status, 201);
    let twice = message("Role with name app already exists");
    case.expect("POST", "/roles", Some(json!({ "name": "app" })), 409, twice).await;
    let role = case.get("/roles/app").await;
    assert_eq!(keys(&role), ["attributes", "clientRole", "composite", "containerId", "id", "name"]);
    let default = format!("default-roles-{}", case.realm);
    let all = case.names("/roles", "name").await;
    for name in ["app", "offline_access", "uma_authorization", &default] {
        assert!(all.iter().any(|one| one == name), "{name} in {all:?}");
    }
    let path = format!("/users/{bob}/role-mappings/realm");
    assert_eq!(case.names(&path, "name").await, std::slice::from_ref(&default));
    case.expect("POST", &path, Some(json!([role])), 204, Value::Null).await;
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(case.names(&path, "name").await), ["app", &default]);
    let composite = sorted(case.names(&format!("{path}/composite"), "name").await);
    assert_eq!(composite, ["app", &default, "offline_access", "uma_authorization"]);
    assert_eq!(case.names("/roles/app/users", "username").await, ["bob"]);
    case.expect("DELETE", &path, Some(json!([role])), 204, Value::Null).await;
    let group_path = format!("/groups/{eng}/role-mappings/realm");
    case.expect("POST", &group_path, Some(json!([role])), 204, Value::Null).await;
    assert_eq!(case.names("/roles/app/groups", "name").await, ["eng"]);
    assert_eq!(case.names("/roles/app/users", "username").await, Vec::<String>::new(), "only direct holders");
    case.ask("PUT", &format!("/users/{bob}/groups/{eng}"), None).await;
    let composite = sorted(case.names(&format!("{path}/composite"), "name").await);
    assert!(composite.contains(&"app".to_owned()), "{composite:?}");
    let missing = json!([{ "id": "x", "name": "nope" }]);
    case.expect("POST", &path, Some(missing), 404, error("Role not found")).await;
    let events = case.events().await;
    let heads: Vec<Value> = events.iter().map(|event| json!([event[0], event[1], event[2]])).collect();
    let expected = [
        json!(["CREATE", "REALM_ROLE", "roles/app"]),
        json!(["CREATE", "REALM_ROLE_MAPPING", path[1..]]),
        json!(["DELETE", "REALM_ROLE_MAPPING", path[1..]]),
        json!(["CREATE", "REALM_ROLE_MAPPING", group_path[1..]]),
        json!(["CREATE", "GROUP_MEMBERSHIP", format!("users/{bob}/groups/{eng}")]),
    ];
    assert_eq!(heads, expected);
    assert_eq!(events[1][3], json!([role]));
    assert_eq!(keys(&events[0][3]), ["composite", "id", "name"]);
}

/// Who has a role: directly, by a composite role of another container, by a group, or by the group above a group.
pub(crate) async fn role_holders(case: Arc<Case>) {
    let user = async |name: &str| case.post("/users", json!({ "username": name, "enabled": true })).await;
    let (ann, bob, carl) = (user("ann").await, user("bob").await, user("carl").await);
    let eng = case.post("/groups", json!({ "name": "eng" })).await;
    let core = case.post(&format!("/groups/{eng}/children"), json!({ "name": "core" })).await;
    case.ask("PUT", &format!("/users/{carl}/groups/{core}"), None).await;
    let portal = case.post("/clients", json!({ "clientId": "portal" })).await;
    for (path, name) in [
        ("/roles".to_owned(), "app"),
        (format!("/clients/{portal}/roles"), "viewer"),
        (format!("/clients/{portal}/roles"), "all"),
    ] {
        assert_eq!(case.ask("POST", &path, Some(json!({ "name": name }))).await.status, 201, "{name}");
    }
    let of_client = |name: &str| format!("/clients/{portal}/roles/{name}");
    let app = case.get("/roles/app").await;
    let (viewer, all) = (case.get(&of_client("viewer")).await, case.get(&of_client("all")).await);
    assert_eq!((&viewer["clientRole"], &viewer["containerId"]), (&json!(true), &json!(portal)));
    case.expect("GET", &of_client("nope"), None, 404, error("Could not find role")).await;
    // A role of the client contains one of the realm, which contains another one of the client.
    case.events().await;
    case.expect("POST", &format!("{}/composites", of_client("all")), Some(json!([app])), 204, Value::Null).await;
    case.expect("POST", "/roles/app/composites", Some(json!([viewer])), 204, Value::Null).await;
    let by_id = format!("/roles-by-id/{}/composites", all["id"].as_str().expect("an id"));
    for path in [format!("{}/composites", of_client("all")), by_id] {
        assert_eq!(case.names(&path, "name").await, ["app"], "{path}");
    }
    case.expect("GET", "/roles-by-id/nope", None, 404, error("Could not find role with id")).await;
    let composite: Vec<Value> = case.get("/roles").await.as_array().expect("a list").clone();
    let composite = composite.iter().find(|role| role["name"] == "app").expect("it is listed");
    assert_eq!(composite["composite"], true);
    let client_mappings = |of: &str, id: &str| format!("/{of}/{id}/role-mappings/clients/{portal}");
    case.expect("POST", &client_mappings("users", &ann), Some(json!([all])), 204, Value::Null).await;
    case.expect("POST", &client_mappings("users", &bob), Some(json!([viewer])), 204, Value::Null).await;
    case.expect("POST", &client_mappings("groups", &eng), Some(json!([all])), 204, Value::Null).await;
    // The lists of holders have the direct ones only, the effective roles of a user have all.
    for (role, users, groups) in [("all", &["ann"][..], &["eng"][..]), ("viewer", &["bob"], &[])] {
        assert_eq!(case.names(&format!("{}/users?briefRepresentation=true", of_client(role)), "username").await, users);
        assert_eq!(case.names(&format!("{}/groups", of_client(role)), "name").await, groups);
    }
    assert_eq!(case.names("/roles/app/users?first=0&max=10", "username").await, Vec::<String>::new());
    for (user, roles) in [(&ann, &["all", "viewer"][..]), (&bob, &["viewer"]), (&carl, &["all", "viewer"])] {
        let mut held = case.names(&format!("{}/composite", client_mappings("users", user)), "name").await;
        held.sort();
        assert_eq!(held, roles);
        let realm = case.names(&format!("/users/{user}/role-mappings/realm/composite"), "name").await;
        assert_eq!(realm.contains(&"app".to_owned()), user != &bob, "{realm:?}");
    }
    let unknown = format!("/users/{ann}/role-mappings/clients/nope/composite");
    case.expect("GET", &unknown, None, 404, error("Client not found")).await;
    case.expect("GET", "/users/nope/role-mappings/realm/composite", None, 404, error("User not found")).await;
    case.expect("PUT", "/roles/app", Some(json!({ "name": "app2" })), 204, Value::Null).await;
    case.expect("DELETE", &of_client("viewer"), None, 204, Value::Null).await;
    assert_eq!(case.names(&format!("{}/composite", client_mappings("users", &ann)), "name").await, ["all"]);
    case.expect("DELETE", &format!("/clients/{portal}"), None, 204, Value::Null).await;
    let heads: Vec<Value> = case.events().await.iter().map(|event| json!([event[0], event[1], event[2]])).collect();
    let below = |path: &str| path[1..].to_owned();
    let expected = [
        json!(["CREATE", "CLIENT_ROLE", format!("{}/composites", below(&of_client("all")))]),
        json!(["CREATE", "REALM_ROLE", "roles/app/composites"]),
        json!(["CREATE", "CLIENT_ROLE_MAPPING", below(&client_mappings("users", &ann))]),
        json!(["CREATE", "CLIENT_ROLE_MAPPING", below(&client_mappings("users", &bob))]),
        json!(["CREATE", "CLIENT_ROLE_MAPPING", below(&client_mappings("groups", &eng))]),
        json!(["UPDATE", "REALM_ROLE", "roles/app"]),
        json!(["DELETE", "CLIENT_ROLE", below(&of_client("viewer"))]),
        json!(["DELETE", "CLIENT", format!("clients/{portal}")]),
    ];
    assert_eq!(heads, expected);
}

pub(crate) async fn rights(case: Arc<Case>) {
    let user = case.post("/users", json!({ "username": "alice", "enabled": true })).await;
    let group = case.post("/groups", json!({ "name": "eng" })).await;
    case.post("/roles", json!({ "name": "app" })).await;
    let paths = [
        format!("GET {}", ""),
        "GET /users".into(),
        "GET /users/count".into(),
        format!("GET /users/{user}"),
        "GET /users/nope".into(),
        format!("GET /users/{user}/groups"),
        format!("GET /users/{user}/role-mappings"),
        "GET /groups".into(),
        "GET /groups/count".into(),
        format!("GET /groups/{group}"),
        "GET /groups/nope".into(),
        format!("GET /groups/{group}/children"),
        format!("GET /groups/{group}/members"),
        "GET /roles".into(),
        "GET /roles/app/users".into(),
        "GET /roles/app/groups".into(),
        "GET /admin-events".into(),
        "GET /events/config".into(),
        "GET /clients".into(),
        "GET /users/profile".into(),
        "GET /default-groups".into(),
        "GET /components".into(),
        "GET /nope".into(),
        "POST /users".into(),
        format!("PUT /users/{user}"),
        format!("PUT /users/{user}/groups/nope"),
        "DELETE /users/nope".into(),
        "DELETE /groups/nope".into(),
        "DELETE /admin-events".into(),
        "POST /partialImport".into(),
        "PUT /default-groups/nope".into(),
        "POST /roles".into(),
    ];
    // One line per set of rights: the statuses of the paths above, in order; f is 403, n is 404.
    let table: &[(&[&str], &str)] = &[
        (&[], "f fff ff f f ff n f f f f f f f f f f f n f f f f n f f f f"),
        (&["view-users"], "2 222 n2 2 2 22 n 2 2 f f f f f f 2 f f n f f f n n f f f f"),
        (&["query-users"], "2 22f nf f f ff n f f f f f f f f 2 f f n f f f n n f f f f"),
        (&["query-groups"], "2 fff ff f 2 2f n f f f f f f f f f f f n f f f f n f f f f"),
        (&["manage-users"], "2 222 n2 2 2 22 n 2 2 f f f f f f 2 f f n 4 d n n n f f f f"),
        (&["view-realm"], "2 fff ff f f ff n f f 2 f f f f f 2 2 2 n f f f f n f f f f"),
        (&["view-events"], "2 fff ff f f ff n f f f f f 2 2 f f f f n f f f f n f f f f"),
        (&["view-clients"], "2 fff ff f f ff n f f f f f f f 2 f f f n f f f f n f f f f"),
        (&["view-realm", "view-users"], "2 222 n2 2 2 22 n 2 2 2 2 2 f f f 2 2 2 n f f f n n f f f f"),
        (&["manage-events"], "2 fff ff f f ff n f f f f f 2 2 f f f f n f f f f n d f f f"),
        (&["manage-realm"], "2 fff ff f f ff n f f 2 f f f f f 2 2 2 n f f f f n f 2 n 4"),
    ];
    for (roles, expected) in table {
        let token = case.client_with(roles).await;
        let mut got = String::new();
        for path in &paths {
            let (method, path) = path.split_once(' ').expect("a method");
            let body = match path {
                "/partialImport" => Some(json!({ "ifResourceExists": "SKIP" })),
                path if method != "GET" && !path.contains("/groups/") && method != "DELETE" => Some(json!({})),
                _ => None,
            };
            let answer = case.ask_as(&token, method, path, body).await;
            got.push(match answer.status {
                200 => '2',
                204 => 'd',
                400 => '4',
                403 => 'f',
                404 => 'n',
                other => panic!("{roles:?} {method} {path}: {other} {}", answer.body),
            });
            if answer.status == 403 {
                assert_eq!(answer.json(), error("HTTP 403 Forbidden"));
            }
        }
        assert_eq!(got, expected.replace(' ', ""), "{roles:?}");
    }
    // With too few rights the realm looks empty.
    let token = case.client_with(&["query-users", "query-groups"]).await;
    assert_eq!(case.ask_as(&token, "GET", "/users", None).await.json(), json!([]));
    assert_eq!(case.ask_as(&token, "GET", "/users/count", None).await.json(), 1);
    assert_eq!(case.ask_as(&token, "GET", "/groups", None).await.json(), json!([]));
    assert_eq!(case.ask_as(&token, "GET", "/groups/count", None).await.json(), json!({ "count": 1 }));
    let token = case.client_with(&["view-events", "view-users"]).await;
    let weak = case.ask_as(&token, "GET", "", None).await.json();
    assert!(weak.get("id").is_none() && weak["realm"] == case.realm.as_str(), "{weak}");
    let mine = case.ask_as(&token, "GET", &format!("/users/{user}"), None).await.json();
    assert_eq!((&mine["access"]["view"], &mine["access"]["manage"]), (&json!(true), &json!(false)));
    let info = case.keycloak.call(&token, "GET", "/admin/serverinfo", None).await.json();
    assert!(info.get("systemInfo").is_none(), "the version is not for everybody");
    let foreign = case.keycloak.call(&token, "GET", "/admin/realms/master/users", None).await;
    assert_eq!(foreign.status, 403);
}
