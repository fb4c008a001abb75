//! Every operation does what it says and is idempotent; a target reports what it does not support.

use std::collections::BTreeSet;

use usersync::{
    model::{Operation, TargetGroupId, UserFields},
    targets::{Deactivation, TargetErrorKind},
};

use super::places::{Place, activate, deactivate, delete, fields, give, join, leave, rename, rename_group, soon};

/// One test of each expectation for each kind.
macro_rules! suite {
    ($($test:ident)*) => {
        suite!(@kind jira $($test)*);
        suite!(@kind crowd $($test)*);
        suite!(@kind bitbucket $($test)*);
        suite!(@kind scim $($test)*);
        suite!(@kind scim_keycloak $($test)*);
        suite!(@kind confluence $($test)*);
    };
    (@kind $kind:ident $($test:ident)*) => {
        mod $kind {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(crate::targets::places::$kind().await).await;
                }
            )*
        }
    };
}

suite! {
    an_account_is_created_and_read_back
    accounts_are_found_by_their_e_mail_address
    accounts_are_found_by_an_attribute
    what_is_updated_is_read_back
    further_attributes_are_added_and_removed
    a_rename_keeps_the_account_and_two_can_swap
    a_deactivated_account_is_activated_with_its_groups
    a_deleted_account_is_gone
    a_group_is_created_found_and_deleted
    members_are_added_and_removed
    a_member_is_added_to_several_groups_by_one_call
    all_accounts_are_listed_while_others_change_things
    all_members_are_listed_over_pages
    special_characters_in_names_are_preserved
    administrators_are_protected
    usersyncs_own_account_is_listed
    missing_accounts_and_groups_are_reported
}

async fn an_account_is_created_and_read_back(place: Place) {
    let made = place.user("alice").await;
    assert_eq!((made.name.as_str(), made.display_name.as_str(), made.active), ("alice", "Shown alice", true));
    if place.info.capabilities.reads_email {
        assert_eq!(made.email.as_deref(), Some("alice@example.org"));
    }
    assert_eq!((&made.protected, &made.immutable), (&None, &None));
    assert!(made.groups.is_some(), "a look at one account tells its groups");
    let named = place.target.account_named("ALICE").await.expect("a look");
    assert_eq!(named.map(|account| account.id), Some(made.id.clone()), "found by the target's case rule");
    assert_eq!(place.target.account_named("alic").await.expect("a look"), None);
    let again = Operation::CreateUser { name: "alice".to_owned(), fields: fields("Alice", "other"), external_id: None };
    let error = place.apply(&again).await.expect_err("the login is taken");
    assert_eq!(error.kind, TargetErrorKind::NameTaken, "{error}");
    assert_eq!(place.account(&made.id).await, made, "nothing was changed");
}

async fn accounts_are_found_by_their_e_mail_address(place: Place) {
    let search = async |email: &str| {
        let found = place.target.accounts_with_email(email).await;
        found.map(|found| {
            let mut logins: Vec<String> = found.into_iter().map(|account| account.name).collect();
            logins.sort();
            logins
        })
    };
    if !place.info.capabilities.finds_by_email {
        let error = search("ada@example.org").await.expect_err("unsupported");
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
        return;
    }
    assert_eq!(search("ada@example.org").await.expect("a look"), [""; 0]);
    let mut created = Vec::new();
    for (login, email) in [
        ("one", "ada@example.org"),
        ("two", "Ada@Example.org"),
        // Each of these contains the address, or begins with it.
        ("ada@example.org", "other@example.org"),
        ("four", "ada@example.org.example"),
        ("five", "countess.ada@example.org"),
        ("six", "ada*@example.org"),
    ] {
        let fields = UserFields { email: Some(email.to_owned()), ..fields("Ada Lovelace", login) };
        let create = Operation::CreateUser { name: login.to_owned(), fields, external_id: None };
        // Some servers allow an address only once.
        if place.apply(&create).await.is_ok() {
            created.push(login);
        }
    }
    assert!(created.len() >= 5, "{created:?}");
    created.retain(|login| ["one", "two"].contains(login));
    let named = place.user("ada@example.org.in-name").await;
    let rename = UserFields { display_name: Some("ada@example.org".to_owned()), ..UserFields::default() };
    let update = Operation::UpdateUser { account: named.id.clone(), name: named.name.clone(), fields: rename };
    place.apply(&update).await.expect("changed");
    for email in ["ada@example.org", "ADA@example.ORG"] {
        assert_eq!(search(email).await.expect("a look"), created, "{email}");
    }
    let one = place.target.account_named("one").await.expect("a look").expect("there");
    place.apply(&deactivate(&one)).await.expect("deactivated");
    assert_eq!(search("ada@example.org").await.expect("a look"), created, "inactive ones too");
    for none in ["ada@example", "example.org", "ada\"@example.org", "a\\da@example.org", "ada*"] {
        assert_eq!(search(none).await.expect("a look"), [""; 0], "{none}");
    }
}

