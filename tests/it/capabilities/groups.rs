//! Life cycle of groups: created, renamed, moved, adopted, released.

use usersync::model::ApprovalKind;
use usersync_simulators::{jira::NewAccount, keycloak::NewUser};

use super::support::{on, options, servers, world};

#[tokio::test]
async fn a_group_is_created_when_it_appears_with_its_members() {
    let w = world().await;
    let group = w.realm().create_group(None, "Engineering & Co").await.unwrap();
    w.realm().join(&w.id("staff1"), &group).await.unwrap();
    w.settled().await;
    assert_eq!(w.members("Engineering & Co"), ["staff1"]);
    w.agrees();
}

#[tokio::test]
async fn an_empty_group_is_created_too_and_a_subgroup_by_its_leaf_name() {
    let w = world().await;
    let parent = w.realm().create_group(None, "parent").await.unwrap();
    let child = w.realm().create_group(Some(&parent), "child").await.unwrap();
    w.settled().await;
    assert!(w.jira().snapshot().groups.contains_key("child"));
    w.realm().join(&w.id("staff1"), &child).await.unwrap();
    w.settled().await;
    // A move keeps its leaf name.
    let written = w.written_by(async {
        w.realm().move_group(&child, None).await.unwrap();
        w.settled().await;
    });
    assert_eq!(written.await, Vec::<String>::new());
    w.agrees();
}

#[tokio::test]
async fn a_renamed_group_is_recreated_and_members_are_added_before_they_are_removed_from_the_old_one() {
    for by_run in [false, true] {
        let w = world().await;
        let group = w.realm().snapshot().group("/staff").unwrap().id.clone();
        w.realm().switch_webhook(!by_run);
        let before = w.writes().len();
        w.realm().rename_group(&group, "crew").await.unwrap();
        if by_run {
            w.run().await;
        }
        w.settled().await;
        assert_eq!(w.members("crew").len(), super::support::STAFF);
        let writes = w.writes().split_off(before);
        let made = writes.iter().position(|one| one.method == "POST" && one.path.ends_with("/group")).unwrap();
        for (at, leave) in writes.iter().enumerate().filter(|(_, one)| one.method == "DELETE") {
            let login = leave.query.split("username=").nth(1).unwrap().split('&').next().unwrap();
            let joined = writes.iter().position(|one| one.method == "POST" && one.json()["name"] == login);
            assert!(joined.is_some_and(|joined| made < joined && joined < at), "{login} was in neither for a while");
        }
        // As many as the safety limit allows; the others wait for approval.
        let waiting = w.waiting(ApprovalKind::SafetyLimit(usersync::model::Limited::RemoveMember)).await.len();
        assert_eq!(w.members("staff").len(), waiting);
        if waiting > 0 {
            w.decide(ApprovalKind::SafetyLimit(usersync::model::Limited::RemoveMember), true).await;
        }
        w.agrees();
    }
}

#[tokio::test]
async fn a_deleted_group_loses_the_managed_memberships_and_stays() {
    for by_run in [false, true] {
        let w = world().await;
        let group = w.realm().create_group(None, "brief").await.unwrap();
        for login in ["staff1", "staff2"] {
            w.realm().join(&w.id(login), &group).await.unwrap();
        }
        w.settled().await;
        w.jira().add_account(NewAccount::named("stranger").in_groups(&["brief"]));
        w.realm().switch_webhook(!by_run);
        w.realm().delete_group(&group).await.unwrap();
        if by_run {
            w.run().await;
        }
        w.settled().await;
        assert_eq!(w.members("brief"), ["stranger"]);
        w.agrees_but_for(&["stranger"]);
    }
}

