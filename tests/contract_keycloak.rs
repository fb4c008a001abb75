//! One list of expectations for the sandbox Keycloak and for a real one.
//!
//! The sandbox is always tested. A real Keycloak is tested where `USERSYNC_TEST_KEYCLOAK_URL` names one (with
//! `USERSYNC_TEST_KEYCLOAK_USER` and `USERSYNC_TEST_KEYCLOAK_PASSWORD`, both `admin` if not set); every case makes
//! and deletes a realm of its own there.

#[path = "support/keycloak.rs"]
mod keycloak;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keycloak::{Answer, Keycloak};
use serde_json::{Map, Value, json};

/// One case's realm.
struct Case {
    keycloak: Arc<Keycloak>,
    realm: String,
    token: String,
}

impl Case {
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_as(&self.token, method, path, body).await
    }

    async fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.keycloak
            .call(
                token,
                method,
                &format!("/admin/realms/{}{path}", self.realm),
                body,
            )
            .await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.json()
    }

    async fn post(&self, path: &str, body: Value) -> String {
        self.ask("POST", path, Some(body)).await.id()
    }

    /// Expects a status with a JSON body, or with none (`Null`).
    async fn expect(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
        answer: Value,
    ) {
        let got = self.ask(method, path, body).await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.body);
        let text = if got.body.is_empty() {
            Value::Null
        } else {
            got.json()
        };
        assert_eq!(text, answer, "{method} {path}");
    }

    async fn names(&self, path: &str, field: &str) -> Vec<String> {
        let list = self.get(path).await;
        list.as_array()
            .expect("a list")
            .iter()
            .map(|one| one[field].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The admin events since the last call of this, oldest first: operation, type, path, representation, details.
    async fn events(&self) -> Vec<Value> {
        let events = self.get("/admin-events?direction=asc&max=1000").await;
        self.ask("DELETE", "/admin-events", None).await;
        let shown = |event: &Value| {
            let text = event["representation"].as_str();
            let representation: Value = text.map_or(Value::Null, |text| {
                serde_json::from_str(text).expect("JSON")
            });
            json!([
                event["operationType"],
                event["resourceType"],
                event["resourcePath"],
                representation,
                event["details"]
            ])
        };
        events
            .as_array()
            .expect("a list")
            .iter()
            .map(shown)
            .collect()
    }

    /// A client with a service account that holds these rights; gives its token.
    async fn client_with(&self, roles: &[&str]) -> String {
        let name = format!("c-{}", roles.join("-"));
        let client = json!({ "clientId": name, "secret": "s", "serviceAccountsEnabled": true, "publicClient": false });
        let id = self.post("/clients", client).await;
        let account = self
            .get(&format!("/clients/{id}/service-account-user"))
            .await;
        let account = account["id"].as_str().expect("an id");
        let management = self.get("/clients?clientId=realm-management").await[0]["id"]
            .as_str()
            .expect("id")
            .to_owned();
        let mut held = Vec::new();
        for role in roles {
            held.push(
                self.get(&format!("/clients/{management}/roles/{role}"))
                    .await,
            );
        }
        if !held.is_empty() {
            let path = format!("/users/{account}/role-mappings/clients/{management}");
            assert_eq!(self.ask("POST", &path, Some(json!(held))).await.status, 204);
        }
        self.keycloak.client_token(&self.realm, &name, "s").await
    }
}

fn error(text: &str) -> Value {
    json!({ "error": text })
}

fn message(text: &str) -> Value {
    json!({ "errorMessage": text })
}

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    keys.sort();
    keys
}

fn broke() -> Value {
    json!({ "error": "unknown_error", "error_description": "For more on this error consult the server log." })
}

async fn tokens(case: Arc<Case>) {
    let (keycloak, realm) = (&case.keycloak, case.realm.as_str());
    case.client_with(&["view-users"]).await;
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", "c-view-users"),
        ("client_secret", "s"),
    ];
    let answer = keycloak.token_answer(realm, &good).await;
    assert_eq!(
        (answer.status, answer.kind.as_str()),
        (200, "application/json")
    );
    let body = answer.json();
    let fields = [
        "access_token",
        "expires_in",
        "not-before-policy",
        "refresh_expires_in",
        "scope",
        "token_type",
    ];
    assert_eq!(keys(&body), fields);
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["refresh_expires_in"], 0);
    assert_eq!(body["token_type"], "Bearer");
    let token = body["access_token"].as_str().expect("a token");
    let payload = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).expect("three parts"))
        .expect("base64");
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
    let id = case.get("/clients?clientId=c-view-users").await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let account = case
        .get(&format!("/clients/{id}/service-account-user"))
        .await;
    assert_eq!(claims["sub"], account["id"]);

    assert_eq!(
        keycloak
            .token_by_basic(realm, "c-view-users", "s")
            .await
            .status,
        200
    );

    let oauth = |error: &str, text: &str| json!({ "error": error, "error_description": text });
    let invalid = "Invalid client or Invalid client credentials";
    let table: &[(&[(&str, &str)], u16, Value)] = &[
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", "c-view-users"),
                ("client_secret", "no"),
            ],
            401,
            oauth("unauthorized_client", invalid),
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", "c-view-users"),
            ],
            401,
            oauth("unauthorized_client", invalid),
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", "nobody"),
                ("client_secret", "s"),
            ],
            401,
            oauth("invalid_client", invalid),
        ),
        (
            &[("grant_type", "client_credentials")],
            401,
            oauth("invalid_client", invalid),
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", "admin-cli"),
            ],
            401,
            oauth(
                "unauthorized_client",
                "Public client not allowed to retrieve service account",
            ),
        ),
        (
            &[("client_id", "c-view-users"), ("client_secret", "s")],
            400,
            oauth("invalid_request", "Missing form parameter: grant_type"),
        ),
        (
            &[
                ("grant_type", "banana"),
                ("client_id", "c-view-users"),
                ("client_secret", "s"),
            ],
            400,
            oauth("unsupported_grant_type", "Unsupported grant_type"),
        ),
        (
            &[
                ("grant_type", "password"),
                ("client_id", "c-view-users"),
                ("client_secret", "s"),
                ("username", "a"),
            ],
            400,
            oauth(
                "unauthorized_client",
                "Client not allowed for direct access grants",
            ),
        ),
    ];
    for (form, status, body) in table {
        let answer = keycloak.token_answer(realm, form).await;
        assert_eq!((answer.status, &answer.json()), (*status, body), "{form:?}");
    }
    let lost = keycloak.token_answer("no-such-realm", &good).await;
    assert_eq!(
        (lost.status, lost.json()),
        (404, error("Realm does not exist"))
    );
    let path = format!("/realms/{realm}/protocol/openid-connect/token");
    let got = keycloak.call("", "GET", &path, None).await;
    assert_eq!(
        (got.status, got.json()),
        (405, error("HTTP 405 Method Not Allowed"))
    );
    let login = case.get("/events?type=CLIENT_LOGIN&max=1").await;
    assert_eq!(login[0]["clientId"], "c-view-users");
    assert_eq!(login[0]["userId"], account["id"]);
    assert_eq!(login[0]["details"]["grant_type"], "client_credentials");
}

