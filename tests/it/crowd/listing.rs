//! Lists over several pages.

use std::collections::BTreeSet;

use usersync::targets::Target;
use usersync_simulators::{Fault, crowd::NewCrowdUser};

use super::place::Place;

async fn people(count: usize) -> Place {
    let place = Place::new().await;
    let people = (0..count).map(|nth| {
        let person = NewCrowdUser::named(format!("P{nth:05}")).in_groups(&["everybody"]);
        if nth % 7 == 0 { person.inactive() } else { person }
    });
    place.simulator.add_users(people);
    place
}

#[tokio::test]
async fn all_accounts_are_listed_once_however_small_the_pages_are() {
    for (count, cap) in [(0, 1000), (1, 1000), (2, 1000), (999, 1000), (2500, 1000), (40, 7), (40, 2), (5, 1)] {
        let place = people(count).await;
        place.simulator.set_page_cap(cap);
        let (accounts, incomplete) = place.all().await;
        assert_eq!(incomplete, None, "{count} by {cap}");
        let keys: BTreeSet<_> = accounts.iter().map(|account| account.id.clone()).collect();
        assert_eq!((accounts.len(), keys.len()), (count, count), "{count} by {cap}");
        assert!(count < 7 || accounts.iter().any(|account| !account.active));
        if count > 0 {
            let (mut members, mut cursor) = (BTreeSet::new(), None);
            loop {
                let page = place.crowd.members(&"everybody".into(), cursor.as_deref()).await;
                let page = page.expect("a page").expect("there");
                assert_eq!(page.incomplete, None);
                members.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(members, keys, "{count} by {cap}");
        }
    }
}

#[tokio::test]
async fn an_account_deleted_during_the_listing_makes_it_incomplete_and_a_created_one_does_not() {
    let place = people(30).await;
    place.simulator.set_page_cap(10);
    let first = place.crowd.accounts(None).await.expect("a page");
    place.simulator.add_user(NewCrowdUser::named("a-newcomer"));
    let second = place.crowd.accounts(first.next.as_deref()).await.expect("a page");
    assert_eq!((second.items[0].name.as_str(), &second.incomplete), ("P00010", &None));
    place.simulator.remove_user("P00003");
    place.simulator.remove_user("P00004");
    let third = place.crowd.accounts(second.next.as_deref()).await.expect("a page");
    assert!(third.incomplete.expect("a doubt").contains("created or deleted"));
}

#[tokio::test]
async fn lists_that_give_names_only_are_read_one_by_one() {
    let place = people(3).await;
    let (whole, _) = place.all().await;
    place.simulator.set_expands(false);
    let (accounts, incomplete) = place.all().await;
    assert_eq!((accounts, incomplete), (whole.clone(), None));
    let members = place.crowd.members(&"everybody".into(), None).await.expect("a look").expect("there");
    assert_eq!(members.items, whole.iter().map(|account| account.id.clone()).collect::<Vec<_>>());
    // A user deleted in the meantime is reported.
    let gone = r#"{"reason": "USER_NOT_FOUND", "message": "x"}"#;
    place.simulator.faults.add(Fault::status(404, gone).path("username=P00001"));
    let (accounts, incomplete) = place.all().await;
    assert_eq!(accounts.len(), 2);
    assert!(incomplete.expect("a doubt").contains("could not be read"));
}

#[tokio::test]
async fn groups_of_an_account_are_complete_over_pages() {
    let place = Place::new().await;
    let names: Vec<String> = (0..25).map(|nth| format!("G{nth:02}")).collect();
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    place.simulator.add_user(NewCrowdUser::named("ada").in_groups(&groups));
    place.simulator.set_page_cap(4);
    let reported = place.named("ada").await.expect("there").groups.expect("told");
    assert_eq!(reported, names.iter().map(|name| name.to_lowercase().into()).collect::<Vec<_>>());
}
