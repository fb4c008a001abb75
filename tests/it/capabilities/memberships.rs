//! Memberships at a target that shows only some of them.

use usersync::{model::ApprovalKind, store::OperatorStore};
use usersync_simulators::{Fault, jira::ShownGroups, keycloak::NewUser};

use super::support::{World, world};

const GROUPS: [&str; 3] = ["/a-team", "/b-team", "/c-team"];

/// Returns a world with a user in three groups and `staff`, in a Jira that shows this much of it.
async fn somebody(shown: ShownGroups) -> World {
    let w = world().await;
    let alice = NewUser::named("alice").in_groups(&["/staff", "/a-team", "/b-team"]);
    w.realm().import_users([alice, NewUser::named("bob").in_groups(&GROUPS)]).expect("imported");
    w.run().await;
    w.agrees();
    w.jira().set_shown_groups(shown);
    w
}

async fn join(w: &World, login: &str, group: &str) {
    let group = w.realm().import_group(group).expect("a group");
    w.realm().join(&w.id(login), &group).await.expect("joined");
}

async fn leave(w: &World, login: &str, group: &str) {
    let group = w.realm().import_group(group).expect("a group");
    w.realm().leave(&w.id(login), &group).await.expect("left");
}

#[tokio::test]
async fn memberships_are_read_from_the_groups_where_the_account_does_not_show_them() {
    for shown in [ShownGroups::Missing, ShownGroups::Counted, ShownGroups::First(1)] {
        let w = somebody(shown).await;
        leave(&w, "alice", "/a-team").await;
        join(&w, "alice", "/c-team").await;
        w.settled().await;
        assert_eq!(w.members("a-team"), ["bob"], "{shown:?}");
        assert_eq!(w.members("c-team"), ["alice", "bob"], "{shown:?}");
        // The same by a full reconcile, without an event.
        w.realm().switch_webhook(false);
        leave(&w, "alice", "/b-team").await;
        join(&w, "alice", "/a-team").await;
        let report = w.run().await;
        assert!(!report.has_problems(), "{shown:?}: {report:?}");
        w.agrees();
        assert!(w.run().await.done.is_empty(), "{shown:?}");
    }
}

#[tokio::test]
async fn a_new_account_gets_its_groups_where_the_account_does_not_show_them() {
    let w = somebody(ShownGroups::Missing).await;
    w.realm().create_user(NewUser::named("carol").in_groups(&GROUPS)).await.expect("created");
    w.settled().await;
    assert_eq!(w.account("carol").groups.iter().filter(|group| group.ends_with("-team")).count(), 3);
}

#[tokio::test]
async fn memberships_that_cannot_be_read_are_an_error_that_names_the_user() {
    let w = somebody(ShownGroups::Missing).await;
    // The group's list is truncated as well: it counts two and shows none.
    let short = r#"{"startAt":0,"maxResults":50,"total":2,"isLast":true,"values":[]}"#;
    let fault = Fault::status(200, short).header("content-type", "application/json").path("groupname=b-team");
    let fault = w.jira().faults.add(fault);
    leave(&w, "alice", "/a-team").await;
    w.calm().await;
    let tasks = w.tasks().await;
    let texts: Vec<_> = tasks.iter().filter_map(|task| task.error.as_ref()).map(|(_, text)| text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("alice") && text.contains("b-team")), "{tasks:#?}");
    assert_eq!(w.members("a-team"), ["alice", "bob"], "nothing is removed by an incomplete read");
    w.jira().faults.remove(fault);
    w.replay_dead().await;
    w.calm().await;
    assert_eq!(w.members("a-team"), ["bob"]);
    w.agrees();
    assert!(w.stack.store.check().await.is_ok());
}

/// A reverse proxy that answers DELETE itself.
fn swallowed() -> Fault {
    Fault::status(200, "").method("DELETE").path("/group/user")
}

