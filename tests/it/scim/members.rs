//! Memberships, on servers with different behaviour.

use usersync::{
    model::{Operation, TargetGroupId},
    targets::{
        Target,
        TargetErrorKind::{Unanswered, Unsupported},
    },
};
use usersync_simulators::{
    Fault,
    scim::{Filters, MemberRemoval, NewAccount, Visibility},
};

use super::{
    operations::{delete_group, soon},
    world::{World, names},
};

/// Starts a server with a group of three members.
async fn three(profile: &str, work: impl FnOnce(&mut usersync_simulators::ScimSwitches)) -> World {
    let world = World::as_profile(profile, work).await;
    for name in ["ada", "bob", "eve"] {
        world.server.add_account(NewAccount::named(name).in_groups(&["dev"]));
    }
    world
}

#[tokio::test]
async fn one_member_is_removed_whatever_form_the_server_accepts() {
    // Without filter support the group is replaced as a whole: a value might remove all members.
    for (removal, puts) in [(MemberRemoval::Strict, 0), (MemberRemoval::Filter, 0), (MemberRemoval::Value, 1)] {
        for tells in [true, false] {
            let world = three("generic", |switches| {
                switches.member_removal = removal;
                switches.patch_returns_resource = tells;
            })
            .await;
            let leave = world.leave("bob", "dev").await;
            world.done(&leave).await;
            assert_eq!(world.inside("dev"), names(&["ada", "eve"]), "{removal:?}");
            assert_eq!(world.server.journal.count("PATCH", "/Groups"), 1, "{removal:?}");
            assert_eq!(world.server.journal.count("PUT", "/Groups"), puts, "{removal:?}");
            world.done(&leave).await;
            world.done(&world.leave("ada", "dev").await).await;
            assert_eq!(world.inside("dev"), names(&["eve"]), "{removal:?}");
        }
    }
}

#[tokio::test]
async fn a_removal_that_would_remove_all_members_is_never_sent() {
    let world = three("generic", |switches| switches.member_removal = MemberRemoval::ValueRemovesAll).await;
    for (login, left) in [("bob", vec!["ada", "eve"]), ("ada", vec!["eve"]), ("eve", vec![])] {
        world.done(&world.leave(login, "dev").await).await;
        assert_eq!(world.inside("dev"), names(&left), "as wished, and nobody else is gone");
    }
}

#[tokio::test]
async fn a_removal_that_does_nothing_is_noticed() {
    // A profile with the wrong form.
    let world = three("atlassian-cloud", |switches| switches.member_removal = MemberRemoval::FilterElseNothing).await;
    let error = world.apply(&world.leave("bob", "dev").await).await.expect_err("ignored");
    assert_eq!(error.kind, Unsupported);
    assert!(error.text.contains("still a member"), "{error}");
}

