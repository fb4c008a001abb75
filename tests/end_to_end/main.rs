//! A change in a real Keycloak is in Jira: real Keycloak, real listener, signed webhook, store, engine, sandbox Jira.
//!
//! `scripts/test` starts the Keycloak. The listener is told of these realms, and of as many ports, when Keycloak starts.

mod changes;
mod compare;
mod keycloak;
mod latency;
mod place;

use place::Place;
use tokio::sync::Mutex;

/// One test at a time: they share one Keycloak, and latencies are measured.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn every_change_in_keycloak_reaches_jira() {
    let _alone = ALONE.lock().await;
    let Some(mut place) = Place::prepare("e2e-changes", 0).await else { return };
    changes::users(&mut place).await;
    place.leave().await;
}
