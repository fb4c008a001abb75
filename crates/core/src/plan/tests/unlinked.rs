//! Users without a link: creation, adoption and conflicts.

use super::{RULES, group, operations, table};
use crate::{
    capabilities::Capabilities,
    model::{Account, ApprovalKind, MatchedBy, Operation, UserFields, UserState},
    plan::{
        Decision, Findings, Hold, NameHolder, OwnerStanding, Planned, Presence, Situation, Then, decide,
        fixtures::{OwnedSituation, account, capabilities, present, source_group, user},
    },
    policy::Verdict,
};

/// The account `alice` of a target, linked to user 7.
fn linked_to_another(standing: Option<OwnerStanding>) -> NameHolder {
    NameHolder::Ours { account: account(), user: "7".into(), standing }
}

fn unsupported(text: &str) -> Planned {
    Planned { findings: Findings { unsupported: vec![text.to_owned()], ..Findings::default() }, ..Planned::default() }
}

#[test]
fn a_new_account_has_all_fields_and_is_added_to_its_groups_once_it_exists() {
    let mut alice = user();
    alice.attributes.insert("title".into(), vec!["Dr".into()]);
    alice.groups = vec![source_group("0", "n0"), source_group("8", "new"), source_group("9", "ops")];
    let mut given = OwnedSituation::unlinked(alice, NameHolder::Free);
    given.capabilities = Capabilities { attributes: true, keeps_external_id: true, ..capabilities() };
    given.attributes = RULES.clone();
    given.groups = table();
    given.groups.assume_unmapped(&given.pair, &source_group("9", "ops"), "two groups have this name".into());
    let expected = Planned {
        operations: vec![Operation::CreateUser {
            name: "alice".into(),
            fields: UserFields {
                display_name: Some("Alice Ng".into()),
                email: Some("alice@example.org".into()),
                attributes: [("locale".into(), "en".into()), ("title".into(), "Dr".into())].into(),
            },
            external_id: Some("1".into()),
        }],
        adds_after_create: [(group(0), "G0".to_owned())].into(),
        missing_groups: vec!["8".into()],
        ..unsupported("group /ops: two groups have this name")
    };
    for holder in [NameHolder::Free, NameHolder::NotAsked, NameHolder::Own] {
        given.holder = holder;
        assert_eq!(given.plan(), expected);
    }
    given.capabilities.keeps_external_id = false;
    assert!(matches!(given.plan().operations[..], [Operation::CreateUser { external_id: None, .. }]));
}

#[test]
fn a_user_that_the_target_cannot_hold_is_reported_and_not_created() {
    let cases = [
        (
            UserState { email: None, ..user() },
            "alice: it has no e-mail address, which the target requires; set one in Keycloak",
        ),
        (
            UserState { username: "alice/2".into(), ..user() },
            "alice/2: the target does not allow '/' in a login; change the login in Keycloak",
        ),
    ];
    for (user, expected) in cases {
        let mut given = OwnedSituation::unlinked(user, NameHolder::Free);
        given.capabilities.login_forbids = vec!['/'];
        assert_eq!(given.plan(), unsupported(expected));
    }
}

#[test]
fn an_attribute_that_cannot_be_rendered_is_reported_and_the_account_is_created_without_it() {
    let odd = [("odd".to_owned(), vec!["x".to_owned()])].into();
    let mut given = OwnedSituation::unlinked(UserState { attributes: odd, ..user() }, NameHolder::Free);
    given.capabilities.attributes = true;
    given.attributes =
        serde_json::from_value(serde_json::json!({ "number": "{{ attributes.odd | int }}" })).expect("rules");
    let planned = given.plan();
    assert_eq!(operations(&planned), ["create alice"]);
    let [finding] = &planned.findings.unsupported[..] else { panic!("one finding: {planned:?}") };
    assert!(finding.starts_with("alice: cannot render attribute number ("), "{finding}");
}

