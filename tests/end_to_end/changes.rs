//! Every change that Keycloak knows, one after the other.

use serde_json::{Value, json};

use super::place::Place;

/// What makes a user.
fn user(login: &str) -> Value {
    json!({"username": login, "enabled": true, "firstName": login, "lastName": "Example",
        "email": format!("{login}@example.org")})
}

pub async fn users(place: &mut Place) {
    let alice = place.step("a user is made", async |realm| realm.post("users", &user("alice")).await).await;
    let path = format!("users/{alice}");
    place.step("a user is given another name", async |realm| realm.put(&path, &json!({"firstName": "Alicia"})).await).await;
}
