//! A change in Keycloak is in Jira, all the way: imitated Keycloak, signed webhook, store, engine, imitated Jira.

use jiff::SignedDuration;
use usersync::{
    demo::house::{Grounds, House, HouseOptions, agree},
    store::{Store, TaskFilter},
};
use usersync_simulators::keycloak::{NewUser, UserChange};

async fn house(options: HouseOptions) -> (Grounds, House) {
    let grounds = Grounds::prepare(options).await.expect("the imitations start");
    // A realm of a size at which one person more or less is nothing that the safety gate would hold; and "gone" is only
    // believed while somebody else reads well.
    let staff = (0..60).map(|number| NewUser::named(format!("staff{number}")));
    grounds.realm.import_users(staff).expect("imported");
    let house = grounds.build().await.expect("the house stands");
    house.in_service().await.expect("the first run ends");
    (grounds, house)
}

/// All events delivered, all tasks done.
async fn settled(grounds: &Grounds, house: &House) {
    grounds.realm.webhook_idle().await;
    house.quiet(SignedDuration::from_secs(1)).await.expect("all work is done");
    let tasks = house.store.tasks(&TaskFilter { limit: 100, ..TaskFilter::default() }).await.expect("readable");
    let troubled: Vec<_> = tasks.iter().filter(|task| task.error.is_some()).collect();
    assert!(troubled.is_empty(), "{troubled:#?}");
    let agreement = agree(grounds);
    assert!(agreement.holds(), "{agreement}");
}

#[tokio::test]
async fn joiners_movers_and_leavers_reach_jira_by_their_events() {
    let (grounds, house) = house(HouseOptions::default()).await;
    let realm = &grounds.realm;
    let group = realm.create_group(None, "engineering").await.expect("made");
    let alice = realm.create_user(NewUser::named("alice")).await.expect("made");
    realm.join(&alice, &group).await.expect("joined");
    settled(&grounds, &house).await;
    let jira = grounds.jira.snapshot();
    let account = jira.account("alice").expect("alice has an account");
    assert!(account.active);
    assert_eq!(account.display_name, "alice Example");
    assert!(jira.groups["engineering"].contains("alice"), "{:?}", jira.groups);

    realm.update_user(&alice, UserChange::username("alicia")).await.expect("renamed");
    settled(&grounds, &house).await;
    let jira = grounds.jira.snapshot();
    assert_eq!(jira.account("alicia").map(|renamed| &renamed.key), Some(&account.key));

    realm.leave(&alice, &group).await.expect("left");
    settled(&grounds, &house).await;
    assert!(grounds.jira.snapshot().groups["engineering"].is_empty());

    realm.update_user(&alice, UserChange::enabled(false)).await.expect("disabled");
    settled(&grounds, &house).await;
    assert!(!grounds.jira.snapshot().account("alicia").expect("still there").active);

    realm.update_user(&alice, UserChange::enabled(true)).await.expect("enabled");
    settled(&grounds, &house).await;
    assert!(grounds.jira.snapshot().account("alicia").expect("still there").active);

    realm.delete_user(&alice).await.expect("deleted");
    settled(&grounds, &house).await;
    assert!(!grounds.jira.snapshot().account("alicia").expect("never deleted").active);
    house.stop().await;
}
