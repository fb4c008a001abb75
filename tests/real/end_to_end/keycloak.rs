//! The real Keycloak, changed and read by plain REST calls, independently of usersync's client.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Environment settings of the Keycloak that may be changed.
pub struct Server {
    pub url: String,
    pub version: String,
    pub hook_secret: String,
    /// First of the ports that its listener may post to.
    pub hook_port: u16,
}

impl Server {
    /// Reads the environment; prints a note and returns `None` if no Keycloak is named.
    pub fn named() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let (Some(url), Some(version), Some(file), Some(port)) = (
            variable("USERSYNC_TEST_KEYCLOAK_URL"),
            variable("USERSYNC_TEST_KEYCLOAK_VERSION"),
            variable("USERSYNC_TEST_HOOK_SECRET_FILE"),
            variable("USERSYNC_TEST_HOOK_PORT"),
        ) else {
            eprintln!(
                "NOT RUN: the whole way needs a real Keycloak with the listener. scripts/test starts one and names it in \
                 USERSYNC_TEST_KEYCLOAK_URL, USERSYNC_TEST_KEYCLOAK_VERSION, USERSYNC_TEST_HOOK_SECRET_FILE and \
                 USERSYNC_TEST_HOOK_PORT"
            );
            return None;
        };
        let hook_secret = std::fs::read_to_string(&file).expect("the hook secret's file is readable");
        let hook_port = port.parse().expect("USERSYNC_TEST_HOOK_PORT is a port");
        Some(Self { url: url.trim_end_matches('/').to_owned(), version, hook_secret, hook_port })
    }
}

/// The realm of one test.
pub struct Realm {
    pub url: String,
    pub name: String,
    http: Client,
    token: Mutex<Option<(String, Instant)>>,
}

/// An answer of Keycloak.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: String,
    location: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} is not JSON: {}", self.status, self.body))
    }
}

/// A user as Keycloak returns it.
#[derive(Clone, Debug)]
pub struct Person {
    pub login: String,
    pub display_name: String,
    pub email: Option<String>,
    pub enabled: bool,
}

impl Realm {
    /// Creates a realm of this name; remains of an earlier round are removed.
    pub async fn fresh(server: &Server, name: &str) -> Self {
        let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let realm = Self { url: server.url.clone(), name: name.to_owned(), http, token: Mutex::default() };
        realm.ask(Method::DELETE, "", None).await;
        let body = json!({"realm": name, "enabled": true, "registrationAllowed": true, "editUsernameAllowed": true,
            "organizationsEnabled": true});
        let url = format!("{}/admin/realms", realm.url);
        let made = realm.http.post(url).bearer_auth(realm.token().await).json(&body).send().await.expect("it answers");
        assert_eq!(made.status(), StatusCode::CREATED, "the realm {name} could not be made");
        realm
    }

    async fn token(&self) -> String {
        let mut kept = self.token.lock().await;
        if let Some((token, since)) = kept.as_ref()
            && since.elapsed() < Duration::from_secs(30)
        {
            return token.clone();
        }
        let answer = self.sign_in("master", "admin-cli", "admin", "admin").await;
        let token = answer["access_token"].as_str().expect("the administrator can sign in").to_owned();
        *kept = Some((token.clone(), Instant::now()));
        token
    }

    async fn sign_in(&self, realm: &str, client: &str, username: &str, password: &str) -> Value {
        let form = [
            ("grant_type", "password"),
            ("client_id", client),
            ("username", username),
            ("password", password),
            ("scope", "openid"),
        ];
        let url = format!("{}/realms/{realm}/protocol/openid-connect/token", self.url);
        self.http.post(url).form(&form).send().await.expect("it answers").json().await.expect("JSON")
    }

