//! Events.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Case, broke, error, keys, message};

pub(crate) async fn other_events(case: Arc<Case>) {
    let group = case.post("/groups", json!({ "name": "everybody" })).await;
    case.events().await;
    let default = format!("/default-groups/{group}");
    case.expect("PUT", &default, None, 204, Value::Null).await;
    assert_eq!(case.names("/default-groups", "name").await, ["everybody"]);
    case.expect("PUT", "/default-groups/nope", None, 404, error("Group not found")).await;
    let sent = json!({ "username": "dave", "email": "dave@example.org", "enabled": true });
    let dave = case.post("/users", sent.clone()).await;
    let path = format!("/users/{dave}");
    assert_eq!(case.names(&format!("{path}/groups"), "name").await, ["everybody"]);
    let password = json!({ "type": "password", "value": "x", "temporary": false });
    case.expect("PUT", &format!("{path}/reset-password"), Some(password), 204, Value::Null).await;
    case.expect("POST", &format!("{path}/logout"), None, 204, Value::Null).await;
    case.expect("DELETE", &default, None, 204, Value::Null).await;
    case.expect("PUT", "", Some(json!({ "displayName": "Acme" })), 204, Value::Null).await;
    let expected = [
        json!(["CREATE", "GROUP", format!("default-groups/{group}"), null, null]),
        json!(["CREATE", "USER", format!("users/{dave}"), sent, null]),
        json!(["ACTION", "USER", format!("users/{dave}/reset-password"), null, null]),
        json!(["ACTION", "USER", format!("users/{dave}/logout"), null, null]),
        json!(["DELETE", "GROUP", format!("default-groups/{group}"), null, null]),
        json!(["UPDATE", "REALM", null, { "displayName": "Acme" }, null]),
    ];
    assert_eq!(case.events().await, expected);
    let with_group =
        json!({ "username": "gina", "groups": ["/everybody"], "credentials": [{ "type": "password", "value": "x" }] });
    let gina = case.post("/users", with_group).await;
    let shown = json!({ "username": "gina", "groups": ["/everybody"] });
    let event = json!(["CREATE", "USER", format!("users/{gina}"), shown, null]);
    assert_eq!(case.events().await, [event], "no membership event, no password");
}

pub(crate) async fn partial_imports(case: Arc<Case>) {
    let old = case.post("/users", json!({ "username": "alice", "email": "old@example.org", "enabled": true })).await;
    case.post("/groups", json!({ "name": "eng" })).await;
    case.events().await;
    let import = |policy: &str, users: Value| Some(json!({ "ifResourceExists": policy, "users": users }));
    let alice = json!({ "username": "alice", "email": "new@example.org", "enabled": true, "groups": ["/eng"] });
    let exists = message("User with user name alice already exists.");
    case.expect("POST", "/partialImport", import("FAIL", json!([alice])), 409, exists).await;
    let lost = json!([{ "username": "lost", "groups": ["/nowhere"] }]);
    case.expect("POST", "/partialImport", import("FAIL", lost), 500, broke()).await;
    assert_eq!(case.events().await, Vec::<Value>::new());
    let skipped = case.ask("POST", "/partialImport", import("SKIP", json!([alice]))).await.json();
    let result = json!({ "action": "SKIPPED", "resourceType": "USER", "resourceName": "alice", "id": old });
    assert_eq!(skipped, json!({ "overwritten": 0, "added": 0, "skipped": 1, "results": [result] }));
    let both = json!([alice, { "username": "zed", "enabled": true }]);
    let done = case.ask("POST", "/partialImport", import("OVERWRITE", both)).await.json();
    assert_eq!((&done["overwritten"], &done["added"]), (&json!(1), &json!(1)));
    // The results have no defined order.
    let id_of = |name: &str| {
        let results = done["results"].as_array().expect("a list");
        let found = results.iter().find(|one| one["resourceName"] == name);
        found.expect("a result")["id"].clone()
    };
    let (new, zed) = (id_of("alice"), id_of("zed"));
    assert_ne!(new, old.as_str(), "overwriting makes a new id");
    case.expect("GET", &format!("/users/{old}"), None, 404, error("User not found")).await;
    let new = new.as_str().expect("an id");
    assert_eq!(case.names(&format!("/users/{new}/groups"), "name").await, ["eng"]);
    let roles = case.get(&format!("/users/{new}/role-mappings/realm")).await;
    assert_eq!(roles, json!([]), "not even the default role");
    let mut shown = alice.clone();
    shown["id"] = json!(new);
    let added = json!({ "id": zed, "username": "zed", "enabled": true });
    let zed = zed.as_str().expect("an id");
    let events = case.events().await;
    assert_eq!(events.len(), 2, "none for the id that is gone");
    assert!(events.contains(&json!(["UPDATE", "REALM", format!("users/{new}"), shown, null])), "{events:?}");
    assert!(events.contains(&json!(["CREATE", "REALM", format!("users/{zed}"), added, null])), "{events:?}");
}

