//! Runs through all operations, so that every deviation from the description occurs.

use usersync::targets::Target;
use usersync_simulators::bitbucket::{NewAccount, Permission};

use super::world::{client, create, create_group, join, leave, password, place, rename, settings, soon, writes};

#[tokio::test]
async fn all_requests_and_answers_keep_to_the_description_and_no_deviation_is_idle() {
    let place = place().await;
    place.target.probe().await.expect("an answer");
    for (operation, ..) in writes(&place) {
        // In this order some operations find their subject deleted.
        let _ = place.apply(&operation).await;
    }
    let (joe, eve) = (place.id("joe"), place.id("eve"));
    place.done(&super::world::deactivate(&eve, "eve", &["permission:LICENSED_USER"])).await;
    place.done(&super::world::activate(&eve, "eve", &["permission:LICENSED_USER", "group:gone"])).await;
    let _ = place.apply(&create("joe")).await;
    let _ = place.apply(&create(&"x".repeat(300))).await;
    let _ = place.apply(&rename(&joe, "joe", "eve")).await;
    let _ = place.apply(&create_group("Developers")).await;
    let _ = place.apply(&join("no such group", &joe, "joe")).await;
    place.server.set_unknown_is_404(true);
    place.server.set_strict_members(true);
    place.target.members(&"no such group".into(), None).await.expect("an answer");
    let _ = place.apply(&join("Developers", &joe, "joe")).await;
    let _ = place.apply(&leave("no such group", &joe, "joe")).await;
    // Renamed between the reads of the user and of its groups.
    place.server.freeze();
    place.server.rename_account("joe", "joseph");
    let earlier = usersync_simulators::Fault::stale(usersync_simulators::fault::Stale::Frozen);
    place.server.faults.add(earlier.path("filter=joe&").once());
    let _ = place.target.account_named("joe").await;
    place.server.faults.clear();

    place.server.set_directory_active(false);
    let _ = place.apply(&create("bob2")).await;
    place.server.add_account(NewAccount::named("minor"));
    place.server.set_user_permission("minor", Some(Permission::Admin));
    place.server.set_credentials("minor", "pw", "minor-token");
    let mut minor = settings(&place.server);
    minor.credentials = password("minor", "pw");
    let root = place.id("root");
    let minor = client(minor);
    let _ = minor.apply(&join("stash-admins", &joe, "joseph"), soon()).await;
    let _ = minor.apply(&super::world::update(&root, "root", super::world::fields("root")), soon()).await;
    minor.accounts(None).await.expect("a page");
    assert_eq!(place.keeps_to_the_description(), Vec::<String>::new(), "idle deviations");
}
