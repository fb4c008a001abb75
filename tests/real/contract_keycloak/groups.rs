//! Groups and memberships.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Case, broke, error, keys, message};

pub(crate) async fn groups(case: Arc<Case>) {
    let made = case.ask("POST", "/groups", Some(json!({ "name": "eng" }))).await;
    let eng = made.id();
    assert_eq!((made.body.as_str(), made.kind.as_str()), ("", ""));
    case.post("/groups", json!({ "name": "ENG" })).await;
    case.post("/groups", json!({ "name": "a/b" })).await;
    case.post("/groups", json!({ "name": "jira", "attributes": { "k": ["v"] } })).await;
    let child = case.ask("POST", &format!("/groups/{eng}/children"), Some(json!({ "name": "platform" }))).await;
    let platform = child.id();
    assert_eq!(child.json()["path"], "/eng/platform");
    assert_eq!(child.json()["parentId"], eng.as_str());
    case.post(&format!("/groups/{eng}/children"), json!({ "name": "web" })).await;

    let refused = [
        ("/groups", json!({ "name": "eng" }), 409, message("Top level group named 'eng' already exists.")),
        ("/groups", json!({}), 400, message("Group name is missing")),
        ("/groups", json!({ "name": "" }), 400, message("Group name is missing")),
        ("/groups", json!({ "name": " " }), 400, message("Group name is missing")),
        ("/groups/nope/children", json!({ "name": "x" }), 404, error("Could not find group by id")),
    ];
    for (path, body, status, answer) in refused {
        case.expect("POST", path, Some(body), status, answer).await;
    }
    let twice = message("Sibling group named 'platform' already exists.");
    case.expect("POST", &format!("/groups/{eng}/children"), Some(json!({ "name": "platform" })), 409, twice).await;

    let top = case.get("/groups").await;
    assert_eq!(case.names("/groups", "name").await, ["ENG", "a/b", "eng", "jira"]);
    let brief = ["access", "id", "name", "path", "subGroupCount", "subGroups"];
    assert_eq!(keys(&top[2]), brief);
    assert_eq!((&top[2]["subGroupCount"], &top[2]["subGroups"]), (&json!(2), &json!([])));
    let access = ["manage", "manageMembers", "manageMembership", "view", "viewMembers"];
    assert_eq!(keys(&top[2]["access"]), access);
    let full = case.get("/groups?briefRepresentation=false").await;
    assert_eq!(full[3]["attributes"], json!({ "k": ["v"] }));
    assert_eq!(keys(&full[3]).len(), brief.len() + 3);
    assert_eq!(case.names("/groups?first=1&max=2", "name").await, ["a/b", "eng"]);
    assert!(case.get("/groups?subGroupsCount=false").await[0].get("subGroupCount").is_none());
    let found = case.get("/groups?search=plat").await;
    assert_eq!((&found[0]["name"], &found[0]["subGroups"][0]["name"]), (&json!("eng"), &json!("platform")));
    assert_eq!(case.names("/groups?search=eng", "name").await, ["ENG", "eng"]);
    assert_eq!(case.names("/groups?search=plat&populateHierarchy=false", "name").await, ["platform"]);
    assert_eq!(case.names("/groups?q=k:v", "name").await, ["jira"]);
    assert_eq!(case.get("/groups/count").await, json!({ "count": 6 }));
    assert_eq!(case.get("/groups/count?top=true").await, json!({ "count": 4 }));

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
    assert_eq!(case.names(&format!("{children}?search=plat"), "name").await, ["platform"]);
    assert!(case.get(&format!("{children}?briefRepresentation=true")).await[0].get("attributes").is_none());
    for path in ["/groups/nope", "/groups/nope/members", "/groups/nope/children"] {
        case.expect("GET", path, None, 404, error("Could not find group by id")).await;
    }
    assert_eq!(case.get("/group-by-path/eng/platform").await["id"], platform.as_str());
    case.expect("GET", "/group-by-path/nope", None, 404, error("Group path does not exist")).await;

    let path = format!("/groups/{eng}");
    let sibling = message("Sibling group named 'jira' already exists.");
    case.expect("PUT", &path, Some(json!({ "name": "jira" })), 409, sibling).await;
    case.expect("PUT", &path, Some(json!({})), 400, message("Group name is missing")).await;
    case.expect("PUT", "/groups/nope", Some(json!({ "name": "x" })), 404, error("Could not find group by id")).await;
    case.expect("PUT", &path, Some(json!({ "name": "engineering" })), 204, Value::Null).await;
    assert_eq!(case.get(&format!("/groups/{platform}")).await["path"], "/engineering/platform");
    case.expect("DELETE", &path, None, 204, Value::Null).await;
    case.expect("DELETE", &path, None, 404, error("Could not find group by id")).await;
    case.expect("GET", &format!("/groups/{platform}"), None, 404, error("Could not find group by id")).await;
    assert_eq!(case.get("/groups/count").await, json!({ "count": 3 }));
}

