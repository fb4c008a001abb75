//! Users.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Case, broke, error, keys, message};

pub(crate) async fn users(case: Arc<Case>) {
    let alice = json!({
        "username": "Alice", "firstName": "Alice", "lastName": "Ng", "email": "Alice@Example.org", "enabled": true,
    });
    let made = case.ask("POST", "/users", Some(alice.clone())).await;
    assert_eq!(made.location, format!("{}/admin/realms/{}/users/{}", case.keycloak.url, case.realm, made.id()));
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
    assert_eq!((&shown["username"], &shown["email"]), (&json!("alice"), &json!("alice@example.org")));
    assert_eq!((&shown["firstName"], &shown["enabled"]), (&json!("Alice"), &json!(true)));
    assert_eq!((&shown["emailVerified"], &shown["notBefore"]), (&json!(false), &json!(0)));
    let access = ["impersonate", "manage", "manageGroupMembership", "mapRoles", "resetPassword", "view"];
    assert_eq!(keys(&shown["access"]), access);
    let listed = case.get("/users").await;
    assert_eq!(keys(&listed[0]), full);
    assert_eq!(listed[0]["access"], json!({ "manage": true }));
    let brief = case.get("/users?briefRepresentation=true").await;
    let short =
        ["access", "createdTimestamp", "email", "emailVerified", "enabled", "firstName", "id", "lastName", "username"];
    assert_eq!(keys(&brief[0]), short);
    assert_eq!(case.get("/users/count").await, 1);

    let bare = case.post("/users", json!({ "username": "bare", "id": "11111111-1111-1111-1111-111111111111" })).await;
    assert_ne!(bare, "11111111-1111-1111-1111-111111111111", "an id that is sent is not taken");
    let shown = case.get(&format!("/users/{bare}")).await;
    assert_eq!(shown["enabled"], false);
    assert!(shown.get("email").is_none() && shown.get("firstName").is_none());

    let invalid = |field: &str, text: &str, more: Value| {
        let mut params = vec![json!(field)];
        params.extend(more.as_array().cloned().unwrap_or_default());
        json!({ "field": field, "errorMessage": text, "params": params })
    };
    let bad = [
        (json!({ "username": "alice" }), 409, message("User exists with same username")),
        (json!({ "username": "ALICE" }), 409, message("User exists with same username")),
        (json!({ "username": "other", "email": "ALICE@example.org" }), 409, message("User exists with same email")),
        (json!({}), 400, message("User name is missing")),
        (json!({ "username": "" }), 400, message("User name is missing")),
        (json!({ "username": "ab" }), 400, invalid("username", "error-invalid-length", json!([3, 255]))),
        (json!({ "username": "bad <x>" }), 400, invalid("username", "error-username-invalid-character", Value::Null)),
        (json!({ "username": "badmail", "email": "no" }), 400, invalid("email", "error-invalid-email", json!(["no"]))),
        (json!({ "username": "lost", "groups": ["/nowhere"] }), 500, broke()),
    ];
    case.events().await;
    for (body, status, answer) in bad {
        case.expect("POST", "/users", Some(body), status, answer).await;
    }
    let unknown = case.ask("POST", "/users", Some(json!({ "username": "unk", "foo": 1 }))).await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.body.contains("Unrecognized field \\\"foo\\\""), "{}", unknown.body);
    let path = format!("/admin/realms/{}/users", case.realm);
    let broken = case.keycloak.raw(&case.token, &path, "application/json", "{bad").await;
    assert_eq!((broken.status, &broken.json()["error_description"]), (400, &json!("Cannot parse the JSON")));
    assert_eq!(case.keycloak.raw(&case.token, &path, "text/plain", "{}").await.status, 415);
    assert_eq!(case.events().await, Vec::<Value>::new(), "what is refused leaves no event");
    for (method, body) in [("GET", None), ("PUT", Some(json!({}))), ("DELETE", None)] {
        case.expect(method, "/users/nope", body, 404, error("User not found")).await;
    }
}

