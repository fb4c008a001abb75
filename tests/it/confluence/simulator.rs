//! Checks every answer of the simulated Confluence against the vendor's description, and its behaviour against the
//! known facts.

use serde_json::{Value, json};
use usersync_simulators::{ConfluenceOptions, SimulatedConfluence, confluence::NewAccount};

use super::world::contract;

struct Site {
    simulator: SimulatedConfluence,
    http: reqwest::Client,
    token: String,
}

impl Site {
    async fn version(version: &str) -> Self {
        let simulator = SimulatedConfluence::start(ConfluenceOptions::version(version)).await.expect("a free port");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let token = simulator.token().to_owned();
        Self { simulator, http, token }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.simulator.url());
        let request = self.http.request(method.parse().expect("a method"), url).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.expect("a body")).unwrap_or(Value::Null))
    }

    async fn expect(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let (came, answer) = self.ask(method, &format!("/rest/api{path}"), body).await;
        assert_eq!(came, status, "{method} {path}: {answer}");
        answer
    }
}

fn new_user(name: &str) -> Value {
    json!({ "userName": name, "fullName": "Ada L", "email": "a@example.org", "password": "p", "notifyViaEmail": false })
}

/// Runs through everything once, so that every deviation occurs.
#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
async fn all_answers_keep_to_the_description_and_no_deviation_is_idle() {
    let mut site = Site::version("10.0.3").await;
    let made = site.expect("POST", "/admin/user", Some(new_user("ada")), 201).await;
    let key = made["userKey"].as_str().expect("a key").to_owned();
    site.expect("POST", "/admin/user", Some(new_user("ada")), 409).await;
    for (field, value) in [
        ("userName", "Ada"),
        ("userName", "a b"),
        ("userName", "a+b"),
        ("userName", "anonymous"),
        ("fullName", " "),
        ("fullName", "<b>"),
        ("email", "nowhere"),
        ("password", ""),
    ] {
        let mut body = new_user("bob");
        body[field] = json!(value);
        site.expect("POST", "/admin/user", Some(body), 400).await;
    }
    let user = site.expect("GET", &format!("/user?key={key}&expand=status"), None, 200).await;
    assert_eq!((&user["username"], &user["status"]), (&json!("ada"), &json!("current")));
    assert!(user["email"].is_null(), "addresses are not read back");
    assert!(site.expect("GET", "/user?username=ADA", None, 200).await["status"].is_null());
    site.expect("GET", "/user?username=nobody", None, 404).await;
    site.expect("GET", "/user/current", None, 200).await;
    site.expect("PUT", "/admin/user/ada", Some(json!({ "fullName": "Ada" })), 204).await;
    site.expect("PUT", "/admin/user/ada", Some(json!({ "email": "no" })), 400).await;
    site.expect("PUT", "/admin/user/nobody", Some(json!({ "fullName": "A" })), 404).await;
    for verb in ["disable", "disable", "enable", "enable"] {
        site.expect("PUT", &format!("/admin/user/ada/{verb}"), None, 204).await;
    }
    site.expect("PUT", "/admin/user/nobody/disable", None, 404).await;

    site.expect("POST", "/admin/group", Some(json!({ "type": "group", "name": "Dev" })), 400).await;
    site.expect("POST", "/admin/group", Some(json!({ "type": "group", "name": "dev" })), 200).await;
    site.expect("POST", "/admin/group", Some(json!({ "type": "group", "name": "dev" })), 409).await;
    site.expect("POST", "/admin/group", Some(json!({ "type": "group" })), 400).await;
    site.simulator.set_new_groups(false, 201);
    site.expect("POST", "/admin/group", Some(json!({ "type": "group", "name": "ops" })), 201).await;
    for method in ["PUT", "PUT", "DELETE", "DELETE", "PUT"] {
        site.expect(method, "/user/ada/group/dev", None, 204).await;
    }
    site.expect("PUT", "/user/ada/group/nowhere", None, 404).await;
    site.expect("DELETE", "/user/nobody/group/dev", None, 404).await;
    site.expect("DELETE", "/user/admin/group/confluence-administrators", None, 403).await;
    site.simulator.set_read_only(true);
    site.expect("PUT", "/user/ada/group/ops", None, 403).await;
    site.simulator.set_read_only(false);
    site.expect("GET", "/group", None, 200).await;
    site.expect("GET", "/group/dev", None, 200).await;
    site.expect("GET", "/group/nowhere", None, 404).await;
    site.expect("GET", "/group/nowhere/member", None, 404).await;
    let members = site.expect("GET", "/group/dev/member?limit=1&expand=status", None, 200).await;
    assert_eq!(members["results"][0]["userKey"], key.as_str());
    let groups = site.expect("GET", &format!("/user/memberof?key={key}&limit=1"), None, 200).await;
    assert_eq!((&groups["size"], &groups["results"][0]["type"]), (&json!(1), &json!("group")));
    assert!(groups["_links"]["next"].as_str().is_some_and(|next| next.contains("start=1")));
    site.expect("GET", "/user/list?limit=1&start=1&expand=status", None, 200).await;
    site.expect("GET", "/user/list?start=-1", None, 400).await;
    site.expect("GET", "/admin/users/list/active", None, 200).await;
    let permissions = site.expect("GET", "/permissions/group/confluence-administrators", None, 200).await;
    assert!(permissions.to_string().contains("administer"));
    site.expect("GET", "/permissions/group/nowhere", None, 404).await;
    site.expect("GET", "/server-information", None, 200).await;
    assert_eq!(site.ask("OPTIONS", "/rest/api/admin/user/admin", None).await.0, 200);
    assert_eq!(site.ask("GET", "/rest/applinks/1.0/manifest", None).await.1["typeId"], "confluence");

    site.simulator.set_seats(Some(2));
    assert_eq!(site.ask("GET", "/rest/license/1.0/license/remainingSeats", None).await.1["count"], 0);
    site.expect("POST", "/admin/user", Some(new_user("bob")), 402).await;
    site.simulator.add_account(NewAccount::named("eve").inactive().in_groups(&["confluence-users"]));
    site.expect("PUT", "/admin/user/eve/enable", None, 402).await;
    site.simulator.set_seats(None);

    site.simulator.set_deletion(2, None);
    let task = site.expect("DELETE", "/admin/user/ada", None, 202).await["id"].as_str().expect("a task").to_owned();
    let status = site.expect("GET", &format!("/longtask/{task}"), None, 200).await;
    assert_eq!((&status["percentageComplete"], &status["successful"]), (&json!(50), &json!(true)));
    assert!(site.simulator.snapshot().account("ada").is_some());
    let status = site.expect("GET", &format!("/longtask/{task}"), None, 200).await;
    assert_eq!(status["percentageComplete"], 100);
    assert!(site.simulator.snapshot().account("ada").is_none());
    site.expect("GET", "/longtask/nothing", None, 404).await;
    site.expect("DELETE", "/admin/user/ada", None, 404).await;
    site.expect("DELETE", "/admin/group/ops", None, 204).await;
    site.expect("DELETE", "/admin/group/ops", None, 404).await;
    site.expect("DELETE", "/admin/group/confluence-administrators", None, 400).await;

    let rpc = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 7 });
    let path = "/rpc/json-rpc/confluenceservice-v2";
    assert_eq!(site.ask("POST", path, Some(rpc("getUser", json!(["eve"])))).await.0, 403, "off by default");
    site.simulator.set_remote_api(true, 200);
    let (_, answer) = site.ask("POST", path, Some(rpc("getUser", json!(["eve"])))).await;
    assert_eq!((&answer["id"], &answer["result"]["email"]), (&json!(7), &json!("eve@example.org")));
    let (status, answer) = site.ask("POST", path, Some(rpc("getUser", json!(["nobody"])))).await;
    assert!(status == 200 && answer["error"]["message"].is_string());

    // A user that may use Confluence but not administer it; then a user that may not even use it.
    site.simulator.add_account(NewAccount::named("eve"));
    site.simulator.set_active("eve", true);
    site.simulator.set_credentials("eve", "secret", "eve-token");
    site.token = "eve-token".to_owned();
    for path in ["/group/dev/member", "/admin/users/list/active", "/permissions/group/dev"] {
        site.expect("GET", path, None, 403).await;
    }
    site.expect("POST", "/admin/user", Some(new_user("bob")), 403).await;
    site.simulator.remove_member("confluence-users", "eve");
    site.expect("GET", "/user/list", None, 403).await;
    site.token = "wrong".to_owned();
    site.expect("GET", "/user/list", None, 401).await;
    site.simulator.refuse_credentials_silently(true);
    assert_eq!(site.expect("GET", "/user/current", None, 200).await["type"], "anonymous");
    site.expect("DELETE", "/admin/user/eve", None, 401).await;
    site.expect("GET", "/user/list", None, 403).await;

    let mut contract = contract();
    assert_eq!(contract.check(&site.simulator.journal.entries(), ""), Vec::<String>::new());
    assert_eq!(contract.unused(), Vec::<String>::new(), "a deviation that nothing needs");
}

