//! Behaviour of the simulator itself, without the client.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use usersync_simulators::{
    CrowdOptions, Fault, SimulatedCrowd,
    crowd::{NewCrowdUser, Permission},
    fault::Stale,
};

pub struct Raw {
    pub simulator: SimulatedCrowd,
    http: reqwest::Client,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} is not JSON: {}", self.status, self.body))
    }
}

impl Raw {
    pub async fn start(options: CrowdOptions) -> Self {
        let simulator = SimulatedCrowd::start(options).await.expect("a free port");
        Self { simulator, http: reqwest::Client::builder().no_proxy().build().expect("a client") }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().expect("a method"), format!("{}{path}", self.simulator.url()))
    }

    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let (name, password) = self.simulator.application();
        let request = self.request(method, &format!("/rest/usermanagement/1{path}")).basic_auth(name, Some(password));
        send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// Requests this media type.
    pub async fn ask_for(&self, path: &str, media: &str) -> Answer {
        let (name, password) = self.simulator.application();
        let request = self.request("GET", &format!("/rest/usermanagement/1{path}")).basic_auth(name, Some(password));
        send(request.header("accept", media)).await
    }

    /// Expects a status, and a text in the body.
    pub async fn expect(&self, method: &str, path: &str, body: Option<Value>, status: u16, text: &str) -> Answer {
        let answer = self.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(answer.body.contains(text), "{method} {path}: {}", answer.body);
        assert!(answer.header("x-embedded-crowd-version").starts_with("Crowd/"), "{method} {path}");
        answer
    }
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: answer.text().await.expect("a body") }
}

pub fn person(name: &str) -> Value {
    json!({
        "name": name, "first-name": "A", "last-name": "B", "display-name": "A B", "email": "a@example.org",
        "active": true, "password": { "value": "secret" },
    })
}

#[tokio::test]
async fn refused_credentials_are_answered_in_plain_text() {
    let raw = Raw::start(CrowdOptions::default()).await;
    for request in [
        raw.request("GET", "/rest/usermanagement/1/user?username=a"),
        raw.request("GET", "/rest/usermanagement/1/user?username=a").basic_auth("usersync", Some("wrong")),
        raw.request("POST", "/rest/usermanagement/1/user").basic_auth("somebody", Some("simulator-password")),
    ] {
        let answer = send(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (401, "text/plain;charset=UTF-8"));
        assert_eq!(answer.header("x-embedded-crowd-version"), "Crowd/7.1.3");
    }
    raw.simulator.refuse_address(true);
    raw.expect("GET", "/user?username=a", None, 403, "APPLICATION_ACCESS_DENIED").await;
}

#[tokio::test]
async fn a_change_replaces_all_and_refuses_another_name() {
    let raw = Raw::start(CrowdOptions::default()).await;
    raw.expect("POST", "/user", Some(person("Ada")), 201, "\"key\"").await;
    raw.expect("POST", "/user", Some(person("ADA")), 400, "INVALID_USER").await;
    raw.expect("POST", "/user", Some(json!({ "name": "bob" })), 400, "INVALID_CREDENTIAL").await;
    raw.expect("POST", "/user", Some(json!({})), 400, "INVALID_USER").await;
    raw.expect("PUT", "/user?username=ada", Some(json!({ "name": "bob" })), 400, "ILLEGAL_ARGUMENT").await;
    raw.expect("PUT", "/user?username=nobody", Some(json!({ "name": "nobody" })), 404, "USER_NOT_FOUND").await;
    let other = json!({ "name": "ADA", "display-name": "Countess" });
    raw.expect("PUT", "/user?username=ada", Some(other), 204, "").await;
    let seen = raw.simulator.snapshot();
    let ada = seen.user("ada").expect("there");
    assert_eq!((ada.name.as_str(), ada.display_name.as_str(), ada.email.as_str()), ("Ada", "Countess", ""));
    assert!(!ada.active && ada.last_name.is_empty(), "what was left out was emptied");
}

