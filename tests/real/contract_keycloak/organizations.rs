//! Organizations and their members.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Case, error, keys, message};

async fn turn_on(case: &Case, on: bool) {
    case.expect("PUT", "", Some(json!({ "organizationsEnabled": on })), 204, Value::Null).await;
}

/// Creates an organization; Keycloak 26.0 requires a domain. The name is the alias unless another one is given.
async fn create(case: &Case, alias: &str, name: &str) -> String {
    let domains = json!([{ "name": format!("{alias}.example") }]);
    case.post("/organizations", json!({ "name": name, "alias": alias, "domains": domains })).await
}

pub(crate) async fn organizations(case: Arc<Case>) {
    let off = || message("Organizations not enabled for this realm.");
    for path in ["/organizations", "/organizations/count", "/organizations/x/members"] {
        case.expect("GET", path, None, 404, off()).await;
    }
    turn_on(&case, true).await;
    case.events().await;
    let acme = create(&case, "acme", "Acme Inc").await;
    let globex = create(&case, "globex", "globex").await;
    let other = json!([{ "name": "other.example" }]);
    for (sent, status, answer) in [
        (json!({ "name": "globex", "domains": other }), 409, "A organization with the same name already exists."),
        (
            json!({ "name": "other", "alias": "acme", "domains": other }),
            409,
            "A organization with the same alias already exists",
        ),
    ] {
        case.expect("POST", "/organizations", Some(sent), status, message(answer)).await;
    }
    let listed = case.get("/organizations?briefRepresentation=true").await;
    let domains = json!([{ "name": "acme.example", "verified": false }]);
    let fields = ["id", "name", "alias", "enabled", "domains"].map(|field| &listed[0][field]);
    assert_eq!(fields, [&json!(acme), &json!("Acme Inc"), &json!("acme"), &json!(true), &domains]);
    assert_eq!(case.names("/organizations?first=1&max=1", "alias").await, ["globex"]);
    assert_eq!(case.names("/organizations?search=globex.example&exact=true", "alias").await, ["globex"]);
    assert_eq!(case.names("/organizations?search=acme&exact=true", "alias").await, Vec::<String>::new(), "no alias");
    let whole = case.get(&format!("/organizations/{acme}")).await;
    assert_eq!(keys(&whole), ["alias", "attributes", "domains", "enabled", "id", "name"]);
    // A name changes, an alias never does.
    let path = format!("/organizations/{acme}");
    case.expect("PUT", &path, Some(json!({ "name": "Acme", "alias": "acme", "domains": domains })), 204, Value::Null)
        .await;
    let alias = message("Cannot change the alias");
    case.expect("PUT", &path, Some(json!({ "name": "Acme", "alias": "acme2", "domains": domains })), 400, alias).await;
    let gone = || message("Organization not found.");
    for path in ["/organizations/nope", "/organizations/nope/members", "/organizations/nope/members/count"] {
        case.expect("GET", path, None, 404, gone()).await;
    }
    case.expect("DELETE", &format!("/organizations/{globex}"), None, 204, Value::Null).await;
    let events = case.events().await;
    let heads: Vec<Value> = events.iter().map(|event| json!([event[0], event[1], event[2]])).collect();
    let of = |operation: &str, id: &str| json!([operation, "ORGANIZATION", format!("organizations/{id}")]);
    let expected = [of("CREATE", &acme), of("CREATE", &globex), of("UPDATE", &acme), of("DELETE", &globex)];
    assert_eq!(heads, expected);
    turn_on(&case, false).await;
    case.expect("GET", &path, None, 404, off()).await;
}

