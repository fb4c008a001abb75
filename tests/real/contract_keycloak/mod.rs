//! One list of expectations for the simulated Keycloak and for a real one.
//!
//! The simulator is always tested. A real Keycloak is tested if `USERSYNC_TEST_KEYCLOAK_URL` names one (with
//! `USERSYNC_TEST_KEYCLOAK_USER` and `USERSYNC_TEST_KEYCLOAK_PASSWORD`, both `admin` if not set). Every case creates
//! and deletes its own realm there.

mod access;
mod addresses;
mod events;
mod groups;
mod organizations;
mod users;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::support::keycloak::{Answer, Keycloak};

/// The realm of one case.
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
        self.keycloak.call(token, method, &format!("/admin/realms/{}{path}", self.realm), body).await
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
    async fn expect(&self, method: &str, path: &str, body: Option<Value>, status: u16, answer: Value) {
        let got = self.ask(method, path, body).await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.body);
        let text = if got.body.is_empty() { Value::Null } else { got.json() };
        assert_eq!(text, answer, "{method} {path}");
    }

    async fn names(&self, path: &str, field: &str) -> Vec<String> {
        let list = self.get(path).await;
        list.as_array().expect("a list").iter().map(|one| one[field].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Returns the admin events since the last call, oldest first: operation, type, path, representation, details.
    async fn events(&self) -> Vec<Value> {
        // Keycloak 26.0 has no direction parameter: the newest come first.
        let mut events = self.get("/admin-events?max=1000").await;
        events.as_array_mut().expect("a list").reverse();
        self.ask("DELETE", "/admin-events", None).await;
        let shown = |event: &Value| {
            let text = event["representation"].as_str();
            let representation: Value = text.map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON"));
            json!([
                event["operationType"],
                event["resourceType"],
                event["resourcePath"],
                representation,
                event["details"]
            ])
        };
        events.as_array().expect("a list").iter().map(shown).collect()
    }

    /// Creates a client with a service account that has these rights; returns its token.
    async fn client_with(&self, roles: &[&str]) -> String {
        self.keycloak.client_with(&self.realm, roles).await
    }
}

fn error(text: &str) -> Value {
    json!({ "error": text })
}

fn message(text: &str) -> Value {
    json!({ "errorMessage": text })
}

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
    keys.sort();
    keys
}

fn broke() -> Value {
    json!({ "error": "unknown_error", "error_description": "For more on this error consult the server log." })
}

type Run = fn(Arc<Case>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($name:path),* $(,)?) => {
        &[$((stringify!($name), (|case| Box::pin($name(case))) as Run)),*]
    };
}

const CASES: &[(&str, Run)] = cases![
    addresses::tokens,
    addresses::addresses,
    addresses::clients,
    addresses::realm_gone,
    addresses::client_in_master,
    users::users,
    users::changing_users,
    users::attributes,
    users::searching,
    users::reading_whole_realms,
    groups::groups,
    groups::pages,
    groups::flat_listing,
    groups::memberships,
    groups::group_events,
    events::other_events,
    events::partial_imports,
    events::event_store,
    access::roles,
    access::role_holders,
    access::rights,
    organizations::organizations,
    organizations::organization_members,
    organizations::organization_rights,
];

/// Differences of Keycloak 26.0 from 26.7, which the simulator follows: the case, and text of its failure.
const OTHERWISE_IN_26_0: &[(&str, &str)] = &[
    // `view-users` also grants access to roles.
    ("access::rights", "2222n22222n222ffff22ffnfffnnffff"),
    // Without roles for organizations, `view-users` shows those of a user.
    ("organizations::organization_rights", r#"left: \"ffffff2n\""#),
    ("addresses::client_in_master", r"left: 200\n right: 403"),
    // A realm with a name that is taken.
    ("addresses::addresses", "Conflict detected. See logs for details"),
    // Stored events are returned without their ids.
    ("events::event_store", r#"left: [\"authDetails\", \"operationType\", \"realmId\""#),
    // Events of deletions have no representation.
    ("groups::group_events", "nothing for children and members"),
    ("users::changing_users", r#"left: Array [String(\"DELETE\"), String(\"USER\")"#),
    // Neither a search for all groups nor creation times: the client reads by folders and by pages.
    ("groups::flat_listing", r"left: 0\n right: 24"),
    ("users::reading_whole_realms", "with service accounts"),
    // Counts of sub-groups cannot be omitted.
    ("groups::groups", "subGroupsCount=false"),
    // Brief members have no creation time, and users no right to set a password.
    ("groups::pages", r#"left: [\"emailVerified\""#),
    (
        "users::users",
        r#"right: [\"impersonate\", \"manage\", \"manageGroupMembership\", \"mapRoles\", \"resetPassword\""#,
    ),
    // Service accounts are counted among the search results.
    ("users::searching", "count search=service"),
];

/// Runs all cases, each in its own realm, and reports unexpected failures.
async fn run(keycloak: Keycloak, known: &[(&str, &str)]) {
    let keycloak = Arc::new(keycloak);
    let mut failed = Map::new();
    for (name, work) in CASES {
        let realm = keycloak.new_realm().await;
        let token = keycloak.admin_token().await;
        let case = Arc::new(Case { keycloak: Arc::clone(&keycloak), realm: realm.clone(), token });
        let expected = known.iter().find(|(case, _)| case == name).map(|(_, says)| *says);
        match (tokio::spawn(work(case)).await, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(says)) if error.to_string().contains(says) => {}
            (Ok(()), Some(says)) => drop(failed.insert((*name).to_owned(), json!(format!("no longer: {says}")))),
            (Err(error), _) => drop(failed.insert((*name).to_owned(), json!(error.to_string()))),
        }
        keycloak.call(&keycloak.admin_token().await, "DELETE", &format!("/admin/realms/{realm}"), None).await;
    }
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), CASES.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_keeps_the_contract() {
    run(Keycloak::simulator().await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_keycloak_keeps_the_contract() {
    let Some(keycloak) = Keycloak::real() else {
        eprintln!("NOT RUN: it needs a real Keycloak; name one in USERSYNC_TEST_KEYCLOAK_URL");
        return;
    };
    let old = keycloak.is_old().await;
    run(keycloak, if old { OTHERWISE_IN_26_0 } else { &[] }).await;
}
