//! Listing all accounts, by version.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usersync::targets::{Target, jira::JiraTarget};

use crate::support::all_accounts;

use super::{
    scripted_server::{Reply, Seen, Server},
    world::{client, healthy, user},
};

/// Lists all accounts; returns the names, and why the list may be incomplete.
async fn list(jira: &JiraTarget) -> (Vec<String>, Option<String>) {
    let (accounts, incomplete) = all_accounts(jira).await;
    (accounts.into_iter().map(|account| account.name).collect(), incomplete)
}

fn people(count: usize) -> Vec<Value> {
    let letters = ['a', 'b', 'ö', 'z', '7'];
    (0..count)
        .map(|at| {
            let name = format!("{}{}{at}", letters[at % 5], letters[at / 5 % 5]);
            let mut person = user(&format!("JIRAUSER{}", 100 + at), &name, &[]);
            person["active"] = json!(!at.is_multiple_of(10));
            person
        })
        .collect()
}

/// A Jira of a version without `/user/list`; its search returns blocks of at most `cap`, or `cap` in total.
fn searching(version: &'static str, count: usize, cap: usize, paged: bool) -> impl Fn(&Seen) -> Reply + Send + Sync {
    let people = people(count);
    move |seen| {
        let number = |name| seen.asks(name).and_then(|value| value.parse::<usize>().ok());
        match seen.path.as_str() {
            "/rest/api/2/serverInfo" => Reply::json(200, json!({"version": version, "baseUrl": "x"})),
            "/rest/api/2/user/list" => Reply::json(404, json!({"message": "null for uri", "status-code": 404})),
            "/rest/api/2/user/search" => {
                let query = seen.asks("username").unwrap_or_default();
                let fits = |person: &&Value| {
                    query == "." || person["name"].as_str().is_some_and(|name| name.starts_with(query))
                };
                let start = number("startAt").unwrap_or(0);
                let most = number("maxResults").unwrap_or(50).min(cap);
                let room = if paged { most } else { cap.saturating_sub(start).min(most) };
                let found: Vec<_> = people.iter().filter(fits).skip(start).take(room).cloned().collect();
                Reply::json(200, found)
            }
            _ => healthy(seen),
        }
    }
}

#[tokio::test]
async fn the_listing_is_followed_by_its_cursor() {
    let people = people(25);
    let server = Server::start(move |seen| {
        if !seen.is("GET", "/user/list") {
            return healthy(seen);
        }
        let at: usize = seen.asks("cursor").and_then(|at| at.parse().ok()).unwrap_or(0);
        let end = (at + 10).min(25);
        let next = (end < 25).then(|| end.to_string());
        Reply::json(200, json!({"isLast": end == 25, "nextCursor": next, "values": people[at..end]}))
    })
    .await;
    let (names, incomplete) = list(&client(&server.url)).await;
    assert_eq!((names.len(), incomplete), (25, None));
    assert_eq!(server.count("GET", "/user/list"), 3);
    assert_eq!(server.count("GET", "/user/search"), 0);
}

#[tokio::test]
async fn a_listing_that_cannot_be_complete_is_incomplete() {
    let one = || user("JIRAUSER10", "ada", &[]);
    for (page, text) in [
        (json!({"isLast": false, "nextCursor": null, "values": [one()]}), "no next page"),
        (json!({"isLast": true, "values": [one(), {"displayName": "nobody"}]}), "1 listed accounts could not be read"),
        (json!({"isLast": true, "values": [one()]}), "omits inactive accounts"),
    ] {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/rest/api/2/user/list" => Reply::json(200, page.clone()),
            "/rest/api/2/user/search" => Reply::json(200, json!([{"key": "K", "name": "left", "active": false}])),
            _ => healthy(seen),
        })
        .await;
        let (names, incomplete) = list(&client(&server.url)).await;
        assert_eq!(names, ["ada"]);
        assert!(incomplete.expect("a doubt").contains(text));
    }
}

#[tokio::test]
async fn accounts_with_missing_fields_in_a_listing_are_read_one_by_one() {
    let server = Server::start(|seen| {
        if seen.is("GET", "/user/list") {
            Reply::json(200, json!({"isLast": true, "values": [{"key": "JIRAUSER10"}, {"name": "root"}]}))
        } else {
            healthy(seen)
        }
    })
    .await;
    let page = client(&server.url).accounts(None).await.expect("a page");
    assert_eq!(page.incomplete, None);
    let names: Vec<_> = page.items.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["ada", "root"]);
    assert!(page.items[1].protected.is_some());
}

#[tokio::test]
async fn before_10_the_search_is_paged() {
    for (count, cap) in [(0, 1000), (7, 1000), (100, 1000), (1000, 500), (1200, 1000), (130, 50)] {
        let server = Server::start(searching("9.12.3", count, cap, true)).await;
        let mut roomy = super::world::settings(&server.url);
        roomy.http.body_max = 8 << 20;
        let jira = JiraTarget::new(roomy).expect("good settings");
        let (names, incomplete) = list(&jira).await;
        assert_eq!(names.len(), count);
        // A truncated search also returns a round number.
        assert_eq!(incomplete.is_some(), count == 100 || count == 1000, "{count}: {incomplete:?}");
    }
}

#[tokio::test]
async fn a_search_that_pages_only_inside_its_first_block_is_read_by_prefixes_and_incomplete() {
    let server = Server::start(searching("8.20.1", 1500, 1000, false)).await;
    let mut roomy = super::world::settings(&server.url);
    roomy.http.body_max = 8 << 20;
    let (names, incomplete) = list(&JiraTarget::new(roomy).expect("good settings")).await;
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "each once");
    assert_eq!(names.len(), 1500);
    assert!(incomplete.expect("a doubt").contains("by prefixes"));
}

#[tokio::test]
async fn in_10_0_a_search_below_the_cap_is_complete_and_one_at_it_is_read_by_prefixes() {
    let server = Server::start(searching("10.0.1", 99, 100, false)).await;
    let (names, incomplete) = list(&client(&server.url)).await;
    assert_eq!((names.len(), incomplete), (99, None));
    assert_eq!(server.count("GET", "/user/search"), 2, "one that gave some, one that gave no more");

    let server = Server::start(searching("10.0.1", 450, 100, false)).await;
    let mut roomy = super::world::settings(&server.url);
    roomy.http.body_max = 1 << 20;
    let (names, incomplete) = list(&JiraTarget::new(roomy).expect("good settings")).await;
    assert_eq!(names.len(), 450);
    assert!(incomplete.expect("a doubt").contains("by prefixes"));
    let search = server.journal().into_iter().find(|seen| seen.is("GET", "/user/search")).expect("a search");
    assert_eq!(search.asks("includeInactive"), Some("true"));
}

#[tokio::test]
async fn an_endless_listing_of_members_is_incomplete() {
    let server = Server::start(|seen: &Seen| {
        if seen.is("GET", "/group/member") && seen.asks("groupname") == Some("dev") {
            let values = [user("JIRAUSER10", "ada", &[])];
            return Reply::json(200, json!({"startAt": 0, "total": 1, "isLast": false, "values": values}));
        }
        healthy(seen)
    })
    .await;
    let page = client(&server.url).members(&"dev".into(), None).await.expect("a page").expect("there");
    assert_eq!((page.items, page.next), (vec!["JIRAUSER10".into()], None));
    assert!(page.incomplete.expect("a doubt").contains("than it counts"));
}