#[tokio::test]
async fn a_deleted_parent_group_deletes_its_children() {
    for by_run in [false, true] {
        let w = world().await;
        let parent = w.realm().create_group(None, "parent").await.unwrap();
        let child = w.realm().create_group(Some(&parent), "child").await.unwrap();
        let grandchild = w.realm().create_group(Some(&child), "grandchild").await.unwrap();
        w.realm().join(&w.id("staff1"), &child).await.unwrap();
        w.realm().join(&w.id("staff2"), &grandchild).await.unwrap();
        w.settled().await;
        assert_eq!((w.members("child"), w.members("grandchild")), (vec!["staff1".into()], vec!["staff2".into()]));
        w.realm().switch_webhook(!by_run);
        w.realm().delete_group(&parent).await.unwrap();
        if by_run {
            w.run().await;
        }
        w.settled().await;
        assert_eq!((w.members("child"), w.members("grandchild")), (vec![], vec![]));
        w.agrees();
    }
}

#[tokio::test]
async fn two_paths_with_one_name_are_a_conflict_that_is_reported_and_ends_with_a_rename() {
    let w = world().await;
    let one = w.realm().create_group(None, "one").await.unwrap();
    let other = w.realm().create_group(None, "other").await.unwrap();
    let first = w.realm().create_group(Some(&one), "team").await.unwrap();
    w.realm().join(&w.id("staff1"), &first).await.unwrap();
    w.settled().await;
    let second = w.realm().create_group(Some(&other), "Team").await.unwrap();
    w.realm().join(&w.id("staff2"), &second).await.unwrap();
    w.settled().await;
    assert_eq!(w.members("team"), ["staff1"], "who has the name keeps it");
    for _ in 0..2 {
        let report = w.run().await;
        assert!(report.unsupported.iter().any(|why| why.contains("/other/Team") && why.contains("two groups")));
    }
    w.realm().rename_group(&second, "squad").await.unwrap();
    w.settled().await;
    assert_eq!((w.members("team"), w.members("squad")), (vec!["staff1".into()], vec!["staff2".into()]));
    w.agrees();
}

#[tokio::test]
async fn of_two_paths_with_one_name_the_second_gets_it_once_the_first_is_deleted() {
    let w = world().await;
    let one = w.realm().create_group(None, "one").await.unwrap();
    let first = w.realm().create_group(Some(&one), "team").await.unwrap();
    w.realm().join(&w.id("staff1"), &first).await.unwrap();
    w.settled().await;
    let second = w.realm().create_group(None, "team").await.unwrap();
    w.realm().join(&w.id("staff2"), &second).await.unwrap();
    w.settled().await;
    w.realm().delete_group(&first).await.unwrap();
    w.settled().await;
    w.run().await;
    w.settled().await;
    assert_eq!(w.members("team"), ["staff2"]);
    w.agrees();
}

#[tokio::test]
async fn from_an_adopted_group_no_member_is_removed_until_an_operator_approves() {
    let servers = servers(options()).await;
    servers.jira.add_accounts(["staff1", "stranger"].map(NewAccount::named));
    servers.jira.add_group("old");
    for name in ["staff1", "stranger"] {
        servers.jira.add_member("old", name);
    }
    servers.realm.import_users([NewUser::named("newcomer").in_groups(&["/old"])]).unwrap();
    let w = on(servers).await;
    w.settled().await;
    assert_eq!(w.members("old"), ["newcomer", "staff1", "stranger"]);
    w.run().await;
    assert_eq!(w.waiting(ApprovalKind::AdoptedGroup).await, ["remove staff1 from old"]);
    w.decide(ApprovalKind::AdoptedGroup, true).await;
    assert_eq!(w.members("old"), ["newcomer", "stranger"], "strangers are kept");
    w.jira().add_member("old", "staff2");
    w.run().await;
    assert_eq!(w.members("old"), ["newcomer", "stranger"], "the group was approved, which is known at once");
    w.agrees_but_for(&["stranger"]);
}

