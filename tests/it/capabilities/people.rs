//! Life cycle of users: they are created, change, swap names, leave and return.

use jiff::SignedDuration;
use usersync::model::ApprovalKind;
use usersync_simulators::{
    Fault,
    jira::NewAccount,
    keycloak::{NewUser, UserChange},
};

use super::support::{on, options, policy, servers, world, world_with};

#[tokio::test]
async fn a_user_is_created_with_name_and_address_and_a_case_change_is_no_change() {
    let w = world().await;
    let id = w.realm().create_user(NewUser { last_name: Some("Ng".into()), ..NewUser::named("alice") }).await.unwrap();
    w.settled().await;
    let account = w.account("alice");
    assert_eq!((account.display_name.as_str(), account.email.as_str()), ("alice Ng", "alice@example.org"));
    let written = w.written_by(async {
        w.realm().update_user(&id, UserChange::username("ALICE")).await.unwrap();
        w.settled().await;
    });
    assert_eq!(written.await, Vec::<String>::new());
    w.agrees();
}

#[tokio::test]
async fn a_user_without_an_address_is_unsupported_reported_by_each_run_and_never_retried() {
    let w = world().await;
    let id = w.realm().create_user(NewUser { email: None, ..NewUser::named("alice") }).await.unwrap();
    w.settled().await;
    assert!(!w.has_account("alice"));
    assert!(w.tasks().await.is_empty(), "nothing is left to be tried again");
    let report = w.run().await;
    assert!(report.unsupported.iter().any(|why| why.contains("alice") && why.contains("e-mail")), "{report:?}");
    w.realm().update_user(&id, UserChange::email("alice@example.org")).await.unwrap();
    w.settled().await;
    assert!(w.account("alice").active);
    w.agrees();
}

#[tokio::test]
async fn a_rename_keeps_the_account() {
    let w = world().await;
    let key = w.account("staff1").key;
    w.realm().update_user(&w.id("staff1"), UserChange::username("chief")).await.unwrap();
    w.settled().await;
    assert_eq!(w.account("chief").key, key);
    assert!(!w.has_account("staff1"));
    w.agrees();
}

#[tokio::test]
async fn what_follows_a_rename_is_addressed_by_the_new_name() {
    let w = world().await;
    w.realm().switch_webhook(false);
    let group = w.realm().create_group(None, "crew").await.unwrap();
    w.run().await;
    w.realm().update_user(&w.id("staff1"), UserChange::username("ada")).await.unwrap();
    w.realm().join(&w.id("ada"), &group).await.unwrap();
    let written = w
        .written_by(async {
            w.run().await;
        })
        .await;
    assert_eq!(written.len(), 2, "a rename and a join, none of them in vain: {written:?}");
    let join = w.writes().pop().expect("the join");
    assert_eq!(join.json()["name"], "ada");
    w.agrees();
}

#[tokio::test]
async fn a_rename_to_the_login_of_an_unmanaged_account_is_a_conflict_that_ends_when_the_login_is_free() {
    let w = world().await;
    w.jira().add_account(NewAccount::named("chief"));
    let id = w.id("staff1");
    w.realm().update_user(&id, UserChange::username("chief")).await.unwrap();
    w.calm().await;
    assert!(w.dead().await.iter().any(|why| why.contains("unmanaged account chief")), "{:?}", w.dead().await);
    assert!(w.account("staff1").active, "nothing was written");
    w.jira().rename_account("chief", "boss");
    w.run().await;
    w.settled().await;
    w.agrees_but_for(&["boss"]);
}

/// Swaps the logins of `left` and `right`.
async fn swap(w: &super::support::World, left: &str, right: &str) {
    w.realm().update_user(left, UserChange::username("between")).await.unwrap();
    w.realm().update_user(right, UserChange::username("staff1")).await.unwrap();
    w.realm().update_user(left, UserChange::username("staff2")).await.unwrap();
}

#[tokio::test]
async fn two_users_who_swap_logins_keep_their_accounts() {
    let w = world().await;
    let (one, two) = (w.account("staff1").key, w.account("staff2").key);
    swap(&w, &w.id("staff1"), &w.id("staff2")).await;
    w.settled().await;
    assert_eq!((w.account("staff2").key, w.account("staff1").key), (one, two));
    w.agrees();
}