#[test]
fn a_user_has_no_account_only_if_nothing_is_planned_or_waits_for_it() {
    let findings = Findings { unsupported: vec!["no licence".to_owned()], ..Findings::default() };
    let nothing = Planned { findings, ..Planned::default() };
    assert_eq!(nothing.no_account(None), Some("no licence"));
    let linked = OwnedSituation::linked(user(), account());
    assert_eq!(nothing.no_account(linked.link.as_ref()), None);
    let rename = Operation::RenameUser { account: "a".into(), name: "alice".into(), to: "alicia".into() };
    let hold = Hold { kind: ApprovalKind::Federation, then: Then::Do(rename.clone()) };
    for planned in [
        Planned { operations: vec![rename], ..nothing.clone() },
        Planned { holds: vec![hold], ..nothing.clone() },
        Planned { missing_groups: vec!["1".into()], ..nothing.clone() },
    ] {
        assert_eq!(planned.no_account(None), None, "{planned:?}");
    }
}

#[test]
fn a_user_that_has_left_gets_no_account_and_no_link() {
    let service_account = UserState { username: "service-account-alice".into(), ..user() };
    let left = [Presence::Gone, present(UserState { enabled: false, ..user() }), present(service_account)];
    for presence in left {
        for holder in [NameHolder::Free, NameHolder::Unlinked(account())] {
            let mut given = OwnedSituation::unlinked(user(), holder);
            given.presence = presence.clone();
            given.adopt_freely = true;
            assert_eq!(given.decide(), Decision::Plan(Planned::default()), "{presence:?}");
        }
    }
}

#[test]
fn usersyncs_own_account_is_not_adopted() {
    let own = Account { name: "usersync".into(), ..account() };
    let mut given =
        OwnedSituation::unlinked(UserState { username: "usersync".into(), ..user() }, NameHolder::Unlinked(own));
    given.adopt_freely = true;
    let expected = "usersync: this login is usersync's own account, which it never changes";
    assert_eq!(given.plan(), unsupported(expected));
}

#[test]
fn an_account_is_another_persons_if_both_its_name_and_its_e_mail_address_differ() {
    // The account's name and e-mail address, those of the user, and whether the account is another person's.
    let table = [
        ("Alice Ng", Some("alice@example.org"), "Alice", Some("alice@example.org"), false),
        ("Alice Ng", Some("other@example.org"), "Alice", Some("alice@example.org"), false),
        ("NG, alice", Some("other@example.org"), "Alice", Some("alice@example.org"), false),
        ("Bob Ray", Some(" Alice@Example.org "), "Alice", Some("alice@example.org"), false),
        ("Bob Ray", Some("bob@example.org"), "Alice", Some("alice@example.org"), true),
        ("Alice Ray", Some("bob@example.org"), "Alice", Some("alice@example.org"), true),
        ("AliceNg", Some("bob@example.org"), "Alice", Some("alice@example.org"), true),
        // A missing value proves nothing.
        ("Bob Ray", None, "Alice", Some("alice@example.org"), false),
        ("Bob Ray", Some(" "), "Alice", Some("alice@example.org"), false),
        ("Bob Ray", Some("bob@example.org"), "Alice", None, false),
        ("", Some("bob@example.org"), "Alice", Some("alice@example.org"), false),
        (" - ", Some("bob@example.org"), "Alice", Some("alice@example.org"), false),
    ];
    for (display_name, email, first_name, user_email, another) in table {
        let account = Account { display_name: display_name.into(), email: email.map(str::to_owned), ..account() };
        let user = UserState { first_name: Some(first_name.into()), email: user_email.map(str::to_owned), ..user() };
        let mut given = OwnedSituation::unlinked(user, NameHolder::Unlinked(account.clone()));
        given.adopt_freely = true;
        match given.decide() {
            Decision::Conflict(_) => assert!(another, "{display_name:?} {email:?} {user_email:?}"),
            decision => {
                assert_eq!(
                    (decision, another),
                    (Decision::Adopt(account, MatchedBy::Login), false),
                    "{display_name:?} {email:?}"
                );
            }
        }
    }
}

#[test]
fn an_account_that_existed_before_is_adopted_without_approval_only_if_it_is_active_and_the_policy_allows_it() {
    for (adopt_freely, active, adopted) in
        [(true, true, true), (true, false, false), (false, true, false), (false, false, false)]
    {
        let account = Account { active, ..account() };
        let mut given = OwnedSituation::unlinked(user(), NameHolder::Unlinked(account.clone()));
        given.adopt_freely = adopt_freely;
        let expected = if adopted {
            Decision::Adopt(account, MatchedBy::Login)
        } else {
            let hold = Hold { kind: ApprovalKind::Adoption, then: Then::Adopt(account, MatchedBy::Login) };
            Decision::Plan(Planned { holds: vec![hold], ..Planned::default() })
        };
        assert_eq!(given.decide(), expected, "adopt freely: {adopt_freely}, active: {active}");
    }
}

