//! Servers that word answers differently from the standard: missing resources, refused PATCH, versions, discovery, bulk
//! answers.

use usersync::{
    model::{ErrorClass, Operation, TargetGroupId},
    targets::{Applied, NoteState, Target, TargetErrorKind},
};
use usersync_simulators::{
    Fault,
    scim::{Filters, NewAccount, Visibility},
};

use super::{
    operations::{delete, lines, not_done, set_active, soon, update},
    world::{World, names},
};

#[tokio::test]
async fn a_servers_own_404_means_deleted() {
    let world = World::switched(|switches| switches.absent_page = true).await;
    let ada = world.create("ada").await.expect("created");
    world.create("bob").await.expect("created");
    world.server.remove_account("ada");
    assert_eq!(world.scim.account(&ada.id).await, Ok(None));
    world.done(&delete(&ada)).await;
    let gone = world.apply(&set_active(&ada, false)).await;
    assert!(gone.is_err(), "{gone:?}");
}

#[tokio::test]
async fn a_servers_own_404_for_a_renamed_group_means_deleted() {
    let world = World::switched(|switches| switches.absent_page = true).await;
    world.server.add_account(NewAccount::named("ada").in_groups(&["dev"]));
    let dev = world.group("dev").await;
    let rename =
        |id: &TargetGroupId| Operation::RenameGroup { group: id.clone(), name: "crew".into(), to: "ops".into() };
    let error = world.apply(&rename(&"no-such-group".into())).await.expect_err("gone");
    assert_eq!(error.kind, TargetErrorKind::NotFound, "{error}");
    // A proxy's page is not the server's own answer.
    world.server.faults.add(Fault::status(404, "<html>no such page</html>").method("PATCH"));
    for id in [&dev.id, &"no-such-group".into()] {
        let error = world.apply(&rename(id)).await.expect_err("not confirmed");
        assert_eq!(error.kind, not_done(ErrorClass::Unconfirmed), "{id}: {error}");
    }
    assert_eq!(world.inside("dev"), names(&["ada"]));
}

#[tokio::test]
async fn a_proxys_404_does_not_mean_deleted() {
    // The proxy answers for this account only: the server itself answers for an invented id.
    let world = World::switched(|_| {}).await;
    let ada = world.create("ada").await.expect("created");
    world.create("bob").await.expect("created");
    let page = || Fault::status(404, "<html>no such page</html>");
    world.server.faults.add(page().path(format!("/Users/{}", ada.id)));
    let error = world.scim.account(&ada.id).await.expect_err("not believed");
    assert_eq!(error.kind, not_done(ErrorClass::Unconfirmed), "{error}");
    // It answers for all accounts, but the list has this one.
    let world = World::switched(|_| {}).await;
    let ada = world.create("ada").await.expect("created");
    world.server.faults.add(page().path("/Users/"));
    let error = world.scim.account(&ada.id).await.expect_err("not believed");
    assert_eq!(error.kind, not_done(ErrorClass::Unconfirmed), "{error}");
    // An empty list is not trusted either.
    world.server.remove_account("ada");
    world.server.remove_account("bob");
    assert!(world.scim.account(&ada.id).await.is_err());
}

#[tokio::test]
async fn patch_refused_by_the_server_is_not_used_for_that_kind_until_the_next_probe() {
    let own = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"501","detail":"No PATCH."}"#;
    let world = World::switched(|_| {}).await;
    world.server.add_account(NewAccount::named("ada").in_groups(&["dev"]));
    world.server.add_account(NewAccount::named("bob"));
    let ada = world.account("ada").await;
    let refused = world.server.faults.add(Fault::status(501, own).method("PATCH").path("/Users/"));
    world.done(&update(&ada, Some("Ada One"), None)).await;
    world.done(&update(&ada, Some("Ada Two"), None)).await;
    assert_eq!(world.server.faults.hits(refused), 1, "not tried again");
    world.done(&world.join("bob", "dev").await).await;
    assert!(world.server.journal.count("PATCH", "/Groups") > 0, "groups are another kind");
    world.scim.probe().await.expect("a contact");
    world.done(&update(&ada, Some("Ada Three"), None)).await;
    assert_eq!(world.server.faults.hits(refused), 2);

    // A proxy's 405 affects one call.
    let world = World::switched(|_| {}).await;
    world.server.add_account(NewAccount::named("ada"));
    let ada = world.account("ada").await;
    world.server.faults.add(Fault::status(405, "<html>blocked</html>").method("PATCH").path("/Users/").once());
    world.done(&update(&ada, Some("Ada One"), None)).await;
    assert_eq!(world.server.journal.count("PUT", "/Users"), 1);
    world.done(&update(&ada, Some("Ada Two"), None)).await;
    assert_eq!(world.server.journal.count("PUT", "/Users"), 1);
}