async fn addresses(case: Arc<Case>) {
    let (keycloak, realm) = (&case.keycloak, case.realm.as_str());
    let open = keycloak
        .call("", "GET", &format!("/realms/{realm}"), None)
        .await
        .json();
    assert_eq!(open["realm"], realm);
    assert_eq!(
        open["token-service"],
        format!("{}/realms/{realm}/protocol/openid-connect", keycloak.url)
    );
    let discovery = keycloak
        .call(
            "",
            "GET",
            &format!("/realms/{realm}/.well-known/openid-configuration"),
            None,
        )
        .await;
    let discovery = discovery.json();
    assert_eq!(
        discovery["issuer"],
        format!("{}/realms/{realm}", keycloak.url)
    );
    assert_eq!(
        discovery["token_endpoint"],
        format!(
            "{}/realms/{realm}/protocol/openid-connect/token",
            keycloak.url
        )
    );
    let token = case.token.as_str();
    let nowhere = error("Unable to find matching target resource method");
    let unauthorized = error("HTTP 401 Unauthorized");
    let table = [
        (
            "",
            "/realms/no-such-realm",
            404,
            error("Realm does not exist"),
        ),
        (
            "",
            "/realms/no-such-realm/.well-known/openid-configuration",
            404,
            error("Realm does not exist"),
        ),
        (
            "",
            &format!("/realms/{realm}/nope"),
            404,
            error("HTTP 404 Not Found"),
        ),
        ("", "/nope", 404, nowhere.clone()),
        ("", &format!("/auth/realms/{realm}"), 404, nowhere),
        (
            "",
            &format!("/admin/realms/{realm}/users"),
            401,
            unauthorized.clone(),
        ),
        (
            "",
            "/admin/realms/no-such-realm/users",
            401,
            unauthorized.clone(),
        ),
        (
            "x.y.z",
            &format!("/admin/realms/{realm}/users"),
            401,
            unauthorized.clone(),
        ),
        (
            token,
            "/admin/realms/no-such-realm/users",
            404,
            error("Realm not found."),
        ),
        (
            token,
            "/admin/realms/no-such-realm",
            404,
            error("Realm not found."),
        ),
        (
            token,
            &format!("/admin/realms/{realm}/nope"),
            404,
            error("HTTP 404 Not Found"),
        ),
        (
            token,
            &format!("/admin/realms/{realm}/users/nope/nope"),
            404,
            error("User not found"),
        ),
        (
            token,
            &format!("/admin/realms/{realm}/groups/nope/nope"),
            404,
            error("Could not find group by id"),
        ),
        (
            token,
            "/admin/nope",
            405,
            error("HTTP 405 Method Not Allowed"),
        ),
    ];
    for (token, path, status, body) in table {
        let answer = keycloak.call(token, "GET", path, None).await;
        assert_eq!((answer.status, answer.json()), (status, body), "{path}");
    }
    let twice = keycloak
        .call(
            token,
            "POST",
            "/admin/realms",
            Some(json!({ "realm": realm, "enabled": true })),
        )
        .await;
    assert_eq!(
        (twice.status, twice.json()),
        (409, message(&format!("Realm {realm} already exists")))
    );
    let info = keycloak
        .call(token, "GET", "/admin/serverinfo", None)
        .await
        .json();
    assert!(info["systemInfo"]["version"].is_string(), "{info}");
    for (method, path) in [
        ("PATCH", "/users/x"),
        ("DELETE", "/users"),
        ("PUT", "/groups"),
    ] {
        let answer = case.ask(method, path, Some(json!({}))).await;
        assert_eq!(
            (answer.status, answer.json()),
            (405, error("HTTP 405 Method Not Allowed")),
            "{method} {path}"
        );
    }
}

async fn users(case: Arc<Case>) {
    let alice = json!({
        "username": "Alice", "firstName": "Alice", "lastName": "Ng", "email": "Alice@Example.org", "enabled": true,
    });
    let made = case.ask("POST", "/users", Some(alice.clone())).await;
    assert_eq!(
        made.location,
        format!(
            "{}/admin/realms/{}/users/{}",
            case.keycloak.url,
            case.realm,
            made.id()
        )
    );
    let id = made.id();
    let shown = case.get(&format!("/users/{id}")).await;
    let full = [
        "access",
        "createdTimestamp",
        "disableableCredentialTypes",
        "email",
        "emailVerified",
        "enabled",
        "firstName",
        "id",
        "lastName",
        "notBefore",
        "requiredActions",
        "totp",
        "username",
    ];
    assert_eq!(keys(&shown), full);
    assert_eq!(
        (&shown["username"], &shown["email"]),
        (&json!("alice"), &json!("alice@example.org"))
    );
    assert_eq!(
        (&shown["firstName"], &shown["enabled"]),
        (&json!("Alice"), &json!(true))
    );
    assert_eq!(
        (&shown["emailVerified"], &shown["notBefore"]),
        (&json!(false), &json!(0))
    );
    let access = [
        "impersonate",
        "manage",
        "manageGroupMembership",
        "mapRoles",
        "resetPassword",
        "view",
    ];
    assert_eq!(keys(&shown["access"]), access);
    let listed = case.get("/users").await;
    assert_eq!(keys(&listed[0]), full);
    assert_eq!(listed[0]["access"], json!({ "manage": true }));
    let brief = case.get("/users?briefRepresentation=true").await;
    let short = [
        "access",
        "createdTimestamp",
        "email",
        "emailVerified",
        "enabled",
        "firstName",
        "id",
        "lastName",
        "username",
    ];
    assert_eq!(keys(&brief[0]), short);
    assert_eq!(case.get("/users/count").await, 1);

    let bare = case
        .post(
            "/users",
            json!({ "username": "bare", "id": "11111111-1111-1111-1111-111111111111" }),
        )
        .await;
    assert_ne!(
        bare, "11111111-1111-1111-1111-111111111111",
        "an id that is sent is not taken"
    );
    let shown = case.get(&format!("/users/{bare}")).await;
    assert_eq!(shown["enabled"], false);
    assert!(shown.get("email").is_none() && shown.get("firstName").is_none());

    let invalid = |field: &str, text: &str, more: Value| {
        let mut params = vec![json!(field)];
        params.extend(more.as_array().cloned().unwrap_or_default());
        json!({ "field": field, "errorMessage": text, "params": params })
    };
    let bad = [
        (
            json!({ "username": "alice" }),
            409,
            message("User exists with same username"),
        ),
        (
            json!({ "username": "ALICE" }),
            409,
            message("User exists with same username"),
        ),
        (
            json!({ "username": "other", "email": "ALICE@example.org" }),
            409,
            message("User exists with same email"),
        ),
        (json!({}), 400, message("User name is missing")),
        (
            json!({ "username": "" }),
            400,
            message("User name is missing"),
        ),
        (
            json!({ "username": "ab" }),
            400,
            invalid("username", "error-invalid-length", json!([3, 255])),
        ),
        (
            json!({ "username": "bad <x>" }),
            400,
            invalid("username", "error-username-invalid-character", Value::Null),
        ),
        (
            json!({ "username": "badmail", "email": "no" }),
            400,
            invalid("email", "error-invalid-email", json!(["no"])),
        ),
        (
            json!({ "username": "lost", "groups": ["/nowhere"] }),
            500,
            broke(),
        ),
    ];
    case.events().await;
    for (body, status, answer) in bad {
        case.expect("POST", "/users", Some(body), status, answer)
            .await;
    }
    let unknown = case
        .ask(
            "POST",
            "/users",
            Some(json!({ "username": "unk", "foo": 1 })),
        )
        .await;
    assert_eq!(unknown.status, 400);
    assert!(
        unknown.body.contains("Unrecognized field \\\"foo\\\""),
        "{}",
        unknown.body
    );
    let path = format!("/admin/realms/{}/users", case.realm);
    let broken = case
        .keycloak
        .raw(&case.token, &path, "application/json", "{bad")
        .await;
    assert_eq!(
        (broken.status, &broken.json()["error_description"]),
        (400, &json!("Cannot parse the JSON"))
    );
    assert_eq!(
        case.keycloak
            .raw(&case.token, &path, "text/plain", "{}")
            .await
            .status,
        415
    );
    assert_eq!(
        case.events().await,
        Vec::<Value>::new(),
        "what is refused leaves no event"
    );
    for (method, body) in [("GET", None), ("PUT", Some(json!({}))), ("DELETE", None)] {
        case.expect(method, "/users/nope", body, 404, error("User not found"))
            .await;
    }
}

