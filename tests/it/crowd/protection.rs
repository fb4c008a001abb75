//! Administrators, protected accounts, and the application, which is no account.

use usersync::targets::{Target, TargetErrorKind::Unsupported, crowd::CrowdTarget};
use usersync_simulators::crowd::NewCrowdUser;

use super::place::{Place, deactivate, delete, settings};

#[tokio::test]
async fn administrators_are_protected_through_groups_in_groups() {
    let place = Place::new().await;
    place.simulator.add_user(NewCrowdUser::named("root").in_groups(&["crowd-administrators"]));
    place.simulator.add_user(NewCrowdUser::named("inner").in_groups(&["Operators"]));
    place.simulator.add_user(NewCrowdUser::named("plain").in_groups(&["dev"]));
    place.simulator.nest("Operators", "Admins of all");
    place.simulator.nest("Admins of all", "crowd-administrators");
    for name in ["root", "inner"] {
        assert!(place.named(name).await.expect("there").protected.is_some(), "{name}");
    }
    assert_eq!(place.named("plain").await.expect("there").protected, None);
    for name in ["crowd-administrators", "admins OF all", "Operators"] {
        assert!(place.crowd.group_named(name).await.expect("a look").expect("there").protected.is_some(), "{name}");
    }
    assert_eq!(place.crowd.group_named("dev").await.expect("a look").expect("there").protected, None);
}

#[tokio::test]
async fn the_last_active_member_of_each_administrators_group_stays() {
    let place = Place::new().await;
    for (name, group) in
        [("one", "crowd-administrators"), ("two", "crowd-administrators"), ("jim", "jira-administrators")]
    {
        place.simulator.add_user(NewCrowdUser::named(name).in_groups(&[group]));
    }
    let (one, two) = (place.named("one").await.expect("there"), place.named("two").await.expect("there"));
    let jim = place.named("jim").await.expect("there");
    for operation in [deactivate(&jim), delete(&jim)] {
        let error = place.refused(&operation).await;
        assert!(error.kind == Unsupported && error.text.contains("last active administrator"), "{}", error.text);
    }
    place.done(&deactivate(&one)).await;
    assert_eq!(place.refused(&deactivate(&two)).await.kind, Unsupported);
    assert_eq!(place.refused(&delete(&two)).await.kind, Unsupported);
    place.done(&delete(&one)).await;
}

#[tokio::test]
async fn settings_protect_more() {
    let place = Place::new().await;
    place.simulator.add_user(NewCrowdUser::named("eve").in_groups(&["Board"]));
    place.simulator.add_user(NewCrowdUser::named("Ann"));
    let mut settings = settings(&place.simulator);
    settings.frozen_groups = vec!["board".to_owned(), "nowhere".to_owned()];
    settings.protected_users = vec!["ann".to_owned()];
    let crowd = CrowdTarget::new(settings).expect("good settings");
    for name in ["eve", "Ann"] {
        assert!(crowd.account_named(name).await.expect("a look").expect("there").protected.is_some(), "{name}");
    }
    assert!(crowd.group_named("Board").await.expect("a look").expect("there").protected.is_some());
}

#[tokio::test]
async fn an_account_named_as_the_application_is_not_protected() {
    let place = Place::new().await;
    let (application, _) = place.simulator.application();
    let namesake = place.create(application).await;
    assert_eq!(namesake.protected, None);
    let info = place.crowd.probe().await.expect("a first contact");
    assert_eq!(info.signed_in_as, "application usersync", "which planning takes for nobody's login");
    place.done(&deactivate(&namesake)).await;
    assert!(place.crowd.probe().await.is_ok());
}
