//! Causes an event that changes nothing, to check that events arrive.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::{
    Setup,
    present::{Raw, must_client, service_account, text},
};
use crate::keycloak::SourceError;

/// How to recognize the caused event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestEvent {
    /// The kind as decoded: `UPDATE USER`.
    pub kind: &'static str,
    /// Its path: `users/ID`.
    pub about: String,
    /// Time before the event was caused, by usersync's clock; the event is not older.
    pub caused_at: Timestamp,
}

impl Setup {
    /// Writes an unchanged representation: that of the client's service account user, which is in no target. For a
    /// client of another realm, it writes the realm's default role.
    pub async fn test_event(&self) -> Result<TestEvent, SourceError> {
        let (admin, realm) = (&self.admin, self.options.realm.as_str());
        let caused_at = Timestamp::now();
        if self.options.token_realm() == realm {
            let client = text(&must_client(admin, &self.options).await?, "id");
            if let Some(user) = service_account(admin, &self.options, &client).await? {
                let same: Raw = admin.get(realm, &["users", &user]).await?;
                admin.change(Method::PUT, realm, &["users", &user], Some(&Value::Object(same))).await?;
                return Ok(TestEvent { kind: "UPDATE USER", about: format!("users/{user}"), caused_at });
            }
        }
        let role = format!("default-roles-{}", realm.to_lowercase());
        let same: Raw = admin.get(realm, &["roles", &role]).await?;
        admin.change(Method::PUT, realm, &["roles", &role], Some(&Value::Object(same))).await?;
        Ok(TestEvent { kind: "UPDATE REALM_ROLE", about: format!("roles/{role}"), caused_at })
    }
}