#[tokio::test]
async fn two_users_swap_logins_when_only_one_event_arrives() {
    let w = world().await;
    let (one, two) = (w.account("staff1").key, w.account("staff2").key);
    w.realm().hold_webhook();
    swap(&w, &w.id("staff1"), &w.id("staff2")).await;
    let events = w.realm().take_held();
    w.realm().post_events(vec![events[0].clone()]).await;
    w.settled().await;
    assert_eq!((w.account("staff2").key, w.account("staff1").key), (one, two));
    w.agrees();
}

#[tokio::test]
async fn two_users_swap_logins_by_a_full_reconcile() {
    let w = world().await;
    let (one, two) = (w.account("staff1").key, w.account("staff2").key);
    w.realm().switch_webhook(false);
    swap(&w, &w.id("staff1"), &w.id("staff2")).await;
    w.run().await;
    w.settled().await;
    assert_eq!((w.account("staff2").key, w.account("staff1").key), (one, two));
    w.agrees();
}

#[tokio::test]
async fn three_users_exchange_their_logins_in_a_ring() {
    for by_run in [false, true] {
        let w = world().await;
        let keys = [1, 2, 3].map(|number| w.account(&format!("staff{number}")).key);
        let ids = [1, 2, 3].map(|number| w.id(&format!("staff{number}")));
        w.realm().switch_webhook(!by_run);
        w.realm().update_user(&ids[0], UserChange::username("between")).await.unwrap();
        w.realm().update_user(&ids[2], UserChange::username("staff1")).await.unwrap();
        w.realm().update_user(&ids[1], UserChange::username("staff3")).await.unwrap();
        w.realm().update_user(&ids[0], UserChange::username("staff2")).await.unwrap();
        if by_run {
            w.run().await;
        }
        w.settled().await;
        assert_eq!([2, 3, 1].map(|number| w.account(&format!("staff{number}")).key), keys);
        w.agrees();
    }
}

#[tokio::test]
async fn a_login_freed_by_a_deletion_goes_to_its_new_user() {
    for by_run in [false, true] {
        let w = world().await;
        let (gone, heir) = (w.account("staff1").key, w.account("staff2").key);
        w.realm().switch_webhook(!by_run);
        w.realm().delete_user(&w.id("staff1")).await.unwrap();
        w.realm().update_user(&w.id("staff2"), UserChange::username("staff1")).await.unwrap();
        if by_run {
            w.run().await;
        }
        w.settled().await;
        assert_eq!(w.account("staff1").key, heir);
        let jira = w.jira().snapshot();
        assert!(!jira.accounts[&gone].active, "{:?}", jira.accounts[&gone]);
        w.agrees();
    }
}

#[tokio::test]
async fn a_user_deleted_and_created_again_with_the_same_login_keeps_the_account() {
    let w = world().await;
    let key = w.account("staff1").key;
    w.realm().delete_user(&w.id("staff1")).await.unwrap();
    w.settled().await;
    assert!(!w.account("staff1").active);
    w.realm().create_user(NewUser::named("staff1").in_groups(&["/staff"])).await.unwrap();
    w.settled().await;
    let account = w.account("staff1");
    assert!(account.active);
    assert_eq!(account.key, key);
    w.agrees();
}

#[tokio::test]
async fn a_user_created_again_long_after_the_deletion_is_a_conflict() {
    let w = world_with(policy(|policy| policy.same_person_within = SignedDuration::ZERO)).await;
    w.realm().delete_user(&w.id("staff1")).await.unwrap();
    w.settled().await;
    w.realm().create_user(NewUser::named("staff1")).await.unwrap();
    w.calm().await;
    assert!(w.dead().await.iter().any(|why| why.contains("deleted user")), "{:?}", w.dead().await);
    assert!(!w.account("staff1").active, "an old account is not given to somebody new");
}

#[tokio::test]
async fn an_overwriting_import_changes_the_id_and_not_the_account() {
    let w = world().await;
    let key = w.account("staff1").key;
    let old = w.id("staff1");
    w.realm().overwriting_import(&[NewUser::named("staff1").in_groups(&["/staff"])]).await.unwrap();
    w.settled().await;
    assert_ne!(w.id("staff1"), old);
    assert_eq!(w.account("staff1").key, key);
    w.run().await;
    w.settled().await;
    assert!(w.account("staff1").active);
    w.agrees();
}

#[tokio::test]
async fn a_disabled_user_without_an_account_gets_none() {
    let w = world().await;
    w.realm().create_user(NewUser { disabled: true, ..NewUser::named("alice") }).await.unwrap();
    w.settled().await;
    w.run().await;
    assert!(!w.has_account("alice"));
    w.agrees();
}

