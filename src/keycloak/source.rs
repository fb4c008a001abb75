//! What the engine asks of a source.

use async_trait::async_trait;
use jiff::SignedDuration;

use crate::model::{ErrorClass, GroupId, GroupState, SourceIdentity, UserId, UserState};

/// What went wrong at the source, in words for people: the thing first, then what happened, then what to do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text}")]
pub struct SourceError {
    /// Whether, and how, it is tried again.
    pub class: ErrorClass,
    /// One readable line; no secret, no stack.
    pub text: String,
    /// How long the other side asks to wait (`Retry-After`).
    pub retry_after: Option<SignedDuration>,
}

/// What a walk read, and whether it can prove that this is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked<T> {
    /// What was read, each once.
    pub items: Vec<T>,
    /// Why it may not be all (a count that does not add up, an empty listing, rights), if so: nothing is removed then.
    pub doubt: Option<String>,
}

/// What a first contact finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// Who the source is.
    pub identity: SourceIdentity,
    /// The base URL that answered, with or without `/auth`.
    pub base_url: String,
}

/// A realm, read through the Admin REST API.
///
/// Absence is told only by `Ok(None)`, and that only for Keycloak's own `User not found` or
/// `Could not find group by id`; every other 404 is an error.
#[async_trait]
pub trait Source: Send + Sync {
    /// Signs in and says who the source is; cached, renewed with the token.
    async fn identify(&self) -> Result<SourceInfo, SourceError>;

    /// A user with its direct groups, the two calls side by side.
    async fn user(&self, id: &UserId) -> Result<Option<UserState>, SourceError>;

    /// Whether the user reads 200 and is enabled; one call.
    async fn is_alive(&self, id: &UserId) -> Result<bool, SourceError>;

    /// Some users who exist and are enabled, for a live read beside one that says "gone"; one small page.
    async fn some_users(&self) -> Result<Vec<UserId>, SourceError>;

    /// A group.
    async fn group(&self, id: &GroupId) -> Result<Option<GroupState>, SourceError>;

    /// All groups whose leaf name equals `name` without regard to case, anywhere in the tree.
    async fn groups_named(&self, name: &str) -> Result<Vec<GroupState>, SourceError>;

    /// One page of all users ordered by login, without groups: `(first, max)`. Fewer than `max` means the last page.
    async fn users_page(&self, first: usize, max: usize) -> Result<Vec<UserState>, SourceError>;

    /// How many users there are.
    async fn user_count(&self) -> Result<usize, SourceError>;

    /// The whole tree of groups, flat; pages and children are walked inside.
    async fn groups(&self) -> Result<Walked<GroupState>, SourceError>;

    /// One page of the ids of a group's direct members: `(first, max)`; `None` if the group is gone.
    async fn members_page(&self, group: &GroupId, first: usize, max: usize)
    -> Result<Option<Vec<UserId>>, SourceError>;
}
