//! Tokens, paths, clients: everything before users and groups.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Case, error, keys, message};

/// The fields of a form.
type Form = &'static [(&'static str, &'static str)];

pub(crate) async fn tokens(case: Arc<Case>) {
    let (keycloak, realm) = (&case.keycloak, case.realm.as_str());
    case.client_with(&["view-users"]).await;
    let good = [("grant_type", "client_credentials"), ("client_id", "c-view-users"), ("client_secret", "s")];
    let answer = keycloak.token_answer(realm, &good).await;
    assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"));
    let body = answer.json();
    let fields = ["access_token", "expires_in", "not-before-policy", "refresh_expires_in", "scope", "token_type"];
    assert_eq!(keys(&body), fields);
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["refresh_expires_in"], 0);
    assert_eq!(body["token_type"], "Bearer");
    let token = body["access_token"].as_str().expect("a token");
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("three parts")).expect("base64");
    let claims: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(claims["iss"], format!("{}/realms/{realm}", keycloak.url));
    assert_eq!(claims["azp"], "c-view-users");
    assert_eq!(claims["preferred_username"], "service-account-c-view-users");
    assert!(claims["exp"].as_i64() > claims["iat"].as_i64());
    let mut roles: Vec<&str> = claims["resource_access"]["realm-management"]["roles"]
        .as_array()
        .expect("roles")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, ["query-groups", "query-users", "view-users"]);
    let id = case.get("/clients?clientId=c-view-users").await[0]["id"].as_str().expect("an id").to_owned();
    let account = case.get(&format!("/clients/{id}/service-account-user")).await;
    assert_eq!(claims["sub"], account["id"]);

    assert_eq!(keycloak.token_by_basic(realm, "c-view-users", "s").await.status, 200);

    let oauth = |error: &str, text: &str| json!({ "error": error, "error_description": text });
    let invalid = "Invalid client or Invalid client credentials";
    let table: &[(Form, u16, Value)] = &[
        (
            &[("grant_type", "client_credentials"), ("client_id", "c-view-users"), ("client_secret", "no")],
            401,
            oauth("unauthorized_client", invalid),
        ),
        (
            &[("grant_type", "client_credentials"), ("client_id", "c-view-users")],
            401,
            oauth("unauthorized_client", invalid),
        ),
        (
            &[("grant_type", "client_credentials"), ("client_id", "nobody"), ("client_secret", "s")],
            401,
            oauth("invalid_client", invalid),
        ),
        (&[("grant_type", "client_credentials")], 401, oauth("invalid_client", invalid)),
        (
            &[("grant_type", "client_credentials"), ("client_id", "admin-cli")],
            401,
            oauth("unauthorized_client", "Public client not allowed to retrieve service account"),
        ),
        (
            &[("client_id", "c-view-users"), ("client_secret", "s")],
            400,
            oauth("invalid_request", "Missing form parameter: grant_type"),
        ),
        (
            &[("grant_type", "banana"), ("client_id", "c-view-users"), ("client_secret", "s")],
            400,
            oauth("unsupported_grant_type", "Unsupported grant_type"),
        ),
        (
            &[("grant_type", "password"), ("client_id", "c-view-users"), ("client_secret", "s"), ("username", "a")],
            400,
            oauth("unauthorized_client", "Client not allowed for direct access grants"),
        ),
    ];
    for (form, status, body) in table {
        let answer = keycloak.token_answer(realm, form).await;
        assert_eq!((answer.status, &answer.json()), (*status, body), "{form:?}");
    }
    let lost = keycloak.token_answer("no-such-realm", &good).await;
    assert_eq!((lost.status, lost.json()), (404, error("Realm does not exist")));
    let path = format!("/realms/{realm}/protocol/openid-connect/token");
    let got = keycloak.call("", "GET", &path, None).await;
    assert_eq!((got.status, got.json()), (405, error("HTTP 405 Method Not Allowed")));
    let login = case.get("/events?type=CLIENT_LOGIN&max=1").await;
    assert_eq!(login[0]["clientId"], "c-view-users");
    assert_eq!(login[0]["userId"], account["id"]);
    assert_eq!(login[0]["details"]["grant_type"], "client_credentials");
}

