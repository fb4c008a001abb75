//! Users without a link that are matched by a key other than the login.

use crate::{
    model::{Account, ApprovalKind, MatchKey, MatchedBy, Matching, Template, UserState},
    plan::{
        Candidate, Decision, Findings, Found, Hold, NameHolder, Owner, OwnerStanding, Planned, Then,
        fixtures::{OwnedSituation, account, user},
        is_candidate, matched_account, searches_before_login,
    },
    policy::Search,
};

/// An account `old.alice` with the e-mail address of the user.
fn old(id: &str) -> Account {
    Account { id: id.into(), name: format!("old.alice{id}"), ..account() }
}

fn candidate(id: &str, owner: Owner) -> Candidate {
    Candidate { account: old(id), owner }
}

fn linked_to(user: &str, certain: bool) -> Owner {
    Owner::User { user: user.into(), certain }
}

fn found(by: MatchedBy, candidates: Vec<Candidate>) -> Found {
    Found { search: Search { by, value: "alice@example.org".into(), unverified: false }, candidates }
}

/// A user whose login nobody has, matched by e-mail address.
fn matched(candidates: Vec<Candidate>) -> OwnedSituation {
    let mut given = OwnedSituation::unlinked(user(), NameHolder::Free);
    given.capabilities.finds_by_email = true;
    given.matching = Matching { by: vec![MatchKey::Login, MatchKey::Email], unverified_email: false };
    given.matched = Some(found(MatchedBy::Email, candidates));
    given.adopt_freely = true;
    given
}

fn conflict(given: &OwnedSituation) -> String {
    match given.decide() {
        Decision::Conflict(text) => text,
        other => panic!("not a conflict: {other:?}"),
    }
}

#[test]
fn the_only_account_that_no_link_claims_is_adopted() {
    for others in [vec![], vec![candidate("8", linked_to("9", true))]] {
        let mut given = matched([vec![candidate("7", Owner::Nobody)], others].concat());
        assert_eq!(given.decide(), Decision::Adopt(old("7"), MatchedBy::Email));
        given.adopt_freely = false;
        let hold = Hold { kind: ApprovalKind::Adoption, then: Then::Adopt(old("7"), MatchedBy::Email) };
        assert_eq!(given.plan(), Planned { holds: vec![hold], ..Planned::default() });
    }
}

#[test]
fn the_last_account_is_not_adopted_while_others_are_linked_perhaps_by_mistake() {
    for (owner, to) in
        [(linked_to("9", false), "linked to user 9"), (Owner::Connector("other".into()), "linked by connector other")]
    {
        let given = matched(vec![candidate("7", Owner::Nobody), candidate("8", owner)]);
        assert_eq!(
            conflict(&given),
            format!(
                "alice: 2 accounts have the e-mail address of this user: old.alice7 (7), old.alice8 (8), {to}. Link the user \
                 to one of them, such as: usersync link 1 old.alice7 --connector acme --target target"
            )
        );
        assert_eq!(matched_account(&NameHolder::Free, given.matched.as_ref(), true), None);
    }
}

#[test]
fn a_conflict_names_five_accounts_and_a_command_that_is_not_refused() {
    let mut given = matched((1..=7).map(|number| candidate(&number.to_string(), Owner::Nobody)).collect());
    let candidates = &mut given.matched.as_mut().expect("found").candidates;
    candidates[0].account.protected = Some("an administrator".into());
    candidates[1].account.name = "usersync".into();
    assert_eq!(
        conflict(&given),
        "alice: 7 accounts have the e-mail address of this user: old.alice1 (1), usersync (2), old.alice3 (3), old.alice4 \
         (4), old.alice5 (5) and 2 more. Link the user to one of them, such as: usersync link 1 old.alice3 --connector acme \
         --target target"
    );
    for candidate in &mut given.matched.as_mut().expect("found").candidates {
        candidate.account.protected = Some("an administrator".into());
    }
    assert!(!conflict(&given).contains("usersync link "));
    let mut given = matched(vec![candidate("7", Owner::Nobody)]);
    let found = given.matched.as_mut().expect("found");
    (found.search.unverified, found.candidates[0].account.protected) = (true, Some("an administrator".into()));
    assert_eq!(
        conflict(&given),
        "alice: account old.alice7 (7) has the e-mail address of this user, but Keycloak has not verified that the address \
         is the user's. The account is protected, so usersync link refuses it. If it is another person's, change the \
         address in Keycloak."
    );
}

