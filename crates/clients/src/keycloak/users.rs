//! Reads all users of the realm, and which of given users exist.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::{
    FullListing, KeycloakSource, SourceError,
    fault::Asked,
    pages::Paged,
    requests::Listing,
    requests::Query,
    source::OnProgress,
    wire::{Entry, User, is_service_account},
};
use crate::model::{IdSet, Packed, UserId, UserState};

/// Maximum number of times a listing is read while it is shorter than Keycloak's count.
const TRIES: usize = 2;

/// Number of pages read with one request: entries cannot shift within one request.
const PAGES_AT_ONCE: usize = 10;

/// Concurrent requests of one walk.
const SIDE_BY_SIDE: usize = 4;

/// A time in milliseconds, later than any user's creation.
const FAR_FUTURE: &str = "32503680000000";

/// A range of creation times in milliseconds, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: i64,
    /// End of the range; `None`: open.
    until: Option<i64>,
    /// Keycloak's count when the window was created.
    count: usize,
}

impl KeycloakSource {
    /// Reads all users, and again if Keycloak counts more than were read.
    pub(super) async fn walk_users(
        &self,
        progress: OnProgress<'_>,
    ) -> Result<FullListing<UserId, Packed<UserState>>, SourceError> {
        let mut paged = self.read_users(progress).await?;
        for _ in 1..TRIES {
            if paged.incomplete.is_none() || paged.failed > 0 {
                break;
            }
            let earlier = paged.pages;
            paged = self.read_users(progress).await?;
            paged.pages.add_earlier(&earlier);
        }
        Ok(FullListing {
            evidence: paged.evidence(),
            items: paged.items,
            unreadable: paged.unreadable.into_iter().map(|(id, odd)| (id.into(), odd)).collect(),
            incomplete: paged.incomplete,
        })
    }

    async fn read_users(&self, progress: OnProgress<'_>) -> Result<Paged<Packed<UserState>>, SourceError> {
        let before = self.counted_users(&[]).await?;
        let mut paged = match before {
            Some(count) if count > self.at_once() && self.narrows_by_creation().await => {
                self.users_by_creation(count, progress).await?
            }
            _ => self.listed_users(0, before, progress).await?,
        };
        let after = self.counted_users(&[]).await?;
        (paged.pages.count_before, paged.pages.count_after) = (before, after);
        // A token with too few rights sees an empty realm.
        if paged.is_empty() && (after != Some(0) || self.is_blind().await?) {
            let count = after.map_or("an unknown number".to_owned(), |count| count.to_string());
            return Err(self.unconfirmed(&format!(
                "the listing of users is empty, but Keycloak counts {count}: the role view-users is missing"
            )));
        }
        match before.zip(after) {
            None => paged.unconfirmed(|| "Keycloak's count of users is not a number".to_owned()),
            Some((before, after)) if paged.len() < before.min(after) => {
                let read = paged.len();
                paged.unconfirmed(|| format!("{read} users were read, but Keycloak counts {}", before.min(after)));
            }
            Some(_) => {}
        }
        Ok(paged)
    }

    async fn counted_users(&self, query: Query<'_>) -> Result<Option<usize>, SourceError> {
        self.count(Asked::Users, &["users", "count"], query).await
    }

    /// Number of users read with one request.
    fn at_once(&self) -> usize {
        self.settings.page.max(1) * PAGES_AT_ONCE
    }

    /// Reads the plain listing from this offset on.
    async fn listed_users(
        &self,
        from: usize,
        count: Option<usize>,
        progress: OnProgress<'_>,
    ) -> Result<Paged<Packed<UserState>>, SourceError> {
        let total = count.unwrap_or_default();
        let listing = self.user_listing(&[("briefRepresentation", "false")], from);
        Ok(self.pages(listing, &|read| progress(read, total)).await?.unwrap_or_default())
    }