async fn accounts_are_found_by_an_attribute(place: Place) {
    let search = async |attribute: &str, value: &str| {
        let found = place.target.accounts_with_attribute(attribute, value).await;
        found.map(|found| found.into_iter().map(|account| account.name).collect::<Vec<_>>())
    };
    if !place.info.capabilities.finds_by_attribute {
        let error = search("externalId", "7").await.expect_err("unsupported");
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
        return;
    }
    for (login, title) in [("one", "Dr"), ("two", "Prof"), ("three", "Dr")] {
        let attributes = [("title".to_owned(), title.to_owned())].into();
        let fields = UserFields { attributes, ..fields("Ada", &format!("{login}@example.org")) };
        let external_id = Some(format!("id-{login}").as_str().into());
        let create = Operation::CreateUser { name: login.to_owned(), fields, external_id };
        place.apply(&create).await.expect("created");
    }
    // Found by the filter, or in the whole list where the server has none for it.
    for _ in 0..2 {
        assert_eq!(search("title", "Dr").await.expect("a look"), ["one", "three"]);
        assert_eq!(search("externalId", "id-two").await.expect("a look"), ["two"]);
        assert_eq!(search("externalId", "ID-two").await.expect("a look"), [""; 0]);
        assert_eq!(search("title", "dr").await.expect("a look"), [""; 0]);
    }
}

async fn what_is_updated_is_read_back(place: Place) {
    let made = place.user("bob").await;
    let group = place.group("readers").await;
    place.join(&made, &group).await;
    let made = place.account(&made.id).await;
    let update = |display_name: Option<&str>, email: Option<&str>| Operation::UpdateUser {
        account: made.id.clone(),
        name: made.name.clone(),
        fields: UserFields {
            display_name: display_name.map(str::to_owned),
            email: email.map(str::to_owned),
            ..UserFields::default()
        },
    };
    let reads_email = place.info.capabilities.reads_email;
    place.twice(&update(Some("Robert Ünal"), None)).await;
    let named = place.account(&made.id).await;
    assert_eq!(named.display_name, "Robert Ünal");
    assert_eq!(named.email, made.email, "only what was named was changed");
    place.twice(&update(None, Some("robert@example.org"))).await;
    let mailed = place.account(&made.id).await;
    assert_eq!(mailed.display_name, "Robert Ünal");
    assert_eq!(mailed.email.as_deref(), reads_email.then_some("robert@example.org"));
    place.twice(&update(Some("Rob"), Some("rob@example.org"))).await;
    let both = place.account(&made.id).await;
    assert_eq!(both.display_name, "Rob");
    assert_eq!((both.id, both.name, both.active, both.groups), (made.id, made.name, true, made.groups));
}

async fn further_attributes_are_added_and_removed(place: Place) {
    if !place.info.capabilities.attributes {
        return;
    }
    let (made, other) = (place.user("hugo").await, place.user("other").await);
    for (name, value) in [("title", "Dr. Ünal & Co"), ("nickName", "Hu"), ("title", "Prof"), ("nickName", "")] {
        place.twice(&give(&made, name, value)).await;
        assert_eq!(place.account(&made.id).await.attributes.get(name).map(String::as_str), Some(value));
    }
    let now = place.account(&made.id).await;
    assert_eq!(now.attributes["title"], "Prof", "only what was named was changed");
    assert_eq!((now.display_name, now.email, now.groups), (made.display_name, made.email, made.groups));
    let other = place.account(&other.id).await;
    assert!(other.attributes.values().all(String::is_empty), "{other:?}");
    let (listed, _) = place.accounts().await;
    let listed = listed.into_iter().find(|account| account.id == made.id).expect("listed");
    // A list need not include an empty field.
    let reported = |name: &String, value: &String| {
        listed.attributes.get(name).map_or(value.is_empty(), |reported| reported == value)
    };
    assert!(now.attributes.iter().all(|(name, value)| reported(name, value)), "{listed:?}");
}

