//! Changes while one side cannot reach the other.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    changes::{key, user},
    place::{Place, full_run},
};

/// A change while the listener is off has no event; the full reconcile finds it.
pub async fn deaf(place: &mut Place) {
    place.realm.listeners(&["jboss-logging"]).await;
    let kim = place.realm.post("users", &user("kim")).await;
    let group = place.realm.post("groups", &json!({"name": "kims"})).await;
    place.realm.put(&format!("users/{kim}/groups/{group}"), &Value::Null).await;
    let staff = place.realm.user("staff7").await;
    place.realm.delete(&format!("users/{staff}")).await;
    place.realm.listeners(&["jboss-logging", "usersync"]).await;
    place.quiet().await;
    assert!(place.jira.snapshot().account("kim").is_none(), "somebody told of kim");
    let store = Arc::clone(&place.stack().store);
    place.step("a full reconcile finds what nobody told", async |_| full_run(&store).await).await;
    let store = Arc::clone(&place.stack().store);
    place.idle_step("another full reconcile finds nothing", async |_| full_run(&store).await).await;
}

/// Changes while usersync is down arrive once it is up: the listener keeps the events and retries.
pub async fn away(place: &mut Place) {
    let lena = place.step("a user is made", async |realm| realm.post("users", &user("lena")).await).await;
    let account = key(place, "lena");
    place.stop().await;
    let path = format!("users/{lena}");
    place.realm.put(&path, &json!({"username": "leni"})).await;
    for number in 0..20 {
        place.realm.post("users", &user(&format!("meanwhile{number}"))).await;
    }
    let staff = place.realm.user("staff8").await;
    place.realm.delete(&format!("users/{staff}")).await;
    place.start().await;
    place.quiet().await;
    place.compare("what happened while usersync was away").await;
    assert_eq!(key(place, "leni"), account, "the account was renamed, not recreated");
}

/// usersync stops and starts while events stream in.
pub async fn coming_and_going(place: &mut Place) {
    let realm = Arc::clone(&place.realm);
    let changes = tokio::spawn(async move {
        for number in 0..60 {
            let id = realm.post("users", &user(&format!("stream{number}"))).await;
            let path = format!("users/{id}");
            realm.put(&path, &json!({"lastName": "Changed"})).await;
            if number % 4 == 0 {
                realm.put(&path, &json!({"enabled": false})).await;
            }
        }
    });
    for _ in 0..3 {
        sleep(Duration::from_millis(400)).await;
        place.stop().await;
        place.start().await;
    }
    changes.await.expect("all changes were made");
    place.quiet().await;
    place.compare("changes while usersync came and went").await;
}
