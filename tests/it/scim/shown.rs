//! Servers that show fewer data than were written.

use usersync::{
    model::Operation,
    targets::{NoteState, Target},
};
use usersync_simulators::{
    ScimSwitches,
    scim::{Filters, NewAccount, Visibility},
};

use super::{operations::lines, world::World};

async fn three(work: impl FnOnce(&mut ScimSwitches)) -> World {
    let world = World::switched(work).await;
    for name in ["ada", "bob", "eve"] {
        world.server.add_account(NewAccount::named(name).in_groups(&["dev"]));
    }
    world
}

#[tokio::test]
async fn members_that_only_lists_show_are_read_there() {
    let world = three(|switches| {
        switches.members_told = Visibility::OnlyInLists;
        switches.groups_told = Visibility::Never;
    })
    .await;
    world.server.add_group("empty");
    let (members, incomplete) = world.members("dev").await;
    assert_eq!((members.len(), incomplete), (3, None));
    assert_eq!(world.members("empty").await.0.len(), 0);
    assert_eq!(world.groups_of("ada").await, vec![world.group("dev").await.id]);
    world.done(&world.leave("ada", "dev").await).await;
    assert_eq!(world.members("dev").await.0.len(), 2);
}

#[tokio::test]
async fn written_values_that_are_not_shown_are_not_confirmed_as_absent() {
    for reported in [Visibility::Empty, Visibility::Never] {
        let world = World::switched(|switches| {
            switches.members_told = reported;
            switches.groups_told = reported;
            switches.filters = Filters::Broken;
            switches.member_filters = Filters::Broken;
        })
        .await;
        world.done(&Operation::CreateGroup { name: "dev".into() }).await;
        world.create("ada").await.expect("made");
        let note = &lines(&world.scim.probe().await.expect("a contact"), "members")[0];
        assert!(note.0 == NoteState::Note && note.1.contains("no group shows members"), "{note:?}");
        world.done(&world.join("ada", "dev").await).await;
        assert_eq!(world.account("ada").await.groups, None, "{reported:?}: not told is not none");
        let (members, incomplete) = world.members("dev").await;
        assert!(members.is_empty() && incomplete.is_some_and(|why| why.contains("does not return")), "{reported:?}");
        let note = &lines(&world.scim.probe().await.expect("a contact"), "hidden members")[0];
        assert!(note.0 == NoteState::No && note.1.contains("does not return the members"), "{note:?}");
        // usersync's own records suffice to remove it.
        world.done(&world.leave("ada", "dev").await).await;
        assert!(world.inside("dev").is_empty(), "{reported:?}");
    }
}

#[tokio::test]
async fn a_refused_filter_is_replaced_by_a_listing() {
    let world = three(|switches| switches.filters = Filters::Broken).await;
    assert_eq!(world.account("ada").await.name, "ada");
    assert_eq!(world.scim.account_named("nobody").await, Ok(None));
    assert_eq!(world.group("dev").await.name, "dev");
    assert_eq!(world.scim.group_named("none").await, Ok(None));
}