#[test]
fn a_login_of_another_users_account_is_decided_by_the_state_of_that_user() {
    let table = [
        (linked_to_another(None), Decision::ReadOwner("7".into())),
        (linked_to_another(Some(OwnerStanding::Alive)), Decision::WaitFor("7".into())),
        (linked_to_another(Some(OwnerStanding::GoneLately)), Decision::TakeOver("7".into(), account())),
        (NameHolder::BeingCreated, Decision::Later),
    ];
    for (holder, expected) in table {
        assert_eq!(OwnedSituation::unlinked(user(), holder).decide(), expected);
    }
}

#[test]
fn a_conflict_names_both_sides_and_the_command_that_ends_it() {
    let bob = Account { display_name: "Bob Ray".into(), email: Some("bob@example.org".into()), ..account() };
    let table = [
        (
            NameHolder::Unlinked(bob),
            "alice: account alice (Bob Ray, bob@example.org) has another name and another e-mail address than the user \
             in Keycloak (Alice Ng, alice@example.org). If both are the same person, run: usersync link 1 alice \
             --connector acme --target target. If not, rename the account in the target.",
        ),
        (
            linked_to_another(Some(OwnerStanding::GoneLong)),
            "alice: account alice is linked to the deleted user 7, who was last seen too long ago to be relinked \
             automatically. If it is the same person, run: usersync link 1 alice --connector acme --target target. If \
             not, rename the account in the target.",
        ),
        (
            NameHolder::Theirs("other".into()),
            "alice: connector other links the account of this login. Change the login of one of the two users, or \
             remove that link: usersync unlink alice --connector other --target target",
        ),
    ];
    for (holder, expected) in table {
        assert_eq!(OwnedSituation::unlinked(user(), holder).decide(), Decision::Conflict(expected.into()));
    }
}

#[test]
fn a_login_in_a_command_is_quoted_where_the_shell_requires_it() {
    let table = [
        ("alice", "alice"),
        ("a.b_c@example.org+d-e:f", "a.b_c@example.org+d-e:f"),
        ("élodie", "élodie"),
        ("alice ng", "'alice ng'"),
        ("o'neil", r"'o'\''neil'"),
        ("a$b", "'a$b'"),
    ];
    for (login, quoted) in table {
        let user = UserState { username: login.into(), ..user() };
        let Decision::Conflict(text) = OwnedSituation::unlinked(user, NameHolder::Theirs("other".into())).decide()
        else {
            panic!("{login}: not a conflict")
        };
        let command = format!("usersync unlink {quoted} --connector other --target target");
        assert!(text.ends_with(&command), "{text}");
    }
}

#[test]
fn a_user_whose_login_another_user_gets_too_is_a_conflict() {
    let given = OwnedSituation::unlinked(user(), NameHolder::Free);
    let situation = Situation { same_login_as: Some("alicia"), ..given.situation() };
    let text = "alice: the policy gives this user the login alice, which is also that of the user alicia. Correct the \
                template of the login, or change one of the two users in Keycloak";
    assert_eq!(decide(&situation), Decision::Conflict(text.to_owned()));
}

#[test]
fn a_user_of_undecided_scope_is_reported_and_not_changed() {
    let verdict = Verdict::Undecided("a role could not be read".to_owned());
    for given in [OwnedSituation::unlinked(user(), NameHolder::Free), OwnedSituation::linked(user(), account())] {
        let presence = Presence::Present(user(), verdict.clone());
        assert_eq!(presence.undecided(), Some("a role could not be read"));
        let findings = Findings { undecided: Some("a role could not be read".to_owned()), ..Findings::default() };
        let situation = Situation { presence: &presence, ..given.situation() };
        assert_eq!(decide(&situation), Decision::Plan(Planned { findings, ..Planned::default() }));
    }
    assert_eq!(Presence::Present(UserState { enabled: false, ..user() }, verdict).undecided(), None);
    assert_eq!(present(user()).undecided(), None);
    assert_eq!(Presence::Gone.undecided(), None);
}