async fn changing_users(case: Arc<Case>) {
    let alice = json!({ "username": "alice", "email": "alice@example.org", "enabled": true });
    case.post("/users", alice).await;
    let bob = json!({ "username": "bob", "firstName": "Bob", "lastName": "I", "email": "bob@example.org", "enabled": true });
    let id = case.post("/users", bob).await;
    let path = format!("/users/{id}");
    let name = |user: &Value| {
        let field = |name: &str| user.get(name).cloned().unwrap_or(Value::Null);
        json!([
            field("username"),
            field("firstName"),
            field("lastName"),
            field("email"),
            field("enabled")
        ])
    };
    let steps = [
        (
            json!({ "username": "Bobby" }),
            json!(["bobby", "Bob", "I", "bob@example.org", true]),
        ),
        (
            json!({ "firstName": "Robert" }),
            json!(["bobby", "Robert", "I", "bob@example.org", true]),
        ),
        (
            json!({ "enabled": false }),
            json!(["bobby", "Robert", "I", "bob@example.org", false]),
        ),
        (
            json!({ "firstName": null, "email": "" }),
            json!(["bobby", "Robert", "I", null, false]),
        ),
        (
            json!({ "firstName": "", "enabled": true }),
            json!(["bobby", null, "I", null, true]),
        ),
        (json!({}), json!(["bobby", null, "I", null, true])),
        (
            json!({ "email": "New@Example.org" }),
            json!(["bobby", null, "I", "new@example.org", true]),
        ),
    ];
    case.events().await;
    for (change, after) in steps {
        case.expect("PUT", &path, Some(change.clone()), 204, Value::Null)
            .await;
        assert_eq!(name(&case.get(&path).await), after, "{change}");
        let mut sent = change.as_object().expect("an object").clone();
        sent.retain(|_, value| !value.is_null());
        let event = json!(["UPDATE", "USER", format!("users/{id}"), sent, null]);
        assert_eq!(
            case.events().await,
            [event],
            "the event shows what was sent"
        );
    }
    case.expect(
        "PUT",
        &path,
        Some(json!({ "username": "alice" })),
        409,
        message("User exists with same username"),
    )
    .await;
    let taken = json!({ "email": "alice@example.org" });
    case.expect(
        "PUT",
        &path,
        Some(taken),
        409,
        message("User exists with same email"),
    )
    .await;
    // A whole user as it was read can be sent back.
    let whole = case.get(&path).await;
    case.expect("PUT", &path, Some(whole), 204, Value::Null)
        .await;
    case.expect("DELETE", &path, None, 204, Value::Null).await;
    case.expect("GET", &path, None, 404, error("User not found"))
        .await;
    let last = case.events().await.pop().expect("an event");
    let gone = json!({ "id": id, "username": "bobby" });
    assert_eq!(
        last,
        json!(["DELETE", "USER", format!("users/{id}"), gone, null])
    );

    // Where logins may not be changed, not even an administrator may.
    case.expect(
        "PUT",
        "",
        Some(json!({ "editUsernameAllowed": false })),
        204,
        Value::Null,
    )
    .await;
    let alice = case.get("/users?username=alice&exact=true").await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let refused = json!({ "field": "username", "errorMessage": "error-user-attribute-read-only", "params": ["username"] });
    case.expect(
        "PUT",
        &format!("/users/{alice}"),
        Some(json!({ "username": "anna" })),
        400,
        refused,
    )
    .await;
}

async fn attributes(case: Arc<Case>) {
    let user = json!({ "username": "alice", "firstName": "A", "attributes": { "dept": ["x"] } });
    let id = case.post("/users", user).await;
    let path = format!("/users/{id}");
    assert!(
        case.get(&path).await.get("attributes").is_none(),
        "undeclared attributes are dropped in silence"
    );
    let mut profile = case.get("/users/profile").await;
    profile["unmanagedAttributePolicy"] = json!("ENABLED");
    assert_eq!(
        case.ask("PUT", "/users/profile", Some(profile))
            .await
            .status,
        200
    );
    let alone = json!({ "attributes": { "dept": ["x"] } });
    case.expect(
        "PUT",
        &path,
        Some(alone),
        400,
        message("User name is missing"),
    )
    .await;
    let both = json!({ "username": "alice", "email": "a@example.org", "attributes": { "dept": ["x", "y"] } });
    case.expect("PUT", &path, Some(both), 204, Value::Null)
        .await;
    let shown = case.get(&path).await;
    assert_eq!(shown["attributes"], json!({ "dept": ["x", "y"] }));
    assert!(
        shown.get("firstName").is_none(),
        "who sends attributes sends the whole profile: {shown}"
    );
    case.expect(
        "PUT",
        &path,
        Some(json!({ "lastName": "Z" })),
        204,
        Value::Null,
    )
    .await;
    let shown = case.get(&path).await;
    assert_eq!(shown["attributes"], json!({ "dept": ["x", "y"] }));
    assert_eq!(shown["lastName"], "Z");
    assert_eq!(
        case.get("/users").await[0]["attributes"],
        json!({ "dept": ["x", "y"] })
    );
    assert!(
        case.get("/users?briefRepresentation=true").await[0]
            .get("attributes")
            .is_none()
    );
    assert_eq!(case.names("/users?q=dept:y", "username").await, ["alice"]);
    assert_eq!(
        case.names("/users?q=dept:z", "username").await,
        Vec::<String>::new()
    );
    let none = json!({ "username": "alice", "attributes": {} });
    case.expect("PUT", &path, Some(none), 204, Value::Null)
        .await;
    assert!(case.get(&path).await.get("attributes").is_none());
}

async fn searching(case: Arc<Case>) {
    let alice = json!({
        "username": "alice", "firstName": "Alice", "lastName": "Ng", "email": "alice@example.org", "enabled": true,
        "emailVerified": true,
    });
    let id = case.post("/users", alice).await;
    case.post(
        "/users",
        json!({ "username": "bob", "lastName": "I", "enabled": true }),
    )
    .await;
    case.post("/users", json!({ "username": "dis" })).await;
    case.client_with(&[]).await;
    let by_id = format!("search=id:{id}");
    let table: &[(&str, &[&str], u64)] = &[
        ("", &["alice", "bob", "dis"], 3),
        ("search=ali", &["alice"], 1),
        ("search=*li*", &["alice"], 1),
        ("search=lic", &[], 0),
        ("search=%22alice%22", &["alice"], 1),
        ("search=Alice%20Ng", &["alice"], 1),
        ("search=ng", &["alice"], 1),
        ("search=service", &[], 0),
        ("search=nothing", &[], 0),
        ("search=a%20b", &[], 0),
        ("search=", &["alice", "bob", "dis"], 3),
        (&by_id, &["alice"], 1),
        ("exact=true&search=alice", &["alice"], 1),
        ("username=ali", &["alice"], 1),
        ("username=lic", &["alice"], 1),
        ("username=ali&exact=true", &[], 0),
        ("username=ALICE&exact=true", &["alice"], 1),
        ("username=service-account", &["service-account-c-"], 1),
        ("email=example", &["alice"], 1),
        ("lastName=n", &["alice"], 1),
        ("firstName=alice&lastName=ng", &["alice"], 1),
        ("emailVerified=true", &["alice"], 1),
        ("enabled=false", &["dis"], 1),
        ("enabled=true", &["alice", "bob", "service-account-c-"], 3),
        ("first=1", &["bob", "dis"], 3),
        ("max=1", &["alice"], 3),
        ("first=1&max=1", &["bob"], 3),
        ("first=9", &[], 3),
        ("max=0", &[], 3),
        ("max=-1", &["alice", "bob", "dis"], 3),
        ("first=-1", &["alice", "bob", "dis"], 3),
        ("q=dept:x", &[], 0),
    ];
    for (query, names, count) in table {
        assert_eq!(
            case.names(&format!("/users?{query}"), "username").await,
            *names,
            "{query}"
        );
        assert_eq!(
            case.get(&format!("/users/count?{query}")).await,
            *count,
            "count {query}"
        );
    }
    case.expect(
        "GET",
        "/users?max=x",
        None,
        404,
        error("HTTP 404 Not Found"),
    )
    .await;
}

