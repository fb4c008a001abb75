//! All users of the realm.

use super::{
    KeycloakSource, SourceError, Walked,
    fault::Asked,
    pages::{Listing, Paged},
    source::OnProgress,
    wire::User,
};
use crate::model::{UserId, UserState};

/// How often a listing that is shorter than Keycloak counts is read.
const TRIES: usize = 2;

/// Pages whose users are read with one request: what one request reads cannot shift.
const PAGES_AT_ONCE: usize = 10;

impl KeycloakSource {
    /// Reads all users; again where Keycloak counts more than were read.
    pub(super) async fn walk_users(&self, progress: OnProgress<'_>) -> Result<Walked<UserId, UserState>, SourceError> {
        let mut paged = self.read_users(progress).await?;
        for _ in 1..TRIES {
            if paged.incomplete.is_none() {
                break;
            }
            paged = self.read_users(progress).await?;
        }
        Ok(Walked {
            items: paged.items.into_iter().map(|user| user.with_groups(Vec::new())).collect(),
            unreadable: paged.unreadable.into_iter().map(|(id, odd)| (id.into(), odd)).collect(),
            incomplete: paged.incomplete,
        })
    }

    async fn read_users(&self, progress: OnProgress<'_>) -> Result<Paged<User>, SourceError> {
        let before = self.counted_users(&[]).await?;
        let mut paged = self.listed_users(before, progress).await?;
        let after = self.counted_users(&[]).await?;
        // Too few rights look like an empty realm.
        if paged.is_empty() && (after != Some(0) || self.is_blind().await?) {
            let count = after.map_or("an unknown number".to_owned(), |count| count.to_string());
            return Err(self.doubt(&format!(
                "the listing of users is empty, but Keycloak counts {count}: the role view-users is missing"
            )));
        }
        let read = paged.len();
        match before.zip(after).map(|(before, after)| before.min(after)) {
            None => paged.doubt(|| "Keycloak's count of users is no number".to_owned()),
            Some(count) if read < count => {
                paged.doubt(|| format!("{read} users were read, but Keycloak counts {count}"));
            }
            Some(_) => {}
        }
        Ok(paged)
    }

    pub(super) async fn counted_users(&self, query: super::client::Query<'_>) -> Result<Option<usize>, SourceError> {
        self.count(Asked::Users, &["users", "count"], query).await
    }

    /// The plain listing from its beginning.
    async fn listed_users(&self, count: Option<usize>, progress: OnProgress<'_>) -> Result<Paged<User>, SourceError> {
        let total = count.unwrap_or_default();
        let listing = self.user_listing(&[("briefRepresentation", "false")], 0);
        Ok(self.pages(listing, &|read| progress(read, total)).await?.unwrap_or_default())
    }

    fn user_listing<'a>(&self, query: super::client::Query<'a>, from: usize) -> Listing<'a> {
        let max = self.settings.page.max(1) * PAGES_AT_ONCE;
        Listing { asked: Asked::Users, below: &["users"], query, from, max, gone: None }
    }
}
