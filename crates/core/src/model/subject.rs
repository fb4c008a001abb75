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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_written_as_its_kind_and_id() {
        for (subject, text) in [
            (Subject::user("u1"), "user:u1"),
            (Subject::group("g1"), "group:g1"),
            (Subject::user("f:spi:alice"), "user:f:spi:alice"),
        ] {
            assert_eq!((subject.to_string(), String::from(subject.clone())), (text.to_owned(), text.to_owned()));
            assert_eq!(text.parse(), Ok(subject.clone()));
            assert_eq!(Subject::try_from(text.to_owned()), Ok(subject.clone()));
            let json = format!("\"{text}\"");
            assert_eq!(serde_json::to_string(&subject).unwrap(), json);
            assert_eq!(serde_json::from_str::<Subject>(&json).unwrap(), subject);
        }
    }

    #[test]
    fn a_text_without_kind_or_id_is_not_a_subject() {
        for text in ["", "alice", "user", "user:", "group:", ":alice", "User:alice", "role:alice", " user:alice"] {
            let error = text.parse::<Subject>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is not a subject: write user:ID or group:ID"));
        }
    }

    #[test]
    fn only_a_user_has_a_user_id() {
        assert_eq!(Subject::user("u1").as_user(), Some(&"u1".into()));
        assert_eq!(Subject::group("g1").as_user(), None);
    }
}