async fn groups(case: Arc<Case>) {
    let made = case
        .ask("POST", "/groups", Some(json!({ "name": "eng" })))
        .await;
    let eng = made.id();
    assert_eq!((made.body.as_str(), made.kind.as_str()), ("", ""));
    case.post("/groups", json!({ "name": "ENG" })).await;
    case.post("/groups", json!({ "name": "a/b" })).await;
    case.post(
        "/groups",
        json!({ "name": "jira", "attributes": { "k": ["v"] } }),
    )
    .await;
    let child = case
        .ask(
            "POST",
            &format!("/groups/{eng}/children"),
            Some(json!({ "name": "platform" })),
        )
        .await;
    let platform = child.id();
    assert_eq!(child.json()["path"], "/eng/platform");
    assert_eq!(child.json()["parentId"], eng.as_str());
    case.post(&format!("/groups/{eng}/children"), json!({ "name": "web" }))
        .await;

    let refused = [
        (
            "/groups",
            json!({ "name": "eng" }),
            409,
            message("Top level group named 'eng' already exists."),
        ),
        ("/groups", json!({}), 400, message("Group name is missing")),
        (
            "/groups",
            json!({ "name": "" }),
            400,
            message("Group name is missing"),
        ),
        (
            "/groups",
            json!({ "name": " " }),
            400,
            message("Group name is missing"),
        ),
        (
            "/groups/nope/children",
            json!({ "name": "x" }),
            404,
            error("Could not find group by id"),
        ),
    ];
    for (path, body, status, answer) in refused {
        case.expect("POST", path, Some(body), status, answer).await;
    }
    let twice = message("Sibling group named 'platform' already exists.");
    case.expect(
        "POST",
        &format!("/groups/{eng}/children"),
        Some(json!({ "name": "platform" })),
        409,
        twice,
    )
    .await;

    let top = case.get("/groups").await;
    assert_eq!(
        case.names("/groups", "name").await,
        ["ENG", "a/b", "eng", "jira"]
    );
    let brief = ["access", "id", "name", "path", "subGroupCount", "subGroups"];
    assert_eq!(keys(&top[2]), brief);
    assert_eq!(
        (&top[2]["subGroupCount"], &top[2]["subGroups"]),
        (&json!(2), &json!([]))
    );
    let access = [
        "manage",
        "manageMembers",
        "manageMembership",
        "view",
        "viewMembers",
    ];
    assert_eq!(keys(&top[2]["access"]), access);
    let full = case.get("/groups?briefRepresentation=false").await;
    assert_eq!(full[3]["attributes"], json!({ "k": ["v"] }));
    assert_eq!(keys(&full[3]).len(), brief.len() + 3);
    assert_eq!(
        case.names("/groups?first=1&max=2", "name").await,
        ["a/b", "eng"]
    );
    assert!(
        case.get("/groups?subGroupsCount=false").await[0]
            .get("subGroupCount")
            .is_none()
    );
    let found = case.get("/groups?search=plat").await;
    assert_eq!(
        (&found[0]["name"], &found[0]["subGroups"][0]["name"]),
        (&json!("eng"), &json!("platform"))
    );
    assert_eq!(
        case.names("/groups?search=eng", "name").await,
        ["ENG", "eng"]
    );
    assert_eq!(
        case.names("/groups?search=plat&populateHierarchy=false", "name")
            .await,
        ["platform"]
    );
    assert_eq!(case.names("/groups?q=k:v", "name").await, ["jira"]);
    assert_eq!(case.get("/groups/count").await, json!({ "count": 6 }));
    assert_eq!(
        case.get("/groups/count?top=true").await,
        json!({ "count": 4 })
    );

    let one = case.get(&format!("/groups/{platform}")).await;
    let all = [
        "access",
        "attributes",
        "clientRoles",
        "id",
        "name",
        "parentId",
        "path",
        "realmRoles",
        "subGroupCount",
        "subGroups",
    ];
    assert_eq!(keys(&one), all);
    let children = format!("/groups/{eng}/children");
    assert_eq!(case.names(&children, "name").await, ["platform", "web"]);
    assert_eq!(
        case.names(&format!("{children}?search=plat"), "name").await,
        ["platform"]
    );
    assert!(
        case.get(&format!("{children}?briefRepresentation=true"))
            .await[0]
            .get("attributes")
            .is_none()
    );
    for path in [
        "/groups/nope",
        "/groups/nope/members",
        "/groups/nope/children",
    ] {
        case.expect("GET", path, None, 404, error("Could not find group by id"))
            .await;
    }
    assert_eq!(
        case.get("/group-by-path/eng/platform").await["id"],
        platform.as_str()
    );
    case.expect(
        "GET",
        "/group-by-path/nope",
        None,
        404,
        error("Group path does not exist"),
    )
    .await;

    let path = format!("/groups/{eng}");
    let sibling = message("Sibling group named 'jira' already exists.");
    case.expect("PUT", &path, Some(json!({ "name": "jira" })), 409, sibling)
        .await;
    case.expect(
        "PUT",
        &path,
        Some(json!({})),
        400,
        message("Group name is missing"),
    )
    .await;
    case.expect(
        "PUT",
        "/groups/nope",
        Some(json!({ "name": "x" })),
        404,
        error("Could not find group by id"),
    )
    .await;
    case.expect(
        "PUT",
        &path,
        Some(json!({ "name": "engineering" })),
        204,
        Value::Null,
    )
    .await;
    assert_eq!(
        case.get(&format!("/groups/{platform}")).await["path"],
        "/engineering/platform"
    );
    case.expect("DELETE", &path, None, 204, Value::Null).await;
    case.expect(
        "DELETE",
        &path,
        None,
        404,
        error("Could not find group by id"),
    )
    .await;
    case.expect(
        "GET",
        &format!("/groups/{platform}"),
        None,
        404,
        error("Could not find group by id"),
    )
    .await;
    assert_eq!(case.get("/groups/count").await, json!({ "count": 3 }));
}

async fn pages(case: Arc<Case>) {
    let group = case.post("/groups", json!({ "name": "big" })).await;
    for n in 0..12 {
        case.post(
            &format!("/groups/{group}/children"),
            json!({ "name": format!("c{n:02}") }),
        )
        .await;
    }
    let users: Vec<Value> = (0..105)
        .map(|n| json!({ "username": format!("u{:03}", 200 - n), "enabled": true, "groups": ["/big"] }))
        .collect();
    let import = json!({ "ifResourceExists": "FAIL", "users": users });
    let answer = case.ask("POST", "/partialImport", Some(import)).await;
    assert_eq!((answer.status, &answer.json()["added"]), (200, &json!(105)));

    let sorted: Vec<String> = (96..=200).map(|n| format!("u{n:03}")).collect();
    assert_eq!(
        case.names("/users", "username").await,
        sorted[..100],
        "100 users a page, by login"
    );
    assert_eq!(
        case.names("/users?first=100", "username").await,
        sorted[100..]
    );
    assert_eq!(
        case.names("/users?first=100&max=1000", "username").await,
        sorted[100..]
    );
    assert_eq!(case.names("/users?max=1000", "username").await, sorted);
    let members = format!("/groups/{group}/members");
    assert_eq!(
        case.names(&members, "username").await,
        sorted[..100],
        "100 members a page, by login"
    );
    assert_eq!(
        case.names(&format!("{members}?first=50&max=3"), "username")
            .await,
        sorted[50..53]
    );
    assert_eq!(
        case.names(&format!("{members}?first=100"), "username")
            .await,
        sorted[100..]
    );
    let member = case.get(&format!("{members}?max=1")).await;
    assert!(member[0].get("access").is_none() && member[0].get("totp").is_some());
    let brief = case
        .get(&format!("{members}?max=1&briefRepresentation=true"))
        .await;
    assert_eq!(
        keys(&brief[0]),
        [
            "createdTimestamp",
            "emailVerified",
            "enabled",
            "id",
            "username"
        ]
    );
    let children = format!("/groups/{group}/children");
    assert_eq!(
        case.names(&children, "name").await.len(),
        10,
        "10 children a page"
    );
    assert_eq!(
        case.names(&format!("{children}?first=10"), "name").await,
        ["c10", "c11"]
    );
    assert_eq!(
        case.names(&format!("{children}?max=100"), "name")
            .await
            .len(),
        12
    );
    assert_eq!(
        case.get(&format!("/groups/{group}")).await["subGroupCount"],
        12
    );
}

