//! Requests of operations, and the meaning of Jira's refusals.

use serde_json::json;
use usersync::{
    model::{
        ErrorClass::{Forbidden, Permanent},
        Operation, TargetGroupId, UserFields,
    },
    targets::{
        Applied, Target, TargetError,
        TargetErrorKind::{self, NameTaken, Unanswered, Unsupported},
        jira::JiraTarget,
    },
};

use super::{
    scripted_server::{Reply, Seen, Server},
    world::{absent, client, complaint, healthy, member_page, not_done, refusal, settings, soon, user, writes},
};

/// Applies an operation where one call gets another answer.
async fn refused(at: usize, reply: Reply, rest: fn(&Seen) -> Reply) -> Result<Applied, TargetError> {
    let (operation, method, path) = writes().swap_remove(at);
    let server = Server::start(move |seen| if seen.is(method, path) { reply.clone() } else { rest(seen) }).await;
    client(&server.url).apply(&operation, soon()).await
}

fn without_groups(seen: &Seen) -> Reply {
    if seen.is("GET", "/user") { Reply::json(200, user("JIRAUSER10", "ada", &[])) } else { healthy(seen) }
}

fn gone(seen: &Seen) -> Reply {
    if seen.is("GET", "/user") || seen.asks("groupname") == Some("dev") { absent() } else { healthy(seen) }
}

/// Name, operation, answer of its call, answers of all others, result, and message.
type Case = (&'static str, usize, Reply, fn(&Seen) -> Reply, Result<(), TargetErrorKind>, &'static str);

const CREATE: usize = 0;
const RENAME: usize = 2;
const ACTIVATE: usize = 3;
const DEACTIVATE: usize = 4;
const DELETE: usize = 5;
const CREATE_GROUP: usize = 6;
const DELETE_GROUP: usize = 7;
const JOIN: usize = 8;
const LEAVE: usize = 9;

#[tokio::test]
async fn every_operation_succeeds_and_sends_what_it_should() {
    let server = Server::start(healthy).await;
    let jira = client(&server.url);
    for (operation, method, path) in writes() {
        let applied = jira.apply(&operation, soon()).await.expect("all goes well");
        let sent = server.journal().into_iter().rfind(|seen| seen.is(method, path)).expect("it was sent");
        assert_eq!(sent.headers["x-atlassian-token"], "no-check");
        assert_eq!(sent.headers["authorization"], "Bearer s3cr3t-token");
        assert_eq!(sent.headers["user-agent"], concat!("usersync/", env!("CARGO_PKG_VERSION")));
        assert!(!sent.headers.contains_key("cookie"));
        let (query, body) = (|name| sent.asks(name).unwrap_or_default().to_owned(), sent.json());
        match &operation {
            Operation::CreateUser { .. } => {
                let Applied::Account(account) = applied else { panic!("an account") };
                assert_eq!((account.id.as_str(), account.name.as_str()), ("JIRAUSER11", "bob"));
                assert!(account.active && account.groups.is_none());
                let wanted = json!({"name": "bob", "displayName": "Bob B", "emailAddress": "bob@example.org"});
                assert_eq!(body, wanted, "no password, no mail, the instance's own applications");
            }
            Operation::UpdateUser { .. } => {
                assert_eq!(query("key"), "JIRAUSER10");
                assert_eq!(body, json!({"displayName": "Bob B", "emailAddress": "bob@example.org"}));
            }
            Operation::RenameUser { .. } => assert_eq!(body, json!({"name": "ada.l"})),
            Operation::ActivateUser { .. } => assert_eq!(body, json!({"active": true})),
            Operation::DeactivateUser { .. } => assert_eq!(body, json!({"active": false})),
            Operation::DeleteUser { .. } | Operation::AnonymizeUser { .. } => assert_eq!(query("key"), "JIRAUSER10"),
            Operation::CreateGroup { .. } => {
                let Applied::Group(group) = applied else { panic!("a group") };
                assert_eq!((group.id.as_str(), group.name.as_str()), ("new", "new"));
            }
            Operation::RenameGroup { .. } => unreachable!("Jira cannot"),
            Operation::DeleteGroup { .. } => assert_eq!(query("groupname"), "dev"),
            Operation::AddMember { .. } => {
                assert_eq!(query("groupname"), "dev");
                assert_eq!(body, json!({"name": "ada"}));
            }
            Operation::RemoveMember { .. } => {
                assert_eq!((query("groupname"), query("username")), ("dev".to_owned(), "ada".to_owned()));
            }
        }
    }
}