#[tokio::test]
async fn a_service_account_is_matched_to_no_user() {
    let servers = servers(options()).await;
    servers.jira.add_account(NewAccount::named("service-account-usersync"));
    let before = servers.jira.snapshot().account("service-account-usersync").cloned();
    let w = on(servers).await;
    let service = w.id("service-account-usersync");
    w.realm().update_user(&service, UserChange::enabled(false)).await.unwrap();
    w.settled().await;
    w.run().await;
    assert_eq!(w.jira().snapshot().account("service-account-usersync").cloned(), before);
}

#[tokio::test]
async fn logins_of_all_kinds_arrive() {
    let w = world().await;
    let long = "l".repeat(255);
    let logins = ["müller.öz", "Upper.Case", "x+y@example.org", long.as_str()];
    for (number, login) in logins.into_iter().enumerate() {
        let user = NewUser { email: Some(format!("somebody{number}@example.org")), ..NewUser::named(login) };
        w.realm().create_user(user).await.unwrap();
    }
    w.settled().await;
    for login in ["müller.öz", "upper.case", "x+y@example.org", long.as_str()] {
        assert!(w.account(login).active, "{login}");
    }
    w.run().await;
    w.agrees();
}

#[tokio::test]
async fn drift_in_jira_is_corrected_by_the_run() {
    let w = world().await;
    let jira = w.jira();
    jira.set_display_name("staff1", "Somebody Else");
    jira.set_email("staff2", "else@example.org");
    jira.rename_account("staff3", "renamed");
    jira.remove_member("staff", "staff4");
    w.realm().import_group("/other").unwrap();
    w.run().await;
    jira.add_member("other", "staff5");
    w.run().await;
    w.settled().await;
    w.agrees();
}

#[tokio::test]
async fn an_account_deleted_in_jira_is_recreated() {
    let w = world().await;
    let key = w.account("staff1").key;
    w.jira().remove_account("staff1");
    w.run().await;
    w.settled().await;
    assert_ne!(w.account("staff1").key, key);
    w.agrees();
}

#[tokio::test]
async fn an_account_deactivated_by_another_administrator_is_activated_only_after_approval() {
    let w = world().await;
    w.jira().set_active("staff1", false);
    w.run().await;
    w.realm().update_user(&w.id("staff1"), UserChange::email("new@example.org")).await.unwrap();
    w.settled().await;
    assert!(!w.account("staff1").active);
    assert_eq!(w.waiting(ApprovalKind::Activation).await, ["activate staff1"]);
    w.decide(ApprovalKind::Activation, true).await;
    assert!(w.account("staff1").active);
    w.agrees();
}

#[tokio::test]
async fn an_old_deactivation_by_usersync_does_not_permit_undoing_a_later_one_by_others() {
    let w = world().await;
    let id = w.id("staff1");
    w.realm().update_user(&id, UserChange::enabled(false)).await.unwrap();
    w.settled().await;
    // Both users are enabled again without an event.
    w.realm().change_without_event(&id, &UserChange::enabled(true)).unwrap();
    w.jira().set_active("staff1", true);
    w.run().await;
    w.jira().set_active("staff1", false);
    w.run().await;
    assert!(!w.account("staff1").active);
    assert_eq!(w.waiting(ApprovalKind::Activation).await, ["activate staff1"]);
}

#[tokio::test]
async fn the_first_run_adopts_and_later_an_operator_decides() {
    let servers = servers(options()).await;
    let key = servers.jira.add_account(NewAccount::named("staff1"));
    servers.jira.add_account(NewAccount::named("staff2").inactive());
    let w = on(servers).await;
    assert_eq!(w.account("staff1").key, key);
    assert_eq!(w.account("staff1").display_name, "staff1 Example");
    assert!(!w.account("staff2").active, "an inactive account is adopted by a person only");
    assert_eq!(w.waiting(ApprovalKind::Adoption).await, ["adopt the account staff2, which is inactive"]);

    w.jira().add_account(NewAccount { display_name: "Al".into(), ..NewAccount::named("alice") });
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.settled().await;
    w.run().await;
    assert_eq!(w.account("alice").display_name, "Al");
    assert_eq!(w.waiting(ApprovalKind::Adoption).await.len(), 2);
    let (set, items) = w.held(ApprovalKind::Adoption).await.unwrap();
    let alice = items.iter().find(|item| item.item.what.contains("alice")).unwrap().id;
    w.decide_items(set.id, vec![alice], true).await;
    assert_eq!(w.account("alice").display_name, "alice Example");
    assert_eq!(w.waiting(ApprovalKind::Adoption).await.len(), 1);
}

