//! Memberships of linked users.

use super::{group, operations, source_group_of, table};
use crate::{
    model::{Account, ApprovalKind, Federated, GroupMapping, Link, ManagedGroup, Operation, TargetGroupId, UserState},
    plan::{
        Findings, GroupTable, Hold, Planned, ProviderAnswer, Then,
        fixtures::{OwnedSituation, account, present, source_group, user},
    },
};

/// The situation of a user in these groups at the source and in those at the target.
fn members(source: &[usize], target: &[usize]) -> OwnedSituation {
    let user = UserState { groups: source.iter().copied().map(source_group_of).collect(), ..user() };
    let account = Account { groups: Some(target.iter().copied().map(group).collect()), ..account() };
    OwnedSituation { groups: table(), ..OwnedSituation::linked(user, account) }
}

fn granted(link: &mut Link, groups: &[usize]) {
    link.given = groups.iter().copied().map(group).collect();
}

#[test]
fn memberships_in_groups_of_another_connector_and_in_unmanaged_groups_stay_unless_usersync_granted_them() {
    let mut given = members(&[1], &[0, 1, 4, 5]);
    assert_eq!(operations(&given.plan()), ["remove alice from G0"]);
    granted(given.link_mut(), &[4, 5]);
    // An unmanaged group is known by its id only.
    assert_eq!(operations(&given.plan()), ["remove alice from G0", "remove alice from G4", "remove alice from g5"]);
}

#[test]
fn no_membership_is_planned_for_an_account_with_unread_groups() {
    let mut given = members(&[0, 1], &[]);
    given.account = Some(Account { groups: None, ..account() });
    granted(given.link_mut(), &[2]);
    assert_eq!(given.plan(), Planned { groups_unread: true, ..Planned::default() });
    given.account = Some(account());
    assert_eq!(operations(&given.plan()), ["add alice to G0", "add alice to G1"]);
    assert!(!given.plan().groups_unread);
}

#[test]
fn a_member_of_a_group_with_a_new_name_stays_until_the_group_is_mapped_again() {
    let mut given = members(&[], &[0, 1]);
    let renamed = source_group("0", "new");
    let unknown = source_group("8", "eight");
    given.presence = present(UserState { groups: vec![renamed, unknown], ..user() });
    let planned = given.plan();
    assert_eq!(operations(&planned), ["remove alice from G1"]);
    assert_eq!(planned.missing_groups, ["0".into(), "8".into()]);
}

#[test]
fn a_group_that_feeds_no_group_is_a_problem_unless_an_operator_excluded_it() {
    let mut given = members(&[], &[]);
    let ops = source_group("9", "Ops");
    given.groups.assume_unmapped(&given.pair, &ops, "two groups have this name".into());
    given.presence = present(UserState { groups: vec![ops], ..user() });
    let problem = Findings { unsupported: vec!["group /Ops: two groups have this name".into()], ..Findings::default() };
    assert_eq!(given.plan(), Planned { findings: problem, ..Planned::default() });
    let protected = &mut given.capabilities.protected_groups;
    protected.by_name.insert("ops".into(), "protected_groups names it".into());
    protected.left_alone.insert("ops".into());
    let kept =
        Findings { kept: vec!["Ops: protected_groups names it; no member is added".into()], ..Findings::default() };
    assert_eq!(given.plan(), Planned { findings: kept, ..Planned::default() });
}

#[test]
fn a_member_of_a_group_that_gives_access_is_removed_only_if_usersync_added_it() {
    let mut given = members(&[], &[0, 1]);
    given.capabilities.access_groups = [(group(0), "access to Jira".to_owned())].into();
    let planned = given.plan();
    assert_eq!(operations(&planned), ["remove alice from G1"]);
    assert_eq!(
        planned.findings.kept,
        ["G0 grants access to Jira: members that usersync did not add are not removed. To remove them, add the group \
          to the target's managed_access_groups"]
    );
    granted(given.link_mut(), &[0]);
    let planned = given.plan();
    assert_eq!(operations(&planned), ["remove alice from G0", "remove alice from G1"]);
    assert_eq!(planned.findings, Findings::default());
}