#[tokio::test]
async fn attributes_that_are_not_named_stay() {
    let raw = Raw::start(CrowdOptions::default()).await;
    raw.expect("POST", "/user", Some(person("ada")), 201, "").await;
    let give = |attributes: Value| Some(json!({ "attributes": attributes }));
    let of_ada = "/user/attribute?username=ADA";
    let first = json!([{ "name": "a", "values": ["1", "2"] }, { "name": "b", "values": ["3"] }]);
    raw.expect("POST", of_ada, give(first), 204, "").await;
    raw.expect("POST", of_ada, give(json!([{ "name": "a", "values": ["4"] }])), 204, "").await;
    raw.expect("POST", of_ada, Some(json!([])), 400, "ILLEGAL_ARGUMENT").await;
    raw.expect("POST", "/user/attribute?username=nobody", give(json!([])), 404, "USER_NOT_FOUND").await;
    let reported = |body: &Value| {
        let all = body.as_array().expect("a list").iter();
        all.map(|one| format!("{}={}", one["name"], one["values"])).collect::<Vec<_>>().join(" ")
    };
    let answer = raw.expect("GET", of_ada, None, 200, "").await.json();
    assert_eq!(reported(&answer["attributes"]), r#""a"=["4"] "b"=["3"]"#);
    for (expand, shown) in [("", ""), ("&expand=attributes", r#""a"=["4"] "b"=["3"]"#)] {
        let user = raw.ask("GET", &format!("/user?username=ada{expand}"), None).await.json();
        assert_eq!(reported(&user["attributes"]["attributes"]), shown);
    }
    let list = raw.ask("GET", "/search?entity-type=user&expand=user,attributes", None).await.json();
    assert_eq!(reported(&list["users"][0]["attributes"]["attributes"]), r#""a"=["4"] "b"=["3"]"#);
    for _ in 0..2 {
        raw.expect("DELETE", "/user/attribute?username=ada&attributename=a", None, 204, "").await;
    }
    raw.expect("DELETE", of_ada, None, 400, "attributename").await;
    raw.simulator.permit(Permission::ModifyUserAttributes, false);
    raw.expect("POST", of_ada, give(json!([])), 403, "ModifyUserAttributes").await;
    assert_eq!(raw.simulator.snapshot().user("ada").expect("there").attributes.len(), 1);
}

#[tokio::test]
async fn memberships_and_lists_have_their_oddities() {
    let raw = Raw::start(CrowdOptions::default()).await;
    raw.simulator.add_users((0..1200).map(|nth| NewCrowdUser::named(format!("u{nth:04}")).in_groups(&["all"])));
    let count = |answer: &Answer, kind: &str| answer.json()[kind].as_array().expect("a list").len();
    assert_eq!(count(&raw.ask("GET", "/search?entity-type=user", None).await, "users"), 1000);
    assert_eq!(count(&raw.ask("GET", "/search?entity-type=user&max-results=-1", None).await, "users"), 1200);
    let rest = raw.ask("GET", "/group/user/direct?groupname=ALL&start-index=1190", None).await;
    assert_eq!(count(&rest, "users"), 10);
    assert_eq!(rest.json()["users"][0].get("key"), None, "names alone, unless more is asked for");
    raw.expect("GET", "/search?entity-type=user&restriction=x", None, 400, "ILLEGAL_ARGUMENT").await;
    let nobody = raw.ask("GET", "/user/group/direct?username=nobody", None).await;
    assert_eq!((nobody.status, count(&nobody, "groups")), (200, 0));
    raw.expect("GET", "/user/group/direct?username=u0001&groupname=x", None, 404, "MEMBERSHIP_NOT_FOUND").await;
    let name = |name: &str| Some(json!({ "name": name }));
    let all = "/group/user/direct?groupname=all";
    raw.expect("POST", all, name("u0001"), 409, "MEMBERSHIP_ALREADY_EXISTS").await;
    raw.expect("POST", all, name("nobody"), 400, "USER_NOT_FOUND").await;
    raw.expect("POST", "/group/user/direct?groupname=x", name("u0001"), 404, "GROUP_NOT_FOUND").await;
    raw.expect("DELETE", &format!("{all}&username=u0001"), None, 204, "").await;
    raw.expect("DELETE", &format!("{all}&username=u0001"), None, 404, "MEMBERSHIP_NOT_FOUND").await;
    raw.expect("POST", "/group", name("ALL"), 400, "INVALID_GROUP").await;
    raw.expect("POST", "/group", Some(json!({ "name": "ALL", "type": "GROUP" })), 400, "already exists").await;
}

#[tokio::test]
async fn nested_groups_are_distinguished_from_direct_ones() {
    let raw = Raw::start(CrowdOptions::default()).await;
    raw.simulator.add_user(NewCrowdUser::named("ada").in_groups(&["inner"]));
    raw.simulator.nest("inner", "middle");
    raw.simulator.nest("middle", "outer");
    let names = async |path: &str, kind: &str| {
        let answer = raw.expect("GET", path, None, 200, "").await.json();
        let list = answer[kind].as_array().expect("a list").clone();
        list.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(names("/group/user/direct?groupname=outer", "users").await, Vec::<String>::new());
    assert_eq!(names("/group/user/nested?groupname=outer", "users").await, ["ada"]);
    assert_eq!(names("/group/child-group/direct?groupname=outer", "groups").await, ["middle"]);
    assert_eq!(names("/group/child-group/nested?groupname=outer", "groups").await, ["inner", "middle"]);
    assert_eq!(names("/user/group/direct?username=ada", "groups").await, ["inner"]);
    assert_eq!(names("/user/group/nested?username=ada", "groups").await, ["inner", "middle", "outer"]);
    raw.expect("DELETE", "/group?groupname=middle", None, 204, "").await;
    assert_eq!(names("/group/user/nested?groupname=outer", "users").await, Vec::<String>::new());
}

#[tokio::test]
async fn versions_differ() {
    let old = Raw::start(CrowdOptions::version("2.8.3")).await;
    let made = old.expect("POST", "/user", Some(person("ada")), 201, "").await;
    assert!(made.body.is_empty() && made.header("location").ends_with("/user?username=ada"));
    old.expect("POST", "/user/rename?username=ada", Some(json!({ "new-name": "x" })), 404, "").await;
    let nameless = json!({ "name": "bob", "password": { "value": "secret" } });
    old.expect("POST", "/user", Some(nameless.clone()), 400, "last name").await;
    assert_eq!(old.ask("GET", "/user?username=ada", None).await.json().get("directory-name"), None);
    let older = Raw::start(CrowdOptions::version("2.7.2")).await;
    older.simulator.add_user(NewCrowdUser::named("ada"));
    assert_eq!(older.ask("GET", "/user?username=ada", None).await.json().get("key"), None);
    older.expect("GET", "/user?key=x", None, 400, "username").await;
    let new = Raw::start(CrowdOptions::version("7.1.3")).await;
    new.expect("POST", "/user", Some(nameless), 201, "directory-name").await;
    assert_eq!(send(new.request("GET", "/rest/applinks/1.0/manifest")).await.status, 404);
    let jira = Raw::start(CrowdOptions::jira("10.3.5")).await;
    assert_eq!(send(jira.request("GET", "/rest/applinks/1.0/manifest")).await.json()["version"], "10.3.5");
}

#[tokio::test]
async fn reads_can_be_answered_from_an_earlier_state() {
    let raw = Raw::start(CrowdOptions { history: 2, ..CrowdOptions::default() }).await;
    raw.simulator.add_user(NewCrowdUser::named("ada"));
    raw.simulator.freeze();
    raw.simulator.set_active("ada", false);
    let active = async || raw.ask("GET", "/user?username=ada", None).await.json()["active"].clone();
    assert_eq!(active().await, false);
    raw.simulator.faults.add(Fault::stale(Stale::Frozen).once());
    assert_eq!(active().await, true);
    raw.simulator.faults.add(Fault::stale(Stale::ChangesAgo(1)).once());
    assert_eq!(active().await, true);
}
