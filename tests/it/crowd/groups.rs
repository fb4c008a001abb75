//! Fields of a new group, and of an inactive one.

use usersync::targets::{Applied, Target};

use super::place::{Place, create_group, join, leave};

#[tokio::test]
async fn a_group_is_created_active_with_its_owner_in_the_description() {
    let place = Place::new().await;
    let made = place.apply(&create_group("Dev")).await.expect("made");
    let Applied::Group(made) = made else { panic!("{made:?}") };
    assert_eq!(place.crowd.group_named("dev").await.expect("a look"), Some(made));
    let sent = place.simulator.journal.matching(|entry| entry.method == "POST" && entry.path.ends_with("/group"));
    let sent = sent.last().expect("sent").json();
    assert_eq!(sent["description"], "Kept in sync with Keycloak by usersync");
    assert_eq!((sent["name"].as_str(), sent["active"].as_bool()), (Some("Dev"), Some(true)));
}

#[tokio::test]
async fn an_inactive_group_is_reported_as_such_and_its_members_can_be_written() {
    let place = Place::new().await;
    place.simulator.add_group("Dev");
    let ada = place.create("ada").await;
    let protected = async || place.crowd.group_named("dev").await.expect("a look").expect("there").protected;
    assert_eq!(protected().await, None);
    place.simulator.set_group_active("dev", false);
    let why = protected().await.expect("told");
    assert!(why.starts_with("inactive") && why.contains("activate it in Crowd"), "{why}");
    place.done(&join(&ada.id, "ada", "Dev")).await;
    assert!(place.simulator.snapshot().groups["Dev"].contains("ada"));
    place.done(&leave(&ada.id, "ada", "Dev")).await;
    place.simulator.set_group_active("dev", true);
    assert_eq!(protected().await, None);
}