#[test]
fn an_inactive_account_waits_for_approval() {
    let mut given = matched(vec![candidate("7", Owner::Nobody)]);
    let inactive = Account { active: false, ..old("7") };
    given.matched.as_mut().expect("found").candidates[0].account = inactive.clone();
    let hold = Hold { kind: ApprovalKind::Adoption, then: Then::Adopt(inactive, MatchedBy::Email) };
    assert_eq!(given.plan(), Planned { holds: vec![hold], ..Planned::default() });
}

#[test]
fn an_account_with_the_address_and_another_name_waits_for_approval() {
    for (name, by, adopts) in [
        ("Bob Ray", MatchedBy::Email, false),
        ("Bob Ray", MatchedBy::OtherLogin, true),
        ("Ng, Alice", MatchedBy::Email, true),
        ("", MatchedBy::Email, true),
    ] {
        let other = Account { display_name: name.into(), ..old("7") };
        let mut given = matched(Vec::new());
        given.matched = Some(found(by.clone(), vec![Candidate { account: other.clone(), owner: Owner::Nobody }]));
        let hold = Hold { kind: ApprovalKind::Adoption, then: Then::Adopt(other.clone(), by.clone()) };
        let held = Decision::Plan(Planned { holds: vec![hold], ..Planned::default() });
        let expected = if adopts { Decision::Adopt(other, by) } else { held };
        assert_eq!(given.decide(), expected, "{name}");
    }
}

#[test]
fn usersyncs_own_account_is_not_adopted_by_any_key() {
    let mut given = matched(vec![candidate("7", Owner::Nobody)]);
    given.matched.as_mut().expect("found").candidates[0].account.name = "usersync".into();
    let text = "alice: the e-mail address leads to usersync's own account, which it never changes";
    let findings = Findings { unsupported: vec![text.to_owned()], ..Findings::default() };
    assert_eq!(given.plan(), Planned { findings, ..Planned::default() });
}

#[test]
fn several_accounts_are_a_conflict_that_names_all_and_the_command() {
    let given = matched(vec![
        candidate("7", Owner::Nobody),
        candidate("8", Owner::Nobody),
        candidate("9", linked_to("5", false)),
    ]);
    assert_eq!(
        conflict(&given),
        "alice: 3 accounts have the e-mail address of this user: old.alice7 (7), old.alice8 (8), old.alice9 (9), linked to \
         user 5. Link the user to one of them, such as: usersync link 1 old.alice7 --connector acme --target target"
    );
}

#[test]
fn accounts_of_other_users_are_a_conflict_unless_usersync_created_them() {
    for (owner, text) in [
        (linked_to("5", false), ["to user 5", ": usersync unlink 5 --connector acme --target target"]),
        (Owner::Connector("other".into()), ["by connector other", " with usersync unlink"]),
    ] {
        let given = matched(vec![candidate("7", owner)]);
        assert!(given.matched.as_ref().expect("found").decides());
        let [linked, remove] = text;
        let expected = format!(
            "alice: account old.alice7 (7) has the e-mail address of this user, but is linked {linked}. Change that value for \
             one of the users, or remove that link{remove}"
        );
        assert_eq!(conflict(&given), expected);
    }
    let created = found(MatchedBy::Email, vec![candidate("7", linked_to("5", true))]);
    assert!(!created.decides(), "the next key is used");
    assert!(!found(MatchedBy::Email, Vec::new()).decides());
    assert_eq!(matched(vec![candidate("7", Owner::BeingCreated)]).decide(), Decision::Later);
}

