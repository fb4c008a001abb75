//! Changes in the target that did not come from usersync: distinguished from changes at the source, mended or left.

use super::*;
use crate::{
    model::{ApprovalKind, Drift, DriftKind, UserFields, Written},
    plan::{ChangedAt, Drifted, Then, changed_at},
};

/// Returns alice, in the group Eng, with everything as usersync wrote it.
fn in_sync() -> OwnedSituation {
    let user = UserState { groups: vec![source_group("1", "Eng")], ..user() };
    let account = Account { groups: Some(vec!["eng".into()]), ..account() };
    let mut given = OwnedSituation::linked(user, account);
    let link = given.link_mut();
    let text = |text: &str| Some(text.to_owned());
    let fields = UserFields {
        display_name: text("Alice Ng"),
        email: text("alice@example.org"),
        attributes: [("dept".to_owned(), "R&D".to_owned())].into(),
    };
    link.written = Written::new("alice", &fields);
    link.given.insert("eng".into());
    given.groups = table(false);
    given.attributes = serde_json::from_str(r#"{"dept": "R&D"}"#).unwrap();
    given.account.as_mut().unwrap().attributes.insert("dept".into(), "R&D".into());
    given.capabilities = Capabilities { rename: true, attributes: true, ..given.capabilities };
    given
}

/// Returns the table of the managed groups Eng and Ops, fed by groups of the same names.
fn table(adopted: bool) -> GroupTable {
    let managed = |id: &str, source: &str| ManagedGroup {
        id: id.into(),
        name: id.into(),
        adopted,
        removals_approved: false,
        sources: vec![("acme".into(), source.into())],
    };
    let mapping = |id: &str, name: &str| GroupMapping::Managed { group: id.into(), name: name.into() };
    GroupTable::new(
        vec![managed("eng", "1"), managed("ops", "2")],
        vec![("1".into(), mapping("eng", "Eng")), ("2".into(), mapping("ops", "Ops"))],
    )
}

/// A change of the account in the target.
type Change = fn(&mut Account);

/// Each kind of change that `drift = "report"` leaves, and the operation that mends it.
const CHANGES: [(DriftKind, Change, &str); 6] = [
    (DriftKind::DisplayName, |account| account.display_name = "Al".into(), "update alice: display name"),
    (DriftKind::Email, |account| account.email = Some("al@example.org".into()), "update alice: e-mail"),
    (DriftKind::Attribute, |account| drop(account.attributes.insert("dept".into(), "HR".into())), "update alice: dept"),
    (DriftKind::Login, |account| account.name = "al".into(), "rename al → alice"),
    (DriftKind::Deactivated, |account| account.active = false, "activate alice"),
    (DriftKind::MemberRemoved, |account| account.groups = Some(Vec::new()), "add alice to eng"),
];

fn kinds(planned: &Planned) -> Vec<DriftKind> {
    planned.drift.iter().map(|one| one.drift.kind).collect()
}

/// Returns the operations of a plan, also those that wait for approval.
fn all(planned: &Planned) -> Vec<String> {
    let held = planned.holds.iter().filter_map(|hold| match &hold.then {
        Then::Do(operation) => Some(operation.to_string()),
        Then::Adopt(..) => None,
    });
    planned.operations.iter().map(ToString::to_string).chain(held).collect()
}

#[test]
fn an_account_as_usersync_wrote_it_has_no_drift() {
    for drift in [DriftRule::Mend, DriftRule::Report] {
        let planned = OwnedSituation { drift, ..in_sync() }.plan();
        assert_eq!((all(&planned), planned.drift), (vec![], vec![]));
    }
}

#[test]
fn each_change_in_the_target_is_mended_or_left() {
    for (kind, change, operation) in CHANGES {
        let mut given = in_sync();
        change(given.account.as_mut().unwrap());
        let planned = given.plan();
        assert_eq!((kinds(&planned), all(&planned)), (vec![kind], vec![operation.to_owned()]));
        assert_eq!(planned.drift[0].mended_by.as_ref().unwrap().to_string(), operation);
        given.drift = DriftRule::Report;
        let left = given.plan();
        assert_eq!((kinds(&left), all(&left)), (vec![kind], vec![]), "{kind:?}");
        assert_eq!(left.drift[0], Drifted { drift: planned.drift[0].drift.clone(), mended_by: None });
    }
}

#[test]
fn an_account_that_usersync_did_not_deactivate_is_activated_only_with_an_approval() {
    let mut given = in_sync();
    given.account.as_mut().unwrap().active = false;
    let planned = given.plan();
    assert_eq!(planned.operations, []);
    assert_eq!(planned.holds.iter().map(|hold| hold.kind).collect::<Vec<_>>(), [ApprovalKind::Activation]);
    // It is not known whether an adopted account was ever active.
    given.link_mut().adopted = true;
    let planned = given.plan();
    assert_eq!((planned.operations.len(), planned.holds.len(), planned.drift), (0, 1, vec![]));
    // Without a switch, an account without access was not necessarily deactivated.
    given.capabilities.deactivate = Deactivation::Access;
    assert_eq!(all(&given.plan()), [""; 0]);
    // What usersync deactivated itself is not drift.
    given = in_sync();
    given.account.as_mut().unwrap().active = false;
    given.link_mut().deactivated_by_us = true;
    for drift in [DriftRule::Mend, DriftRule::Report] {
        let planned = OwnedSituation { drift, ..given.clone() }.plan();
        assert_eq!((all(&planned), planned.holds, planned.drift), (vec!["activate alice".to_owned()], vec![], vec![]));
    }
}

#[test]
fn a_change_at_the_source_is_written_beside_drift_that_stays() {
    let user = UserState { email: Some("new@example.org".into()), groups: vec![source_group("1", "Eng")], ..user() };
    let mut given = OwnedSituation { presence: present(user), drift: DriftRule::Report, ..in_sync() };
    given.account.as_mut().unwrap().display_name = "Al".into();
    let planned = given.plan();
    assert_eq!(all(&planned), ["update alice: e-mail"]);
    let (found, wanted) = ("Al".to_owned(), "Alice Ng".to_owned());
    let drift = Drift { kind: DriftKind::DisplayName, of: None, found, wanted };
    assert_eq!(planned.drift, [Drifted { drift, mended_by: None }]);
}

#[test]
fn a_change_at_the_source_of_what_was_changed_in_the_target_is_written() {
    let user = UserState { first_name: Some("Alicia".into()), groups: vec![source_group("1", "Eng")], ..user() };
    let mut given = OwnedSituation { presence: present(user), drift: DriftRule::Report, ..in_sync() };
    given.account.as_mut().unwrap().display_name = "Al".into();
    let planned = given.plan();
    assert_eq!((all(&planned), planned.drift), (vec!["update alice: display name".to_owned()], vec![]));
}

#[test]
fn what_usersync_never_wrote_is_not_drift() {
    for (kind, change, operation) in CHANGES {
        let mut given = OwnedSituation { drift: DriftRule::Report, ..in_sync() };
        change(given.account.as_mut().unwrap());
        let link = given.link_mut();
        (link.adopted, link.written) = (true, Written::default());
        link.given.clear();
        let planned = given.plan();
        assert!(planned.drift.is_empty() && all(&planned).contains(&operation.to_owned()), "{kind:?}: {planned:?}");
    }
}

#[test]
fn access_that_keycloak_does_not_grant_is_revoked_whatever_the_setting() {
    for drift in [DriftRule::Mend, DriftRule::Report] {
        let disabled = UserState { enabled: false, groups: vec![source_group("1", "Eng")], ..user() };
        let mut given = OwnedSituation { presence: present(disabled), drift, ..in_sync() };
        let planned = given.plan();
        assert_eq!((all(&planned), kinds(&planned)), (vec!["deactivate alice".to_owned()], vec![]));
        given.link_mut().deactivated_by_us = true;
        let planned = given.plan();
        assert_eq!((all(&planned), kinds(&planned)), (vec!["deactivate alice".to_owned()], vec![DriftKind::Activated]));
        // A membership that ended in Keycloak, and one that was added in the target.
        let mut given = OwnedSituation { presence: present(user()), drift, ..in_sync() };
        let planned = given.plan();
        assert_eq!((all(&planned), kinds(&planned)), (vec!["remove alice from eng".to_owned()], vec![]));
        given = OwnedSituation { drift, ..in_sync() };
        given.account.as_mut().unwrap().groups = Some(vec!["eng".into(), "ops".into()]);
        let planned = given.plan();
        assert_eq!(all(&planned), ["remove alice from ops"]);
        assert_eq!(kinds(&planned), [DriftKind::MemberAdded]);
        // Whether a group that existed before usersync had the member before is not known.
        given.groups = table(true);
        let planned = given.plan();
        assert_eq!((all(&planned), kinds(&planned)), (vec!["remove alice from ops".to_owned()], vec![]));
    }
}

#[test]
fn a_changed_login_does_not_stay_if_another_user_needs_it() {
    let mut given = OwnedSituation { drift: DriftRule::Report, wanted_by_other: true, ..in_sync() };
    given.account.as_mut().unwrap().name = "bob".into();
    let planned = given.plan();
    assert_eq!((all(&planned), kinds(&planned)), (vec!["rename bob → alice".to_owned()], vec![DriftKind::Login]));
    // If it stays, nothing has to be free for it.
    given.wanted_by_other = false;
    given.holder = NameHolder::Theirs("other".into());
    let planned = given.plan();
    assert_eq!((all(&planned), kinds(&planned)), (vec![], vec![DriftKind::Login]));
    assert_eq!(planned.afterwards, None);
}

#[test]
fn a_deleted_account_is_created_again_or_left() {
    let mut given = OwnedSituation { account: None, account_gone: true, ..in_sync() };
    assert_eq!(given.decide(), Decision::DropLink);
    given.drift = DriftRule::Report;
    let planned = given.plan();
    assert_eq!((all(&planned), kinds(&planned)), (vec![], vec![DriftKind::AccountDeleted]));
    // Nothing is wanted for a user that has left.
    given.presence = Presence::Gone;
    assert_eq!(given.decide(), Decision::DropLink);
}

#[test]
fn a_membership_that_ended_on_both_sides_is_granted_again_later() {
    let mut given = OwnedSituation { presence: present(user()), drift: DriftRule::Report, ..in_sync() };
    given.account.as_mut().unwrap().groups = Some(Vec::new());
    let planned = given.plan();
    assert_eq!((all(&planned), planned.drift, planned.ended), (vec![], vec![], vec!["eng".into()]));
    given.drift = DriftRule::Mend;
    assert_eq!(given.plan().ended, []);
}

#[test]
fn what_a_target_cannot_change_is_listed_and_unsupported_unless_it_stays() {
    let mut given = in_sync();
    given.capabilities.update = false;
    given.account.as_mut().unwrap().display_name = "Al".into();
    let planned = given.plan();
    assert_eq!((all(&planned), kinds(&planned)), (vec![], vec![DriftKind::DisplayName]));
    let why =
        "alice: its display name should be Alice Ng; the target cannot change it. Change it manually at the target";
    assert_eq!(planned.findings.unsupported, [why]);
    given.drift = DriftRule::Report;
    let planned = given.plan();
    assert_eq!(
        (all(&planned), kinds(&planned), planned.findings.unsupported),
        (vec![], vec![DriftKind::DisplayName], vec![])
    );
}

#[test]
fn operations_that_follow_keycloak_are_not_drift() {
    let given = in_sync();
    let create = Operation::CreateUser { name: "alice".into(), fields: UserFields::default(), external_id: None };
    let delete = Operation::DeleteUser { account: "a".into(), name: "alice".into() };
    let rename = Operation::RenameUser { account: "a".into(), name: "alice".into(), to: "alicia".into() };
    for operation in [create, delete, rename] {
        assert_eq!(changed_at(&operation, &given.situation()), ChangedAt::Source, "{operation}");
    }
}

proptest! {
    /// With `report`, the plan is the one that mends, without what mends drift that may stay: nothing else is added,
    /// changed or lost.
    #[test]
    fn only_what_mends_drift_is_left_out(changes in btree_set(0..CHANGES.len(), 0..=CHANGES.len()), enabled: bool) {
        let mut given = in_sync();
        if let Presence::Present(user, _) = &mut given.presence {
            user.enabled = enabled;
        }
        for change in &changes {
            CHANGES[*change].1(given.account.as_mut().unwrap());
        }
        let mended = given.plan();
        given.drift = DriftRule::Report;
        let left = given.plan();
        prop_assert_eq!(kinds(&mended), kinds(&left));
        if enabled {
            prop_assert_eq!(kinds(&left).len(), changes.len());
            prop_assert_eq!(all(&left), Vec::<String>::new());
            prop_assert!(left.drift.iter().all(|one| one.mended_by.is_none()));
            prop_assert!(mended.drift.iter().all(|one| one.mended_by.is_some()));
        }
        let removals = |planned: &Planned| planned.operations.iter().filter(|one| one.removes()).cloned().collect::<Vec<_>>();
        prop_assert_eq!(removals(&mended), removals(&left));
    }
}
