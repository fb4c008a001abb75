//! Listing all accounts, by position and by cursor.

use usersync::{
    model::ErrorClass::{Transient, Unconfirmed},
    targets::Target,
};
use usersync_simulators::{
    Fault,
    scim::{Counted, NewAccount},
};

use super::{operations::not_done, world::World};

async fn people(count: usize, work: impl FnOnce(&mut usersync_simulators::ScimSwitches)) -> World {
    let world = World::switched(work).await;
    for nth in 0..count {
        let account = NewAccount::named(format!("user{nth:03}"));
        world.server.add_account(if nth.is_multiple_of(5) { account.inactive() } else { account });
    }
    world
}

#[tokio::test]
async fn all_accounts_are_listed_whatever_the_page_sizes() {
    for cursor in [false, true] {
        for (count, cap) in [(0, 10), (1, 10), (7, 1), (10, 10), (25, 10), (30, 7), (250, 200)] {
            let world = people(count, |switches| {
                switches.cursor = cursor;
                switches.page_cap = cap;
            })
            .await;
            let (names, unconfirmed) = world.list().await;
            let wanted: Vec<_> = (0..count).map(|nth| format!("user{nth:03}")).collect();
            assert_eq!((names, unconfirmed), (wanted, Vec::new()), "{count} by {cap}, by cursor: {cursor}");
        }
    }
}

#[tokio::test]
async fn a_page_size_that_shrinks_loses_no_account() {
    let world = people(40, |switches| switches.page_cap = 20).await;
    let first = world.scim.accounts(None).await.expect("a page");
    world.server.switch(|switches| switches.page_cap = 7);
    let (mut seen, mut cursor) = (first.items.len(), first.next);
    while let Some(at) = cursor {
        let page = world.scim.accounts(Some(&at)).await.expect("a page");
        assert_eq!(page.incomplete, None);
        seen += page.items.len();
        cursor = page.next;
    }
    assert_eq!(seen, 40);
}

#[tokio::test]
async fn a_listing_that_changes_or_is_inconsistent_is_incomplete() {
    // An account is deleted while the list is read: everything behind it moves up.
    let world = people(30, |switches| switches.page_cap = 10).await;
    let first = world.scim.accounts(None).await.expect("a page");
    world.server.remove_account("user000");
    let second = world.scim.accounts(first.next.as_deref()).await.expect("a page");
    let incomplete = second.incomplete.expect("a doubt");
    assert!(incomplete.contains("changed during") && incomplete.contains("30 at first and 29 later"), "{incomplete}");
    // One is deleted and one is created: the count alone would not show it.
    let world = people(30, |switches| switches.page_cap = 10).await;
    let first = world.scim.accounts(None).await.expect("a page");
    world.server.remove_account("user000");
    world.server.add_account(NewAccount::named("late"));
    let second = world.scim.accounts(first.next.as_deref()).await.expect("a page");
    assert!(second.incomplete.expect("a doubt").contains("changed during the read"));
    // A count of the page instead of the list.
    let world = people(30, |switches| {
        switches.page_cap = 10;
        switches.counted = Counted::Page;
    })
    .await;
    let (names, unconfirmed) = world.list().await;
    assert_eq!(names.len(), 30, "all came all the same");
    assert!(!unconfirmed.is_empty());
}

#[tokio::test]
async fn accounts_that_are_counted_but_not_shown_are_never_an_empty_server() {
    let world = people(3, |switches| switches.counted = Counted::AllButShownNone).await;
    let page = world.scim.accounts(None).await.expect("a page");
    assert!(page.items.is_empty());
    assert_eq!(page.incomplete.as_deref(), Some("0 of 3 were returned"));
    assert_eq!(world.scim.account_named("user001").await.expect_err("hidden").kind, not_done(Unconfirmed));
    let info = world.scim.probe().await.expect("a first contact");
    let reported = super::operations::lines(&info, "rights");
    assert!(reported[0].1.contains("counts 3 accounts but returns none"), "{reported:?}");
}

#[tokio::test]
async fn a_listing_with_an_expired_cursor_starts_again() {
    let world = people(5, |switches| {
        switches.cursor = true;
        switches.page_cap = 2;
    })
    .await;
    let first = world.scim.accounts(None).await.expect("a page");
    let body =
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"400","scimType":"expiredCursor"}"#;
    world.server.faults.add(Fault::status(400, body).once());
    let error = world.scim.accounts(first.next.as_deref()).await.expect_err("forgotten");
    assert_eq!(error.kind, not_done(Transient));
    for nonsense in ["[]", "{}", "{\"Resources\": [1]}", "x"] {
        world.server.faults.add(Fault::status(200, nonsense).once());
        assert_eq!(world.scim.accounts(None).await.expect_err("no list").kind, not_done(Unconfirmed), "{nonsense}");
    }
}
