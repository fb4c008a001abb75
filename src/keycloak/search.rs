//! Finding people by what other people call them.

use super::{KeycloakSource, SourceError, fault::Asked, wire::User};
use crate::model::UserId;

/// More than so many with one name are not told.
const MOST: usize = 20;

impl KeycloakSource {
    /// The users whose login or e-mail address is exactly this, without regard to case.
    pub async fn users_called(&self, name: &str) -> Result<Vec<UserId>, SourceError> {
        let mut found: Vec<UserId> = Vec::new();
        for field in ["username", "email"] {
            let query = [(field, name), ("exact", "true"), ("briefRepresentation", "true")];
            let page = self.page::<User>(Asked::Users, &["users"], &query, (0, MOST), None).await?;
            found.extend(page.iter().flatten().filter_map(|entry| entry.id().map(UserId::from)));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
