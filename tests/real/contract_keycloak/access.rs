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