async fn memberships(case: Arc<Case>) {
    let bob = case
        .post(
            "/users",
            json!({ "username": "bob", "email": "bob@example.org", "enabled": true }),
        )
        .await;
    let eng = case.post("/groups", json!({ "name": "eng" })).await;
    let platform = case
        .post(
            &format!("/groups/{eng}/children"),
            json!({ "name": "platform" }),
        )
        .await;
    case.events().await;
    let (in_eng, in_platform) = (
        format!("/users/{bob}/groups/{eng}"),
        format!("/users/{bob}/groups/{platform}"),
    );
    let shown = |id: &str, name: &str, path: &str, parent: Option<&str>| {
        let mut group = json!({
            "id": id, "name": name, "path": path, "subGroups": [], "attributes": {}, "realmRoles": [],
            "clientRoles": {},
        });
        if let Some(parent) = parent {
            group["parentId"] = json!(parent);
        }
        group
    };
    let details = json!({ "username": "bob", "email": "bob@example.org" });
    let event = |operation: &str, path: &str, group: &Value| {
        json!([
            operation,
            "GROUP_MEMBERSHIP",
            path.trim_start_matches('/'),
            group,
            details
        ])
    };
    let low = shown(&platform, "platform", "/eng/platform", Some(&eng));
    let high = shown(&eng, "eng", "/eng", None);
    case.expect("PUT", &in_platform, None, 204, Value::Null)
        .await;
    assert_eq!(case.events().await, [event("CREATE", &in_platform, &low)]);
    case.expect("PUT", &in_platform, Some(json!({})), 204, Value::Null)
        .await;
    assert_eq!(
        case.events().await,
        Vec::<Value>::new(),
        "joining twice leaves no event"
    );
    let groups = case.get(&format!("/users/{bob}/groups")).await;
    assert_eq!(
        keys(&groups[0]),
        ["id", "name", "parentId", "path", "subGroups"]
    );
    assert_eq!(
        case.get(&format!("/users/{bob}/groups/count")).await,
        json!({ "count": 1 })
    );
    assert_eq!(
        case.get(&format!("/groups/{eng}/members")).await,
        json!([]),
        "only direct members"
    );
    case.expect("DELETE", &in_eng, None, 204, Value::Null).await;
    assert_eq!(
        case.events().await,
        [event("DELETE", &in_eng, &high)],
        "leaving an inherited group leaves an event"
    );
    assert_eq!(
        case.names(&format!("/groups/{platform}/members"), "username")
            .await,
        ["bob"]
    );
    case.expect("DELETE", &in_platform, None, 204, Value::Null)
        .await;
    assert_eq!(case.events().await, [event("DELETE", &in_platform, &low)]);
    case.expect("DELETE", &in_platform, None, 204, Value::Null)
        .await;
    assert_eq!(
        case.events().await,
        Vec::<Value>::new(),
        "leaving without being in leaves no event"
    );
    let nope = error("Group not found");
    case.expect(
        "PUT",
        &format!("/users/{bob}/groups/nope"),
        None,
        404,
        nope.clone(),
    )
    .await;
    case.expect(
        "DELETE",
        &format!("/users/{bob}/groups/nope"),
        None,
        404,
        nope,
    )
    .await;
    case.expect(
        "PUT",
        &format!("/users/nope/groups/{eng}"),
        None,
        404,
        error("User not found"),
    )
    .await;
    // A renamed user stays where it is in the roster's order.
    case.ask("PUT", &in_eng, None).await;
    let anna = case
        .post(
            "/users",
            json!({ "username": "mid", "enabled": true, "groups": ["/eng"] }),
        )
        .await;
    assert_eq!(
        case.names(&format!("/groups/{eng}/members"), "username")
            .await,
        ["bob", "mid"]
    );
    case.ask(
        "PUT",
        &format!("/users/{anna}"),
        Some(json!({ "username": "anna" })),
    )
    .await;
    assert_eq!(
        case.names(&format!("/groups/{eng}/members"), "username")
            .await,
        ["anna", "bob"]
    );
    case.ask("DELETE", &format!("/users/{bob}"), None).await;
    assert_eq!(
        case.names(&format!("/groups/{eng}/members"), "username")
            .await,
        ["anna"]
    );
}

async fn group_events(case: Arc<Case>) {
    case.events().await;
    let eng = case.post("/groups", json!({ "name": "eng" })).await;
    let sub = case
        .post(
            &format!("/groups/{eng}/children"),
            json!({ "name": "platform" }),
        )
        .await;
    let other = case.post("/groups", json!({ "name": "jira" })).await;
    let body = |id: &str, name: &str| json!({ "id": id, "name": name, "subGroups": [] });
    let made = [
        json!([
            "CREATE",
            "GROUP",
            format!("groups/{eng}"),
            body(&eng, "eng"),
            null
        ]),
        json!([
            "CREATE",
            "GROUP",
            format!("groups/{eng}/children"),
            body(&sub, "platform"),
            null
        ]),
        json!([
            "CREATE",
            "GROUP",
            format!("groups/{other}"),
            body(&other, "jira"),
            null
        ]),
    ];
    assert_eq!(case.events().await, made);
    let moved = body(&sub, "platform");
    let rename = json!({ "name": "engineering" });
    case.expect(
        "PUT",
        &format!("/groups/{eng}"),
        Some(rename),
        204,
        Value::Null,
    )
    .await;
    case.expect(
        "POST",
        "/groups",
        Some(json!({ "id": sub, "name": "platform" })),
        204,
        Value::Null,
    )
    .await;
    assert_eq!(
        case.get(&format!("/groups/{sub}")).await["path"],
        "/platform"
    );
    let below = format!("/groups/{other}/children");
    case.expect(
        "POST",
        &below,
        Some(json!({ "id": sub, "name": "platform" })),
        204,
        Value::Null,
    )
    .await;
    assert_eq!(
        case.get(&format!("/groups/{sub}")).await["path"],
        "/jira/platform"
    );
    let own = format!("/groups/{sub}/children");
    case.expect(
        "POST",
        &own,
        Some(json!({ "id": other, "name": "jira" })),
        500,
        broke(),
    )
    .await;
    case.expect(
        "POST",
        &own,
        Some(json!({ "id": sub, "name": "platform" })),
        204,
        Value::Null,
    )
    .await;
    let lost = error("Could not find child by id");
    case.expect(
        "POST",
        &below,
        Some(json!({ "id": "nope", "name": "x" })),
        404,
        lost,
    )
    .await;
    let changed = [
        json!(["UPDATE", "GROUP", format!("groups/{eng}"), { "name": "engineering", "subGroups": [] }, null]),
        json!(["UPDATE", "GROUP", "groups", moved, null]),
        json!([
            "UPDATE",
            "GROUP",
            format!("groups/{other}/children"),
            moved,
            null
        ]),
        json!([
            "UPDATE",
            "GROUP",
            format!("groups/{sub}/children"),
            moved,
            null
        ]),
    ];
    assert_eq!(case.events().await, changed);
    let bob = case
        .post("/users", json!({ "username": "bob", "enabled": true }))
        .await;
    case.ask("PUT", &format!("/users/{bob}/groups/{sub}"), None)
        .await;
    case.events().await;
    case.expect(
        "DELETE",
        &format!("/groups/{other}"),
        None,
        204,
        Value::Null,
    )
    .await;
    let gone = json!([
        "DELETE",
        "GROUP",
        format!("groups/{other}"),
        body(&other, "jira"),
        null
    ]);
    assert_eq!(
        case.events().await,
        [gone],
        "nothing for children and members"
    );
    assert_eq!(case.get(&format!("/users/{bob}/groups")).await, json!([]));
}

