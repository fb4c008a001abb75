//! Confluence's JSON. Every field may be missing; unknown fields are ignored.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::targets::rest::lenient::{Entries, maybe};

/// A user, as in `GET /user`, listings and member lists.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    /// `known`; `unknown` for the remains of a deleted user; `anonymous` for the anonymous user.
    #[serde(rename = "type", default, deserialize_with = "maybe")]
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub username: Option<String>,
    #[serde(rename = "userKey", default, deserialize_with = "maybe")]
    pub key: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub display_name: Option<String>,
    /// Returned only with `expand=status`.
    #[serde(default, deserialize_with = "maybe")]
    pub status: Option<String>,
}

impl User {
    /// Whether the user may sign in; `None`: not reported.
    pub(super) fn active(&self) -> Option<bool> {
        match self.status.as_deref()?.to_ascii_lowercase().as_str() {
            "current" | "active" => Some(true),
            "deactivated" | "inactive" | "disabled" => Some(false),
            _ => None,
        }
    }

    /// Whether Confluence still knows the user.
    pub(super) fn known(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "known")
    }
}

/// A group, as Confluence returns it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Group {
    #[serde(default, deserialize_with = "maybe")]
    pub name: Option<String>,
}

/// The body that creates a group.
#[derive(Debug, Serialize)]
pub(super) struct NewGroup<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: &'a str,
}

/// The body that creates a user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewUser<'a> {
    pub user_name: &'a str,
    pub full_name: &'a str,
    pub email: &'a str,
    pub password: &'a str,
    pub notify_via_email: bool,
}

/// The body that changes a user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserChange<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<&'a str>,
}

/// The answer to creating a user.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    #[serde(rename = "userKey", default, deserialize_with = "maybe")]
    pub key: Option<String>,
}

/// One page of any list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: DeserializeOwned + Default")]
pub(super) struct ResultPage<T> {
    #[serde(default = "Entries::default")]
    pub results: Entries<T>,
    #[serde(default, deserialize_with = "maybe")]
    pub total_count: Option<usize>,
    #[serde(rename = "_links", default, deserialize_with = "maybe")]
    pub links: Option<Links>,
}

/// The links of a page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Links {
    #[serde(default, deserialize_with = "maybe")]
    pub next: Option<String>,
}

impl<T> ResultPage<T> {
    /// Returns the start of the next page, if this one began at `at`, and why the listing may be incomplete. The server
    /// may return fewer entries than requested, and omit those that usersync may not see. So only its own link shows
    /// whether more follow.
    pub(super) fn next(&self, at: usize) -> (Option<usize>, Option<String>) {
        if !self.results.reported {
            return (None, Some("a page was returned without its list".to_owned()));
        }
        let end = at + self.results.len();
        let Some(link) = self.links.as_ref().and_then(|links| links.next.as_deref()) else {
            let short = self.total_count.filter(|total| end < *total);
            return (None, short.map(|total| format!("{end} of {total} were returned")));
        };
        if self.results.is_empty() {
            return (None, Some("an empty page reports more entries".to_owned()));
        }
        match start_of(link).unwrap_or(end) {
            next if next > at => (Some(next), None),
            _ => (None, Some("Confluence points to the same page again".to_owned())),
        }
    }
}

/// Returns the start position in a link to a page.
fn start_of(link: &str) -> Option<usize> {
    let (_, query) = link.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "start")?.1.parse().ok()
}

/// `GET /server-information`, since 10.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerInformation {
    #[serde(default, deserialize_with = "maybe")]
    pub base_url: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub version: Option<String>,
}

/// One global permission of a group.
#[derive(Debug, Default, Deserialize)]
pub(super) struct GlobalPermission {
    #[serde(default, deserialize_with = "maybe")]
    pub operation: Option<PermittedOperation>,
}

/// The operation that a permission allows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PermittedOperation {
    #[serde(default, deserialize_with = "maybe")]
    pub operation_key: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub target_type: Option<String>,
}

