//! Logins: those whose holder must be known, renames, and temporary logins.

use super::operations;
use crate::{
    capabilities::Capabilities,
    model::{Account, AccountRules, UserState},
    plan::{
        Decision, Findings, NameHolder, OwnerStanding, Planned, Presence, Situation, decide,
        fixtures::{NO_ATTRIBUTES, OwnedSituation, account, capabilities, present, user},
        login_after_adoption, wanted_name,
    },
};

/// The mark of the account with the id `a`: the first four bytes of the SHA-256 of its id.
const MARK: &str = ".moved-ca978112";

/// The situation of a user whose login is now `alicia`; its account is still `alice`.
fn renamed(holder: NameHolder) -> OwnedSituation {
    let user = UserState { username: "alicia".into(), ..user() };
    OwnedSituation { holder, ..OwnedSituation::linked(user, account()) }
}

/// The account `alicia`, linked to user 7.
fn linked_to_another() -> NameHolder {
    let account = Account { id: "b".into(), name: "alicia".into(), ..account() };
    NameHolder::Ours { account, user: "7".into(), standing: Some(OwnerStanding::Alive) }
}

#[test]
fn an_adopted_account_gets_the_login_of_its_user_where_that_is_possible() {
    let login = |name: &str, can_rename, protected: bool, username: &str| {
        let protected = protected.then(|| "it is an administrator".to_owned());
        let account = Account { name: name.into(), protected, ..account() };
        let user = UserState { username: username.into(), ..user() };
        let capabilities = Capabilities { rename: can_rename, ..capabilities() };
        let rules = AccountRules::of_attributes(&NO_ATTRIBUTES);
        login_after_adoption(&user, &account, &capabilities, rules)
    };
    assert_eq!(login("ally", true, false, "alice").as_deref(), Some("alice"));
    assert_eq!(login("alice", true, false, "alice"), None);
    assert_eq!(login("ally", false, false, "alice"), None);
    assert_eq!(login("ally", true, true, "alice"), None);
    assert_eq!(login("alice", false, true, "alice"), None);
}

#[test]
fn the_holder_of_a_login_must_be_known_for_a_new_account_and_for_a_rename() {
    let enabled = || present(UserState { username: "Alice".into(), ..user() });
    let disabled = || present(UserState { enabled: false, ..user() });
    let service_account = || present(UserState { username: "service-account-x".into(), ..user() });
    let same = Some(account());
    let other = Some(Account { name: "alicia".into(), ..account() });
    let login = Some("alice");
    let link = OwnedSituation::linked(user(), account()).link;
    let table = [
        (enabled(), None, &None, login),
        (disabled(), None, &None, None),
        (service_account(), None, &None, None),
        (Presence::Gone, None, &None, None),
        (enabled(), link.as_ref(), &same, None),
        (enabled(), link.as_ref(), &other, login),
        (disabled(), link.as_ref(), &other, login),
        (service_account(), link.as_ref(), &other, None),
        (Presence::Gone, link.as_ref(), &other, None),
        (enabled(), link.as_ref(), &None, None),
    ];
    let rules = AccountRules::of_attributes(&NO_ATTRIBUTES);
    for (presence, link, account, expected) in table {
        let wanted = wanted_name(&presence, link, account.as_ref(), &capabilities(), rules);
        assert_eq!(wanted.as_deref(), expected, "{presence:?} {account:?}");
    }
}

