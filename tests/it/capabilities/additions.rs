//! Several groups for one user: stored together as intents, and sent by one call where the target has such a call.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::{stack::StackOptions, targets::Product},
    engine::{EngineTimes, RunOptions},
    model::{Change, ChangeOutcome, Operation, Pair, RunTrigger},
    store::StoreReads,
};
use usersync_simulators::{Fault, bitbucket::BitbucketSnapshot, fault::Gate, keycloak::NewUser};

use super::{
    access::Git,
    support::{World, options, world, world_with},
};

const BLUE: &[&str] = &["/blue-one", "/blue-two", "/blue-three"];

/// Creates groups and a user that is in all of them.
async fn join_all(git: &Git, login: &str) {
    for group in BLUE {
        git.w.realm().create_group(None, &group[1..]).await.expect("made");
    }
    git.w.calm().await;
    git.w.realm().create_user(NewUser::named(login).in_groups(BLUE)).await.expect("made");
    git.w.calm().await;
}

/// Returns the calls that add members to groups, by the end of their path.
fn joining(git: &Git) -> Vec<String> {
    let ends = ["add-groups", "add-users"];
    let writes = git.server.journal.writes().into_iter();
    writes.filter_map(|call| ends.into_iter().find(|end| call.path.ends_with(end)).map(str::to_owned)).collect()
}

/// Returns how the additions of a user in one target ended.
async fn adds(w: &World, target: &str, login: &str) -> Vec<(String, ChangeOutcome)> {
    let changes = w.changes_of(&w.id(login)).await;
    let adds = changes.into_iter().filter(|one| one.verb == "add_member" && one.pair.target.as_str() == target);
    let group = |change: &Change| change.after["group_name"].as_str().expect("a name").to_owned();
    let mut adds: Vec<_> = adds.map(|change| (group(&change), change.outcome)).collect();
    adds.sort_by(|one, other| one.0.cmp(&other.0));
    adds
}

fn all(outcome: &ChangeOutcome) -> Vec<(String, ChangeOutcome)> {
    ["blue-one", "blue-three", "blue-two"].map(|group| (group.to_owned(), outcome.clone())).to_vec()
}

fn is_in_all(git: &Git, login: &str) -> bool {
    let account = git.server.snapshot().account(login).expect("there").clone();
    BLUE.iter().all(|group| account.groups.contains(&group[1..]))
}

#[tokio::test]
async fn one_call_adds_a_user_to_several_groups() {
    let git = Git::start().await;
    let before = joining(&git).len();
    join_all(&git, "bob").await;
    assert_eq!(joining(&git)[before..], ["add-groups"]);
    assert!(is_in_all(&git, "bob"));
    assert_eq!(adds(&git.w, "git", "bob").await, all(&ChangeOutcome::Done));
    assert_eq!(adds(&git.w, "jira", "bob").await, all(&ChangeOutcome::Done));
}

#[tokio::test]
async fn intents_of_a_call_without_an_answer_are_recovered_by_a_read() {
    for (fault, found) in [(Fault::cut_after(), ChangeOutcome::FoundDone), (Fault::cut(), ChangeOutcome::FoundNotDone)]
    {
        let git = Git::start().await;
        git.server.faults.add(fault.method("POST").path("add-groups").once());
        join_all(&git, "bob").await;
        assert!(is_in_all(&git, "bob"));
        let ended = adds(&git.w, "git", "bob").await;
        assert_eq!(ended.iter().filter(|(_, outcome)| *outcome == found).count(), 3, "{ended:?}");
        let done = |outcome: &ChangeOutcome| matches!(outcome, ChangeOutcome::Done | ChangeOutcome::FoundDone);
        assert_eq!(ended.iter().filter(|(_, outcome)| done(outcome)).count(), 3, "{ended:?}");
    }
}

#[tokio::test]
async fn if_one_group_is_refused_the_user_is_added_to_the_others_one_by_one() {
    let git = Git::start().await;
    let before = joining(&git).len();
    let refusal = r#"{"errors":[{"context":null,"message":"No.","exceptionName":null}]}"#;
    git.server.faults.add(Fault::status(403, refusal).method("POST").path("add-groups").once());
    join_all(&git, "bob").await;
    assert_eq!(joining(&git)[before..], ["add-groups", "add-users", "add-users", "add-users"]);
    assert!(is_in_all(&git, "bob"));
    assert_eq!(adds(&git.w, "git", "bob").await, all(&ChangeOutcome::Done));
}

