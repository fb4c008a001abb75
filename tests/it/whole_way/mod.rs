//! A change in Keycloak reaches Jira: simulated Keycloak, signed webhook, store, engine, simulated Jira.

use jiff::SignedDuration;
use usersync::{
    demo::stack::{SimulatedServers, Stack, StackOptions, agree},
    store::{StoreReads, TaskFilter},
};
use usersync_simulators::keycloak::{NewUser, UserChange};

async fn stack(options: StackOptions) -> (SimulatedServers, Stack) {
    let servers = SimulatedServers::prepare(options).await.expect("the simulators start");
    // A realm of a size at which one user more or less is below every safety limit. A deletion is only confirmed while
    // another user can be read.
    let staff = (0..60).map(|number| NewUser::named(format!("staff{number}")));
    servers.realm.import_users(staff).expect("imported");
    let stack = servers.build().await.expect("the stack stands");
    stack.in_service().await.expect("the first run ends");
    (servers, stack)
}

/// Waits until all events are delivered and all tasks done.
async fn settled(servers: &SimulatedServers, stack: &Stack) {
    servers.realm.webhook_idle().await;
    stack.quiet(SignedDuration::from_secs(1)).await.expect("all work is done");
    let tasks = stack.store.tasks(&TaskFilter { limit: 100, ..TaskFilter::default() }).await.expect("readable");
    let troubled: Vec<_> = tasks.iter().filter(|task| task.error.is_some()).collect();
    assert!(troubled.is_empty(), "{troubled:#?}");
    let agreement = agree(servers);
    assert!(agreement.holds(), "{agreement}");
}

#[tokio::test]
async fn joiners_movers_and_leavers_reach_jira_by_their_events() {
    let (servers, stack) = stack(StackOptions::default()).await;
    let realm = &servers.realm;
    let group = realm.create_group(None, "engineering").await.expect("made");
    let alice = realm.create_user(NewUser::named("alice")).await.expect("made");
    realm.join(&alice, &group).await.expect("joined");
    settled(&servers, &stack).await;
    let jira = servers.jira.snapshot();
    let account = jira.account("alice").expect("alice has an account");
    assert!(account.active);
    assert_eq!(account.display_name, "alice Example");
    assert!(jira.groups["engineering"].contains("alice"), "{:?}", jira.groups);

    realm.update_user(&alice, UserChange::username("alicia")).await.expect("renamed");
    settled(&servers, &stack).await;
    let jira = servers.jira.snapshot();
    assert_eq!(jira.account("alicia").map(|renamed| &renamed.key), Some(&account.key));

    realm.leave(&alice, &group).await.expect("left");
    settled(&servers, &stack).await;
    assert!(servers.jira.snapshot().groups["engineering"].is_empty());

    realm.update_user(&alice, UserChange::enabled(false)).await.expect("disabled");
    settled(&servers, &stack).await;
    assert!(!servers.jira.snapshot().account("alicia").expect("still there").active);

    realm.update_user(&alice, UserChange::enabled(true)).await.expect("enabled");
    settled(&servers, &stack).await;
    assert!(servers.jira.snapshot().account("alicia").expect("still there").active);

    realm.delete_user(&alice).await.expect("deleted");
    settled(&servers, &stack).await;
    assert!(!servers.jira.snapshot().account("alicia").expect("never deleted").active);
    stack.stop().await;
}