impl GlobalPermission {
    /// Whether it grants access to Confluence: `use` of the `application`.
    ///
    /// # Source
    /// Confluence 10.0, REST `PUT /permissions/group/{groupName}/grant`.
    pub(super) fn gives_access(&self) -> bool {
        let is =
            |text: &Option<String>, word: &str| text.as_deref().is_some_and(|text| text.eq_ignore_ascii_case(word));
        let operation = self.operation.as_ref();
        operation.is_some_and(|one| is(&one.operation_key, "use") && is(&one.target_type, "application"))
    }

    /// Whether it grants administrator rights.
    pub(super) fn administers(&self) -> bool {
        let key = self.operation.as_ref().and_then(|operation| operation.operation_key.as_deref());
        key.is_some_and(|key| key.to_ascii_lowercase().contains("admin"))
    }
}

/// The answer to deleting a user: the task that deletes it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Submitted {
    #[serde(default, deserialize_with = "maybe")]
    pub id: Option<String>,
}

/// A long-running task.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LongTask {
    #[serde(default, deserialize_with = "maybe")]
    pub percentage_complete: Option<u32>,
    #[serde(default, deserialize_with = "maybe")]
    pub successful: Option<bool>,
    #[serde(default)]
    pub messages: Entries<TaskMessage>,
}

/// A message of a task.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TaskMessage {
    #[serde(default, deserialize_with = "maybe")]
    pub translation: Option<String>,
}

/// The number of free seats: a bare number in one version, an object around it in another.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Seats {
    Number(i64),
    Object {
        #[serde(alias = "remainingSeats", alias = "remaining", alias = "seats")]
        count: i64,
    },
}

impl Seats {
    /// Returns the number of free seats; `None`: unlimited.
    pub(super) fn free(&self) -> Option<u64> {
        let (Self::Number(count) | Self::Object { count }) = self;
        u64::try_from(*count).ok().filter(|free| *free < u64::from(u32::MAX >> 1))
    }
}

/// The body of a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refusal {
    #[serde(default, deserialize_with = "maybe")]
    pub status_code: Option<u16>,
    #[serde(default, deserialize_with = "maybe")]
    pub message: Option<String>,
    #[serde(default, deserialize_with = "maybe")]
    pub data: Option<Validation>,
}

/// The validation result of a refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Validation {
    #[serde(default, deserialize_with = "maybe")]
    pub errors: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(count: usize, next: Option<&str>, total: Option<usize>) -> ResultPage<()> {
        let links = Some(Links { next: next.map(str::to_owned) });
        ResultPage { results: vec![(); count].into(), total_count: total, links }
    }

    #[test]
    fn a_page_goes_on_where_its_link_says() {
        assert_eq!(page(50, Some("/rest/api/user/list?limit=50&start=50"), None).next(0), (Some(50), None));
        assert_eq!(page(48, Some("/rest/api/user/list?start=50&limit=50"), None).next(0), (Some(50), None));
        assert_eq!(page(50, Some("/rest/api/user/list?limit=50"), None).next(100), (Some(150), None));
        assert_eq!(page(3, None, Some(103)).next(100), (None, None));
        assert_eq!(page(3, None, Some(110)).next(100), (None, Some("103 of 110 were returned".to_owned())));
        assert!(page(50, Some("?start=100"), None).next(100).1.is_some_and(|why| why.contains("same page")));
        assert!(page(0, Some("?start=200"), None).next(100).1.is_some_and(|why| why.contains("empty page")));
    }

    #[test]
    fn seats_come_in_two_shapes() {
        let free = |text| serde_json::from_str::<Seats>(text).ok().map(|seats| seats.free());
        assert_eq!(free("48"), Some(Some(48)));
        assert_eq!(free(r#"{"count": 0}"#), Some(Some(0)));
        assert_eq!(free(r#"{"remainingSeats": 7}"#), Some(Some(7)));
        assert_eq!(free("-1"), Some(None));
        assert_eq!(free("2147483647"), Some(None));
        assert_eq!(free(r#""many""#), None);
    }
}
