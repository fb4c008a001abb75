//! Users from LDAP: what Keycloak answers in each state of a federation, the real one with a real LDAP server as the
//! simulated one.

mod facts;

use crate::support::keycloak::Keycloak;

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_federation_answers_as_the_real_one() {
    for imported in [true, false] {
        facts::run(Keycloak::simulator, imported).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_federation_answers_in_each_state() {
    if Keycloak::real().is_none() {
        eprintln!("NOT RUN: it needs a real Keycloak; name one in USERSYNC_TEST_KEYCLOAK_URL");
        return;
    }
    let real = async || Keycloak::real().expect("it is named");
    for imported in [true, false] {
        facts::run(real, imported).await;
    }
}
