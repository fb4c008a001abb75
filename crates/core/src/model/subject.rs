//! The subject of a task.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{GroupId, UserId};

/// The user or group, by Keycloak id, that a task or a hint concerns. Text form: `user:ID`, `group:ID`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Subject {
    /// A user.
    User(UserId),
    /// A group.
    Group(GroupId),
}

impl Subject {
    /// Returns the subject for this user.
    pub fn user(id: impl Into<UserId>) -> Self {
        Self::User(id.into())
    }

    /// Returns the subject for this group.
    pub fn group(id: impl Into<GroupId>) -> Self {
        Self::Group(id.into())
    }

    /// Returns the user's id, if the subject is a user.
    pub fn as_user(&self) -> Option<&UserId> {
        match self {
            Self::User(id) => Some(id),
            Self::Group(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Group(id) => write!(f, "group:{id}"),
        }
    }
}

/// Error: the text is not a subject.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a subject: write user:ID or group:ID")]
pub struct NotASubject(String);

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("user", id)) if !id.is_empty() => Ok(Self::user(id)),
            Some(("group", id)) if !id.is_empty() => Ok(Self::group(id)),
            _ => Err(NotASubject(text.to_owned())),
        }
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl TryFrom<String> for Subject {
    type Error = NotASubject;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