#[tokio::test]
async fn a_version_is_sent_where_it_can_be_compared() {
    for (etag, weak, sent) in [(true, false, true), (true, true, false), (false, false, false)] {
        let world = World::switched(|switches| {
            (switches.patch, switches.patch_announced) = (false, false);
            (switches.etag, switches.etag_weak) = (etag, weak);
        })
        .await;
        world.server.add_account(NewAccount::named("ada"));
        let ada = world.account("ada").await;
        world.done(&update(&ada, Some("Ada One"), None)).await;
        let writes = world.server.journal.writes();
        let versions = writes.iter().filter(|write| write.header("if-match").is_some()).count();
        assert_eq!(versions > 0, sent, "{etag} {weak}");
    }
    // A server that refuses its own version is not asked to compare it forever.
    let world = World::switched(|switches| {
        (switches.patch, switches.patch_announced, switches.etag) = (false, false, true);
    })
    .await;
    world.server.add_account(NewAccount::named("ada"));
    let ada = world.account("ada").await;
    world.server.faults.add(Fault::status(412, "").method("PUT").once());
    world.done(&update(&ada, Some("Ada One"), None)).await;
    let writes = world.server.journal.writes();
    assert!(writes.last().is_some_and(|last| last.header("if-match").is_none()), "{writes:?}");
}

#[tokio::test]
async fn discovery_of_another_form_is_a_note() {
    for (status, body) in
        [(401, ""), (503, "later"), (500, ""), (200, "<html>sign in</html>"), (200, "[]"), (200, "7"), (405, "")]
    {
        let world = World::switched(|_| {}).await;
        for path in ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"] {
            world.server.faults.add(Fault::status(status, body).path(path));
        }
        let info = world.scim.probe().await.unwrap_or_else(|error| panic!("{status} {body}: {error}"));
        assert!(!lines(&info, "discovery").is_empty() || body == "[]", "{status} {body}: {:?}", info.notes);
        world.create("ada").await.expect("created");
    }
    // A bare list of types and schemas is accepted.
    let world = World::switched(|_| {}).await;
    let types = r#"[{"schema":"urn:ietf:params:scim:schemas:core:2.0:User","endpoint":"/Users"}]"#;
    world.server.faults.add(Fault::status(200, types).path("/ResourceTypes"));
    let info = world.scim.probe().await.expect("a contact");
    assert!(lines(&info, "cannot").iter().any(|(_, text)| text.contains("this server has none")), "{:?}", info.notes);
    // If accounts refuse the credentials too, they are refused.
    let world = World::switched(|_| {}).await;
    world.server.set_token("another");
    assert_eq!(world.scim.probe().await.expect_err("refused").kind, not_done(ErrorClass::Credentials));
}

#[tokio::test]
async fn refused_pages_after_the_first_are_a_note_if_the_listing_is_complete() {
    let world = World::switched(|switches| switches.one_page = true).await;
    for name in ["ada", "bob", "eve"] {
        world.server.add_account(NewAccount::named(name));
    }
    let (listed, unconfirmed) = world.list().await;
    assert_eq!((listed.len(), unconfirmed.len()), (3, 0), "{unconfirmed:?}");
    let info = world.scim.probe().await.expect("a contact");
    assert_eq!(lines(&info, "pages")[0].0, NoteState::Note, "{:?}", info.notes);
    world.server.switch(|switches| switches.page_cap = 2);
    assert!(world.scim.accounts(Some("2:3:x")).await.is_err(), "who is missing is missing");
}

#[tokio::test]
async fn bulk_answers_are_matched_in_any_order() {
    for reversed in [false, true] {
        let world = World::switched(|switches| switches.bulk_reversed = reversed).await;
        world.server.add_account(NewAccount::named("ada").in_groups(&["one"]));
        world.server.add_account(NewAccount::named("bob").in_groups(&["two"]));
        let bob = world.account("bob").await;
        let (one, gone) = (world.group("one").await.id, TargetGroupId::from("gone"));
        let groups = [(&one, "one"), (&gone, "old crew")];
        let refused = world.scim.add_to_groups(&bob.id, &bob.name, &groups, soon()).await;
        assert_eq!(refused, Ok(vec![gone.clone()]), "{reversed}");
        assert_eq!(world.inside("one"), names(&["ada", "bob"]));
    }
}

#[tokio::test]
async fn a_reason_is_quoted_from_any_field() {
    for body in [
        r#"{"Errors":[{"description":"no seat for ada"}]}"#,
        r#"{"error":{"message":"no seat for ada"}}"#,
        r#"{"message":"no seat for ada"}"#,
        "no seat for ada",
    ] {
        let world = World::switched(|switches| switches.member_filters = Filters::Broken).await;
        world.server.faults.add(Fault::status(403, body).method("POST").path("/Users"));
        let error = world.create("ada").await.expect_err("refused");
        assert!(error.text.contains("no seat for ada"), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_deactivation_that_is_answered_without_the_account_is_read_back() {
    let world = World::switched(|switches| {
        switches.patch_returns_resource = false;
        switches.groups_told = Visibility::Never;
    })
    .await;
    let ada = world.create("ada").await.expect("created");
    let (came, calls) = world.calls(world.apply(&set_active(&ada, false))).await;
    assert_eq!((came, calls), (Ok(Applied::Done), 2));
    assert!(!world.account("ada").await.active);
}