pub(crate) async fn event_store(case: Arc<Case>) {
    let first = case.post("/users", json!({ "username": "first", "enabled": true })).await;
    case.post("/groups", json!({ "name": "eng" })).await;
    case.ask("DELETE", &format!("/users/{first}"), None).await;
    let all = case.get("/admin-events?direction=asc").await;
    let event = &all[0];
    let fields =
        ["authDetails", "id", "operationType", "realmId", "representation", "resourcePath", "resourceType", "time"];
    assert_eq!(keys(event), fields);
    assert_eq!(keys(&event["authDetails"]), ["clientId", "ipAddress", "realmId", "userId"]);
    assert!(event["representation"].is_string() && event["time"].is_i64());
    let count = |value: Value| value.as_array().map_or(0, Vec::len);
    assert_eq!(count(all.clone()), 3);
    assert_eq!(case.get("/admin-events").await[0]["operationType"], "DELETE", "newest first");
    let (from, to) = (all[1]["time"].as_i64().expect("time"), all[2]["time"].as_i64().expect("time"));
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
        assert_eq!(count(case.get(&format!("/admin-events?{query}")).await), expected, "{query}");
    }
    let format =
        |name: &str| format!("Invalid value for '{name}', expected format is yyyy-MM-dd or an Epoch timestamp");
    let direction = "Invalid value for sortDirection, expected value is asc or desc";
    let refused = [
        ("/admin-events?dateFrom=abc", 400, error(&format("dateFrom"))),
        ("/admin-events?dateTo=2026-13-01", 400, error(&format("dateTo"))),
        ("/admin-events?dateFrom=2026-11-23T00:00:00Z", 400, error(&format("dateFrom"))),
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
    let login = case.get("/events?type=CLIENT_LOGIN&type=REGISTER&client=c-").await;
    assert_eq!(keys(&login[0]), ["clientId", "details", "id", "ipAddress", "realmId", "time", "type", "userId"]);
    assert_eq!(count(case.get("/events?type=REGISTER").await), 0);
    assert_eq!(count(case.get("/events?user=nope").await), 0);
    assert_eq!(count(case.get("/events?client=nope").await), 0);

    let config = case.get("/events/config").await;
    let fields =
        ["adminEventsDetailsEnabled", "adminEventsEnabled", "enabledEventTypes", "eventsEnabled", "eventsListeners"];
    assert_eq!(keys(&config), fields);
    assert!(config["enabledEventTypes"].as_array().expect("a list").contains(&json!("REGISTER")));
    let change = json!({ "adminEventsEnabled": true, "adminEventsDetailsEnabled": false });
    case.expect("PUT", "/events/config", Some(change), 204, Value::Null).await;
    case.events().await;
    case.post("/groups", json!({ "name": "quiet" })).await;
    assert_eq!(case.events().await[0][3], Value::Null, "no representation unless asked for");
    case.expect("PUT", "/events/config", Some(json!({ "adminEventsEnabled": false })), 204, Value::Null).await;
    case.expect("DELETE", "/admin-events", None, 204, Value::Null).await;
    case.post("/groups", json!({ "name": "silent" })).await;
    assert_eq!(count(case.get("/admin-events").await), 0, "clearing leaves no trace, and nothing more is stored");
    case.expect("DELETE", "/events", None, 204, Value::Null).await;
    assert_eq!(count(case.get("/events").await), 0);
}