#[tokio::test]
async fn of_an_adopted_group_one_member_can_be_removed_and_another_kept() {
    let servers = servers(options()).await;
    servers.jira.add_accounts(["staff1", "staff2", "staff3"].map(NewAccount::named));
    servers.jira.add_group("old");
    for name in ["staff1", "staff2", "staff3"] {
        servers.jira.add_member("old", name);
    }
    servers.realm.import_users([NewUser::named("newcomer").in_groups(&["/old"])]).unwrap();
    let w = on(servers).await;
    w.settled().await;
    w.run().await;
    let (set, items) = w.held(ApprovalKind::AdoptedGroup).await.expect("three wait");
    let item = |name: &str| items.iter().find(|item| item.item.what.contains(name)).expect("it waits").id;
    w.decide_items(set.id, vec![item("staff1")], true).await;
    w.decide_items(set.id, vec![item("staff2")], false).await;
    assert_eq!(w.members("old"), ["newcomer", "staff2", "staff3"]);
    w.run().await;
    assert_eq!(w.members("old"), ["newcomer", "staff2", "staff3"], "one was rejected, of one nothing was said");
    assert_eq!(w.waiting(ApprovalKind::AdoptedGroup).await, ["remove staff3 from old"]);
    w.decide(ApprovalKind::AdoptedGroup, true).await;
    w.run().await;
    assert_eq!(w.members("old"), ["newcomer", "staff2"], "a rejection stands when the rest is approved");
}

#[tokio::test]
async fn after_the_first_run_an_existing_group_is_adopted_by_an_operator_only() {
    let w = world().await;
    w.jira().add_account(NewAccount::named("stranger").in_groups(&["old"]));
    let group = w.realm().create_group(None, "old").await.unwrap();
    w.realm().join(&w.id("staff1"), &group).await.unwrap();
    w.settled().await;
    w.run().await;
    assert_eq!(w.members("old"), ["stranger"]);
    assert_eq!(w.waiting(ApprovalKind::Adoption).await, ["adopt the group old"]);
    w.decide(ApprovalKind::Adoption, true).await;
    assert_eq!(w.members("old"), ["staff1", "stranger"]);
    w.agrees_but_for(&["stranger"]);
}

#[tokio::test]
async fn an_unmanaged_member_of_a_managed_group_is_kept() {
    let w = world().await;
    w.jira().add_account(NewAccount::named("stranger").in_groups(&["staff"]));
    w.run().await;
    assert!(w.members("staff").contains(&"stranger".to_owned()));
    w.agrees_but_for(&["stranger"]);
}

#[tokio::test]
async fn a_group_deleted_in_jira_is_restored_with_its_members() {
    let w = world().await;
    w.jira().remove_group("staff");
    w.run().await;
    w.settled().await;
    assert_eq!(w.members("staff").len(), super::support::STAFF);
    w.agrees();
}

#[tokio::test]
async fn a_protected_group_is_never_touched() {
    let servers = servers(options()).await;
    let people = [NewUser::named("eve").in_groups(&["/jira-administrators"])];
    servers.realm.import_users(people).unwrap();
    let w = on(servers).await;
    assert_eq!(w.members("jira-administrators"), ["admin"]);
    let report = w.run().await;
    assert!(report.unsupported.iter().any(|why| why.contains("jira-administrators")), "{report:?}");
    let group = w.realm().snapshot().group("/jira-administrators").unwrap().id.clone();
    w.realm().join(&w.id("staff1"), &group).await.unwrap();
    w.settled().await;
    w.realm().delete_group(&group).await.unwrap();
    w.settled().await;
    assert_eq!(w.members("jira-administrators"), ["admin"]);
    w.agrees();
}

#[tokio::test]
async fn a_realm_without_groups_is_kept_in_sync() {
    let servers = usersync::demo::stack::SimulatedServers::prepare(options()).await.unwrap();
    servers.realm.import_users((0..5).map(|number| NewUser::named(format!("lone{number}")))).unwrap();
    let w = on(servers).await;
    w.realm().create_user(NewUser::named("alice")).await.unwrap();
    w.settled().await;
    w.run().await;
    assert_eq!(w.agrees().users, 6);
}