#[tokio::test]
async fn an_administrator_is_never_changed_but_for_leaving_after_approval() {
    let servers = servers(options()).await;
    servers.realm.import_users([NewUser::named("root").in_groups(&["/staff"]), NewUser::named("toor")]).unwrap();
    for name in ["root", "toor"] {
        let account = NewAccount { display_name: "The Boss".into(), ..NewAccount::named(name) };
        servers.jira.add_account(account.in_groups(&["jira-administrators"]));
    }
    let w = on(servers).await;
    let before = w.account("root");
    w.realm().update_user(&w.id("root"), UserChange::email("root@example.com")).await.unwrap();
    w.settled().await;
    let report = w.run().await;
    assert_eq!(report.protected, 2);
    assert_eq!(w.account("root"), before, "not even joined to a group");

    w.realm().delete_user(&w.id("root")).await.unwrap();
    w.settled().await;
    w.run().await;
    assert_eq!(w.account("root"), before);
    assert_eq!(w.waiting(ApprovalKind::ProtectedLeaver).await, ["deactivate root"]);
    w.decide(ApprovalKind::ProtectedLeaver, true).await;
    assert!(!w.account("root").active);
    assert_eq!(w.account("root").groups, before.groups);
}

#[tokio::test]
async fn a_user_who_waits_for_a_login_in_use_is_not_retried_constantly() {
    let servers = servers(options()).await;
    servers.realm.import_users([NewUser::named("root")]).unwrap();
    servers.jira.add_account(NewAccount::named("root").in_groups(&["jira-administrators"]));
    let w = on(servers).await;
    // An administrator is not renamed, so the login stays taken.
    w.realm().update_user(&w.id("root"), UserChange::username("boss")).await.unwrap();
    let newcomer = NewUser { email: Some("newcomer@example.org".into()), ..NewUser::named("root") };
    w.realm().create_user(newcomer).await.unwrap();
    w.realm().webhook_idle().await;
    // The task of the renamed user ends, as nothing can be done; that of the new user stays.
    let only_one_waits = async {
        while w.tasks().await.len() != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), only_one_waits).await.expect("the new one waits");
    let asked = w.jira().journal.len();
    let second = std::time::Duration::from_secs(1);
    tokio::time::sleep(second).await;
    let asked = w.jira().journal.len() - asked;
    // One read of both, each after `EngineTimes::settle` of 300 ms.
    assert!(asked <= 24, "{asked} requests in a second");
    assert_eq!(w.account("root").groups.len(), 1);
}

#[tokio::test]
async fn the_last_active_administrator_beside_us_is_never_deactivated() {
    let servers = servers(options()).await;
    servers.realm.import_users([NewUser::named("root")]).unwrap();
    servers.jira.add_account(NewAccount::named("root").in_groups(&["jira-administrators"]));
    servers.jira.add_account(NewAccount::named("former").inactive().in_groups(&["jira-administrators"]));
    let w = on(servers).await;
    w.realm().delete_user(&w.id("root")).await.unwrap();
    w.settled().await;
    w.decide(ApprovalKind::ProtectedLeaver, true).await;
    assert!(w.account("root").active);
    let refused = w.changes().await.into_iter().rfind(|change| change.name == "root").expect("it was refused");
    let why = format!("{:?}", refused.outcome);
    assert!(why.contains("last active administrator"), "{why}");
}

#[tokio::test]
async fn usersyncs_own_account_is_never_touched() {
    let servers = servers(options()).await;
    let before = servers.jira.snapshot().account("admin").cloned();
    servers.realm.import_users([NewUser::named("admin").in_groups(&["/staff"])]).unwrap();
    let w = on(servers).await;
    w.realm().update_user(&w.id("admin"), UserChange::enabled(false)).await.unwrap();
    w.settled().await;
    w.realm().delete_user(&w.id("admin")).await.unwrap();
    w.settled().await;
    w.run().await;
    assert_eq!(w.jira().snapshot().account("admin").cloned(), before);
}