pub(crate) async fn changing_users(case: Arc<Case>) {
    let alice = json!({ "username": "alice", "email": "alice@example.org", "enabled": true });
    case.post("/users", alice).await;
    let bob =
        json!({ "username": "bob", "firstName": "Bob", "lastName": "I", "email": "bob@example.org", "enabled": true });
    let id = case.post("/users", bob).await;
    let path = format!("/users/{id}");
    let name = |user: &Value| {
        let field = |name: &str| user.get(name).cloned().unwrap_or(Value::Null);
        json!([field("username"), field("firstName"), field("lastName"), field("email"), field("enabled")])
    };
    let steps = [
        (json!({ "username": "Bobby" }), json!(["bobby", "Bob", "I", "bob@example.org", true])),
        (json!({ "firstName": "Robert" }), json!(["bobby", "Robert", "I", "bob@example.org", true])),
        (json!({ "enabled": false }), json!(["bobby", "Robert", "I", "bob@example.org", false])),
        (json!({ "firstName": null, "email": "" }), json!(["bobby", "Robert", "I", null, false])),
        (json!({ "firstName": "", "enabled": true }), json!(["bobby", null, "I", null, true])),
        (json!({}), json!(["bobby", null, "I", null, true])),
        (json!({ "email": "New@Example.org" }), json!(["bobby", null, "I", "new@example.org", true])),
    ];
    case.events().await;
    for (change, after) in steps {
        case.expect("PUT", &path, Some(change.clone()), 204, Value::Null).await;
        assert_eq!(name(&case.get(&path).await), after, "{change}");
        let mut sent = change.as_object().expect("an object").clone();
        sent.retain(|_, value| !value.is_null());
        let event = json!(["UPDATE", "USER", format!("users/{id}"), sent, null]);
        assert_eq!(case.events().await, [event], "the event shows what was sent");
    }
    case.expect("PUT", &path, Some(json!({ "username": "alice" })), 409, message("User exists with same username"))
        .await;
    let taken = json!({ "email": "alice@example.org" });
    case.expect("PUT", &path, Some(taken), 409, message("User exists with same email")).await;
    // A complete user can be sent back as it was read.
    let whole = case.get(&path).await;
    case.expect("PUT", &path, Some(whole), 204, Value::Null).await;
    case.expect("DELETE", &path, None, 204, Value::Null).await;
    case.expect("GET", &path, None, 404, error("User not found")).await;
    let last = case.events().await.pop().expect("an event");
    let gone = json!({ "id": id, "username": "bobby" });
    assert_eq!(last, json!(["DELETE", "USER", format!("users/{id}"), gone, null]));

    // If login changes are not allowed, even an administrator may not make them.
    case.expect("PUT", "", Some(json!({ "editUsernameAllowed": false })), 204, Value::Null).await;
    let alice = case.get("/users?username=alice&exact=true").await[0]["id"].as_str().expect("an id").to_owned();
    let refused =
        json!({ "field": "username", "errorMessage": "error-user-attribute-read-only", "params": ["username"] });
    case.expect("PUT", &format!("/users/{alice}"), Some(json!({ "username": "anna" })), 400, refused).await;
}

