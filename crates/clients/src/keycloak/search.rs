//! Finds users by login or e-mail address.

use super::{KeycloakSource, SourceError, fault::Asked, wire::User};
use crate::model::UserId;

/// Maximum number of users read for each of login and e-mail address; further ones are not returned.
const MOST: usize = 20;

impl KeycloakSource {
    /// Returns the users with exactly this login or e-mail address, case-insensitive.
    pub async fn users_called(&self, name: &str) -> Result<Vec<UserId>, SourceError> {
        let mut found = self.users_by("username", name).await?;
        found.extend(self.users_by("email", name).await?);
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Returns the users with exactly this value of a field, case-insensitive.
    pub(super) async fn users_by(&self, field: &'static str, value: &str) -> Result<Vec<UserId>, SourceError> {
        let query = [(field, value), ("exact", "true"), ("briefRepresentation", "true")];
        let page = self.page::<User>(Asked::Users, &["users"], &query, (0, MOST), None).await?;
        Ok(page.iter().flatten().filter_map(|entry| entry.id().map(UserId::from)).collect())
    }
}
