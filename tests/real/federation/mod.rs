//! Users from LDAP: what Keycloak answers in each state of a federation, the real one with a real LDAP server as the
//! simulated one.

mod facts;

use crate::support::keycloak::Keycloak;

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_federation_answers_as_the_real_one() {
    for imported in [true, false] {
        facts::run(Keycloak::simulator().await, imported, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_federation_answers_in_each_state() {
    for imported in [true, false] {
        let Some(keycloak) = Keycloak::real() else {
            eprintln!("NOT RUN: it needs a real Keycloak; name one in USERSYNC_TEST_KEYCLOAK_URL");
            return;
        };
        let old = keycloak.is_old().await;
        facts::run(keycloak, imported, old).await;
    }
}