pub(crate) async fn attributes(case: Arc<Case>) {
    let user = json!({ "username": "alice", "firstName": "A", "attributes": { "dept": ["x"] } });
    let id = case.post("/users", user).await;
    let path = format!("/users/{id}");
    assert!(case.get(&path).await.get("attributes").is_none(), "undeclared attributes are dropped in silence");
    let mut profile = case.get("/users/profile").await;
    profile["unmanagedAttributePolicy"] = json!("ENABLED");
    assert_eq!(case.ask("PUT", "/users/profile", Some(profile)).await.status, 200);
    let alone = json!({ "attributes": { "dept": ["x"] } });
    case.expect("PUT", &path, Some(alone), 400, message("User name is missing")).await;
    let both = json!({ "username": "alice", "email": "a@example.org", "attributes": { "dept": ["x", "y"] } });
    case.expect("PUT", &path, Some(both), 204, Value::Null).await;
    let shown = case.get(&path).await;
    assert_eq!(shown["attributes"], json!({ "dept": ["x", "y"] }));
    assert!(shown.get("firstName").is_none(), "who sends attributes sends the whole profile: {shown}");
    case.expect("PUT", &path, Some(json!({ "lastName": "Z" })), 204, Value::Null).await;
    let shown = case.get(&path).await;
    assert_eq!(shown["attributes"], json!({ "dept": ["x", "y"] }));
    assert_eq!(shown["lastName"], "Z");
    assert_eq!(case.get("/users").await[0]["attributes"], json!({ "dept": ["x", "y"] }));
    assert!(case.get("/users?briefRepresentation=true").await[0].get("attributes").is_none());
    assert_eq!(case.names("/users?q=dept:y", "username").await, ["alice"]);
    assert_eq!(case.names("/users?q=dept:z", "username").await, Vec::<String>::new());
    let none = json!({ "username": "alice", "attributes": {} });
    case.expect("PUT", &path, Some(none), 204, Value::Null).await;
    assert!(case.get(&path).await.get("attributes").is_none());
}

pub(crate) async fn searching(case: Arc<Case>) {
    let alice = json!({
        "username": "alice", "firstName": "Alice", "lastName": "Ng", "email": "alice@example.org", "enabled": true,
        "emailVerified": true,
    });
    let id = case.post("/users", alice).await;
    case.post("/users", json!({ "username": "bob", "lastName": "I", "enabled": true })).await;
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
        assert_eq!(case.names(&format!("/users?{query}"), "username").await, *names, "{query}");
        assert_eq!(case.get(&format!("/users/count?{query}")).await, *count, "count {query}");
    }
    case.expect("GET", "/users?max=x", None, 404, error("HTTP 404 Not Found")).await;
}

/// Reads of a full reconcile: windows of creation times, many users by id.
pub(crate) async fn reading_whole_realms(case: Arc<Case>) {
    let mut ids = Vec::new();
    for name in ["anna", "bert", "cleo"] {
        ids.push(case.post("/users", json!({ "username": name, "enabled": true })).await);
    }
    case.client_with(&[]).await;
    let list = case.get("/users").await;
    let created: Vec<i64> = (0..3).map(|at| list[at]["createdTimestamp"].as_i64().expect("a time")).collect();
    let query = |after: i64, before: i64| format!("createdAfter={after}&createdBefore={before}");
    let service = "service-account-c-".to_owned();
    let all = case.names("/users?createdAfter=0", "username").await;
    assert!(all.len() == 4 && all.contains(&service), "with service accounts: {all:?}");
    assert_eq!(case.get("/users/count?createdAfter=0").await, 4);
    assert_eq!(case.get("/users/count?createdAfter=32503680000000").await, 0);
    for (at, name) in ["anna", "bert", "cleo"].into_iter().enumerate() {
        let window = query(created[at], created[at]);
        let found = case.names(&format!("/users?{window}"), "username").await;
        assert!(found.iter().any(|one| one == name), "both ends are included: {found:?}");
        assert_eq!(case.get(&format!("/users/count?{window}")).await, found.len() as u64);
        let none = query(created[at] + 1, created[at] - 1);
        assert_eq!(case.names(&format!("/users?{none}"), "username").await, Vec::<String>::new());
    }
    assert_eq!(case.ask("GET", "/users?createdAfter=soon", None).await.status, 400);

    let gone = "00000000-0000-4000-8000-000000000000";
    let search = format!("search=id:{}%20{gone}%20{}&first=0&max=4&briefRepresentation=true", ids[2], ids[0]);
    let mut found = case.names(&format!("/users?{search}"), "username").await;
    found.sort();
    assert_eq!(found, ["anna", "cleo"]);
    let groups = case.get(&format!("/users/{}/groups?briefRepresentation=true", ids[0])).await;
    assert_eq!(groups, json!([]));
}
