//! Causing an event that changes nothing, to see it arrive.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::{
    Setup,
    present::{Raw, must_client, service_account, text},
};
use crate::keycloak::SourceError;

/// How to recognise the event that was caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestEvent {
    /// As the decoder tells it: `UPDATE USER`.
    pub kind: &'static str,
    /// Its path: `users/ID`.
    pub about: String,
    /// It is not older than this, by our clock.
    pub caused_at: Timestamp,
}

impl Setup {
    /// Writes something as it is: the client's service account user, which no target ever sees; for a client of another
    /// realm, the role that the realm gives to everybody.
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