async fn other_events(case: Arc<Case>) {
    let group = case.post("/groups", json!({ "name": "everybody" })).await;
    case.events().await;
    let default = format!("/default-groups/{group}");
    case.expect("PUT", &default, None, 204, Value::Null).await;
    assert_eq!(case.names("/default-groups", "name").await, ["everybody"]);
    case.expect(
        "PUT",
        "/default-groups/nope",
        None,
        404,
        error("Group not found"),
    )
    .await;
    let sent = json!({ "username": "dave", "email": "dave@example.org", "enabled": true });
    let dave = case.post("/users", sent.clone()).await;
    let path = format!("/users/{dave}");
    assert_eq!(
        case.names(&format!("{path}/groups"), "name").await,
        ["everybody"]
    );
    let password = json!({ "type": "password", "value": "x", "temporary": false });
    case.expect(
        "PUT",
        &format!("{path}/reset-password"),
        Some(password),
        204,
        Value::Null,
    )
    .await;
    case.expect("POST", &format!("{path}/logout"), None, 204, Value::Null)
        .await;
    case.expect("DELETE", &default, None, 204, Value::Null)
        .await;
    case.expect(
        "PUT",
        "",
        Some(json!({ "displayName": "Acme" })),
        204,
        Value::Null,
    )
    .await;
    let expected = [
        json!([
            "CREATE",
            "GROUP",
            format!("default-groups/{group}"),
            null,
            null
        ]),
        json!(["CREATE", "USER", format!("users/{dave}"), sent, null]),
        json!([
            "ACTION",
            "USER",
            format!("users/{dave}/reset-password"),
            null,
            null
        ]),
        json!(["ACTION", "USER", format!("users/{dave}/logout"), null, null]),
        json!([
            "DELETE",
            "GROUP",
            format!("default-groups/{group}"),
            null,
            null
        ]),
        json!(["UPDATE", "REALM", null, { "displayName": "Acme" }, null]),
    ];
    assert_eq!(case.events().await, expected);
    let with_group = json!({ "username": "gina", "groups": ["/everybody"], "credentials": [{ "type": "password", "value": "x" }] });
    let gina = case.post("/users", with_group).await;
    let shown = json!({ "username": "gina", "groups": ["/everybody"] });
    let event = json!(["CREATE", "USER", format!("users/{gina}"), shown, null]);
    assert_eq!(
        case.events().await,
        [event],
        "no membership event, no password"
    );
}

async fn roles(case: Arc<Case>) {
    let bob = case
        .post("/users", json!({ "username": "bob", "enabled": true }))
        .await;
    let eng = case.post("/groups", json!({ "name": "eng" })).await;
    case.events().await;
    case.expect("GET", "/roles/app", None, 404, error("Could not find role"))
        .await;
    assert_eq!(
        case.ask("POST", "/roles", Some(json!({ "name": "app" })))
            .await
            .status,
        201
    );
    let twice = message("Role with name app already exists");
    case.expect("POST", "/roles", Some(json!({ "name": "app" })), 409, twice)
        .await;
    let role = case.get("/roles/app").await;
    assert_eq!(
        keys(&role),
        [
            "attributes",
            "clientRole",
            "composite",
            "containerId",
            "id",
            "name"
        ]
    );
    let default = format!("default-roles-{}", case.realm);
    let all = case.names("/roles", "name").await;
    for name in ["app", "offline_access", "uma_authorization", &default] {
        assert!(all.iter().any(|one| one == name), "{name} in {all:?}");
    }
    let path = format!("/users/{bob}/role-mappings/realm");
    assert_eq!(case.names(&path, "name").await, [default.clone()]);
    case.expect("POST", &path, Some(json!([role])), 204, Value::Null)
        .await;
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(case.names(&path, "name").await), ["app", &default]);
    let composite = sorted(case.names(&format!("{path}/composite"), "name").await);
    assert_eq!(
        composite,
        ["app", &default, "offline_access", "uma_authorization"]
    );
    assert_eq!(case.names("/roles/app/users", "username").await, ["bob"]);
    case.expect("DELETE", &path, Some(json!([role])), 204, Value::Null)
        .await;
    let group_path = format!("/groups/{eng}/role-mappings/realm");
    case.expect("POST", &group_path, Some(json!([role])), 204, Value::Null)
        .await;
    assert_eq!(case.names("/roles/app/groups", "name").await, ["eng"]);
    assert_eq!(
        case.names("/roles/app/users", "username").await,
        Vec::<String>::new(),
        "only direct holders"
    );
    case.ask("PUT", &format!("/users/{bob}/groups/{eng}"), None)
        .await;
    let composite = sorted(case.names(&format!("{path}/composite"), "name").await);
    assert!(composite.contains(&"app".to_owned()), "{composite:?}");
    let missing = json!([{ "id": "x", "name": "nope" }]);
    case.expect("POST", &path, Some(missing), 404, error("Role not found"))
        .await;
    let events = case.events().await;
    let heads: Vec<Value> = events
        .iter()
        .map(|event| json!([event[0], event[1], event[2]]))
        .collect();
    let expected = [
        json!(["CREATE", "REALM_ROLE", "roles/app"]),
        json!(["CREATE", "REALM_ROLE_MAPPING", path[1..]]),
        json!(["DELETE", "REALM_ROLE_MAPPING", path[1..]]),
        json!(["CREATE", "REALM_ROLE_MAPPING", group_path[1..]]),
        json!([
            "CREATE",
            "GROUP_MEMBERSHIP",
            format!("users/{bob}/groups/{eng}")
        ]),
    ];
    assert_eq!(heads, expected);
    assert_eq!(events[1][3], json!([role]));
    assert_eq!(keys(&events[0][3]), ["composite", "id", "name"]);
}

async fn partial_imports(case: Arc<Case>) {
    let old = case
        .post(
            "/users",
            json!({ "username": "alice", "email": "old@example.org", "enabled": true }),
        )
        .await;
    case.post("/groups", json!({ "name": "eng" })).await;
    case.events().await;
    let import =
        |policy: &str, users: Value| Some(json!({ "ifResourceExists": policy, "users": users }));
    let alice = json!({ "username": "alice", "email": "new@example.org", "enabled": true, "groups": ["/eng"] });
    let exists = message("User with user name alice already exists.");
    case.expect(
        "POST",
        "/partialImport",
        import("FAIL", json!([alice])),
        409,
        exists,
    )
    .await;
    let lost = json!([{ "username": "lost", "groups": ["/nowhere"] }]);
    case.expect("POST", "/partialImport", import("FAIL", lost), 500, broke())
        .await;
    assert_eq!(case.events().await, Vec::<Value>::new());
    let skipped = case
        .ask("POST", "/partialImport", import("SKIP", json!([alice])))
        .await
        .json();
    let result =
        json!({ "action": "SKIPPED", "resourceType": "USER", "resourceName": "alice", "id": old });
    assert_eq!(
        skipped,
        json!({ "overwritten": 0, "added": 0, "skipped": 1, "results": [result] })
    );
    let both = json!([alice, { "username": "zed", "enabled": true }]);
    let done = case
        .ask("POST", "/partialImport", import("OVERWRITE", both))
        .await
        .json();
    assert_eq!(
        (&done["overwritten"], &done["added"]),
        (&json!(1), &json!(1))
    );
    let (new, zed) = (
        done["results"][0]["id"].clone(),
        done["results"][1]["id"].clone(),
    );
    assert_ne!(new, old.as_str(), "overwriting makes a new id");
    case.expect(
        "GET",
        &format!("/users/{old}"),
        None,
        404,
        error("User not found"),
    )
    .await;
    let new = new.as_str().expect("an id");
    assert_eq!(
        case.names(&format!("/users/{new}/groups"), "name").await,
        ["eng"]
    );
    let roles = case.get(&format!("/users/{new}/role-mappings/realm")).await;
    assert_eq!(roles, json!([]), "not even the default role");
    let mut shown = alice.clone();
    shown["id"] = json!(new);
    let added = json!({ "id": zed, "username": "zed", "enabled": true });
    let zed = zed.as_str().expect("an id");
    let expected = [
        json!(["UPDATE", "REALM", format!("users/{new}"), shown, null]),
        json!(["CREATE", "REALM", format!("users/{zed}"), added, null]),
    ];
    assert_eq!(
        case.events().await,
        expected,
        "resource type REALM, and none for the id that is gone"
    );
}