#[tokio::test]
async fn a_refusal_of_a_read_only_directory_is_reported_once_and_never_sent_again() {
    let w = world().await;
    w.jira().set_read_only(true);
    let id = w.id("staff1");
    let first = w.written_by(async {
        w.realm().update_user(&id, UserChange::email("one@example.org")).await.unwrap();
        w.settled().await;
    });
    assert_eq!(first.await.len(), 1);
    let later = w.written_by(async {
        w.realm().user_action(&id, "logout").await.unwrap();
        w.settled().await;
        for _ in 0..2 {
            let report = w.run().await;
            assert_eq!(report.unsupported.len(), 1, "{report:?}");
            assert!(report.unsupported[0].contains("staff1"), "{report:?}");
            assert_eq!(report.planned_total(), 0, "{report:?}");
        }
        let plan = w.dry_run().await;
        assert_eq!((plan.unsupported.len(), plan.planned_total()), (1, 0));
    });
    assert_eq!(later.await, Vec::<String>::new());
    // A change at the source allows another attempt.
    let changed = w.written_by(async {
        w.realm().update_user(&id, UserChange::email("two@example.org")).await.unwrap();
        w.settled().await;
    });
    assert_eq!(changed.await.len(), 1);
    // So does a manual fix.
    w.jira().set_read_only(false);
    w.run().await;
    assert_eq!(w.account("staff1").email, "staff1@example.org");
    w.replay_dead().await;
    assert_eq!(w.account("staff1").email, "two@example.org");
    assert_eq!(w.run().await.unsupported, Vec::<String>::new());
    w.agrees();
}

#[tokio::test]
async fn a_shadowed_account_is_unsupported_and_not_changed() {
    let servers = servers(options()).await;
    let later = servers.jira.add_directory("LDAP", true);
    servers.jira.add_account(NewAccount { display_name: "Old".into(), ..NewAccount::named("staff1") });
    servers.jira.add_account_in(later, NewAccount::named("staff1"));
    let w = on(servers).await;
    let before = w.account("staff1");
    let written = w.written_by(async {
        w.realm().update_user(&w.id("staff1"), UserChange::email("one@example.org")).await.unwrap();
        w.settled().await;
        let report = w.run().await;
        assert!(report.unsupported.iter().any(|why| why.contains("several user directories")), "{report:?}");
    });
    assert_eq!(written.await, Vec::<String>::new());
    assert_eq!(w.account("staff1"), before);
}

#[tokio::test]
async fn a_project_lead_cannot_be_deactivated_which_is_reported_until_an_operator_corrects_it() {
    let w = world().await;
    w.jira().set_project_lead("ALPHA", "staff1");
    w.realm().delete_user(&w.id("staff1")).await.unwrap();
    w.settled().await;
    assert!(w.account("staff1").active);
    let written = w.written_by(async {
        let report = w.run().await;
        assert!(report.unsupported.iter().any(|why| why.contains("staff1")), "{report:?}");
    });
    assert_eq!(written.await, Vec::<String>::new());
    w.jira().set_project_lead("ALPHA", "admin");
    w.replay_dead().await;
    assert!(!w.account("staff1").active);
    w.agrees();
}

#[tokio::test]
async fn a_user_who_loses_the_address_keeps_the_account_and_the_old_address() {
    let w = world().await;
    let written = w.written_by(async {
        w.realm().update_user(&w.id("staff1"), UserChange::email("")).await.unwrap();
        w.settled().await;
        w.run().await;
    });
    assert_eq!(written.await, Vec::<String>::new());
    assert_eq!(w.account("staff1").email, "staff1@example.org");
}

#[tokio::test]
async fn a_user_disabled_and_renamed_at_once_is_deactivated_and_renamed() {
    let w = world().await;
    let key = w.account("staff1").key;
    let change = UserChange { username: Some("left".into()), enabled: Some(false), ..UserChange::default() };
    w.realm().update_user(&w.id("staff1"), change).await.unwrap();
    w.settled().await;
    let account = w.account("left");
    assert_eq!((account.active, account.key), (false, key));
    w.agrees();
}

#[tokio::test]
async fn a_leaver_is_deactivated_before_an_import_is_complete() {
    let w = world().await;
    let slow = w.jira().faults.add(Fault::delay(std::time::Duration::from_millis(20)));
    for number in 0..200 {
        w.realm().create_user(NewUser::named(format!("new{number}"))).await.unwrap();
    }
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    w.realm().webhook_idle().await;
    let asked = w.jira().journal.len();
    let made = || (0..200).filter(|number| w.has_account(&format!("new{number}"))).count();
    let waiting = 200 - made();
    while w.account("staff1").active {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // The time of twenty calls, of which eight run concurrently.
    let calls = w.jira().journal.len() - asked;
    assert!(calls <= 160, "{calls} calls, {waiting} creates waited");
    w.jira().faults.remove(slow);
    w.settled().await;
    assert_eq!(made(), 200);
}
