//! Enabled users with an account: what is never changed, activation, and the summary of a plan.

use super::{RULES, group, source_group_of, table};
use crate::{
    capabilities::Deactivation,
    model::{Account, ApprovalKind, AttributeRules, MatchedBy, Operation, UserFields, UserState},
    plan::{
        Findings, Hold, Planned, Then,
        fixtures::{OwnedSituation, account, user},
    },
};

/// A situation that requires every kind of change.
fn out_of_sync(account: Account) -> OwnedSituation {
    let user = UserState { username: "alicia".into(), groups: vec![source_group_of(0)], ..user() };
    let account = Account { display_name: "Old".into(), active: false, ..account };
    OwnedSituation { groups: table(), ..OwnedSituation::linked(user, account) }
}

#[test]
fn an_account_that_must_not_be_changed_is_reported_only() {
    let protected = |why: &str| Findings { protected: Some(why.to_owned()), ..Findings::default() };
    let table = [
        (
            Account { name: "usersync".into(), ..account() },
            protected("usersync is usersync's own account: never changed"),
        ),
        (
            Account { protected: Some("it is an administrator".into()), ..account() },
            protected("alice: it is an administrator; never changed"),
        ),
        (
            Account { immutable: Some("its directory is read-only".into()), ..account() },
            Findings { unsupported: vec!["alice: its directory is read-only".into()], ..Findings::default() },
        ),
    ];
    for (account, findings) in table {
        assert_eq!(out_of_sync(account).plan(), Planned { findings, ..Planned::default() });
    }
}

#[test]
fn usersyncs_own_account_is_not_deactivated_when_its_user_leaves() {
    let given = OwnedSituation::deleted(Account { name: "usersync".into(), ..account() });
    let protected = Some("usersync is usersync's own account: never changed".to_owned());
    let findings = Findings { protected, ..Findings::default() };
    assert_eq!(given.plan(), Planned { findings, ..Planned::default() });
}

#[test]
fn an_inactive_account_of_a_target_that_cannot_activate_is_reported() {
    let inactive = Account { active: false, ..account() };
    let mut situation = OwnedSituation::linked(user(), inactive);
    situation.capabilities.deactivate = Deactivation::Never;
    let why = "alice: the account is inactive, and the target cannot activate it. Activate it manually at the target";
    let findings = Findings { unsupported: vec![why.to_owned()], ..Findings::default() };
    assert_eq!(situation.plan(), Planned { findings, ..Planned::default() });
}

#[test]
fn an_account_is_activated_if_usersync_deactivated_it_and_waits_for_approval_otherwise() {
    // Active, deactivated by usersync, what was revoked, how the target deactivates, and the planned operation; `Err`:
    // it waits for approval.
    let activate = "activate alice";
    let table = [
        (true, false, &[] as &[&str], Deactivation::Switch, None),
        (false, true, &[], Deactivation::Switch, Some(Ok(activate))),
        (false, false, &[], Deactivation::Switch, Some(Err(activate))),
        (
            false,
            true,
            &["group:a", "group:b"],
            Deactivation::Access,
            Some(Ok("activate alice: grant group:a, group:b")),
        ),
        // Without a switch, an account without access was not necessarily deactivated.
        (false, false, &[], Deactivation::Access, None),
        // A part of what was revoked was granted outside usersync.
        (true, true, &["group:b"], Deactivation::Access, Some(Ok("activate alice: grant group:b"))),
        (true, false, &["group:b"], Deactivation::Access, Some(Ok("activate alice: grant group:b"))),
    ];
    for (active, by_us, revoked, deactivate, expected) in table {
        let mut given = OwnedSituation::linked(user(), Account { active, ..account() });
        given.capabilities.deactivate = deactivate;
        given.link_mut().deactivated_by_us = by_us;
        given.link_mut().taken = revoked.iter().map(|one| (*one).to_owned()).collect();
        let planned = given.plan();
        let operations = planned.operations.iter().map(|operation| Ok(operation.to_string()));
        let holds = planned.holds.iter().map(|hold| match hold {
            Hold { kind: ApprovalKind::Activation, then: Then::Do(operation) } => Err(operation.to_string()),
            other => panic!("another hold: {other:?}"),
        });
        let expected = expected.map(|one| one.map(str::to_owned).map_err(str::to_owned));
        assert_eq!(
            operations.chain(holds).collect::<Vec<_>>(),
            Vec::from_iter(expected),
            "active: {active}, by usersync: {by_us}, revoked: {revoked:?}, {deactivate:?}"
        );
    }
}

#[test]
fn a_plan_removes_if_an_operation_or_a_held_operation_removes() {
    let remove = || Operation::RemoveMember {
        group: group(0),
        group_name: "G0".into(),
        account: "a".into(),
        name: "alice".into(),
    };
    let rename = || Operation::RenameUser { account: "a".into(), name: "alice".into(), to: "alicia".into() };
    let held = |then| Hold { kind: ApprovalKind::AdoptedGroup, then };
    let table = [
        (vec![], vec![], false),
        (vec![rename()], vec![held(Then::Do(rename())), held(Then::Adopt(account(), MatchedBy::Login))], false),
        (vec![rename(), remove()], vec![], true),
        (vec![], vec![held(Then::Do(remove()))], true),
        (vec![remove()], vec![held(Then::Do(remove()))], true),
    ];
    for (operations, holds, removes) in table {
        let planned = Planned { operations, holds, ..Planned::default() };
        assert_eq!(planned.removes(), removes, "{planned:?}");
    }
}

#[test]
fn a_plan_adds_members_if_it_adds_an_existing_account_to_a_group() {
    let mut given = OwnedSituation::linked(user(), Account { display_name: "Old".into(), ..account() });
    given.groups = table();
    assert!(!given.plan().adds_members(), "an update only");
    let in_group = UserState { groups: vec![source_group_of(0)], ..user() };
    let new = OwnedSituation { groups: table(), ..OwnedSituation::unlinked(in_group.clone(), given.holder.clone()) };
    assert!(!new.plan().adds_members(), "the account does not exist yet");
    let linked = OwnedSituation { groups: table(), ..OwnedSituation::linked(in_group, account()) };
    assert!(linked.plan().adds_members());
}

#[test]
fn an_attribute_of_a_linked_user_that_cannot_be_rendered_is_reported_and_the_others_are_written() {
    let odd = [("odd".to_owned(), vec!["x".to_owned()])].into();
    let mut given = OwnedSituation::linked(UserState { attributes: odd, ..user() }, account());
    given.capabilities.attributes = true;
    given.attributes = RULES.clone();
    let faulty: AttributeRules =
        serde_json::from_value(serde_json::json!({ "number": "{{ attributes.odd | int }}", "city": "Bern" }))
            .expect("rules");
    given.attributes.extend(faulty);
    let planned = given.plan();
    let fields = UserFields { attributes: [("city".into(), "Bern".into())].into(), ..UserFields::default() };
    let update = Operation::UpdateUser { account: "a".into(), name: "alice".into(), fields };
    assert_eq!(planned.operations, [update]);
    let [finding] = &planned.findings.unsupported[..] else { panic!("one finding: {planned:?}") };
    assert!(finding.starts_with("alice: cannot render attribute number ("), "{finding}");
}
