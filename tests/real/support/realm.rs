//! A separate realm in a real Keycloak.

use reqwest::{Client, Method};
use serde_json::{Value, json};

/// A realm for one test.
pub struct Realm {
    pub url: String,
    pub name: String,
    pub admin: String,
    pub password: String,
    client: Client,
}

impl Realm {
    /// Creates a realm; prints a note and returns `None` if no Keycloak is named.
    pub async fn new(what: &str) -> Option<Self> {
        let Ok(url) = std::env::var("USERSYNC_TEST_KEYCLOAK_URL") else {
            eprintln!("NOT RUN: {what} needs a real Keycloak; name one in USERSYNC_TEST_KEYCLOAK_URL");
            return None;
        };
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "admin".into());
        let realm = Self {
            url: url.trim_end_matches('/').to_owned(),
            name: format!("us-{what}-{}", std::process::id()),
            admin: variable("USERSYNC_TEST_KEYCLOAK_ADMIN"),
            password: variable("USERSYNC_TEST_KEYCLOAK_PASSWORD"),
            client: Client::new(),
        };
        let body = json!({"realm": realm.name, "enabled": true});
        let url = format!("{}/admin/realms", realm.url);
        let made = realm.client.post(url).bearer_auth(realm.token().await).json(&body).send().await.unwrap();
        assert_eq!(made.status(), 201, "the realm could not be made");
        Some(realm)
    }

    async fn token(&self) -> String {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", &self.admin),
            ("password", &self.password),
        ];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.url);
        let answer: Value = self.client.post(url).form(&form).send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().expect("the administrator can sign in").to_owned()
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::Response {
        let url = format!("{}/admin/realms/{}/{path}", self.url, self.name);
        let mut request =
            self.client.request(method.clone(), url.trim_end_matches('/')).bearer_auth(self.token().await);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
        answer
    }

    pub async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, None).await.json().await.unwrap()
    }

    /// Creates something; returns its id.
    pub async fn post(&self, path: &str, body: &Value) -> String {
        let answer = self.send(Method::POST, path, Some(body)).await;
        if let Some(location) = answer.headers().get("location") {
            return location.to_str().unwrap().rsplit('/').next().unwrap().to_owned();
        }
        let made: Value = answer.json().await.unwrap_or_default();
        made["id"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn put(&self, path: &str) {
        self.send(Method::PUT, path, None).await;
    }

    /// Replaces something.
    pub async fn replace(&self, path: &str, body: &Value) {
        self.send(Method::PUT, path, Some(body)).await;
    }

    pub async fn delete(&self, path: &str) {
        self.send(Method::DELETE, path, None).await;
    }

    /// Changes the realm's own settings.
    pub async fn change(&self, settings: &Value) {
        self.send(Method::PUT, "", Some(settings)).await;
    }

    /// Adds (`POST`) or removes (`DELETE`) roles of realm-management.
    pub async fn roles(&self, client: &str, method: &str, roles: &[&str]) {
        let id = |found: Value| found[0]["id"].as_str().unwrap().to_owned();
        let client = id(self.get(&format!("clients?clientId={client}")).await);
        let rights = id(self.get("clients?clientId=realm-management").await);
        let user = self.get(&format!("clients/{client}/service-account-user")).await;
        let mut body = Vec::new();
        for role in roles {
            body.push(self.get(&format!("clients/{rights}/roles/{role}")).await);
        }
        let path = format!("users/{}/role-mappings/clients/{rights}", user["id"].as_str().unwrap());
        self.send(method.parse().unwrap(), &path, Some(&Value::Array(body))).await;
    }

    pub async fn remove(&self) {
        self.send(Method::DELETE, "", None).await;
    }
}