#[test]
fn a_temporary_login_is_replaced_even_by_a_login_that_is_written_on_create_only() {
    let rule = serde_json::from_str(r#"{"template": "{{ username }}", "when": "create"}"#).expect("a rule");
    let moved = Account { name: format!("alice{MARK}"), ..account() };
    let mut given = OwnedSituation::linked(user(), moved.clone());
    given.holder = NameHolder::Free;
    let rules = AccountRules { login: Some(&rule), ..AccountRules::of_attributes(&NO_ATTRIBUTES) };
    let of = |given: &OwnedSituation| match decide(&Situation { rules, ..given.situation() }) {
        Decision::Plan(planned) => operations(&planned),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(&given), [format!("rename alice{MARK} → alice")]);
    let wanted = wanted_name(&given.presence, given.link.as_ref(), Some(&moved), &capabilities(), rules);
    assert_eq!(wanted.as_deref(), Some("alice"));
    given.account = Some(Account { name: "other".into(), ..account() });
    assert_eq!(of(&given), [""; 0]);
}

#[test]
fn a_login_that_the_target_forbids_is_reported_and_not_sent() {
    let mut situation = renamed(NameHolder::Free);
    situation.capabilities.login_forbids = vec!['c'];
    let why = "alice: its login should be alicia, but the target does not allow 'c' in a login; change the \
               login in Keycloak";
    let findings = Findings { unsupported: vec![why.to_owned()], ..Findings::default() };
    assert_eq!(situation.plan(), Planned { findings, ..Planned::default() });
}

#[test]
fn an_account_takes_the_new_login_if_no_other_account_holds_it() {
    for holder in [NameHolder::NotAsked, NameHolder::Free, NameHolder::Own] {
        let planned = renamed(holder).plan();
        assert_eq!(operations(&planned), ["rename alice → alicia"]);
        assert_eq!(planned, Planned { operations: planned.operations.clone(), ..Planned::default() });
    }
}

#[test]
fn the_owner_of_a_login_is_read_first_if_a_template_may_give_both_users_the_same_login() {
    let rule = serde_json::from_str(r#"{"template": "{{ username }}"}"#).expect("a rule");
    let NameHolder::Ours { account, user, .. } = linked_to_another() else { unreachable!() };
    let given = renamed(NameHolder::Ours { account, user, standing: None });
    let plain = AccountRules::of_attributes(&NO_ATTRIBUTES);
    for (login, expected) in [(Some(&rule), Decision::ReadOwner("7".into())), (None, Decision::WaitFor("7".into()))] {
        let rules = AccountRules { login, ..plain };
        let planned = Planned { afterwards: Some(Box::new(expected)), ..Planned::default() };
        assert_eq!(decide(&Situation { rules, ..given.situation() }), Decision::Plan(planned));
    }
}

#[test]
fn an_account_keeps_its_login_while_another_account_holds_the_new_one() {
    let unlinked = Account { id: "b".into(), name: "alicia".into(), ..account() };
    let table = [
        (linked_to_another(), Decision::WaitFor("7".into())),
        (NameHolder::BeingCreated, Decision::Later),
        (
            NameHolder::Unlinked(unlinked),
            Decision::Conflict(
                "alice: its login should be alicia, which the unmanaged account alicia holds in the target. \
                 Free that login there, or link the user to that account: usersync link 1 alicia --connector acme \
                 --target target"
                    .into(),
            ),
        ),
        (
            NameHolder::Theirs("other".into()),
            Decision::Conflict(
                "alice: its login should be alicia, which an account of connector other holds in the target. \
                 Change the login of one of the two users, or remove that link: usersync unlink alicia --connector \
                 other --target target"
                    .into(),
            ),
        ),
    ];
    for (holder, afterwards) in table {
        let expected = Planned { afterwards: Some(Box::new(afterwards)), ..Planned::default() };
        assert_eq!(renamed(holder).plan(), expected);
    }
}

#[test]
fn a_new_login_is_reported_if_the_target_cannot_rename_accounts() {
    let mut given = renamed(NameHolder::Free);
    given.capabilities.rename = false;
    let text = "alice: the target cannot rename it to alicia; rename it there manually".to_owned();
    let findings = Findings { unsupported: vec![text], ..Findings::default() };
    assert_eq!(given.plan(), Planned { findings, ..Planned::default() });
}

#[test]
fn an_account_takes_a_temporary_login_once_if_the_users_that_wait_for_each_other_form_a_cycle() {
    let (temporary, of_another) = (format!("alice{MARK}"), "alice.moved-00000000".to_owned());
    let table = [
        ("alice".to_owned(), true, Some(temporary.clone())),
        ("alice".to_owned(), false, None),
        (temporary.clone(), true, None),
        (temporary, false, None),
        (of_another.clone(), true, Some(format!("{of_another}{MARK}"))),
    ];
    for (name, in_ring, expected) in table {
        let mut given = renamed(linked_to_another());
        given.account = Some(Account { name: name.clone(), ..account() });
        given.in_ring = in_ring;
        let planned = given.plan();
        let waits = expected.is_none().then(|| Box::new(Decision::WaitFor("7".into())));
        let renames: Vec<String> = expected.iter().map(|to| format!("rename {name} → {to}")).collect();
        assert_eq!((operations(&planned), planned.afterwards), (renames, waits), "{name}, in a cycle: {in_ring}");
    }
}

#[test]
fn a_temporary_login_is_cut_to_the_characters_that_the_target_allows() {
    for (name, max, head) in [("alice", 20, "alice"), ("alice", 18, "ali"), ("Ünïted", 18, "Ünï")] {
        let mut given = renamed(linked_to_another());
        given.account = Some(Account { name: name.into(), ..account() });
        given.in_ring = true;
        given.capabilities.login_max = max;
        assert_eq!(operations(&given.plan()), [format!("rename {name} → {head}{MARK}")], "{max} characters");
    }
}