async fn a_rename_keeps_the_account_and_two_can_swap(place: Place) {
    let (one, other) = (place.user("one").await, place.user("other").await);
    let group = place.group("movers").await;
    place.join(&one, &group).await;
    if !place.info.capabilities.rename {
        let error = place.apply(&rename(&one, "uno")).await.expect_err("it cannot");
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
        assert_eq!(place.account(&one.id).await.name, "one");
        return;
    }
    let error = place.apply(&rename(&one, "other")).await.expect_err("the login is taken");
    assert_eq!(error.kind, TargetErrorKind::NameTaken, "{error}");
    place.twice(&rename(&one, "one.moved")).await;
    let moved = place.account(&one.id).await;
    assert_eq!(moved.name, "one.moved");
    assert_eq!(place.members(&group.id).await.expect("the group"), BTreeSet::from([one.id.clone()]));
    place.twice(&rename(&other, "one")).await;
    place.twice(&rename(&moved, "other")).await;
    assert_eq!(place.target.account_named("one").await.expect("a look").map(|one| one.id), Some(other.id));
    assert_eq!(place.target.account_named("other").await.expect("a look").map(|one| one.id), Some(one.id));
    assert_eq!(place.target.account_named("one.moved").await.expect("a look"), None);
}

async fn a_deactivated_account_is_activated_with_its_groups(place: Place) {
    let made = place.user("carol").await;
    let group = place.group("keepers").await;
    place.join(&made, &group).await;
    let made = place.account(&made.id).await;
    if place.info.capabilities.deactivate == Deactivation::Never {
        let error = place.apply(&deactivate(&made)).await.expect_err("it cannot");
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
        return;
    }
    assert_eq!(place.info.capabilities.deactivate == Deactivation::Access, !made.access.is_empty());
    place.twice(&deactivate(&made)).await;
    let off = place.account(&made.id).await;
    assert!(!off.active && off.access.is_empty());
    assert_eq!((&off.name, &off.display_name), (&made.name, &made.display_name));
    assert!(off.groups.as_ref().is_some_and(|groups| groups.contains(&group.id)), "its groups are kept");
    let (listed, _) = place.accounts().await;
    assert!(listed.iter().any(|account| account.id == made.id && !account.active), "listed as inactive");
    place.twice(&activate(&made)).await;
    let back = place.account(&made.id).await;
    let sorted = |account: &usersync::model::Account| {
        let mut account = account.clone();
        account.access.sort();
        account.groups.iter_mut().for_each(|groups| groups.sort());
        account
    };
    assert_eq!(sorted(&back), sorted(&made));
}

async fn a_deleted_account_is_gone(place: Place) {
    let (made, group) = (place.user("dave").await, place.group("leavers").await);
    place.join(&made, &group).await;
    if !place.info.capabilities.delete {
        let error = place.apply(&delete(&made)).await.expect_err("it cannot");
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
        return;
    }
    place.twice(&delete(&made)).await;
    assert_eq!(place.target.account(&made.id).await.expect("a look"), None);
    assert_eq!(place.target.account_named("dave").await.expect("a look"), None);
    assert_eq!(place.members(&group.id).await.expect("the group stays"), BTreeSet::new());
    let again = place.user("dave").await;
    assert_ne!(again.id, made.id, "a new account with the old login is another one");
}

async fn a_group_is_created_found_and_deleted(place: Place) {
    assert_eq!(place.target.group_named("Builders").await.expect("a look"), None);
    let made = place.group("Builders").await;
    let case = place.info.capabilities.group_case;
    assert_eq!(made.name, case.written("Builders"));
    assert_eq!(place.target.group_named("Builders").await.expect("a look"), Some(made.clone()));
    let shouted = place.target.group_named("BUILDERS").await.expect("a look");
    assert_eq!(shouted.is_some(), case.fold("BUILDERS") == case.fold("Builders"));
    let again = place.apply(&Operation::CreateGroup { name: "Builders".to_owned() }).await;
    assert_eq!(again.expect_err("the name is taken").kind, TargetErrorKind::NameTaken);
    assert_eq!(place.members(&made.id).await, Some(BTreeSet::new()));
    if place.info.capabilities.rename_group {
        let (member, taken) = (place.user("member").await, place.group("Masons").await);
        place.join(&member, &made).await;
        let refused = place.apply(&rename_group(&made, &taken.name)).await.expect_err("the name is taken");
        assert_eq!(refused.kind, TargetErrorKind::NameTaken, "{refused}");
        for (from, to) in [("Builders", "Bau & Co/50%"), ("Bau & Co/50%", "Builders")] {
            place.twice(&rename_group(&made, to)).await;
            let found = place.target.group_named(to).await.expect("a look").expect("there");
            assert_eq!((&found.id, found.name.as_str()), (&made.id, to));
            assert_eq!(place.target.group_named(from).await.expect("a look"), None);
            assert_eq!(place.members(&made.id).await, Some([member.id.clone()].into()), "its members stay");
        }
        place.apply(&leave(&member, &made)).await.expect("left");
    } else {
        let refused = place.apply(&rename_group(&made, "Masons")).await.expect_err("unsupported");
        assert_eq!(refused.kind, TargetErrorKind::Unsupported, "{refused}");
    }
    place.twice(&Operation::DeleteGroup { group: made.id.clone(), name: made.name.clone() }).await;
    assert_eq!(place.target.group_named("Builders").await.expect("a look"), None);
    assert_eq!(place.members(&made.id).await, None, "a group that is gone has no members, not none");
}