pub(crate) async fn addresses(case: Arc<Case>) {
    let (keycloak, realm) = (&case.keycloak, case.realm.as_str());
    let open = keycloak.call("", "GET", &format!("/realms/{realm}"), None).await.json();
    assert_eq!(open["realm"], realm);
    assert_eq!(open["token-service"], format!("{}/realms/{realm}/protocol/openid-connect", keycloak.url));
    let discovery = keycloak.call("", "GET", &format!("/realms/{realm}/.well-known/openid-configuration"), None).await;
    let discovery = discovery.json();
    assert_eq!(discovery["issuer"], format!("{}/realms/{realm}", keycloak.url));
    assert_eq!(discovery["token_endpoint"], format!("{}/realms/{realm}/protocol/openid-connect/token", keycloak.url));
    let token = case.token.as_str();
    let nowhere = error("Unable to find matching target resource method");
    let unauthorized = error("HTTP 401 Unauthorized");
    let table = [
        ("", "/realms/no-such-realm", 404, error("Realm does not exist")),
        ("", "/realms/no-such-realm/.well-known/openid-configuration", 404, error("Realm does not exist")),
        ("", &format!("/realms/{realm}/nope"), 404, error("HTTP 404 Not Found")),
        ("", "/nope", 404, nowhere.clone()),
        ("", &format!("/auth/realms/{realm}"), 404, nowhere),
        ("", &format!("/admin/realms/{realm}/users"), 401, unauthorized.clone()),
        ("", "/admin/realms/no-such-realm/users", 401, unauthorized.clone()),
        ("x.y.z", &format!("/admin/realms/{realm}/users"), 401, unauthorized.clone()),
        (token, "/admin/realms/no-such-realm/users", 404, error("Realm not found.")),
        (token, "/admin/realms/no-such-realm", 404, error("Realm not found.")),
        (token, &format!("/admin/realms/{realm}/nope"), 404, error("HTTP 404 Not Found")),
        (token, &format!("/admin/realms/{realm}/users/nope/nope"), 404, error("User not found")),
        (token, &format!("/admin/realms/{realm}/groups/nope/nope"), 404, error("Could not find group by id")),
        (token, "/admin/nope", 405, error("HTTP 405 Method Not Allowed")),
    ];
    for (token, path, status, body) in table {
        let answer = keycloak.call(token, "GET", path, None).await;
        assert_eq!((answer.status, answer.json()), (status, body), "{path}");
    }
    let twice = keycloak.call(token, "POST", "/admin/realms", Some(json!({ "realm": realm, "enabled": true }))).await;
    assert_eq!((twice.status, twice.json()), (409, message(&format!("Realm {realm} already exists"))));
    let info = keycloak.call(token, "GET", "/admin/serverinfo", None).await.json();
    assert!(info["systemInfo"]["version"].is_string(), "{info}");
    let got = case.ask("PATCH", "/users/x", Some(json!({}))).await;
    assert_eq!((got.status, got.json()), (404, error("User not found")));
    for (method, path) in [("DELETE", "/users"), ("PUT", "/groups")] {
        let answer = case.ask(method, path, Some(json!({}))).await;
        assert_eq!((answer.status, answer.json()), (405, error("HTTP 405 Method Not Allowed")), "{method} {path}");
    }
}

