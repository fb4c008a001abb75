//! A change in a real Keycloak reaches Jira: real Keycloak, real listener, signed webhook, store, engine, simulated
//! Jira.
//!
//! `scripts/test` starts the Keycloak, and passes these realms and their ports to the listener.

mod binary;
mod changes;
mod compare;
mod keycloak;
mod latency;
mod outages;
mod place;
mod policy;

use keycloak::Server;
use place::Place;
use tokio::sync::Mutex;

/// Runs one test at a time: they share one Keycloak, and latencies are measured.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn every_change_in_keycloak_reaches_jira() {
    let _alone = ALONE.lock().await;
    let Some(mut place) = Place::prepare("e2e-changes", 0).await else { return };
    changes::users(&mut place).await;
    changes::groups(&mut place).await;
    changes::roles(&mut place).await;
    changes::self_service(&mut place).await;
    changes::organisations(&mut place).await;
    changes::imports(&mut place).await;
    changes::swaps(&mut place).await;
    place.leave().await;
}

#[tokio::test]
async fn nothing_is_lost_while_one_side_cannot_reach_the_other() {
    let _alone = ALONE.lock().await;
    let Some(mut place) = Place::prepare("e2e-outages", 1).await else { return };
    outages::deaf(&mut place).await;
    outages::away(&mut place).await;
    outages::coming_and_going(&mut place).await;
    place.leave().await;
}

#[tokio::test]
async fn the_binary_serves_once_its_first_run_is_approved() {
    let _alone = ALONE.lock().await;
    let Some(server) = Server::named() else { return };
    binary::serves_once_its_first_run_is_approved(&server, server.hook_port + 2).await;
}

#[tokio::test]
async fn a_policy_selects_users_and_a_changed_one_waits_for_approval() {
    let _alone = ALONE.lock().await;
    let Some(server) = Server::named() else { return };
    policy::selects_users_and_a_changed_one_waits_for_approval(&server, server.hook_port + 3).await;
}
