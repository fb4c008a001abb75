//! Checks every answer of the simulated Jira against the vendor's description, and its behaviour against the known
//! facts.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use usersync_simulators::jira::{NewAccount, RateLimit};
use usersync_simulators::{JiraOptions, SimulatedJira};

use crate::support::jira_contract;

/// A simulator with a client that signs in by token.
struct Jira {
    simulator: SimulatedJira,
    http: reqwest::Client,
    token: String,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} is not JSON: {}", self.status, self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Jira {
    async fn start(options: JiraOptions) -> Self {
        let token = options.token.clone();
        let simulator = SimulatedJira::start(options).await.expect("a free port");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { simulator, http, token }
    }

    async fn version(version: &str) -> Self {
        Self::start(JiraOptions::version(version)).await
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, &format!("/rest/api/2{path}")).bearer_auth(&self.token);
        send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().expect("a method"), format!("{}{path}", self.simulator.url()))
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.json()
    }

    /// Expects a status, and a text in the body.
    async fn expect(&self, method: &str, path: &str, body: Option<Value>, status: u16, text: &str) -> Value {
        let answer = self.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(answer.body.contains(text), "{method} {path}: {}", answer.body);
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    async fn create(&self, name: &str) -> Value {
        let body = json!({ "name": name, "emailAddress": format!("{name}@example.org"), "displayName": name });
        self.expect("POST", "/user", Some(body), 201, "").await
    }

    fn names(list: &Value) -> Vec<&str> {
        list.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect()
    }

    /// Checks all requests so far against the description.
    fn assert_contract(&self) -> Vec<String> {
        let (problems, unused) = jira_contract::check(&self.simulator.journal.entries(), "");
        assert_eq!(problems, Vec::<String>::new());
        unused
    }
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: answer.text().await.expect("a body") }
}

