//! A Jira with one user, one group and one administrator, where every call succeeds.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;
use usersync::{
    model::{ErrorClass, Operation, UserFields},
    targets::{
        Credentials, TargetErrorKind,
        jira::{JiraSettings, JiraTarget},
    },
};

use super::scripted_server::{Reply, Seen};

/// Returns a user as Jira renders it.
pub fn user(key: &str, name: &str, groups: &[&str]) -> Value {
    let items: Vec<_> = groups.iter().map(|name| json!({"name": name, "self": "x"})).collect();
    json!({
        "key": key, "name": name, "displayName": "Ada L", "emailAddress": "ada@example.org", "active": true,
        "groups": {"size": items.len(), "items": items, "max-results": null}, "locale": "en", "somethingNew": [1]
    })
}

/// Returns Jira's own refusal.
pub fn refusal(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"errorMessages": [message], "errors": {}}))
}

/// Returns Jira's own refusal of a field.
pub fn complaint(field: &str, message: &str) -> Reply {
    Reply::json(400, json!({"errorMessages": [], "errors": {field: message}}))
}

pub fn absent() -> Reply {
    refusal(404, "It is not there.")
}

pub fn member_page(values: &[Value], start: usize, total: usize) -> Reply {
    let last = start + values.len() >= total;
    Reply::json(200, json!({"startAt": start, "maxResults": 50, "total": total, "isLast": last, "values": values}))
}

/// Answers every call with success.
pub fn healthy(seen: &Seen) -> Reply {
    let path = seen.path.strip_prefix("/rest/api/2").unwrap_or_default();
    match (seen.method.as_str(), path) {
        ("GET", "/serverInfo") => Reply::json(
            200,
            json!({"baseUrl": "https://jira.example.org", "version": "10.3.5", "versionNumbers": [10, 3, 5],
                   "deploymentType": "Server"}),
        ),
        ("GET", "/myself") => Reply::json(200, user("JIRAUSER1", "jsync", &[])),
        ("GET", "/mypermissions") => Reply::json(
            200,
            json!({"permissions": {"ADMINISTER": {"havePermission": true}, "SYSTEM_ADMIN": {"havePermission": false}}}),
        ),
        ("GET", "/groups/picker") => Reply::json(
            200,
            json!({"total": 3, "groups": [
                {"name": "dev", "html": "dev", "labels": []},
                {"name": "jira-administrators", "labels": [{"type": "ADMIN", "text": "Admin"}]},
                {"name": "Ops-Admins", "labels": [{"type": "ADMIN", "text": "Admin"}]},
            ]}),
        ),
        ("GET", "/group/member") => match seen.asks("groupname").unwrap_or_default().to_lowercase().as_str() {
            "dev" => member_page(&[user("JIRAUSER10", "ada", &[])], 0, 1),
            "jira-administrators" => member_page(&[user("JIRAUSER2", "root", &[])], 0, 1),
            "ops-admins" => member_page(&[], 0, 0),
            _ => absent(),
        },
        ("GET", "/user/duplicated/list" | "/user/duplicated/count") => Reply::html(404, "<html>no</html>"),
        ("GET", "/user/list") => Reply::json(
            200,
            json!({"maxResults": 1000, "isLast": true, "nextCursor": null, "values": [user("JIRAUSER10", "ada", &[])]}),
        ),
        ("GET", "/user/search") => Reply::json(200, json!([])),
        ("GET", "/applicationrole") => Reply::json(
            200,
            json!([{"key": "jira-software", "name": "Jira Software", "numberOfSeats": 2000, "remainingSeats": 48,
                    "selectedByDefault": true, "defined": true, "groups": [], "hasUnlimitedSeats": false}]),
        ),
        ("GET", "/user") => match (seen.asks("key"), seen.asks("username").map(str::to_lowercase).as_deref()) {
            (Some("JIRAUSER10"), _) | (_, Some("ada")) => Reply::json(200, user("JIRAUSER10", "ada", &["Dev"])),
            (Some("JIRAUSER2"), _) | (_, Some("root")) => {
                Reply::json(200, user("JIRAUSER2", "root", &["jira-administrators"]))
            }
            (Some("JIRAUSER1"), _) | (_, Some("jsync")) => Reply::json(200, user("JIRAUSER1", "jsync", &[])),
            _ => absent(),
        },
        ("POST", "/user") => {
            let name = seen.json()["name"].as_str().unwrap_or_default().to_owned();
            Reply::json(201, json!({"key": "JIRAUSER11", "name": name, "displayName": "Bob", "active": true}))
        }
        ("PUT", "/user") => {
            let mut reported = user("JIRAUSER10", "ada", &[]);
            for (field, value) in seen.json().as_object().into_iter().flatten() {
                reported[field] = value.clone();
            }
            Reply::json(200, reported)
        }
        ("DELETE", "/user") => Reply::empty(204),
        ("POST", "/group") => Reply::json(201, json!({"name": seen.json()["name"], "users": {"size": 0}})),
        ("DELETE", "/group" | "/group/user") => Reply::empty(200),
        ("POST", "/group/user") => Reply::json(201, json!({"name": "dev"})),
        _ => Reply::html(404, "<html>nothing here</html>"),
    }
}

/// Returns settings with short timeouts.
pub fn settings(url: &Url) -> JiraSettings {
    let token = Credentials::Token(Arc::new(|| Ok("s3cr3t-token".to_owned().into())));
    let mut settings = JiraSettings::new(url.clone(), token);
    settings.http.call_timeout = Duration::from_millis(400);
    settings.http.body_max = 64 << 10;
    settings
}

pub fn client(url: &Url) -> JiraTarget {
    JiraTarget::new(settings(url)).expect("good settings")
}

pub fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(20)
}

/// Returns every write, with its method and path.
pub fn writes() -> Vec<(Operation, &'static str, &'static str)> {
    let (account, name, group) = (|| "JIRAUSER10".into(), || "ada".to_owned(), || "dev".to_owned());
    let fields = || UserFields {
        display_name: Some("Bob B".to_owned()),
        email: Some("bob@example.org".to_owned()),
        ..UserFields::default()
    };
    vec![
        (Operation::CreateUser { name: "bob".to_owned(), fields: fields(), external_id: None }, "POST", "/user"),
        (Operation::UpdateUser { account: account(), name: name(), fields: fields() }, "PUT", "/user"),
        (Operation::RenameUser { account: account(), name: name(), to: "ada.l".to_owned() }, "PUT", "/user"),
        (Operation::ActivateUser { account: account(), name: name(), gives: Vec::new() }, "PUT", "/user"),
        (Operation::DeactivateUser { account: account(), name: name(), takes: Vec::new() }, "PUT", "/user"),
        (Operation::DeleteUser { account: account(), name: name() }, "DELETE", "/user"),
        (Operation::CreateGroup { name: "new".to_owned() }, "POST", "/group"),
        (Operation::DeleteGroup { group: "dev".into(), name: group() }, "DELETE", "/group"),
        (
            Operation::AddMember { group: "dev".into(), group_name: group(), account: account(), name: name() },
            "POST",
            "/group/user",
        ),
        (
            Operation::RemoveMember { group: "dev".into(), group_name: group(), account: account(), name: name() },
            "DELETE",
            "/group/user",
        ),
    ]
}

pub const fn not_done(class: ErrorClass) -> TargetErrorKind {
    TargetErrorKind::NotDone(class)
}
