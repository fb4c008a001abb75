//! What the engine asks of a source.

use async_trait::async_trait;
use jiff::SignedDuration;

use crate::{
    model::{ErrorClass, GroupId, GroupState, IdSet, Packed, SourceIdentity, UserId, UserState},
    telemetry::CallMeter,
};

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

/// What the listing of a whole kind read, and whether that is all there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked<K, I> {
    /// What was read, each once.
    pub items: I,
    /// What was listed but could not be read: it is there, and nothing else is known of it.
    pub unreadable: Vec<(K, Unreadable)>,
    /// Why this may not be all, if so: who is missing may be there all the same.
    pub incomplete: Option<String>,
}

/// An entry of a listing that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its login or path, if that could be read.
    pub name: Option<String>,
    /// What is wrong with it; no value of any field.
    pub why: String,
}

impl Unreadable {
    /// The failure in one line.
    pub fn failure(&self) -> String {
        let name = self.name.as_deref().map_or(String::new(), |name| format!(" {name}"));
        format!("Keycloak lists{name} but cannot be understood: {}. Correct it in Keycloak", self.why)
    }
}

/// Told how many entries of about how many were read.
pub type OnProgress<'a> = &'a (dyn Fn(usize, usize) + Send + Sync);

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

    /// Counts its calls here from now on.
    fn attach(&self, meter: &CallMeter) {
        let _ = meter;
    }

    /// Has a client secret that was refused sent again when the next token is asked for. Without it, it is not sent until
    /// it changes.
    async fn forget_refusal(&self) {}

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

    /// All users, without groups.
    async fn users(&self, progress: OnProgress<'_>) -> Result<Walked<UserId, Packed<UserState>>, SourceError>;

    /// Which of these users are there, by one request for at most a hundred of them; `None` where that cannot be asked.
    async fn users_among(&self, ids: &[UserId]) -> Result<Option<IdSet<UserId>>, SourceError> {
        let _ = ids;
        Ok(None)
    }

    /// How many users there are.
    async fn user_count(&self) -> Result<usize, SourceError>;

    /// All groups, flat.
    async fn groups(&self) -> Result<Walked<GroupId, Vec<GroupState>>, SourceError>;

    /// The ids of all direct members of a group; `None` if the group is gone.
    async fn members(&self, group: &GroupId) -> Result<Option<Walked<UserId, Packed<UserId>>>, SourceError>;
}