/// Runs through everything once, so that every deviation occurs.
#[tokio::test]
async fn all_answers_keep_to_the_description_and_no_deviation_is_idle() {
    let jira = Jira::version("10.3.24").await;
    let made = jira.create("Ada").await;
    assert_eq!((&made["name"], &made["active"]), (&json!("ada"), &json!(true)), "names are stored in lower case");
    assert_eq!(made["applicationKeys"], json!(["jira-software"]));
    let key = made["key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("JIRAUSER"), "{key}");

    let user = jira.get("/user?username=ADA&expand=groups,applicationRoles").await;
    assert_eq!(user["groups"]["items"][0]["name"], "jira-software-users");
    assert_eq!(user["applicationRoles"]["items"][0]["key"], "jira-software");
    assert_eq!(jira.get(&format!("/user?key={key}")).await["groups"], json!({ "size": 1, "items": [] }));
    let change = json!({ "name": "ada.l", "displayName": "Ada L", "emailAddress": "l@example.org", "active": false });
    let changed = jira.expect("PUT", "/user?username=ada", Some(change), 200, "").await;
    assert_eq!((&changed["key"], &changed["name"], &changed["active"]), (&json!(key), &json!("ada.l"), &json!(false)));
    jira.expect("GET", "/user?username=ada", None, 404, "errorMessages").await;
    jira.expect("PUT", "/user?username=ada.l", Some(json!({})), 400, "nothing").await;
    jira.expect("PUT", "/user?username=ada.l", Some(json!({ "name": "admin" })), 400, "already exists").await;
    jira.expect("PUT", "/user?username=nobody", Some(json!({ "active": true })), 404, "").await;
    jira.expect("PUT", "/user/password?username=ada.l", Some(json!({ "password": "p" })), 204, "").await;
    let policy = json!({ "username": "x", "password": "y", "displayName": "X", "emailAddress": "x@example.org" });
    jira.expect("POST", "/password/policy/createUser", Some(policy), 200, "[]").await;
    let dup = json!({ "name": "ADA.L", "emailAddress": "x@example.org", "displayName": "X" });
    let refused = jira.expect("POST", "/user", Some(dup), 400, "").await;
    assert_eq!(refused["errors"]["username"], "A user with that username already exists.");
    let refused = jira.expect("POST", "/user", Some(json!({ "name": "x" })), 400, "").await;
    assert!(refused["errors"]["email"].is_string() && refused["errors"]["fullname"].is_string(), "{refused}");

    jira.expect("POST", "/group", Some(json!({ "name": "Dev Team" })), 201, "Dev Team").await;
    jira.expect("POST", "/group", Some(json!({ "name": "dev team" })), 400, "already exists").await;
    jira.expect("POST", "/group", Some(json!({ "name": "" })), 400, "").await;
    jira.expect("POST", "/group/user?groupname=DEV%20TEAM", Some(json!({ "name": "ADA.L" })), 201, "Dev Team").await;
    let again = Some(json!({ "name": "ada.l" }));
    jira.expect("POST", "/group/user?groupname=dev%20team", again.clone(), 400, "already a member").await;
    jira.expect("POST", "/group/user?groupname=nope", again, 404, "").await;
    jira.expect("POST", "/group/user?groupname=dev%20team", Some(json!({ "name": "nobody" })), 404, "").await;
    let active = jira.get("/group/member?groupname=dev%20team").await;
    assert_eq!((&active["total"], &active["isLast"]), (&json!(0), &json!(true)), "inactive members are left out");
    let all = jira.get("/group/member?groupname=dev%20team&includeInactiveUsers=true&startAt=0&maxResults=50").await;
    assert_eq!(Jira::names(&all["values"]), ["ada.l"]);
    jira.expect("GET", "/group/member?groupname=", None, 400, "").await;
    jira.expect("GET", "/group/member?groupname=nope", None, 404, "nope").await;
    jira.expect("DELETE", "/group/user?groupname=dev%20team&username=ada.l", None, 200, "").await;
    jira.expect("DELETE", "/group/user?groupname=dev%20team&username=ada.l", None, 400, "not a member").await;
    let picked = jira.get("/groups/picker?query=DEV&maxResults=1").await;
    assert_eq!((&picked["total"], &picked["groups"][0]["html"]), (&json!(1), &json!("<b>Dev</b> Team")));
    jira.expect("DELETE", "/group?groupname=dev%20team", None, 200, "").await;
    jira.expect("DELETE", "/group?groupname=dev%20team", None, 404, "").await;

    assert_eq!(Jira::names(&jira.get("/user/search?username=.&includeInactive=true").await), ["ada.l", "admin"]);
    assert_eq!(Jira::names(&jira.get("/user/search?username=ada").await), Vec::<&str>::new());
    jira.expect("GET", "/user/search", None, 400, "").await;
    assert_eq!(jira.get("/user/list?maxResults=1").await["isLast"], false);
    let roles = jira.get("/applicationrole").await;
    assert_eq!((&roles[0]["hasUnlimitedSeats"], &roles[0]["userCount"]), (&json!(true), &json!(1)));
    assert_eq!(jira.get("/applicationrole/jira-software").await["key"], "jira-software");
    let path = "/user/application?username=ada.l&applicationKey=jira-software";
    jira.expect("DELETE", path, None, 204, "").await;
    jira.expect("POST", path, None, 200, "").await;
    jira.expect("POST", "/user/application?username=ada.l&applicationKey=nope", None, 400, "").await;
    jira.expect("DELETE", "/user/session/ada.l", None, 200, "").await;
    jira.expect("DELETE", "/user/session/nobody", None, 404, "").await;

    assert_eq!(jira.get("/serverInfo").await["versionNumbers"], json!([10, 3, 24]));
    let me = jira.ask("GET", "/myself", None).await;
    assert_eq!((me.json()["name"].as_str(), me.header("x-ausername")), (Some("admin"), "admin"));
    assert_eq!(me.header("x-seraph-loginreason"), "OK");
    assert_eq!(jira.get("/mypermissions").await["permissions"]["ADMINISTER"]["havePermission"], true);
    let directory = jira.simulator.add_directory("LDAP", true);
    jira.simulator.add_account_in(directory, NewAccount::named("ada.l"));
    assert_eq!(jira.get("/user/duplicated/count").await, 1);
    assert_eq!(jira.get("/user/duplicated/list").await[0]["userName"], "ada.l");
    let session = send(jira.request("GET", "/rest/auth/1/session").basic_auth("admin", Some("admin"))).await;
    assert_eq!((session.status, session.json()["name"].as_str()), (200, Some("admin")));
    let manifest = send(jira.request("GET", "/rest/applinks/1.0/manifest")).await.json();
    assert_eq!(manifest["id"], jira.simulator.server_id());

    // The shadowed account becomes effective when the one before it is deleted.
    jira.expect("DELETE", "/user?username=ada.l", None, 204, "").await;
    jira.expect("DELETE", "/user?username=ada.l", None, 403, "read-only").await;

    jira.simulator.add_account(NewAccount::named("eve"));
    jira.simulator.set_credentials("eve", "secret", "eve-token");
    let eve = |path: &'static str| send(jira.request("GET", path).bearer_auth("eve-token"));
    assert_eq!(eve("/rest/api/2/user/duplicated/count").await.status, 403);
    assert_eq!(eve("/rest/api/2/user/list").await.status, 403);
    let anonymous = |path: &'static str| send(jira.request("GET", path));
    assert_eq!(anonymous("/rest/api/2/myself").await.status, 401);
    assert_eq!(anonymous("/rest/api/2/user?username=eve").await.status, 401);
    assert_eq!(anonymous("/rest/api/latest/serverInfo").await.status, 200);
    let wrong = |path: &'static str| send(jira.request("GET", path).bearer_auth("wrong"));
    let refused = wrong("/rest/api/2/serverInfo").await;
    assert_eq!((refused.status, refused.header("x-seraph-loginreason")), (401, "AUTHENTICATED_FAILED"));
    assert!(refused.body.starts_with("<html>"), "{}", refused.body);
    assert_eq!(wrong("/rest/api/2/groups/picker").await.status, 401);
    jira.simulator.set_captcha(true);
    let captcha = send(jira.request("GET", "/rest/api/2/serverInfo").basic_auth("admin", Some("admin"))).await;
    assert_eq!((captcha.status, captcha.header("x-seraph-loginreason")), (403, "AUTHENTICATION_DENIED"));
    assert!(captcha.header("x-authentication-denied-reason").starts_with("CAPTCHA_CHALLENGE"));
    jira.simulator.set_rate_limit(Some(RateLimit { limit: 1, interval_seconds: 3600, fill_rate: 1 }));
    assert_eq!(jira.ask("GET", "/myself", None).await.header("x-ratelimit-remaining"), "0");
    let limited = jira.ask("GET", "/myself", None).await;
    assert_eq!((limited.status, limited.header("x-ratelimit-limit")), (429, "1"));
    assert!(limited.header("retry-after").parse::<u64>().expect("seconds") > 0);

    assert_eq!(jira.assert_contract(), Vec::<String>::new(), "a deviation that nothing needs");
}

#[tokio::test]
async fn the_contract_detects_violations() {
    let jira = Jira::version("10.3").await;
    jira.ask("GET", "/user?username=admin&nonsense=1", None).await;
    jira.ask("GET", "/user/list?maxResults=many", None).await;
    jira.ask("POST", "/group", Some(json!({ "nom": "x" }))).await;
    jira.ask("GET", "/nowhere", None).await;
    let (problems, _) = jira_contract::check(&jira.simulator.journal.entries(), "");
    for text in ["nonsense is not described", "maxResults is no", "nom", "/nowhere: is not described"] {
        assert!(problems.iter().any(|problem| problem.contains(text)), "{text} in {problems:#?}");
    }
}

#[tokio::test]
async fn versions_differ_in_their_endpoints() {
    for (version, list, group, basic, sessions) in [
        ("8.20", 404, 200, 200, 404),
        ("9.12", 404, 200, 200, 200),
        ("10.0", 404, 404, 200, 200),
        ("10.3.24", 200, 404, 200, 200),
        ("11.3", 200, 404, 401, 200),
    ] {
        let jira = Jira::version(version).await;
        assert_eq!(jira.ask("GET", "/user/list", None).await.status, list, "{version} user/list");
        let path = "/group?groupname=jira-software-users";
        assert_eq!(jira.ask("GET", path, None).await.status, group, "{version} group");
        let answer = send(jira.request("GET", "/rest/api/2/myself").basic_auth("ADMIN", Some("admin"))).await;
        assert_eq!(answer.status, basic, "{version} Basic");
        let answer = send(jira.request("GET", "/rest/auth/1/session").basic_auth("admin", Some("admin"))).await;
        assert_eq!(answer.status, basic, "{version} session");
        let answer = jira.ask("DELETE", "/user/session/admin", None).await;
        assert_eq!(answer.status, sessions, "{version} ending a session");
    }
    let old = Jira::version("8.2").await;
    let request = old.request("PUT", "/rest/api/2/user?username=admin").basic_auth("admin", Some("admin"));
    let answer = send(request.json(&json!({ "active": false }))).await;
    assert_eq!((answer.status, answer.body.contains("nothing")), (400, true), "no activity before 8.3");
    let answer = send(old.request("GET", "/rest/api/2/myself").bearer_auth(&old.token)).await;
    assert_eq!(answer.status, 401, "no personal access tokens before 8.14");
}

#[tokio::test]
async fn searches_are_capped_and_lists_are_walked() {
    let accounts = |count: usize| (0..count).map(|n| NewAccount::named(format!("u{n:04}")));
    let jira = Jira::version("10.3").await;
    jira.simulator.add_accounts(accounts(120).map(|account| account.in_groups(&["everybody"])));
    let search =
        async |query: &str| jira.get(&format!("/user/search?username=u0&{query}")).await.as_array().map_or(0, Vec::len);
    assert_eq!(search("").await, 50);
    assert_eq!(search("maxResults=1000").await, 100, "Jira 10 gives a hundred and no more");
    assert_eq!(search("startAt=90&maxResults=50").await, 10);
    assert_eq!(search("startAt=100&maxResults=50").await, 0);
    let mut names = Vec::new();
    let mut path = "/user/list?maxResults=50".to_owned();
    loop {
        let page = jira.get(&path).await;
        names.extend(Jira::names(&page["values"]).into_iter().map(str::to_owned));
        let Some(cursor) = page["nextCursor"].as_str() else {
            assert_eq!(page["isLast"], true);
            break;
        };
        path = format!("/user/list?maxResults=50&cursor={cursor}");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 121);
    let page = jira.get("/group/member?groupname=everybody&maxResults=1000&startAt=100").await;
    assert_eq!((&page["maxResults"], &page["total"], &page["isLast"]), (&json!(50), &json!(120), &json!(true)));
    let first = jira.get("/group/member?groupname=everybody").await;
    assert!(first["nextPage"].as_str().expect("a link").contains("startAt=50"));
    jira.assert_contract();

    let old = Jira::version("9.12").await;
    old.simulator.add_accounts(accounts(120));
    let found = old.get("/user/search?username=u0&maxResults=1000").await;
    assert_eq!(found.as_array().map(Vec::len), Some(120));
}

#[tokio::test]
async fn licences_are_counted() {
    let jira = Jira::version("10.3").await;
    jira.simulator.set_seats("jira-software", Some(2));
    jira.create("ada").await;
    let bob = json!({ "name": "bob", "emailAddress": "bob@example.org", "displayName": "Bob" });
    jira.expect("POST", "/user", Some(bob.clone()), 400, "licence").await;
    let mut without = bob;
    without["applicationKeys"] = json!([]);
    let made = jira.expect("POST", "/user", Some(without), 201, "").await;
    assert_eq!(made["applicationKeys"], json!([]));
    jira.expect("POST", "/user/application?username=bob&applicationKey=jira-software", None, 400, "licence").await;
    assert_eq!(jira.get("/applicationrole").await[0]["remainingSeats"], 0);
    jira.expect("PUT", "/user?username=ada", Some(json!({ "active": false })), 200, "").await;
    assert_eq!(jira.get("/applicationrole").await[0]["remainingSeats"], 1, "who is inactive takes no seat");
    jira.expect("POST", "/user/application?username=bob&applicationKey=jira-software", None, 200, "").await;
    jira.expect("PUT", "/user?username=ada", Some(json!({ "active": true })), 400, "licence").await;
    jira.assert_contract();
}

#[tokio::test]
async fn forbidden_changes_are_refused() {
    let jira = Jira::version("10.3").await;
    jira.simulator.add_account(NewAccount::named("ada"));
    jira.simulator.set_content("ada", true);
    jira.expect("DELETE", "/user?username=ada", None, 400, "issues").await;
    jira.simulator.set_content("ada", false);
    jira.simulator.set_project_lead("ALPHA", "ada");
    jira.expect("PUT", "/user?username=ada", Some(json!({ "active": false })), 400, "lead").await;
    jira.expect("DELETE", "/user?username=admin", None, 400, "yourself").await;
    jira.expect("DELETE", "/group?groupname=jira-administrators", None, 400, "last").await;
    let path = "/group/user?groupname=jira-administrators&username=admin";
    jira.expect("DELETE", path, None, 400, "last group").await;

    // An administrator that is no system administrator may not change those.
    jira.simulator.set_admin_group("helpers", true, false);
    jira.simulator.add_account(NewAccount::named("sync").in_groups(&["helpers"]));
    jira.simulator.set_credentials("sync", "p", "sync-token");
    let as_sync = |method: &str, path: &str, body: Value| {
        let request = jira.request(method, &format!("/rest/api/2{path}")).bearer_auth("sync-token");
        send(request.json(&body))
    };
    assert_eq!(as_sync("PUT", "/user?username=admin", json!({ "active": false })).await.status, 403);
    let body = json!({ "name": "ada" });
    assert_eq!(as_sync("POST", "/group/user?groupname=jira-administrators", body.clone()).await.status, 403);
    assert_eq!(as_sync("POST", "/group/user?groupname=helpers", body).await.status, 201);

    jira.simulator.set_group_in_use("helpers", true);
    jira.expect("DELETE", "/group?groupname=helpers", None, 400, "restrictions").await;
    jira.expect("DELETE", "/group?groupname=helpers&swapGroup=jira-software-users", None, 200, "").await;

    jira.simulator.set_read_only(true);
    let new = json!({ "name": "new", "emailAddress": "n@example.org", "displayName": "N" });
    jira.expect("POST", "/user", Some(new), 403, "read-only").await;
    jira.expect("PUT", "/user?username=ada", Some(json!({ "displayName": "A" })), 403, "read-only").await;
    jira.expect("POST", "/group", Some(json!({ "name": "x" })), 403, "read-only").await;
    let snapshot = jira.simulator.snapshot();
    assert!(snapshot.account("ada").is_some_and(|ada| ada.active) && snapshot.account("new").is_none());
    jira.assert_contract();

    let agent = jira.request("POST", "/rest/api/2/group").bearer_auth(&jira.token).header("user-agent", "Mozilla/5.0");
    let refused = send(agent.json(&json!({ "name": "y" }))).await;
    assert_eq!((refused.status, refused.body.contains("XSRF")), (403, true));
}

#[tokio::test]
async fn refused_credentials_can_look_like_an_empty_jira() {
    let jira = Jira::version("10.3").await;
    jira.simulator.add_account(NewAccount::named("ada").in_groups(&["dev"]));
    jira.simulator.refuse_credentials_silently(true);
    for path in ["/user/search?username=.", "/group/member?groupname=dev", "/user/list", "/groups/picker?query=d"] {
        let answer = jira.ask("GET", path, None).await;
        assert_eq!((answer.status, answer.header("x-seraph-loginreason")), (200, "AUTHENTICATED_FAILED"), "{path}");
        assert_eq!(answer.header("x-ausername"), "anonymous");
        let body = answer.json();
        let list = ["values", "groups"].iter().find_map(|name| body.get(name)).unwrap_or(&body);
        assert_eq!(*list, json!([]), "{path}");
    }
    assert_eq!(jira.ask("GET", "/myself", None).await.status, 401);
    jira.expect("DELETE", "/user?username=ada", None, 401, "").await;
    jira.simulator.refuse_credentials_silently(false);
    assert_eq!(jira.get("/group/member?groupname=dev").await["total"], 1);
    jira.assert_contract();
}

#[tokio::test]
async fn a_snapshot_shows_what_drifted_and_a_base_path_is_kept() {
    let options = JiraOptions { base_path: "/jira".into(), ..JiraOptions::default() };
    let jira = Jira::start(options).await;
    jira.create("ada").await;
    jira.simulator.set_display_name("ada", "Somebody");
    jira.simulator.set_email("ada", "else@example.org");
    jira.simulator.set_active("ada", false);
    jira.simulator.add_group("extra");
    assert!(jira.simulator.add_member("extra", "ada") && !jira.simulator.add_member("extra", "ada"));
    jira.simulator.rename_account("ada", "Ada.L");
    let snapshot = jira.simulator.snapshot();
    let ada = snapshot.account("ada.l").expect("the account");
    let shown = jira.get(&format!("/user?key={}", ada.key)).await;
    assert_eq!((&shown["name"], &shown["displayName"]), (&json!("ada.l"), &json!("Somebody")));
    assert_eq!((ada.email.as_str(), ada.active), ("else@example.org", false));
    assert_eq!(snapshot.groups["extra"].iter().collect::<Vec<_>>(), ["ada.l"]);
    assert!(ada.groups.contains("extra") && ada.groups.contains("jira-software-users"));
    jira.simulator.remove_account("ada.l");
    assert!(jira.simulator.snapshot().groups["extra"].is_empty());
    let gone = jira.get(&format!("/user?key={}&includeDeleted=true", ada.key)).await;
    assert_eq!((&gone["deleted"], &gone["active"]), (&json!(true), &json!(false)));
    let outside = send(jira.request("GET", "/../rest/api/2/serverInfo")).await;
    assert_eq!(outside.status, 404, "nothing outside the base path");
    let entries = jira.simulator.journal.matching(|entry| entry.path.starts_with("/jira"));
    assert_eq!(jira_contract::check(&entries, "/jira").0, Vec::<String>::new());
}
