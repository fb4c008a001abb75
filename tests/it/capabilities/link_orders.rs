//! An operator links and unlinks users: every conflict can be resolved, and nothing else changes.

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::stack::Stack,
    model::{AccountId, AdoptRule, ApprovalKind, UserId},
    store::{OperatorStore, OrderEnd, StoreReads},
};
use usersync_simulators::{
    jira::NewAccount,
    keycloak::{NewUser, UserChange},
};

use super::support::{World, on, options, policy, servers, world, world_with};

/// Sends this order to the server and waits; returns how it ended.
async fn order(w: &World, user: &str, account: Option<&str>) -> OrderEnd {
    let (user, account) = (UserId::from(user), account.map(AccountId::from));
    let store = &w.stack.store;
    store.order_link(&Stack::pair(), &user, account.as_ref(), "ann", Timestamp::now()).await.unwrap();
    w.calm().await;
    store.link_order(&Stack::pair(), &user).await.unwrap().and_then(|order| order.ended).expect("carried out")
}

fn refused(end: &OrderEnd, why: &str) {
    let OrderEnd::Refused { why: text } = end else { panic!("not refused") };
    assert!(text.contains(why), "{text}");
}

fn somebody_else(name: &str) -> NewAccount {
    NewAccount { display_name: "Otto Other".into(), email: "otto@elsewhere.example".into(), ..NewAccount::named(name) }
}

#[tokio::test]
async fn a_user_created_again_after_long_gets_the_account_by_an_order() {
    let w = world_with(policy(|policy| policy.same_person_within = SignedDuration::ZERO)).await;
    let key = w.account("staff1").key;
    w.realm().delete_user(&w.id("staff1")).await.unwrap();
    w.settled().await;
    let id = w.realm().create_user(NewUser::named("staff1").in_groups(&["/staff"])).await.unwrap();
    w.calm().await;
    let dead = w.dead().await;
    let command = format!("usersync link {id} staff1 --connector acme --target jira");
    assert!(dead.iter().any(|why| why.contains(&command)), "{dead:?}");
    assert_eq!(order(&w, &id, Some(&key)).await, OrderEnd::Done);
    w.settled().await;
    assert!(w.account("staff1").active);
    assert_eq!(w.account("staff1").key, key);
    let audit = w.stack.store.audit(None, 2).await.unwrap();
    assert!(audit[0].what.contains("done: link user") && audit[1].what.contains("requested: link user"), "{audit:?}");
    w.agrees();
}

#[tokio::test]
async fn an_account_of_another_name_and_another_address_is_a_conflict_until_it_is_linked() {
    for adopt in [AdoptRule::FirstRun, AdoptRule::Always] {
        let servers = servers(policy(|policy| policy.adopt = adopt)).await;
        let key = servers.jira.add_account(somebody_else("staff1"));
        let address = NewAccount { display_name: "Otto Other".into(), ..NewAccount::named("staff2") };
        servers.jira.add_account(address);
        let name = NewAccount { email: "other@elsewhere.example".into(), ..NewAccount::named("staff3") };
        let name = NewAccount { display_name: "EXAMPLE, staff3".into(), ..name };
        servers.jira.add_account(name);
        let w = on(servers).await;
        let dead = w.dead().await;
        let id = w.id("staff1");
        assert_eq!(dead.len(), 1, "{dead:?}");
        for part in ["Otto Other, otto@elsewhere.example", "staff1@example.org", &format!("usersync link {id} staff1")]
        {
            assert!(dead[0].contains(part), "{part}: {dead:?}");
        }
        assert_eq!(w.account("staff1").display_name, "Otto Other", "nothing was written");
        assert_eq!(w.account("staff2").display_name, "staff2 Example", "the same address is the same person");
        assert_eq!(w.account("staff3").email, "staff3@example.org", "the same name is the same person");
        let plan = w.dry_run().await;
        assert_eq!((plan.conflicts.len(), plan.planned_total()), (1, 0), "{plan:?}");
        assert_eq!(order(&w, &id, Some(&key)).await, OrderEnd::Done);
        w.settled().await;
        assert_eq!(w.account("staff1").display_name, "staff1 Example");
        w.agrees();
    }
}

#[tokio::test]
async fn an_unlinked_account_is_adopted_again_only_by_approval_or_order() {
    let w = world_with(policy(|policy| policy.adopt = AdoptRule::Always)).await;
    let (id, before) = (w.id("staff1"), w.account("staff1"));
    assert_eq!(order(&w, &id, None).await, OrderEnd::Done);
    w.realm().update_user(&id, UserChange::email("one@example.com")).await.unwrap();
    w.settled().await;
    w.run().await;
    assert_eq!(w.account("staff1"), before, "it is not managed any more");
    assert_eq!(w.waiting(ApprovalKind::Adoption).await, ["adopt the account staff1"]);
    refused(&order(&w, &id, None).await, "no link");
    assert_eq!(order(&w, &id, Some(&before.key)).await, OrderEnd::Done);
    w.settled().await;
    assert_eq!(w.account("staff1").email, "one@example.com");
    assert_eq!(w.waiting(ApprovalKind::Adoption).await, Vec::<String>::new());
    w.agrees();
}

#[tokio::test]
async fn a_login_of_an_unmanaged_account_is_resolved_by_linking_that_account() {
    let w = world().await;
    let boss = w.jira().add_account(NewAccount::named("chief"));
    let id = w.id("staff1");
    w.realm().update_user(&id, UserChange::username("chief")).await.unwrap();
    w.calm().await;
    let dead = w.dead().await;
    assert!(dead.iter().any(|why| why.contains(&format!("usersync link {id} chief"))), "{dead:?}");
    assert_eq!(order(&w, &id, Some(&boss)).await, OrderEnd::Done);
    w.settled().await;
    assert_eq!(w.account("chief").key, boss);
    assert!(w.account("staff1").active, "the former account is left as it is");
    w.agrees_but_for(&["staff1"]);
}

#[tokio::test]
async fn what_an_order_may_not_touch_stays_as_it_is() {
    let servers = servers(options()).await;
    servers.realm.import_users([NewUser::named("root")]).unwrap();
    let root = servers.jira.add_account(NewAccount::named("root").in_groups(&["jira-administrators"]));
    let w = on(servers).await;
    let (staff, other) = (w.id("staff1"), w.account("staff2").key);
    refused(&order(&w, &staff, Some(&root)).await, "protected");
    refused(&order(&w, &w.id("root"), None).await, "protected");
    let admin = w.account("admin").key;
    refused(&order(&w, &staff, Some(&admin)).await, "usersync's own");
    refused(&order(&w, &staff, Some(&other)).await, &format!("usersync unlink {}", w.id("staff2")));
    refused(&order(&w, &staff, Some("nobody")).await, "no account nobody");
    refused(&order(&w, "4711", Some(&other)).await, "no longer exists in Keycloak");
    w.settled().await;
    w.agrees_but_for(&["root"]);
}