pub(crate) async fn pages(case: Arc<Case>) {
    let group = case.post("/groups", json!({ "name": "big" })).await;
    for n in 0..12 {
        case.post(&format!("/groups/{group}/children"), json!({ "name": format!("c{n:02}") })).await;
    }
    let users: Vec<Value> = (0..105)
        .map(|n| json!({ "username": format!("u{:03}", 200 - n), "enabled": true, "groups": ["/big"] }))
        .collect();
    let import = json!({ "ifResourceExists": "FAIL", "users": users });
    let answer = case.ask("POST", "/partialImport", Some(import)).await;
    assert_eq!((answer.status, &answer.json()["added"]), (200, &json!(105)));

    let sorted: Vec<String> = (96..=200).map(|n| format!("u{n:03}")).collect();
    assert_eq!(case.names("/users", "username").await, sorted[..100], "100 users a page, by login");
    assert_eq!(case.names("/users?first=100", "username").await, sorted[100..]);
    assert_eq!(case.names("/users?first=100&max=1000", "username").await, sorted[100..]);
    assert_eq!(case.names("/users?max=1000", "username").await, sorted);
    let members = format!("/groups/{group}/members");
    assert_eq!(case.names(&members, "username").await, sorted[..100], "100 members a page, by login");
    assert_eq!(case.names(&format!("{members}?first=50&max=3"), "username").await, sorted[50..53]);
    assert_eq!(case.names(&format!("{members}?first=100"), "username").await, sorted[100..]);
    let member = case.get(&format!("{members}?max=1")).await;
    assert!(member[0].get("access").is_none() && member[0].get("totp").is_some());
    let brief = case.get(&format!("{members}?max=1&briefRepresentation=true")).await;
    assert_eq!(keys(&brief[0]), ["createdTimestamp", "emailVerified", "enabled", "id", "username"]);
    let children = format!("/groups/{group}/children");
    assert_eq!(case.names(&children, "name").await.len(), 10, "10 children a page");
    assert_eq!(case.names(&format!("{children}?first=10"), "name").await, ["c10", "c11"]);
    assert_eq!(case.names(&format!("{children}?max=100"), "name").await.len(), 12);
    assert_eq!(case.get(&format!("/groups/{group}")).await["subGroupCount"], 12);
}

pub(crate) async fn memberships(case: Arc<Case>) {
    let bob = case.post("/users", json!({ "username": "bob", "email": "bob@example.org", "enabled": true })).await;
    let eng = case.post("/groups", json!({ "name": "eng" })).await;
    let platform = case.post(&format!("/groups/{eng}/children"), json!({ "name": "platform" })).await;
    case.events().await;
    let (in_eng, in_platform) = (format!("/users/{bob}/groups/{eng}"), format!("/users/{bob}/groups/{platform}"));
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
        json!([operation, "GROUP_MEMBERSHIP", path.trim_start_matches('/'), group, details])
    };
    let low = shown(&platform, "platform", "/eng/platform", Some(&eng));
    let high = shown(&eng, "eng", "/eng", None);
    case.expect("PUT", &in_platform, None, 204, Value::Null).await;
    assert_eq!(case.events().await, [event("CREATE", &in_platform, &low)]);
    case.expect("PUT", &in_platform, Some(json!({})), 204, Value::Null).await;
    assert_eq!(case.events().await, Vec::<Value>::new(), "joining twice leaves no event");
    let groups = case.get(&format!("/users/{bob}/groups")).await;
    assert_eq!(keys(&groups[0]), ["id", "name", "parentId", "path", "subGroups"]);
    assert_eq!(case.get(&format!("/users/{bob}/groups/count")).await, json!({ "count": 1 }));
    assert_eq!(case.get(&format!("/groups/{eng}/members")).await, json!([]), "only direct members");
    case.expect("DELETE", &in_eng, None, 204, Value::Null).await;
    assert_eq!(case.events().await, [event("DELETE", &in_eng, &high)], "leaving an inherited group leaves an event");
    assert_eq!(case.names(&format!("/groups/{platform}/members"), "username").await, ["bob"]);
    case.expect("DELETE", &in_platform, None, 204, Value::Null).await;
    assert_eq!(case.events().await, [event("DELETE", &in_platform, &low)]);
    case.expect("DELETE", &in_platform, None, 204, Value::Null).await;
    assert_eq!(case.events().await, Vec::<Value>::new(), "leaving without being in leaves no event");
    let nope = error("Group not found");
    case.expect("PUT", &format!("/users/{bob}/groups/nope"), None, 404, nope.clone()).await;
    case.expect("DELETE", &format!("/users/{bob}/groups/nope"), None, 404, nope).await;
    case.expect("PUT", &format!("/users/nope/groups/{eng}"), None, 404, error("User not found")).await;
    // A renamed user keeps its position in the roster.
    case.ask("PUT", &in_eng, None).await;
    let anna = case.post("/users", json!({ "username": "mid", "enabled": true, "groups": ["/eng"] })).await;
    assert_eq!(case.names(&format!("/groups/{eng}/members"), "username").await, ["bob", "mid"]);
    case.ask("PUT", &format!("/users/{anna}"), Some(json!({ "username": "anna" }))).await;
    assert_eq!(case.names(&format!("/groups/{eng}/members"), "username").await, ["anna", "bob"]);
    case.ask("DELETE", &format!("/users/{bob}"), None).await;
    assert_eq!(case.names(&format!("/groups/{eng}/members"), "username").await, ["anna"]);
}

