//! A Keycloak to test against: the simulator, or a real one.

use std::time::Duration;

use serde_json::{Value, json};
use usersync_simulators::{KeycloakOptions, SimulatedKeycloak, keycloak::RealmHandle};

/// A running Keycloak with its administrator.
pub struct Keycloak {
    pub url: String,
    admin: (String, String),
    http: reqwest::Client,
    /// `None`: it is a real one.
    simulator: Option<SimulatedKeycloak>,
}

/// An answer of Keycloak.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub location: String,
    pub kind: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.body))
    }

    /// Returns the last part of `Location`: the id of the created resource.
    pub fn id(&self) -> String {
        assert_eq!(self.status, 201, "{}", self.body);
        self.location.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

impl Keycloak {
    /// Starts a new simulator.
    pub async fn simulator() -> Self {
        let simulator = SimulatedKeycloak::start(KeycloakOptions::default()).await.expect("a free port");
        Self::at(simulator.url(), ("admin".into(), "admin".into()), Some(simulator))
    }

    /// Returns the real Keycloak of `USERSYNC_TEST_KEYCLOAK_URL`, `…_USER` and `…_PASSWORD`; `None`: they are not set.
    pub fn real() -> Option<Self> {
        let url = std::env::var("USERSYNC_TEST_KEYCLOAK_URL").ok()?;
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "admin".into());
        let admin = (variable("USERSYNC_TEST_KEYCLOAK_USER"), variable("USERSYNC_TEST_KEYCLOAK_PASSWORD"));
        Some(Self::at(url.trim_end_matches('/').to_owned(), admin, None))
    }

    fn at(url: String, admin: (String, String), simulator: Option<SimulatedKeycloak>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().expect("a client");
        Self { url, admin, http, simulator }
    }

    /// Posts a form to a realm's token endpoint.
    pub async fn token_answer(&self, realm: &str, form: &[(&str, &str)]) -> Answer {
        let url = format!("{}/realms/{realm}/protocol/openid-connect/token", self.url);
        answer(self.http.post(url).form(form)).await
    }

    /// The same with the client's credentials in the header.
    pub async fn token_by_basic(&self, realm: &str, client: &str, secret: &str) -> Answer {
        let url = format!("{}/realms/{realm}/protocol/openid-connect/token", self.url);
        let form = [("grant_type", "client_credentials")];
        answer(self.http.post(url).basic_auth(client, Some(secret)).form(&form)).await
    }

    /// Returns a service account's token.
    pub async fn client_token(&self, realm: &str, client: &str, secret: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        let answer = self.token_answer(realm, &form).await;
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("no token: {}", answer.body)).to_owned()
    }

    /// Returns the administrator's token.
    pub async fn admin_token(&self) -> String {
        let (name, password) = (self.admin.0.as_str(), self.admin.1.as_str());
        let form = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", name), ("password", password)];
        let answer = self.token_answer("master", &form).await;
        answer.json()["access_token"].as_str().expect("the administrator's token").to_owned()
    }

    /// Makes a call with a token (empty: none) and a JSON body.
    pub async fn call(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Makes a call with a raw body of some type.
    pub async fn raw(&self, token: &str, path: &str, kind: &str, body: &str) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(token);
        answer(request.header("content-type", kind).body(body.to_owned())).await
    }

    /// Returns whether it is Keycloak 26.0, the oldest that is supported.
    pub async fn is_old(&self) -> bool {
        let info = self.call(&self.admin_token().await, "GET", "/admin/serverinfo", None).await.json();
        info["systemInfo"]["version"].as_str().expect("a version").starts_with("26.0.")
    }

    /// Returns a realm of the simulator; `None`: it is a real Keycloak.
    pub fn simulated_realm(&self, name: &str) -> Option<RealmHandle> {
        self.simulator.as_ref()?.realm(name)
    }

    /// Creates a client with a service account that has these rights; returns its token.
    pub async fn client_with(&self, realm: &str, roles: &[&str]) -> String {
        let admin = self.admin_token().await;
        let ask = async |method: &str, path: String, body: Option<Value>| {
            self.call(&admin, method, &format!("/admin/realms/{realm}{path}"), body).await
        };
        let name = format!("c-{}", roles.join("-"));
        let client = json!({ "clientId": name, "secret": "s", "serviceAccountsEnabled": true, "publicClient": false });
        let id = ask("POST", "/clients".into(), Some(client)).await.id();
        let account = ask("GET", format!("/clients/{id}/service-account-user"), None).await.json();
        let account = account["id"].as_str().expect("an id");
        let management = ask("GET", "/clients?clientId=realm-management".into(), None).await.json();
        let management = management[0]["id"].as_str().expect("an id");
        let mut held = Vec::new();
        for role in roles {
            held.push(ask("GET", format!("/clients/{management}/roles/{role}"), None).await.json());
        }
        if !held.is_empty() {
            let path = format!("/users/{account}/role-mappings/clients/{management}");
            assert_eq!(ask("POST", path, Some(json!(held))).await.status, 204);
        }
        self.client_token(realm, &name, "s").await
    }

    /// Creates a realm that stores all events; returns its name.
    pub async fn new_realm(&self) -> String {
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
        let realm = json!({
            "realm": name, "enabled": true, "eventsEnabled": true, "adminEventsEnabled": true,
            "adminEventsDetailsEnabled": true, "editUsernameAllowed": true,
        });
        let made = self.call(&self.admin_token().await, "POST", "/admin/realms", Some(realm)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        name
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    let header =
        |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (status, location, kind) = (answer.status().as_u16(), header("location"), header("content-type"));
    Answer { status, location, kind, body: answer.text().await.expect("a body") }
}