#[tokio::test]
async fn a_removal_that_a_proxy_answers_without_effect_is_a_failure() {
    let w = somebody(ShownGroups::All).await;
    let fault = w.jira().faults.add(swallowed());
    leave(&w, "alice", "/a-team").await;
    w.calm().await;
    let failed: Vec<_> = w.tasks().await.into_iter().filter_map(|task| task.error).map(|(_, text)| text).collect();
    assert!(failed.iter().any(|text| text.contains("alice") && text.contains("did not take effect")), "{failed:?}");
    let report = w.run().await;
    assert!(report.errors.iter().any(|text| text.contains("did not take effect")), "{report:?}");
    assert_eq!(report.done.get("remove_member"), None, "{report:?}");
    assert_eq!(w.members("a-team"), ["alice", "bob"]);
    w.jira().faults.remove(fault);
    w.replay_dead().await;
    w.run().await;
    assert_eq!(w.members("a-team"), ["bob"]);
    w.agrees();
}

#[tokio::test]
async fn a_removal_is_read_back_again_when_it_is_planned_again() {
    let w = somebody(ShownGroups::All).await;
    leave(&w, "bob", "/c-team").await;
    w.settled().await;
    assert!(w.members("c-team").is_empty(), "the first removal of its kind is read back");
    // From here on a proxy answers; one more answer is trusted, and no further one.
    let fault = w.jira().faults.add(swallowed());
    leave(&w, "alice", "/a-team").await;
    w.settled().await;
    assert_eq!(w.members("a-team"), ["alice", "bob"]);
    let report = w.run().await;
    assert!(report.errors.iter().any(|text| text.contains("did not take effect")), "{report:?}");
    w.jira().faults.remove(fault);
    w.replay_dead().await;
    w.run().await;
    w.agrees();
}

#[tokio::test]
async fn a_removal_that_is_undone_again_and_again_is_reported() {
    let w = somebody(ShownGroups::All).await;
    w.jira().add_member("c-team", "alice");
    let first = w.run().await;
    assert_eq!((first.done.get("remove_member"), first.repeated.len()), (Some(&1), 0), "{first:?}");
    w.jira().add_member("c-team", "alice");
    let second = w.run().await;
    assert!(second.repeated.iter().any(|text| text.contains("alice") && text.contains("c-team")), "{second:?}");
    assert!(second.has_problems());
    w.agrees();
}

/// Staff with accounts, in a Jira with an access group that gets only `alice` from a Keycloak group.
async fn with_access_group() -> World {
    let w = world().await;
    let staff = w.members("jira-software-users");
    assert!(staff.len() > 5, "Jira gives new accounts access by itself: {staff:?}");
    w.realm().import_users([NewUser::named("alice").in_groups(&["/staff", "/jira-software-users"])]).expect("imported");
    w
}

#[tokio::test]
async fn a_group_that_grants_access_is_not_emptied_and_the_plan_reports_it() {
    let w = with_access_group().await;
    let before = w.members("jira-software-users");
    w.run().await;
    w.decide(ApprovalKind::Adoption, true).await;
    let plan = w.dry_run().await;
    assert_eq!(plan.planned.get("remove_member"), None, "{plan:?}");
    let report = w.run().await;
    assert!(w.waiting(ApprovalKind::AdoptedGroup).await.is_empty());
    assert!(report.kept.iter().any(|(why, number)| why.contains("jira-software-users") && *number > 5), "{report:?}");
    let after = w.members("jira-software-users");
    assert!(before.iter().all(|login| after.contains(login)), "{after:?}");
    assert!(after.contains(&"alice".to_owned()));
}

#[tokio::test]
async fn a_run_does_all_removals_that_its_limit_allowed_when_it_was_planned() {
    let w = world().await;
    let team = (0..14).map(|number| NewUser::named(format!("user{number}")).in_groups(&["/a-team"]));
    w.realm().import_users(team).expect("imported");
    w.run().await;
    w.realm().switch_webhook(false);
    // Half of the 24 memberships: the limit.
    for number in 0..12 {
        leave(&w, &format!("user{number}"), "/a-team").await;
    }
    let report = w.run().await;
    assert_eq!((report.done.get("remove_member"), report.held), (Some(&12), 0), "{report:?}");
}
