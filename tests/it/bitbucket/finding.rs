//! Finding an account by its id, which Bitbucket has no query for.

use usersync::targets::Target;
use usersync_simulators::{Fault, bitbucket::NewAccount};

use super::world::{client, not_done, place, settings};

#[tokio::test]
async fn an_id_that_was_never_seen_is_found_once_among_all_and_then_at_once() {
    let place = place().await;
    place.server.add_accounts((0..25).map(|at| NewAccount::named(format!("user{at:02}"))));
    place.server.set_page_cap(10);
    let id = place.id("user17");
    place.target.account_named("nobody").await.expect("an answer");
    place.server.journal.clear();
    let found = place.target.account(&id).await.expect("an answer").expect("there");
    assert_eq!(found.name, "user17");
    assert_eq!(place.server.journal.count("GET", "/admin/users?start"), 3, "30 users on pages of 10");
    place.server.journal.clear();
    for other in ["user17", "user03", "user24"] {
        let id = place.id(other);
        assert_eq!(place.target.account(&id).await.expect("an answer").expect("there").name, other);
    }
    assert_eq!(place.server.journal.count("GET", "/admin/users?start"), 0);
    assert_eq!(place.server.journal.count("GET", "/admin/users?filter"), 6, "groups are empty, so it is looked twice");
}

#[tokio::test]
async fn an_account_renamed_by_another_client_is_found_again() {
    let place = place().await;
    let (ada, joe) = (place.see("ada").await.id, place.see("joe").await.id);
    place.server.rename_account("ada", "tmp");
    place.server.rename_account("joe", "ada");
    place.server.rename_account("tmp", "joe");
    assert_eq!(place.target.account(&ada).await.expect("an answer").expect("there").name, "joe");
    assert_eq!(place.target.account(&joe).await.expect("an answer").expect("there").name, "ada");
    place.server.remove_account("joe");
    assert_eq!(place.target.account(&ada).await, Ok(None));
    assert_eq!(place.target.account(&"999999".into()).await, Ok(None));
    assert_eq!(place.target.account(&"no number".into()).await, Ok(None));
}

#[tokio::test]
async fn a_login_is_matched_whole_in_any_case_and_script() {
    let place = place().await;
    for name in ["ada.lovelace", "ÄDA", "x ada+y/z%25 \"q\" 'r'", "Łukasz"] {
        place.server.add_account(NewAccount::named(name).in_groups(&["stash-users"]));
    }
    for name in ["ADA", "äda", "X ADA+Y/Z%25 \"Q\" 'r'", "łUKASZ", "ada.LOVELACE"] {
        let account = place.see(name).await;
        assert_eq!(account.name.to_lowercase(), name.to_lowercase());
        assert!(account.active);
    }
    for nobody in ["ad", "da", "ada@example.org", "ada Example", ""] {
        assert_eq!(place.target.account_named(nobody).await, Ok(None), "{nobody:?}");
    }
    place.keeps_to_the_description();
}

#[tokio::test]
async fn short_pages_do_not_end_a_listing() {
    let place = place().await;
    place.server.add_accounts((0..25).map(|at| NewAccount::named(format!("user{at:02}")).in_groups(&["stash-users"])));
    place.server.set_page_cap(4);
    place.server.set_sparse(true);
    let account = place.see("user24").await;
    assert_eq!(place.target.account(&account.id).await.expect("an answer"), Some(account));
    assert!(place.target.group_named("stash-users").await.expect("an answer").is_some());
    assert_eq!(place.target.account_named("user25").await, Ok(None));
    place.keeps_to_the_description();
}

#[tokio::test]
async fn a_list_that_breaks_off_proves_nothing() {
    use usersync::model::ErrorClass::Unconfirmed;
    let place = place().await;
    place.see("ada").await;
    let page = |rest: &str| format!(r#"{{"size":0,"limit":1000,"start":0,"values":[]{rest}}}"#);
    for (rest, words) in [
        (r#","isLastPage":false"#, "more entries but no next page"),
        (r#","isLastPage":false,"nextPageStart":null"#, "more entries but no next page"),
        (r#","isLastPage":false,"nextPageStart":0"#, "was already read"),
    ] {
        let id = place.server.faults.add(Fault::status(200, page(rest)).path("/admin/users?"));
        let error = place.target.account(&"999".into()).await.expect_err("a doubt");
        assert_eq!(error.kind, not_done(Unconfirmed), "{}", error.text);
        assert!(error.text.contains(words), "{}", error.text);
        let listed = place.target.accounts(Some("0")).await.expect("a page");
        assert!(listed.incomplete.expect("a doubt").contains(words) && listed.next.is_none());
        place.server.faults.remove(id);
    }
    place
        .server
        .faults
        .add(Fault::status(200, page(r#","isLastPage":true,"nextPageStart":null"#)).path("/admin/users?"));
    assert_eq!(place.target.account(&"999".into()).await, Ok(None));
}

#[tokio::test]
async fn missing_and_unknown_fields_are_tolerated_or_not_confirmed() {
    use usersync::model::ErrorClass::Unconfirmed;
    let place = place().await;
    place.see("ada").await;
    for (user, good) in [
        (r#"{"id":7,"name":"zoe","active":true,"new":{"x":1},"links":{"self":[]}}"#, true),
        (r#"{"name":"zoe","active":true}"#, false),
        (r#"{"id":7,"active":true}"#, false),
        (r#"{"id":7,"name":"zoe"}"#, false),
        (r#"{"id":"seven","name":"zoe","active":true}"#, false),
        ("7", false),
        ("{}", false),
    ] {
        place.server.faults.clear();
        let page = format!(r#"{{"isLastPage":true,"values":[{user}],"more":1}}"#);
        place.server.faults.add(Fault::status(200, page).path("filter=zoe"));
        let got = place.target.account_named("zoe").await;
        if good {
            let account = got.expect("enough").expect("there");
            assert_eq!((account.display_name.as_str(), account.email, account.immutable), ("zoe", None, None));
        } else {
            assert_eq!(got.expect_err("too little").kind, not_done(Unconfirmed), "{user}");
        }
    }
}

#[tokio::test]
async fn a_user_renamed_during_the_read_keeps_the_groups() {
    use usersync::model::ErrorClass::Transient;
    let place = place().await;
    let ada = place.see("ada").await;
    let fresh = client(settings(&place.server));
    fresh.account_named("joe").await.expect("an answer");
    // The account is renamed between the reads of the user and of its groups: first an empty page, then no account has
    // the login.
    place.server.freeze();
    place.server.rename_account("ada", "ada.l");
    let earlier = usersync_simulators::fault::Stale::Frozen;
    place.server.faults.add(Fault::stale(earlier).path("filter=ada&").once());
    let error = fresh.account_named("ada").await.expect_err("unsteady");
    assert_eq!(error.kind, not_done(Transient), "{}", error.text);
    assert_eq!(fresh.account_named("ada.l").await.expect("an answer").expect("there").access, ada.access);
}