#[tokio::test]
async fn applications_are_granted_as_configured() {
    for (applications, sent) in
        [(Some(Vec::new()), json!([])), (Some(vec!["jira-core".to_owned()]), json!(["jira-core"]))]
    {
        let server = Server::start(healthy).await;
        let mut settings = settings(&server.url);
        settings.applications = applications;
        let jira = JiraTarget::new(settings).expect("good settings");
        jira.apply(&writes()[CREATE].0, soon()).await.expect("all goes well");
        let create = server.journal().into_iter().find(|seen| seen.is("POST", "/user")).expect("it was sent");
        assert_eq!(create.json()["applicationKeys"], sent);
    }
}

#[tokio::test]
async fn a_path_prefix_and_odd_names_arrive_as_they_are() {
    let server = Server::start(|seen| {
        let mut inner = seen.clone();
        inner.path = seen.path.strip_prefix("/jira").unwrap_or_default().to_owned();
        healthy(&inner)
    })
    .await;
    let jira = client(&server.url.join("jira/").expect("a URL"));
    assert!(jira.account_named("ada").await.expect("an answer").is_some());
    for odd in ["R&D + Ops/EMEA #1", "Ünïcode 100%", "a=b?c"] {
        assert_eq!(jira.group_named(odd).await.expect("an answer"), None);
        let asked = server.journal().into_iter().rfind(|seen| seen.asks("groupname") == Some(odd));
        assert!(asked.is_some(), "{odd}");
    }
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
async fn refusals_are_classified() {
    let already = || Reply::text(400, "Cannot add user 'ada', user is already a member of 'dev'");
    let cases: Vec<Case> = vec![
        (
            "duplicate",
            CREATE,
            complaint("username", "A user with that username already exists."),
            healthy,
            Err(NameTaken),
            "taken",
        ),
        (
            "bad login",
            CREATE,
            complaint("username", "The username must not contain '<', '>' or '&'."),
            healthy,
            Err(Unsupported),
            "rejects this login",
        ),
        (
            "bad address",
            CREATE,
            complaint("emailAddress", "You must specify a valid email address."),
            healthy,
            Err(not_done(Permanent)),
            "emailAddress: You must",
        ),
        (
            "licence",
            CREATE,
            refusal(400, "Your licence allows no more users."),
            healthy,
            Err(not_done(Permanent)),
            "no seat left",
        ),
        (
            "no right",
            CREATE,
            refusal(403, "No."),
            |seen| {
                if seen.is("GET", "/mypermissions") {
                    Reply::json(200, json!({"permissions": {}}))
                } else {
                    healthy(seen)
                }
            },
            Err(not_done(Forbidden)),
            "jsync lacks the permission",
        ),
        (
            "taken by somebody",
            RENAME,
            complaint("username", "x"),
            |seen| {
                if seen.asks("username") == Some("ada.l") {
                    Reply::json(200, user("JIRAUSER99", "ada.l", &[]))
                } else {
                    healthy(seen)
                }
            },
            Err(NameTaken),
            "taken",
        ),
        ("bad new login", RENAME, complaint("username", "x"), healthy, Err(Unsupported), "rejects this login"),
        (
            "rename passed over",
            RENAME,
            Reply::json(200, user("JIRAUSER10", "ada", &[])),
            healthy,
            Err(Unsupported),
            "the login is ada",
        ),
        ("update of nobody", ACTIVATE, absent(), healthy, Err(TargetErrorKind::NotFound), "not found"),
        (
            "leads, in another form",
            DEACTIVATE,
            refusal(400, "You cannot deactivate this user: it is a project lead."),
            healthy,
            Err(Unsupported),
            "set another lead",
        ),
        (
            "leads",
            DEACTIVATE,
            complaint("active", "leads <a href=\"/x\">Marketing</a>, EMEA"),
            healthy,
            Err(Unsupported),
            "leads Marketing , EMEA",
        ),
        (
            "stays active",
            DEACTIVATE,
            Reply::json(200, user("JIRAUSER10", "ada", &[])),
            healthy,
            Err(Unsupported),
            "still active",
        ),
        ("active is not told", ACTIVATE, Reply::json(200, json!({"name": "ada"})), healthy, Ok(()), ""),
        ("empty body", ACTIVATE, Reply::empty(200), healthy, Ok(()), ""),
        ("deleted before", DELETE, absent(), gone, Ok(()), ""),
        (
            "has content",
            DELETE,
            refusal(400, "Cannot delete user 'ada' because 3 issues were reported by it."),
            healthy,
            Err(Unsupported),
            "Deactivate the account instead",
        ),
        (
            "no reason",
            DELETE,
            Reply::json(400, json!({"errorMessages": [], "errors": {}})),
            healthy,
            Err(Unanswered),
            "without a reason",
        ),
        (
            "group exists",
            CREATE_GROUP,
            refusal(400, "exists"),
            |seen| if seen.asks("groupname") == Some("new") { member_page(&[], 0, 0) } else { healthy(seen) },
            Err(NameTaken),
            "a group with this name exists",
        ),
        ("group refused", CREATE_GROUP, refusal(400, "Not that"), healthy, Err(not_done(Permanent)), "Not that"),
        ("group deleted before", DELETE_GROUP, absent(), gone, Ok(()), ""),
        (
            "group deleted before, old",
            DELETE_GROUP,
            refusal(400, "x"),
            |seen| match seen.path.as_str() {
                "/rest/api/2/groups/picker" => Reply::json(200, json!({"total": 0, "groups": []})),
                _ => gone(seen),
            },
            Ok(()),
            "",
        ),
        (
            "group in use",
            DELETE_GROUP,
            refusal(400, "You must specify a group to move comments to."),
            healthy,
            Err(Unsupported),
            "restricted to the group",
        ),
        ("member already", JOIN, already(), healthy, Ok(()), ""),
        ("not added", JOIN, refusal(400, "Not this one"), without_groups, Err(not_done(Permanent)), "Not this one"),
        (
            "seat for a member",
            JOIN,
            refusal(400, "License limit exceeded"),
            without_groups,
            Err(not_done(Permanent)),
            "no seat left",
        ),
        ("nobody to add", JOIN, absent(), healthy, Err(TargetErrorKind::NotFound), "not found"),
        ("no member", LEAVE, refusal(400, "not a member"), without_groups, Ok(()), ""),
        ("gone member", LEAVE, absent(), gone, Ok(()), ""),
        ("renamed member", LEAVE, absent(), healthy, Err(TargetErrorKind::NotFound), "not found"),
    ];
    for (name, at, reply, rest, wanted, text) in cases {
        let got = refused(at, reply, rest).await;
        assert_eq!(got.as_ref().map(|_| ()).map_err(|error| error.kind), wanted, "{name}: {got:?}");
        if let Err(error) = got {
            assert!(error.text.contains(text), "{name}: {}", error.text);
        }
    }
}

#[tokio::test]
async fn operations_that_jira_would_ignore_silently_are_reported() {
    let server = Server::start(healthy).await;
    let jira = client(&server.url);
    let blank = || Some(" ".to_owned());
    let account = || "JIRAUSER10".into();
    for fields in [
        UserFields { display_name: blank(), email: None, ..UserFields::default() },
        UserFields { display_name: None, email: Some(String::new()), ..UserFields::default() },
    ] {
        let operation = Operation::UpdateUser { account: account(), name: "ada".to_owned(), fields };
        let error = jira.apply(&operation, soon()).await.expect_err("it keeps no empty fields");
        assert_eq!(error.kind, Unsupported);
    }
    let nothing = Operation::UpdateUser { account: account(), name: "ada".to_owned(), fields: UserFields::default() };
    assert_eq!(jira.apply(&nothing, soon()).await, Ok(Applied::Done));
    let no_mail = Operation::CreateUser { name: "bob".to_owned(), fields: UserFields::default(), external_id: None };
    let error = jira.apply(&no_mail, soon()).await.expect_err("an address is demanded");
    assert_eq!(error.kind, Unsupported);
    assert!(server.journal().iter().all(|seen| seen.method == "GET"), "nothing is written");
}

#[tokio::test]
async fn accounts_are_read_with_groups_and_with_what_protects_them() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/rest/api/2/user/duplicated/list" => Reply::json(
            200,
            json!({"Eve": [{"directoryId": 1, "directoryName": "Internal", "userActive": true},
                           {"directoryId": 2, "directoryName": "Crowd", "userActive": true}]}),
        ),
        "/rest/api/2/user" => match seen.asks("username").unwrap_or_default() {
            "eve" => Reply::json(200, user("JIRAUSER12", "eve", &[])),
            "ops" => Reply::json(200, user("JIRAUSER13", "ops", &["Ops-Admins"])),
            "cut" => Reply::json(
                200,
                json!({"key": "k", "name": "cut", "active": true, "groups": {"size": 3, "items": [{"name": "a"}]}}),
            ),
            "dead" => Reply::json(200, json!({"key": "k", "name": "dead", "active": false, "deleted": true})),
            _ => healthy(seen),
        },
        _ => healthy(seen),
    })
    .await;
    let mut settings = settings(&server.url);
    settings.protection.protected_users = vec!["Ada".to_owned()];
    let jira = JiraTarget::new(settings).expect("good settings");
    let read = async |name: &str| jira.account_named(name).await.expect("an answer");
    let ada = read("ada").await.expect("there");
    assert_eq!(ada.groups, Some(vec![TargetGroupId::from("dev")]));
    assert_eq!(ada.email.as_deref(), Some("ada@example.org"));
    assert_eq!(ada.protected.as_deref(), Some("named in protected_users"));
    assert_eq!(ada.immutable, None);
    let root = read("root").await.expect("there").protected.expect("protected");
    assert!(root.contains("jira-administrators"), "{root}");
    let ops = read("ops").await.expect("there").protected.expect("protected");
    assert!(ops.contains("ops-admins"), "{ops}");
    assert!(read("jsync").await.expect("there").protected.expect("protected").contains("usersync's own account"));
    let eve = read("eve").await.expect("there").immutable.expect("immutable");
    assert!(eve.contains("Internal, Crowd"), "{eve}");
    assert_eq!(read("cut").await.expect("there").groups, None);
    assert_eq!(read("dead").await, None);
    assert_eq!(read("nobody").await, None);
    assert_eq!(server.count("GET", "/myself"), 1, "what protects is read once");

    let group = jira.group_named("OPS-admins").await.expect("an answer").expect("there");
    assert_eq!((group.id.as_str(), group.name.as_str()), ("ops-admins", "Ops-Admins"));
    assert!(group.protected.is_some());
    assert_eq!(jira.group_named("dev").await.expect("an answer").expect("there").protected, None);
    assert_eq!(jira.group_named("de").await.expect("an answer"), None);

    let own = Operation::DeactivateUser { account: "JIRAUSER1".into(), name: "jsync".to_owned(), takes: Vec::new() };
    assert_eq!(jira.apply(&own, soon()).await.expect_err("our own account").kind, Unsupported);
    assert_eq!(server.count("PUT", "/user"), 0);
}

