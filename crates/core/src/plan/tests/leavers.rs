//! Linked users that have left: deleted, disabled, or out of scope.

use jiff::{SignedDuration, Timestamp};

use super::{group, operations, source_group_of, table as table_of_groups};
use crate::{
    capabilities::Deactivation,
    model::{
        Account, ApprovalKind, Federated, LeaverAction, LeaverRules, ManagedGroup, NamePattern, Operation, UserState,
    },
    plan::{
        Decision, Findings, GroupTable, Hold, NameHolder, Planned, Presence, ProviderAnswer, Then, cause,
        fixtures::{OwnedSituation, account, present, user},
        has_left, leaver_action, leaving_since,
    },
    policy::Verdict,
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
    let text = |why: &str| format!("alice: {why}. usersync asks its federation provider before it removes anything");
    let expected = |why| Planned {
        findings: Findings { unconfirmed: vec![text(why)], ..Findings::default() },
        asks_provider: true,
        ..Planned::default()
    };
    // The user that is federated now, and the one that was federated when it was last seen.
    let federated = UserState { federation_link: Some("ldap".into()), ..disabled() };
    let now = leaver(present(federated), account());
    assert_eq!(now.plan(), expected("disabled in Keycloak"));
    for (presence, why) in leavers() {
        let mut before = leaver(presence, account());
        before.link_mut().federated = Some(Federated::of("ldap"));
        assert_eq!(before.plan(), expected(why));
        before.account = Some(Account { active: false, ..account() });
        assert_eq!(before.plan(), Planned::default());
    }
}

#[test]
fn what_happens_to_a_federated_leaver_depends_on_the_answer_of_its_provider() {
    let reason = || "LDAP cannot be asked".to_owned();
    for (presence, why) in leavers() {
        let plan = |provider: ProviderAnswer, protected: bool| {
            let protected = protected.then(|| "it is an administrator".to_owned());
            let mut given = leaver(presence.clone(), Account { protected, ..account() });
            given.link_mut().federated = Some(Federated::of("ldap"));
            given.provider = provider;
            given.plan()
        };
        let operation = || deactivation(&[]);
        let confirmed = Planned { operations: vec![operation()], ..Planned::default() };
        let held = |kind| Planned { holds: vec![Hold { kind, then: Then::Do(operation()) }], ..Planned::default() };
        let unconfirmed = Planned {
            findings: Findings {
                unconfirmed: vec![format!("alice: {why}, but LDAP cannot be asked. Nothing is removed")],
                ..Findings::default()
            },
            ..Planned::default()
        };
        assert_eq!(plan(ProviderAnswer::Confirmed, false), confirmed);
        assert_eq!(plan(ProviderAnswer::Unconfirmed(reason()), false), unconfirmed);
        assert_eq!(plan(ProviderAnswer::ToApprove(reason()), false), held(ApprovalKind::Federation));
        assert_eq!(plan(ProviderAnswer::Confirmed, true), held(ApprovalKind::ProtectedLeaver));
        assert_eq!(plan(ProviderAnswer::Unconfirmed(reason()), true), unconfirmed);
        assert_eq!(plan(ProviderAnswer::ToApprove(reason()), true), held(ApprovalKind::ProtectedLeaver));
    }
}