#[tokio::test]
async fn without_patch_a_group_is_written_back_whole() {
    for reported in [Visibility::Always, Visibility::OnRequest] {
        let world = three("generic", |switches| {
            switches.patch = false;
            switches.patch_announced = false;
            switches.etag = true;
            switches.members_told = reported;
        })
        .await;
        world.server.add_account(NewAccount::named("new"));
        let join = world.join("new", "dev").await;
        world.done(&join).await;
        world.done(&join).await;
        world.done(&world.leave("bob", "dev").await).await;
        assert_eq!(world.inside("dev"), names(&["ada", "eve", "new"]), "{reported:?}");
        assert_eq!(world.server.journal.count("PUT", "/Groups"), 2, "the second join had nothing to write");
        // Concurrent writes do not overwrite each other.
        for nth in 0..6 {
            world.server.add_account(NewAccount::named(format!("at-once-{nth}")));
        }
        let mut adds = Vec::new();
        for nth in 0..6 {
            adds.push(world.join(&format!("at-once-{nth}"), "dev").await);
        }
        let all = futures::future::join_all(adds.iter().map(|join| world.apply(join))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert_eq!(world.inside("dev").len(), 9);
    }
}

#[tokio::test]
async fn an_accounts_groups_are_found_however_little_is_shown() {
    for groups_told in [Visibility::Always, Visibility::NotInLists, Visibility::OnRequest, Visibility::Never] {
        for member_filters in [Filters::On, Filters::Off, Filters::Ignored, Filters::Empty] {
            let world = three("generic", |switches| {
                switches.groups_told = groups_told;
                switches.members_told = Visibility::NotInLists;
                switches.member_filters = member_filters;
            })
            .await;
            world.server.add_account(NewAccount::named("lone"));
            world.server.add_group("empty");
            let dev = world.group("dev").await.id;
            for (name, groups) in [("lone", vec![]), ("bob", vec![dev]), ("lone", vec![])] {
                assert_eq!(world.groups_of(name).await, groups, "{name} {groups_told:?} {member_filters:?}");
            }
        }
    }
}

#[tokio::test]
async fn members_are_requested_if_necessary_and_incomplete_if_they_are_hidden() {
    for reported in [Visibility::Always, Visibility::NotInLists, Visibility::OnRequest] {
        let world = three("generic", |switches| switches.members_told = reported).await;
        world.server.add_group("empty");
        let (members, incomplete) = world.members("dev").await;
        assert_eq!((members.len(), incomplete), (3, None), "{reported:?}");
        assert_eq!(world.members("empty").await, (std::collections::BTreeSet::new(), None), "{reported:?}");
    }
    let world = three("generic", |switches| switches.members_told = Visibility::Never).await;
    world.server.add_group("empty");
    let (members, incomplete) = world.members("dev").await;
    assert!(members.is_empty());
    assert!(incomplete.expect("a doubt").contains("but an account lists it"));
    assert_eq!(world.members("empty").await.1, None);
}

#[tokio::test]
async fn groups_of_one_name_are_distinguished_or_not_confirmed() {
    let world = World::as_profile("keycloak", |switches| switches.group_unique = false).await;
    for name in ["Dev", "DEV"] {
        world.done(&Operation::CreateGroup { name: name.to_owned() }).await;
    }
    assert_ne!(world.group("Dev").await.id, world.group("DEV").await.id);
    assert_eq!(world.scim.group_named("dev").await, Ok(None), "names mind case there");
    // If names are case-insensitive, the exact spelling decides, and none is guessed.
    let world = World::switched(|switches| switches.group_unique = false).await;
    for name in ["Dev", "DEV"] {
        world.server.add_group(name);
    }
    assert_eq!(world.group("Dev").await.name, "Dev");
    assert!(world.scim.group_named("dev").await.expect_err("which").text.contains("several groups"));
    // If two groups could have one name, a second is not created.
    let again = world.apply(&Operation::CreateGroup { name: "Dev".to_owned() }).await.expect_err("taken");
    assert_eq!(again.kind, usersync::targets::TargetErrorKind::NameTaken);
    let gone = world.group("DEV").await;
    world.done(&delete_group(&gone.id, "DEV")).await;
    world.done(&delete_group(&gone.id, "DEV")).await;
}

#[tokio::test]
async fn a_server_without_groups_is_reported() {
    let world = World::switched(|switches| switches.no_groups = true).await;
    let ada = world.create("ada").await.expect("made");
    assert_eq!(world.scim.group_named("dev").await, Ok(None));
    assert_eq!(world.account("ada").await.groups, Some(Vec::new()));
    let join = Operation::AddMember { group: "g".into(), group_name: "dev".into(), account: ada.id, name: ada.name };
    for operation in [Operation::CreateGroup { name: "dev".into() }, join] {
        let error = world.apply(&operation).await.expect_err("no groups");
        assert_eq!(error.kind, Unsupported);
        assert!(error.text.contains("has no groups"), "{error}");
    }
}

#[tokio::test]
async fn a_member_is_added_to_several_groups_in_bulk_and_refusals_are_named() {
    let world = World::switched(|_| {}).await;
    assert_eq!(world.scim.probe().await.expect("a first contact").capabilities.groups_at_once, 100);
    world.server.add_account(NewAccount::named("ada").in_groups(&["one"]));
    world.server.add_account(NewAccount::named("bob").in_groups(&["two"]));
    let ada = world.account("ada").await;
    let (one, two) = (world.group("one").await.id, world.group("two").await.id);
    let gone = "gone".into();
    let join =
        async |groups: &[(&TargetGroupId, &str)]| world.scim.add_to_groups(&ada.id, &ada.name, groups, soon()).await;
    assert_eq!(join(&[(&one, "one"), (&gone, "old crew"), (&two, "two")]).await, Ok(vec![gone.clone()]));
    assert!(world.inside("two").contains("ada"), "the others are done all the same");
    assert_eq!(join(&[(&one, "one"), (&two, "two")]).await, Ok(vec![]));
    assert_eq!(world.server.journal.count("POST", "/Bulk"), 2);
    assert_eq!(world.server.journal.count("PATCH", "/Groups"), 0);

    // Whether it took effect is unknown.
    for fault in [Fault::cut_after(), Fault::truncate(30), Fault::status(200, "{}"), Fault::status(500, "")] {
        world.server.faults.add(fault.path("/Bulk").once());
        assert_eq!(join(&[(&one, "one"), (&two, "two")]).await.expect_err("no whole answer").kind, Unanswered);
    }
}

#[tokio::test]
async fn a_server_that_refuses_bulk_gets_one_bulk_request() {
    let world = World::switched(|_| {}).await;
    world.server.add_account(NewAccount::named("ada").in_groups(&["one", "two"]));
    let ada = world.account("ada").await;
    let (one, two) = (world.group("one").await.id, world.group("two").await.id);
    let groups = [(&one, "one"), (&two, "two")];
    let refusal = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"501","detail":"No."}"#;
    world.server.faults.add(Fault::status(501, refusal).path("/Bulk"));
    for _ in 0..2 {
        let error = world.scim.add_to_groups(&ada.id, &ada.name, &groups, soon()).await.expect_err("not by one call");
        assert_eq!(error.kind, Unsupported);
    }
    assert_eq!(world.server.journal.count("POST", "/Bulk"), 1);
    assert_eq!(world.scim.probe().await.expect("a contact").capabilities.groups_at_once, 1);

    let none = World::switched(|switches| switches.bulk = 0).await;
    assert_eq!(none.scim.probe().await.expect("a first contact").capabilities.groups_at_once, 1);
    let few = World::switched(|switches| switches.bulk = 1).await;
    assert_eq!(few.scim.probe().await.expect("a first contact").capabilities.groups_at_once, 1);
}
