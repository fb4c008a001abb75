//! Users from LDAP: what Keycloak answers in each state of a federation, the real one with a real LDAP server as the
//! simulated one; and that usersync removes nobody whom Keycloak does not show because of it.

mod facts;
mod whole_way;

use tokio::sync::Mutex;

use crate::support::keycloak::Keycloak;

/// Runs one test at a time on the real Keycloak: its cache is cleared for all realms.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_federation_answers_as_the_real_one() {
    for imported in [true, false] {
        facts::run(Keycloak::simulator().await, imported, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_federation_answers_in_each_state() {
    let _alone = ALONE.lock().await;
    for imported in [true, false] {
        let Some(keycloak) = Keycloak::real() else {
            eprintln!("NOT RUN: it needs a real Keycloak; name one in USERSYNC_TEST_KEYCLOAK_URL");
            return;
        };
        let old = keycloak.is_old().await;
        facts::run(keycloak, imported, old).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_removed_while_ldap_cannot_be_asked_and_real_leavers_are() {
    let _alone = ALONE.lock().await;
    for imported in [true, false] {
        let Some(keycloak) = Keycloak::real() else {
            eprintln!("NOT RUN: it needs a real Keycloak; name one in USERSYNC_TEST_KEYCLOAK_URL");
            return;
        };
        // In an outage, Keycloak 26.0 refuses even changes of local users.
        if keycloak.is_old().await {
            return;
        }
        whole_way::run(keycloak, imported).await;
    }
}
