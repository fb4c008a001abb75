//! Linked users that have left: deleted, disabled, or out of scope.

use super::operations;
use crate::{
    capabilities::Deactivation,
    model::{Account, ApprovalKind, Operation, UserState},
    plan::{
        Decision, Findings, Hold, NameHolder, Planned, Presence, Then,
        fixtures::{OwnedSituation, account, present, user},
        has_left,
    },
};

fn disabled() -> UserState {
    UserState { enabled: false, ..user() }
}

/// The presence of each user that has left, with the reason in texts.
fn leavers() -> [(Presence, &'static str); 3] {
    let service_account = UserState { username: "service-account-alice".into(), ..user() };
    [
        (Presence::Gone, "deleted in Keycloak"),
        (present(disabled()), "disabled in Keycloak"),
        (present(service_account), "it is the service account of a client"),
    ]
}

fn leaver(presence: Presence, account: Account) -> OwnedSituation {
    OwnedSituation { presence, ..OwnedSituation::linked(user(), account) }
}

fn deactivation(takes: &[&str]) -> Operation {
    let takes = takes.iter().map(|one| (*one).to_owned()).collect();
    Operation::DeactivateUser { account: "a".into(), name: "alice".into(), takes }
}

fn unsupported(text: String) -> Planned {
    Planned { findings: Findings { unsupported: vec![text], ..Findings::default() }, ..Planned::default() }
}

#[test]
fn a_user_has_left_if_it_is_deleted_disabled_or_out_of_scope() {
    for (presence, _) in leavers() {
        assert!(has_left(&presence), "{presence:?}");
    }
    assert!(!has_left(&present(user())));
}

#[test]
fn the_account_of_a_leaver_is_deactivated_and_not_changed_otherwise() {
    for (presence, _) in leavers() {
        let out_of_sync = Account {
            display_name: "Old".into(),
            email: None,
            access: vec!["group:licensed".into()],
            groups: Some(vec!["g0".into()]),
            ..account()
        };
        let mut given = leaver(presence.clone(), out_of_sync.clone());
        given.link_mut().given = ["g0".into()].into();
        let expected = Planned { operations: vec![deactivation(&["group:licensed"])], ..Planned::default() };
        assert_eq!(given.plan(), expected, "{presence:?}");
        given.account = Some(Account { active: false, access: Vec::new(), ..out_of_sync });
        assert_eq!(given.plan(), Planned::default(), "{presence:?}");
    }
}

#[test]
fn a_protected_account_of_a_leaver_waits_for_approval() {
    for (presence, _) in leavers() {
        let protected = Account { protected: Some("it is an administrator".into()), ..account() };
        let mut given = leaver(presence, protected.clone());
        given.wanted_by_other = true;
        let hold = Hold { kind: ApprovalKind::ProtectedLeaver, then: Then::Do(deactivation(&[])) };
        assert_eq!(given.plan(), Planned { holds: vec![hold], ..Planned::default() });
        given.account = Some(Account { active: false, ..protected });
        assert_eq!(given.plan(), Planned::default());
    }
}

#[test]
fn an_account_of_a_leaver_that_cannot_be_deactivated_is_reported_while_it_is_active() {
    for (presence, why) in leavers() {
        let read_only = Account { immutable: Some("its directory is read-only".into()), ..account() };
        let mut given = leaver(presence.clone(), read_only.clone());
        assert_eq!(given.plan(), unsupported(format!("alice: {why}, but its directory is read-only")));
        given.account = Some(Account { active: false, ..read_only });
        assert_eq!(given.plan(), Planned::default());

        let mut given = leaver(presence, account());
        given.capabilities.deactivate = Deactivation::Never;
        let text = format!("alice: {why}, but the target cannot deactivate accounts; deactivate it there manually");
        for protected in [None, Some("it is an administrator".to_owned())] {
            given.account = Some(Account { protected, ..account() });
            assert_eq!(given.plan(), unsupported(text.clone()));
        }
    }
}

#[test]
fn an_active_account_of_a_federated_leaver_is_not_changed() {
    let text = |why: &str| {
        format!(
            "alice: {why}, but the user is federated: the state of the federation is not confirmed, so nothing is \
             removed"
        )
    };
    let expected = |why| Planned {
        findings: Findings { unconfirmed: vec![text(why)], ..Findings::default() },
        ..Planned::default()
    };
    // The user that is federated now, and the one that was federated when it was last seen.
    let federated = UserState { federation_link: Some("ldap".into()), ..disabled() };
    let now = leaver(present(federated), account());
    assert_eq!(now.plan(), expected("disabled in Keycloak"));
    for (presence, why) in leavers() {
        let mut before = leaver(presence, account());
        before.link_mut().federation_link = Some("ldap".into());
        assert_eq!(before.plan(), expected(why));
        before.account = Some(Account { active: false, ..account() });
        assert_eq!(before.plan(), Planned::default());
    }
}

#[test]
fn the_account_of_a_deleted_user_releases_a_login_that_another_user_waits_for() {
    let (alice, temporary) = ("alice", "alice.moved-ca978112");
    let table = [
        (alice, true, true, &["rename alice → alice.moved-ca978112"] as &[&str]),
        (alice, true, false, &[]),
        (alice, false, true, &[]),
        (alice, false, false, &[]),
        (temporary, true, true, &[]),
        (temporary, false, true, &[]),
    ];
    for (name, wanted_by_other, can_rename, expected) in table {
        let mut given = OwnedSituation::deleted(Account { name: name.into(), active: false, ..account() });
        given.wanted_by_other = wanted_by_other;
        given.capabilities.rename = can_rename;
        assert_eq!(operations(&given.plan()), expected, "{name}, {wanted_by_other}, {can_rename}");
    }
    let mut active = OwnedSituation::deleted(account());
    active.wanted_by_other = true;
    assert_eq!(operations(&active.plan()), ["deactivate alice", "rename alice → alice.moved-ca978112"]);
}

#[test]
fn the_account_of_a_disabled_user_takes_a_new_login() {
    let alicia = UserState { username: "alicia".into(), ..disabled() };
    let mut given = OwnedSituation::linked(alicia, account());
    assert_eq!(operations(&given.plan()), ["deactivate alice", "rename alice → alicia"]);
    given.account = Some(Account { active: false, ..account() });
    assert_eq!(operations(&given.plan()), ["rename alice → alicia"]);
    given.capabilities.rename = false;
    let text = "alice: the target cannot rename it to alicia; rename it there manually";
    assert_eq!(given.plan(), unsupported(text.into()));
}

#[test]
fn the_account_of_a_user_out_of_scope_keeps_its_login() {
    let service_account = UserState { username: "service-account-alice".into(), ..user() };
    let given = OwnedSituation::linked(service_account, account());
    assert_eq!(operations(&given.plan()), ["deactivate alice"]);
}

#[test]
fn a_disabled_user_is_deactivated_before_it_waits_for_its_login() {
    let alicia = UserState { username: "alicia".into(), ..disabled() };
    let mut given = OwnedSituation::linked(alicia, account());
    given.holder = NameHolder::BeingCreated;
    let deactivated = Planned { operations: vec![deactivation(&[])], ..Planned::default() };
    assert_eq!(given.decide(), Decision::Plan(deactivated));
    given.account = Some(Account { active: false, ..account() });
    assert_eq!(given.decide(), Decision::Later);
}