async fn members_are_added_and_removed(place: Place) {
    let (erin, frank) = (place.user("erin").await, place.user("frank").await);
    let (one, two) = (place.group("first group").await, place.group("second").await);
    for group in [&one, &two] {
        place.twice(&join(&erin, group)).await;
    }
    place.twice(&join(&frank, &one)).await;
    assert_eq!(place.members(&one.id).await.expect("there"), BTreeSet::from([erin.id.clone(), frank.id.clone()]));
    let groups = place.account(&erin.id).await.groups.expect("told");
    assert!(groups.contains(&one.id) && groups.contains(&two.id));
    place.twice(&leave(&erin, &one)).await;
    assert_eq!(place.members(&one.id).await.expect("there"), BTreeSet::from([frank.id.clone()]));
    assert!(!place.account(&erin.id).await.groups.expect("told").contains(&one.id));
    assert_eq!(place.members(&two.id).await.expect("there"), BTreeSet::from([erin.id.clone()]));
}

async fn a_member_is_added_to_several_groups_by_one_call(place: Place) {
    let gina = place.user("gina").await;
    let (one, two) = (place.group("one group").await, place.group("two").await);
    let join = async |groups: &[(&TargetGroupId, &str)]| {
        let before = place.journal.writes().len();
        let came = place.target.add_to_groups(&gina.id, &gina.name, groups, soon()).await;
        (came, place.journal.writes().len() - before)
    };
    let groups = async || place.account(&gina.id).await.groups.expect("told");
    let before = groups().await;
    let both = [(&one.id, one.name.as_str()), (&two.id, two.name.as_str())];
    let missing = TargetGroupId::from("missing");
    if place.info.capabilities.groups_at_once == 1 {
        let (came, calls) = join(&both).await;
        assert_eq!((came.expect_err("it cannot").kind, calls), (TargetErrorKind::Unsupported, 0));
        assert_eq!(groups().await, before);
        return;
    }
    let (came, calls) = join(&[both[0], (&missing, "missing"), both[1]]).await;
    let now = groups().await;
    match came {
        Ok(refused) => {
            assert_eq!(refused, [missing]);
            assert!(now.contains(&one.id) && now.contains(&two.id), "all others are joined");
        }
        Err(error) => {
            assert_ne!(error.kind, TargetErrorKind::Unanswered);
            assert!(error.text.contains("gina"), "{error}");
            assert_eq!(now, before, "nothing was done");
        }
    }
    assert_eq!(calls, 1);
    for time in ["the first", "the second"] {
        let (came, calls) = join(&both).await;
        assert_eq!((came, calls), (Ok(vec![]), 1), "{time} time");
        let now = groups().await;
        assert!(now.contains(&one.id) && now.contains(&two.id));
    }
}