pub(crate) async fn group_events(case: Arc<Case>) {
    case.events().await;
    let eng = case.post("/groups", json!({ "name": "eng" })).await;
    let sub = case.post(&format!("/groups/{eng}/children"), json!({ "name": "platform" })).await;
    let other = case.post("/groups", json!({ "name": "jira" })).await;
    let body = |id: &str, name: &str| json!({ "id": id, "name": name, "subGroups": [] });
    let made = [
        json!(["CREATE", "GROUP", format!("groups/{eng}"), body(&eng, "eng"), null]),
        json!(["CREATE", "GROUP", format!("groups/{eng}/children"), body(&sub, "platform"), null]),
        json!(["CREATE", "GROUP", format!("groups/{other}"), body(&other, "jira"), null]),
    ];
    assert_eq!(case.events().await, made);
    let moved = body(&sub, "platform");
    let rename = json!({ "name": "engineering" });
    case.expect("PUT", &format!("/groups/{eng}"), Some(rename), 204, Value::Null).await;
    case.expect("POST", "/groups", Some(json!({ "id": sub, "name": "platform" })), 204, Value::Null).await;
    assert_eq!(case.get(&format!("/groups/{sub}")).await["path"], "/platform");
    let below = format!("/groups/{other}/children");
    case.expect("POST", &below, Some(json!({ "id": sub, "name": "platform" })), 204, Value::Null).await;
    assert_eq!(case.get(&format!("/groups/{sub}")).await["path"], "/jira/platform");
    let own = format!("/groups/{sub}/children");
    case.expect("POST", &own, Some(json!({ "id": other, "name": "jira" })), 500, broke()).await;
    case.expect("POST", &own, Some(json!({ "id": sub, "name": "platform" })), 204, Value::Null).await;
    let lost = error("Could not find child by id");
    case.expect("POST", &below, Some(json!({ "id": "nope", "name": "x" })), 404, lost).await;
    let changed = [
        json!(["UPDATE", "GROUP", format!("groups/{eng}"), { "name": "engineering", "subGroups": [] }, null]),
        json!(["UPDATE", "GROUP", "groups", moved, null]),
        json!(["UPDATE", "GROUP", format!("groups/{other}/children"), moved, null]),
        json!(["UPDATE", "GROUP", format!("groups/{sub}/children"), moved, null]),
    ];
    assert_eq!(case.events().await, changed);
    let bob = case.post("/users", json!({ "username": "bob", "enabled": true })).await;
    case.ask("PUT", &format!("/users/{bob}/groups/{sub}"), None).await;
    case.events().await;
    case.expect("DELETE", &format!("/groups/{other}"), None, 204, Value::Null).await;
    let gone = json!(["DELETE", "GROUP", format!("groups/{other}"), body(&other, "jira"), null]);
    assert_eq!(case.events().await, [gone], "nothing for children and members");
    assert_eq!(case.get(&format!("/users/{bob}/groups")).await, json!([]));
}

/// All groups in one flat list, in pages; all groups of a user in one answer; members from an offset past the end.
pub(crate) async fn flat_listing(case: Arc<Case>) {
    let bob = case.post("/users", json!({ "username": "bob", "enabled": true })).await;
    let mut groups = Vec::new();
    for n in 0..12 {
        let top = case.post("/groups", json!({ "name": format!("top{n:02}") })).await;
        groups.push(case.post(&format!("/groups/{top}/children"), json!({ "name": format!("leaf{n:02}") })).await);
    }
    for group in &groups {
        case.expect("PUT", &format!("/users/{bob}/groups/{group}"), None, 204, Value::Null).await;
    }
    let flat = "/groups?search=*&populateHierarchy=false&briefRepresentation=true";
    let all = case.names(&format!("{flat}&first=0&max=100"), "path").await;
    assert_eq!(all.len(), 24);
    assert_eq!((all[0].as_str(), all[12].as_str()), ("/top00/leaf00", "/top00"), "by name, with their paths");
    assert_eq!(case.names(&format!("{flat}&first=11&max=2"), "path").await, all[11..13]);
    assert_eq!(case.names(&format!("{flat}&first=24&max=10"), "path").await, Vec::<String>::new());
    let one = case.get(&format!("{flat}&first=0&max=1")).await;
    assert_eq!(one[0]["subGroups"], json!([]));
    let own = case.names(&format!("/users/{bob}/groups?briefRepresentation=true"), "path").await;
    assert_eq!(own, all[..12], "without an offset all come");
    let members = format!("/groups/{}/members?briefRepresentation=true", groups[0]);
    assert_eq!(case.names(&format!("{members}&first=0&max=500"), "username").await, ["bob"]);
    assert_eq!(case.names(&format!("{members}&first=500&max=500"), "username").await, Vec::<String>::new());
}