#[test]
fn an_account_with_the_login_beside_the_matched_one_is_a_conflict() {
    let mut given = matched(vec![candidate("7", Owner::Nobody)]);
    given.matching.by = vec![MatchKey::Email, MatchKey::Login];
    given.holder = NameHolder::Unlinked(account());
    assert_eq!(
        conflict(&given),
        "alice: account old.alice7 (7) has the e-mail address of this user, but account alice (a) has the login. Link the \
         user to one of them, such as: usersync link 1 old.alice7 --connector acme --target target. Then rename or delete \
         the other one in the target."
    );
    // The account of the login is the matched one.
    given.holder = NameHolder::Unlinked(old("7"));
    assert_eq!(given.decide(), Decision::Adopt(old("7"), MatchedBy::Email));
}

#[test]
fn a_login_by_which_nobody_is_matched_is_a_conflict() {
    let mut given = matched(Vec::new());
    (given.matched, given.matching.by) = (None, vec![MatchKey::Email]);
    given.holder = NameHolder::Unlinked(account());
    assert_eq!(
        conflict(&given),
        "alice: account alice (a) has the login of this user, but the policy does not match users by login. If both are \
         the same person, run: usersync link 1 alice --connector acme --target target. If not, rename the account in the \
         target."
    );
    given.holder = NameHolder::Free;
    assert_eq!(given.plan().operations[0].verb(), "create");
}

#[test]
fn an_address_that_keycloak_has_not_verified_takes_no_account() {
    let mut given = matched(vec![candidate("7", Owner::Nobody)]);
    given.matched.as_mut().expect("found").search.unverified = true;
    assert_eq!(
        conflict(&given),
        "alice: account old.alice7 (7) has the e-mail address of this user, but Keycloak has not verified that the address \
         is the user's. If both are the same person, run: usersync link 1 old.alice7 --connector acme --target target. If \
         not, change the address in Keycloak."
    );
    assert_eq!(matched_account(&NameHolder::Free, given.matched.as_ref(), true), None);
    given.matched.as_mut().expect("found").search.by = MatchedBy::OtherLogin;
    assert_eq!(
        conflict(&given),
        "alice: account old.alice7 (7) has the other login of this user, which the policy makes from an e-mail address that \
         Keycloak has not verified. If both are the same person, run: usersync link 1 old.alice7 --connector acme --target \
         target. If not, change the address in Keycloak."
    );
}

#[test]
fn an_account_that_matches_two_users_is_a_conflict_of_both() {
    let mut given = matched(vec![candidate("7", Owner::Nobody)]);
    given.same_account_as = Some("bob");
    assert_eq!(
        conflict(&given),
        "alice: account old.alice7 (7) matches this user by e-mail address, and also the user bob. Link it to one of them, \
         such as: usersync link 1 old.alice7 --connector acme --target target"
    );
    (given.matched, given.holder) = (None, NameHolder::Unlinked(account()));
    assert!(
        conflict(&given).starts_with("alice: account alice (a) matches this user by login, and also the user bob.")
    );
    given.holder = NameHolder::Free;
    assert_eq!(given.plan().operations[0].verb(), "create", "without an account there is no conflict");
}

#[test]
fn an_account_of_another_name_and_address_is_another_person_whatever_the_key() {
    let bob = Account { display_name: "Bob Ray".into(), email: Some("bob@example.org".into()), ..old("7") };
    let mut given = matched(vec![Candidate { account: bob, owner: Owner::Nobody }]);
    given.matched.as_mut().expect("found").search.by = MatchedBy::OtherLogin;
    assert_eq!(
        conflict(&given),
        "alice: account old.alice7 (Bob Ray, bob@example.org), matched by another login, has another name and another \
         e-mail address than the user in Keycloak (Alice Ng, alice@example.org). If both are the same person, run: \
         usersync link 1 old.alice7 --connector acme --target target. If not, change that value in the target."
    );
}

#[test]
fn a_link_of_a_former_id_comes_before_the_keys() {
    let holder = |standing| NameHolder::Ours { account: account(), user: "5".into(), standing };
    let adopts = Decision::Adopt(old("7"), MatchedBy::Email);
    for (holder, expected) in [
        (holder(None), Decision::ReadOwner("5".into())),
        (holder(Some(OwnerStanding::GoneLately)), Decision::TakeOver("5".into(), account())),
        (holder(Some(OwnerStanding::Alive)), adopts.clone()),
        (NameHolder::BeingCreated, Decision::Later),
        (NameHolder::Theirs("other".into()), adopts),
    ] {
        let mut given = matched(vec![candidate("7", Owner::Nobody)]);
        given.holder = holder.clone();
        assert_eq!(given.decide(), expected, "{holder:?}");
    }
}