    fn user_listing<'a>(&self, query: Query<'a>, from: usize) -> Listing<'a> {
        Listing { asked: Asked::Users, below: &["users"], query, from, max: self.at_once(), gone: None }
    }

    /// Whether this server filters users by creation time. Older servers ignore unknown parameters.
    async fn narrows_by_creation(&self) -> bool {
        matches!(self.counted_users(&[("createdAfter", FAR_FUTURE)]).await, Ok(Some(0)))
    }

    /// Reads users by windows of creation time, which do not shift when other users are created or deleted.
    async fn users_by_creation(
        &self,
        count: usize,
        progress: OnProgress<'_>,
    ) -> Result<Paged<Packed<UserState>>, SourceError> {
        // Users that Keycloak does not store are in no window; they follow at the end of the plain listing. They are
        // read first, because that makes Keycloak store the users that a federation imports.
        let mut all = self.listed_users(count.saturating_sub(self.settings.page), Some(count), progress).await?;
        let windows = self.windows().await?;
        let mut parts = stream::iter(windows).map(|window| self.users_in(window)).buffered(SIDE_BY_SIDE);
        while let Some(mut part) = parts.try_next().await? {
            part.items = part.items.iter().filter(|user| !is_service_account(&user.username)).collect();
            all.merge(part);
            progress(all.len(), count);
        }
        // Some users of old realms have no creation time.
        if self.counted_users(&[]).await?.is_none_or(|after| all.len() < after.min(count)) {
            all.merge(self.listed_users(0, Some(count), progress).await?);
        }
        Ok(all)
    }

    /// Splits the users into windows that one request can read; the last window is open.
    async fn windows(&self) -> Result<Vec<Window>, SourceError> {
        let now = Timestamp::now().as_millisecond();
        let all = Window { from: 0, until: None, count: 0 };
        let count = self.counted_in(all).await?.unwrap_or_default();
        let (mut windows, mut open) = (Vec::new(), vec![Window { count, ..all }]);
        while let Some(window) = open.pop() {
            let end = window.until.unwrap_or(now);
            if window.count <= self.at_once() || window.from >= end {
                windows.push(window);
                continue;
            }
            let middle = window.from + (end - window.from) / 2;
            let early = Window { until: Some(middle), ..window };
            let count = self.counted_in(early).await?.unwrap_or_default();
            open.push(Window { from: middle + 1, count: window.count.saturating_sub(count), ..window });
            if count > 0 {
                open.push(Window { count, ..early });
            }
        }
        Ok(windows)
    }

    async fn counted_in(&self, window: Window) -> Result<Option<usize>, SourceError> {
        let (from, until) = window.bounds();
        self.counted_users(&Window::query(&from, until.as_deref())).await
    }

    /// Reads the users of one window, and again if there are fewer than counted.
    async fn users_in(&self, window: Window) -> Result<Paged<Packed<UserState>>, SourceError> {
        let (from, until) = window.bounds();
        let mut query = Window::query(&from, until.as_deref());
        query.push(("briefRepresentation", "false"));
        let mut left = TRIES;
        let mut earlier = None;
        loop {
            left -= 1;
            let listing = self.user_listing(&query, 0);
            let mut paged: Paged<Packed<UserState>> = self.pages(listing, &|_| {}).await?.unwrap_or_default();
            if let Some(earlier) = &earlier {
                paged.pages.add_earlier(earlier);
            }
            let read = paged.len();
            let short =
                if read < window.count { self.counted_in(window).await?.filter(|count| read < *count) } else { None };
            match short {
                Some(_) if left > 0 => earlier = Some(paged.pages),
                Some(count) => {
                    paged.unconfirmed(|| {
                        format!("{read} users created from {from} ms on were read, but Keycloak counts {count}")
                    });
                    return Ok(paged);
                }
                None => return Ok(paged),
            }
        }
    }

    /// Returns which of these users exist, by one request. An id that contains a space cannot be requested this way.
    pub(super) async fn users_by_id(&self, ids: &[UserId]) -> Result<IdSet<UserId>, SourceError> {
        Ok(self.search_by_id(ids).await?.iter().filter_map(|entry| entry.id().map(UserId::from)).collect())
    }

    /// Reads these users in brief, by one request; those that do not exist are left out.
    pub(super) async fn search_by_id(&self, ids: &[UserId]) -> Result<Vec<Entry<User>>, SourceError> {
        let search = format!("id:{}", ids.iter().map(UserId::as_str).collect::<Vec<_>>().join(" "));
        let query = [("search", search.as_str()), ("briefRepresentation", "true")];
        Ok(self.page::<User>(Asked::Users, &["users"], &query, (0, ids.len() + 1), None).await?.unwrap_or_default())
    }
}

impl Window {
    fn bounds(self) -> (String, Option<String>) {
        (self.from.to_string(), self.until.map(|until| until.to_string()))
    }

    fn query<'a>(from: &'a str, until: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
        std::iter::once(("createdAfter", from)).chain(until.map(|until| ("createdBefore", until))).collect()
    }
}
