//! First contact.

use usersync::{
    model::ErrorClass::Unconfirmed,
    targets::{
        CaseRule, Deactivation, NoteState, Target,
        scim::{Habits, ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{Fault, ScimOptions};

use super::{
    operations::{lines, not_done},
    world::{World, settings},
};

#[tokio::test]
async fn a_server_is_reported_in_full() {
    let world = World::switched(|switches| switches.etag = true).await;
    let info = world.scim.probe().await.expect("a first contact");
    assert_eq!((info.identity.id.clone(), info.product.as_str()), (world.server.url(), "SCIM 2.0 server"));
    let can = &info.capabilities;
    assert!(can.list_all && can.rename && can.delete && can.reads_email && !can.email_required);
    assert_eq!((can.deactivate, can.login_case), (Deactivation::Switch, CaseRule::Insensitive));
    let ways = &lines(&info, "ways")[0].1;
    assert_eq!(ways, "changes by PATCH, looks up by filter, lists 200 at once by position, with versions (ETag)");
    assert!(lines(&info, "profile")[0].1.starts_with("generic"));
    assert!(lines(&info, "protected")[0].1.contains("frozen_groups"));
    for about in ["rights", "round trip"] {
        assert_eq!(lines(&info, about).first().map(|(state, _)| *state), Some(NoteState::Ok), "{about}");
    }
}

#[tokio::test]
async fn known_servers_are_recognized_by_their_address_unless_configured_otherwise() {
    let world = World::with(ScimOptions::keycloak()).await;
    let info = world.scim.probe().await.expect("a first contact");
    assert_eq!(info.product, "Keycloak's SCIM 2.0 server");
    assert_eq!(info.capabilities.login_case, CaseRule::Lower);
    assert!(lines(&info, "profile")[0].1.starts_with("keycloak, detected from the address"));
    let world = World::as_profile("atlassian-cloud", |_| {}).await;
    let info = world.scim.probe().await.expect("a first contact");
    assert!(info.capabilities.email_required && !info.capabilities.rename_group);
    assert_eq!(lines(&info, "profile")[0].1, "atlassian-cloud, as configured");
    assert!(lines(&info, "deleting")[0].1.contains("only a new record"));
    // Behind a proxy the URL does not identify the server, but its answers do.
    let world = World::switched(|switches| switches.own_base = Some("/realms/acme/scim/v2")).await;
    let info = world.scim.probe().await.expect("a first contact");
    let (state, text) = &lines(&info, "profile")[0];
    assert_eq!(*state, NoteState::No);
    assert!(text.starts_with("generic, detected from") && text.contains("set profile = \"keycloak\""), "{text}");
    let reported = ScimSettings { profile: Some("generic".into()), ..settings(&world.server) };
    let info = ScimTarget::new(reported).expect("good settings").probe().await.expect("a first contact");
    assert_eq!(lines(&info, "profile")[0].1, "generic, as configured");
    // Each habit individually, whatever the profile.
    let habits = Habits { rename_group: Some(true), email_required: Some(false), ..Habits::default() };
    let other = ScimSettings { profile: Some("atlassian-cloud".into()), habits, ..settings(&world.server) };
    let info = ScimTarget::new(other).expect("good settings").probe().await.expect("a first contact");
    assert!(!info.capabilities.email_required && info.capabilities.rename_group);
    let reported = "atlassian-cloud, as configured; changed by habits: rename_group, email_required";
    assert_eq!(lines(&info, "profile")[0].1, reported);
    let wrong = usersync::targets::scim::ScimSettings { profile: Some("okta".into()), ..settings(&world.server) };
    assert!(ScimTarget::new(wrong).err().expect("not known").text.contains("no profile okta"));
}

#[tokio::test]
async fn a_server_that_does_not_describe_itself_is_worked_with_as_usual() {
    let world = World::switched(|switches| switches.discovery_off = true).await;
    let info = world.scim.probe().await.expect("a first contact");
    assert!(lines(&info, "discovery")[0].1.contains("/ServiceProviderConfig, /ResourceTypes, /Schemas"));
    world.create("ada").await.expect("made");
    assert_eq!(world.account("ada").await.name, "ada");
}

#[tokio::test]
async fn an_address_without_a_scim_server_is_reported_with_the_remedy() {
    let world = World::as_profile("keycloak", |_| {}).await;
    world.server.faults.add(Fault::status(404, r#"{"error":"HTTP 404 Not Found"}"#));
    let error = world.scim.probe().await.expect_err("nothing there");
    assert_eq!(error.kind, not_done(Unconfirmed));
    assert!(error.text.contains("--features=scim-api"), "{error}");
    world.server.faults.clear();
    world.server.faults.add(Fault::html(200, "<html>Welcome</html>"));
    assert!(world.scim.probe().await.expect_err("a page").text.contains("an HTML page instead of JSON"));
}
