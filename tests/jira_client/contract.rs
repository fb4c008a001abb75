//! Every request fits Jira's own description of its API.

use std::collections::HashSet;

use serde_json::{Value, json};
use usersync::target::Target;

use super::{
    server::{Reply, Seen, Server},
    world::{client, healthy, soon, writes},
};

const CONTRACT: &str = include_str!("../contracts/jira-10.3.openapi.json");
const DEVIATIONS: &str = include_str!("../contracts/jira-deviations.json");

struct Contract {
    api: Value,
    deviations: Value,
}

impl Contract {
    fn load() -> Self {
        let read = |text| serde_json::from_str(text).expect("JSON");
        Self { api: read(CONTRACT), deviations: read(DEVIATIONS) }
    }

    /// What is wrong with a request.
    fn complaints(&self, seen: &Seen) -> Vec<String> {
        let path = seen.path.strip_prefix("/rest").unwrap_or(&seen.path);
        let method = seen.method.to_lowercase();
        let call = &self.api["paths"][path][&method];
        if call.is_null() {
            return vec![format!("{} {path} is not described", seen.method)];
        }
        let mut wrong = Vec::new();
        for (name, value) in &seen.query {
            let parameters = call["parameters"].as_array().into_iter().flatten();
            let described = parameters.clone().find(|known| known["in"] == "query" && known["name"] == name.as_str());
            match described.map(|known| known["schema"]["type"].as_str().unwrap_or_default()) {
                Some("integer") if value.parse::<i64>().is_err() => wrong.push(format!("{name}={value} is no number")),
                Some("boolean") if value.parse::<bool>().is_err() => {
                    wrong.push(format!("{name}={value} is no boolean"));
                }
                None if !self.deviates(&seen.method, path, name) => wrong.push(format!("{name} is not described")),
                _ => {}
            }
        }
        let schema = &call["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            wrong.extend((!seen.body.is_empty()).then(|| "a body that is not described".to_owned()));
            return wrong;
        }
        let root = json!({"allOf": [schema], "components": self.api["components"]});
        let validator = jsonschema::validator_for(&root).expect("a schema");
        let body = seen.json();
        wrong.extend(validator.iter_errors(&body).map(|error| error.to_string()));
        let name = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        let known = &self.api["components"]["schemas"][name]["properties"];
        for field in body.as_object().into_iter().flat_map(|body| body.keys()) {
            wrong.extend(known[field].is_null().then(|| format!("field {field} is not described")));
        }
        wrong
    }

    fn deviates(&self, method: &str, path: &str, query: &str) -> bool {
        let all = self.deviations["requests"].as_array().into_iter().flatten();
        all.filter(|known| known["method"] == method && known["path"] == path)
            .any(|known| known["query"].as_array().is_some_and(|names| names.iter().any(|name| name == query)))
    }
}

#[tokio::test]
async fn all_that_is_ever_sent_is_described() {
    let old = |seen: &Seen| match seen.path.as_str() {
        "/rest/api/2/user/list" => Reply::html(404, "<html/>"),
        "/rest/api/2/serverInfo" => Reply::json(200, json!({"version": "9.12.0"})),
        "/rest/api/2/user/search" if seen.asks("startAt").is_none() => {
            Reply::json(200, json!([super::world::user("K1", "a", &[])]))
        }
        _ => healthy(seen),
    };
    let listed = |seen: &Seen| match (seen.path.as_str(), seen.asks("cursor")) {
        ("/rest/api/2/user/list", None) => {
            Reply::json(200, json!({"isLast": false, "nextCursor": "10250", "values": []}))
        }
        _ => healthy(seen),
    };
    let contract = Contract::load();
    let mut kinds = HashSet::new();
    for server in [Server::start(healthy).await, Server::start(old).await, Server::start(listed).await] {
        let jira = client(&server.url);
        jira.probe().await.expect("an answer");
        let mut cursor = None;
        loop {
            cursor = jira.accounts(cursor.as_deref()).await.expect("a page").next;
            if cursor.is_none() {
                break;
            }
        }
        jira.account_named("ada").await.expect("an answer");
        jira.group_named("nothing").await.expect("an answer");
        jira.members(&"dev".into(), None).await.expect("an answer");
        jira.free_seats().await.expect("an answer");
        for (operation, ..) in writes() {
            jira.apply(&operation, soon()).await.expect("all goes well");
        }
        // The manifest for application links belongs to another interface, which has no description.
        let described = server.journal().into_iter().filter(|seen| !seen.path.starts_with("/rest/applinks/"));
        for seen in described {
            let wrong = contract.complaints(&seen);
            assert!(wrong.is_empty(), "{} {}: {wrong:?}", seen.method, seen.path);
            kinds.insert((seen.method, seen.path));
        }
    }
    assert!(kinds.len() >= 17, "{kinds:?}");
}

#[test]
fn the_check_itself_finds_what_is_wrong() {
    let contract = Contract::load();
    let seen = |method: &str, path: &str, query: &[(&str, &str)], body: &str| Seen {
        method: method.to_owned(),
        path: format!("/rest/api/2{path}"),
        query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        headers: std::collections::HashMap::new(),
        body: body.to_owned(),
    };
    for (wrong, text) in [
        (seen("GET", "/nothing", &[], ""), "not described"),
        (seen("PATCH", "/user", &[], ""), "not described"),
        (seen("GET", "/user", &[("id", "1")], ""), "id is not described"),
        (seen("GET", "/user/search", &[("startAt", "x")], ""), "no number"),
        (seen("POST", "/user", &[], r#"{"name": 7}"#), "not of type"),
        (seen("POST", "/user", &[], r#"{"directoryId": "1"}"#), "field directoryId"),
        (seen("DELETE", "/user", &[("key", "k")], "{}"), "a body"),
    ] {
        let complaints = contract.complaints(&wrong).join(" ");
        assert!(complaints.contains(text), "{text}: {complaints}");
    }
    assert!(contract.complaints(&seen("GET", "/user", &[("expand", "groups")], "")).is_empty());
}
