//! Protected groups and accounts, which are never changed.

use usersync::{
    engine::{Report, RunOptions},
    model::{Pair, RunTrigger, Subject, Unsupported},
    store::StoreReads,
};
use usersync_simulators::keycloak::UserChange;

use super::{access::Git, support::options};

fn pair() -> Pair {
    Pair::new("acme", "git")
}

async fn run(git: &Git) -> Report {
    let options = RunOptions::apply(RunTrigger::Schedule);
    let (_, report) = Box::pin(git.w.stack.engine.run(&pair(), &options)).await.expect("the run ends");
    git.w.calm().await;
    report
}

/// Returns the users that are stored as protected.
async fn noted(git: &Git) -> Vec<Subject> {
    let all = git.w.stack.store.unsupported(&pair()).await.expect("read");
    all.into_iter().filter(|one| one.key == Unsupported::PROTECTED).map(|one| one.subject).collect()
}

fn display_name(git: &Git, login: &str) -> String {
    git.server.snapshot().account(login).expect("there").display_name.clone()
}

fn is_in(git: &Git, login: &str, group: &str) -> bool {
    git.server.snapshot().account(login).expect("there").groups.contains(group)
}

async fn rename(git: &Git, login: &str, name: &str) {
    let change = UserChange { first_name: Some(name.to_owned()), ..UserChange::default() };
    git.w.realm().update_user(&git.w.id(login), change).await.expect("changed");
    git.w.calm().await;
}

#[tokio::test]
async fn a_protected_group_is_not_changed_but_its_users_are() {
    // It does not exist yet: it is not created either.
    let git = Git::set(options(), |settings| settings.protection.protected_groups = vec!["Board".to_owned()]).await;
    let board = git.w.realm().create_group(None, "board").await.expect("made");
    git.w.realm().join(&git.w.id("alice"), &board).await.expect("joined");
    git.w.calm().await;
    assert!(!git.server.snapshot().groups.contains_key("board"), "it is not created");
    let report = run(&git).await;
    let kept = "board: protected_groups names it; no member is added";
    assert_eq!(report.kept.get(kept), Some(&1), "{report:?}");
    assert!(report.unsupported.is_empty(), "an operator wants it so: {report:?}");

    git.server.add_group("board");
    git.server.add_member("board", "staff1");
    git.w.calm().await;
    run(&git).await;
    assert!(!is_in(&git, "alice", "board") && is_in(&git, "staff1", "board"));
    rename(&git, "staff1", "Other").await;
    assert!(display_name(&git, "staff1").starts_with("Other"), "{}", display_name(&git, "staff1"));
    assert_eq!(noted(&git).await, []);
}

#[tokio::test]
async fn a_leaver_whom_a_protected_group_lets_sign_in_is_reported_and_stays_in_it() {
    let git =
        Git::set(options(), |settings| settings.protection.protected_groups = vec!["stash-users".to_owned()]).await;
    git.w.realm().update_user(&git.w.id("staff1"), UserChange::enabled(false)).await.expect("changed");
    git.w.calm().await;
    assert!(is_in(&git, "staff1", "stash-users"));
    let all = git.w.stack.store.unsupported(&pair()).await.expect("read");
    assert!(all.iter().any(|one| one.why.contains("Remove the account from stash-users in Bitbucket")), "{all:?}");
}

#[tokio::test]
async fn users_in_a_frozen_group_are_not_changed_and_events_and_runs_count_them() {
    let git = Git::set(options(), |settings| settings.protection.frozen_groups = vec!["board".to_owned()]).await;
    git.server.add_group("board");
    git.server.add_member("board", "staff1");
    let before = display_name(&git, "staff1");
    rename(&git, "staff1", "Other").await;
    assert_eq!(display_name(&git, "staff1"), before);
    assert_eq!(noted(&git).await, [Subject::user(git.w.id("staff1"))], "counted from an event");

    // A full reconcile also counts users without an event, and forgets those that are no longer in the group.
    git.server.add_member("board", "staff2");
    git.server.remove_member("board", "staff1");
    let report = run(&git).await;
    assert_eq!(report.protected, 1, "{report:?}");
    assert!(report.not_changed[0].contains("staff2: a member of"), "{report:?}");
    assert!(display_name(&git, "staff1").starts_with("Other"));
    assert_eq!(noted(&git).await, [Subject::user(git.w.id("staff2"))]);
}

#[tokio::test]
async fn an_operator_who_replays_what_failed_does_not_mean_protected_users() {
    let git = Git::set(options(), |settings| settings.protection.protected_users = vec!["staff1".to_owned()]).await;
    rename(&git, "staff1", "Other").await;
    assert_eq!(noted(&git).await.len(), 1);
    git.w.replay_dead().await;
    assert_eq!(noted(&git).await.len(), 1);
}
