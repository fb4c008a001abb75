//! Administrators' groups beyond the page of the group picker.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use usersync::{
    model::{AccountId, Operation, TargetGroupId, UserFields},
    targets::{
        Credentials, NoteState, Target, TargetErrorKind,
        jira::{JiraSettings, JiraTarget},
    },
};
use usersync_simulators::{JiraOptions, SimulatedJira, jira::NewAccount};

/// A Jira with more groups than its picker shows. `owners` grants administration, comes after the first thousand, and
/// its name does not show it; `boss` is its member, and `ada` is in a plain group behind it.
async fn crowded() -> (SimulatedJira, JiraTarget) {
    let simulator = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
    for number in 0..1_010 {
        simulator.add_group(&format!("g{number:04}"));
    }
    simulator.set_admin_group("owners", true, false);
    for (login, group) in [("boss", "owners"), ("ada", "plain")] {
        let account = NewAccount { name: login.into(), email: format!("{login}@example.org"), ..NewAccount::default() };
        simulator.add_account(account.in_groups(&[group]));
    }
    let token = Credentials::Token(Arc::new(|| Ok("simulator-token".to_owned().into())));
    let address = simulator.url().parse().expect("an address");
    let target = JiraTarget::new(JiraSettings::new(address, token)).expect("good settings");
    (simulator, target)
}

fn id(simulator: &SimulatedJira, login: &str) -> AccountId {
    simulator.snapshot().account(login).expect("an account").key.as_str().into()
}

fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(10)
}

fn leave(id: &AccountId, login: &str, group: &str) -> Operation {
    let (account, name) = (id.clone(), login.to_owned());
    Operation::RemoveMember { group: TargetGroupId::from(group), group_name: group.to_owned(), account, name }
}

#[tokio::test]
async fn an_administrator_of_a_group_that_the_picker_does_not_show_is_protected() {
    let (simulator, target) = crowded().await;
    let info = target.probe().await.expect("a first contact");
    let asked = info.notes.iter().find(|note| note.about == "protected" && note.state == NoteState::Note);
    assert!(asked.is_some_and(|note| note.text.contains("frozen_groups")), "{:?}", info.notes);
    let (boss, ada) = (id(&simulator, "boss"), id(&simulator, "ada"));
    // A listing has no groups: an operation planned from it is refused before it is sent.
    let fields = UserFields { display_name: Some("No Boss".to_owned()), ..UserFields::default() };
    for operation in [
        Operation::UpdateUser { account: boss.clone(), name: "boss".into(), fields },
        Operation::DeactivateUser { account: boss.clone(), name: "boss".into(), takes: Vec::new() },
        leave(&boss, "boss", "owners"),
    ] {
        let (_fresh, target) = (&simulator, fresh(&simulator));
        let before = simulator.snapshot();
        let error = target.apply(&operation, soon()).await.expect_err("refused");
        assert_eq!(error.kind, TargetErrorKind::NotFound, "{operation}: {error}");
        assert_eq!(simulator.snapshot(), before, "{operation}");
    }
    let read = target.account(&boss).await.expect("read").expect("there");
    assert!(read.protected.is_some_and(|why| why.contains("owners")));
    let group = target.group_named("owners").await.expect("read").expect("there");
    assert!(group.protected.is_some());
    let read = target.account(&ada).await.expect("read").expect("there");
    assert_eq!(read.protected, None, "a plain group is asked for by its name");
    target.apply(&leave(&ada, "ada", "plain"), soon()).await.expect("removed");
}

fn fresh(simulator: &SimulatedJira) -> JiraTarget {
    let token = Credentials::Token(Arc::new(|| Ok("simulator-token".to_owned().into())));
    JiraTarget::new(JiraSettings::new(simulator.url().parse().expect("an address"), token)).expect("good settings")
}

#[tokio::test]
async fn nothing_is_removed_from_members_of_a_group_whose_standing_jira_does_not_show() {
    let (simulator, _) = crowded().await;
    // Fewer groups are shown than contain the group's name in theirs.
    simulator.set_picker_cap(20);
    for number in 0..30 {
        simulator.add_group(&format!("a-plain-{number:02}"));
    }
    let target = fresh(&simulator);
    let ada = id(&simulator, "ada");
    let read = target.account(&ada).await.expect("read").expect("there");
    assert!(read.protected.is_some_and(|why| why.contains("plain") && why.contains("autocomplete.limit")));
    let group = target.group_named("plain").await.expect("read").expect("there");
    assert!(group.protected.is_some(), "it is not taken up");
    let error = fresh(&simulator).apply(&leave(&ada, "ada", "plain"), soon()).await.expect_err("refused");
    assert_eq!(error.kind, TargetErrorKind::NotFound, "{error}");
    simulator.set_picker_cap(10_000);
    let read = fresh(&simulator).account(&ada).await.expect("read").expect("there");
    assert_eq!(read.protected, None);
}