#[tokio::test]
async fn members_are_paged_by_the_number_received() {
    let server = Server::start(|seen| {
        if seen.asks("groupname") != Some("big") {
            return healthy(seen);
        }
        let start: usize = seen.asks("startAt").and_then(|start| start.parse().ok()).unwrap_or(0);
        let values: Vec<_> =
            (start..73.min(start + 20)).map(|at| user(&format!("K{at}"), &format!("u{at}"), &[])).collect();
        member_page(&values, start, 73)
    })
    .await;
    let jira = client(&server.url);
    let (mut cursor, mut all) = (None, Vec::new());
    loop {
        let page = jira.members(&"big".into(), cursor.as_deref()).await.expect("a page").expect("a group");
        assert_eq!(page.incomplete, None);
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 73);
    let asked = server.journal().into_iter().rfind(|seen| seen.asks("groupname") == Some("big")).expect("asked");
    assert_eq!(asked.asks("includeInactiveUsers"), Some("true"));
    assert_eq!(jira.members(&"nobody".into(), None).await, Ok(None));
}

#[tokio::test]
async fn an_inconsistent_listing_of_members_is_incomplete() {
    for (total, last, values) in [
        (5, true, vec![user("K1", "a", &[])]),
        (5, false, Vec::new()),
        (1, true, vec![json!({"name": "keyless", "active": true})]),
    ] {
        let body = json!({"total": total, "isLast": last, "values": values});
        let server = Server::start(move |seen| {
            if seen.asks("groupname") == Some("odd") { Reply::json(200, body.clone()) } else { healthy(seen) }
        })
        .await;
        let page = client(&server.url).members(&"odd".into(), None).await.expect("a page").expect("a group");
        assert!(page.incomplete.is_some() && page.next.is_none());
    }
}