    /// Sends a request as the administrator, whatever the answer is.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}/admin/realms/{}/{path}", self.url, self.name);
        let mut request = self.http.request(method, url.trim_end_matches('/')).bearer_auth(self.token().await);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("Keycloak answers");
        let location = answer.headers().get("location").and_then(|text| text.to_str().ok());
        let location = location.unwrap_or_default().to_owned();
        Answer { status: answer.status(), location, body: answer.text().await.expect("the body is readable") }
    }

    async fn must(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.ask(method.clone(), path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.body);
        answer
    }

    pub async fn get(&self, path: &str) -> Value {
        self.must(Method::GET, path, None).await.json()
    }

    /// Creates something; returns its id.
    pub async fn post(&self, path: &str, body: &Value) -> String {
        let answer = self.must(Method::POST, path, Some(body)).await;
        if let Some((_, id)) = answer.location.rsplit_once('/') {
            return id.to_owned();
        }
        let made: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        made["id"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn put(&self, path: &str, body: &Value) {
        self.must(Method::PUT, path, Some(body)).await;
    }

    pub async fn delete(&self, path: &str) {
        self.must(Method::DELETE, path, None).await;
    }

    pub async fn delete_with(&self, path: &str, body: &Value) {
        self.must(Method::DELETE, path, Some(body)).await;
    }

    /// Sets the realm's listeners; usersync's is `usersync`.
    pub async fn listeners(&self, listeners: &[&str]) {
        let mut config = self.get("events/config").await;
        config["eventsListeners"] = json!(listeners);
        self.put("events/config", &config).await;
    }

    /// Deletes the realm without an event: the listener would otherwise retry until the next server on this port.
    pub async fn leave(&self) {
        self.listeners(&["jboss-logging"]).await;
        self.delete("").await;
    }

    /// Returns a user's id by login.
    pub async fn user(&self, login: &str) -> String {
        let found = self.get(&format!("users?username={login}&exact=true")).await;
        found[0]["id"].as_str().unwrap_or_else(|| panic!("{login} is in Keycloak")).to_owned()
    }

    /// Returns all users except service accounts, by id.
    pub async fn people(&self) -> BTreeMap<String, Person> {
        let users = self.get("users?max=100000&briefRepresentation=false").await;
        let users = users.as_array().expect("a list");
        let people = users.iter().map(|user| {
            let text = |name: &str| user[name].as_str().map(str::to_owned);
            let names: Vec<_> = [text("firstName"), text("lastName")].into_iter().flatten().collect();
            let login = text("username").expect("a login");
            let person = Person {
                display_name: if names.is_empty() { login.clone() } else { names.join(" ") },
                email: text("email"),
                enabled: user["enabled"] == true,
                login,
            };
            (text("id").expect("an id"), person)
        });
        people.filter(|(_, person)| !person.login.starts_with("service-account-")).collect()
    }

    /// Returns all groups by path, with the ids of their direct members.
    pub async fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::new();
        let mut open = vec!["groups".to_owned()];
        while let Some(level) = open.pop() {
            let groups = self.get(&format!("{level}?max=10000&briefRepresentation=true")).await;
            for group in groups.as_array().expect("a list") {
                let id = group["id"].as_str().expect("an id");
                let members = self.get(&format!("groups/{id}/members?max=100000&briefRepresentation=true")).await;
                let members = members.as_array().expect("a list").iter();
                let members = members.map(|user| user["id"].as_str().expect("an id").to_owned()).collect();
                found.insert(group["path"].as_str().expect("a path").to_owned(), members);
                open.push(format!("groups/{id}/children"));
            }
        }
        found
    }

    /// Submits the registration form as a browser does.
    pub async fn register(&self, login: &str) {
        let query = format!("client_id=web&response_type=code&scope=openid&redirect_uri={}/done", self.url);
        let url = format!("{}/realms/{}/protocol/openid-connect/registrations?{query}", self.url, self.name);
        let page = self.http.get(url).send().await.expect("Keycloak answers");
        let cookies: Vec<_> =
            page.headers().get_all("set-cookie").iter().filter_map(|line| line.to_str().ok()).collect();
        let cookies: Vec<_> = cookies.iter().filter_map(|line| line.split(';').next()).collect();
        let cookies = cookies.join("; ");
        let page = page.text().await.expect("a page");
        let action = page.split("<form").nth(1).and_then(|form| form.split("action=\"").nth(1));
        let action = action.and_then(|rest| rest.split('"').next()).expect("a form").replace("&amp;", "&");
        let password = format!("{login}-1-{login}");
        let email = format!("{login}@example.org");
        let form = [
            ("username", login),
            ("firstName", login),
            ("lastName", "Example"),
            ("email", &email),
            ("password", &password),
            ("password-confirm", &password),
        ];
        let answer = self.http.post(action).header("cookie", cookies).form(&form).send().await.expect("it answers");
        assert_eq!(answer.status(), StatusCode::FOUND, "{login} could not register");
    }

    /// Changes a profile as its owner does in the account console.
    pub async fn change_own_profile(&self, login: &str, password: &str, changes: &Value) {
        let token = self.sign_in(&self.name, "web", login, password).await;
        let token = token["access_token"].as_str().expect("the user can sign in");
        let url = format!("{}/realms/{}/account/", self.url, self.name);
        let ask = self.http.get(&url).bearer_auth(token).header("accept", "application/json");
        let mut profile: Value = ask.send().await.expect("it answers").json().await.expect("a profile");
        for (name, value) in changes.as_object().expect("an object") {
            profile[name] = value.clone();
        }
        let answer = self.http.post(&url).bearer_auth(token).json(&profile).send().await.expect("it answers");
        assert!(answer.status().is_success(), "{login} could not change the profile: {}", answer.status());
    }
}