pub(crate) async fn organization_members(case: Arc<Case>) {
    turn_on(&case, true).await;
    let acme = create(&case, "acme", "acme").await;
    let globex = create(&case, "globex", "globex").await;
    let mut users = Vec::new();
    for number in (0..12).rev() {
        let user = json!({ "username": format!("u{number:02}"), "enabled": number != 3 });
        users.push(case.post("/users", user).await);
    }
    case.events().await;
    let members = format!("/organizations/{acme}/members");
    for user in &users {
        assert_eq!(case.post(&members, json!(user)).await, *user);
    }
    let first = &users[0];
    case.post(&format!("/organizations/{globex}/members"), json!(first)).await;
    let twice = message("User is already a member of the organization.");
    case.expect("POST", &members, Some(json!(first)), 409, twice).await;
    // 10 entries unless the request says otherwise, ordered by login, with those that are disabled.
    assert_eq!(case.names(&members, "username").await.len(), 10);
    assert_eq!(case.names(&format!("{members}?max=-1"), "username").await.len(), 12);
    let page = case.get(&format!("{members}?first=9&max=500&briefRepresentation=true")).await;
    let names: Vec<&Value> = page.as_array().expect("a list").iter().map(|user| &user["username"]).collect();
    assert_eq!(names, ["u09", "u10", "u11"]);
    assert_eq!(page[0]["membershipType"], "UNMANAGED");
    assert_eq!(case.get(&format!("{members}/count")).await, 12);
    // The organizations of a user, in no order.
    let own = |user: &str| format!("/organizations/members/{user}/organizations");
    for path in [own(first), format!("{members}/{first}/organizations")] {
        let mut names = case.names(&path, "alias").await;
        names.sort();
        assert_eq!(names, ["acme", "globex"]);
    }
    assert_eq!(case.names(&own(&users[1]), "alias").await, ["acme"]);
    for path in [own("nope"), format!("{members}/nope")] {
        case.expect("GET", &path, None, 404, error("HTTP 404 Not Found")).await;
    }
    let added = case.events().await;
    assert_eq!(added.len(), 13);
    let path = format!("organizations/{acme}/members");
    let head = |event: &Value| json!([event[0], event[1], event[2]]);
    assert_eq!(head(&added[0]), json!(["CREATE", "ORGANIZATION_MEMBERSHIP", path]));
    assert_eq!((&added[0][3]["id"], &added[0][4]), (&json!(acme), &json!({ "username": "u11" })));
    case.expect("DELETE", &format!("{members}/{first}"), None, 204, Value::Null).await;
    case.expect("DELETE", &format!("{members}/{first}"), None, 404, error("HTTP 404 Not Found")).await;
    let removed = &case.events().await.remove(0);
    let path = format!("organizations/{acme}/members/{first}");
    assert_eq!(head(removed), json!(["DELETE", "ORGANIZATION_MEMBERSHIP", path]));
    assert_eq!(removed[4], json!({ "username": "u11" }));
    // A deleted user is a member of none, and a disabled organization keeps its members.
    case.expect("DELETE", &format!("/users/{}", users[1]), None, 204, Value::Null).await;
    let disabled =
        json!({ "name": "acme", "alias": "acme", "enabled": false, "domains": [{ "name": "acme.example" }] });
    case.expect("PUT", &format!("/organizations/{acme}"), Some(disabled), 204, Value::Null).await;
    assert_eq!(case.get(&format!("{members}/count")).await, 10);
    assert_eq!(case.names(&own(&users[2]), "alias").await, ["acme"]);
    // A member that was not managed stays a user.
    case.expect("DELETE", &format!("/organizations/{acme}"), None, 204, Value::Null).await;
    assert_eq!(case.get(&own(&users[2])).await, json!([]));
}

pub(crate) async fn organization_rights(case: Arc<Case>) {
    turn_on(&case, true).await;
    let acme = create(&case, "acme", "acme").await;
    let user = case.post("/users", json!({ "username": "alice", "enabled": true })).await;
    case.post(&format!("/organizations/{acme}/members"), json!(user)).await;
    let paths = [
        "/organizations".to_owned(),
        "/organizations/count".to_owned(),
        format!("/organizations/{acme}"),
        "/organizations/nope".to_owned(),
        format!("/organizations/{acme}/members"),
        format!("/organizations/{acme}/members/count"),
        format!("/organizations/members/{user}/organizations"),
        "/organizations/members/nope/organizations".to_owned(),
    ];
    // One line per set of rights, as in the case of all rights; e is an empty list or 0.
    let table: &[(&[&str], &str)] = &[
        (&["view-users"], "ffffffff"),
        (&["view-organizations"], "222nffff"),
        (&["query-organizations"], "eefnffff"),
        (&["view-organizations", "view-users"], "222n222n"),
        (&["query-organizations", "view-users"], "eefnffen"),
        (&["manage-organizations", "view-users"], "222n222n"),
        (&["manage-realm", "view-users"], "222n222n"),
        (&["view-realm", "view-users"], "ffffffff"),
    ];
    for (roles, expected) in table {
        let token = case.client_with(roles).await;
        let mut got = String::new();
        for path in &paths {
            let answer = case.ask_as(&token, "GET", path, None).await;
            got.push(match (answer.status, answer.body.as_str()) {
                (200, "[]" | "0") => 'e',
                (200, _) => '2',
                (403, _) => 'f',
                (404, _) => 'n',
                (other, body) => panic!("{roles:?} {path}: {other} {body}"),
            });
        }
        assert_eq!(got, *expected, "{roles:?}");
    }
}