#[tokio::test]
async fn a_group_of_hundreds_is_filled_by_one_event() {
    let w = world().await;
    let many: Vec<NewUser> = (0..120).map(|number| NewUser::named(format!("many{number}"))).collect();
    let ids = w.realm().import_users(many).unwrap();
    w.run().await;
    w.settled().await;
    let before = w.changes().await.len();
    let group = w.realm().create_group(None, "crowd").await.unwrap();
    w.settled().await;
    w.realm().import_memberships(ids.iter().map(|id| (id.as_str(), group.as_str()))).unwrap();
    w.realm().join(&w.id("staff1"), &group).await.unwrap();
    w.realm().rename_group(&group, "Crowd").await.unwrap();
    w.settled().await;
    assert_eq!(w.members("crowd").len(), 121);
    assert_eq!(w.changes().await.len() - before, 122, "the group, and each member once");
    w.agrees();
}

#[tokio::test]
async fn a_group_in_a_read_only_directory_is_reported_once() {
    let w = world().await;
    w.jira().set_external_management(true);
    w.jira().add_group("fixed");
    w.jira().set_group_read_only("staff", true);
    let newcomer = w.realm().snapshot().group("/staff").unwrap().id.clone();
    w.jira().set_external_management(false);
    let first = w.written_by(async {
        w.realm().leave(&w.id("staff1"), &newcomer).await.unwrap();
        w.settled().await;
    });
    assert_eq!(first.await.len(), 1);
    let later = w.written_by(async {
        for _ in 0..2 {
            let report = w.run().await;
            assert!(report.unsupported.iter().any(|why| why.contains("staff1")), "{report:?}");
        }
    });
    assert_eq!(later.await, Vec::<String>::new());
    w.jira().set_group_read_only("staff", false);
    w.replay_dead().await;
    w.agrees();
}

#[tokio::test]
async fn a_user_created_with_groups_that_do_not_exist_yet_is_their_member_in_the_end() {
    let w = world().await;
    for name in ["one", "two", "three"] {
        w.realm().create_group(None, name).await.unwrap();
    }
    w.realm().create_user(NewUser::named("alice").in_groups(&["/one", "/two", "/three"])).await.unwrap();
    w.settled().await;
    assert_eq!(w.agrees().memberships, super::support::STAFF + 3);
}

#[tokio::test]
async fn a_disabled_user_keeps_the_groups_and_is_activated_with_the_current_ones() {
    let w = world().await;
    let id = w.id("staff1");
    let group = w.realm().create_group(None, "new").await.unwrap();
    w.realm().update_user(&id, usersync_simulators::keycloak::UserChange::enabled(false)).await.unwrap();
    w.settled().await;
    assert!(w.account("staff1").groups.contains("staff"));
    w.realm().join(&id, &group).await.unwrap();
    w.realm().leave(&id, &w.realm().snapshot().group("/staff").unwrap().id).await.unwrap();
    w.settled().await;
    w.realm().update_user(&id, usersync_simulators::keycloak::UserChange::enabled(true)).await.unwrap();
    w.settled().await;
    w.agrees();
}

#[tokio::test]
async fn a_group_that_jira_spells_differently_is_filled_and_converges() {
    let servers = servers(options()).await;
    servers.jira.set_fold_groups(true);
    let w = on(servers).await;
    let group = w.realm().create_group(None, "Engineering").await.unwrap();
    w.realm().join(&w.id("staff1"), &group).await.unwrap();
    w.settled().await;
    assert_eq!(w.members("engineering"), ["staff1"]);
    w.realm().rename_group(&group, "ENGINEERING").await.unwrap();
    w.settled().await;
    let again = w.written_by(async {
        assert_eq!(w.run().await.raised, 0);
    });
    assert_eq!(again.await, Vec::<String>::new());
    w.agrees();
}