async fn event_store(case: Arc<Case>) {
    let first = case
        .post("/users", json!({ "username": "first", "enabled": true }))
        .await;
    case.post("/groups", json!({ "name": "eng" })).await;
    case.ask("DELETE", &format!("/users/{first}"), None).await;
    let all = case.get("/admin-events?direction=asc").await;
    let event = &all[0];
    let fields = [
        "authDetails",
        "id",
        "operationType",
        "realmId",
        "representation",
        "resourcePath",
        "resourceType",
        "time",
    ];
    assert_eq!(keys(event), fields);
    assert_eq!(
        keys(&event["authDetails"]),
        ["clientId", "ipAddress", "realmId", "userId"]
    );
    assert!(event["representation"].is_string() && event["time"].is_i64());
    let count = |value: Value| value.as_array().map_or(0, Vec::len);
    assert_eq!(count(all.clone()), 3);
    assert_eq!(
        case.get("/admin-events").await[0]["operationType"],
        "DELETE",
        "newest first"
    );
    let (from, to) = (
        all[1]["time"].as_i64().expect("time"),
        all[2]["time"].as_i64().expect("time"),
    );
    // Two events may share a millisecond.
    let within = |from: i64, to: i64| {
        let times = all.as_array().expect("a list").iter().filter_map(|event| event["time"].as_i64());
        times.filter(|time| (from..=to).contains(time)).count()
    };
    let user = event["authDetails"]["userId"].as_str().expect("an id");
    let table = [
        (format!("dateFrom={from}"), within(from, i64::MAX)),
        (format!("dateTo={from}"), within(0, from)),
        (format!("dateFrom={to}&dateTo={to}"), within(to, to)),
        ("dateTo=1".into(), 0),
        ("dateFrom=2026-01-01".into(), 3),
        ("dateTo=2026-01-01".into(), 0),
        ("operationTypes=CREATE".into(), 2),
        ("operationTypes=CREATE&operationTypes=DELETE".into(), 3),
        ("resourceTypes=USER".into(), 2),
        ("resourceTypes=USER&operationTypes=CREATE".into(), 1),
        ("resourcePath=users/*".into(), 2),
        ("resourcePath=*".into(), 3),
        (format!("resourcePath=users/{first}"), 2),
        ("resourcePath=users".into(), 0),
        (format!("authUser={user}"), 3),
        ("authUser=nope".into(), 0),
        ("authClient=nope".into(), 0),
        ("authRealm=nope".into(), 0),
        ("authIpAddress=9.9.9.9".into(), 0),
        ("max=2".into(), 2),
        ("max=0".into(), 0),
        ("max=-1".into(), 3),
        ("first=2".into(), 1),
    ];
    for (query, expected) in table {
        assert_eq!(
            count(case.get(&format!("/admin-events?{query}")).await),
            expected,
            "{query}"
        );
    }
    let format = |name: &str| {
        format!("Invalid value for '{name}', expected format is yyyy-MM-dd or an Epoch timestamp")
    };
    let direction = "Invalid value for sortDirection, expected value is asc or desc";
    let refused = [
        (
            "/admin-events?dateFrom=abc",
            400,
            error(&format("dateFrom")),
        ),
        (
            "/admin-events?dateTo=2026-13-01",
            400,
            error(&format("dateTo")),
        ),
        (
            "/admin-events?dateFrom=2026-11-23T00:00:00Z",
            400,
            error(&format("dateFrom")),
        ),
        ("/admin-events?direction=DESC", 400, error(direction)),
        ("/admin-events?operationTypes=FOO", 500, broke()),
        ("/admin-events?resourceTypes=FOO", 500, broke()),
        ("/admin-events?max=x", 404, error("HTTP 404 Not Found")),
        ("/events?dateFrom=abc", 400, error(&format("dateFrom"))),
        ("/events?direction=x", 400, error(direction)),
        ("/events?type=FOO", 500, broke()),
    ];
    for (path, status, answer) in refused {
        case.expect("GET", path, None, status, answer).await;
    }

    case.client_with(&[]).await;
    let login = case
        .get("/events?type=CLIENT_LOGIN&type=REGISTER&client=c-")
        .await;
    assert_eq!(
        keys(&login[0]),
        [
            "clientId",
            "details",
            "id",
            "ipAddress",
            "realmId",
            "time",
            "type",
            "userId"
        ]
    );
    assert_eq!(count(case.get("/events?type=REGISTER").await), 0);
    assert_eq!(count(case.get("/events?user=nope").await), 0);
    assert_eq!(count(case.get("/events?client=nope").await), 0);

    let config = case.get("/events/config").await;
    let fields = [
        "adminEventsDetailsEnabled",
        "adminEventsEnabled",
        "enabledEventTypes",
        "eventsEnabled",
        "eventsListeners",
    ];
    assert_eq!(keys(&config), fields);
    assert!(
        config["enabledEventTypes"]
            .as_array()
            .expect("a list")
            .contains(&json!("REGISTER"))
    );
    let change = json!({ "adminEventsEnabled": true, "adminEventsDetailsEnabled": false });
    case.expect("PUT", "/events/config", Some(change), 204, Value::Null)
        .await;
    case.events().await;
    case.post("/groups", json!({ "name": "quiet" })).await;
    assert_eq!(
        case.events().await[0][3],
        Value::Null,
        "no representation unless asked for"
    );
    case.expect(
        "PUT",
        "/events/config",
        Some(json!({ "adminEventsEnabled": false })),
        204,
        Value::Null,
    )
    .await;
    case.expect("DELETE", "/admin-events", None, 204, Value::Null)
        .await;
    case.post("/groups", json!({ "name": "silent" })).await;
    assert_eq!(
        count(case.get("/admin-events").await),
        0,
        "clearing leaves no trace, and nothing more is stored"
    );
    case.expect("DELETE", "/events", None, 204, Value::Null)
        .await;
    assert_eq!(count(case.get("/events").await), 0);
}

