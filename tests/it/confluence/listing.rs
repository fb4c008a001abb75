//! Listing all users, over pages of any size that the server chooses.

use std::collections::BTreeSet;

use serde_json::json;
use usersync::{model::ErrorClass, targets::Target};
use usersync_simulators::{Fault, confluence::NewAccount};

use super::world::{Wiki, not_done};

fn many(count: usize) -> impl Iterator<Item = NewAccount> {
    (0..count).map(|nth| {
        let account = NewAccount::named(format!("u{nth:04}"));
        let account = if nth % 7 == 0 { account.inactive() } else { account };
        account.in_groups(&["confluence-users", "crowd"])
    })
}

#[tokio::test]
async fn all_accounts_are_listed_however_small_the_pages_are() {
    for (cap, total) in [(1000, false), (100, true), (33, false)] {
        let wiki = Wiki::new().await;
        wiki.simulator.add_accounts(many(230));
        wiki.simulator.set_page_cap(cap);
        wiki.simulator.set_total_count(total);
        let (names, incomplete) = wiki.logins().await;
        assert_eq!((names.len(), incomplete), (231, None), "{cap}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 231);
        assert_eq!(wiki.members(&"crowd".into()).await.map(|members| members.len()), Some(230));
        wiki.assert_contract();
    }
}

#[tokio::test]
async fn without_a_listing_the_members_of_the_users_group_are_listed_as_incomplete() {
    let wiki = Wiki::version("8.5.16").await;
    wiki.simulator.add_accounts(many(230));
    wiki.simulator.add_account(NewAccount::named("outsider"));
    wiki.simulator.set_page_cap(50);
    let (names, incomplete) = wiki.logins().await;
    assert_eq!(names.len(), 231, "three pages and more, and the administrator");
    assert!(incomplete.is_some_and(|why| why.contains("confluence-users") && why.contains("8.8")));
    assert!(!names.contains(&"outsider".to_owned()));
    assert!(wiki.target.account_named("outsider").await.expect("an answer").is_some(), "found by login");
    assert!(!wiki.probe().await.capabilities.list_all);
    wiki.simulator.remove_group("confluence-users");
    let (names, incomplete) = wiki.logins().await;
    assert!(names.is_empty() && incomplete.is_some());
}

#[tokio::test]
async fn an_inconsistent_listing_is_incomplete() {
    let person =
        json!({ "type": "known", "username": "ada", "userKey": "k1", "displayName": "A", "status": "current" });
    let page = |more: serde_json::Value| {
        let mut page = json!({ "results": [person], "start": 0, "limit": 100, "size": 1, "unknownField": {} });
        page.as_object_mut().expect("fields").extend(more.as_object().cloned().unwrap_or_default());
        Fault::status(200, page.to_string()).path("/user/list").once()
    };
    for (more, count, word) in [
        (json!({}), 1, None),
        (json!({ "totalCount": 1, "_links": {} }), 1, None),
        (json!({ "totalCount": 5, "_links": {} }), 1, Some("1 of 5")),
        (json!({ "_links": { "next": "/rest/api/user/list?start=0" } }), 1, Some("already read")),
        (json!({ "results": [], "_links": { "next": "/rest/api/user/list?start=100" } }), 0, Some("empty page")),
        (json!({ "results": [{ "type": "known", "displayName": "A" }] }), 0, Some("could not be read")),
        (json!({ "results": [{ "type": "unknown", "userKey": "gone" }] }), 0, None),
    ] {
        let wiki = Wiki::new().await;
        wiki.simulator.faults.add(page(more.clone()));
        let page = wiki.target.accounts(None).await.expect("a page");
        assert_eq!((page.items.len(), page.next), (count, None), "{more}");
        match (word, page.incomplete) {
            (None, None) => {}
            (Some(word), Some(incomplete)) if incomplete.contains(word) => {}
            (_, incomplete) => panic!("{more} came to {incomplete:?}"),
        }
    }
    let wiki = Wiki::new().await;
    for body in ["{}", "[]"] {
        wiki.simulator.faults.add(Fault::status(200, body).path("/user/list").once());
        let page = wiki.target.accounts(None).await.expect("a page");
        assert!(page.incomplete.is_some_and(|incomplete| incomplete.contains("without its list")), "{body}");
    }
    for body in ["null", "{\"results\": [", "<html>sign in</html>"] {
        wiki.simulator.faults.add(Fault::status(200, body).path("/user/list").once());
        let error = wiki.target.accounts(None).await.expect_err("no list");
        assert_eq!(error.kind, not_done(ErrorClass::Unconfirmed), "{body}: {error}");
    }
}

#[tokio::test]
async fn accounts_missing_in_a_listing_are_read_one_by_one() {
    let wiki = Wiki::version("9.2.13").await;
    wiki.simulator.add_account(NewAccount::named("ada").inactive());
    wiki.simulator.set_tells_status(false);
    let page = wiki.target.accounts(None).await.expect("a page");
    assert!(
        page.incomplete.is_some_and(|incomplete| incomplete.contains("could be read")),
        "nobody tells who is active"
    );
    wiki.simulator.set_remote_api(true, 200);
    let page = wiki.target.accounts(None).await.expect("a page");
    let active: Vec<_> = page.items.iter().map(|account| (account.name.as_str(), account.active)).collect();
    assert_eq!((active, page.incomplete), (vec![("ada", false), ("admin", true)], None));
}