#[test]
fn a_key_that_cannot_be_used_creates_no_account() {
    let mut given = matched(Vec::new());
    given.matched = None;
    given.capabilities.finds_by_email = false;
    let planned = given.plan();
    assert!(planned.operations.is_empty());
    assert!(planned.findings.unsupported[0].starts_with("alice: the target cannot search accounts by e-mail address"));
    let fails = Template::new("{% if username == 'alice' %}{{ username | regex_replace('(', '') }}{% endif %}");
    given.matching.by = vec![MatchKey::OtherLogin(fails.expect("a template"))];
    assert!(given.plan().findings.unsupported[0].starts_with("alice: cannot render the login to match"));
    // An account that an earlier key found, and a link of a former id, need no search.
    given.matching.by.insert(0, MatchKey::Login);
    given.holder = NameHolder::Unlinked(account());
    assert_eq!(given.decide(), Decision::Adopt(account(), MatchedBy::Login));
    let standing = Some(OwnerStanding::GoneLately);
    given.holder = NameHolder::Ours { account: account(), user: "5".into(), standing };
    assert_eq!(given.decide(), Decision::TakeOver("5".into(), account()));
}

#[test]
fn keys_after_the_login_are_not_searched_if_an_account_has_it() {
    let (free, login) = (NameHolder::Free, NameHolder::Unlinked(account()));
    let other = MatchKey::OtherLogin(Template::new("old.{{ username }}").expect("a template"));
    for (by, holder, words) in [
        (vec![MatchKey::Login], &free, vec![]),
        (vec![MatchKey::Login, MatchKey::Email], &login, vec![]),
        (vec![MatchKey::Login, MatchKey::Email], &free, vec!["e-mail address"]),
        (vec![MatchKey::Email, MatchKey::Login, other.clone()], &login, vec!["e-mail address"]),
        (vec![MatchKey::Email, MatchKey::Login, other], &free, vec!["e-mail address", "another login"]),
        (vec![MatchKey::Email], &login, vec!["e-mail address"]),
    ] {
        let mut given = matched(Vec::new());
        given.matching.by.clone_from(&by);
        let situation = given.situation();
        let searched = |presence, link| {
            let searches =
                searches_before_login(presence, link, holder, situation.capabilities, situation.rules).into_iter();
            searches.map(|search| search.by.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(searched(situation.presence, None), words, "{by:?} {holder:?}");
        let link = OwnedSituation::linked(user(), account()).link;
        assert_eq!(searched(situation.presence, link.as_ref()), [""; 0]);
        let disabled = super::super::fixtures::present(UserState { enabled: false, ..user() });
        assert_eq!(searched(&disabled, None), [""; 0]);
    }
}

#[test]
fn a_user_that_has_left_is_not_matched() {
    let mut given = matched(vec![candidate("7", Owner::Nobody)]);
    given.presence = super::super::fixtures::present(UserState { enabled: false, ..user() });
    assert_eq!(given.decide(), Decision::Plan(Planned::default()));
}

#[test]
fn the_account_that_a_user_takes_is_known_for_the_comparison_with_others() {
    let (one, two) = (candidate("7", Owner::Nobody), candidate("8", Owner::Nobody));
    let single = found(MatchedBy::Email, vec![one.clone(), candidate("9", linked_to("5", true))]);
    let several = found(MatchedBy::Email, vec![one, two]);
    let login = NameHolder::Unlinked(account());
    assert_eq!(matched_account(&NameHolder::Free, Some(&single), true), Some(&old("7")));
    assert_eq!(matched_account(&login, Some(&several), true), None);
    assert_eq!(matched_account(&login, None, true), Some(&account()));
    assert_eq!(matched_account(&login, None, false), None);
    assert_eq!(matched_account(&NameHolder::Free, None, true), None);
    for (id, is) in [("7", true), ("8", true), ("a", true), ("9", false)] {
        assert_eq!(is_candidate(&login, Some(&several), &id.into()), is, "{id}");
    }
}