async fn rights(case: Arc<Case>) {
    let user = case
        .post("/users", json!({ "username": "alice", "enabled": true }))
        .await;
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
    // One line a set of rights: the statuses of the paths above, in order; f is 403, n is 404.
    let table: &[(&[&str], &str)] = &[
        (
            &[],
            "f fff ff f f ff n f f f f f f f f f f f n f f f f n f f f f",
        ),
        (
            &["view-users"],
            "2 222 n2 2 2 22 n 2 2 f f f f f f 2 f f n f f f n n f f f f",
        ),
        (
            &["query-users"],
            "2 22f nf f f ff n f f f f f f f f 2 f f n f f f n n f f f f",
        ),
        (
            &["query-groups"],
            "2 fff ff f 2 2f n f f f f f f f f f f f n f f f f n f f f f",
        ),
        (
            &["manage-users"],
            "2 222 n2 2 2 22 n 2 2 f f f f f f 2 f f n 4 d n n n f f f f",
        ),
        (
            &["view-realm"],
            "2 fff ff f f ff n f f 2 f 2 f f f 2 2 2 n f f f f n f f f f",
        ),
        (
            &["view-events"],
            "2 fff ff f f ff n f f f f f 2 2 f f f f n f f f f n f f f f",
        ),
        (
            &["view-clients"],
            "2 fff ff f f ff n f f f f f f f 2 f f f n f f f f n f f f f",
        ),
        (
            &["view-realm", "view-users"],
            "2 222 n2 2 2 22 n 2 2 2 2 2 f f f 2 2 2 n f f f n n f f f f",
        ),
        (
            &["manage-events"],
            "2 fff ff f f ff n f f f f f 2 2 f f f f n f f f f n d f f f",
        ),
        (
            &["manage-realm"],
            "2 fff ff f f ff n f f 2 f 2 f f f 2 2 2 n f f f f n f 2 n 4",
        ),
    ];
    for (roles, expected) in table {
        let token = case.client_with(roles).await;
        let mut got = String::new();
        for path in &paths {
            let (method, path) = path.split_once(' ').expect("a method");
            let body = match path {
                "/partialImport" => Some(json!({ "ifResourceExists": "SKIP" })),
                path if method != "GET" && !path.contains("/groups/") && method != "DELETE" => {
                    Some(json!({}))
                }
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
    // Too few rights look like an empty realm.
    let token = case.client_with(&["query-users", "query-groups"]).await;
    assert_eq!(
        case.ask_as(&token, "GET", "/users", None).await.json(),
        json!([])
    );
    assert_eq!(
        case.ask_as(&token, "GET", "/users/count", None)
            .await
            .json(),
        1
    );
    assert_eq!(
        case.ask_as(&token, "GET", "/groups", None).await.json(),
        json!([])
    );
    assert_eq!(
        case.ask_as(&token, "GET", "/groups/count", None)
            .await
            .json(),
        json!({ "count": 1 })
    );
    let token = case.client_with(&["view-events", "view-users"]).await;
    let weak = case.ask_as(&token, "GET", "", None).await.json();
    assert!(
        weak.get("id").is_none() && weak["realm"] == case.realm.as_str(),
        "{weak}"
    );
    let mine = case
        .ask_as(&token, "GET", &format!("/users/{user}"), None)
        .await
        .json();
    assert_eq!(
        (&mine["access"]["view"], &mine["access"]["manage"]),
        (&json!(true), &json!(false))
    );
    let info = case
        .keycloak
        .call(&token, "GET", "/admin/serverinfo", None)
        .await
        .json();
    assert!(
        info.get("systemInfo").is_none(),
        "the version is not for everybody"
    );
    let foreign = case
        .keycloak
        .call(&token, "GET", "/admin/realms/master/users", None)
        .await;
    assert_eq!(foreign.status, 403);
}

async fn realm_gone(case: Arc<Case>) {
    let token = case.client_with(&["view-users"]).await;
    assert_eq!(case.ask_as(&token, "GET", "/users", None).await.status, 200);
    assert_eq!(case.ask("DELETE", "", None).await.status, 204);
    let late = case.ask_as(&token, "GET", "/users", None).await;
    assert_eq!(
        (late.status, late.json()),
        (401, error("HTTP 401 Unauthorized"))
    );
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "c-view-users"),
        ("client_secret", "s"),
    ];
    let lost = case.keycloak.token_answer(&case.realm, &form).await;
    assert_eq!(
        (lost.status, lost.json()),
        (404, error("Realm does not exist"))
    );
    let again = json!({ "realm": case.realm, "enabled": true });
    let made = case
        .keycloak
        .call(
            &case.keycloak.admin_token().await,
            "POST",
            "/admin/realms",
            Some(again),
        )
        .await;
    assert_eq!(made.status, 201);
    assert_eq!(
        case.ask_as(&token, "GET", "/users", None).await.status,
        401,
        "another realm of the same name"
    );
}

async fn clients(case: Arc<Case>) {
    let sent = json!({ "clientId": "usersync", "secret": "s3", "serviceAccountsEnabled": true, "publicClient": false });
    case.events().await;
    let id = case.post("/clients", sent).await;
    let event = case.events().await.remove(0);
    assert_eq!(
        (&event[0], &event[1], &event[2]),
        (
            &json!("CREATE"),
            &json!("CLIENT"),
            &json!(format!("clients/{id}"))
        )
    );
    assert_eq!(event[3]["secret"], "**********");
    let twice = case
        .ask("POST", "/clients", Some(json!({ "clientId": "usersync" })))
        .await;
    assert_eq!(
        (twice.status, twice.json()),
        (409, message("Client usersync already exists"))
    );
    let shown = case.get("/clients?clientId=usersync").await;
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&shown[0]["id"], &shown[0]["serviceAccountsEnabled"]),
        (&json!(id), &json!(true))
    );
    assert_eq!(case.get("/clients?clientId=nope").await, json!([]));
    let secret = case.get(&format!("/clients/{id}/client-secret")).await;
    assert_eq!(secret, json!({ "type": "secret", "value": "s3" }));
    let account = case
        .get(&format!("/clients/{id}/service-account-user"))
        .await;
    assert_eq!(account["username"], "service-account-usersync");
    let account = account["id"].as_str().expect("an id");
    let management = case.get("/clients?clientId=realm-management").await[0]["id"]
        .as_str()
        .expect("id")
        .to_owned();
    let roles = case
        .names(&format!("/clients/{management}/roles"), "name")
        .await;
    for name in ["view-users", "view-events", "view-realm", "realm-admin"] {
        assert!(roles.iter().any(|one| one == name), "{name} in {roles:?}");
    }
    let role = case
        .get(&format!("/clients/{management}/roles/view-events"))
        .await;
    let path = format!("/users/{account}/role-mappings/clients/{management}");
    assert!(
        case.names(&format!("{path}/available"), "name")
            .await
            .contains(&"view-events".to_owned())
    );
    case.events().await;
    case.expect("POST", &path, Some(json!([role])), 204, Value::Null)
        .await;
    assert_eq!(case.names(&path, "name").await, ["view-events"]);
    let event = case.events().await.remove(0);
    assert_eq!(
        event,
        json!(["CREATE", "CLIENT_ROLE_MAPPING", path[1..], [role], null])
    );
    let mappings = case.get(&format!("/users/{account}/role-mappings")).await;
    assert_eq!(
        mappings["clientMappings"]["realm-management"]["mappings"][0]["name"],
        "view-events"
    );
    let renewed = case
        .ask("POST", &format!("/clients/{id}/client-secret"), None)
        .await;
    assert_eq!(
        (renewed.status, &renewed.json()["type"]),
        (200, &json!("secret"))
    );
    assert_ne!(renewed.json()["value"], "s3");
}

type Run = fn(Arc<Case>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), (|case| Box::pin($name(case))) as Run)),*]
    };
}

const CASES: &[(&str, Run)] = cases![
    tokens,
    addresses,
    users,
    changing_users,
    attributes,
    searching,
    groups,
    pages,
    memberships,
    group_events,
    other_events,
    roles,
    partial_imports,
    event_store,
    rights,
    realm_gone,
    clients,
];

/// Runs all cases, each in a realm of its own, and tells of all that failed.
async fn run(keycloak: Keycloak) {
    let keycloak = Arc::new(keycloak);
    let mut failed = Map::new();
    for (name, work) in CASES {
        let realm = keycloak.new_realm().await;
        let token = keycloak.admin_token().await;
        let case = Arc::new(Case {
            keycloak: Arc::clone(&keycloak),
            realm: realm.clone(),
            token,
        });
        if let Err(error) = tokio::spawn(work(case)).await {
            failed.insert((*name).to_owned(), json!(error.to_string()));
        }
        keycloak
            .call(
                &keycloak.admin_token().await,
                "DELETE",
                &format!("/admin/realms/{realm}"),
                None,
            )
            .await;
    }
    assert!(
        failed.is_empty(),
        "{} of {} cases failed: {failed:#?}",
        failed.len(),
        CASES.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_keeps_the_contract() {
    run(Keycloak::sandbox().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_keycloak_keeps_the_contract() {
    match Keycloak::real() {
        Some(keycloak) => run(keycloak).await,
        None => eprintln!("skipped: USERSYNC_TEST_KEYCLOAK_URL is not set"),
    }
}