#[tokio::test]
async fn a_refusal_of_one_of_several_leaves_no_other_without_an_intent() {
    for status in [403, 400] {
        let w = world().await;
        for group in BLUE {
            w.realm().create_group(None, &group[1..]).await.expect("made");
        }
        w.calm().await;
        let first = Fault::status(status, r#"{"errorMessages":["No."],"errors":{}}"#);
        w.jira().faults.add(first.method("POST").path("groupname=blue-one"));
        w.realm().create_user(NewUser::named("bob").in_groups(BLUE)).await.expect("made");
        w.calm().await;
        let ended = adds(&w, "jira", "bob").await;
        let refused = |outcome: &ChangeOutcome| matches!(outcome, ChangeOutcome::Refused { .. });
        assert!(ended.iter().any(|(group, outcome)| group == "blue-one" && refused(outcome)), "{status}: {ended:?}");
        for group in ["blue-two", "blue-three"] {
            let of: Vec<_> = ended.iter().filter(|(name, _)| name == group).map(|(_, outcome)| outcome).collect();
            assert_eq!(of, [&ChangeOutcome::Done], "{status}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn what_a_call_did_in_part_is_recorded_and_only_the_rest_is_tried_again() {
    let server = Product::Scim.simulate().await.expect("a free port");
    let other_target = server.other_target().expect("a client");
    let scim = Arc::clone(&other_target.target);
    let w = world_with(StackOptions { other_targets: vec![other_target], ..options() }).await;
    for group in BLUE {
        w.realm().create_group(None, &group[1..]).await.expect("made");
    }
    w.calm().await;
    // The first of them is deleted at the target, without an event.
    let gone = scim.group_named("blue-one").await.expect("a look").expect("made");
    let delete = Operation::DeleteGroup { group: gone.id, name: gone.name };
    scim.apply(&delete, Timestamp::now() + SignedDuration::from_secs(30)).await.expect("deleted");
    w.realm().create_user(NewUser::named("bob").in_groups(BLUE)).await.expect("made");
    w.calm().await;

    let pair = Pair::new("acme", "scim");
    let ended = adds(&w, "scim", "bob").await;
    let of = |name: &str| -> Vec<_> { ended.iter().filter(|(group, _)| group == name).map(|(_, how)| how).collect() };
    assert_eq!(of("blue-two"), [&ChangeOutcome::Done], "{ended:?}");
    assert_eq!(of("blue-three"), [&ChangeOutcome::Done], "{ended:?}");
    assert!(of("blue-one").iter().all(|how| matches!(how, ChangeOutcome::Refused { .. })), "{ended:?}");
    let given = async || w.stack.store.link(&pair, &w.id("bob").into()).await.expect("read").expect("linked").given;
    assert_eq!(given().await.len(), 2, "what was given is known, so that it can be taken");

    // A full reconcile recreates the group.
    let run = RunOptions::apply(RunTrigger::Schedule);
    Box::pin(w.stack.engine.run(&pair, &run)).await.expect("the run ends");
    w.calm().await;
    let groups = server.server.held().groups;
    assert!(BLUE.iter().all(|group| groups[&group[1..]].contains("bob")), "{groups:?}");
    assert_eq!(given().await.len(), 3);
}

#[tokio::test]
async fn a_refusal_that_is_about_no_group_ends_them_all() {
    let git = Git::start().await;
    let before = joining(&git).len();
    git.server.faults.add(Fault::unavailable().method("POST").path("add-groups").once());
    join_all(&git, "bob").await;
    assert_eq!(joining(&git)[before..], ["add-groups", "add-groups"]);
    assert!(is_in_all(&git, "bob"));
    let ended = adds(&git.w, "git", "bob").await;
    let refused = |outcome: &ChangeOutcome| matches!(outcome, ChangeOutcome::Refused { .. });
    assert_eq!(ended.iter().filter(|(_, outcome)| refused(outcome)).count(), 3, "{ended:?}");
    assert_eq!(ended.len(), 6, "{ended:?}");
}

#[tokio::test]
async fn intents_that_were_not_sent_leave_no_change() {
    let w = world().await;
    w.jira().faults.add(Fault::unavailable().method("POST").path("/group/user").after(1).once());
    let groups = ["/red-one", "/red-two", "/red-three"];
    for group in groups {
        w.realm().create_group(None, &group[1..]).await.expect("made");
    }
    w.calm().await;
    w.realm().create_user(NewUser::named("bob").in_groups(&groups)).await.expect("made");
    w.calm().await;
    w.agrees();
    let changes = w.changes_of(&w.id("bob")).await;
    let ended: Vec<bool> = changes
        .iter()
        .filter(|change| change.verb == "add_member")
        .map(|change| change.outcome == ChangeOutcome::Done)
        .collect();
    assert_eq!(ended, [true, false, true, true], "{changes:#?}");
}

#[tokio::test]
async fn members_added_by_one_call_have_a_change_each() {
    let people: Vec<String> = (0..12).map(|number| format!("person-{number:02}")).collect();
    for fault in [None, Some(Fault::cut()), Some(Fault::cut_after())] {
        // Enough time even on a busy machine.
        let times = EngineTimes { call: SignedDuration::from_secs(4), ..EngineTimes::hasty() };
        let git = Box::pin(Git::with(StackOptions { times, ..options() })).await;
        let group = git.w.realm().create_group(None, "crew").await.expect("made");
        for login in &people {
            git.w.realm().create_user(NewUser::named(login)).await.expect("made");
        }
        git.w.calm().await;
        if let Some(fault) = fault.clone() {
            git.server.faults.add(fault.path("add-users").after(1).once());
        }
        // The first is held back until others have been read, and longer.
        let gate = Gate::default();
        let held = git.server.faults.add(Fault::late(&gate).path("add-users").once());
        git.server.faults.add(Fault::delay_after(Duration::from_millis(500)).path("add-users").once());
        let observations = || git.server.journal.count("GET", "more-members?context=person-");
        let before = observations();
        for login in &people {
            git.w.realm().join(&git.w.id(login), &group).await.expect("joined");
        }
        while git.server.faults.hits(held) == 0 || observations() < before + 6 {
            tokio::task::yield_now().await;
        }
        gate.open();
        git.w.calm().await;

        let BitbucketSnapshot { groups, .. } = git.server.snapshot();
        assert!(people.iter().all(|login| groups["crew"].contains(login)), "{groups:?}");
        for login in &people {
            let ended = adds(&git.w, "git", login).await;
            let done = |outcome: &ChangeOutcome| matches!(outcome, ChangeOutcome::Done | ChangeOutcome::FoundDone);
            assert_eq!(ended.iter().filter(|(_, outcome)| done(outcome)).count(), 1, "{login}: {ended:?}");
            assert!(fault.is_some() || ended.len() == 1, "{login}: {ended:?}");
        }
        let calls = git.server.journal.matching(|call| call.path.ends_with("add-users"));
        assert!(calls.iter().any(|call| call.json()["users"].as_array().is_some_and(|users| users.len() > 1)));
    }
}