pub(crate) async fn clients(case: Arc<Case>) {
    let sent = json!({ "clientId": "usersync", "secret": "s3", "serviceAccountsEnabled": true, "publicClient": false });
    case.events().await;
    let id = case.post("/clients", sent).await;
    let event = case.events().await.remove(0);
    assert_eq!(
        (&event[0], &event[1], &event[2]),
        (&json!("CREATE"), &json!("CLIENT"), &json!(format!("clients/{id}")))
    );
    assert_eq!(event[3]["secret"], "**********");
    let twice = case.ask("POST", "/clients", Some(json!({ "clientId": "usersync" }))).await;
    assert_eq!((twice.status, twice.json()), (409, message("Client usersync already exists")));
    let shown = case.get("/clients?clientId=usersync").await;
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    assert_eq!((&shown[0]["id"], &shown[0]["serviceAccountsEnabled"]), (&json!(id), &json!(true)));
    assert_eq!(case.get("/clients?clientId=nope").await, json!([]));
    let secret = case.get(&format!("/clients/{id}/client-secret")).await;
    assert_eq!(secret, json!({ "type": "secret", "value": "s3" }));
    let account = case.get(&format!("/clients/{id}/service-account-user")).await;
    assert_eq!(account["username"], "service-account-usersync");
    let account = account["id"].as_str().expect("an id");
    let management = case.get("/clients?clientId=realm-management").await[0]["id"].as_str().expect("id").to_owned();
    let roles = case.names(&format!("/clients/{management}/roles"), "name").await;
    for name in ["view-users", "view-events", "view-realm", "realm-admin"] {
        assert!(roles.iter().any(|one| one == name), "{name} in {roles:?}");
    }
    let role = case.get(&format!("/clients/{management}/roles/view-events")).await;
    let path = format!("/users/{account}/role-mappings/clients/{management}");
    assert!(case.names(&format!("{path}/available"), "name").await.contains(&"view-events".to_owned()));
    case.events().await;
    case.expect("POST", &path, Some(json!([role])), 204, Value::Null).await;
    assert_eq!(case.names(&path, "name").await, ["view-events"]);
    let event = case.events().await.remove(0);
    assert_eq!(event, json!(["CREATE", "CLIENT_ROLE_MAPPING", path[1..], [role], null]));
    let mappings = case.get(&format!("/users/{account}/role-mappings")).await;
    assert_eq!(mappings["clientMappings"]["realm-management"]["mappings"][0]["name"], "view-events");
    let renewed = case.ask("POST", &format!("/clients/{id}/client-secret"), None).await;
    assert_eq!((renewed.status, &renewed.json()["type"]), (200, &json!("secret")));
    assert_ne!(renewed.json()["value"], "s3");
}

pub(crate) async fn realm_gone(case: Arc<Case>) {
    let token = case.client_with(&["view-users"]).await;
    assert_eq!(case.ask_as(&token, "GET", "/users", None).await.status, 200);
    assert_eq!(case.ask("DELETE", "", None).await.status, 204);
    let late = case.ask_as(&token, "GET", "/users", None).await;
    assert_eq!((late.status, late.json()), (401, error("HTTP 401 Unauthorized")));
    let form = [("grant_type", "client_credentials"), ("client_id", "c-view-users"), ("client_secret", "s")];
    let lost = case.keycloak.token_answer(&case.realm, &form).await;
    assert_eq!((lost.status, lost.json()), (404, error("Realm does not exist")));
    let again = json!({ "realm": case.realm, "enabled": true });
    let made = case.keycloak.call(&case.keycloak.admin_token().await, "POST", "/admin/realms", Some(again)).await;
    assert_eq!(made.status, 201);
    assert_eq!(case.ask_as(&token, "GET", "/users", None).await.status, 401, "another realm of the same name");
}

pub(crate) async fn client_in_master(case: Arc<Case>) {
    let user = case.post("/users", json!({ "username": "alice", "enabled": true })).await;
    let keycloak = &case.keycloak;
    let master = async |method: &str, path: &str, body| {
        keycloak.call(&case.token, method, &format!("/admin/realms/master{path}"), body).await
    };
    let name = format!("outside-{}", case.realm);
    let client = json!({ "clientId": name, "secret": "s", "serviceAccountsEnabled": true, "publicClient": false });
    let id = master("POST", "/clients", Some(client)).await.id();
    let account = master("GET", &format!("/clients/{id}/service-account-user"), None).await.json();
    let account = account["id"].as_str().expect("an id").to_owned();
    let rights = master("GET", &format!("/clients?clientId={}-realm", case.realm), None).await.json();
    let rights = rights[0]["id"].as_str().expect("an id").to_owned();
    let role = master("GET", &format!("/clients/{rights}/roles/view-users"), None).await.json();
    let path = format!("/users/{account}/role-mappings/clients/{rights}");
    assert_eq!(master("POST", &path, Some(json!([role]))).await.status, 204);
    let token = keycloak.client_token("master", &name, "s").await;
    assert_eq!(case.ask_as(&token, "GET", &format!("/users/{user}"), None).await.status, 200);
    assert_eq!(case.ask_as(&token, "GET", "/roles", None).await.status, 403);
    assert_eq!(keycloak.call(&token, "GET", "/admin/realms/master/users", None).await.status, 403);
    assert_eq!(master("DELETE", &format!("/clients/{id}"), None).await.status, 204);
    assert_eq!(master("GET", &format!("/users/{account}"), None).await.status, 404, "its account goes with it");
    let last = case.ask_as(&token, "GET", "/users", None).await.status;
    assert_eq!(last, 401, "and so do its tokens");
}
