//! Members of organizations, read from a real Keycloak.

use std::collections::BTreeSet;

use serde_json::json;
use usersync::{
    keycloak::{KeycloakSource, OrganizationMembers, Source as _, setup::SetupOptions},
    model::{ErrorClass, NewEvent, OrganizationName, Subject, UserId, Uses},
    targets::NoteState,
};

use super::{options, set_up, source};
use crate::support::realm::Realm;

fn named(names: &[&str]) -> BTreeSet<OrganizationName> {
    names.iter().map(|name| (*name).to_owned().try_into().unwrap()).collect()
}

/// Returns the members that were read, and why others may be missing.
async fn read(source: &KeycloakSource, name: &str) -> (usize, Option<String>) {
    let OrganizationMembers { held, unread, .. } = source.organization_members(&named(&[name])).await.unwrap();
    let why = unread.values().next().map(|unread| unread.why().to_owned());
    (held.values().map(|members| members.users.len()).sum(), why)
}

async fn events(source: &KeycloakSource, realm: &Realm) -> Vec<NewEvent> {
    let from = source.time().await.unwrap() - jiff::SignedDuration::from_mins(5);
    let uses = Uses { organizations: true, ..Uses::default() };
    let page = source.stored_events(usersync::model::EventLog::Admin, from, uses).await;
    page.unwrap_or_else(|error| panic!("{}: {error}", realm.name)).events
}

#[tokio::test]
async fn members_of_organizations_are_read_and_a_missing_right_is_reported() {
    let Some(realm) = Realm::new("organizations").await else { return };
    // Before 26.7 there is no such role.
    let rights = realm.get("clients?clientId=realm-management").await[0]["id"].as_str().unwrap().to_owned();
    let old = !realm.get(&format!("clients/{rights}/roles")).await.to_string().contains("view-organizations");
    let (_, secret) = set_up(SetupOptions { view_organizations: !old, ..options(&realm) }).await;
    if old {
        realm.roles("usersync", "POST", &["manage-realm"]).await;
    }
    // Pages of 3, so that members are read in several.
    let source = source(&realm, None, "usersync", &secret, 3);
    let off = "organizations are turned off in this realm";
    assert!(read(&source, "acme").await.1.unwrap().contains(off));
    realm.change(&json!({"organizationsEnabled": true})).await;
    assert!(read(&source, "acme").await.1.unwrap().contains("The realm has no organization."));
    let made = json!({"name": "Acme Inc", "alias": "acme", "domains": [{"name": "acme.example"}]});
    let acme = realm.post("organizations", &made).await;
    let (mut users, members) = (Vec::new(), format!("organizations/{acme}/members"));
    for number in 0..14 {
        let user = realm.post("users", &json!({"username": format!("user{number:02}"), "enabled": true})).await;
        if number < 12 {
            realm.post(&members, &json!(user)).await;
        }
        users.push(UserId::from(user.as_str()));
    }
    for name in ["acme", "Acme Inc"] {
        assert_eq!(read(&source, name).await, (12, None), "{name}");
        for (user, member) in [(&users[0], true), (&users[13], false)] {
            let own = source.organizations_of(user, &named(&[name])).await.unwrap();
            assert_eq!((own.held.len(), own.unread.is_some()), (usize::from(member), false), "{name}");
        }
    }
    let similar = read(&source, "acne").await.1.unwrap();
    assert!(similar.contains("A similar organization is Acme Inc (alias acme)."), "{similar}");
    let own = source.organizations_of(&users[13], &named(&["acne"])).await.unwrap();
    assert!(own.unread.is_some_and(|unread| unread.values().all(|unread| unread.why() == similar)));
    let gone = source.organizations_of(&"nobody".into(), &named(&["acme"])).await.unwrap_err();
    assert_eq!(gone.class, ErrorClass::Transient, "{gone}");
    let found = source.diagnose(&BTreeSet::new(), &named(&["acme"])).await;
    let note = found.notes.iter().find(|note| note.about == "organizations").unwrap();
    assert_eq!((note.state, note.text.as_str()), (NoteState::Ok, "1 organization of the policy, with their members"));

    realm.delete(&format!("{members}/{}", users[0])).await;
    if old {
        realm.roles("usersync", "DELETE", &["manage-realm"]).await;
    } else {
        let events = events(&source, &realm).await;
        let hints: Vec<Subject> = events.iter().flat_map(|event| event.hints.clone()).collect();
        assert!(hints.contains(&Subject::User(UserId::of_login("user11"))), "{hints:?}");
        let left = events.iter().find(|event| event.kind == "DELETE ORGANIZATION_MEMBERSHIP").unwrap();
        assert_eq!((left.hints.as_slice(), left.may_remove), (&[Subject::User(users[0].clone())][..], true));
        let made = events.iter().find(|event| event.kind == "CREATE ORGANIZATION").unwrap();
        assert!(made.wants_run);
        // With `query-organizations`, every list is empty: that proves nothing.
        realm.roles("usersync", "DELETE", &["view-organizations"]).await;
        realm.roles("usersync", "POST", &["query-organizations"]).await;
    }
    let weak = super::source(&realm, None, "usersync", &secret, 500);
    let right = "lacks the role view-organizations (before Keycloak 26.7: manage-realm)";
    assert!(read(&weak, "acme").await.1.unwrap().contains(right));
    let own = weak.organizations_of(&users[13], &named(&["acme"])).await.unwrap();
    assert!(own.unread.is_some_and(|unread| unread.values().all(|unread| unread.why().contains(right))));
    let found = weak.diagnose(&BTreeSet::new(), &named(&["acme"])).await;
    let note = found.notes.iter().find(|note| note.about == "organizations").unwrap();
    assert!(note.state == NoteState::No && note.text.contains(right), "{note:?}");
    realm.remove().await;
}