#[test]
fn removal_from_an_adopted_group_waits_for_approval_unless_usersync_added_the_member() {
    // Adopted, removals approved, added by usersync, and whether the removal waits.
    let table = [
        (true, false, false, true),
        (true, false, true, false),
        (true, true, false, false),
        (true, true, true, false),
        (false, false, false, false),
    ];
    for (adopted, removals_approved, by_us, waits) in table {
        let mut given = members(&[], &[0]);
        let sources = vec![("acme".into(), "0".into())];
        let managed = ManagedGroup { id: group(0), name: "G0".into(), adopted, removals_approved, sources };
        given.groups = GroupTable::new(vec![managed], Vec::new());
        granted(given.link_mut(), if by_us { &[0] } else { &[] });
        let planned = given.plan();
        let text = "remove alice from G0".to_owned();
        let held: Vec<String> = planned
            .holds
            .iter()
            .map(|hold| match hold {
                Hold { kind: ApprovalKind::AdoptedGroup, then: Then::Do(operation) } => operation.to_string(),
                other => panic!("another hold: {other:?}"),
            })
            .collect();
        let expected = if waits { (vec![], vec![text]) } else { (vec![text], vec![]) };
        assert_eq!((operations(&planned), held), expected, "{adopted} {removals_approved} {by_us}");
    }
}

#[test]
fn a_federated_user_is_added_to_groups_but_not_removed_from_any() {
    let text = "alice: in 2 groups that Keycloak does not return. usersync asks its federation provider before \
                it removes anything";
    for target in [[0, 1], [1, 2]] {
        let mut given = members(&[3], &target);
        given.link_mut().federated = Some(Federated::of("ldap"));
        let planned = given.plan();
        assert_eq!(operations(&planned), ["add alice to G3"]);
        assert_eq!(planned.findings, Findings { unconfirmed: vec![text.into()], ..Findings::default() });
        assert!(planned.asks_provider);
        given.provider = ProviderAnswer::Confirmed;
        let planned = given.plan();
        assert_eq!(operations(&planned).len(), 3);
        assert_eq!((planned.findings, planned.asks_provider), (Findings::default(), false));
        given.provider = ProviderAnswer::ToApprove("its provider was removed".into());
        let planned = given.plan();
        assert_eq!(operations(&planned), ["add alice to G3"]);
        let kinds: Vec<_> = planned.holds.iter().map(|hold| hold.kind).collect();
        assert_eq!((kinds, planned.findings), (vec![ApprovalKind::Federation; 2], Findings::default()));
    }
    // Nothing is reported if there is nothing to remove, or the user is not federated.
    let mut in_sync = members(&[0], &[0, 5]);
    in_sync.link_mut().federated = Some(Federated::of("ldap"));
    assert_eq!(in_sync.plan(), Planned::default());
    assert_eq!(members(&[0], &[0, 1]).plan().findings, Findings::default());
}

#[test]
fn a_removal_comes_first_unless_another_group_has_replaced_the_group() {
    // Source group 1 now feeds G1; no source feeds its former group any more.
    let managed = |nth: usize, sources: &[usize]| ManagedGroup {
        id: group(nth),
        name: format!("G{nth}"),
        adopted: false,
        removals_approved: false,
        sources: sources.iter().map(|source| ("acme".into(), source.to_string().into())).collect(),
    };
    let mapping = GroupMapping::Managed { group: group(1), name: "n1".into() };
    let mut given = members(&[1], &[0, 2]);
    given.groups =
        GroupTable::new(vec![managed(0, &[]), managed(1, &[1]), managed(2, &[2])], vec![("1".into(), mapping)]);
    granted(given.link_mut(), &[0]);
    assert_eq!(operations(&given.plan()), ["remove alice from G2", "add alice to G1", "remove alice from G0"]);
}

#[test]
fn the_operations_of_a_membership_name_the_group_and_the_account() {
    let planned = members(&[0], &[1]).plan();
    let ids = |operation: &Operation| match operation {
        Operation::AddMember { group, account, .. } | Operation::RemoveMember { group, account, .. } => {
            (group.clone(), account.clone())
        }
        other => panic!("another operation: {other}"),
    };
    let expected: [(TargetGroupId, _); 2] = [(group(1), "a".into()), (group(0), "a".into())];
    assert_eq!(planned.operations.iter().map(ids).collect::<Vec<_>>(), expected);
}

#[test]
fn a_constant_group_loses_only_members_that_usersync_added() {
    let mut given = members(&[], &[0]);
    let managed = ManagedGroup {
        id: group(0),
        name: "G0".into(),
        adopted: false,
        removals_approved: false,
        sources: vec![(given.pair.connector.clone(), "constant:G0".into())],
    };
    given.groups = GroupTable::new(vec![managed], Vec::new());
    assert_eq!(operations(&given.plan()), [""; 0]);
    granted(given.link_mut(), &[0]);
    assert_eq!(operations(&given.plan()), ["remove alice from G0"]);
}