#[tokio::test]
async fn the_contract_detects_violations() {
    let site = Site::version("10.0.3").await;
    site.ask("GET", "/rest/api/user?nonsense=1", None).await;
    site.ask("GET", "/rest/api/user/list?limit=many", None).await;
    site.ask("POST", "/rest/api/admin/user", Some(json!({ "nom": "x" }))).await;
    site.ask("PUT", "/rest/api/user/admin/group/confluence-users", Some(json!({}))).await;
    site.ask("GET", "/rest/api/nowhere", None).await;
    let problems = contract().check(&site.simulator.journal.entries(), "");
    for text in ["nonsense is not described", "limit is no", "nom", "a body is sent", "/nowhere: is not described"] {
        assert!(problems.iter().any(|problem| problem.contains(text)), "{text} in {problems:#?}");
    }
}

#[tokio::test]
async fn versions_differ_in_their_endpoints() {
    for (version, disable, create, list, update, permissions) in [
        ("7.19.30", 404, 404, 404, 404, 404),
        ("8.2.0", 204, 404, 404, 405, 404),
        ("8.5.16", 204, 201, 404, 405, 404),
        ("8.8.1", 204, 201, 200, 405, 404),
        ("9.4.0", 204, 201, 200, 204, 404),
        ("10.0.3", 204, 201, 200, 204, 200),
    ] {
        let site = Site::version(version).await;
        site.simulator.add_account(NewAccount::named("eve"));
        site.expect("PUT", "/admin/user/eve/disable", None, disable).await;
        site.expect("POST", "/admin/user", Some(new_user("ada")), create).await;
        site.expect("GET", "/user/list", None, list).await;
        site.expect("PUT", "/admin/user/eve", Some(json!({ "fullName": "E" })), update).await;
        site.expect("GET", "/permissions/group/confluence-users", None, permissions).await;
    }
}

#[tokio::test]
async fn the_container_refuses_slashes_in_names() {
    let site = Site::version("10.0.3").await;
    site.simulator.add_group("a/b");
    site.expect("GET", "/group/a%2Fb", None, 400).await;
    let agent = site.http.put(format!("{}/rest/api/user/admin/group/confluence-users", site.simulator.url()));
    let answer = agent.bearer_auth(&site.token).header("user-agent", "Mozilla/5.0").send().await.expect("an answer");
    assert_eq!(answer.status(), 403, "XSRF");
}