#[test]
fn a_user_that_is_surely_disabled_leaves_as_such_while_its_scope_is_not_confirmed() {
    let user = UserState { federation_link: Some("ldap".into()), ..disabled() };
    let presence = Presence::Present(
        user,
        Verdict::Out {
            why: "it is in no required group".into(),
            lacks_group: true,
            lacks_role: false,
            lacks_organization: false,
        },
    );
    let mut given = leaver(presence, Account { active: false, ..account() });
    given.link_mut().deactivated_by_us = true;
    given.leavers = LeaverRules { out_of_scope: LeaverAction::Delete, ..LeaverRules::default() };
    given.provider = ProviderAnswer::OnlyDisabled;
    assert_eq!(words(&given.plan()), [""; 0]);
    given.provider = ProviderAnswer::Confirmed;
    assert_eq!(words(&given.plan()), ["delete alice"]);
    given.account = Some(account());
    given.provider = ProviderAnswer::OnlyDisabled;
    assert_eq!(words(&given.plan()), ["deactivate alice"]);
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
    // An account that usersync must not or cannot change keeps its login.
    for account in [
        Account { immutable: Some("its directory is read-only".into()), active: false, ..account() },
        Account { protected: Some("it is an administrator".into()), active: false, ..account() },
    ] {
        let mut given = OwnedSituation::deleted(account);
        given.wanted_by_other = true;
        assert_eq!(operations(&given.plan()), [""; 0]);
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
fn the_account_of_a_user_out_of_scope_keeps_its_login_until_another_user_waits_for_it() {
    let service_account = UserState { username: "service-account-alice".into(), ..user() };
    let mut given = OwnedSituation::linked(service_account, account());
    assert_eq!(operations(&given.plan()), ["deactivate alice"]);
    given.wanted_by_other = true;
    assert_eq!(operations(&given.plan()), ["deactivate alice", "rename alice → alice.moved-ca978112"]);
    given.account = Some(Account { active: false, ..account() });
    assert_eq!(operations(&given.plan()), ["rename alice → alice.moved-ca978112"]);
    given.account = Some(Account { name: "alice.moved-ca978112".into(), active: false, ..account() });
    assert_eq!(given.plan(), Planned::default());
}

#[test]
fn an_account_to_which_nothing_is_done_still_releases_its_login() {
    let alicia = present(UserState { username: "alicia".into(), ..disabled() });
    for (presence, _) in leavers().into_iter().chain([(alicia, "disabled in Keycloak")]) {
        let mut given = leaver(presence, account());
        given.leavers = all(LeaverAction::Nothing);
        assert_eq!(operations(&given.plan()), [""; 0]);
        given.wanted_by_other = true;
        assert_eq!(operations(&given.plan()), ["rename alice → alice.moved-ca978112"]);
    }
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

/// Returns rules with the same action for all leavers.
fn all(action: LeaverAction) -> LeaverRules {
    LeaverRules { disabled: action, deleted: action, out_of_scope: action, ..LeaverRules::default() }
}

fn pattern(text: &str) -> NamePattern {
    text.to_owned().try_into().expect("a pattern")
}

/// Returns a plan in words: its operations, holds and findings.
fn words(planned: &Planned) -> Vec<String> {
    let findings = &planned.findings;
    let mut words = operations(planned);
    words.extend(planned.holds.iter().map(|hold| match &hold.then {
        Then::Do(operation) => format!("hold: {operation}"),
        Then::Adopt(account, _) => format!("hold: adopt {}", account.name),
    }));
    words.extend(findings.left.clone());
    words.extend(findings.protected.clone());
    words.extend(findings.kept.iter().map(|why| format!("kept: {why}")));
    words.extend(findings.unsupported.iter().map(|why| format!("unsupported: {why}")));
    words.extend(findings.unconfirmed.iter().map(|why| format!("not confirmed: {why}")));
    words.extend(planned.groups_unread.then(|| "groups not read".to_owned()));
    words
}

#[test]
fn each_action_on_each_leaver_and_each_account() {
    const DOUBT: &str = "usersync asks its federation provider before it removes anything";
    let keys = ["leavers.deleted", "leavers.disabled", "leavers.out_of_scope"];
    let active = || Account { groups: Some(vec!["g0".into(), "g5".into()]), ..account() };
    let inactive = || Account { active: false, ..active() };
    let protected = |account| Account { protected: Some("it is an administrator".into()), ..account };
    let read_only = |account| Account { immutable: Some("its directory is read-only".into()), ..account };
    let text = |text: &str| vec![text.to_owned()];
    for ((presence, why), key) in leavers().into_iter().zip(keys) {
        let plan = |account: &Account, federated: bool, action| {
            let mut given = leaver(presence.clone(), account.clone());
            given.groups = table_of_groups();
            given.leavers = all(action);
            let link = given.link_mut();
            link.given = ["g0".into()].into();
            link.deactivated_by_us = !account.active;
            link.federated = federated.then(|| Federated::of("ldap"));
            words(&given.plan())
        };
        let (removed, deactivated, deleted) =
            (|| text("remove alice from G0"), || text("deactivate alice"), || text("delete alice"));
        let doubt = || vec![format!("not confirmed: alice: {why}. {DOUBT}")];
        let refused = || vec![format!("unsupported: alice: {why}, but its directory is read-only")];
        let never = |what: &str| vec![format!("alice: it is an administrator; never {what}")];
        let held = || text("hold: deactivate alice");
        let unread = Account { groups: None, ..active() };
        // The account, whether the user is federated, and the plans to remove from groups, to deactivate and to delete.
        let table = [
            (active(), false, removed(), deactivated(), deactivated()),
            (inactive(), false, removed(), vec![], deleted()),
            (Account { groups: Some(vec!["g5".into()]), ..active() }, false, vec![], deactivated(), deactivated()),
            (unread, false, text("groups not read"), deactivated(), deactivated()),
            (protected(active()), false, never("changed"), held(), held()),
            (protected(inactive()), false, never("changed"), vec![], never("deleted")),
            (active(), true, doubt(), doubt(), doubt()),
            (inactive(), true, doubt(), vec![], doubt()),
            (read_only(active()), false, refused(), refused(), refused()),
            (read_only(inactive()), false, refused(), vec![], refused()),
            (read_only(Account { groups: Some(vec![]), ..active() }), false, vec![], refused(), refused()),
        ];
        for (account, federated, removals, deactivation, deletion) in table {
            let nothing = vec![format!("left: nothing is done ({key})")];
            let actions =
                [LeaverAction::Nothing, LeaverAction::RemoveGroups, LeaverAction::Deactivate, LeaverAction::Delete];
            let plans = actions.map(|action| plan(&account, federated, action));
            let shown = format!("{why}, federated: {federated}, {account:?}");
            assert_eq!(plans, [nothing, removals, deactivation, deletion], "{shown}");
        }
    }
}

#[test]
fn only_an_account_that_usersync_deactivated_is_deleted_and_only_where_the_target_can() {
    let mut given = leaver(Presence::Gone, Account { active: false, ..account() });
    given.leavers = all(LeaverAction::Delete);
    assert_eq!(words(&given.plan()), ["left: usersync did not deactivate the account, so it does not delete it"]);
    given.link_mut().deactivated_by_us = true;
    assert_eq!(words(&given.plan()), ["delete alice"]);
    // If the deletion is held or refused, the account still releases its login.
    given.wanted_by_other = true;
    assert_eq!(words(&given.plan()), ["delete alice", "rename alice → alice.moved-ca978112"]);
    given.wanted_by_other = false;
    given.capabilities.delete = false;
    let why =
        "unsupported: alice: deleted in Keycloak, but the target cannot delete accounts; delete it there manually";
    assert_eq!(words(&given.plan()), [why]);
}

#[test]
fn an_account_is_deactivated_at_once_and_deleted_after_the_grace_period() {
    let mut given = leaver(Presence::Gone, account());
    given.leavers = LeaverRules { grace: SignedDuration::from_hours(48), ..all(LeaverAction::Delete) };
    assert_eq!(words(&given.plan()), ["deactivate alice"]);
    given.account = Some(Account { active: false, ..account() });
    given.link_mut().deactivated_by_us = true;
    assert_eq!(words(&given.plan()), ["its account is deleted on 1970-01-03 (deleted in Keycloak)"]);
    assert_eq!(given.plan().leaves_at, Some(hours(48)));
    assert_eq!(leaving_since(&given.situation(), &given.decide()), Some(hours(0)));
    given.link_mut().leaving_since = Some(hours(0));
    given.now = hours(48);
    assert_eq!(words(&given.plan()), ["delete alice"]);
}

#[test]
fn a_leaver_is_removed_only_from_groups_that_usersync_may_change() {
    let mut given = leaver(Presence::Gone, Account { groups: Some((0..6).map(group).collect()), ..account() });
    given.leavers = LeaverRules { kept_groups: vec![pattern("G1")], ..all(LeaverAction::RemoveGroups) };
    let adopted = |nth: usize| ManagedGroup {
        id: group(nth),
        name: format!("G{nth}"),
        adopted: nth == 3,
        removals_approved: false,
        sources: vec![("acme".into(), nth.to_string().into())],
    };
    given.groups = GroupTable::new((0..5).map(adopted).collect(), Vec::new());
    given.capabilities.protected_groups.by_name.insert("g2".to_owned(), "protected_groups names it".to_owned());
    given.capabilities.access_groups.insert(group(4), "application access".to_owned());
    let kept_access = "kept: G4 grants application access: members that usersync did not add are not removed. To remove \
                       them, add the group to the target's managed_access_groups";
    let expected = [
        "remove alice from G0",
        "hold: remove alice from G3",
        "kept: G2: protected_groups names it; no member is removed",
        kept_access,
    ];
    assert_eq!(words(&given.plan()), expected);
    // What usersync granted itself is removed without approval.
    given.link_mut().given = [group(3), group(4)].into();
    let expected = [
        "remove alice from G0",
        "remove alice from G3",
        "remove alice from G4",
        "kept: G2: protected_groups names it; no member is removed",
    ];
    assert_eq!(words(&given.plan()), expected);
}

#[test]
fn the_stricter_action_is_taken_for_a_disabled_user_out_of_scope() {
    use LeaverAction::{Deactivate, Nothing, RemoveGroups};
    let out = Verdict::Out {
        why: "it is elsewhere".into(),
        lacks_group: false,
        lacks_role: false,
        lacks_organization: false,
    };
    let presence = Presence::Present(disabled(), out);
    let table = [
        (Nothing, Nothing, "left: nothing is done (leavers.disabled)"),
        (Nothing, RemoveGroups, "remove alice from G0"),
        (Nothing, Deactivate, "deactivate alice"),
        (RemoveGroups, Nothing, "remove alice from G0"),
        (RemoveGroups, Deactivate, "deactivate alice"),
        (Deactivate, Nothing, "deactivate alice"),
        (Deactivate, RemoveGroups, "deactivate alice"),
    ];
    for (disabled, out_of_scope, expected) in table {
        let mut given = leaver(presence.clone(), Account { groups: Some(vec![group(0)]), ..account() });
        given.groups = table_of_groups();
        given.leavers = LeaverRules { disabled, out_of_scope, ..LeaverRules::default() };
        assert_eq!(words(&given.plan()), [expected], "{disabled:?} {out_of_scope:?}");
        assert_eq!(leaver_action(&presence, &given.leavers), Some(disabled.max(out_of_scope)));
    }
    assert_eq!(leaver_action(&present(user()), &LeaverRules::default()), None);
}

#[test]
fn a_user_that_comes_back_gets_its_groups_again() {
    let in_group = UserState { groups: vec![source_group_of(0)], ..user() };
    let mut given = OwnedSituation::linked(in_group, account());
    given.groups = table_of_groups();
    given.leavers = all(LeaverAction::RemoveGroups);
    assert_eq!(words(&given.plan()), ["add alice to G0"]);
}

fn hours(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

#[test]
fn nothing_is_done_to_a_leaver_before_its_grace_period_ends() {
    let there = || Account { groups: Some(vec![group(0)]), ..account() };
    for ((presence, why), action) in leavers().into_iter().flat_map(|leaver| {
        [LeaverAction::RemoveGroups, LeaverAction::Deactivate].map(|action| (leaver.clone(), action))
    }) {
        let mut given = leaver(presence, there());
        given.groups = table_of_groups();
        given.leavers = LeaverRules { grace: SignedDuration::from_hours(48), ..all(action) };
        let since = |given: &OwnedSituation| leaving_since(&given.situation(), &given.decide());
        let what = match action {
            LeaverAction::RemoveGroups => "its account is removed from its groups",
            _ => "its account is deactivated",
        };
        let waits = |given: &OwnedSituation, hour: i64, day: &str| {
            let planned = given.plan();
            assert_eq!(words(&planned), [format!("{what} on {day} ({why})")]);
            assert_eq!(planned.leaves_at, Some(hours(hour)));
        };
        // Seen for the first time, and later.
        given.now = hours(10);
        waits(&given, 58, "1970-01-03");
        assert_eq!(since(&given), Some(hours(10)));
        given.link_mut().leaving_since = Some(hours(9));
        waits(&given, 57, "1970-01-03");
        assert_eq!(since(&given), Some(hours(9)));
        // The end, with the date kept until the work is done.
        given.now = hours(57);
        let acts = if action == LeaverAction::Deactivate { "deactivate alice" } else { "remove alice from G0" };
        assert_eq!(words(&given.plan()), [acts]);
        assert_eq!(since(&given), Some(hours(9)));
        given.account = Some(Account { active: false, groups: Some(Vec::new()), ..account() });
        assert_eq!((given.plan(), since(&given)), (Planned::default(), None));
    }
}

#[test]
fn a_grace_period_ends_if_the_user_returns_or_nothing_is_to_be_done() {
    let since = |given: &OwnedSituation| leaving_since(&given.situation(), &given.decide());
    let grace = |action| LeaverRules { grace: SignedDuration::from_hours(48), ..all(action) };
    let mut given = leaver(present(disabled()), account());
    given.link_mut().leaving_since = Some(hours(0));
    given.leavers = grace(LeaverAction::Nothing);
    assert_eq!(since(&given), None);
    given.leavers = grace(LeaverAction::Deactivate);
    given.presence = present(user());
    assert_eq!(since(&given), None);
    // A scope that cannot be applied proves neither.
    given.presence = Presence::Present(user(), Verdict::Undecided("odd".into()));
    assert_eq!(since(&given), Some(hours(0)));
    // A federated user may not have left.
    given.presence = present(disabled());
    given.link_mut().federated = Some(Federated::of("ldap"));
    assert_eq!(since(&given), Some(hours(0)));
    given.link_mut().leaving_since = None;
    assert_eq!((since(&given), given.plan().leaves_at), (None, None));
}

#[test]
fn an_account_within_its_grace_period_only_releases_its_login() {
    let alicia = present(UserState { username: "alicia".into(), ..disabled() });
    for (presence, _) in leavers().into_iter().chain([(alicia, "disabled in Keycloak")]) {
        let mut given = leaver(presence, account());
        given.leavers = LeaverRules { grace: SignedDuration::from_hours(1), ..LeaverRules::default() };
        assert_eq!(operations(&given.plan()), [""; 0]);
        given.wanted_by_other = true;
        let planned = given.plan();
        assert_eq!(operations(&planned), ["rename alice → alice.moved-ca978112"]);
        assert_eq!(planned.leaves_at, Some(hours(1)));
    }
}

#[test]
fn the_longest_grace_period_never_ends() {
    let mut given = leaver(Presence::Gone, account());
    given.leavers = LeaverRules { grace: SignedDuration::MAX, ..LeaverRules::default() };
    assert_eq!(given.plan().leaves_at, Some(Timestamp::MAX));
}

#[test]
fn the_cause_of_a_leavers_removal_is_how_it_left() {
    for (presence, why) in leavers() {
        let mut given = leaver(presence, Account { groups: Some(vec![group(0)]), ..account() });
        given.groups = table_of_groups();
        given.leavers = all(LeaverAction::RemoveGroups);
        let planned = given.plan();
        let causes: Vec<String> =
            planned.operations.iter().map(|one| cause(&one.clone().into(), &given.situation())).collect();
        assert_eq!(causes, [why]);
    }
}
