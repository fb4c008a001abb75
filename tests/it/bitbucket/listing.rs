//! Listing all accounts and all members.

use std::collections::BTreeSet;

use usersync::{
    model::{Account, AccountId, ErrorClass::Forbidden},
    targets::Target,
};
use usersync_simulators::{
    Fault,
    bitbucket::{NewAccount, Permission},
};

use crate::support::all_accounts;

use super::world::{Place, client, not_done, password, place, settings};

async fn list(place: &Place) -> (Vec<Account>, Option<String>) {
    all_accounts(&place.target).await
}

#[tokio::test]
async fn all_accounts_are_listed_over_pages_with_their_access() {
    let place = place().await;
    place.server.add_accounts((0..30).map(|at| {
        let groups: &[&str] = if at % 3 == 0 { &[] } else { &["stash-users"] };
        NewAccount::named(format!("user{at:02}")).in_groups(groups)
    }));
    place.server.set_active("user01", false);
    place.server.add_account(NewAccount::named("bot"));
    place.server.set_service("bot", true);
    place.server.set_page_cap(12);
    let (accounts, incomplete) = list(&place).await;
    assert_eq!((accounts.len(), incomplete), (35, None), "service users are left out");
    assert_eq!(accounts.iter().map(|one| &one.id).collect::<BTreeSet<_>>().len(), 35);
    assert_eq!(place.server.journal.count("GET", "/admin/users?start"), 3);
    for account in &accounts {
        let alone = place.see(&account.name).await;
        assert_eq!((account.active, &account.access), (alone.active, &alone.access), "{}", account.name);
        assert_eq!(account.protected.is_some(), alone.protected.is_some(), "{}", account.name);
        assert_eq!(account.groups, None);
    }
    let active = accounts.iter().filter(|account| account.active).count();
    assert_eq!(active, 4 + 20 - 1);
    place.keeps_to_the_description();
}

#[tokio::test]
async fn access_is_read_again_for_each_listing() {
    let place = place().await;
    let active = |accounts: &[Account]| accounts.iter().filter(|account| account.active).count();
    assert_eq!(active(&list(&place).await.0), 4);
    place.server.set_group_permission("readers", Some(Permission::LicensedUser));
    assert_eq!(active(&list(&place).await.0), 5);
}

#[tokio::test]
async fn members_are_paged_and_identified_by_id() {
    let place = place().await;
    let ids = place.server.add_accounts((0..25).map(|at| NewAccount::named(format!("u{at:02}")).in_groups(&["Crowd"])));
    place.server.set_active("u03", false);
    place.server.set_page_cap(10);
    let (mut cursor, mut members) = (None, BTreeSet::new());
    for pages in 1.. {
        let page = place.target.members(&"crowd".into(), cursor.as_deref()).await.expect("a page").expect("there");
        assert_eq!(page.incomplete, None);
        members.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            assert_eq!(pages, 3);
            break;
        }
    }
    assert_eq!(members, ids.into_iter().map(AccountId::from).collect());
    place.server.add_group("empty");
    let empty = place.target.members(&"empty".into(), None).await.expect("a page").expect("there");
    assert!(empty.items.is_empty() && empty.next.is_none());
    assert_eq!(place.target.members(&"nothing".into(), None).await, Ok(None));
}

#[tokio::test]
async fn unreadable_entries_make_a_listing_incomplete() {
    let place = place().await;
    let page = r#"{"isLastPage":true,"values":[{"id":1,"name":"x","active":true},{"name":"y"}]}"#;
    place.server.faults.add(Fault::status(200, page).path("/admin/users?start=0"));
    place.server.faults.add(Fault::status(200, page).path("context=odd"));
    let (accounts, incomplete) = list(&place).await;
    assert_eq!(
        (accounts.len(), incomplete.as_deref()),
        (1, Some("1 accounts were returned without id, name or active"))
    );
    let members = place.target.members(&"odd".into(), None).await.expect("a page").expect("there");
    assert_eq!((members.items.len(), members.incomplete.is_some()), (1, true));
}

#[tokio::test]
async fn without_the_right_nothing_is_listed() {
    let place = place().await;
    place.server.set_credentials("ada", "pw", "ada-token");
    let mut ada = settings(&place.server);
    ada.credentials = password("ada", "pw");
    let error = client(ada).accounts(None).await.expect_err("refused");
    assert_eq!(error.kind, not_done(Forbidden), "{}", error.text);
    assert!(error.text.contains("ada lacks the permission"), "{}", error.text);
}