async fn all_accounts_are_listed_while_others_change_things(place: Place) {
    let (before, _) = place.accounts().await;
    let mut made = BTreeSet::new();
    for nth in 0..23 {
        made.insert(place.user(&format!("user-{nth:02}")).await.id);
    }
    place.cap_pages(10);
    let (mut seen, mut pages, mut cursor) = (BTreeSet::new(), 0, None);
    loop {
        let page = place.target.accounts(cursor.as_deref()).await.expect("a page");
        seen.extend(page.items.into_iter().map(|account| account.id));
        pages += 1;
        // A user is added meanwhile; no existing member may be missed because of it.
        place.user(&format!("late-{pages}")).await;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(pages >= 3, "{pages} pages");
    assert!(made.is_subset(&seen), "missed: {:?}", made.difference(&seen).collect::<Vec<_>>());
    assert!(before.iter().all(|account| seen.contains(&account.id)));
}

async fn all_members_are_listed_over_pages(place: Place) {
    let group = place.group("crowded").await;
    place.cap_pages(10);
    let mut members = BTreeSet::new();
    for nth in 0..23 {
        let account = place.user(&format!("member-{nth:02}")).await;
        place.join(&account, &group).await;
        members.insert(account.id);
    }
    assert_eq!(place.members(&group.id).await.expect("there"), members);
}

async fn special_characters_in_names_are_preserved(place: Place) {
    let can = &place.info.capabilities;
    for login in ["anna-lena.o_k", "jürgen", "zoë.müller", "o'brien", "a+b", "x@example.org", "田中"] {
        if login.contains(|c| can.login_forbids.contains(&c)) {
            continue;
        }
        let account = place.user(login).await;
        assert_eq!(account.name, place.written(login));
        let found = place.target.account_named(login).await.expect("a look");
        assert_eq!(found.map(|found| found.id), Some(account.id.clone()), "{login}");
        let group = place.group(&format!("of {login}")).await;
        place.twice(&join(&account, &group)).await;
        assert_eq!(place.members(&group.id).await.expect("there"), BTreeSet::from([account.id.clone()]));
        place.twice(&deactivate(&place.account(&account.id).await)).await;
    }
    let person = place.user("person").await;
    for name in ["a/b", "100%", "50%25", "c++", "say \"hi\"", "R&D", "two  spaces", "Ärzte", "semi;colon", "#1?"] {
        if name.contains(|c| can.group_forbids.contains(&c)) {
            continue;
        }
        let group = place.group(name).await;
        assert_eq!(group.name, can.group_case.written(name));
        place.twice(&join(&person, &group)).await;
        assert!(place.account(&person.id).await.groups.expect("told").contains(&group.id), "{name}");
        place.twice(&leave(&person, &group)).await;
        place.twice(&Operation::DeleteGroup { group: group.id.clone(), name: group.name.clone() }).await;
        assert_eq!(place.target.group_named(name).await.expect("a look"), None, "{name}");
    }
}

async fn administrators_are_protected(place: Place) {
    let Some(login) = place.administrator else { return assert!(place.info.signed_in_as != "admin") };
    let admin = place.target.account_named(login).await.expect("a look").expect("it is there");
    assert!(admin.protected.is_some(), "{admin:?}");
    for operation in [deactivate(&admin), delete(&admin)] {
        let error = place.apply(&operation).await.expect_err("the last administrator, or our own account");
        assert_eq!(error.kind, TargetErrorKind::Unsupported, "{error}");
    }
    assert!(place.account(&admin.id).await.active);
    let (listed, _) = place.accounts().await;
    assert!(listed.iter().any(|account| account.id == admin.id && account.protected.is_some()));
}

async fn usersyncs_own_account_is_listed(place: Place) {
    let own = place.target.own_account().await.expect("an answer");
    // An application, or a token's client, is not an account.
    assert_eq!(own.is_some(), ["jira", "confluence", "bitbucket"].contains(&place.target.kind()));
    let (listed, _) = place.accounts().await;
    assert!(own.is_none_or(|own| listed.iter().any(|account| account.id == own)));
}

async fn missing_accounts_and_groups_are_reported(place: Place) {
    let (made, group) = (place.user("gone").await, place.group("ghosts").await);
    if place.info.capabilities.delete {
        place.apply(&delete(&made)).await.expect("it goes");
        let update =
            Operation::UpdateUser { account: made.id.clone(), name: made.name.clone(), fields: fields("X", "x") };
        for operation in [update, activate(&made), join(&made, &group)] {
            let error = place.apply(&operation).await.expect_err("there is no such account");
            assert_ne!(error.kind, TargetErrorKind::Unanswered, "{operation}: {error}");
            assert!(error.text.contains("gone"), "it names the login: {error}");
        }
        // Memberships of a deleted account can be removed.
        place.apply(&leave(&made, &group)).await.expect("nobody to take out");
    }
    let person = place.user("lonely").await;
    place.apply(&Operation::DeleteGroup { group: group.id.clone(), name: group.name.clone() }).await.expect("it goes");
    let error = place.apply(&join(&person, &group)).await.expect_err("there is no such group");
    assert_ne!(error.kind, TargetErrorKind::Unanswered, "{error}");
    place.apply(&leave(&person, &group)).await.expect("nothing to leave");
}
